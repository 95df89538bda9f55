"""Judging recordings: what is found, what is known, and what cannot be read."""

import io
import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import orjson
import pytest

from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.recordings import checking as judging
from neffos_conformance.recordings.checking import MAX_FINDINGS, MAX_PAYLOAD, judge_stream
from neffos_conformance.wire.connection import ConnectionClosed
from neffos_conformance.wire.transcript import Entry, header, save, values_of

PROGRAM = Path(sys.executable).with_name("neffos-wire")
VISIT = [
    (True, "M"),
    (False, "A7"),
    (True, "$1;app;;_OnNamespaceConnect;0;0;"),
    (False, "$1;;;;;;"),
]
EARLY = (True, ";any;;say;0;0;hi")
"""An event for a namespace that is not connected: NS-11, a MUST NOT."""


def recorded(*said, connection: int = 1, **about) -> bytes:
    first = header(scenario="s", client={"peer": "c"}, server={"peer": "p"}, how="test", **about)
    entries = [Entry(0, n / 10, connection, *each) for n, each in enumerate(said)]
    return b"".join(orjson.dumps(values) + b"\n" for values in (first, *map(values_of, entries)))


def judge(octets: bytes):
    return judge_stream(io.BytesIO(octets))


def test_a_sound_recording_passes():
    judged = judge(recorded(*VISIT))
    assert (judged.verdict, judged.messages, judged.lines) == (Verdict.PASS, 4, 5)
    assert judged.broken == []


def test_what_is_broken_is_told_with_line_role_and_bytes():
    judged = judge(recorded(*VISIT, EARLY))
    [broken] = judged.broken
    assert judged.verdict is broken.verdict is Verdict.FAIL
    assert (broken.line, broken.connection, broken.payload) == (6, 1, EARLY[1])
    assert (broken.finding.requirement, broken.finding.role) == ("NS-11", "client")


def test_a_known_defect_is_no_failure_and_one_of_the_other_role_is():
    known = judge(recorded(*VISIT, EARLY, defects={"NS-11": "client"}))
    assert known.verdict is Verdict.PASS
    assert known.broken[0].is_known
    other = judge(recorded(*VISIT, EARLY, defects={"NS-11": "server"}))
    assert other.verdict is Verdict.ERROR
    assert other.unshown == ["NS-11"]


def test_a_defect_that_does_not_show_is_told():
    judged = judge(recorded(*VISIT, defects={"NS-11": "client"}))
    assert judged.verdict is Verdict.ERROR
    assert judged.unshown == ["NS-11"]


@pytest.mark.parametrize(
    ("native", "verdict"), [("never", Verdict.FAIL), ("fallback", Verdict.PASS)]
)
def test_the_header_says_what_is_made_of_native_messages(native, verdict):
    visit = [(side, text.replace("app", "")) for side, text in VISIT]
    assert judge(recorded(*visit, (True, "hello"), native=native)).verdict is verdict


def test_connections_are_judged_apart_and_not_beyond_their_end():
    octets = recorded(*VISIT, (True, ConnectionClosed(1000)), (False, "late"))
    other = recorded(EARLY, connection=2).split(b"\n", 1)[1]
    judged = judge(octets + other)
    assert [(each.connection, each.line) for each in judged.broken][:1] == [(2, 8)]


def test_damage_is_told_by_line_and_the_rest_is_judged():
    lines = recorded(*VISIT, EARLY).splitlines(keepends=True)
    judged = judge(b"".join([*lines[:3], b"{broken\n", *lines[3:-1], lines[-1][:30]]))
    assert [each.line for each in judged.damage] == [4, 7]
    assert judged.verdict is Verdict.ERROR
    judged = judge(b"".join([*lines[:3], b"{broken\n", *lines[3:]]))
    assert [each.line for each in judged.broken] == [7]


def test_a_recording_without_messages_proves_nothing():
    assert judge(recorded()).verdict is Verdict.ERROR
    assert judge(b"").verdict is Verdict.ERROR


def test_of_many_findings_the_counts_are_whole_and_little_is_kept():
    big = (True, ";any;;say;0;0;" + "x" * 10_000)
    judged = judge(recorded(*VISIT, *[big] * (MAX_FINDINGS + 50)))
    assert judged.counts["NS-11", "client"] == MAX_FINDINGS + 50
    assert len(judged.broken) == MAX_FINDINGS
    assert all(len(each.payload) == MAX_PAYLOAD for each in judged.broken)
    assert judged.broken[0].size == len(big[1])


def rest(*said, connection: int) -> bytes:
    """Give what comes behind a header."""
    return recorded(*said, connection=connection).split(b"\n", 1)[1]


