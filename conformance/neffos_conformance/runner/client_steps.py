"""The verbs of cases for a client under test: the suite is its server, and controls its driver."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, nullcontext, suppress
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

from neffos_conformance.cases.features import URL_HEADER
from neffos_conformance.cases.matching import fits, has_new
from neffos_conformance.cases.script import AGAIN, OBSERVATIONS, OPERATIONS, Step, target
from neffos_conformance.cases.words import words_of
from neffos_conformance.runner.driver_protocol import (
    ClientDriver,
    DriverError,
    OperationError,
    UnsupportedError,
    Values,
    catch_up,
    fields_of,
    has_fields,
)
from neffos_conformance.runner.monitoring import BYTES, REPORTED
from neffos_conformance.runner.playback import MismatchError
from neffos_conformance.runner.result import LogEntry, Remark
from neffos_conformance.runner.script_runner import ScriptRunner, Verb
from neffos_conformance.wire.connection import WireConnection
from neffos_conformance.wire.networks import Network, network_before
from neffos_conformance.wire.payloads import frame_of
from neffos_conformance.wire.transcript import ConnectionOpened
from neffos_conformance.wire.transport import Transport, UpgradeRequest
from neffos_protocol.events import Change
from neffos_protocol.names import REQUEST_EVENT

RELEASE_TIMEOUT: Final = 1.0
"""Seconds for a client to close a connection when the case is over; most have, by then."""

OPERATION_TIMEOUT: Final = 60.0
"""Seconds that a driver is given for an operation: longer than any case, so that what ends in
time was ended by the client and not by its driver."""

HEX: Final = "hex:"
"""The beginning of a body of bytes, which follow in hex."""


DID: Final = "did it"
FAILED: Final = "failed: "
UNSUPPORTED: Final = "cannot do it"
SAW: Final = "saw "
NO_UPGRADE: Final = "no upgrade"
"""How the remarks on a driver and its client begin."""

BREAKS: Final = {"event": "EV-2", "connected": "NS-1", "joined": "RM-1"}
"""The observations that need a cause, and what a client without one violates: it delivers what
did not come, or counts as connected or joined what nobody asked for."""

_NAMED: Final = {"event": "event", "connected": "", "joined": "room"}
"""The field that such an observation has beside its namespace."""

_ASKED: Final = {
    REQUEST_EVENT[Change.CONNECT]: "connected",
    REQUEST_EVENT[Change.JOIN]: "joined",
    "_OnNamespaceConnected": "connected",
    "_OnRoomJoined": "joined",
}
"""The frames after which a client may report these. It must not for the last two, which EV-4 is
about."""

EMPTY: Final = '""'
"""The argument of ``did`` for an empty result."""


class PendingOperations:
    """The operations that a client has not finished, and its names for its connections.

    Args:
        runner: plays the script.
        driver: controls the client.
        url: where the client is to dial.
        timeout: seconds that the driver is given for an operation.

    Attributes:
        tasks: the operations on each connection, in order.
        probe_status: the status for a client that asks with ``HEAD`` before it dials.
    """

    def __init__(
        self,
        runner: ScriptRunner,
        driver: ClientDriver,
        url: str,
        timeout: float = OPERATION_TIMEOUT,
    ) -> None:
        self.tasks: dict[int, list[asyncio.Task[Values]]] = {}
        self.probe_status = 200
        self._runner = runner
        self._playback = runner.playback
        self._driver = driver
        self._url = url
        self._timeout = timeout
        self._names: dict[int, int] = {}
        self._taken: list[Values] = []
        runner.look_further = self.log_uncaused
        runner.holds_back = self.holds_back
        runner.playback.catch_up = partial(catch_up, driver)

    def name(self, number: int) -> int:
        """Give the client's name for a connection.

        Raises:
            MismatchError: the client has not opened it.
        """
        if number not in self._names:
            raise MismatchError(f"connection {number} was not opened")
        return self._names[number]

    def start(self, number: int, op: str, shown: str, **fields: Any) -> None:
        """Send an operation to the driver, and do not wait for its result."""
        self._playback.log_sent(number, Remark(f"told to {shown}"))
        task = asyncio.create_task(self._driver.do(op, **{"timeout": self._timeout, **fields}))
        self.tasks.setdefault(number, []).append(task)

    def dial(self, number: int, rest: str) -> None:
        """Make the client dial, unless it comes again by itself."""
        words = rest.split(" ")
        if words[0] == AGAIN:
            return
        options = {"reconnect": True} if "reconnect" in words else {}
        path, headers = target(" ".join(word for word in words if word != "reconnect"))
        url = self._url + path
        self.start(number, "dial", f"dial {rest}".rstrip(), url=url, headers=headers, **options)

    async def result(self, number: int) -> Values:
        """Wait for the result of the earliest operation on a connection.

        Raises:
            OperationError: the client could not do it.
            MismatchError: there is no result, though the client replied to a later ask.
        """
        task = self.tasks[number].pop(0)
        try:
            values = await self._playback.wait_for(number, task)
        except OperationError as error:
            self._playback.log_received(number, Remark(f"{FAILED}{error}"))
            raise
        except UnsupportedError:
            self._playback.log_received(number, Remark(UNSUPPORTED))
            raise
        finally:
            if not task.done():
                task.cancel()
        given = "".join(f": {each}" for each in _given(values)[:1])
        self._playback.log_received(number, Remark(f"{DID}{given}"))
        if "connection" in values:
            self._names[number] = values["connection"]
        return values

    def holds_back(self, step: Step) -> bool:
        """Whether a client may withhold the message of a step.

        No requirement has a client send an ask while an earlier one of its own has no reply: it may
        begin the operation later, or refuse it.
        """
        token = step.text().partition(";")[0]
        if not step.is_from_client or not has_new(token, self._runner.bindings):
            return False
        waits: dict[bool, set[tuple[int, str]]] = {True: set(), False: set()}
        for each in self._playback.log:
            message = frame_of(each.content)
            if message is not None and message.wait:
                waits[each.from_client].add((each.connection, message.wait))
        return not waits[True] <= waits[False]

    def log_uncaused(self) -> None:
        """Log what the client reports more often than the messages of the case give it cause to.

        Over all connections, since a client that reconnects has one name for several. Bodies and
        rooms are not compared: a client may report another text for bytes that are none.
        """
        log = self._playback.log
        if any(isinstance(e.content, Remark) and e.content.text.startswith(BYTES) for e in log):
            return  # messages are among them
        causes = Counter(cause for each in log for cause in _causes(each))
        own = set(self._names.values())
        seen = [*self._taken, *(e for e in self._driver.seen if e.get("connection") in own)]
        reported = Counter(
            (each["saw"], each.get("namespace", ""), each.get(_NAMED[each["saw"]], ""))
            for each in seen
            if each["saw"] in _NAMED
        )
        for what, times in sorted(reported.items()):
            if times > causes[what]:
                text = f"{REPORTED}{BREAKS[what[0]]} {' '.join(filter(None, what))}"
                self._playback.log_received(min(self._names), Remark(text))

    async def cancel(self) -> None:
        """Cancel the operations that are left."""
        for task in (task for tasks in self.tasks.values() for task in tasks):
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task
        self.tasks.clear()

    async def finish(self) -> None:
        """Cancel the operations that are left, and have the client close its connections."""
        await self.cancel()
        for name in self._names.values():
            with suppress(OperationError, UnsupportedError, TimeoutError):  # most are closed
                async with asyncio.timeout(2 * RELEASE_TIMEOUT):
                    await self._driver.do("close", connection=name, timeout=RELEASE_TIMEOUT)

    # ---- verbs

    def verbs(self) -> Mapping[str, Verb]:
        """Give the verbs that control a client and read its observations."""
        return {
            "do": self._do,
            "did": self._did,
            "failed": self._failed,
            "saw": self._saw,
            "unseen": self._unseen,
        }

    async def _do(self, step: Step, time: int) -> None:
        op, *words = words_of(step.text(time))
        values: Values = dict(zip(OPERATIONS[op], words, strict=False))
        if op in ("emit", "ask", "native"):
            values |= fields_of(_body(values.pop("text", "")))
        name = self.name(step.connection)
        self.start(step.connection, op, step.rest, connection=name, **values)

    async def _did(self, step: Step, time: int) -> None:
        try:
            result = await self.result(step.connection)
        except OperationError as error:
            raise MismatchError(
                f"the operation failed: {self._stable(error)}", "a failure"
            ) from error
        given = _given(result)
        expected = "" if step.rest == EMPTY else step.text(time)
        if step.rest and not any(fits(expected, each, self._runner.bindings) for each in given):
            actual = self._stable(given[0] if given else "nothing")
            raise MismatchError(f"expected result {step.rest!r}, actual {actual!r}", actual)

    async def _failed(self, step: Step, _: int) -> None:
        try:
            result = await self.result(step.connection)
        except OperationError as error:
            if step.rest not in str(error):
                actual = self._stable(error)
                text = f"expected an error with {step.rest!r}, actual {actual!r}"
                raise MismatchError(text, actual) from error
        else:
            actual = result.get("text", "done")
            raise MismatchError(f"expected an error, actual result: {actual}", actual)

    async def _saw(self, step: Step, _: int) -> None:
        number = step.connection
        task = asyncio.create_task(
            self._driver.saw(self._timeout, **self._observation(step)),
        )
        try:
            self._taken.append(await self._playback.wait_for(number, task))
        except MismatchError:
            raise MismatchError(f"the client did not report: {step.rest}") from None
        finally:
            task.cancel()
        self._playback.log_received(number, Remark(f"{SAW}{step.rest}"))

    async def _unseen(self, step: Step, _: int) -> None:
        expected = self._observation(step)
        await self._playback.catch_up()
        if any(has_fields(each, expected) for each in self._driver.seen):
            self._playback.log_received(step.connection, Remark(f"{SAW}{step.rest}"))
            text = f"expected no such observation: {step.rest}"
            raise MismatchError(text, step.rest)

    def _observation(self, step: Step) -> Values:
        kind, *words = words_of(step.text())
        expected: Values = dict(zip(OBSERVATIONS[kind], words, strict=False))
        if "text" in expected:
            expected |= fields_of(_body(expected.pop("text")))
        if kind in ("event", "error"):
            kind, expected["error"] = "event", True if kind == "error" else None
        return {"saw": kind, "connection": self.name(step.connection), **expected}

    def _stable(self, text: object) -> str:
        return self._runner.stable(str(text))


Between = Callable[[UpgradeRequest], UpgradeRequest]
"""Wraps the request of each client, to seed a fault."""


@asynccontextmanager
async def accepting_clients(
    between: Between | None = None, before: Network | None = None, seed: int = 0
) -> AsyncIterator[tuple[str, asyncio.Queue[UpgradeRequest]]]:
    """Listen for clients; give the URL, and a queue of their requests.

    Args:
        between: wraps each request, to seed a fault.
        before: the network that is put before the listener.
        seed: of everything random in it.
    """
    queue: asyncio.Queue[UpgradeRequest] = asyncio.Queue()
    reading: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        incoming = await WireConnection.incoming(reader, writer)
        if incoming is not None:
            queue.put_nowait(between(incoming) if between else incoming)

    def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(read(reader, writer))
        reading[task] = writer
        task.add_done_callback(reading.pop)

    listener = await asyncio.start_server(client, "127.0.0.1", 0)
    try:
        host, port = listener.sockets[0].getsockname()
        url = f"ws://{host}:{port}"
        network = network_before(url, before, seed=seed) if before else nullcontext(url)
        async with network as reached:
            yield reached, queue
    finally:
        listener.close()
        await asyncio.sleep(0)  # who has come by now has a task
        for task, writer in [*reading.items()]:  # one that has not begun could not close it
            task.cancel()
            writer.transport.abort()
        while not queue.empty():  # no one accepts these any more
            await queue.get_nowait().refuse(503)


@asynccontextmanager
async def dialled(
    driver: ClientDriver, between: Between | None, before: Network | None
) -> AsyncIterator[Transport]:
    """Have a client open a further connection, and close it.

    Args:
        driver: controls it.
        between: wraps its request, to seed a fault.
        before: the network that is put before the suite.

    Raises:
        DriverError: the client does not do so.
    """
    async with accepting_clients(between, before) as (url, incoming):
        operation = driver.do("dial", url=url, headers={}, timeout=OPERATION_TIMEOUT)
        dialling = asyncio.create_task(operation)
        connection: Transport | None = None
        try:
            request = await next_upgrade(incoming, [dialling])
            connection = request.accept() if request else None
            if connection is None:
                raise DriverError("the client did not open a further connection")
            yield connection
        finally:
            dialling.cancel()
            await asyncio.gather(dialling, return_exceptions=True)
            if connection is not None:
                await connection.close()


async def next_request(
    incoming: asyncio.Queue[UpgradeRequest], pending: Iterable[asyncio.Task[Any]]
) -> UpgradeRequest | None:
    """Wait for the request of a client; give ``None`` if a pending operation ends before it."""
    coming = asyncio.create_task(incoming.get())
    try:
        await asyncio.wait([coming, *pending], return_when=asyncio.FIRST_COMPLETED)
        return coming.result() if coming.done() else None
    finally:
        coming.cancel()


async def next_upgrade(
    incoming: asyncio.Queue[UpgradeRequest],
    pending: Iterable[asyncio.Task[Any]],
    probe_status: int = 200,
) -> UpgradeRequest | None:
    """Wait likewise for a request that is no probe, and answer the probes before it."""
    while (request := await next_request(incoming, pending)) is not None:
        if request.request.method != "HEAD":
            break
        await request.refuse(probe_status)
    return request


def client_verbs(
    runner: ScriptRunner,
    operations: PendingOperations,
    incoming: asyncio.Queue[UpgradeRequest],
) -> Mapping[str, Verb]:
    """Give the verbs that accept, refuse and control the client."""
    playback = runner.playback

    async def arrival(number: int) -> UpgradeRequest:
        """Give the next request that is not a probe; answer the probes before it."""
        while True:
            pending = operations.tasks.get(number, [])[:1]
            request = await next_request(incoming, pending)
            if request is None:
                if pending[0].exception() is not None:
                    await operations.result(number)
                request = await incoming.get()
            if request.request.method != "HEAD":
                return request
            playback.log_received(number, Remark("HEAD"))
            playback.log_sent(number, Remark(f"HTTP {operations.probe_status}"))
            await request.refuse(operations.probe_status)

    async def dial(step: Step, _: int) -> None:
        operations.dial(step.connection, step.rest)
        request = await arrival(step.connection)
        runner.headers[step.connection] = headers_of(request)
        connection = request.accept()
        if connection is None:
            await request.close()
            playback.log_received(step.connection, Remark(NO_UPGRADE))
            raise MismatchError(
                "expected a request for an upgrade, actual another one", "no upgrade"
            )
        opened = ConnectionOpened(request.request.path, dict(runner.headers[step.connection]))
        playback.log_received(step.connection, opened)
        playback.connections[step.connection] = connection

    async def refuse(step: Step, _: int) -> None:
        number = step.connection
        status, _space, opening = step.rest.partition(" ")
        if number not in operations.tasks:
            operations.dial(number, opening)
        request = await arrival(number)
        shown = f"{request.request.method} {request.request.path}"
        playback.log_received(number, Remark(shown))
        playback.log_sent(number, Remark(f"HTTP {status}"))
        await request.refuse(int(status))

    async def head(step: Step, _: int) -> None:
        operations.probe_status = int(step.rest)

    return {"dial": dial, "refuse": refuse, "head": head, **operations.verbs()}


def _causes(entry: LogEntry) -> list[tuple[str, str, str]]:
    """Give what a client may report because of a message: the observation and its names."""
    message = frame_of(entry.content) if isinstance(entry.content, str | bytes) else None
    if message is None:
        return []
    if message.event in _ASKED:
        saw = _ASKED[message.event]
        return [(saw, message.namespace, message.room if saw == "joined" else "")]
    return [] if entry.from_client else [("event", message.namespace, message.event)]


def _given(result: Values) -> list[str]:
    """Give the results of an operation as a script and the log have them."""
    found = [str(result[key]) for key in ("connection_id", "text") if key in result]
    if "base64" in result:
        found.append(f"{HEX}{b64decode(result['base64']).hex()}")
    return found


def _body(text: str) -> str | bytes:
    return bytes.fromhex(text.removeprefix(HEX)) if text.startswith(HEX) else text


def headers_of(request: UpgradeRequest) -> list[tuple[str, str]]:
    """Give the headers of a request, and those in its URL."""
    found = [(name.lower(), value) for name, value in request.request.headers.raw_items()]
    for name, value in parse_qsl(urlsplit(request.request.path).query, keep_blank_values=True):
        if name.lower().startswith(URL_HEADER):
            found.append((name.lower().removeprefix(URL_HEADER), value))
    return found
