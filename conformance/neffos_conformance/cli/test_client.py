"""The command ``test client``: runs the cases on a client under test."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import Any, Final

import click

from neffos_conformance.cases.definition import Case
from neffos_conformance.cli import testing
from neffos_conformance.cli.model_based import EXPLORE, SEED, TIME, conclude_explored, explored
from neffos_conformance.model_based import SequenceReport, drivers, explore_driven
from neffos_conformance.runner.driver_pool import to_client
from neffos_conformance.runner.driver_protocol import DriverError
from neffos_conformance.runner.result import Result

REFERENCE: Final = testing.reference("driver")
"""The driver of the reference client."""


@click.command("client", context_settings={"ignore_unknown_options": True})
@testing.testing_options("client")
@EXPLORE
@SEED
@TIME
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND…]")
def client_command(
    command: tuple[str, ...],
    options: testing.RunOptions,
    is_explored: bool,
    seed: int | None,
    seconds: float,
) -> None:
    """Test the client that COMMAND drives.

    Without a COMMAND, the reference client is tested. See the page "The driver protocol" of the
    specification. Cases that need an operation which the driver does not support are skipped.
    """
    everything = testing.all_cases(options, "client")
    cases = testing.selected(options, everything)
    known_failures, began = testing.prepare(options, cases)
    try:
        if is_explored:
            ready, found = asyncio.run(_explore(command or REFERENCE, seed, seconds))
            sut = testing.SystemUnderTest.started_by("client", command, ready)
            ours, dashes, drivers_own = sut.command.partition(" -- ")
            again = f"{ours} --explore --seed {found.seed}{dashes}{drivers_own}"
            sut = replace(sut, command=again)
            conclude_explored(found, sut, options, known_failures, began)
        ready, results = asyncio.run(_test(command or REFERENCE, cases, options))
    except DriverError as error:
        raise testing.NothingRanError(str(error)) from error
    sut = testing.SystemUnderTest.started_by("client", command, ready)
    testing.conclude(sut, results, options, known_failures, [case.id for case in everything], began)


async def _explore(
    command: tuple[str, ...], seed: int | None, seconds: float
) -> tuple[dict[str, Any], SequenceReport]:
    async with drivers(command) as started:
        take, ready, operations = started
        explore = partial(explore_driven, take, operations=operations)
        return ready, await explored(explore, seed, seconds)


async def _test(
    command: tuple[str, ...], cases: list[Case], options: testing.RunOptions
) -> tuple[dict[str, Any], list[Result]]:
    ready: dict[str, Any] = {}
    results: list[Result] = []
    async with (
        testing.run_limit(options),
        to_client(command, drivers=options.jobs, timeouts=options.timeouts) as started,
    ):
        run, ready = started
        await testing.collect(run, cases, options, results)
    return ready, testing.completed(results, cases, options)
