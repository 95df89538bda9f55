"""Recorded sessions: the format, and what the recordings of real peers hold."""

import json
from importlib.resources import files
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from neffos_codec import (
    HandshakeAccept,
    HandshakeRequest,
    Reading,
    decode,
    decode_handshake,
    encode,
)
from neffos_conformance.connection import Closed
from neffos_conformance.run import Line
from neffos_conformance.transcript import Entry, read_transcript, write_transcript

RECORDED = sorted((Path(__file__).parents[1] / "transcripts").glob("*.jsonl"))
SCHEMA = json.loads(
    (files("neffos_conformance.data") / "schema" / "transcript.json").read_text("utf-8")
)


@pytest.fixture(params=RECORDED, ids=lambda path: path.stem)
def recording(request) -> Path:
    return request.param


def test_there_are_recordings_of_both_backends():
    assert {path.stem.split("-")[3] for path in RECORDED} == {"gorilla", "gobwas"}


def test_every_line_fits_the_schema(recording):
    validator = Draft202012Validator(SCHEMA)
    for line in recording.read_text("utf-8").splitlines():
        validator.validate(json.loads(line))


def test_a_recording_says_where_it_comes_from(recording):
    header = read_transcript(recording).header
    assert header["server"]["peer"] == "neffos-go"
    assert header["server"]["version"].startswith("v0.0.")
    assert header["server"]["backend"] in recording.stem
    assert header["how"] == "make record"


def test_the_first_two_messages_are_the_handshake(recording):
    first, second = read_transcript(recording).entries[:2]
    assert first.from_client
    assert not second.from_client
    assert decode_handshake(first.content, reading=Reading.STRICT) == HandshakeRequest()
    assert isinstance(decode_handshake(second.content, reading=Reading.STRICT), HandshakeAccept)


def test_every_other_message_is_a_strict_frame_that_encodes_to_itself(recording):
    for entry in read_transcript(recording).entries[2:]:
        assert encode(decode(entry.content, reading=Reading.STRICT)) == entry.content


def test_every_ask_is_answered_with_its_token(recording):
    open_asks: dict[str, bool] = {}
    for entry in read_transcript(recording).entries[2:]:
        wait = decode(entry.content).wait
        if wait in open_asks:
            assert open_asks.pop(wait) != entry.from_client
        elif wait:
            assert wait.startswith("$") == entry.from_client
            open_asks[wait] = entry.from_client
    assert open_asks == {}


def test_what_is_written_reads_back(tmp_path):
    contents = [
        "M",
        "é \n;",
        "broken \udcff",
        b"\x00\xff",
        "",
        b"",
        Closed(1000, "bye"),
        Closed(None),
    ]
    exchange = [Line(n / 8, n % 2 == 0, content) for n, content in enumerate(contents)]
    path = tmp_path / "deep" / "t.jsonl"
    write_transcript(path, scenario="s", server={"peer": "p"}, how="by hand", exchange=exchange)
    assert read_transcript(path).entries == tuple(
        Entry(line.time, 1, line.sent, line.content) for line in exchange
    )
    for line in path.read_text("utf-8").splitlines():
        Draft202012Validator(SCHEMA).validate(json.loads(line))


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "line 2"),
        ("[]", "line 2: not an object"),
        ('{"time": 1}', "line 2: KeyError"),
        (
            '{"time": 1, "connection": 1, "from": "client", "kind": "binary", "base64": "?"}',
            "line 2",
        ),
    ],
)
def test_a_broken_line_is_named(tmp_path, line, complaint):
    path = tmp_path / "t.jsonl"
    path.write_text(f'{{"format": 1}}\n{line}\n')
    with pytest.raises(ValueError, match=complaint):
        read_transcript(path)


@pytest.mark.parametrize("first", ["", '{"format": 99}\n'])
def test_what_is_no_transcript_is_refused(tmp_path, first):
    path = tmp_path / "t.jsonl"
    path.write_text(first)
    with pytest.raises(ValueError, match="not a transcript"):
        read_transcript(path)
