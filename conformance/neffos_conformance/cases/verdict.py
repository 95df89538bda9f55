"""Verdicts, and which one a violation gets: the requirement's level in the catalogue decides."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum, unique
from typing import Final

from neffos_protocol.catalogue import Level, requirement


@unique
class Verdict(StrEnum):
    """The result of a case."""

    PASS = "pass"  # noqa: S105  # no password
    FAIL = "fail"
    """The peer violates a MUST."""
    NON_STRICT = "non-strict"
    """The peer does not follow a SHOULD."""
    INFORMATIONAL = "informational"
    """The peer differs where the specification leaves it the choice."""
    SKIPPED = "skipped"
    """The peer lacks what the case needs, and no requirement demands that."""
    ERROR = "error"
    """The case could not run to its end, for a reason outside it."""
    UNKNOWN = "unknown"
    """The network or the time did not suffice to see what the peer does."""


COLOURS: Final = {
    Verdict.PASS: "green",
    Verdict.FAIL: "red",
    Verdict.NON_STRICT: "yellow",
    Verdict.INFORMATIONAL: "cyan",
    Verdict.SKIPPED: "dim",
    Verdict.ERROR: "magenta",
    Verdict.UNKNOWN: "blue",
}
"""The colour of each verdict on a terminal."""

SEVERITY: Final = (
    Verdict.FAIL,
    Verdict.ERROR,
    Verdict.NON_STRICT,
    Verdict.INFORMATIONAL,
    Verdict.UNKNOWN,
    Verdict.SKIPPED,
    Verdict.PASS,
)
"""The verdicts, the most severe first."""

_WEIGHT: Final = {
    Level.MUST: Verdict.FAIL,
    Level.MUST_NOT: Verdict.FAIL,
    Level.SHOULD: Verdict.NON_STRICT,
    Level.SHOULD_NOT: Verdict.NON_STRICT,
    Level.MAY: Verdict.INFORMATIONAL,
}


def verdict_on(requirements: Iterable[str]) -> Verdict:
    """Give the verdict for a violation of these requirements: that of the strongest."""
    weights = (_WEIGHT[requirement(id_).level] for id_ in requirements)
    return most_severe(weights) or Verdict.INFORMATIONAL


def most_severe(verdicts: Iterable[Verdict]) -> Verdict | None:
    """Give the most severe of some verdicts; ``None`` if there are none.

    A pass outweighs a skipped case, since something was tested: a codec that decodes in one way
    alone is tested by that.
    """
    found = set(verdicts)
    order = (*SEVERITY[:5], Verdict.PASS, Verdict.SKIPPED)
    return next((each for each in order if each in found), None)
