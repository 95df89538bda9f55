"""How long the reference peers wait, and how much they hold.

What the session bounds stands in ``SessionLimits``; here is what needs a clock or a socket.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields

from neffos_protocol import DEFAULT_LIMITS, SessionLimits


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one connection; times are in seconds, and ``None`` waits for ever.

    Raises:
        ValueError: a bound is not above zero.
    """

    session: SessionLimits = field(default=DEFAULT_LIMITS)
    """The bounds of the protocol. ``session.payload`` is also the size, in octets, over which a
    message is refused before it is read."""
    handshake: float | None = 10
    """A server's: from the first octet of a connection to the end of its handshake, the
    application's decision included (SEC-4): a person on a bad line is faster."""
    ask: float | None = 30
    """For the reply to an ask, where the caller names no time (AR-15)."""
    handler: float | None = None
    """For an asynchronous handler. One that takes longer is cancelled, and an ask gets an error."""
    read: float | None = None
    """Without any message from the peer. A heartbeat finds dead connections sooner; this is for
    those that live and say nothing."""
    write: float | None = 30
    """For a peer to take what was written to it, once more than ``high_water`` waits."""
    heartbeat: float | None = 20
    """Between two pings. Proxies drop what is silent for a minute."""
    heartbeat_answer: float = 20
    """For the answer to a ping; then the connection counts as lost."""
    close: float = 5
    """For the peer to answer a close frame, before TCP is cut."""
    high_water: int = 256 << 10
    """Octets written and not yet taken by the network, from which on nothing more is read from
    this peer: enough to keep a fast one busy."""
    backlog: int = 4 << 20
    """Octets written and not yet taken, beyond which no further message is added: a peer that
    reads so slowly is closed with code 1008 (SEC-8)."""
    waiting: int = 1024
    """Messages that wait for their handler, from which on nothing more is read. While somebody
    here waits for an answer of the peer, which is behind them, reading goes on up to four times
    as many; more closes the connection with code 1008."""
    waiting_size: int = 16 << 20
    """Characters and octets of their bodies together, likewise."""

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, int | float) and value <= 0:
                raise ValueError(f"Limits.{each.name} is above zero, or None, not {value}")


DEFAULT: Limits = Limits()
"""The bounds where the application names no others."""

REASON_SIZE = 123
"""Octets of a close reason; a WebSocket control frame has room for no more (RFC 6455, 5.5)."""
