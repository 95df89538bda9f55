"""How the suite reaches a peer: it dials a server, or accepts a client that a driver controls.

Besides messages, the runner of a client checks how the driver's operations end and what the client
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
from neffos_conformance.cases.profile import STANDARD, Profile
from neffos_conformance.cases.script import OPERATIONS
from neffos_conformance.model_based import failures
from neffos_conformance.model_based.actions import (
    ActionSequence,
    DriverLog,
    Expectation,
    OperationOutcome,
    Payload,
    SuiteAction,
)
from neffos_conformance.model_based.failures import KnownFailures, SequenceResult
from neffos_conformance.model_based.frames import action_named_in
from neffos_conformance.model_based.model import OPENINGS, UNAVAILABLE, SutModel
from neffos_conformance.model_based.renaming import Renaming
from neffos_conformance.model_based.runner import SequenceRunner
from neffos_conformance.runner.client_steps import OPERATION_TIMEOUT, Between, accepting_clients
from neffos_conformance.runner.driver_pool import DriverPool, lacking_operations
from neffos_conformance.runner.driver_protocol import (
    ClientDriver,
    DriverEndedError,
    DriverError,
    OperationError,
    UnsupportedError,
    Values,
    body_of,
    catch_up,
    has_fields,
)
from neffos_conformance.runner.playback import Timeouts
from neffos_conformance.runner.result import Remark
from neffos_conformance.wire.connection import ConnectError, WireConnection
from neffos_conformance.wire.networks import Network
from neffos_conformance.wire.payloads import short
from neffos_conformance.wire.reach import Target
from neffos_conformance.wire.transcript import ConnectionOpened
from neffos_conformance.wire.transport import UpgradeRequest
from neffos_protocol import Role

# -------------------------------------------------------------------- a server


async def run_on_server(
    server: Target | str,
    sequence: ActionSequence,
    known: KnownFailures,
    timeouts: Timeouts,
    profile: Profile = STANDARD,
    *,
    is_patient: bool = False,
) -> SequenceResult:
    """Run a test sequence on fresh connections to a server.

    Args:
        server: the server, or its URL.
        sequence: what to do.
        known: failures that are not reported again.
        timeouts: how long to wait.
        profile: the server's own names.
        is_patient: see ``SequenceRunner``.
    """
    runner = ServerRunner(SutModel(Role.SERVER), known, timeouts)
    runner.is_patient = is_patient
    runner.server = Target.of(server)
    runner.profile, runner.renaming = profile, Renaming(profile)
    await runner.run(sequence)
    if profile.changes_names and runner.result.lines:
        steps = profile.steps(runner.result.steps("server"))
        runner.result.lines = [str(step) for step in steps]
    return runner.result


class ServerRunner(SequenceRunner):
    """Runs a test sequence on ``server``."""

    server: Target
    profile: Profile
    renaming: Renaming

    def outgoing(self, payload: Payload) -> Payload:
        """Give a message under the server's names."""
        return self.renaming.outgoing(payload)

    def incoming(self, payload: Payload) -> Payload | None:
        """Give a message under the suite's names, unless the server sends such by itself."""
        return None if self.profile.is_ignored(payload) else self.renaming.incoming(payload)

    async def open(self, action: SuiteAction) -> bool:
        """Dial; the connection is open then."""
        headers = {}
        if header := OPENINGS[Role.SERVER][action.how].header:
            headers[header[0]] = header[1].format(action.number)
        self.script.dialled(action, headers)
        try:
            async with asyncio.timeout(self.timeouts.case):
                transport = await WireConnection.dial(self.server.below(action.path), headers)
        except (ConnectError, TimeoutError) as error:
            explanation = str(error) or "it accepts no connection"
            self.fail("SEC-16", failures.UNREACHABLE, explanation, action.number)
        self.attach(action.connection, transport, ConnectionOpened(action.path, headers))
        return True


# -------------------------------------------------------------------- a client

