"""The options of a run, the cases that they select, and the files that they name.

Each of ``test server``, ``test client``, ``test codec`` and ``test exchange`` has them.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Any, Final

import click

from neffos_conformance.cases.classes import ConformanceClass
from neffos_conformance.cases.definition import ROLES, Case, Role
from neffos_conformance.cases.dimensions import select_varied
from neffos_conformance.cli.main import EXIT_PASS
from neffos_conformance.cli.options import Decorator, choice, option, selection_options
from neffos_conformance.cli.refusals import refusing, writing
from neffos_conformance.requirement_sets import DRAFT, RequirementSet, SetError, requirement_set
from neffos_conformance.requirement_sets import draft as draft_set
from neffos_conformance.runner.known_failures import (
    KnownFailure,
    KnownFailuresError,
    read_known_failures,
)
from neffos_conformance.runner.playback import Timeouts
from neffos_conformance.runner.result import Result
from neffos_conformance.runner.run import DEFAULT_JOBS, DEFAULT_TIMEOUTS

RUN_TIMEOUT: Final = 300.0
"""Seconds for all cases together: a run against a correct peer takes two."""

THOROUGH_TIMEOUT: Final = 7200.0
"""Seconds for all variations: some ten thousands, of which a slow machine runs ten in a second."""

JOBS: Final[Mapping[Role, int]] = {
    "server": DEFAULT_JOBS,
    "client": 4,
    "exchange": DEFAULT_JOBS,
}
"""Cases that run concurrently; a client takes a driver process for each."""

FORMS: Final = ("json", "junit", "markdown", "html")
"""The forms of a report that are written: each is a module of ``reports``."""


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
        is_thorough: run every case in many variations.
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
    is_thorough: bool = False

    @property
    def usual_run_timeout(self) -> float:
        """Seconds for all that is run, if no time limit is given."""
        return THOROUGH_TIMEOUT if self.is_thorough else RUN_TIMEOUT

    @property
    def is_varied(self) -> bool:
        """Whether variations run: a few where all cases do, or many if that is asked for."""
        return self.is_thorough or not self.selection

    @property
    def timeouts(self) -> Timeouts:
        """The time limits of a case."""
        return replace(DEFAULT_TIMEOUTS, case=self.timeout)

    @property
    def selection(self) -> tuple[str, ...]:
        """The patterns and tags, as they were typed."""
        return (*self.patterns, *(f"tag {tag}" for tag in self.tags))


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
    if role in ROLES:
        decorators += [
            option(
                "--save-recordings recordings_folder",
                "Folder for a recording of each case.",
                "FOLDER",
            ),
            option("--jobs", "Number of cases that run concurrently.", "N", default=JOBS[role]),
        ]
    if role in ("server", "client"):
        decorators += [
            option(
                "--thorough is_thorough",
                "All variations of the cases, by two values each; takes many minutes.",
            ),
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
    with refusing(SetError):
        return options.requirement_set.cases(role)


def selected(options: RunOptions, cases: Sequence[Case]) -> list[Case]:
    """Give the selected cases.

    Raises:
        click.UsageError: a pattern or a tag matches no case, or no case matches all of them.
    """
    with refusing(ValueError):
        found = select_varied(cases, options.patterns, options.tags)
    if not found:
        raise click.UsageError("no case has both such a name and such a tag")
    return found


def _show_dry(cases: Sequence[Case], left_out: Sequence[Result]) -> None:
    from rich.table import Table

    from neffos_conformance.wire.console import Terminal

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


@dataclass(frozen=True, slots=True)
class PreparedRun:
    """A run whose files can be read and written, so that it may begin.

    Attributes:
        options: its options.
        ids: the cases of its requirement set, selected or not.
        known_failures: those that its files name.
        began: the time, as ``beginning`` gives it.
    """

    options: RunOptions
    ids: frozenset[str]
    known_failures: Sequence[KnownFailure]
    began: tuple[datetime, float]


def prepare(
    options: RunOptions,
    everything: Sequence[Case],
    cases: Sequence[Case],
    left_out: Sequence[Result] = (),
) -> PreparedRun:
    """Read the known failures, and make every file that the run writes; or print the dry run.

    Args:
        options: the options.
        everything: the cases of the requirement set.
        cases: the selected cases.
        left_out: the results of those that are known not to run.

    Raises:
        click.UsageError: a file cannot be read or written.
        SystemExit: it was a dry run.
    """
    if options.dry_run:
        _show_dry(cases, left_out)
        sys.exit(EXIT_PASS)
    written = [*options.report_paths.values(), options.write_known_failures_path]
    for path in filter(None, written):
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.open("a").close()
    if (folder := options.recordings_folder) is not None:
        with writing(folder / "*.jsonl"):
            folder.mkdir(parents=True, exist_ok=True)
    with refusing(KnownFailuresError):
        known = read_known_failures(options.known_failures_paths)
    return PreparedRun(options, frozenset(case.id for case in everything), known, beginning())


def beginning() -> tuple[datetime, float]:
    """Give the current date, and the current time of the clock that measures runs."""
    return datetime.now(UTC), time.perf_counter()
