"""Benign variants of servers and clients: correct, but unusual; no case may fail on them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from itertools import count
from typing import Any, Final
from urllib.parse import quote

from websockets.datastructures import Headers
from websockets.frames import Opcode

from mutation import client_faults as client
from mutation import fault_proxy as proxy
from mutation import hooks as on
from mutation import operators as do
from mutation.client_faults import LIMITS, ClientFault
from mutation.fault_proxy import Frame, FrameEffect, Proxy, Tunnel, answer
from mutation.hooks import CONNECT, DISCONNECT, Effect, Payload, Payloads, ServerContext
from mutation.registry import Staged, mutant, mutants
from neffos_asyncio import Connection, ReplyError, Server, UpgradeRequest
from neffos_asyncio.connection import text_of
from neffos_asyncio.request import MAX_TRIES_DIGITS, RECONNECT_HEADER
from neffos_codec import Message, decode, encode
from neffos_codec import Payload as AnyPayload
from neffos_conformance.cases.features import ID_HEADER, REFUSE_HEADER, URL_HEADER
from neffos_protocol import Session, SessionLimits

PAUSE: Final = 0.01
"""Seconds by which a slow server is late with everything that it sends."""

LONG_ID: Final = "7;8@%!semicolon@%!é漢😀" + "x" * 180
"""What IDs may contain, but for the space that ends them in a body of ``broadcast-to``."""

DEFLATE: Final = "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover"
"""Agrees to an offer to compress."""

KNOWN: Final = frozenset(
    {
        "bad namespace",
        "bad room",
        "namespace is closed",
        "namespace is sticky",
        "room is locked",
        "room is sticky",
    }
)
"""The error texts that the specification, or the conformance application, fixes."""

LEAST: Final = SessionLimits(
    payload=256 << 10,
    held=8,
    held_size=8 << 10,
    namespaces=8,
    rooms=16,
    name=256,
    token=256,
    incoming_asks=100,
    repeats=100,
    outgoing_asks=100,
)
"""The least limits of SEC-2, SEC-3 and SEC-5 to SEC-7."""


async def _slowly(writer: asyncio.StreamWriter, content: bytes) -> None:
    await asyncio.sleep(PAUSE)
    writer.write(content)
    await writer.drain()


async def _in_scraps(writer: asyncio.StreamWriter, content: bytes) -> None:
    for scrap in (content[:1], content[1:3], content[3:]):
        if scrap:
            writer.write(scrap)
            await writer.drain()
            await asyncio.sleep(0)


def _fragments(_: Tunnel, frame: Frame) -> FrameEffect:
    half = len(frame.data) // 2
    return [
        replace(frame, fin=False, data=frame.data[:half]),
        replace(frame, opcode=Opcode.PING, data=b"are you there?"),
        replace(frame, opcode=Opcode.CONT, fin=False, data=b""),
        replace(frame, opcode=Opcode.CONT, data=frame.data[half:]),
    ]


def _tokens(make: Callable[[int], str]) -> Any:
    """Number the asks of a server, for all its connections, and make tokens of that."""
    numbers = count()
    return do.retokened(lambda _: make(next(numbers)))


def _ids(start: int, make: Callable[[int], str]) -> Staged:
    """Number the connections, and make IDs of that where the client names none."""

    def run() -> on.Url:
        numbers = count(start)

        def id_of(request: UpgradeRequest) -> str:
            return request.headers.get(ID_HEADER) or make(next(numbers))

        return do.serving(id_generator=id_of)

    return on.run(run)


class _InTurn(Session):
    """Refuses an undeclared namespace in its turn, whatever a handler waits for."""

    __slots__ = ()

    def overtakes(self, payload: AnyPayload, *, is_next: bool = False) -> bool:
        if not super().overtakes(payload, is_next=is_next):
            return False
        asked = decode(payload)
        if not isinstance(asked, Message) or asked.wait in self.pending_asks:
            return True
        return asked.event != CONNECT or asked.namespace in (self._namespaces or ())


class InTurn(Server):
    """A server that handles the messages of a connection in their order, without an exception."""

    def accept(self, request: UpgradeRequest) -> Connection | HTTPStatus:
        """Accept as usual; see ``Server``."""
        accepted = super().accept(request)
        if isinstance(accepted, Connection):
            accepted.link.session.__class__ = _InTurn
        return accepted


def _is_odd(request: UpgradeRequest) -> bool:
    """Whether a server may refuse a request for one of its headers.

    The URL has a header that the server does not take (SEC-11 to SEC-13), or the number of tries is
    too long (TR-10).
    """
    return len(request.headers.get(RECONNECT_HEADER, "")) > MAX_TRIES_DIGITS or any(
        value not in request.headers.get_all(name[len(URL_HEADER) :])
        for name, value in request.query
        if name.lower().startswith(URL_HEADER)
    )


class Refusing(Server):
    """A server that refuses each upgrade that it may refuse, also for an ID that HS-6 forbids."""

    def accept(self, request: UpgradeRequest) -> Connection | HTTPStatus:
        """Accept all others as usual; see ``Server``."""
        if _is_odd(request):
            return HTTPStatus.BAD_REQUEST
        id_ = request.headers.get(ID_HEADER)
        is_forbidden = id_ == "" or id_ in self.connections
        return HTTPStatus.CONFLICT if is_forbidden else super().accept(request)


def _admit(connection: Connection) -> None:
    request = connection.request
    for text in request.headers.get_all(REFUSE_HEADER) if request else ():
        raise ReplyError(text)
    if request and (_is_odd(request) or request.headers.get(ID_HEADER) == ""):
        raise ReplyError("this server does not take one of the headers")


def _probed(status: str, *headers: str) -> Proxy:
    return proxy.request(do.give(answer(status, *headers)), method="HEAD")


def _chat(_: Tunnel, head: bytes) -> bytes:
    line, _crlf, rest = head.partition(b"\r\n")
    if b" 101 " in line:
        line = b"HTTP/1.1 101 Web Socket Protocol Handshake"
    more = b"server: odd/1.0\r\nSet-Cookie: a=b; Path=/\r\nX-Odd: 1\r\nx-odd: 2\r\n"
    return line + b"\r\n" + more + rest


@mutant("", on.send_raw)
def errors_in_its_own_words(c: ServerContext, payload: Payload) -> Effect:
    """Refuses in words of its own, where no others are fixed."""
    if isinstance(payload, str) and payload.startswith("Hthis"):
        return "Hnein"
    message = on.frame_of(payload)
    if message is None or not message.is_error:
        return None
    given = text_of(c.message.body) if c.message else ""
    if text_of(message.body) in KNOWN | {given}:
        return None
    words = "nein, danke; heute nicht"
    return message.replace(body=words.encode() if message.is_binary else words)


@mutant("", on.receive_raw)
def reads_what_it_can(c: ServerContext, payload: Payload) -> Effect:
    """Reads U+FFFD in the place of bytes of the fields that are not UTF-8 (FR-12)."""
    if isinstance(payload, str) or payload.count(b";") < on.SEPARATORS:
        return None
    *fields, body = payload.split(b";", on.SEPARATORS)
    read = [field.decode(errors="replace").encode() for field in fields]
    return None if read == fields else c.serve(b";".join([*read, body]))


def _drop_early(link: Tunnel, frame: Frame) -> FrameEffect:
    if link.seen or link.request.target.partition("?")[0].endswith("/native"):
        return None  # the server has answered, or there is no handshake
    is_whole = frame.fin and frame.opcode in (Opcode.TEXT, Opcode.BINARY)
    return None if not is_whole or frame.content[:1] in (b"M", b"A", b"H") else ()


def _note_answer(link: Tunnel, frame: Frame) -> None:
    if frame.content[:1] in (b"A", b"H"):
        link.seen.add("answered")


NEWS: Final = encode(Message(namespace="app", event="news", body="hello from somebody else"))
ENDING: Final = (DISCONNECT, "disconnect-me", "close-me")
"""The events after which a client's namespace is not connected any more."""


