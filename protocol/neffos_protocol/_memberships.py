"""The memberships of a session: what the table ``membership`` says, for namespaces and rooms.

An ask for what holds already gets the empty reply (NS-5, NS-8, RM-4, RM-5), and so does one that
was performed (AR-8); a refusal gets the application's error text and changes nothing (NS-7, RM-3,
RM-7, AR-20). A room without a name is refused (RM-12). The namespace without one is like any other
(NS-15). A connected namespace is so from the reply on (NS-16), as a joined room is (RM-14), and
until its own disconnect is confirmed (NS-19) or the other peer's ask does the same, which ends the
own one, for rooms as well (RM-13). The end of the connection ends all of them without a frame
(TR-15). What this side sends has a token and is checked first (NS-11, NS-20).
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Container
from typing import Final, cast

from neffos_codec import Message, Native, encode, parse_wait
from neffos_protocol._asks import NO_MESSAGE, AskStep, AskTracking, PendingAsk
from neffos_protocol._core import INSTEAD, MisuseError
from neffos_protocol._records import MutableRecord
from neffos_protocol.events import (
    AskWithdrawn,
    Cause,
    Change,
    ChangeAsked,
    Changed,
    ChangeRefused,
    Event,
    MembershipKey,
    ProtocolViolation,
    Role,
)
from neffos_protocol.limits import SessionLimits
from neffos_protocol.names import (
    BAD_NAMESPACE,
    BAD_ROOM,
    CHANGE_OF,
    EXCHANGE_MARKER,
    REQUEST_EVENT,
    TOO_MANY,
)
from neffos_protocol.state_machines import (
    MEMBERSHIP,
    Action,
    AskState,
    Guard,
    Input,
    MembershipState,
    Transition,
)

_DISCONNECTED: Final = MembershipState.DISCONNECTED
_LIVE: Final = MEMBERSHIP.live
_ASKING: Final = frozenset({MembershipState.CONNECTING, MembershipState.DISCONNECTING})
_ASKED: Final = frozenset({Input.ASK_CONNECT, Input.ASK_DISCONNECT})
_OWN: Final = frozenset({Input.CONNECT_DONE, Input.DISCONNECT_DONE})
"""The inputs by which something happens that this peer has asked for."""


class NamespaceState(MutableRecord):
    """A namespace that is not just disconnected: its state, and its rooms that are not."""

    state: MembershipState
    rooms: dict[str, MembershipState] | None = None


class Decision(MutableRecord):
    """Asks of the peer for one change, waiting for the application's decision."""

    event: ChangeAsked
    asks: list[Message]


class MembershipStep(MutableRecord):
    """A transition of a membership, and what it is made with.

    Attributes:
        row: the transition.
        key: the membership.
        events: takes the events for the application.
        message: the peer's message that it follows on, if it does.
        text: that of a refusal.
        ask: the ask to send, if it sends one.
    """

    row: Transition[MembershipState]
    key: MembershipKey
    events: list[Event]
    message: Message
    text: str
    ask: AskStep | None

    @property
    def change(self) -> Change:
        """The change that its input is about."""
        return self.key.exit if "disconnect" in self.row.input else self.key.entry

    @property
    def cause(self) -> Cause:
        """Why something began or ended."""
        if self.row.input is Input.CLOSED:
            return Cause.FORCED
        return Cause.LOCAL if self.row.input in _OWN else Cause.PEER

    def changed(self, change: Change) -> None:
        """Tell the application that a change has come about."""
        self.events.append(Changed(change, self.key.namespace, self.key.room or "", self.cause))


