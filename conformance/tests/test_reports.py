"""What a run found, in each form, from runs against right, wrong and hostile peers."""

import asyncio
import io
import json
import re
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from pathlib import Path

import pytest
from jsonschema_rs import Draft202012Validator, meta
from junitparser import Error, Failure, JUnitXml, Skipped
from rich.console import Console

from mutation import BANK, SOON, work_clock
from neffos_conformance.cases.definition import Case, select, server_cases
from neffos_conformance.cases.script import read_script
from neffos_conformance.cases.verdict import Verdict, most_severe
from neffos_conformance.codecs.catalogue import codec_cases
from neffos_conformance.reference.embedded import embedded_server
from neffos_conformance.reports import findings, html, junit, markdown, terminal
from neffos_conformance.reports import json as json_report
from neffos_conformance.runner.known_failures import KnownFailure
from neffos_conformance.runner.result import Finding, LogEntry, Remark, Result, in_order
from neffos_conformance.runner.run import run_cases, to_server
from neffos_conformance.runner.run_report import RunReport
from neffos_conformance.wire.connection import ConnectionClosed
from neffos_conformance.wire.transcript import ConnectionOpened
from neffos_protocol.catalogue import requirements

EVIL = (
    "</script><script>alert(1)</script><img src=x onerror=alert(1)>&lt;]]>"
    "\x1b[31m\x1b]0;pwned\x07\x9b2J\x00\ufffe\u202e[bold red]loud[/]\n````` @everyone |"
)
"""What a hostile peer says: to a terminal, to rich, to HTML, to XML, to Markdown."""

COMMAND = "neffos-wire test server ws://127.0.0.1:9090/"

SCHEMA = json.loads(
    files("neffos_conformance.data").joinpath("schema", "report.json").read_text("utf-8")
)
SGR = re.compile(r"\x1b\[[0-9;]*m")


@cache
def junit_schema():
    import xmlschema  # takes a third of a second, and one test needs it

    return xmlschema.XMLSchema(Path(__file__).with_name("data") / "junit.xsd")


def hostile(serve):
    def wrong(payload):
        return [EVIL if "first" in str(sent) else sent for sent in serve(payload)]

    return wrong


async def against(stage, *ids):
    cases = [case for case in server_cases() if case.id in ids]
    assert len(cases) == len(ids)
    async with stage as run:
        return in_order([result async for result in run_cases(run, cases)], cases)


class Hostile:
    """Runs cases against the server that says what a terminal and a page had better not read."""

    async def __aenter__(self):
        self.server = embedded_server(distort=hostile)
        return to_server(await self.server.__aenter__(), SOON)

    async def __aexit__(self, *error):
        await self.server.__aexit__(*error)


async def runs():
    """Give results of every kind: the first two are of a server that is right."""
    right, lost, silent, odd, evil = await asyncio.gather(
        against(BANK["token-lost"].stage(), "HS-1.1", "HS-3.4"),
        against(BANK["token-lost"].stage(), "AR-1.1", "FR-10.2"),
        against(BANK["tokenless-unanswered"].stage(), "AR-10.1"),
        against(BANK["unconnected-unanswered"].stage(), "NS-17.1"),
        against(Hostile(), "AR-7.2"),
    )
    return right + lost + silent + odd + evil


@pytest.fixture(scope="module")
def real():
    """A run, as it came about."""
    return report_of(work_clock.run(runs()))


@pytest.fixture(scope="module")
def run_report(real):
    """The same with the rest of what can come about."""
    by_id = {result.case.id: result for result in real.results}
    others = [case for case in server_cases() if case.id not in by_id]
    results = [
        *real.results,
        Result(others[0], Verdict.SKIPPED, "it needs rooms"),
        Result(others[1], Verdict.ERROR, "the server could not be reached"),
        Result(others[2], findings=[Finding("TR-16", "the close frame was not answered")]),
        Result(others[3], findings=[FOUND, REMARKED]),
        Result(others[4], findings=[FOUND]),
    ]
    known = KnownFailure(
        "FR-10.2", Verdict.FAIL, "x", "Old clients rely on it.", "DV-28", "known.toml"
    )
    found = KnownFailure(
        others[4].id, Verdict.FAIL, "x", "It says so twice.", "DV-1", "known.toml", "AR-22"
    )
    return replace(
        report_of(results),
        known={"FR-10.2": known, found.key: found},
        stale=("known.toml: HS-1.1 passes now; take the entry out",),
        selection=("HS-*", "tag quick"),
        notes=("gentle: one case at a time",),
        features=frozenset({"rooms", "binary"}),
    )


