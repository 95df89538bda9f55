"""The command ``show``: draws a recording as a sequence diagram, on the terminal or as a page."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from neffos_conformance.cli.options import existing_files, option
from neffos_conformance.cli.refusals import refusing, writing
from neffos_conformance.recordings.diagram_summary import verdict
from neffos_conformance.recordings.page import page
from neffos_conformance.recordings.sequence import (
    DEFAULT_LIMIT,
    read_diagram,
)
from neffos_conformance.recordings.show import draw
from neffos_conformance.wire.console import Terminal
from neffos_conformance.wire.files import open_private
from neffos_conformance.wire.packed import InputError, open_file, shown, unpacked
from neffos_conformance.wire.terminal import echo
from neffos_conformance.wire.text import counted
from neffos_protocol.text import visible


@click.command("show")
@existing_files(".jsonl")
@option("--html", "Page to write instead, with each message's fields and bytes.", "FILE")
@option("--connection", "Number of the only connection to show.", "N")
@option("--from first", "First line of FILE to show.", "LINE", default=1)
@option("--to last", "Last line of FILE to show.", "LINE")
@option("--limit", "Greatest number of messages to show.", "N", default=DEFAULT_LIMIT)
@option("-v --verbose", "Payloads in full.")
def show_command(
    files: list[Path],
    html: Path | None,
    connection: int | None,
    first: int,
    last: int | None,
    limit: int,
    verbose: bool,
) -> None:
    """Draw the recording FILE as a sequence diagram.

    The diagram shows which requirements are violated. FILE is a recording, plain or compressed
    with gzip or Zstandard, or - for standard input; a folder or a pattern needs to contain one. An
    empty FILE and an unreadable line count as failed, a violation does not: that is for check.
    """
    if last is not None and last < first:
        raise click.UsageError("--to is before --from")
    if len(files) > 1:
        text = f"expected one recording, actual {len(files)}. Try: {visible(str(files[0]))}"
        raise click.UsageError(text)
    [path] = files
    with refusing(InputError), open_file(path) as file:
        diagram = read_diagram(
            unpacked(file),
            connection=connection,
            first=first,
            last=last,
            limit=limit,
            whole=verbose,
        )
    source = visible(Path(shown(path)).name)
    if diagram.is_empty:
        echo(f"neffos-wire: {source} is empty", err=True)
        sys.exit(1)
    if html is None:
        draw(Terminal(highlight=False, emoji=False, markup=False), diagram, source, whole=verbose)
    else:
        with writing(html), open_private(html) as stream:
            stream.write(page(diagram, source).encode())
        echo(f"{html}: {counted(len(diagram.arrows), 'arrow')}, {verdict(diagram)}")
    if diagram.unreadable:
        sys.exit(1)
