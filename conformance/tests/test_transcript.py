"""Recorded sessions: the format, and what the recordings of tested implementations contain."""

import io
import json
import tracemalloc
from importlib.resources import files
from pathlib import Path

import pytest
from click.testing import CliRunner
from jsonschema_rs import Draft202012Validator

from neffos_codec import (
    Decoding,
    HandshakeAccept,
    HandshakeRequest,
    decode,
    decode_handshake,
    encode,
)
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.cli.check import check_command
from neffos_conformance.cli.replay import replay_command
from neffos_conformance.cli.show import show_command
from neffos_conformance.recordings.check_report import MAX_VIOLATIONS
from neffos_conformance.recordings.checking import MAX_PENDING_ASKS, check_stream
from neffos_conformance.wire import transcript
from neffos_conformance.wire.connection import ConnectionClosed
from neffos_conformance.wire.schemas import violation
from neffos_conformance.wire.transcript import (
    MAX_HEADERS,
    ConnectionOpened,
    Entry,
    Transcript,
    TranscriptError,
    UnreadableLine,
    Writer,
    header,
    lines,
    read_lines,
    read_transcript,
    save,
)

CORPUS = Path(__file__).parents[1] / "transcripts"
RECORDED = sorted(CORPUS.rglob("*.jsonl"))
VISITS = sorted(CORPUS.rglob("visit.jsonl"))
SCHEMA = json.loads(
    (files("neffos_conformance.data") / "schema" / "transcript.json").read_text("utf-8")
)


@pytest.fixture(params=VISITS, ids=lambda path: path.parent.name)
def visit(request) -> Path:
    return request.param


def messages(path: Path) -> list[Entry]:
    return [each for each in read_transcript(path).entries if isinstance(each.content, str | bytes)]


def test_every_line_of_every_recording_fits_the_schema():
    forms = {
        name: Draft202012Validator({**SCHEMA, "oneOf": [{"$ref": f"#/$defs/{name}"}]})
        for name in ("header", "opening", "message", "end", "published")
    }
    assert len(RECORDED) >= 80
    for path in RECORDED:
        for line in path.read_bytes().splitlines():
            values = json.loads(line)
            kinds = {"format": "header", "opened": "opening", "closed": "end"}
            kinds["published"] = "published"
            form = next((kinds[key] for key in kinds if key in values), "message")
            forms[form].validate(values)


def test_a_visit_begins_with_the_handshake(visit):
    first, second = messages(visit)[:2]
    assert first.from_client
    assert not second.from_client
    assert decode_handshake(first.content, decoding=Decoding.STRICT) == HandshakeRequest()
    assert isinstance(decode_handshake(second.content, decoding=Decoding.STRICT), HandshakeAccept)


def test_every_other_message_of_a_visit_is_a_strict_frame_that_encodes_to_itself(visit):
    for entry in messages(visit)[2:]:
        assert encode(decode(entry.content, decoding=Decoding.STRICT)) == entry.content


def test_every_ask_of_a_visit_is_answered_with_its_token(visit):
    pending_asks: dict[str, bool] = {}
    for entry in messages(visit)[2:]:
        wait = decode(entry.content).wait
        if wait in pending_asks:
            assert pending_asks.pop(wait) != entry.from_client
        elif wait:
            assert wait.startswith("$") == entry.from_client
            pending_asks[wait] = entry.from_client
    assert pending_asks == {}


CONTENTS = [
    ConnectionOpened("/mixed?x=1", {"X-Conformance-Id": "7"}, 2),
    "M",
    "é \n;",
    "broken \udcff",
    b"\x00\xff",
    "",
    b"",
    ConnectionClosed(1000, "bye"),
    ConnectionClosed(None),
]
HEADER = header(
    scenario="s",
    client={"peer": "c"},
    server={"peer": "p"},
    how="by hand",
    native="fallback",
    shows=("FR-1",),
    defects={"FR-2": "client"},
)


