"""Codecs that are wrong, each in one way: what they make of the answers of the correct one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, Final

from mutation.registry import Mutant, about, register, words
from neffos_codec import ESCAPE
from neffos_conformance.cases.definition import Case
from neffos_conformance.codecs.testing import run_vector
from neffos_conformance.codecs.values import content_of, value_of
from neffos_conformance.reference.codec_adapter import answer
from neffos_conformance.runner.result import Result
from neffos_conformance.runner.run import Run

Values = dict[str, Any]
Answer = Callable[[str, Values], Values]
"""What a codec answers to an operation with its request."""

Distort = Callable[[Answer], Answer]

NAMES: Final = ("namespace", "room", "event")
"""The fields in which the separator is escaped."""


def codec(requirement: str) -> Callable[[Distort], Distort]:
    """Register a codec by what it makes of a correct one's answers, which breaks a requirement."""

    def put(distort: Distort) -> Distort:
        @asynccontextmanager
        async def stage() -> AsyncIterator[Run]:
            wrong = distort(answer)

            async def run(case: Case) -> Result:
                return run_vector(case, lambda request: wrong(request["op"], request))

            yield run

        register(Mutant(f"codec-{words(distort)}", "codec", requirement, about(distort), stage))
        return distort

    return put


def reading(change: Callable[[Values, Values], Values | None]) -> Distort:
    """Change what a frame is read as: the request and the seven fields are given."""

    def distort(right: Answer) -> Answer:
        def wrong(op: str, request: Values) -> Values:
            given = right(op, request)
            if op == "decode" and "message" in given:
                changed = change(request, dict(given["message"]))
                return {"reject": True} if changed is None else {"message": changed}
            return given

        return wrong

    return distort


def writing(*ops: str) -> Callable[[Callable[[Values, Any], Any]], Distort]:
    """Change what is written by some operations: the request and the payload are given."""

    def make(change: Callable[[Values, Any], Any]) -> Distort:
        def distort(right: Answer) -> Answer:
            def wrong(op: str, request: Values) -> Values:
                given = right(op, request)
                if op in ops and "payload" in given:
                    return {"payload": change(request, given["payload"])}
                return given

            return wrong

        return distort

    return make


def instead(change: Callable[[str, Values, Values], Values | None]) -> Distort:
    """Give an answer of one's own to some requests; the correct one is given, too."""

    def distort(right: Answer) -> Answer:
        def wrong(op: str, request: Values) -> Values:
            given = right(op, request)
            own = change(op, request, given)
            return given if own is None else own

        return wrong

    return distort


def octets(value: Any) -> bytes:
    """Give the octets of a value, be it text or not."""
    content = content_of(value)
    return content if isinstance(content, bytes) else content.encode("utf-8", "surrogateescape")


# -------------------------------------------------------------------- the frame


@codec("FR-1")
def body_cut(right: Answer) -> Answer:
    """Takes a text body to end at the next semicolon."""

    def change(request: Values, message: Values) -> Values:
        body = message["body"]
        is_plain = isinstance(body, str) and not message["is_error"] and "limits" not in request
        cut = is_plain and message["event"]
        return {**message, "body": body.partition(";")[0] if cut else body}

    return reading(change)(right)


@codec("FR-1")
def room_and_event_swapped(right: Answer) -> Answer:
    """Reads the room where the event is."""
    return reading(lambda _, m: {**m, "room": m["event"], "event": m["room"]})(right)


@codec("FR-2")
def five_separators_taken(right: Answer) -> Answer:
    """Takes five separators for a frame with an empty body."""

    def change(op: str, request: Values, _: Values) -> Values | None:
        if op != "decode" or request.get("native", "never") != "never" or "limits" in request:
            return None
        if octets(request["payload"]).count(b";") != 5:
            return None
        content = content_of(request["payload"])
        whole = content + ";" if isinstance(content, str) else content + b";"
        return right(op, {**request, "payload": value_of(whole)})

    return instead(change)(right)


@codec("FR-3")
def fields_not_unescaped(right: Answer) -> Answer:
    """Leaves the escape in a field that it has read, where there is text behind it."""

    def change(_: Values, message: Values) -> Values:
        return {
            name: value.replace(";", ESCAPE)
            if name in NAMES and isinstance(value, str) and not value.endswith(";")
            else value
            for name, value in message.items()
        }

    return reading(change)(right)


