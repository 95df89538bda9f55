"""The measured frames, and the table of the times of each implementation on each of them.

Every implementation gets the descriptions of the frames as JSON and builds its own payloads from
them, in the type of its WebSocket library. This module does not know how anything is measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Final

from bench.harness import Rows, provenance_line, verdict

FILL: Final = "abcdefghijklmnopqrstuvwxyz"
"""The text of bodies. No format has to escape ASCII letters, so that the rows differ by their work
on the frame, not on the text."""


@dataclass(frozen=True, slots=True)
class MeasuredFrame:
    """One frame: its head as on the wire, filled with ``FILL`` to its size."""

    key: str
    label: str
    head: str
    size: int
    binary: bool = False


PLAIN: Final = "$1790000000000000000;chat;room1;message;0;0;"

ESCAPED: Final = (
    "$1790000000000000000;ch@%!semicolon@%!at;ro@%!semicolon@%!om;mess@%!semicolon@%!age;0;0;"
)
"""``ch;at``, ``ro;om`` and ``mess;age``."""

FRAMES: Final = (
    MeasuredFrame("text", "100 B text", PLAIN, 100),
    MeasuredFrame("binary", "100 B binary", PLAIN, 100, binary=True),
    MeasuredFrame("escapes", "100 B escapes", ESCAPED, 100),
    MeasuredFrame("text-64k", "64 KiB text", PLAIN, 64 << 10),
    MeasuredFrame("text-1m", "1 MiB text", PLAIN, 1 << 20),
    MeasuredFrame("binary-1m", "1 MiB binary", PLAIN, 1 << 20, binary=True),
)

DIRECTIONS: Final = ("decode", "encode")

Cell = tuple[str, str]
"""A frame and a direction."""

CELLS: Final[dict[Cell, str]] = {
    (frame.key, name): f"{frame.label} {name}" for frame in FRAMES for name in DIRECTIONS
}
"""The measured cells, with their labels."""

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

IMPORTS: Final = {"neffos_codec": 15_000_000, "neffos_protocol": 50_000_000}
"""The most processor time that the import of a package should take, in nanoseconds, with what it
imports: a program that runs for an instant waits for it."""

BASE: Final = "interpreted"
"""The row that the ratios compare with."""

FOOTNOTES: Final = (
    "Each cell: the median over all rounds of a round's best time of one call, and below it its "
    "ratio to this codec, interpreted, for that message; under 1 is faster.",
    "[1] The measuring loop with a call of a Python function that does nothing; every Python row "
    "contains it, nothing is subtracted.",
    "[2] Decoding does not copy a large body: reading it does, once. A message that is encoded "
    "has been built and checked. These rows count both in: decode and read the body; build the "
    "message and encode it.",
    "[3] A decoded body is a slice of the payload here, and is never copied.",
    "[4] A decoded text body is a part of the payload here, and is never copied. An encoded text "
    "is a rope, which cannot be sent: making it one piece is counted in.",
    "[5] The specification's declarative grammar. Works on bytes, also those of a text frame.",
    "[6] Comparable work, not the same bytes: an event with namespace, room, body and a number to "
    "acknowledge, in a socket.io message of the same size; a binary body is an attachment.",
)


@dataclass(frozen=True, slots=True)
class CodecResults:
    """The results of one run.

    Attributes:
        times: nanoseconds of one call: by row, frame and direction, one for each round.
        copies: by row, type of payload and step, the peak of newly allocated memory, as a
            multiple of the payload's size.
        imports: nanoseconds of processor time of the import of each package, one for each round.
        missing: the rows that could not be measured, each with the reason.
        provenance: the versions of what was measured, and the machine.
    """

    times: dict[str, dict[str, dict[str, list[float]]]]
    copies: dict[str, dict[str, dict[str, float]]]
    imports: dict[str, list[float]]
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


def rows(results: CodecResults, *, by_message: bool) -> Rows:
    """Return the table: a row for each implementation, or for each message to fit a page."""
    head = ["", *(label if by_message else _broken(label) for label in CELLS.values())]
    table = [head]
    for row, label in ROWS.items():
        if row in results.times:
            cells = (
                f"{duration(results.time(row, cell))}\n{results.ratio(row, BASE, cell):.2f}"
                for cell in CELLS
            )
            table.append([label, *cells])
    return [list(column) for column in zip(*table, strict=True)] if by_message else table


def _broken(label: str) -> str:
    """Break the label of a column into three lines."""
    return "\n".join(label.rsplit(" ", 2))


def below(results: CodecResults) -> Iterator[str]:
    """Yield the lines below the table: footnotes, verdicts, missing rows, provenance."""
    yield from FOOTNOTES
    yield ""
    for row, rival, aim in (
        ("interpreted", "js", "Interpreted no slower than neffos.js"),
        ("compiled", "go", "Compiled no slower than Go"),
    ):
        is_measured = row in results.times and rival in results.times
        yield f"{aim}: {_slower(results, row, rival) if is_measured else 'not measured.'}"
    for row, kinds in results.copies.items():
        # All but the body (the head, the objects of the call) is under a hundredth of it.
        most = max(steps[step] for steps in kinds.values() for step in ("read", "encode"))
        yield (
            f"A 1 MiB body costs at most one copy, {row}: {verdict(most < 1.01)}, "
            f"{most:.3f} at most, either way. Copies held at once:"
        )
        for kind, steps in kinds.items():
            yield f"  {kind}: " + ", ".join(f"{step} {held:.3f}" for step, held in steps.items())
    for package, times in results.imports.items():
        most, time = IMPORTS[package], min(times)
        met = verdict(time <= most)
        yield f"Importing {package} takes at most {duration(most)}: {met}, {duration(time)}."
    yield ""
    for row, reason in results.missing.items():
        yield f"Skipped: {ROWS[row]}: {reason}"
    yield provenance_line(results.provenance)


def _slower(results: CodecResults, row: str, rival: str) -> str:
    """Say in which messages a row misses its aim."""
    ratios = {cell: round(results.ratio(row, rival, cell), 2) for cell in CELLS}
    slow = [f"{CELLS[cell]} {ratio:.2f}" for cell, ratio in ratios.items() if ratio > 1]
    if not slow:
        return f"met in all {len(ratios)} messages, {max(ratios.values()):.2f} at most."
    return f"MISSED in {len(slow)} of {len(ratios)} messages: {', '.join(slow)}."
