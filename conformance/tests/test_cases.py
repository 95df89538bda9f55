"""The cases for servers and clients: sound as data, and every requirement has one."""

import json
import re
import tomllib
from collections import Counter
from importlib.resources import files

import pytest
from jsonschema_rs import Draft202012Validator, meta

from mutation import work_clock
from neffos_codec import Native
from neffos_conformance.cases.definition import ROLES, Case, cases_of, select, server_cases
from neffos_conformance.cases.script import native_of
from neffos_conformance.cases.verdict import Verdict, verdict_on
from neffos_conformance.codecs.catalogue import EVERY_ROLE, all_cases
from neffos_conformance.reference.embedded import Serve, embedded_server
from neffos_conformance.runner.playback import Timeouts
from neffos_conformance.runner.result import Result
from neffos_conformance.runner.run import DEFAULT_TIMEOUTS, run_cases, to_server
from neffos_conformance.runner.run_report import SEEN_IN
from neffos_protocol.catalogue import Level, requirements

STRONG = (Level.MUST, Level.MUST_NOT, Level.SHOULD, Level.SHOULD_NOT)

AT_LEAST = {"server": 180, "client": 80, "codec": 400, "exchange": 25}


def run_all(
    cases: list[Case], *, distort=None, timeouts: Timeouts = DEFAULT_TIMEOUTS
) -> list[Result]:
    async def run() -> list[Result]:
        async with embedded_server(distort=distort) as url:
            return [result async for result in run_cases(to_server(url, timeouts), cases)]

    return work_clock.run(run())


def test_the_reference_server_passes_every_case(caplog):
    results = run_all(select(server_cases(), ()))
    assert "handler failed" not in caplog.text
    assert [(r.case.id, r.explanation) for r in results if r.verdict is not Verdict.PASS] == []
    assert [(r.case.id, r.findings) for r in results if r.findings] == []


@pytest.mark.parametrize("role", EVERY_ROLE)
def test_there_are_as_many_as_were_promised(role):
    assert len(all_cases(role)) >= AT_LEAST[role]


def test_ids_are_unique_over_all_roles():
    ids = Counter(case.id for role in EVERY_ROLE for case in all_cases(role))
    assert [id_ for id_, count in ids.items() if count > 1] == []


OLDER = {
    *("EV-6.4", "FR-2.3", "HS-1.1", "HS-9.c2", "NM-5.4", "NS-14.5", "NS-6.5", "RM-1.12", "RM-3.5"),
    *("RM-7.4", "SEC-15.c3", "SX-8.6", "SX-8.7"),
}
"""IDs that are older than what their cases are about now.

HS-1 is about clients, HS-9 ends with the handshake, RM-13 is about late replies, and a reply
shows how a client writes a name, not how it looks one up. No other of these cases kills a mutant of
the requirement that its ID names.
"""


@pytest.mark.parametrize("role", ROLES)
def test_an_id_is_shaped_like_what_the_case_is_mainly_about(role):
    for case in cases_of(role):
        begins = (f"{name}." for name in case.requirements)
        assert case.id.startswith(("ALL-", *begins)) or case.id in OLDER, case.id
        assert (".c" in case.id or "-c" in case.id) == (role == "client"), case.id


A_FREE_TEXT = re.compile(r";1;[01];<<([a-z0-9]+)>>$")
"""The placeholder of an error text that is left open, at the end of a frame."""


@pytest.mark.parametrize("role", ["server", "client", "exchange"])
def test_no_two_errors_need_have_one_text(role):
    for case in all_cases(role):
        expected = [step.rest for step in case.steps if step.verb[0] in "<>"]
        names = [found[1] for rest in expected if (found := A_FREE_TEXT.search(rest))]
        assert len(names) == len({*names}), case.id


@pytest.mark.parametrize("role", EVERY_ROLE)
def test_every_requirement_that_can_be_seen_has_a_case(role):
    wanted = {
        id_
        for id_, each in requirements().items()
        if SEEN_IN[role] in each.testable and each.level in STRONG
    }
    shown = {id_ for case in all_cases(role) for id_ in case.requirements}
    assert wanted - shown == set()


@pytest.mark.parametrize("role", EVERY_ROLE)
def test_every_case_shows_requirements_that_can_be_seen(role):
    for case in all_cases(role):
        assert case.requirements, case.id
        for id_ in case.requirements:
            assert id_ in requirements(), (case.id, id_)
            peer = "server" if role == "exchange" else role
            assert peer in requirements()[id_].applies_to, (case.id, id_)
        assert any(SEEN_IN[role] in requirements()[id_].testable for id_ in case.requirements)


