"""What the tests in a browser share: where Chromium is, and what goes on in the pages it opens.

A test that needs it bears the mark ``browser``. Tests of our own plugin share a pytest.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .absent import absent

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
HANG = 30_000
"""Milliseconds for a page to come to what is expected of it, as long as playwright waits for
everything else. It takes some hundred, and more where a machine is busy."""


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test in a browser where there is none, or fail it where there has to be one."""
    if item.get_closest_marker("browser") is not None and not CHROMIUM.exists():
        advice = "install Debian's package chromium, or say in CHROMIUM where it is"
        absent("CHROMIUM", f"there is no {CHROMIUM}: {advice}")


class Chromium:
    """A Chromium without a window, and what its pages ask for and complain of.

    Attributes:
        asked: the addresses that were asked for since the last check, without what is behind #.
        said: what was written on a console or thrown since then.
    """

    def __init__(self, browser: Browser) -> None:
        self.browser = browser
        self.asked: list[str] = []
        self.said: list[str] = []

    def open(self, url: str, **options: Any) -> Page:
        """Open a page in a context of its own; the options are those of a context."""
        context = self.browser.new_context(**options)
        # Of the context, not of the page: a window that the page opens is heard as well.
        context.on("request", lambda request: self._ask(request.url))
        context.on("console", lambda message: self.said.append(message.text))
        context.on("weberror", lambda error: self.said.append(str(error.error)))
        context.on("page", lambda page: page.on("websocket", lambda each: self._ask(each.url)))
        page = context.new_page()
        page.goto(url)
        return page

    def _ask(self, url: str) -> None:
        self.asked.append(url.partition("#")[0])

    @contextmanager
    def opening(self, url: str, own: str) -> Iterator[Callable[..., Page]]:
        """Give what opens a page, or a place in it; afterwards close what it opened, and check."""
        opened = []

        def open_page(fragment: str = "", **options: Any) -> Page:
            opened.append(self.open(url + fragment, **options))
            return opened[-1]

        yield open_page
        for page in opened:
            page.context.close()
        self.check(own)

    def check(self, own: str) -> None:
        """See that nothing was complained of, and nothing asked for but what is the page's own.

        Args:
            own: the address of a file, or that of a folder, which ends with a slash.
        """
        asked, said = self.asked, self.said
        self.asked, self.said = [], []
        is_folder = own.endswith("/")
        foreign = [url for url in asked if url != own and not (is_folder and url.startswith(own))]
        assert (foreign, said) == ([], [])


@pytest.fixture(scope="module")
def chromium() -> Iterator[Chromium]:
    """Chromium, until the tests of a module are over.

    Its driver has an event loop that runs all the while, so that nothing else can have one: what
    a module does in its own has to be done before.
    """
    # Here, because this file is loaded for every test beside it.
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=HANG)
    with sync_playwright() as playwright:
        # Its sandbox, which cannot start as root, is off as playwright has it; only own pages
        # are opened.
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        yield Chromium(browser)
        browser.close()


PLUGIN = "neffos_conformance.pytest_plugin"
"""Ours, and no other: those take longer than the tests."""


@pytest.fixture
def run_pytest(pytester, monkeypatch):
    """Run pytest in this process, which has imported everything already."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    return partial(pytester.runpytest_inprocess, "-q", "-p", PLUGIN)
