"""Files of recordings: private, one writer each; JSON bounded before it is parsed."""

import fcntl
import io
import json
import os
import re
import stat
import tracemalloc
from pathlib import Path

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from neffos_conformance.cli import main as cli
from neffos_conformance.cli.import_har import import_command
from neffos_conformance.cli.record import record_command
from neffos_conformance.cli.show import show_command
from neffos_conformance.recordings import har
from neffos_conformance.recordings.har import Har, HarError, read_entries
from neffos_conformance.runner.known_failures import KnownFailuresError, read_known_failures
from neffos_conformance.wire.files import EncodingError, FileInUseError, open_private
from neffos_conformance.wire.json_bounds import (
    MAX_DEPTH,
    MAX_NUMBER,
    BoundedJson,
    JsonBoundsError,
)
from neffos_conformance.wire.transcript import header, save

CHUNK = 64
FIRST = header(scenario="x", client={"peer": "x"}, server={"peer": "x"}, how="x")


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


# -------------------------------------------------------------------- files


def test_a_file_is_for_its_owner_alone_also_if_it_was_there(tmp_path):
    path = tmp_path / "a"
    open_private(path).close()
    assert mode(path) == 0o600
    path.chmod(0o666)
    path.write_bytes(b"before")
    with open_private(path) as stream:
        stream.write(b"x")
    assert mode(path) == 0o600
    assert path.read_bytes() == b"x"


def test_what_a_recording_becomes_is_private_too(tmp_path):
    save(tmp_path / "a.jsonl", FIRST, [])
    page = tmp_path / "a.html"
    assert CliRunner().invoke(show_command, [str(tmp_path / "a.jsonl"), "--html", str(page)])
    assert mode(tmp_path / "a.jsonl") == mode(page) == 0o600


def test_a_device_is_written_as_it_is():
    before = os.stat(os.devnull).st_mode
    with open_private(Path(os.devnull)) as stream:
        stream.write(b"x")
    assert os.stat(os.devnull).st_mode == before


def test_a_file_that_is_being_written_is_not_destroyed(tmp_path):
    path = tmp_path / "a"
    with open_private(path) as stream:
        stream.write(b"line\n" * 200)
        stream.flush()
        with pytest.raises(FileInUseError, match="another process is writing this file"):
            open_private(path)
    assert path.read_bytes() == b"line\n" * 200
    open_private(path).close()
    assert path.read_bytes() == b""


def test_a_second_record_leaves_the_first_alone(tmp_path):
    path = tmp_path / "a.jsonl"
    save(path, FIRST, [])
    before = path.read_bytes()
    with path.open("rb+") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        done = CliRunner().invoke(record_command, ["ws://127.0.0.1:1", "-o", str(path)])
    assert done.exit_code == 2
    assert "another process is writing this file. Try: another name" in done.output
    assert path.read_bytes() == before


@pytest.mark.parametrize("is_new", [True, False])
def test_nothing_is_written_through_a_link_that_leads_nowhere(tmp_path, is_new):
    (tmp_path / "link").symlink_to(tmp_path / "target")
    with pytest.raises(FileExistsError):
        open_private(tmp_path / "link", is_new=is_new)
    assert not (tmp_path / "target").exists()


def test_import_writes_through_no_link(tmp_path):
    entry = {
        "request": {"url": "ws://x/"},
        "_webSocketMessages": [{"type": "send", "data": "M"}],
    }
    saved = tmp_path / "a.har"
    saved.write_text(json.dumps({"log": {"entries": [entry]}}))
    (tmp_path / "a-1.jsonl").symlink_to(tmp_path / "target")
    done = CliRunner().invoke(import_command, [str(saved), "-o", str(tmp_path)])
    assert done.exit_code == 2
    assert "exists. Recordings are not overwritten" in done.output
    assert not (tmp_path / "target").exists()


@pytest.mark.parametrize("option", ["--report", "--junit", "--html", "--save-recordings", "record"])
def test_a_file_where_a_folder_has_to_be_is_named(tmp_path, monkeypatch, capfd, option):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reports").touch()
    arguments = ["test", "server", "--case", "HS-1.1", "--report", "a.json", option, "reports/a"]
    if option == "record":
        arguments = ["record", "ws://127.0.0.1:1", "-o", "reports/a"]
    with pytest.raises(SystemExit) as end:
        cli.main(arguments)
    assert end.value.code == 2
    shown = capfd.readouterr().err
    assert "cannot be written: reports is a file, not a folder. Try: another name" in shown
    assert "Errno" not in shown


@pytest.mark.parametrize("url", ["ws://[h/", "ws://h:99999/", "ws://", "http://h/", "", "ws:/h"])
@pytest.mark.parametrize("command", ["record", "replay"])
def test_what_is_not_the_url_of_a_web_socket_is_a_usage_error(tmp_path, capfd, command, url):
    path = tmp_path / "a.jsonl"
    save(path, FIRST, [])
    before = path.read_bytes()
    further = ["-o", str(path), url] if command == "record" else [str(path), "--server", url]
    with pytest.raises(SystemExit) as end:
        cli.main([command, *further])
    assert end.value.code == 2
    assert "is not a WebSocket URL" in capfd.readouterr().err
    assert path.read_bytes() == before


KNOWN = """[[known_failure]]
cases = ["HS-1.1"]
verdict = "fail"
observed = "x"
reason = "a reason that is long enough"
link = "https://example.org/1"
"""