Controlled = tuple[ClientDriver, Between | None]
"""What controls a client, and what wraps each of its connections, if anything does."""

Take = Callable[[], AbstractAsyncContextManager[Controlled]]
"""Gives what controls the client, for one test sequence."""


@asynccontextmanager
async def drivers(command: Sequence[str]) -> AsyncIterator[tuple[Take, Values, frozenset[str]]]:
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
    before: Network | None,
    sequence: ActionSequence,
    known: KnownFailures,
    timeouts: Timeouts,
    *,
    is_patient: bool = False,
) -> SequenceResult:
    """Run a test sequence on fresh connections of a client.

    Args:
        take: gives what controls the client.
        operations: that the driver supports; ``None`` for all.
        before: the network that is put before the suite.
        sequence: what to do.
        known: failures that are not reported again.
        timeouts: how long to wait.
        is_patient: see ``SequenceRunner``.
    """
    runner = ClientRunner(SutModel(Role.CLIENT, operations), known, timeouts)
    runner.is_patient = is_patient
    result = runner.result
    try:
        async with (
            take() as (runner.driver, between),
            accepting_clients(between, before) as accepting,
        ):
            runner.url, incoming = accepting
            runner.start(runner.listen(incoming))
            try:
                await runner.run(sequence)
            except DriverEndedError as error:
                text = f"the client ended with its driver: {error}"
                result.failure = runner.failure("SEC-16", failures.CRASHED, text)
            finally:
                for request in runner.requests:  # nothing has waited for these
                    await request.close()
    except DriverError as error:
        if result.failure is None:
            result.trouble = str(error)
    return result


def _nothing() -> None:
    pass


