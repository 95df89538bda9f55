"""What a server that is wrong knows of a connection: what its traffic tells of its membership."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import wraps

from mutation.distortions import Payloads, frame_of
from neffos_codec import Message, encode
from neffos_conformance.reference.embedded import Distort, Serve
from neffos_protocol.events import Change
from neffos_protocol.names import CHANGE_OF

OWN_TOKEN = "$own"  # noqa: S105  # no password
"""The token of what a wrong server asks of itself: no case uses it, and no reply shows it."""

Place = tuple[str, str]
"""A namespace and a room of it; the room is empty for the namespace itself."""


@dataclass(slots=True)
class Watch:
    """One connection, as its traffic shows it.

    Attributes:
        is_shaken: whether anything was sent to it that looks like an acceptance.
        id: the connection's id.
        places: what is connected and joined.
        asked: the open asks of the client, by their tokens.
        told: the server's requests that the client has not answered yet, likewise.
        answered: those that it has.
    """

    is_shaken: bool = False
    id: str = ""
    places: set[Place] = field(default_factory=set)
    asked: dict[str, Message] = field(default_factory=dict)
    told: dict[str, Message] = field(default_factory=dict)
    answered: dict[str, Message] = field(default_factory=dict)

    def is_in(self, namespace: str, room: str = "") -> bool:
        """Say whether a namespace is connected, or a room joined."""
        return (namespace, room) in self.places

    def rooms(self, namespace: str) -> list[str]:
        """Give the joined rooms of a namespace."""
        return sorted(room for where, room in self.places if where == namespace and room)

    def came(self, message: Message) -> None:
        """Take note of what the client sends."""
        if message.wait in self.told:
            asked = self.told.pop(message.wait)
            self.answered[message.wait] = asked
            if message.is_empty_reply:
                self._changed(asked)
        elif message.wait:
            self.asked[message.wait] = message

    def went(self, payload: str | bytes) -> None:
        """Take note of what the server sends."""
        message = frame_of(payload)
        if message is None:
            if not self.is_shaken and isinstance(payload, str) and payload.startswith("A"):
                self.is_shaken, self.id = True, payload[1:]
        elif message.wait in self.asked:
            asked = self.asked.pop(message.wait)
            if message.is_empty_reply:
                self._changed(asked)
        elif message.wait and message.event in CHANGE_OF:
            self.told[message.wait] = message

    def _changed(self, asked: Message) -> None:
        place = asked.namespace, asked.room
        match CHANGE_OF.get(asked.event):
            case Change.CONNECT | Change.JOIN:
                self.places.add(place)
            case Change.LEAVE:
                self.places.discard(place)
            case Change.DISCONNECT:
                self.places = {each for each in self.places if each[0] != asked.namespace}
            case _:
                pass


def watched(make: Callable[[Serve, Watch], Serve]) -> Distort:
    """Make a server wrong that watches its traffic.

    Args:
        make: is given the correct server, and what is known before each payload.
    """

    @wraps(make)
    def distort(serve: Serve) -> Serve:
        watch = Watch()

        def honest(payload: str | bytes) -> Payloads:
            message = frame_of(payload)
            if message is not None:
                watch.came(message)
            sent = serve(payload)
            for each in sent:
                watch.went(each)
            return sent

        wrong = make(honest, watch)
        return lambda payload: [each for each in wrong(payload) if not _is_own(each)]

    return distort


def _is_own(payload: str | bytes) -> bool:
    """Say whether this answers what ``aside`` asked; it may come later than that."""
    message = frame_of(payload)
    return message is not None and message.wait == OWN_TOKEN


def aside(serve: Serve, *asks: str) -> Payloads:
    """Have a watched server carry out asks that nobody made; give what it sends meanwhile.

    Args:
        serve: the server.
        asks: frames without their token.
    """
    return [each for ask in asks for each in serve(f"{OWN_TOKEN}{ask}")]


def request(event: str, namespace: str, room: str = "") -> str:
    """Write a request without its token."""
    return f";{namespace};{room};{event};0;0;"


def calling_off(serve: Serve, watch: Watch, event: str, *, by: str) -> Serve:
    """Have the server forget its own asks for a change once the client asks for its contrary.

    Args:
        serve: the correct server.
        watch: what it has asked.
        event: of the server's asks.
        by: the event of the client's ask.
    """
    off: set[str] = set()

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        if message and message.wait in off:
            return serve(encode(Message(wait=message.wait, is_error=True, body="called off")))
        if message and message.event == by:
            off.update(token for token, each in watch.told.items() if each.event == event)
        return serve(payload)

    return wrong
