"""How much a remote peer can make a session keep (SEC-2 to SEC-7)."""

from __future__ import annotations

from neffos_protocol._records import Record


class SessionLimits(Record):
    """Bounds of one session; each says why it is what it is.

    Raises:
        TypeError: a bound is no whole number.
        ValueError: a bound is negative, or ``repeats`` is 0.
    """

    payload: int = 16 << 20
    """Bytes of one payload: far above any event seen, far below memory. More
    ends the session."""
    held: int = 64
    """Messages held before the handshake: a client has a handful to say that early. More ends
    the session."""
    held_size: int = 256 << 10
    """Their bytes together. More ends the session."""
    namespaces: int = 64
    """Namespaces that are connected or decided on: applications have a few. More are refused."""
    rooms: int = 1024
    """Rooms of all namespaces together, likewise."""
    name: int = 256
    """Characters of a namespace, a room or an event: several times the longest seen. An ask to
    connect or to join with a longer one is refused, any other frame is dropped; to ask with one
    is the application's misuse."""
    token: int = 256
    """Characters of a token of the peer, which is remembered too: several times the longest
    seen. A frame with a longer one is dropped."""
    incoming_asks: int = 1024
    """Asks of the peer that the application has not answered yet. More are refused."""
    repeats: int = 100
    """Asks for the same change while the application decides on it. More are refused. A peer allows
    at least 100 (SEC-7)."""
    outgoing_asks: int = 1024
    """Pending asks of this peer. More is the application's misuse."""

    def __post_init__(self) -> None:
        for name in self.__match_args__:
            bound = getattr(self, name)
            if not isinstance(bound, int):
                raise TypeError(f"SessionLimits.{name} is a whole number, not {bound!r}")
            if bound < 0:
                raise ValueError(f"SessionLimits.{name} cannot be negative")
        if not self.repeats:
            raise ValueError("SessionLimits.repeats is at least 1: the ask that is decided")


DEFAULT_LIMITS = SessionLimits()
"""The bounds where the application names no others."""
