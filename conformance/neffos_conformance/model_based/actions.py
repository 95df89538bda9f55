"""What the suite does to a peer under test: the actions that test sequences consist of.

Plain values. The model says what follows from an action for a server or a client.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique


@unique
class ActionKind(StrEnum):
    """What an action does."""

    OPEN = "open"
    """Opens a connection, in the variant that ``how`` names."""
    COMMAND = "command"
    """Has the driver of a client perform the operation ``how``."""
    SEND = "send"
    """Sends a frame: a system ask or an event."""
    ANSWER = "answer"
    """Answers the peer's ask that the action ``of`` caused, in the variant ``how``."""
    NON_FRAME = "non-frame"
    """Sends a payload that is not a frame, or a native message."""
    CLOSE = "close"
    """Closes the connection with a close frame."""
    RESET = "reset"
    """Ends TCP without a close frame."""


@dataclass(frozen=True, slots=True)
class Action:
    """One action of a test sequence.

    Attributes:
        number: its position in the generated sequence. Tokens and bodies contain it, so that a
            shrunk sequence sends the same messages.
        connection: the connection's number, from 1.
        kind: what it does.
        how: the variant, where a kind has several.
        of: the action whose ask is answered, or the connection that a broadcast is for.
        path: the endpoint, relative to the path of the first.
        namespace: of a frame or an operation, as ``room`` and ``event``.
        room: see ``namespace``.
        event: see ``namespace``.
        body: of a frame, or a whole payload.
        has_token: whether a frame asks for a reply.
        mark: what its token contains besides the number.
        is_error: the frame's flag.
        is_no_op: the frame's flag.
        is_followed: the next action follows without a barrier in between.
    """

    number: int
    connection: int
    kind: ActionKind
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


ActionSequence = tuple[Action, ...]
"""Actions in order. The runner skips an action that is impossible at its position, so that every
subsequence is a sequence too."""
