"""A connection as an application uses it: its namespaces, their rooms, and what it can send.

Both roles have the same connection; only its session knows the role. How events are handled, and
what carries the messages, is not known here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager, suppress
from functools import partial
from sys import getsizeof
from typing import Any, Final, Protocol

from neffos_asyncio.errors import DeadlineError, LostError, PeerError
from neffos_asyncio.failures import FailureLog
from neffos_asyncio.handler_queue import TURN, TURN_SIZE, HandlerQueue, Work
from neffos_asyncio.limits import DEFAULT_TIMEOUT, Limits
from neffos_asyncio.link import NORMAL, REFUSED, Link, Send
from neffos_asyncio.request import UpgradeRequest
from neffos_asyncio.transport import Transport, log
from neffos_codec import Message
from neffos_protocol import (
    Change,
    ChangeAsked,
    Changed,
    Closed,
    Event,
    HandshakeAsked,
    MisuseError,
    Opened,
    Role,
    Session,
)
from neffos_protocol.text import logged

ASKING_FACTOR: Final = 4
"""How many times ``Limits.queue_length`` may wait while an ask of this side is pending: its reply
comes after the messages that wait."""

CANCELLED_GRACE: Final = 1.0
"""Seconds for the handlers of the end of a connection, after slow handlers were cancelled."""


class Namespace:
    """A namespace on one connection: handlers get it, and ``Connection.connect`` returns it.

    Attributes:
        connection: the connection.
        name: the namespace's name.
        values: for the application's own use.
    """

    __slots__ = ("connection", "name", "values")

    def __init__(self, connection: Connection, name: str) -> None:
        self.connection: Final = connection
        self.name: Final = name
        self.values: dict[Any, Any] = {}

    def __repr__(self) -> str:
        return f"<Namespace {logged(self.name)!r} of {self.connection!r}>"

    @property
    def is_connected(self) -> bool:
        """Whether events can be sent."""
        return self.connection.link.session.is_member(self.name)

    @property
    def rooms(self) -> frozenset[str]:
        """The joined rooms."""
        return self.connection.link.session.joined(self.name)

    def emit(self, event: str, body: str | bytes = "", *, room: str = "") -> None:
        """Send an event.

        Raises:
            MisuseError: the namespace is not connected, or the room not joined.
            EncodeError: a frame cannot carry this.
        """
        link = self.connection.link
        link.session.emit(self.name, event, body, room=room)
        link.wake(len(body))

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
            timeout: seconds; ``None`` waits indefinitely.

        Raises:
            PeerError: the peer's handler raised an error.
            DeadlineError: no reply came in time.
            LostError: the connection or the namespace ended before the reply.
            MisuseError, EncodeError: see ``emit``.
        """
        link = self.connection.link
        send = partial(link.session.ask, self.name, event, body, room=room)
        reply: Message = await link.ask(send, timeout)
        if reply.is_error:
            raise PeerError(text_of(reply.body))
        return reply

    async def join(self, room: str, *, timeout: float | None = DEFAULT_TIMEOUT) -> None:
        """Ask the peer to join a room on this connection; ``ask`` says what is raised."""
        if not room or not self.connection.link.session.is_member(self.name, room):
            send = partial(self.connection.link.session.join, self.name, room)
            await self._change(Change.JOIN, room, send, timeout)

    async def leave(self, room: str, *, timeout: float | None = DEFAULT_TIMEOUT) -> None:
        """Ask the peer to leave a room on this connection; ``ask`` says what is raised."""
        if room and self.connection.link.session.is_member(self.name, room):
            send = partial(self.connection.link.session.leave, self.name, room)
            await self._change(Change.LEAVE, room, send, timeout)

    async def leave_all(self, *, timeout: float | None = DEFAULT_TIMEOUT) -> None:
        """Leave every room, with an ask for each (RM-8); ``ask`` says what is raised."""
        for room in sorted(self.rooms):
            await self.leave(room, timeout=timeout)

    async def disconnect(self, *, timeout: float | None = DEFAULT_TIMEOUT) -> None:
        """Ask the peer to disconnect the namespace; ``ask`` says what is raised."""
        if self.is_connected:
            send = partial(self.connection.link.session.disconnect, self.name)
            await self._change(Change.DISCONNECT, "", send, timeout)

    def broadcast(
        self, event: str, body: str | bytes = "", *, room: str = "", to: str = ""
    ) -> None:
        """Send an event to the server's other connections in this namespace.

        Args:
            event: its name.
            body: its body.
            room: only to those that have joined this room.
            to: only to the connection with this ID, which may be this one.

        Raises:
            MisuseError: this is a client's connection.
            EncodeError: a frame cannot carry this.
        """
        self.connection._owner.broadcast(self.connection, self.name, event, body, room, to)

    async def _change(self, change: Change, room: str, send: Send, timeout: float | None) -> None:
        await self.connection.link.change((change, self.name, room), send, timeout)


