"""Variations: what they rewrite, how they are named and chosen; correct peers pass them."""

import json
from collections import Counter
from dataclasses import replace
from functools import cache
from itertools import product

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mutation import work_clock
from mutation.client_faults import ClientFault, play
from neffos_codec import encode
from neffos_conformance.cases.covering import MOST, few, variations
from neffos_conformance.cases.definition import Role, cases_of
from neffos_conformance.cases.dimensions import (
    dimensions,
    names_in,
    rebuilt,
    select_varied,
    values,
    variation,
    why_fixed,
)
from neffos_conformance.cases.features import needed
from neffos_conformance.cases.profile import named
from neffos_conformance.cases.script import read_script
from neffos_conformance.cases.varied_script import NotApplicableError
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.reference.embedded import NOTHING, Serve, embedded_server
from neffos_conformance.runner.known_failures import KnownFailure, weigh
from neffos_conformance.runner.result import Finding, Result
from neffos_conformance.runner.run import run_cases, to_server
from neffos_conformance.runner.varying import Varied, vary
from neffos_conformance.wire.payloads import frame_of

from .commands import run

ROLES: tuple[Role, ...] = ("server", "client")

CASES = {case.id: case for role in ROLES for case in cases_of(role)}


CLIENTS_LACK = {"query", "identity", "cookie"}
"""Dimensions that no case for a client has."""


def lines(id_: str) -> list[str]:
    return [str(step) for step in rebuilt(CASES, id_).steps]


def unlike_pass(results: list[Result]) -> list[tuple[str, str]]:
    return [(r.case.id, r.explanation) for r in results if r.verdict is not Verdict.PASS]


# -------------------------------------------------------------------- soundness


def test_the_reference_server_passes_variations_with_every_value():
    chosen = few(cases_of("server"), most=1)

    async def run_all() -> list[Result]:
        async with embedded_server() as url:
            return [result async for result in run_cases(to_server(url), chosen)]

    assert unlike_pass(work_clock.run(run_all())) == []
    assert {name for case in chosen for name in names_in(case.id)} == values().keys()


def test_the_reference_client_passes_variations_with_every_value():
    chosen = few(cases_of("client"), most=1)

    async def run_all() -> list[Result]:
        return [await play(ClientFault(), case) for case in chosen]

    assert unlike_pass(work_clock.run(run_all())) == []
    lacking = {each.name for d in dimensions() if d.id in CLIENTS_LACK for each in d.values}
    assert {name for each in chosen for name in names_in(each.id)} == values().keys() - lacking


DRIVEN = [
    case
    for case in cases_of("client")
    if any(step.verb == "do" for step in case.steps) and not why_fixed(case)
]
"""The cases in which the suite has a driver do something."""

singles = cache(lambda case: [each.id for each in variations(case, 1)])