class MembershipTracking(AskTracking):
    """What is connected and joined, or about to be."""

    __slots__ = ("_decides", "_decisions", "_namespaces", "_room_count", "_spaces")

    def __init__(
        self,
        decides: frozenset[Change],
        namespaces: Container[str] | None,
        role: Role,
        id_: str,
        tokens: Callable[[], str],
        native: Native,
        limits: SessionLimits,
    ) -> None:
        super().__init__(role, id_, tokens, native, limits)
        self._decides = decides
        self._namespaces = namespaces
        self._room_count = 0
        self._spaces: dict[str, NamespaceState] = {}
        self._decisions: dict[MembershipKey, Decision] | None = None

    @abstractmethod
    def _read_held(self, events: list[Event]) -> None:
        """Take what waits for a decision."""

    # ------------------------------------------------------------ the states

    def _state(self, key: MembershipKey) -> MembershipState:
        space = self._spaces.get(key.namespace)
        if space is None:
            return _DISCONNECTED
        if key.room is None:
            return space.state
        return (space.rooms or {}).get(key.room, _DISCONNECTED)

    def _set_state(self, key: MembershipKey, state: MembershipState) -> None:
        namespace, room = key
        space = self._spaces.get(namespace)
        if room is not None:
            if space is None:
                raise AssertionError("a room without its namespace")
            if space.rooms is None:
                space.rooms = {}
            self._room_count -= len(space.rooms)
            if state is _DISCONNECTED:
                space.rooms.pop(room, None)
            else:
                space.rooms[room] = state
            self._room_count += len(space.rooms)
        elif state is _DISCONNECTED:
            self._spaces.pop(namespace, None)
        elif space is None:
            self._spaces[namespace] = NamespaceState(state)
        else:
            space.state = state

    def _is_live(self, namespace: str, room: str = "") -> bool:
        space = self._spaces.get(namespace)
        if space is None or space.state not in _LIVE:
            return False
        return not room or (space.rooms or {}).get(room) in _LIVE

    def _check_live(self, namespace: str, room: str = "") -> None:
        self._check_frames()
        if not self._is_live(namespace):
            raise MisuseError(f"namespace {namespace!r} is not connected", "connect it first")
        if room and not self._is_live(namespace, room):
            raise MisuseError(f"room {room!r} is not joined", "join it first")

    # ------------------------------------------------------------ inputs

    def _follow(
        self,
        key: MembershipKey,
        input_: Input,
        events: list[Event],
        *,
        message: Message = NO_MESSAGE,
        text: str = "",
        ask: AskStep | None = None,
    ) -> None:
        """Follow the table for one namespace or room."""
        state = self._state(key)
        row = MEMBERSHIP.follow(state, input_, lambda guard: _GUARDS[guard](self, key))
        if state in _LIVE and row.next is _DISCONNECTED and key.room is None:
            self._end_inside(key.namespace, events)
        if state in _ASKING and row.next is not state and input_ in _ASKED:
            self._supersede(key)
        self._set_state(key, row.next)
        step = MembershipStep(row, key, events, message, text, ask)
        for action in row.actions:
            _ACTIONS[action](self, step)

    def _end_inside(self, namespace: str, events: list[Event]) -> None:
        """End the rooms of a namespace, and the asks inside it in both directions."""
        for room in list(self._spaces[namespace].rooms or ()):
            self._follow(MembershipKey(namespace, room), Input.CLOSED, events)
        self._cancel_asks(events, namespace)

    def _supersede(self, key: MembershipKey) -> None:
        for ask in (self._pending or {}).values():
            if ask.change is not None and ask.key == key:
                ask.is_superseded = True

    def _change_asked(self, change: Change, message: Message, events: list[Event]) -> None:
        """Take a system ask of the peer."""
        if not message.wait or message.is_no_op or message.is_error:
            return  # NS-2, NS-10, NS-12
        if change.is_of_room and not self._is_live(message.namespace):
            self._answer_ask(message, BAD_NAMESPACE)  # RM-6, NS-17
            return
        if not change.is_of_room and len(message.room) > self._limits.name:
            # It means nothing here, but a refusal would have to repeat it.
            events.append(ProtocolViolation("SEC-2", "the room is too long"))
            return
        key = MembershipKey.of(change, message.namespace, message.room)
        self._follow(key, Input(f"ask-{change.direction}"), events, message=message)

    def _system_ask_replied(self, ask: PendingAsk, reply: Message, events: list[Event]) -> None:
        change = cast(Change, ask.change)
        is_done = reply.is_empty_reply
        if not is_done and not reply.is_error:
            # Its sender did not do what was asked, whatever the body says (AR-19).
            explanation = f"the reply to a {change} is neither empty nor an error"
            events.append(ProtocolViolation("AR-20", explanation))
        if not ask.is_superseded:  # or it would settle a later ask for the same (AR-11, NS-18)
            outcome = "done" if is_done else "error"
            self._follow(ask.key, Input(f"{change.direction}-{outcome}"), events, message=reply)

    def _ask_change(
        self, change: Change, key: MembershipKey, deadline: float | None
    ) -> list[Event]:
        """Send a system ask of this peer."""
        self._check_frames()
        namespace, room = key
        if room is not None:
            self._check_live(namespace)
            if not room:
                raise MisuseError("a room has a name", "name one")
        state = self._state(key)
        if MEMBERSHIP.row(state, change.direction, lambda _: False) is None:
            raise MisuseError(f"{change} is not for now: the state is {state!s}", INSTEAD[state])
        if change.is_entry and self._is_full(key):
            raise MisuseError("too many namespaces or rooms", "leave some, or raise the limit")
        token, payload = self._prepare(namespace, room or "", REQUEST_EVENT[change])
        events: list[Event] = []
        ask = AskStep(token, events, PendingAsk(change, key, deadline), payload)
        self._follow(key, Input(change.direction), events, ask=ask)
        return events

    def _decide(self, input_: Input, asked: ChangeAsked, text: str) -> list[Event]:
        """Carry out the application's decision on a system ask of the peer."""
        key = MembershipKey.of(asked.change, asked.namespace, asked.room)
        decision = (self._decisions or {}).get(key)
        if decision is None or decision.event is not asked:  # equal ones may be another session's
            raise MisuseError(
                f"{input_} is not for now: this ask was decided or withdrawn",
                "decide each ChangeAsked once, and none after its AskWithdrawn",
            )
        if input_ is Input.DENY:
            decision.asks[0].error_reply(text)  # raises before anything changes
        events: list[Event] = []
        self._follow(key, input_, events, text=text)
        self._read_held(events)
        return events

    def _overtakes(self, message: Message, is_next: bool) -> bool:
        """Whether a message waits for no other; see ``Session.overtakes``."""
        wait = message.wait
        change = CHANGE_OF.get(message.event)
        key = MembershipKey.of(change, message.namespace, message.room)
        if change is Change.CONNECT and self._is_unknown(key):
            return True
        if is_next and change is Change.DISCONNECT and not self._decides_disconnect(key):
            return True
        pending = self._pending
        if not pending:
            return False
        if wait in pending or (EXCHANGE_MARKER in wait and parse_wait(wait).token in pending):
            return True
        if self._state(MembershipKey(message.namespace)) in _ASKING:
            return True
        return change is not None and self._state(key) in _ASKING

    # The actions of the table, by name in _ACTIONS.

    def _ask(self, step: MembershipStep) -> None:
        self._follow_ask(AskState.NONE, Input.SEND, cast(AskStep, step.ask))

    def _reply_done(self, step: MembershipStep) -> None:
        self._send(encode(step.message.empty_reply()))

    def _reply_unknown(self, step: MembershipStep) -> None:
        self._answer_ask(step.message, BAD_NAMESPACE if step.key.room is None else BAD_ROOM)

    def _reply_too_many(self, step: MembershipStep) -> None:
        requirement = step.row.requirements["namespace" if step.key.room is None else "room"][0]
        explanation = f"too many for one more {step.change}"
        step.events.append(ProtocolViolation(requirement, explanation))
        self._answer_ask(step.message, TOO_MANY)

    def _ask_application(self, step: MembershipStep) -> None:
        if self._decisions is None:
            self._decisions = {}
        self._number += 1
        event = ChangeAsked(step.change, step.key.namespace, step.key.room or "", self._number)
        # The body of such an ask means nothing, and a large one is not worth keeping.
        self._decisions[step.key] = Decision(event, [step.message.reply()])
        step.events.append(event)

    def _queue(self, step: MembershipStep) -> None:
        self._decision(step.key).asks.append(step.message.reply())

    def _reply_all_done(self, step: MembershipStep) -> None:
        for ask in self._take_decision(step.key).asks:
            self._send(encode(ask.empty_reply()))

    def _reply_all_refused(self, step: MembershipStep) -> None:
        for ask in self._take_decision(step.key).asks:
            self._send(encode(ask.error_reply(step.text)))

    def _withdraw(self, step: MembershipStep) -> None:
        step.events.append(AskWithdrawn(self._take_decision(step.key).event.number))

    def _connected(self, step: MembershipStep) -> None:
        step.changed(step.key.entry)

    def _disconnected(self, step: MembershipStep) -> None:
        step.changed(step.key.exit)

    def _refused(self, step: MembershipStep) -> None:
        body = step.message.body
        text = body if isinstance(body, str) else body.decode(errors="replace")
        namespace, room = step.key
        step.events.append(ChangeRefused(step.change, namespace, room or "", text))

    def _ask_cancelled(self, step: MembershipStep) -> None:
        """Nothing to report: the ask itself is reported as cancelled."""

    # The guards of the table, by name in _GUARDS.

    def _is_unknown(self, key: MembershipKey) -> bool:
        name = key.namespace if key.room is None else key.room
        if len(name) > self._limits.name:
            return True
        if key.room is not None:
            return not name
        return self._namespaces is not None and name not in self._namespaces

    def _is_full(self, key: MembershipKey) -> bool:
        if key.room is None:
            return len(self._spaces) >= self._limits.namespaces
        return self._room_count >= self._limits.rooms

    def _decides_connect(self, key: MembershipKey) -> bool:
        return key.entry in self._decides

    def _decides_disconnect(self, key: MembershipKey) -> bool:
        return self.role is Role.SERVER and key.exit in self._decides

    def _is_deciding_full(self, key: MembershipKey) -> bool:
        return len(self._decision(key).asks) >= self._limits.repeats

    def _decision(self, key: MembershipKey) -> Decision:
        return (self._decisions or {})[key]

    def _take_decision(self, key: MembershipKey) -> Decision:
        return (self._decisions or {}).pop(key)


