"""The requirements and the differences as values.

This module reads ``data/requirements.toml`` and ``data/differences.toml`` and owns their types.
It does not check them: their form is that of the JSON Schemas beside them, which the tests hold
them to. What a requirement means is in its text alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum, unique
from functools import cache
from types import MappingProxyType
from typing import Final, TypeVar

from neffos_protocol._records import Record
from neffos_protocol.registry import load_toml, typed

__all__ = [
    "NOT_TESTABLE",
    "Basis",
    "Behaviour",
    "Difference",
    "Evidence",
    "Impact",
    "Level",
    "Observation",
    "ObservedVerdict",
    "Requirement",
    "difference",
    "differences",
    "peers",
    "requirement",
    "requirements",
]

_Entry = TypeVar("_Entry")

NOT_TESTABLE: Final = "no: "
"""Begins the only entry of ``Requirement.testable`` where no test can see the requirement."""


@unique
class Level(StrEnum):
    """How much a requirement asks for, as RFC 2119 defines the words."""

    MUST = "MUST"
    MUST_NOT = "MUST NOT"
    SHOULD = "SHOULD"
    SHOULD_NOT = "SHOULD NOT"
    MAY = "MAY"


@unique
class Basis(StrEnum):
    """Why a requirement is what it is."""

    INTEROP = "interop"
    """Peers in use rely on it."""
    SPECIFIED_HERE = "specified-here"
    """No deployed peer depends on it, and this is the safe choice."""
    GO_BEHAVIOUR = "go-behaviour"
    """What the Go server happens to do; others need not."""


@unique
class ObservedVerdict(StrEnum):
    """Whether a tested implementation conforms to a requirement."""

    CONFORMS = "conforms"
    VIOLATES = "violates"
    NOT_APPLICABLE = "not-applicable"
    """The peer has not the role, or not the feature, that the requirement is about."""


@unique
class Evidence(StrEnum):
    """How it is known what a peer does."""

    MEASURED = "measured"
    """On a running peer."""
    READ = "read"
    """In its source."""


class Observation(Record):
    """How one implementation meets one requirement.

    Attributes:
        verdict: whether it keeps it.
        evidence: how that is known.
        what: what it does instead; empty unless the verdict is ``VIOLATES``.
    """

    verdict: ObservedVerdict
    evidence: Evidence
    what: str = ""


class Requirement(Record):
    """One numbered normative sentence.

    Attributes:
        id: its permanent name, for example ``"FR-2"``.
        level: how much it asks for.
        applies_to: the roles that must conform, of ``"client"``, ``"server"`` and ``"codec"``.
        text: one sentence with the word of its level.
        rationale: why the requirement exists, and why so if implementations differ.
        basis: whether deployed peers depend on it, or it is specified here or Go behaviour.
        since: the first line of releases whose last one conforms; ``"unknown"`` if none does.
        testable: where a test can see it: of ``"wire-server"``, ``"wire-client"``,
            ``"wire-exchange"`` and ``"codec"``; or one entry that begins with ``NOT_TESTABLE``
            and says why not.
        facts: the observations that it rests on, as ``"section.bullet"`` of the notes on
            tested implementations.
        peers: how each implementation meets it, by the names that ``peers()`` explains.
        unseen: for each other role that must conform, why no test of that role can see it.
    """

    id: str
    level: Level
    applies_to: tuple[str, ...]
    text: str
    rationale: str
    basis: Basis
    since: str
    testable: tuple[str, ...]
    facts: tuple[str, ...]
    peers: Mapping[str, Observation]
    unseen: Mapping[str, str] = MappingProxyType({})

    @property
    def family(self) -> str:
        """The letters of the id, which say what the requirement is about."""
        return self.id.partition("-")[0]

    @property
    def is_testable(self) -> bool:
        """Whether some test can see if the requirement is kept."""
        return not self.testable[0].startswith(NOT_TESTABLE)


class Behaviour(Record):
    """What some implementations do where others do something else, or where all are wrong.

    Attributes:
        peers: their names.
        does: what they do.
        evidence: how that is known.
        backend: the one backend of the Go peer that does it; empty where all do.
        conforms: it is what the specification asks for.
        roles: the roles in which they do it, ``"client"`` or ``"server"``; empty where they do it
            in each role that the requirements apply to.
    """

    peers: tuple[str, ...]
    does: str
    evidence: Evidence
    backend: str = ""
    conforms: bool = False
    roles: tuple[str, ...] = ()


@unique
class Impact(StrEnum):
    """What a difference harms most, the gravest first."""

    SECURITY = "security"
    DATA_LOSS = "data-loss"
    """Messages or asks vanish."""
    INTEROP = "interop"
    """A peer that conforms cannot do its work with it."""
    COSMETIC = "cosmetic"
    """Nobody notices."""


class Difference(Record):
    """A matter in which implementations differ or are wrong.

    Attributes:
        id: its permanent name, for example ``"DV-1"``.
        title: what it is about.
        impact: what it harms most.
        severity: ``"high"``, ``"medium"`` or ``"low"``.
        choice: what the specification asks for, in short.
        requirements: the ids of the requirements that say it in full.
        unviolated: those of them that no affected peer violates, each with why it is among them.
            Where no peer is affected, they need no reason.
        consequence: what it means to people who use the peers as they are.
        behaviours: what the peers do.
        workaround: what these people can do; empty where nothing is known.
        unrecorded: why no recording of the corpus shows it; empty where one does.
    """

    id: str
    title: str
    impact: Impact
    severity: str
    choice: str
    requirements: tuple[str, ...]
    consequence: str
    behaviours: tuple[Behaviour, ...]
    workaround: str = ""
    unrecorded: str = ""
    unviolated: Mapping[str, str] = MappingProxyType({})


def requirement(id_: str) -> Requirement:
    """Give one requirement.

    Raises:
        KeyError: there is none of that id; the text says which ids there are.
    """
    return _one(requirements(), id_, "requirement")


def difference(id_: str) -> Difference:
    """Give one difference.

    Raises:
        KeyError: there is none of that id; the text says which ids there are.
    """
    return _one(differences(), id_, "difference")


@cache
def requirements() -> Mapping[str, Requirement]:
    """Give every requirement by its id, in the order of the catalogue."""
    tables = load_toml("requirements.toml")["requirement"]
    return MappingProxyType({table["id"]: typed(Requirement, table) for table in tables})


@cache
def differences() -> Mapping[str, Difference]:
    """Give every difference by its id, in the order of the catalogue."""
    tables = load_toml("differences.toml")["difference"]
    return MappingProxyType({table["id"]: typed(Difference, table) for table in tables})


@cache
def peers() -> Mapping[str, str]:
    """Give what each observed peer is, by the name that the catalogues use for it."""
    tables = load_toml("requirements.toml")["peer"]
    return MappingProxyType({table["name"]: table["about"] for table in tables})


def _one(entries: Mapping[str, _Entry], id_: str, kind: str) -> _Entry:
    try:
        return entries[id_]
    except KeyError:
        family = id_.partition("-")[0]
        near = [known for known in entries if known.partition("-")[0] == family] or [*entries]
        raise KeyError(f"no {kind} {id_!r}; they go from {near[0]} to {near[-1]}") from None
