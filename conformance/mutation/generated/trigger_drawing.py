"""How a trigger is drawn: how many conditions it has, and of which dimensions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from random import Random
from typing import Final, Protocol, TypeVar

WEIGHTS: Final[Mapping[int, int]] = {0: 1, 1: 6, 2: 3}
"""How often a trigger has so many conditions. With more, few conversations meet all of them."""


class Dimensional(Protocol):
    """A condition of a trigger."""

    @property
    def dimension(self) -> str:
        """What it is about; a trigger has one condition of each dimension."""


C = TypeVar("C", bound=Dimensional)


def drawn_count(random: Random) -> int:
    """Draw how many conditions a trigger has."""
    return random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]


def drawn_of(random: Random, conditions: Iterable[C], count: int) -> tuple[C, ...]:
    """Draw so many conditions, or fewer where there are fewer dimensions.

    Dimensions are drawn alike: some have many more conditions than others.
    """
    by_dimension: dict[str, list[C]] = {}
    for each in conditions:
        by_dimension.setdefault(each.dimension, []).append(each)
    dimensions = random.sample(sorted(by_dimension), min(count, len(by_dimension)))
    return tuple(random.choice(by_dimension[each]) for each in dimensions)
