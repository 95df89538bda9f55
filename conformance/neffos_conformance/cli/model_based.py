"""What ``--explore`` does to a server or a client: random conversations in place of the cases."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, TypeVar

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from neffos_conformance.cli.options import option
from neffos_conformance.cli.testing import RunOptions, SystemUnderTest, conclude
from neffos_conformance.model_based import Explored
from neffos_conformance.model_based import Progress as Step
from neffos_conformance.reference import PEER
from neffos_conformance.runner.known_failures import KnownFailure

SECONDS: Final = 30.0
"""For the whole of it, where nobody says: a few hundred programs on this machine."""

PROGRAMS: Final = 1_000
"""Programs at most, where the time does not end it."""

STEPS: Final = 30
"""Actions of a program: enough for several connections to cross each other."""

FOLDER: Final = Path("reports") / "explored"
"""Where the transcripts of what was found go, where nobody says."""

SEEDS: Final = 1 << 32
"""Seeds that are made up where none is given: short enough to be typed again."""


Explore = Callable[..., Awaitable[Explored]]
"""Explores a peer; takes the keyword arguments that exploring has for every peer."""

_Command = TypeVar("_Command", bound=Callable[..., Any])


def exploring_options(command: _Command) -> _Command:
    """Give a command the options of exploring: ``is_explored``, ``seed`` and ``seconds``."""
    decorators = (
        option("--seconds", "Time limit of --explore.", "SECONDS", default=SECONDS),
        option("--seed", "Seed of --explore.", "N", type=click.IntRange(min=0)),
        option(
            "--explore is_explored",
            "Model-based testing instead of the cases: random test sequences, checked against the "
            "state tables; failures are shrunk.",
        ),
    )
    for decorator in decorators:
        command = decorator(command)
    return command


async def explored(explore: Explore, seed: int | None, seconds: float) -> Explored:
    """Explore a peer, and tell how it goes.

    Raises:
        DialError: the server cannot be reached.
        DriverError: the client's driver cannot be started, or is none.
    """
    chosen = secrets.randbelow(SEEDS) if seed is None else seed
    progress = Progress(
        TextColumn(f"exploring, seed {chosen}"),
        BarColumn(),
        TextColumn("{task.completed} programs, {task.fields[found]} found"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    with progress:
        bar = progress.add_task("", total=PROGRAMS, found=0)

        def tell(step: Step) -> None:
            progress.update(bar, completed=step.programs, found=step.findings)

        return await explore(
            seed=chosen, seconds=seconds, programs=PROGRAMS, steps=STEPS, progress=tell
        )


def conclude_explored(
    found: Explored,
    subject: SystemUnderTest,
    options: RunOptions,
    deviations: Sequence[KnownFailure],
    began: tuple[datetime, float],
) -> None:
    """Show and save what was found, and exit with what that comes to.

    Raises:
        SystemExit: as ``conclude``, and 0 where nothing was found; but never 0 if the run broke
            off.
    """
    console = Console(highlight=False)
    folder = options.recordings_folder or FOLDER
    told = (
        f"explored with the seed {found.seed}: {found.programs} programs, {found.steps} actions, "
        f"{found.messages} messages in {found.seconds:.1f} s; {found.share:.0%} of the transitions "
        f"that can be reached; {found.ended}; {len(found.findings)} found"
    )
    if found.doubtful:
        told += f", {len(found.doubtful)} more seen once and not again"
    theirs = subject.peer.get("peer", "unknown")
    server, client = (theirs, _suite()) if found.role == "server" else (_suite(), theirs)
    for finding in (*found.findings, *found.doubtful):
        saved = finding.save(folder, server, client)
        console.print(f"{finding.id}: {saved}", markup=False, soft_wrap=True)
        for line in finding.lines:
            console.print(f"  {line}", markup=False, soft_wrap=True)
    console.print(told, markup=False, soft_wrap=True)
    if not found.findings:
        sys.exit(1 if found.trouble else 0)
    results = [finding.result() for finding in found.findings]
    # What was not met this time may be met at the next: only what was met can contradict.
    ids = [each.case for each in deviations]
    try:
        conclude(subject, results, options, deviations, ids, began)
    except SystemExit as ended:
        sys.exit(ended.code or (1 if found.trouble else 0))


def _suite() -> str:
    return f"{PEER} {version('neffos-wire')}"
