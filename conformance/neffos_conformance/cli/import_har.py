"""The command ``import``: writes what a browser or a capture of packets saved as recordings."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from io import BufferedReader
from itertools import chain
from pathlib import Path
from typing import Any, Final

import click

from neffos_conformance.cli.options import KEYLOG, NATIVE, existing_files, option
from neffos_conformance.cli.refusals import refusing
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
from neffos_conformance.wire.packed import (
    STANDARD_INPUT,
    InputError,
    is_capture,
    open_file,
    shown,
    stem,
    unpacked,
)
from neffos_conformance.wire.remote import Url
from neffos_conformance.wire.secrets import masked_url
from neffos_conformance.wire.terminal import echo
from neffos_conformance.wire.transcript import Entry, Header, UnreadableLine, save
from neffos_protocol.text import visible

HOW_TO_SAVE: Final = """\
Chrome, Edge and others on Chromium save them: open the developer tools and their Network panel,
reload the page so that they see the connection open, use it, and choose "Export HAR".
Firefox saves the connections, but not their messages. mitmproxy and Playwright save them, too."""


@click.command("import")
@existing_files(".har", ".pcap", ".pcapng", urls=True)
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
@KEYLOG
def import_command(
    files: list[Path | Url],
    folder: Path,
    take_all: bool,
    native: str,
    keep_query: bool,
    keylog: Path | None,
) -> None:
    """Write the connections of a HAR or a capture as recordings.

    FILE is a HAR that a browser saved, a capture of packets (pcap or pcapng), a folder of them, a
    pattern, a URL of any of these, or - for standard input. It may be compressed with gzip or
    Zstandard. Each connection of a HAR becomes a recording, and so does each capture. Cookies,
    other headers and the values of query parameters are left out. The messages are complete: review
    them before you publish a recording. No file is overwritten. A damaged connection is a failure.
    """
    done = _Import(folder, take_all, native, keep_query, keylog)
    for path in files:
        with refusing(InputError), open_file(path) as file:
            done.take(path, unpacked(file))
    if done.is_bad:
        sys.exit(1)
    written = sum(done.written.values())
    if not written and not done.others:
        silent = done.silent
        found = f"WebSocket connections ({silent}), but not their" if silent else "no WebSocket"
        has = f"{visible(_name(files[0]))} has" if len(files) == 1 else f"{len(files)} files have"
        raise click.UsageError(f"{has} {found} messages.\n{HOW_TO_SAVE}")
    if not written:
        sys.exit(2)


def _name(path: Path | Url) -> str:
    return Path(shown(path)).name


@dataclass(slots=True)
class _Import:
    """Writes the recordings of several HARs.

    Attributes:
        folder, take_all, native, keep_query, keylog: the options of the command.
        written: the recordings that were written, by the beginning of their names: files in
            different folders may have one name.
        others: the connections that are not neffos.
        silent: the connections without messages.
        is_bad: something was damaged.
    """

    folder: Path
    take_all: bool
    native: str
    keep_query: bool
    keylog: Path | None
    written: Counter[str] = field(default_factory=Counter)
    others: int = 0
    silent: int = 0
    is_bad: bool = False

    def take(self, path: Path | Url, stream: BufferedReader) -> None:
        """Write the recordings of one HAR, or that of a capture."""
        if is_capture(stream):
            self._take_capture(path, stream)
            return
        har = Har()
        entries = read_entries(stream, har)
        while True:
            try:
                number, entry = next(entries)
                if is_web_socket(entry):
                    self._take(read_connection(number, entry), number, path, har)
            except StopIteration:
                break
            except HarError as error:
                self.is_bad = True
                echo(f"neffos-wire: {visible(_name(path))}: {error}", err=True)

    def _take(self, connection: HarConnection, number: int, source: Path | Url, har: Har) -> None:
        url = masked_url(connection.url._replace(query="").geturl())
        where = f"entry {number}, {clean(url)}"
        if not connection.contents:
            self.silent += 1
            return
        if not self.take_all and not connection.speaks_neffos:
            self.others += 1
            echo(f"{where}: does not look like neffos. Try: --all")
            return
        scenario = f"{_name(source)}, {where}"
        written = transcript(
            connection, scenario, har, native=self.native, keep_query=self.keep_query
        )
        path = self._write(source, *written)
        ignored = f", {connection.ignored} other frames omitted" if connection.ignored else ""
        count = f"{len(connection.contents)} messages{ignored}"
        echo(f"{where}: {count} → {visible(str(path))}")

    def _take_capture(self, source: Path | Url, stream: BufferedReader) -> None:
        from neffos_conformance.recordings.capture import Capture  # with much that HARs need not
        from neffos_conformance.recordings.tls import read_keys

        capture = Capture(
            stream,
            _name(source),
            take_all=self.take_all,
            native=self.native,
            keep_query=self.keep_query,
            keys=read_keys(self.keylog),
        )
        count = 0

        def entries() -> Iterator[Entry]:
            nonlocal count
            for item in items:
                if isinstance(item, Entry):
                    count += isinstance(item.content, str | bytes)
                    yield item
                elif isinstance(item, UnreadableLine):
                    self.is_bad = True
                    text = f"{visible(_name(source))}: packet {item.line}: {item.reason}"
                    echo(f"neffos-wire: {text}", err=True)

        items = capture.items()
        first: Any = next(items, None)
        found = entries()
        beginning = next(found, None)
        if beginning is not None:
            path = self._write(source, first, chain([beginning], found))
            echo(f"{visible(_name(source))}: {count} messages → {visible(str(path))}")
        self.others += capture.others
        for what, count in capture.left_out():
            if count:
                echo(f"{visible(_name(source))}: {count} {what}")

    def _write(self, source: Path | Url, first: Header, entries: Iterable[Entry]) -> Path:
        name = "imported" if source == STANDARD_INPUT else stem(source)
        self.written[name] += 1
        path = self.folder / f"{name}-{self.written[name]}.jsonl"
        try:
            save(path, first, entries, is_new=True)
        except FileExistsError as error:
            raise click.UsageError(f"{path} exists. Recordings are not overwritten") from error
        except OSError as error:
            raise click.UsageError(cannot_be_written(path, error)) from error
        return path
