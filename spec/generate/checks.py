"""Checks of a built site: links, titles, alternative texts, weight, no requests to other sites.

mkdocs checks the links in Markdown. These checks read the built pages, with their pictures and
generated HTML.
"""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

from lxml import html

_FOLLOWED: Final = {"a", "form", "blockquote", "q"}
"""Elements with links that a browser does not fetch by itself."""

_NOT_FETCHED: Final = {"canonical", "prev", "next", "search", "alternate"}
"""Relations of a ``link`` that name a page and fetch nothing."""

_IN_STYLE: Final = re.compile(r"""(?:url\(|@import)\s*["']?\s*(?:https?:)?//""")

_LEFT: Final = re.compile(r"\{[{%].{0,60}")
"""A placeholder that Jinja did not replace."""


MAX_PAGE: Final = 768 << 10
"""Bytes of a page, with the pictures in it. The whole specification is the largest: it has 650 KiB,
and a server that compresses it sends 90 KiB."""

MAX_INDEX: Final = 2 << 20
"""Bytes of the text to search, which each page loads from a file: 1.4 MiB."""

_INDEX: Final = "search/search_index.js"

_RECORDED: Final = "transcripts/"
"""The folder of recordings: several may be of one scenario and of peers of one name."""


@dataclass(frozen=True, slots=True)
class Built:
    """One built page.

    Attributes:
        links: what its anchors lead to.
        ids: the names of its anchors, with the number of their occurrences.
        faults: the faults of the page itself.
        names: its title and its description, which no other page has.
    """

    links: tuple[str, ...]
    ids: Counter[str]
    faults: tuple[str, ...]
    names: tuple[str, str]


def read(source: str) -> Built:
    """Read a built page."""
    tree = html.document_fromstring(source)
    ids = Counter(each.get("id", "") for each in tree.iter("*") if each.get("id"))
    links = tuple(each.get("href", "") for each in tree.iter("a") if each.get("href"))
    faults = [f"the id {id_} occurs {times} times" for id_, times in ids.items() if times > 1]
    described = tree.find("head/meta[@name='description']")
    description = "" if described is None else described.get("content", "")
    names = (tree.findtext("head/title") or "", description)
    return Built(links, ids, tuple(faults + list(_faults(tree, ids))), names)


def _faults(tree: html.HtmlElement, ids: Counter[str]) -> Iterator[str]:
    for element, attribute, link, _ in tree.iterlinks():
        relations = set((element.get("rel") or "").split())
        if element.tag in _FOLLOWED or relations & _NOT_FETCHED:
            continue
        if re.match(r"(?:https?:)?//", link):
            is_style = attribute in (None, "style")
            yield "a style fetches from elsewhere" if is_style else f"fetches {link}"
    for image in tree.iter("img"):
        if image.get("alt") is None:
            yield f"the picture {image.get('src')} has no alternative text"
    if any(head.get("scope") is None for head in tree.iter("th")):
        yield "a table has a head without scope"
    for picture in tree.iter("svg"):
        around = [picture, *picture.iterancestors()]
        tags = {each.tag for each in around[1:]}
        if "article" not in tags or "svg" in tags:
            continue  # an icon of the theme, or a part of a picture
        is_hidden = any(each.get("aria-hidden") == "true" for each in around)
        if not is_hidden and not ids.keys() & (picture.get("aria-labelledby") or "").split():
            yield "a picture has no alternative text"
    for article in tree.iter("article"):
        if _LEFT.search(article.text_content()):  # else there is no need to look closer
            for element in [*article.iter("pre", "code")]:
                element.clear(keep_tail=True)
            for found in _LEFT.findall(article.text_content()):
                yield f"left as it was: {found}"


def check(site: Path) -> list[str]:
    """Check a built site; give each fault with its page."""
    pages = {
        path.relative_to(site).as_posix(): read(path.read_text("utf-8"))
        for path in sorted(site.rglob("*.html"))
    }
    found = [f"{name}: {fault}" for name, page in pages.items() for fault in page.faults]
    for name, page in pages.items():
        if name != "404.html":  # its links are meant for wherever it is shown
            found += [f"{name}: {each}" for each in _dead(site, name, page, pages)]
    found += _unnamed(pages)
    found += [
        f"{path.relative_to(site)}: {path.stat().st_size:,} bytes, more than {most:,}"
        for path, most in [*((site / name, MAX_PAGE) for name in pages), (site / _INDEX, MAX_INDEX)]
        if path.is_file() and path.stat().st_size > most
    ]
    for path in sorted(site.rglob("*.css")):
        if _IN_STYLE.search(path.read_text("utf-8")):
            found.append(f"{path.relative_to(site)}: fetches from elsewhere")
    return found


def _unnamed(pages: Mapping[str, Built]) -> Iterator[str]:
    """Give the pages without a title or description, and those that share one."""
    owners: dict[str, str] = {}
    for name, page in pages.items():
        for what, text in zip(("title", "description"), page.names, strict=True):
            if not text:
                yield f"{name}: no {what}"
            elif name == "404.html" or name.startswith(_RECORDED):
                continue
            elif (owner := owners.setdefault(f"{what}: {text}", name)) != name:
                yield f"{name}: the {what} of {owner}"


def _dead(site: Path, name: str, page: Built, pages: dict[str, Built]) -> Iterator[str]:
    for link in dict.fromkeys(page.links):
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        path = unquote(parts.path)
        target = posixpath.normpath(posixpath.join(posixpath.dirname(name), path)) if path else name
        if target == ".":
            target = "index.html"
        if target not in pages and not (site / target).is_file():
            yield f"dead link {link}"
        elif target in pages and unquote(parts.fragment) not in {"", *pages[target].ids}:
            yield f"dead anchor {link}"
