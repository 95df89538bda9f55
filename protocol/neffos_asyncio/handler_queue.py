"""A queue of events: their handlers run one at a time and in order (EV-1).

A handler that is a plain function runs at once, unless an earlier handler still runs. A coroutine
handler runs in a task of its connection, and later events wait for it. The queue does not know
what the events are.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Work = Coroutine[Any, Any, None]


class HandlerQueue(Generic[Item]):
    """Handles items one at a time.

    Args:
        begin: handles an item, and returns the rest of the work if that takes time. Neither
            raises anything.
        after: called after items that were not handled at once, to send what they produced. It
            may return something to wait for before the next item.
        name: of the task, for debugging.
    """

    __slots__ = ("_after", "_begin", "_is_beginning", "_is_cancelled", "_name", "_task", "_waiting")

    def __init__(
        self, begin: Callable[[Item], Work | None], after: Callable[[], Work | None], name: str
    ) -> None:
        self._begin = begin
        self._after = after
        self._name = name
        self._is_beginning = self._is_cancelled = False
        self._waiting: deque[Item] | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def is_busy(self) -> bool:
        """Whether the handling of an item takes time."""
        return self._task is not None

    @property
    def is_current(self) -> bool:
        """Whether the caller is part of the handling of the current item."""
        return self._task is not None and self._task is asyncio.current_task()

    def __len__(self) -> int:
        """How many items wait for the current one."""
        return len(self._waiting or ())

    def add(self, item: Item) -> None:
        """Handle an item, now or after those that wait."""
        if self._task is not None or self._is_beginning:
            if self._waiting is None:
                self._waiting = deque()
            self._waiting.append(item)
            return
        self._is_beginning = True
        try:
            work = self._begin(item)
            while work is None and self._waiting:  # added by the handling of the item itself
                work = self._begin(self._waiting.popleft())
        finally:
            self._is_beginning = False
        if work is not None:
            self._task = asyncio.create_task(self._run(work), name=self._name)
            self._task.add_done_callback(self._never_began)
        else:
            self._waiting = None

    async def idle(self) -> None:
        """Wait until no item is being handled, and none waits."""
        while self._task is not None:
            await asyncio.wait([self._task])

    def cancel(self, keep: Callable[[Item], bool] = lambda _: False) -> None:
        """Cancel the current work, and drop the waiting items except those to keep."""
        if self._task is not None:
            self._waiting = deque(filter(keep, self._waiting or ()))
            self._is_cancelled = True
            self._task.cancel()

    async def _run(self, work: Work) -> None:
        try:
            await work
            await self._pause()
            while self._waiting:
                more = self._begin(self._waiting.popleft())
                if more is not None:
                    await self._pause()
                    await more
                await self._pause()
        finally:
            self._go_on()

    def _never_began(self, task: asyncio.Task[None]) -> None:
        """Go on after a task that was cancelled before its first step."""
        if self._task is task:
            self._go_on()

    def _go_on(self) -> None:
        # Without a call of `cancel`, the loop itself is ending: nothing can run any more.
        left = (self._waiting if self._is_cancelled else None) or ()
        self._is_cancelled = False
        self._task = self._waiting = None
        for item in left:
            self.add(item)

    async def _pause(self) -> None:
        wait = self._after()
        if wait is not None:
            await wait
