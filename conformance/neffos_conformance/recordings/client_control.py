"""Makes a client do what a recorded client did, through its driver, and accepts its connections.

It does not look at what the client sends on them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any, Final
from urllib.parse import urlsplit

from neffos_conformance.recordings.comparison import DifferentError, Mismatch
from neffos_conformance.recordings.operations import CannotError, Operation
from neffos_conformance.recordings.session import NO_ASK, RecordedStep, StepKind
from neffos_conformance.runner.client_steps import next_upgrade
from neffos_conformance.runner.driver_protocol import (
    MADE_UP,
    DriverError,
    DriverProcess,
    OperationError,
    UnsupportedError,
)
from neffos_conformance.wire.reach import below
from neffos_conformance.wire.transport import Transport, UpgradeRequest

FOUND: Final = 302
"""The status of the response to a probe (TR-4)."""

HINTS: Final = 3
"""Errors of the driver that are shown with a difference."""


class ClientControl:
    """Controls a client as a recorded one behaved.

    Args:
        driver: controls the client.
        url: of the server that the client dials.
        incoming: the requests of clients there.
        deadline: seconds for the client to dial, and for an operation to finish once the message
            that it waits for was sent.
        fail: receives an error of the driver, which ends the replay.
    """

    def __init__(
        self,
        driver: DriverProcess,
        url: str,
        incoming: asyncio.Queue[UpgradeRequest],
        deadline: float,
        fail: Callable[[Exception], Awaitable[None]],
    ) -> None:
        self._driver = driver
        self._url = url
        self._incoming = incoming
        self._deadline = deadline
        self._fail = fail
        self._dials: dict[int, asyncio.Task[Any]] = {}  # by the recorded connection
        self._tasks: dict[int, asyncio.Task[Any]] = {}  # by the step that each brings about
        self._errors: list[str] = []
        self._error: Exception | None = None

    async def start(self, step: RecordedStep, operation: Operation) -> Transport | None:
        """Start an operation; give the connection if it is one that opens one.

        Raises:
            DifferentError: the client dialled another path.
            DriverError: it did not dial, or the connection of the operation does not exist.
        """
        if operation.op == "dial":
            return await self._dial(step, operation)
        dial = self._dials[step.entry.connection]
        await asyncio.wait([dial], timeout=self._deadline)
        if not dial.done() or dial.result() is None:
            raise DriverError(
                f"the driver did not finish its dial before {step.name()}{self._hint()}"
            )
        fields = {**operation.fields, "connection": dial.result()["connection"]}
        self._tasks[step.number] = asyncio.create_task(self._do(step, operation.op, **fields))
        return None

    async def finish(self, step: RecordedStep) -> None:
        """Wait for the operation that waited for the message of this step, if there is one."""
        task = None
        if step.part in (StepKind.ACCEPTANCE, StepKind.REFUSAL):
            task = self._dials.get(step.entry.connection)
        elif step.asked != NO_ASK:
            task = self._tasks.get(step.asked)
        if task is not None:
            await asyncio.wait([task], timeout=self._deadline)

    def check_strangers(self) -> None:
        """See that the client opened no further connection.

        Raises:
            DifferentError: it did.
        """
        while not self._incoming.empty():
            request = self._incoming.get_nowait()
            request.abort()
            if request.request.method == "GET":
                text = f"the client opened one more connection, to {request.request.path!r}"
                raise DifferentError(Mismatch(0, text))

    async def explain(self, difference: Mismatch) -> Mismatch:
        """Add the errors of the driver to a difference.

        Raises:
            DriverError: the driver does not work any more.
        """
        try:
            async with asyncio.timeout(self._deadline):
                await self._driver.do(MADE_UP)
        except (UnsupportedError, OperationError):
            explanation = f"{difference.explanation}{self._hint()}"
            return replace(difference, explanation=explanation)
        except TimeoutError:
            raise DriverError(f"the driver hangs: {difference.explanation}") from None
        return difference

    async def release(self) -> None:
        """Cancel the operations that are left."""
        tasks = [*self._dials.values(), *self._tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _dial(self, step: RecordedStep, operation: Operation) -> Transport:
        fields = dict(operation.fields)
        url = below(self._url, fields.pop("path"))
        dial = asyncio.create_task(self._do(step, "dial", url=url, **fields))
        self._dials[step.entry.connection] = dial
        try:
            async with asyncio.timeout(self._deadline):
                request = await next_upgrade(self._incoming, [dial], FOUND)
        except TimeoutError:
            raise DriverError(f"the client did not dial within {self._deadline:g} s") from None
        if request is None:
            raise self._error or DriverError(f"the client did not dial{self._hint()}")
        path, wanted = urlsplit(request.request.path).path, urlsplit(url).path
        connection = request.accept()
        if connection is None:
            raise DriverError(f"the client's request at {step.name()} is no upgrade")
        if path != wanted:
            await connection.close()
            text = f"at {step.name()} the client dialled {path!r}, not {wanted!r}"
            raise DifferentError(Mismatch(step.entry.connection, text, step))
        return connection

    async def _do(self, step: RecordedStep, op: str, **fields: Any) -> Any:
        """Do an operation; one that the client cannot do now may be one that it should not."""
        try:
            return await self._driver.do(op, **fields)
        except OperationError as error:
            self._errors.append(f"{op} for line {step.entry.line}: {error}")
        except UnsupportedError:
            self._error = CannotError(step, f"the driver does not know {op!r}")
        except DriverError as error:
            self._error = error
        if self._error is not None:
            await self._fail(self._error)
        return None

    def _hint(self) -> str:
        return f"; the driver says: {'; '.join(self._errors[-HINTS:])}" if self._errors else ""
