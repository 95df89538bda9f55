"""IDs and terms in running text: ``FR-1`` in a page becomes a link to that requirement.

``FR-1.2`` is a case and leads to its script. An unknown ID is a warning: it fails a strict build.
The first use of a term on a page leads to the glossary. Code and headings have no such links.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final
from xml.etree.ElementTree import Element

from markdown import Markdown
from markdown.extensions import Extension
from markdown.inlinepatterns import InlineProcessor
from markdown.util import AtomicString
from mkdocs.plugins import get_plugin_logger

from generate import cases
from neffos_protocol.catalogue import differences, requirements

_LOG: Final = get_plugin_logger("generate")

FAMILIES: Final = tuple(dict.fromkeys(each.family for each in requirements().values()))

DIFFERENCES: Final = "differences.md"
"""The page that has every difference under its id."""

_ID: Final = rf"(?<![\w/#.-])(?:(?:{'|'.join(FAMILIES)}|DV)-\d+(?:\.c?\d+)?|ALL-c?\d+)(?![\w-])"

_BEFORE_STRONG: Final = 65
"""After links (160) and before emphasis (60), in Python-Markdown's order of inline patterns."""

_CODE: Final = r'<code(?: class="([\w-]+)")?>([^<]*)</code>'

_BEFORE_HTML: Final = 91
"""Before the tags of HTML (90), whose content would be read as text."""

GLOSSARY: Final = "terms.md"
"""The page that defines the terms. Those with an anchor get links."""

_ENTRY: Final = re.compile(r"^(.+) \{: #(.+) \}\n:   ", re.MULTILINE)


@cache
def terms() -> Mapping[str, str]:
    """Give the anchor of each term of the glossary that pages link to."""
    text = (Path(__file__).parents[1] / "docs" / GLOSSARY).read_text("utf-8")
    return {term: anchor for names, anchor in _ENTRY.findall(text) for term in names.split(", ")}


class References(Extension):
    """Teaches Markdown the ids.

    Args:
        pages: the page of each requirement.
    """

    def __init__(self, pages: Mapping[str, str]) -> None:
        super().__init__()
        self._pages = pages

    def extendMarkdown(self, md: Markdown) -> None:  # noqa: N802 - Python-Markdown's name
        """Register the pattern."""
        md.inlinePatterns.register(_Code(_CODE, md), "html-code", _BEFORE_HTML)
        md.inlinePatterns.register(_Reference(self._pages, md), "requirement-id", _BEFORE_STRONG)
        md.inlinePatterns.register(_Term(md), "term", _BEFORE_STRONG - 1)


class _Code(InlineProcessor):
    """Code that is written as HTML, because a payload may hold any character."""

    def handleMatch(  # type: ignore[override]  # noqa: N802 - Python-Markdown's name
        self, m: re.Match[str], data: str
    ) -> tuple[Element, int, int]:
        code = Element("code", {"class": m[1]} if m[1] else {})
        code.text = AtomicString(m[2])
        return code, m.start(0), m.end(0)


class _Reference(InlineProcessor):
    ANCESTOR_EXCLUDES = ("a", "h1", "h2", "h3", "h4", "code")

    def __init__(self, pages: Mapping[str, str], md: Markdown) -> None:
        super().__init__(_ID, md)
        self._pages = pages

    def handleMatch(  # type: ignore[override]  # noqa: N802 - Python-Markdown's name
        self, m: re.Match[str], data: str
    ) -> tuple[Element | str, Any, Any]:
        id_ = m[0]
        if id_ in differences():
            target = f"/{DIFFERENCES}#{id_}"
        elif id_ in self._pages:
            target = f"/{self._pages[id_]}#{id_}"
        elif id_ in cases.pages():
            target = f"/{cases.pages()[id_]}#{id_}"
        else:
            _LOG.warning("no requirement, difference or case %s", id_)
            return id_, m.start(0), m.end(0)
        link = Element("a", {"href": target, "class": "ref"})
        link.text = id_
        return link, m.start(0), m.end(0)


class _Term(InlineProcessor):
    ANCESTOR_EXCLUDES = ("a", "h1", "h2", "h3", "h4", "code", "dt", "th", "summary", "caption")

    def __init__(self, md: Markdown) -> None:
        longest = sorted(map(re.escape, terms()), key=len, reverse=True)
        super().__init__(rf"(?i)(?<![\w/#-])({'|'.join(longest)})s?(?![\w-])", md)
        self._seen: set[str] = set()

    def handleMatch(  # type: ignore[override]  # noqa: N802 - Python-Markdown's name
        self, m: re.Match[str], data: str
    ) -> tuple[Element | None, Any, Any]:
        anchor = next(anchor for term, anchor in terms().items() if term.lower() == m[1].lower())
        if anchor in self._seen:
            return None, None, None
        self._seen.add(anchor)
        link = Element("a", {"href": f"/{GLOSSARY}#{anchor}", "class": "term"})
        link.text = m[0]
        return link, m.start(0), m.end(0)
