"""What a client is told to do and what that comes to, and what it tells its application.

Plain values, of which the driver and the model speak with one another.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from neffos_conformance.model_based.expected import End, Payload, Place
from neffos_protocol.events import Change

Values = dict[str, Any]
"""The fields of an operation, or of a line that tells of something."""

WORDS: Final = {
    Change.CONNECT: "connected",
    Change.DISCONNECT: "disconnected",
    Change.JOIN: "joined",
    Change.LEAVE: "left",
}
"""What the application is told of each change."""


@dataclass(frozen=True, slots=True)
class Tell:
    """The client is told to do something.

    Attributes:
        op: what.
        values: with what.
    """

    op: str
    values: Values


@dataclass(frozen=True, slots=True)
class Doing:
    """Something to do on a connection, in its turn."""

    connection: int
    content: Payload | End | Tell
    is_held: bool = False
    """It goes out together with what is sent next."""
    is_cut_up: bool = False
    """It goes out in fragments."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What an operation may come to.

    Attributes:
        is_done: whether it was done.
        given: what it gives; ``None`` for whatever it is.
        text: what stands in the text of its failure.
    """

    is_done: bool
    given: Payload | None = None
    text: str = ""

    def __str__(self) -> str:
        if self.is_done:
            return "done" if self.given is None else f"done, giving {self.given!r}"
        return f"failed with {self.text!r}" if self.text else "failed"


DONE: Final = Outcome(True)
FAILED: Final = Outcome(False)
EITHER: Final = (DONE, FAILED)


@dataclass(slots=True)
class DriverLog:
    """An operation that the client was told to do.

    Attributes:
        connection: where.
        op: what.
        place: whose change it asks for, or where it asks.
        outcomes: what it may come to now; empty while it has to go on.
        requirement: what says so.
        must: whether it has to come to it.
        is_over: it came to something.
    """

    connection: int
    op: str
    place: Place | None = None
    outcomes: tuple[Outcome, ...] = ()
    requirement: str = "AR-11"
    must: bool = False
    is_over: bool = False

    def comes_to(self, requirement: str, *outcomes: Outcome, must: bool = True) -> None:
        """Say what it has to come to, unless something else was settled before."""
        if not self.is_over and not self.must:
            self.outcomes, self.requirement, self.must = outcomes, requirement, must


@dataclass(slots=True)
class Observation:
    """Something that the client tells its application, or may.

    Attributes:
        number: the action that it comes of.
        connection: where.
        values: the fields of the line, without the connection.
        requirement: what says so.
        must: whether it has to come.
        is_deferred: an ask of the client's handler was open, as for messages.
    """

    number: int
    connection: int
    values: Values
    requirement: str
    must: bool = True
    is_deferred: bool = False

    @property
    def is_event(self) -> bool:
        """Whether it is of an event, which has its place among others (EV-1)."""
        return bool(self.values["saw"] == "event")


def lost(told: DriverLog) -> tuple[Outcome, ...]:
    """Give what an operation may come to whose namespace or connection ends.

    What was to end anyhow has ended with it, so that a client may call that done; and so it may
    what the server had brought about meanwhile.
    """
    if told.outcomes == EITHER:
        return EITHER
    return EITHER if told.op in ("disconnect", "leave", "leave-all", "close") else (FAILED,)
