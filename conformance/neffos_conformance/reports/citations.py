"""Requirement IDs in the comments of sources: where a source cites a requirement.

Pygments finds the comments of any language. This module does not know what a comment claims.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from pygments.lexers import find_lexer_class_for_filename
from pygments.token import Comment, String
from pygments.util import ClassNotFound

from neffos_conformance.wire.packed import cannot_be_read
from neffos_protocol.catalogue import requirements
from neffos_protocol.text import visible

MAX_SOURCE: Final = 4 << 20
"""Bytes of a source. One written by hand has some ten thousand; a larger one is generated."""

MAX_RANGE: Final = 100
"""Requirements that ``NS-1 to NS-9`` may name; no family has as many."""

SKIPPED: Final = frozenset({"__pycache__", "build", "node_modules", "target"})
"""Folders of what others wrote and of builds. Names that begin with a dot are skipped, too."""


class CitationError(ValueError):
    """Sources or a kill matrix that cannot be read; the text says why, on one line."""


@dataclass(frozen=True, slots=True)
class Citation:
    """A requirement ID in a comment.

    Attributes:
        id: the ID.
        path: the source.
        line: the line, from 1 on.
    """

    id: str
    path: Path
    line: int

    def __str__(self) -> str:
        return f"{visible(str(self.path))}:{self.line}"


def citations(sources: Iterable[Path]) -> Iterator[Citation]:
    """Find the citations in sources, which are files or folders, in the order of their lines.

    Raises:
        CitationError: a source cannot be read, or nothing knows the language of a file.
    """
    for source in sources:
        for path in _files(source):
            yield from _cited_in(path, is_named=path == source)


def _files(source: Path) -> Iterator[Path]:
    if not source.is_dir():
        yield source
        return
    for folder, folders, names in os.walk(source):
        folders[:] = sorted(each for each in folders if each not in SKIPPED and each[0] != ".")
        yield from (Path(folder, name) for name in sorted(names))


def _cited_in(path: Path, *, is_named: bool) -> Iterator[Citation]:
    try:
        lexer = _lexer(path.suffix or path.name)
        if lexer is None and not is_named:
            return
        if path.stat().st_size > MAX_SOURCE:
            raise CitationError(f"{path} has over {MAX_SOURCE >> 20} MiB. Try: leave it out")
        text = path.read_text("utf-8", "replace")
    except OSError as error:
        raise CitationError(cannot_be_read(path, error)) from error
    if lexer is None:
        raise CitationError(f"{path}: its language is not known. Try: a suffix such as .go")
    if not _pattern().search(text):  # most files: to find their comments takes much longer
        return
    line = 1
    for kind, value in lexer().get_tokens(text):
        if (kind in Comment and kind not in Comment.Preproc) or kind in String.Doc:
            for found in _pattern().finditer(value):
                at = line + value.count("\n", 0, found.start())
                yield from (Citation(id_, path, at) for id_ in _named(found))
        line += value.count("\n")


@cache
def _lexer(suffix: str) -> Any:
    """Give the lexer of a language by the end of a file's name; ``None`` for texts and unknowns."""
    if suffix.lower() in (".txt", ".md", ".rst", ".json"):  # prose has no comments
        return None
    try:
        return find_lexer_class_for_filename(f"source{suffix}" if suffix[0] == "." else suffix)
    except ClassNotFound:
        return None


@cache
def _pattern() -> re.Pattern[str]:
    families = "|".join({each.family for each in requirements().values()})
    # RM-1.c2 is a case of RM-1, which is cited with it; LONG-FR-1 is none.
    one = rf"(?<![\w-])({families})-(\d{{1,4}})(?![\w-])"
    return re.compile(rf"{one}(?:(?:\s+to\s+|\s*(?:\.\.|\u2013)\s*)\1-(\d{{1,4}}))?")


def _named(found: re.Match[str]) -> Iterator[str]:
    family, first, last = found.groups()
    end = min(int(last or first), int(first) + MAX_RANGE)
    yield from (f"{family}-{number}" for number in range(int(first), end + 1))
