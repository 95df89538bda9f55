"""Recordings as sequence diagrams: what is written on the arrows, and how it is drawn."""

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner
from rich.cells import cell_len
from rich.console import Console

from neffos_conformance.cli.main import cli
from neffos_conformance.recordings import checking, sequence
from neffos_conformance.recordings.page import MAX_LIFELINES, page, picture, svg
from neffos_conformance.recordings.sequence import (
    KEPT,
    SequenceReader,
    read_diagram,
)
from neffos_conformance.recordings.show import draw
from neffos_conformance.wire.text import clock, hexdump, shorten, wrap
from neffos_conformance.wire.transcript import Entry, UnreadableLine
from neffos_protocol import conversation
from neffos_protocol.catalogue import requirements

RECORDED = sorted((Path(__file__).parents[1] / "transcripts").rglob("visit.jsonl"))
Kind = sequence.ArrowKind
EVIL = '</svg></title><script>alert(1)</script>"><img src=x onerror=alert(2)>\u202e\x1b[31m\x00'

HEADER = {
    "format": 2,
    "scenario": "a test",
    "client": {"peer": "ours", "version": "1"},
    "server": {"peer": "theirs", "version": "2"},
    "recorded": "2026-11-23T17:55:39+00:00",
    "how": "by hand",
}


def line(connection: int, sender: str, text: str | bytes | None = None, **more) -> dict:
    if isinstance(text, bytes):
        more |= {"kind": "binary", "base64": base64.b64encode(text).decode()}
    elif text is not None:
        more["text"] = text
    return {"time": 0.5, "connection": connection, "from": sender, **more}


def c(text: str | bytes, connection: int = 1) -> dict:
    return line(connection, "client", text)


def s(text: str | bytes, connection: int = 1) -> dict:
    return line(connection, "server", text)


def end(code: int | None, sender: str = "server", connection: int = 1, reason: str = "") -> dict:
    return line(connection, sender, closed={"code": code, "reason": reason})


OPEN = [c("M"), s("Aann")]
CONNECTED = [*OPEN, c("$1;app;;_OnNamespaceConnect;0;0;"), s("$1;;;;;;")]


def recording(*lines: dict | str, **header) -> bytes:
    return b"".join(
        (each if isinstance(each, str) else json.dumps(each)).encode() + b"\n"
        for each in ({**HEADER, **header}, *lines)
    )


def read(*lines: dict | str, header: dict | None = None, **options) -> sequence.Diagram:
    return read_diagram(io.BytesIO(recording(*lines, **(header or {}))), **options)


def drawn(diagram: sequence.Diagram, width: int = 80, encoding: str = "utf-8", **options) -> str:
    out = io.TextIOWrapper(io.BytesIO(), encoding)
    console = Console(file=out, width=width, highlight=False, emoji=False, markup=False)
    draw(console, diagram, "a.jsonl", **options)
    out.flush()
    return out.buffer.getvalue().decode(encoding)


def run(text: bytes, *arguments: str):
    return CliRunner().invoke(cli, ["show", *arguments, "-"], input=text)


# -------------------------------------------------------------------- words


