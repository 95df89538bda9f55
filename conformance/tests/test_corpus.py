"""The corpus: what the recordings of real peers hold, and that nothing of it is unexplained."""

from collections import Counter
from pathlib import Path

import pytest

from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.recordings.checking import judge
from neffos_conformance.wire.transcript import Header, read_transcript
from neffos_protocol.catalogue import divergences, requirements

CORPUS = Path(__file__).parents[1] / "transcripts"
FILES = sorted(CORPUS.rglob("*.jsonl"))

UNSEEN = {
    "AR-15": "a deadline is an asker's own: nothing goes by when it passes",
    "FR-15": "a transcript has whole messages, however they were cut up",
    "SEC-2": "a message over the limit is 16 MiB, too much to keep",
    "SEC-4": "a handshake that never comes takes ten seconds not to",
    "SEC-5": "the application has fewer namespaces than the bound",
    "SEC-6": "a thousand joins show what three do",
    "SEC-8": "what a peer does not read is not in a transcript",
    "SEC-9": "a refused page is refused by HTTP, before a transcript begins",
    "TR-1": "HTTP, before a transcript begins",
    "TR-2": "HTTP, before a transcript begins",
    "TR-3": "HTTP, before a transcript begins",
    "TR-4": "HTTP, before a transcript begins",
    "TR-5": "HTTP, before a transcript begins",
    "TR-6": "HTTP, before a transcript begins",
    "TR-7": "HTTP, before a transcript begins",
}
"""Requirements that can be seen on a wire, but not in a recording, and why."""


@pytest.fixture(scope="module")
def headers() -> dict[Path, Header]:
    return {path: read_transcript(path).header for path in FILES}


def test_every_requirement_that_can_be_seen_is_shown_in_some_recording(headers):
    visible = {
        id_
        for id_, requirement in requirements().items()
        if {"wire-server", "wire-client"} & set(requirement.testable)
    }
    shown = {id_ for first in headers.values() for id_ in first.get("shows", ())}
    assert shown <= requirements().keys()
    assert visible - shown == UNSEEN.keys()


def test_nothing_in_the_corpus_is_broken_that_its_header_does_not_name():
    for path in FILES:
        judged = judge(path)
        assert judged.verdict is Verdict.PASS, path
        assert judged.counts.keys() == set((judged.header or {}).get("defects", {}).items()), path


def test_every_divergence_is_shown_or_said_why_it_is_not(headers):
    shown = {first["divergence"] for first in headers.values() if "divergence" in first}
    assert shown == {id_ for id_, one in divergences().items() if not one.unrecorded}


def test_a_recording_of_a_divergence_is_of_a_peer_that_the_catalogue_names(headers):
    for path, first in headers.items():
        if "divergence" not in first:
            continue
        told = {each for one in divergences()[first["divergence"]].behaviours for each in one.peers}
        sides = (first["client"], first["server"])
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