def test_what_is_saved_reads_back(tmp_path):
    entries = [Entry(n + 2, n / 8, 1, n % 2 == 0, each) for n, each in enumerate(CONTENTS)]
    path = tmp_path / "deep" / "t.jsonl"
    save(path, HEADER, entries)
    assert read_transcript(path) == Transcript(HEADER, tuple(entries))
    for line in path.read_text("utf-8").splitlines():
        Draft202012Validator(SCHEMA).validate(json.loads(line))


def test_what_happens_is_in_the_file_at_once():
    stream = io.BytesIO()
    writer = Writer(stream, HEADER)
    for count, content in enumerate(CONTENTS, start=1):
        writer.write(count, True, content)
        first, *entries = read_lines(io.BytesIO(stream.getvalue()))
        assert first == HEADER
        assert [entry.content for entry in entries] == CONTENTS[:count]
    times = [entry.time for entry in entries]
    assert times == sorted(times)


@pytest.mark.parametrize(
    ("content", "read"),
    [
        (
            ConnectionOpened("/\udcff", {"X-Conformance-Id": "a\ud800b"}),
            ConnectionOpened("/\ufffd", {"X-Conformance-Id": "a\ufffdb"}),
        ),
        (
            ConnectionOpened("", {"X-Conformance-\udce9": "\xe9"}),
            ConnectionOpened("", {"X-Conformance-\ufffd": "\xe9"}),
        ),
        (ConnectionClosed(1000, "\udfff \U0001f600"), ConnectionClosed(1000, "\ufffd \U0001f600")),
    ],
)
def test_what_is_no_message_and_has_no_utf8_form_is_written_as_far_as_it_has(
    tmp_path, content, read
):
    stream = io.BytesIO()
    odd = HEADER | {"scenario": "s\udcff", "shows": ["\udcff"]}
    Writer(stream, odd).write(1, True, content)
    first, entry = read_lines(io.BytesIO(stream.getvalue()))
    assert (first["scenario"], first["shows"], entry.content) == ("s\ufffd", ["\ufffd"], read)
    path = tmp_path / "t.jsonl"
    save(path, odd, [Entry(0, 0, 1, True, content)])
    assert [each.content for each in read_transcript(path).entries] == [read]


FIRST = {"format": 2, "scenario": "s", "client": {"peer": "c"}, "server": {"peer": "p"}}
BEGIN = json.dumps(FIRST).encode() + b"\n"
GOOD = b'{"time": 1, "connection": 1, "from": "client", "text": "M"}\n'
SAID = b'{"time":1,"connection":0,"from":"server","published":{"channel":"p.app.","text":"x"}}\n'


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b"{\n", "not JSON"),
        (b"\xff\n", "not JSON"),
        (b"[]\n", "not a line of a transcript"),
        (b'{"time": 1}\n', "missing required field `connection`"),
        (GOOD.replace(b'"client"', b'"nobody"'), "$.from"),
        (GOOD.replace(b'"M"', b"5"), "not a line"),
        (GOOD.replace(b'"connection": 1', b'"connection": "1"'), "Expected `int`"),
        (b'{"time":1,"connection":1,"from":"client","kind":"binary","base64":"?"}\n', "base64"),
        (b'{"time":1,"connection":1,"from":"client","base64":"AA=="}\n', "neither a message"),
        (GOOD.replace(b'"connection": 1', b'"connection": -1'), "$.connection"),
        (GOOD.replace(b'"connection": 1', b'"connection": 0'), "all there is on connection 0"),
        (SAID.replace(b'"connection":0', b'"connection":1'), "all there is on connection 0"),
        (SAID.replace(b'"server"', b'"client"'), "a client publishes nothing"),
        (SAID.replace(b'"text":"x"', b'"text":"x","base64":""'), "either a text or base64"),
        (SAID.replace(b',"text":"x"', b""), "either a text or base64"),
        (b'{"time":' + b"[" * 100_000 + b"\n", "not JSON"),
    ],
)
def test_a_damaged_line_is_named_and_the_rest_is_read(tmp_path, line, complaint):
    data = BEGIN + GOOD + line + GOOD
    first, before, damage, after = read_lines(io.BytesIO(data))
    assert first == FIRST
    assert (before.line, after.line, after.content) == (2, 4, "M")
    assert isinstance(damage, UnreadableLine)
    assert damage.line == 3
    assert complaint in damage.reason
    path = tmp_path / "t.jsonl"
    path.write_bytes(data)
    with pytest.raises(TranscriptError, match=r"t.jsonl, line 3: "):
        read_transcript(path)


