"""Walks: the same in each run, full of values, and harmless; what they find becomes small."""

from dataclasses import replace
from itertools import combinations

import pytest

from mutation import BANK, memory_loop
from mutation import operators as do
from mutation.benign import InTurn
from mutation.client_faults import ClientFault
from mutation.generated import oracle
from mutation.generated.messages import mutant_of
from mutation.hooks import Hooks
from neffos_codec import Message, encode
from neffos_conformance.cases.dimensions import values
from neffos_conformance.model_based import explore_server, walk_values
from neffos_conformance.model_based.actions import ActionKind, SuiteAction
from neffos_conformance.model_based.failures import KnownFailures
from neffos_conformance.model_based.frames import with_flags
from neffos_conformance.model_based.links import run_on_server
from neffos_conformance.model_based.walking import add_walks, plan_of_walks, violated
from neffos_conformance.model_based.walks import LENGTH, TARGETS, walk
from neffos_conformance.runner.known_failures import KnownFailure, weigh
from neffos_conformance.runner.pace import Pace, Way
from neffos_conformance.runner.playback import Timeouts
from neffos_conformance.runner.varying import Varied
from neffos_protocol import Role

TIMES = Timeouts()

ROLES = (Role.SERVER, Role.CLIENT)

LISTS = ("BODIES", "EVENTS", "ROOMS", "MARKS", "TARGETS", "FORMS", "PLACES", "ANSWERS", "TYPES")


@pytest.mark.parametrize("role", ROLES)
def test_a_walk_is_the_same_each_time_and_another_one_differs(role):
    first = walk(role, 0)
    assert first == walk(role, 0) != walk(role, 1)
    assert len(first) <= LENGTH


def test_each_list_has_a_prime_number_of_values_of_its_own():
    lengths = [getattr(walk_values, name) for name in LISTS]
    assert len({*lengths}) == len(lengths)
    assert all(n % divisor for n in lengths for divisor in range(2, n))
    assert {len(each) for each in TARGETS.values()} == {walk_values.TARGETS}
    with pytest.raises(ValueError, match="expected 2 values at most, actual 3"):
        walk_values.dealt([1, 2, 3], 2)


def test_so_many_rows_as_two_lengths_have_a_product_pair_each_two_values():
    for one, other in combinations((getattr(walk_values, name) for name in LISTS), 2):
        assert len({(row % one, row % other) for row in range(one * other)}) == one * other


def test_the_values_of_fields_are_those_of_the_dimensions():
    bodies = {walk_values.body(row, 7, is_binary=False) for row in range(walk_values.BODIES)}
    assert {len(str(each).encode()) for each in bodies} >= {0, 1, 125, 126, 255, 256, 65_536}
    assert {"t7", "__proto__", values()["body-markup"].text.replace("{}", "t7")} <= bodies
    assert b"t7" in {walk_values.body(row, 7, is_binary=True) for row in range(walk_values.BODIES)}
    names = {walk_values.room(row, "a") for row in range(walk_values.ROOMS)}
    assert {len(each.encode()) for each in names} >= {1, 126, 127, 128, 255}
    assert max(len(each.encode()) for each in names) == walk_values.LONGEST_NAME


@pytest.mark.parametrize("role", ROLES)
def test_two_walks_have_frames_of_both_types_with_every_kind_of_event(role):
    sent = [each for n in (0, 1) for each in walk(role, n) if each.kind is ActionKind.SEND]
    types = {(type(each.body), each.event in ("echo", "fail")) for each in sent}
    assert types == {(str, True), (str, False), (bytes, True), (bytes, False)}


def test_a_client_that_is_told_less_is_given_walks_without_that():
    made = walk(Role.CLIENT, 1, frozenset({"ask"}))
    assert {each.how for each in made if each.kind is ActionKind.COMMAND} == {"ask"}
    assert not any(isinstance(each.body, bytes) for each in walk(Role.CLIENT, 1, is_text=True))


@pytest.mark.parametrize(("peer", "role"), [(Hooks(), "server"), (ClientFault(), "client")])
def test_the_reference_peers_pass_a_walk(peer, role):
    result = memory_loop.run(oracle.converse(peer, role, walk(Role(role), 1)))
    assert result.failure is None
    assert len(result.performed) > 350


def walked(name: str, known=(), **changes):
    plan = plan_of_walks(Role.SERVER, TIMES, known, is_thorough=False)

    async def run():
        async with mutant_of(name).peer()[0].run() as url:
            return await explore_server(url, replace(plan, **changes))

    return memory_loop.run(run())