@codec("FR-3")
def body_unescaped(right: Answer) -> Answer:
    """Takes the escape for a separator in the body too."""

    def change(_: Values, message: Values) -> Values:
        body = message["body"]
        return {**message, "body": body.replace(ESCAPE, ";") if isinstance(body, str) else body}

    return reading(change)(right)


@codec("FR-3")
def fields_not_escaped(right: Answer) -> Answer:
    """Writes a semicolon in a field as it stands."""
    return writing("encode", "reply")(
        lambda _, p: p.replace(ESCAPE, ";") if isinstance(p, str) else p
    )(right)


@codec("SEC-15")
def unescaped_too_late(right: Answer) -> Answer:
    """Gives a namespace out as it stands in the frame, where it is an escape alone."""

    def change(request: Values, message: Values) -> Values:
        is_alone = octets(request["payload"]).endswith(f"{ESCAPE};;e;0;0;".encode())
        name = message["namespace"]
        if is_alone and name == ";" and "limits" not in request:
            message["namespace"] = name.replace(";", ESCAPE)
        return message

    return reading(change)(right)


@codec("FR-4")
def writes_what_reads_back_changed(right: Answer) -> Answer:
    """Writes a name that a receiver would read back changed."""

    def change(op: str, _: Values, given: Values) -> Values | None:
        is_that = op in ("encode", "reply") and given.get("reject") == "escape-literal"
        return {"payload": ";changed;;e;0;0;"} if is_that else None

    return instead(change)(right)


@codec("FR-5")
def separator_in_wait(right: Answer) -> Answer:
    """Writes a token with a separator in it."""

    def change(op: str, request: Values, given: Values) -> Values | None:
        wait = request.get("message", {}).get("wait", "")
        is_that = op in ("encode", "reply") and "reject" in given and b";" in octets(wait)
        return {"payload": f"{wait};n;;e;0;0;"} if is_that else None

    return instead(change)(right)


@codec("FR-6")
def flags_in_words(right: Answer) -> Answer:
    """Writes a set no-op flag as t."""
    return writing("encode", "reply")(
        lambda _, p: p.replace(";1;", ";t;") if isinstance(p, str) and ";1;1;" in p else p
    )(right)


@codec("FR-7")
def any_flag_is_true(right: Answer) -> Answer:
    """Reads a flag of the letters t, y and T as true."""

    def change(request: Values, message: Values) -> Values:
        parts = octets(request["payload"]).split(b";", 6)
        for name, part in zip(("is_error", "is_no_op"), parts[4:6], strict=True):
            if part in (b"t", b"T", b"y", b"true", b"yes", b"2", b"01", b"11", b" 1", b"1 "):
                message[name] = True
        return message

    return reading(change)(right)


@codec("FR-8")
def error_needs_a_text(right: Answer) -> Answer:
    """Reads an error without a text as none, as the Go peer does."""

    def change(_: Values, message: Values) -> Values:
        is_without = message["event"] and octets(message["body"]) == b""
        return {**message, "is_error": message["is_error"] and not is_without}

    return reading(change)(right)


@codec("FR-9")
def empty_error_written(right: Answer) -> Answer:
    """Writes an error without a text."""

    def change(_: str, __: Values, given: Values) -> Values | None:
        is_that = given.get("reject") == "empty-error-text"
        return {"payload": "$1;chat;;say;1;0;"} if is_that else None

    return instead(change)(right)


@codec("FR-10")
def body_trimmed(right: Answer) -> Answer:
    """Cuts spaces and line ends off a body."""

    def change(request: Values, message: Values) -> Values:
        body = message["body"]
        is_plain = isinstance(body, str) and body.isascii() and not message["is_error"]
        if is_plain and "native" not in request and str(message["event"]).isprintable():
            message["body"] = body.strip(" \r\n\t")
        return message

    return reading(change)(right)


@codec("FR-11")
def text_for_binary(right: Answer) -> Answer:
    """Writes a binary message as text, where it is UTF-8."""

    def change(_: Values, payload: Any) -> Any:
        content = content_of(payload)
        return payload if isinstance(content, str) else content.decode("utf-8", "replace")

    return writing("reply")(change)(right)


