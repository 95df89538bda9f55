"""The engine: hooks at which a fault changes what a correct peer does, and such a server.

A fault is an operator, which changes one message, and a trigger, which says on which messages.
Both are values, so that faults can also be generated. This module knows no fault.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final, Literal, TypeVar, cast

from mutation.registry import SOON, Staged
from neffos_codec import ESCAPE, DecodeError, Message, decode, encode, first_surrogate
from neffos_conformance.reference.embedded import NOTHING, Distort, Serve, embedded_server
from neffos_conformance.runner.pace import Way
from neffos_conformance.runner.run import Run, opened, to_server
from neffos_conformance.wire.connection import ConnectionClosed
from neffos_protocol import Conversation, MessageKind, Role
from neffos_protocol.events import Change
from neffos_protocol.names import CHANGE_OF, REQUEST_EVENT

CONNECT: Final = REQUEST_EVENT[Change.CONNECT]
DISCONNECT: Final = REQUEST_EVENT[Change.DISCONNECT]
JOIN: Final = REQUEST_EVENT[Change.JOIN]
LEAVE: Final = REQUEST_EVENT[Change.LEAVE]

OWN_TOKEN: Final = "$own"  # noqa: S105  # no password
"""The token of asks that a faulty server makes of itself. No case uses it, and no reply with it
is sent."""

OWN_TOKENS: Final[Mapping[str, str]] = {"server": OWN_TOKEN, "client": "own"}
"""The same by the role of the peer: a client takes what begins with ``$`` for a late reply."""

_OWN_HEADS: Final = tuple(f"{token};" for token in OWN_TOKENS.values())

UNKNOWN: Final = "bad namespace"
"""The text of the refusal of an unknown namespace (NS-3)."""

SEPARATORS: Final = 6
"""Those of a frame (FR-1)."""

ASKS: Final = (MessageKind.SYSTEM_ASK, MessageKind.EVENT_ASK)

Membership = tuple[str, str]
"""A connected namespace and a joined room; or the empty text, for the namespace itself."""

Payload = str | bytes
Payloads = list[Payload]

Url = AbstractAsyncContextManager[str]
"""Runs a server and gives its URL; it has stopped when the block is left."""

Sent = Payload | ConnectionClosed
"""What a peer sends: a message, or, if it is a client, the end of the connection."""

Effect = Message | Sent | Iterable[Message | Sent] | None
"""What a hook makes of a message: ``None`` leaves it alone, ``()`` drops it, and anything else
takes its place."""

FrameHook = Callable[[Any, Message], Effect]
"""A hook on frames. It is given the ``PeerContext``; operators that need none fit every peer."""

Triggered = TypeVar("Triggered", bound=Callable[..., Any])

Seeded = TypeVar("Seeded")

PayloadHook = Callable[[Any, Payload], Effect]


class Scratch:
    """What a fault remembers.

    Attributes:
        seen: anything that is looked up later.
        kept: anything that is used later, in order.
        values: anything that has a name.
        counts: how often anything was counted.
        connections: those of the peer, in order.
    """

    def __init__(self) -> None:
        self.seen: set[Any] = set()
        self.kept: list[Any] = []
        self.values: dict[Any, Any] = {}
        self.counts: Counter[Any] = Counter()
        self.connections: list[Any] = []

    def count(self, name: object = "") -> int:
        """Count, and give the number so far, from 1 on."""
        self.counts[name] += 1
        return self.counts[name]

    def release(self) -> list[Any]:
        """Give what was kept, and keep it no longer."""
        kept, self.kept = self.kept, []
        return kept


class Traffic:
    """What the messages of one connection have shown.

    Attributes:
        conversation: follows the messages.
    """

    def __init__(self) -> None:
        self.conversation = Conversation()
        self._asks: dict[int, Message] = {}

    def feed(self, sender: Literal["client", "server"], payload: Payload) -> None:
        """Follow a message."""
        conversation = self.conversation
        is_ask = conversation.take(sender, payload) in ASKS
        if is_ask and conversation.message and conversation.message.event:
            self._asks[conversation.number] = conversation.message

    def asks(self, sender: Literal["client", "server"]) -> dict[str, Message]:
        """Give the pending asks of a peer, by their tokens."""
        pending = self.conversation.pairs[Role(sender)][0].pending
        numbers = {token: ask.number for token, ask in pending.items()}
        return {token: self._asks[at] for token, at in numbers.items() if at in self._asks}

    def settled(self) -> dict[str, Message]:
        """Give the system asks of the server that the client has answered, by their tokens."""
        numbers = self.conversation.server.settled()
        asks = {token: self._asks[at] for token, at in numbers.items() if at in self._asks}
        return {token: ask for token, ask in asks.items() if ask.event in CHANGE_OF}


class PeerContext(Scratch):
    """A faulty peer: what its traffic shows. A trigger can name each property.

    Attributes:
        role: what the peer is.
        traffic: what the current connection shows, before the message that a hook is given.
        payload: the payload that the peer received last.
        message: that payload as a frame, if it is one.
        ask: the ask of the peer that this frame replies to, if any.
    """

    role: Literal["client", "server"]

    def __init__(self) -> None:
        super().__init__()
        self.traffic = Traffic()
        self.payload: Payload = ""
        self.message: Message | None = None
        self.ask: Message | None = None

    @property
    def is_accepted(self) -> bool:
        """Whether the server sent an acceptance."""
        return self.traffic.conversation.is_accepted

    @property
    def client_asks(self) -> dict[str, Message]:
        """The pending asks of the client, by their tokens."""
        return self.traffic.asks("client")

    @property
    def server_asks(self) -> dict[str, Message]:
        """The pending asks of the server, by their tokens."""
        return self.traffic.asks("server")

    @property
    def answers(self) -> str:
        """The event of the peer's ask that the current frame replies to; empty for none."""
        return self.ask.event if self.ask else ""

    @property
    def is_connected(self) -> bool:
        """Whether the namespace of the current frame is connected."""
        return self.message is not None and self.is_in(self.message.namespace)

    @property
    def is_member(self) -> bool:
        """Whether the room of the current frame is joined; without a room, as ``is_connected``."""
        return self.message is not None and self.is_in(self.message.namespace, self.message.room)

    @property
    def is_awaited(self) -> bool:
        """Whether the peer has asked to connect the namespace of the current frame."""
        names = [ask.namespace for ask in self.pending(CONNECT)]
        return self.message is not None and self.message.namespace in names

    def is_in(self, namespace: str, room: str = "") -> bool:
        """Say whether a namespace is connected, or a room joined."""
        client = self.traffic.conversation.client
        return client.is_joined(namespace, room) if room else client.is_connected(namespace)

    def rooms(self, namespace: str) -> list[str]:
        """Give the joined rooms of a namespace."""
        return self.traffic.conversation.client.joined(namespace)

    def pending(self, event: str) -> list[Message]:
        """Give the pending asks of the peer that have this event."""
        return [each for each in self.traffic.asks(self.role).values() if each.event == event]

    def serve(self, given: Message | Payload | None = None) -> Payloads:
        """Have the correct peer handle a message, or the current one; give what it sends."""
        raise NotImplementedError

    def aside(self, event: str, namespace: str, room: str = "") -> Payloads:
        """Have the peer handle an ask that the other did not make; give what else it sends."""
        names = ";".join(name.replace(";", ESCAPE) for name in (namespace, room))
        token = OWN_TOKENS[self.role]
        return self.serve(f"{token};{names};{event};0;0;")  # whatever the other's names are

    def begin(self, payload: Payload) -> None:
        """Make a received payload the current one."""
        self.payload = payload
        self.message = frame_of(payload)
        asks = self.traffic.asks(self.role)
        self.ask = asks.get(self.message.wait) if self.message else None


