"""How the suite reaches a peer: it dials a server, or accepts a client that a driver controls.

Besides messages, the link to a client checks how the driver's operations end and what the client
reports to its application. The driver has a barrier too, an operation that it does not know: what
it reported before the answer is all that it reported.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Final, NoReturn

from neffos_codec import Message
from neffos_conformance.cases.script import OPERATIONS
from neffos_conformance.model_based import failures
from neffos_conformance.model_based.actions import (
    Action,
    ActionSequence,
    DriverCommand,
    DriverLog,
    ExpectedObservation,
    Fields,
    OperationOutcome,
    Payload,
)
from neffos_conformance.model_based.failures import KnownFailures, SequenceResult
from neffos_conformance.model_based.frames import action_named_in
from neffos_conformance.model_based.model import (
    CONNECTED_AT_ONCE,
    REFUSAL_TEXT,
    UNAVAILABLE,
    SutModel,
)
from neffos_conformance.model_based.runner import SequenceRunner
from neffos_conformance.runner.client_steps import (
    OPERATION_TIMEOUT,
    Between,
    ClientDriver,
    accepting_clients,
)
from neffos_conformance.runner.driver_pool import DriverPool, lacking_operations
from neffos_conformance.runner.driver_protocol import (
    MADE_UP,
    DriverEndedError,
    DriverError,
    OperationError,
    UnsupportedError,
    body_of,
    has_fields,
)
from neffos_conformance.runner.playback import Timeouts
from neffos_conformance.runner.result import Remark
from neffos_conformance.wire.connection import ConnectError, WireConnection
from neffos_conformance.wire.payloads import short
from neffos_conformance.wire.relay import below
from neffos_conformance.wire.transcript import ConnectionOpened
from neffos_conformance.wire.transport import UpgradeRequest
from neffos_protocol import Role

_HEADERS: Final = {
    "chosen": ("X-Conformance-Id", "own;{}"),
    "connecting": ("X-Conformance-Connect", CONNECTED_AT_ONCE),
    "refused": ("X-Conformance-Refuse", REFUSAL_TEXT),
}
"""The header of the upgrade request, by how a connection is opened."""


async def run_on_server(
    url: str, sequence: ActionSequence, known: KnownFailures, timeouts: Timeouts
) -> SequenceResult:
    """Run a test sequence on fresh connections to a server.

    Args:
        url: of the server.
        sequence: what to do.
        known: failures that are not reported again.
        timeouts: how long to wait.
    """
    runner = SequenceRunner(SutModel(Role.SERVER), known, timeouts)
    runner.open = partial(dial, runner, url)
    await runner.run(sequence)
    return runner.result


async def dial(runner: SequenceRunner, url: str, action: Action) -> bool:
    """Open a connection to a server; it is open then."""
    headers = {}
    if action.how in _HEADERS:
        name, value = _HEADERS[action.how]
        headers[name] = value.format(action.number)
    runner.script.dialled(action, headers)
    try:
        async with asyncio.timeout(runner.timeouts.case):
            transport = await WireConnection.dial(below(url, action.path), headers)
    except (ConnectError, TimeoutError) as error:
        explanation = str(error) or "it accepts no connection"
        runner.fail("SEC-16", failures.UNREACHABLE, explanation, action.number)
    runner.attach(action.connection, transport, ConnectionOpened(action.path, headers))
    return True


Controlled = tuple[ClientDriver, Between | None]
"""What controls a client, and what wraps each of its connections, if anything does."""

Take = Callable[[], AbstractAsyncContextManager[Controlled]]
"""Gives what controls the client, for one test sequence."""


@asynccontextmanager
async def drivers(command: Sequence[str]) -> AsyncIterator[tuple[Take, Fields, frozenset[str]]]:
    """Start a driver; give access to it, its first line, and the operations that it supports.

    Args:
        command: starts the driver.

    Raises:
        DriverError: the driver cannot be started, or is not one.
    """
    pool = DriverPool(command)

    @asynccontextmanager
    async def take() -> AsyncIterator[Controlled]:
        async with pool.take() as driver:
            yield driver, None

    try:
        async with pool.take() as first:
            operations = frozenset(OPERATIONS) - await lacking_operations(first)
        yield take, first.ready, operations
    finally:
        await pool.stop()


async def run_on_client(
    take: Take,
    operations: frozenset[str] | None,
    sequence: ActionSequence,
    known: KnownFailures,
    timeouts: Timeouts,
) -> SequenceResult:
    """Run a test sequence on fresh connections of a client.

    Args:
        take: gives what controls the client.
        operations: that the driver supports; ``None`` for all.
        sequence: what to do.
        known: failures that are not reported again.
        timeouts: how long to wait.
    """
    runner = SequenceRunner(SutModel(Role.CLIENT, operations), known, timeouts)
    result = runner.result
    try:
        async with take() as (driver, between), accepting_clients(between) as (url, incoming):
            client = runner.client = DrivenClient(runner, driver, url, incoming)
            runner.open = client.open
            try:
                await runner.run(sequence)
            except DriverEndedError as error:
                text = f"the client ended with its driver: {error}"
                result.failure = runner.failure("SEC-16", failures.CRASHED, text)
            finally:
                await client.close()
    except DriverError as error:
        if result.failure is None:
            result.trouble = str(error)
    return result


def _nothing() -> None:
    pass


class DrivenClient:
    """The link to a client under test."""

    def __init__(
        self,
        runner: SequenceRunner,
        driver: ClientDriver,
        url: str,
        incoming: asyncio.Queue[UpgradeRequest],
    ) -> None:
        self._runner = runner
        self._model = runner.model
        self._driver = driver
        self._url = url
        self._requests: list[UpgradeRequest] = []
        self._names: dict[int, int] = {}
        runner.start(self._listen(incoming))

    async def close(self) -> None:
        """Refuse the requests that nothing has waited for."""
        for request in self._requests:
            await request.close()

    # ------------------------------------------------------------ opening

    async def _listen(self, incoming: asyncio.Queue[UpgradeRequest]) -> None:
        while True:
            request = await incoming.get()
            if request.request.method == "HEAD":  # the client checks whether the server is there
                await request.refuse(200)
                continue
            self._requests.append(request)
            await self._runner.playback.events.put((0, _nothing))  # it wakes who waits for this

    async def open(self, action: Action) -> bool:
        """Have the client dial, and accept its connection; say whether it is open."""
        runner, number = self._runner, action.connection
        self.command(
            number, action.number, DriverCommand("dial", {"url": self._url, "headers": {}})
        )
        if not await runner.until(lambda: bool(self._requests), runner.timeouts.case):
            runner.fail("TR-1", "does not dial", "the client does not dial", action.number)
        request = self._requests[0]
        if action.how == "unavailable":
            runner.script.refused(number, UNAVAILABLE)
            runner.playback.log_sent(number, Remark(f"HTTP {UNAVAILABLE}"))
            await self._requests.pop(0).refuse(UNAVAILABLE)
            return False
        self._check_request(request, action)
        transport = request.accept()
        if transport is None:
            runner.fail("TR-1", "no upgrade", "the request is not for an upgrade", action.number)
        self._requests.pop(0)
        runner.attach(number, transport, ConnectionOpened("", {}))
        expected = self._model.connections[number].expected
        waits_for = next((each for each in expected if each.answers == ("M",)), None)
        if waits_for is not None:
            await runner.wait_for(waits_for, runner.timeouts.case)
        return True

    def _check_request(self, request: UpgradeRequest, action: Action) -> None:
        headers, runner = request.request.headers, self._runner
        version = headers.get("Sec-WebSocket-Version")
        if version != "13":
            text = f"expected version 13 of WebSocket, actual {version}"
            runner.fail("TR-1", "another version of WebSocket", text, action.number)
        is_offered = "Sec-WebSocket-Protocol" in headers
        if is_offered and not runner.known.permit("TR-2", failures.SUBPROTOCOL):
            text = "the client offers a subprotocol"
            runner.fail("TR-2", failures.SUBPROTOCOL, text, action.number)

    # ------------------------------------------------------------ operations

    def command(self, number: int, action: int, command: DriverCommand) -> None:
        """Have the driver perform an operation; its end is checked in its turn."""
        runner, fields = self._runner, command.fields
        runner.script.commanded(number, action, command)
        words = "dial"
        if command.op != "dial":
            words = " ".join([command.op, *(str(each) for each in fields.values() if each)])
            fields = {**fields, "connection": self._names.get(number, 0)}
        runner.playback.log_sent(number, Remark(f"told to {words[:200]}"))
        runner.start(self._operate(number, action, command.op, fields))

    async def _operate(self, number: int, action: int, op: str, fields: Fields) -> None:
        ended: Callable[[], None] | DriverError
        try:
            result = await self._driver.do(op, **{"timeout": OPERATION_TIMEOUT, **fields})
            ended = partial(self._operation_ended, number, action, result, "")
        except OperationError as error:
            ended = partial(self._operation_ended, number, action, None, str(error))
        except UnsupportedError:
            ended = partial(self._operation_ended, number, action, None, f"{op} is not supported")
        except DriverEndedError as error:
            ended = error
        except DriverError:
            try:
                await self._driver.do(MADE_UP)
            except (UnsupportedError, OperationError):
                return  # the operation is pending, as it may be
            except DriverError as error:
                ended = error
        await self._runner.playback.events.put((number, ended))

    def due(self) -> DriverLog | None:
        """Give an operation that must end now."""
        for log in self._model.operations.values():
            if log.must and not log.is_over:
                # A client that does not name its connection can perform nothing on it.
                if log.op == "dial" or not self._runner.known.permit(
                    log.requirement, failures.PENDING
                ):
                    return log
                log.is_over = True
        return None

    def miss(self, due: DriverLog) -> NoReturn:
        """Say that an operation has not ended."""
        action = next(number for number, each in self._model.operations.items() if each is due)
        text = f"expected {_either(due)} of {due.op}, which is still pending"
        self._runner.fail(due.requirement, failures.PENDING, text, self._answered_by(action))

    def _operation_ended(self, number: int, action: int, result: Fields | None, error: str) -> None:
        """Check the end of an operation, with its result or the text of its error."""
        runner, log, given = self._runner, self._model.operations[action], _given(result)
        actual = f"failure with {error!r}"
        if result is None:
            runner.playback.log_received(number, Remark(f"failed: {error}"))
        else:
            actual = str(OperationOutcome(True, given))
            runner.playback.log_received(number, Remark(f"did it{f': {given!r}' if given else ''}"))
            if log.op == "dial":
                self._names[number] = result["connection"]
        log.is_over = True
        if not log.outcomes:
            text = f"expected {log.op} to stay pending, actual {actual}"
            runner.fail(log.requirement, f"{log.op} ends early", text, action)
        for outcome in log.outcomes:
            if outcome.is_done and result is not None and outcome.given in (None, given):
                break
            if not outcome.is_done and result is None and outcome.text in error:
                break
        else:
            runner.script.operation_ended(number, action, log.outcomes[0])
            kind = "fails" if result is None else "gives another result"
            if not log.outcomes[0].is_done:
                kind = "succeeds" if result is not None else "fails with another text"
            text = f"expected {_either(log)} of {log.op}, actual {actual}"
            runner.fail(log.requirement, f"{log.op} {kind}", text, self._answered_by(action))
        runner.script.operation_ended(number, action, outcome)

    def _answered_by(self, action: int) -> int:
        ask = self._model.asks.get(action)
        return (ask.answered_by if ask else 0) or action

    # ------------------------------------------------------------ observations

    async def settle(self) -> None:
        """See that the client reported what it must, and nothing else."""
        runner = self._runner
        await self._catch_up()
        while True:
            lines, self._driver.seen[:] = list(self._driver.seen), []
            for line in lines:
                await self._check_report(line)
            due = self._due_observation()
            if due is None:
                return
            fields = {"connection": self._names[due.connection], **due.fields}
            try:
                async with asyncio.timeout(runner.timeouts.after_barrier):
                    await self._driver.saw(runner.timeouts.after_barrier, **fields)
            except DriverEndedError:
                raise
            except (DriverError, TimeoutError):
                kind = f"{failures.NOT_REPORTED} {due.fields['saw']}"
                text = f"expected a report: {_shown(due.fields)}"
                number = due.number or runner.last.get(due.connection, 0)
                runner.fail(due.requirement, kind, text, number)
            self._accept(due)

    async def _catch_up(self) -> None:
        """Wait until the driver has read every line, and written what it saw before."""
        seconds = self._runner.timeouts.case
        try:
            async with asyncio.timeout(seconds):
                await self._driver.do(MADE_UP)
        except (UnsupportedError, OperationError):
            return
        except TimeoutError:
            self._runner.fail(
                "SEC-16", failures.STALLS, f"no answer of the driver within {seconds:g} s"
            )

    def _due_observation(self) -> ExpectedObservation | None:
        for number in self._names:
            observations = self._model.connections[number].observations
            for each in list(observations):
                if not self._model.is_due(each, number):
                    continue
                kind = f"{failures.NOT_REPORTED} {each.fields['saw']}"
                if not self._runner.known.permit(each.requirement, kind):
                    return each
                observations.remove(each)
        return None

    async def _check_report(self, line: Fields) -> None:
        """Check what the client reported."""
        number = next((n for n, name in self._names.items() if name == line["connection"]), 0)
        if not number:
            return  # from a connection that was never open, or from an earlier sequence
        connection = self._model.connections[number]
        is_new = not any(has_fields(line, each.fields) for each in connection.observations)
        if is_new and connection.is_usable:  # the message that leads to it may be on its way
            await self._runner.barrier(number)
        observations = connection.observations
        fitting = [each for each in observations if has_fields(line, each.fields)]
        if not fitting:
            self._unexpected(number, line)
        found = next((each for each in fitting if each.must), fitting[0])
        if found.is_event and not found.is_deferred:
            for other in observations:
                if other is found:
                    break
                if other.is_event and other.must and not other.is_deferred:
                    text = f"expected {_shown(other.fields)} before {_shown(found.fields)}"
                    self._runner.fail("EV-1", "reported in another order", text, found.number)
        self._accept(found)

    def _accept(self, found: ExpectedObservation) -> None:
        remark = Remark(f"saw {_shown(found.fields)}")
        self._runner.playback.log_received(found.connection, remark)
        self._runner.script.reported(found)
        self._model.connections[found.connection].observations.remove(found)

    def _unexpected(self, number: int, line: Fields) -> NoReturn:
        """Say what is wrong with a report that no expectation permits."""
        runner, model = self._runner, self._model
        fields = {name: value for name, value in line.items() if name != "connection"}
        runner.playback.log_received(number, Remark(f"saw {_shown(fields)}"))
        kind = fields["saw"]
        for each in model.connections[number].observations:
            if not (each.must and each.fields["saw"] == kind and _is_similar(each.fields, fields)):
                continue
            text = f"expected {_shown(each.fields)}, actual {_shown(fields)}"
            is_message = kind in ("event", "native")
            differs = is_message and body_of(each.fields) != body_of(fields)
            requirement = "FR-10" if differs else each.requirement
            runner.fail(requirement, f"{kind} is reported differently", text, each.number)
        cause = last = runner.last.get(number, 0)
        if kind in ("event", "native"):
            named = Message(event=fields.get("event", ""), body=body_of(fields))
            cause = action_named_in(named) or last
        elif "namespace" in fields and model.forbidden_by.get(last, "") in _ON_MESSAGES:
            scope = fields["namespace"], fields.get("room")
            cause = model.changed_by.get((number, scope), last)
        requirement = model.forbidden_by.get(cause, "")
        if requirement in _ON_MESSAGES:
            requirement = _ON_REPORTS.get(kind, "EV-2")
        observation = ExpectedObservation(cause, number, fields, requirement)
        runner.script.reported(observation, is_wanted=False)
        text = f"expected no such report: {_shown(fields)}"
        runner.fail(requirement, f"{kind} is reported without a cause", text, cause)


_ON_MESSAGES: Final = frozenset({"", "AR-9", "AR-22", "HS-11", "NM-5", "TR-15"})
"""The requirements that forbid messages from an action, and say nothing about reports."""

_ON_REPORTS: Final = {
    "connected": "NS-1",
    "disconnected": "NS-6",
    "joined": "RM-1",
    "left": "RM-2",
    "native": "NM-2",
    "closed": "TR-14",
    "reconnected": "TR-11",
}
"""The requirements on reports, by kind."""


def _either(log: DriverLog) -> str:
    return " or ".join(str(each) for each in log.outcomes)


def _given(result: Fields | None) -> Payload | None:
    """Give what an operation gives: a connection's ID, or the body of a reply."""
    if result is None:
        return None
    if "connection_id" in result:
        return str(result["connection_id"])
    return body_of(result) if "text" in result or "base64" in result else None


def _is_similar(wanted: Fields, actual: Fields) -> bool:
    """Whether a report is a faulty form of another, and not one of its own."""
    names = ("namespace", "event", "text", "base64", "room")
    different = [name for name in names if wanted.get(name) != actual.get(name)]
    return len(different) <= 1


def _shown(fields: Fields) -> str:
    return " ".join(short(str(each), shown=60).strip("'") for each in fields.values() if each)
