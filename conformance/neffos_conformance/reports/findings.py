"""The content that every form of a report shares: orders, sums, lists and sentences.

This module knows no form. Text that a peer wrote leaves it either unchanged, for a form that can
represent any text, or with escapes for everything that is not printable.
"""

from __future__ import annotations

import platform
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from neffos_codec import COMPILED
from neffos_conformance import SUITE, VERSION
from neffos_conformance.cases.classes import ConformanceClass
from neffos_conformance.cases.definition import SLOW, Case
from neffos_conformance.cases.dimensions import dimensions
from neffos_conformance.cases.features import MAIN, AppLevel, features
from neffos_conformance.cases.levels import NextStep, level_of_features, next_step
from neffos_conformance.cases.verdict import SEVERITY, Verdict, most_severe
from neffos_conformance.requirement_sets import requirement_set
from neffos_conformance.runner.result import BROKEN, NO_REPLY, Finding, LogEntry, Remark, Result
from neffos_conformance.runner.run_report import RunReport
from neffos_conformance.runner.varying import WALKED
from neffos_conformance.wire.barrier import BARRIER_TOKENS, IMPLICIT_TOKENS, is_barrier_reply
from neffos_conformance.wire.connection import ConnectionClosed
from neffos_conformance.wire.payloads import SHOWN, short
from neffos_conformance.wire.secrets import kept, masked_urls
from neffos_conformance.wire.transcript import ConnectionOpened
from neffos_protocol.catalogue import Requirement, requirement, requirements
from neffos_protocol.text import cut, visible

KNOWN: Final = ("reason", "link", "source")
"""What a report for programs has of a known failure."""

EMPTY_NAME: Final = "''"
"""The empty name, where a name is expected."""

LABELS: Final = ("finding", "closing", "remark")
"""What a report calls a finding: a violation beside what the case tests, one on how a connection
closed, and what nothing forbids."""

MAX_LEFT_OUT: Final = 6
"""IDs of cases that were left out, in a sentence: there are three slow ones."""

MAX_TEXT: Final = 2_000
"""Characters of a sentence or a header that a peer influences: longer than any of a correct
peer."""


# -------------------------------------------------------------------- results


def by_severity(results: Iterable[Result]) -> list[Result]:
    """Give the results with the most severe first, and otherwise in their order."""
    return sorted(results, key=lambda result: SEVERITY.index(result.verdict))


@dataclass(frozen=True, slots=True)
class SummaryLine:
    """One line about known failures, findings or skipped cases.

    Attributes:
        label: ``known``, ``stale``, ``skipped``, ``unknown``, or that of a finding.
        text: the reason or the explanation.
        verdict: the verdict, if the line has one.
        id: the case or the requirement, if the line is about one.
        link: where a known failure is discussed.
        cases: the cases that the line sums up.
    """

    label: str
    text: str
    verdict: Verdict | None = None
    id: str = ""
    link: str = ""
    cases: Sequence[str] = ()


def summary_lines(report: RunReport) -> list[SummaryLine]:
    """Give the lines that follow the failures: known and stale failures, findings, skipped."""
    found: dict[Finding, list[str]] = {}
    not_run: dict[tuple[str, str], list[str]] = {}
    lines = []
    for result in report.results:
        if known := report.known.get(result.case.id):
            line = SummaryLine("known", known.reason, result.verdict, known.case, known.link)
            lines.append(line)
        for each in result.findings:
            if known := report.known_finding(result, each):
                line = SummaryLine("known", known.reason, known.verdict, known.key, known.link)
                lines.append(line)
            else:
                alike = Finding(each.requirement, each.explanation)
                found.setdefault(alike, []).append(result.case.id)
        if result.verdict in (Verdict.SKIPPED, Verdict.UNKNOWN):
            key_not_run = (result.verdict.value, result.explanation)
            not_run.setdefault(key_not_run, []).append(result.case.id)
    lines += [SummaryLine("stale", text) for text in report.stale]
    for each in sorted(found, key=lambda each: LABELS.index(label_of(each))):
        verdict = each.verdict if each.requirement else None
        line = SummaryLine(label_of(each), each.explanation, verdict, each.requirement)
        lines.append(replace(line, cases=found[each]))
    return lines + [SummaryLine(label, text, cases=ids) for (label, text), ids in not_run.items()]


