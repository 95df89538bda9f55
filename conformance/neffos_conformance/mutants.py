"""Servers that are wrong on purpose, each in one way, to test the suite itself.

A mutant takes the behaviour of a correct server and gives a wrong one. Each is derived from
a requirement that it breaks. A case that no mutant fails would prove nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from neffos_codec import ESCAPE, DecodeError, Message, decode, encode
from neffos_conformance.embedded import NOTHING, Serve

Payloads = list[str | bytes]
Mutant = Callable[[Serve], Serve]

MUTANTS: Final[dict[str, Mutant]] = {}
"""Every mutant by its name."""

BROKEN_REQUIREMENT: Final[dict[str, str]] = {}
"""The requirement that each mutant breaks."""


def _breaks(requirement: str) -> Callable[[Mutant], Mutant]:
    def register(mutant: Mutant) -> Mutant:
        MUTANTS[mutant.__name__] = mutant
        BROKEN_REQUIREMENT[mutant.__name__] = requirement
        return mutant

    return register


def _frame(payload: str | bytes) -> Message | None:
    try:
        return decode(payload)
    except DecodeError:
        return None


def _changing(change: Callable[[Message], Message | None]) -> Mutant:
    """Make a mutant that changes, or drops, each frame that is sent."""

    def mutant(serve: Serve) -> Serve:
        def wrong(payload: str | bytes) -> Payloads:
            sent: Payloads = []
            for each in serve(payload):
                message = _frame(each)
                if message is None:
                    sent.append(each)
                elif changed := change(message):
                    sent.append(encode(changed))
            return sent

        return wrong

    return mutant


def _answering(answer: Callable[[Message], Message | None]) -> Mutant:
    """Make a mutant that gives its own answer to some frames, in place of the server's."""

    def mutant(serve: Serve) -> Serve:
        def wrong(payload: str | bytes) -> Payloads:
            message = _frame(payload)
            own = answer(message) if message else None
            return serve(payload) if own is None else [encode(own)]

        return wrong

    return mutant


# ---------------------------------------------------------------- handshake


@_breaks("HS-1")
def handshake_unanswered(serve: Serve) -> Serve:
    """Accepts without saying so."""
    return lambda payload: [] if payload == "M" else serve(payload)


@_breaks("HS-6")
def id_missing(serve: Serve) -> Serve:
    """Sends an A without an id."""
    return lambda payload: [
        "A" if isinstance(sent, str) and sent.startswith("A") and ";" not in sent else sent
        for sent in serve(payload)
    ]


@_breaks("HS-3")
def other_id(serve: Serve) -> Serve:
    """Announces one id and goes by another."""
    return lambda payload: [
        f"{sent}x" if isinstance(sent, str) and sent.startswith("A") and ";" not in sent else sent
        for sent in serve(payload)
    ]


@_breaks("HS-4")
def refusal_accepted(serve: Serve) -> Serve:
    """Says A where it means H."""
    return lambda payload: [
        "A1" if isinstance(sent, str) and sent.startswith("H") else sent for sent in serve(payload)
    ]


@_breaks("HS-5")
def deaf_to_binary_handshake(serve: Serve) -> Serve:
    """Takes an M only as text."""
    return lambda payload: [] if payload == b"M" else serve(payload)


@_breaks("HS-7")
def wants_exactly_m(serve: Serve) -> Serve:
    """Takes nothing but a lone M."""
    return lambda payload: (
        [] if isinstance(payload, str) and payload.startswith("Mx") else serve(payload)
    )


@_breaks("HS-8")
def second_request_answered(serve: Serve) -> Serve:
    """Answers every M, not only the first."""
    return lambda payload: serve(payload) or (["Aagain"] if payload == "M" else [])


# ---------------------------------------------------------------- frame


@_breaks("FR-1")
def body_cut(serve: Serve) -> Serve:
    """Takes the body to end at the next semicolon."""

    def change(message: Message) -> Message:
        body = message.body
        return message.replace(body=body.split(";")[0] if isinstance(body, str) else body)

    return _changing(change)(serve)


@_breaks("FR-2")
def noise_returned(serve: Serve) -> Serve:
    """Sends back what is no frame."""

    def wrong(payload: str | bytes) -> Payloads:
        noise = bool(payload) and payload not in ("M", b"M", "Mxyz") and _frame(payload) is None
        return [payload] if noise else serve(payload)

    return wrong


@_breaks("FR-2")
def five_separators_taken(serve: Serve) -> Serve:
    """Takes five separators for a frame with an empty body."""

    def wrong(payload: str | bytes) -> Payloads:
        if isinstance(payload, str) and payload.count(";") == 5:
            payload += ";"
        return serve(payload)

    return wrong


