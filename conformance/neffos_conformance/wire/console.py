"""A terminal for tables, progress and colours.

It is a module of its own since ``rich`` takes longer to import than most commands take to run.
"""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from neffos_conformance.wire.terminal import discard, visible_lines


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
        discard(self.file)
