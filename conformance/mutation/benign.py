"""Servers that are odd, and not wrong: no case may fail on them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from itertools import count
from typing import Any, Final

from mutation.distortions import Payloads, frame_of
from mutation.fault_proxy import (
    BINARY,
    CLOSE,
    FIN,
    PING,
    TEXT,
    Change,
    Piece,
    Pieces,
    Request,
    answer,
    fronted,
)
from mutation.registry import distorted, served
from neffos_asyncio import Handlers, Limits, Server, UpgradeRequest
from neffos_asyncio.connection import text_of
from neffos_codec import Message, encode
from neffos_conformance.reference.application import ID_HEADER, servers
from neffos_conformance.reference.embedded import Serve, embedded_server
from neffos_protocol import SessionLimits
from neffos_protocol.names import CHANGE_OF

Url = AbstractAsyncContextManager[str]

PAUSE: Final = 0.01
"""Seconds by which a slow server is late, each time that it says something."""

LONG_ID: Final = "7;8@%!semicolon@%!é漢😀" + "x" * 180
"""What ids may hold, but for the space that ends them in a body of ``broadcast-to``."""

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


@served("")
def slow_to_speak() -> Url:
    """Is slow in everything that it says."""

    async def write(writer: asyncio.StreamWriter, octets: bytes) -> None:
        await asyncio.sleep(PAUSE)
        writer.write(octets)
        await writer.drain()

    return fronted(write=write)


@served("")
def speaks_in_scraps() -> Url:
    """Sends octets as they come to its mind, so that a frame comes in several pieces."""

    async def write(writer: asyncio.StreamWriter, octets: bytes) -> None:
        for scrap in (octets[:1], octets[1:3], octets[3:]):
            if scrap:
                writer.write(scrap)
                await writer.drain()
                await asyncio.sleep(0)

    return fronted(write=write)


@served("")
def speaks_in_fragments() -> Url:
    """Cuts its messages into fragments, with pings and empty fragments between them."""

    def change(piece: Piece) -> Pieces:
        if piece.opcode not in (TEXT, BINARY) or not piece.is_last:
            return [piece]
        half = len(piece.data) // 2
        return [
            replace(piece, first=piece.opcode, data=piece.data[:half]),
            replace(piece, first=FIN | PING, data=b"are you there?"),
            replace(piece, first=0, data=b""),
            replace(piece, first=FIN, data=piece.data[half:]),
        ]

    return fronted(outward=lambda _: change)


@served("")
def beats_like_a_heart() -> Url:
    """Sends a ping all the time."""
    return embedded_server(served=servers(limits=Limits(heartbeat=PAUSE)))


@served("")
def tokens_of_another_shape() -> Url:
    """Makes tokens that are long, with escapes and all of Unicode."""
    return _tokens(lambda number: f"é漢😀 {number} @%!semicolon@%! " + "0" * 100)


@served("")
def tokens_in_small_numbers() -> Url:
    """Counts its asks."""
    return _tokens(str)


@served("")
def ids_of_another_shape() -> Url:
    """Gives ids that are long, and hold separators, escapes and all of Unicode."""
    numbers = count()

    def make(handlers: Handlers, **options: Any) -> Server:
        def id_of(request: UpgradeRequest) -> str:
            return request.headers.get(ID_HEADER) or f"{LONG_ID}{next(numbers)}"

        return Server(handlers, **{**options, "id_generator": id_of})

    return embedded_server(served=servers(make=make))


@served("")
def ids_of_one_letter() -> Url:
    """Counts its connections in characters of a far plane of Unicode."""
    numbers = count(0x20000)

    def make(handlers: Handlers, **options: Any) -> Server:
        def id_of(request: UpgradeRequest) -> str:
            return request.headers.get(ID_HEADER) or chr(next(numbers))

        return Server(handlers, **{**options, "id_generator": id_of})

    return embedded_server(served=servers(make=make))


@served("")
def closes_with_reasons() -> Url:
    """Says why it closes, at length."""

    def change(piece: Piece) -> Pieces:
        if piece.opcode != CLOSE or not piece.data:
            return [piece]
        return [replace(piece, data=piece.data[:2] + b"weil es Zeit ist; " * 5)]

    return fronted(outward=lambda _: change)


@served("")
def probes_redirected() -> Url:
    """Answers HEAD as the Go server does."""
    return _probed("302 Found")


@served("")
def probes_without_content() -> Url:
    """Answers HEAD with 204."""
    return _probed("204 No Content")


@served("")
def probes_told_to_upgrade() -> Url:
    """Answers HEAD as it answers a GET that asks for no upgrade."""
    return _probed("426 Upgrade Required", "Upgrade: websocket", "Connection: Upgrade")


@served("")
def chatty_in_http() -> Url:
    """Sends headers of its own with an upgrade, and names that in its own words."""

    def response(_: Request, head: bytes) -> bytes:
        line, _crlf, rest = head.partition(b"\r\n")
        if b" 101 " in line:
            line = b"HTTP/1.1 101 Web Socket Protocol Handshake"
        more = b"server: odd/1.0\r\nSet-Cookie: a=b; Path=/\r\nX-Odd: 1\r\nx-odd: 2\r\n"
        return line + b"\r\n" + more + rest

    return fronted(response=response)


@served("")
def refuses_in_other_numbers() -> Url:
    """Refuses upgrades with other statuses than most."""

    def response(_: Request, head: bytes) -> bytes:
        if head.startswith((b"HTTP/1.1 400", b"HTTP/1.1 403")):
            return answer("418 I'm a teapot")
        return head

    return fronted(response=response)


@served("")
def compresses_if_asked_to() -> Url:
    """Agrees to compress, where that is offered."""

    def response(request: Request, head: bytes) -> bytes:
        offer = request.value("Sec-WebSocket-Extensions")
        if b" 101 " not in head or "permessage-deflate" not in offer:
            return head
        agreed = b"Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover"
        return head.removesuffix(b"\r\n") + agreed + b"\r\n\r\n"

    return fronted(response=response)


@distorted("")
def errors_in_its_own_words(serve: Serve) -> Serve:
    """Refuses in words of its own, where no others are fixed."""

    def odd(payload: str | bytes) -> Payloads:
        asked = frame_of(payload)
        given = asked.body if asked is not None else ""
        return [_in_own_words(each, given) for each in serve(payload)]

    return odd


@served("")
def drops_what_comes_early() -> Url:
    """Holds nothing back before the handshake."""

    def inward(_: Request) -> Change:
        is_shaken = False

        def change(piece: Piece) -> Pieces:
            nonlocal is_shaken
            is_whole = piece.is_last and piece.opcode in (TEXT, BINARY)
            is_shaken = is_shaken or not is_whole or piece.data[:1] in (b"M", b"A", b"H")
            return [piece] if is_shaken else []

        return change

    return _except_native(inward)


@served("")
def strict_limits() -> Url:
    """Has limits far below those of others."""
    session = SessionLimits(
        payload=2 << 20, held=8, held_size=8 << 10, namespaces=8, rooms=16, name=130, token=130
    )
    return embedded_server(served=servers(limits=Limits(session=session)))


@served("")
def wide_limits() -> Url:
    """Has limits far above those of others."""
    session = SessionLimits(
        payload=32 << 20,
        held=1500,
        held_size=12 << 20,
        namespaces=400,
        rooms=1500,
        name=64 << 10,
        token=64 << 10,
    )
    return embedded_server(
        served=servers(limits=Limits(session=session, backlog=32 << 20, high_water=8 << 20))
    )


@distorted("")
def busy_with_others(serve: Serve) -> Serve:
    """Passes on what others, whom the suite does not know, broadcast all the time."""
    news = encode(Message(namespace="app", event="news", body="hello from somebody else"))
    there: set[str] = set()

    def odd(payload: str | bytes) -> Payloads:
        sent = serve(payload)
        message = frame_of(payload)
        is_told = "app" in there
        if message is not None and message.namespace == "app":
            replies = [each for each in map(frame_of, sent) if each and each.wait == message.wait]
            is_done = any(each.event == "" for each in replies)
            if message.event == "_OnNamespaceConnect" and is_done:
                there.add("app")
            elif message.event in ("_OnNamespaceDisconnect", "disconnect-me", "close-me"):
                there.discard("app")
                is_told = False
        return [news, *sent] if is_told else sent

    return odd


# -------------------------------------------------------------------- what they are made of


ASKS: Final = frozenset({"question", *CHANGE_OF})
"""The events of what the conformance application's server asks."""


