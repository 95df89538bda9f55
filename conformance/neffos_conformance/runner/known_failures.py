"""Known deviations: where a system under test is known to do otherwise, and why that is borne.

An entry says which case, what was observed, why, and where that is discussed. It holds for that
observation alone: an entry whose case passes now, fails in another way, or does not exist, is an
error, so that a list of excuses cannot outlive what it excuses.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from neffos_conformance.cases.matching import fits
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.runner.result import Result


class KnownFailuresError(ValueError):
    """A file of deviations that cannot be used; the text says where and why."""


@dataclass(frozen=True, slots=True)
class KnownFailure:
    """One way in which a case is known to fail.

    Attributes:
        case: the id of the case.
        verdict: what comes of it.
        observed: the explanation that the suite gives; ``<<name>>`` in it stands for anything.
        reason: why it is so, and why it is borne.
        link: where that is discussed or shown: a URL, or a divergence such as ``DV-28``.
        source: the file that it stands in.
    """

    case: str
    verdict: Verdict
    observed: str
    reason: str
    link: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class Explained:
    """What the entries come to beside the results.

    Attributes:
        known: the entries that hold, by the ids of their cases.
        complaints: what is wrong with the others, in a sentence each.
    """

    known: Mapping[str, KnownFailure]
    complaints: tuple[str, ...] = ()


def read_known_failures(paths: Iterable[Path]) -> list[KnownFailure]:
    """Read the entries of some files.

    Raises:
        KnownFailuresError: one cannot be read, or is not of the form; or a case stands in two
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
    """Hold the entries against what came of the cases.

    Args:
        deviations: the entries.
        results: what came of the cases that were run.
        known_ids: the ids of all cases that there are; an entry for one that was not selected
            says nothing.
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
        elif result is None or result.verdict is Verdict.SKIPPED:
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
    wrong = next(iter(_validator().iter_errors(values)), None)
    if wrong is not None:
        where = "/".join(map(str, wrong.absolute_path)) or "the whole"
        raise KnownFailuresError(f"{path}, {where}: {wrong.message[:300]}")
    entries: list[dict[str, Any]] = values["deviation"]
    return entries


@cache
def _validator() -> Draft202012Validator:
    text = files("neffos_conformance.data").joinpath("schema", "deviations.json").read_text("utf-8")
    return Draft202012Validator(json.loads(text))


def draft(results: Sequence[Result]) -> str:
    """Write what failed as a file of deviations, for somebody to give the reasons.

    The same failure of several cases is one entry. Without reasons and links it is not accepted.
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
