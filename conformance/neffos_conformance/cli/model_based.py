"""The option ``--explore``: model-based testing of a server or a client instead of the cases."""

from __future__ import annotations

import secrets
import shlex
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from neffos_conformance import VERSION
from neffos_conformance.cli.options import option
from neffos_conformance.cli.run_options import PreparedRun
from neffos_conformance.cli.testing import NothingRanError, SystemUnderTest, conclude
from neffos_conformance.reference import PEER
from neffos_conformance.runner.pace import Way
from neffos_conformance.runner.playback import Timeouts
from neffos_conformance.runner.run import DEFAULT_TIMEOUTS
from neffos_protocol import Role

if TYPE_CHECKING:
    from neffos_conformance.model_based import Plan, SequenceReport

SECONDS: Final = 30.0
"""Default time of a run: enough for a few hundred sequences."""

SEQUENCES: Final = 1_000
"""Sequences of a run at most."""

STEPS: Final = 30
"""Actions of a sequence: enough for several connections to interact."""

FOLDER: Final = Path("reports") / "explored"
"""Default folder of the recordings of counterexamples."""

SEEDS: Final = 1 << 32
"""Bound of a random seed: short enough to type."""

Explore = Callable[["Plan"], Awaitable["SequenceReport"]]
"""Tests a peer."""


EXPLORE: Final = option(
    "--explore is_explored",
    "Model-based testing instead of the cases: random test sequences, checked against the "
    "state tables; failures are shrunk.",
)

SEED: Final = option("--seed", "Seed of --explore.", "N", type=click.IntRange(min=0))

TIME: Final = option("--seconds", "Time limit of --explore.", "SECONDS", default=SECONDS)


async def explored(
    explore: Explore,
    seed: int | None,
    seconds: float,
    timeouts: Timeouts = DEFAULT_TIMEOUTS,
    way: Way | None = None,
) -> SequenceReport:
    """Test a peer, and show the progress.

    Args:
        explore: tests it.
        seed: of the sequences; without, one is drawn.
        seconds: for all sequences.
        timeouts: the time limits, on this machine.
        way: to a peer whose network is measured, and not trusted.

    Raises:
        ConnectError: the server cannot be reached.
        DriverError: the client's driver cannot be started, or is not one.
    """
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from neffos_conformance.model_based import Plan
    from neffos_conformance.wire.console import Terminal

    chosen = secrets.randbelow(SEEDS) if seed is None else seed
    progress = Progress(
        TextColumn(f"exploring, seed {chosen}"),
        BarColumn(),
        TextColumn("{task.completed} sequences, {task.fields[found]} counterexamples"),
        TimeElapsedColumn(),
        console=Terminal(stderr=True),
        transient=True,
        disable=not sys.stderr.isatty(),
    )
    with progress:
        bar = progress.add_task("", total=SEQUENCES, found=0)

        def update(sequences: int, counterexamples: int) -> None:
            progress.update(bar, completed=sequences, found=counterexamples)

        plan = Plan(chosen, seconds, SEQUENCES, STEPS, timeouts, progress=update, way=way)
        return await explore(plan)


def conclude_explored(report: SequenceReport, sut: SystemUnderTest, run: PreparedRun) -> None:
    """Print and save the counterexamples, and exit.

    Raises:
        SystemExit: as ``conclude``, and 0 where nothing was found; but never 0 if the run broke
            off.
        NothingRanError: the network ended the run before anything was found.
    """
    from neffos_conformance.wire.console import Terminal

    console = Terminal(highlight=False)
    folder = run.options.recordings_folder or FOLDER
    theirs = sut.peer.get("peer", "unknown")
    server, client = (theirs, _suite()) if report.role is Role.SERVER else (_suite(), theirs)
    again = {}
    for each in (*report.counterexamples, *report.doubtful):
        saved = each.save(folder, server, client)
        again[each.id] = _replay(saved, sut)
        console.print(f"{each.id}: {saved}", markup=False, soft_wrap=True)
        for line in each.run.lines:
            console.print(f"  {line}", markup=False, soft_wrap=True)
    summary = (
        f"explored with seed {report.seed}: {report.sequences} sequences, {report.actions} "
        f"actions, {report.messages} messages in {report.seconds:.1f} s; {report.share:.0%} of "
        f"the reachable transitions; {report.ended}; {len(report.counterexamples)} counterexamples"
    )
    if report.doubtful:
        summary += f", {len(report.doubtful)} more that were not reproduced"
    console.print(summary, markup=False, soft_wrap=True)
    if report.lost and not report.counterexamples:
        text = f"the network does not carry what is sent, so nothing is known: {report.lost}"
        raise NothingRanError(text)
    if not report.counterexamples:
        console.print("FAIL: the run broke off" if report.trouble else "PASS: no counterexample")
        sys.exit(1 if report.trouble else 0)
    results = [each.result() for each in report.counterexamples]
    # A known failure that this run did not meet is not stale: another run may meet it.
    ids = frozenset(each.case for each in run.known_failures)
    try:
        conclude(sut, results, replace(run, ids=ids), again)
    except SystemExit as ended:
        sys.exit(ended.code or (1 if report.trouble else 0) or (2 if report.lost else 0))


def _replay(path: Path, sut: SystemUnderTest) -> str:
    """Give the command line that replays a counterexample to the system under test."""
    _, dashes, driver = sut.command.partition(" -- ")
    if sut.role == "server" and sut.name.startswith(("ws:", "wss:")):
        return f"neffos-wire replay {shlex.quote(str(path))} --server {sut.name}"
    if sut.role == "client" and dashes:
        return f"neffos-wire replay {shlex.quote(str(path))} --client {driver}"
    return sut.command  # the reference implementation


def _suite() -> str:
    return f"{PEER} {VERSION}"
