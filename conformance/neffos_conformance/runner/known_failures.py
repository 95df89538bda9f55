"""Known failures: recorded, reasoned, expected failures of a system under test.

An entry has the case, the explanation of its failure, a reason, and a link. It accepts that failure
alone. An entry whose case passes now, fails in another way, or does not exist is an error, so that
no entry outlives the failure that it excuses.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neffos_conformance.cases.matching import fits
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.runner.result import Result
from neffos_conformance.wire.schemas import shown, violation


class KnownFailuresError(ValueError):
    """A file of known failures that cannot be used; the text says where and why."""


@dataclass(frozen=True, slots=True)
class KnownFailure:
    """One known failure of a case.

    Attributes:
        case: the id of the case.
        verdict: the expected verdict.
        observed: the explanation of the suite; ``<<name>>`` in it matches any text.
        reason: why the case fails, and why that is accepted.
        link: where that is discussed: a URL, or a difference such as ``DV-28``.
        source: the name of its file.
    """

    case: str
    verdict: Verdict
    observed: str
    reason: str
    link: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class Explained:
    """The entries, compared with the results.

    Attributes:
        known: the entries whose failures occurred, by the ids of their cases.
        complaints: what is wrong with the others, in a sentence each.
    """

    known: Mapping[str, KnownFailure]
    complaints: tuple[str, ...] = ()


def read_known_failures(paths: Iterable[Path]) -> list[KnownFailure]:
    """Read the entries of some files.

    Raises:
        KnownFailuresError: one cannot be read, or violates the schema; or a case has two
            entries.
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
    deviations: Sequence[KnownFailure], results: Iterable[Result], known_ids: Iterable[str]
) -> Explained:
    """Compare the entries with the results.

    Args:
        deviations: the entries.
        results: of the cases that were run.
        known_ids: the ids of all cases; an entry for a case that was not selected is ignored.
    """
    by_id = {result.case.id: result for result in results}
    there = frozenset(known_ids)
    known: dict[str, KnownFailure] = {}
    complaints: list[str] = []
    for each in deviations:
        result = by_id.get(each.case)
        where = f"{each.source}: {each.case}"
        if each.case not in there:
            complaints.append(f"{where}: there is no such case")
        elif result is None or result.verdict is Verdict.UNSUPPORTED:
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
        values = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise KnownFailuresError(f"{path} cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise KnownFailuresError(f"{path} is no TOML: {error}") from error
    found = violation("deviations", values)
    if found is not None:
        where = "/".join(map(str, found.absolute_path)) or "the whole"
        raise KnownFailuresError(f"{path}, {where}: {shown(found)}")
    entries: list[dict[str, Any]] = values["deviation"]
    return entries


def draft(results: Sequence[Result]) -> str:
    """Write the failures as a file of known failures, for its owner to give the reasons.

    The same failure of several cases is one entry. The file is valid only with reasons and links.
    """
    grouped: dict[tuple[Verdict, str], list[str]] = {}
    for result in results:
        grouped.setdefault((result.verdict, result.explanation), []).append(result.case.id)
    text = "format = 1\n"
    if not grouped:
        text += "deviation = []\n"
    for (verdict, explanation), ids in grouped.items():
        text += (
            "\n[[deviation]]\n"
            f"cases = {json.dumps(ids)}\n"
            f'verdict = "{verdict}"\n'
            f"observed = {_toml(explanation)}\n"
            'reason = ""\n'
            'link = ""\n'
        )
    return text


def _toml(text: str) -> str:
    """Write a text as a basic string of TOML, which JSON's are but for DEL."""
    return json.dumps(text, ensure_ascii=True).replace("\x7f", "\\u007f")
