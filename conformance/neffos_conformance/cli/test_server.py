"""The command ``test server``: runs the cases on a server under test."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import click

from neffos_conformance.cases.definition import Case
from neffos_conformance.cases.features import features_listed
from neffos_conformance.cases.profile import Profile, ProfileError
from neffos_conformance.cli import testing
from neffos_conformance.cli.model_based import EXPLORE, SEED, TIME, conclude_explored, explored
from neffos_conformance.cli.options import option
from neffos_conformance.cli.profiles import profile_of, profile_options, write_draft
from neffos_conformance.cli.reaching import reaching, target_at
from neffos_conformance.model_based import SequenceReport, explore_server
from neffos_conformance.reference import identity
from neffos_conformance.reference.embedded import embedded_server
from neffos_conformance.runner import gentle
from neffos_conformance.runner.discovery import Detected, NotAdmittedError, discovered
from neffos_conformance.runner.instances import Instances, common, crossing, retried, titles
from neffos_conformance.runner.pace import Way
from neffos_conformance.runner.result import Result
from neffos_conformance.runner.run import opened, to_server
from neffos_conformance.runner.witness import watching
from neffos_conformance.wire.connection import ConnectError
from neffos_conformance.wire.reach import Gate, Target
from neffos_conformance.wire.reach_options import Reached

Features = frozenset[str]


@click.command("server")
@click.argument("urls", nargs=-1, metavar="[URL]…")
@testing.testing_options("server")
@option(
    "--features listed",
    "Features of the server, with commas, or all.",
    "LIST",
    show_default="detected",
)
@profile_options
@option("--name", "Name of the server in the reports.", "NAME", default="")
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
    options: testing.RunOptions,
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
    everything = testing.all_cases(options, "server")
    cases = testing.selected(options, everything)
    profile = profile_of(profile_path, namespace)
    features = _listed(listed if urls or listed is not None else "all")
    known = profile.features if features is None else features
    left_out = gentle.left_out(cases) if is_gentle else []
    if known is not None:
        has = Detected(known, profile=profile)
        left_out += _left_out(_without(cases, left_out), has)
    known_failures, began = testing.prepare(options, cases, left_out)
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
    server = _Server(targets, profile, features, options, draft_path, gate)
    if is_explored:
        has, found = asyncio.run(_explore(server, seed, seconds))
        again = f"{command} --explore --seed {found.seed}"
        sut = testing.SystemUnderTest("server", title, peer, again, has)
        conclude_explored(found, sut, options, known_failures, began)
    has, results, notes = asyncio.run(_test(server, cases))
    sut = testing.SystemUnderTest("server", title, peer, command, has, notes)
    testing.conclude(sut, results, options, known_failures, [case.id for case in everything], began)


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


@dataclass(frozen=True, slots=True)
class _Server:
    """The server, and what its owner says about it.

    Attributes:
        targets: where each instance is, and how it is reached; empty for the reference server.
        profile: its own names.
        features: what it has; ``None`` to detect that.
        options: the options of the run.
        draft_path: the file for a draft of a profile.
        gate: what connections wait at, and a sign that the run is gentle; ``None`` if it is not.
    """

    targets: tuple[Target, ...]
    profile: Profile
    features: Features | None
    options: testing.RunOptions
    draft_path: Path | None
    gate: Gate | None


def _listed(text: str | None) -> Features | None:
    """Read the list of features; ``None`` if they are to be detected."""
    try:
        return None if text is None else features_listed(text)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _left_out(cases: list[Case], has: Detected) -> list[Result]:
    return [result for case in cases if (result := has.result(case))]


def _without(cases: Sequence[Case], results: Sequence[Result]) -> list[Case]:
    """Give the cases that have no result yet."""
    ids = {result.case.id for result in results}
    return [case for case in cases if case.id not in ids]


@asynccontextmanager
async def _opened(server: _Server) -> AsyncGenerator[tuple[Sequence[Target], Detected, Way]]:
    """Give the instances and the features that they have in common, and the way to them.

    Raises:
        NothingRanError: the server cannot be reached.
        click.UsageError: the profile is not that of the server.
    """
    gate, found = server.gate, []
    async with nullcontext() if server.targets else embedded_server() as own:
        targets: Sequence[Target] = server.targets or [Target.of(own or "")]
        if gate is not None:
            targets = [replace(each, reach=replace(each.reach, gate=gate)) for each in targets]
        way = Way(server.options.timeouts, interval=gate.interval if gate else 0.0)
        for target in targets:
            await _reached(target, way)
            found.append(await _features(server, target, way))
        has = common(found)
        if server.draft_path is not None:
            write_draft(server.draft_path, has)
        yield targets, has, way


async def _reached(target: Target, way: Way) -> None:
    """Open a connection to a server, and measure the way to it.

    Raises:
        NothingRanError: the server cannot be reached.
    """
    try:
        async with asyncio.timeout(way.measure_timeout), opened(target):
            pass
    except (ConnectError, TimeoutError) as error:
        explanation = str(error) or f"no upgrade within {way.measure_timeout:g} s"
        raise testing.NothingRanError(
            f"no server at {target}: {explanation}. Try: neffos-wire doctor URL"
        ) from error
    await way.check(partial(opened, target))


async def _features(server: _Server, target: Target, way: Way) -> Detected:
    try:
        return await discovered(
            target, way, server.profile, jobs=server.options.jobs, listed=server.features
        )
    except ProfileError as error:
        raise click.UsageError(str(error)) from error
    except NotAdmittedError as error:
        raise testing.NothingRanError(str(error)) from error


async def _explore(
    server: _Server, seed: int | None, seconds: float
) -> tuple[Detected, SequenceReport]:
    async with _opened(server) as ((target,), has, way):
        explore = partial(explore_server, target, features=has.there, profile=has.profile)
        return has, await explored(explore, seed, seconds, server.options.timeouts, way)


async def _test(
    server: _Server, cases: list[Case]
) -> tuple[Detected, list[Result], tuple[str, ...]]:
    """Run the cases; give the features, the results, and the notes on how they ran."""
    results = gentle.left_out(cases) if server.gate else []
    notes = [gentle.note(results, cases)] if server.gate else []
    options = server.options
    has = Detected(server.features or frozenset(), profile=server.profile)
    split: Instances | None = None
    async with testing.run_limit(options) as limit, _opened(server) as opened_server:
        (first, *others), has, way = opened_server
        testing.allow_for(way, limit, cases, options)
        results += _left_out(_without(cases, results), has)
        left = _without(cases, results)
        if others:  # a witness would hear nothing of what does not cross
            one = partial(to_server, first, profile=has.profile)
            patient, hasty = (one(way=each, others=others) for each in (crossing(way), way))
            split = Instances(1 + len(others), retried(one(way=way)), patient, hasty)
            await testing.collect(split.run, left, options, results)
        else:
            async with watching(first, way.timeouts, map(has.profile.case, left)) as witness:
                run = to_server(first, way=way, witness=witness, profile=has.profile)
                await testing.collect(retried(run), left, options, results)
    if split is not None:
        notes.append(split.note())
    return has, testing.completed(results, cases, options), tuple(notes)
