"""A run as JSON, for programs. The form is ``data/schema/report.json``.

The size of a report is bounded, whatever a peer sends.
"""

from __future__ import annotations

import platform
from collections import Counter
from dataclasses import asdict
from importlib.metadata import version
from typing import Any, Final

from neffos_codec import COMPILED, first_surrogate
from neffos_conformance.cases.profile import Profile, known_names
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.reports import findings
from neffos_conformance.runner.result import Remark, Result
from neffos_conformance.runner.run_report import RunReport
from neffos_conformance.wire.connection import ConnectionClosed
from neffos_conformance.wire.payloads import payload_values
from neffos_conformance.wire.secrets import kept, masked_urls
from neffos_conformance.wire.transcript import ConnectionOpened
from neffos_protocol.catalogue import requirement, requirements
from neffos_protocol.text import ascii_json, cut, visible

REPORT_FORMAT: Final = 3

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
    return ascii_json(report_values(report), indent=1) + "\n"


def report_values(report: RunReport) -> Values:
    """Give a run as values for JSON: provenance, counts, requirements, and each case."""
    exercised, testable = findings.exercised_share(report)
    found = findings.requirement_results(report)
    features = report.features
    level, step = findings.level(report), findings.more(report)
    return {
        "format": REPORT_FORMAT,
        "suite": {
            "name": findings.SUITE,
            "version": version(findings.SUITE),
            "requirements": len(requirements()),
            "cases": findings.number_of_cases(report),
        },
        "python": platform.python_version(),
        "platform": platform.platform(),
        "codec_compiled": COMPILED,
        "role": report.role,
        "sut": _text(report.sut),
        "peer": {key: _text(value) for key, value in report.peer.items()},
        "started": report.started.isoformat(timespec="milliseconds"),
        "seconds": round(report.seconds, 3),
        "command": _text(report.command),
        "selection": [_text(each) for each in report.selection],
        "features": None if features is None else sorted(features),
        "absent_features": {key: _text(value) for key, value in sorted(report.absent.items())},
        "level": level and level.value,
        "next_step": step
        and {
            "features": list(step.features),
            "requirements": list(step.requirements),
            "text": str(step),
        },
        "profile": _profile_values(report.profile),
        "notes": [_text(each) for each in report.notes],
        "failed": report.has_failed(),
        "counts": _counts(report.counts()),
        "closing_counts": _counts(findings.closing_counts(report)),
        "stale_known_failures": [_text(each) for each in report.stale],
        "exercised": {
            "testable": testable,
            "exercised": exercised,
            "not_exercised": [each.requirement.id for each in found if not each.is_exercised],
        },
        "requirements": [
            {
                "id": each.requirement.id,
                "level": each.requirement.level.value,
                "text": findings.sentence(each.requirement.id),
                "verdict": None if each.verdict is None else each.verdict.value,
                "exercised": each.is_exercised,
                "cases": list(each.cases),
            }
            for each in found
        ],
        "cases": [_case_values(report, result) for result in report.results],
    }


def _profile_values(profile: Profile) -> Values:
    return {
        "source": _text(profile.source),
        "ignore": [_text(each) for each in sorted(profile.ignore)],
        **{
            kind: {key: _text(own) for key, own in getattr(profile, kind).items()}
            for kind in known_names()
        },
    }


def _case_values(report: RunReport, result: Result) -> Values:
    case, closing = result.case, result.closing
    known = report.known.get(case.id)
    log, omitted = _log_values(result)
    return {
        "id": case.id,
        "title": case.title,
        "role": case.role,
        "tags": list(case.tags),
        "requirements": [
            {"id": id_, "level": requirement(id_).level.value} for id_ in case.requirements
        ],
        "verdict": result.verdict.value,
        "explanation": _text(result.explanation),
        "step": result.step,
        "expected": _text(result.expected),
        "actual": _text(result.actual),
        "closing": asdict(closing) | {"explanation": _text(closing.explanation)},
        "known_failure": known and {key: getattr(known, key) for key in findings.KNOWN},
        "seconds": round(result.seconds, 4),
        "log": log,
        "omitted": omitted,
    }


def _log_values(result: Result) -> tuple[list[Values], int]:
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
            values["closed"] = {"code": code, "reason": _text(reason)}
            if cut:
                values["closed"]["cut"] = cut
        case ConnectionOpened() as opened:
            headers = {
                _text(name): _text(value) for name, value in kept(opened.headers.items()).items()
            }
            values["opened"] = {"path": _text(opened.path), "headers": headers}
        case Remark(text):
            values["remark"] = _text(text)
        case message:
            values |= payload_values(message[:size])
            if len(message) > size:
                values["size"] = len(message)
    if step.is_failing:
        values["failed"] = True
    return values


def _counts(counts: Counter[Verdict]) -> dict[str, int]:
    return {verdict.value: counts[verdict] for verdict in Verdict}


def _text(text: str) -> str:
    """Give a text that JSON can contain: shortened, with escapes for bytes that are not UTF-8."""
    text = cut(masked_urls(text[: findings.MAX_TEXT + 1]), findings.MAX_TEXT)
    return text if first_surrogate(text) < 0 else visible(text)
