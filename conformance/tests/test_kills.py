"""The suite is tested by mutation testing: every requirement has its proof, and a check is strict.

``make kills`` runs all of the cases; here run a few.
"""

import asyncio
import time
from dataclasses import replace
from functools import cache

import pytest
from click.testing import CliRunner

from mutation import BANK, __main__, checked, work_clock
from mutation.kill_matrix import (
    SAMPLES,
    Killed,
    check_plan,
    complete_plan,
    errors,
    kills_of,
    needing_proof,
    of_role,
    proof_errors,
    proofs,
    read_report,
    sampled,
    survivors,
    write_report,
)
from neffos_conformance.cases.definition import LIMITS
from neffos_conformance.codecs.catalogue import EVERY_ROLE, all_cases
from neffos_protocol.catalogue import requirements

AT_LEAST = 80
"""Mutants that were promised."""


def test_the_bank_is_as_large_as_promised():
    assert sum(bool(mutant.breaks) for mutant in BANK.values()) >= AT_LEAST


def test_every_mutant_names_a_requirement_and_says_what_it_does():
    for mutant in BANK.values():
        assert not mutant.breaks or mutant.breaks in requirements(), mutant.name
        assert mutant.about.endswith("."), mutant.name


# -------------------------------------------------------------------- proofs


@pytest.mark.parametrize("role", EVERY_ROLE)
def test_every_requirement_that_needs_a_proof_has_one(role):
    assert list(proof_errors(role, proofs(role))) == []
    assert proofs(role).keys() >= needing_proof(role)


def test_a_requirement_without_proof_is_an_error():
    named = dict(proofs("server"))
    del named["FR-1"]
    assert list(proof_errors("server", named)) == [
        "FR-1: no server mutant proves it. Try: add one to proofs.toml"
    ]


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("nobody", "which is not a server mutant"),
        ("client-body-is-success", "which is not a server mutant"),
        ("wide-limits", "which violates nothing"),
        (proofs("server")["FR-2"], "which violates FR-2"),
    ],
)
def test_a_proof_by_another_mutant_is_an_error(name, wrong):
    named = {**proofs("server"), "FR-1": name}
    assert list(proof_errors("server", named)) == [f"FR-1: proofs.toml names {name}, {wrong}"]


# -------------------------------------------------------------------- what a check runs


SEED = 1


@cache
def planned(role, seed=SEED):
    return check_plan(role, all_cases(role), seed)


# A server's cases take longest, and are sampled as a client's are.
@pytest.mark.parametrize("role", [role for role in EVERY_ROLE if role != "server"])
def test_a_check_runs_another_sample_at_each_seed_until_all_calm_cases_have_run(role):
    calm = {case.id for case in all_cases(role) if LIMITS not in case.tags}
    plans = [planned(role, seed) for seed in range(SAMPLES)]
    assert plans[SEED] == planned(role)
    assert all(plan.keys() == {mutant.name for mutant in of_role(role)} for plan in plans)
    for name in (*proofs(role).values(), *(name for name in plans[0] if not BANK[name].breaks)):
        assert {case.id for plan in plans for case in plan[name]} >= calm


def test_a_sample_is_a_share_of_the_cases():
    cases = all_cases("server")
    for name, chosen in planned("server").items():
        if not BANK[name].breaks:
            assert 0.5 < SAMPLES * len(chosen) / len(cases) < 2


@pytest.mark.parametrize("role", EVERY_ROLE)
def test_a_check_runs_the_cases_of_its_requirement_against_every_mutant(role):
    for name, cases in planned(role).items():
        ids = {case.id for case in cases}
        violated = BANK[name].breaks
        assert ids >= {case.id for case in all_cases(role) if violated in case.requirements}


def test_a_new_case_meets_every_proof_and_a_new_proof_every_calm_case():
    cases = all_cases("server")
    calm = {case.id for case in cases if LIMITS not in case.tags}
    name = proofs("server")["FR-1"]
    plan = check_plan("server", cases, SEED, {"NS-3.1", name})
    assert {case.id for case in plan[name]} >= calm
    assert all("NS-3.1" in {case.id for case in plan[each.name]} for each in sampled("server"))


