"""The state of a session, for what explores sessions: to copy, to compare and to name it.

No other module of this package reads what a session keeps to itself.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Final

from neffos_codec import Message
from neffos_protocol._asks import PendingAsk
from neffos_protocol._memberships import _GUARDS, Decision, NamespaceState
from neffos_protocol.events import MembershipKey
from neffos_protocol.session import Session
from neffos_protocol.state_machines import Guard, HandshakeState, MembershipState

SESSION_FIELDS: Final = tuple(
    dict.fromkeys(
        name
        for each in Session.__mro__
        for name in vars(each).get("__mypyc_attrs__", vars(each).get("__slots__", ()))
    )
)
"""What a session holds, compiled or not. ``copy.copy`` finds this out again for each, and takes
half of the time."""


def fork_session(session: Session) -> Session:
    """Copy a session with all that changes in it."""
    # A compiled session is made by its constructor, and its role stays.
    twin = type(session)(session.role, tokens=session._tokens, decides_handshake=True)
    for name in SESSION_FIELDS:
        if name != "role":
            setattr(twin, name, getattr(session, name))
    twin._tokens = copy.copy(session._tokens)
    twin._spaces = {
        name: NamespaceState(space.state, dict(space.rooms) if space.rooms else None)
        for name, space in session._spaces.items()
    }
    twin._pending = {
        token: PendingAsk(ask.change, ask.key, ask.deadline, ask.is_superseded)
        for token, ask in (session._pending or {}).items()
    }
    twin._settled = dict(session._settled) if session._settled else None
    twin._incoming = dict(session._incoming) if session._incoming else None
    twin._decisions = {
        each: Decision(decision.event, list(decision.asks))
        for each, decision in (session._decisions or {}).items()
    }
    return twin


def membership_key(
    session: Session, renamed: Callable[[str], int], message: Callable[[Message], object]
) -> tuple[object, ...]:
    """Identify what is connected and joined, asked and undecided, whatever the tokens are.

    Args:
        session: the session.
        renamed: gives the number of a token.
        message: identifies a message.
    """
    spaces = tuple(
        (name, space.state, tuple(sorted((space.rooms or {}).items())))
        for name, space in session._spaces.items()
    )
    asks = tuple(
        (renamed(token), ask.change, ask.key, ask.is_superseded)
        for token, ask in (session._pending or {}).items()
    )
    undecided = tuple(
        (place, tuple(map(message, decision.asks)))
        for place, decision in sorted((session._decisions or {}).items(), key=repr)
    )
    return spaces, asks, undecided


def handshake_state(session: Session) -> HandshakeState:
    """Give the state of the handshake."""
    return session._phase


def membership_state(session: Session, key: MembershipKey) -> MembershipState:
    """Give the state of a namespace or a room."""
    return session._state(key)


def holds(session: Session, guard: Guard, key: MembershipKey) -> bool:
    """Whether a guard of the table of memberships holds."""
    return _GUARDS[guard](session, key)


def superseded(session: Session) -> tuple[bool, ...]:
    """Give, for each pending ask of this peer, whether a later one took its place."""
    return tuple(ask.is_superseded for ask in (session._pending or {}).values())


def incoming_asks(session: Session) -> Mapping[int, tuple[str, str]]:
    """Give the pending asks of the other peer, by their numbers."""
    return session._incoming or {}


def last_number(session: Session) -> int:
    """Give the number of the last ask of the other peer that the application was told of."""
    return session._number


def has_held(session: Session) -> bool:
    """Whether messages wait for the end of the handshake."""
    return bool(session._held)
