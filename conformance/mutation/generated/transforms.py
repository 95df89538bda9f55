"""What a fault can make of a value: of a name, a token or a body."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from typing import Any, Final

from neffos_codec import ESCAPE, Message

Change = Callable[[str], str]


def _cut(limit: int) -> Change:
    return lambda text: text[:limit]


LIMITS: Final = (125, 127, 255, 256, 65_535)
"""Where a value can be cut."""

TRANSFORMS: Final[Mapping[str, tuple[str, Change]]] = {
    "emptied": ("", lambda text: ""),
    "cut": ("", lambda text: text[:-1]),
    "beheaded": ("", lambda text: text[1:]),
    "doubled": ("", lambda text: text * 2),
    "longer": ("", lambda text: f"{text}x" if text else ""),
    "case-swapped": ("", str.swapcase),
    "lowered": ("upper", str.lower),
    "folded": ("sigma", str.casefold),
    "trimmed": ("edge-space", str.strip),
    "trimmed-left": ("edge-space", str.lstrip),
    "trimmed-right": ("edge-space", str.rstrip),
    "composed": ("combining", lambda text: unicodedata.normalize("NFC", text)),
    "decomposed": ("accent", lambda text: unicodedata.normalize("NFD", text)),
    "compatible": ("wide", lambda text: unicodedata.normalize("NFKC", text)),
    "semicolon-lost": ("semicolon", lambda text: text.replace(";", "")),
    "ended-at-semicolon": ("semicolon", lambda text: text.partition(";")[0]),
    "escaped": ("semicolon", lambda text: text.replace(";", ESCAPE)),
    "unescaped": ("escape", lambda text: text.replace(ESCAPE, ";")),
    "percent-decoded": ("percent", lambda text: text.replace("%20", " ")),
    "plus-decoded": ("percent", lambda text: text.replace("+", " ")),
    "ascii-only": ("accent", lambda text: text.encode("ascii", "replace").decode()),
    "latin": ("accent", lambda text: text.encode("utf-8", "replace").decode("latin-1")),
    "basic-plane": (
        "astral",
        lambda text: "".join(each if each < "\U00010000" else "\ufffd" for each in text),
    ),
    "control-lost": ("control", lambda text: "".join(each for each in text if each >= " ")),
    "ended-at-nul": ("control", lambda text: text.partition("\x00")[0]),
    "newlines-unified": ("newline", lambda text: text.replace("\r\n", "\n")),
    "first-line": ("newline", lambda text: text.partition("\n")[0]),
    "number-read": ("number", lambda text: text.lstrip("0") if text.isdecimal() else text),
    "markup-escaped": ("markup", lambda text: text.replace("&", "&amp;").replace("<", "&lt;")),
    "quotes-lost": ("quote", lambda text: text.replace('"', "").replace("'", "")),
    "backslash-lost": ("quote", lambda text: text.replace("\\", "")),
    "bom-lost": ("bom", lambda text: text.replace("\ufeff", "")),
    **{f"cut-at-{limit}": (f"over-{limit}", _cut(limit)) for limit in LIMITS},
}
"""What can become of a text, with the class of texts that it changes; empty for all."""

OTHERS: Final[Mapping[str, str]] = {"namespace": "room", "room": "event", "event": "room"}
"""The field whose value a name may get instead of its own."""

FIELDS: Final = ("namespace", "room", "event", "wait", "body")


def changed(message: Message, name: str, how: str) -> Message | None:
    """Give a frame with another value of a field; ``None`` where it is the same.

    Raises:
        ValueError: there is no such frame.
    """
    value: Any = getattr(message, name)
    if how == "swapped":
        other = OTHERS[name]
        given = message.replace(**{name: getattr(message, other), other: value})
    elif how == "flipped":
        given = message.replace(**{name: not value})
    elif isinstance(value, bytes):
        text = value.decode("utf-8", "surrogateescape")
        try:
            encoded = TRANSFORMS[how][1](text).encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:
            return None
        given = message.replace(**{name: encoded})
    else:
        given = message.replace(**{name: TRANSFORMS[how][1](value)})
    return None if given == message else given


NAMESPACE_NEEDS: Final = ("", "semicolon", "upper", "edge-space")
"""The classes of the namespaces that the conformance application has, or refuses."""

TOKEN_NEEDS: Final = ("", "edge-space", "accent")
"""Those of tokens, which are drawn from a list."""


def needs(how: str) -> str:
    """Give the class of values that a transform changes; empty for all."""
    return TRANSFORMS[how][0] if how in TRANSFORMS else ""


def transforms_of(name: str) -> list[str]:
    """Give the transforms that a field can have."""
    usable = {"namespace": NAMESPACE_NEEDS, "wait": TOKEN_NEEDS}
    found = [
        how
        for how, (needed, _) in TRANSFORMS.items()
        if (name not in usable or needed in usable[name])
        and (name in ("body", "wait") or needed != "escape")  # no name contains it (FR-4)
        and (name == "body" or how != "escaped")
        and (name == "body" or not needed.startswith("over-") or needed == "over-127")
    ]
    return [*found, *(["swapped"] if name in OTHERS else [])]