def _is_done(sent: Sequence[Payload], ask: Message) -> bool:
    frames = map(on.frame_of, sent)
    return any(frame and frame.wait == ask.wait and not frame.event for frame in frames)


@mutant("", on.turn)
def busy_with_others(c: ServerContext) -> Payloads:
    """Sends, all the time, broadcasts of clients that the suite does not know."""
    is_told = bool(c.seen)
    sent = c.serve()
    m = c.message
    if m and m.namespace == "app" and m.event == CONNECT and _is_done(sent, m):
        c.seen.add("app")
    if m and m.namespace == "app" and m.event in ENDING:
        c.seen.clear()
        is_told = False
    return [NEWS, *sent] if is_told else sent


mutants(
    "slow-to-speak: Sends everything late.",
    Proxy(write=_slowly),
    "speaks-in-scraps: Sends the bytes of a frame in several pieces.",
    Proxy(write=_in_scraps),
    "speaks-in-fragments: Cuts its messages into fragments, with pings and empty ones between.",
    proxy.outward(_fragments, opcode=(Opcode.TEXT, Opcode.BINARY), fin=True),
    "beats-like-a-heart: Sends a ping all the time.",
    do.limited(heartbeat=PAUSE),
    "closes-with-reasons: Closes connections with a long reason.",
    proxy.outward(
        lambda _, frame: replace(frame, data=frame.content[:2] + b"weil es Zeit ist; " * 5),
        opcode=Opcode.CLOSE,
        content=bool,
    ),
    "tokens-of-another-shape: Makes tokens that are long, with escapes and all of Unicode.",
    _tokens(lambda number: f"é漢😀 {number} @%!semicolon@%! " + "0" * 100),
    "tokens-in-small-numbers: Counts its asks.",
    _tokens(str),
    "ids-of-another-shape: Gives long IDs, with separators, escapes and all of Unicode.",
    _ids(0, lambda number: f"{LONG_ID}{number}"),
    "ids-of-one-letter: Counts its connections in characters of a far plane of Unicode.",
    _ids(0x20000, chr),
    "probes-redirected: Answers HEAD as the Go server does.",
    _probed("302 Found"),
    "probes-without-content: Answers HEAD with 204.",
    _probed("204 No Content"),
    "probes-told-to-upgrade: Answers HEAD as it answers a GET that asks for no upgrade.",
    _probed("426 Upgrade Required", "Upgrade: websocket", "Connection: Upgrade"),
    "chatty-in-http: Sends headers of its own with an upgrade, and an unusual reason phrase.",
    proxy.response(_chat),
    "refuses-in-other-numbers: Refuses upgrades with another status than most servers.",
    proxy.response(
        do.give(answer("418 I'm a teapot")),
        payload=lambda head: head.startswith((b"HTTP/1.1 400", b"HTTP/1.1 403")),
    ),
    "compresses-if-asked-to: Agrees to compress, where the client offers that.",
    proxy.response(
        lambda _, head: proxy.with_line(head, DEFLATE),
        request={"named": {"sec-websocket-extensions": do.has("permessage-deflate")}},
    ),
    "drops-what-comes-early: Holds nothing back before it has answered the handshake request.",
    Proxy(inward=_drop_early, outward=_note_answer),
    "waits-in-turn: Refuses an undeclared namespace only after the handler before it.",
    on.run(partial(do.serving, InTurn)),
    "refuses-odd-upgrades: Refuses each upgrade that it may refuse.",
    on.run(partial(do.serving, Refusing)),
    "refuses-odd-handshakes: Refuses the handshake where it may refuse the upgrade for a header.",
    on.run(partial(do.serving, on_connect=_admit)),
    "strict-limits: Has the least limits of SEC-2, SEC-3 and SEC-5 to SEC-7.",
    do.limited(LEAST),
    "wide-limits: Has limits far above those of other servers.",
    do.limited(
        SessionLimits(
            payload=32 << 20,
            held=1500,
            held_size=12 << 20,
            namespaces=400,
            rooms=1500,
            name=64 << 10,
            token=64 << 10,
        ),
        backlog=32 << 20,
        high_water=8 << 20,
    ),
)