def test_a_recording_that_was_cut_off_is_read_up_to_there():
    data = BEGIN + GOOD + GOOD[:20]
    _, whole, cut = read_lines(io.BytesIO(data))
    assert whole.content == "M"
    assert cut.line == 3
    assert "ends in the middle" in cut.reason


def test_a_line_that_is_too_long_is_passed_over(monkeypatch):
    monkeypatch.setattr(transcript, "MAX_LINE", len(BEGIN) + 1)
    data = BEGIN + b"x" * 1000 + b"\n" + GOOD
    _, damage, after = read_lines(io.BytesIO(data))
    assert (damage.line, after.line, after.content) == (2, 3, "M")
    assert "bytes" in damage.reason


def test_a_header_that_is_none_is_damage_and_the_rest_is_read():
    damage, entry = read_lines(io.BytesIO(b'{"format": 99}\n' + GOOD))
    assert "format 2" in damage.reason
    assert entry.content == "M"


@pytest.mark.parametrize(
    "wrong",
    [
        {"defects": []},
        {"defects": None},
        {"defects": {"FR-1": 5}},
        {"defects": {"FR-1": "nobody"}},
        {"defects": {"FR-1": []}},
        {"shows": 5},
        {"shows": [5]},
        {"native": "sometimes"},
        {"native": []},
        {"scenario": 5},
        {"client": None},
        {"client": {}},
        {"server": "p"},
        {"server": {"peer": "p", "version": 5}},
    ],
)
def test_a_header_of_the_wrong_form_is_damage_and_nothing_is_raised(wrong):
    data = json.dumps(FIRST | wrong).encode() + b"\n" + GOOD
    damage, entry = read_lines(io.BytesIO(data))
    assert damage.line == 1
    assert next(iter(wrong)) in damage.reason
    assert entry.content == "M"
    assert check_stream(io.BytesIO(data)).verdict is Verdict.ERROR


def test_a_header_without_a_peer_is_damage():
    [damage] = read_lines(io.BytesIO(b'{"format": 2, "scenario": "s"}\n'))
    assert "client" in damage.reason


def test_an_empty_file_is_no_transcript(tmp_path):
    path = tmp_path / "t.jsonl"
    path.touch()
    with pytest.raises(TranscriptError, match="empty"):
        read_transcript(path)


# -------------------------------------------------------------------- one form


def lines_of(*lines: bytes) -> list[object]:
    return list(read_lines(io.BytesIO(b"".join(lines))))


FORMS = [
    FIRST
    | {
        "recorded": "2026-11-29T10:00:00+00:00",
        "how": "by hand",
        "native": "never",
        "shows": ["HS-1"],
        "defects": {"HS-1": "client"},
        "difference": "DV-1",
    },
    {"time": 1, "connection": 1, "from": "client", "opened": {"path": "", "headers": {"a": "b"}}},
    {"time": 1, "connection": 1, "from": "client", "text": "M"},
    {"time": 1, "connection": 1, "from": "client", "kind": "binary", "base64": "AAAA"},
    {"time": 1, "connection": 1, "from": "server", "closed": {"code": 1000, "reason": ""}},
    {
        "time": 1,
        "connection": 1,
        "from": "server",
        "closed": {"code": None, "reason": "", "cut": "too large"},
    },
]
ODD = [5, -5, 1.5, "x", "", None, True, [], {}, [1], {"a": 1}, 10**30, 70000, "1000", "0.1"]


def places(values, path=()):
    yield path
    if isinstance(values, dict):
        for key in values:
            yield from places(values[key], (*path, key))


def changed(values, path, odd):
    """The values with another one in a place; without it, if that is ``...``."""
    if not path:
        return odd
    (key, *rest), found = path, dict(values)
    if not rest and odd is ...:
        del found[key]
    else:
        found[key] = changed(values[key], rest, odd)
    return found


