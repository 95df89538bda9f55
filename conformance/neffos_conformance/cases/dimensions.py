"""Variations: cases that are rewritten by dimensions, such as the type of messages or the history.

A case states what must hold; a variation is the same case in another situation, in which that must
hold as well. A variation is a case like any other. Its ID, such as ``RM-1.1[rejoined,binary]``,
names the values, and rebuilds it. Nothing here is read before the first variation is asked for.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from typing import Final

from neffos_conformance.cases.definition import LIMITS, SLOW, Case, base_of, select
from neffos_conformance.cases.rewrites import rewritten
from neffos_conformance.cases.script import Step, expanded, read_script
from neffos_conformance.cases.varied_script import DimensionValue, NotApplicableError, Script
from neffos_conformance.data import frozen, read_entries

MARK_SUFFIX: Final = 9
"""Characters that ``<<case>>`` has beside the case's ID: a hyphen, and four bytes in hex."""


@dataclass(frozen=True, slots=True)
class Dimension:
    """One way in which cases vary.

    Attributes:
        id: its name.
        about: a description of a few words.
        values: what it can be; a case as it is written has none of them.
        refused: a script that a server passes which refuses a name; empty if it is not about names.
    """

    id: str
    about: str
    values: tuple[DimensionValue, ...]
    refused: str = ""


@cache
def dimensions() -> tuple[Dimension, ...]:
    """Give all dimensions, in the order in which their values apply."""
    return tuple(
        Dimension(
            each["id"],
            each["about"],
            tuple(
                DimensionValue(dimension=each["id"], rewrite=each["rewrite"], **frozen(value))
                for value in each["value"]
            ),
            each.get("refused", ""),
        )
        for each in read_entries("dimensions.toml", "dimension")
    )


@cache
def values() -> dict[str, DimensionValue]:
    """Give all values by their names, in the order in which they apply."""
    return {value.name: value for each in dimensions() for value in each.values}


def names_in(id_: str) -> tuple[str, ...]:
    """Give the names of the values in an ID; none, if it is not that of a variation."""
    _, bracket, rest = id_.partition("[")
    return tuple(rest.removesuffix("]").split(",")) if bracket else ()


def why_fixed(case: Case) -> str:
    """Say why a case takes no part in variations; empty if it does."""
    if case.fixed:
        return case.fixed
    if case.role not in ("server", "client"):
        return "it has no conversation of one client with one server"
    if {LIMITS, SLOW} & {*case.tags}:
        return "it tests a limit or a time, which its variations would repeat"
    return ""


@dataclass(frozen=True, slots=True)
class VariedCase:
    """A case, with values of some dimensions so far.

    Attributes:
        case: the case as it is written.
        script: its steps with the values.
        values: the values, in the order in which they apply.
    """

    case: Case
    script: Script
    values: tuple[DimensionValue, ...] = ()

    def given(self, value: DimensionValue) -> VariedCase:
        """Give it one more value.

        Raises:
            NotApplicableError: the case cannot have it.
        """
        try:
            script = rewritten(self.script, value)
        except NotApplicableError as error:
            raise NotApplicableError(f"{self.case.id} cannot be {value.name}: {error}") from error
        return VariedCase(self.case, script, (*self.values, value))

    def finished(self) -> Case:
        """Give the variation."""
        names = ",".join(value.name for value in self.values)
        about = "; ".join(value.about for value in self.values)
        steps = (
            Step(n, each.connection, each.verb, each.rest, each.times, each.is_setup)
            for n, each in enumerate(self.script.steps, 1)
        )
        return replace(
            self.case,
            id=f"{self.case.id}[{names}]",
            title=f"{self.case.title}, where {about}",
            steps=tuple(steps),
            is_sized=self.case.is_sized or any(value.is_whole for value in self.values),
        )


@lru_cache(maxsize=64)
def varied(case: Case) -> VariedCase:
    """Give a case to vary.

    Raises:
        NotApplicableError: it takes no part.
    """
    if reason := why_fixed(case):
        raise NotApplicableError(f"{case.id} has no variations: {reason}")
    steps: list[Step] = []
    for step in case.steps:
        parts = expanded(step, case.role)
        if parts[0] is not step:
            parts = tuple(replace(each, is_setup=step.is_setup) for each in parts)
        steps += parts
    return VariedCase(case, Script(tuple(steps), case.role, len(case.id) + MARK_SUFFIX))


def with_values(case: Case, names: Container[str]) -> VariedCase:
    """Give a case the values with some names, in the order in which they apply.

    Raises:
        NotApplicableError: the case takes no part, or cannot have one of them.
    """
    found = varied(case)
    for name, value in values().items():
        if name in names:
            found = found.given(value)
    return found


def variation(case: Case, names: Iterable[str]) -> Case:
    """Give the variation of a case that has some values.

    Args:
        case: the case, which is no variation itself.
        names: the names of the values, of as many dimensions; in any order.

    Raises:
        NotApplicableError: the case cannot have them; the text says why.
    """
    wanted = set(names)
    if unknown := sorted(wanted - values().keys()):
        text = f"there is no variation {', '.join(unknown)}"
        raise NotApplicableError(f"{text}. Try: neffos-wire list dimensions")
    if len({values()[name].dimension for name in wanted}) < len(wanted):
        raise NotApplicableError("two of the values are of one dimension")
    return with_values(case, wanted).finished()


@cache
def refusals() -> dict[str, Case]:
    """Give, by the names of values, the case that a server passes which refuses such names."""
    found: dict[str, Case] = {}
    for each in dimensions():
        if each.refused:
            steps = read_script(each.refused, "server")
            case = Case("RM-3", "a server refuses a name", ("RM-3",), "server", steps)
            found |= {value.name: variation(case, [value.name]) for value in each.values}
    return found


def rebuilt(cases: Mapping[str, Case], id_: str) -> Case:
    """Give the variation with an ID.

    Args:
        cases: the cases by their IDs.
        id_: the ID.

    Raises:
        NotApplicableError: there is no such case, or it cannot have such a value.
    """
    base = base_of(id_)
    if base not in cases:
        raise NotApplicableError(f"no case matches {base}")
    found = variation(cases[base], names_in(id_))
    if found.id != id_:
        raise NotApplicableError(f"{id_} is not spelled as {found.id} is")
    return found


def select_varied(
    cases: Sequence[Case],
    patterns: Sequence[str],
    tags: Sequence[str] = (),
) -> list[Case]:
    """Give the cases that match a pattern and have a tag, and the variations that a pattern names.

    Raises:
        ValueError: a pattern or a tag matches nothing, or no case has the variation that one names.
    """
    plain = [pattern for pattern in patterns if "[" not in pattern]
    found = select(cases, plain, tags) if plain or len(patterns) == 0 else []
    own = {case.id for case in found}
    for pattern in patterns:
        if "[" in pattern:
            found += [case for case in named(cases, pattern) if case.id not in own]
    return found


def named(cases: Iterable[Case], pattern: str) -> list[Case]:
    """Give the variations of a pattern, such as ``RM-1.1[binary]`` or ``RM-*[rejoined,binary]``.

    Args:
        cases: all cases.
        pattern: as for cases, and the names of values in brackets. Of several cases that match,
            those that can have the values have them.

    Raises:
        ValueError: no case matches.
        NotApplicableError: none that matches can have the values; the text says why.
    """
    names = names_in(pattern.lower())
    found, reason = [], ""
    for case in select(cases, [base_of(pattern)], is_slow_left_out=False):
        try:
            found.append(variation(case, names))
        except NotApplicableError as error:
            reason = reason or str(error)
    if not found:
        raise NotApplicableError(reason)
    return found
