"""The timeline: which release has which difference, and where the verdict on a requirement changed.

All of it is what the last recorded history has; see ``neffos_conformance.interop.history``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from itertools import groupby
from typing import Final

from generate.known import known_cases
from generate.text import cell, listed, table
from neffos_conformance.cases.definition import Role
from neffos_conformance.codecs.catalogue import all_cases
from neffos_conformance.interop.bisection import Conformance, Trials, changes
from neffos_conformance.interop.history import ReleaseHistory, histories
from neffos_conformance.interop.history import recorded_on as day
from neffos_protocol.catalogue import differences, requirements

GROUPS: Final = {
    "go-servers": ("neffos-go/gorilla", "neffos-go/gobwas"),
    "go-clients": ("neffos-go-gorilla", "neffos-go-gobwas"),
    "iris": ("iris/iris", "iris/iris-mvc"),
    "js": ("neffos.js",),
}
"""The systems that share a table, by its name in the page."""

_SIGNS: Final = {
    Conformance.CONFORMS: '<span class="good">✓</span>',
    Conformance.VIOLATES: '<span class="bad">✗</span>',
    Conformance.UNKNOWN: "?",
}

UNSEEN: Final = {
    "AR-5": "Two asks within one tick of the clock are a matter of luck.",
    "AR-9": "No handler of the application in JavaScript is an async function.",
    "AR-12": "It takes an ask of the server to all clients; the application asks one.",
    "AR-14": "On a server of 0.0.25, it takes an ask by `Server.Ask`, whose end no case sees.",
    "AR-15": "Its cases are slow, and the history leaves these out.",
    "AR-17": "It takes an application that broadcasts a received message; ours makes a new one.",
    "AR-20": "No handler of the application replies to a connect, disconnect, join or leave.",
    "EV-1": "No handler of the application lasts while another goroutine asks.",
    "EV-8": "The application in Go sets `SyncBroadcaster`, which sends no broadcast twice.",
    "EV-9": "The application in Go sets `SyncBroadcaster`, which loses no broadcast.",
    "FR-15": "It takes a token that begins with a byte order mark, which no case sends in binary.",
    "HS-17": "The check of the application does not last, so that no broadcast falls into it.",
    "HS-19": "Its cases send the acceptance in text; a binary one is that of HS-7.c1.",
    "NM-7": "The application replies with the native message that it received.",
    "NS-16": "It takes a frame right after the reply to a second connect of a namespace.",
    "RM-1": "It takes a join between two connects that cross and the later of their replies.",
    "RM-3": "No case has a client refuse a join without a text.",
    "SEC-4": "Its cases are slow, and the history leaves these out.",
    "SEC-8": "The application in Go sets `SyncBroadcaster`, so that broadcasts wait.",
    "SEC-9": "The cases are skipped: the application on gobwas checks no origin, as a default.",
    "TR-1": "Pongs amid frames are a matter of luck, and the history has no client on coder.",
}
"""The requirements that a release violates though no case of it fails, and why that is so."""


def recorded_on() -> str:
    """Give the day on which the history was recorded."""
    return day()


def timeline(group: str) -> str:
    """Write a table with a column for each release, and a row for each difference and requirement.

    A difference that no release shows has no row, and a requirement has one only where the verdict
    on it changes.

    Args:
        group: a name in ``GROUPS``.
    """
    systems = _systems(group)
    if not systems:
        return "*No run of these is recorded yet.*"
    first = next(iter(systems.values()))
    head = ("what", "violated by", *_tried(first))
    rows = [
        (_what(name), _ranges(first.versions, found), *_cells(first, found))
        for name, cases in _named(first.role)
        if (found := {part: each.trials(cases) for part, each in systems.items()})
        and _is_shown(name, first.versions, found)
    ]
    return table(head, rows)


def _what(name: str) -> str:
    found = differences().get(name)
    return f"{name} <small>{cell(found.title)}</small>" if found else name


def _systems(group: str) -> Mapping[str, ReleaseHistory]:
    """Give the histories of a group by what tells them apart."""
    names = [name for name in GROUPS[group] if name in histories()]
    return {name.replace("/", "-").rpartition("-")[2]: histories()[name] for name in names}


@cache
def _named(role: Role) -> list[tuple[str, list[str]]]:
    """Give the IDs of differences and requirements, each with its cases."""
    there = [case.id for case in all_cases(role)]
    found = [(id_, [each for each in there if each in known_cases(id_)]) for id_ in differences()]
    found += [(id_, cases_of_requirement(id_, role)) for id_ in requirements()]
    return [(id_, cases) for id_, cases in found if cases]


def cases_of_requirement(id_: str, role: Role) -> list[str]:
    """Give the IDs of the cases that cover a requirement."""
    return [case.id for case in all_cases(role) if id_ in case.requirements]


def _is_shown(name: str, versions: Sequence[str], found: Mapping[str, Trials]) -> bool:
    if name in differences():
        return any(
            each.outcome is Conformance.VIOLATES for one in found.values() for each in one.values()
        )
    return any(changes(versions, each) for each in found.values())


def _cells(history: ReleaseHistory, found: Mapping[str, Trials]) -> list[str]:
    return [_cell({k: v[each].outcome for k, v in found.items()}) for each in _tried(history)]


def _tried(history: ReleaseHistory) -> list[str]:
    """Give the releases that are no gaps."""
    return [each for each in history.versions if each not in history.gaps]


def _cell(outcomes: Mapping[str, Conformance]) -> str:
    """Give a sign, and what it is the sign of if the systems of the group differ."""
    parts: dict[Conformance, list[str]] = {}
    for part, outcome in outcomes.items():
        parts.setdefault(outcome, []).append(part)
    if len(parts) == 1:
        return _SIGNS[next(iter(parts))]
    bad = parts.get(Conformance.VIOLATES, [])
    sign = _SIGNS[Conformance.VIOLATES if bad else Conformance.UNKNOWN]
    return f"{sign} <small>{listed(bad)}</small>" if bad else sign


def _ranges(versions: Sequence[str], found: Mapping[str, Trials]) -> str:
    """Say which releases violate, passing by those of which nothing is known."""
    texts = {part: _range(versions, each) for part, each in found.items()}
    if len(set(texts.values())) == 1:
        return next(iter(texts.values()))
    return "; ".join(f"{part}: {text}" for part, text in texts.items())


def _range(versions: Sequence[str], trials: Trials) -> str:
    known = [each for each in versions if trials[each].outcome is not Conformance.UNKNOWN]
    parts = []
    for outcome, each in groupby(known, key=lambda version: trials[version].outcome):
        if outcome is Conformance.VIOLATES:
            run = [*each]
            parts.append(_part(run, known))
    return ", ".join(parts) or "none"


def _part(run: Sequence[str], known: Sequence[str]) -> str:
    if run[0] == known[0] and run[-1] == known[-1]:
        return "all"
    if run[0] == known[0]:
        return f"up to {run[-1]}"
    if run[-1] == known[-1]:
        return f"from {run[0]}"
    return run[0] if len(run) == 1 else f"{run[0]} to {run[-1]}"


def unseen() -> str:
    """Write the violations of the newest releases that their cases do not show, with the reason."""
    rows = []
    for id_, reason in UNSEEN.items():
        found = {
            peer: each.what
            for peer, each in requirements()[id_].peers.items()
            if each.verdict == "violates"
        }
        told = "; ".join(f"{peer} {cell(what)}" for peer, what in found.items())
        rows.append((id_, told, reason))
    return table(("requirement", "what violates it", "why no case shows it"), rows)


def gaps() -> str:
    """Write the releases that were not tested, with the reason."""
    found: dict[str, dict[str, None]] = {}
    for names in GROUPS.values():
        for name in names:
            each = histories().get(name)
            for version, reason in each.gaps.items() if each else ():
                found.setdefault(reason, {})[f"{_library(name)} {version}"] = None
    rows = ((listed([*releases]), reason) for reason, releases in found.items())
    return table(("release", "why it is a gap"), rows)


def _library(name: str) -> str:
    return "Iris" if name.startswith("iris") else "neffos.js" if name == "neffos.js" else "neffos"
