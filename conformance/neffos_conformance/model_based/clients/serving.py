"""What comes of the frames that a client's server sends of its own accord: changes and events."""

from __future__ import annotations

from typing import Final

from neffos_codec import Message, encode
from neffos_conformance.model_based.actions import Action
from neffos_conformance.model_based.bodies import flagged, message_of, text_of
from neffos_conformance.model_based.clients.application import (
    guards,
    is_defined,
    kind_of_event,
    kind_of_place,
    refusal,
)
from neffos_conformance.model_based.clients.states import ClientStates, Connected
from neffos_conformance.model_based.clients.told import EITHER, Doing, Values, lost
from neffos_conformance.model_based.expected import Payload, Place, is_inside, place_of
from neffos_conformance.model_based.states import manner_of, requirement_on, unanswered
from neffos_conformance.runner.driver_protocol import fields_of
from neffos_protocol.events import Change
from neffos_protocol.names import (
    BAD_NAMESPACE,
    BAD_ROOM,
    CHANGE_OF,
    INVALID_PAYLOAD,
    LOCAL_ONLY,
    NATIVE_EVENT,
)
from neffos_protocol.state_machines import INCOMING_ASK

SENDER: Final = "neffos(0x1400011c000)"
"""What an exchange names a connection by, which a client sends back as any token (AR-18)."""

PIECES: Final = "pieces"
"""The way in which a frame is sent that goes out in fragments (FR-15)."""


def send(states: ClientStates, action: Action, peer: Connected) -> list[Doing] | None:
    """Send a frame, and expect what comes of it; ``None`` as for an action."""
    message = message_of(action, token_of(action), action.body)
    change = CHANGE_OF.get(action.event)
    if change is not None:
        taken = _ask_change(states, action, peer, message, change)
    elif (message.namespace, None) in peer.unresolved:
        return None
    else:
        taken = _event(states, action, peer, message)
    if not taken:
        return None
    if message.wait:
        states.tokens[message.wait] = action.number
    if action.how == PIECES:
        return [Doing(action.connection, encode(message), is_cut_up=True)]
    return [Doing(action.connection, flagged(encode(message), action.how))]


def _ask_change(
    states: ClientStates, action: Action, peer: Connected, message: Message, change: Change
) -> bool:
    place = place_of(change, message)
    namespace, room = place
    if place in peer.unresolved or (namespace, None) in peer.unresolved:
        return False
    if any(is_inside(each, namespace) for each in peer.unresolved):
        return False
    if any(each[0] == namespace for rooms in peer.leaving.values() for each in rooms):
        return False
    state = peer.state(place)
    manner = manner_of(action, message)
    states.shapes[action.number] = f"{change} {kind_of_place(place)} {state} {manner}"
    states.changed_by[action.connection, place] = action.number
    if silence := unanswered(change, message):
        states.silences[action.number] = silence
        return True
    states.silences[action.number] = "AR-22"
    if room is not None and not peer.is_live(namespace):
        states.expect(action, action.connection, message.error_reply(BAD_NAMESPACE), "NS-17")
        return True
    refused = refusal(place, state, change)
    answer = message.error_reply(refused) if refused else message.empty_reply()
    requirement = requirement_on(change, place, state, refused, guards(place))
    lane = states.lane(action.connection)
    expected = states.expect(action, action.connection, answer, requirement, lane=lane)
    if lane:
        states.change(action.number, peer, change, place)
    else:
        expected.place, expected.change = place, change
        peer.unresolved.add(place)
        _loosen(states, action.connection, place, change)
    return True


def _loosen(states: ClientStates, connection: int, place: Place, change: Change) -> None:
    """Let what is pending end already, where a change may have its turn before it is seen."""
    for number, ask in states.open_asks(connection):
        told = states.told.get(number)
        if told is None or told.must:
            continue
        if ask.change is not None and ask.place == place:
            told.outcomes = EITHER
        elif change is Change.DISCONNECT and ask.place[0] == place[0]:
            told.outcomes = lost(told)


