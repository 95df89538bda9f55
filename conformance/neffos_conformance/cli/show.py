"""The command ``show``: draws a recording as a sequence diagram, on the terminal or as a page."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import BinaryIO

import click

from neffos_conformance.cli.options import option
from neffos_conformance.recordings.page import page
from neffos_conformance.recordings.sequence import (
    DEFAULT_LIMIT,
    counted,
    read_diagram,
    verdict,
)
from neffos_conformance.recordings.show import draw
from neffos_conformance.wire.files import cannot_be_written, open_private
from neffos_conformance.wire.terminal import Terminal, echo
from neffos_protocol.text import visible


@click.command("show")
@click.argument("file", type=click.File("rb"))
@option("--html", "Page to write instead, with each message's fields and bytes.", "FILE")
@option("--connection", "Number of the only connection to show.", "N")
@option("--from first", "First line of FILE to show.", "LINE", default=1)
@option("--to last", "Last line of FILE to show.", "LINE")
@option("--limit", "Greatest number of messages to show.", "N", default=DEFAULT_LIMIT)
@option("-v --verbose", "Payloads in full.")
def show_command(
    file: BinaryIO,
    html: Path | None,
    connection: int | None,
    first: int,
    last: int | None,
    limit: int,
    verbose: bool,
) -> None:
    """Draw the recording FILE as a sequence diagram.

    The diagram shows which requirements are violated. FILE may be - for standard input. An empty
    FILE and an unreadable line count as failed, a violation does not: that is for check.
    """
    if last is not None and last < first:
        raise click.UsageError("--to is before --from")
    diagram = read_diagram(
        file, connection=connection, first=first, last=last, limit=limit, whole=verbose
    )
    name = getattr(file, "name", "<stdin>")
    source = "standard input" if name == "<stdin>" else visible(Path(name).name)
    if diagram.is_empty:
        echo(f"neffos-wire: {source} is empty", err=True)
        sys.exit(1)
    if html is None:
        draw(Terminal(highlight=False, emoji=False, markup=False), diagram, source, whole=verbose)
    else:
        try:
            with open_private(html) as stream:
                stream.write(page(diagram, source).encode())
        except OSError as error:
            raise click.UsageError(cannot_be_written(html, error)) from error
        echo(f"{html}: {counted(len(diagram.arrows), 'arrow')}, {verdict(diagram)}")
    if diagram.unreadable:
        sys.exit(1)
