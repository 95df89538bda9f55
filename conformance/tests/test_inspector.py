"""The frame inspector, in the browser that it is for.

The page is built by itself, as the site has it, and opened from its file in a Chromium without a
window, which is steered through its debugging protocol. Its codec is asked every vector, and some
thousand more that neffos_codec has answered; its words are held to the corpus; and its controls
are used as people use them.
"""

from __future__ import annotations

import copy
import json
import os
import random
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from websockets.sync.client import ClientConnection, connect

from neffos_codec import (
    FIELDS,
    CodecError,
    HandshakeAccept,
    HandshakeRefuse,
    Limits,
    Message,
    Native,
    NativeMessage,
    Reading,
    decode,
    decode_handshake,
    encode,
    parse_wait,
)
from neffos_conformance.recordings.transcript import read_transcript
from neffos_protocol.catalogue import requirements

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "spec" / "docs"
CORPUS = ROOT / "conformance" / "transcripts"
JUDGE = Path(__file__).with_name("data") / "inspector_vectors.js"
VECTORS = [
    vector
    for path in sorted((ROOT / "codec" / "vectors").glob("*.json"))
    if path.name != "schema.json"
    for vector in json.loads(path.read_text("utf-8"))["vectors"]
]

CHROMIUM = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
HANG = 60.0
"""Seconds for Chromium to answer; it takes some tenths, and more where a machine is busy."""

Vector = dict[str, Any]

IS_EXPECTED = os.environ.get("NEFFOS_WIRE_EXPECT_CHROMIUM") == "1"
"""Whether these tests fail, where others are skipped, when there is no Chromium."""

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (CHROMIUM.exists() or IS_EXPECTED), reason=f"there is no {CHROMIUM}"),
]

FLAGS = [
    "--headless=new",
    "--no-sandbox",  # it could not start as root, and only our own page is opened
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--remote-debugging-port=0",
]


