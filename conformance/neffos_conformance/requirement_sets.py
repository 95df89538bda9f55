"""Requirement sets: requirements, and the scripts that show them, under a name and a hash.

A verdict is a stable claim if it names the set. A frozen set is a file in ``data/sets``, which
never changes. ``draft`` is what the data of this version say, and changes with them. The hash is of
the requirements with their levels and bases, and of the expanded scripts and vectors. It is not of
titles and hints. To freeze the draft for a release, in the folder ``conformance``:

    python -m neffos_conformance.requirement_sets 2026-1
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final

from neffos_conformance.cases.classes import SetName
from neffos_conformance.cases.definition import ROLES, Case, Role, cases_of
from neffos_conformance.cases.script import OPENING_VERBS, Step, expanded, read_script
from neffos_conformance.codecs.catalogue import all_cases
from neffos_conformance.codecs.vectors import askable_vectors
from neffos_conformance.data import FOLDER
from neffos_conformance.wire.schemas import shown, violation
from neffos_conformance.wire.terminal import echo
from neffos_protocol.catalogue import requirements

DRAFT: Final = "draft"
FORMAT: Final = 1
_NAME: Final = re.compile(r"\d{4}-\d+")
_FOLDER: Final = FOLDER.joinpath("sets")

Values = dict[str, Any]


class SetError(ValueError):
    """A set that does not exist or cannot be used; the text says why, on one line."""


@dataclass(frozen=True)
class RequirementSet:
    """A set.

    Attributes:
        name: ``draft``, or the year and number of a release.
        requirements: each requirement with its ``level`` and ``basis``, by its ID.
        entries: each case without its title, by its role and ID.
    """

    name: str
    requirements: Mapping[str, Values]
    entries: Mapping[str, Mapping[str, Values]]

    @cached_property
    def sha256(self) -> str:
        """Give the hash of all but the name, in hex."""
        content = {"requirements": dict(self.requirements), "cases": dict(self.entries)}
        return _sha256(content)

    @property
    def reference(self) -> SetName:
        """Give what a report says of the set."""
        return SetName(self.name, self.sha256, frozenset(self.requirements))

    def cases(self, role: Role) -> list[Case]:
        """Give the cases for a role: the scripts of the set, whatever the data say today.

        Raises:
            SetError: a vector is not what it was.
        """
        if self.name == DRAFT:
            return list(all_cases(role))
        today = {case.id: case for case in all_cases(role)}
        now = draft().entries[role]
        found = []
        for id_, entry in self.entries[role].items():
            if now.get(id_) == entry:
                found.append(today[id_])
            elif role == "codec":
                text = f"the vector {id_} is not what it was when {self.name} was frozen"
                raise SetError(f"{text}. Try: the release of neffos-wire with this set")
            else:
                found.append(_frozen(id_, entry, role, today.get(id_)))
        return found


def set_names() -> list[str]:
    """Give the names of all sets, the newest frozen one last but the draft."""
    names = []
    if _FOLDER.is_dir():
        names = [each.name.removesuffix(".json") for each in _FOLDER.iterdir()]
    return [*sorted(filter(_NAME.fullmatch, names), key=_by_number), DRAFT]


def requirement_set(name: str) -> RequirementSet:
    """Give a set.

    Raises:
        SetError: there is none of that name, or it cannot be used with this version.
    """
    if name == DRAFT:
        return draft()
    if name not in set_names():
        raise SetError(f"there is no requirement set {name!r}. Try: {', '.join(set_names())}")
    return read_set(_FOLDER.joinpath(f"{name}.json").read_bytes(), name)


def read_set(data: bytes, name: str) -> RequirementSet:
    """Read the file of a frozen set.

    Raises:
        SetError: it has another form or another hash, or a requirement has changed since.
    """
    try:
        values = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise SetError(f"the requirement set {name} is not JSON: {error}") from error
    if found := violation("requirement-set", values):
        raise SetError(f"the requirement set {name} has another form: {shown(found)}")
    found_set = RequirementSet(name, values["requirements"], values["cases"])
    if (values["name"], values["sha256"]) != (name, found_set.sha256):
        raise SetError(f"the requirement set {name} is not what its hash says")
    now = draft().requirements
    changed = [id_ for id_, each in found_set.requirements.items() if now.get(id_) != each]
    if changed:
        text = f"{', '.join(changed)} changed since the requirement set {name} was frozen"
        raise SetError(f"{text}. Try: the release of neffos-wire with this set")
    return found_set


class _Later(Mapping[str, Any]):
    """A mapping that is made when it is first looked into."""

    def __init__(self, make: Callable[[], Mapping[str, Any]]) -> None:
        self._make = make

    @cached_property
    def _made(self) -> Mapping[str, Any]:
        return self._make()

    def __getitem__(self, key: str) -> Any:
        return self._made[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._made)

    def __len__(self) -> int:
        return len(self._made)


@cache
def draft() -> RequirementSet:
    """Give the set of the data of this version, which are read when they are needed."""
    return RequirementSet(DRAFT, _Later(_requirements_today), _Later(_entries_today))


def _requirements_today() -> Mapping[str, Values]:
    return {
        id_: {"level": each.level.value, "basis": each.basis.value}
        for id_, each in requirements().items()
        if each.is_testable
    }


def _entries_today() -> Mapping[str, Mapping[str, Values]]:
    entries: dict[str, Mapping[str, Values]] = {
        role: {case.id: _entry(case) for case in cases_of(role)} for role in ROLES
    }
    entries["codec"] = {
        each["id"]: {
            "requirements": list(each["requirements"]),
            "vector": {key: value for key, value in each.items() if key != "about"},
        }
        for each in askable_vectors()
    }
    return entries


def frozen(name: str) -> str:
    """Write the draft as the file of a frozen set.

    Raises:
        SetError: the name is not that of a release.
    """
    if not _NAME.fullmatch(name):
        raise SetError(f"{name!r} is not the name of a frozen set: expected such as 2026-1")
    found = replace(draft(), name=name)
    values = {
        "format": FORMAT,
        "name": name,
        "sha256": found.sha256,
        "requirements": dict(found.requirements),
        "cases": dict(found.entries),
    }
    return json.dumps(values, indent=1) + "\n"


def _entry(case: Case) -> Values:
    """Give what a set keeps of a case: all that decides what is played, and what it shows."""
    return {
        "requirements": list(case.requirements),
        "tags": list(case.tags),
        "seconds": float(case.seconds),
        "script": _lines(case),
        **({"sized": True} if case.is_sized else {}),
        **({"may_refuse": case.may_refuse} if case.may_refuse else {}),
    }


def case_hash(case: Case) -> str:
    """Give the hash of all that decides what a case plays, in hex; empty for a walk's find."""
    if case.role == "codec":
        return _sha256(draft().entries["codec"][case.id])
    return _sha256(_entry(case)) if case.steps else ""


