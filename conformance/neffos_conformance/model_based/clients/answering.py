"""What comes of the answers that a client's asks are given."""

from __future__ import annotations

from dataclasses import replace

from neffos_codec import Message, encode
from neffos_conformance.model_based.actions import Action
from neffos_conformance.model_based.bodies import answer_to, flagged, text_of
from neffos_conformance.model_based.clients.serving import reply
from neffos_conformance.model_based.clients.states import ClientStates, Connected
from neffos_conformance.model_based.clients.told import DONE, EITHER, FAILED, Doing, Outcome
from neffos_conformance.model_based.expected import way_of
from neffos_conformance.model_based.states import Asked
from neffos_protocol.events import Change
from neffos_protocol.state_machines import OUTGOING_ASK


def answer(states: ClientStates, action: Action, peer: Connected) -> list[Doing] | None:
    """Answer an ask of the client, and expect what comes of it; ``None`` as for an action."""
    ask = states.asked.get(action.of)
    if ask is None or ask.connection != action.connection:
        return None
    is_change = ask.change is not None
    relayed = states.relays.get(action.of)
    if ask.state == "open" and (
        ask.place in peer.unresolved or (ask.place[0], None) in peer.unresolved
    ):
        return None
    is_exit = ask.change is not None and way_of(ask.change) == "disconnect"
    is_back = peer.state(ask.place) not in ("disconnected", "disconnecting")
    if ask.state == "open" and is_exit and is_back:
        return None  # what the reply to an earlier ask would end is left open
    if action.how == "bare" and relayed is not None:
        return None  # whether it is passed on, and with which text, is left open (FR-9)
    kind = "relay" if relayed is not None else ask.change or "event"
    states.shapes[action.number] = f"answer {kind} {action.how} {ask.state}"
    states.silences[action.number] = "AR-21"
    message = answer_to(ask.message, action.how, action.number, is_change=is_change)
    sent = encode(message)
    if action.how == "bare":  # what no sender may write (FR-9)
        sent = flagged(sent, "1;0")
    states.changed_by[action.connection, ask.place] = action.number
    ask.answered_by = action.number
    is_error = message.is_error or action.how == "bare"
    if ask.state != "open":
        states.follow(OUTGOING_ASK, "none", "error" if is_error else "reply")
        return [Doing(action.connection, sent)]
    ask.state = "answered"
    states.follow(OUTGOING_ASK, "pending", "error" if is_error else "reply")
    if is_change:
        _settle_change(states, action, peer, ask, message, is_error=is_error)
    elif relayed is not None:
        if peer.is_live(relayed.namespace):
            _relay(states, action, peer, relayed, message, is_error=is_error)
    else:
        told = states.told[action.of]
        text = text_of(message.body) if message.is_error else ""
        if is_error:
            requirement = "FR-8" if not text else "FR-17" if message.is_binary else "AR-11"
            told.comes_to(requirement, Outcome(False, text=text))
        else:
            # The empty reply is text whatever it answers, so that its kind says nothing.
            is_open = message.is_empty_reply and ask.message.is_binary
            told.comes_to("AR-11", Outcome(True, given=None if is_open else message.body))
    doing = [Doing(action.connection, sent)]
    if action.how == "twice":
        states.follow(OUTGOING_ASK, "none", "reply")
        doing *= 2
    return doing


def _settle_change(
    states: ClientStates,
    action: Action,
    peer: Connected,
    ask: Asked,
    message: Message,
    *,
    is_error: bool,
) -> None:
    is_done = message.is_empty_reply and not is_error
    told = states.told[action.of]
    way = way_of(ask.change or Change.CONNECT)
    before = peer.state(ask.place)
    states.step(action.number, peer, ask.place, f"{way}-{'done' if is_done else 'error'}")
    if not is_done:
        states.silences[action.number] = "AR-19"
    if before not in ("connecting", "disconnecting"):  # it was settled by an ask of the server
        told.comes_to("NS-5", *EITHER)
        if ask.change is not None:  # it brings about once more what the server's ask did
            states.may_tell(action.number, action.connection, ask.change, ask.place)
    elif is_done:
        told.comes_to("AR-8", DONE)
    elif message.is_error:
        told.comes_to("AR-19", Outcome(False, text=text_of(message.body)))
    else:
        told.comes_to("AR-19", FAILED)


def _relay(
    states: ClientStates,
    action: Action,
    peer: Connected,
    relayed: Message,
    message: Message,
    *,
    is_error: bool,
) -> None:
    """Expect that a handler passes on what it was answered."""
    namespace = relayed.namespace
    is_sure = peer.state((namespace, None)) == "connected"
    if relayed.room:
        is_sure = is_sure and peer.state((namespace, relayed.room)) == "connected"
    first = replace(action, number=action.of)
    reply(states, first, relayed, message.body, must=is_sure, is_error=is_error, is_late=True)
