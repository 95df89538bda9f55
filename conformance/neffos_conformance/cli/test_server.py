"""The command ``server``: runs the cases on a server under test."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext
from functools import partial
from importlib.metadata import version
from typing import Any

import click
from rich.console import Console

from neffos_conformance.cases.definition import Case, server_cases
from neffos_conformance.cases.features import features_listed, needed
from neffos_conformance.cli.model_based import (
    conclude_explored,
    explored,
    exploring_options,
)
from neffos_conformance.cli.serve import PEER
from neffos_conformance.cli.testing import (
    Options,
    Subject,
    beginning,
    collect,
    conclude,
    judging_options,
    prepare,
    selected,
    show_dry,
    take_options,
    unsupported,
)
from neffos_conformance.model_based import SequenceReport, explore_server
from neffos_conformance.reference.embedded import embedded_server
from neffos_conformance.runner.discovery import discovered
from neffos_conformance.runner.result import Result, in_order
from neffos_conformance.runner.run import to_server
from neffos_conformance.wire.connection import ConnectError, WireConnection


@click.command("server")
@click.argument("url", required=False)
@judging_options("server")
@click.option(
    "--features",
    "listed",
    metavar="LIST",
    help="What of the application the server has, with commas, or all; else it is found out.",
)
@click.option("--peer", metavar="NAME", default="", help="What the server is, for the reports.")
@exploring_options
def server_command(
    url: str | None,
    listed: str | None,
    peer: str,
    is_explored: bool,
    seed: int | None,
    seconds: float,
    **arguments: Any,
) -> None:
    """Judge the server at URL, which runs the conformance application.

    Without a URL the embedded reference server is started on a free port and judged.

    Exit code 1 where a MUST is broken or a case breaks off, 2 where nothing was run.
    """
    options = take_options(arguments)
    everything = server_cases()
    cases = selected(options, everything)
    has = _listed(listed if url is not None or listed is not None else "all")
    if options.dry_run:
        lacks = [] if has is None else _lacking(cases, has)
        show_dry(Console(), cases, lacks)
        return
    deviations = prepare(options)
    began = beginning()
    about = {"peer": peer} if peer else {}
    if url is None:
        about = {"peer": PEER, "version": version("neffos-wire")}
    command = f"neffos-wire server{f' {url}' if url else ''}"
    name = url or "the reference server"
    if is_explored:
        has, found = asyncio.run(_explore(url, has, options, seed, seconds))
        subject = Subject("server", name, about, f"{command} --explore --seed {found.seed}", has)
        conclude_explored(found, subject, options, deviations, began)
    has, results = asyncio.run(_judge(url, cases, has, options))
    subject = Subject("server", name, about, command, has)
    conclude(subject, results, options, deviations, [case.id for case in everything], began)


def _listed(text: str | None) -> frozenset[str] | None:
    """Read the list of features; ``None`` where they are to be found out."""
    if text is None:
        return None
    try:
        return features_listed(text)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _lacking(cases: list[Case], has: frozenset[str]) -> list[Result]:
    return unsupported(cases, lambda case: sorted(needed(case) - has))


async def _explore(
    url: str | None,
    has: frozenset[str] | None,
    options: Options,
    seed: int | None,
    seconds: float,
) -> tuple[frozenset[str], SequenceReport]:
    async with nullcontext(url) if url is not None else embedded_server() as address:
        await _reach(address, options.deadline)
        if has is None:
            has = await discovered(address)
        return has, await explored(partial(explore_server, address, features=has), seed, seconds)


async def _judge(
    url: str | None, cases: list[Case], has: frozenset[str] | None, options: Options
) -> tuple[frozenset[str], list[Result]]:
    async with nullcontext(url) if url is not None else embedded_server() as address:
        await _reach(address, options.deadline)
        if has is None:
            has = await discovered(address)
        left_out = _lacking(cases, has)
        unrun = {result.case.id for result in left_out}
        to_run = [case for case in cases if case.id not in unrun]
        run = to_server(address, options.patience)
        results = await collect(run, to_run, options)
    return has, in_order([*results, *left_out], cases)


async def _reach(url: str, deadline: float) -> None:
    """Stop before any case where there is no server at all."""
    try:
        async with asyncio.timeout(deadline):
            connection = await WireConnection.dial(url)
        await connection.close()
    except (ConnectError, TimeoutError) as error:
        explanation = str(error) or f"no upgrade within {deadline:g} s"
        raise click.UsageError(f"nothing to judge at {url}: {explanation}") from error
