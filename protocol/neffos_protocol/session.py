"""One end of a neffos connection, without I/O, clock or thread.

Payloads and commands go in; payloads to send and events come out. For the handshake and for
membership this module does what the rows of the state tables say (``machines.py``); the tables
of asks are so short that the code says the same, and the tests hold it to them. It does not
know which transport carries it, nor what time it is.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from dataclasses import dataclass, replace
from typing import Final

from neffos_codec import (
    DecodeError,
    HandshakeAccept,
    HandshakeRefuse,
    HandshakeRequest,
    Message,
    Native,
    NativeMessage,
    Payload,
    Reason,
    WaitKind,
    decode,
    decode_handshake,
    encode,
    encode_handshake,
    first_surrogate,
    parse_wait,
)
from neffos_protocol._state import Judgement, OpenAsk, Place, Space, Step
from neffos_protocol.events import (
    Asked,
    AskExpired,
    AskLost,
    AskWithdrawn,
    Cause,
    Change,
    ChangeAsked,
    Changed,
    ChangeRefused,
    Closed,
    Event,
    HandshakeAsked,
    HandshakeRefused,
    NativeReceived,
    Opened,
    Received,
    Replied,
    Role,
    UnmatchedReply,
    Violation,
)
from neffos_protocol.limits import DEFAULT_LIMITS, SessionLimits
from neffos_protocol.machines import HANDSHAKE, MEMBERSHIP
from neffos_protocol.names import (
    BAD_NAMESPACE,
    BAD_ROOM,
    CHANGE_OF,
    CLIENT_PREFIX,
    EXCHANGE_MARKER,
    INVALID_PAYLOAD,
    LOCAL_ONLY,
    NATIVE_EVENT,
    REQUEST_EVENT,
    TOO_MANY,
)


class MisuseError(Exception):
    """The application called what it may not call now; the session is as it was before.

    Attributes:
        instead: what to call, or to wait for.
    """

    def __init__(self, explanation: str, instead: str) -> None:
        self.instead = instead
        super().__init__(f"{explanation}; {instead}")


@dataclass(frozen=True, slots=True)
class Prepared:
    """An event encoded once, to be sent through many sessions."""

    message: Message
    payload: str | bytes


def prepare(message: Message) -> Prepared:
    """Encode an event for a broadcast.

    Raises:
        MisuseError: the message has a token, which is one connection's and must not reach
            others (AR-17), or its event is the protocol's own.
    """
    if message.wait:
        raise MisuseError("a broadcast carries no token", "clear the message's wait field")
    _check_event(message.event)
    return Prepared(message, encode(message))


def _check_event(event: str) -> None:
    if event in CHANGE_OF or event in LOCAL_ONLY:
        raise MisuseError(
            f"{event} is the protocol's own", "call connect, disconnect, join or leave"
        )


PAST_TOKENS: Final = 32
"""Tokens of closed asks that are remembered, to tell late and doubled replies from asks (AR-21).
Together they hold 4 KiB; a reply that is later than so many asks is not worth more."""

_OPEN: Final = "open"
_CLOSED: Final = "closed"
_OUT: Final = "out"
_LIVE: Final = MEMBERSHIP.live
_ASKING: Final = frozenset({"entering", "exiting"})
_ASKED: Final = frozenset({"ask-enter", "ask-exit"})

_CLIENT: Final = Role.CLIENT

_ENDED_HERE: Final = frozenset({"close", "turn-away"})
"""The inputs by which this side ends a session."""

_INSTEAD: Final = {
    "new": "call start first",
    "requested": "wait for Opened",
    "awaiting": "wait for Opened",
    "deciding": "call let_in or turn_away first",
    "open": "the handshake is complete",
    "closed": "the session has ended: make a new one",
    "out": "enter first: connect the namespace, or join the room",
    "entering": "wait for the peer's reply: Changed or ChangeRefused",
    "judging-entry": "call allow or deny first",
    "in": "it is in already; exit with disconnect or leave",
    "exiting": "wait for the peer's reply: Changed or ChangeRefused",
    "judging-exit": "call allow or deny first",
}


class Session:
    """One end of a connection.

    Feed it every message with ``receive`` and the end with ``peer_closed``; after each call,
    send what ``outgoing`` gives, in that order, and close the transport once ``is_closed``.

    Args:
        role: which end this is.
        tokens: makes the tokens of asks, such as ``neffos_codec.WaitTokens``; it decides
            whether they can be guessed (AR-5, AR-6).
        id: the connection's id; a server needs it before it can let a client in.
        namespaces: those that the application offers; others are refused to the peer
            (NS-3). ``None`` offers every one.
        decides: the changes that the application wants to decide itself. Others that the
            peer asks for happen. A client cannot refuse a disconnect or a leave (NS-13).
        decides_handshake: a server's application wants to decide who is let in.
        native: what becomes of payloads that are no frames.
        limits: the bounds.

    Raises:
        MisuseError: a server that decides nothing about handshakes has no id to give, or the
            namespaces are one string.
        EncodeError: the id cannot be sent.
    """

    __slots__ = (
        "_asks",
        "_decides",
        "_decides_handshake",
        "_held",
        "_held_size",
        "_judgements",
        "_limits",
        "_namespaces",
        "_native",
        "_number",
        "_outgoing",
        "_past",
        "_phase",
        "_questions",
        "_room_count",
        "_spaces",
        "_tokens",
        "id",
        "role",
    )

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
            raise MisuseError("a connection has an id (HS-6)", "give the server's session one")
        self.role: Final = role
        self.id = id
        self._tokens = tokens
        self._namespaces = namespaces
        self._decides = decides
        self._decides_handshake = decides_handshake
        self._native = native
        self._limits = limits
        self._phase = HANDSHAKE.initial["native-only" if native is Native.ONLY else role]
        self._number = 0
        self._room_count = 0
        self._held_size = 0
        # Most sessions have little of these at a time: they are made when needed.
        self._held: list[str | bytes] | None = None
        self._outgoing: list[str | bytes] | None = None
        self._spaces: dict[str, Space] = {}
        self._asks: dict[str, OpenAsk] | None = None
        self._past: dict[str, None] | None = None
        self._questions: dict[int, tuple[str, str]] | None = None
        self._judgements: dict[Place, Judgement] | None = None

    # ------------------------------------------------------------ what it holds

    @property
    def is_open(self) -> bool:
        """Whether events can flow."""
        return self._phase == _OPEN

    @property
    def is_closed(self) -> bool:
        """Whether the session has ended; what ``outgoing`` still gives is to be sent."""
        return self._phase == _CLOSED

    @property
    def connected(self) -> frozenset[str]:
        """The connected namespaces."""
        return frozenset(name for name, space in self._spaces.items() if space.state in _LIVE)

    def joined(self, namespace: str) -> frozenset[str]:
        """Give the joined rooms of a namespace."""
        space = self._spaces.get(namespace)
        rooms = (space.rooms if space else None) or {}
        return frozenset(name for name, state in rooms.items() if state in _LIVE)

    @property
    def open_asks(self) -> frozenset[str]:
        """The tokens of this side's asks that wait for a reply."""
        return frozenset(self._asks or ())

    def outgoing(self) -> list[str | bytes]:
        """Give the payloads to send, in order, each of them once."""
        payloads, self._outgoing = self._outgoing, None
        return payloads or []

    # ------------------------------------------------------------ input from outside

    def receive(self, payload: Payload) -> list[Event]:
        """Take one message from the peer; whatever the peer sent, nothing is raised."""
        events: list[Event] = []
        if self._phase == _OPEN:
            self._read(payload, events)
        else:
            self._before_open(payload, events)
        return events

    def peer_closed(self) -> list[Event]:
        """Take note that the transport has ended."""
        events: list[Event] = []
        self._shake("gone", events)
        return events

    def expire(self, now: float) -> list[Event]:
        """Take note of the time, on the clock that deadlines are given in."""
        events: list[Event] = []
        for token, ask in list((self._asks or {}).items()):
            if ask.deadline is None or ask.deadline > now:
                continue
            ask.deadline = None
            if ask.change is None:  # a change of membership may still come about (AR-15)
                self._forget_ask(token)
            events.append(AskExpired(token))
        return events

    @property
    def next_deadline(self) -> float | None:
        """The earliest deadline of an open ask; call ``expire`` then."""
        deadlines = [
            ask.deadline for ask in (self._asks or {}).values() if ask.deadline is not None
        ]
        return min(deadlines, default=None)

    # ------------------------------------------------------------ commands: the connection

    def start(self) -> None:
        """Ask to be let in; a client's first call (HS-1).

        Raises:
            MisuseError: this is not a client that has yet to start.
        """
        self._command("start")

    def let_in(self, id: str = "") -> list[Event]:  # noqa: A002
        """Accept the client that ``HandshakeAsked`` told of (HS-3).

        Args:
            id: the connection's id, where the session was not made with one.

        Raises:
            MisuseError: nobody asks, or there is no id.
        """
        self._check_command("let-in")
        if not (id or self.id):
            raise MisuseError("a connection has an id (HS-6)", "give let_in an id")
        encode_handshake(HandshakeAccept(id or self.id))  # raises before anything changes
        return self._command("let-in", text=id)

    def turn_away(self, text: str) -> list[Event]:
        """Refuse the client that ``HandshakeAsked`` told of, and end the session (HS-4).

        Raises:
            MisuseError: nobody asks.
        """
        encode_handshake(HandshakeRefuse(text))  # raises before anything changes
        return self._command("turn-away", text=text)

    def close(self) -> list[Event]:
        """End the session.

        Raises:
            MisuseError: it has ended.
        """
        return self._command("close")

    # ------------------------------------------------------------ commands: membership

    def connect(self, namespace: str, *, deadline: float | None = None) -> str:
        """Ask to connect a namespace (NS-1) and give the token of the ask.

        ``Changed`` or ``ChangeRefused`` tells the outcome.

        Raises:
            MisuseError: the handshake is not complete, the namespace is not out, its name is
                too long, or too many asks or namespaces are open.
            EncodeError: no frame can carry that name.
        """
        if self._namespaces is not None and namespace not in self._namespaces:
            raise MisuseError(f"{namespace!r} is not offered here", "offer it to the session")
        return self._ask_change(Change.CONNECT, Place(namespace, "", False), deadline)

    def disconnect(self, namespace: str, *, deadline: float | None = None) -> str:
        """Ask to disconnect a namespace (NS-6) and give the token of the ask; see ``connect``."""
        return self._ask_change(Change.DISCONNECT, Place(namespace, "", False), deadline)

    def join(self, namespace: str, room: str, *, deadline: float | None = None) -> str:
        """Ask to join a room (RM-1) and give the token of the ask; see ``connect``."""
        return self._ask_change(Change.JOIN, Place(namespace, room, True), deadline)

    def leave(self, namespace: str, room: str, *, deadline: float | None = None) -> str:
        """Ask to leave a room (RM-2) and give the token of the ask; see ``connect``."""
        return self._ask_change(Change.LEAVE, Place(namespace, room, True), deadline)

    def allow(self, asked: ChangeAsked) -> list[Event]:
        """Let a change happen that the peer asks for.

        Raises:
            MisuseError: it was decided, or withdrawn, already.
        """
        return self._decide("allow", asked, "")

    def deny(self, asked: ChangeAsked, text: str) -> list[Event]:
        """Refuse a change that the peer asks for, with a text for people (NS-4).

        Raises:
            MisuseError: it was decided, or withdrawn, already.
            EncodeError: the text is empty (FR-9), or has no UTF-8 form.
        """
        return self._decide("deny", asked, text)

    # ------------------------------------------------------------ commands: events

    def emit(
        self,
        namespace: str,
        event: str,
        body: str | bytes = "",
        *,
        room: str = "",
        is_error: bool = False,
    ) -> None:
        """Send an event without asking for a reply.

        With ``is_error`` the body is an error text: what a handler answers with to an event
        that asked for no reply (AR-10).

        Raises:
            MisuseError: the namespace is not connected, or the room not joined.
            EncodeError: no frame can carry this.
        """
        self._check_live(namespace, room)
        _check_event(event)
        if is_error and not body:
            raise MisuseError("an error has a text (FR-9)", "give one")
        self._send(encode(Message("", namespace, room, event, is_error, False, body)))

    def ask(
        self,
        namespace: str,
        event: str,
        body: str | bytes = "",
        *,
        room: str = "",
        deadline: float | None = None,
    ) -> str:
        """Send an event that asks for a reply, and give its token (AR-1).

        ``Replied``, ``AskExpired`` or ``AskLost`` tells the outcome.

        Raises:
            MisuseError: the namespace is not connected, the room not joined, the event's name
                too long, or too many asks are open.
            EncodeError: no frame can carry this.
        """
        self._check_live(namespace, room)
        _check_event(event)
        return self._open_ask(
            OpenAsk(None, Place(namespace, room, False), deadline),
            Message(namespace=namespace, room=room, event=event, body=body),
        )

    def reply(self, asked: Asked, body: str | bytes = "") -> None:
        """Answer an ask of the peer (AR-7).

        Raises:
            MisuseError: it was answered or withdrawn already.
            EncodeError: the body cannot be sent in the kind of the ask.
        """
        self._answer("reply", asked, asked.message.reply(body))

    def refuse(self, asked: Asked, text: str) -> None:
        """Answer an ask of the peer with an error (AR-7); see ``reply``.

        Raises:
            MisuseError: it was answered already.
            EncodeError: the text is empty (FR-9), or has no UTF-8 form.
        """
        self._answer("refuse", asked, asked.message.error_reply(text))

    def ignore(self, asked: Asked) -> None:
        """Leave an ask of the peer without an answer (AR-9); see ``reply``."""
        self._answer("ignore", asked, None)

    def send_prepared(self, prepared: Prepared) -> bool:
        """Send an event that was encoded once for many; false where it does not concern this peer.

        It concerns a peer whose namespace is connected and, for a room, that joined it (EV-8).
        """
        message = prepared.message
        if self._phase != _OPEN or not self._is_live(message.namespace, message.room):
            return False
        self._send(prepared.payload)
        return True

    def send_native(self, payload: str | bytes) -> None:
        """Send a native message (NM-1).

        Raises:
            MisuseError: the session is not open.
            EncodeError: the peer would not read it as what it is (NM-1, NM-3).
        """
        self._check_open()
        self._send(encode(NativeMessage(payload), native=self._native))

    # ------------------------------------------------------------ the handshake

    def _before_open(self, payload: Payload, events: list[Event]) -> None:
        if len(payload) > self._limits.payload:
            self._end_over("SEC-2", "the payload is too large", events)
            return
        try:
            first = decode_handshake(payload)
        except DecodeError as error:
            if error.reason is not Reason.EMPTY:
                self._shake("other", events, payload=payload)
            return
        match first:
            case HandshakeRequest():
                self._shake("request", events)
            case HandshakeAccept(id=id_):
                self._shake("accept", events, text=id_)
            case _:
                self._shake("refuse", events, text=first.text)

    def _command(self, input_: str, *, text: str = "") -> list[Event]:
        """Follow a command of the application through the handshake table."""
        self._check_command(input_)
        events: list[Event] = []
        self._shake(input_, events, text=text)
        return events

    def _check_command(self, input_: str) -> None:
        if HANDSHAKE.row(self._phase, input_, lambda _: True) is None:
            raise MisuseError(f"{input_} is not for now", _INSTEAD[self._phase])

    def _shake(
        self, input_: str, events: list[Event], *, payload: Payload = "", text: str = ""
    ) -> None:
        row = HANDSHAKE.follow(self._phase, input_, lambda _: self._decides_handshake)
        before, self._phase = self._phase, row.next
        if "opened" in row.actions:
            self.id = text or self.id
        cause = Cause.LOCAL if input_ in _ENDED_HERE else Cause.PEER
        if "violation" in row.actions:
            cause = Cause.VIOLATION
        for action in row.actions:
            match action:
                case "send-request":
                    self._send(encode_handshake(HandshakeRequest()))
                case "send-accept":
                    self._send(encode_handshake(HandshakeAccept(self.id)))
                case "send-refuse":
                    self._send(encode_handshake(HandshakeRefuse(text)))
                case "ask-application":
                    events.append(HandshakeAsked())
                case "opened":
                    events.append(Opened(self.id))
                case "refused":
                    events.append(HandshakeRefused(text))
                case "hold":
                    self._hold(payload, events)
                case "release":
                    self._release(events)
                case "violation":
                    requirement = row.requirements[""][0]
                    explanation = f"a handshake message ({input_}) came while {before!r}"
                    events.append(Violation(requirement, explanation, row.next == _CLOSED))
                case "ended":
                    self._end(cause, events)
                case unknown:
                    raise AssertionError(f"the table names an action {unknown!r}")

    def _hold(self, payload: Payload, events: list[Event]) -> None:
        if self._held is None:
            self._held = []
        kept = payload if isinstance(payload, (str, bytes)) else bytes(payload)
        self._held_size += len(kept)
        if len(self._held) >= self._limits.held or self._held_size > self._limits.held_size:
            self._end_over("SEC-3", "too much was sent before the handshake", events)
        else:
            self._held.append(kept)

    def _release(self, events: list[Event]) -> None:
        held, self._held = self._held, None
        self._held_size = 0
        for payload in held or ():
            self._read(payload, events)

    def _end_over(self, requirement: str, explanation: str, events: list[Event]) -> None:
        if self._phase != _CLOSED:
            events.append(Violation(requirement, explanation, fatal=True))
            self._phase = _CLOSED
            self._end(Cause.VIOLATION, events)

    def _end(self, cause: Cause, events: list[Event]) -> None:
        for namespace in list(self._spaces):
            self._change(Place(namespace, "", False), "gone", events)
        for token in list(self._asks or ()):
            self._forget_ask(token)
            events.append(AskLost(token))
        self._held = None
        events.append(Closed(cause))

    # ------------------------------------------------------------ reading while open

    def _read(self, payload: Payload, events: list[Event]) -> None:
        if len(payload) > self._limits.payload:
            self._end_over("SEC-2", "the payload is too large", events)
            return
        try:
            message = decode(payload, native=self._native)
        except DecodeError as error:
            if error.reason is not Reason.EMPTY:
                events.append(Violation(error.requirement, str(error)))
            return
        if isinstance(message, NativeMessage):
            self._read_native(message.payload, events)
            return
        wait = message.wait
        event = message.event
        # What would be sent back: all of a text, the fields of a binary frame.
        text = payload if isinstance(payload, str) else "".join(message.fields()[:4])
        if not text.isascii() and first_surrogate(text) >= 0:
            events.append(Violation("FR-12", "text, or fields before a body, that are no UTF-8"))
            return
        # Most frames are shorter as a whole than one name may be.
        if len(text) > self._limits.name and self._is_overlong(message):
            events.append(Violation("SEC-2", "the namespace, the room or the event is too long"))
            return
        if wait:
            if len(wait) > self._limits.token:
                events.append(Violation("SEC-2", "the token is too long"))
                return
            # By far the most asks carry the other side's token in its plain form.
            may_be_mine = (wait[0] == CLIENT_PREFIX) is (self.role is _CLIENT)
            is_marked = EXCHANGE_MARKER in wait
            if (may_be_mine or is_marked) and self._is_reply(wait, message, events):
                return
            if is_marked and self.role is not _CLIENT:
                message = message.replace(wait=parse_wait(wait).token or wait)  # SX-2
        if event.startswith("_On"):
            if event in CHANGE_OF:
                self._change_asked(CHANGE_OF[event], message, events)
                return
            if event in LOCAL_ONLY:
                self._local_only(message, events)
                return
        space = self._spaces.get(message.namespace)
        if space is None or space.state not in _LIVE:
            self._answer_ask(message, BAD_NAMESPACE)  # NS-9, NS-17
        elif wait:
            self._question(message, events)
        elif event == NATIVE_EVENT and self._native is Native.FALLBACK:
            events.append(NativeReceived(message.body, message.namespace))
        else:
            events.append(Received(message))

    def _is_overlong(self, message: Message) -> bool:
        """Whether a name is too long for the application to be told of (SEC-2)."""
        if self._are_short(message):
            return False
        # Who asks for a change waits for what comes of it, and is refused; a reply never is.
        wait = message.wait
        may_be_reply = wait.startswith(CLIENT_PREFIX) is (self.role is _CLIENT)
        is_ask = wait and not may_be_reply and EXCHANGE_MARKER not in wait
        return not is_ask or message.event not in CHANGE_OF

    def _are_short(self, message: Message) -> bool:
        event = "" if message.event in CHANGE_OF else message.event
        longest = max(len(message.namespace), len(message.room), len(event))
        return longest <= self._limits.name

    def _read_native(self, payload: str | bytes, events: list[Event]) -> None:
        # Beside frames, native messages belong to the empty namespace and come once it is
        # connected (NM-4).
        if self._native is Native.ONLY or self._is_live(""):
            events.append(NativeReceived(payload))

    def _is_reply(self, wait: str, message: Message, events: list[Event]) -> bool:
        """Whether this answers an ask of this side, or did; if so it is dealt with."""
        meaning = parse_wait(wait)
        for token in (wait, meaning.token):
            ask = self._asks.get(token) if self._asks else None
            if ask is not None:
                self._replied(token, ask, message, events)
                return True
        if self._past and (wait in self._past or meaning.token in self._past):
            events.append(UnmatchedReply(message))  # AR-21: not to be taken for an ask
            return True
        if self.role is Role.CLIENT and meaning.kind is WaitKind.CLIENT_ASK:
            is_answer = message.is_error or message.is_empty_reply or message.event in CHANGE_OF
            if is_answer or not self._is_live(message.namespace):
                events.append(UnmatchedReply(message))
            else:
                # A server that broadcasts what another client asked leaves that token in.
                events.append(Violation("AR-17", f"the token {wait!r} is another client's"))
                events.append(Received(message))
            return True
        if self.role is Role.SERVER and meaning.kind is not WaitKind.CLIENT_ASK:
            # Some clients make tokens of another form, and want replies all the same (AR-13).
            events.append(Violation("AR-2", f"the token {wait!r} does not begin with '$'"))
        return False

    def _replied(self, token: str, ask: OpenAsk, message: Message, events: list[Event]) -> None:
        self._forget_ask(token)
        if ask.change is None:
            events.append(Replied(token, message))
            return
        done = message.is_empty_reply
        if not done and not message.is_error:
            # Its sender did not do what was asked, whatever the body says (AR-19).
            explanation = f"the reply to a {ask.change} is neither empty nor an error"
            events.append(Violation("AR-20", explanation))
        if ask.is_overtaken:
            return  # and does not settle a later ask for the same (AR-11, NS-18)
        way = "enter" if ask.change is ask.place.entry else "exit"
        input_ = f"{way}-done" if done else f"{way}-error"
        self._change(ask.place, input_, events, message=message)

    def _local_only(self, message: Message, events: list[Event]) -> None:
        events.append(Violation("EV-5", f"{message.event} is a notice inside one peer"))
        self._answer_ask(message, INVALID_PAYLOAD)

    def _answer_ask(self, message: Message, text: str) -> None:
        """Refuse what asks for a reply and cannot have one, unless it may be a reply itself."""
        if message.wait and not message.is_error:
            self._send(encode(message.error_reply(text)))

    def _question(self, message: Message, events: list[Event]) -> None:
        questions = self._questions
        if questions is None:
            questions = self._questions = {}
        if len(questions) >= self._limits.questions:
            events.append(Violation("SEC-7", "too many asks wait for their answer"))
            self._answer_ask(message, TOO_MANY)
            return
        self._number = number = self._number + 1
        questions[number] = message.namespace, message.wait
        events.append(Asked(message, number))

    def _answer(self, input_: str, asked: Asked, answer: Message | None) -> None:
        asks = asked.message.namespace, asked.message.wait
        if (self._questions or {}).get(asked.number) != asks:  # or it is another session's
            raise MisuseError(
                f"{input_} is not for now: this ask was answered or withdrawn",
                "answer each Asked once, and none after its AskWithdrawn",
            )
        (self._questions or {}).pop(asked.number)
        if answer is not None:
            self._send(encode(answer))

    # ------------------------------------------------------------ changes of membership

    def _change_asked(self, change: Change, message: Message, events: list[Event]) -> None:
        if not message.wait or message.is_no_op or message.is_error:
            return  # NS-2, NS-10, NS-12
        is_room = change in (Change.JOIN, Change.LEAVE)
        if is_room and not self._is_live(message.namespace):
            self._answer_ask(message, BAD_NAMESPACE)  # RM-6, NS-17
            return
        if not is_room and len(message.room) > self._limits.name:
            # It means nothing here, but a refusal would have to repeat it.
            events.append(Violation("SEC-2", "the room is too long"))
            return
        place = Place(message.namespace, message.room if is_room else "", is_room)
        input_ = "ask-enter" if change is place.entry else "ask-exit"
        self._change(place, input_, events, message=message)

    def _ask_change(self, change: Change, place: Place, deadline: float | None) -> str:
        self._check_frames()
        if place.is_room:
            self._check_live(place.namespace)
            if not place.room:
                raise MisuseError("a room has a name", "name one")
        enters = change is place.entry
        state = self._state(place)
        row = MEMBERSHIP.row(state, "enter" if enters else "exit", lambda _: False)
        if row is None:
            raise MisuseError(f"{change} is not for now: the state is {state!r}", _INSTEAD[state])
        if enters and self._is_full(place):
            raise MisuseError("too many namespaces or rooms", "exit some, or raise the limit")
        token = self._open_ask(
            OpenAsk(change, place, deadline),
            Message(namespace=place.namespace, room=place.room, event=REQUEST_EVENT[change]),
        )
        self._set_state(place, row.next)
        return token

    def _decide(self, input_: str, asked: ChangeAsked, text: str) -> list[Event]:
        place = Place(asked.namespace, asked.room, asked.change in (Change.JOIN, Change.LEAVE))
        judgement = (self._judgements or {}).get(place)
        if judgement is None or judgement.event is not asked:  # equal ones may be another session's
            raise MisuseError(
                f"{input_} is not for now: this ask was decided or withdrawn",
                "decide each ChangeAsked once, and none after its AskWithdrawn",
            )
        if input_ == "deny":
            judgement.asks[0].error_reply(text)  # raises before anything changes
        events: list[Event] = []
        self._change(place, input_, events, text=text)
        return events

    def _change(
        self,
        place: Place,
        input_: str,
        events: list[Event],
        *,
        message: Message | None = None,
        text: str = "",
    ) -> None:
        """Follow the membership table for one namespace or room."""
        state = self._state(place)
        row = MEMBERSHIP.follow(state, input_, lambda guard: _GUARDS[guard](self, place))
        if state in _LIVE and row.next == _OUT and not place.is_room:
            self._drop_inside(place.namespace, events)
        if state in _ASKING and row.next != state and input_ in _ASKED:
            self._overtake(place)
        self._set_state(place, row.next)
        step = Step(row, place, events, message, text)
        for action in row.actions:
            _ACTIONS[action](self, step)

    def _overtake(self, place: Place) -> None:
        asks = self._asks or {}
        for token, ask in asks.items():
            if ask.change is not None and ask.place == place:
                asks[token] = replace(ask, is_overtaken=True)

    def _drop_inside(self, namespace: str, events: list[Event]) -> None:
        """End what a namespace holds: its rooms, and the asks inside it in both directions."""
        space = self._spaces[namespace]
        for room in list(space.rooms or ()):
            self._change(Place(namespace, room, True), "gone", events)
        for token, ask in list((self._asks or {}).items()):
            inside = ask.change is None or ask.place.is_room
            if inside and ask.place.namespace == namespace:
                self._forget_ask(token)
                events.append(AskLost(token))
        for number, (where, _) in list((self._questions or {}).items()):
            if where == namespace and self._questions:
                del self._questions[number]
                events.append(AskWithdrawn(number))

    # The actions of the membership table, by name in _ACTIONS.

    def _reply_done(self, step: Step) -> None:
        self._send(encode(step.ask.empty_reply()))

    def _reply_unknown(self, step: Step) -> None:
        self._answer_ask(step.ask, BAD_ROOM if step.place.is_room else BAD_NAMESPACE)

    def _reply_full(self, step: Step) -> None:
        requirement = step.row.requirements["room" if step.place.is_room else "namespace"][0]
        step.events.append(Violation(requirement, f"too many for one more {step.change}"))
        self._answer_ask(step.ask, TOO_MANY)

    def _judge(self, step: Step) -> None:
        if self._judgements is None:
            self._judgements = {}
        self._number += 1
        namespace, room, _ = step.place
        event = ChangeAsked(step.change, namespace, room, self._number)
        # The body of such an ask means nothing, and a large one is not worth keeping.
        self._judgements[step.place] = Judgement(event, [step.ask.reply()])
        step.events.append(event)

    def _judge_too(self, step: Step) -> None:
        self._judgement(step.place).asks.append(step.ask.reply())

    def _reply_all_done(self, step: Step) -> None:
        for ask in self._take_judgement(step.place).asks:
            self._send(encode(ask.empty_reply()))

    def _reply_all_refused(self, step: Step) -> None:
        for ask in self._take_judgement(step.place).asks:
            self._send(encode(ask.error_reply(step.text)))

    def _withdraw(self, step: Step) -> None:
        step.events.append(AskWithdrawn(self._take_judgement(step.place).event.number))

    def _entered(self, step: Step) -> None:
        namespace, room, _ = step.place
        step.events.append(Changed(step.place.entry, namespace, room, step.cause))

    def _left(self, step: Step) -> None:
        namespace, room, _ = step.place
        step.events.append(Changed(step.place.exit, namespace, room, step.cause))

    def _refused(self, step: Step) -> None:
        body = step.ask.body
        text = body if isinstance(body, str) else body.decode(errors="replace")
        namespace, room, _ = step.place
        step.events.append(ChangeRefused(step.change, namespace, room, text))

    def _lost(self, step: Step) -> None:
        """Nothing to say: the ask itself is told of as lost."""

    # The guards of the membership table, by name in _GUARDS.

    def _is_unknown(self, place: Place) -> bool:
        name = place.room if place.is_room else place.namespace
        if len(name) > self._limits.name:
            return True
        if place.is_room:
            return not name
        return self._namespaces is not None and name not in self._namespaces

    def _is_full(self, place: Place) -> bool:
        if place.is_room:
            return self._room_count >= self._limits.rooms
        return len(self._spaces) >= self._limits.namespaces

    def _decides_entry(self, place: Place) -> bool:
        return place.entry in self._decides

    def _decides_exit(self, place: Place) -> bool:
        return self.role is Role.SERVER and place.exit in self._decides

    def _judging_full(self, place: Place) -> bool:
        return len(self._judgement(place).asks) >= self._limits.repeats

    # ------------------------------------------------------------ small things

    def _judgement(self, place: Place) -> Judgement:
        return (self._judgements or {})[place]

    def _take_judgement(self, place: Place) -> Judgement:
        return (self._judgements or {}).pop(place)

    def _state(self, place: Place) -> str:
        space = self._spaces.get(place.namespace)
        if space is None:
            return _OUT
        return (space.rooms or {}).get(place.room, _OUT) if place.is_room else space.state

    def _set_state(self, place: Place, state: str) -> None:
        space = self._spaces.get(place.namespace)
        if place.is_room:
            if space is None:
                raise AssertionError("a room without its namespace")
            if space.rooms is None:
                space.rooms = {}
            self._room_count -= len(space.rooms)
            if state == _OUT:
                space.rooms.pop(place.room, None)
            else:
                space.rooms[place.room] = state
            self._room_count += len(space.rooms)
        elif state == _OUT:
            self._spaces.pop(place.namespace, None)
        elif space is None:
            self._spaces[place.namespace] = Space(state)
        else:
            space.state = state

    def _is_live(self, namespace: str, room: str = "") -> bool:
        space = self._spaces.get(namespace)
        if space is None or space.state not in _LIVE:
            return False
        return not room or (space.rooms or {}).get(room, _OUT) in _LIVE

    def _open_ask(self, ask: OpenAsk, message: Message) -> str:
        """Send an ask under a new token."""
        if self._asks is None:
            self._asks = {}
        if len(self._asks) >= self._limits.asks:
            raise MisuseError("too many asks are open", "wait for replies, or raise the limit")
        if not self._are_short(message):  # a reply repeats them, and would be dropped
            raise MisuseError(
                f"a name has more than {self._limits.name} characters", "raise the limit"
            )
        token = self._tokens()
        is_clients = token.startswith(CLIENT_PREFIX)
        if is_clients is not (self.role is _CLIENT) or not 0 < len(token) <= self._limits.token:
            raise MisuseError(
                f"the token {token[:40]!r} is not of a {self.role}'s form (AR-2, AR-3)",
                "make the session with tokens for its role, such as WaitTokens(client=...)",
            )
        payload = encode(message.replace(wait=token))
        self._asks[token] = ask
        self._send(payload)
        return token

    def _forget_ask(self, token: str) -> None:
        """Close an ask, and remember its token for a while to know a late reply by."""
        (self._asks or {}).pop(token, None)
        if self._past is None:
            self._past = {}
        self._past[token] = None
        if len(self._past) > PAST_TOKENS:
            del self._past[next(iter(self._past))]

    def _send(self, payload: str | bytes) -> None:
        if self._outgoing is None:
            self._outgoing = []
        self._outgoing.append(payload)

    def _check_open(self) -> None:
        if self._phase != _OPEN:
            raise MisuseError("the handshake is not complete", _INSTEAD[self._phase])

    def _check_frames(self) -> None:
        self._check_open()
        if self._native is Native.ONLY:
            raise MisuseError("a native-only session has no namespaces", "call send_native")

    def _check_live(self, namespace: str, room: str = "") -> None:
        self._check_frames()
        if not self._is_live(namespace):
            raise MisuseError(f"namespace {namespace!r} is not connected", "connect it first")
        if room and not self._is_live(namespace, room):
            raise MisuseError(f"room {room!r} is not joined", "join it first")


_GUARDS: Final[dict[str, Callable[[Session, Place], bool]]] = {
    "unknown": Session._is_unknown,
    "full": Session._is_full,
    "decides-entry": Session._decides_entry,
    "decides-exit": Session._decides_exit,
    "judging-full": Session._judging_full,
}
_ACTIONS: Final[dict[str, Callable[[Session, Step], None]]] = {
    "reply-done": Session._reply_done,
    "reply-unknown": Session._reply_unknown,
    "reply-full": Session._reply_full,
    "judge": Session._judge,
    "judge-too": Session._judge_too,
    "reply-all-done": Session._reply_all_done,
    "reply-all-refused": Session._reply_all_refused,
    "withdraw": Session._withdraw,
    "entered": Session._entered,
    "left": Session._left,
    "forced": Session._left,
    "refused": Session._refused,
    "lost": Session._lost,
}
