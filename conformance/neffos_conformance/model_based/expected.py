"""What is sent to a peer under test, and what is expected of it: what every model speaks of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from neffos_codec import Message
from neffos_protocol.events import Change
from neffos_protocol.state_machines import Transition

Place = tuple[str, str | None]
"""A namespace, or a room of one."""

Payload = str | bytes


@dataclass(frozen=True, slots=True)
class End:
    """A connection is ended by this side: with a close frame, or without."""

    code: int | None


@dataclass(frozen=True, slots=True)
class Sent:
    """Something to do on a connection, in its turn."""

    connection: int
    content: Payload | End


@dataclass(slots=True)
class Expected:
    """A message that is to come, or may.

    Attributes:
        number: the action that it comes of.
        connection: where.
        answers: what it is; one of these.
        requirement: what says so.
        must: whether it has to come.
        is_ask: it is an ask of the peer, whose token it chooses.
        lane: what has to come in the order in which it is expected, among others of the lane.
        is_deferred: an ask of the peer was open, so that it may come once that was answered.
        place: whose state waits for it, where that is not known until it comes.
        change: of that place.
        is_any_text: its body may be any text.
    """

    number: int
    connection: int
    answers: tuple[Message | Payload, ...]
    requirement: str
    must: bool = True
    is_ask: bool = False
    lane: str = ""
    is_deferred: bool = False
    place: Place | None = None
    change: Change | None = None
    is_any_text: bool = False

    def ends_with(self, namespace: str) -> bool:
        """Whether it may not come any more when a namespace is left."""
        if self.place is not None:
            return is_inside(self.place, namespace)
        answer = self.answers[0]
        return isinstance(answer, Message) and answer.namespace == namespace


def place_of(change: Change, message: Message) -> Place:
    """Give the place that a frame is to change."""
    is_room = change in (Change.JOIN, Change.LEAVE)
    return message.namespace, message.room if is_room else None


def is_inside(place: Place, namespace: str) -> bool:
    """Say whether a place is a room of a namespace."""
    return place[0] == namespace and place[1] is not None


def way_of(change: Change) -> str:
    """Give what the membership table calls a change."""
    return "connect" if change in (Change.CONNECT, Change.JOIN) else "disconnect"


def input_of(change: Change) -> str:
    """Give what the membership table calls an ask for a change."""
    return f"ask-{way_of(change)}"


def requirement_of(row: Transition[Any], place: Place) -> str:
    """Give what a row of the membership table rests on, for a place."""
    return row.requirements["namespace" if place[1] is None else "room"][0]
