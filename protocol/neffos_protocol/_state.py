"""What a session remembers, and the step that it takes through the membership table.

Plain values; what becomes of them is the session's to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from neffos_codec import Message
from neffos_protocol.events import Cause, Change, ChangeAsked, Event
from neffos_protocol.machines import Row


class Place(NamedTuple):
    """What a membership is about: a namespace, or a room of it (RM-11)."""

    namespace: str
    room: str
    is_room: bool

    @property
    def entry(self) -> Change:
        return Change.JOIN if self.is_room else Change.CONNECT

    @property
    def exit(self) -> Change:
        return Change.LEAVE if self.is_room else Change.DISCONNECT


@dataclass(slots=True)
class Space:
    """A namespace that is not simply out: its state, and its rooms that are not out."""

    state: str
    rooms: dict[str, str] | None = None


@dataclass(slots=True)
class Judgement:
    """Asks of the peer for one change, waiting for the application's decision."""

    event: ChangeAsked
    asks: list[Message]


@dataclass(slots=True)
class OpenAsk:
    """An open ask of this side; ``change`` is ``None`` for an event's.

    An ask for a change is overtaken when the peer's own ask brings about what it is for. What is
    asked for later in the same place is then another ask's matter.
    """

    change: Change | None
    place: Place
    deadline: float | None
    is_overtaken: bool = False


@dataclass(slots=True)
class Step:
    """A row of the membership table that is being followed, and what it is followed with."""

    row: Row
    place: Place
    events: list[Event]
    message: Message | None
    text: str

    @property
    def change(self) -> Change:
        return self.place.entry if "enter" in self.row.input else self.place.exit

    @property
    def cause(self) -> Cause:
        if self.row.input == "gone":
            return Cause.FORCED
        return Cause.LOCAL if self.row.input in ("enter-done", "exit-done") else Cause.PEER

    @property
    def ask(self) -> Message:
        """The peer's message; only what follows on a message asks for it."""
        if self.message is None:
            raise AssertionError(f"{self.row.input} has no message")
        return self.message
