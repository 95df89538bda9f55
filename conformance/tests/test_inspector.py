"""The frame inspector, in the browser that it is for.

The page is built by itself, as the site has it, and opened from its file in a Chromium without a
window. Its codec is asked every vector, and some thousand more that neffos_codec has answered; its
words are held to the corpus; and its controls are used as people use them. Nothing but its own
files may be asked for, and nothing may be complained about on the console.

A browser takes input at times of its own, later where the machine is busy. After each action a test
waits for what the page is expected to show, before it reads the rest: the page shows all that one
input changes at once.
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
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from neffos_codec import (
    FIELDS,
    CodecError,
    Decoding,
    FrameLimits,
    HandshakeAccept,
    HandshakeRefuse,
    Message,
    Native,
    NativeMessage,
    decode,
    decode_handshake,
    encode,
    parse_wait,
)
from neffos_conformance.wire.transcript import read_transcript
from neffos_protocol.catalogue import requirements

from .pages import expect

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

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

Vector = dict[str, Any]

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the page, built without the rest of the site."""
    folder = tmp_path_factory.mktemp("inspector")
    docs = folder / "docs"
    docs.mkdir()
    shutil.copy(DOCS / "inspector.md", docs)
    shutil.copytree(DOCS / "inspector", docs / "inspector")
    for name in ("index", "frame", "workbench"):
        content = "# Another page\n\n## Strict and lenient decoding\n"
        (docs / f"{name}.md").write_text(content, "utf-8")
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
def kept(chromium, site):
    """The page for all tests: to open another takes much longer."""
    return chromium.open(site.as_uri(), permissions=["clipboard-read", "clipboard-write"])


@pytest.fixture
def page(chromium, site, kept):
    """The page as it is, with its forms as they were."""
    kept.evaluate(
        """() => {
             for (const form of document.querySelectorAll(".fi form")) {
               form.reset();
               form.dispatchEvent(new Event("input", { bubbles: true }));
             }
           }"""
    )
    yield kept
    kept.evaluate("0")  # what has happened until now has arrived then
    chromium.check(own(site))


def load(page: Page, site: Path, fragment: str = "") -> None:
    """Load the page again, or a place in it."""
    page.goto("about:blank")  # with another part behind # alone, it would not be loaded
    page.goto(site.as_uri() + fragment)


def own(site: Path) -> str:
    """Give the address of the folder that the page may ask for files of."""
    return site.parent.as_uri() + "/"


def answered(page: Page, function: str, question: Any) -> Any:
    """Give what a function in the page answers.

    Both go as JSON, in which surrogates that stand alone are escaped.
    """
    call = f"(question) => JSON.stringify(({function})(JSON.parse(question)))"
    return json.loads(page.evaluate(call, json.dumps(question)))


def fill(page: Page, text: str, **options: str) -> None:
    """Put a message and what is known of it into the form, all at once."""
    usual = {"sender": "either", "moment": "auto", "native": "never"}
    page.evaluate(
        """([text, options]) => {
             const input = document.querySelector("#fi-input");
             for (const [name, value] of Object.entries(options)) {
               input.form.elements[name].value = value;
             }
             input.value = text;
             input.dispatchEvent(new Event("input", { bubbles: true }));
           }""",
        [text, usual | options],
    )


def choose(form: Locator, group: str, option: str) -> None:
    """Choose one of a group of options."""
    of_group = form.get_by_role("group", name=group, exact=True)
    of_group.get_by_label(option, exact=True).click()


def rows(page: Page) -> dict[str, list[str]]:
    """Give the table of fields: bytes, value and meaning by name."""
    cells: list[list[str]] = page.evaluate(
        """[...document.querySelectorAll(".fi-table tbody tr")]
             .map((row) => [...row.cells].map((cell) => cell.innerText))"""
    )
    return {name: rest for name, *rest in cells}


def expect_meaning(page: Page, name: str, value: str) -> None:
    """Wait until the table of fields gives this value for a field."""
    row = page.locator(".fi-table tbody tr").filter(has=page.locator(f"th:text-is('{name}')"))
    expect(row.locator("td").nth(1)).to_have_text(value)


