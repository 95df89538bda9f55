"""Checks the built site, prints the whole specification, and opens pages in Chromium.

It opens a page on the screen of a desk and then shows it on that of a telephone. It tests a page of
each kind on both with axe-core, light on the first and dark on the second.

No request may leave the site, nothing may fail, and no page may be wider than the screen. By what
axe-core sees of WCAG 2.2 AA, a page of each kind is accessible. The search must find a section from
the keyboard alone, whether the site is served or opened as files.
"""

from __future__ import annotations

import json
import os
import posixpath
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any, Final

from generate import checks, downloads, printed
from generate.printed import CHROMIUM

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SCREENS: Final = ((1280, "light"), (390, "dark"))
"""Widths in pixels, a desk's and a telephone's, and the scheme that each has."""

SAMPLE: Final = 40
"""One of this many generated pages is opened, since all of them have one form."""

ALIKE: Final = ("requirements/", "transcripts/")
"""The folders of generated pages."""

KINDS: Final = frozenset(
    {
        "command-line.html",
        "differences.html",
        "downloads.html",
        "embed-codec.html",
        "frame.html",
        "index.html",
        "inspector.html",
        "matrix.html",
        "namespaces.html",
        "quick-reference.html",
        "registry.html",
        "requirements/AR-7.html",
        "requirements/cases-exchange.html",
        "requirements/index.html",
        "transcripts/neffos-wire/ask-reply-late.html",
        "workbench/index.html",
    }
)
"""A page of each kind, not a long one. Others have nothing else, and axe-core takes a second for
each."""

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

_TOO_WIDE: Final = """
  async () => {
    await new Promise(requestAnimationFrame);
    return document.documentElement.scrollWidth - innerWidth;
  }
"""
"""Gives the pixels by which a page is wider than the screen, once it has its layout."""

_END_FADING: Final = """
  async () => {
    await new Promise(requestAnimationFrame);
    for (const each of document.getAnimations())
      if (each.effect.getComputedTiming().iterations !== Infinity) each.finish();
  }
"""
"""Ends the changes of colours from one scheme to the other."""

ALIKE_SEEN: Final = 3
"""Elements of one style whose contrast is tested: the first may be hidden below another."""

_MARK_ALIKE: Final = """
  most => {
    const names = [
      "color", "backgroundColor", "backgroundImage", "fill", "opacity", "filter", "mixBlendMode",
      "textShadow", "fontSize", "fontWeight", "position", "overflow", "visibility", "display",
    ];
    const kinds = new Map(), numbers = new Map(), counts = new Map();
    for (const element of document.querySelectorAll("body, body *")) {
      const style = getComputedStyle(element);
      const own = names.map(name => style[name]).join();
      const key = `${kinds.get(element.parentElement)}|${element.checkVisibility()}|${own}`;
      if (!numbers.has(key)) numbers.set(key, numbers.size);
      const kind = numbers.get(key);
      kinds.set(element, kind);
      if (![...element.childNodes].some(each => each.nodeType === 3 && each.data.trim())) continue;
      counts.set(kind, (counts.get(kind) ?? 0) + 1);
      element.toggleAttribute("data-alike", counts.get(kind) > most);
    }
  }
"""
"""Marks each text that has the style of some before it, and is within the same styles: tables have
thousands of them."""

_LEAVE_ALIKE: Final = """
  () => axe.configure({rules: [
    {id: "color-contrast", selector: ":not([data-alike])"},
    {id: "link-in-text-block", selector: "a[href]:not([data-alike])"},
  ]})
"""
"""Has axe-core leave those out of its two tests of colours, which take most of its time."""

WORKERS: Final = os.cpu_count() or 1
"""Browsers that look at pages concurrently."""

PARTS: Final = 8
"""Parts of the pages: so many that all browsers end at about one time."""

ARGUMENTS: Final = ("--no-sandbox", "--disable-gpu", "--disable-gpu-compositing")
"""Chromium could not start as root with a sandbox, and only the site is opened. Nobody sees what it
draws."""

INDEX: Final = "search/search_index.json"
"""What the search of a page loads: all text of the site, on each page."""

Job = Callable[["Browser"], list[str]]
"""Looks at something in a browser, and gives the faults."""


