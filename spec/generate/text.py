"""Texts that have to go through Markdown and come out as they are."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable
from typing import Final

from neffos_conformance.wire.text import shorten
from neffos_protocol.catalogue import Level
from neffos_protocol.text import visible

_LEVELS: Final = re.compile(
    "|".join(sorted((each.value for each in Level if each.value.isupper()), reverse=True))
)
"""The words of RFC 2119 that a sentence of the catalogue may hold, ``MUST NOT`` before ``MUST``."""

FAMILIES: Final = {
    "FR": "The frame",
    "HS": "The handshake",
    "AR": "Asks and replies",
    "NS": "Namespaces",
    "RM": "Rooms",
    "EV": "Events",
    "NM": "Native messages",
    "TR": "Transport, closing, reconnection",
    "SX": "Between servers",
    "SEC": "Security and limits",
}
"""The family of each prefix of a requirement ID."""

SHOWN: Final = 72
"""Cells of a payload in a table: what a desktop shows on one line."""


def code(text: str, *, cells: int = SHOWN) -> str:
    """Give a text as code that Markdown leaves alone, in a table as well, on one line."""
    shown = shorten(visible(text), cells)
    return f"<code>{verbatim(shown)}</code>" if shown else "*(empty)*"


def verbatim(text: str) -> str:
    """Write as references what could mean something to Markdown or to HTML, and show the rest."""
    return "".join(
        each if each.isalnum() or each == " " or ord(each) > 0x7F else f"&#{ord(each)};"
        for each in visible(text)
    )


_OPTION: Final = re.compile(
    r"(?<![\w-])(--[a-z]+(?:-[a-z]+)*(?: '[^']*'| (?:[a-z]+:)?[/A-Z][\w:/@]*\w)?"
    r"|proxy_(?:http_version|set_header) [^;]+;)"
)
"""An option of a command, perhaps with its value, or a directive of nginx."""


def with_options(text: str) -> str:
    """Give a text that Markdown leaves alone, with each option and directive as code."""
    parts = [verbatim(each) for each in _OPTION.split(text)]
    for at in range(1, len(parts), 2):  # a browser would break an option alone after its hyphens
        kept = "" if " " in parts[at] else ' class="option"'
        parts[at] = f"<code{kept}>{parts[at]}</code>"
    return "".join(parts)


def of_peer(text: str) -> str:
    """Give a text that a peer or a recording wrote as HTML that Markdown leaves alone, on one line.

    Text between backquotes is code, as in the catalogues; nothing else in it means anything.
    """
    parts = [verbatim(each) for each in one_line(text).split("`")]
    parts[1::2] = [f"<code>{each}</code>" for each in parts[1::2]]
    return "".join(parts)


_MARKS: Final = re.compile(r"[]\\`*_{}[!~^=]")
"""What means something to Markdown, also in HTML."""


def unmarked(markup: str) -> str:
    """Give HTML in whose texts Markdown sees nothing."""

    def shielded(text: re.Match[str]) -> str:
        return _MARKS.sub(lambda mark: f"&#{ord(mark[0])};", text[0])

    return re.sub(r">[^<]+", shielded, markup)


def sentence(text: str) -> str:
    """Give a sentence of a catalogue on one line, its words of RFC 2119 marked."""
    parts = one_line(text).split("`")  # every second part is code
    parts[::2] = [_LEVELS.sub(r'<strong class="level">\g<0></strong>', each) for each in parts[::2]]
    return "`".join(parts)


def sentence_html(text: str) -> str:
    """Give a sentence of a catalogue as HTML, its words of RFC 2119 marked."""
    parts = re.split("(<code>.*?</code>)", with_code(text))
    parts[::2] = [_LEVELS.sub(r'<strong class="level">\g<0></strong>', each) for each in parts[::2]]
    return "".join(parts)


def one_line(text: str) -> str:
    """Give a text without line ends, which would end a cell of a table."""
    return " ".join(text.split())


def cell(text: str) -> str:
    """Give a text of a catalogue as a cell of a table; what looks like HTML in it is text."""
    parts = one_line(text).split("`")  # every second part is code, which Markdown escapes
    parts[::2] = [html.escape(each, quote=False) for each in parts[::2]]
    return "`".join(parts).replace("|", "&#124;")


def listed(names: list[str] | tuple[str, ...]) -> str:
    """Give ``a, b and c``."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def attribute(text: str) -> str:
    """Give a text as the value of an HTML attribute."""
    return html.escape(text, quote=True)


def with_code(text: str) -> str:
    """Give a text as HTML, with the text between backquotes as code."""
    return re.sub("`([^`]+)`", r"<code>\1</code>", attribute(visible(one_line(text))))


def count(number: int, what: str) -> str:
    """Give ``1 vector`` or ``2 vectors``."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def table(head: Iterable[str], rows: Iterable[Iterable[str]], *, numbers: int = 0) -> str:
    """Give a table in Markdown.

    Args:
        head: the heads of the columns.
        rows: the cells of each row, as Markdown without line ends and pipes.
        numbers: how many of the last columns are aligned to the right.
    """
    head = list(head)
    rules = ["---"] * (len(head) - numbers) + ["---:"] * numbers
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, rules, *rows))


_STACKED: Final = re.compile(r'<div class="stacked">.*?</div>', re.DOTALL)
"""A table whose rows are blocks on a telephone: the head of its column labels each cell."""


def labelled(page: str) -> str:
    """Give the HTML of a page, in which each cell of a stacked table has its label."""
    return _STACKED.sub(_labelled, page)


def _labelled(found: re.Match[str]) -> str:
    heads, body = found[0].split("</thead>", 1)
    labels = [re.sub("<[^>]+>", "", each) for each in re.findall("<th.*?</th>", heads)]
    head, *rows = body.split("<tr>")
    for at, row in enumerate(rows):
        first, *cells = row.split("<td")
        own = (f'<td data-label="{name}"{each}' for name, each in zip(labels, cells, strict=True))
        rows[at] = first + "".join(own)
    return f"{heads}</thead>{'<tr>'.join([head, *rows])}"
