"""The learned machines as pictures, the specification's first, and each different machine once.

Below the name of a state are the inputs with their outputs. An arrow leads from those that change
the state to the right, and along a lane to the next state. All arrows to one state share a lane.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from generate.text import attribute, count
from neffos_conformance.learning.alphabet import NOT_NOW, NOTHING
from neffos_conformance.learning.lesson import Lesson
from neffos_conformance.learning.machine import Machine, machine_from

WIDTH: Final = 340
"""Pixels of a picture: two are side by side on a desktop, and a telephone shows one."""

MOST_STATES: Final = 8
"""States of a machine that is drawn whole. Of a larger one of a peer, only what differs is drawn,
and that on demand."""

_LANE: Final = 11
_LINE: Final = 15
_LETTER: Final = 6.2
_BOLD: Final = 7.5
"""Pixels between two lanes, between two lines of text, of a letter, and of one of a name."""

_LEFT: Final = 6
_TOP: Final = 6
_INDENT: Final = 10
_GAP: Final = 12
"""Pixels around states, before their lines, and between two states."""

UNLIKE: Final = "≠ "
"""Marks an input that differs, which must be seen without its colour."""


class TransitionLine(NamedTuple):
    """Inputs of a state that do the same.

    Attributes:
        text: the inputs and the output.
        after: the next state.
        why: the requirement, and the difference that explains it; empty for what is specified.
    """

    text: str
    after: int
    why: str = ""


def lines_of(machine: Machine, state: int, differing: dict[str, str]) -> list[TransitionLine]:
    """Give the lines of a state; ``differing`` has the reason for each input that differs."""
    if machine.ending(state):
        return []
    shared: dict[tuple[str, int, str], list[str]] = {}
    for letter, (output, after) in zip(machine.alphabet, machine.rows[state], strict=True):
        if output != NOT_NOW:
            shared.setdefault((output, after, differing.get(letter, "")), []).append(letter)
    return [
        TransitionLine(
            f"{', '.join(letters)}: {'nothing' if output == NOTHING else output}", after, why
        )
        for (output, after, why), letters in shared.items()
    ]


@dataclass(slots=True)
class _Lane:
    """The way of all arrows of one kind to a state.

    Attributes:
        target: the state.
        is_wrong: whether the arrows are of transitions that differ.
        exits: where they come from.
        place: counted from the left.
    """

    target: int
    is_wrong: bool
    exits: list[tuple[float, float]] = field(default_factory=list)
    place: int = 0


class _Drawing:
    """One machine while it is drawn."""

    def __init__(
        self, names: Sequence[str], lines: dict[int, list[TransitionLine]], key: str
    ) -> None:
        self._names, self._lines, self._key = names, lines, key
        self._lanes: dict[tuple[int, bool], _Lane] = {}
        self._entries: dict[int, float] = {}
        self.height = 0.0

    def draw(self) -> str:
        """Give the lines of the picture, arrows first, so that texts are above them."""
        places = 1
        while True:  # more lanes leave less room for text, which moves the states
            self._right = WIDTH - _LEFT - _LANE * (places + 1)
            texts = list(self._states())
            needed = self._place()
            if needed <= places:
                return "\n".join([*self._arrows(), *texts])
            places = needed

    def _wrapped(self, text: str, indent: int, letter: float = _LETTER) -> list[str]:
        return textwrap.wrap(text, int((self._right - _LEFT - indent) / letter))

    def _states(self) -> Iterator[str]:
        self._lanes.clear()
        y = float(_TOP)
        for state, lines in self._lines.items():
            name = self._wrapped(self._names[state], 2 * _INDENT, _BOLD)
            height = _LINE * len(name) + 9
            self._entries[state] = y + height / 2
            first = " first" if state == 0 else ""
            yield (
                f'<g class="state{first}"><rect x="{_LEFT}" y="{y:.1f}" rx="7" '
                f'width="{self._right - _LEFT:.1f}" height="{height}"/>'
            )
            for number, each in enumerate(name):
                yield _text(_LEFT + _INDENT, y + 16 + _LINE * number, each)
            yield "</g>"
            y += height + 4
            for line in lines:
                yield from self._line(line, state, y)
                y += _LINE * (len(self._wrapped(_shown(line), _INDENT)) + bool(line.why)) + 2
            y += _GAP
        self.height = y - _GAP + _TOP

    def _line(self, line: TransitionLine, state: int, y: float) -> Iterator[str]:
        wrong = " wrong" if line.why else ""
        wrapped = self._wrapped(_shown(line), _INDENT)
        for number, each in enumerate(wrapped):
            yield _text(_LEFT + _INDENT, y + 11 + _LINE * number, each, f"label{wrong}")
        if line.why:
            below = y + 11 + _LINE * len(wrapped)
            yield _text(_LEFT + 2 * _INDENT, below, line.why, "label why")
        if line.after != state:
            lane = self._lanes.setdefault(
                (line.after, bool(line.why)), _Lane(line.after, bool(line.why))
            )
            end = _LEFT + _INDENT + 4 + len(wrapped[0]) * _LETTER
            lane.exits.append((min(end, self._right), y + 7))

    def _place(self) -> int:
        """Place the lanes, short ones on the left, and give how many places there are."""
        taken: list[list[tuple[float, float]]] = []
        spans = {}
        for key, lane in self._lanes.items():
            ys = [self._entry(lane), *(y for _, y in lane.exits)]
            spans[key] = min(ys) - 3, max(ys) + 3
        for key in sorted(spans, key=lambda each: spans[each][1] - spans[each][0]):
            low, high = spans[key]
            free = [all(high < a or b < low for a, b in place) for place in taken]
            if True not in free:
                taken.append([])
                free.append(True)
            place = self._lanes[key].place = free.index(True)
            taken[place].append((low, high))
        return len(taken)

    def _entry(self, lane: _Lane) -> float:
        """Give where the arrows end: those that differ and the others beside each other."""
        both = (lane.target, not lane.is_wrong) in self._lanes
        return self._entries[lane.target] + (0 if not both else 5 if lane.is_wrong else -5)

    def _arrows(self) -> Iterator[str]:
        for lane in self._lanes.values():
            x, entry = self._right + _LANE * (lane.place + 1), self._entry(lane)
            kind, head = ("edge wrong", "wrong") if lane.is_wrong else ("edge", "head")
            for end, y in lane.exits:
                yield f'<path class="{kind}" d="M{end:.1f} {y:.1f}H{x:.1f}V{entry:.1f}"/>'
            yield (
                f'<path class="{kind}" d="M{x:.1f} {entry:.1f}H{self._right + 2:.1f}" '
                f'marker-end="url(#{self._key}-{head})"/>'
            )


def _shown(line: TransitionLine) -> str:
    return f"{UNLIKE if line.why else ''}{line.text}"


def _text(x: float, y: float, text: str, kind: str = "") -> str:
    chosen = f' class="{kind}"' if kind else ""
    return f'<text{chosen} x="{x:.1f}" y="{y:.1f}">{attribute(text)}</text>'


def figure(
    key: str, title: str, names: Sequence[str], lines: dict[int, list[TransitionLine]]
) -> str:
    """Draw a machine as a figure in HTML.

    Args:
        key: the beginning of the ids in it.
        title: its caption.
        names: of the states.
        lines: what is drawn, by the states.
    """
    drawing = _Drawing(names, lines, key)
    drawn = drawing.draw()
    said = "; ".join(
        f"in {names[state]}, {line.text}"
        + (f", to {names[line.after]}" if line.after != state else "")
        + (f" (differs: {line.why})" if line.why else "")
        for state, own in lines.items()
        for line in own
    )
    heads = "".join(
        f'<marker id="{key}-{kind}" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="8" '
        'markerHeight="8" markerUnits="userSpaceOnUse" orient="auto">'
        f'<path class="{kind}" d="M0 0.8 10 5 0 9.2Z"/></marker>'
        for kind in ("head", "wrong")
    )
    return "\n".join(
        [
            '<figure class="states learned" data-search-exclude>',
            f'<svg viewBox="0 0 {WIDTH} {drawing.height:.0f}" role="img" '
            f'aria-labelledby="{key}-title {key}-desc">',
            f'<title id="{key}-title">{attribute(title)}</title>',
            f'<desc id="{key}-desc">{attribute(said)}.</desc>',
            f"<defs>{heads}</defs>",
            drawn,
            "</svg>",
            f"<figcaption>{attribute(title)}</figcaption>",
            "</figure>",
        ]
    )


def pictures(lesson: Lesson, found: dict[str, dict[str, Any]]) -> str:
    """Draw the specification's machine, and beside it each one of a peer that differs.

    Args:
        lesson: the specification's.
        found: the recorded machine of each system.
    """
    specified = lesson.specified.machine
    key = f"learned-{lesson.role}-{lesson.scene}"
    alike = [name for name, each in found.items() if not each["unknown"] and not each["machine"]]
    also = f" {', '.join(alike)}: the same." if alike else ""
    drawn = [
        figure(
            key,
            f"Specification.{also}",
            lesson.specified.names,
            {state: lines_of(specified, state, {}) for state in range(len(specified.rows))},
        )
    ]
    unlike: list[tuple[dict[str, Any], list[str]]] = []
    for name, each in found.items():
        if each["machine"]:
            same = next((names for other, names in unlike if other == each), None)
            if same is None:
                unlike.append((each, [name]))
            else:
                same.append(name)
    for number, (each, names) in enumerate(unlike):
        drawn.append(_of_peers(f"{key}-{number}", each, names))
    shown = "\n".join(drawn)
    return f'<div class="machines">\n{shown}\n</div>'


def _of_peers(key: str, recorded: dict[str, Any], peers: list[str]) -> str:
    machine, names = machine_from(recorded["machine"]), recorded["states"]
    whys: dict[str, dict[str, str]] = {name: {} for name in names}
    for each in recorded["differing"]:
        explained = each["difference"] or "which permits it"
        whys[each["state"]][each["input"]] = f"{each['requirement']}, {explained}"
    lines = {number: lines_of(machine, number, whys[name]) for number, name in enumerate(names)}
    number = len(recorded["differing"])
    title = f"{', '.join(peers)}: {count(len(names), 'state')}; {count(number, 'transition')} "
    title += "differs." if number == 1 else "differ."
    if len(names) > MOST_STATES:
        lines = {number: [each for each in own if each.why] for number, own in lines.items()}
        ends = {each.after for own in lines.values() for each in own}
        lines = {number: own for number, own in lines.items() if own or number in ends}
        title += " Nothing else is drawn."
    return figure(key, title, names, lines)
