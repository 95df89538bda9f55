"""The corpus: recordings of tested implementations, whose violations are all known."""

from collections import Counter
from pathlib import Path

import pytest

from neffos_conformance.cases.definition import ROLES, cases_of
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.recordings.checking import check
from neffos_conformance.wire.transcript import Header, read_transcript
from neffos_protocol.catalogue import differences, requirements
from peers.corpus import CASE_CLUSTERS, CHAPTERS, corpus, missing, recorded_cases
from peers.failed_cases import DIFFERENCES
from peers.implementations import CLIENTS, SERVERS

CORPUS = Path(__file__).parents[1] / "transcripts"
FILES = sorted(CORPUS.rglob("*.jsonl"))


@pytest.fixture(scope="module")
def headers() -> dict[Path, Header]:
    return {path: read_transcript(path).header for path in FILES}


def test_what_the_corpus_lacks_is_listed_for_a_release(headers):
    whole = {name: headers[path] for name, path in corpus().items()}
    lacking = set(missing(whole))  # what was added since the last release, and is no error here
    shown = Counter(id_ for first in whole.values() for id_ in first.get("shows", ()))
    shown_once = next(id_ for id_, count in sorted(shown.items()) if count == 1)
    difference = next(first["difference"] for first in whole.values() if "difference" in first)
    rest = {
        name: first
        for name, first in whole.items()
        if name != "neffos-go/handshake"
        and shown_once not in first.get("shows", ())
        and first.get("difference") != difference
    }
    assert set(missing(rest)) - lacking >= {
        "neffos-go/handshake: no recording",
        f"{shown_once}: no recording shows it",
        f"{difference}: no recording shows it",
    }
    unknown = whole | {"odd": {"shows": ["XX-1", "SEC-2"], "difference": "DV-999"}}
    assert set(missing(unknown)) - lacking == {
        "XX-1: unknown requirement",
        "SEC-2: recorded, but listed as unseen",
        "DV-999: recorded, but listed as unrecorded",
    }


def test_every_recording_that_is_no_difference_or_chapter_is_of_a_case(headers):
    ids = {each.id for role in ROLES for each in recorded_cases(role)}
    chapters = {each.title for each in CHAPTERS}
    for path, first in headers.items():
        if path.parent.name != DIFFERENCES:
            assert path.stem in ids or first["scenario"] in chapters, path


def test_every_case_to_record_names_peers_and_differences_that_exist():
    known_peers = (("server", SERVERS), ("client", CLIENTS), ("exchange", CASE_CLUSTERS))
    for role, known in known_peers:
        cases = recorded_cases(role)
        assert len({each.id for each in cases}) == len(cases)
        for each in cases:
            assert set(each.record.peers) <= known.keys(), each.id
            assert {*each.requirements, *each.record.defects} <= requirements().keys(), each.id
            assert each.record.difference in {"", *differences()}, each.id
            assert not any(each.id == test.id for test in cases_of(role))


def test_the_corpus_has_no_violation_that_its_header_does_not_name():
    for path in FILES:
        report = check(path)
        assert report.verdict is Verdict.PASS, path
        assert report.counts.keys() == set((report.header or {}).get("defects", {}).items()), path


def test_a_recording_of_a_difference_is_of_a_peer_that_the_catalogue_names(headers):
    for path, first in headers.items():
        if "difference" not in first:
            continue
        told = {each for one in differences()[first["difference"]].behaviours for each in one.peers}
        sides = (first["client"], first["server"], *first.get("other_servers", ()))
        names = {f"{each['peer']} {each.get('version', '').lstrip('v')}" for each in sides}
        assert told & names, path


def test_there_is_a_recording_of_every_client_with_every_server(headers):
    pairs = {
        (
            first["client"]["peer"],
            first["client"]["version"],
            first["client"]["runtime"],
            first["server"]["peer"],
            first["server"]["version"],
            first["server"]["backend"],
        )
        for first in headers.values()
        if "version" in first["client"] and "version" in first["server"]
    }
    clients = {pair[:3] for pair in pairs}
    servers = {pair[3:] for pair in pairs}
    assert len(clients) >= 5
    assert len(servers) >= 7
    assert len(pairs) == len(clients) * len(servers)


def test_recordings_say_where_they_come_from(headers):
    for path, first in headers.items():
        assert first["how"] == "make record"
        suite = [first[side]["peer"] == "neffos-wire suite" for side in ("client", "server")]
        assert sum(suite) <= 1, path
        for side, is_suite in zip(("client", "server"), suite, strict=True):
            assert is_suite or first[side]["version"], path


def test_there_are_many(headers):
    by_folder = Counter(path.parent.name for path in headers)
    assert sum(by_folder.values()) >= 200
    assert min(by_folder["neffos-go"], by_folder["neffos-wire"]) >= 40