def label_of(finding: Finding) -> str:
    """Give what a report calls a finding: one of ``LABELS``."""
    if finding.is_closing:
        return "closing"
    return "finding" if finding.requirement else "remark"


def family_counts(report: RunReport) -> dict[str, Counter[Verdict]]:
    """Give the number of cases of each family with each verdict, in the order of the cases."""
    found: dict[str, Counter[Verdict]] = {}
    for result in report.results:
        found.setdefault(result.case.family, Counter())[result.verdict] += 1
    return found


def finding_counts(report: RunReport) -> Counter[Verdict]:
    """Give the number of findings with each verdict; remarks have none."""
    found = (each for result in report.results for each in result.findings)
    return Counter(each.verdict for each in found if each.requirement)


def table_rows(report: RunReport) -> Iterator[tuple[str, list[str]]]:
    """Give the table of verdicts: each family, then ``all``, then ``findings`` if there are any."""
    rows = {**family_counts(report), "all": report.counts(), "findings": finding_counts(report)}
    for name, counts in rows.items():
        if counts or name == "all":
            yield name, [str(counts[verdict] or "") for verdict in Verdict]


def rerun(report: RunReport, case: Case) -> str:
    """Give the command line that runs one case again.

    The arguments after ``--`` belong to the system under test, so ``--case`` precedes them. A
    failure of model-based testing is seen again by a replay of its recording, which has only the
    steps that it needs.
    """
    if again := report.again.get(case.id):
        return visible(again)
    ours, dashes, theirs = visible(report.command).partition(" -- ")
    return f"{ours} --case {case.id}{dashes}{theirs}"


# -------------------------------------------------------------------- requirements


@dataclass(frozen=True, slots=True)
class RequirementResult:
    """The outcome of a run for one requirement.

    Attributes:
        requirement: the requirement.
        verdict: the most severe of its cases and findings; ``None`` if no selected case covers it.
        cases: the IDs of its selected cases.
        is_exercised: one of its cases ran to its end.
    """

    requirement: Requirement
    verdict: Verdict | None
    cases: tuple[str, ...]
    is_exercised: bool


def requirement_results(report: RunReport) -> list[RequirementResult]:
    """Give the outcome for each requirement that is testable in a system of this role."""
    verdicts: dict[str, list[Verdict]] = {}
    cases: dict[str, list[str]] = {}
    for result in report.results:
        for id_ in result.case.requirements:
            verdicts.setdefault(id_, []).append(result.verdict)
            cases.setdefault(id_, []).append(result.case.id)
        for each in result.findings:
            verdicts.setdefault(each.requirement, []).append(each.verdict)
    exercised = report.exercised()
    return [
        RequirementResult(
            each, most_severe(verdicts.get(id_, ())), tuple(cases.get(id_, ())), id_ in exercised
        )
        for id_, each in report.testable().items()
    ]


def sentence(id_: str) -> str:
    """Give the text of a requirement on one line."""
    return " ".join(requirement(id_).text.split())


# -------------------------------------------------------------------- the run


def number_of_cases(report: RunReport) -> int:
    """Give the number of cases for the role, selected or not."""
    own = {result.case.base_id for result in report.results}
    return max(len(_all_cases(report)), len(own))


def peer_name(peer: Mapping[str, str]) -> str:
    """Give what is known about the system under test, in a few words."""
    named = " ".join(peer[key] for key in ("peer", "version") if peer.get(key))
    rest = [f"{key} {value}" for key, value in peer.items() if key not in ("peer", "version")]
    return bounded(", ".join(part for part in (named, *rest) if part)) or "unknown"


def exercised_share(report: RunReport) -> tuple[int, int]:
    """Give the number of testable requirements that were exercised, and of all."""
    testable = report.testable()
    return len(report.exercised() & testable.keys()), len(testable)


def share_sentence(report: RunReport) -> str:
    """Give the share of testable requirements that were exercised, in words."""
    exercised, testable = exercised_share(report)
    percent = f" ({100 * exercised // testable} %)" if testable else ""
    return f"{exercised} of {testable} testable requirements exercised{percent}"


def level(report: RunReport) -> AppLevel | None:
    """Give the level at which a server was tested; ``None`` for any other role."""
    there = report.features
    if there is None:
        return None
    return level_of_features(there) if MAIN in there else AppLevel.BARE


