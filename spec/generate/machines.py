"""The state tables of ``protocol/data/machines.toml`` as pictures and as tables.

The transitions come from the tables. This module adds only the positions of the states and the
bends of the arrows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from generate import text
from generate.text import attribute
from neffos_protocol.state_machines import StateMachine, Transition, machines

_HEIGHT: Final = 34
_LETTER: Final = 8.4
_PADDING: Final = 26
"""Pixels of a state: its height, a letter of its name, and the padding around the name."""

_LINE: Final = 15
"""Pixels between two lines of a label."""

_STEPS: Final = 200
"""Points of an arrow that are tried, to find where it leaves a state: two or three pixels each."""

_GAP: Final = 4
"""Pixels between a state and the arrows."""


@dataclass(frozen=True, slots=True)
class _Layout:
    """The positions of the states of one machine.

    Attributes:
        width: of the picture, in pixels.
        height: likewise.
        states: the middle of each state.
        bends: how far the middle of an arrow is off the straight line, to its left, in pixels.
        slides: where the label of an arrow stands, from 0, its beginning, to 1; else at half.
    """

    width: int
    height: int
    states: dict[str, tuple[int, int]]
    bends: dict[tuple[str, str], int] = field(default_factory=dict)
    slides: dict[tuple[str, str], float] = field(default_factory=dict)


_LAYOUTS: Final = {
    "handshake": _Layout(
        760,
        400,
        {
            "new": (70, 60),
            "requested": (310, 60),
            "awaiting": (70, 220),
            "deciding": (310, 290),
            "open": (690, 130),
            "closed": (690, 340),
        },
        {
            ("awaiting", "open"): 0,
            ("awaiting", "closed"): -95,
            ("deciding", "closed"): 0,
            ("requested", "closed"): 30,
        },
        {("requested", "closed"): 0.8, ("deciding", "open"): 0.45},
    ),
    "membership": _Layout(
        760,
        520,
        {
            "disconnected": (60, 260),
            "connecting": (380, 40),
            "deciding-connect": (380, 150),
            "connected": (700, 260),
            "deciding-disconnect": (380, 370),
            "disconnecting": (380, 480),
        },
        {
            ("disconnected", "connecting"): 40,
            ("connecting", "disconnected"): 0,
            ("connecting", "connected"): 40,
            ("disconnected", "deciding-connect"): 16,
            ("deciding-connect", "disconnected"): 16,
            ("deciding-connect", "connected"): 16,
            ("disconnected", "connected"): 14,
            ("connected", "disconnected"): 14,
            ("connected", "disconnecting"): 40,
            ("disconnecting", "connected"): 0,
            ("disconnecting", "disconnected"): 40,
            ("connected", "deciding-disconnect"): 16,
            ("deciding-disconnect", "connected"): 16,
            ("deciding-disconnect", "disconnected"): 16,
        },
    ),
    **dict.fromkeys(
        ("outgoing-ask", "incoming-ask"),
        _Layout(
            640,
            170,
            {"none": (80, 85), "pending": (560, 85)},
            {("none", "pending"): 50, ("pending", "none"): 50},
        ),
    ),
}

TITLES: Final = {
    "handshake": "The handshake",
    "membership": "A namespace, or a room",
    "outgoing-ask": "An ask of this peer",
    "incoming-ask": "An ask of the other peer",
}


WORDS: Final = {
    "inputs": {
        "start": "the application opens the connection",
        "accept": "the application accepts the client",
        "refuse": "the application refuses the client",
        "close": "the application closes the connection",
        "request": "the message `M` arrives",
        "acceptance": "a message that begins with `A` arrives",
        "refusal": "a message that begins with `H` arrives",
        "other": "any other message arrives",
        "closed": "what it depends on has ended: the connection, or the namespace",
        "connect": "the application connects the namespace, or joins the room",
        "disconnect": "the application disconnects the namespace, or leaves the room",
        "allow": "the application allows what the other peer asked for",
        "deny": "the application refuses what the other peer asked for",
        "ask-connect": "an ask to connect or to join arrives",
        "ask-disconnect": "an ask to disconnect or to leave arrives",
        "connect-done": "the empty reply to this peer's connect or join arrives",
        "connect-error": "an error reply to this peer's connect or join arrives",
        "disconnect-done": "the empty reply to this peer's disconnect or leave arrives",
        "disconnect-error": "an error reply to this peer's disconnect or leave arrives",
        "send": "the application sends an ask",
        "deadline": "the deadline of the ask passes",
        "reply": "a reply to the ask arrives; of an incoming ask, the application replies",
        "error": "an error reply to the ask arrives",
        "asked": "an ask of the other peer arrives",
        "reply-error": "the application replies with an error",
        "ignore": "the handler returns without a reply",
    },
    "guards": {
        "decides": "the application has a check for this",
        "decides-connect": "the application has a check for connects or joins",
        "decides-disconnect": "the application has a check for disconnects or leaves",
        "unknown": "the namespace is not declared, or the room has no name",
        "full": "a limit of this peer is reached",
        "deciding-full": "as many asks wait for the decision as the limit allows",
        "system-ask": "the ask connects, disconnects, joins or leaves",
    },
    "actions": {
        "send-request": "send `M`",
        "send-accept": "send `A` and the connection ID",
        "send-refuse": "send `H` and the error text",
        "ask-application": "ask the application, and go on when it has decided",
        "opened": "tell the application that the connection is open",
        "refused": "tell the application that the other peer refused, with the error text",
        "hold": "hold the message back",
        "release": "read the messages that were held back, in order",
        "read": "read the message as a frame or a native message",
        "violation": "report a violation to the application, and drop the message",
        "close": "close the connection",
        "ask": "send the system ask",
        "reply-done": "send the empty reply",
        "reply-unknown": "send an error reply: `bad namespace` or `bad room`",
        "reply-full": "send an error reply: `too many`",
        "reply-all-done": "send the empty reply to each ask that waits for the decision",
        "reply-all-refused": "send the application's error to each ask that waits for the decision",
        "queue": "let the ask wait for the decision",
        "withdraw": "tell the application that its answer is no longer needed",
        "connected": "tell the application that the namespace is connected, or the room joined",
        "disconnected": "tell the application that the namespace is disconnected, or the room left",
        "forced": "the same, because the connection or the namespace ended",
        "cancelled": "tell the application that its ask ended without a reply",
        "send": "send the ask",
        "unmatched": "handle the frame as one that is not a reply (AR-13)",
        "replied": "give the application the reply",
        "expired": "tell the application that the deadline passed",
        "deliver": "give the ask to its handler",
        "send-reply": "send the handler's reply",
        "send-error": "send the handler's error",
    },
}
"""What each word of the state tables means. A room uses the words of namespaces."""


def words() -> str:
    """Give the words of the state tables with what each means."""
    return "\n\n".join(
        text.table(
            (kind[:-1], "meaning"), ((f"`{word}`", text.cell(what)) for word, what in own.items())
        )
        for kind, own in WORDS.items()
    )


def rows_of(requirement: str) -> Iterator[tuple[str, Transition[Any]]]:
    """Give the rows that rest on a requirement, each with its machine's name."""
    for machine in machines().values():
        for row in _rows(machine):
            if any(requirement in ids for ids in row.requirements.values()):
                yield machine.name, row


