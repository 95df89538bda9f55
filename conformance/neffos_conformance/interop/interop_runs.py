"""Interop runs: every client in conversation with every server, several concurrently.

A conversation is a script of several steps, ``data/interop.toml``. The suite plays it through the
driver of the client; the server is any that runs the conformance application.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, Final

from neffos_conformance.cases.script import INTEROP, Step, read_script
from neffos_conformance.data import read_entries
from neffos_conformance.runner.client_steps import PendingOperations
from neffos_conformance.runner.driver_protocol import (
    DriverError,
    DriverProcess,
    OperationError,
    UnsupportedError,
    running_driver,
)
from neffos_conformance.runner.pace import Cost, Pace, Way
from neffos_conformance.runner.playback import MismatchError, Playback, Timeouts
from neffos_conformance.runner.run import opened
from neffos_conformance.runner.script_runner import ScriptRunner

TIMEOUT: Final = 12.0
"""Seconds for an operation, and for an observation. Each takes milliseconds on one machine, and
must not be missed on a busy one; a driver answers within 15 s."""

OPERATION: Final = Cost(8, 100, 16 << 10)
"""What an operation or an observation asks of a network at most: a probe, an opening, and an ask
among 50 with their replies."""

NOT_RUN: Final = "not run"
"""How the failure of a step begins that an earlier one prevents."""

NOT_CARRIED: Final = "unknown: the network does not carry the conversation"
"""How the failure of a step begins that the network prevents, and neither peer."""

JOBS: Final = 6
"""Concurrent runs: they wait more than they compute, and each starts a program."""


@dataclass(frozen=True, slots=True)
class InteropStep:
    """One step of the conversation.

    Attributes:
        name: its name.
        about: what the client does.
        script: what the suite plays.
    """

    name: str
    about: str
    script: tuple[Step, ...]


@cache
def interop_steps() -> tuple[InteropStep, ...]:
    """Give the steps of the conversation, in order."""
    return tuple(
        InteropStep(each["name"], each["about"], read_script(each["script"], INTEROP))
        for each in read_entries("interop.toml", "step")
    )


@dataclass(frozen=True, slots=True)
class StepOutcome:
    """The outcome of a step.

    Attributes:
        step: its name.
        failure: what went wrong; empty if nothing did.
        is_unsupported: the driver does not support an operation of the step.
    """

    step: str
    failure: str = ""
    is_unsupported: bool = False


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint of a running server, by the name of the peer and its own."""

    peer: str
    name: str
    url: str

    def __str__(self) -> str:
        return "/".join(filter(None, (self.peer, self.name)))


@dataclass(frozen=True, slots=True)
class InteropRun:
    """The result of a conversation.

    Attributes:
        client: the name of the client.
        endpoint: the server.
        outcomes: the outcome of each step.
        ready: what the client's driver says of itself.
    """

    client: str
    endpoint: Endpoint
    outcomes: list[StepOutcome]
    ready: Mapping[str, Any]


async def converse(
    driver: DriverProcess,
    url: str,
    names: Sequence[str] | None = None,
    *,
    way: Way | None = None,
) -> list[StepOutcome]:
    """Play the conversation and give the outcome of each step.

    Args:
        driver: controls the client.
        url: of the server.
        names: of the steps between the first and the last one; ``None`` for all.
        way: to the server, which the client is taken to be as far from as the suite; ``None`` for
            a server on this machine.
    """
    pace = way.pace if way else Pace()
    runner = ScriptRunner(Playback(INTEROP, pace.scaled(Timeouts())))
    operations = PendingOperations(runner, driver, url, TIMEOUT + pace.seconds(OPERATION))
    is_lost = False

    async def dial(step: Step, _: int) -> None:
        operations.dial(step.connection, step.rest)

    runner.verbs |= {**operations.verbs(), "dial": dial}
    first, *others, last = interop_steps()
    chosen = others if names is None else [each for each in others if each.name in names]
    outcomes: list[StepOutcome] = []
    for step in (first, *chosen, last):
        driver.seen.clear()  # no observation of an earlier step counts
        if is_lost:
            outcomes.append(StepOutcome(step.name, f"{NOT_RUN}, since the network loses it"))
            continue
        if outcomes and outcomes[0].failure:
            outcomes.append(StepOutcome(step.name, f"{NOT_RUN}, since {first.name} failed"))
            continue
        try:
            await runner.play(step.script)
            outcomes.append(StepOutcome(step.name))
        except UnsupportedError:
            outcomes.append(StepOutcome(step.name, is_unsupported=True))
        except (MismatchError, OperationError, DriverError) as failure:
            text = str(failure) or repr(failure)
            if way and (reason := await way.check(partial(opened, url))):
                text, is_lost = f"{NOT_CARRIED}: {reason}", True
            outcomes.append(StepOutcome(step.name, text))
        await operations.cancel()
    return outcomes


async def all_runs(
    endpoints: Sequence[Endpoint],
    clients: Mapping[str, Sequence[str]],
    pairs: Collection[tuple[str, str]] | None = None,
) -> AsyncIterator[InteropRun]:
    """Run clients with endpoints, and yield each result when it is there.

    A server has one client at a time, since its broadcasts would reach another.

    Args:
        endpoints: the endpoints of running servers.
        clients: the commands of the drivers, by the names of the clients.
        pairs: the clients and endpoints to run together, by name; ``None`` for all.
    """
    slots = asyncio.Semaphore(JOBS)
    runs: asyncio.Queue[InteropRun] = asyncio.Queue()
    names = list(clients)

    async def run_all(number: int, endpoint: Endpoint) -> None:
        # Each begins with another client, so that the slow ones do not all come last.
        way = Way(Timeouts())
        await way.check(partial(opened, endpoint.url))
        turn = number % len(names)
        for client in names[turn:] + names[:turn]:
            if pairs is not None and (client, str(endpoint)) not in pairs:
                continue
            async with slots:
                outcomes, ready = await _run(clients[client], endpoint.url, way)
            await runs.put(InteropRun(client, endpoint, outcomes, ready))

    async with asyncio.TaskGroup() as group:
        for number, endpoint in enumerate(endpoints):
            group.create_task(run_all(number, endpoint))
        for _ in range(len(endpoints) * len(names) if pairs is None else len(pairs)):
            yield await runs.get()


async def _run(
    command: Sequence[str], url: str, way: Way
) -> tuple[list[StepOutcome], Mapping[str, Any]]:
    try:
        async with running_driver(command) as driver:
            outcomes, ready = await converse(driver, url, way=way), driver.ready
    except DriverError as error:
        outcomes, ready = [StepOutcome("start", str(error))], {}
    # A driver is called by its command, which has paths of this machine.
    name = " ".join(command)
    return [replace(each, failure=each.failure.replace(name, "it")) for each in outcomes], ready
