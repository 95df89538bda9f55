"""Why a server is not reached or refuses a client, as data: ``data/refusals.toml``."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache

from neffos_conformance.data import read_entries


@dataclass(frozen=True, slots=True)
class Refusal:
    """One way in which a step on the way to a server fails.

    Attributes:
        step: the step.
        seen: what one sees, in short.
        reason: why, in a sentence.
        remedy: what to do, in a sentence.
        when: patterns that the facts of the same names match.
    """

    step: str
    seen: str
    reason: str
    remedy: str
    when: Mapping[str, str] = field(default_factory=dict)

    def explains(self, facts: Mapping[str, str]) -> bool:
        """Whether all patterns match: a status as a whole, a text anywhere."""
        return all(
            (re.fullmatch if name == "status" else re.search)(pattern, facts.get(name, ""))
            for name, pattern in self.when.items()
        )


@cache
def refusals() -> tuple[Refusal, ...]:
    """Give all refusals, in the order in which they are tried."""
    return tuple(Refusal(**each) for each in read_entries("refusals.toml", "refusal"))


def refusal(step: str, facts: Mapping[str, str]) -> Refusal:
    """Give the refusal that explains what was seen in a step."""
    return next(each for each in refusals() if each.step == step and each.explains(facts))
