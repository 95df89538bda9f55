"""Walks beside the cases of a run: who is given them, how many, and what of theirs is new."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from neffos_conformance.model_based.explore import Plan, SequenceReport
from neffos_conformance.model_based.failures import STALL
from neffos_conformance.model_based.walks import LENGTH, THOROUGH, USUAL
from neffos_conformance.runner.pace import Cost, Way
from neffos_conformance.runner.playback import Timeouts
from neffos_conformance.runner.result import Result
from neffos_conformance.runner.varying import Varied
from neffos_protocol import Role

COST: Final = Cost(800, 2_000, 8 << 20)
"""What a walk asks of a network."""

BURST: Final = Cost(4, 40, 1 << 20)
"""What is sent and answered between two barriers of a walk, at most."""

NEAR: Final = 60.0
"""Seconds that a network may add to a walk, or a busy machine, which is measured with it. Through a
slower one, walks would take longer than all cases, so that there are none."""

SECONDS: Final = 60.0
"""Seconds for the walks of a usual run: on two processors, they take two or three."""

THOROUGH_SECONDS: Final = 3600.0
"""Likewise of a thorough run."""

CLOSING: Final = "TR-16"
"""The requirement on the ends of connections, which cases test for itself. A walk ends connections
on which much is under way, and TCP may lose a close frame then."""

ENOUGH: Final = 5
"""Failures that a usual run makes small: a peer that has more fails cases as well."""


def plan_of_walks(
    role: Role,
    timeouts: Timeouts,
    known: Iterable[str],
    way: Way | None = None,
    *,
    is_thorough: bool,
) -> Plan | None:
    """Give the plan of the walks of a run; ``None`` where the network is too slow for them.

    Args:
        role: of the peer under test.
        timeouts: the time limits of a case, on this machine.
        known: the requirements that the peer violates, see ``violated``.
        way: to the peer, if its network is measured.
        is_thorough: whether all walks are run, or a few.
    """
    if way is not None:
        if way.pace.seconds(COST) > NEAR:
            return None
        timeouts = replace(timeouts, case=timeouts.case + STALL * way.pace.seconds(BURST))
    return Plan(
        None,
        THOROUGH_SECONDS if is_thorough else SECONDS,
        THOROUGH if is_thorough else USUAL[role],
        LENGTH,
        timeouts,
        enough=THOROUGH if is_thorough else ENOUGH,
        way=way,
        known=frozenset({*known, CLOSING}),
    )


def violated(results: Iterable[Result]) -> set[str]:
    """Give the requirements that a peer has violated in cases and variations.

    It violates them in walks, too, which say nothing more.
    """
    there = list(results)
    found = {id_ for each in there if each.is_broken for id_ in each.case.requirements}
    return found | {finding.requirement for each in there for finding in each.violations}


def add_walks(report: SequenceReport, into: Varied) -> None:
    """Count the walks of a run, and keep what they have found."""
    into.walks += report.sequences
    into.actions += report.actions
    into.failed += [each.result() for each in report.counterexamples]
