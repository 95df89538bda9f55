"""What comes of what a client is told to do: its operations but for the dial."""

from __future__ import annotations

from typing import Final

from neffos_codec import ESCAPE, DecodeError, Message, decode
from neffos_conformance.model_based.actions import Action
from neffos_conformance.model_based.clients.application import (
    DECLARED,
    UNWANTED,
    kind_of_event,
    kind_of_place,
)
from neffos_conformance.model_based.clients.states import ClientStates, Connected
from neffos_conformance.model_based.clients.told import (
    DONE,
    EITHER,
    FAILED,
    Doing,
    DriverLog,
    Tell,
    Values,
)
from neffos_conformance.model_based.expected import Payload, Place, is_inside, way_of
from neffos_conformance.model_based.states import ASKS
from neffos_conformance.runner.driver_protocol import fields_of
from neffos_protocol.events import Change
from neffos_protocol.names import LOCAL_ONLY, REQUEST_EVENT
from neffos_protocol.state_machines import MEMBERSHIP

CHANGES: Final = {
    "connect": Change.CONNECT,
    "disconnect": Change.DISCONNECT,
    "join": Change.JOIN,
    "leave": Change.LEAVE,
}
"""The operations that ask for a change."""


def tell(states: ClientStates, action: Action, peer: Connected) -> list[Doing] | None:
    """Have the client do something, and expect what comes of it; ``None`` as for an action."""
    op = action.how
    told = DriverLog(action.connection, op)
    place: Place = (action.namespace, None)
    state = peer.state(place)
    body_kind = type(action.body).__name__
    if op == "close":
        states.silences[action.number] = "TR-15"
        told.comes_to("TR-12", DONE)
        peer.ending = "TR-12"
        states.let_go(peer)
    elif op == "native":
        if place[0] or place in peer.unresolved or state != "connected":
            return None
        if not _native(states, action, told):
            return None
    elif place in peer.unresolved:
        return None
    elif op in CHANGES:
        if not _ask_for(states, action, peer, told):
            return None
    elif op == "leave-all":
        if not _leave_all(states, action, peer, told):
            return None
    elif not _say(states, action, peer, told):
        return None
    states.shapes[action.number] = (
        f"told {op} {kind_of_place(place)} {state} {bool(action.room)} {body_kind} "
        f"{kind_of_event(action.event)} {_reads_as_frame(action.body)}"
    )
    states.told[action.number] = told
    return [Doing(action.connection, Tell(op, _values(action)))]


def _ask_for(states: ClientStates, action: Action, peer: Connected, told: DriverLog) -> bool:
    """Have the client ask for a change, where the table has a row for that."""
    change = CHANGES[action.how]
    namespace = action.namespace
    is_room = change in (Change.JOIN, Change.LEAVE)
    place: Place = (namespace, action.room if is_room else None)
    if namespace not in DECLARED or UNWANTED in place or place in peer.unresolved:
        return False
    if is_room and (not action.room or peer.places.get((namespace, None)) != "connected"):
        return False
    if any(place in rooms for rooms in peer.leaving.values()):
        return False
    if any(
        ask.change is not None and ask.place == place
        for _, ask in states.open_asks(action.connection)
    ):
        return False  # the table does not say which of two asks a late reply would settle
    way = way_of(change)
    row = MEMBERSHIP.row(peer.state(place), way, lambda _: False)
    if row is None:
        return False
    told.place = place
    asked = Message("$", namespace, place[1] or "", REQUEST_EVENT[change])
    states.expect(action, action.connection, asked, ASKS[change], is_ask=True)
    states.silences[action.number] = "NS-14" if change is Change.DISCONNECT else "AR-22"
    states.changed_by[action.connection, place] = action.number
    return True


def _leave_all(states: ClientStates, action: Action, peer: Connected, told: DriverLog) -> bool:
    namespace = action.namespace
    rooms = [each for each in peer.places if is_inside(each, namespace)]
    if peer.places.get((namespace, None)) != "connected":
        return False
    if any(is_inside(each, namespace) for each in peer.unresolved):
        return False
    if any(peer.places[each] != "connected" for each in rooms):
        return False
    states.silences[action.number] = "RM-8"
    if not rooms:
        told.comes_to("RM-8", *EITHER)
        return True
    told.place = (namespace, None)
    peer.leaving[action.number] = list(rooms)
    for name, room in rooms:
        asked = Message("$", name, room or "", REQUEST_EVENT[Change.LEAVE])
        states.expect(action, action.connection, asked, "RM-8", is_ask=True)
        states.changed_by[action.connection, (name, room)] = action.number
    return True


def _say(states: ClientStates, action: Action, peer: Connected, told: DriverLog) -> bool:
    """Have the client send an event, or ask one."""
    namespace, room = action.namespace, action.room
    state = peer.state((namespace, None))
    if state not in ("connected", "disconnected"):
        return False
    if room:
        if (namespace, room) in peer.unresolved:
            return False
        if peer.state((namespace, room)) not in ("connected", "disconnected"):
            return False
    is_joined = not room or (namespace, room) in peer.places
    if state == "disconnected" or not is_joined:
        states.silences[action.number] = "NS-11" if state == "disconnected" else "RM-10"
        told.comes_to(states.silences[action.number], FAILED)
        return True
    if ESCAPE in action.event:
        states.silences[action.number] = "FR-4"
        told.comes_to("FR-4", FAILED)
        return True
    if action.event in LOCAL_ONLY:
        states.silences[action.number] = "EV-5"
        told.comes_to("EV-5", *EITHER)
        return True
    is_ask = action.how == "ask"
    said = Message("$" if is_ask else "", namespace, room, action.event, body=action.body)
    states.expect(action, action.connection, said, "FR-10", is_ask=is_ask)
    states.silences[action.number] = "AR-22"
    if is_ask:
        told.place = (namespace, None)
    else:
        told.comes_to("AR-11", DONE)
    return True


def _native(states: ClientStates, action: Action, told: DriverLog) -> bool:
    states.silences[action.number] = "NM-3"
    if not action.body:
        return False
    if _reads_as_frame(action.body):
        told.comes_to("NM-3", FAILED)
        return True
    states.expect(action, action.connection, action.body, "FR-11")
    told.comes_to("AR-11", DONE)
    return True


def _values(action: Action) -> Values:
    """Give the fields of an operation, without its connection."""
    op = action.how
    if op == "close":
        return {}
    if op == "native":
        return fields_of(action.body)
    values: Values = {"namespace": action.namespace}
    if op in ("join", "leave") or action.room:
        values["room"] = action.room
    if op in ("emit", "ask"):
        values |= {"event": action.event, **fields_of(action.body)}
    return values


def _reads_as_frame(payload: Payload) -> bool:
    try:
        decode(payload)
    except DecodeError:
        return False
    return True
