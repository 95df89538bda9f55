"""Tracks one connection that it only observes: what each message is, and the state it leads to.

Fed the messages of both peers in the order in which they pass, a ``Conversation`` says of each
what it is. It knows the pending asks of both peers, which reply answers which ask, and which
namespaces are connected and which rooms are joined. It reports no violations: the monitor
does. It never raises on any input, and its memory is bounded however long the connection is.
"""

from __future__ import annotations

from enum import unique
from typing import Any, Final, NamedTuple

from neffos_codec import (
    CodecError,
    DecodeError,
    Decoding,
    Handshake,
    HandshakeAccept,
    HandshakeRefuse,
    HandshakeRequest,
    Message,
    Native,
    NativeMessage,
    Payload,
    Wait,
    WaitKind,
    decode,
    decode_handshake,
    parse_wait,
)
from neffos_protocol._records import Word
from neffos_protocol.events import Change, MembershipKey, Role
from neffos_protocol.names import CHANGE_OF, CLIENT_PREFIX, EXCHANGE_MARKER
from neffos_protocol.state_machines import (
    HANDSHAKE,
    MEMBERSHIP,
    HandshakeState,
    MembershipState,
    State,
    StateMachine,
)

MAX_REMEMBERED: Final = 4096
"""Asks, settled tokens and memberships that are remembered of each peer. A peer has a few of each
at a time. On a connection with more, the oldest are forgotten."""

MAX_HEAD: Final = 1024
"""Characters of token and names together of an ask that is remembered, for the same reason."""

MAX_REUSED: Final = 64
"""Asks that are remembered although a later one has their token: a correct peer has none."""

# Looking up a member in its enumeration takes as long as a call.
_STRICT: Final = Decoding.STRICT
_ONLY: Final = Native.ONLY
_new: Final = tuple.__new__
_LIVE: Final = MEMBERSHIP.live
_OPEN: Final = HandshakeState.OPEN
_CLOSED: Final = HandshakeState.CLOSED
_DISCONNECTED: Final = MembershipState.DISCONNECTED
_CONNECTING: Final = MembershipState.CONNECTING
_DISCONNECTING: Final = MembershipState.DISCONNECTING


@unique
class MessageKind(Word):
    """What a message is in its conversation."""

    REQUEST = "handshake request"
    ACCEPTANCE = "handshake acceptance"
    REFUSAL = "handshake refusal"
    SYSTEM_ASK = "system ask"
    """It asks to connect, disconnect, join or leave."""
    EVENT_ASK = "event ask"
    REPLY = "reply"
    """It answers a pending ask of the other peer."""
    STRAY_REPLY = "stray reply"
    """It can only be a reply, but its ask is settled, or was never seen."""
    EVENT = "event"
    """It has no token. A system event without a token is one too."""
    NATIVE = "native message"
    NOT_A_FRAME = "not a frame"
    """Nothing that the other peer can decode; an empty message is one too."""
    AFTER_REFUSAL = "message after the refusal"
    """The handshake of its sender was refused before it; it is not decoded."""


_MESSAGE_KINDS: Final[dict[type[Handshake], MessageKind]] = {
    HandshakeRequest: MessageKind.REQUEST,
    HandshakeAccept: MessageKind.ACCEPTANCE,
    HandshakeRefuse: MessageKind.REFUSAL,
}

SENT_INPUT: Final = {
    MessageKind.REQUEST: "start",
    MessageKind.ACCEPTANCE: "accept",
    MessageKind.REFUSAL: "refuse",
}
"""The input of the handshake table that sending each handshake message is."""

RECEIVED_INPUT: Final = {
    MessageKind.REQUEST: "request",
    MessageKind.ACCEPTANCE: "acceptance",
    MessageKind.REFUSAL: "refusal",
}
"""The input of the handshake table that receiving each handshake message is."""

_REQUEST: Final = MessageKind.REQUEST
_SYSTEM_ASK: Final = MessageKind.SYSTEM_ASK
_EVENT_ASK: Final = MessageKind.EVENT_ASK
_REPLY: Final = MessageKind.REPLY
_STRAY_REPLY: Final = MessageKind.STRAY_REPLY
_EVENT: Final = MessageKind.EVENT


