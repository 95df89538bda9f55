"""The upgrade request, as the application sees it.

This module does not know which server read it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, urlsplit

URL_HEADER_PREFIX: Final = "x-websocket-header-"
"""The prefix of a query parameter that stands for a header (TR-8)."""

RECONNECT_HEADER: Final = "X-Websocket-Reconnect"
"""Carries the number of tries of a reconnection (TR-9)."""

MAX_TRIES_DIGITS: Final = 9
"""Digits of that number: far more than tries are ever made, far fewer than are slow to parse."""

_TOKEN: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_RESERVED: Final = frozenset({"connection", "cookie", "forwarded", "host", "origin", "upgrade"})
_RESERVED_PREFIXES: Final = ("sec-", "x-forwarded-")
_FORBIDDEN: Final = re.compile(r"[\r\n\0]")


class Headers(Mapping[str, str]):
    """HTTP headers: names in any case, the first value by subscript, all by ``get_all``."""

    __slots__ = ("_values",)

    def __init__(self, items: Iterable[tuple[str, str]] = ()) -> None:
        self._values: dict[str, list[str]] = {}
        for name, value in items:
            self._values.setdefault(name.lower(), []).append(value)

    def __getitem__(self, name: str) -> str:
        return self._values[name.lower()][0]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    def get_all(self, name: str) -> tuple[str, ...]:
        """Return all values of a header, in their order."""
        return tuple(self._values.get(name.lower(), ()))


@dataclass(frozen=True, slots=True)
class UpgradeRequest:
    """The HTTP request that a connection began with.

    Attributes:
        path: the path, with its percent signs as received.
        query: the parameters of the URL, decoded, in their order.
        headers: the headers, also those in the URL (TR-8).
        remote: the address of the peer; empty if unknown.
        values: what the web server knows of the request, such as an ASGI scope.
    """

    path: str
    query: tuple[tuple[str, str], ...]
    headers: Headers
    remote: str
    values: Mapping[str, object]

    @property
    def tries(self) -> int:
        """The number of tries of a reconnection; 0 for a first connection (TR-10)."""
        text = self.headers.get(RECONNECT_HEADER, "")
        is_number = text.isascii() and text.isdigit() and len(text) <= MAX_TRIES_DIGITS
        return int(text) if is_number else 0

    def parameter(self, name: str, default: str = "") -> str:
        """Return the first parameter of the URL with that name."""
        return next((value for key, value in self.query if key == name), default)

    @property
    def is_same_origin(self) -> bool:
        """Whether a page of this host opened the connection, or no page did (SEC-9)."""
        origins = self.headers.get_all("Origin")
        if not origins:
            return True
        try:
            host = urlsplit(origins[0]).netloc
        except ValueError:
            return False
        # `Origin: null` has no host, and is not the origin of a request without a host.
        is_one = len(origins) == 1 and bool(host)
        return is_one and host.lower() == self.headers.get("Host", "").lower()


def upgrade_request(
    target: str,
    headers: Iterable[tuple[str, str]],
    remote: str,
    values: Mapping[str, object] | None = None,
) -> UpgradeRequest:
    """Make the application's view of a request.

    Args:
        target: path and query, as in the request line.
        headers: names and values, in their order.
        remote: the address of the peer.
        values: what else is known.
    """
    path, _, text = target.partition("?")
    query = tuple(parse_qsl(text, keep_blank_values=True))
    own = Headers(headers)
    added = [item for item in _url_headers(query) if item[0] not in own]  # SEC-11
    if added:
        own = Headers([(name, each) for name in own for each in own.get_all(name)] + added)
    return UpgradeRequest(path, query, own, remote, values or {})


def _url_headers(query: Iterable[tuple[str, str]]) -> Iterator[tuple[str, str]]:
    """Yield the headers that parameters stand for, if they may (SEC-12, SEC-13)."""
    for key, value in query:
        lower = key.lower()
        if not lower.startswith(URL_HEADER_PREFIX):
            continue
        name = lower.removeprefix(URL_HEADER_PREFIX)
        reserved = name in _RESERVED or name.startswith(_RESERVED_PREFIXES)
        if not reserved and _TOKEN.fullmatch(name) and not _FORBIDDEN.search(value):
            yield name, value
