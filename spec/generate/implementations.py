"""The implementations of neffos: those that are tested with what was found, and the others.

``spec/implementations.toml`` has what no run can find. The rest comes from the recorded matrix and
the catalogue of differences.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Final

from generate import cases
from generate.differences import affected
from generate.known import interop_failures
from generate.text import cell, count, listed, table
from neffos_conformance.cases.classes import ConformanceClass, class_of
from neffos_conformance.cases.definition import Role, cases_of
from neffos_conformance.interop.table import recorded
from neffos_protocol.catalogue import (
    Difference,
    Impact,
    ObservedVerdict,
    differences,
    requirement,
)

DATA: Final = Path(__file__).parents[1] / "implementations.toml"

INTEROPERABLE: Final = "[interoperable](reports.md#classes-of-conformance)"

NAMED: Final = 4
"""Differences that are named in a row; the others are counted."""

Implementation = dict[str, Any]

_ROLES: Final[dict[str, Role]] = {"servers": "server", "clients": "client"}


@cache
def implementations() -> tuple[Implementation, ...]:
    """Give all that are known."""
    return tuple(tomllib.loads(DATA.read_text("utf-8"))["implementation"])


def _systems(one: Implementation) -> Iterator[tuple[str, str]]:
    for kind in _ROLES:
        for name in one.get(kind, ()):
            yield kind, name


def _linked(one: Implementation) -> str:
    return f"[{one['name']}]({one.get('url') or one['page']})"


def interoperates(kind: str, name: str) -> bool:
    """Whether a system under test failed no case of the class *interoperable*.

    Args:
        kind: ``servers`` or ``clients``.
        name: its name in the matrix.
    """
    failed = {id_ for ids in recorded()[kind][name]["failed"].values() for id_ in ids}
    return not any(
        case.id in failed and class_of(case.requirements) is ConformanceClass.INTEROPERABLE
        for case in cases_of(_ROLES[kind])
    )


def short() -> str:
    """Give the tested implementations, with the answer to the first question about each."""
    rows = []
    for one in implementations():
        systems = [*_systems(one)]
        if systems:
            every = [interoperates(*each) for each in systems]
            answer = "✓ all" if all(every) else "✗ none" if not any(every) else "partly"
            rows.append((_linked(one), one["language"], " and ".join(one["roles"]), answer))
    head = (
        "implementation",
        "language",
        "what",
        "[interoperable](reports.md#classes-of-conformance)",
    )
    return table(head, rows)


def tested() -> str:
    """Give a row for each tested implementation, version and role, with what was found."""
    rows = []
    for one in implementations():
        groups: dict[tuple[str, str], list[str]] = {}
        for kind, name in _systems(one):
            groups.setdefault((_version(kind, name), kind), []).append(name)
        for (version, kind), names in sorted(groups.items()):
            rows.append(
                (
                    f"{_linked(one)}<br><small>{cell(one['state'])}</small>",
                    version,
                    f"{_ROLES[kind]}, {one['language']}",
                    _answer(kind, names),
                    _failed(kind, names),
                    _gravest(one, version, _ROLES[kind]),
                )
            )
    head = (
        "implementation",
        "version",
        "what",
        INTEROPERABLE,
        "cases not passed",
        "gravest differences",
    )
    return table(head, rows)


def _version(kind: str, name: str) -> str:
    return str(recorded()[kind][name]["version"]).lstrip("v")


def _answer(kind: str, names: list[str]) -> str:
    failing = [name for name in names if not interoperates(kind, name)]
    if not failing:
        return "✓ yes"
    if len(failing) == len(names):
        return "✗ no"
    return f"✓ yes, but ✗ {listed([f'`{name}`' for name in failing])}"


def _failed(kind: str, names: list[str]) -> str:
    every = [sum(map(len, recorded()[kind][name]["failed"].values())) for name in names]
    low, high = min(every), max(every)
    shown = f"{low}" if low == high else f"{low} to {high}"
    return f"{shown} of {recorded()['ran'][_ROLES[kind]]}"


def _gravest(one: Implementation, version: str, role: Role) -> str:
    """Name some differences of high severity that a version has in a role, and count the others."""
    own = {peer for peer in one.get("peers", ()) if peer.endswith(f" {version}")}
    if one.get("peers") and not own:
        return "not in the catalogue: see [the history](history.md)"
    found = [
        each.id
        for impact in Impact
        for each in differences().values()
        if each.impact is impact and each.severity == "high" and _has(own, role, each)
    ]
    more = f" and [{len(found) - NAMED} more](differences.md)" if len(found) > NAMED else ""
    return ", ".join(found[:NAMED]) + more or "none recorded"


def _has(own: set[str], role: Role, one: Difference) -> bool:
    """Whether one of the peers is affected in a role, and violates a requirement on it."""
    return any(
        each.peers[peer].verdict is ObservedVerdict.VIOLATES
        for peer in own.intersection(affected(one, role))
        for each in map(requirement, one.requirements)
        if role in each.applies_to
    )


def untested() -> str:
    """Give the implementations that nobody tested, with what a look at their source says."""
    rows = (
        (
            _linked(one),
            f"{one['language']}<br>{' and '.join(one['roles'])}",
            cell(one["state"]),
            f"{cell(one['read'])} <small>(read at {one['commit']})</small>",
        )
        for one in implementations()
        if not [*_systems(one)]
    )
    return table(("implementation", "language", "state", "what is wrong in its source"), rows)


def names() -> str:
    """Say how many implementations are tested, and how many are known."""
    every = implementations()
    known = sum(1 for one in every if [*_systems(one)])
    failing = {peer for peer, _ in interop_failures()}
    return (
        f"{count(len(every), 'implementation')}, of which {known} are tested with "
        f"{count(len(cases.pages()), 'case')}. {count(len(failing), 'client')} fail steps of the "
        "[compatibility matrix](matrix.md)."
    )
