"""The known failures of tested implementations: the files in the folder ``known_failures``.

Files about cases have the format that ``--known-failures`` reads; ``implementations.py`` says
which of them applies to which implementation. ``interop.toml`` is about steps of an interop run.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from neffos_conformance.cases.definition import LIMITS, Case, Role
from neffos_conformance.codecs.catalogue import all_cases
from neffos_conformance.interop.interop_runs import StepOutcome
from neffos_conformance.runner.known_failures import KnownFailure, read_known_failures
from neffos_protocol.catalogue import divergences
from peers.implementations import HERE, Implementation

KNOWN_FAILURES: Final = HERE / "known_failures"


@dataclass(frozen=True, slots=True)
class FailedCase:
    """A case that a peer fails, which shows a difference.

    Attributes:
        case: the case.
        known_failure: how it fails.
    """

    case: Case
    known_failure: KnownFailure

    @property
    def divergence(self) -> str:
        """The id of the difference."""
        return self.known_failure.link


def failed_cases(
    peers: Mapping[str, Implementation], role: Role
) -> Mapping[str, Mapping[str, tuple[FailedCase, ...]]]:
    """Choose the cases to record: for each difference, those of the first peer that shows it.

    Args:
        peers: the peers, in the order of preference.
        role: their role.

    Returns:
        By system under test, as in ``Implementation.known``, and by difference: the failed cases.
        Those that cover one of its requirements come first. Cases that test a limit are left out:
        they take thousands of messages, or huge ones.
    """
    chosen: dict[str, dict[str, tuple[FailedCase, ...]]] = {}
    taken: set[str] = set()
    cases = {case.id: case for case in all_cases(role) if LIMITS not in case.tags}
    for peer in peers.values():
        for name, files in peer.known.items():
            found: dict[str, list[FailedCase]] = {}
            for each in read_known_failures(KNOWN_FAILURES / file for file in files):
                if each.case in cases and each.link in divergences().keys() - taken:
                    found.setdefault(each.link, []).append(FailedCase(cases[each.case], each))
            if found:
                chosen[name] = {id_: tuple(_by_relevance(found[id_])) for id_ in found}
                taken |= found.keys()
    return chosen


def _by_relevance(found: list[FailedCase]) -> list[FailedCase]:
    def is_other(each: FailedCase) -> bool:
        return each.case.requirements[0] not in divergences()[each.divergence].requirements

    return sorted(found, key=is_other)


def is_explained(client: str, outcome: StepOutcome) -> bool:
    """Whether a step of an interop run passed, or failed as it is known to."""
    for entry in _interop():
        if client in entry["peers"] and outcome.step in entry["steps"]:
            return entry["observed"] in outcome.failure
    return not outcome.failure


@cache
def _interop() -> list[dict[str, Any]]:
    text = (KNOWN_FAILURES / "interop.toml").read_text("utf-8")
    entries: list[dict[str, Any]] = tomllib.loads(text)["known_failure"]
    return entries