def more(report: RunReport) -> NextStep | None:
    """Give the one thing to add that shows most more, if all cases were selected."""
    there = report.features
    if there is None or report.selection or _is_explored(report):
        return None
    cases = [each for each in _all_cases(report) if SLOW not in each.tags]
    untestable = frozenset(requirements()) - report.testable().keys()
    return next_step(there, cases, report.exercised() | untestable)


def level_sentence(report: RunReport) -> str:
    """Say at which level a server was tested, and what that shows; empty for any other role."""
    there = level(report)
    if there is None:
        return ""
    names = report.profile.namespaces
    own = f" {bounded(names[MAIN]) or EMPTY_NAME}" if MAIN in names else ""
    words = {
        AppLevel.BARE: "bare (no namespace)",
        AppLevel.NAMESPACE: f"namespace{own or f' {MAIN}'} (no event of the application)",
        AppLevel.APPLICATION: f"application{own and f', in namespace{own}'}",
    }
    exercised, testable = exercised_share(report)
    number = len(report.features or ())
    parts = "" if there is AppLevel.BARE else f" with {number} of {len(features())} parts"
    ignored = bounded(", ".join(sorted(report.profile.ignore)))
    text = f"level {words[there]}{parts}"
    if not _is_explored(report):
        text += f": {exercised} of {testable} requirements shown"
    if ignored:
        text += f"; events that the server sends by itself, passed over: {ignored}"
    return text


def _is_explored(report: RunReport) -> bool:
    """Whether its results are counterexamples, and not cases of the suite."""
    known = {each.id for each in _all_cases(report)}
    return not any(result.case.id in known for result in report.results)


def level_lines(report: RunReport) -> list[str]:
    """Give the level, and what to add, as sentences that begin a report; none for a client."""
    found = [level_sentence(report), str(more(report) or "")]
    return [f"{each[0].upper()}{each[1:]}." for each in found if each]


def cases_sentence(report: RunReport) -> str:
    """Give the number of selected cases and the selection, in words."""
    total = number_of_cases(report)
    of_cases = (each.case for each in report.results if WALKED not in each.case.id)
    selected = sum(case.id == case.base_id for case in of_cases)
    by = f", selected by {bounded(', '.join(report.selection))}" if report.selection else ""
    if selected == total and not by:
        return f"all {total} cases"
    return f"{selected} of {total} cases{by or _without(report)}"


@dataclass(frozen=True, slots=True)
class DimensionCount:
    """How many variations had a value of a dimension.

    Attributes:
        dimension: its ID.
        value: the name of the value.
        about: what is so in the variations.
        run: how many had a verdict.
        passed: how many of them passed.
    """

    dimension: str
    value: str
    about: str
    run: int
    passed: int


def dimension_counts(report: RunReport) -> list[DimensionCount]:
    """Give what became of the variations, by dimension and value; empty if there were none."""
    if (varied := report.varied) is None:
        return []
    return [
        DimensionCount(
            each.id,
            value.name,
            value.about,
            varied.run_by[value.name],
            varied.passed_by[value.name],
        )
        for each in dimensions()
        for value in each.values
        if varied.run_by[value.name]
    ]


def varied_sentence(report: RunReport) -> str:
    """Give how many variations passed, in how many dimensions; empty if there were none."""
    if (varied := report.varied) is None:
        return ""
    counts = dimension_counts(report)
    ids = list(dict.fromkeys(each.dimension for each in counts))
    text = f"{varied.passed} of {varied.number} variations passed, with {len(counts)} values of"
    text = f"{text} {len(ids)} dimensions: {', '.join(ids)}"
    if varied.walks:
        text += f"; {varied.walks} walks crossed them in {varied.actions:,} actions"
    if varied.no_walks:
        text += f"; no walks: {varied.no_walks}"
    refused = ", ".join(sorted(varied.refused))
    return f"{text}; unknown with {refused}: the server refuses such names" if refused else text


def _without(report: RunReport) -> str:
    """Name the cases that run only if they are selected, if these are all that is missing."""
    ran = {result.case.id for result in report.results}
    left = [each.id for each in _all_cases(report) if each.id not in ran]
    if len(left) > MAX_LEFT_OUT:
        return ""
    return f", without {', '.join(left)} (run only if selected)"


def _all_cases(report: RunReport) -> Sequence[Case]:
    return requirement_set(report.set_name.name).cases(report.role)


def class_lines(report: RunReport) -> list[str]:
    """Give the outcome for each class of conformance in a sentence: what a report leads with."""
    return [str(each) for each in report.class_outcomes()]


