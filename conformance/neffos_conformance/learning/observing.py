"""Asks a live peer: each word of inputs on a connection of its own, the outputs by barriers.

After each input goes a barrier. What comes before its reply is the output. A handler may run beside
the reader of its connection, and be later than that reply. So where the output is not what the
specification's peer gives, a little more is waited for, as long as every case does. A difference
that was waited for often enough is waited for no longer.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from neffos_codec import Message, encode
from neffos_conformance.cases.profile import STANDARD, Profile
from neffos_conformance.learning.alphabet import (
    CLOSED,
    DEAF,
    LAST,
    NOT_NOW,
    STOPPED,
    AbstractInput,
    Dialogue,
    Expecting,
    InputKind,
    Scene,
    may_become,
    output,
)
from neffos_conformance.learning.specified import report_word
from neffos_conformance.model_based.renaming import Renaming
from neffos_conformance.runner.client_steps import (
    OPERATION_TIMEOUT,
    accepting_clients,
    next_upgrade,
)
from neffos_conformance.runner.driver_pool import DriverPool
from neffos_conformance.runner.driver_protocol import (
    ClientDriver,
    DriverEndedError,
    DriverError,
    OperationError,
    Values,
    catch_up,
)
from neffos_conformance.runner.playback import Playback, Timeouts
from neffos_conformance.runner.result import LogEntry
from neffos_conformance.wire.barrier import is_barrier_reply
from neffos_conformance.wire.connection import ConnectError, ConnectionClosed, WireConnection
from neffos_conformance.wire.reach import Target
from neffos_conformance.wire.transcript import ConnectionOpened
from neffos_conformance.wire.waiting import cancel
from neffos_protocol import Role

SECONDS: Final = 120.0
"""Default time limit for all machines of a peer: it is asked some 4,000 words, of which each takes
a few milliseconds."""

JOBS: Final = 16
"""Connections that are open concurrently: while one waits, others do not."""

DRIVERS: Final = 8
"""Drivers of a client that is learned: a word mostly waits, for a process or for what may be late.
With more of them one processor is busy all the time."""

SURE: Final = 3
"""Times that a difference is waited for. A handler is that late three times in a row on a machine
that is much too busy, and then a vote decides."""

SURE_APART: Final = 10
"""The same where another part of the peer sends what is missing, and may be late more often. Each
input is given again in many words, and a vote decides if one of them shows something else."""

LOOK: Final = 0.05
"""Seconds after which a late client is asked again what it reported."""

PROMPT: Final = (InputKind.MESSAGE, InputKind.LATE)
"""The inputs that a peer handles before the barrier, as far as it handles messages in order. What
follows on the others may be sent by another part of it."""

BARRIERS: Final = 3
"""Barriers after the other inputs: whichever part of the peer sends what follows has its turn
meanwhile, also where the specification's peer sends nothing."""

REPORTED: Final = ("connected", "disconnected", "joined", "left", "event")
"""The observations of a client that are part of an output."""

_PING: Final = b"learn"

_NUMBER: Final = 1
"""The number of the only connection of a word."""

T = TypeVar("T")

Outputs = tuple[str, ...]


class NotObservedError(Exception):
    """The peer cannot be asked: it is not there, or does not complete the handshake."""


@dataclass(slots=True)
class WaitedFor:
    """How often each difference was waited for.

    Attributes:
        timeouts: gives the time limits, at the present pace.
        seen: the differences: the input, the output of the specification, and that of the peer.
    """

    timeouts: Callable[[], Timeouts]
    seen: Counter[tuple[str, ...]] = field(default_factory=Counter)

    def is_known(self, given: AbstractInput, expected: str, found: str) -> bool:
        """Whether a difference was waited for often enough."""
        is_late = given.kind not in PROMPT and may_become(found, expected)
        enough = SURE_APART if is_late else SURE
        return self.seen[given.name, expected, found] >= enough

    def begin_vote(self) -> None:
        """Forget all of that: something is not as it seemed, perhaps for too short a wait."""
        self.seen.clear()


