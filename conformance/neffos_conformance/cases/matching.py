r"""Whether a received message is the expected one.

Frames are compared by their fields, since two payloads can decode to the same message; everything
else is compared as it is. Text between ``<<`` and ``>>`` is a placeholder:

    <<name>>         one or more characters that the peer chooses; the same name later is the same
    <<name:kind>>    likewise, of a form: see ``KINDS``; ``other`` is a value not bound before
    <<*1000 ab>>     "ab", a thousand times
    <<\r\n>>         characters by their escapes, as in Python
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Mapping
from typing import Final

from neffos_codec import FIELDS, Message
from neffos_conformance.wire.payloads import frame_of, payload_bytes, short, type_of

KINDS: Final[Mapping[str, str]] = {
    "client-token": r"\$(?!!).+",
    "server-token": r"(?![$#])(?!neffos\(0x)(?![\x00-\x7f]!).+",
    "any": r".*",
    "other": r".+",
    "character": r".",
    "sender": r"(?:neffos\(0x.+)?",
}
"""The forms of a value that a peer chooses, as regular expressions: tokens by who makes them (AR-2,
AR-3, AR-4, SX-1), a value that may be empty, one that no placeholder has had before, one character,
and an explicit sender or none (SX-7)."""

_OTHER: Final = "other"

_CHOSEN: Final = re.compile(r"<<([a-z_0-9]+)(?::([a-z-]+))?>>")
_REPEATED: Final = re.compile(r"<<\*(\d+) ([^>]+)>>")
_ESCAPED: Final = re.compile(r"<<(\\[^>]+)>>")

Bindings = dict[str, str]
"""The values of placeholders, by name."""


def expand(text: str) -> str:
    """Replace repetitions and escapes, which do not depend on the peer."""
    if "<<" not in text:
        return text
    text = _REPEATED.sub(lambda found: found[2] * int(found[1]), text)
    return _ESCAPED.sub(lambda found: codecs.decode(found[1], "unicode_escape"), text)


def fill(payload: str | bytes, bindings: Bindings) -> str | bytes:
    """Replace the placeholders of a payload by their values, in binary as UTF-8 (FR-12).

    Raises:
        KeyError: a placeholder has no value.
    """
    if isinstance(payload, bytes):
        if b"<<" not in payload:
            return payload
        values = {name: payload_bytes(value).decode("latin-1") for name, value in bindings.items()}
        return str(fill(payload.decode("latin-1"), values)).encode("latin-1")
    return _CHOSEN.sub(lambda found: bindings[found[1]], payload) if "<<" in payload else payload


def has_new(text: str, bindings: Bindings) -> bool:
    """Whether a text has a placeholder without a value."""
    return any(found[1] not in bindings for found in _CHOSEN.finditer(text))


def unfill(text: str, bindings: Bindings) -> str:
    """Replace the values of placeholders by their names, so that two runs say the same."""
    for name, value in bindings.items():
        if len(value) >= _MIN_VALUE:
            text = text.replace(value, f"<<{name}>>")
    return text


_MIN_VALUE: Final = 4
"""Length from which on a text counts as the value of a placeholder, and not as chance."""


def difference(
    expected: str | bytes, actual: str | bytes, bindings: Bindings, *, exact: bool = False
) -> str | None:
    """Say how ``actual`` differs from ``expected``; ``None`` if it does not.

    New placeholders are added to ``bindings`` if all of the message fits.
    """
    if isinstance(expected, str) != isinstance(actual, str):
        return f"expected a {type_of(expected)} message, actual {type_of(actual)}"
    found = dict(bindings)
    expected_frame = None if exact else frame_of(expected)
    if expected_frame is None:
        differs = _compare("payload", expected, actual, found)
    else:
        differs = _differing_field(expected_frame, actual, found)
    if differs is None:
        bindings.update(found)
    return differs


def _differing_field(expected: Message, actual: str | bytes, bindings: Bindings) -> str | None:
    got = frame_of(actual)
    if got is None:
        return "expected a frame, actual not a frame"
    for name, want, have in zip(FIELDS, expected.fields(), got.fields(), strict=True):
        if found := _compare(name, want, have, bindings):
            return found
    return None


def _compare(
    name: str, expected: str | bytes | bool, actual: str | bytes | bool, bindings: Bindings
) -> str | None:
    if isinstance(expected, str) and isinstance(actual, str):
        same = fits(expected, actual, bindings)
    elif isinstance(expected, bytes) and isinstance(actual, bytes):
        same = fits(expected.decode("latin-1"), actual.decode("latin-1"), bindings)
    else:
        same = expected == actual
    return None if same else f"{name}: expected {_shown(expected)}, actual {_shown(actual)}"


def _shown(value: str | bytes | bool) -> str:
    return repr(value) if isinstance(value, bool) else short(value)


def fits(expected: str, actual: str, bindings: Bindings | None = None) -> bool:
    """Say whether a text is the expected one, and bind the placeholders that are new."""
    if "<<" not in expected:
        return expected == actual
    bindings = {} if bindings is None else bindings
    placeholders = list(_CHOSEN.finditer(expected))
    if all(each[1] in bindings for each in placeholders):
        return fill(expected, bindings) == actual  # a pattern would be compiled for each case
    pattern = ""
    end = 0
    named: set[str] = set()
    others: set[str] = set()
    for placeholder in placeholders:
        name, kind = placeholder.groups()
        pattern += re.escape(expected[end : placeholder.start()])
        if name in bindings:
            pattern += re.escape(bindings[name])
        elif name in named:
            pattern += f"(?P={name})"
        else:
            pattern += f"(?P<{name}>{KINDS[kind] if kind else '.+'})"
            named.add(name)
            if kind == _OTHER:
                others.add(name)
        end = placeholder.end()
    found = re.fullmatch(pattern + re.escape(expected[end:]), actual, re.DOTALL)
    if found is None or any(found[name] in bindings.values() for name in others):
        return False
    bindings.update(found.groupdict())
    return True