def outcome(report: RunReport) -> str:
    """Give the outcome of the run in one sentence."""
    counts = report.counts()
    parts = [f"{counts[each]} {each.value}" for each in SEVERITY if counts[each]]
    number = len(report.known)
    known = f"; {number} known failure{'' if number == 1 else 's'}" if number else ""
    return f"{outcome_word(report)}: {', '.join(parts) or 'no case ran'}{known}"


def outcome_word(report: RunReport) -> str:
    """Give the outcome of the run in a word."""
    if report.has_failed():
        return "failed"
    return "incomplete" if report.has_unknown() else "passed"


def last_line(report: RunReport) -> str:
    """Give the last line of a run: PASS, FAIL or INCOMPLETE, the counts, and what to do next."""
    word, sentence_ = outcome_word(report), outcome(report)
    shown = {"failed": "FAIL", "passed": "PASS", "incomplete": "INCOMPLETE"}[word]
    of = "" if report.decided_by is ConformanceClass.COMPLETE else f" ({report.decided_by})"
    text = f"{shown}{of}{sentence_.removeprefix(word)}"
    is_incomplete = word == "incomplete"
    left = (
        each
        for each in by_severity(report.unexplained())
        if (each.verdict is Verdict.UNKNOWN if is_incomplete else report.is_to_blame(each))
    )
    again = None if word == "passed" else next(left, None)
    if again is not None:
        return f"{text}. Try: {rerun(report, again.case)}"
    return text


def provenance(report: RunReport) -> list[tuple[str, str]]:
    """Give the circumstances of the run, as pairs of a name and a text to display."""
    there = report.features
    listed = ", ".join(sorted(there)) if there else "none"
    step = more(report)
    return [
        ("suite", f"{SUITE} {VERSION}"),
        ("catalogue", f"{len(requirements())} requirements, {number_of_cases(report)} cases"),
        ("role", report.role),
        ("system under test", bounded(report.sut)),
        ("peer", peer_name(report.peer)),
        ("requirement set", f"{report.set_name.name} {report.set_name.sha256}".rstrip()),
        ("cases", cases_sentence(report)),
        ("requirements", share_sentence(report)),
        ("level", level_sentence(report) or "not applicable"),
        *((("next step", str(step)),) if step else ()),
        ("profile", bounded(report.profile.source) or "none"),
        ("features", "not applicable" if there is None else bounded(listed)),
        ("started", report.started.isoformat(timespec="seconds")),
        ("duration", f"{report.seconds:.2f} s"),
        *(("note", bounded(each)) for each in report.notes),
        ("command", bounded(report.command)),
        ("Python", f"{platform.python_version()}, codec {'' if COMPILED else 'not '}compiled"),
        ("platform", platform.platform()),
    ]


# -------------------------------------------------------------------- one case


@dataclass(frozen=True, slots=True)
class LoggedStep:
    """An entry of a case's log, with its meaning for the verdict.

    Attributes:
        entry: the entry. If the expected message is missing, a remark with the failing step.
        is_setup: the entry only leads up to what the case tests.
        is_failing: the entry is what failed.
        is_missing: nothing arrived here.
    """

    entry: LogEntry
    is_setup: bool = False
    is_failing: bool = False
    is_missing: bool = False

    def text(self, shown: int = SHOWN) -> str:
        """Give the entry on one printable line, with up to ``shown`` characters of a payload."""
        match self.entry.content:
            case ConnectionOpened() as opened:
                named = kept(opened.headers.items())
                headers = (f" {name}: {value}" for name, value in named.items())
                return bounded(f"opens {opened.path or '/'}{''.join(headers)}")
            case ConnectionClosed() | Remark() as other:
                return bounded(f"{'missing: ' if self.is_missing else ''}{other}")
            case payload:
                return short(payload, shown=shown)


def logged_steps(result: Result) -> list[LoggedStep]:
    """Give the log of a case, with the failure marked or inserted."""
    script = {step.number: step for step in result.case.steps}
    failing = failing_entry(result)
    found = [
        LoggedStep(
            each,
            is_setup=each.step in script and script[each.step].is_setup,
            is_failing=number == failing,
        )
        for number, each in enumerate(result.log)
    ]
    if failing is None and result.step in script:
        step = script[result.step]
        earlier = [number for number, each in enumerate(result.log) if 0 < each.step <= step.number]
        place = earlier[-1] + 1 if earlier else 0
        time = result.log[place - 1].time if place else 0.0
        is_client = result.case.role == "client"
        entry = LogEntry(time, step.connection, is_client, Remark(str(step)), step.number)
        found.insert(place, LoggedStep(entry, is_failing=True, is_missing=True))
    return found


