"""Judging recordings: what is found, what is known, and what cannot be read."""

import io
import json
import subprocess
import tracemalloc
from pathlib import Path

import pytest

from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.recordings import checking
from neffos_conformance.recordings.check_report import MAX_PAYLOAD, MAX_VIOLATIONS
from neffos_conformance.recordings.checking import check_stream
from neffos_conformance.wire.connection import ConnectionClosed
from neffos_conformance.wire.transcript import Entry, header, lines, save

from .commands import run_text

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
    return b"".join(lines(first, entries))


def checked(data: bytes):
    return check_stream(io.BytesIO(data))


def test_a_sound_recording_passes():
    report = checked(recorded(*VISIT))
    assert (report.verdict, report.messages, report.lines) == (Verdict.PASS, 4, 5)
    assert report.violations == []


def test_a_violation_has_its_line_role_and_bytes():
    report = checked(recorded(*VISIT, EARLY))
    [violation] = report.violations
    assert report.verdict is violation.verdict is Verdict.FAIL
    assert (violation.line, violation.connection, violation.payload) == (6, 1, EARLY[1])
    assert (violation.requirement, violation.role) == ("NS-11", "client")


def test_a_known_defect_is_no_failure_and_one_of_the_other_role_is():
    known = checked(recorded(*VISIT, EARLY, defects={"NS-11": "client"}))
    assert known.verdict is Verdict.PASS
    assert known.violations[0].is_known
    other = checked(recorded(*VISIT, EARLY, defects={"NS-11": "server"}))
    assert other.verdict is Verdict.ERROR
    assert other.stale_defects == ["NS-11"]


def test_a_defect_that_does_not_show_is_reported():
    report = checked(recorded(*VISIT, defects={"NS-11": "client"}))
    assert report.verdict is Verdict.ERROR
    assert report.stale_defects == ["NS-11"]


@pytest.mark.parametrize(
    ("native", "verdict"), [("never", Verdict.FAIL), ("fallback", Verdict.PASS)]
)
def test_the_header_says_what_is_made_of_native_messages(native, verdict):
    visit = [(side, text.replace("app", "")) for side, text in VISIT]
    assert checked(recorded(*visit, (True, "hello"), native=native)).verdict is verdict


def test_connections_are_checked_apart_and_not_beyond_their_end():
    data = recorded(*VISIT, (True, ConnectionClosed(1000)), (False, "late"))
    other = recorded(EARLY, connection=2).split(b"\n", 1)[1]
    report = checked(data + other)
    assert [(each.connection, each.line) for each in report.violations][:1] == [(2, 8)]


def test_damage_is_reported_by_line_and_the_rest_is_checked():
    lines = recorded(*VISIT, EARLY).splitlines(keepends=True)
    report = checked(b"".join([*lines[:3], b"{broken\n", *lines[3:-1], lines[-1][:30]]))
    assert [each.line for each in report.unreadable] == [4, 7]
    assert report.verdict is Verdict.ERROR
    report = checked(b"".join([*lines[:3], b"{broken\n", *lines[3:]]))
    assert [each.line for each in report.violations] == [7]


def test_a_recording_without_messages_proves_nothing():
    assert checked(recorded()).verdict is Verdict.ERROR
    assert checked(b"").verdict is Verdict.ERROR


def test_of_many_violations_the_counts_are_whole_and_little_is_kept():
    big = (True, ";any;;say;0;0;" + "x" * 10_000)
    report = checked(recorded(*VISIT, *[big] * (MAX_VIOLATIONS + 50)))
    assert report.counts["NS-11", "client"] == MAX_VIOLATIONS + 50
    assert len(report.violations) == MAX_VIOLATIONS
    assert all(len(each.payload) == MAX_PAYLOAD for each in report.violations)
    assert report.violations[0].size == len(big[1])


def rest(*said, connection: int) -> bytes:
    """Give what comes behind a header."""
    return recorded(*said, connection=connection).split(b"\n", 1)[1]


REQUEST = (True, "$2;app;;echo;0;0;hi")
"""Right behind a visit, and wrong on a connection that has just begun."""


def test_too_many_connections_at_a_time_are_reported_and_never_checked_from_the_middle(monkeypatch):
    monkeypatch.setattr(checking, "MAX_CONNECTIONS", 3)
    begun = b"".join(rest(*VISIT, connection=number) for number in range(1, 6))
    report = checked(recorded() + begun)
    assert report.unchecked == 2
    more = b"".join(rest(REQUEST, connection=number) for number in range(1, 6))
    report = checked(recorded() + begun + more)
    assert (report.verdict, report.unchecked) == (Verdict.PASS, 2)
    report = checked(recorded() + begun + more + rest(EARLY, EARLY, connection=5))
    assert {each.connection for each in report.violations} == {5}