FOUND = Finding("AR-22", "a second reply to '$1'", 1, 7)
REMARKED = Finding("", f"a message that the case does not expect: {EVIL}", 1, 8)


def report_of(results, role="server", **more):
    return RunReport(
        role,
        "ws://127.0.0.1:9090/",
        {"peer": "some-server", "version": "1.2", "runtime": "Go 1.24"},
        datetime(2026, 5, 4, 3, 2, 1, 500_000, UTC),
        1.25,
        tuple(results),
        COMMAND,
        **more,
    )


def by_id(run_report, id_):
    return next(result for result in run_report.results if result.case.id == id_)


def made_up(log, script="1 dial\n1 > M\n1 < A", role="server", **more):
    """Give a result of a case that does not exist."""
    case = Case("ZZ-1.1", "something", ("HS-3",), role, read_script(script, role))
    return Result(case, log=log, **{"verdict": Verdict.FAIL, "explanation": "no", **more})


def shown(run_report, *, verbose=False, width=100, **options):
    stream = io.StringIO()
    terminal.show(Console(file=stream, width=width, **options), run_report, verbose)
    return stream.getvalue()


# -------------------------------------------------------------------- what all forms say


def test_the_runs_came_to_what_the_tests_are_about(real):
    verdicts = {result.case.id: result.verdict.value for result in real.results}
    assert verdicts == {
        "HS-1.1": "pass",
        "HS-3.4": "pass",
        "AR-1.1": "fail",
        "FR-10.2": "fail",
        "AR-10.1": "fail",
        "NS-17.1": "non-strict",
        "AR-7.2": "fail",
    }


def test_what_came_at_the_failing_line_is_marked(real):
    for id_ in ("AR-1.1", "FR-10.2", "AR-7.2"):
        steps = findings.logged_steps(by_id(real, id_))
        [failing] = [step for step in steps if step.is_failing]
        assert failing is steps[-1]
        assert not failing.entry.from_client
        assert not failing.is_missing


def test_where_nothing_came_the_line_stands_in_its_place(real):
    result = by_id(real, "AR-10.1")
    steps = findings.logged_steps(result)
    [failing] = [step for step in steps if step.is_failing]
    assert failing.is_missing
    assert failing.text() == "missing: 1 < ;app;;echo;0;0;hi"
    assert failing is steps[-1]


def test_of_a_client_it_is_the_clients_message_that_is_marked():
    log = [LogEntry(0.1, 1, True, "X", 2), LogEntry(0.2, 1, False, "A", 2)]
    result = made_up(log, role="client", step=2)
    assert [step.is_failing for step in findings.logged_steps(result)] == [True, False]


def test_a_line_that_failed_before_anything_went_by_stands_alone():
    [step] = findings.logged_steps(made_up([], step=1))
    assert step.text() == "missing: 1 dial"


def test_where_no_line_failed_none_is_marked(real):
    assert not any(step.is_failing for step in findings.logged_steps(by_id(real, "HS-1.1")))


def test_the_verdict_on_a_requirement_is_the_gravest_of_its_cases(run_report):
    found = {each.requirement.id: each for each in findings.requirement_results(run_report)}
    assert found.keys() == run_report.testable().keys()
    assert found["AR-1"].verdict is Verdict.FAIL
    assert "AR-1.1" in found["AR-1"].cases
    assert found["NS-17"].verdict is Verdict.NON_STRICT
    assert found["TR-16"].verdict is Verdict.FAIL  # by a connection's end alone
    assert not found["TR-16"].is_exercised
    assert found["SEC-16"].verdict is None


@pytest.mark.parametrize(
    ("verdicts", "gravest"),
    [
        ([], None),
        ([Verdict.SKIPPED], Verdict.SKIPPED),
        ([Verdict.SKIPPED, Verdict.PASS], Verdict.PASS),
        ([Verdict.PASS, Verdict.INFORMATIONAL, Verdict.ERROR], Verdict.ERROR),
        ([Verdict.ERROR, Verdict.FAIL], Verdict.FAIL),
    ],
)
def test_what_is_gravest(verdicts, gravest):
    assert most_severe(verdicts) is gravest


def test_the_case_is_put_before_the_command_of_the_system_under_test(run_report):
    case = run_report.results[0].case
    client = replace(run_report, command="neffos-wire test client -- node driver.mjs --case")
    assert findings.rerun(run_report, case) == f"{COMMAND} --case HS-1.1"
    assert findings.rerun(client, case) == (
        "neffos-wire test client --case HS-1.1 -- node driver.mjs --case"
    )


