"""One peer of a neffos connection, without I/O, clock or thread.

Payloads and commands go in; payloads to send and events come out. What happens is what the rows of
the state tables say (``state_machines.py``). A payload that means nothing now is dropped (FR-16).
An event of a connected namespace is delivered, an error as an error (EV-2, EV-6), but for local
events (EV-4). A native-only session delivers every message as it is (NM-6). This module has what
applications call, and reads the frames of an open session; the layers below it follow the tables.
It does not know which transport carries it, nor what time it is.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import Final

from neffos_codec import (
    DecodeError,
    HandshakeAccept,
    Message,
    Native,
    NativeMessage,
    Payload,
    Reason,
    decode,
    encode,
    encode_handshake,
    first_surrogate,
    parse_wait,
)
from neffos_protocol._asks import AskStep, PendingAsk
from neffos_protocol._core import MOST_BYTES, MisuseError
from neffos_protocol._handshake import HandshakeTracking
from neffos_protocol._records import Record
from neffos_protocol.events import (
    Asked,
    AskSent,
    Change,
    ChangeAsked,
    Event,
    MembershipKey,
    NativeReceived,
    ProtocolViolation,
    Received,
    Role,
)
from neffos_protocol.limits import DEFAULT_LIMITS, SessionLimits
from neffos_protocol.names import (
    BAD_NAMESPACE,
    CHANGE_OF,
    CLIENT_PREFIX,
    EXCHANGE_MARKER,
    INVALID_PAYLOAD,
    LOCAL_ONLY,
    NATIVE_EVENT,
)
from neffos_protocol.state_machines import MEMBERSHIP, AskState, HandshakeState, Input

__all__ = ["MisuseError", "Prepared", "Session", "prepare", "token_of"]

_OPEN: Final = HandshakeState.OPEN
_CLOSED: Final = HandshakeState.CLOSED
_LIVE: Final = MEMBERSHIP.live
_RESERVED: Final = LOCAL_ONLY.union(CHANGE_OF)
_CLIENT: Final = Role.CLIENT
_NONE: Final = AskState.NONE
_SEND: Final = Input.SEND
_REPLY: Final = Input.REPLY
_REPLY_ERROR: Final = Input.REPLY_ERROR
_IGNORE: Final = Input.IGNORE


class Prepared(Record):
    """An event encoded once, to be sent through many sessions."""

    message: Message
    payload: str | bytes


def prepare(message: Message) -> Prepared:
    """Encode an event for a broadcast.

    Raises:
        MisuseError: the message has a token, which belongs to one connection and must not reach
            others (AR-17), or its event is a system event or a local event.
    """
    if message.wait:
        raise MisuseError("a broadcast carries no token", "clear the message's wait field")
    _check_event(message.event)
    return Prepared(message, encode(message))


def _check_event(event: str) -> None:
    if event in _RESERVED:
        raise MisuseError(
            f"{event} is the protocol's own", "call connect, disconnect, join or leave"
        )


def token_of(events: Sequence[Event]) -> str:
    """Give the token of the ask that a command sent.

    Raises:
        ValueError: the events are not those of such a command.
    """
    for event in events:
        if isinstance(event, AskSent):
            return event.token
    raise ValueError("no ask was sent; give the events of ask, connect, disconnect, join or leave")


class Session(HandshakeTracking):
    """One peer of a connection.

    Feed it every message with ``receive`` and the end with ``peer_closed``. After each call, send
    what ``outgoing`` gives, in that order, and close the transport once ``is_closed``.

    Every command gives the events that it brought about, in order, as ``receive`` does, so that an
    application handles events in one place. An ask begins with ``AskSent``; ``token_of`` gives the
    token.
    A command that is not possible now raises ``MisuseError`` and changes nothing.

    An application whose handlers and decisions take time keeps the messages that arrive meanwhile,
    and gives them to ``receive`` in their order (EV-1); ``overtakes`` says which it gives at once.
    Messages from before the handshake wait in the session for the decisions before them.

    Args:
        role: which peer this is.
        tokens: makes the tokens of asks, such as ``neffos_codec.WaitTokens``; it decides
            whether they can be guessed (AR-5, AR-6).
        id: the connection's ID; a server needs it before it can accept a client.
        namespaces: those that the application offers; others are refused to the peer
            (NS-3). ``None`` offers every one.
        decides: the changes that the application wants to decide itself. Others that the
            peer asks for happen. A client cannot refuse a disconnect or a leave (NS-13).
        decides_handshake: a server's application wants to decide on handshakes.
        native: what becomes of payloads that are not frames.
        limits: the bounds.

    Raises:
        MisuseError: a server that decides nothing about handshakes has no ID to give, or the
            namespaces are one string.
        EncodeError: the ID cannot be sent.
    """

    __slots__ = ()

    def __init__(
        self,
        role: Role,
        *,
        tokens: Callable[[], str],
        id: str = "",  # noqa: A002  # the protocol's own word
        namespaces: Container[str] | None = None,
        decides: frozenset[Change] = frozenset(),
        decides_handshake: bool = False,
        native: Native = Native.NEVER,
        limits: SessionLimits = DEFAULT_LIMITS,
    ) -> None:
        role = Role(role)
        if isinstance(namespaces, str):
            raise MisuseError("namespaces are several names", "give a set of them, or None")
        if id:
            encode_handshake(HandshakeAccept(id))  # raises what would be raised at the handshake
        if role is Role.SERVER and not (id or decides_handshake or native is Native.ONLY):
            raise MisuseError("a connection has an ID (HS-6)", "give the server's session one")
        super().__init__(decides_handshake, decides, namespaces, role, id, tokens, native, limits)

    # ------------------------------------------------------------ its state

    @property
    def is_open(self) -> bool:
        """Whether events can flow."""
        return self._phase is _OPEN

    @property
    def is_closed(self) -> bool:
        """Whether the session has ended; what ``outgoing`` still gives is to be sent."""
        return self._phase is _CLOSED

    @property
    def connected(self) -> frozenset[str]:
        """The connected namespaces."""
        return frozenset(name for name, space in self._spaces.items() if space.state in _LIVE)

    def is_member(self, namespace: str, room: str = "") -> bool:
        """Whether a namespace is connected and, if a room is named, that room joined."""
        return self._is_live(namespace, room)

    def joined(self, namespace: str) -> frozenset[str]:
        """Give the joined rooms of a namespace."""
        space = self._spaces.get(namespace)
        rooms = (space.rooms if space else None) or {}
        return frozenset(name for name, state in rooms.items() if state in _LIVE)

    @property
    def pending_asks(self) -> frozenset[str]:
        """The tokens of this peer's asks that wait for a reply."""
        return frozenset(self._pending or ())

    @property
    def next_deadline(self) -> float | None:
        """The earliest deadline of a pending ask; call ``expire`` then."""
        deadlines = [
            ask.deadline for ask in (self._pending or {}).values() if ask.deadline is not None
        ]
        return min(deadlines, default=None)

    def outgoing(self) -> list[str | bytes]:
        """Give the payloads to send, in order, each of them once."""
        payloads, self._outgoing = self._outgoing, None
        return payloads or []

    # ------------------------------------------------------------ input from outside

    def receive(self, payload: Payload) -> list[Event]:
        """Take one message from the peer; whatever the peer sent, nothing is raised."""
        events: list[Event] = []
        if self._phase is not _OPEN:
            self._before_open(payload, events)
        elif self._held and not self.overtakes(payload):
            self._hold_back(payload, events)
        else:
            self._read(payload, events)
            if self._held:  # the message may have withdrawn the decision that they wait for
                self._read_held(events)
        return events

    def overtakes(self, payload: Payload, *, is_next: bool = False) -> bool:
        """Whether a message need not wait until those before it are handled.

        It is the reply to a pending ask of this peer, or it is about what this peer asks to
        connect, disconnect, join or leave: the application may be waiting for the reply, and the
        asks of both peers may cross (EV-1). Or it asks for a namespace that is not offered, which
        is refused in any state (NS-3). Or it disconnects what the handler at work belongs to, and
        the application has no say in that (NS-13, NS-18).

        Args:
            payload: the message.
            is_next: whether only the handler at work is before it, and no other message.
        """
        if self._phase is not _OPEN:
            return False
        try:
            message = decode(payload, native=self._native)
        except DecodeError:
            return False
        return isinstance(message, Message) and self._overtakes(message, is_next)

    def peer_closed(self) -> list[Event]:
        """Process the end of the transport."""
        events: list[Event] = []
        self._handshake(Input.CLOSED, events)
        return events

    def expire(self, now: float) -> list[Event]:
        """Let asks expire, at a time on the clock that deadlines are given in."""
        events: list[Event] = []
        self._expire(now, events)
        return events

    # ------------------------------------------------------------ commands: the connection

    def start(self) -> list[Event]:
        """Request the handshake; a client's first call (HS-1).

        Raises:
            MisuseError: this is not a client that has yet to start.
        """
        return self._command(Input.START)

    def accept(self, id: str = "") -> list[Event]:  # noqa: A002
        """Accept the handshake that ``HandshakeAsked`` reported (HS-3).

        Args:
            id: the connection's ID, where the session was not made with one.

        Raises:
            MisuseError: no client waits for this, or there is no ID.
        """
        return self._command(Input.ACCEPT, text=id)

    def refuse(self, text: str) -> list[Event]:
        """Refuse the handshake that ``HandshakeAsked`` reported, and end the session (HS-4).

        Raises:
            MisuseError: no client waits for this.
        """
        return self._command(Input.REFUSE, text=text)

    def close(self) -> list[Event]:
        """End the session.

        Raises:
            MisuseError: it has ended.
        """
        return self._command(Input.CLOSE)

    # ------------------------------------------------------------ commands: membership

    def connect(self, namespace: str, *, deadline: float | None = None) -> list[Event]:
        """Ask to connect a namespace (NS-1).

        ``Changed`` or ``ChangeRefused`` reports the outcome.

        Raises:
            MisuseError: the handshake is not complete, the namespace is not disconnected, its name
                is too long, or there are too many pending asks or namespaces.
            EncodeError: a frame cannot carry that name.
        """
        if self._namespaces is not None and namespace not in self._namespaces:
            raise MisuseError(f"{namespace!r} is not offered here", "offer it to the session")
        return self._ask_change(Change.CONNECT, MembershipKey(namespace), deadline)

    def disconnect(self, namespace: str, *, deadline: float | None = None) -> list[Event]:
        """Ask to disconnect a namespace (NS-6); see ``connect``."""
        return self._ask_change(Change.DISCONNECT, MembershipKey(namespace), deadline)

    def join(self, namespace: str, room: str, *, deadline: float | None = None) -> list[Event]:
        """Ask to join a room (RM-1); see ``connect``."""
        return self._ask_change(Change.JOIN, MembershipKey(namespace, room), deadline)

    def leave(self, namespace: str, room: str, *, deadline: float | None = None) -> list[Event]:
        """Ask to leave a room (RM-2); see ``connect``."""
        return self._ask_change(Change.LEAVE, MembershipKey(namespace, room), deadline)

    def allow(self, asked: ChangeAsked) -> list[Event]:
        """Let a change happen that the peer asks for.

        Raises:
            MisuseError: it was decided, or withdrawn, already.
        """
        return self._decide(Input.ALLOW, asked, "")

    def deny(self, asked: ChangeAsked, text: str) -> list[Event]:
        """Refuse a change that the peer asks for, with a text for people (NS-4).

        Raises:
            MisuseError: it was decided, or withdrawn, already.
            EncodeError: the text is empty (FR-9), or has no UTF-8 form.
        """
        return self._decide(Input.DENY, asked, text)

    # ------------------------------------------------------------ commands: events

    def emit(
        self,
        namespace: str,
        event: str,
        body: str | bytes = "",
        *,
        room: str = "",
        is_error: bool = False,
    ) -> list[Event]:
        """Send an event that expects no reply.

        With ``is_error`` the body is an error text: what a handler answers an event with that
        expects no reply (AR-10). isNoOp is 0, whatever that of the answered event.

        Raises:
            MisuseError: the namespace is not connected, or the room not joined.
            EncodeError: a frame cannot carry this.
        """
        self._check_live(namespace, room)
        _check_event(event)
        if is_error and not body:
            raise MisuseError("an error has a text (FR-9)", "give one")
        self._send(encode(Message("", namespace, room, event, is_error, False, body)))
        return []

    def ask(
        self,
        namespace: str,
        event: str,
        body: str | bytes = "",
        *,
        room: str = "",
        deadline: float | None = None,
    ) -> list[Event]:
        """Send an event that expects a reply (AR-1).

        ``Replied``, ``AskExpired`` or ``AskCancelled`` reports the outcome.

        Raises:
            MisuseError: the namespace is not connected, the room not joined, the event's name
                too long, or too many asks are pending.
            EncodeError: a frame cannot carry this.
        """
        self._check_live(namespace, room)
        _check_event(event)
        token, payload = self._prepare(namespace, room, event, body)
        events: list[Event] = []
        ask = PendingAsk(None, MembershipKey(namespace), deadline)
        self._follow_ask(_NONE, _SEND, AskStep(token, events, ask, payload))
        return events

    def reply(self, asked: Asked, body: str | bytes = "") -> list[Event]:
        """Answer an ask of the peer (AR-7).

        Raises:
            MisuseError: it was answered or withdrawn already.
            EncodeError: the body cannot be sent in the type of the ask.
        """
        return self._answer(_REPLY, asked, asked.message.reply(body))

    def reply_error(self, asked: Asked, text: str) -> list[Event]:
        """Answer an ask of the peer with an error (AR-7); see ``reply``.

        Raises:
            MisuseError: it was answered already.
            EncodeError: the text is empty (FR-9), or has no UTF-8 form.
        """
        return self._answer(_REPLY_ERROR, asked, asked.message.error_reply(text))

    def ignore(self, asked: Asked) -> list[Event]:
        """Leave an ask of the peer without a reply (AR-9); see ``reply``."""
        return self._answer(_IGNORE, asked, asked.message)

    def concerns(self, prepared: Prepared) -> bool:
        """Whether a broadcast concerns this peer.

        It concerns a peer whose namespace is connected and, for a room, that joined it (EV-8).
        """
        message = prepared.message
        return self._phase is _OPEN and self._is_live(message.namespace, message.room)

    def send_prepared(self, prepared: Prepared) -> list[Event]:
        """Send an event that was encoded once for many sessions.

        Raises:
            MisuseError: it does not concern this peer.
        """
        if not self.concerns(prepared):
            raise MisuseError("this broadcast does not concern the peer", "ask concerns first")
        self._send(prepared.payload)
        return []

    def send_native(self, payload: str | bytes) -> list[Event]:
        """Send a native message (NM-1).

        Raises:
            MisuseError: the session is not open.
            EncodeError: the peer would not decode it as what it is (NM-1, NM-3).
        """
        self._check_open()
        self._send(encode(NativeMessage(payload), native=self._native))
        return []

    # ------------------------------------------------------------ the frames of an open session

    def _read(self, payload: Payload, events: list[Event]) -> None:
        limits = self._limits
        if len(payload) * MOST_BYTES > limits.payload and self._is_too_large(payload, events):
            return
        try:
            message = decode(payload, native=self._native)
        except DecodeError as error:
            if error.reason is not Reason.EMPTY:  # FR-14
                events.append(ProtocolViolation(error.requirement, str(error)))
            return
        if type(message) is NativeMessage:
            self._read_native(message.payload, events)
            return
        wait = message.wait
        event = message.event
        # What would be sent back: all of a text, the fields of a binary frame.
        text = payload if isinstance(payload, str) else "".join(message.fields()[:4])
        if not text.isascii() and first_surrogate(text) >= 0:
            explanation = "text, or fields before a body, that are not UTF-8"
            events.append(ProtocolViolation("FR-12", explanation))
            return
        # Most frames are shorter as a whole than one name may be.
        if len(text) > limits.name and self._is_overlong(message):
            explanation = "the namespace, the room or the event is too long"
            events.append(ProtocolViolation("SEC-2", explanation))
            return
        if wait:
            if len(wait) > limits.token:
                events.append(ProtocolViolation("SEC-2", "the token is too long"))
                return
            # By far the most asks carry the other peer's token in its plain form.
            may_be_mine = (wait[0] == CLIENT_PREFIX) is (self.role is _CLIENT)
            is_marked = EXCHANGE_MARKER in wait
            if (may_be_mine or is_marked) and self._is_reply(wait, message, events):
                return
            if is_marked and self.role is not _CLIENT:
                wait = parse_wait(wait).token or wait  # SX-2
                message = message.replace(wait=wait)
        if event in _RESERVED:
            if event in CHANGE_OF:
                self._change_asked(CHANGE_OF[event], message, events)
                return
            events.append(ProtocolViolation("EV-5", f"{event} is a local event"))
            self._answer_ask(message, INVALID_PAYLOAD)
            return
        namespace = message.namespace
        space = self._spaces.get(namespace)
        if space is None or space.state not in _LIVE:
            self._answer_ask(message, BAD_NAMESPACE)  # NS-9, NS-17
        elif wait:
            self._asked(namespace, wait, message, events)
        elif event == NATIVE_EVENT and self._is_native(message):
            events.append(NativeReceived(message.body, namespace))
        else:
            events.append(Received(message))

    def _is_native(self, message: Message) -> bool:
        """Whether a frame of that event is a native message; else it is an event (NM-5, EV-6)."""
        is_here = not message.room or self._is_live(message.namespace, message.room)  # RM-9
        return self._native is Native.FALLBACK and not message.is_error and is_here

    def _is_overlong(self, message: Message) -> bool:
        """Whether a name is too long for the application to be told of (SEC-2)."""
        if self._are_short(message.namespace, message.room, message.event):
            return False
        # A system ask waits for its outcome, and is refused; a reply never is.
        wait = message.wait
        may_be_reply = wait.startswith(CLIENT_PREFIX) is (self.role is _CLIENT)
        is_ask = wait and not may_be_reply and EXCHANGE_MARKER not in wait
        return not is_ask or message.event not in CHANGE_OF

    def _read_native(self, payload: str | bytes, events: list[Event]) -> None:
        # Beside frames, native messages belong to the empty namespace and come once it is
        # connected (NM-4).
        if self._native is Native.ONLY or self._is_live(""):
            events.append(NativeReceived(payload))
