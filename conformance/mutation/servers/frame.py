"""Servers with a fault in the frame, and in native messages."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from typing import Final
from urllib.parse import unquote

from websockets.frames import Opcode

from mutation import fault_proxy as proxy
from mutation import hooks as on
from mutation import operators as do
from mutation.fault_proxy import CUT, Frame, FrameEffect, Proxy, Tunnel
from mutation.hooks import CONNECT, DISCONNECT, LEAVE, UNKNOWN, Effect, Hooks, Payload, when
from mutation.operators import is_utf8
from mutation.registry import mutant, mutants
from neffos_codec import ESCAPE, Message
from neffos_protocol.names import NATIVE_EVENT

MAX_NOISE: Final = 10
"""How many payloads that are not frames one of these servers accepts."""

STRAY: Final = {"is_accepted": True, "message": None}
"""The trigger of payloads after the handshake that are not frames; they may be empty."""

IN_EMPTY: Final = do.in_namespace("")
NOT_IN_EMPTY: Final = do.in_namespace("", is_in=False)


def _is_framed(body: Payload) -> bool:
    return on.frame_of(body) is not None


NATIVE: Final = {**STRAY, "is_in": IN_EMPTY}
"""The trigger of those on the mixed endpoint, whose namespace is connected."""


def _bodies(change: Callable[[str], str]) -> Hooks:
    """Change the text of bodies that are sent."""
    return on.send(do.change(body=change), is_binary=False, is_error=False)


def _octets(change: Callable[[bytes], bytes], **trigger: object) -> Hooks:
    """Change binary bodies that are sent."""
    return on.send(do.change(body=change), is_binary=True, **trigger)


def _escape_first(sent: str) -> str:
    message = on.frame_of(sent)
    first, escape, rest = sent.partition(ESCAPE)
    is_name = message is not None and ";" in message.event
    return first + escape + rest.replace(ESCAPE, ";") if is_name else sent


TRUE_ELSEWHERE: Final = re.compile(r";(01;01|true;true| 1;1 |11;1\.0|\uff11;\+1|true;01);")
"""Pairs of flags that some language reads as true, or as one."""


@mutant("FR-8", on.receive, is_error=True, body="", is_binary=False)
def empty_error_is_success(c: on.ServerContext, m: Message) -> Effect:
    """Treats an error without a text as success."""
    if m.wait[:1] in ("", "$"):
        return None
    return c.serve(m.empty_reply() if "_On" in str(c.payload) else m.reply(""))


NO_TEXT: Final = "no text was given"
"""The error text of the conformance application's server where the application has none."""


def _through_text(body: bytes) -> bytes:
    return body.decode(errors="replace").encode()


def _until_nul(body: Payload) -> Payload:
    return body.split("\0")[0] if isinstance(body, str) else body.split(b"\0")[0]


def _with_lf(body: Payload) -> Payload:
    return body.replace("\r\n", "\n") if isinstance(body, str) else body.replace(b"\r\n", b"\n")


def _guess(_: on.ServerContext, sent: Payload) -> Effect:
    content = sent.encode() if isinstance(sent, str) else sent
    if on.frame_of(sent) is None or content.endswith(b";;;;;;"):
        return None
    return content.decode() if is_utf8(content) and min(content) >= ord(" ") else content


HEAD: Final = b"$1;app;;echo;0;0;"
"""What the text begins with that one of these servers does not check."""


def _as_a_message(link: Tunnel, frame: Frame) -> FrameEffect:
    opcode = Opcode(frame.opcode or link.kind)
    return None if frame.is_control else replace(frame, opcode=opcode, fin=True)


def _has_more(payload: Payload) -> bool:
    return (payload.count(";") if isinstance(payload, str) else payload.count(b";")) > 6


def _unmasked(_: Tunnel, frame: Frame) -> FrameEffect:
    is_odd = frame.content.startswith(b"$2;app;;echo") and frame.content.endswith(b"\x00\xff")
    return replace(frame, data=frame.content[:-1]) if is_odd else None


def _replaced(old: bytes, new: bytes) -> proxy.FrameHook:
    return lambda _, frame: replace(frame, data=frame.content.replace(HEAD + old, HEAD + new))


