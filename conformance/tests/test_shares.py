"""Files checked in shares of their connections: the report is that of a check in one piece."""

import io
from random import Random

import pytest

from neffos_conformance.recordings import capture, checking, shares
from neffos_conformance.recordings.capture import MISSING, TOO_MANY
from neffos_conformance.recordings.check_report import report_values
from neffos_conformance.recordings.checking import check
from neffos_conformance.recordings.packets import save_capture
from neffos_conformance.recordings.shares import MIN_SHARED, Reading, Share, Unit, merged, plan
from neffos_conformance.wire.closing import ConnectionClosed
from neffos_conformance.wire.transcript import Entry, header, lines, read_lines

from .commands import run
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


LAST = b'{"time":%d,"connection":%d,"from":"client","text":";app;;say;0;0;hi"}\n'


@pytest.mark.parametrize(
    "end",
    [
        LAST % (100, 61) + LAST % (90, 60) + LAST % (80, 61),
        LAST % (99, 61) + LAST % (98, 60) + LAST % (97, 60) + b"{broken\n",
        (LAST % (99, 60) + LAST % (98, 61))[:-9],
        LAST.replace(b"\n", b"\r\n") % (99, 60) + b"\n" + LAST % (98, 63),
        LAST.replace(b'"text":"', b'"text":""') % (99, 60) + LAST % (99, 60) + LAST % (99, 61),
        LAST.replace(b"hi", b"\xff") % (99, 60) + LAST.replace(b"hi", b"\\q") % (99, 61),
        LAST.replace(b"hi", b"\xff") % (99, 63) + LAST.replace(b"hi", b"\\q") % (99, 64),
        LAST.replace(b"}", b',"connection":61}') % (99, 60),
        LAST.replace(b"}", b',"text":null}') % (99, 60),
        b'{"from":"client","connection":60,"text":"x","time":5}\n' + LAST % (99, 61),
    ],
)
@pytest.mark.parametrize("count", [2, 3])
def test_the_last_lines_are_those_of_one_piece(tmp_path, end, count):
    path = tmp_path / "a.jsonl"
    start = b"".join(LAST.replace(b";app;;say;0;0;hi", b"M") % (1, each) for each in (60, 61, 62))
    path.write_bytes(recording(0, broken=False).partition(b"\n")[0] + b"\n" + start + end)
    whole = check(path)
    assert whole.pending_asks
    assert in_shares(path, count) == whole


def test_messages_on_connections_of_other_shares_are_passed_over(tmp_path, monkeypatch):
    path = tmp_path / "a.jsonl"
    entries = [Entry(0, 0.0, number % 2 + 1, True, ";app;;say;0;0;hi") for number in range(100)]
    first = header(scenario="s", client={"peer": "c"}, server={"peer": "p"}, how="t")
    path.write_bytes(b"".join(lines(first, entries)))
    fed = []
    feed = checking.Monitors.feed
    monkeypatch.setattr(checking.Monitors, "feed", lambda *each: fed.append(each) or feed(*each))
    assert check(path, share=Share(1, 2)).messages == 50
    assert len(fed) == 51


def packets(seed, *, connections=60):
    """Give a capture of such a recording, with packets that are late, sent again or missing."""
    random = Random(seed)
    first, *entries = read_lines(io.BytesIO(recording(seed, connections=connections, broken=False)))
    written = io.BytesIO()
    save_capture(written, first | {"defects": {"FR-1": "server"}}, entries)
    data, blocks = written.getvalue(), []
    while data:
        size = int.from_bytes(data[4:8], "little")
        blocks.append(data[:size])
        data = data[size:]
    later = blocks[3:]  # the first packet has the header
    places = [(at + random.choice([0, 0, 0, 3]), each) for at, each in enumerate(later)]
    places += [(at + random.uniform(1, 9), each) for at, each in enumerate(later[::7])]
    mixed = [each for _, each in sorted(places) if random.random() < 0.98]
    bluetooth = b"".join(
        [blocks[1][:8], b"\xc9", blocks[1][9:]]
    )  # an interface, and a packet there
    return b"".join([*blocks[:3], *mixed, bluetooth, blocks[-1][:8], b"\1", blocks[-1][9:]])


@pytest.mark.parametrize("count", [2, 5])
@pytest.mark.parametrize(("seed", "lane", "note"), [(0, 64, MISSING), (1, 2, TOO_MANY)])
def test_the_report_on_a_capture_is_that_of_one_piece(
    tmp_path, monkeypatch, seed, lane, note, count
):
    monkeypatch.setattr("neffos_conformance.recordings.check_report.MAX_VIOLATIONS", 8)
    monkeypatch.setattr(shares, "MAX_VIOLATIONS", 8)
    monkeypatch.setattr(checking, "MAX_VIOLATIONS", 8)
    monkeypatch.setattr(checking, "MAX_FORMER", 5)
    monkeypatch.setattr(capture, "LANES", 5)
    monkeypatch.setattr(capture, "MAX_LANE", lane)
    path = tmp_path / "a.pcapng"
    path.write_bytes(packets(seed))
    whole = check(path)
    assert 8 <= len(whole.violations) < sum(whole.counts.values())
    assert len(whole.pending_asks) == 8
    assert note in {note.partition(": ")[2] for note in whole.notes}
    assert len(whole.all_notes) > len(whole.notes)
    assert in_shares(path, count) == whole
    path.write_bytes(path.read_bytes() + b"\xff" * 40)
    assert in_shares(path, count) == check(path)
    assert check(path).unreadable_lines


@pytest.mark.parametrize("end", [-1, -30])
def test_the_report_on_a_har_is_that_of_one_piece(tmp_path, end):
    said = [message(text, sent=side) for side, text in VISIT]
    bad = message(";any;;say;0;0;hi")
    entries = [
        {"request": {"url": "http://x/"}},
        entry(),
        entry(message(), url="ws:///"),
        entry(*said, bad, url="wss://first.example/"),
        *(entry(*said, message("$2;app;;echo;0;0;hi"), *number * [bad]) for number in range(5)),
        entry(message("hello")),
        entry(*said[2:]),
        entry(message(), url="ws:///"),
    ]
    path = tmp_path / "a.har"
    path.write_text(har(*entries)[:end])
    whole = check(path)
    assert whole.unreadable_lines
    assert whole.pending_asks
    assert whole.header["server"]["peer"] == "first.example"
    for count in (2, 3, 20):
        assert in_shares(path, count) == whole


def test_the_recording_of_a_cluster_is_one_piece(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(recording(1, broker={"kind": "redis"}))
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
