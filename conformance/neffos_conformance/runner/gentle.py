"""Gentle runs: a server that others use gets no case that may harm it or reach its users.

What a case does decides, and its tags; no list names cases.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from neffos_conformance.cases.definition import LIMITS, SLOW, Case
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.runner.pace import cost_of
from neffos_conformance.runner.result import Result

INTERVAL: Final = 0.1
"""Seconds between two connections: ten a second are few for a server that has users."""

JOBS: Final = 1
"""Cases that run concurrently; the largest has four connections."""

MAX_MESSAGES: Final = 50
"""Messages of a case: about as many as a client sends while a person looks at a page."""

MAX_SIZE: Final = 64 << 10
"""Bytes of a case's messages, the default limit of a message in many servers."""

HOSTILE: Final = "hostile"
"""The tag of cases that send what only an attacker sends."""

_ALL: Final = 2
"""The reach of a case that reaches all connections; see ``Case.reach``."""


def why_not(case: Case) -> str:
    """Say why a case is not gentle; empty if it is."""
    verbs = {step.verb for step in case.steps}
    cost = cost_of(case)
    reasons = (
        (HOSTILE in case.tags, "sends what only an attacker sends"),
        (LIMITS in case.tags or SLOW in case.tags, "looks for a limit"),
        ("raw" in verbs, "sends bytes that are not WebSocket frames of a client"),
        ("stall" in verbs, "does not read what the server sends"),
        (case.reach == _ALL, "sends something to all connections"),
        (cost.messages > MAX_MESSAGES, f"sends more than {MAX_MESSAGES} messages"),
        (cost.size > MAX_SIZE, f"sends more than {MAX_SIZE >> 10} KiB"),
    )
    return next((reason for is_so, reason in reasons if is_so), "")


def left_out(cases: Sequence[Case]) -> list[Result]:
    """Give a result for each case that a gentle run leaves out."""
    reasons = ((case, why_not(case)) for case in cases)
    return [
        Result(case, Verdict.SKIPPED, f"--gentle leaves it out: it {reason}")
        for case, reason in reasons
        if reason
    ]


def note(left: Sequence[Result], cases: Sequence[Case]) -> str:
    """Say in the report that a run was gentle."""
    pace = f"one case at a time, and no more than {1 / INTERVAL:g} connections a second"
    return f"gentle: {pace}; {len(left)} of {len(cases)} cases were left out"
