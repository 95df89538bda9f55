"""Which variations of cases to run: a few of many cases, or so many that little is left untried.

The selection is greedy and has no chance in it: the same cases have the same variations, on every
machine and with every version of whatever is installed, so that a report can be checked. A library
for covering arrays would choose as well; it would have to be there for each run, and to ask of each
choice whether a case can have it, which is most of the work here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import combinations, product
from typing import Final
from zlib import crc32

from neffos_conformance.cases.definition import Case
from neffos_conformance.cases.dimensions import (
    VariedCase,
    dimensions,
    values,
    varied,
    why_fixed,
    with_values,
)
from neffos_conformance.cases.varied_script import DimensionValue, NotApplicableError

MOST: Final = 3
"""How often a usual run has a value at most: some of them cost as much as ten cases."""

FEW: Final = 160
"""Variations of a usual run at most: it may take a fifth longer by them."""

Accepts = Callable[[Case], bool]
"""Whether a variation can be run, by what it needs."""


def everything(_: Case) -> bool:
    """Accept every variation."""
    return True


def few(cases: Iterable[Case], accepts: Accepts = everything, *, most: int = MOST) -> list[Case]:
    """Give a variation of some cases, such that each value occurs a few times.

    The cases are of all families. Each has a value of every dimension in which it can vary, and
    that is not done: the one that occurred least so far.

    Args:
        cases: all cases that are run.
        accepts: whether a variation can be run.
        most: how often a value occurs at most.
    """
    used: Counter[str] = Counter()
    found = []
    for case in sorted(cases, key=lambda each: crc32(each.id.encode())):
        if why_fixed(case):
            continue
        chosen = _least_used(case, used, most, everything)
        if chosen.values and not accepts(chosen.finished()):
            chosen = _least_used(case, used, most, accepts)
        if chosen.values:
            variation = chosen.finished()
            found.append(variation)
            used.update(value.name for value in chosen.values)
            if len(found) == FEW:
                break
    return found


def _least_used(case: Case, used: Counter[str], most: int, accepts: Accepts) -> VariedCase:
    """Give a case the value of each dimension that occurred least, of those that are accepted."""
    chosen = varied(case)
    for dimension in dimensions():
        left = [value for value in dimension.values if used[value.name] < most]
        left.sort(key=lambda each: used[each.name])
        tried = _tried(chosen, left)
        if accepts is not everything:
            tried = (each for each in tried if accepts(each.finished()))
        chosen = next(tried, chosen)
    return chosen


def variations(case: Case, strength: int = 2, accepts: Accepts = everything) -> list[Case]:
    """Give variations of a case that have every combination of so many values that it can have.

    With a strength of 2, all cases together have three-way coverage, where the case counts as one
    dimension.

    Args:
        case: the case.
        strength: how many values, from 1.
        accepts: whether a variation can be run.
    """
    if why_fixed(case):
        return []
    single = {
        each.values[0].name
        for each in _tried(varied(case), values().values())
        if accepts(each.finished())
    }
    groups = [
        [value for value in each.values if value.name in single]
        for each in dimensions()
        if any(value.name in single for value in each.values)
    ]
    strength = min(strength, len(groups))
    left: dict[frozenset[str], tuple[DimensionValue, ...]] = {}
    for some in combinations(groups, strength) if strength else ():
        for combination in product(*reversed(some)):
            left[frozenset(value.name for value in combination)] = combination
    found = []
    while left:
        key = next(iter(left))
        if (chosen := _whole(case, left.pop(key), groups, left.keys(), strength)) is None:
            continue
        names = [value.name for value in chosen.values]
        for done in combinations(names, strength):
            left.pop(frozenset(done), None)
        if accepts(variation := chosen.finished()):
            found.append(variation)
    return found


def _whole(
    case: Case,
    start: tuple[DimensionValue, ...],
    groups: Sequence[Sequence[DimensionValue]],
    left: Iterable[frozenset[str]],
    strength: int,
) -> VariedCase | None:
    """Give a variation with some values, and with those others that complete most of the rest."""
    if (whole := _built(case, start)) is None:
        return None
    chosen = {value.dimension: value for value in start}
    for group in groups:
        if group[0].dimension in chosen:
            continue
        names = [value.name for value in chosen.values()]
        others = [frozenset(each) for each in combinations(names, strength - 1)]
        gains = {value.name: sum(o | {value.name} in left for o in others) for value in group}
        for value in sorted(group, key=lambda each: -gains[each.name])[:_TRIES]:
            if gains[value.name] and (more := _built(case, [*chosen.values(), value])):
                whole, chosen[value.dimension] = more, value
                break
    return whole


_TRIES: Final = 3
"""Values of a dimension that are tried for one variation; what is left comes in a later one."""


def _built(case: Case, chosen: Iterable[DimensionValue]) -> VariedCase | None:
    try:
        return with_values(case, {value.name for value in chosen})
    except NotApplicableError:
        return None


def _tried(start: VariedCase, candidates: Iterable[DimensionValue]) -> Iterator[VariedCase]:
    """Give what a case becomes by each value that it can have."""
    for value in candidates:
        try:
            yield start.given(value)
        except NotApplicableError:
            continue
