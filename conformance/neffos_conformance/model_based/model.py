"""What a correct peer with the conformance application does: the oracle of a test sequence.

The model follows the state tables for each connection, namespace and room, and knows the
application (``data/application.toml``). For each action it says what the suite sends, and what
the peer must send or report. It does no I/O: the runner tells it what arrived.

A peer may handle messages one after the other, or go on while a handler waits for the suite. So
while a handler's ask is pending, what is due may come now or after the answer. The model refuses
actions whose effect would depend on which of the two a peer does.
"""

from __future__ import annotations

from typing import Final

from neffos_codec import ESCAPE, Message, encode
from neffos_conformance.model_based import tables
from neffos_conformance.model_based.actions import Action, ActionKind
from neffos_conformance.model_based.expected import (
    EITHER,
    FAILURE,
    SUCCESS,
    DriverCommand,
    DriverLog,
    ExpectedMessage,
    Fields,
    Output,
    Payload,
    Scope,
    is_room_of,
)
from neffos_conformance.model_based.opening import end_connection, open_connection, send_non_frame
from neffos_conformance.model_based.sending import answer, send
from neffos_conformance.model_based.state import PeerAsk, SutState
from neffos_conformance.runner.driver_protocol import fields_of
from neffos_conformance.wire.payloads import frame_of
from neffos_protocol.events import Change, MembershipKey
from neffos_protocol.names import CHANGE_OF, LOCAL_ONLY, REQUEST_EVENT
from neffos_protocol.state_machines import MEMBERSHIP, OUTGOING_ASK

CHANGES: Final = {change.value: change for change in Change}
"""The operations that send a system ask."""


def command(state: SutState, action: Action) -> list[Output] | None:
    """Have the client do something; ``None`` as for ``SutModel.perform``."""
    connection = state.connections[action.connection]
    op = action.how
    scope: Scope = (action.namespace, None)
    log = DriverLog(action.connection, op)
    before = connection.state(scope)
    if op == "close":
        state.forbidden_by[action.number] = "TR-15"
        log.settle("TR-12", SUCCESS)
        connection.ending = "TR-12"
        state.release(connection)
    else:
        expect = _EXPECT.get(op, _system_ask)
        if scope in connection.undecided or not expect(state, action, log):
            return None
    endpoint = connection.endpoint
    state.note(
        action,
        f"command {op} {endpoint.kind_of(scope)} {before} {bool(action.room)} "
        f"{type(action.body).__name__} {endpoint.kind_of_event(action.event)} "
        f"{frame_of(action.body) is not None}",
    )
    state.operations[action.number] = log
    return [Output(action.connection, DriverCommand(op, _fields(action)))]


def _system_ask(state: SutState, action: Action, log: DriverLog) -> bool:
    """Have the client send a system ask, where the tables permit one."""
    connection = state.connections[action.connection]
    change, namespace = CHANGES[action.how], action.namespace
    is_room = change.is_of_room
    scope: Scope = (namespace, action.room if is_room else None)
    endpoint = connection.endpoint
    is_declared = namespace in endpoint.handlers and not endpoint.refusal(
        scope, tables.DISCONNECTED, Change.JOIN if is_room else Change.CONNECT
    )
    if not is_declared or scope in connection.undecided:
        return False
    if is_room and connection.state((namespace, None)) != tables.CONNECTED:
        return False
    if any(scope in rooms for rooms in connection.leaving.values()):
        return False
    pending = state.pending_asks(action.connection)
    if any(ask.change is not None and ask.scope == scope for _, ask in pending):
        return False  # the tables do not say which of two asks a late reply would settle
    if MEMBERSHIP.row(connection.state(scope), change.direction, lambda _: False) is None:
        return False
    log.scope = scope
    asked = Message("$", namespace, scope[1] or "", REQUEST_EVENT[change])
    state.expect(action, asked, tables.ASK_REQUIREMENTS[change], is_ask=True)
    state.forbidden_by[action.number] = "NS-14" if change is Change.DISCONNECT else "AR-22"
    state.changed_by[action.connection, scope] = action.number
    return True


def _leave_all(state: SutState, action: Action, log: DriverLog) -> bool:
    connection = state.connections[action.connection]
    namespace = action.namespace
    rooms = [each for each in connection.memberships if is_room_of(each, namespace)]
    if connection.state((namespace, None)) != tables.CONNECTED:
        return False
    if any(is_room_of(each, namespace) for each in connection.undecided):
        return False
    if any(connection.state(each) != tables.CONNECTED for each in rooms):
        return False
    state.forbidden_by[action.number] = "RM-8"
    if not rooms:
        log.settle("RM-8", *EITHER)
        return True
    log.scope = (namespace, None)
    connection.leaving[action.number] = list(rooms)
    for scope in rooms:
        asked = Message("$", namespace, scope[1] or "", REQUEST_EVENT[Change.LEAVE])
        state.expect(action, asked, "RM-8", is_ask=True)
        state.changed_by[action.connection, scope] = action.number
    return True