@_breaks("FR-3")
def fields_not_escaped(serve: Serve) -> Serve:
    """Writes a semicolon in a field as it is."""
    return lambda payload: [
        sent.replace(ESCAPE, ";") if isinstance(sent, str) and not sent.endswith(ESCAPE) else sent
        for sent in serve(payload)
    ]


@_breaks("SEC-15")
def looked_up_escaped(serve: Serve) -> Serve:
    """Looks a namespace up as it stands in the frame."""
    return _answering(
        lambda m: (
            m.error_reply("bad namespace")
            if ";" in m.namespace and m.event == "_OnNamespaceConnect"
            else None
        )
    )(serve)


@_breaks("FR-3")
def body_unescaped(serve: Serve) -> Serve:
    """Takes the escape literal for a semicolon in the body too."""

    def change(message: Message) -> Message:
        body = message.body
        return message.replace(body=body.replace(ESCAPE, ";") if isinstance(body, str) else body)

    return _changing(change)(serve)


@_breaks("FR-7")
def any_flag_is_true(serve: Serve) -> Serve:
    """Takes every flag but 0 for true."""
    return lambda payload: serve(
        payload.replace(";x;y;", ";1;1;") if isinstance(payload, str) else payload
    )


@_breaks("FR-10")
def ascii_only(serve: Serve) -> Serve:
    """Puts question marks in place of what is not ASCII."""
    return lambda payload: [
        sent.encode("ascii", "replace").decode() if isinstance(sent, str) else sent
        for sent in serve(payload)
    ]


@_breaks("FR-11")
def text_for_binary(serve: Serve) -> Serve:
    """Answers binary with text."""
    return lambda payload: [
        sent.decode("latin-1") if isinstance(sent, bytes) else sent for sent in serve(payload)
    ]


@_breaks("FR-13")
def long_empty_reply(serve: Serve) -> Serve:
    """Writes the flags of an empty reply."""
    return lambda payload: [
        f"{sent[:-2]}0;0;" if isinstance(sent, str) and sent.endswith(";;;;;;") else sent
        for sent in serve(payload)
    ]


@_breaks("FR-13")
def binary_empty_reply(serve: Serve) -> Serve:
    """Sends an empty reply in the kind of the ask."""

    def wrong(payload: str | bytes) -> Payloads:
        return [
            sent.encode() if isinstance(sent, str) and isinstance(payload, bytes) else sent
            for sent in serve(payload)
        ]

    return wrong


@_breaks("FR-18")
def case_folded(serve: Serve) -> Serve:
    """Takes names that differ in their case for one."""
    return _changing(lambda m: m.empty_reply() if m.is_error and m.namespace == "App" else m)(serve)


@_breaks("FR-14")
def empty_message_answered(serve: Serve) -> Serve:
    """Complains about an empty message."""
    return lambda payload: (
        serve(payload) if payload or payload is NOTHING else [";app;;error;1;0;empty message"]
    )


# ---------------------------------------------------------------- ask and reply


@_breaks("AR-1")
def token_lost(serve: Serve) -> Serve:
    """Replies without the token of the ask, to handlers' events."""
    return _changing(lambda m: m.replace(wait="") if m.event == "echo" else m)(serve)


@_breaks("AR-7")
def error_without_flag(serve: Serve) -> Serve:
    """Sends an error text as if it were a body."""
    return _changing(lambda m: m.replace(is_error=False))(serve)


@_breaks("AR-7")
def replies_swapped(serve: Serve) -> Serve:
    """Holds the first of two replies back until the second is there."""
    held: Payloads = []

    def wrong(payload: str | bytes) -> Payloads:
        sent = serve(payload)
        if isinstance(payload, str) and payload.endswith("first"):
            held.extend(sent)
            return []
        sent += held
        held.clear()
        return sent

    return wrong


@_breaks("AR-9")
def silence_answered(serve: Serve) -> Serve:
    """Sends an empty reply where the handler returned nothing."""
    return _answering(lambda m: m.empty_reply() if m.event == "silent" else None)(serve)


@_breaks("AR-10")
def tokenless_unanswered(serve: Serve) -> Serve:
    """Sends no reply to a message without a token."""
    return _changing(lambda m: None if m.event == "echo" and not m.wait else m)(serve)


@_breaks("AR-10")
def error_event_lost(serve: Serve) -> Serve:
    """Sends errors only to asks."""
    return _changing(lambda m: None if m.is_error and not m.wait else m)(serve)


