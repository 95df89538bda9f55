"""The registry, the differences and the grammar, and a frame taken apart, as Markdown."""

from __future__ import annotations

import re
from importlib.resources import files
from textwrap import indent
from typing import Final

from generate.recordings import SUITE, figure, of_difference
from generate.text import attribute, cell, code, sentence, table, verbatim
from neffos_codec import decode
from neffos_protocol import registry
from neffos_protocol.catalogue import Difference, Evidence, differences

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


# -------------------------------------------------------------------- differences


def all_differences(root: str) -> str:
    """Give every difference: what each peer does, the choice, and recordings that show it."""
    return "\n\n".join(_difference(one, root) for one in differences().values())


def _difference(one: Difference, root: str) -> str:
    parts = [
        f"## {one.title} {{#{one.id}}}",
        f'<p class="dv-id">{one.id}</p>',
        "\n".join(
            f"- **{', '.join(each.peers)}**{f' on {each.backend}' if each.backend else ''}: "
            f"{cell(each.does)}. <small>{_EVIDENCE[each.evidence]}</small>"
            for each in one.behaviours
        ),
        f"**The specification**: {sentence(one.choice)} ({', '.join(one.requirements)})",
        f"**What it means**: {sentence(one.consequence)}",
    ]
    for recording in of_difference(one.id):
        client, server = recording.between
        peer = server if client == SUITE else client
        parts.append(
            f'??? example "Recorded with {attribute(peer)}"\n\n'
            + indent(figure(recording, root, key=recording.name.replace("/", "-")), "    ")
        )
    if one.unrecorded:
        parts.append(f"**No recording**: {sentence(one.unrecorded)}")
    return "\n\n".join(parts)


_EVIDENCE: Final = {Evidence.MEASURED: "Measured.", Evidence.READ: "Read in the source."}


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


def _text(kind: str, x: object, y: int, text: str) -> str:
    return f'<text class="{kind}" x="{x}" y="{y}" text-anchor="middle">{attribute(text)}</text>'
