"""Formats measurements as a Markdown table, with a verdict on each aim.

This module does not know how anything was measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Any, Final

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

    def shown(self, value: float) -> str:
        """Format a value with its unit."""
        return f"{value:,.{self.digits}f} {self.unit}"


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

    def values(self, server: str, figure: Figure) -> list[float]:
        """Return a figure in each round in which it was measured."""
        reports = self.reports[server][figure.measure]
        return [figure.of(report) for report in reports if report is not None]

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

    def all_reports(self, server: str) -> list[Report]:
        """Return every report on a server."""
        return [
            report
            for reports in self.reports[server].values()
            for report in reports
            if report is not None
        ]


MESSAGE_FAILURES: Final = ("lost", "reordered", "repeated")
"""The failures of a message, as the reports name them."""


def message_failures(reports: Sequence[Report]) -> dict[str, int]:
    """Count the failures of messages."""
    return {what: sum(report.get(what, 0) for report in reports) for what in MESSAGE_FAILURES}


def checked(reports: Sequence[Report]) -> int:
    """Count the checked messages."""
    return sum(
        report.get("asks", 0) + report.get("connections", 0) * report.get("broadcasts", 0)
        for report in reports
    )


def sound(results: Results) -> bool:
    """Whether every measurement of our server succeeded, without a failed message."""
    reports = results.reports[results.subject]
    return not any(None in rounds for rounds in reports.values()) and not any(
        message_failures(results.all_reports(results.subject)).values()
    )


def busy(results: Results, figure: Figure) -> str:
    """Say how busy the cores were: each server's own, and the generator's meanwhile."""
    cells = []
    for server in (results.base, results.subject):
        reports = [each for each in results.reports[server][figure.measure] if each is not None]
        if not reports or "server_busy" not in reports[0]:
            return ""
        names = ("server_busy", "busy")
        cells.append("/".join(f"{median(each[name] for each in reports):.0%}" for name in names))
    return ", ".join(cells)


def spread(ratios: Sequence[float]) -> str:
    """Return the range of the rounds, without a quarter of them at either end."""
    if len(ratios) < 2:  # a quarter of one is none
        return ""
    low, _, high = quantiles(ratios, n=4, method="inclusive")
    return f"{low:.2f} to {high:.2f}"


def lines(results: Results, figures: Sequence[Figure]) -> Iterator[list[str]]:
    """Return the table, its head first."""
    yield [
        "",
        results.labels[results.base],
        results.labels[results.subject],
        "ratio",
        "half of the rounds",
        "busy, server/generator",
    ]
    for figure in figures:
        cells = []
        for server in (results.base, results.subject):
            values = results.values(server, figure)
            cells.append(figure.shown(median(values)) if values else "not measured")
        ratios = results.ratios(figure)
        ratio = f"{median(ratios):.2f}" if ratios else ""
        yield [figure.label, *cells, ratio, spread(ratios), busy(results, figure)]


def verdicts(results: Results, figures: Sequence[Figure]) -> Iterator[str]:
    """Yield a line on each aim."""
    base = results.labels[results.base]
    for figure in figures:
        if figure.aim is None:
            continue
        ratios = results.ratios(figure)
        if not ratios:
            yield f"MISSED: {figure.label}: not measured"
            continue
        ratio = median(ratios)
        verdict = "met" if ratio >= figure.aim else "MISSED"
        yield f"{verdict}: {figure.label} {ratio:.2f} x {base}, at least {figure.aim:.2f} x"
    for server in (results.subject, results.base):
        reports = results.all_reports(server)
        counts = ", ".join(f"{count:,} {what}" for what, count in message_failures(reports).items())
        counted = f"{results.labels[server]}: of {checked(reports):,} messages {counts}"
        if server == results.subject:
            verdict = "met" if sound(results) else "MISSED"
            yield f"{verdict}: no message lost, reordered or repeated. {counted}"
        else:
            yield f"For comparison, {counted}"


def markdown(results: Results, figures: Sequence[Figure]) -> str:
    """Return everything as Markdown, with an aligned table."""
    rows = list(lines(results, figures))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    out = []
    for name, *cells in (rows[0], rule, *rows[1:]):
        padded = (cell.rjust(width) for cell, width in zip(cells, widths[1:], strict=True))
        out.append(f"| {name.ljust(widths[0])} | {' | '.join(padded)} |")
    out.append("")
    out.append(
        "Each figure is the median of all rounds, and each ratio that of the ratios of each round."
    )
    out.append("")
    below = [*verdicts(results, figures), *(f"Failed: {why}" for why in results.failures)]
    below.append("; ".join(f"{name} {value}" for name, value in results.provenance.items()))
    # Two spaces end a line in Markdown.
    out.extend(f"{line}  " for line in below)
    return "\n".join(out) + "\n"
