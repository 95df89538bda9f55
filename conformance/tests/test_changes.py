"""Two reports compared, and one report in a line."""

from __future__ import annotations

import json
from copy import deepcopy
from datetime import UTC, datetime
from xml.etree import ElementTree

import pytest

from neffos_conformance.cases.classes import ConformanceClass
from neffos_conformance.codecs.catalogue import codec_cases
from neffos_conformance.codecs.testing import run_vector
from neffos_conformance.reference.codec_adapter import answer_to
from neffos_conformance.reports import badge
from neffos_conformance.reports import json as json_report
from neffos_conformance.reports.changes import changes
from neffos_conformance.requirement_sets import draft
from neffos_conformance.runner.run_report import RunReport

from .commands import run_text


def answer_of(request):
    values = answer_to(json.dumps(request).encode())
    return {key: value for key, value in values.items() if key != "id"}


@pytest.fixture(scope="module")
def made():
    results = [run_vector(case, answer_of) for case in codec_cases()[:4]]
    report = RunReport(
        "codec",
        "x",
        {"peer": "x", "version": "1_0"},
        datetime(2026, 11, 30, tzinfo=UTC),
        1.0,
        tuple(results),
        "neffos-wire test codec -- x",
        selection=("FR-1",),
        set_name=draft().reference,
    )
    return json.loads(json_report.render(report))


@pytest.fixture
def old(made):
    return deepcopy(made)


@pytest.fixture
def new(made):
    return deepcopy(made)


def finding(requirement, verdict="fail"):
    named = {"requirement": requirement, "verdict": verdict, "explanation": "x"}
    return named | {"connection": 1, "message": 1, "known_failure": None}


def kinds(old, new):
    return [(each.kind, each.id) for each in changes(old, new).changes]


def test_the_same_report_has_no_changes(old, new):
    found = changes(old, new)
    assert (found.changes, found.same, found.outcome) == ((), 4, "PASS")


def test_each_kind_of_change_is_listed_by_its_weight(old, new):
    ids = [each["id"] for each in new["cases"]]
    old["cases"][0]["verdict"] = "non-strict"
    new["cases"][0] |= {"verdict": "fail", "explanation": "it is wrong"}
    old["cases"][1]["verdict"] = "fail"
    new["cases"][2]["verdict"] = "unknown"
    new["cases"][3]["verdict"] = "informational"
    found = changes(old, new)
    assert list(map(str, found.changes)) == [
        f"worse: {ids[0]}: non-strict before, fail now: it is wrong",
        f"better: {ids[1]}: fail before, pass now",
        f"no longer shown: {ids[2]}: pass before, unknown now",
    ]
    assert found.summary.startswith("FAIL: 1 worse, 1 better, 1 no longer shown, 0 now")
    assert found.same == 1


@pytest.mark.parametrize("verdict", ["unknown", "error", "skipped"])
def test_what_is_not_known_is_not_worse(verdict, old, new):
    new["cases"][0]["verdict"] = verdict
    assert changes(old, new).outcome == "INCOMPLETE"
    assert changes(new, old).outcome == "PASS"
    assert changes(new, new).same == 3


def test_a_case_with_another_script_accuses_nobody(old, new):
    new["cases"][0] |= {"verdict": "fail", "sha256": "0" * 64}
    new["cases"][1]["id"] = "new-case"
    new["set"]["sha256"] = "1" * 64
    old["classes"]["complete"]["conforms"], new["classes"]["complete"]["conforms"] = True, False
    assert kinds(old, new) == [
        ("no longer shown", old["cases"][1]["id"]),
        ("now shown", "new-case"),
        ("not comparable", "class complete"),
        ("not comparable", old["cases"][0]["id"]),
    ]


def test_a_class_that_is_not_met_any_more_is_worse(old, new):
    old["classes"]["complete"]["conforms"], new["classes"]["complete"]["conforms"] = True, False
    assert kinds(old, new) == [("worse", "class complete")]


