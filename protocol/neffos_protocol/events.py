"""What a session tells the application, as values.

An event says what happened; where it asks for a decision or a reply, it is also what the
application hands back to the session.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum, unique
from typing import NamedTuple

from neffos_codec import Message


@unique
class Role(StrEnum):
    """Which peer of a connection: the one that opened it, or the one that accepted it."""

    CLIENT = "client"
    SERVER = "server"


@unique
class Change(StrEnum):
    """The four changes of membership that either peer can ask for."""

    CONNECT = "connect"
    DISCONNECT = "disconnect"
    JOIN = "join"
    LEAVE = "leave"

    @property
    def is_entry(self) -> bool:
        """Whether it connects or joins, rather than disconnects or leaves."""
        return self is Change.CONNECT or self is Change.JOIN

    @property
    def is_of_room(self) -> bool:
        """Whether it is about a room, rather than a namespace."""
        return self is Change.JOIN or self is Change.LEAVE

    @property
    def way(self) -> str:
        """How the membership table calls it, for namespaces and rooms alike."""
        return "enter" if self.is_entry else "exit"


class MembershipKey(NamedTuple):
    """What a membership is about: a namespace, or a room of it (RM-11).

    Attributes:
        namespace: its name, possibly empty.
        room: its name; ``None`` where it is the namespace itself.
    """

    namespace: str
    room: str | None = None

    @classmethod
    def of(cls, change: Change | None, namespace: str, room: str) -> MembershipKey:
        """Give what the fields of a message are about, by the change that it asks for."""
        return cls(namespace, room if change is not None and change.is_of_room else None)

    @property
    def entry(self) -> Change:
        """The change that connects the namespace, or joins the room."""
        return Change.CONNECT if self.room is None else Change.JOIN

    @property
    def exit(self) -> Change:
        """The change that disconnects the namespace, or leaves the room."""
        return Change.DISCONNECT if self.room is None else Change.LEAVE


@unique
class Cause(StrEnum):
    """Why something ended or began."""

    LOCAL = "local"
    """This side asked for it."""
    PEER = "peer"
    """The other side asked for it."""
    FORCED = "forced"
    """What it belonged to ended."""
    VIOLATION = "violation"
    """The peer did what no peer may do."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The handshake is complete: events can flow (HS-3).

    Attributes:
        id: the connection's id, chosen by the server.
    """

    id: str


@dataclass(frozen=True, slots=True)
class HandshakeRefused:
    """The server did not let this client in (HS-4). ``Closed`` follows."""

    text: str


@dataclass(frozen=True, slots=True)
class HandshakeAsked:
    """A client asks to be let in; ``let_in`` or ``turn_away`` answers."""


@dataclass(frozen=True, slots=True)
class ChangeAsked:
    """The peer asks for a change of membership; ``allow`` or ``deny`` answers.

    Attributes:
        change: what is asked for.
        namespace: where.
        room: the room of a join or leave, else empty.
        number: tells this ask from every other of the session.
    """

    change: Change
    namespace: str
    room: str
    number: int


@dataclass(frozen=True, slots=True)
class Changed:
    """A namespace is now connected or disconnected, a room joined or left.

    Attributes:
        change: what happened.
        namespace: where.
        room: the room of a join or leave, else empty.
        cause: who asked for it.
    """

    change: Change
    namespace: str
    room: str
    cause: Cause


@dataclass(frozen=True, slots=True)
class ChangeRefused:
    """The peer refused a change of membership that this side asked for; nothing changed.

    Attributes:
        change: what was asked for.
        namespace: where.
        room: the room of a join or leave, else empty.
        text: the peer's error text, possibly empty.
    """

    change: Change
    namespace: str
    room: str
    text: str


@dataclass(frozen=True, slots=True)
class Received:
    """An event without a token, or an error nobody asked about (``message.is_error``)."""

    message: Message


@dataclass(frozen=True, slots=True)
class Asked:
    """An event that asks for a reply; ``reply``, ``refuse`` or ``ignore`` answers.

    Attributes:
        message: the event.
        number: tells this ask from every other of the session.
    """

    message: Message
    number: int


@dataclass(frozen=True, slots=True)
class Replied:
    """The reply to an ask of this side.

    Attributes:
        token: what ``ask`` gave.
        message: the reply; ``message.is_error`` where the peer refused, and then the body is
            the error text.
    """

    token: str
    message: Message


@dataclass(frozen=True, slots=True)
class AskExpired:
    """The deadline of an ask of this side passed without a reply (AR-15).

    A change of membership may still happen: the session goes on waiting for its reply.

    Attributes:
        token: what ``ask`` or the command that asked gave.
    """

    token: str


@dataclass(frozen=True, slots=True)
class AskLost:
    """An ask of this side gets no reply any more: its namespace or the connection ended.

    Attributes:
        token: what ``ask`` or the command that asked gave.
    """

    token: str


@dataclass(frozen=True, slots=True)
class AskWithdrawn:
    """An ask of the peer needs no answer any more; to answer it now is a misuse.

    Attributes:
        number: of the ``Asked`` or ``ChangeAsked`` event.
    """

    number: int


@dataclass(frozen=True, slots=True)
class UnmatchedReply:
    """A reply to no open ask of this side: late, doubled or made up (AR-21). Nothing follows."""

    message: Message


@dataclass(frozen=True, slots=True)
class NativeReceived:
    """A native message (NM-1, NM-2).

    Attributes:
        payload: the message, or the body of the frame that it came in.
        namespace: the one that the frame names (NM-5); the empty one where there is no frame.
    """

    payload: str | bytes
    namespace: str = ""


@dataclass(frozen=True, slots=True)
class Violation:
    """The peer broke a requirement, or went over a bound that one demands of this side.

    A session reads leniently, as peers must; the monitor is who holds a peer to the letter.

    Attributes:
        requirement: its id.
        explanation: what the peer did.
        fatal: whether the session ended over it; ``Closed`` follows.
    """

    requirement: str
    explanation: str
    fatal: bool = False


@dataclass(frozen=True, slots=True)
class Closed:
    """The session has ended; nothing follows.

    Attributes:
        cause: who ended it.
    """

    cause: Cause


Event = (
    Opened
    | HandshakeRefused
    | HandshakeAsked
    | ChangeAsked
    | Changed
    | ChangeRefused
    | Received
    | Asked
    | Replied
    | AskExpired
    | AskLost
    | AskWithdrawn
    | UnmatchedReply
    | NativeReceived
    | Violation
    | Closed
)
"""Any of them."""
