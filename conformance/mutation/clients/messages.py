"""Clients with a fault in frames, native messages, asks and events."""

from __future__ import annotations

import unicodedata
from base64 import b64decode
from collections.abc import Callable
from typing import Any, Final

from mutation import client_faults as on
from mutation import operators as do
from mutation.client_faults import GONE, HANG, ClientContext, ClientFault
from mutation.hooks import (
    CONNECT,
    DISCONNECT,
    JOIN,
    LEAVE,
    SEPARATORS,
    Effect,
    Payload,
    frame_of,
    when,
)
from mutation.operators import is_client_token, is_server_token, is_user_event
from mutation.registry import mutant, mutants
from neffos_codec import ESCAPE, Message, encode
from neffos_conformance.runner.driver_protocol import OperationError, Values, fields_of
from neffos_conformance.wire.payloads import payload_bytes
from neffos_protocol.names import NATIVE_EVENT

LONG: Final = 10_000
"""Characters from which on a body is long, to a client that cuts it."""

EMPTY: Final = ("", b"")
"""Bodies without content."""

HANDLED: Final = ("echo", "question", "fail", "relay")
"""The events that the client's application has handlers for."""

EXACT: Final = 17
"""Digits from which on a floating-point number does not keep an integer exactly."""

OBSERVATIONS: Final = {
    "_OnRoomJoined": "joined",
    "_OnRoomLeft": "left",
    "_OnNamespaceConnected": "connected",
}
"""The observations that belong to local events."""


# -------------------------------------------------------------------- frames


def _is_text(payload: Payload) -> bool:
    """Whether a message has a content, which is UTF-8."""
    return bool(payload) and do.is_utf8(payload_bytes(payload))


def _has_event(asks: dict[str, Message]) -> bool:
    return any(is_user_event(each.event) for each in asks.values())


def _cut(body: Any) -> Any:
    """Cut a text at the first semicolon, and bytes at the first zero."""
    return body.partition(";" if isinstance(body, str) else b"\0")[0]


def _ending_at_nul(**trigger: object) -> ClientFault:
    """Cut binary bodies, received and sent."""
    given = {"is_binary": True, **trigger}
    return ClientFault(
        receive=when(do.serve_with(body=_cut), **given), send=when(do.change(body=_cut), **given)
    )


def _written(change: Callable[[str, Message], str]) -> ClientFault:
    """Change the text frames that a client sends, as they are written."""
    return on.send(lambda _, m: change(str(encode(m)), m), is_binary=False)


@mutant("FR-7", on.receive_raw)
def odd_flags_refused(_: ClientContext, payload: Payload) -> Effect:
    """Drops frames whose flags are neither 0 nor 1 nor empty."""
    flags = payload.split(";", SEPARATORS)[4:6] if isinstance(payload, str) else []
    return None if {"0", "1", ""}.issuperset(flags) else ()


@mutant("FR-11", on.observes, base64=bool)
def kind_guessed_by_octets(_: ClientContext, seen: Values) -> Values | None:
    """Treats a binary body that is ASCII as text."""
    body = b64decode(seen.pop("base64"))
    return {**seen, **fields_of(body.decode() if body.isascii() else body)}


def _sends_literal(c: ClientContext, op: str, fields: Values) -> None:
    """Send, as it is, what the client has refused for the escape literal in a name."""
    if op == "emit" and ESCAPE in fields["event"]:
        c.say_last(f";app;;{fields['event']};0;0;{fields['text']}")
    if op == "join" and ESCAPE in fields["room"]:
        c.say_last(f"$own;app;{fields['room']};{JOIN};0;0;")


def _emitting(*events: str) -> ClientFault:
    """Send an event of a name that the client has refused."""

    def failed(c: ClientContext, op: str, fields: Values) -> None:
        if op == "emit" and fields["event"] in events:
            event = str(fields["event"]).replace(";", ESCAPE)
            c.say_last(f";app;;{event};0;0;{fields['text']}")

    return ClientFault(failed=failed)


def _halves(text: str) -> Effect:
    return [text[:2], text[2:]] if frame_of(text) is None else None


@mutant("FR-13", on.send, is_empty_reply=True)
def binary_empty_reply(c: ClientContext, m: Message) -> Effect:
    """Sends an empty reply in the type of the ask."""
    ask = c.server_asks.get(m.wait)
    return str(encode(m)).encode() if ask is not None and ask.is_binary else None


