"""A run as JSON, for programs. The form is ``data/schema/report.json``.

The size of a report is bounded, whatever a peer sends.
"""

from __future__ import annotations

import platform
from collections import Counter
from dataclasses import asdict
from typing import Any, Final

import msgspec

from neffos_codec import COMPILED, first_surrogate
from neffos_conformance import SUITE, VERSION
from neffos_conformance.cases.classes import class_of
from neffos_conformance.cases.profile import Profile, known_names
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.reports import findings
from neffos_conformance.reports.traffic import MAX_WHOLE, pack
from neffos_conformance.requirement_sets import case_hash
from neffos_conformance.runner.class_outcome import ClassOutcome
from neffos_conformance.runner.known_failures import KnownFailure
from neffos_conformance.runner.result import Finding, Remark, Result
from neffos_conformance.runner.run_report import RunReport
from neffos_conformance.wire.connection import ConnectionClosed
from neffos_conformance.wire.payloads import payload_values
from neffos_conformance.wire.secrets import kept, masked_urls
from neffos_conformance.wire.transcript import ConnectionOpened
from neffos_protocol.catalogue import requirement, requirements
from neffos_protocol.text import ascii_json, cut, visible

REPORT_FORMAT: Final = 4

MAX_PAYLOAD: Final = 4_096
"""Characters or bytes of a message in a report: enough to recognise it."""

MAX_LOG: Final = 16_384
"""Characters or bytes of all messages of a case; later ones are kept up to ``MAX_REST``. A run of
some hundred cases then has a few megabytes at most, and less than one with a correct peer."""

MAX_REST: Final = 64
"""See ``MAX_LOG``: the kind of a message is still recognisable."""

MAX_ENTRIES: Final = 200
"""Log entries of a case, from both ends; ``omitted`` is the number of the others."""

Values = dict[str, Any]


def render(report: RunReport) -> str:
    """Give a run as JSON."""
    # With an indent, Python writes JSON itself, ten times as slowly as in C.
    return msgspec.json.format(ascii_json(report_values(report)), indent=1) + "\n"


def report_values(report: RunReport) -> Values:
    """Give a run as values for JSON: provenance, counts, requirements, and each case."""
    exercised, testable = findings.exercised_share(report)
    found = findings.requirement_results(report)
    features = report.features
    level, step = findings.level(report), findings.more(report)
    return {
        "format": REPORT_FORMAT,
        "suite": {
            "name": SUITE,
            "version": VERSION,
            "requirements": len(requirements()),
            "cases": findings.number_of_cases(report),
        },
        "python": platform.python_version(),
        "platform": platform.platform(),
        "codec_compiled": COMPILED,
        "role": report.role,
        "sut": shown_text(report.sut),
        "peer": {key: shown_text(value) for key, value in report.peer.items()},
        "started": report.started.isoformat(timespec="milliseconds"),
        "seconds": round(report.seconds, 3),
        "command": shown_text(report.command),
        "selection": [shown_text(each) for each in report.selection],
        "features": None if features is None else sorted(features),
        "set": {"name": report.set_name.name, "sha256": report.set_name.sha256},
        "class": report.decided_by.value,
        "classes": {each.name.value: _class_values(each) for each in report.class_outcomes()},
        "absent_features": {key: shown_text(value) for key, value in sorted(report.absent.items())},
        "level": level and level.value,
        "next_step": step
        and {
            "features": list(step.features),
            "requirements": list(step.requirements),
            "text": str(step),
        },
        "profile": _profile_values(report.profile),
        "notes": [shown_text(each) for each in report.notes],
        "failed": report.has_failed(),
        "counts": _counts(report.counts()),
        "finding_counts": _counts(findings.finding_counts(report)),
        "stale_known_failures": [shown_text(each) for each in report.stale],
        "exercised": {
            "testable": testable,
            "exercised": exercised,
            "not_exercised": [each.requirement.id for each in found if not each.is_exercised],
        },
        "requirements": [
            {
                "id": each.requirement.id,
                "level": each.requirement.level.value,
                "class": class_of([each.requirement.id]).value,
                "text": findings.sentence(each.requirement.id),
                "verdict": None if each.verdict is None else each.verdict.value,
                "exercised": each.is_exercised,
                "cases": list(each.cases),
            }
            for each in found
        ],
        "variations": _varied_values(report),
        "cases": [_case_values(report, result) for result in report.results],
    }


def _varied_values(report: RunReport) -> Values | None:
    """Give what became of the variations; those that did not pass are among the cases."""
    if (varied := report.varied) is None:
        return None
    counts = [asdict(each) for each in findings.dimension_counts(report)]
    return {
        "run": varied.number,
        "passed": varied.passed,
        "values": counts,
        "refused": sorted(varied.refused),
        "walks": varied.walks,
        "actions": varied.actions,
    }


