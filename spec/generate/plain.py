"""The whole specification as plain text, in the form of an RFC: 72 columns, and no pages.

It is made from the HTML of the one page, so that it says the same under the same numbers.
"""

from __future__ import annotations

import re
import textwrap
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from typing import Final

from lxml import html
from lxml.html import HtmlElement

from generate.text import one_line

WIDTH: Final = 72
"""Columns of a line, as in RFCs; literal text may have more."""

BODY: Final = 3
"""Columns before a paragraph, as in RFCs."""

DEEPER: Final = 3
"""Columns more before what is inside of something."""

LITERAL: Final = "| "
"""What a line of literal text begins with, which is kept as it is."""

_HEADINGS: Final = {"h2": 1, "h3": 2, "h4": 3}
_LEFT_OUT: Final = frozenset({"a.headerlink", "span.number"})
_INLINE: Final = frozenset({"a", "abbr", "b", "br", "code", "em", "small", "span", "strong", "sup"})
_PLAIN: Final = re.compile(r"[\w$.:/@%-]+")
"""Code that needs no quotes."""

_HEADING: Final = re.compile(r"^ +([A-Z]{2,3}-\d+)  [A-Z ]+ \([a-z ,]+\)$", re.MULTILINE)
"""The heading of a requirement."""


def document(content: str, title: str, about: Sequence[str]) -> str:
    """Give the text of the one page.

    Args:
        content: its chapters, as ``whole.assemble`` gives them.
        title: the title of the document.
        about: its version and its date.
    """
    root = html.fragment_fromstring(content, create_parent="div")
    body = list(_blocks(root, 0))
    headings = [
        (_HEADINGS[each.tag], _number(each), _text(each))
        for each in root.iter(*_HEADINGS)
        if _number(each)
    ]
    contents = [
        line
        for depth, number, text in headings
        for line in _wrapped(f"{number}  {text}", BODY + DEEPER * (depth - 1), len(number) + 2)
    ]
    lines = [title.center(WIDTH).rstrip(), *(each.center(WIDTH).rstrip() for each in about)]
    lines += ["", "", "Contents", "", *contents, "", *body]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


def faults(text: str, ids: Collection[str]) -> list[str]:
    """Check the text: each requirement is once a heading, and no line is too long.

    Args:
        text: the document.
        ids: the IDs of all requirements.
    """
    headings = Counter(_HEADING.findall(text))
    found = [
        f"{id_} is {headings[id_]} times a heading"
        for id_ in sorted({*ids, *headings})
        if headings[id_] != (id_ in ids)
    ]
    return found + [
        f"a line has {len(line)} columns: {line}"
        for line in text.split("\n")
        if len(line) > WIDTH and " " in line.strip() and not line.lstrip().startswith(LITERAL)
    ]


def _blocks(parent: HtmlElement, indent: int) -> Iterator[str]:
    """Give the lines of an element's children, with an empty one after each block."""
    inline = [parent.text or ""]
    for child in parent:
        if not isinstance(child.tag, str):
            continue
        if child.tag in _INLINE:
            inline.append(_shown(child))
        else:
            yield from _paragraph(inline, indent)
            inline = []
            yield from _block(child, indent)
        inline.append(child.tail or "")
    yield from _paragraph(inline, indent)


def _paragraph(inline: Sequence[str], indent: int) -> Iterator[str]:
    text = one_line("".join(inline))
    if text:
        yield from (*_wrapped(text, indent), "")


def _block(element: HtmlElement, indent: int) -> Iterator[str]:
    """Give the lines of one element that is a block."""
    kinds = (element.get("class") or "").split()
    match element.tag:
        case "h2" | "h3" | "h4" | "h5":
            number = _number(element)
            begin = f"{number}  " if number else " " * indent
            yield from ("", *_wrapped(begin + _text(element), 0, len(begin)), "")
        case "section":
            yield from _blocks(element, BODY)
        case "div" if "req" in kinds:
            yield from _requirement(element, indent)
        case "ul" | "ol":
            for count, each in enumerate(element.iterchildren("li"), 1):
                yield from _item(each, f"{count}." if element.tag == "ol" else "-", indent)
        case "dl":
            for each in element.iterchildren("dt", "dd"):
                is_term = each.tag == "dt"
                lines = list(_blocks(each, indent if is_term else indent + DEEPER))
                yield from lines[:-1] if is_term else lines
        case "table":
            yield from (*_table(element, indent), "")
        case "pre":
            lines = (element.text_content().rstrip("\n")).split("\n")
            yield from (*(f"{' ' * (indent + 1)}{LITERAL}{each}".rstrip() for each in lines), "")
        case "figure":
            yield from _figure(element, indent)
        case "details":
            summary = element.find("summary")
            if summary is not None:
                yield from (*_wrapped(f"{_text(summary)}:", indent), "")
                element.remove(summary)
            yield from _blocks(element, indent + DEEPER)
        case "hr" | "script" | "style" | "svg":
            return
        case _:
            yield from _blocks(element, indent)