_GUARDS: Final[dict[Guard, Callable[[MembershipTracking, MembershipKey], bool]]] = {
    Guard.UNKNOWN: MembershipTracking._is_unknown,
    Guard.FULL: MembershipTracking._is_full,
    Guard.DECIDES_CONNECT: MembershipTracking._decides_connect,
    Guard.DECIDES_DISCONNECT: MembershipTracking._decides_disconnect,
    Guard.DECIDING_FULL: MembershipTracking._is_deciding_full,
}
_ACTIONS: Final[dict[Action, Callable[[MembershipTracking, MembershipStep], None]]] = {
    Action.ASK: MembershipTracking._ask,
    Action.REPLY_DONE: MembershipTracking._reply_done,
    Action.REPLY_UNKNOWN: MembershipTracking._reply_unknown,
    Action.REPLY_FULL: MembershipTracking._reply_too_many,
    Action.ASK_APPLICATION: MembershipTracking._ask_application,
    Action.QUEUE: MembershipTracking._queue,
    Action.REPLY_ALL_DONE: MembershipTracking._reply_all_done,
    Action.REPLY_ALL_REFUSED: MembershipTracking._reply_all_refused,
    Action.WITHDRAW: MembershipTracking._withdraw,
    Action.CONNECTED: MembershipTracking._connected,
    Action.DISCONNECTED: MembershipTracking._disconnected,
    Action.FORCED: MembershipTracking._disconnected,
    Action.REFUSED: MembershipTracking._refused,
    Action.CANCELLED: MembershipTracking._ask_cancelled,
}
