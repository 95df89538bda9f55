"""What a peer does with the frames that the suite sends: system asks, events, and answers."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from neffos_codec import Message, encode
from neffos_conformance.model_based import frames, tables
from neffos_conformance.model_based.actions import (
    EITHER,
    FAILURE,
    SUCCESS,
    OperationOutcome,
    Output,
    Scope,
    SuiteAction,
    is_room_of,
)
from neffos_conformance.model_based.application import EventHandler, text_of
from neffos_conformance.model_based.state import PeerAsk, SutState
from neffos_conformance.runner.driver_protocol import Values, fields_of
from neffos_protocol import names
from neffos_protocol.events import Change, MembershipKey
from neffos_protocol.state_machines import INCOMING_ASK, MEMBERSHIP, OUTGOING_ASK, MembershipState

FRAGMENTED: Final = "fragments"
"""The variant of a frame that is sent in fragments (FR-15)."""


def send(state: SutState, action: SuiteAction) -> list[Output] | None:
    """Send a frame, and expect what follows; ``None`` as for ``SutModel.perform``."""
    connection = state.connections[action.connection]
    message = frames.message_of(action, is_for_client=state.is_client)
    change = names.CHANGE_OF.get(action.event)
    may_wait = state.waits(action.connection)
    if change is not None:
        is_done = _system_ask(state, action, message, change)
    elif (message.namespace, None) in connection.undecided:
        return None
    else:
        if connection.endpoint.handler("app", action.event).values.get("to") == "one":
            target = state.connections.get(action.of)
            if target is None or not target.id or target is connection:
                return None
            to, body = f"{target.id} ", message.body
            message = message.replace(
                body=to + body if isinstance(body, str) else to.encode() + body
            )
        is_done = _event(state, action, message)
    if not is_done:
        return None
    if message.wait:
        state.tokens[message.wait] = action.number
        if may_wait and not message.is_error and (change is None or change.is_of_room):
            connection.held[action.number] = message
    blame_wrong_reply(state, action, action.namespace)
    if action.has_token and action.mark == frames.EXCHANGE and not state.is_client:
        message = message.replace(wait=f"${frames.EXCHANGE}{action.number}")
    is_fragmented = action.how == FRAGMENTED
    sent = frames.with_flags(encode(message), "" if is_fragmented else action.how)
    return [Output(action.connection, sent, is_fragmented=is_fragmented)]


def blame_wrong_reply(state: SutState, action: SuiteAction, namespace: str) -> None:
    """Blame the failures of an action on a wrong reply that the peer has seen before (AR-19)."""
    if (action.connection, namespace) in state.misled:
        state.blames[action.number] = "AR-19"
        state.signatures[action.number] = f"after a wrong reply to a system ask, {namespace}"


def _like(action: SuiteAction, message: Message) -> str:
    """Name in which form a frame is sent. Tokens of walks are alike, however they are spelled."""
    mark = "{}" if "{}" in action.mark else action.mark
    return (
        f"{message.is_error} {message.is_no_op} {action.has_token} {action.how}{mark} "
        f"{type(action.body).__name__}"
    )


# -------------------------------------------------------------------- system asks


def _system_ask(state: SutState, action: SuiteAction, message: Message, change: Change) -> bool:
    connection = state.connections[action.connection]
    scope = namespace, room = MembershipKey.of(change, message.namespace, message.room)
    undecided = connection.undecided
    if scope in undecided or (namespace, None) in undecided:
        return False
    if state.is_client and any(is_room_of(each, namespace) for each in undecided):
        return False
    if any(each[0] == namespace for rooms in connection.leaving.values() for each in rooms):
        return False
    endpoint, before = connection.endpoint, connection.state(scope)
    forbidden_by = "NS-12" if message.is_error else ""
    if not forbidden_by and (not message.wait or message.is_no_op):
        forbidden_by = "NS-2" if change is Change.CONNECT else "NS-10"
    signature = f"{change} {endpoint.kind_of(scope)} {before} {_like(action, message)}"
    state.note(action, signature, forbidden_by or "AR-22")
    state.changed_by[action.connection, scope] = action.number
    if forbidden_by:
        return True
    if room is not None and not connection.is_live(namespace):
        state.expect(action, message.error_reply(names.BAD_NAMESPACE), "NS-17")
        return True
    refused = endpoint.refusal(scope, before, change)
    row = MEMBERSHIP.follow(
        before, tables.ask_of(change), lambda guard: endpoint.holds(guard, scope)
    )
    if row.next.startswith(tables.DECIDING):
        row = MEMBERSHIP.follow(row.next, "deny" if refused else "allow", lambda _: True)
    requirement = row.requirements["namespace" if room is None else "room"][0]
    answer = message.error_reply(refused) if refused else message.empty_reply()
    order = state.reply_order(action.connection)
    is_undecided = state.waits(action.connection)
    expected = state.expect(action, answer, requirement, order=order)
    if not is_undecided:
        state.change(action.number, connection, change, scope)
        return True
    expected.undecided = change, scope
    undecided.add(scope)
    state.permit_either(connection, scope, is_end=change is Change.DISCONNECT)
    return True


# -------------------------------------------------------------------- events


def _event(state: SutState, action: SuiteAction, message: Message) -> bool:
    connection = state.connections[action.connection]
    namespace, room, event = message.namespace, message.room, message.event
    endpoint, scope = connection.endpoint, (namespace, None)
    is_live = connection.is_live(namespace)
    is_joined = not room or connection.is_live(namespace, room)
    waits = state.waits(action.connection)
    there = namespace, room  # a handler may see it before or after its change
    is_changing = there in connection.undecided or connection.state(there) in tables.CHANGING
    if is_live and room and is_changing:
        return False
    signature = f"{endpoint.kind_of_event(event)} {endpoint.kind_of(scope)} "
    signature += f"{connection.state(scope) if state.is_client else is_live} {bool(room)} "
    state.note(action, f"{signature}{is_joined} {_like(action, message)}")
    if not endpoint.is_specified(message, is_live=is_live):
        return False
    if state.is_client and waits and not (is_live and is_joined):
        return False  # it may be connected or joined by the time that the client handles it
    if event in names.LOCAL_ONLY:
        state.forbidden_by[action.number] = "EV-4"
        if action.has_token and (state.is_client or not message.is_error):
            texts = (names.INVALID_PAYLOAD, names.BAD_NAMESPACE, names.BAD_ROOM)[
                : None if state.is_client else 2
            ]
            for text in texts:
                state.permit(action, message.error_reply(text))
        return True
    if state.is_client and event == names.NATIVE_EVENT and not namespace:
        return _framed_native(state, action, message)
    if not is_live:
        state.forbidden_by[action.number] = "NS-9"
        if action.has_token and not message.is_error:
            # A client may refuse before its handler of an earlier event has replied.
            order = "" if state.is_client else state.reply_order(action.connection)
            refusal = message.error_reply(names.BAD_NAMESPACE)
            state.expect(action, refusal, "NS-17", order=order)
        return True
    if not is_joined:
        state.forbidden_by[action.number] = "RM-9"
        if action.has_token:
            state.permit(action, message.error_reply(names.BAD_ROOM))
        return state.is_client or not event.endswith("-me")
    is_sure = not state.is_client or (
        connection.state(scope) == MembershipState.CONNECTED and event != names.NATIVE_EVENT
    )
    if state.is_client:
        if room and action.has_token and waits:  # the room may be left before it is handled
            state.permit(action, message.error_reply(names.BAD_ROOM))
        fields: Values = {"saw": "event", "namespace": namespace, "room": room, "event": event}
        fields["error"] = True if message.is_error else None
        # The text of an error is text in either message type (FR-17). The driver may report either.
        if not (message.is_error and message.is_binary):
            fields |= fields_of(message.body)
        requirement = "EV-6" if message.is_error else "EV-2"
        state.observe(action.number, action.connection, requirement, must=is_sure, **fields)
    if not _handle(state, action, message, is_sure=is_sure):
        return False
    if action.has_token:
        state.follow(INCOMING_ASK, "none", "asked")
        if waits:
            state.follow(INCOMING_ASK, "pending", "asked")
    return True


def _framed_native(state: SutState, action: SuiteAction, message: Message) -> bool:
    """Expect what a client does with a native message in a frame."""
    connection = state.connections[action.connection]
    before = connection.state(("", None))
    if (
        message.room
        or message.is_error
        or before not in (MembershipState.CONNECTED, MembershipState.DISCONNECTED)
    ):
        return False
    state.forbidden_by[action.number] = "NM-5" if before == MembershipState.CONNECTED else "NM-4"
    if action.has_token:
        state.permit(action, message.error_reply(names.BAD_NAMESPACE))
    if before == MembershipState.CONNECTED:
        state.observe_native(action, "NM-5", message.body)
    return True


def _handle(state: SutState, action: SuiteAction, message: Message, *, is_sure: bool) -> bool:
    """Expect what the handler of an event does; say whether the application's page defines it."""
    connection = state.connections[action.connection]
    body, number, namespace = message.body, action.number, message.namespace
    handler = connection.endpoint.handler(namespace, message.event)
    state.forbidden_by[number] = "AR-9"
    if state.is_client and message.is_error:
        return True
    match handler.does:
        case "return":
            state.expect(action, body, "NM-5")
        case "echo" if message.is_error:
            state.reply(action, message, "", "EV-6")
        case "echo":
            state.reply(action, message, body, must=is_sure)
        case "event-name":
            if message.event == names.NATIVE_EVENT:
                return False  # the page does not say whether it is an event like others
            state.reply(action, message, message.event)
        case "error":
            if text_of(body):
                state.reply(action, message, text_of(body), must=is_sure, is_error=True)
            else:  # a client sends an error without text with any text, or not at all (FR-9)
                reply = state.reply(action, message, "?", must=False, is_error=True)
                reply.is_any_text = True
        case "connection-id":
            state.reply(action, message, connection.id, "HS-3")
        case "tries":
            state.reply(action, message, "0", "TR-10")
        case "push":
            pushed = Message("", namespace, "", text_of(body), body=handler.values["text"])
            if message.is_binary:
                pushed = pushed.replace(body=handler.values["text"].encode())
            state.expect(action, pushed, "EV-2", order=f"push {number}")
            state.reply(action, message, "done", order=f"push {number}")
        case "broadcast":
            return _broadcast(state, action, message, handler)
        case "close":
            if state.waits(action.connection):
                return False
            state.forbidden_by[number] = "TR-15"
            connection.ending = "TR-12"
        case "ask" | "request":
            return _provoke(state, action, message, handler)
        case "relay":
            asked = Message("$", namespace, "", handler.values["event"], body=body)
            state.relayed[number] = message
            state.expect(action, asked, "AR-1", must=is_sure, is_ask=True)
            state.forbidden_by[number] = "AR-11"  # until its ask is answered
        case _:
            if action.has_token:
                state.follow(INCOMING_ASK, "pending", "ignore")
    return True


