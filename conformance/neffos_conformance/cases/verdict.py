"""How much it weighs that a requirement is broken: the catalogue's to say, not a case's."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum, unique
from typing import Final

from neffos_protocol.catalogue import Level, requirement


@unique
class Verdict(StrEnum):
    """What came of a case."""

    PASS = "pass"  # noqa: S105  # no password
    FAIL = "fail"
    """A MUST is broken."""
    NON_STRICT = "non-strict"
    """A SHOULD is not followed."""
    INFORMATIONAL = "informational"
    """What the peer does differently is left to it."""
    SKIPPED = "skipped"
    """The peer lacks a feature or an operation that the case needs, so the case did not run."""
    ERROR = "error"
    """The case could not be run to its end for a reason outside it."""


_WEIGHT: Final = {
    Level.MUST: Verdict.FAIL,
    Level.MUST_NOT: Verdict.FAIL,
    Level.SHOULD: Verdict.NON_STRICT,
    Level.SHOULD_NOT: Verdict.NON_STRICT,
    Level.MAY: Verdict.INFORMATIONAL,
    Level.UNSPECIFIED: Verdict.INFORMATIONAL,
}

_GRAVEST: Final = (Verdict.FAIL, Verdict.NON_STRICT)


def verdict_on(requirements: Iterable[str]) -> Verdict:
    """Give the verdict on who breaks these requirements: that of the strongest of them."""
    weights = {_WEIGHT[requirement(id_).level] for id_ in requirements}
    return next((verdict for verdict in _GRAVEST if verdict in weights), Verdict.INFORMATIONAL)
