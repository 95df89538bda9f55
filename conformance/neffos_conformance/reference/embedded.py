"""The reference server with the conformance application, on a free port.

``distort`` makes its behaviour faulty, to test the suite itself.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from neffos_asyncio import Connection, Server, listening
from neffos_asyncio.transport import Receiver, Transport
from neffos_conformance.reference.application import servers

Serve = Callable[[str | bytes], list[str | bytes]]
"""What a server does with one payload: the payloads that it sends."""

Distort = Callable[[Serve], Serve]
"""Makes a faulty server of a correct one."""


class _Nothing(str):
    """No payload was received."""

    __slots__ = ()


NOTHING: Final = _Nothing()
"""What a server is given when it sends without having received a message."""


@asynccontextmanager
async def embedded_server(
    *, distort: Distort | None = None, served: Mapping[str, Server] | None = None
) -> AsyncIterator[str]:
    """Run the server on a free port and give its URL; the end of the block stops it.

    Args:
        distort: makes the behaviour of each connection faulty.
        served: what is served under each path, where that is not the conformance application.
    """
    between = None if distort is None else lambda connection: _Distorted(connection, distort)
    async with listening(served or servers(), between=between) as listener:
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

    def __getattr__(self, name: str) -> Any:
        """Forward to the link what a socket calls, and to the socket what the link calls."""
        return getattr(self._link if hasattr(Receiver, name) else self._socket, name)

    def receive(self, payload: str | bytes) -> None:
        if self._socket is not None:
            self._socket.write(self._serve(payload))

    def start(self, socket: Transport) -> None:
        self._socket = socket
        self._connection.start(self)

    def write(self, payloads: Sequence[str | bytes]) -> None:
        self._unasked += payloads
        if self._socket is not None:
            self._socket.write(self._serve(NOTHING))
