"""What browsers save, as recordings.

``data/chat-chromium.har`` was saved by Playwright from Chromium while the page of the chat talked
to its server; a second connection asked for the rooms in a binary message. Bodies of HTTP
responses were taken out.
"""

import base64
import gzip
import io
import json
from importlib.resources import files
from pathlib import Path

import pytest
from click.testing import CliRunner
from jsonschema_rs import Draft202012Validator

from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.cli.main import cli
from neffos_conformance.recordings.checking import check
from neffos_conformance.recordings.har import (
    Har,
    HarError,
    read_connection,
    read_entries,
    transcript,
)
from neffos_conformance.wire.connection import ConnectionClosed
from neffos_conformance.wire.transcript import ConnectionOpened, read_transcript

from .commands import run as run_command
from .test_check import VISIT, recorded

SAVED = Path(__file__).with_name("data") / "chat-chromium.har"
SCHEMA = json.loads(
    (files("neffos_conformance.data") / "schema" / "transcript.json").read_text("utf-8")
)


def run(*arguments: object, stdin: bytes | None = None):
    return CliRunner().invoke(cli, ["import", *map(str, arguments)], input=stdin)


def message(data="M", sent=True, opcode=1, time: float | None = 1795648004.5):
    return {
        "type": "send" if sent else "receive",
        "time": time,
        "opcode": opcode,
        "data": data,
    }


def entry(*messages, url="wss://chat.example/chat", **more):
    return {
        "startedDateTime": "2026-11-25T23:06:44.000Z",
        "_resourceType": "websocket",
        "_webSocketMessages": list(messages),
        "request": {"method": "GET", "url": url, "headers": []},
        **more,
    }


def har(*entries, **more) -> str:
    """Give a HAR as Chrome writes it."""
    creator = {"name": "WebInspector", "version": "537.36"}
    return json.dumps({"log": {"version": "1.2", "creator": creator, **more, "entries": entries}})


def written(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.jsonl"))


def imported(folder: Path, text: str, *options: str):
    """Import the HAR and give its only recording."""
    (folder / "saved.har").write_text(text, "utf-8")
    done = run(folder / "saved.har", "-o", folder, *options)
    assert done.exit_code == 0, done.output
    [path] = written(folder)
    return read_transcript(path)


# -------------------------------------------------------------------- what Chromium saved


@pytest.fixture(scope="module")
def chat(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chat")
    done = run(SAVED, "-o", folder)
    assert done.exit_code == 0, done.output
    return written(folder)


def test_each_connection_of_the_page_becomes_a_recording(chat):
    assert [path.name for path in chat] == ["chat-chromium-1.jsonl", "chat-chromium-2.jsonl"]


def test_the_recordings_fit_the_schema_and_are_ready_to_be_checked(chat):
    validator = Draft202012Validator(SCHEMA)
    for path in chat:
        for line in path.read_text("utf-8").splitlines():
            validator.validate(json.loads(line))
        assert check(path).verdict is Verdict.PASS


def test_the_header_names_browser_and_host(chat):
    first = read_transcript(chat[0]).header
    assert first["client"]["peer"] == "chromium"
    assert first["client"]["version"].startswith("156.")
    assert first["server"] == {"peer": "127.0.0.1:18742"}
    assert first["how"] == "neffos-wire import"
    assert first["recorded"] == "2026-11-25T23:06:44+00:00"
    assert "chat-chromium.har, entry 2" in first["scenario"]


def test_the_messages_are_those_that_went_by(chat):
    first, second = (read_transcript(path).entries for path in chat)
    assert [each.content for each in first[1:3]] == ["M", "Aann"]
    assert [each.from_client for each in first[1:3]] == [True, False]
    assert any("你好" in each.content for each in first[1:])
    assert second[-2].content == b"$2;chat;;rooms;0;0;"
    times = [each.time for each in first]
    assert times == sorted(times)
    assert 1 < times[-1] < 2


def test_secrets_of_the_query_are_left_out(chat):
    assert read_transcript(chat[1]).entries[0].content == ConnectionOpened(
        "/chat?name=***&token=***", {}
    )
    assert b"secret" not in chat[1].read_bytes()


def test_a_recording_is_not_overwritten(tmp_path):
    kept = tmp_path / "chat-chromium-1.jsonl"
    kept.write_text("mine")
    done = run(SAVED, "-o", tmp_path)
    assert done.exit_code != 0
    assert "exists" in done.output
    assert kept.read_text() == "mine"


# -------------------------------------------------------------------- other writers


def test_the_browser_is_read_from_the_user_agent_where_only_its_engine_is_named(tmp_path):
    agent = "Mozilla/5.0 AppleWebKit/537.36 Chrome/156.0.0.0 Safari/537.36 Edg/156.0.1"
    saved = entry(message(), message("A1", sent=False))
    saved["request"]["headers"] = [{"name": "User-Agent", "value": agent}]
    client = imported(tmp_path, har(saved)).header["client"]
    assert client == {"peer": "Edg", "version": "156.0.1", "saved by": "WebInspector 537.36"}


def test_no_header_is_kept_that_may_be_a_secret(tmp_path):
    names = ["Cookie", "Authorization", "Sec-WebSocket-Key", "X-WebSocket-Reconnect", "x-api-key"]
    saved = entry(message(), url="wss://me:pw@chat.example/c?X-Websocket-Header-Authorization=pw")
    saved["request"]["headers"] = [{"name": name, "value": f"{name}=pw"} for name in names]
    saved["request"]["cookies"] = [{"name": "sid", "value": "pw"}]
    recording = imported(tmp_path, har(saved))
    assert recording.entries[0].content == ConnectionOpened(
        "/c?X-Websocket-Header-Authorization=***",
        {"x-websocket-reconnect": "X-WebSocket-Reconnect=pw"},
    )
    assert recording.header["server"] == {"peer": "chat.example"}


def test_parameters_that_become_recorded_headers_are_kept(tmp_path):
    kept = "X-Websocket-Header-X-Websocket-Reconnect=2"
    saved = har(entry(message(), url=f"wss://chat.example/?{kept}&name=ann"))
    assert imported(tmp_path, saved).entries[0].content.path == f"/?{kept}&name=***"


def test_the_query_is_kept_where_that_is_asked_for(tmp_path):
    saved = har(entry(message(), url="wss://chat.example/?name=ann"))
    assert imported(tmp_path, saved, "--keep-query").entries[0].content.path == "/?name=ann"


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([1795648004.5, 1795648005.0], [0.5, 1.0]),
        ([1795648004500, 1795648005000], [0.5, 1.0]),  # Playwright: milliseconds
        ([-1, None], [0, 0]),  # Playwright without timings
        ([1795648005.0, 1795648004.5], [1.0, 1.0]),  # no time runs backwards
        ([77.0, 78.0], [0, 1.0]),  # since the browser was started
    ],
)
def test_times_count_from_the_opening(times, expected):
    connection = read_connection(1, entry(*(message(time=each) for each in times)))
    assert [time for time, *_ in connection.contents] == pytest.approx(expected)


