"""The registry and the grammar, a frame taken apart, and two pictures, as Markdown."""

from __future__ import annotations

import re
from importlib.resources import files
from typing import Final

from generate.text import attribute, cell, code, table, verbatim
from neffos_codec import decode
from neffos_protocol import registry

GROUPS: Final = {
    "frame": "The frame",
    "handshake": "The handshake",
    "request-event": "Events that ask for something",
    "notification-event": "Events for the application, never sent",
    "pseudo-event": "Names of kinds of handlers",
    "token": "Tokens",
    "exchange": "Between servers",
    "error-text": "Error texts",
    "http": "HTTP",
    "close-code": "Close codes",
}
"""The groups of the registry in the words of the pages."""


# -------------------------------------------------------------------- the registry


def constants(group: str, *, anchors: bool = False) -> str:
    """Give one group of the registry as a table.

    Args:
        group: which one.
        anchors: make each constant's name an anchor, on the page that has all of them.
    """
    rows = []
    for each in registry.group(group):
        values = each.value if isinstance(each.value, tuple) else (each.value,)
        shown = " ".join(code(_escaped(str(value))) for value in values)
        anchor = f' id="{each.name}"' if anchors else ""
        meaning = f"{cell(each.meaning)} <small>{', '.join(each.requirements)}</small>"
        rows.append((f"{shown}<br><small{anchor}>{each.name}</small>", meaning))
    return table(("value", "meaning"), rows)


def _escaped(value: str) -> str:
    return {"\t": r"\t", "\r": r"\r", "\n": r"\n", " ": "space"}.get(value, value)


def whole_registry() -> str:
    """Give all groups of the registry, each under its title."""
    names = dict.fromkeys(each.group for each in registry.constants().values())
    return "\n\n".join(f"## {GROUPS[name]}\n\n{constants(name, anchors=True)}" for name in names)


# -------------------------------------------------------------------- the grammar


def grammar() -> str:
    """Give the text of the grammar."""
    return files("neffos_protocol.data").joinpath("neffos.abnf").read_text("utf-8")


def grammar_section(title: str) -> str:
    """Give one section of the grammar as a block of code.

    Raises:
        KeyError: there is no section of that title.
    """
    parts = re.split(r"^; ---- (.+?) ----\n", grammar(), flags=re.MULTILINE)
    sections = dict(zip(parts[1::2], parts[2::2], strict=True))
    return f"```abnf\n{sections[title].strip()}\n```"


# -------------------------------------------------------------------- a frame


def decoded(payload: str) -> str:
    """Take a text frame apart: its seven fields, as the codec reads them."""
    message = decode(payload)
    raw = payload.split(";", 6)
    rows = []
    for name, wire, value in zip(wire_names(), raw, message.fields(), strict=True):
        read = f"*{str(value).lower()}*" if isinstance(value, bool) else code(str(value))
        rows.append((f"`{name}`", code(wire), read))
    return table(("field", "on the wire", "read"), rows)


def wire_names() -> tuple[str, ...]:
    """Give the names of the fields as the protocol writes them."""
    value = registry.constant("frame.fields").value
    return value if isinstance(value, tuple) else (str(value),)


# -------------------------------------------------------------------- the layout


