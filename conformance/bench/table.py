"""Turns measurements into a table, with a verdict on each aim.

This module does not know how anything was measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any

from bench.harness import Rows, middle_half, provenance_line, verdict

Report = dict[str, Any]
"""The load generator's report on one measurement."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table.

    Attributes:
        label: its name.
        measure: the measurement that contains it.
        field: its name in the report.
        unit: its unit.
        scale: the reported number divided by this is in that unit.
        digits: after the decimal point.
        is_cost: whether less is better; the aim is a ratio of at most 1, otherwise of at least 1.
    """

    label: str
    measure: str
    field: str
    unit: str
    scale: float = 1
    digits: int = 0
    is_cost: bool = False

    def is_met(self, ratio: float) -> bool:
        """Return whether a ratio meets the aim: as good as the base."""
        return ratio <= 1 if self.is_cost else ratio >= 1

    def of(self, report: Report) -> float:
        """Return the figure from a report, in its unit."""
        return float(report[self.field]) / self.scale


@dataclass(slots=True)
class Results:
    """The results of one run.

    Attributes:
        base: the server that ratios compare with, by its key.
        subjects: the servers under test.
        labels: the names of the servers.
        reports: by server and measurement, one for each round; ``None`` if it failed.
        failures: the failed measurements, with their reasons.
        provenance: the versions of what was measured, and the machine.
    """

    base: str
    subjects: Sequence[str]
    labels: dict[str, str]
    reports: dict[str, dict[str, list[Report | None]]]
    failures: list[str] = field(default_factory=list)
    provenance: dict[str, str] = field(default_factory=dict)

    def made(self, server: str, measure: str = "") -> list[Report]:
        """Return the reports on a server, on one measurement or on all."""
        reports = self.reports[server]
        rounds = [reports[measure]] if measure else reports.values()
        return [report for each in rounds for report in each if report is not None]

    def ratios(self, subject: str, figure: Figure) -> list[float]:
        """Return subject over base, round by round."""
        pairs = zip(
            self.reports[subject][figure.measure],
            self.reports[self.base][figure.measure],
            strict=True,
        )
        return [
            figure.of(ours) / figure.of(theirs)
            for ours, theirs in pairs
            if ours is not None and theirs is not None and figure.of(theirs)
        ]

    def message_failures(self, server: str) -> dict[str, int]:
        """Count the failures of messages, by the names that the reports give them."""
        names = ("lost", "reordered", "repeated")
        return {what: sum(each.get(what, 0) for each in self.made(server)) for what in names}

    def is_sound(self, server: str) -> bool:
        """Whether every measurement of a server succeeded, without a failed message."""
        has_failed = any(None in rounds for rounds in self.reports[server].values())
        return not has_failed and not any(self.message_failures(server).values())


def _busy(reports: Sequence[Report]) -> str:
    """Say how busy the cores were: a server's own, and the generator's meanwhile."""
    names = ("server_busy", "busy")
    return "/".join(f"{median(each[name] for each in reports):.0%}" for name in names)


def rows(results: Results, figures: Sequence[Figure]) -> Rows:
    """Return the table."""
    servers = (results.base, *results.subjects)
    head = [results.labels[results.base]]
    for server in results.subjects:
        head += [results.labels[server], "ratio", "half"]
    table = [["", "unit", *head, "busy"]]
    for figure in figures:
        made = {server: results.made(server, figure.measure) for server in servers}
        cells = [_median(figure, made[results.base])]
        for server in results.subjects:
            ratios = results.ratios(server, figure)
            ratio = f"{median(ratios):.2f}" if ratios else ""
            cells += [_median(figure, made[server]), ratio, middle_half(ratios)]
        is_known = all(reports and "server_busy" in reports[0] for reports in made.values())
        busy = "\n".join(map(_busy, made.values())) if is_known else ""
        table.append([figure.label, figure.unit, *cells, busy])
    return table


def _median(figure: Figure, reports: Sequence[Report]) -> str:
    if not reports:
        return "not measured"
    return f"{median(map(figure.of, reports)):,.{figure.digits}f}"


def below(results: Results, figures: Sequence[Figure]) -> Iterator[str]:
    """Yield the lines below the table: a verdict on each aim, failures, provenance."""
    yield (
        "Each figure is the median of all rounds, and each ratio that of the ratios of each round, "
        "half of which are in the range beside it. Busy: the core of each server, and of the "
        "generator."
    )
    yield ""
    base = results.labels[results.base]
    for server in results.subjects:
        label = results.labels[server]
        for figure in figures:
            if not (ratios := results.ratios(server, figure)):
                yield f"MISSED: {label}: {figure.label}: not measured"
                continue
            ratio, bound = median(ratios), "most" if figure.is_cost else "least"
            met = verdict(figure.is_met(ratio))
            yield f"{met}: {label}: {figure.label} {ratio:.2f} x {base}, at {bound} 1.00 x"
        met = verdict(results.is_sound(server))
        yield f"{met}: no message lost, reordered or repeated. {_counted(results, server)}"
    yield f"For comparison, {_counted(results, results.base)}"
    yield from (f"Failed: {why}" for why in results.failures)
    yield provenance_line(results.provenance)


def _counted(results: Results, server: str) -> str:
    checked = sum(
        each.get("asks", 0) + each.get("connections", 0) * each.get("broadcasts", 0)
        for each in results.made(server)
    )
    failed = (f"{count:,} {what}" for what, count in results.message_failures(server).items())
    return f"{results.labels[server]}: of {checked:,} messages {', '.join(failed)}"