mutants(
    "FR-1 body-cut-in-what-comes: Ends the body at the next semicolon, in frames that it reads.",
    on.receive(do.serve_with(body=_cut), is_binary=False),
    "FR-1 body-cut-in-what-is-sent: Ends the body at the next semicolon, in frames that it writes.",
    on.send(do.change(body=_cut), is_binary=False),
    "FR-4 literal-sent: Sends events and joins whose names contain the escape literal.",
    ClientFault(failed=_sends_literal),
    "FR-4 near-literal-sent: Sends an event whose escaped name begins with the escape literal.",
    _emitting("@%!semicolon;"),
    "FR-2 five-separators-taken: Accepts five separators as a frame with an empty body.",
    on.receive_raw(do.five_separators),
    "FR-3 event-not-escaped: Writes a semicolon in an event as it is.",
    _written(lambda text, m: text.replace(m.event.replace(";", ESCAPE), m.event)),
    "FR-3 room-not-escaped: Writes a semicolon in the room that it joins as it is.",
    _written(lambda text, m: text.replace(m.room.replace(";", ESCAPE), m.room)),
    "FR-3 refusal-not-escaped: Writes the namespace that it refuses as it is.",
    on.send(
        lambda _, m: f"{m.wait};{m.namespace};{m.room};{m.event};1;0;{m.body!s}",
        event=CONNECT,
        namespace="no;where",
        is_error=True,
    ),
    "FR-3 body-unescaped: Reads the escape literal as a semicolon in the body too.",
    on.receive(do.serve_with(body=do.swap(ESCAPE, ";")), is_binary=False),
    "FR-5 separator-in-token: Puts a semicolon into the token of a disconnect.",
    _written(lambda text, m: f"$;{text[1:]}" if m.event == DISCONNECT else text),
    "FR-6 empty-flags: Leaves the flags of an event empty where they are false.",
    _written(lambda text, m: text if m.wait or m.is_error else text.replace(";0;0;", ";;;", 1)),
    "FR-6 own-events-marked: Sets the no-op flag of the events that it sends of its own.",
    on.send(do.change(is_no_op=True), event="news", wait=""),
    "FR-8 error-without-text-is-success: Accepts an error without a text as success.",
    on.receive(
        lambda c, m: do.accept(c, m) if m.event[:1] == "_" else c.serve(m.replace(is_error=False)),
        is_error=True,
        body=EMPTY,
        wait=is_client_token,
    ),
    "FR-9 error-sent-without-text: Sends an error without a text where the application has none.",
    on.receive(
        lambda _, m: f"{m.wait};{m.namespace};;fail;1;0;", event="fail", body=EMPTY, wait=bool
    ),
    "FR-10 replies-trimmed: Trims the bodies of its replies.",
    on.send(do.change(body=str.strip), is_binary=False),
    "FR-10 octets-end-at-nul: Ends a binary body at the first zero byte.",
    _ending_at_nul(event="news"),
    "FR-10 reply-octets-end-at-nul: Ends the binary body of a reply at the first zero byte.",
    _ending_at_nul(wait=bool),
    "FR-10 octets-by-way-of-text: Decodes and encodes the body of a binary reply.",
    on.send(do.change(body=lambda raw: raw.decode("latin-1").encode()), wait=bool, is_binary=True),
    "FR-10 long-body-cut: Cuts a long body.",
    on.send(do.change(body=lambda body: body[:LONG])),
    "FR-11 text-in-binary-messages: Sends binary events whose body is ASCII as text.",
    on.send(do.as_text, wait="", is_binary=True, body=bytes.isascii),
    "FR-11 native-messages-in-halves: Sends a native message in two.",
    on.send_raw(do.rewrite(_halves), payload=lambda payload: len(payload) > 1),
    "FR-12 names-in-latin-9: Writes the names in a binary frame in Latin-9.",
    on.send_raw(do.rewrite_bytes(do.swap("€".encode(), b"\xa4"))),
    "FR-13 long-empty-reply: Writes the flags of an empty reply.",
    on.send(do.with_flags, is_empty_reply=True),
    "FR-14 empty-message-answered: Sends an error when it receives an empty message.",
    on.beside_raw(do.give(";app;;error;1;0;it was empty"), payload=EMPTY),
    "FR-14 empty-message-ends-it: Fails the connection at an empty message.",
    on.beside_raw(do.give(GONE), payload=EMPTY),
    "FR-14 empty-message-accepts: Treats an empty message as an acceptance.",
    on.receive_raw(lambda c, _: c.serve("A"), payload=EMPTY),
    "FR-14 empty-message-is-native: Delivers an empty message as a native one.",
    on.beside_raw(lambda c, _: c.tell("native", text=""), payload=EMPTY),
    "FR-15 first-fragment-only: Reads only the first fragment of a message.",
    ClientFault(fragments=lambda parts: parts[:1]),
    "FR-15 fragments-decoded-apart: Decodes each fragment of a message by itself.",
    ClientFault(
        fragments=lambda parts: [part.decode("utf-8", "replace").encode() for part in parts]
    ),
    "FR-16 nonsense-ends-the-connection: Fails the connection when JSON comes.",
    on.beside_raw(do.give(GONE), payload=do.begins("{")),
    "FR-16 nonsense-returned: Sends JSON back.",
    on.beside_raw(lambda _, payload: payload, payload=do.begins("{")),
    "FR-16 early-nonsense-ends-the-connection: Fails the connection when JSON comes first.",
    on.beside_raw(do.give(GONE), payload=do.begins("{"), is_accepted=False),
    "FR-17 error-text-in-latin-1: Writes the error text of a binary frame in Latin-1.",
    on.send(
        do.change(body=lambda raw: raw.decode().encode("latin-1", "replace")),
        is_error=True,
        is_binary=True,
        event="fail",
    ),
    "FR-17 binary-error-text-lost: Does not decode the text of a binary error.",
    ClientFault(
        receive=when(do.keep, is_error=True, is_binary=True),
        failed=when(do.fail("[object ArrayBuffer]", OperationError), kept=bool),
    ),
    "FR-18 namespaces-folded: Treats namespaces as one that differ in case, or in spaces around.",
    on.receive(do.serve_with(namespace=lambda name: name.lower().strip())),
    "FR-18 events-folded: Treats events as one that differ in case.",
    on.receive(do.serve_with(event=str.lower), event=is_user_event),
    "FR-18 events-normalised: Composes the characters of an event.",
    on.observes(do.change(event=lambda event: unicodedata.normalize("NFC", event)), saw="event"),
    "FR-18 rooms-folded: Treats rooms as one that differ in case.",
    on.receive(do.serve_with(room=str.lower)),
)