def sayings(page: Page) -> dict[str, tuple[str, list[str]]]:
    """Give, by the sender, the sentence and the requirements that are broken."""
    found: list[tuple[str, str, list[str]]] = page.evaluate(
        """[...document.querySelectorAll(".fi-saying")].map((saying) => [
             saying.dataset.role,
             saying.querySelector(".fi-sentence").innerText,
             [...saying.querySelectorAll(":scope > ul a")].map((link) => link.innerText),
           ])"""
    )
    return {role: (sentence, broken) for role, sentence, broken in found}


# ---- Its codec ----


def judge(page: Page, asked: list[Vector]) -> tuple[dict[str, int], list[list[str]]]:
    """Ask the codec of the page; give how often each vector was judged, and what went wrong."""
    page.evaluate(JUDGE.read_text("utf-8"))
    judged = answered(page, "judgeVectors", asked)
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
    """Make bytes that look like a frame, more or less."""
    separators = chance.choice((0, 5, 6, 6, 6, 7))
    parts = [b"".join(chance.choices(PIECES, k=chance.choice((0, 0, 1, 1, 2))))]
    for number in range(separators):
        is_flag = number in (3, 4) and chance.random() < 0.8
        few = (b"0", b"1", b"") if is_flag else PIECES
        parts.append(b"".join(chance.choices(few, k=1 if is_flag else chance.choice((0, 1, 2)))))
    return b";".join(parts)


def bytes_of(content: str | bytes) -> bytes:
    return content.encode("utf-8", "surrogateescape") if isinstance(content, str) else content


def hexed(content: str | bytes) -> Any:
    data = bytes_of(content)
    return {"hex": data.hex()} if data else ""


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
    data, kind = made(chance), chance.choice(("text", "binary"))
    payload = data.decode("utf-8", "surrogateescape") if kind == "text" else data
    native = chance.choice(list(Native))
    limits: dict[str, int] = {}
    if chance.random() < 0.3:
        names = chance.sample(("payload", "field"), chance.choice((1, 2)))
        limits = {name: chance.randrange(24) for name in names}
    common: Vector = {"kind": kind, "payload": hexed(payload)}

    def reads(operation: str, call: Any, **more: Any) -> Vector:
        lenient, broken = outcome(lambda: call(Decoding.LENIENT))
        strict, more_broken = outcome(lambda: call(Decoding.STRICT))
        return {
            "id": f"{operation}-{number}",
            "operation": operation,
            "requirements": sorted(broken | more_broken),
            "lenient": lenient,
            "strict": strict,
            **common,
            **more,
        }

    yield reads("decode-handshake", lambda reading: decode_handshake(payload, decoding=reading))
    read = reads(
        "decode",
        lambda reading: decode(
            payload, decoding=reading, native=native, limits=FrameLimits(**limits)
        ),
        native=native.value,
        **({"limits": limits} if limits else {}),
    )
    if not limits:  # what is read within limits is written again all the same
        yield read
    else:
        yield read | {"strict": read["lenient"]} if "reject" in read["lenient"] else read
    wait = data.partition(b";")[0].decode("utf-8", "surrogateescape")
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
    told: list[dict[str, Any]] = answered(
        page,
        """(asked) => asked.map(({ hex, kind, ...options }) => {
             const pairs = hex.match(/../g) ?? [];
             const bytes = Uint8Array.from(pairs, (pair) => parseInt(pair, 16));
             const payload = kind === "text" ? neffosCodec.textOf(bytes) : bytes;
             return neffosMeaning.explain(payload, options).saying;
           })""",
        asked,
    )
    return told


