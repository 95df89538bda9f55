"""What a run found, for people and for programs."""

from __future__ import annotations

import json
import platform
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from neffos_codec import COMPILED
from neffos_conformance.connection import Closed
from neffos_conformance.showing import COLOURS, payload_values, short
from neffos_conformance.suite.case import Case, Expect, ExpectClosed, Silence
from neffos_conformance.suite.run import Line, Result
from neffos_conformance.suite.verdict import Verdict
from neffos_protocol.catalogue import requirement

REPORT_FORMAT: Final = 1


def report(url: str, results: Sequence[Result], started: datetime) -> dict[str, Any]:
    """Give a run as values for JSON: provenance, counts, and each case with its bytes."""
    return {
        "format": REPORT_FORMAT,
        "suite": {"name": "neffos-wire", "version": version("neffos-wire")},
        "python": platform.python_version(),
        "codec_compiled": COMPILED,
        "server": url,
        "started": started.isoformat(timespec="milliseconds"),
        "seconds": round((datetime.now(UTC) - started).total_seconds(), 3),
        "counts": {verdict.value: n for verdict, n in _counts(results).items()},
        "cases": [
            {
                "id": result.case.id,
                "title": result.case.title,
                "requirements": list(result.case.requirements),
                "verdict": result.verdict.value,
                "explanation": result.explanation,
                "seconds": round(result.seconds, 4),
                "exchange": [line_values(line) for line in result.exchange],
            }
            for result in results
        ],
    }


def prepare_report(path: Path) -> None:
    """See that the report can be written, before there is anything to lose.

    Raises:
        OSError: it cannot.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.open("a").close()


def write_report(path: Path, values: dict[str, Any]) -> None:
    """Write the report as JSON."""
    path.write_text(json.dumps(values, indent=2, ensure_ascii=False) + "\n", "utf-8")


def line_values(line: Line) -> dict[str, Any]:
    """Give one line of an exchange as values for JSON."""
    values: dict[str, Any] = {
        "time": round(line.time, 6),
        "direction": "sent" if line.sent else "received",
    }
    if isinstance(line.content, Closed):
        values["closed"] = {"code": line.content.code, "reason": line.content.reason}
    else:
        values |= payload_values(line.content)
    return values


def show(console: Console, results: Sequence[Result], command: str) -> None:
    """Print what failed, with the bytes, and then the table by family."""
    for result in results:
        if result.verdict not in (Verdict.PASS, Verdict.UNSUPPORTED):
            _show_failure(console, result, command)
    table = Table(title="cases by family of requirements", title_justify="left")
    table.add_column("family")
    for verdict in Verdict:
        table.add_column(verdict.value, justify="right", style=COLOURS[verdict])
    families = dict.fromkeys(result.case.id.split("-")[0] for result in results)
    for family in families:
        counts = _counts([r for r in results if r.case.id.split("-")[0] == family])
        table.add_row(family, *(str(counts[verdict] or "") for verdict in Verdict))
    counts = _counts(results)
    table.add_section()
    table.add_row("all", *(str(counts[verdict]) for verdict in Verdict), style="bold")
    console.print(table)


def _show_failure(console: Console, result: Result, command: str) -> None:
    colour = COLOURS[result.verdict]
    case = result.case
    console.print(f"[bold {colour}]{result.verdict.value}[/] [bold]{case.id}[/] {case.title}")
    for id_ in case.requirements:
        console.print(f"  {id_}: {escape(requirement(id_).text)}")
    console.print(f"  {escape(result.explanation)}")
    for line in result.exchange:
        arrow = "[cyan]→[/]" if line.sent else "[yellow]←[/]"
        console.print(f"  {line.time * 1000:8.1f} ms {arrow} {escape(_short(line.content))}")
    if result.step >= 0:
        console.print(
            f"  at step {result.step + 1} of {len(case.steps)}: {_expected(case, result)}"
        )
    console.print(f"  again: {escape(command)} --case {case.id}\n")


def _expected(case: Case, result: Result) -> str:
    match case.steps[result.step]:
        case Expect(payload):
            return escape(f"expect {_short(payload)}")
        case Silence():
            return "expect nothing"
        case ExpectClosed():
            return "expect the end"
        case _:
            return "send"


def _short(content: str | bytes | Closed) -> str:
    return str(content) if isinstance(content, Closed) else short(content)


def _counts(results: Sequence[Result]) -> Counter[Verdict]:
    return Counter(result.verdict for result in results)
