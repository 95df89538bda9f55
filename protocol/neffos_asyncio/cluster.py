"""A server's part in a cluster: what it publishes on an exchange, and to whom it passes things on.

The server delivers to its own connections by itself, so that they do not depend on the broker. It
drops its own frames when they return.
"""

from __future__ import annotations

import asyncio
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any, Final

from neffos_asyncio.connection import Connection, text_of
from neffos_asyncio.errors import DeadlineError, LostError, NeffosError, PeerError
from neffos_asyncio.exchange import Attachment, Exchange
from neffos_asyncio.transport import log
from neffos_codec import CodecError, Message
from neffos_protocol import MisuseError, prepare
from neffos_protocol.exchange import Origin, PublishedFrame, digest, published, read_published
from neffos_protocol.text import logged

MAX_NAME: Final = 1024
"""Bytes of a namespace, a connection ID or a token that can be part of a channel. A NATS server
ends the connection of whoever sends a longer line than 4096 bytes; the prefix has room beside it.
"""

MAX_ANSWERS: Final = 1024
"""Asks of other nodes that are answered at a time. Each costs a task for each connection asked;
more than this is a node out of control, and its asks end at their deadlines."""

Receivers = Callable[[str, str, str], Iterable[Connection]]
"""Gives the connections of a namespace, a room of it, and one ID, or all if it is empty."""

AskEach = Callable[[Collection[Connection], Message, float | None], Awaitable[Message]]
"""Asks connections, and gives the first reply that is not an error."""


class _Replies:
    """The replies of other nodes to one ask; ``is_one`` if it is to one connection.

    Errors are not kept but for the last, so that an ask without a deadline holds one of them.
    """

    def __init__(self, *, is_one: bool) -> None:
        self.result: asyncio.Future[Message | NeffosError]
        self.result = asyncio.get_running_loop().create_future()
        self.error: NeffosError = DeadlineError("no other server replied in time")
        self._is_one = is_one

    def put(self, reply: Message) -> None:
        """Take a reply."""
        if not reply.is_error:
            self.end(reply)
        else:
            self.error = PeerError(text_of(reply.body))
            if self._is_one:
                self.end(self.error)

    def end(self, result: Message | NeffosError) -> None:
        """End the ask, unless it has ended."""
        if not self.result.done():
            self.result.set_result(result)


class Alone:
    """A server without an exchange: there are no other nodes."""

    def is_possible(self, _: str) -> bool:
        """See ``Cluster.is_possible``: any ID is."""
        return True

    def add(self, _: str) -> None:
        """See ``Cluster.add``."""

    remove = connected = disconnected = add

    def connecting(self, _: str, allow: Callable[[], None]) -> None:
        """See ``Cluster.connecting``."""
        allow()

    def subscribed(self, _: str) -> AbstractAsyncContextManager[None]:
        """See ``Cluster.subscribed``."""
        return nullcontext()

    def publish(self, _: Message, __: str) -> None:
        """See ``Cluster.publish``."""

    def asks(self, *_: object) -> list[asyncio.Task[Message]]:
        """See ``Cluster.asks``: there are none."""
        return []

    async def close(self) -> None:
        """See ``Cluster.close``."""


