"""The requirements that sources cite, joined with what is known of each requirement.

A requirement is *cited* if a comment or docstring names it, *tested* if the suite has a case of it
(with a report: if one ran to its end), and *the test can fail* if one of its cases kills a mutant.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, Final

from markupsafe import Markup

from neffos_conformance.cases.definition import Role
from neffos_conformance.cases.verdict import Verdict, most_severe
from neffos_conformance.codecs.catalogue import all_cases
from neffos_conformance.data import read_data, toml
from neffos_conformance.recordings.page import asset, environment
from neffos_conformance.reports.citations import Citation, CitationError, citations
from neffos_conformance.runner.run_report import requirements_in
from neffos_conformance.wire.json_bounds import BoundedJson, JsonBoundsError
from neffos_protocol.catalogue import Requirement, requirements
from neffos_protocol.text import visible

FORMAT: Final = 1
"""The format of the values for JSON."""

MAX_KILLS: Final = 16 << 20
"""Bytes of a kill matrix. A complete one has some 200,000."""

KILLS_FORMAT: Final = 2
"""The format of a kill matrix, which ``make kills`` writes."""

Values = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Trace:
    """What is known of one requirement.

    Attributes:
        requirement: the requirement.
        citations: the comments that cite it.
        cases: the IDs of its cases, in the chosen roles.
        verdict: of the reports; ``None`` if there is no report, or no case of it ended.
        mutants: those that its cases kill.
        is_needed: whether the sources must cite it.
    """

    requirement: Requirement
    citations: tuple[Citation, ...]
    cases: tuple[str, ...]
    verdict: Verdict | None
    mutants: tuple[str, ...]
    is_needed: bool

    @property
    def is_missing(self) -> bool:
        """Whether it must be cited, and is not."""
        return self.is_needed and not self.citations


@dataclass(frozen=True, slots=True)
class Traces:
    """All that the sources cite, and must cite.

    Attributes:
        sources: what was searched, as given.
        roles: the roles whose requirements the sources must cite.
        traces: one for each requirement that is cited or must be.
        unknown: IDs that no requirement has had.
        withdrawn: IDs of requirements that were withdrawn.
        has_report: whether a verdict comes from a report.
    """

    sources: tuple[str, ...]
    roles: tuple[Role, ...]
    traces: tuple[Trace, ...]
    unknown: tuple[Citation, ...]
    withdrawn: tuple[Citation, ...]
    has_report: bool

    def is_tested(self, trace: Trace) -> bool:
        """Whether the suite has a case of it, or, with a report, one that ran to its end."""
        return trace.verdict is not None if self.has_report else bool(trace.cases)

    @property
    def problems(self) -> list[str]:
        """Give what is wrong, a sentence each."""
        return [
            *(f"{each}: {each.id} is not a requirement" for each in self.unknown),
            *(f"{each}: {each.id} was withdrawn" for each in self.withdrawn),
            *(f"{each.requirement.id}: not cited" for each in self.traces if each.is_missing),
            *(
                f"{each.requirement.id}: cited, but the report says fail"
                for each in self.traces
                if each.citations and each.verdict is Verdict.FAIL
            ),
        ]

    @property
    def summary(self) -> str:
        """Give the three numbers in a sentence."""
        cited = [each for each in self.traces if each.citations]
        tested = [each for each in cited if self.is_tested(each)]
        can_fail = sum(bool(each.mutants) for each in tested)
        needed = sum(each.is_needed for each in self.traces)
        have = sum(each.is_needed for each in cited)
        further = f" and {len(cited) - have} more" if len(cited) > have else ""
        return (
            f"{have} of {needed} requirements{further} cited, "
            f"{len(tested)} of them tested, {can_fail} by a test that can fail"
        )

    def row(self, trace: Trace) -> tuple[str, str, str, str]:
        """Give the ID of a requirement, where it is cited, how it is tested and what that kills."""
        cited = str(trace.citations[0]) if trace.citations else "no"
        if more := len(trace.citations) - 1:
            cited += f" and {more} more" if more > 0 else ""
        cases = f"{len(trace.cases)} case{'' if len(trace.cases) == 1 else 's'}"
        tested = cases if self.is_tested(trace) else "no"
        if trace.verdict is not None:
            tested = f"{trace.verdict.value}, {cases}"
        mutants = trace.mutants[0] if trace.mutants else "no"
        if more := len(trace.mutants) - 1:
            mutants += f" and {more} more" if more > 0 else ""
        return trace.requirement.id, cited, tested, mutants


HEAD: Final = ("requirement", "cited", "tested", "the test kills")


# -------------------------------------------------------------------- mutants


@cache
def proofs() -> Mapping[str, Mapping[str, Any]]:
    """Give the mutant that proves each requirement, by role and ID; see ``data/proofs.toml``."""
    return toml.loads(read_data("proofs.toml"))


def proved(roles: Sequence[Role]) -> dict[str, list[str]]:
    """Give the mutants that the cases of each requirement are known to kill."""
    found: dict[str, list[str]] = defaultdict(list)
    for role in roles:
        for id_, name in proofs()[role].items():
            found[id_].append(name)
    return found


def read_kills(stream: BinaryIO, roles: Sequence[Role]) -> dict[str, list[str]]:
    """Give the mutants that the cases of each requirement killed, from a kill matrix.

    Raises:
        CitationError: it is none.
        OSError: it cannot be read.
    """
    bounded = BoundedJson(stream, depth=8, string=1 << 16, document=MAX_KILLS)
    found: dict[str, list[str]] = defaultdict(list)
    try:
        values = json.loads(b"".join(iter(lambda: bounded.read(1 << 20), b"")))
        if values["format"] != KILLS_FORMAT:
            raise CitationError(f"expected format {KILLS_FORMAT} of a kill matrix")
        for name, each in values["mutants"].items():
            if each["requirement"] and each["killed_by"] and each["role"] in roles:
                found[each["requirement"]].append(name)
    except (JsonBoundsError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise CitationError("it is not a kill matrix. Try: what make kills writes") from error
    except json.JSONDecodeError as error:
        raise CitationError(f"it is not JSON: {error}") from error
    return found


# -------------------------------------------------------------------- joining


def needed(
    roles: Sequence[Role], patterns: Sequence[str] = (), without: Sequence[str] = ()
) -> frozenset[str]:
    """Give the requirements that sources must cite.

    Args:
        roles: the roles in which they are testable.
        patterns: of their IDs, or families; empty for all.
        without: those that need no citation, likewise.

    Raises:
        CitationError: a pattern fits none of them.
    """
    there = {id_ for role in roles for id_ in requirements_in(role)}
    for each in (*patterns, *without):
        if not any(_fits(id_, each) for id_ in there):
            raise CitationError(f"no requirement for {', '.join(roles)} fits {each}")
    return frozenset(
        id_
        for id_ in there
        if (not patterns or any(_fits(id_, each) for each in patterns))
        and not any(_fits(id_, each) for each in without)
    )


def traced(
    sources: Sequence[Path],
    roles: Sequence[Role],
    needed: Container[str],
    reports: Sequence[Values] = (),
    kills: Mapping[str, Sequence[str]] | None = None,
) -> Traces:
    """Join the citations in sources with cases, verdicts and mutants.

    Args:
        sources: files and folders.
        roles: the roles whose cases and mutants count.
        needed: the requirements that the sources must cite.
        reports: reports of runs, as values.
        kills: the mutants by requirement; without them, those of the proofs.

    Raises:
        CitationError: a source cannot be read, or none cites anything.
    """
    cited: dict[str, list[Citation]] = defaultdict(list)
    for found in citations(sources):
        cited[found.id].append(found)
    if not cited:
        raise CitationError("no comment of these sources names a requirement, such as FR-1")
    cases: dict[str, list[str]] = defaultdict(list)
    for role in roles:
        for case in all_cases(role):
            for id_ in case.requirements:
                cases[id_].append(case.id)
    verdicts: dict[str, list[Verdict]] = defaultdict(list)
    for report in reports:
        for each in report["requirements"]:
            if each["exercised"]:
                verdicts[each["id"]].append(Verdict(each["verdict"]))
    mutants = proved(roles) if kills is None else kills
    strangers = [
        each for id_, found in cited.items() if id_ not in requirements() for each in found
    ]
    return Traces(
        tuple(map(str, sources)),
        tuple(roles),
        tuple(
            Trace(
                about,
                tuple(cited.get(id_, ())),
                tuple(cases.get(id_, ())),
                most_severe(verdicts.get(id_, ())),
                tuple(mutants.get(id_, ())),
                id_ in needed,
            )
            for id_, about in requirements().items()
            if id_ in cited or id_ in needed
        ),
        tuple(each for each in strangers if not is_withdrawn(each.id)),
        tuple(each for each in strangers if is_withdrawn(each.id)),
        bool(reports),
    )


def _fits(id_: str, pattern: str) -> bool:
    return fnmatchcase(id_, pattern) or id_.startswith(f"{pattern}-")


def is_withdrawn(id_: str) -> bool:
    """Whether a requirement of this ID was withdrawn: later ones of its family are there."""
    family, _, number = id_.partition("-")
    there = [
        int(each.partition("-")[2]) for each in requirements() if each.startswith(f"{family}-")
    ]
    return id_ not in requirements() and 0 < int(number) < max(there, default=0)


# -------------------------------------------------------------------- what came of it


def values_of(found: Traces) -> Values:
    """Give all of it for JSON."""

    def places(cited: Iterable[Citation]) -> list[Values]:
        return [{"file": visible(str(each.path)), "line": each.line} for each in cited]

    def strangers(cited: Iterable[Citation]) -> list[Values]:
        return [{"id": each.id, **place} for each in cited for place in places([each])]

    return {
        "format": FORMAT,
        "sources": [visible(each) for each in found.sources],
        "roles": list(found.roles),
        "failed": bool(found.problems),
        "requirements": [
            {
                "id": each.requirement.id,
                "level": each.requirement.level.value,
                "needed": each.is_needed,
                "cited": places(each.citations),
                "tested": found.is_tested(each),
                "cases": list(each.cases),
                "verdict": each.verdict and each.verdict.value,
                "mutants": list(each.mutants),
            }
            for each in found.traces
        ],
        "missing": [each.requirement.id for each in found.traces if each.is_missing],
        "unknown": strangers(found.unknown),
        "withdrawn": strangers(found.withdrawn),
    }


def markdown(found: Traces) -> str:
    """Give it as Markdown: the problems, and a table of the requirements."""
    rows = [HEAD, ("---",) * len(HEAD), *map(found.row, found.traces)]
    table = [f"| {' | '.join(each.replace('|', chr(92) + '|') for each in row)} |" for row in rows]
    problems = [f"- `{each}`" for each in found.problems]
    return "\n".join([f"{found.summary}.", "", *problems, *([""] if problems else []), *table, ""])


def page(found: Traces) -> str:
    """Give it as one page, which contains everything and fetches nothing."""
    style = Markup(asset("common.css"))  # noqa: S704  # ours
    return environment().get_template("citations.html").render(found=found, head=HEAD, style=style)
