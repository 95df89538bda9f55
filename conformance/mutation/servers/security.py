"""Servers with a fault in limits, in what they read from a URL, and in hostile input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from http import HTTPStatus
from typing import Final

from websockets.frames import Opcode

from mutation import fault_proxy as proxy
from mutation import hooks as on
from mutation import operators as do
from mutation.fault_proxy import CUT, HANG, Frame, FrameEffect, Instead, Proxy, Request, Tunnel
from mutation.hooks import CONNECT, JOIN
from mutation.registry import Staged, mutant, mutants
from mutation.servers.transport import PREFIX, UPGRADE
from neffos_asyncio import ANY_ORIGIN, Budget, Connection, Server, UpgradeRequest
from neffos_asyncio.request import Headers
from neffos_protocol import SessionLimits

BOUNDLESS: Final = 1 << 40
"""Bytes, or a number, that no peer reaches: a limit that is none."""

LARGE: Final = 8 << 20
"""Bytes of a message from which on the bytes of its fragments are not kept."""


def _unlimited(*limits: str) -> Staged:
    """Seed a fault by taking limits of the session away."""
    return do.limited(SessionLimits(**dict.fromkeys(limits, BOUNDLESS)))


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

    return on.run(partial(do.serving, Reading))


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


def _waits_for_another(c: on.ServerContext) -> bool:
    return any(each is not c and each.pending("question") for each in c.server.connections)


mutants(
    "SEC-9 hidden-origin-taken: Accepts pages that hide their site.",
    proxy.request(lambda _, asked: asked.with_header("Origin", None), named={"origin": "null"}),
    "SEC-9 origin-by-its-beginning: Accepts pages whose origin begins with the server's own.",
    proxy.request(
        lambda _, asked: asked.with_header("Origin", None),
        named={"origin": lambda origin: origin.endswith(".elsewhere.example")},
    ),
    "SEC-9 any-origin-taken: Accepts pages of any site.",
    on.run(partial(do.serving, origins=[ANY_ORIGIN])),
    "SEC-2 payloads-without-limit: Accepts payloads of any length.",
    do.limited(SessionLimits(payload=BOUNDLESS), queue_size=BOUNDLESS, budget=Budget(BOUNDLESS)),
    "SEC-2 fragments-without-limit: Checks the length of each fragment, and not of the message.",
    proxy.inward(do.change(data=b""), opcode=Opcode.CONT, parts=lambda parts: parts[1] > LARGE),
    "SEC-2 tokens-without-limit: Accepts tokens of any length.",
    _unlimited("token"),
    "SEC-2 names-without-limit: Accepts names of any length.",
    _unlimited("name"),
    "SEC-3 early-frames-without-number: Holds back any number of frames.",
    _unlimited("held"),
    "SEC-3 early-frames-of-any-length: Holds back frames of any length.",
    _unlimited("held_size"),
    "SEC-4 handshake-awaited-for-ever: Waits indefinitely for the handshake.",
    do.limited(handshake=None),
    "SEC-4 handshake-awaited-while-it-talks: Waits for the handshake while the client sends.",
    Proxy(
        inward=proxy.inward(do.drop, is_open=False, content=do.begins(b"$1;nowhere;")).inward,
        server=partial(do.limited_server, handshake=None),
    ),
    "SEC-5 namespaces-without-number: Makes a namespace for each user that is named, without end.",
    on.receive(do.empty_reply, event=CONNECT, namespace=do.begins("user-"), wait=bool),
    "SEC-6 rooms-without-number: Joins any number of rooms.",
    _unlimited("rooms"),
    "SEC-6 rooms-of-one-namespace-counted: Counts the rooms of one namespace alone.",
    on.receive(do.empty_reply, event=JOIN, namespace="any", room=do.begins("room-"), wait=bool),
    "SEC-8 replies-kept-without-limit: Keeps all that a client does not read, and reads on.",
    do.limited(
        high_water=BOUNDLESS,
        backlog=BOUNDLESS,
        queue_length=BOUNDLESS,
        queue_size=BOUNDLESS,
        budget=Budget(BOUNDLESS),
    ),
    "SEC-8 broadcasts-kept-without-limit: Keeps what a client does not read, and reads no more.",
    do.limited(backlog=BOUNDLESS, budget=Budget(BOUNDLESS)),
    "SEC-11 url-header-added: Adds headers from the URL to those of the request.",
    _read(lambda own, name, value: name == "x-test" and bool(own) and value not in own),
    "SEC-11 url-header-in-place-of-an-empty-one: Treats an empty header as a missing one.",
    _read(lambda own, name, value: own == ("",)),
    "SEC-11 url-header-by-letter: Finds a request's header only in the case that the URL has.",
    _read(lambda own, name, value: bool(own), lambda name: name == "x-TEST"),
    "SEC-12 cookie-from-the-url: Reads cookies from the URL.",
    _named("cookie"),
    "SEC-12 cookie-by-letter: Reads cookies from the URL if it names them in lower case.",
    _read(lambda own, name, value: name == "cookie", str.islower),
    "SEC-12 address-from-the-url: Reads the address that a proxy would report from the URL.",
    _named("x-forwarded-for"),
    "SEC-12 scheme-from-the-url: Reads the scheme that a proxy would report from the URL.",
    _named("x-forwarded-proto"),
    "SEC-12 forwarded-from-the-url: Reads the header in which newer proxies report from the URL.",
    _named("forwarded"),
    "SEC-12 site-from-the-url: Reads headers that only browsers may set from the URL.",
    _read(lambda own, name, value: name.startswith("sec-")),
    "SEC-12 host-from-the-url: Reads the host from the URL.",
    _named("host"),
    "SEC-12 origin-from-the-url: Reads the origin from the URL, and checks that.",
    _named("origin"),
    "SEC-13 lines-from-the-url: Accepts values of several lines from the URL.",
    _read(lambda own, name, value: "\r" in value or "\n" in value),
    "SEC-13 line-feeds-from-the-url: Looks for CR in values from the URL, and not for LF.",
    _read(lambda own, name, value: "\n" in value and "\r" not in value),
    "SEC-13 nul-from-the-url: Accepts values with NUL from the URL.",
    _read(lambda own, name, value: "\0" in value),
    "SEC-13 any-name-from-the-url: Accepts headers of any name from the URL.",
    _read(lambda own, name, value: any(each in name for each in " :\r\n") or not name),
    "SEC-13 odd-names-not-borne: Fails where the URL gives a header an invalid name.",
    proxy.request(do.give(proxy.answer("500 Internal Server Error")), target=do.has("%0D%0ATest")),
    "SEC-15 event-looked-up-escaped: Looks an event up as it is written in the frame.",
    on.receive_raw(do.drop, payload=do.has(";ec@%!semicolon@%!ho;")),
    "SEC-16 stops-at-many-separators: Stops reading at a payload of very many separators.",
    on.receive_raw(do.deaf_from(payload=lambda payload: str(payload).count(";") > 50_000)),
    "SEC-16 stops-at-many-fragments: Stops reading amid a message of very many fragments.",
    proxy.inward(do.give(HANG), opcode=Opcode.CONT, parts=lambda parts: parts[0] > 400),
    "SEC-16 dies-of-octets: Ends its process at binary messages without a meaning.",
    _dying(lambda _, frame: frame.content.startswith(b";\xff\xfe\xfd")),
    "SEC-16 stops-at-go-away: Stops reading when a client sends a refusal.",
    on.receive_raw(do.deaf_from(payload="Hgo away")),
    "SEC-16 dies-of-unknown-requests: Ends its process at events that begin like system events.",
    _dying(lambda _, frame: b";_OnNamespaceConnectX;" in frame.content),
    "SEC-16 stops-at-an-explicit-sender: Stops reading at a token that is for servers alone.",
    on.receive_raw(do.deaf_from(payload=do.begins("neffos(0x"))),
    "SEC-16 dies-of-large-tokens: Ends its process at a token that is a number and does not fit.",
    _dying(lambda _, frame: frame.content.startswith(b"9999999999999999999")),
    "SEC-16 stops-at-empty-messages: Stops reading after hundreds of empty messages.",
    on.receive_raw(do.deaf_from(payload=("", b""), count=lambda count: count() >= 500)),
    "SEC-16 dies-of-pongs: Ends its process at hundreds of unsolicited pongs.",
    _dying(lambda link, frame: frame.opcode == Opcode.PONG and link.count() > 250),
    "SEC-16 dies-of-broken-frames: Ends its process at a frame with an impossible length.",
    _dying(is_too_long=lambda size: size >= 1 << 63),
    "SEC-16 dies-of-large-frames: Ends its process at a frame that is announced as too large.",
    _dying(is_too_long=lambda size: 1 << 62 < size < 1 << 63),
    "SEC-16 stops-at-escapes-of-terminals: Stops reading at the escapes of terminals.",
    on.receive_raw(do.deaf_from(payload=do.has("\x1b[31m"))),
    "SEC-16 one-client-at-a-time: Drops an ask while a handler waits for another client's reply.",
    on.receive(lambda c, _: () if _waits_for_another(c) else None, event="echo", body="and me?"),
    "SEC-16 stops-at-many-open-asks: Stops reading once very many asks are pending.",
    on.receive(do.deaf_from(event="silent", count=lambda count: count() > 1100)),
)
