"""Model-based testing of a peer: runs random test sequences until the time is up.

A failure is reported once, by its requirement and kind, with the smallest sequence that was found
to show it. The run then passes it over and looks for others.

A library of property-based tests would not do. It treats a test that fails once and passes the
next time as a mistake of the test, but a live peer has a timing of its own. It does not bound a
run in seconds and messages either, or continue after a known failure.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from neffos_conformance.model_based.actions import ActionSequence
from neffos_conformance.model_based.client_link import Take, drivers, run_on_client
from neffos_conformance.model_based.failures import (
    STALLS,
    UNREACHABLE,
    Failure,
    KnownFailures,
    SequenceResult,
)
from neffos_conformance.model_based.generator import sequence_for_client, sequence_for_server
from neffos_conformance.model_based.report import (
    Counterexample,
    SequenceProgress,
    SequenceReport,
)
from neffos_conformance.model_based.server_link import run_on_server
from neffos_conformance.model_based.shrink import MAX_SECONDS, shrink
from neffos_conformance.runner.playback import Timeouts
from neffos_conformance.runner.run import DEFAULT_TIMEOUTS
from neffos_conformance.wire.connection import ConnectError
from neffos_protocol import Role

SEQUENCE_SECONDS: Final = 30.0
"""Seconds for one sequence, whatever the peer does. Most take some hundredths."""

MAX_COUNTEREXAMPLES: Final = 50
"""Counterexamples of one run. Test a peer with more violations with the cases first."""

MAX_STALLS: Final = 3
"""Successive sequences in which the peer stalls, before the run ends."""

HASTE: Final = 4.0
"""Divides the timeouts while a sequence is shrunk. The result runs again with the full ones."""


@dataclass(frozen=True)
class Plan:
    """How to test a peer.

    Attributes:
        seed: of the sequences. The same seed generates the same ones.
        seconds: after which no sequence is started or shrunk.
        sequences: at most.
        steps: about how many actions each has.
        timeouts: how long to wait for what does not come.
        enough: counterexamples, after which the run ends.
        progress: called after each sequence.
    """

    seed: int
    seconds: float
    sequences: int
    steps: int
    timeouts: Timeouts = DEFAULT_TIMEOUTS
    enough: int = MAX_COUNTEREXAMPLES
    progress: Callable[[SequenceProgress], None] = lambda _: None


async def explore_server(
    url: str, plan: Plan, features: frozenset[str] | None = None
) -> SequenceReport:
    """Test the server at a URL.

    Args:
        url: of the conformance application.
        plan: how to test it.
        features: of the application that the server has; ``None`` for all.

    Raises:
        ConnectError: the server cannot be reached at the beginning.
    """

    async def run(
        sequence: ActionSequence, known: KnownFailures, timeouts: Timeouts
    ) -> SequenceResult:
        return await run_on_server(url, sequence, known, timeouts)

    def make(index: int) -> ActionSequence:
        return sequence_for_server(plan.seed, index, plan.steps, features)

    report = await _Exploration(Role.SERVER, plan, make, run).report()
    first = next(iter(report.counterexamples), None)
    if first and first.failure.kind == UNREACHABLE and report.sequences == report.actions == 1:
        raise ConnectError(first.failure.explanation)
    return report


async def explore_client(command: Sequence[str], plan: Plan) -> SequenceReport:
    """Test the client that a driver controls.

    Args:
        command: starts the driver. Operations that it does not support are not drawn.
        plan: how to test it.

    Raises:
        DriverError: the driver cannot be started, or is not one.
    """
    async with drivers(command) as (take, _, operations):
        return await explore_driven(take, plan, operations)


async def explore_driven(
    take: Take, plan: Plan, operations: frozenset[str] | None = None
) -> SequenceReport:
    """Test a client, whatever controls it.

    Args:
        take: gives what controls it, for one sequence.
        plan: how to test it.
        operations: that it supports; ``None`` for all.
    """

    async def run(
        sequence: ActionSequence, known: KnownFailures, timeouts: Timeouts
    ) -> SequenceResult:
        return await run_on_client(take, sequence, known, timeouts, operations)

    def make(index: int) -> ActionSequence:
        return sequence_for_client(plan.seed, index, plan.steps, operations)

    return await _Exploration(Role.CLIENT, plan, make, run).report()


@dataclass
class _Exploration:
    """A run in progress."""

    role: Role
    plan: Plan
    make: Callable[[int], ActionSequence]
    run: Callable[[ActionSequence, KnownFailures, Timeouts], Awaitable[SequenceResult]]
    known: KnownFailures = field(default_factory=KnownFailures)
    found: dict[tuple[str, str], Counterexample] = field(default_factory=dict)
    stalls: int = 0

    def __post_init__(self) -> None:
        self._began = time.monotonic()
        self._report = SequenceReport(self.role, self.plan.seed)

    async def report(self) -> SequenceReport:
        """Run sequences until the time is up, or there is nothing more to learn."""
        report = self._report
        for index in range(self.plan.sequences):
            if time.monotonic() > self._began + self.plan.seconds:
                report.ended = "the time was up"
                break
            report.ended = await self._run_one(index)
            if report.ended:
                break
        report.ended = report.ended or "all sequences were run"
        report.seconds = time.monotonic() - self._began
        found = self.found.values()
        report.counterexamples = tuple(each for each in found if each.is_certain)
        report.doubtful = tuple(each for each in found if not each.is_certain)
        return report

    async def _run_one(self, index: int) -> str:
        """Run a sequence, and say why the run ends with it; empty where it goes on."""
        report, sequence = self._report, self.make(index)
        result = await self._bounded(sequence)
        report.sequences += 1
        report.actions += len(result.performed)
        report.reached |= result.reached
        report.trouble = result.trouble
        failure = result.failure
        if failure is not None and not result.trouble:
            if failure.key not in self.found:
                example = await self._shrunk(index, sequence, result, failure)
                self.found.setdefault(example.failure.key, example)
                self.known.add(example.failure)
            self.known.add(failure)
        self.stalls = self.stalls + 1 if failure and failure.kind == STALLS else 0
        self._tell()
        if failure and (failure.kind == UNREACHABLE or self.stalls == MAX_STALLS):
            return failure.kind
        is_enough = len(self.found) >= self.plan.enough
        return result.trouble or (f"{self.plan.enough} counterexamples" if is_enough else "")

    async def _bounded(
        self, sequence: ActionSequence, timeouts: Timeouts | None = None
    ) -> SequenceResult:
        """Run a sequence within a time limit."""
        try:
            async with asyncio.timeout(SEQUENCE_SECONDS):
                result = await self.run(sequence, self.known, timeouts or self.plan.timeouts)
        except TimeoutError:
            text = f"a sequence did not end within {SEQUENCE_SECONDS:g} s"
            result = SequenceResult(Failure("SEC-16", STALLS, text))
        self._report.messages += result.messages
        return result

    async def _shrunk(
        self, index: int, sequence: ActionSequence, result: SequenceResult, failure: Failure
    ) -> Counterexample:
        """Shrink a sequence that showed a failure, and run it again; give what is seen then."""
        smallest = tuple(each for each in sequence if each.number in result.performed)
        full = self.plan.timeouts
        hasty = replace(full, after_barrier=full.after_barrier / HASTE, case=full.case / HASTE)

        async def shows(other: ActionSequence) -> bool:
            self._tell(is_shrinking=True)
            seen = (await self._bounded(other, hasty)).failure
            return seen is not None and seen.requirement == failure.requirement

        is_reproduced = False
        if failure.kind != UNREACHABLE:
            left = self._began + self.plan.seconds - time.monotonic()
            seconds = max(0.0, min(MAX_SECONDS, left))
            for candidate in (await shrink(smallest, shows, seconds=seconds), smallest):
                again = await self._bounded(candidate)
                if again.failure and again.failure.requirement == failure.requirement:
                    smallest, result, is_reproduced = candidate, again, True
                    break
        return Counterexample(
            self.role,
            result.failure or failure,
            tuple(result.lines),
            tuple(result.log),
            self.plan.seed,
            index,
            len(smallest),
            is_reproduced,
        )

    def _tell(self, *, is_shrinking: bool = False) -> None:
        sequences, found = self._report.sequences, len(self.found)
        self.plan.progress(SequenceProgress(sequences, found, is_shrinking))