def test_a_selection_is_named_so_that_it_does_not_look_like_the_whole(run_report, real):
    there = len(server_cases())
    assert (
        findings.cases_sentence(run_report) == f"12 of {there} cases, selected by HS-*, tag quick"
    )
    assert findings.cases_sentence(real) == f"7 of {there} cases"
    whole = report_of([Result(case) for case in server_cases()])
    assert findings.cases_sentence(whole) == f"all {there} cases"


def test_secrets_of_a_request_stay_out():
    headers = {"X-Conformance-Id": "7", "Cookie": "secret", "Authorization": "secret"}
    result = made_up([LogEntry(0.0, 1, True, ConnectionOpened("/?a=1", headers), 1)])
    run_report = report_of([result])
    forms = (
        shown(run_report, verbose=True),
        json.dumps(json_report.report_values(run_report)),
        junit.render(run_report),
        markdown.render(run_report),
        html.render(run_report),
    )
    for form in forms:
        assert "secret" not in form
    assert "X-Conformance-Id: 7" in forms[0]


# -------------------------------------------------------------------- the terminal


def test_the_terminal_begins_with_what_failed(run_report):
    text = shown(run_report)
    words = "fail|error|non-strict|known|stale|closing|skipped|pass|finding|remark"
    heads = re.findall(rf"^({words}) (\S+)", text, re.MULTILINE)
    assert heads == [
        ("fail", "AR-1.1"),
        ("fail", "AR-10.1"),
        ("fail", "AR-7.2"),
        ("error", by_verdict(run_report, Verdict.ERROR)),
        ("non-strict", "NS-17.1"),
        ("pass", with_finding(run_report)),
        ("known", "fail"),
        ("known", "fail"),
        ("stale", "known.toml:"),
        ("finding", "fail"),
        ("closing", "fail"),
        ("remark", "a"),
        ("skipped", "it"),
    ]
    assert text.index("cases by family") > text.index("skipped it needs rooms")
    last = " ".join(" ".join(text.splitlines()[-2:]).split())
    assert re.search(r"\d+ of \d+ testable requirements exercised \(\d+ %\);", last)
    assert "peer some-server 1.2, runtime Go 1.24; suite neffos-wire " in last


def with_finding(run_report):
    return next(each.case.id for each in run_report.results if each.violations)


def by_verdict(run_report, verdict):
    return next(result.case.id for result in run_report.results if result.verdict is verdict)


def test_the_terminal_shows_a_failure_with_its_bytes(real):
    text = shown(real, width=300)
    part = text[text.index("fail AR-1.1") : text.index("fail FR-10.2")]
    lines = part.splitlines()
    assert lines[0] == "fail AR-1.1 a server replies to an ask with the token of a client"
    assert lines[1] == f"  AR-1     {requirements()['AR-1'].text}"
    assert any(re.fullmatch(r" +\d+\.\d ms ──► 'M'", line) for line in lines)
    assert any(re.fullmatch(r" +\d+\.\d ms ◄── 'A.+'", line) for line in lines)
    [marked] = [line for line in lines if line.startswith("✗")]
    assert re.fullmatch(r"✗ +\d+\.\d ms ◄── ';app;;echo;0;0;hi'", marked)
    assert lines[-5:] == [
        "  expected 1 < $1790000000000000001;app;;echo;0;0;hi",
        "  actual   ';app;;echo;0;0;hi'",
        "  problem  wait: expected '$1790000000000000001', actual ''",
        f"  rerun    {COMMAND} --case AR-1.1",
        "",
    ]


def test_the_terminal_tells_connections_apart(real):
    text = shown(real, verbose=True)
    part = text[text.index("pass HS-3.4") :]
    assert {"1 ──►", "2 ──►", "3 ──►"} <= set(re.findall(r"ms (\d ──►)", part))


def test_only_verbose_shows_what_passed(run_report):
    assert "HS-1.1 " not in shown(run_report).replace("HS-1.1 passes now", "")
    text = shown(run_report, verbose=True)
    assert all(f"{result.verdict.value} {result.case.id} " in text for result in run_report.results)