def _normalised(_: on.ServerContext, m: Message) -> Effect:
    name = unicodedata.normalize("NFC", m.event)
    return m.replace(event=name, body=name) if m.body == m.event else None


mutants(
    "FR-4 literal-pushed: Sends an event whose name contains the escape literal.",
    on.receive(do.give(f";app;;ec{ESCAPE}ho;0;0;pushed"), event="push", body=do.has(ESCAPE)),
    "FR-4 near-literal-pushed: Sends an event whose escaped name begins with the escape literal.",
    on.receive(
        do.give(f";app;;{ESCAPE}semicolon@%!;0;0;pushed"), event="push", body="@%!semicolon;"
    ),
    "FR-2 five-separators-taken: Treats five separators as a frame with an empty body.",
    on.receive_raw(do.five_separators),
    "FR-1 body-cut: Treats the body as ending at the next semicolon.",
    _bodies(lambda body: body.split(";")[0]),
    "FR-1 body-after-last-separator: Treats the body as beginning after the last semicolon.",
    _bodies(lambda body: body if ESCAPE in body else body.rsplit(";")[-1]),
    "FR-1 last-semicolons-dropped: Treats final semicolons of a body as empty fields.",
    on.send(do.change(body=lambda body: body.rstrip(";")), is_binary=False, event="echo"),
    "FR-1 empty-body-left-out: Leaves out the last separator where there is no body.",
    do.sent_text(lambda sent: sent.removesuffix(";") if sent.endswith(";0;0;") else sent),
    "FR-1 six-separators-exactly: Drops a frame that has more than six separators.",
    on.receive_raw(do.drop, payload=_has_more, is_accepted=True),
    "FR-1 room-before-namespace: Writes the room before the namespace, where there is one.",
    on.send(lambda _, m: m.replace(namespace=m.room, room=m.namespace), room=bool),
    "FR-2 word-taken-for-event: Treats a text without separators as an event, and complains of it.",
    on.receive_raw(
        lambda _, word: Message(namespace="app", event=word, is_error=True, body="no such event"),
        payload=lambda sent: isinstance(sent, str) and sent != "" and ";" not in sent,
        **STRAY,
    ),
    "FR-16 noise-returned: Sends back what is not a frame.",
    on.receive_raw(lambda _, payload: payload, payload=bool, **STRAY),
    "FR-16 noise-ends-it: Fails the connection on a payload that is not a frame.",
    on.receive_raw(do.fail("not a frame"), payload=bool, **STRAY),
    "FR-16 noise-counted: Fails the connection on the eleventh payload that is not a frame.",
    on.receive_raw(do.from_number(MAX_NOISE + 1, do.fail("too much noise")), payload=bool, **STRAY),
    "FR-16 second-request-ends-it: Fails the connection on a second handshake request.",
    on.receive_raw(do.from_number(2, do.fail("asked twice")), payload="M", is_in=NOT_IN_EMPTY),
    "FR-16 early-noise-ends-it: Fails the connection on JSON before the handshake request.",
    on.receive_raw(do.fail("not a handshake"), payload=do.begins("{"), is_accepted=False),
    "FR-3 fields-not-escaped: Writes a semicolon in a field as it is.",
    do.sent_text(lambda sent: sent if sent.endswith(ESCAPE) else sent.replace(ESCAPE, ";")),
    "FR-3 one-escape-written: Escapes the first semicolon of a name only.",
    do.sent_text(_escape_first),
    "FR-3 room-not-unescaped: Sends the room with its escapes undone.",
    do.sent_text(lambda sent: sent.replace(f"a{ESCAPE}b;", "a;b;") if ";echo;" in sent else sent),
    "FR-3 escape-in-any-case: Reads the escape in capitals, too.",
    do.received_text(do.swap("@%!Semicolon@%!", ESCAPE)),
    "FR-3 escapes-read-again: Reads a field again until it contains no escape.",
    on.send(do.change(body=";"), event="@%!semi;colon@%!"),
    "FR-3 escapes-read-from-the-right: Reads escapes from right to left.",
    on.send(do.change(body="@%!semicolon;"), event=";semicolon@%!", wait="$1"),
    "FR-3 body-unescaped: Treats the escape literal as a semicolon in the body too.",
    on.send(do.change(body=do.swap(ESCAPE, ";")), is_binary=False, event=("echo", "fail")),
    "SEC-15 looked-up-escaped: Looks a namespace up as it is written in the frame.",
    on.receive(do.refuse(UNKNOWN), event=CONNECT, namespace=do.has(";"), wait=bool),
    "FR-5 token-unescaped: Treats the escape literal as a semicolon in the token, and writes that.",
    do.sent_text(do.swap(f"${ESCAPE}", "$;", 1)),
    "FR-6 false-left-empty: Writes nothing for a flag that is false.",
    do.sent_text(lambda sent: re.sub(r"^(\$1;app;;e[^;]*);0;0;", r"\1;;;", sent)),
    "FR-6 false-in-words: Writes the flags of its own messages in words.",
    do.sent_text(lambda s: s.replace(";0;0;", ";false;false;", 1) if s[:5] == ";app;" else s),
    "FR-6 own-events-marked: Sets the no-op flag of the events that it sends of its own.",
    on.send(do.change(is_no_op=True), event="hello"),
    "FR-6 flag-of-refusals-left-empty: Writes nothing for the second flag of a refusal.",
    do.sent_text(do.swap(f";1;0;{UNKNOWN}", f";1;;{UNKNOWN}")),
    "FR-6 binary-flags-left-empty: Writes nothing for the second flag of a binary frame.",
    on.send_raw(do.rewrite_bytes(do.swap(b";0;0;", b";0;;", 1))),
    "FR-7 any-flag-is-true: Treats every flag but 0 as true.",
    do.received_text(do.swap(";x;y;", ";1;1;")),
    "FR-7 flags-parsed: Treats as true what a language reads as true or as one.",
    do.received_text(lambda text: TRUE_ELSEWHERE.sub(";1;1;", text)),
    "FR-7 empty-flag-is-true: Treats an empty flag as true.",
    do.received_text(do.swap(";echo;;;", ";echo;1;1;")),
    "FR-7 no-op-is-false: Treats the no-op flag 1 of a connect as false.",
    do.received_text(do.swap(f";any;;{CONNECT};0;1;", f";any;;{CONNECT};0;0;")),
    "FR-8 event-without-text-is-no-error: Reads an error event without a text as another event.",
    on.receive(do.serve_with(is_error=False), event=do.is_event, is_error=True, body=("", b"")),
    "FR-9 refusal-without-text: Refuses an unknown namespace without a text.",
    on.send(do.change(body=lambda body: body[:0]), event=CONNECT, body=(UNKNOWN, UNKNOWN.encode())),
    "FR-9 error-without-text: Sends an error without a text where the application has none.",
    on.send(do.change(body=lambda body: body[:0]), body=(NO_TEXT, NO_TEXT.encode())),
    "FR-17 error-text-as-latin-1: Reads the error text of a binary frame as Latin-1.",
    _octets(lambda body: body.decode("latin-1").encode(), event="answer-error"),
    "FR-17 error-text-by-its-type: Gives the name of a type as the error text of a binary frame.",
    _octets(lambda _: b"[object ArrayBuffer]", event="answer-error"),
    "FR-17 error-text-written-as-latin-1: Writes the error text of a binary frame in Latin-1.",
    _octets(lambda body: body.decode().encode("latin-1", "replace"), is_error=True, event="fail"),
    "FR-10 ascii-only: Replaces what is not ASCII in bodies by question marks.",
    _bodies(lambda body: body.encode("ascii", "replace").decode()),
    "FR-10 body-trimmed: Trims bodies.",
    _bodies(str.strip),
    "FR-10 body-ends-at-nul: Treats a body as ending at a NUL.",
    on.send(do.change(body=_until_nul)),
    "FR-10 body-normalised: Normalises bodies.",
    _bodies(lambda body: unicodedata.normalize("NFC", body)),
    "FR-10 body-percent-decoded: Treats a body as part of a URL.",
    _bodies(unquote),
    "FR-10 line-ends-converted: Writes LF for CR LF, in binary too.",
    on.send(do.change(body=_with_lf)),
    "FR-10 octets-through-text: Converts binary bodies to text and back.",
    _octets(_through_text),
    "FR-10 body-cut-at-64-kib: Has room for bodies of 64 KiB.",
    on.send(do.change(body=lambda body: body[:65536])),
    "FR-10 question-through-text: Converts the binary body of a question to text and back.",
    _octets(_through_text, event=("question", "answer", "news")),
    "FR-11 text-for-binary: Answers binary with text.",
    on.send_raw(do.rewrite_bytes(lambda sent: sent.decode("latin-1"))),
    "FR-11 kind-guessed: Sends as text what is UTF-8 and can be printed, and all else in binary.",
    on.send_raw(_guess),
    "FR-11 lines-apart: Treats each line of a text as a message.",
    on.receive_raw(
        lambda c, payload: [sent for line in payload.splitlines() for sent in c.serve(line)],
        payload=do.has("\n$"),
    ),
    "FR-11 broadcasts-in-text: Broadcasts in text only.",
    on.send(do.as_text, event="news", is_binary=True),
    "FR-12 names-as-they-came: Keeps the names of a binary frame as bytes.",
    on.receive_raw(lambda _, sent: sent + b"\xff", payload=do.begins(b"$1;any;;\xff;")),
    "FR-12 refused-name-as-it-came: Sends a namespace that it refuses back as it came.",
    on.receive_raw(
        lambda _, sent: b"%b;;%b;1;0;%b" % (sent[:6], CONNECT.encode(), UNKNOWN.encode()),
        payload=do.begins(b"$1;no\xff;"),
    ),
    "FR-12 refused-name-as-latin-1: Writes a namespace that it refuses in Latin-1.",
    on.send_raw(do.rewrite_bytes(do.swap("é".encode(), "é".encode("latin-1")))),
    "FR-12 names-as-latin-1: Writes the names of a binary frame in Latin-1.",
    on.receive_raw(
        when(lambda _, sent: sent + b"\xc3\xbf", payload=do.isnt_utf8),
        payload=do.begins(b"$1;any;"),
    ),
    "FR-12 text-unchecked: Sends the bytes of a text back as they are, UTF-8 or not.",
    Proxy(inward=_replaced(b"\xff", b"\x1a"), outward=_replaced(b"\x1a", b"\xff")),
    "FR-13 long-empty-reply: Writes the flags of an empty reply.",
    do.sent_text(lambda sent: f"{sent[:-2]}0;0;" if sent.endswith(";;;;;;") else sent),
    "FR-13 binary-empty-reply: Sends an empty reply with the type of the ask.",
    on.send(
        lambda _, m: f"{m.wait};;;;;;".encode(), is_empty_reply=True, message={"is_binary": True}
    ),
    "FR-13 empty-reply-to-leave-is-long: Writes the flags of the empty reply to a leave.",
    on.send(do.with_flags, is_empty_reply=True, message={"event": LEAVE}),
    "FR-14 empty-message-answered: Complains about an empty message.",
    on.receive_raw(do.give(";app;;error;1;0;empty message"), payload=("", b"")),
    "FR-14 empty-message-ends-it: Treats an empty message as the end of the connection.",
    on.receive_raw(do.fail("end of input"), payload=("", b"")),
    "FR-14 empty-message-is-first: Counts an empty message as the first of a connection.",
    on.receive_raw(do.deaf_after("", b"")),
    "FR-14 empty-message-is-native: Sends an empty message back as a native one beside frames.",
    on.receive_raw(do.give([""]), payload=("", b""), is_in=IN_EMPTY),
    "FR-15 fragments-are-messages: Treats each fragment as a message.",
    proxy.inward(_as_a_message),
    "FR-15 fragments-checked-apart: Checks that each fragment of a text is UTF-8.",
    proxy.inward(do.give(CUT), opcode=Opcode.TEXT, fin=False, content=do.isnt_utf8),
    "FR-15 fragments-without-pings: Forgets a fragment when a ping comes after it.",
    proxy.inward(lambda _, __: CUT, is_control=True, is_amid=True),
    "FR-15 cut-escapes-missed: Does not recognise an escape that is cut between two fragments.",
    proxy.inward(
        lambda _, frame: replace(frame, data=b"%!Semi"), opcode=Opcode.CONT, content=b"%!semi"
    ),
    "FR-15 cut-request-missed: Does not recognise a handshake request in fragments.",
    proxy.inward(lambda _, frame: replace(frame, data=b"m"), fin=False, content=b"M"),
    "FR-15 masks-left-on: Treats a masked binary message as unmasked, where its first byte is odd.",
    proxy.inward(_unmasked, opcode=Opcode.BINARY, fin=True),
    "FR-18 case-folded: Treats names as one that differ in their case.",
    on.send(do.empty_reply, is_error=True, namespace="App"),
    "FR-18 events-case-folded: Treats events as one that differ in their case.",
    do.received_text(do.swap(";Echo;", ";echo;")),
    "FR-18 events-trimmed: Trims the names of events.",
    do.received_text(do.swap(";echo ;", ";echo;")),
    "FR-18 namespaces-trimmed: Trims the names of namespaces.",
    do.received_text(lambda text: text.replace("; app;", ";app;").replace(";app ;", ";app;")),
    "FR-18 names-normalised: Normalises names.",
    on.send(_normalised, namespace="any"),
    "FR-18 rooms-case-folded: Treats rooms as one that differ in their case.",
    do.received_text(do.swap(" aA;", " Aa;")),
)


