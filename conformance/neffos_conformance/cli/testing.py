"""The run of ``test server``, ``test client`` and ``test codec``, its reports and its exit status.

This module knows neither servers nor clients: each command supplies what runs its cases. What only
reports need is imported when there is one.
"""

from __future__ import annotations

import asyncio
import shlex
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from neffos_conformance.cases.covering import Accepts, everything
from neffos_conformance.cases.definition import Case, Role
from neffos_conformance.cases.profile import STANDARD
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.cli.main import EXIT_FAIL, EXIT_PASS, EXIT_USAGE
from neffos_conformance.cli.run_options import PreparedRun, RunOptions
from neffos_conformance.reference import PEER, identity
from neffos_conformance.requirement_sets import draft as draft_set
from neffos_conformance.runner.discovery import Detected
from neffos_conformance.runner.driver_protocol import DriverError
from neffos_conformance.runner.known_failures import draft, weigh
from neffos_conformance.runner.pace import Way
from neffos_conformance.runner.result import Result, in_order, without
from neffos_conformance.runner.run import Run, run_cases
from neffos_conformance.runner.run_report import RunReport
from neffos_conformance.runner.varying import WALKED, Varied, vary
from neffos_conformance.wire.connection import ConnectError
from neffos_conformance.wire.secrets import masked
from neffos_conformance.wire.transcript import header, save

if TYPE_CHECKING:
    from neffos_conformance.model_based import Plan, SequenceReport
    from neffos_protocol import Role as ProtocolRole


class NothingRanError(click.ClickException):
    """No case ran, though the command line is correct."""

    exit_code = EXIT_USAGE


@dataclass(frozen=True, slots=True)
class SystemUnderTest:
    """The system under test, and how to test it again.

    Attributes:
        role: its role.
        name: its URL or command.
        peer: what is known about it.
        command: the command line that tests it, without a selection.
        has: the features that it was assumed to have, and its own names.
        notes: sentences on how the cases were run, where that is unusual.
    """

    role: Role
    name: str
    peer: dict[str, str]
    command: str
    has: Detected | None = None
    notes: tuple[str, ...] = ()

    @classmethod
    def started_by(
        cls, role: Role, command: Sequence[str], ready: Mapping[str, Any]
    ) -> SystemUnderTest:
        """Give a client or codec that a command starts.

        Args:
            role: its role.
            command: the command line; empty for the reference implementation.
            ready: the first line that it wrote.
        """
        from neffos_conformance.interop.table import about

        typed = masked(shlex.join(command))
        again = f"neffos-wire test {role}{f' -- {typed}' if typed else ''}"
        return cls(role, typed or f"the reference {role}", about(ready), again)


def reference(command: str) -> tuple[str, str]:
    """Give the command line that starts one of the reference implementations."""
    program = Path(sys.argv[0])
    if program.parent == Path():  # what Python was given with -c has no folder
        program = Path(sys.executable)
    return str(program.with_name("neffos-wire")), command


# -------------------------------------------------------------------- the run


@asynccontextmanager
async def run_limit(options: RunOptions) -> AsyncIterator[asyncio.Timeout]:
    """End a block, with all that it started, when the time limit of the run ends."""
    with suppress(TimeoutError):
        async with asyncio.timeout(options.run_timeout or options.usual_run_timeout) as limit:
            yield limit


def allow_for(way: Way, limit: asyncio.Timeout, cases: Sequence[Case], options: RunOptions) -> None:
    """Extend the limit of a run by what the cases take at the pace of the peer.

    A limit that the user set stays as it is.
    """
    if options.run_timeout is None:
        more = sum(way.limit(each) - way.usual_limit(each) for each in cases)
        limit.reschedule(asyncio.get_running_loop().time() + options.usual_run_timeout + more)


async def collect(
    run: Run, cases: Sequence[Case], options: RunOptions, results: list[Result]
) -> None:
    """Run the cases, display the progress, and add each result when it is there."""
    from neffos_conformance.reports.terminal import progress_display

    with progress_display(len(cases)) as add:
        async for result in run_cases(run, cases, jobs=options.jobs):
            results.append(result)
            add(result)


async def varied(
    run: Run,
    cases: Sequence[Case],
    results: Sequence[Result],
    options: RunOptions,
    into: Varied,
    accepts: Accepts = everything,
    *,
    may_refuse: bool = False,
) -> None:
    """Run variations of the cases that passed, if the options ask for any; display the progress."""
    if options.is_varied:
        from neffos_conformance.reports.terminal import progress_display

        with progress_display(None) as add:
            await vary(
                run,
                cases,
                results,
                into,
                is_thorough=options.is_thorough,
                jobs=options.jobs,
                accepts=accepts,
                may_refuse=may_refuse,
                add=add,
            )