class LearnedConnection:
    """One connection to a peer, while a word is asked.

    Args:
        playback: the suite's side, with the log and the connection.
        waited: what was waited for, on all connections to the peer.
        profile: the server's own names.
    """

    def __init__(
        self,
        playback: Playback,
        waited: WaitedFor,
        profile: Profile = STANDARD,
    ) -> None:
        role = Role(playback.role)
        self.playback = playback
        self.dialogue = Dialogue(role)
        self._waited = waited
        self._profile, self._renaming = profile, Renaming(profile)

    # ------------------------------------------------------------ what a client has beside messages

    def command(self, given: AbstractInput, message: Message) -> None:
        """Make the client's application do something."""
        raise NotImplementedError

    def has_ended(self, given: AbstractInput) -> bool:
        """Whether an input is a command that has ended, so that nothing more follows on it."""
        return False

    async def reports(self) -> list[str]:
        """Take what the client reported since."""
        return []

    # ------------------------------------------------------------ a word

    async def begin(self) -> None:
        """Complete the handshake.

        Raises:
            NotObservedError: the peer does not.
        """
        mine = "M" if self.dialogue.role is Role.SERVER else "A1"
        self.dialogue.conversation.feed(self.dialogue.other, mine)
        await self.playback.send(_NUMBER, mine)
        self.dialogue.is_open = self.dialogue.role is Role.CLIENT
        while not self.dialogue.is_open:
            received = await self.playback.receive(_NUMBER)
            if self.dialogue.word(received) in (CLOSED, "handshake refusal"):
                raise NotObservedError("the server refuses the handshake")

    async def answer(self, word: Sequence[Expecting]) -> Outputs:
        """Give the inputs of a word, and return the outputs."""
        outputs: list[str] = []
        for step in word:
            is_over = bool(outputs) and outputs[-1] in LAST
            outputs.append(outputs[-1] if is_over else await self._step(*step))
        return tuple(outputs)

    async def _step(self, given: AbstractInput, expected: str) -> str:
        sent = self.dialogue.begin(given)
        if sent is None:
            return NOT_NOW
        self.playback.step += 1
        words: list[str] = []
        reports: list[str] = []
        timeouts = self._waited.timeouts()
        # The time limit of a case is long. A vote forgets this, so a slow answer loses nothing.
        deaf = given.name, expected, DEAF, str(self.dialogue.own is not None)
        is_deaf = self._waited.seen[deaf] > 0
        try:
            async with asyncio.timeout(timeouts.after_barrier if is_deaf else timeouts.case):
                if given.kind is InputKind.COMMAND and isinstance(sent, Message):
                    self.command(given, sent)
                    reports += await self.reports()  # it has begun by then
                else:
                    payload = self._outgoing(given, sent)
                    await self.playback.send(_NUMBER, payload, is_held=self.dialogue.is_open)
                for _ in range(1 if given.kind in PROMPT else BARRIERS):
                    await self._barrier(words)
                reports += await self.reports()
        except TimeoutError:
            self._waited.seen[deaf] += not is_deaf
            return DEAF
        except DriverEndedError:
            return STOPPED
        found = output(words, reports)
        is_over = words[-1:] == [CLOSED]
        is_known = self._waited.is_known(given, expected, found)
        if found != expected and expected != NOT_NOW and not (is_over or is_known):
            await self._wait(given, words, reports, expected)
            found, before = output(words, reports), found
            self._waited.seen[given.name, expected, found] += found == before
        return found

    def _outgoing(self, given: AbstractInput, sent: Message | str) -> str | bytes:
        if isinstance(sent, str):
            return sent
        if given.kind is InputKind.TRIGGER and given.change is not None:
            rename = self._profile.room if given.change.is_of_room else self._profile.namespace
            sent = sent.replace(body=rename(str(sent.body)))
        return self._renaming.outgoing(encode(sent))

    async def _barrier(self, words: list[str]) -> None:
        """Collect what comes before the reply to a barrier; before the handshake, to a ping."""
        if self.dialogue.is_open:
            await self.playback.send_barrier(_NUMBER)
            while not await self._receive(words):
                pass
            return
        is_there = await self.playback.connections[_NUMBER].ping(_PING)
        with suppress(TimeoutError):
            async with asyncio.timeout(None if not is_there else 0):
                while not await self._receive(words):
                    pass

    async def _receive(self, words: list[str]) -> bool:
        """Take one message; say whether nothing before a barrier follows."""
        found = await self.playback.receive(_NUMBER)
        if is_barrier_reply(found):
            return True
        if isinstance(found, ConnectionClosed):
            if CLOSED not in words[-1:]:
                words.append(self.dialogue.word(found))
            return True
        if not self._profile.is_ignored(found):
            words.append(self.dialogue.word(self._renaming.incoming(found)))
        return False

    async def _wait(
        self, given: AbstractInput, words: list[str], reports: list[str], expected: str
    ) -> None:
        """Wait for what the specification's peer gives, as long as a case would."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._waited.timeouts().after_barrier):
                while output(words, reports) != expected:
                    if self.has_ended(given):
                        await self._barrier(words)
                        reports += await self.reports()
                        return
                    with suppress(TimeoutError):
                        async with asyncio.timeout(LOOK):
                            if await self._receive(words):
                                return
                    reports += await self.reports()


class LearnedClientConnection(LearnedConnection):
    """One connection of a client that a driver controls.

    Args:
        driver: controls it.
        dialling: the operation that opens the connection.
        given: the arguments of ``LearnedConnection``.
    """

    def __init__(self, driver: ClientDriver, dialling: asyncio.Task[Values], *given: Any) -> None:
        super().__init__(*given)
        self._driver = driver
        self._dialling = dialling
        self._asking: asyncio.Task[Values] | None = None
        self._latest: asyncio.Task[Values] | None = None
        self._tasks: list[asyncio.Task[Values]] = [dialling]

    async def begin(self) -> None:
        """Complete the handshake, and wait until the client has its connection."""
        await super().begin()
        async with asyncio.timeout(self._waited.timeouts().case):
            await asyncio.shield(self._dialling)

    def command(self, given: AbstractInput, message: Message) -> None:
        """Make the client's application do something."""
        fields: Values = {"namespace": message.namespace}
        if message.room:
            fields["room"] = message.room
        if given.change is None:
            fields |= {"event": message.event, "text": "x"}
        task = self._do(given.name.removeprefix("do "), fields)
        if given.change is None:
            self._asking = task
        self._latest = task
        self._tasks.append(task)

    def has_ended(self, given: AbstractInput) -> bool:
        """Whether an input is a command that has ended, so that nothing more follows on it."""
        latest = self._latest if given.kind is InputKind.COMMAND else None
        return latest is not None and latest.done()

    def _do(self, op: str, fields: Values) -> asyncio.Task[Values]:
        connection = self._dialling.result()["connection"]
        operation = self._driver.do(op, connection=connection, timeout=OPERATION_TIMEOUT, **fields)
        return asyncio.create_task(operation)

    async def reports(self) -> list[str]:
        """Take what the client reported since, and the outcome of its ask."""
        await catch_up(self._driver)
        found: list[str] = []
        done = self._dialling.done() and not self._dialling.cancelled()
        if done and self._dialling.exception() is None:
            name = self._dialling.result()["connection"]
            seen = self._driver.seen
            mine = [each for each in seen if each.get("connection") == name]
            seen[:] = [each for each in seen if each.get("connection") != name]
            found = [
                report_word(each["saw"], each.get("event", ""))
                for each in mine
                if each["saw"] in REPORTED
            ]
        if self._asking is not None and self._asking.done():
            found.append("ask failed" if self._asking.exception() else "ask replied")
            self._asking = None
        return found

    async def finish(self) -> None:
        """Cancel the operations, and have the client close its connection."""
        await cancel(self._tasks)