# -------------------------------------------------------------------- native messages


def _while_connected(c: on.ServerContext, _: object) -> on.Payloads:
    """Have the current payload handled as if the empty namespace were connected."""
    c.aside(CONNECT, "")  # only the mixed endpoint has it
    sent = c.serve()
    c.aside(DISCONNECT, "")
    return sent


@mutant("NM-4", on.turn)
def native_kept_for_connect(c: on.ServerContext) -> on.Payloads:
    """Keeps native messages until the empty namespace is connected."""
    if c.payload and on.fits(STRAY, c) and not c.is_in(""):
        c.kept.append(c.payload)
    sent = c.serve()
    due = c.release() if c.is_in("") else []
    return sent + [each for payload in due for each in c.serve(payload)]


@mutant("FR-14", on.turn)
def empty_native_message_answered(c: on.ServerContext) -> on.Payloads:
    """Sends an empty message back at the native-only endpoint."""
    sent = c.serve()
    if c.payload:
        c.values.setdefault("is only", sent == [c.payload])
        return sent
    return [c.payload] if c.values.get("is only") else sent


def _native_only(change: on.PayloadHook, **trigger: object) -> Hooks:
    """Answer some payloads in another way at the native-only endpoint, which echoes them.

    The connection counts them. A trigger may name ``counts``, from 1 on.
    """
    given = when(change, **trigger)

    def hook(c: on.ServerContext) -> on.Payloads:
        sent = c.serve()
        is_only = bool(c.payload) and c.values.setdefault("is only", sent == [c.payload])
        effect = given(c, c.payload) if is_only and c.count() else None
        return sent if effect is None else on.payloads(effect)

    return on.turn(hook)


