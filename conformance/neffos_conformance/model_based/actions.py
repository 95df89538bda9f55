"""What the suite does to a peer under test, and what the peer must send or report.

Plain values, which know neither role nor application. The model says what follows from an action
for a server or a client.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum, unique
from typing import Final

from neffos_codec import Message
from neffos_conformance.runner.driver_protocol import Values
from neffos_conformance.wire.connection import ConnectionClosed
from neffos_protocol.events import Change

Payload = str | bytes

Scope = tuple[str, str | None]
"""A namespace, with ``None``; or a room of one: a ``MembershipKey``, or a tuple like it."""


@unique
class ActionKind(StrEnum):
    """What an action does."""

    OPEN = "open"
    """Opens a connection, in the variant that ``how`` names."""
    COMMAND = "command"
    """Has the driver of a client perform the operation ``how``."""
    SEND = "send"
    """Sends a frame: a system ask or an event."""
    ANSWER = "answer"
    """Answers the peer's ask that the action ``of`` caused, in the variant ``how``."""
    NON_FRAME = "non-frame"
    """Sends a payload that is not a frame, or a native message."""
    CLOSE = "close"
    """Closes the connection with a close frame."""
    RESET = "reset"
    """Ends TCP without a close frame."""


@dataclass(frozen=True, slots=True)
class SuiteAction:
    """One action of a test sequence.

    Attributes:
        number: its position in the generated sequence. Tokens and bodies contain it, so that a
            shrunk sequence sends the same messages.
        connection: the connection's number, from 1.
        kind: what it does.
        how: the variant, where a kind has several.
        of: the action whose ask is answered, or the connection that a broadcast is for.
        path: the endpoint, relative to the path of the first.
        namespace: of a frame or an operation, as ``room`` and ``event``.
        room: see ``namespace``.
        event: see ``namespace``.
        body: of a frame, or a whole payload.
        has_token: whether a frame asks for a reply.
        mark: what its token contains besides the number; ``{}`` is the place of that.
        is_error: the frame's flag.
        is_no_op: the frame's flag.
        is_followed: the next action follows without a barrier in between.
    """

    number: int
    connection: int
    kind: ActionKind
    how: str = ""
    of: int = 0
    path: str = ""
    namespace: str = ""
    room: str = ""
    event: str = ""
    body: str | bytes = ""
    has_token: bool = True
    mark: str = ""
    is_error: bool = False
    is_no_op: bool = False
    is_followed: bool = False


ActionSequence = tuple[SuiteAction, ...]
"""Actions in order. The runner skips an action that is impossible at its position, so that every
subsequence is a sequence too."""


# -------------------------------------------------------------------- what the peer must do


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


Content = Payload | ConnectionClosed | Values
"""A message, how a connection ends, or an operation of the client with its fields."""


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
    content: Content
    is_held: bool = False
    is_fragmented: bool = False


@dataclass(slots=True, eq=False)
class Expectation:
    """What the peer must or may do: send a message, or report something to its application.

    Attributes:
        number: the action that causes it.
        connection: where.
        answers: the permitted forms of a message.
        requirement: the requirement that prescribes it.
        must: whether it is mandatory.
        is_ask: it is an ask of the peer, which chooses the token.
        order: messages with the same non-empty value arrive in the order of expectation.
        is_deferred: an ask of the peer was pending, so that it may come after the answer.
        fields: of a report, as the line of a client's driver has them, without the connection.
        undecided: the change of a membership that is undecided until a message arrives.
        is_any_text: the body of a message may be any text.
        overtaken: the requirement that forbids that it comes now, why, and the action whose message
            has come instead; empty where none has.
    """

    number: int
    connection: int
    answers: tuple[Message | Payload, ...]
    requirement: str
    must: bool = True
    is_ask: bool = False
    order: str = ""
    is_deferred: bool = False
    fields: Values = field(default_factory=dict)
    undecided: tuple[Change, Scope] | None = None
    is_any_text: bool = False
    overtaken: tuple[str, str, int] | tuple[()] = ()

    @property
    def is_report(self) -> bool:
        """Whether it is a report."""
        return bool(self.fields)

    @property
    def is_event(self) -> bool:
        """Whether it reports an event."""
        return self.fields.get("saw") == "event"

    @property
    def is_message(self) -> bool:
        """Whether it reports an event or a native message. Each are reported in order (EV-1)."""
        return self.fields.get("saw") in ("event", "native")

    @property
    def scope(self) -> Scope | None:
        """Where it belongs; ``None`` for what belongs to no namespace."""
        if self.is_report:
            return self.fields.get("namespace", ""), self.fields.get("room")
        answer = self.answers[0]
        return (answer.namespace, answer.room) if isinstance(answer, Message) else None

    def ends_with(self, namespace: str) -> bool:
        """Whether it need not come once a namespace is disconnected."""
        if self.undecided is not None:
            return is_room_of(self.undecided[1], namespace)
        return self.scope is not None and self.scope[0] == namespace


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

    def permits(self, actual: OperationOutcome) -> bool:
        """Whether an actual outcome is this one."""
        if self.is_done and actual.is_done:
            return self.given in (None, actual.given)
        return self.is_done is actual.is_done and self.text in actual.text

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
        outcomes: the permitted outcomes; none while it must stay pending.
        requirement: the requirement that prescribes them.
        must: whether it must end now.
        is_over: it has ended.
    """

    connection: int
    op: str
    outcomes: tuple[OperationOutcome, ...] = ()
    requirement: str = "AR-11"
    must: bool = False
    is_over: bool = False

    def __str__(self) -> str:
        return f"{' or '.join(str(each) for each in self.outcomes)} of {self.op}"

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