# -------------------------------------------------------------------- peers


class LivePeer:
    """A peer whose machines are learned.

    Args:
        role: of the peer.
        timeouts: gives the time limits, at the present pace.
        jobs: connections that are open concurrently.

    Attributes:
        visited: connections so far.
    """

    def __init__(self, role: Role, timeouts: Callable[[], Timeouts], jobs: int = JOBS) -> None:
        self.role = role
        self.visited = 0
        self._timeouts = timeouts
        self._waited = WaitedFor(timeouts)
        self._slots = asyncio.Semaphore(jobs)

    def visit(self, playback: Playback) -> AbstractAsyncContextManager[LearnedConnection]:
        """Open a connection."""
        raise NotImplementedError

    async def ask(self, scene: Scene, word: Sequence[Expecting]) -> tuple[Outputs, list[LogEntry]]:
        """Ask one word on a connection of its own; give the outputs and the log.

        Raises:
            NotObservedError: the peer cannot be asked.
        """
        async with self._slots:
            self.visited += 1
            playback = Playback(str(self.role), self._timeouts())
            try:
                async with self.visit(playback) as visit:
                    if scene is not Scene.HANDSHAKE:
                        async with asyncio.timeout(self._timeouts().case):
                            await visit.begin()
                    return await visit.answer(word), playback.log
            except (ConnectError, TimeoutError, DriverError, OperationError) as error:
                text = str(error) or "it did not answer in time"
                raise NotObservedError(text) from error
            finally:
                await playback.release()

    async def ask_all(
        self, scene: Scene, words: Sequence[Sequence[Expecting]], *, is_vote: bool = False
    ) -> list[Outputs]:
        """Ask many words concurrently.

        Args:
            scene: what is learned.
            words: the inputs of each.
            is_vote: an earlier answer was another one.
        """
        if is_vote:
            self._waited.begin_vote()
        return [outputs for outputs, _ in await together(self.ask(scene, word) for word in words)]


