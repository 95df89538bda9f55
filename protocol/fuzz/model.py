"""The properties of a session that hold whatever happens to it.

The model follows the events alone, as an application does, and the state of the session must agree
with it. It reads private fields only to see how much the session holds.
"""

from __future__ import annotations

import copy
from typing import Any, Final

from fuzz.checks import REFUSED_PAYLOAD, check
from fuzz.codec import has_surrogate
from neffos_codec import Native, NativeMessage, decode
from neffos_protocol import (
    AskCancelled,
    Asked,
    AskExpired,
    AskWithdrawn,
    ChangeAsked,
    Changed,
    Closed,
    Event,
    Opened,
    ProtocolViolation,
    Replied,
    Role,
    Session,
    SessionLimits,
)
from neffos_protocol._asks import SETTLED_TOKENS
from neffos_protocol.session_state import SESSION_FIELDS, fork_session

DECIDING: Final = ("deciding-connect", "deciding-disconnect")


class Model:
    """What an application knows of its session."""

    def __init__(self) -> None:
        self.is_closed = False
        self.is_opened = False
        self.last_number = 0
        self.connected: set[str] = set()
        self.joined: set[tuple[str, str]] = set()
        self.questions: set[int] = set()
        self.event_asks: set[str] = set()
        self.change_asks: set[str] = set()
        self.own_names: set[str] = set()
        """The names that the application chose; only the peer's are limited in length."""

    @property
    def asks(self) -> set[str]:
        """The tokens of the pending asks of the session."""
        return self.event_asks | self.change_asks

    def ask(self, token: str, *, of_event: bool) -> None:
        """Remember an ask of the session."""
        check(token not in self.asks, "a token is new", token)
        (self.event_asks if of_event else self.change_asks).add(token)

    def take(self, events: list[Event]) -> None:
        """Follow the events of one call."""
        fatal = False
        for event in events:
            check(not self.is_closed, "nothing follows the end", event)
            check(
                not fatal or not isinstance(event, ProtocolViolation), "one fatal violation", event
            )
            self._take(event)
            fatal = fatal or (isinstance(event, ProtocolViolation) and event.fatal)
        check(self.is_closed or not fatal, "a fatal violation ends the session", events)

    def _take(self, event: Event) -> None:
        match event:
            case Opened():
                check(not self.is_opened, "a session opens once", event)
                self.is_opened = True
            case Closed():
                self.is_closed = True
            case Changed():
                self._change(event)
            case Asked(number=number) | ChangeAsked(number=number):
                check(number > self.last_number, "numbers rise", event)
                self.last_number = number
                self.questions.add(number)
            case AskWithdrawn(number):
                check(number in self.questions, "only a pending ask is withdrawn", event)
                self.questions.discard(number)
            case Replied(token=token):
                check(token in self.event_asks, "only a pending ask is replied to", event)
                self.event_asks.discard(token)
            case AskCancelled(token):
                check(token in self.asks, "only a pending ask is cancelled", event)
                self.event_asks.discard(token)
                self.change_asks.discard(token)
            case AskExpired(token):
                check(token in self.asks, "only a pending ask expires", event)
                self.event_asks.discard(token)

    def _change(self, event: Changed) -> None:
        namespace, is_entry = event.namespace, event.change.is_entry
        members: set[Any] = self.joined if event.room else self.connected
        member = (namespace, event.room) if event.room else namespace
        check((member in members) != is_entry, "only a member exits, and no member enters", event)
        if is_entry:
            check(not event.room or namespace in self.connected, "a room has its namespace", event)
            members.add(member)
            return
        members.discard(member)
        rooms = {room for room in self.joined if room[0] == namespace}
        check(bool(event.room) or not rooms, "its rooms were left first", event, rooms)

    def check(self, session: Session) -> None:
        """Check that the state of the session is that of its events."""
        check(session.is_closed == self.is_closed, "Closed reports the end")
        names = session.connected
        check(names == self.connected, "events report what is connected", names, self.connected)
        rooms = {(name, room) for name in session._spaces for room in session.joined(name)}
        check(rooms == self.joined, "events report what is joined", rooms, self.joined)
        asks = session.pending_asks
        check(
            self.event_asks <= asks,
            "an ask is pending until an event ends it",
            self.event_asks,
            asks,
        )
        check(asks <= self.asks, "an ask that an event ended is not pending", asks, self.asks)
        self.change_asks &= asks
        if self.is_closed:
            left = (session._spaces, session._pending, session._incoming, session._decisions)
            check(not any(left) and not session._held, "nothing is held after the end", *left)
            check(
                not self.questions, "an ask that cannot be answered was withdrawn", self.questions
            )


