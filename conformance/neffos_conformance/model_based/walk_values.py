"""The values that walks deal: of bodies, of names, and of everything else about a message.

The values of a field are those of the suite's dimensions, so that there is one list of them. Each
list has a prime number of values, and no two have the same one. A row takes the value with its
number from each list, modulo the length of the list. So each two values come together in as many
rows as the product of two lengths, each three in as many as the product of three, and no search is
needed for that.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import cycle, islice
from typing import Final, TypeVar

from neffos_codec import ESCAPE
from neffos_conformance.cases.dimensions import dimensions
from neffos_conformance.cases.matching import expand
from neffos_conformance.cases.varied_script import DimensionValue
from neffos_conformance.model_based.actions import Payload
from neffos_conformance.model_based.frames import EXCHANGE, ODD_FLAGS
from neffos_conformance.model_based.sending import FRAGMENTED

T = TypeVar("T")

LONGEST_NAME: Final = 255
"""Bytes of a name: a peer may refuse longer ones (SEC-2)."""

ANSWERS: Final = 31
BODIES: Final = 29
"""How many bodies there are. Each such number is a prime number, and no other list has it."""

EVENTS: Final = 23
ROOMS: Final = 19
MARKS: Final = 17
TARGETS: Final = 13
FORMS: Final = 11
PLACES: Final = 7
TYPES: Final = 2


def dealt(values: Sequence[T], length: int) -> tuple[T, ...]:
    """Give as many values as a prime number says; the first ones come twice where there are fewer.

    Raises:
        ValueError: there are more.
    """
    if len(values) > length:
        raise ValueError(f"expected {length} values at most, actual {len(values)}")
    return tuple(islice(cycle(values), length))


@cache
def _values(dimension: str, length: int) -> tuple[DimensionValue, ...]:
    """Give the values of a dimension that a field can have; the first one leaves it as it is."""
    found = next(each.values for each in dimensions() if each.id == dimension)
    longest = None if dimension == "body" else LONGEST_NAME
    as_it_is = DimensionValue("", "", dimension, "", text="{}")
    usable = [
        each
        for each in found
        if not each.is_whole and (longest is None or each.size is None or each.size <= longest)
    ]
    return dealt((as_it_is, *usable), length)


@cache
def _expanded(text: str) -> str:
    return expand(text)


def _spelled(value: DimensionValue, name: str, number: int) -> str:
    """Give what a name or a body becomes by a value."""
    if value.words:
        return value.words[number % len(value.words)]
    if value.size is None:
        return _expanded(value.text).replace("{}", name)
    return (name + "." * value.size)[: value.size]


def body(row: int, action: int, *, is_binary: bool) -> Payload:
    """Give a body, which names its action if it has room for that."""
    text = _spelled(_values("body", BODIES)[row % BODIES], f"t{action}", row // BODIES)
    return text.encode() if is_binary else text


def event(row: int, action: int) -> str:
    """Give the name of an event that has no handler of its own; it names its action likewise."""
    return _spelled(_values("event", EVENTS)[row % EVENTS], f"t{action}", row // EVENTS)


def room(row: int, name: str) -> str:
    """Give the name of a room; names that differ become rooms that differ, as far as they can."""
    text = _spelled(_values("room", ROOMS)[row % ROOMS], name, row // ROOMS)
    return text.replace(ESCAPE, ";")


@cache
def marks(*, is_client: bool) -> tuple[str, ...]:
    """Give what tokens contain beside a number, with ``{}`` in its place."""
    found = next(each.values for each in dimensions() if each.id == "token")
    odd = () if is_client else (EXCHANGE, f"{EXCHANGE}x")
    return dealt(("", *(expand(each.text) for each in found), *odd), MARKS)


FORM_NAMES: Final = dealt(
    ("", "", "is_error", "", "is_no_op", "", FRAGMENTED, "", ODD_FLAGS[0], "", ODD_FLAGS[3]), FORMS
)
"""The forms of a frame: with a flag, in fragments, or with flags in another spelling."""
