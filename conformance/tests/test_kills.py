"""The suite is tested on peers that are wrong on purpose: the matrix says so, and is true.

The whole matrix is worked out by ``make kills``. Here each case is played to one of the mutants
that it is said to fail on.
"""

import asyncio
from collections import defaultdict

import pytest

from neffos_conformance.cases import EVERY_ROLE, all_cases
from neffos_conformance.mutants import BANK
from neffos_conformance.mutants.kills import breaks, complaints, killers, recorded
from neffos_conformance.suite.case import SLOW
from neffos_protocol.catalogue import requirements

AT_LEAST = 80
"""Mutants that were promised."""

AT_ONCE = 4
"""Mutants at the same time: most of them are waited for, and not worked at."""


def test_the_bank_is_as_large_as_promised():
    assert sum(bool(mutant.breaks) for mutant in BANK.values()) >= AT_LEAST


def test_the_matrix_has_every_mutant_and_no_other():
    assert recorded().keys() == BANK.keys()


def test_every_mutant_names_a_requirement_and_says_what_it_does():
    for mutant in BANK.values():
        assert not mutant.breaks or mutant.breaks in requirements(), mutant.name
        assert mutant.about.endswith("."), mutant.name


def test_the_matrix_names_cases_that_there_are():
    ids = {case.id for role in EVERY_ROLE for case in all_cases(role)}
    assert set().union(*recorded().values()) <= ids


@pytest.mark.parametrize("role", EVERY_ROLE)
def test_every_case_kills_and_every_requirement_is_proven_and_what_is_odd_lives(role):
    assert complaints(role, all_cases(role), recorded()) == []


def chosen(role):
    """Give a few mutants that kill every case together, with the cases that are to be played."""
    kills = {name: set(ids) for name, ids in recorded().items() if BANK[name].role == role}
    slow = {case.id for case in all_cases(role) if SLOW in case.tags}
    left = set().union(*(ids for name, ids in kills.items() if breaks(name))) - slow
    found = {}
    while left:
        best = max(sorted(kills), key=lambda name: len(kills[name] & left))
        found[best] = kills[best] & left
        left -= found[best]
    return found


@pytest.mark.parametrize("role", EVERY_ROLE)
def test_every_case_fails_on_a_mutant_that_it_is_said_to_fail_on(role):
    cases = {case.id: case for case in all_cases(role)}

    async def run():
        slots = asyncio.Semaphore(AT_ONCE)

        async def one(name, ids):
            async with slots:
                lived[name] = ids - await killers(BANK[name], [cases[id_] for id_ in sorted(ids)])

        lived = defaultdict(set)
        await asyncio.gather(*(one(name, ids) for name, ids in chosen(role).items()))
        return {name: ids for name, ids in lived.items() if ids}

    assert asyncio.run(run()) == {}
