"""What a session reports to the application, as values.

An event says what happened. Where it asks for a decision or a reply, the application hands it back
to the session.
"""

from __future__ import annotations

from enum import unique
from typing import NamedTuple

from neffos_codec import Message
from neffos_protocol._records import Record, Word


@unique
class Role(Word):
    """Which peer of a connection: the one that opened it, or the one that accepted it."""

    CLIENT = "client"
    SERVER = "server"


@unique
class Change(Word):
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
    def direction(self) -> str:
        """What the membership table calls it, for namespaces and rooms alike."""
        return "connect" if self.is_entry else "disconnect"


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
class Cause(Word):
    """Why something began or ended."""

    LOCAL = "local"
    """This peer asked for it."""
    PEER = "peer"
    """The other peer asked for it."""
    FORCED = "forced"
    """Its namespace or its connection ended."""
    VIOLATION = "violation"
    """The other peer broke a requirement."""


class Opened(Record):
    """The handshake is complete: events can flow (HS-3).

    Attributes:
        id: the connection's ID, chosen by the server.
    """

    id: str


class HandshakeRefused(Record):
    """The server refused the handshake (HS-4). ``Closed`` follows."""

    text: str


class HandshakeAsked(Record):
    """A client requests the handshake; ``accept`` or ``refuse`` answers."""


class ChangeAsked(Record):
    """The peer asks for a change of membership; ``allow`` or ``deny`` answers.

    Attributes:
        change: what the peer asks for.
        namespace: where.
        room: the room of a join or leave, else empty.
        number: distinguishes this ask from every other of the session.
    """

    change: Change
    namespace: str
    room: str
    number: int


class Changed(Record):
    """A namespace is now connected or disconnected, a room joined or left.

    Attributes:
        change: what happened.
        namespace: where.
        room: the room of a join or leave, else empty.
        cause: which peer asked for it.
    """

    change: Change
    namespace: str
    room: str
    cause: Cause


class ChangeRefused(Record):
    """The peer refused a change of membership that this peer asked for; nothing changed.

    Attributes:
        change: what this peer asked for.
        namespace: where.
        room: the room of a join or leave, else empty.
        text: the peer's error text, possibly empty.
    """

    change: Change
    namespace: str
    room: str
    text: str


class Received(Record):
    """An event without a token, or an error that answers no ask (``message.is_error``)."""

    message: Message


class Asked(Record):
    """An event that asks for a reply; ``reply``, ``reply_error`` or ``ignore`` answers.

    Attributes:
        message: the event.
        number: distinguishes this ask from every other of the session.
    """

    message: Message
    number: int


class AskSent(Record):
    """An ask of this peer went out.

    ``Replied`` or ``AskCancelled`` settles an event ask, and so does ``AskExpired``. A system ask
    is settled by ``Changed``, ``ChangeRefused`` or ``AskCancelled``.

    Attributes:
        token: distinguishes this ask from every other of the session.
    """

    token: str


class Replied(Record):
    """The reply to an event ask of this peer.

    Attributes:
        token: that of ``AskSent``.
        message: the reply; with ``message.is_error`` the peer refused, and the body is the error
            text.
    """

    token: str
    message: Message


class AskExpired(Record):
    """The deadline of an ask of this peer passed without a reply (AR-15).

    A change of membership may still happen: the session goes on waiting for its reply.

    Attributes:
        token: that of ``AskSent``.
    """

    token: str


class AskCancelled(Record):
    """An ask of this peer gets no reply any more: its namespace or the connection ended.

    Attributes:
        token: that of ``AskSent``.
    """

    token: str


class AskWithdrawn(Record):
    """An ask of the other peer needs no answer any more; to answer it now is a misuse.

    Attributes:
        number: that of the ``Asked`` or ``ChangeAsked`` event.
    """

    number: int


class UnmatchedReply(Record):
    """A reply to no pending ask of this peer: late, repeated or made up (AR-21)."""

    message: Message


class NativeReceived(Record):
    """A native message (NM-1, NM-2).

    Attributes:
        payload: the message, or the body of the frame that it came in.
        namespace: that of the frame (NM-5); the empty one without a frame.
    """

    payload: str | bytes
    namespace: str = ""


class ProtocolViolation(Record):
    """The peer broke a requirement, or exceeded a bound that a requirement demands.

    A session decodes leniently, as peers must. The monitor reports every violation.

    Attributes:
        requirement: its ID.
        explanation: what the peer did.
        fatal: whether the session ended because of it; ``Closed`` follows.
    """

    requirement: str
    explanation: str
    fatal: bool = False


class Closed(Record):
    """The session has ended; nothing follows.

    Attributes:
        cause: which peer ended it, or why.
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
    | AskSent
    | Replied
    | AskExpired
    | AskCancelled
    | AskWithdrawn
    | UnmatchedReply
    | NativeReceived
    | ProtocolViolation
    | Closed
)
"""Any of them."""
