"""A recording checked in shares of its connections, each perhaps in a process of its own.

Every share reads the whole recording and checks its own connections. The merged report is that of a
check in one piece, since a conversation belongs to one share.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from heapq import merge
from operator import attrgetter, itemgetter
from pathlib import Path
from typing import Final

from neffos_conformance.recordings.check_report import (
    MAX_VIOLATIONS,
    CheckReport,
    RecordedViolation,
)
from neffos_conformance.recordings.checking import Reading, Share
from neffos_conformance.wire.packed import STANDARD_INPUT, size
from neffos_conformance.wire.remote import Url

MIN_SHARED: Final = 8 << 20
"""Bytes of a file that is checked in shares: some 100,000 messages, which take as long as the start
of a process."""


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
        count = max(1, min(jobs, its * jobs // whole)) if fits else 1
        units += (Unit(path, Share(number, count), reading) for number in range(count))
    return units


def merged(reports: Sequence[CheckReport]) -> CheckReport:
    """Give the report of a recording from those of all of its shares, in their order."""
    first, *others = reports
    if not others:
        return first
    found = list(merge(*(each.violations for each in reports), key=attrgetter("line")))
    counts: Counter[tuple[str, str]] = Counter()
    kept: list[RecordedViolation] = []
    for each in found:
        key = each.requirement, each.role
        if key not in counts:  # the first of each is in the report of its share
            counts[key] = sum(report.counts[key] for report in reports)
        elif len(kept) >= MAX_VIOLATIONS:
            continue
        kept.append(each)
    orders = (zip(each.pending_order, each.pending_asks, strict=True) for each in reports)
    pending = list(merge(*orders, key=itemgetter(0)))[:MAX_VIOLATIONS]
    report = replace(
        first,
        violations=kept,
        counts=counts,
        pending_asks=[ask for _, ask in pending],
        pending_order=[order for order, _ in pending],
        pending_ask_count=sum(each.pending_ask_count for each in reports),
    )
    report.find_stale_defects()
    return report