def failing_entry(result: Result) -> int | None:
    """Give the number of the log entry that failed: the peer's last one at the failing step.

    ``None`` if no step failed, or if the peer sent nothing there but replies to the suite's own
    asks.
    """
    by_client = result.case.role == "client"
    for number in reversed(range(len(result.log)) if result.step else ()):
        each = result.log[number]
        is_theirs = each.step == result.step and each.from_client == by_client
        tokens = (IMPLICIT_TOKENS, BARRIER_TOKENS)
        if is_theirs and not any(is_barrier_reply(each.content, asked) for asked in tokens):
            return number
    return None


def excerpt(steps: Sequence[LoggedStep], limit: int) -> Iterator[LoggedStep | int]:
    """Give the steps of both ends and the failing one; a number is how many were omitted there.

    Args:
        steps: all steps.
        limit: the number of steps to give, besides the failing one.
    """
    omitted = 0
    head, tail = limit - limit // 2, len(steps) - limit // 2
    for number, step in enumerate(steps):
        if len(steps) <= limit or number < head or number >= tail or step.is_failing:
            if omitted:
                yield omitted
            omitted = 0
            yield step
        else:
            omitted += 1


def have_connections(steps: Iterable[LoggedStep]) -> bool:
    """Whether the steps belong to more than one connection."""
    return len({step.entry.connection for step in steps}) > 1


def bounded(text: str) -> str:
    """Give a text that a peer may have written: shortened, printable, its URLs without secrets."""
    return visible(cut(masked_urls(text[: MAX_TEXT + 1]), MAX_TEXT))


def facts(result: Result) -> list[tuple[str, str, Verdict | None]]:
    """Give what explains a result: name, text, and the verdict that the text states, if any."""
    found: list[tuple[str, str, Verdict | None]] = []
    if result.case.why:
        found.append(("why", result.case.why, None))
    is_said = result.expected in result.explanation and result.actual in result.explanation
    if result.expected and not is_said:
        found.append(("expected", bounded(result.expected), None))
        found.append(("actual", bounded(result.actual) or "nothing", None))
    if result.explanation:
        found.append(("problem", bounded(result.explanation), result.verdict))
    if cause := likely_cause(result):
        found.append(("cause", cause, None))
    for each in result.findings:
        if each.explanation != result.explanation:
            where = f" (message {each.number} of connection {each.connection})" * bool(each.number)
            head = f"{each.requirement}, {each.verdict.value}: " if each.requirement else ""
            text = f"{head}{bounded(each.explanation)}{where}"
            found.append((label_of(each), text, each.verdict if each.requirement else None))
    return found


def likely_cause(result: Result) -> str:
    """Say what most often leads to such a result; empty where that is not known."""
    if result.verdict not in BROKEN and result.verdict is not Verdict.ERROR:
        return ""
    if result.actual == NO_REPLY:
        return (
            "a handler keeps the peer from reading this connection, or the peer needs longer "
            "than the time limit. Try: --timeout 30"
        )
    if "without a close frame" in result.explanation:
        return "the peer, or a proxy before it, ended TCP. Try: its log at that moment"
    if result.explanation.startswith("the setup failed"):
        return "the peer does not run the conformance application, or it lacks a part of it"
    return ""


# -------------------------------------------------------------------- plain text

MAX_PLAIN_STEPS: Final = 40
"""Lines of a case's log in a report that is read from top to bottom."""


def account(result: Result) -> list[str]:
    """Give the log of a case and its facts as lines of plain text."""
    steps = logged_steps(result)
    are_many = have_connections(steps)
    lines = []
    for step in excerpt(steps, MAX_PLAIN_STEPS):
        if isinstance(step, int):
            lines.append(f"  … {step} more …")
            continue
        entry = step.entry
        mark = "✗" if step.is_failing else " "
        arrow = "   " if step.is_missing else "──►" if entry.from_client else "◄──"
        connection = f" {entry.connection}" if are_many else ""
        lines.append(f"{mark} {entry.time * 1000:8.1f} ms{connection} {arrow} {step.text()}")
    return lines + [f"{name:<9} {text}" for name, text, _ in facts(result)]