@pytest.mark.parametrize(
    ("lines", "kind", "words"),
    [
        ([c("M")], Kind.HANDSHAKE, "handshake request"),
        (OPEN, Kind.HANDSHAKE, "accepted with ID ann"),
        ([c("M"), s("Hnot you")], Kind.ERROR, 'handshake refused: "not you"'),
        (CONNECTED[:3], Kind.ASK, "asks to connect app ($1)"),
        (CONNECTED, Kind.REPLY, "empty reply to $1 (connect app)"),
        (
            [*CONNECTED[:3], s("$1;app;;_OnNamespaceConnect;1;0;bad namespace")],
            Kind.ERROR,
            'error reply "bad namespace" to $1 (connect app)',
        ),
        (
            [*OPEN, c("$1;;;_OnNamespaceConnect;0;0;")],
            Kind.ASK,
            "asks to connect the empty namespace ($1)",
        ),
        (
            [*OPEN, c("$1;app;lobby;_OnRoomJoin;0;0;")],
            Kind.ASK,
            "asks to join room lobby of app ($1)",
        ),
        (
            [*OPEN, c("$1;app;lobby;_OnRoomLeave;0;0;")],
            Kind.ASK,
            "asks to leave room lobby of app ($1)",
        ),
        (
            [*OPEN, s("7;app;;_OnNamespaceDisconnect;0;0;")],
            Kind.ASK,
            "asks to disconnect app (7)",
        ),
        (
            [*OPEN, c(";app;;_OnNamespaceConnect;0;0;")],
            Kind.ASK,
            "wants to connect app, without a token",
        ),
        ([*OPEN, c(";app;room;chat;0;0;hi")], Kind.EVENT, 'event chat in app/room "hi"'),
        ([*OPEN, c(";app;;chat;0;1;")], Kind.EVENT, "event chat in app, a no-op"),
        (
            [*OPEN, c(";a@%!semicolon@%!b;;two words;0;0;")],
            Kind.EVENT,
            'event "two words" in "a;b"',
        ),
        ([*OPEN, c(b";app;;chat;0;0;\x00")], Kind.EVENT, "event chat in app [1 byte]"),
        ([*OPEN, c("$2;app;;add;0;0;1")], Kind.ASK, 'asks with event add in app "1" ($2)'),
        (
            [*OPEN, c("$2;app;;add;0;0;1"), s("$2;app;;add;0;0;2")],
            Kind.REPLY,
            'reply "2" to $2 (event add in app)',
        ),
        (
            [*OPEN, s("9;app;;add;0;0;1"), c("9;app;;add;1;0;no")],
            Kind.ERROR,
            'error reply "no" to 9 (event add in app)',
        ),
        (
            [*OPEN, c("$!2;app;;add;0;0;"), s("$2;app;;add;0;0;2")],
            Kind.REPLY,
            'reply "2" to $2 (event add in app)',
        ),
        (
            [*OPEN, s("$2;app;;add;0;0;2")],
            Kind.EVENT,
            'event add in app "2", with a client\'s token $2',
        ),
        ([*OPEN, s("$5;;;;;;")], Kind.REPLY, "empty reply to $5, which is not pending"),
        (
            [*CONNECTED, s("$1;app;;chat;0;0;again")],
            Kind.REPLY,
            'reply "again" to $1, which is settled',
        ),
        (
            [c("M"), s("Hno"), s("$1;;;;;;")],
            Kind.STRAY,
            "a message after the handshake was refused",
        ),
        (
            [*OPEN, s("$5;app;;chat;1;0;no")],
            Kind.ERROR,
            'error reply "no" to $5, which is not pending',
        ),
        ([*OPEN, s(";app;;chat;1;0;no")], Kind.ERROR, 'error in event chat in app: "no"'),
        (
            [*OPEN, c("M")],
            Kind.STRAY,
            "not a frame: a frame has 6 ';' before its body, this has 0",
        ),
        ([*OPEN, c("")], Kind.STRAY, "an empty message, which is ignored"),
        ([end(1000)], Kind.CLOSE, "close 1000"),
        ([end(1008, reason="go\naway")], Kind.CLOSE, 'close 1008 "go\\naway"'),
        ([end(None)], Kind.CLOSE, "ends without a close frame"),
        (
            [line(1, "client", opened={"path": "/chat?a=1", "headers": {}})],
            Kind.OPENING,
            "opens /chat?a=1",
        ),
    ],
)
def test_an_arrow_says_what_it_is_in_words_of_the_protocol(lines, kind, words):
    arrow = read(*lines).rows[-1]
    assert (arrow.kind, arrow.words) == (kind, words)


@pytest.mark.parametrize(
    ("mode", "lines"),
    [("only", [c("M"), c("hello")]), ("fallback", [*OPEN, c("hello")])],
)
def test_native_messages_are_called_so_where_the_header_names_the_mode(mode, lines):
    diagram = read(*lines, header={"native": mode})
    assert diagram.rows[-1].words == 'native message "hello"'
    assert not diagram.violations
    assert read(*OPEN, c("hello")).violations == {"NM-1": 1}


def test_each_connection_has_a_conversation_of_its_own():
    diagram = read(*OPEN, c("M", 2), s("Abob", 2), s("$1;;;;;;", 2))
    assert [row.words for row in diagram.rows][2:4] == ["handshake request", "accepted with ID bob"]
    assert diagram.connections == [1, 2]
    assert diagram.rows[-1].violations


def test_names_and_bodies_are_shortened():
    words = read(*OPEN, c(f";{'n' * 99};;e;0;0;{'b' * 9999}")).rows[-1].words
    assert words == f'event e in {"n" * 35}… "{"b" * 39}…"'


# -------------------------------------------------------------------- violations


