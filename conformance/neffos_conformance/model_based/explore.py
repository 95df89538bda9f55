"""Explores a peer: plays random programs until the time is up, and tells what was found.

A fault is reported once, by the requirement that it breaks and its kind, with the smallest
program that was found to show it; then it is passed over, and others are looked for.

What makes and shrinks the programs is of this package, and not a library of property-based
tests: these take a test that fails once and passes the next time for a mistake of the test, and a
live peer has a timing of its own. Nor do they bound a run in seconds and messages, or go on
behind what is known.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from neffos_codec import Native
from neffos_conformance.cases.definition import Case, Role
from neffos_conformance.cases.script import native_of, read_script
from neffos_conformance.cases.verdict import Verdict, verdict_on
from neffos_conformance.model_based import clients, servers
from neffos_conformance.model_based.actions import Program
from neffos_conformance.model_based.clients.moving import Take, drivers
from neffos_conformance.model_based.coverage import TransitionId, beyond, not_reached, rows_of
from neffos_conformance.model_based.faults import GONE, HANGS, Failure, Known, Played
from neffos_conformance.model_based.shrink import MAX_SECONDS, shrink
from neffos_conformance.runner.playback import Timeouts
from neffos_conformance.runner.result import LogEntry, Remark, Result
from neffos_conformance.runner.run import DEFAULT_TIMEOUTS
from neffos_conformance.wire.connection import ConnectError
from neffos_conformance.wire.transcript import ConnectionOpened, Entry, header, save
from neffos_protocol import Role as Side
from neffos_protocol.catalogue import Level, requirement

PROGRAM_SECONDS: Final = 30.0
"""Seconds for one program, whatever the peer does; most take some hundredths."""

MAX_FINDINGS: Final = 50
"""Findings of one run: a peer that breaks more is better judged by the cases first."""

MAX_HANGS: Final = 3
"""Programs in a row on which the peer hangs, before the run is given up."""

HASTE: Final = 4.0
"""How much less is waited for what does not come while a program is shrunk; what comes out of it
is played once more without haste."""


SIDES: Final = {"server": Side.SERVER, "client": Side.CLIENT}
"""What the state tables call a peer of each role."""

Play = Callable[[Program, Known, Timeouts], Awaitable[Played]]
"""Plays a program to the peer."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a run has come.

    Attributes:
        programs: that were played.
        of: how many there are to be.
        steps: actions that were done.
        messages: that were sent.
        findings: how many there are.
        seconds: since the run began.
        is_shrinking: a program is being made small.
    """

    programs: int
    of: int
    steps: int
    messages: int
    findings: int
    seconds: float
    is_shrinking: bool = False


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that the peer does wrong, with the smallest program that shows it.

    Attributes:
        role: of the peer.
        requirement: what it breaks.
        kind: in which way, in a few words; the same at every run.
        explanation: what is wrong, with what came.
        lines: the program in the language of cases, as it should have gone.
        exchange: all that went by.
        seed: of the run.
        index: which program of the run showed it first, from 0.
        actions: how many actions the smallest program has.
        is_seen_again: it was seen when the smallest program was played once more; what was seen
            once only may be a matter of timing.
    """

    role: Role
    requirement: str
    kind: str
    explanation: str
    lines: tuple[str, ...]
    exchange: tuple[LogEntry, ...]
    seed: int
    index: int
    actions: int
    is_seen_again: bool

    @property
    def level(self) -> Level:
        """The level of the requirement."""
        return requirement(self.requirement).level

    @property
    def verdict(self) -> Verdict:
        """How much it weighs."""
        return verdict_on((self.requirement,))

    @property
    def id(self) -> str:
        """By what it is told from others, and known at another run."""
        words = "".join(letter if letter.isalnum() else " " for letter in self.kind).split()
        return f"{self.requirement}.{'-'.join(words).lower()}"

    @property
    def is_certain(self) -> bool:
        """Whether it counts: it was seen again, or the peer is gone for good."""
        return self.is_seen_again or self.kind == GONE

    @property
    def entries(self) -> list[Entry]:
        """What went by, as the lines of a transcript."""
        return [
            Entry(0, each.time, each.connection, each.from_client, each.content)
            for each in self.exchange
            if not isinstance(each.content, Remark)
        ]

    @property
    def native(self) -> Native:
        """What becomes of what is no frame on its connections."""
        opened = (
            each.content for each in self.exchange if isinstance(each.content, ConnectionOpened)
        )
        return native_of(self.role, (each.path for each in opened))

    def case(self) -> Case:
        """Give it as a case."""
        return Case(
            id=self.id,
            title=requirement(self.requirement).text,
            requirements=(self.requirement,),
            role=self.role,
            steps=read_script("\n".join(self.lines), self.role),
            why=f"found by exploring with the seed {self.seed}, in program {self.index}",
        )

    def result(self) -> Result:
        """Give it as what came of that case."""
        return Result(
            self.case(),
            verdict=self.verdict,
            explanation=self.kind,
            actual=self.explanation,
            log=list(self.exchange),
        )

    def save(self, folder: Path, server: str, client: str) -> Path:
        """Write its transcript, whose header names the seed, and give where it is.

        Args:
            folder: where to.
            server: name and version of the server.
            client: name and version of the client.

        Raises:
            OSError: it cannot be written.
        """
        path = folder / f"{self.id}.jsonl"
        first = header(
            scenario=f"{self.requirement} broken: {self.kind}; found by exploring with the seed "
            f"{self.seed}, in program {self.index}",
            client={"peer": client},
            server={"peer": server},
            how=f"neffos-wire test {self.role} --explore --seed {self.seed}",
            native=self.native.value,
            shows=(self.requirement,),
        )
        save(path, first, self.entries)
        return path


