"""Reads the options that say how a server is reached.

No error quotes a value that
may be a secret.
"""

from __future__ import annotations

import os
import re
import shlex
import ssl
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from neffos_conformance.wire.reach import (
    DIRECT,
    FROM_ENVIRONMENT,
    CertificateError,
    ProxyFailedError,
    Reach,
    Target,
    is_address,
    load_certificate,
    proxy_at,
)
from neffos_conformance.wire.reach_table import REACH_OPTIONS
from neffos_conformance.wire.secrets import MASK, is_kept, masked_url

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""The name of a header (RFC 9110, 5.6.2)."""

_VALUE: Final = re.compile(r"[\t\x20-\x7e]*")
"""The value of a header, without the bytes that peers read differently (RFC 9110, 5.5)."""

_VARIABLE: Final = re.compile(r"[A-Z_][A-Z0-9_]*")
"""What surely is the name of a variable. Anything else may be its value, by a ``$`` too many."""

_OF_THE_UPGRADE: Final = frozenset(
    {
        "connection",
        "content-length",
        "sec-websocket-accept",
        "sec-websocket-extensions",
        "sec-websocket-key",
        "sec-websocket-version",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers that an upgrade depends on, and that only the suite can set."""


@dataclass(frozen=True, slots=True)
class Reached:
    """The options of a command, read.

    Attributes:
        reach: what they mean.
        typed: the options as they can be shown: what may be a secret is masked.
    """

    reach: Reach = DIRECT
    typed: tuple[str, ...] = ()

    def target(self, url: str) -> Target:
        """Give the server at a URL."""
        return Target(url, self.reach)

    def command(self, command: str) -> str:
        """Give a command line with these options at its end."""
        return f"{command} {shlex.join(self.typed)}" if self.typed else command


def read_reach(values: Mapping[str, Any]) -> Reached:
    """Read the options.

    Args:
        values: their values, by ``ReachOption.key``; absent, ``None``, false or empty where an
            option was not given. Only an empty ``proxy`` means something.

    Raises:
        ValueError: one is wrong; the text says which, and what to do.
    """
    one: dict[str, str] = {
        each.key: str(values[each.key])
        for each in REACH_OPTIONS
        if each.metavar and not each.is_multiple and values.get(each.key) is not None
    }
    headers = [_header(each) for each in values.get("header") or ()]
    if origin := one.get("origin"):
        headers.append(("Origin", _origin(origin)))
    if cookies := [_cookie(each) for each in values.get("cookie") or ()]:
        headers.append(("Cookie", "; ".join(cookies)))
    if values.get("insecure") and "ca" in one:
        raise ValueError("--insecure and --ca exclude each other")
    if "key" in one and "cert" not in one:
        raise ValueError("--key has no certificate. Try: --cert FILE --key FILE")
    reach = Reach(
        tuple(headers),
        one.get("ca", ""),
        bool(values.get("insecure")),
        one.get("cert", ""),
        one.get("key", ""),
        one.get("proxy", FROM_ENVIRONMENT),
        tuple(_resolved(each) for each in values.get("resolve") or ()),
        one.get("unix_socket", ""),
    )
    _check(reach, one)
    return Reached(reach, tuple(_typed(values)))


def _check(reach: Reach, one: Mapping[str, str]) -> None:
    if one.get("proxy"):
        try:
            proxy_at(reach.proxy)
        except ProxyFailedError as error:
            raise ValueError(f"--proxy: {error}") from error
    named = [name for name in ("ca", "cert", "key") if name in one]
    for name in named:
        _readable(f"--{name}", Path(one[name]))
    try:
        if named:  # otherwise it takes long, and nothing can be wrong
            reach.tls()
    except CertificateError as error:
        raise ValueError(str(error)) from error
    if path := reach.unix_socket:
        if one.get("proxy") or reach.addresses:
            raise ValueError("--unix-socket excludes --proxy and --resolve")
        if not hasattr(os, "mkfifo"):
            raise ValueError("--unix-socket is not supported on this system")
        try:
            is_socket = stat.S_ISSOCK(os.stat(path).st_mode)
        except OSError as error:
            text = f"--unix-socket: {path}: {error.strerror}. Try: the path that the server has"
            raise ValueError(text) from error
        if not is_socket:
            raise ValueError(f"--unix-socket: {path} is not a socket. Try: the server's own path")


