"""Files of users: those that a name means, plain and compressed ones, and damage."""

import gzip
import io
import sys
import tracemalloc
from pathlib import Path

import pytest
import zstandard

from neffos_conformance.recordings.checking import check, check_stream
from neffos_conformance.wire.packed import (
    DamagedError,
    InputError,
    find,
    open_file,
    open_packed,
    stem,
    unpacked,
)
from neffos_conformance.wire.transcript import (
    TranscriptError,
    UnreadableLine,
    Writer,
    read_lines,
    read_transcript,
)

from .commands import run
from .test_check import EARLY, VISIT, recorded
from .test_har import entry, har, message

PACKED = {
    ".jsonl": bytes,
    ".jsonl.gz": gzip.compress,
    ".jsonl.zst": zstandard.compress,
}


def unpack(data: bytes) -> bytes:
    return unpacked(io.BufferedReader(io.BytesIO(data))).read()


@pytest.fixture
def archive(tmp_path):
    """A folder of recordings in each form, one of which has a violation, and of other files."""
    (tmp_path / "b" / "c").mkdir(parents=True)
    (tmp_path / "a.jsonl").write_bytes(recorded(*VISIT))
    (tmp_path / "b" / "a.jsonl.gz").write_bytes(gzip.compress(recorded(*VISIT, EARLY)))
    (tmp_path / "b" / "c" / "a.jsonl.zst").write_bytes(zstandard.compress(recorded(*VISIT)))
    (tmp_path / "b" / "read.me").write_text("not a recording")
    return tmp_path


# -------------------------------------------------------------------- what a name means


@pytest.mark.parametrize(
    ("names", "found"),
    [
        (["."], ["a.jsonl", "b/a.jsonl.gz", "b/c/a.jsonl.zst"]),
        (["b", "a.jsonl", "a.jsonl"], ["b/a.jsonl.gz", "b/c/a.jsonl.zst", "a.jsonl"]),
        (["*.jsonl"], ["a.jsonl"]),
        (["*"], ["a.jsonl", "b/a.jsonl.gz", "b/c/a.jsonl.zst"]),
        (["**/*.jsonl*"], ["a.jsonl", "b/a.jsonl.gz", "b/c/a.jsonl.zst"]),
        (["b/read.me", "-"], ["b/read.me", "-"]),
        (["[x].jsonl"], ["[x].jsonl"]),
    ],
)
def test_a_name_means_a_file_a_folder_or_a_pattern(archive, monkeypatch, names, found):
    monkeypatch.chdir(archive)
    Path("empty").mkdir()
    if names == ["[x].jsonl"]:
        Path("[x].jsonl").touch()
    assert [each.as_posix() for each in find(names, ".jsonl")] == found


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("nowhere.jsonl", "nowhere.jsonl does not exist. Try: "),
        ("x*.jsonl", "no file matches x*.jsonl. Try: "),
        ("empty", "empty contains no .jsonl"),
    ],
)
def test_a_name_that_means_nothing_is_a_usage_error(tmp_path, name, complaint):
    (tmp_path / "empty").mkdir()
    for command in ("check", "show"):
        done = run(command, name, cwd=tmp_path)
        assert done.returncode == 2
        assert complaint in done.stderr.decode()


def test_the_name_of_a_recording_is_that_without_its_suffixes():
    assert [stem(Path(f"x/a.b.har{each}")) for each in ("", ".gz", ".zst")] == ["a.b"] * 3


# -------------------------------------------------------------------- compression


@pytest.mark.parametrize("pack", [gzip.compress, zstandard.compress])
def test_several_compressed_files_behind_one_another_are_one(pack):
    assert unpack(pack(b"a" * 5000) + pack(b"b") + bytes(512)) == b"a" * 5000 + b"b"


@pytest.mark.parametrize("suffix", PACKED)
def test_a_recording_is_the_same_in_each_form(tmp_path, suffix):
    path = tmp_path / f"visit{suffix}"
    data = recorded(*VISIT, EARLY)  # its header has the second at which it was made
    path.write_bytes(PACKED[suffix](data))
    read = []
    report = check(path, read.append)
    assert report == check_stream(io.BytesIO(data))
    assert sum(read) == path.stat().st_size
    assert len(read_transcript(path).entries) == 5


@pytest.mark.parametrize("suffix", PACKED)
def test_what_is_written_can_be_read_after_each_line_and_at_the_end(tmp_path, suffix):
    path = tmp_path / f"visit{suffix}"
    with open_packed(path) as stream:
        writer = Writer(stream, {"format": 2})
        for from_client, text in VISIT:
            writer.write(1, from_client, text)
        so_far = list(read_lines(unpacked(io.BufferedReader(io.BytesIO(path.read_bytes())))))
    assert path.stat().st_mode & 0o777 == 0o600
    assert [each.content for each in so_far[1:5]] == [text for _, text in VISIT]
    assert [type(each) for each in so_far[5:]] == [UnreadableLine] * (suffix != ".jsonl")
    assert unpack(path.read_bytes()).count(b"\n") == 5


