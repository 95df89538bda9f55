"""Sorts of faults, of which each has a score of its own: those that a suite by hand misses."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from mutation.generated.messages import MessageMutant
from mutation.generated.situation import REPLIES
from mutation.generated.transport import TransportMutant

BEFORE: Final = (
    "history",
    "rooms",
    "namespaces",
    "membership",
    "connection",
    "pending",
    "before",
    "occurrence",
)
"""The dimensions of what came before a message."""

MORE: Final = ("extra", "delay", "repeat", "other connection")
"""The families of operators by which more is seen, or in another order."""


def _dimensions(mutant: Any) -> set[str]:
    return {each.dimension for each in mutant.conditions}


def _needs(mutant: Any) -> str:
    needs: str = mutant.operator.needs
    return needs


def _is_reply_field(mutant: Any) -> bool:
    is_message = isinstance(mutant, MessageMutant)
    family = mutant.family if is_message else mutant.operator.family
    is_reply = mutant.kind in REPLIES if is_message else mutant.kind == "reply"
    return (is_reply and bool(mutant.operator.field)) or "flags" in family or family == "answer"


def _is_silence(mutant: Any) -> bool:
    if not isinstance(mutant, MessageMutant):
        return False
    return mutant.family in ("drop", "ignore") or mutant.operator.name in ("contradict", "copy")


SORTS: Final[Mapping[str, Callable[[Any], bool]]] = {
    "a longer history": lambda mutant: bool(_dimensions(mutant) & {*BEFORE}),
    "binary": lambda mutant: any(each.name == "binary" for each in mutant.conditions),
    "lengths": lambda mutant: (
        any("size" in each for each in _dimensions(mutant)) or _needs(mutant).startswith("over-")
    ),
    "characters": lambda mutant: (
        any("characters" in each for each in _dimensions(mutant))
        or (bool(_needs(mutant)) and not _needs(mutant).startswith("over-"))
    ),
    "flags and fields of replies": _is_reply_field,
    "more, or in another order": lambda mutant: (
        isinstance(mutant, MessageMutant) and mutant.family in MORE
    ),
    "silence, and silence that is broken": _is_silence,
    "HTTP and WebSocket": lambda mutant: isinstance(mutant, TransportMutant),
}
"""Whether a mutant is of a sort; it may be of several, or of none."""


def sorts_of(mutant: Any) -> list[str]:
    """Give the sorts that a mutant is of."""
    return [name for name, is_of in SORTS.items() if is_of(mutant)]
