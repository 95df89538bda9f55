"""``python -m mutation``: which case kills which mutant, and what that proves.

With patterns of cases (an id, a requirement, a family) or of mutants, those alone are played.
``--check`` plays all cases to those mutants that prove a requirement in the matrix that is kept,
and to the odd ones, and exits with 1 where one of them proves it no more. ``--write`` works out the
whole of it, which takes many minutes, and keeps it in a file.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from fnmatch import fnmatchcase
from itertools import repeat
from pathlib import Path
from typing import Final

from rich.console import Console

from mutation import BANK
from mutation.kill_matrix import (
    Kills,
    complaints,
    kills_of,
    proofs,
    recorded,
    values_of,
)
from neffos_conformance.cases.definition import Case, Role, select
from neffos_conformance.codecs.catalogue import EVERY_ROLE, all_cases

JOBS: Final = os.cpu_count() or 1
"""Processes that share the mutants."""

console = Console(highlight=False, soft_wrap=True)


def main() -> int:
    """Work out the matrix, or a part of it; give the exit code."""
    parser = argparse.ArgumentParser(prog="python -m mutation")
    parser.add_argument("--role", choices=EVERY_ROLE, action="append", help="only this one")
    parser.add_argument("--case", action="append", default=[], help="a pattern of cases")
    parser.add_argument("--mutant", action="append", default=[], help="a pattern of names")
    parser.add_argument("--check", action="store_true", help="play those that prove something")
    parser.add_argument("--write", type=Path, help="keep the matrix in this file")
    options = parser.parse_args()
    everything: dict[str, frozenset[str]] = {}
    wrong: list[str] = []
    for role in options.role or EVERY_ROLE:
        names = options.mutant or (_telling(role) if options.check else [])
        kills, cases = _work_out(role, options.case, names)
        everything |= kills
        found = complaints(role, cases, kills)
        if options.check:  # whether each case kills is for all mutants to say
            found = [text for text in found if not text.endswith("fails on no mutant")]
        wrong += found
        if not options.check and not options.write:
            _show(kills, cases)
    for text in wrong:
        console.print(text, markup=False)
    console.print(f"{len(everything)} mutants, {len(wrong)} complaints")
    if options.write:
        text = json.dumps(values_of(everything), indent=1, ensure_ascii=False)
        options.write.write_text(text + "\n", "utf-8")
    return 1 if wrong and options.check else 0


def _telling(role: Role) -> list[str]:
    odd = [name for name, mutant in BANK.items() if mutant.role == role and not mutant.breaks]
    return [*proofs(role, recorded()).values(), *odd]


def _work_out(role: Role, cases: list[str], names: list[str]) -> tuple[Kills, list[Case]]:
    chosen = select(all_cases(role), cases, is_slow_left_out=False)
    mutants = [
        mutant
        for mutant in BANK.values()
        if mutant.role == role
        and (not names or any(fnmatchcase(mutant.name, pattern) for pattern in names))
    ]
    ids = frozenset(case.id for case in chosen)
    shares = [[mutant.name for mutant in mutants[start::JOBS]] for start in range(JOBS)]
    with ProcessPoolExecutor(JOBS) as pool:
        found = pool.map(_play, shares, repeat(role), repeat(ids))
        return {name: killed for share in found for name, killed in share.items()}, chosen


def _play(names: list[str], role: Role, ids: frozenset[str]) -> dict[str, frozenset[str]]:
    """Play some cases to some mutants, in a process of its own."""
    logging.disable()  # what is wrong makes handlers fail, each of which would be told at length
    cases = [case for case in all_cases(role) if case.id in ids]
    return dict(asyncio.run(kills_of([BANK[name] for name in names], cases)))


def _show(kills: Kills, cases: list[Case]) -> None:
    shows = {case.id: case.requirements for case in cases}
    for name, killed in kills.items():
        broken = BANK[name].breaks
        foreign = sorted(id_ for id_ in killed if broken not in shows[id_])
        told = f"{name} ({broken or 'odd'}): {' '.join(sorted(killed)) or '-'}"
        if foreign and broken:
            told += f"  [not of {broken}: {' '.join(foreign)}]"
        console.print(told, markup=False)


if __name__ == "__main__":
    sys.exit(main())