@dataclass(frozen=True, slots=True)
class Explored:
    """What came of a run.

    Attributes:
        role: of the peer.
        seed: of its programs.
        programs: how many were played.
        steps: actions that were done.
        messages: that were sent.
        seconds: how long it took.
        ended: why it ended, in a few words.
        reached: the rows of the state tables that the peer was led through.
        findings: what was wrong.
        doubtful: what was wrong once, and not when it was played again: of no weight, since it may
            be a matter of timing.
        trouble: why the run broke off, where that is not for the peer to answer; else empty.
    """

    role: Role
    seed: int
    programs: int = 0
    steps: int = 0
    messages: int = 0
    seconds: float = 0.0
    ended: str = ""
    reached: frozenset[TransitionId] = frozenset()
    findings: tuple[Finding, ...] = ()
    doubtful: tuple[Finding, ...] = ()
    trouble: str = ""

    @property
    def not_reached(self) -> tuple[TransitionId, ...]:
        """The rows that were not reached; ``coverage.beyond`` says of which none could be."""
        return not_reached(self.reached, SIDES[self.role])

    @property
    def share(self) -> float:
        """How much of what can be reached was, from 0 to 1."""
        role = SIDES[self.role]
        can_be = [row for row in rows_of(role) if not beyond(row, role)]
        return len(self.reached.intersection(can_be)) / len(can_be)

    @property
    def verdict(self) -> Verdict:
        """The gravest of all findings."""
        found = {each.verdict for each in self.findings}
        gravest = (Verdict.FAIL, Verdict.NON_STRICT, Verdict.INFORMATIONAL)
        return next((each for each in gravest if each in found), Verdict.PASS)


@dataclass(slots=True)
class _Run:
    """A run at work."""

    role: Role
    make: Callable[[int], Program]
    player: Play
    seed: int
    of: int
    tell: Callable[[Progress], None]
    patience: Timeouts
    until: float
    enough: int
    began: float = field(default_factory=time.monotonic)
    known: Known = field(default_factory=Known)
    found: dict[tuple[str, str], Finding] = field(default_factory=dict)
    reached: set[TransitionId] = field(default_factory=set)
    programs: int = 0
    steps: int = 0
    messages: int = 0

    def progress(self, *, is_shrinking: bool = False) -> None:
        seconds = time.monotonic() - self.began
        self.tell(
            Progress(
                self.programs,
                self.of,
                self.steps,
                self.messages,
                len(self.found),
                seconds,
                is_shrinking,
            )
        )

    async def play(self, made: Program, patience: Timeouts | None = None) -> Played:
        """Play a program, bounded in time."""
        try:
            async with asyncio.timeout(PROGRAM_SECONDS):
                played = await self.player(made, self.known, patience or self.patience)
        except TimeoutError:
            text = f"a program was not over after {PROGRAM_SECONDS:g} s"
            played = Played(Failure("SEC-16", HANGS, text))
        self.messages += played.messages
        return played


async def explore_server(
    url: str,
    *,
    seed: int,
    seconds: float,
    programs: int,
    steps: int,
    features: frozenset[str] | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
    patience: Timeouts = DEFAULT_TIMEOUTS,
    enough: int = MAX_FINDINGS,
) -> Explored:
    """Explore the server at a URL.

    Args:
        url: of the conformance application.
        seed: of the programs; the same makes the same.
        seconds: after which no further program is begun, and none is shrunk any further.
        programs: how many are played at most.
        steps: about how many actions each of them has.
        features: the parts of the application that the server has; ``None`` for all.
        progress: told how far it has come.
        patience: how long is waited for what does not come.
        enough: findings behind which no further are looked for.

    Raises:
        ConnectError: the server cannot be reached at the beginning.
    """

    async def player(made: Program, known: Known, waits: Timeouts) -> Played:
        return await servers.play(url, made, known, waits)

    def make(index: int) -> Program:
        return servers.program(seed, index, steps, features)

    until = time.monotonic() + seconds
    run = _Run("server", make, player, seed, programs, progress, patience, until, enough)
    found = await _explore(run)
    lost = next((each for each in found.findings if each.kind == GONE), None)
    if lost is not None and run.programs == run.steps == 1:
        raise ConnectError(lost.explanation)
    return found


