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

from generate.text import FAMILIES, count, table, verbatim
from neffos_conformance.cases import matching as match
from neffos_conformance.cases import script as lines
from neffos_conformance.cases.definition import ROLES, Case, Role
from neffos_conformance.cases.definition import cases_of as cases_for
from neffos_protocol.catalogue import Requirement

_COMMANDS: Final[Mapping[Role, str]] = {
    "server": "test server URL --case {}",
    "client": "test client --case {} -- YOUR DRIVER",
    "exchange": "test exchange --broker URL --case {} URL1 URL2",
}
"""The command that tests a role, with a place for what is selected."""

ROLE_NAMES: Final[Mapping[Role, str]] = {
    "server": "a server",
    "client": "a client",
    "exchange": "servers that share a broker",
}
"""What is tested in a role."""


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
    """Give the cases that cover a requirement, first those that are named after it."""
    found = _showing().get(requirement, ())
    return tuple(sorted(found, key=lambda each: each.id.partition(".")[0] != requirement))


def section(requirement: Requirement) -> list[str]:
    """Give the cases section of a requirement's page; nothing if there is nothing to say."""
    found = cases_of(requirement.id)
    parts = ["## Cases"] if found or requirement.unseen else []
    for role in ROLES:
        own = [each for each in found if each.role == role]
        if own:
            rows = ((each.id, verbatim(each.title)) for each in own)
            parts.append(table((f"for {ROLE_NAMES[role]}", "what it tests"), rows))
            command = _COMMANDS[role].format(requirement.id)
            parts.append(f"```sh\nneffos-wire {command}\n```")
    for unseen, reason in requirement.unseen.items():
        parts.append(f"No test of a {unseen} can see it: {reason}.")
    return parts


def all_cases(role: Role) -> str:
    """Give every case for a role with its script, by family."""
    families: dict[str, list[Case]] = {}
    for case in cases_for(role):
        families.setdefault(case.family, []).append(case)
    parts = [f"There are {count(len(cases_for(role)), 'case')} for {ROLE_NAMES[role]}."]
    for family, own in families.items():
        title = FAMILIES.get(family, "Whole sessions")
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
    # Nobody searches for a script, and each page loads all that is searched.
    yield f"``` {{ .text data-search-exclude='' }}\n{script}\n```"


def language() -> str:
    """Describe the language of the scripts, with the docstrings of the modules that read it."""
    script, placeholders = _documentation(lines), _documentation(match)
    script = re.sub("see (OPERATIONS|OBSERVATIONS)", "see below", script)
    script = script[: script.index("This module ")].strip()
    placeholders = placeholders[placeholders.index("Text between ") :]
    placeholders = re.sub(r": see `KINDS`; `other`.*", ":", placeholders).strip()
    kinds = ((f"`{name}`", _KINDS[name]) for name in match.KINDS)
    return "\n\n".join(
        (
            script,
            placeholders,
            table(("kind of placeholder", "its value"), kinds),
            _with_arguments("operations of a driver, for `do`", lines.OPERATIONS),
            _with_arguments("observations of a driver, for `saw`", lines.OBSERVATIONS),
        )
    )


_KINDS: Final = {
    "client-token": "a token that a client made (AR-2)",
    "server-token": "a token that a server made (AR-3)",
    "any": "anything, or nothing",
    "other": "what no placeholder has had before",
    "character": "one character",
    "sender": "an explicit sender, or nothing (SX-7)",
}


def _documentation(module: ModuleType) -> str:
    """Give the docstring of a module after its first line."""
    text = inspect.cleandoc(module.__doc__ or "").partition("\n")[2]
    return re.sub(r"``([^`]*)``", r"`\1`", text)


def _with_arguments(head: str, verbs: Mapping[str, Sequence[str]]) -> str:
    return table((head, "with"), ((f"`{verb}`", ", ".join(names)) for verb, names in verbs.items()))
