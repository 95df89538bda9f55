"""What the model of a peer says: what an action sends, and what the peer must send or report.

Plain values, which know neither role nor application.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from neffos_codec import Message
from neffos_protocol.events import Change

Payload = str | bytes

Scope = tuple[str, str | None]
"""A namespace, with ``None``; or a room of one: a ``MembershipKey``, or a tuple like it."""

Fields = dict[str, Any]
"""The fields of a driver's operation, or of a line that reports an observation."""

REPORTED_AS: Final[Mapping[Change, str]] = {
    Change.CONNECT: "connected",
    Change.DISCONNECT: "disconnected",
    Change.JOIN: "joined",
    Change.LEAVE: "left",
}
"""How a driver reports each change of membership."""


def is_room_of(scope: Scope, namespace: str) -> bool:
    """Say whether a scope is a room of a namespace."""
    return scope[0] == namespace and scope[1] is not None


@dataclass(frozen=True, slots=True)
class ConnectionEnd:
    """The suite ends a connection.

    Attributes:
        code: of the close frame; ``None`` to end TCP without one.
    """

    code: int | None


@dataclass(frozen=True, slots=True)
class DriverCommand:
    """An operation that the client's driver is to perform, with its fields."""

    op: str
    fields: Fields


@dataclass(frozen=True, slots=True)
class Output:
    """One thing that the suite does on a connection.

    Attributes:
        connection: its number.
        content: what it does.
        is_held: send it in one piece with the next message.
        is_fragmented: send it in fragments.
    """

    connection: int
    content: Payload | ConnectionEnd | DriverCommand
    is_held: bool = False
    is_fragmented: bool = False


@dataclass(slots=True)
class ExpectedMessage:
    """A message that the peer must or may send.

    Attributes:
        number: the action that causes it.
        connection: where it arrives.
        answers: the permitted forms.
        requirement: the requirement that prescribes it.
        must: whether it is mandatory.
        is_ask: it is an ask of the peer, which chooses the token.
        order: messages with the same non-empty value arrive in the order of expectation.
        is_deferred: an ask of the peer was pending, so that it may come after the answer.
        scope: the membership that is undecided until it arrives, if there is one.
        change: of that membership.
        is_any_text: the body may be any text.
    """

    number: int
    connection: int
    answers: tuple[Message | Payload, ...]
    requirement: str
    must: bool = True
    is_ask: bool = False
    order: str = ""
    is_deferred: bool = False
    scope: Scope | None = None
    change: Change | None = None
    is_any_text: bool = False

    def ends_with(self, namespace: str) -> bool:
        """Whether it need not arrive once a namespace is disconnected."""
        if self.scope is not None:
            return is_room_of(self.scope, namespace)
        answer = self.answers[0]
        return isinstance(answer, Message) and answer.namespace == namespace


@dataclass(slots=True)
class ExpectedObservation:
    """What a client must or may report to its application, as its driver passes it on.

    Attributes:
        number: the action that causes it.
        connection: where.
        fields: of the driver's line, without the connection.
        requirement: the requirement that prescribes it.
        must: whether it is mandatory.
        is_deferred: an ask of the client's handler was pending, as for messages.
    """

    number: int
    connection: int
    fields: Fields
    requirement: str
    must: bool = True
    is_deferred: bool = False

    @property
    def is_event(self) -> bool:
        """Whether it reports an event. Events are reported in order (EV-1)."""
        return bool(self.fields["saw"] == "event")


@dataclass(frozen=True, slots=True)
class OperationOutcome:
    """A permitted outcome of a driver's operation.

    Attributes:
        is_done: whether it succeeds.
        given: the result; ``None`` permits any.
        text: what the error text contains.
    """

    is_done: bool
    given: Payload | None = None
    text: str = ""

    def __str__(self) -> str:
        if self.is_done:
            return "success" if self.given is None else f"success with {self.given!r}"
        return f"failure with {self.text!r}" if self.text else "failure"


SUCCESS: Final = OperationOutcome(True)
FAILURE: Final = OperationOutcome(False)
EITHER: Final = (SUCCESS, FAILURE)


@dataclass(slots=True)
class DriverLog:
    """An operation that the client's driver was given, and what may come of it.

    Attributes:
        connection: where.
        op: the operation's name.
        scope: the namespace or room that it is for.
        outcomes: the permitted outcomes; none while it must stay pending.
        requirement: the requirement that prescribes them.
        must: whether it must end now.
        is_over: it has ended.
    """

    connection: int
    op: str
    scope: Scope | None = None
    outcomes: tuple[OperationOutcome, ...] = ()
    requirement: str = "AR-11"
    must: bool = False
    is_over: bool = False

    def settle(self, requirement: str, *outcomes: OperationOutcome) -> None:
        """Prescribe its outcome, unless an earlier action has."""
        if not self.is_over and not self.must:
            self.outcomes, self.requirement, self.must = outcomes, requirement, True

    def if_lost(self) -> tuple[OperationOutcome, ...]:
        """Give the permitted outcomes when its namespace or connection ends.

        What was to end has ended with it, so that a client may report success. So it may where an
        ask of the server has already made the change.
        """
        is_an_end = self.op in ("disconnect", "leave", "leave-all", "close")
        return EITHER if is_an_end or self.outcomes == EITHER else (FAILURE,)
