"""The states that a peer under test is in, and what is expected of it: what both models share.

This module does not know which role the peer has, nor its application: which row of a table is
taken, and what comes of that, is for the models to say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Protocol, TypeVar

from neffos_codec import Message
from neffos_conformance.model_based.actions import Action, Do
from neffos_conformance.model_based.bodies import in_kind, text_of
from neffos_conformance.model_based.coverage import TransitionId, transition
from neffos_conformance.model_based.expected import (
    Expected,
    Payload,
    Place,
    input_of,
    is_inside,
    requirement_of,
)
from neffos_protocol.events import Change
from neffos_protocol.names import BAD_NAMESPACE, BAD_ROOM
from neffos_protocol.state_machines import (
    HANDSHAKE,
    INCOMING_ASK,
    MEMBERSHIP,
    OUTGOING_ASK,
    StateMachine,
    Transition,
)

ASKS: Final = {
    Change.CONNECT: "NS-1",
    Change.DISCONNECT: "NS-6",
    Change.JOIN: "RM-1",
    Change.LEAVE: "RM-8",
}
"""The requirement on the ask for each change."""


@dataclass(slots=True)
class Asked:
    """An ask of the peer that came.

    Attributes:
        connection: where.
        message: it, as it came.
        change: what it asks for; ``None`` for an event.
        place: whose change, or where the event is.
        state: ``open``; ``answered``; or ``ended`` with its namespace.
        answered_by: the last action that answered it; 0 where none did.
    """

    connection: int
    message: Message
    change: Change | None
    place: Place
    state: str = "open"
    answered_by: int = 0

    def ends_with(self, namespace: str) -> bool:
        """Whether it is over when a namespace is left."""
        if self.change is None:
            return self.place == (namespace, None)
        return is_inside(self.place, namespace)


@dataclass(slots=True)
class Peer:
    """What a model knows of one connection."""

    phase: str
    id: str = ""
    places: dict[Place, str] = field(default_factory=dict)
    unresolved: set[Place] = field(default_factory=set)
    expected: list[Expected] = field(default_factory=list)
    ending: str = ""
    """The requirement by which the peer ends it, or answers its end; empty where it is not to."""
    is_over: bool = False

    def state(self, place: Place) -> str:
        """Give the state of a namespace or a room."""
        return self.places.get(place, "disconnected")

    def is_live(self, namespace: str, room: str = "") -> bool:
        """Whether a namespace is connected, and its room joined where there is one."""
        if self.state((namespace, None)) not in MEMBERSHIP.live:
            return False
        return not room or self.state((namespace, room)) in MEMBERSHIP.live

    def is_changing(self, namespace: str, room: str) -> bool:
        """Whether a handler may see a room before a change of it or after."""
        place = namespace, room
        return place in self.unresolved or self.state(place) in ("connecting", "disconnecting")


AnyPeer = TypeVar("AnyPeer", bound=Peer)


class States(Generic[AnyPeer]):
    """The states of one peer under test, while one program is played.

    Attributes:
        peers: the connections by their numbers.
        asked: the peer's asks by the actions that caused them.
        silences: what says that nothing (more) comes of an action, by its number.
        shapes: what an action was, by its number: equal ones find the same.
        reached: the rows of the tables that were taken.
    """

    def __init__(self) -> None:
        self.peers: dict[int, AnyPeer] = {}
        self.asked: dict[int, Asked] = {}
        self.silences: dict[int, str] = {}
        self.shapes: dict[int, str] = {}
        self.reached: set[TransitionId] = set()

    def ongoing(self, connection: int) -> AnyPeer | None:
        """Give a connection on which something can be done."""
        peer = self.peers.get(connection)
        if peer is None or peer.is_over or peer.ending or peer.phase != "open":
            return None
        return peer

    def number_of(self, peer: AnyPeer) -> int:
        """Give the number of a connection."""
        return next(number for number, each in self.peers.items() if each is peer)

    # ------------------------------------------------------------ what waits

    def is_of_handler(self, number: int) -> bool:
        """Whether the ask that an action causes is a handler's, which waits for its answer."""
        return True

    def open_asks(self, connection: int) -> Iterator[tuple[int, Asked]]:
        """Give the asks of the peer that are open on a connection, by what caused them."""
        for number, ask in self.asked.items():
            if ask.connection == connection and ask.state == "open":
                yield number, ask

    def blocked(self, connection: int) -> bool:
        """Whether a handler may be waiting for this side, and others for the handler."""
        return any(self.is_of_handler(number) for number, _ in self.open_asks(connection))

    def waits(self, connection: int) -> bool:
        """Whether what is sent now may have to wait for this side to answer something."""
        return self.blocked(connection) or any(
            each.is_ask and self.is_of_handler(each.number)
            for each in self.peers[connection].expected
        )

    # ------------------------------------------------------------ expecting

    def expect(
        self,
        action: Action,
        connection: int,
        answer: Message | Payload,
        requirement: str,
        *others: Message,
        must: bool = True,
        is_ask: bool = False,
        lane: str = "",
    ) -> Expected:
        """Expect a message, or one of others, of an action."""
        is_at_once = action.do in (Do.TELL, Do.OPEN)
        expected = Expected(
            action.number,
            connection,
            (answer, *others),
            requirement,
            must=must,
            is_ask=is_ask,
            lane=lane,
            is_deferred=not is_at_once and self.waits(connection),
        )
        self.peers[connection].expected.append(expected)
        return expected

    def may(self, action: Action, answer: Message, connection: int = 0) -> None:
        """Let a message come of an action, or not."""
        self.expect(action, connection or action.connection, answer, "", must=False)

    def replies(
        self, action: Action, message: Message, body: Payload, *, is_error: bool
    ) -> tuple[Message, ...]:
        """Give what the answer of a handler to an event may be; it is one of these."""
        if is_error:
            answer = message.error_reply(text_of(body))
        else:
            answer = message.reply(in_kind(body, message))
        if message.wait:
            self.follow(INCOMING_ASK, "pending", "reply-error" if is_error else "reply")
            self.silences[action.number] = "AR-22"
        elif message.is_no_op:
            return answer, answer.replace(is_no_op=False)
        return (answer,)

    def not_connected(self, action: Action, message: Message) -> None:
        """Expect what comes of an event of a namespace that is not connected."""
        self.silences[action.number] = "NS-9"
        if action.has_token and not message.is_error:
            answer = message.error_reply(BAD_NAMESPACE)
            self.expect(action, action.connection, answer, "NS-17")

    def not_joined(self, action: Action, message: Message) -> None:
        """Expect what comes of an event of a room that is not joined."""
        self.silences[action.number] = "RM-9"
        if action.has_token:
            self.may(action, message.error_reply(BAD_ROOM))

    def settled(self, connection: int) -> None:
        """Take note that all came that had to, and was not put off."""
        peer = self.peers[connection]
        peer.expected = [each for each in peer.expected if each.is_deferred or not each.must]

    # ------------------------------------------------------------ the tables

    def follow(self, machine: StateMachine[Any], state: str, input_: str) -> None:
        """Take note of a row of a table whose states are of no further matter."""
        row = machine.row(state, input_, lambda _: False)
        if row is not None:
            self.reached.add(transition(machine, row))

    def shake(self, peer: AnyPeer, input_: str) -> None:
        """Follow the table of the handshake."""
        row = HANDSHAKE.row(peer.phase, input_, lambda guard: guard == "decides")
        if row is not None:
            self.reached.add(transition(HANDSHAKE, row))
            peer.phase = row.next

    def move(
        self, peer: AnyPeer, place: Place, input_: str, holds: Callable[[str], bool]
    ) -> Transition[Any] | None:
        """Follow the table of membership for a place; give the row, if there is one."""
        row = MEMBERSHIP.row(peer.state(place), input_, holds)
        if row is None:
            return None
        self.reached.add(transition(MEMBERSHIP, row))
        if row.next == "disconnected":
            peer.places.pop(place, None)
        else:
            peer.places[place] = row.next
        return row

    def part(self, connection: int) -> None:
        """Follow the tables for asks and questions, and for nothing, when a connection ends."""
        for machine, state in (
            (OUTGOING_ASK, "none"),
            (INCOMING_ASK, "none"),
            (MEMBERSHIP, "disconnected"),
        ):
            self.follow(machine, state, "closed")
        for _, ask in self.open_asks(connection):
            ask.state = "ended"
            self.follow(OUTGOING_ASK, "pending", "closed")


