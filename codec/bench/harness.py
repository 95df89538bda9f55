"""What the benchmarks of the codec, the session and the server share.

Their options, the cores, the statistics of rounds, and the report: a table for a terminal or in
Markdown, with lines below it. This module does not know what is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from typing import Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

_WIDTH: Final = 140
"""Characters that the widest table needs."""

Rows = Sequence[Sequence[str]]
"""A table, its head first. A cell may have several lines."""


def arguments(about: str, quick: str = "fewer rounds, rougher figures") -> argparse.ArgumentParser:
    """Give a parser of the options that the benchmarks share.

    Args:
        about: what the benchmark measures.
        quick: what ``--quick`` does.
    """
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write every round there too")
    return parser


# ------------------------------------------------------------ cores


@dataclass(frozen=True, slots=True)
class Cores:
    """The core of what is measured and that of a load generator.

    They are the same if there is only one, and ``None`` if this system cannot pin a process to a
    core.
    """

    server: int | None
    generator: int | None

    def __str__(self) -> str:
        if self.server is None:
            return "not pinned: this system has no call for it"
        if self.server == self.generator:
            return f"servers and generator on core {self.server} together"
        return f"servers on core {self.server}, generator on core {self.generator}"


def cores() -> Cores:
    """Choose the cores."""
    if not hasattr(os, "sched_getaffinity"):
        return Cores(None, None)
    available = sorted(os.sched_getaffinity(0))
    return Cores(available[-1], available[0])


@contextmanager
def pinned(core: int | None) -> Iterator[None]:
    """Run on one core, with all programs started meanwhile and their threads."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def pin() -> str:
    """Pin this process, and so all that it starts, to one core; say which."""
    core = cores().server
    if core is None:
        return str(cores())
    os.sched_setaffinity(0, {core})
    return f"pinned to core {core}"


def machine(place: str) -> dict[str, str]:
    """Return the date, the processor and the load, for the footer of a table.

    Args:
        place: the cores that are used.
    """
    info = Path("/proc/cpuinfo")
    model = re.search(r"(?m)^model name\s*:\s*(.+)$", info.read_text() if info.exists() else "")
    processor = model[1] if model else platform.processor() or platform.machine()
    return {
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        "processor": f"{processor}, {place}",
        # Well above 1, something else was running too: better measured again.
        "load": f"{os.getloadavg()[0]:.1f}",
    }


# ------------------------------------------------------------ the report


def middle_half(values: Sequence[float], form: str = ".2f") -> str:
    """Return the range of the rounds, without a quarter of them at either end."""
    if len(values) < 2:  # a quarter of one is none
        return ""
    low, _, high = quantiles(values, n=4, method="inclusive")
    return f"{low:{form}} to {high:{form}}"


def verdict(is_met: bool) -> str:
    """Say whether an aim is met."""
    return "met" if is_met else "MISSED"


def report(
    options: argparse.Namespace,
    document: object,
    rows: Rows,
    below: Iterable[str],
    *,
    texts: Sequence[int] = (0,),
) -> None:
    """Print a table with lines below it, and write what ``--json`` asks for.

    Args:
        options: of the command.
        document: every round, as JSON can say it.
        rows: of the table.
        below: the lines below it.
        texts: the columns that are not numbers.
    """
    if options.json:
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    if options.markdown:
        sys.stdout.write("\n".join([*_markdown(rows, texts), "", *map(_ended, below), ""]))
        return
    console = Console(highlight=False)
    # In a narrow terminal the table wraps, and does not lose columns.
    console.width = max(console.width, _WIDTH)
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    for column, name in enumerate(rows[0]):
        justify: Any = "left" if column in texts else "right"
        table.add_column(name, justify=justify, no_wrap=True)
    for row in rows[1:]:
        table.add_row(*row)
    console.print(table, markup=False)
    for line in below:
        console.print(line, markup=False, soft_wrap=True)


def _markdown(rows: Rows, texts: Sequence[int]) -> Iterator[str]:
    """Give the lines of an aligned table."""
    cells = [[cell.strip().replace("\n", "<br>") for cell in row] for row in rows]
    widths = [max(3, *map(len, column)) for column in zip(*cells, strict=True)]
    rule = ["-" * (width - (at not in texts)) for at, width in enumerate(widths)]
    cells.insert(1, [line + ":" * (at not in texts) for at, line in enumerate(rule)])
    for row in cells:
        padded = (
            cell.ljust(width) if at in texts else cell.rjust(width)
            for at, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        yield f"| {' | '.join(padded)} |"


def _ended(line: str) -> str:
    return f"{line}  " if line else ""  # two spaces end a line in Markdown


def provenance_line(provenance: dict[str, str]) -> str:
    """Say what was measured, and on what, in a line."""
    return "; ".join(f"{name} {value}" for name, value in provenance.items())