@pytest.mark.parametrize("is_terminal", [False, True])
def test_nothing_that_a_peer_says_steers_the_terminal(real, is_terminal):
    for verbose in (False, True):
        text = shown(real, verbose=verbose, width=2_000, force_terminal=is_terminal)
        plain = SGR.sub("", text)
        assert all(each.isprintable() or each == "\n" for each in plain)
        assert (
            r"alert(1)>&lt;]]>\x1b[31m\x1b]0;pwned\x07\x9b2J\x00\ufffe\u202e[bold red]loud[/]"
            in plain
        )
        assert "\x1b]" not in text


def test_what_stands_beside_messages_does_not_steer_the_terminal_either():
    log = [
        LogEntry(0.1, 1, True, ConnectionOpened(f"/{EVIL}", {f"X-Conformance-{EVIL}": EVIL}), 1),
        LogEntry(0.2, 1, False, Remark(EVIL), 2),
        LogEntry(0.3, 1, False, ConnectionClosed(4000, EVIL), 3),
        LogEntry(0.4, 1, False, "\udcff\udc9b31m", 3),
    ]
    found = [Finding("TR-16", EVIL), Finding("AR-22", f"{EVIL}!", 1, 2), Finding("", EVIL * 2)]
    result = made_up(log, step=3, expected=EVIL, actual=EVIL, explanation=EVIL, findings=found)
    unrun = Result(
        server_cases()[0].__class__("ZZ-2", EVIL, (), "server", ()), Verdict.SKIPPED, EVIL
    )
    known = KnownFailure("ZZ-1.1", Verdict.FAIL, "x", EVIL, EVIL)
    run_report = report_of([result, unrun], stale=(EVIL,), selection=(EVIL,))
    run_report = replace(run_report, peer={"peer": EVIL, EVIL: EVIL}, command=EVIL, sut=EVIL)
    for each in (run_report, replace(run_report, known={"ZZ-1.1": known})):
        for verbose in (False, True):
            text = shown(each, verbose=verbose)
            assert all(char.isprintable() or char == "\n" for char in text)


def test_a_terminal_of_ascii_gets_ascii(run_report):
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    terminal.show(Console(file=stream, width=100), run_report, verbose=True)
    stream.flush()
    assert b"-->" in raw.getvalue()
    assert re.search(rb"^! +\d", raw.getvalue(), re.MULTILINE)


def test_long_payloads_and_long_logs_are_shortened():
    log = [LogEntry(number / 1000, 1, True, f"{number} " + "x" * 5000, 2) for number in range(500)]
    log[250:250] = [LogEntry(0.25, 1, False, "this failed", 3)]
    text = shown(report_of([made_up(log, step=3)]))
    assert len(text) < 20_000
    assert len(re.findall(r"^. +\d+\.\d ms", text, re.MULTILINE)) == terminal.MAX_STEPS + 1
    assert re.search("^✗ .*this failed'$", text, re.MULTILINE)
    assert text.count("more …") == 2
    short = [replace(noted, content="hi") for noted in log]
    assert shown(report_of([made_up(short)]), verbose=True).count("ms ──►") == 500


def test_what_fails_everywhere_does_not_flood_the_terminal():
    cases = server_cases()
    results = [Result(case, Verdict.ERROR, "the server is away") for case in cases]
    text = shown(report_of(results))
    assert text.count("  rerun ") == terminal.MAX_ALIKE
    assert f"{len(cases) - terminal.MAX_ALIKE} are shown without their messages" in text
    assert all(case.id in text for case in cases)
    results = [Result(case, Verdict.FAIL, f"in way {case.id}") for case in cases]
    assert shown(report_of(results)).count("  rerun ") == terminal.MAX_WHOLE


def test_a_narrow_terminal_loses_nothing(run_report):
    narrow = re.sub(r"\s", "", shown(run_report, width=40))
    assert "wantedfieldisnot" not in narrow
    assert re.sub(r"\s", "", requirements()["AR-1"].text) in narrow


def test_progress_counts_on_a_terminal_and_is_quiet_elsewhere(real):
    for is_terminal in (True, False):
        stream = io.StringIO()
        console = Console(file=stream, force_terminal=is_terminal, width=120)
        with terminal.progress_display(len(real.results), console) as add:
            for result in real.results:
                add(result)
        assert Counter(result.verdict for result in real.results) == {
            Verdict.FAIL: 4,
            Verdict.NON_STRICT: 1,
            Verdict.PASS: 2,
        }
        text = SGR.sub("", stream.getvalue())
        assert ("4 fail 1 non-strict 2 pass" in text) is is_terminal
        assert bool(text) is is_terminal


# -------------------------------------------------------------------- JSON


