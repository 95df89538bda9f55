"""What may be a secret in URLs, headers and command lines, and how it is left out.

Everything that the suite writes about a peer takes its URLs, headers and command lines from here:
reports, recordings, messages and errors. Passwords and the values of a query are left out, since
browsers can authenticate by nothing else. What the protocol itself needs is kept: headers for the
conformance application and for reconnecting, also as parameters of a URL (TR-8), so that a
recording can still be checked and replayed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote, unquote_plus

MASK: Final = "***"

PARAMETER_PREFIX: Final = "x-websocket-header-"
"""The prefix of query parameters that browsers send in place of request headers (TR-8)."""

_KEPT: Final = ("x-conformance-", "x-websocket-")

_URL: Final = re.compile(r"(?i)\b(?:wss?|https?|socks[45][ah]?)://[^\s'\"`<>]*[^\s'\"`<>:.,;)]")
# Each name is tried once, from its beginning: a text of strangers may be one long name.
_HEADER: Final = re.compile(
    r"(?i)(?<![\w-])([\w-]*(?:authorization|cookie|api-?key|token))(\s*:\s*)(?!//)[^\r\n'\"]+"
)
_SCHEME: Final = re.compile(r"(?i)\b(Bearer|Basic)(\s+)[\w.~+/=-]{3,}")
_TELLING: Final = r"(?:token|secret|passw(?:or)?d|api[-_]?key|auth|session|credential)"
_VALUE: Final = re.compile(
    rf"(?i)(?<![\w%-])(?=[\w-]*{_TELLING})([\w-]++)=(?:'[^']*'|\"[^\"]*\"|[^\s'\"&;]+)"
)
_MEMBER: Final = re.compile(r'"([\w-]{1,80}+)"(\s{0,8}+:\s{0,8}+)"(?:[^"\\]|\\.)*+"')
_TELLING_NAME: Final = re.compile(rf"(?i){_TELLING}")
_JWT: Final = re.compile(r"(?<![\w-])eyJ[\w-]{8,}+\.[\w-]{8,}+\.[\w-]+")


def is_kept(name: str) -> bool:
    """Whether a header is part of what a recording shows; the values of others may be secrets."""
    return name.lower().removeprefix(PARAMETER_PREFIX).startswith(_KEPT)


def kept(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Give the headers that a recording shows."""
    return {name: value for name, value in headers if is_kept(name)}


def masked_target(target: str) -> str:
    """Give a path and query without the values of the query that may be secrets."""
    path, mark, query = target.partition("?")
    return path + mark + "&".join(map(_masked_parameter, query.split("&")))


def masked_url(url: str) -> str:
    """Give a URL without password, without the values of its query, and without fragment."""
    url = url.partition("#")[0]
    scheme, mark, rest = url.partition("://")
    if not mark:
        return masked_target(url)
    end = min((at for at in map(rest.find, "/?") if at >= 0), default=len(rest))
    user, at, host = rest[:end].rpartition("@")
    return f"{scheme}{mark}{MASK if user else ''}{at}{host}{masked_target(rest[end:])}"


def masked_urls(text: str) -> str:
    """Give a text with each URL in it as ``masked_url`` gives it."""
    return _URL.sub(lambda found: masked_url(found[0]), text) if "://" in text else text


def masked(text: str) -> str:
    """Give a text, such as a command line or an error, without the secrets that one can see.

    These are the parts of URLs that ``masked_url`` leaves out, headers that authenticate, and
    values with a telling name, such as ``TOKEN=…`` or ``--password=…``.
    """
    text = masked_urls(text)
    text = _HEADER.sub(rf"\1\2{MASK}", text)
    text = _SCHEME.sub(rf"\1\2{MASK}", text)
    return _VALUE.sub(rf"\1={MASK}", text)


def masked_body(text: str) -> str:
    """Give the body of a message without the secrets that one can see.

    Beside what ``masked`` leaves out, these are members of JSON with a telling name, and JSON Web
    Tokens.
    """
    return masked(_JWT.sub(MASK, _MEMBER.sub(_masked_member, text)))


def _masked_member(found: re.Match[str]) -> str:
    name, colon = found.groups()
    return f'"{name}"{colon}"{MASK}"' if _TELLING_NAME.search(name) else found[0]


def _masked_parameter(parameter: str) -> str:
    if not parameter:
        return parameter
    key, separator, _ = parameter.partition("=")
    plain = unquote_plus(key)
    if plain.lower().startswith(PARAMETER_PREFIX) and is_kept(plain):
        return parameter
    return f"{quote(plain)}={MASK}" if separator else MASK
