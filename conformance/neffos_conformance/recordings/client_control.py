"""Makes a client do what a recorded client did, through its driver, and takes its connections.

What the client sends on them is not looked at here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from types import TracebackType
from typing import Any, Final
from urllib.parse import urlsplit

from neffos_conformance.recordings.comparison import Difference, DifferentError
from neffos_conformance.recordings.operations import CannotError, Operation
from neffos_conformance.recordings.session import NO_ASK, Part, RecordedStep
from neffos_conformance.runner.driver_protocol import (
    MADE_UP,
    DriverError,
    DriverProcess,
    OperationError,
    UnsupportedError,
)
from neffos_conformance.wire.connection import Incoming, WireConnection
from neffos_conformance.wire.relay import below

HOST: Final = "127.0.0.1"

FOUND: Final = 302
"""What a probe is answered (TR-4)."""

HINTS: Final = 3
"""Errors of the driver that are told with a difference."""


class ClientControl:
    """A driver that is told what to do, and the server that its client dials.

    Args:
        driver: the driver.
        deadline: seconds for the client to dial, and for an operation to end once what it waits
            for was sent.
        fail: takes an error of the driver, which ends the replay.
    """

    def __init__(
        self, driver: DriverProcess, deadline: float, fail: Callable[[Exception], Awaitable[None]]
    ) -> None:
        self._driver = driver
        self._deadline = deadline
        self._fail = fail
        self._url = ""
        self._server: asyncio.Server | None = None
        self._incoming: asyncio.Queue[Incoming] = asyncio.Queue()
        self._dials: dict[int, asyncio.Task[Any]] = {}  # by the recorded connection
        self._tasks: dict[int, asyncio.Task[Any]] = {}  # by the line that is to come of it
        self._said: list[str] = []
        self._error: Exception | None = None

    async def __aenter__(self) -> ClientControl:
        self._server = await asyncio.start_server(self._welcome, HOST, 0)
        self._url = f"ws://{HOST}:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._server is not None:
            self._server.close()
        tasks = [*self._dials.values(), *self._tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        while not self._incoming.empty():
            await self._incoming.get_nowait().refuse(503)

    async def start(self, line: RecordedStep, operation: Operation) -> WireConnection | None:
        """Begin an operation; give the connection where it is one that opens one.

        Raises:
            DifferentError: the client dialled another path.
            DriverError: it did not dial, or a connection that it is to do something on never
                came to be.
        """
        if operation.op == "dial":
            return await self._dial(line, operation)
        dial = self._dials[line.entry.connection]
        await asyncio.wait([dial], timeout=self._deadline)
        if not dial.done() or dial.result() is None:
            raise DriverError(
                f"the driver did not finish its dial before {line.name()}{self._hint()}"
            )
        fields = {**operation.fields, "connection": dial.result()["connection"]}
        self._tasks[line.number] = asyncio.create_task(self._do(line, operation.op, **fields))
        return None

    async def finish(self, line: RecordedStep) -> None:
        """Wait until the client has dealt with what it was waiting for, if this line is that."""
        task = None
        if line.part in (Part.ACCEPTANCE, Part.REFUSAL):
            task = self._dials.get(line.entry.connection)
        elif line.asked != NO_ASK:
            task = self._tasks.get(line.asked)
        if task is not None:
            await asyncio.wait([task], timeout=self._deadline)

    def check_strangers(self) -> None:
        """See that the client opened no connection more.

        Raises:
            DifferentError: it did.
        """
        if not self._incoming.empty():
            path = self._incoming.get_nowait().request.path
            text = f"the client opened one more connection, to {path!r}"
            raise DifferentError(Difference(0, text))

    async def explain(self, difference: Difference) -> Difference:
        """Put what the driver said behind a difference.

        Raises:
            DriverError: it is the driver that does not work any more.
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

    async def _dial(self, line: RecordedStep, operation: Operation) -> WireConnection:
        fields = dict(operation.fields)
        url = below(self._url, fields.pop("path"))
        dial = asyncio.create_task(self._do(line, "dial", url=url, **fields))
        self._dials[line.entry.connection] = dial
        try:
            async with asyncio.timeout(self._deadline):
                incoming = await self._next(dial)
        except TimeoutError:
            raise DriverError(f"the client did not dial within {self._deadline:g} s") from None
        path, wanted = urlsplit(incoming.request.path).path, urlsplit(url).path
        connection = incoming.accept()
        if connection is None:
            raise DriverError(f"the client's request at {line.name()} is no upgrade")
        if path != wanted:
            await connection.close()
            text = f"at {line.name()} the client dialled {path!r}, not {wanted!r}"
            raise DifferentError(Difference(line.entry.connection, text, line))
        return connection

    async def _next(self, dial: asyncio.Task[Any]) -> Incoming:
        """Wait for a client that asks for an upgrade."""
        coming = asyncio.create_task(self._incoming.get())
        try:
            await asyncio.wait([coming, dial], return_when=asyncio.FIRST_COMPLETED)
            if coming.done():
                return coming.result()
        finally:
            coming.cancel()
        raise self._error or DriverError(f"the client did not dial{self._hint()}")

    async def _welcome(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            incoming = await WireConnection.incoming(reader, writer)
        except asyncio.CancelledError:
            writer.transport.abort()
            return
        if incoming is None:
            return
        if incoming.request.method == "GET":
            self._incoming.put_nowait(incoming)
        else:
            await incoming.refuse(FOUND)

    async def _do(self, line: RecordedStep, op: str, **fields: Any) -> Any:
        """Have something done; what the client cannot do now may be what it should not."""
        try:
            return await self._driver.do(op, **fields)
        except OperationError as error:
            self._said.append(f"{op} for line {line.entry.line}: {error}")
        except UnsupportedError:
            self._error = CannotError(line, f"the driver does not know {op!r}")
        except DriverError as error:
            self._error = error
        if self._error is not None:
            await self._fail(self._error)
        return None

    def _hint(self) -> str:
        return f"; the driver says: {'; '.join(self._said[-HINTS:])}" if self._said else ""
