"""A neffos server: who is let in, who is there, and what is sent to many.

It does not know how connections reach it; ``listening`` serves it from a socket of its own, and
``asgi`` from somebody else's.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from http import HTTPStatus
from secrets import token_bytes
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from neffos_codec import Message, WaitTokens
from neffos_conformance.reference.asgi import serve_asgi
from neffos_conformance.reference.connection import DEFAULT_TIMEOUT, Connection, Hook
from neffos_conformance.reference.controllers import SCOPES, Controller
from neffos_conformance.reference.dependencies import Dependencies
from neffos_conformance.reference.errors import NoReceiverError, ReplyError
from neffos_conformance.reference.handlers import Handlers
from neffos_conformance.reference.joined import joined
from neffos_conformance.reference.limits import DEFAULT, Limits
from neffos_protocol import Cause, Change, Changed, MisuseError, Role, Session, prepare

if TYPE_CHECKING:
    from neffos_conformance.reference.request import UpgradeRequest

SHUTDOWN: Final = 1001
"""The code for connections that end because their server does (TR-13)."""

MAX_CONNECTIONS: Final = 10_000
"""Connections at a time, where the application names no number: a process has that many files."""

ANY_ORIGIN: Final = "*"
"""As the only origin: pages of every site may connect."""

CLOSING: Final = "the server shuts down"
"""What a client is told that comes while a server ends."""

ID_IN_USE: Final = "this connection id is in use"
"""What a client is told whose id another open connection has (HS-20)."""

Place = tuple[str, str]
"""A namespace and a room of it; the room is empty for the namespace as a whole."""


def random_id(_: UpgradeRequest) -> str:
    """Give an id that nobody can guess: what connections get by default (HS-20)."""
    return str(uuid.uuid4())


class Server:
    """A neffos server.

    Args:
        parts: handlers as mappings (namespace, event, handler), controller classes, or both;
            they are joined into one application.
        dependencies: what controllers are given: values, classes, and functions that make one.
        id_generator: gives each connection its id, from the upgrade request.
        on_connect: sees each connection before it is let in, and may raise ``ReplyError`` to
            refuse it (HS-17). The connection is not open yet.
        on_open: sees each connection once it is, before any handler.
        on_disconnect: sees each connection that was open after its end, with the cause.
        origins: pages that may connect, such as ``https://example.org``; by default those of
            the server's own host (SEC-9). ``[ANY_ORIGIN]`` lets in all.
        limits: the bounds of each connection.
        max_connections: how many may be open at a time; others are answered 503.

    Raises:
        ValueError: an event has two handlers.
        DependencyError: a controller needs what is not there.
    """

    def __init__(
        self,
        *parts: Handlers | Controller | type,
        dependencies: Iterable[object] = (),
        id_generator: Callable[[UpgradeRequest], str] = random_id,
        on_connect: Hook | None = None,
        on_open: Hook | None = None,
        on_disconnect: Callable[[Connection, Cause], Awaitable[None] | None] | None = None,
        origins: Collection[str] | None = None,
        limits: Limits = DEFAULT,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        if isinstance(origins, str):
            raise TypeError("origins are several texts; give a list of them")
        self.limits: Final = limits
        self._application = joined(parts, Dependencies((*dependencies, self), SCOPES))
        self._id_generator = id_generator
        self._on_connect = on_connect
        self._on_open = on_open
        self._on_disconnect = on_disconnect
        self._origins = origins
        self._max_connections = max_connections
        self._tokens = WaitTokens(client=False, clock=time.time_ns, entropy=token_bytes)
        self._connections: dict[str, Connection] = {}
        self._members: dict[Place, dict[Connection, None]] = {}
        self._all: set[Connection] = set()  # those whose handlers are not done yet included
        self._count = 0
        self._is_closing = False

    # ------------------------------------------------------------ who is there

    @property
    def connections(self) -> Mapping[str, Connection]:
        """The connections by their ids, those that are being let in included."""
        return MappingProxyType(self._connections)

    def members(self, namespace: str, room: str = "") -> tuple[Connection, ...]:
        """Give the connections that have a namespace connected, or a room of it joined."""
        return tuple(self._members.get((namespace, room), ()))

    # ------------------------------------------------------------ what is sent to many

    def broadcast(
        self,
        namespace: str,
        event: str,
        body: str | bytes = "",
        *,
        room: str = "",
        to: str = "",
        but: Connection | None = None,
    ) -> int:
        """Send an event to all whom it concerns, and give their number.

        Each gets the broadcasts that are meant for it in the order in which they were made
        (EV-9), and none with a token (AR-17).

        Args:
            namespace: it concerns connections that have it connected.
            event: its name.
            body: its body.
            room: only those that have joined this room.
            to: only the connection with this id.
            but: all but this connection.

        Raises:
            MisuseError: the event is the protocol's own.
            EncodeError: no frame can carry this.
        """
        prepared = prepare(Message(namespace=namespace, room=room, event=event, body=body))
        count = 0
        for connection in self._receivers(namespace, room, to):
            if connection is not but and connection.link.session.concerns(prepared):
                connection.link.session.send_prepared(prepared)
                connection.link.wake()
                connection.link.count(len(body))
                count += 1
        return count

    async def ask(
        self,
        namespace: str,
        event: str,
        body: str | bytes = "",
        *,
        room: str = "",
        to: str = "",
        but: Connection | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
    ) -> Message:
        """Ask all whom an event concerns, and give the first reply that is no error.

        Each connection is asked under a token of its own, so that nobody can answer for another
        (AR-12). The arguments are those of ``broadcast``.

        Raises:
            NoReceiverError: it concerns nobody.
            PeerError, DeadlineError, LostError: nobody replied; this is how the last failed.
            MisuseError, EncodeError: see ``broadcast``.
        """
        prepare(Message(namespace=namespace, room=room, event=event, body=body))
        asks = [
            asyncio.create_task(
                connection.namespace(namespace).ask(event, body, room=room, timeout=timeout)
            )
            for connection in self._receivers(namespace, room, to)
            if connection is not but and namespace in connection.namespaces
        ]
        if not asks:
            raise NoReceiverError(f"nobody is there to answer {event!r} in {namespace!r}")
        try:
            for answer in asyncio.as_completed(asks):
                try:
                    return await answer
                except Exception as error:
                    last = error
            raise last
        finally:
            for ask in asks:
                ask.cancel()
            await asyncio.gather(*asks, return_exceptions=True)

    async def shutdown(
        self, *, code: int = SHUTDOWN, reason: str = CLOSING, seconds: float = 5
    ) -> None:
        """Let nobody in any more, and end every connection.

        Args:
            code: of the close frames.
            reason: likewise.
            seconds: for peers to say goodbye and for handlers to end; then they are cut off.
        """
        self._is_closing = True
        there = list(self._all)
        # A handler that shuts its server down cannot wait for itself.
        others = [connection for connection in there if not connection.is_in_handler]
        for connection in there:
            connection.close(code, reason)
        try:
            async with asyncio.timeout(seconds):
                await asyncio.gather(
                    *(connection.link.wait_lost() for connection in there),
                    *(connection.wait_closed() for connection in others),
                )
        except TimeoutError:
            for connection in there:
                connection.link.abort()
            await asyncio.gather(*(connection.drain_handlers(0) for connection in others))

    # ------------------------------------------------------------ for those who bring connections

    def accept(self, request: UpgradeRequest) -> Connection | HTTPStatus:
        """Give the connection for an upgrade request, or the status to refuse it with."""
        if not self._is_welcome(request):
            return HTTPStatus.FORBIDDEN
        if self._is_closing or self._count >= self._max_connections:
            return HTTPStatus.SERVICE_UNAVAILABLE
        session = Session(
            Role.SERVER,
            tokens=self._tokens,
            id=self._new_id(request),
            namespaces=self._application.events,
            decides=frozenset(Change),
            decides_handshake=True,
            native=self._application.native,
            limits=self.limits.session,
        )
        connection = Connection(
            session,
            self._application,
            self.limits,
            request=request,
            broadcast=self._broadcaster(session),
            on_handshake=self._admit,
            on_open=self._on_open,
            on_closed=self._closed,
            on_gone=self._gone,
            on_change=self._changed,
        )
        self._all.add(connection)
        self._count += 1
        return connection

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve as an ASGI application: mount it where the WebSocket is to be."""
        await serve_asgi(self, scope, receive, send)

    # ------------------------------------------------------------ what connections tell

    def _new_id(self, request: UpgradeRequest) -> str:
        id_ = self._id_generator(request)
        if not id_:
            raise MisuseError("the id generator gave an empty id (HS-6)", "give each its own")
        return id_

    def _is_welcome(self, request: UpgradeRequest) -> bool:
        if self._origins is None:
            return request.is_same_origin
        sent = request.headers.get_all("Origin")
        return not sent or ANY_ORIGIN in self._origins or set(sent) <= set(self._origins)

    def _admit(self, connection: Connection) -> Awaitable[None] | None:
        if self._is_closing:
            raise ReplyError(CLOSING)
        if connection.id in self._connections:
            raise ReplyError(ID_IN_USE)
        self._connections[connection.id] = connection  # also while it is decided
        return self._on_connect(connection) if self._on_connect else None

    def _closed(self, connection: Connection, cause: Cause) -> Awaitable[None] | None:
        self._all.discard(connection)
        is_told = self._on_disconnect is not None and connection.was_open
        return self._on_disconnect(connection, cause) if self._on_disconnect and is_told else None

    def _gone(self, connection: Connection, _: Cause) -> None:
        self._count -= 1
        if self._connections.get(connection.id) is connection:
            del self._connections[connection.id]

    def _changed(self, connection: Connection, event: Changed) -> None:
        place = event.namespace, event.room
        if event.change in (Change.CONNECT, Change.JOIN):
            self._members.setdefault(place, {})[connection] = None
            return
        members = self._members.get(place)
        if members is not None:
            members.pop(connection, None)
            if not members:
                del self._members[place]

    def _broadcaster(self, session: Session) -> Callable[..., None]:
        def broadcast(namespace: str, event: str, body: str | bytes, *, room: str, to: str) -> None:
            but = None if to else self._connections.get(session.id)
            self.broadcast(namespace, event, body, room=room, to=to, but=but)

        return broadcast

    def _receivers(self, namespace: str, room: str, to: str) -> tuple[Connection, ...]:
        if not to:
            return self.members(namespace, room)
        connection = self._connections.get(to)
        is_member = connection in self._members.get((namespace, room), ())
        return (connection,) if connection is not None and is_member else ()
