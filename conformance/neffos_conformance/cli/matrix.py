"""The command ``matrix``: the compatibility matrix of clients and servers."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Final

import click
from rich.table import Table

from neffos_conformance.cli.main import EXIT_FAIL, EXIT_PASS, EXIT_USAGE
from neffos_conformance.cli.options import JSON, option
from neffos_conformance.cli.reaching import reaching, target_at
from neffos_conformance.cli.test_client import REFERENCE
from neffos_conformance.interop.interop_runs import NOT_CARRIED, NOT_RUN, Endpoint, all_runs
from neffos_conformance.interop.table import Values, markdown, matrix_values, recorded, rows
from neffos_conformance.reference import PEER
from neffos_conformance.reference.embedded import embedded_server
from neffos_conformance.wire.console import Terminal
from neffos_conformance.wire.reach_options import Reached
from neffos_conformance.wire.relay import relaying
from neffos_conformance.wire.secrets import masked
from neffos_conformance.wire.terminal import echo
from neffos_protocol.text import ascii_json


@click.command("matrix")
@option("--server servers", "Server with its name.", "NAME=URL", multiple=True)
@option(
    "--client clients",
    "Client with its name, by the command of its driver.",
    "NAME=COMMAND",
    multiple=True,
)
@reaching
@JSON
@option("--markdown as_markdown", "Output as Markdown.")
def matrix_command(
    servers: Sequence[str],
    clients: Sequence[str],
    as_json: bool,
    as_markdown: bool,
    reached: Reached,
) -> None:
    """Show the compatibility matrix, or test your own pairs.

    Without options, the command shows the recorded matrix of all tested implementations. With
    servers or clients of your own, it runs the interop steps on every pair now. The reference
    server or client is used if you give none. A failed step counts as failed. With an option on
    how servers are reached, the clients connect to a relay that reaches them so.
    """
    if as_json and as_markdown:
        raise click.UsageError("--json and --markdown exclude each other")
    is_live = bool(servers or clients)
    if reached.typed and not servers:
        raise click.UsageError(f"{reached.typed[0]} is of no use without --server NAME=URL")
    if is_live:
        endpoints = dict(_named(each, "--server") for each in servers)
        drivers = {
            name: shlex.split(command)
            for name, command in (_named(each, "--client") for each in clients)
        }
        values = asyncio.run(_live(endpoints, drivers, reached))
    else:
        values = recorded()
    if as_json:
        echo(ascii_json(values, indent=1))
    elif as_markdown:
        echo(markdown(values), nl=False)
    else:
        _show(values, is_live=is_live)
    if is_live:
        raise SystemExit(_STATUS[_verdict(values)])


_STATUS: Final = {"PASS": EXIT_PASS, "FAIL": EXIT_FAIL, "UNKNOWN": EXIT_USAGE}


def _verdict(values: Values) -> str:
    """Give the verdict on all runs: nothing is known about what the network did not carry."""
    failures = [text for run in values["runs"] for text in run["failed"].values()]
    if any(not text.startswith((NOT_RUN, NOT_CARRIED)) for text in failures):
        return "FAIL"
    return "UNKNOWN" if failures else "PASS"


def _named(text: str, option: str) -> tuple[str, str]:
    name, is_there, value = text.partition("=")
    if not (name and is_there and value):
        raise click.UsageError(f"{option} {text} has no name or no value. Try: {option} NAME=VALUE")
    return name, value


async def _live(
    endpoints: dict[str, str], drivers: dict[str, list[str]], reached: Reached
) -> Values:
    async with AsyncExitStack() as stack:
        for name, url in endpoints.items():
            target = target_at(url, reached)
            if reached.typed:  # drivers know nothing but a URL
                relay = relaying(target, lambda *_: None)
                endpoints[name] = (await stack.enter_async_context(relay)).url
        if not endpoints:
            endpoints = {PEER: await stack.enter_async_context(embedded_server())}
        runs = all_runs(
            [Endpoint(name, "", url) for name, url in endpoints.items()],
            drivers or {PEER: list(REFERENCE)},
        )
        values = matrix_values([run async for run in runs], {})
        for each in values["runs"]:
            each["failed"] = {step: masked(text) for step, text in each["failed"].items()}
        return values


def _show(values: Values, *, is_live: bool) -> None:
    console = Terminal()
    head, body = rows(values)
    table = Table(title="interop steps that pass", title_justify="left")
    for name in head:
        table.add_column(name, overflow="fold")
    for row in body:
        table.add_row(*row)
    console.print(table)
    for run in values["runs"] if is_live else ():
        not_run = [step for step, text in run["failed"].items() if text.startswith(NOT_RUN)]
        for step, failure in run["failed"].items():
            if step not in not_run:
                more = f" ({len(not_run)} further steps were not run)" if not_run else ""
                text = f"{run['client']} with {run['server']}, {step}: {failure}{more}"
                console.print(text, markup=False, soft_wrap=True)
    if is_live:
        console.print(_verdict(values))
    if not is_live:
        console.print(f"recorded on {values['recorded']}; --json shows why a step fails")
