"""What the opening of a connection shows: the monitor knows messages, and no URL."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qsl, urlsplit

from neffos_conformance.cases.features import URL_HEADER
from neffos_conformance.wire.transcript import ConnectionOpened
from neffos_protocol import Role, Violation


def opening_violations(opened: ConnectionOpened) -> Iterator[Violation]:
    """Give the query parameters that are to stand for a header, and name none (TR-19).

    The value is not shown: a token may be in it.
    """
    try:
        query = urlsplit(opened.path).query
        names = [name for name, _ in parse_qsl(query, keep_blank_values=True)]
    except ValueError:  # a path that is no URL has no parameters
        return
    for name in names:
        before, is_there, after = name.lower().partition(URL_HEADER)
        if is_there and (before or not after):
            text = f"the query parameter {name!r} stands for no header; expected {URL_HEADER}NAME"
            yield Violation("TR-19", 0, Role.CLIENT, text)
