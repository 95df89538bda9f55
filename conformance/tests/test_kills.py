"""The suite is tested on peers that are wrong on purpose: the matrix says so, and is true.

The whole matrix is worked out by ``make kills``. Here each case is played to one of the mutants
that it is said to fail on.
"""

import asyncio
from collections import defaultdict

import pytest

from mutation import BANK
from mutation.kill_matrix import (
    breaks,
    complaints,
    killers,
    needing_proof,
    proofs,
    recorded,
)
from neffos_conformance.cases.definition import SLOW
from neffos_conformance.codecs.catalogue import EVERY_ROLE, all_cases
from neffos_protocol.catalogue import requirements

AT_LEAST = 80
"""Mutants that were promised."""

AT_ONCE = 10
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


ROUNDS = 3
"""Mutants that a case is tried on: some fail a case only for what others did to them before."""


def deadly(role):
    """Give the mutants that each case fails on: first those that break what it is about."""
    cases = {case.id: case for case in all_cases(role) if SLOW not in case.tags}
    kills = {name: ids for name, ids in recorded().items() if BANK[name].role == role}
    return {
        id_: sorted(
            (name for name, ids in kills.items() if breaks(name) and id_ in ids),
            key=lambda name: (breaks(name) not in case.requirements, -len(kills[name]), name),
        )
        for id_, case in cases.items()
    }


@pytest.mark.parametrize("role", EVERY_ROLE)
def test_every_case_fails_on_a_mutant_that_it_is_said_to_fail_on(role):
    cases = {case.id: case for case in all_cases(role)}
    said = deadly(role)

    async def run(left, number):
        slots = asyncio.Semaphore(AT_ONCE)
        lived = set(left)
        played = defaultdict(set)
        for id_ in left:
            for name in said[id_][number : number + 1]:
                played[name].add(id_)

        async def one(name, ids):
            async with slots:
                lived.difference_update(await killers(BANK[name], [cases[each] for each in ids]))

        await asyncio.gather(*(one(name, sorted(ids)) for name, ids in played.items()))
        return lived

    left = set(said)
    for number in range(ROUNDS):
        left = asyncio.run(run(left, number))
    assert left == set()


@pytest.mark.parametrize("role", EVERY_ROLE)
def test_every_requirement_has_one_mutant_for_its_proof(role):
    found = proofs(role, recorded())
    assert found.keys() >= needing_proof(role)
    assert all(breaks(name) == id_ for id_, name in found.items())
