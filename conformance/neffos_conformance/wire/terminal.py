"""Standard output and standard error, whatever is written there and whoever reads it.

Every command writes through ``Terminal`` or ``echo``. Nothing that passes can control a terminal:
what a caller forgot to escape is escaped here. A character that the encoding lacks becomes a
similar one or an escape. A reader that has enough, such as ``head``, changes no exit status.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Iterable
from typing import Any, Final

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from neffos_protocol.text import visible

ERRORS: Final = "neffos-wire"
"""The error handler for characters that an encoding lacks; see ``codecs.register_error``."""

SIMILAR: Final = {
    "…": "...",
    "→": "->",
    "←": "<-",
    "►": ">",
    "◄": "<",
    "─": "-",
    "│": "|",
    "✗": "!",
    "·": ".",
    "“": '"',
    "”": '"',
    "—": "-",
}
"""What the suite itself writes, for encodings without it."""


def set_up() -> None:
    """Make the standard streams accept any text. The command line does it once."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=ERRORS)


def visible_lines(text: str) -> str:
    """Escape a text as ``visible`` does, but keep its lines."""
    return text if text.isprintable() else "\n".join(map(visible, text.split("\n")))


def echo(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Write a text of any number of lines to standard output, or to standard error."""
    stream = sys.stderr if err else sys.stdout
    try:
        stream.write(visible_lines(text) + ("\n" if nl else ""))
        stream.flush()
    except BrokenPipeError:
        _discard(stream)


def flush() -> None:
    """Write what the streams still hold; where no one reads it, it is discarded."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            _discard(stream)


class Terminal(Console):
    """A console of ``rich`` through which no control character of a text comes."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render as ``rich`` does, then escape; its own control codes are segments apart."""
        for segment in super().render(renderable, options):
            text, style, control = segment
            is_plain = control is not None or text.isprintable()
            yield segment if is_plain else Segment(visible_lines(text), style)

    def on_broken_pipe(self) -> None:
        """Discard what follows; the command goes on, and its exit status is its own."""
        _discard(self.file)


def _discard(stream: Any) -> None:
    """Let a stream whose reader has gone end nowhere, also when the interpreter flushes it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, stream.fileno())
    except (OSError, io.UnsupportedOperation):  # a stream without a descriptor
        pass
    finally:
        os.close(nowhere)


def _similar(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    found = error.object[error.start : error.end]
    shown = (SIMILAR.get(each) or visible(each, ascii_only=True) for each in found)
    return "".join(shown), error.end


codecs.register_error(ERRORS, _similar)