def test_a_header_of_format_1_is_read():
    old = FIRST | {"format": 1, "a former name": "DV-2"}
    first, entry = lines_of(json.dumps(old).encode() + b"\n", GOOD)
    assert first == FIRST
    assert entry.content == "M"


@pytest.mark.parametrize("number", range(len(FORMS)))
def test_a_line_is_read_if_the_schema_allows_it(number):
    begin = BEGIN if number else b""
    whole = [FORMS[number] | extra for extra in ({}, {"more": 1}, *FORMS[1:])]
    whole += [
        changed(FORMS[number], path, odd)
        for path in places(FORMS[number])
        for odd in (*ODD, ...)
        if path or odd is not ...
    ]
    for values in whole:
        line = json.dumps(values).encode() + b"\n"
        item = lines_of(begin, line)[-1]
        allowed = violation("transcript", values) is None
        if values == whole[0] | {"base64": "x"}:
            allowed = False  # the schema counts no characters of base64
        assert isinstance(item, UnreadableLine) is not allowed, values


@pytest.mark.parametrize(
    "line",
    [
        b'{"time":1,"connection":1,"from":"client","opened":{"path":5,"headers":{}}}',
        b'{"time":"soon","connection":1,"from":"client","text":"M"}',
        b'{"time":1,"connection":1,"from":"client","closed":{"code":"1000","reason":""}}',
        b'{"time":1,"connection":1,"from":"server","opened":{"path":"","headers":{}}}',
        b'{"time":1,"connection":1,"from":"client","text":"M","closed":{"code":1,"reason":""}}',
        b"[" * 100_000,
    ],
)
def test_what_is_not_a_line_reaches_no_one(tmp_path, line):
    path = tmp_path / "a.jsonl"
    path.write_bytes(BEGIN + GOOD + line + b"\n")
    assert isinstance(lines_of(path.read_bytes())[-1], UnreadableLine)
    assert CliRunner().invoke(check_command, ["--jobs", "1", str(path)]).exit_code == 1
    shown = CliRunner().invoke(show_command, [str(path)])
    assert shown.exit_code == 1
    assert "no violations in the lines that can be read" in shown.output
    replayed = CliRunner().invoke(replay_command, [str(path), "--server", "ws://127.0.0.1:1"])
    assert replayed.exit_code == 2
    assert "line 3" in replayed.output


@pytest.mark.parametrize("begin", [b"", BEGIN])
def test_what_is_large_is_not_built(begin):
    many = b",".join(b'"%d":""' % number for number in range(300_000))
    line = b'{"format":2,"client":{' + many + b"}}\n"
    if begin:
        line = GOOD.replace(b'"text": "M"', b'"opened":{"path":"","headers":{' + many + b"}}")
    data = begin + line
    tracemalloc.start()
    try:
        item = lines_of(data)[-1]
        assert tracemalloc.get_traced_memory()[1] < 4 * len(data)
    finally:
        tracemalloc.stop()
    assert f"more than {MAX_HEADERS} bytes" in item.reason


def test_a_file_without_a_readable_line_is_not_called_sound(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"\x00\x01\n" * 3)
    shown = CliRunner().invoke(show_command, [str(path)])
    assert shown.exit_code == 1
    assert "nothing can be checked" in shown.output
    assert "no violations" not in shown.output


@pytest.mark.parametrize(
    "data",
    [
        b"\xef\xbb\xbf" + BEGIN + GOOD,
        (BEGIN + GOOD).replace(b"\n", b"\r\n"),
        b"\r\n\r\n" + BEGIN + b"\r\n" + GOOD + b"\r\n",
        b"\xef\xbb\xbf" + BEGIN.rstrip() + b"\r\n" + GOOD.rstrip(),
    ],
)
def test_what_editors_on_windows_save_is_read(data):
    first, entry = lines_of(data)
    assert first == FIRST
    assert entry.content == "M"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be"])
def test_utf_16_is_named(encoding):
    mark = b"\xfe\xff" if encoding == "utf-16-be" else b""
    [item] = lines_of(mark + (BEGIN + GOOD).decode().encode(encoding))
    assert item.reason == "the file is UTF-16. Try: save it as UTF-8"


