"""Makes a program that shows a fault small: by leaving out actions, and saying less in the others.

Each try is played on fresh connections. A try counts if it shows a fault against the same
requirement; that it does not once proves nothing about a peer with a timing of its own, so what
comes out is played again by who asked for it.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from typing import Final

from neffos_conformance.model_based.actions import Action, Do, Program

MAX_TRIES: Final = 200
"""Tries for one fault: a program of some thirty actions is minimal after about half as many."""

MAX_SECONDS: Final = 15.0
"""Seconds for one fault; where each try waits for what does not come, they are fewer."""

Shows = Callable[[Program], Awaitable[bool]]
"""Plays a program, and tells whether it still shows the fault."""


async def shrink(
    program: Program, shows: Shows, *, tries: int = MAX_TRIES, seconds: float = MAX_SECONDS
) -> Program:
    """Give the smallest program that was found to show a fault.

    Args:
        program: shows it.
        shows: tries another.
        tries: how many others are tried at most.
        seconds: how long at most.
    """
    until = time.monotonic() + seconds
    left = tries

    async def is_worse(other: Program) -> bool:
        nonlocal left
        if not left or time.monotonic() > until:
            return False
        left -= 1
        return await shows(other)

    size = max(1, len(program) // 2)
    while True:
        smaller = await _without(program, size, is_worse)
        if size == 1 and len(smaller) == len(program):
            break
        program, size = smaller, max(1, size // 2)
    for number in [action.number for action in program]:
        for change in _PLAINER:
            place = next(i for i, action in enumerate(program) if action.number == number)
            plainer = change(program[place])
            if plainer != program[place]:
                other = (*program[:place], plainer, *program[place + 1 :])
                if await is_worse(other):
                    program = other
    return program


async def _without(program: Program, size: int, shows: Shows) -> Program:
    """Leave out what can be, so many actions at a time, from the end."""
    end = len(program)
    while end > 0:
        start = max(0, end - size)
        other = program[:start] + program[end:]
        if other and await shows(other):
            program = other
        end = start
    return program


def _plain_opening(action: Action) -> Action:
    return replace(action, how="plain") if action.do is Do.OPEN else action


def _plain_body(action: Action) -> Action:
    is_tagged = str(action.number) in str(action.body)
    return replace(action, body=f"t{action.number}") if is_tagged else action


def _changes() -> Iterator[Callable[[Action], Action]]:
    yield lambda action: replace(action, is_followed=False)
    yield _plain_opening
    yield _plain_body
    yield lambda action: replace(action, is_no_op=False)
    yield lambda action: replace(action, mark="")
    yield lambda action: replace(action, is_error=False)
    yield lambda action: replace(action, room="r1" if action.room else "")


_PLAINER: Final = tuple(_changes())
"""What makes an action plainer."""
