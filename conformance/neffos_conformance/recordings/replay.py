"""Replays a recorded session: the suite plays one peer from it, and the other is live.

To a server the suite dials as the recorded clients did. For a client it is the server, and its
driver makes the client do what was recorded. Before the suite plays a step, it waits for all that
the live peer did before that in the recording, on whichever connection. A peer that is dead, slow,
wrong or flooding ends that with a difference or an error, and every wait has a time limit.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum, unique
from functools import partial
from typing import Any, Final

from websockets.exceptions import ProtocolError

from neffos_conformance.cases.script import BROKER
from neffos_conformance.recordings.client_control import ClientControl
from neffos_conformance.recordings.comparison import (
    Comparison,
    ComparisonRow,
    DifferentError,
    Mismatch,
)
from neffos_conformance.recordings.operations import CannotError, operations
from neffos_conformance.recordings.publications import PublicationReader
from neffos_conformance.recordings.session import (
    RecordedSession,
    RecordedStep,
    StepKind,
    read_session,
)
from neffos_conformance.runner.client_steps import accepting_clients
from neffos_conformance.runner.driver_protocol import DriverError, running_driver
from neffos_conformance.runner.pace import LONGEST, Cost, Opener, Way
from neffos_conformance.runner.playback import Playback, Timeouts
from neffos_conformance.runner.run import opened
from neffos_conformance.wire.barrier import BARRIER_TOKENS, BARRIERS
from neffos_conformance.wire.broker import BrokerError, Publish, broker_at
from neffos_conformance.wire.connection import ConnectError, ConnectionClosed, WireConnection
from neffos_conformance.wire.reach import Target
from neffos_conformance.wire.transcript import ConnectionOpened, Published, Transcript
from neffos_conformance.wire.transport import Transport
from neffos_protocol import Role
from neffos_protocol.exchange import CHANNELS, Channels

DEADLINE: Final = 5.0
"""Seconds for the next thing that the live peer is to do, and for it to read a message."""

ROUND_TRIPS: Final = 4
"""Round trips to the next thing that a peer does: TCP, the upgrade, the handshake and an ask."""

ROUNDS: Final = 2
"""Barriers on each connection. The first proves that the live peer has handled the messages on the
other connections, the second that it sent nothing here because of them."""

ECHOED: Final = "neffos-wire replay: is there anything else?"
"""A native message for the same purpose, if the recording shows that the server echoes."""

OWN_CHANNEL: Final = "neffos-wire-replay"
"""A channel of no server: what the suite publishes there comes after what the servers did."""

MAX_HEARD: Final = 4096
"""Published messages that wait to be compared; a recording has a few at a time."""

FOLLOWING: Final = 4
"""Recorded steps shown after a difference."""


@unique
class ReplayOutcome(StrEnum):
    """The outcome of a replay."""

    SAME = "same"
    DIFFERENT = "different"
    EXPLAINED = "explained"
    """It is different, and the recording's header names violations of the recorded peer. The
    caller decides whether that counts."""
    UNSUPPORTED = "unsupported"
    """No operation makes a client do what the recorded client did."""
    ERROR = "error"
    """The live peer could not be reached or started, which says nothing about its conformance."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """The result of a replay.

    Attributes:
        outcome: whether it went the same way.
        explanation: why it did not, in a sentence; empty if it did.
        difference: the difference, if there is one.
        rows: the last messages, the difference at their end.
        following: the next steps of the recording.
        ids: the new connection IDs by those of the recording.
        peer: what the driver says of itself.
        seconds: how long it took.
    """

    outcome: ReplayOutcome
    explanation: str = ""
    difference: Mismatch | None = None
    rows: tuple[ComparisonRow, ...] = ()
    following: tuple[RecordedStep, ...] = ()
    ids: Mapping[str, str] = field(default_factory=dict)
    peer: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


_HEADER: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*")
_TARGET: Final = re.compile(r"[^\x00-\x20\x7f]*")
"""What a request can have in its head. A recording may say anything, and must not add lines."""


class UnreachableError(Exception):
    """There is no live peer to compare with; the text says why."""


@dataclass(frozen=True, slots=True)
class ReplayBroker:
    """What live servers share.

    Attributes:
        url: its URL.
        prefix: of the channels that are compared; all if it is empty.
    """

    url: str
    prefix: str = ""


async def replay_to_server(
    transcript: Transcript,
    server: Target | str,
    *,
    deadline: float = DEADLINE,
    way: Way | None = None,
) -> Replayed:
    """Do to one server what the recorded clients did; see ``replay_to_servers``."""
    return await replay_to_servers(transcript, [server], deadline=deadline, way=way)


async def replay_to_servers(
    transcript: Transcript,
    servers: Sequence[Target | str],
    *,
    broker: ReplayBroker | None = None,
    deadline: float = DEADLINE,
    way: Way | None = None,
) -> Replayed:
    """Do to servers what the recorded clients did; whatever they do, nothing is raised.

    Args:
        transcript: the recording.
        servers: the servers, or their URLs, as many as were recorded; recorded paths are below
            each.
        broker: what they share, if what they publish is to be compared, too.
        deadline: seconds, as ``DEADLINE``, on this machine.
        way: to a server whose network is measured, and not trusted.
    """
    targets = [Target.of(each) for each in servers]
    recorded = transcript.header.get("broker") if broker else None
    session = read_session(transcript, Role.SERVER, has_broker=recorded is not None)
    first = targets[0].below(_first_path(session))
    network = None if way is None else (way, partial(opened, first))
    runner = ReplayRunner(session, deadline, network)
    if broker is None or recorded is None:
        return await _replayed(runner, _to_servers(runner, targets))
    channels = CHANNELS[recorded["kind"]]
    return await _replayed(runner, _to_cluster(runner, targets, broker, channels))


def _first_path(session: RecordedSession) -> str:
    contents = (step.entry.content for step in session.steps)
    return next((each.path for each in contents if isinstance(each, ConnectionOpened)), "")


async def replay_to_client(
    transcript: Transcript, command: Sequence[str], *, deadline: float = DEADLINE
) -> Replayed:
    """Be the recorded server to a client, whose driver makes it do what was recorded.

    Args:
        transcript: the recording.
        command: the driver; whatever it does, nothing is raised.
        deadline: seconds, as ``DEADLINE``.
    """
    runner = ReplayRunner(read_session(transcript, Role.CLIENT), deadline)
    return await _replayed(runner, _to_client(runner, command))


async def _replayed(runner: ReplayRunner, replay: Coroutine[Any, Any, None]) -> Replayed:
    """Replay, and give the result."""
    began = time.perf_counter()
    result = Replayed(ReplayOutcome.SAME)
    try:
        try:
            await replay
        finally:
            await runner.playback.release()
    except DifferentError as error:
        difference = error.difference
        reason = ""
        if difference.now is None or difference.now == ConnectionClosed(None):
            reason = await runner.check_network()
        rows = tuple(runner.comparison.rows)
        result = Replayed(
            ReplayOutcome.DIFFERENT, difference.explanation, difference, rows, runner.following()
        )
        if reason:
            text = f"the network does not carry the recording: {reason}"
            result = Replayed(ReplayOutcome.ERROR, text)
    except CannotError as error:
        text = f"cannot be replayed with a driver: {error}"
        result = Replayed(ReplayOutcome.UNSUPPORTED, text)
    except (UnreachableError, DriverError, BrokerError) as error:
        result = Replayed(ReplayOutcome.ERROR, str(error))
    seconds = time.perf_counter() - began
    return replace(result, ids=runner.comparison.ids, peer=runner.peer, seconds=seconds)


async def _to_cluster(
    runner: ReplayRunner,
    servers: Sequence[Target],
    broker: ReplayBroker,
    channels: Callable[[str], Channels],
) -> None:
    """Replay to servers, and compare what they publish.

    Args:
        runner: compares.
        servers: the servers.
        broker: what they share.
        channels: gives the names of channels on the recorded broker.
    """
    runner.comparison.expect_published(PublicationReader(channels))
    heard: asyncio.Queue[Published] = asyncio.Queue(MAX_HEARD)
    is_flooded = False

    def hear(channel: str, payload: bytes) -> None:
        nonlocal is_flooded
        if channel != OWN_CHANNEL and broker.prefix and not channel.startswith(broker.prefix + "."):
            return
        is_flooded |= heard.full()
        if not is_flooded:
            heard.put_nowait(Published(channel, payload))

    async with broker_at(broker.url, hear) as peer:
        reader = PublicationReader(peer.channels)

        async def pass_on() -> None:
            while True:
                await runner.playback.events.put((BROKER, (reader, await heard.get())))

        passing = asyncio.create_task(pass_on(), name="hear the broker")
        try:
            runner.publish = peer.publish
            await _to_servers(runner, servers)
        except DifferentError as error:
            if not is_flooded:
                raise
            text = "more is published than can be compared. Try: --prefix TEXT, another broker"
            raise UnreachableError(text) from error
        finally:
            passing.cancel()
            await asyncio.wait([passing])


async def _to_servers(runner: ReplayRunner, servers: Sequence[Target]) -> None:
    for step in runner.session.steps:
        number, content = step.entry.connection, step.entry.content
        if number != BROKER and number not in runner.playback.connections:
            await runner.settle(step.number)
            opening = content if isinstance(content, ConnectionOpened) else ConnectionOpened("", {})
            if opening.node > len(servers):
                text = f"{step.name()} is to server {opening.node}, and there is no such --server"
                raise UnreachableError(text)
            server = servers[opening.node - 1].below(opening.path)
            runner.add(number, await _dial(runner, step, server, opening.headers))
        await runner.play(step)
    await runner.expect_nothing()


async def _dial(
    runner: ReplayRunner, step: RecordedStep, server: Target, headers: Mapping[str, str]
) -> WireConnection:
    odd = [name for name, value in headers.items() if not _HEADER.fullmatch(f"{name}:{value}")]
    if odd or not _TARGET.fullmatch(server.url):
        what = f"the header {odd[0]!r}" if odd else "the path"
        text = f"at {step.name()} is a request that none can make: {what}"
        raise UnreachableError(text)
    try:
        async with asyncio.timeout(runner.deadline):
            return await WireConnection.dial(server, headers)
    except TimeoutError:
        text = f"no upgrade came from {server} within {runner.deadline:.3g} s"
        raise UnreachableError(text) from None
    except ConnectError as error:
        if error.status is None:
            raise UnreachableError(str(error)) from error
        text = f"at {step.name()} {error}"
        raise DifferentError(Mismatch(step.entry.connection, text, step)) from error


async def _to_client(runner: ReplayRunner, command: Sequence[str]) -> None:
    todo = operations(runner.session)
    async with running_driver(command) as driver, accepting_clients() as (url, incoming):
        runner.peer = driver.ready
        control = ClientControl(driver, url, incoming, runner.deadline, runner.fail)
        try:
            for step in runner.session.steps:
                operation = todo.get(step.number)
                if operation is not None:
                    await runner.settle(step.number)
                    connection = await control.start(step, operation)
                    if connection is not None:
                        runner.add(step.entry.connection, connection)
                elif await runner.play(step):
                    await control.finish(step)
            await runner.expect_nothing()
            control.check_strangers()
        except DifferentError as error:
            raise DifferentError(await control.explain(error.difference)) from error
        finally:
            await control.release()


def _cost_of(session: RecordedSession) -> Cost:
    contents = [step.entry.content for step in session.steps]
    size = sum(len(each) for each in contents if isinstance(each, str | bytes))
    return Cost(ROUND_TRIPS, len(contents), size)


class ReplayRunner:
    """Plays the steps of one peer, and compares what the live peer does.

    Args:
        session: the recorded session.
        deadline: seconds, as ``DEADLINE``, on this machine.
        network: the way to the live peer and what opens a further connection, unless the peer is
            on this machine.

    Attributes:
        comparison: compares the live peer with the recording.
        playback: the connections, by their recorded numbers.
        peer: what the driver says of itself.
        publish: publishes on the broker, if what is published there is compared.
    """

    def __init__(
        self, session: RecordedSession, deadline: float, network: tuple[Way, Opener] | None = None
    ) -> None:
        self.session = session
        self._usual = deadline
        self._network = network
        self._cost = _cost_of(session)
        self.comparison = Comparison(session)
        self.playback = Playback(session.live, Timeouts(case=deadline, close=deadline))
        self.peer: Mapping[str, Any] = {}
        self.publish: Publish | None = None
        self._closed: set[int] = set()
        self._has_heard_itself = False
        self._reached = -1

    @property
    def deadline(self) -> float:
        """Seconds, as ``DEADLINE``, at the pace that was measured last."""
        slower = self._network[0].pace.seconds(self._cost) if self._network else 0.0
        return self._usual + min(slower, LONGEST)

    async def check_network(self) -> str:
        """Say why the network does not carry the recording; empty if it does."""
        if self._network is None:
            return ""
        way, opener = self._network
        return await way.check(opener, self._cost.size)

    def add(self, number: int, connection: Transport) -> None:
        """Add a connection that was opened."""
        self.playback.connections[number] = connection
        self.playback.watch(number)

    async def fail(self, error: Exception) -> None:
        """End the replay with an error, at the next wait."""
        await self.playback.events.put((0, error))

    async def settle(self, before: int | None = None) -> None:
        """Wait until the live peer did all that it did before a step, or all there is.

        Raises:
            DifferentError: it did something else, or nothing in time.
        """
        self._reached = max(self._reached, before or 0)
        await self._until(lambda: True)
        while not self.comparison.is_due(before):
            left = self.comparison.left

            def is_fewer(left: int = left) -> bool:
                return self.comparison.left < left

            while not await self._until(is_fewer):
                deadline = self.deadline
                if await self.check_network() or self.deadline <= deadline:
                    missing = self.comparison.missing(before, f"within {deadline:.3g} s")
                    raise DifferentError(missing)

    async def play(self, step: RecordedStep) -> bool:
        """Play a step once the live peer is that far; tell whether it is one of the suite's.

        Raises:
            DifferentError: the live peer did something else, or nothing in time.
        """
        if step.is_live or step.part is StepKind.LATE:
            return False
        await self.settle(step.number)
        content = self.comparison.play(step)
        number = step.entry.connection
        if content is None or number not in self.playback.connections:
            return True  # the client never dialled, which is reported elsewhere
        if isinstance(content, ConnectionClosed):
            try:
                async with asyncio.timeout(self.deadline):
                    await self.playback.close(number, content.code, content.reason)
            except TimeoutError:
                pass
            except ProtocolError as error:
                text = f"at {step.name()} is a closing that none can send: {error}"
                raise UnreachableError(text) from error
            await self._until(lambda: number in self._closed)
        else:
            await self._send(number, content)
        return True

    async def expect_nothing(self) -> None:
        """See that the live peer does all that is left, and nothing else on any connection.

        Raises:
            DifferentError: something came.
        """
        await self.settle()
        connections, live = self.playback.connections, self.session.live
        for _ in range(ROUNDS):
            for number in filter(self.comparison.is_open, connections):
                if self.comparison.was_accepted(number):
                    self.comparison.expect(number, "", BARRIER_TOKENS[live])
                    await self._send(number, BARRIERS[live])
                elif number in self.session.echoing:
                    self.comparison.expect(number, ECHOED)
                    await self._send(number, ECHOED)
            await self.settle()
        if self.publish is not None:
            await self.publish(OWN_CHANNEL, b"")
            if not await self._until(lambda: self._has_heard_itself):
                raise UnreachableError("the broker does not return what the suite publishes")
        for number in filter(self.comparison.is_open, connections):
            if not self.comparison.was_accepted(number):
                self.comparison.expect(number, ConnectionClosed(None))
                await connections[number].send_close()
        await self.settle()

    def following(self) -> tuple[RecordedStep, ...]:
        """Give the first of the recorded steps that were not reached."""
        shown = {row.step.number for row in self.comparison.rows if row.step}
        steps = [
            step
            for step in self.session.steps[self._reached :]
            if step.number not in shown and step.part is not StepKind.OPENING
        ]
        return tuple(steps[:FOLLOWING])

    async def _send(self, number: int, payload: str | bytes) -> None:
        try:
            async with asyncio.timeout(self.deadline):
                await self.playback.send(number, payload)
        except TimeoutError:
            text = f"what it was sent was not read within {self.deadline:.3g} s"
            raise DifferentError(Mismatch(number, text)) from None

    async def _until(self, is_enough: Callable[[], bool]) -> bool:
        """Take events until that is enough; tell whether it was, in time."""
        end = asyncio.get_running_loop().time() + self.deadline
        while True:
            while not self.playback.events.empty():
                self._take(*await self.playback.next_event())
            if is_enough():
                return True
            try:
                async with asyncio.timeout_at(end):
                    event = await self.playback.next_event()
            except TimeoutError:
                return False
            self._take(*event)

    def _take(self, number: int, event: Any) -> None:
        if isinstance(event, Exception):
            raise event
        if number == BROKER:
            reader, published = event
            if published.channel == OWN_CHANNEL:
                self._has_heard_itself = True
                return
            difference = self.comparison.see_published(reader, published)
        else:
            if isinstance(event, ConnectionClosed):
                self._closed.add(number)
            difference = self.comparison.see(number, event)
        if difference is not None:
            raise DifferentError(difference)
