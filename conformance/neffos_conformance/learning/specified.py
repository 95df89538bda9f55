"""The specification's peer in memory: a session, and the least application that the inputs need.

It answers the same inputs as a live peer, and says which requirement each answer rests on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Final, NamedTuple

from neffos_codec import Message, encode
from neffos_conformance.learning.alphabet import (
    APP,
    CLOSED,
    NOT_NOW,
    OTHER,
    REFUSED,
    UNKNOWN,
    AbstractInput,
    Dialogue,
    InputKind,
    Scene,
    output,
)
from neffos_conformance.learning.machine import Machine, Word
from neffos_conformance.model_based.actions import REPORTED_AS
from neffos_conformance.model_based.tables import ASK_REQUIREMENTS
from neffos_conformance.wire.connection import ConnectionClosed
from neffos_protocol import MisuseError, Role, Session
from neffos_protocol.events import (
    AskCancelled,
    Asked,
    Cause,
    Change,
    ChangeAsked,
    Changed,
    Event,
    Received,
    Replied,
)
from neffos_protocol.exploration import Tokens
from neffos_protocol.names import BAD_ROOM, CHANGE_OF
from neffos_protocol.state_machines import HANDSHAKE, MEMBERSHIP, Action, Guard

_ID: Final = "id"


def report_word(saw: str, name: str = "") -> str:
    """Give the word for what a client reports to its application."""
    return f"sees {saw} {name}".rstrip()


class SpecifiedPeer:
    """One connection of the specification's peer.

    Args:
        role: of the peer.
        is_open: whether the handshake is over when the first input comes.

    Attributes:
        session: the session.
        dialogue: what the suite sends, and the words for what comes back.
    """

    def __init__(self, role: Role, *, is_open: bool = True) -> None:
        is_server = role is Role.SERVER
        self.dialogue = Dialogue(role)
        self.session = Session(
            role,
            tokens=Tokens("" if is_server else "$"),
            id=_ID if is_server else "",
            namespaces=(APP, OTHER, REFUSED[role][0]),
            decides=frozenset({Change.CONNECT, Change.JOIN}),
        )
        self._reports: list[str] = []
        self._asking = ""  # the token of a pending event ask
        if not is_server:
            self.session.start()
        if is_open:
            first = "M" if is_server else f"A{_ID}"
            self.dialogue.conversation.feed(self.dialogue.other, first)
            self._handle(self.session.receive(first))
        self._words()

    def step(self, given: AbstractInput) -> str:
        """Take an input, and give the output."""
        if self.dialogue.is_over:
            return CLOSED
        sent = self.dialogue.begin(given)
        if sent is None:
            return NOT_NOW
        self._reports.clear()
        self.perform(given, sent)
        return output(self._words(), self._reports)

    def _words(self) -> list[str]:
        closing = [ConnectionClosed(1000)] if self.session.is_closed else []
        return [self.dialogue.word(each) for each in (*self.session.outgoing(), *closing)]

    def perform(self, given: AbstractInput, sent: Message | str) -> None:
        """Give an input to the session; a mutated peer does otherwise."""
        if given.kind is InputKind.COMMAND and isinstance(sent, Message):
            self._command(given, sent)
        else:
            payload = sent if isinstance(sent, str) else encode(sent)
            self._handle(self.session.receive(payload))

    # ------------------------------------------------------------ the application

    def _command(self, given: AbstractInput, message: Message) -> None:
        if given.change is None:
            events = self.session.ask(APP, message.event, "x")
            self._asking = events[0].token  # type: ignore[union-attr]
        else:
            self._change(given.change, message.room)

    def _change(self, change: Change, name: str) -> None:
        ask: Callable[..., Sequence[Event]] = getattr(self.session, change.value)
        named = {Change.CONNECT: (name or APP,), Change.DISCONNECT: (APP,)}
        ask(*named.get(change, (APP, name)))

    def _handle(self, events: Sequence[Event]) -> None:
        for event in events:
            match event:
                case Asked(message):
                    self._asked(event, message)
                case Received(message):
                    self._received(message)
                case ChangeAsked(_, namespace, room, _):
                    if self._is_refused(namespace, room):
                        self._handle(self.session.deny(event, "not wanted"))
                    else:
                        self._handle(self.session.allow(event))
                case Changed(change, _, _, cause):
                    # A room that goes with its namespace is not reported for itself.
                    if not (cause is Cause.FORCED and change.is_of_room):
                        self._report(report_word(REPORTED_AS[change]))
                case Replied(token, message) if token == self._asking:
                    self._asking = ""
                    if self.dialogue.role is Role.SERVER:
                        name = "answer-error" if message.is_error else "answer"
                        self.session.emit(APP, name, message.body)
                    else:
                        self._report("ask failed" if message.is_error else "ask replied")
                case AskCancelled(token) if token == self._asking:
                    self._asking = ""
                    self._report("ask failed")

    def _is_refused(self, namespace: str, room: str | None) -> bool:
        name, of_room = REFUSED[self.dialogue.role]
        return room == of_room if room else namespace == name

    def _asked(self, asked: Asked, message: Message) -> None:
        if message.room and not self.session.is_member(message.namespace, message.room):
            self.session.reply_error(asked, BAD_ROOM)
            return
        self._report(report_word("event", message.event))
        if message.event == "fail":
            self.session.reply_error(asked, str(message.body))
        else:
            is_named = message.namespace == OTHER and self.dialogue.role is Role.SERVER
            self.session.reply(asked, message.event if is_named else message.body)

    def _received(self, message: Message) -> None:
        self._report(report_word("event", message.event))
        if self.dialogue.role is Role.CLIENT:
            return
        change = message.event.removesuffix("-me")
        if message.event == "echo":
            self.session.emit(message.namespace, message.event, message.body)
        elif message.event == "ask-me":
            (event,) = self.session.ask(APP, "question", message.body)
            self._asking = event.token  # type: ignore[union-attr]
        elif change in {each.value for each in Change}:
            with suppress(MisuseError):  # there is nothing to ask for
                self._change(Change(change), str(message.body))

    def _report(self, word: str) -> None:
        if self.dialogue.role is Role.CLIENT:
            self._reports.append(word)

    # ------------------------------------------------------------ what it rests on

    def name(self) -> str:
        """Name the present state: what is connected and joined, and what is pending."""
        session = self.session
        if not session.is_open:
            holds = any(";" in str(each) for each in session._held or ())
            return f"{session._phase}{', holds a frame' if holds else ''}"
        found = [each for name in sorted(session.connected) for each in _places(session, name)]
        shown = ", ".join(found) or "nothing connected"
        own = self.dialogue.own
        if own is not None:
            change = CHANGE_OF.get(own.message.event)
            ended = " (ended)" if own.is_ended else ""
            shown += f"; asks {change or own.message.event}{ended}"
            if own.key is not None:
                shown += f", {session._state(own.key)}"
        return shown

    def requirement(self, given: AbstractInput) -> str:
        """Give the requirement that the answer to an input rests on, in the present state."""
        session, message = self.session, given.message
        own = self.dialogue.own
        match given.kind:
            case InputKind.LATE:
                return "NS-12"
            case InputKind.REPLY | InputKind.REFUSE if own and own.key:
                result = "done" if given.kind is InputKind.REPLY else "error"
                change = CHANGE_OF[own.message.event]
                return self._row(own.key, f"{change.direction}-{result}")
            case InputKind.REPLY | InputKind.REFUSE:
                return "AR-7"
            case InputKind.TRIGGER if session.is_member(APP):
                return ASK_REQUIREMENTS[given.change] if given.change else "AR-1"
            case InputKind.COMMAND:
                return ASK_REQUIREMENTS[given.change] if given.change else "AR-1"
        if isinstance(message, str):
            inputs = {"M": "request", "A": "acceptance", "H": "refusal"}
            row = HANDSHAKE.follow(
                session._phase, inputs.get(message[:1], "other"), lambda _: False
            )
            # What a peer must not send is named first, then what the receiver must not do.
            return row.requirements[""][-1 if Action.VIOLATION in row.actions else 0]
        return self._on_frame(given, message)

    def _on_frame(self, given: AbstractInput, message: Message) -> str:
        is_live = self.session.is_member(message.namespace)
        change = CHANGE_OF.get(message.event)
        if change is None or given.key is None:
            if not is_live:
                return "NS-17" if message.wait else "NS-9"
            if message.room and not self.session.is_member(message.namespace, message.room):
                return "RM-9"
            is_handled = self.dialogue.role is Role.CLIENT and not message.wait
            return "EV-2" if is_handled else "AR-7" if message.wait else "AR-10"
        if message.is_error:
            return "NS-12"
        if message.is_no_op or not message.wait:
            return "NS-2" if change is Change.CONNECT else "NS-10"
        if change.is_of_room and not is_live:
            return "NS-17"
        return self._row(given.key, f"ask-{change.direction}")

    def _row(self, key: tuple[str, str | None], input_: str) -> str:
        namespace, room = key
        state = self.session._state(key)  # type: ignore[arg-type]
        held = {
            Guard.UNKNOWN: room == "" or namespace == UNKNOWN,
            Guard.DECIDES_CONNECT: self._is_refused(namespace, room),
        }
        row = MEMBERSHIP.follow(state, input_, lambda guard: held.get(guard, False))
        return row.requirements["namespace" if room is None else "room"][0]


def _places(session: Session, namespace: str) -> list[str]:
    return [namespace, *(f"{namespace}/{room}" for room in sorted(session.joined(namespace)))]


# -------------------------------------------------------------------- its machine


class Specification(NamedTuple):
    """The specification's machine over an alphabet.

    Attributes:
        machine: the machine; no two of its states do the same.
        names: of its states.
        requirements: what each transition rests on, by state and input.
        ways: the shortest word to each state of the session, of which several can be one here: a
            correct peer does the same in them, and a faulty one may not.
    """

    machine: Machine
    names: tuple[str, ...]
    requirements: tuple[Mapping[str, str], ...]
    ways: tuple[Word, ...]


def specification(role: Role, scene: Scene, inputs: Sequence[AbstractInput]) -> Specification:
    """Explore the specification's peer, and give its machine.

    Args:
        role: of the peer.
        scene: what is learned.
        inputs: the alphabet.
    """

    def after(word: Sequence[AbstractInput]) -> SpecifiedPeer:
        peer = SpecifiedPeer(role, is_open=scene is not Scene.HANDSHAKE)
        for given in word:
            peer.step(given)
        return peer

    ways: dict[str, tuple[AbstractInput, ...]] = {after(()).name(): ()}
    rows: list[list[tuple[str, str]]] = []
    rests: list[dict[str, str]] = []
    todo = list(ways)
    for name in todo:
        row, rest = [], {}
        for given in inputs:
            peer = after(ways[name])
            rest[given.name] = "" if peer.dialogue.is_over else peer.requirement(given)
            given_back = peer.step(given)
            row.append((given_back, peer.name()))
            if peer.name() not in ways:
                ways[peer.name()] = (*ways[name], given)
                todo.append(peer.name())
        rows.append(row)
        rests.append(rest)
    places = {name: number for number, name in enumerate(todo)}
    letters = tuple(each.name for each in inputs)
    whole = Machine(letters, tuple(tuple((out, places[name]) for out, name in row) for row in rows))
    groups = whole.groups()
    firsts = [groups.index(group) for group in range(max(groups) + 1)]
    return Specification(
        Machine(
            letters,
            tuple(
                tuple((out, groups[after]) for out, after in whole.rows[first]) for first in firsts
            ),
        ),
        tuple(todo[first] for first in firsts),
        tuple(rests[first] for first in firsts),
        tuple(tuple(each.name for each in ways[name]) for name in todo),
    )
