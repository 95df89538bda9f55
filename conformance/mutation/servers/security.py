"""Servers with a fault in limits, in what they read from a URL, and in hostile input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import Any, Final

from websockets.frames import Opcode

from mutation import fault_proxy as proxy
from mutation import hooks as on
from mutation import operators as do
from mutation.fault_proxy import (
    CUT,
    HANG,
    Frame,
    FrameEffect,
    Instead,
    Proxy,
    Request,
    Tunnel,
    answer,
)
from mutation.hooks import CONNECT, Effect, Hooks, Payload, ServerContext
from mutation.registry import Staged, mutant, mutants
from mutation.servers.transport import PREFIX, UPGRADE
from neffos_asyncio import ANY_ORIGIN, Budget, Connection, Handlers, Server, UpgradeRequest
from neffos_asyncio.request import Headers
from neffos_conformance.reference.application import servers
from neffos_conformance.reference.embedded import embedded_server
from neffos_protocol import SessionLimits

BOUNDLESS: Final = 1 << 40
"""Bytes, or a number, that no peer reaches: a limit that is none."""

LARGE: Final = 8 << 20
"""Bytes of a message from which on the bytes of its fragments are not kept."""


def _unlimited(*limits: str) -> Staged:
    """Seed a fault by taking limits of the session away."""
    return do.limited(SessionLimits(**dict.fromkeys(limits, BOUNDLESS)))


@mutant("SEC-2", proxy.inward, is_control=False)
def fragments_without_limit(link: Tunnel, frame: Frame) -> FrameEffect:
    """Checks the length of each fragment, and not of the message."""
    if frame.opcode != Opcode.CONT:
        link.counts.clear()
    link.counts["size"] += len(frame.data)
    is_large = frame.opcode == Opcode.CONT and link.counts["size"] > LARGE
    return replace(frame, data=b"") if is_large else None


def _is_early_ask(content: bytes) -> bool:
    return content.startswith(b"$1;nowhere;")


@mutant("SEC-9", on.run)
def any_origin_taken() -> on.Url:
    """Accepts pages of any site."""

    def make(handlers: Handlers, **options: Any) -> Server:
        return Server(handlers, **options, origins=[ANY_ORIGIN])

    return embedded_server(served=servers(make=make))


IsRead = Callable[[tuple[str, ...], str, str], bool]
"""Whether a header is read from the URL: by its values in the request, its name, and its value."""


def _read(is_read: IsRead, is_named: Callable[[str], bool] = lambda _: True) -> Staged:
    """Add some headers from the URL to those of the request."""

    class Reading(Server):
        def accept(self, request: UpgradeRequest) -> Connection | HTTPStatus:
            there = request.headers
            items = [(name, value) for name in there for value in there.get_all(name)]
            for key, value in request.query:
                name = key[len(PREFIX) :]
                is_own = key.lower().startswith(PREFIX.lower()) and is_named(name)
                if is_own and is_read(there.get_all(name), name.lower(), value):
                    items.append((name, value))
            return super().accept(replace(request, headers=Headers(items)))

    return on.run(lambda: embedded_server(served=servers(make=Reading)))


def _named(wanted: str) -> Staged:
    """Read a header of this name from the URL."""
    return _read(lambda own, name, value: name == wanted)


@mutant("SEC-12", proxy.request)
def upgrade_from_the_url(_: Tunnel, asked: Request) -> Request:
    """Reads the headers that make a request an upgrade from the URL."""
    for name, value in UPGRADE.items():
        if f"{PREFIX}{name}=".lower() in asked.target.lower():
            asked = asked.with_header(name, value)
    return asked


def _stopping(is_last: Callable[[ServerContext, bytes], bool]) -> Hooks:
    """Read nothing more from some payload on."""

    def hook(c: ServerContext, payload: Payload) -> Effect:
        content = payload.encode() if isinstance(payload, str) else payload
        if "stopped" not in c.values and is_last(c, content):
            c.values["stopped"] = True
        return () if "stopped" in c.values else None

    return on.receive_raw(hook)


def _containing(text: bytes, count: int = 1) -> Hooks:
    """Read nothing more from the payload on that is the last of so many with a text."""
    return _stopping(lambda c, content: text in content and c.count() >= count)


def _tenant(link: Tunnel) -> str:
    return link.request.value("X-Test")


def _dying(
    is_last: Callable[[Tunnel, Frame], bool] = lambda _, __: False,
    is_too_long: Callable[[int], bool] = lambda _: False,
) -> Proxy:
    """End all connections of a tenant at some frame, and accept it no more.

    The process that ends serves one tenant, whom the header ``X-Test`` names; the others do not
    notice.
    """

    def end(link: Tunnel) -> None:
        if _tenant(link):
            link.server.seen.add(_tenant(link))

    def dead(link: Tunnel) -> Instead | None:
        return CUT if _tenant(link) in link.server.seen else None

    def inward(link: Tunnel, frame: Frame) -> FrameEffect:
        if is_last(link, frame):
            end(link)
        return dead(link)

    def announced(link: Tunnel, size: int) -> None:
        if is_too_long(size):
            end(link)

    return Proxy(request=lambda link, _: dead(link), inward=inward, announced=announced)


def _begins(text: bytes) -> Callable[[Tunnel, Frame], bool]:
    return lambda _, frame: frame.content.startswith(text)


@mutant("SEC-16", proxy.inward)
def stops_at_many_fragments(link: Tunnel, frame: Frame) -> FrameEffect:
    """Stops reading amid a message of very many fragments."""
    if frame.opcode != Opcode.CONT:
        link.counts.clear()
        return None
    return HANG if link.count() > 400 else None


mutants(
    "SEC-9",
    "hidden-origin-taken: Accepts pages that hide their site.",
    proxy.request(
        lambda _, asked: (
            asked.with_header("Origin", None) if asked.value("Origin") == "null" else None
        )
    ),
    "SEC-2",
    "payloads-without-limit: Accepts payloads of any length.",
    do.limited(SessionLimits(payload=BOUNDLESS), queue_size=BOUNDLESS, budget=Budget(BOUNDLESS)),
    "tokens-without-limit: Accepts tokens of any length.",
    _unlimited("token"),
    "names-without-limit: Accepts names of any length.",
    _unlimited("name"),
    "SEC-3",
    "early-frames-without-number: Holds back any number of frames.",
    _unlimited("held"),
    "early-frames-of-any-length: Holds back frames of any length.",
    _unlimited("held_size"),
    "SEC-4",
    "handshake-awaited-for-ever: Waits indefinitely for the handshake.",
    do.limited(handshake=None),
    "handshake-awaited-while-it-talks: Waits for the handshake as long as the client sends frames.",
    Proxy(
        inward=proxy.inward(do.drop, is_open=False, content=_is_early_ask).inward,
        server=partial(do.limited_server, handshake=None),
    ),
    "SEC-5",
    "namespaces-without-number: Makes a namespace for each user that is named, without end.",
    on.receive(
        do.empty_reply,
        event=CONNECT,
        namespace=lambda name: name.startswith("user-"),
        wait=bool,
    ),
    "SEC-6",
    "rooms-without-number: Joins any number of rooms.",
    _unlimited("rooms"),
    "SEC-8",
    "replies-kept-without-limit: Keeps all that a client does not read, and reads on.",
    do.limited(
        high_water=BOUNDLESS,
        backlog=BOUNDLESS,
        queue_length=BOUNDLESS,
        queue_size=BOUNDLESS,
        budget=Budget(BOUNDLESS),
    ),
    "broadcasts-kept-without-limit: Keeps all that a client does not read, but then stops reading.",
    do.limited(backlog=BOUNDLESS, budget=Budget(BOUNDLESS)),
    "SEC-11",
    "url-header-added: Adds headers from the URL to those of the request.",
    _read(lambda own, name, value: name == "x-test" and bool(own) and value not in own),
    "url-header-in-place-of-an-empty-one: Treats an empty header as a missing one.",
    _read(lambda own, name, value: own == ("",)),
    "url-header-by-letter: Finds a request's header only if the URL writes it in the same case.",
    _read(lambda own, name, value: bool(own), lambda name: name == "x-TEST"),
    "SEC-12",
    "cookie-from-the-url: Reads cookies from the URL.",
    _named("cookie"),
    "address-from-the-url: Reads the address that a proxy would report from the URL.",
    _named("x-forwarded-for"),
    "scheme-from-the-url: Reads the scheme that a proxy would report from the URL.",
    _named("x-forwarded-proto"),
    "forwarded-from-the-url: Reads the header in which newer proxies report from the URL.",
    _named("forwarded"),
    "site-from-the-url: Reads headers that only browsers may set from the URL.",
    _read(lambda own, name, value: name.startswith("sec-")),
    "host-from-the-url: Reads the host from the URL.",
    _named("host"),
    "origin-from-the-url: Reads the origin from the URL, and checks that.",
    _named("origin"),
    "SEC-13",
    "lines-from-the-url: Accepts values of several lines from the URL.",
    _read(lambda own, name, value: "\r" in value or "\n" in value),
    "line-feeds-from-the-url: Looks for CR in values from the URL, and not for LF.",
    _read(lambda own, name, value: "\n" in value and "\r" not in value),
    "nul-from-the-url: Accepts values with NUL from the URL.",
    _read(lambda own, name, value: "\0" in value),
    "any-name-from-the-url: Accepts headers of any name from the URL.",
    _read(lambda own, name, value: any(each in name for each in " :\r\n") or not name),
    "odd-names-not-borne: Fails where the URL gives a header an invalid name.",
    proxy.request(
        lambda _, __: answer("500 Internal Server Error"),
        target=lambda target: "%0D%0ATest" in target,
    ),
    "SEC-15",
    "event-looked-up-escaped: Looks an event up as it is written in the frame.",
    do.drop_payloads(lambda payload: ";ec@%!semicolon@%!ho;" in str(payload)),
    "SEC-16",
    "stops-at-many-separators: Stops reading at a payload of very many separators.",
    _stopping(lambda _, content: content.count(b";") > 50_000),
    "dies-of-octets: Ends its process at binary messages without a meaning.",
    _dying(_begins(b"\xff\xfe\xfd")),
    "stops-at-go-away: Stops reading when a client sends a refusal.",
    _stopping(lambda _, content: content == b"Hgo away"),
    "dies-of-unknown-requests: Ends its process at events that begin like system events.",
    _dying(lambda _, frame: b";_OnNamespaceConnectX;" in frame.content),
    "stops-at-an-explicit-sender: Stops reading at a token that only servers use among themselves.",
    _stopping(lambda _, content: content.startswith(b"neffos(0x")),
    "dies-of-large-tokens: Ends its process at a token that is a number and does not fit.",
    _dying(_begins(b"9999999999999999999")),
    "stops-at-empty-messages: Stops reading after hundreds of empty messages.",
    _stopping(lambda c, content: not content and c.count() >= 500),
    "dies-of-pongs: Ends its process at hundreds of unsolicited pongs.",
    _dying(lambda link, frame: frame.opcode == Opcode.PONG and link.count() > 250),
    "dies-of-broken-frames: Ends its process at a frame with an impossible length.",
    _dying(is_too_long=lambda size: size >= 1 << 63),
    "dies-of-large-frames: Ends its process at a frame that announces more than there is memory.",
    _dying(is_too_long=lambda size: 1 << 62 < size < 1 << 63),
    "stops-at-escapes-of-terminals: Stops reading at characters that mean something to a terminal.",
    _containing(b"\x1b[31m"),
    "stops-at-many-open-asks: Stops reading once very many asks are pending.",
    _containing(b";silent;", 1101),
)
