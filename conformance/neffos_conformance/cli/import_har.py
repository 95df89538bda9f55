"""The command ``import``: writes the WebSocket messages that a browser saved as recordings."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import BinaryIO, Final

import click

from neffos_conformance.cli.options import NATIVE, option
from neffos_conformance.recordings.har import (
    Har,
    HarConnection,
    HarError,
    clean,
    is_web_socket,
    read_connection,
    read_entries,
    transcript,
)
from neffos_conformance.wire.files import cannot_be_written
from neffos_conformance.wire.secrets import masked_url
from neffos_conformance.wire.terminal import echo
from neffos_conformance.wire.transcript import save
from neffos_protocol.text import visible

HOW_TO_SAVE: Final = """\
Chrome, Edge and others on Chromium save them: open the developer tools and their Network panel,
reload the page so that they see the connection open, use it, and choose "Export HAR".
Firefox saves the connections, but not their messages. mitmproxy and Playwright save them, too."""


@click.command("import")
@click.argument("file", type=click.File("rb"))
@option(
    "-o --output folder",
    "Folder to write the recordings into.",
    "FOLDER",
    default=Path(),
    show_default="the current one",
)
@option("--all take_all", "Connections that are not neffos, too.")
@NATIVE
@option("--keep-query", "Query parameters with their values, secret or not.")
def import_command(
    file: BinaryIO, folder: Path, take_all: bool, native: str, keep_query: bool
) -> None:
    """Write a recording of each neffos connection in a HAR.

    FILE is a HAR that a browser saved. Cookies, other headers and the values of query parameters
    are left out. The messages are complete: review them before you publish a recording. No file
    is overwritten. A damaged connection is a failure.
    """
    name = getattr(file, "name", "<stdin>")
    is_piped = name == "<stdin>"
    source = Path("standard input" if is_piped else name)
    stem = "imported" if is_piped else source.stem
    har = Har()
    written = others = silent = 0
    is_bad = False
    entries = read_entries(file, har)
    while True:
        try:
            number, entry = next(entries)
            if not is_web_socket(entry):
                continue
            connection = read_connection(number, entry)
            url = masked_url(connection.url._replace(query="").geturl())
            shown = f"entry {number}, {clean(url)}"
            if not connection.contents:
                silent += 1
                continue
            if not take_all and not connection.speaks_neffos:
                others += 1
                echo(f"{shown}: does not look like neffos. Try: --all")
                continue
            written += 1
            path = folder / f"{stem}-{written}.jsonl"
            _write(path, connection, f"{source.name}, {shown}", har, native, keep_query)
            ignored = f", {connection.ignored} other frames omitted" if connection.ignored else ""
            count = f"{len(connection.contents)} messages{ignored}"
            echo(f"{shown}: {count} → {visible(str(path))}")
        except StopIteration:
            break
        except HarError as error:
            is_bad = True
            echo(f"neffos-wire: {visible(source.name)}: {error}", err=True)
    if is_bad:
        sys.exit(1)
    if not written and not others:
        found = f"WebSocket connections ({silent}), but not their" if silent else "no WebSocket"
        raise click.UsageError(f"{visible(source.name)} has {found} messages.\n{HOW_TO_SAVE}")
    if not written:
        sys.exit(2)


def _write(
    path: Path, connection: HarConnection, scenario: str, har: Har, native: str, keep_query: bool
) -> None:
    first, lines = transcript(connection, scenario, har, native=native, keep_query=keep_query)
    try:
        save(path, first, lines, is_new=True)
    except FileExistsError as error:
        raise click.UsageError(f"{path} exists. Recordings are not overwritten") from error
    except OSError as error:
        raise click.UsageError(cannot_be_written(path, error)) from error
