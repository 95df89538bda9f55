"""What a release made better or worse: two reports on one system, case by case.

Only what both reports know is compared. A case whose script changed, or that one report lacks, says
nothing about the system, and neither does a verdict that is unknown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.reports.findings import bounded
from neffos_conformance.reports.markdown import plain
from neffos_conformance.runner.varying import WALKED

Values = dict[str, Any]

WEIGHTS: Final = {
    Verdict.PASS: 0,
    Verdict.INFORMATIONAL: 0,  # nothing forbids it
    Verdict.NON_STRICT: 1,
    Verdict.FAIL: 2,
}
"""How bad each verdict is. The others say nothing about the system."""

WORSE, BETTER, LOST, SHOWN = "worse", "better", "no longer shown", "now shown"
OTHER: Final = "not comparable"
KINDS: Final = (WORSE, BETTER, LOST, SHOWN, OTHER)
"""What can become of a case, in the order in which it is listed."""


class NotComparableError(ValueError):
    """Reports on systems of different roles; the text says so."""


@dataclass(frozen=True, slots=True)
class CaseChange:
    """What became of a case or a class.

    Attributes:
        kind: one of ``KINDS``.
        id: the ID of the case, or the name of the class.
        text: both verdicts, and why the new one.
    """

    kind: str
    id: str
    text: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.id}: {self.text}"


@dataclass(frozen=True, slots=True)
class ReportChanges:
    """What became of all cases of two reports.

    Attributes:
        changes: all that differ, in the order of ``KINDS``.
        same: the number of cases that both reports know, with one verdict.
    """

    changes: tuple[CaseChange, ...]
    same: int

    def count(self, kind: str) -> int:
        """Give the number of changes of a kind."""
        return sum(each.kind == kind for each in self.changes)

    @property
    def outcome(self) -> str:
        """Give ``FAIL`` if a case is worse, ``INCOMPLETE`` if one is not shown any more."""
        return "FAIL" if self.count(WORSE) else "INCOMPLETE" if self.count(LOST) else "PASS"

    @property
    def summary(self) -> str:
        """Give the counts in a line."""
        counts = (f"{self.count(kind)} {kind}" for kind in KINDS)
        return f"{self.outcome}: {', '.join(counts)}, {self.same} the same"


def changes(old: Values, new: Values) -> ReportChanges:
    """Compare two reports.

    Raises:
        NotComparableError: they are on systems of different roles.
    """
    if old["role"] != new["role"]:
        text = f"the reports are on a {old['role']} and on a {new['role']}"
        raise NotComparableError(f"{text}. Try: two reports on one role")
    before, after = ({each["id"]: each for each in values["cases"]} for values in (old, new))
    found = list(_classes(old, new))
    same = 0
    for id_ in before | after:
        was = before.get(id_) or _passed(id_, before, old)
        now = after.get(id_) or _passed(id_, after, new)
        change = _change(id_, was, now)
        if change is None:
            same += was is not None and _weight(was) is not None
        else:
            found.append(change)
    found.sort(key=lambda each: KINDS.index(each.kind))
    return ReportChanges(tuple(found), same)


def _passed(id_: str, cases: Mapping[str, Values], report: Values) -> Values | None:
    """Give a variation that passed, which no report lists; ``None`` if it is not known to have."""
    ran = report.get("variations") or {}
    if WALKED in id_:
        return {"verdict": "pass", "findings": []} if ran.get("walks") else None
    case = cases.get(id_.partition("[")[0])
    is_run = "[" in id_ and ran and case is not None and case["verdict"] == "pass"
    return {"verdict": "pass", "findings": []} if is_run else None


def _change(id_: str, was: Values | None, now: Values | None) -> CaseChange | None:
    """Say what became of a case; ``None`` if nothing did, or nothing is known."""
    before, after = (None if each is None else _weight(each) for each in (was, now))
    if was is None or now is None or before is None or after is None:
        if before is after:
            return None
        kind = SHOWN if before is None else LOST
        return CaseChange(kind, id_, f"{_verdict(was)} before, {_verdict(now)} now")
    one, other = was.get("sha256", ""), now.get("sha256", "")
    if one and other and one != other:
        return CaseChange(
            OTHER, id_, f"{_verdict(was)} before, {_verdict(now)} now, by another script"
        )
    if before != after:
        text = f"{_verdict(was)} before, {_verdict(now)} now"
        because = (
            f": {bounded(now['explanation'])}" if after > before and now["explanation"] else ""
        )
        return CaseChange(WORSE if after > before else BETTER, id_, text + because)
    new, gone = _findings(now) - _findings(was), _findings(was) - _findings(now)
    if new or gone:
        text = f"{'violates' if new else 'no longer violates'} {', '.join(sorted(new or gone))}"
        return CaseChange(
            WORSE if new else BETTER, id_, f"{text}, in a case that is {_verdict(now)}"
        )
    return None


def _weight(entry: Values) -> int | None:
    return WEIGHTS.get(Verdict(entry["verdict"]))


def _verdict(entry: Values | None) -> str:
    return "not there" if entry is None else str(entry["verdict"])


def _findings(entry: Values) -> set[str]:
    """Give the requirements that its findings count against."""
    strong = (Verdict.FAIL, Verdict.NON_STRICT)
    return {each["requirement"] for each in entry["findings"] if each["verdict"] in strong}


def _classes(old: Values, new: Values) -> Iterator[CaseChange]:
    """Give what became of the classes; one that is not known says nothing."""
    answers = {True: "yes", False: "no", None: "unknown"}
    is_one_set = old["set"]["sha256"] == new["set"]["sha256"]
    for name, outcome in new["classes"].items():
        was, now = old["classes"][name]["conforms"], outcome["conforms"]
        if was is not now:
            kind = SHOWN if was is None else LOST if now is None else BETTER if now else WORSE
            if kind in (BETTER, WORSE) and not is_one_set:  # perhaps by the set
                kind = OTHER
            yield CaseChange(kind, f"class {name}", f"{answers[was]} before, {answers[now]} now")


def markdown(found: ReportChanges, old: Values, new: Values) -> str:
    """Give it as Markdown, for a comment on a pull request."""
    lines = [f"## {found.summary}", "", f"- before: {_source(old)}", f"- now: {_source(new)}", ""]
    for kind in KINDS:
        if found.count(kind):
            lines += [f"**{kind}**", ""]
            lines += [
                f"- **{each.id}**: {plain(each.text)}"
                for each in found.changes
                if each.kind == kind
            ]
            lines.append("")
    return "\n".join(lines)


def text(found: ReportChanges, old: Values, new: Values) -> str:
    """Give it as text: a line for each change, and the counts in the last one."""
    lines = [f"before: {_source(old, is_plain=False)}", f"now: {_source(new, is_plain=False)}"]
    return "\n".join([*lines, *map(str, found.changes), found.summary])


def _source(report: Values, *, is_plain: bool = True) -> str:
    """Say what a report is on, and by what it was made."""
    peer = " ".join(str(report["peer"].get(key, "")) for key in ("peer", "version")).strip()
    by = f"neffos-wire {report['suite']['version']}, set {report['set']['name']}"
    source = bounded(f"{peer or report['sut']}, {report['started'][:10]}, by {by}")
    return plain(source) if is_plain else source
