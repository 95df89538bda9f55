"""The page of a run that listens, in the browser that it is for.

The suite runs in a thread, with an event loop of its own. After each action a test waits for what
the page is expected to show.
"""

import asyncio
import threading
from dataclasses import dataclass

import pytest

from neffos_conformance.cases.definition import client_cases, select
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.listening.listener import listening_for_clients
from neffos_conformance.listening.page import Page
from neffos_conformance.listening.session import ListeningSession
from neffos_conformance.runner.result import Result
from neffos_conformance.wire.connection import ConnectionClosed, WireConnection

from .generators import browse
from .pages import expect

pytestmark = pytest.mark.browser

EVIL = (
    "</script><script>document.title='pwned'</script>"
    "<img src=http://127.0.0.1:9/x onerror=alert(1)>\x1b[31m\u202e" + "unbroken" * 200
)
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 900}
HANG = 60
"""Seconds for the thread to start, or to carry out what a test asks."""


@dataclass
class Run:
    """The suite in its thread."""

    page: Page
    loop: asyncio.AbstractEventLoop

    def connect(self, path: str) -> None:
        """Let a client dial, and wait until the suite has closed its connection."""

        async def visit() -> None:
            connection = await WireConnection.dial(self.page.dial_url + path)
            while not isinstance(await connection.receive(), ConnectionClosed):
                pass
            await connection.close()

        asyncio.run_coroutine_threadsafe(visit(), self.loop).result(HANG)


@pytest.fixture
def running():
    """A run with two cases that wait, one that fails and one that needs a driver."""
    [failing] = select(client_cases(), ["NS-17.c3"])
    ready, end = threading.Event(), asyncio.Event()
    found = []

    async def listen():
        session = ListeningSession(
            select(
                client_cases(),
                ["TR-1.c1", "NS-3.c1", "NS-17.c3", "ALL-c1", "ALL-c2", "NS-1.c1", "NS-5.c3"],
            )
        )
        session.peer = EVIL
        session.results[failing.id] = Result(failing, Verdict.FAIL, EVIL, actual=EVIL)
        async with listening_for_clients(session, "127.0.0.1", 0) as page:
            found.append(Run(page, asyncio.get_running_loop()))
            ready.set()
            await end.wait()

    thread = threading.Thread(target=asyncio.run, args=(listen(),))
    thread.start()
    assert ready.wait(HANG)
    yield found[0]
    found[0].loop.call_soon_threadsafe(end.set)
    thread.join(HANG)


def row(page, id_):
    return page.locator(".case", has=page.locator(".id", has_text=id_))


@pytest.mark.parametrize(("size", "scheme"), [(PHONE, "dark"), (DESK, "light")])
def test_a_verdict_comes_without_a_reload_and_fits_the_screen(chromium, running, size, scheme):
    url = running.page.url
    with chromium.opening(url, url) as open_page:
        page = open_page(viewport=size, color_scheme=scheme)
        expect(page.locator("#share")).to_have_text(
            "1 of 3 cases have a result; 4 more need a driver"
        )
        expect(row(page, "TR-1.c1").locator(".verdict")).to_have_text("waiting")
        expect(page.locator("#url")).to_have_text(running.page.dial_url)
        running.connect("case/TR-1.c1")
        expect(row(page, "TR-1.c1").locator(".verdict")).to_have_text("pass")
        expect(page.locator("#counts .pass").first).to_be_visible()
        width = page.evaluate("document.documentElement.scrollWidth - innerWidth")
        assert width <= 0
        assert browse.inaccessible(page) == []


def test_what_a_client_writes_is_text_and_comes_first_where_it_failed(chromium, running):
    url = running.page.url
    with chromium.opening(url, url) as open_page:
        page = open_page(viewport=PHONE)
        failed = page.locator("#wrong .case")
        expect(failed.locator(".id")).to_have_text("NS-17.c3")
        failed.locator("summary").click()
        expect(failed.locator(".why")).to_contain_text("<img src=http://127.0.0.1:9/x")
        expect(failed.locator(".requirement")).to_contain_text("bad namespace")
        expect(page.locator("#client")).to_contain_text("</script>")
        expect(page).to_have_title("neffos-wire: testing the client that connects")
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
