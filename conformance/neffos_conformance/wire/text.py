"""Text that can be shown to people, whoever wrote it.

Peers and recordings are hostile until proven otherwise: nothing of theirs may control a terminal
or a page, or take more room than there is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rich.cells import cell_len, chop_cells, set_cell_size


def visible(text: str, *, ascii_only: bool = False) -> str:
    r"""Escape whatever is invisible, or controls a terminal or a page.

    Control characters, marks of writing direction and the like become escapes such as ``\n`` or
    ``\u{202e}``. A byte that is not UTF-8 becomes ``\xff``.

    Args:
        text: any text; bytes that are not UTF-8 are surrogate escapes.
        ascii_only: escape everything that is not ASCII, too.
    """
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


_LETTERS: Final = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def shorten(text: str, cells: int) -> str:
    """Cut a text that takes more than so many cells (wide characters take two)."""
    return text if cell_len(text) <= cells else set_cell_size(text, cells - 1).rstrip() + "…"


def wrap(text: str, cells: int) -> list[str]:
    """Break a text into lines of at most so many cells, between words if possible."""
    lines: list[str] = []
    line = ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if cell_len(longer) <= cells:
            line = longer
            continue
        if line:
            lines.append(line)
        *whole, line = chop_cells(word, cells) or [""]
        lines += whole
    return [*lines, line]


def clock(seconds: float) -> str:
    """Format a time since the beginning, in at most ten characters."""
    if seconds < 1:
        return f"{seconds * 1000:.2f} ms"
    if seconds < 1000:
        return f"{seconds:.3f} s"
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours < 10_000 else f"{seconds:.0f} s"


def hexdump(data: bytes, width: int = 8) -> Iterator[tuple[int, str, str]]:
    """Give bytes in rows: the offset, the bytes in hex, and those that are printable ASCII."""
    for start in range(0, len(data), width):
        row = data[start : start + width]
        shown = "".join(chr(each) if 0x20 <= each < 0x7F else "·" for each in row)
        yield start, row.hex(" "), shown


def cut(text: str, characters: int) -> str:
    """Cut a text that has more than so many characters."""
    return text if len(text) <= characters else text[: characters - 1] + "…"