def test_a_finding_counts_and_a_remark_does_not(old, new):
    new["cases"][0]["findings"] = [finding("AR-1")]
    new["cases"][1]["findings"] = [finding("", "informational")]
    assert kinds(old, new) == [("worse", new["cases"][0]["id"])]
    assert kinds(new, old) == [("better", new["cases"][0]["id"])]


def test_a_variation_that_is_not_listed_has_passed_if_there_were_any(old, new):
    varied = {**new["cases"][0], "id": new["cases"][0]["id"] + "[binary]", "verdict": "fail"}
    walked = {**new["cases"][0], "id": "FR-10.walk-body-differs", "verdict": "fail", "sha256": ""}
    new["cases"] += [varied, walked]
    ran = {"run": 1, "passed": 1, "walks": 3, "values": []}
    assert [kind for kind, _ in kinds(old, new)] == ["now shown", "now shown"]
    old["variations"] = ran
    assert [kind for kind, _ in kinds(old, new)] == ["worse", "worse"]
    assert [kind for kind, _ in kinds({**new, "variations": ran}, old)] == ["better", "better"]


def saved(tmp_path, **reports):
    paths = []
    for name, values in reports.items():
        paths.append(tmp_path / f"{name}.json")
        paths[-1].write_text(json.dumps(values))
    return paths


def test_diff_prints_lines_or_markdown_and_its_status(old, new, tmp_path):
    new["cases"][0] |= {"verdict": "fail", "explanation": "<b>"}
    paths = saved(tmp_path, old=old, new=new)
    done = run_text("diff", *paths)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1].startswith("FAIL: 1 worse")
    shown = run_text("diff", *paths, "--markdown").stdout
    assert "pass before, fail now: \\<b\\>" in shown
    assert "- before: x 1\\_0, 2026" in shown
    assert run_text("diff", paths[0], paths[0]).returncode == 0


def test_diff_refuses_what_cannot_be_compared(old, new, tmp_path):
    *paths, other = saved(tmp_path, old=old, new={**new, "role": "client"}, other={"format": 4})
    done = run_text("diff", *paths)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (
        2,
        "Error: the reports are on a codec and on a client. Try: two reports on one role",
    )
    assert "has another form than a report" in run_text("diff", paths[0], other).stderr


@pytest.mark.parametrize(
    ("conforms", "name", "said"),
    [
        ((True, True), None, "complete · draft · 36 of 38"),
        ((True, False), None, "interoperable · draft · 9 of 9"),
        ((False, False), None, "not interoperable · draft · 9 of 9"),
        ((None, None), None, "unknown if interoperable · draft · 9 of 9"),
        ((True, False), ConformanceClass.COMPLETE, "not complete · draft · 36 of 38"),
    ],
)
def test_a_badge_says_class_set_and_share(conforms, name, said, new):
    shares = {"interoperable": (9, []), "complete": (38, ["FR-1", "FR-2"])}
    for each, answer in zip(("interoperable", "complete"), conforms, strict=True):
        testable, left = shares[each]
        new["classes"][each] |= {"conforms": answer, "testable": testable, "not_shown": left}
    found = badge.badge(new, name)
    assert found.message == said
    assert badge.endpoint(found)["color"] == badge.COLOURS[found.conforms]
    assert said in [each.text for each in ElementTree.fromstring(badge.svg(found)).iter()]  # noqa: S314


def test_a_badge_needs_a_whole_and_honest_report(new, tmp_path):
    whole = {**deepcopy(new), "selection": []}
    paths = dict(zip("abc", saved(tmp_path, a=new, b=whole, c=[]), strict=True))
    assert "is on a selection of cases" in run_text("badge", paths["a"]).stderr
    done = run_text("badge", paths["b"])
    assert (done.returncode, done.stdout) == (1, "")
    assert "verdicts do not follow from its messages. Try: neffos-wire verify" in done.stderr
    made = tmp_path / "badge.json"
    assert run_text("badge", paths["b"], "--unverified", "--json", "-o", made).returncode == 0
    assert json.loads(made.read_text())["schemaVersion"] == 1
    assert run_text("badge", paths["c"]).returncode == 2
