"""The client cases: a correct client passes, mutants fail, and drivers are run."""

import asyncio
import sys
from pathlib import Path

import pytest

from mutation import BANK, work_clock
from mutation import operators as do
from mutation.client_faults import ClientFault, play
from mutation.hooks import when
from mutation.kill_matrix import killers
from neffos_conformance.cases.definition import Case, base_of, client_cases, select
from neffos_conformance.cases.features import needed
from neffos_conformance.cases.script import read_script
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.runner.driver_pool import to_client
from neffos_conformance.runner.driver_protocol import (
    MADE_UP,
    DriverEndedError,
    DriverError,
    OperationError,
)
from neffos_conformance.runner.known_failures import read_known_failures
from neffos_conformance.runner.playback import Timeouts
from neffos_conformance.runner.result import Result
from neffos_conformance.runner.run import run_cases
from neffos_protocol.catalogue import differences

REFERENCE = (str(Path(sys.executable).with_name("neffos-wire")), "driver")

CLIENTS = [mutant for mutant in BANK.values() if mutant.role == "client"]
BENIGN = [mutant for mutant in CLIENTS if not mutant.breaks]

HASTY = Timeouts(case=5.0, before_barrier=0.1, after_barrier=0.1, close=0.2)


def run_all(command, cases, *, drivers: int = 2, timeouts: Timeouts = HASTY) -> list[Result]:
    async def run() -> list[Result]:
        async with to_client(command, drivers=drivers, timeouts=timeouts) as (play, _):
            return [result async for result in run_cases(play, cases, jobs=drivers)]

    return asyncio.run(run())


def judge_here(script: str) -> Result:
    """Run a script against the reference client in this process."""
    return work_clock.run(play(ClientFault(), case(script)))


def case(script: str, *, requirements=("NS-1",), id_: str = "NS-1.c99") -> Case:
    return Case(id_, "", requirements, "client", read_script(script, "client"))


def named(*ids: str) -> list[Case]:
    return select(client_cases(), ids)


# -------------------------------------------------------------------- the reference client


def test_the_reference_client_passes_every_case():
    results = run_all(REFERENCE, select(client_cases(), ()), timeouts=Timeouts())
    assert [(r.case.id, r.explanation) for r in results if r.verdict is not Verdict.PASS] == []
    assert [(r.case.id, r.findings) for r in results if r.findings] == []
    assert len(results) >= 90


def test_two_runs_of_a_failure_say_the_same():
    script = """
    1 app
    1 do ask app echo hi
    1 > <<ask>>;app;;echo;0;0;ho
    """
    first, second = judge_here(script), judge_here(script)
    assert first.verdict is Verdict.FAIL
    assert first.explanation == second.explanation == "body: expected 'ho', actual 'hi'"


# -------------------------------------------------------------------- mutants


def test_there_are_many_mutants_and_some_benign_variants():
    assert len(CLIENTS) - len(BENIGN) >= 60
    assert len(BENIGN) >= 4


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("client-binary-request", {"HS-1.c1"}),
        ("client-replies-on-all-connections", {"AR-22.c2"}),
        ("client-refusal-without-its-text", {"HS-16.c1"}),
        ("client-event-lost", {"EV-2.c1"}),
        ("client-return-not-announced", {"TR-9.c1", "TR-9.c2"}),
        ("client-first-fragment-only", {"FR-15.c1", "FR-15.c2", "FR-15.c3", "FR-15.c4"}),
    ],
)
def test_the_cases_of_its_requirement_kill_a_mutant(name, expected):
    cases = named("HS-1", "HS-16", "AR-22", "EV-2", "FR-15", "TR-9")
    assert work_clock.run(killers(BANK[name], cases)) == expected


def test_no_case_kills_a_benign_variant():
    cases = named("AR", "HS", "TR-16", "FR-10", "FR-17", "NS-6", "SX")
    cases = [each for each in cases if each.id != "AR-15.c1"]
    for number, mutant in enumerate(BENIGN):  # with all cases of each: make kills
        some = cases[number :: len(BENIGN)]
        assert work_clock.run(killers(mutant, some)) == set(), mutant.name


