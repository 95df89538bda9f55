"""What model-based testing of a peer found: counterexamples, and how far the run came."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from neffos_codec import Native
from neffos_conformance.cases.definition import Case
from neffos_conformance.cases.script import native_of, read_script
from neffos_conformance.cases.verdict import Verdict, verdict_on
from neffos_conformance.model_based.failures import UNREACHABLE, Failure
from neffos_conformance.model_based.tables import (
    TransitionKey,
    not_reached,
    transitions_of,
    why_unreachable,
)
from neffos_conformance.runner.result import LogEntry, Remark, Result
from neffos_conformance.wire.transcript import ConnectionOpened, Entry, header, save
from neffos_protocol import Role
from neffos_protocol.catalogue import Level, requirement


@dataclass(frozen=True, slots=True)
class SequenceProgress:
    """How far a run is.

    Attributes:
        sequences: that were run.
        counterexamples: that were found.
        is_shrinking: a sequence is being shrunk.
    """

    sequences: int
    counterexamples: int
    is_shrinking: bool = False


@dataclass(frozen=True, slots=True)
class Counterexample:
    """A violation by the peer, with the smallest test sequence that shows it.

    Attributes:
        role: of the peer.
        failure: what it did.
        lines: the sequence in the language of cases, with what a correct peer does.
        log: every message and event.
        seed: of the run.
        index: the sequence that showed it first, from 0.
        actions: of the smallest sequence.
        is_reproduced: it was seen again in the smallest sequence. Otherwise it may be a matter of
            timing.
    """

    role: Role
    failure: Failure
    lines: tuple[str, ...]
    log: tuple[LogEntry, ...]
    seed: int
    index: int
    actions: int
    is_reproduced: bool

    @property
    def requirement(self) -> str:
        """The ID of the requirement that the peer violates."""
        return self.failure.requirement

    @property
    def level(self) -> Level:
        """The level of the requirement."""
        return requirement(self.requirement).level

    @property
    def verdict(self) -> Verdict:
        """The verdict on the peer, by that level."""
        return verdict_on((self.requirement,))

    @property
    def id(self) -> str:
        """Identifies the violation in every run."""
        kind = self.failure.kind
        words = "".join(letter if letter.isalnum() else " " for letter in kind).split()
        return f"{self.requirement}.{'-'.join(words).lower()}"

    @property
    def is_certain(self) -> bool:
        """Whether it counts: it was reproduced, or the peer cannot be reached any more."""
        return self.is_reproduced or self.failure.kind == UNREACHABLE

    @property
    def source(self) -> str:
        """Where it comes from, in words."""
        return f"found by --explore with seed {self.seed}, in sequence {self.index}"

    @property
    def native(self) -> Native:
        """How its connections treat payloads that are not frames."""
        opened = (each.content for each in self.log if isinstance(each.content, ConnectionOpened))
        return native_of(self.role.value, (each.path for each in opened))

    def case(self) -> Case:
        """Give it as a case."""
        return Case(
            id=self.id,
            title=requirement(self.requirement).text,
            requirements=(self.requirement,),
            role="client" if self.role is Role.CLIENT else "server",
            steps=read_script("\n".join(self.lines), self.role.value),
            why=self.source,
        )

    def result(self) -> Result:
        """Give it as the result of that case."""
        return Result(
            self.case(),
            verdict=self.verdict,
            explanation=self.failure.kind,
            actual=self.failure.explanation,
            log=list(self.log),
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
            how=f"neffos-wire {self.role.value} --explore --seed {self.seed}",
            native=self.native.value,
            shows=(self.requirement,),
        )
        entries = [
            Entry(0, each.time, each.connection, each.from_client, each.content)
            for each in self.log
            if not isinstance(each.content, Remark)
        ]
        save(path, first, entries)
        return path


@dataclass(slots=True)
class SequenceReport:
    """The report of a run.

    Attributes:
        role: of the peer.
        seed: of the sequences.
        sequences: that were run.
        actions: that were performed.
        messages: that the suite sent.
        seconds: that the run took.
        ended: why it ended, in a few words.
        reached: the transitions of the state tables that the peer was led through.
        counterexamples: the violations.
        doubtful: violations that were not reproduced. They do not count.
        trouble: why the run broke off, where that is not a violation; else empty.
    """

    role: Role
    seed: int
    sequences: int = 0
    actions: int = 0
    messages: int = 0
    seconds: float = 0.0
    ended: str = ""
    reached: frozenset[TransitionKey] = frozenset()
    counterexamples: tuple[Counterexample, ...] = ()
    doubtful: tuple[Counterexample, ...] = ()
    trouble: str = ""

    @property
    def not_reached(self) -> tuple[TransitionKey, ...]:
        """The transitions that were not reached; ``why_unreachable`` says which cannot be."""
        return not_reached(self.reached, self.role)

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
        found = {each.verdict for each in self.counterexamples}
        gravest = (Verdict.FAIL, Verdict.NON_STRICT, Verdict.INFORMATIONAL)
        return next((each for each in gravest if each in found), Verdict.PASS)
