"""``python -m neffos_conformance.mutants``: which case kills which mutant.

With patterns of cases (an id, a requirement, a family) or names of mutants, only those.
"""

from __future__ import annotations

import argparse
import asyncio
from fnmatch import fnmatchcase

from rich.console import Console

from neffos_conformance.cases import EVERY_ROLE, all_cases
from neffos_conformance.mutants.bank import BANK
from neffos_conformance.mutants.kills import kills_of, proven, survivors
from neffos_conformance.suite.case import select


def main() -> None:
    """Print the kills of some mutants, what survives, and what is not proven."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--case", action="append", default=[], help="pattern of cases")
    parser.add_argument("--mutant", action="append", default=[], help="pattern of names")
    parser.add_argument("--role", choices=EVERY_ROLE, default="server")
    options = parser.parse_args()
    cases = select(all_cases(options.role), options.case)
    mutants = [
        mutant
        for mutant in BANK.values()
        if mutant.role == options.role
        and (not options.mutant or any(fnmatchcase(mutant.name, p) for p in options.mutant))
    ]
    kills = asyncio.run(kills_of(mutants, cases))
    console = Console(highlight=False, soft_wrap=True)
    shows = {case.id: case.requirements for case in cases}
    for mutant in mutants:
        ids = sorted(kills[mutant.name])
        foreign = [id_ for id_ in ids if mutant.breaks not in shows[id_]]
        console.print(
            f"{mutant.name} ({mutant.breaks or 'odd'}): {' '.join(ids) or '-'}"
            + (f"  [not of {mutant.breaks}: {' '.join(foreign)}]" if foreign else ""),
            markup=False,
        )
    console.print(f"cases that kill none: {' '.join(survivors(cases, kills)) or '-'}", markup=False)
    cited = {id_ for case in cases for id_ in case.requirements}
    missing = sorted(cited - proven(cases, kills))
    console.print(f"cited but not proven: {' '.join(missing) or '-'}", markup=False)


if __name__ == "__main__":
    main()
