"""What is known of real peers and of the suite itself: the matrix, the known failures, the mutants.

All of it is what the last recorded runs found.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final

from generate import cases
from generate.text import count, verbatim
from mutation import BANK
from mutation.kill_matrix import recorded as recorded_kills
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.codecs.catalogue import EVERY_ROLE
from neffos_conformance.interop.table import recorded, rows, verdict_counts

KNOWN_FAILURES: Final = Path(__file__).parents[2] / "conformance" / "peers" / "known_failures"

SHOWN: Final = 12
"""Cases of a mutant that are named; the file has all."""


def matrix() -> str:
    """Write the table of clients and servers."""
    head, body = rows(recorded())
    lines = [
        "| " + " | ".join(["client", *map(_name, head[1:])]) + " |",
        "|" + " --- |" * len(head),
    ]
    for client, *cells in body:
        lines.append("| " + " | ".join([_name(client), *map(_cell, cells)]) + " |")
    return "\n".join(lines)


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
    lines = ["| step | clients | what goes wrong |", "| --- | --- | --- |"]
    for (step, failure), clients in sorted(found.items()):
        lines.append(
            f"| `{step}` | {', '.join(map(_name, sorted(clients)))} | {verbatim(failure)} |"
        )
    return "\n".join(lines)


def judged(kind: str) -> str:
    """Write what the suite found of all servers, or all clients.

    Args:
        kind: ``servers`` or ``clients``.
    """
    verdicts = list(Verdict)
    lines = [
        f"| {kind[:-1]} | version | " + " | ".join(each.value for each in verdicts) + " |",
        "| --- | --- |" + " ---: |" * len(verdicts),
    ]
    for name, values in recorded()[kind].items():
        if "failed" in values:
            found = verdict_counts(recorded(), kind, name)
            counts = (str(found.get(each.value, 0) or "") for each in verdicts)
            lines.append(f"| `{name}` | {values['version']} | " + " | ".join(counts) + " |")
    return "\n".join(lines)


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
    lines = [f"### {name}", "", "| cases | verdict | why |", "| --- | --- | --- |"]
    for entry in entries:
        ids = ", ".join(_case(root, id_) for id_ in entry["cases"])
        why = verbatim(" ".join(entry["reason"].split()))
        link = entry["link"]
        shown = link if link.startswith("DV-") else f"[source]({link})"
        lines.append(f"| {ids} | {entry['verdict']} | {why} ({shown}) |")
    return "\n".join(lines)


def _case(root: str, id_: str) -> str:
    page = cases.pages().get(id_)
    return f"[{id_}]({root}{page}#{id_})" if page else f"`{id_}`"


def mutants(root: str) -> str:
    """Write the kill matrix: each mutant, what it breaks, and which cases it fails."""
    return "\n\n".join(_mutants(root, role) for role in EVERY_ROLE)


def _mutants(root: str, role: str) -> str:
    kills = recorded_kills()
    lines = [
        f"## A wrong {role}",
        "",
        "| breaks | what it does | fails |",
        "| --- | --- | --- |",
    ]
    for name, mutant in sorted(BANK.items(), key=lambda item: (_place(item[1].breaks), item[0])):
        if mutant.role == role and mutant.breaks:
            ids = sorted(kills[name])
            lines.append(f"| {mutant.breaks} | {verbatim(mutant.about)} | {_killed(root, ids)} |")
    odd = [mutant for mutant in BANK.values() if mutant.role == role and not mutant.breaks]
    if odd:
        lines += ["", f"What is odd in a {role}, but not wrong, and fails no case:", ""]
        lines += [f"- {verbatim(mutant.about)}" for mutant in odd]
    return "\n".join(lines)


def _killed(root: str, ids: Sequence[str]) -> str:
    shown = ", ".join(_case(root, id_) for id_ in ids[:SHOWN])
    more = len(ids) - SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _place(requirement: str) -> tuple[str, int]:
    family, _, number = requirement.partition("-")
    return family, int(number or 0)


def mutant_counts() -> str:
    """Say how many mutants there are, by role."""
    return ", ".join(_counts())


def _counts() -> Iterator[str]:
    for role in EVERY_ROLE:
        there = [mutant for mutant in BANK.values() if mutant.role == role and mutant.breaks]
        yield count(len(there), f"wrong {role}")
