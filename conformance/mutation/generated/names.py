"""Names of generated mutants, such as ``server:drop-reply@binary,after-leave``.

A name has the sort of mutant, its operator, the kind of what the operator acts on, and a trigger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, TypeVar


class Named(Protocol):
    """An operator, or a condition of a trigger."""

    @property
    def name(self) -> str:
        """The name of it."""


AnOperator = TypeVar("AnOperator", bound=Named)
ACondition = TypeVar("ACondition", bound=Named)


def name_of(sort: str, operator: Named, kind: str, conditions: Iterable[Named]) -> str:
    """Give the name of a mutant."""
    when = ",".join(each.name for each in conditions)
    return f"{sort}:{operator.name}-{kind}" + (f"@{when}" if when else "")


def parts_of(
    name: str,
    operators: Callable[[str], Mapping[str, AnOperator]],
    conditions: Callable[[str], Mapping[str, ACondition]],
) -> tuple[AnOperator, str, tuple[ACondition, ...]]:
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
