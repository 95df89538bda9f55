"""The kill matrix: which cases kill which mutant, and what that proves.

``proofs.toml`` names the mutant that proves each requirement: only the cases of the requirement
kill it. A complete matrix runs every case against every mutant. A check runs a share of that: the
cases of its requirement against each mutant, all new pairs of a case with a proof or a benign
variant, and a sample of the old ones.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from zlib import crc32

from mutation.registry import BANK, Mutant
from neffos_conformance.cases.definition import LIMITS, Case, Role
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.reports import traceability
from neffos_conformance.runner.run import run_cases
from neffos_conformance.runner.run_report import SEEN_IN
from neffos_protocol.catalogue import Level, requirements

PROOFS: Final = "proofs.toml"
"""The file: for each role, the mutant that proves each requirement. The wheel has it, too."""

IN: Final = " in "
"""Between the requirement of a finding and the ID of the case in which it killed a mutant."""

SAMPLES: Final = 48
"""The samples that the other cases are split into, for each proof and each benign variant. A check
runs one of them. A check with half as many took 151 s of processor time, on 2026-11-29."""

REPORT: Final = Path(__file__).parents[2] / "reports" / "kills.json"
"""Where a run writes its matrix, which is not committed."""

REPORT_FORMAT: Final = traceability.KILLS_FORMAT
"""The format of that file."""

STRONG: Final = frozenset({Level.MUST, Level.MUST_NOT, Level.SHOULD, Level.SHOULD_NOT})
"""The levels whose requirements need a proof."""


@dataclass(frozen=True, slots=True)
class Killed:
    """What a run shows of one mutant.

    Attributes:
        cases: the IDs of the cases that killed it.
        is_complete: whether all cases of its role ran against it, so that no other kills it.
    """

    cases: frozenset[str]
    is_complete: bool


Kills = Mapping[str, Killed]
"""What a run shows of each mutant, by the mutant's name."""

Plan = Mapping[str, Sequence[Case]]
"""The cases to run against each mutant, by the mutant's name."""


# -------------------------------------------------------------------- proofs


def proofs(role: Role) -> Mapping[str, str]:
    """Give the mutant of a role that proves each requirement, by the requirement's ID."""
    return traceability.proofs()[role]


def needing_proof(role: Role) -> frozenset[str]:
    """Give the requirements that need a mutant of a role: each observable MUST and SHOULD."""
    return frozenset(
        id_
        for id_, each in requirements().items()
        if SEEN_IN[role] in each.testable and each.level in STRONG
    )


def proof_errors(role: Role, named: Mapping[str, str]) -> Iterator[str]:
    """Say what is wrong with the proofs of a role, without running anything."""
    for id_ in sorted(needing_proof(role) - named.keys()):
        yield f"{id_}: no {role} mutant proves it. Try: add one to {PROOFS}"
    for id_, name in named.items():
        mutant = BANK.get(name)
        if mutant is None or mutant.role != role:
            yield f"{id_}: {PROOFS} names {name}, which is not a {role} mutant"
        elif mutant.breaks != id_:
            yield f"{id_}: {PROOFS} names {name}, which violates {mutant.breaks or 'nothing'}"


# -------------------------------------------------------------------- what to run


def of_role(role: Role) -> list[Mutant]:
    """Give the mutants and benign variants of a role."""
    return [mutant for mutant in BANK.values() if mutant.role == role]


def complete_plan(mutants: Iterable[Mutant], cases: Sequence[Case]) -> Plan:
    """Run every case against every mutant.

    Floods take longer than all other cases together, so they run only against benign variants, and
    against the mutants that violate a requirement of one of them.
    """
    floods = (case for case in cases if LIMITS in case.tags)
    flooded = {"", *(id_ for case in floods for id_ in case.requirements)}  # "": benign
    calm = [case for case in cases if LIMITS not in case.tags]
    return {each.name: cases if each.breaks in flooded else calm for each in mutants}


def sampled(role: Role) -> list[Mutant]:
    """Give the mutants of a role that no case of another requirement may kill."""
    named = {*proofs(role).values()}
    return [each for each in of_role(role) if each.name in named or not each.breaks]


def check_plan(
    role: Role, cases: Sequence[Case], seed: int, new: Container[str] = frozenset()
) -> Plan:
    """Run the cases of its requirement against each mutant, what is new, and a sample of the rest.

    Codecs run in no time, so all of their mutants are complete.

    Args:
        role: of the mutants.
        cases: all cases of the role.
        seed: chooses the sample of each proof and benign variant. ``SAMPLES`` seeds in a row run
            all of them.
        new: the cases, and of those mutants the ones, of which all pairs run.
    """
    named = {each.name for each in sampled(role)}

    def chosen(mutant: Mutant, planned: Sequence[Case]) -> Sequence[Case]:
        if role == "codec":
            return planned
        is_sampled, is_new = mutant.name in named, mutant.name in new
        elsewhere = traceability.proofs()["elsewhere"].get(mutant.name, ())
        # Cases of a family are neighbours, and each mutant begins with another one.
        first = crc32(mutant.name.encode()) + seed
        return [
            case
            for number, case in enumerate(planned, first)
            if (is_sampled and (is_new or number % SAMPLES == 0 or case.id in new))
            or mutant.breaks in case.requirements
            or case.id in elsewhere
        ]

    plan = complete_plan(of_role(role), cases)
    return {name: chosen(BANK[name], planned) for name, planned in plan.items()}


