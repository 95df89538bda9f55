"""The whole specification as a PDF, as Chromium prints its page."""

from __future__ import annotations

import html
import os
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Final

CHROMIUM: Final = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))

FEWEST: Final = 50
"""Pages that the whole specification has at least: it had 115 on paper."""

MARGINS: Final = {"top": "16mm", "right": "16mm", "bottom": "18mm", "left": "16mm"}

LONGEST: Final = 120_000
"""Milliseconds for the page to be loaded; it takes some hundred."""

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


def write(page: Path, target: Path, footer: str) -> None:
    """Print a page of the built site.

    Args:
        page: the page.
        target: the PDF.
        footer: what is below each page, beside its number.
    """
    from playwright.sync_api import sync_playwright

    below = (
        '<div style="font: 7pt sans-serif; width: 100%; margin: 0 16mm; display: flex; '
        f'justify-content: space-between"><span>{html.escape(footer)}</span><span>'
        '<span class="pageNumber"></span> / <span class="totalPages"></span></span></div>'
    )
    with sync_playwright() as playwright:
        # It could not start as root with a sandbox, and only the site is opened.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        opened = browser.new_page()
        opened.goto(page.resolve().as_uri(), wait_until="load", timeout=LONGEST)
        opened.evaluate(_WITHIN)
        opened.pdf(
            path=target,
            format="A4",
            margin=MARGINS,  # type: ignore[arg-type]
            display_header_footer=True,
            header_template="<span></span>",
            footer_template=below,
            outline=True,
            tagged=True,
        )
        browser.close()


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
