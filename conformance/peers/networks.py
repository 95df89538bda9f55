"""Runs the suite on the reference server and client through every network: ``make networks``.

Through a network that loses nothing, each case must have the verdict that it has on loopback. A
case whose messages take a thin line longer than the suite waits may be *unknown*. Through a
network that loses connections no case may fail, and none may be an error.

    make networks NETWORKS='far half-open'

Exit status: 0 passed; 1 failed; 2 usage error.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Final

import click

from neffos_conformance.cases.definition import Case, Role, client_cases, select, server_cases
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.reference.embedded import embedded_server
from neffos_conformance.runner.discovery import discovered
from neffos_conformance.runner.driver_pool import to_client
from neffos_conformance.runner.pace import Way
from neffos_conformance.runner.result import Result, without
from neffos_conformance.runner.run import (
    DEFAULT_JOBS,
    DEFAULT_TIMEOUTS,
    Run,
    opened,
    run_cases,
    to_server,
)
from neffos_conformance.wire.networks import Network, network_before, networks

CLIENT_JOBS: Final = 4
"""Clients that run concurrently."""

DRIVER: Final = (str(Path(sys.executable).with_name("neffos-wire")), "driver")
"""Starts the reference client."""

UNFINISHED: Final = "not finished"
"""How a verdict begins that a thin line may leave."""

Outcome = dict[str, tuple[Verdict, frozenset[Verdict], str]]
"""The verdict of each case, those of its findings, and the explanation."""


async def server_outcome(network: Network | None, cases: Sequence[Case]) -> Outcome:
    """Run cases on the reference server, behind a network if there is one."""
    async with embedded_server() as url, _before(url, network) as reached:
        way = Way(DEFAULT_TIMEOUTS)
        await way.check(partial(opened, reached))
        has = await discovered(reached, way)
        left_out = has.left_out(cases)
        left = without(cases, left_out)
        return _outcome([*left_out, *await _results(to_server(reached, way=way), left)])


async def client_outcome(network: Network | None, cases: Sequence[Case]) -> Outcome:
    """Run cases on the reference client, likewise."""
    async with to_client(DRIVER, drivers=CLIENT_JOBS, before=network) as (run, _):
        return _outcome(await _results(run, cases, CLIENT_JOBS))


async def _results(run: Run, cases: Sequence[Case], jobs: int = DEFAULT_JOBS) -> list[Result]:
    return [result async for result in run_cases(run, cases, jobs=jobs)]


@asynccontextmanager
async def _before(url: str, network: Network | None) -> AsyncIterator[str]:
    if network is None:
        yield url
        return
    async with network_before(url, network) as reached:
        yield reached


def _outcome(results: Sequence[Result]) -> Outcome:
    return {
        each.case.id: (
            each.verdict,
            frozenset(found.verdict for found in each.findings if found.requirement),
            each.explanation,
        )
        for each in results
    }


def wrong(network: Network, on_loopback: Outcome, found: Outcome) -> list[str]:
    """Say which verdicts a network must not change, and has changed."""
    lines = []
    for id_, (verdict, findings, explanation) in found.items():
        if network.loss:
            is_right = not {verdict, *findings} & {Verdict.FAIL, Verdict.ERROR}
        else:
            is_right = (verdict, findings) == on_loopback[id_][:2]
            is_right |= bool(network.rate or network.segment) and explanation.startswith(UNFINISHED)
        if not is_right:
            shown = ", ".join(sorted(findings)) or "none"
            lines.append(f"{network.name}, {id_}: {verdict}, findings {shown}, {explanation}")
    return lines


ROLES: Final = {
    "server": (server_outcome, server_cases),
    "client": (client_outcome, client_cases),
}
"""What runs the cases of each role, and what gives them."""


@click.command()
@click.argument("names", nargs=-1)
@click.option("--role", "roles", type=click.Choice(list(ROLES)), multiple=True)
@click.option("--case", "patterns", multiple=True, help="Run only these cases.")
def main(names: tuple[str, ...], roles: tuple[Role, ...], patterns: tuple[str, ...]) -> None:
    """Run the suite on the reference server and client through every network, or these."""
    if unknown := set(names) - networks().keys():
        raise click.UsageError(f"there is no network {', '.join(sorted(unknown))}")
    failures = 0
    for role in roles or ("server", "client"):
        run, cases_of = ROLES[role]
        cases = select(cases_of(), patterns)
        on_loopback = asyncio.run(run(None, cases))
        for name in names or networks():
            began = time.perf_counter()
            found = asyncio.run(run(networks()[name], cases))
            lines = wrong(networks()[name], on_loopback, found)
            counts = Counter(verdict.value for verdict, _, _ in found.values())
            said = ", ".join(f"{number} {verdict}" for verdict, number in counts.items())
            click.echo(f"{role}, {name}: {said} in {time.perf_counter() - began:.0f} s")
            for line in lines:
                click.echo(f"  {line[:500]}")
            failures += len(lines)
    click.echo("PASS" if not failures else f"FAIL: {failures} verdicts that a network changed")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