class LiveServer(LivePeer):
    """A server that is dialled.

    Args:
        target: where it is.
        timeouts: gives the time limits.
        profile: its own names.
    """

    def __init__(
        self, target: Target, timeouts: Callable[[], Timeouts], profile: Profile = STANDARD
    ) -> None:
        super().__init__(Role.SERVER, timeouts)
        self._target = target
        self._profile = profile

    @asynccontextmanager
    async def visit(self, playback: Playback) -> AsyncIterator[LearnedConnection]:
        """Dial the server."""
        playback.log_sent(_NUMBER, ConnectionOpened("", {}))
        async with asyncio.timeout(self._timeouts().case):
            playback.connections[_NUMBER] = await WireConnection.dial(self._target)
        yield LearnedConnection(playback, self._waited, self._profile)


class LiveClient(LivePeer):
    """A client that a driver controls.

    Each connection has a driver of its own, since an input may stop a client.

    Args:
        drivers: of the client.
        timeouts: gives the time limits.
    """

    def __init__(self, drivers: DriverPool, timeouts: Callable[[], Timeouts]) -> None:
        super().__init__(Role.CLIENT, timeouts)
        self._drivers = drivers

    @asynccontextmanager
    async def visit(self, playback: Playback) -> AsyncIterator[LearnedConnection]:
        """Have the client dial, and accept its connection."""
        async with self._drivers.take() as driver, accepting_clients() as (url, incoming):
            driver.seen.clear()  # of connections that have ended
            dial = driver.do("dial", url=url, headers={}, timeout=OPERATION_TIMEOUT)
            dialling = asyncio.create_task(dial)
            visit = LearnedClientConnection(driver, dialling, playback, self._waited)
            try:
                async with asyncio.timeout(self._timeouts().case):
                    request = await next_upgrade(incoming, [dialling])
                    connection = request.accept() if request else None
                    if connection is None:
                        raise NotObservedError("the client does not dial")
                    playback.connections[_NUMBER] = connection
                    playback.log_received(_NUMBER, ConnectionOpened("", {}))
                    visit.dialogue.word(await playback.receive(_NUMBER))  # the request
                yield visit
            finally:
                await visit.finish()


async def together(asking: Iterable[Coroutine[Any, Any, T]]) -> list[T]:
    """Run coroutines concurrently; the first that fails ends the others."""
    tasks = [asyncio.create_task(each) for each in asking]
    try:
        return await asyncio.gather(*tasks)
    finally:
        await cancel(tasks)
