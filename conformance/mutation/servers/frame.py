"""Servers with a fault in the frame."""

from __future__ import annotations

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
from mutation.hooks import CONNECT, LEAVE, Effect, Hooks, Payload, ServerContext, frame_of
from mutation.operators import is_utf8
from mutation.registry import mutant, mutants
from neffos_codec import ESCAPE, Message


def _bodies(change: Callable[[str], str]) -> Hooks:
    """Change the text of bodies that are sent."""
    return on.send(do.change(body=change), is_binary=False, is_error=False)


def _octets(change: Callable[[bytes], bytes], **trigger: object) -> Hooks:
    """Change binary bodies that are sent."""
    return on.send(do.change(body=change), is_binary=True, **trigger)


def _payloads(change: Callable[[Payload], Payload]) -> Hooks:
    """Change payloads that are sent."""
    return on.send_raw(lambda _, sent: change(sent))


MAX_NOISE: Final = 10
"""How many payloads that are not frames one of these servers accepts."""


def _noise(effect: Callable[[ServerContext, Payload], Effect]) -> Hooks:
    """Do something with payloads after the handshake that are not frames."""

    def hook(c: ServerContext, payload: Payload) -> Effect:
        if "open" in c.values:
            return effect(c, payload) if payload and c.message is None else None
        if payload[:1] in ("M", b"M"):
            c.values["open"] = True
        return None

    return on.receive_raw(hook)


@mutant("FR-2", on.receive_raw)
def five_separators_taken(c: ServerContext, payload: Payload) -> Effect:
    """Treats five separators as a frame with an empty body."""
    if isinstance(payload, str):
        return c.serve(payload + ";") if payload.count(";") == 5 else None
    return c.serve(payload + b";") if payload.count(b";") == 5 else None


def _escape_first(sent: str) -> str:
    message = frame_of(sent)
    first, escape, rest = sent.partition(ESCAPE)
    is_name = message is not None and ";" in message.event
    return first + escape + rest.replace(ESCAPE, ";") if is_name else sent


def _read_again(_: ServerContext, m: Message) -> Effect:
    read = m.event.replace(ESCAPE, ";")
    again = f"{read};semicolon@%!".replace("@%!semi;colon@%!;semicolon@%!", ";")
    return m.replace(body=again)


TRUE_ELSEWHERE: Final = ("01;01", "true;true", " 1;1 ", "11;1.0", "\uff11;+1", "true;01")
"""Pairs of flags that some language reads as true, or as one."""


def _parse_flags(text: str) -> str:
    for flags in TRUE_ELSEWHERE:
        text = text.replace(f";{flags};", ";1;1;")
    return text


@mutant("FR-8", on.receive, is_error=True, body="", is_binary=False)
def empty_error_is_success(c: ServerContext, m: Message) -> Effect:
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


def _guess(sent: Payload) -> Payload:
    content = sent.encode() if isinstance(sent, str) else sent
    if frame_of(sent) is None or content.endswith(b";;;;;;"):
        return sent
    return content.decode() if is_utf8(content) and min(content) >= ord(" ") else content


def _lines_apart(c: ServerContext, payload: Payload) -> Effect:
    if isinstance(payload, bytes) or "\n$" not in payload:
        return None
    return [sent for line in payload.splitlines() for sent in c.serve(line)]


def _sent_back(is_meant: Callable[[bytes], bool], more: bytes) -> Hooks:
    """Send some binary payloads back with a changed end."""
    return on.receive_raw(
        lambda _, payload: (
            payload + more if isinstance(payload, bytes) and is_meant(payload) else None
        )
    )


def _empty_replies(change: Callable[[str], Payload], **trigger: object) -> Hooks:
    """Change the empty replies that are sent, where the current frame fits a trigger."""

    def hook(c: ServerContext, sent: Payload) -> Effect:
        is_empty = isinstance(sent, str) and sent.endswith(";;;;;;")
        is_meant = not trigger or (c.message is not None and on.fits(trigger, c.message))
        return change(str(sent)) if is_empty and is_meant else None

    return on.send_raw(hook)


def _with_flags(sent: str) -> str:
    return f"{sent[:-2]}0;0;"


@mutant("FR-14", on.receive_raw)
def empty_message_is_first(c: ServerContext, payload: Payload) -> Effect:
    """Counts an empty message as the first of a connection."""
    if c.count() == 1 and not payload:
        c.values["is deaf"] = True
    return () if "is deaf" in c.values else None


HEAD: Final = b"$1;app;;echo;0;0;"
"""What the text begins with that one of these servers does not check."""


def _as_a_message(link: Tunnel, frame: Frame) -> FrameEffect:
    opcode = Opcode(frame.opcode or link.kind)
    return None if frame.is_control else replace(frame, opcode=opcode, fin=True)


