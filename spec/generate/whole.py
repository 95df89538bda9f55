"""The whole specification as one page, assembled from the rendered pages.

Chapters and sections have numbers, so that they can be cited. Anchors of requirements, differences
and constants keep their names. Those of headings get the name of their page as a prefix, since two
pages may have the same heading. Links between the pages become links within the page.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from mkdocs.structure.toc import AnchorLink

PAGE: Final = "whole.md"
"""The page, in the docs folder: it has a title and an introduction of its own."""

_ID: Final = re.compile(r'(?<=\s)id="([^"]+)"')
_LABELS: Final = re.compile(r'\saria-labelledby="([^"]+)"')
_LINK: Final = re.compile(r'(?<=\s)(href|src)="([^"]*)"')
_HEADING: Final = re.compile(r"<(/?)h([1-5])\b")
_NUMBERED: Final = re.compile(r"<h([2-4])\b[^>]*>")
_PERMANENT: Final = re.compile(r"(?:[A-Z]{2,3}-\d+|[a-z]+\.[a-z0-9-]+)")
"""Ids that mean one thing on the whole site."""


@dataclass(frozen=True, slots=True)
class Part:
    """One page of the specification.

    Attributes:
        url: where it is built, from the root of the site.
        title: its title in the navigation.
        content: its HTML.
        headings: its own table of contents.
    """

    url: str
    title: str
    content: str
    headings: Sequence[AnchorLink]

    @property
    def key(self) -> str:
        """The prefix of its IDs."""
        return posixpath.splitext(self.url)[0].replace("/", "-")


def assemble(parts: Sequence[Part]) -> str:
    """Put the pages together."""
    keys = {part.url: part.key for part in parts}
    chapters = [_numbered(_one(part, keys), number) for number, part in enumerate(parts, 1)]
    return "\n".join(
        f'<section class="whole" id="{part.key}">\n{chapter}\n</section>'
        for part, chapter in zip(parts, chapters, strict=True)
    )


def _numbered(content: str, chapter: int) -> str:
    """Number the headings of a chapter, whose own is of the second level here."""
    places = [chapter]

    def marked(found: re.Match[str]) -> str:
        depth = int(found[1]) - 1
        del places[depth:]
        places.extend([0] * (depth - len(places)))
        places[-1] += depth > 1
        return f'{found[0]}<span class="number">{".".join(map(str, places))}</span> '

    return _NUMBERED.sub(marked, content)


def _one(part: Part, keys: Mapping[str, str]) -> str:
    text = _HEADING.sub(lambda found: f"<{found[1]}h{int(found[2]) + 1}", part.content)
    text = _ID.sub(lambda found: f'id="{_id(part.key, found[1])}"', text)
    text = _LABELS.sub(
        lambda found: (
            ' aria-labelledby="' + " ".join(_id(part.key, each) for each in found[1].split()) + '"'
        ),
        text,
    )
    text = re.sub(r"url\(#([^)]+)\)", lambda found: f"url(#{_id(part.key, found[1])})", text)
    return _LINK.sub(lambda found: f'{found[1]}="{_target(part, found[2], keys)}"', text)


def _id(key: str, id_: str) -> str:
    return id_ if _PERMANENT.fullmatch(id_) else f"{key}--{id_}"


def _target(part: Part, link: str, keys: Mapping[str, str]) -> str:
    if re.match(r"[a-z]+:", link):
        return link
    path, _, fragment = link.partition("#")
    url = (
        posixpath.normpath(posixpath.join(posixpath.dirname(part.url), path)) if path else part.url
    )
    if url in keys:
        return f"#{_id(keys[url], fragment)}" if fragment else f"#{keys[url]}"
    return f"{url}#{fragment}" if fragment else url


def printed_contents(links: Sequence[AnchorLink]) -> str:
    """Give the table of contents as HTML, for paper: a screen has it beside the page."""
    lines = []
    for link in links:
        below = "".join(f'<li><a href="#{one.id}">{one.title}</a></li>' for one in link.children)
        lines.append(f'<li><a href="#{link.id}">{link.title}</a><ul>{below}</ul></li>')
    return f'<nav class="contents" aria-label="Contents"><ul>{"".join(lines)}</ul></nav>'


def contents(parts: Sequence[Part]) -> list[AnchorLink]:
    """Give the table of contents: the pages, and their sections below them."""
    links = []
    for number, part in enumerate(parts, 1):
        link = AnchorLink(f"{number} {part.title}", part.key, 2)
        below = [child for heading in part.headings for child in heading.children]
        link.children = [
            AnchorLink(f"{number}.{place} {each.title}", _id(part.key, each.id), 3)
            for place, each in enumerate(below, 1)
        ]
        links.append(link)
    return links
