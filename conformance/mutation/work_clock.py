"""An event loop whose clock does not depend on how busy the machine is.

A mutant, the reference peer that it wraps and the suite all run in one process. While that process
waits for a processor, nothing of them can happen, so that time must not count towards a timeout.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Coroutine
from functools import partial
from typing import Any, Final, TypeVar

T = TypeVar("T")

PATIENCE: Final = 0.005
"""Seconds of real silence after which a waiting loop advances its clock. The loopback interface
delivers as it sends, so bytes that are under way have arrived before a process can wait for them.
Tests that wait take a time in proportion to it."""

STRIDE: Final = 0.1
"""Seconds by which that silence advances the clock, at most. A timeout is longer than one stride,
so it takes several silences in a row to reach it."""

WORK: Final = 0.5
"""Seconds on the clock for a second of processor time. Slow or shared processors take longer for
the same work; at half the rate, timeouts leave room for that."""


class _Selector(selectors.DefaultSelector):
    """Counts the time in which nothing was ready.

    Attributes:
        stride: seconds that a silence counts, at most.
        idle: that time, in seconds.
    """

    stride = STRIDE
    idle = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for sockets; return early, with nothing, once the silence has lasted."""
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        ready = super().select(min(timeout, PATIENCE))
        if not ready:
            self.idle += min(timeout, self.stride)
        return ready


class WorkClockLoop(asyncio.SelectorEventLoop):
    """An event loop for peers that all run in this process.

    Its clock adds up the time in which nothing was ready and a share of the processor time. The
    first is counted faster than it passes, because nobody outside the process is waited for.
    """

    def __init__(self, stride: float = STRIDE) -> None:
        self._idleness = _Selector()
        self._idleness.stride = stride
        super().__init__(self._idleness)

    def time(self) -> float:
        """Return the time on this loop's clock, in seconds."""
        return self._idleness.idle + WORK * time.process_time()


def run(main: Coroutine[Any, Any, T], stride: float = STRIDE) -> T:
    """Run a coroutine to its end on such a loop, whose silences count that many seconds at most."""
    with asyncio.Runner(loop_factory=partial(WorkClockLoop, stride)) as runner:
        return runner.run(main)