def test_known_failures_are_read_as_editors_on_windows_save_them(tmp_path):
    path = tmp_path / "known.toml"
    text = "format = 2\n" + KNOWN
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert [each.case for each in read_known_failures([path])] == ["HS-1.1"]
    path.write_bytes(text.encode("utf-16"))
    with pytest.raises(KnownFailuresError, match="the file is UTF-16"):
        read_known_failures([path])
    path.write_bytes(b"a = " + b"[" * 100_000)
    with pytest.raises(KnownFailuresError, match="is not TOML"):
        read_known_failures([path])


# -------------------------------------------------------------------- JSON


def parts(data: bytes, **bounds: int) -> list[bytes]:
    stream = BoundedJson(io.BytesIO(data), **bounds)
    found = []
    while part := stream.read(CHUNK):
        found.append(part)
    return found


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=50,
)


@given(ANY_JSON, st.booleans())
def test_the_parts_are_the_document_and_split_no_string(values, ascii_only):
    data = json.dumps([values] * 3, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    found = parts(data)
    assert b"".join(found) == data
    for part in found:
        assert re.sub(rb"\\.", b"", part, flags=re.DOTALL).count(b'"') % 2 == 0


@pytest.mark.parametrize(
    "data",
    [b"", b'"', b'"\\', b'{"a', b'"\\"', b"\\", b"[" * 20, b"]]", b'""', b'"' + b"x" * 5000],
)
def test_a_document_that_is_cut_off_comes_through_for_the_parser(data):
    assert b"".join(parts(data)) == data


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"[" * (MAX_DEPTH + 1), "more than 256 levels deep"),
        (b'{"a":' * (MAX_DEPTH + 1), "more than 256 levels deep"),
        (b'["' + b"x" * 20_000, "a string has more than 10000 bytes"),
        (b'["' + b"\\n" * 20_000, "a string has more than 10000 bytes"),
        (b"[" + b"1" * (3 * MAX_NUMBER), "a number has more than 4096 characters"),
        (b" " * 200_000, "the document is too large"),
        (b"\xff\xfe[\x00]\x00", "the file is UTF-16. Try: save it as UTF-8"),
        (b"\xfe\xff\x00[\x00]", "the file is UTF-16. Try: save it as UTF-8"),
    ],
)
def test_what_no_program_writes_ends_before_it_is_parsed(data, complaint):
    stream = BoundedJson(io.BytesIO(data), string=10_000, document=100_000)
    with pytest.raises((JsonBoundsError, EncodingError), match=complaint):
        list(iter(lambda: stream.read(1 << 14), b""))


def test_the_longest_numbers_are_looked_at_once():
    data = b",".join([b"1" * MAX_NUMBER] * 2_500)  # each from each of its digits: one minute
    assert b"".join(parts(data)) == data


def test_the_depth_of_brackets_in_strings_does_not_count():
    data = b'{"' + b"[" * 1000 + b'": "' + b'\\"{' * 1000 + b'"}'
    assert b"".join(parts(data)) == data


def test_a_long_string_is_read_in_few_and_growing_parts():
    class Counted(io.BytesIO):
        reads = 0

        def read(self, size=-1):
            self.reads += 1
            return super().read(size)

    stream = Counted(b'["' + b"x" * (1 << 20) + b'"]')
    bounded = BoundedJson(stream)
    sizes = []
    while part := bounded.read(CHUNK):
        sizes.append(len(part))
    assert max(sizes) > 1 << 20
    assert stream.reads < 30


# -------------------------------------------------------------------- HAR


def read(text: bytes) -> list[dict]:
    return [entry for _, entry in read_entries(io.BytesIO(text), Har())]


@pytest.mark.parametrize("start", [b"", b'{"log":{"entries":[', b'{"log":{"entries":[{"request":'])
def test_forty_kilobytes_of_brackets_take_no_memory(start):
    tracemalloc.start()
    try:
        with pytest.raises(HarError, match="more than 256 levels deep"):
            read(start + b"[" * 40_000)
        assert tracemalloc.get_traced_memory()[1] < 4_000_000
    finally:
        tracemalloc.stop()


def test_what_is_not_used_is_not_built():
    text = b'{"log":{"entries":[{"response":[' + b"{}," * 75_000 + b'{}],"request":{"url":"x"}}]}}'
    tracemalloc.start()
    try:
        assert read(text) == [{"request": {"url": "x"}}]
        assert tracemalloc.get_traced_memory()[1] < len(text) + 4_000_000
    finally:
        tracemalloc.stop()


def test_an_entry_has_a_bounded_number_of_values(monkeypatch):
    monkeypatch.setattr(har, "MAX_VALUES", 1000)
    with pytest.raises(HarError, match="entry 2 has more than 1000 values"):
        read(b'{"log":{"entries":[{}, {"request":[' + b"{}," * 1000 + b"1]}]}}")


@pytest.mark.parametrize(
    "text",
    [
        b'{"log":{"a":{"entries":[{}]},"entries":[{"a":1}]}}',
        b'{"x":[{"log":{"entries":[{}]}}],"log":{"entries":[{"a":1}]}}',
        b'\xef\xbb\xbf{"log":\r\n{"entries":[{"a":1}]}}\r\n',
        b'{"entries":[{}],"log":{"x":["entries",[{}]],"entries":[{"a":[]}]}}',
    ],
)
def test_entries_are_those_of_the_log_alone(text):
    assert read(text) == [{}]