def test_connections_that_ended_make_room_for_others(monkeypatch):
    monkeypatch.setattr(checking, "MAX_CONNECTIONS", 2)
    ended = b"".join(
        rest(*VISIT, (True, ConnectionClosed(1000)), connection=n) for n in range(2, 6)
    )
    report = checked(recorded(*VISIT) + ended + rest(EARLY, connection=1))
    assert report.unchecked == 0
    assert [each.connection for each in report.violations] == [1]


def test_what_was_long_ago_is_not_checked_from_the_middle_either(monkeypatch):
    monkeypatch.setattr(checking, "MAX_FORMER", 2)
    ended = b"".join(
        rest(*VISIT, (True, ConnectionClosed(1000)), connection=n) for n in range(1, 6)
    )
    late = b"".join(rest(REQUEST, connection=n) for n in range(1, 6))
    report = checked(recorded() + ended + late + rest(*VISIT, EARLY, connection=6))
    assert [each.connection for each in report.violations] == [6]
    assert report.unchecked == 5


def test_a_long_recording_is_checked_in_little_memory(tmp_path):
    path = tmp_path / "long.jsonl"
    ask = [(True, "$2;app;;echo;0;0;hi"), (False, "$2;app;;echo;0;0;hi")]
    entries = (
        Entry(0, 1.0, 1, side, text.replace("$2", f"$t{number}"))
        for number in range(3_000)
        for side, text in ask
    )
    first = header(scenario="s", client={"peer": "c"}, server={"peer": "p"}, how="test")
    visit = [Entry(0, 0.0, 1, *each) for each in VISIT]
    save(path, first, (*visit, *entries))
    tracemalloc.start()
    with path.open("rb") as stream:
        report = check_stream(stream)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (report.verdict, report.messages) == (Verdict.PASS, 6_004)
    assert peak < path.stat().st_size


# -------------------------------------------------------------------- the command


def check(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return run_text("check", *arguments)


@pytest.fixture
def files(tmp_path) -> tuple[Path, Path]:
    good, bad = tmp_path / "good.jsonl", tmp_path / "bad.jsonl"
    good.write_bytes(recorded(*VISIT))
    bad.write_bytes(recorded(*VISIT, EARLY))
    return good, bad


def test_check_says_what_is_wrong_and_where(files):
    done = check(*files)
    assert done.returncode == 1
    assert "line 6, connection 1: the client violated NS-11" in done.stdout
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
    [violation] = values["recordings"][1]["violations"]
    assert violation.items() >= {"line": 6, "requirement": "NS-11", "text": EARLY[1]}.items()


def test_check_has_nothing_to_check_in_an_empty_recording(tmp_path):
    path = tmp_path / "empty.jsonl"
    path.write_bytes(recorded())
    done = check(path)
    assert done.returncode == 2
    assert "none of the files contains a message" in done.stderr


def test_check_of_no_file_is_a_usage_error(tmp_path):
    assert check().returncode == 2
    assert check(tmp_path / "nowhere.jsonl").returncode == 2


@pytest.mark.parametrize(
    ("query", "is_broken"),
    [
        ("X-Websocket-Header-Name=v", False),
        ("x-websocket-header-name=v&room=1", False),
        ("NAMEX-Websocket-Header-=v", True),
        ("X-Websocket-Header-=v", True),
        ("room=X-Websocket-Header-", False),
    ],
)
def test_a_query_parameter_that_stands_for_no_header_is_a_violation_of_the_client(query, is_broken):
    entries = [
        {"format": 1, "scenario": "s", "client": {"peer": "x"}, "server": {"peer": "y"}}
        | {"recorded": "2026-11-29T09:57:11+00:00", "how": "by hand"},
        {"time": 0.1, "connection": 1, "from": "client"}
        | {"opened": {"path": f"/?{query}", "headers": {}}},
        {"time": 0.2, "connection": 1, "from": "client", "text": "M"},
        {"time": 0.3, "connection": 1, "from": "server", "text": "A1"},
    ]
    report = check_stream(io.BytesIO("\n".join(map(json.dumps, entries)).encode()))
    assert [(each.requirement, each.role) for each in report.violations] == (
        [("TR-19", "client")] if is_broken else []
    )
