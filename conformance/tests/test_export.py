"""Recordings written as packets, read again by this project and by tshark with the dissector."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from neffos_codec import FIELDS, parse_wait
from neffos_conformance.codecs.vectors import fields, load_vectors, payload, text
from neffos_conformance.recordings.checking import check
from neffos_conformance.recordings.dissector import dissector
from neffos_conformance.recordings.packets import SEGMENT, save_capture
from neffos_conformance.wire.connection import ConnectionClosed
from neffos_conformance.wire.payloads import payload_bytes
from neffos_conformance.wire.transcript import (
    ConnectionOpened,
    Entry,
    header,
    read_transcript,
    save,
)

from .absent import absent
from .commands import run

TRANSCRIPTS = Path(__file__).parents[1] / "transcripts"
SOURCE = TRANSCRIPTS / "neffos-go" / "handshake-binary.jsonl"
FIRST = header(scenario="a visit", client={"peer": "c"}, server={"peer": "s"}, how="by hand")
NAMES = [*FIELDS[:4], "isError", "isNoOp", FIELDS[6]]
OPENING = [(True, ConnectionOpened("", {})), (True, "M"), (False, "A1")]


def captured(said, path, first=FIRST):
    """Write a conversation on connection 1 as a capture; give how many packets it has."""
    entries = [Entry(line, line / 100, 1, *each) for line, each in enumerate(said, 2)]
    with path.open("wb") as stream:
        return save_capture(stream, first, entries)[0]


def result(report):
    """Give what a recording and its capture have in common."""
    counts = {key: count for key, count in report.counts.items() if not key[0].startswith("SX-")}
    return report.verdict, counts, report.stale_defects


def same_as_packets(path, tmp_path):
    found = read_transcript(path)
    capture = tmp_path / "exported.pcapng"
    with capture.open("wb") as stream:
        save_capture(stream, found.header, found.entries)
    return result(check(capture)) == result(check(path))


def test_a_capture_has_the_verdict_of_its_recording(tmp_path):
    paths = [SOURCE, *sorted(TRANSCRIPTS.glob("*/*.jsonl"))[::30]]
    assert [path.name for path in paths if not same_as_packets(path, tmp_path)] == []


@pytest.mark.whole
def test_each_capture_has_the_verdict_of_its_recording(tmp_path):
    paths = sorted(TRANSCRIPTS.glob("*/*.jsonl"))
    assert [path.name for path in paths if not same_as_packets(path, tmp_path)] == []


SAID = [
    (
        True,
        ConnectionOpened("/chat x?a=\r\nb#\u00e9", {"X-Conformance-A": "b\r\nC: d", "É x": "e"}),
    ),
    (True, "M"),
    (False, "A1"),
    (True, ";a;;e;0;0;" + "é" * SEGMENT),
    (False, b";a;;e;0;0;\xff"),
    (True, ";a;;\udcff;0;0;"),
    (True, ConnectionClosed(1001, "bye")),
]


def test_messages_of_any_size_and_headers_of_strangers_are_packets(tmp_path):
    captured(SAID, tmp_path / "a.pcapng")
    done = run("import", tmp_path / "a.pcapng", "-o", tmp_path)
    assert done.returncode == 0, done.stderr
    read = read_transcript(tmp_path / "a-1.jsonl")
    assert read.header == FIRST
    opened, *said = [(each.from_client, each.content) for each in read.entries]
    assert said == SAID[1:]
    assert opened[1].headers["X-Conformance-A"] == "b C: d"


@pytest.mark.parametrize("code", [None, 1005, 1006, 999, 4000])
def test_an_end_with_any_code_is_an_end(tmp_path, code):
    captured([*OPENING, (False, ConnectionClosed(code))], tmp_path / "a.pcapng")
    run("import", tmp_path / "a.pcapng", "-o", tmp_path)
    *_, end = read_transcript(tmp_path / "a-1.jsonl").entries
    assert end.content.code in (code, 1005)
    assert not end.from_client


def test_what_follows_the_end_of_a_connection_is_left_out(tmp_path):
    ends = [(True, ConnectionClosed(None)), (False, ";a;;late;0;0;")]
    assert captured([*OPENING, *ends], tmp_path / "a.pcapng") == 4 + 2 + 1


def test_the_command_writes_both_files(tmp_path):
    done = run(
        "export", SOURCE, "--pcapng", tmp_path / "a.pcapng.gz", "--dissector", tmp_path / "n"
    )
    assert done.returncode == 0, done.stderr
    assert b"8 packets" in done.stdout
    assert (tmp_path / "n").read_text("utf-8") == dissector()
    assert run("check", tmp_path / "a.pcapng.gz").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "reason", "status"),
    [
        ([SOURCE], b"give a FILE with --pcapng", 2),
        (["--pcapng", "a"], b"give a FILE with --pcapng", 2),
        ([SOURCE, "--pcapng", "no/a"], b"cannot be written", 2),
        (["--dissector", "no/a"], b"cannot be written", 2),
        (["empty", "--pcapng", "a"], b"empty is not a recording: it is empty", 2),
        (["broken", "--pcapng", "a"], b"broken: line 2: not JSON", 1),
    ],
)
def test_what_cannot_be_exported_is_named(tmp_path, arguments, reason, status):
    (tmp_path / "empty").touch()
    save(tmp_path / "broken", FIRST, ())
    with (tmp_path / "broken").open("a") as stream:
        stream.write("{\n")
    done = run("export", *arguments, cwd=tmp_path)
    assert (done.returncode, reason in done.stderr) == (status, True), done.stderr


def test_a_broker_and_what_it_shows_are_left_out(tmp_path):
    path = next(iter(sorted(TRANSCRIPTS.glob("neffos-go-next-nats/*.jsonl"))))
    done = run("export", path, "--pcapng", tmp_path / "a.pcapng")
    assert b"published messages left out" in done.stdout
    assert "broker" not in check(tmp_path / "a.pcapng").header


# -------------------------------------------------------------------- tshark


@pytest.fixture(scope="module")
def tshark(tmp_path_factory):
    """Give what dissects a capture: the packets with neffos, each as JSON."""
    program = shutil.which("tshark")
    if program is None:
        absent("TSHARK", "there is no tshark: install Debian's tshark, or Wireshark")
    script = tmp_path_factory.mktemp("lua") / "neffos.lua"
    script.write_text(dissector(), "utf-8")
    command = [program, "-X", f"lua_script:{script}", "-Y", "neffos", "-T", "json", "-x"]
    command += ["-J", "neffos", "--no-duplicate-keys", "-r"]

    def dissected(path, *more):
        done = subprocess.run([*command, path, *more], capture_output=True, check=True)
        assert b"lua" not in done.stderr.lower(), done.stderr
        layers = json.loads(done.stdout.decode("utf-8", "replace"))
        return [each["_source"]["layers"] for each in layers]

    return dissected


def shown(data):
    """Give what tshark shows of a text: Lua's texts end with the first NUL."""
    return data.decode("utf-8", "replace").partition("\0")[0]


