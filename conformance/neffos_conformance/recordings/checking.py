"""Judges recordings: who broke which requirement, where, and with which bytes.

A recording is read once, line by line; each of its connections has a monitor of its own. What
cannot be read is told of and does not keep the rest from being judged.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from neffos_codec import Native
from neffos_conformance.cases.verdict import Verdict, verdict_on
from neffos_conformance.wire.connection import ConnectionClosed
from neffos_conformance.wire.transcript import Content, Damage, Entry, Header, read_lines
from neffos_protocol import Monitor
from neffos_protocol import Violation as Finding

MAX_FINDINGS: Final = 100
"""Findings of one recording that are kept whole; of a recording that breaks one requirement
again and again, the counts tell the rest."""

MAX_PAYLOAD: Final = 4096
"""Characters or octets that are kept of a message which breaks something: enough to see it."""

MAX_CONNECTIONS: Final = 1024
"""Connections that are judged at the same time. Where there are more, the one that opened first
is no longer judged."""

MAX_FORMER: Final = 16_384
"""Connections that are remembered not to be judged any more: some MiB. Of older ones the highest
number is remembered, since connections are numbered in the order in which they open."""

TOLD_EVERY: Final = 8192
"""Lines after which progress is told: some milliseconds."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A requirement that a peer broke in a recording.

    Attributes:
        line: where in the file.
        connection: on which connection.
        finding: what the monitor says.
        payload: the message that shows it, or its beginning.
        size: its length, in characters or octets.
        is_known: the recording's header says that this peer breaks it here.
    """

    line: int
    connection: int
    finding: Finding
    payload: str | bytes
    size: int
    is_known: bool

    @property
    def verdict(self) -> Verdict:
        """How much it weighs, by the level of the requirement."""
        return verdict_on((self.finding.requirement,))


@dataclass(slots=True)
class CheckReport:
    """What came of one recording.

    Attributes:
        header: where it comes from; ``None`` where that cannot be read.
        lines: how many there are.
        messages: how many of them are messages.
        broken: the requirements that were broken, the first of them.
        counts: how often each was broken, by requirement and role, known ones included.
        damage: the lines that cannot be read, the first of them.
        damaged: how many there are.
        unshown: defects that the header names and that did not show.
        unjudged: connections that were given up, there being too many.
    """

    header: Header | None = None
    lines: int = 0
    messages: int = 0
    broken: list[Violation] = field(default_factory=list)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    damage: list[Damage] = field(default_factory=list)
    damaged: int = 0
    unshown: list[str] = field(default_factory=list)
    unjudged: int = 0

    @property
    def verdict(self) -> Verdict:
        """The gravest of all: ``ERROR`` where something could not be read."""
        if self.damaged or self.unshown or self.header is None or not self.messages:
            return Verdict.ERROR
        verdicts = {verdict_on((requirement,)) for requirement, _ in self._unknown()}
        return next((each for each in _GRAVEST if each in verdicts), Verdict.PASS)

    def _unknown(self) -> Iterator[tuple[str, str]]:
        defects = (self.header or {}).get("defects", {})
        return (each for each in self.counts if defects.get(each[0]) != each[1])


class Monitors:
    """Judges connections side by side, each from its beginning to its end; holds a bounded amount.

    Behind an end the other side's messages may still be on their way, and nothing can be said of
    them. A connection that was given up, there being too many, is never judged again: from the
    middle of it, whoever is right may look wrong.

    Args:
        native: what becomes of payloads that are no frames.

    Attributes:
        given_up: connections that were given up.
    """

    def __init__(self, native: Native = Native.NEVER) -> None:
        self.given_up = 0
        self._native = native
        self._open: dict[int, Monitor] = {}
        self._former: dict[int, None] = {}
        self._highest_forgotten = 0

    def feed(self, connection: int, from_client: bool, content: Content) -> Sequence[Finding]:
        """Take what went by, in order, and give what is wrong with it."""
        monitor = self._open.get(connection)
        if monitor is None:
            monitor = self._begin(connection)
            if monitor is None:
                return ()
        if type(content) is str or type(content) is bytes:
            return monitor.feed("client" if from_client else "server", content)
        if type(content) is ConnectionClosed:
            del self._open[connection]
            self._remember(connection)
        return ()

    def _begin(self, connection: int) -> Monitor | None:
        if connection in self._former:
            return None
        if connection <= self._highest_forgotten:  # it may have been judged, or not
            self.given_up += 1
            self._remember(connection)
            return None
        if len(self._open) >= MAX_CONNECTIONS:
            oldest = next(iter(self._open))
            del self._open[oldest]
            self._remember(oldest)
            self.given_up += 1
        monitor = self._open[connection] = Monitor(native=self._native)
        return monitor

    def _remember(self, connection: int) -> None:
        self._former[connection] = None
        if len(self._former) > MAX_FORMER:
            oldest = next(iter(self._former))
            del self._former[oldest]
            self._highest_forgotten = max(self._highest_forgotten, oldest)


_GRAVEST: Final = (Verdict.FAIL, Verdict.NON_STRICT, Verdict.INFORMATIONAL)


def judge(path: Path, tell: Callable[[int], None] = lambda _: None) -> CheckReport:
    """Judge a recording.

    Args:
        path: the file.
        tell: told of octets that were read, every now and then.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as stream:
        return judge_stream(stream, tell)


def judge_stream(stream: BinaryIO, tell: Callable[[int], None] = lambda _: None) -> CheckReport:
    """Judge a recording that comes from a stream; see ``judge``."""
    judged = CheckReport()
    monitors = Monitors()
    told = 0
    for item in read_lines(stream):
        judged.lines += 1
        if type(item) is Entry:
            _, _, connection, from_client, content = item
            findings = monitors.feed(connection, from_client, content)
            if type(content) is str or type(content) is bytes:
                judged.messages += 1
                if findings:
                    _note(judged, item, findings, content)
        elif type(item) is Damage:
            judged.damaged += 1
            if len(judged.damage) < MAX_FINDINGS:
                judged.damage.append(item)
        elif isinstance(item, dict):
            judged.header = item
            monitors = Monitors(Native(item.get("native", Native.NEVER)))
        if not judged.lines % TOLD_EVERY and stream.seekable():
            told = _tell(stream, tell, told)
    if stream.seekable():
        _tell(stream, tell, told)
    judged.unjudged = monitors.given_up
    defects = (judged.header or {}).get("defects", {})
    judged.unshown = [each for each in defects if (each, defects[each]) not in judged.counts]
    return judged


def _tell(stream: BinaryIO, tell: Callable[[int], None], told: int) -> int:
    position = stream.tell()
    tell(position - told)
    return position


def _note(
    judged: CheckReport, entry: Entry, findings: Sequence[Finding], payload: str | bytes
) -> None:
    defects = (judged.header or {}).get("defects", {})
    for finding in findings:
        requirement, role = finding.requirement, str(finding.role)
        judged.counts[requirement, role] += 1
        is_known = defects.get(requirement) == role
        if judged.counts[requirement, role] > 1 and len(judged.broken) >= MAX_FINDINGS:
            continue  # the first of each is always kept
        judged.broken.append(
            Violation(
                entry.line,
                entry.connection,
                finding,
                payload[:MAX_PAYLOAD],
                len(payload),
                is_known,
            )
        )