class ServerContext(PeerContext):
    """One connection of a faulty server: what its traffic shows, and what a hook can do.

    The current payload is NOTHING while the server sends unasked.

    Attributes:
        server: what is remembered for all connections.
        before: the memberships before the current payload.
        is_early: whether the client has sent nothing yet that begins like a handshake message.
    """

    role = "server"

    def __init__(self, serve: Serve, server: Scratch) -> None:
        super().__init__()
        self.server = server
        self.before: frozenset[Membership] = frozenset()
        self.is_early = True
        self._serve = serve
        server.connections.append(self)

    # What it knows. A trigger can name each of these properties.

    @property
    def id(self) -> str:
        """The connection's ID."""
        return self.traffic.conversation.id

    @property
    def memberships(self) -> frozenset[Membership]:
        """What is connected and joined."""
        names = self.namespaces
        return frozenset((name, room) for name in names for room in ("", *self.rooms(name)))

    @property
    def begun(self) -> frozenset[Membership]:
        """The memberships that are new since before the current payload."""
        return self.memberships - self.before

    @property
    def ended(self) -> frozenset[Membership]:
        """The memberships that ended since then."""
        return self.before - self.memberships

    @property
    def settled(self) -> dict[str, Message]:
        """The system asks of the server that the client has answered, by their tokens."""
        return self.traffic.settled()

    @property
    def namespaces(self) -> list[str]:
        """The connected namespaces."""
        return self.traffic.conversation.client.connected()

    # What it can do.

    def serve(self, given: Message | Payload | None = None) -> Payloads:
        """Have the correct server handle a payload, or the current one; give what it sends."""
        if given is None:
            payload = self.payload
        else:
            payload = encode(given) if isinstance(given, Message) else given
        if payload is not NOTHING:
            self.traffic.feed("client", payload)
        sent = self._serve(payload)
        for each in sent:
            self.traffic.feed("server", each)
        return sent

    def begin(self, payload: Payload) -> None:
        """Make a payload the current one."""
        super().begin(payload)
        self.before = self.memberships
        self.is_early = self.is_early and payload[:1] not in ("M", "A", "H", b"M", b"A", b"H")


