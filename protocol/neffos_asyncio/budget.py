"""How many bytes the connections of a process hold together.

Each connection has bounds of its own. Many connections that stay within theirs could still fill the
memory, so that what they hold is added up.
"""

from __future__ import annotations

from typing import Final, Protocol

from neffos_asyncio.transport import log

PROCESS_BYTES: Final = 256 << 20
"""Bytes that all connections of a process may hold: sixteen messages of the largest size, and far
more than ten thousand connections hold whose peers read and finish what they send."""


class Holder(Protocol):
    """A part of a connection that holds bytes for its peer."""

    def shed(self) -> None:
        """Give up what it holds, and end the connection."""


class Budget:
    """Adds up what holders hold, and ends those that hold most when it is too much.

    Args:
        limit: bytes of all together.
    """

    __slots__ = ("_held", "limit", "used")

    def __init__(self, limit: int = PROCESS_BYTES) -> None:
        self.limit: Final = limit
        self.used = 0
        """Bytes that are held now."""
        self._held: dict[Holder, int] = {}

    def hold(self, holder: Holder, size: int) -> None:
        """Note how many bytes a holder holds now; 0 forgets it."""
        before = self._held.get(holder, 0)
        if size == before:
            return
        self.used += size - before
        if size:
            self._held[holder] = size
        else:
            del self._held[holder]
        while size > before and self.used > self.limit and self._held:
            most = max(self._held, key=self._held.__getitem__)
            self.used -= self._held.pop(most)
            log.warning("a connection is reset, since the process holds too many bytes")
            most.shed()


PROCESS: Final = Budget()
"""The budget of all connections to which the application gives no other."""
