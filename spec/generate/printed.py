"""The whole specification as a PDF, as Chromium prints its page."""

from __future__ import annotations

import html
import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from generate import known

if TYPE_CHECKING:
    from playwright.sync_api import Browser

CHROMIUM: Final = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))

FEWEST: Final = 50
"""Pages that the whole specification has at least: it had 115 on paper."""

MARGINS: Final = {"top": "16mm", "right": "16mm", "bottom": "18mm", "left": "16mm"}

LONGEST: Final = 120_000
"""Milliseconds for the page to be loaded; it takes some hundred."""

_CHAPTERS: Final = """
  [...document.querySelectorAll("section.whole > h2")].map(heading =>
    [...heading.childNodes].map(each => each.nodeType === 3 ? each.data : "").join("").trim()
  )
"""
"""Gives the titles of the chapters, without their numbers and the links to them."""

_WITHIN: Final = """
  for (const link of document.querySelectorAll("a[href]"))
    if (!/^(#|https?:)/.test(link.getAttribute("href"))) link.removeAttribute("href");
"""
"""Leaves links within the page alone: paper has no other pages, and a reader not this site."""


def missing() -> str:
    """Say why nothing can be printed; empty if it can."""
    if not CHROMIUM.exists():
        return f"there is no {CHROMIUM}"
    lacking = [name for name in ("playwright", "pypdf") if find_spec(name) is None]
    return f"there is no {lacking[0]}" if lacking else ""


def whole(browser: Browser, page: str, target: Path) -> list[str]:
    """Print the page of the whole specification; give the faults of the PDF.

    Args:
        browser: what prints it.
        page: the address of the page, of which each part is a chapter.
        target: the PDF.
    """
    chapters = write(browser, page, target, ", ".join(known.about()))
    return faults(target, chapters)


def write(browser: Browser, page: str, target: Path, about: str) -> list[str]:
    """Print a page of the built site; give the titles of its chapters.

    Args:
        browser: what prints it.
        page: the address of the page.
        target: the PDF.
        about: what is below each page, between the name of the site and the number.
    """
    opened = browser.new_page()
    opened.goto(page, wait_until="load", timeout=LONGEST)
    name = opened.title().rpartition(" - ")[2]
    chapters: list[str] = opened.evaluate(_CHAPTERS)
    opened.evaluate(_WITHIN)
    opened.pdf(
        path=target,
        format="A4",
        margin=MARGINS,  # type: ignore[arg-type]
        display_header_footer=True,
        header_template="<span></span>",
        footer_template=(
            '<div style="font: 7pt sans-serif; width: 100%; margin: 0 16mm; display: flex; '
            f'justify-content: space-between"><span>{html.escape(f"{name}, {about}")}</span><span>'
            '<span class="pageNumber"></span> / <span class="totalPages"></span></span></div>'
        ),
        outline=True,
        tagged=True,
    )
    opened.close()
    return chapters


def faults(path: Path, titles: Sequence[str], fewest: int = FEWEST) -> list[str]:
    """Check a PDF: it has enough pages, and each chapter in its outline.

    Args:
        path: the PDF.
        titles: the titles of the chapters.
        fewest: pages that it has at least.
    """
    from pypdf import PdfReader

    reader = PdfReader(path)
    found = []
    if len(reader.pages) < fewest:
        found.append(f"{path.name} has {len(reader.pages)} pages")
    outline = " ".join(_titles(reader.outline))
    return found + [
        f"{path.name} has no {each} in its outline" for each in titles if each not in outline
    ]


def _titles(outline: object) -> list[str]:
    if isinstance(outline, list):
        return [title for each in outline for title in _titles(each)]
    return [str(getattr(outline, "title", ""))]
