"""Files at URLs: what a URL means, how it is read, and what is said where it cannot be."""

import gzip
import io
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import fsspec
import pytest

from neffos_conformance.recordings.checking import check
from neffos_conformance.recordings.journal import Journal
from neffos_conformance.recordings.shares import Reading, plan
from neffos_conformance.wire.packed import find_with_urls, size, stem
from neffos_conformance.wire.remote import Url, is_url

from .commands import run
from .test_check import EARLY, VISIT, recorded
from .test_har import entry, har, message


@pytest.fixture
def memory():
    """An object store in memory, with some recordings."""
    files = fsspec.filesystem("memory")
    files.pipe("/logs/a.jsonl", recorded(*VISIT))
    files.pipe("/logs/b/b.jsonl.gz", gzip.compress(recorded(*VISIT, EARLY)))
    files.pipe("/logs/b/c.har", har(entry(message(), message("A1", sent=False))).encode())
    files.pipe("/logs/read.me", b"not a recording")
    yield files
    files.rm("/logs", recursive=True)


@pytest.fixture
def served(tmp_path):
    """The URL of a server on this machine, and its folder."""
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path)
    handler.func.log_message = lambda *_: None
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=partial(server.serve_forever, 0.01))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", tmp_path
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("memory://logs/a.jsonl", ["a.jsonl"]),
        ("memory://logs", ["a.jsonl", "b/b.jsonl.gz", "b/c.har"]),
        ("memory://logs/*.jsonl", ["a.jsonl"]),
        ("memory://logs/b*", ["b/b.jsonl.gz", "b/c.har"]),
        ("memory://logs/**/*.jsonl*", ["a.jsonl", "b/b.jsonl.gz"]),
    ],
)
def test_a_url_is_a_file_a_folder_or_a_pattern(memory, name, found):
    urls = find_with_urls([name, name], ".jsonl", ".har")
    assert [each.text.partition("logs/")[2] for each in urls] == found


def test_check_and_import_read_urls(memory, tmp_path):
    done = run("check", "memory://logs", "--jobs", "1")
    assert done.returncode == 1, done.stderr
    assert b"/logs/b/b.jsonl.gz 5 messages" in done.stdout.replace(b"\n", b"")
    assert b"3 recordings, 11 messages: 2 pass, 1 fail" in done.stdout
    done = run("import", "memory://logs/b/c.har", "-o", tmp_path)
    assert done.returncode == 0, done.stderr
    assert check(tmp_path / "c-1.jsonl").messages == 2


def test_a_web_server_is_read_with_and_without_a_query(served):
    url, folder = served
    (folder / "a.jsonl").write_bytes(recorded(*VISIT, EARLY))
    path = Url(f"{url}/a.jsonl?signature=secret")
    read = []
    report = check(path, read.append)
    assert report == check(folder / "a.jsonl")
    assert sum(read) == size(path) == (folder / "a.jsonl").stat().st_size
    assert find_with_urls([path.text], ".jsonl") == [path]
    assert str(path) == f"{url}/a.jsonl?signature=***"
    assert stem(path) == "a"
    done = run("check", path.text, "--json")
    assert b"secret" not in done.stdout
    assert b"signature=***" in done.stdout


def test_what_cannot_be_had_is_one_line(memory, served):
    for name, complaint in (
        ("memory://logs/none.jsonl", "memory://logs/none.jsonl cannot be read: it does not exist"),
        ("memory://logs/none*", "memory://logs/none* means no file. Try: another URL"),
        (f"{served[0]}/none?token=secret", "none?token=*** cannot be read: it does not exist"),
        ("none://x/y", "none://x/y cannot be read: Protocol not known: none"),
    ):
        done = run("check", name, "--jobs", "1")
        assert done.returncode == 2
        assert complaint in " ".join(done.stderr.decode().split())


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    done = run("check", "memory://logs")
    assert done.returncode == 2
    assert b"pip install 'neffos-wire[cloud]'" in done.stderr


def test_a_transfer_that_breaks_off_is_reported_and_what_precedes_it_checked(memory, monkeypatch):
    class Broken(io.BytesIO):
        def read(self, size=-1):
            if data := super().read(size):
                return data
            raise ConnectionResetError("reset by peer")

    content = recorded(*VISIT, EARLY)
    monkeypatch.setattr(type(memory), "open", lambda *_: Broken(content))
    report = check(Url("memory://logs/a.jsonl"))
    assert report.counts == {("NS-11", "client"): 1}
    [line] = report.unreadable
    assert (line.line, line.reason) == (7, "the file cannot be read on: reset by peer")
    monkeypatch.setattr(type(memory), "open", lambda *_: Broken(b'{"log":{"entries":[]'))
    [line] = check(Url("memory://logs/a.har")).unreadable
    assert line.reason == "cannot be read: reset by peer"


def test_the_journal_knows_a_url_by_its_state(memory, tmp_path):
    [unit] = plan([Url("memory://logs/a.jsonl")], 1, Reading())
    journal = Journal(tmp_path / "journal")
    assert journal.find(unit) is None
    journal.add(unit, check(unit.path))
    journal.close()
    for content, is_found in ((None, True), (recorded(*VISIT, EARLY), False)):
        if content:
            memory.pipe("/logs/a.jsonl", content)
        journal = Journal(tmp_path / "journal")
        assert (journal.find(unit) is not None) is is_found
        journal.close()


def test_paths_are_no_urls():
    for name in ("C:\\logs", "logs/a.jsonl", "-", "a:b", "http:/x"):
        assert not is_url(name)
    assert is_url("simplecache::s3://logs")
