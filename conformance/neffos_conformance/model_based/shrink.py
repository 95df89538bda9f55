"""Shrinks a test sequence that shows a failure: removes actions, and simplifies the others.

Each try runs on fresh connections, and counts if it shows a failure against the same requirement.
A single try proves nothing about a peer with a timing of its own, so the caller runs the result
again.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Final

from neffos_conformance.model_based.actions import ActionKind, ActionSequence, SuiteAction
from neffos_protocol.names import CHANGE_OF

MAX_TRIES: Final = 200
"""Tries for one failure. A sequence of some thirty actions is minimal after half as many."""

MAX_SECONDS: Final = 15.0
"""Seconds for one failure: fewer tries where each waits for what does not come."""

Shows = Callable[[ActionSequence], Awaitable[bool]]
"""Runs a sequence, and says whether it still shows the failure."""


RECENT: Final = 16
"""Actions at the end of a long sequence among which are those that led to its failure, if what led
there is not a change of membership."""


def essences(sequence: ActionSequence, number: int) -> Iterator[ActionSequence]:
    """Give what is likely to be enough of a long sequence, the smallest first.

    Args:
        sequence: shows a failure.
        number: of the action that shows it; 0 if none does.
    """
    recent = {each.number for each in sequence[-RECENT:]} | {number}
    changing = [
        each
        for each in sequence
        if each.number in recent or each.kind is not ActionKind.SEND or each.event in CHANGE_OF
    ]
    connections = {each.connection for each in sequence if each.number == number}
    for some in (changing, sequence):
        yield tuple(each for each in some if each.connection in connections)
    yield tuple(changing)


async def shrink(
    sequence: ActionSequence,
    shows: Shows,
    *,
    tries: int = MAX_TRIES,
    seconds: float = MAX_SECONDS,
) -> ActionSequence:
    """Give the smallest sequence that was found to show a failure.

    Args:
        sequence: shows it.
        shows: tries another.
        tries: at most.
        seconds: at most.
    """
    until = time.monotonic() + seconds
    left = tries

    async def is_enough(other: ActionSequence) -> bool:
        nonlocal left
        if not other or not left or time.monotonic() > until:
            return False
        left -= 1
        return await shows(other)

    size = max(1, len(sequence) // 2)
    while True:
        before, end = len(sequence), len(sequence)
        while end > 0:  # remove so many actions at a time, from the end
            start = max(0, end - size)
            other = sequence[:start] + sequence[end:]
            if await is_enough(other):
                sequence = other
            end = start
        if size == 1 and len(sequence) == before:
            break
        size = max(1, size // 2)
    for index in range(len(sequence)):
        for simpler in _SIMPLER:
            action = simpler(sequence[index])
            other = (*sequence[:index], action, *sequence[index + 1 :])
            if other != sequence and await is_enough(other):
                sequence = other
    return sequence


_SIMPLER: Final[tuple[Callable[[SuiteAction], SuiteAction], ...]] = (
    lambda action: replace(action, is_followed=False),
    lambda action: replace(action, how="plain") if action.kind is ActionKind.OPEN else action,
    lambda action: replace(
        action, body=f"t{action.number}" if str(action.number) in str(action.body) else action.body
    ),
    lambda action: replace(action, is_no_op=False),
    lambda action: replace(action, mark=""),
    lambda action: replace(action, is_error=False),
    lambda action: replace(action, room="r1" if action.room else ""),
)
"""What makes an action simpler."""
