"""The result of a case: its verdict, how connections closed, and the log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from neffos_conformance.cases.definition import Case
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.wire.secrets import kept
from neffos_conformance.wire.transcript import ConnectionOpened, Content, Entry

BROKEN: Final = (Verdict.FAIL, Verdict.NON_STRICT, Verdict.INFORMATIONAL)
"""The verdicts that say that the system under test differs from a requirement."""

NO_REPLY: Final = "no reply to a barrier"
"""What a peer did that does not answer the ask which proves that nothing else comes."""


@dataclass(frozen=True, slots=True)
class Remark:
    """What happened beside the messages: HTTP, an operation, an observation."""

    text: str

    def __str__(self) -> str:
        return self.text


LogContent = Content | Remark
"""What the log holds: messages, openings, closings and remarks."""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """One thing that a peer or the suite sent or did.

    Attributes:
        time: seconds since the case began.
        connection: its number in the case.
        from_client: whether the client did it.
        content: a message, a closing, an opening or a remark.
        step: the number of the case's step that was being played.
    """

    time: float
    connection: int
    from_client: bool
    content: LogContent
    step: int


@dataclass(frozen=True, slots=True)
class Closing:
    """How the system under test closed connections; this has a verdict of its own.

    Attributes:
        verdict: by the requirement that it violates.
        explanation: what was wrong; empty for a pass.
        requirement: the one that it violates; empty for a pass.
    """

    verdict: Verdict = Verdict.PASS
    explanation: str = ""
    requirement: str = ""


@dataclass(slots=True)
class Result:
    """A case with its verdict.

    Attributes:
        case: the case.
        verdict: the verdict.
        explanation: what was wrong, in a sentence that is the same at every run; empty for a
            pass.
        step: the number of the step that failed; 0 if none did.
        expected: that step.
        actual: what it observed instead; empty if nothing.
        closing: how the connections closed.
        log: everything that was sent, received and done.
        seconds: how long it took.
        mark: the value of its placeholder ``case``; empty if it was not played.
        answers: the whole answers of a codec, in order.
    """

    case: Case
    verdict: Verdict = Verdict.PASS
    explanation: str = ""
    step: int = 0
    expected: str = ""
    actual: str = ""
    closing: Closing = field(default_factory=Closing)
    log: list[LogEntry] = field(default_factory=list)
    seconds: float = 0.0
    mark: str = ""
    answers: list[dict[str, Any]] = field(default_factory=list)

    @property
    def is_broken(self) -> bool:
        """Whether the system under test differs from a requirement, of whatever level."""
        return self.verdict in BROKEN

    @property
    def is_grave(self) -> bool:
        """Whether it makes a run fail."""
        return self.verdict in (Verdict.FAIL, Verdict.ERROR)

    def entries(self) -> list[Entry]:
        """Give the log as entries of a transcript, without headers that may be secrets."""
        return [
            Entry(0, each.time, each.connection, each.from_client, _kept(each.content))
            for each in self.log
            if not isinstance(each.content, Remark)
        ]


def _kept(content: Content) -> Content:
    if not isinstance(content, ConnectionOpened):
        return content
    return ConnectionOpened(content.path, kept(content.headers.items()))


def in_order(results: Sequence[Result], cases: Sequence[Case]) -> list[Result]:
    """Give the results in the order of the cases."""
    order = {case.id: number for number, case in enumerate(cases)}
    return sorted(results, key=lambda result: order[result.case.id])
