"""The workbench in the browser that it is for: Python in WebAssembly, and its page.

Its worker checks the whole corpus, and has to find what the command line finds. The page is used
as people use it. Nothing but its own files may be asked for, and nothing may be complained about on
the console.
"""

import json
import re
import shutil
from base64 import b64encode
from io import BytesIO
from pathlib import Path

import pytest

from neffos_conformance.recordings.check_report import report_values
from neffos_conformance.recordings.checking import check_stream
from neffos_conformance.recordings.sharing import pack

from .absent import absent
from .generators import browse
from .generators import workbench as files
from .pages import expect

ROOT = Path(__file__).parents[2]

CORPUS = sorted((ROOT / "conformance" / "transcripts").rglob("*.jsonl"))
HAR = Path(__file__).with_name("data") / "chat-chromium.har"
EVIL = "<img src=http://127.0.0.1:9/x onerror=alert(1)><script>alert(2)</script>\u202e"

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """Serve the page with all that it loads; give the address of its folder."""
    if files.missing():
        absent("CHROMIUM", f"Pyodide cannot be fetched: {files.missing()}")
    folder = tmp_path_factory.mktemp("workbench")
    shutil.copytree(ROOT / "spec" / "docs" / "workbench", folder, dirs_exist_ok=True)
    for name, content in files.files().items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
    (folder / "empty.html").write_text("<!doctype html><link rel='icon' href='data:,'>", "utf-8")
    with browse.served(folder) as address:
        yield address


@pytest.fixture(scope="module")
def kept(chromium, base):
    """The page for all tests: to load Python takes seconds."""
    page = chromium.open(f"{base}index.html", permissions=["clipboard-read", "clipboard-write"])
    expect(page.locator("#status")).to_have_text("Ready. Open a session.", timeout=LOADING)
    return page


LOADING = 120_000
"""Milliseconds for Python to be loaded, on a busy machine."""


@pytest.fixture
def page(chromium, base, kept):
    yield kept
    kept.evaluate("0")  # what has happened until now has arrived then
    chromium.check(base)


CHECK = """async (recordings) => {
  const worker = new Worker("worker.js", { type: "module" });
  const waiting = [];
  worker.onmessage = ({ data: { answer, failed } }) => {
    if (answer !== undefined || failed) {
      waiting.shift()(answer ?? `{"problem": ${JSON.stringify(failed)}}`);
    }
  };
  const ask = (method, values, data) => {
    worker.postMessage({ id: 1, method, values, data });
    return new Promise((resolve) => waiting.push(resolve));
  };
  const found = [];
  for (const [index, encoded] of recordings.entries()) {
    const data = Uint8Array.from(atob(encoded), (each) => each.charCodeAt(0)).buffer;
    await ask("take", { name: "x" }, data);
    found.push(await ask("check", { index }));
  }
  worker.terminate();
  return found;
}"""


def test_the_whole_corpus_is_judged_as_on_the_command_line(chromium, base):
    page = chromium.open(f"{base}empty.html")
    recordings = [path.read_bytes() for path in CORPUS]
    found = page.evaluate(CHECK, [b64encode(each).decode() for each in recordings])
    page.context.close()
    chromium.check(base)
    assert len(found) == len(CORPUS) > 300
    for path, data, answer in zip(CORPUS, recordings, found, strict=True):
        expected = json.loads(json.dumps(report_values(check_stream(BytesIO(data)))))
        assert json.loads(answer).get("values", answer) == expected, path.name


def open_files(page, *paths):
    """Open files, and wait until the last one is shown."""
    page.locator("#file").set_input_files(list(paths))
    expect(page.locator("#status")).to_have_text(re.compile("was checked"))


def paste(page, *lines):
    page.locator("#frames").fill("\n".join(lines))
    page.get_by_role("button", name="Look at the frames").click()
    expect(page.locator("#status")).to_have_text("pasted frames was checked.")


def chosen(page):
    return page.locator("article.chosen")


def test_the_planted_fault_is_found_and_shown(page):
    page.get_by_role("button", name="Open an example").click()
    row = page.locator(".verdicts")
    expect(row).to_contain_text("AR-22")
    row.get_by_role("button").first.click()
    expect(chosen(page)).to_contain_text("a second reply to")
    expect(chosen(page)).to_contain_text("No ask is pending.")
    expect(chosen(page).locator("td").first).not_to_be_empty()
    expect(page.locator(".arrow.chosen .fault").first).to_be_in_viewport()


