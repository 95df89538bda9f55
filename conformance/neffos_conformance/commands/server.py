"""The command ``server``: runs the cases on a server under test."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from neffos_conformance.connection import Connection, DialError
from neffos_conformance.embedded import embedded_server
from neffos_conformance.recordings.transcript import header, save
from neffos_conformance.report import prepare_report, report, show, write_report
from neffos_conformance.serve import PEER
from neffos_conformance.suite.case import Case, select, server_cases
from neffos_conformance.suite.features import feature_ids, needed
from neffos_conformance.suite.run import CASE_DEADLINE, Result, run_cases
from neffos_conformance.suite.verdict import Verdict


@click.command("server")
@click.argument("url", required=False)
@click.option(
    "--case",
    "patterns",
    multiple=True,
    metavar="PATTERN",
    help="Only these: a case id, a requirement, a family such as NS, or any with * and ?.",
)
@click.option(
    "--report",
    "report_path",
    type=click.Path(dir_okay=False, path_type=Path),
    default=Path("reports/server.json"),
    show_default=True,
    help="Where to write the report.",
)
@click.option(
    "--save",
    "save_folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Write a transcript of each case into this folder.",
)
@click.option(
    "--peer",
    metavar="NAME",
    default="",
    help="Name and version of the server, for the transcripts.",
)
@click.option(
    "--deadline",
    type=click.FloatRange(min=0, min_open=True),
    default=CASE_DEADLINE,
    show_default=True,
    help="Seconds that one case may take.",
)
@click.option(
    "--features",
    metavar="LIST",
    help="What of the application the server has, with commas; by default all of it.",
)
def server_command(
    url: str | None,
    patterns: tuple[str, ...],
    report_path: Path,
    save_folder: Path | None,
    peer: str,
    deadline: float,
    features: str | None,
) -> None:
    """Judge the server at URL, which runs the conformance application.

    Without a URL the embedded server is started on a free port and judged.
    """
    try:
        cases = select(server_cases(), patterns)
        left_out = [] if features is None else _unsupported(cases, feature_ids(features))
        prepare_report(report_path)
        if save_folder:
            save_folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise click.UsageError(str(error)) from error
    unrun = {result.case.id for result in left_out}
    if len(unrun) == len(cases):
        raise click.UsageError("every case that was selected needs what the server does not have")
    console = Console()
    started = datetime.now(UTC)
    to_run = [case for case in cases if case.id not in unrun]
    judged, results = asyncio.run(_judge(url, to_run, deadline))
    results += left_out
    show(console, results, f"neffos-wire server{f' {url}' if url else ''}")
    write_report(report_path, report(judged, results, started))
    if save_folder:
        for result in results:
            first = header(
                scenario=f"case {result.case.id}: {result.case.title}",
                client={"peer": PEER, "version": version("neffos-wire")},
                server={"peer": peer or "unknown"},
                how="neffos-wire server --save",
                shows=result.case.requirements,
            )
            save(save_folder / f"{result.case.id}.jsonl", first, result.entries())
    passed = sum(result.verdict is Verdict.PASS for result in results)
    console.print(f"{passed} of {len(results)} cases passed; report: {report_path}", soft_wrap=True)
    failed = any(result.verdict in (Verdict.FAIL, Verdict.ERROR) for result in results)
    sys.exit(1 if failed else 0)


def _unsupported(cases: Sequence[Case], has: frozenset[str]) -> list[Result]:
    """Give the results of the cases that need what a server with these features lacks."""
    lacks = {case.id: sorted(needed(case) - has) for case in cases}
    return [
        Result(case, Verdict.UNSUPPORTED, f"it needs {', '.join(lacks[case.id])}")
        for case in cases
        if lacks[case.id]
    ]


async def _judge(
    url: str | None, cases: Sequence[Case], deadline: float
) -> tuple[str, list[Result]]:
    async with nullcontext(url) if url is not None else embedded_server() as address:
        await _reach(address, deadline)
        results: list[Result] = []
        progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=Console(stderr=True),
        )
        with progress:
            bar = progress.add_task(f"judging {address}", total=len(cases))
            async for result in run_cases(address, cases, deadline=deadline):
                results.append(result)
                progress.advance(bar)
    order = {case.id: number for number, case in enumerate(cases)}
    return address, sorted(results, key=lambda result: order[result.case.id])


async def _reach(url: str, deadline: float) -> None:
    """Stop before any case where there is no server at all."""
    try:
        async with asyncio.timeout(deadline):
            connection = await Connection.dial(url)
        await connection.close()
    except (DialError, TimeoutError) as error:
        explanation = str(error) or f"no upgrade within {deadline:g} s"
        raise click.UsageError(f"nothing to judge at {url}: {explanation}") from error
