"""A run as Markdown, for a comment on a pull request or an issue.

What peers said stands in fences and spans of code only, where it can be neither a mention nor a
link, nor HTML.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Final

from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.reports.findings import (
    SUITE,
    account,
    again,
    by_closing,
    by_family,
    by_gravity,
    deviations,
    open_ends,
    outcome,
    provenance,
    sentence,
    share_sentence,
    told,
    unsupported,
)
from neffos_conformance.runner.result import Result
from neffos_conformance.runner.run_report import RunReport
from neffos_protocol.catalogue import requirement

MAX_FAILURES: Final = 45_000
"""Characters of what failed; further cases have a line each, and then none. A comment on GitHub
has at most 65536 characters."""

MAX_LINES: Final = 100
"""Cases with a line each, likewise."""

_SPECIAL: Final = re.compile(r"([\\`*_{}\[\]<>#|~!@&])")


def markdown(judgement: RunReport) -> str:
    """Give a run as Markdown: what failed, what is known, the table, where it comes from."""
    parts = [
        f"## {SUITE} {judgement.role}: {outcome(judgement)}",
        f"{share_sentence(judgement)}.",
        *_failures(judgement),
        *_lists(judgement),
        _table(judgement),
        _provenance(judgement),
    ]
    return "\n\n".join(parts) + "\n"


def write_markdown(path: Path, judgement: RunReport) -> None:
    """Write a run as Markdown.

    Raises:
        OSError: it cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(markdown(judgement), "utf-8")


def _failures(judgement: RunReport) -> list[str]:
    parts: list[str] = []
    left = MAX_FAILURES
    rest: list[Result] = []
    for result in by_gravity(judgement.unexplained()):
        part = "" if rest else _failure(judgement, result)
        if rest or len(part) > left:
            rest.append(result)
        else:
            left -= len(part)
            parts.append(part)
    if rest:
        lines = [
            f"- **{result.verdict.value} {result.case.id}** {_plain(result.case.title)}"
            for result in rest[:MAX_LINES]
        ]
        if len(rest) > MAX_LINES:
            lines.append(f"- and {len(rest) - MAX_LINES} more")
        parts += ["Without what went by, for want of room:", "\n".join(lines)]
    return parts


def _failure(judgement: RunReport, result: Result) -> str:
    case = result.case
    sentences = [
        f"- **{id_}** ({requirement(id_).level.value}): {sentence(id_)}"
        for id_ in case.requirements
    ]
    return "\n\n".join(
        (
            f"### {result.verdict.value} {case.id}: {_plain(case.title)}",
            "\n".join(sentences),
            _fenced("\n".join(account(result))),
            f"Again: {_code(again(judgement, case))}",
        )
    )


def _lists(judgement: RunReport) -> list[str]:
    parts = []
    if known := deviations(judgement):
        lines = [
            f"- **{result.verdict.value} {result.case.id}** {_plain(told(deviation.reason))} "
            f"({_plain(told(deviation.link))})"
            for result, deviation in known
        ]
        parts.append("\n".join(["Known deviations:", "", *lines]))
    if judgement.complaints:
        lines = [f"- {_code(told(complaint))}" for complaint in judgement.complaints]
        parts.append("\n".join(["Wrong with the known deviations:", "", *lines]))
    if ends := open_ends(judgement):
        lines = [
            f"- **{verdict.value} {id_}** {_code(told(explanation))} in {', '.join(ids)}"
            for (id_, explanation, verdict), ids in ends.items()
        ]
        parts.append("\n".join(["How connections were ended:", "", *lines]))
    if unrun := unsupported(judgement):
        lines = [
            f"- {_code(told(explanation))}: {', '.join(ids)}" for explanation, ids in unrun.items()
        ]
        parts.append("\n".join(["Not run, as unsupported:", "", *lines]))
    return parts


def _table(judgement: RunReport) -> str:
    rows = [
        ["family", *(verdict.value for verdict in Verdict)],
        ["---", *("--:" for _ in Verdict)],
        *([family, *_numbers(counts)] for family, counts in by_family(judgement).items()),
        ["**all**", *_numbers(judgement.counts())],
    ]
    if closing := by_closing(judgement):
        rows.append(["closing", *_numbers(closing)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _numbers(counts: Counter[Verdict]) -> list[str]:
    return [str(counts[verdict] or "") for verdict in Verdict]


def _provenance(judgement: RunReport) -> str:
    rows = [f"| {name} | {_code(value, in_table=True)} |" for name, value in provenance(judgement)]
    head = "<details><summary>Where this comes from</summary>"
    return "\n".join([head, "", "| | |", "| --- | --- |", *rows, "", "</details>"])


# -------------------------------------------------------------------- what may not be Markdown


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


def _plain(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", text)