def expected(message, is_text, data):
    """Give the fields that a frame is to have, and the bytes of each."""
    values = fields(message, "text" if is_text else "binary")
    parts = data.split(b";", 6)
    plain = [
        str(int(value)) if isinstance(value, bool) else shown(payload_bytes(value))
        for value in values
    ]
    return dict(zip(NAMES, zip(plain, parts, strict=True), strict=True))


def actual(neffos):
    return {
        name: (neffos[f"neffos.{name}"], bytes.fromhex(neffos.get(f"neffos.{name}_raw", [""])[0]))
        for name in NAMES
    }


def dissected_vectors(tshark, path, vectors):
    said = [(False, payload(each)) for each in vectors]
    captured([*OPENING, *said], path)
    first, second, *found = tshark(path)
    assert first["neffos"]["neffos.handshake"] == "request"
    assert second["neffos"]["neffos.id"] == "1"
    assert len(found) == len(vectors)
    for vector, layers in zip(vectors, found, strict=True):
        data, neffos = payload_bytes(payload(vector)), layers["neffos"]
        assert bytes.fromhex(layers["neffos_raw"][0]) == data
        if message := vector["lenient"].get("message"):
            is_text = vector["kind"] == "text"
            assert actual(neffos) == expected(message, is_text, data), vector["id"]
            kind = parse_wait(payload(vector).partition(";")[0] if is_text else "").kind
            assert not is_text or neffos["neffos.wait_tree"]["neffos.wait.kind"] == kind
        elif data.count(b";") < 6:  # any other is refused by limits, or native by choice
            assert neffos["neffos.native"] == shown(data)


