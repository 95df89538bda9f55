"""Standard output and standard error, whatever is written there and whoever reads it.

Every command writes through ``echo``, or ``Terminal`` of ``console.py``. Nothing that passes can
control a terminal: what a caller forgot to escape is escaped here. A character that the encoding
lacks becomes a similar one or an escape. A reader that has enough, such as ``head``, changes no
exit status.
"""

from __future__ import annotations

import codecs
import io
import os
import sys
from typing import Any, Final

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
    lines = text.split("\n")
    return text if all(map(str.isprintable, lines)) else "\n".join(map(_visible, lines))


def echo(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Write a text of any number of lines to standard output, or to standard error."""
    stream = sys.stderr if err else sys.stdout
    try:
        stream.write(visible_lines(text) + ("\n" if nl else ""))
        stream.flush()
    except BrokenPipeError:
        discard(stream)


def flush() -> None:
    """Write what the streams still hold; where no one reads it, it is discarded."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            discard(stream)


def discard(stream: Any) -> None:
    """Let a stream whose reader has gone end nowhere, also when the interpreter flushes it."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, stream.fileno())
    except (OSError, io.UnsupportedOperation):  # a stream without a descriptor
        pass
    finally:
        os.close(nowhere)


def _visible(text: str, *, ascii_only: bool = False) -> str:
    """Escape a text of one line; few texts need it, and most commands start without the session."""
    from neffos_protocol.text import visible

    return visible(text, ascii_only=ascii_only)


def _similar(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    found = error.object[error.start : error.end]
    shown = (SIMILAR.get(each) or _visible(each, ascii_only=True) for each in found)
    return "".join(shown), error.end


codecs.register_error(ERRORS, _similar)
