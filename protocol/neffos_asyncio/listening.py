"""Serves servers from a socket of their own, each at its path."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from importlib import import_module
from os import environ
from typing import Final, Protocol

from websockets.server import ServerProtocol

from neffos_asyncio.connection import Connection
from neffos_asyncio.incoming import Incoming
from neffos_asyncio.limits import Limits
from neffos_asyncio.request import UpgradeRequest
from neffos_asyncio.server import Server
from neffos_asyncio.sockets import Accepted, Socket
from neffos_asyncio.transport import Receiver, Transport

BACKLOG: Final = 1024
"""Connections that the system keeps until they are accepted: a thousand clients may reconnect
when a server starts again."""


GRACE: Final = 5.0
"""Seconds that a shutdown leaves peers and handlers, if the caller gives none."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A served socket.

    Attributes:
        host: the address that it listens on.
        port: likewise.
        is_secure: whether it uses TLS.
    """

    host: str
    port: int
    is_secure: bool

    def url(self, path: str = "/") -> str:
        """Return the URL of a path."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'wss' if self.is_secure else 'ws'}://{host}:{self.port}{path}"


class Interceptor(Receiver, Protocol):
    """A receiver between a socket and a connection, which is started instead of it."""

    def start(self, transport: Transport) -> None:
        """Begin, as ``Connection.start`` does."""


@asynccontextmanager
async def listening(
    served: Server | Mapping[str, Server],
    host: str = "127.0.0.1",
    port: int = 0,
    *,
    tls: ssl.SSLContext | None = None,
    grace: float = GRACE,
    fast: bool | None = None,
    between: Callable[[Connection], Interceptor] | None = None,
) -> AsyncIterator[Listener]:
    """Serve until the block is left, and then shut down.

    Args:
        served: a server for every path, or servers by their paths, such as ``/chat``.
        host: the address to listen on.
        port: the port; 0 takes a free one.
        tls: certificate and key, to serve ``wss``.
        grace: seconds for peers and handlers to finish when it shuts down.
        fast: whether picows parses frames, of the extra ``fast``. By default it does if it is
            installed, unless the variable ``NEFFOS_WIRE_PURE`` asks for Python alone.
        between: puts an interceptor between each connection and its socket, for tests.

    Raises:
        OSError: the address is in use, or invalid.
        ModuleNotFoundError: picows is not installed, and ``fast`` is true.
        ValueError: there is no server, or their limits differ; the limits apply to a connection
            before its path is known.
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
        interceptor = between(connection) if between else None
        receiver: Receiver = interceptor or connection.link
        return receiver, (interceptor or connection).start

    servers = list(served.values()) if isinstance(served, Mapping) else [served]
    if len({server.limits for server in servers}) != 1:
        raise ValueError("the servers on one socket, of which there is one, share their limits")
    limits = servers[0].limits
    parsing = _parsing(limits, fast)
    listener = await loop.create_server(
        lambda: Socket(decide, limits, sockets, parsing),
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
        for socket in list(sockets):  # those without a connection
            socket.abort()
        await listener.wait_closed()


def is_fast(wanted: bool | None) -> bool:
    """Return whether picows parses frames: see ``listening``.

    Raises:
        ModuleNotFoundError: it is wanted, and not installed.
    """
    if wanted is False or (wanted is None and environ.get("NEFFOS_WIRE_PURE")):
        return False
    try:
        import_module("neffos_asyncio.fast")
    except ImportError as error:  # another version of picows may be there for something else
        if not wanted:
            return False
        text = "picows is missing, or too old. Try: pip install 'neffos-wire[fast]'"
        raise ModuleNotFoundError(text, name="picows") from error
    return True


def _parsing(limits: Limits, wanted: bool | None) -> Callable[[ServerProtocol], Incoming]:
    """Return what makes the parser of a connection."""
    if not is_fast(wanted):
        return Incoming
    from neffos_asyncio.fast import FastIncoming, Parser

    spare: list[Parser] = []
    return partial(FastIncoming, limits.session.payload, spare)