def _rows(machine: StateMachine[Any]) -> Iterator[Transition[Any]]:
    for rows in machine.rows.values():
        yield from rows


# -------------------------------------------------------------------- the table


def table(name: str, kind: str = "") -> str:
    """Give a machine as a table in Markdown.

    Args:
        name: the machine.
        kind: whose requirements to name, where the machine serves several kinds of things.
    """
    machine = machines()[name]
    lines = []
    for state in machine.states:
        for row in (each for each in _rows(machine) if each.state == state):
            ids = row.requirements.get(kind) or row.requirements.get("", ())
            input_ = f"*{row.input}*" if row.input in machine.commands else row.input
            then = row.next if row.next != state else ""
            does = ", ".join(row.actions) or "nothing"
            lines.append((state, input_, row.guard, does, then, ", ".join(ids)))
    return text.table(("in state", "on", "if", "does", "then", "rests on"), lines)


# -------------------------------------------------------------------- the picture


@dataclass(frozen=True, slots=True)
class Edge:
    """What leads from one state to another.

    Attributes:
        begin: the state before.
        end: the state after it.
        labels: the inputs, with their guards in brackets.
        commands: which of the labels are commands of the application.
    """

    begin: str
    end: str
    labels: tuple[str, ...]
    commands: frozenset[str]


def edges(name: str) -> tuple[tuple[Edge, ...], tuple[str, ...]]:
    """Give the arrows of a machine's picture, and the inputs that it omits.

    What leaves the state as it is has no arrow. Nor has an input that leads from all states but
    one to that one: a sentence says it better than an arrow from everywhere.
    """
    machine = machines()[name]
    everywhere = _everywhere(machine)
    found: dict[tuple[str, str], dict[str, bool]] = {}
    for row in _rows(machine):
        if row.next != row.state and row.input not in everywhere:
            label = f"{row.input} [{row.guard}]" if row.guard else row.input
            labels = found.setdefault((row.state, row.next), {})
            labels[label] = row.input in machine.commands
    drawn = tuple(
        Edge(begin, end, tuple(labels), frozenset(each for each in labels if labels[each]))
        for (begin, end), labels in found.items()
    )
    return drawn, everywhere


def _everywhere(machine: StateMachine[Any]) -> tuple[str, ...]:
    if len(machine.states) < 3:
        return ()
    ends: dict[str, dict[str, str]] = {}
    for row in _rows(machine):
        ends.setdefault(row.input, {})[row.state] = row.next
    found = []
    for input_, moves in ends.items():
        moved = {state: end for state, end in moves.items() if state != end}
        if len(set(moved.values())) == 1 and len(moved) == len(machine.states) - 1:
            found.append(input_)
    return tuple(found)


