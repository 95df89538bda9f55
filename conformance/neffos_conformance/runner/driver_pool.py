"""Runs client cases on several drivers, each of which moves one client process at a time.

A case has a driver to itself while it runs, so that a crash or a hang costs that case its verdict
and no other. A driver that ended, or broke its contract, is started anew for the next case.
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
from neffos_conformance.runner.playback import Timeouts
from neffos_conformance.runner.result import Result
from neffos_conformance.runner.run import DEFAULT_TIMEOUTS, Run, run_client_case

DRIVERS: Final = 4
"""Drivers at the same time, where nobody says otherwise: most of a case is waiting, and a browser
is large."""

RESTARTS: Final = 50
"""Times that a driver is started anew in a run. A client that ends in more cases than that is not
judged by the rest of them."""

NO_CONNECTION: Final = 999_999_999
"""The number of a connection that no driver has given out."""

WELL: Final = 5.0
"""Seconds for a driver to say, between two cases, that it still answers."""


@asynccontextmanager
async def to_client(
    command: Sequence[str], *, drivers: int = DRIVERS, timeouts: Timeouts = DEFAULT_TIMEOUTS
) -> AsyncIterator[tuple[Run, Values]]:
    """Give what runs a case against the client behind a driver, and the driver's first line.

    The first driver is started at once, the others when they are needed; all end with the block.

    Args:
        command: starts the driver.
        drivers: how many there are at the same time; more cases wait.
        timeouts: the time limits of a case.

    Raises:
        DriverError: it cannot be started, or is not a driver.
    """
    workers = [Worker(command) for _ in range(drivers)]
    free: asyncio.Queue[Worker] = asyncio.Queue()
    for each in workers:
        free.put_nowait(each)
    restarts = 0
    lacking: frozenset[str] | None = None

    async def run(case: Case) -> Result:
        nonlocal restarts, lacking
        worker = await free.get()
        try:
            if worker.was_lost:
                if restarts == RESTARTS:
                    text = f"the driver had to be started anew {RESTARTS} times, and is not again"
                    return Result(case, Verdict.ERROR, text)
                restarts += 1
            try:
                driver = await worker.start()
            except DriverError as error:
                return Result(case, Verdict.ERROR, str(error))
            if lacking is None:
                lacking = frozenset()  # one that does not live through this is not asked again
                try:
                    lacking = await lacking_operations(driver)
                except DriverError as error:
                    await worker.stop()
                    worker.was_lost = True
                    return Result(case, Verdict.ERROR, str(error))
            if missing := sorted(needed_operations(case) & lacking):
                text = f"it needs {', '.join(missing)}, which the driver does not support"
                return Result(case, Verdict.UNSUPPORTED, text)
            result = await run_client_case(driver, case, timeouts)
            if not await is_well(driver):
                await worker.stop()
                worker.was_lost = True
            return result
        finally:
            free.put_nowait(worker)

    try:
        yield run, (await workers[0].start()).ready
    finally:
        await asyncio.gather(*(each.stop() for each in workers))


class Worker:
    """A driver, while there is one.

    Attributes:
        was_lost: whether the last one did not live, so that the next is a restart.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self.was_lost = False
        self._command = command
        self._stack = AsyncExitStack()
        self._driver: DriverProcess | None = None

    async def start(self) -> DriverProcess:
        """Give the driver; start it where there is none.

        Raises:
            DriverError: it cannot be.
        """
        if self._driver is None:
            try:
                self._driver = await self._stack.enter_async_context(running_driver(self._command))
            except DriverError:
                self.was_lost = True
                raise
            self.was_lost = False
        return self._driver

    async def stop(self) -> None:
        """End the driver, if there is one."""
        self._driver = None
        await self._stack.aclose()


def needed_operations(case: Case) -> frozenset[str]:
    """Give the operations that a case has a client do, and that it would have to be capable of.

    A case about native messages that a server alone sends needs a client that takes some.
    """
    named = {step.rest.partition(" ")[0] for step in case.steps if step.verb == "do"}
    return frozenset(named | ({"native"} if "native" in case.tags else set()))


async def lacking_operations(driver: DriverProcess) -> frozenset[str]:
    """Give the operations that a driver does not support: asked of a connection there is not.

    Raises:
        DriverError: it broke its contract.
    """
    found = set()
    for op, names in OPERATIONS.items():
        try:
            async with asyncio.timeout(WELL):
                await driver.do(op, connection=NO_CONNECTION, **dict.fromkeys(names, ""))
        except UnsupportedError:
            found.add(op)
        except OperationError:
            continue
        except TimeoutError:
            break  # whatever it is at, it is not to say that it cannot do it
    return frozenset(found)


async def is_well(driver: DriverProcess) -> bool:
    """Say whether a driver still answers, and kept to its contract."""
    try:
        async with asyncio.timeout(WELL):
            await driver.do(MADE_UP)
    except UnsupportedError:
        return driver.trouble is None
    except (DriverError, OperationError, TimeoutError):
        return False
    return False
