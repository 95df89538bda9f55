"""All cases: scripts for servers and clients, and the vectors of codecs."""

from __future__ import annotations

from functools import cache
from typing import Final

from neffos_conformance.cases.definition import Case, Role, cases_of
from neffos_conformance.codecs.vectors import askable_vectors

EVERY_ROLE: Final[tuple[Role, ...]] = ("server", "client", "codec", "exchange")
"""What a system under test can be."""


def all_cases(role: Role) -> tuple[Case, ...]:
    """Give the cases for a role; those of a codec are the vectors."""
    return codec_cases() if role == "codec" else cases_of(role)


@cache
def codec_cases() -> tuple[Case, ...]:
    """Give the vectors that an adapter can answer as cases, in order."""
    return tuple(
        Case(vector["id"], vector["about"], tuple(vector["requirements"]), "codec", ())
        for vector in askable_vectors()
    )