@settings(max_examples=settings().max_examples // 4)  # an example takes a tenth of a second
@given(st.sampled_from(DRIVEN).flatmap(lambda case: st.sampled_from(singles(case))))
@example("RM-11.c1[event-letters]")
@example("NS-14.c1[room-words]")
def test_what_a_driver_does_changes_with_what_comes_of_it(id_):
    result = work_clock.run(play(ClientFault(), rebuilt(CASES, id_)))
    assert unlike_pass([result]) == []


def test_a_body_that_another_namespace_has_too_stays():
    case = replace(CASES["RM-11.c1"], steps=read_script(TWO_EMITS, "client"))
    with pytest.raises(NotApplicableError):
        variation(case, ["body-lines"])


TWO_EMITS = """
1 app
1 < 2;any;;_OnNamespaceConnect;0;0;
1 > 2;;;;;;
1 do emit app news hi
1 > ;app;;news;0;0;hi
1 did
1 do emit any news hi
1 > ;any;;news;0;0;hi
1 did
"""


# -------------------------------------------------------------------- what is rewritten


def test_a_history_is_inserted_after_what_it_is_about():
    assert lines("RM-1.3[rejoined]")[5:11] == [
        "1 > $1;app;<<case>>;_OnRoomJoin;0;0;",
        "1 < $1;;;;;;",
        "1 > $left;app;<<case>>;_OnRoomLeave;0;0;",
        "1 < $left;;;;;;",
        "1 > $rejoined;app;<<case>>;_OnRoomJoin;0;0;",
        "1 < $rejoined;;;;;;",
    ]


def test_binary_messages_begin_after_the_connect_and_leave_the_empty_reply_text():
    assert lines("RM-1.2[binary]")[3:] == [
        "1 > $app;app;;_OnNamespaceConnect;0;0;",
        "1 < $app;;;;;;",
        "1 >b $1;app;<<case>>;_OnRoomJoin;0;0;",
        "1 < $1;;;;;;",
        "1 >b ;app;<<case>>;echo;0;0;in it",
        "1 >b $2;app;;echo;0;0;no room",
        "1 <b ;app;<<case>>;echo;0;0;in it",
        "1 <b $2;app;;echo;0;0;no room",
    ]


@pytest.mark.parametrize(
    ("id_", "line"),
    [
        ("AR-22.1[token-unicode]", "1 > $é漢1😀;app;;echo;0;0;hi"),
        ("AR-22.1[token-control]", r"1 > $a<<\x01\t\r\n\x1b\x7f>>1;app;;echo;0;0;hi"),
        ("AR-22.1[body-126]", "1 > $1;app;;echo;0;0;hi<<*124 x>>"),
        ("AR-22.1[body-0]", "1 > $1;app;;echo;0;0;"),
        ("AR-22.1[flags-words]", "1 > $1;app;;echo;false;true;hi"),
        ("AR-22.1[body-unicode,binary]", r"1 >b $1;app;;echo;0;0;hi \xc3\xa9\xe6\xbc\xa2"),
        ("AR-22.1[fragments-2]", "1 >/ $1;app;;<|>echo;0;0;hi"),
        ("RM-1.3[room-semicolon]", "2 <* ;app;@%!semicolon@%!<<case>>@%!semicolon@%!a"),
        ("AR-9.4[event-126]", "1 x10 > $<<#>>;app;;nobody-handles-this<<*107 x>>;0;0;hello?"),
        ("EV-1.3[together]", "1 >+ $1;app;<<case>>;_OnRoomJoin;0;0;"),
        ("RM-11.c1[event-numbers]", "1 do emit any 0012 hi hall"),
        ("RM-11.c1[event-numbers]", "1 > ;any;hall;0012;0;0;hi"),
        ("AR-22.1[message-125]", "1 > $1;app;;echo;0;0;hi<<*106 x>>"),
        ("RM-1.2[with-query]", "1 dial /?a=1&B=%20c"),
        ("RM-1.2[own-id]", "1 dial X-Conformance-Id: <<case>>.1%20+aB"),
        ("RM-1.2[with-query,own-id]", "1 dial /?a=1&B=%20c X-Conformance-Id: <<case>>.1%20+aB"),
        ("RM-1.2[own-id]", "1 < A<<case>>.1%20+aB"),
        ("RM-1.2[with-cookie]", "1 dial Cookie: a=b; c=%20d"),
        ("HS-3.2[with-query,with-cookie]", "1 dial /?a=1&B=%20c X-Conformance-Id: <<case>> a;b;;"),
        ("RM-1.3[room-words]", "2 <* ;app;__proto__;"),
        ("RM-1.c1[room-blanks]", r"1 saw joined app ' lobby <<\t>>'"),
        ("RM-1.c1[room-blanks]", r"1 > ;app; lobby <<\t>>;news;0;0;hi"),
        ("AR-11.c2[body-signs]", r"""1 did "'`\hi\n%41%s%20+&{x}[]*?#"""),
    ],
)
def test_a_value_rewrites_a_line(id_, line):
    assert any(each.startswith(line) for each in lines(id_)), lines(id_)


def test_what_a_variation_needs_follows_from_its_lines():
    assert needed(rebuilt(CASES, "RM-1.2[twin-room]")) - needed(CASES["RM-1.2"]) == {"any-event"}
    assert needed(rebuilt(CASES, "RM-1.2[refused-room]")) >= {"locked-room"}
    assert needed(rebuilt(CASES, "RM-1.2[binary]")) - needed(CASES["RM-1.2"]) == {"binary"}


@pytest.mark.parametrize(
    ("id_", "reason"),
    [
        ("AR-22.1[no-such]", "there is no variation no-such"),
        ("AR-22.1[body-0,body-1]", "two of the values are of one dimension"),
        ("AR-16.1[binary]", "it has binary messages already"),
        ("SEC-4.1[binary]", "it tests a limit or a time"),
        ("AR-99.1[binary]", "no case matches AR-99.1"),
        ("HS-3.6[own-id]", "nothing in it would change"),
        ("HS-13.2[body-65535]", "a server need not hold back so long a message"),
        ("RM-2.5[room-words]", "a name is that of a repetition"),
        ("AR-22.1[binary,body-1]", "is not spelled as AR-22.1[body-1,binary] is"),
    ],
)
def test_a_value_that_a_case_cannot_have_is_refused_with_the_reason(id_, reason):
    with pytest.raises(NotApplicableError) as caught:
        rebuilt(CASES, id_)
    assert reason in str(caught.value)


# -------------------------------------------------------------------- names and choices


def test_what_happened_before_names_the_cases_that_show_it():
    """A server that answers no close frame failed what was played after a closed connection."""
    assert {id_ for each in values().values() for id_ in each.shown_by} <= CASES.keys()
    history = [each for each in values().values() if each.dimension == "history"]
    assert [each.name for each in history if not each.shown_by] == []


def test_each_value_has_a_name_of_its_own():
    names = [value.name for each in dimensions() for value in each.values]
    assert max(Counter(names).values()) == 1


@pytest.mark.parametrize("role", ROLES)
def test_the_id_of_a_variation_rebuilds_it(role):
    for case in few(cases_of(role), most=1):
        assert rebuilt(CASES, case.id) == case
        assert case.base_id in CASES


@pytest.mark.parametrize("role", ROLES)
def test_a_usual_run_has_no_value_often(role):
    used = Counter(name for case in few(cases_of(role)) for name in names_in(case.id))
    assert max(used.values()) <= MOST


def test_a_value_that_is_never_accepted_keeps_no_other_from_its_place():
    chosen = few(cases_of("client"), lambda case: "binary" not in names_in(case.id), most=1)
    found = {name for each in chosen for name in names_in(each.id)}
    usual = {name for each in few(cases_of("client"), most=1) for name in names_in(each.id)}
    assert found == usual - {"binary"}


def test_the_variations_of_a_case_have_all_pairs_that_it_can_have():
    case = CASES["NS-2.1"]
    there = {name for each in variations(case, 1) for name in names_in(each.id)}
    pairs = {frozenset(names_in(each.id)) for each in variations(case, 2)}
    by_dimension = {value.name: value.dimension for value in values().values()}
    possible = []
    for one, other in product(there, repeat=2):
        if by_dimension[one] < by_dimension[other]:
            try:
                variation(case, [one, other])
            except NotApplicableError:
                continue
            possible.append({one, other})
    assert len(possible) > 100
    assert [each for each in possible if not any(each <= pair for pair in pairs)] == []


def test_a_pattern_names_the_variations_of_all_cases_that_can_have_them():
    found = select_varied(cases_of("server"), ["RM-1.?[rejoined]"])
    assert [case.id for case in found][:2] == ["RM-1.1[rejoined]", "RM-1.2[rejoined]"]
    assert all(case.id.endswith("[rejoined]") for case in found)


def test_a_case_may_take_no_part():
    assert why_fixed(CASES["SEC-4.1"])
    assert not why_fixed(CASES["AR-22.1"])


# -------------------------------------------------------------------- runs


def having(*names):
    """Accept variations that have no other values: to make all of a case takes a second."""
    return lambda case: {*names_in(case.id)} <= {*names}


def varied(fails) -> Varied:
    """Run variations of a few cases against a peer that fails those with some values."""

    async def run_one(case) -> Result:
        is_failed = fails <= {*names_in(case.id)}
        return Result(case, Verdict.FAIL if is_failed else Verdict.PASS)

    found = Varied()
    passed = [Result(CASES[id_]) for id_ in ("RM-1.1", "RM-1.2", "AR-22.1")]
    accepts = having("rejoined", "binary", "rooms-20", "token-percent", "pending-1")
    run = vary(run_one, CASES.values(), passed, found, is_thorough=True, jobs=2, accepts=accepts)
    work_clock.run(run)
    return found


def test_a_failure_is_named_by_no_more_values_than_it_needs():
    found = varied({"rejoined", "binary"})
    assert [each.case.id for each in found.failed] == [
        "RM-1.1[rejoined,binary]",
        "RM-1.2[rejoined,binary]",
    ]
    assert found.passed < found.number
    assert found.passed_by["binary"] < found.run_by["binary"]
    assert 0 < found.passed_by["rooms-20"] <= found.run_by["rooms-20"]


@pytest.mark.parametrize(
    ("known", "expected"),
    [
        ([], ["RM-1.1[rejoined,binary]"]),
        ([Result(CASES["EV-5.1"], Verdict.FAIL)], []),
        ([Result(CASES["AR-22.1"], findings=[Finding("EV-5", "a local event")])], []),
    ],
)
def test_a_variation_that_shows_a_new_violation_has_not_passed(known, expected):
    both = {"rejoined", "binary"}

    async def run_one(case) -> Result:
        is_wrong = both <= {*names_in(case.id)}
        return Result(case, findings=[Finding("EV-5", "a local event")] * is_wrong)

    found = Varied()
    results = [Result(CASES["RM-1.1"]), *known]
    accepts = having(*both)
    work_clock.run(
        vary(run_one, CASES.values(), results, found, is_thorough=True, jobs=2, accepts=accepts)
    )
    assert [each.case.id for each in found.failed] == expected
    assert (found.passed < found.number) is bool(expected)
    assert {each.verdict for each in found.failed} <= {Verdict.PASS}


def test_a_known_failure_may_be_that_of_a_variation():
    id_ = "RM-1.1[rejoined]"
    result = Result(rebuilt(CASES, id_), Verdict.FAIL, "expected nothing")
    entry = KnownFailure(id_, Verdict.FAIL, "expected nothing", "why", "DV-1")
    assert weigh([entry], [result], CASES).complaints == ()
    assert [*weigh([entry], [result], CASES).known] == [id_]
    assert weigh([entry], [], CASES).complaints == ()


def test_a_value_that_a_peer_is_known_to_fail_is_not_given_to_it():
    async def run_one(case) -> Result:
        return Result(case)

    for binary, there in ((Verdict.FAIL, 0), (Verdict.PASS, 1)):
        found = Varied()
        results = [Result(CASES["RM-1.1"]), Result(CASES["AR-16.1"], binary)]
        accepts = having("binary", "rejoined")
        run = vary(
            run_one, CASES.values(), results, found, is_thorough=True, jobs=1, accepts=accepts
        )
        work_clock.run(run)
        assert (found.run_by["binary"] > 0) == there


def test_variations_of_a_server_with_other_names_are_those_of_the_cases_as_they_are_written():
    profile, given = named("default"), []

    async def run_one(case) -> Result:
        given.append(case)
        return Result(profile.case(case))

    results = [Result(profile.case(CASES["RM-1.1"]))]
    work_clock.run(vary(run_one, CASES.values(), results, Varied(), jobs=1))
    assert given
    assert [case.id for case in given if case != rebuilt(CASES, case.id)] == []


def test_the_escapes_of_an_observation_stay():
    assert any(r"caf<<\u00e9>>" in each for each in lines("FR-18.c2[body-126]"))


def refusing(serve: Serve) -> Serve:
    """Refuse rooms with control characters."""

    def refuse(payload):
        ask = None if payload is NOTHING else frame_of(payload)
        if ask and ask.event == "_OnRoomJoin" and "\x01" in ask.room:
            return [encode(ask.error_reply("no such characters"))]
        return serve(payload)

    return refuse


@pytest.mark.parametrize("may_refuse", [True, False])
def test_nothing_is_known_of_names_that_a_server_refuses_by_its_policy(may_refuse):
    found = Varied()
    wanted = {"room-control", "room-lines"}

    async def run_all() -> None:
        async with embedded_server(distort=refusing) as url:
            await vary(
                to_server(url),
                CASES.values(),
                [Result(CASES[id_]) for id_ in ("RM-1.1", "RM-1.2", "RM-4.1")],
                found,
                is_thorough=True,
                jobs=3,
                accepts=lambda case: wanted >= {*names_in(case.id)},
                may_refuse=may_refuse,
            )

    work_clock.run(run_all())
    assert found.passed_by["room-lines"] == found.run_by["room-lines"] > 0
    assert found.refused == ({"room-control"} if may_refuse else set())
    assert bool(found.failed) is not may_refuse
    assert found.passed == found.number or not may_refuse


def test_variations_of_a_case_that_failed_do_not_run():
    found = Varied()
    failed = [Result(CASES["RM-1.1"], Verdict.FAIL)]
    work_clock.run(vary(None, CASES.values(), failed, found, jobs=1))  # it would be called
    assert found.number == 0


def test_a_variation_is_run_by_its_id_and_its_report_is_verified(tmp_path):
    report = tmp_path / "report.json"
    done = run("test", "server", "--case", "AR-22.1[token-percent,binary]", "--report", report)
    assert done.returncode == 0, done.stdout
    [entry] = json.loads(report.read_text())["cases"]
    assert entry["id"] == "AR-22.1[token-percent,binary]"
    assert "where tokens have percent signs; messages are binary" in entry["title"]
    assert run("verify", report).returncode == 0


def test_a_variation_that_does_not_exist_is_a_usage_error():
    done = run("test", "server", "--case", "AR-22.1[nothing]")
    assert done.returncode == 2
    assert b"there is no variation nothing. Try: neffos-wire list dimensions" in b" ".join(
        done.stderr.split()
    )


def test_the_dimensions_are_listed():
    done = run("list", "dimensions")
    assert done.returncode == 0
    assert b"token-percent" in done.stdout
