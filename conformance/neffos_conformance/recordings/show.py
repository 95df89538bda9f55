"""Draws a recorded session on a terminal, as a sequence diagram."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple

from rich.cells import cell_len
from rich.text import Text

from neffos_conformance.cases.script import BROKER
from neffos_conformance.recordings.check_report import RecordedViolation
from neffos_conformance.recordings.diagram_summary import summary
from neffos_conformance.recordings.sequence import (
    Arrow,
    ArrowKind,
    Diagram,
    facts,
    peer_name,
    server_names,
)
from neffos_conformance.wire.console import Terminal
from neffos_conformance.wire.payloads import payload_text
from neffos_conformance.wire.text import clock, shorten, wrap
from neffos_conformance.wire.transcript import UnreadableLine
from neffos_protocol.text import visible

_STYLES: Final = {
    ArrowKind.OPENING: "dim",
    ArrowKind.HANDSHAKE: "cyan",
    ArrowKind.ASK: "bold",
    ArrowKind.REPLY: "green",
    ArrowKind.EVENT: "",
    ArrowKind.ERROR: "yellow",
    ArrowKind.NATIVE: "magenta",
    ArrowKind.STRAY: "magenta",
    ArrowKind.CLOSE: "dim",
}

_MIN_TEXT: Final = 40
"""Cells between the last client and the first server. Where more clients leave less, they share one
lifeline."""

_APART: Final = 6
"""Cells from one server, or the broker, to the next: as many as the word ``broker`` has."""


class _Signs(NamedTuple):
    """The characters that lines consist of."""

    bar: str = "│"
    dash: str = "─"
    cross: str = "┼"
    from_client: tuple[str, str] = "├", "►"
    to_client: tuple[str, str] = "◄", "┤"
    unreadable: str = "┄"
    unknown: str = "┄"
    violation: str = "✗"


_ASCII: Final = _Signs("|", "-", "+", ("|", ">"), ("<", "|"), "~", "~", "!")

_Line = list[tuple[str, str]]
"""The parts of one line, each with its style."""


def draw(console: Terminal, diagram: Diagram, source: str, *, whole: bool = False) -> None:
    """Draw a diagram on a terminal, or into a pipe.

    Args:
        console: without markup, which payloads must not be read as.
        diagram: the diagram.
        source: the recording's name.
        whole: write payloads whole instead of on one line.
    """
    is_ascii = console.options.ascii_only
    for line in _Drawing(diagram, console.width, whole=whole, is_ascii=is_ascii).lines(source):
        text = Text(no_wrap=True, end="\n")
        for content, style in line:
            text.append(_plain(content, is_ascii), style)
        text.rstrip()
        console.print(text, soft_wrap=True)


class _Drawing:
    """A diagram as lines; positions and widths are in cells."""

    def __init__(self, diagram: Diagram, width: int, *, whole: bool, is_ascii: bool) -> None:
        self._diagram, self._width = diagram, width
        self._whole, self._is_ascii = whole, is_ascii
        self._signs = _ASCII if is_ascii else _Signs()
        self._digits = max([4, *(len(str(row.line)) for row in diagram.rows)])
        start = len(self._gutter())
        wide = _APART * (len(diagram.ends) - 1)
        self._server = max(width, start + _MIN_TEXT + 6 + wide) - 1 - wide
        # The lifeline of each server, and of the broker.
        self._servers = {each: self._server + _APART * at for at, each in enumerate(diagram.ends)}
        numbers = diagram.connections
        step = max((len(str(each)) for each in numbers), default=1) + 2
        self._last = start + max(len(numbers) - 1, 0) * step
        # The lifeline of each connection; none if they share one.
        self._clients = {each: start + index * step for index, each in enumerate(numbers)}
        if len(numbers) > 1 and self._server - self._last - 3 < _MIN_TEXT:
            self._clients, self._last = {}, start
        # Between the last client and the server, without the space around text.
        self._text = self._server - self._last - 3

    def lines(self, source: str) -> Iterator[_Line]:
        header = self._diagram.header
        scenario = shorten(visible(str(header.get("scenario", ""))), 400)
        yield from self._paragraph(scenario or "a recorded session", "bold")
        known = dict(facts(header))
        labels = {"recorded": "recorded", "how": "how:", "native": "native:"}
        origin = [source, *(f"{labels[key]} {known[key]}" for key in labels if key in known)]
        yield from self._paragraph(", ".join(origin), "dim")
        yield []
        last = max(self._servers.values())
        half = (last - len(self._gutter())) // 2
        left, right = (
            shorten(_plain(f"{role} {names}", self._is_ascii), half)
            for role, names in (
                ("client", peer_name(header, "client")),
                ("server" if len(self._servers) == 1 else "servers", server_names(header)),
            )
        )
        gap = last + 1 - len(self._gutter()) - cell_len(left) - cell_len(right)
        yield [(self._gutter("line", "time"), "dim"), (left + " " * gap + right, "bold")]
        if len(self._clients) > 1 or len(self._servers) > 1:
            numbers = list(" " * (last + _APART))
            for number, x in self._clients.items() if len(self._clients) > 1 else ():
                numbers[x : x + len(str(number))] = str(number)
            for number, x in self._servers.items() if len(self._servers) > 1 else ():
                label = "broker" if number == BROKER else str(number)
                x -= len(label) // 2
                numbers[x : x + len(label)] = label
            yield [("".join(numbers).rstrip(), "bold")]
        for row in self._diagram.rows:
            yield from (
                self._unreadable(row) if isinstance(row, UnreadableLine) else self._arrow(row)
            )
        yield []
        for sentence in summary(self._diagram):
            yield from self._paragraph(sentence)

    def _paragraph(self, text: str, style: str = "") -> Iterator[_Line]:
        return ([(line, style)] for line in wrap(text, self._width))

    def _gutter(self, line: str = "", time: str = "") -> str:
        return f"{line:>{self._digits}} {time:>10} "

    def _bars(self, end: int) -> tuple[str, str]:
        """Give the clients' lifelines up to a position."""
        columns = self._clients.values() or (self._last,)
        cells = (self._signs.bar if x in columns else " " for x in range(len(self._gutter()), end))
        return "".join(cells), "dim"

    def _between(self, content: str, style: str, line: str = "") -> _Line:
        """Give a line with text between the lifelines."""
        room = " " * (self._server - self._last - 1 - cell_len(content))
        bars = self._bars(self._last + 1)
        end = (room + self._right(self._server), "dim")
        return [(self._gutter(line), "dim"), bars, (content, style), end]

    def _right(self, first: int) -> str:
        """Give the lifelines of the servers and the broker from a position on."""
        columns = self._servers.values()
        cells = range(first, max(columns) + 1)
        return "".join(self._signs.bar if x in columns else " " for x in cells)

    def _shaft(self, first: int, last: int) -> str:
        """Give the part of an arrow between two positions, which crosses lifelines."""
        columns = {*self._clients.values(), *self._servers.values()}
        cells = range(first, last)
        return "".join(self._signs.cross if x in columns else self._signs.dash for x in cells)

    def _unreadable(self, row: UnreadableLine) -> Iterator[_Line]:
        first, *rest = wrap(f"cannot be read: {row.reason}", self._text - 4)
        rule = self._signs.unreadable
        fill = rule * (self._text - cell_len(first) - 2)
        yield self._between(f"{rule * 2} {first} {fill}", "magenta", str(row.line))
        for each in rest:
            yield self._between(f"   {each}", "magenta")

    def _arrow(self, arrow: Arrow) -> Iterator[_Line]:
        words = _plain(arrow.words if self._clients else arrow.numbered_words, self._is_ascii)
        first, *rest = wrap(words, self._text - 4)
        style = _STYLES[arrow.kind]
        place = (self._gutter(str(arrow.line), clock(arrow.time)), "dim")
        if arrow.is_published:
            yield [place, *self._to_broker(arrow, first, style)]
        else:
            yield [place, *self._to_server(arrow, first, style)]
        for each in rest:
            yield self._between(f"  {each}", style)
        if arrow.payload:
            yield from self._payload(arrow, arrow.payload)
        for violation in arrow.violations:
            yield from self._violation(violation)

    def _to_server(self, arrow: Arrow, words: str, style: str) -> _Line:
        """Give an arrow between a client and its server, with words on it."""
        signs = self._signs
        x = self._clients.get(arrow.connection, self._last)
        server = self._servers.get(arrow.node, self._server)
        shaft = self._shaft(x + 1, self._last + 1) + signs.dash
        after = self._shaft(self._server - 1, server - 1)
        if arrow.from_client:
            begin, end = signs.from_client[0] + shaft, after + signs.from_client[1] + signs.bar
        else:  # the head is beside the lifeline, not on it
            begin = signs.bar + signs.to_client[0] + shaft[1:]
            end = after + signs.dash + signs.to_client[1]
        fill = signs.dash * (self._text - cell_len(words) - 2)
        return [
            self._bars(x),
            (f"{begin} {words} {fill}{end}", style),
            (self._right(server + 1), "dim"),
        ]

    def _to_broker(self, arrow: Arrow, words: str, style: str) -> _Line:
        """Give an arrow from the server that published to the broker, with words beside it.

        It begins nowhere if nothing shows which server that was.
        """
        signs, broker = self._signs, self._servers[BROKER]
        room = " " * (self._server - self._last - 3 - cell_len(words))
        line: _Line = [self._bars(self._last + 1), (f"  {words}{room}", style)]
        x = self._servers[arrow.node] if arrow.node else 0
        if x > broker:
            until = list(self._right(self._server)[: broker - self._server])
            shaft = signs.bar + signs.to_client[0] + self._shaft(broker + 2, x) + signs.to_client[1]
            return [*line, ("".join(until), "dim"), (shaft, style), (self._right(x + 1), "dim")]
        start = x or broker - 2
        before = self._right(self._server)[: start - self._server]
        first = signs.from_client[0] if x else signs.unknown
        shaft = first + self._shaft(start + 1, broker - 1) + signs.from_client[1] + signs.bar
        return [*line, (before, "dim"), (shaft, style), (self._right(broker + 1), "dim")]

    def _payload(self, arrow: Arrow, payload: str | bytes) -> Iterator[_Line]:
        shown = payload if self._whole else payload[: 4 * self._text]
        text = visible(payload_text(shown), ascii_only=self._is_ascii)
        if isinstance(payload, bytes):
            text = f"binary {text}"
        cells = self._text - 2
        is_cut = arrow.size > len(shown)
        lines = wrap(text, cells) if self._whole else [shorten(text + " " * is_cut, cells)]
        return (self._between(f"  {each}", "dim") for each in lines)

    def _violation(self, violation: RecordedViolation) -> Iterator[_Line]:
        style = "yellow" if violation.is_known else "bold red"
        text = _plain(f"{self._signs.violation} {violation}", self._is_ascii)
        for index, each in enumerate(wrap(text, self._text - 2)):
            yield self._between(f"{'    ' if index else '  '}{each}", style)
        for each in wrap(_plain(violation.sentence, self._is_ascii), self._text - 4):
            yield self._between(f"    {each}", "dim")


def _plain(text: str, is_ascii: bool) -> str:
    """Give a text as the terminal can show it; the ellipsis keeps its width."""
    return visible(text.replace("…", "~"), ascii_only=True) if is_ascii else visible(text)
