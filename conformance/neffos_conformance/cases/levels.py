"""The levels of cases, and what a server needs for more of them.

The level of a case follows from the features that it needs. Nothing here knows a run.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from neffos_conformance.cases.definition import Case
from neffos_conformance.cases.features import AppLevel, Feature, by_id, closed, features, needed

LEVELS: Final = tuple(AppLevel)
"""The levels, the lowest first."""


def level_of(case: Case) -> AppLevel:
    """Give the level of a case: the highest of what it needs."""
    return level_of_features(needed(case))


def level_of_features(ids: Iterable[str]) -> AppLevel:
    """Give the highest level of some features."""
    return LEVELS[max((LEVELS.index(by_id()[id_].level) for id_ in ids), default=0)]


@dataclass(frozen=True, slots=True)
class NextStep:
    """What a server needs to be tested on more.

    Attributes:
        features: what it lacks.
        requirements: the ids of the requirements that could be tested then, in order.
    """

    features: tuple[str, ...]
    requirements: tuple[str, ...]

    def __str__(self) -> str:
        number = len(self.requirements)
        if "app" in self.features:
            what = "name a namespace that a client may connect. Try: --namespace NAME"
        else:
            found = [f"{_named(by_id()[id_])} ({by_id()[id_].about})" for id_ in self.features]
            what = (
                f"add {' and '.join(found)}, or name yours in a profile. Try: --write-profile FILE"
            )
        return f"to show {number} more, {what}"


def next_step(
    there: frozenset[str], cases: Iterable[Case], shown: frozenset[str]
) -> NextStep | None:
    """Give the one thing to add that shows most more; ``None`` if nothing does.

    A namespace counts as one thing with all that comes with it. Two features that only show
    something together are one thing if no single one shows any more.

    Args:
        there: the features of the server.
        cases: the cases that could run.
        shown: the requirements that count as shown, or that are not to be.
    """
    wanted = [(needed(case), set(case.requirements) - shown) for case in cases]
    missing = [each.id for each in features() if each.id not in there]
    single = [_with_level(id_) - there for id_ in missing if there.issuperset(by_id()[id_].needs)]
    for candidates in (single, [frozenset(needs - there) for needs, _ in wanted]):
        best: tuple[frozenset[str], set[str]] = frozenset(), set()
        for added in filter(None, candidates):
            gain = set().union(*(ids for needs, ids in wanted if needs <= there | added))
            if len(gain) > len(best[1]):
                best = added, gain
        if best[1]:
            order = tuple(id_ for id_ in missing if id_ in best[0])
            return NextStep(order, tuple(sorted(best[1])))
    return None


def _with_level(id_: str) -> frozenset[str]:
    """Give a feature with those that it needs; a namespace, with all that every one has."""
    return closed((id_, *(_NAMESPACE if id_ == "app" else ())))


_NAMESPACE: Final = tuple(each.id for each in features() if each.level is AppLevel.NAMESPACE)


def _named(feature: Feature) -> str:
    """Name what a server adds for a feature."""
    for kind in ("events", "namespaces", "rooms", "endpoints", "headers"):
        if names := getattr(feature, kind):
            return f"the {kind.removesuffix('s')} {names[0]}"
    return feature.id
