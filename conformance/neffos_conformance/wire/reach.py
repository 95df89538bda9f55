"""A server and how it is reached: headers, TLS, proxy, address or Unix socket.

Everything that dials takes a ``Target``, and its ``connect`` is the only place that opens a
connection to a server under test. This file knows neither WebSocket messages nor requests.
"""

from __future__ import annotations

import asyncio
import math
import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from ipaddress import ip_address
from typing import Final, NoReturn
from urllib.parse import urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

from websockets.datastructures import Headers
from websockets.exceptions import InvalidProxy, InvalidProxyStatus, InvalidURI, ProxyError
from websockets.headers import build_host
from websockets.proxy import Proxy, get_proxy, parse_proxy
from websockets.uri import WebSocketURI, parse_uri

from neffos_conformance.wire.secrets import MASK, masked_url

FROM_ENVIRONMENT: Final = "environment"
"""Stands for the proxy that the environment names, such as ``HTTPS_PROXY``."""

SOCKS_PORT: Final = 1080
"""The port of a SOCKS proxy whose URL has none (RFC 1928); the library takes that of HTTP."""

ATTEMPT_DELAY: Final = 0.25
"""Seconds before the next address of a name is tried too, as RFC 8305 recommends."""

TLS_CONTEXTS: Final = 16
"""Contexts that are kept: a run has one, for its server, and perhaps one for its proxy."""

SHORTEST: Final = 6
"""Characters of a part of a header's value that may be a secret of its own, such as a token."""

_PUBLIC: Final = frozenset({"origin", "host", "user-agent"})
"""Headers whose values are no secrets."""

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Gate:
    """Lets connections through one after the other, with some time between them.

    Args:
        interval: seconds between two connections.

    Attributes:
        interval: see above.
    """

    def __init__(self, interval: float) -> None:
        self.interval = interval
        self._lock = asyncio.Lock()
        self._last = -math.inf

    async def wait(self) -> None:
        """Wait until the next connection may be opened."""
        loop = asyncio.get_running_loop()
        async with self._lock:
            await asyncio.sleep(self._last + self.interval - loop.time())
            self._last = loop.time()


def cause(error: Exception) -> str:
    """Give why no connection was opened; asyncio writes only the number, and a tuple."""
    text = str(error)
    if "Connect call failed" not in text:
        return text
    numbers = dict.fromkeys(map(int, re.findall(r"\[Errno (\d+)\]", text)))
    return ", ".join(os.strerror(number).lower() for number in numbers)


class CertificateError(OSError):
    """A file of certificates or keys cannot be used; the text says why, and what to do."""


class ProxyFailedError(OSError):
    """The proxy could not be reached, or did not connect to the server.

    Attributes:
        status: the HTTP status that it sent instead, if any.
    """

    def __init__(self, explanation: str, status: int | None = None) -> None:
        super().__init__(explanation)
        self.status = status


@dataclass(frozen=True, slots=True)
class Reach:
    """How a server is reached.

    Attributes:
        headers: names and values of further headers of each request. A request's own headers
            replace those of the same name.
        ca: a file of certificates to trust, in place of those of the system.
        is_insecure: trust any certificate.
        certificate: a file with the client's own certificate, if there is one.
        key: a file with its key; empty if that is in the same file.
        proxy: the URL of a proxy, ``FROM_ENVIRONMENT``, or empty for none. A loopback address is
            never reached by one.
        addresses: host, port, and the address to dial instead.
        unix_socket: the path of a Unix socket that is dialled instead of any address.
        gate: what each connection waits at; ``None`` for nothing.
    """

    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    ca: str = ""
    is_insecure: bool = False
    certificate: str = ""
    key: str = field(default="", repr=False)
    proxy: str = field(default=FROM_ENVIRONMENT, repr=False)
    addresses: tuple[tuple[str, int, str], ...] = ()
    unix_socket: str = ""
    gate: Gate | None = field(default=None, repr=False, compare=False)

    def tls(self) -> ssl.SSLContext:
        """Give the TLS context for the server.

        Raises:
            CertificateError: a file cannot be used.
        """
        return _tls_context(self.ca, self.is_insecure, self.certificate, self.key)

    def proxy_for(self, uri: WebSocketURI) -> Proxy | None:
        """Give the proxy for a server; ``None`` if it is reached directly.

        Raises:
            ProxyFailedError: the URL of the proxy is not valid.
        """
        if self.unix_socket or is_loopback(self.address_of(uri)):
            return None
        named = _environment_proxy(uri) if self.proxy == FROM_ENVIRONMENT else self.proxy
        return proxy_at(named) if named else None

    def hide(self, text: str) -> str:
        """Give a text, which a server may have written, without the values of the headers."""
        secrets = [
            part
            for name, value in self.headers
            if name.lower() not in _PUBLIC
            for part in (value, *re.split(r"[\s;=,]+", value))
            if len(part) >= SHORTEST
        ]
        for each in sorted(secrets, key=len, reverse=True):
            text = text.replace(each, MASK)
        return text

    def address_of(self, uri: WebSocketURI) -> str:
        """Give the name or address to dial for a server."""
        return next(
            (to for host, port, to in self.addresses if (host, port) == (uri.host, uri.port)),
            uri.host,
        )