class Page:
    """A page in Chromium, and what went on in it."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.session: str | None = None
        self.number = 0
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")
        self.call("Emulation.setFocusEmulationEnabled", enabled=True)
        self.call("Page.setLifecycleEventsEnabled", enabled=True)

    def call(self, method: str, **parameters: Any) -> Any:
        """Have Chromium do something; give what it answers."""
        self.number += 1
        request = {"id": self.number, "method": method, "params": parameters}
        self.socket.send(
            json.dumps(request | ({"sessionId": self.session} if self.session else {}))
        )
        while (answer := self.receive()).get("id") != self.number:
            pass
        assert "error" not in answer, (method, answer)
        return answer["result"]

    def receive(self) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self.socket.recv(timeout=HANG))
        if "method" in message:
            self.events.append(message)
        return message

    def open(self, url: str) -> None:
        """Open a page and wait until it has loaded."""
        # With another part behind # alone, a page would not load anew.
        for each in ("about:blank", url) if "#" in url else (url,):
            self.events.clear()
            loader = self.call("Page.navigate", url=each)["loaderId"]
            while not any(
                event["loaderId"] == loader and event["name"] == "load"
                for event in self.happened("Page.lifecycleEvent")
            ):
                self.receive()

    def happened(self, *methods: str) -> list[dict[str, Any]]:
        return [each["params"] for each in self.events if each["method"] in methods]

    def run(self, program: str) -> Any:
        """Give the value of an expression, or of its promise."""
        done = self.call(
            "Runtime.evaluate",
            expression=program,
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
        )
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def type(self, selector: str, text: str) -> None:
        """Put the keyboard into a field, and type over what is in it."""
        self.run(f"document.querySelector({json.dumps(selector)}).select()")
        if text:
            self.call("Input.insertText", text=text)
        else:
            self.press("Delete")

    def press(self, key: str) -> None:
        code = {"Tab": 9, "Delete": 46, " ": 32}[key]
        text = {"text": key} if len(key) == 1 else {}
        for kind in ("keyDown", "keyUp"):
            self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                windowsVirtualKeyCode=code,
                **(text if kind == "keyDown" else {}),
            )

    def click(self, selector: str) -> None:
        self.run(f"document.querySelector({json.dumps(selector)}).click()")

    def choose(self, selector: str, value: str) -> None:
        """Choose in a list, as a person does."""
        self.run(
            f"""(() => {{
              const list = document.querySelector({json.dumps(selector)});
              list.value = {json.dumps(value)};
              list.dispatchEvent(new Event("input", {{ bubbles: true }}));
            }})()"""
        )

    def fill(self, text: str, **options: str) -> None:
        """Put a message and what is known of it into the form, all at once."""
        usual = {"sender": "either", "moment": "auto", "native": "never"}
        self.run(
            f"""(() => {{
              const input = document.querySelector("#fi-input");
              for (const [name, value] of Object.entries({json.dumps(usual | options)})) {{
                input.form.elements[name].value = value;
              }}
              input.value = {json.dumps(text)};
              input.dispatchEvent(new Event("input", {{ bubbles: true }}));
            }})()"""
        )

    def text(self, selector: str) -> str:
        found: str = self.run(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''")
        return found

    def value(self, selector: str) -> str:
        found: str = self.run(f"document.querySelector({json.dumps(selector)}).value")
        return found

    def rows(self) -> dict[str, list[str]]:
        """Give the table of fields: octets, value and meaning by name."""
        cells: list[list[str]] = self.run(
            """[...document.querySelectorAll(".fi-table tbody tr")]
                 .map((row) => [...row.cells].map((cell) => cell.innerText))"""
        )
        return {name: rest for name, *rest in cells}

    def sayings(self) -> dict[str, tuple[str, list[str]]]:
        """Give, by the sender, the sentence and the requirements that are broken."""
        found: list[list[Any]] = self.run(
            """[...document.querySelectorAll(".fi-saying")].map((saying) => [
                 saying.dataset.role,
                 saying.querySelector(".fi-sentence").innerText,
                 [...saying.querySelectorAll(":scope > ul a")].map((link) => link.innerText),
               ])"""
        )
        return {role: (sentence, broken) for role, sentence, broken in found}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the page, built without the rest of the site."""
    folder = tmp_path_factory.mktemp("inspector")
    docs = folder / "docs"
    docs.mkdir()
    shutil.copy(DOCS / "inspector.md", docs)
    shutil.copytree(DOCS / "inspector", docs / "inspector")
    for name in ("index", "frame", "recordings"):
        (docs / f"{name}.md").write_text("# Another page\n\n## Two readings\n", "utf-8")
    plain = re.sub(r"!!python/\S+", "", (DOCS.parent / "mkdocs.yml").read_text("utf-8"))
    whole = yaml.safe_load(plain)
    config = {
        "site_name": whole["site_name"],
        "docs_dir": "docs",
        "site_dir": "site",
        "use_directory_urls": whole["use_directory_urls"],
        "theme": {name: whole["theme"][name] for name in ("name", "font", "palette")},
        "markdown_extensions": [{"toc": {"permalink": True}}],
        "plugins": [],
        "strict": True,
    }
    (folder / "mkdocs.yml").write_text(yaml.safe_dump(config), "utf-8")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "mkdocs",
            "build",
            "--quiet",
            "--config-file",
            folder / "mkdocs.yml",
        ],
        check=True,
        env=os.environ | {"NO_MKDOCS_2_WARNING": "1"},
    )
    return folder / "site" / "inspector.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    if not CHROMIUM.exists():
        pytest.fail(
            f"there is no {CHROMIUM}: install Debian's package chromium, "
            "or say in CHROMIUM where it is"
        )
    profile = tmp_path_factory.mktemp("chromium")
    process = subprocess.Popen(
        [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "about:blank"],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"TMPDIR": str(profile)},
    )
    try:
        assert process.stderr is not None
        said = []
        for line in process.stderr:
            said.append(line)
            if found := re.search(r"DevTools listening on (ws://\S+)", line):
                break
        else:
            pytest.fail(f"Chromium did not start: {''.join(said)}")
        with connect(found[1], max_size=None, compression=None, proxy=None) as socket:
            yield Page(socket)
            socket.send('{"id": 0, "method": "Browser.close"}')
            process.communicate(timeout=HANG)
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def fresh(browser: Page, site: Path) -> Iterator[Page]:
    """Give the page, just opened; when the test is over, nothing in it may have gone wrong."""
    browser.open(site.as_uri())
    yield browser
    check(browser, site)


@pytest.fixture
def page(browser: Page, site: Path) -> Iterator[Page]:
    """Give the page as it is, with its forms as they were; to open it anew takes much longer."""
    if not browser.run("location.href").startswith(site.as_uri()):
        browser.open(site.as_uri())
    browser.run(
        """for (const form of document.querySelectorAll(".fi form")) {
             form.reset();
             form.dispatchEvent(new Event("input", { bubbles: true }));
           }"""
    )
    yield browser
    check(browser, site)


def check(browser: Page, site: Path) -> None:
    """See that no error was thrown or logged, and that nothing was asked of anybody else."""
    browser.run("0")  # what has happened until now has arrived then
    assert browser.happened("Runtime.exceptionThrown", "Log.entryAdded") == []
    asked = [each["request"]["url"] for each in browser.happened("Network.requestWillBeSent")]
    assert [url for url in asked if not url.startswith((site.parent.as_uri(), "data:"))] == []