class ObservedAsk(NamedTuple):
    """An ask of one peer, without its body.

    Attributes:
        number: the number of its message, counted from 1 over both peers.
        token: its token; that of a client's ask without an exchange marker.
        namespace: as in the message.
        room: as in the message.
        event: as in the message.
        is_binary: the message was binary.
        change: what a system ask asks for; ``None`` for an event ask.
        is_superseded: the other peer's own ask has brought about the same change meanwhile, so
            that the reply changes nothing any more (AR-11).
    """

    number: int
    token: str
    namespace: str
    room: str
    event: str
    is_binary: bool
    change: Change | None
    is_superseded: bool

    @property
    def key(self) -> MembershipKey:
        """The membership that a system ask is about; the namespace of an event ask."""
        return MembershipKey.of(self.change, self.namespace, self.room)


class TrackedMessage(NamedTuple):
    """One message, and what it is.

    Attributes:
        number: counted from 1 over both peers.
        sender: who sent it.
        kind: what it is.
        message: its fields, where it is a frame.
        handshake: its content, where it belongs to the handshake.
        ask: the ask that a reply answers, or the ask that an ask is. ``None`` where that is too
            long to be remembered, or nobody will reply to it (NS-2, NS-10).
        repeats: the number of the settled ask that a stray reply answers once more, else 0.
        error: why strict decoding refuses it, or, where it is not a frame, lenient decoding too.
        reuses_token: an ask whose token belongs to a pending ask of the same peer (AR-5).
        wait: what its token means, where that was needed to say what the message is.
    """

    number: int
    sender: Role
    kind: MessageKind
    message: Message | None
    handshake: Handshake | None
    ask: ObservedAsk | None
    repeats: int
    error: CodecError | None
    reuses_token: bool
    wait: Wait | None


class PeerState:
    """What the messages have shown of one peer.

    Attributes:
        role: which peer it is.
        handshake: its state in the handshake table.
        pending: its asks that wait for a reply, by token.
        reused: its asks that wait for a reply, and whose token a later ask has, too (AR-5).
        memberships: its namespaces and rooms by their state in the membership table, where that
            is not the first one.
        strays: its empty replies that answer no ask, by token. The other peer may answer one with
            an error, as it answers an ask (AR-12).
        left: what it lost by a reply of the other peer, and the number of that message.
        read: the number of the last message that it must have read, since it answered it.
        has_forgotten: an ask of it is not remembered, so that its reply looks like a stray one.
    """

    __slots__ = (
        "_settled",
        "_settled_before",
        "handshake",
        "has_forgotten",
        "left",
        "memberships",
        "pending",
        "read",
        "reused",
        "role",
        "strays",
    )

    def __init__(self, role: Role, native: Native) -> None:
        self.role = role
        self.handshake = HANDSHAKE.initial["native-only" if native is Native.ONLY else role]
        self.pending: dict[str, ObservedAsk] = {}
        self.reused: list[ObservedAsk] = []
        self.memberships: dict[tuple[str, str | None], MembershipState] = {}
        self.strays: dict[str, ObservedAsk] = {}
        self.left: dict[tuple[str, str | None], int] = {}
        self.read = 0
        self.has_forgotten = False
        # By token; the older half is dropped whole.
        self._settled: dict[str, int] = {}
        self._settled_before: dict[str, int] = {}

    def settled(self) -> dict[str, int]:
        """Give the numbers of its asks that have their reply, by the token of that reply."""
        return {**self._settled_before, **self._settled}

    def has_asked(self, token: str) -> bool:
        """Whether it has asked with this token, as far as that is remembered."""
        return token in self.pending or token in self._settled or token in self._settled_before

    def has_to_know(self, token: str) -> bool:
        """Whether it has an ask with this token that is pending or was the last to end (AR-21)."""
        settled = self._settled or self._settled_before
        return token in self.pending or token == next(reversed(settled), None)

    def state(self, namespace: str, room: str | None = None) -> str:
        """Give the state of a namespace, or of a room in it, in the membership table."""
        return self.memberships.get((namespace, room), _DISCONNECTED)

    def is_connected(self, namespace: str) -> bool:
        """Whether a namespace is connected."""
        return self.memberships.get((namespace, None)) in _LIVE

    def is_joined(self, namespace: str, room: str) -> bool:
        """Whether a room is joined."""
        return self.memberships.get((namespace, room)) in _LIVE

    def connected(self) -> list[str]:
        """Give the connected namespaces, sorted."""
        return sorted(
            namespace
            for (namespace, room), state in self.memberships.items()
            if room is None and state in _LIVE
        )

    def joined(self, namespace: str) -> list[str]:
        """Give the joined rooms of a namespace, sorted."""
        return sorted(
            room
            for (where, room), state in self.memberships.items()
            if where == namespace and room is not None and state in _LIVE
        )