def picture(name: str, *, title: str = "") -> str:
    """Draw a machine as a figure in HTML."""
    machine, layout = machines()[name], _LAYOUTS[name]
    drawn, everywhere = edges(name)
    about = title or f"{TITLES[name]}: {machine.about}"
    title = title or TITLES[name]
    caption = f"{about}. What the application does is in italics, "
    caption += "what arrives upright. Inputs that change no state are in the table alone."
    if everywhere:
        last = next(row.next for row in _rows(machine) if row.input == everywhere[0])
        verb = "leads" if len(everywhere) == 1 else "lead"
        caption += (
            f" Not drawn: {' and '.join(everywhere)}, which {verb} from every other state to "
            f"{last}."
        )
    begins = {state: role for role, state in machine.initial.items() if role != "native-only"}
    said = "; ".join(f"from {e.begin} to {e.end} on {', '.join(e.labels)}" for e in drawn)
    parts = [
        '<figure class="states" data-search-exclude>',
        f'<div class="wide" tabindex="0" role="group" aria-label="{attribute(title)}">',
        f'<svg viewBox="0 0 {layout.width} {layout.height}" role="img" '
        f'aria-labelledby="{name}-title {name}-desc">',
        f'<title id="{name}-title">{attribute(title)}: state diagram</title>',
        f'<desc id="{name}-desc">States: {attribute(", ".join(machine.states))}. '
        f"Transitions: {attribute(said)}.</desc>",
        f'<defs><marker id="{name}-head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="9" '
        'markerHeight="9" markerUnits="userSpaceOnUse" orient="auto">'
        '<path class="head" d="M0 0.8 10 5 0 9.2Z"/></marker></defs>',
    ]
    placed = [_arrow(layout, edge, name) for edge in drawn]
    parts += [line for line, _ in placed]
    parts += [_state(layout, state, state in begins) for state in machine.states]
    parts += [label for _, label in placed]  # above everything else, to be read
    parts += ["</svg>", "</div>", f"<figcaption>{attribute(caption)}</figcaption>", "</figure>"]
    return "\n".join(parts)


def _state(layout: _Layout, state: str, is_first: bool) -> str:
    x, y = layout.states[state]
    width = _width(state)
    return (
        f'<g class="state{" first" if is_first else ""}">'
        f'<rect x="{x - width / 2:.1f}" y="{y - _HEIGHT / 2:.1f}" width="{width:.1f}" '
        f'height="{_HEIGHT}" rx="9"/>'
        f'<text x="{x}" y="{y + 5}" text-anchor="middle">{state}</text></g>'
    )


def _width(state: str) -> float:
    return len(state) * _LETTER + _PADDING


_Point = tuple[float, float]


def _arrow(layout: _Layout, edge: Edge, name: str) -> tuple[str, str]:
    """Give the line of an arrow and its label."""
    first, last = layout.states[edge.begin], layout.states[edge.end]
    dx, dy = last[0] - first[0], last[1] - first[1]
    length = (dx * dx + dy * dy) ** 0.5
    bend = layout.bends.get((edge.begin, edge.end), 0) * 2  # the curve goes half as far
    middle = (
        (first[0] + last[0]) / 2 + dy / length * bend,
        (first[1] + last[1]) / 2 - dx / length * bend,
    )

    def at(t: float, u: float) -> _Point:
        """The blossom of the curve: its point where both are the same."""
        weights = (1 - t) * (1 - u), (1 - t) * u + (1 - u) * t, t * u
        return (
            sum(w * p[0] for w, p in zip(weights, (first, middle, last), strict=True)),
            sum(w * p[1] for w, p in zip(weights, (first, middle, last), strict=True)),
        )

    ts = [step / _STEPS for step in range(_STEPS + 1)]
    begin = next(t for t in ts if not _inside(layout, edge.begin, at(t, t)))
    end = next(t for t in reversed(ts) if not _inside(layout, edge.end, at(t, t)))
    points = at(begin, begin), at(begin, end), at(end, end)
    (x0, y0), (x1, y1), (x2, y2) = points
    line = (
        f'<path class="edge" d="M{x0:.1f} {y0:.1f}Q{x1:.1f} {y1:.1f} {x2:.1f} {y2:.1f}" '
        f'marker-end="url(#{name}-head)"/>'
    )
    t = layout.slides.get((edge.begin, edge.end), 0.5)
    x, y = at(t, t)
    top = y - _LINE * (len(edge.labels) - 1) / 2 + 4
    label = "".join(
        f'<text class="label{" command" if each in edge.commands else ""}" x="{x:.1f}" '
        f'y="{top + _LINE * index:.1f}" text-anchor="middle">{attribute(each)}</text>'
        for index, each in enumerate(edge.labels)
    )
    return line, label


def _inside(layout: _Layout, state: str, point: _Point) -> bool:
    x, y = layout.states[state]
    return abs(point[0] - x) < _width(state) / 2 + _GAP and abs(point[1] - y) < _HEIGHT / 2 + _GAP