def test_pings_are_left_out_and_an_end_is_kept():
    connection = read_connection(
        1,
        entry(
            message(),
            message("", opcode=9),
            message("", sent=False, opcode=8) | {"code": 1000},
            {"type": "error", "time": 1795648006, "opcode": -1, "data": "broken"},
        ),
    )
    assert [content for *_, content in connection.contents] == [
        "M",
        ConnectionClosed(1000),
        ConnectionClosed(None),
    ]
    assert connection.ignored == 1


def test_an_entry_needs_no_more_than_url_and_messages():
    saved = {"request": {"url": "ws://a"}, "_webSocketMessages": [{"type": "send", "data": "M"}]}
    first, entries = transcript(read_connection(1, saved), "a test", Har())
    assert first["client"] == {"peer": "unknown browser"}
    assert [each.content for each in entries] == [ConnectionOpened("/", {}), "M"]


# -------------------------------------------------------------------- which connections


def test_what_is_not_neffos_is_taken_only_when_asked_for(tmp_path):
    (tmp_path / "saved.har").write_text(har(entry(message("Morning")), entry(message("{}"))))
    done = run(tmp_path / "saved.har", "-o", tmp_path)
    assert done.exit_code == 2
    assert "entry 1, wss://chat.example/chat: does not look like neffos" in done.output
    assert not written(tmp_path)
    done = run(tmp_path / "saved.har", "-o", tmp_path, "--all", "--native", "only")
    assert done.exit_code == 0
    assert [read_transcript(path).header["native"] for path in written(tmp_path)] == ["only"] * 2


def test_a_connection_without_its_beginning_is_recognised_by_a_system_event():
    connection = read_connection(1, entry(message("$9;a;;_OnNamespaceConnect;0;0;")))
    assert connection.speaks_neffos
    assert not read_connection(1, entry(message(";a;;chat;0;0;"))).speaks_neffos


def test_a_har_without_messages_says_how_to_save_one(tmp_path):
    page = {"request": {"url": "https://chat.example/"}}
    done = run("-", stdin=har(page).encode())
    assert done.exit_code == 2
    assert "standard input has no WebSocket messages" in done.output
    assert "Export HAR" in done.output
    firefox = entry()
    del firefox["_webSocketMessages"]
    done = run("-", stdin=har(firefox).encode())
    assert "has WebSocket connections (1), but not their messages" in done.output
    assert "Firefox saves the connections, but not their messages" in done.output


# -------------------------------------------------------------------- damage


