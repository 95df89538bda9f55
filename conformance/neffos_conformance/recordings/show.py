"""The command ``show``: a recording as a sequence diagram, on the terminal or as a page.

What stands in the diagram is ``sequence.py``'s to say; this file draws it. The page needs no
script and nothing from elsewhere, and forbids both.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import BinaryIO, Final

import click
from jinja2 import Environment, FunctionLoader, StrictUndefined
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from neffos_conformance.recordings.sequence import (
    DEFAULT_LIMIT,
    KEPT,
    Arrow,
    Diagram,
    Fault,
    Kind,
    Remark,
    Row,
    clock,
    facts,
    hexdump,
    marked,
    peer_name,
    place,
    read_diagram,
    shorten,
    text_of,
    told,
    visible,
    wrap,
)

_STYLES: Final = {
    Kind.OPENING: "dim",
    Kind.HANDSHAKE: "cyan",
    Kind.ASK: "bold",
    Kind.REPLY: "green",
    Kind.EVENT: "",
    Kind.ERROR: "yellow",
    Kind.NATIVE: "magenta",
    Kind.STRAY: "magenta",
    Kind.CLOSE: "dim",
}

_MIN_TEXT: Final = 40
"""Cells between the last client and the server; with more clients than leave that much, one
lifeline stands for all."""


@click.command("show")
@click.argument("file", type=click.File("rb"))
@click.option(
    "--html",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Page with each message's fields and bytes, instead of the terminal.",
)
@click.option(
    "--connection",
    type=click.IntRange(min=1),
    metavar="N",
    help="Number of the only connection to show.",
)
@click.option(
    "--from",
    "first",
    type=click.IntRange(min=1),
    default=1,
    metavar="LINE",
    help="First line of FILE to show.",
)
@click.option(
    "--to", "last", type=click.IntRange(min=1), metavar="LINE", help="Last line of FILE to show."
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    default=DEFAULT_LIMIT,
    show_default=True,
    metavar="N",
    help="Maximum number of messages.",
)
@click.option("-v", "--verbose", is_flag=True, help="Payloads without shortening.")
def show_command(
    file: BinaryIO,
    html: Path | None,
    connection: int | None,
    first: int,
    last: int | None,
    limit: int,
    verbose: bool,
) -> None:
    """Show a recording as a sequence diagram.

    FILE may be - for standard input. The diagram marks violations, but only the command check
    fails for them; here, an empty recording counts as failed.
    """
    if last is not None and last < first:
        raise click.UsageError("--to is before --from")
    diagram = read_diagram(
        file, connection=connection, first=first, last=last, limit=limit, whole=verbose
    )
    name = getattr(file, "name", "<stdin>")
    source = "standard input" if name == "<stdin>" else visible(Path(name).name)
    if diagram.is_empty:
        click.echo(f"neffos-wire: {source} is empty", err=True)
        sys.exit(1)
    if html is None:
        draw(Console(highlight=False, emoji=False, markup=False), diagram, source, whole=verbose)
        return
    try:
        html.write_text(page(diagram, source), "utf-8")
    except OSError as error:
        raise click.UsageError(f"{html} cannot be written: {error.strerror}") from error
    click.echo(f"{html}: {_count(len(diagram.arrows), 'arrow')}, {_verdict(diagram)}")


# -------------------------------------------------------------------- the terminal


@dataclass(frozen=True, slots=True)
class _Signs:
    """What lines are made of."""

    bar: str = "│"
    dash: str = "─"
    cross: str = "┼"
    from_client: tuple[str, str] = "├", "►"
    to_client: tuple[str, str] = "◄", "┤"
    damage: str = "┄"
    fault: str = "✗"


_ASCII: Final = _Signs("|", "-", "+", ("|", ">"), ("<", "|"), "~", "!")


@dataclass(frozen=True, slots=True)
class _Sheet:
    """Where the columns stand, in cells.

    Attributes:
        signs: what lines are made of.
        number: the width of line numbers.
        clients: the lifeline of each connection; empty where one stands for all.
        last: that of the last client.
        server: that of the server.
    """

    signs: _Signs
    number: int
    clients: dict[int, int]
    last: int
    server: int

    @property
    def text(self) -> int:
        """Cells between the last client and the server, without the space around text."""
        return self.server - self.last - 3

    def gutter(self, line: str = "", time: str = "") -> str:
        return f"{line:>{self.number}} {time:>10} "

    def bars(self, upto: int | None = None) -> str:
        """Give the clients' lifelines, and the space between them."""
        columns = self.clients.values() or (self.last,)
        end = self.last + 1 if upto is None else upto
        return "".join(
            self.signs.bar if x in columns else " " for x in range(len(self.gutter()), end)
        )


