"""The result of a case: its verdict, what was found beside that, and the log."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from neffos_conformance.cases.definition import Case
from neffos_conformance.cases.verdict import Verdict, verdict_on
from neffos_conformance.wire.secrets import kept
from neffos_conformance.wire.transcript import ConnectionOpened, Content, Entry

BROKEN: Final = (Verdict.FAIL, Verdict.NON_STRICT, Verdict.INFORMATIONAL)
"""The verdicts that say that the system under test differs from a requirement."""

GRAVE: Final = (Verdict.FAIL, Verdict.ERROR)
"""The verdicts that make a run fail."""

TOLERATED: Final = (Verdict.PASS, Verdict.NON_STRICT, Verdict.INFORMATIONAL)
"""The verdicts of a case that do not say what else is wrong: its findings do."""

CLOSING: Final = frozenset({"TR-12", "TR-13", "TR-16"})
"""The requirements on how a connection closes. A case that covers one tests that."""

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
class Finding:
    """What the system under test did beside what the script of a case looks at.

    A violation has a verdict of its own. Without a requirement it is a remark: the case does not
    expect it, and nothing forbids it.

    Attributes:
        requirement: the one that it violates; empty for a remark.
        explanation: what it did, in a sentence that is the same at every run.
        connection: the number of the connection.
        number: the number of the message in its connection, from 1; 0 if it was no message.
    """

    requirement: str
    explanation: str
    connection: int = 0
    number: int = 0

    @property
    def verdict(self) -> Verdict:
        """The verdict by the level of the requirement; a remark is a pass."""
        return verdict_on([self.requirement]) if self.requirement else Verdict.PASS

    @property
    def is_closing(self) -> bool:
        """Whether it is about how a connection closed."""
        return self.requirement in CLOSING


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
        findings: what was found beside that.
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
    findings: Sequence[Finding] = ()
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
        """Whether its verdict makes a run fail."""
        return self.verdict in GRAVE

    @property
    def violations(self) -> list[Finding]:
        """The findings that a requirement forbids, but for those on closings.

        The cases on closings say whether a peer conforms there.
        """
        return [each for each in self.findings if each.requirement and not each.is_closing]

    @property
    def closing(self) -> Finding | None:
        """What was wrong with how the connections closed, if anything."""
        return next((each for each in self.findings if each.is_closing), None)

    def entries(self) -> list[Entry]:
        """Give the log as entries of a transcript."""
        return transcript_entries(self.log)


def transcript_entries(log: Iterable[LogEntry]) -> list[Entry]:
    """Give a log as entries of a transcript, without headers that may be secrets."""
    return [
        Entry(0, each.time, each.connection, each.from_client, _kept(each.content))
        for each in log
        if not isinstance(each.content, Remark)
    ]


def _kept(content: Content) -> Content:
    if not isinstance(content, ConnectionOpened):
        return content
    return ConnectionOpened(content.path, kept(content.headers.items()))


def without(cases: Iterable[Case], results: Iterable[Result]) -> list[Case]:
    """Give the cases that have no result yet."""
    ids = {result.case.id for result in results}
    return [case for case in cases if case.id not in ids]


def in_order(results: Sequence[Result], cases: Sequence[Case]) -> list[Result]:
    """Give the results in the order of the cases, each before those of its variations.

    What no case has shown comes last.
    """
    order = {case.id: number for number, case in enumerate(cases)}

    def place(result: Result) -> int:
        id_ = result.case.id
        return order.get(id_ if id_ in order else result.case.base_id, len(order))

    return sorted(results, key=place)
