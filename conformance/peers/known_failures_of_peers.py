"""The known failures of tested implementations: the files in the folder ``known_failures``.

Files about cases have the format that ``--known-failures`` reads; ``real_peers.py`` says which of
them applies to which peer. ``interop.toml`` is about steps of an interop run.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

from neffos_conformance.cases.definition import LIMITS, Case, Role
from neffos_conformance.codecs.catalogue import all_cases
from neffos_conformance.interop.interop_runs import StepOutcome
from neffos_conformance.runner.known_failures import KnownFailure, read_known_failures
from neffos_protocol.catalogue import divergences
from peers.real_peers import HERE, RealPeer

KNOWN_FAILURES: Final = HERE / "known_failures"


@dataclass(frozen=True, slots=True)
class Shown:
    """A case with which a peer shows a divergence.

    Attributes:
        case: the case that it fails.
        known_failure: how it fails.
    """

    case: Case
    known_failure: KnownFailure

    @property
    def divergence(self) -> str:
        """The divergence that is shown."""
        return self.known_failure.link


def showing(
    peers: Mapping[str, RealPeer], role: Role
) -> Mapping[str, Mapping[str, tuple[Shown, ...]]]:
    """Choose who shows what: for each divergence the first peer that is known for it.

    Args:
        peers: the peers that there are, in the order of preference.
        role: what they are looked at as.

    Returns:
        By the peer's name, as ``known`` of ``RealPeer`` has it, and by divergence: the cases that
        show it, the likeliest to be about nothing else first. Those that look for a limit are
        not among them: it takes thousands of messages, or huge ones.
    """
    chosen: dict[str, dict[str, tuple[Shown, ...]]] = {}
    taken: set[str] = set()
    cases = {case.id: case for case in all_cases(role) if LIMITS not in case.tags}
    for peer in peers.values():
        for name, files in peer.known.items():
            found: dict[str, list[Shown]] = {}
            for each in read_known_failures(KNOWN_FAILURES / file for file in files):
                if each.case in cases and each.link in divergences().keys() - taken:
                    found.setdefault(each.link, []).append(Shown(cases[each.case], each))
            if found:
                chosen[name] = {id_: tuple(_by_matter(found[id_])) for id_ in found}
                taken |= found.keys()
    return chosen


def _by_matter(found: list[Shown]) -> Iterator[Shown]:
    """Put those first that are about a requirement of the divergence."""
    for is_own in (True, False):
        for each in found:
            about = divergences()[each.divergence].requirements
            if (each.case.requirements[0] in about) is is_own:
                yield each


def is_explained(client: str, outcome: StepOutcome) -> bool:
    """Say whether a step went as is known of the client, be it well or not."""
    known = known_of_client(client, outcome.step)
    if known is None:
        return not outcome.failure
    return bool(outcome.failure) and known in outcome.failure


def known_of_client(client: str, step: str) -> str | None:
    """Give a part of what is known to go wrong in a step."""
    for entry in _conversation():
        if client in entry["peers"] and step in entry["steps"]:
            return str(entry["observed"])
    return None


@cache
def _conversation() -> list[dict[str, Any]]:
    text = (KNOWN_FAILURES / "interop.toml").read_text("utf-8")
    entries: list[dict[str, Any]] = tomllib.loads(text)["known_failure"]
    return entries
