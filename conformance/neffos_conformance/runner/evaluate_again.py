"""Plays a case again against its own log: the same engine and verbs, and a recorded peer.

The recorded peer sends what the log says it sent, once the suite has sent what came before that on
the same connection. Nothing is waited for: the clock jumps to the next time limit as soon as nobody
has anything to do. So a message that was late is late again, and a missing one costs no time.

This module does not know where a log comes from, nor what a verdict should be.
"""

from __future__ import annotations

import asyncio
import selectors
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from websockets.datastructures import Headers
from websockets.http11 import Request

from neffos_conformance.cases.definition import Case
from neffos_conformance.cases.matching import expand, fill
from neffos_conformance.cases.profile import STANDARD, Profile
from neffos_conformance.cases.script import Step, target
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.runner.client_steps import (
    DID,
    FAILED,
    NO_UPGRADE,
    SAW,
    UNSUPPORTED,
    PendingOperations,
    client_verbs,
)
from neffos_conformance.runner.driver_protocol import OperationError, UnsupportedError, Values
from neffos_conformance.runner.monitoring import REPORTED
from neffos_conformance.runner.playback import (
    CARRIED,
    PONG,
    STILL_OPEN,
    TAKES_NOTHING,
    MismatchError,
    Playback,
    Timeouts,
)
from neffos_conformance.runner.result import LogEntry, Remark, Result
from neffos_conformance.runner.run import NETWORK_ENDED, run_script
from neffos_conformance.runner.script_runner import HEADER, ScriptRunner, Verb
from neffos_conformance.runner.server_steps import REFUSED, server_verbs
from neffos_conformance.runner.witness import Witness
from neffos_conformance.wire.connection import ConnectError, ConnectionClosed
from neffos_conformance.wire.payloads import payload_bytes
from neffos_conformance.wire.reach import Target
from neffos_conformance.wire.transcript import ConnectionOpened
from neffos_conformance.wire.transport import Received

TIMEOUTS: Final = Timeouts(case=600.0)
"""No case is that long: it ends when the recorded peer has nothing more to send."""

RESPONSE: Final = "HTTP "
_RESULTS: Final = (DID, FAILED, UNSUPPORTED)


class _Selector(selectors.DefaultSelector):
    """Lets the time pass that nobody needs."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is not None and timeout > 0:
            self.now += timeout
        return ready


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock jumps to the next timer when nothing is ready."""

    def __init__(self) -> None:
        self._selecting = _Selector()
        super().__init__(self._selecting)

    def time(self) -> float:
        """Return the time on this loop's clock, in seconds."""
        return self._selecting.now


async def evaluated_again(
    case: Case, log: Sequence[LogEntry], mark: str, profile: Profile = STANDARD
) -> Result:
    """Play a case against its log, and give the verdict that follows from that.

    Args:
        case: the case.
        log: what happened when it was played.
        mark: the value of its placeholder ``case`` at that time.
        profile: the names that the server has.
    """
    case = profile.case(case)
    played = _WatchedLog(case.role == "client")
    result = Result(case, mark=mark, log=played)
    playback = Playback(case.role, TIMEOUTS, played)
    recorded = _Recorded(playback, log, played)
    runner = ScriptRunner(playback, witness=_RecordedWitness(recorded), profile=profile)
    if case.role == "server":
        await run_script(case, result, runner, _server_verbs(runner, recorded))
    else:
        operations = _RecordedOperations(runner, recorded)
        requests = _RecordedRequests(recorded, playback)
        await run_script(case, result, runner, client_verbs(runner, operations, requests))
        await operations.cancel()
    if any(each.content == NETWORK_ENDED for each in log):
        _forgive(result)
    return result


def _forgive(result: Result) -> None:
    """Take out what the network, and not the peer, did to the closing."""
    if result.closing and result.explanation == result.closing.explanation:
        result.verdict, result.explanation = Verdict.PASS, ""
    result.findings = [each for each in result.findings if not each.is_closing]


