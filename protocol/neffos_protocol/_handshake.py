"""The handshake of a session and its end: what the table ``handshake`` says.

The first byte marks a handshake message (HS-7), until the handshake is complete (HS-8). What only
the own role sends is not answered (HS-9). A client takes an ``A`` for the acceptance, with all that
follows as the ID (HS-10, HS-19), and an ``H`` for the end of the attempt (HS-16). Nothing else is
sent before the answer (HS-11, HS-12). A server's refusal has a text (HS-15). Messages that come
early are kept until the acceptance, asks included (HS-14, HS-18).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Container
from typing import Final

from neffos_codec import (
    DecodeError,
    HandshakeAccept,
    HandshakeRefuse,
    HandshakeRequest,
    Native,
    Payload,
    Reason,
    decode_handshake,
    encode_handshake,
)
from neffos_protocol._core import INSTEAD, MOST_BYTES, MisuseError, size_of
from neffos_protocol._memberships import MembershipTracking
from neffos_protocol._records import MutableRecord
from neffos_protocol.events import (
    Cause,
    Change,
    Closed,
    Event,
    HandshakeAsked,
    HandshakeRefused,
    MembershipKey,
    Opened,
    ProtocolViolation,
    Role,
)
from neffos_protocol.limits import SessionLimits
from neffos_protocol.state_machines import HANDSHAKE, Action, HandshakeState, Input, Transition

_OPEN: Final = HandshakeState.OPEN
_CLOSED: Final = HandshakeState.CLOSED
_CLOSED_HERE: Final = frozenset({Input.CLOSE, Input.REFUSE})
"""The inputs by which this peer ends a session."""


class HandshakeStep(MutableRecord):
    """A transition of the handshake, and what it is made with.

    Attributes:
        row: the transition.
        events: takes the events for the application.
        text: the ID of an acceptance, or the text of a refusal.
        payload: a message that does not belong to the handshake.
    """

    row: Transition[HandshakeState]
    events: list[Event]
    text: str
    payload: Payload

    @property
    def cause(self) -> Cause:
        """Why the session ends."""
        if Action.VIOLATION in self.row.actions:
            return Cause.VIOLATION
        return Cause.LOCAL if self.row.input in _CLOSED_HERE else Cause.PEER


class HandshakeTracking(MembershipTracking):
    """The handshake, what the peer sends before it is complete, and the end."""

    __slots__ = ("_decides_handshake", "_held", "_held_size")

    def __init__(
        self,
        decides_handshake: bool,
        decides: frozenset[Change],
        namespaces: Container[str] | None,
        role: Role,
        id_: str,
        tokens: Callable[[], str],
        native: Native,
        limits: SessionLimits,
    ) -> None:
        super().__init__(decides, namespaces, role, id_, tokens, native, limits)
        self._decides_handshake = decides_handshake
        self._held: list[str | bytes] | None = None
        self._held_size = 0

    @abstractmethod
    def _read(self, payload: Payload, events: list[Event]) -> None:
        """Take a message of an open session."""

    def _before_open(self, payload: Payload, events: list[Event]) -> None:
        """Take a message of a session that is not open."""
        if self._is_too_large(payload, events):
            return
        try:
            first = decode_handshake(payload)
        except DecodeError as error:
            if error.reason is not Reason.EMPTY:  # FR-14
                self._handshake(Input.OTHER, events, payload=payload)
            return
        match first:
            case HandshakeRequest():
                self._handshake(Input.REQUEST, events)
            case HandshakeAccept(id=id_):
                self._handshake(Input.ACCEPTANCE, events, text=id_)
            case _:
                self._handshake(Input.REFUSAL, events, text=first.text)

    def _command(self, input_: Input, *, text: str = "") -> list[Event]:
        """Follow the table for a command of the application."""
        if HANDSHAKE.row(self._phase, input_, lambda _: True) is None:
            raise MisuseError(f"{input_} is not for now", INSTEAD[self._phase])
        # Raises before anything changes.
        if input_ is Input.ACCEPT:
            if not (text or self.id):
                raise MisuseError("a connection has an ID (HS-6)", "give accept an ID")
            encode_handshake(HandshakeAccept(text or self.id))
        elif input_ is Input.REFUSE:
            encode_handshake(HandshakeRefuse(text))
        events: list[Event] = []
        self._handshake(input_, events, text=text)
        return events

    def _handshake(
        self, input_: Input, events: list[Event], *, payload: Payload = "", text: str = ""
    ) -> None:
        """Follow the table."""
        row = HANDSHAKE.follow(self._phase, input_, lambda _: self._decides_handshake)
        self._phase = row.next
        if Action.OPENED in row.actions:
            self.id = text or self.id
        step = HandshakeStep(row, events, text, payload)
        for action in row.actions:
            _ACTIONS[action](self, step)

    def _end_at_limit(self, requirement: str, explanation: str, events: list[Event]) -> None:
        if self._phase is not _CLOSED:
            events.append(ProtocolViolation(requirement, explanation, fatal=True))
            self._phase = _CLOSED
            self._end(Cause.VIOLATION, events)

    def _is_too_large(self, payload: Payload, events: list[Event]) -> bool:
        """Whether a payload is over the limit, which ends the session (SEC-2)."""
        limit = self._limits.payload
        if len(payload) * MOST_BYTES <= limit or size_of(payload) <= limit:
            return False
        self._end_at_limit("SEC-2", "the payload is too large", events)
        return True

    def _hold_back(self, payload: Payload, events: list[Event]) -> None:
        """Keep a message for later (SEC-3)."""
        if self._held is None:
            self._held = []
        kept = payload if isinstance(payload, (str, bytes)) else bytes(payload)
        self._held_size += size_of(kept)
        if len(self._held) >= self._limits.held or self._held_size > self._limits.held_size:
            explanation = "too much was sent before the handshake"
            self._end_at_limit("SEC-3", explanation, events)
        else:
            self._held.append(kept)

    def _read_held(self, events: list[Event]) -> None:
        """Take what was held, up to a message that the application has to decide on (EV-1).

        The rest waits for the decision: it may be about what the decision allows.
        """
        held = self._held
        while held and not self._decisions and self._phase is _OPEN:
            self._read(held.pop(0), events)
        if not held:
            self._held = None
            self._held_size = 0

    def _end(self, cause: Cause, events: list[Event]) -> None:
        for namespace in list(self._spaces):
            self._follow(MembershipKey(namespace), Input.CLOSED, events)
        self._cancel_asks(events)
        self._held = None
        events.append(Closed(cause))

    # The actions of the table, by name in _ACTIONS.

    def _send_request(self, _: HandshakeStep) -> None:
        self._send(encode_handshake(HandshakeRequest()))

    def _send_accept(self, _: HandshakeStep) -> None:
        self._send(encode_handshake(HandshakeAccept(self.id)))

    def _send_refuse(self, step: HandshakeStep) -> None:
        self._send(encode_handshake(HandshakeRefuse(step.text)))

    def _ask_to_decide(self, step: HandshakeStep) -> None:
        step.events.append(HandshakeAsked())

    def _opened(self, step: HandshakeStep) -> None:
        step.events.append(Opened(self.id))

    def _was_refused(self, step: HandshakeStep) -> None:
        step.events.append(HandshakeRefused(step.text))

    def _hold(self, step: HandshakeStep) -> None:
        self._hold_back(step.payload, step.events)

    def _release(self, step: HandshakeStep) -> None:
        self._read_held(step.events)

    def _violated(self, step: HandshakeStep) -> None:
        row = step.row
        explanation = f"a handshake message ({row.input}) came while '{row.state}'"
        is_fatal = row.next is _CLOSED
        step.events.append(ProtocolViolation(row.requirements[""][0], explanation, is_fatal))

    def _close(self, step: HandshakeStep) -> None:
        self._end(step.cause, step.events)


_ACTIONS: Final[dict[Action, Callable[[HandshakeTracking, HandshakeStep], None]]] = {
    Action.SEND_REQUEST: HandshakeTracking._send_request,
    Action.SEND_ACCEPT: HandshakeTracking._send_accept,
    Action.SEND_REFUSE: HandshakeTracking._send_refuse,
    Action.ASK_APPLICATION: HandshakeTracking._ask_to_decide,
    Action.OPENED: HandshakeTracking._opened,
    Action.REFUSED: HandshakeTracking._was_refused,
    Action.HOLD: HandshakeTracking._hold,
    Action.RELEASE: HandshakeTracking._release,
    Action.VIOLATION: HandshakeTracking._violated,
    Action.CLOSE: HandshakeTracking._close,
}
"""Without ``read``: it is all that an open session does with a payload, and has no need of the
table to know."""
