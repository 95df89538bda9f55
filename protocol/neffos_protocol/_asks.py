"""The asks of a session, in both directions: what the tables ``*-ask`` say.

A reply repeats the wait field of its ask, whatever its form (AR-18, SX-10), in the message type of
the ask (AR-16), and each ask gets one at most (AR-22). Pending asks end with the connection
(AR-14).

Whether a change of membership follows on the reply to a system ask is not known here.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from typing import Final

from neffos_codec import Message, Native, WaitKind, encode, parse_wait
from neffos_protocol._core import MisuseError, SessionCore
from neffos_protocol._records import MutableRecord
from neffos_protocol.events import (
    AskCancelled,
    Asked,
    AskExpired,
    AskSent,
    AskWithdrawn,
    Change,
    Event,
    MembershipKey,
    ProtocolViolation,
    Received,
    Replied,
    Role,
    UnmatchedReply,
)
from neffos_protocol.limits import SessionLimits
from neffos_protocol.names import (
    CHANGE_OF,
    CLIENT_PREFIX,
    EXCHANGE_MARKER,
    LOCAL_ONLY,
    TOO_MANY,
)
from neffos_protocol.state_machines import (
    INCOMING_ASK,
    OUTGOING_ASK,
    Action,
    AskState,
    Input,
)

SETTLED_TOKENS: Final = 32
"""Tokens of settled asks that are remembered, to tell late and repeated replies from asks (AR-21).
Together they take 4 KiB. A reply that is later than so many asks is not worth more."""

# Looking up a member in its enumeration takes as long as a call.
_CLIENT: Final = Role.CLIENT
_NONE: Final = AskState.NONE
_PENDING: Final = AskState.PENDING
_REPLY: Final = Input.REPLY
_ERROR: Final = Input.ERROR
_CLIENT_ASK: Final = WaitKind.CLIENT_ASK
NO_MESSAGE: Final = Message()

# Each table has one guard: the rows where it does not hold, and where it does.
_OUTGOING_ROWS: Final = OUTGOING_ASK.rows_where(False), OUTGOING_ASK.rows_where(True)
_INCOMING_ROWS: Final = INCOMING_ASK.rows_where(False), INCOMING_ASK.rows_where(True)


class PendingAsk(MutableRecord):
    """An ask of this peer without its reply.

    Attributes:
        change: what a system ask asks for; ``None`` for an event ask.
        key: the membership of a system ask; the namespace of an event ask.
        deadline: when it expires, unless that is never or was.
        is_superseded: the other peer's ask has brought about the same. A later ask for the same
            is then not settled by the reply to this one.
    """

    change: Change | None
    key: MembershipKey
    deadline: float | None
    is_superseded: bool = False

    @property
    def is_inside(self) -> bool:
        """Whether it ends with its namespace: an event ask, or a room's."""
        return self.change is None or self.key.room is not None


_NO_ASK: Final = PendingAsk(None, MembershipKey(""), None)


class AskStep(MutableRecord):
    """A transition of an outgoing ask, and what it is made with.

    Attributes:
        token: of the ask.
        events: takes the events for the application.
        ask: the ask, where one is pending or becomes it.
        payload: its frame, when it is sent.
        reply: the message that answers it, when one does.
    """

    token: str
    events: list[Event]
    ask: PendingAsk
    payload: str | bytes = ""
    reply: Message = NO_MESSAGE