def test_a_violation_belongs_to_the_arrow_that_shows_it():
    diagram = read(*CONNECTED, c(";other;;chat;0;0;"), c(";app;;chat;0;0;"))
    assert [len(row.violations) for row in diagram.rows] == [0, 0, 0, 0, 1, 0]
    [violation] = diagram.rows[4].violations
    assert violation.requirement == "NS-11"
    assert violation.role == "client"
    assert violation.sentence.startswith("A peer MUST NOT send an event")
    assert "'other'" in violation.explanation
    assert not violation.is_known


def test_a_violation_that_the_header_names_is_called_known():
    diagram = read(*CONNECTED, s("$1;;;;;;"), header={"defects": {"AR-22": "server"}})
    assert [violation.is_known for violation in diagram.rows[-1].violations] == [True]
    assert "AR-22 violated by the server (known)" in drawn(diagram)


def test_nothing_is_checked_after_an_end():
    assert not read(*CONNECTED, end(1000), c(";other;;chat;0;0;")).violations


def test_a_violation_is_shown_below_its_arrow_with_its_sentence():
    lines = drawn(read(*CONNECTED, c(";other;;chat;0;0;"))).splitlines()
    index = next(index for index, each in enumerate(lines) if "event chat in other" in each)
    assert "✗ NS-11 violated by the client: an event for namespace" in lines[index + 2]
    assert any(requirements()["NS-11"].text[:40] in each for each in lines[index:])
    assert "1 violation: NS-11 (1)." in lines[-1]


def test_connections_too_many_are_shown_and_not_checked_to_their_end(monkeypatch):
    monkeypatch.setattr(checking, "MAX_CONNECTIONS", 2)
    monkeypatch.setattr(sequence, "MAX_CONNECTIONS", 2)
    diagram = read(*(c("nonsense", number) for number in (1, 2, 3, 4, 1, 2)))
    assert [len(row.violations) for row in diagram.rows] == [2, 2, 2, 2, 0, 0]
    assert diagram.unchecked == 2
    shown = drawn(diagram)
    assert "Not checked to the end, with too many at a time: 2 connections." in shown


def test_asks_that_are_never_answered_are_forgotten(monkeypatch):
    monkeypatch.setattr(conversation, "MAX_REMEMBERED", 2)
    asks = [c(f"${number};app;;e;0;0;") for number in range(3)]
    replies = [s(f"${number};app;;e;0;0;") for number in range(3)]
    rows = read(*CONNECTED, *asks, *replies).rows[-3:]
    assert [row.kind for row in rows] == [Kind.EVENT, Kind.REPLY, Kind.REPLY]


# -------------------------------------------------------------------- what is left out


LONG = [*CONNECTED, *(c(f";app;;e;0;0;{number}") for number in range(20))]


def test_no_more_is_shown_than_the_limit_and_the_rest_is_counted():
    diagram = read(*LONG, c(";other;;e;0;0;"), limit=3)
    assert [row.line for row in diagram.rows] == [2, 3, 4]
    assert (diagram.before, diagram.after, diagram.hidden_violations) == (0, 22, 1)
    assert "Left out: 22 lines (22 after), with 1 violation" in drawn(diagram)


def test_what_precedes_the_part_shown_is_checked():
    diagram = read(*LONG, first=10, last=12)
    assert [row.line for row in diagram.rows] == [10, 11, 12]
    assert not diagram.violations
    assert (diagram.before, diagram.is_read_whole) == (8, False)
    assert "The lines after --to were not read." in drawn(diagram)


def test_one_connection_alone():
    diagram = read(*OPEN, c("M", 2), s("Abob", 2), "damage", connection=2)
    assert [row.line for row in diagram.rows] == [4, 5, 6]
    assert diagram.connections == [2]


def test_of_a_large_payload_the_beginning_is_kept():
    payload = ";app;;e;0;0;" + "x" * 100_000
    [*_, arrow] = read(*CONNECTED, c(payload)).rows
    assert (len(arrow.payload), arrow.size) == (KEPT, len(payload))
    assert all(len(value) <= KEPT for _, value in arrow.fields if isinstance(value, str))
    [*_, arrow] = read(*CONNECTED, c(payload), whole=True).rows
    assert arrow.payload == payload