def _readable(option: str, path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except OSError as error:
        text = f"{option}: {path} cannot be read: {error.strerror}. Try: another name"
        raise ValueError(text) from error
    except UnicodeError as error:
        raise ValueError(f"{option}: {path} is not a text. Try: a file in UTF-8 or PEM") from error


def _given(option: str, value: str) -> str:
    """Give a value that the environment or a file may have."""
    if value.startswith("env:"):
        name = value[4:]
        if (found := os.environ.get(name)) is None:
            shown = name if _VARIABLE.fullmatch(name) else "variable of the name after env:"
            raise ValueError(f"{option}: the environment has no {shown}. Try: export NAME=VALUE")
        value = found
    elif value.startswith("@"):
        value = _readable(option, Path(value[1:])).rstrip("\r\n")
    if not _VALUE.fullmatch(value):
        raise ValueError(f"{option} has a line break or another character that no header can have")
    return value


def _header(text: str) -> tuple[str, str]:
    name, is_there, value = text.partition(":")
    if not is_there or not _TOKEN.fullmatch(name):
        raise ValueError("a --header has no name. Try: --header 'Name: value'")
    if name.lower() in _OF_THE_UPGRADE:
        raise ValueError(f"--header {name} belongs to the upgrade, which the suite makes")
    return name, _given(f"--header {name}", value.strip(" \t"))


def _cookie(text: str) -> str:
    cookie = _given("--cookie", text)
    if not re.match(r"[^=;\s]+=", cookie):
        raise ValueError("a --cookie has no name. Try: --cookie name=value")
    return cookie


def _origin(text: str) -> str:
    parts = urlsplit(text)
    is_whole = parts.scheme and parts.netloc and not (parts.path or parts.query or parts.fragment)
    if text != "null" and not (is_whole and _VALUE.fullmatch(text)):
        shown = masked_url(text)
        raise ValueError(
            f"--origin {shown} is not an origin. Try: https://HOST or https://HOST:PORT"
        )
    return text


def _resolved(text: str) -> tuple[str, int, str]:
    found = re.fullmatch(r"(\[[^\]]*\]|[^:\[\]]+):(\d+):(.+)", text)
    if found is None or not 0 < int(found[2]) < 1 << 16:
        raise ValueError(f"--resolve {text} is not HOST:PORT:ADDRESS. Try: HOST:443:192.0.2.1")
    address = found[3].removeprefix("[").removesuffix("]")
    if not is_address(address):
        raise ValueError(f"--resolve {text}: {address} is not an address. Try: 192.0.2.1 or [::1]")
    return found[1].strip("[]").lower(), int(found[2]), address


def _typed(values: Mapping[str, Any]) -> Iterator[str]:
    for each in REACH_OPTIONS:
        value = values.get(each.key)
        if not each.metavar:
            if value:
                yield f"--{each.name}"
            continue
        if value is None:
            continue
        for part in value if each.is_multiple else (value,):
            yield from (f"--{each.name}", _shown(each.name, str(part)))


def _shown(name: str, value: str) -> str:
    """Give a value without what may be a secret; where one comes from is none."""
    if name == "proxy":
        return masked_url(value)
    if name not in ("header", "cookie"):
        return value
    header, mark, content = value.partition(":") if name == "header" else ("", "", value)
    content = content.strip(" \t")
    is_public = content.startswith(("env:", "@")) or (mark and is_kept(header))
    return f"{header}{mark}{' ' if mark else ''}{content if is_public else MASK}"


def listening_tls(cert: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """Give the TLS context of a listener; ``None`` if it has no certificate.

    Raises:
        ValueError: the files are wrong; the text says how, and what to do.
    """
    if key and not cert:
        raise ValueError("--tls-key has no certificate. Try: --tls-cert FILE --tls-key FILE")
    if not cert:
        return None
    for option, path in (("--tls-cert", cert), ("--tls-key", key)):
        if path:
            _readable(option, path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        load_certificate(context, str(cert), str(key or ""))
    except CertificateError as error:
        raise ValueError(str(error)) from error
    return context
