"""A file checked in shares of its connections, each perhaps in a process of its own.

Every share reads the whole file, and decodes and checks its own connections. The merged report is
that of a check in one piece, since a conversation belongs to one share.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from heapq import merge
from operator import itemgetter
from pathlib import Path
from typing import Any, Final, TypeVar

from neffos_conformance.recordings.check_report import (
    MAX_VIOLATIONS,
    CheckReport,
    RecordedViolation,
)
from neffos_conformance.wire.packed import STANDARD_INPUT, size
from neffos_conformance.wire.remote import Url

MIN_SHARED: Final = 8 << 20
"""Bytes of a file that is checked in shares: some 100,000 messages, which take as long as the start
of a process."""


MAX_SHARES: Final = 64
"""Shares of a file. Long before, reading takes longer than all else."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Share:
    """A part of the connections of a file: each has those of the numbers of one remainder.

    Of a capture, the remainder is that of a lane, of a HAR that of the number of an entry.

    Attributes:
        number: the number of the share, from 0: the remainder.
        count: the number of shares.
    """

    number: int = 0
    count: int = 1

    def __contains__(self, number: int) -> bool:
        return number % self.count == self.number


ALL: Final = Share()


@dataclass(frozen=True, slots=True)
class Reading:
    """What HARs and captures do not say of themselves.

    Attributes:
        native: what becomes of payloads that are not frames, as ``neffos_codec.Native`` has it.
        keylog: a file with keys of TLS, as ``SSLKEYLOGFILE`` names one.
    """

    native: str = "never"
    keylog: Path | None = None


PLAIN: Final = Reading()


@dataclass(frozen=True, slots=True)
class Unit:
    """A piece of work: a file, or a share of its connections."""

    path: Path | Url
    share: Share
    reading: Reading


def plan(files: Sequence[Path | Url], jobs: int, reading: Reading) -> list[Unit]:
    """Split the work: a file that is more than its part of all is checked in shares.

    Args:
        files: the files.
        jobs: how many units are checked at the same time.
        reading: how to read them.
    """
    sizes = [size(path) for path in files]
    whole = sum(sizes)
    units: list[Unit] = []
    for path, its in zip(files, sizes, strict=True):
        fits = its >= MIN_SHARED and path != STANDARD_INPUT
        count = max(1, min(jobs, MAX_SHARES, its * jobs // whole)) if fits else 1
        units += (Unit(path, Share(number, count), reading) for number in range(count))
    return units


def merged(reports: Sequence[CheckReport]) -> CheckReport:
    """Give the report of a file from those of all of its shares, in their order."""
    first, *others = reports
    if not others:
        return first
    with_header = [each for each in reports if each.header is not None]
    headed = min(with_header, key=lambda each: each.header_order, default=first)
    found = _in_order((each.violation_order, each.violations) for each in reports)
    counts: Counter[tuple[str, str]] = Counter()
    kept: list[tuple[int, RecordedViolation]] = []
    for order, each in found:
        key = each.requirement, each.role
        if key not in counts:  # the first of each is in the report of its share
            counts[key] = sum(report.counts[key] for report in reports)
        elif len(kept) >= MAX_VIOLATIONS:
            continue
        kept.append((order, each))
    pending = _in_order((each.pending_order, each.pending_asks) for each in reports)
    notes = _in_order((each.note_order, each.notes) for each in reports)
    lines = (((line.line for line in each.unreadable), each.unreadable) for each in reports)
    left_out: Counter[str] = Counter()
    for report in reports:
        left_out.update(report.left_out)  # with its zeros, for their order
    report = replace(
        first,
        header=headed.header,
        header_order=headed.header_order,
        lines=sum(each.lines for each in reports) - max(len(with_header) - 1, 0),
        messages=sum(each.messages for each in reports),
        published=sum(each.published for each in reports),
        suspicions=[text for each in reports for text in each.suspicions],
        violations=[each for _, each in kept],
        violation_order=[order for order, _ in kept],
        counts=counts,
        unreadable=[line for _, line in _in_order(lines)][:MAX_VIOLATIONS],
        unreadable_lines=sum(each.unreadable_lines for each in reports),
        unchecked=sum(each.unchecked for each in reports),
        notes=[note for _, note in notes][:MAX_VIOLATIONS],
        note_order=[order for order, _ in notes][:MAX_VIOLATIONS],
        left_out=dict(left_out),
        pending_asks=[ask for _, ask in pending][:MAX_VIOLATIONS],
        pending_order=[order for order, _ in pending][:MAX_VIOLATIONS],
        pending_ask_count=sum(each.pending_ask_count for each in reports),
    )
    report.find_stale_defects()
    return report


def _in_order(parts: Iterable[tuple[Iterable[Any], Iterable[T]]]) -> list[tuple[Any, T]]:
    """Put what several shares found in its order, which each has."""
    return list(merge(*(zip(*part, strict=True) for part in parts), key=itemgetter(0)))
