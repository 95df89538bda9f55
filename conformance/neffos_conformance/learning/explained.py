"""What explains a transition that differs from the specification's: ``data/learned.toml``."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from typing import Final

from neffos_conformance.data import read_entries
from neffos_conformance.learning.machine import Differing
from neffos_protocol import Role

ANY: Final = ("*",)


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why peers differ in some transitions.

    Attributes:
        about: what such a peer does, in a sentence.
        difference: the difference of the catalogue; empty if the requirement permits it.
        requirements: those of the transitions that it is about.
        inputs: patterns of the inputs.
        specified: patterns of the outputs of the specification.
        actual: patterns of the peer's outputs.
        before: patterns of the states that the transitions leave, by the specification's names.
        after: patterns of the states that the transitions lead to, by the specification's names.
        role: of the peers; empty for both.
        leads: whether it is about transitions that only lead elsewhere.
    """

    about: str
    requirements: tuple[str, ...]
    difference: str = ""
    inputs: tuple[str, ...] = ANY
    specified: tuple[str, ...] = ANY
    actual: tuple[str, ...] = ANY
    before: tuple[str, ...] = ANY
    after: tuple[str, ...] = ANY
    role: str = ""
    leads: bool = False

    @property
    def is_permitted(self) -> bool:
        """Whether the specification permits it."""
        return not self.difference

    def explains(
        self, role: Role, requirement: str, found: Differing, states: tuple[str, str]
    ) -> bool:
        """Whether it explains a transition of a peer with this role, from a state to another."""
        output, _ = found.actual
        wanted, _ = found.specified
        return (
            self.role in ("", role)
            and requirement in self.requirements
            and self.leads is (output == wanted)
            and _fits(self.inputs, found.input)
            and _fits(self.specified, wanted)
            and _fits(self.actual, output)
            and _fits(self.before, states[0])
            and _fits(self.after, states[1])
        )


def _fits(patterns: tuple[str, ...], text: str) -> bool:
    return any(fnmatchcase(text, pattern) for pattern in patterns)


@cache
def explanations() -> tuple[Explanation, ...]:
    """Give all of them, in the order of the data: the first that fits counts."""
    return tuple(Explanation(**each) for each in read_entries("learned.toml", "explanation"))


def explanation(
    role: Role, requirement: str, found: Differing, states: tuple[str, str]
) -> Explanation | None:
    """Give what explains a transition; ``None`` if nothing does.

    Args:
        role: of the peer.
        requirement: what the specification's transition rests on.
        found: the transition.
        states: the names of the state that it leaves, and of the one that it leads to.
    """
    fitting = (each for each in explanations() if each.explains(role, requirement, found, states))
    return next(fitting, None)