@pytest.mark.parametrize(
    ("saved", "complaint"),
    [
        (entry("M"), "entry 1: Expected `object`, got `str` - at `$._webSocketMessages[0]`"),
        (entry(message(), message(None)), "entry 1: a message has no data"),
        (entry(message("*", opcode=2)), "entry 1: Only base64 data is allowed"),
        (entry(message() | {"type": "both"}), "'both' - at `$._webSocketMessages[0].type`"),
        (entry(message(time="now")), "got `str` - at `$._webSocketMessages[0].time`"),
        (entry() | {"_webSocketMessages": {"a": 1}}, "got `object` - at `$._webSocketMessages`"),
        (entry(message(), url="wss://[::1/"), "entry 1: Invalid IPv6 URL"),
        (entry(message(), url="chat"), "entry 1: the url has no host: chat"),
        (
            entry(message()) | {"request": None},
            "entry 1: Expected `object`, got `null` - at `$.req",
        ),
    ],
)
def test_damage_is_named_and_does_not_keep_the_others_back(tmp_path, saved, complaint):
    (tmp_path / "saved.har").write_text(har(saved, entry(message(), message("A1", sent=False))))
    done = run(tmp_path / "saved.har", "-o", tmp_path)
    assert done.exit_code == 1
    assert complaint in done.output
    assert len(written(tmp_path)) == 1


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (b"", "not JSON: "),
        (b"\xff\xfe\x00 no", "not JSON: "),
        (b"[1]", "not a HAR: it has no log with entries"),
        (b'{"log": {"entries": {}}}', "not a HAR: it has no log with entries"),
        (b'{"log": {"entries": [1]}}', "entry 1 is not an object"),
        (b'{"log": {"entries": [{}, {"a"', "not JSON after entry 1: "),
    ],
)
def test_what_is_no_har_is_refused(text, complaint):
    done = run("-", stdin=text)
    assert done.exit_code == 1
    assert f"neffos-wire: standard input: {complaint}" in done.output


def test_only_one_entry_is_held_at_a_time():
    class Tape:
        """A HAR of a hundred entries that counts what was read of it."""

        read_so_far = 0

        def __init__(self) -> None:
            body = {"content": {"text": base64.b64encode(bytes(60_000)).decode()}}
            self.stream = io.BytesIO(har(*[{"response": body}] * 100).encode())

        def read(self, size: int = -1) -> bytes:
            part = self.stream.read(size)
            self.read_so_far += len(part)
            return part

    tape = Tape()
    entries = read_entries(tape, Har())
    next(entries)
    assert tape.read_so_far < 400_000
    assert sum(1 for _ in entries) == 99


def test_who_saved_it_is_known_from_what_stands_before_the_entries():
    found = Har()
    saved = har(entry(message()), browser={"name": "Firefox", "version": "150.0"})
    assert [number for number, _ in read_entries(io.BytesIO(saved.encode()), found)] == [1]
    assert found.browser == {"name": "Firefox", "version": "150.0"}
    assert found.creator["name"] == "WebInspector"


def test_an_error_of_reading_is_the_only_one():
    with pytest.raises(HarError):
        list(read_entries(io.BytesIO(b"nonsense"), Har()))


# -------------------------------------------------------------------- check without an import


def test_check_reads_a_har_as_what_the_import_makes_of_it(chat):
    report = check(SAVED)
    recordings = [check(path) for path in chat]
    assert (report.verdict, report.unit) == (Verdict.PASS, "message")
    assert report.messages == sum(each.messages for each in recordings)


def test_check_names_entry_and_message(tmp_path):
    early = message(";any;;say;0;0;hi")
    visit = message(), message("A7", sent=False)
    entries = [{"request": {"url": "http://x/"}}, entry(*visit), entry(*visit, early)]
    (tmp_path / "a.har.gz").write_bytes(gzip.compress(har(*entries).encode()))
    (tmp_path / "b.jsonl").write_bytes(recorded(*VISIT))
    done = run_command("check", tmp_path, "--jobs", "1")
    assert done.returncode == 1
    assert b"message 3, connection 3: the client violated NS-11" in done.stdout
    assert b"2 recordings, 9 messages: 1 pass, 1 fail" in done.stdout


def test_connections_of_a_har_are_checked_from_their_beginning_alone(tmp_path):
    path = tmp_path / "saved"  # a HAR is known by its beginning
    middle = message("$2;app;;_OnNamespaceConnect;0;0;")
    chat = entry(message("hello"))
    path.write_text(har(entry(), entry(middle), chat, chat, entry(message())))
    report = check(path)
    assert (report.verdict, report.messages) == (Verdict.PASS, 1)
    assert report.all_notes == [
        "1 WebSocket connections were not read: the HAR does not have their messages",
        "1 WebSocket connections were not read: their beginnings are not in the HAR",
        "2 WebSocket connections were not read: they do not look like neffos",
    ]


def test_damaged_entries_are_named_and_the_rest_is_checked(tmp_path):
    path = tmp_path / "a.har"
    path.write_text(har(entry(message(), url="ws:///"), entry(message()))[:-3])
    done = run_command("check", path)
    assert done.returncode == 1
    assert b"  entry 1: the url has no host" in done.stdout
    assert b"  not JSON after entry 2: " in done.stdout


@pytest.mark.parametrize(("native", "code"), [("never", 1), ("fallback", 0)])
def test_native_says_what_messages_that_are_not_frames_are(tmp_path, native, code):
    path = tmp_path / "a.har"
    visit = [message(text, sent=sent) for sent, text in VISIT]
    path.write_text(har(entry(*visit, message("hello"))).replace("app", ""))
    assert run_command("check", path, "--native", native).returncode == code
