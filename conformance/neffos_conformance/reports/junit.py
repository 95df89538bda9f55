"""A run as JUnit XML, for tools that collect test results.

JUnit has four outcomes, and the suite has seven verdicts. A non-strict or informational case must
not make a build fail, so it passes, with a note. A known failure is skipped, with its reason.
"""

# junitparser is typed in part only; the tests check what its types do not state.
# mypy: disallow-untyped-calls=False

from __future__ import annotations

from datetime import UTC
from io import BytesIO

from junitparser import Error, Failure, JUnitXml, Skipped, SystemOut, TestCase, TestSuite

from neffos_conformance import SUITE
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.reports import findings
from neffos_conformance.reports.findings import bounded
from neffos_conformance.runner.result import GRAVE, Result
from neffos_conformance.runner.run_report import RunReport


def render(report: RunReport) -> str:
    """Give a run as JUnit XML: one suite, in which each case is a test."""
    suite = TestSuite(f"{SUITE} {report.role}")
    suite.timestamp = report.started.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    for each in report.class_outcomes():
        suite.add_property(each.name.value, str(each).removeprefix(f"{each.name}: "))
    for name, value in findings.provenance(report):
        suite.add_property(name, value)
    suite.add_testcases([_test(report, result) for result in report.results])
    for number, complaint in enumerate(report.stale, 1):  # fails the build, as it fails the run
        test = TestCase(f"known failures, stale {number}", f"{report.role}.known_failures", 0.0)
        test.append(Failure(bounded(complaint), "stale known failure"))
        suite.add_testcase(test)
    document = JUnitXml(SUITE)
    document.add_testsuite(suite)
    document.update_statistics()
    stream = BytesIO()
    document.write(stream)
    return stream.getvalue().decode()


def _test(report: RunReport, result: Result) -> TestCase:
    case = result.case
    test = TestCase(
        f"{case.id} {bounded(case.title)}",
        f"{case.role}.{case.family}",
        round(result.seconds, 4),
    )
    explanation = bounded(result.explanation)
    found = [each for each in findings.facts(result) if each[0] in findings.LABELS]
    blamed = [each for each in report.unexplained_findings(result) if each.verdict in GRAVE]
    known = report.known.get(case.id)
    if result.is_grave and not known:
        kind = Failure if result.verdict is Verdict.FAIL else Error
        outcome = kind(explanation, result.verdict.value)
        outcome.text = _text(report, result)
        test.append(outcome)
        return test
    if blamed:
        text = f"{blamed[0].requirement}: {blamed[0].explanation}"
        failure = Failure(bounded(text), "finding")
        failure.text = _text(report, result)
        test.append(failure)
    elif known:
        reason = f"{bounded(known.reason)} ({bounded(known.link)})"
        text = f"known failure, {result.verdict.value}: {reason}"
        test.append(Skipped(text, "known failure"))
    elif result.verdict in (Verdict.SKIPPED, Verdict.UNKNOWN):
        test.append(Skipped(explanation, result.verdict.value))
    if result.verdict not in (Verdict.PASS, Verdict.SKIPPED):
        test.append(SystemOut(f"{result.verdict.value}: {_text(report, result)}"))
    elif found:
        test.append(SystemOut("\n".join(f"{name}, {text}" for name, text, _ in found)))
    return test


def _text(report: RunReport, result: Result) -> str:
    sentences = [f"{id_}: {findings.sentence(id_)}" for id_ in result.case.requirements]
    again = f"{'rerun':<9} {findings.rerun(report, result.case)}"
    return "\n".join(["", *sentences, *findings.account(result), again, ""])
