"""Servers with a fault in HTTP, the upgrade, and the end of connections."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

from websockets.frames import CloseCode, Opcode

from mutation import fault_proxy as proxy
from mutation import hooks as on
from mutation import operators as do
from mutation.fault_proxy import CUT, HANG, Frame, FrameEffect, Proxy, Request, Tunnel
from mutation.hooks import CONNECT, JOIN, LEAVE, Effect, Hooks, ServerContext, when
from mutation.registry import mutant, mutants
from neffos_asyncio import Connection, ReplyError
from neffos_codec import Message
from neffos_conformance.cases.features import ID_HEADER, REFUSE_HEADER
from neffos_conformance.wire import http
from neffos_protocol import Cause

ORDERLY: Final = (CloseCode.NORMAL_CLOSURE, CloseCode.POLICY_VIOLATION)
"""The codes of connections that the application closed."""

DATA: Final = (Opcode.CONT, Opcode.TEXT, Opcode.BINARY)
"""The opcodes of messages and their fragments."""

KEY: Final = "dGhlIHNhbXBsZSBub25jZQ=="
"""A key of an upgrade (RFC 6455, 1.3)."""

UPGRADE: Final = {**http.UPGRADE, "Sec-WebSocket-Key": KEY}
"""The headers that make a request an upgrade."""

WITH_KEY: Final = {"named": {"sec-websocket-key": bool}}
"""The trigger of requests with the key of an upgrade."""

BAD: Final = proxy.answer("400 Bad Request")


def _extension(link: Tunnel, head: bytes) -> bytes | None:
    """Choose all extensions that are offered, and one where none is."""
    offer = link.request.value("Sec-WebSocket-Extensions") or "permessage-deflate"
    return proxy.with_line(head, f"Sec-WebSocket-Extensions: {offer}")


@mutant("TR-1", proxy.inward)
def ping_ends_message(link: Tunnel, frame: Frame) -> FrameEffect:
    """Treats a ping between two fragments as the end of the message."""
    is_amid = "amid" in link.seen
    if frame.opcode == Opcode.PING and is_amid:
        link.seen.clear()
        return Frame(Opcode.CONT, b"")
    if not frame.is_control:
        link.seen = set() if frame.fin else {"amid"}
    return () if frame.opcode == Opcode.CONT and not is_amid else None


def _corrected(name: str, is_wrong: Callable[[str], bool]) -> Proxy:
    """Ignore a mistake in one header of a request that has all the others."""

    def hook(_: Tunnel, asked: Request) -> Request | None:
        is_near = all(asked.value(each) for each in UPGRADE if each != name)
        is_other = PREFIX.lower() not in asked.target.lower()
        is_corrected = is_near and is_other and is_wrong(asked.value(name))
        return asked.with_header(name, UPGRADE[name]) if is_corrected else None

    return proxy.request(hook, method="GET")


PREFIX: Final = "X-Websocket-Header-"


def _parameters(is_lost: Callable[[str], bool]) -> Proxy:
    """Lose some parameters of the URL."""

    def without(target: str) -> str:
        path, mark, query = target.partition("?")
        return path + mark + "&".join(each for each in query.split("&") if not is_lost(each))

    return proxy.request(do.change(target=without))


RECONNECT: Final = "X-Websocket-Reconnect"

DIGITS: Final = 20
"""Digits of a number of tries beyond which one of these servers fails."""


def _tries(read: Callable[[str], str]) -> Proxy:
    """Read a number of tries in another way, be it in a header or in the URL."""

    def hook(_: Tunnel, asked: Request) -> Request | None:
        query = parse_qsl(asked.target.partition("?")[2])
        named = {key.lower(): value for key, value in query}
        text = asked.value(RECONNECT) or named.get(f"{PREFIX}{RECONNECT}".lower(), "")
        is_read = bool(text) and len(text) < DIGITS
        return asked.with_header(RECONNECT, _digits(read(text))) if is_read else None

    return proxy.request(hook)


def _digits(text: str) -> str:
    """Write an integer of any script in digits."""
    return str(int(text)) if text.isdecimal() else text


OWN_CLOSE: Final = {"opcode": Opcode.CLOSE, "is_closing": False}
"""The trigger of close frames of the server that answer none of the client."""


def _closing(code: int, instead: int) -> Proxy:
    """Send another code in such a close frame."""
    return proxy.outward(do.change(data=instead.to_bytes(2)), code=code, **OWN_CLOSE)


def _keeping_the_lost() -> on.Url:
    there: set[str] = set()

    def admit(connection: Connection) -> None:
        request = connection.request
        for text in request.headers.get_all(REFUSE_HEADER) if request else ():
            raise ReplyError(text)
        if connection.id in there:
            raise ReplyError("this connection id is in use")
        there.add(connection.id)

    def gone(connection: Connection, _: Cause) -> None:
        if connection.link.closed != (None, ""):
            there.discard(connection.id)

    return do.serving(on_connect=admit, on_disconnect=gone)


QUESTION: Final = b";question;"


def _note_question(link: Tunnel, frame: Frame) -> FrameEffect:
    if QUESTION in frame.content:
        link.seen.add("asked")
    return () if link.request.value("X-Test") in link.server.seen else None


def _note_lost(link: Tunnel) -> None:
    if link.seen and link.request.value("X-Test"):
        link.server.seen.add(link.request.value("X-Test"))


AGAIN: Final = "$again"
"""The token of asks that no client made, whose replies are not sent."""


def _remembering(event: str) -> Hooks:
    """Perform asks of this event again for each client with the ID of an earlier connection."""

    def openly(c: ServerContext, given: Message | None = None) -> on.Payloads:
        return [each for each in c.serve(given) if not str(each).startswith(AGAIN)]

    def hook(c: ServerContext) -> on.Payloads:
        for each in c.kept:  # at each payload: the first time may be too early
            openly(c, each)
        sent = openly(c)
        if c.payload == "M" and sent and "own" not in c.values:
            c.values["own"] = c.server.values.setdefault(str(sent[0]), [])
            c.kept = list(c.values["own"])
        if "own" in c.values and c.message and c.message.event == event:
            ask = c.message.replace(wait=AGAIN)
            c.values["own"] += [ask.replace(event=CONNECT, room=""), ask]
        return sent

    return on.turn(hook)


@mutant("TR-15", on.receive)
def goodbye_in_frames(c: ServerContext, m: Message) -> Effect:
    """Has its clients leave their rooms before it closes their connections."""
    if m.event == JOIN:
        c.kept.append(m.replace(wait="9", event=LEAVE))
    return [*c.kept, *c.serve()] if m.event == "close-me" else None


def _cut_at_close(**trigger: Any) -> Proxy:
    """End TCP at some close frames of the client."""
    return proxy.inward(lambda _, __: CUT, opcode=Opcode.CLOSE, **trigger)


def _drop_question(link: Tunnel, frame: Frame) -> FrameEffect:
    if QUESTION in frame.content:
        link.seen.discard("asked")
    return CUT if frame.opcode == Opcode.CLOSE and link.seen else None


def _decoded_id(_: Tunnel, asked: Request) -> Request:
    return asked.with_header(ID_HEADER, unquote(asked.value(ID_HEADER)) or None)


BROKEN: Final = {"opcode": Opcode.TEXT, "fin": True, "content": do.isnt_utf8}
"""The trigger of text that is not UTF-8, where it is not in fragments."""


def _with_surrogates(text: bytes) -> bytes:
    return text.decode(errors="surrogatepass").encode(errors="replace")


@mutant("TR-17", proxy.inward, opcode=DATA)
def fragments_not_checked(link: Tunnel, frame: Frame) -> FrameEffect:
    """Checks only text that is not in fragments."""
    kind = frame.opcode or link.kind
    is_whole = frame.opcode == Opcode.TEXT and frame.fin
    if is_whole or kind != Opcode.TEXT or do.is_utf8(frame.content):
        return None
    return replace(frame, data=frame.content.decode(errors="ignore").encode())


LONG_SEMICOLON: Final = b"\xc0\xbb"
"""A semicolon in two bytes."""


mutants(
    "TR-1 subprotocol-chosen: Chooses a subprotocol that was not offered.",
    proxy.response(lambda _, head: proxy.with_line(head, "Sec-WebSocket-Protocol: neffos")),
    "TR-1 extension-chosen: Chooses an extension where none was offered.",
    proxy.response(_extension, request={"named": {"sec-websocket-extensions": ""}}),
    "TR-1 offer-repeated: Chooses every extension that is offered, known or not.",
    proxy.response(_extension, request={"named": {"sec-websocket-extensions": bool}}),
    "TR-1 key-not-proven: Answers every key alike.",
    proxy.response(lambda _, head: head.replace(b"YGzzhZRbK+xOo=", b"YG")),
    "TR-1 upgrade-read-by-letter: Accepts the headers of the upgrade only as it documents them.",
    proxy.request(
        do.give(BAD), named={"connection": "keep-alive, Upgrade", "upgrade": "WebSocket"}
    ),
    "TR-1 every-fragment-a-message: Treats every fragment as a message.",
    proxy.inward(
        lambda _, frame: Frame(Opcode(frame.opcode or Opcode.TEXT), frame.data), opcode=DATA
    ),
    "TR-1 lengths-are-signed: Reads a length of two bytes as a signed one.",
    proxy.inward(do.drop, content=lambda content: 1 << 15 <= len(content) < 1 << 16),
    "TR-1 no-mask-wanted: Accepts frames that are not masked.",
    proxy.inward(do.change(is_masked=True)),
    "TR-1 reserved-opcode-passed-over: Ignores frames of reserved opcodes.",
    proxy.inward(do.drop, opcode=lambda opcode: Opcode.BINARY < opcode < Opcode.CLOSE),
    "TR-1 reserved-bits-passed-over: Ignores the reserved bits.",
    proxy.inward(do.change(rsv1=False, rsv2=False, rsv3=False), is_masked=True),
    "TR-1 continuation-of-nothing-taken: Treats a continuation of nothing as a message.",
    proxy.inward(do.change(opcode=Opcode.TEXT), opcode=Opcode.CONT, is_amid=False),
    "TR-1 unfinished-message-forgotten: Treats a message amid another's fragments as their rest.",
    proxy.inward(do.change(opcode=Opcode.CONT), opcode=(Opcode.TEXT, Opcode.BINARY), is_amid=True),
    "TR-1 ping-in-fragments-passed-over: Ignores pings in fragments.",
    proxy.inward(do.drop, opcode=Opcode.PING, fin=False),
    "TR-1 long-ping-passed-over: Ignores pings that are too long.",
    proxy.inward(do.drop, opcode=Opcode.PING, content=lambda content: len(content) > 125),
    "TR-1 pings-unanswered: Answers no ping that has bytes.",
    proxy.outward(do.drop, opcode=Opcode.PONG, content=bool),
    "TR-1 pongs-cut: Answers a ping with its first 64 bytes.",
    proxy.outward(lambda _, frame: Frame(Opcode.PONG, frame.data[:64]), opcode=Opcode.PONG),
    "TR-1 longest-of-two-bytes-dropped: Drops messages of 65,535 bytes.",
    proxy.inward(do.drop, opcode=DATA, content=lambda content: len(content) == (1 << 16) - 1),
    "TR-1 cookies-refused-at-an-endpoint: Refuses requests with cookies where messages are native.",
    proxy.request(
        do.give(BAD), target=lambda target: target.startswith("/native"), named={"cookie": bool}
    ),
    "SEC-9 origin-checked-elsewhere: Checks no origin where messages are native.",
    proxy.request(
        lambda _, asked: asked.with_header("Origin", None),
        target=lambda target: target.startswith("/native"),
        named={"origin": bool},
    ),
    "HS-3 id-decoded-beside-cookies: Decodes the ID of a client that brings cookies.",
    proxy.request(_decoded_id, named={"cookie": bool}),
    "HS-3 url-id-decomposed: Decomposes the accents of an ID in the URL.",
    proxy.request(do.change(target=do.swap("%C3%A9", "e%CC%81")), target=do.has("-Id=")),
    "TR-18 user-agent-wanted: Accepts only clients that name themselves.",
    proxy.request(
        do.give(BAD), method="GET", target="/", named={"user-agent": "", "cookie": "", "origin": ""}
    ),
    "TR-3 head-dropped: Ends TCP on HEAD.",
    proxy.request(do.give(CUT), method="HEAD"),
    "TR-3 head-waits: Does not answer HEAD.",
    proxy.request(do.give(HANG), method="HEAD"),
    "TR-3 head-upgraded: Upgrades on HEAD, too.",
    proxy.request(do.change(method="GET"), method="HEAD", **WITH_KEY),
    "TR-3 head-known-in-one-place: Answers HEAD only at its first endpoint.",
    proxy.request(do.give(CUT), method="HEAD", target=lambda target: target.endswith("native")),
    "TR-6 other-methods-not-found: Answers other methods with 404.",
    proxy.request(
        do.give(proxy.answer("404 Not Found", "Allow: GET")), method=do.isnt("GET", "HEAD")
    ),
    "TR-6 allowed-methods-not-told: Does not report which methods are allowed.",
    proxy.request(do.give(proxy.answer("405 Method Not Allowed")), method=do.isnt("GET", "HEAD")),
    "TR-6 post-upgraded: Upgrades on POST, too.",
    proxy.request(do.change(method="GET"), method="POST", **WITH_KEY),
    "TR-6 options-answered: Answers OPTIONS as if pages of other sites asked.",
    proxy.request(do.give(proxy.answer("204 No Content", "Allow: GET")), method="OPTIONS"),
    "TR-7 page-given: Answers a request without an upgrade with a page.",
    proxy.request(do.give(proxy.answer("200 OK")), method="GET", named={"sec-websocket-key": ""}),
    "TR-7 redirected: Redirects a client that asks wrongly for an upgrade.",
    proxy.response(
        do.give(proxy.answer("302 Found", "Location: /")),
        payload=re.compile(b"HTTP/1.1 4(00|26)").match,
        request={"method": "GET"},
    ),
    "TR-7 version-not-looked-at: Upgrades to any version of WebSocket, or to none.",
    _corrected("Sec-WebSocket-Version", lambda value: value != "13"),
    "TR-7 missing-key-made-up: Makes up a key where there is none.",
    _corrected("Sec-WebSocket-Key", lambda value: not value),
    "TR-7 any-key-taken: Accepts any text as a key.",
    _corrected("Sec-WebSocket-Key", lambda value: 0 < len(value) < len(KEY)),
    "TR-7 any-upgrade-taken: Upgrades to WebSocket whatever the client asked for.",
    _corrected("Upgrade", lambda value: value.lower() != "websocket"),
    "TR-7 connection-not-looked-at: Upgrades a connection whose header does not ask for it.",
    _corrected("Connection", lambda value: "upgrade" not in value.lower()),
    "TR-8 url-headers-passed-over: Reads no headers from the URL.",
    proxy.request(do.change(target=lambda target: target.partition("?")[0])),
    "TR-8 url-headers-by-letter: Reads headers from the URL only in the usual case of the prefix.",
    _parameters(lambda each: each.lower().startswith(PREFIX.lower()) and PREFIX not in each),
    "TR-8 url-headers-not-decoded: Reads values from the URL without decoding them.",
    proxy.request(do.change(target=do.swap("a%20b", "a%2520b"))),
    "TR-8 plus-signs-kept: Reads a plus sign in the URL as itself.",
    proxy.request(do.change(target=do.swap("a+b", "a%2Bb"))),
    "TR-8 one-url-header-taken: Reads only one header from the URL.",
    _parameters(lambda each: each.startswith(f"{PREFIX}X-Two")),
    "TR-8 url-headers-taken-late: Decides about a client before it reads the headers from the URL.",
    _parameters(lambda each: "X-Conformance" in each),
    "TR-10 tries-not-told: Reports no reconnection to its application.",
    proxy.request(lambda _, asked: asked.with_header(RECONNECT, None)),
    "TR-10 no-tries: Treats every connection as the first.",
    on.send(do.change(body="0"), event="tries"),
    "TR-10 tries-counted-from-one: Reports a first try to its application where there was none.",
    on.send(do.change(body="1"), event="tries", body="0"),
    "TR-10 any-word-is-a-try: Treats any value as one try.",
    _tries(lambda text: text if text.isdigit() and text != "0" else "1"),
    "TR-10 sign-taken: Treats a negative number as a number of tries.",
    _tries(lambda text: text.lstrip("-") if text.startswith("-") else text),
    "TR-10 plus-taken: Treats a number with a plus sign as a number of tries.",
    _tries(lambda text: text.lstrip("+")),
    "TR-10 leading-zeros-refused: Treats a number with leading zeros as no number of tries.",
    _tries(lambda text: "0" if text.startswith("00") else text),
    "TR-10 digits-taken-as-far-as-they-go: Reads as many digits as there are, whatever follows.",
    _tries(lambda text: text[: len(text) - len(text.lstrip("0123456789"))] or text),
    "TR-10 tries-read-like-a-literal: Reads the number as its programming language reads integers.",
    _tries(do.swap("_", "")),
    "TR-10 too-many-tries-not-borne: Fails where a number has more digits than fit.",
    proxy.request(
        do.give(proxy.answer("500 Internal Server Error")),
        named={RECONNECT.lower(): lambda text: len(text) > DIGITS},
    ),
    "TR-12 tcp-dropped: Ends TCP without a close frame.",
    proxy.outward(do.give(CUT), code=ORDERLY, **OWN_CLOSE),
    "TR-12 tcp-dropped-at-mistakes: Ends TCP without a close frame at a frame that it cannot read.",
    proxy.outward(do.give(CUT), code=CloseCode.PROTOCOL_ERROR, **OWN_CLOSE),
    "TR-13 shutdown-always: Reports a shutdown when it closes a connection in the ordinary course.",
    _closing(CloseCode.NORMAL_CLOSURE, CloseCode.GOING_AWAY),
    "TR-13 refusal-is-ordinary: Closes the connection of a refused client with the ordinary code.",
    _closing(CloseCode.POLICY_VIOLATION, CloseCode.NORMAL_CLOSURE),
    "TR-13 large-is-refused: Closes the connection with another code where a payload is too large.",
    _closing(CloseCode.MESSAGE_TOO_BIG, CloseCode.POLICY_VIOLATION),
    "TR-14 lost-clients-kept: Keeps a client whose TCP connection ended without a close frame.",
    on.run(_keeping_the_lost),
    "TR-14 waits-for-the-lost: Serves no client of a tenant while it waits for one that is lost.",
    Proxy(outward=_note_question, ended=_note_lost),
    "TR-15 namespaces-kept: Connects the namespaces of a connection ID for its next connection.",
    _remembering(CONNECT),
    "TR-15 rooms-kept: Joins the rooms of a connection ID again for its next connection.",
    _remembering(JOIN),
    "TR-15 close-repeated-in-frames: Reports that a room is left when a client closes.",
    proxy.outward(
        lambda _, frame: [
            replace(frame, opcode=Opcode.TEXT, data=b";app;room;_OnRoomLeft;0;0;"),
            frame,
        ],
        opcode=Opcode.CLOSE,
        is_closing=True,
    ),
    "TR-16 close-not-answered: Ends TCP at a close frame.",
    _cut_at_close(is_open=True, code=lambda code: code < do.PRIVATE_CODES),
    "TR-16 close-not-answered-before-the-handshake: Ends TCP at a close before the handshake.",
    _cut_at_close(is_open=False),
    "TR-16 close-of-an-application-not-answered: Ends TCP at a close frame with an unknown code.",
    _cut_at_close(code=lambda code: code >= do.PRIVATE_CODES),
    "TR-16 close-without-a-code-not-answered: Ends TCP at a close frame without a code.",
    _cut_at_close(content=b""),
    "TR-16 close-amid-fragments-not-answered: Ends TCP at a close frame amid a message.",
    _cut_at_close(is_amid=True),
    "TR-16 close-amid-an-ask-not-answered: Ends TCP at a close frame in the place of a reply.",
    Proxy(inward=_drop_question, outward=_note_question),
    "TR-17 any-octets-taken-for-text: Reads bytes that are not UTF-8 as text, with replacements.",
    proxy.inward(do.change(data=lambda text: text.decode(errors="replace").encode()), **BROKEN),
    "TR-17 broken-text-dropped: Drops text that is not UTF-8, and goes on.",
    proxy.inward(do.change(data=b""), **BROKEN),
    "TR-17 broken-text-ends-tcp: Ends TCP where text is not UTF-8.",
    proxy.inward(do.give(CUT), **BROKEN),
    "TR-17 surrogates-taken: Reads surrogates as characters.",
    proxy.inward(when(do.change(data=_with_surrogates), content=do.has(b"\xed\xa0")), **BROKEN),
    "TR-17 long-forms-taken: Reads characters from more bytes than they need.",
    proxy.inward(do.change(data=do.swap(LONG_SEMICOLON, b";")), **BROKEN),
    "TR-17 broken-request-taken: Reads only the letter of a handshake request.",
    proxy.inward(when(do.change(data=b"M"), content=do.begins(b"M")), **BROKEN),
)
