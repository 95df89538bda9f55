"""The kill matrix: which case fails on which mutant, and what that proves.

``python -m mutation`` works it out.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from mutation.registry import BANK, Mutant
from neffos_conformance.cases.definition import Case, Role
from neffos_conformance.codecs.catalogue import all_cases
from neffos_conformance.runner.run import run_cases
from neffos_conformance.runner.run_report import SEEN_IN
from neffos_protocol.catalogue import Level, requirements

AT_ONCE: Final = 5
"""Mutants at the same time, in one process: they are waited for more than they are worked at."""

FLOODS: Final = "limits"
"""The tag of cases that send very much. They are played to those mutants alone that break a
requirement which such cases are about: to all of them, they would take longer than the rest."""

KILLS_FORMAT: Final = 1
KILLS_FILE: Final = "kills.json"
"""The matrix as it was last worked out, beside this module."""

STRONG: Final = frozenset({Level.MUST, Level.MUST_NOT, Level.SHOULD, Level.SHOULD_NOT})
"""The levels whose requirements have to be proven."""

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
    flooded = {id_ for case in cases if FLOODS in case.tags for id_ in case.requirements}

    async def one(mutant: Mutant) -> tuple[str, frozenset[str]]:
        async with slots:
            fitting = [
                case
                for case in cases
                if case.role == mutant.role
                and (FLOODS not in case.tags or mutant.breaks in flooded)
            ]
            return mutant.name, await killers(mutant, fitting)

    return dict(await asyncio.gather(*map(one, mutants)))


def survivors(cases: Iterable[Case], kills: Kills) -> list[str]:
    """Give the cases that fail on no mutant."""
    deadly = frozenset[str]().union(*(killed for name, killed in kills.items() if breaks(name)))
    return [case.id for case in cases if case.id not in deadly]


def proven(cases: Iterable[Case], kills: Kills) -> frozenset[str]:
    """Give the requirements that have a mutant which only their cases kill."""
    shows = {case.id: case.requirements for case in cases}
    found = set()
    for name, killed_by in kills.items():
        broken = breaks(name)
        if broken and killed_by and all(broken in shows[id_] for id_ in killed_by):
            found.add(broken)
    return frozenset(found)


def breaks(name: str) -> str:
    """Give the requirement that a mutant breaks; empty for one that is only odd."""
    return BANK[name].breaks


def needing_proof(role: Role) -> frozenset[str]:
    """Give the requirements that must have a mutant of a role: MUST and SHOULD that can be seen."""
    return frozenset(
        id_
        for id_, each in requirements().items()
        if SEEN_IN[role] in each.testable and each.level in STRONG
    )


def complaints(role: Role, cases: Sequence[Case], kills: Kills) -> list[str]:
    """Say what the matrix of a role does not prove, in a sentence each."""
    here = {name: killed for name, killed in kills.items() if BANK[name].role == role}
    found = [f"{id_} fails on no mutant" for id_ in survivors(cases, here)]
    found += [
        f"{id_} has no mutant that only its cases kill"
        for id_ in sorted(needing_proof(role) - proven(cases, here))
    ]
    for name, killed in sorted(here.items()):
        if breaks(name) and not killed:
            found.append(f"{name} fails no case")
        if not breaks(name) and killed:
            found.append(f"{name} is odd, and not wrong, but fails {' '.join(sorted(killed))}")
    return found


def proofs(role: Role, kills: Kills) -> dict[str, str]:
    """Give for each requirement the mutant of a role that only its cases kill, the fewest of them.

    Played to all cases, these and the odd ones show whether the matrix still proves what it did.
    """
    shows = {case.id: case.requirements for case in all_cases(role)}
    found: dict[str, str] = {}
    for name in sorted(kills, key=lambda name: (len(kills[name]), name)):
        broken = breaks(name)
        if BANK[name].role != role or not broken or not kills[name]:
            continue
        if all(broken in shows[id_] for id_ in kills[name]):
            found.setdefault(broken, name)
    return found


def values_of(kills: Kills) -> dict[str, Any]:
    """Give the matrix as values for JSON."""
    return {
        "format": KILLS_FORMAT,
        "mutants": {
            name: {
                "role": mutant.role,
                "breaks": mutant.breaks,
                "about": mutant.about,
                "killed_by": sorted(kills[name]),
            }
            for name, mutant in sorted(BANK.items())
            if name in kills
        },
    }


def recorded() -> Kills:
    """Give the matrix that comes with the package."""
    text = (Path(__file__).parent / KILLS_FILE).read_text("utf-8")
    return {
        name: frozenset(each["killed_by"]) for name, each in json.loads(text)["mutants"].items()
    }
