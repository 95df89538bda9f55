"""A run as one page, which contains everything and fetches nothing.

This module owns the page's data; ``data/templates/report.html``, ``.css`` and ``.js`` own its
looks, with ``common.css``. The page's script draws the log of a case when the case is opened, from
data that is never read as HTML.
"""

from __future__ import annotations

import base64
import hashlib
import json
from typing import Any, Final

from markupsafe import Markup

from neffos_codec import Native
from neffos_conformance import SUITE
from neffos_conformance.cases.script import ENDPOINTS
from neffos_conformance.cases.verdict import SEVERITY, Verdict
from neffos_conformance.recordings.page import asset, environment
from neffos_conformance.recordings.sequence import Arrow, SequenceReader
from neffos_conformance.reports import findings
from neffos_conformance.reports.findings import LoggedStep, bounded
from neffos_conformance.runner.result import Remark, Result
from neffos_conformance.runner.run_report import RunReport
from neffos_conformance.wire.payloads import payload_bytes, payload_text
from neffos_conformance.wire.transcript import ConnectionOpened, Entry
from neffos_protocol.catalogue import requirement
from neffos_protocol.text import visible

Values = dict[str, Any]

MAX_DATA: Final = 3_000_000
"""Bytes of the page's data. Together with its own 40,000 and a line for each case, the page opens
at once and can be attached to an issue."""

BOUNDS: Final = ((80, 1_024), (40, 256), (20, 64), (8, 32))
"""Log entries of a case, and characters of a payload. The first pair that fits into ``MAX_DATA``
is used; a run of some hundred cases with a correct peer fits with the first."""


def render(report: RunReport) -> str:
    """Give a run as one page."""
    script = asset("report.js")
    # The page runs this script and no other, whatever a peer has put into the data.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    results = findings.by_severity(report.results)
    exercised, testable = findings.exercised_share(report)
    ids = dict.fromkeys(id_ for each in report.results for id_ in each.case.requirements)
    found = findings.requirement_results(report)
    return (
        environment()
        .get_template("report.html")
        .render(
            title=f"{SUITE} {report.role}: {findings.peer_name(report.peer)}",
            findings=findings,
            report=report,
            results=results,
            level=findings.level_lines(report),
            verdicts=[each for each in SEVERITY if report.counts()[each]],
            all_verdicts=list(Verdict),
            families=list(findings.family_counts(report)),
            closings=[result for result in results if result.closing],
            found=[result for result in results if result.violations],
            levels=list(dict.fromkeys(requirement(id_).level.value for id_ in ids)),
            applies_to=sorted({role for id_ in ids for role in requirement(id_).applies_to}),
            exercised=exercised,
            testable=testable,
            unexercised=[each.requirement for each in found if not each.is_exercised],
            sentence=_marked_up,
            bounded=bounded,
            style=Markup(asset("common.css") + asset("report.css")),  # noqa: S704  # ours
            script=Markup(script),  # noqa: S704  # ours
            digest=digest,
            data=Markup(page_data(report)),  # noqa: S704  # see there
        )
    )


def page_data(report: RunReport) -> str:
    """Give the data that the page's script draws, as JSON for a ``script`` element.

    It contains no ``<``, so that nothing in it can end the element.
    """
    text = ""
    for entries, payload in BOUNDS:
        text = json.dumps(_data(report, entries, payload), ensure_ascii=False)
        text = text.replace("<", "\\u003c")
        if len(text.encode()) <= MAX_DATA:
            break
    return text


def _data(report: RunReport, entries: int, payload: int) -> Values:
    ids = dict.fromkeys(id_ for each in report.results for id_ in each.case.requirements)
    found = (each.requirement for result in report.results for each in result.findings)
    return {
        "role": report.role,
        "requirements": {
            id_: {"level": requirement(id_).level.value, "text": findings.sentence(id_)}
            | {"applies_to": list(requirement(id_).applies_to)}
            for id_ in ids | dict.fromkeys(filter(None, found))
        },
        "cases": {
            result.case.id: _case(report, result, entries, payload) for result in report.results
        },
    }


def _case(report: RunReport, result: Result, entries: int, payload: int) -> Values:
    case = result.case
    known = report.known.get(case.id)
    rows = _rows(result, entries, payload)
    values: Values = {
        "requirements": list(case.requirements),
        "rerun": findings.rerun(report, case),
        "steps": [[step.number, bounded(str(step)), step.is_setup] for step in case.steps],
        "rows": rows,
        "facts": [[name, text] for name, text, _ in findings.facts(result)],
    }
    optional = {
        "step": result.step,
        "omitted": sum(row.get("gap", 0) for row in rows),
        "known": known and {key: bounded(getattr(known, key)) for key in findings.KNOWN},
    }
    return values | {key: value for key, value in optional.items() if value}


def _rows(result: Result, entries: int, payload: int) -> list[Values]:
    """Give the log of a case, each entry with a sentence; a gap has the number of omitted ones."""
    readers: dict[int, SequenceReader] = {}
    return [
        {"gap": step} if isinstance(step, int) else _row(step, readers, payload)
        for step in findings.excerpt(findings.logged_steps(result), entries)
    ]


def _row(step: LoggedStep, readers: dict[int, SequenceReader], payload: int) -> Values:
    entry, content = step.entry, step.entry.content
    if step.is_missing:
        return {
            "kind": "missing",
            "connection": entry.connection,
            "words": bounded(str(content)),
        }
    row: Values = {
        "connection": entry.connection,
        "from": "client" if entry.from_client else "server",
        "step": entry.step,
    }
    if step.is_failing:
        row["bad"] = True
    if entry.time:  # a codec answers all requests in one go, without times
        row["time"] = round(entry.time * 1000, 2)
    if isinstance(content, Remark):
        return row | {"kind": "remark", "words": bounded(content.text)}
    reader = readers.setdefault(entry.connection, SequenceReader())
    if isinstance(content, ConnectionOpened):
        native = ENDPOINTS.get(content.path.partition("?")[0], Native.NEVER)
        reader = readers[entry.connection] = SequenceReader({"native": native.value})
        content = ConnectionOpened(content.path or "/", content.headers)
    heard = reader.read(Entry(0, entry.time, entry.connection, entry.from_client, content))
    row["words"] = heard.words if isinstance(heard, Arrow) else heard.reason
    row["kind"] = heard.kind.value if isinstance(heard, Arrow) else "remark"
    if isinstance(content, str | bytes):
        row |= _payload(content, payload)
    return row


def _payload(content: str | bytes, size: int) -> Values:
    kept = content[:size]
    shown = visible(payload_text(kept))
    values: Values = {"payload": shown}
    if isinstance(content, bytes) or shown != kept:
        values["hex"] = payload_bytes(kept).hex()
    if isinstance(content, bytes):
        values["binary"] = True
    if len(content) > size:
        values["size"] = len(content)
    return values


def _marked_up(id_: str) -> Markup:
    """Give the text of a requirement, with its code as HTML."""
    parts = findings.sentence(id_).split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if number % 2 else part
        for number, part in enumerate(parts)
    )
