"""Runs client cases on several drivers, each of which controls one client process at a time.

A case has a driver of its own while it runs, so that a crash or a hang costs that case its verdict
and no other. A driver that ended, or violated the protocol, is restarted for the next case.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from neffos_conformance.cases.definition import Case
from neffos_conformance.cases.script import OPERATIONS
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.runner.driver_protocol import (
    MADE_UP,
    DriverError,
    DriverProcess,
    OperationError,
    UnsupportedError,
    Values,
    running_driver,
)
from neffos_conformance.runner.pace import Way
from neffos_conformance.runner.playback import Timeouts
from neffos_conformance.runner.result import Result
from neffos_conformance.runner.run import DEFAULT_TIMEOUTS, Run, run_client_case
from neffos_conformance.wire.networks import Network
from neffos_conformance.wire.waiting import is_cancelled

DRIVERS: Final = 4
"""Concurrent drivers by default: most of a case is waiting, and a browser is large."""

RESTARTS: Final = 50
"""Restarts of drivers in a run. A client that ends in more cases than that is not tested by the
rest of them."""

NO_CONNECTION: Final = 999_999_999
"""The number of a connection that no driver has."""

HEALTH_TIMEOUT: Final = 5.0
"""Seconds for a driver to answer between two cases."""


@asynccontextmanager
async def to_client(
    command: Sequence[str],
    *,
    drivers: int = DRIVERS,
    timeouts: Timeouts = DEFAULT_TIMEOUTS,
    before: Network | None = None,
    is_remote: bool = False,
) -> AsyncIterator[tuple[Run, Values]]:
    """Give a function that runs a case against the client of a driver, and the driver's first line.

    The first driver starts immediately, the others when they are needed; all end with the block.

    Args:
        command: starts the driver.
        drivers: how many run concurrently; more cases wait.
        timeouts: the time limits of a case, on this machine.
        before: the network that is put before the suite.
        is_remote: the client runs on another machine, so its network is measured.

    Raises:
        DriverError: it cannot be started, or is not a driver.
    """
    # A client on this machine has no network that could be the cause, unless it is ours.
    way = Way(timeouts, "client") if before or is_remote else None
    pool = DriverPool(command, drivers)
    lacking: frozenset[str] | None = None

    async def run(case: Case) -> Result:
        nonlocal lacking
        try:
            async with pool.take() as driver:
                if lacking is None:
                    lacking = frozenset()  # a driver that this ends is not asked again
                    lacking = await lacking_operations(driver)
                if missing := sorted(needed_operations(case) & lacking):
                    text = f"it needs {', '.join(missing)}, which the driver does not support"
                    return Result(case, Verdict.SKIPPED, text)
                return await run_client_case(driver, case, timeouts, way=way, before=before)
        except DriverError as error:
            return Result(case, Verdict.ERROR, str(error))

    try:
        async with pool.take() as first:
            ready = first.ready
        yield run, ready
    finally:
        await pool.stop()


class DriverPool:
    """Drivers of one client. One that ended, or does not answer any more, is replaced.

    Args:
        command: starts a driver.
        drivers: how many run concurrently at most.
    """

    def __init__(self, command: Sequence[str], drivers: int = 1) -> None:
        self._command = command
        self._slots = asyncio.Semaphore(drivers)
        self._idle: list[tuple[DriverProcess, AsyncExitStack]] = []
        self._lost = 0

    @asynccontextmanager
    async def take(self) -> AsyncIterator[DriverProcess]:
        """Give a driver that no one else uses for the block; start one if none is idle.

        Raises:
            DriverError: it cannot be started, or too many were lost.
        """
        async with self._slots:
            if self._lost > RESTARTS:
                raise DriverError(f"the driver was restarted {RESTARTS} times, and is not again")
            try:
                driver, stack = self._idle.pop() if self._idle else await self._start()
                async with stack:  # it ends a driver that is not kept
                    yield driver
                    if await is_healthy(driver):
                        self._idle.append((driver, stack.pop_all()))
                    else:
                        self._lost += 1
            except DriverError:
                self._lost += 1
                raise

    async def _start(self) -> tuple[DriverProcess, AsyncExitStack]:
        stack = AsyncExitStack()
        return await stack.enter_async_context(running_driver(self._command)), stack

    async def stop(self) -> None:
        """End all drivers, at once if this task is cancelled."""
        idle, self._idle = self._idle, []
        if is_cancelled():  # in this task, so that no driver is waited for
            for _, stack in idle:
                await stack.aclose()
        else:
            await asyncio.gather(*(stack.aclose() for _, stack in idle))


def needed_operations(case: Case) -> frozenset[str]:
    """Give the operations that a case needs.

    A case about native messages that only the server sends needs a client that accepts them.
    """
    named = {step.rest.partition(" ")[0] for step in case.steps if step.verb == "do"}
    return frozenset(named | ({"native"} if "native" in case.tags else set()))


async def lacking_operations(driver: DriverProcess) -> frozenset[str]:
    """Give the operations that a driver does not support, tried on a connection that it lacks.

    Raises:
        DriverError: it violated the protocol.
    """
    found = set()
    for op, names in OPERATIONS.items():
        try:
            async with asyncio.timeout(HEALTH_TIMEOUT):
                await driver.do(op, connection=NO_CONNECTION, **dict.fromkeys(names, ""))
        except UnsupportedError:
            found.add(op)
        except OperationError:
            continue
        except TimeoutError:
            break  # it is busy with the operation, so it supports it
    return frozenset(found)


async def is_healthy(driver: DriverProcess) -> bool:
    """Say whether a driver still answers, and kept to the protocol."""
    try:
        async with asyncio.timeout(HEALTH_TIMEOUT):
            await driver.do(MADE_UP)
    except UnsupportedError:
        return driver.trouble is None
    except (DriverError, OperationError, TimeoutError):
        return False
    return False
