"""URLs of brokers: what a log or a report may show of them, and which of them are refused.

A password that is not percent-encoded makes a URL that others read otherwise than it was meant.
Nothing of it is shown either.

>>> shown_urls("nats://user:pass/word@one:4222, tls://two")
'nats://one:4222,tls://two'
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qsl, urlsplit

NATS_OPTIONS: Final = frozenset({"ssl_ca_certs", "ssl_certfile", "ssl_keyfile"})
"""Options that a URL of NATS can have: files (PEM) with the authorities to trust, and with a
certificate to present and its key."""

REDIS_OPTIONS: Final = NATS_OPTIONS | {
    *("client_name", "db", "password", "username"),
    *("ssl_ca_path", "ssl_cert_reqs", "ssl_check_hostname", "ssl_ciphers", "ssl_min_version"),
    "ssl_password",
}
"""Those of Redis. Others of its library, such as ``decode_responses`` and ``protocol``, change what
the library gives back: a server would hear nothing, and say nothing of it."""

_BETWEEN: Final = re.compile(r",\s*(?=(?:nats|tls)://)", re.IGNORECASE)
"""Separates the URLs of a NATS cluster. A password may have a comma."""


def shown_urls(urls: str, mask: str = "") -> str:
    """Return the URLs of a broker without users, passwords and queries.

    Args:
        urls: one, or several of a NATS cluster with commas between them.
        mask: stands for a user and a password.
    """
    return ",".join(_shown(each, mask) for each in split_urls(urls))


def split_urls(urls: str) -> list[str]:
    """Return the URL of a broker, or those of a NATS cluster."""
    return [each.strip() for each in _BETWEEN.split(urls)]


def check_urls(urls: str) -> None:
    """Refuse URLs that have no readable host and port, or an option that no broker can have.

    Libraries refuse the former, too, and tell what they read as the port: a part of a password.

    Raises:
        ValueError: a host, a port or an option is invalid; the text has no part of the URL.
    """
    for each in split_urls(urls):
        try:
            parts = urlsplit(each)
            _ = parts.port
        except ValueError:
            text = (
                "the host or the port in its URL is invalid: percent-encode its user and password"
            )
            raise ValueError(text) from None
        known = NATS_OPTIONS if parts.scheme in ("nats", "tls") else REDIS_OPTIONS
        if not known.issuperset(name for name, _ in parse_qsl(parts.query, keep_blank_values=True)):
            raise ValueError(f"its URL has another option than {', '.join(sorted(known))}")


def _shown(url: str, mask: str) -> str:
    scheme, mark, rest = url.partition("://")
    if not mark:
        scheme, rest = "", url
    place, *query = re.split("[?#]", rest, maxsplit=1)
    if "@" in "".join(query):  # of a password, or of a value: nobody knows
        return f"{scheme}{mark}{mask}"
    user, _, host = place.rpartition("@")
    return f"{scheme}{mark}{mask}@{host}" if user and mask else f"{scheme}{mark}{host}"
