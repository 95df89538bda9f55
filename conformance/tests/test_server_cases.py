"""The server cases: sound as data, passed by a correct server, failed by wrong ones."""

import asyncio
import json
import tomllib
from importlib.resources import files
from pathlib import Path

import pytest
from jsonschema import Draft202012Validator

from neffos_conformance.embedded import Serve, embedded_server
from neffos_conformance.mutants import BROKEN_REQUIREMENT, MUTANTS, Mutant
from neffos_conformance.suite.case import Case, select, server_cases
from neffos_conformance.suite.run import Result, run_cases, verdict_on_failure
from neffos_conformance.suite.verdict import Verdict
from neffos_protocol.catalogue import divergences, requirements

AT_ONCE = 4
"""Mutants at the same time: most of them are waited for, and not worked at."""

SHORT = 1.0
"""Seconds for a case against a mutant that says nothing; the correct ones take milliseconds."""


async def judged(
    cases: list[Case], *, distort: Mutant | None = None, deadline: float = 10
) -> list[Result]:
    async with embedded_server(distort=distort) as url:
        return [result async for result in run_cases(url, cases, deadline=deadline)]


def judge(cases: list[Case], **options) -> list[Result]:
    return asyncio.run(judged(cases, **options))


@pytest.fixture(scope="module")
def kills() -> dict[str, set[str]]:
    """For each mutant the cases that fail on it, in a step of their own."""

    async def run() -> dict[str, set[str]]:
        slots = asyncio.Semaphore(AT_ONCE)

        async def killed(name: str) -> set[str]:
            async with slots:
                results = await judged(server_cases(), distort=MUTANTS[name], deadline=SHORT)
            return {
                result.case.id
                for result in results
                if result.verdict in (Verdict.FAIL, Verdict.NON_STRICT) and result.step >= 0
            }

        return dict(zip(MUTANTS, await asyncio.gather(*map(killed, MUTANTS)), strict=True))

    return asyncio.run(run())


def test_a_correct_server_passes_every_case():
    results = judge(server_cases())
    assert [r.case.id for r in results if r.verdict is not Verdict.PASS] == []
    assert len(results) == len(server_cases()) >= 15


def test_every_case_fails_on_some_mutant(kills):
    survivors = {case.id for case in server_cases()} - set().union(*kills.values())
    assert survivors == set()


def test_every_mutant_fails_some_case(kills):
    assert [name for name, cases in kills.items() if not cases] == []


def test_mutants_name_the_requirement_they_break():
    assert BROKEN_REQUIREMENT.keys() == MUTANTS.keys()


def test_ids_are_unique_and_shaped_like_requirements():
    ids = [case.id for case in server_cases()]
    assert len(ids) == len(set(ids))
    for case in server_cases():
        assert case.id.startswith(("ALL-", *(f"{name}." for name in case.requirements))), case.id


def test_every_requirement_of_a_case_is_in_the_catalogue():
    cited = {id_ for case in server_cases() for id_ in case.requirements}
    assert cited <= requirements().keys()


@pytest.mark.parametrize(
    ("ids", "verdict"),
    [
        (("NS-1", "NS-17"), Verdict.FAIL),
        (("NS-17", "TR-4"), Verdict.NON_STRICT),
        (("TR-4",), Verdict.INFORMATIONAL),
        (("EV-7",), Verdict.INFORMATIONAL),
    ],
)
def test_the_catalogue_says_how_much_a_failure_weighs(ids, verdict):
    assert verdict_on_failure(Case("X-1.1", "", ids, "dialled", ())) is verdict


def test_the_data_fits_its_schema():
    data = files("neffos_conformance.data")
    schema = json.loads((data / "schema" / "cases.json").read_text("utf-8"))
    Draft202012Validator.check_schema(schema)
    cases = tomllib.loads((data / "cases" / "server.toml").read_text("utf-8"))
    Draft202012Validator(schema).validate(cases)


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("HS-1.1", ["HS-1.1"]),
        ("hs-1", ["HS-1.1", "ALL-1"]),
        ("NS-7.*", ["NS-7.1"]),
    ],
)
def test_a_pattern_selects_by_case_requirement_and_wildcard(pattern, expected):
    assert [case.id for case in select(server_cases(), [pattern])] == expected


def test_a_pattern_that_matches_nothing_is_refused_beside_one_that_does():
    with pytest.raises(ValueError, match="HS-99"):
        select(server_cases(), ["HS-1.1", "HS-99"])


def test_a_family_selects_its_cases():
    assert {case.id.split("-")[0] for case in select(server_cases(), ["RM"])} == {"RM"}


def test_a_server_that_crashes_costs_a_verdict_and_nothing_else():
    def crash(serve: Serve) -> Serve:
        def wrong(payload):
            if "echo" in str(payload):
                raise RuntimeError("on purpose")
            return serve(payload)

        return wrong

    [result] = judge(select(server_cases(), ["AR-1.1"]), distort=crash)
    assert result.verdict is Verdict.FAIL
    assert "closed" in result.explanation


def test_a_flood_fails_the_case_at_its_first_message():
    def flood(serve: Serve) -> Serve:
        return lambda payload: ["noise"] * 20_000

    [result] = judge(select(server_cases(), ["HS-5.1"]), distort=flood)
    assert result.verdict is Verdict.FAIL


def test_known_deviations_are_of_cases_and_divergences_that_exist():
    path = Path(__file__).parents[1] / "peers" / "deviations.toml"
    conversation = (path.parent / "conversation.py").read_text("utf-8")
    ids = {case.id for case in server_cases()}
    for entry in tomllib.loads(path.read_text("utf-8"))["deviation"]:
        assert ("cases" in entry) != ("steps" in entry)
        if "cases" in entry:
            assert set(entry["cases"]) <= ids
            assert entry["verdict"] in {verdict.value for verdict in Verdict}
            assert entry["divergence"] in divergences()
        assert all(f"async def {step}(" in conversation for step in entry.get("steps", ()))
        assert entry["observed"]
        assert entry["reason"].strip()
