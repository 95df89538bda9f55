"""The matrix, the known failures and the mutants: results for tested implementations and the suite.

All of it is what the last recorded runs found.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from generate import cases
from generate.text import count, of_peer, table, verbatim
from mutation import BANK
from mutation.kill_matrix import Killed, Kills, read_report
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.codecs.catalogue import EVERY_ROLE
from neffos_conformance.interop.table import recorded, rows, verdict_counts

KNOWN_FAILURES: Final = Path(__file__).parents[2] / "conformance" / "peers" / "known_failures"

SHOWN: Final = 12
"""Cases of a mutant that are named; the report of the run contains all."""


def matrix() -> str:
    """Write the table of clients and servers."""
    (first, *servers), body = rows(recorded())
    named = ((_name(client), *map(_cell, cells)) for client, *cells in body)
    return table((first, *map(_name, servers)), named)


def _name(name: str) -> str:
    return f"`{name}`"


def _cell(cell: str) -> str:
    whole, _, steps = cell.partition(": ")
    return f"{whole}: {', '.join(f'`{each}`' for each in steps.split(', '))}" if steps else whole


def failed_steps() -> str:
    """Write the failures of interop steps, once each."""
    found: dict[tuple[str, str], set[str]] = {}
    for run in recorded()["runs"]:
        for step, failure in run["failed"].items():
            found.setdefault((step, failure), set()).add(run["client"])
    if not found:
        return "Every step goes well."
    lines = (
        (f"`{step}`", ", ".join(map(_name, sorted(clients))), verbatim(failure))
        for (step, failure), clients in sorted(found.items())
    )
    return table(("step", "clients", "what goes wrong"), lines)


def tested(kind: str) -> str:
    """Write what the suite found of all servers, or all clients.

    Args:
        kind: ``servers`` or ``clients``.
    """
    lines = []
    for name, values in recorded()[kind].items():
        if "failed" in values:
            found = verdict_counts(recorded(), kind, name)
            counts = (str(found.get(each, 0) or "") for each in Verdict)
            lines.append((_name(name), of_peer(values["version"]), *counts))
    return table((kind[:-1], "version", *Verdict), lines, numbers=len(Verdict))


def recorded_on() -> str:
    """Give the day of the recorded run, and the version of the suite."""
    values = recorded()
    return f"{values['recorded']}, with version {values['suite']} of the suite"


@cache
def _files() -> Mapping[str, Sequence[dict[str, Any]]]:
    return {
        path.name: tomllib.loads(path.read_text("utf-8"))["known_failure"]
        for path in sorted(KNOWN_FAILURES.glob("*.toml"))
        if path.name != "interop.toml"
    }


def known_failures(root: str) -> str:
    """Write what every file of known failures holds.

    Args:
        root: the way from the page to the top of the site.
    """
    return "\n\n".join(_known_failures(root, name, entries) for name, entries in _files().items())


def _known_failures(root: str, name: str, entries: Sequence[dict[str, Any]]) -> str:
    lines = []
    for entry in entries:
        ids = ", ".join(_case(root, id_) for id_ in entry["cases"])
        why = verbatim(" ".join(entry["reason"].split()))
        link = entry["link"]
        shown = link if link.startswith("DV-") else f"[source]({link})"
        lines.append((ids, entry["verdict"], f"{why} ({shown})"))
    return f"### {name}\n\n{table(('cases', 'verdict', 'why'), lines)}"


def _case(root: str, id_: str) -> str:
    page = cases.pages().get(id_)
    return f"[{id_}]({root}{page}#{id_})" if page else f"`{id_}`"


def mutants(root: str) -> str:
    """Write the kill matrix of the last run: each mutant, what it violates, which cases kill it."""
    kills = read_report()
    return "\n\n".join([_run(kills), *(_mutants(root, role, kills) for role in EVERY_ROLE)])


def _run(kills: Kills) -> str:
    """Say what the last run covered."""
    faulty = {name for name, mutant in BANK.items() if mutant.breaks}
    complete = {name for name, killed in kills.items() if killed.is_complete} & faulty
    if not kills:
        return (
            "These pages were built without a run, so no killing cases are named. "
            "`make kills` runs the cases, and `make site` then adds them."
        )
    shown = f"At most {SHOWN} killing cases are named; `reports/kills.json` contains all of them."
    if complete == faulty:
        return f"The last run is complete: every case ran against every mutant. {shown}"
    return (
        f"In the last run, every case ran against {len(complete)} of {len(faulty)} mutants. The "
        "others are marked *sample*: the cases of the requirement that each violates ran against "
        f"them, and a sample of the others against the proofs. {shown} "
        "For the complete matrix, run `make kills`, and build the site again."
    )


def _mutants(root: str, role: str, kills: Kills) -> str:
    lines = (
        (mutant.breaks, verbatim(mutant.about), _killed(root, kills.get(name)))
        for name, mutant in sorted(BANK.items(), key=lambda item: (_place(item[1].breaks), item[0]))
        if mutant.role == role and mutant.breaks
    )
    parts = [f"## Mutants: {role}", table(("violates", "what it does", "killed by"), lines)]
    benign = [mutant for mutant in BANK.values() if mutant.role == role and not mutant.breaks]
    if benign:
        parts.append(f"Benign variants of a {role}, which pass every case:")
        parts.append("\n".join(f"- {verbatim(mutant.about)}" for mutant in benign))
    return "\n\n".join(parts)


def _killed(root: str, killed: Killed | None) -> str:
    if killed is None:
        return "not run"
    ids = sorted(killed.cases)
    shown = ", ".join(_case(root, id_) for id_ in ids[:SHOWN])
    more = f" and {len(ids) - SHOWN} more" if len(ids) > SHOWN else ""
    return f"{shown}{more}{'' if killed.is_complete else ' (*sample*)'}"


def _place(requirement: str) -> tuple[str, int]:
    family, _, number = requirement.partition("-")
    return family, int(number or 0)


def mutant_counts() -> str:
    """Say how many mutants there are, by role."""
    counts = Counter(mutant.role for mutant in BANK.values() if mutant.breaks)
    return ", ".join(count(counts[role], f"{role} mutant") for role in EVERY_ROLE)
