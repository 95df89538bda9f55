"""The kill matrix: which case fails on which mutant, and what that proves.

``python -m neffos_conformance.mutants.kills`` works it out anew, or for some cases or mutants
prints what they do to each other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from neffos_conformance.mutants.bank import BANK, Mutant
from neffos_conformance.suite.case import Case
from neffos_conformance.suite.run import run_cases

AT_ONCE: Final = 6
"""Mutants at the same time: most of them are waited for, and not worked at."""

Kills = Mapping[str, frozenset[str]]
"""The ids of the cases that fail on each mutant, by the mutant's name."""


async def killers(mutant: Mutant, cases: Sequence[Case]) -> frozenset[str]:
    """Give the cases that fail on a mutant, in what they are about."""
    async with mutant.stage() as run:
        return frozenset(
            [result.case.id async for result in run_cases(run, cases) if result.is_broken]
        )


async def kills_of(mutants: Iterable[Mutant], cases: Sequence[Case]) -> Kills:
    """Play every case to every mutant of its role."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(mutant: Mutant) -> tuple[str, frozenset[str]]:
        async with slots:
            fitting = [case for case in cases if case.role == mutant.role]
            return mutant.name, await killers(mutant, fitting)

    return dict(await asyncio.gather(*map(one, mutants)))


def survivors(cases: Iterable[Case], kills: Kills) -> list[str]:
    """Give the cases that fail on no mutant."""
    deadly = frozenset[str]().union(*kills.values())
    return [case.id for case in cases if case.id not in deadly]


def proven(cases: Iterable[Case], kills: Kills) -> frozenset[str]:
    """Give the requirements that have a mutant which only their cases kill."""
    shows = {case.id: case.requirements for case in cases}
    found = set()
    for name, killed_by in kills.items():
        breaks = BANK[name].breaks
        if breaks and killed_by and all(breaks in shows[id_] for id_ in killed_by):
            found.add(breaks)
    return frozenset(found)