class ClientRunner(SequenceRunner):
    """Runs a test sequence on a client.

    Attributes:
        driver: controls the client.
        url: where it is to dial.
        requests: of the client, that nothing has waited for yet.
    """

    driver: ClientDriver
    url: str

    def __init__(self, model: SutModel, known: KnownFailures, timeouts: Timeouts) -> None:
        super().__init__(model, known, timeouts)
        self.requests: list[UpgradeRequest] = []
        self._names: dict[int, int] = {}

    # ------------------------------------------------------------ opening

    async def listen(self, incoming: asyncio.Queue[UpgradeRequest]) -> None:
        """Keep the requests of the client, and answer those that only probe."""
        while True:
            request = await incoming.get()
            if request.request.method == "HEAD":  # the client checks whether the server is there
                await request.refuse(200)
                continue
            self.requests.append(request)
            await self.playback.events.put((0, _nothing))  # it wakes who waits for this

    async def open(self, action: SuiteAction) -> bool:
        """Have the client dial, and accept its connection; say whether it is open."""
        number = action.connection
        self.command(number, action.number, {"op": "dial", "url": self.url, "headers": {}})
        if not await self.until(lambda: bool(self.requests), self.timeouts.case):
            self.fail("TR-1", "does not dial", "the client does not dial", action.number)
        request = self.requests[0]
        if action.how == "unavailable":
            self.script.refused(number, UNAVAILABLE)
            self.playback.log_sent(number, Remark(f"HTTP {UNAVAILABLE}"))
            await self.requests.pop(0).refuse(UNAVAILABLE)
            return False
        self._check_request(request, action)
        transport = request.accept()
        if transport is None:
            self.fail("TR-1", "no upgrade", "the request is not for an upgrade", action.number)
        self.requests.pop(0)
        self.attach(number, transport, ConnectionOpened("", {}))
        expected = self.model.connections[number].messages
        waits_for = next((each for each in expected if each.answers == ("M",)), None)
        if waits_for is not None:
            await self.wait_for(waits_for, self.timeouts.case)
        return True

    def _check_request(self, request: UpgradeRequest, action: SuiteAction) -> None:
        headers = request.request.headers
        version = headers.get("Sec-WebSocket-Version")
        if version != "13":
            text = f"expected version 13 of WebSocket, actual {version}"
            self.fail("TR-1", "another version of WebSocket", text, action.number)
        is_offered = "Sec-WebSocket-Protocol" in headers
        if is_offered and not self.known.permit("TR-2", failures.SUBPROTOCOL):
            text = "the client offers a subprotocol"
            self.fail("TR-2", failures.SUBPROTOCOL, text, action.number)

    # ------------------------------------------------------------ operations

    def command(self, number: int, action: int, operation: Values) -> None:
        """Have the driver perform an operation; its end is checked in its turn."""
        self.script.commanded(number, action, operation)
        shown = "dial"
        if operation["op"] != "dial":
            shown = " ".join(str(each) for each in operation.values() if each)
            operation = {**operation, "connection": self._names.get(number, 0)}
        self.playback.log_sent(number, Remark(f"told to {shown[:200]}"))
        self.start(self._operate(number, action, operation))

    async def _operate(self, number: int, action: int, operation: Values) -> None:
        ended: Callable[[], None] | DriverError
        try:
            result = await self.driver.do(**{"timeout": OPERATION_TIMEOUT, **operation})
            actual = OperationOutcome(True, _given(result))
            ended = partial(self._operation_ended, number, action, actual, result)
        except (OperationError, UnsupportedError) as error:
            actual = OperationOutcome(False, text=str(error))
            ended = partial(self._operation_ended, number, action, actual, {})
        except DriverError as error:
            ended = error
            if not isinstance(error, DriverEndedError):
                try:
                    await catch_up(self.driver)
                except DriverError as trouble:
                    ended = trouble
                else:
                    return  # the operation is pending, as it may be
        await self.playback.events.put((number, ended))

    def due_operation(self) -> DriverLog | None:
        """Give an operation that must end now."""
        for log in self.model.operations.values():
            if log.must and not log.is_over:
                # A client that does not name its connection can perform nothing on it.
                if log.op == "dial" or not self.known.permit(log.requirement, failures.PENDING):
                    return log
                log.is_over = True
        return None

    def _operation_ended(
        self, number: int, action: int, actual: OperationOutcome, result: Values
    ) -> None:
        """Check how an operation ended, with its result."""
        log = self.model.operations[action]
        self.playback.log_received(number, Remark(str(actual)))
        if log.op == "dial" and actual.is_done:
            self._names[number] = result["connection"]
        log.is_over = True
        if not log.outcomes:
            text = f"expected {log.op} to stay pending, actual {actual}"
            self.fail(log.requirement, f"{log.op} ends early", text, action)
        outcome = next((each for each in log.outcomes if each.permits(actual)), None)
        first = log.outcomes[0]
        self.script.operation_ended(number, action, outcome or first)
        if outcome is None:
            kind = "gives another result" if actual.is_done else "fails"
            if not first.is_done:
                kind = "succeeds" if actual.is_done else "fails with another text"
            text, cause = f"expected {log}, actual {actual}", self.model.answered_by(action)
            self.fail(log.requirement, f"{log.op} {kind}", text, cause)

    # ------------------------------------------------------------ reports

    async def check_reports(self) -> None:
        """See that the client reported what it must, and nothing else."""
        seconds = self.timeouts.case
        try:
            async with asyncio.timeout(seconds):
                await catch_up(self.driver)
        except TimeoutError:
            text = f"no answer of the driver within {seconds:g} s"
            self.fail("SEC-16", failures.STALLS, text)
        while True:
            lines, self.driver.seen[:] = list(self.driver.seen), []
            for line in lines:
                await self._check_report(line)
            connections = [self.model.connections[number] for number in self._names]
            due = self.next_due([each for connection in connections for each in connection.reports])
            if due is None:
                return
            fields = {"connection": self._names[due.connection], **due.fields}
            try:
                async with asyncio.timeout(self.timeouts.after_barrier):
                    await self.driver.saw(self.timeouts.after_barrier, **fields)
            except DriverEndedError:
                raise
            except (DriverError, TimeoutError):
                text = f"expected a report: {_shown(due.fields)}"
                number = due.number or self.last.get(due.connection, 0)
                self.fail(due.requirement, failures.missing(due), text, number)
            self._accept(due)

    async def _check_report(self, line: Values) -> None:
        """Check what the client reported."""
        number = next((n for n, name in self._names.items() if name == line["connection"]), 0)
        if not number:
            return  # from a connection that was never open, or from an earlier sequence
        connection = self.model.connections[number]
        is_new = not any(has_fields(line, each.fields) for each in connection.reports)
        if is_new and connection.is_usable:  # the message that leads to it may be on its way
            await self.barrier(number)
        reports = connection.reports
        fitting = [each for each in reports if has_fields(line, each.fields)]
        if not fitting:
            self._unexpected_report(number, line)
        found = next((each for each in fitting if each.must), fitting[0])
        if found.is_message and not found.is_deferred:
            alike = [each for each in reports if each.fields["saw"] == found.fields["saw"]]
            for other in alike[: alike.index(found)]:
                if other.must and not other.is_deferred:
                    text = f"expected {_shown(other.fields)} before {_shown(found.fields)}"
                    self.fail("EV-1", "reported in another order", text, found.number)
        self._accept(found)

    def _accept(self, found: Expectation) -> None:
        self.playback.log_received(found.connection, Remark(f"saw {_shown(found.fields)}"))
        self.script.reported(found)
        self.model.connections[found.connection].expected.remove(found)

    def _unexpected_report(self, number: int, line: Values) -> NoReturn:
        """Say what is wrong with a report that no expectation permits."""
        model = self.model
        fields = {name: value for name, value in line.items() if name != "connection"}
        self.playback.log_received(number, Remark(f"saw {_shown(fields)}"))
        kind = fields["saw"]
        is_message = kind in ("event", "native")
        for each in model.connections[number].reports:
            if not (each.must and each.fields["saw"] == kind and _is_similar(each.fields, fields)):
                continue
            text = f"expected {_shown(each.fields)}, actual {_shown(fields)}"
            # What is expected of a binary error names no body.
            differs = is_message and _given(each.fields) not in (None, body_of(fields))
            requirement = "FR-10" if differs else each.requirement
            self.fail(requirement, f"{kind} is reported differently", text, each.number)
        cause = last = self.last.get(number, 0)
        if is_message:
            names = {name: fields.get(name, "") for name in ("room", "event")}
            named = Message(**names, body=body_of(fields))
            cause = action_named_in(named) or last
        elif "namespace" in fields and model.forbidden_by.get(last, "") in _ON_MESSAGES:
            scope = fields["namespace"], fields.get("room")
            cause = model.changed_by.get((number, scope), last)
        requirement = model.forbidden_by.get(cause, "")
        if requirement in _ON_MESSAGES:
            requirement = _ON_REPORTS.get(kind, "EV-2")
        unwanted = Expectation(cause, number, (), requirement, fields=fields)
        self.script.reported(unwanted, is_wanted=False)
        text = f"expected no such report: {_shown(fields)}"
        self.fail(requirement, f"{kind} is reported without a cause", text, cause)


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


def _given(result: Values) -> Payload | None:
    """Give what an operation gives, or a report: a connection's ID, or a body."""
    if "connection_id" in result:
        return str(result["connection_id"])
    return body_of(result) if "text" in result or "base64" in result else None


def _is_similar(wanted: Values, actual: Values) -> bool:
    """Whether a report is a faulty form of another, and not one of its own."""
    names = ("namespace", "event", "text", "base64", "room")
    different = [name for name in names if wanted.get(name) != actual.get(name)]
    return len(different) <= 1


def _shown(fields: Values) -> str:
    return " ".join(short(str(each), shown=60).strip("'") for each in fields.values() if each)
