"""Sessions for tests: made, brought somewhere, fed with frames, and looked into.

The peer of such a session is the test itself: it writes the frames that a peer would send.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from neffos_codec import Message, decode, encode
from neffos_protocol import Change, Event, MembershipKey, Role, Session, token_of
from neffos_protocol._asks import SETTLED_TOKENS
from neffos_protocol.exploration import Tokens
from neffos_protocol.names import REQUEST_EVENT
from neffos_protocol.state_machines import MEMBERSHIP

ID = "the-id"
NAMESPACE = "chat"
ROOM = "lobby"

Payload = str | bytes


def fresh(role: Role, **options: Any) -> Session:
    """Make a session with tokens that count; a server gets an id."""
    tokens = Tokens("$" if role is Role.CLIENT else "")
    options.setdefault("id", "" if role is Role.CLIENT else ID)
    return Session(role, tokens=tokens, **options)


def opened(role: Role, **options: Any) -> Session:
    """Make a session whose handshake is complete, with nothing left to send."""
    session = fresh(role, **options)
    if role is Role.CLIENT:
        session.start()
        session.receive(f"A{ID}")
    else:
        session.receive("M")
        if session._decides_handshake:
            session.accept()
    assert session.is_open
    session.outgoing()
    return session


def connected(role: Role, *rooms: str, namespace: str = NAMESPACE, **options: Any) -> Session:
    """Make an open session that connected a namespace and joined rooms of it."""
    session = opened(role, **options)
    grant(session, token_of(session.connect(namespace)))
    for room in rooms:
        grant(session, token_of(session.join(namespace, room)))
    session.outgoing()
    return session


def grant(session: Session, token: str) -> list[Event]:
    """Give the peer's "done" to an ask of the session."""
    return session.receive(f"{token};;;;;;")


def peer_token(session: Session, number: int = 1) -> str:
    """Name a token that the peer could have made."""
    return f"p{number}" if session.role is Role.CLIENT else f"$p{number}"


def frame(
    event: str = "say",
    *,
    wait: str = "",
    namespace: str = NAMESPACE,
    room: str = "",
    body: str | bytes = "",
    is_error: bool = False,
    is_no_op: bool = False,
) -> Payload:
    """Write a frame."""
    return encode(Message(wait, namespace, room, event, is_error, is_no_op, body))


def request(
    change: Change, wait: str, namespace: str = NAMESPACE, room: str = "", **fields: Any
) -> Payload:
    """Write the peer's ask for a change of membership."""
    return frame(REQUEST_EVENT[change], wait=wait, namespace=namespace, room=room, **fields)


def sent(session: Session) -> list[Message]:
    """Give the frames that the session wants to send."""
    return [decode(payload) for payload in session.outgoing()]


def state(session: Session, namespace: str = NAMESPACE, room: str | None = None) -> str:
    """Name the state of a namespace, or of a room in it."""
    return session._state(MembershipKey(namespace, room))


def snapshot(session: Session) -> dict[str, str]:
    """Write down all that a session holds, to be compared with another time.

    Whether a container that is empty has been made yet is not a difference.
    """
    slots = [slot for each in Session.__mro__ for slot in getattr(each, "__slots__", ())]
    values = {slot: getattr(session, slot) for slot in slots}
    values["_tokens"] = session._tokens.number  # type: ignore[attr-defined]  # see fresh
    return {slot: repr(value or None) for slot, value in values.items()}


def kinds(events: Sequence[Event]) -> list[str]:
    """Name the kinds of some events, in order."""
    return [type(event).__name__ for event in events]


def check(session: Session) -> None:
    """Assert that what a session holds fits together and stays within its limits (SEC-1)."""
    limits = session._limits
    spaces, asks = session._spaces, session._pending or {}
    questions, decisions = session._incoming or {}, session._decisions or {}
    places = {
        MembershipKey(name, room): state
        for name, space in spaces.items()
        for room, state in (space.rooms or {}).items()
    }
    assert session._room_count == len(places)
    assert all(space.state in MEMBERSHIP.live for space in spaces.values() if space.rooms)
    places |= {MembershipKey(name): space.state for name, space in spaces.items()}
    assert "disconnected" not in places.values()
    undecided = {place for place, state in places.items() if state.startswith("deciding")}
    assert decisions.keys() == undecided
    assert {namespace for namespace, _ in questions.values()} <= session.connected
    assert all(ask.key.namespace in session.connected for ask in asks.values() if ask.is_inside)

    assert len(spaces) <= limits.namespaces
    assert session._room_count <= limits.rooms
    assert len(questions) <= limits.incoming_asks
    assert len(asks) <= limits.outgoing_asks
    assert len(session._settled or ()) <= SETTLED_TOKENS
    assert all(len(decision.asks) <= max(limits.repeats, 1) for decision in decisions.values())
    held = session._held or []
    assert len(held) <= limits.held
    assert sum(map(len, held)) <= limits.held_size
    if session.is_closed:
        assert not any((spaces, asks, questions, decisions, held))


def inside(ask: Any) -> bool:
    """Whether an ask ends with its namespace: an event's, and a room's."""
    return ask.change is None or ask.place.is_room
