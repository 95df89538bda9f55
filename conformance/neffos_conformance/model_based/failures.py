"""What a test sequence showed: the failure of a peer, and which failures a run knows already."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from neffos_conformance.cases.script import OBSERVATIONS, Step, read_script
from neffos_conformance.model_based.actions import Expectation
from neffos_conformance.model_based.tables import TransitionKey
from neffos_conformance.runner.result import LogEntry

MAX_RECEIVED: Final = 10_000
"""Messages of a peer in one test sequence. A correct one sends some dozens, and two thousand in a
walk; more is a flood."""

STALL: Final = 2.0
"""A barrier is answered within a case's time divided by this. A peer that stops reading until a
time limit of its own, of 5 s or more, is seen so."""

KNOWN_STALL: Final = 8.0
"""Likewise for a peer that is known to stall, where waiting shows nothing new."""

OVERDUE: Final = 2.5
"""Seconds after which a peer may have given up an ask of its own. It may after 5 s by AR-15; the
suite answers within hundredths of a second, unless the network or this machine is slow."""

MISSING: Final = "a reply is missing"
NO_CLOSE_FRAME: Final = "no close frame"
SUBPROTOCOL: Final = "a subprotocol is offered"
PENDING: Final = "an operation is still pending"
NOT_REPORTED: Final = "the application does not see:"
"""Starts the kinds of failures of a client that does not report something."""
STALLS: Final = "the barrier is not answered"
UNREACHABLE: Final = "the peer is unreachable"
CRASHED: Final = "the client ends with its driver"

HARMLESS: Final = frozenset(
    {
        MISSING,
        NO_CLOSE_FRAME,
        SUBPROTOCOL,
        PENDING,
        *(f"{NOT_REPORTED} {each}" for each in OBSERVATIONS),
    }
)
"""The kinds of failures after which peer and model still agree on all memberships."""


def missing(expected: Expectation) -> str:
    """Give the kind of failure of a peer that does not send or report something."""
    return f"{NOT_REPORTED} {expected.fields['saw']}" if expected.is_report else MISSING


@dataclass(frozen=True, slots=True)
class Failure:
    """A peer violated a requirement.

    Attributes:
        requirement: its ID.
        kind: how, in a few words. Failures with one requirement and one kind are the same.
        explanation: a sentence.
        number: the action that shows it.
        signature: what that action was like.
    """

    requirement: str
    kind: str
    explanation: str
    number: int = 0
    signature: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """What identifies it."""
        return self.requirement, self.kind


SILENCES: Final = frozenset({"EV-4", "NS-2", "NS-9", "NS-10", "NS-12", "RM-9"})
"""The requirements by which one message has no effect. A peer that breaks one of them is not sent
such messages: nothing can be said of what follows."""


REFUSALS: Final = frozenset({"NS-17", "TR-2", "TR-16"})
"""The requirements whose messages a peer that breaks them never sends, or always."""


@dataclass(slots=True)
class KnownFailures:
    """The failures that a run has found and does not report again.

    Attributes:
        keys: all of them.
        signatures: of actions that lead to a failure after which the model is wrong. The runner
            skips actions like these.
        requirements: those that the peer is known to violate, from elsewhere.
        holds_back: whether messages, and with them barriers, wait while a handler waits.
    """

    keys: set[tuple[str, str]] = field(default_factory=set)
    signatures: set[str] = field(default_factory=set)
    requirements: frozenset[str] = frozenset()
    holds_back: bool = False

    def add(self, failure: Failure) -> None:
        """Remember a failure."""
        self.keys.add(failure.key)
        if failure.kind not in HARMLESS and failure.signature:
            self.signatures.add(failure.signature)

    @property
    def stalls(self) -> bool:
        """Whether the peer is known to stall."""
        return any(kind == STALLS for _, kind in self.keys)

    def permit(self, requirement: str, kind: str) -> bool:
        """Whether a run continues after a known failure of this kind."""
        is_known = requirement in self.requirements & REFUSALS
        return kind in HARMLESS and (is_known or (requirement, kind) in self.keys)

    @property
    def leads_astray(self) -> bool:
        """Whether there are actions that are skipped."""
        return bool(self.signatures or self.requirements & SILENCES)

    def skips(self, signature: str, forbidden_by: str) -> bool:
        """Whether an action is skipped, by what it is like and what forbids an effect of it."""
        is_silent = forbidden_by in SILENCES and forbidden_by in self.requirements
        return is_silent or signature in self.signatures


@dataclass(slots=True)
class SequenceResult:
    """What running one test sequence showed.

    Attributes:
        failure: the failure that ended it, if one did.
        log: every message and event.
        messages: how many messages the suite sent.
        performed: the numbers of the actions that were performed.
        lines: the sequence in the language of cases, with what a correct peer does, if it failed.
        reached: the transitions of the tables that were taken.
        trouble: why it broke off, where that is not a failure of the peer.
    """

    failure: Failure | None = None
    log: list[LogEntry] = field(default_factory=list, repr=False)
    messages: int = 0
    performed: set[int] = field(default_factory=set, repr=False)
    lines: list[str] = field(default_factory=list, repr=False)
    reached: set[TransitionKey] = field(default_factory=set, repr=False)
    trouble: str = ""

    def steps(self, role: str) -> tuple[Step, ...]:
        """Give the lines as steps of a case for ``role``, which are all its own: none is setup."""
        return read_script("\n".join(["---", *self.lines]), role) if self.lines else ()


class FailureFound(Exception):  # noqa: N818  # it ends a sequence, and is not an error
    """A failure that ends a test sequence.

    Attributes:
        failure: the failure.
    """

    def __init__(self, failure: Failure) -> None:
        self.failure = failure