def _sheet(diagram: Diagram, width: int, signs: _Signs) -> _Sheet:
    number = max(4, *(len(str(row.line)) for row in diagram.rows), 0) if diagram.rows else 4
    start = number + len(_Sheet(signs, 0, {}, 0, 0).gutter())
    server = max(width, start + _MIN_TEXT + 6) - 1
    numbers = diagram.connections
    step = max((len(str(each)) for each in numbers), default=1) + 2
    last = start + (len(numbers) - 1) * step
    if len(numbers) > 1 and server - last - 3 < _MIN_TEXT:
        return _Sheet(signs, number, {}, start, server)
    clients = {each: start + index * step for index, each in enumerate(numbers)}
    return _Sheet(signs, number, clients, max(last, start), server)


def draw(console: Console, diagram: Diagram, source: str, *, whole: bool = False) -> None:
    """Draw a diagram on a terminal, or into a pipe.

    Args:
        console: where to; without markup, since payloads are not to be read as such.
        diagram: what to draw.
        source: the recording's name.
        whole: write payloads whole rather than on one line.
    """
    is_ascii = console.options.ascii_only
    sheet = _sheet(diagram, console.width, _ASCII if is_ascii else _Signs())

    def put(*parts: tuple[str, str]) -> None:
        text = Text(no_wrap=True, end="\n")
        for content, style in parts:
            text.append(_plain(content, is_ascii), style)
        text.rstrip()
        console.print(text, soft_wrap=True)

    for content, style in _title(diagram, source):
        for line in wrap(content, console.width):
            put((line, style))
    put(("", ""))
    half = (sheet.server - len(sheet.gutter())) // 2
    client, server = (f"{role} {peer_name(diagram.header, role)}" for role in ("client", "server"))
    left = shorten(_plain(client, is_ascii), half)
    right = shorten(_plain(server, is_ascii), half)
    gap = sheet.server + 1 - len(sheet.gutter()) - cell_len(left) - cell_len(right)
    put((sheet.gutter("line", "time"), "dim"), (left + " " * gap + right, "bold"))
    if len(sheet.clients) > 1:
        numbers = list(" " * (sheet.last + 8))
        for number, x in sheet.clients.items():
            numbers[x : x + len(str(number))] = str(number)
        put(("".join(numbers), "bold"))
    for row in diagram.rows:
        for parts in _row(row, sheet, diagram, whole=whole, is_ascii=is_ascii):
            put(*parts)
    put(("", ""))
    for content in _summary(diagram):
        for line in wrap(content, console.width):
            put((line, ""))


_Parts = list[tuple[str, str]]
"""What stands side by side on one line, and how it looks."""