class Owner(Protocol):
    """What a connection uses of the server or the client that it belongs to."""

    @property
    def failures(self) -> FailureLog:
        """Where errors of the application are logged."""

    def handle(self, connection: Connection, event: Event, /) -> Work | None:
        """Handle an event, in its turn; see ``HandlerQueue``."""

    async def build(self, namespace: Namespace, /) -> None:
        """Make what the controllers of a namespace depend on, unless that was done."""

    @property
    def subscribed(self) -> Callable[[str], AbstractAsyncContextManager[None]]:
        """Begin once what other servers say in a namespace is heard."""

    @property
    def broadcast(self) -> Callable[[Connection, str, str, str | bytes, str, str], None]:
        """Send an event to other connections; see ``Namespace.broadcast``."""

    @property
    def observe(self) -> Callable[[Connection, Changed | Closed], None]:
        """Note a change of membership, or the end, before any handler is called."""


class Connection:
    """One connection to a peer.

    Applications do not make these: a server gives one to each handler, and ``dial`` makes one.

    Attributes:
        link: the session on its transport, for special uses.
        request: the upgrade request of a server's connection; ``None`` on a client.
        values: for the application's own use.
        was_open: whether the connection was ever open.
        is_closed_here: whether the application on this side closed it.
    """

    __slots__ = (
        "_ends",
        "_grace",
        "_is_orderly",
        "_is_overtaking",
        "_namespaces",
        "_owner",
        "_queue",
        "is_closed_here",
        "link",
        "request",
        "values",
        "was_open",
    )

    def __init__(
        self,
        session: Session,
        limits: Limits,
        owner: Owner,
        request: UpgradeRequest | None = None,
    ) -> None:
        self._owner: Final = owner
        self.request: Final = request
        self.values: dict[Any, Any] = {}
        self.was_open = self.is_closed_here = False
        self._namespaces: dict[str, Namespace] = {}
        self._ends = 0  # that are not reported yet
        self._is_orderly = self._is_overtaking = False
        self._grace: asyncio.TimerHandle | None = None
        self._queue: HandlerQueue[Event | str | bytes] = HandlerQueue(
            self._handle, self._send, "neffos handlers"
        )
        self.link = Link(session, limits, self._deliver, self._waits, self._ended)

    def __repr__(self) -> str:
        return f"<Connection {logged(self.id)!r}>"

    def start(self, transport: Transport) -> None:
        """Begin on an open transport, which carries the messages."""
        # `dial` has a deadline of its own.
        limit = self.link.limits.handshake if self.role is Role.SERVER else None
        self.link.start(transport, handshake=limit)
        if self.is_open:  # a native-only connection has no handshake
            self._queue.add(HandshakeAsked())
            self._queue.add(Opened(self.id))

    def renew(self, session: Session) -> None:
        """Replace a session that has ended, on a transport to come."""
        self.link = Link(session, self.link.limits, self._deliver, self._waits, self._ended)
        self.is_closed_here = False

    # ------------------------------------------------------------ state

    @property
    def id(self) -> str:
        """The connection's ID, chosen by the server."""
        return self.link.session.id

    @property
    def role(self) -> Role:
        """The role of this side."""
        return self.link.session.role

    @property
    def is_open(self) -> bool:
        """Whether events can be sent."""
        return self.link.session.is_open

    @property
    def tries(self) -> int:
        """How many tries a reconnecting client needed; 0 for a first connection."""
        return self.request.tries if self.request else 0

    @property
    def namespaces(self) -> dict[str, Namespace]:
        """The connected namespaces by their names."""
        return {name: self._namespaces[name] for name in sorted(self.link.session.connected)}

    def namespace(self, name: str) -> Namespace:
        """Return a connected namespace.

        Raises:
            MisuseError: it is not connected.
        """
        if not self.link.session.is_member(name):
            raise MisuseError(f"namespace {name!r} is not connected", "connect it first")
        return self._namespaces[name]

    @property
    def is_in_handler(self) -> bool:
        """Whether the caller is one of this connection's own coroutine handlers."""
        return self._queue.is_current

    # ------------------------------------------------------------ commands

    async def connect(self, name: str, *, timeout: float | None = DEFAULT_TIMEOUT) -> Namespace:
        """Ask the peer to connect a namespace, unless it is connected.

        Raises:
            PeerError: the peer refused; for an unknown namespace its text is ``bad namespace``.
            DeadlineError: it did not reply in time.
            LostError: the connection ended before the reply, or the peer disconnected the namespace
                right after it.
            MisuseError: the application on this side has no handlers for the namespace.
        """
        session = self.link.session
        if not session.is_member(name):
            try:
                async with asyncio.timeout(self.link.limits.seconds(timeout)):
                    await self._owner.build(self.space(name))
            except TimeoutError:
                text = f"the dependencies of namespace {name!r} were not made in time"
                raise DeadlineError(text) from None
            key = Change.CONNECT, name, ""
            async with self._owner.subscribed(name):
                await self.link.change(key, partial(session.connect, name), timeout)
        if name not in self._namespaces:  # the reply and a disconnect came in one piece
            raise LostError(f"the peer disconnected namespace {name!r} at once")
        return self._namespaces[name]

    def send_native(self, payload: str | bytes) -> None:
        """Send a native message (NM-1).

        Raises:
            MisuseError: the connection is not open.
            EncodeError: the peer would read it as a frame.
        """
        self.link.session.send_native(payload)
        self.link.wake(len(payload))

    def close(self, code: int = NORMAL, reason: str = "") -> None:
        """Send what is to be sent, then end the connection with a close frame (TR-13)."""
        self.is_closed_here = True
        self.link.end(code, reason)

    async def drained(self) -> None:
        """Wait until the peer has read most of what was written, or the connection has ended.

        Await this between messages when you send many: a peer for which more than
        ``Limits.backlog`` piles up is closed.
        """
        self.link.flush()
        await self.link.drained()

    async def wait_closed(self) -> None:
        """Wait until the connection and its handlers have ended."""
        await self.link.wait_lost()
        if not self.is_in_handler:
            await self._queue.idle()

    async def drain_handlers(self, seconds: float) -> None:
        """Let handlers finish, and cancel them after some seconds.

        Handlers of what has happened are called all the same, in a little more time.
        """
        try:
            async with asyncio.timeout(seconds):
                await self._queue.idle()
        except TimeoutError:
            self._queue.cancel(_has_happened)
            with suppress(TimeoutError):
                async with asyncio.timeout(CANCELLED_GRACE):
                    await self._queue.idle()

    # ------------------------------------------------------------ for the owner

    @property
    def failures(self) -> FailureLog:
        """Where errors of the application are logged."""
        return self._owner.failures

    def space(self, name: str) -> Namespace:
        """Return a namespace, connected or not."""
        space = self._namespaces.get(name)
        if space is None:
            space = self._namespaces[name] = Namespace(self, name)
        return space

    def forget(self, name: str) -> None:
        """Drop the object of a namespace, so that a later connect makes a new one."""
        self._namespaces.pop(name, None)

    # ------------------------------------------------------------ the queue

    def _deliver(self, event: Event) -> None:
        queue = self._queue
        if type(event) is Changed or type(event) is Closed:
            if type(event) is Changed and event.change is Change.CONNECT:
                self.space(event.namespace)
            self._owner.observe(self, event)
            if type(event) is Closed:
                self._drop()
        if self._is_overtaking and not _has_happened(event):
            queue.wait(event, 0)
        else:
            queue.add(event)

    def _waits(self, payload: str | bytes) -> bool:
        """Keep a message that has to wait for its turn (EV-1), and say whether it does."""
        queue = self._queue
        if not queue.is_busy:
            return False
        session = self.link.session
        if session.is_closed:
            return False
        if session.overtakes(payload, is_next=not len(queue)):
            self._is_overtaking = True
            self.link.take(session.receive(payload))
            self._is_overtaking = False
            return True
        queue.wait(payload, getsizeof(payload))
        self.link.limits.budget.hold(self, queue.size)
        self._bound()
        return True

    def _bound(self) -> None:
        """Hold back a peer whose messages come faster than they are handled."""
        limits, queue = self.link.limits, self._queue
        if not self.is_open:
            early = limits.session
            if len(queue) > early.held or queue.size > early.held_size:
                self.link.end(REFUSED, "SEC-3: too much was sent before the handshake")
            return
        over = max(len(queue) / limits.queue_length, queue.size / limits.queue_size)
        if over < 1:
            return
        if not self.link.is_asking:
            self.link.hold(True)
        elif over > ASKING_FACTOR:
            self.link.end(REFUSED, "more messages than can be handled")
        else:
            self.link.hold(False)  # the reply to a pending ask is still to be read

    def _handle(self, item: Event | str | bytes) -> Work | None:
        if not isinstance(item, (str, bytes)):
            if type(item) is Closed:
                self._released()
            return self._owner.handle(self, item)
        link, queue = self.link, self._queue
        link.limits.budget.hold(self, queue.size)
        limits = link.limits
        is_short = len(queue) <= limits.queue_length // 2 and queue.size <= limits.queue_size // 2
        if link.is_held and is_short:
            link.hold(False)
        link.take(link.session.receive(item))
        return None

    # ------------------------------------------------------------ the end

    def _ended(self, is_orderly: bool, then: Callable[[], None]) -> None:
        """Let what came before a close frame be handled still; after a reset, nothing is."""
        if not is_orderly:
            then()
            return
        self._is_orderly = True
        self._read_rest(self.link, deque(self._queue.take_waiting()), then)

    def _read_rest(
        self, link: Link, rest: deque[Event | str | bytes], then: Callable[[], None]
    ) -> None:
        """Read what came before a close frame, a turn at a time, unless the session ends."""
        left, size = TURN, TURN_SIZE
        while rest and left > 0 and size > 0 and not link.session.is_closed:
            item = rest.popleft()
            left -= 1
            if isinstance(item, str | bytes):
                size -= getsizeof(item)
                # What nobody can decide any more is not asked.
                events = link.session.receive(item)
                link.take([each for each in events if not isinstance(each, ChangeAsked)])
            elif not isinstance(item, ChangeAsked):
                self._queue.add(item)
        if rest and not link.session.is_closed:
            asyncio.get_running_loop().call_soon(self._read_rest, link, rest, then)
            return
        self._log_dropped(len(rest))
        then()

    def _drop(self) -> None:
        """Drop what waits, and give a while to what is being handled."""
        queue, grace = self._queue, self.link.limits.grace
        if not self._is_orderly:
            self._log_dropped(queue.drop(_has_happened))
            self.link.limits.budget.hold(self, 0)
        self._is_orderly = False
        self._ends += 1
        if queue.is_busy and grace is not None and self._grace is None:
            self._grace = asyncio.get_running_loop().call_later(grace, self._give_up, grace)

    def _give_up(self, grace: float) -> None:
        """Cancel what is still being handled for a peer that has gone."""
        self._log_dropped(self._queue.cancel(_has_happened))
        self._grace = asyncio.get_running_loop().call_later(grace, self._give_up, grace)

    def _released(self) -> None:
        """Note that nothing is left of an end but to report it."""
        self.link.limits.budget.hold(self, 0)
        self._ends -= 1
        if not self._ends and self._grace is not None:
            self._grace.cancel()
            self._grace = None

    def _log_dropped(self, count: int) -> None:
        if count:
            log.warning("%r: %d messages were dropped with their connection", self, count)

    def shed(self) -> None:
        """Reset the connection: it holds most of what is too much for the process."""
        self.link.abort()

    def _send(self) -> Work | None:
        self.link.flush()
        return self.link.drained() if self.link.is_stalled else None


def text_of(body: str | bytes) -> str:
    """Return a body as text, whatever its type (FR-17)."""
    return body if isinstance(body, str) else body.decode(errors="replace")


def _has_happened(item: Event | str | bytes) -> bool:
    """Whether an item is no message, but something that the application is to know."""
    return isinstance(item, Changed | Closed)


Hook = Callable[[Connection], Awaitable[None] | None]
"""What a server's application does with a connection as a whole."""
