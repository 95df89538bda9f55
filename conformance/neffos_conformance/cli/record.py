"""The command ``record``: relays between clients and a server, and records the messages."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Final

import click
from rich.markup import escape

from neffos_conformance.cases.verdict import COLOURS, Verdict
from neffos_conformance.cli.options import HOST, NATIVE, READY, option
from neffos_conformance.cli.reaching import reaching, target_at
from neffos_conformance.cli.refusals import refusing, writing
from neffos_conformance.recordings.check_report import place_of, remarks, violations
from neffos_conformance.recordings.checking import Monitors
from neffos_conformance.wire.broker import BrokerError, broker_at, kind_of, masked_broker
from neffos_conformance.wire.cluster import Relays, hearing, relays_of
from neffos_conformance.wire.console import Terminal
from neffos_conformance.wire.networks import Network, network_before, networks
from neffos_conformance.wire.packed import InputError, open_packed
from neffos_conformance.wire.payloads import short, text_if_utf8
from neffos_conformance.wire.reach_options import Reached, listening_tls
from neffos_conformance.wire.relay import Relay
from neffos_conformance.wire.secrets import masked_target, masked_url
from neffos_conformance.wire.standard_input import interrupted
from neffos_conformance.wire.terminal import echo
from neffos_conformance.wire.transcript import (
    ConnectionOpened,
    Content,
    Entry,
    Header,
    Published,
    Writer,
    header,
)
from neffos_protocol.text import ascii_json, visible

MAX_SHOWN: Final = 400
"""Characters of a line on what the relay did, which may quote a server."""


@click.command("record")
@click.argument("servers", metavar="URL…", nargs=-1, required=True)
@option(
    "-o --output",
    "Recording to write, compressed if it ends with .gz or .zst; an existing file is replaced.",
    "FILE",
    required=True,
)
@HOST
@option(
    "--port",
    "Port to listen on, and the next ones for further servers; 0 for any free ones.",
    "PORT",
    default=0,
)
@option("--broker", "Redis or NATS that the servers share; what they publish is recorded.", "URL")
@option("--prefix", "What the recorded channels begin with.", "TEXT", show_default="all channels")
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
@option(
    "--server-name server_names",
    "Name of the server; with several servers, once for each.",
    "NAME",
    multiple=True,
    show_default="unknown",
)
@READY
@reaching
def record_command(
    servers: tuple[str, ...],
    output: Path,
    host: str,
    port: int,
    broker: str | None,
    prefix: str | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    network: str | None,
    check: bool,
    native: str,
    keep_query: bool,
    scenario: str,
    client_name: str,
    server_names: tuple[str, ...],
    as_json: bool,
    reached: Reached,
) -> None:
    """Record the connections of clients to the server at URL.

    The command is a relay: connect the client to the URL that it prints. Before several servers
    there are as many relays, and --broker records what the servers publish there, too. Each message
    is written at once, so a recording is readable up to its last line even if the command is
    killed. Only its owner can read it. With --check, a violated MUST counts as failed. With
    --network, the clients reach the relay through a network that is far, thin or lossy.
    """
    if prefix and broker is None:
        raise click.UsageError("--prefix is of no use without --broker URL")
    if len(server_names) > len(servers):
        text = f"expected {len(servers)} or fewer, actual {len(server_names)}"
        raise click.UsageError(f"there are more names than servers: {text}")
    targets = [target_at(each, reached) for each in servers]  # before a file is replaced
    with refusing(BrokerError, ValueError):
        tls = listening_tls(tls_cert, tls_key)
        between = networks()[network] if network else None
        own, *others = [
            {"peer": name or "unknown", "url": masked_url(url)}
            for url, name in zip_longest(servers, server_names)
        ]
        first = header(
            scenario=scenario,
            client={"peer": client_name},
            server=own,
            how="neffos-wire record",
            native=native,
            broker=_broker(broker, prefix) if broker else None,
            other_servers=others,
        )
    live = _LiveCheck(first, is_shown=check)
    with refusing(InputError), writing(output):
        output.parent.mkdir(parents=True, exist_ok=True)
        opened = open_packed(output)
    with refusing(OSError, ValueError), opened as stream:
        writer = Writer(stream, first)

        def record(connection: int, from_client: bool, content: Content | Published) -> None:
            written = content
            if isinstance(content, ConnectionOpened) and not keep_query:
                written = content._replace(path=masked_target(content.path))
            entry = writer.write(connection, from_client, written)
            live.add(entry._replace(content=content))

        relays = relays_of(targets, record, tls=tls, notice=_notice)
        heard = broker and hearing(broker, record, prefix=prefix or "", notice=_notice)
        listening = _Listening(host, port, between)
        asyncio.run(_relay(relays, servers, heard or None, listening, as_json))
    for remark in live.remarks():
        echo(remark, err=True)
    if live.monitors.given_up:
        words = "connections were too many at a time, and not checked to their end"
        echo(f"{live.monitors.given_up} {words}", err=True)
    if live.has_failed:
        sys.exit(1)


def _broker(url: str, prefix: str | None) -> dict[str, str]:
    """Give a broker for the header, once it is reached.

    Raises:
        BrokerError: it cannot be reached.
    """

    async def reach() -> None:
        async with broker_at(url, lambda *_: None):
            pass

    asyncio.run(reach())
    return {"kind": kind_of(url), "url": masked_broker(url), "prefix": prefix or ""}


@dataclass(frozen=True, slots=True)
class _Listening:
    """Where the relays listen.

    Attributes:
        host: the address.
        port: of the first one; 0 for free ports.
        network: between the clients and the relays.
    """

    host: str
    port: int
    network: Network | None

    @asynccontextmanager
    async def before(
        self, relayed: Callable[..., AbstractAsyncContextManager[Relay]], index: int
    ) -> AsyncIterator[tuple[str, asyncio.Future[None]]]:
        """Start a relay; give its URL for clients, and what is set when recording failed."""
        port = self.port and self.port + index
        if self.network is None:
            async with relayed(host=self.host, port=port) as relay:
                yield relay.url, relay.failed
            return
        async with (
            relayed(host="127.0.0.1", port=0) as relay,
            network_before(relay.url, self.network, host=self.host, port=port) as url,
        ):
            yield url, relay.failed


async def _relay(
    relays: Relays,
    servers: Sequence[str],
    heard: AbstractAsyncContextManager[asyncio.Future[None]] | None,
    listening: _Listening,
    as_json: bool,
) -> None:
    end = interrupted(or_ended=as_json)
    async with AsyncExitStack() as stack:
        failed = [await stack.enter_async_context(heard)] if heard else []
        urls = []
        for index, relayed in enumerate(relays):
            url, failure = await stack.enter_async_context(listening.before(relayed, index))
            urls.append(url)
            failed.append(failure)
        if as_json:
            names = ("relay", *(f"relay-{number}" for number in range(2, len(urls) + 1)))
            endpoints = dict(zip(names, urls, strict=True))
            echo(ascii_json({"ready": True, "endpoints": endpoints}))
        else:
            for url, server in zip(urls, servers, strict=True):
                echo(f"relaying {url} to {masked_url(server)}; Ctrl-C ends it", err=True)
        either: set[asyncio.Future[Any]] = {asyncio.create_task(end.wait()), *failed}
        await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        for failure in failed:
            if failure.done():
                failure.result()


def _notice(text: str) -> None:
    echo(visible(text, limit=MAX_SHOWN), err=True)


class _LiveCheck:
    """Checks messages as they pass.

    Args:
        first: the header.
        is_shown: print each violation at once.
    """

    def __init__(self, first: Header, *, is_shown: bool) -> None:
        self._is_shown = is_shown
        self.has_failed = False
        self.monitors = Monitors(first)
        self._console = Terminal(stderr=True)

    def remarks(self) -> Iterator[str]:
        """Take the end of the recording; give the suspicions, and each ask without a reply."""
        self.monitors.finish()
        yield from self.monitors.suspicions
        yield from remarks(self.monitors.pending_asks, self.monitors.pending_ask_count)

    def add(self, entry: Entry) -> None:
        """Check what has just happened."""
        found = self.monitors.feed(entry)
        content, connection = entry.content, entry.connection
        if isinstance(content, ConnectionOpened):
            content = masked_target(content.path)
        elif isinstance(content, Published):
            content = text_if_utf8(content.payload)
        if not (self._is_shown and isinstance(content, str | bytes)):
            return
        for violation in violations(found, entry, content, {}):
            verdict = violation.verdict
            self.has_failed |= verdict is Verdict.FAIL
            self._console.print(
                f"[{COLOURS[verdict]}]{verdict.value}[/] {place_of(connection)}: the "
                f"{violation.role} violated {violation.requirement}: "
                f"{escape(violation.explanation)}\n"
                f"    {escape(violation.sentence)}\n"
                f"    {escape(short(content))}"
            )
