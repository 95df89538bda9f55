"""What a correct client makes of what it is told to do and of what its server says.

The model follows the state tables for each connection, namespace and room, and knows the
client's side of the application (``spec/docs/application.md``). Of each action it says what is
done, and what has to come of it: messages, ends of operations, and what the client tells its
application. It does no I/O: who plays a program tells it what came.

A client may deal with messages one after the other, or go on while a handler waits for its
server. So, while the ask of a handler is open on a connection, what is due there may come now or
once that ask was answered; what would depend on which of the two it is, is not done.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Final

from neffos_codec import ESCAPE, DecodeError, Message, decode, encode
from neffos_conformance.driving import fields_of
from neffos_conformance.exploring.actions import Action, Do
from neffos_conformance.exploring.bodies import (
    answer_to,
    flagged,
    in_kind,
    input_of_handshake,
    text_of,
)
from neffos_conformance.exploring.coverage import Transition, transition
from neffos_conformance.exploring.expected import (
    End,
    Expected,
    Payload,
    Place,
    input_of,
    is_inside,
    place_of,
    requirement_of,
    way_of,
)
from neffos_protocol.events import Change
from neffos_protocol.machines import ASK, HANDSHAKE, MEMBERSHIP, QUESTION, Machine
from neffos_protocol.names import (
    BAD_NAMESPACE,
    BAD_ROOM,
    CHANGE_OF,
    INVALID_PAYLOAD,
    LOCAL_ONLY,
    NATIVE_EVENT,
    REQUEST_EVENT,
)

DECLARED: Final = frozenset({"app", "any", "semi;colon", "unwanted", ""})
"""The namespaces of the client."""

UNWANTED: Final = "unwanted"
"""The namespace and the room that the client does not let its server put it into."""

REFUSAL: Final = "not wanted"

CHANGES: Final = {
    "connect": Change.CONNECT,
    "disconnect": Change.DISCONNECT,
    "join": Change.JOIN,
    "leave": Change.LEAVE,
}
"""The operations that ask for a change."""

TURNED_AWAY: Final = "not; today"
"""The text of a refused handshake."""

UNAVAILABLE: Final = 503
"""The status in place of an upgrade."""

FIRST_ID: Final = 6
"""What the number of a connection is counted from, to be its id."""

SENDER: Final = "neffos(0x1400011c000)"
"""What an exchange names a connection by, which a client sends back as any token (AR-18)."""

PIECES: Final = "pieces"
"""The way in which a frame is sent that goes out in fragments (FR-15)."""

POLICY: Final = 1008
"""The close code behind a refusal (TR-13)."""

Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Tell:
    """The client is told to do something.

    Attributes:
        op: what.
        values: with what.
    """

    op: str
    values: Values


@dataclass(frozen=True, slots=True)
class Doing:
    """Something to do on a connection, in its turn."""

    connection: int
    content: Payload | End | Tell
    is_held: bool = False
    """It goes out together with what is sent next."""
    is_cut_up: bool = False
    """It goes out in fragments."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an operation may come to.

    Attributes:
        is_done: whether it was done.
        given: what it gives; ``None`` for whatever it is.
        text: what stands in the text of its failure.
    """

    is_done: bool
    given: Payload | None = None
    text: str = ""

    def __str__(self) -> str:
        if self.is_done:
            return "done" if self.given is None else f"done, giving {self.given!r}"
        return f"failed with {self.text!r}" if self.text else "failed"


DONE: Final = Outcome(True)
FAILED: Final = Outcome(False)
EITHER: Final = (DONE, FAILED)


@dataclass(slots=True)
class Told:
    """An operation that the client was told to do.

    Attributes:
        connection: where.
        op: what.
        place: whose change it asks for, or where it asks.
        outcomes: what it may come to now; empty while it has to go on.
        requirement: what says so.
        must: whether it has to come to it.
        is_over: it came to something.
    """

    connection: int
    op: str
    place: Place | None = None
    outcomes: tuple[Outcome, ...] = ()
    requirement: str = "AR-11"
    must: bool = False
    is_over: bool = False

    def comes_to(self, requirement: str, *outcomes: Outcome, must: bool = True) -> None:
        """Say what it has to come to, unless something else was settled before."""
        if not self.is_over and not self.must:
            self.outcomes, self.requirement, self.must = outcomes, requirement, must


@dataclass(slots=True)
class Sight:
    """Something that the client tells its application, or may.

    Attributes:
        number: the action that it comes of.
        connection: where.
        values: the fields of the line, without the connection.
        requirement: what says so.
        must: whether it has to come.
        is_deferred: an ask of the client's handler was open, as for messages.
    """

    number: int
    connection: int
    values: Values
    requirement: str
    must: bool = True
    is_deferred: bool = False

    @property
    def is_event(self) -> bool:
        """Whether it is of an event, which has its place among others (EV-1)."""
        return bool(self.values["saw"] == "event")


@dataclass(slots=True)
class Asked:
    """An ask of the client that came.

    Attributes:
        connection: where.
        message: it, as it came.
        change: what it asks for; ``None`` for an event.
        place: whose change, or where the event is.
        relayed: the ask of the server that it is made for, where a handler makes it.
        state: ``open``; ``answered``; or ``ended`` with its namespace.
        answered_by: the last action that answered it; 0 where none did.
    """

    connection: int
    message: Message
    change: Change | None
    place: Place
    relayed: Message | None = None
    state: str = "open"
    answered_by: int = 0


@dataclass(slots=True)
class Peer:
    """What the model knows of one connection."""

    phase: str = HANDSHAKE.initial["client"]
    id: str = ""
    places: dict[Place, str] = field(default_factory=dict)
    unresolved: set[Place] = field(default_factory=set)
    expected: list[Expected] = field(default_factory=list)
    sights: list[Sight] = field(default_factory=list)
    leaving: dict[int, list[Place]] = field(default_factory=dict)
    """Rooms that are left one by one, by the action that has them left."""
    ending: str = ""
    """The requirement by which the client ends it, or answers its end; empty where it is not to."""
    is_over: bool = False


class Model:
    """The model of one client, while one program is played.

    Attributes:
        peers: the connections by their numbers.
        told: the operations by the actions that told them.
        asked: the client's asks by the actions that caused them.
        silences: what says that nothing (more) comes of an action, by its number.
        shapes: what an action was, by its number: equal ones find the same.
        tokens: the actions of the suite's asks, by their tokens.
        changed_by: the last action that was about a place, by its connection.
        reached: the rows of the tables that were taken.
    """

    def __init__(self, operations: frozenset[str] | None = None) -> None:
        self.peers: dict[int, Peer] = {}
        self.told: dict[int, Told] = {}
        self.asked: dict[int, Asked] = {}
        self.silences: dict[int, str] = {}
        self.shapes: dict[int, str] = {}
        self.tokens: dict[str, int] = {}
        self.changed_by: dict[tuple[int, Place], int] = {}
        self.reached: set[Transition] = set()
        self._takes_native = operations is None or "native" in operations
        self._relays: dict[int, Message] = {}

    def take(self, action: Action) -> list[Doing] | None:
        """Give what is done in an action, and expect what comes of it.

        ``None`` where it cannot be done now, or nothing could be said of what came of it; then
        nothing has changed.
        """
        if action.do is Do.OPEN:
            return self._open(action)
        peer = self.peers.get(action.connection)
        if peer is None or peer.is_over or peer.ending or peer.phase != "open":
            return None
        match action.do:
            case Do.CLOSE | Do.CUT:
                return self._leave(action, peer)
            case Do.NOISE:
                return self._noise(action, peer)
            case Do.ANSWER:
                return self._answer(action, peer)
            case Do.TELL:
                return self._tell(action, peer)
            case _:
                return self._send(action, peer)

    def blocked(self, connection: int) -> bool:
        """Whether a handler may be waiting for the server, and others for the handler."""
        return any(
            each.connection == connection and each.state == "open" and each.relayed is not None
            for each in self.asked.values()
        )

    def waits(self, connection: int) -> bool:
        """Whether what is sent now may have to wait for the server to answer something."""
        peer = self.peers[connection]
        is_relaying = any(each.number in self._relays and each.is_ask for each in peer.expected)
        return self.blocked(connection) or is_relaying

    def held_up(self, connection: int) -> bool:
        """Whether what was put off may be put off still."""
        may_relay = any(
            each.number in self._relays and each.is_ask and not each.must
            for each in self.peers[connection].expected
        )
        return self.blocked(connection) or may_relay

    def settled(self, connection: int) -> None:
        """Take note that all came that had to, and was not put off."""
        peer = self.peers[connection]
        peer.expected = [each for each in peer.expected if each.is_deferred or not each.must]
        peer.sights = [each for each in peer.sights if each.is_deferred or not each.must]

    # ------------------------------------------------------------ what came

    def came(self, expected: Expected, message: Message | Payload) -> list[Payload]:
        """Take note of a message that was expected; give what it is answered with at once."""
        peer = self.peers[expected.connection]
        peer.expected.remove(expected)
        if not isinstance(message, Message):
            return []
        if expected.is_ask:
            return self._asks(expected, peer, message)
        if expected.place is not None and expected.change is not None:
            peer.unresolved.discard(expected.place)
            self._change(expected.number, peer, expected.change, expected.place)
        return []

    def _asks(self, expected: Expected, peer: Peer, message: Message) -> list[Payload]:
        number = expected.number
        change = CHANGE_OF.get(message.event)
        place = place_of(change, message) if change else (message.namespace, None)
        self._follow(ASK, "none", "send")
        if number in peer.leaving:
            peer.leaving[number].remove(place)
            self._step(number, peer, place, "exit")
            self._step(number, peer, place, "exit-done")
            self._follow(ASK, "open", "reply")
            if not peer.leaving[number]:
                del peer.leaving[number]
                self.told[number].comes_to("RM-8", DONE)
            return [encode(message.empty_reply())]
        relayed = self._relays.get(number)
        self.asked[number] = Asked(expected.connection, message, change, place, relayed)
        if change is not None:
            self._step(number, peer, place, way_of(change))
        return []

    def was_seen(self, sight: Sight) -> None:
        """Take note of what the client told its application."""
        self.peers[sight.connection].sights.remove(sight)

    def ended(self, connection: int) -> None:
        """Take note that a connection is over."""
        peer = self.peers[connection]
        if peer.is_over:
            return
        was_open = peer.phase == "open"
        self._shake(peer, "close" if peer.ending == "TR-12" else "gone")
        last = max([0, *self.shapes])
        for sight in peer.sights:
            sight.must = False
        for expected in peer.expected:  # it may have been done, without the reply to be seen
            if expected.place is not None and expected.change is not None:
                for change in _ENTRY_AND_EXIT[expected.place[1] is not None]:
                    self._may_tell(last, connection, change, expected.place)
        for place in list(peer.places):
            self._step(last, peer, place, "gone")
        self._follow(MEMBERSHIP, "out", "gone")
        self._follow(ASK, "none", "gone")
        self._follow(QUESTION, "none", "gone")
        for ask in self.asked.values():
            if ask.connection == connection and ask.state == "open":
                ask.state = "ended"
                self._follow(ASK, "open", "gone")
                if ask.relayed is not None:
                    self._follow(QUESTION, "open", "gone")
        self._let_go(peer)
        if was_open:
            self._see(last, connection, "TR-14", saw="closed")
        else:
            self._see(last, connection, "TR-14", must=False, saw="closed")
        peer.is_over = True

    # ------------------------------------------------------------ opening

    def _open(self, action: Action) -> list[Doing] | None:
        number = action.connection
        if number in self.peers:
            return None
        peer = self.peers[number] = Peer()
        self.shapes[action.number] = f"open {action.how}"
        self.silences[action.number] = "HS-11"
        told = self.told[action.number] = Told(number, "dial")
        if action.how == "unavailable":
            peer.ending = "TR-1"
            peer.is_over = True
            told.comes_to("TR-1", FAILED)
            return []
        self._shake(peer, "start")
        self._expect(action, number, "M", "HS-1")
        answers: list[Payload | End] = []
        match action.how:
            case "refused" | "refused-silently":
                self._shake(peer, "refuse")
                peer.ending = "HS-16"
                text = TURNED_AWAY if action.how == "refused" else ""
                told.comes_to("HS-16", Outcome(False, text=text))
                return [Doing(number, f"H{text}"), Doing(number, End(POLICY))]
            case "cut" | "closed":
                peer.ending = "TR-14" if action.how == "cut" else "TR-16"
                told.outcomes = (FAILED,)
                return [Doing(number, End(None if action.how == "cut" else 1000))]
            case _:
                pass
        peer.id = f"{FIRST_ID + number}"
        accept: Payload = f"A{peer.id}"
        behind: list[Payload | End] = []
        match action.how:
            case "odd":
                peer.id = f" an id; with; anything {action.number} é"
                accept = f"A{peer.id}"
            case "binary":
                accept = f"A{peer.id}".encode()
            case "noisy":
                self._shake(peer, "other")
                answers = ["welcome", "", b"\x00\xff", "a6", ";;;;;"]
                self.silences[action.number] = "HS-10"
            case "asking":
                self._shake(peer, "request")
                answers = ["M"]
                self.silences[action.number] = "HS-9"
            case "doubled":
                behind = ["A9", b"A", "Hno"]
                self.silences[action.number] = "HS-8"
            case "early":
                self._shake(peer, "other")
                answers = [self._connected(action, peer, "HS-14")]
            case "joined":
                behind = [self._connected(action, peer, "HS-18")]
            case _:
                pass
        told.comes_to(_OPENED.get(action.how, "HS-19"), Outcome(True, given=peer.id))
        self._shake(peer, "accept")
        for each in behind:
            self._shake(peer, input_of_handshake(each) if not isinstance(each, End) else "other")
        said = [*answers, accept, *behind]
        is_held = action.how == "joined"
        return [Doing(number, each, is_held and each == accept) for each in said]

    def _connected(self, action: Action, peer: Peer, requirement: str) -> Payload:
        """Have the server connect a namespace at once."""
        connect = Message(f"{action.number}", "any", "", REQUEST_EVENT[Change.CONNECT])
        expected = self._expect(action, action.connection, connect.empty_reply(), requirement)
        expected.place, expected.change = ("any", None), Change.CONNECT
        peer.unresolved.add(("any", None))
        return encode(connect)

    # ------------------------------------------------------------ leaving

    def _leave(self, action: Action, peer: Peer) -> list[Doing]:
        self.shapes[action.number] = f"{action.do}"
        self.silences[action.number] = "TR-15"
        peer.ending = "TR-16" if action.do is Do.CLOSE else "TR-14"
        self._let_go(peer)
        return [Doing(action.connection, End(1000 if action.do is Do.CLOSE else None))]

    def _let_go(self, peer: Peer) -> None:
        """Expect nothing for certain any more but that what is pending ends (AR-14)."""
        for expected in peer.expected:
            expected.must = False
        connection = self._number(peer)
        for told in self.told.values():
            if told.connection == connection and not told.is_over:
                told.comes_to("AR-14", *_lost(told))

    # ------------------------------------------------------------ what is no frame

    def _noise(self, action: Action, peer: Peer) -> list[Doing] | None:
        payload = action.body
        place: Place = ("", None)
        state = peer.places.get(place, "out")
        if place in peer.unresolved or state not in ("out", "in"):
            return None
        first = input_of_handshake(payload)
        kind = "nothing" if not payload else first if first != "other" else "noise"
        self.shapes[action.number] = f"{kind} {type(payload).__name__} {state}"
        by_kind = {"nothing": "FR-14", "noise": "FR-16", "request": "HS-9"}
        self.silences[action.number] = by_kind.get(kind, "HS-8")
        if isinstance(payload, str) and payload.count(";") == 5:
            self.silences[action.number] = "FR-2"
        self._shake(peer, first)
        if state == "in" and payload:
            self._see(
                action.number,
                action.connection,
                "NM-2",
                must=self._takes_native,
                saw="native",
                **fields_of(payload),
            )
        return [Doing(action.connection, payload)]

    # ------------------------------------------------------------ what the client is told

    def _tell(self, action: Action, peer: Peer) -> list[Doing] | None:
        op = action.how
        told = Told(action.connection, op)
        place: Place = (action.namespace, None)
        state = peer.places.get(place, "out")
        body_kind = type(action.body).__name__
        if op == "close":
            self.silences[action.number] = "TR-15"
            told.comes_to("TR-12", DONE)
            peer.ending = "TR-12"
            self._let_go(peer)
        elif op == "native":
            if place[0] or place in peer.unresolved or state != "in":
                return None
            if not self._native(action, told):
                return None
        elif place in peer.unresolved:
            return None
        elif op in CHANGES:
            if not self._ask_for(action, peer, told):
                return None
        elif op == "leave-all":
            if not self._leave_all(action, peer, told):
                return None
        elif not self._say(action, peer, told):
            return None
        self.shapes[action.number] = (
            f"told {op} {_kind(place)} {state} {bool(action.room)} {body_kind} "
            f"{_kind_of_event(action.event)} {_reads_as_frame(action.body)}"
        )
        self.told[action.number] = told
        return [Doing(action.connection, Tell(op, _values(action)))]

    def _ask_for(self, action: Action, peer: Peer, told: Told) -> bool:
        """Have the client ask for a change, where the table has a row for that."""
        change = CHANGES[action.how]
        namespace = action.namespace
        is_room = change in (Change.JOIN, Change.LEAVE)
        place: Place = (namespace, action.room if is_room else None)
        if namespace not in DECLARED or UNWANTED in place or place in peer.unresolved:
            return False
        if is_room and (not action.room or peer.places.get((namespace, None)) != "in"):
            return False
        if any(place in rooms for rooms in peer.leaving.values()):
            return False
        if any(
            ask.state == "open" and ask.change is not None and ask.place == place
            for ask in self.asked.values()
            if ask.connection == action.connection
        ):
            return False  # the table does not say which of two asks a late reply would settle
        way = way_of(change)
        row = MEMBERSHIP.row(peer.places.get(place, "out"), way, lambda _: False)
        if row is None:
            return False
        told.place = place
        asked = Message("$", namespace, place[1] or "", REQUEST_EVENT[change])
        self._expect(action, action.connection, asked, _ASKS[change], is_ask=True)
        self.silences[action.number] = "NS-14" if change is Change.DISCONNECT else "AR-22"
        self.changed_by[action.connection, place] = action.number
        return True

    def _leave_all(self, action: Action, peer: Peer, told: Told) -> bool:
        namespace = action.namespace
        rooms = [each for each in peer.places if is_inside(each, namespace)]
        if peer.places.get((namespace, None)) != "in":
            return False
        if any(is_inside(each, namespace) for each in peer.unresolved):
            return False
        if any(peer.places[each] != "in" for each in rooms):
            return False
        self.silences[action.number] = "RM-8"
        if not rooms:
            told.comes_to("RM-8", *EITHER)
            return True
        told.place = (namespace, None)
        peer.leaving[action.number] = list(rooms)
        for name, room in rooms:
            asked = Message("$", name, room or "", REQUEST_EVENT[Change.LEAVE])
            self._expect(action, action.connection, asked, "RM-8", is_ask=True)
            self.changed_by[action.connection, (name, room)] = action.number
        return True

    def _say(self, action: Action, peer: Peer, told: Told) -> bool:
        """Have the client send an event, or ask one."""
        namespace, room = action.namespace, action.room
        state = peer.places.get((namespace, None), "out")
        if state not in ("in", "out"):
            return False
        if room:
            if (namespace, room) in peer.unresolved:
                return False
            if peer.places.get((namespace, room), "out") not in ("in", "out"):
                return False
        is_joined = not room or (namespace, room) in peer.places
        if state == "out" or not is_joined:
            self.silences[action.number] = "NS-11" if state == "out" else "RM-10"
            told.comes_to(self.silences[action.number], FAILED)
            return True
        if ESCAPE in action.event:
            self.silences[action.number] = "FR-4"
            told.comes_to("FR-4", FAILED)
            return True
        if action.event in LOCAL_ONLY:
            self.silences[action.number] = "EV-5"
            told.comes_to("EV-5", *EITHER)
            return True
        is_ask = action.how == "ask"
        said = Message("$" if is_ask else "", namespace, room, action.event, body=action.body)
        self._expect(action, action.connection, said, "FR-10", is_ask=is_ask)
        self.silences[action.number] = "AR-22"
        if is_ask:
            told.place = (namespace, None)
        else:
            told.comes_to("AR-11", DONE)
        return True

    def _native(self, action: Action, told: Told) -> bool:
        self.silences[action.number] = "NM-3"
        if not action.body:
            return False
        if _reads_as_frame(action.body):
            told.comes_to("NM-3", FAILED)
            return True
        self._expect(action, action.connection, action.body, "FR-11")
        told.comes_to("AR-11", DONE)
        return True

    # ------------------------------------------------------------ what the server sends

    def _send(self, action: Action, peer: Peer) -> list[Doing] | None:
        is_plain = action.how in ("", PIECES)
        message = Message(
            token_of(action),
            action.namespace,
            action.room,
            action.event,
            action.is_error and is_plain,
            action.is_no_op and is_plain,
            action.body,
        )
        change = CHANGE_OF.get(action.event)
        if change is not None:
            taken = self._ask_change(action, peer, message, change)
        elif (message.namespace, None) in peer.unresolved:
            return None
        else:
            taken = self._event(action, peer, message)
        if not taken:
            return None
        if message.wait:
            self.tokens[message.wait] = action.number
        if action.how == PIECES:
            return [Doing(action.connection, encode(message), is_cut_up=True)]
        return [Doing(action.connection, flagged(encode(message), action.how))]

    def _ask_change(self, action: Action, peer: Peer, message: Message, change: Change) -> bool:
        place = place_of(change, message)
        namespace, room = place
        if place in peer.unresolved or (namespace, None) in peer.unresolved:
            return False
        if any(is_inside(each, namespace) for each in peer.unresolved):
            return False
        if any(each[0] == namespace for rooms in peer.leaving.values() for each in rooms):
            return False
        state = peer.places.get(place, "out")
        flags = (
            f"{message.is_error} {message.is_no_op} {action.has_token} {action.how}{action.mark} "
            f"{type(action.body).__name__}"
        )
        self.shapes[action.number] = f"{change} {_kind(place)} {state} {flags}"
        self.changed_by[action.connection, place] = action.number
        if message.is_error or message.is_no_op or not action.has_token:
            by_flag = "NS-2" if change is Change.CONNECT else "NS-10"
            self.silences[action.number] = "NS-12" if message.is_error else by_flag
            return True
        self.silences[action.number] = "AR-22"
        if room is not None and not self._is_live(peer, namespace):
            self._expect(action, action.connection, message.error_reply(BAD_NAMESPACE), "NS-17")
            return True
        refusal = self._refusal(peer, place, change)
        answer = message.error_reply(refusal) if refusal else message.empty_reply()
        row = MEMBERSHIP.follow(state, input_of(change), self._holds(place))
        if "judge" in row.actions:
            after = MEMBERSHIP.follow(row.next, "deny" if refusal else "allow", lambda _: True)
            requirement = requirement_of(after, place)
        else:
            requirement = requirement_of(row, place)
        lane = "" if self.waits(action.connection) else "order"
        expected = self._expect(action, action.connection, answer, requirement, lane=lane)
        if lane:
            self._change(action.number, peer, change, place)
        else:
            expected.place, expected.change = place, change
            peer.unresolved.add(place)
            self._loosen(action.connection, place, change)
        return True

    def _loosen(self, connection: int, place: Place, change: Change) -> None:
        """Let what is pending end already, where a change may have its turn before it is seen."""
        for number, ask in self.asked.items():
            told = self.told.get(number)
            if told is None or told.must or ask.connection != connection or ask.state != "open":
                continue
            if ask.change is not None and ask.place == place:
                told.outcomes = EITHER
            elif change is Change.DISCONNECT and ask.place[0] == place[0]:
                told.outcomes = _lost(told)

    def _event(self, action: Action, peer: Peer, message: Message) -> bool:
        namespace, room, event = message.namespace, message.room, message.event
        state = peer.places.get((namespace, None), "out")
        is_live = self._is_live(peer, namespace)
        is_joined = not room or self._is_live(peer, namespace, room)
        if is_live and room:
            room_state = peer.places.get((namespace, room), "out")
            if (namespace, room) in peer.unresolved or room_state in ("entering", "exiting"):
                return False  # a handler may see it before or after the change
        self.shapes[action.number] = (
            f"{_kind_of_event(event)} {_kind((namespace, None))} {state} {bool(room)} {is_joined} "
            f"{message.is_error} {message.is_no_op} {action.has_token} {action.how}{action.mark} "
            f"{type(action.body).__name__}"
        )
        if not _is_defined(message, is_live=is_live):
            return False
        if not (is_live and is_joined) and self.waits(action.connection):
            return False  # it may be connected, or joined, by the time that it has its turn
        number, connection = action.number, action.connection
        if event in LOCAL_ONLY:
            self.silences[number] = "EV-4"
            if action.has_token:
                for text in (INVALID_PAYLOAD, BAD_NAMESPACE, BAD_ROOM):
                    self._may(action, message.error_reply(text))
            return True
        if event == NATIVE_EVENT and not namespace:
            return self._framed_native(action, peer, message)
        if not is_live:
            self.silences[number] = "NS-9"
            if action.has_token and not message.is_error:
                answer = message.error_reply(BAD_NAMESPACE)
                self._expect(action, connection, answer, "NS-17")
            return True
        if not is_joined:
            self.silences[number] = "RM-9"
            if action.has_token:
                self._may(action, message.error_reply(BAD_ROOM))
            return True
        if room and action.has_token and self.waits(connection):
            self._may(action, message.error_reply(BAD_ROOM))  # where it is left before its turn
        is_sure = state == "in" and event != NATIVE_EVENT
        # The text of an error is text, whatever kind it came in (FR-17); a line may say either.
        is_open = message.is_error and message.is_binary
        body = {} if is_open else fields_of(message.body)
        error: Values = {"error": True} if message.is_error else {"error": None}
        self._see(
            number,
            connection,
            "EV-6" if message.is_error else "EV-2",
            must=is_sure,
            saw="event",
            namespace=namespace,
            room=room,
            event=event,
            **body,
            **error,
        )
        self._handle(action, message, is_sure=is_sure)
        return True

    def _framed_native(self, action: Action, peer: Peer, message: Message) -> bool:
        if message.room or message.is_error:
            return False
        state = peer.places.get(("", None), "out")
        if state not in ("in", "out"):
            return False
        self.silences[action.number] = "NM-5" if state == "in" else "NM-4"
        if action.has_token:
            self._may(action, message.error_reply(BAD_NAMESPACE))
        if state == "in":
            self._see(
                action.number,
                action.connection,
                "NM-5",
                must=self._takes_native,
                saw="native",
                **fields_of(message.body),
            )
        return True

    def _handle(self, action: Action, message: Message, *, is_sure: bool) -> None:
        """Expect what a handler of the application does."""
        number, connection = action.number, action.connection
        self.silences[number] = "AR-9"
        if action.has_token:
            self._follow(QUESTION, "none", "asked")
            if self.waits(connection):
                self._follow(QUESTION, "open", "asked")
        if message.is_error:
            return
        match message.event:
            case "echo" | "question":
                self._reply(action, message, message.body, must=is_sure)
            case "fail":
                text = text_of(message.body)
                if text:
                    self._reply(action, message, text, must=is_sure, is_error=True)
                else:  # it is sent with some text, or not at all (FR-9)
                    self._reply(action, message, "?", must=False, is_error=True)
                    self.peers[connection].expected[-1].is_any_text = True
            case "relay":
                asked = Message("$", message.namespace, "", "echo", body=message.body)
                self._relays[number] = message
                self._expect(action, connection, asked, "AR-1", must=is_sure, is_ask=True)
                self.silences[number] = "AR-11"  # until its ask was answered
            case _:
                if action.has_token:
                    self._follow(QUESTION, "open", "ignore")

    def _reply(
        self,
        action: Action,
        message: Message,
        body: Payload,
        *,
        must: bool = True,
        is_error: bool = False,
        is_late: bool = False,
    ) -> None:
        """Expect a handler's answer."""
        if is_error:
            answer = message.error_reply(text_of(body))
        else:
            answer = message.reply(in_kind(body, message))
        others = []
        if message.wait:
            self._follow(QUESTION, "open", "refuse" if is_error else "reply")
            self.silences[action.number] = "AR-22"
        elif message.is_no_op:
            others.append(answer.replace(is_no_op=False))
        requirement = "AR-7" if message.wait else "AR-10"
        lane = "" if is_late else self._lane(action.connection)
        expected = self._expect(
            action, action.connection, answer, requirement, *others, must=must, lane=lane
        )
        if is_late:  # it was put off, and is not any more
            expected.is_deferred = False
            expected.is_any_text = is_error  # whether the server's text is told on (SEC-17)

    # ------------------------------------------------------------ answering

    def _answer(self, action: Action, peer: Peer) -> list[Doing] | None:
        ask = self.asked.get(action.of)
        if ask is None or ask.connection != action.connection:
            return None
        is_change = ask.change is not None
        if ask.state == "open" and (
            ask.place in peer.unresolved or (ask.place[0], None) in peer.unresolved
        ):
            return None
        is_exit = ask.change is not None and way_of(ask.change) == "exit"
        is_back = peer.places.get(ask.place, "out") not in ("out", "exiting")
        if ask.state == "open" and is_exit and is_back:
            return None  # what the reply to an earlier ask would end is left open
        if action.how == "bare" and ask.relayed is not None:
            return None  # whether it is passed on, and with which text, is left open (FR-9)
        kind = "relay" if ask.relayed is not None else ask.change or "event"
        self.shapes[action.number] = f"answer {kind} {action.how} {ask.state}"
        self.silences[action.number] = "AR-21"
        message = answer_to(ask.message, action.how, action.number, is_change=is_change)
        sent = encode(message)
        if action.how == "bare":  # what no sender may write (FR-9)
            sent = flagged(sent, "1;0")
        self.changed_by[action.connection, ask.place] = action.number
        ask.answered_by = action.number
        is_error = message.is_error or action.how == "bare"
        if ask.state != "open":
            self._follow(ASK, "none", "error" if is_error else "reply")
            return [Doing(action.connection, sent)]
        ask.state = "answered"
        self._follow(ASK, "open", "error" if is_error else "reply")
        if is_change:
            self._settle_change(action, peer, ask, message, is_error=is_error)
        elif ask.relayed is not None:
            if self._is_live(peer, ask.place[0]):
                self._relay(action, peer, ask, message, is_error=is_error)
        else:
            told = self.told[action.of]
            text = text_of(message.body) if message.is_error else ""
            if is_error:
                requirement = "FR-8" if not text else "FR-17" if message.is_binary else "AR-11"
                told.comes_to(requirement, Outcome(False, text=text))
            else:
                # The empty reply is text whatever it answers, so that its kind says nothing.
                is_open = message.is_empty_reply and ask.message.is_binary
                told.comes_to("AR-11", Outcome(True, given=None if is_open else message.body))
        doing = [Doing(action.connection, sent)]
        if action.how == "twice":
            self._follow(ASK, "none", "reply")
            doing *= 2
        return doing

    def _settle_change(
        self, action: Action, peer: Peer, ask: Asked, message: Message, *, is_error: bool
    ) -> None:
        is_done = message.is_empty_reply and not is_error
        told = self.told[action.of]
        way = way_of(ask.change or Change.CONNECT)
        before = peer.places.get(ask.place, "out")
        self._step(action.number, peer, ask.place, f"{way}-{'done' if is_done else 'error'}")
        if not is_done:
            self.silences[action.number] = "AR-19"
        if before not in ("entering", "exiting"):  # it was settled by an ask of the server
            told.comes_to("NS-5", *EITHER)
            if ask.change is not None:  # it brings about once more what the server's ask did
                self._may_tell(action.number, action.connection, ask.change, ask.place)
        elif is_done:
            told.comes_to("AR-8", DONE)
        elif message.is_error:
            told.comes_to("AR-19", Outcome(False, text=text_of(message.body)))
        else:
            told.comes_to("AR-19", FAILED)

    def _may_tell(self, number: int, connection: int, change: Change, place: Place) -> None:
        """Let the application be told of a change or not."""
        word = _WORDS[change]
        namespace, room = place
        values = {"namespace": namespace}
        if room is not None:
            values["room"] = room
        self._see(number, connection, "", must=False, saw=word, **values)

    def _relay(
        self, action: Action, peer: Peer, ask: Asked, message: Message, *, is_error: bool
    ) -> None:
        """Expect that a handler passes on what it was answered."""
        relayed = ask.relayed
        if relayed is None:
            return
        is_sure = peer.places.get(ask.place, "out") == "in"
        if relayed.room:
            is_sure = is_sure and peer.places.get((ask.place[0], relayed.room)) == "in"
        first = replace(action, number=action.of)
        self._reply(first, relayed, message.body, must=is_sure, is_error=is_error, is_late=True)

    # ------------------------------------------------------------ expecting

    def _lane(self, connection: int) -> str:
        return "" if self.waits(connection) else "order"

    def _expect(
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
        is_told = action.do is Do.TELL or action.do is Do.OPEN
        expected = Expected(
            action.number,
            connection,
            (answer, *others),
            requirement,
            must=must,
            is_ask=is_ask,
            lane=lane,
            is_deferred=not is_told and self.waits(connection),
        )
        self.peers[connection].expected.append(expected)
        return expected

    def _may(self, action: Action, answer: Message) -> None:
        self._expect(action, action.connection, answer, "", must=False)

    def _see(
        self, number: int, connection: int, requirement: str, *, must: bool = True, **values: Any
    ) -> None:
        sight = Sight(number, connection, values, requirement, must, self.waits(connection))
        self.peers[connection].sights.append(sight)

    # ------------------------------------------------------------ states

    def _is_live(self, peer: Peer, namespace: str, room: str = "") -> bool:
        if peer.places.get((namespace, None), "out") not in MEMBERSHIP.live:
            return False
        return not room or peer.places.get((namespace, room), "out") in MEMBERSHIP.live

    def _refusal(self, peer: Peer, place: Place, change: Change) -> str:
        """Give the text with which a change is refused now; empty where it is not."""
        namespace, room = place
        if peer.places.get(place, "out") != "out" or change in (Change.DISCONNECT, Change.LEAVE):
            return ""
        if room is None:
            if namespace not in DECLARED:
                return BAD_NAMESPACE
            return REFUSAL if namespace == UNWANTED else ""
        if not room:
            return BAD_ROOM
        return REFUSAL if room == UNWANTED else ""

    def _holds(self, place: Place) -> Callable[[str], bool]:
        namespace, room = place

        def holds(guard: str) -> bool:
            match guard:
                case "unknown":
                    return not room if room is not None else namespace not in DECLARED
                case "decides-entry":
                    return room is not None or namespace == UNWANTED
                case _:
                    return False

        return holds

    def _change(self, number: int, peer: Peer, change: Change, place: Place) -> None:
        """Follow the table for an ask of the server, and the application's decision."""
        refusal = self._refusal(peer, place, change)
        self._step(number, peer, place, input_of(change))
        if peer.places.get(place, "out").startswith("judging"):
            self._step(number, peer, place, "deny" if refusal else "allow")

    def _step(self, number: int, peer: Peer, place: Place, input_: str) -> None:
        state = peer.places.get(place, "out")
        row = MEMBERSHIP.row(state, input_, self._holds(place))
        if row is None:
            return
        self.reached.add(transition(MEMBERSHIP, row))
        was_live = state in MEMBERSHIP.live
        if row.next == "out":
            peer.places.pop(place, None)
        else:
            peer.places[place] = row.next
        self._tell_of(number, peer, place, state, input_)
        if state in ("entering", "exiting") and row.next != state and "ask" in input_:
            self._crossed(peer, place)
        if was_live and row.next == "out" and input_ != "gone":
            if place[1] is None:
                self._drop_inside(number, peer, place[0])
            else:
                self._unsettle(peer, place)

    def _unsettle(self, peer: Peer, place: Place) -> None:
        """Let what was put off come or not, since it was for a room that was left meanwhile."""
        for expected in peer.expected:
            answer = self._relays.get(expected.number, expected.answers[0])
            is_there = isinstance(answer, Message) and (answer.namespace, answer.room) == place
            if is_there and expected.is_deferred and expected.place is None:
                expected.must = False
        for sight in peer.sights:
            values = sight.values
            if sight.is_deferred and sight.is_event:
                is_there = (values["namespace"], values["room"]) == place
                sight.must = sight.must and not is_there

    def _tell_of(self, number: int, peer: Peer, place: Place, before: str, input_: str) -> None:
        """Expect that the application is told of what a step came to."""
        is_live = peer.places.get(place, "out") in MEMBERSHIP.live
        was_live = before in MEMBERSHIP.live
        if is_live == was_live:
            return
        namespace, room = place
        connection = self._number(peer)
        must = input_ != "gone" or (room is None and before == "in")
        if room is None:
            word = "connected" if is_live else "disconnected"
            requirement = "TR-15" if input_ == "gone" else "NS-1" if is_live else "NS-6"
            self._see(number, connection, requirement, must=must, saw=word, namespace=namespace)
        else:
            word = "joined" if is_live else "left"
            requirement = "TR-15" if input_ == "gone" else "RM-1" if is_live else "RM-2"
            self._see(
                number, connection, requirement, must=must, saw=word, namespace=namespace, room=room
            )

    def _crossed(self, peer: Peer, place: Place) -> None:
        """Let the client's own ask come to anything, whose change the server has made."""
        connection = self._number(peer)
        for number, ask in self.asked.items():
            if ask.connection == connection and ask.place == place and ask.state == "open":
                told = self.told.get(number)
                if told is not None and ask.change is not None and not told.must:
                    told.outcomes = EITHER

    def _drop_inside(self, number: int, peer: Peer, namespace: str) -> None:
        """End what a namespace holds (NS-14, NS-18)."""
        connection = self._number(peer)
        for inside in [each for each in peer.places if is_inside(each, namespace)]:
            self._step(number, peer, inside, "gone")
        peer.unresolved = {each for each in peer.unresolved if not is_inside(each, namespace)}
        for of, ask in self.asked.items():
            if ask.connection != connection or ask.state != "open":
                continue
            is_in = ask.place == (namespace, None) if ask.change is None else False
            if not is_in and not is_inside(ask.place, namespace):
                continue
            ask.state = "ended"
            self._follow(ASK, "open", "gone")
            if ask.relayed is not None:
                self._follow(QUESTION, "open", "gone")
                self.silences[of] = "NS-18"
            elif of in self.told:
                self.told[of].comes_to("NS-18", *_lost(self.told[of]))
        for of, rooms in list(peer.leaving.items()):
            if any(each[0] == namespace for each in rooms):
                del peer.leaving[of]
                self.told[of].comes_to("NS-18", *_lost(self.told[of]))
        for expected in peer.expected:
            answer = expected.answers[0]
            if expected.place is not None:
                ends = is_inside(expected.place, namespace)
            else:
                ends = isinstance(answer, Message) and answer.namespace == namespace
            if ends and (expected.is_deferred or expected.is_ask):
                expected.must = False
                expected.place = None
        for sight in peer.sights:
            if sight.is_deferred and sight.values.get("namespace", "") == namespace:
                sight.must = False

    def _number(self, peer: Peer) -> int:
        return next(number for number, each in self.peers.items() if each is peer)

    def _shake(self, peer: Peer, input_: str) -> None:
        row = HANDSHAKE.row(peer.phase, input_, lambda guard: guard == "decides")
        if row is not None:
            self.reached.add(transition(HANDSHAKE, row))
            peer.phase = row.next

    def _follow(self, machine: Machine, state: str, input_: str) -> None:
        row = machine.row(state, input_, lambda _: False)
        if row is not None:
            self.reached.add(transition(machine, row))


_HANDLERS: Final = frozenset({"echo", "question", "fail", "relay", NATIVE_EVENT})

_ASKS: Final = {
    Change.CONNECT: "NS-1",
    Change.DISCONNECT: "NS-6",
    Change.JOIN: "RM-1",
    Change.LEAVE: "RM-8",
}
"""The requirement on the ask for each change."""


def _lost(told: Told) -> tuple[Outcome, ...]:
    """Give what an operation may come to whose namespace or connection ends.

    What was to end anyhow has ended with it, so that a client may call that done; and so it may
    what the server had brought about meanwhile.
    """
    if told.outcomes == EITHER:
        return EITHER
    return EITHER if told.op in ("disconnect", "leave", "leave-all", "close") else (FAILED,)


_OPENED: Final = {
    "binary": "HS-7",
    "noisy": "HS-10",
    "asking": "HS-9",
    "doubled": "HS-8",
    "early": "HS-14",
    "joined": "HS-18",
}
"""What says that a client is let in nevertheless, by the way in which it is; else that its id is
what follows the letter."""

_ENTRY_AND_EXIT: Final = ((Change.CONNECT, Change.DISCONNECT), (Change.JOIN, Change.LEAVE))
"""The changes of a namespace, and of a room."""

_WORDS: Final = {
    Change.CONNECT: "connected",
    Change.DISCONNECT: "disconnected",
    Change.JOIN: "joined",
    Change.LEAVE: "left",
}
"""What the application is told of each change."""


def token_of(action: Action) -> str:
    """Give the token of a frame of the server; empty where it asks for no reply."""
    if not action.has_token:
        return ""
    if action.mark.startswith(SENDER):
        return f"{action.mark}{action.number}"
    return f"{action.number}{action.mark}"


def _values(action: Action) -> Values:
    """Give the fields of an operation, without its connection."""
    op = action.how
    if op == "close":
        return {}
    if op == "native":
        return fields_of(action.body)
    values: Values = {"namespace": action.namespace}
    if op in ("join", "leave") or action.room:
        values["room"] = action.room
    if op in ("emit", "ask"):
        values |= {"event": action.event, **fields_of(action.body)}
    return values


def _kind(place: Place) -> str:
    """Say what a place is like, so that others like it are known by it."""
    namespace, room = place
    known = namespace if namespace in DECLARED else "unknown"
    return known if room is None else f"{known}/{room if room in ('', UNWANTED) else 'r'}"


def _kind_of_event(event: str) -> str:
    if event in _HANDLERS or event.startswith("_On") or not event:
        return event
    return "escape" if ESCAPE in event else "other"


def _is_defined(message: Message, *, is_live: bool) -> bool:
    """Whether the application's page says what a handler makes of a body."""
    text = text_of(message.body)
    if message.is_error:  # what is an error has a text, and no body that is replied (EV-6)
        return bool(text) and not (is_live and message.event in _HANDLERS)
    if message.event == "fail":  # the body becomes an error's text
        return "\ufffd" not in text
    if message.event == NATIVE_EVENT:
        return bool(text)
    return True


def _reads_as_frame(payload: Payload) -> bool:
    try:
        decode(payload)
    except DecodeError:
        return False
    return True
