"""What a check of recordings found: violations, what is unknown, and what cannot be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from neffos_conformance.cases.script import BROKER
from neffos_conformance.cases.verdict import Verdict, most_severe, verdict_on
from neffos_conformance.wire.payloads import payload_values
from neffos_conformance.wire.transcript import Entry, Header, UnreadableLine
from neffos_protocol import Violation
from neffos_protocol.catalogue import requirement
from neffos_protocol.text import cut, visible

MAX_VIOLATIONS: Final = 100
"""Violations of one recording that are kept whole. Of a requirement that is violated again and
again, the count is enough."""

MAX_PAYLOAD: Final = 4096
"""Characters or bytes that are kept of a violating message: enough to see it."""

MAX_EXPLANATION: Final = 400
"""Characters of an explanation, which may quote a message."""

REMARKED: Final = 1.0
"""Seconds without a reply after which an ask is remarked on: an ordinary reply takes milliseconds,
and whoever ends a session at once has not waited for it."""


@dataclass(frozen=True, slots=True)
class RecordedViolation:
    """A violation of a requirement in a recording.

    Attributes:
        line: the line of the file.
        connection: the number of the connection, or ``BROKER``.
        requirement: the requirement's ID.
        role: the peer that violated it: ``"client"`` or ``"server"``.
        explanation: what that peer did, fit to be shown.
        payload: the message that shows it, or its beginning.
        size: its length, in characters or bytes.
        is_known: the recording's header names this violation.
    """

    line: int
    connection: int
    requirement: str
    role: str
    explanation: str
    payload: str | bytes
    size: int
    is_known: bool

    def __str__(self) -> str:
        known = " (known)" if self.is_known else ""
        return f"{self.requirement} violated by the {self.role}{known}: {self.explanation}"

    @property
    def sentence(self) -> str:
        """The text of the requirement, on one line."""
        return " ".join(requirement(self.requirement).text.split())

    @property
    def verdict(self) -> Verdict:
        """The verdict by the level of the requirement."""
        return verdict_on((self.requirement,))


def violations(
    found: Sequence[Violation], entry: Entry, payload: str | bytes, header: Header
) -> Iterator[RecordedViolation]:
    """Give the violations of a message.

    Args:
        found: what the monitor reports of it.
        entry: its line in the recording.
        payload: its payload.
        header: the recording's header.
    """
    defects = header.get("defects", {})
    for each in found:
        id_, role = each.requirement, str(each.role)
        yield RecordedViolation(
            entry.line,
            entry.connection,
            id_,
            role,
            cut(visible(each.explanation), MAX_EXPLANATION),
            payload[:MAX_PAYLOAD],
            len(payload),
            defects.get(id_) == role,
        )


def place_of(connection: int) -> str:
    """Say where something passed: ``connection 1``, or ``the broker``."""
    return "the broker" if connection == BROKER else f"connection {connection}"


@dataclass(frozen=True, slots=True)
class UnansweredAsk:
    """An ask that has no reply when its connection or the recording ends.

    That violates no requirement by itself: the reply may have been on its way. After many seconds
    it shows a peer that does not answer.

    Attributes:
        line: the line of the ask.
        connection: the number of its connection, or ``BROKER``.
        role: the peer that asked: ``"client"`` or ``"server"``.
        token: its token, fit to be shown; empty for a handshake request.
        kind: what it asks for, likewise.
        seconds: from the ask to the end.
    """

    line: int
    connection: int
    role: str
    token: str
    kind: str
    seconds: float

    def __str__(self) -> str:
        token = f" ({self.token})" if self.token else ""
        return f"the {self.role}'s {self.kind}{token} has no reply after {self.seconds:.3f} s"


def remarks(
    asks: Sequence[UnansweredAsk], count: int, seconds: float = REMARKED, unit: str = "line"
) -> Iterator[str]:
    """Give a sentence on each ask that had no reply for some seconds.

    Args:
        asks: the first ones.
        count: the number of all.
        seconds: the time.
        unit: what their numbers count.
    """
    for each in asks:
        if each.seconds >= seconds:
            yield f"{unit} {each.line}, {place_of(each.connection)}: {each}"
    if count > len(asks):
        yield f"… {count} asks have no reply"


@dataclass(slots=True)
class CheckReport:
    """The result of checking one recording.

    Attributes:
        header: its header; ``None`` if that cannot be read.
        lines: the number of its lines.
        messages: the number of the messages on its connections.
        published: the number of messages on the broker of its cluster.
        suspicions: sentences on what violates a requirement, unless it has another cause that a
            recording cannot show.
        violations: the first violations.
        counts: the number of violations by requirement and role, known ones included.
        unreadable: the first lines that cannot be read.
        unreadable_lines: the number of lines that cannot be read.
        stale_defects: violations that the header names, but that do not occur.
        unchecked: the number of connections given up, there being too many.
        unit: what numbers count: ``line``, ``packet`` in a capture, or ``message`` of a connection
            in a HAR, where connections and what cannot be read have the number of their entry.
        notes: sentences on what is unknown, the first ones.
        left_out: how often something was not read, by the rest of the sentence; with zeros.
        pending_asks: the first asks without a reply.
        pending_ask_count: the number of asks without a reply.
        header_order, violation_order, note_order, pending_order: where in the file each of these
            was found, which is the order of those of several shares; for an ask, it was where its
            connection ended, and the number of that.
    """

    header: Header | None = None
    lines: int = 0
    messages: int = 0
    published: int = 0
    suspicions: list[str] = field(default_factory=list)
    violations: list[RecordedViolation] = field(default_factory=list)
    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    unreadable: list[UnreadableLine] = field(default_factory=list)
    unreadable_lines: int = 0
    stale_defects: list[str] = field(default_factory=list)
    unchecked: int = 0
    unit: str = "line"
    notes: list[str] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)
    pending_asks: Sequence[UnansweredAsk] = ()
    pending_ask_count: int = 0
    header_order: int = 0
    violation_order: list[int] = field(default_factory=list)
    note_order: list[int] = field(default_factory=list)
    pending_order: Sequence[tuple[int, int]] = ()

    @property
    def all_notes(self) -> list[str]:
        """The notes, and a sentence on each kind of what was not read."""
        return [*self.notes, *(f"{count} {what}" for what, count in self.left_out.items() if count)]

    def remarks(self, *, all_of_them: bool = False) -> Iterator[str]:
        """Give the suspicions, and a sentence on each ask without a reply.

        Args:
            all_of_them: also on asks that ended sooner than after ``REMARKED`` seconds.
        """
        yield from self.suspicions
        seconds = 0.0 if all_of_them else REMARKED
        yield from remarks(self.pending_asks, self.pending_ask_count, seconds, self.unit)

    @property
    def defects(self) -> dict[str, str]:
        """The violations that the header names: the role by the requirement."""
        defects: dict[str, str] = (self.header or {}).get("defects", {})
        return defects

    @property
    def verdict(self) -> Verdict:
        """The worst of all: ``ERROR`` if a line cannot be read or a defect is stale."""
        if self.unreadable_lines or self.stale_defects or self.header is None or not self.messages:
            return Verdict.ERROR
        defects = self.defects
        new = (verdict_on((id_,)) for id_, role in self.counts if defects.get(id_) != role)
        return most_severe(new) or Verdict.PASS

    def find_stale_defects(self) -> None:
        """Note which violations the header names that did not occur."""
        stale = (id_ for id_, role in self.defects.items() if (id_, role) not in self.counts)
        self.stale_defects = list(stale)

    def add(self, found: Iterable[RecordedViolation], order: int) -> None:
        """Add the violations of one message, found at this place of the file."""
        for each in found:
            key = each.requirement, each.role
            self.counts[key] += 1
            if self.counts[key] == 1 or len(self.violations) < MAX_VIOLATIONS:
                self.violations.append(each)  # the first of each is always kept
                self.violation_order.append(order)


def report_values(report: CheckReport) -> dict[str, Any]:
    """Give a report as values for JSON: what ``check --json`` says of one recording."""
    return {
        "verdict": report.verdict.value,
        "header": report.header,
        "lines": report.lines,
        "messages": report.messages,
        "published": report.published,
        "suspicions": report.suspicions,
        "unreadable_lines": report.unreadable_lines,
        "unreadable": [asdict(each) for each in report.unreadable],
        "stale_defects": report.stale_defects,
        "unchecked_connections": report.unchecked,
        "unit": report.unit,
        "notes": report.all_notes,
        "pending_ask_count": report.pending_ask_count,
        "pending_asks": [asdict(each) for each in report.pending_asks],
        "counts": [
            {"requirement": id_, "role": role, "count": count}
            for (id_, role), count in report.counts.items()
        ],
        "violations": [_violation_values(each) for each in report.violations],
    }


def _violation_values(violation: RecordedViolation) -> dict[str, Any]:
    values = asdict(violation) | {"verdict": violation.verdict.value}
    values["known"] = values.pop("is_known")
    return payload_values(values.pop("payload")) | values
