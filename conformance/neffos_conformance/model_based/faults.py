"""What a peer did wrong in a program, and what came of playing it, whatever its role."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from neffos_conformance.cases.script import OBSERVATIONS
from neffos_conformance.model_based.coverage import TransitionId
from neffos_conformance.runner.result import LogEntry

MAX_HEARD: Final = 2000
"""Messages of a peer in one program; a correct one sends some dozens, more is a flood."""

STALLED: Final = 2.0
"""A barrier is answered within a case's time divided by this: a peer that stops reading until a
time limit of its own ends that, of five seconds or more, is to be seen."""

KNOWN_TO_STALL: Final = 8.0
"""Likewise for a peer that is known to stall, of which nothing new is learned by waiting."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Something that a peer did wrong.

    Attributes:
        requirement: what it broke.
        kind: in which way: faults of one requirement and one kind are one.
        explanation: a sentence.
        number: the action that shows it.
        shape: what that action was like.
    """

    requirement: str
    kind: str
    explanation: str
    number: int = 0
    shape: str = ""

    @property
    def key(self) -> tuple[str, str]:
        """By what it is told from others."""
        return self.requirement, self.kind


@dataclass(slots=True)
class Known:
    """What was found already, and is not to be found again.

    Attributes:
        borne: faults that change no state, and are passed over.
        shapes: what actions were like that led to the others; they are left out.
        kinds: all of them, by requirement and kind.
    """

    borne: set[tuple[str, str]] = field(default_factory=set)
    shapes: set[str] = field(default_factory=set)
    kinds: set[tuple[str, str]] = field(default_factory=set)

    def add(self, fault: Failure) -> None:
        """Remember a fault."""
        self.kinds.add(fault.key)
        if fault.kind in BORNE:
            self.borne.add(fault.key)
        elif fault.shape:
            self.shapes.add(fault.shape)


MISSING: Final = "an answer is missing"
NO_CLOSE_FRAME: Final = "no close frame"
SUBPROTOCOL: Final = "a subprotocol is offered"
NOT_OVER: Final = "what the client was told to do is not over"
UNTOLD: Final = "the application is not told:"
"""What begins the kinds of faults of a client that keeps something from its application."""
BORNE: Final = frozenset(
    {
        MISSING,
        NO_CLOSE_FRAME,
        SUBPROTOCOL,
        NOT_OVER,
        *(f"{UNTOLD} {sight}" for sight in OBSERVATIONS),
    }
)
"""The kinds of faults behind which peer and model still agree on what is connected."""

HANGS: Final = "nothing is answered any more"
GONE: Final = "the peer is gone"
"""It cannot be reached any more."""
CRASHED: Final = "the client ends with its driver"


@dataclass(slots=True)
class Played:
    """A program that was played.

    Attributes:
        fault: what was wrong, if anything.
        exchange: all that went by.
        messages: how many messages the suite sent.
        steps: how many actions were done.
        done: their numbers.
        lines: the conversation in the language of cases, as it should have been.
        reached: the rows of the tables that were taken.
        trouble: why it could not be played to its end, where that is not for the peer to answer.
    """

    fault: Failure | None = None
    exchange: list[LogEntry] = field(default_factory=list)
    messages: int = 0
    steps: int = 0
    done: set[int] = field(default_factory=set)
    lines: list[str] = field(default_factory=list)
    reached: set[TransitionId] = field(default_factory=set)
    trouble: str = ""


class FailureFound(Exception):  # noqa: N818  # it ends a program, and no error is made of it
    """A fault that ends a program.

    Attributes:
        fault: it.
    """

    def __init__(self, fault: Failure) -> None:
        self.fault = fault