@_breaks("AR-10")
def room_lost(serve: Serve) -> Serve:
    """Forgets the room of the message that it answers."""
    return _changing(lambda m: m.replace(room="") if m.event == "echo" else m)(serve)


@_breaks("EV-6")
def error_taken_for_body(serve: Serve) -> Serve:
    """Gives an error's text to a handler as the body."""
    return lambda payload: serve(
        payload.replace("echo;1;0;", "echo;0;0;") if isinstance(payload, str) else payload
    )


@_breaks("AR-1")
def asks_without_token(serve: Serve) -> Serve:
    """Asks its question without a token."""
    return _changing(lambda m: m.replace(wait="") if m.event == "question" else m)(serve)


# ---------------------------------------------------------------- namespaces


@_breaks("NS-1")
def connect_without_effect(serve: Serve) -> Serve:
    """Says that a namespace is connected, and drops its events."""
    return _changing(lambda m: None if m.event == "echo" else m)(serve)


@_breaks("NS-2")
def tokenless_connect_taken(serve: Serve) -> Serve:
    """Connects a namespace without being asked for a reply."""

    def wrong(payload: str | bytes) -> Payloads:
        if payload == ";app;;_OnNamespaceConnect;0;0;":
            serve(f"$own{payload}")
            return []
        return serve(payload)

    return wrong


@_breaks("NS-2")
def no_op_connect_taken(serve: Serve) -> Serve:
    """Connects a namespace though nothing was to be done."""
    return lambda payload: serve(
        payload.replace(";0;1;", ";0;0;") if isinstance(payload, str) else payload
    )


@_breaks("NS-3")
def other_text_for_unknown(serve: Serve) -> Serve:
    """Refuses an unknown namespace in words of its own."""
    return _changing(lambda m: m.replace(body="not found") if m.body == "bad namespace" else m)(
        serve
    )


@_breaks("NS-4")
def refusal_ignored(serve: Serve) -> Serve:
    """Connects what the application refused."""
    return _changing(
        lambda m: m.empty_reply() if m.body in ("namespace is closed", "room is locked") else m
    )(serve)


@_breaks("NS-5")
def second_connect_refused(serve: Serve) -> Serve:
    """Takes a second connect for a mistake."""
    seen: set[str] = set()

    def answer(message: Message) -> Message | None:
        if message.event not in ("_OnNamespaceConnect", "_OnRoomJoin"):
            return None
        name = f"{message.namespace};{message.room}"
        if name in seen:
            return message.error_reply("already there")
        seen.add(name)
        return None

    return _answering(answer)(serve)


@_breaks("NS-6")
def disconnect_without_effect(serve: Serve) -> Serve:
    """Says that a namespace is disconnected, and goes on with its events."""
    return _answering(lambda m: m.empty_reply() if m.event == "_OnNamespaceDisconnect" else None)(
        serve
    )


@_breaks("NS-8")
def needless_disconnect_refused(serve: Serve) -> Serve:
    """Refuses to disconnect what is not connected, and to leave what was not joined."""
    here: set[str] = set()

    def answer(message: Message) -> Message | None:
        name = f"{message.namespace};{message.room}"
        match message.event:
            case "_OnNamespaceConnect" | "_OnRoomJoin":
                here.add(name)
            case "_OnNamespaceDisconnect" | "_OnRoomLeave" if name not in here:
                return message.error_reply("not there")
        return None

    return _answering(answer)(serve)


@_breaks("NS-9")
def unconnected_answered(serve: Serve) -> Serve:
    """Answers what is sent to a namespace that is not connected."""

    def wrong(payload: str | bytes) -> Payloads:
        message = _frame(payload)
        sent = serve(payload)
        if not sent and message and message.namespace == "app" and message.event != "silent":
            return [encode(message.error_reply("bad namespace"))]
        return sent

    return wrong


@_breaks("NS-15")
def empty_namespace_always_there(serve: Serve) -> Serve:
    """Takes the empty namespace for connected from the start."""
    return lambda payload: [payload] if payload == ";;;echo;0;0;hi" else serve(payload)


@_breaks("NS-17")
def unconnected_unanswered(serve: Serve) -> Serve:
    """Drops asks for a namespace that is not connected, as the Go server does."""
    return _changing(lambda m: None if m.body == "bad namespace" and m.namespace == "app" else m)(
        serve
    )


# ---------------------------------------------------------------- rooms


@_breaks("RM-1")
def join_unanswered(serve: Serve) -> Serve:
    """Joins a room without saying so."""

    def wrong(payload: str | bytes) -> Payloads:
        message = _frame(payload)
        sent = serve(payload)
        return [] if message and message.event == "_OnRoomJoin" else sent

    return wrong
