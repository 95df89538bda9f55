"""What a session does, by example; the state tables have their own tests."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

import neffos_protocol
from neffos_codec import EncodeError, Message, Native, decode, encode
from neffos_protocol import (
    DEFAULT_LIMITS,
    AskCancelled,
    Asked,
    AskExpired,
    AskWithdrawn,
    Cause,
    Change,
    ChangeAsked,
    Changed,
    ChangeRefused,
    Closed,
    HandshakeAsked,
    HandshakeRefused,
    MisuseError,
    NativeReceived,
    Opened,
    ProtocolViolation,
    Received,
    Replied,
    Role,
    Session,
    SessionLimits,
    UnmatchedReply,
    conversation,
    events,
    limits,
    monitor,
    names,
    prepare,
)
from neffos_protocol import session as session_module
from neffos_protocol._asks import SETTLED_TOKENS

from . import sessions
from .sessions import (
    ID,
    NAMESPACE,
    ROOM,
    connected,
    frame,
    fresh,
    grant,
    opened,
    peer_token,
    request,
    sent,
    snapshot,
    token_of,
)

CLIENT, SERVER = Role.CLIENT, Role.SERVER
both_roles = pytest.mark.parametrize("role", list(Role))
EVERYTHING = frozenset(Change)


def misused(session: Session, call: Callable[[], object], words: str) -> None:
    """Assert that a call is refused in these words and changes nothing."""
    before = snapshot(session)
    with pytest.raises(MisuseError, match=words) as misuse:
        call()
    assert misuse.value.instead in str(misuse.value)
    assert snapshot(session) == before


# ---- What the package offers ----


def test_the_package_exports_what_its_modules_define() -> None:
    defined = {
        name
        for module in (conversation, events, limits, monitor, session_module)
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    }
    assert defined | {"COMPILED", "Event", "DEFAULT_LIMITS", "MisuseError"} == set(
        neffos_protocol.__all__
    )
    assert all(hasattr(neffos_protocol, name) for name in neffos_protocol.__all__)


def test_event_is_any_event() -> None:
    kinds = {
        value
        for name, value in vars(events).items()
        if getattr(value, "__slots__", None) is not None and not issubclass(value, tuple)
    }
    assert {*events.Event.__args__} == {
        kind for kind in kinds if kind.__module__ == events.__name__
    }


def test_limits_are_not_negative() -> None:
    for each in SessionLimits.__match_args__:
        assert getattr(DEFAULT_LIMITS, each) > 0
        with pytest.raises(ValueError, match=each):
            SessionLimits(**{each: -1})
        with pytest.raises(TypeError, match=f"{each} is a whole number, not 1.5"):
            SessionLimits(**{each: 1.5})


def test_a_token_that_no_frame_can_carry_changes_nothing() -> None:
    session = Session(CLIENT, tokens=lambda: "$a;b")
    session.start()
    session.receive("A7")
    session.outgoing()
    with pytest.raises(EncodeError, match="FR-5"):
        session.connect("chat")
    assert not session.pending_asks
    assert session.outgoing() == []
    assert session.connected == frozenset()


# ---- The handshake ----


def test_a_client_is_let_in() -> None:
    session = fresh(CLIENT)
    assert not session.is_open
    session.start()
    assert session.outgoing() == ["M"]
    assert session.outgoing() == [], "each payload is given once"
    assert session.receive("A7") == [Opened("7")]
    assert session.id == "7"
    assert session.is_open
    assert session.outgoing() == []


def test_a_server_lets_in() -> None:
    session = fresh(SERVER)
    assert session.receive("M") == [Opened(ID)]
    assert session.outgoing() == [f"A{ID}"]
    assert session.is_open


def test_an_application_lets_in_under_an_id_of_its_choice() -> None:
    session = fresh(SERVER, decides_handshake=True)
    assert session.receive("M") == [HandshakeAsked()]
    assert session.outgoing() == []
    assert session.accept("chosen") == [Opened("chosen")]
    assert session.outgoing() == ["Achosen"]
    assert session.id == "chosen"


def test_a_connection_without_an_id_is_not_let_in() -> None:
    session = fresh(SERVER, decides_handshake=True, id="")
    session.receive("M")
    misused(session, session.accept, "HS-6")
    with pytest.raises(EncodeError, match="surrogate"):
        session.accept("\ud800")
    assert session.accept("7") == [Opened("7")]


def test_a_server_turns_away() -> None:
    session = fresh(SERVER, decides_handshake=True)
    session.receive("M")
    before = snapshot(session)
    with pytest.raises(EncodeError, match="surrogate"):
        session.refuse("\ud800")
    assert snapshot(session) == before
    assert session.refuse("full") == [Closed(Cause.LOCAL)]
    assert session.outgoing() == ["Hfull"]
    assert session.is_closed


@pytest.mark.parametrize("text", ["", "full"])
def test_a_client_is_turned_away(text: str) -> None:
    session = fresh(CLIENT)
    session.start()
    assert session.receive(f"H{text}") == [HandshakeRefused(text), Closed(Cause.PEER)]
    assert session.is_closed


@pytest.mark.parametrize("decides", [False, True])
@pytest.mark.parametrize("payload", ["Amine", "Hno", b"Amine"])
def test_a_client_that_plays_the_server_is_cut_off(decides: bool, payload: str | bytes) -> None:
    session = fresh(SERVER, decides_handshake=decides)
    if decides:
        session.receive("M")
    violation, closed = session.receive(payload)
    assert isinstance(violation, ProtocolViolation)
    assert violation.fatal
    assert closed == Closed(Cause.VIOLATION)
    assert session.is_closed
    assert session.outgoing() == []


def test_a_second_request_is_a_violation_and_no_more() -> None:
    session = opened(SERVER)
    [violation] = session.receive("M")
    assert isinstance(violation, ProtocolViolation)
    assert (violation.requirement, violation.fatal) == ("FR-2", False)
    assert session.is_open
    assert session.outgoing() == []


def test_messages_before_the_handshake_keep_their_order_and_are_handled_after_it() -> None:
    session = fresh(SERVER)
    early: list[Any] = [
        request(Change.CONNECT, "$1", body=b""),
        frame(body="text"),
        bytearray(str(frame()).encode() + b"bytes"),
        frame(body=b"more bytes"),
        memoryview(str(frame(wait="$2")).encode() + b"ask"),
    ]
    for payload in early:
        assert session.receive(payload) == []
    early[2][:] = b""
    first, entered, *received, asked = session.receive("M")
    assert first == Opened(ID)
    assert entered == Changed(Change.CONNECT, NAMESPACE, "", Cause.PEER)
    assert [event.message.body for event in received if isinstance(event, Received)] == [
        "text",
        b"bytes",
        b"more bytes",
    ]
    assert isinstance(asked, Asked)
    assert asked.message.body == b"ask"
    assert session.outgoing() == [f"A{ID}", "$1;;;;;;"]


def test_a_client_holds_what_comes_before_it_is_let_in() -> None:
    session = fresh(CLIENT)
    session.receive(request(Change.CONNECT, "1"))
    session.start()
    session.receive(frame())
    opened_, entered, received = session.receive("A7")
    assert opened_ == Opened("7")
    assert isinstance(entered, Changed)
    assert isinstance(received, Received)
    assert session.outgoing() == ["M", "1;;;;;;"]


def decided(**options: Any) -> Session:
    """Make a server session with early frames, up to the decision on the first of them."""
    session = fresh(SERVER, decides=EVERYTHING, decides_handshake=True, **options)
    session.receive(request(Change.CONNECT, "$1"))
    session.receive(request(Change.JOIN, "$2", room=ROOM))
    assert session.receive("M") == [HandshakeAsked()]
    session.receive(frame(wait="$3", room=ROOM))
    return session


def test_early_messages_wait_for_the_decision_on_those_before_them() -> None:
    session = decided()
    opened_, connect = session.accept()
    assert (opened_, connect.change) == (Opened(ID), Change.CONNECT)  # type: ignore[union-attr]
    session.receive(frame(wait="$4"))
    assert isinstance(connect, ChangeAsked)
    _, join = session.allow(connect)
    assert isinstance(join, ChangeAsked)
    joined_, third, fourth = session.allow(join)
    assert joined_ == Changed(Change.JOIN, NAMESPACE, ROOM, Cause.PEER)
    assert [each.message.wait for each in (third, fourth) if isinstance(each, Asked)] == [
        "$3",
        "$4",
    ]
    assert session.outgoing() == [f"A{ID}", "$1;;;;;;", "$2;;;;;;"]
    sessions.check(session)


def test_early_messages_are_refused_after_a_refused_decision_and_not_before() -> None:
    session = decided()
    _, connect = session.accept()
    assert isinstance(connect, ChangeAsked)
    assert session.deny(connect, "no") == []
    replies = [(reply.wait, reply.body) for reply in map(decode, session.outgoing()[1:])]
    assert replies == [("$1", "no"), ("$2", "bad namespace"), ("$3", "bad namespace")]


def test_what_waits_for_a_decision_is_bounded() -> None:
    session = decided(limits=SessionLimits(held=3))
    session.accept()
    assert session.receive("a") == []
    violation, *_, closed = session.receive("b")
    assert isinstance(violation, ProtocolViolation)
    assert (violation.requirement, closed) == ("SEC-3", Closed(Cause.VIOLATION))
    sessions.check(session)


def test_a_reply_does_not_wait_for_a_decision_and_may_withdraw_it() -> None:
    session = fresh(SERVER, decides=frozenset({Change.JOIN}))
    session.receive(request(Change.CONNECT, "$1"))
    session.receive(request(Change.JOIN, "$2", room=ROOM))
    session.receive(frame(wait="$3"))
    *_, join = session.receive("M")
    assert isinstance(join, ChangeAsked)
    token = token_of(session.disconnect(NAMESPACE))
    left, changed = session.receive(f"{token};;;;;;")
    assert left == AskWithdrawn(join.number)
    assert changed == Changed(Change.DISCONNECT, NAMESPACE, "", Cause.LOCAL)
    assert decode(session.outgoing()[-1]).body == "bad namespace"
    sessions.check(session)


@both_roles
def test_what_need_not_wait_is_told_from_the_rest(role: Role) -> None:
    session = connected(role, ROOM, namespaces={NAMESPACE, "other"})
    assert session.overtakes(request(Change.CONNECT, peer_token(session), "unknown"))
    assert not session.overtakes(request(Change.CONNECT, peer_token(session)))
    reply = frame(wait=peer_token(session))
    assert not session.overtakes(reply)
    token = token_of(session.ask(NAMESPACE, "e"))
    assert session.overtakes(f"{token};;;;;;")
    assert session.overtakes(f"{token[0]}!{token[1:]};;;;;;") is (len(token) > 1)
    assert session.overtakes(f"{token};;;;;;".encode())
    assert not session.overtakes(reply)
    assert not session.overtakes("not a frame")
    leaving = request(Change.DISCONNECT, peer_token(session))
    assert session.overtakes(leaving, is_next=True)
    assert not session.overtakes(leaving)
    deciding = connected(role, decides=EVERYTHING)
    assert deciding.overtakes(leaving, is_next=True) is (role is CLIENT)
    session.leave(NAMESPACE, ROOM)
    assert session.overtakes(request(Change.JOIN, peer_token(session), room=ROOM))
    assert not session.overtakes(request(Change.JOIN, peer_token(session), room="other"))
    session.connect("other")
    assert session.overtakes(frame(namespace="other"))
    assert not session.overtakes(frame())
    session.close()
    assert not session.overtakes(f"{token};;;;;;")


def test_the_size_of_a_payload_is_counted_in_bytes() -> None:
    text = "\N{EURO SIGN}" * 4
    session = fresh(SERVER, limits=SessionLimits(payload=12))
    assert session.receive(text) == []
    violation, _ = session.receive(text + "a")
    assert isinstance(violation, ProtocolViolation)
    assert violation.requirement == "SEC-2"
    session = opened(SERVER, limits=SessionLimits(payload=12, held_size=11))
    assert session.receive(text)[0] != violation
    assert session.receive(text + "a")[0].requirement == "SEC-2"  # type: ignore[union-attr]
    early = fresh(SERVER, limits=SessionLimits(held_size=11))
    assert early.receive(text)[0].requirement == "SEC-3"  # type: ignore[union-attr]


def test_a_membership_is_looked_up() -> None:
    session = connected(SERVER, ROOM)
    assert session.is_member(NAMESPACE)
    assert session.is_member(NAMESPACE, ROOM)
    assert not session.is_member(NAMESPACE, "other")
    assert not session.is_member("other")


def test_the_number_of_early_messages_is_bounded() -> None:
    session = fresh(SERVER, limits=SessionLimits(held=2))
    assert session.receive("x") == session.receive("x") == []
    violation, closed = session.receive("x")
    assert isinstance(violation, ProtocolViolation)
    assert (violation.requirement, violation.fatal) == ("SEC-3", True)
    assert closed == Closed(Cause.VIOLATION)
    sessions.check(session)


def test_the_size_of_early_messages_is_bounded() -> None:
    session = fresh(SERVER, limits=SessionLimits(held_size=10))
    assert session.receive("x" * 4) == session.receive(b"x" * 6) == []
    [violation, _] = session.receive("x")
    assert isinstance(violation, ProtocolViolation)
    assert violation.requirement == "SEC-3"


@both_roles
@pytest.mark.parametrize("is_open", [False, True])
def test_a_payload_that_is_too_large_ends_the_session(role: Role, is_open: bool) -> None:
    bound = SessionLimits(payload=20)
    session = opened(role, limits=bound) if is_open else fresh(role, limits=bound)
    session.receive("x" * 20)
    assert not session.is_closed
    violation, closed = session.receive("x" * 21)
    assert isinstance(violation, ProtocolViolation)
    assert (violation.requirement, violation.fatal) == ("SEC-2", True)
    assert closed == Closed(Cause.VIOLATION)
    assert session.receive("x" * 21) == []


@both_roles
@pytest.mark.parametrize("payload", ["", b"", bytearray(), memoryview(b"")])
def test_an_empty_payload_is_nothing(role: Role, payload: Any) -> None:
    for session in (fresh(role), opened(role)):
        before = snapshot(session)
        assert session.receive(payload) == []
        assert snapshot(session) == before


@both_roles
@pytest.mark.parametrize("payload", ["hello", b"\xff\xfe", ";;;;;", bytearray(b"x")])
def test_garbage_is_a_violation_and_no_more(role: Role, payload: Any) -> None:
    session = connected(role)
    [violation] = session.receive(payload)
    assert isinstance(violation, ProtocolViolation)
    assert (violation.requirement, violation.fatal) == ("FR-2", False)
    assert session.is_open
    assert session.outgoing() == []


# ---- Membership, beside the tables ----


@both_roles
def test_a_namespace_that_is_not_offered(role: Role) -> None:
    session = opened(role, namespaces={"news"})
    misused(session, lambda: session.connect(NAMESPACE), "not offered")
    assert session.receive(request(Change.CONNECT, peer_token(session))) == []
    [reply] = sent(session)
    assert (reply.is_error, reply.body) == (True, "bad namespace")
    assert session.connect("news")


@both_roles
def test_names_that_are_too_long_are_refused(role: Role) -> None:
    session = connected(role, limits=SessionLimits(name=4))
    session.receive(request(Change.CONNECT, peer_token(session), namespace="x" * 5))
    session.receive(request(Change.JOIN, peer_token(session), room="x" * 5))
    session.receive(request(Change.JOIN, peer_token(session), room=""))
    assert [reply.body for reply in sent(session)] == ["bad namespace", "bad room", "bad room"]
    session.receive(request(Change.CONNECT, peer_token(session), namespace="x" * 4))
    session.receive(request(Change.JOIN, peer_token(session), room="x" * 4))
    assert session.connected == {NAMESPACE, "xxxx"}
    assert session.joined(NAMESPACE) == {"xxxx"}
    assert session.joined("nowhere") == set()


@both_roles
def test_the_bounds_hold_for_both_sides(role: Role) -> None:
    session = connected(role, ROOM, limits=SessionLimits(namespaces=1, rooms=1))
    misused(session, lambda: session.connect("other"), "too many namespaces or rooms")
    misused(session, lambda: session.join(NAMESPACE, "other"), "too many namespaces or rooms")
    for number, ask in enumerate(
        [
            request(Change.CONNECT, peer_token(session), namespace="other"),
            request(Change.JOIN, peer_token(session), room="other"),
        ]
    ):
        [violation] = session.receive(ask)
        assert isinstance(violation, ProtocolViolation)
        assert violation.requirement == ("SEC-5", "SEC-6")[number]
        [reply] = sent(session)
        assert (reply.is_error, reply.body) == (True, "too many")
    grant(session, token_of(session.leave(NAMESPACE, ROOM)))
    assert session.join(NAMESPACE, "other")


@both_roles
def test_the_rooms_of_all_namespaces_are_bounded_together(role: Role) -> None:
    session = connected(role, "a", "b", limits=SessionLimits(rooms=3))
    grant(session, token_of(session.connect("other")))
    session.join("other", "a")
    misused(session, lambda: session.join("other", "b"), "too many")
    grant(session, token_of(session.disconnect(NAMESPACE)))
    assert session.join("other", "b")
    sessions.check(session)


@both_roles
def test_open_asks_of_this_side_are_bounded(role: Role) -> None:
    session = connected(role, limits=SessionLimits(outgoing_asks=2))
    token = token_of(session.ask(NAMESPACE, "say"))
    session.join(NAMESPACE, ROOM)
    misused(session, lambda: session.ask(NAMESPACE, "say"), "too many asks")
    misused(session, lambda: session.connect("other"), "too many asks")
    grant(session, token)
    assert session.connect("other")


@both_roles
def test_a_name_that_no_frame_can_carry_changes_nothing(role: Role) -> None:
    session = connected(role)
    before = snapshot(session)
    bad = "@%!semicolon@%!"
    for call in (
        lambda: session.connect(bad),
        lambda: session.join(NAMESPACE, bad),
        lambda: session.ask(NAMESPACE, bad),
        lambda: session.emit(NAMESPACE, bad),
        lambda: session.emit(NAMESPACE, "say", "\ud800"),
    ):
        with pytest.raises(EncodeError):
            call()
    assert snapshot(session) == before


@both_roles
def test_a_room_needs_its_namespace_and_a_name(role: Role) -> None:
    session = opened(role)
    misused(session, lambda: session.join(NAMESPACE, ROOM), "not connected; connect it first")
    grant(session, token_of(session.connect(NAMESPACE)))
    misused(session, lambda: session.join(NAMESPACE, ""), "a room has a name")
    misused(session, lambda: session.leave(NAMESPACE, ""), "a room has a name")


@both_roles
@pytest.mark.parametrize("change", [Change.JOIN, Change.LEAVE])
def test_a_room_of_a_namespace_that_is_not_connected_is_refused(role: Role, change: Change) -> None:
    session = opened(role)
    session.receive(request(change, peer_token(session), room=ROOM))
    [reply] = sent(session)
    assert (reply.is_error, reply.body) == (True, "bad namespace")
    sessions.check(session)


@both_roles
@pytest.mark.parametrize("change", list(Change))
@pytest.mark.parametrize(
    "how", [{"wait": ""}, {"is_no_op": True}, {"is_error": True, "body": "no"}], ids=str
)
def test_requests_without_a_token_or_meaning_are_ignored(
    role: Role, change: Change, how: dict[str, Any]
) -> None:
    session = connected(role, ROOM)
    wait = how.get("wait", peer_token(session))
    more = {name: value for name, value in how.items() if name != "wait"}
    before = snapshot(session)
    assert session.receive(request(change, wait, namespace=NAMESPACE, room="x", **more)) == []
    assert snapshot(session) == before


@both_roles
@pytest.mark.parametrize("body", ["welcome", b"welcome"])
def test_a_reply_with_a_body_refuses_a_change_and_is_a_violation(
    role: Role, body: str | bytes
) -> None:
    session = opened(role)
    token = token_of(session.connect(NAMESPACE))
    violation, refused = session.receive(request(Change.CONNECT, token, body=body))
    assert isinstance(violation, ProtocolViolation)
    assert (violation.requirement, violation.fatal) == ("AR-20", False)
    assert refused == ChangeRefused(Change.CONNECT, NAMESPACE, "", "welcome")
    assert session.connected == set()
    assert session.pending_asks == set()


@both_roles
def test_an_error_reply_without_a_text_refuses_too(role: Role) -> None:
    session = opened(role)
    token = token_of(session.connect(NAMESPACE))
    [refused] = session.receive(request(Change.CONNECT, token, is_error=True))
    assert refused == ChangeRefused(Change.CONNECT, NAMESPACE, "", "")


def test_a_refusal_that_is_no_text_is_told_as_well_as_it_can_be() -> None:
    session = opened(CLIENT)
    token = token_of(session.connect(NAMESPACE))
    [refused] = session.receive(request(Change.CONNECT, token, is_error=True, body=b"\xff!"))
    assert isinstance(refused, ChangeRefused)
    assert refused.text == "\N{REPLACEMENT CHARACTER}!"


@both_roles
@pytest.mark.parametrize("binary", [False, True])
def test_a_denial_has_the_kind_of_the_ask(role: Role, binary: bool) -> None:
    session = opened(role, decides=EVERYTHING)
    body = b"long" * 99 if binary else "long" * 99
    [asked] = session.receive(request(Change.CONNECT, peer_token(session), body=body))
    assert isinstance(asked, ChangeAsked)
    before = snapshot(session)
    with pytest.raises(EncodeError, match="reads as success"):
        session.deny(asked, "")
    assert snapshot(session) == before
    assert session.deny(asked, "no") == []
    [reply] = sent(session)
    assert (reply.is_error, reply.body) == (True, b"no" if binary else "no")
    assert reply.event == "_OnNamespaceConnect"


@both_roles
def test_the_empty_reply_is_text(role: Role) -> None:
    session = opened(role)
    session.receive(request(Change.CONNECT, peer_token(session), body=b"x"))
    assert session.outgoing() == [f"{peer_token(session)};;;;;;"]


@both_roles
def test_a_change_is_decided_once(role: Role) -> None:
    session = opened(role, decides=EVERYTHING)
    [asked] = session.receive(request(Change.CONNECT, peer_token(session)))
    assert isinstance(asked, ChangeAsked)
    session.allow(asked)
    misused(session, lambda: session.allow(asked), "decided or withdrawn")
    misused(session, lambda: session.deny(asked, "no"), "decided or withdrawn")


def test_a_decision_is_for_the_ask_it_was_made_for() -> None:
    session = opened(SERVER, decides=EVERYTHING)
    [first] = session.receive(request(Change.CONNECT, "$1"))
    assert isinstance(first, ChangeAsked)
    session.deny(first, "no")
    session.receive(request(Change.CONNECT, "$2"))
    misused(session, lambda: session.allow(first), "decided or withdrawn")


def test_a_client_does_not_decide_on_exits() -> None:
    session = connected(CLIENT, ROOM, decides=EVERYTHING)
    left = Changed(Change.LEAVE, NAMESPACE, ROOM, Cause.PEER)
    assert session.receive(request(Change.LEAVE, "1", room=ROOM)) == [left]
    gone = Changed(Change.DISCONNECT, NAMESPACE, "", Cause.PEER)
    assert session.receive(request(Change.DISCONNECT, "2")) == [gone]


@both_roles
def test_a_namespace_takes_all_inside_it_along(role: Role) -> None:
    session = connected(role, ROOM, decides=frozenset({Change.JOIN}))
    grant(session, token_of(session.connect("other")))
    asks = {token_of(session.ask(NAMESPACE, "say")), token_of(session.join(NAMESPACE, "den"))}
    kept = token_of(session.ask("other", "say"))
    [asked] = session.receive(frame(wait=peer_token(session)))
    [undecided] = session.receive(request(Change.JOIN, peer_token(session, 2), room="third"))
    [kept_asked] = session.receive(frame(wait=peer_token(session), namespace="other"))
    assert isinstance(asked, Asked)
    assert isinstance(undecided, ChangeAsked)
    assert isinstance(kept_asked, Asked)

    *told, last = session.receive(request(Change.DISCONNECT, peer_token(session, 3)))

    assert last == Changed(Change.DISCONNECT, NAMESPACE, "", Cause.PEER)
    assert set(told) == {
        Changed(Change.LEAVE, NAMESPACE, ROOM, Cause.FORCED),
        *map(AskCancelled, asks),
        AskWithdrawn(asked.number),
        AskWithdrawn(undecided.number),
    }
    assert session.pending_asks == {kept}
    misused(session, lambda: session.reply(asked), "answered or withdrawn")
    misused(session, lambda: session.allow(undecided), "decided or withdrawn")
    session.reply(kept_asked)
    sessions.check(session)


# ---- Events ----


@both_roles
@pytest.mark.parametrize("body", ["héllo; there", b"\x00\xff;"])
def test_an_event_goes_out_and_comes_in(role: Role, body: str | bytes) -> None:
    session = connected(role, ROOM)
    session.emit(NAMESPACE, "say", body)
    session.emit(NAMESPACE, "say", body, room=ROOM)
    plain = Message("", NAMESPACE, "", "say", body=body)
    assert sent(session) == [plain, plain.replace(room=ROOM)]
    assert session.receive(frame(body=body)) == [Received(plain)]
    unjoined = frame(body=body, room="not joined")
    assert session.receive(unjoined) == [Received(plain.replace(room="not joined"))]


@both_roles
def test_an_error_that_nobody_asked_about_is_told(role: Role) -> None:
    session = connected(role)
    [received] = session.receive(frame(body="no", is_error=True))
    assert isinstance(received, Received)
    assert received.message.is_error


@both_roles
def test_events_need_a_connected_namespace_and_a_joined_room(role: Role) -> None:
    session = opened(role)
    for call in (session.emit, session.ask):
        misused(session, lambda call=call: call(NAMESPACE, "say"), "connect it first")
    session.connect(NAMESPACE)
    misused(session, lambda: session.emit(NAMESPACE, "say"), "connect it first")
    session = connected(role)
    for call in (session.emit, session.ask):
        misused(session, lambda call=call: call(NAMESPACE, "say", room=ROOM), "join it first")
    session.close()
    misused(session, lambda: session.emit(NAMESPACE, "say"), "make a new one")


@both_roles
@pytest.mark.parametrize("event", [*names.REQUEST_EVENT.values(), *sorted(names.LOCAL_ONLY)])
def test_the_protocols_own_events_are_not_for_applications(role: Role, event: str) -> None:
    session = connected(role)
    misused(session, lambda: session.emit(NAMESPACE, event), "the protocol's own")
    misused(session, lambda: session.ask(NAMESPACE, event), "the protocol's own")


@both_roles
@pytest.mark.parametrize("event", sorted(names.LOCAL_ONLY))
@pytest.mark.parametrize("is_connected", [False, True])
def test_notices_of_one_peer_do_not_travel(role: Role, event: str, is_connected: bool) -> None:
    session = connected(role) if is_connected else opened(role)
    [violation] = session.receive(frame(event))
    assert isinstance(violation, ProtocolViolation)
    assert (violation.requirement, violation.fatal) == ("EV-5", False)
    assert session.outgoing() == []
    session.receive(frame(event, wait=peer_token(session)))
    [reply] = sent(session)
    assert (reply.is_error, reply.body) == (True, "invalid payload")
    session.receive(frame(event, wait=peer_token(session), is_error=True, body="no"))
    assert session.outgoing() == [], "an error is not answered"


@both_roles
def test_an_event_may_have_a_name_that_only_looks_like_the_protocols(role: Role) -> None:
    session = connected(role)
    [received] = session.receive(frame("_OnSomething"))
    assert isinstance(received, Received)
    session.emit(NAMESPACE, "_OnSomething")


@both_roles
def test_what_is_for_a_namespace_that_is_not_connected(role: Role) -> None:
    session = opened(role)
    assert session.receive(frame()) == []
    assert session.outgoing() == []
    for body in ("hi", b"hi"):
        assert session.receive(frame(wait=peer_token(session), body=body)) == []
        [reply] = sent(session)
        assert reply.is_error
        assert reply.body == (b"bad namespace" if isinstance(body, bytes) else "bad namespace")
        assert (reply.wait, reply.event) == (peer_token(session), "say")
    assert session.receive(frame(wait=peer_token(session), is_error=True, body="no")) == []
    assert session.outgoing() == [], "an error is not answered"


# ---- Asks and replies ----


@both_roles
@pytest.mark.parametrize("answer", ["yes", b"yes"])
def test_an_ask_gets_its_reply(role: Role, answer: str | bytes) -> None:
    session = connected(role)
    token = token_of(session.ask(NAMESPACE, "say", "hi"))
    [asked] = sent(session)
    assert asked == Message(token, NAMESPACE, "", "say", body="hi")
    assert session.pending_asks == {token}
    reply = frame(wait=token, body=answer)
    assert session.receive(reply) == [Replied(token, decode(reply))]
    assert session.receive(reply) == [UnmatchedReply(decode(reply))]
    assert session.outgoing() == []


@both_roles
@pytest.mark.parametrize("kind", [str, bytes])
def test_a_reply_has_the_kind_of_its_ask(role: Role, kind: type) -> None:
    session = connected(role)
    body = "hi" if kind is str else b"hi"
    for say in (session.reply, session.reply_error):
        for text in ("yes", b"yes") if say == session.reply else ("no",):
            [asked] = session.receive(frame(wait=peer_token(session), body=body, room="den"))
            assert isinstance(asked, Asked)
            say(asked, text)
            [reply] = sent(session)
            assert type(reply.body) is kind
            assert reply.is_error == (say == session.reply_error)
            assert (reply.wait, reply.room) == (peer_token(session), "den")


@both_roles
def test_what_cannot_be_sent_does_not_use_up_the_ask(role: Role) -> None:
    session = connected(role)
    [asked] = session.receive(frame(wait=peer_token(session)))
    assert isinstance(asked, Asked)
    before = snapshot(session)
    with pytest.raises(EncodeError):
        session.reply(asked, b"\xff")
    with pytest.raises(EncodeError):
        session.reply_error(asked, "")
    assert snapshot(session) == before
    session.reply(asked, "yes")


@both_roles
def test_an_empty_reply_to_an_event(role: Role) -> None:
    session = connected(role)
    [asked] = session.receive(frame(wait=peer_token(session)))
    assert isinstance(asked, Asked)
    session.reply(asked)
    assert session.outgoing() == [f"{peer_token(session)};{NAMESPACE};;say;0;0;"]


def test_a_token_of_an_unusual_form_still_gets_its_reply() -> None:
    session = connected(SERVER)
    violation, asked = session.receive(frame(wait="77"))
    assert isinstance(violation, ProtocolViolation)
    assert (violation.requirement, violation.fatal) == ("AR-2", False)
    assert isinstance(asked, Asked)
    session.reply(asked, "yes")
    assert [reply.wait for reply in sent(session)] == ["77"]
    violation, entered = session.receive(request(Change.JOIN, "78", room=ROOM))
    assert isinstance(violation, ProtocolViolation)
    assert isinstance(entered, Changed)


def test_a_client_drops_replies_to_what_it_never_asked() -> None:
    session = connected(CLIENT)
    for reply in (frame(wait="$99", is_error=True), "$99;;;;;;"):
        assert session.receive(reply) == [UnmatchedReply(decode(reply))]
    assert session.outgoing() == []


def test_a_broadcast_with_another_clients_token_is_an_event_all_the_same() -> None:
    session = connected(CLIENT)
    violation, received = session.receive(frame(wait="$99"))
    assert isinstance(violation, ProtocolViolation)
    assert violation.requirement == "AR-17"
    assert received == Received(decode(frame(wait="$99")))
    assert session.outgoing() == []


@pytest.mark.parametrize("event", sorted(names.LOCAL_ONLY))
def test_no_local_event_is_delivered_for_another_clients_token(event: str) -> None:
    session = connected(CLIENT)
    foreign = frame(wait="$99", event=event)
    assert session.receive(foreign) == [UnmatchedReply(decode(foreign))]
    assert session.outgoing() == []


def test_what_another_session_was_asked_cannot_be_answered_here() -> None:
    mine, other = connected(SERVER), connected(SERVER)
    [asked_here] = mine.receive(frame(wait="$1", body="mine"))
    [asked_there] = other.receive(frame(wait="$2", body="secret"))
    assert asked_here.number == asked_there.number
    with pytest.raises(MisuseError):
        mine.reply(asked_there, "secret")
    mine.reply(asked_here, "mine")
    deciding = [opened(SERVER, decides=frozenset(Change)) for _ in range(2)]
    [[first], [second]] = [each.receive(request(Change.CONNECT, "$1")) for each in deciding]
    assert first == second
    with pytest.raises(MisuseError):
        deciding[0].allow(second)
    deciding[0].allow(first)


@pytest.mark.parametrize("id_", [7, "\ud800"])
def test_an_id_that_cannot_be_sent_is_refused_at_once(id_: Any) -> None:
    with pytest.raises((TypeError, EncodeError)):
        Session(SERVER, tokens=sessions.Tokens(""), id=id_)


def test_namespaces_are_names_and_not_letters() -> None:
    with pytest.raises(MisuseError, match="several names"):
        Session(SERVER, tokens=sessions.Tokens(""), id="1", namespaces="chat")


def test_a_role_may_be_given_by_its_name() -> None:
    with pytest.raises(MisuseError, match="has an ID"):
        Session("server", tokens=sessions.Tokens(""))  # type: ignore[arg-type]


def test_an_error_can_be_sent_to_what_asked_for_nothing() -> None:
    session = connected(SERVER)
    session.emit(NAMESPACE, "say", "no", is_error=True)
    assert session.outgoing() == [frame(is_error=True, body="no")]
    with pytest.raises(MisuseError, match="has a text"):
        session.emit(NAMESPACE, "say", is_error=True)


def test_late_replies_are_known_for_a_while() -> None:
    session = connected(SERVER)
    first = token_of(session.ask(NAMESPACE, "say"))
    grant(session, first)
    for _ in range(SETTLED_TOKENS - 1):
        grant(session, token_of(session.ask(NAMESPACE, "say")))
    assert sessions.kinds(grant(session, first)) == ["UnmatchedReply"]
    grant(session, token_of(session.ask(NAMESPACE, "say")))
    assert "UnmatchedReply" not in sessions.kinds(grant(session, first))
    sessions.check(session)


@both_roles
def test_a_reply_to_an_ask_that_was_overtaken_settles_no_later_ask(role: Role) -> None:
    session = connected(role)
    overtaken = token_of(session.disconnect(NAMESPACE))
    session.receive(request(Change.DISCONNECT, peer_token(session, 1)))  # both ask at once
    grant(session, token_of(session.connect(NAMESPACE)))
    pending = token_of(session.disconnect(NAMESPACE))
    assert grant(session, overtaken) == []
    assert session.connected == {NAMESPACE}
    assert session.pending_asks == {pending}
    assert sessions.kinds(grant(session, pending)) == ["Changed"]
    assert session.connected == set()
    sessions.check(session)


@both_roles
def test_the_exchange_marker_does_not_hide_a_reply(role: Role) -> None:
    session = connected(role)
    for _ in range(9):
        grant(session, token_of(session.ask(NAMESPACE, "say")))  # so that tokens are longer
    token = token_of(session.ask(NAMESPACE, "say"))
    marked = f"{token[0]}!{token[1:]}"
    [replied] = session.receive(frame(wait=marked, body="yes"))
    assert isinstance(replied, Replied)
    assert replied.token == token
    assert session.pending_asks == set()
    again = session.receive(frame(wait=marked, body="yes"))
    assert sessions.kinds(again) == ["UnmatchedReply"]


@both_roles
@pytest.mark.parametrize("wait", ["neffos(0x1234)", "#confirm"])
def test_tokens_between_servers_are_echoed_like_others(role: Role, wait: str) -> None:
    session = connected(role)
    [*_, asked] = session.receive(frame(wait=wait))
    assert isinstance(asked, Asked)
    session.reply(asked, "yes")
    assert [reply.wait for reply in sent(session)] == [wait]


# ---- Deadlines ----


@both_roles
def test_deadlines_pass_in_their_order(role: Role) -> None:
    session = connected(role)
    assert session.next_deadline is None
    assert session.expire(1e9) == []
    late = token_of(session.ask(NAMESPACE, "say", deadline=5.0))
    session.ask(NAMESPACE, "say")
    soon = token_of(session.join(NAMESPACE, ROOM, deadline=2.0))
    assert session.next_deadline == 2.0
    assert session.expire(1.9) == []
    assert session.expire(2.0) == [AskExpired(soon)]
    assert session.next_deadline == 5.0
    assert session.expire(2.0) == []
    assert sessions.state(session, room=ROOM) == "connecting", "it may still come about"
    assert grant(session, soon) == [Changed(Change.JOIN, NAMESPACE, ROOM, Cause.LOCAL)]
    assert session.expire(9.0) == [AskExpired(late)]
    assert session.next_deadline is None
    assert sessions.kinds(grant(session, late)) == ["UnmatchedReply"]
    assert len(session.pending_asks) == 1


def test_the_events_of_an_ask_have_its_token() -> None:
    session = connected(Role.CLIENT)
    events = session.ask(NAMESPACE, "say")
    assert session.pending_asks == {token_of(events)}
    with pytest.raises(ValueError, match="no ask was sent; give the events of ask"):
        token_of(session.emit(NAMESPACE, "say"))
    with pytest.raises(ValueError, match="no ask was sent"):
        token_of(session.close())


# ---- Broadcasts ----


def test_a_broadcast_is_encoded_once() -> None:
    prepared = prepare(Message("", NAMESPACE, ROOM, "say", body="hi"))
    ends = [connected(role, ROOM) for role in Role]
    for session in ends:
        assert session.send_prepared(prepared) == []
        [payload] = session.outgoing()
        assert payload is prepared.payload
        assert decode(payload) == prepared.message


@both_roles
def test_a_broadcast_goes_to_those_whom_it_concerns(role: Role) -> None:
    to_all = prepare(Message("", NAMESPACE, "", "say"))
    to_room = prepare(Message("", NAMESPACE, ROOM, "say"))
    closed = connected(role, ROOM)
    closed.close()
    for session, concerned in (
        (fresh(role), (False, False)),
        (opened(role), (False, False)),
        (connected(role), (True, False)),
        (connected(role, ROOM), (True, True)),
        (closed, (False, False)),
    ):
        assert (session.concerns(to_all), session.concerns(to_room)) == concerned
        for prepared, concerns in zip((to_all, to_room), concerned, strict=True):
            if concerns:
                session.send_prepared(prepared)
            else:
                misused(session, partial(session.send_prepared, prepared), "does not concern")
        assert session.outgoing() == [to_all.payload, to_room.payload][: sum(concerned)]


def test_a_broadcast_has_no_token() -> None:
    with pytest.raises(MisuseError, match="no token; clear"):
        prepare(Message("$1", NAMESPACE, "", "say"))


# ---- Native messages ----


@both_roles
@pytest.mark.parametrize("payload", ["M", "raw", b"raw", ";;;;;;", "$1;chat;;say;0;0;"])
def test_a_native_only_session_has_neither_handshake_nor_frames(
    role: Role, payload: str | bytes
) -> None:
    session = fresh(role, native=Native.ONLY)
    assert session.is_open
    assert session.receive(payload) == [NativeReceived(payload)]
    session.send_native(payload)
    assert session.outgoing() == [payload]
    misused(session, session.start, "not for now; the handshake is complete")
    misused(session, lambda: session.emit("", "say"), "no namespaces; call send_native")
    misused(session, lambda: session.join("", ROOM), "no namespaces; call send_native")
    assert session.close() == [Closed(Cause.LOCAL)]
    misused(session, lambda: session.send_native("x"), "make a new one")


@both_roles
def test_native_messages_beside_frames_belong_to_the_empty_namespace(role: Role) -> None:
    session = opened(role, native=Native.FALLBACK)
    assert session.receive("raw") == []
    grant(session, token_of(session.connect("")))
    session.outgoing()
    for payload in ("raw", b"raw", "M"):
        assert session.receive(payload) == [NativeReceived(payload)]
    [framed] = session.receive(frame("_OnNativeMessage", namespace="", body="framed"))
    assert framed == NativeReceived("framed")
    grant(session, token_of(session.connect("n")))
    session.outgoing()
    [elsewhere] = session.receive(frame("_OnNativeMessage", namespace="n", body="framed"))
    assert elsewhere == NativeReceived("framed", "n")
    [event] = session.receive(frame(namespace=""))
    assert isinstance(event, Received)
    [error] = session.receive(frame("_OnNativeMessage", namespace="", is_error=True, body="no"))
    assert isinstance(error, Received)
    [outside] = session.receive(frame("_OnNativeMessage", namespace="", room="r", body="x"))
    assert isinstance(outside, Received)  # RM-9 says what becomes of it
    session.send_native("raw")
    assert session.outgoing() == ["raw"]
    with pytest.raises(EncodeError, match="NM-3"):
        session.send_native(";;;;;;")


@both_roles
def test_without_native_messages(role: Role) -> None:
    session = connected(role, namespace="")
    assert sessions.kinds(session.receive("raw")) == ["ProtocolViolation"]
    [event] = session.receive(frame("_OnNativeMessage", namespace="", body="framed"))
    assert isinstance(event, Received)
    with pytest.raises(EncodeError, match="NM-1"):
        session.send_native("raw")
    session = fresh(role)
    misused(session, lambda: session.send_native("raw"), "handshake is not complete")


# ---- The end ----


@both_roles
@pytest.mark.parametrize("by", ["close", "peer_closed", "violation"])
def test_the_end_ends_all_that_is_under_way(role: Role, by: str) -> None:
    session = connected(
        role, ROOM, decides=frozenset({Change.CONNECT}), limits=SessionLimits(payload=100)
    )
    asks = [
        token_of(session.ask(NAMESPACE, "say", deadline=1.0)),
        token_of(session.join(NAMESPACE, "den")),
        token_of(session.connect("connecting")),
    ]
    [asked] = session.receive(frame(wait=peer_token(session)))
    [undecided] = session.receive(request(Change.CONNECT, peer_token(session, 2), namespace="new"))
    assert isinstance(asked, Asked)
    assert isinstance(undecided, ChangeAsked)
    told = {
        "close": session.close,
        "peer_closed": session.peer_closed,
        "violation": lambda: session.receive("x" * 101)[1:],
    }[by]()
    cause = {"close": Cause.LOCAL, "peer_closed": Cause.PEER, "violation": Cause.VIOLATION}[by]
    assert told[-1] == Closed(cause)
    assert set(told[:-1]) == {
        Changed(Change.LEAVE, NAMESPACE, ROOM, Cause.FORCED),
        Changed(Change.DISCONNECT, NAMESPACE, "", Cause.FORCED),
        AskWithdrawn(asked.number),
        AskWithdrawn(undecided.number),
        *map(AskCancelled, asks),
    }
    assert len(told) == 8
    assert session.connected == session.pending_asks == session.joined(NAMESPACE) == set()
    assert len(session.outgoing()) == 3, "what was said before is still to be sent"
    sessions.check(session)


@both_roles
def test_nothing_follows_the_end(role: Role) -> None:
    session = connected(role, ROOM)
    session.ask(NAMESPACE, "say", deadline=1.0)
    [asked] = session.receive(frame(wait=peer_token(session)))
    session.close()
    session.outgoing()
    before = snapshot(session)
    for payload in ("M", "A1", "Hno", "", "raw", b"\xff", frame(), frame(wait="1"), "x" * 9):
        assert session.receive(payload) == []
    assert session.peer_closed() == session.expire(9.0) == []
    assert session.next_deadline is None
    assert snapshot(session) == before
    for call in (
        session.close,
        session.start,
        session.accept if role is SERVER else session.start,
        lambda: session.refuse("no"),
        lambda: session.connect("other"),
        lambda: session.disconnect(NAMESPACE),
        lambda: session.join(NAMESPACE, "other"),
        lambda: session.leave(NAMESPACE, ROOM),
        lambda: session.ask(NAMESPACE, "say"),
        lambda: session.send_native("x"),
    ):
        misused(session, call, "make a new one")
    assert isinstance(asked, Asked)
    misused(session, lambda: session.reply(asked), "answered or withdrawn")


# ---- A hostile peer ----


BOUND = SessionLimits(held=5, namespaces=5, rooms=5, incoming_asks=5, repeats=5, outgoing_asks=5)


def floods(session: Session) -> dict[str, list[str | bytes]]:
    wait = peer_token(session)
    many = range(50)
    return {
        "namespaces": [request(Change.CONNECT, wait, namespace=f"n{i}") for i in many],
        "rooms": [request(Change.JOIN, wait, room=f"r{i}") for i in many],
        "questions": [frame(wait=f"{wait}{i}") for i in many],
        "repeats": [request(Change.CONNECT, f"{wait}{i}", namespace="same") for i in many],
        "leaves": [request(Change.LEAVE, wait, room=f"r{i}") for i in many],
        "rubbish": ["raw", "M", "A", b"\xff"] * 9,
        "notices": [frame("_OnRoomJoined", wait=wait, room=f"r{i}") for i in many],
        "replies": [f"{'$' if session.role is CLIENT else ''}{i + 1000};;;;;;" for i in many],
        "unconnected": [frame(wait=wait, namespace=f"n{i}") for i in many],
    }


@both_roles
@pytest.mark.parametrize("decides", [frozenset(), EVERYTHING])
@pytest.mark.parametrize("kind", list(floods(fresh(CLIENT))))
def test_a_flood_does_not_pile_up(role: Role, decides: frozenset[Change], kind: str) -> None:
    session = connected(role, decides=decides, limits=BOUND)
    for payload in floods(session)[kind]:
        session.receive(payload)
        sessions.check(session)
        assert len(session.outgoing()) <= 1
    for held in ("_held", "_pending", "_spaces", "_incoming", "_decisions"):
        assert len(getattr(session, held) or ()) <= 5


@both_roles
def test_a_flood_before_the_handshake_does_not_pile_up(role: Role) -> None:
    session = fresh(role, limits=BOUND)
    for number in range(50):
        session.receive(f"x{number}")
        sessions.check(session)
    assert session.is_closed


def test_the_body_of_what_is_decided_is_not_kept() -> None:
    session = opened(SERVER, decides=EVERYTHING)
    session.receive(request(Change.CONNECT, "$1", body="x" * 100_000))
    assert "xxx" not in str(session._decisions)


@pytest.mark.parametrize("event", ["_OnNamespaceConnect", "_OnRoomJoin", "say"])
def test_what_is_no_utf8_is_dropped_and_not_answered(event: str) -> None:
    session = opened(SERVER)
    for payload in (b"$\xff;n;r;%b;0;0;" % event.encode(), f"$\ud800;n;r;{event};0;0;"):
        [violation] = session.receive(payload)
        assert isinstance(violation, ProtocolViolation)
        assert (violation.requirement, violation.fatal) == ("FR-12", False)
    assert session.outgoing() == []


def test_a_long_token_or_needless_room_is_not_remembered() -> None:
    session = opened(SERVER, decides=frozenset(Change))
    long = "x" * 300
    for payload in (f"${long};n;;e;0;0;", f"$1;m;{long};_OnNamespaceConnect;0;0;"):
        [violation] = session.receive(payload)
        assert isinstance(violation, ProtocolViolation)
        assert violation.requirement == "SEC-2"
    assert session.outgoing() == []
    assert not session._decisions
    assert not session._incoming


LONG = "x" * 257


@both_roles
@pytest.mark.parametrize("binary", [False, True])
@pytest.mark.parametrize("asks", [False, True])
@pytest.mark.parametrize("name", ["namespace", "room", "event"])
def test_a_frame_with_a_name_that_is_too_long_is_dropped(
    role: Role, name: str, asks: bool, binary: bool
) -> None:
    session = connected(role, ROOM)
    names = {"namespace": NAMESPACE, "event": "say", "wait": peer_token(session) if asks else ""}
    body = b"x" if binary else "x" * 300
    if name != "namespace":
        [event] = session.receive(encode(Message(**names | {name: LONG[1:]}, body=body)))
        assert isinstance(event, Asked if asks else Received)
    [violation] = session.receive(encode(Message(**names | {name: LONG}, body=body)))
    assert isinstance(violation, ProtocolViolation)
    assert (violation.requirement, violation.fatal) == ("SEC-2", False)
    assert session.outgoing() == []


@both_roles
@pytest.mark.parametrize("event", ["say", "_OnRoomJoin"])
def test_a_reply_with_a_name_that_is_too_long_is_dropped(role: Role, event: str) -> None:
    session = connected(role)
    token = token_of(session.ask(NAMESPACE, "say"))
    session.outgoing()
    for payload in (f"{token};{LONG};;{event};0;0;", f"{token};{NAMESPACE};{LONG};{event};1;0;no"):
        [violation] = session.receive(payload)
        assert isinstance(violation, ProtocolViolation)
        assert violation.requirement == "SEC-2"
    assert session.outgoing() == []
    [replied] = session.receive(f"{token};{NAMESPACE};;say;0;0;")
    assert isinstance(replied, Replied)


@both_roles
def test_a_change_without_a_token_has_no_long_names_either(role: Role) -> None:
    session = connected(role)
    [violation] = session.receive(request(Change.CONNECT, "", namespace=LONG))
    assert isinstance(violation, ProtocolViolation)
    assert session.outgoing() == []


@both_roles
def test_to_ask_with_a_name_that_is_too_long_is_a_misuse(role: Role) -> None:
    session = connected(role, ROOM)
    for call in (
        lambda: session.connect(LONG),
        lambda: session.join(NAMESPACE, LONG),
        lambda: session.ask(NAMESPACE, LONG),
    ):
        misused(session, call, "raise the limit")
    assert session.outgoing() == []


def test_a_server_that_decides_nothing_needs_an_id() -> None:
    with pytest.raises(MisuseError, match="has an ID"):
        Session(SERVER, tokens=sessions.Tokens(""))


def test_a_native_only_session_connects_nothing() -> None:
    session = Session(CLIENT, tokens=sessions.Tokens("$"), native=Native.ONLY)
    with pytest.raises(MisuseError, match="native-only"):
        session.connect("n")
    assert session.outgoing() == []


def test_the_protocols_own_events_are_no_broadcast() -> None:
    with pytest.raises(MisuseError, match="protocol's own"):
        prepare(Message(namespace="n", event="_OnNamespaceConnect"))


def test_a_native_event_that_asks_is_asked_of_the_application() -> None:
    session = opened(SERVER, native=Native.FALLBACK)
    session.receive("$1;n;;_OnNamespaceConnect;0;0;")
    [asked] = session.receive("$9;n;;_OnNativeMessage;0;0;x")
    assert isinstance(asked, Asked)


def test_let_in_at_the_wrong_time_says_what_to_do() -> None:
    session = Session(SERVER, tokens=sessions.Tokens(""), decides_handshake=True)
    with pytest.raises(MisuseError, match="wait for Opened"):
        session.accept()


@pytest.mark.parametrize(
    ("role", "token"),
    [
        (CLIENT, "1"),
        (SERVER, "$1"),
        (CLIENT, ""),
        (CLIENT, "$" + "x" * 256),
        (CLIENT, "$!x"),  # AR-23
        (SERVER, "1!2"),
    ],
)
def test_a_token_of_the_wrong_form_is_a_misuse(role: Role, token: str) -> None:
    session = opened(role)
    session._tokens = lambda: token
    with pytest.raises(MisuseError, match="form"):
        session.connect("n")
    assert session.pending_asks == frozenset()
    assert session.outgoing() == []
    assert sessions.state(session, "n") == "disconnected"


def test_the_ask_that_is_decided_is_kept() -> None:
    with pytest.raises(ValueError, match="repeats"):
        SessionLimits(repeats=0)


# ---- Between servers ----


@pytest.mark.parametrize(("wait", "answered"), [("$!1", "$1"), ("$1!", "$1!"), ("$!", "$!")])
def test_a_server_takes_the_marker_of_an_exchange_out_of_a_token(wait: str, answered: str) -> None:
    session = opened(SERVER)
    session.receive(f"{wait};{NAMESPACE};;_OnNamespaceConnect;0;0;")
    assert sent(session)[0].wait == answered  # SX-2


def test_an_event_ask_with_the_marker_is_answered_without_it() -> None:
    session = connected(SERVER)
    [asked] = session.receive(frame(wait="$!1", event="say", body="hi"))
    assert isinstance(asked, Asked)
    session.reply(asked, "yes")
    assert sent(session)[0].wait == "$1"  # SX-2


def test_a_client_gives_a_marked_token_back_as_it_came() -> None:
    session = opened(CLIENT)
    session.receive(f"1!7;{NAMESPACE};;_OnNamespaceConnect;0;0;")
    assert sent(session)[0].wait == "1!7"  # AR-18
