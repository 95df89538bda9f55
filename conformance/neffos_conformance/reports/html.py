"""A run as one page: everything is in it, and it fetches nothing.

This module owns what the page is given; ``data/templates/report.html`` and what lies beside it
own how it looks. What went by is drawn by the page's script when a case is opened, from data of
which nothing is ever read as HTML.
"""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from neffos_codec import Native
from neffos_conformance.cases.script import ENDPOINTS
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.recordings.sequence import Arrow, SequenceReader
from neffos_conformance.reports.findings import (
    GRAVITY,
    SUITE,
    again,
    by_closing,
    by_family,
    by_gravity,
    exercised_share,
    failing_entry,
    is_said,
    missing_place,
    outcome,
    peer_name,
    provenance,
    selected,
    sentence,
    standings,
    told,
)
from neffos_conformance.runner.result import LogEntry, Remark, Result
from neffos_conformance.runner.run_report import RunReport
from neffos_conformance.wire.text import bytes_of, text_of, visible
from neffos_conformance.wire.transcript import ConnectionOpened, Entry
from neffos_protocol.catalogue import requirement

Values = dict[str, Any]

MAX_DATA: Final = 3_000_000
"""Octets of what the page is given: with its own 40,000 and a line for each case, a page that
opens at once, and that can be attached to an issue."""

BOUNDS: Final = ((80, 1_024), (40, 256), (20, 64), (8, 32))
"""What is kept of a case: how many entries, and how much of a payload. The first that fits into
``MAX_DATA`` is taken; a run of some hundred cases with a peer that behaves fits at once."""


def page(judgement: RunReport) -> str:
    """Write a run as a page of its own."""
    script = _asset("report.js")
    # The page runs this script and no other, whatever a peer may have brought into it.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    results = by_gravity(judgement.results)
    closing = by_closing(judgement)
    exercised, testable = exercised_share(judgement)
    found = standings(judgement)
    return (
        _environment()
        .get_template("report.html")
        .render(
            title=f"{SUITE} {judgement.role}: {peer_name(judgement.peer)}",
            outcome=outcome(judgement),
            judgement=judgement,
            results=results,
            verdicts=[each for each in GRAVITY if judgement.counts()[each]],
            all_verdicts=list(Verdict),
            counts=judgement.counts(),
            families=by_family(judgement),
            closing=closing,
            closings=[result for result in results if result.closing.explanation],
            levels=_levels(judgement),
            binds=_binds(judgement),
            exercised=exercised,
            testable=testable,
            unexercised=[each.requirement for each in found if not each.is_exercised],
            provenance=provenance(judgement),
            sentence=_marked_up,
            told=told,
            style=Markup(_asset("report.css")),  # noqa: S704  # ours
            script=Markup(script),  # noqa: S704  # ours
            digest=digest,
            data=Markup(page_data(judgement)),  # noqa: S704  # see there
        )
    )