def _provoke(state: SutState, action: SuiteAction, message: Message, handler: EventHandler) -> bool:
    """Expect the ask that a handler of a server sends."""
    connection = state.connections[action.connection]
    if message.is_error or message.is_no_op or action.number in state.asks:
        return False
    namespace, name = message.namespace, text_of(message.body)
    if handler.does == "ask":
        asked = Message("?", namespace, "", handler.values["event"], body=message.body)
        state.expect(action, asked, "AR-1", is_ask=True)
        return True
    change = Change(handler.values["change"])
    scope: Scope = (namespace, name)
    if change in (Change.CONNECT, Change.DISCONNECT):
        scope = (name if change is Change.CONNECT else namespace), None
    if state.waits(action.connection) or scope in connection.undecided:
        return False
    return state.expect_system_ask(action, change, scope)


def _broadcast(
    state: SutState, action: SuiteAction, message: Message, handler: EventHandler
) -> bool:
    """Expect a broadcast on every connection that it is for, and the reply of the handler."""
    connection = state.connections[action.connection]
    to, body, room, namespace = handler.values["to"], message.body, message.room, message.namespace
    if (to == "room") != bool(room) or message.is_error or state.waits(action.connection):
        return False
    if to == "one":
        body = body.partition(" ")[2] if isinstance(body, str) else body.partition(b" ")[2]
    news = Message("", namespace, room, handler.values["event"], body=body)
    for number, other in state.connections.items():
        if (other is connection and to != "all") or (to == "one" and number != action.of):
            continue
        if not other.is_usable or other.path or not other.is_live(namespace, room):
            continue
        is_sure = other.undecided.isdisjoint({(namespace, None), (namespace, room)})
        order = f"broadcasts of {action.connection}"
        state.expect(action, news, "EV-9", connection=number, must=is_sure, order=order)
    state.reply(action, message, "done")
    state.forbidden_by[action.number] = "EV-8"
    return True


