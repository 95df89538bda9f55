"""Long checks that are ended and go on: the report is that of a check in one piece."""

import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from neffos_conformance.cli import check_work
from neffos_conformance.cli.check_work import check_all
from neffos_conformance.recordings import shares
from neffos_conformance.recordings.checking import check
from neffos_conformance.recordings.journal import Journal
from neffos_conformance.recordings.shares import Reading
from neffos_conformance.wire.packed import InputError

from .commands import run
from .test_check import EARLY, VISIT, recorded
from .test_har import entry, har, message
from .test_shares import packets, recording


@pytest.fixture
def files(tmp_path):
    """Some recordings, with all that a report can contain."""
    found = [tmp_path / f"{number}.jsonl" for number in range(4)]
    found[0].write_bytes(recording(0, defects={"NS-11": "client", "FR-1": "server"}))
    found[1].write_bytes(recorded(*VISIT, (True, "$2;app;;x;0;0;\udcff")))
    found[2].write_bytes(recorded(*VISIT, EARLY, broker={"kind": "redis"}))
    found[3].write_bytes(b"nothing")
    return found


@pytest.fixture
def counted(monkeypatch):
    """The files that were checked."""
    checked = []

    def counting(path, *arguments):
        checked.append(path)
        return check(path, *arguments)

    monkeypatch.setattr(check_work, "check", counting)
    return checked


def test_what_is_finished_is_not_checked_again(tmp_path, files, counted):
    journal = tmp_path / "journal"
    first = check_all(files[:2], 1, Reading(), journal)
    assert first == [check(path) for path in files[:2]]
    assert check_all(files, 1, Reading(), journal) == [check(path) for path in files]
    assert check_all(files, 1, Reading(), journal) == [check(path) for path in files]
    assert counted == files
    files[1].write_bytes(recorded(*VISIT))
    check_all(files, 1, Reading(), journal)
    assert counted == [*files, files[1]]
    check_all(files, 1, Reading(native="fallback"), journal)
    assert len(counted) == 9


@pytest.mark.parametrize("damage", [lambda data: data[:-3], lambda data: data + b"\xff" * 50])
def test_a_damaged_end_of_the_journal_is_written_anew(tmp_path, files, counted, damage):
    journal = tmp_path / "journal"
    check_all(files, 1, Reading(), journal)
    whole = journal.read_bytes()
    journal.write_bytes(damage(whole))
    assert check_all(files, 1, Reading(), journal) == [check(path) for path in files]
    assert len(counted) <= 5
    assert journal.read_bytes() == whole
    for size in range(0, len(whole), len(whole) // 6):
        journal.write_bytes(whole[:size])
        assert check_all(files, 1, Reading(), journal) == [check(path) for path in files]
        assert journal.read_bytes() == whole


@pytest.mark.parametrize("kind", ["jsonl", "pcapng", "har"])
def test_finished_shares_of_a_file_are_not_checked_again(tmp_path, monkeypatch, kind):
    monkeypatch.setattr(shares, "MIN_SHARED", 100)
    path = tmp_path / f"a.{kind}"
    said = [message(text, sent=side) for side, text in VISIT]
    entries = [entry(*said, message("$2;app;;echo;0;0;hi"), message("?")) for _ in range(6)]
    content = {"jsonl": recording(0), "pcapng": packets(0), "har": har(*entries).encode()[:-9]}
    path.write_bytes(content[kind])
    whole = check(path)
    assert whole.unreadable_lines or kind == "pcapng"
    units = shares.plan([path], 3, Reading())
    journal = Journal(tmp_path / "journal")
    for unit in units[:2]:
        journal.add(unit, check(path, share=unit.share))
    journal.close()
    journal = Journal(tmp_path / "journal")
    first, second, third = map(journal.find, units)
    journal.close()
    assert third is None
    assert shares.merged([first, second, check(path, share=units[2].share)]) == whole


def test_processes_end_with_a_parent_that_was_killed(monkeypatch):
    ended = []
    parent = SimpleNamespace(join=lambda: ended.append("parent"))
    monkeypatch.setattr(check_work.multiprocessing, "parent_process", lambda: parent)
    monkeypatch.setattr(check_work.os, "_exit", ended.append)
    check_work._end_with_parent()
    assert ended == ["parent", 1]


def test_another_file_is_left_alone(tmp_path, files):
    done = run("check", files[1], "--resume", files[0])
    assert done.returncode == 2
    assert b"0.jsonl is not the journal of a check. Try: another name" in done.stderr
    done = run("check", files[1], "--resume", tmp_path / "none" / "journal")
    assert done.returncode == 2


def test_two_checks_do_not_share_a_journal(tmp_path):
    first = Journal(tmp_path / "journal")
    with pytest.raises(InputError, match="another process is writing this file"):
        Journal(tmp_path / "journal")
    first.close()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="Windows has no named pipes")
def test_a_check_that_was_killed_goes_on(tmp_path, files):
    """Its third file is a pipe, on which it waits until it is killed."""
    journal, pipe = tmp_path / "journal", tmp_path / "2.jsonl"
    content = files[2].read_bytes()
    files[2].unlink()
    os.mkfifo(pipe)
    command = ["check", "--json", "--jobs", "1", *map(str, files), "--resume", str(journal)]
    start = "from neffos_conformance.cli.entry import main; main()"
    child = subprocess.Popen([sys.executable, "-c", start, *command], stdout=subprocess.DEVNULL)
    whole = Journal(tmp_path / "other")
    for path in files[:2]:
        for unit in check_work.plan([path], 1, Reading()):
            whole.add(unit, check(path))
    whole.close()
    needed = (tmp_path / "other").stat().st_size
    while not journal.exists() or journal.stat().st_size < needed:
        assert child.poll() is None
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    pipe.unlink()
    pipe.write_bytes(content)
    resumed = run(*command)
    assert json.loads(resumed.stdout) == json.loads(run(*command[:-2]).stdout)
    assert resumed.returncode == 1
