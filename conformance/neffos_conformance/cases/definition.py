"""Cases as data: a script, and the requirements that it covers.

This module reads and selects cases; it does not know how they are played.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from importlib.resources import files
from typing import Any, Final, Literal

from neffos_conformance.cases.script import ScriptError, Step, read_script

Role = Literal["server", "client", "codec"]
ROLES: Final[tuple[Role, ...]] = ("server", "client")
"""The roles whose cases are scripts; the cases of a codec are the vectors."""


@dataclass(frozen=True, slots=True)
class RecordOptions:
    """How a case is recorded for the corpus; only recording reads it.

    Attributes:
        peers: the names of the peers that it is recorded with; empty for all.
        native: what becomes of payloads that are not frames, as ``neffos_codec.Native`` has it.
        defects: the requirements that are violated in the recording, and by which role.
        difference: the difference (DV-n) that the peers show; empty if none.
    """

    peers: tuple[str, ...] = ()
    native: str = "never"
    defects: Mapping[str, str] = field(default_factory=dict, hash=False)
    difference: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """One script that tests one behaviour.

    Attributes:
        id: stable, shaped like the requirement that it mainly covers.
        title: what a conforming peer does.
        requirements: the ids of the requirements that it covers.
        role: of the system under test.
        steps: the script.
        tags: its properties, to select by.
        seconds: its time limit, if that is not the usual one; 0 if it is.
        why: a hint for the owner of a peer that fails, if the title does not say it all.
        record: how it is recorded.
    """

    id: str
    title: str
    requirements: tuple[str, ...]
    role: Role
    steps: tuple[Step, ...]
    tags: tuple[str, ...] = ()
    seconds: float = 0.0
    why: str = ""
    record: RecordOptions = RecordOptions()

    @property
    def family(self) -> str:
        """The letters that its id begins with."""
        return self.id.split("-")[0]

    @property
    def is_flood(self) -> bool:
        """Whether it sends more than a peer is likely to accept."""
        return LIMITS in self.tags and SLOW not in self.tags

    @property
    def reach(self) -> int:
        """Which other connections it reaches: 0 none, 1 those that it names, 2 all.

        Cases of different reach must not run concurrently, nor two of the widest: each would
        receive the broadcasts of the other.
        """
        texts = [step.rest for step in self.steps]
        return next((reach for reach, mark in _REACHES if any(mark in rest for rest in texts)), 0)


_REACHES: Final = (
    (2, ";broadcast-others;"),
    (2, ";broadcast-all;"),
    (1, ";broadcast-room;"),
    (1, ";broadcast-to;"),
)
"""The events of the conformance application that reach other connections, as part of a frame."""

LIMITS: Final = "limits"
"""The tag of cases that look for a limit."""

SLOW: Final = "slow"
"""The tag of cases that wait for a peer's time limit; they run only if selected by name."""


@cache
def cases_of(role: Role) -> tuple[Case, ...]:
    """Give every case for a role, in the order of the data: a file for each family.

    Raises:
        ScriptError: a script is wrong; the text names the case.
    """
    folder = files("neffos_conformance.data").joinpath("cases", role)
    found: list[Case] = []
    for name in sorted(each.name for each in folder.iterdir() if each.name.endswith(".toml")):
        found += read_cases(folder.joinpath(name).read_text("utf-8"), role)
    return tuple(found)


def read_cases(text: str, role: Role) -> list[Case]:
    """Read the cases of one file.

    Args:
        text: the TOML.
        role: of the system under test.

    Raises:
        ScriptError: a script is wrong; the text names the case.
    """
    return [_case(entry, role) for entry in tomllib.loads(text)["case"]]


def server_cases() -> list[Case]:
    """Give every case for a server under test."""
    return list(cases_of("server"))


def client_cases() -> list[Case]:
    """Give every case for a client under test."""
    return list(cases_of("client"))


def select(
    cases: Iterable[Case],
    patterns: Sequence[str],
    tags: Sequence[str] = (),
    *,
    is_slow_left_out: bool = True,
) -> list[Case]:
    """Give the cases that match a pattern and have a tag; without either, all but the slow.

    A pattern is a case id, a requirement id, a family such as ``NS``, or any of these with
    ``*`` and ``?``, in any case of letters. A slow case is selected by its full id, or by the tag
    ``slow``.

    Raises:
        ValueError: a pattern or a tag matches nothing; the message names it.
    """
    known = list(cases)
    wanted = [pattern.upper() for pattern in patterns]
    for pattern in wanted:
        if not any(_names(pattern, case) for case in known):
            raise ValueError(f"no case matches {pattern}")
    for tag in tags:
        if not any(tag in case.tags for case in known):
            there = ", ".join(sorted({each for case in known for each in case.tags}))
            raise ValueError(f"no case has the tag {tag}; there are {there}")
    return [
        case
        for case in known
        if (not wanted or any(_names(each, case) for each in wanted))
        and (not tags or not set(tags).isdisjoint(case.tags))
        and (
            not is_slow_left_out
            or SLOW not in case.tags
            or SLOW in tags
            or case.id.upper() in wanted
        )
    ]


def _names(pattern: str, case: Case) -> bool:
    names = (case.id.upper(), case.family, *case.requirements)
    return any(fnmatchcase(name, pattern) for name in names)


def _case(entry: dict[str, Any], role: Role) -> Case:
    try:
        steps = read_script(entry["script"], role)
    except ScriptError as error:
        raise ScriptError(f"case {entry['id']}: {error}") from error
    record = entry.get("record", {})
    return Case(
        id=entry["id"],
        title=entry["title"],
        requirements=tuple(entry["requirements"]),
        role=role,
        steps=steps,
        tags=tuple(entry.get("tags", ())),
        seconds=entry.get("seconds", 0.0),
        why=entry.get("why", ""),
        record=RecordOptions(**{**record, "peers": tuple(record.get("peers", ()))}),
    )
