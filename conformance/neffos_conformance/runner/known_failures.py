"""Known failures: cases that a system under test is expected to fail, each with its reason.

An entry names the case, what the suite observed, the reason, and where that is discussed. It
accepts that observation alone. An entry whose case passes, fails in another way, or does not
exist, is stale and therefore an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import tomli_w

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
        case: the id of the case.
        verdict: the expected verdict.
        observed: the explanation that the suite gives; ``<<name>>`` in it matches anything.
        reason: why the case fails, and why that is accepted.
        link: where that is discussed or shown: a URL, or a difference such as ``DV-28``.
        source: the name of the file with the entry.
    """

    case: str
    verdict: Verdict
    observed: str
    reason: str
    link: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class Explained:
    """The entries compared with the results.

    Attributes:
        known: the entries that apply, by the ids of their cases.
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
                if any(each.case == id_ for each in found):
                    raise KnownFailuresError(f"{path}, entry {number}: {id_} has an entry already")
                verdict = Verdict(entry["verdict"])
                found.append(KnownFailure(id_, **{**entry, "verdict": verdict}, source=path.name))
    return found


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
        where = f"{each.source}: {each.case}"
        if each.case not in there:
            complaints.append(f"{where}: there is no such case")
        elif result is None or result.verdict in (Verdict.SKIPPED, Verdict.UNKNOWN):
            continue
        elif result.verdict is Verdict.PASS:
            complaints.append(f"{where} passes now; take the entry out")
        elif result.verdict is not each.verdict or not fits(each.observed, result.explanation):
            complaints.append(
                f"{where} fails in another way: {result.verdict}, {result.explanation}"
            )
        else:
            known[each.case] = each
    return Explained(known, tuple(complaints))


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
    grouped: dict[tuple[Verdict, str], list[str]] = {}
    for result in results:
        grouped.setdefault((result.verdict, result.explanation), []).append(result.case.id)
    entries = [
        {"cases": ids, "verdict": verdict.value, "observed": observed, "reason": "", "link": ""}
        for (verdict, observed), ids in grouped.items()
    ]
    return tomli_w.dumps({"format": FORMAT, "known_failure": entries})