DIRECT: Final = Reach()
"""How a server is reached without any option."""


@dataclass(frozen=True, slots=True)
class Target:
    """A server, and how it is reached.

    Attributes:
        url: of the server, ``ws://…`` or ``wss://…``.
        reach: how it is reached.
    """

    url: str = field(repr=False)
    reach: Reach = DIRECT

    @classmethod
    def of(cls, server: Target | str) -> Target:
        """Give the server at a URL, or the one that is given."""
        return server if isinstance(server, Target) else cls(server)

    @property
    def uri(self) -> WebSocketURI:
        """The parts of the URL.

        Raises:
            ValueError: the URL is not one of a WebSocket.
        """
        try:
            return parse_uri(self.url)
        except (InvalidURI, ValueError) as error:
            raise ValueError(NOT_WEB_SOCKET.format(self)) from error

    @property
    def origin(self) -> str:
        """The origin of a page that the server may have served itself, or the one that is set."""
        given = Headers(self.reach.headers).get("Origin")
        scheme, netloc = urlsplit(self.url)[:2]
        return given or f"{scheme.replace('ws', 'http')}://{netloc.rpartition('@')[2]}"

    def behind(self, gate: Gate | None) -> Target:
        """Give the same server, whose connections wait at a gate if there is one."""
        return self if gate is None else replace(self, reach=replace(self.reach, gate=gate))

    def below(self, path: str) -> Target:
        """Give the server at a path and query below this one's."""
        return replace(self, url=below(self.url, path))

    def request_headers(self, own: Mapping[str, str]) -> Headers:
        """Give the headers of a request: those that reach the server, replaced by its own.

        Args:
            own: its own headers.
        """
        return replaced(Headers(self.reach.headers), Headers(own))

    async def connect(self) -> Streams:
        """Open a connection: TCP or a Unix socket, through a proxy or not, and TLS for ``wss``.

        Raises:
            OSError: it cannot be opened; a ``ProxyFailedError`` if that is because of the proxy,
                an ``ssl.SSLError`` if it is because of TLS.
            UnicodeError: the host is not a name.
        """
        uri, reach = self.uri, self.reach
        if reach.gate is not None:
            await reach.gate.wait()
        tls = reach.tls() if uri.secure else None
        name = uri.host if uri.secure else None
        if reach.unix_socket:
            return await asyncio.open_unix_connection(
                reach.unix_socket, ssl=tls, server_hostname=name
            )
        dialled = replace(uri, host=reach.address_of(uri))
        if proxy := reach.proxy_for(uri):
            return await _through(proxy, reach, dialled, tls, name)
        delay = None if is_address(dialled.host) else ATTEMPT_DELAY
        return await asyncio.open_connection(
            dialled.host, uri.port, ssl=tls, server_hostname=name, happy_eyeballs_delay=delay
        )

    def __str__(self) -> str:
        return masked_url(self.url)


def below(server: str, target: str) -> str:
    """Give the URL of a client's request at the server: its path and query after the server's."""
    scheme, netloc, path, query, _ = urlsplit(server)
    wanted, _, more = target.partition("?")
    joined = path.rstrip("/") + wanted if wanted.strip("/") else path or "/"
    return urlunsplit((scheme, netloc, joined, "&".join(filter(None, (query, more))), ""))


NOT_WEB_SOCKET: Final = "{} is not a WebSocket URL. Try: ws://HOST:PORT/PATH or wss://HOST/PATH"
"""What is said of any other URL."""


def check_web_socket(url: str) -> None:
    """Check that a text is the URL of a WebSocket, as far as its form says.

    Raises:
        ValueError: it is not.
    """
    try:
        parts = urlsplit(url)
        is_one = parts.scheme in ("ws", "wss") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_one = False
    if not is_one:
        raise ValueError(NOT_WEB_SOCKET.format(masked_url(url)))


def netloc(listener: asyncio.Server) -> str:
    """Give host and port of a listener, as a URL has them."""
    host, port = listener.sockets[0].getsockname()[:2]
    return build_host(host, port, secure=False, always_include_port=True)


def replaced(headers: Headers, by: Headers) -> Headers:
    """Give headers in which others replace those of the same name, repeated ones included."""
    names = {name.lower() for name in by}
    left = [each for each in headers.raw_items() if each[0].lower() not in names]
    return Headers([*left, *by.raw_items()])


