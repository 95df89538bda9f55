"""Reports that are evaluated again: honest ones follow from their traffic, edited ones do not."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import re
import sys
import zlib
from copy import deepcopy
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mutation import BANK
from neffos_conformance.cases.definition import client_cases, select
from neffos_conformance.cases.features import features
from neffos_conformance.cases.profile import Profile
from neffos_conformance.cli import main as cli
from neffos_conformance.codecs.catalogue import codec_cases
from neffos_conformance.codecs.testing import run_vector
from neffos_conformance.reference.codec_adapter import answer_to
from neffos_conformance.reference.embedded import embedded_server
from neffos_conformance.reports import json as json_report
from neffos_conformance.reports import traffic, verification
from neffos_conformance.reports.verification import ReportError, read_report, verified
from neffos_conformance.requirement_sets import draft
from neffos_conformance.runner.discovery import Detected
from neffos_conformance.runner.driver_pool import to_client
from neffos_conformance.runner.result import Result, in_order
from neffos_conformance.runner.run import run_cases, to_server
from neffos_conformance.runner.run_report import RunReport

DRIVER = [str(Path(sys.executable).with_name("neffos-wire")), "driver"]

SERVER_CASES = ("AR-1.1", "AR-7.1", "AR-10.1", "FR-10.6", "HS-1.1", "HS-9.3", "RM-1.12", "TR-6.2")
FAILING = {"AR-7.1": "error-without-flag", "RM-1.12": "ended-leave-carried-out"}
CLIENT_CASES = ("HS-1", "AR-18", "TR-19", "EV-4.c1", "NS-9.c3", "TR-9.c1", "FR-10.c3", "TR-2.c1")


HAS = frozenset(each.id for each in features()) - {"rooms"}


def report(role, results, cases, selection):
    has = HAS if role == "server" else None
    return json.loads(
        json_report.render(
            RunReport(
                role,
                "ws://127.0.0.1:9/",
                {"peer": "x"},
                datetime.now(UTC),
                1.0,
                tuple(in_order(results, cases)),
                f"neffos-wire test {role}",
                has,
                tuple(selection),
                set_name=draft().reference,
            )
        )
    )


async def server_results():
    cases = {case.id: case for case in draft().cases("server")}
    found = []
    async with embedded_server() as url:
        right = [cases[id_] for id_ in SERVER_CASES if id_ not in FAILING]
        found += [result async for result in run_cases(to_server(url), right)]
    for id_, mutant in FAILING.items():
        async with BANK[mutant].stage() as run:
            found.append(await run(cases[id_]))
    return found


@pytest.fixture(scope="module")
def server():
    cases = [case for case in draft().cases("server") if case.id in (*SERVER_CASES, "RM-4.1")]
    missing = next(case for case in cases if case.id == "RM-4.1")
    results = asyncio.run(server_results())
    results.append(Detected(HAS).result(missing) or Result(missing))
    values = report("server", results, cases, (*SERVER_CASES, "RM-4.1"))
    by_id = {each["id"]: each["verdict"] for each in values["cases"]}
    assert {id_: by_id[id_] for id_ in FAILING} == dict.fromkeys(FAILING, "fail")
    return values


@pytest.fixture
def edited(server):
    return deepcopy(server)


def case_of(values, id_):
    return next(each for each in values["cases"] if each["id"] == id_)


def only(values, entry):
    """Give a report of one case, with a few requirements: it takes a tenth of the time."""
    few = {"cases": [entry], "requirements": values["requirements"][:3]}
    return deepcopy(values | few | {"selection": [entry["id"]]})


def differences(values):
    return dict(verified(values).differences)


# -------------------------------------------------------------------- honest reports


def test_a_report_on_a_server_follows_from_its_traffic(server):
    found = verified(server)
    assert found.differences == []
    assert found.unchecked == {}
    assert found.same == len(server["cases"])


async def client_results(cases):
    async with to_client(DRIVER, drivers=2) as (run, _):
        return [result async for result in run_cases(run, cases, jobs=2)]


def test_a_report_on_a_client_follows_from_its_traffic():
    cases = select(client_cases(), CLIENT_CASES)
    values = report("client", asyncio.run(client_results(cases)), cases, CLIENT_CASES)
    found = verified(values)
    assert found.differences == []
    assert found.same == len(cases)
    log = case_of(values, "TR-19.c1")["log"]
    entry = next(each for each in log if each.get("remark", "").startswith("header "))
    entry["remark"] = "header X-Conformance-Note: another"
    opened = next(each for each in case_of(values, "TR-19.c1")["log"] if "opened" in each)
    opened["opened"]["headers"] = {}
    assert "TR-19.c1" in differences(values)


def answer_of(request):
    values = answer_to(json.dumps(request).encode())
    return {key: value for key, value in values.items() if key != "id"}


def test_a_report_on_a_codec_follows_from_its_answers():
    cases = select(codec_cases(), ("FR-2", "FR-8"))
    results = [run_vector(case, answer_of) for case in cases]
    values = report("codec", results, cases, ("FR-2", "FR-8"))
    assert verified(values).differences == []
    first = case_of(values, cases[0].id)
    first["traffic"] = traffic.pack([{"unsupported": True}] * len(results[0].answers))
    assert differences(values)[cases[0].id].startswith("reported pass, skipped follows: ")
    first["traffic"] = traffic.pack([])
    assert "it lacks an answer" in differences(values)[cases[0].id]
    first["traffic"] = None
    assert "its traffic is not what was written" in differences(values)[cases[0].id]


async def plain_results(cases, profile):
    async with embedded_server() as url:
        return [result async for result in run_cases(to_server(url, profile=profile), cases)]


def test_a_report_by_a_profile_is_evaluated_with_its_names():
    profile = Profile(namespaces={"app": "any"})
    cases = select(draft().cases("server"), ("NS-10",))
    values = report("server", asyncio.run(plain_results(cases, profile)), cases, ("NS-10",))
    passed = verified({**values, "profile": {**values["profile"], "namespaces": {"app": "any"}}})
    assert passed.differences == []
    assert passed.same == len(cases)
    assert verified(values).differences != []


def test_a_report_on_a_client_that_nobody_drove_is_refused(server):
    values = {**server, "role": "client", "command": "neffos-wire test client --listen 0:80"}
    with pytest.raises(ReportError, match="nobody drove the client"):
        verified(values)


def test_long_messages_are_held_whole(server):
    held = case_of(server, "FR-10.6")
    assert held["traffic"] is not None
    assert any("size" in each for each in held["log"])


# -------------------------------------------------------------------- edited reports


@pytest.mark.parametrize("id_", FAILING)
def test_a_failure_that_was_made_a_pass_is_found(edited, id_):
    case_of(edited, id_)["verdict"] = "pass"
    found = differences(edited)
    assert found[id_].startswith("reported pass, fail follows: ")
    assert "counts" in found


def test_a_message_that_was_removed_is_found(server):
    for entry in server["cases"]:
        for number, each in enumerate(entry["log"]):
            if each["from"] == "client" or "closed" in each or "opened" in each:
                continue
            values = only(server, entry)
            values["cases"][0]["log"].pop(number)
            assert entry["id"] in differences(values), each


def test_an_emptied_log_is_found(edited):
    for entry in edited["cases"]:
        entry["log"], entry["traffic"] = [], None
    found = differences(edited)
    assert {id_ for id_ in SERVER_CASES if id_ not in FAILING} <= found.keys()


def test_a_message_that_was_changed_is_found(edited):
    log = case_of(edited, "AR-1.1")["log"]
    sent = [each for each in log if "text" in each and each["step"]]
    sent[-1]["text"] += "!"
    assert differences(edited)["AR-1.1"].startswith("reported pass, fail follows: body: ")


def test_what_the_suite_sent_cannot_be_changed_either(edited):
    sent = [each for each in case_of(edited, "AR-1.1")["log"] if each["from"] == "client"]
    next(each for each in sent if ";echo;" in each.get("text", ""))["text"] = "another"
    expected = "connection 1 has other messages of the suite than follow"
    assert differences(edited)["AR-1.1"] == expected


def test_a_whole_message_is_that_of_the_log(edited):
    entry = case_of(edited, "FR-10.6")
    whole = traffic.unpack(entry["traffic"])
    theirs = [each for each in whole if each["from"] == "server" and "text" in each]
    theirs[0]["text"] = "A-another-id"
    entry["traffic"] = traffic.pack(whole)
    assert "it is not that of the log" in differences(edited)["FR-10.6"]


def test_a_case_that_was_left_out_is_found(edited):
    edited["cases"] = [each for each in edited["cases"] if each["id"] not in FAILING]
    found = differences(edited)
    assert {found[id_] for id_ in FAILING} == {"missing"}


def test_a_case_twice_or_of_no_name_is_found(edited):
    edited["cases"].append(edited["cases"][0])
    edited["cases"].append({**edited["cases"][0], "id": "XX-1.1"})
    found = differences(edited)
    assert (
        found["XX-1.1"] == found[edited["cases"][0]["id"]] == "no such case, or there are two of it"
    )


def test_a_failure_that_was_skipped_is_found(edited):
    case_of(edited, "AR-7.1").update(verdict="skipped", explanation="it needs rooms", log=[])
    expected = "skipped, though it needs nothing that is missing"
    assert differences(edited)["AR-7.1"] == expected


@pytest.mark.parametrize("name", verification.TOTALS)
def test_totals_that_were_changed_are_found(edited, name):
    if name == "requirements":
        edited[name] = edited[name][:-1]
    else:
        first = next(iter(edited[name]))
        edited[name][first] = 9_999
    assert differences(edited) == {name: "another one follows"}


@pytest.mark.parametrize("verdict", ["error", "unknown"])
def test_what_claims_nothing_is_not_evaluated_again(edited, verdict):
    case_of(edited, "AR-1.1")["verdict"] = verdict
    found = verified(edited)
    assert found.unchecked == {f"the verdict {verdict} claims nothing": ["AR-1.1"]}
    assert found.claims == 0


def test_a_pass_without_its_messages_is_a_claim(edited):
    case_of(edited, "AR-1.1").update(omitted=5, traffic=None)
    found = verified(edited)
    assert found.claims == 1
    assert list(found.unchecked.values()) == [["AR-1.1"]]


# -------------------------------------------------------------------- bad input


def bomb():
    packed = zlib.compressobj(9)
    block = b" " * (1 << 20)
    data = b"".join(packed.compress(block) for _ in range(2 + (traffic.MAX_UNPACKED >> 20)))
    return base64.b64encode(data + packed.flush()).decode()


@pytest.mark.parametrize("text", ["", "x", "eJwDAAAAAAE=", "é", base64.b64encode(b"x").decode()])
def test_traffic_that_is_none_is_found(edited, text):
    case_of(edited, "FR-10.6")["traffic"] = text
    assert "its traffic is not what was written: it " in differences(edited)["FR-10.6"]


def test_traffic_that_unpacks_without_end_is_found(edited, monkeypatch):
    monkeypatch.setattr(traffic, "MAX_UNPACKED", 1 << 20)
    case_of(edited, "FR-10.6")["traffic"] = bomb()
    assert "more than 1048576 bytes" in differences(edited)["FR-10.6"]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "it is not JSON"),
        (b"\xff", "it is not JSON"),
        (b"[" * 1_000, "more than 16 levels deep"),
        (b'"' + b"x" * (2 << 20), "a string has more than"),
        (b"3", "it is not a report of neffos-wire"),
        (b'{"format": 2}', "expected format 4 of a report, actual 2"),
    ],
)
def test_a_file_that_is_no_report_is_refused(data, text):
    with pytest.raises(ReportError, match=text):
        read_report(io.BytesIO(data))


PYTHON = re.compile(r"[A-Z]\w+Error|NoneType|not iterable")
"""What only Python would say of a wrong value."""


def test_every_field_of_another_type_is_refused_or_found(server):
    """Whatever a stranger writes, it is a sentence and not a crash."""
    first = case_of(server, "AR-1.1")
    for path in (
        *((name,) for name in ("role", "set", "cases", "selection", "features", "counts")),
        *(("cases", 0, name) for name in first),
        *(("cases", 0, "log", 1, name) for name in first["log"][1]),
    ):
        for wrong in (None, 3, "x", [3], {"x": 1}):
            place = values = only(server, first)
            for key in path[:-1]:
                place = place[key]
            place[path[-1]] = wrong
            try:
                verified(values)
            except ReportError as error:
                assert not PYTHON.search(str(error))  # noqa: PT017


def run(capsys, path):
    with pytest.raises(SystemExit) as ended:
        cli.main(["verify", str(path)])
    return ended.value.code, *capsys.readouterr()


def test_the_exit_status_says_what_came_of_it(server, capsys, tmp_path):
    path = tmp_path / "report.json"
    path.write_text(json.dumps(server), "utf-8")
    code, out, _ = run(capsys, path)
    assert (code, out) == (
        0,
        f"PASS: {len(server['cases'])} cases evaluated again, 0 differences\n",
    )
    edited = deepcopy(server)
    case_of(edited, "AR-7.1")["verdict"] = "pass"
    path.write_text(json.dumps(edited), "utf-8")
    code, out, _ = run(capsys, path)
    assert code == 1
    assert "AR-7.1: reported pass, fail follows: is_error" in out
    case_of(edited, "AR-7.1")["verdict"] = "fail"
    case_of(edited, "AR-1.1").update(omitted=5, traffic=None)
    path.write_text(json.dumps(edited), "utf-8")
    code, out, _ = run(capsys, path)
    assert code == 2
    assert "INCOMPLETE: " in out


def test_a_report_by_another_set_is_not_evaluated(server, capsys, tmp_path):
    path = tmp_path / "report.json"
    values = {**server, "set": {"name": "draft", "sha256": "0" * 64}}
    path.write_text(json.dumps(values), "utf-8")
    code, _, err = run(capsys, path)
    assert code == 2
    assert "it tests by another requirement set draft than this version has. Try: " in err
    values["set"]["name"] = "2025-9"
    path.write_text(json.dumps(values), "utf-8")
    assert "there is no requirement set '2025-9'" in run(capsys, path)[2]


def test_a_file_that_is_not_there_is_a_usage_error(capsys, tmp_path):
    code, _, err = run(capsys, tmp_path / "none.json")
    assert code == 2
    assert "none.json" in err