def refuse_while_asking(context, op, fields):
    if op != MADE_UP and len(context.running) > 1:
        raise OperationError("an earlier ask is pending")


def hold(context, message):
    if not context.client_asks:
        return None
    context.kept.append(message)
    return ()


def send_next(context, _):
    context.say(context.kept.pop(0) if context.kept else ())


HOLDS_BACK = ClientFault(
    send=when(hold, event=bool, wait=do.is_client_token), receive=when(send_next, answers=bool)
)


@pytest.mark.parametrize(
    ("client", "ids"),
    [
        (BANK["client-asks-in-turn"].peer, ["AR-5.c2"]),
        (HOLDS_BACK, ["AR-5.c2", "NS-18.c3", "NS-19.c3", "NS-19.c4"]),
        (ClientFault(before=refuse_while_asking), ["AR-5.c2"]),
    ],
    ids=["later", "after the reply", "refused"],
)
def test_a_client_need_not_ask_while_an_earlier_ask_is_pending(client, ids):
    results = [work_clock.run(play(client, each)) for each in named(*ids)]
    assert [each.verdict for each in results] == [Verdict.SKIPPED] * len(ids)
    text = "the client sends no ask while an earlier one is pending: "
    assert all(each.explanation.startswith(text) for each in results)


def test_a_client_that_withholds_another_message_fails():
    script = """
    1 app
    1 do ask app echo hi
    1 > <<ask>>;app;;echo;0;0;hi
    1 > {}
    """
    for missing in ("17;;;;;;", "<<ask>>;app;;echo;0;0;hi", ";app;;news;0;0;<<text>>"):
        assert judge_here(script.format(missing)).verdict is Verdict.FAIL
    late = judge_here("1 app\n1 > <<ask>>;app;;echo;0;0;hi")
    assert late.verdict is Verdict.FAIL  # the connect before has its reply


# -------------------------------------------------------------------- features


def test_a_client_case_needs_no_feature_of_the_server_application():
    assert {feature for each in client_cases() for feature in needed(each)} == set()


def test_what_a_driver_does_not_support_is_not_judged(fake):
    answer = """
    write({"id": op["id"], "unsupported": True})
    """
    [reconnecting, joining] = run_all(fake(answer), named("TR-9.c1", "RM-8.c1"), drivers=1)
    assert [reconnecting.verdict, joining.verdict] == [Verdict.SKIPPED] * 2


# -------------------------------------------------------------------- drivers

FAKE = """
import json, os, sys, time

def write(values):
    print(json.dumps(values), flush=True)

write({"ready": True, "driver": 1, "peer": "fake", "version": "0"})
for line in sys.stdin:
    op = json.loads(line)
    if op["op"] == "made-up":
        write({"id": op["id"], "unsupported": True})
        continue
"""


@pytest.fixture
def fake(tmp_path):
    """Make the command of a driver that does with every operation what a program says."""

    def make(program: str) -> tuple[str, ...]:
        path = tmp_path / "driver.py"
        lines = (f"    {line.strip()}" for line in program.strip().splitlines())
        path.write_text(FAKE + "\n".join(lines) + "\n", "utf-8")
        return (sys.executable, "-u", str(path))

    return make


VISIT = case("1 dial\n1 > M")


def test_a_client_that_ends_costs_the_case_its_verdict_and_no_other(fake, tmp_path):
    log = tmp_path / "starts"
    program = f"""
    if op["op"] == "dial": open({str(log)!r}, "a").write("x"); os._exit(3)
    write({{"id": op["id"], "error": "no"}})
    """
    results = run_all(fake(program), [VISIT] * 3, drivers=1)
    assert [result.verdict for result in results] == [Verdict.ERROR] * 3
    assert all("ended with its driver" in result.explanation for result in results)
    assert log.read_text("utf-8") == "xxx"


