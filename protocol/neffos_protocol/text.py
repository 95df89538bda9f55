"""Text of strangers, made fit for a log, a terminal or a page.

Peers and recordings are hostile until proven otherwise. Nothing of theirs may start a line,
control a terminal, turn the direction of writing, or take more room than there is. Every log
line, message and report that contains their text takes it from here. The module does not know
where the text goes.
"""

from __future__ import annotations

import json
from typing import Any, Final

LOGGED: Final = 200
"""Characters of a stranger's text in one log line: the names and reasons that peers send are
shorter, and a peer cannot fill a disk faster than it sends."""

_LETTERS: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def visible(text: str, *, limit: int | None = None, ascii_only: bool = False) -> str:
    r"""Escape whatever is invisible, or controls a terminal or a page.

    Control characters (C0, DEL, C1), line and paragraph separators, marks of writing direction,
    unpaired surrogates and the like become escapes such as ``\n`` or ``\u{202e}``. A byte that is
    not UTF-8 becomes ``\xff``. The result always has a UTF-8 form and is always one line.

    Args:
        text: any text; bytes that are not UTF-8 are surrogate escapes.
        limit: characters of the result at most; ``None`` sets no limit. The cost does not grow
            with what is cut off.
        ascii_only: escape everything that is not ASCII, too. An ellipsis then takes three dots.
    """
    if limit is None:
        return _escaped(text, ascii_only)
    # One more than fits, so that a text that is cut is longer than the limit and shows it.
    shown = _escaped(text[: limit + 1], ascii_only)
    return cut(shown, limit, "..." if ascii_only else "…")


def logged(value: object) -> str:
    """Write anything of a stranger in a log line: escaped, and at most ``LOGGED`` characters.

    Args:
        value: a text, or an object such as an exception, whose ``str`` is written. Bytes are
            read as UTF-8.
    """
    if isinstance(value, bytes):
        # A character has at most four bytes.
        value = value[: 4 * (LOGGED + 1)].decode("utf-8", "surrogateescape")
    return visible(str(value), limit=LOGGED)


def cut(text: str, characters: int, mark: str = "…") -> str:
    """Cut a text that has more than so many characters, and end it with a mark."""
    if len(text) <= characters:
        return text
    return text[: max(characters - len(mark), 0)] + mark


def ascii_json(values: Any, *, indent: int | None = None) -> str:
    """Give values as JSON of printable ASCII: the same values, fit for any terminal and encoding.

    Args:
        values: what JSON can represent.
        indent: spaces for each level; ``None`` for one line.
    """
    # JSON leaves one control character as it is, and it can stand in a string only.
    return json.dumps(values, indent=indent).replace("\x7f", "\\u007f")


def _escaped(text: str, ascii_only: bool) -> str:
    if text.isprintable() and (text.isascii() or not ascii_only):
        return text
    return "".join(
        each if each.isprintable() and (each.isascii() or not ascii_only) else _escape(each)
        for each in text
    )


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code & 0xFF:02x}"
    if character in _LETTERS:
        return _LETTERS[character]
    return f"\\x{code:02x}" if code < 0x80 else f"\\u{{{code:x}}}"
