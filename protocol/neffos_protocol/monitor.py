"""Judges a conversation that it only listens to.

Fed the messages of both peers in the order in which they went by, it tells which of them
broke a requirement. It never raises on any input, and holds a bounded amount however long
the conversation is. It rests on the same state tables as the session.

Where it listens matters. Between the peers, a message may still be on its way when the next
one of its receiver goes by, so that the monitor gives the receiver the benefit of the doubt
until the receiver has answered something later. Told that it listens *at* one of the peers, it
knows what that peer had read.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from neffos_codec import (
    CodecError,
    DecodeError,
    Handshake,
    HandshakeAccept,
    HandshakeRefuse,
    HandshakeRequest,
    Message,
    Native,
    NativeMessage,
    Payload,
    Reading,
    Reason,
    WaitKind,
    decode,
    decode_handshake,
    parse_wait,
)
from neffos_protocol.events import Change
from neffos_protocol.machines import HANDSHAKE, MEMBERSHIP, Machine
from neffos_protocol.names import CHANGE_OF, CLIENT_PREFIX, EXCHANGE_MARKER, LOCAL_ONLY
from neffos_protocol.session import Role

MAX_REMEMBERED: Final = 4096
"""Asks, answered tokens and memberships remembered of each peer. A peer has a few of each at a
time; of a conversation with more, the oldest are forgotten and no longer judged."""

MAX_HEAD: Final = 1024
"""Characters of token and names together of an ask that is remembered, for the same reason."""

_INPUTS: Final[dict[type[Handshake], tuple[str, str]]] = {
    HandshakeRequest: ("start", "request"),
    HandshakeAccept: ("let-in", "accept"),
    HandshakeRefuse: ("turn-away", "refuse"),
}
"""What sending each handshake message is to its sender's table, and to its receiver's."""

_STRICT: Final = Reading.STRICT
_new: Final = tuple.__new__
_LIVE: Final = MEMBERSHIP.live
_OPEN: Final = "open"
_CLOSED: Final = "closed"
_ASKING: Final = {"enter": "entering", "exit": "exiting"}


@dataclass(frozen=True, slots=True)
class Finding:
    """A requirement that a peer broke.

    Attributes:
        requirement: its id.
        number: which message of the conversation showed it, counted from 1 over both peers.
        role: who broke it.
        explanation: what that peer did.
    """

    requirement: str
    number: int
    role: Role
    explanation: str


class _OpenAsk(NamedTuple):
    """An ask without its reply: its number, and what the reply has to echo."""

    number: int
    namespace: str
    room: str
    event: str
    is_binary: bool
    change: Change | None


class _Peer:
    """What the conversation has shown of one peer."""

    __slots__ = (
        "answered",
        "answered_before",
        "asks",
        "handshake",
        "left",
        "overtaken",
        "read",
        "role",
        "states",
    )

    def __init__(self, role: Role, native: Native) -> None:
        self.role = role
        self.handshake = HANDSHAKE.initial["native-only" if native is Native.ONLY else role]
        # Its asks that wait for a reply, and the tokens of the last that got one.
        self.asks: OrderedDict[str, _OpenAsk] = OrderedDict()
        # Those of them that ask for what the other peer's ask has brought about meanwhile.
        self.overtaken: set[str] = set()
        self.answered: set[str] = set()
        self.answered_before: set[str] = set()
        # Namespaces and rooms (with the namespace) by their state, where it is not "out".
        self.states: OrderedDict[tuple[str, str | None], str] = OrderedDict()
        # What it ceased to be in by the other's reply, and the number of that message.
        self.left: OrderedDict[tuple[str, str | None], int] = OrderedDict()
        # The last message that it must have read, since it answered it.
        self.read = 0

    def remember(self, token: str) -> None:
        """Remember the token of an ask that got its reply, as one of the last."""
        answered = self.answered
        answered.add(token)
        if len(answered) >= MAX_REMEMBERED // 2:
            self.answered, self.answered_before = set(), answered


class Monitor:
    """Listens to one conversation.

    Args:
        native: what the peers make of payloads that are no frames.
        at: the peer at which the messages were seen, or ``None`` for in between.
    """

    __slots__ = ("_at", "_native", "_number", "_pairs")

    def __init__(self, *, native: Native = Native.NEVER, at: Role | None = None) -> None:
        self._native = native
        self._at = at
        self._number = 0
        client, server = _Peer(Role.CLIENT, native), _Peer(Role.SERVER, native)
        self._pairs = {Role.CLIENT: (client, server), Role.SERVER: (server, client)}

    @property
    def number(self) -> int:
        """How many messages were fed."""
        return self._number

    def feed(self, sender: Role | str, payload: Payload) -> list[Finding]:
        """Take one message and give what is wrong with it; whatever it is, nothing is raised."""
        self._number += 1
        me, other = self._pairs[sender]  # type: ignore[index]  # a role is its name
        found: list[Finding] = []
        if self._native is Native.ONLY:
            return found
        if me.handshake != _OPEN:
            if me.handshake == _CLOSED:
                if me.role is Role.SERVER:  # a client's may have been on its way
                    text = "a message after the handshake was refused"
                    self._find(found, "HS-4", me.role, text)
                return found
            if self._shake(me, other, payload, found):
                return found
        try:
            # What the strict reading takes, the lenient one reads as the same.
            message = decode(payload, reading=_STRICT, native=self._native)
        except CodecError as broken:
            loose = self._loosely(me.role, payload, broken, found)
            if loose is None:
                return found
            message = loose
        if not isinstance(message, NativeMessage):
            self._message(me, other, message, found)
        return found

    def _find(self, found: list[Finding], requirement: str, role: Role, explanation: str) -> None:
        found.append(Finding(requirement, self._number, role, explanation))

    # ------------------------------------------------------------ handshake

    def _shake(self, me: _Peer, other: _Peer, payload: Payload, found: list[Finding]) -> bool:
        """Read a message before ``me`` is open; tell whether it was one of the handshake."""
        try:
            first = decode_handshake(payload)
        except DecodeError as error:
            if error.reason is not Reason.EMPTY:
                if me.role is Role.SERVER:
                    self._find(found, "HS-12", me.role, "a message before the acceptance")
                else:
                    early = "HS-1" if me.handshake == "new" else "HS-11"
                    self._find(found, early, me.role, "a message before the acceptance came")
            return False
        mine, theirs = _INPUTS[type(first)]
        if isinstance(first, HandshakeRequest) is (me.role is Role.CLIENT):
            try:
                decode_handshake(payload, reading=Reading.STRICT)
            except DecodeError as error:
                self._find(found, error.requirement, me.role, error.explanation)
        # The receiver's table says whether this may come now, the sender's where it is then.
        row = HANDSHAKE.follow(other.handshake, theirs, lambda _: True)
        if "violation" in row.actions:
            text = f"a handshake message ({theirs}) for a peer that is {other.handshake!r}"
            self._find(found, row.requirements[""][0], me.role, text)
        else:
            other.handshake = row.next
        me.handshake = _next(HANDSHAKE, me.handshake, mine)
        return True

    # ------------------------------------------------------------ frames

    def _loosely(
        self, sender: Role, payload: Payload, broken: CodecError, found: list[Finding]
    ) -> Message | NativeMessage | None:
        """Read leniently what the strict reading refused, and hold that against its sender."""
        try:
            message = decode(payload, native=self._native)
        except DecodeError as error:
            if error.reason is Reason.SEPARATORS:
                self._find(found, "NM-1", sender, "a native message for a peer of frames")
            return None
        if not isinstance(message, NativeMessage):
            self._find(found, broken.requirement, sender, broken.explanation)
        return message

    def _message(self, me: _Peer, other: _Peer, message: Message, found: list[Finding]) -> None:
        if message.is_error and not message.body:
            self._find(found, "FR-9", me.role, "an error without a text")
        wait = message.wait
        if wait and self._is_reply(me, other, wait, message, found):
            return
        namespace, room, event = message.namespace, message.room, message.event
        is_kept = len(wait) + len(namespace) + len(room) + len(event) <= MAX_HEAD
        change = CHANGE_OF.get(event)
        if change is not None:
            if not wait or message.is_no_op:
                requirement = "NS-2" if change is Change.CONNECT else "NS-10"
                self._find(found, requirement, me.role, f"{event} that nobody will act on")
                return
            if not is_kept:
                return
            place = _place(change, namespace, room)
            me.states[place] = _next(MEMBERSHIP, me.states.get(place, "out"), _way(change))
            _trim(me.states)
        elif event in LOCAL_ONLY:
            self._find(found, "EV-5", me.role, f"{event} is a notice inside one peer")
        else:
            self._check_membership(me, namespace, room, found)
        if wait:
            if wait in me.asks:
                self._find(found, "AR-5", me.role, f"the token {wait!r} is still in use")
            if is_kept:
                if EXCHANGE_MARKER in wait and me.role is Role.CLIENT:
                    wait = parse_wait(wait).token or wait  # what it is answered under
                me.overtaken.discard(wait)
                # Made without the call of its constructor, a tenth of the whole.
                asked = self._number, namespace, room, event, message.is_binary, change
                me.asks[wait] = _new(_OpenAsk, asked)
                if len(me.asks) > MAX_REMEMBERED:
                    me.overtaken.discard(me.asks.popitem(last=False)[0])

    def _check_membership(self, me: _Peer, namespace: str, room: str, found: list[Finding]) -> None:
        place: tuple[str, str | None] = namespace, None
        if me.states.get(place) not in _LIVE and not self._was_in(me, place):
            text = f"an event for namespace {namespace!r}, which is not connected"
            self._find(found, "NS-11", me.role, text)
        elif room:
            place = namespace, room
            if me.states.get(place) not in _LIVE and not self._was_in(me, place):
                text = f"an event for room {room!r}, which is not joined"
                self._find(found, "RM-10", me.role, text)

    def _was_in(self, me: _Peer, place: tuple[str, str | None]) -> bool:
        """Whether the peer may not have read yet that it left."""
        left = me.left.get(place)
        return left is not None and self._at is not me.role and me.read < left

    # ------------------------------------------------------------ replies

    def _is_reply(
        self, me: _Peer, other: _Peer, wait: str, message: Message, found: list[Finding]
    ) -> bool:
        """Whether this answers, or claims to answer, an ask of the other peer."""
        token = wait
        ask = other.asks.pop(wait, None)
        if ask is None and EXCHANGE_MARKER in wait:
            token = parse_wait(wait).token
            ask = other.asks.pop(token, None)
            if ask is not None and me.role is Role.SERVER:
                self._find(found, "SX-2", me.role, f"the reply {wait!r} keeps an exchange's marker")
        if ask is not None:
            if ask.number > me.read:
                me.read = ask.number
            other.remember(wait)
            is_overtaken = token in other.overtaken
            other.overtaken.discard(token)
            self._check_reply(me, other, ask, message, is_overtaken, found)
            return True
        if wait in other.answered or wait in other.answered_before:
            self._find(found, "AR-22", me.role, f"a second reply to {wait!r}")
            return True
        if me.role is Role.CLIENT and wait[0] == CLIENT_PREFIX:
            return False
        meaning = parse_wait(wait)
        if meaning.kind is WaitKind.CONFIRMATION:
            self._find(found, "AR-4", me.role, f"the token {wait!r} is of the reserved form")
        elif me.role is Role.CLIENT and meaning.kind is not WaitKind.CLIENT_ASK:
            self._find(found, "AR-2", me.role, f"the token {wait!r} does not begin with '$'")
        elif me.role is Role.SERVER and meaning.kind is WaitKind.CLIENT_ASK:
            if message.event in CHANGE_OF and not message.is_error:
                self._find(found, "AR-3", me.role, f"the token {wait!r} begins with '$'")
            else:
                # A client's token that this client never sent is another's (AR-17).
                self._find(found, "AR-17", me.role, f"a reply to {wait!r}, never asked here")
                return True
        return False

    def _check_reply(
        self,
        me: _Peer,
        other: _Peer,
        ask: _OpenAsk,
        message: Message,
        is_overtaken: bool,
        found: list[Finding],
    ) -> None:
        echoed = (
            message.event == ask.event
            and message.namespace == ask.namespace
            and message.room == ask.room
        )
        if ask.change is None:
            if not echoed:
                self._find(found, "AR-7", me.role, "a reply that does not echo the ask's fields")
            elif message.is_binary != ask.is_binary:
                self._find(found, "AR-16", me.role, "a reply of another kind than the ask")
            return
        place = _place(ask.change, ask.namespace, ask.room)
        if message.is_error:
            done = False
            if not echoed:
                self._find(found, "AR-7", me.role, "an error that does not echo the ask's fields")
            is_exit = _way(ask.change) == "exit" and not is_overtaken
            if me.role is Role.CLIENT and is_exit and me.states.get(place) in _LIVE:
                self._find(found, "NS-13", me.role, f"a client that refuses a {ask.change}")
        else:
            done = message.is_empty_reply
            if not done:
                text = f"the reply to a {ask.change} is neither empty nor an error"
                self._find(found, "AR-20", me.role, text)
            elif message.is_binary:
                self._find(found, "FR-13", me.role, "an empty reply is text")
        if not is_overtaken:
            self._follow(me, other, ask.change, place, done)

    def _follow(
        self, me: _Peer, other: _Peer, change: Change, place: tuple[str, str | None], done: bool
    ) -> None:
        """Change the memberships of both peers as a reply of ``me`` says."""
        namespace, room = place
        if room is not None and other.states.get((namespace, None)) not in _LIVE:
            return  # it went with its namespace (NS-14)
        way = _way(change)
        before = other.states.get(place, "out")
        if before == "out" and way == "enter" and done:
            before = "entering"  # it asked while it was on its way out
        other.states[place] = _next(MEMBERSHIP, before, f"{way}-{'done' if done else 'error'}")
        if done:
            before = me.states.get(place, "out")
            if before == _ASKING[way]:
                self._overtake(me, place, way)
            me.states[place] = _next(MEMBERSHIP, before, f"ask-{way}")
        for peer in (me, other):
            if way == "exit" and done:
                self._leave(peer, place, by_reply=peer is other)
            elif peer.states.get(place) in _LIVE:
                peer.left.pop(place, None)
            if peer.states.get(place) == "out":
                del peer.states[place]
            _trim(peer.states, peer.left)

    def _overtake(self, me: _Peer, place: tuple[str, str | None], way: str) -> None:
        """Take note that the reply to what ``me`` asks for the same changes nothing any more."""
        same = [
            token
            for token, ask in me.asks.items()
            if ask.change is not None
            and token not in me.overtaken
            and _way(ask.change) == way
            and _place(ask.change, ask.namespace, ask.room) == place
        ]
        me.overtaken.update(same[:1])  # none where the ask was too long to be remembered

    def _leave(self, peer: _Peer, place: tuple[str, str | None], *, by_reply: bool) -> None:
        namespace, room = place
        gone = [place]
        if room is None:
            gone += [each for each in peer.states if each[0] == namespace and each != place]
        for each in gone:
            if each != place:
                peer.states.pop(each, None)
            if by_reply:
                peer.left[each] = self._number


def _trim(*memories: OrderedDict[Any, Any]) -> None:
    """Forget the oldest of what is remembered where it has become too much."""
    for remembered in memories:
        while len(remembered) > MAX_REMEMBERED:
            remembered.popitem(last=False)


def _way(change: Change) -> str:
    return "enter" if change in (Change.CONNECT, Change.JOIN) else "exit"


def _place(change: Change, namespace: str, room: str) -> tuple[str, str | None]:
    is_room = change in (Change.JOIN, Change.LEAVE)
    return namespace, room if is_room else None


def _next(machine: Machine, state: str, input_: str) -> str:
    """Give the state after an input, where applications agree to everything.

    Where there is no row the state stays: who repeats what is so already changes nothing.
    """
    row = machine.row(state, input_, lambda _: False)
    return row.next if row else state
