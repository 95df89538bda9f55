"""What the suite needs of a connection, and of a client's request for one.

``wire.connection`` implements both, and so do the wrappers that seed a fault.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

from websockets.http11 import Request

from neffos_conformance.wire.connection import ConnectionClosed

NEVER_SENT: Final = frozenset({1005, 1006, 1015})
"""Close codes that stand for the absence of one (RFC 6455, 7.4.1)."""

Received = str | bytes | ConnectionClosed
"""What a connection receives: messages, and at last its closing."""


class Transport(Protocol):
    """An open connection; see ``WireConnection``."""

    @property
    def is_open(self) -> bool:
        """Whether neither peer has begun to close it."""

    @property
    def backlog(self) -> int:
        """How many sent bytes the peer has not taken yet, as far as this end knows."""

    @property
    def has_received_close(self) -> bool:
        """Whether a close frame was received."""

    @property
    def has_broken_protocol(self) -> bool:
        """Whether it was failed because the peer violated RFC 6455."""

    async def send(self, payload: str | bytes, *, is_held: bool = ...) -> None:
        """Send one message, or hold it until the next."""

    async def send_parts(self, parts: Sequence[bytes], *, is_text: bool) -> None:
        """Send one message in fragments."""

    async def send_raw(self, data: bytes) -> None:
        """Send bytes as they are."""

    async def ping(self, payload: bytes) -> bool:
        """Send a ping; tell whether its pong came before the connection ended."""

    async def receive(self) -> Received:
        """Wait for the next message, or for the closing."""

    def stall(self) -> None:
        """Read nothing more, until ``resume``."""

    def resume(self) -> None:
        """Read again."""

    def abort(self) -> None:
        """End TCP at once."""

    async def send_close(self, code: int = ..., reason: str = ...) -> None:
        """Send a close frame."""

    async def close(self) -> None:
        """Release the socket."""


class UpgradeRequest(Protocol):
    """A client's request before its response; see ``WireConnection.incoming``."""

    @property
    def request(self) -> Request:
        """Method, path and headers."""

    def accept(self) -> Transport | None:
        """Upgrade the connection; ``None`` if the request does not ask for that."""

    def abort(self) -> None:
        """End TCP without a response."""

    async def close(self) -> None:
        """Release the socket after a response that is not an upgrade."""

    async def refuse(self, status: int) -> None:
        """Respond with an HTTP status instead of an upgrade, and close."""


async def close_like(connection: Transport, closed: ConnectionClosed) -> None:
    """Close a connection as another one was closed: with its code, or by the end of TCP."""
    if closed.code is None:
        connection.abort()
    else:
        code = closed.code if closed.code not in NEVER_SENT else 1000
        await connection.send_close(code, closed.reason)
