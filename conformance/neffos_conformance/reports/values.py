"""A run as JSON, for programs. The form is ``data/schema/report.json``.

All of it is bounded: a peer that says much makes no report of any size.
"""

from __future__ import annotations

import json
import platform
from collections import Counter
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from neffos_codec import COMPILED, first_surrogate
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.reports.findings import (
    SUITE,
    TOLD,
    Standing,
    by_closing,
    cases_there,
    exercised_share,
    failing_entry,
    kept_headers,
    selected,
    sentence,
    standings,
)
from neffos_conformance.runner.result import LogEntry, Remark, Result
from neffos_conformance.runner.run_report import RunReport
from neffos_conformance.wire.connection import ConnectionClosed
from neffos_conformance.wire.display import payload_values
from neffos_conformance.wire.text import visible
from neffos_conformance.wire.transcript import ConnectionOpened
from neffos_protocol.catalogue import requirement, requirements

REPORT_FORMAT: Final = 2

MAX_PAYLOAD: Final = 4_096
"""Characters or octets of a message that are kept: enough to see what it is."""

MAX_TRAFFIC: Final = 16_384
"""Likewise of all messages of a case; those that come when it is used up are kept up to
``MAX_REST``. A run of some hundred cases has some megabytes with it at the very most, and less
than one where a peer behaves."""

MAX_REST: Final = 64
"""See ``MAX_TRAFFIC``: what kind of a message it is can still be seen."""

MAX_ENTRIES: Final = 200
"""What is kept of what went by in a case, from its beginning and its end; ``left_out`` says how
much is missing."""

Values = dict[str, Any]


def report_values(judgement: RunReport) -> Values:
    """Give a run as values for JSON: provenance, counts, requirements, and each case."""
    exercised, testable = exercised_share(judgement)
    found = standings(judgement)
    features = judgement.features
    return {
        "format": REPORT_FORMAT,
        "suite": {
            "name": SUITE,
            "version": version(SUITE),
            "requirements": len(requirements()),
            "cases": cases_there(judgement),
        },
        "python": platform.python_version(),
        "platform": platform.platform(),
        "codec_compiled": COMPILED,
        "role": judgement.role,
        "subject": _text(judgement.subject),
        "peer": {key: _text(value) for key, value in judgement.peer.items()},
        "started": judgement.started.isoformat(timespec="milliseconds"),
        "seconds": round(judgement.seconds, 3),
        "command": _text(judgement.command),
        "selection": [_text(each) for each in judgement.selection],
        "features": None if features is None else sorted(features),
        "failed": judgement.has_failed(),
        "counts": _counts(judgement.counts()),
        "closing_counts": _counts(by_closing(judgement)),
        "complaints": [_text(each) for each in judgement.complaints],
        "exercised": {
            "testable": testable,
            "exercised": exercised,
            "not_exercised": [each.requirement.id for each in found if not each.is_exercised],
        },
        "requirements": [_standing_values(each) for each in found],
        "cases": [case_values(judgement, result) for result in judgement.results],
    }


def write_values(path: Path, values: Values) -> None:
    """Write a report as JSON.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(values, indent=1, ensure_ascii=False) + "\n", "utf-8")


def case_values(judgement: RunReport, result: Result) -> Values:
    """Give a case and what came of it."""
    case, closing = result.case, result.closing
    known = judgement.known.get(case.id)
    exchange, left_out = exchange_values(result)
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
        "line": result.line,
        "expected": _text(result.expected),
        "seen": _text(result.seen),
        "closing": {
            "verdict": closing.verdict.value,
            "explanation": _text(closing.explanation),
            "requirement": closing.requirement,
        },
        "deviation": None
        if known is None
        else {"reason": known.reason, "link": known.link, "source": known.source},
        "seconds": round(result.seconds, 4),
        "exchange": exchange,
        "left_out": left_out,
    }


def exchange_values(
    result: Result,
    *,
    entries: int = MAX_ENTRIES,
    payload: int = MAX_PAYLOAD,
    traffic: int = MAX_TRAFFIC,
) -> tuple[list[Values], int]:
    """Give what went by in a case, and how much of it is left out.

    Args:
        result: what came of the case.
        entries: how many entries are kept.
        payload: characters or octets that are kept of a message.
        traffic: likewise of all messages.
    """
    failing = failing_entry(result)
    numbers = selected(len(result.exchange), entries, failing)
    left = traffic
    found = []
    for number in numbers:
        noted = result.exchange[number]
        size = payload if left > 0 else min(payload, MAX_REST)
        values = _noted_values(noted, size)
        if isinstance(noted.content, str | bytes):
            left -= min(len(noted.content), size)
        if number == failing:
            values["failed"] = True
        found.append(values)
    return found, len(result.exchange) - len(numbers)


def _noted_values(noted: LogEntry, size: int) -> Values:
    values: Values = {
        "time": round(noted.time, 6),
        "connection": noted.connection,
        "from": "client" if noted.from_client else "server",
        "line": noted.line,
    }
    match noted.content:
        case ConnectionClosed(code, reason, cut):
            values["closed"] = {"code": code, "reason": _text(reason)}
            if cut:
                values["closed"]["cut"] = cut
        case ConnectionOpened() as opened:
            headers = {_text(name): _text(value) for name, value in kept_headers(opened).items()}
            values["opened"] = {"path": _text(opened.path), "headers": headers}
        case Remark(text):
            values["remark"] = _text(text)
        case message:
            values |= payload_values(message[:size])
            if len(message) > size:
                values["size"] = len(message)
    return values


def _standing_values(standing: Standing) -> Values:
    each = standing.requirement
    return {
        "id": each.id,
        "level": each.level.value,
        "text": sentence(each.id),
        "verdict": None if standing.verdict is None else standing.verdict.value,
        "exercised": standing.is_exercised,
        "cases": list(standing.cases),
    }


def _counts(counts: Counter[Verdict]) -> dict[str, int]:
    return {verdict.value: counts[verdict] for verdict in Verdict}


def _text(text: str) -> str:
    """Give a text as JSON can hold it: bounded, and with octets that are no UTF-8 as escapes."""
    text = text if len(text) <= TOLD else text[:TOLD] + "…"
    return text if first_surrogate(text) < 0 else visible(text)
