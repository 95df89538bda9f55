"""All cases: scripts for servers and clients, and the vectors of codecs."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Final
from zlib import crc32

from neffos_conformance.cases.definition import Case, Role, cases_of
from neffos_conformance.codecs.vectors import askable_vectors

EVERY_ROLE: Final[tuple[Role, ...]] = ("server", "client", "codec", "exchange")
"""What a system under test can be."""

SEEDS: Final = 1 << 16
"""How many seeds choose samples: one is short enough to copy."""


def all_cases(role: Role) -> tuple[Case, ...]:
    """Give the cases for a role; those of a codec are the vectors."""
    return codec_cases() if role == "codec" else cases_of(role)


def seed_of_cases(roles: Iterable[Role] = EVERY_ROLE) -> int:
    """Give the seed of a sample, by what all cases of these roles do.

    What a sample shows before a commit it shows in CI too, and another one with other cases.
    """
    does = [str(case.steps) for role in roles for case in all_cases(role)]
    return crc32("".join(does).encode()) % SEEDS


@cache
def codec_cases() -> tuple[Case, ...]:
    """Give the vectors that an adapter can answer as cases, in order."""
    return tuple(
        Case(vector["id"], vector["about"], tuple(vector["requirements"]), "codec", ())
        for vector in askable_vectors()
    )
