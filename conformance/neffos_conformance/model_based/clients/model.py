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

from typing import Final

from neffos_codec import Message, encode
from neffos_conformance.model_based.actions import Action, Do
from neffos_conformance.model_based.bodies import input_of_handshake
from neffos_conformance.model_based.clients.answering import answer
from neffos_conformance.model_based.clients.operations import tell
from neffos_conformance.model_based.clients.serving import send
from neffos_conformance.model_based.clients.states import ClientStates, Connected
from neffos_conformance.model_based.clients.told import (
    DONE,
    FAILED,
    Doing,
    DriverLog,
    Observation,
    Outcome,
)
from neffos_conformance.model_based.expected import End, Expected, Payload, Place, place_of, way_of
from neffos_conformance.model_based.states import Asked
from neffos_protocol.events import Change
from neffos_protocol.names import CHANGE_OF, REQUEST_EVENT
from neffos_protocol.state_machines import INCOMING_ASK, OUTGOING_ASK

TURNED_AWAY: Final = "not; today"
"""The text of a refused handshake."""

UNAVAILABLE: Final = 503
"""The status in place of an upgrade."""

FIRST_ID: Final = 6
"""What the number of a connection is counted from, to be its id."""

POLICY: Final = 1008
"""The close code behind a refusal (TR-13)."""


class Model(ClientStates):
    """The model of one client, while one program is played."""

    def take(self, action: Action) -> list[Doing] | None:
        """Give what is done in an action, and expect what comes of it.

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
                return answer(self, action, peer)
            case Do.TELL:
                return tell(self, action, peer)
            case _:
                return send(self, action, peer)

    def settled(self, connection: int) -> None:
        """Take note that all came that had to, and was not put off."""
        super().settled(connection)
        peer = self.peers[connection]
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
            self.change(expected.number, peer, expected.change, expected.place)
        return []

    def _asks(self, expected: Expected, peer: Connected, message: Message) -> list[Payload]:
        number = expected.number
        change = CHANGE_OF.get(message.event)
        place = place_of(change, message) if change else (message.namespace, None)
        self.follow(OUTGOING_ASK, "none", "send")
        if number in peer.leaving:
            peer.leaving[number].remove(place)
            self.step(number, peer, place, "disconnect")
            self.step(number, peer, place, "disconnect-done")
            self.follow(OUTGOING_ASK, "pending", "reply")
            if not peer.leaving[number]:
                del peer.leaving[number]
                self.told[number].comes_to("RM-8", DONE)
            return [encode(message.empty_reply())]
        self.asked[number] = Asked(expected.connection, message, change, place)
        if change is not None:
            self.step(number, peer, place, way_of(change))
        return []

    def was_seen(self, sight: Observation) -> None:
        """Take note of what the client told its application."""
        self.peers[sight.connection].sights.remove(sight)

    def ended(self, connection: int) -> None:
        """Take note that a connection is over."""
        peer = self.peers[connection]
        if peer.is_over:
            return
        was_open = peer.phase == "open"
        self.shake(peer, "close" if peer.ending == "TR-12" else "closed")
        last = max([0, *self.shapes])
        for sight in peer.sights:
            sight.must = False
        for expected in peer.expected:  # it may have been done, without the reply to be seen
            if expected.place is not None and expected.change is not None:
                for change in _ENTRY_AND_EXIT[expected.place[1] is not None]:
                    self.may_tell(last, connection, change, expected.place)
        for place in list(peer.places):
            self.step(last, peer, place, "closed")
        for number, _ in self.open_asks(connection):
            if number in self.relays:
                self.follow(INCOMING_ASK, "pending", "closed")
        self.part(connection)
        self.let_go(peer)
        self.see(last, connection, "TR-14", must=was_open, saw="closed")
        peer.is_over = True

    # ------------------------------------------------------------ opening

    def _open(self, action: Action) -> list[Doing] | None:
        number = action.connection
        if number in self.peers:
            return None
        peer = self.peers[number] = Connected()
        self.shapes[action.number] = f"open {action.how}"
        self.silences[action.number] = "HS-11"
        told = self.told[action.number] = DriverLog(number, "dial")
        if action.how == "unavailable":
            peer.ending = "TR-1"
            peer.is_over = True
            told.comes_to("TR-1", FAILED)
            return []
        self.shake(peer, "start")
        self.expect(action, number, "M", "HS-1")
        answers: list[Payload | End] = []
        match action.how:
            case "refused" | "refused-silently":
                self.shake(peer, "refusal")
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
                self.shake(peer, "other")
                answers = ["welcome", "", b"\x00\xff", "a6", ";;;;;"]
                self.silences[action.number] = "HS-10"
            case "asking":
                self.shake(peer, "request")
                answers = ["M"]
                self.silences[action.number] = "HS-9"
            case "doubled":
                behind = ["A9", b"A", "Hno"]
                self.silences[action.number] = "HS-8"
            case "early":
                self.shake(peer, "other")
                answers = [self._connected(action, peer, "HS-14")]
            case "joined":
                behind = [self._connected(action, peer, "HS-18")]
            case _:
                pass
        told.comes_to(_OPENED.get(action.how, "HS-19"), Outcome(True, given=peer.id))
        self.shake(peer, "acceptance")
        for each in behind:
            self.shake(peer, input_of_handshake(each) if not isinstance(each, End) else "other")
        said = [*answers, accept, *behind]
        is_held = action.how == "joined"
        return [Doing(number, each, is_held and each == accept) for each in said]

    def _connected(self, action: Action, peer: Connected, requirement: str) -> Payload:
        """Have the server connect a namespace at once."""
        connect = Message(f"{action.number}", "any", "", REQUEST_EVENT[Change.CONNECT])
        expected = self.expect(action, action.connection, connect.empty_reply(), requirement)
        expected.place, expected.change = ("any", None), Change.CONNECT
        peer.unresolved.add(("any", None))
        return encode(connect)

    # ------------------------------------------------------------ leaving

    def _leave(self, action: Action, peer: Connected) -> list[Doing]:
        self.shapes[action.number] = f"{action.do}"
        self.silences[action.number] = "TR-15"
        peer.ending = "TR-16" if action.do is Do.CLOSE else "TR-14"
        self.let_go(peer)
        return [Doing(action.connection, End(1000 if action.do is Do.CLOSE else None))]

    # ------------------------------------------------------------ what is no frame

    def _noise(self, action: Action, peer: Connected) -> list[Doing] | None:
        payload = action.body
        place: Place = ("", None)
        state = peer.state(place)
        if place in peer.unresolved or state not in ("disconnected", "connected"):
            return None
        first = input_of_handshake(payload)
        kind = "nothing" if not payload else first if first != "other" else "noise"
        self.shapes[action.number] = f"{kind} {type(payload).__name__} {state}"
        by_kind = {"nothing": "FR-14", "noise": "FR-16", "request": "HS-9"}
        self.silences[action.number] = by_kind.get(kind, "HS-8")
        if isinstance(payload, str) and payload.count(";") == 5:
            self.silences[action.number] = "FR-2"
        self.shake(peer, first)
        if state == "connected" and payload:
            self.see_native(action, "NM-2", payload)
        return [Doing(action.connection, payload)]


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