# ---- Its codec ----


def judge(page: Page, asked: list[Vector]) -> tuple[dict[str, int], list[list[str]]]:
    """Ask the codec of the page; give how often each vector was judged, and what went wrong."""
    judged = page.run(f"{JUDGE.read_text('utf-8')}\njudgeVectors({json.dumps(asked)})")
    return judged["judged"], judged["failures"]


def test_every_vector_is_answered_as_it_says(page):
    judged, failures = judge(page, VECTORS)
    assert failures == []
    assert judged.keys() == {vector["id"] for vector in VECTORS}
    assert all(judged.values())


def spoilt(vector: Vector) -> Vector:
    """Give a vector that wants something else."""
    vector = copy.deepcopy(vector)
    wanted = [vector[name] for name in ("lenient", "strict", "answer", "parsed") if name in vector]
    for outcome in wanted or [vector]:
        if "reject" in outcome:
            outcome["offset"] += 1
        elif "kind" in outcome and "token" in outcome | {"token": ""} and outcome is not vector:
            spoil_kinded(outcome)
        elif "message" in outcome and outcome is not vector:
            message = outcome["message"]
            message["body"] = {"concat": [message.get("body", ""), "x"]}
        elif "native" in outcome and outcome is not vector:
            outcome["native"] = {"concat": [outcome["native"], "x"]}
        elif "handshake" in outcome and outcome is not vector:
            outcome["handshake"] = {"accept": "another"}
        else:
            outcome["payload"] = {"concat": [outcome["payload"], "x"]}
    return vector


def spoil_kinded(outcome: dict[str, Any]) -> None:
    """Spoil an answer to an ask, or what a wait field says."""
    name = "payload" if "payload" in outcome else "token"
    outcome[name] = {"concat": [outcome.get(name, ""), "x"]}


def test_a_vector_that_wants_something_else_is_noticed(page):
    _, failures = judge(page, list(map(spoilt, VECTORS)))
    assert {id_ for id_, _ in failures} == {vector["id"] for vector in VECTORS}


PIECES = [
    *(b"M", b"A", b"H", b"0", b"1", b"$1", b"#2", b"x!3", b"neffos(0x4", b"chat", b"say", b"yes"),
    *(b"@%!semicolon@%!", b"@%!semicolon", b"@%!", "é😀".encode(), b"\xef\xbb\xbf", b"\x00"),
    *(b"\xc3", b"\xe2\x82", b"\xf0\x9f\x98", b"\xed\xa0\x80", b"\xc0\xaf", b"\xf4\x90\x80\x80"),
    *(b"\xff", b"\x80", b"\r\n", b" "),
]
"""What payloads are put together from; the last two lines are what UTF-8 is not."""


def made(chance: random.Random) -> bytes:
    """Make octets that look like a frame, more or less."""
    separators = chance.choice((0, 5, 6, 6, 6, 7))
    parts = [b"".join(chance.choices(PIECES, k=chance.choice((0, 0, 1, 1, 2))))]
    for number in range(separators):
        is_flag = number in (3, 4) and chance.random() < 0.8
        few = (b"0", b"1", b"") if is_flag else PIECES
        parts.append(b"".join(chance.choices(few, k=1 if is_flag else chance.choice((0, 1, 2)))))
    return b";".join(parts)


def octets_of(content: str | bytes) -> bytes:
    return content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content


def hexed(content: str | bytes) -> Any:
    octets = octets_of(content)
    return {"hex": octets.hex()} if octets else ""


def described(message: Message) -> dict[str, Any]:
    values = dict(zip(FIELDS, message.fields(), strict=True))
    return {
        name: value if value is True else hexed(value)  # type: ignore[arg-type]
        for name, value in values.items()
        if value is not False
    }


def outcome(call: Any) -> tuple[dict[str, Any], set[str]]:
    """Give what comes of a call as a vector says it, and the requirement of a refusal."""
    try:
        got = call()
    except CodecError as error:
        field = {"field": error.field} if error.field else {}
        return {"reject": error.reason.value, "offset": error.offset, **field}, {error.requirement}
    match got:
        case Message():
            return {"message": described(got)}, set()
        case NativeMessage(payload):
            return {"native": hexed(payload)}, set()
        case HandshakeAccept(text):
            return {"handshake": {"accept": hexed(text)}}, set()
        case HandshakeRefuse(text):
            return {"handshake": {"refuse": hexed(text)}}, set()
    return {"handshake": {"request": {}}}, set()