def _sha256(values: Mapping[str, Any]) -> str:
    text = json.dumps(values, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _lines(case: Case) -> list[str]:
    setup = [line for step in case.steps if step.is_setup for line in _expanded(step, case.role)]
    rest = [line for step in case.steps if not step.is_setup for line in _expanded(step, case.role)]
    is_marked = bool(setup) or case.steps[0].verb in OPENING_VERBS
    return [*setup, *(["---"] if is_marked else []), *rest]


def _expanded(step: Step, role: str) -> list[str]:
    """Give the lines of a step, with the spaces at their ends, which belong to messages."""
    lines = []
    for each in expanded(step, role):
        times = f"x{each.times} " if each.times > 1 else ""
        lines.append(f"{each.connection} {times}{each.verb}{f' {each.rest}' if each.rest else ''}")
    return lines


def _frozen(id_: str, entry: Values, role: Role, today: Case | None) -> Case:
    return Case(
        id=id_,
        title=today.title if today else "a case that this version no longer has",
        requirements=tuple(entry["requirements"]),
        role=role,
        steps=read_script("\n".join(entry["script"]), role),
        tags=tuple(entry["tags"]),
        seconds=entry["seconds"],
        why=today.why if today else "",
        is_sized=entry.get("sized", False),
        # A set from before this key must not fail a correct server either.
        may_refuse=entry.get("may_refuse", today.may_refuse if today else 0),
    )


def _by_number(name: str) -> tuple[int, ...]:
    return tuple(map(int, name.split("-")))


def main() -> None:
    """Write the draft under a name, as a file that never changes."""
    folder = Path(__file__).parent / "data" / "sets"
    try:
        [name] = sys.argv[1:]
        text = frozen(name)
        folder.mkdir(exist_ok=True)
        with (folder / f"{name}.json").open("x", encoding="utf-8") as file:
            file.write(text)
    except (ValueError, OSError) as error:
        sys.exit(f"{error}")
    echo(f"{folder / name}.json")


if __name__ == "__main__":
    main()