class _WatchedLog(list[LogEntry]):
    """A log that says when it has grown."""

    def __init__(self, is_client: bool) -> None:
        super().__init__()
        self.grew = asyncio.Event()
        self.sent: Counter[int] = Counter()
        self._is_client = is_client

    def append(self, entry: LogEntry) -> None:
        super().append(entry)
        self.sent[entry.connection] += entry.from_client != self._is_client
        self.grew.set()


class _Recorded:
    """What the peer did, and when it is its turn to do it again."""

    def __init__(self, playback: Playback, log: Sequence[LogEntry], played: _WatchedLog) -> None:
        self.is_client = playback.role == "client"
        self.log = log
        self._played = played
        self.sent: Counter[int] = Counter()
        # What is left of the peer's entries, and how much the suite sent before each.
        self._left: dict[int, int] = {}
        for number, each in enumerate(log):
            if each.from_client == self.is_client:
                self._left[number] = self.sent[each.connection]
            else:
                self.sent[each.connection] += 1

    def sent_again(self, connection: int) -> int:
        """Give how much the suite has sent and done on a connection so far."""
        return self._played.sent[connection]

    def next(
        self, is_it: Callable[[LogEntry], bool], connection: int | None = None
    ) -> tuple[int, LogEntry] | None:
        """Give the peer's next entry of a kind, with its number, whether or not it is its turn."""
        for number in self._left:
            each = self.log[number]
            if connection in (None, each.connection) and is_it(each):
                return number, each
        return None

    def is_due(self, number: int) -> bool:
        """Whether it is the turn of an entry of the peer, by its number."""
        return self.sent_again(self.log[number].connection) >= self._left[number]

    def done(self, number: int) -> None:
        """Leave out an entry of the peer from now on, by its number."""
        del self._left[number]

    async def take(
        self, is_it: Callable[[LogEntry], bool], connection: int | None = None
    ) -> tuple[int, LogEntry]:
        """Wait for the turn of the peer's next entry of a kind; indefinitely if there is none."""
        while True:
            found = self.next(is_it, connection)
            if found is not None and self.is_due(found[0]):
                self.done(found[0])
                return found
            self._played.grew.clear()
            await self._played.grew.wait()

    def headers(self, connection: int, after: int = -1) -> list[tuple[str, str]]:
        """Give the headers of the peer that the script looked at, up to the next response."""
        found = []
        for each in self.log[after + 1 :]:
            if each.connection != connection or not isinstance(each.content, Remark):
                continue
            if each.content.text.startswith(RESPONSE):
                break
            name, _colon, value = each.content.text.removeprefix(HEADER).partition(": ")
            if each.content.text.startswith(HEADER):
                found.append((name.lower(), value))
        return found


def _is_received(entry: LogEntry) -> bool:
    return isinstance(entry.content, str | bytes | ConnectionClosed)


def _begins(*starts: str) -> Callable[[LogEntry], bool]:
    return lambda entry: isinstance(entry.content, Remark) and entry.content.text.startswith(starts)


class _RecordedWitness(Witness):
    """Tells broadcasts of other clients as the case did: it went on after them."""

    def __init__(self, recorded: _Recorded) -> None:
        super().__init__(None, TIMEOUTS)
        self._recorded = recorded

    async def may_have_seen(self, payload: bytes) -> bool:
        log = self._recorded.log
        return not (
            log
            and isinstance(log[-1].content, str | bytes)
            and payload_bytes(log[-1].content) == payload
        )


