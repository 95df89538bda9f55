"""A connection of a client that nobody drives, as a case sees it.

Such a client has a life of its own: it connects namespaces, joins rooms, emits and asks. A server
answers that, and so does a ``ServedConnection``. It gives the case the rest: replies to the suite,
and whatever is not a frame.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from neffos_codec import Message, encode
from neffos_conformance.wire.connection import ConnectionClosed
from neffos_conformance.wire.payloads import frame_of, payload_text
from neffos_conformance.wire.transport import Received, Transport
from neffos_protocol import Monitor, Role, Violation
from neffos_protocol.events import Change
from neffos_protocol.names import BAD_NAMESPACE, BAD_ROOM, CHANGE_OF
from neffos_protocol.state_machines import MembershipState

MAX_MESSAGES: Final = 2_000
"""Messages of a client on one connection, which lasts for seconds; more are a flood."""

MAX_BYTES: Final = 1 << 20
"""Their bytes together, which the log keeps until the report is written. The largest reply that a
case wants is 0.2 MB."""

SPOKEN: Final = ("NS-11", "RM-10")
"""The requirements on where a client may speak."""

Sent = str | bytes
"""A message."""

Log = Callable[[Sent, Role], None]
"""Takes a message that no case sees, and its sender."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """What the monitor finds wrong with a message of the client.

    Attributes:
        violation: what is wrong.
        payload: the message.
        is_own: the client sent it by itself, or before the acceptance; nothing that the suite did
            brought it about.
    """

    violation: Violation
    payload: Sent
    is_own: bool


@dataclass(eq=False)
class ServedConnection:
    """An accepted connection; see ``Transport``.

    Attributes:
        connection: the connection.
        log: takes what the client does by itself, and the suite's answers.
        connected: the namespaces that the client has connected by itself and not left, in order.
        own: what the client has sent by itself.
        changed: is set whenever the client has done something by itself.
        sightings: what the monitor has found.
        kept_free: the namespace whose connects are not answered; ``None`` for none.
        has_left: the namespaces that the client has disconnected by itself.
        arrivals: when the messages came that the case sees, on the clock of ``time.perf_counter``.
    """

    connection: Transport
    log: Log
    connected: list[str] = field(default_factory=list)
    own: list[Message] = field(default_factory=list)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    sightings: list[Sighting] = field(default_factory=list)
    kept_free: str | None = None
    has_left: set[str] = field(default_factory=set)
    arrivals: list[float] = field(default_factory=list)
    _monitor: Monitor = field(default_factory=Monitor)
    _tokens: set[str] = field(default_factory=set)
    _events: set[tuple[str, str]] = field(default_factory=set)
    _incoming: asyncio.Queue[Received] = field(default_factory=asyncio.Queue)
    _count: int = 0
    _bytes: int = 0
    _is_over: bool = False
    _takes_away: bool = False
    _reader: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to read."""
        self._reader = asyncio.create_task(self._read(), name="serve a client")

    # ---- what the suite sends

    async def send(self, payload: Sent, *, is_held: bool = False) -> None:
        """Send a message of the case."""
        self._note(payload)
        await self.connection.send(payload, is_held=is_held)

    async def send_parts(self, parts: Sequence[bytes], *, is_text: bool) -> None:
        """Send a message of the case in fragments."""
        whole = b"".join(parts)
        self._note(payload_text(whole) if is_text else whole)
        await self.connection.send_parts(parts, is_text=is_text)

    def _note(self, payload: Sent) -> None:
        message = frame_of(payload)
        if message is not None and message.wait:
            self._tokens.add(message.wait)
            self._takes_away |= CHANGE_OF.get(message.event) in (Change.DISCONNECT, Change.LEAVE)
        elif message is not None:
            self._events.add((message.namespace, message.event))
        self._monitor.feed(Role.SERVER, payload)

    # ---- what the client sends

    async def receive(self) -> Received:
        """Wait for the next message that the case has to see, or for the closing."""
        received = await self._incoming.get()
        if isinstance(received, ConnectionClosed):
            self._incoming.put_nowait(received)
        return received

    async def _read(self) -> None:
        while True:
            received = await self.connection.receive()
            if isinstance(received, ConnectionClosed):
                break
            self._count += 1
            self._bytes += len(received)
            if self._count > MAX_MESSAGES or self._bytes > MAX_BYTES:
                self.connection.abort()
                received = ConnectionClosed(None, cut="more messages than a case has use for")
                break
            message = self._own(received)
            if message is None:
                self.arrivals.append(time.perf_counter())
                self._incoming.put_nowait(received)
                continue
            self.log(received, Role.CLIENT)
            self.own.append(message)
            reply = self._reply(message)
            if reply is not None:
                payload = encode(reply)
                self.log(payload, Role.SERVER)
                self._monitor.feed(Role.SERVER, payload)
                await self.connection.send(payload)
            self.changed.set()
        self._is_over = True
        self._incoming.put_nowait(received)
        self.changed.set()

    def _own(self, payload: Sent) -> Message | None:
        """Take a message of the client; give its fields if the client sent it by itself."""
        conversation = self._monitor.conversation
        was_accepted = conversation.is_accepted
        found = self._monitor.feed(Role.CLIENT, payload)
        message = conversation.message
        if message is not None and not (was_accepted and self._is_own(message)):
            message = None
        is_own = message is not None or not was_accepted
        for each in found:
            if not (each.requirement in SPOKEN and self._crosses_ask()):
                self.sightings.append(Sighting(each, payload, is_own))
        return message

    def _crosses_ask(self) -> bool:
        """Whether an ask of the suite may be why the client speaks where it is not.

        An application may speak at the moment at which the suite takes its namespace away. Or it
        finds that the suite has connected the namespace, and speaks before the client's reply is on
        its way.
        """
        message = self._monitor.conversation.message
        if message is None or self._takes_away:
            return self._takes_away
        server = self._monitor.conversation.server
        return any(
            server.state(message.namespace, room) == MembershipState.CONNECTING
            for room in (None, message.room or None)
        )

    def _is_own(self, message: Message) -> bool:
        """Whether nothing that the suite sent can have brought a message about."""
        if message.wait:
            return bool(message.event) and message.wait not in self._tokens
        return (message.namespace, message.event) not in self._events

    def _reply(self, message: Message) -> Message | None:
        """Answer as a server does whose handlers give back what they get."""
        namespace, change = message.namespace, CHANGE_OF.get(message.event)
        client = self._monitor.conversation.client
        if not message.wait or message.is_error or (change and message.is_no_op):
            return None
        if change is Change.CONNECT:
            if namespace == self.kept_free:
                return None
            if namespace not in self.connected:
                self.connected.append(namespace)
        elif change is Change.DISCONNECT:
            self.has_left.add(namespace)
            if namespace in self.connected:
                self.connected.remove(namespace)
        elif not client.is_connected(namespace):
            return message.error_reply(BAD_NAMESPACE)
        elif change is Change.JOIN and not message.room:
            return message.error_reply(BAD_ROOM)
        elif change is None:
            return message.reply(message.body)
        return message.empty_reply()

    # ---- the rest of a transport

    @property
    def is_accepted(self) -> bool:
        """Whether the handshake is complete."""
        return self._monitor.conversation.is_accepted

    @property
    def is_open(self) -> bool:
        """See ``Transport``."""
        return self.connection.is_open and not self._is_over

    @property
    def backlog(self) -> int:
        """See ``Transport``."""
        return self.connection.backlog

    @property
    def has_broken_protocol(self) -> bool:
        """See ``Transport``."""
        return self.connection.has_broken_protocol

    @property
    def has_received_close(self) -> bool:
        """See ``Transport``."""
        return self.connection.has_received_close

    async def send_raw(self, data: bytes) -> None:
        """See ``Transport``."""
        await self.connection.send_raw(data)

    async def ping(self, payload: bytes) -> bool:
        """See ``Transport``."""
        return await self.connection.ping(payload)

    def stall(self) -> None:
        """See ``Transport``."""
        self.connection.stall()

    def resume(self) -> None:
        """See ``Transport``."""
        self.connection.resume()

    def abort(self) -> None:
        """See ``Transport``."""
        self.connection.abort()

    async def send_close(self, code: int = 1000, reason: str = "") -> None:
        """See ``Transport``."""
        await self.connection.send_close(code, reason)

    async def close(self) -> None:
        """See ``Transport``."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        await self.connection.close()
