"""The command ``test server``: runs the cases on a server under test."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import click

from neffos_conformance.cases.definition import Case, server_cases
from neffos_conformance.cases.features import features_listed
from neffos_conformance.cases.profile import Profile, ProfileError
from neffos_conformance.cli import testing
from neffos_conformance.cli.model_based import EXPLORE, SEED, TIME, conclude_explored, explored
from neffos_conformance.cli.options import option
from neffos_conformance.cli.profiles import profile_of, profile_options, write_draft
from neffos_conformance.cli.reaching import reaching
from neffos_conformance.model_based import SequenceReport, explore_server
from neffos_conformance.reference import identity
from neffos_conformance.reference.embedded import embedded_server
from neffos_conformance.runner.discovery import Detected, NotAdmittedError, discovered
from neffos_conformance.runner.pace import Way
from neffos_conformance.runner.result import Result
from neffos_conformance.runner.run import opened, to_server
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
@profile_options
@option("--name", "Name of the server in the reports.", "NAME", default="")
@reaching
@EXPLORE
@SEED
@TIME
def server_command(
    url: str | None,
    options: testing.RunOptions,
    listed: str | None,
    namespace: str | None,
    profile_path: Path | None,
    draft_path: Path | None,
    name: str,
    is_explored: bool,
    seed: int | None,
    seconds: float,
    reached: Reached,
) -> None:
    """Test the server at URL.

    Any neffos server will do. With --namespace, cases also use that namespace; with a profile, or
    on the conformance application, its events, too. Without a URL, the reference server is
    tested. Cases that need what the server lacks are skipped.
    """
    if url is None and reached.typed:
        raise click.UsageError(f"{reached.typed[0]} is of no use without a URL")
    everything = server_cases()
    cases = testing.selected(options, everything)
    profile = profile_of(profile_path, namespace)
    features = _listed(listed if url is not None or listed is not None else "all")
    known = profile.features if features is None else features
    left_out = [] if known is None else _left_out(cases, Detected(known, profile=profile))
    known_failures, began = testing.prepare(options, cases, left_out)
    peer = {"peer": name} if name else {}
    if url is None:
        peer = identity()
    shown = url and masked_url(url)
    words = ("neffos-wire", "test", "server", *([shown] if shown else ()))
    if namespace is not None:
        words += ("--namespace", namespace)
    if profile_path is not None:
        words += ("--profile", str(profile_path))
    command = reached.command(shlex.join(words))
    title = shown or "the reference server"
    target = None if url is None else reached.target(url)
    server = _Server(target, profile, features, options, draft_path)
    if is_explored:
        has, found = asyncio.run(_explore(server, seed, seconds))
        again = f"{command} --explore --seed {found.seed}"
        sut = testing.SystemUnderTest("server", title, peer, again, has)
        conclude_explored(found, sut, options, known_failures, began)
    has, results = asyncio.run(_test(server, cases))
    sut = testing.SystemUnderTest("server", title, peer, command, has)
    testing.conclude(sut, results, options, known_failures, [case.id for case in everything], began)


@dataclass(frozen=True, slots=True)
class _Server:
    """The server, and what its owner says about it.

    Attributes:
        target: where it is, and how it is reached; ``None`` for the reference server.
        profile: its own names.
        features: what it has; ``None`` to detect that.
        options: the options of the run.
        draft_path: the file for a draft of a profile.
    """

    target: Target | None
    profile: Profile
    features: Features | None
    options: testing.RunOptions
    draft_path: Path | None


def _listed(text: str | None) -> Features | None:
    """Read the list of features; ``None`` if they are to be detected."""
    try:
        return None if text is None else features_listed(text)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _left_out(cases: list[Case], has: Detected) -> list[Result]:
    return [result for case in cases if (result := has.result(case))]


@asynccontextmanager
async def _opened(server: _Server) -> AsyncGenerator[tuple[Target, Detected, Way]]:
    """Give the server and its features, and the way to it.

    Raises:
        NothingRanError: the server cannot be reached.
        click.UsageError: the profile is not that of the server.
    """
    options = server.options
    async with nullcontext(server.target) if server.target else embedded_server() as given:
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
        try:
            has = await discovered(
                address, way, server.profile, jobs=options.jobs, listed=server.features
            )
        except ProfileError as error:
            raise click.UsageError(str(error)) from error
        except NotAdmittedError as error:
            raise testing.NothingRanError(str(error)) from error
        if server.draft_path is not None:
            write_draft(server.draft_path, has)
        yield address, has, way


async def _explore(
    server: _Server, seed: int | None, seconds: float
) -> tuple[Detected, SequenceReport]:
    async with _opened(server) as (address, has, way):
        explore = partial(explore_server, address, features=has.there, profile=has.profile)
        return has, await explored(explore, seed, seconds, server.options.timeouts, way)


async def _test(server: _Server, cases: list[Case]) -> tuple[Detected, list[Result]]:
    results: list[Result] = []
    options = server.options
    has = Detected(server.features or frozenset(), profile=server.profile)
    async with testing.run_limit(options) as limit, _opened(server) as opened_server:
        address, has, way = opened_server
        testing.allow_for(way, limit, cases, options)
        results += _left_out(cases, has)
        ids = {result.case.id for result in results}
        left = [case for case in cases if case.id not in ids]
        async with watching(address, way.timeouts, map(has.profile.case, left)) as witness:
            run = to_server(address, way=way, witness=witness, profile=has.profile)
            await testing.collect(run, left, options, results)
    return has, testing.completed(results, cases, options)