# -------------------------------------------------------------------- native messages


@mutant("NM-4", on.receive_raw)
def native_messages_held(c: ClientContext, payload: Payload) -> Effect:
    """Delivers native messages late that came before the empty namespace was connected."""
    if payload == "hello":
        c.kept.append(payload)
    elif c.message and not c.message.namespace and c.message.event == CONNECT:
        return [sent for each in (payload, *c.kept) for sent in c.serve(each)]
    return None


def _tell_native(c: ClientContext, m: Message) -> None:
    if m.event == NATIVE_EVENT:
        c.tell("native", text=m.body)


mutants(
    "NM-1 bids-farewell-natively: Sends a native message when it disconnects a namespace.",
    on.send(lambda _, m: [m, "bye"], event=DISCONNECT, namespace="any"),
    "NM-3 frame-sent-natively: Sends a native message that reads as a frame.",
    ClientFault(
        failed=lambda c, op, fields: c.say_last(fields["text"]) if op == "native" else None
    ),
    "NM-3 empty-native-sent: Sends an empty native message.",
    ClientFault(
        failed=lambda c, op, fields: (
            c.say_last("") if op == "native" and not fields["text"] else None
        )
    ),
    "NM-2 native-messages-dropped: Drops messages that are not frames, though they are accepted.",
    on.receive_raw(do.drop, payload=_is_text, message=None, is_accepted=True),
    "NM-4 native-frames-delivered-early: Delivers native messages in frames before the empty "
    "namespace is connected.",
    on.receive(do.until(_tell_native, event=CONNECT), namespace="", is_error=False),
    "NM-5 native-frames-dropped: Never treats a frame as a native message.",
    on.receive(do.drop, event=NATIVE_EVENT),
    "NM-5 native-frames-from-everywhere: Delivers native frames whatever namespace they name.",
    on.receive(do.serve_with(namespace=""), event=NATIVE_EVENT),
)