def valid(run_report):
    """Give the report, which has the form of the schema, and stands in a file as it is."""
    report = json_report.report_values(run_report)
    errors = [f"{each.json_path}: {each.message}" for each in validator().iter_errors(report)]
    assert errors == []
    return report


def validator():
    return Draft202012Validator(SCHEMA)


def test_a_report_says_where_it_comes_from(run_report):
    report = valid(run_report)
    assert json.loads(json_report.render(run_report)) == report
    assert report["suite"]["requirements"] == len(requirements())
    assert report["suite"]["cases"] == len(server_cases())
    assert report["peer"] == {"peer": "some-server", "version": "1.2", "runtime": "Go 1.24"}
    assert report["started"] == "2026-05-04T03:02:01.500+00:00"
    assert report["selection"] == ["HS-*", "tag quick"]
    assert report["notes"] == ["gentle: one case at a time"]
    assert report["features"] == ["binary", "rooms"]
    assert report["failed"] is True
    assert report["counts"] == {
        "pass": 5,
        "fail": 4,
        "non-strict": 1,
        "informational": 0,
        "skipped": 1,
        "error": 1,
        "unknown": 0,
    }
    assert report["finding_counts"] == {**dict.fromkeys(report["counts"], 0), "fail": 3}
    exercised = report["exercised"]
    assert exercised["exercised"] + len(exercised["not_exercised"]) == exercised["testable"]
    assert "SEC-16" in exercised["not_exercised"]


def test_a_report_has_each_case_with_what_went_by(run_report):
    cases = {case["id"]: case for case in valid(run_report)["cases"]}
    case = cases["AR-1.1"]
    assert case["requirements"] == [
        {"id": "AR-1", "level": "MUST"},
        {"id": "AR-7", "level": "MUST"},
    ]
    assert (case["step"], case["expected"]) == (3, "1 < $1790000000000000001;app;;echo;0;0;hi")
    *_, last = case["log"]
    assert (last["text"], last["from"], last["failed"]) == (";app;;echo;0;0;hi", "server", True)
    assert cases["FR-10.2"]["known_failure"]["link"] == "DV-28"
    assert cases["FR-10.2"]["log"][-1]["hex"] == b";app;;echo;0;0;\x00\xff;\x80\xfe".hex()
    assert cases["AR-7.2"]["log"][-1]["text"] == EVIL
    found = [each for case in cases.values() for each in case["findings"]]
    assert [each["requirement"] for each in found] == ["TR-16", "AR-22", "", "AR-22"]
    assert [each["verdict"] for each in found] == ["fail", "fail", "pass", "fail"]
    assert [(each["connection"], each["message"]) for each in found][1:3] == [(1, 7), (1, 8)]
    assert [bool(each["known_failure"]) for each in found] == [False, False, False, True]
    [twice] = [each for each in valid(run_report)["requirements"] if each["id"] == "AR-22"]
    assert twice["verdict"] == "fail"


def test_a_report_is_bounded():
    log = [LogEntry(0.1, 1, True, "x" * 1_000_000, 2)] * 1_000
    [case] = valid(report_of([made_up(log)]))["cases"]
    assert len(json.dumps(case)) < 100_000
    assert len(case["log"]) == json_report.MAX_ENTRIES
    assert case["omitted"] == 1_000 - json_report.MAX_ENTRIES
    assert case["log"][0]["size"] == 1_000_000
    assert len(case["log"][0]["text"]) == json_report.MAX_PAYLOAD
    assert len(case["log"][-1]["text"]) == json_report.MAX_REST


def test_a_report_holds_what_is_no_utf8():
    broken = "a\udcffb"
    log = [
        LogEntry(
            0.1, 1, True, ConnectionOpened(f"/{broken}", {f"X-Conformance-{broken}": broken}), 1
        ),
        LogEntry(0.2, 1, True, Remark(broken), 1),
        LogEntry(0.3, 1, True, broken, 2),
        LogEntry(0.4, 1, False, ConnectionClosed(1000, broken, "flood"), 2),
    ]
    result = made_up(log, explanation=broken, actual=broken)
    report = valid(report_of([result], selection=(broken,), stale=(broken,)))
    json.dumps(report, ensure_ascii=False).encode()
    opened, remark, message, closed = report["cases"][0]["log"]
    assert opened["opened"]["headers"] == {r"X-Conformance-a\xffb": r"a\xffb"}
    assert remark["remark"] == r"a\xffb"
    assert message["broken_text_hex"] == "61ff62"
    assert closed["closed"] == {"code": 1000, "reason": r"a\xffb", "cut": "flood"}