def _is_ask(message: Message) -> bool:
    """Whether a server asks this, which answers a client's ask with the client's token."""
    is_own = bool(message.wait) and not message.wait.startswith("$")
    return is_own and message.event in ASKS and not message.is_error


def _tokens(make: Callable[[int], str]) -> Url:
    """Put tokens of one's own making in place of a server's, from one number on for all."""
    numbers = count()

    def distort(serve: Serve) -> Serve:
        real: dict[str, str] = {}

        def odd(payload: str | bytes) -> Payloads:
            message = frame_of(payload)
            if message is not None and message.wait in real:
                payload = encode(message.replace(wait=real[message.wait]))
            event = message.event if message is not None else ""
            sent: Payloads = []
            for each in serve(payload):
                ask = frame_of(each)
                if ask is not None and _is_ask(ask) and ask.event != event:
                    token = make(next(numbers))
                    real[token] = ask.wait
                    each = encode(ask.replace(wait=token))
                sent.append(each)
            return sent

        return odd

    return embedded_server(distort=distort)


def _probed(status: str, *headers: str) -> Url:
    return fronted(
        request=lambda asked: answer(status, *headers) if asked.method == "HEAD" else asked
    )


def _in_own_words(payload: str | bytes, given: str | bytes) -> str | bytes:
    """Put other words in place of an error text, unless those are fixed, or the client's own."""
    if isinstance(payload, str) and payload.startswith("Hthis"):
        return "Hnein"
    message = frame_of(payload)
    if message is None or not message.is_error:
        return payload
    if text_of(message.body) in KNOWN | {text_of(given)}:
        return payload
    words = "nein, danke; heute nicht"
    is_binary = isinstance(message.body, bytes)
    return encode(message.replace(body=words.encode() if is_binary else words))


def _except_native(inward: Any) -> Url:
    """Leave the native-only endpoint alone, where there is no handshake."""

    def chosen(request: Request) -> Change:
        if request.target.partition("?")[0].endswith("/native"):
            return lambda piece: [piece]
        change: Change = inward(request)
        return change

    return fronted(inward=chosen)