def layout() -> str:
    """Draw a frame with its seven fields as a figure in HTML."""
    payload = "$1;chat;lobby;say;0;0;hi; there"
    raw = payload.split(";", 6)
    names = wire_names()
    about = [
        "token of an ask",
        "group of events",
        "room in it",
        "name of the event",
        "1: the body is an error",
        "1: do nothing",
        "all the rest",
    ]
    width, left, top = 22, 36, 58
    parts = [
        '<figure class="layout" data-search-exclude>',
        '<div class="wide" tabindex="0" role="group" aria-label="The layout of a frame">',
        f'<svg viewBox="0 0 {len(payload) * width + 2 * left} 146" role="img" '
        'aria-labelledby="layout-title layout-desc">',
        '<title id="layout-title">The layout of a frame</title>',
        f'<desc id="layout-desc">The frame {attribute(payload)}, byte by byte: '
        + attribute("; ".join(f"{n}: {r or 'empty'}" for n, r in zip(names, raw, strict=True)))
        + ". Each of the first six fields ends with a semicolon.</desc>",
    ]
    x = left
    for index, (name, field, what) in enumerate(zip(names, raw, about, strict=True)):
        span = len(field) * width
        is_high = index in (1, 3, 5)  # or the names of neighbours would overlap
        middle = x + span / 2
        y1, y2 = (top - 3, top - 14) if is_high else (top + 37, top + 48)
        name_y, what_y = (y2 - 18, y2 - 4) if is_high else (y2 + 14, y2 + 28)
        parts += [
            f'<g class="field f{index}">',
            f'<rect x="{x}" y="{top}" width="{span}" height="34" rx="4"/>',
            *(
                _text("byte", f"{x + (offset + 0.5) * width:.1f}", top + 23, each)
                for offset, each in enumerate(field.replace(" ", "␣"))
            ),
            f'<line x1="{middle}" x2="{middle}" y1="{y1}" y2="{y2}"/>',
            _text("name", middle, name_y, name),
            _text("what", middle, what_y, what),
            "</g>",
        ]
        x += span
        if index < 6:
            parts.append(_text("separator", x + width / 2, top + 23, ";"))
            x += width
    parts += [
        "</svg>",
        "</div>",
        "<figcaption>One frame, byte by byte. The separators in grey end the first six fields; "
        f"the <code>{verbatim(';')}</code> in the body is a part of the body.</figcaption>",
        "</figure>",
    ]
    return "\n".join(parts)


# -------------------------------------------------------------------- the overview


def overview() -> str:
    """Draw a connection with its namespaces, their rooms, and events, as a figure in HTML."""
    events = ("say", "ask → reply", "headline")
    parts = [
        '<figure class="overview" data-search-exclude>',
        '<svg viewBox="0 0 340 372" role="img" aria-labelledby="overview-title overview-desc">',
        '<title id="overview-title">A connection, its namespaces, rooms and events</title>',
        '<desc id="overview-desc">A client and a server share one WebSocket connection. It '
        "contains the namespaces chat and news. The namespace chat contains the rooms lobby and "
        "garden, the namespace news the room sport. Events go in both directions.</desc>",
        _box("peer", 90, 2, 160, 34, "client"),
        _box("peer", 90, 336, 160, 34, "server"),
        _box("connection", 2, 48, 336, 276, "connection: one WebSocket"),
    ]
    for namespace, x, width, names in (
        ("chat", 14, 180, ("lobby", "garden")),
        ("news", 206, 120, ("sport",)),
    ):
        parts.append(_box("namespace", x, 82, width, 98, f"namespace {namespace}"))
        share = (width - 20) // len(names)
        for place, room in enumerate(names):
            left = x + 12 + place * share
            parts.append(_box("room", left, 116, share - 4, 52, room))
            parts.append(_text("what", left + (share - 4) / 2, 155, "room"))
    for place, event in enumerate(events):
        middle = 62 + place * 108
        ends = (276, 224) if place == 2 else (224, 276)
        parts += [
            f'<path class="event" d="M{middle} {ends[0]}V{ends[1]}" '
            'marker-end="url(#overview-head)"/>',
            _text("event", middle, 212, f"event {event}"),
        ]
    parts += [
        _text("what", 170, 294, "each event names its namespace,"),
        _text("what", 170, 311, "and may name a room"),
        '<defs><marker id="overview-head" viewBox="0 0 10 10" refX="9" refY="5" markerWidth="9" '
        'markerHeight="9" markerUnits="userSpaceOnUse" orient="auto">'
        '<path class="head" d="M0 0.8 10 5 0 9.2Z"/></marker></defs>',
        "</svg>",
        "<figcaption>One connection carries several namespaces. A namespace has events of its own, "
        "and rooms, to which a server broadcasts. Both ends send events.</figcaption>",
        "</figure>",
    ]
    return "\n".join(parts)


def _box(kind: str, x: int, y: int, width: int, height: int, label: str) -> str:
    return (
        f'<g class="{kind}"><rect x="{x}" y="{y}" width="{width}" height="{height}" rx="8"/>'
        f"{_text('label', x + width / 2, y + 22, label)}</g>"
    )


def _text(kind: str, x: object, y: int, text: str) -> str:
    return f'<text class="{kind}" x="{x}" y="{y}" text-anchor="middle">{attribute(text)}</text>'