def test_who_ended_a_connection_is_written_and_read():
    end = Entry(2, 1.0, 1, False, ConnectionClosed(None, cut="a message is too large"))
    data = b"".join(lines(FIRST, [end]))
    assert b'"cut":"a message is too large"' in data
    assert lines_of(data)[1] == end


# -------------------------------------------------------------------- asks without a reply


CONNECT = {"time": 1, "connection": 1, "from": "client", "text": "$1;app;;_OnNamespaceConnect;0;0;"}
CONVERSATION = [
    {"time": 0.1, "connection": 1, "from": "client", "text": "M"},
    {"time": 0.2, "connection": 1, "from": "server", "text": "A1"},
    CONNECT,
]
END = {"time": 61.5, "connection": 1, "from": "client", "closed": {"code": 1000, "reason": ""}}


def checked(*entries):
    data = BEGIN + b"".join(json.dumps(each).encode() + b"\n" for each in entries)
    return check_stream(io.BytesIO(data))


def test_a_connect_without_a_reply_is_reported_with_token_kind_and_seconds():
    report = checked(*CONVERSATION, END)
    assert report.verdict is Verdict.PASS
    assert list(report.remarks()) == [
        "line 4, connection 1: the client's connect of app ($1) has no reply after 60.500 s"
    ]
    [ask] = report.pending_asks
    assert (ask.token, ask.kind, ask.seconds) == ("$1", "connect of app", 60.5)


def test_the_end_of_the_recording_is_an_end_too():
    later = {"time": 9, "connection": 2, "from": "client", "text": "M"}
    report = checked(*CONVERSATION, later)
    assert [str(each) for each in report.pending_asks] == [
        "the client's connect of app ($1) has no reply after 8.000 s",
        "the client's handshake request has no reply after 0.000 s",
    ]


def test_what_is_answered_is_not_reported():
    reply = {"time": 2, "connection": 1, "from": "server", "text": "$1;;;;;;"}
    refused = {"time": 2, "connection": 1, "from": "server", "text": "Hno"}
    assert not checked(*CONVERSATION, reply, END).pending_asks
    assert not checked(CONVERSATION[0], refused, END).pending_asks


def test_who_ends_a_session_at_once_is_not_remarked_on():
    report = checked(*CONVERSATION, END | {"time": 1.5})
    assert report.pending_ask_count == 1
    assert not list(report.remarks())
    assert list(report.remarks(all_of_them=True))


def test_joins_and_event_asks_of_both_peers_are_reported():
    asks = [
        {"from": "client", "text": "$2;app;lobby;_OnRoomJoin;0;0;"},
        {"from": "server", "text": "7;app;;ping\x1b;0;0;"},
    ]
    reply = {"time": 1, "connection": 1, "from": "server", "text": "$1;;;;;;"}
    report = checked(*CONVERSATION, reply, *({"time": 2, "connection": 1} | a for a in asks), END)
    assert [(each.role, each.token, each.kind) for each in report.pending_asks] == [
        ("client", "$2", "join of room lobby of app"),
        ("server", "7", "event ping\\x1b in app"),
    ]


def test_the_memory_for_asks_is_bounded():
    asks = [CONNECT | {"text": f"${n};app;;ask;0;0;"} for n in range(MAX_PENDING_ASKS + 100)]
    report = checked(*CONVERSATION, *asks, END)
    assert len(report.pending_asks) == MAX_VIOLATIONS
    assert report.pending_ask_count <= MAX_PENDING_ASKS
    assert list(report.remarks())[-1] == f"… {report.pending_ask_count} asks have no reply"


def test_show_reports_an_ask_without_a_reply(tmp_path):
    path = tmp_path / "a.jsonl"
    entries = [*CONVERSATION, END]
    path.write_bytes(BEGIN + b"".join(json.dumps(each).encode() + b"\n" for each in entries))
    shown = CliRunner().invoke(show_command, [str(path)])
    assert shown.exit_code == 0
    assert "the client's connect of app ($1) has no reply after 60.500 s" in " ".join(
        shown.output.split()
    )
