"""Model-based testing of a peer: runs random test sequences until the time is up, or walks.

A failure is reported once, by its requirement and kind, with the smallest sequence that was found
to show it. The run then passes it over and looks for others.

A library of property-based tests would not do. It treats a test that fails once and passes the
next time as a mistake of the test, but a live peer has a timing of its own. It does not bound a
run in seconds and messages either, or continue after a known failure.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final

from neffos_codec import Native
from neffos_conformance.cases.definition import Case
from neffos_conformance.cases.profile import STANDARD, Profile
from neffos_conformance.cases.script import native_of
from neffos_conformance.cases.verdict import Verdict, most_severe, verdict_on
from neffos_conformance.model_based.actions import ActionSequence
from neffos_conformance.model_based.failures import (
    SILENCES,
    STALLS,
    UNREACHABLE,
    Failure,
    KnownFailures,
    SequenceResult,
)
from neffos_conformance.model_based.generator import generate
from neffos_conformance.model_based.links import Take, drivers, run_on_client, run_on_server
from neffos_conformance.model_based.renaming import modelled
from neffos_conformance.model_based.shrink import MAX_SECONDS, essences, shrink
from neffos_conformance.model_based.tables import (
    TransitionKey,
    transitions_of,
    why_unreachable,
)
from neffos_conformance.model_based.walks import walk
from neffos_conformance.runner.client_steps import dialled
from neffos_conformance.runner.pace import Cost, Opener, Pace, Way
from neffos_conformance.runner.playback import Timeouts
from neffos_conformance.runner.result import Result
from neffos_conformance.runner.run import DEFAULT_TIMEOUTS, opened
from neffos_conformance.runner.varying import WALKED
from neffos_conformance.wire.connection import ConnectError
from neffos_conformance.wire.networks import Network
from neffos_conformance.wire.reach import Target
from neffos_conformance.wire.transcript import ConnectionOpened, header, save
from neffos_conformance.wire.transport import Transport
from neffos_protocol import Role
from neffos_protocol.catalogue import requirement


@dataclass(frozen=True, slots=True)
class Counterexample:
    """A violation by the peer, with the smallest test sequence that shows it.

    Attributes:
        role: of the peer.
        failure: what it did.
        run: what the smallest sequence showed.
        seed: of the run; ``None`` of walks.
        index: the sequence or walk that showed it first, from 0.
        actions: of the smallest sequence.
        is_reproduced: it was seen again in the smallest sequence. Otherwise it may be a matter of
            timing.
    """

    role: Role
    failure: Failure
    run: SequenceResult
    seed: int | None
    index: int
    actions: int
    is_reproduced: bool

    @property
    def requirement(self) -> str:
        """The ID of the requirement that the peer violates."""
        return self.failure.requirement

    @property
    def verdict(self) -> Verdict:
        """The verdict on the peer, by the requirement's level."""
        return verdict_on((self.requirement,))

    @property
    def id(self) -> str:
        """Identifies the violation in every run."""
        kind = self.failure.kind
        words = "".join(letter if letter.isalnum() else " " for letter in kind).split()
        return f"{self.requirement}.{WALKED if self.seed is None else ''}{'-'.join(words).lower()}"

    @property
    def is_certain(self) -> bool:
        """Whether it counts: it was reproduced, or the peer cannot be reached any more."""
        return self.is_reproduced or self.failure.kind == UNREACHABLE

    @property
    def source(self) -> str:
        """Where it comes from, in words."""
        if self.seed is None:
            return f"found by walk {self.index}, and made small"
        return f"found by --explore with seed {self.seed}, in sequence {self.index}"

    @property
    def native(self) -> Native:
        """How its connections treat payloads that are not frames."""
        opened = (
            each.content for each in self.run.log if isinstance(each.content, ConnectionOpened)
        )
        return native_of(self.role.value, (each.path for each in opened))

    def case(self) -> Case:
        """Give it as a case."""
        return Case(
            id=self.id,
            title=requirement(self.requirement).text,
            requirements=(self.requirement,),
            role="client" if self.role is Role.CLIENT else "server",
            steps=self.run.steps(self.role.value),
            why=self.source,
        )

    def result(self) -> Result:
        """Give it as the result of that case."""
        return Result(
            self.case(),
            verdict=self.verdict,
            explanation=self.failure.kind,
            actual=self.failure.explanation,
            log=self.run.log,
        )

    def save(self, folder: Path, server: str, client: str) -> Path:
        """Write its recording, whose header names the seed, and give the file.

        Args:
            folder: of the file.
            server: name and version of the server.
            client: name and version of the client.

        Raises:
            OSError: the file cannot be written.
        """
        path = folder / f"{self.id}.jsonl"
        first = header(
            scenario=f"{self.requirement} violated: {self.failure.kind}; {self.source}",
            client={"peer": client},
            server={"peer": server},
            how=f"neffos-wire test {self.role.value} --explore --seed {self.seed}",
            native=self.native.value,
            shows=(self.requirement,),
        )
        save(path, first, self.result().entries())
        return path