REQUEST = (True, "$2;app;;echo;0;0;hi")
"""Right behind a visit, and wrong on a connection that has just begun."""


def test_too_many_connections_at_a_time_are_told_of_and_never_judged_from_the_middle(monkeypatch):
    monkeypatch.setattr(judging, "MAX_CONNECTIONS", 3)
    begun = b"".join(rest(*VISIT, connection=number) for number in range(1, 6))
    judged = judge(recorded() + begun)
    assert judged.unjudged == 2
    more = b"".join(rest(REQUEST, connection=number) for number in range(1, 6))
    judged = judge(recorded() + begun + more)
    assert (judged.verdict, judged.unjudged) == (Verdict.PASS, 2)
    judged = judge(recorded() + begun + more + rest(EARLY, EARLY, connection=5))
    assert {each.connection for each in judged.broken} == {5}


def test_connections_that_ended_leave_their_place_to_others(monkeypatch):
    monkeypatch.setattr(judging, "MAX_CONNECTIONS", 2)
    ended = b"".join(
        rest(*VISIT, (True, ConnectionClosed(1000)), connection=n) for n in range(2, 6)
    )
    judged = judge(recorded(*VISIT) + ended + rest(EARLY, connection=1))
    assert judged.unjudged == 0
    assert [each.connection for each in judged.broken] == [1]


def test_what_was_long_ago_is_not_judged_from_the_middle_either(monkeypatch):
    monkeypatch.setattr(judging, "MAX_FORMER", 2)
    ended = b"".join(
        rest(*VISIT, (True, ConnectionClosed(1000)), connection=n) for n in range(1, 6)
    )
    late = b"".join(rest(REQUEST, connection=n) for n in range(1, 6))
    judged = judge(recorded() + ended + late + rest(*VISIT, EARLY, connection=6))
    assert [each.connection for each in judged.broken] == [6]
    assert judged.unjudged == 5


def test_a_long_recording_is_judged_in_little_memory(tmp_path):
    path = tmp_path / "long.jsonl"
    ask = [(True, "$2;app;;echo;0;0;hi"), (False, "$2;app;;echo;0;0;hi")]
    entries = (
        Entry(0, 1.0, 1, side, text.replace("$2", f"$t{number}"))
        for number in range(20_000)
        for side, text in ask
    )
    first = header(scenario="s", client={"peer": "c"}, server={"peer": "p"}, how="test")
    visit = [Entry(0, 0.0, 1, *each) for each in VISIT]
    save(path, first, (*visit, *entries))
    tracemalloc.start()
    with path.open("rb") as stream:
        judged = judge_stream(stream)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (judged.verdict, judged.messages) == (Verdict.PASS, 40_004)
    assert peak < path.stat().st_size


# -------------------------------------------------------------------- the command


def check(*arguments: str | Path, **options) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, "check", *arguments],
        capture_output=True,
        text=True,
        env=os.environ | {"COLUMNS": "100"},
        **options,
    )


@pytest.fixture
def files(tmp_path) -> tuple[Path, Path]:
    good, bad = tmp_path / "good.jsonl", tmp_path / "bad.jsonl"
    good.write_bytes(recorded(*VISIT))
    bad.write_bytes(recorded(*VISIT, EARLY))
    return good, bad


def test_check_says_what_is_wrong_and_where(files):
    done = check(*files)
    assert done.returncode == 1
    assert "line 6, connection 1: the client broke NS-11" in done.stdout
    assert "MUST NOT send an event" in done.stdout
    assert repr(EARLY[1]) in done.stdout
    assert "2 recordings, 9 messages: 1 pass, 1 fail" in done.stdout
    assert "good.jsonl" not in done.stdout


def test_check_of_a_sound_recording_says_so_and_exits_with_0(files):
    done = check(files[0], "-v")
    assert (done.returncode, done.stderr) == (0, "")
    assert "good.jsonl" in done.stdout


def test_check_gives_json(files):
    done = check(*files, "--json")
    values = json.loads(done.stdout)
    assert [each["verdict"] for each in values["recordings"]] == ["pass", "fail"]
    [broken] = values["recordings"][1]["broken"]
    assert broken.items() >= {"line": 6, "requirement": "NS-11", "text": EARLY[1]}.items()


def test_check_has_nothing_to_judge_in_an_empty_recording(tmp_path):
    path = tmp_path / "empty.jsonl"
    path.write_bytes(recorded())
    done = check(path)
    assert done.returncode == 2
    assert "no message to judge" in done.stderr


def test_check_of_no_file_is_a_usage_error(tmp_path):
    assert check().returncode == 2
    assert check(tmp_path / "nowhere.jsonl").returncode == 2
