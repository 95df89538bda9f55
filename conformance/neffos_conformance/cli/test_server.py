"""The command ``test server``: runs the cases on a server under test."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from neffos_conformance.cases.definition import Case
from neffos_conformance.cases.features import by_id
from neffos_conformance.cases.profile import STANDARD
from neffos_conformance.cli import testing
from neffos_conformance.cli.model_based import EXPLORE, SEED, TIME, conclude_explored, explored
from neffos_conformance.cli.options import option
from neffos_conformance.cli.profiles import profile_of, profile_options
from neffos_conformance.cli.reaching import reaching, target_at
from neffos_conformance.cli.run_options import (
    RunOptions,
    all_cases,
    prepare,
    selected,
    testing_options,
)
from neffos_conformance.cli.servers import (
    ServerUnderTest,
    features_option,
    listed_features,
    name_option,
    opened_servers,
)
from neffos_conformance.reference import identity
from neffos_conformance.runner import gentle
from neffos_conformance.runner.discovery import Detected
from neffos_conformance.runner.instances import Instances, retried, titles
from neffos_conformance.runner.pace import Way
from neffos_conformance.runner.result import Result, without
from neffos_conformance.runner.run import to_server
from neffos_conformance.runner.varying import Varied
from neffos_conformance.runner.witness import watching
from neffos_conformance.wire.reach import Gate, Target
from neffos_conformance.wire.reach_options import Reached
from neffos_protocol import Role

if TYPE_CHECKING:
    from neffos_conformance.model_based import SequenceReport


@click.command("server")
@click.argument("urls", nargs=-1, metavar="[URL]…")
@testing_options("server")
@features_option("server")
@profile_options
@name_option("server")
@option(
    "--gentle is_gentle",
    "Only cases that do no harm, one at a time and slowly, for a server that others use.",
)
@reaching
@EXPLORE
@SEED
@TIME
def server_command(
    urls: tuple[str, ...],
    options: RunOptions,
    listed: str | None,
    namespace: str | None,
    profile_path: Path | None,
    draft_path: Path | None,
    name: str,
    is_gentle: bool,
    is_explored: bool,
    seed: int | None,
    seconds: float,
    reached: Reached,
) -> None:
    """Test the server at URL.

    Any neffos server will do. With --namespace, cases also use that namespace; with a profile, or
    on the conformance application, its events, too. Without a URL, the reference server is
    tested. Cases that need what the server lacks are skipped. Several URLs are instances of one
    service: the clients of each case are spread over them, and the report names what does not
    cross.
    """
    _check_usage(urls, reached, is_gentle=is_gentle, is_explored=is_explored)
    everything = all_cases(options, "server")
    cases = selected(options, everything)
    profile = profile_of(profile_path, namespace)
    features = listed_features(listed if urls or listed is not None else "all")
    known = profile.features if features is None else features
    left_out = gentle.left_out(cases) if is_gentle else []
    if known is not None:
        has = Detected(known, profile=profile)
        left_out += has.left_out(without(cases, left_out))
    run = prepare(options, everything, cases, left_out)
    if is_gentle:
        options = replace(options, jobs=gentle.JOBS)
    peer = {"peer": name} if name else {}
    if not urls:
        peer = identity()
    targets = tuple(target_at(url, reached) for url in urls)
    shown = list(map(str, targets))
    words = ("neffos-wire", "test", "server", *shown)
    if namespace is not None:
        words += ("--namespace", namespace)
    if profile_path is not None:
        words += ("--profile", str(profile_path))
    if is_gentle:
        words += ("--gentle",)
    command = reached.command(shlex.join(words))
    title = titles(shown) or "the reference server"
    gate = Gate(gentle.INTERVAL) if is_gentle else None
    server = ServerUnderTest(targets, profile, features, options, draft_path, gate)
    if is_explored:
        has, found = asyncio.run(_explore(server, seed, seconds))
        again = f"{command} --explore --seed {found.seed}"
        sut = testing.SystemUnderTest("server", title, peer, again, has)
        conclude_explored(found, sut, run)
    variations = Varied()
    has, results, notes = asyncio.run(_test(server, cases, variations))
    sut = testing.SystemUnderTest("server", title, peer, command, has, notes)
    testing.conclude(sut, results, run, variations=variations)


def _check_usage(
    urls: Sequence[str], reached: Reached, *, is_gentle: bool, is_explored: bool
) -> None:
    """Refuse options that say nothing together.

    Raises:
        click.UsageError: with the options.
    """
    if not urls and reached.typed:
        raise click.UsageError(f"{reached.typed[0]} is of no use without a URL")
    if is_explored and is_gentle:
        raise click.UsageError("--explore and --gentle exclude each other")
    if is_explored and len(urls) > 1:
        raise click.UsageError("--explore takes one URL")
    if len(urls) > 1 and reached.reach.unix_socket:
        raise click.UsageError("--unix-socket leads to one server, not to several")


def _may_refuse(has: Detected) -> bool:
    """Whether a server is one of its owner's, and may have a policy for names."""
    return has.profile != STANDARD or has.there < by_id().keys()


async def _walk(
    target: Target,
    has: Detected,
    way: Way,
    results: Sequence[Result],
    options: RunOptions,
    variations: Varied,
) -> None:
    """Run the walks, if the server has the whole application under its own names."""
    if not _may_refuse(has):
        from neffos_conformance.model_based import explore_server

        explore = partial(explore_server, target)
        await testing.walked(explore, Role.SERVER, results, options, variations, way)


async def _explore(
    server: ServerUnderTest, seed: int | None, seconds: float
) -> tuple[Detected, SequenceReport]:
    from neffos_conformance.model_based import explore_server

    async with opened_servers(server) as ((target,), has, way):
        explore = partial(explore_server, target, features=has.there, profile=has.profile)
        return has, await explored(explore, seed, seconds, server.options.timeouts, way)


async def _test(
    server: ServerUnderTest, cases: list[Case], variations: Varied
) -> tuple[Detected, list[Result], tuple[str, ...]]:
    """Run the cases; give the features, the results, and the notes on how they ran."""
    results = gentle.left_out(cases) if server.gate else []
    notes = [gentle.note(results, cases)] if server.gate else []
    options = server.options
    has = Detected(server.features or frozenset(), profile=server.profile)
    split: Instances | None = None
    async with testing.run_limit(options) as limit, opened_servers(server) as opened_server:
        targets, has, way = opened_server
        testing.allow_for(way, limit, cases, options)
        results += has.left_out(without(cases, results))
        left = without(cases, results)
        first = targets[0]
        if len(targets) > 1:  # a witness would hear nothing of what does not cross
            split = Instances.of(targets, way, has.profile)
            await testing.collect(split.run, left, options, results)
        else:
            async with watching(first, way.timeouts, map(has.profile.case, left)) as witness:
                run = to_server(first, way=way, witness=witness, profile=has.profile)
                await testing.collect(retried(run), left, options, results)
                if server.gate is None:  # a server that others use gets no more than it must
                    await testing.varied(
                        retried(run),
                        cases,
                        results,
                        options,
                        variations,
                        lambda case: has.result(case) is None,
                        may_refuse=_may_refuse(has),
                    )
            if server.gate is None:
                await _walk(first, has, way, results, options, variations)
    if split is not None:
        notes.append(split.note())
    return has, testing.completed(results, cases, options), tuple(notes)
