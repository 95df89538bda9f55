"""A search for the version in which a verdict changed, over versions in their order.

Nothing here starts a program: the caller tries the version that ``following`` names, and asks
again. A version that could not be tried, and verdicts that say nothing, are no evidence. The search
passes them by, and names them where a change lies beside them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum, unique
from itertools import pairwise
from typing import Final

from neffos_conformance.cases.verdict import Verdict, most_severe
from neffos_conformance.runner.result import BROKEN


@unique
class Conformance(StrEnum):
    """What is known of a version."""

    CONFORMS = "conforms"
    VIOLATES = "violates"
    UNKNOWN = "unknown"


def outcome_of(verdicts: Iterable[Verdict]) -> Conformance:
    """Give the outcome of the cases of a version.

    A violation counts wherever it is seen. Conformance needs a pass, and no case without evidence
    but those that were skipped.
    """
    found = set(verdicts)
    if not found.isdisjoint(BROKEN):
        return Conformance.VIOLATES
    return Conformance.CONFORMS if most_severe(found) is Verdict.PASS else Conformance.UNKNOWN


@dataclass(frozen=True, slots=True)
class Trial:
    """A version that was tried.

    Attributes:
        verdicts: the verdict of each case, by its ID.
        reason: why there are none; empty if there are.
    """

    verdicts: Mapping[str, Verdict] = field(default_factory=dict)
    reason: str = ""

    @property
    def outcome(self) -> Conformance:
        """What is known of the version."""
        return outcome_of(self.verdicts.values())


Trials = Mapping[str, Trial]
"""The versions that were tried."""


@dataclass(frozen=True, slots=True)
class VerdictChange:
    """Two versions with different outcomes, of which nothing is known between them.

    Attributes:
        before: the last version before the change.
        after: the first one after it.
        between: the versions between them, which were no evidence.
        outcome: that of ``after``.
    """

    before: str
    after: str
    between: tuple[str, ...]
    outcome: Conformance


def evidence(versions: Sequence[str], trials: Trials) -> list[tuple[int, Conformance]]:
    """Give the place and the outcome of each version of which something is known, in order."""
    tried = ((place, trials[each]) for place, each in enumerate(versions) if each in trials)
    found = ((place, trial.outcome) for place, trial in tried)
    return [each for each in found if each[1] is not Conformance.UNKNOWN]


def following(versions: Sequence[str], trials: Trials, *, is_whole: bool = False) -> str | None:
    """Give the version to try next; ``None`` if the search is complete.

    The first and the last version of which something is known come first. If their outcomes
    differ, the search halves what lies between them. If they are the same, it ends: a change and
    its return in between is found only if all versions are tried.

    Args:
        versions: all versions, the oldest first.
        trials: what was tried.
        is_whole: try all versions.
    """
    untried = [place for place, each in enumerate(versions) if each not in trials]
    if is_whole or not untried:
        return versions[untried[0]] if untried else None
    known = evidence(versions, trials)
    if not known or untried[0] < known[0][0]:
        return versions[untried[0]]
    if len(known) == 1 or untried[-1] > known[-1][0]:
        return versions[untried[-1]]
    for (low, before), (high, after) in pairwise(known):
        inside = [place for place in untried if low < place < high]
        if before is not after and inside:
            return versions[min(inside, key=lambda place: abs(2 * place - low - high))]
    return None


def changes(versions: Sequence[str], trials: Trials) -> list[VerdictChange]:
    """Give every change between versions that were tried, the oldest first."""
    known = evidence(versions, trials)
    return [
        VerdictChange(versions[low], versions[high], tuple(versions[low + 1 : high]), after)
        for (low, before), (high, after) in pairwise(known)
        if before is not after
    ]


def conclusion(versions: Sequence[str], trials: Trials) -> list[str]:
    """Write what the search found, in sentences."""
    known = evidence(versions, trials)
    if not known:
        return ["Nothing is known of any version."]
    found = changes(versions, trials)
    if not found:
        outcome, ends = known[0][1], (versions[known[0][0]], versions[known[-1][0]])
        if len(known) == 1:
            return [f"{ends[0]} {outcome}; nothing is known of the others."]
        return [f"{' and '.join(ends)} {_PLURAL[outcome]}, as does all that was tried between."]
    return [_sentence(each, trials) for each in found]


_PLURAL: Final = {Conformance.CONFORMS: "conform", Conformance.VIOLATES: "violate"}


def _sentence(change: VerdictChange, trials: Trials) -> str:
    text = (
        f"{change.before} is the last that {trials[change.before].outcome}, "
        f"{change.after} the first that {change.outcome}"
    )
    if not change.between:
        return f"{text}."
    reasons = (
        f"{each} ({trials[each].reason or 'unknown' if each in trials else 'not tried'})"
        for each in change.between
    )
    return f"{text}; nothing is known of {', '.join(reasons)}."
