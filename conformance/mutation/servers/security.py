"""Servers that are wrong about limits, about what comes from a URL, and about hostile input."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from http import HTTPStatus
from typing import Any, Final

from mutation.distortions import Payloads, answering
from mutation.fault_proxy import (
    BINARY,
    CUT,
    HANG,
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
from neffos_asyncio import (
    ANY_ORIGIN,
    Connection,
    Handlers,
    Limits,
    Server,
    UpgradeRequest,
)
from neffos_asyncio.request import Headers
from neffos_conformance.reference.application import servers
from neffos_conformance.reference.embedded import NOTHING, Serve, embedded_server
from neffos_protocol import SessionLimits

Url = AbstractAsyncContextManager[str]

BOUNDLESS: Final = 1 << 40
"""In place of a limit."""

PREFIX: Final = "x-websocket-header-"


# -------------------------------------------------------------------- limits


@served("SEC-2")
def payloads_without_limit() -> Url:
    """Takes payloads of any length."""
    return _limited(SessionLimits(payload=BOUNDLESS), queue_size=BOUNDLESS)


@served("SEC-2")
def fragments_without_limit() -> Url:
    """Looks at the length of each fragment, and not of the message."""

    def inward(_: Request) -> Change:
        size = 0

        def change(piece: Piece) -> Pieces:
            nonlocal size
            size = len(piece.data) if piece.opcode in (TEXT, BINARY) else size + len(piece.data)
            if piece.opcode == 0 and size > LARGE:
                return [replace(piece, data=b"")]
            return [piece]

        return change

    return fronted(inward=inward)


@served("SEC-2")
def tokens_without_limit() -> Url:
    """Takes tokens of any length."""
    return _limited(SessionLimits(token=BOUNDLESS))


@served("SEC-2")
def names_without_limit() -> Url:
    """Takes names of any length."""
    return _limited(SessionLimits(name=BOUNDLESS))


@served("SEC-3")
def early_frames_without_number() -> Url:
    """Holds back any number of frames."""
    return _limited(SessionLimits(held=BOUNDLESS))


@served("SEC-3")
def early_frames_of_any_length() -> Url:
    """Holds back frames of any length."""
    return _limited(SessionLimits(held_size=BOUNDLESS))


@served("SEC-4")
def handshake_awaited_for_ever() -> Url:
    """Waits for ever for the handshake."""
    return _limited(SessionLimits(), handshake=None)


@served("SEC-4")
def handshake_awaited_while_it_talks() -> Url:
    """Waits for the handshake as long as there were frames."""

    def inward(_: Request) -> Change:
        is_shaken = False

        def change(piece: Piece) -> Pieces:
            nonlocal is_shaken
            is_shaken = is_shaken or piece.data.startswith(b"M")
            return [piece] if is_shaken or not piece.data.startswith(b"$1;nowhere;") else []

        return change

    return _before(_limited(SessionLimits(), handshake=None), inward)


@distorted("SEC-5")
def namespaces_without_number(serve: Serve) -> Serve:
    """Makes a namespace for each user who is named, without end."""
    return answering(
        lambda m: (
            m.empty_reply()
            if m.namespace.startswith("user-") and m.event == "_OnNamespaceConnect"
            else None
        )
    )(serve)


@served("SEC-6")
def rooms_without_number() -> Url:
    """Joins any number of rooms."""
    return _limited(SessionLimits(rooms=BOUNDLESS))


@served("SEC-8")
def replies_kept_without_limit() -> Url:
    """Keeps whatever a client does not read, and reads on."""
    return _limited(
        SessionLimits(),
        high_water=BOUNDLESS,
        backlog=BOUNDLESS,
        queue_length=BOUNDLESS,
        queue_size=BOUNDLESS,
    )


@served("SEC-8")
def broadcasts_kept_without_limit() -> Url:
    """Keeps whatever a client does not read, but reads no further from it."""
    return _limited(SessionLimits(), backlog=BOUNDLESS)


# -------------------------------------------------------------------- pages of other sites


@served("SEC-9")
def any_origin_taken() -> Url:
    """Lets in pages of any site."""

    def make(handlers: Handlers, **options: Any) -> Server:
        return Server(handlers, **options, origins=[ANY_ORIGIN])

    return embedded_server(served=servers(make=make))


@served("SEC-9")
def hidden_origin_taken() -> Url:
    """Lets in pages that hide where they come from."""
    return fronted(
        request=lambda asked: (
            asked.with_header("Origin", None) if asked.value("Origin") == "null" else asked
        )
    )


# -------------------------------------------------------------------- headers in the URL


@served("SEC-11")
def url_header_added() -> Url:
    """Adds headers from the URL to those of the request."""
    return _reading(lambda own, name, value: name == "x-test" and bool(own) and value not in own)


@served("SEC-11")
def url_header_in_place_of_an_empty_one() -> Url:
    """Takes an empty header for none."""
    return _reading(lambda own, name, value: own == ("",))


@served("SEC-11")
def url_header_by_letter() -> Url:
    """Sees that a header is there only where the URL writes it in the same letters."""
    return _reading(lambda own, name, value: bool(own), lambda name: name == "x-TEST")


@served("SEC-12")
def cookie_from_the_url() -> Url:
    """Takes cookies from the URL."""
    return _reading(lambda own, name, value: name == "cookie")


@served("SEC-12")
def address_from_the_url() -> Url:
    """Takes the address that a proxy would name from the URL."""
    return _reading(lambda own, name, value: name == "x-forwarded-for")


@served("SEC-12")
def scheme_from_the_url() -> Url:
    """Takes the scheme that a proxy would name from the URL."""
    return _reading(lambda own, name, value: name == "x-forwarded-proto")


@served("SEC-12")
def forwarded_from_the_url() -> Url:
    """Takes what a proxy of the newer kind would say from the URL."""
    return _reading(lambda own, name, value: name == "forwarded")


@served("SEC-12")
def site_from_the_url() -> Url:
    """Takes what only browsers may say from the URL."""
    return _reading(lambda own, name, value: name.startswith("sec-"))


@served("SEC-12")
def host_from_the_url() -> Url:
    """Takes the host from the URL."""
    return _reading(lambda own, name, value: name == "host")


@served("SEC-12")
def origin_from_the_url() -> Url:
    """Takes the origin from the URL, and checks that."""
    return _reading(lambda own, name, value: name == "origin")


@served("SEC-12")
def upgrade_from_the_url() -> Url:
    """Takes what makes a request an upgrade from the URL."""

    def request(asked: Request) -> Request:
        for name, value in (
            ("Upgrade", "websocket"),
            ("Connection", "Upgrade"),
            ("Sec-WebSocket-Version", "13"),
            ("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="),
        ):
            if f"{PREFIX}{name}=".lower() in asked.target.lower():
                asked = asked.with_header(name, value)
        return asked

    return fronted(request=request)


@served("SEC-13")
def lines_from_the_url() -> Url:
    """Takes values of several lines from the URL."""
    return _reading(lambda own, name, value: "\r" in value or "\n" in value)


@served("SEC-13")
def line_feeds_from_the_url() -> Url:
    """Looks for CR in values from the URL, and not for LF."""
    return _reading(lambda own, name, value: "\n" in value and "\r" not in value)


@served("SEC-13")
def nul_from_the_url() -> Url:
    """Takes values with NUL from the URL."""
    return _reading(lambda own, name, value: "\0" in value)


@served("SEC-13")
def any_name_from_the_url() -> Url:
    """Takes headers of any name from the URL."""
    return _reading(lambda own, name, value: any(each in name for each in " :\r\n") or not name)


@served("SEC-13")
def odd_names_not_borne() -> Url:
    """Fails where a header from the URL has a name that is none."""
    return fronted(
        request=lambda asked: (
            answer("500 Internal Server Error") if "%0D%0ATest" in asked.target else asked
        )
    )


# -------------------------------------------------------------------- hostile payloads


@distorted("SEC-15")
def event_looked_up_escaped(serve: Serve) -> Serve:
    """Looks an event up as it stands in the frame."""
    return lambda payload: (
        [] if isinstance(payload, str) and ";ec@%!semicolon@%!ho;" in payload else serve(payload)
    )


@distorted("SEC-16")
def stops_at_many_separators(serve: Serve) -> Serve:
    """Stops reading at a payload of very many separators."""
    return _stopping(lambda payload: payload.count(b";") > 50_000)(serve)


@served("SEC-16")
def dies_of_octets() -> Url:
    """Ends its process at binary messages that are nothing."""
    return _dying(lambda piece, _: piece.data.startswith(b"\xff\xfe\xfd"))


@distorted("SEC-16")
def stops_at_go_away(serve: Serve) -> Serve:
    """Stops reading where a client sends a refusal."""
    return _stopping(lambda payload: payload == b"Hgo away")(serve)


@served("SEC-16")
def dies_of_unknown_requests() -> Url:
    """Ends its process at events that begin like the protocol's own."""
    return _dying(lambda piece, _: b";_OnNamespaceConnectX;" in piece.data)


