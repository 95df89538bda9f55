"""Several instances of a service, and gentle runs."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace

import pytest

from neffos_conformance.cases.definition import Case, server_cases
from neffos_conformance.cases.script import read_script
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.reference.embedded import embedded_server
from neffos_conformance.runner import gentle
from neffos_conformance.runner.discovery import discovered
from neffos_conformance.runner.instances import (
    ENOUGH,
    PAUSES,
    Instances,
    is_caused_elsewhere,
    of_traffic,
    often,
    retried,
    titles,
)
from neffos_conformance.runner.pace import Way, connections_of
from neffos_conformance.runner.playback import Timeouts
from neffos_conformance.runner.result import LogEntry, Result
from neffos_conformance.runner.run import Run, to_server
from neffos_conformance.wire import reach
from neffos_conformance.wire.reach import Gate, Reach, Target

from .commands import beside, run
from .ways import door

PATIENT = Way(Timeouts(case=30.0))
SOON = Way(Timeouts(before_barrier=0.02, after_barrier=0.02))
"""Where nothing crosses, no time is long enough, and so a short one does."""

CASES = {case.id: case for case in server_cases()}


def on(first: str, second: str, split: Way) -> Instances:
    both = to_server(first, way=split, others=[Target(second)])
    return Instances(2, to_server(first, way=PATIENT), both, both)


def test_what_does_not_cross_is_named(monkeypatch):
    monkeypatch.setattr("neffos_conformance.runner.instances.PAUSES", [0.0] * len(PAUSES))

    async def check() -> None:
        async with embedded_server() as first, embedded_server() as second:
            both = on(first, second, SOON)
            for id_ in ("EV-8.1", "RM-4.3"):
                result = await both.run(CASES[id_])
                assert result.verdict is Verdict.FAIL
                assert result.explanation == (
                    "does not cross from server 1 to server 2, and on one server it passes. "
                    "Try: a StackExchange: no message came, though a later barrier was answered"
                )
                again = Result(CASES[id_], Verdict.FAIL)
                assert of_traffic(result, again).explanation.startswith("no message came")
                passed = Result(CASES[id_])
                assert of_traffic(result, passed) is result
            for id_ in ("HS-1.1", "AR-12.1"):
                assert (await both.run(CASES[id_])).verdict is Verdict.PASS
            assert both.spread == ["EV-8.1", "RM-4.3", "AR-12.1"]
            assert both.note() == (
                "nothing crosses: no StackExchange links these servers; "
                "2 servers: 3 cases had their clients on several; does not cross: EV-8.1, RM-4.3"
            )

    asyncio.run(check())


def test_what_crosses_is_no_failure():
    async def check() -> None:
        async with embedded_server() as server, door(server) as first, door(server) as second:
            both = on(first.url, second.url, PATIENT)
            for id_ in ("EV-8.1", "RM-4.3", "EV-9.1"):
                assert (await both.run(CASES[id_])).verdict is Verdict.PASS
            assert both.note() == "2 servers: 3 cases had their clients on several, as on one"
            assert both.crossed == ["EV-8.1", "RM-4.3", "EV-9.1"]
            assert len(first.heads) > 0
            assert len(second.heads) > 0

    asyncio.run(check())


def case(*connections: int) -> Case:
    lines = "\n".join(f"{each} < ;app;;news;0;0;" for each in connections)
    return Case("EV-8.1", "", ("EV-8",), "server", read_script(lines, "server"))


def runs(*verdicts: Verdict, actual: str = "") -> tuple[Run, list[Verdict]]:
    """Give what runs a case with one verdict after the other, and those that are left."""
    left = list(verdicts)

    async def give(which: Case) -> Result:
        verdict = left.pop(0)
        text = "" if verdict is Verdict.PASS else "expected news"
        log = [LogEntry(0.0, 2, True, "M", 1)]
        step = 1 if text else 0
        return Result(which, verdict, text, step, actual=actual if text else "", log=log)

    return give, left


PASS, FAIL, ERROR, UNKNOWN = Verdict.PASS, Verdict.FAIL, Verdict.ERROR, Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("one", "split", "verdict", "apart"),
    [
        ([], [PASS], PASS, False),
        ([], [UNKNOWN], UNKNOWN, False),
        ([PASS], [FAIL, PASS], PASS, False),
        ([PASS], [ERROR, FAIL, PASS], PASS, False),
        ([PASS], [FAIL] * len(PAUSES), Verdict.INFORMATIONAL, True),
        ([FAIL], [FAIL], FAIL, False),
        ([ERROR], [FAIL], ERROR, False),
        ([UNKNOWN], [FAIL], UNKNOWN, False),
    ],
)
def test_a_case_fails_if_it_passes_on_one_server_alone(one, split, verdict, apart):
    (alone, left_alone), (both, left_both) = runs(*one), runs(*split, actual="something else")
    instances = Instances(2, alone, both, both)
    result = asyncio.run(instances.run(case(1, 2)))
    assert result.verdict is verdict
    assert (left_alone, left_both) == ([], [])
    assert instances.differing == (["EV-8.1"] if apart else [])
    assert instances.apart == []
    if apart:
        assert result.explanation == "on one server it passes, on 2 not: expected news"
        again = of_traffic(result, Result(result.case, Verdict.FAIL))
        assert (again.verdict, again.explanation) == (Verdict.FAIL, "expected news")
        assert instances.note().endswith("on several; differs: EV-8.1")


def test_once_enough_does_not_cross_a_case_runs_once():
    alone, left = runs(*[PASS] * (ENOUGH + 1))
    both, left_both = runs(*[FAIL] * (len(PAUSES) * ENOUGH))
    hasty, left_hasty = runs(FAIL)
    instances = Instances(2, alone, both, hasty)

    async def check() -> None:
        for _ in range(ENOUGH + 1):
            await instances.run(case(1, 2))

    asyncio.run(check())
    assert (left, left_both, left_hasty) == ([], [], [])
    assert instances.note().endswith(f"does not cross: {', '.join(['EV-8.1'] * (ENOUGH + 1))}")


def test_of_what_crosses_only_some_is_missing():
    alone, _ = runs(PASS)
    both, _ = runs(PASS, *[FAIL] * len(PAUSES))
    instances = Instances(2, alone, both, both)

    async def check() -> None:
        await instances.run(CASES["EV-8.1"])
        await instances.run(case(1, 2))

    asyncio.run(check())
    assert instances.crossed == ["EV-8.1"]
    assert instances.note().startswith("2 servers: ")


def test_an_event_crosses_if_another_client_causes_it():
    for id_ in ("EV-8.1", "EV-9.3", "AR-17.1"):
        assert is_caused_elsewhere(CASES[id_], 2)
    assert not is_caused_elsewhere(CASES["EV-8.1"], 1)
    assert not any(is_caused_elsewhere(CASES[id_], 2) for id_ in ("HS-1.1", "AR-12.1"))


@pytest.mark.parametrize(
    ("id_", "verdicts", "verdict", "left"),
    [
        ("EV-8.1", [FAIL, PASS], PASS, []),
        ("EV-8.1", [FAIL] * (len(PAUSES) + 1), FAIL, [FAIL]),
        ("EV-8.1", [ERROR, PASS], ERROR, [PASS]),
        ("HS-1.1", [FAIL, PASS], FAIL, [PASS]),
    ],
)
def test_on_one_server_a_case_runs_again_if_an_exchange_may_have_been_late(
    id_, verdicts, verdict, left
):
    one, there = runs(*verdicts)
    assert asyncio.run(retried(one)(CASES[id_])).verdict is verdict
    assert there == left


def test_servers_have_numbers():
    assert titles([]) == ""
    assert titles(["ws://h"]) == "ws://h"
    assert titles(["ws://a", "ws://b"]) == "1: ws://a, 2: ws://b"


# -------------------------------------------------------------------- gentle


def test_a_gentle_run_has_no_case_that_does_harm():
    left = {result.case.id: result for result in gentle.left_out(list(CASES.values()))}
    for id_, each in CASES.items():
        verbs = {step.verb for step in each.steps}
        is_harsh = {"hostile", "limits"} & set(each.tags) or each.is_flood or each.reach == 2
        if is_harsh or verbs & {"raw", "stall"}:
            assert id_ in left
    kept = [each for id_, each in CASES.items() if id_ not in left]
    assert len(kept) > len(CASES) // 2
    assert max(map(connections_of, kept)) <= 10
    assert {result.verdict for result in left.values()} == {Verdict.SKIPPED}
    assert "looks for a limit" in left["SEC-5.1"].explanation


def test_a_gate_lets_one_through_after_the_other(monkeypatch):
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    monkeypatch.setattr(reach.asyncio, "sleep", sleep)

    async def check() -> None:
        gate = Gate(1000.0)
        await asyncio.gather(*(gate.wait() for _ in range(3)))

    asyncio.run(check())
    assert slept[0] <= 0
    assert all(0 < each <= 1000.0 for each in slept[1:])


def test_every_connection_waits_at_the_gate_and_has_time_for_it():
    class Counting(Gate):
        passed = 0

        async def wait(self) -> None:
            Counting.passed += 1

    async def check() -> None:
        async with embedded_server() as server, door(server) as opened:
            target = Target(opened.url, Reach(gate=Counting(0.0)))
            way = Way(Timeouts(case=30.0), interval=1.0)
            assert way.limit(CASES["EV-8.1"]) == 30.0 + connections_of(CASES["EV-8.1"])
            await discovered(target, way)
            await to_server(target, way=way)(CASES["TR-3.1"])
            assert Counting.passed == len(opened.heads) > 2

    asyncio.run(check())


def test_reports_say_how_the_cases_ran(tmp_path):
    report = tmp_path / "a.json"
    with beside(embedded_server()) as server:
        chosen = ("--case", "HS-1.1", "--case", "SEC-5.1", "--features", "all", "--report", report)
        done = run("test", "server", server, "--gentle", *chosen)
        assert done.returncode == 0, done.stdout
        note = (
            "gentle: one case at a time, and no more than 10 connections a second; "
            "1 of 2 cases were left out"
        )
        assert json.loads(report.read_text())["notes"] == [note]
        assert note.encode() in b" ".join(done.stdout.split())
        done = run("test", "server", server, server, *chosen)
        assert done.returncode == 0, done.stdout
        values = json.loads(report.read_text())
        assert values["notes"] == ["2 servers: 0 cases had their clients on several, as on one"]
        assert values["sut"] == f"1: {server}, 2: {server}"
        assert values["command"] == f"neffos-wire test server {server} {server}"
        gone = run("test", "server", server, "ws://127.0.0.1:1", *chosen)
        assert gone.returncode == 2
        assert b"no server at ws://127.0.0.1:1" in gone.stderr
    for arguments, complaint in (
        (["--explore", "--gentle"], b"--explore and --gentle exclude each other"),
        (["ws://h", "ws://h", "--explore"], b"--explore takes one URL"),
    ):
        done = run("test", "server", *arguments)
        assert done.returncode == 2
        assert complaint in done.stderr


@pytest.mark.parametrize("again", [often, lambda run: Instances(2, runs(PASS)[0], run, run).run])
def test_a_case_that_runs_again_has_a_pause_after_its_setup(again):
    fails, _ = runs(*[FAIL] * len(PAUSES))
    pauses = []

    async def noted(which: Case) -> Result:
        pauses.append(which.pause)
        return await fails(which)

    result = asyncio.run(again(noted)(CASES["EV-8.1"]))
    assert pauses == [*PAUSES]
    assert result.case is CASES["EV-8.1"]


def test_the_pause_comes_between_the_setup_and_the_rest():
    async def check() -> None:
        async with embedded_server() as server:
            result = await to_server(server, way=PATIENT)(replace(CASES["EV-8.1"], pause=0.01))
        assert result.verdict is PASS
        rest = next(step.number for step in result.case.steps if not step.is_setup)
        setup = [each.time for each in result.log if 0 < each.step < rest]
        began = next(each.time for each in result.log if each.step >= rest)
        assert began - max(setup) >= 0.01

    asyncio.run(check())


@pytest.mark.parametrize("steps", [[3, 7, 3], [7, 3, 3], [3, 3, 7]])
def test_a_case_that_always_fails_shows_the_run_that_got_furthest(steps):
    case = CASES["EV-8.1"]
    left = [Result(case, Verdict.FAIL, step=step) for step in steps]

    async def fails(_: Case) -> Result:
        return left.pop(0)

    assert asyncio.run(often(fails)(case)).step == 7
    assert not left