@dataclass(slots=True)
class SequenceReport:
    """The report of a run.

    Attributes:
        role: of the peer.
        seed: of the sequences; ``None`` of walks.
        sequences: that were run.
        actions: that were performed.
        messages: that the suite sent.
        seconds: that the run took.
        ended: why it ended, in a few words.
        reached: the transitions of the state tables that the peer was led through.
        counterexamples: the violations.
        doubtful: violations that were not reproduced. They do not count.
        trouble: why the run broke off, where that is not a violation; else empty.
        lost: why the network does not carry what is sent, if that ended the run; else empty.
    """

    role: Role
    seed: int | None
    sequences: int = 0
    actions: int = 0
    messages: int = 0
    seconds: float = 0.0
    ended: str = ""
    reached: frozenset[TransitionKey] = frozenset()
    counterexamples: tuple[Counterexample, ...] = ()
    doubtful: tuple[Counterexample, ...] = ()
    trouble: str = ""
    lost: str = ""

    @property
    def share(self) -> float:
        """The share of the reachable transitions that was reached, from 0 to 1."""
        reachable = {
            each for each in transitions_of(self.role) if not why_unreachable(each, self.role)
        }
        return len(reachable & self.reached) / len(reachable)

    @property
    def verdict(self) -> Verdict:
        """The gravest verdict of all counterexamples."""
        return most_severe(each.verdict for each in self.counterexamples) or Verdict.PASS


SEQUENCE_SECONDS: Final = 30.0
"""Seconds for one sequence on this machine, whatever the peer does. Most take some hundredths."""

TRIPS: Final = 2
"""Round trips for an action: its own, and that of the barrier after it."""

MESSAGE_SIZE: Final = 1 << 10
"""Bytes of a message: many have some dozens, and few have some thousands."""

MAX_COUNTEREXAMPLES: Final = 50
"""Counterexamples of one run. Test a peer with more violations with the cases first."""

MAX_STALLS: Final = 3
"""Successive sequences in which the peer stalls, before the run ends."""

BINARY: Final = frozenset({"AR-16", "FR-10", "FR-17"})
"""The requirements on what binary messages carry. A peer that violates one of them in cases is
given walks of text, in which it has not failed before it has begun."""

AGAIN: Final = 8
"""Runs of one walk: after a failure, it goes on without what has led to that."""

HASTE: Final = 4.0
"""Divides the timeouts while a sequence is shrunk. The result runs again with the full ones."""


@dataclass(frozen=True)
class Plan:
    """How to test a peer.

    Attributes:
        seed: of the sequences. The same seed generates the same ones. ``None`` runs walks, which
            are the same in each run.
        seconds: after which no sequence is started or shrunk.
        sequences: at most.
        steps: about how many actions each has.
        timeouts: how long to wait for what does not come, on this machine.
        enough: counterexamples, after which the run ends.
        progress: called with the numbers of sequences and counterexamples so far.
        way: to a peer whose network is measured, and not trusted.
        known: requirements that the peer is known to violate: that is not reported again.
    """

    seed: int | None
    seconds: float
    sequences: int
    steps: int
    timeouts: Timeouts = DEFAULT_TIMEOUTS
    enough: int = MAX_COUNTEREXAMPLES
    progress: Callable[[int, int], None] = lambda _, __: None
    way: Way | None = None
    known: frozenset[str] = frozenset()

    @property
    def pace(self) -> Pace:
        """The pace of the peer, as it was measured last."""
        return self.way.pace if self.way else Pace()

    @property
    def sequence_seconds(self) -> float:
        """Seconds for one sequence: a peer that is far away needs more."""
        messages = 2 * TRIPS * self.steps
        cost = Cost(TRIPS * self.steps, messages, messages * MESSAGE_SIZE)
        return SEQUENCE_SECONDS + self.pace.seconds(cost)


async def explore_server(
    server: Target | str,
    plan: Plan,
    features: frozenset[str] | None = None,
    profile: Profile = STANDARD,
) -> SequenceReport:
    """Test a server.

    Args:
        server: the server, or its URL.
        plan: how to test it.
        features: of the application that the server has; ``None`` for all.
        profile: the server's own names.

    Raises:
        ConnectError: the server cannot be reached at the beginning.
    """
    target = Target.of(server)
    run = partial(run_on_server, target, profile=profile)
    if features is not None:
        features = modelled(features, profile)
    opener = partial(opened, target)
    report = await _Exploration(Role.SERVER, plan, features, run, opener).report()
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
    take: Take,
    plan: Plan,
    operations: frozenset[str] | None = None,
    before: Network | None = None,
) -> SequenceReport:
    """Test a client, whatever controls it.

    Args:
        take: gives what controls it, for one sequence.
        plan: how to test it.
        operations: that it supports; ``None`` for all.
        before: the network that is put before the suite.
    """
    run = partial(run_on_client, take, operations, before)
    opener = partial(_dialled, take, before)
    return await _Exploration(Role.CLIENT, plan, operations, run, opener).report()


@asynccontextmanager
async def _dialled(take: Take, before: Network | None) -> AsyncIterator[Transport]:
    async with take() as (driver, between), dialled(driver, between, before) as connection:
        yield connection