class _RecordedConnection:
    """A connection whose peer does what it did."""

    def __init__(self, number: int, recorded: _Recorded, playback: Playback) -> None:
        self._number = number
        self._recorded = recorded
        self._playback = playback
        self._closed: ConnectionClosed | None = None
        self._is_closing = False
        self.backlog = 0

    @property
    def is_open(self) -> bool:
        if self._closed or self._is_closing:
            return False
        # What the suite did not send any more, though it says so, met a closed connection.
        recorded, number = self._recorded, self._number
        is_last = recorded.sent_again(number) >= recorded.sent.get(number, 0)
        closing = recorded.next(lambda e: isinstance(e.content, ConnectionClosed), number)
        return not (is_last and closing)

    @property
    def has_broken_protocol(self) -> bool:
        return False

    @property
    def has_received_close(self) -> bool:
        return self._recorded.next(_begins(STILL_OPEN), self._number) is not None

    async def send(self, payload: str | bytes, *, is_held: bool = False) -> None:
        await self._blocked()

    async def send_parts(self, parts: Sequence[bytes], *, is_text: bool) -> None:
        await self._blocked()

    async def send_raw(self, data: bytes) -> None:
        await self._blocked()

    async def _blocked(self) -> None:
        """Wait indefinitely if the peer took nothing more at this point."""
        recorded, number = self._recorded, self._number
        found = recorded.next(_begins(TAKES_NOTHING), number)
        if found and recorded.is_due(found[0]):
            recorded.done(found[0])
            await asyncio.Event().wait()

    async def ping(self, payload: bytes) -> bool:
        if payload != CARRIED:
            await self._recorded.take(_begins(PONG), self._number)
        return True

    async def receive(self) -> Received:
        if self._closed is None:
            _, taken = await self._recorded.take(_is_received, self._number)
            if not isinstance(taken.content, ConnectionClosed):
                assert isinstance(taken.content, str | bytes)  # noqa: S101  # see _is_received
                return taken.content
            self._closed = taken.content
        return self._closed

    def stall(self) -> None:
        pass

    def resume(self) -> None:
        pass

    def abort(self) -> None:
        self._is_closing = True
        self._closed = ConnectionClosed(None)

    async def send_close(self, code: int = 1000, reason: str = "") -> None:
        self._is_closing = True

    async def close(self) -> None:
        self._is_closing = True


def _server_verbs(runner: ScriptRunner, recorded: _Recorded) -> Mapping[str, Verb]:
    """Give the verbs for a server, of which those that open something find it in the log."""
    playback = runner.playback

    def opened(number: int) -> _RecordedConnection:
        connection = _RecordedConnection(number, recorded, playback)
        playback.connections[number] = connection
        runner.headers[number] = recorded.headers(number)
        return connection

    async def dial(step: Step, _: int) -> None:
        number = step.connection
        path, headers = target(str(fill(expand(step.rest), runner.bindings)))
        playback.log_sent(number, ConnectionOpened(path, headers))
        refusal = recorded.next(lambda _: True, number)
        if refusal and _begins(REFUSED)(refusal[1]):
            raise ConnectError(await refused(number))
        opened(number)

    async def refused(number: int) -> str:
        _, remark = await recorded.take(_begins(REFUSED), number)
        playback.log_received(number, remark.content)
        return str(remark.content).removeprefix(REFUSED)

    async def enter(step: Step, _: int) -> None:
        number = step.connection
        if all(each.connection != number for each in recorded.log):
            await asyncio.Event().wait()  # the server accepted none
        path, headers = target(str(fill(expand(step.rest), runner.bindings)))
        playback.log_sent(number, ConnectionOpened(path, headers))
        playback.log_sent(number, "M")
        received = await opened(number).receive()
        playback.log_received(number, received)
        runner.bindings[f"id{number}"] = str(received)[1:]
        playback.handshaken.add(number)

    async def request(step: Step, _: int) -> None:
        number = step.connection
        method, _space, rest = step.rest.partition(" ")
        path, _headers = target(str(fill(rest, runner.bindings)))
        playback.log_sent(number, Remark(f"{method} {path or '/'}"))
        place, response = await recorded.take(_begins(RESPONSE, REFUSED), number)
        playback.log_received(number, response.content)
        text = str(response.content)
        if text.startswith(REFUSED):
            raise MismatchError(text.removeprefix(REFUSED))
        status = (":status", text.removeprefix(RESPONSE))
        runner.headers[number] = [status, *recorded.headers(number, place)]

    runner.bindings["origin"] = ""  # no report has that
    further = {"dial": dial, "enter": enter, "http": request, "upgrade": request}
    return {**server_verbs(runner, [Target("ws://recorded")]), **further}


