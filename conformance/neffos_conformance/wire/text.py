"""Text in the room there is: cells of a terminal, lines, times, bytes in hex.

It escapes nothing: ``neffos_protocol.text`` does.
"""

from __future__ import annotations

from collections.abc import Iterator

from rich.cells import cell_len, chop_cells, set_cell_size


def shorten(text: str, cells: int) -> str:
    """Cut a text that takes more than so many cells (wide characters take two)."""
    return text if cell_len(text) <= cells else set_cell_size(text, cells - 1).rstrip() + "…"


def counted(number: int, what: str) -> str:
    """Give a number with its noun, in the plural where it has to be."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


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