@dataclass
class _Exploration:
    """A run in progress."""

    role: Role
    plan: Plan
    supported: frozenset[str] | None
    run: Callable[[ActionSequence, KnownFailures, Timeouts], Awaitable[SequenceResult]]
    opener: Opener
    known: KnownFailures = field(default_factory=KnownFailures)
    found: dict[tuple[str, str], Counterexample] = field(default_factory=dict)
    stalls: int = 0
    _is_new: bool = False

    def __post_init__(self) -> None:
        self._began = time.monotonic()
        self.known.requirements = self.plan.known
        self._report = SequenceReport(self.role, self.plan.seed)

    async def report(self) -> SequenceReport:
        """Run sequences until the time is up, or there is nothing more to learn."""
        report = self._report
        await self._check_network()
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

    @property
    def _timeouts(self) -> Timeouts:
        return self.plan.pace.scaled(self.plan.timeouts)

    async def _check_network(self) -> str:
        """Measure the pace; say why the network does not carry what is sent, if it does not."""
        way = self.plan.way
        return await way.check(self.opener) if way else ""

    async def _run_one(self, index: int) -> str:
        """Run a sequence, and say why the run ends with it; empty where it goes on."""
        report, plan = self._report, self.plan
        if plan.seed is None:
            is_text = not BINARY.isdisjoint(plan.known)
            sequence = walk(self.role, index, self.supported, is_text=is_text)
        else:
            sequence = generate(self.role, plan.seed, index, plan.steps, self.supported)
        for _ in range(AGAIN if plan.seed is None else 1):
            ended = await self._run_sequence(index, sequence)
            if ended or not self._is_new:
                break  # else a walk goes on, without what has failed
        report.sequences += 1
        plan.progress(report.sequences, len(self.found))
        return ended

    async def _run_sequence(self, index: int, sequence: ActionSequence) -> str:
        report, plan = self._report, self.plan
        result = await self._bounded(sequence)
        if result.failure and result.failure.key not in self.found:
            limits = self._timeouts
            report.lost = await self._check_network()
            if report.lost:
                return "the network does not carry what is sent"
            if self._timeouts != limits:  # it is slower than it was
                result = await self._bounded(sequence)
        report.actions += len(result.performed)
        report.reached |= result.reached
        report.trouble = result.trouble
        failure = result.failure
        self._is_new = False
        if failure is not None and not result.trouble:
            self._is_new = failure.key not in self.found
            if failure.key not in self.found and failure.requirement not in plan.known:
                example = await self._shrunk(index, sequence, result, failure)
                self.found.setdefault(example.failure.key, example)
                self.known.add(example.failure)
            self.known.add(failure)
            if plan.seed is None and failure.requirement in SILENCES:
                self.known.requirements |= {failure.requirement}
        self.stalls = self.stalls + 1 if failure and failure.kind == STALLS else 0
        if failure and (failure.kind == UNREACHABLE or self.stalls == MAX_STALLS):
            return failure.kind
        is_enough = len(self.found) >= plan.enough
        return result.trouble or (f"{plan.enough} counterexamples" if is_enough else "")

    async def _bounded(
        self, sequence: ActionSequence, timeouts: Timeouts | None = None
    ) -> SequenceResult:
        """Run a sequence within a time limit."""
        try:
            seconds = self.plan.sequence_seconds
            async with asyncio.timeout(seconds):
                result = await self.run(sequence, self.known, timeouts or self._timeouts)
        except TimeoutError:
            text = f"a sequence did not end within {seconds:g} s"
            result = SequenceResult(Failure("SEC-16", STALLS, text))
        self._report.messages += result.messages
        return result

    async def _shrunk(
        self, index: int, sequence: ActionSequence, result: SequenceResult, failure: Failure
    ) -> Counterexample:
        """Shrink a sequence that showed a failure, and run it again; give what is seen then."""
        smallest = tuple(each for each in sequence if each.number in result.performed)
        usual = self.plan.timeouts
        hasty = replace(usual, after_barrier=usual.after_barrier / HASTE, case=usual.case / HASTE)

        async def shows(other: ActionSequence) -> bool:
            seen = (await self._bounded(other, self.plan.pace.scaled(hasty))).failure
            return seen is not None and seen.requirement == failure.requirement

        is_reproduced = False
        if failure.kind != UNREACHABLE:
            left = self._began + self.plan.seconds - time.monotonic()
            seconds = max(0.0, min(MAX_SECONDS, left))
            for essence in essences(smallest, failure.number):
                if len(essence) < len(smallest) and await shows(essence):
                    smallest = essence
                    break
            for candidate in (await shrink(smallest, shows, seconds=seconds), smallest):
                again = await self._bounded(candidate)
                if again.failure and again.failure.requirement == failure.requirement:
                    smallest, result, is_reproduced = candidate, again, True
                    break
        return Counterexample(
            self.role,
            result.failure or failure,
            result,
            self.plan.seed,
            index,
            len(smallest),
            is_reproduced,
        )
