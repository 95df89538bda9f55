"""The verdicts of cases on one version of a server or client, which a command starts.

An old server may end while a case runs: some releases do for one message of a stranger. The case
that ends it has failed, and the others are run on a server that was started again.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Protocol

from neffos_conformance.cases.definition import Case, Role
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.interop.bisection import Trial
from neffos_conformance.runner.discovery import Detected, NotAdmittedError, discovered
from neffos_conformance.runner.driver_pool import DRIVERS, to_client
from neffos_conformance.runner.driver_protocol import DriverError
from neffos_conformance.runner.instances import retried
from neffos_conformance.runner.pace import Way
from neffos_conformance.runner.playback import Timeouts
from neffos_conformance.runner.result import Result, without
from neffos_conformance.runner.run import (
    DEFAULT_JOBS,
    DEFAULT_TIMEOUTS,
    opened,
    run_cases,
    to_server,
)
from neffos_conformance.wire.connection import ConnectError
from neffos_conformance.wire.subprocesses import READY_DEADLINE, Child

POLL: Final = 0.1
"""Seconds between two attempts to connect to a server that prints no readiness line."""

DRAIN: Final = "the output of a server, which would fill its pipe"


class VersionError(Exception):
    """A version that cannot be tried."""


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a server or a client.

    Attributes:
        command: the command line of the server or of the client's driver.
        endpoint: the name of an endpoint in the server's readiness line; empty if it has one.
        url: where the server is, if it prints no readiness line.
    """

    command: tuple[str, ...]
    endpoint: str = ""
    url: str = ""


async def tried(
    role: Role,
    version: Version,
    cases: Sequence[Case],
    *,
    timeouts: Timeouts = DEFAULT_TIMEOUTS,
    jobs: int | None = None,
) -> Trial:
    """Run cases on a server or a client; each that ends a server runs on one of its own.

    Args:
        role: server or client.
        version: of which one.
        cases: the cases.
        timeouts: the time limits of a case.
        jobs: cases that run concurrently; ``None`` for as many as usual.
    """
    results: list[Result] = []
    try:
        if role == "server":
            jobs = jobs or DEFAULT_JOBS
            has = await _features(version, timeouts, jobs)
            results = has.left_out(cases)
            left = without(cases, results)
            play = partial(_play, has=has, timeouts=timeouts, jobs=jobs)
            results += await _on_servers(version, left, play) if left else []
        else:
            jobs = jobs or DRIVERS
            async with to_client(version.command, drivers=jobs, timeouts=timeouts) as (run, _):
                results = [each async for each in run_cases(run, cases, jobs=jobs)]
    except (DriverError, VersionError) as error:
        return Trial(reason=str(error))
    found = {result.case.id: result.verdict for result in results}
    return Trial({case.id: found.get(case.id, Verdict.UNKNOWN) for case in cases})


async def _features(version: Version, timeouts: Timeouts, jobs: int) -> Detected:
    """Give the features of a server.

    Raises:
        VersionError: it cannot be started or reached.
    """
    async with _started(version) as (_, url):
        try:
            return await discovered(url, Way(timeouts), jobs=jobs)
        except (ConnectError, NotAdmittedError) as error:
            raise VersionError(str(error)) from error


class _Play(Protocol):
    """Runs cases on the server at a URL, and adds each result when it is there."""

    def __call__(
        self, url: str, cases: Sequence[Case], results: list[Result]
    ) -> Coroutine[Any, Any, None]: ...


async def _play(
    url: str,
    cases: Sequence[Case],
    results: list[Result],
    *,
    has: Detected,
    timeouts: Timeouts,
    jobs: int,
) -> None:
    run = retried(to_server(url, timeouts, profile=has.profile))
    async for result in run_cases(run, cases, jobs=jobs):
        results.append(result)  # noqa: PERF401  # what is there counts if the server ends


async def _on_servers(version: Version, cases: Sequence[Case], play: _Play) -> list[Result]:
    """Run cases on a server. If it ends, run each half of those without a pass on another one.

    Raises:
        VersionError: it cannot be started or reached.
    """
    results: list[Result] = []
    async with _started(version) as (server, url):
        playing = asyncio.create_task(play(url, cases, results))
        ending = asyncio.create_task(server.exited())
        try:
            await asyncio.wait({playing, ending}, return_when=asyncio.FIRST_COMPLETED)
            if not ending.done():
                await playing
            has_ended = ending.done() or not await _accepts(url)
        finally:
            for task in (playing, ending):
                task.cancel()
            await asyncio.wait({playing, ending})
    if not has_ended:
        return results
    if len(cases) == 1:
        return [Result(cases[0], Verdict.FAIL, "the server ended")]
    passed = [each for each in results if each.verdict is Verdict.PASS]
    left = without(cases, passed)
    for half in (left[: len(left) // 2], left[len(left) // 2 :]):
        passed += await _on_servers(version, half, play) if half else []
    return passed


async def _accepts(url: str) -> bool:
    """Say whether a server accepts a connection, which one that ended does not."""
    try:
        async with opened(url):
            return True
    except ConnectError:
        return False


@asynccontextmanager
async def _started(version: Version) -> AsyncGenerator[tuple[Child, str]]:
    """Start a server; give it and its URL.

    Raises:
        VersionError: it cannot be started, or is not ready in time.
    """
    try:
        child = await Child.start(version.command)
    except OSError as error:
        raise VersionError(f"{version.command[0]} cannot be started: {error}") from error
    try:
        async with asyncio.timeout(READY_DEADLINE):
            url = await (_reached(child, version.url) if version.url else _printed(child, version))
        draining = asyncio.create_task(_drain(child), name=DRAIN)
        try:
            yield child, url
        finally:
            draining.cancel()
            await asyncio.wait({draining})
    except TimeoutError as error:
        raise VersionError(f"it is not ready within {READY_DEADLINE:g} s") from error
    finally:
        await child.end()


async def _printed(child: Child, version: Version) -> str:
    """Read the readiness line of a server; give the URL of the endpoint.

    Raises:
        VersionError: there is no such line, or no such endpoint.
    """
    line = await child.line()
    try:
        endpoints = json.loads(line)["endpoints"]
        urls = {str(name): str(url) for name, url in endpoints.items()}
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        raise VersionError(f"it is not ready, it said {line[:200]!r}") from None
    if version.endpoint in urls:
        return urls[version.endpoint]
    if len(urls) == 1 and not version.endpoint:
        return next(iter(urls.values()))
    raise VersionError(f"it has the endpoints {', '.join(urls)}. Try: name one")


async def _reached(child: Child, url: str) -> str:
    """Wait until a server accepts connections.

    Raises:
        VersionError: it ended before.
    """
    while True:
        with suppress(ConnectError, TimeoutError):
            async with opened(url):
                return url
        if child.has_exited:
            raise VersionError("it ended before it accepted a connection")
        await asyncio.sleep(POLL)


async def _drain(child: Child) -> None:
    with suppress(ValueError):  # a line longer than any reader wants
        while await child.line():
            pass