async def walked(
    explore: Callable[[Plan], Awaitable[SequenceReport]],
    role: ProtocolRole,
    results: Sequence[Result],
    options: RunOptions,
    into: Varied,
    way: Way | None = None,
) -> None:
    """Run the walks of a run, if it has variations and the network is fast enough for them.

    A peer that cannot be reached any more is given none.
    """
    from neffos_conformance.model_based.walking import add_walks, plan_of_walks, violated

    known = violated([*results, *into.failed])
    plan = plan_of_walks(role, options.timeouts, known, way, is_thorough=options.is_thorough)
    if options.selection:
        return
    if plan is None:
        into.no_walks = "messages pass too slowly"
    else:
        with suppress(ConnectError, DriverError):
            add_walks(await explore(plan), into)


def completed(
    results: Sequence[Result], cases: Sequence[Case], options: RunOptions
) -> list[Result]:
    """Give a result for each case, in their order; nothing is known of one that did not end."""
    limit = f", {options.run_timeout:g} s," if options.run_timeout else ""
    text = f"not run: the time limit of the whole run{limit} ended before it. Try: --run-timeout"
    left = [Result(case, Verdict.UNKNOWN, text) for case in without(cases, results)]
    return in_order([*results, *left], cases)


# -------------------------------------------------------------------- after the run


def conclude(
    sut: SystemUnderTest,
    results: Sequence[Result],
    run: PreparedRun,
    again: Mapping[str, str] | None = None,
    variations: Varied | None = None,
) -> NoReturn:
    """Write and print the reports, and exit with the status of the run.

    Raises:
        SystemExit: 1 for a violated MUST, an error or a stale known failure; else 2 for a case
            about which nothing is known; else 0.
        NothingRanError: every case was skipped.
    """
    from neffos_conformance.reports.findings import last_line
    from neffos_conformance.reports.terminal import show
    from neffos_conformance.wire.console import Terminal

    options, known_failures = run.options, run.known_failures
    there = {*run.ids, *draft_set().entries[sut.role]}  # an entry may be of another set's case
    there |= {each.case for each in known_failures if WALKED in each.case}
    again = dict(again or {})
    if variations is not None:
        results = in_order([*results, *variations.failed], [each.case for each in results])
        # What a walk has found is no case that could be selected.
        again |= {each.case.id: sut.command for each in results if WALKED in each.case.id}
    weighed = weigh(known_failures, results, there)
    report = RunReport(
        sut.role,
        sut.name,
        sut.peer,
        run.began[0],
        time.perf_counter() - run.began[1],
        tuple(results),
        sut.command,
        sut.has.there if sut.has else None,
        options.selection,
        weighed.known,
        weighed.complaints,
        again,
        sut.has.absent if sut.has else {},
        sut.has.profile if sut.has else STANDARD,
        decided_by=options.decided_by,
        set_name=options.requirement_set.reference,
        notes=sut.notes,
        varied=variations if variations and (variations.number or variations.walks) else None,
    )
    console = Terminal()
    show(console, report, verbose=options.verbose)
    written = [*options.report_paths.values()]
    for form, path in options.report_paths.items():
        # Each form, and the library that writes it, is imported on its first use.
        module = import_module(f"neffos_conformance.reports.{form}")
        path.write_text(module.render(report), "utf-8")
    if options.write_known_failures_path is not None:
        seen = [each for each in report.unexplained() if each.verdict is not Verdict.UNKNOWN]
        options.write_known_failures_path.write_text(draft(seen), "utf-8")
        written.append(options.write_known_failures_path)
    if options.recordings_folder is not None:
        _save(options.recordings_folder, report)
        written.append(options.recordings_folder)
    console.print(f"written: {', '.join(map(str, written))}", soft_wrap=True, highlight=False)
    deciding = [each for each in results if report.decides(each)]
    if not deciding:
        text = f"nothing ran: no selected case belongs to the class {report.decided_by}"
        raise NothingRanError(text)
    if all(result.verdict is Verdict.SKIPPED for result in deciding):
        raise NothingRanError("nothing ran: every selected case needs what this system lacks")
    console.print(last_line(report), soft_wrap=True, highlight=False, markup=False)
    incomplete = EXIT_USAGE if report.has_unknown() else EXIT_PASS
    sys.exit(EXIT_FAIL if report.has_failed() else incomplete)


def _save(folder: Path, report: RunReport) -> None:
    ours = {key: value for key, value in identity().items() if key != "runtime"}
    theirs = {"peer": "unknown", **report.peer}
    client, server = (ours, theirs) if report.role == "server" else (theirs, ours)
    for result in report.results:
        entries = result.entries()
        if entries:
            first = header(
                scenario=f"case {result.case.id}: {result.case.title}",
                client=client,
                server=server,
                how=f"{PEER} test {report.role} --save-recordings",
                shows=result.case.requirements,
            )
            save(folder / f"{result.case.id}.jsonl", first, entries)
