"""How a connection ended. What reads recordings needs this, and no library for connections."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ConnectionClosed:
    """The closing of a connection, as the suite saw it.

    Attributes:
        code: the code of the peer's close frame, or ``None`` if TCP ended without one.
        reason: the reason of the close frame, empty if it has none.
        cut: why the suite ended it, if it did.
    """

    code: int | None
    reason: str = ""
    cut: str = ""

    def __str__(self) -> str:
        if self.cut:
            return f"cut off by the suite: {self.cut}"
        if self.code is None:
            return "closed without a close frame"
        return f"closed with {self.code} {self.reason!r}"
