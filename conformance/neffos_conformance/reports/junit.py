"""A run as JUnit XML, for those who collect the results of tests.

JUnit knows passed, failed, broken and skipped, and the suite knows six verdicts. What is left to
an implementation must not make a build fail, so a non-strict or informational case is a passed
one there, with a note of what was seen; a known deviation is a skipped one, with its reason.
"""

# junitparser is typed in part only; what it cannot say of itself the tests say.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

from datetime import UTC
from pathlib import Path

from junitparser import Error, Failure, JUnitXml, Skipped, SystemOut, TestCase, TestSuite

from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.reports.findings import (
    SUITE,
    account,
    again,
    provenance,
    sentence,
    told,
)
from neffos_conformance.runner.result import Result
from neffos_conformance.runner.run_report import RunReport


def junit_xml(judgement: RunReport) -> JUnitXml:
    """Give a run as JUnit XML: one suite, in which each case is a test."""
    suite = TestSuite(f"{SUITE} {judgement.role}")
    suite.timestamp = judgement.started.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    for name, value in provenance(judgement):
        suite.add_property(name, value)
    tests = [_test(judgement, result) for result in judgement.results]
    suite.add_testcases([*tests, *_complaints(judgement)])
    document = JUnitXml(SUITE)
    document.add_testsuite(suite)
    document.update_statistics()
    return document


def write_junit(path: Path, judgement: RunReport) -> None:
    """Write a run as JUnit XML.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as stream:
        junit_xml(judgement).write(stream)


def _test(judgement: RunReport, result: Result) -> TestCase:
    case = result.case
    test = TestCase(
        f"{case.id} {told(case.title)}", f"{case.role}.{case.family}", round(result.seconds, 4)
    )
    explanation = told(result.explanation)
    known = judgement.known.get(case.id)
    if known is not None:
        reason = (
            f"known deviation, {result.verdict.value}: {told(known.reason)} ({told(known.link)})"
        )
        test.append(Skipped(reason, "known deviation"))
    elif result.verdict is Verdict.UNSUPPORTED:
        test.append(Skipped(explanation, result.verdict.value))
    elif result.verdict in (Verdict.FAIL, Verdict.ERROR):
        kind = Failure if result.verdict is Verdict.FAIL else Error
        outcome = kind(explanation, result.verdict.value)
        outcome.text = _text(judgement, result)
        test.append(outcome)
        return test
    if result.verdict not in (Verdict.PASS, Verdict.UNSUPPORTED):
        test.append(SystemOut(f"{result.verdict.value}: {_text(judgement, result)}"))
    elif result.closing.explanation:
        closing = result.closing
        test.append(
            SystemOut(
                f"closing, {closing.verdict.value}: {closing.requirement}: "
                f"{told(closing.explanation)}"
            )
        )
    return test


def _complaints(judgement: RunReport) -> list[TestCase]:
    """Give what is wrong with the known deviations as tests that failed: so the command did."""
    tests = []
    for number, complaint in enumerate(judgement.complaints, 1):
        test = TestCase(
            f"known deviations, complaint {number}", f"{judgement.role}.deviations", 0.0
        )
        test.append(Failure(told(complaint), "known deviations"))
        tests.append(test)
    return tests


def _text(judgement: RunReport, result: Result) -> str:
    sentences = [f"{id_}: {sentence(id_)}" for id_ in result.case.requirements]
    return "\n".join(
        ["", *sentences, *account(result), f"again     {again(judgement, result.case)}", ""]
    )
