"""IDs in running text: ``FR-1`` in a page becomes a link to that requirement.

``FR-1.2`` is a case and leads to its script. An id that there is not is a warning, which fails a
strict build. Code is left alone, and so are headings.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final
from xml.etree.ElementTree import Element

from markdown import Markdown
from markdown.extensions import Extension
from markdown.inlinepatterns import InlineProcessor
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
        md.inlinePatterns.register(_Reference(self._pages, md), "requirement-id", _BEFORE_STRONG)


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
