"""The measured frames.

Every implementation gets these descriptions as JSON and builds its own payloads from them, in the
type of its WebSocket library.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

FILL: Final = "abcdefghijklmnopqrstuvwxyz"
"""The text of bodies. No format has to escape ASCII letters, so that the rows differ by their work
on the frame, not on the text."""


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame: its head as on the wire, filled with ``FILL`` to its size."""

    key: str
    label: str
    head: str
    size: int
    binary: bool = False


PLAIN: Final = "$1790000000000000000;chat;room1;message;0;0;"

ESCAPED: Final = (
    "$1790000000000000000;ch@%!semicolon@%!at;ro@%!semicolon@%!om;mess@%!semicolon@%!age;0;0;"
)
"""``ch;at``, ``ro;om`` and ``mess;age``."""

FRAMES: Final = (
    Frame("text", "100 B text", PLAIN, 100),
    Frame("binary", "100 B binary", PLAIN, 100, binary=True),
    Frame("escapes", "100 B escapes", ESCAPED, 100),
    Frame("text-64k", "64 KiB text", PLAIN, 64 << 10),
    Frame("text-1m", "1 MiB text", PLAIN, 1 << 20),
    Frame("binary-1m", "1 MiB binary", PLAIN, 1 << 20, binary=True),
)

DIRECTIONS: Final = ("decode", "encode")
