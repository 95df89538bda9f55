"""Opens the built site in Chromium: on the screens of a desk and of a telephone, light and dark.

No request may leave the site, nothing may fail, and no page may be wider than the screen. By what
axe-core sees of WCAG 2.2 AA, a page of each kind is accessible. The search must find a section from
the keyboard alone, whether the site is served or opened as files.
"""

from __future__ import annotations

import posixpath
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from generate.printed import CHROMIUM

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SCREENS: Final = ((1280, "light"), (390, "dark"))
"""Widths in pixels, a desk's and a telephone's, and the scheme that each is opened with."""

SAMPLE: Final = 24
"""One of this many generated pages is opened, since all of them have one form."""

ALIKE: Final = ("requirements/", "transcripts/")
"""The folders of generated pages."""

KINDS: Final = frozenset(
    {
        "command-line.html",
        "differences.html",
        "downloads.html",
        "embed-session.html",
        "frame.html",
        "index.html",
        "inspector/index.html",
        "matrix.html",
        "namespaces.html",
        "quick-reference.html",
        "registry.html",
        "requirements/AR-7.html",
        "requirements/cases-client.html",
        "requirements/index.html",
        "transcripts/neffos-wire/ask-reply-late.html",
        "workbench/index.html",
    }
)
"""A page of each kind. Others have nothing else, and axe-core takes a second for each."""

WCAG: Final = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa")
"""The rules of axe-core that are those of WCAG 2.2 AA, by their tags."""

NAMED: Final = 3
"""Elements that a fault of accessibility names."""

QUERY: Final = "empty reply"
"""The text to search for: a section has that name."""

LOADING: Final = 120_000
"""Milliseconds for a page to be loaded, on a busy machine; it takes some hundred."""

HANG: Final = 20_000
"""Milliseconds for a search; it takes a hundredth of that."""


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""

    def copyfile(self, source: Any, outputfile: Any) -> None:
        """Send a file, unless the page that asked for it is gone."""
        with suppress(ConnectionError):
            super().copyfile(source, outputfile)


@contextmanager
def served(site: Path) -> Iterator[str]:
    """Serve a folder; give its address."""
    handler = partial(_Quiet, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()


def pages(site: Path) -> list[str]:
    """Choose the pages to open: all hand-written ones, and a sample of the generated ones."""
    names = sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html"))
    written = [name for name in names if not name.startswith(ALIKE) and name != "404.html"]
    for begin in ALIKE:
        alike = [name for name in names if name.startswith(begin)]
        written += [name for at, name in enumerate(alike) if name in KINDS or at % SAMPLE == 0]
    return written


def inaccessible(page: Page) -> list[str]:
    """Give what of a page not everybody can use, as it is now, by WCAG 2.2 AA."""
    from axe_playwright_python.sync_playwright import Axe

    found = Axe().run(page, options={"runOnly": WCAG, "resultTypes": ["violations"]})
    return [
        f"{each['id']}: {each['help']}, in {len(each['nodes'])} elements such as "
        + ", ".join(" ".join(map(str, node["target"])) for node in each["nodes"][:NAMED])
        for each in found.response["violations"]
    ]


def look(browser: Browser, base: str, names: list[str]) -> list[str]:
    """Open pages on each screen; give the faults, each with its page."""
    found: list[str] = []
    for width, scheme in SCREENS:
        context = browser.new_context(
            viewport={"width": width, "height": 800},
            color_scheme="dark" if scheme == "dark" else "light",
        )
        context.set_default_navigation_timeout(LOADING)
        page = context.new_page()
        faults = _listen(page, base)
        for name in names:
            page.goto(posixpath.join(base, name), wait_until="load")
            wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
            if wide > 0:
                faults.append(f"{wide} pixels wider than {width}")
            if name in KINDS:
                faults += inaccessible(page)
            found += [f"{name}: {fault}" for fault in faults]
            faults.clear()
        context.close()
    return found


def search(browser: Browser, base: str) -> list[str]:
    """Search from the keyboard; give the faults."""
    page = browser.new_page()
    faults = _listen(page, base)
    page.goto(posixpath.join(base, "index.html"), wait_until="load")
    page.keyboard.press("Tab")
    if "#" not in str(page.evaluate("document.activeElement.href ?? ''")):
        faults.append("the first stop of the keyboard does not skip the navigation")
    page.keyboard.press("/")
    page.keyboard.type(QUERY)
    result = page.locator(".md-search-result__link").first
    result.wait_for(timeout=HANG)
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url(lambda url: "index.html" not in url, timeout=HANG)
    page.close()
    return [f"search at {base}: {fault}" for fault in faults]


def _listen(page: Page, base: str) -> list[str]:
    """Give the list to which each fault of a page is appended."""
    faults: list[str] = []
    page.on(
        "request",
        lambda request: (
            None
            if request.url.startswith((base, "data:", "blob:", "about:"))
            else faults.append(f"asks for {request.url[:100]}")
        ),
    )
    page.on(
        "response",
        lambda response: (
            faults.append(f"does not get {response.url[:100]}") if response.status >= 400 else None
        ),
    )
    page.on("pageerror", lambda error: faults.append(f"fails: {error.message}"))
    return faults


def main(site: Path) -> int:
    """Open a built site; print the faults."""
    if not CHROMIUM.exists():
        sys.stdout.write(f"not looked at in a browser: there is no {CHROMIUM}\n")
        return 0
    from playwright.sync_api import sync_playwright  # tests import the rest of this module

    names = pages(site)
    with served(site) as base, sync_playwright() as playwright:
        # It could not start as root with a sandbox, and only the site is opened.
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        gone = sorted(each for each in KINDS.difference(names) if (site / each).parent.is_dir())
        found = [f"{each}: it is no page, and stood for its kind" for each in gone]
        found += look(browser, base, names)
        for where in (base, site.resolve().as_uri() + "/"):
            found += search(browser, where)
        browser.close()
    for fault in found:
        sys.stdout.write(f"{fault}\n")
    sys.stdout.write(f"{len(names)} pages looked at in Chromium, {len(found)} faults\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