def test_a_server_that_holds_all_back_while_a_handler_waits_passes_a_walk():
    async def run():
        async with do.serving(InTurn) as url:
            plan = plan_of_walks(Role.SERVER, TIMES, (), is_thorough=False)
            return await explore_server(url, replace(plan, sequences=1))

    report = memory_loop.run(run())
    assert (report.counterexamples, report.trouble) == ((), "")


def test_a_client_that_asks_in_turn_passes_a_walk():
    peer = BANK["client-asks-in-turn"].peer
    assert memory_loop.run(oracle.converse(peer, "client", walk(Role.CLIENT, 0))).failure is None


def test_a_client_that_never_asks_fails_a_walk():
    peer = mutant_of("client:drop-ask").peer()[0]
    assert memory_loop.run(oracle.converse(peer, "client", walk(Role.CLIENT, 0))).failure


def test_a_fault_in_a_rare_situation_becomes_a_short_conversation():
    report = walked("server:write-body-cut-reply@after-leave", sequences=1)
    (found,) = report.counterexamples
    assert (found.id, found.is_certain) == ("FR-10.walk-body-differs", True)
    assert found.actions < 8
    assert found.source == f"found by walk {found.index}, and made small"
    into = Varied()
    add_walks(report, into)
    assert [each.case.id for each in into.failed] == [found.id]
    assert violated(into.failed) == {"FR-10"}


@pytest.mark.parametrize(
    "when",
    ["binary", pytest.param("after-leave", marks=pytest.mark.whole)],  # found again and again
)
def test_a_walk_goes_on_after_what_a_peer_is_known_to_violate(when):
    name = f"server:write-body-cut-reply@{when}"
    assert walked(name, sequences=1).counterexamples
    report = walked(name, known=["FR-10"], sequences=1)
    assert report.counterexamples == ()
    assert report.actions > 300


def test_a_peer_far_away_is_given_no_walks():
    far = Way(TIMES, pace=Pace(round_trip=0.3))
    assert plan_of_walks(Role.SERVER, TIMES, (), far, is_thorough=True) is None


def test_a_known_failure_of_a_walk_is_no_entry_without_a_case(tmp_path):
    entry = KnownFailure("AR-7.walk-a-reply-is-missing", *("",) * 4)
    assert weigh([entry], [], [entry.case]).complaints == ()


# -------------------------------------------------------------------- what walks have shown


def test_flags_are_spelled_where_they_are_and_nowhere_else():
    sent = encode(Message("1", "any", "", "0", body="0"))
    assert with_flags(sent, "2;01") == "1;any;;0;2;01;0"
    assert with_flags(sent.encode(), "2;01") == b"1;any;;0;2;01;0"
    assert with_flags(sent, "") == sent


def test_a_missing_message_is_named_and_not_the_one_that_comes_after_it():
    """A client that does not reply to the second of three asks sends the third reply in order."""
    asks = [
        SuiteAction(number, 1, ActionKind.SEND, namespace="app", event="echo", is_followed=True)
        for number in (3, 4, 5)
    ]
    sequence = (
        SuiteAction(1, 1, ActionKind.OPEN, "plain"),
        SuiteAction(2, 1, ActionKind.SEND, namespace="app", event="_OnNamespaceConnect"),
        *(replace(each, body=f"t{each.number}") for each in asks),
    )
    peer = mutant_of("client:drop-reply@2nd").peer()[0]
    silent = memory_loop.run(oracle.converse(peer, "client", sequence))
    assert silent.failure.requirement == "AR-7"
    late = mutant_of("client:delay-reply@2nd").peer()[0]
    swapped = memory_loop.run(oracle.converse(late, "client", sequence))
    assert swapped.failure.requirement == "EV-1"


def test_an_ask_is_answered_plainly_where_another_answer_is_known_to_fail():
    """A peer that is never answered is in another state than the walk thinks."""
    known = KnownFailures(signatures={"answer event twice pending"})
    sequence = (
        SuiteAction(1, 1, ActionKind.OPEN, "plain"),
        SuiteAction(2, 1, ActionKind.SEND, namespace="app", event="_OnNamespaceConnect"),
        SuiteAction(3, 1, ActionKind.SEND, namespace="app", event="ask-me", has_token=False),
        SuiteAction(4, 1, ActionKind.ANSWER, "twice", of=3),
    )

    async def run():
        async with Hooks().run() as url:
            return await run_on_server(url, sequence, known, TIMES)

    result = memory_loop.run(run())
    assert result.failure is None
    assert 4 in result.performed