@distorted("SEC-16")
def stops_at_an_explicit_sender(serve: Serve) -> Serve:
    """Stops reading at a token that only servers use among themselves."""
    return _stopping(lambda payload: payload.startswith(b"neffos(0x"))(serve)


@served("SEC-16")
def dies_of_large_tokens() -> Url:
    """Ends its process at a token that is a number and does not fit."""
    return _dying(lambda piece, _: piece.data.startswith(b"9999999999999999999"))


@distorted("SEC-16")
def stops_at_empty_messages(serve: Serve) -> Serve:
    """Stops reading after hundreds of empty messages."""
    empty: Payloads = []

    def is_last(payload: bytes) -> bool:
        if not payload:
            empty.append(payload)
        return len(empty) >= 500

    return _stopping(is_last)(serve)


@served("SEC-16")
def dies_of_pongs() -> Url:
    """Ends its process at hundreds of pongs that it did not wait for."""
    return _dying(lambda piece, count: piece.opcode == PONG and count > 250)


@served("SEC-16")
def stops_at_many_fragments() -> Url:
    """Stops reading amid a message of very many fragments."""

    def inward(_: Request) -> Change:
        count = 0

        def change(piece: Piece) -> Pieces:
            nonlocal count
            count = count + 1 if piece.opcode == 0 else 0
            return HANG if count > 400 else [piece]

        return change

    return fronted(inward=inward)


