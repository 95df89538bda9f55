"""Serves servers from a socket of one's own: stand-alone, each under its path."""

from __future__ import annotations

import asyncio
import ssl
from abc import abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Final, Protocol

from neffos_asyncio.sockets import Accepted, Socket
from neffos_asyncio.transport import Receiver, Transport

if TYPE_CHECKING:
    from neffos_asyncio.connection import Connection
    from neffos_asyncio.request import UpgradeRequest
    from neffos_asyncio.server import Server

BACKLOG: Final = 1024
"""Connections that the system holds until they are accepted: a thousand clients come at once
when a server starts again."""


GRACE: Final = 5.0
"""Seconds that a shutdown leaves peers and handlers, where the caller names none."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A socket that is served.

    Attributes:
        host: where it listens.
        port: likewise.
        is_secure: whether it speaks TLS.
    """

    host: str
    port: int
    is_secure: bool

    def url(self, path: str = "/") -> str:
        """Give the URL of a path."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'wss' if self.is_secure else 'ws'}://{host}:{self.port}{path}"


class Middle(Receiver, Protocol):
    """What stands between a socket and a connection: a receiver that is started in its place."""

    @abstractmethod
    def start(self, transport: Transport, *, spent: float) -> None:
        """Begin, as ``Connection.start`` does."""


@asynccontextmanager
async def listening(
    served: Server | Mapping[str, Server],
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    tls: ssl.SSLContext | None = None,
    grace: float = GRACE,
    between: Callable[[Connection], Middle] | None = None,
) -> AsyncIterator[Listener]:
    """Serve until the block is left, and then shut down in good order.

    Args:
        served: a server for every path, or servers by their paths, such as ``/chat``.
        host: the address to listen on.
        port: the port; 0 takes a free one.
        tls: certificate and key, to serve ``wss``.
        grace: seconds for peers and handlers to finish when it shuts down.
        between: puts something between each connection and its socket, to test others with.

    Raises:
        OSError: the address is in use, or is none.
        ValueError: there is no server, or several have different limits, which hold for a
            connection before its path is known.
    """
    loop = asyncio.get_running_loop()
    sockets: set[Socket] = set()

    def decide(request: UpgradeRequest) -> Accepted | HTTPStatus:
        server = served.get(request.path) if isinstance(served, Mapping) else served
        if server is None:
            return HTTPStatus.NOT_FOUND
        connection = server.accept(request)
        if isinstance(connection, HTTPStatus):
            return connection
        middle = between(connection) if between else None
        receiver: Receiver = middle or connection.link
        return receiver, lambda socket: (middle or connection).start(
            socket, spent=loop.time() - socket.opened_at
        )

    def incoming() -> Socket:
        return Socket(decide, limits, sockets)

    servers = list(served.values()) if isinstance(served, Mapping) else [served]
    if len({server.limits for server in servers}) != 1:
        raise ValueError("the servers on one socket, of which there is one, share their limits")
    limits = servers[0].limits
    listener = await loop.create_server(
        incoming,
        host,
        port,
        ssl=tls,
        ssl_handshake_timeout=limits.handshake if tls else None,  # SEC-4
        backlog=BACKLOG,
    )
    bound = listener.sockets[0].getsockname()
    try:
        yield Listener(host, bound[1], tls is not None)
    finally:
        listener.close()
        await asyncio.gather(*(server.shutdown(seconds=grace) for server in servers))
        for socket in list(sockets):  # those that never got so far
            socket.abort()
        await listener.wait_closed()
