"""What moves the client that is explored: a driver that lives as long as it is well."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from neffos_conformance.cases.script import OPERATIONS
from neffos_conformance.runner.client_steps import Between, ClientDriver
from neffos_conformance.runner.driver_pool import RESTARTS, Worker, is_healthy, lacking_operations
from neffos_conformance.runner.driver_protocol import DriverError, Values

Moving = tuple[ClientDriver, Between] | tuple[ClientDriver, None]
"""What moves a client, and what is put before it each time that it comes, if anything is."""

Take = Callable[[], AbstractAsyncContextManager[Moving]]
"""Gives what moves the client, for as long as one program takes."""

Started = tuple[Take, Values, frozenset[str]]
"""That of a driver, its first line, and the operations that it supports."""


@asynccontextmanager
async def drivers(command: Sequence[str]) -> AsyncIterator[Started]:
    """Start a driver; give what takes it for a program, who it is, and what it supports.

    A driver that ended, or is not well behind a program, is started anew for the next.

    Args:
        command: starts it.

    Raises:
        DriverError: it cannot be started, or is not a driver.
    """
    worker = Worker(command)
    restarts = 0

    @asynccontextmanager
    async def take() -> AsyncIterator[Moving]:
        nonlocal restarts
        if worker.was_lost:
            if restarts == RESTARTS:
                text = f"the driver had to be started anew {RESTARTS} times, and is not again"
                raise DriverError(text)
            restarts += 1
        driver = await worker.start()
        try:
            yield driver, None
        finally:
            if not await is_healthy(driver):
                await worker.stop()
                worker.was_lost = True

    try:
        driver = await worker.start()
        lacking = await lacking_operations(driver)
        yield take, driver.ready, frozenset(OPERATIONS) - lacking
    finally:
        await worker.stop()