class _RecordedDriver:
    """A driver whose client saw what it saw."""

    def __init__(self, runner: ScriptRunner, recorded: _Recorded) -> None:
        self._runner = runner
        self._recorded = recorded
        self.expected: Values = {}

    def _remark(self) -> str:
        return f"{SAW}{self._runner.step.rest if self._runner.step else ''}"

    @property
    def seen(self) -> list[Values]:
        """Give what a step asks for, if the client saw it at this step."""
        number = self._runner.playback.step
        is_seen = any(
            each.step == number and str(each.content) == self._remark()
            for each in self._recorded.log
            if isinstance(each.content, Remark)
        )
        return [self.expected] if is_seen else []

    async def do(self, op: str, **fields: Any) -> Values:
        """Do nothing: the results are those of ``_RecordedOperations``."""
        raise UnsupportedError(op)

    async def saw(self, seconds: float = 0.0, **fields: Any) -> Values:
        """Wait until the client saw what the step asks for."""
        remark, step = self._remark(), self._runner.step
        number = step.connection if step else None
        await self._recorded.take(lambda each: str(each.content) == remark, number)
        return fields


class _RecordedOperations(PendingOperations):
    """Operations with the results that they had; a connection has the number of the script."""

    def __init__(self, runner: ScriptRunner, recorded: _Recorded) -> None:
        self._seeing = _RecordedDriver(runner, recorded)
        super().__init__(runner, self._seeing, "")
        self._recorded = recorded

    def start(self, number: int, op: str, shown: str, **fields: Any) -> None:
        self._playback.log_sent(number, Remark(f"told to {shown}"))
        task = asyncio.create_task(self._result(number))
        self.tasks.setdefault(number, []).append(task)

    async def _result(self, number: int) -> Values:
        _, entry = await self._recorded.take(_begins(*_RESULTS), number)
        text = str(entry.content)
        if text.startswith(FAILED):
            raise OperationError(text.removeprefix(FAILED))
        if text == UNSUPPORTED:
            raise UnsupportedError(self._runner.step.rest if self._runner.step else "")
        _did, colon, given = text.partition(": ")
        return {"connection": number} | ({"text": given} if colon else {})

    def log_uncaused(self) -> None:
        for each in self._recorded.log:
            if _begins(REPORTED)(each):
                self._playback.log_received(each.connection, each.content)

    def _observation(self, step: Step) -> Values:
        self._seeing.expected = super()._observation(step)
        return self._seeing.expected


class _RecordedRequest:
    """A client's request, as it came."""

    def __init__(self, entry: LogEntry, recorded: _Recorded, playback: Playback) -> None:
        self._entry = entry
        self._recorded = recorded
        self._playback = playback
        path, headers, method = "/", Headers(), "GET"
        match entry.content:
            case ConnectionOpened() as opened:
                path = opened.path
                headers = Headers([*opened.headers.items(), *recorded.headers(entry.connection)])
            case remark:
                method, _space, rest = str(remark).partition(" ")
                path = rest or path
        self.request = Request(path, headers, method)

    def accept(self) -> _RecordedConnection | None:
        if not isinstance(self._entry.content, ConnectionOpened):
            return None
        return _RecordedConnection(self._entry.connection, self._recorded, self._playback)

    def abort(self) -> None:
        pass

    async def close(self) -> None:
        pass

    async def refuse(self, status: int) -> None:
        pass


def _is_request(entry: LogEntry) -> bool:
    return isinstance(entry.content, ConnectionOpened) or _begins("HEAD", "GET ", NO_UPGRADE)(entry)


class _RecordedRequests(asyncio.Queue[Any]):
    """The requests of the client, in order."""

    def __init__(self, recorded: _Recorded, playback: Playback) -> None:
        super().__init__()
        self._recorded = recorded
        self._playback = playback

    async def get(self) -> _RecordedRequest:
        _, entry = await self._recorded.take(_is_request)
        return _RecordedRequest(entry, self._recorded, self._playback)