def check_bounds(session: Session, limits: SessionLimits, model: Model) -> None:
    """Check that a session holds no more than its limits permit."""
    check(len(session._held or ()) <= limits.held, "held messages are limited", session._held)
    if not session.is_closed:
        check(session._held_size <= limits.held_size, "and so is their size", session._held_size)
    spaces = session._spaces
    check(len(spaces) <= limits.namespaces, "namespaces are limited", spaces)
    rooms = [(name, room) for name, space in spaces.items() for room in space.rooms or ()]
    check(len(rooms) <= limits.rooms, "rooms are limited", rooms)
    check(len(rooms) == session._room_count, "rooms are counted", rooms, session._room_count)
    for name in {*spaces, *(room for _, room in rooms)} - model.own_names:
        check(len(name) <= limits.name, "a name that is remembered is limited", name)
    check(len(session._incoming or ()) <= limits.incoming_asks, "questions are limited")
    check(len(session._pending or ()) <= limits.outgoing_asks, "asks are limited")
    check(len(session._settled or ()) <= SETTLED_TOKENS, "past tokens are limited")
    decisions = session._decisions or {}
    undecided = {place for place in decisions if session._state(place) in DECIDING}
    check(len(undecided) == len(decisions), "each decision kept is pending", decisions)
    for decision in decisions.values():
        check(len(decision.asks) <= max(1, limits.repeats), "repeated asks are limited", decision)
        check(
            decision.event.number in model.questions, "a pending decision was asked for", decision
        )
        for ask in decision.asks:
            names = {ask.namespace, ask.room} - model.own_names
            check(max(map(len, names), default=0) <= limits.name, "so are their names", ask)
            check(len(ask.wait) <= limits.token and not ask.body, "and their tokens", ask)


def check_sent(
    sent: list[str | bytes], role: Role, native: Native, natives: list[str | bytes]
) -> None:
    """Check that the peer can decode all that was sent.

    Args:
        sent: the payloads, in order.
        role: of the session that sent them.
        native: its mode.
        natives: the native messages among them, in order.
    """
    if native is Native.ONLY:
        check(sent == natives, "a native-only peer gets native messages alone", sent, natives)
        return
    if sent:
        letters = ("M",) if role is Role.CLIENT else ("A", "H")
        first = sent[0]
        check(isinstance(first, str) and first[:1] in letters, "a handshake comes first", first)
    expected = list(reversed(natives))
    for payload in sent[1:]:
        check(not has_surrogate(payload), "text that goes is UTF-8 (FR-12)", payload)
        try:
            message = decode(payload, native=native)
        except REFUSED_PAYLOAD as error:
            check(False, "what a session sends can be read", payload, error)
        if isinstance(message, NativeMessage):
            check(message.payload == expected.pop(), "native messages are as given", message)
    check(not expected, "all native messages were sent", expected)


def state_of(session: Session) -> dict[str, object]:
    """Give all that a session holds, as a value to compare."""
    held = fork_session(session)
    values = {name: getattr(held, name) for name in SESSION_FIELDS if name != "_tokens"}
    return {name: copy.copy(value) or None for name, value in values.items()}