def _event(state: SutState, action: Action, log: DriverLog) -> bool:
    """Have the client send an event, with a token or without."""
    connection = state.connections[action.connection]
    namespace, room, number = action.namespace, action.room, action.number
    before = connection.state((namespace, None))
    inside = connection.state((namespace, room)) if room else tables.CONNECTED
    if {before, inside} - {tables.CONNECTED, tables.DISCONNECTED} or (
        namespace,
        room,
    ) in connection.undecided:
        return False
    requirement = ""
    if before == tables.DISCONNECTED:
        requirement = "NS-11"
    elif inside == tables.DISCONNECTED:
        requirement = "RM-10"
    elif ESCAPE in action.event:
        requirement = "FR-4"
    elif action.event in LOCAL_ONLY:
        requirement = "EV-5"
    if requirement:
        state.forbidden_by[number] = requirement
        log.settle(requirement, *(EITHER if requirement == "EV-5" else (FAILURE,)))
        return True
    is_ask = action.how == "ask"
    event = Message("$" if is_ask else "", namespace, room, action.event, body=action.body)
    state.expect(action, event, "FR-10", is_ask=is_ask)
    state.forbidden_by[number] = "AR-22"
    if is_ask:
        log.scope = (namespace, None)
    else:
        log.settle("AR-11", SUCCESS)
    return True


def _native(state: SutState, action: Action, log: DriverLog) -> bool:
    connection = state.connections[action.connection]
    if connection.state(("", None)) != tables.CONNECTED or action.namespace or not action.body:
        return False
    state.forbidden_by[action.number] = "NM-3"
    if frame_of(action.body) is not None:
        log.settle("NM-3", FAILURE)
        return True
    state.expect(action, action.body, "FR-11")
    log.settle("AR-11", SUCCESS)
    return True


_EXPECT: Final = {"leave-all": _leave_all, "emit": _event, "ask": _event, "native": _native}
"""What to expect of each operation that sends no system ask."""


def _fields(action: Action) -> Fields:
    """Give the fields of an operation, without its connection."""
    op = action.how
    if op == "close":
        return {}
    if op == "native":
        return fields_of(action.body)
    fields: Fields = {"namespace": action.namespace}
    if op in ("join", "leave") or action.room:
        fields["room"] = action.room
    if op in ("emit", "ask"):
        fields |= {"event": action.event, **fields_of(action.body)}
    return fields


class SutModel(SutState):
    """The model of one peer under test while one test sequence runs."""

    def perform(self, action: Action) -> list[Output] | None:
        """Give what the suite does in an action, and expect what follows.

        ``None`` where the action is impossible now, or nothing can be said of what follows. Then
        nothing has changed but the notes on the action.
        """
        if action.kind is ActionKind.OPEN:
            return open_connection(self, action)
        connection = self.connections.get(action.connection)
        if connection is None or not connection.is_usable:
            return None
        if action.kind in (ActionKind.CLOSE, ActionKind.RESET):
            return end_connection(self, action)
        if action.kind is ActionKind.NON_FRAME:
            return send_non_frame(self, action)
        if connection.endpoint.exchanges == "native":
            return None
        if action.kind is ActionKind.ANSWER:
            return answer(self, action)
        act = command if action.kind is ActionKind.COMMAND else send
        return act(self, action)

    def arrived(self, expected: ExpectedMessage, message: Message | Payload) -> list[Payload]:
        """Note that an expected message arrived; give what the suite answers immediately."""
        connection = self.connections[expected.connection]
        connection.expected.remove(expected)
        if not self.is_client and connection.phase == "awaiting" and isinstance(message, str):
            if message.startswith("A"):
                connection.id = message[1:]
            self.handshake(connection, "request")
            self.handshake(connection, "accept")
        if not isinstance(message, Message):
            return []
        if expected.is_ask:
            return self._asked(expected, message)
        if expected.scope is not None and expected.change is not None:
            connection.undecided.discard(expected.scope)
            self.change(expected.number, connection, expected.change, expected.scope)
        return []

    def _asked(self, expected: ExpectedMessage, message: Message) -> list[Payload]:
        connection = self.connections[expected.connection]
        number = expected.number
        change = CHANGE_OF.get(message.event)
        scope = MembershipKey.of(change, message.namespace, message.room)
        self.follow(OUTGOING_ASK, "none", "send")
        if number not in connection.leaving:
            self.asks[number] = PeerAsk(expected.connection, message, change, scope)
            if change is not None:
                self.step(number, connection, scope, change.direction)
            return []
        # The asks of leave-all are answered immediately: the sequence does not name each of them.
        rooms = connection.leaving[number]
        rooms.remove(scope)
        self.step(number, connection, scope, "disconnect")
        self.step(number, connection, scope, "disconnect-done")
        self.follow(OUTGOING_ASK, "pending", "reply")
        if not rooms:
            del connection.leaving[number]
            self.operations[number].settle("RM-8", SUCCESS)
        return [encode(message.empty_reply())]