def _row(row: Row, sheet: _Sheet, diagram: Diagram, *, whole: bool, is_ascii: bool) -> list[_Parts]:
    if isinstance(row, Remark):
        first, *rest = wrap(f"cannot be read: {row.text}", sheet.text - 4)
        rule = sheet.signs.damage
        fill = rule * (sheet.text - cell_len(first) - 2)
        top = f"{rule * 2} {first} {fill}"
        lines = [top, *(f"   {each}" for each in rest)]
        return [
            _line(sheet, each, "magenta", sheet.gutter(str(row.line) if each is top else ""))
            for each in lines
        ]
    is_marked = not sheet.clients
    said = _plain(marked(row) if is_marked else row.words, is_ascii)
    words, *more = wrap(said, sheet.text - 4)
    drawn = [_arrow(row, words, sheet)]
    drawn += [_line(sheet, f"  {each}", _STYLES[row.kind]) for each in more]
    if row.payload:
        payload = row.payload if whole else row.payload[: 4 * sheet.text]
        shown = visible(text_of(payload), ascii_only=is_ascii)
        if isinstance(row.payload, bytes):
            shown = f"binary {shown}"
        cells = sheet.text - 2
        is_cut = row.size > len(payload)
        lines = wrap(shown, cells) if whole else [shorten(shown + " " * is_cut, cells)]
        drawn += [_line(sheet, f"  {each}", "dim") for each in lines]
    for fault in row.faults:
        drawn += _fault(fault, sheet, is_ascii=is_ascii)
    return drawn


def _arrow(arrow: Arrow, words: str, sheet: _Sheet) -> _Parts:
    signs = sheet.signs
    x = sheet.clients.get(arrow.connection, sheet.last)
    begin, end = signs.from_client if arrow.from_client else signs.to_client
    others = set(sheet.clients.values())
    between = range(x + 1, sheet.last + 1)
    line = "".join(signs.cross if each in others else signs.dash for each in between)
    if not arrow.from_client:  # the head stands beside the lifeline, not in its place
        begin, line = signs.bar, (line[1:] if line else line)
        head = signs.to_client[0]
        left, right = f"{head}{line}", f"{signs.dash}{end}"
        if not between:
            left, lead = "", head
        else:
            lead = signs.dash
    else:
        left, lead, right = line, signs.dash, f"{end}{signs.bar}"
    fill = signs.dash * (sheet.text - cell_len(words) - 2)
    style = _STYLES[arrow.kind]
    return [
        (sheet.gutter(str(arrow.line), clock(arrow.time)), "dim"),
        (sheet.bars(x), "dim"),
        (f"{begin}{left}{lead} ", style),
        (words, style),
        (f" {fill}{right}", style),
    ]


def _line(sheet: _Sheet, content: str, style: str, gutter: str = "") -> _Parts:
    """Give a line with text between the lifelines."""
    room = " " * (sheet.server - sheet.last - 1 - cell_len(content))
    return [
        (gutter or sheet.gutter(), "dim"),
        (sheet.bars(), "dim"),
        (content, style),
        (room + sheet.signs.bar, "dim"),
    ]


def _fault(fault: Fault, sheet: _Sheet, *, is_ascii: bool) -> list[_Parts]:
    said = _plain(told(fault), is_ascii)
    style = "yellow" if fault.is_known else "bold red"
    first, *rest = wrap(f"{sheet.signs.fault} {said}", sheet.text - 2)
    lines = [_line(sheet, f"  {first}", style)]
    lines += [_line(sheet, f"    {each}", style) for each in rest]
    sentence = wrap(_plain(fault.sentence, is_ascii), sheet.text - 4)
    return lines + [_line(sheet, f"    {each}", "dim") for each in sentence]


def _plain(text: str, is_ascii: bool) -> str:
    """Give a text as the terminal can show it; the mark of what was cut stays one cell wide."""
    return visible(text.replace("…", "~"), ascii_only=True) if is_ascii else visible(text)


def _title(diagram: Diagram, source: str) -> list[tuple[str, str]]:
    scenario = shorten(visible(str(diagram.header.get("scenario", ""))), 400)
    return [(scenario or "a recorded session", "bold"), (_origin(diagram, source), "dim")]


def _origin(diagram: Diagram, source: str) -> str:
    known = dict(facts(diagram.header))
    parts = [source]
    if "recorded" in known:
        parts.append(f"recorded {known['recorded']}")
    parts += [f"{key}: {known[key]}" for key in ("how", "native") if key in known]
    return ", ".join(parts)


