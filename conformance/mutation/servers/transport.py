"""Servers that are wrong about HTTP, the upgrade, and the end of connections."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from typing import Any, Final
from urllib.parse import parse_qsl

from mutation.distortions import Payloads, changing, frame_of
from mutation.fault_proxy import (
    BINARY,
    CLOSE,
    CUT,
    FIN,
    PING,
    PONG,
    TEXT,
    Change,
    Piece,
    Pieces,
    Request,
    answer,
    fronted,
)
from mutation.registry import distorted, served
from neffos_asyncio import Connection, Handlers, ReplyError, Server
from neffos_codec import Message, encode
from neffos_conformance.reference.application import servers
from neffos_conformance.reference.embedded import Serve, embedded_server
from neffos_protocol import Cause

Url = AbstractAsyncContextManager[str]

RESERVED: Final = 0x70
"""The three bits that only extensions give a meaning to."""

ORDERLY: Final = (1000, 1008)
"""The codes of ends that an application wanted."""


# -------------------------------------------------------------------- the upgrade


@served("TR-1")
def subprotocol_chosen() -> Url:
    """Chooses a subprotocol that nobody offered."""
    return _added(b"Sec-WebSocket-Protocol: neffos")


@served("TR-1")
def extension_chosen() -> Url:
    """Chooses an extension that was not offered, where none was."""

    def response(request: Request, head: bytes) -> bytes:
        if request.value("Sec-WebSocket-Extensions"):
            return head
        return _with(head, b"Sec-WebSocket-Extensions: permessage-deflate")

    return fronted(response=response)


@served("TR-1")
def offer_repeated() -> Url:
    """Chooses every extension that is offered, known or not."""

    def response(request: Request, head: bytes) -> bytes:
        offer = request.value("Sec-WebSocket-Extensions")
        return _with(head, f"Sec-WebSocket-Extensions: {offer}".encode()) if offer else head

    return fronted(response=response)


@served("TR-1")
def key_not_proven() -> Url:
    """Answers every key alike."""
    return fronted(
        response=lambda _, head: head.replace(b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", b"s3pPLMBiTxaQ9kYG")
    )


@served("TR-1")
def upgrade_read_by_letter() -> Url:
    """Wants the headers of the upgrade as they stand in its documentation."""

    def request(asked: Request) -> Request | bytes:
        there = asked.value("Connection"), asked.value("Upgrade")
        is_odd = there == ("keep-alive, Upgrade", "WebSocket")
        return answer("400 Bad Request") if is_odd else asked

    return fronted(request=request)


@served("TR-1")
def every_fragment_a_message() -> Url:
    """Takes every fragment for a message."""

    def change(piece: Piece) -> Pieces:
        if piece.opcode in (0, TEXT, BINARY):
            return [replace(piece, first=FIN | (piece.opcode or TEXT))]
        return [piece]

    return fronted(inward=lambda _: change)


@served("TR-1")
def ping_ends_message() -> Url:
    """Takes a ping between two fragments for the end of the message."""

    def inward(_: Request) -> Change:
        is_amid = False

        def change(piece: Piece) -> Pieces:
            nonlocal is_amid
            if piece.opcode == PING and is_amid:
                is_amid = False
                return [Piece(FIN, b"")]
            if piece.opcode == 0 and not is_amid:
                return []
            if piece.opcode < CLOSE:
                is_amid = not piece.is_last
            return [piece]

        return change

    return fronted(inward=inward)


@served("TR-1")
def lengths_are_signed() -> Url:
    """Reads a length of two octets as a signed one."""

    def change(piece: Piece) -> Pieces:
        return [] if 1 << 15 <= len(piece.data) < 1 << 16 else [piece]

    return fronted(inward=lambda _: change)


@served("TR-1")
def no_mask_wanted() -> Url:
    """Takes frames that are not masked."""
    return fronted(inward=lambda _: lambda piece: [replace(piece, is_masked=True)])


@served("TR-1")
def reserved_opcode_passed_over() -> Url:
    """Passes over frames of reserved opcodes."""
    return _leaving_out(lambda piece: 2 < piece.opcode < CLOSE)


@served("TR-1")
def reserved_bits_passed_over() -> Url:
    """Pays no heed to the reserved bits."""
    return _changing_masked(lambda piece: replace(piece, first=piece.first & ~RESERVED))


@served("TR-1")
def continuation_of_nothing_taken() -> Url:
    """Takes a continuation of nothing for a message."""
    return _following(lambda piece, is_amid: piece.opcode == 0 and not is_amid, TEXT)


@served("TR-1")
def unfinished_message_forgotten() -> Url:
    """Takes a new message amid the fragments of another for its continuation."""
    return _following(lambda piece, is_amid: piece.opcode in (TEXT, BINARY) and is_amid, 0)


@served("TR-1")
def ping_in_fragments_passed_over() -> Url:
    """Passes over pings in fragments."""
    return _leaving_out(lambda piece: piece.opcode == PING and not piece.is_last)


@served("TR-1")
def long_ping_passed_over() -> Url:
    """Passes over pings that are too long."""
    return _leaving_out(lambda piece: piece.opcode == PING and len(piece.data) > 125)


@served("TR-18")
def user_agent_wanted() -> Url:
    """Lets in only who says what it is."""
    return fronted(
        request=lambda asked: (
            asked
            if asked.method != "GET" or asked.value("User-Agent")
            else answer("400 Bad Request")
        )
    )


# -------------------------------------------------------------------- other requests


@served("TR-3")
def head_dropped() -> Url:
    """Ends TCP where it is asked with HEAD."""
    return fronted(request=lambda asked: None if asked.method == "HEAD" else asked)


@served("TR-3")
def head_waits() -> Url:
    """Keeps whoever asks with HEAD waiting."""
    return fronted(request=lambda asked: b"" if asked.method == "HEAD" else asked)


@served("TR-3")
def head_upgraded() -> Url:
    """Upgrades whoever asks for it, with HEAD too."""
    return _method_overlooked("HEAD")


@served("TR-3")
def head_known_in_one_place() -> Url:
    """Knows HEAD only at its first endpoint."""
    return fronted(
        request=lambda asked: (
            None if asked.method == "HEAD" and asked.target.endswith("native") else asked
        )
    )


@served("TR-6")
def other_methods_not_found() -> Url:
    """Says of other methods that nothing is there."""
    return fronted(
        request=lambda asked: (
            asked if asked.method in ("GET", "HEAD") else answer("404 Not Found", "Allow: GET")
        )
    )


@served("TR-6")
def allowed_methods_not_told() -> Url:
    """Does not say which methods are allowed."""
    return fronted(
        request=lambda asked: (
            asked if asked.method in ("GET", "HEAD") else answer("405 Method Not Allowed")
        )
    )


@served("TR-6")
def post_upgraded() -> Url:
    """Upgrades whoever asks for it, with POST too."""
    return _method_overlooked("POST")


@served("TR-6")
def options_answered() -> Url:
    """Answers OPTIONS as if pages of other sites asked."""
    return fronted(
        request=lambda asked: (
            answer("204 No Content", "Allow: GET") if asked.method == "OPTIONS" else asked
        )
    )


@served("TR-7")
def page_given() -> Url:
    """Gives a page to who asks for no upgrade."""
    return fronted(
        request=lambda asked: (
            asked if asked.method != "GET" or asked.value("Sec-WebSocket-Key") else answer("200 OK")
        )
    )


@served("TR-7")
def redirected() -> Url:
    """Redirects who asks for an upgrade in a wrong way."""

    def response(asked: Request, head: bytes) -> bytes:
        is_wrong = asked.method == "GET" and head.startswith((b"HTTP/1.1 400", b"HTTP/1.1 426"))
        return answer("302 Found", "Location: /") if is_wrong else head

    return fronted(response=response)


@served("TR-7")
def version_not_looked_at() -> Url:
    """Upgrades to any version of WebSocket, or to none."""
    return _corrected("Sec-WebSocket-Version", "13", lambda value: value != "13")


@served("TR-7")
def missing_key_made_up() -> Url:
    """Makes up a key where there is none."""
    return _corrected("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==", lambda value: not value)


@served("TR-7")
def any_key_taken() -> Url:
    """Takes any text for a key."""
    return _corrected(
        "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==", lambda value: 0 < len(value) < 24
    )


@served("TR-7")
def any_upgrade_taken() -> Url:
    """Upgrades to WebSocket whatever was asked for."""
    return _corrected("Upgrade", "websocket", lambda value: value.lower() != "websocket")


@served("TR-7")
def connection_not_looked_at() -> Url:
    """Upgrades a connection that was not to be."""
    return _corrected("Connection", "Upgrade", lambda value: "upgrade" not in value.lower())


# -------------------------------------------------------------------- headers in the URL

PREFIX: Final = "X-Websocket-Header-"


@served("TR-8")
def url_headers_passed_over() -> Url:
    """Takes no headers from the URL."""
    return fronted(request=lambda asked: replace(asked, target=asked.target.partition("?")[0]))


@served("TR-8")
def url_headers_by_letter() -> Url:
    """Takes headers from the URL only where their prefix is written in its own letters."""
    return _parameters(lambda each: each.lower().startswith(PREFIX.lower()) and PREFIX not in each)


@served("TR-8")
def url_headers_not_decoded() -> Url:
    """Takes values from the URL as they stand there."""

    def request(asked: Request) -> Request:
        return replace(asked, target=asked.target.replace("a%20b", "a%2520b"))

    return fronted(request=request)


@served("TR-8")
def one_url_header_taken() -> Url:
    """Takes one header from the URL."""
    return _parameters(lambda each: each.startswith(f"{PREFIX}X-Two"))


@served("TR-8")
def url_headers_taken_late() -> Url:
    """Decides about a client before it takes the headers from the URL."""
    return _parameters(lambda each: "X-Conformance" in each)


# -------------------------------------------------------------------- reconnections

RECONNECT: Final = "X-Websocket-Reconnect"


@served("TR-10")
def tries_not_told() -> Url:
    """Tells its application of no reconnection."""
    return fronted(request=lambda asked: asked.with_header(RECONNECT, None))


@distorted("TR-10")
def tries_counted_from_one(serve: Serve) -> Serve:
    """Tells its application of a first try where there was none."""

    def change(message: Message) -> Message:
        is_none = message.event == "tries" and message.body == "0"
        return message.replace(body="1") if is_none else message

    return changing(change)(serve)


@served("TR-10")
def any_word_is_a_try() -> Url:
    """Takes whatever stands there for one try."""
    return _tries(lambda text: text if text.isdigit() and text != "0" else "1")


@served("TR-10")
def sign_taken() -> Url:
    """Takes a negative number for a number of tries."""
    return _tries(lambda text: text.lstrip("-") if text.startswith("-") else text)


@served("TR-10")
def digits_taken_as_far_as_they_go() -> Url:
    """Reads as many digits as there are, whatever follows."""
    return _tries(lambda text: text[: len(text) - len(text.lstrip("0123456789"))] or text)


@served("TR-10")
def tries_read_like_a_literal() -> Url:
    """Reads the number as its programming language reads integers."""
    return _tries(lambda text: text.replace("_", ""))


@served("TR-10")
def too_many_tries_not_borne() -> Url:
    """Fails where a number has more digits than fit."""
    return fronted(
        request=lambda asked: (
            answer("500 Internal Server Error") if len(asked.value(RECONNECT)) > 20 else asked
        )
    )


# -------------------------------------------------------------------- the end of a connection


@served("TR-12")
def tcp_dropped() -> Url:
    """Ends connections without a word."""
    return _closing(lambda piece: CUT if piece.code in ORDERLY else piece)


@served("TR-13")
def shutdown_always() -> Url:
    """Says that the server shuts down whenever it ends a connection in the ordinary course."""
    return _closing(lambda piece: _coded(piece, 1000, 1001))


@served("TR-13")
def refusal_is_ordinary() -> Url:
    """Ends the connection of a client that it refused as if nothing had happened."""
    return _closing(lambda piece: _coded(piece, 1008, 1000))


@served("TR-13")
def large_is_refused() -> Url:
    """Ends the connection with another code where a payload is too large."""
    return _closing(lambda piece: _coded(piece, 1009, 1008))


@served("TR-14")
@asynccontextmanager
async def lost_clients_kept() -> AsyncIterator[str]:
    """Keeps a client whose TCP connection ended without a close frame."""
    there: set[str] = set()

    def admit(connection: Connection) -> None:
        for text in _refusals(connection):
            raise ReplyError(text)
        if connection.id in there:
            raise ReplyError("this connection id is in use")
        there.add(connection.id)

    def gone(connection: Connection, _: Cause) -> None:
        if connection.link.closed != (None, ""):
            there.discard(connection.id)

    async with embedded_server(served=_hooked(admit, gone)) as url:
        yield url


@served("TR-14")
def waits_for_the_lost() -> Url:
    """Serves nobody else of a tenant while it waits for the answer of a client that is gone."""
    asked: set[int] = set()
    lost: set[str] = set()

    def outward(request: Request) -> Change:
        def change(piece: Piece) -> Pieces:
            if b";question;" in piece.data:
                asked.add(id(request))
            return [] if request.value("X-Test") in lost else [piece]

        return change

    def ended(request: Request) -> None:
        if id(request) in asked and request.value("X-Test"):
            lost.add(request.value("X-Test"))

    return fronted(outward=outward, ended=ended)


@served("TR-15")
@asynccontextmanager
async def namespaces_kept() -> AsyncIterator[str]:
    """Keeps by the id what a connection had connected, and gives it to the next one."""
    async with _remembering("_OnNamespaceConnect") as url:
        yield url


@served("TR-15")
@asynccontextmanager
async def rooms_kept() -> AsyncIterator[str]:
    """Keeps by the id which rooms a connection had joined, and puts the next one into them."""
    async with _remembering("_OnRoomJoin") as url:
        yield url


@distorted("TR-15")
def goodbye_in_frames(serve: Serve) -> Serve:
    """Has its clients leave their rooms before it ends their connections."""
    joined: list[Message] = []

    def wrong(payload: str | bytes) -> Payloads:
        message = frame_of(payload)
        if message and message.event == "_OnRoomJoin":
            joined.append(message.replace(wait="9", event="_OnRoomLeave"))
        is_last = message is not None and message.event == "close-me"
        return [*(encode(each) for each in joined if is_last), *serve(payload)]

    return wrong


@served("TR-16")
def close_not_answered() -> Url:
    """Ends TCP where the client sends a close frame."""
    return _close_dropped(lambda piece, is_shaken, is_amid: is_shaken and piece.code < 4000)


@served("TR-16")
def close_not_answered_before_the_handshake() -> Url:
    """Ends TCP where the client sends a close frame before the handshake."""
    return _close_dropped(lambda piece, is_shaken, is_amid: not is_shaken)


@served("TR-16")
def close_of_an_application_not_answered() -> Url:
    """Ends TCP where the client sends a close frame with a code that it does not know."""
    return _close_dropped(lambda piece, is_shaken, is_amid: piece.code >= 4000)


@served("TR-16")
def close_without_a_code_not_answered() -> Url:
    """Ends TCP where the client sends a close frame without a code."""
    return _close_dropped(lambda piece, is_shaken, is_amid: not piece.data)


@served("TR-16")
def close_amid_fragments_not_answered() -> Url:
    """Ends TCP where the client sends a close frame amid the fragments of a message."""
    return _close_dropped(lambda piece, is_shaken, is_amid: is_amid)


@served("TR-16")
def close_amid_an_ask_not_answered() -> Url:
    """Ends TCP where the client sends a close frame in place of a reply."""
    asked: set[int] = set()

    def outward(request: Request) -> Change:
        def change(piece: Piece) -> Pieces:
            if b";question;" in piece.data:
                asked.add(id(request))
            return [piece]

        return change

    def inward(request: Request) -> Change:
        def change(piece: Piece) -> Pieces:
            if b";question;" in piece.data:
                asked.discard(id(request))
            return CUT if piece.opcode == CLOSE and id(request) in asked else [piece]

        return change

    return fronted(inward=inward, outward=outward)


# -------------------------------------------------------------------- text that is none


@served("TR-17")
def any_octets_taken_for_text() -> Url:
    """Takes octets that are not UTF-8 for text, as best it can."""
    return _text_read(lambda data: data.decode(errors="replace").encode())


@served("TR-17")
def broken_text_dropped() -> Url:
    """Drops text that is not UTF-8, and goes on."""
    return _text_read(lambda data: b"")


@served("TR-17")
def broken_text_ends_tcp() -> Url:
    """Ends TCP where text is not UTF-8."""
    return _text_read(lambda data: None)


@served("TR-17")
def surrogates_taken() -> Url:
    """Takes surrogates for characters."""
    return _text_read(
        lambda data: data.decode(errors="surrogatepass").encode(errors="replace"),
        lambda data: b"\xed\xa0" in data,
    )


@served("TR-17")
def long_forms_taken() -> Url:
    """Reads characters from more octets than they need."""
    return _text_read(
        lambda data: data.replace(b"\xc0\xbb", b";"), lambda data: b"\xc0\xbb" in data
    )


@served("TR-17")
def broken_request_taken() -> Url:
    """Looks at a handshake request only as far as its letter."""
    return _text_read(lambda data: b"M", lambda data: data.startswith(b"M"))


@served("TR-17")
def fragments_not_checked() -> Url:
    """Checks only text that comes in one piece."""

    def inward(_: Request) -> Change:
        is_text = False

        def change(piece: Piece) -> Pieces:
            nonlocal is_text
            is_text = piece.opcode == TEXT or (is_text and piece.opcode in (0, PING, PONG))
            is_whole = piece.opcode == TEXT and piece.is_last
            if is_whole or not is_text or _is_text(piece.data):
                return [piece]
            return [replace(piece, data=piece.data.decode(errors="ignore").encode())]

        return change

    return fronted(inward=inward)


# -------------------------------------------------------------------- what they are made of


def _with(head: bytes, line: bytes) -> bytes:
    """Put a header into the head of an upgrade."""
    if b" 101 " not in head:
        return head
    return head.removesuffix(b"\r\n") + line + b"\r\n\r\n"


def _added(line: bytes) -> Url:
    return fronted(response=lambda _, head: _with(head, line))


def _method_overlooked(method: str) -> Url:
    """Upgrade who asks for it with this method, as if it were GET."""
    return fronted(
        request=lambda asked: (
            replace(asked, method="GET")
            if asked.method == method and asked.value("Sec-WebSocket-Key")
            else asked
        )
    )


def _corrected(name: str, value: str, is_wrong: Callable[[str], bool]) -> Url:
    """Overlook what is wrong in one header of a request that has all the others."""
    wanted = {"Connection", "Upgrade", "Sec-WebSocket-Version", "Sec-WebSocket-Key"} - {name}

    def request(asked: Request) -> Request:
        is_near = all(asked.value(each) for each in wanted) and asked.method == "GET"
        wrong = is_near and PREFIX.lower() not in asked.target.lower()
        return asked.with_header(name, value) if wrong and is_wrong(asked.value(name)) else asked

    return fronted(request=request)


def _parameters(is_lost: Callable[[str], bool]) -> Url:
    """Lose some parameters of the URL."""

    def request(asked: Request) -> Request:
        path, mark, query = asked.target.partition("?")
        kept = [each for each in query.split("&") if not is_lost(each)]
        return replace(asked, target=path + mark + "&".join(kept))

    return fronted(request=request)


def _tries(read: Callable[[str], str]) -> Url:
    """Read a number of tries in one's own way, be it in a header or in the URL."""

    def request(asked: Request) -> Request:
        query = parse_qsl(asked.target.partition("?")[2])
        named = {key.lower(): value for key, value in query}
        text = asked.value(RECONNECT) or named.get(f"{PREFIX}{RECONNECT}".lower(), "")
        known = bool(text) and len(text) < 20
        return asked.with_header(RECONNECT, _digits(read(text))) if known else asked

    return fronted(request=request)