FIRST: Final = {"": 1}
"""What a connection has counted at its first payload."""


def _before(c: on.ServerContext, payload: Payload) -> Effect:
    before, c.server.values["last"] = c.server.values.get("last"), payload
    effect: Effect = before or payload
    return effect


mutants(
    "NM-1 seen-natively: Confirms an event by a native message.",
    on.after(do.give("seen"), event="echo", body="only frames"),
    "NM-2 native-octets-dropped: Treats only text as a native message.",
    on.receive_raw(do.drop, payload=lambda payload: isinstance(payload, bytes), **NATIVE),
    "NM-2 native-texts-dropped: Delivers no native text, as neffos.js does.",
    on.receive_raw(do.drop, payload=lambda payload: isinstance(payload, str), **NATIVE),
    "NM-2 native-with-separators-dropped: Treats a text with a separator as a damaged frame.",
    on.receive_raw(do.drop, payload=do.has(";"), **NATIVE),
    "NM-2 late-letters-dropped: Drops a native message that begins like a handshake message.",
    on.receive_raw(do.drop, payload=lambda payload: payload[:1] in ("M", "A", "H"), **NATIVE),
    "FR-10 native-trimmed: Trims native messages.",
    on.receive_raw(lambda c, payload: c.serve(payload.strip()), **NATIVE),
    "FR-10 native-cut: Cuts native messages at 4 KiB.",
    on.receive_raw(lambda c, payload: c.serve(payload[:4096]), **NATIVE),
    "EV-1 native-later: Handles a native message after the frame that follows it.",
    on.receive_raw(do.late(payload=bool, **NATIVE)),
    "NM-2 natives-mixed-up: Answers a native message with the one before, whoever sent that.",
    on.receive_raw(lambda c, payload: c.serve(_before(c, payload)), payload=bool, **NATIVE),
    "NM-2 frames-without-handler-are-native: Treats a frame without a handler as a native message.",
    on.receive(lambda c, _: c.payload, event="no such event", is_in=IN_EMPTY),
    "NM-3 frame-sent-natively: Sends a native message that reads as a frame.",
    on.receive(lambda _, m: m.body, event=NATIVE_EVENT, is_in=IN_EMPTY, body=_is_framed),
    "NM-3 empty-native-sent: Sends an empty native message.",
    on.receive(do.give([""]), event=NATIVE_EVENT, is_in=IN_EMPTY, namespace="", body=""),
    "NM-4 native-before-connect: Delivers native messages from the handshake on.",
    on.receive_raw(_while_connected, payload=bool, is_in=NOT_IN_EMPTY, **STRAY),
    "NM-4 native-after-disconnect: Delivers native messages after the empty namespace disconnects.",
    on.receive_raw(
        do.once(when(lambda _, sent: sent, message=None, is_in=NOT_IN_EMPTY), is_in=IN_EMPTY)
    ),
    "NM-4 framed-native-early: Delivers a native message in a frame before its namespace connects.",
    on.receive(_while_connected, event=NATIVE_EVENT, is_accepted=True, is_in=NOT_IN_EMPTY),
    "NM-5 framed-native-dropped: Drops native messages in frames.",
    on.receive(do.drop, event=NATIVE_EVENT, is_in=IN_EMPTY),
    "NM-5 framed-native-whole: Treats the whole frame as the native message.",
    on.receive(lambda c, _: c.payload, event=NATIVE_EVENT, is_in=IN_EMPTY, namespace=""),
    "NM-5 framed-native-anywhere: Ignores the namespace of a native message in a frame.",
    on.receive(do.serve_with(namespace=""), event=NATIVE_EVENT, is_in=IN_EMPTY),
    "NM-6 native-only-shakes-hands: Accepts a client on the native-only endpoint after an M.",
    _native_only(do.give("A1"), payload="M", counts=FIRST),
    "NM-1 native-only-greets: Sends an acceptance on the native-only endpoint at first.",
    _native_only(lambda _, payload: ["A1", payload], counts=FIRST),
    "NM-6 native-only-reads-frames: Drops frames on the native-only endpoint.",
    _native_only(do.drop, message=bool),
    "NM-6 native-only-connects: Answers a connect on the native-only endpoint.",
    _native_only(lambda c, _: c.message.empty_reply(), message=lambda m: m and m.event == CONNECT),
    "NM-6 native-only-unframes: Unpacks framed native messages on the native-only endpoint.",
    _native_only(lambda c, _: c.message.body, message=lambda m: m and m.event == NATIVE_EVENT),
    "NM-6 native-only-in-text: Sends only text on the native-only endpoint.",
    _native_only(do.rewrite_bytes(lambda payload: payload.decode("latin-1"))),
    "NM-6 native-only-without-letters: Drops what begins with A or H on the native-only endpoint.",
    _native_only(do.drop, payload=lambda payload: payload[:1] in ("A", "H")),
    "NM-6 native-only-loses-some: Loses one message of twenty on the native-only endpoint.",
    _native_only(do.drop, counts=lambda counts: counts[""] % 20 == 0),
    "NM-6 native-only-mixed-up: Answers on the native-only endpoint with the message before.",
    _native_only(_before),
    "NM-7 native-replies-lost: Sends no native message.",
    on.send_raw(
        do.drop, payload=lambda sent: not (_is_framed(sent) or sent[:1] in ("A", "H", "M")), **STRAY
    ),
    "NM-7 native-replies-in-text: Replies in text to a native message of bytes.",
    on.receive(
        lambda c, _: [
            sent.decode("latin-1") if isinstance(sent, bytes) else sent for sent in c.serve()
        ],
        event=NATIVE_EVENT,
        is_in=IN_EMPTY,
    ),
    "NM-7 native-sent-back: Sends a native message back as it came, instead of the reply.",
    on.receive(lambda c, _: [c.payload for _ in c.serve()], event=NATIVE_EVENT, is_in=IN_EMPTY),
)