def test_a_client_that_ends_after_the_last_step_fails_that_case():
    def end(_, op, __):
        if op == MADE_UP:
            raise DriverEndedError("status 3")

    result = work_clock.run(play(ClientFault(before=end), case("1 handshake\n1 >? x")))
    assert (result.verdict, result.expected) == (Verdict.FAIL, "")
    assert result.explanation == "the client ended with its driver: status 3"


def test_a_driver_that_breaks_its_contract_is_an_error_and_started_anew(fake):
    results = run_all(fake('print("nonsense", flush=True)'), [VISIT] * 2, drivers=1)
    assert [result.verdict for result in results] == [Verdict.ERROR] * 2
    assert "not JSON" in results[0].explanation


def test_a_driver_that_says_nothing_is_not_waited_for_longer_than_a_case(fake):
    brief = Timeouts(case=0.3, before_barrier=0.1, after_barrier=0.1, close=0.2)
    program = """
    if op["op"] != "dial": write({"id": op["id"], "error": "no"})
    """
    [result] = run_all(fake(program), [VISIT], timeouts=brief)
    assert result.verdict is Verdict.ERROR
    assert "timed out" in result.explanation
    assert result.seconds < 5


def test_a_driver_that_cannot_be_started_is_told_of_at_once():
    with pytest.raises(DriverError, match="cannot be started"):
        run_all(("/no/such/driver",), [VISIT])


def test_what_is_no_driver_is_told_of_at_once():
    with pytest.raises(DriverError):
        run_all((sys.executable, "-c", "print(1)"), [VISIT])


# -------------------------------------------------------------------- the language


def test_what_comes_too_early_is_kept_while_a_sight_is_waited_for():
    script = """
    1 app
    1 < 17;app;;echo;0;0;hi
    1 < ;app;;news;0;0;ho
    1 saw event app news ho
    1 > 17;app;;echo;0;0;hi
    """
    result = judge_here(script)
    assert (result.verdict, result.explanation) == (Verdict.PASS, "")


def test_a_sight_that_does_not_come_is_missed_once_a_later_ask_is_answered():
    result = judge_here("1 app\n1 saw event app news hi")
    assert result.explanation == "the client did not report: event app news hi"
    assert result.seconds < HASTY.case


def test_an_error_is_no_event_with_a_body():
    script = """
    1 app
    1 < ;app;;news;1;0;no
    1 expect-nothing
    1 unseen event app news no
    1 saw error app news no
    """
    result = judge_here(script)
    assert (result.verdict, result.explanation) == (Verdict.PASS, "")


def test_what_the_client_was_not_to_tell_of_fails_the_case():
    script = """
    1 app
    1 < ;app;;news;0;0;hi
    1 expect-nothing
    1 unseen event app news hi
    """
    result = judge_here(script)
    assert result.verdict is Verdict.FAIL
    assert "no such observation" in result.explanation


def test_a_connect_that_is_undone_in_the_same_piece_fails_with_its_reason():
    """The reference client, NS-16 and NS-6: once it raised what no caller could expect."""
    script = """
    1 handshake
    1 do connect app
    1 > <<connect>>;app;;_OnNamespaceConnect;0;0;
    1 <+ <<connect>>;;;;;;
    1 < 17;app;;_OnNamespaceDisconnect;0;0;
    1 > 17;;;;;;
    1 failed disconnected namespace 'app' at once
    """
    result = judge_here(script)
    assert (result.verdict, result.explanation) == (Verdict.PASS, "")


# -------------------------------------------------------------------- known failures


def test_known_failures_of_clients_are_of_cases_and_differences_that_exist():
    ids = {each.id for each in client_cases()}
    folder = Path(__file__).parents[1] / "peers" / "known_failures"
    paths = [*folder.glob("neffos-go.client*.toml"), *folder.glob("neffos.js*.toml")]
    assert len(paths) >= 8
    for path in paths:
        for entry in read_known_failures([path]):
            assert base_of(entry.case) in ids or ".walk-" in entry.case, path
            assert not entry.link.startswith("DV-") or entry.link in differences(), path
