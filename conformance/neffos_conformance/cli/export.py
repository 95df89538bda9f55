"""The command ``export``: writes a recording as packets, and the dissector that explains them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from neffos_conformance.cli.options import EXISTING_FILE, option
from neffos_conformance.cli.refusals import refusing, writing
from neffos_conformance.wire.files import open_private
from neffos_conformance.wire.packed import InputError, open_file, open_packed, unpacked
from neffos_conformance.wire.terminal import echo
from neffos_conformance.wire.transcript import Entry, UnreadableLine, read_lines
from neffos_protocol.text import visible


@click.command("export")
@click.argument("file", required=False, type=EXISTING_FILE, metavar="[FILE]")
@option("--pcapng", "Capture to write: the recording FILE as packets.", "FILE")
@option("--dissector", "Dissector for Wireshark to write, in Lua.", "FILE")
def export_command(file: Path | None, pcapng: Path | None, dissector: Path | None) -> None:
    """Write a recording as packets for Wireshark, or a dissector.

    FILE is a recording, plain or compressed with gzip or Zstandard. Its messages become WebSocket
    frames in packets of TCP; the addresses are made up. What was published on a broker is left out.
    check gives the capture the verdict of the recording. An unreadable line counts as failed.

    Copy the dissector into the folder for plugins that Wireshark's "About" shows, and it names the
    fields of each frame.
    """
    if (file is None) != (pcapng is None) or (pcapng is None and dissector is None):
        raise click.UsageError("give a FILE with --pcapng, or --dissector, or all of them")
    is_bad = False
    if dissector is not None:
        from neffos_conformance.recordings.dissector import dissector as written

        with writing(dissector), open_private(dissector) as stream:
            stream.write(written().encode())
        echo(f"{visible(str(dissector))}: a dissector for Wireshark")
    if file is not None and pcapng is not None:
        is_bad = _export(file, pcapng)
    sys.exit(1 if is_bad else 0)


def _export(source: Path, target: Path) -> bool:
    """Write a recording as a capture; say whether a line of it cannot be read."""
    from neffos_conformance.recordings.packets import save_capture

    name, is_bad = visible(source.name), False

    def entries(items: Iterator[Any]) -> Iterator[Entry]:
        nonlocal is_bad
        for item in items:
            if isinstance(item, Entry):
                yield item
            else:
                is_bad = True
                echo(f"neffos-wire: {name}: line {item.line}: {item.reason}", err=True)

    with refusing(InputError), writing(target), open_file(source) as opened:
        items = read_lines(unpacked(opened))
        first = next(items, None)
        if first is None or isinstance(first, UnreadableLine):
            reason = first.reason if first else "it is empty"
            raise click.UsageError(f"{name} is not a recording: {reason}. Try: another file")
        assert isinstance(first, dict)  # noqa: S101  # the first item is the header
        with open_packed(target) as stream:
            count, published = save_capture(stream, first, entries(items))
    left_out = f", {published} published messages left out" if published else ""
    echo(f"{visible(str(target))}: {count} packets{left_out}")
    return is_bad
