"""Shows the difference between a recording and its replay: side by side, and in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from rich.cells import cell_len, set_cell_size

from neffos_conformance.recordings.comparison import ComparisonRow, Contrast, Mismatch, Value
from neffos_conformance.recordings.sequence import KEPT
from neffos_conformance.recordings.session import RecordedStep
from neffos_conformance.wire.connection import ConnectionClosed
from neffos_conformance.wire.payloads import payload_text
from neffos_conformance.wire.text import shorten, wrap
from neffos_conformance.wire.transcript import ConnectionOpened, Published
from neffos_protocol.text import visible

MIN_WIDTH: Final = 40
"""The narrowest output, in cells."""

_NUMBER: Final = 6
"""Cells of a line number."""

_CONTEXT: Final = 12
"""Characters shown before the first difference of two long values."""


def side_by_side(
    difference: Mismatch,
    rows: tuple[ComparisonRow, ...],
    following: tuple[RecordedStep, ...],
    width: int,
    *,
    ascii_only: bool = False,
) -> Iterator[str]:
    """Give lines with the recording on the left and its replay on the right.

    Args:
        difference: the first difference.
        rows: the steps before it; the last one is the difference itself.
        following: the steps of the recording after it.
        width: the maximum width of a line, in cells.
        ascii_only: use only ASCII.
    """
    width = max(width, MIN_WIDTH)
    numbers = {row.connection for row in rows} | {line.entry.connection for line in following}
    mark = max(len(str(number)) for number in numbers) + 2 if len(numbers) > 1 else 0
    cells = (width - 2 - _NUMBER - mark - 3) // 2
    to_server, to_client, bar = (">", "<", "|") if ascii_only else ("→", "←", "│")

    def cell(from_client: bool, content: object) -> str:
        arrow = to_server if from_client else to_client
        return set_cell_size(_short(f"{arrow} {_content_text(content, ascii_only)}", cells), cells)

    def line(sign: str, number: int | None, connection: int, left: str, right: str) -> str:
        shown = f"#{connection}".ljust(mark) if mark else ""
        shown_number = "" if number is None else str(number)
        return f"{sign} {shown_number:>{_NUMBER - 1}} {shown}{left} {bar} {right}".rstrip()

    blank = " " * cells
    heads = set_cell_size("recorded", cells), set_cell_size("now", cells)
    yield line(" ", None, 0, *heads).replace("#0", "  ")
    last = len(rows) - 1
    for index, row in enumerate(rows):
        entry = row.step.entry if row.step else None
        left = cell(row.from_client, entry.content) if entry else blank
        right = blank if row.now is None else cell(row.from_client, row.now)
        sign = "!" if index == last else " "
        number = entry.line if entry else None
        yield line(sign, number, row.connection, left, right)
    for each in following:
        entry = each.entry
        yield line(" ", entry.line, entry.connection, cell(entry.from_client, entry.content), blank)
    for contrast in difference.contrasts:
        yield from in_words(contrast, width, ascii_only=ascii_only)


def in_words(contrast: Contrast, width: int, *, ascii_only: bool = False) -> Iterator[str]:
    """Describe how two values differ, on lines of at most so many cells."""
    expected, now = contrast.expected, contrast.now
    same = _common(expected, now)
    unit = "character" if isinstance(expected, str) else "byte"
    yield f"  {contrast.name}{f', from {unit} {same + 1} on' if same else ''}:"
    start = max(same - _CONTEXT, 0)
    for name, value in (("recorded", expected), ("now", now)):
        yield _short(f"    {name:<9}{_shown(value, start, ascii_only)}", width)
    if contrast.why:
        yield from (f"    {part}" for part in wrap(visible(contrast.why), width - 4))


def _content_text(content: object, ascii_only: bool) -> str:
    match content:
        case ConnectionClosed():
            return visible(str(content), ascii_only=ascii_only)
        case ConnectionOpened(path):
            return visible(f"opens {path[:KEPT]}".rstrip(), ascii_only=ascii_only)
        case Published(channel, payload):
            text = f"{channel} {payload_text(payload[:KEPT])}"
            return visible(text, ascii_only=ascii_only)
        case bytes():
            return f"[binary] {visible(payload_text(content[:KEPT]), ascii_only=ascii_only)}"
        case _:
            return visible(str(content)[:KEPT], ascii_only=ascii_only)


def _short(text: str, cells: int) -> str:
    return shorten(text, cells) if not text.isascii() else _cut(text, cells)


def _cut(text: str, cells: int) -> str:
    return text if cell_len(text) <= cells else text[: cells - 2].rstrip() + ".."


def _common(expected: Value, now: Value) -> int:
    """Give the length of what two texts or bodies begin with; 0 if that is short."""
    if not isinstance(expected, str | bytes) or not isinstance(now, str | bytes):
        return 0
    pairs = enumerate(zip(expected, now, strict=False))
    shorter = min(len(expected), len(now))
    same = next((index for index, (one, other) in pairs if one != other), shorter)
    return same if same > 2 * _CONTEXT else 0


def _shown(value: Value, start: int, ascii_only: bool) -> str:
    more = "..." if start else ""
    match value:
        case None:
            return "none"
        case bool():
            return "1" if value else "0"
        case str():
            return f'{more}"{visible(value[start : start + KEPT], ascii_only=ascii_only)}"'
        case bytes():
            return f"{more}{value[start : start + KEPT]!r}"
        case _:
            return str(value)
