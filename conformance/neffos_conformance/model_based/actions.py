"""What is done to a peer under test: the words that programs are made of.

Plain values. What a server or a client makes of them is for the models of these to say.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import Final


@unique
class Do(StrEnum):
    """What is done."""

    OPEN = "open"
    """A connection is opened, in the way that ``how`` says."""
    TELL = "tell"
    """A client is told to do what ``how`` says."""
    SEND = "send"
    """A frame is sent: a change of membership or an event."""
    ANSWER = "answer"
    """An ask of the peer that the action ``of`` caused is answered, as ``how`` says."""
    NOISE = "noise"
    """A payload is sent that is no frame, or a native message."""
    CLOSE = "close"
    CUT = "cut"


MARKER: Final = "!"
"""What an exchange puts into a token, and takes out again (SX-2)."""


@dataclass(frozen=True, slots=True)
class Action:
    """One thing that is done.

    Attributes:
        number: its place in the program as it was made; tokens and bodies are named after it, so
            that what is left of a program says the same.
        connection: on which connection, from 1.
        do: what.
        how: in which way, where there are several.
        of: the action whose ask is answered, or the connection that a broadcast is for.
        path: the endpoint, as it stands behind the path of the first.
        namespace: of a frame.
        room: of a frame.
        event: of a frame.
        body: of a frame, or a payload.
        has_token: whether a frame asks for a reply.
        mark: what its token holds beside the number; ``!`` is a marker, which the reply has not.
        is_error: of a frame.
        is_no_op: of a frame.
        is_followed: the next action follows at once, without a barrier between.
    """

    number: int
    connection: int
    do: Do
    how: str = ""
    of: int = 0
    path: str = ""
    namespace: str = ""
    room: str = ""
    event: str = ""
    body: str | bytes = ""
    has_token: bool = True
    mark: str = ""
    is_error: bool = False
    is_no_op: bool = False
    is_followed: bool = False

    @property
    def token(self) -> str:
        """The token of its reply; empty where it has none."""
        if not self.has_token:
            return ""
        return f"${self.number}{'' if self.mark == MARKER else self.mark}"

    @property
    def sent_token(self) -> str:
        """The token of its frame, with the marker of an exchange where it has one (SX-2)."""
        is_marked = self.has_token and self.mark == MARKER
        return f"${MARKER}{self.number}" if is_marked else self.token


Program = tuple[Action, ...]
"""Actions in their order. What cannot be done where it stands is passed over, so that every part
of a program is a program."""
