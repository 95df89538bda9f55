"""Recorded sessions: the format, and what the recordings of tested implementations contain."""

import io
import json
from importlib.resources import files
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from neffos_codec import (
    Decoding,
    HandshakeAccept,
    HandshakeRequest,
    decode,
    decode_handshake,
    encode,
)
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.recordings.checking import check_stream
from neffos_conformance.wire import transcript
from neffos_conformance.wire.connection import ConnectionClosed
from neffos_conformance.wire.transcript import (
    ConnectionOpened,
    Entry,
    Transcript,
    TranscriptError,
    UnreadableLine,
    Writer,
    header,
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
        for name in ("header", "opening", "message", "end")
    }
    assert len(RECORDED) >= 80
    for path in RECORDED:
        for line in path.read_bytes().splitlines():
            values = json.loads(line)
            kinds = {"format": "header", "opened": "opening", "closed": "end"}
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
    ConnectionOpened("/mixed?x=1", {"X-Conformance-Id": "7"}),
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
        (GOOD.replace(b'"connection": 1', b'"connection": 0'), "$.connection"),
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
