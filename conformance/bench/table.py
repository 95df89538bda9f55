"""Turns what was measured into a Markdown table and a verdict on each aim.

Knows nothing of how anything was measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles
from typing import Any, Final

Report = dict[str, Any]
"""What the load generator reports of one measurement."""

LEAST_RATE: Final = 0.5
"""The part of the Go server's echo rate that ours should reach on one core. It is written to be
read, in Python, and never meant to win; at less than half, something in the way of each message
would be too roundabout."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table.

    Attributes:
        label: what it is.
        measure: the measurement that it is from.
        field: its name in the report.
        unit: what it is in.
        scale: what the reported number is divided by to be in that unit.
        digits: behind the decimal point.
        aim: the least that the ratio should be; ``None`` where there is no aim.
    """

    label: str
    measure: str
    field: str
    unit: str
    scale: float = 1
    digits: int = 0
    aim: float | None = None

    def of(self, report: Report) -> float:
        """Give the figure from a report, in its unit."""
        return float(report[self.field]) / self.scale

    def shown(self, value: float) -> str:
        """Write a value with its unit."""
        return f"{value:,.{self.digits}f} {self.unit}"


@dataclass(slots=True)
class Results:
    """All that one run has found.

    Attributes:
        base: the server that ratios compare with, by its key.
        subject: the server that the aims are for.
        labels: what the servers are called.
        reports: by server and measurement, one for each round; ``None`` where it failed.
        failures: what failed, and why.
        provenance: what was measured, and on what.
    """

    base: str
    subject: str
    labels: dict[str, str]
    reports: dict[str, dict[str, list[Report | None]]]
    failures: list[str] = field(default_factory=list)
    provenance: dict[str, str] = field(default_factory=dict)

    def values(self, server: str, figure: Figure) -> list[float]:
        """Give a figure in each round in which it was measured."""
        reports = self.reports[server][figure.measure]
        return [figure.of(report) for report in reports if report is not None]

    def ratios(self, figure: Figure) -> list[float]:
        """Give subject over base, round by round."""
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
        """Give every report on a server."""
        return [
            report
            for reports in self.reports[server].values()
            for report in reports
            if report is not None
        ]


ASTRAY: Final = ("lost", "reordered", "repeated")
"""What can happen to a message, as the reports name it."""


def astray(reports: Sequence[Report]) -> dict[str, int]:
    """Add up what went astray."""
    return {what: sum(report.get(what, 0) for report in reports) for what in ASTRAY}


def checked(reports: Sequence[Report]) -> int:
    """Add up the messages that were checked."""
    return sum(
        report.get("asks", 0) + report.get("connections", 0) * report.get("broadcasts", 0)
        for report in reports
    )


def sound(results: Results) -> bool:
    """Whether our server let itself be measured, and nothing went astray on it."""
    reports = results.reports[results.subject]
    return not any(None in rounds for rounds in reports.values()) and not any(
        astray(results.all_reports(results.subject)).values()
    )


def busy(results: Results, figure: Figure) -> str:
    """Say how busy the cores were: of each server its own, and the generator's meanwhile."""
    cells = []
    for server in (results.base, results.subject):
        reports = [each for each in results.reports[server][figure.measure] if each is not None]
        if not reports or "server_busy" not in reports[0]:
            return ""
        names = ("server_busy", "busy")
        cells.append("/".join(f"{median(each[name] for each in reports):.0%}" for name in names))
    return ", ".join(cells)


def spread(ratios: Sequence[float]) -> str:
    """Say how far apart the rounds are, but for a quarter of them at either end."""
    if len(ratios) < 2:  # a quarter of one is none
        return ""
    low, _, high = quantiles(ratios, n=4, method="inclusive")
    return f"{low:.2f} to {high:.2f}"


def lines(results: Results, figures: Sequence[Figure]) -> Iterator[list[str]]:
    """Give the table, its head first."""
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
    """Give a line on each aim."""
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
        counts = ", ".join(f"{count:,} {what}" for what, count in astray(reports).items())
        told = f"{results.labels[server]}: of {checked(reports):,} messages {counts}"
        if server == results.subject:
            verdict = "met" if sound(results) else "MISSED"
            yield f"{verdict}: no message lost, reordered or repeated. {told}"
        else:
            yield f"Beside it, {told}"


def markdown(results: Results, figures: Sequence[Figure]) -> str:
    """Give everything as Markdown, its table aligned so that it can be read as it is."""
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
