"""The deadline of a connection's unfinished message.

No requirement asks for it. Whoever begins a message and does not go on costs as much as whoever
sends no handshake request, for which SEC-4 asks for a deadline.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from websockets.frames import Frame, Opcode

from neffos_asyncio.limits import MESSAGE_RATE

LOOKS: Final = 8
"""How often within ``Limits.message`` this side checks whether it reads at all: a library does not
say when it reads again."""

LATE: Final = "a message began and did not go on"
"""The reason of the close frame, with code 1008."""


def is_bound(frame: object) -> bool:
    """Return whether a message begins or ends with what was parsed."""
    return type(frame) is Frame and (
        frame.opcode is Opcode.TEXT
        or frame.opcode is Opcode.BINARY
        or (frame.opcode is Opcode.CONT and frame.fin)
    )


class Unfinished:
    """Watches whether an unfinished message goes on.

    Args:
        limit: seconds in which ``MESSAGE_RATE`` bytes a second must come; ``None`` is unlimited.
        is_reading: whether this side reads. While it does not, no peer is late.
        late: called once if the message does not go on.
    """

    __slots__ = ("_at", "_is_reading", "_late", "_limit", "_loop", "_size", "_timer")

    def __init__(
        self, limit: float | None, is_reading: Callable[[], bool], late: Callable[[], None]
    ) -> None:
        self._limit = limit
        self._is_reading = is_reading
        self._late = late
        self._loop = asyncio.get_running_loop()
        self._at: float | None = None
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None

    def note(self, size: int, *, is_unfinished: bool, is_next: bool) -> None:
        """Note received bytes.

        Args:
            size: their number.
            is_unfinished: whether a message has begun and not ended.
            is_next: whether a message began or ended with them.
        """
        if not is_unfinished:
            self._at = None
        elif is_next or self._at is None:
            self._at, self._size = self._loop.time(), 0
            if self._timer is None:
                self._watch()
        else:
            self._size += size

    def again(self) -> None:
        """Give an unfinished message its time again: it was not read."""
        if self._at is not None:
            self._at, self._size = self._loop.time(), 0

    def cancel(self) -> None:
        """Watch no more."""
        self._at = None
        self._stop()

    def check(self) -> None:
        """Report a message that did not go on, and check again later."""
        self._stop()
        if self._at is None or self._limit is None:
            return
        if not self._is_reading():
            self.again()
        elif self._loop.time() >= self._at + self._limit:
            if self._size < self._limit * MESSAGE_RATE:
                self._at = None
                self._late()
                return
            self.again()
        self._watch()

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _watch(self) -> None:
        if self._limit is not None:
            self._timer = self._loop.call_later(self._limit / LOOKS, self.check)
