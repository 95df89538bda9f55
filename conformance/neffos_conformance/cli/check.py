"""The command ``check``: judges recordings."""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, wait
from ctypes import c_ulonglong
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

from neffos_conformance.cases.verdict import COLOURS, Verdict
from neffos_conformance.recordings.checking import CheckReport, Violation, judge
from neffos_conformance.wire.payloads import payload_values, short
from neffos_protocol.catalogue import requirement

CHECK_FORMAT: Final = 1

REFRESH: Final = 0.1
"""Seconds between two looks at how far the workers are."""

_SHOWN: Final = 10
"""Findings of one recording on the terminal; ``--json`` has more."""

_FILE: Final = click.Path(exists=True, dir_okay=False, readable=True, path_type=Path)

_octets: Any = None
"""In a worker: the count of octets read, which all workers share."""


@click.command("check")
@click.argument("files", nargs=-1, required=True, type=_FILE, metavar="FILE…")
@click.option("--json", "as_json", is_flag=True, help="Print what was found as JSON.")
@click.option("-v", "--verbose", is_flag=True, help="Show recordings that are sound as well.")
@click.option(
    "--jobs",
    type=click.IntRange(min=1),
    default=os.cpu_count() or 1,
    show_default="one for each core",
    help="How many recordings to judge at the same time.",
)
def check_command(files: tuple[Path, ...], as_json: bool, verbose: bool, jobs: int) -> None:
    """Judge recordings: which peer broke which requirement, in which line.

    Exit code 0 where no MUST is broken; 1 where one is, where a line cannot be read, or where a
    defect that a header names does not show; 2 where there was nothing to judge.
    """
    console = Console()
    judged = _judge_all(files, min(jobs, len(files)))
    if as_json:
        click.echo(json.dumps(_values(files, judged), ensure_ascii=False))
    else:
        for path, judgement in zip(files, judged, strict=True):
            _show(console, path, judgement, verbose)
        _sum_up(console, judged)
    if not any(judgement.messages for judgement in judged):
        raise click.UsageError("there is no message to judge in any of the files")
    bad = any(judgement.verdict in (Verdict.FAIL, Verdict.ERROR) for judgement in judged)
    sys.exit(1 if bad else 0)


# -------------------------------------------------------------------- the work


def _judge_all(files: Sequence[Path], jobs: int) -> list[CheckReport]:
    """Judge the files, and show how far that is; one alone needs no other process."""
    total = sum(path.stat().st_size for path in files)
    terminal = Console(stderr=True)
    progress = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        console=terminal,
        transient=True,
        disable=not terminal.is_terminal,
    )
    with progress:
        bar = progress.add_task(f"judging {len(files)} recordings", total=total)
        if jobs == 1:
            return [judge(path, lambda octets: progress.advance(bar, octets)) for path in files]
        # A fork would take the threads' locks along as they happen to be.
        context = multiprocessing.get_context("spawn")
        octets = context.Value(c_ulonglong, 0)
        with ProcessPoolExecutor(
            jobs, mp_context=context, initializer=_share, initargs=(octets,)
        ) as pool:
            futures: list[Future[CheckReport]] = [pool.submit(_judge, path) for path in files]
            left: set[Future[CheckReport]] = set(futures)
            while left:
                _, left = wait(left, REFRESH)
                progress.update(bar, completed=octets.value)
            return [future.result() for future in futures]


def _share(octets: Any) -> None:
    global _octets  # how a worker gets what cannot be an argument
    _octets = octets


def _judge(path: Path) -> CheckReport:
    def tell(count: int) -> None:
        with _octets.get_lock():
            _octets.value += count

    return judge(path, tell)


# -------------------------------------------------------------------- for people


def _show(console: Console, path: Path, judged: CheckReport, verbose: bool) -> None:
    verdict = judged.verdict
    if verdict is Verdict.PASS and not judged.counts and not verbose:
        return
    console.print(
        f"[bold {COLOURS[verdict]}]{verdict.value}[/] [bold]{escape(str(path))}[/] "
        f"{judged.messages} messages",
        soft_wrap=True,
    )
    scenario = (judged.header or {}).get("scenario")
    if scenario:
        console.print(f"  {escape(str(scenario))}")
    for damage in judged.damage[:_SHOWN]:
        console.print(f"  line {damage.line}: {escape(damage.what)}", style="magenta")
    if judged.damaged > _SHOWN:
        console.print(f"  … {judged.damaged} lines cannot be read", style="magenta")
    if not judged.messages:
        console.print("  there is no message in it", style="magenta")
    for id_ in judged.unshown:
        console.print(
            f"  the header says that {id_} is broken here, but it is not: its label is out of date",
            style="magenta",
        )
    for broken in judged.broken[:_SHOWN]:
        _show_broken(console, broken)
    more = sum(judged.counts.values()) - min(len(judged.broken), _SHOWN)
    if more:
        counts = ", ".join(
            f"{id_} by the {role} {count} times" for (id_, role), count in judged.counts.items()
        )
        console.print(f"  … {more} more; in all: {counts}")
    if judged.unjudged:
        console.print(f"  {judged.unjudged} connections were too many at a time, and not judged")


def _show_broken(console: Console, broken: Violation) -> None:
    finding = broken.finding
    known = " (known of this peer)" if broken.is_known else ""
    console.print(
        f"  line {broken.line}, connection {broken.connection}: the {finding.role} broke "
        f"[{COLOURS[broken.verdict]}]{finding.requirement}[/]{known}: "
        f"{escape(finding.explanation)}"
    )
    console.print(f"    {escape(requirement(finding.requirement).text)}", style="dim")
    console.print(f"    {escape(short(broken.payload, broken.size))}")


def _sum_up(console: Console, judged: Sequence[CheckReport]) -> None:
    verdicts = [judgement.verdict for judgement in judged]
    counts = ", ".join(
        f"{verdicts.count(each)} {each.value}" for each in Verdict if each in verdicts
    )
    messages = sum(judgement.messages for judgement in judged)
    console.print(f"{len(judged)} recordings, {messages} messages: {counts}")


# -------------------------------------------------------------------- for programs


def _values(files: Sequence[Path], judged: Sequence[CheckReport]) -> dict[str, Any]:
    return {
        "format": CHECK_FORMAT,
        "suite": {"name": "neffos-wire", "version": version("neffos-wire")},
        "recordings": [
            {
                "file": str(path),
                "verdict": judgement.verdict.value,
                "header": judgement.header,
                "lines": judgement.lines,
                "messages": judgement.messages,
                "damaged": judgement.damaged,
                "damage": [{"line": each.line, "what": each.what} for each in judgement.damage],
                "unshown": judgement.unshown,
                "unjudged_connections": judgement.unjudged,
                "counts": [
                    {"requirement": id_, "role": role, "count": count}
                    for (id_, role), count in judgement.counts.items()
                ],
                "broken": [_broken_values(each) for each in judgement.broken],
            }
            for path, judgement in zip(files, judged, strict=True)
        ],
    }


def _broken_values(broken: Violation) -> dict[str, Any]:
    finding = broken.finding
    return {
        "line": broken.line,
        "connection": broken.connection,
        "role": str(finding.role),
        "requirement": finding.requirement,
        "verdict": broken.verdict.value,
        "explanation": finding.explanation,
        "known": broken.is_known,
        "size": broken.size,
        **payload_values(broken.payload),
    }
