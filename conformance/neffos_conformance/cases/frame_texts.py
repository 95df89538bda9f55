"""The texts of frames in scripts: their seven fields, with placeholders, cuts and escapes.

Whoever rewrites the messages of a script takes them apart and writes them here. This module knows
no case, and nothing of what a field means.
"""

from __future__ import annotations

import codecs
import re
from typing import Final

from neffos_codec import ESCAPE, FIELDS
from neffos_conformance.cases.script import CUT

WAIT, NAMESPACE, ROOM, EVENT, IS_ERROR, IS_NO_OP, BODY = range(len(FIELDS))
"""The places of the fields."""

_PART: Final = re.compile(r"<<.*?>>|;|[^;<]+|<", re.DOTALL)
_PLACEHOLDER: Final = re.compile(r"(<<.*?>>)", re.DOTALL)


def split(text: str) -> list[str] | None:
    """Split a message into its seven fields; ``None`` if it is not a frame."""
    if text.count(";") < len(FIELDS) - 1:
        return None
    if "<" not in text:
        return text.split(";", len(FIELDS) - 1)
    fields = [""]
    for part in _PART.findall(text):
        if part == ";" and len(fields) < len(FIELDS):
            fields.append("")
        else:
            fields[-1] += part
    return fields if len(fields) == len(FIELDS) else None


def name_in(text: str, *, is_bytes: bool) -> str:
    """Give the name that a field has.

    Args:
        text: the field.
        is_bytes: whether the step has bytes by their escapes, as a binary one does.
    """
    text = text.replace(CUT, "").replace(ESCAPE, ";")
    if is_bytes and "\\" in text:
        parts = _PLACEHOLDER.split(text)  # a placeholder has characters by their escapes, not bytes
        parts[::2] = map(_of_bytes, parts[::2])
        return "".join(parts)
    return text


def _of_bytes(text: str) -> str:
    data = codecs.decode(text, "unicode_escape").encode("latin-1")
    return data.decode("utf-8", "surrogateescape")


def put(old: str, name: str, *, is_bytes: bool) -> str:
    """Give a field with another name, cut where it was cut."""
    if name == name_in(old, is_bytes=is_bytes):
        return old
    text = escaped(literal(name, is_bytes=is_bytes))
    place = 0
    for part in old.split(CUT)[:-1]:
        place = min(place + len(part), len(text))
        text = f"{text[:place]}{CUT}{text[place:]}"
        place += len(CUT)
    return text


def literal(text: str, *, is_bytes: bool) -> str:
    """Give a text as a script has it; its placeholders stay."""
    if not is_bytes:
        return text
    parts = _PLACEHOLDER.split(text)
    parts[::2] = [
        part.encode().decode("latin-1").encode("unicode_escape").decode() for part in parts[::2]
    ]
    return "".join(parts)


def escaped(name: str) -> str:
    """Give a name as a field has it (FR-3)."""
    return name.replace(";", ESCAPE)


def units(text: str, *, is_bytes: bool) -> list[str]:
    """Split a text into what no cut may divide: placeholders, escapes and characters."""
    return (_BYTE_UNIT if is_bytes else _UNIT).findall(text)


_UNIT: Final = re.compile(r"<<.*?>>|.", re.DOTALL)
_BYTE_UNIT: Final = re.compile(r"<<.*?>>|\\x[0-9a-fA-F]{2}|\\.|.", re.DOTALL)