def _digits(text: str) -> str:
    """Write an integer in digits, as whoever reads all scripts does."""
    return str(int(text)) if text.isdecimal() else text


def _leaving_out(is_lost: Callable[[Piece], bool]) -> Url:
    """Pass over some of the client's frames."""
    return fronted(inward=lambda _: lambda piece: [] if is_lost(piece) else [piece])


def _changing_masked(change: Callable[[Piece], Piece]) -> Url:
    """Change the client's frames, if they have a mask."""
    return fronted(inward=lambda _: lambda piece: [change(piece) if piece.is_masked else piece])


def _following(is_wrong: Callable[[Piece, bool], bool], opcode: int) -> Url:
    """Take frames that are wrong where they stand for frames of another opcode."""

    def inward(_: Request) -> Change:
        is_amid = False

        def change(piece: Piece) -> Pieces:
            nonlocal is_amid
            if is_wrong(piece, is_amid):
                piece = replace(piece, first=piece.first & 0xF0 | opcode)
            if piece.opcode < CLOSE:
                is_amid = not piece.is_last
            return [piece]

        return change

    return fronted(inward=inward)


def _closing(change: Callable[[Piece], Piece | str]) -> Url:
    """Change the close frames that are the server's idea."""
    closing: set[int] = set()

    def inward(request: Request) -> Change:
        def changed(piece: Piece) -> Pieces:
            if piece.opcode == CLOSE:
                closing.add(id(request))
            return [piece]

        return changed

    def outward(request: Request) -> Change:
        def changed(piece: Piece) -> Pieces:
            if piece.opcode != CLOSE or id(request) in closing:
                return [piece]
            given = change(piece)
            return given if isinstance(given, str) else [given]

        return changed

    return fronted(
        inward=inward, outward=outward, ended=lambda request: closing.discard(id(request))
    )


