"""Turns measurements into a table, with a verdict on each aim.

This module does not know how anything was measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Final

from bench.harness import Rows, middle_half, provenance_line, verdict

Report = dict[str, Any]
"""The load generator's report on one measurement."""

LEAST_RATE: Final = 0.5
"""The part of the Go server's echo rate that ours should reach on one core. It is written to be
read, in Python. Less than half would mean needless work for each message."""


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
        aim: the least ratio; ``None`` without an aim.
    """

    label: str
    measure: str
    field: str
    unit: str
    scale: float = 1
    digits: int = 0
    aim: float | None = None

    def of(self, report: Report) -> float:
        """Return the figure from a report, in its unit."""
        return float(report[self.field]) / self.scale


@dataclass(slots=True)
class Results:
    """The results of one run.

    Attributes:
        base: the server that ratios compare with, by its key.
        subject: the server under test.
        labels: the names of the servers.
        reports: by server and measurement, one for each round; ``None`` if it failed.
        failures: the failed measurements, with their reasons.
        provenance: the versions of what was measured, and the machine.
    """

    base: str
    subject: str
    labels: dict[str, str]
    reports: dict[str, dict[str, list[Report | None]]]
    failures: list[str] = field(default_factory=list)
    provenance: dict[str, str] = field(default_factory=dict)

    def made(self, server: str, measure: str = "") -> list[Report]:
        """Return the reports on a server, on one measurement or on all."""
        reports = self.reports[server]
        rounds = [reports[measure]] if measure else reports.values()
        return [report for each in rounds for report in each if report is not None]

    def ratios(self, figure: Figure) -> list[float]:
        """Return subject over base, round by round."""
        pairs = zip(
            self.reports[self.subject][figure.measure],
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

    @property
    def is_sound(self) -> bool:
        """Whether every measurement of our server succeeded, without a failed message."""
        has_failed = any(None in rounds for rounds in self.reports[self.subject].values())
        return not has_failed and not any(self.message_failures(self.subject).values())


def _busy(reports: Sequence[Report]) -> str:
    """Say how busy the cores were: a server's own, and the generator's meanwhile."""
    names = ("server_busy", "busy")
    return "/".join(f"{median(each[name] for each in reports):.0%}" for name in names)


def rows(results: Results, figures: Sequence[Figure]) -> Rows:
    """Return the table."""
    both = (results.base, results.subject)
    names = (results.labels[server] for server in both)
    table = [["", *names, "ratio", "half of the rounds", "busy, server/generator"]]
    for figure in figures:
        made = [results.made(server, figure.measure) for server in both]
        medians = [median(map(figure.of, reports)) if reports else None for reports in made]
        cells = [
            "not measured" if value is None else f"{value:,.{figure.digits}f} {figure.unit}"
            for value in medians
        ]
        ratios = results.ratios(figure)
        ratio = f"{median(ratios):.2f}" if ratios else ""
        is_known = all(reports and "server_busy" in reports[0] for reports in made)
        busy = ", ".join(map(_busy, made)) if is_known else ""
        table.append([figure.label, *cells, ratio, middle_half(ratios), busy])
    return table


def below(results: Results, figures: Sequence[Figure]) -> Iterator[str]:
    """Yield the lines below the table: a verdict on each aim, failures, provenance."""
    yield (
        "Each figure is the median of all rounds, and each ratio that of the ratios of each round."
    )
    yield ""
    base = results.labels[results.base]
    for figure in figures:
        if figure.aim is None:
            continue
        if not (ratios := results.ratios(figure)):
            yield f"MISSED: {figure.label}: not measured"
            continue
        ratio, least = median(ratios), figure.aim
        met = verdict(ratio >= least)
        yield f"{met}: {figure.label} {ratio:.2f} x {base}, at least {least:.2f} x"
    for server in (results.subject, results.base):
        checked = sum(
            each.get("asks", 0) + each.get("connections", 0) * each.get("broadcasts", 0)
            for each in results.made(server)
        )
        failed = (f"{count:,} {what}" for what, count in results.message_failures(server).items())
        counted = f"{results.labels[server]}: of {checked:,} messages {', '.join(failed)}"
        if server == results.subject:
            met = verdict(results.is_sound)
            yield f"{met}: no message lost, reordered or repeated. {counted}"
        else:
            yield f"For comparison, {counted}"
    yield from (f"Failed: {why}" for why in results.failures)
    yield provenance_line(results.provenance)