# -------------------------------------------------------------------- answers


def answer(state: SutState, action: SuiteAction) -> list[Output] | None:
    """Answer an ask of the peer, and expect what follows; ``None`` as for ``SutModel.perform``."""
    ask = state.asks.get(action.of)
    if ask is None or ask.connection != action.connection:
        return None
    if action.how != "elsewhere" and _is_unclear(state, action, ask):
        return None
    kind = "relay" if action.of in state.relayed else ask.change or "event"
    state.note(action, f"answer {kind} {action.how} {ask.state}", "AR-21")
    if action.how == "elsewhere":
        return _answer_elsewhere(state, action, ask)
    message = frames.answer_to(
        ask.message,
        action.how,
        action.number,
        is_change=ask.change is not None,
        body=text_of(action.body),
    )
    is_error = _is_error(action, message)
    bare = "1;0" if is_error and not message.is_error else ""
    sent = Output(action.connection, frames.with_flags(encode(message), bare))
    state.changed_by[action.connection, ask.scope] = action.number
    ask.answered_by = action.number
    if ask.state == "ended":
        return [sent]
    state.follow(
        OUTGOING_ASK,
        "none" if ask.state == "answered" else "pending",
        "error" if is_error else "reply",
    )
    if ask.state == "answered":
        return [sent]
    ask.state = "answered"
    connection = state.connections[action.connection]
    connection.last_ended = action.of
    if ask.change is not None:
        _settle_change(state, action, ask, message)
    else:
        _settle_event(state, action, ask, message)
    if connection.last_ended != action.of:
        connection.last_ended = 0  # others have ended with it
    if action.how == "twice":
        state.follow(OUTGOING_ASK, "none", "reply")
        return [sent, sent]
    return [sent]


