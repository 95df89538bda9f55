"""What a peer does with the answers to its asks."""

from __future__ import annotations

from dataclasses import replace

from neffos_codec import Message, encode
from neffos_conformance.model_based.actions import Action
from neffos_conformance.model_based.application import text_of
from neffos_conformance.model_based.expected import (
    EITHER,
    FAILURE,
    SUCCESS,
    OperationOutcome,
    Output,
)
from neffos_conformance.model_based.frames import answer_to, with_flags
from neffos_conformance.model_based.sending import blame_wrong_reply
from neffos_conformance.model_based.state import ConnectionState, PeerAsk, SutState
from neffos_conformance.model_based.tables import (
    CHANGING,
    CONNECTED,
    DISCONNECTED,
    DISCONNECTING,
    command_of,
    connects,
)
from neffos_protocol.events import Change
from neffos_protocol.machines import ASK
from neffos_protocol.names import BAD_NAMESPACE


def answer(state: SutState, action: Action, connection: ConnectionState) -> list[Output] | None:
    """Answer an ask of the peer, and expect what follows; ``None`` as for ``SutModel.perform``."""
    ask = state.asks.get(action.of)
    if ask is None or ask.connection != action.connection:
        return None
    if action.how != "elsewhere" and _is_unclear(state, action, connection, ask):
        return None
    kind = "relay" if action.of in state.relayed else ask.change or "event"
    state.note(action, f"answer {kind} {action.how} {ask.state}", "AR-21")
    if action.how == "elsewhere":
        return _answer_elsewhere(state, action, ask)
    message = answer_to(ask.message, action.how, action.number, is_change=ask.change is not None)
    is_bare = action.how == "bare-error"  # no sender may write it (FR-9)
    sent = Output(action.connection, with_flags(encode(message), "1;0" if is_bare else ""))
    is_error = message.is_error or is_bare
    state.changed_by[action.connection, ask.scope] = action.number
    ask.answered_by = action.number
    if ask.state == "ended":
        return [sent]
    state.follow(
        ASK, "none" if ask.state == "answered" else "open", "error" if is_error else "reply"
    )
    if ask.state == "answered":
        return [sent]
    ask.state = "answered"
    if ask.change is not None:
        _settle_change(state, action, connection, ask, message, is_error=is_error)
    else:
        _settle_event(state, action, connection, ask, message, is_error=is_error)
    if action.how == "twice":
        state.follow(ASK, "none", "reply")
        return [sent, sent]
    return [sent]


def _is_unclear(state: SutState, action: Action, connection: ConnectionState, ask: PeerAsk) -> bool:
    """Whether nothing can be said of what comes of an answer."""
    if ask.state == "pending":
        if ask.scope in connection.undecided and (state.is_client or ask.change is not None):
            return True
        if state.is_client and (ask.scope[0], None) in connection.undecided:
            return True
        # The tables leave open what the reply to an earlier ask would end.
        is_end = ask.change is not None and not connects(ask.change)
        is_back = connection.state(ask.scope) not in (DISCONNECTED, DISCONNECTING)
        if state.is_client and is_end and is_back:
            return True
    # A client may relay an error without a text with any text, or not at all (FR-9).
    return action.how == "bare-error" and action.of in state.relayed


def _answer_elsewhere(state: SutState, action: Action, ask: PeerAsk) -> list[Output] | None:
    """Answer on a connection that the ask was not for (AR-12)."""
    for number, other in state.connections.items():
        if number == action.connection or other.path or not other.is_usable:
            continue
        state.forbidden_by[action.number] = "AR-12"
        message = ask.message.empty_reply()
        if ask.change is None:
            message = ask.message.reply(ask.message.body)
        state.permit(action, message.error_reply(BAD_NAMESPACE), number)
        return [Output(number, encode(message))]
    return None


def _settle_change(
    state: SutState,
    action: Action,
    connection: ConnectionState,
    ask: PeerAsk,
    message: Message,
    *,
    is_error: bool,
) -> None:
    """Expect what the answer to a system ask leads to."""
    change = ask.change or Change.CONNECT
    is_done = message.is_empty_reply and not is_error
    before = connection.state(ask.scope)
    end = "done" if is_done else "error"
    state.step(action.number, connection, ask.scope, f"{command_of(change)}-{end}")
    if not state.is_client:
        if not is_done and not is_error:
            state.misled.add((action.connection, ask.scope[0]))
        return
    operation = state.operations[action.of]
    if not is_done:
        state.forbidden_by[action.number] = "AR-19"
    if before not in CHANGING:  # an ask of the server has settled it
        operation.settle("NS-5", *EITHER)
        state.permit_report(action.number, action.connection, change, ask.scope)
    elif is_done:
        operation.settle("AR-8", SUCCESS)
    else:
        text = text_of(message.body) if message.is_error else ""
        operation.settle("AR-19", OperationOutcome(False, text=text) if text else FAILURE)


def _settle_event(
    state: SutState,
    action: Action,
    connection: ConnectionState,
    ask: PeerAsk,
    message: Message,
    *,
    is_error: bool,
) -> None:
    """Expect what the answer to an event ask leads to."""
    namespace = ask.scope[0]
    text = text_of(message.body) if message.is_error else ""
    if not state.is_client:
        if connection.is_live(namespace):
            blame_wrong_reply(state, action, namespace)
            handler = connection.endpoint.handler(namespace, "ask-me")
            event = handler.values["error" if is_error else "answer"]
            told = Message("", namespace, "", event, body=message.body)
            is_sure = (namespace, None) not in connection.undecided
            state.expect(action, told, "AR-11", must=is_sure)
    elif action.of not in state.relayed:
        operation = state.operations[action.of]
        if is_error:
            requirement = "FR-8" if not text else "FR-17" if message.is_binary else "AR-11"
            operation.settle(requirement, OperationOutcome(False, text=text))
        else:
            # An empty reply is text whatever it replies to, so that its type says nothing.
            is_open = message.is_empty_reply and ask.message.is_binary
            given = None if is_open else message.body
            operation.settle("AR-11", OperationOutcome(True, given=given))
    else:
        relayed = state.relayed[action.of]
        if not connection.is_live(relayed.namespace):
            return
        is_sure = connection.state((relayed.namespace, None)) == CONNECTED and (
            not relayed.room or connection.state((relayed.namespace, relayed.room)) == CONNECTED
        )
        reply = state.reply(
            replace(action, number=action.of),
            relayed,
            message.body,
            must=is_sure,
            is_error=is_error,
            order="",
        )
        reply.is_deferred = False  # it was deferred until now
        reply.is_any_text = is_error  # the client may hide the server's text (SEC-17)
