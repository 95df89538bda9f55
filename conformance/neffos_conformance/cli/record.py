"""The command ``record``: a relay between a client and a server that writes down what goes by."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Final
from urllib.parse import urlsplit

import click
from rich.console import Console
from rich.markup import escape

from neffos_codec import Native
from neffos_conformance.cases.verdict import COLOURS, Verdict, verdict_on
from neffos_conformance.recordings.checking import Monitors
from neffos_conformance.wire.payloads import short
from neffos_conformance.wire.relay import Note, relaying
from neffos_conformance.wire.standard_input import ended
from neffos_conformance.wire.transcript import Content, Header, Writer, header
from neffos_protocol.catalogue import requirement

_MODES: Final = click.Choice([mode.value for mode in Native])


@click.command("record")
@click.argument("server", metavar="URL")
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    required=True,
    help="The transcript to write; one that is there is replaced.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Where clients connect to.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Likewise; 0 is any.")
@click.option("--check", is_flag=True, help="Judge what goes by, as it does.")
@click.option(
    "--native", type=_MODES, default="never", show_default=True, help="What is not a frame is …"
)
@click.option("--scenario", default="a recorded session", show_default=True, help="What it is.")
@click.option("--client", "client_name", default="unknown", help="Who the client is.")
@click.option("--server-name", default="unknown", help="Who the server is.")
@click.option(
    "--json", "as_json", is_flag=True, help="Be ready in JSON, and end with standard input."
)
def record_command(
    server: str,
    output: Path,
    host: str,
    port: int,
    check: bool,
    native: str,
    scenario: str,
    client_name: str,
    server_name: str,
    as_json: bool,
) -> None:
    """Relay between clients and the server at URL, and record what goes by.

    Point the client at the URL that is printed instead of the server's. Each line is in the file
    when it has happened, so that a recording that is killed can be read up to its last line.
    Exit code 1 where --check found that a MUST was broken.
    """
    if urlsplit(server).scheme not in ("ws", "wss"):  # before a file that is there is replaced
        raise click.UsageError(f"{server!r} is not a WebSocket URL (ws://… or wss://…)")
    first = header(
        scenario=scenario,
        client={"peer": client_name},
        server={"peer": server_name, "url": server},
        how="neffos-wire record",
        native=native,
    )
    judge = _Judge(Native(native)) if check else None
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        with output.open("wb") as stream:
            asyncio.run(_record(server, host, port, stream, first, judge, as_json))
    except (OSError, ValueError) as error:
        raise click.UsageError(str(error)) from error
    if judge is not None and judge.given_up:
        words = "connections were too many at a time, and not judged to their end"
        click.echo(f"{judge.given_up} {words}", err=True)
    if judge is not None and judge.has_failed:
        sys.exit(1)


async def _record(
    server: str,
    host: str,
    port: int,
    stream: BinaryIO,
    first: Header,
    judge: _Judge | None,
    as_json: bool,
) -> None:
    writer = Writer(stream, first)

    def note(connection: int, from_client: bool, content: Content) -> None:
        writer.write(connection, from_client, content)
        if judge is not None:
            judge.note(connection, from_client, content)

    await _relay(server, host, port, note, as_json)


async def _relay(server: str, host: str, port: int, note: Note, as_json: bool) -> None:
    loop = asyncio.get_running_loop()
    end = asyncio.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):  # on Windows an interrupt raises instead
            loop.add_signal_handler(each, end.set)
    async with relaying(server, note, host=host, port=port) as relay:
        if as_json:
            click.echo(json.dumps({"ready": True, "endpoints": {"relay": relay.url}}))
            parent = asyncio.create_task(ended())
            parent.add_done_callback(lambda _: end.set())
        else:
            click.echo(f"relaying {relay.url} to {server}; Ctrl-C ends it", err=True)
        either: set[asyncio.Future[Any]] = {asyncio.create_task(end.wait()), relay.failed}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if relay.failed.done():
            relay.failed.result()


class _Judge:
    """Judges what goes by, and says at once what is wrong with it."""

    def __init__(self, native: Native) -> None:
        self.has_failed = False
        self._monitors = Monitors(native)
        self._console = Console(stderr=True)

    @property
    def given_up(self) -> int:
        """Connections that were too many at a time, and given up."""
        return self._monitors.given_up

    def note(self, connection: int, from_client: bool, content: Content) -> None:
        """Take what went by."""
        for finding in self._monitors.feed(connection, from_client, content):
            if not isinstance(content, str | bytes):
                raise AssertionError("only messages are found to be wrong")
            verdict = verdict_on((finding.requirement,))
            self.has_failed |= verdict is Verdict.FAIL
            self._console.print(
                f"[{COLOURS[verdict]}]{verdict.value}[/] connection {connection}: the "
                f"{finding.role} broke {finding.requirement}: {escape(finding.explanation)}\n"
                f"    {escape(requirement(finding.requirement).text)}\n"
                f"    {escape(short(content))}"
            )
