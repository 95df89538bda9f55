"""What the commands that judge have in common: selection, run, reports, and the exit code.

It knows neither servers nor clients: each command brings what runs a case.
"""

from __future__ import annotations

import asyncio
import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from rich.console import Console
from rich.table import Table

from neffos_conformance.cases.definition import Case, Role, select
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.cli.serve import PEER
from neffos_conformance.interop.table import about
from neffos_conformance.reports.terminal import Live, show
from neffos_conformance.runner.known_failures import (
    KnownFailure,
    KnownFailuresError,
    draft,
    read_known_failures,
    weigh,
)
from neffos_conformance.runner.playback import Timeouts
from neffos_conformance.runner.result import Result, in_order
from neffos_conformance.runner.run import DEFAULT_JOBS, DEFAULT_TIMEOUTS, Run, run_cases
from neffos_conformance.runner.run_report import RunReport
from neffos_conformance.wire.transcript import header, save

RUN_DEADLINE: Final = 300.0
"""Seconds for all cases together, where nobody says: a run against a correct peer takes two."""

_FILE: Final = click.Path(dir_okay=False, path_type=Path)
_FOLDER: Final = click.Path(file_okay=False, path_type=Path)
_Command = TypeVar("_Command", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class Options:
    """What was asked for, as the options have it."""

    patterns: tuple[str, ...]
    tags: tuple[str, ...]
    dry_run: bool
    verbose: bool
    json_path: Path | None
    junit_path: Path | None
    markdown_path: Path | None
    html_path: Path | None
    save_folder: Path | None
    deviation_paths: tuple[Path, ...]
    draft_path: Path | None
    deadline: float
    run_deadline: float
    at_once: int

    @property
    def patience(self) -> Timeouts:
        """How long a case waits."""
        return replace(DEFAULT_TIMEOUTS, case=self.deadline)

    @property
    def selection(self) -> tuple[str, ...]:
        """The patterns and tags, as they were typed."""
        return (*self.patterns, *(f"tag {tag}" for tag in self.tags))


def judging_options(role: Role) -> Callable[[_Command], _Command]:
    """Give a command the options of all that judge; they reach it as keyword arguments.

    ``Options(**arguments)`` is made of those by ``take_options``.
    """
    options: list[Callable[[_Command], _Command]] = [
        click.option(
            "--case",
            "patterns",
            multiple=True,
            metavar="PATTERN",
            help="Only these: a case id, a requirement, a family such as NS, or any with * and ?.",
        ),
        click.option(
            "--tag",
            "tags",
            multiple=True,
            help="Only cases with this tag; see the command list.",
        ),
        click.option("--dry-run", is_flag=True, help="Say what would be run, and run nothing."),
        click.option("-v", "--verbose", is_flag=True, help="Show all that went by in every case."),
        click.option(
            "--report",
            "json_path",
            type=_FILE,
            default=Path("reports") / f"{role}.json",
            show_default=True,
            help="Where to write the report as JSON.",
        ),
        click.option("--junit", "junit_path", type=_FILE, help="Write it as JUnit XML, too."),
        click.option("--markdown", "markdown_path", type=_FILE, help="Write it as Markdown, too."),
        click.option("--html", "html_path", type=_FILE, help="Write it as a page, too."),
        click.option(
            "--deviations",
            "deviation_paths",
            type=_FILE,
            multiple=True,
            help="A TOML file of what is known to be wrong, and why. An entry that does not hold "
            "any more is an error.",
        ),
        click.option(
            "--draft-deviations",
            "draft_path",
            type=_FILE,
            help="Write what failed as such a file, for you to give the reasons.",
        ),
        click.option(
            "--deadline",
            type=click.FloatRange(min=0, min_open=True),
            default=DEFAULT_TIMEOUTS.case,
            show_default=True,
            help="Seconds that one case may take.",
        ),
        click.option(
            "--run-deadline",
            type=click.FloatRange(min=0, min_open=True),
            default=RUN_DEADLINE,
            show_default=True,
            help="Seconds that all may take.",
        ),
    ]
    if role != "codec":
        options += [
            click.option(
                "--save",
                "save_folder",
                type=_FOLDER,
                help="Write a transcript of each case into this folder.",
            ),
            click.option(
                "--at-once",
                type=click.IntRange(min=1),
                default=DEFAULT_JOBS if role == "server" else 4,
                show_default=True,
                help="Cases that run at the same time.",
            ),
        ]

    def put(command: _Command) -> _Command:
        for option in reversed(options):
            command = option(command)
        return command

    return put


def take_options(arguments: dict[str, Any]) -> Options:
    """Take the options of ``judging_options`` out of a command's keyword arguments."""
    arguments.setdefault("save_folder", None)
    arguments.setdefault("at_once", 1)
    return Options(**{name: arguments.pop(name) for name in Options.__slots__})


def selected(options: Options, cases: Sequence[Case]) -> list[Case]:
    """Give the cases that were asked for.

    Raises:
        click.UsageError: a pattern or tag matches nothing, or all of them together do.
    """
    try:
        found = select(cases, options.patterns, options.tags)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    if not found:
        raise click.UsageError("no case has both such a name and such a tag")
    return found


def show_dry(console: Console, cases: Sequence[Case], unsupported: Sequence[Result]) -> None:
    """Print what would be run."""
    left_out = {result.case.id: result.explanation for result in unsupported}
    table = Table(box=None, pad_edge=False)
    for name in ("case", "about", "requirements"):
        table.add_column(name, no_wrap=name == "case")
    for case in cases:
        about = (
            f"{case.title} [dim](not run: {left_out[case.id]})[/]"
            if case.id in left_out
            else (case.title)
        )
        table.add_row(case.id, about, ", ".join(case.requirements))
    console.print(table)
    console.print(f"{len(cases) - len(left_out)} cases would run, {len(left_out)} would not")


def prepare(options: Options) -> list[KnownFailure]:
    """See that all can be written and read, before there is anything to lose.

    Raises:
        click.UsageError: something cannot.
    """
    try:
        for path in (
            options.json_path,
            options.junit_path,
            options.markdown_path,
            options.html_path,
            options.draft_path,
        ):
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.open("a").close()
        if options.save_folder:
            options.save_folder.mkdir(parents=True, exist_ok=True)
        return read_known_failures(options.deviation_paths)
    except (OSError, KnownFailuresError) as error:
        raise click.UsageError(str(error)) from error


async def collect(run: Run, cases: Sequence[Case], options: Options) -> list[Result]:
    """Run the cases, tell how it goes, and give the results in their order.

    What is not done when the time for all is over has the verdict ``error``.
    """
    results: list[Result] = []
    with Live(len(cases)) as live:
        try:
            async with asyncio.timeout(options.run_deadline):
                async for result in run_cases(run, cases, at_once=options.at_once):
                    results.append(result)
                    live.add(result)
        except TimeoutError:
            done = {result.case.id for result in results}
            text = f"the {options.run_deadline:g} s for the whole run were over before it was done"
            results += [Result(case, Verdict.ERROR, text) for case in cases if case.id not in done]
    return in_order(results, cases)


def unsupported(cases: Sequence[Case], lacks: Callable[[Case], Sequence[str]]) -> list[Result]:
    """Give the results of the cases that need what the system under test does not have."""
    found = []
    for case in cases:
        missing = lacks(case)
        if missing:
            text = f"it needs {', '.join(missing)}"
            found.append(Result(case, Verdict.UNSUPPORTED, text))
    return found


@dataclass(frozen=True, slots=True)
class Subject:
    """What was judged, and how to do it again.

    Attributes:
        role: its role.
        name: its URL or command.
        peer: what is known of it.
        command: the command line that judges it, without a selection.
        features: what it was taken to have.
    """

    role: Role
    name: str
    peer: dict[str, str]
    command: str
    features: frozenset[str] | None = None


def reference(command: str) -> tuple[str, str]:
    """Give the command line of one of our own peers, beside this program."""
    return str(Path(sys.argv[0]).with_name("neffos-wire")), command


def behind(role: Role, command: Sequence[str], ready: Mapping[str, Any]) -> Subject:
    """Give what stands behind a command, a client or a codec, by the first line that it wrote.

    Args:
        role: what it is.
        command: starts it; empty for the reference.
        ready: its first line.
    """
    typed = shlex.join(command)
    name = typed or f"the reference {role}"
    again = f"neffos-wire {role}{f' -- {typed}' if typed else ''}"
    return Subject(role, name, about(ready), again)


def conclude(
    subject: Subject,
    results: Sequence[Result],
    options: Options,
    deviations: Sequence[KnownFailure],
    known_ids: Sequence[str],
    began: tuple[datetime, float],
) -> None:
    """Write and print the reports, and exit with what they come to.

    Raises:
        SystemExit: 1 where a MUST was broken, a case broke off, or a known deviation does not
            hold; 2 where nothing was run; else 0.
    """
    weighed = weigh(deviations, results, known_ids)
    judgement = RunReport(
        subject.role,
        subject.name,
        subject.peer,
        began[0],
        time.perf_counter() - began[1],
        tuple(results),
        subject.command,
        subject.features,
        options.selection,
        weighed.known,
        weighed.complaints,
    )
    console = Console()
    show(console, judgement, verbose=options.verbose)
    written = []
    for path, form in (
        (options.json_path, "values"),
        (options.junit_path, "junit"),
        (options.markdown_path, "markdown"),
        (options.html_path, "html"),
    ):
        if path is not None:  # each form is loaded when it is wanted
            module = import_module(f"neffos_conformance.reports.{form}")
            content = module.report_values(judgement) if form == "values" else judgement
            getattr(module, f"write_{form}")(path, content)
            written.append(str(path))
    if options.draft_path is not None:
        options.draft_path.write_text(draft(judgement.unexplained()), "utf-8")
        written.append(str(options.draft_path))
    if options.save_folder is not None:
        _save(options.save_folder, judgement)
        written.append(str(options.save_folder))
    console.print(f"written: {', '.join(written)}", soft_wrap=True, highlight=False)
    if all(result.verdict is Verdict.UNSUPPORTED for result in results):
        raise click.UsageError(
            "nothing was run: every case that was selected needs what it does not have"
        )
    sys.exit(1 if judgement.has_failed() else 0)


def beginning() -> tuple[datetime, float]:
    """Give now, as a date and on the clock that runs are measured by."""
    return datetime.now(UTC), time.perf_counter()


def _save(folder: Path, judgement: RunReport) -> None:
    ours = {"peer": PEER, "version": version("neffos-wire")}
    theirs = {"peer": "unknown", **judgement.peer}
    client, server = (ours, theirs) if judgement.role == "server" else (theirs, ours)
    for result in judgement.results:
        entries = result.entries()
        if entries:
            first = header(
                scenario=f"case {result.case.id}: {result.case.title}",
                client=client,
                server=server,
                how=f"neffos-wire {judgement.role} --save",
                shows=result.case.requirements,
            )
            save(folder / f"{result.case.id}.jsonl", first, entries)
