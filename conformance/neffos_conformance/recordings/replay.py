"""Plays one side of a recorded session to a live peer on the other, and sees how that goes.

Against a server it dials as the recorded clients did; to a client it is the server, and has a
driver make the client do what was recorded. Before anything is done, what the peer did before it
in the recording is waited for, on whichever connection. A peer that is dead, slow, lying or
flooding ends that with a difference or an error, and no wait is without a deadline.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum, unique
from functools import partial
from typing import Any, Final

from websockets.datastructures import Headers
from websockets.exceptions import InvalidHeader

from neffos_conformance.recordings.client_control import ClientControl
from neffos_conformance.recordings.comparison import (
    Comparison,
    ComparisonRow,
    Content,
    Difference,
    DifferentError,
)
from neffos_conformance.recordings.operations import CannotError, operations
from neffos_conformance.recordings.session import Part, RecordedSession, RecordedStep, read_script
from neffos_conformance.runner.driver_protocol import DriverError, running_driver
from neffos_conformance.wire.barrier import BARRIER, BARRIER_TOKEN
from neffos_conformance.wire.connection import ConnectError, ConnectionClosed, WireConnection
from neffos_conformance.wire.relay import below
from neffos_conformance.wire.transcript import ConnectionOpened, Transcript
from neffos_conformance.wire.transport import NEVER_SENT
from neffos_protocol import Role

DEADLINE: Final = 5.0
"""Seconds for the next thing that the live side is to do, and for it to take what it is sent."""

BACKLOG: Final = 64
"""Messages read ahead; with more, the peer waits, and is cut off in the end."""

ROUNDS: Final = 2
"""Proofs of silence on each connection. The first shows that what the other connections were sent
has been dealt with, the second that nothing came of it here."""

ECHOED: Final = "neffos-wire replay: is there anything else?"
"""A native message for the same purpose, where the recording shows that it comes back."""

FOLLOWING: Final = 4
"""Recorded lines shown behind a difference."""


@unique
class ReplayOutcome(StrEnum):
    """What came of a recording."""

    SAME = "same"
    DIFFERENT = "different"
    UNSUPPORTED = "unsupported"
    """No driver can be told to do what the recorded client did."""
    ERROR = "error"
    """The live side could not be reached or started, which says nothing of how it talks."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """What came of a recording.

    Attributes:
        outcome: whether it went the same way.
        explanation: why it did not, in a sentence; empty where it did.
        difference: where the two part, if they do.
        rows: what went by last, the difference at its end.
        following: what the recording has behind it.
        ids: the new connection ids by those of the recording.
        peer: what the driver says of itself.
        seconds: how long it took.
    """

    outcome: ReplayOutcome
    explanation: str = ""
    difference: Difference | None = None
    rows: tuple[ComparisonRow, ...] = ()
    following: tuple[RecordedStep, ...] = ()
    ids: Mapping[str, str] = field(default_factory=dict)
    peer: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


class UnreachableError(Exception):
    """There is no live side to compare with; the text says why."""


async def replay_to_server(
    transcript: Transcript, url: str, *, deadline: float = DEADLINE
) -> Replayed:
    """Do to a server what the recorded clients did; whatever it does, nothing is raised.

    Args:
        transcript: the recording.
        url: of the server, ``ws://…`` or ``wss://…``; recorded paths are below it.
        deadline: seconds, as ``DEADLINE``.
    """
    script = read_script(transcript, Role.SERVER)
    return await _told(script, {}, deadline, lambda stage: _to_server(stage, script, url))


async def replay_to_client(
    transcript: Transcript, command: Sequence[str], *, deadline: float = DEADLINE
) -> Replayed:
    """Be the recorded server to a client, and have its driver make it do what was recorded.

    Args:
        transcript: the recording.
        command: the driver; whatever it does, nothing is raised.
        deadline: seconds, as ``DEADLINE``.
    """
    script = read_script(transcript, Role.CLIENT)
    peer: dict[str, Any] = {}

    async def play(stage: ReplayRunner) -> None:
        await _to_client(stage, script, command, peer)

    return await _told(script, peer, deadline, play)


async def _told(
    script: RecordedSession,
    peer: Mapping[str, Any],
    deadline: float,
    play: Callable[[ReplayRunner], Awaitable[None]],
) -> Replayed:
    """Play, and tell what came of it."""
    began = time.perf_counter()
    outcome, explanation, difference = ReplayOutcome.SAME, "", None
    stage = ReplayRunner(script, deadline)
    try:
        try:
            await play(stage)
        finally:
            await stage.clear()
    except DifferentError as error:
        outcome, difference = ReplayOutcome.DIFFERENT, error.difference
        explanation = difference.explanation
    except CannotError as error:
        outcome, explanation = (
            ReplayOutcome.UNSUPPORTED,
            f"cannot be replayed with a driver: {error}",
        )
    except (UnreachableError, DriverError) as error:
        outcome, explanation = ReplayOutcome.ERROR, str(error)
    is_different = difference is not None
    return Replayed(
        outcome,
        explanation,
        difference,
        tuple(stage.likeness.rows) if is_different else (),
        stage.following() if is_different else (),
        stage.likeness.ids,
        peer,
        time.perf_counter() - began,
    )


async def _to_server(stage: ReplayRunner, script: RecordedSession, url: str) -> None:
    for line in script.lines:
        number, content = line.entry.connection, line.entry.content
        if number not in stage.connections:
            await stage.settle(line.number)
            opened = content if isinstance(content, ConnectionOpened) else ConnectionOpened("", {})
            stage.add(number, await _dial(stage, line, below(url, opened.path), opened.headers))
        if not line.is_live and line.part is not Part.LATE:
            await stage.settle(line.number)
            await stage.play(line)
    await stage.settle()
    await stage.prove_silence(BARRIER, BARRIER_TOKEN)


async def _dial(
    stage: ReplayRunner, line: RecordedStep, url: str, headers: Mapping[str, str]
) -> WireConnection:
    try:
        Headers(headers)
    except InvalidHeader as error:
        raise UnreachableError(
            f"at {line.name()} is a request that none can make: {error}"
        ) from error
    try:
        async with asyncio.timeout(stage.deadline):
            return await WireConnection.dial(url, headers)
    except TimeoutError:
        raise UnreachableError(f"no upgrade came from {url} within {stage.deadline:g} s") from None
    except ConnectError as error:
        if error.status is None:
            raise UnreachableError(str(error)) from error
        raise DifferentError(
            Difference(line.entry.connection, f"at {line.name()} {error}", line)
        ) from error


async def _to_client(
    stage: ReplayRunner, script: RecordedSession, command: Sequence[str], peer: dict[str, Any]
) -> None:
    todo = operations(script)
    # Servers' tokens do not begin with $ (AR-3).
    barrier, token = BARRIER.removeprefix("$"), BARRIER_TOKEN.removeprefix("$")
    async with running_driver(command) as driver:
        peer.update(driver.ready)
        async with ClientControl(driver, stage.deadline, stage.fail) as steering:
            try:
                for line in script.lines:
                    operation = todo.get(line.number)
                    is_played = not line.is_live and line.part is not Part.LATE
                    if operation is not None:
                        await stage.settle(line.number)
                        connection = await steering.start(line, operation)
                        if connection is not None:
                            stage.add(line.entry.connection, connection)
                    elif is_played:
                        await stage.settle(line.number)
                        await stage.play(line)
                        await steering.finish(line)
                await stage.settle()
                await stage.prove_silence(barrier, token)
                steering.check_strangers()
            except DifferentError as error:
                raise DifferentError(await steering.explain(error.difference)) from error


class ReplayRunner:
    """The connections between what is played and what is live.

    Args:
        script: the session.
        deadline: seconds, as ``DEADLINE``.

    Attributes:
        likeness: what is compared.
        connections: those that were opened, by their recorded numbers.
    """

    def __init__(self, script: RecordedSession, deadline: float) -> None:
        self.likeness = Comparison(script)
        self.deadline = deadline
        self.connections: dict[int, WireConnection] = {}
        self._script = script
        self._news: asyncio.Queue[tuple[int, Content] | Exception] = asyncio.Queue(BACKLOG)
        self._readers: list[asyncio.Task[None]] = []
        self._gone: set[int] = set()
        self._reached = -1

    def add(self, number: int, connection: WireConnection) -> None:
        """Take a connection that was opened."""
        self.connections[number] = connection

        async def read() -> None:
            content: Content = ""
            while not isinstance(content, ConnectionClosed):
                content = await connection.receive()
                await self._news.put((number, content))

        self._readers.append(asyncio.create_task(read(), name=f"replay connection {number}"))

    async def fail(self, error: Exception) -> None:
        """End the replay with an error, at the next wait."""
        await self._news.put(error)

    async def settle(self, before: int | None = None) -> None:
        """Wait until the live side did what it did before a line, or all that it did.

        Raises:
            DifferentError: it did something else, or nothing in time.
        """
        self._reached = max(self._reached, before or 0)
        await self._pump(lambda: True)
        while not self.likeness.is_due(before):
            if not await self._pump(partial(self._is_fewer_than, self.likeness.left)):
                raise DifferentError(self.likeness.missing(before, f"within {self.deadline:g} s"))

    async def play(self, line: RecordedStep) -> None:
        """Do what a line of the played side says."""
        content = self.likeness.play(line)
        number = line.entry.connection
        if content is not None and number not in self.connections:
            return  # the client never came, which is told elsewhere
        if isinstance(content, ConnectionClosed):
            await self._end(number, content)
        elif content is not None:
            await self._send(number, content)

    async def prove_silence(self, ask: str, token: str) -> None:
        """See that nothing else is on its way, on each connection that is still open.

        Args:
            ask: is answered in order wherever the handshake is over (NS-3).
            token: its token.

        Raises:
            DifferentError: something came.
        """
        for _ in range(ROUNDS):
            for number in self.connections:
                if not self.likeness.is_open(number):
                    continue
                if self.likeness.was_accepted(number):
                    self.likeness.expect_answer(number, token)
                    await self._send(number, ask)
                elif number in self._script.echoing:
                    self.likeness.expect_echo(number, ECHOED)
                    await self._send(number, ECHOED)
            await self.settle()
        for number, connection in self.connections.items():
            if self.likeness.is_open(number) and not self.likeness.was_accepted(number):
                self.likeness.expect_end(number)
                await connection.send_close()
        await self.settle()

    def following(self) -> tuple[RecordedStep, ...]:
        """Give the recorded lines that were not reached, the first of them."""
        shown = {row.line.number for row in self.likeness.rows if row.line}
        lines = [
            line
            for line in self._script.lines[self._reached :]
            if line.number not in shown and line.part is not Part.OPENING
        ]
        return tuple(lines[:FOLLOWING])

    async def clear(self) -> None:
        """Let go of everything."""
        for reader in self._readers:
            reader.cancel()
        await asyncio.gather(*self._readers, return_exceptions=True)
        await asyncio.gather(*(each.close() for each in self.connections.values()))

    async def _send(self, number: int, payload: str | bytes) -> None:
        try:
            async with asyncio.timeout(self.deadline):
                await self.connections[number].send(payload)
        except TimeoutError:
            text = f"what it was sent was not read within {self.deadline:g} s"
            raise DifferentError(Difference(number, text)) from None

    async def _end(self, number: int, closed: ConnectionClosed) -> None:
        """End a connection as it was, and wait until the other side has noticed."""
        connection = self.connections[number]
        if closed.code is None:
            connection.abort()
        else:
            code = closed.code if closed.code not in NEVER_SENT else 1000
            async with _in_time(self.deadline):
                await connection.send_close(code, closed.reason)
        await self._pump(lambda: number in self._gone)

    def _is_fewer_than(self, left: int) -> bool:
        return self.likeness.left < left

    async def _pump(self, is_enough: Callable[[], bool]) -> bool:
        """Take what comes until that is enough; tell whether it was, in time."""
        end = asyncio.get_running_loop().time() + self.deadline
        while True:
            while not self._news.empty():
                self._take(self._news.get_nowait())
            if is_enough():
                return True
            try:
                async with asyncio.timeout_at(end):
                    item = await self._news.get()
            except TimeoutError:
                return False
            self._take(item)

    def _take(self, item: tuple[int, Content] | Exception) -> None:
        if isinstance(item, Exception):
            raise item
        number, content = item
        if isinstance(content, ConnectionClosed):
            self._gone.add(number)
        difference = self.likeness.see(number, content)
        if difference is not None:
            raise DifferentError(difference)


@asynccontextmanager
async def _in_time(seconds: float) -> AsyncIterator[None]:
    """Give something its time, and go on where that runs out."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError:
        pass