def is_loopback(host: str) -> bool:
    """Whether a name or an address is one of this machine."""
    if is_address(host):
        return ip_address(host).is_loopback
    return host == "localhost" or host.endswith(".localhost")


def proxy_at(url: str) -> Proxy:
    """Give the proxy at a URL; without a scheme it is one of HTTP, as everywhere.

    Raises:
        ProxyFailedError: the URL is not valid.
    """
    whole = url if "://" in url else f"http://{url}"
    try:
        proxy = parse_proxy(whole)
        port = urlsplit(whole).port
    except (InvalidProxy, ValueError) as error:
        reason = error.msg if isinstance(error, InvalidProxy) else "it has no valid port"
        text = f"{masked_url(whole)} is not the URL of a proxy: {reason}"
        raise ProxyFailedError(f"{text}. Try: http://HOST:PORT or socks5h://HOST:PORT") from error
    return replace(proxy, port=port or SOCKS_PORT) if proxy.scheme[:5] == "socks" else proxy


def is_address(host: str) -> bool:
    """Whether a host is an IP address, without brackets, and not a name."""
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _environment_proxy(uri: WebSocketURI) -> str | None:
    """Give the proxy that the environment names; the library does not know ``ALL_PROXY``."""
    if proxy_bypass(f"{uri.host}:{uri.port}"):
        return None
    return get_proxy(uri) or getproxies().get("all")


@lru_cache(TLS_CONTEXTS)
def _tls_context(ca: str, is_insecure: bool, certificate: str, key: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca or None)
    except OSError as error:
        raise CertificateError(f"{ca} has no certificate to trust. Try: a PEM file") from error
    if is_insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certificate:
        load_certificate(context, certificate, key)
    return context


def load_certificate(context: ssl.SSLContext, certificate: str, key: str) -> None:
    """Give a TLS context a certificate of its own.

    Args:
        context: the context.
        certificate: a PEM file with the certificate, and with its key unless ``key`` names it.
        key: a PEM file with the key; may be empty.

    Raises:
        CertificateError: the files cannot be used.
    """
    try:
        context.load_cert_chain(certificate, key or None, _no_password)
    except OSError as error:
        if isinstance(error, CertificateError):
            raise
        files = " and ".join(filter(None, (certificate, key)))
        reason = error.strerror
        if isinstance(error, ssl.SSLError):
            is_other = error.reason == "KEY_VALUES_MISMATCH"
            reason = (
                "the key belongs to another certificate"
                if is_other
                else "a certificate or its key is missing"
            )
        text = f"{files} cannot be used: {reason}. Try: a certificate and its key as PEM"
        raise CertificateError(text) from error


def _no_password() -> NoReturn:
    # The library would ask on the terminal, which a run in CI does not have.
    raise CertificateError("the key is encrypted. Try: openssl pkey -in KEY -out PLAIN_KEY")


async def _through(
    proxy: Proxy, reach: Reach, uri: WebSocketURI, tls: ssl.SSLContext | None, name: str | None
) -> Streams:
    """Open a connection through a proxy."""
    # A proxy is rare, and no other way needs these, or the library that they need for SOCKS.
    from websockets.asyncio.client import connect_http_proxy, connect_socks_proxy

    where = f"the proxy {proxy.host}:{proxy.port}"
    try:
        if proxy.scheme[:5] == "socks":
            connected = await connect_socks_proxy(proxy, uri)
            return await asyncio.open_connection(sock=connected, ssl=tls, server_hostname=name)
        own = replace(reach, certificate="", key="").tls() if proxy.scheme == "https" else None
        transport = await connect_http_proxy(proxy, uri, ssl=own)
    except InvalidProxyStatus as error:
        status = error.response.status_code
        text = f"{where} does not connect to {uri.host}:{uri.port}: HTTP {status}"
        raise ProxyFailedError(text, status) from error
    except ProxyError as error:
        text = f"{where} does not connect to {uri.host}:{uri.port}: {error.__cause__ or error}"
        raise ProxyFailedError(text) from error
    except ssl.SSLError:
        raise
    except OSError as error:
        raise ProxyFailedError(f"no connection to {where}: {cause(error)}") from error
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    if transport.is_closing():  # its end went to the protocol before this one
        raise ProxyFailedError(f"{where} connected to {uri.host}:{uri.port}, and ended it")
    transport.set_protocol(protocol)
    carrier: asyncio.Transport | None = transport
    if tls is not None:
        carrier = await loop.start_tls(transport, protocol, tls, server_hostname=name)
    assert carrier is not None  # noqa: S101  # says the library's own comment
    protocol.connection_made(carrier)
    return reader, asyncio.StreamWriter(carrier, protocol, reader, loop)
