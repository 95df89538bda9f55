"""What a case needs of a connection, and of a client's request for one.

Both are implemented by ``wire.connection``, and by the wrappers with which a fault is seeded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from websockets.http11 import Request

from neffos_conformance.wire.connection import ConnectionClosed


class Transport(Protocol):
    """A connection, once it is open; see ``Connection``."""

    @property
    def is_open(self) -> bool:
        """Whether neither side has begun to end it."""

    @property
    def has_heard_goodbye(self) -> bool:
        """Whether a close frame came."""

    async def send(self, payload: str | bytes, *, is_held: bool = ...) -> None:
        """Send one message, or hold it until the next."""

    async def send_parts(self, parts: Sequence[bytes], *, is_text: bool) -> None:
        """Send one message in fragments."""

    async def send_raw(self, octets: bytes) -> None:
        """Send octets as they are."""

    async def receive(self) -> str | bytes | ConnectionClosed:
        """Wait for the next message, or for the end."""

    def stall(self) -> None:
        """Read nothing more, until ``resume``."""

    def resume(self) -> None:
        """Read again."""

    def abort(self) -> None:
        """End TCP at once."""

    async def say_goodbye(self, code: int = ..., reason: str = ...) -> None:
        """Send a close frame."""

    async def close(self) -> None:
        """Let go of the socket."""


class UpgradeRequest(Protocol):
    """A client's request that was not answered yet; see ``Incoming``."""

    @property
    def request(self) -> Request:
        """Method, path and headers."""

    def accept(self) -> Transport | None:
        """Upgrade the connection; ``None`` where the request is none for that."""

    def abort(self) -> None:
        """End TCP without an answer."""

    async def close(self) -> None:
        """Let go of the socket behind an answer that is no upgrade."""

    async def refuse(self, status: int) -> None:
        """Answer with an HTTP status in place of an upgrade, and end."""