def test_what_cannot_be_tested_says_why():
    for each in requirements().values():
        if not each.is_testable:
            assert len(each.testable[0]) > len("no: ") + 10, each.id


@pytest.mark.parametrize("role", ROLES)
def test_the_data_fits_its_schema(role):
    data = files("neffos_conformance.data")
    schema = json.loads((data / "schema" / "cases.json").read_text("utf-8"))
    meta.validate(schema)
    validator = Draft202012Validator(schema)
    there = list((data / "cases" / role).iterdir())
    assert there
    for path in there:
        values = tomllib.loads(path.read_text("utf-8"))
        validator.validate(values)
        assert values["role"] == role
        families = {entry["id"].partition("-")[0] for entry in values["case"]}
        assert families == {path.name.removesuffix(".toml")}


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
    assert verdict_on(ids) is verdict


# -------------------------------------------------------------------- selecting


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [("HS-1.1", {"HS-1.1"}), ("hs-7.*", {"HS-7"}), ("NS-7.1", {"NS-7.1"})],
)
def test_a_pattern_selects_by_case_requirement_and_wildcard(pattern, expected):
    found = {case.id for case in select(server_cases(), [pattern])}
    assert found
    assert all(any(id_.startswith(each) for each in expected) for id_ in found)


def test_a_requirement_selects_all_its_cases():
    found = select(server_cases(), ["ns-3"])
    assert {case.id for case in found} == {
        case.id for case in server_cases() if "NS-3" in case.requirements
    }


def test_a_family_selects_its_cases():
    assert {case.family for case in select(server_cases(), ["RM"])} == {"RM"}


def test_a_pattern_that_matches_nothing_is_refused_beside_one_that_does():
    with pytest.raises(ValueError, match="HS-99"):
        select(server_cases(), ["HS-1.1", "HS-99"])


def test_a_tag_selects_and_a_wrong_one_is_refused_with_those_that_there_are():
    assert all("several" in case.tags for case in select(server_cases(), (), ["several"]))
    with pytest.raises(ValueError, match=r"no case has the tag sundry; there are .*several"):
        select(server_cases(), (), ["sundry"])


def test_slow_cases_are_left_out_unless_they_are_named():
    slow = [case for case in server_cases() if "slow" in case.tags]
    assert slow
    assert not {case.id for case in slow} & {case.id for case in select(server_cases(), ())}
    assert select(server_cases(), [slow[0].id]) == [slow[0]]
    assert set(select(server_cases(), (), ["slow"])) == set(slow)


# -------------------------------------------------------------------- peers that mean harm


def test_a_server_that_crashes_costs_a_verdict_and_nothing_else():
    def crash(serve: Serve) -> Serve:
        def wrong(payload):
            if "echo" in str(payload):
                raise RuntimeError("on purpose")
            return serve(payload)

        return wrong

    [result] = run_all(select(server_cases(), ["AR-1.1"]), distort=crash)
    assert result.verdict is Verdict.FAIL
    assert "closed" in result.explanation


def test_a_flood_fails_the_case_at_its_first_message():
    def flood(serve: Serve) -> Serve:
        return lambda payload: ["noise"] * 20_000

    [result] = run_all(select(server_cases(), ["HS-5.1"]), distort=flood)
    assert result.verdict is Verdict.FAIL


def test_a_failure_before_what_a_case_is_about_is_no_verdict_on_it():
    def deaf(serve: Serve) -> Serve:
        return lambda payload: [] if payload == "M" else serve(payload)

    brief = Timeouts(case=0.3, before_barrier=0.1, after_barrier=0.1)
    [result] = run_all(select(server_cases(), ["NS-3.1"]), distort=deaf, timeouts=brief)
    assert result.verdict is Verdict.ERROR
    assert "the setup failed" in result.explanation


@pytest.mark.parametrize(
    ("role", "paths", "native"),
    [
        ("server", [], Native.NEVER),
        ("server", ["", "/?X-Websocket-Header-A=b"], Native.NEVER),
        ("server", ["", "/mixed?a=b"], Native.FALLBACK),
        ("server", ["/native"], Native.ONLY),
        ("client", [""], Native.FALLBACK),
    ],
)
def test_what_becomes_of_what_is_no_frame_is_for_role_and_endpoint_to_say(role, paths, native):
    assert native_of(role, paths) is native