@codec("FR-12")
def latin_letters(right: Answer) -> Answer:
    """Reads what is not UTF-8 as if it were."""

    def change(op: str, request: Values, given: Values) -> Values | None:
        is_that = op == "decode" and given.get("reject") == "utf8" and "native" not in request
        if not is_that:
            return None
        return right(op, {**request, "reading": "lenient"})

    return instead(change)(right)


@codec("FR-13")
def long_empty_reply(right: Answer) -> Answer:
    """Writes the flags of an empty reply."""

    def change(request: Values, payload: Any) -> Any:
        is_empty = isinstance(payload, str) and payload.endswith(";;;;;;")
        return f"{payload[:-3]}0;0;" if is_empty and "native" not in request else payload

    return writing("encode", "reply")(change)(right)


@codec("FR-14")
def empty_message_taken(right: Answer) -> Answer:
    """Reads an empty message as a frame of empty fields."""

    def change(op: str, request: Values, given: Values) -> Values | None:
        is_that = op == "decode" and given.get("reject") == "empty"
        return right(op, {**request, "payload": ";;;;;;"}) if is_that else None

    return instead(change)(right)


@codec("FR-15")
def octets_read_otherwise(right: Answer) -> Answer:
    """Refuses a long frame of octets that it takes as text."""

    def change(op: str, request: Values, given: Values) -> Values | None:
        payload = request.get("payload")
        is_that = op == "decode" and isinstance(payload, dict) and "message" in given
        head = b";".join(octets(payload).split(b";")[:6]) if is_that and payload else b""
        is_long = len(head) > LONG and head.isascii() and "limits" not in request
        return {"reject": True} if is_long else None

    return instead(change)(right)


LONG: Final = 2_000
"""Octets from which on one of the mutants takes another way through a frame."""

# -------------------------------------------------------------------- the handshake


@codec("HS-1")
def other_request(right: Answer) -> Answer:
    """Writes the request as a small letter."""

    def change(request: Values, payload: Any) -> Any:
        return "m" if "request" in request["handshake"] else payload

    return writing("encode-handshake")(change)(right)


@codec("HS-1")
def request_unknown(right: Answer) -> Answer:
    """Does not know the request for what it is."""

    def change(op: str, request: Values, _: Values) -> Values | None:
        is_that = op == "decode-handshake" and request["payload"] == "M"
        return {"reject": True} if is_that else None

    return instead(change)(right)


@codec("HS-2")
def more_behind_the_request(right: Answer) -> Answer:
    """Takes a request for sound that has more behind its letter, read strictly."""

    def change(op: str, _: Values, given: Values) -> Values | None:
        is_that = op == "decode-handshake" and given.get("reject") == "handshake-trailing"
        return {"handshake": {"request": {}}} if is_that else None

    return instead(change)(right)


@codec("HS-3")
def id_trimmed(right: Answer) -> Answer:
    """Writes an acceptance without its letter."""

    def change(request: Values, payload: Any) -> Any:
        return payload[1:] if "accept" in request["handshake"] else payload

    return writing("encode-handshake")(change)(right)


@codec("HS-4")
def refusal_taken_for_acceptance(right: Answer) -> Answer:
    """Reads a refusal as an acceptance."""

    def change(op: str, request: Values, given: Values) -> Values | None:
        text = given.get("handshake", {}).get("refuse") if op == "decode-handshake" else None
        is_text = isinstance(request["payload"], str) if op == "decode-handshake" else False
        return {"handshake": {"accept": text}} if text is not None and is_text else None

    return instead(change)(right)


@codec("HS-5")
def binary_handshake_sound(right: Answer) -> Answer:
    """Takes a handshake message in binary for sound, read strictly."""

    def change(op: str, request: Values, given: Values) -> Values | None:
        is_that = op == "decode-handshake" and given.get("reject") == "handshake-binary"
        return right(op, {**request, "reading": "lenient"}) if is_that else None

    return instead(change)(right)