# -------------------------------------------------------------------- running


async def killers(mutant: Mutant, cases: Sequence[Case]) -> frozenset[str]:
    """Run cases against a mutant, and give the IDs of those that kill it.

    A case kills it if it does not pass. A finding kills for its own requirement alone, whatever
    case it is in; it is named by both. A benign variant may have no finding and no error at all.
    """
    found: set[str] = set()
    async with mutant.stage() as run:
        async for result in run_cases(run, cases):
            if result.is_broken or (not mutant.breaks and result.verdict is Verdict.ERROR):
                found.add(result.case.id)
            found.update(
                f"{each.requirement}{IN}{result.case.id}"
                for each in result.violations
                if mutant.breaks in ("", each.requirement)
            )
    return frozenset(found)


async def kills_of(plan: Plan) -> dict[str, frozenset[str]]:
    """Run a plan, all of its mutants concurrently."""

    async def one(name: str, cases: Sequence[Case]) -> tuple[str, frozenset[str]]:
        return name, await killers(BANK[name], cases)

    return dict(await asyncio.gather(*(one(*each) for each in plan.items())))


# -------------------------------------------------------------------- what it proves


def survivors(cases: Iterable[Case], kills: Kills) -> list[Case]:
    """Give the cases that killed no mutant."""
    deadly = {id_ for name, killed in kills.items() if BANK[name].breaks for id_ in killed.cases}
    return [case for case in cases if case.id not in deadly]


def unproved(cases: Iterable[Case], kills: Kills) -> Iterator[tuple[str, str]]:
    """Give the ID of each case with each requirement that it lists and kills no mutant of."""
    proved = {(id_, BANK[name].breaks) for name, killed in kills.items() for id_ in killed.cases}
    for case in cases:
        listed = ((case.id, each) for each in case.requirements)
        yield from (pair for pair in listed if pair not in proved)


def foreign_kills(
    violated: str, ids: Iterable[str], covered: Mapping[str, Sequence[str]]
) -> list[str]:
    """Give the cases of another requirement that killed a mutant; findings are of its own.

    Args:
        violated: the requirement that the mutant violates.
        ids: the cases and findings that killed it.
        covered: the requirements of each case.
    """
    return [id_ for id_ in ids if IN not in id_ and violated not in covered[id_]]


def errors(role: Role, cases: Sequence[Case], kills: Kills) -> Iterator[str]:
    """Say what the matrix of a role does not prove, a sentence each.

    Args:
        role: the role.
        cases: all cases of the role.
        kills: the matrix; it may contain other roles.
    """
    covered = {case.id: case.requirements for case in cases}
    named = {name: id_ for id_, name in proofs(role).items()}
    yield from proof_errors(role, proofs(role))
    here = {name: killed for name, killed in kills.items() if BANK[name].role == role}
    for case in survivors(cases, here):
        yield f"{case.id}: kills no mutant. Try: name one that it kills in {PROOFS}"
    # Vectors of codecs are frozen with what they list.
    for id_, listed in unproved(cases, here) if role != "codec" else ():
        yield f"{id_}: lists {listed}, and kills no mutant that violates it. Try: leave it out"
    for name, killed in sorted(here.items()):
        ids = sorted(killed.cases)
        if not BANK[name].breaks:
            if ids:
                yield f"{name}: a benign variant, killed by {' '.join(ids)}"
            continue
        if not ids:
            yield f"{name}: survived"
        foreign = foreign_kills(BANK[name].breaks, ids, covered)
        if name in named and foreign:
            yield f"{name}: proves {named[name]}, but is killed by {' '.join(foreign)} as well"


# -------------------------------------------------------------------- the report


def write_report(kills: Kills, path: Path) -> None:
    """Write a matrix to a file, at once: the site may be built meanwhile, and reads it."""
    mutants = {
        name: {
            "role": BANK[name].role,
            "requirement": BANK[name].breaks,
            "description": BANK[name].about,
            "is_complete": killed.is_complete,
            "killed_by": sorted(killed.cases),
        }
        for name, killed in sorted(kills.items())
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    values = {"format": REPORT_FORMAT, "mutants": mutants}
    written = path.with_name(f"{path.name}.{os.getpid()}")
    written.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", "utf-8")
    written.replace(path)


def read_report(path: Path = REPORT) -> Kills:
    """Read the matrix of the last run; it is empty where there is none."""
    if not path.exists():
        return {}
    values = json.loads(path.read_text("utf-8"))
    if values["format"] != REPORT_FORMAT:
        return {}
    return {
        name: Killed(frozenset(each["killed_by"]), each["is_complete"])
        for name, each in values["mutants"].items()
        if name in BANK
    }
