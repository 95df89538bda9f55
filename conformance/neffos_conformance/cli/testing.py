"""The options, the run and the reports of ``test server``, ``test client`` and ``test codec``.

This module knows neither servers nor clients: each command supplies what runs its cases.
"""

from __future__ import annotations

import asyncio
import shlex
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import wraps
from importlib import import_module
from pathlib import Path
from typing import Any, Final, NoReturn

import click
from rich.table import Table

from neffos_conformance.cases.classes import ConformanceClass
from neffos_conformance.cases.definition import Case, Role, select
from neffos_conformance.cases.profile import STANDARD
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.cli.main import EXIT_FAIL, EXIT_PASS, EXIT_USAGE
from neffos_conformance.cli.options import Decorator, choice, option
from neffos_conformance.interop.table import about
from neffos_conformance.reference import PEER, identity
from neffos_conformance.reports.findings import last_line
from neffos_conformance.reports.terminal import progress_display, show
from neffos_conformance.requirement_sets import DRAFT, RequirementSet, SetError, requirement_set
from neffos_conformance.requirement_sets import draft as draft_set
from neffos_conformance.runner.discovery import Detected
from neffos_conformance.runner.known_failures import (
    KnownFailure,
    KnownFailuresError,
    draft,
    read_known_failures,
    weigh,
)
from neffos_conformance.runner.pace import Way
from neffos_conformance.runner.playback import Timeouts
from neffos_conformance.runner.result import Result, in_order
from neffos_conformance.runner.run import DEFAULT_JOBS, DEFAULT_TIMEOUTS, Run, run_cases
from neffos_conformance.runner.run_report import RunReport
from neffos_conformance.wire.files import cannot_be_written
from neffos_conformance.wire.secrets import masked
from neffos_conformance.wire.terminal import Terminal
from neffos_conformance.wire.transcript import header, save

RUN_TIMEOUT: Final = 300.0
"""Seconds for all cases together: a run against a correct peer takes two."""

JOBS: Final[Mapping[Role, int]] = {"server": DEFAULT_JOBS, "client": 4}
"""Cases that run concurrently; a client takes a driver process for each."""

FORMS: Final = ("json", "junit", "markdown", "html")
"""The forms of a report that are written: each is a module of ``reports``."""


class NothingRanError(click.ClickException):
    """No case ran, though the command line is correct."""

    exit_code = EXIT_USAGE


@dataclass(frozen=True, slots=True)
class RunOptions:
    """The options of one run.

    Attributes:
        patterns: the patterns of case IDs.
        tags: the tags of cases.
        dry_run: list the cases and run nothing.
        verbose: print all messages of all cases.
        report_paths: the file of each form of a report.
        recordings_folder: the folder for a recording of each case.
        known_failures_paths: the files of known failures.
        write_known_failures_path: the file for a draft of known failures.
        timeout: seconds for one case.
        run_timeout: seconds for all cases; ``None`` for as long as the pace of the peer demands.
        jobs: cases that run concurrently.
        decided_by: the class that decides the exit status.
        requirement_set: the set that has the cases.
    """

    patterns: tuple[str, ...]
    tags: tuple[str, ...]
    dry_run: bool
    verbose: bool
    report_paths: Mapping[str, Path]
    known_failures_paths: tuple[Path, ...]
    write_known_failures_path: Path | None
    timeout: float
    run_timeout: float | None
    recordings_folder: Path | None = None
    jobs: int = 1
    decided_by: ConformanceClass = ConformanceClass.COMPLETE
    requirement_set: RequirementSet = field(default_factory=draft_set)

    @property
    def timeouts(self) -> Timeouts:
        """The time limits of a case."""
        return replace(DEFAULT_TIMEOUTS, case=self.timeout)

    @property
    def selection(self) -> tuple[str, ...]:
        """The patterns and tags, as they were typed."""
        return (*self.patterns, *(f"tag {tag}" for tag in self.tags))


def selection_options(verb: str) -> Decorator[Any]:
    """Give a command the options ``patterns`` and ``tags``, which select the cases it uses."""
    tags = option("--tag tags", f"{verb} only cases with this tag.", "TAG", multiple=True)
    patterns = option(
        "--case patterns",
        f"{verb} only these cases: a case ID, a requirement, a family such as NS, or a pattern "
        "with * and ?.",
        "PATTERN",
        multiple=True,
    )
    return lambda command: patterns(tags(command))


