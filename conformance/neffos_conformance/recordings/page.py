"""A recorded session as an SVG picture, and as a page with the fields and bytes of each message.

The page needs no script and nothing from elsewhere, and forbids both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Final

from jinja2 import Environment, FunctionLoader, StrictUndefined
from rich.cells import chop_cells

from neffos_conformance import VERSION
from neffos_conformance.cases.script import BROKER
from neffos_conformance.data import FOLDER
from neffos_conformance.recordings.diagram_summary import summary
from neffos_conformance.recordings.observed_state import ObservedState
from neffos_conformance.recordings.sequence import (
    KEPT,
    Arrow,
    Diagram,
    DiagramRow,
    facts,
    peer_name,
    server_names,
)
from neffos_conformance.wire.payloads import payload_text
from neffos_conformance.wire.text import clock, counted, hexdump, shorten, wrap
from neffos_conformance.wire.transcript import UnreadableLine
from neffos_protocol.text import visible

MAX_LIFELINES: Final = 6
"""Clients with a lifeline of their own. More share one, and each arrow has its connection's
number."""

SERVER_X: Final = 97.0
_FIRST_X: Final = 3.0
_STEP_X: Final = 5.0
_SERVER_STEP_X: Final = 10.0
"""The lifelines, in per cent of the picture's width: it fits a telephone and a desk."""

_MOST_X: Final = 50.0
"""What the servers and the broker have of the picture at most, likewise."""

_LINE: Final = 17
_ARROW: Final = 12
_GAP: Final = 20
_HEAD: Final = 40
"""Heights in pixels: a line of text, what an arrow needs, between two rows, above the first."""

_TEXT: Final = 40
"""Cells of text beside one lifeline on a telephone of 360 pixels."""

_WIDER: Final = 3
"""Cells fewer that a payload has: its type has characters of one width, which is wider."""

_PAYLOAD_LINES: Final = 3
"""Lines of a payload: enough for nearly all frames. The message has the rest."""


@dataclass(frozen=True, slots=True)
class PlacedRow:
    """A row with its position; heights are in pixels, widths in per cent.

    Attributes:
        row: the row.
        y: its upper edge.
        height: its height.
        words: its sentence in lines, above the arrow.
        arrow_y: the arrow, below the upper edge.
        from_x: the beginning of the arrow.
        to_x: its end.
        below: the payload in lines, of which the first follows the time below the arrow.
        notes: the violations in lines.
    """

    row: DiagramRow
    y: int
    height: int
    words: tuple[str, ...]
    arrow_y: int = 0
    from_x: float = 0
    to_x: float = 0
    below: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Picture:
    """A diagram with the positions of its parts.

    Attributes:
        height: in pixels; the width is that of its container.
        lifelines: the clients' lines: the label and the position of each.
        servers: those of the servers and the broker, likewise.
        text_x: the left edge of text.
        text_width: the width of text.
        rows: the rows.
    """

    height: int
    lifelines: tuple[tuple[str, float], ...]
    servers: tuple[tuple[str, float], ...]
    text_x: float
    text_width: float
    rows: tuple[PlacedRow, ...]


def picture(diagram: Diagram) -> Picture:
    """Give the position of each part of a diagram."""
    numbers = diagram.connections
    are_apart = 0 < len(numbers) <= MAX_LIFELINES
    lines = numbers if are_apart else [0]
    places = {number: _FIRST_X + _STEP_X * index for index, number in enumerate(lines)}
    text_x = places[lines[-1]] + 2.5
    ends = diagram.ends
    step = min(_SERVER_STEP_X, _MOST_X / len(ends))
    servers = {each: SERVER_X - step * (len(ends) - 1 - at) for at, each in enumerate(ends)}
    width = servers[ends[0]] - 2 - text_x
    cells = int(_TEXT * width / (SERVER_X - _FIRST_X - 4.5))
    placed: list[PlacedRow] = []
    y = _HEAD
    for row in diagram.rows:
        if isinstance(row, UnreadableLine):
            words = tuple(wrap(f"Line {row.line} cannot be read: {row.reason}", cells))
            each = PlacedRow(row, y, _LINE * len(words), words)
        else:
            each = _placed(row, y, cells, _ends_of(row, places, servers, step), not are_apart)
        placed.append(each)
        y += each.height + _GAP
    return Picture(y, _labelled(places), _labelled(servers), text_x, round(width, 2), tuple(placed))