class AskTracking(SessionCore):
    """The pending asks of both peers.

    An ask of the other peer that the application is to answer is kept by its number.
    """

    __slots__ = ("_incoming", "_pending", "_settled")

    def __init__(
        self,
        role: Role,
        id_: str,
        tokens: Callable[[], str],
        native: Native,
        limits: SessionLimits,
    ) -> None:
        super().__init__(role, id_, tokens, native, limits)
        self._pending: dict[str, PendingAsk] | None = None
        self._settled: dict[str, None] | None = None
        self._incoming: dict[int, tuple[str, str]] | None = None

    @abstractmethod
    def _is_live(self, namespace: str, room: str = "") -> bool:
        """Whether a namespace is connected, and a room of it joined where one is named."""

    @abstractmethod
    def _system_ask_replied(self, ask: PendingAsk, reply: Message, events: list[Event]) -> None:
        """Do what follows on the reply to a system ask."""

    # ------------------------------------------------------------ asks of this peer

    def _prepare(
        self, namespace: str, room: str, event: str, body: str | bytes = ""
    ) -> tuple[str, str | bytes]:
        """Give an ask its token and its payload; nothing changes.

        Raises:
            MisuseError: too many asks are pending, a name is too long, or the token is wrong.
            EncodeError: a frame cannot carry the message.
        """
        if len(self._pending or ()) >= self._limits.outgoing_asks:
            raise MisuseError("too many asks are pending", "wait for replies, or raise the limit")
        if not self._are_short(namespace, room, event):  # a reply repeats them, and is dropped
            raise MisuseError(
                f"a name has more than {self._limits.name} characters", "raise the limit"
            )
        rest = encode(Message("", namespace, room, event, False, False, body))
        token = self._tokens()
        is_clients = token[:1] == CLIENT_PREFIX
        is_marked = token[1:2] == EXCHANGE_MARKER  # AR-23
        is_of_role = is_clients is (self.role is _CLIENT) and not is_marked
        if not is_of_role or not 0 < len(token) <= self._limits.token:
            raise MisuseError(
                f"the token {token[:40]!r} is not of a {self.role}'s form (AR-2, AR-3, AR-23)",
                "make the session with tokens for its role, such as WaitTokens(client=...)",
            )
        if ";" in token or not token.isascii():
            Message(token)  # raises where a frame cannot carry it
        return token, token + rest if isinstance(rest, str) else token.encode() + rest

    def _are_short(self, namespace: str, room: str, event: str) -> bool:
        longest = max(len(namespace), len(room), 0 if event in CHANGE_OF else len(event))
        return longest <= self._limits.name

    def _follow_ask(self, state: AskState, input_: Input, step: AskStep) -> None:
        """Follow the table of outgoing asks."""
        row = _OUTGOING_ROWS[step.ask.change is not None][state, input_]
        if state is _PENDING and row.next is _NONE:
            self._forget_ask(step.token)
        for action in row.actions:
            _OUTGOING[action](self, step)

    def _forget_ask(self, token: str) -> None:
        """Settle an ask, and remember its token for a while to recognise a late reply."""
        (self._pending or {}).pop(token, None)
        if self._settled is None:
            self._settled = {}
        self._settled[token] = None
        if len(self._settled) > SETTLED_TOKENS:
            del self._settled[next(iter(self._settled))]

    def _is_reply(self, wait: str, message: Message, events: list[Event]) -> bool:
        """Whether a message answers an ask of this peer, or did; if so it is dealt with."""
        meaning = parse_wait(wait)
        input_ = _ERROR if message.is_error else _REPLY
        for token in (wait, meaning.token):
            ask = self._pending.get(token) if self._pending else None
            if ask is not None:
                self._follow_ask(_PENDING, input_, AskStep(token, events, ask, reply=message))
                return True
        unmatched = AskStep(wait, events, _NO_ASK, reply=message)
        if self._settled and (wait in self._settled or meaning.token in self._settled):
            self._follow_ask(_NONE, input_, unmatched)  # AR-21: it is not an ask
            return True
        if self.role is _CLIENT and meaning.kind is _CLIENT_ASK:
            is_answer = message.is_error or message.is_empty_reply or message.event in CHANGE_OF
            is_local = message.event in LOCAL_ONLY  # EV-4
            if is_answer or is_local or not self._is_live(message.namespace):
                self._follow_ask(_NONE, input_, unmatched)
                return True
            # A server that broadcasts the event of another client's ask leaves that token in.
            explanation = f"the token {wait!r} is another client's"
            events += ProtocolViolation("AR-17", explanation), Received(message)
            return True
        if self.role is not _CLIENT and meaning.kind is not _CLIENT_ASK:
            # Some clients make tokens of another form, and want replies all the same (AR-13).
            explanation = f"the token {wait!r} does not begin with '$'"
            events.append(ProtocolViolation("AR-2", explanation))
        return False

    def _expire(self, now: float, events: list[Event]) -> None:
        for token, ask in list((self._pending or {}).items()):
            if ask.deadline is not None and ask.deadline <= now:
                ask.deadline = None
                self._follow_ask(_PENDING, Input.DEADLINE, AskStep(token, events, ask))

    # The actions of the table, by name in _OUTGOING.

    def _send_ask(self, step: AskStep) -> None:
        if self._pending is None:
            self._pending = {}
        self._pending[step.token] = step.ask
        self._send(step.payload)
        step.events.append(AskSent(step.token))

    def _replied(self, step: AskStep) -> None:
        if step.ask.change is None:
            step.events.append(Replied(step.token, step.reply))
        else:
            self._system_ask_replied(step.ask, step.reply, step.events)

    def _unmatched(self, step: AskStep) -> None:
        step.events.append(UnmatchedReply(step.reply))

    def _expired(self, step: AskStep) -> None:
        step.events.append(AskExpired(step.token))

    def _cancelled(self, step: AskStep) -> None:
        step.events.append(AskCancelled(step.token))

    # ------------------------------------------------------------ asks of the other peer

    def _answer_ask(self, message: Message, text: str) -> None:
        """Refuse an ask that cannot have another reply, unless it may be a reply itself."""
        if message.wait and not message.is_error:
            self._send(encode(message.error_reply(text)))

    def _asked(self, namespace: str, wait: str, message: Message, events: list[Event]) -> None:
        """Follow the table of incoming asks for an event ask."""
        incoming = self._incoming
        if incoming is None:
            incoming = self._incoming = {}
        is_pending, actions = _ON_ASKED[len(incoming) >= self._limits.incoming_asks]
        if is_pending:
            self._number += 1
            incoming[self._number] = namespace, wait
        for action in actions:
            action(self, self._number, message, events)

    def _answer(self, input_: Input, asked: Asked, answer: Message) -> list[Event]:
        """Follow the table of incoming asks for a command of the application."""
        incoming = self._incoming or {}
        ask = asked.message.namespace, asked.message.wait
        is_pending = incoming.get(asked.number) == ask  # else it may be another session's
        row = _INCOMING_ROWS[False].get((_PENDING if is_pending else _NONE, input_))
        if row is None:
            raise MisuseError(
                f"{input_} is not for now: this ask was answered or withdrawn",
                "answer each Asked once, and none after its AskWithdrawn",
            )
        del incoming[asked.number]
        events: list[Event] = []
        for action in row.actions:
            _INCOMING[action](self, asked.number, answer, events)
        return events

    def _cancel_asks(self, events: list[Event], namespace: str | None = None) -> None:
        """End the asks inside a namespace in both directions, or all of this peer."""
        for token, ask in list((self._pending or {}).items()):
            if namespace is None or (ask.is_inside and ask.key.namespace == namespace):
                self._follow_ask(_PENDING, Input.CLOSED, AskStep(token, events, ask))
        for number, (where, _) in list((self._incoming or {}).items()):
            if where == namespace and self._incoming:
                del self._incoming[number]
                for action in _INCOMING_ROWS[False][_PENDING, Input.CLOSED].actions:
                    _INCOMING[action](self, number, NO_MESSAGE, events)

    # The actions of the table, by name in _INCOMING.

    def _reply_full(self, _: int, message: Message, events: list[Event]) -> None:
        events.append(ProtocolViolation("SEC-7", "too many asks wait for their answer"))
        self._answer_ask(message, TOO_MANY)

    def _deliver(self, number: int, message: Message, events: list[Event]) -> None:
        events.append(Asked(message, number))

    def _send_answer(self, _: int, answer: Message, events: list[Event]) -> None:
        self._send(encode(answer))

    def _withdraw_ask(self, number: int, _: Message, events: list[Event]) -> None:
        events.append(AskWithdrawn(number))


_OUTGOING: Final[dict[Action, Callable[[AskTracking, AskStep], None]]] = {
    Action.SEND: AskTracking._send_ask,
    Action.REPLIED: AskTracking._replied,
    Action.REFUSED: AskTracking._replied,
    Action.UNMATCHED: AskTracking._unmatched,
    Action.EXPIRED: AskTracking._expired,
    Action.CANCELLED: AskTracking._cancelled,
}
_INCOMING: Final[dict[Action, Callable[[AskTracking, int, Message, list[Event]], None]]] = {
    Action.REPLY_FULL: AskTracking._reply_full,
    Action.DELIVER: AskTracking._deliver,
    Action.SEND_REPLY: AskTracking._send_answer,
    Action.SEND_ERROR: AskTracking._send_answer,
    Action.WITHDRAW: AskTracking._withdraw_ask,
}
_ON_ASKED: Final = [
    (row.next is _PENDING, [_INCOMING[action] for action in row.actions])
    for row in (rows[_NONE, Input.ASKED] for rows in _INCOMING_ROWS)
]
"""The rows for an event ask, where there is room for it and where there is not."""