def test_the_schema_refuses_what_is_no_report(run_report):
    meta.validate(SCHEMA)
    report = valid(run_report)
    for wrong in (
        {**report, "format": 2},
        {**report, "more": 1},
        {**report, "role": "peer"},
        {**report, "cases": [{**report["cases"][0], "verdict": "good"}]},
        {**report, "cases": [{**report["cases"][0], "log": [{"time": 0}]}]},
        {key: value for key, value in report.items() if key != "command"},
    ):
        assert not validator().is_valid(wrong)


# -------------------------------------------------------------------- JUnit XML


def collected(run_report):
    """Give the document as those get it that collect results; it has the form that they know."""
    document = junit.render(run_report)
    assert [str(error) for error in junit_schema().iter_errors(document)] == []
    return JUnitXml.fromstring(document.encode())


def test_junit_knows_what_failed_and_what_was_skipped(run_report):
    document = collected(run_report)
    assert (document.tests, document.failures, document.errors, document.skipped) == (13, 5, 1, 2)
    [suite] = document
    tests = {test.name.partition(" ")[0]: test for test in suite}
    [failure] = tests["AR-1.1"].result
    assert isinstance(failure, Failure)
    assert failure.message == "wait: expected '$1790000000000000001', actual ''"
    assert "◄── ';app;;echo;0;0;hi'" in failure.text
    assert f"{COMMAND} --case AR-1.1" in failure.text
    [known] = tests["FR-10.2"].result
    assert isinstance(known, Skipped)
    assert known.message == "known failure, fail: Old clients rely on it. (DV-28)"
    [unsupported] = tests[by_verdict(run_report, Verdict.SKIPPED)].result
    assert (type(unsupported), unsupported.message) == (Skipped, "it needs rooms")
    [error] = tests[by_verdict(run_report, Verdict.ERROR)].result
    assert isinstance(error, Error)
    [found] = tests[with_finding(run_report)].result
    assert (type(found), found.message) == (Failure, "AR-22: a second reply to '$1'")
    assert tests["NS-17.1"].is_passed
    assert tests["NS-17.1"].system_out.startswith("non-strict: ")
    [complaint] = tests["known"].result
    assert complaint.message == "known.toml: HS-1.1 passes now; take the entry out"
    assert {test.classname for test in suite} >= {"server.AR", "server.HS", "server.known_failures"}
    assert [test.system_out for test in suite if test.system_out] == [
        tests["FR-10.2"].system_out,
        tests["NS-17.1"].system_out,
        "closing, TR-16, fail: the close frame was not answered",
        tests[with_finding(run_report)].system_out,
        "finding, AR-22, fail: a second reply to '$1' (message 7 of connection 1)",
    ]
    properties = {each.name: each.value for each in suite.properties()}
    assert properties["peer"] == "some-server 1.2, runtime Go 1.24"
    assert properties["command"] == COMMAND
    written = junit.render(run_report)
    assert written.startswith("<?xml")
    junit_schema().validate(ET.fromstring(written.encode()))  # noqa: S314  # ours


def test_characters_that_xml_has_not_are_visible(run_report):
    [suite] = collected(run_report)
    [failure] = next(test for test in suite if test.name.startswith("AR-7.2")).result
    assert r"\x1b[31m\x1b]0;pwned\x07\x9b2J\x00\ufffe" in failure.text
    assert "</script><script>" in failure.text


def test_junit_fails_a_case_that_is_not_strict_for_what_else_was_found(run_report):
    case = server_cases()[0]
    known = KnownFailure(case.id, Verdict.NON_STRICT, "x", "An old habit.", "DV-1", "known.toml")
    for accepted in ({}, {case.id: known}):
        result = Result(case, Verdict.NON_STRICT, "x", findings=[FOUND])
        report = replace(run_report, results=(result,), known=accepted)
        [[test, _]] = collected(report)
        assert [type(each) for each in test.result] == [Failure]
        assert test.result[0].message == "AR-22: a second reply to '$1'"


def test_the_schema_refuses_what_is_no_junit_xml(run_report):
    document = junit.render(run_report)
    for old, new in (
        ("<testcase ", '<testcase number="1" '),
        (' type="fail"', ""),
        ('timestamp="2026', 'timestamp="yesterday'),
        ("<properties>", "<system-out/><properties>"),
    ):
        assert old in document
        assert not junit_schema().is_valid(document.replace(old, new))


# -------------------------------------------------------------------- Markdown