# -------------------------------------------------------------------- asks


@mutant("AR-11", on.receive, event="news", answers="")
def next_message_is_the_reply(c: ClientContext, m: Message) -> Effect:
    """Accepts the next event as the reply to its ask."""
    asks = c.client_asks.items()
    tokens = [token for token, ask in asks if ask.event[:1] != "_" and token not in c.seen]
    if not tokens:
        return None
    c.seen.add(tokens[-1])
    return c.serve(m.replace(wait=tokens[-1]))


mutants(
    "AR-1 token-rounded: Reads a token that is a large number as a floating-point number.",
    on.send(
        do.change(wait=lambda token: str(int(float(token)))),
        wait=lambda token: token.isdigit() and len(token) >= EXACT,
    ),
    "AR-2 asks-without-dollar: Makes tokens that do not begin with a dollar sign, for events.",
    on.retokened(lambda token: token[1:], event=is_user_event),
    "AR-2 leaves-without-dollar: Makes tokens without a dollar sign in front, for leaving rooms.",
    on.retokened(lambda token: token[1:], event=LEAVE),
    "AR-4 confirmation-tokens: Makes the token of a confirmation, for leaving rooms.",
    on.retokened(lambda token: f"#{token[1:]}", event=LEAVE),
    "AR-23 marked-tokens: Makes tokens with an exchange marker, for leaving rooms.",
    on.retokened(lambda token: f"$!{token[1:]}", event=LEAVE),
    "SX-1 sender-named-in-asks: Names itself as a server, in the wait field of a disconnect.",
    on.retokened(lambda token: f"neffos(0x1){token}", event=DISCONNECT),
    "AR-5 one-token: Gives all its event asks the same token.",
    on.retokened(lambda _: "$1", event=is_user_event),
    "AR-7 replies-without-room: Leaves the room out of a reply.",
    on.send(do.change(room=""), wait=bool, event="echo", is_binary=False),
    "AR-7 replies-without-no-op: Does not repeat isNoOp in a reply.",
    on.send(do.change(is_no_op=False)),
    "AR-7 errors-in-a-word: Sends only the first word of an error text.",
    on.send(
        do.change(body=lambda text: text.partition(" ")[0]),
        event="fail",
        wait=bool,
        is_binary=False,
    ),
    "AR-8 three-requests-and-no-more: Performs the fourth system ask without a reply.",
    on.send(do.from_number(4, do.drop), is_empty_reply=True),
    "AR-9 silence-acknowledged: Sends the empty reply to the ask whatever, which is left alone.",
    on.beside(do.empty_reply, wait=bool, namespace="app", event="whatever"),
    "AR-10 events-not-answered: Sends the result of a handler only in reply to asks.",
    on.send(do.drop, wait="", event="echo"),
    "AR-7 empty-bodies-not-sent: Sends no reply where the handler's body is empty.",
    on.send(do.drop, event="echo", wait=is_server_token, body=""),
    "AR-10 empty-events-not-sent: Sends no event where the body of a handler's reply is empty.",
    on.send(do.drop, wait="", event="echo", body=""),
    "AR-10 errors-of-events-not-sent: Sends the error of a handler only in reply to asks.",
    on.send(do.drop, wait="", event="fail"),
    "AR-10 errors-of-events-without-room: Leaves the room out of an error to an event.",
    on.send(do.change(room=""), wait="", event="fail", is_error=True),
    "AR-11 replies-by-their-event: Accepts only a reply that has the event of the ask.",
    on.receive(lambda c, m: () if m.event != c.answers else None, event=bool, answers=bool),
    "AR-13 tokens-without-spaces: Drops a frame whose token contains a space.",
    on.receive(do.drop, wait=do.has(" ")),
    "AR-13 busy-with-its-own-ask: Drops the server's asks while one of its own is pending.",
    on.receive(do.drop, event="echo", wait=is_server_token, client_asks=_has_event),
    "AR-14 asks-outlive-the-connection: Leaves its asks pending when the connection closes.",
    ClientFault(failed=lambda c, _, __: HANG if c.is_closing else None),
    "AR-15 deadline-is-success: Reports an expired ask as successful.",
    on.send(do.change(is_error=False, body=""), event="relay", is_error=True),
    "AR-16 errors-are-text: Sends an error in a text message, whatever the type of the ask.",
    on.send(do.as_text, is_error=True, is_binary=True),
    "AR-16 greetings-are-text: Sends the body hi in a text reply, whatever the type of the ask.",
    on.send(do.as_text, event="echo", wait=bool, room="", is_binary=True, body=b"hi"),
    "AR-18 marker-taken-out: Removes the exchange marker from a token.",
    on.send(do.change(wait=do.swap("!", "", 1)), wait=lambda token: token[1:2] == "!"),
    "SX-10 sender-taken-out: Empties a wait field that looks like an explicit sender.",
    on.send(do.change(wait=""), wait=do.begins("neffos(0x")),
    "AR-18 sender-cut: Removes what looks like an explicit sender from a wait field.",
    on.send(do.change(wait=lambda wait: wait.partition(")")[2]), wait=do.begins("neffos(0x")),
    "AR-18 tokens-in-small-letters: Sends a token back in lower case.",
    on.send(do.change(wait=str.lower), wait=is_server_token),
    "AR-18 long-tokens-cut: Cuts a long token.",
    on.send(do.change(wait=lambda token: token[:50]), wait=is_server_token),
    "AR-19 body-is-success: Accepts a reply with a body to its system ask as success.",
    on.receive(do.accept, answers=do.begins("_"), is_error=False),
    "AR-19 namespace-alone-is-success: Accepts a reply of a token and a namespace as success.",
    on.receive(do.accept, answers=CONNECT, event="", namespace=bool, is_error=False),
    "AR-19 disconnected-by-a-body: Accepts a reply with a body to its disconnect as success.",
    on.receive(do.accept, answers=DISCONNECT, body=bool, is_error=False),
    "AR-19 left-by-a-body: Accepts a reply with a body to its leave as success.",
    on.receive(do.accept, answers=LEAVE, body=bool, is_error=False),
    "AR-19 refused-connect-is-success: Treats a namespace as connected though it was refused.",
    on.receive(do.accept, answers=CONNECT, is_error=True, body=bool),
    "AR-19 refused-join-is-success: Treats a room as joined though it was refused.",
    on.receive(do.accept, answers=JOIN, is_error=True, body=bool),
    "AR-19 refused-disconnect-is-success: Treats a namespace as disconnected though refused.",
    on.receive(do.accept, answers=DISCONNECT, is_error=True, body=bool),
    "AR-19 refused-leave-is-success: Treats a room as left though that was refused.",
    on.receive(do.accept, answers=LEAVE, is_error=True, body=bool),
    "AR-20 second-join-greeted: Replies with a text to a join of a joined room.",
    on.receive(
        do.change(body="you are in it"), event=JOIN, room=bool, wait=is_server_token, is_member=True
    ),
    "AR-20 joins-greeted: Replies with a text to every join.",
    on.send(do.change(body="welcome"), is_empty_reply=True, message={"event": JOIN}),
    "AR-21 second-reply-is-an-ask: Treats a second reply to its ask as an ask, and replies to it.",
    on.receive(do.once(do.empty_reply, "wait"), wait=is_client_token),
    "AR-22 last-reply-repeated: Repeats its last reply to an event at the next connect.",
    ClientFault(
        send=when(do.keep, wait=is_server_token, event=HANDLED),
        receive=when(lambda c, _: c.say(c.release()[-1:]), event=CONNECT),
    ),
    "AR-22 refusal-repeated: Refuses an ask twice.",
    on.send(lambda _, m: [m, m], event=CONNECT, namespace="nowhere", is_error=True),
    "AR-22 leave-answered-twice: Replies twice to an ask to leave a room.",
    on.send(lambda c, m: [m, m] if c.message and c.message.event == LEAVE else None, event=""),
    "EV-2 reported-twice: Reports an event in a room twice.",
    on.observes(lambda _, seen: [seen, seen], saw="event", room=bool),
    "EV-2 made-up: Runs the handler of an event, too, with each join.",
    on.observes(lambda _, seen: [seen, {**seen, "saw": "event", "event": "news"}], saw="joined"),
    "NS-1 connected-twice: Reports twice that a namespace was connected.",
    on.observes(lambda _, seen: [seen, seen], saw="connected"),
    "RM-1 joined-twice: Reports twice that a room was joined.",
    on.observes(lambda _, seen: [seen, seen], saw="joined"),
    "AR-22 replies-on-all-connections: Sends a reply on all its connections.",
    on.send(lambda c, m: c.say_elsewhere(m), event="echo", wait=lambda wait: wait[:1] != "$"),
)


