"""Handlers take turns: one at a time for each connection, in the order of the events (EV-1).

A handler that is a plain function runs at once, where none before it is still at work. One that
is a coroutine runs in a task of its connection; what comes meanwhile waits behind it. What the
events are is not known here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Work = Coroutine[Any, Any, None]


class HandlerQueue(Generic[Item]):
    """Gives each item its turn.

    Args:
        begin: deals with an item; gives what is left to do where that takes time. It raises
            nothing, and neither does what it gives.
        after: called when items have had their turn later than at once: what they gave rise to
            is to be sent. It gives what to wait for before the next turn, where there is such.
        name: of the task, for those who debug.
    """

    __slots__ = ("_after", "_begin", "_is_beginning", "_is_cut", "_name", "_task", "_waiting")

    def __init__(
        self, begin: Callable[[Item], Work | None], after: Callable[[], Work | None], name: str
    ) -> None:
        self._begin = begin
        self._after = after
        self._name = name
        self._is_beginning = False
        self._is_cut = False
        self._waiting: deque[Item] | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def is_busy(self) -> bool:
        """Whether an item is at work."""
        return self._task is not None

    @property
    def is_current(self) -> bool:
        """Whether who asks is the item at work."""
        return self._task is not None and self._task is asyncio.current_task()

    def __len__(self) -> int:
        """How many items wait behind the one at work."""
        return len(self._waiting or ())

    def add(self, item: Item) -> None:
        """Give an item its turn, now or behind those that wait."""
        if self._task is not None or self._is_beginning:
            if self._waiting is None:
                self._waiting = deque()
            self._waiting.append(item)
            return
        self._is_beginning = True
        try:
            work = self._begin(item)
            while work is None and self._waiting:  # what the item itself gave rise to
                work = self._begin(self._waiting.popleft())
        finally:
            self._is_beginning = False
        if work is not None:
            self._task = asyncio.create_task(self._run(work), name=self._name)
            self._task.add_done_callback(self._never_began)
        else:
            self._waiting = None

    async def idle(self) -> None:
        """Wait until no item is at work, nor waits."""
        while self._task is not None:
            await asyncio.wait([self._task])

    def cancel(self, keep: Callable[[Item], bool] = lambda _: False) -> None:
        """Interrupt what is at work, and drop what waits, but for what is to be kept."""
        if self._task is not None:
            self._waiting = deque(filter(keep, self._waiting or ()))
            self._is_cut = True
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
        """Go on where a task was cancelled before its first step."""
        if self._task is task:
            self._go_on()

    def _go_on(self) -> None:
        # Cancelled by others than `cancel`, there is no loop to go on in.
        left = (self._waiting if self._is_cut else None) or ()
        self._is_cut = False
        self._task = self._waiting = None
        for item in left:
            self.add(item)

    async def _pause(self) -> None:
        wait = self._after()
        if wait is not None:
            await wait