class Conversation:
    """The messages of one connection, as an observer sees them.

    Args:
        native: what the peers make of payloads that are not frames.

    Attributes:
        number: how many messages were fed.
        id: the connection's ID; empty before the acceptance.
        client: what is known of the client.
        server: what is known of the server.
        pairs: both, by the role of the first one.
        is_accepted: the server has sent an acceptance.
        is_refused: the server has sent a refusal.
        message: of the last message that was taken, as in ``TrackedMessage``; so are ``handshake``,
            ``ask``, ``repeats``, ``error``, ``reuses_token`` and ``wait``.
    """

    __slots__ = (
        "_native",
        "ask",
        "client",
        "error",
        "handshake",
        "id",
        "is_accepted",
        "is_refused",
        "message",
        "number",
        "pairs",
        "repeats",
        "reuses_token",
        "server",
        "wait",
    )

    def __init__(self, *, native: Native = Native.NEVER) -> None:
        self.number = 0
        self.id = ""
        self.client = PeerState(Role.CLIENT, native)
        self.server = PeerState(Role.SERVER, native)
        self.is_accepted = False
        self.is_refused = False
        self.message: Message | None = None
        self.handshake: Handshake | None = None
        self.ask: ObservedAsk | None = None
        self.repeats = 0
        self.error: CodecError | None = None
        self.reuses_token = False
        self.wait: Wait | None = None
        self._native = native
        self.pairs: Final = {
            Role.CLIENT: (self.client, self.server),
            Role.SERVER: (self.server, self.client),
        }

    def feed(self, sender: Role | str, payload: Payload) -> TrackedMessage:
        """Take the next message and say what it is; whatever it is, nothing is raised."""
        return self.tracked(sender, self.take(sender, payload))

    def tracked(self, sender: Role | str, kind: MessageKind) -> TrackedMessage:
        """Give the message that was taken last.

        Args:
            sender: who sent it.
            kind: what ``take`` has said that it is.
        """
        return TrackedMessage(
            self.number,
            self.pairs[sender][0].role,  # type: ignore[index]  # a role is its name
            kind,
            self.message,
            self.handshake,
            self.ask,
            self.repeats,
            self.error,
            self.reuses_token,
            self.wait,
        )

    def take(self, sender: Role | str, payload: Payload) -> MessageKind:
        """Take the next message as ``feed`` does, and leave the details in the attributes.

        That saves a fifth of the time where very many messages are observed.
        """
        me, other = self.pairs[sender]  # type: ignore[index]  # a role is its name
        return self.take_from(me, other, payload)

    def take_from(self, me: PeerState, other: PeerState, payload: Payload) -> MessageKind:
        """Take the next message as ``take`` does, of a caller that knows its peers.

        Args:
            me: the peer that sent it, of ``pairs``.
            other: the other peer.
            payload: the message.
        """
        self.number += 1
        self.message = self.handshake = self.ask = self.error = self.wait = None
        self.reuses_token = False
        self.repeats = 0
        if me.handshake is not _OPEN or self._native is _ONLY:
            kind = self._before_open(me, other, payload)
            if kind is not None:
                return kind
        try:
            # What strict decoding accepts, lenient decoding reads as the same.
            message = decode(payload, decoding=_STRICT, native=self._native)
        except CodecError as strict:
            try:
                message = decode(payload, native=self._native)
            except DecodeError as lenient:
                self.error = lenient
                return MessageKind.NOT_A_FRAME
            if not isinstance(message, NativeMessage):
                self.error = strict
        if isinstance(message, NativeMessage):
            return MessageKind.NATIVE
        self.message = message
        wait = message.wait
        if not wait:
            return _EVENT
        ask = other.pending.pop(wait, None)
        if ask is None and EXCHANGE_MARKER in wait:
            self.wait = parse_wait(wait)
            ask = other.pending.pop(self.wait.token, None)
        if ask is None:
            return self._unanswering(me, other, wait, message)
        if other.reused:
            ask = _replied(other, ask, message)
        self.ask = ask
        if ask.number > me.read:
            me.read = ask.number
        settled = other._settled
        settled[wait] = ask.number
        if len(settled) >= MAX_REMEMBERED // 2:
            other._settled, other._settled_before = {}, settled
        if ask.change is not None and not ask.is_superseded:
            self._change(me, other, ask.change, ask.key, done=message.is_empty_reply)
        return _REPLY

    def _before_open(self, me: PeerState, other: PeerState, payload: Payload) -> MessageKind | None:
        """Take a message that is not decoded as a frame; ``None`` where it has to be."""
        if self._native is _ONLY:
            return MessageKind.NATIVE
        if me.handshake is _CLOSED:
            return MessageKind.AFTER_REFUSAL
        try:
            first = self.handshake = decode_handshake(payload)
        except DecodeError:
            return None
        kind = _MESSAGE_KINDS[type(first)]
        if (kind is _REQUEST) is (me.role is Role.CLIENT):
            try:
                decode_handshake(payload, decoding=_STRICT)
            except DecodeError as strict:
                self.error = strict
        # The receiver's table says whether this may come now, the sender's what follows.
        row = HANDSHAKE.follow(other.handshake, RECEIVED_INPUT[kind], lambda _: True)
        if "violation" not in row.actions:
            other.handshake = row.next
        me.handshake = _next(HANDSHAKE, me.handshake, SENT_INPUT[kind])
        if me.role is Role.SERVER and not self.is_accepted:
            if isinstance(first, HandshakeAccept):
                self.is_accepted, self.id = True, first.id
            self.is_refused |= isinstance(first, HandshakeRefuse)
        return kind

    def _unanswering(
        self, me: PeerState, other: PeerState, wait: str, message: Message
    ) -> MessageKind:
        """Take a frame with a token that answers no pending ask."""
        namespace, room, event = message.namespace, message.room, message.event
        change = CHANGE_OF.get(event)
        if self.wait is None and (wait[0] != CLIENT_PREFIX or me is not self.client):
            self.wait = parse_wait(wait)
        settled = other._settled.get(wait) or other._settled_before.get(wait) or 0
        is_empty = not event and message.is_empty_reply
        if (
            settled
            or is_empty
            or (self.wait is not None and _is_stray(me.role, message, self.wait, change))
        ):
            self.repeats = settled
            if is_empty and len(wait) <= MAX_HEAD:
                is_binary = message.is_binary
                me.strays[wait] = ObservedAsk(
                    self.number, wait, "", "", "", is_binary, None, is_superseded=False
                )
                _trim(me.strays)
            return _STRAY_REPLY
        if message.is_error and wait in other.strays:
            self.ask = other.strays.pop(wait)
            self.wait = None  # it has no exchange marker
            return _REPLY
        if change is not None and message.is_no_op:
            return _SYSTEM_ASK
        earlier = me.pending.get(wait)
        self.reuses_token = earlier is not None
        if len(wait) + len(namespace) + len(room) + len(event) > MAX_HEAD:
            me.has_forgotten = True
            return _EVENT_ASK if change is None else _SYSTEM_ASK
        if change is not None:
            key = MembershipKey.of(change, namespace, room)
            before = me.memberships.get(key, _DISCONNECTED)
            me.memberships[key] = _next(MEMBERSHIP, before, change.direction)
            _trim(me.memberships)
        if self.wait is not None and EXCHANGE_MARKER in wait and me is self.client:
            wait = self.wait.token or wait  # the reply comes without the marker (SX-2)
            earlier = me.pending.get(wait)
        if earlier is not None:
            me.reused = [*me.reused, earlier][-MAX_REUSED:]
        # Made without the call of its constructor, a tenth of the whole.
        values = self.number, wait, namespace, room, event, message.is_binary, change, False
        self.ask = me.pending[wait] = _new(ObservedAsk, values)
        if len(me.pending) > MAX_REMEMBERED:
            del me.pending[next(iter(me.pending))]
            me.has_forgotten = True
        return _EVENT_ASK if change is None else _SYSTEM_ASK

    def _change(
        self, me: PeerState, other: PeerState, change: Change, key: MembershipKey, *, done: bool
    ) -> None:
        """Change the memberships of both peers as a reply of ``me`` says."""
        namespace, room = key
        if room is not None and not other.is_connected(namespace):
            return  # it was left with its namespace (NS-14)
        before = other.memberships.get(key, _DISCONNECTED)
        if before is _DISCONNECTED and change.is_entry and done:
            before = _CONNECTING  # it asked before it had left
        input_ = f"{change.direction}-{'done' if done else 'error'}"
        other.memberships[key] = _next(MEMBERSHIP, before, input_)
        if done:
            before = me.memberships.get(key, _DISCONNECTED)
            if before is (_CONNECTING if change.is_entry else _DISCONNECTING):
                _supersede(me, change, key)
            me.memberships[key] = _next(MEMBERSHIP, before, f"ask-{change.direction}")
        for peer in (me, other):
            if done and not change.is_entry:
                self._leave(peer, key, by_reply=peer is other)
            elif peer.memberships.get(key) in _LIVE:
                peer.left.pop(key, None)
            if peer.memberships.get(key) is _DISCONNECTED:
                del peer.memberships[key]
            _trim(peer.memberships, peer.left)

    def _leave(self, peer: PeerState, key: MembershipKey, *, by_reply: bool) -> None:
        """Take the rooms of a disconnected namespace too, and note what a reply took."""
        left: list[tuple[str, str | None]] = [key]
        if key.room is None:
            rooms = [each for each in peer.memberships if each[0] == key.namespace and each != key]
            for each in rooms:
                del peer.memberships[each]
            left += rooms
        if by_reply:
            for each in left:
                peer.left[each] = self.number


