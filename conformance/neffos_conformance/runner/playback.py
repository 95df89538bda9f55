"""Plays the suite's side of connections: what every runner does on the wire, whatever it expects.

A playback holds the connections by their numbers, the log, and the time limits. It sends, receives,
and closes. When an expected message is late, it sends a barrier: the peer must reply to it in
order, so once the reply is here, little is left to wait for. It does not know what a runner
expects: that is a script, a recording, or a model.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from neffos_conformance.runner.result import LogContent, LogEntry, Remark
from neffos_conformance.wire.barrier import (
    BARRIERS,
    IMPLICIT_BARRIERS,
    IMPLICIT_TOKENS,
    is_barrier_reply,
)
from neffos_conformance.wire.connection import ConnectionClosed
from neffos_conformance.wire.payloads import payload_text
from neffos_conformance.wire.transport import Received, Transport, close_like
from neffos_conformance.wire.waiting import cancel

NORMAL_CLOSURE: Final = 1000
"""The close code in the ordinary course (TR-13)."""

NO_CLOSE_FRAME: Final = "the close frame was answered by no close frame"

STILL_OPEN: Final = "a close frame, and TCP stays open"
TAKES_NOTHING: Final = "nothing more is taken"
"""Remarks on a peer that neither closes nor reads."""

PONG: Final = "a pong"
"""Remark on the answer to the ping of a case."""

CARRIED: Final = b"carried?"
"""The bytes of the pings that ask whether the network has carried what the suite sent."""

MAX_EVENTS: Final = 64
"""Events read ahead; with more, a connection that is watched waits, and is cut off in the end."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Time limits, in seconds.

    ``before_barrier`` and ``write`` decide what the suite does next, and fail no peer. A message
    is missing only after ``after_barrier`` and the replies to a barrier before and after that, so
    that a machine that is slow to run the peer is slow here too.

    Attributes:
        case: for all of a case. A peer on this machine answers in milliseconds; one at the end of
            a slow link has time for the few round trips of a case.
        before_barrier: for a message, before the suite sends a barrier.
        after_barrier: for that message after the reply to the barrier: a handler that runs beside
            the reading of the connection may be later than the reader, but not by much.
        close: for the answer to a close frame.
        write: for the peer to take any part of a message while the suite does not read. If it takes
            none, it counts as a peer that does not read while it cannot write.
    """

    case: float = 5.0
    before_barrier: float = 0.3
    after_barrier: float = 0.7
    close: float = 1.0
    write: float = 0.5


class MismatchError(Exception):
    """The system under test did not do what the suite expects.

    Attributes:
        actual: what it did; empty if it did nothing.
    """

    def __init__(self, explanation: str, actual: str = "") -> None:
        super().__init__(explanation)
        self.actual = actual


class _BarrierReply:
    """The reply to a barrier that the suite sent unasked."""


async def _nothing() -> None:
    pass


async def _nobody(_: Received) -> bool:
    return False


@dataclass(slots=True)
class Playback:
    """The suite's side of the connections to one system under test.

    Attributes:
        role: of the system under test, ``server`` or ``client``.
        timeouts: the time limits.
        log: every message, opening, closing and remark, in order.
        connections: by number.
        handshaken: the connections whose handshake is complete, so that the peer answers asks.
        stalled: the connections that the suite does not read.
        blocked: the connections whose peer takes nothing more. A peer may stop reading while it
            cannot write.
        held: received messages that no runner has looked at yet, by connection.
        step: the number of the step that is being played.
        events: what the watched connections receive, with their numbers; a runner may put further
            events of its own.
        catch_up: waits until a client has started every operation.
        is_foreign: says of a message that it belongs to another case; it is logged and skipped.
        began: when, on the clock of ``time.perf_counter``.
        volume: the bytes of all messages, in both directions.
        barriers: how many barriers have no reply yet.
        foreign: the messages of other cases, by their places in the log.
        unexpected: those that no runner has looked at, likewise.
    """

    role: str
    timeouts: Timeouts
    log: list[LogEntry] = field(default_factory=list)
    connections: dict[int, Transport] = field(default_factory=dict)
    handshaken: set[int] = field(default_factory=set)
    stalled: set[int] = field(default_factory=set)
    blocked: set[int] = field(default_factory=set)
    held: dict[int, list[Received]] = field(default_factory=dict)
    step: int = 0
    events: asyncio.Queue[tuple[int, Any]] = field(
        default_factory=lambda: asyncio.Queue(MAX_EVENTS)
    )
    catch_up: Callable[[], Awaitable[None]] = _nothing
    is_foreign: Callable[[Received], Awaitable[bool]] = _nobody
    began: float = field(default_factory=time.perf_counter)
    volume: int = 0
    barriers: int = 0
    foreign: set[int] = field(default_factory=set)
    unexpected: set[int] = field(default_factory=set)
    _readers: list[asyncio.Task[None]] = field(default_factory=list)

    # ---- the log

    def log_sent(self, number: int, content: LogContent) -> None:
        """Log what the suite sent or did."""
        self._log(number, content, from_suite=True)

    def log_received(self, number: int, content: LogContent) -> None:
        """Log what the system under test sent or did."""
        self._log(number, content, from_suite=False)

    def _log(self, number: int, content: LogContent, *, from_suite: bool) -> None:
        now = time.perf_counter() - self.began
        from_client = from_suite == (self.role == "server")
        if isinstance(content, str | bytes):
            self.volume += len(content)
        self.log.append(LogEntry(now, number, from_client, content, self.step))

    # ---- sending

    async def send(self, number: int, payload: str | bytes, *, is_held: bool = False) -> None:
        """Send a message, unless the connection is closed or its peer takes nothing more.

        Args:
            number: the connection.
            payload: the message.
            is_held: it goes out together with the next message.
        """
        if self._can_send(number):
            self.log_sent(number, payload)
            await self._write(number, self.connections[number].send(payload, is_held=is_held))

    async def send_parts(self, number: int, parts: Sequence[bytes], *, is_text: bool) -> None:
        """Send a message in fragments, likewise."""
        if self._can_send(number):
            whole = b"".join(parts)
            self.log_sent(number, payload_text(whole) if is_text else whole)
            sending = self.connections[number].send_parts(parts, is_text=is_text)
            await self._write(number, sending)

    async def send_raw(self, number: int, data: bytes, shown: str) -> None:
        """Send bytes as they are, likewise; the log has what is ``shown`` of them."""
        if self._can_send(number):
            self.log_sent(number, Remark(f"bytes {shown}"))
            self.volume += len(data)
            await self._write(number, self.connections[number].send_raw(data))

    async def send_barrier(self, number: int, barriers: dict[str, str] = BARRIERS) -> None:
        """Send a barrier, even to a peer that takes nothing: its reply is waited for."""
        barrier = barriers[self.role]
        self.log_sent(number, barrier)
        self.barriers += 1
        await self.connections[number].send(barrier)

    async def ping(self, number: int, payload: bytes) -> asyncio.Future[bool]:
        """Send a ping; the future says whether its pong came before the connection ended."""
        self.log_sent(number, Remark(f"a ping of {len(payload)} bytes"))
        pong = asyncio.ensure_future(self.connections[number].ping(payload))
        await asyncio.sleep(0)  # it is sent before what is sent next
        return pong

    def stall(self, number: int) -> None:
        """Stop reading a connection."""
        self.log_sent(number, Remark("reads nothing more"))
        self.stalled.add(number)
        self.connections[number].stall()

    def resume(self, number: int) -> None:
        """Read a connection again."""
        self.log_sent(number, Remark("reads again"))
        self.stalled.discard(number)
        self.blocked.clear()
        self.connections[number].resume()

    def _can_send(self, number: int) -> bool:
        return number not in self.blocked and self.connections[number].is_open

    async def _write(self, number: int, sending: Coroutine[Any, Any, None]) -> None:
        """Wait until the peer takes a message, or none of it while the suite takes none itself."""
        if not self.stalled:
            await sending
            return
        connection = self.connections[number]
        task = asyncio.create_task(sending)
        try:
            await asyncio.sleep(0)  # it begins
            while not task.done():
                left = connection.backlog
                await asyncio.wait([task], timeout=self.timeouts.write)
                if not task.done() and connection.backlog >= left:
                    self.blocked.add(number)
                    self.log_received(number, Remark(TAKES_NOTHING))
                    return
            await task
        finally:
            task.cancel()

    # ---- receiving

    async def receive(self, number: int) -> Received:
        """Receive the next message or the closing, however long it takes."""
        while isinstance(received := await self._receive(number), _BarrierReply):
            pass
        return received

    async def receive_soon(self, number: int) -> Received:
        """Receive the next message or the closing; send a barrier if it is late.

        Raises:
            MismatchError: the peer replies to the barrier, and sends nothing else.
        """
        for seconds in (self.timeouts.before_barrier, self.timeouts.after_barrier):
            if number not in self.handshaken:
                break
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    return await self.receive(number)
            await self._send_implicit_barrier(number)
            received = await self._receive(number)
            if not isinstance(received, _BarrierReply):
                return received
        else:
            raise MismatchError("no message came, though a later barrier was answered")
        return await self.receive(number)

    async def wait_for(self, number: int, task: asyncio.Future[T]) -> T:
        """Wait for what a client reports about a connection; send a barrier if it is late.

        Messages received meanwhile are kept.

        Raises:
            MismatchError: the peer replies to the barrier, and the client reports nothing.
        """
        for seconds in (self.timeouts.before_barrier, self.timeouts.after_barrier):
            if number not in self.handshaken or not self.connections[number].is_open:
                break
            await asyncio.wait([task], timeout=seconds)
            if task.done():
                break
            if await self.settle(number):
                await self.catch_up()
        else:
            if not task.done():
                text = "the client reported no result, though a later barrier was answered"
                raise MismatchError(text)
        return await asyncio.shield(task)

    def talking(self) -> list[int]:
        """Give the connections on which the peer can answer a barrier."""
        return [
            number
            for number, each in self.connections.items()
            if number in self.handshaken - self.stalled - self.blocked and each.is_open
        ]

    async def settle(self, number: int) -> bool:
        """Send a barrier and wait for its reply, or the closing; tell whether it was the reply."""
        await self._send_implicit_barrier(number)
        kept: list[Received] = []
        while not isinstance(received := await self._receive(number), _BarrierReply):
            kept.append(received)
            if isinstance(received, ConnectionClosed):
                self.handshaken.discard(number)
                break
        self.held[number] = kept
        return number in self.handshaken

    def expect_no_more(self, number: int) -> None:
        """Note the messages on a connection that were received, and that no runner looked at."""
        left = sum(not isinstance(each, ConnectionClosed) for each in self.held.pop(number, ()))
        by_client = self.role == "client"
        for place in reversed(range(len(self.log)) if left else ()):
            each = self.log[place]
            is_theirs = each.connection == number and each.from_client == by_client
            if (
                is_theirs
                and isinstance(each.content, str | bytes)
                and not is_barrier_reply(each.content, IMPLICIT_TOKENS)
                and place not in self.foreign
            ):
                self.unexpected.add(place)
                left -= 1
                if not left:
                    return

    async def _send_implicit_barrier(self, number: int) -> None:
        await self.catch_up()
        await self.send_barrier(number, IMPLICIT_BARRIERS)

    async def _receive(self, number: int) -> Received | _BarrierReply:
        if self.held.get(number):
            return self.held[number].pop(0)
        while True:
            received = await self.connections[number].receive()
            place = len(self.log)
            if not (isinstance(received, ConnectionClosed) and self._is_over(number)):
                self.log_received(number, received)
            if is_barrier_reply(received) or is_barrier_reply(received, IMPLICIT_TOKENS):
                self.barriers -= 1
            if not await self.is_foreign(received):
                break
            self.foreign.add(place)
        return _BarrierReply() if is_barrier_reply(received, IMPLICIT_TOKENS) else received

    # ---- receiving on all connections

    def watch(self, number: int) -> None:
        """Read a connection in the background: what it receives becomes events."""

        async def read() -> None:
            received: Received = ""
            while not isinstance(received, ConnectionClosed):
                received = await self.connections[number].receive()
                await self.events.put((number, received))

        self._readers.append(asyncio.create_task(read(), name=f"read connection {number}"))

    async def next_event(self) -> tuple[int, Any]:
        """Wait for the next event, and log it if a connection received it."""
        number, event = await self.events.get()
        if isinstance(event, str | bytes | ConnectionClosed):
            self.log_received(number, event)
        return number, event

    # ---- closing

    async def have_all_carried(self) -> bool:
        """Whether the network has carried all connections, as far as that can be seen.

        One that ended without a close frame may have been lost on the way, and so may one that
        answers no ping; a peer that reads nothing answers none either.
        """
        ours = self._closed_by_suite()
        others = [each for number, each in self.connections.items() if number not in ours]
        if not all(each.is_open or each.has_received_close for each in others):
            return False
        asked = [
            each
            for number, each in self.connections.items()
            if each.is_open and number not in self.stalled
        ]
        try:
            async with asyncio.timeout(self.timeouts.close):
                return all(await asyncio.gather(*(each.ping(CARRIED) for each in asked)))
        except TimeoutError:
            return False

    def _closed_by_suite(self) -> set[int]:
        by_client = self.role == "server"
        return {
            each.connection
            for each in self.log
            if isinstance(each.content, ConnectionClosed) and each.from_client == by_client
        }

    async def close(self, number: int, code: int | None, reason: str = "") -> None:
        """Close a connection with a code, or end TCP without one."""
        closed = ConnectionClosed(code, reason)
        self.log_sent(number, closed)
        if code is None:
            self.handshaken.discard(number)  # no peer is left to answer
        await close_like(self.connections[number], closed)

    async def close_all(self) -> str:
        """Close every connection that is open; say what is wrong with the first answer (TR-16).

        A second call waits again for the answers that did not come.
        """
        fault = ""
        for number, connection in self.connections.items():
            if connection.is_open:
                with suppress(TimeoutError):
                    async with asyncio.timeout(self.timeouts.close):
                        await self.close(number, NORMAL_CLOSURE)
        for number, connection in self.connections.items():
            if self._is_over(number):
                continue
            connection.resume()
            try:
                async with asyncio.timeout(self.timeouts.close):
                    while not isinstance(received := await self._receive(number), ConnectionClosed):
                        pass
            except TimeoutError:
                if connection.has_received_close:
                    self.log_received(number, Remark(STILL_OPEN))
                    fault = fault or "TCP was not ended after the close frames"
                else:
                    fault = fault or "the close frame was not answered"
                continue
            if received.code is None:
                fault = fault or NO_CLOSE_FRAME
        return fault

    async def release(self) -> None:
        """Stop reading, and release all sockets."""
        await cancel(self._readers)
        await asyncio.gather(*(each.close() for each in self.connections.values()))

    def _is_over(self, number: int) -> bool:
        """Whether the peer closed a connection, or TCP ended."""
        return any(
            isinstance(each.content, ConnectionClosed)
            and each.connection == number
            and (each.content.code is None or each.from_client == (self.role == "client"))
            for each in self.log
        )
