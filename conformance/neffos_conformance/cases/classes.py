"""The classes of conformance, by the basis of each requirement.

*Interoperable* has the requirements that deployed peers depend on, *complete* has all. None is
picked by hand. This module does not know how a case ended.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final

from neffos_conformance.cases.definition import Case
from neffos_protocol.catalogue import Basis, requirement


@unique
class ConformanceClass(StrEnum):
    """A class of conformance; each contains those before it."""

    INTEROPERABLE = "interoperable"
    """The requirements whose basis is *interop*."""
    COMPLETE = "complete"
    """The whole catalogue."""


SHOWN: Final = 12
"""Digits of a hash that people compare; programs have all."""


@dataclass(frozen=True, slots=True)
class SetName:
    """What a report says of the requirement set that selected its cases.

    Attributes:
        name: its name.
        sha256: its hash, in hex; empty if no set selected them.
        requirements: the ids of its requirements; ``None`` for the whole catalogue.
    """

    name: str = "draft"
    sha256: str = ""
    requirements: frozenset[str] | None = None

    def __str__(self) -> str:
        return f"{self.name} ({self.sha256[:SHOWN]})" if self.sha256 else self.name


def class_of(ids: Iterable[str]) -> ConformanceClass:
    """Give the first class that has all of these requirements.

    A case of several requirements belongs to that class: if it fails, it does not say which of
    them is violated, so it accuses nobody of a violation of the narrower class.
    """
    is_interop = all(requirement(id_).basis is Basis.INTEROP for id_ in ids)
    return ConformanceClass.INTEROPERABLE if is_interop else ConformanceClass.COMPLETE


def accused(case: Case) -> tuple[str, ...]:
    """Give the requirements that a failed case counts against.

    These are the ones that put the case into its class, and of them the one that its ID names, if
    it does. The cases of the others alone have their own verdicts.
    """
    widest = class_of(case.requirements)
    found = tuple(id_ for id_ in case.requirements if class_of([id_]) is widest)
    main = case.id.rpartition(".")[0]
    return (main,) if main in found else found