class _Quiet(SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"  # a page asks for a dozen files
    is_searched = True

    def end_headers(self) -> None:
        """Have a browser keep what all pages load."""
        self.send_header("Cache-Control", "max-age=600")
        super().end_headers()

    def do_GET(self) -> None:
        """Send a file; without a search, the index of it is empty."""
        if self.is_searched or not self.path.endswith(INDEX):
            super().do_GET()
            return
        index = json.loads(Path(self.directory, INDEX).read_text("utf-8"))
        content = json.dumps({**index, "docs": []}).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""

    def handle(self) -> None:
        """Answer requests, until the page that keeps the connection is gone."""
        with suppress(ConnectionError):
            super().handle()

    def copyfile(self, source: Any, outputfile: Any) -> None:
        """Send a file, unless the page that asked for it is gone."""
        with suppress(ConnectionError):
            super().copyfile(source, outputfile)


class _Unsearched(_Quiet):
    is_searched = False


@contextmanager
def served(site: Path, *, is_searched: bool = True) -> Iterator[str]:
    """Serve a folder; give its address.

    Args:
        site: the folder.
        is_searched: whether the search finds anything. A page makes its index when it is loaded,
            which takes longer than all else of the page.
    """
    handler = partial(_Quiet if is_searched else _Unsearched, directory=str(site))
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

    # It need not load styles again, which a page that is a file may not do.
    options = {"runOnly": WCAG, "resultTypes": ["violations"], "preload": False}
    page.evaluate(_END_FADING)
    page.evaluate(_MARK_ALIKE, ALIKE_SEEN)
    if page.evaluate("typeof axe") == "undefined":
        page.evaluate(Axe().axe_script)
    page.evaluate(_LEAVE_ALIKE)
    found = page.evaluate("options => axe.run(options)", options)
    return [
        f"{each['id']}: {each['help']}, in {len(each['nodes'])} elements such as "
        + ", ".join(" ".join(map(str, node["target"])) for node in each["nodes"][:NAMED])
        for each in found["violations"]
    ]


def look(browser: Browser, base: str, names: Sequence[str]) -> list[str]:
    """Open pages on each screen; give the faults, each with its page."""
    found: list[str] = []
    with browser.new_context() as context:
        context.set_default_navigation_timeout(LOADING)
        page = context.new_page()
        faults = _listen(page, base)
        for name in names:
            for width, scheme in SCREENS:
                page.set_viewport_size({"width": width, "height": 800})
                if name in KINDS:  # colours make no page wider
                    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
                if width == SCREENS[0][0]:
                    page.goto(posixpath.join(base, name), wait_until="load")
                wide = page.evaluate(_TOO_WIDE)
                if wide > 0:
                    faults.append(f"{wide} pixels wider than {width}")
                if name in KINDS:
                    faults += inaccessible(page)
            found += [f"{name}: {fault}" for fault in dict.fromkeys(faults)]
            faults.clear()
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


def perform(jobs: Sequence[Job]) -> list[str]:
    """Share jobs among some browsers; give the faults that they find."""
    waiting: SimpleQueue[Job] = SimpleQueue()
    for job in jobs:
        waiting.put(job)

    def work(_: int) -> list[str]:
        from playwright.sync_api import sync_playwright  # tests import the rest of this module

        found: list[str] = []
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
            with suppress(Empty):
                while True:
                    found += waiting.get_nowait()(browser)
            browser.close()
        return found

    with ThreadPoolExecutor(WORKERS) as threads:
        return [fault for found in threads.map(work, range(WORKERS)) for fault in found]


def main(site: Path) -> int:
    """Check a built site and open it; print the faults."""
    with ProcessPoolExecutor(1) as beside:
        checked = beside.submit(checks.check, site)
        found = opened(site) if CHROMIUM.exists() else []
        found = [*checked.result(), *found]
    for fault in found:
        sys.stdout.write(f"{fault}\n")
    if not CHROMIUM.exists():
        sys.stdout.write(f"not looked at in a browser: there is no {CHROMIUM}\n")
    sys.stdout.write(f"the site has {len(found)} faults\n")
    return 1 if found else 0


def opened(site: Path) -> list[str]:
    """Open a built site, and print the whole specification; give the faults."""
    names = sorted(pages(site), key=lambda name: name not in KINDS)  # which take longest
    gone = sorted(each for each in KINDS.difference(names) if (site / each).parent.is_dir())
    found = [f"{each}: it is no page, and stood for its kind" for each in gone]
    with served(site) as searched, served(site, is_searched=False) as base:
        places = (searched, site.resolve().as_uri() + "/")
        jobs: list[Job] = []
        if not printed.missing():
            whole, target = posixpath.join(base, "whole.html"), site / downloads.PDF
            jobs.append(partial(printed.whole, page=whole, target=target))
        jobs += [partial(search, base=place) for place in places]
        jobs += [partial(look, base=base, names=names[at::PARTS]) for at in range(PARTS)]
        found += sorted(perform(jobs))
    sys.stdout.write(f"{len(names)} pages looked at in Chromium\n")
    return found


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
