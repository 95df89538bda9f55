"""The page of a report in the browser that it is for, used as people use it.

It is opened from its file in a Chromium without a window. Nothing but that file may be asked for,
and nothing may be complained about on the console.

A browser takes input and draws at times of its own, later where the machine is busy. After each
action a test waits for what the page is expected to show; it never reads what happens to be there.
"""

import asyncio
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from mutation import SOON
from neffos_conformance.cases.definition import server_cases
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.reference.embedded import embedded_server
from neffos_conformance.reports.html import render
from neffos_conformance.runner.known_failures import KnownFailure
from neffos_conformance.runner.result import Finding, in_order
from neffos_conformance.runner.run import run_cases, to_server
from neffos_conformance.runner.run_report import RunReport
from neffos_protocol.catalogue import requirement

from .generators import browse
from .pages import expect

pytestmark = pytest.mark.browser

EVIL = (
    "</script><script>document.title='pwned'</script>"
    "<img src=http://127.0.0.1:9/x onerror=alert(1)>"
    "\x1b[31m\x00\u202e" + "unbroken" * 200
)
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 900}


def hostile(serve):
    """Lose the tokens of replies, and say what a page had better not read."""

    def wrong(payload):
        sent = [str(each) for each in serve(payload)]
        if "first" in str(payload):
            return [EVIL]
        return [";" + each.partition(";")[2] if ";echo;" in each else each for each in sent]

    return wrong


async def run():
    cases = [case for case in server_cases() if case.id in WANTED]
    async with embedded_server(distort=hostile) as url:
        results = [result async for result in run_cases(to_server(url, SOON), cases)]
    return in_order(results, cases)


WANTED = ("AR-1.1", "AR-7.2", "HS-1.1", "HS-3.4", "NS-17.1", "FR-1.1")
IN_ORDER = ("AR-1.1", "AR-7.2", "FR-1.1", "NS-17.1", "HS-1.1", "HS-3.4")
"""The same as the page has them: what failed comes first."""


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """The page of a run with something of everything."""
    results = asyncio.run(run())
    verdicts = {result.case.id: result.verdict.value for result in results}
    assert verdicts == {
        "AR-1.1": "fail",
        "AR-7.2": "fail",
        "HS-1.1": "pass",
        "HS-3.4": "pass",
        "NS-17.1": "non-strict",
        "FR-1.1": "fail",
    }
    for each in results:
        each.findings = []  # the wrong server has some everywhere; one case with some is enough
    [first] = [result for result in results if result.case.id == "HS-1.1"]
    first.findings = [
        Finding("TR-16", "the close frame was not answered"),
        Finding("AR-22", "a second reply to '$1'", 1, 7),
    ]
    report = RunReport(
        "server",
        "ws://127.0.0.1:9090/",
        {"peer": "some-server", "version": "1.2"},
        datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC),
        1.25,
        tuple(results),
        "neffos-wire test server ws://127.0.0.1:9090/",
    )
    known = KnownFailure(
        "FR-1.1", Verdict.FAIL, "x", "Old clients rely on it.", "https://x.invalid/1"
    )
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render(replace(report, known={"FR-1.1": known})), "utf-8")
    return path


@pytest.fixture
def opened(path, chromium):  # the run is over before there is the loop of the browser
    """Opens the page, which may ask for nothing but itself and has nothing to complain of."""
    address = path.as_uri()
    with chromium.opening(address, own=address) as open_page:
        yield open_page
        assert address in chromium.asked


def case(page, id_):
    return page.locator(f"[id='{id_}']")


def expect_cases(page, *ids):
    """Wait until these cases are seen, in this order, and no other."""
    expect(page.locator(".case:visible > summary > b")).to_have_text(list(ids))


def test_what_failed_comes_first(opened):
    page = opened()
    expect(page).to_have_title("neffos-wire server: some-server 1.2")
    expect_cases(page, *IN_ORDER)
    expect(page.locator(".outcome")).to_have_text(
        "failed: 3 fail, 1 non-strict, 2 pass; 1 known failure"
    )


