"""The command ``test server``: runs the cases on a server under test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, nullcontext
from functools import partial

import click

from neffos_conformance.cases.definition import Case, server_cases
from neffos_conformance.cases.features import features_listed
from neffos_conformance.cli import testing
from neffos_conformance.cli.model_based import EXPLORE, SEED, TIME, conclude_explored, explored
from neffos_conformance.cli.options import option
from neffos_conformance.cli.reaching import reaching
from neffos_conformance.model_based import SequenceReport, explore_server
from neffos_conformance.reference import identity
from neffos_conformance.reference.embedded import embedded_server
from neffos_conformance.runner.pace import Way
from neffos_conformance.runner.result import Result
from neffos_conformance.runner.run import Detected, discovered, opened, to_server
from neffos_conformance.runner.witness import watching
from neffos_conformance.wire.connection import ConnectError
from neffos_conformance.wire.reach import Target
from neffos_conformance.wire.reach_options import Reached
from neffos_conformance.wire.secrets import masked_url

Features = frozenset[str]


@click.command("server")
@click.argument("url", required=False)
@testing.testing_options("server")
@option(
    "--features listed",
    "Features of the server, with commas, or all.",
    "LIST",
    show_default="detected",
)
@option("--name", "Name of the server in the reports.", "NAME", default="")
@reaching
@EXPLORE
@SEED
@TIME
def server_command(
    url: str | None,
    options: testing.RunOptions,
    listed: str | None,
    name: str,
    is_explored: bool,
    seed: int | None,
    seconds: float,
    reached: Reached,
) -> None:
    """Test the server at URL.

    The server runs the conformance application. Without a URL, the reference server is tested.
    Cases that need a feature which the server lacks are skipped.
    """
    if url is None and reached.typed:
        raise click.UsageError(f"{reached.typed[0]} is of no use without a URL")
    everything = server_cases()
    cases = testing.selected(options, everything)
    features = _listed(listed if url is not None or listed is not None else "all")
    left_out = [] if features is None else _left_out(cases, Detected(features))
    known_failures, began = testing.prepare(options, cases, left_out)
    peer = {"peer": name} if name else {}
    if url is None:
        peer = identity()
    shown = url and masked_url(url)
    command = reached.command(f"neffos-wire test server{f' {shown}' if shown else ''}")
    target = None if url is None else reached.target(url)
    title = shown or "the reference server"
    if is_explored:
        features, found = asyncio.run(_explore(target, features, options, seed, seconds))
        again = f"{command} --explore --seed {found.seed}"
        sut = testing.SystemUnderTest("server", title, peer, again, features)
        conclude_explored(found, sut, options, known_failures, began)
    features, results = asyncio.run(_test(target, cases, features, options))
    sut = testing.SystemUnderTest("server", title, peer, command, features)
    testing.conclude(sut, results, options, known_failures, [case.id for case in everything], began)


def _listed(text: str | None) -> Features | None:
    """Read the list of features; ``None`` if they are to be detected."""
    try:
        return None if text is None else features_listed(text)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _left_out(cases: list[Case], has: Detected) -> list[Result]:
    return [result for case in cases if (result := has.result(case))]


@asynccontextmanager
async def _server(
    target: Target | None, features: Features | None, options: testing.RunOptions
) -> AsyncGenerator[tuple[Target, Detected, Way]]:
    """Give the server and its features, and the way to it.

    Raises:
        NothingRanError: the server cannot be reached.
    """
    async with nullcontext(target) if target is not None else embedded_server() as given:
        address = Target.of(given)
        way = Way(options.timeouts)
        try:
            async with asyncio.timeout(way.measure_timeout), opened(address):
                pass
        except (ConnectError, TimeoutError) as error:
            explanation = str(error) or f"no upgrade within {way.measure_timeout:g} s"
            raise testing.NothingRanError(
                f"no server at {address}: {explanation}. Try: neffos-wire doctor URL"
            ) from error
        await way.check(partial(opened, address))
        has = Detected(features) if features is not None else await discovered(address, way)
        yield address, has, way


async def _explore(
    target: Target | None,
    features: Features | None,
    options: testing.RunOptions,
    seed: int | None,
    seconds: float,
) -> tuple[Features, SequenceReport]:
    async with _server(target, features, options) as (address, has, way):
        explore = partial(explore_server, address, features=has.there)
        found = await explored(explore, seed, seconds, way.timeouts)
        if found.counterexamples and (reason := await way.check(partial(opened, address))):
            text = f"the network does not carry what is sent, so nothing is known: {reason}"
            raise testing.NothingRanError(text)
        return has.there, found


async def _test(
    target: Target | None, cases: list[Case], features: Features | None, options: testing.RunOptions
) -> tuple[Features, list[Result]]:
    results: list[Result] = []
    has = Detected(features or frozenset())
    async with (
        testing.run_limit(options) as limit,
        _server(target, features, options) as server,
    ):
        address, has, way = server
        testing.allow_for(way, limit, cases, options)
        results += _left_out(cases, has)
        ids = {result.case.id for result in results}
        left = [case for case in cases if case.id not in ids]
        async with watching(address, way.timeouts, left) as witness:
            run = to_server(address, way=way, witness=witness)
            await testing.collect(run, left, options, results)
    return has.there, testing.completed(results, cases, options)
