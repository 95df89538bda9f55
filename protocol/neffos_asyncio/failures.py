"""What the log says of errors that a peer may have caused.

An exception often repeats what a peer sent, and a peer can cause one with each message. Its text is
escaped and cut, and only so many are logged with their traceback.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from neffos_protocol.text import logged

FAILURES: Final = 20
"""Failures that are logged in ``PERIOD``: enough to see each kind. A traceback takes a kilobyte or
more, and an ask that causes one takes twenty bytes."""

PERIOD: Final = 60.0
"""Seconds after which as many more are logged."""

CAUSES: Final = 3
"""Exceptions of a chain of causes that are logged."""


class FailureLog:
    """Logs failures, and how many it left out.

    Args:
        log: where to.
        clock: seconds.
    """

    __slots__ = ("_clock", "_count", "_log", "_since")

    def __init__(self, log: logging.Logger, clock: Callable[[], float] = time.monotonic) -> None:
        self._log = log
        self._clock = clock
        self._since = clock()
        self._count = 0

    def note(self, text: str, error: BaseException) -> None:
        """Log a failure with its traceback, unless too many were logged."""
        now = self._clock()
        if now - self._since >= PERIOD:
            if self._count > FAILURES:
                self._log.error("%d failures were not logged", self._count - FAILURES)
            self._since, self._count = now, 0
        self._count += 1
        if self._count <= FAILURES:
            self._log.error("%s", text, exc_info=harmless(error))
        elif self._count == FAILURES + 1:
            self._log.error("further failures are not logged for up to %d s", PERIOD)


def harmless(error: BaseException, causes: int = CAUSES) -> BaseException:
    """Return an exception that looks the same in a log, its text escaped and cut."""
    kind = type(error)
    members = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    copy: BaseException = type(kind.__name__, (Exception,), members)(logged(error))
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None and causes > 1:
        copy.__cause__ = harmless(before, causes - 1)
    return copy.with_traceback(error.__traceback__)
