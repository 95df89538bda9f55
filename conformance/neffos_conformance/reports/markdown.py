"""A run as Markdown, for a comment on a pull request or an issue.

Text that a peer wrote appears in code only, where it cannot be a mention, a link or HTML.
"""

from __future__ import annotations

import re
from typing import Final

from neffos_conformance import SUITE
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.reports import findings
from neffos_conformance.reports.findings import SummaryLine, bounded
from neffos_conformance.runner.result import Result
from neffos_conformance.runner.run_report import RunReport
from neffos_protocol.catalogue import requirement

MAX_FAILURES: Final = 45_000
"""Characters of failures; each further case has one line. A comment on GitHub has at most 65,536
characters."""

MAX_LINES: Final = 100
"""Cases with one line each; the others are counted."""

TITLES: Final = {
    "known": "Known failures:",
    "stale": "Stale known failures:",
    "finding": "Findings beside what the cases test:",
    "closing": "Closing behaviour:",
    "remark": "Remarks, which nothing forbids:",
    "skipped": "Skipped:",
    "unknown": "Unknown:",
}
"""The title of each list, by the label of its lines."""

_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]<>#|~!@&])")


def render(report: RunReport) -> str:
    """Give a run as Markdown: failures, lists, the table of verdicts and the provenance."""
    lines = findings.summary_lines(report)
    items = {label: [_item(each) for each in lines if each.label == label] for label in TITLES}
    parts = [
        f"## {SUITE} {report.role}: {findings.outcome(report)}",
        "\n".join(f"- {line}" for line in findings.class_lines(report)),
        *map(plain, findings.level_lines(report)),
        f"{findings.share_sentence(report)}.",
        *_failures(report),
        *("\n".join([TITLES[label], "", *each]) for label, each in items.items() if each),
        _table(report),
        *_variations(report),
        _provenance(report),
    ]
    return "\n\n".join(parts) + "\n"


def _failures(report: RunReport) -> list[str]:
    parts: list[str] = []
    left = MAX_FAILURES
    rest: list[Result] = []
    for result in findings.by_severity(report.unexplained()):
        part = "" if rest else _failure(report, result)
        if rest or len(part) > left:
            rest.append(result)
        else:
            left -= len(part)
            parts.append(part)
    if rest:
        lines = [
            f"- **{result.verdict.value} {result.case.id}** {plain(result.case.title)}"
            for result in rest[:MAX_LINES]
        ]
        if len(rest) > MAX_LINES:
            lines.append(f"- and {len(rest) - MAX_LINES} more")
        parts += ["Without their messages, for lack of space:", "\n".join(lines)]
    return parts


def _failure(report: RunReport, result: Result) -> str:
    case = result.case
    sentences = [
        f"- **{id_}** ({requirement(id_).level.value}): {findings.sentence(id_)}"
        for id_ in case.requirements
    ]
    return "\n\n".join(
        (
            f"### {result.verdict.value} {case.id}: {plain(case.title)}",
            "\n".join(sentences),
            _fenced("\n".join(findings.account(result))),
            f"Rerun: {_code(findings.rerun(report, case))}",
        )
    )


def _item(line: SummaryLine) -> str:
    text = plain(bounded(line.text)) if line.label == "known" else _code(bounded(line.text))
    head = f"**{line.verdict.value} {line.id}** " if line.verdict else ""
    link = f" ({plain(bounded(line.link))})" if line.link else ""
    return f"- {head}{text}{link}{': ' if line.cases else ''}{', '.join(line.cases)}"


def _table(report: RunReport) -> str:
    rows = [
        ["family", *(verdict.value for verdict in Verdict)],
        ["---", *("--:" for _ in Verdict)],
        *(
            ["**all**" if name == "all" else name, *row]
            for name, row in findings.table_rows(report)
        ),
    ]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _variations(report: RunReport) -> list[str]:
    """Give the variations by dimension and value; nothing if there were none."""
    if report.varied is None:
        return []
    rows = [
        f"| {each.dimension} | {each.value} | {each.passed} of {each.run} |"
        for each in findings.dimension_counts(report)
    ]
    head = f"<details><summary>{findings.varied_sentence(report)}</summary>"
    table = ["| dimension | value | passed |", "| --- | --- | --: |", *rows]
    return ["\n".join([head, "", *table, "", "</details>"])]


def _provenance(report: RunReport) -> str:
    rows = [
        f"| {name} | {_code(value, in_table=True)} |" for name, value in findings.provenance(report)
    ]
    head = "<details><summary>Provenance</summary>"
    return "\n".join([head, "", "| | |", "| --- | --- |", *rows, "", "</details>"])


# -------------------------------------------------------------------- text that is not Markdown


def _fenced(text: str) -> str:
    fence = "`" * max(3, _longest_run(text) + 1)
    return f"{fence}text\n{text}\n{fence}"


def _code(text: str, *, in_table: bool = False) -> str:
    if in_table:
        text = text.replace("|", "\\|")
    ticks = "`" * (_longest_run(text) + 1)
    space = " " if "`" in text or not text else ""
    return f"{ticks}{space}{text}{space}{ticks}"


def _longest_run(text: str) -> int:
    return max(map(len, re.findall("`+", text)), default=0)


def plain(text: str) -> str:
    """Escape a text, so that nothing in it is Markdown or HTML."""
    return _SPECIAL.sub(r"\\\1", text)
