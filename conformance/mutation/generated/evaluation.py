"""What becomes of a mutant: an oracle says if it is effective, and the suite is to kill it."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator
from contextlib import aclosing, suppress
from dataclasses import asdict, dataclass, field
from functools import cache
from itertools import combinations, islice, zip_longest
from typing import Any, Final, cast, get_args

from mutation import memory_loop
from mutation.client_faults import ClientFault
from mutation.generated import (
    codec_oracle,
    codecs,
    oracle,
    reaching,
    transport,
    transport_oracle,
    walking,
)
from mutation.generated.messages import MessageMutant, PeerRole, mutant_of
from mutation.hooks import Hooks
from neffos_conformance.cases.definition import Case, cases_of
from neffos_conformance.cases.dimensions import variation
from neffos_conformance.cases.varied_script import NotApplicableError
from neffos_conformance.codecs.catalogue import codec_cases
from neffos_conformance.codecs.testing import run_vector
from neffos_conformance.codecs.vectors import askable_vectors
from neffos_conformance.runner.result import Result
from neffos_conformance.runner.run import run_cases

LONG: Final = re.compile(r"(.)\1{40,}")
"""Repetitions that are shown by their number."""

WORDS: Final = ("asked", "expected", "got")
"""What is shown of a codec that survives."""

TRANSPORT: Final = "TR-1"
"""The requirement that every fault of a transport breaks."""

RECENT: Final = 40
"""Cases that killed lately, and are run first."""

KILLED, SURVIVED, UNDECIDED, IDLE = "killed", "survived", "undecided", "idle"


@dataclass(frozen=True, slots=True)
class MutantFate:
    """What became of a mutant.

    Attributes:
        name: of the mutant.
        family: of its operator.
        verdict: ``killed`` or ``survived`` if it is effective, else ``undecided``; ``idle`` where
            it never changed anything.
        requirement: that it breaks, as far as the oracle saw.
        explanation: how.
        acts: how often it changed something before the oracle's conversation ended.
        killer: the case or walk that killed it.
        is_usual: whether that is of a usual run, not of a thorough one alone.
        conversation: a small one that shows what a survivor breaks.
    """

    name: str
    family: str
    verdict: str
    requirement: str = ""
    explanation: str = ""
    acts: int = 0
    killer: str = ""
    is_usual: bool = False
    conversation: list[str] = field(default_factory=list)

    def values(self) -> dict[str, Any]:
        """Give it for a file."""
        return {name: value for name, value in asdict(self).items() if value}


@cache
def vectors_of(operation: str) -> tuple[Case, ...]:
    """Give the vectors of an operation: a mutant of another one answers them correctly."""
    asked = {each["id"] for each in askable_vectors() if each["operation"] == operation}
    return tuple(case for case in codec_cases() if case.id in asked)


REQUESTS: Final = tuple(
    chosen
    for count in (1, 2)
    for chosen in combinations(("with-query", "own-id", "with-cookie"), count)
)
"""The values of which the requests of a thorough run have every two."""

SIZES: Final = ("message-125", "message-126", "message-65535", "message-65536")

CUTS: Final = ("binary", "fragments-2", "fragments-head")


@cache
def more_for_transport() -> tuple[Case, ...]:
    """Give what a thorough run has of requests, sizes and fragments, in some cases of each."""
    usual = [case for case in cases_of("server") if not case.is_flood]
    chosen = [
        *((case, each) for case in usual if case.family in ("HS", "NM", "TR") for each in REQUESTS),
        *((case, (size,)) for case in usual[::SPARSE] for size in SIZES),
        *((case, (size, cut)) for case in usual[::SPARSE] for size in SIZES for cut in CUTS),
    ]
    found = []
    for case, names in chosen:
        with suppress(NotApplicableError):
            found.append(variation(case, names))
    return tuple(found)


SPARSE: Final = 8
"""Of so many cases, one has each size: a frame is cut and read the same in each."""

_recent: list[str] = []


def _killer_of_proxy(peer: Callable[[], Any], *, is_thorough: bool) -> str:
    """Give the first case found that does not pass a mutant; empty if all pass.

    Args:
        peer: makes the mutant.
        is_thorough: run variations of a thorough run, too.
    """
    cases = (*reaching.usual("server").values(), *(more_for_transport() if is_thorough else ()))
    likely = [case for case in cases if TRANSPORT in case.requirements or case.id in _recent]
    others = [case for case in cases if case not in likely]
    for batch in (likely, others):
        found = memory_loop.run(_killer(peer, batch))
        if found:
            _remember(found)
            return found
    return ""


def _is_failed(result: Result) -> bool:
    return result.is_broken or bool(result.violations)


_fair: dict[str, bool] = {}


async def _is_passed_by_the_correct(case: Case) -> bool:
    """Whether the correct peer passes a case: one that it fails says nothing of a mutant."""
    if case.id not in _fair:
        peer: Any = Hooks() if case.role == "server" else ClientFault()
        async with peer.stage() as run:
            _fair[case.id] = not _is_failed(await run(case))
    return _fair[case.id]


async def _killer(peer: Callable[[], Any], cases: list[Case]) -> str:
    async with peer().stage() as run:
        results = cast("AsyncGenerator[Result]", run_cases(run, cases))
        async with aclosing(results):
            async for result in results:
                if _is_failed(result) and await _is_passed_by_the_correct(result.case):
                    return result.case.id
    return ""


def _codec(mutant: codecs.CodecMutant, seed: int) -> MutantFate:
    """Say what becomes of a codec: its answers are compared with those of the reference codec."""
    name, family = mutant.name, mutant.operator.family
    found = codec_oracle.shown_by(mutant, seed)
    if found is None:
        return MutantFate(name, family, UNDECIDED if mutant.count else IDLE, acts=mutant.count)
    shown = [f"{word} {_short(each)}" for word, each in zip(WORDS, found, strict=True)]
    answer = mutant.fault().answer
    cases = vectors_of(codecs.OPS[mutant.kind])
    case = next((each.id for each in cases if run_vector(each, answer).is_broken), "")
    verdict = KILLED if case else SURVIVED
    text = "" if case else "another answer than that of the reference codec"
    return MutantFate(
        name, family, verdict, mutant.requirement, text, 1, case, bool(case), [] if case else shown
    )


def _transport(mutant: transport.TransportMutant, seed: int, *, is_thorough: bool) -> MutantFate:
    """Say what becomes of a proxy: sessions with it are compared with those of a server alone."""
    name, family = mutant.name, mutant.operator.family
    found = transport_oracle.differs(mutant, seed)
    if found is None:
        return MutantFate(name, family, UNDECIDED if mutant.count else IDLE, acts=mutant.count)
    case = _killer_of_proxy(mutant.proxy, is_thorough=is_thorough)
    pairs = zip_longest(*found, fillvalue="nothing")
    first = next((f"expected {a}, actual {b}" for a, b in pairs if a != b), "")
    shown = [] if case else list(found[1])
    return MutantFate(
        name,
        family,
        KILLED if case else SURVIVED,
        TRANSPORT,
        first,
        mutant.count,
        case,
        case in reaching.usual("server"),
        shown,
    )


def _short(values: Any) -> str:
    text = json.dumps(values, ensure_ascii=False)
    return LONG.sub(lambda run: f"<<*{len(run[0])} {run[1]}>>", text)


CANDIDATES: Final = 600
"""Variations that are played with a mutant at most: of all cases in turn, with
values that are likely to meet its trigger. One that passes so many is a survivor, although a whole
thorough run, which has every two values of each case, might still see it."""

BATCH: Final = 40
"""Cases that are played before the next are looked for: a mutant that fails one needs no others."""


def _killed_by(mutant: MessageMutant, requirement: str, ids: Iterable[str]) -> str:
    """Give the first case found that does not pass a mutant, of those in which it can act."""
    cases = _cases(mutant.role, ids)
    while batch := list(islice(cases, BATCH)):
        batch.sort(key=lambda case: requirement not in case.requirements)
        if found := memory_loop.run(_killer(lambda: mutant.peer()[0], batch)):
            return found
    return ""


def _cases(role: PeerRole, ids: Iterable[str]) -> Iterator[Case]:
    """Give cases by their IDs; of those that are none, nothing."""
    for id_ in islice(ids, CANDIDATES):
        with suppress(NotApplicableError):
            yield reaching.case_of(role, id_)


def _killed(mutant: MessageMutant, requirement: str, *, is_thorough: bool) -> tuple[str, bool]:
    """Give the case or walk that kills a mutant, if any, and whether it is one of a usual run."""
    reached = reaching.of_usual(mutant.role)
    if usual := _killed_by(mutant, requirement, reached.of(mutant)):
        return usual, True
    walk, is_usual = walking.killer(mutant, is_thorough=is_thorough)
    if walk or not is_thorough:
        return walk, is_usual
    return _killed_by(mutant, requirement, reached.likely(mutant)), False


def prepare(role: str, map_: Callable[..., Iterable[Any]], *, is_thorough: bool) -> None:
    """Note what the correct peer meets, once for all processes that are forked from this one.

    Args:
        role: of the mutants to evaluate.
        map_: that of a pool, which plays the cases and walks concurrently.
        is_thorough: note the walks of a thorough run, too.
    """
    if role in get_args(PeerRole):
        peer = cast("PeerRole", role)
        reaching.note_usual(peer, map_)
        walking.note(peer, map_, is_thorough=is_thorough)


def _remember(found: str) -> None:
    if found in _recent:
        _recent.remove(found)
    _recent.insert(0, found)
    del _recent[RECENT:]


def evaluated(name: str, seed: int, *, is_thorough: bool = False) -> MutantFate:
    """Say what becomes of a mutant.

    Args:
        name: of the mutant.
        seed: of the oracle's conversations.
        is_thorough: run variations of a thorough run, too.
    """
    if name.startswith("codec:"):
        return _codec(codecs.codec_mutant_of(name), seed)
    logging.disable()  # a fault makes handlers fail, and each failure would be logged
    if name.startswith("transport:"):
        return _transport(transport.transport_mutant_of(name), seed, is_thorough=is_thorough)
    mutant = mutant_of(name)
    found = oracle.ask(mutant, seed)
    if not found.is_effective:
        return MutantFate(name, mutant.family, UNDECIDED if found.acts else IDLE, acts=found.acts)
    case, is_usual = _killed(mutant, found.requirement, is_thorough=is_thorough)
    shown = [] if case else list(oracle.shortest(mutant, seed, found))
    return MutantFate(
        name,
        mutant.family,
        KILLED if case else SURVIVED,
        found.requirement,
        found.explanation,
        found.acts,
        case,
        is_usual,
        shown,
    )
