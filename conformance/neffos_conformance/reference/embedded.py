"""The reference server with the conformance application, on a free port.

``distort`` puts a deliberately wrong peer in its place, to test the suite itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final

from neffos_asyncio import Connection, Server, listening
from neffos_asyncio.transport import Receiver, Transport
from neffos_conformance.reference.application import servers

Serve = Callable[[str | bytes], list[str | bytes]]
"""What a server does with one payload: the payloads that it sends."""

Distort = Callable[[Serve], Serve]
"""What a deliberately wrong server makes of a correct one."""


class _Nothing(str):
    """No payload came."""

    __slots__ = ()


NOTHING: Final = _Nothing()
"""What a server is given when it has something to say unasked."""


@asynccontextmanager
async def embedded_server(
    host: str = "127.0.0.1",
    *,
    distort: Distort | None = None,
    served: Mapping[str, Server] | None = None,
) -> AsyncIterator[str]:
    """Run the server on a free port and give its URL; it is gone when the block is left.

    Args:
        host: the address to listen on.
        distort: makes each connection's behaviour wrong in some way.
        served: what is served under each path, where that is not the conformance application.
    """
    between = None if distort is None else lambda connection: _Distorted(connection, distort)
    async with listening(served or servers(), host, between=between) as listener:
        yield listener.url()


class _Distorted:
    """Stands between a socket and the link of its connection, in both directions."""

    def __init__(self, connection: Connection, distort: Distort) -> None:
        self._connection = connection
        self._link: Receiver = connection.link
        self._serve = distort(self._honestly)
        self._socket: Transport | None = None
        self._unasked: list[str | bytes] = []

    def _honestly(self, payload: str | bytes) -> list[str | bytes]:
        if payload is NOTHING:
            unasked, self._unasked = self._unasked, []
            return unasked
        self._link.receive(payload)
        return self._connection.link.session.outgoing()

    # The socket's side.

    def receive(self, payload: str | bytes) -> None:
        if self._socket is not None:
            self._socket.write(self._serve(payload))

    def flush(self) -> None:
        self._link.flush()

    def stalled(self) -> None:
        self._link.stalled()

    def writable(self) -> None:
        self._link.writable()

    def lost(self, code: int | None, reason: str) -> None:
        self._link.lost(code, reason)

    # The link's side.

    def start(self, socket: Transport, *, spent: float) -> None:
        self._socket = socket
        self._connection.start(self, spent=spent)

    @property
    def backlog(self) -> int:
        return self._socket.backlog if self._socket else 0

    def write(self, payloads: Sequence[str | bytes]) -> None:
        self._unasked += payloads
        if self._socket is not None:
            self._socket.write(self._serve(NOTHING))

    def pause(self) -> None:
        if self._socket is not None:
            self._socket.pause()

    def resume(self) -> None:
        if self._socket is not None:
            self._socket.resume()

    def close(self, code: int, reason: str) -> None:
        if self._socket is not None:
            self._socket.close(code, reason)

    def abort(self) -> None:
        if self._socket is not None:
            self._socket.abort()
