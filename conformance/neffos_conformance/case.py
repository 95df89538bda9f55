"""Cases as data: what to send, what to expect, and which requirements that shows.

This module reads and selects cases; it does not know how they are run.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from importlib.resources import files
from typing import Any, Final, Literal

Start = Literal["dialled", "handshake", "app"]


@dataclass(frozen=True, slots=True)
class Send:
    """Send a message: ``str`` as text, ``bytes`` as binary."""

    payload: str | bytes


@dataclass(frozen=True, slots=True)
class Expect:
    """Receive a message like this one; ``exact`` compares byte for byte."""

    payload: str | bytes
    exact: bool = False


@dataclass(frozen=True, slots=True)
class Silence:
    """Prove that the peer sends nothing: an ask is answered before anything else comes."""


@dataclass(frozen=True, slots=True)
class ExpectClosed:
    """See the connection end."""


Step = Send | Expect | Silence | ExpectClosed


@dataclass(frozen=True, slots=True)
class Case:
    """One conversation that shows one thing.

    Attributes:
        id: stable, shaped like the requirement that it is mainly about.
        title: what a correct peer does.
        requirements: the ids of the requirements that it shows.
        start: what happened before its own steps.
        steps: the conversation.
        headers: HTTP headers of the upgrade request.
    """

    id: str
    title: str
    requirements: tuple[str, ...]
    start: Start
    steps: tuple[Step, ...]
    headers: dict[str, str] = field(default_factory=dict)


_HANDSHAKE: Final = (Send("M"), Expect("A<<id>>"))
_CONNECT_APP: Final = (
    Send("$start;app;;_OnNamespaceConnect;0;0;"),
    Expect("$start;;;;;;"),
)

START_STEPS: Final[dict[Start, tuple[Step, ...]]] = {
    "dialled": (),
    "handshake": _HANDSHAKE,
    "app": _HANDSHAKE + _CONNECT_APP,
}
"""The steps before those of a case, by its start."""


def server_cases() -> list[Case]:
    """Give every case for a server under test, in the order of the data file."""
    text = files("neffos_conformance.data").joinpath("cases", "server.toml").read_text("utf-8")
    return [_case(entry) for entry in tomllib.loads(text)["case"]]


def select(cases: Iterable[Case], patterns: Iterable[str]) -> list[Case]:
    """Give the cases that any of the patterns names; all of them where there is no pattern.

    A pattern is a case id, a requirement id, a family such as ``NS``, or any of these with
    ``*`` and ``?``, in capitals or not.

    Raises:
        ValueError: a pattern matches nothing; the message names it.
    """
    known = list(cases)
    wanted = [pattern.upper() for pattern in patterns]
    for pattern in wanted:
        if not any(_names(pattern, case) for case in known):
            raise ValueError(f"no case matches {pattern}")
    return [case for case in known if not wanted or any(_names(each, case) for each in wanted)]


def _names(pattern: str, case: Case) -> bool:
    family = case.id.split("-")[0]
    return any(fnmatchcase(name, pattern) for name in (case.id, family, *case.requirements))


def _case(entry: dict[str, Any]) -> Case:
    return Case(
        id=entry["id"],
        title=entry["title"],
        requirements=tuple(entry["requirements"]),
        start=entry["start"],
        steps=tuple(_step(step) for step in entry["steps"]),
        headers=entry.get("headers", {}),
    )


def _step(entry: dict[str, Any]) -> Step:
    match entry:
        case {"send": str(text)}:
            return Send(text)
        case {"send_hex": str(octets)}:
            return Send(bytes.fromhex(octets))
        case {"expect": str(text)}:
            return Expect(text)
        case {"expect_hex": str(octets)}:
            return Expect(bytes.fromhex(octets))
        case {"exactly": str(text)}:
            return Expect(text, exact=True)
        case {"silence": True}:
            return Silence()
        case {"closed": True}:
            return ExpectClosed()
    raise ValueError(f"not a step: {entry!r}")
