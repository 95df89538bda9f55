"""The cases that peers are known to fail, as recordings of differences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from neffos_conformance.cases.definition import LIMITS, Case, Role
from neffos_conformance.codecs.catalogue import all_cases
from neffos_conformance.runner.known_failures import KnownFailure
from neffos_protocol.catalogue import differences
from peers.implementations import Implementation

DIFFERENCES: Final = "differences"
"""The folder of the corpus with the recordings of differences."""


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
    def difference(self) -> str:
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
        for name in peer.known:
            found: dict[str, list[FailedCase]] = {}
            for each in peer.known_failures(name):
                if each.case in cases and each.link in differences().keys() - taken:
                    found.setdefault(each.link, []).append(FailedCase(cases[each.case], each))
            if found:
                chosen[name] = {id_: tuple(_by_relevance(found[id_])) for id_ in found}
                taken |= found.keys()
    return chosen


def _by_relevance(found: list[FailedCase]) -> list[FailedCase]:
    def is_other(each: FailedCase) -> bool:
        return each.case.requirements[0] not in differences()[each.difference].requirements

    return sorted(found, key=is_other)


def difference_name(cases: Sequence[FailedCase]) -> str:
    """Give the name of the recording of a difference."""
    return f"{DIFFERENCES}/{cases[0].difference}-{cases[0].case.role}"
