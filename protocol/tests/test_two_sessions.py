"""Two sessions talk, whatever commands they get: each sees what the other sent, and at rest
both agree. One session meets a peer that sends anything: nothing is raised, nothing piles up.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from neffos_codec import Message, Native, decode, parse_wait
from neffos_protocol import (
    AskCancelled,
    Asked,
    AskExpired,
    AskWithdrawn,
    Cause,
    Change,
    ChangeAsked,
    Changed,
    Closed,
    Event,
    HandshakeAsked,
    MisuseError,
    Opened,
    ProtocolViolation,
    Received,
    Replied,
    Role,
    Session,
    SessionLimits,
    UnmatchedReply,
)
from neffos_protocol.names import REQUEST_EVENT
from neffos_protocol.state_machines import MEMBERSHIP

from . import sessions
from .sessions import ID, sent, snapshot

pytestmark = pytest.mark.no_cover  # explores; the tests of single calls cover every line

MOST = settings().max_examples

NAMESPACES = ("chat", "a;b")
ROOMS = ("lobby", "den")
PLACES = [(namespace, room) for namespace in NAMESPACES for room in ("", *ROOMS)]
"""Where events go."""
CHANGES = [
    (change, namespace, room)
    for change in Change
    for namespace, room in PLACES
    if bool(room) == (change in (Change.JOIN, Change.LEAVE))
]

sides = st.sampled_from((0, 1))
bodies = st.one_of(st.text(max_size=4), st.binary(max_size=4))
decisions = st.frozensets(st.sampled_from(Change))


@dataclass
class Side:
    """One end.

    Attributes:
        inbox: what is on its way to it, and what the sender meant.
        todo: what its application has been asked and has not answered.
        ignored: tokens of the *other* side's asks that this side's application ignored.
        now: the time that it was told last.
        heard: the events it told of, of all kinds.
    """

    session: Session
    inbox: deque[tuple[str | bytes, Message | None]] = field(default_factory=deque)
    todo: list[Asked | ChangeAsked | HandshakeAsked] = field(default_factory=list)
    ignored: set[str] = field(default_factory=set)
    now: float = 0.0


class Conversation(RuleBasedStateMachine):
    """Random commands, deliveries and cuts."""

    sides: tuple[Side, Side]

    @initialize(
        client=decisions,
        server=decisions,
        handshake=st.booleans(),
        start=st.sampled_from(("new", "connected", "joined", "joined")),
    )
    def begin(
        self, client: frozenset[Change], server: frozenset[Change], handshake: bool, start: str
    ) -> None:
        self.sides = (
            Side(sessions.fresh(Role.CLIENT, decides=client)),
            Side(sessions.fresh(Role.SERVER, decides=server, decides_handshake=handshake)),
        )
        self.sides[0].session.start()
        self.post(0)
        if start != "new":
            self.settle()
            self.do(0, (Change.CONNECT, "chat", ""))
            self.settle()
        if start == "joined":
            self.do(1, (Change.JOIN, "chat", "lobby"))
            self.settle()

    # ---- commands ----

    @rule(me=sides, pick=st.integers(0, 99))
    def change(self, me: int, pick: int) -> None:
        """Ask for a change that is legal now."""
        legal = [change for change in CHANGES if self.is_legal(me, change)]
        if legal:
            self.do(me, legal[pick % len(legal)])

    @rule(me=sides, pick=st.integers(0, 99), wants_reply=st.booleans(), body=bodies)
    def say(self, me: int, pick: int, wants_reply: bool, body: str | bytes) -> None:
        """Send an event to where it may go."""
        side = self.sides[me]
        legal = [place for place in PLACES if self.can_send(me, *place)]
        if not legal:
            return
        namespace, room = legal[pick % len(legal)]
        token = ""
        if wants_reply:
            deadline = side.now + 3
            token = sessions.token_of(
                side.session.ask(namespace, "say", body, room=room, deadline=deadline)
            )
        else:
            side.session.emit(namespace, "say", body, room=room)
        self.post(me, Message(token, namespace, room, "say", body=body))

    @rule(me=sides, pick=st.integers(0, 99))
    def misuse(self, me: int, pick: int) -> None:
        """Call what is illegal now: it is refused and changes nothing."""
        session = self.sides[me].session
        calls = [
            partial(self.call, me, change) for change in CHANGES if not self.is_legal(me, change)
        ]
        for namespace, room in PLACES:
            if not self.can_send(me, namespace, room):
                calls.append(partial(session.emit, namespace, "say", room=room))
                calls.append(partial(session.ask, namespace, "say", room=room))
        if calls:
            before = snapshot(session)
            with pytest.raises(MisuseError):
                calls[pick % len(calls)]()
            assert snapshot(session) == before

    @precondition(lambda self: any(side.todo for side in self.sides))
    @rule(data=st.data(), how=st.sampled_from(("yes", "no", "ignore")), body=st.text(max_size=4))
    def answer(self, data: st.DataObject, how: str, body: str) -> None:
        me = data.draw(st.sampled_from([me for me in (0, 1) if self.sides[me].todo]))
        todo = self.sides[me].todo
        self.decide(me, todo.pop(data.draw(st.integers(0, len(todo) - 1))), how, body)

    @rule(me=sides, seconds=st.integers(1, 5))
    def wait(self, me: int, seconds: int) -> None:
        side = self.sides[me]
        side.now += seconds
        due = side.session.next_deadline
        events = side.session.expire(side.now)
        assert bool(events) == (due is not None and due <= side.now)
        assert all(isinstance(event, AskExpired) for event in events)

    # ---- the transport ----

    @rule(me=sides, many=st.integers(1, 4))
    def deliver(self, me: int, many: int) -> None:
        inbox = self.sides[me].inbox
        for _ in range(min(many, len(inbox))):
            self.arrive(me, *inbox.popleft())

    @precondition(lambda self: all(side.session.is_open for side in self.sides))
    @rule(
        me=sides,
        by=st.sampled_from(("close", "cut")),
        fresh=st.tuples(decisions, decisions),
        now=st.integers(0, 5),
    )
    def end(
        self, me: int, by: str, fresh: tuple[frozenset[Change], frozenset[Change]], now: int
    ) -> None:
        """One side closes and the other hears all it sent before; or the line is cut.

        Not too often, as all begins again after it.
        """
        if now:
            return
        here, there = self.sides[me], self.sides[1 - me]
        if by == "close":
            self.ended(here, here.session.close(), Cause.LOCAL)
            while there.inbox:
                self.arrive(1 - me, *there.inbox.popleft())
        else:
            self.ended(here, here.session.peer_closed(), Cause.PEER)
        self.ended(there, there.session.peer_closed(), Cause.PEER)
        for side in self.sides:
            assert side.session.receive("$1;chat;;_OnNamespaceConnect;0;0;") == []
            assert side.session.outgoing() == []
        self.begin(*fresh, handshake=False, start="joined")

    # ---- what must hold ----

    @invariant()
    def all_fits_together(self) -> None:
        for side in self.sides:
            sessions.check(side.session)
            assert side.session.outgoing() == []
            questions = {asked.number for asked in side.todo if isinstance(asked, Asked)}
            assert set(side.session._incoming or ()) == questions

    @invariant()
    def both_agree_at_rest(self) -> None:
        client, server = self.sides
        if client.inbox or server.inbox or client.todo or server.todo:
            return
        assert client.session.connected == server.session.connected
        for namespace in NAMESPACES:
            assert client.session.joined(namespace) == server.session.joined(namespace)
        assert client.session.pending_asks <= server.ignored
        assert server.session.pending_asks <= client.ignored

    def teardown(self) -> None:
        if not hasattr(self, "sides"):
            return
        self.settle()
        self.both_agree_at_rest()
        for side in self.sides:
            assert side.session.is_open
            side.session.expire(side.now + 3)
            assert side.session.pending_asks == set()
            assert side.session.next_deadline is None

    # ---- how it is done ----

    def settle(self) -> None:
        """Deliver all, and say yes to all, until nothing is under way."""
        while any(side.inbox or side.todo for side in self.sides):
            for me, side in enumerate(self.sides):
                self.deliver(me, len(side.inbox))
                if side.todo:
                    self.decide(me, side.todo.pop(0), "yes", "")

    def is_legal(self, me: int, wanted: tuple[Change, str, str]) -> bool:
        change, namespace, room = wanted
        session = self.sides[me].session
        command = "connect" if change in (Change.CONNECT, Change.JOIN) else "disconnect"
        return (
            session.is_open
            and (sessions.state(session, namespace, room or None), command) in MEMBERSHIP.rows
            and (not room or namespace in session.connected)
        )

    def can_send(self, me: int, namespace: str, room: str) -> bool:
        session = self.sides[me].session
        return namespace in session.connected and (not room or room in session.joined(namespace))

    def call(self, me: int, wanted: tuple[Change, str, str]) -> str:
        change, *where = wanted
        command: Callable[..., str] = getattr(self.sides[me].session, change.value)
        return command(*[name for name in where if name])

    def do(self, me: int, wanted: tuple[Change, str, str]) -> None:
        change, namespace, room = wanted
        token = sessions.token_of(self.call(me, wanted))
        self.post(me, Message(token, namespace, room, REQUEST_EVENT[change]))

    def post(self, me: int, *meant: Message) -> None:
        """Put what a side sends on its way; ``meant`` is what that has to be, where known."""
        payloads = self.sides[me].session.outgoing()
        if meant:
            assert [decode(payload) for payload in payloads] == list(meant)
        for payload in payloads:
            framed = decode(payload) if ";" in str(payload) else None
            self.sides[1 - me].inbox.append((payload, framed))

    def decide(self, me: int, asked: object, how: str, body: str) -> None:
        side = self.sides[me]
        session = side.session
        match asked:
            case HandshakeAsked():
                self.note(me, session.accept())
                self.post(me)
            case ChangeAsked():
                done = how == "yes"
                answer = session.allow(asked) if done else session.deny(asked, body or "no")
                self.note(me, answer)
                self.post(me)
            case Asked(message) if how == "yes":
                session.reply(asked, body)
                self.post(me, message.reply(body))
            case Asked(message) if how == "no":
                session.reply_error(asked, body or "no")
                self.post(me, message.error_reply(body or "no"))
            case Asked(message):
                session.ignore(asked)
                side.ignored.add(message.wait)

    def arrive(self, me: int, payload: str | bytes, message: Message | None) -> None:
        """Deliver one message and see that it is seen, and seen as what it is."""
        side = self.sides[me]
        session = side.session
        was_open, live = session.is_open, set(session.connected)
        asks = set(session.pending_asks)
        events = session.receive(payload)
        self.note(me, events)
        self.post(me)
        if message is None or not was_open or session.is_closed:
            return
        seen = [
            event.message
            for event in events
            if isinstance(event, (Received, Asked, Replied, UnmatchedReply))
        ]
        mine = session.role is Role.CLIENT
        is_reply = bool(message.wait) and message.wait.startswith("$") == mine
        if message.event.startswith("_On") and not is_reply:
            assert seen == []
        elif is_reply and message.wait in asks:
            lost_change = message.event.startswith("_On") or message.is_empty_reply
            assert seen == [message] or (seen == [] and lost_change)
            assert message.wait not in session.pending_asks
        elif is_reply:
            assert events == [UnmatchedReply(message)]
        else:
            assert seen == ([message] if message.namespace in live else [])

    def note(self, me: int, events: list[Event]) -> None:
        side = self.sides[me]
        for event in events:
            match event:
                case Asked() | ChangeAsked() | HandshakeAsked():
                    side.todo.append(event)
                case AskWithdrawn(number):
                    side.todo = [
                        asked for asked in side.todo if getattr(asked, "number", 0) != number
                    ]
                case AskCancelled(token):
                    assert token not in side.session.pending_asks
                case Opened(id_):
                    assert id_ == ID
                case ProtocolViolation():
                    raise AssertionError(event)

    def ended(self, side: Side, events: list[Event], cause: Cause) -> None:
        """See that the end of a session ends all that it held."""
        *before, last = events
        assert last == Closed(cause)
        assert side.session.is_closed
        assert all(isinstance(event, (Changed, AskCancelled, AskWithdrawn)) for event in before)
        assert all(event.cause is Cause.FORCED for event in before if isinstance(event, Changed))
        withdrawn = {event.number for event in before if isinstance(event, AskWithdrawn)}
        assert withdrawn == {getattr(asked, "number", 0) for asked in side.todo}


def test_two_sessions_understand_each_other() -> None:
    run_state_machine_as_test(
        Conversation,
        settings=settings(
            derandomize=True,
            max_examples=MOST // 4,
            stateful_step_count=60,
            database=None,
        ),
    )


# ---- A peer that sends anything ----


TIGHT = SessionLimits(
    payload=200,
    held=3,
    held_size=100,
    namespaces=3,
    rooms=3,
    name=8,
    incoming_asks=2,
    repeats=2,
    outgoing_asks=4,
)

words = st.sampled_from(
    ["", "chat", "lobby", "say", "other", "far too long a name", "@%!semicolon@%!", "!", "#x", "0"]
)
tokens = st.sampled_from(
    ["", "$1", "$2", "$9", "1", "2", "9", "p!1", "$!1", "#1", "neffos(0x1)", "$ä", "M", "A", "H"]
)
system_events = st.sampled_from(
    [
        *REQUEST_EVENT.values(),
        "_OnNamespaceConnected",
        "_OnRoomJoined",
        "_OnRoomLeft",
        "_OnAnyEvent",
        "_OnNativeMessage",
    ]
)
flags = st.sampled_from(["0", "1", "", "x"])


@st.composite
def frames(draw: st.DrawFn) -> str:
    fields = [
        draw(tokens),
        draw(words),
        draw(words),
        draw(st.one_of(words, system_events, system_events)),
        draw(flags),
        draw(flags),
        draw(st.text(max_size=5)),
    ]
    return ";".join(fields)


@st.composite
def spoiled(draw: st.DrawFn) -> str:
    """A frame with a piece cut out, doubled or put in."""
    text = draw(frames())
    start = draw(st.integers(0, len(text)))
    stop = draw(st.integers(start, min(len(text), start + 5)))
    middle = draw(st.one_of(st.just(""), st.just(text[start:stop] * 2), st.text(max_size=3)))
    return text[:start] + middle + text[stop:]


texts = st.one_of(
    frames(),
    frames(),
    spoiled(),
    st.sampled_from(["", "M", "Mx", "A", "Aid", "H", "Hno", ";;;;;", ";;;;;;", "x" * 201]),
    st.text(max_size=30),
)
payloads = st.one_of(
    texts,
    texts.map(str.encode),
    texts.map(str.encode).map(bytearray),
    texts.map(str.encode).map(memoryview),
    st.binary(max_size=30),
)

PHASES = ("new", "requested", "awaiting", "deciding", "open", "busy", "closed")


def session_in(phase: str, role: Role, native: Native, decides: frozenset[Change]) -> Session:
    session = sessions.fresh(
        Role.SERVER if phase in ("awaiting", "deciding") else role,
        decides=decides,
        decides_handshake=phase == "deciding",
        native=native,
        limits=TIGHT,
    )
    if session.is_open:  # native only, which has no other phase
        if phase == "closed":
            session.close()
        return session
    if phase == "requested":
        session = sessions.fresh(Role.CLIENT, native=native, decides=decides, limits=TIGHT)
        session.start()
    elif phase == "deciding":
        session.receive("M")
    elif phase in ("open", "busy", "closed"):
        if role is Role.CLIENT:
            session.start()
        session.receive("M" if role is Role.SERVER else "Aid")
    if phase == "busy":
        sessions.grant(session, sessions.token_of(session.connect("chat")))
        sessions.grant(session, sessions.token_of(session.join("chat", "lobby")))
        session.ask("chat", "say")
        session.leave("chat", "lobby")
        session.connect("other")
    if phase == "closed":
        session.close()
    return session


@pytest.mark.parametrize("phase", PHASES)
@settings(derandomize=True, max_examples=MOST // 4, database=None)
@given(
    role=st.sampled_from(Role),
    native=st.sampled_from(Native),
    decides=decisions,
    flood=st.lists(payloads, max_size=25),
    now=st.floats(allow_nan=False),
)
def test_whatever_comes_is_borne(
    phase: str,
    role: Role,
    native: Native,
    decides: frozenset[Change],
    flood: list[Any],
    now: float,
) -> None:
    session = session_in(phase, role, native, decides)
    session.outgoing()
    told: list[Event] = []
    for payload in flood:
        events = session.receive(payload)
        assert not (told and isinstance(told[-1], Closed) and events), "nothing follows Closed"
        told += events
        sessions.check(session)
        answers = [] if native is Native.ONLY else sent_frames(session)
        # One message makes one answer, but for the last of those before the handshake.
        assert len(answers) <= max(1, TIGHT.held)
    session.expire(now)
    if not session.is_closed:
        told += session.peer_closed()
    sessions.check(session)
    assert sessions.kinds(told).count("Closed") == (phase != "closed")
    assert session.peer_closed() == []


def sent_frames(session: Session) -> list[Message]:
    """Give what a session sends, without the handshake."""
    return [
        decode(payload) for payload in session.outgoing() if not str(payload).startswith(("A", "M"))
    ]


@settings(derandomize=True, max_examples=MOST // 2, database=None)
@given(fields=frames(), is_binary=st.booleans(), role=st.sampled_from(Role))
def test_an_error_is_never_answered_with_an_error(fields: str, is_binary: bool, role: Role) -> None:
    session = session_in("busy", role, Native.NEVER, frozenset())
    session.outgoing()
    message = decode(fields)
    session.receive(fields.encode() if is_binary else fields)
    for answer in sent(session):
        assert not (message.is_error and answer.is_error)
        assert message.wait
        expected = message.wait if role is Role.CLIENT else parse_wait(message.wait).token  # SX-2
        assert answer.wait == (expected or message.wait)