def _class_values(outcome: ClassOutcome) -> Values:
    return {
        "conforms": outcome.conforms,
        "passed": outcome.passed,
        "ran": outcome.ran,
        "missing": list(outcome.missing),
        "testable": outcome.testable,
        "not_shown": list(outcome.not_shown),
    }


def _profile_values(profile: Profile) -> Values:
    return {
        "source": shown_text(profile.source),
        "ignore": [shown_text(each) for each in sorted(profile.ignore)],
        "unconfirmed": [shown_text(each) for each in sorted(profile.unconfirmed)],
        **{
            kind: {key: shown_text(own) for key, own in getattr(profile, kind).items()}
            for kind in known_names()
        },
    }


def _case_values(report: RunReport, result: Result) -> Values:
    case = result.case
    known = report.known.get(case.id)
    log, omitted = log_values(result)
    return {
        "id": case.id,
        "title": case.title,
        "sha256": case_hash(case),
        "role": case.role,
        "tags": list(case.tags),
        "class": class_of(case.requirements).value,
        "requirements": [
            {"id": id_, "level": requirement(id_).level.value} for id_ in case.requirements
        ],
        "verdict": result.verdict.value,
        "explanation": shown_text(result.explanation),
        "step": result.step,
        "expected": shown_text(result.expected),
        "actual": shown_text(result.actual),
        "findings": [_finding_values(report, result, each) for each in result.findings],
        "known_failure": _known_values(known),
        "seconds": round(result.seconds, 4),
        "mark": result.mark,
        "log": log,
        "omitted": omitted,
        "traffic": _traffic(result, is_whole=not omitted and not any(map(_is_cut, log))),
    }


def _known_values(known: KnownFailure | None) -> Values | None:
    return None if known is None else {key: getattr(known, key) for key in findings.KNOWN}


def _finding_values(report: RunReport, result: Result, finding: Finding) -> Values:
    return {
        "requirement": finding.requirement,
        "verdict": finding.verdict.value,
        "explanation": shown_text(finding.explanation),
        "connection": finding.connection,
        "message": finding.number,
        "known_failure": _known_values(report.known_finding(result, finding)),
    }


def _is_cut(entry: Values) -> bool:
    """Whether an entry lacks what a verdict may rest on; the suite's own messages are known."""
    return "size" in entry


def _traffic(result: Result, *, is_whole: bool) -> str | None:
    """Give what the log lacks, packed, to evaluate the case again; ``None`` if it lacks nothing."""
    if result.answers:
        return pack(result.answers)
    if is_whole:
        return None
    by_client = result.case.role == "client"
    steps = [step for step in findings.logged_steps(result) if not step.is_missing]
    sizes = (MAX_WHOLE if each.entry.from_client == by_client else MAX_PAYLOAD for each in steps)
    return pack([_entry_values(each, size) for each, size in zip(steps, sizes, strict=True)])


def log_values(result: Result) -> tuple[list[Values], int]:
    """Give the log of a case, and the number of entries that are omitted from it."""
    steps = [step for step in findings.logged_steps(result) if not step.is_missing]
    left = MAX_LOG
    found = []
    for step in findings.excerpt(steps, MAX_ENTRIES):
        if isinstance(step, int):
            continue
        size = MAX_PAYLOAD if left > 0 else MAX_REST
        found.append(_entry_values(step, size))
        if isinstance(step.entry.content, str | bytes):
            left -= min(len(step.entry.content), size)
    return found, len(steps) - len(found)


def _entry_values(step: findings.LoggedStep, size: int) -> Values:
    entry = step.entry
    values: Values = {
        "time": round(entry.time, 6),
        "connection": entry.connection,
        "from": "client" if entry.from_client else "server",
        "step": entry.step,
    }
    match entry.content:
        case ConnectionClosed(code, reason, cut):
            values["closed"] = {"code": code, "reason": shown_text(reason)}
            if cut:
                values["closed"]["cut"] = cut
        case ConnectionOpened() as opened:
            headers = {
                shown_text(name): shown_text(value)
                for name, value in kept(opened.headers.items()).items()
            }
            values["opened"] = {"path": shown_text(opened.path), "headers": headers}
        case Remark(text):
            values["remark"] = shown_text(text)
        case message:
            values |= payload_values(message[:size])
            if len(message) > size:
                values["size"] = len(message)
    if step.is_failing:
        values["failed"] = True
    return values


def _counts(counts: Counter[Verdict]) -> dict[str, int]:
    return {verdict.value: counts[verdict] for verdict in Verdict}


def shown_text(text: str) -> str:
    """Give a text that JSON can contain: shortened, with escapes for bytes that are not UTF-8."""
    text = cut(masked_urls(text[: findings.MAX_TEXT + 1]), findings.MAX_TEXT)
    return text if first_surrogate(text) < 0 else visible(text)
