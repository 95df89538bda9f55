"""The command ``client``: runs the cases on a client under test."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import Any, Final

import click
from rich.console import Console

from neffos_conformance.cases.definition import Case, client_cases
from neffos_conformance.cli.model_based import (
    conclude_explored,
    explored,
    exploring_options,
)
from neffos_conformance.cli.testing import (
    Options,
    beginning,
    behind,
    collect,
    conclude,
    judging_options,
    prepare,
    reference,
    selected,
    show_dry,
    take_options,
)
from neffos_conformance.model_based import SequenceReport, drivers, explore_driven
from neffos_conformance.runner.driver_pool import to_client
from neffos_conformance.runner.driver_protocol import DriverError
from neffos_conformance.runner.result import Result

REFERENCE: Final = reference("driver")
"""The driver of our own client."""


@click.command("client", context_settings={"ignore_unknown_options": True})
@judging_options("client")
@exploring_options
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[-- CMD…]")
def client_command(
    command: tuple[str, ...],
    is_explored: bool,
    seed: int | None,
    seconds: float,
    **arguments: Any,
) -> None:
    """Judge the client behind a driver, CMD; by default the reference client.

    See the page "The driver protocol" of the specification. Cases that need what the driver does
    not support are not judged. Exit code 1 where a MUST is broken or a case breaks off, 2 where
    nothing was run.
    """
    options = take_options(arguments)
    everything = client_cases()
    cases = selected(options, everything)
    if options.dry_run:
        show_dry(Console(), cases, [])
        return
    deviations = prepare(options)
    began = beginning()
    try:
        if is_explored:
            ready, found = asyncio.run(_explore(command or REFERENCE, seed, seconds))
            subject = behind("client", command, ready)
            # What stands behind the dashes belongs to the client's driver.
            ours, dashes, theirs = subject.command.partition(" -- ")
            again = f"{ours} --explore --seed {found.seed}{dashes}{theirs}"
            subject = replace(subject, command=again)
            conclude_explored(found, subject, options, deviations, began)
        ready, results = asyncio.run(_judge(command or REFERENCE, cases, options))
    except DriverError as error:
        raise click.UsageError(str(error)) from error
    subject = behind("client", command, ready)
    conclude(subject, results, options, deviations, [case.id for case in everything], began)


async def _explore(
    command: tuple[str, ...], seed: int | None, seconds: float
) -> tuple[dict[str, Any], SequenceReport]:
    async with drivers(command) as started:
        take, ready, operations = started
        explore = partial(explore_driven, take, operations=operations)
        return ready, await explored(explore, seed, seconds)


async def _judge(
    command: tuple[str, ...], cases: list[Case], options: Options
) -> tuple[dict[str, Any], list[Result]]:
    async with to_client(command, drivers=options.at_once, timeouts=options.patience) as started:
        run, ready = started
        return ready, await collect(run, cases, options)