def test_searching_and_filtering(opened):
    page = opened()
    search = page.get_by_label("Search", exact=True)
    for words, found in (
        ("ar-1", ["AR-1.1"]),
        ("TOKEN client", ["AR-1.1"]),  # both words, in capitals or not
        ("unbrokenunbroken", ["AR-7.2"]),  # what the peer said
        ("acceptance nowhere to be found", []),
    ):
        search.fill(words)
        expect_cases(page, *found)
        expect(page.locator("#none")).to_be_visible(visible=not found)
    reset = page.get_by_role("button", name="Reset")
    reset.click()
    expect_cases(page, *IN_ORDER)
    page.get_by_role("button", name="3 fail").click()
    page.get_by_role("button", name="1 non-strict").click()
    expect_cases(page, "AR-1.1", "AR-7.2", "FR-1.1", "NS-17.1")
    expect(page.locator("#shown")).to_have_text("4 of 6 cases")
    page.get_by_role("button", name="1 known").click()
    expect_cases(page, "FR-1.1")
    reset.click()
    for name in ("1 closing", "1 finding"):
        page.get_by_role("button", name=name).click()
        expect_cases(page, "HS-1.1")
        reset.click()
    page.get_by_label("Family", exact=True).select_option("HS")
    expect_cases(page, "HS-1.1", "HS-3.4")
    reset.click()
    page.get_by_label("Level", exact=True).select_option("SHOULD")
    expect_cases(page, "NS-17.1")
    reset.click()
    page.get_by_label("Applies to", exact=True).select_option("client")
    of_clients = {
        each.id
        for each in server_cases()
        if each.id in WANTED
        and any("client" in requirement(id_).applies_to for id_ in each.requirements)
    }
    assert 0 < len(of_clients) < len(WANTED)
    expect_cases(page, *(id_ for id_ in IN_ORDER if id_ in of_clients))


def test_a_case_shows_all_that_is_known_of_it(opened):
    page = opened()
    failed = case(page, "AR-1.1")
    failed.locator("> summary").click()
    for part in (
        "wait: expected '$1790000000000000001', actual ''",
        "accepted with ID",
        "MUST put the token of the ask into the wait field of the reply",
        "--case AR-1.1",
    ):
        expect(failed).to_contain_text(part)
    expect(failed.locator(".script .bad")).to_have_text("1 < $1790000000000000001;app;;echo;0;0;hi")
    row = failed.locator(".row.is-bad")  # the only one: a locator of more would be an error
    expect(row.locator("code")).to_have_text(";app;;echo;0;0;hi")
    row.get_by_role("button", name="bytes").click()
    expect(row.locator(".bytes")).to_contain_text("0000  3b 61 70 70 3b 3b 65 63  ;app;;ec")
    row.get_by_role("button", name="bytes").click()
    expect(row.locator(".bytes")).to_have_count(0)
    known = case(page, "FR-1.1")
    known.locator("> summary").click()
    expect(known.locator(".aside")).to_contain_text("Known failure: Old clients rely on it.")
    expect(known.locator(".aside a")).to_have_attribute("href", "https://x.invalid/1")
    closing = case(page, "HS-1.1")
    closing.locator("> summary").click()
    expect(closing.locator(".wrong")).to_have_text(
        "closingTR-16, fail: the close frame was not answered"
        "findingAR-22, fail: a second reply to '$1' (message 7 of connection 1)"
    )


def test_connections_have_lines_of_their_own(opened):
    page = opened("#HS-3.4")
    lives = case(page, "HS-3.4").locator(".life")
    expect(lives).to_have_text(["1", "2", "3", ""])
    left = [box["x"] for box in (each.bounding_box() for each in lives.all())]
    assert left == sorted(set(left))


def test_the_command_is_copied(opened):
    page = opened("#AR-1.1", permissions=["clipboard-read", "clipboard-write"])
    page.clock.install()  # the button says for a while that it is done
    page.clock.pause_at(datetime.now(UTC) + timedelta(days=1))
    button = case(page, "AR-1.1").locator(".rerun button")
    expect(button).to_have_text("Copy")
    button.click()
    expect(button).to_have_text("Copied")
    copied = page.evaluate("navigator.clipboard.readText()")
    assert copied == "neffos-wire test server ws://127.0.0.1:9090/ --case AR-1.1"
    page.clock.fast_forward("00:02")
    expect(button).to_have_text("Copy")


def test_what_a_peer_says_stays_text(opened):
    page = opened("#AR-7.2")
    row = case(page, "AR-7.2").locator(".row.is-bad code")
    expect(row).to_contain_text("</script><script>document.title='pwned'</script><img src=")
    expect(row).to_contain_text(r"\x1b[31m\x00\u{202e}unbroken")
    expect(page).to_have_title("neffos-wire server: some-server 1.2")
    expect(page.locator("img")).to_have_count(0)
    expect(page.locator("script")).to_have_count(2)