# -------------------------------------------------------------------- events


MORE_DUE: Final = {"server_asks": lambda asks: len(asks) > 1, "kept": []}
"""The trigger of a reply where more of them are due, and none is held back."""


def _left(c: ClientContext, _: str, fields: Values) -> None:
    if fields.get("room") in c.seen:
        raise OperationError("bad room")


@mutant("EV-4", on.receive, event=(*OBSERVATIONS, "_OnAnyEvent"))
def notices_delivered(c: ClientContext, m: Message) -> None:
    """Runs the handlers of local events that come from outside."""
    if m.event in OBSERVATIONS:
        c.tell(OBSERVATIONS[m.event], namespace=m.namespace, **({"room": m.room} if m.room else {}))
    else:
        c.tell("event", namespace=m.namespace, room="", event=m.event, text=m.body)


def _tell_event(c: ClientContext, m: Message) -> None:
    c.tell("event", namespace=m.namespace, room=m.room, event=m.event, text=m.body)


mutants(
    "EV-4 notices-are-any-event: Runs the handler of every event for local events from outside.",
    on.receive(_tell_event, event=tuple(OBSERVATIONS)),
    "EV-1 binary-comes-last: Lets text frames overtake binary ones.",
    on.send(do.delayed(is_binary=True, **MORE_DUE), wait=is_server_token),
    "EV-1 refusal-comes-last: Lets a refusal overtake another one.",
    on.send(do.delayed(namespace="nowhere", is_error=True, **MORE_DUE), wait=is_server_token),
    "EV-1 requests-come-last: Lets events overtake system asks.",
    on.send(do.delayed(is_empty_reply=True, **MORE_DUE), wait=is_server_token),
    "EV-2 event-lost: Does not deliver an event.",
    on.observes(do.drop, saw="event", event="other"),
    "EV-2 event-in-another-namespace: Delivers events of one namespace to handlers of another.",
    on.observes(do.change(namespace="app"), namespace="any"),
    "EV-2 handler-not-told-of-room: Does not give a handler the room.",
    on.observes(do.change(room=""), saw="event", room="lobby"),
    "EV-3 notice-joins: Treats a room as joined because of a local event from outside.",
    ClientFault(
        receive=when(do.remember("room"), event="_OnRoomJoined"),
        failed=lambda c, _, fields: {} if fields.get("room") in c.seen else None,
    ),
    "EV-3 notice-leaves: Treats a room as left because of a local event from outside.",
    ClientFault(receive=when(do.remember("room"), event="_OnRoomLeft"), before=_left),
    "EV-3 requests-in-other-letters: Recognises the event of a system ask in any case.",
    on.receive(do.serve_with(event=DISCONNECT), event="_onNamespaceDisconnect"),
    "EV-5 local-events-emitted: Sends an event that is named like a local event.",
    _emitting("_OnRoomJoined"),
    "EV-5 any-event-emitted: Sends an event that is named like the handler of every event.",
    _emitting("_OnAnyEvent"),
    "NS-20 system-events-emitted: Sends an event that is named like a join.",
    _emitting(JOIN),
    "NS-20 other-system-events-emitted: Sends events that are named like the other system asks.",
    _emitting(LEAVE, CONNECT, DISCONNECT),
    "NS-20 asks-to-join-without-token: Asks to join in a frame without a token.",
    on.send(do.change(wait=""), event=JOIN, room="atrium"),
    "EV-5 notices-sent: Sends the local events of the rooms that it has left.",
    on.send(
        lambda _, m: [m, f";{m.namespace};{m.room};_OnRoomLeft;0;0;"],
        event=LEAVE,
        operations=do.has("leave-all"),
    ),
    "EV-6 errors-delivered-as-bodies: Delivers an error as if its text were a body.",
    on.observes(lambda _, seen: {**seen, "error": None}, error=bool, text=bool),
)