def _coded(piece: Piece, code: int, other: int) -> Piece:
    """Put another code in the place of one."""
    return replace(piece, data=other.to_bytes(2)) if piece.code == code else piece


def _close_dropped(is_dropped: Callable[[Piece, bool, bool], bool]) -> Url:
    """End TCP at some close frames of the client: by the frame, and where it stands."""

    def inward(_: Request) -> Change:
        is_shaken = is_amid = False

        def change(piece: Piece) -> Pieces:
            nonlocal is_shaken, is_amid
            if piece.opcode == CLOSE:
                return CUT if is_dropped(piece, is_shaken, is_amid) else [piece]
            if piece.opcode < CLOSE:
                is_shaken = is_shaken or piece.data[:1] == b"M"
                is_amid = not piece.is_last
            return [piece]

        return change

    return fronted(inward=inward)


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _text_read(
    read: Callable[[bytes], bytes | None], is_read: Callable[[bytes], bool] = lambda _: True
) -> Url:
    """Read text that is not UTF-8 in one's own way, or end TCP; where it comes in one piece."""

    def change(piece: Piece) -> Pieces:
        is_own = piece.opcode == TEXT and piece.is_last and is_read(piece.data)
        if not is_own or _is_text(piece.data):
            return [piece]
        text = read(piece.data)
        return CUT if text is None else [replace(piece, data=text)]

    return fronted(inward=lambda _: change)


