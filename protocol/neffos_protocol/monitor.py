"""Reports the violations of a connection that it only observes.

Fed the messages of both peers in the order in which they pass, it reports which peer broke
which requirement. The tracking is that of ``conversation.py``: this module compares each message
with the requirements. It never raises on any input, and its memory is bounded.

The point of observation matters. Between the peers, a message may still be on its way when the
next one of its receiver passes. Until the receiver has answered something later, the monitor
assumes that it has not read that message. Observed *at* one of the peers, it is known what that
peer had read.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from neffos_codec import Message, Native, Payload, Reason, WaitKind, first_surrogate
from neffos_protocol.conversation import (
    RECEIVED_INPUT,
    Conversation,
    MessageKind,
    ObservedAsk,
    PeerState,
)
from neffos_protocol.events import Role
from neffos_protocol.names import CHANGE_OF, LOCAL_ONLY
from neffos_protocol.state_machines import HANDSHAKE, MEMBERSHIP, HandshakeState

# Looking up a member in its enumeration takes as long as a call.
_OPEN: Final = HandshakeState.OPEN
_CLIENT: Final = Role.CLIENT
_SERVER: Final = Role.SERVER
_LIVE: Final = MEMBERSHIP.live
_REPLY: Final = MessageKind.REPLY
_STRAY_REPLY: Final = MessageKind.STRAY_REPLY
_NOT_A_FRAME: Final = MessageKind.NOT_A_FRAME


class Violation(NamedTuple):
    """A requirement that a peer broke.

    Attributes:
        requirement: its ID.
        number: which message of the connection showed it, counted from 1 over both peers.
        role: which peer broke it.
        explanation: what that peer did.
    """

    requirement: str
    number: int
    role: Role
    explanation: str


class Monitor:
    """Observes one connection.

    Args:
        native: what the peers make of payloads that are not frames.
        at: the peer at which the messages were observed, or ``None`` for in between.

    Attributes:
        conversation: what the messages have shown so far.
        kind: what the last message is; not a frame before the first one.
    """

    __slots__ = ("_at", "_pairs", "conversation", "kind")

    def __init__(self, *, native: Native = Native.NEVER, at: Role | None = None) -> None:
        self.conversation = Conversation(native=native)
        self._at = at
        self._pairs = self.conversation.pairs
        self.kind = _NOT_A_FRAME

    @property
    def number(self) -> int:
        """How many messages were fed."""
        return self.conversation.number

    def feed(self, sender: Role | str, payload: Payload) -> list[Violation]:
        """Take one message and give what is wrong with it; whatever it is, nothing is raised."""
        me, other = self._pairs[sender]  # type: ignore[index]  # a role is its name
        before, receives = me.handshake, other.handshake
        seen = self.conversation
        kind = self.kind = seen.take_from(me, other, payload)
        found: list[Violation] = []
        if before is not _OPEN:
            self._check_handshake(kind, me.role, payload, before, receives, found)
        message = seen.message
        error = seen.error
        if message is None:
            if kind is _NOT_A_FRAME and error and error.reason is Reason.SEPARATORS:
                self._find(found, "NM-1", me.role, "a native message for a peer of frames")
            return found
        if error is not None:
            self._find(found, error.requirement, me.role, error.explanation)
        if message.is_error and not message.body:
            self._find(found, "FR-9", me.role, "an error without a text")
        if kind is _REPLY and seen.ask is not None:
            self._check_reply(me, seen.ask, message, payload, found)
            return found
        is_plain = seen.wait is None and kind is not _STRAY_REPLY
        if is_plain or self._check_token(me, kind, message, found):
            self._check_event(me, message, seen.ask or message, found)
            if seen.reuses_token:
                text = f"the token {message.wait!r} is still in use"
                self._find(found, "AR-5", me.role, text)
        return found

    def _find(self, found: list[Violation], requirement: str, role: Role, explanation: str) -> None:
        found.append(Violation(requirement, self.conversation.number, role, explanation))

    def _check_handshake(
        self,
        kind: MessageKind,
        role: Role,
        payload: Payload,
        before: str,
        receives: str,
        found: list[Violation],
    ) -> None:
        """Check a message of a peer that was not open.

        Args:
            kind: what the message is.
            role: of its sender.
            payload: its content.
            before: the state of its sender before it.
            receives: the state of its receiver before it.
            found: takes the violations.
        """
        seen = self.conversation
        if kind is MessageKind.AFTER_REFUSAL:
            if role is _SERVER:  # a client's may have been on its way
                self._find(found, "HS-4", role, "a message after the handshake was refused")
        elif seen.handshake is None:
            if not len(payload):
                return
            if role is _SERVER:
                self._find(found, "HS-12", role, "a message before the acceptance")
            else:
                early = "HS-1" if before == "new" else "HS-11"
                self._find(found, early, role, "a message before the acceptance came")
        else:
            if seen.error is not None:
                self._find(found, seen.error.requirement, role, seen.error.explanation)
            input_ = RECEIVED_INPUT[kind]
            row = HANDSHAKE.follow(receives, input_, lambda _: True)
            if "violation" in row.actions:
                text = f"a handshake message ({input_}) for a peer that is {receives!r}"
                self._find(found, row.requirements[""][0], role, text)

    # ------------------------------------------------------------ events and asks

    def _check_token(
        self, me: PeerState, kind: MessageKind, message: Message, found: list[Violation]
    ) -> bool:
        """Check the token of what answers no pending ask; give whether the rest matters."""
        wait, meaning = message.wait, self.conversation.wait
        has_forgotten = self._pairs[me.role][1].has_forgotten
        if self.conversation.repeats:
            if not has_forgotten:  # else it may reply to a later ask with the same token
                self._find(found, "AR-22", me.role, f"a second reply to {wait!r}")
            return False
        if kind is _STRAY_REPLY and me.has_asked(wait):
            if me.has_to_know(wait):
                text = f"a reply to {wait!r}, the token of an ask of its own"
                self._find(found, "AR-21", me.role, text)
            return False
        if meaning is None:
            return True
        if meaning.kind is WaitKind.CONFIRMATION:
            self._find(found, "AR-4", me.role, f"the token {wait!r} is of the reserved form")
        elif me.role is _CLIENT and meaning.kind is not WaitKind.CLIENT_ASK:
            self._find(found, "AR-2", me.role, f"the token {wait!r} does not begin with '$'")
        elif me.role is _SERVER and meaning.kind is WaitKind.CLIENT_ASK:
            if kind is _STRAY_REPLY:
                if not has_forgotten:
                    text = f"a reply to {wait!r}, never asked here"
                    self._find(found, "AR-17", me.role, text)
                return False
            self._find(found, "AR-3", me.role, f"the token {wait!r} begins with '$'")
        return True

    def _check_event(
        self, me: PeerState, message: Message, names: Message | ObservedAsk, found: list[Violation]
    ) -> None:
        """Check what is no reply; ``names`` has the names of the message, and gives them faster."""
        event = names.event
        if event in CHANGE_OF:
            if not message.wait or message.is_no_op:
                self._find(found, "NS-20", me.role, f"{event} that nobody will act on")
        elif event in LOCAL_ONLY:
            self._find(found, "EV-5", me.role, f"{event} is a local event")
        else:
            namespace, room = names.namespace, names.room
            states = me.memberships
            if states.get((namespace, None)) not in _LIVE and not self._was_in(me, namespace):
                if message.is_error and message.wait in me.settled():
                    # Not an ask, but the error for a late reply that was treated as one (NS-17).
                    text = f"a reply to {message.wait!r}, the token of an ask of its own"
                    self._find(found, "AR-21", me.role, text)
                else:
                    text = f"an event for namespace {namespace!r}, which is not connected"
                    self._find(found, "NS-11", me.role, text)
            elif (
                room
                and states.get((namespace, room)) not in _LIVE
                and not self._was_in(me, namespace, room)
            ):
                text = f"an event for room {room!r}, which is not joined"
                self._find(found, "RM-10", me.role, text)

    def _was_in(self, me: PeerState, namespace: str, room: str | None = None) -> bool:
        """Whether the peer may not have read yet that it left."""
        left = me.left.get((namespace, room))
        return left is not None and self._at is not me.role and me.read < left

    # ------------------------------------------------------------ replies

    def _check_reply(
        self,
        me: PeerState,
        ask: ObservedAsk,
        message: Message,
        payload: Payload,
        found: list[Violation],
    ) -> None:
        if self.conversation.wait is not None and me.role is _SERVER:
            text = f"the reply {message.wait!r} keeps an exchange's marker"
            self._find(found, "SX-2", me.role, text)
        echoes = _echoes(message, ask)
        change = ask.change
        if change is None:
            if not echoes:
                self._find(found, "AR-7", me.role, "a reply that does not echo the ask's fields")
            elif message.is_binary != ask.is_binary:
                self._find(found, "AR-16", me.role, "a reply of another type than the ask")
        elif message.is_error:
            if not echoes:
                self._find(found, "AR-7", me.role, "an error that does not echo the ask's fields")
            may_refuse = change.is_entry or ask.is_superseded or me.role is _SERVER
            if not may_refuse and me.memberships.get(ask.key) in _LIVE:
                self._find(found, "NS-13", me.role, f"a client that refuses a {change}")
        elif not message.is_empty_reply:
            text = f"the reply to a {change} is neither empty nor an error"
            self._find(found, "AR-20", me.role, text)
        elif message.is_binary:
            self._find(found, "FR-13", me.role, "an empty reply is text")
        elif payload != f"{message.wait};;;;;;":
            self._find(found, "FR-13", me.role, "an empty reply is the token and six ';'")


def _echoes(message: Message, ask: ObservedAsk) -> bool:
    """Whether a reply has the names of its ask.

    Where a name has bytes that are not UTF-8, the other peer may have read U+FFFD (FR-12).
    """
    names = (
        (message.event, ask.event),
        (message.namespace, ask.namespace),
        (message.room, ask.room),
    )
    return all(replied == asked or first_surrogate(asked) >= 0 for replied, asked in names)
