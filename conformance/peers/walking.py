"""Walks on the tested implementations: what they find is known, or fails the run."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from neffos_conformance.cases.definition import base_of
from neffos_conformance.cases.features import by_id
from neffos_conformance.model_based import drivers, explore_driven, explore_server
from neffos_conformance.model_based.walking import plan_of_walks, violated
from neffos_conformance.runner.known_failures import KnownFailure, weigh
from neffos_conformance.runner.playback import Timeouts
from neffos_conformance.runner.result import Result
from neffos_conformance.runner.run_report import RunReport
from neffos_conformance.wire.waiting import at_most
from neffos_protocol import Role

AT_ONCE: Final = 2
"""Peers that walk concurrently: a walk keeps the suite busy, and a peer hardly at all."""


@dataclass(frozen=True, slots=True)
class WalkedPeer:
    """A server or a client that is given walks.

    Attributes:
        name: as it is in the reports.
        known_failures: the failures to expect.
        url: of a server.
        command: of a client's driver; empty for a server.
    """

    name: str
    known_failures: Sequence[KnownFailure]
    url: str = ""
    command: Sequence[str] = ()

    async def found(self, known: set[str], timeouts: Timeouts) -> list[Result]:
        """Give what the walks of a usual run find."""
        role = Role.CLIENT if self.command else Role.SERVER
        plan = plan_of_walks(role, timeouts, known, is_thorough=False)
        if plan is None:  # only where a network was measured
            return []
        if self.command:
            async with drivers(self.command) as (take, _, operations):
                report = await explore_driven(take, plan, operations)
        else:
            report = await explore_server(self.url, plan, frozenset(by_id()))
        return [each.result() for each in report.counterexamples]


async def walk_all(
    peers: Sequence[WalkedPeer], reports: Mapping[str, RunReport], timeouts: Timeouts
) -> list[str]:
    """Give a sentence on each failure of a walk that is not known, and on each that is no more.

    Args:
        peers: the servers and clients.
        reports: of their cases, which say what they are known to violate.
        timeouts: the time limits.
    """

    async def walk(peer: WalkedPeer) -> list[str]:
        results = await peer.found(violated(reports[peer.name].results), timeouts)
        ids = [each.case.id for each in results]
        # Nothing is said here of the known failures that no walk has.
        others = [base_of(each.case) for each in peer.known_failures if each.case not in ids]
        weighed = weigh(peer.known_failures, results, [*ids, *others])
        unknown = (each for each in results if each.case.id not in weighed.known)
        return [
            *(f"{peer.name}, {each.case.id}: {each.actual}" for each in unknown),
            *weighed.complaints,
        ]

    return [
        each for some in await asyncio.gather(*map(at_most(AT_ONCE, walk), peers)) for each in some
    ]