def _unmasked(_: Tunnel, frame: Frame) -> FrameEffect:
    is_odd = frame.content.startswith(b"$2;app;;echo") and frame.content.endswith(b"\x00\xff")
    return replace(frame, data=frame.content[:-1]) if is_odd else None


def _replaced(old: bytes, new: bytes) -> proxy.FrameHook:
    return lambda _, frame: replace(frame, data=frame.content.replace(HEAD + old, HEAD + new))


def _normalised(_: ServerContext, m: Message) -> Effect:
    name = unicodedata.normalize("NFC", m.event)
    return m.replace(event=name, body=name) if m.body == m.event else None


mutants(
    "FR-1",
    "body-cut: Treats the body as ending at the next semicolon.",
    _bodies(lambda body: body.split(";")[0]),
    "body-after-last-separator: Treats the body as beginning after the last semicolon.",
    _bodies(lambda body: body if ESCAPE in body else body.rsplit(";")[-1]),
    "last-semicolons-dropped: Treats final semicolons of a body as empty fields, and drops them.",
    on.send(do.change(body=lambda body: body.rstrip(";")), is_binary=False, event="echo"),
    "empty-body-left-out: Leaves out the last separator where there is no body.",
    do.sent_text(lambda sent: sent.removesuffix(";") if sent.endswith(";0;0;") else sent),
    "room-before-namespace: Writes the room before the namespace, where there is one.",
    on.send(lambda _, m: m.replace(namespace=m.room, room=m.namespace), room=bool),
    "FR-16",
    "noise-returned: Sends back what is not a frame.",
    _noise(lambda _, payload: payload),
    "noise-ends-it: Fails the connection on a payload that is not a frame.",
    _noise(lambda _, __: do.fail("not a frame")),
    "noise-counted: Fails the connection on the eleventh payload that is not a frame.",
    _noise(lambda c, _: do.fail("too much noise") if c.count() > MAX_NOISE else None),
    "FR-3",
    "fields-not-escaped: Writes a semicolon in a field as it is.",
    do.sent_text(lambda sent: sent if sent.endswith(ESCAPE) else sent.replace(ESCAPE, ";")),
    "one-escape-written: Escapes the first semicolon of a name only.",
    do.sent_text(_escape_first),
    "room-not-unescaped: Sends the room with its escapes undone.",
    do.sent_text(lambda sent: sent.replace(f"a{ESCAPE}b;", "a;b;") if ";echo;" in sent else sent),
    "escape-in-any-case: Reads the escape in capitals, too.",
    do.received_text(lambda text: text.replace("@%!Semicolon@%!", ESCAPE)),
    "escapes-read-again: Reads a field again until it contains no escape.",
    on.send(_read_again, event="@%!semi;colon@%!"),
    "escapes-read-from-the-right: Reads escapes from right to left.",
    on.send(do.change(body="@%!semicolon;"), event=";semicolon@%!", wait="$1"),
    "body-unescaped: Treats the escape literal as a semicolon in the body too.",
    on.send(
        do.change(body=lambda body: body.replace(ESCAPE, ";")),
        is_binary=False,
        event=("echo", "fail"),
    ),
    "SEC-15",
    "looked-up-escaped: Looks a namespace up as it is written in the frame.",
    on.receive(
        do.refuse("bad namespace"), event=CONNECT, namespace=lambda name: ";" in name, wait=bool
    ),
    "FR-5",
    "token-unescaped: Treats the escape literal as a semicolon in the token, and writes that.",
    do.sent_text(
        lambda sent: sent.replace(ESCAPE, ";", 1) if sent.startswith(f"${ESCAPE}") else sent
    ),
    "FR-6",
    "false-left-empty: Writes nothing for a flag that is false.",
    do.sent_text(
        lambda sent: sent.replace(";0;0;", ";;;", 1) if sent.startswith("$1;app;;e") else sent
    ),
    "false-in-words: Writes the flags of its own messages in words.",
    do.sent_text(lambda sent: sent.replace(";0;0;", ";false;false;", 1), ";app;"),
    "binary-flags-left-empty: Writes nothing for the second flag of a binary frame.",
    _payloads(lambda sent: sent.replace(b";0;0;", b";0;;", 1) if isinstance(sent, bytes) else sent),
    "FR-7",
    "any-flag-is-true: Treats every flag but 0 as true.",
    do.received_text(lambda text: text.replace(";x;y;", ";1;1;")),
    "flags-parsed: Treats as true what a language reads as true or as one.",
    do.received_text(_parse_flags),
    "empty-flag-is-true: Treats an empty flag as true.",
    do.received_text(lambda text: text.replace(";echo;;;", ";echo;1;1;")),
    "FR-9",
    "error-without-text: Sends an error without a text where the application has none.",
    _payloads(
        lambda sent: (
            sent.replace(NO_TEXT, "")
            if isinstance(sent, str)
            else sent.replace(NO_TEXT.encode(), b"")
        )
    ),
    "FR-17",
    "error-text-as-latin-1: Reads the error text of a binary frame as Latin-1.",
    _octets(lambda body: body.decode("latin-1").encode(), event="answer-error"),
    "error-text-by-its-type: Gives the name of a type as the error text of a binary frame.",
    _octets(lambda _: b"[object ArrayBuffer]", event="answer-error"),
    "FR-10",
    "ascii-only: Replaces what is not ASCII in bodies by question marks.",
    _bodies(lambda body: body.encode("ascii", "replace").decode()),
    "body-trimmed: Trims bodies.",
    _bodies(str.strip),
    "body-ends-at-nul: Treats a body as ending at a NUL.",
    on.send(do.change(body=_until_nul)),
    "body-normalised: Normalises bodies.",
    _bodies(lambda body: unicodedata.normalize("NFC", body)),
    "body-percent-decoded: Treats a body as part of a URL.",
    _bodies(unquote),
    "line-ends-converted: Writes LF for CR LF, in binary too.",
    on.send(do.change(body=_with_lf)),
    "octets-through-text: Converts binary bodies to text and back.",
    _octets(_through_text),
    "body-cut-at-64-kib: Has room for bodies of 64 KiB.",
    on.send(do.change(body=lambda body: body[:65536])),
    "question-through-text: Converts the binary body of a question to text and back.",
    _octets(_through_text, event=("question", "answer", "news")),
    "FR-11",
    "text-for-binary: Answers binary with text.",
    _payloads(lambda sent: sent.decode("latin-1") if isinstance(sent, bytes) else sent),
    "kind-guessed: Sends as text what is UTF-8 and can be printed, and all else in binary.",
    _payloads(_guess),
    "lines-apart: Treats each line of a text as a message.",
    on.receive_raw(_lines_apart),
    "broadcasts-in-text: Broadcasts in text only.",
    _payloads(
        lambda sent: (
            sent.decode("latin-1")
            if isinstance(sent, bytes) and sent.startswith(b";app;;news;")
            else sent
        )
    ),
    "FR-12",
    "names-as-they-came: Keeps the names of a binary frame as bytes.",
    _sent_back(lambda payload: payload.startswith(b"$1;any;;\xff;"), b"\xff"),
    "names-as-latin-1: Writes the names of a binary frame in Latin-1.",
    _sent_back(
        lambda payload: not is_utf8(payload) and payload.startswith(b"$1;any;"), b"\xc3\xbf"
    ),
    "text-unchecked: Keeps the bytes of a text as they are, UTF-8 or not, and sends them back.",
    Proxy(inward=_replaced(b"\xff", b"\x1a"), outward=_replaced(b"\x1a", b"\xff")),
    "FR-13",
    "long-empty-reply: Writes the flags of an empty reply.",
    _empty_replies(_with_flags),
    "binary-empty-reply: Sends an empty reply with the type of the ask.",
    _empty_replies(str.encode, is_binary=True),
    "empty-reply-to-leave-is-long: Writes the flags of the empty reply to a leave.",
    _empty_replies(_with_flags, event=LEAVE),
    "FR-14",
    "empty-message-answered: Complains about an empty message.",
    on.receive_raw(lambda _, payload: None if payload else ";app;;error;1;0;empty message"),
    "empty-message-ends-it: Treats an empty message as the end of the connection.",
    on.receive_raw(lambda _, payload: None if payload else do.fail("end of input")),
    "FR-15",
    "fragments-are-messages: Treats each fragment as a message.",
    proxy.inward(_as_a_message),
    "fragments-checked-apart: Checks that each fragment of a text is UTF-8.",
    proxy.inward(
        lambda _, frame: None if is_utf8(frame.content) else CUT,
        opcode=Opcode.TEXT,
        fin=False,
    ),
    "fragments-without-pings: Forgets a fragment when a ping comes after it.",
    proxy.inward(lambda _, __: CUT, is_control=True, is_amid=True),
    "masks-left-on: Treats a masked binary message as unmasked, where its first byte is odd.",
    proxy.inward(_unmasked, opcode=Opcode.BINARY, fin=True),
    "FR-18",
    "case-folded: Treats names as one that differ in their case.",
    on.send(do.empty_reply, is_error=True, namespace="App"),
    "events-case-folded: Treats events as one that differ in their case.",
    do.received_text(lambda text: text.replace(";Echo;", ";echo;")),
    "events-trimmed: Trims the names of events.",
    do.received_text(lambda text: text.replace(";echo ;", ";echo;")),
    "namespaces-trimmed: Trims the names of namespaces.",
    do.received_text(lambda text: text.replace("; app;", ";app;").replace(";app ;", ";app;")),
    "names-normalised: Normalises names.",
    on.send(_normalised, namespace="any"),
    "rooms-case-folded: Treats rooms as one that differ in their case.",
    do.received_text(lambda text: text.replace(" aA;", " Aa;")),
)