def beside(chance: random.Random, number: int) -> Iterator[Vector]:
    """Give vectors about one payload, as neffos_codec answers them."""
    octets, kind = made(chance), chance.choice(("text", "binary"))
    payload = octets.decode("utf-8", "surrogateescape") if kind == "text" else octets
    native = chance.choice(list(Native))
    limits: dict[str, int] = {}
    if chance.random() < 0.3:
        names = chance.sample(("payload", "field"), chance.choice((1, 2)))
        limits = {name: chance.randrange(24) for name in names}
    common: Vector = {"kind": kind, "payload": hexed(payload)}

    def reads(operation: str, call: Any, **more: Any) -> Vector:
        lenient, broken = outcome(lambda: call(Reading.LENIENT))
        strict, more_broken = outcome(lambda: call(Reading.STRICT))
        return {
            "id": f"{operation}-{number}",
            "operation": operation,
            "requirements": sorted(broken | more_broken),
            "lenient": lenient,
            "strict": strict,
            **common,
            **more,
        }

    yield reads("decode-handshake", lambda reading: decode_handshake(payload, reading=reading))
    read = reads(
        "decode",
        lambda reading: decode(payload, reading=reading, native=native, limits=Limits(**limits)),
        native=native.value,
        **({"limits": limits} if limits else {}),
    )
    if not limits:  # what is read within limits is written again all the same
        yield read
    else:
        yield read | {"strict": read["lenient"]} if "reject" in read["lenient"] else read
    wait = octets.partition(b";")[0].decode("utf-8", "surrogateescape")
    parsed = parse_wait(wait)
    yield {
        "id": f"parse-wait-{number}",
        "operation": "parse-wait",
        "requirements": [],
        "wait": hexed(wait),
        "parsed": {
            "kind": parsed.kind.value,
            "token": hexed(parsed.token),
            "from_exchange": parsed.from_exchange,
            "sender": hexed(parsed.sender),
        },
    }
    texts = [made(chance).decode("utf-8", chance.choice(("ignore", "surrogateescape")))]
    texts += [each.decode("utf-8", "ignore") for each in chance.choices(PIECES, k=3)]
    chance.shuffle(texts)
    flags = chance.random() < 0.3, chance.random() < 0.3
    fields = (*texts, *flags, payload)
    message = dict(zip(FIELDS, fields, strict=True))
    values: dict[str, Any] = {
        name: value if value is True else hexed(value)
        for name, value in message.items()
        if value is not False
    }
    got, broken = outcome(lambda: NativeMessage(encode(Message(*fields), native=native)))
    yield {
        "id": f"encode-{number}",
        "operation": "encode",
        "requirements": sorted(broken),
        "kind": kind,
        "native": native.value,
        "message": values,
        **(got if "reject" in got else {"payload": got["native"]}),
    }


def test_it_reads_and_writes_as_our_codec_does(page):
    chance = random.Random(7)
    asked = [vector for number in range(1500) for vector in beside(chance, number)]
    judged, failures = judge(page, asked)
    assert failures == []
    assert judged.keys() == {vector["id"] for vector in asked}
    reasons = {
        part["reject"]
        for vector in asked
        for part in (vector, vector.get("lenient", {}), vector.get("strict", {}))
        if "reject" in part
    }
    assert len(reasons) > 11


# ---- Its words ----


SUITE = "neffos-wire suite"
"""What the suite is called where it is the peer of a recording."""