@codec("HS-6")
def empty_id_sound(right: Answer) -> Answer:
    """Takes an acceptance without an id for sound."""

    def change(op: str, _: Values, given: Values) -> Values | None:
        if given.get("reject") != "handshake-id":
            return None
        is_read = op == "decode-handshake"
        return {"handshake": {"accept": ""}} if is_read else {"payload": "A"}

    return instead(change)(right)


@codec("HS-7")
def wants_exactly_m(right: Answer) -> Answer:
    """Takes nothing but a lone M for a request."""

    def change(op: str, request: Values, given: Values) -> Values | None:
        is_request = op == "decode-handshake" and "request" in given.get("handshake", {})
        more = is_request and octets(request["payload"]) != b"M"
        return {"reject": True} if more else None

    return instead(change)(right)


@codec("HS-19")
def id_ends_at_a_separator(right: Answer) -> Answer:
    """Takes an id to end where the first field of a frame would."""

    def change(op: str, _: Values, given: Values) -> Values | None:
        id_ = given.get("handshake", {}).get("accept") if op == "decode-handshake" else None
        if not isinstance(id_, str) or ";" not in id_:
            return None
        return {"handshake": {"accept": id_.partition(";")[0]}}

    return instead(change)(right)


# -------------------------------------------------------------------- asks


@codec("AR-1")
def token_lost(right: Answer) -> Answer:
    """Writes an empty reply, or what answers no ask, with a token of its own."""

    def change(request: Values, payload: Any) -> Any:
        is_tokenless = isinstance(payload, str) and not request["message"]["wait"]
        return f"$0{payload}" if is_tokenless else payload

    return writing("reply")(change)(right)


@codec("AR-7")
def event_lost_in_reply(right: Answer) -> Answer:
    """Writes the reply to an ask under another event."""
    return writing("reply")(lambda _, p: p.replace(";say;", ";said;") if isinstance(p, str) else p)(
        right
    )


@codec("AR-8")
def empty_reply_refused(right: Answer) -> Answer:
    """Cannot write an empty reply to an ask for a change."""

    def change(op: str, request: Values, _: Values) -> Values | None:
        event = request.get("message", {}).get("event")
        names = ("_OnNamespaceConnect", "_OnRoomJoin")
        is_that = op == "reply" and "empty" in request["reply"] and event in names
        is_text = is_that and isinstance(request["message"]["body"], str)
        return {"reject": True} if is_text else None

    return instead(change)(right)


@codec("AR-16")
def reply_in_the_kind_of_its_body(right: Answer) -> Answer:
    """Writes a reply in the kind of its body, not of the ask."""

    def change(request: Values, payload: Any) -> Any:
        body = request["reply"].get("body", request["reply"].get("error"))
        if isinstance(payload, dict) and isinstance(body, str):
            return octets(payload).decode()
        return payload

    return writing("reply")(change)(right)


# -------------------------------------------------------------------- tokens


def token_of(kind: str, other: str, *begins: str) -> Distort:
    """Take a wait field of one kind, or of those that begin so, for one of another."""

    def change(op: str, request: Values, given: Values) -> Values | None:
        parsed = given.get("parsed", {}) if op == "parse-wait" else {}
        is_that = parsed.get("kind") == kind and not parsed.get("from_exchange")
        if begins:
            wait = str(request.get("wait"))
            is_that = is_that and wait.startswith(begins) and "!" not in wait and wait.isascii()
        return {"parsed": {**parsed, "kind": other}} if is_that else None

    return instead(change)


@codec("AR-2")
def clients_ask_taken_for_a_servers(right: Answer) -> Answer:
    """Takes a client's token for a server's."""
    return token_of("client-ask", "server-ask")(right)


@codec("AR-3")
def servers_ask_taken_for_a_clients(right: Answer) -> Answer:
    """Takes a server's token of digits for a client's."""
    return token_of("server-ask", "client-ask", "1")(right)


@codec("AR-4")
def confirmation_taken_for_an_ask(right: Answer) -> Answer:
    """Takes a confirmation's token for one that asks."""
    return token_of("confirmation", "server-ask")(right)


@codec("SX-1")
def sender_taken_for_a_token(right: Answer) -> Answer:
    """Takes an explicit sender for a token."""
    return token_of("explicit-sender", "server-ask")(right)