def _labelled(places: dict[int, float]) -> tuple[tuple[str, float], ...]:
    """Give lifelines with the labels that tell them apart."""
    if len(places) == 1:
        return tuple(("", round(x, 2)) for x in places.values())
    return tuple(
        ("broker" if number == BROKER else str(number), round(x, 2)) for number, x in places.items()
    )


def _ends_of(
    arrow: Arrow, places: dict[int, float], servers: dict[int, float], step: float
) -> tuple[float, float]:
    """Give where an arrow begins and ends; that of an unknown server begins beside the broker."""
    if arrow.is_published:
        broker = servers[BROKER]
        return servers[arrow.node] if arrow.node else broker - step / 2, broker
    client, server = places.get(arrow.connection, _FIRST_X), servers[arrow.node]
    return (client, server) if arrow.from_client else (server, client)


def _placed(
    arrow: Arrow, y: int, cells: int, ends: tuple[float, float], is_numbered: bool
) -> PlacedRow:
    words = tuple(wrap(arrow.numbered_words if is_numbered else arrow.words, cells))
    width = cells - _WIDER
    below: tuple[str, ...] = ()
    if arrow.payload is not None:
        text = shorten(visible(payload_text(arrow.payload[:KEPT])), _PAYLOAD_LINES * width)
        below = tuple(chop_cells(text, width))
    notes: list[str] = []
    for violation in arrow.violations:
        notes += wrap(str(violation), cells)
    arrow_y = _LINE * len(words) + 4
    height = _LINE * (len(words) + max(1, len(below)) + len(notes)) + _ARROW - 2
    return PlacedRow(arrow, y, height, words, arrow_y, *ends, below, tuple(notes))


# -------------------------------------------------------------------- templates


def asset(name: str) -> str:
    """Read a file that belongs to the templates."""
    return (FOLDER / "templates" / name).read_text("utf-8")


@cache
def environment() -> Environment:
    """Give the templates. They escape everything, and an undefined name is an error."""
    environment = Environment(
        loader=FunctionLoader(asset),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"visible": visible, "clock": clock}
    return environment


def svg(diagram: Diagram) -> str:
    """Draw a diagram as an ``svg`` element, which fits any width and follows its page's colours.

    Each arrow is a link to ``#m`` and its line, and has the id ``a`` and its line.
    """
    return environment().get_template("sequence.svg").render(**_names(diagram))


def page(
    diagram: Diagram, source: str, states: Mapping[int, ObservedState] = MappingProxyType({})
) -> str:
    """Write a diagram as a page of its own.

    Args:
        diagram: what the page shows.
        source: the recording's name.
        states: the states of the connections to show, by line.
    """
    template = environment().get_template("sequence.html")
    return template.render(**_names(diagram, states), source=visible(source))


def fragment(diagram: Diagram, states: Mapping[int, ObservedState]) -> str:
    """Write the picture and the messages of a diagram as part of a page; see ``page``."""
    return environment().get_template("workbench_view.html").render(**_names(diagram, states))


def _names(
    diagram: Diagram, states: Mapping[int, ObservedState] = MappingProxyType({})
) -> dict[str, object]:
    header = diagram.header
    return {
        "diagram": diagram,
        "states": states,
        "picture": picture(diagram),
        "title": shorten(visible(str(header.get("scenario", ""))), 200) or "a recorded session",
        "client": peer_name(header, "client"),
        "server": server_names(header),
        "facts": facts(header),
        "summary": summary(diagram),
        "hexdump": hexdump,
        "field_rows": _field_rows,
        "size": _size,
        "is_arrow": lambda row: isinstance(row, Arrow),
        "version": VERSION,
    }


def _size(arrow: Arrow) -> str:
    """Describe the size of a message, and how much of it is shown."""
    unit = "byte" if isinstance(arrow.payload, bytes) else "character"
    kind = "binary" if isinstance(arrow.payload, bytes) else "text"
    kept = len(arrow.payload or "")
    cut = "" if kept == arrow.size else f"; the first {kept:,} are shown, -v shows all"
    return f"{kind}, {counted(arrow.size, unit)}{cut}"


def _field_rows(arrow: Arrow) -> list[tuple[str, str]]:
    """Give the seven fields as they are shown: name and value."""
    rows = []
    for name, value in arrow.fields:
        if isinstance(value, bool):
            shown = "1" if value else "0"
        else:
            cut = "…" if len(value) == KEPT < arrow.size else ""
            shown = visible(payload_text(value)) + cut
        rows.append((name, shown))
    return rows