def _event(states: ClientStates, action: Action, peer: Connected, message: Message) -> bool:
    namespace, room, event = message.namespace, message.room, message.event
    state = peer.state((namespace, None))
    is_live = peer.is_live(namespace)
    is_joined = not room or peer.is_live(namespace, room)
    if is_live and room and peer.is_changing(namespace, room):
        return False
    states.shapes[action.number] = (
        f"{kind_of_event(event)} {kind_of_place((namespace, None))} {state} {bool(room)} "
        f"{is_joined} {manner_of(action, message)}"
    )
    if not is_defined(message, is_live=is_live):
        return False
    if not (is_live and is_joined) and states.waits(action.connection):
        return False  # it may be connected, or joined, by the time that it has its turn
    number, connection = action.number, action.connection
    if event in LOCAL_ONLY:
        states.silences[number] = "EV-4"
        if action.has_token:
            for text in (INVALID_PAYLOAD, BAD_NAMESPACE, BAD_ROOM):
                states.may(action, message.error_reply(text))
        return True
    if event == NATIVE_EVENT and not namespace:
        return _framed_native(states, action, peer, message)
    if not is_live:
        states.not_connected(action, message)
        return True
    if not is_joined:
        states.not_joined(action, message)
        return True
    if room and action.has_token and states.waits(connection):
        states.may(action, message.error_reply(BAD_ROOM))  # where it is left before its turn
    is_sure = state == "connected" and event != NATIVE_EVENT
    # The text of an error is text, whatever kind it came in (FR-17); a line may say either.
    is_open = message.is_error and message.is_binary
    body = {} if is_open else fields_of(message.body)
    error: Values = {"error": True} if message.is_error else {"error": None}
    states.see(
        number,
        connection,
        "EV-6" if message.is_error else "EV-2",
        must=is_sure,
        saw="event",
        namespace=namespace,
        room=room,
        event=event,
        **body,
        **error,
    )
    _handle(states, action, message, is_sure=is_sure)
    return True


def _framed_native(states: ClientStates, action: Action, peer: Connected, message: Message) -> bool:
    if message.room or message.is_error:
        return False
    state = peer.state(("", None))
    if state not in ("connected", "disconnected"):
        return False
    states.silences[action.number] = "NM-5" if state == "connected" else "NM-4"
    if action.has_token:
        states.may(action, message.error_reply(BAD_NAMESPACE))
    if state == "connected":
        states.see_native(action, "NM-5", message.body)
    return True


def _handle(states: ClientStates, action: Action, message: Message, *, is_sure: bool) -> None:
    """Expect what a handler of the application does."""
    number, connection = action.number, action.connection
    states.silences[number] = "AR-9"
    if action.has_token:
        states.follow(INCOMING_ASK, "none", "asked")
        if states.waits(connection):
            states.follow(INCOMING_ASK, "pending", "asked")
    if message.is_error:
        return
    match message.event:
        case "echo" | "question":
            reply(states, action, message, message.body, must=is_sure)
        case "fail":
            text = text_of(message.body)
            if text:
                reply(states, action, message, text, must=is_sure, is_error=True)
            else:  # it is sent with some text, or not at all (FR-9)
                reply(states, action, message, "?", must=False, is_error=True)
                states.peers[connection].expected[-1].is_any_text = True
        case "relay":
            asked = Message("$", message.namespace, "", "echo", body=message.body)
            states.relays[number] = message
            states.expect(action, connection, asked, "AR-1", must=is_sure, is_ask=True)
            states.silences[number] = "AR-11"  # until its ask was answered
        case _:
            if action.has_token:
                states.follow(INCOMING_ASK, "pending", "ignore")


def reply(
    states: ClientStates,
    action: Action,
    message: Message,
    body: Payload,
    *,
    must: bool = True,
    is_error: bool = False,
    is_late: bool = False,
) -> None:
    """Expect a handler's answer."""
    answers = states.replies(action, message, body, is_error=is_error)
    requirement = "AR-7" if message.wait else "AR-10"
    lane = "" if is_late else states.lane(action.connection)
    expected = states.expect(
        action, action.connection, answers[0], requirement, *answers[1:], must=must, lane=lane
    )
    if is_late:  # it was put off, and is not any more
        expected.is_deferred = False
        expected.is_any_text = is_error  # whether the server's text is told on (SEC-17)


def token_of(action: Action) -> str:
    """Give the token of a frame of the server; empty where it asks for no reply."""
    if not action.has_token:
        return ""
    if action.mark.startswith(SENDER):
        return f"{action.mark}{action.number}"
    return f"{action.number}{action.mark}"