def _summary(diagram: Diagram) -> list[str]:
    """Say in sentences what is shown, what is not, and what is wrong."""
    connections = len(diagram.connections)
    shown = _count(len(diagram.arrows), "arrow")
    lines = [f"{shown} on {_count(connections, 'connection')}; {_verdict(diagram)}."]
    if len(diagram.arrows) < len(diagram.rows):
        damaged = len(diagram.rows) - len(diagram.arrows)
        lines.append(f"{_count(damaged, 'line')} shown cannot be read.")
    hidden = diagram.before + diagram.after
    if hidden:
        where = " and ".join(
            f"{count} {side}"
            for count, side in ((diagram.before, "before"), (diagram.after, "behind"))
            if count
        )
        faults = ""
        if diagram.hidden_faults:
            faults = f", with {_count(diagram.hidden_faults, 'finding')}"
        lines.append(
            f"Left out: {_count(hidden, 'line')} ({where}){faults}; "
            "see --from, --to, --limit and --connection."
        )
    if not diagram.is_read_whole:
        lines.append("What comes behind --to was not read.")
    if diagram.unjudged:
        count = _count(diagram.unjudged, "line")
        lines.append(f"Not judged, with too many connections at a time: {count}.")
    if diagram.header == {}:
        lines.append("The header cannot be read; whether native messages are meant is not known.")
    return lines


def _verdict(diagram: Diagram) -> str:
    if not diagram.faults:
        return "no requirement is broken"
    each = ", ".join(f"{id_} ({count})" for id_, count in sorted(diagram.faults.items()))
    return f"{_count(diagram.faults.total(), 'finding')}: {each}"


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"


# -------------------------------------------------------------------- the page


@cache
def _environment() -> Environment:
    """Give the templates; all that they write is escaped, and no name may be missing."""
    folder = files("neffos_conformance.data") / "templates"
    environment = Environment(
        loader=FunctionLoader(lambda name: (folder / name).read_text("utf-8")),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"visible": visible, "clock": clock, "told": told}
    return environment


def svg(diagram: Diagram) -> str:
    """Draw a diagram as an ``svg`` element, which fits any width and follows its page's colours.

    Each arrow is a link to ``#m`` and its line, and has the id ``a`` and its line.
    """
    return _environment().get_template("sequence.svg").render(**_names(diagram))


def page(diagram: Diagram, source: str) -> str:
    """Write a diagram as a page of its own; ``source`` is the recording's name."""
    return (
        _environment()
        .get_template("sequence.html")
        .render(**_names(diagram), source=visible(source))
    )


def _names(diagram: Diagram) -> dict[str, object]:
    header = diagram.header
    return {
        "diagram": diagram,
        "picture": place(diagram),
        "title": shorten(visible(str(header.get("scenario", ""))), 200) or "a recorded session",
        "client": peer_name(header, "client"),
        "server": peer_name(header, "server"),
        "facts": facts(header),
        "summary": _summary(diagram),
        "hexdump": hexdump,
        "field_rows": _field_rows,
        "size": _size,
        "is_arrow": lambda row: isinstance(row, Arrow),
        "version": version("neffos-wire"),
    }


def _size(arrow: Arrow) -> str:
    """Say how large a message is, and how much of it is shown."""
    unit = "octet" if isinstance(arrow.payload, bytes) else "character"
    kind = "binary" if isinstance(arrow.payload, bytes) else "text"
    kept = len(arrow.payload or "")
    cut = "" if kept == arrow.size else f"; the first {kept:,} are shown, -v shows all"
    return f"{kind}, {_count(arrow.size, unit)}{cut}"


def _field_rows(arrow: Arrow) -> list[tuple[str, str]]:
    """Give the seven fields as they are shown: name and value."""
    rows = []
    for name, value in arrow.fields:
        if isinstance(value, bool):
            shown = "1" if value else "0"
        else:
            cut = "…" if len(value) == KEPT < arrow.size else ""
            shown = visible(text_of(value)) + cut
        rows.append((name, shown))
    return rows
