"""Whether a message that was seen is the message that was expected.

Frames are compared by their fields, since two payloads can say the same; everything else as
it stands. ``<<name>>`` in an expectation stands for text that the peer may choose.
"""

from __future__ import annotations

import re
from typing import Final

from neffos_codec import FIELDS, DecodeError, Message, decode

_PLACE: Final = re.compile(r"<<([a-z_]+)>>")

Bindings = dict[str, str]
"""What the places of a conversation turned out to hold, by name."""


def fill(payload: str | bytes, bindings: Bindings) -> str | bytes:
    """Write a payload with its places filled in; binary payloads have none.

    Raises:
        KeyError: a place that nothing was seen for.
    """
    if isinstance(payload, bytes):
        return payload
    return _PLACE.sub(lambda place: bindings[place[1]], payload)


def difference(
    expected: str | bytes, seen: str | bytes, bindings: Bindings, *, exact: bool = False
) -> str | None:
    """Say how ``seen`` differs from ``expected``; ``None`` where it does not.

    Places that are seen for the first time are added to ``bindings``.
    """
    if isinstance(expected, str) != isinstance(seen, str):
        return f"expected a {_kind(expected)} message, this is {_kind(seen)}"
    wanted = None if exact else _frame(expected)
    if wanted is None:
        return _compare("payload", expected, seen, bindings)
    got = _frame(seen)
    if got is None:
        return "expected a frame, this is none"
    for name, want, have in zip(FIELDS, wanted.fields(), got.fields(), strict=True):
        found = _compare(name, want, have, bindings)
        if found:
            return found
    return None


def _compare(
    name: str, expected: str | bytes | bool, seen: str | bytes | bool, bindings: Bindings
) -> str | None:
    if isinstance(expected, str) and isinstance(seen, str):
        same = _fits(expected, seen, bindings)
    else:
        same = expected == seen
    return None if same else f"{name} is {seen!r}, expected {expected!r}"


def _fits(expected: str, seen: str, bindings: Bindings) -> bool:
    pattern = ""
    end = 0
    named: set[str] = set()
    for place in _PLACE.finditer(expected):
        name = place[1]
        pattern += re.escape(expected[end : place.start()])
        if name in bindings:
            pattern += re.escape(bindings[name])
        else:
            pattern += f"(?P={name})" if name in named else f"(?P<{name}>.+)"
            named.add(name)
        end = place.end()
    found = re.fullmatch(pattern + re.escape(expected[end:]), seen, re.DOTALL)
    if found is None:
        return False
    bindings.update(found.groupdict())
    return True


def _frame(payload: str | bytes) -> Message | None:
    try:
        return decode(payload)
    except DecodeError:
        return None


def _kind(payload: str | bytes) -> str:
    return "text" if isinstance(payload, str) else "binary"
