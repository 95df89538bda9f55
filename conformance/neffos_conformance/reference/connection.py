"""A connection as an application sees it: its namespaces, their rooms, and what it can do.

Both roles have the same connection; which one it is, only the session knows. Here events meet
handlers. What carries the messages is not known here.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from neffos_codec import EncodeError, Message, Native, first_surrogate
from neffos_conformance.reference.errors import DeadlineError, PeerError, ReplyError
from neffos_conformance.reference.handlers import (
    ON_NAMESPACE_CONNECT,
    ON_NAMESPACE_CONNECTED,
    ON_NAMESPACE_DISCONNECT,
    ON_NATIVE_MESSAGE,
    ON_ROOM_JOIN,
    ON_ROOM_JOINED,
    ON_ROOM_LEAVE,
    ON_ROOM_LEFT,
    Answer,
    Application,
    Handler,
)
from neffos_conformance.reference.limits import Limits
from neffos_conformance.reference.link import GOING, REFUSED, Link, log
from neffos_conformance.reference.transport import Transport
from neffos_conformance.reference.turns import Turns, Work
from neffos_protocol import (
    Asked,
    Cause,
    Change,
    ChangeAsked,
    Changed,
    Closed,
    Event,
    HandshakeAsked,
    MisuseError,
    NativeReceived,
    Opened,
    Received,
    Role,
    Session,
)
from neffos_protocol.names import BAD_ROOM

if TYPE_CHECKING:
    from neffos_conformance.reference.request import UpgradeRequest

INTERNAL_ERROR: Final = "internal error"
"""What a peer is told of an exception that was not raised for it (SEC-17)."""

HANDLER_TIMEOUT: Final = "the handler took too long"
"""What a peer is told of a handler that was cancelled."""

ASKING_FACTOR: Final = 4
"""How many times ``Limits.waiting`` may wait while somebody here waits for the peer's answer,
which stands behind what waits."""

LAST_WORDS: Final = 1.0
"""Seconds for what is told of the end, after handlers that did not end were cancelled."""

DEFAULT_TIMEOUT: Final = -1.0
"""Stands for the time that the limits name."""

_ASKED: Final = {
    Change.CONNECT: ON_NAMESPACE_CONNECT,
    Change.DISCONNECT: ON_NAMESPACE_DISCONNECT,
    Change.JOIN: ON_ROOM_JOIN,
    Change.LEAVE: ON_ROOM_LEAVE,
}
_HAPPENED: Final = {
    Change.CONNECT: ON_NAMESPACE_CONNECTED,
    Change.DISCONNECT: ON_NAMESPACE_DISCONNECT,
    Change.JOIN: ON_ROOM_JOINED,
    Change.LEAVE: ON_ROOM_LEFT,
}

Hook = Callable[["Connection"], Awaitable[None] | None]
"""What an application wants to do with a connection as a whole."""


class Namespace:
    """A namespace on one connection: what handlers are given, and ``Connection.connect`` gives.

    Attributes:
        connection: where it is.
        name: its name.
        values: a place for the application's own.
    """

    __slots__ = ("connection", "name", "values")

    def __init__(self, connection: Connection, name: str) -> None:
        self.connection: Final = connection
        self.name: Final = name
        self.values: dict[Any, Any] = {}

    def __repr__(self) -> str:
        return f"<Namespace {self.name!r} of {self.connection!r}>"

    @property
    def is_connected(self) -> bool:
        """Whether events can flow."""
        return self.name in self.connection.link.session.connected

    @property
    def rooms(self) -> frozenset[str]:
        """The joined rooms."""
        return self.connection.link.session.joined(self.name)

    def emit(self, event: str, body: str | bytes = "", *, room: str = "") -> None:
        """Send an event.

        Raises:
            MisuseError: the namespace is not connected, or the room not joined.
            EncodeError: no frame can carry this.
        """
        link = self.connection.link
        link.session.emit(self.name, event, body, room=room)
        link.wake()
        link.count(len(body))

    async def ask(
        self,
        event: str,
        body: str | bytes = "",
        *,
        room: str = "",
        timeout: float | None = DEFAULT_TIMEOUT,
    ) -> Message:
        """Send an event and wait for the reply.

        Args:
            event: its name.
            body: its body; ``bytes`` makes a binary message.
            room: a joined room that it is for.
            timeout: seconds; ``None`` waits for ever.

        Raises:
            PeerError: the peer's handler answered with an error.
            DeadlineError: no reply came in time.
            LostError: the connection or the namespace ended before it came.
            MisuseError, EncodeError: see ``emit``.
        """
        connection = self.connection
        reply: Message = await connection.link.ask(
            lambda deadline: connection.link.session.ask(
                self.name, event, body, room=room, deadline=deadline
            ),
            connection.patience(timeout),
        )
        if reply.is_error:
            raise PeerError(text_of(reply.body))
        return reply

    async def join(self, room: str, *, timeout: float | None = DEFAULT_TIMEOUT) -> None:
        """Ask the peer for the connection to join a room; see ``ask`` for what is raised."""
        if room not in self.rooms:
            await self._change(Change.JOIN, room, timeout)

    async def leave(self, room: str, *, timeout: float | None = DEFAULT_TIMEOUT) -> None:
        """Ask the peer for the connection to leave a room; see ``ask`` for what is raised."""
        if room in self.rooms:
            await self._change(Change.LEAVE, room, timeout)

    async def leave_all(self, *, timeout: float | None = DEFAULT_TIMEOUT) -> None:
        """Leave every room, by an ask for each (RM-8); see ``ask`` for what is raised."""
        for room in sorted(self.rooms):
            await self.leave(room, timeout=timeout)

    async def disconnect(self, *, timeout: float | None = DEFAULT_TIMEOUT) -> None:
        """Ask the peer to disconnect the namespace; see ``ask`` for what is raised."""
        if self.is_connected:
            await self._change(Change.DISCONNECT, "", timeout)

    def broadcast(
        self, event: str, body: str | bytes = "", *, room: str = "", to: str = ""
    ) -> None:
        """Send an event to the server's other connections in this namespace.

        Args:
            event: its name.
            body: its body.
            room: only to those that have joined this room.
            to: only to the connection with this id, which may be this one.

        Raises:
            MisuseError: this is a client's connection.
            EncodeError: no frame can carry this.
        """
        self.connection.broadcast(self.name, event, body, room=room, to=to)

    async def _change(self, change: Change, room: str, timeout: float | None) -> None:
        connection = self.connection
        session = connection.link.session
        commands: dict[Change, Callable[[float | None], list[Event]]] = {
            Change.DISCONNECT: lambda at: session.disconnect(self.name, deadline=at),
            Change.JOIN: lambda at: session.join(self.name, room, deadline=at),
            Change.LEAVE: lambda at: session.leave(self.name, room, deadline=at),
        }
        key = change, self.name, room
        await connection.link.change(key, commands[change], connection.patience(timeout))


class Connection:
    """One connection to a peer.

    Applications do not make these: a server gives one to each handler, and ``dial`` makes one.

    Attributes:
        link: the session on its transport, for those who know what they do.
        request: the upgrade request of a server's connection; ``None`` on a client.
        values: a place for the application's own.
        was_open: whether it ever was.
        is_left: whether the application here closed it.
    """

    __slots__ = (
        "_application",
        "_limits",
        "_namespaces",
        "_on_change",
        "_on_closed",
        "_on_gone",
        "_on_handshake",
        "_on_open",
        "_turns",
        "_waiting_size",
        "broadcast",
        "is_left",
        "link",
        "request",
        "values",
        "was_open",
    )

    def __init__(
        self,
        session: Session,
        application: Application,
        limits: Limits,
        *,
        broadcast: Callable[..., None],
        request: UpgradeRequest | None = None,
        on_handshake: Hook | None = None,
        on_open: Hook | None = None,
        on_closed: Callable[[Connection, Cause], Awaitable[None] | None] | None = None,
        on_gone: Callable[[Connection, Cause], None] | None = None,
        on_change: Callable[[Connection, Changed], None] | None = None,
    ) -> None:
        self.request: Final = request
        self.values: dict[Any, Any] = {}
        self.broadcast: Final = broadcast
        self._application = application
        self._limits = limits
        self._on_handshake = on_handshake
        self._on_open = on_open
        self._on_closed = on_closed
        self._on_gone = on_gone
        self.was_open = False
        self.is_left = False
        self._on_change = on_change
        self._namespaces: dict[str, Namespace] = {}
        self._turns: Turns[Event] = Turns(self._begin, self._send, "neffos handlers")
        self._waiting_size = 0
        self.link = Link(session, limits, self._deliver)

    def __repr__(self) -> str:
        return f"<Connection {self.id!r}>"

    def start(self, transport: Transport, *, spent: float) -> None:
        """Begin on a transport that is open.

        Args:
            transport: what carries the messages.
            spent: seconds of the time for the handshake that are over already.
        """
        # Who dials has a deadline of its own.
        patience = self._limits.handshake if self.role is Role.SERVER else None
        self.link.start(transport, patience=None if patience is None else patience - spent)
        if self.is_open:  # a native-only connection has no handshake
            self._turns.add(HandshakeAsked())
            self._turns.add(Opened(self.id))

    def renew(self, session: Session) -> None:
        """Go on with a new session in place of one that has ended, on a transport to come."""
        self.link = Link(session, self._limits, self._deliver)
        self.is_left = False

    # ------------------------------------------------------------ what it is

    @property
    def id(self) -> str:
        """The connection's id, chosen by the server."""
        return self.link.session.id

    @property
    def role(self) -> Role:
        """Which end this is."""
        return self.link.session.role

    @property
    def is_open(self) -> bool:
        """Whether events can flow."""
        return self.link.session.is_open

    @property
    def tries(self) -> int:
        """How many tries a reconnecting client needed to get here; 0 for a first connection."""
        return self.request.tries if self.request else 0

    @property
    def namespaces(self) -> dict[str, Namespace]:
        """The connected namespaces by their names."""
        return {name: self._namespaces[name] for name in sorted(self.link.session.connected)}

    def namespace(self, name: str) -> Namespace:
        """Give a connected namespace.

        Raises:
            MisuseError: it is not connected.
        """
        if name not in self.link.session.connected:
            raise MisuseError(f"namespace {name!r} is not connected", "connect it first")
        return self._namespaces[name]

    # ------------------------------------------------------------ what it can do

    async def connect(self, name: str, *, timeout: float | None = DEFAULT_TIMEOUT) -> Namespace:
        """Ask the peer to connect a namespace, where it is not connected already.

        Raises:
            PeerError: the peer refused; for an unknown namespace its text is ``bad namespace``.
            DeadlineError: it did not answer in time.
            LostError: the connection ended before it did.
            MisuseError: the application here has no handlers for the namespace.
        """
        session = self.link.session
        patience = self.patience(timeout)
        if name not in session.connected:
            try:
                async with asyncio.timeout(patience):
                    await self._build(name)
            except TimeoutError:
                text = f"what namespace {name!r} needs was not made in time"
                raise DeadlineError(text) from None
            await self.link.change(
                (Change.CONNECT, name, ""),
                lambda deadline: session.connect(name, deadline=deadline),
                patience,
            )
        return self._namespaces[name]

    def send_native(self, payload: str | bytes) -> None:
        """Send a native message (NM-1).

        Raises:
            MisuseError: the connection is not open.
            EncodeError: the peer would not read it as what it is.
        """
        self.link.session.send_native(payload)
        self.link.wake()
        self.link.count(len(payload))

    def close(self, code: int = GOING[0], reason: str = "") -> None:
        """Send what is to be sent, then end the connection with a close frame (TR-13)."""
        self.is_left = True
        self.link.end(code, reason)

    async def drained(self) -> None:
        """Wait until the peer has read most of what was written to it, or is gone.

        Who sends much awaits this between: a peer for which more than ``Limits.backlog`` piles
        up is closed.
        """
        self.link.flush()
        await self.link.drained()

    async def wait_closed(self) -> None:
        """Wait until the connection has ended and its handlers have dealt with that."""
        await self.link.wait_lost()
        if not self.is_in_handler:
            await self._turns.idle()

    @property
    def is_in_handler(self) -> bool:
        """Whether who asks is one of this connection's own coroutine handlers."""
        return self._turns.is_current

    def patience(self, timeout: float | None) -> float | None:
        """Give the seconds that a timeout stands for."""
        return self._limits.ask if timeout == DEFAULT_TIMEOUT else timeout

    async def drain_handlers(self, seconds: float) -> None:
        """Let handlers finish what they are at, and cancel them after some seconds.

        What has come about is told all the same, for which there is a little more time.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._turns.idle()
        except TimeoutError:
            self._turns.cancel(lambda event: isinstance(event, Changed | Closed))
            with suppress(TimeoutError):
                async with asyncio.timeout(LAST_WORDS):
                    await self._turns.idle()

    # ------------------------------------------------------------ events

    def _deliver(self, event: Event) -> None:
        if type(event) is Changed:
            self._changed(event)
        elif type(event) is Closed and self._on_gone is not None:
            self._on_gone(self, event.cause)  # at once, whatever its handlers are at
        turns = self._turns
        turns.add(event)
        if turns.is_busy and len(turns):
            self._waiting_size += _size(event)
            self._bound(len(turns))

    def _bound(self, waiting: int) -> None:
        """Hold back a peer whose messages come faster than handlers deal with them."""
        limits = self._limits
        over = max(waiting / limits.waiting, self._waiting_size / limits.waiting_size)
        if over < 1:
            return
        if not self.link.is_asking:
            self.link.hold(True)
        elif over > ASKING_FACTOR:
            self.link.end(REFUSED, "SEC-7: more messages than can be handled")
        else:
            self.link.hold(False)  # the answer that somebody waits for is still to be read

    def _changed(self, event: Changed) -> None:
        if event.change is Change.CONNECT:
            self._space(event.namespace)
        if self._on_change is not None:
            self._on_change(self, event)

    def _space(self, name: str) -> Namespace:
        space = self._namespaces.get(name)
        if space is None:
            space = self._namespaces[name] = Namespace(self, name)
        return space

    def _begin(self, event: Event) -> Work | None:
        """Deal with an event that has its turn; give what takes time."""
        if self._waiting_size or self.link.is_held:
            self._relieve(event)
        match event:
            case Asked(message):
                return self._handle(event, message)
            case Received(message):
                return self._handle(None, message)
            case NativeReceived(payload, namespace):
                return self._native(payload, namespace)
            case ChangeAsked(change, namespace, room):
                return self._decide(event, change, namespace, room)
            case Changed(change, namespace, room, cause):
                return self._notice(event, change, namespace, room, cause)
            case HandshakeAsked():
                return self._admit()
            case Opened() if self.is_open:
                return self._open()
            case Closed(cause):
                return self._close(cause)
            case _:
                return None

    def _send(self) -> Work | None:
        self.link.flush()
        return self.link.drained() if self.link.is_stalled else None

    def _relieve(self, event: Event) -> None:
        """Read on once few enough messages wait."""
        waiting = len(self._turns)
        self._waiting_size = max(0, self._waiting_size - _size(event)) if waiting else 0
        if self.link.is_held and waiting <= self._limits.waiting // 2:
            self.link.hold(False)

    # ------------------------------------------------------------ messages

    def _handle(self, asked: Asked | None, message: Message) -> Work | None:
        handler = self._application.handler(message.namespace, message.event)
        if handler is None:
            self._answer(asked, message, None)  # AR-9
            return None
        namespace = self._space(message.namespace)
        if message.room and message.room not in namespace.rooms:  # RM-9
            self._refuse(asked, message, BAD_ROOM if asked else "")
            return None
        try:
            answer = handler(namespace, message)
        except (Exception, asyncio.CancelledError) as error:  # it may raise anything
            self._refuse(asked, message, _told(error))
            return None
        if answer is not None and not isinstance(answer, (str, bytes)):
            return self._later(asked, message, answer)
        self._answer(asked, message, answer)
        return None

    async def _later(
        self, asked: Asked | None, message: Message, answer: Awaitable[Answer]
    ) -> None:
        try:
            async with asyncio.timeout(self._limits.handler) as limit:
                given = await _settled(answer)
        except Exception as error:
            self._refuse(asked, message, HANDLER_TIMEOUT if limit.expired() else _told(error))
        else:
            self._answer(asked, message, given)

    def _answer(self, asked: Asked | None, message: Message, body: Answer) -> None:
        """Send what a handler gave, where it still can be sent."""
        session = self.link.session
        try:
            if body is None:
                if asked is not None:
                    session.ignore(asked)
            elif asked is not None:
                session.reply(asked, body)
                self.link.count(len(body))
            elif not message.room or message.room in session.joined(message.namespace):  # RM-10
                reply = message.reply(body)
                session.emit(message.namespace, message.event, reply.body, room=message.room)
                self.link.count(len(body))
        except MisuseError as error:  # the namespace, or the connection, ended meanwhile
            log.debug("%r: an answer that nobody waits for any more: %s", self, error)
        except (EncodeError, TypeError) as error:
            log.error("%r: a handler gave what cannot be sent", self, exc_info=error)
            self._refuse(asked, message, INTERNAL_ERROR)

    def _refuse(self, asked: Asked | None, message: Message, text: str) -> None:
        """Send an error; an empty text stands for none."""
        session = self.link.session
        with suppress(MisuseError):  # as above
            if asked is not None:
                session.reply_error(asked, text or INTERNAL_ERROR)
            elif text:
                error = message.error_reply(text)
                session.emit(
                    message.namespace, message.event, error.body, room=message.room, is_error=True
                )

    def _native(self, payload: str | bytes, namespace: str) -> Work | None:
        handler = self._application.notice(namespace, ON_NATIVE_MESSAGE)
        if handler is None:
            return None
        message = Message(namespace=namespace, event=ON_NATIVE_MESSAGE, body=payload)
        return self._call(handler, namespace, message, self._echo)

    def _echo(self, body: Answer) -> None:
        if body is None:
            return
        try:
            if not isinstance(body, (str, bytes)):
                raise TypeError(f"a native message is text or octets, not {body!r}")
            self.link.session.send_native(body)  # NM-7
            self.link.count(len(body))
        except MisuseError:  # the connection ended meanwhile
            return
        except (EncodeError, TypeError) as error:
            log.error("%r: a handler gave what cannot be sent", self, exc_info=error)

    # ------------------------------------------------------------ changes

    def _decide(self, asked: ChangeAsked, change: Change, namespace: str, room: str) -> Work | None:
        handler = self._application.notice(namespace, _ASKED[change])
        builds = change is Change.CONNECT and namespace in self._application.builders
        if handler is None and not builds:
            self._decided(asked, "")
            return None
        if builds:
            return self._build_and_decide(asked, handler)
        return self._judge(asked, handler)

    def _judge(self, asked: ChangeAsked, handler: Handler | None) -> Work | None:
        if handler is None:
            self._decided(asked, "")
            return None
        return self._call(
            handler,
            asked.namespace,
            asked,
            lambda _: self._decided(asked, ""),
            lambda text: self._decided(asked, text),
        )

    async def _build_and_decide(self, asked: ChangeAsked, handler: Handler | None) -> None:
        try:
            async with asyncio.timeout(self._limits.handler) as limit:
                await self._build(asked.namespace)
        except Exception as error:
            self._decided(asked, HANDLER_TIMEOUT if limit.expired() else _told(error))
        else:
            work = self._judge(asked, handler)
            if work is not None:
                await work

    async def _build(self, name: str) -> None:
        """Make what the namespace's controllers need, unless that was done."""
        builders = self._application.builders.get(name)
        space = self._space(name)
        for build in builders or ():
            await _settled(build(space))

    def _decided(self, asked: ChangeAsked, refusal: str) -> None:
        session = self.link.session
        try:
            self.link.take(session.deny(asked, refusal) if refusal else session.allow(asked))
        except MisuseError as error:  # it was withdrawn meanwhile
            log.debug("%r: a decision that nobody waits for any more: %s", self, error)

    def _notice(
        self, event: Changed, change: Change, namespace: str, room: str, cause: Cause
    ) -> Work | None:
        space = self._space(namespace)
        is_back = namespace in self.link.session.connected  # it was connected again meanwhile
        if change is Change.DISCONNECT and cause is not Cause.FORCED and not is_back:
            # A forced end may be made good by a reconnection; then the object lives on.
            self._namespaces.pop(namespace, None)
        if change is Change.DISCONNECT and cause is Cause.PEER and self.role is Role.SERVER:
            return None  # its handler was asked
        handler = self._application.notice(namespace, _HAPPENED[change])
        return self._call(handler, space, event) if handler else None

    # ------------------------------------------------------------ the connection as a whole

    def _admit(self) -> Work | None:
        return self._hook(self._on_handshake, self._let_in, self._turn_away)

    def _let_in(self, _: object) -> None:
        if self.is_open:
            return
        with suppress(MisuseError):  # the client has gone meanwhile
            self.link.take(self.link.session.accept())

    def _open(self) -> Work | None:
        self.was_open = True
        is_alone = self._application.native is Native.ONLY and "" in self._application.builders
        return self._build_and_open() if is_alone else self._hook(self._on_open)

    async def _build_and_open(self) -> None:
        """Make what the one namespace needs, which nobody connects where there are no frames."""
        try:
            async with asyncio.timeout(self._limits.handler) as limit:
                await self._build("")
        except Exception as error:
            self._turn_away(HANDLER_TIMEOUT if limit.expired() else _told(error))
            return
        work = self._hook(self._on_open)
        if work is not None:
            await work

    def _turn_away(self, text: str) -> None:
        if self.is_open:
            self.link.end(REFUSED, text)
            return
        with suppress(MisuseError):
            self.link.turn_away(text)

    def _hook(
        self,
        hook: Hook | None,
        done: Callable[[object], None] | None = None,
        failed: Callable[[str], None] | None = None,
    ) -> Work | None:
        if hook is None:
            if done is not None:
                done(None)
            return None
        return self._call(lambda _, connection: hook(connection), None, self, done, failed)

    def _close(self, cause: Cause) -> Work | None:
        hook = self._on_closed
        if hook is None:
            return None
        return self._call(lambda _, connection: hook(connection, cause), None, self)

    # ------------------------------------------------------------ calling the application

    def _call(
        self,
        handler: Callable[[Any, Any], Any],
        namespace: Namespace | str | None,
        argument: Any,
        done: Callable[[Any], None] | None = None,
        failed: Callable[[str], None] | None = None,
    ) -> Work | None:
        """Call the application; tell ``done`` what it gave, or ``failed`` what to tell the peer."""
        space = self._space(namespace) if isinstance(namespace, str) else namespace
        try:
            given = handler(space, argument)
        except (Exception, asyncio.CancelledError) as error:
            text = _told(error)
            if failed is not None:
                failed(text)
            return None
        if inspect.isawaitable(given):
            return self._wait(given, done, failed)
        if done is not None:
            done(given)
        return None

    async def _wait(
        self,
        work: Awaitable[Any],
        done: Callable[[Any], None] | None,
        failed: Callable[[str], None] | None,
    ) -> None:
        try:
            async with asyncio.timeout(self._limits.handler) as limit:
                given = await _settled(work)
        except Exception as error:
            text = HANDLER_TIMEOUT if limit.expired() else _told(error)
            if failed is not None:
                failed(text)
        else:
            if done is not None:
                done(given)


def text_of(body: str | bytes) -> str:
    """Give a body as text, whatever its kind (FR-17)."""
    return body if isinstance(body, str) else body.decode(errors="replace")


async def _settled(work: Awaitable[Any]) -> Any:
    """Await what the application gave; an end that nobody here asked for is a failure of it."""
    try:
        return await work
    except asyncio.CancelledError as error:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        raise RuntimeError("what a handler waited for was cancelled") from error


def _told(error: BaseException) -> str:
    """Give what the peer is told of an exception, and log what it is not told (SEC-17)."""
    match error:
        case PeerError():
            pass
        case ReplyError(text=text) if first_surrogate(text) < 0:
            return text or INTERNAL_ERROR
    log.error("a handler failed", exc_info=error)
    return INTERNAL_ERROR


def _size(event: Event) -> int:
    match event:
        case Asked(message) | Received(message):
            return len(message.body)
        case NativeReceived(payload):
            return len(payload)
        case _:
            return 0