def _is_stray(role: Role, message: Message, meaning: Wait, change: Change | None) -> bool:
    """Whether a frame can only be a reply, though no ask with its token is known.

    Args:
        role: of its sender.
        message: the frame.
        meaning: of its token.
        change: what its event asks for.
    """
    if role is Role.CLIENT:
        return message.is_error and meaning.kind is WaitKind.SERVER_ASK
    # A client's token that this client never sent belongs to another (AR-17).
    return meaning.kind is WaitKind.CLIENT_ASK and (change is None or message.is_error)


def _replied(peer: PeerState, latest: ObservedAsk, message: Message) -> ObservedAsk:
    """Give the ask that a reply answers, of all with its token, and keep the others pending.

    A peer that uses a token again is wrong (AR-5). Whoever replies to each of its asks is not.
    """
    same = [each for each in peer.reused if each.token == latest.token]
    if not same:
        return latest
    same.append(latest)
    replied = latest
    names = (message.namespace, message.room, message.event)
    for each in reversed(same):
        if message.is_empty_reply:
            if each.change is not None:
                replied = each
                break
        elif (each.namespace, each.room, each.event) == names:
            replied = each
            break
    same.remove(replied)
    peer.pending[latest.token] = same.pop()
    peer.reused = [each for each in peer.reused if each.token != latest.token] + same
    return replied


def _supersede(me: PeerState, change: Change, key: MembershipKey) -> None:
    """Mark the ask of ``me`` for the same change: its reply changes nothing any more."""
    for token, ask in me.pending.items():
        if ask.change is change and not ask.is_superseded and ask.key == key:
            me.pending[token] = ask._replace(is_superseded=True)
            return


def _trim(*memories: dict[Any, Any]) -> None:
    """Forget the oldest entries of what has more than ``MAX_REMEMBERED``."""
    for remembered in memories:
        while len(remembered) > MAX_REMEMBERED:
            del remembered[next(iter(remembered))]


def _next(machine: StateMachine[State], state: State, input_: str) -> State:
    """Give the state after an input, where applications agree to everything.

    Where there is no row the state stays: an ask for what is so already changes nothing.
    """
    row = machine.row(state, input_, lambda _: False)
    return row.next if row else state
