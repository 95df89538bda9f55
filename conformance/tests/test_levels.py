"""A server is tested on what it has: nothing fails, nor errs, because a part is missing."""

import asyncio
from collections import defaultdict

import pytest

from mutation import BANK, work_clock
from neffos_asyncio import Server
from neffos_conformance.cases.definition import SLOW, server_cases
from neffos_conformance.cases.features import AppLevel, by_id, closed, features, needed
from neffos_conformance.cases.levels import level_of, next_step
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.reference.embedded import embedded_server
from neffos_conformance.runner.discovery import discovered
from neffos_conformance.runner.pace import Way
from neffos_conformance.runner.playback import Timeouts
from neffos_conformance.runner.run import run_cases, to_server
from neffos_protocol.catalogue import requirements

from .reduced import NOT_REMOVED, servers

SOON = Timeouts(before_barrier=0.1, after_barrier=0.1)
EVERYTHING = frozenset(by_id())


@pytest.mark.parametrize(
    "most", [1, pytest.param(None, marks=pytest.mark.whole)], ids=["one-of-each-need", "all"]
)
def test_each_case_passes_on_a_server_that_has_what_it_needs_and_nothing_else(most):
    grouped = defaultdict(list)
    for case in server_cases():
        if SLOW not in case.tags and not case.is_flood:
            grouped[closed(needed(case))].append(case)

    async def failures(there, cases):
        async with embedded_server(served=servers(there)) as url:
            results = [each async for each in run_cases(to_server(url, SOON), cases)]
        return [(each.case.id, each.explanation) for each in results if each.verdict != "pass"]

    async def run():
        slots = asyncio.Semaphore(8)

        async def one(there, cases):
            async with slots:
                return await failures(there, cases)

        return await asyncio.gather(*(one(there, cases[:most]) for there, cases in grouped.items()))

    assert [each for found in work_clock.run(run()) for each in found] == []


def found_on(*sets):
    """Detect the features of servers that have some."""

    async def one(there, slots):
        async with slots, embedded_server(served=servers(there)) as url:
            return await discovered(url, Way(SOON), jobs=64)

    async def run():
        slots = asyncio.Semaphore(8)
        return await asyncio.gather(*(one(there, slots) for there in sets))

    return work_clock.run(run())


def without(ids):
    """Give all features but some and those that need them."""
    return frozenset(each for each in EVERYTHING if closed([each]).isdisjoint(ids))


def test_whatever_parts_are_missing_the_others_are_found():
    removable = [each.id for each in features() if each.id not in NOT_REMOVED]
    gone = [removable[first::5] for first in range(5)] + [["app"]]
    detected = found_on(*map(without, gone))
    for ids, each in zip(gone, detected, strict=True):
        assert each.there == without(ids), ids
        assert all(each.absent[id_] for id_ in ids)


def test_an_event_counts_as_there_if_the_server_has_the_application_and_answers_it_wrongly():
    def wrong(serve):
        return lambda payload: [
            each.replace(";0;0;", ";0;0;wrong ", 1) if ";app;;echo;0;" in str(each) else each
            for each in serve(payload)
        ]

    async def run():
        async with embedded_server(distort=wrong) as url:
            return (await discovered(url, Way(SOON))).there

    assert work_clock.run(run()) == EVERYTHING


def test_an_event_of_the_same_name_and_another_meaning_is_not_taken_for_it_on_any_other_server():
    own = {"app": {"echo": lambda _, message: f"you said {message.body}", "push": lambda *_: None}}

    async def run():
        async with embedded_server(served={"/": Server(own)}) as url:
            return await discovered(url, Way(SOON))

    found = work_clock.run(run())
    assert found.there == {
        "app",
        "rooms",
        "unhandled",
        "silent",
        "binary",
        "empty-unknown",
        "origin-check",
    }
    assert "you said" in found.absent["echo"]


@pytest.mark.parametrize(
    "name",
    ["token-cut", "flag-not-repeated", "binary-leave-unanswered", "id-missing-at-an-endpoint"],
)
def test_a_faulty_application_fails_where_its_features_are_detected(name):
    mutant = BANK[name]

    async def run():
        async with mutant.peer.run() as url:
            has = await discovered(url, Way(SOON), jobs=64)
            cases = [case for case in server_cases() if mutant.breaks in case.requirements]
            assert [has.result(case) for case in cases] == [None] * len(cases)
            return [each async for each in run_cases(to_server(url, SOON), cases)]

    assert {each.verdict for each in asyncio.run(run())} & {Verdict.FAIL, Verdict.NON_STRICT}


def test_levels_follow_from_the_features():
    levels = {case.id: level_of(case) for case in server_cases()}
    assert levels["HS-1.1"] is AppLevel.BARE
    assert levels["NS-8.1"] is AppLevel.NAMESPACE
    assert levels["AR-7.2"] is AppLevel.APPLICATION


def test_the_next_step_is_what_shows_most_more():
    cases = [case for case in server_cases() if SLOW not in case.tags]
    step = next_step(frozenset(), cases, frozenset())
    assert step is not None
    assert set(step.features) == {"app", "rooms", "unhandled", "silent"}
    assert "--namespace NAME" in str(step)
    namespace = closed([*step.features, "binary", "empty-unknown", "origin-check"])

    def covered(there):
        return {id_ for case in cases if needed(case) <= there for id_ in case.requirements}

    shown = frozenset(covered(namespace))
    further = next_step(namespace, cases, shown)
    assert further is not None
    gains = {id_: len(covered(namespace | {id_}) - shown) for id_ in EVERYTHING}
    assert len(further.requirements) == gains[further.features[0]] == max(gains.values())
    assert f"({by_id()[further.features[0]].about})" in str(further)
    assert next_step(EVERYTHING, cases, frozenset(requirements())) is None


def test_two_parts_that_show_something_together_alone_are_one_step():
    shown = frozenset(requirements()) - {"AR-16"}
    cases = [case for case in server_cases() if case.id == "AR-16.3"]
    step = next_step(frozenset(), cases, shown)
    assert step is not None
    assert len(step.features) > 1
    assert step.requirements == ("AR-16",)
