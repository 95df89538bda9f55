"""Plays a case to a client under test: the suite is its server, and its driver moves it."""

from __future__ import annotations

import asyncio
import shlex
from base64 import b64decode
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, Protocol
from urllib.parse import parse_qsl, urlsplit

from neffos_conformance.cases.features import URL_HEADER
from neffos_conformance.cases.matching import expand
from neffos_conformance.cases.script import OBSERVATIONS, OPERATIONS, SAYING, Step, target
from neffos_conformance.runner.driver_protocol import (
    MADE_UP,
    OperationError,
    UnsupportedError,
    fields_of,
    fits,
)
from neffos_conformance.runner.script_runner import MismatchError, ScriptRunner
from neffos_conformance.wire.connection import WireConnection
from neffos_conformance.wire.transcript import ConnectionOpened
from neffos_conformance.wire.transport import UpgradeRequest

Act = Callable[[Step, int], Awaitable[None]]
Values = dict[str, Any]

EMPTY_REPLY: Final = ";;;;;;"
"""What follows the token in an empty reply."""

LEFT_OPEN: Final = 1.0
"""Seconds for a client to let go of a connection when the case is over; most have, by then."""

LONG: Final = 60.0
"""Seconds that a driver is given for an operation: longer than any case, so that what ends in
time was ended by the client and not by its driver."""

AGAIN: Final = "again"
"""In place of what a client is told to dial: it comes back by itself."""


class ClientDriver(Protocol):
    """What moves a client: a driver, or what stands before one."""

    @property
    def seen(self) -> list[Values]:
        """What the client saw and nobody has waited for, in order."""

    async def do(self, op: str, **fields: Any) -> Values:
        """Make the client do something, and give the result."""

    async def saw(self, seconds: float = ..., **fields: Any) -> Values:
        """Wait until the client saw something, and give that line; once each."""


class PendingOperations:
    """What the client was told to do and has not answered, and what it calls its connections."""

    def __init__(self, stage: ScriptRunner, driver: ClientDriver, url: str) -> None:
        self.stage = stage
        self.driver = driver
        self.url = url
        self.tasks: dict[int, list[asyncio.Task[Values]]] = {}
        self.names: dict[int, int] = {}
        self.probe_status = 200

    def start(self, number: int, op: str, told: str, **fields: Any) -> None:
        """Tell the driver something, and do not wait for its answer."""
        self.stage.remark(number, f"told to {told}", is_ours=True)
        task = asyncio.create_task(self.driver.do(op, **{"timeout": LONG, **fields}))
        self.tasks.setdefault(number, []).append(task)

    async def result(self, number: int) -> Values:
        """Wait for the answer to the earliest that is open.

        Raises:
            OperationError: the client could not do it.
        """
        task = self.tasks[number].pop(0)
        try:
            values: Values = await self.soon(number, task)
        except OperationError as error:
            self.stage.remark(number, f"failed: {error}", is_ours=False)
            raise
        finally:
            if not task.done():
                task.cancel()
        given = values.get("connection_id", values.get("text", ""))
        self.stage.remark(number, f"did it{f': {given}' if given else ''}", is_ours=False)
        if "connection" in values:
            self.names[number] = values["connection"]
        return values

    async def soon(self, number: int, task: asyncio.Task[Any]) -> Any:
        """Wait for what the client is to do; ask whether it is at it, where that is long in coming.

        Raises:
            MismatchError: what was asked meanwhile was answered, and nothing else came.
        """
        stage = self.stage
        if number not in stage.is_shaken or not stage.connections[number].is_open:
            return await asyncio.shield(task)
        try:
            async with asyncio.timeout(stage.patience.doubt):
                return await asyncio.shield(task)
        except TimeoutError:
            if not await stage.settle(number):
                return await asyncio.shield(task)
            await stage.catch_up()
        try:
            async with asyncio.timeout(stage.patience.grace):
                return await asyncio.shield(task)
        except TimeoutError:
            text = "the client did not say that it was done, though a later ask was answered"
            raise MismatchError(text) from None

    async def finish(self) -> None:
        """Take back what was not answered, and have the client let go of its connections."""
        for tasks in self.tasks.values():
            for task in tasks:
                task.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await task
        for name in self.names.values():
            with suppress(OperationError, UnsupportedError, TimeoutError):  # most are closed
                async with asyncio.timeout(2 * LEFT_OPEN):
                    await self.driver.do("close", connection=name, timeout=LEFT_OPEN)