class Model(Protocol):
    """What both models have for who makes programs and who plays them."""

    @property
    def peers(self) -> Mapping[int, Peer]:
        """The connections by their numbers."""

    @property
    def asked(self) -> Mapping[int, Asked]:
        """The peer's asks by the actions that caused them."""

    @property
    def shapes(self) -> Mapping[int, str]:
        """What an action was, by its number."""

    def take(self, action: Action) -> Sequence[object] | None:
        """Expect what comes of an action; ``None`` where it cannot be done."""

    def came(self, expected: Expected, message: Message | Payload) -> object:
        """Take note of a message that was expected."""

    def settled(self, connection: int) -> None:
        """Take note that all came that had to."""

    def ended(self, connection: int) -> None:
        """Take note that a connection is over."""

    def blocked(self, connection: int) -> bool:
        """Whether a handler may be waiting for this side."""


AnyModel = TypeVar("AnyModel", bound=Model)


def unanswered(change: Change, message: Message) -> str:
    """Give what says that an ask for a change has no reply; empty where it has one."""
    if message.is_error:
        return "NS-12"
    if message.is_no_op or not message.wait:
        return "NS-2" if change is Change.CONNECT else "NS-10"
    return ""


def requirement_on(
    change: Change, place: Place, state: str, refusal: str, holds: Callable[[str], bool]
) -> str:
    """Give the requirement on the reply to an ask of this side for a change.

    Args:
        change: what is asked for.
        place: whose change.
        state: it is in.
        refusal: the text with which the application refuses it; empty where it does not.
        holds: whether the guard of that name holds.
    """
    row = MEMBERSHIP.follow(state, input_of(change), holds)
    if "ask-application" in row.actions:
        row = MEMBERSHIP.follow(row.next, "deny" if refusal else "allow", lambda _: True)
    return requirement_of(row, place)


def manner_of(action: Action, message: Message) -> str:
    """Say in which manner a frame is sent, so that others like it are known by it."""
    return (
        f"{message.is_error} {message.is_no_op} {action.has_token} {action.how}{action.mark} "
        f"{type(action.body).__name__}"
    )
