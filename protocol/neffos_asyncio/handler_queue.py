"""The queue of a connection: its items are handled one at a time and in order (EV-1).

An item whose handling takes time is handled in a task, and later items wait for it. Items that the
handling of an item adds come before those that wait. The queue does not know what the items are.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Final, Generic, TypeVar

Item = TypeVar("Item")
Work = Coroutine[Any, Any, None]

TURN: Final = 32
"""Items of one connection that are handled in one go, before other connections have their turn. At
20 to 50 microseconds each they take about a millisecond: a loop with ten floods still comes round
in a fiftieth of a second."""

TURN_SIZE: Final = 64 << 10
"""Bytes of one connection after which others have their turn: to handle as many takes about as long
as ``TURN`` small messages."""


class HandlerQueue(Generic[Item]):
    """Handles items one at a time.

    Args:
        begin: handles an item, and returns the rest of the work if that takes time. Neither
            raises anything but a cancellation.
        after: called after items that were not handled at once, to send what they produced. It
            may return something to wait for before the next item.
        name: of the task, for debugging.
    """

    __slots__ = (
        "_added",
        "_after",
        "_begin",
        "_is_beginning",
        "_is_cancelled",
        "_name",
        "_task",
        "_unbegun",
        "_waiting",
        "size",
    )

    def __init__(
        self, begin: Callable[[Item], Work | None], after: Callable[[], Work | None], name: str
    ) -> None:
        self._begin = begin
        self._after = after
        self._name = name
        self._is_beginning = self._is_cancelled = False
        self._task: asyncio.Task[None] | None = None
        self._unbegun: Work | None = None
        # Most connections have neither: they are made when needed.
        self._added: deque[Item] | None = None
        self._waiting: deque[tuple[Item, int]] | None = None
        self.size = 0
        """The sizes of the waiting items together."""

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
        return len(self._added or ()) + len(self._waiting or ())

    def add(self, item: Item) -> None:
        """Handle an item: now, or after the current one and before those that wait."""
        if self._task is not None or self._is_beginning:
            if self._added is None:
                self._added = deque()
            self._added.append(item)
            return
        self._is_beginning = True
        try:
            work = self._begin(item)
            while work is None and self._added:  # by the handling of the item itself
                work = self._begin(self._added.popleft())
        finally:
            self._is_beginning = False
        if work is not None:
            self._start(work)
        else:
            self._added = None

    def wait(self, item: Item, size: int) -> None:
        """Handle an item after all others; only while the queue is busy.

        Args:
            item: what to handle.
            size: how much of ``size`` it is, while it waits.
        """
        if self._waiting is None:
            self._waiting = deque()
        self._waiting.append((item, size))
        self.size += size

    async def idle(self) -> None:
        """Wait until no item is being handled, and none waits."""
        while self._task is not None:
            await asyncio.wait([self._task])

    def take_waiting(self) -> list[Item]:
        """Take the items of ``wait`` out of the queue."""
        waiting, self._waiting = self._waiting, None
        self.size = 0
        return [item for item, _ in waiting or ()]

    def drop(self, keep: Callable[[Item], bool]) -> int:
        """Drop the items that are not begun, except those to keep; return how many these were."""
        before = len(self)
        kept = [*filter(keep, self._added or ())]
        kept += filter(keep, self.take_waiting())
        self._added = deque(kept) if kept else None
        return before - len(kept)

    def cancel(self, keep: Callable[[Item], bool] = lambda _: False) -> int:
        """Cancel the current work, and drop the items after it; see ``drop``."""
        if self._task is None:
            return 0
        self._is_cancelled = True
        self._task.cancel()
        return self.drop(keep)

    def _start(self, work: Work | None) -> None:
        self._unbegun = work
        self._task = asyncio.create_task(self._run(), name=self._name)
        self._task.add_done_callback(self._never_began)

    async def _run(self) -> None:
        work, self._unbegun = self._unbegun, None
        handled = 0
        try:
            if work is not None:
                await work
                await self._pause()
            while self._added or self._waiting:
                work = self._begin(self._next())
                if work is not None:
                    await self._pause()
                    await work
                await self._pause()
                handled += 1
                if handled % TURN == 0:
                    await asyncio.sleep(0)  # others have their turn
        except BaseException as error:
            if isinstance(error, GeneratorExit) or self._is_cancelled_with_loop():
                self._added = self._waiting = self._task = None  # nothing can run any more
            else:
                self._go_on()
            raise
        self._go_on()

    def _next(self) -> Item:
        if self._added:
            return self._added.popleft()
        if self._waiting is None:
            raise AssertionError("no item waits")
        item, size = self._waiting.popleft()
        self.size -= size
        return item

    def _is_cancelled_with_loop(self) -> bool:
        """Whether the end of the loop has cancelled the task, and not ``cancel``.

        Thousands of handlers are cancelled together when a network fails. To look at all tasks
        of the loop for each of them would block it.
        """
        is_cancelled_by_others = self._task is None or self._task.cancelling() > self._is_cancelled
        return is_cancelled_by_others and _is_ending()

    def _never_began(self, task: asyncio.Task[None]) -> None:
        """Go on after a task that was cancelled before its first step."""
        if self._task is task:
            self._go_on()

    def _go_on(self) -> None:
        """Go on after a task that has ended, also after one that was cancelled."""
        work, self._unbegun = self._unbegun, None
        if work is not None and self._is_cancelled:
            work.close()
            work = None
        self._is_cancelled = False
        self._task = None
        if work is not None or self._added or self._waiting:
            self._start(work)
        else:
            self._added = self._waiting = None

    async def _pause(self) -> None:
        wait = self._after()
        if wait is not None:
            await wait


def _is_ending() -> bool:
    """Whether the loop is ending: ``asyncio.run`` then cancels all its tasks."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    return bool(others) and all(task.cancelling() for task in others if task is not None)
