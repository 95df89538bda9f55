"""What all have in common that wait for several tasks, or clean up after one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


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


def at_most(number: int, work: Callable[P, Awaitable[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Give the same work, which runs at most so many times concurrently; the rest waits."""
    slots = asyncio.Semaphore(number)

    async def run(*given: P.args, **named: P.kwargs) -> T:
        async with slots:
            return await work(*given, **named)

    return run