def heard() -> Iterator[tuple[dict[str, Any], set[str]]]:
    """Give the messages of the corpus, with what their senders are known to break there.

    Each is given once, and once more where the recording of a difference has it: in that, the
    peer breaks what is shown. What the suite says there may be faulty intentionally, and is left
    out.
    """
    known: dict[tuple[str, bool], set[str]] = {}
    for path in sorted(CORPUS.rglob("*.jsonl")):
        transcript = read_transcript(path)
        header = transcript.header
        is_difference = "difference" in header
        defects = header.get("defects", {})
        is_open: set[int] = set()
        for entry in transcript.entries:
            if not isinstance(entry.content, str | bytes) or not entry.content:
                continue  # the monitor says nothing of empty messages
            sender = "client" if entry.from_client else "server"
            asked = {
                "hex": bytes_of(entry.content).hex(),
                "kind": "text" if isinstance(entry.content, str) else "binary",
                "sender": sender,
                "moment": "after" if entry.connection in is_open else "before",
                "native": header.get("native", "never"),
            }
            broken = {id_ for id_, role in defects.items() if role == sender}
            if is_difference:
                broken.update(header["shows"])
            if not (is_difference and header[sender]["peer"] == SUITE):
                known.setdefault((json.dumps(asked), is_difference), set()).update(broken)
            if bytes_of(entry.content)[:1] == b"A" and not entry.from_client:
                is_open.add(entry.connection)
    yield from ((json.loads(asked), defects) for (asked, _), defects in known.items())


