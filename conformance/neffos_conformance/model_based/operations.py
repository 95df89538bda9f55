"""What a client does with the operations that its driver is given, but for dialling."""

from __future__ import annotations

from typing import Final

from neffos_codec import ESCAPE, Message
from neffos_conformance.model_based.actions import Action
from neffos_conformance.model_based.expected import (
    EITHER,
    FAILURE,
    SUCCESS,
    DriverCommand,
    DriverLog,
    Fields,
    Output,
    Scope,
    is_room_of,
)
from neffos_conformance.model_based.frames import frame
from neffos_conformance.model_based.state import ConnectionState, SutState
from neffos_conformance.model_based.tables import (
    ASK_REQUIREMENTS,
    CONNECTED,
    DISCONNECTED,
    command_of,
)
from neffos_conformance.runner.driver_protocol import fields_of
from neffos_protocol.events import Change
from neffos_protocol.machines import MEMBERSHIP
from neffos_protocol.names import LOCAL_ONLY, REQUEST_EVENT

CHANGES: Final = {change.value: change for change in Change}
"""The operations that send a system ask."""


def command(state: SutState, action: Action, connection: ConnectionState) -> list[Output] | None:
    """Have the client do something; ``None`` as for ``SutModel.perform``."""
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
        if scope in connection.undecided or not expect(state, action, connection, log):
            return None
    endpoint = connection.endpoint
    state.note(
        action,
        f"command {op} {endpoint.kind_of(scope)} {before} {bool(action.room)} "
        f"{type(action.body).__name__} {endpoint.kind_of_event(action.event)} "
        f"{frame(action.body) is not None}",
    )
    state.operations[action.number] = log
    return [Output(action.connection, DriverCommand(op, _fields(action)))]


def _system_ask(
    state: SutState, action: Action, connection: ConnectionState, log: DriverLog
) -> bool:
    """Have the client send a system ask, where the tables permit one."""
    change, namespace = CHANGES[action.how], action.namespace
    is_room = change in (Change.JOIN, Change.LEAVE)
    scope: Scope = (namespace, action.room if is_room else None)
    endpoint = connection.endpoint
    is_declared = namespace in endpoint.handlers and not endpoint.refusal(
        scope, DISCONNECTED, Change.JOIN if is_room else Change.CONNECT
    )
    if not is_declared or scope in connection.undecided:
        return False
    if is_room and connection.state((namespace, None)) != CONNECTED:
        return False
    if any(scope in rooms for rooms in connection.leaving.values()):
        return False
    pending = state.pending_asks(action.connection)
    if any(ask.change is not None and ask.scope == scope for _, ask in pending):
        return False  # the tables do not say which of two asks a late reply would settle
    if MEMBERSHIP.row(connection.state(scope), command_of(change), lambda _: False) is None:
        return False
    log.scope = scope
    asked = Message("$", namespace, scope[1] or "", REQUEST_EVENT[change])
    state.expect(action, asked, ASK_REQUIREMENTS[change], is_ask=True)
    state.forbidden_by[action.number] = "NS-14" if change is Change.DISCONNECT else "AR-22"
    state.changed_by[action.connection, scope] = action.number
    return True


def _leave_all(
    state: SutState, action: Action, connection: ConnectionState, log: DriverLog
) -> bool:
    namespace = action.namespace
    rooms = [each for each in connection.memberships if is_room_of(each, namespace)]
    if connection.state((namespace, None)) != CONNECTED:
        return False
    if any(is_room_of(each, namespace) for each in connection.undecided):
        return False
    if any(connection.state(each) != CONNECTED for each in rooms):
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


def _event(state: SutState, action: Action, connection: ConnectionState, log: DriverLog) -> bool:
    """Have the client send an event, with a token or without."""
    namespace, room, number = action.namespace, action.room, action.number
    before = connection.state((namespace, None))
    inside = connection.state((namespace, room)) if room else CONNECTED
    if {before, inside} - {CONNECTED, DISCONNECTED} or (namespace, room) in connection.undecided:
        return False
    requirement = ""
    if before == DISCONNECTED:
        requirement = "NS-11"
    elif inside == DISCONNECTED:
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


def _native(state: SutState, action: Action, connection: ConnectionState, log: DriverLog) -> bool:
    if connection.state(("", None)) != CONNECTED or action.namespace or not action.body:
        return False
    state.forbidden_by[action.number] = "NM-3"
    if frame(action.body) is not None:
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