@pytest.mark.parametrize(
    ("pack", "kind"), [(gzip.compress, "gzip"), (zstandard.compress, "Zstandard")]
)
def test_damage_ends_a_recording_and_what_precedes_it_is_checked(pack, kind):
    data = recorded(*VISIT, EARLY)
    whole = pack(data)
    cut = pack(data) + pack(data[:400])[:-6]
    report = check_stream(unpacked(io.BufferedReader(io.BytesIO(cut))))
    [(line, reason)] = [(each.line, each.reason) for each in report.unreadable[-1:]]
    assert line >= 7
    assert f"compressed with {kind} and ends early. Try: the whole file" in reason
    assert report.counts["NS-11", "client"] == 1
    damaged = io.BufferedReader(io.BytesIO(whole[:8] + b"\xff" * 40 + whole[48:]))
    [damage] = read_lines(unpacked(damaged))
    assert f"compressed with {kind} and is damaged: " in damage.reason
    with pytest.raises(DamagedError):
        unpack(whole[:-1])


@pytest.mark.parametrize(("pack", "size"), [(gzip.compress, 16), (zstandard.compress, 100)])
def test_a_small_file_that_becomes_a_huge_line_takes_little_memory(monkeypatch, pack, size):
    monkeypatch.setattr("neffos_conformance.wire.transcript.MAX_LINE", 1 << 20)
    data = pack(recorded(*VISIT) + bytes(size << 20))
    tracemalloc.start()
    *_, last = read_lines(unpacked(io.BufferedReader(io.BytesIO(data))))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert last == UnreadableLine(6, f"the line has more than {1 << 20} bytes")
    assert peak < size << 19


def test_a_missing_package_is_named_with_the_command_that_installs_it(archive, monkeypatch):
    monkeypatch.setitem(sys.modules, "zstandard", None)
    done = run("check", archive, "--jobs", "1")
    assert done.returncode == 2
    assert b"Try: pip install 'neffos-wire[captures]'" in done.stderr
    with pytest.raises(TranscriptError, match="captures"):
        read_transcript(archive / "b" / "c" / "a.jsonl.zst")
    with pytest.raises(InputError, match="captures"):
        open_packed(archive / "new.jsonl.zst")
    assert not (archive / "new.jsonl.zst").exists()


# -------------------------------------------------------------------- the commands


def test_check_takes_a_folder_and_names_each_file(archive):
    done = run("check", archive, "--jobs", "1")
    assert done.returncode == 1
    assert f"fail {archive}/b/a.jsonl.gz 5 messages" in done.stdout.decode().replace("\n", "")
    assert b"3 recordings, 13 messages: 2 pass, 1 fail" in done.stdout


@pytest.mark.parametrize("pack", PACKED.values(), ids=PACKED)
def test_check_and_show_read_standard_input(pack):
    data = pack(recorded(*VISIT))
    done = run("check", "-", "-v", stdin=data)
    assert done.returncode == 0
    assert b"pass standard input 4 messages" in done.stdout
    done = run("show", "-", stdin=data)
    assert done.returncode == 0
    assert b"standard input, recorded" in done.stdout


def test_show_draws_the_only_recording_of_a_folder(archive):
    done = run("show", archive / "b" / "c")
    assert done.returncode == 0
    assert b"a.jsonl.zst, recorded" in done.stdout
    done = run("show", archive)
    assert done.returncode == 2
    assert b"expected one recording, actual 3. Try: " in done.stderr


def test_import_takes_a_folder_of_compressed_files_and_numbers_equal_names(tmp_path):
    saved = har(entry(message(), message("A1", sent=False))).encode()
    for folder, pack in (("a", gzip.compress), ("b", zstandard.compress), ("c", bytes)):
        (tmp_path / folder).mkdir()
        suffix = {gzip.compress: ".gz", zstandard.compress: ".zst"}.get(pack, "")
        (tmp_path / folder / f"x.har{suffix}").write_bytes(pack(saved))
    done = run("import", tmp_path, "-o", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    written = find([str(tmp_path / "out")], ".jsonl")
    assert [each.name for each in written] == ["x-1.jsonl", "x-2.jsonl", "x-3.jsonl"]


def test_import_says_where_a_compressed_file_breaks_off(tmp_path):
    page = {"request": {"url": "https://chat.example/" + "a" * 1000}}
    (tmp_path / "cut.har.gz").write_bytes(gzip.compress(har(*[page] * 100).encode())[:-9])
    done = run("import", tmp_path / "cut.har.gz")
    assert done.returncode == 1
    assert b"cut.har.gz: cannot be read after entry " in done.stderr


def test_a_file_that_cannot_be_opened_is_a_usage_error(tmp_path):
    with (
        pytest.raises(InputError, match=r"cannot be read: Is a directory\. Try: "),
        open_file(tmp_path),
    ):
        pass