def testing_options(role: Role) -> Decorator[Any]:
    """Give a command the options of a run, as one argument ``options`` of type ``RunOptions``."""
    decorators = [
        selection_options("Run"),
        option("--dry-run", "List of the cases only; nothing runs."),
        option("-v --verbose", "All messages of every case."),
        option("--report json", "JSON report.", "FILE", default=Path("reports") / f"{role}.json"),
        option("--junit", "JUnit XML report.", "FILE"),
        option("--markdown", "Markdown report.", "FILE"),
        option("--html", "HTML report: one file, which fetches nothing.", "FILE"),
        option(
            "--known-failures known_failures_paths",
            "Known failures with their reasons (TOML). A stale entry is an error.",
            "FILE",
            multiple=True,
        ),
        option(
            "--write-known-failures write_known_failures_path",
            "Draft of known failures from this run, without the reasons.",
            "FILE",
        ),
        option("--timeout", "Time limit for one case.", "SECONDS", default=DEFAULT_TIMEOUTS.case),
        option(
            "--run-timeout",
            "Time limit for all cases.",
            "SECONDS",
            show_default=f"{RUN_TIMEOUT:g}, and more for a server that is far away",
        ),
        option(
            "--set requirement_set",
            "Requirement set to test by.",
            "NAME",
            callback=_set,
            default=DRAFT,
        ),
        choice(
            "--class decided_by",
            "Class of conformance that decides the exit status.",
            [each.value for each in ConformanceClass],
            ConformanceClass.COMPLETE.value,
        ),
    ]
    if role != "codec":
        decorators += [
            option(
                "--save-recordings recordings_folder",
                "Folder for a recording of each case.",
                "FOLDER",
            ),
            option("--jobs", "Number of cases that run concurrently.", "N", default=JOBS[role]),
        ]

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(command)
        def run(**arguments: Any) -> Any:
            paths = {form: arguments.pop(form) for form in FORMS}
            own = {each: arguments.pop(each) for each in RunOptions.__slots__ if each in arguments}
            own["decided_by"] = ConformanceClass(own["decided_by"])
            own["report_paths"] = {form: path for form, path in paths.items() if path is not None}
            return command(options=RunOptions(**own), **arguments)

        for decorator in reversed(decorators):
            run = decorator(run)
        return run

    return decorate


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
        typed = masked(shlex.join(command))
        again = f"neffos-wire test {role}{f' -- {typed}' if typed else ''}"
        return cls(role, typed or f"the reference {role}", about(ready), again)


def reference(command: str) -> tuple[str, str]:
    """Give the command line that starts one of the reference implementations."""
    return str(Path(sys.argv[0]).with_name("neffos-wire")), command


# -------------------------------------------------------------------- before the run


def _set(_: click.Context, option: click.Parameter, name: str) -> RequirementSet:
    try:
        return requirement_set(name)
    except SetError as error:
        raise click.BadParameter(str(error), param=option) from error


def all_cases(options: RunOptions, role: Role) -> list[Case]:
    """Give the cases of the requirement set.

    Raises:
        click.UsageError: the set has a vector that is not what it was.
    """
    try:
        return options.requirement_set.cases(role)
    except SetError as error:
        raise click.UsageError(str(error)) from error


def selected(options: RunOptions, cases: Sequence[Case]) -> list[Case]:
    """Give the selected cases.

    Raises:
        click.UsageError: a pattern or a tag matches no case, or no case matches all of them.
    """
    try:
        found = select(cases, options.patterns, options.tags)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if not found:
        raise click.UsageError("no case has both such a name and such a tag")
    return found


def _show_dry(cases: Sequence[Case], left_out: Sequence[Result]) -> None:
    reasons = {result.case.id: result.explanation for result in left_out}
    table = Table(box=None, pad_edge=False)
    for name in ("case", "title", "requirements"):
        table.add_column(name, no_wrap=name == "case")
    for case in cases:
        reason = reasons.get(case.id)
        title = case.title if reason is None else f"{case.title} [dim](skipped: {reason})[/]"
        table.add_row(case.id, title, ", ".join(case.requirements))
    console = Terminal()
    console.print(table)
    console.print(f"{len(cases) - len(reasons)} cases would run, {len(reasons)} would not")


