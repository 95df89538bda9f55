"""The command ``check``: checks recordings against the requirements."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click
from rich.markup import escape

from neffos_conformance import SUITE, VERSION
from neffos_conformance.cases.verdict import COLOURS, Verdict
from neffos_conformance.cli.check_work import check_all
from neffos_conformance.cli.options import JSON, KEYLOG, NATIVE, existing_files, option
from neffos_conformance.cli.refusals import refusing
from neffos_conformance.recordings.check_report import (
    CheckReport,
    RecordedViolation,
    place_of,
    report_values,
)
from neffos_conformance.recordings.shares import Reading
from neffos_conformance.wire.console import Terminal
from neffos_conformance.wire.packed import InputError, shown
from neffos_conformance.wire.payloads import short
from neffos_conformance.wire.remote import Url
from neffos_conformance.wire.terminal import echo
from neffos_conformance.wire.text import counted
from neffos_protocol.text import ascii_json, visible

CHECK_FORMAT: Final = 2

_SHOWN: Final = 10
"""Violations of one recording on the terminal; ``--json`` has more."""

MAX_SHOWN: Final = 400
"""Characters of a scenario, a path or a reason on the terminal; correct ones are shorter."""


@click.command("check")
@existing_files(".jsonl", ".har", ".pcap", ".pcapng", urls=True)
@JSON
@option("-v --verbose", "Recordings without violations, too.")
@option(
    "--jobs",
    "Number of processes. They share the files and, in a large recording, its connections.",
    "N",
    default=os.cpu_count() or 1,
    show_default="one for each core",
)
@NATIVE
@KEYLOG
@option(
    "--resume journal",
    "Journal of finished files, to go on with a check that was ended.",
    "FILE",
    default=None,
)
@option("--parquet", "Table in Parquet that is written, too.", "FILE", default=None)
@option(
    "--cluster",
    "Scheduler of a Dask cluster that does the work, such as tcp://10.0.0.1:8786.",
    "URL",
    default="",
)
def check_command(
    files: list[Path | Url],
    as_json: bool,
    verbose: bool,
    jobs: int,
    native: str,
    keylog: Path | None,
    journal: Path | None,
    parquet: Path | None,
    cluster: str,
) -> None:
    """Check recordings against the requirements.

    FILE is a recording, a HAR that a browser saved, a capture of packets (pcap or pcapng), a folder
    of them, a pattern such as '**/*.jsonl', a URL of any of these, or - for standard input. Files
    may be compressed with gzip or Zstandard. Only recordings say themselves what --native says.

    The command reports which peer violates which requirement, and in which line. A violated MUST,
    an unreadable line, and a defect that a header names but no message shows count as failed.
    """
    console = Terminal()
    with refusing(InputError):
        reports = check_all(files, jobs, Reading(native, keylog), journal, cluster)
        if parquet is not None:
            from neffos_conformance.reports.parquet import save_parquet  # few checks have one

            save_parquet(parquet, zip(map(str, files), reports, strict=True))
    if as_json:
        echo(ascii_json(_values(files, reports)))
    else:
        for path, report in zip(files, reports, strict=True):
            _show(console, path, report, verbose)
        _sum_up(console, reports)
    if not any(report.messages for report in reports):
        raise click.UsageError("none of the files contains a message")
    bad = any(report.verdict in (Verdict.FAIL, Verdict.ERROR) for report in reports)
    sys.exit(1 if bad else 0)


# -------------------------------------------------------------------- for people


def _show(console: Terminal, path: Path | Url, report: CheckReport, verbose: bool) -> None:
    verdict = report.verdict
    found = list(report.remarks(all_of_them=verbose))
    if verdict is Verdict.PASS and not (report.counts or found or report.all_notes or verbose):
        return
    published = f", {report.published} published" if report.published else ""
    console.print(
        f"[bold {COLOURS[verdict]}]{verdict.value}[/] [bold]{_plain(shown(path))}[/] "
        f"{report.messages} messages{published}",
        soft_wrap=True,
    )
    scenario = (report.header or {}).get("scenario")
    if scenario:
        console.print(f"  {_plain(str(scenario))}")
    for each in report.unreadable[:_SHOWN]:
        # Of a HAR, the reason says where.
        where = "" if report.unit == "message" else f"{report.unit} {each.line}: "
        console.print(f"  {where}{_plain(each.reason)}", style="magenta")
    if report.unreadable_lines > _SHOWN:
        console.print(f"  … {report.unreadable_lines} lines cannot be read", style="magenta")
    if not report.messages:
        console.print("  it contains no message", style="magenta")
    for id_ in report.stale_defects:
        console.print(
            f"  the header is stale: it names a violation of {_plain(id_)}, which does not occur",
            style="magenta",
        )
    for note in report.all_notes[:_SHOWN]:
        console.print(f"  {_plain(note)}")
    for remark in found[:_SHOWN]:
        console.print(f"  {escape(remark)}")
    if len(found) > _SHOWN:
        console.print(f"  … {report.pending_ask_count} asks have no reply")
    for violation in report.violations[:_SHOWN]:
        _show_violation(console, violation, report.unit)
    more = sum(report.counts.values()) - min(len(report.violations), _SHOWN)
    if more:
        counts = ", ".join(
            f"{id_} by the {role} {count} times" for (id_, role), count in report.counts.items()
        )
        console.print(f"  … {more} more; in all: {counts}")
    if report.unchecked:
        console.print(f"  {report.unchecked} connections were too many at a time, and not checked")


def _show_violation(console: Terminal, violation: RecordedViolation, unit: str) -> None:
    known = " (known)" if violation.is_known else ""
    console.print(
        f"  {unit} {violation.line}, {place_of(violation.connection)}: the {violation.role} "
        f"violated [{COLOURS[violation.verdict]}]{violation.requirement}[/]{known}: "
        f"{escape(violation.explanation)}"
    )
    console.print(f"    {escape(violation.sentence)}", style="dim")
    console.print(f"    {escape(short(violation.payload, violation.size))}")


def _plain(text: str) -> str:
    """Give a stranger's text for a line of markup."""
    return escape(visible(text, limit=MAX_SHOWN))


def _sum_up(console: Terminal, reports: Sequence[CheckReport]) -> None:
    verdicts = [report.verdict for report in reports]
    counts = ", ".join(
        f"{verdicts.count(each)} {each.value}" for each in Verdict if each in verdicts
    )
    messages = sum(report.messages for report in reports)
    recordings = counted(len(reports), "recording")
    console.print(f"{recordings}, {counted(messages, 'message')}: {counts}")


# -------------------------------------------------------------------- for programs


def _values(files: Sequence[Path | Url], reports: Sequence[CheckReport]) -> dict[str, Any]:
    return {
        "format": CHECK_FORMAT,
        "suite": {"name": SUITE, "version": VERSION},
        "recordings": [
            {"file": str(path)} | report_values(report)
            for path, report in zip(files, reports, strict=True)
        ],
    }