@dataclass(frozen=True, slots=True)
class MessageHooks:
    """Hooks at the messages of a correct peer; those that are left out change nothing.

    Attributes:
        receive: what the peer sends instead of handling a frame.
        send: what it sends instead of a frame.
        receive_raw: as ``receive``, for each payload, whether it is a frame or not.
        send_raw: as ``send``, for each payload.
    """

    receive: FrameHook | None = None
    send: FrameHook | None = None
    receive_raw: PayloadHook | None = None
    send_raw: PayloadHook | None = None

    def received(self, context: PeerContext) -> Effect:
        """Give what the peer sends instead of handling the current payload."""
        return _effect(context, context.payload, self.receive_raw, self.receive)

    def sent(self, context: PeerContext, payload: Payload) -> Effect:
        """Give what it sends instead of a payload."""
        return _effect(context, payload, self.send_raw, self.send)


def _effect(
    context: PeerContext, payload: Payload, raw: PayloadHook | None, hook: FrameHook | None
) -> Effect:
    effect = raw(context, payload) if raw else None
    message = frame_of(payload) if hook and effect is None else None
    if hook and message is not None:
        effect = hook(context, message)
    return payload if message is not None and effect == message else effect  # as it was written


@dataclass(frozen=True, slots=True)
class Hooks(MessageHooks):
    """A server with a fault.

    Attributes:
        after: what it sends as well, after it has handled a frame.
        moved: what it sends as well, after memberships have changed.
        turn: what it sends at each payload, and where it sends unasked, instead of all these.
        served: the endpoints, where they are not those of the conformance application.
    """

    after: FrameHook | None = None
    moved: Callable[[ServerContext], Effect] | None = None
    turn: Callable[[ServerContext], Iterable[Message | Payload]] | None = None
    served: Mapping[str, Any] | None = None
    role: Literal["server"] = field(default="server", init=False)

    @property
    def distort(self) -> Distort:
        """The change to each connection of one server."""
        server = Scratch()

        def distort(serve: Serve) -> Serve:
            context = ServerContext(serve, server)
            return lambda payload: self._handle(context, payload)

        return distort

    def run(self) -> Url:
        """Run the server, and give its URL."""
        return embedded_server(distort=self.distort, served=self.served)

    def stage(self) -> AbstractAsyncContextManager[Run]:
        """Run the server, and give the function that runs a case against it."""
        return staged(self.run())

    def _handle(self, context: ServerContext, payload: Payload) -> Payloads:
        context.begin(payload)
        handled = self._handled(context)
        if self.moved and context.memberships != context.before:
            handled += payloads(self.moved(context))
        return [
            each for sent in handled if not is_own_reply(sent) for each in self._sent(context, sent)
        ]

    def _handled(self, context: ServerContext) -> Payloads:
        if self.turn:
            return payloads(self.turn(context))
        if context.payload is NOTHING:
            return context.serve()
        effect = self.received(context)
        sent = context.serve() if effect is None else payloads(effect)
        if self.after and context.message is not None:
            sent += payloads(self.after(context, context.message))
        return sent

    def _sent(self, context: ServerContext, payload: Payload) -> Payloads:
        effect = self.sent(context, payload)
        return [payload] if effect is None else payloads(effect)


