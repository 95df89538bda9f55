"""What waits have in common that clean up after a task."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any


def is_cancelled() -> bool:
    """Whether this task is being cancelled, so that cleaning up must not take time."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def cancel(tasks: Iterable[asyncio.Future[Any]]) -> None:
    """Cancel tasks, and wait until all of them have ended, in whatever way."""
    ending = list(tasks)
    for each in ending:
        each.cancel()
    await asyncio.gather(*ending, return_exceptions=True)
