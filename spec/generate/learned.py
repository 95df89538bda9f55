"""The learned machines of tested implementations, beside the specification's: results as tables.

The machines of implementations are those that ``make learn`` recorded; the specification's is
explored here.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

from generate import learned_pictures
from generate.text import count, table
from mutation import learned as faults
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


def pictures(role: str) -> str:
    """Draw each machine of servers or clients: the specification's, and those that differ."""
    parts = []
    for (own, scene), lesson in _lessons().items():
        if own != role:
            continue
        found = {
            name.removeprefix(f"{role}-"): each
            for name, values in recorded().items()
            for each in values["machines"]
            if values["role"] == role and each["scene"] == scene
        }
        drawn = learned_pictures.pictures(lesson, found)
        if len(lesson.specified.names) > learned_pictures.MOST_STATES:
            summary = f"<summary>{count(len(lesson.specified.names), 'state')}</summary>"
            drawn = f"<details>\n{summary}\n{drawn}\n</details>"
        parts.append(f"### `{scene}` of a {role}\n\n{drawn}")
    return "\n\n".join(parts)


def sample() -> str:
    """Write which mutants of a sample learning finds, and which exploring."""
    found = faults.recorded()
    learned = sum(each["learning"] for each in found.values())
    rows = [
        (
            f"`{name}` ({each['requirement']})",
            *("finds it" if each[way] else "misses it" for way in ("learning", "exploring")),
        )
        for name, each in found.items()
    ]
    return (
        f"Of a sample of {len(found)} [mutants](mutants.md) that change a state, learning of the "
        f"server's own asks finds {learned}. Exploring with the seed {faults.SEED} had "
        f"{faults.SEQUENCES} sequences of some {faults.STEPS} actions for each, which take as much "
        "processor time:\n\n" + table(("mutant", "learning", "exploring"), rows)
    )


def _plain(text: str) -> str:
    return text.translate(_PLAIN)