SMALL = 1 << 10


def decode_vectors(sizes):
    """Give the vectors with payloads of these sizes; an empty one is given to no dissector."""
    vectors = [each for each in load_vectors() if each["operation"] == "decode"]
    return [
        each
        for each in vectors
        if each["kind"] != "other" and len(payload_bytes(payload(each))) in sizes
    ]


def test_tshark_shows_the_fields_of_decode_vectors(tshark, tmp_path):
    dissected_vectors(tshark, tmp_path / "a.pcapng", decode_vectors(range(1, SMALL)))


@pytest.mark.whole
def test_tshark_shows_the_fields_of_large_vectors(tshark, tmp_path):
    dissected_vectors(tshark, tmp_path / "a.pcapng", decode_vectors(range(SMALL, 1 << 26)))


@pytest.mark.whole
def test_tshark_knows_what_a_token_says(tshark, tmp_path):
    waits = [each for each in load_vectors() if each["operation"] == "parse-wait"]
    waits = [each for each in waits if ";" not in text(each["wait"])]
    said = [(True, f"{text(each['wait'])};;;e;0;0;") for each in waits]
    captured([*OPENING, *said], tmp_path / "a.pcapng")
    _, _, *found = tshark(tmp_path / "a.pcapng")
    for vector, layers in zip(waits, found, strict=True):
        tree, parsed = layers["neffos"]["neffos.wait_tree"], vector["parsed"]
        seen = tree["neffos.wait.kind"], tree["neffos.wait.from_exchange"]
        assert seen == (parsed["kind"], str(int(parsed.get("from_exchange", False)))), vector["id"]


@pytest.mark.whole
def test_tshark_tells_handshakes_events_and_replies(tshark, tmp_path):
    refused = [*OPENING[:2], (False, "Hno;t;o;d;a;y;!"), (False, "M")]
    captured(refused, tmp_path / "a.pcapng")
    found = [each["neffos"] for each in tshark(tmp_path / "a.pcapng")]
    assert found[1]["neffos.refusal"] == "no;t;o;d;a;y;!"
    assert found[2]["neffos.native"] == "M"
    asked = [(True, "$1;a;;_OnNamespaceConnect;0;0;"), (False, "$1;;;;;;")]
    captured([*OPENING, *asked], tmp_path / "b.pcapng")
    ask, reply = [each["neffos"] for each in tshark(tmp_path / "b.pcapng")][2:]
    assert "connect" in ask["neffos.event_tree"]["neffos.event.meaning"]
    assert reply["neffos.empty_reply"] == "1"


@pytest.mark.whole
def test_a_connection_that_is_not_neffos_is_dissected_only_if_that_is_asked_for(tshark, tmp_path):
    captured([OPENING[0], (True, ";a;;e;0;0;")], tmp_path / "a.pcapng")
    assert tshark(tmp_path / "a.pcapng") == []
    assert len(tshark(tmp_path / "a.pcapng", "-o", "neffos.all:TRUE")) == 1


@pytest.mark.whole
def test_tshark_shows_each_message_of_the_corpus(tshark, tmp_path):
    """All recordings are one capture, in which each connection has a number of its own."""
    numbers: dict[tuple[Path, int], int] = {}
    entries, said, ended = [], [], set()
    for path in sorted(TRANSCRIPTS.glob("*/*.jsonl")):
        for each in read_transcript(path).entries:
            key = path, each.connection
            entries.append(each._replace(connection=numbers.setdefault(key, len(numbers) + 1)))
            if isinstance(each.content, str | bytes) and each.content and key not in ended:
                said.append(payload_bytes(each.content))
            elif isinstance(each.content, ConnectionClosed):
                ended.add(key)
    with (tmp_path / "a.pcapng").open("wb") as stream:
        save_capture(stream, FIRST, entries)
    layers = tshark(tmp_path / "a.pcapng", "-o", "neffos.all:TRUE")
    assert [bytes.fromhex(each["neffos_raw"][0]) for each in layers] == said