def test_payloads_are_cut_to_a_line_or_shown_whole():
    payload = ";app;;e;0;0;" + "0123456789" * 30
    diagram = read(*CONNECTED, c(payload), whole=True)
    assert "…" in drawn(diagram)
    shown = drawn(diagram, whole=True)
    joined = "".join(re.findall(r"│  (.*\S)\s*│$", shown, re.MULTILINE))
    assert payload in joined


# -------------------------------------------------------------------- damage


def test_damage_is_shown_where_it_is():
    diagram = read(*OPEN, "{", c("M"), {**c("x"), "time": "soon"}, {**end(1), "closed": {}})
    assert [row.line for row in diagram.rows if isinstance(row, UnreadableLine)] == [4, 6, 7]
    shown = drawn(diagram)
    assert re.search(r"^ +4 .*cannot be read: not JSON", shown, re.MULTILINE)
    assert "3 lines cannot be read." in shown


@pytest.mark.parametrize(
    "change",
    [
        {"time": -1},
        {"time": True},
        {"time": 1e300},
        {"opened": {"path": 1, "headers": {}}},
        {"opened": {"path": "/", "headers": None}},
        {"closed": {"code": "1000", "reason": ""}},
        {"closed": {"code": 1000, "reason": None}},
    ],
)
def test_a_line_with_wrong_values_is_damage(change):
    [row] = read({"time": 0, "connection": 1, "from": "client", **change}).rows
    if "time" in change:
        assert row.reason.startswith("not a line")
    assert isinstance(row, UnreadableLine)


def test_damage_is_made_visible_and_a_header_is_not_needed():
    reader = SequenceReader()
    assert reader.read(UnreadableLine(3, "bad\x1b")) == UnreadableLine(3, "bad\\x1b")
    assert reader.read(Entry(4, 0, 1, True, "M")).words == "handshake request"


def test_a_recording_without_a_header_is_shown():
    diagram = read_diagram(io.BytesIO(b"nonsense\n" + recording(*OPEN).partition(b"\n")[2]))
    assert [row.line for row in diagram.rows] == [1, 2, 3]
    assert "The header cannot be read" in drawn(diagram)
    assert page(diagram, "a")


@pytest.mark.parametrize(
    "odd",
    [
        {"scenario": 5},
        {"client": "me"},
        {"server": {"peer": ["x"]}},
        {"native": "sometimes"},
        {"defects": ["AR-1"]},
    ],
)
def test_a_header_of_the_wrong_form_is_a_remark_and_the_rest_is_shown(odd):
    diagram = read_diagram(io.BytesIO(recording(*OPEN, **odd)))
    assert [row.line for row in diagram.rows] == [1, 2, 3]
    assert next(iter(odd)) in diagram.rows[0].reason
    assert page(diagram, "a")


def test_odd_headers_are_shown():
    odd = {
        "recorded": f"2026-11-29T{EVIL}",
        "how": EVIL,
        "shows": ["AR-1"],
        "defects": {"AR-22": "server"},
    }
    diagram = read_diagram(io.BytesIO(recording(*OPEN, **odd)))
    shown = page(diagram, "a")
    assert "AR-22 (server)" in shown
    assert EVIL not in shown


# -------------------------------------------------------------------- the terminal


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
@pytest.mark.parametrize("width", [80, 120])
def test_a_real_recording_fits_the_terminal(path, width):
    with path.open("rb") as stream:
        diagram = read_diagram(stream)
    lines = drawn(diagram, width).splitlines()
    assert all(cell_len(each) <= width for each in lines)
    assert any(each.endswith("►│") and "asks to connect nowhere ($1)" in each for each in lines)
    assert any("◄ accepted with ID" in each and each.endswith("─┤") for each in lines)
    assert lines[-1] == "24 arrows on 1 connection; no violations."


def test_a_terminal_that_knows_only_ascii_gets_ascii():
    diagram = read(*CONNECTED, c(f";app;;e;0;0;日本語 … {'x' * 99}"), "damage", end(1000))
    lines = drawn(diagram, encoding="ascii").splitlines()
    assert all(len(each) <= 80 for each in lines)
    assert any("asks to connect app ($1) --" in each and each.endswith(">|") for each in lines)
    assert any("\\u{65e5}" in each for each in lines)


def test_several_connections_are_several_columns():
    lines = drawn(read(*OPEN, c("M", 2), s("Abob", 2), c("M", 30))).splitlines()
    [numbers] = [each for each in lines if each.split() == ["1", "2", "30"]]
    places = [numbers.index(each) for each in ("1", "2", "30")]
    [second] = [each for each in lines if "accepted with ID bob" in each]
    assert second[places[0]] == "│"
    assert second[places[1] : places[1] + 2] == "│◄"
    assert second[places[2]] == "┼"