def _refusals(connection: Connection) -> tuple[str, ...]:
    request = connection.request
    return request.headers.get_all("X-Conformance-Refuse") if request else ()


def _hooked(
    admit: Callable[[Connection], None], gone: Callable[[Connection, Cause], None]
) -> dict[str, Server]:
    """Give the conformance application with hooks of one's own."""

    def make(handlers: Handlers, **options: Any) -> Server:
        return Server(handlers, **{**options, "on_connect": admit, "on_disconnect": gone})

    return servers(make=make)


AGAIN: Final = "$again"
"""The token of asks that nobody made, whose answers nobody gets."""


@asynccontextmanager
async def _remembering(event: str) -> AsyncIterator[str]:
    """Carry asks of this event out again for whoever has the id of an earlier connection."""
    past: dict[str, list[Message]] = {}

    def distort(serve: Serve) -> Serve:
        own: list[str] = []
        due: list[Message] = []

        def openly(payload: str | bytes) -> Payloads:
            return [each for each in serve(payload) if not str(each).startswith(AGAIN)]

        def wrong(payload: str | bytes) -> Payloads:
            for each in due:  # whenever something comes: the first time may be too early
                openly(encode(each))
            sent = openly(payload)
            if payload == "M" and sent and not own:
                own.append(str(sent[0]))
                due.extend(past.setdefault(own[0], []))
            message = frame_of(payload)
            if own and message and message.event == event:
                ask = message.replace(wait=AGAIN)
                connect = ask.replace(event="_OnNamespaceConnect", room="")
                past[own[0]] += [connect, ask]
            return sent

        return wrong

    async with embedded_server(distort=distort) as url:
        yield url