# -------------------------------------------------------------------- clients


def _chatty(headers: Headers) -> None:
    headers["Origin"] = "https://example.com"
    headers["User-Agent"] = "odd/1.0"
    headers["X-Odd"] = "yes"
    headers["Accept-Encoding"] = "br"


mutants(
    "headers-in-the-url: Sends the headers of its application in the URL, as in a browser.",
    client.in_url(lambda name, value: f"x-websocket-header-{name}={quote(value, safe='')}"),
    "tokens-of-another-shape: Makes tokens with all kinds of characters, and of odd lengths.",
    client.retokened(lambda token: f"$é!neffos(0x{token[1:]})/ {token[-3:]} é#"),
    "slow-to-speak: Is slow in everything that it sends.",
    ClientFault(delay=0.02),
    "chatty-in-http: Sends headers of its own, and an Origin.",
    ClientFault(request=_chatty),
    "beats-like-a-heart: Sends a ping all the time.",
    ClientFault(limits=replace(LIMITS, heartbeat=0.005)),
    "asks-in-turn: Sends an ask only when its earlier one has ended.",
    ClientFault(in_turn=frozenset({"ask", "connect", "disconnect", "join", "leave", "leave-all"})),
    "tells-more-than-it-must: Reports each room that it leaves because its namespace ended.",
    client.observes(
        lambda _, seen: [seen, {**seen, "saw": "left", "room": "lobby"}], saw="disconnected"
    ),
)