Between = Callable[[UpgradeRequest], UpgradeRequest]
"""Puts something before each client that comes."""


@asynccontextmanager
async def accepting_clients(
    between: Between | None = None,
) -> AsyncIterator[tuple[str, asyncio.Queue[UpgradeRequest]]]:
    """Listen for clients; give the URL, and a queue of their requests."""
    queue: asyncio.Queue[UpgradeRequest] = asyncio.Queue()

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        incoming = await WireConnection.incoming(reader, writer)
        if incoming is not None:
            queue.put_nowait(between(incoming) if between else incoming)

    listener = await asyncio.start_server(client, "127.0.0.1", 0)
    try:
        host, port = listener.sockets[0].getsockname()
        yield f"ws://{host}:{port}", queue
    finally:
        listener.close()
        while not queue.empty():  # nobody was to come any more
            await queue.get_nowait().refuse(503)


def acts(
    stage: ScriptRunner, doing: PendingOperations, incoming: asyncio.Queue[UpgradeRequest]
) -> Mapping[str, Act]:
    """Give what to do for each verb, to the client that is moved."""

    async def arrival(number: int) -> UpgradeRequest:
        """Give the next request that is no probe; a probe is told that somebody is here."""
        while True:
            request = await come(number)
            if request.request.method != "HEAD":
                return request
            stage.remark(number, "HEAD", is_ours=False)
            stage.remark(number, f"HTTP {doing.probe_status}", is_ours=True)
            await request.refuse(doing.probe_status)

    async def come(number: int) -> UpgradeRequest:
        """Give the next request; do not wait for one from a client that cannot dial."""
        coming = asyncio.create_task(incoming.get())
        told = doing.tasks.get(number, [])[:1]
        try:
            await asyncio.wait([coming, *told], return_when=asyncio.FIRST_COMPLETED)
            if not coming.done():
                for task in told:
                    if task.exception() is not None:
                        await doing.result(number)
            return await coming
        finally:
            coming.cancel()

    def begin(line: Step) -> None:
        words = line.rest.split(" ")
        if words[0] == AGAIN:
            return
        options = {"reconnect": True} if "reconnect" in words else {}
        path, headers = target(" ".join(word for word in words if word != "reconnect"))
        told = f"dial{f' {line.rest}' if line.rest else ''}"
        url = doing.url + path
        doing.start(line.connection, "dial", told, url=url, headers=headers, **options)

    async def dial(line: Step, _: int) -> None:
        begin(line)
        request = await arrival(line.connection)
        stage.headers[line.connection] = _headers(request)
        connection = request.accept()
        if connection is None:
            await request.close()
            raise MismatchError("the client's request was none for an upgrade", "no upgrade")
        headers = dict(stage.headers[line.connection])
        stage.note_opened(line.connection, ConnectionOpened(request.request.path, headers))
        stage.connections[line.connection] = connection

    async def handshake(line: Step, time: int) -> None:
        await dial(line, time)
        await say(line, ">", "M")
        await say(line, "<", f"A{line.connection}7")
        if line.rest != AGAIN:
            await did(Step(line.number, line.connection, "did", f"{line.connection}7"), 1)

    async def app(line: Step, time: int) -> None:
        await handshake(line, time)
        number = line.connection
        if line.rest != AGAIN:
            await do(Step(line.number, number, "do", "connect app"), 1)
        token = f"<<app{number}>>"
        await say(line, ">", f"{token};app;;_OnNamespaceConnect;0;0;")
        await say(line, "<", f"{token}{EMPTY_REPLY}")
        if line.rest != AGAIN:
            await did(Step(line.number, number, "did", ""), 1)

    async def say(line: Step, verb: str, rest: str) -> None:
        await speak(Step(line.number, line.connection, verb, rest), 1)

    async def speak(line: Step, time: int) -> None:
        if not stage.is_ours(line):
            await stage.hear(line, time)
            return
        await stage.say(line, time)
        if line.rest.startswith("A"):
            stage.is_shaken.add(line.connection)

    async def refuse(line: Step, _: int) -> None:
        if line.connection not in doing.tasks:
            begin(Step(line.number, line.connection, "dial", line.rest.partition(" ")[2]))
        request = await arrival(line.connection)
        status = line.rest.partition(" ")[0]
        stage.remark(
            line.connection, f"{request.request.method} {request.request.path}", is_ours=False
        )
        stage.remark(line.connection, f"HTTP {status}", is_ours=True)
        await request.refuse(int(status))

    async def head(line: Step, _: int) -> None:
        doing.probe_status = int(line.rest)

    async def do(line: Step, _: int) -> None:
        op, *words = shlex.split(expand(line.rest))
        values: Values = dict(zip(OPERATIONS[op], words, strict=False))
        if op in ("emit", "ask", "native"):
            values |= fields_of(_body(values.pop("text", "")))
        name = doing.names[line.connection]
        doing.start(line.connection, op, line.rest, connection=name, **values)

    async def did(line: Step, _: int) -> None:
        try:
            result = await doing.result(line.connection)
        except OperationError as error:
            raise MismatchError(stage.stable(f"it failed: {error}"), "a failure") from error
        given = [str(result[key]) for key in ("text", "connection_id") if key in result]
        if "base64" in result:
            given.append(f"{OCTETS}{b64decode(result['base64']).hex()}")
        if line.rest and expand(line.rest) not in given:
            told = stage.stable(given[0] if given else "nothing")
            raise MismatchError(f"it was to give {line.rest!r}, it gave {told!r}", told)

    async def failed(line: Step, _: int) -> None:
        try:
            result = await doing.result(line.connection)
        except OperationError as error:
            if line.rest not in str(error):
                told = stage.stable(str(error))
                raise MismatchError(f"it was to fail with {line.rest!r}: {told!r}", told) from error
        else:
            told = result.get("text", "done")
            raise MismatchError(f"it was to fail, but was done: {told}", told)

    def sight(line: Step) -> Values:
        kind, *words = shlex.split(expand(line.rest))
        wanted: Values = dict(zip(OBSERVATIONS[kind], words, strict=False))
        if "text" in wanted:
            wanted |= fields_of(_body(wanted.pop("text")))
        if kind in ("event", "error"):
            kind, wanted["error"] = "event", True if kind == "error" else None
        return {"saw": kind, "connection": doing.names[line.connection], **wanted}

    async def saw(line: Step, _: int) -> None:
        number = line.connection
        task = asyncio.create_task(doing.driver.saw(LONG, **sight(line)))
        try:
            await doing.soon(number, task)
        except MismatchError:
            raise MismatchError(f"the client did not tell of: {line.rest}") from None
        finally:
            task.cancel()
        stage.remark(number, f"saw {line.rest}", is_ours=False)

    async def catch_up() -> None:
        """Have the driver answer something: it takes lines, and tells what it saw, in order."""
        with suppress(UnsupportedError, OperationError):
            await doing.driver.do(MADE_UP)

    async def unseen(line: Step, _: int) -> None:
        wanted = sight(line)
        await stage.catch_up()
        if any(fits(told, wanted) for told in doing.driver.seen):
            raise MismatchError(f"the client told of what was not to be: {line.rest}", line.rest)

    stage.catch_up = catch_up
    return {
        "dial": dial,
        "handshake": handshake,
        "app": app,
        **dict.fromkeys(SAYING, speak),
        "refuse": refuse,
        "head": head,
        "do": do,
        "did": did,
        "failed": failed,
        "saw": saw,
        "unseen": unseen,
    }


OCTETS: Final = "hex:"
"""What begins a body of octets, which are in hex."""


def _body(text: str) -> str | bytes:
    return bytes.fromhex(text.removeprefix(OCTETS)) if text.startswith(OCTETS) else text


def _headers(request: UpgradeRequest) -> list[tuple[str, str]]:
    """Give the headers of a request, and those that stand in its URL."""
    found = [(name.lower(), value) for name, value in request.request.headers.raw_items()]
    for name, value in parse_qsl(urlsplit(request.request.path).query, keep_blank_values=True):
        if name.lower().startswith(URL_HEADER):
            found.append((name.lower().removeprefix(URL_HEADER), value))
    return found