NAMED_ALIKE = (
    ("NM-1", "FR-2"),  # the codec's word for what is not a frame
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


def test_the_page_asks_for_its_own_files_alone_and_begins_with_an_example(page, site, chromium):
    load(page, site)
    names = {Path(url).name for url in chromium.asked if "/inspector/" in url}
    assert names == {"codec.js", "meaning.js", "page.js", "inspector.css"}
    assert len(rows(page)) == 7
    assert page.evaluate("location.hash") == ""


def test_a_frame_that_is_typed_is_taken_apart(page):
    page.locator("#fi-input").fill("$1;a@%!semicolon@%!é;lobby;say;0;1;hi; there")
    expect(page.locator("#fi-title")).to_have_text("A text frame, 45 bytes")
    found = rows(page)
    assert list(found) == ["wait", "namespace", "room", "event", "isError", "isNoOp", "body"]
    assert found["wait"] == ["0 to 1", "$1", "the token of a client's ask, or of the reply to it"]
    assert found["namespace"][:2] == ["3 to 20", "a;é"]
    assert found["room"][:2] == ["22 to 26", "lobby"]
    assert found["event"][:2] == ["28 to 30", "say"]
    assert found["isError"][:2] == ["32", "false"]
    assert found["isNoOp"][:2] == ["34", "true"]
    assert found["body"] == ["36 to 44", "hi; there", "9 characters"]
    assert [sayings(page)[role][1] for role in ("client", "server")] == [[], []]


CLIENT, SERVER, EITHER = "client", "server", "either"
MEANINGS = [
    ("M", {}, CLIENT, "asks to be accepted", []),
    ("Mxyz", {}, CLIENT, "asks to be accepted", ["HS-2"]),
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
    (";app;;_OnNamespaceConnect;0;0;", {}, EITHER, "is ignored", ["NS-20"]),
    ("$1;app;x;_OnRoomLeave;0;1;", {}, CLIENT, "wants to leave room x", ["NS-20"]),
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
        fill(page, typed, **options)
        told = sayings(page)
        assert role in told, (typed, told)
        assert sentence in told[role][0]
        assert told[role][1] == broken, (typed, told)


def test_each_requirement_leads_to_its_page(page):
    page.locator("#fi-input").fill(";app;;say;yes;0;hi")
    link = page.locator(".fi-saying a").first
    expect(link).to_have_attribute("href", "requirements/FR-6.html")


def test_hex_is_read_as_people_write_it_and_kept_where_it_is_no_text(page):
    form, message = page.locator("#fi-form"), page.get_by_label("Message", exact=True)
    error = page.locator("#fi-input-error")
    message.fill(";a;;b;0;0;é")
    choose(form, "Sent as a message of", "binary")
    choose(form, "Written as", "hex")
    expect(message).to_have_value("3b 61 3b 3b 62 3b 30 3b 30 3b c3 a9")
    expect(page.locator("#fi-title")).to_have_text("A binary frame, 12 bytes")
    message.fill(r"0x3b,0x61 3B:3b\x62 3b303b303b00ff0d")
    expect_meaning(page, "body", "00 ff 0d")
    assert rows(page)["body"] == ["10 to 12", "00 ff 0d", "3 bytes"]
    choose(form, "Written as", "text")
    expect(error).to_contain_text("stays hex")
    expect(form.locator("[name=written]:checked")).to_have_value("hex")
    message.fill("3b616")
    expect(error).to_contain_text("one is missing")
    expect(message).to_have_attribute("aria-invalid", "true")
    assert rows(page) == {}
    message.fill("zz")
    expect(error).to_contain_text("not 'z'")
    message.fill("3b61")
    choose(form, "Written as", "text")
    expect(message).to_have_value(";a")
    expect(error).to_have_text("")


def test_bytes_that_are_no_utf8_are_shown_and_held_against_the_sender(page):
    choose(page.locator("#fi-form"), "Written as", "hex")
    page.locator("#fi-input").fill("3b61ff3b3b623b303b303b6869")
    expect_meaning(page, "namespace", r"a\xff")
    assert rows(page)["namespace"][:2] == ["1 to 2", r"a\xff"]
    assert sayings(page)["either"][1] == ["FR-12"]


def test_what_is_typed_is_never_markup(page):
    page.locator("#fi-input").fill(";<img src=x onerror=alert(1)>;<b>;<i>;0;0;<script>")
    expect_meaning(page, "namespace", "<img src=x onerror=alert(1)>")
    expect(page.locator("#fi-result :is(img, b, i, script)")).to_have_count(0)


def test_a_link_gives_the_message_again(page, site):
    form = page.locator("#fi-form")
    page.locator("#fi-input").fill("$1;app;;say;0;0;100% +é\n#&=")
    choose(form, "Sent as a message of", "binary")
    form.locator("[name=sender]").select_option("server")
    form.locator("[name=native]").select_option("fallback")
    page.wait_for_function(
        "['kind', 'sender', 'native'].every((each) => location.hash.includes(each))"
    )
    load(page, site, page.evaluate("location.hash"))
    expect(page.locator("#fi-input")).to_have_value("$1;app;;say;0;0;100% +é\n#&=")
    expect(page.locator("#fi-title")).to_contain_text("A binary frame")
    expect(page.locator("#fi-form [name=sender]")).to_have_value("server")
    expect(page.locator("#fi-form [name=moment]")).to_have_value("auto")
    expect(page.locator("#fi-form [name=native]")).to_have_value("fallback")


def test_a_link_gives_bytes_and_nothing_that_there_is_not(page, site):
    load(page, site, "#hex=3b613b3b623b303b303b00&kind=binary&sender=nobody")
    expect(page.locator("#fi-input")).to_have_value("3b 61 3b 3b 62 3b 30 3b 30 3b 00")
    expect(page.locator("#fi-form [name=sender]")).to_have_value("either")


def test_a_link_to_a_section_is_left_alone(page, site):
    load(page, site, "#build-a-frame")
    expect(page.locator("#fi-title")).to_contain_text("A text frame")
    assert page.evaluate("location.hash") == "#build-a-frame"


def test_a_message_of_a_mebibyte_is_shown_and_has_no_link(page):
    fill(page, ";app;;say;0;0;" + "é" * (1 << 20))
    assert rows(page)["body"][2] == "1,048,576 characters"
    assert len(rows(page)["body"][1]) < 1000
    expect(page.locator("#fi-copy-link")).to_be_disabled()


def test_the_result_is_read_out_when_the_typing_has_stopped(page):
    page.locator("#fi-input").fill(";app;;say;yes;0;read out")
    expect(page.locator("#fi-status")).to_have_text(
        re.compile(r"^A text frame, 24 bytes\. A peer sends the event say.*Breaks FR-6$")
    )
    live = page.locator(".fi [role=status]").evaluate_all(
        "(statuses) => statuses.map((each) => each.ariaLive)"
    )
    assert set(live) == {"polite"}


def test_every_example_shows_something(page):
    examples = page.locator("#fi-example-buttons button").all()
    assert len(examples) > 10
    for example in examples:
        fill(page, "")
        example.click()
        expect(page.locator("#fi-input")).not_to_have_value("")
        assert sayings(page), example.inner_text()
        expect(page.locator("#fi-input-error")).to_have_text("")


# ---- The builder ----


def test_a_frame_is_built_from_its_fields(page):
    for name, value in {"wait": "$1", "namespace": "a;b", "event": "say", "body": "x;é"}.items():
        page.locator(f"#fi-{name}").fill(value)
    expect(page.locator("#fi-built")).to_have_value("$1;a@%!semicolon@%!b;;say;0;0;x;é")
    page.locator("#fi-is_no_op").click()
    wanted = encode(Message(wait="$1", namespace="a;b", event="say", is_no_op=True, body="x;é"))
    expect(page.locator("#fi-built")).to_have_value(wanted)
    assert bytes.fromhex(page.locator("#fi-built-hex").input_value()) == bytes_of(wanted)
    choose(page.locator("#fi-build"), "Sent as a message of", "binary")
    choose(page.locator("#fi-build"), "Body written as", "hex")
    expect(page.locator("#fi-body")).to_have_value("78 3b c3 a9")
    page.locator("#fi-body").fill("00ff")
    expect(page.locator("#fi-built-note")).to_have_text("A binary frame of 32 bytes.")
    assert bytes.fromhex(page.locator("#fi-built-hex").input_value()).endswith(b";0;1;\x00\xff")
    expect(page.locator("#fi-copy")).to_be_disabled()
    page.locator("#fi-inspect").click()
    expect_meaning(page, "body", "00 ff")


def test_an_empty_reply_takes_its_short_form(page):
    page.locator("#fi-wait").fill("$1")
    expect(page.locator("#fi-built")).to_have_value("$1;;;;;;")
    expect(page.locator("#fi-built-note")).to_contain_text("FR-13")


def test_what_no_frame_can_carry_is_refused_at_its_field(page):
    page.locator("#fi-wait").fill("a;b")
    page.locator("#fi-room").fill("x@%!semicolon;")
    page.locator("#fi-is_error").click()
    expect(page.locator("#fi-wait-error")).to_contain_text("at 1 (FR-5)")
    expect(page.locator("#fi-room-error")).to_contain_text("(FR-4)")
    expect(page.locator("#fi-body-error")).to_contain_text("(FR-9)")
    expect(page.locator("#fi-namespace-error")).to_have_text("")
    expect(page.locator("#fi-built-note")).to_have_text(
        "No frame can carry this; see wait, room, body."
    )
    expect(page.locator("#fi-built")).to_have_value("")
    page.locator("#fi-wait").fill("ab")
    page.locator("#fi-room").fill("x")
    page.locator("#fi-body").fill("no")
    expect(page.locator("#fi-built")).to_have_value("ab;;x;;1;0;no")


def test_tokens_are_made_of_the_right_form(page):
    wait = page.locator("#fi-wait")
    page.locator("#fi-client-token").click()
    expect(wait).not_to_have_value("")
    client = wait.input_value()
    page.locator("#fi-server-token").click()
    expect(wait).not_to_have_value(client)
    server = wait.input_value()
    assert parse_wait(client).kind == "client-ask"
    assert parse_wait(server).kind == "server-ask"
    assert len(client.rpartition("-")[2]) == len(server.rpartition("-")[2]) == 32
    assert client[1:] != server


def test_a_message_is_taken_into_the_builder_and_answered(page):
    page.locator("#fi-input").fill("$1;app;lobby;say;0;0;hi")
    page.locator("#fi-edit").click()
    expect(page.locator("#fi-built")).to_have_value("$1;app;lobby;say;0;0;hi")
    page.locator("#fi-answer").click()
    expect(page.locator("#fi-built")).to_have_value("$1;app;lobby;say;0;0;")
    page.locator("#fi-input").fill("$2;app;;_OnNamespaceConnect;0;0;")
    page.locator("#fi-answer").click()
    expect(page.locator("#fi-built")).to_have_value("$2;;;;;;")
    page.locator("#fi-input").fill(";a\nb;;say;0;0;")
    page.locator("#fi-edit").click()
    expect(page.locator("#fi-action-note")).to_contain_text("does not fit")


def test_what_was_built_is_copied(page):
    page.locator("#fi-event").fill("say")

    def copied(button: str, note: str) -> str:
        page.locator(button).click()
        expect(page.locator(note)).to_have_text("Copied.")
        text: str = page.evaluate("navigator.clipboard.readText()")
        return text

    assert copied("#fi-copy", "#fi-copy-note") == ";;;say;0;0;"
    page.locator("#fi-event").fill("said")
    expect(page.locator("#fi-copy-note")).to_have_text("")
    assert bytes.fromhex(copied("#fi-copy-hex", "#fi-copy-note")) == b";;;said;0;0;"
    link = copied("#fi-copy-link", "#fi-action-note")
    assert link.startswith("file://")
    assert "#message=" in link


def test_without_a_clipboard_it_copies_as_a_selection(page):
    page.locator("#fi-event").fill("say")
    page.evaluate(
        """() => {
             const none = { configurable: true, value: undefined };
             Object.defineProperty(navigator, "clipboard", none);
             globalThis.copied = [];
             document.addEventListener("copy", (event) => copied.push(`${event.target.value}`));
           }"""
    )
    page.locator("#fi-copy").click()
    expect(page.locator("#fi-copy-note")).to_have_text("Copied.")
    assert page.evaluate("copied") == [";;;say;0;0;"]
    page.evaluate("delete navigator.clipboard")  # and it is the browser's own again


# ---- Who has no mouse, and small screens ----


def test_every_control_has_a_name_and_the_keyboard_reaches_it(page):
    page.locator("#fi-input").fill("$1;app;;say;0;0;hi")  # with which every button can be used
    expect(page.locator(".fi button:disabled")).to_have_count(0)
    fields = page.locator(".fi :is(input, select, textarea)")
    nameless = fields.evaluate_all(
        """(fields) => fields.filter((each) => each.labels.length !== 1)
             .map((each) => each.id || each.name)"""
    )
    assert nameless == []
    controls = page.locator(
        ".fi :is(input:checked, input:not([type=radio]), select, textarea, button:enabled)"
    ).evaluate_all("(controls) => controls.map((each, index) => (each.dataset.stop = index))")
    assert len(controls) > 30
    page.locator("#fi-input").focus()
    reached = set()
    for _ in range(2 * len(controls)):
        reached.add(page.evaluate("Number(document.activeElement.dataset.stop ?? -1)"))
        tab(page)
    assert set(controls) <= reached
    page.locator("#fi-input").focus()
    tab(page)
    assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


def tab(page: Page) -> None:
    """Go to the next stop of the keyboard."""
    page.evaluate("globalThis.left = document.activeElement")
    page.keyboard.press("Tab")
    page.wait_for_function("document.activeElement !== globalThis.left")


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_is_wider_than_the_screen(page, width):
    # Playwright would have to open another page for a telephone, which takes much longer.
    screen = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600}
    session = page.context.new_cdp_session(page)
    session.send("Emulation.setDeviceMetricsOverride", screen)
    try:
        token = "$" + "1234567890" * 20
        page.locator("#fi-input").fill(f"{token};{token};{token};say;{token};0;{token}")
        page.locator("#fi-wait").fill(token)
        expect_meaning(page, "body", token)
        expect(page.locator("#fi-built")).to_have_value(re.compile(re.escape(token)))
        page.wait_for_function("(width) => innerWidth === width", arg=width)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        assert len(rows(page)) == 7
    finally:
        session.detach()  # which ends what it has set


# ---- What is heard of a page meanwhile ----


def test_all_that_a_page_may_do_wrong_is_heard(chromium):
    page = chromium.open("about:blank")
    # Nobody listens there; of a connection that comes about, the address is heard.
    with page.expect_event("console", lambda message: "/socket" in message.text):
        page.evaluate(
            """() => {
                 console.info("/written");
                 reportError(new Error("/thrown"));
                 new Image().src = "http://127.0.0.1:9/image";
                 new WebSocket("ws://127.0.0.1:9/socket");
               }"""
        )
    page.context.close()
    heard = " ".join([*chromium.asked, *chromium.said])
    for each in ("written", "thrown", "image", "socket"):
        assert f"/{each}" in heard


@pytest.mark.parametrize(
    ("asked", "said", "is_wrong"),
    [
        (["file:///site/a.html", "file:///site/b/c.js"], [], False),
        (["file:///site/a.html", "file:///sites"], [], True),
        (["http://127.0.0.1:9/"], [], True),
        ([], ["a word"], True),
    ],
)
def test_what_is_heard_is_judged(chromium, asked, said, is_wrong):
    chromium.asked, chromium.said = asked, said
    with pytest.raises(AssertionError) if is_wrong else nullcontext():
        chromium.check("file:///site/")
    chromium.check("file:///site/")  # of what was judged nothing is left
