"""What a correct server with the conformance application makes of what its clients do.

The model follows the state tables for each connection, namespace and room, and knows the
application (``spec/docs/application.md``). Of each action it says what is sent, and what has to
come of it. It does no I/O: who plays a program tells it what came.

A server may deal with messages one after the other, or go on while a handler waits for its
client. So, while an ask of the server is open on a connection, what is due there may come now or
once that ask was answered; what would depend on which of the two it is, is not done.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from neffos_codec import ESCAPE, Message, encode
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
    Sent,
    input_of,
    is_inside,
    place_of,
    requirement_of,
    way_of,
)
from neffos_conformance.exploring.frames import NEWS
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

MIXED: Final = "/mixed"
NATIVE: Final = "/native"

DECLARED: Final = {
    "": frozenset({"app", "any", "refused", "sticky", "semi;colon"}),
    MIXED: frozenset({""}),
    NATIVE: frozenset[str](),
}
"""The namespaces of each endpoint."""

REFUSALS: Final[Mapping[tuple[Change, str, str], str]] = {
    (Change.CONNECT, "refused", ""): "namespace is closed",
    (Change.DISCONNECT, "sticky", ""): "namespace is sticky",
    (Change.JOIN, "app", "locked"): "room is locked",
    (Change.LEAVE, "app", "sticky"): "room is sticky",
}
"""What the application refuses, and how."""

MADE_TO: Final = {
    "ask-me": None,
    "connect-me": Change.CONNECT,
    "disconnect-me": Change.DISCONNECT,
    "join-me": Change.JOIN,
    "leave-me": Change.LEAVE,
}
"""The events that have the server ask: for what."""

QUESTION_EVENT: Final = "question"
TURNED_AWAY: Final = "not; today"
"""The text of a refusal that an opening asks for."""


@dataclass(slots=True)
class Asked:
    """An ask of the server that came.

    Attributes:
        connection: where.
        message: it, as it came.
        change: what it asks for; ``None`` for an event.
        place: whose change.
        state: ``open``; ``answered``; or ``ended`` with its namespace.
        answered_by: the last action that answered it; 0 where none did.
    """

    connection: int
    message: Message
    change: Change | None
    place: Place
    state: str = "open"
    answered_by: int = 0


@dataclass(slots=True)
class Peer:
    """What the model knows of one connection."""

    path: str
    id: str = ""
    phase: str = HANDSHAKE.initial["server"]
    places: dict[Place, str] = field(default_factory=dict)
    unresolved: set[Place] = field(default_factory=set)
    expected: list[Expected] = field(default_factory=list)
    ending: str = ""
    """The requirement by which the server ends it; empty where it is not to."""
    is_over: bool = False


class Model:
    """The model of one server, while one program is played.

    Attributes:
        peers: the connections by their numbers.
        asked: the server's asks by the actions that caused them.
        silences: what says that nothing (more) comes of an action, by its number.
        shapes: what an action was, by its number: equal ones find the same.
        blames: what the client provoked before an action, by its number, and what it breaks to be
            taken in by that.
        reached: the rows of the tables that were taken.
    """

    def __init__(self) -> None:
        self.peers: dict[int, Peer] = {}
        self.asked: dict[int, Asked] = {}
        self.silences: dict[int, str] = {}
        self.shapes: dict[int, str] = {}
        self.blames: dict[int, str] = {}
        self._misled: set[tuple[int, str]] = set()
        self.reached: set[Transition] = set()

    def take(self, action: Action) -> list[Sent] | None:
        """Give what is sent in an action, and expect what comes of it.

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
            case _ if peer.path == NATIVE:
                return None
            case _:
                return self._send(action, peer)

    def blocked(self, connection: int) -> bool:
        """Whether a handler may be waiting for the client, and others for the handler."""
        return any(
            each.connection == connection and each.state == "open" for each in self.asked.values()
        )

    def waits(self, connection: int) -> bool:
        """Whether what is sent now may have to wait for the client to answer something."""
        peer = self.peers[connection]
        return self.blocked(connection) or any(each.is_ask for each in peer.expected)

    def settled(self, connection: int) -> None:
        """Take note that all came that had to, and was not put off."""
        peer = self.peers[connection]
        peer.expected = [each for each in peer.expected if each.is_deferred or not each.must]

    # ------------------------------------------------------------ what came

    def came(self, expected: Expected, message: Message | Payload) -> None:
        """Take note of a message that was expected."""
        peer = self.peers[expected.connection]
        peer.expected.remove(expected)
        if isinstance(message, str) and message.startswith("A") and peer.phase == "awaiting":
            peer.id = message[1:]
        if not isinstance(message, Message):
            return
        if expected.is_ask:
            change = CHANGE_OF.get(message.event)
            place = place_of(change, message) if change else (message.namespace, None)
            ask = Asked(expected.connection, message, change, place)
            self.asked[expected.number] = ask
            self._follow(ASK, "none", "send")
            if change is not None:
                self._step(peer, place, way_of(change))
        elif expected.place is not None and expected.change is not None:
            peer.unresolved.discard(expected.place)
            self._change(peer, expected.change, expected.place)

    def opened(self, connection: int) -> None:
        """Take note that the handshake is complete."""
        peer = self.peers[connection]
        self._shake(peer, "request")
        self._shake(peer, "let-in")

    def ended(self, connection: int) -> None:
        """Take note that a connection is over."""
        peer = self.peers[connection]
        if peer.is_over:
            return
        self._gone(peer, "close" if peer.ending == "TR-12" else "gone")

    # ------------------------------------------------------------ opening

    def _open(self, action: Action) -> list[Sent] | None:
        number = action.connection
        if number in self.peers:
            return None
        peer = self.peers[number] = Peer(action.path)
        self.shapes[action.number] = f"open {action.path} {action.how}"
        self.silences[action.number] = "HS-12"
        if action.path == NATIVE:
            peer.phase = HANDSHAKE.initial["native-only"]
            return []
        sent: list[Payload] = ["M"]
        if action.how == "leaving":
            return [Sent(number, End(None))]
        if action.how in ("accepting", "refusing"):
            first = "accept" if action.how == "accepting" else "refuse"
            self.silences[action.number] = "HS-9"
            peer.ending = "HS-9"
            self._shake(peer, first)
            return [Sent(number, "Aown id" if first == "accept" else "Hno")]
        if action.how == "refused":
            self._shake(peer, "request")
            self._shake(peer, "turn-away")
            self._expect(action, number, f"H{TURNED_AWAY}", "HS-4")
            peer.ending = "HS-4"
            self.silences[action.number] = "HS-4"
            return [Sent(number, "M")]
        self._expect(action, number, "A", "HS-3")
        match action.how:
            case "long":
                sent = ["Mxyz"]
            case "binary":
                sent = [b"M"]
            case "doubled":
                sent = ["M", "M"]
                self.silences[action.number] = "HS-8"
            case "noisy":
                sent = ["", "noise", b"\x00\xff", "M"]
                self.silences[action.number] = "FR-16"
                self._shake(peer, "other")
            case "early":
                sent = [*self._early(action, peer), "M"]
            case "connecting":
                self._step_to_ask(action, peer, Change.CONNECT, ("any", None))
            case _:
                pass
        return [Sent(number, each) for each in sent]

    def _early(self, action: Action, peer: Peer) -> Iterator[Payload]:
        """Give frames that come before the request, and expect their answers behind it."""
        self._shake(peer, "other")
        token = f"$early{action.number}"
        connect = Message(token, "any", "", REQUEST_EVENT[Change.CONNECT])
        event = Message(action.token, "any", "", f"t{action.number}", body=b"\x00")
        self._expect(action, action.connection, connect.empty_reply(), "HS-13")
        # It comes while the connect may still be decided about: either is right.
        replied, refused = event.reply(event.event.encode()), event.error_reply(BAD_NAMESPACE)
        self._expect(action, action.connection, replied, "HS-13", refused)
        for each in peer.expected[-2:]:  # a server need not hold back what comes early
            each.must = False
        peer.expected[-2].place, peer.expected[-2].change = ("any", None), Change.CONNECT
        peer.unresolved.add(("any", None))
        yield encode(connect)
        yield encode(event)

    # ------------------------------------------------------------ leaving

    def _leave(self, action: Action, peer: Peer) -> list[Sent]:
        self.shapes[action.number] = f"{action.do} {peer.path}"
        self.silences[action.number] = "TR-15"
        peer.ending = "TR-16" if action.do is Do.CLOSE else "TR-14"
        for expected in peer.expected:
            expected.must = False
        return [Sent(action.connection, End(1000 if action.do is Do.CLOSE else None))]

    def _gone(self, peer: Peer, input_: str) -> None:
        self._shake(peer, input_)
        for place in list(peer.places):
            self._step(peer, place, "gone")
        self._follow(ASK, "none", "gone")
        self._follow(QUESTION, "none", "gone")
        for ask in self.asked.values():
            if self.peers.get(ask.connection) is peer and ask.state == "open":
                ask.state = "ended"
                self._follow(ASK, "open", "gone")
        self._follow(MEMBERSHIP, "out", "gone")
        if any(expected.is_deferred and not expected.is_ask for expected in peer.expected):
            self._follow(QUESTION, "open", "gone")
        peer.is_over = True

    # ------------------------------------------------------------ what is no frame

    def _noise(self, action: Action, peer: Peer) -> list[Sent]:
        payload = action.body
        kind = "nothing" if not payload else "M" if payload in ("M", b"M") else "noise"
        if isinstance(payload, str) and payload.count(";") == 5:
            kind = "five separators"
        is_native = peer.path == NATIVE or (
            peer.path == MIXED and self._is_live(peer, "") and bool(payload)
        )
        self.shapes[action.number] = f"{kind} {type(payload).__name__} {peer.path} {is_native}"
        self.silences[action.number] = {
            "nothing": "FR-14",
            "M": "HS-8",
            "five separators": "FR-2",
        }.get(kind, "FR-16" if peer.path != MIXED else "NM-4")
        if peer.phase == "open":
            self._shake(peer, {"M": "request"}.get(kind, input_of_handshake(payload)))
        if is_native and payload:
            requirement = "NM-6" if peer.path == NATIVE else "NM-2"
            self._expect(action, action.connection, payload, requirement)
        return [Sent(action.connection, payload)]

    # ------------------------------------------------------------ frames

    def _send(self, action: Action, peer: Peer) -> list[Sent] | None:
        body = action.body
        if action.event == "broadcast-to":
            target = self.peers.get(action.of)
            if target is None or not target.id or action.of == action.connection:
                return None
            head = f"{target.id} "
            body = head + body if isinstance(body, str) else head.encode() + body
        is_plain = not action.how
        message = Message(
            action.token,
            action.namespace,
            action.room,
            action.event,
            action.is_error and is_plain,
            action.is_no_op and is_plain,
            body,
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
        self._blame(action, action.namespace)
        sent = encode(message.replace(wait=action.sent_token))
        return [Sent(action.connection, flagged(sent, action.how))]

    def _ask_change(self, action: Action, peer: Peer, message: Message, change: Change) -> bool:
        place = place_of(change, message)
        if place in peer.unresolved or (place[0], None) in peer.unresolved:
            return False
        state = peer.places.get(place, "out")
        flags = (
            f"{message.is_error} {message.is_no_op} {action.has_token} {action.how}{action.mark}"
        )
        self.shapes[action.number] = (
            f"{change} {_kind(place, peer)} {state} {flags} {type(action.body).__name__}"
        )
        if message.is_error or message.is_no_op or not action.has_token:
            by_flag = "NS-2" if change is Change.CONNECT else "NS-10"
            self.silences[action.number] = "NS-12" if message.is_error else by_flag
            return True
        namespace, room = place
        if room is not None and not self._is_live(peer, namespace):
            self._expect(action, action.connection, message.error_reply(BAD_NAMESPACE), "NS-17")
            self.silences[action.number] = "AR-22"
            return True
        self.silences[action.number] = "AR-22"
        refusal = self._refusal(peer, place, change)
        answer = message.error_reply(refusal) if refusal else message.empty_reply()
        row = MEMBERSHIP.follow(state, input_of(change), self._holds(peer, place))
        if "judge" in row.actions:
            after = MEMBERSHIP.follow(row.next, "deny" if refusal else "allow", lambda _: True)
            requirement = requirement_of(after, place)
        else:
            requirement = requirement_of(row, place)
        expected = self._expect(action, action.connection, answer, requirement)
        if self._waits(peer):
            expected.place, expected.change = place, change
            peer.unresolved.add(place)
        else:
            self._change(peer, change, place)
        return True

    def _event(self, action: Action, peer: Peer, message: Message) -> bool:
        namespace, room, event = message.namespace, message.room, message.event
        flags = (
            f"{message.is_error} {message.is_no_op} {action.has_token} {action.how}{action.mark}"
        )
        is_live = self._is_live(peer, namespace)
        is_joined = not room or self._is_live(peer, namespace, room)
        if is_live and room:
            state = peer.places.get((namespace, room), "out")
            if (namespace, room) in peer.unresolved or state in ("entering", "exiting"):
                return False  # a handler may see it before or after the change
        declared = namespace if namespace in DECLARED[peer.path] else "unknown"
        kind = event if event in _HANDLERS or event.startswith("_On") else "other"
        self.shapes[action.number] = (
            f"{kind} {declared} {is_live} {bool(room)} {is_joined} {flags} "
            f"{type(action.body).__name__}"
        )
        if not _is_defined(message):
            return False
        if event in LOCAL_ONLY:
            self.silences[action.number] = "EV-4"
            if action.has_token and not message.is_error:
                for text in (INVALID_PAYLOAD, BAD_NAMESPACE):
                    self._may(action, message.error_reply(text))
            return True
        if not is_live:
            self.silences[action.number] = "NS-9"
            if action.has_token and not message.is_error:
                answer = message.error_reply(BAD_NAMESPACE)
                self._expect(action, action.connection, answer, "NS-17")
            return True
        if not is_joined:
            self.silences[action.number] = "RM-9"
            if action.has_token:
                self._may(action, message.error_reply(BAD_ROOM))
            return not event.endswith("-me")
        waits = self._waits(peer)
        if not self._handle(action, peer, message):
            return False
        if action.has_token:
            self._follow(QUESTION, "none", "asked")
            if waits:
                self._follow(QUESTION, "open", "asked")
        return True

    def _handle(self, action: Action, peer: Peer, message: Message) -> bool:
        namespace, event = message.namespace, message.event
        self.silences[action.number] = "AR-9"
        if peer.path == MIXED:
            if event == NATIVE_EVENT:
                self._expect(action, action.connection, message.body, "NM-5")
            elif event == "echo":
                self._reply(action, message, message.body)
            return True
        if namespace == "any":
            if event == NATIVE_EVENT:
                return False  # whether the handler of every event has that too is left open
            self._reply(action, message, event.encode() if message.is_binary else event)
        elif namespace == "semi;colon":
            if event == "ec;ho":
                self._reply(action, message, message.body)
        elif namespace == "app":
            return self._application(action, peer, message)
        return True

    def _application(self, action: Action, peer: Peer, message: Message) -> bool:
        """Expect what a handler of the namespace ``app`` does."""
        event, body, number = message.event, message.body, action.number
        match event:
            case "echo":
                requirement = "EV-6" if message.is_error else ""
                self._reply(action, message, "" if message.is_error else body, requirement)
            case "fail":
                self._reply(action, message, text_of(body), is_error=True)
            case "whoami":
                self._reply(action, message, peer.id, "HS-3")
            case "tries":
                self._reply(action, message, "0", "TR-10")
            case "push":
                pushed = b"pushed" if message.is_binary else "pushed"
                push = Message("", "app", "", text_of(body), body=pushed)
                self._expect(action, action.connection, push, "EV-2", lane=f"{number}")
                self._reply(action, message, "done", lane=f"{number}")
            case "broadcast-others" | "broadcast-all" | "broadcast-room" | "broadcast-to":
                return self._broadcast(action, peer, message)
            case "close-me":
                if self._waits(peer):
                    return False
                self.silences[number] = "TR-15"
                peer.ending = "TR-12"
            case _ if event in MADE_TO:
                return self._made_to(action, peer, message)
            case _:
                if action.has_token and event == "silent":
                    self._follow(QUESTION, "open", "ignore")
        return True

    def _made_to(self, action: Action, peer: Peer, message: Message) -> bool:
        change = MADE_TO[message.event]
        if message.is_error or message.is_no_op or action.number in self.asked:
            return False
        if change is None:
            asked = Message("?", "app", "", QUESTION_EVENT, body=message.body)
            self._expect(action, action.connection, asked, "AR-1", is_ask=True)
            return True
        name = text_of(message.body)
        place: Place = {
            Change.CONNECT: (name, None),
            Change.DISCONNECT: ("app", None),
        }.get(change, ("app", name))
        if self._waits(peer) or place in peer.unresolved:
            return False
        return self._step_to_ask(action, peer, change, place)

    def _step_to_ask(self, action: Action, peer: Peer, change: Change, place: Place) -> bool:
        """Expect an ask for a change of membership, where the server may ask."""
        namespace, room = place
        way = way_of(change)
        if MEMBERSHIP.row(peer.places.get(place, "out"), way, lambda _: False) is None:
            return False
        if any(each.is_ask for each in peer.expected):
            return False
        asked = Message("?", namespace, room or "", REQUEST_EVENT[change])
        self._expect(action, action.connection, asked, _ASKS[change], is_ask=True)
        return True

    def _broadcast(self, action: Action, peer: Peer, message: Message) -> bool:
        way, body = message.event, message.body
        if (way == "broadcast-room") != bool(message.room):
            return False
        if self._waits(peer) or message.is_error:
            return False
        room = message.room
        if way == "broadcast-to":
            body = body.partition(" ")[2] if isinstance(body, str) else body.partition(b" ")[2]
        news = Message("", "app", room, NEWS, body=body)
        for number, other in self.peers.items():
            is_self = number == action.connection
            if is_self and way != "broadcast-all":
                continue
            if way == "broadcast-to" and number != action.of:
                continue
            if other.is_over or other.ending or other.path or not self._is_live(other, "app", room):
                continue
            is_sure = ("app", None) not in other.unresolved and (
                not room or ("app", room) not in other.unresolved
            )
            lane = f"news from {action.connection}"
            self._expect(action, number, news, "EV-9", must=is_sure, lane=lane)
        self._reply(action, message, "done")
        self.silences[action.number] = "EV-8"
        return True

    def _reply(
        self,
        action: Action,
        message: Message,
        body: Payload,
        requirement: str = "",
        *,
        is_error: bool = False,
        lane: str = "",
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
        else:
            requirement = "AR-10"
            if message.is_no_op:
                others.append(answer.replace(is_no_op=False))
        self._expect(action, action.connection, answer, requirement or "AR-7", *others, lane=lane)

    def _blame(self, action: Action, namespace: str) -> None:
        """Hold what is wrong with an action against what the client provoked before it."""
        if (action.connection, namespace) in self._misled:
            self.blames[action.number] = "AR-19"
            self.shapes[action.number] = f"after a wrong reply to a change, {namespace}"

    # ------------------------------------------------------------ answering

    def _answer(self, action: Action, peer: Peer) -> list[Sent] | None:
        ask = self.asked.get(action.of)
        if ask is None or ask.connection != action.connection:
            return None
        is_change = ask.change is not None
        self.shapes[action.number] = f"answer {ask.change} {action.how} {ask.state}"
        self.silences[action.number] = "AR-21"
        if action.how == "elsewhere":
            return self._elsewhere(action, ask)
        message = answer_to(ask.message, action.how, action.number, is_change=is_change)
        if is_change and ask.state == "open" and ask.place in peer.unresolved:
            return None
        ask.answered_by = action.number
        if ask.state == "ended":
            return [Sent(action.connection, encode(message))]
        if ask.state == "answered":
            self._follow(ASK, "none", "error" if message.is_error else "reply")
            return [Sent(action.connection, encode(message))]
        ask.state = "answered"
        self._follow(ASK, "open", "error" if message.is_error else "reply")
        if ask.change is not None:
            way = way_of(ask.change)
            is_done = message.is_empty_reply
            if not is_done and not message.is_error:
                self._misled.add((action.connection, ask.place[0]))
            self._step(peer, ask.place, f"{way}-{'done' if is_done else 'error'}")
        elif self._is_live(peer, "app"):
            self._blame(action, "app")
            told = Message(
                "", "app", "", "answer-error" if message.is_error else "answer", body=message.body
            )
            is_sure = ("app", None) not in peer.unresolved  # it may end before, or after
            self._expect(action, action.connection, told, "AR-11", must=is_sure)
        sent = [Sent(action.connection, encode(message))]
        if action.how == "twice":
            self._follow(ASK, "none", "reply")
            sent *= 2
        return sent

    def _elsewhere(self, action: Action, ask: Asked) -> list[Sent] | None:
        """Answer on a connection that was not asked (AR-12)."""
        for number, other in self.peers.items():
            if number == action.connection or other.path or other.phase != "open":
                continue
            if other.is_over or other.ending:
                continue
            self.silences[action.number] = "AR-12"
            if ask.change is None:
                message = ask.message.reply(ask.message.body)
            else:
                message = ask.message.empty_reply()
            self._may(action, message.error_reply(BAD_NAMESPACE), number)
            return [Sent(number, encode(message))]
        return None

    # ------------------------------------------------------------ expecting

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
        expected = Expected(
            action.number,
            connection,
            (answer, *others),
            requirement,
            must=must,
            is_ask=is_ask,
            lane=lane,
            is_deferred=self.waits(connection),
        )
        self.peers[connection].expected.append(expected)
        return expected

    def _may(self, action: Action, answer: Message, connection: int = 0) -> None:
        self._expect(action, connection or action.connection, answer, "", must=False)

    def _waits(self, peer: Peer) -> bool:
        number = next(number for number, each in self.peers.items() if each is peer)
        return self.waits(number)

    # ------------------------------------------------------------ states

    def _is_live(self, peer: Peer, namespace: str, room: str = "") -> bool:
        if peer.places.get((namespace, None), "out") not in MEMBERSHIP.live:
            return False
        return not room or peer.places.get((namespace, room), "out") in MEMBERSHIP.live

    def _refusal(self, peer: Peer, place: Place, change: Change) -> str:
        """Give the text with which a change is refused now; empty where it is not."""
        namespace, room = place
        state = peer.places.get(place, "out")
        enters = change in (Change.CONNECT, Change.JOIN)
        if state == "out" and enters:
            if room is None and namespace not in DECLARED[peer.path]:
                return BAD_NAMESPACE
            if room == "":
                return BAD_ROOM
            return REFUSALS.get((change, namespace, room or ""), "")
        if state == "in" and not enters:
            return REFUSALS.get((change, namespace, room or ""), "")
        return ""

    def _holds(self, peer: Peer, place: Place) -> Callable[[str], bool]:
        namespace, room = place

        def holds(guard: str) -> bool:
            match guard:
                case "unknown":
                    return room == "" if room is not None else namespace not in DECLARED[peer.path]
                case "decides-entry":
                    return namespace in ("app", "refused") if room is None else namespace == "app"
                case "decides-exit":
                    return namespace == "sticky" if room is None else namespace == "app"
                case _:
                    return False

        return holds

    def _change(self, peer: Peer, change: Change, place: Place) -> None:
        """Follow the table for an ask of the client, and the application's decision."""
        refusal = self._refusal(peer, place, change)
        self._step(peer, place, input_of(change))
        if peer.places.get(place, "out").startswith("judging"):
            self._step(peer, place, "deny" if refusal else "allow")

    def _step(self, peer: Peer, place: Place, input_: str) -> None:
        state = peer.places.get(place, "out")
        row = MEMBERSHIP.row(state, input_, self._holds(peer, place))
        if row is None:
            return
        self.reached.add(transition(MEMBERSHIP, row))
        was_live = state in MEMBERSHIP.live
        if row.next == "out":
            peer.places.pop(place, None)
        else:
            peer.places[place] = row.next
        if was_live and row.next == "out" and place[1] is None and input_ != "gone":
            self._drop_inside(peer, place[0])

    def _drop_inside(self, peer: Peer, namespace: str) -> None:
        """End what a namespace holds (NS-14, NS-18)."""
        for inside in [each for each in peer.places if is_inside(each, namespace)]:
            self._step(peer, inside, "gone")
        peer.unresolved = {each for each in peer.unresolved if not is_inside(each, namespace)}
        for ask in self.asked.values():
            if self.peers.get(ask.connection) is not peer or ask.state != "open":
                continue
            if (
                ask.place == (namespace, None)
                if ask.change is None
                else is_inside(ask.place, namespace)
            ):
                ask.state = "ended"
        for expected in peer.expected:
            answer = expected.answers[0]
            if expected.place is not None:
                ends = is_inside(expected.place, namespace)
            else:
                ends = isinstance(answer, Message) and answer.namespace == namespace
            if ends and expected.is_deferred:
                expected.must = False
                expected.place = None

    def _shake(self, peer: Peer, input_: str) -> None:
        row = HANDSHAKE.row(peer.phase, input_, lambda guard: guard == "decides")
        if row is not None:
            self.reached.add(transition(HANDSHAKE, row))
            peer.phase = row.next

    def _follow(self, machine: Machine, state: str, input_: str) -> None:
        row = machine.row(state, input_, lambda _: False)
        if row is not None:
            self.reached.add(transition(machine, row))


_HANDLERS: Final = frozenset(
    {
        "echo",
        "fail",
        "silent",
        "whoami",
        "tries",
        "push",
        "broadcast-others",
        "broadcast-all",
        "broadcast-room",
        "broadcast-to",
        "close-me",
        "ec;ho",
        NATIVE_EVENT,
        *MADE_TO,
    }
)

_ASKS: Final = {
    Change.CONNECT: "NS-1",
    Change.DISCONNECT: "NS-6",
    Change.JOIN: "RM-1",
    Change.LEAVE: "RM-8",
}
"""The requirement on the ask for each change."""


def _kind(place: Place, peer: Peer) -> str:
    """Say what a place is like, so that others like it are known by it."""
    namespace, room = place
    known = namespace if namespace in DECLARED[peer.path] else "unknown"
    return known if room is None else f"{known}/{room if room in ('', 'locked', 'sticky') else 'r'}"


def _is_defined(message: Message) -> bool:
    """Whether the application's page says what a handler makes of a body."""
    text = text_of(message.body)
    if message.event == "push":  # the body becomes an event's name
        is_name = text.isascii() and text.isprintable() and ESCAPE not in text
        return bool(text) and is_name and _is_plain(message)
    if message.event == "fail":  # the body becomes an error's text
        return bool(text) and "\ufffd" not in text and _is_plain(message)
    if message.event == NATIVE_EVENT:  # nothing cannot be sent back (FR-14)
        return bool(text)
    return message.event in ("echo", "silent", "whoami") or _is_plain(message)


def _is_plain(message: Message) -> bool:
    return not message.is_error  # what is an error has no body (EV-6)
