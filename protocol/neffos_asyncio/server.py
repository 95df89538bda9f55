"""A neffos server: which connections it accepts, who is connected, and broadcasts.

It does not know how connections reach it. ``listening`` serves it from a socket of its own, and
``asgi`` from an ASGI server's.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from http import HTTPStatus
from secrets import token_bytes
from types import MappingProxyType
from typing import Any, Final

from websockets.frames import CloseCode

from neffos_asyncio.asgi import serve_asgi
from neffos_asyncio.cluster import MAX_NAME, Alone, Cluster
from neffos_asyncio.connection import Connection, Hook
from neffos_asyncio.controllers import SCOPES, Part, application_of
from neffos_asyncio.dependencies import Dependencies
from neffos_asyncio.dispatch import Dispatcher
from neffos_asyncio.errors import NoReceiverError, ReplyError
from neffos_asyncio.exchange import Exchange
from neffos_asyncio.limits import DEFAULT, DEFAULT_TIMEOUT, Limits
from neffos_asyncio.request import UpgradeRequest
from neffos_codec import Message, WaitTokens
from neffos_protocol import Cause, Change, Changed, Closed, MisuseError, Role, Session, prepare

SHUTDOWN: Final = CloseCode.GOING_AWAY
"""The close code of a server that shuts down (TR-13)."""

MAX_CONNECTIONS: Final = 10_000
"""Concurrent connections, if the application gives no number: a process has that many files."""

ANY_ORIGIN: Final = "*"
"""As the only origin: pages of every site may connect."""

CLOSING: Final = "the server shuts down"
"""The reason for a client that connects while the server shuts down."""

ID_IN_USE: Final = "this connection id is in use"
"""The reason for a client whose ID another open connection has (HS-6)."""

Membership = tuple[str, str]
"""A namespace and a room of it; the room is empty for the namespace as a whole."""


def random_id(_: UpgradeRequest) -> str:
    """Return an ID that nobody can guess: the default for connections (HS-20)."""
    return str(uuid.uuid4())


class Server:
    """A neffos server.

    Args:
        parts: handlers as mappings (namespace, event, handler), controller classes, or both.
            They are joined into one application.
        dependencies: for controllers: values, classes, and functions that make a value.
        id_generator: returns the ID of a connection, from its upgrade request.
        on_connect: called with each connection before its handshake is accepted. It may raise
            ``ReplyError`` to refuse it (HS-17). The connection is not open yet.
        on_open: called with each connection when it is open, before any handler.
        on_disconnect: called after the end of each connection that was open, with the cause. A
            coroutine has ``Limits.grace`` seconds, and is then cancelled.
        origins: pages that may connect, such as ``https://example.org``; by default those of
            the server's own host (SEC-9). ``[ANY_ORIGIN]`` accepts all.
        limits: the bounds of each connection.
        exchange: what connects this server to others, such as a ``RedisExchange``: broadcasts and
            asks then also reach their connections. Where the broker is away, they reach those of
            this server.
        max_connections: how many connections at a time; others get the HTTP status 503. A
            connection that has ended counts until its handlers have.

    Raises:
        ValueError: an event has two handlers.
        DependencyError: a dependency of a controller is not registered.
    """

    def __init__(
        self,
        *parts: Part,
        dependencies: Iterable[object] = (),
        id_generator: Callable[[UpgradeRequest], str] = random_id,
        on_connect: Hook | None = None,
        on_open: Hook | None = None,
        on_disconnect: Callable[[Connection, Cause], Awaitable[None] | None] | None = None,
        origins: Collection[str] | None = None,
        limits: Limits = DEFAULT,
        exchange: Exchange | None = None,
        max_connections: int = MAX_CONNECTIONS,
    ) -> None:
        if isinstance(origins, str):
            raise TypeError("origins are several texts; give a list of them")
        self.limits: Final = limits
        application = application_of(parts, Dependencies((*dependencies, self), SCOPES))
        self._cluster: Cluster | Alone = (
            Alone()
            if exchange is None
            else Cluster(exchange, application.events, self._receivers, _ask_each, limits.ask)
        )
        self._dispatcher = Dispatcher(
            application,
            limits,
            broadcast=self._broadcast_from,
            observe=self._observe,
            on_handshake=self._handshake,
            on_open=on_open,
            on_closed=self._closed,
            connecting=self._cluster.connecting,
            subscribed=self._cluster.subscribed,
        )
        self._id_generator = id_generator
        self._on_connect = on_connect
        self._on_disconnect = on_disconnect
        self._origins = origins
        self._max_connections = max_connections
        self._tokens = WaitTokens(client=False, clock=time.time_ns, entropy=token_bytes)
        self._connections: dict[str, Connection] = {}
        self._members: dict[Membership, dict[Connection, None]] = {}
        self._all: set[Connection] = (
            set()
        )  # also those that have ended and whose handlers still run
        self._is_closing = False

    # ------------------------------------------------------------ who is connected

    @property
    def connections(self) -> Mapping[str, Connection]:
        """The connections by their IDs, also those whose handshake is being decided."""
        return MappingProxyType(self._connections)

    def members(self, namespace: str, room: str = "") -> tuple[Connection, ...]:
        """Return the connections that have a namespace connected, or a room of it joined."""
        return tuple(self._members.get((namespace, room), ()))

    # ------------------------------------------------------------ to many connections

    def broadcast(
        self,
        namespace: str,
        event: str,
        body: str | bytes = "",
        *,
        room: str = "",
        to: str = "",
        exclude: Connection | None = None,
    ) -> int:
        """Send an event to many connections, and return the number of those of this server.

        Each gets the broadcasts of one server in the order in which they were made (EV-9), and
        none with a token (AR-17).

        Args:
            namespace: only connections that have it connected.
            event: its name.
            body: its body.
            room: only those that have joined this room.
            to: only the connection with this ID.
            exclude: all but this connection.

        Raises:
            MisuseError: the event is a system event.
            EncodeError: a frame cannot carry this.
        """
        message = Message(namespace=namespace, room=room, event=event, body=body)
        prepared = prepare(message)
        count = 0
        for connection in self._receivers(namespace, room, to):
            if connection is not exclude:
                count += connection.link.send_prepared(prepared)
        if to not in self._connections:
            self._cluster.publish(message, to)
        return count

    async def ask(
        self,
        namespace: str,
        event: str,
        body: str | bytes = "",
        *,
        room: str = "",
        to: str = "",
        exclude: Connection | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
    ) -> Message:
        """Ask many connections, and return the first reply that is not an error.

        Each connection is asked with a token of its own, so that none can reply for another
        (AR-12). The arguments are those of ``broadcast``.

        With an exchange, nobody knows how many servers there are: an ask of several connections
        to which none replies well ends at its deadline.

        Raises:
            NoReceiverError: there is no such connection, and no exchange.
            PeerError, DeadlineError, LostError: every ask failed; this is the last error.
            MisuseError, EncodeError: see ``broadcast``.
        """
        message = Message(namespace=namespace, room=room, event=event, body=body)
        prepare(message)
        asked = [each for each in self._receivers(namespace, room, to) if each is not exclude]
        asks = _asks_of(asked, message, timeout)
        if to not in self._connections:
            asks += self._cluster.asks(message, to, self.limits.seconds(timeout))
        return await _first(asks, message)

    async def shutdown(
        self, *, code: int = SHUTDOWN, reason: str = CLOSING, seconds: float = 5
    ) -> None:
        """Accept no more connections, and close all.

        Args:
            code: of the close frames.
            reason: likewise.
            seconds: for close frames to be answered and handlers to end, before a reset.
        """
        self._is_closing = True
        connections = list(self._all)
        # A handler that shuts its server down cannot wait for itself.
        others = [connection for connection in connections if not connection.is_in_handler]
        for connection in connections:
            connection.close(code, reason)
        try:
            async with asyncio.timeout(seconds):
                await asyncio.gather(
                    *(connection.link.wait_lost() for connection in connections),
                    *(connection.wait_closed() for connection in others),
                )
        except TimeoutError:
            for connection in connections:
                connection.link.abort()
            await asyncio.gather(*(connection.drain_handlers(0) for connection in others))
        finally:  # also if this is cancelled: nothing else ends the connection to the broker
            await self._cluster.close()

    # ------------------------------------------------------------ for what serves it

    def accept(self, request: UpgradeRequest) -> Connection | HTTPStatus:
        """Return the connection for an upgrade request, or the status to refuse it with.

        Raises:
            MisuseError: the ID generator gave an ID that no connection can have.
        """
        if not self._is_allowed(request):
            return HTTPStatus.FORBIDDEN
        if self._is_closing or len(self._all) >= self._max_connections:
            return HTTPStatus.SERVICE_UNAVAILABLE
        id_ = self._id_generator(request)
        if not id_:
            raise MisuseError("the id generator gave an empty id (HS-6)", "give each its own")
        if not self._cluster.is_possible(id_):
            text = "the id generator gave an id that an exchange does not carry: a namespace's name"
            raise MisuseError(f"{text}, or more than {MAX_NAME} bytes", "give others")
        session = Session(
            Role.SERVER,
            tokens=self._tokens,
            id=id_,
            namespaces=self._dispatcher.application.events,
            decides=frozenset(Change),
            decides_handshake=True,
            native=self._dispatcher.application.native,
            limits=self.limits.session,
        )
        connection = Connection(session, self.limits, self._dispatcher, request)
        self._all.add(connection)
        return connection

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve as an ASGI application: mount it at the WebSocket's path."""
        await serve_asgi(scope, receive, send, accept=self.accept, shutdown=self.shutdown)

    def _is_allowed(self, request: UpgradeRequest) -> bool:
        if self._origins is None:
            return request.is_same_origin
        sent = request.headers.get_all("Origin")
        return not sent or ANY_ORIGIN in self._origins or set(sent) <= set(self._origins)

    # ------------------------------------------------------------ what connections report

    def _handshake(self, connection: Connection) -> Awaitable[None] | None:
        if self._is_closing:
            raise ReplyError(CLOSING)
        if connection.id in self._connections:
            raise ReplyError(ID_IN_USE)
        self._connections[connection.id] = connection  # also while it is decided
        ready = self._cluster.add(connection.id)
        decision = self._on_connect(connection) if self._on_connect else None
        return decision if ready is None else _both(decision, ready)

    def _closed(self, connection: Connection, cause: Cause) -> Awaitable[None] | None:
        hook, work = self._on_disconnect, None
        try:
            if hook is not None and connection.was_open:
                work = hook(connection, cause)
        finally:
            if work is None:
                self._all.discard(connection)
        return None if work is None else self._report(connection, work)

    async def _report(self, connection: Connection, work: Awaitable[None]) -> None:
        try:
            async with asyncio.timeout(self.limits.grace):
                await work
        finally:
            self._all.discard(connection)

    def _observe(self, connection: Connection, event: Changed | Closed) -> None:
        if isinstance(event, Closed):
            if self._connections.get(connection.id) is connection:
                del self._connections[connection.id]
                self._cluster.remove(connection.id)
            return
        key = event.namespace, event.room
        if event.change in (Change.CONNECT, Change.JOIN):
            self._members.setdefault(key, {})[connection] = None
            if event.change is Change.CONNECT:
                self._cluster.connected(event.namespace)
        elif members := self._members.get(key):
            members.pop(connection, None)
            if not members:
                del self._members[key]
            if event.change is Change.DISCONNECT:
                self._cluster.disconnected(event.namespace)

    def _broadcast_from(
        self,
        connection: Connection,
        namespace: str,
        event: str,
        body: str | bytes,
        room: str,
        to: str,
    ) -> None:
        exclude = None if to else connection
        self.broadcast(namespace, event, body, room=room, to=to, exclude=exclude)

    def _receivers(self, namespace: str, room: str, to: str) -> tuple[Connection, ...]:
        members = self._members.get((namespace, room), {})
        if not to:
            return tuple(members)
        connection = self._connections.get(to)
        return (connection,) if connection is not None and connection in members else ()


async def _both(decision: Awaitable[None] | None, ready: asyncio.Future[None]) -> None:
    if decision is not None:
        await decision
    await asyncio.shield(ready)


def _asks_of(
    connections: Iterable[Connection], message: Message, timeout: float | None
) -> list[asyncio.Task[Message]]:
    """Ask the connections that have the message's namespace."""
    name = message.namespace
    return [
        asyncio.create_task(
            connection.namespace(name).ask(
                message.event, message.body, room=message.room, timeout=timeout
            )
        )
        for connection in connections
        if connection.link.session.is_member(name)
    ]


async def _ask_each(
    connections: Iterable[Connection], message: Message, timeout: float | None
) -> Message:
    return await _first(_asks_of(connections, message, timeout), message)


async def _first(asks: list[asyncio.Task[Message]], asked: Message) -> Message:
    """Return the first reply that is not an error, and give up the other asks."""
    if not asks:
        text = f"nobody is there to answer {asked.event!r} in {asked.namespace!r}"
        raise NoReceiverError(text)
    try:
        for reply in asyncio.as_completed(asks):
            try:
                return await reply
            except Exception as error:
                last = error
        raise last
    finally:
        for ask in asks:
            ask.cancel()
        await asyncio.gather(*asks, return_exceptions=True)
