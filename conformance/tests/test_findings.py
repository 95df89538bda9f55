"""Findings: what a peer does beside what the script of a case names."""

from dataclasses import replace

import pytest

from mutation import BANK, work_clock
from mutation import hooks as on
from neffos_codec import Message
from neffos_conformance.cases.classes import ConformanceClass
from neffos_conformance.cases.definition import Case, client_cases, select, server_cases
from neffos_conformance.cases.script import read_script
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.runner.class_outcome import class_outcome
from neffos_conformance.runner.evaluate_again import evaluated_again
from neffos_conformance.runner.known_failures import KnownFailure, draft, weigh
from neffos_conformance.runner.result import Result
from neffos_conformance.runner.run import run_cases

CASES = {case.id: case for case in (*server_cases(), *client_cases())}


def run(peer, *cases) -> list[Result]:
    """Run cases against a mutant, and then each again against its log: the same must follow."""

    async def both() -> list[Result]:
        async with peer.stage() as play:
            results = [each async for each in run_cases(play, cases)]
        for each in results:
            again = await evaluated_again(each.case, each.log, each.mark)
            assert (again.verdict, again.violations) == (each.verdict, each.violations)
        return results

    return work_clock.run(both())


@pytest.mark.parametrize(
    ("mutant", "case"),
    [
        ("sticky-leave-answered-twice", "RM-5.4"),
        ("told-of-no-room", "RM-12.1"),
        ("last-words", "RM-2.6"),
        ("client-leave-answered-twice", "RM-5.c1"),
        ("client-made-up", "EV-1.c2"),
    ],
)
def test_a_violation_beside_what_a_case_names_is_a_finding(mutant, case):
    [result] = run(BANK[mutant], CASES[case])
    assert result.verdict is Verdict.PASS
    [found] = result.violations
    assert (found.requirement, found.verdict) == (BANK[mutant].breaks, Verdict.FAIL)


def test_a_case_fails_by_a_finding_of_its_own_requirement():
    case = replace(CASES["RM-5.4"], requirements=("RM-5", "AR-22"))
    [result] = run(BANK["sticky-leave-answered-twice"], case)
    assert (result.verdict, result.violations) == (Verdict.FAIL, [])
    assert result.explanation == "a second reply to '$1'"


def test_what_nothing_forbids_is_a_remark():
    news = Message(namespace="app", event="farewell", body="bye")
    peer = on.after(lambda _, __: news, event="_OnRoomLeave", room="sticky")
    [result] = run(peer, CASES["RM-5.4"])
    assert (result.verdict, result.violations) == (Verdict.PASS, [])
    [remark] = result.findings
    assert not remark.requirement
    assert remark.explanation == (
        "a message that the case does not expect: ';app;;farewell;0;0;bye'"
    )


def test_nothing_is_found_after_bytes_that_the_suite_sent_as_they_are():
    steps = read_script("1 app\n1 raw 898000000000\n1 > $1;app;sticky;_OnRoomLeave;0;0;", "server")
    case = Case("RM-5.4", "", ("RM-5",), "server", steps)
    [result] = run(BANK["sticky-leave-answered-twice"], case)
    assert (result.verdict, result.violations) == (Verdict.PASS, [])


def test_a_finding_counts_against_its_requirement_and_has_a_known_failure_of_its_own():
    results = run(BANK["sticky-leave-answered-twice"], *select(server_cases(), ["RM-5"]))
    outcome = class_outcome(ConformanceClass.COMPLETE, results, ["AR-22", "RM-5"])
    assert (outcome.conforms, outcome.missing) == (False, ("AR-22",))
    assert outcome.passed == outcome.ran
    assert 'finding = "AR-22"' in draft(results)
    entry = KnownFailure(
        "RM-5.4", Verdict.FAIL, "a second reply to <<token>>", "", "", "x", "AR-22"
    )
    assert weigh([entry], results, CASES).known == {"RM-5.4 AR-22": entry}
    [stale] = weigh([replace(entry, case="RM-5.1")], results, CASES).complaints
    assert stale == "x: RM-5.1 finding AR-22 passes now; take the entry out"


# -------------------------------------------------------------------- refusals


@pytest.mark.parametrize("peer", ["refuses-odd-upgrades", "refuses-odd-handshakes"])
def test_a_server_may_refuse_what_it_need_not_accept(peer):
    families = ["SEC-11", "SEC-12", "SEC-13", "HS-6", "TR-7", "TR-8", "TR-10"]
    results = run(BANK[peer], *select(server_cases(), families))
    assert sum(bool(each.case.may_refuse) for each in results) >= 14
    assert {each.case.id for each in results if each.verdict is not Verdict.PASS} == set()


@pytest.mark.parametrize(
    ("peer", "case"),
    [
        ("odd-names-not-borne", "SEC-13.3"),  # it fails with 500
        ("too-many-tries-not-borne", "TR-10.9"),  # likewise
        ("origin-from-the-url", "SEC-12.6"),  # it takes the header
    ],
)
def test_a_server_that_fails_at_such_a_request_or_takes_the_header_has_not_refused_it(peer, case):
    [result] = run(BANK[peer], CASES[case])
    assert result.verdict is Verdict.FAIL


def test_only_a_named_connection_may_be_refused():
    case = replace(CASES["SEC-12.1"], may_refuse=0)
    [result] = run(BANK["refuses-odd-upgrades"], case)
    assert result.verdict is Verdict.ERROR