def test_connections_that_do_not_fit_share_a_line_and_are_numbered():
    shown = drawn(read(*(c("M", number) for number in range(1, 40))))
    assert "#39 handshake request" in shown
    assert all(cell_len(each) <= 80 for each in shown.splitlines())


def test_a_narrow_terminal_gets_what_needs_room():
    assert "handshake request" in drawn(read(*OPEN), width=10)


def test_wide_characters_keep_the_lifelines_straight():
    lines = drawn(read(*OPEN, c(f";app;日本;e;0;0;{'你好' * 50}"))).splitlines()
    arrows = [each for each in lines if each.endswith(("│", "┤"))]
    assert {cell_len(each) for each in arrows} == {80}


def test_nothing_steers_the_terminal():
    evil = [line(1, "client", opened={"path": EVIL, "headers": {}}), c("M"), s(f"A{EVIL}")]
    evil += [c(f";{EVIL.replace(';', '')};{EVIL};{EVIL};0;0;{EVIL}"), c(EVIL.encode())]
    evil += [end(1000, reason=EVIL), c("M", 2), s(f"H{EVIL}", 2)]
    peers = {"scenario": EVIL, "client": {"peer": EVIL}, "how": EVIL, "defects": {EVIL: EVIL}}
    diagram = read(*evil, EVIL, header=peers)
    for shown in (drawn(diagram), drawn(diagram, whole=True), drawn(diagram, encoding="ascii")):
        assert all(each.isprintable() for each in shown.splitlines())


def test_the_command():
    done = run(recording(*OPEN))
    assert done.exit_code == 0
    assert done.output.startswith("a test\nstandard input, recorded 2026-11-23T17:55:39+00:00")
    assert "\x1b" not in done.output


@pytest.mark.parametrize(
    ("text", "arguments", "code", "complaint"),
    [
        (b"", [], 1, "standard input is empty"),
        (recording(), ["--from", "5", "--to", "4"], 2, "--to is before --from"),
        (recording(), ["--limit", "0"], 2, "--limit"),
        (recording(), ["--html", "no/such/folder/a.html"], 2, "cannot be written"),
        (recording(), [], 0, "0 arrows on 0 connections; no violations."),
    ],
)
def test_what_the_command_says_of_odd_input(text, arguments, code, complaint):
    done = run(text, *arguments)
    # As in a program: main() turns a usage error into this code.
    assert done.exit_code == code
    assert complaint in done.output


# -------------------------------------------------------------------- the page