@codec("SX-2")
def marker_left_in(right: Answer) -> Answer:
    """Leaves the marker of an exchange in the token."""

    def change(op: str, request: Values, given: Values) -> Values | None:
        parsed = given.get("parsed", {}) if op == "parse-wait" else {}
        if not parsed.get("from_exchange"):
            return None
        return {"parsed": {**parsed, "token": request["wait"]}}

    return instead(change)(right)


# -------------------------------------------------------------------- native messages, limits


@codec("NM-1")
def native_written_anyway(right: Answer) -> Answer:
    """Writes a native message to a peer that takes only frames."""

    def change(op: str, request: Values, given: Values) -> Values | None:
        is_native = op == "encode" and "native_payload" in request
        is_never = is_native and request.get("native", "never") == "never" and "reject" in given
        return {"payload": request["native_payload"]} if is_never else None

    return instead(change)(right)


@codec("NM-2")
def native_refused(right: Answer) -> Answer:
    """Refuses what is no frame, though native messages are spoken beside frames."""

    def change(op: str, request: Values, given: Values) -> Values | None:
        is_that = op == "decode" and request.get("native") == "fallback" and "native" in given
        return {"reject": True} if is_that else None

    return instead(change)(right)


@codec("NM-3")
def native_that_is_a_frame(right: Answer) -> Answer:
    """Writes a native message that reads as a frame."""

    def change(op: str, request: Values, given: Values) -> Values | None:
        is_that = op == "encode" and given.get("reject") == "native-looks-like-frame"
        return {"payload": request["native_payload"]} if is_that else None

    return instead(change)(right)


@codec("NM-5")
def native_event_taken_for_another(right: Answer) -> Answer:
    """Reads the event of native messages as none."""
    return reading(lambda _, m: {**m, "event": ""} if m["event"] == "_OnNativeMessage" else m)(
        right
    )


@codec("SEC-1")
def limits_ignored(right: Answer) -> Answer:
    """Reads what is over a limit."""

    def change(op: str, request: Values, given: Values) -> Values | None:
        is_over = op == "decode" and "limits" in request and "reject" in given
        if not is_over:
            return None
        return right(op, {name: each for name, each in request.items() if name != "limits"})

    return instead(change)(right)


# ------------------------------------------------------------- codecs that are wrong at large


@codec("FR-2")
def never_refuses(right: Answer) -> Answer:
    """Reads everything as some frame, and writes whatever it is given."""

    def change(op: str, _: Values, given: Values) -> Values | None:
        if "reject" not in given:
            return None
        return (
            {"payload": "?"}
            if op in ("encode", "reply", "encode-handshake")
            else {"message": NOTHING_READ}
        )

    return instead(change)(right)


NOTHING_READ: Final[Values] = {
    "wait": "",
    "namespace": "",
    "room": "",
    "event": "",
    "is_error": False,
    "is_no_op": False,
    "body": "",
}
"""A frame of empty fields, as it stands in an answer."""


@codec("FR-10")
def line_end_added(right: Answer) -> Answer:
    """Puts a line end behind whatever it reads and writes."""

    def change(_: str, __: Values, given: Values) -> Values | None:
        match given:
            case {"payload": payload}:
                return {"payload": longer(payload)}
            case {"message": {"body": body} as message}:
                return {"message": {**message, "body": longer(body)}}
            case {"native": payload}:
                return {"native": longer(payload)}
            case {"handshake": {"accept": text}}:
                return {"handshake": {"accept": longer(text)}}
            case {"handshake": {"refuse": text}}:
                return {"handshake": {"refuse": longer(text)}}
            case {"parsed": {"token": token, "sender": sender} as parsed}:
                return {"parsed": {**parsed, "token": longer(token), "sender": longer(sender)}}
        return None

    return instead(change)(right)


def longer(value: Any) -> Any:
    """Give a value with a line end behind it."""
    content = content_of(value)
    return value_of(content + "\n" if isinstance(content, str) else content + b"\n")


@codec("HS-7")
def takes_anything_for_a_request(right: Answer) -> Answer:
    """Takes whatever comes first for a request to be let in."""

    def change(op: str, _: Values, __: Values) -> Values | None:
        return {"handshake": {"request": {}}} if op == "decode-handshake" else None

    return instead(change)(right)
