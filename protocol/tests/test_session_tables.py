"""Every state of the tables meets every input, in a real session.

The cases come from ``machines.toml``: a session is brought into the state through the public
API, the input is given to it, and what the row says is held against what the session then
holds, sends and tells. What a row's actions *mean* is said here once more, independently.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import product
from typing import Any

import pytest

from neffos_codec import Message, decode
from neffos_protocol import (
    AskCancelled,
    Asked,
    AskExpired,
    AskSent,
    AskWithdrawn,
    Cause,
    Change,
    ChangeAsked,
    Changed,
    ChangeRefused,
    Closed,
    Event,
    HandshakeAsked,
    HandshakeRefused,
    MisuseError,
    Opened,
    ProtocolViolation,
    Replied,
    Role,
    Session,
    SessionLimits,
    UnmatchedReply,
)
from neffos_protocol.names import REQUEST_EVENT
from neffos_protocol.state_machines import (
    HANDSHAKE,
    INCOMING_ASK,
    MEMBERSHIP,
    OUTGOING_ASK,
    StateMachine,
    Transition,
)

from . import sessions
from .sessions import ID, NAMESPACE, ROOM, frame, sent, snapshot

REMEDY = {
    "new": "start",
    "requested": "Opened",
    "awaiting": "Opened",
    "deciding": "accept or refuse",
    "open": "complete",
    "closed": "a new one",
    "disconnected": "connect the namespace, or join the room",
    "connecting": "Changed or ChangeRefused",
    "deciding-connect": "allow or deny",
    "connected": "disconnect or leave",
    "disconnecting": "Changed or ChangeRefused",
    "deciding-disconnect": "allow or deny",
}
"""What the error of a command that is not for now has to name, by state."""

ROLES = tuple(Role)


def guard_settings(machine: StateMachine, state: str, input_: str) -> Iterator[dict[str, bool]]:
    """Give every combination of the guards that stand in the rows of a state and an input."""
    names = [row.guard for row in machine.rows.get((state, input_), ()) if row.guard]
    for values in product((False, True), repeat=len(names)):
        yield dict(zip(names, values, strict=True))


def all_pairs(machine: StateMachine) -> list[tuple[str, str]]:
    return [
        (state, input_)
        for state in machine.states
        for input_ in (*machine.commands, *machine.received)
    ]


# ---- The handshake ----


@dataclass(frozen=True)
class Shake:
    """One case of the handshake table."""

    role: Role
    state: str
    input: str
    decides: bool
    kind: Callable[[bytes], Any]

    def __str__(self) -> str:
        what = "decides" if self.decides else "accepts"
        return f"{self.role}-{self.state}-{self.input}-{what}-{self.kind.__name__}"


def text(data: bytes) -> str:
    return data.decode()


SHAKE_PAYLOADS = {"request": b"M", "acceptance": b"Athe-id", "refusal": b"Hno", "other": b"early"}
SHAKE_ROLES = {
    "new": (Role.CLIENT,),
    "requested": (Role.CLIENT,),
    "awaiting": (Role.SERVER,),
    "deciding": (Role.SERVER,),
    "open": ROLES,
    "closed": ROLES,
}


def shake_cases() -> Iterator[Shake]:
    for state, input_ in all_pairs(HANDSHAKE):
        for role in SHAKE_ROLES[state]:
            kinds = (text, bytes, bytearray, memoryview) if input_ in SHAKE_PAYLOADS else (text,)
            for kind in kinds:
                settings = list(guard_settings(HANDSHAKE, state, input_))
                for guards in settings:
                    decides = guards.get("decides", state == "deciding")
                    yield Shake(role, state, input_, decides, kind)


def bring_to_handshake(case: Shake) -> Session:
    """Bring a session into a state of the handshake; "early" came before, where that can be."""
    session = sessions.fresh(case.role, decides_handshake=case.decides)
    if case.state not in ("open", "closed"):
        session.receive("early")
    if case.role is Role.CLIENT and case.state != "new":
        session.start()
    if case.state == "deciding":
        session.receive("M")
    elif case.state == "open":
        session.receive("M" if case.role is Role.SERVER else f"A{ID}")
    elif case.state == "closed":
        session.close()
    session.outgoing()
    assert session._phase == case.state
    return session


def give_handshake(session: Session, case: Shake) -> list[Event]:
    match case.input:
        case "start":
            session.start()
            return []
        case "accept":
            return session.accept(ID)
        case "refuse":
            return session.refuse("no")
        case "close":
            return session.close()
        case "closed":
            return session.peer_closed()
        case _:
            return session.receive(case.kind(SHAKE_PAYLOADS[case.input]))


def garbage(payload: bytes) -> ProtocolViolation:
    """What an open session says of a payload without separators."""
    place = f"(separators, field 'wait', offset {len(payload)}, FR-2)"
    return ProtocolViolation("FR-2", f"a frame has 6 ';' before its body, this has 0 {place}")


@pytest.mark.each("case", {str(case): case for case in shake_cases()})
def test_handshake(case: Shake) -> None:
    session = bring_to_handshake(case)
    row = HANDSHAKE.row(case.state, case.input, lambda _: case.decides)
    before = snapshot(session)
    if row is None:
        with pytest.raises(MisuseError, match="not for now") as misuse:
            give_handshake(session, case)
        assert REMEDY[case.state] in misuse.value.instead
        assert snapshot(session) == before
        return
    held = list(session._held or ())

    events = give_handshake(session, case)

    told: list[Event] = []
    sends: list[str] = []
    cause = {"close": Cause.LOCAL, "refuse": Cause.LOCAL, "closed": Cause.PEER}.get(case.input)
    for action in row.actions:
        match action:
            case "send-request":
                sends.append("M")
            case "send-accept":
                sends.append(f"A{ID}")
            case "send-refuse":
                sends.append("Hno")
            case "ask-application":
                told.append(HandshakeAsked())
            case "opened":
                told.append(Opened(ID))
                assert session.id == ID
            case "refused":
                told.append(HandshakeRefused("no"))
                cause = Cause.PEER
            case "hold":
                assert session._held == [*held, "early" if case.kind is text else b"early"]
            case "release":
                told.append(garbage(b"early"))
                assert not session._held
            case "violation":
                [event] = [event for event in events if isinstance(event, ProtocolViolation)]
                assert event.requirement == row.requirements[""][0]
                assert event.fatal == (row.next == "closed")
                told.append(event)
                cause = Cause.VIOLATION
            case "read":
                told.append(garbage(SHAKE_PAYLOADS[case.input]))
            case "close":
                assert cause is not None
                told.append(Closed(cause))
                assert not session._held
            case unknown:
                raise AssertionError(unknown)
    assert events == told
    assert session.outgoing() == sends
    assert session._phase == row.next
    assert (session.is_open, session.is_closed) == (row.next == "open", row.next == "closed")
    if not row.actions:
        assert snapshot(session) == before
    sessions.check(session)


# ---- Membership ----


@dataclass(frozen=True)
class Case:
    """One case of the membership table.

    Attributes:
        room: the machine is a room's, not a namespace's.
        role: which end meets it.
        ours: it was this side that asked for the entry, where there was one.
        guards: which guards are to hold.
    """

    room: bool
    role: Role
    ours: bool
    state: str
    input: str
    guards: tuple[tuple[str, bool], ...]
    way: str = ""

    def __str__(self) -> str:
        return "-".join(
            [
                "room" if self.room else "namespace",
                self.role,
                "ours" if self.ours else "theirs",
                self.state,
                self.input,
                *(("" if value else "not-") + name for name, value in self.guards),
                *([self.way] if self.way else []),
            ]
        )

    @property
    def holds(self) -> dict[str, bool]:
        """What holds in truth: a client does not decide on exits (NS-7)."""
        holds = dict(self.guards)
        if self.role is Role.CLIENT and "decides-disconnect" in holds:
            holds["decides-disconnect"] = False
        return holds

    def wants(self, guard: str, otherwise: bool) -> bool:
        return dict(self.guards).get(guard, otherwise)

    @property
    def entry(self) -> Change:
        return Change.JOIN if self.room else Change.CONNECT

    @property
    def exit(self) -> Change:
        return Change.LEAVE if self.room else Change.DISCONNECT


def cases() -> Iterator[Case]:
    for state, input_ in all_pairs(MEMBERSHIP):
        for room, role, ours in product((False, True), ROLES, (False, True)):
            if state == "deciding-disconnect" and role is Role.CLIENT:
                continue  # it never decides on an exit
            if ours and state in ("disconnected", "deciding-connect"):
                continue  # nobody entered
            if not ours and state == "connecting":
                continue  # the peer's entering is not a state of ours
            ways = ("",)
            if input_ == "closed":
                ways = ("peer_closed", "close", "disconnect") if room else ("peer_closed", "close")
            for guards, way in product(guard_settings(MEMBERSHIP, state, input_), ways):
                yield Case(room, role, ours, state, input_, tuple(guards.items()), way)


@dataclass
class Situation:
    """A session in the wanted state, and what its asks and the peer's are called.

    Attributes:
        token: this side's ask that a reply is to answer.
        undecided: the peer's asks that wait for a decision.
        asked: what the application was told of them.
    """

    case: Case
    session: Session
    token: str = ""
    undecided: list[str] = field(default_factory=list)
    asked: ChangeAsked | None = None
    numbers: int = 0

    @property
    def room(self) -> str:
        return ROOM if self.case.room else ""

    def request(self, change: Change, wait: str) -> str | bytes:
        room = self.room
        if self.case.holds.get("unknown") and room:
            room *= 100
        return sessions.request(change, wait, room=room)

    def theirs(self, change: Change) -> str:
        """Let the peer ask for a change; allow it where that is asked of us."""
        self.numbers += 1
        token = sessions.peer_token(self.session, self.numbers)
        for event in self.session.receive(self.request(change, token)):
            if isinstance(event, ChangeAsked):
                self.asked = event
        self.undecided.append(token)
        return token

    def theirs_allowed(self, change: Change) -> None:
        self.theirs(change)
        if self.asked is not None:
            self.session.allow(self.asked)
        self.asked = None
        self.undecided.clear()

    def enter(self) -> str:
        if self.case.room:
            return sessions.token_of(self.session.join(NAMESPACE, ROOM))
        return sessions.token_of(self.session.connect(NAMESPACE))

    def exit(self) -> str:
        if self.case.room:
            return sessions.token_of(self.session.leave(NAMESPACE, ROOM))
        return sessions.token_of(self.session.disconnect(NAMESPACE))

    def state(self) -> str:
        return sessions.state(self.session, room=ROOM if self.case.room else None)


def bring(case: Case) -> Situation:
    """Bring a session into the state of a case, through the public API alone."""
    holds = case.holds
    decides = {
        change
        for change, wanted in (
            (case.entry, case.wants("decides-connect", case.state == "deciding-connect")),
            (case.exit, case.wants("decides-disconnect", case.state == "deciding-disconnect")),
        )
        if wanted
    }
    limits = SessionLimits(
        namespaces=0 if holds.get("full") and not case.room else 8,
        rooms=0 if holds.get("full") and case.room else 8,
        repeats=1 if holds.get("deciding-full") else 3,
        name=20,
    )
    unknown = holds.get("unknown") and not case.room
    session = sessions.opened(
        case.role,
        decides=frozenset(decides),
        limits=limits,
        namespaces=() if unknown else None,
    )
    here = Situation(case, session)
    if case.room:
        sessions.grant(session, sessions.token_of(session.connect(NAMESPACE)))
    token = ""
    if case.input.startswith("connect-") and case.state != "connecting":
        # An entry that both sides asked for: it came about, and our ask is still open.
        token = here.enter()
        here.theirs_allowed(case.entry)
    elif case.input.startswith("disconnect-") and case.state != "disconnecting":
        # The same for an exit.
        here.theirs_allowed(case.entry)
        token = here.exit()
        here.theirs_allowed(case.exit)
    walk(here)
    if token:
        here.token = token
    session.outgoing()
    assert here.state() == case.state
    return here


def walk(here: Situation) -> None:
    """Go from wherever the session is to the state of the case."""
    case = here.case
    state = case.state
    if state in ("disconnected", "connecting", "deciding-connect"):
        if here.state() == "connected":
            here.theirs_allowed(case.exit)
        if state == "connecting":
            here.token = here.enter()
    elif here.state() == "disconnected":
        if case.ours:
            sessions.grant(here.session, here.enter())
        else:
            here.theirs_allowed(case.entry)
    if state == "disconnecting":
        here.token = here.exit()
    if state.startswith("deciding"):
        change = case.entry if state == "deciding-connect" else case.exit
        here.theirs(change)
        if not case.holds.get("deciding-full"):
            here.theirs(change)


def give(here: Situation) -> list[Event]:
    """Give a session the input of the case."""
    case, session = here.case, here.session
    match case.input:
        case "connect" | "disconnect":
            here.token = here.enter() if case.input == "connect" else here.exit()
            return [AskSent(here.token)]
        case "allow" | "deny":
            asked = here.asked or ChangeAsked(case.entry, NAMESPACE, here.room, 1)
            return session.allow(asked) if case.input == "allow" else session.deny(asked, "no")
        case "ask-connect" | "ask-disconnect":
            change = case.entry if case.input == "ask-connect" else case.exit
            return session.receive(here.request(change, sessions.peer_token(session, 99)))
        case "connect-done" | "disconnect-done":
            return sessions.grant(session, here.token)
        case "connect-error" | "disconnect-error":
            change = case.entry if case.input == "connect-error" else case.exit
            refusal = sessions.request(change, here.token, room=here.room, body="no", is_error=True)
            return session.receive(refusal)
        case "closed" if case.way == "disconnect":
            last = sessions.request(Change.DISCONNECT, sessions.peer_token(session, 99))
            return session.receive(last)
        case "closed":
            return session.close() if case.way == "close" else session.peer_closed()
    raise AssertionError(case.input)


def expected(
    here: Situation, row: Transition, done: list[Event]
) -> tuple[list[Event], list[Message]]:
    """Say what the actions of a row tell the application and send to the peer.

    ``done`` are the events that came: only their running numbers are taken from there.
    """
    case = here.case
    told: list[Event] = []
    sends: list[Message] = []
    ask_change = case.exit if "disconnect" in case.input else case.entry
    ask = decode(here.request(ask_change, sessions.peer_token(here.session, 99)))
    if case.way:
        cause = Cause.FORCED
    else:
        cause = Cause.LOCAL if case.input in ("connect-done", "disconnect-done") else Cause.PEER
    full = row.requirements["room" if case.room else "namespace"]
    for action in row.actions:
        match action:
            case "ask":
                event = REQUEST_EVENT[ask_change]
                told.append(AskSent(here.token))
                sends.append(Message(here.token, NAMESPACE, here.room, event))
            case "reply-done":
                sends.append(Message(ask.wait))
            case "reply-unknown":
                sends.append(ask.error_reply("bad room" if case.room else "bad namespace"))
            case "reply-full":
                told.append(ProtocolViolation(full[0], f"too many for one more {ask_change}"))
                sends.append(ask.error_reply("too many"))
            case "ask-application":
                [number] = [event.number for event in done if isinstance(event, ChangeAsked)]
                told.append(ChangeAsked(ask_change, NAMESPACE, here.room, number))
            case "queue":
                pass
            case "reply-all-done":
                sends += [Message(token) for token in here.undecided]
            case "reply-all-refused":
                change = case.entry if case.state == "deciding-connect" else case.exit
                for token in here.undecided:
                    sends.append(decode(here.request(change, token)).error_reply("no"))
            case "withdraw":
                assert here.asked is not None
                told.append(AskWithdrawn(here.asked.number))
            case "connected":
                told.append(Changed(case.entry, NAMESPACE, here.room, cause))
            case "disconnected" | "forced":
                told.append(Changed(case.exit, NAMESPACE, here.room, cause))
            case "refused":
                told.append(ChangeRefused(ask_change, NAMESPACE, here.room, "no"))
            case "cancelled":
                pass
            case unknown:
                raise AssertionError(unknown)
    return told, sends


def after_the_end(here: Situation, asks: list[str]) -> tuple[list[Event], list[Message]]:
    """Say what follows where the namespace or the connection ended under the place."""
    lost: list[Event] = [AskCancelled(token) for token in asks]
    namespace_left = Changed(Change.DISCONNECT, NAMESPACE, "", Cause.PEER)
    match here.case.way:
        case "":
            return [], []
        case "disconnect":
            return [*lost, namespace_left], [Message(sessions.peer_token(here.session, 99))]
        case way:
            if here.case.room:
                lost.append(Changed(Change.DISCONNECT, NAMESPACE, "", Cause.FORCED))
            return [*lost, Closed(Cause.LOCAL if way == "close" else Cause.PEER)], []


@pytest.mark.each("case", {str(case): case for case in cases()})
def test_membership(case: Case) -> None:
    here = bring(case)
    session = here.session
    row = MEMBERSHIP.row(case.state, case.input, case.holds.__getitem__)
    before = snapshot(session)
    asks = list(session.pending_asks)
    assert len(asks) <= 1 or case.state in ("connecting", "disconnecting")
    if row is None:
        with pytest.raises(MisuseError, match="not for now") as misuse:
            give(here)
        judging = case.input in ("allow", "deny")
        remedy = "decide each ChangeAsked once" if judging else REMEDY[case.state]
        assert remedy in misuse.value.instead
        assert snapshot(session) == before
        return

    events = give(here)

    told, sends = expected(here, row, events)
    more_told, more_sends = after_the_end(here, list(asks))
    unordered = len(asks) > 1 and bool(case.way)
    assert (set(events) if unordered else events) == (
        {*told, *more_told} if unordered else told + more_told
    )
    assert sent(session) == sends + more_sends
    assert here.state() == row.next
    names = session.joined(NAMESPACE) if case.room else session.connected
    assert names == ({ROOM if case.room else NAMESPACE} if row.next in MEMBERSHIP.live else set())
    sessions.check(session)


def test_every_row_of_membership_has_a_case_of_either_kind_and_role() -> None:
    taken = {
        (id(MEMBERSHIP.row(case.state, case.input, case.holds.__getitem__)), case.room, case.role)
        for case in cases()
    }
    for rows in MEMBERSHIP.rows.values():
        for row in rows:
            for room, role in product((False, True), ROLES):
                server_only = (
                    row.state == "deciding-disconnect" or row.guard == "decides-disconnect"
                )
                if not (server_only and role is Role.CLIENT):
                    assert (id(row), room, role) in taken


@pytest.mark.parametrize("command", ["connect", "disconnect", "join", "leave"])
@pytest.mark.parametrize("role", ROLES)
def test_no_change_is_asked_for_before_the_session_is_open(role: Role, command: str) -> None:
    for session in (sessions.fresh(role), sessions.opened(role)):
        if session.is_open:
            session.close()
        before = snapshot(session)
        with pytest.raises(MisuseError, match="handshake is not complete"):
            getattr(session, command)(NAMESPACE, *([ROOM] if command in ("join", "leave") else []))
        assert snapshot(session) == before


# ---- Asks of this side ----


@dataclass(frozen=True)
class AskCase:
    role: Role
    state: str
    input: str
    changes: bool
    past: str

    def __str__(self) -> str:
        what = "change" if self.changes else "event"
        return "-".join([self.role, self.state, self.input, what, self.past])


def ask_cases() -> Iterator[AskCase]:
    for (state, input_), role, changes in product(all_pairs(OUTGOING_ASK), ROLES, (False, True)):
        if (state, input_) == ("pending", "send"):
            continue  # another ask is another machine
        # How an ask that is none came to be so: it never was, was answered, or was too late.
        pasts = ["doubled", "late"] if state == "none" else ["fresh", "expired"]
        if state == "none" and role is Role.CLIENT:
            pasts.append("foreign")  # a server cannot tell that from a client's ask (AR-13)
        for past in pasts:
            late_change = past == "late" and changes  # that stays open (AR-12)
            expired_event = past == "expired" and not changes  # that is none
            if not (late_change or expired_event):
                yield AskCase(role, state, input_, changes, past)


def mark_ask(session: Session, changes: bool) -> str:
    """Open an ask with a deadline: for an event, or for a change of a room."""
    if changes:
        return sessions.token_of(session.join(NAMESPACE, ROOM, deadline=10.0))
    return sessions.token_of(session.ask(NAMESPACE, "say", "hi", deadline=10.0))


@pytest.mark.each("case", {str(case): case for case in ask_cases()})
def test_ask(case: AskCase) -> None:
    session = sessions.connected(case.role)
    token = "$77"  # noqa: S105
    if case.past != "foreign":
        token = mark_ask(session, case.changes)
    if case.past == "doubled":
        assert sessions.kinds(sessions.grant(session, token)) in (["Replied"], ["Changed"])
    elif case.past in ("late", "expired"):
        assert session.expire(10.0) == [AskExpired(token)]
    assert session.pending_asks == ({token} if case.state == "pending" else set())
    session.outgoing()
    before = snapshot(session)
    row = OUTGOING_ASK.row(case.state, case.input, lambda _: case.changes)
    done = Message(token)
    refusal = Message(token, NAMESPACE, "", "say", is_error=True, body="no")

    events: list[Event] = []
    match case.input:
        case "send":
            if case.changes and case.past == "doubled":
                session.leave(NAMESPACE, ROOM)
                sessions.grant(session, max(session.pending_asks))
                session.outgoing()
            token = mark_ask(session, case.changes)
        case "deadline":
            assert session.expire(9.9) == []
            assert snapshot(session) == before
            events = session.expire(10.0)
        case "reply":
            events = sessions.grant(session, token)
        case "error":
            refused = frame(wait=token, body="no", is_error=True)
            events = session.receive(refused)
        case "closed":
            events = session.peer_closed()[:-1]
            if case.past == "doubled" and case.changes:
                assert events.pop(0) == Changed(Change.LEAVE, NAMESPACE, ROOM, Cause.FORCED)
            assert events.pop() == Changed(Change.DISCONNECT, NAMESPACE, "", Cause.FORCED)

    match row.actions if row else ():
        case ("send",):
            [message] = sent(session)
            assert message.wait == token
            assert message.event == ("_OnRoomJoin" if case.changes else "say")
            assert token in session.pending_asks
        case ("unmatched",):
            assert events == [UnmatchedReply(done if case.input == "reply" else refusal)]
            assert snapshot(session) == before
        case ("replied",):
            entered = Changed(Change.JOIN, NAMESPACE, ROOM, Cause.LOCAL)
            assert events == [entered if case.changes else Replied(token, done)]
        case ("refused",):
            refused_change = ChangeRefused(Change.JOIN, NAMESPACE, ROOM, "no")
            assert events == [refused_change if case.changes else Replied(token, refusal)]
        case ("expired",):
            # A deadline passes once: an ask that stays open does not expire again.
            assert events == ([AskExpired(token)] if case.past == "fresh" else [])
        case ("cancelled",):
            assert events == [AskCancelled(token)]
        case nothing:
            assert nothing == ()
            assert events == []
    if case.input != "send":
        assert session.pending_asks == ({token} if row and row.next == "pending" else set())
    assert session.outgoing() == []
    sessions.check(session)


# ---- Asks of the peer ----


def question_cases() -> Iterator[tuple[Role, str, str, bool]]:
    for state, input_ in all_pairs(INCOMING_ASK):
        for role in ROLES:
            for guards in guard_settings(INCOMING_ASK, state, input_):
                yield role, state, input_, guards.get("full", False)


@pytest.mark.each("case", {case: case for case in question_cases()})
@pytest.mark.parametrize("past", ["reply", "reply-error", "ignore", "withdrawn"])
def test_question(case: tuple[Role, str, str, bool], past: str) -> None:
    role, state, input_, full = case
    session = sessions.connected(role, limits=SessionLimits(incoming_asks=1 if full else 2))
    wait = sessions.peer_token(session)
    [asked] = session.receive(frame(wait=wait, body="hi"))
    assert isinstance(asked, Asked)
    if state == "none":
        end_question(session, asked, past)
    if full:
        session.receive(frame(wait=sessions.peer_token(session, 2)))
    session.outgoing()
    before = snapshot(session)
    row = INCOMING_ASK.row(state, input_, lambda _: full)
    if row is None:
        with pytest.raises(MisuseError, match="answered or withdrawn") as misuse:
            end_question(session, asked, input_)
        assert "answer each Asked once" in misuse.value.instead
        assert snapshot(session) == before
        return

    events: list[Event] = []
    match input_:
        case "asked":
            events = session.receive(frame(wait=wait, body="hi"))
        case "closed":
            events = session.peer_closed()[:-2]
        case _:
            end_question(session, asked, input_)

    match row.actions:
        case ("reply-full",):
            assert events == [ProtocolViolation("SEC-7", "too many asks wait for their answer")]
            assert sent(session) == [asked.message.error_reply("too many")]
        case ("deliver",):
            [again] = events
            assert isinstance(again, Asked)
            assert again.message == asked.message
            assert again.number != asked.number
        case ("send-reply",):
            assert sent(session) == [asked.message.reply("yes")]
        case ("send-error",):
            assert sent(session) == [asked.message.error_reply("no")]
        case ("withdraw",):
            assert events == [AskWithdrawn(asked.number)]
        case nothing:
            assert nothing == ()
            assert events == []
    assert session.outgoing() == []
    open_numbers = set(session._incoming or ())
    if input_ != "asked":
        assert (asked.number in open_numbers) == (row.next == "pending")
    else:
        assert len(open_numbers) == (1 if full else {"none": 1, "pending": 2}[state])
    sessions.check(session)


def end_question(session: Session, asked: Asked, how: str) -> None:
    match how:
        case "reply":
            session.reply(asked, "yes")
        case "reply-error":
            session.reply_error(asked, "no")
        case "ignore":
            session.ignore(asked)
        case "withdrawn":
            session.receive(sessions.request(Change.DISCONNECT, sessions.peer_token(session, 8)))
            sessions.grant(session, sessions.token_of(session.connect(NAMESPACE)))