class Page(HTMLParser):
    """What a browser would make of a page, as far as it matters here."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data):
        self.text.append(data)

    def values(self, name: str) -> list[str]:
        return [attrs[name] for _, attrs in self.elements if name in attrs]


HOSTILE = read(
    line(1, "client", opened={"path": EVIL, "headers": {}}),
    c("M"),
    s(f"A{EVIL}"),
    c(f";app;{EVIL};chat;0;0;{EVIL}"),
    c(f";{EVIL};;chat;0;0;".encode()),
    c("M", 2),
    c(b"\xff\x00\xfe;;", 2),
    EVIL,
    end(1000, reason=EVIL),
    header={"scenario": EVIL, "client": {"peer": EVIL}, "how": EVIL, "defects": {EVIL: EVIL}},
)


def test_hostile_text_stays_text():
    text = page(HOSTILE, EVIL)
    parsed = Page(text)
    tags = {tag for tag, _ in parsed.elements}
    assert not tags & {"script", "img", "iframe", "object", "form", "base"}
    assert not [each for _, attrs in parsed.elements for each in attrs if each.startswith("on")]
    assert "<script>alert(1)</script>" in "".join(parsed.text)
    shown = text.replace("\n", "")
    assert shown.isprintable(), sorted({each for each in shown if not each.isprintable()})


def test_the_page_needs_nothing_from_elsewhere_and_forbids_it():
    text = page(HOSTILE, "a.jsonl")
    parsed = Page(text)
    assert all(each.startswith(("#", "data:,")) for each in parsed.values("href"))
    assert not parsed.values("src")
    assert not re.search(r"@import|url\((?!#)", text)
    [policy] = [
        attrs["content"]
        for _, attrs in parsed.elements
        if attrs.get("http-equiv") == "Content-Security-Policy"
    ]
    assert policy.startswith("default-src 'none'")


def test_every_link_leads_somewhere_and_every_id_is_one():
    parsed = Page(page(HOSTILE, "a.jsonl"))
    ids = parsed.values("id")
    assert len(ids) == len(set(ids))
    links = {each[1:] for each in parsed.values("href") if each.startswith("#")}
    assert links <= set(ids)
    assert {f"m{arrow.line}" for arrow in HOSTILE.arrows} <= links


def test_the_page_shows_fields_bytes_and_violations():
    text = page(read(*CONNECTED, c(b";other;hall;chat;0;0;\x00\xff")), "a.jsonl")
    for each in ("wait", "namespace", "room", "event", "is_error", "is_no_op", "body"):
        assert f'<th scope="row">{each}</th>' in text
    assert '<bdi dir="ltr">hall</bdi>' in text
    assert "000000  3b 6f 74 68 65 72 3b 68  ;other;h" in text
    assert "000010  3b 30 3b 30 3b 00 ff     ;0;0;··" in text
    assert "binary, 23 bytes" in text
    assert requirements()["NS-11"].text[:40] in text


def test_the_page_says_where_it_shows_only_the_beginning():
    text = page(read(*CONNECTED, c(";app;;e;0;0;" + "x" * 9000)), "a.jsonl")
    assert "text, 9,012 characters; the first 4,096 are shown, -v shows all" in text


@pytest.mark.parametrize("diagram", [HOSTILE, read(*CONNECTED), read()], ids=str)
def test_the_picture_is_well_formed_and_says_what_it_is(diagram):
    root = ElementTree.fromstring(svg(diagram))  # noqa: S314  # our own
    assert [each.tag for each in root][:2] == ["title", "desc"]
    labelled = root.attrib["aria-labelledby"].split()
    assert labelled == [root[0].attrib["id"], root[1].attrib["id"]]
    links = root.findall("a")
    assert [each.attrib["href"] for each in links] == [f"#m{each.line}" for each in diagram.arrows]
    for link, arrow in zip(links, diagram.arrows, strict=True):
        assert arrow.words in link.attrib["aria-label"]
        assert all(
            violation.requirement in link.attrib["aria-label"] for violation in arrow.violations
        )


def test_rows_of_the_picture_do_not_overlap():
    drawing = picture(HOSTILE)
    ends = [each.y + each.height for each in drawing.rows]
    begins = [each.y for each in drawing.rows]
    assert all(end < begin for end, begin in zip(ends, begins[1:], strict=False))
    assert ends[-1] <= drawing.height


def test_the_picture_has_a_lifeline_for_each_connection_up_to_a_bound():
    few = picture(read(*(c("M", number) for number in range(1, MAX_LIFELINES + 1))))
    assert [label for label, _ in few.lifelines] == ["1", "2", "3", "4", "5", "6"]
    assert [each.from_x for each in few.rows] == [x for _, x in few.lifelines]
    many = picture(read(*(c("M", number) for number in range(1, MAX_LIFELINES + 2))))
    assert [label for label, _ in many.lifelines] == [""]
    assert many.rows[-1].words == ("#7 handshake request",)


def test_the_command_writes_the_page(tmp_path):
    out = tmp_path / "out.html"
    done = run(recording(*OPEN), "--html", str(out))
    assert done.exit_code == 0
    assert done.output == f"{out}: 2 arrows, no violations\n"
    assert out.read_text("utf-8").startswith("<!doctype html>")


# -------------------------------------------------------------------- text


@pytest.mark.parametrize("cells", [1, 2, 7, 80])
def test_lines_are_no_longer_than_asked_for_and_lose_nothing(cells):
    text = "some words 日本語日本語 and averyverylongword" * 2
    lines = wrap(text, max(cells, 2))
    assert all(cell_len(each) <= max(cells, 2) for each in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert cell_len(shorten(text, cells)) <= cells


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0, "0.00 ms"),
        (0.0123, "12.30 ms"),
        (1, "1.000 s"),
        (999.5, "999.500 s"),
        (3725, "1:02:05"),
        (9e9, "9000000000 s"),
    ],
)
def test_times_are_short(seconds, shown):
    assert clock(seconds) == shown


def test_bytes_in_rows():
    assert list(hexdump(b"abcdefgh\x00")) == [
        (0, "61 62 63 64 65 66 67 68", "abcdefgh"),
        (8, "00", "·"),
    ]
