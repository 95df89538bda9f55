"""The command ``show``: draws a recording as a sequence diagram, on the terminal or as a page."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import BinaryIO

import click
from rich.console import Console

from neffos_conformance.cli.options import option
from neffos_conformance.recordings.page import page
from neffos_conformance.recordings.sequence import (
    DEFAULT_LIMIT,
    counted,
    read_diagram,
    verdict,
)
from neffos_conformance.recordings.show import draw
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
    FILE is a failure, a violation is not: that is for check.
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
    click.echo(f"{html}: {counted(len(diagram.arrows), 'arrow')}, {verdict(diagram)}")