def said(page: Page, asked: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give what it says of payloads, which are described by hex and kind."""
    told: list[dict[str, Any]] = page.run(
        f"""{json.dumps(asked)}.map(({{ hex, kind, ...options }}) => {{
              const pairs = hex.match(/../g) ?? [];
              const octets = Uint8Array.from(pairs, (pair) => parseInt(pair, 16));
              const payload = kind === "text" ? neffosCodec.textOf(octets) : octets;
              return neffosMeaning.explain(payload, options).saying;
            }})"""
    )
    return told


def heard() -> Iterator[tuple[dict[str, Any], set[str]]]:
    """Give the messages of the corpus, with what their senders are known to break there.

    Each is given once, and once more where the recording of a divergence has it: in that, the
    real peer breaks what is shown. What the suite says there may be wrong on purpose, and is left
    out.
    """
    known: dict[tuple[str, bool], set[str]] = {}
    for path in sorted(CORPUS.rglob("*.jsonl")):
        transcript = read_transcript(path)
        header = transcript.header
        is_divergence = "divergence" in header
        defects = header.get("defects", {})
        is_open: set[int] = set()
        for entry in transcript.entries:
            if not isinstance(entry.content, str | bytes) or not entry.content:
                continue  # the monitor says nothing of empty messages
            sender = "client" if entry.from_client else "server"
            asked = {
                "hex": octets_of(entry.content).hex(),
                "kind": "text" if isinstance(entry.content, str) else "binary",
                "sender": sender,
                "moment": "after" if entry.connection in is_open else "before",
                "native": header.get("native", "never"),
            }
            broken = {id_ for id_, role in defects.items() if role == sender}
            if is_divergence:
                broken.update(header["shows"])
            if not (is_divergence and header[sender]["peer"] == SUITE):
                known.setdefault((json.dumps(asked), is_divergence), set()).update(broken)
            if octets_of(entry.content)[:1] == b"A" and not entry.from_client:
                is_open.add(entry.connection)
    yield from ((json.loads(asked), defects) for (asked, _), defects in known.items())


NAMED_ALIKE = (
    ("NM-1", "FR-2"),  # the codec's word for what is no frame
    ("HS-1", "HS-11"),  # whether anything came before is not known
    ("AR-2", "SX-1"),
    ("AR-20", "AR-2"),  # whether it is a reply is not known
    ("AR-20", "AR-3"),
)
"""What the corpus calls a defect, and what one message alone is said to break in its place."""


def test_it_accuses_nobody_in_the_corpus_who_is_not_known_for_it(page):
    asked = list(heard())
    accused = 0
    for (what, defects), [saying] in zip(
        asked, said(page, [each for each, _ in asked]), strict=True
    ):
        broken = {each["requirement"] for each in saying["broken"]}
        accused += bool(broken)
        for known, named in NAMED_ALIKE:
            if known in defects:
                broken.discard(named)
        assert broken <= defects, (bytes.fromhex(what["hex"]), what, saying)
    assert len(asked) > 500
    assert accused > 20


def test_the_requirements_that_it_names_are_those_of_the_catalogue():
    source = "".join(path.read_text("utf-8") for path in (DOCS / "inspector").glob("*.js"))
    named = set(re.findall(r"\b(?:FR|HS|AR|NS|RM|EV|NM|TR|SX|SEC)-\d+\b", source))
    assert len(named) > 40
    assert named <= requirements().keys()


# ---- Its controls ----


def test_the_page_asks_for_its_own_files_alone_and_begins_with_an_example(fresh):
    asked = [each["request"]["url"] for each in fresh.happened("Network.requestWillBeSent")]
    names = {Path(url).name for url in asked if "/inspector/" in url}
    assert names == {"codec.js", "meaning.js", "page.js", "inspector.css"}
    assert len(fresh.rows()) == 7
    assert fresh.run("location.hash") == ""


def test_a_frame_that_is_typed_is_taken_apart(page):
    page.type("#fi-input", "$1;a@%!semicolon@%!é;lobby;say;0;1;hi; there")
    assert page.text("#fi-title") == "A text frame, 45 octets"
    rows = page.rows()
    assert list(rows) == ["wait", "namespace", "room", "event", "isError", "isNoOp", "body"]
    assert rows["wait"] == ["0 to 1", "$1", "the token of a client's ask, or of the reply to it"]
    assert rows["namespace"][:2] == ["3 to 20", "a;é"]
    assert rows["room"][:2] == ["22 to 26", "lobby"]
    assert rows["event"][:2] == ["28 to 30", "say"]
    assert rows["isError"][:2] == ["32", "false"]
    assert rows["isNoOp"][:2] == ["34", "true"]
    assert rows["body"] == ["36 to 44", "hi; there", "9 characters"]
    assert [page.sayings()[role][1] for role in ("client", "server")] == [[], []]


CLIENT, SERVER, EITHER = "client", "server", "either"
MEANINGS = [
    ("M", {}, CLIENT, "asks to be let in", []),
    ("Mxyz", {}, CLIENT, "asks to be let in", ["HS-2"]),
    ("A7f3", {}, SERVER, "acceptance with the connection id 7f3", []),
    ("A", {}, SERVER, "acceptance", ["HS-6"]),
    ("Hno", {}, SERVER, 'a refusal with the text "no"', []),
    ("H", {}, SERVER, "a refusal without a text", ["HS-15"]),
    ("A7f3", {"sender": "client"}, CLIENT, "the server's to send", ["HS-1"]),
    ("M", {"moment": "after"}, EITHER, "No frame", ["FR-2", "NM-1"]),
    ("hello", {}, EITHER, "No frame", ["FR-2", "NM-1"]),
    ("hello", {"native": "fallback"}, EITHER, 'the native message "hello"', []),
    ("M", {"native": "only"}, EITHER, 'the native message "M"', []),
    (";a;;b;0;0;", {"moment": "before"}, CLIENT, "sends the event b", ["HS-11", "HS-1"]),
    (";a;;b;0;0;", {"moment": "before"}, SERVER, "sends the event b", ["HS-12"]),
    (
        "$1;app;;_OnNamespaceConnect;0;0;",
        {},
        CLIENT,
        "asks the server to connect namespace app",
        [],
    ),
    ("$1;app;;_OnNamespaceConnect;0;0;", {}, SERVER, "to connect namespace app", ["AR-3", "AR-20"]),
    ("7;app;;_OnNamespaceConnect;0;0;", {}, CLIENT, "to connect namespace app", ["AR-2", "AR-20"]),
    (";app;;_OnNamespaceConnect;0;0;", {}, EITHER, "is ignored", ["NS-2"]),
    ("$1;app;x;_OnRoomLeave;0;1;", {}, CLIENT, "wants to leave room x", ["NS-10"]),
    ("$1;app;;_OnNamespaceConnect;1;0;bad namespace", {}, SERVER, "refuses to connect", []),
    ("$1;;;;;;", {}, SERVER, 'answers "done" to the client\'s ask $1: the empty reply', []),
    ("$1;;;;0;0;", {}, SERVER, "the empty reply", ["FR-13"]),
    ("7;app;;say;0;0;hi", {}, SERVER, "asks with the event say", []),
    ("7;app;;say;0;0;hi", {}, CLIENT, "answers the server's ask 7", []),
    (";app;;say;yes;0;hi", {}, EITHER, "sends the event say", ["FR-6"]),
    (";app;;say;1;0;", {}, EITHER, "an error", ["FR-9"]),
    (";app;;_OnRoomJoined;0;0;", {}, EITHER, "the event _OnRoomJoined", ["EV-5"]),
    ("#1;app;;say;0;0;", {}, EITHER, "asks with", ["AR-4"]),
    ("neffos(0x1;app;;say;0;0;", {}, EITHER, "asks with", ["SX-1"]),
    ("", {}, EITHER, "No message at all", ["FR-14"]),
]
"""What is typed, what is chosen, and what is said and linked as broken for a sender."""


def test_what_a_message_says_and_breaks_is_told_for_its_sender(page):
    for typed, options, role, sentence, broken in MEANINGS:
        page.fill(typed, **options)
        told = page.sayings()
        assert role in told, (typed, told)
        assert sentence in told[role][0]
        assert told[role][1] == broken, (typed, told)


def test_each_requirement_leads_to_its_page(page):
    page.type("#fi-input", ";app;;say;yes;0;hi")
    address = page.run("document.querySelector('.fi-saying a').getAttribute('href')")
    assert address == "requirements/FR-6.html"


def test_hex_is_read_as_people_write_it_and_kept_where_it_is_no_text(page):
    page.type("#fi-input", ";a;;b;0;0;é")
    page.click("#fi-form [value=binary]")
    page.click("#fi-form [value=hex]")
    assert page.value("#fi-input") == "3b 61 3b 3b 62 3b 30 3b 30 3b c3 a9"
    assert page.text("#fi-title") == "A binary frame, 12 octets"
    page.type("#fi-input", r"0x3b,0x61 3B:3b\x62 3b303b303b00ff0d")
    assert page.rows()["body"] == ["10 to 12", "00 ff 0d", "3 octets"]
    page.click("#fi-form [name=written][value=text]")
    assert "stays hex" in page.text("#fi-input-error")
    assert page.run("document.querySelector('#fi-form').elements.written.value") == "hex"
    page.type("#fi-input", "3b616")
    assert "one is missing" in page.text("#fi-input-error")
    assert page.run("document.querySelector('#fi-input').ariaInvalid") == "true"
    assert page.rows() == {}
    page.type("#fi-input", "zz")
    assert "not 'z'" in page.text("#fi-input-error")
    page.type("#fi-input", "3b61")
    page.click("#fi-form [name=written][value=text]")
    assert page.value("#fi-input") == ";a"
    assert page.text("#fi-input-error") == ""


def test_octets_that_are_no_utf8_are_shown_and_held_against_the_sender(page):
    page.click("#fi-form [value=hex]")
    page.type("#fi-input", "3b61ff3b3b623b303b303b6869")
    assert page.rows()["namespace"][:2] == ["1 to 2", r"a\xff"]
    assert page.sayings()["either"][1] == ["FR-12"]


def test_what_is_typed_is_never_markup(page):
    page.type("#fi-input", ";<img src=x onerror=alert(1)>;<b>;<i>;0;0;<script>")
    assert page.rows()["namespace"][1] == "<img src=x onerror=alert(1)>"
    assert page.run("document.querySelectorAll('#fi-result :is(img, b, i, script)').length") == 0


def test_a_link_gives_the_message_again(fresh, site):
    fresh.type("#fi-input", "$1;app;;say;0;0;100% +é\n#&=")
    fresh.click("#fi-form [value=binary]")
    fresh.choose("#fi-form [name=sender]", "server")
    fresh.choose("#fi-form [name=native]", "fallback")
    link = fresh.run("location.hash")
    fresh.open(site.as_uri() + link)
    assert fresh.value("#fi-input") == "$1;app;;say;0;0;100% +é\n#&="
    assert fresh.text("#fi-title").startswith("A binary frame")
    assert fresh.value("#fi-form [name=sender]") == "server"
    assert fresh.value("#fi-form [name=moment]") == "auto"
    assert fresh.value("#fi-form [name=native]") == "fallback"
    fresh.open(site.as_uri() + "#hex=3b613b3b623b303b303b00&kind=binary&sender=nobody")
    assert fresh.value("#fi-input") == "3b 61 3b 3b 62 3b 30 3b 30 3b 00"
    assert fresh.value("#fi-form [name=sender]") == "either"
    fresh.open(site.as_uri() + "#build-a-frame")
    assert fresh.text("#fi-title").startswith("A text frame")
    assert fresh.run("location.hash") == "#build-a-frame"


def test_a_message_of_a_mebibyte_is_shown_and_has_no_link(page):
    page.fill(";app;;say;0;0;" + "é" * (1 << 20))
    assert page.rows()["body"][2] == "1,048,576 characters"
    assert len(page.rows()["body"][1]) < 1000
    assert page.run("document.querySelector('#fi-copy-link').disabled") is True


def test_the_result_is_read_out_when_the_typing_has_stopped(fresh):
    fresh.type("#fi-input", ";app;;say;yes;0;hi")
    heard = fresh.run(
        """new Promise((done) => {
             const status = document.querySelector("#fi-status");
             const look = () => status.textContent.includes("FR-6") && done(status.textContent);
             new MutationObserver(look).observe(status, { childList: true });
             look();
           })"""
    )
    assert heard.startswith("A text frame, 18 octets. A peer sends the event say")
    assert heard.endswith("Breaks FR-6")
    live = "[...document.querySelectorAll('.fi [role=status]')].map((each) => each.ariaLive)"
    assert set(fresh.run(live)) == {"polite"}


def test_every_example_shows_something(page):
    names = page.run(
        "[...document.querySelectorAll('#fi-example-buttons button')].map((each) => each.innerText)"
    )
    assert len(names) > 10
    for number, name in enumerate(names, start=1):
        page.click(f"#fi-example-buttons button:nth-child({number})")
        assert page.sayings(), name
        assert page.text("#fi-input-error") == ""


# ---- The builder ----


def test_a_frame_is_built_from_its_fields(page):
    for name, value in {"wait": "$1", "namespace": "a;b", "event": "say", "body": "x;é"}.items():
        page.type(f"#fi-{name}", value)
    assert page.value("#fi-built") == "$1;a@%!semicolon@%!b;;say;0;0;x;é"
    page.click("#fi-is_no_op")
    wanted = encode(Message(wait="$1", namespace="a;b", event="say", is_no_op=True, body="x;é"))
    assert page.value("#fi-built") == wanted
    assert bytes.fromhex(page.value("#fi-built-hex")) == octets_of(wanted)
    page.click("#fi-build [value=binary]")
    page.click("#fi-build [value=hex]")
    assert page.value("#fi-body") == "78 3b c3 a9"
    page.type("#fi-body", "00ff")
    assert bytes.fromhex(page.value("#fi-built-hex")).endswith(b";0;1;\x00\xff")
    assert page.text("#fi-built-note") == "A binary frame of 32 octets."
    assert page.run("document.querySelector('#fi-copy').disabled") is True
    page.click("#fi-inspect")
    assert page.rows()["body"][1] == "00 ff"


def test_an_empty_reply_takes_its_short_form(page):
    page.type("#fi-wait", "$1")
    assert page.value("#fi-built") == "$1;;;;;;"
    assert "FR-13" in page.text("#fi-built-note")


def test_what_no_frame_can_carry_is_refused_at_its_field(page):
    page.type("#fi-wait", "a;b")
    page.type("#fi-room", "x@%!semicolon;")
    page.click("#fi-is_error")
    refused = {name: page.text(f"#fi-{name}-error") for name in ("wait", "room", "body")}
    assert "at 1 (FR-5)" in refused["wait"]
    assert "(FR-4)" in refused["room"]
    assert "(FR-9)" in refused["body"]
    assert page.text("#fi-namespace-error") == ""
    assert page.text("#fi-built-note") == "No frame can carry this; see wait, room, body."
    assert page.value("#fi-built") == ""
    page.type("#fi-wait", "ab")
    page.type("#fi-room", "x")
    page.type("#fi-body", "no")
    assert page.value("#fi-built") == "ab;;x;;1;0;no"


def test_tokens_are_made_of_the_right_form(page):
    page.click("#fi-client-token")
    client = page.value("#fi-wait")
    page.click("#fi-server-token")
    server = page.value("#fi-wait")
    assert parse_wait(client).kind == "client-ask"
    assert parse_wait(server).kind == "server-ask"
    assert len(client.rpartition("-")[2]) == len(server.rpartition("-")[2]) == 32
    assert client[1:] != server


def test_a_message_is_taken_into_the_builder_and_answered(page):
    page.type("#fi-input", "$1;app;lobby;say;0;0;hi")
    page.click("#fi-edit")
    assert page.value("#fi-built") == "$1;app;lobby;say;0;0;hi"
    page.click("#fi-answer")
    assert page.value("#fi-built") == "$1;app;lobby;say;0;0;"
    page.type("#fi-input", "$2;app;;_OnNamespaceConnect;0;0;")
    page.click("#fi-answer")
    assert page.value("#fi-built") == "$2;;;;;;"
    page.type("#fi-input", ";a\nb;;say;0;0;")
    page.click("#fi-edit")
    assert "does not fit" in page.text("#fi-action-note")


def test_what_was_built_is_copied(fresh):
    fresh.type("#fi-event", "say")
    # The clipboard is the machine's own; what the page would put there is enough.
    fresh.run(
        """globalThis.copied = [];
           Object.defineProperty(navigator, "clipboard", { configurable: true, value:
             { writeText: async (text) => { copied.push(text); } } });"""
    )
    fresh.click("#fi-copy")
    fresh.click("#fi-copy-hex")
    fresh.click("#fi-copy-link")
    frame, hexadecimal, link = fresh.run("copied")
    assert frame == ";;;say;0;0;"
    assert bytes.fromhex(hexadecimal) == b";;;say;0;0;"
    assert link.startswith("file://")
    assert "#message=" in link
    assert fresh.text("#fi-copy-note") == "Copied."


def test_without_a_clipboard_it_copies_as_a_selection(fresh):
    fresh.type("#fi-event", "say")
    fresh.run(
        """Object.defineProperty(navigator, "clipboard", { configurable: true, value: undefined });
           globalThis.copied = [];
           document.addEventListener("copy", (event) => copied.push(`${event.target.value}`));"""
    )
    fresh.click("#fi-copy")
    assert fresh.run("copied") == [";;;say;0;0;"]
    assert fresh.text("#fi-copy-note") == "Copied."


# ---- Who has no mouse, and small screens ----


def test_every_control_has_a_name_and_the_keyboard_reaches_it(page):
    nameless = page.run(
        """[...document.querySelectorAll(".fi :is(input, select, textarea)")]
             .filter((each) => each.labels.length !== 1).map((each) => each.id || each.name)"""
    )
    assert nameless == []
    controls = page.run(
        """[...document.querySelectorAll(
             ".fi :is(input:checked, input:not([type=radio]), select, textarea, button:enabled)",
           )].map((each, index) => (each.dataset.stop = index))"""
    )
    page.run("document.querySelector('#fi-input').focus()")
    reached = set()
    for _ in range(2 * len(controls)):
        reached.add(page.run("Number(document.activeElement.dataset.stop ?? -1)"))
        page.press("Tab")
    assert set(controls) <= reached
    page.run("document.querySelector('#fi-input').focus()")
    page.press("Tab")
    assert page.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_is_wider_than_the_screen(page, width):
    page.call(
        "Emulation.setDeviceMetricsOverride",
        width=width,
        height=800,
        deviceScaleFactor=1,
        mobile=width < 600,
    )
    try:
        token = "$" + "1234567890" * 20
        page.type("#fi-input", f"{token};{token};{token};say;{token};0;{token}")
        page.type("#fi-wait", token)
        assert page.run("document.documentElement.scrollWidth") <= width
        assert len(page.rows()) == 7
    finally:
        page.call("Emulation.clearDeviceMetricsOverride")
