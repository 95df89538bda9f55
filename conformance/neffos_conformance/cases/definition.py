"""Cases as data: a script, and the requirements that it covers.

This module reads and selects cases; it does not know how they are played.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cache
from typing import Any, Final, Literal

from neffos_conformance.cases.script import ScriptError, Step, read_script
from neffos_conformance.data import FOLDER, frozen, toml

Role = Literal["server", "client", "codec", "exchange"]
ROLES: Final[tuple[Role, ...]] = ("server", "client", "exchange")
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


def base_of(id_: str) -> str:
    """Give the ID of the case that a variation is of; any other ID is its own."""
    return id_.partition("[")[0]


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
        fixed: why it takes no part in variations; empty if it does.
        is_sized: whether the sizes of its messages matter, which other names would change.
        may_refuse: the number of the connection that a correct server may also refuse, with a 3xx
            or 4xx status or in the handshake, and so passes; 0 if there is none.
        pause: seconds between its setup and the rest; more than 0 only if it runs again.
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
    fixed: str = ""
    is_sized: bool = False
    may_refuse: int = 0
    pause: float = 0.0

    @property
    def base_id(self) -> str:
        """The ID of the case that it is a variation of; its own, if it is none."""
        return base_of(self.id)

    @property
    def family(self) -> str:
        """The letters that its id begins with."""
        return self.id.split("-")[0]

    @property
    def is_flood(self) -> bool:
        """Whether it sends more than a peer is likely to accept."""
        return LIMITS in self.tags and SLOW not in self.tags

    @property
    def awaits_closing(self) -> bool:
        """Whether the system under test is to close a connection."""
        return any(step.verb == "closed" for step in self.steps)

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
    folder = FOLDER.joinpath("cases", role)
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
    return [_case(entry, role) for entry in toml.loads(text)["case"]]


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

    A pattern is a case id or what precedes its point, a requirement id, a family such as ``NS``, or
    any of these with ``*`` and ``?``, in any case of letters. A slow case is selected by its full
    id, or by the tag ``slow``.

    Raises:
        ValueError: a pattern or a tag matches nothing; the message names it.
    """
    known = list(cases)
    wanted = [pattern.upper() for pattern in patterns]
    names = {case.id: _names(case) for case in known} if wanted else {}
    for pattern in wanted:
        if not any(_is_among(pattern, each) for each in names.values()):
            raise ValueError(f"no case matches {pattern}")
    for tag in tags:
        if not any(tag in case.tags for case in known):
            there = ", ".join(sorted({each for case in known for each in case.tags}))
            raise ValueError(f"no case has the tag {tag}; there are {there}")
    return [
        case
        for case in known
        if (not wanted or any(_is_among(each, names[case.id]) for each in wanted))
        and (not tags or not set(tags).isdisjoint(case.tags))
        and (
            not is_slow_left_out
            or SLOW not in case.tags
            or SLOW in tags
            or case.id.upper() in wanted
        )
    ]


def _names(case: Case) -> tuple[str, ...]:
    name = case.id.upper()
    return (name, name.partition(".")[0], case.family, *case.requirements)


def _is_among(pattern: str, names: tuple[str, ...]) -> bool:
    if _WILD.isdisjoint(pattern):
        return pattern in names
    return any(fnmatchcase(name, pattern) for name in names)


_WILD: Final = frozenset("*?[")
"""What makes a pattern of a name."""


def _case(entry: dict[str, Any], role: Role) -> Case:
    values = frozen(entry)
    try:
        values["steps"] = read_script(values.pop("script"), role)
    except ScriptError as error:
        raise ScriptError(f"case {entry['id']}: {error}") from error
    record = RecordOptions(**frozen(values.pop("record", {})))
    return Case(**values, role=role, record=record)
