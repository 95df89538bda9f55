"""What generated mutants are made of: an operator, the kind of what it acts on, and a trigger.

A trigger has conditions, each of one class of one dimension. Together they name a mutant, such as
``server:drop-reply@binary,after-leave``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from mutation.generated.situation import FRAMES, KINDS

WEIGHTS: Final[Mapping[int, int]] = {0: 1, 1: 6, 2: 3}
"""How often a trigger has so many conditions. With more, few conversations meet all of them."""


@dataclass(frozen=True, slots=True)
class Operator:
    """What a fault does.

    Attributes:
        name: as it is in the name of a mutant.
        family: what is published together.
        act: does it, and gives what happens instead; ``None`` where it changes nothing.
        field: that it changes; empty for none.
        needs: the class of values of that field that it changes; empty for all.
        kinds: of messages that it concerns.
        is_sent: whether it concerns messages that the peer sends.
    """

    name: str
    family: str
    act: Callable[..., Any]
    field: str = ""
    needs: str = ""
    kinds: tuple[str, ...] = tuple(KINDS)
    is_sent: bool = True


@dataclass(frozen=True, slots=True)
class Condition:
    """One class of one dimension.

    Attributes:
        name: as it is in the name of a mutant.
        dimension: of which a trigger has one condition.
        test: whether it is met by what the operator acts on, and what came before.
        kinds: of messages that can meet it.
        sample: a value of the dimension's field that meets it, for who generates messages.
        size: bytes of such a value; 0 for any number, and -1 for none.
        nth: which of the messages that fit the other conditions; 0 for each.
        roles: of the peers that can meet it.
        field: of a codec's request that it is about; empty for none.
    """

    name: str
    dimension: str
    test: Callable[..., bool]
    kinds: tuple[str, ...] = FRAMES
    sample: str = ""
    size: int = 0
    nth: int = 0
    roles: tuple[str, ...] = ("server", "client")
    field: str = ""


def name_of(sort: str, operator: Operator, kind: str, conditions: Iterable[Condition]) -> str:
    """Give the name of a mutant."""
    when = ",".join(each.name for each in conditions)
    return f"{sort}:{operator.name}-{kind}" + (f"@{when}" if when else "")


def parts_of(
    name: str,
    operators: Callable[[str], Mapping[str, Operator]],
    conditions: Callable[[str], Mapping[str, Condition]],
) -> tuple[Operator, str, tuple[Condition, ...]]:
    """Give the operator, the kind and the conditions that a name has.

    Args:
        name: of a mutant.
        operators: gives those of a kind, by their names.
        conditions: gives those of a kind, by their names.

    Raises:
        ValueError: there is no such kind, operator or condition.
    """
    head, _, when = name.partition(":")[2].partition("@")
    verb, _, kind = head.rpartition("-")
    try:
        those = conditions(kind)
        found = tuple(those[each] for each in when.split(",") if when)
        return operators(kind)[verb], kind, found
    except KeyError as error:
        raise ValueError(f"{name} is not a generated mutant: {error} is unknown") from None


def drawn_trigger(
    random: Random, conditions: Iterable[Condition], count: int
) -> tuple[Condition, ...]:
    """Draw so many conditions, or fewer where there are fewer dimensions.

    Dimensions are drawn alike: some have many more conditions than others.
    """
    by_dimension: dict[str, list[Condition]] = {}
    for each in conditions:
        by_dimension.setdefault(each.dimension, []).append(each)
    dimensions = random.sample(sorted(by_dimension), min(count, len(by_dimension)))
    return tuple(random.choice(by_dimension[each]) for each in dimensions)


def drawn_count(random: Random) -> int:
    """Draw how many conditions a trigger has."""
    return random.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]


def drawn_operator(random: Random, operators: Iterable[Operator]) -> Operator:
    """Draw an operator; families are drawn alike, since some have many more operators."""
    families: dict[str, list[Operator]] = {}
    for each in operators:
        families.setdefault(each.family, []).append(each)
    return random.choice(random.choice(list(families.values())))
