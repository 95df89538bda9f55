"""How long neffos_asyncio waits, and how much it keeps in memory.

``SessionLimits`` has the bounds of the session. These are the ones that need a clock or a socket.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Final

from neffos_asyncio.budget import PROCESS, Budget
from neffos_protocol import DEFAULT_LIMITS, SessionLimits


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one connection. Times are in seconds; ``None`` waits indefinitely.

    Raises:
        ValueError: a bound is not above zero.
    """

    session: SessionLimits = field(default=DEFAULT_LIMITS)
    """The bounds of the session. A message larger than ``session.payload`` bytes is refused
    before it is read."""
    handshake: float | None = 10
    """A server's: for the upgrade, and as long again for the handshake (SEC-4), the application's
    decision included. A person on a bad line is faster."""
    ask: float | None = 30
    """For the reply to an ask, if the caller gives no timeout (AR-15)."""
    handler: float | None = None
    """For a coroutine handler. A slower one is cancelled, and an ask gets an error reply."""
    grace: float | None = 5
    """For what is handled when its connection has ended. What takes longer is cancelled, and
    what waits for it is dropped. A server's ``on_disconnect`` and a client's ``on_close`` follow,
    and have that time again."""
    read: float | None = None
    """Without any message from the peer. A heartbeat finds dead connections sooner; this bound is
    for peers that live and send nothing."""
    message: float | None = 30
    """For an unfinished message to go on. A peer that sends less than ``MESSAGE_RATE`` in that
    time, and does not finish the message, is closed with code 1008. Under an ASGI server, only
    with ``neffos_asyncio.uvicorn``: any other receives whole messages."""
    write: float | None = 30
    """For a peer to read what was written, once more than ``high_water`` bytes are unread."""
    heartbeat: float | None = 20
    """Between two pings. Proxies drop a connection that is silent for a minute."""
    heartbeat_timeout: float = 20
    """For the pong. After that the connection counts as lost. What may still be under way before
    the ping has a second for each ``LINE_RATE`` bytes in addition."""
    close: float = 5
    """For the peer to answer a close frame, before TCP is reset."""
    high_water: int = 256 << 10
    """Bytes written and not yet sent by the network, from which on nothing more is read from this
    peer: enough to keep a fast peer busy."""
    backlog: int = 4 << 20
    """Bytes written and not yet sent, above which no further message is added. The connection of
    a peer that reads so slowly is closed with code 1008 (SEC-8)."""
    queue_length: int = 1024
    """Messages in the handler queue, from which on nothing more is read. While the application
    waits for a reply of this peer, reading goes on up to four times as many. More closes the
    connection with code 1008."""
    queue_size: int = 16 << 20
    """Bytes of memory of these messages, likewise."""
    budget: Budget = PROCESS
    """What all connections of the process may hold: unfinished, waiting and unsent messages. If
    it is exceeded, the connection that holds most is reset."""

    def __post_init__(self) -> None:
        for each in fields(self):
            value = getattr(self, each.name)
            if isinstance(value, int | float) and value <= 0:
                raise ValueError(f"Limits.{each.name} is above zero, or None, not {value}")

    def seconds(self, timeout: float | None) -> float | None:
        """Resolve ``DEFAULT_TIMEOUT``."""
        return self.ask if timeout == DEFAULT_TIMEOUT else timeout


DEFAULT: Final[Limits] = Limits()
"""The bounds if the application gives none."""

MESSAGE_RATE: Final = 4 << 10
"""Bytes in a second that a peer must send of an unfinished message: what a modem did."""

LINE_RATE: Final = 16 << 10
"""Bytes in a second that the thinnest line takes. Networks and proxies keep megabytes on their way,
of which this side knows nothing; a pong comes after them."""

DEFAULT_TIMEOUT: Final = -1.0
"""As a timeout: the one in the limits."""

REASON_SIZE: Final = 123
"""Bytes of a close reason. A WebSocket control frame has room for no more (RFC 6455, 5.5)."""


def pong_time(limits: Limits, under_way: int) -> float:
    """Return the seconds for a pong.

    Args:
        limits: the bounds of the connection.
        under_way: bytes written before the ping that no earlier pong proves to have arrived.
    """
    return limits.heartbeat_timeout + under_way / LINE_RATE
