"""A faulty client in one case: what its traffic shows, and what a hook can do.

This module follows the messages of the client's connections. It knows no fault and no client.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from mutation.hooks import Scratch
from neffos_codec import DecodeError, Message, decode, encode, first_surrogate
from neffos_conformance.runner.driver_protocol import Values
from neffos_conformance.wire.connection import ConnectionClosed
from neffos_protocol.events import Change
from neffos_protocol.names import CHANGE_OF

Payload = str | bytes
Sent = Payload | ConnectionClosed
"""What a client sends: a message, or the end of the connection."""

Effect = Message | Sent | Iterable[Message | Sent] | None
"""What a hook makes of a message: ``None`` leaves it alone, ``()`` drops it, and anything else
takes its place."""


class Connection(Protocol):
    """A connection of a faulty client."""

    @property
    def traffic(self) -> Traffic:
        """What its messages show."""

    def put(self, sent: Iterable[Sent]) -> None:
        """Have the client send something."""


@dataclass(slots=True)
class Traffic:
    """What the messages of one connection show so far.

    Attributes:
        is_accepted: whether the client received an acceptance.
        asks: the client's pending asks, by their tokens.
        asked: the pending asks that the client received, likewise.
        memberships: the pairs of a namespace and a room (empty for the namespace itself) that are
            connected and joined.
    """

    is_accepted: bool = False
    asks: dict[str, Message] = field(default_factory=dict)
    asked: dict[str, Message] = field(default_factory=dict)
    memberships: set[tuple[str, str]] = field(default_factory=set)

    def received(self, payload: Payload, message: Message | None) -> None:
        """Take note of a message that the client receives."""
        if isinstance(payload, str) and payload.startswith("A"):
            self.is_accepted = True
        elif message and message.wait in self.asks:
            self._settled(self.asks.pop(message.wait), message)
        elif message and message.wait and message.event:
            self.asked[message.wait] = message

    def sent(self, message: Message) -> None:
        """Take note of a frame that the client sends."""
        if message.wait in self.asked:
            self._settled(self.asked.pop(message.wait), message)
        elif message.wait.startswith("$") and message.event:
            self.asks[message.wait] = message

    def _settled(self, ask: Message, reply: Message) -> None:
        membership = ask.namespace, ask.room
        match CHANGE_OF.get(ask.event) if reply.is_empty_reply else None:
            case Change.CONNECT | Change.JOIN:
                self.memberships.add(membership)
            case Change.LEAVE:
                self.memberships.discard(membership)
            case Change.DISCONNECT:
                self.memberships = {each for each in self.memberships if each[0] != ask.namespace}
            case _:
                pass


class Context(Scratch):
    """A faulty client in one case: what its traffic shows, and what a hook can do.

    A hook sees the state before the message that it is given.

    Attributes:
        current: the number of the connection that the message is on, from 0.
        is_closing: whether the suite has begun to close a connection.
        payload: the payload that the client received last.
        message: that payload as a frame, if it is one.
        operations: what the driver was told to do, in order.
        running: the operations that have not ended, with their fields.
        done: the operations that have succeeded, in order.
    """

    def __init__(self) -> None:
        super().__init__()
        self.current = 0
        self.is_closing = False
        self.payload: Payload = ""
        self.message: Message | None = None
        self.operations: list[str] = []
        self.running: list[tuple[str, Values]] = []
        self.done: list[str] = []
        self.connections: list[Connection] = []
        self.observe: Callable[[Values], object] = bool
        self._served: list[Payload] = []

    # What it knows. A trigger can name each of these properties.

    @property
    def traffic(self) -> Traffic:
        """What the current connection shows."""
        return self.connections[self.current].traffic

    @property
    def is_accepted(self) -> bool:
        """Whether the client received an acceptance on the current connection."""
        return self.traffic.is_accepted

    @property
    def answers(self) -> str:
        """The event of the client's ask that the current frame replies to; empty for none."""
        ask = self.traffic.asks.get(self.message.wait) if self.message else None
        return ask.event if ask else ""

    @property
    def is_asking(self) -> bool:
        """Whether an ask of the client is pending on the current connection."""
        return bool(self.traffic.asks)

    @property
    def is_connected(self) -> bool:
        """Whether the namespace of the current frame is connected."""
        return self.message is not None and self.is_in(self.message.namespace)

    @property
    def is_member(self) -> bool:
        """Whether the room of the current frame is joined; without a room, as ``is_connected``."""
        return self.message is not None and self.is_in(self.message.namespace, self.message.room)

    def is_in(self, namespace: str, room: str = "") -> bool:
        """Say whether a namespace is connected, or a room joined."""
        return (namespace, room) in self.traffic.memberships

    def rooms(self) -> list[str]:
        """Give the joined rooms of all namespaces."""
        return sorted(room for _, room in self.traffic.memberships if room)

    def pending(self, event: str, namespace: str) -> bool:
        """Say whether the client has a pending ask with this event about a namespace."""
        asks = self.traffic.asks.values()
        return any((each.event, each.namespace) == (event, namespace) for each in asks)

    # What it can do.

    def serve(self, given: Message | Payload | None = None) -> list[Payload]:
        """Have the correct client receive a message, or the current one; give nothing to send."""
        if given is None or given == self.message:
            given = self.payload  # as it was written
        self._served.append(encode(given) if isinstance(given, Message) else given)
        return []

    def say(self, effect: Effect) -> None:
        """Send something as well, on the current connection."""
        self.connections[self.current].put(sent_of(effect))

    def say_last(self, effect: Effect) -> None:
        """Send something on the connection that was opened last."""
        self.connections[-1].put(sent_of(effect))

    def say_elsewhere(self, effect: Effect) -> None:
        """Send something on all connections but the current one."""
        for number, each in enumerate(self.connections):
            if number != self.current:
                each.put(sent_of(effect))

    def tell(self, saw: str, **fields: Any) -> None:
        """Report an observation of the client on its first connection."""
        self.observe({"connection": 1, "saw": saw, **fields})

    # For the engine.

    def begin(self, number: int, payload: Payload) -> None:
        """Make a received payload the current one."""
        self.current, self.payload, self.message = number, payload, frame_of(payload)

    def take_served(self) -> list[Payload]:
        """Give what the client is to receive, once."""
        served, self._served = self._served, []
        return served


def frame_of(sent: Sent) -> Message | None:
    """Decode a payload, if it is a frame that could be encoded as well."""
    if isinstance(sent, ConnectionClosed):
        return None
    try:
        message = decode(sent)
    except DecodeError:
        return None
    text = sent if isinstance(sent, str) else "".join(map(str, message.fields()[:4]))
    return message if first_surrogate(text) < 0 else None


def sent_of(effect: Effect) -> list[Sent]:
    """Give what an effect puts in the place of a message."""
    if effect is None:
        return []
    if isinstance(effect, str | bytes | Message | ConnectionClosed):
        effect = [effect]
    return [encode(each) if isinstance(each, Message) else each for each in effect]