def _requirement(element: HtmlElement, indent: int) -> Iterator[str]:
    """Give a requirement: its ID, level and roles as a heading, then what the page has."""
    head, *rest = element
    id_, level, roles = map(_text, head)
    yield from (*_wrapped(f"{id_}  {level} ({roles})", indent), "")
    for each in rest:
        kind = each.get("class") or ""
        label = {"req-why": "Rationale: ", "req-foot": "Basis: "}.get(kind, "")
        yield from (*_wrapped(label + _text(each), indent + DEEPER), "")


def _item(element: HtmlElement, sign: str, indent: int) -> Iterator[str]:
    """Give an item of a list: its sign stands before its first line."""
    inner = indent + len(sign) + 1
    lines = list(_blocks(element, inner))
    if lines:
        lines[0] = f"{' ' * indent}{sign} {lines[0][inner:]}"
    yield from lines


def _table(element: HtmlElement, indent: int) -> Iterator[str]:
    """Give a table in columns, or, where it is too wide, each row as a list."""
    rows = [[_text(cell) for cell in row.iterchildren("th", "td")] for row in element.iter("tr")]
    rows = [row for row in rows if row]
    if not rows:
        return
    count = max(map(len, rows))
    rows = [row + [""] * (count - len(row)) for row in rows]
    widths = [max(len(row[at]) for row in rows) for at in range(count)]
    head, *body = rows
    if indent + sum(widths) + 2 * (count - 1) <= WIDTH:
        rule = ["-" * width for width in widths]
        for row in (head, rule, *body):
            cells = (f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
            yield (" " * indent + "  ".join(cells)).rstrip()
        return
    for row in body:
        yield from _wrapped(row[0] or "-", indent)
        for name, cell in zip(head[1:], row[1:], strict=True):
            if cell:
                text = f"{name}: {cell}" if name else cell
                yield from _wrapped(text, indent + DEEPER, DEEPER)


def _figure(element: HtmlElement, indent: int) -> Iterator[str]:
    """Give what a picture shows: its arrows, or its description, and its caption."""
    arrows = element.xpath(".//a[contains(@class, 'arrow')]/@aria-label")
    described = [_text(each) for each in element.xpath(".//*[local-name() = 'desc']")]
    for caption in element.iter("figcaption"):
        text = _text(caption).replace(": the whole recording.", ".")
        yield from (*_wrapped(f"Figure: {text}", indent), "")
    for each in arrows or described:
        yield from _wrapped(str(each), indent + DEEPER, DEEPER)
    yield ""


def _number(element: HtmlElement) -> str:
    """Give the number of a heading, with a dot at its end; empty if it has none."""
    found = element.find_class("number")
    return f"{one_line(found[0].text_content())}." if found else ""


def _text(element: HtmlElement) -> str:
    """Give what an element says, on one line."""
    parts = [element.text or ""]
    for each in element:
        parts += [_shown(each) if isinstance(each.tag, str) else "", each.tail or ""]
    return one_line("".join(parts))


def _shown(element: HtmlElement) -> str:
    """Give what an element within a line says; code in quotes where it could be overlooked."""
    kinds = {f"{element.tag}.{kind}" for kind in (element.get("class") or "").split()}
    if kinds & _LEFT_OUT:
        return ""
    if element.tag == "br":
        return " "
    text = _text(element)
    if element.tag == "code" and not _PLAIN.fullmatch(text):
        return f'"{text}"'
    return f" {text}" if element.tag == "small" else text


def _wrapped(text: str, indent: int, hanging: int = 0) -> list[str]:
    """Give a paragraph in lines; what has no space may be longer than a line."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + hanging),
        break_on_hyphens=False,
    )
