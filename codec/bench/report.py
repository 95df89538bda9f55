"""Formats measured times as a table, with footnotes and a verdict on each aim.

This module does not know how anything was measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from bench.messages import DIRECTIONS, FRAMES

ROWS: Final = {
    "empty": "empty call [1]",
    "floor": "floor: split, join",
    "interpreted": "this codec, interpreted",
    "interpreted whole": "  with body, building [2]",
    "compiled": "this codec, compiled",
    "compiled whole": "  with body, building [2]",
    "go": "neffos, in Go [3]",
    "js": "neffos.js, in Node [4]",
    "construct": "construct grammar [5]",
    "socketio": "python-socketio [6]",
}
"""The rows in their order, with their labels."""

BASE: Final = "interpreted"
"""The row that the ratios compare with."""

_WIDTH: Final = 136
"""Characters that a line of the table needs."""

FOOTNOTES: Final = (
    "Each cell: the median over all rounds of a round's best time of one call, and below it its "
    "ratio to this codec, interpreted, for that message; under 1 is faster.",
    "[1] The measuring loop with a call of a Python function that does nothing; every Python row "
    "contains it, nothing is subtracted.",
    "[2] Decoding does not copy a large body: decoding it does, once. A message that is encoded "
    "has been built and checked. These rows count both in: decode and read the body; build the "
    "message and encode it.",
    "[3] A decoded body is a slice of the payload here, and is never copied.",
    "[4] A decoded text body is a part of the payload here, and is never copied. An encoded text "
    "is a rope, which cannot be sent: making it one piece is counted in.",
    "[5] The specification's declarative grammar. Works on bytes, also those of a text frame.",
    "[6] Comparable work, not the same bytes: an event with namespace, room, body and a number to "
    "acknowledge, in a socket.io message of the same size; a binary body is an attachment.",
)

Cell = tuple[str, str]
"""A frame and a direction."""

CELLS: Final[list[Cell]] = [(frame.key, name) for frame in FRAMES for name in DIRECTIONS]
LABELS: Final = {frame.key: frame.label for frame in FRAMES}


@dataclass(frozen=True, slots=True)
class Results:
    """The results of one run.

    Attributes:
        times: nanoseconds of one call: by row, frame and direction, one for each round.
        copies: by row, type of payload and step, the peak of newly allocated memory, as a
            multiple of the payload's size.
        missing: the rows that could not be measured, each with the reason.
        provenance: the versions of what was measured, and the machine.
    """

    times: dict[str, dict[str, dict[str, list[float]]]]
    copies: dict[str, dict[str, dict[str, float]]]
    missing: dict[str, str]
    provenance: dict[str, str]

    def time(self, row: str, cell: Cell) -> float:
        """Return a cell's time in nanoseconds."""
        frame, direction = cell
        return median(self.times[row][frame][direction])

    def ratio(self, row: str, base: str, cell: Cell) -> float:
        """Return how much longer one row takes than another."""
        return self.time(row, cell) / self.time(base, cell)


def duration(nanoseconds: float) -> str:
    """Format a time with about three digits, the precision of the measurement."""
    if nanoseconds < 999.5:
        return f"{nanoseconds:.0f} ns"
    value, unit = (nanoseconds / 1e3, "µs") if nanoseconds < 999.5e3 else (nanoseconds / 1e6, "ms")
    return f"{value:.{0 if value >= 99.5 else 1 if value >= 9.95 else 2}f} {unit}"


def lines(results: Results) -> Iterator[list[tuple[str, str]]]:
    """Yield each measured row: its name, then time and ratio of every cell."""
    for row, label in ROWS.items():
        if row in results.times:
            yield [
                (label, ""),
                *(
                    (duration(results.time(row, cell)), f"{results.ratio(row, BASE, cell):.2f}")
                    for cell in CELLS
                ),
            ]


def verdicts(results: Results) -> Iterator[str]:
    """Yield a line on each aim, with every cell that misses it."""
    for row, rival, aim in (
        ("interpreted", "js", "Interpreted no slower than neffos.js"),
        ("compiled", "go", "Compiled no slower than Go"),
    ):
        if row not in results.times or rival not in results.times:
            yield f"{aim}: not measured."
            continue
        yield f"{aim}: {_slower(results, row, rival)}"
    for row, kinds in results.copies.items():
        # All but the body (the head, the objects of the call) is under a hundredth of it.
        most = max(steps[step] for steps in kinds.values() for step in ("read", "encode"))
        yield (
            f"A 1 MiB body costs at most one copy, {row}: {'met' if most < 1.01 else 'MISSED'}, "
            f"{most:.3f} at most, either way. Copies held at once:"
        )
        for kind, steps in kinds.items():
            yield f"  {kind}: " + ", ".join(f"{step} {held:.3f}" for step, held in steps.items())


def _slower(results: Results, row: str, rival: str) -> str:
    ratios = {cell: round(results.ratio(row, rival, cell), 2) for cell in CELLS}
    slow = [
        f"{LABELS[frame]} {direction} {ratio:.2f}"
        for (frame, direction), ratio in ratios.items()
        if ratio > 1
    ]
    if not slow:
        return f"met in all {len(ratios)} messages, {max(ratios.values()):.2f} at most."
    return f"MISSED in {len(slow)} of {len(ratios)} messages: {', '.join(slow)}."


def below(results: Results) -> Iterator[str]:
    """Yield the lines below the table: footnotes, verdicts, missing rows, provenance."""
    yield from FOOTNOTES
    yield ""
    yield from verdicts(results)
    yield ""
    for row, reason in results.missing.items():
        yield f"Skipped: {ROWS[row]}: {reason}"
    yield "; ".join(f"{name} {value}" for name, value in results.provenance.items())


def show(results: Results, console: Console) -> None:
    """Print everything to a terminal."""
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    # In a narrow terminal the table wraps, and does not lose columns.
    console.width = max(console.width, _WIDTH)
    table.add_column("", no_wrap=True)
    for frame, direction in CELLS:
        table.add_column(
            "\n".join((*LABELS[frame].rsplit(" ", 1), direction)), justify="right", no_wrap=True
        )
    for name, *cells in lines(results):
        table.add_row(name[0], *("\n".join(cell) for cell in cells))
    console.print(table, markup=False)
    for line in below(results):
        console.print(line, markup=False, highlight=False)


def markdown(results: Results) -> str:
    """Return everything as Markdown: a line for each message, so that it fits a page."""
    rows = list(lines(results))
    out = [
        f"| | {' | '.join(name.strip() for (name, _), *_ in rows)} |",
        f"|---|{'---:|' * len(rows)}",
    ]
    for column, (frame, direction) in enumerate(CELLS, start=1):
        cells = ("<br>".join(row[column]) for row in rows)
        out.append(f"| {LABELS[frame]} {direction} | {' | '.join(cells)} |")
    out.append("")
    # Two spaces end a line in Markdown.
    out.extend(f"{line}  " if line else "" for line in below(results))
    return "\n".join(out) + "\n"