def write_html(path: Path, judgement: RunReport) -> None:
    """Write a run as a page.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(judgement), "utf-8")


def page_data(judgement: RunReport) -> str:
    """Give what the page's script draws, as JSON that may stand in a ``script`` element.

    There is no ``<`` in it, so that nothing in it can end the element.
    """
    text = ""
    for entries, payload in BOUNDS:
        text = json.dumps(_data(judgement, entries, payload), ensure_ascii=False)
        text = text.replace("<", "\\u003c")
        if len(text.encode()) <= MAX_DATA:
            break
    return text


def _data(judgement: RunReport, entries: int, payload: int) -> Values:
    ids = dict.fromkeys(id_ for each in judgement.results for id_ in each.case.requirements)
    ids |= dict.fromkeys(
        each.closing.requirement for each in judgement.results if each.closing.requirement
    )
    return {
        "role": judgement.role,
        "requirements": {
            id_: {
                "level": requirement(id_).level.value,
                "binds": list(requirement(id_).binds),
                "text": sentence(id_),
            }
            for id_ in ids
        },
        "cases": {
            result.case.id: _case(judgement, result, entries, payload)
            for result in judgement.results
        },
    }


def _case(judgement: RunReport, result: Result, entries: int, payload: int) -> Values:
    case, closing = result.case, result.closing
    known = judgement.known.get(case.id)
    rows, left_out = _rows(result, entries, payload)
    values: Values = {
        "requirements": list(case.requirements),
        "again": again(judgement, case),
        "lines": [[line.number, told(str(line)), line.leads_up] for line in case.lines],
        "rows": rows,
    }
    optional: Values = {
        "why": case.why,
        "explanation": told(result.explanation),
        "line": result.line,
        "expected": "" if is_said(result) else told(result.expected),
        "seen": told(result.seen),
        "left_out": left_out,
    }
    if closing.explanation and closing.explanation != result.explanation:
        optional["closing"] = {
            "requirement": closing.requirement,
            "verdict": closing.verdict.value,
            "explanation": told(closing.explanation),
        }
    if known is not None:
        optional["known"] = {
            "reason": told(known.reason),
            "link": told(known.link),
            "source": told(known.source),
        }
    return values | {key: value for key, value in optional.items() if value}


def _rows(result: Result, entries: int, payload: int) -> tuple[list[Values], int]:
    """Give what went by, each with a sentence; and how much of it is left out."""
    failing, place = failing_entry(result), missing_place(result)
    wanted = failing if failing is not None else place
    count = len(result.exchange)
    if wanted is not None:
        wanted = min(wanted, count - 1) if count else None
    numbers = selected(count, entries, wanted)
    readers: dict[int, SequenceReader] = {}
    rows: list[Values] = []
    before = -1
    for number in numbers:
        if number > before + 1:
            rows.append({"gap": number - before - 1})
        before = number
        if number == place:
            rows.append(_missing(result))
        noted = result.exchange[number]
        row = _row(noted, readers, payload)
        if number == failing:
            row["bad"] = True
        rows.append(row)
    if place == count:
        rows.append(_missing(result))
    return rows, count - len(numbers)


def _missing(result: Result) -> Values:
    line = next(line for line in result.case.lines if line.number == result.line)
    return {"kind": "missing", "connection": line.connection, "words": told(str(line))}


def _row(noted: LogEntry, readers: dict[int, SequenceReader], payload: int) -> Values:
    row: Values = {
        "connection": noted.connection,
        "from": "client" if noted.from_client else "server",
        "line": noted.line,
    }
    if noted.time:  # a codec is asked everything at once, and nothing of it has a time
        row["time"] = round(noted.time * 1000, 2)
    content = noted.content
    if isinstance(content, Remark):
        return row | {"kind": "remark", "words": told(content.text)}
    reader = readers.setdefault(noted.connection, SequenceReader())
    if isinstance(content, ConnectionOpened):
        native = ENDPOINTS.get(content.path.partition("?")[0], Native.NEVER)
        reader = readers[noted.connection] = SequenceReader({"native": native.value})
        content = ConnectionOpened(content.path or "/", content.headers)
    heard = reader.read(Entry(0, noted.time, noted.connection, noted.from_client, content))
    row["words"] = heard.words if isinstance(heard, Arrow) else heard.reason
    row["kind"] = heard.kind.value if isinstance(heard, Arrow) else "remark"
    if isinstance(content, str | bytes):
        row |= _payload(content, payload)
    return row


def _payload(content: str | bytes, size: int) -> Values:
    kept = content[:size]
    shown = visible(text_of(kept))
    values: Values = {"payload": shown}
    if isinstance(content, bytes) or shown != kept:
        values["hex"] = bytes_of(kept).hex()
    if isinstance(content, bytes):
        values["binary"] = True
    if len(content) > size:
        values["size"] = len(content)
    return values


def _marked_up(id_: str) -> Markup:
    """Give a requirement's text with what stands in it as code."""
    parts = sentence(id_).split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if number % 2 else part
        for number, part in enumerate(parts)
    )


def _levels(judgement: RunReport) -> list[str]:
    found = {
        requirement(id_).level.value: None
        for each in judgement.results
        for id_ in each.case.requirements
    }
    return list(found)


def _binds(judgement: RunReport) -> list[str]:
    found = {
        role
        for each in judgement.results
        for id_ in each.case.requirements
        for role in requirement(id_).binds
    }
    return sorted(found)


def _asset(name: str) -> str:
    return (files("neffos_conformance.data") / "templates" / name).read_text("utf-8")


@cache
def _environment() -> Environment:
    """Give the templates; all that they write is escaped, and no name may be missing."""
    return Environment(
        loader=FunctionLoader(_asset),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
