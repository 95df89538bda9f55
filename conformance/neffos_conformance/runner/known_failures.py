"""Known failures: cases that a system under test is expected to fail, each with its reason.

An entry names the case, what the suite observed, the reason, and where that is discussed. It
accepts that observation alone. An entry may name a finding in a case that passes, by its
requirement. An entry whose case passes, fails in another way, or does not exist, is stale and
therefore an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import tomli_w

from neffos_conformance.cases.definition import base_of
from neffos_conformance.cases.matching import fits
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.runner.result import Result
from neffos_conformance.wire.schemas import FileFormError, read_toml

FORMAT: Final = 2
"""The format of the file, which ``schema/known-failures.json`` describes."""


class KnownFailuresError(ValueError):
    """A file of known failures that cannot be used; the text says where and why."""


@dataclass(frozen=True, slots=True)
class KnownFailure:
    """One known failure of a case.

    Attributes:
        case: the id of the case, or of a variation.
        verdict: the expected verdict.
        observed: the explanation that the suite gives; ``<<name>>`` in it matches anything.
        reason: why the case fails, and why that is accepted.
        link: where that is discussed or shown: a URL, or a difference such as ``DV-28``.
        source: the name of the file with the entry.
        finding: the requirement of a finding; empty if the case itself fails.
    """

    case: str
    verdict: Verdict
    observed: str
    reason: str
    link: str
    source: str = ""
    finding: str = ""

    @property
    def key(self) -> str:
        """What it is about: a case, or a finding in it."""
        return key_of(self.case, self.finding)

    def __str__(self) -> str:
        return f"{self.source}: {self.case}{self.finding and f' finding {self.finding}'}"


@dataclass(frozen=True, slots=True)
class Explained:
    """The entries compared with the results.

    Attributes:
        known: the entries that apply, by ``key_of`` their cases and findings.
        complaints: what is wrong with the others, in a sentence each.
    """

    known: Mapping[str, KnownFailure]
    complaints: tuple[str, ...] = ()


def read_known_failures(paths: Iterable[Path]) -> list[KnownFailure]:
    """Read the entries of some files.

    Raises:
        KnownFailuresError: a file cannot be read or has another form, or two entries name the
            same case.
    """
    found: list[KnownFailure] = []
    for path in paths:
        for number, entry in enumerate(_entries(path), 1):
            cases = entry.pop("cases")
            for id_ in cases:
                verdict = Verdict(entry["verdict"])
                made = KnownFailure(id_, **{**entry, "verdict": verdict}, source=path.name)
                if any(each.key == made.key for each in found):
                    raise KnownFailuresError(f"{path}, entry {number}: {id_} has an entry already")
                found.append(made)
    return found


def key_of(case: str, finding: str = "") -> str:
    """Give the key of a case, or of a finding in it by its requirement."""
    return f"{case} {finding}".rstrip()


def weigh(
    entries: Sequence[KnownFailure], results: Iterable[Result], known_ids: Iterable[str]
) -> Explained:
    """Compare the entries with the results of a run.

    Args:
        entries: the known failures.
        results: the results of the cases that ran.
        known_ids: the ids of all cases. An entry for a case that was not selected is ignored.
    """
    by_id = {result.case.id: result for result in results}
    there = frozenset(known_ids)
    known: dict[str, KnownFailure] = {}
    complaints: list[str] = []
    for each in entries:
        result = by_id.get(each.case)
        if base_of(each.case) not in there:
            complaints.append(f"{each}: there is no such case")
        elif result is None or result.verdict in (Verdict.SKIPPED, Verdict.UNKNOWN):
            continue
        else:
            verdict, observed = _outcome(result, each.finding)
            if verdict is Verdict.PASS:
                complaints.append(f"{each} passes now; take the entry out")
            elif verdict is not each.verdict or not fits(each.observed, observed):
                complaints.append(f"{each} fails in another way: {verdict}, {observed}")
            else:
                known[each.key] = each
    return Explained(known, tuple(complaints))


def _outcome(result: Result, finding: str) -> tuple[Verdict, str]:
    """Give the verdict and the explanation of a case, or of its finding on a requirement."""
    if not finding:
        return result.verdict, result.explanation
    found = (each for each in result.violations if each.requirement == finding)
    return next(((each.verdict, each.explanation) for each in found), (Verdict.PASS, ""))


def _entries(path: Path) -> list[dict[str, Any]]:
    try:
        entries: list[dict[str, Any]] = read_toml(path, "known-failures")["known_failure"]
    except FileFormError as error:
        raise KnownFailuresError(str(error)) from error
    return entries


def draft(results: Sequence[Result]) -> str:
    """Write failed results as a file of known failures, for the user to add the reasons.

    Cases that fail in the same way share an entry. The file is invalid without reasons and links.
    """
    grouped: dict[tuple[str, Verdict, str], list[str]] = {}
    for result in results:
        for finding in ("", *(each.requirement for each in result.violations)):
            verdict, observed = _outcome(result, finding)
            if verdict is not Verdict.PASS:
                grouped.setdefault((finding, verdict, observed), []).append(result.case.id)
    entries = [
        {"cases": ids, **({"finding": finding} if finding else {})}
        | {"verdict": verdict.value, "observed": observed, "reason": "", "link": ""}
        for (finding, verdict, observed), ids in grouped.items()
    ]
    return tomli_w.dumps({"format": FORMAT, "known_failure": entries})