@pytest.mark.parametrize("role", ["server", "client", "exchange"])
def test_what_was_checked_is_known_by_what_it_does(role):
    cases, mutants = all_cases(role), sampled(role)
    digests = checked.digests_of(cases, mutants)
    assert len(digests) == len(cases) + len(mutants)
    changed = replace(cases[0], requirements=(*cases[0].requirements, "FR-1"))
    again = checked.digests_of([changed, *cases[1:]], mutants)
    assert [name for name in again if again[name] != digests[name]] == [changed.id]


def test_a_check_runs_all_pairs_of_what_is_new_unless_too_much_is(monkeypatch):
    digests = {case.id: "1" for case in all_cases("client")}
    old = {**digests, "NS-3.c1": "0"}
    monkeypatch.setattr(checked, "digests_of", lambda *_: digests)
    monkeypatch.setattr(checked, "read_checked", lambda _: old)
    one = checked.chosen("client", SEED)
    assert one.plan == check_plan("client", all_cases("client"), SEED, {"NS-3.c1"})
    assert (one.too_many, one.digests) == (0, digests)
    old.clear()
    many = checked.chosen("client", SEED)
    assert many.plan == check_plan("client", all_cases("client"), SEED)
    assert (many.too_many, many.digests) == (len(digests), {})
    assert checked.chosen("client", None).digests == digests


def test_a_check_runs_cases_against_the_mutant_that_they_kill_elsewhere():
    assert "NS-6.2" in {case.id for case in planned("server")["unconnected-answered"]}


def test_floods_run_against_benign_variants_and_the_mutants_of_their_requirements_alone():
    floods = [case for case in all_cases("server") if LIMITS in case.tags]
    flooded = {"", *(id_ for case in floods for id_ in case.requirements)}
    for name, cases in complete_plan(of_role("server"), all_cases("server")).items():
        assert any(LIMITS in case.tags for case in cases) == (BANK[name].breaks in flooded)


def test_a_case_that_kills_no_mutant_survives():
    cases = all_cases("server")
    case = cases[0]
    without = {
        name: Killed(killed.cases - {case.id}, is_complete=name == "wide-limits")
        for name, killed in flawless().items()
    }
    assert survivors(cases, without) == [case]


# -------------------------------------------------------------------- what a check finds


def flawless():
    """Give the matrix of a server suite in which each case kills the mutants that it should."""
    return {
        name: Killed(ids, is_complete=True)
        for name, ids in killed_by_their_own(planned("server")).items()
    }


def killed_by_their_own(plan, _=None):
    return {
        name: frozenset(case.id for case in cases if BANK[name].breaks in case.requirements)
        for name, cases in plan.items()
    }


def errors_with(name, ids):
    kills = flawless()
    kills[name] = replace(kills[name], cases=frozenset(ids))
    return list(errors("server", all_cases("server"), kills))


def test_a_flawless_matrix_has_no_error():
    assert list(errors("server", all_cases("server"), flawless())) == []


def test_a_mutant_that_survives_is_an_error():
    assert errors_with("wants-exactly-m", ()) == ["wants-exactly-m: survived"]


def test_a_case_that_kills_nothing_is_an_error():
    kills = {
        name: replace(each, cases=each.cases - {"HS-1.1"}) for name, each in flawless().items()
    }
    assert "HS-1.1: kills no mutant. Try: name one that it kills in proofs.toml" in list(
        errors("server", all_cases("server"), kills)
    )


def test_a_case_that_kills_no_mutant_of_a_requirement_that_it_lists_is_an_error():
    kills = {
        name: replace(each, cases=each.cases - {"HS-20.1"}) if BANK[name].breaks == "HS-6" else each
        for name, each in flawless().items()
    }
    assert list(errors("server", all_cases("server"), kills)) == [
        "HS-20.1: lists HS-6, and kills no mutant that violates it. Try: leave it out"
    ]


def test_a_proof_that_another_requirements_case_kills_is_an_error():
    name = proofs("server")["HS-7"]
    assert errors_with(name, {"HS-7.1", "FR-1.1"}) == [
        f"{name}: proves HS-7, but is killed by FR-1.1 as well"
    ]


