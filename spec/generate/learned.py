"""The learned machines of tested implementations, beside the specification's: results as tables.

The machines of implementations are those that ``make learn`` recorded; the specification's is
explored here.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from generate.text import table
from neffos_conformance.learning.alphabet import NOT_NOW
from neffos_conformance.learning.lesson import Lesson, scenes_of
from neffos_protocol import Role
from peers.learned import recorded

_PLAIN: Final = str.maketrans({"|": "/", "<": "", ">": ""})


@cache
def _lessons() -> dict[tuple[str, str], Lesson]:
    return {(str(role), str(each.scene)): each for role in Role for each in scenes_of(role, None)}


def systems() -> str:
    """Write how many states each machine has, and how many of its transitions differ."""
    scenes = list(dict.fromkeys(scene for _, scene in _lessons()))
    rows = [_row(f"the specification's {role}", role, scenes, None) for role in Role]
    for name, values in recorded().items():
        shown = name.removeprefix(f"{values['role']}-")
        rows.append(_row(f"`{shown}`, {values['role']}", values["role"], scenes, values))
    return table(("implementation", *scenes), rows)


def _row(name: str, role: str, scenes: list[str], values: dict[str, Any] | None) -> list[str]:
    found = {each["scene"]: each for each in values["machines"]} if values else {}
    cells = []
    for scene in scenes:
        lesson, machine = _lessons().get((role, scene)), found.get(scene)
        if lesson is None or (values and machine is None):
            cells.append("")
        elif machine is None:
            cells.append(str(len(lesson.specified.names)))
        elif machine["unknown"]:
            cells.append("unknown")
        else:
            wrong = len(machine["differing"])
            cells.append(f"{len(machine['states'])}{f', {wrong} differ' if wrong else ''}")
    return [name, *cells]


def differing(role: str) -> str:
    """Write the transitions in which servers or clients differ, those that differ alike once."""
    found: dict[tuple[str, ...], dict[str, None]] = {}
    for name, values in recorded().items():
        if values["role"] != role:
            continue
        for machine in values["machines"]:
            for each in machine["differing"]:
                key = (
                    each["input"],
                    each["specified"][0],
                    each["actual"][0],
                    each["requirement"],
                    each["difference"],
                    each["explanation"],
                )
                found.setdefault(key, {})[name.removeprefix(f"{role}-")] = None
    rows = (
        (
            _plain(given),
            _plain(specified),
            _plain(actual),
            f"{requirement}: {why}{f' ({difference})' if difference else ', as it permits'}",
            ", ".join(f"`{name}`" for name in names),
        )
        for (given, specified, actual, requirement, difference, why), names in found.items()
    )
    head = ("input", "output specified", "actual", "why", "implementations")
    return table(head, rows)


def machine(role: str, scene: str) -> str:
    """Write the specification's machine: a line for each state and output."""
    lesson = _lessons()[role, scene]
    names = lesson.specified.names
    rows = []
    for number, row in enumerate(lesson.specified.machine.rows):
        shared: dict[tuple[str, int], list[str]] = {}
        for letter, (output, after) in zip(lesson.specified.machine.alphabet, row, strict=True):
            if output != NOT_NOW:
                shared.setdefault((output, after), []).append(letter)
        for (output, after), letters in shared.items():
            leads = names[after] if after != number else ""
            rows.append(map(_plain, (names[number], ", ".join(letters), output, leads)))
    return table(("state", "inputs", "output", "leads to"), rows)


def _plain(text: str) -> str:
    return text.translate(_PLAIN)