def outside_code(text):
    """Give what is left of Markdown without its fences and spans of code."""
    rest, fence = [], ""
    for line in text.splitlines():
        if fence:
            fence = "" if line == fence else fence
        elif opened := re.match("(`{3,})text$", line):
            fence = opened[1]
        else:
            rest.append(re.sub(r"(?<!`)(`+)(?!`).+?(?<!`)\1(?!`)", "", line))
    assert fence == ""
    return "\n".join(rest)


def test_markdown_says_what_failed_and_where_it_comes_from(run_report):
    text = markdown.render(run_report)
    heads = re.findall("^#+ (.+)", text, re.MULTILINE)
    assert heads[0] == (
        "neffos-wire server: failed: 4 fail, 1 error, 1 non-strict, 1 skipped, 5 pass; "
        "2 known failures"
    )
    assert [head.split(":")[0] for head in heads[1:4]] == [
        "fail AR-1.1",
        "fail AR-10.1",
        "fail AR-7.2",
    ]
    assert "- **fail FR-10.2** Old clients rely on it. (DV-28)" in text
    assert "- `known.toml: HS-1.1 passes now; take the entry out`" in text
    assert "- **fail TR-16** `the close frame was not answered`: " in text
    assert "| **all** | 5 | 4 | 1 |  | 1 | 1 |" in text
    assert f"| command | `{COMMAND}` |" in text


def test_what_a_peer_says_is_no_markdown(run_report):
    rest = outside_code(markdown.render(run_report))
    assert "everyone" not in rest
    assert re.findall(r"<[^>]+>", rest) == [
        "<details>",
        "<summary>",
        "</summary>",
        "</details>",
    ]


def test_what_stands_beside_messages_is_no_markdown_either():
    result = made_up([], explanation=EVIL, expected=EVIL, actual=EVIL)
    run_report = replace(
        report_of([result], stale=(EVIL,)), peer={"peer": EVIL}, command=EVIL, sut=EVIL
    )
    rest = outside_code(markdown.render(run_report))
    assert "alert" not in rest
    assert "everyone" not in rest
    known = KnownFailure("ZZ-1.1", Verdict.FAIL, "x", EVIL, EVIL)
    rest = outside_code(markdown.render(replace(run_report, known={"ZZ-1.1": known})))
    assert r"\<script\>" in rest
    assert not re.search(
        r"(?<!\\)[<@]",
        rest.replace("<details>", "")
        .replace("<summary>", "")
        .replace("</summary>", "")
        .replace("</details>", ""),
    )


def test_markdown_fits_into_a_comment():
    log = [LogEntry(0.1, 1, True, "x" * 5000, 2)] * 100
    results = [Result(case, Verdict.FAIL, "no" * 500, log=log) for case in server_cases()]
    text = markdown.render(report_of(results))
    assert len(text) < 65_536
    assert f"- and {len(results) - text.count('### fail') - markdown.MAX_LINES} more" in text


# -------------------------------------------------------------------- the page; see also its test


