"""The recorded history: the verdicts of the cases on each release of the tested implementations.

``data/history.json`` has a row for each case that a release does not pass, with a sign for each
release. A case without a row passes on all of them, so a new case does not make the file stale.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any, Final

from neffos_conformance import VERSION
from neffos_conformance.cases.definition import Role
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.data import read_data
from neffos_conformance.interop.bisection import Trial, Trials

HISTORY_FORMAT: Final = 1
"""The version of the format; ``data/schema/history.json`` has it."""

SIGNS: Final = {
    Verdict.PASS: ".",
    Verdict.FAIL: "f",
    Verdict.NON_STRICT: "n",
    Verdict.INFORMATIONAL: "i",
    Verdict.SKIPPED: "s",
    Verdict.ERROR: "e",
    Verdict.UNKNOWN: "u",
}
"""The sign of each verdict."""

GAP: Final = "-"
"""The sign of a release that was not tested."""

_VERDICTS: Final = {sign: verdict for verdict, sign in SIGNS.items()}


@dataclass(frozen=True, slots=True)
class ReleaseHistory:
    """The history of a server or client.

    Attributes:
        role: its role.
        versions: its releases, the oldest first.
        gaps: why a release was not tested, by version.
        ran: how many cases ran on each of the others.
        rows: the signs of the releases, by case.
    """

    role: Role
    versions: tuple[str, ...]
    gaps: Mapping[str, str]
    ran: int
    rows: Mapping[str, str]

    def trials(self, cases: Iterable[str]) -> Trials:
        """Give what is known of each release by some cases, by their IDs."""
        ids = list(cases)
        found = {}
        for place, version in enumerate(self.versions):
            if version in self.gaps:
                found[version] = Trial(reason=self.gaps[version])
            else:
                signs = ((id_, self.rows[id_][place] if id_ in self.rows else ".") for id_ in ids)
                found[version] = Trial({id_: _VERDICTS[sign] for id_, sign in signs})
        return found

    def verdicts(self, version: str) -> dict[str, Verdict]:
        """Give the verdicts on a release other than *pass*, by case; none of one that is a gap."""
        place = self.versions.index(version)
        signs = {id_: row[place] for id_, row in self.rows.items()}
        return {id_: _VERDICTS[sign] for id_, sign in signs.items() if sign not in (".", GAP)}


@cache
def recorded_on() -> str:
    """Give the day on which the history was recorded."""
    return str(_values()["recorded"])


@cache
def histories() -> Mapping[str, ReleaseHistory]:
    """Give the recorded histories, by the name of the server or client."""
    return {
        name: ReleaseHistory(
            each["role"], tuple(each["versions"]), each["gaps"], each["ran"], each["cases"]
        )
        for name, each in _values()["systems"].items()
    }


@cache
def _values() -> dict[str, Any]:
    values: dict[str, Any] = json.loads(read_data("history.json"))
    return values


def system_values(role: Role, versions: Sequence[str], trials: Trials) -> dict[str, Any]:
    """Give the history of a server or client as values.

    Args:
        role: its role.
        versions: its releases, the oldest first.
        trials: what was found of each.
    """
    gaps = {each: trials[each].reason for each in versions if not trials[each].verdicts}
    ids = list(dict.fromkeys(id_ for each in versions for id_ in trials[each].verdicts))
    rows = {
        id_: "".join(
            GAP if each in gaps else SIGNS[trials[each].verdicts[id_]] for each in versions
        )
        for id_ in ids
    }
    shown = {id_: row for id_, row in rows.items() if not {*row} <= {SIGNS[Verdict.PASS], GAP}}
    return {"role": role, "versions": [*versions], "gaps": gaps, "ran": len(ids), "cases": shown}


def history_values(systems: Mapping[str, Any]) -> dict[str, Any]:
    """Give the content of the file.

    Args:
        systems: values as ``system_values`` gives them, by the name of the server or client.
    """
    recorded = datetime.now(UTC).date().isoformat()
    head = {"format": HISTORY_FORMAT, "recorded": recorded, "suite": VERSION}
    return {**head, "systems": dict(systems)}