@served("SEC-16")
def dies_of_broken_frames() -> Url:
    """Ends its process at a frame that is none."""
    return _dying(lambda _, __: False, lambda size: size >= 1 << 63)


@served("SEC-16")
def dies_of_large_frames() -> Url:
    """Ends its process at a frame that announces more than there is memory."""
    return _dying(lambda _, __: False, lambda size: 1 << 62 < size < 1 << 63)


@distorted("SEC-16")
def stops_at_escapes_of_terminals(serve: Serve) -> Serve:
    """Stops reading at characters that mean something to a terminal."""
    return _stopping(lambda payload: b"\x1b[31m" in payload)(serve)


@distorted("SEC-16")
def stops_at_many_open_asks(serve: Serve) -> Serve:
    """Stops reading once very many asks have no answer."""
    silent: Payloads = []

    def is_last(payload: bytes) -> bool:
        if b";silent;" in payload:
            silent.append(payload)
        return len(silent) > 1100

    return _stopping(is_last)(serve)


# -------------------------------------------------------------------- what they are made of

LARGE: Final = 8 << 20
"""Octets of a message from which on the octets of its fragments are not kept."""


def _limited(session: SessionLimits, **limits: Any) -> Url:
    return embedded_server(served=servers(limits=Limits(session=session, **limits)))


@asynccontextmanager
async def _before(server: Url, inward: Callable[[Request], Change]) -> AsyncIterator[str]:
    """Put a front before a server."""
    async with server as behind, fronted(behind, inward=inward) as url:
        yield url


def _reading(
    is_taken: Callable[[tuple[str, ...], str, str], bool],
    is_named: Callable[[str], bool] = lambda _: True,
) -> Url:
    """Add some headers from the URL: by those that are there, and by name and value."""

    class Reading(Server):
        def accept(self, request: UpgradeRequest) -> Connection | HTTPStatus:
            there = request.headers
            items = [(name, value) for name in there for value in there.get_all(name)]
            for key, value in request.query:
                name = key[len(PREFIX) :]
                is_own = key.lower().startswith(PREFIX) and is_named(name)
                if is_own and is_taken(there.get_all(name), name.lower(), value):
                    items.append((name, value))
            return super().accept(replace(request, headers=Headers(items)))

    return embedded_server(served=servers(make=Reading))


def _stopping(is_last: Callable[[bytes], bool]) -> Callable[[Serve], Serve]:
    """Read nothing more behind some payload."""

    def distort(serve: Serve) -> Serve:
        stopped: list[bool] = []

        def wrong(payload: str | bytes) -> Payloads:
            if payload is NOTHING:
                return serve(payload)
            octets = payload.encode() if isinstance(payload, str) else payload
            if stopped or is_last(octets):
                stopped.append(True)
                return []
            return serve(payload)

        return wrong

    return distort


def _dying(
    is_last: Callable[[Piece, int], bool], is_too_long: Callable[[int], bool] = lambda _: False
) -> Url:
    """End all connections of a tenant at some frame, and let it in no more.

    The process that ends serves one tenant, whom the header ``X-Test`` names; the others do not
    notice.
    """
    dead: set[str] = set()
    counts: defaultdict[int, int] = defaultdict(int)

    def inward(request: Request) -> Change:
        tenant = request.value("X-Test")

        def change(piece: Piece) -> Pieces:
            counts[id(request)] += piece.opcode == PONG
            if tenant and is_last(piece, counts[id(request)]):
                dead.add(tenant)
            return CUT if tenant in dead else [piece]

        return change

    def announced(request: Request, size: int) -> None:
        if is_too_long(size) and request.value("X-Test"):
            dead.add(request.value("X-Test"))

    return fronted(
        request=lambda asked: None if asked.value("X-Test") in dead else asked,
        inward=inward,
        announced=announced,
        ended=lambda request: counts.pop(id(request), 0),
    )
