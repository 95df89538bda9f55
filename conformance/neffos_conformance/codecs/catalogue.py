"""All cases: scripts for servers and clients, and the vectors of codecs."""

from __future__ import annotations

from typing import Final

from neffos_conformance.cases.definition import Case, Role, cases_of
from neffos_conformance.codecs.testing import codec_cases

EVERY_ROLE: Final[tuple[Role, ...]] = ("server", "client", "codec")
"""What a system under test can be."""


def all_cases(role: Role) -> tuple[Case, ...]:
    """Give the cases for a role; those of a codec are the vectors."""
    return codec_cases() if role == "codec" else cases_of(role)
