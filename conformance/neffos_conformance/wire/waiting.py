"""What waits have in common that clean up after a task."""

from __future__ import annotations

import asyncio


def is_cancelled() -> bool:
    """Whether this task is being cancelled, so that cleaning up must not take time."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