def test_one_steps_through_a_session_by_key(page):
    paste(page, "> M", "< A7", "> $1;chat;;_OnNamespaceConnect;0;0;", "< $1;;;;;;", "> ;no;;e;0;0;")
    page.keyboard.press("Escape")
    for words in ("handshake request", "accepted with ID 7", "asks to connect chat"):
        page.keyboard.press("j")
        expect(chosen(page).locator("h3")).to_contain_text(words)
    expect(chosen(page).locator(".state")).to_contain_text("client: connect chat ($1)")
    page.keyboard.press("k")
    expect(chosen(page).locator("h3")).to_contain_text("accepted with ID 7")
    page.keyboard.press("n")
    expect(chosen(page)).to_contain_text("NS-11")
    page.keyboard.press("Escape")
    expect(chosen(page)).to_have_count(0)
    page.keyboard.press("/")
    page.keyboard.type("CHAT")
    page.keyboard.press("Enter")
    expect(page.locator(".arrow")).to_have_count(2)
    page.get_by_label("Only violations").check()
    expect(page.locator("#view")).to_have_text("No message matches the filters.")


def test_a_long_session_is_stepped_through_across_its_parts(page):
    paste(page, "> M", "< A7", *(f"> ;c;;e;0;0;{at}" for at in range(250)))
    expect(page.locator(".arrow")).to_have_count(200)
    page.locator("#a201").click()
    page.keyboard.press("j")
    expect(chosen(page)).to_have_attribute("id", "m202")
    expect(page.locator(".arrow")).to_have_count(52)
    page.keyboard.press("k")
    expect(chosen(page)).to_have_attribute("id", "m201")


def test_a_har_becomes_recordings(page):
    open_files(page, HAR)
    expect(page.locator("#which option:checked")).to_have_text("chat-chromium.har, connection 2")
    expect(page.locator("#report")).to_contain_text("6 messages")


def test_a_link_takes_the_session_along(page, chromium, base):
    paste(page, "> M", "< A7", "> ;no;;e;0;0;token=abc123")
    page.get_by_role("button", name="Copy a link").click()
    expect(page.locator("#shared")).to_contain_text("Copied")
    link = page.evaluate("navigator.clipboard.readText()")
    assert link.startswith(f"{base}index.html#recording=")
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save as a page").click()
    assert "NS-11" in Path(saved.value.path()).read_text("utf-8")
    page.evaluate("(hash) => { location.hash = hash; }", link.partition("#")[2])
    expect(page.locator("#status")).to_have_text("a link was checked.")
    expect(page.locator("#report")).to_contain_text("NS-11")
    expect(page.locator("#view")).to_contain_text("token=***")
    expect(page.locator("#view")).not_to_contain_text("abc123")


def test_what_peers_wrote_stays_text(page, tmp_path):
    header = {"format": 2, "scenario": EVIL, "client": {"peer": EVIL}, "server": {"peer": EVIL}}
    entry = {"time": 0, "connection": 1, "from": "client"}
    texts = ["M", f"$1;{EVIL};{EVIL};_OnRoomJoin;0;0;{EVIL}", EVIL]
    lines = [header, *(entry | {"text": text} for text in texts)]
    path = tmp_path / f"{EVIL.replace('/', '_')}.jsonl"
    path.write_text("\n".join([*map(json.dumps, lines), EVIL]), "utf-8")
    open_files(page, path)
    expect(page.locator("#view")).to_contain_text("onerror=alert(1)")
    page.keyboard.press("j")
    page.keyboard.press("j")
    expect(chosen(page)).to_contain_text("onerror=alert(1)")
    expect(page.locator("#session img, #session script, #status img")).to_have_count(0)
    page.evaluate("(hash) => { location.hash = hash; }", f"recording={pack(path.read_bytes())}")
    expect(page.locator("#status")).to_have_text("a link was checked.")
    expect(page.locator("#session img, #session script")).to_have_count(0)
    page.evaluate("location.hash = 'recording=broken'")
    expect(page.locator("#status")).to_contain_text("Try: the whole link")


def test_the_prompt_has_the_codec(page):
    page.locator("#try summary").click()
    page.locator("#line").fill("decode(';chat;;say;0;0;<b>').body")
    page.keyboard.press("Enter")
    expect(page.locator("#printed")).to_contain_text("'<b>'")


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_has_to_be_scrolled_sideways_and_all_is_accessible(page, width):
    page.set_viewport_size({"width": width, "height": 844})
    open_files(page, *(path for path in CORPUS if path.stem in ("exchange-ask-go", "frame-large")))
    page.keyboard.press("j")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert browse.inaccessible(page) == []
