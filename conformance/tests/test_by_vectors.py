"""Session vectors alone kill mutants, and harm no correct peer."""

import pytest

from mutation import BANK, by_vectors
from neffos_protocol import session_vectors
from neffos_protocol.session_recording import text_of
from neffos_protocol.session_vectors import load_files

SAMPLE = (
    "reply-by-event",
    "join-without-effect",
    "reply-first",
    "noise-ends-it",
    "client-late-refusal-heeded",
    "client-rooms-folded",
)
"""Mutants of either role: hooks on what is received, sent and done after it, and ends."""


def test_no_benign_variant_is_harmed():
    benign = [each.name for each in by_vectors.mutants() if not each.breaks]
    assert len(benign) >= 3
    found = by_vectors.first_killers(benign)
    assert set(found.values()) == {None}
    assert set(by_vectors.OTHERWISE) <= BANK.keys()


def test_mutants_die_by_a_vector():
    found = by_vectors.first_killers(SAMPLE)
    assert None not in found.values()
    assert list(by_vectors.errors(found)) == []
    assert by_vectors.summary(found) == (
        "6 of 6 mutants without I/O killed by session vectors alone; none survived"
    )


def test_too_few_kills_and_a_harmed_variant_are_errors():
    found = {"reply-first": None, "noise-ends-it": "session-a", "tokens-of-another-shape": "b"}
    assert list(by_vectors.errors(found)) == [
        "session vectors kill 50.0% of the mutants without I/O, less than 90%",
        "tokens-of-another-shape: a benign variant, killed by b",
    ]
    assert by_vectors.summary(found).endswith("alone; not reply-first")


@pytest.mark.parametrize(
    ("name", "is_played"),
    [("reply-first", True), ("any-origin-taken", False), ("id-missing-at-an-endpoint", False)],
)
def test_mutants_that_need_a_socket_are_left_out(name, is_played):
    assert (name in {each.name for each in by_vectors.mutants()}) == is_played


def test_recorded_vectors_have_the_titles_of_their_cases():
    from neffos_conformance.cases.definition import client_cases, server_cases

    cases = (*client_cases(), *server_cases())
    titles = {each.id.lower().replace(".", "-"): each.title for each in cases}
    for name in ("cases-server", "cases-client"):
        file = load_files()[name]
        assert session_vectors.texts()[f"{name}.json"] == text_of(file)
        for vector in file["vectors"]:
            title = titles[vector["id"].removeprefix("session-case-").rpartition("-")[0]]
            assert vector["about"] == f"{title[0].upper()}{title[1:]}."
