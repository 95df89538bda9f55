"""What a correct server with the conformance application makes of what its clients do.

The model follows the state tables for each connection, namespace and room, and knows the
application (``spec/docs/application.md``). Of each action it says what is sent, and what has to
come of it. It does no I/O: who plays a program tells it what came.

A server may deal with messages one after the other, or go on while a handler waits for its
client. So, while an ask of the server is open on a connection, what is due there may come now or
once that ask was answered; what would depend on which of the two it is, is not done.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from neffos_codec import Message, encode
from neffos_conformance.model_based.actions import Action, Do
from neffos_conformance.model_based.bodies import (
    answer_to,
    flagged,
    input_of_handshake,
    message_of,
    text_of,
)
from neffos_conformance.model_based.expected import (
    End,
    Expected,
    Payload,
    Place,
    Sent,
    input_of,
    is_inside,
    place_of,
    way_of,
)
from neffos_conformance.model_based.frames import NEWS
from neffos_conformance.model_based.servers.application import (
    MADE_TO,
    MIXED,
    NATIVE,
    QUESTION_EVENT,
    TURNED_AWAY,
    guards,
    is_defined,
    kind_of_event,
    kind_of_place,
    refusal,
)
from neffos_conformance.model_based.states import (
    ASKS,
    Asked,
    Peer,
    States,
    manner_of,
    requirement_on,
    unanswered,
)
from neffos_protocol.events import Change
from neffos_protocol.names import (
    BAD_NAMESPACE,
    CHANGE_OF,
    INVALID_PAYLOAD,
    LOCAL_ONLY,
    NATIVE_EVENT,
    REQUEST_EVENT,
)
from neffos_protocol.state_machines import HANDSHAKE, INCOMING_ASK, MEMBERSHIP, OUTGOING_ASK


@dataclass(slots=True)
class Connected(Peer):
    """What the model knows of one connection to a server.

    Attributes:
        path: of its endpoint.
    """

    phase: str = HANDSHAKE.initial["server"]
    path: str = ""


class Model(States[Connected]):
    """The model of one server, while one program is played.

    Attributes:
        blames: what the client provoked before an action, by its number, and what it breaks to be
            taken in by that.
    """

    def __init__(self) -> None:
        super().__init__()
        self.blames: dict[int, str] = {}
        self._misled: set[tuple[int, str]] = set()

    def take(self, action: Action) -> list[Sent] | None:
        """Give what is sent in an action, and expect what comes of it.

        ``None`` where it cannot be done now, or nothing could be said of what came of it; then
        nothing has changed.
        """
        if action.do is Do.OPEN:
            return self._open(action)
        peer = self.ongoing(action.connection)
        if peer is None:
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
            self.follow(OUTGOING_ASK, "none", "send")
            if change is not None:
                self._step(peer, place, way_of(change))
        elif expected.place is not None and expected.change is not None:
            peer.unresolved.discard(expected.place)
            self._change(peer, expected.change, expected.place)

    def opened(self, connection: int) -> None:
        """Take note that the handshake is complete."""
        peer = self.peers[connection]
        self.shake(peer, "request")
        self.shake(peer, "accept")

    def ended(self, connection: int) -> None:
        """Take note that a connection is over."""
        peer = self.peers[connection]
        if peer.is_over:
            return
        self._gone(peer, "close" if peer.ending == "TR-12" else "closed")

    # ------------------------------------------------------------ opening

    def _open(self, action: Action) -> list[Sent] | None:
        number = action.connection
        if number in self.peers:
            return None
        peer = self.peers[number] = Connected(path=action.path)
        self.shapes[action.number] = f"open {action.path} {action.how}"
        self.silences[action.number] = "HS-12"
        if action.path == NATIVE:
            peer.phase = HANDSHAKE.initial["native-only"]
            return []
        sent: list[Payload] = ["M"]
        if action.how == "leaving":
            return [Sent(number, End(None))]
        if action.how in ("accepting", "refusing"):
            first = "acceptance" if action.how == "accepting" else "refusal"
            self.silences[action.number] = "HS-9"
            peer.ending = "HS-9"
            self.shake(peer, first)
            return [Sent(number, "Aown id" if first == "acceptance" else "Hno")]
        if action.how == "refused":
            self.shake(peer, "request")
            self.shake(peer, "refuse")
            self.expect(action, number, f"H{TURNED_AWAY}", "HS-4")
            peer.ending = "HS-4"
            self.silences[action.number] = "HS-4"
            return [Sent(number, "M")]
        self.expect(action, number, "A", "HS-3")
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
                self.shake(peer, "other")
            case "early":
                sent = [*self._early(action, peer), "M"]
            case "connecting":
                self._step_to_ask(action, peer, Change.CONNECT, ("any", None))
            case _:
                pass
        return [Sent(number, each) for each in sent]

    def _early(self, action: Action, peer: Connected) -> Iterator[Payload]:
        """Give frames that come before the request, and expect their answers behind it."""
        self.shake(peer, "other")
        token = f"$early{action.number}"
        connect = Message(token, "any", "", REQUEST_EVENT[Change.CONNECT])
        event = Message(action.token, "any", "", f"t{action.number}", body=b"\x00")
        self.expect(action, action.connection, connect.empty_reply(), "HS-13")
        # It comes while the connect may still be decided about: either is right.
        replied, refused = event.reply(event.event.encode()), event.error_reply(BAD_NAMESPACE)
        self.expect(action, action.connection, replied, "HS-13", refused)
        for each in peer.expected[-2:]:  # a server need not hold back what comes early
            each.must = False
        peer.expected[-2].place, peer.expected[-2].change = ("any", None), Change.CONNECT
        peer.unresolved.add(("any", None))
        yield encode(connect)
        yield encode(event)

    # ------------------------------------------------------------ leaving

    def _leave(self, action: Action, peer: Connected) -> list[Sent]:
        self.shapes[action.number] = f"{action.do} {peer.path}"
        self.silences[action.number] = "TR-15"
        peer.ending = "TR-16" if action.do is Do.CLOSE else "TR-14"
        for expected in peer.expected:
            expected.must = False
        return [Sent(action.connection, End(1000 if action.do is Do.CLOSE else None))]

    def _gone(self, peer: Connected, input_: str) -> None:
        self.shake(peer, input_)
        for place in list(peer.places):
            self._step(peer, place, "closed")
        self.part(self.number_of(peer))
        if any(expected.is_deferred and not expected.is_ask for expected in peer.expected):
            self.follow(INCOMING_ASK, "pending", "closed")
        peer.is_over = True

    # ------------------------------------------------------------ what is no frame

    def _noise(self, action: Action, peer: Connected) -> list[Sent]:
        payload = action.body
        kind = "nothing" if not payload else "M" if payload in ("M", b"M") else "noise"
        if isinstance(payload, str) and payload.count(";") == 5:
            kind = "five separators"
        is_native = peer.path == NATIVE or (
            peer.path == MIXED and peer.is_live("") and bool(payload)
        )
        self.shapes[action.number] = f"{kind} {type(payload).__name__} {peer.path} {is_native}"
        self.silences[action.number] = {
            "nothing": "FR-14",
            "M": "HS-8",
            "five separators": "FR-2",
        }.get(kind, "FR-16" if peer.path != MIXED else "NM-4")
        if peer.phase == "open":
            self.shake(peer, {"M": "request"}.get(kind, input_of_handshake(payload)))
        if is_native and payload:
            requirement = "NM-6" if peer.path == NATIVE else "NM-2"
            self.expect(action, action.connection, payload, requirement)
        return [Sent(action.connection, payload)]

    # ------------------------------------------------------------ frames

    def _send(self, action: Action, peer: Connected) -> list[Sent] | None:
        body = action.body
        if action.event == "broadcast-to":
            target = self.peers.get(action.of)
            if target is None or not target.id or action.of == action.connection:
                return None
            head = f"{target.id} "
            body = head + body if isinstance(body, str) else head.encode() + body
        message = message_of(action, action.token, body)
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

    def _ask_change(
        self, action: Action, peer: Connected, message: Message, change: Change
    ) -> bool:
        place = place_of(change, message)
        if place in peer.unresolved or (place[0], None) in peer.unresolved:
            return False
        state = peer.state(place)
        kind = kind_of_place(peer.path, place)
        self.shapes[action.number] = f"{change} {kind} {state} {manner_of(action, message)}"
        if silence := unanswered(change, message):
            self.silences[action.number] = silence
            return True
        namespace, room = place
        if room is not None and not peer.is_live(namespace):
            self.expect(action, action.connection, message.error_reply(BAD_NAMESPACE), "NS-17")
            self.silences[action.number] = "AR-22"
            return True
        self.silences[action.number] = "AR-22"
        refused = refusal(peer.path, place, state, change)
        answer = message.error_reply(refused) if refused else message.empty_reply()
        requirement = requirement_on(change, place, state, refused, guards(peer.path, place))
        expected = self.expect(action, action.connection, answer, requirement)
        if self._waits(peer):
            expected.place, expected.change = place, change
            peer.unresolved.add(place)
        else:
            self._change(peer, change, place)
        return True

    def _event(self, action: Action, peer: Connected, message: Message) -> bool:
        namespace, room, event = message.namespace, message.room, message.event
        is_live = peer.is_live(namespace)
        is_joined = not room or peer.is_live(namespace, room)
        if is_live and room and peer.is_changing(namespace, room):
            return False
        declared = kind_of_place(peer.path, (namespace, None))
        self.shapes[action.number] = (
            f"{kind_of_event(event)} {declared} {is_live} {bool(room)} {is_joined} "
            f"{manner_of(action, message)}"
        )
        if not is_defined(message):
            return False
        if event in LOCAL_ONLY:
            self.silences[action.number] = "EV-4"
            if action.has_token and not message.is_error:
                for text in (INVALID_PAYLOAD, BAD_NAMESPACE):
                    self.may(action, message.error_reply(text))
            return True
        if not is_live:
            self.not_connected(action, message)
            return True
        if not is_joined:
            self.not_joined(action, message)
            return not event.endswith("-me")
        waits = self._waits(peer)
        if not self._handle(action, peer, message):
            return False
        if action.has_token:
            self.follow(INCOMING_ASK, "none", "asked")
            if waits:
                self.follow(INCOMING_ASK, "pending", "asked")
        return True

    def _handle(self, action: Action, peer: Connected, message: Message) -> bool:
        namespace, event = message.namespace, message.event
        self.silences[action.number] = "AR-9"
        if peer.path == MIXED:
            if event == NATIVE_EVENT:
                self.expect(action, action.connection, message.body, "NM-5")
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

    def _application(self, action: Action, peer: Connected, message: Message) -> bool:
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
                self.expect(action, action.connection, push, "EV-2", lane=f"{number}")
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
                    self.follow(INCOMING_ASK, "pending", "ignore")
        return True

    def _made_to(self, action: Action, peer: Connected, message: Message) -> bool:
        change = MADE_TO[message.event]
        if message.is_error or message.is_no_op or action.number in self.asked:
            return False
        if change is None:
            asked = Message("?", "app", "", QUESTION_EVENT, body=message.body)
            self.expect(action, action.connection, asked, "AR-1", is_ask=True)
            return True
        name = text_of(message.body)
        place: Place = {
            Change.CONNECT: (name, None),
            Change.DISCONNECT: ("app", None),
        }.get(change, ("app", name))
        if self._waits(peer) or place in peer.unresolved:
            return False
        return self._step_to_ask(action, peer, change, place)

    def _step_to_ask(self, action: Action, peer: Connected, change: Change, place: Place) -> bool:
        """Expect an ask for a change of membership, where the server may ask."""
        namespace, room = place
        way = way_of(change)
        if MEMBERSHIP.row(peer.state(place), way, lambda _: False) is None:
            return False
        if any(each.is_ask for each in peer.expected):
            return False
        asked = Message("?", namespace, room or "", REQUEST_EVENT[change])
        self.expect(action, action.connection, asked, ASKS[change], is_ask=True)
        return True

    def _broadcast(self, action: Action, peer: Connected, message: Message) -> bool:
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
            if other.is_over or other.ending or other.path or not other.is_live("app", room):
                continue
            is_sure = ("app", None) not in other.unresolved and (
                not room or ("app", room) not in other.unresolved
            )
            lane = f"news from {action.connection}"
            self.expect(action, number, news, "EV-9", must=is_sure, lane=lane)
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
        answers = self.replies(action, message, body, is_error=is_error)
        requirement = (requirement or "AR-7") if message.wait else "AR-10"
        self.expect(action, action.connection, answers[0], requirement, *answers[1:], lane=lane)

    def _blame(self, action: Action, namespace: str) -> None:
        """Hold what is wrong with an action against what the client provoked before it."""
        if (action.connection, namespace) in self._misled:
            self.blames[action.number] = "AR-19"
            self.shapes[action.number] = f"after a wrong reply to a change, {namespace}"

    # ------------------------------------------------------------ answering

    def _answer(self, action: Action, peer: Connected) -> list[Sent] | None:
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
            self.follow(OUTGOING_ASK, "none", "error" if message.is_error else "reply")
            return [Sent(action.connection, encode(message))]
        ask.state = "answered"
        self.follow(OUTGOING_ASK, "pending", "error" if message.is_error else "reply")
        if ask.change is not None:
            way = way_of(ask.change)
            is_done = message.is_empty_reply
            if not is_done and not message.is_error:
                self._misled.add((action.connection, ask.place[0]))
            self._step(peer, ask.place, f"{way}-{'done' if is_done else 'error'}")
        elif peer.is_live("app"):
            self._blame(action, "app")
            told = Message(
                "", "app", "", "answer-error" if message.is_error else "answer", body=message.body
            )
            is_sure = ("app", None) not in peer.unresolved  # it may end before, or after
            self.expect(action, action.connection, told, "AR-11", must=is_sure)
        sent = [Sent(action.connection, encode(message))]
        if action.how == "twice":
            self.follow(OUTGOING_ASK, "none", "reply")
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
            self.may(action, message.error_reply(BAD_NAMESPACE), number)
            return [Sent(number, encode(message))]
        return None

    def _waits(self, peer: Connected) -> bool:
        return self.waits(self.number_of(peer))

    # ------------------------------------------------------------ states

    def _change(self, peer: Connected, change: Change, place: Place) -> None:
        """Follow the table for an ask of the client, and the application's decision."""
        refused = refusal(peer.path, place, peer.state(place), change)
        self._step(peer, place, input_of(change))
        if peer.state(place).startswith("deciding-"):
            self._step(peer, place, "deny" if refused else "allow")

    def _step(self, peer: Connected, place: Place, input_: str) -> None:
        was_live = peer.state(place) in MEMBERSHIP.live
        row = self.move(peer, place, input_, guards(peer.path, place))
        if row is None:
            return
        if was_live and row.next == "disconnected" and place[1] is None and input_ != "closed":
            self._drop_inside(peer, place[0])

    def _drop_inside(self, peer: Connected, namespace: str) -> None:
        """End what a namespace holds (NS-14, NS-18)."""
        for inside in [each for each in peer.places if is_inside(each, namespace)]:
            self._step(peer, inside, "closed")
        peer.unresolved = {each for each in peer.unresolved if not is_inside(each, namespace)}
        for _, ask in self.open_asks(self.number_of(peer)):
            if ask.ends_with(namespace):
                ask.state = "ended"
        for expected in peer.expected:
            if expected.is_deferred and expected.ends_with(namespace):
                expected.must = False
                expected.place = None
