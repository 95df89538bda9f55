r"""Whether a message that was seen is the message that was expected.

Frames are compared by their fields, since two payloads can say the same; everything else as
it stands. What stands between ``<<`` and ``>>`` is a place:

    <<name>>         one or more characters that the peer chooses; the same name later is the same
    <<name:kind>>    likewise, of a form: see ``KINDS``; ``other`` is none that was seen before
    <<*1000 ab>>     "ab", a thousand times
    <<\r\n>>         characters by their escapes, as in Python
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from typing import Final

from neffos_codec import FIELDS, DecodeError, Message, decode
from neffos_conformance.wire.display import short

KINDS: Final[Mapping[str, str]] = {
    "client-token": r"\$.+",
    "server-token": r"(?![$#])(?!neffos\(0x).+",
    "any": r".*",
    "other": r".+",
}
"""The forms of what a peer chooses, as regular expressions: tokens by who makes them (AR-2,
AR-3, AR-4, SX-1), what may be empty, and what no place has held before."""

_OTHER: Final = "other"

_CHOSEN: Final = re.compile(r"<<([a-z_0-9]+)(?::([a-z-]+))?>>")
_REPEATED: Final = re.compile(r"<<\*(\d+) ([^>]+)>>")
_ESCAPED: Final = re.compile(r"<<(\\[^>]+)>>")

Bindings = dict[str, str]
"""What the places of a conversation turned out to hold, by name."""


def expand(text: str) -> str:
    """Write out what does not depend on the peer: repetitions and escapes."""
    text = _REPEATED.sub(lambda place: place[2] * int(place[1]), text)
    return _ESCAPED.sub(lambda place: codecs.decode(place[1], "unicode_escape"), text)


def fill(payload: str | bytes, bindings: Bindings) -> str | bytes:
    """Write a payload with its places filled in, in binary as UTF-8 (FR-12).

    Raises:
        KeyError: a place that nothing was seen for.
    """
    if isinstance(payload, bytes):
        octets = {
            name: value.encode("utf-8", "surrogateescape").decode("latin-1")
            for name, value in bindings.items()
        }
        return str(fill(payload.decode("latin-1"), octets)).encode("latin-1")
    return _CHOSEN.sub(lambda place: bindings[place[1]], payload)


def unfill(text: str, bindings: Bindings) -> str:
    """Put the names of places where their content stands, so that two runs say the same."""
    for name, value in bindings.items():
        if len(value) >= _TELLING:
            text = text.replace(value, f"<<{name}>>")
    return text


_TELLING: Final = 4
"""Characters from which on a text is taken for what stands in a place, and not for chance."""


def difference(
    expected: str | bytes, seen: str | bytes, bindings: Bindings, *, exact: bool = False
) -> str | None:
    """Say how ``seen`` differs from ``expected``; ``None`` where it does not.

    Places that are seen for the first time are added to ``bindings``, if all of it fits.
    """
    if isinstance(expected, str) != isinstance(seen, str):
        return f"expected a {_kind(expected)} message, this is {_kind(seen)}"
    found = dict(bindings)
    wanted = None if exact else _frame(expected)
    if wanted is None:
        differs = _compare("payload", expected, seen, found)
    else:
        differs = _differing_field(wanted, seen, found)
    if differs is None:
        bindings.update(found)
    return differs


def fits(expected: str, seen: str, bindings: Bindings | None = None) -> bool:
    """Say whether a text is another one, whose places may hold anything of their kind."""
    return _fits(expected, seen, {} if bindings is None else bindings)


def _differing_field(wanted: Message, seen: str | bytes, bindings: Bindings) -> str | None:
    got = _frame(seen)
    if got is None:
        return "expected a frame, this is none"
    for name, want, have in zip(FIELDS, wanted.fields(), got.fields(), strict=True):
        if found := _compare(name, want, have, bindings):
            return found
    return None


def _compare(
    name: str, expected: str | bytes | bool, seen: str | bytes | bool, bindings: Bindings
) -> str | None:
    if isinstance(expected, str) and isinstance(seen, str):
        same = _fits(expected, seen, bindings)
    elif isinstance(expected, bytes) and isinstance(seen, bytes):
        same = _fits(expected.decode("latin-1"), seen.decode("latin-1"), bindings)
    else:
        same = expected == seen
    return None if same else f"{name} is {_shown(seen)}, expected {_shown(expected)}"


def _shown(value: str | bytes | bool) -> str:
    return repr(value) if isinstance(value, bool) else short(value)


def _fits(expected: str, seen: str, bindings: Bindings) -> bool:
    if "<<" not in expected:
        return expected == seen
    pattern = ""
    end = 0
    named: set[str] = set()
    others: set[str] = set()
    for place in _CHOSEN.finditer(expected):
        name, kind = place.groups()
        pattern += re.escape(expected[end : place.start()])
        if name in bindings:
            pattern += re.escape(bindings[name])
        elif name in named:
            pattern += f"(?P={name})"
        else:
            pattern += f"(?P<{name}>{KINDS[kind] if kind else '.+'})"
            named.add(name)
            if kind == _OTHER:
                others.add(name)
        end = place.end()
    found = re.fullmatch(pattern + re.escape(expected[end:]), seen, re.DOTALL)
    if found is None or any(found[name] in bindings.values() for name in others):
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
