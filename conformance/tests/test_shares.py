"""Recordings checked in shares of their connections: the report is that of a check in one piece."""

from random import Random

import pytest

from neffos_conformance.recordings import checking, shares
from neffos_conformance.recordings.check_report import report_values
from neffos_conformance.recordings.checking import Reading, Share, check
from neffos_conformance.recordings.shares import MIN_SHARED, Unit, merged, plan
from neffos_conformance.wire.closing import ConnectionClosed
from neffos_conformance.wire.transcript import Entry, header, lines

from .commands import run
from .test_capture import conversation, saved
from .test_check import EARLY, VISIT
from .test_har import entry, har, message

SAID = [
    *VISIT,
    (True, "$2;app;;echo;0;0;hi"),  # mostly unanswered
    (False, "$2;app;;echo;0;0;hi"),
    (True, "$3;app;;echo;0;0;hi"),
    EARLY,
    (False, ";any;;say;0;0;hi"),
    (True, b"not a frame"),
]


def recording(seed, *, connections=60, broken=True, **about):
    """Give a recording of connections that overlap, and go wrong in many ways."""
    random = Random(seed)
    first = header(scenario="s", client={"peer": "c"}, server={"peer": "p"}, how="t", **about)
    left = {number: list(SAID) for number in range(1, connections + 1)}
    entries = []
    while left:
        number = random.choice(list(left)[:12])
        if not left[number] or random.random() < 0.03:
            del left[number]
            if random.random() < 0.5:
                end = ConnectionClosed(None, "", random.choice(["", "cut"]))
                entries.append(Entry(0, len(entries) / 10, number, True, end))
            continue
        side, content = left[number].pop(0)
        if random.random() < 0.95:
            entries.append(Entry(0, len(entries) / 10, number, side, content))
    found = [*lines(first, entries)]
    if broken:
        found[random.randrange(1, len(found))] = b"{broken\n"
        found[random.randrange(1, len(found))] = b'{"time":1,"connection":3,"from":"server"}\n'
    return b"".join(found)


def in_shares(path, count, **options):
    return merged([check(path, share=Share(number, count), **options) for number in range(count)])


@pytest.mark.parametrize("count", [2, 3])
@pytest.mark.parametrize("seed", range(4))
def test_the_report_is_that_of_one_piece(tmp_path, monkeypatch, seed, count):
    monkeypatch.setattr("neffos_conformance.recordings.check_report.MAX_VIOLATIONS", 15)
    monkeypatch.setattr("neffos_conformance.recordings.shares.MAX_VIOLATIONS", 15)
    for name, bound in (("MAX_VIOLATIONS", 15), ("MAX_CONNECTIONS", 10), ("MAX_FORMER", 5)):
        monkeypatch.setattr(checking, name, bound)
    path = tmp_path / "a.jsonl"
    path.write_bytes(recording(seed, defects={"NS-11": "client", "FR-1": "server"}))
    whole = check(path)
    assert whole.unchecked
    assert 15 <= len(whole.violations) < sum(whole.counts.values())
    assert whole.pending_ask_count > len(whole.pending_asks) == 15
    shared = in_shares(path, count)
    assert shared == whole
    assert list(shared.counts) == list(whole.counts)
    assert report_values(shared) == report_values(whole)


def test_a_cluster_a_capture_and_a_har_are_one_piece(tmp_path):
    cluster = tmp_path / "a.jsonl"
    cluster.write_bytes(recording(1, broker={"kind": "redis"}))
    web = tmp_path / "a.har"
    web.write_text(har(entry(message(), message(";any;;say;0;0;hi"))))
    packets = saved(conversation(*VISIT, EARLY), tmp_path / "a.pcap")
    for path in (cluster, web, packets):
        assert in_shares(path, 2) == check(path)
        assert check(path).violations


def test_processes_share_a_file(tmp_path, monkeypatch):
    monkeypatch.setattr(shares, "MIN_SHARED", 100)
    path = tmp_path / "a.jsonl"
    path.write_bytes(recording(1))
    assert len(plan([path], 2, Reading())) == 2
    shared = run("check", path, "--json", "--jobs", "2")
    assert shared.stdout == run("check", path, "--json", "--jobs", "1").stdout


def test_only_a_file_that_is_more_than_its_part_is_shared(tmp_path):
    def file(name, size):
        path = tmp_path / name
        with path.open("wb") as stream:
            stream.truncate(size)
        return path

    reading = Reading()
    large, small = file("large", 9 * MIN_SHARED), file("small", MIN_SHARED - 1)
    units = plan([small, large], 4, reading)
    assert units == [
        Unit(small, Share(), reading),
        *(Unit(large, Share(number, 3), reading) for number in range(3)),
    ]
    assert plan([large], 1, reading) == [Unit(large, Share(), reading)]
    assert len(plan([large, file("other", 9 * MIN_SHARED)], 2, reading)) == 2