def prepare(
    options: RunOptions, cases: Sequence[Case], left_out: Sequence[Result] = ()
) -> tuple[list[KnownFailure], tuple[datetime, float]]:
    """Read the known failures, and make every file that the run writes; or print the dry run.

    Args:
        options: the options.
        cases: the selected cases.
        left_out: the results of those that are known not to run.

    Returns:
        The known failures, and the current time as ``beginning`` gives it.

    Raises:
        click.UsageError: a file cannot be read or written.
        SystemExit: it was a dry run.
    """
    if options.dry_run:
        _show_dry(cases, left_out)
        sys.exit(EXIT_PASS)
    written = [*options.report_paths.values(), options.write_known_failures_path]
    for path in filter(None, written):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.open("a").close()
        except OSError as error:
            raise click.UsageError(cannot_be_written(path, error)) from error
    if (folder := options.recordings_folder) is not None:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise click.UsageError(cannot_be_written(folder / "*.jsonl", error)) from error
    try:
        return read_known_failures(options.known_failures_paths), beginning()
    except KnownFailuresError as error:
        raise click.UsageError(str(error)) from error


def beginning() -> tuple[datetime, float]:
    """Give the current date, and the current time of the clock that measures runs."""
    return datetime.now(UTC), time.perf_counter()


# -------------------------------------------------------------------- the run


@asynccontextmanager
async def run_limit(options: RunOptions) -> AsyncIterator[asyncio.Timeout]:
    """End a block, with all that it started, when the time limit of the run ends."""
    with suppress(TimeoutError):
        async with asyncio.timeout(options.run_timeout or RUN_TIMEOUT) as limit:
            yield limit


def allow_for(way: Way, limit: asyncio.Timeout, cases: Sequence[Case], options: RunOptions) -> None:
    """Extend the limit of a run by what the cases take at the pace of the peer.

    A limit that the user set stays as it is.
    """
    if options.run_timeout is None:
        more = sum(way.limit(each) - way.usual_limit(each) for each in cases)
        limit.reschedule(asyncio.get_running_loop().time() + RUN_TIMEOUT + more)


async def collect(
    run: Run, cases: Sequence[Case], options: RunOptions, results: list[Result]
) -> None:
    """Run the cases, display the progress, and add each result when it is there."""
    with progress_display(len(cases)) as add:
        async for result in run_cases(run, cases, jobs=options.jobs):
            results.append(result)
            add(result)


def completed(
    results: Sequence[Result], cases: Sequence[Case], options: RunOptions
) -> list[Result]:
    """Give a result for each case, in their order; nothing is known of one that did not end."""
    done = {result.case.id for result in results}
    limit = f", {options.run_timeout:g} s," if options.run_timeout else ""
    text = f"not run: the time limit of the whole run{limit} ended before it. Try: --run-timeout"
    left = [Result(case, Verdict.UNKNOWN, text) for case in cases if case.id not in done]
    return in_order([*results, *left], cases)


# -------------------------------------------------------------------- after the run


def conclude(
    sut: SystemUnderTest,
    results: Sequence[Result],
    options: RunOptions,
    known_failures: Sequence[KnownFailure],
    known_ids: Sequence[str],
    began: tuple[datetime, float],
    again: Mapping[str, str] | None = None,
) -> NoReturn:
    """Write and print the reports, and exit with the status of the run.

    Raises:
        SystemExit: 1 for a violated MUST, an error or a stale known failure; else 2 for a case
            about which nothing is known; else 0.
        NothingRanError: every case was skipped.
    """
    there = {*known_ids, *draft_set().entries[sut.role]}  # an entry may be of another set's case
    weighed = weigh(known_failures, results, there)
    report = RunReport(
        sut.role,
        sut.name,
        sut.peer,
        began[0],
        time.perf_counter() - began[1],
        tuple(results),
        sut.command,
        sut.has.there if sut.has else None,
        options.selection,
        weighed.known,
        weighed.complaints,
        again or {},
        sut.has.absent if sut.has else {},
        sut.has.profile if sut.has else STANDARD,
        decided_by=options.decided_by,
        set_name=options.requirement_set.reference,
        notes=sut.notes,
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
