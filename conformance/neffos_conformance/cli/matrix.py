"""The command ``matrix``: which clients and servers understand each other."""

from __future__ import annotations

import asyncio
import json
import shlex
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Final

import click
from rich.console import Console
from rich.table import Table

from neffos_conformance.cli.serve import PEER
from neffos_conformance.cli.test_client import REFERENCE
from neffos_conformance.interop.interop_runs import Endpoint, all_runs
from neffos_conformance.interop.table import Values, markdown, matrix_values, recorded, rows
from neffos_conformance.reference.embedded import embedded_server

_NAMED: Final = "NAME=…"


@click.command("matrix")
@click.option(
    "--server", "servers", multiple=True, metavar=_NAMED, help="A server, by its URL: NAME=URL."
)
@click.option(
    "--client",
    "clients",
    multiple=True,
    metavar=_NAMED,
    help="A client, by its driver's command: NAME=CMD.",
)
@click.option("--json", "as_json", is_flag=True, help="Print it as JSON.")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print it as Markdown.")
def matrix_command(
    servers: Sequence[str], clients: Sequence[str], as_json: bool, as_markdown: bool
) -> None:
    """Show which clients and servers understand each other.

    Without any, the table of all that are known is shown, as it was recorded. With a server or a
    client of your own, those hold a conversation now, and the reference peer stands in for the
    side that is missing. Exit code 1 where a step of a conversation fails.
    """
    if as_json and as_markdown:
        raise click.UsageError("--json or --markdown, not both")
    is_live = bool(servers or clients)
    if is_live:
        endpoints = dict(_named(each, "--server") for each in servers)
        drivers = {
            name: shlex.split(command)
            for name, command in (_named(each, "--client") for each in clients)
        }
        values = asyncio.run(_live(endpoints, drivers))
    else:
        values = recorded()
    if as_json:
        click.echo(json.dumps(values, ensure_ascii=False, indent=1))
    elif as_markdown:
        click.echo(markdown(values), nl=False)
    else:
        _show(values, is_live=is_live)
    if is_live and any(run["failed"] for run in values["runs"]):
        raise SystemExit(1)


def _named(text: str, option: str) -> tuple[str, str]:
    name, is_there, value = text.partition("=")
    if not (name and is_there and value):
        raise click.UsageError(f"{option} {text}: a name, =, and what it stands for")
    return name, value


async def _live(endpoints: dict[str, str], drivers: dict[str, list[str]]) -> Values:
    async with AsyncExitStack() as stack:
        if not endpoints:
            endpoints = {PEER: await stack.enter_async_context(embedded_server())}
        runs = all_runs(
            [Endpoint(name, "", url) for name, url in endpoints.items()],
            drivers or {PEER: list(REFERENCE)},
        )
        return matrix_values([run async for run in runs], {})


def _show(values: Values, *, is_live: bool) -> None:
    console = Console()
    head, body = rows(values)
    table = Table(title="steps of the conversation that go well", title_justify="left")
    for name in head:
        table.add_column(name, overflow="fold")
    for row in body:
        table.add_row(*row)
    console.print(table)
    for run in values["runs"] if is_live else ():
        for step, failure in run["failed"].items():
            console.print(
                f"{run['client']} with {run['server']}, {step}: {failure}",
                markup=False,
                soft_wrap=True,
            )
    if not is_live:
        console.print(f"recorded on {values['recorded']}; --json says why a step fails")
