"""The command ``record``: relays between clients and a server, and records the messages."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any, Final

import click
from rich.markup import escape

from neffos_codec import Native
from neffos_conformance.cases.verdict import COLOURS, Verdict
from neffos_conformance.cli.options import HOST, NATIVE, PORT, READY, option
from neffos_conformance.cli.reaching import reaching, target_at
from neffos_conformance.recordings.checking import Monitors, remarks, violations
from neffos_conformance.wire.files import cannot_be_written, open_private
from neffos_conformance.wire.networks import Network, network_before, networks
from neffos_conformance.wire.payloads import short
from neffos_conformance.wire.reach_options import Reached, listening_tls
from neffos_conformance.wire.relay import Relay, relaying
from neffos_conformance.wire.secrets import masked_target, masked_url
from neffos_conformance.wire.standard_input import ended
from neffos_conformance.wire.terminal import Terminal, echo
from neffos_conformance.wire.transcript import ConnectionOpened, Content, Entry, Writer, header
from neffos_protocol.text import ascii_json, visible

MAX_SHOWN: Final = 400
"""Characters of a line on what the relay did, which may quote a server."""


@click.command("record")
@click.argument("server", metavar="URL")
@option("-o --output", "Recording to write; an existing file is replaced.", "FILE", required=True)
@HOST
@PORT
@option("--tls-cert", "Certificate of the relay (PEM); clients use wss then.", "FILE")
@option("--tls-key", "Key of that certificate (PEM), if it is in another file.", "FILE")
@option(
    "--network",
    f"Network between the clients and the relay: {', '.join(networks())}.",
    "NAME",
    type=click.Choice(list(networks())),
)
@option("--check", "Violations of requirements, printed as they occur.")
@NATIVE
@option("--keep-query", "Query parameters with their values, secret or not.")
@option("--scenario", "Title of the recording.", "TEXT", default="a recorded session")
@option("--client-name", "Name of the client.", "NAME", default="unknown")
@option("--server-name", "Name of the server.", "NAME", default="unknown")
@READY
@reaching
def record_command(
    server: str,
    output: Path,
    host: str,
    port: int,
    tls_cert: Path | None,
    tls_key: Path | None,
    network: str | None,
    check: bool,
    native: str,
    keep_query: bool,
    scenario: str,
    client_name: str,
    server_name: str,
    as_json: bool,
    reached: Reached,
) -> None:
    """Record the connections of clients to the server at URL.

    The command is a relay: connect the client to the URL that it prints. Each message is written
    at once, so a recording is readable up to its last line even if the command is killed. Only
    its owner can read it. With --check, a violated MUST counts as failed. With --network, the
    clients reach the relay through a network that is far, thin or lossy.
    """
    target = target_at(server, reached)  # before an existing file is replaced
    try:
        tls = listening_tls(tls_cert, tls_key)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    first = header(
        scenario=scenario,
        client={"peer": client_name},
        server={"peer": server_name, "url": masked_url(server)},
        how="neffos-wire record",
        native=native,
    )
    live = _LiveCheck(Native(native), is_shown=check)
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        opened = open_private(output)
    except OSError as error:
        raise click.UsageError(cannot_be_written(output, error)) from error
    try:
        with opened as stream:
            writer = Writer(stream, first)

            def record(connection: int, from_client: bool, content: Content) -> None:
                written = content
                if isinstance(content, ConnectionOpened) and not keep_query:
                    written = content._replace(path=masked_target(content.path))
                entry = writer.write(connection, from_client, written)
                live.add(entry._replace(content=content))

            between = networks()[network] if network else None
            running = partial(relaying, target, record, tls=tls, notice=_notice)
            asyncio.run(_relay(running, server, host, port, between, as_json))
    except (OSError, ValueError) as error:
        raise click.UsageError(str(error)) from error
    for remark in live.remarks():
        echo(remark, err=True)
    if live.monitors.given_up:
        words = "connections were too many at a time, and not checked to their end"
        echo(f"{live.monitors.given_up} {words}", err=True)
    if live.has_failed:
        sys.exit(1)


async def _relay(
    relayed: Callable[..., AbstractAsyncContextManager[Relay]],
    server: str,
    host: str,
    port: int,
    network: Network | None,
    as_json: bool,
) -> None:
    loop = asyncio.get_running_loop()
    end = asyncio.Event()
    for each in (signal.SIGINT, signal.SIGTERM):
        with suppress(NotImplementedError):  # on Windows an interrupt raises instead
            loop.add_signal_handler(each, end.set)
    async with AsyncExitStack() as stack:
        own = (host, port) if network is None else ("127.0.0.1", 0)
        relay = await stack.enter_async_context(relayed(host=own[0], port=own[1]))
        url = relay.url
        if network is not None:
            before = network_before(relay.url, network, host=host, port=port)
            url = await stack.enter_async_context(before)
        if as_json:
            echo(ascii_json({"ready": True, "endpoints": {"relay": url}}))
            parent = asyncio.create_task(ended())
            parent.add_done_callback(lambda _: end.set())
        else:
            echo(f"relaying {url} to {masked_url(server)}; Ctrl-C ends it", err=True)
        either: set[asyncio.Future[Any]] = {asyncio.create_task(end.wait()), relay.failed}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        if relay.failed.done():
            relay.failed.result()


def _notice(text: str) -> None:
    echo(visible(text, limit=MAX_SHOWN), err=True)


class _LiveCheck:
    """Checks messages as they pass.

    Args:
        native: what becomes of payloads that are not frames.
        is_shown: print each violation at once.
    """

    def __init__(self, native: Native, *, is_shown: bool) -> None:
        self._is_shown = is_shown
        self.has_failed = False
        self.monitors = Monitors(native)
        self._console = Terminal(stderr=True)

    def remarks(self) -> Iterator[str]:
        """Take the end of the recording, and give a sentence on each ask without a reply."""
        self.monitors.finish()
        return remarks(self.monitors.pending_asks, self.monitors.pending_ask_count)

    def add(self, entry: Entry) -> None:
        """Check what has just happened."""
        found = self.monitors.feed(entry)
        content, connection = entry.content, entry.connection
        if isinstance(content, ConnectionOpened):
            content = masked_target(content.path)
        if not (self._is_shown and isinstance(content, str | bytes)):
            return
        for violation in violations(found, entry, content, {}):
            verdict = violation.verdict
            self.has_failed |= verdict is Verdict.FAIL
            self._console.print(
                f"[{COLOURS[verdict]}]{verdict.value}[/] connection {connection}: the "
                f"{violation.role} violated {violation.requirement}: "
                f"{escape(violation.explanation)}\n"
                f"    {escape(violation.sentence)}\n"
                f"    {escape(short(content))}"
            )
