"""What a message is like, and what came before it on its connection: what triggers look at.

This follows the traffic for itself, and loosely. It decides when a fault acts, and never whether
a peer is right.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from mutation.hooks import Payload, frame_of
from neffos_codec import Message
from neffos_protocol.events import Change
from neffos_protocol.names import CHANGE_OF

Sender = Literal["client", "server"]

Scope = tuple[str, str]
"""A namespace, and a room of it or the empty text."""

KINDS: Final = {
    "handshake": "a handshake message",
    "system": "an ask to connect, disconnect, join or leave",
    "ask": "an event with a token",
    "event": "an event without a token",
    "empty": "the empty reply",
    "reply": "a reply with a body",
    "error": "an error reply",
    "native": "a payload that is not a frame",
}
"""What a message can be, by the last word of the name of an operator."""

FRAMES: Final = ("system", "ask", "event", "empty", "reply", "error")
"""The kinds that are frames."""

REPLIES: Final = ("empty", "reply", "error")
"""The kinds that are replies."""

NAMED: Final = ("namespace", "room", "event")
"""The fields of a frame that are names."""


@dataclass(frozen=True, slots=True)
class Situation:
    """A message, and what came before it on its connection.

    Attributes:
        payload: the message.
        message: the same as a frame, if it is one.
        kind: see ``KINDS``.
        subject: the frame that names namespace and room: the ask that a reply answers, or itself.
        past: how the membership of the subject's scope ended before: ``leave``, ``disconnect``,
            ``refusal``.
        is_member: whether the subject's namespace is connected, and its room joined.
        namespaces: how many are connected.
        rooms: how many are joined.
        is_same_room: whether the subject's room is joined in two namespaces.
        pending: how many asks are pending, of either peer, but for the one that this is about.
        connection: its number among those of the peer, from 1.
        before: how many messages came before, in both directions.
    """

    payload: Payload
    message: Message | None
    kind: str
    subject: Message | None
    past: frozenset[str]
    is_member: bool
    namespaces: int
    rooms: int
    is_same_room: bool
    pending: int
    connection: int
    before: int

    @property
    def is_binary(self) -> bool:
        """Whether the message is binary."""
        return isinstance(self.payload, bytes)

    def text(self, name: str) -> str:
        """Give a field as text; empty where there is none."""
        source = self.message if name in ("body", "wait") else self.subject
        value: Any = getattr(source, name, "")
        return value if isinstance(value, str) else value.decode("utf-8", "replace")

    def size(self, name: str) -> int:
        """Give the bytes of a field."""
        value: Any = getattr(self.message if name == "body" else self.subject, name, "")
        return len(value) if isinstance(value, bytes) else len(value.encode("utf-8", "replace"))


@dataclass(slots=True)
class History:
    """What the messages of one connection have shown.

    Attributes:
        number: of the connection among those of the peer, from 1.
        counts: how often each thing happened, for triggers that count.
        kept: messages that are held back.
    """

    number: int
    counts: Counter[str] = field(default_factory=Counter)
    kept: list[Any] = field(default_factory=list)
    _before: int = 0
    _asked: dict[tuple[str, str], Message] = field(default_factory=dict)
    _pending: dict[tuple[str, str], Message] = field(default_factory=dict)
    _joined: set[Scope] = field(default_factory=set)
    _past: dict[Scope, set[str]] = field(default_factory=dict)

    def look(self, sender: Sender, payload: Payload) -> Situation:
        """Give the situation of a message, before it is followed."""
        message = frame_of(payload)
        kind, ask = self._kind(sender, payload, message)
        subject = ask or message
        scope = (subject.namespace, subject.room) if subject else ("", "")
        is_of_room = bool(scope[1])
        joined = {room for _, room in self._joined if room}
        in_both = sum(room == scope[1] for _, room in self._joined)
        pending = set(self._pending)
        if message:
            pending -= {(each, message.wait) for each in ("client", "server")}
        past = self._past.get(scope, set()) | (
            self._past.get((scope[0], ""), set()) if is_of_room else set()
        )
        return Situation(
            payload,
            message,
            kind,
            subject,
            frozenset(past),
            scope in self._joined,
            sum(not room for _, room in self._joined),
            len(joined),
            is_of_room and in_both > 1,
            len(pending),
            self.number,
            self._before,
        )

    def follow(self, sender: Sender, payload: Payload) -> None:
        """Follow a message."""
        message = frame_of(payload)
        kind, ask = self._kind(sender, payload, message)
        self._before += 1
        if message is None:
            return
        if kind in ("system", "ask"):
            self._asked[sender, message.wait] = self._pending[sender, message.wait] = message
        elif ask is not None:
            self._pending.pop((_other(sender), message.wait), None)
            if change := CHANGE_OF.get(ask.event):
                self._change(change, (ask.namespace, ask.room), kind)

    def _kind(
        self, sender: Sender, payload: Payload, message: Message | None
    ) -> tuple[str, Message | None]:
        if message is None:
            is_handshake = payload[:1] in ("M", "A", "H", b"M", b"A", b"H")
            return ("handshake" if is_handshake else "native"), None
        ask = self._asked.get((_other(sender), message.wait)) if message.wait else None
        if ask is not None:
            kind = "empty" if message.is_empty_reply else "error" if message.is_error else "reply"
            return kind, ask
        if message.wait:
            return ("system" if message.event in CHANGE_OF else "ask"), None
        return "event", None

    def _change(self, change: Change, scope: Scope, kind: str) -> None:
        if change.is_of_room is not bool(scope[1]):
            return
        if kind == "empty" and change.is_entry:
            self._joined.add(scope)
        elif kind == "empty":
            ended = {scope}
            if not scope[1]:
                ended |= {each for each in self._joined if each[0] == scope[0]}
            for each in ended & self._joined:
                self._past.setdefault(each, set()).add("leave" if scope[1] else "disconnect")
            self._joined -= ended
        elif kind == "error":
            self._past.setdefault(scope, set()).add("refusal")


def _other(sender: str) -> str:
    return "server" if sender == "client" else "client"