def _is_error(action: SuiteAction, message: Message) -> bool:
    """Whether an answer is an error. One without a text is spelled by hand (FR-9)."""
    return message.is_error or action.how == "bare-error"


def _is_unclear(state: SutState, action: SuiteAction, ask: PeerAsk) -> bool:
    """Whether nothing can be said of what comes of an answer."""
    connection = state.connections[action.connection]
    is_superseded = ask.change is not None and connection.state(ask.scope) not in tables.CHANGING
    has_ended = ask.state != "pending" or is_superseded
    if has_ended or action.how == "twice":
        # A peer need not remember the token of an ask once another one has ended (AR-21).
        others = any(of != action.of for of, _ in state.pending_asks(action.connection))
        others = others or any(each.is_ask for each in connection.expected)
        if others or (has_ended and connection.last_ended != action.of):
            return True
    if ask.state == "pending":
        if ask.scope in connection.undecided and (state.is_client or ask.change is not None):
            return True
        if state.is_client and (ask.scope[0], None) in connection.undecided:
            return True
        # The tables leave open what the reply to an earlier ask would end.
        is_end = ask.change is not None and not ask.change.is_entry
        is_back = connection.state(ask.scope) not in (
            MembershipState.DISCONNECTED,
            MembershipState.DISCONNECTING,
        )
        if state.is_client and is_end and is_back:
            return True
    # A client may relay an error without a text with any text, or not at all (FR-9).
    return action.how == "bare-error" and action.of in state.relayed


def _answer_elsewhere(state: SutState, action: SuiteAction, ask: PeerAsk) -> list[Output] | None:
    """Answer on a connection that the ask was not for (AR-12)."""
    for number, other in state.connections.items():
        if number == action.connection or other.path or not other.is_usable:
            continue
        state.forbidden_by[action.number] = "AR-12"
        message = ask.message.empty_reply()
        if ask.change is None:
            message = ask.message.reply(ask.message.body)
        state.permit(action, message.error_reply(names.BAD_NAMESPACE), number)
        return [Output(number, encode(message))]
    return None


def _settle_change(state: SutState, action: SuiteAction, ask: PeerAsk, message: Message) -> None:
    """Expect what the answer to a system ask leads to."""
    connection = state.connections[action.connection]
    change = ask.change or Change.CONNECT
    is_error = _is_error(action, message)
    is_done = message.is_empty_reply and not is_error
    before = connection.state(ask.scope)
    end = "done" if is_done else "error"
    state.step(action.number, connection, ask.scope, f"{change.direction}-{end}")
    if not state.is_client:
        if not is_done and not is_error:
            state.misled.add((action.connection, ask.scope[0]))
        return
    operation = state.operations[action.of]
    if not is_done:
        state.forbidden_by[action.number] = "AR-19"
    if before not in tables.CHANGING:  # an ask of the server has settled it
        operation.settle("NS-5", *EITHER)
        state.permit_report(action.number, action.connection, change, ask.scope)
    elif is_done:
        operation.settle("AR-8", SUCCESS)
    else:
        text = text_of(message.body) if message.is_error else ""
        operation.settle("AR-19", OperationOutcome(False, text=text) if text else FAILURE)


def _settle_event(state: SutState, action: SuiteAction, ask: PeerAsk, message: Message) -> None:
    """Expect what the answer to an event ask leads to."""
    connection = state.connections[action.connection]
    namespace, is_error = ask.scope[0], _is_error(action, message)
    text = text_of(message.body) if message.is_error else ""
    if not state.is_client:
        if connection.is_live(namespace):
            blame_wrong_reply(state, action, namespace)
            handler = connection.endpoint.handler(namespace, "ask-me")
            event = handler.values["error" if is_error else "answer"]
            reported = Message("", namespace, "", event, body=message.body)
            is_sure = (namespace, None) not in connection.undecided
            state.expect(action, reported, "AR-11", must=is_sure)
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
        is_sure = connection.state((relayed.namespace, None)) == MembershipState.CONNECTED and (
            not relayed.room
            or connection.state((relayed.namespace, relayed.room)) == MembershipState.CONNECTED
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
