"""The command ``test client``: runs the cases on a client under test."""

from __future__ import annotations

import asyncio
import shlex
import ssl
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, NoReturn

import click

from neffos_conformance.cases.definition import Case
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.cli import testing
from neffos_conformance.cli.listening import listened, read_address, read_headers
from neffos_conformance.cli.model_based import EXPLORE, SEED, TIME, conclude_explored, explored
from neffos_conformance.cli.options import option
from neffos_conformance.cli.profiles import profile_of
from neffos_conformance.cli.refusals import refusing
from neffos_conformance.cli.run_options import (
    RunOptions,
    all_cases,
    prepare,
    selected,
    testing_options,
)
from neffos_conformance.listening.observed import SEEN
from neffos_conformance.listening.session import ClientNames
from neffos_conformance.listening.undriven import NEEDS_DRIVER, undriven
from neffos_conformance.model_based import SequenceReport, drivers, explore_driven
from neffos_conformance.runner.driver_pool import to_client
from neffos_conformance.runner.driver_protocol import DriverError
from neffos_conformance.runner.result import Result
from neffos_conformance.runner.varying import Varied
from neffos_conformance.wire.reach_options import listening_tls
from neffos_conformance.wire.secrets import MASK
from neffos_protocol import Role

REFERENCE: Final = testing.reference("driver")
"""The driver of the reference client."""


@click.command("client", context_settings={"ignore_unknown_options": True})
@testing_options("client")
@EXPLORE
@SEED
@TIME
@option(
    "--listen",
    "Test the clients that connect to this address; nobody drives them.",
    "[HOST:]PORT",
)
@option("--namespace", "Namespace that the client connects by itself.", "NAME")
@option("--profile profile_path", "Names of the client for what cases use (TOML).", "FILE")
@option("--tls-cert", "Certificate of --listen (PEM); clients use wss then.", "FILE")
@option("--tls-key", "Key of that certificate (PEM), if it is in another file.", "FILE")
@option(
    "--expect-header expected_headers",
    "Header that the client sends: NAME, or 'NAME: VALUE'.",
    "HEADER",
    multiple=True,
)
@option("--remote", "Measurement of the network to a client that its driver starts elsewhere.")
@option("--reconnects", "Reconnection by the client itself when its connection is lost.")
@click.argument("command", nargs=-1, type=click.UNPROCESSED, metavar="[-- COMMAND…]")
def client_command(
    command: tuple[str, ...],
    options: RunOptions,
    is_explored: bool,
    seed: int | None,
    seconds: float,
    listen: str | None,
    namespace: str | None,
    profile_path: Path | None,
    tls_cert: Path | None,
    tls_key: Path | None,
    expected_headers: tuple[str, ...],
    reconnects: bool,
    remote: bool,
) -> None:
    """Test the client that COMMAND drives, or one that connects.

    Without a COMMAND, the reference client is tested. See the page "The driver protocol" of the
    specification. Cases that need an operation which the driver does not support are skipped.

    With --listen, nobody drives the client: dial the address that the command prints. Each
    connection gets the next case, and /case/ID gets that case. The same address in a browser shows
    the verdicts. Cases that need a driver are skipped. Only --run-timeout and Ctrl-C end a run that
    waits for a client, and its report has what was seen.
    """
    everything = all_cases(options, "client")
    cases = selected(options, everything)
    if listen is None and any(
        (namespace, profile_path, tls_cert, tls_key, expected_headers, reconnects)
    ):
        raise click.UsageError(
            "--namespace, --profile, --tls-cert, --tls-key, --expect-header and --reconnects "
            "need --listen"
        )
    if listen is not None:
        if command or is_explored or remote:
            text = "--listen takes no COMMAND, no --explore and no --remote: nobody drives"
            raise click.UsageError(text)
        profile = profile_of(profile_path, namespace)
        names = ClientNames(profile, read_headers(expected_headers), reconnects)
        with refusing(ValueError):
            tls = listening_tls(tls_cert, tls_key)
        words = ["neffos-wire", "test", "client", "--listen", listen]
        for word, value in (
            ("--namespace", namespace),
            ("--profile", profile_path),
            ("--tls-cert", tls_cert),
            ("--tls-key", tls_key),
        ):
            words += () if value is None else (word, str(value))
        for each in expected_headers:
            name, has_value, _ = each.partition(":")
            words += ("--expect-header", f"{name}: {MASK}" if has_value else name)
        words += ["--reconnects"] if reconnects else []
        _listen(listen, names, cases, everything, options, tls, shlex.join(words))
    run = prepare(options, everything, cases)
    with refusing(DriverError, end=testing.NothingRanError):
        if is_explored:
            ready, found = asyncio.run(_explore(command or REFERENCE, seed, seconds))
            sut = testing.SystemUnderTest.started_by("client", command, ready)
            ours, dashes, drivers_own = sut.command.partition(" -- ")
            again = f"{ours} --explore --seed {found.seed}{dashes}{drivers_own}"
            sut = replace(sut, command=again)
            conclude_explored(found, sut, run)
        variations = Varied()
        ready, results = asyncio.run(
            _test(command or REFERENCE, cases, options, remote, variations)
        )
    sut = testing.SystemUnderTest.started_by("client", command, ready)
    testing.conclude(sut, results, run, variations=variations)


def _listen(
    listen: str,
    names: ClientNames,
    cases: list[Case],
    everything: list[Case],
    options: RunOptions,
    tls: ssl.SSLContext | None,
    again: str,
) -> NoReturn:
    """Test whoever connects; ``again`` is the command that does so again."""
    host, port = read_address(listen)
    needs_driver = [
        Result(case, Verdict.SKIPPED, NEEDS_DRIVER) for case in cases if undriven(case) is None
    ]
    run = prepare(options, everything, cases, needs_driver)
    try:
        results, session = asyncio.run(listened(cases, options, (host, port), names, tls))
    except OSError as error:
        raise click.UsageError(f"cannot listen on {listen}: {error.strerror or error}") from error
    peer = {"runtime": session.peer} if session.peer else {}
    sut = testing.SystemUnderTest("client", f"the client that dialled {listen}", peer, again)
    seen = {result.case.id: again for result in session.observed.found.values()}
    testing.conclude(sut, results, replace(run, ids=run.ids.union(SEEN)), seen)


async def _explore(
    command: tuple[str, ...], seed: int | None, seconds: float
) -> tuple[dict[str, Any], SequenceReport]:
    async with drivers(command) as started:
        take, ready, operations = started
        explore = partial(explore_driven, take, operations=operations)
        return ready, await explored(explore, seed, seconds)


async def _test(
    command: tuple[str, ...],
    cases: list[Case],
    options: RunOptions,
    remote: bool,
    variations: Varied,
) -> tuple[dict[str, Any], list[Result]]:
    ready: dict[str, Any] = {}
    results: list[Result] = []
    async with (
        testing.run_limit(options),
        to_client(
            command, drivers=options.jobs, timeouts=options.timeouts, is_remote=remote
        ) as started,
    ):
        run, ready = started
        await testing.collect(run, cases, options, results)
        await testing.varied(run, cases, results, options, variations)
        if not remote:
            async with drivers(command) as (take, _, operations):
                explore = partial(explore_driven, take, operations=operations)
                await testing.walked(explore, Role.CLIENT, results, options, variations)
    return ready, testing.completed(results, cases, options)