def test_no_word_of_a_peer_ends_the_data_of_the_page(run_report):
    page = html.render(run_report)
    assert page.count("</script>") == 2
    [data] = re.findall('<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert "<" not in data
    cases = json.loads(data)["cases"]
    assert cases.keys() == {result.case.id for result in run_report.results}
    row = cases["AR-7.2"]["rows"][-1]
    assert bytes.fromhex(row["hex"]).decode() == EVIL
    assert row["payload"].isprintable()
    assert row["bad"] is True


def test_the_page_says_which_script_may_run_and_fetches_nothing(run_report):
    page = html.render(run_report)
    [policy] = re.findall('Content-Security-Policy" content="([^"]+)"', page)
    assert "default-src 'none'" in policy
    assert re.search("script-src 'sha256-[^']+'", policy)
    rest = re.sub("<script type.*</script>", "", page, flags=re.DOTALL)
    assert re.findall(r"""(?:src|href)="(?!#|data:)[^"]*""", rest) == []
    assert "url(" not in rest
    assert "@import" not in rest


def test_the_page_has_a_bound(monkeypatch):
    log = [LogEntry(0.1, 1, True, "y" * 5_000, 2)] * 500
    cases = server_cases()
    run_report = report_of([Result(case, log=log) for case in cases[:10]])
    monkeypatch.setattr(html, "MAX_DATA", 120_000)
    data = json.loads(html.page_data(run_report))
    assert len(json.dumps(data)) < 120_000
    [first, *_] = data["cases"].values()
    entries = sum("payload" in row for row in first["rows"])
    assert entries in {entries for entries, _ in html.BOUNDS[1:]}
    assert first["omitted"] == 500 - entries


def test_the_sequence_knows_which_endpoints_are_native():
    log = [
        LogEntry(0.1, 1, True, ConnectionOpened("/native", {}), 1),
        LogEntry(0.2, 1, True, "hi", 1),
        LogEntry(0.3, 2, True, ConnectionOpened("", {}), 1),
        LogEntry(0.4, 2, True, "hi", 1),
    ]
    data = json.loads(html.page_data(report_of([made_up(log)])))
    words = [row["words"] for row in data["cases"]["ZZ-1.1"]["rows"]]
    assert words[:3] == ["opens /native", 'native message "hi"', "opens /"]
    assert words[3].startswith("not a frame")


# -------------------------------------------------------------------- codecs


def test_a_codec_is_reported_in_every_form():
    cases = codec_cases()[:40]
    results = [Result(case) for case in cases]
    log = [
        LogEntry(0.0, 1, True, Remark('asked {"op": "decode"}'), 1),
        LogEntry(0.0, 1, False, Remark('got {"reject": true}'), 1),
    ]
    results[3] = Result(
        cases[3],
        Verdict.FAIL,
        'wanted {"a": 1}, got {"b": 2}',
        1,
        '{"a": 1}',
        '{"b": 2}',
        log=log,
    )
    run_report = replace(report_of(results, "codec"), command="neffos-wire test codec -- ./adapter")
    text = shown(run_report)
    assert "✗ 0.0 ms ◄── got" in text
    assert f"neffos-wire test codec --case {cases[3].id} -- ./adapter" in text
    assert not re.search("^(closing|finding|remark) ", text, re.MULTILINE)
    assert "expected " not in text  # the explanation says it
    assert valid(run_report)["suite"]["cases"] == len(codec_cases())
    assert collected(run_report).failures == 1
    assert "findings" not in markdown.render(run_report)
    assert json.loads(html.page_data(run_report))["role"] == "codec"


# -------------------------------------------------------------------- the page of the specification

DOCS = Path(__file__).parents[2] / "spec" / "docs" / "reports.md"


def test_the_terminal_shows_what_the_specification_says(real):
    text = DOCS.read_text("utf-8")
    [example] = re.findall("^```text\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    result = by_id(real, "AR-1.1")
    lines = shown(report_of([result]), width=80).split("\n\n")[1].splitlines()
    # Where the machine is busy, the suite asks whether the server still answers.
    shown_now = "\n".join(line for line in lines if "$doubt" not in line)
    varying = re.compile(r" +\d+\.\d ms|'A[0-9a-f-]{36}'")
    assert varying.sub("…", shown_now) == varying.sub("…", example.rstrip())


def test_the_fields_of_the_specification_are_those_of_the_schema():
    text = DOCS.read_text("utf-8")
    part = text[text.index("## JSON") : text.index("## JUnit XML")]
    rows = [row.split("|") for row in part.splitlines() if row.startswith("| `")]
    fields = [name for row in rows for name in re.findall("`([a-z_]+)`", row[1])]
    assert sorted(fields) == sorted(SCHEMA["properties"])
    named = set(re.findall("`([a-z0-9_]+)`", part))
    for kind in ("case", "entry"):
        assert set(SCHEMA["$defs"][kind]["properties"]) <= named
    for number in (json_report.MAX_PAYLOAD, json_report.MAX_ENTRIES):
        assert f" {number} " in " ".join(part.split())


def test_the_few_cases_that_did_not_run_are_named():
    results = [Result(case) for case in select(server_cases(), ())]
    sentence = findings.cases_sentence(report_of(results))
    assert sentence.endswith(
        "cases, without AR-15.1, AR-15.2, SEC-4.1, SEC-4.2 (run only if selected)"
    )


def test_the_verdicts_of_the_specification_are_those_that_there_are():
    text = DOCS.read_text("utf-8")
    part = text[text.index("## Verdicts") : text.index("## The terminal")]
    rows = re.findall(r"^\| `([a-z-]+)` \|.*\| (\d) \|$", part, re.MULTILINE)
    assert {verdict for verdict, _ in rows} == {verdict.value for verdict in Verdict}
    for verdict, code in rows:
        run_report = report_of([Result(server_cases()[0], Verdict(verdict))])
        incomplete = 2 if run_report.has_unknown() else 0
        assert int(code) == (1 if run_report.has_failed() else incomplete)