async def explore_client(
    command: Sequence[str],
    *,
    seed: int,
    seconds: float,
    programs: int,
    steps: int,
    progress: Callable[[Progress], None] = lambda _: None,
    patience: Timeouts = DEFAULT_TIMEOUTS,
    enough: int = MAX_FINDINGS,
) -> Explored:
    """Explore the client behind a driver. What the driver does not support is not drawn.

    Args:
        command: starts the driver.
        seed: of the programs; the same makes the same.
        seconds: after which no further program is begun, and none is shrunk any further.
        programs: how many are played at most.
        steps: about how many actions each of them has.
        progress: told how far it has come.
        patience: how long is waited for what does not come.
        enough: findings behind which no further are looked for.

    Raises:
        DriverError: it cannot be started, or is not a driver.
    """
    async with drivers(command) as (take, _, operations):
        return await explore_moved(
            take,
            seed=seed,
            seconds=seconds,
            programs=programs,
            steps=steps,
            operations=operations,
            progress=progress,
            patience=patience,
            enough=enough,
        )


async def explore_moved(
    take: Take,
    *,
    seed: int,
    seconds: float,
    programs: int,
    steps: int,
    operations: frozenset[str] | None = None,
    progress: Callable[[Progress], None] = lambda _: None,
    patience: Timeouts = DEFAULT_TIMEOUTS,
    enough: int = MAX_FINDINGS,
) -> Explored:
    """Explore a client, whatever moves it; as ``explore_client``.

    Args:
        take: gives what moves it, for one program.
        seed: see there.
        seconds: see there.
        programs: see there.
        steps: see there.
        operations: what the client can be told; ``None`` for all.
        progress: see there.
        patience: see there.
        enough: see there.
    """

    async def player(made: Program, known: Known, waits: Timeouts) -> Played:
        return await clients.play(take, made, known, waits, operations)

    def make(index: int) -> Program:
        return clients.program(seed, index, steps, operations)

    until = time.monotonic() + seconds
    run = _Run("client", make, player, seed, programs, progress, patience, until, enough)
    return await _explore(run)


async def _explore(run: _Run) -> Explored:
    """Play programs until the time is up, or there is nothing more to learn."""
    ended, trouble = "all programs were played", ""
    hangs = 0
    for index in range(run.of):
        if time.monotonic() > run.until:
            ended = "the time was up"
            break
        made = run.make(index)
        played = await run.play(made)
        run.programs += 1
        run.steps += played.steps
        run.reached |= played.reached
        fault = played.fault
        if played.trouble:
            ended = trouble = played.trouble
            break
        if fault is None:
            hangs = 0
            run.progress()
            continue
        if fault.key in run.found:
            run.known.add(fault)
        else:
            run.progress(is_shrinking=True)
            finding, smallest = await _made_small(run, index, made, played, fault)
            run.found.setdefault(smallest.key, finding)
            run.known.add(smallest)
            run.known.add(fault)
        run.progress()
        hangs = hangs + 1 if fault.kind == HANGS else 0
        if fault.kind == GONE or hangs == MAX_HANGS:
            ended = fault.kind
            break
        if len(run.found) >= run.enough:
            ended = f"there were {run.enough} findings"
            break
    return Explored(
        run.role,
        run.seed,
        run.programs,
        run.steps,
        run.messages,
        time.monotonic() - run.began,
        ended,
        frozenset(run.reached),
        tuple(each for each in run.found.values() if each.is_certain),
        tuple(each for each in run.found.values() if not each.is_certain),
        trouble,
    )


async def _made_small(
    run: _Run, index: int, made: Program, played: Played, fault: Failure
) -> tuple[Finding, Failure]:
    """Shrink a program that showed a fault, and see it once more; give what is seen then."""
    done = tuple(action for action in made if action.number in played.done)
    patience = replace(
        run.patience,
        after_barrier=run.patience.after_barrier / HASTE,
        case=run.patience.case / HASTE,
    )

    async def shows(other: Program) -> bool:
        run.progress(is_shrinking=True)
        found = (await run.play(other, patience)).fault
        return found is not None and found.requirement == fault.requirement

    is_seen_again = False
    if fault.kind != GONE:
        left = max(0.0, min(MAX_SECONDS, run.until - time.monotonic()))
        for candidate in (await shrink(done, shows, seconds=left), done):
            again = await run.play(candidate)
            if again.fault is not None and again.fault.requirement == fault.requirement:
                done, played, fault = candidate, again, again.fault
                is_seen_again = True
                break
    finding = Finding(
        run.role,
        fault.requirement,
        fault.kind,
        fault.explanation,
        tuple(played.lines),
        tuple(played.exchange),
        run.seed,
        index,
        len(done),
        is_seen_again,
    )
    return finding, fault
