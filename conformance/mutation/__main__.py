"""``python -m mutation``: run cases against the mutants, and check what that proves."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Final

import click

from mutation import BANK, by_vectors, checked, kill_matrix, work_clock
from mutation.kill_matrix import REPORT, Killed, Kills, Plan
from neffos_conformance.cases.definition import Role, select
from neffos_conformance.codecs.catalogue import EVERY_ROLE, all_cases, seed_of_cases

JOBS: Final = os.cpu_count() or 1
"""Processes that share the mutants."""

BATCH: Final = 6
"""Mutants that a process runs concurrently: so many that one works while others wait, and so few
that all processes end at about one time."""

Ids = tuple[str, tuple[str, ...]]
"""A mutant's name, and the IDs of the cases to run against it."""


@click.command()
@click.option("--role", "roles", type=click.Choice(EVERY_ROLE), multiple=True, help="Role to run.")
@click.option("--case", "cases", multiple=True, metavar="PATTERN", help="Cases to run.")
@click.option("--mutant", "names", multiple=True, metavar="PATTERN", help="Mutants to run.")
@click.option("--check", is_flag=True, help="Check every proof, mutant and case by a sample.")
@click.option("--seed", type=int, help="Seed of the sample [default: by what all cases do].")
@click.option("--record", is_flag=True, help="Record what a check without error has run.")
@click.option("--all", "is_complete", is_flag=True, help="Check, with the complete matrix.")
def main(
    roles: Sequence[Role],
    cases: Sequence[str],
    names: Sequence[str],
    *,
    check: bool,
    seed: int | None,
    record: bool,
    is_complete: bool,
) -> None:
    """Run cases against mutants, and show which kill which.

    A check writes the kill matrix to reports/kills.json, and plays the session vectors to the
    mutants that need no I/O. It runs the cases of its requirement against each mutant, new cases
    against all proofs and benign variants, new ones of these with all cases, and a sample of the
    other pairs. What is new is not in mutation/checked.json.
    The complete matrix takes many times as long.

    Exit status: 0 passed; 1 failed; 2 usage error or nothing ran.
    """
    roles = roles or EVERY_ROLE
    if not check and not is_complete:
        shown = [_show(role, cases, names) for role in roles]
        if not any(shown):
            raise click.UsageError(f"no case and mutant of one role match{_near(names)}")
        return
    if cases or names:
        raise click.UsageError("--check and --all run all cases. Try: leave out --case, --mutant")
    seed = seed_of_cases(roles) if seed is None else seed
    if not is_complete:
        click.echo(f"one of {kill_matrix.SAMPLES} samples. Try: --seed {seed} for the same")
    found: dict[str, Killed] = {}
    wrong: list[str] = []
    digests: dict[Role, checked.Digests] = {}
    for role in roles:
        choice = checked.chosen(role, None if is_complete else seed)
        if choice.too_many:
            new = f"{choice.too_many} cases and mutants are new"
            click.echo(f"{role}: {new}; a sample runs. Try: --all")
        digests[role] = choice.digests
        kills = _killed(role, choice.plan)
        found |= kills
        wrong += kill_matrix.errors(role, all_cases(role), kills)
    played = _played(roles)
    wrong += by_vectors.errors(played)
    # Roles that did not run keep the matrix of their last run.
    kill_matrix.write_report({**kill_matrix.read_report(REPORT), **found}, REPORT)
    for text in wrong:
        click.echo(text)
    click.echo(by_vectors.summary(played))
    faulty = [killed for name, killed in found.items() if BANK[name].breaks]
    dead = sum(bool(killed.cases) for killed in faulty)
    click.echo(f"{dead} of {len(faulty)} mutants killed, {len(wrong)} errors")
    if record and not wrong:
        checked.write_checked(digests)
    sys.exit(1 if wrong else 0)


def _killed(role: Role, plan: Plan) -> Kills:
    """Run a plan for a role, and say of which mutants all cases ran."""
    whole = kill_matrix.complete_plan(kill_matrix.of_role(role), all_cases(role))
    return {
        name: Killed(ids, is_complete=len(plan[name]) == len(whole[name]))
        for name, ids in _run(plan, role).items()
    }


def _played(roles: Sequence[Role]) -> dict[str, str | None]:
    """Play the session vectors to the mutants of some roles, in several processes."""
    names = [each.name for each in by_vectors.mutants() if each.role in roles]
    shares = [names[at::JOBS] for at in range(JOBS)]
    with ProcessPoolExecutor(JOBS) as pool:
        return {
            name: id_
            for found in pool.map(by_vectors.first_killers, shares)
            for name, id_ in found.items()
        }


def _show(role: Role, patterns: Sequence[str], names: Sequence[str]) -> bool:
    """Run some cases against some mutants of a role, and print the kills; say if any match."""
    try:
        cases = select(all_cases(role), patterns, is_slow_left_out=False)
    except ValueError:  # the patterns name cases of another role
        return False
    mutants = [
        mutant
        for mutant in kill_matrix.of_role(role)
        if not names or any(fnmatchcase(mutant.name, pattern) for pattern in names)
    ]
    covered = {case.id: case.requirements for case in cases}
    kills = _run(kill_matrix.complete_plan(mutants, cases), role)
    for name, ids in kills.items():
        violated = BANK[name].breaks
        foreign = sorted(kill_matrix.foreign_kills(violated, ids, covered)) if violated else []
        others = f"  [not of {violated}: {' '.join(foreign)}]" if foreign else ""
        click.echo(f"{name} ({violated or 'benign'}): {' '.join(sorted(ids)) or '-'}{others}")
    return bool(kills)


def _near(patterns: Sequence[str]) -> str:
    """Name the mutants that those patterns resemble that match none, for the end of an error."""
    unknown = [each for each in patterns if not any(fnmatchcase(name, each) for name in BANK)]
    near = [name for each in unknown for name in get_close_matches(each, BANK, n=1)]
    return f". Try: --mutant {' --mutant '.join(near)}" if near else ""


def _run(plan: Plan, role: Role) -> dict[str, frozenset[str]]:
    """Run a plan, in several processes."""
    # The longest come first, so that no process works on alone in the end.
    rows = sorted(plan.items(), key=lambda row: -sum(case.is_flood for case in row[1]))
    shares = [
        (role, [(name, tuple(case.id for case in cases)) for name, cases in rows[at : at + BATCH]])
        for at in range(0, len(rows), BATCH)
    ]
    with ProcessPoolExecutor(JOBS) as pool:
        return {name: ids for kills in pool.map(_share, shares) for name, ids in kills.items()}


def _share(share: tuple[Role, list[Ids]]) -> dict[str, frozenset[str]]:
    """Run a part of a plan, in a process of its own."""
    logging.disable()  # a fault makes handlers fail, and each failure would be logged
    role, rows = share
    cases = {case.id: case for case in all_cases(role)}
    return work_clock.run(
        kill_matrix.kills_of({name: [cases[id_] for id_ in ids] for name, ids in rows})
    )


if __name__ == "__main__":
    main()