def test_a_benign_variant_that_a_case_kills_is_an_error():
    assert errors_with("wide-limits", {"FR-1.1"}) == [
        "wide-limits: a benign variant, killed by FR-1.1"
    ]


# -------------------------------------------------------------------- running


@pytest.mark.parametrize(
    ("role", "id_"),
    [("server", "FR-13"), ("server", "SEC-6"), ("client", "RM-8"), ("codec", "FR-14")],
)
def test_the_cases_of_a_requirement_kill_its_proof(role, id_):
    name = proofs(role)[id_]
    cases = [case for case in all_cases(role) if id_ in case.requirements]
    assert work_clock.run(kills_of({name: cases}))[name]


def test_the_clock_waits_as_long_as_it_says():
    async def main():
        loop = asyncio.get_running_loop()
        began = loop.time()
        await asyncio.sleep(2)
        return loop.time() - began

    assert work_clock.run(main()) >= 2


def test_the_clock_does_not_count_the_time_without_a_processor():
    async def main():
        loop = asyncio.get_running_loop()
        began = loop.time()
        time.sleep(0.5)  # the process has no processor meanwhile
        return loop.time() - began

    assert work_clock.run(main()) < 0.5


def test_a_report_is_read_as_it_was_written(tmp_path):
    path = tmp_path / "reports" / "kills.json"
    assert read_report(path) == {}
    write_report(flawless(), path)
    assert read_report(path) == flawless()
    assert [*path.parent.iterdir()] == [path]
    path.write_text('{"format": 1}')
    assert read_report(path) == {}


def run(*args):
    return CliRunner().invoke(__main__.main, args)


def test_the_command_shows_what_kills_a_mutant():
    shown = run("--case", "hs-1", "--mutant", "codec-other-request")
    assert shown.exit_code == 0
    assert shown.output.startswith("codec-other-request (HS-1): ")


def test_the_command_shows_what_a_finding_kills():
    shown = run("--role", "server", "--case", "RM-8.1", "--mutant", "flag-of-refusals-left-empty")
    assert shown.exit_code == 0
    assert shown.output == "flag-of-refusals-left-empty (FR-6): FR-6 in RM-8.1\n"


def test_the_command_refuses_patterns_that_match_nothing():
    assert run("--mutant", "nobody").exit_code == 2
    assert run("--case", "XX-1").exit_code == 2
    assert run("--check", "--mutant", "codec-other-request").exit_code == 2


def test_the_command_names_the_mutant_that_an_unknown_name_resembles():
    refused = run("--mutant", "joined-without-notice")
    assert refused.exit_code == 2
    assert "match. Try: --mutant client-joined-without-notice\n" in refused.output


def test_the_command_checks_a_role_and_writes_its_matrix(monkeypatch, tmp_path):
    path = tmp_path / "kills.json"
    monkeypatch.setattr(__main__, "REPORT", path)
    monkeypatch.setattr(__main__, "_run", killed_by_their_own)
    monkeypatch.setattr(checked, "digests_of", lambda *_: {})
    monkeypatch.setattr(__main__, "_played", lambda _: {})
    outcome = run("--check", "--role", "server", "--seed", "7")
    faulty = sum(bool(mutant.breaks) for mutant in of_role("server"))
    assert (outcome.exit_code, outcome.output) == (
        0,
        f"one of {SAMPLES} samples. Try: --seed 7 for the same\n"
        "0 of 0 mutants without I/O killed by session vectors alone; none survived\n"
        f"{faulty} of {faulty} mutants killed, 0 errors\n",
    )
    assert {name: each.cases for name, each in read_report(path).items()} == {
        name: each.cases for name, each in flawless().items()
    }


def test_the_command_fails_on_an_error(monkeypatch, tmp_path):
    monkeypatch.setattr(__main__, "REPORT", tmp_path / "kills.json")
    monkeypatch.setattr(__main__, "_run", lambda plan, _: dict.fromkeys(plan, frozenset()))
    monkeypatch.setattr(__main__, "_played", lambda _: {})
    monkeypatch.setattr(checked, "digests_of", lambda *_: {})
    outcome = run("--check", "--role", "client")
    assert outcome.exit_code == 1
    assert "client-body-is-success: survived\n" in outcome.output