class Cluster:
    """One server of those that share an exchange.

    Args:
        exchange: what they share.
        namespaces: those that the server's application declares.
        receivers: see ``Receivers``.
        ask_each: see ``AskEach``.
        timeout: seconds for the replies of connections to an ask of another node.

    Raises:
        ValueError: a namespace has more than ``MAX_NAME`` bytes.
    """

    def __init__(
        self,
        exchange: Exchange,
        namespaces: Collection[str],
        receivers: Receivers,
        ask_each: AskEach,
        timeout: float | None,
    ) -> None:
        if not all(map(_fits, namespaces)):
            raise ValueError(f"a namespace has more than {MAX_NAME} bytes: no exchange carries it")
        self._exchange = exchange
        self._channels = exchange.channels
        self._receivers = receivers
        self._ask_each = ask_each
        self._timeout = timeout
        self._node = uuid.uuid4().hex
        self._taken = {self._channels.of_namespace(name) for name in namespaces}
        self._direct: dict[str, dict[str, None]] = {}  # the IDs of this node, by their channels
        self._needs: Counter[str] = Counter()
        self._asks: dict[str, _Replies] = {}  # by the channels of their replies
        self._answers: set[asyncio.Task[None]] = set()
        self._attachment: Attachment | None = None
        self._is_closed = False

    # ------------------------------------------------------------ who is here

    def is_possible(self, id_: str) -> bool:
        """Whether a connection can have this ID.

        One whose channel is that of a namespace would get what is for all, and all what is for it.
        """
        return _fits(id_) and self._channels.of_connection(id_) not in self._taken

    def add(self, id_: str) -> asyncio.Future[None] | None:
        """Note a connection of this node; wait with its acceptance until others can reach it."""
        channel = self._channels.of_connection(id_)
        self._direct.setdefault(channel, {})[id_] = None
        self._need(channel)
        return self._attached.confirmed(channel)

    def remove(self, id_: str) -> None:
        """Note the end of a connection."""
        channel = self._channels.of_connection(id_)
        ids = self._direct[channel]
        del ids[id_]
        if not ids:
            del self._direct[channel]
        self._release(channel)

    def connected(self, namespace: str) -> None:
        """Note that a connection of this node has connected a namespace."""
        self._need(self._channels.of_namespace(namespace))

    def disconnected(self, namespace: str) -> None:
        """Note that one has it connected no longer."""
        self._release(self._channels.of_namespace(namespace))

    def connecting(
        self, namespace: str, allow: Callable[[], None]
    ) -> Coroutine[Any, Any, None] | None:
        """Allow a connect once the node gets what is published for the namespace.

        Otherwise a client would miss what is broadcast right after its connect.
        """
        channel = self._channels.of_namespace(namespace)
        if channel in self._needs and self._attached.confirmed(channel) is None:
            allow()
            return None
        return self._allow_then(namespace, allow)

    async def _allow_then(self, namespace: str, allow: Callable[[], None]) -> None:
        async with self.subscribed(namespace):
            allow()

    @asynccontextmanager
    async def subscribed(self, namespace: str) -> AsyncIterator[None]:
        """Begin once the node gets what is published for a namespace, and keep it until the end.

        Also for a connect that this server asks for: its client is a member when it replies.
        """
        channel = self._channels.of_namespace(namespace)
        self._need(channel)
        try:
            if (ready := self._attached.confirmed(channel)) is not None:
                await asyncio.shield(ready)
            yield
        finally:
            self._release(channel)

    def _need(self, channel: str) -> None:
        self._needs[channel] += 1
        if self._needs[channel] == 1:
            self._attached.subscribe(channel)

    def _release(self, channel: str) -> None:
        self._needs[channel] -= 1
        if not self._needs[channel]:
            del self._needs[channel]
            self._attached.unsubscribe(channel)

    # ------------------------------------------------------------ to other nodes

    def publish(self, message: Message, to: str) -> None:
        """Publish an event for the connections of other nodes, or for one of them."""
        if not self._is_closed and (channel := self._channel(message, to)):
            self._attached.publish(channel, published(message, self._origin(message, to)))

    def asks(self, message: Message, to: str, seconds: float | None) -> list[asyncio.Task[Message]]:
        """Begin to ask the connections of other nodes, or one; see ``ask``."""
        return [asyncio.create_task(self.ask(message, to, seconds))]

    async def ask(self, message: Message, to: str, seconds: float | None) -> Message:
        """Ask one or all connections of other nodes; return the first reply that is not an error.

        How many nodes there are is not known: an error ends only an ask to one connection.

        Raises:
            PeerError: a connection replied with an error.
            DeadlineError: no reply came in time.
            LostError: this node leaves the cluster.
        """
        if self._is_closed:
            raise _left()
        origin = self._origin(message, to)
        token = origin.token(uuid.uuid4().hex)
        reply_channel = self._channels.of_reply(token)
        replies = self._asks[reply_channel] = _Replies(is_one=bool(to))
        self._need(reply_channel)
        try:
            async with asyncio.timeout(seconds):
                if (ready := self._attached.confirmed(reply_channel)) is not None:
                    await asyncio.shield(ready)
                if channel := self._channel(message, to):
                    self._attached.publish(channel, published(message, origin, token))
                result = await replies.result
        except TimeoutError:
            raise replies.error from None
        finally:
            del self._asks[reply_channel]
            self._release(reply_channel)
        if isinstance(result, NeffosError):
            raise result
        return result

    def _channel(self, message: Message, to: str) -> str:
        """Return the channel of a message; none for an ID or a namespace that nobody can have."""
        if not to:
            name = message.namespace
            return self._channels.of_namespace(name) if _fits(name) else ""
        return self._channels.of_connection(to) if self.is_possible(to) else ""

    def _origin(self, message: Message, to: str = "") -> Origin:
        return Origin(self._node, isinstance(message.body, bytes), digest(to) if to else "")

    # ------------------------------------------------------------ from other nodes

    def _deliver(self, channel: str, payload: bytes) -> None:
        try:
            frame = read_published(payload)
            if frame.origin is not None and frame.origin.node == self._node:
                return
            if replies := self._asks.get(channel):
                replies.put(frame.message)
                return
            prepared = prepare(frame.message)
        except (CodecError, MisuseError) as error:
            log.debug("the exchange carries what no server publishes: %s", logged(error))
            return
        connections = self._concerned(channel, frame)
        if frame.token:
            self._answer(frame, connections)
            return
        for connection in connections:
            connection.link.send_prepared(prepared)

    def _concerned(self, channel: str, frame: PublishedFrame) -> list[Connection]:
        """Return the connections that a frame is for (SX-8)."""
        message, to = frame.message, frame.origin.to if frame.origin else ""
        ids = self._direct.get(channel, {})
        if to:
            found = [id_ for id_ in ids if digest(id_) == to]
        elif channel == self._channels.of_namespace(message.namespace):
            found = [""]  # everyone
        else:
            found = list(ids) if len(ids) == 1 else []  # of several, it may be for any
        return [
            connection
            for id_ in found
            for connection in self._receivers(message.namespace, message.room, id_)
        ]

    def _answer(self, frame: PublishedFrame, connections: list[Connection]) -> None:
        if not connections or not _fits(frame.token):
            return
        if len(self._answers) >= MAX_ANSWERS:
            log.debug("an ask of another server was dropped: %d are pending", MAX_ANSWERS)
            return
        task = asyncio.create_task(self._answer_with(frame, connections))
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)

    async def _answer_with(self, frame: PublishedFrame, connections: list[Connection]) -> None:
        """Ask connections, each with a token of its own, and publish the first good reply.

        No client thereby knows the exchange's token, with which it could reply for another (SX-9).
        """
        asked = frame.message
        try:
            reply = await self._ask_each(connections, asked, self._timeout)
        except PeerError as error:
            reply = Message("", asked.namespace, asked.room, asked.event, True, False, error.text)
        except (NeffosError, MisuseError):  # no reply came, or can come
            return
        channel = self._channels.of_reply(frame.token)
        self._attached.publish(channel, published(reply, self._origin(reply)))

    @property
    def _attached(self) -> Attachment:
        if self._attachment is None:
            self._attachment = self._exchange.attach(self._deliver)
        return self._attachment

    async def close(self) -> None:
        """Leave the cluster. No ask gets a reply any more, be it of this node or another."""
        self._is_closed = True
        for replies in self._asks.values():
            replies.end(_left())
        answers = list(self._answers)
        for task in answers:
            task.cancel()
        await asyncio.gather(*answers, return_exceptions=True)
        if self._attachment is not None:
            await self._attachment.close()


def _left() -> LostError:
    return LostError("this server has left the exchange")


def _fits(name: str) -> bool:
    """Whether a name can be part of a channel."""
    try:
        return len(name.encode(errors="surrogateescape")) <= MAX_NAME
    except UnicodeEncodeError:
        return False