def test_the_keyboard_suffices(opened):
    page = opened()
    page.keyboard.press("/")
    search = page.get_by_label("Search", exact=True)
    expect(search).to_be_focused()
    page.keyboard.type("in a row/")
    expect_cases(page)
    page.keyboard.press("Backspace")
    expect_cases(page, "AR-7.2")
    page.keyboard.press("Escape")
    expect(search).to_have_value("")
    expect_cases(page, *IN_ORDER)
    page.keyboard.press("Escape")
    expect(search).not_to_be_focused()
    page.keyboard.press("/")
    expect(search).to_be_focused()
    seen = []
    while "AR-1.1" not in seen[-1:]:
        seen.append(tab(page))
        assert len(seen) < 20
    assert seen[:2] == ["3 fail", "1 non-strict"]
    page.keyboard.press("Enter")
    first = case(page, "AR-1.1")
    expect(first.locator(".row.is-bad")).to_be_visible()
    assert tab(page) == "bytes"
    page.keyboard.press("Escape")
    expect(first.locator(".row.is-bad")).to_be_hidden()
    expect(first.locator("> summary")).to_be_focused()


def tab(page):
    """Go to the next stop of the keyboard; give its text."""
    page.evaluate("globalThis.left = document.activeElement")
    page.keyboard.press("Tab")
    page.wait_for_function("document.activeElement !== globalThis.left")
    return page.evaluate(
        "(document.activeElement.querySelector(':scope > b') ?? document.activeElement)"
        ".textContent.trim()"
    )


def test_a_link_opens_its_case(opened):
    page = opened("#NS-17.1")
    expect(case(page, "NS-17.1").locator(".row.is-bad")).to_be_in_viewport()
    case(page, "AR-1.1").locator("> summary").click()
    expect(page).to_have_url(re.compile("#AR-1[.]1$"))
    page.get_by_label("Family", exact=True).select_option("AR")
    expect_cases(page, "AR-1.1", "AR-7.2")
    page.evaluate("location.hash = 'HS-1.1'")
    expect(case(page, "HS-1.1").locator(".body")).to_be_visible()  # though it was filtered out


def test_nothing_has_to_be_scrolled_sideways_and_all_is_accessible(opened):
    page = opened()
    page.get_by_role("button", name="Open all").click()
    expect(page.locator(".row.is-bad:visible")).to_have_count(4)  # each is filled as it opens
    for summary in page.locator("header summary").all():
        summary.click()
    for button in page.get_by_role("button", name="bytes").all()[:6]:
        button.click()
    expect(page.locator(".bytes")).to_have_count(6)
    for viewport in (DESK, PHONE):
        page.set_viewport_size(viewport)
        page.wait_for_function("(width) => innerWidth === width", arg=viewport["width"])
        assert page.evaluate("document.documentElement.scrollWidth") == viewport["width"]
        assert browse.inaccessible(page) == []
    page.get_by_role("button", name="Close all").click()
    expect(page.locator(".case[open]")).to_have_count(0)


def test_light_and_dark(opened):
    page = opened(color_scheme="light")
    button = page.get_by_role("button", name="Theme")
    grounds = {}
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.wait_for_function(f"matchMedia('(prefers-color-scheme: {scheme})').matches")
        grounds[scheme] = ground(page)
    assert grounds["light"] != grounds["dark"]
    for name, shown in (("light", "light"), ("dark", "dark"), ("auto", "dark"), ("light", "light")):
        button.click()
        expect(button).to_have_text(f"Theme: {name}")
        assert ground(page) == grounds[shown]
    page.reload()
    expect(button).to_have_text("Theme: light")


def ground(page):
    return page.evaluate("getComputedStyle(document.documentElement).backgroundColor")


def test_on_paper_stands_what_failed(opened):
    page = opened()
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    expect(page.locator("#filters")).to_be_hidden()
    expect(page.locator(".case[open] .row.is-bad:visible")).to_have_count(4)
    expect(case(page, "HS-1.1").locator(".body")).to_be_hidden()
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    expect(page.locator(".case[open]")).to_have_count(0)


def test_without_its_script_the_page_still_says_what_failed(opened):
    page = opened(java_script_enabled=False)
    expect(page.locator(".case")).to_have_count(len(WANTED))
    expect(page.locator("#filters")).to_be_hidden()
    case(page, "AR-1.1").locator("> summary").click()
    expect(case(page, "AR-1.1")).to_contain_text("wait: expected")
