"""The suite's cases: those of a requirement, and all of them with their scripts.

This is the one place of the site that asks the suite for its cases. Those of a codec are the
vectors, which have tables of their own.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from types import ModuleType
from typing import Final

from generate.text import FAMILIES, count, verbatim
from neffos_conformance.cases import matching as match
from neffos_conformance.cases import script as lines
from neffos_conformance.cases.definition import ROLES, Case, Role
from neffos_conformance.cases.definition import cases_of as cases_for
from neffos_protocol.catalogue import Requirement

_COMMANDS: Final[Mapping[Role, str]] = {"server": "server URL", "client": "client"}
"""The command for the cases of a role, and what goes before its options."""


@cache
def _showing() -> Mapping[str, tuple[Case, ...]]:
    found: dict[str, list[Case]] = {}
    for role in ROLES:
        for case in cases_for(role):
            for id_ in case.requirements:
                found.setdefault(id_, []).append(case)
    return {id_: tuple(each) for id_, each in found.items()}


@cache
def pages() -> Mapping[str, str]:
    """Give the page of each case by its id."""
    return {case.id: page(role) for role in ROLES for case in cases_for(role)}


def page(role: Role) -> str:
    """Give the page of the cases for a role."""
    return f"requirements/cases-{role}.md"


def cases_of(requirement: str) -> tuple[Case, ...]:
    """Give the cases that show a requirement, first those that are named after it."""
    found = _showing().get(requirement, ())
    return tuple(sorted(found, key=lambda each: not _is_named_after(each, requirement)))


def _is_named_after(case: Case, requirement: str) -> bool:
    return case.id.partition(".")[0] == requirement


def section(requirement: Requirement) -> list[str]:
    """Write the section of a requirement's page; nothing where no case shows it."""
    found = cases_of(requirement.id)
    parts = ["## Cases"] if found else []
    for role in ROLES:
        own = [each for each in found if each.role == role]
        if own:
            lines_ = [f"| for a {role} | what it shows |", "| --- | --- |"]
            lines_ += [f"| {each.id} | {verbatim(each.title)} |" for each in own]
            parts.append("\n".join(lines_))
            command = f"neffos-wire {_COMMANDS[role]} --case {requirement.id}"
            command += " -- YOUR DRIVER" if role == "client" else ""
            parts.append(f"```sh\n{command}\n```")
    return parts


def all_cases(role: Role) -> str:
    """Give every case for a role with its script, by family."""
    families: dict[str, list[Case]] = {}
    for case in cases_for(role):
        families.setdefault(case.family, []).append(case)
    parts = [f"There are {count(len(cases_for(role)), 'case')} for a {role}."]
    for family, own in families.items():
        title = FAMILIES.get(family, "Whole visits")
        parts.append(f"## {title} {{#{family.lower()}}}")
        for case in own:
            parts += _whole(case)
    return "\n\n".join(parts)


def _whole(case: Case) -> Iterator[str]:
    tags = f" · {', '.join(case.tags)}" if case.tags else ""
    yield (
        f'<div class="case" id="{case.id}" markdown="span"><strong>{case.id}</strong> '
        f"{verbatim(case.title)}<br><small>{', '.join(case.requirements)}{tags}</small></div>"
    )
    script = "\n".join(map(str, case.steps))
    yield f"```text\n{script}\n```"


def language() -> str:
    """Tell of the language of the scripts, in the words of the modules that read it."""
    told = _told(lines).rpartition("This file ")[0].strip()
    told = told.replace("see OPERATIONS", "see below").replace("see OBSERVATIONS", "see below")
    places = _told(match).partition("What stands between ")[2]
    places = re.sub(r": see `KINDS`; `other`.*", ":", places)
    kinds = [f"| `{name}` | {_KINDS[name]} |" for name in match.KINDS]
    return "\n\n".join(
        (
            told,
            f"What stands between {places.strip()}",
            "\n".join(["| kind of a place | what it holds |", "| --- | --- |", *kinds]),
            _with_arguments("what a driver can be told with `do`", lines.OPERATIONS),
            _with_arguments("what its client is seen to tell with `saw`", lines.OBSERVATIONS),
        )
    )


_KINDS: Final = {
    "client-token": "a token that a client made (AR-2)",
    "server-token": "a token that a server made (AR-3)",
    "any": "anything, or nothing",
    "other": "what no place has held before",
}


def _told(module: ModuleType) -> str:
    """Give what a module says of itself behind its first line."""
    text = inspect.cleandoc(module.__doc__ or "").partition("\n")[2]
    return re.sub(r"``([^`]*)``", r"`\1`", text)


def _with_arguments(head: str, verbs: Mapping[str, Sequence[str]]) -> str:
    rows = [f"| `{verb}` | {', '.join(names)} |" for verb, names in verbs.items()]
    return "\n".join([f"| {head} | with |", "| --- | --- |", *rows])