def run(server: Callable[[], Url]) -> Staged:
    """Seed a fault in how a server is run: the function runs it, and gives its URL."""
    return Staged("server", lambda: staged(server()))


@asynccontextmanager
async def staged(server: Url) -> AsyncIterator[Run]:
    """Run a server, and give the function that runs a case against it."""
    async with server as url:
        way = Way(SOON)
        await way.check(partial(opened, url))  # as every server of a user is reached
        yield to_server(url, way=way)


def frame_of(payload: Payload) -> Message | None:
    """Decode a payload, if it is a frame that could be encoded as well."""
    try:
        message = decode(payload)
    except DecodeError:
        return None
    text = payload if isinstance(payload, str) else "".join(map(str, message.fields()[:4]))
    return message if first_surrogate(text) < 0 else None


def frames_of(sent: Payloads) -> list[tuple[Payload, Message | None]]:
    """Give payloads, each with the frame that it is, if any."""
    return [(each, frame_of(each)) for each in sent]


def payloads(effect: Effect) -> list[Any]:
    """Give what is sent instead of a message; only a client's may end the connection."""
    if effect is None:
        return []
    each_of = [effect] if isinstance(effect, str | bytes | Message | ConnectionClosed) else effect
    return [encode(each) if isinstance(each, Message) else each for each in each_of]


def is_own_reply(payload: Payload) -> bool:
    """Say whether this replies to an ask of ``Context.aside``; it may come later than that."""
    return isinstance(payload, str) and payload.startswith(_OWN_HEADS)


# -------------------------------------------------------------------- triggers


def fits(trigger: Mapping[str, Any], *subjects: object) -> bool:
    """Say whether the attributes of a message, or of its context, are those of a trigger.

    Args:
        trigger: for each attribute its value, a tuple of values, a test of the value, or a
            trigger for the fields of the value. A payload is an attribute of itself, and the
            fields of a mapping are its attributes.
        subjects: the first that has an attribute gives its value.

    Raises:
        AttributeError: none of them has an attribute, and none is a mapping.
    """
    return all(_agree(value_of(name, subjects), wanted) for name, wanted in trigger.items())


def value_of(name: str, subjects: Iterable[object]) -> object:
    """Give the first value of a name."""
    for subject in subjects:
        if isinstance(subject, str | bytes):
            if name == "payload":
                return subject
            continue
        if isinstance(subject, Mapping) and (name in subject or isinstance(subject, defaultdict)):
            return subject[name]
        if hasattr(subject, name):
            return getattr(subject, name)
    if any(isinstance(subject, Mapping) for subject in subjects):
        return None
    raise AttributeError(f"a trigger names {name}, which nothing has")


def _agree(value: object, wanted: Any) -> bool:
    if callable(wanted):
        return bool(wanted(value))
    if isinstance(wanted, Mapping):
        return value is not None and fits(wanted, value)
    return value in wanted if isinstance(wanted, tuple) else value == wanted


def when(hook: Triggered, **trigger: Any) -> Triggered:
    """Give a hook a trigger: attributes of the message, or else of the context."""
    return cast("Triggered", lambda *of: hook(*of) if fits(trigger, *reversed(of)) else None)


def seeds(peer: Callable[..., Seeded], place: str) -> Callable[..., Seeded]:
    """Give the function that makes such a peer with one hook, which may have a trigger."""
    return lambda hook, **trigger: peer(**{place: when(hook, **trigger)})


receive, receive_raw, after = (seeds(Hooks, each) for each in ("receive", "receive_raw", "after"))
send, send_raw = (seeds(Hooks, each) for each in ("send", "send_raw"))
moved, turn = (seeds(Hooks, each) for each in ("moved", "turn"))
