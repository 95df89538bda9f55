"""What came of a case: its verdict, how the connection was closed, and all that went by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from neffos_conformance.cases.definition import Case
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.wire.connection import ConnectionClosed
from neffos_conformance.wire.transcript import KEPT_HEADERS, ConnectionOpened, Content, Entry

BROKEN: Final = (Verdict.FAIL, Verdict.NON_STRICT, Verdict.INFORMATIONAL)
"""The verdicts that say that the system under test did otherwise."""


@dataclass(frozen=True, slots=True)
class Remark:
    """What happened beside the messages: HTTP, or what a driver was told and told."""

    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class LogEntry:
    """What went by.

    Attributes:
        time: seconds since the case began.
        connection: its number in the case.
        from_client: who sent it, or ended or opened the connection.
        content: a message, an end, a beginning or a remark.
        line: the number of the case's line at which it was.
    """

    time: float
    connection: int
    from_client: bool
    content: str | bytes | ConnectionClosed | ConnectionOpened | Remark
    line: int


@dataclass(frozen=True, slots=True)
class Closing:
    """How the system under test ended connections, or answered their end: judged on its own.

    Attributes:
        verdict: by the requirement that was not kept.
        explanation: what was wrong; empty for a pass.
        requirement: the one that was not kept; empty for a pass.
    """

    verdict: Verdict = Verdict.PASS
    explanation: str = ""
    requirement: str = ""


@dataclass(slots=True)
class Result:
    """A case with its verdict.

    Attributes:
        case: the case.
        verdict: what came of it.
        explanation: what was wrong, in a sentence that is the same at every run; empty for a
            pass.
        line: the number of the line of the script that failed; 0 where none did.
        expected: what that step expects.
        actual: what arrived instead; empty if nothing did.
        closing: how the connection ended.
        log: everything that was sent or happened.
        seconds: how long it took.
    """

    case: Case
    verdict: Verdict = Verdict.PASS
    explanation: str = ""
    line: int = 0
    expected: str = ""
    actual: str = ""
    closing: Closing = field(default_factory=Closing)
    log: list[LogEntry] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def is_broken(self) -> bool:
        """Whether the system under test did otherwise, for better or worse."""
        return self.verdict in BROKEN

    def entries(self) -> list[Entry]:
        """Give what went by as the lines of a transcript, without headers that may be secrets."""
        return [
            Entry(0, each.time, each.connection, each.from_client, _kept(each.content))
            for each in self.log
            if not isinstance(each.content, Remark)
        ]


def _kept(content: Content) -> Content:
    if not isinstance(content, ConnectionOpened):
        return content
    headers = {
        name: value
        for name, value in content.headers.items()
        if name.lower().startswith(KEPT_HEADERS)
    }
    return ConnectionOpened(content.path, headers)


def in_order(results: Sequence[Result], cases: Sequence[Case]) -> list[Result]:
    """Give the results in the order of the cases."""
    order = {case.id: number for number, case in enumerate(cases)}
    return sorted(results, key=lambda result: order[result.case.id])
