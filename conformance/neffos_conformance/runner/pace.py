"""How far away and how fast the system under test is, and how long a wait for it may last.

On this machine an answer takes milliseconds. Elsewhere the peer is far, the line thin or the
machine busy, and none of that is a fault of the peer. So all time limits of a case are asked of a
``Way``: it adds to the usual limit what the messages of the case take at the measured pace.

A network can also lose a connection. A failure that this can cause counts only after a further
connection carried as many bytes, and was answered. Otherwise the verdict is *unknown*.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from dataclasses import dataclass, field, replace
from itertools import count
from ssl import SSLCertVerificationError
from typing import Final

from websockets.exceptions import InvalidHeader, NegotiationError

from neffos_conformance.cases.definition import Case
from neffos_conformance.cases.script import MESSAGE_VERBS, Step, expanded
from neffos_conformance.runner.driver_protocol import DriverError
from neffos_conformance.runner.playback import Timeouts
from neffos_conformance.wire.barrier import NAMESPACE, barrier_ask
from neffos_conformance.wire.connection import ConnectError, ConnectionClosed
from neffos_conformance.wire.payloads import frame_of
from neffos_conformance.wire.transport import Transport

PING_SIZE: Final = 125
"""Bytes of a large ping, the most that RFC 6455 allows (5.5). Every peer answers one with as many,
in whatever state neffos is on the connection."""

SMALL_PING: Final = 4
"""Bytes of a small ping: room for a number."""

BURST: Final = 64
"""Pings under way at a time: 8 KiB, which no peer holds for a flood."""

FIRST_VOLUME: Final = 16 << 10
"""Bytes that the first measurement sends in pings: three bursts, so that a pause hits not all."""

PINGED: Final = 64 << 10
"""Bytes that a later one sends in pings at most: some networks lose a connection after a few
KiB."""

MAX_VOLUME: Final = 4 << 20
"""Bytes that a case of many is measured with at most: a pause of 50 ms among them costs a byte
12 ns, which is a second for the largest case."""

SAMPLES: Final = 3
"""Times that anything short is timed. The fastest counts, since pauses only add."""

ASKS: Final = 16
"""Asks that measure what a message costs, on a relay that holds each of them."""

FAIR: Final = 1 << 10
"""Bytes of the asks that measure what a byte costs: a burst has 16 KiB, which take 80 ms on a line
of 200 kB/s."""

LARGE: Final = 16 << 10
"""Bytes of the asks that carry a large volume; no peer has a limit below that."""

SURE: Final = 1.0
"""Seconds after which a pause of the network, or of this machine, no longer matters: that of TCP
before an acknowledgement is 40 ms."""

MEASURE_FACTOR: Final = 3.0
"""Times the usual limit of a case that each part of a measurement may take: 15 s by default, which
are 25 round trips to the other side of the world."""

MARGIN: Final = 2.0
"""Times the measured pace that a limit allows for: a network is not the same at every moment."""

LONGEST: Final = 60.0
"""Seconds that a case may take longer than usual. One whose messages take still longer is not
finished, and nothing is known about it."""

MEMORY: Final = 60.0
"""Seconds for which a network that lost a connection is not tried again: a test of one takes
as long as ``measure_timeout``, and many cases fail at the same time."""

_DIAL_TRIPS: Final = 3
"""Round trips of an opening: TCP, TLS or the upgrade, and the handshake."""

_OPENING: Final = frozenset({"dial", "enter", "http", "upgrade"})
"""The verbs that open a connection, once a step is expanded."""

_FURTHER_TRIPS: Final = 4
"""Round trips that no step names: two barriers, the close frames and the end of TCP."""


@dataclass(frozen=True, slots=True)
class Cost:
    """What a case asks of a network.

    Attributes:
        round_trips: waits for an answer, at most.
        messages: messages in both directions.
        size: their bytes.
    """

    round_trips: int
    messages: int
    size: int


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast messages pass, in seconds; zero is too fast to measure.

    Attributes:
        round_trip: from a message to its answer.
        per_message: for each further message of many.
        per_byte: for each further byte.
    """

    round_trip: float = 0.0
    per_message: float = 0.0
    per_byte: float = 0.0

    def or_slower(self, other: Pace) -> Pace:
        """Give the slower of both in every respect."""
        return Pace(
            max(self.round_trip, other.round_trip),
            max(self.per_message, other.per_message),
            max(self.per_byte, other.per_byte),
        )

    def seconds(self, cost: Cost) -> float:
        """Give the seconds that a cost takes, at most."""
        return MARGIN * (
            cost.round_trips * self.round_trip
            + cost.messages * self.per_message
            + cost.size * self.per_byte
        )

    def scaled(self, usual: Timeouts) -> Timeouts:
        """Give the time limits for this pace: each allows for the round trips of what it awaits."""
        trip = MARGIN * self.round_trip
        return replace(
            usual,
            case=usual.case + trip,
            before_barrier=usual.before_barrier + trip,
            after_barrier=usual.after_barrier + trip,
            close=usual.close + trip,
            write=usual.write + trip + MARGIN * self.per_message,
        )


@dataclass(slots=True)
class Samples:
    """What a measurement timed, in seconds: each thing several times.

    A pause may hit any of them: a delayed acknowledgement of TCP, or a busy machine. So the costs
    follow from the fastest, and what a byte costs from a difference: two bursts of as many
    messages, of which one has more bytes. An answer may take as long as the longest pause.

    Attributes:
        single: a short message and its answer.
        small: many short messages, one after the other, and their answers.
        large: as many long ones.
        messages: how many.
        size: bytes by which the long ones are longer, all together.
    """

    messages: int
    size: int
    single: list[float] = field(default_factory=list)
    small: list[float] = field(default_factory=list)
    large: list[float] = field(default_factory=list)

    @property
    def pace(self) -> Pace:
        """The pace that follows."""
        single, small, large = (min(each) for each in (self.single, self.small, self.large))
        per_message = max(0.0, small - single) / max(1, self.messages - 1)
        per_byte = max(0.0, large - max(small, single)) / self.size
        pause = max(max(each) - min(each) for each in (self.single, self.small, self.large))
        return Pace(single + pause, per_message, per_byte)


def cost_of(case: Case) -> Cost:
    """Give what a case asks of a network, by its script."""
    trips, messages, size = _FURTHER_TRIPS, 0, 0
    for step, times in _all_steps(case.steps, case.role):
        if step.verb in _OPENING:
            trips += _DIAL_TRIPS * times
        elif step.verb == "raw":
            messages += times
            size += times * len(step.raw_bytes())
        elif step.verb in MESSAGE_VERBS:
            messages += times
            size += times * len(step.whole)
            trips += step.is_from_client == (case.role == "client")  # the suite awaits it
        elif step.verb == "fewer":
            trips += 1
            limit, _space, text = step.rest.partition(" ")
            messages += int(limit)
            size += int(limit) * len(replace(step, rest=text).text())
        else:
            trips += times
    return Cost(trips, messages, size)


def connections_of(case: Case) -> int:
    """Give the number of connections that a case for a server opens."""
    steps = _all_steps(case.steps, case.role)
    return sum(times for step, times in steps if step.verb in _OPENING)


def _all_steps(steps: Iterable[Step], role: str) -> Iterator[tuple[Step, int]]:
    for step in steps:
        for each in expanded(step, role):
            yield each, step.times


# -------------------------------------------------------------------- measuring

Opener = Callable[[], AbstractAsyncContextManager[Transport]]
"""Opens a further connection to the system under test, and closes it."""


class NotCarriedError(Exception):
    """A further connection did not carry what it was to carry."""


class _PeerClosedError(Exception):
    """The peer ended a further connection by a close frame or a broken one, which was carried."""


@dataclass(slots=True)
class _Check:
    """The latest check of the network.

    Attributes:
        began: when, on the loop's clock.
        ended: likewise.
        volume: bytes that were to be carried.
        reason: why they were not; empty if they were.
    """

    began: float = -math.inf
    ended: float = -math.inf
    volume: int = 0
    reason: str = ""


@dataclass(slots=True)
class Way:
    """The way to the system under test: its pace, and the time limits that follow from it.

    Attributes:
        usual: the time limits on this machine.
        role: of the system under test.
        pace: the slowest pace that was measured.
        interval: seconds that the suite leaves between two connections.
    """

    usual: Timeouts
    role: str = "server"
    pace: Pace = Pace()
    interval: float = 0.0
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _latest: _Check = field(default_factory=_Check)
    _tokens: Iterator[int] = field(default_factory=count)

    @property
    def timeouts(self) -> Timeouts:
        """The time limits, at the measured pace."""
        return self.pace.scaled(self.usual)

    @property
    def measure_timeout(self) -> float:
        """Seconds for a part of a measurement."""
        return MEASURE_FACTOR * self.usual.case

    @property
    def _lead(self) -> str:
        """What the tokens of the suite's asks begin with: the suite plays the other role."""
        return "$" if self.role == "server" else ""

    def limit(self, case: Case) -> float:
        """Give the seconds for a case."""
        usual = self.usual_limit(case)
        return usual if self.pace == Pace() else usual + self.pace.seconds(cost_of(case))

    def usual_limit(self, case: Case) -> float:
        """Give the seconds for a case on this machine."""
        scale = case.seconds / Timeouts().case if case.seconds else 1.0  # another limit scales it
        waiting = self.interval * connections_of(case) if self.interval else 0.0
        return self.usual.case * scale + waiting + case.pause

    async def check(self, opener: Opener, volume: int = FIRST_VOLUME) -> str:
        """Measure the pace on a further connection; say why it did not carry what it was to carry.

        A server that refuses connections, or answers them with an HTTP status, is no loss of the
        network, and neither is a client that does not dial: the answer is empty then.

        Args:
            opener: opens the connection.
            volume: bytes to carry.
        """
        loop = asyncio.get_running_loop()
        asked = loop.time()
        wanted = min(max(volume, PING_SIZE), MAX_VOLUME)
        async with self._lock:
            latest = self._latest
            is_fresh = latest.began >= asked and latest.volume >= wanted
            if is_fresh or (latest.reason and asked < latest.ended + MEMORY):
                return latest.reason
            began = loop.time()
            reason = ""
            try:
                await self._measure(opener, wanted)
            except _PeerClosedError:
                pass
            except (NotCarriedError, ConnectError, DriverError) as error:
                reason = "" if _is_an_answer(error) else str(error)
                if reason and await self._carries_asks(opener, wanted):
                    reason = ""  # a peer that gives no pong, and replies, has no network to blame
            self._latest = _Check(began, loop.time(), wanted, reason)
            return reason

    async def _measure(self, opener: Opener, volume: int) -> None:
        number = BURST * math.ceil(min(volume, PINGED) / (BURST * PING_SIZE))
        expected = self.pace.seconds(Cost(4 * number // BURST, 2 * number, 2 * PING_SIZE * number))
        seconds = max(self.measure_timeout, expected)
        try:
            async with AsyncExitStack() as stack:
                began = asyncio.get_running_loop().time()
                async with asyncio.timeout(2 * seconds):
                    connection = await stack.enter_async_context(opener())
                if self.role == "server" and not self.interval:  # nobody else was waited for
                    opening = (asyncio.get_running_loop().time() - began) / _DIAL_TRIPS
                    self.pace = self.pace.or_slower(Pace(round_trip=opening))
                if self.role == "server":  # first: a server closes a connection without it
                    await connection.send("M")
                self._allow(await _pinged(connection, number, seconds))
                with suppress(TimeoutError):  # the cases test that
                    async with asyncio.timeout(2 * seconds):
                        self._allow(await self._asked(connection))
                        await self._sustained(connection, volume)
        except TimeoutError:
            text = f"a further connection was not open within {2 * seconds:g} s"
            is_driven = self.role == "client"  # a driver that does not make its client dial
            raise (DriverError if is_driven else NotCarriedError)(text) from None

    async def _carries_asks(self, opener: Opener, volume: int) -> bool:
        """Whether another connection carries so many bytes in asks, and brings their replies."""
        failures = (TimeoutError, NotCarriedError, _PeerClosedError, ConnectError, DriverError)
        with suppress(*failures):
            async with asyncio.timeout(2 * self.measure_timeout), opener() as connection:
                if self.role == "server":
                    await connection.send("M")
                await self._asked(connection)
                for _ in range(1, math.ceil(min(volume, PINGED) / LARGE)):
                    await self._replied(connection, 1, LARGE)
                return True
        return False

    async def _asked(self, connection: Transport) -> Samples:
        """Complete the handshake and send asks; give the times of their replies."""
        if self.role == "server":
            await _until(connection, lambda text: text.startswith("A"))
        else:
            await _until(connection, lambda text: text == "M")
            await connection.send("A0")
        samples = Samples(ASKS, ASKS * FAIR)
        for _ in range(SAMPLES):
            samples.single.append(await self._replied(connection, 1))
            samples.small.append(await self._replied(connection, ASKS))
            samples.large.append(await self._replied(connection, ASKS, FAIR))
            if samples.large[-1] - samples.small[-1] > SURE:
                break
        return samples

    async def _sustained(self, connection: Transport, volume: int) -> None:
        """Measure what a byte costs in the long run: a line may be fast for the first ones only."""
        size, took = PINGED, 0.0
        while took < SURE and size < volume:
            size *= 2
            took = await self._replied(connection, size // LARGE, LARGE)
        per_byte = max(0.0, took - self.pace.round_trip) / size
        self.pace = self.pace.or_slower(Pace(per_byte=per_byte))

    def _allow(self, samples: Samples) -> None:
        self.pace = self.pace.or_slower(samples.pace)

    async def _replied(self, connection: Transport, number: int, size: int = 0) -> float:
        """Send asks of so many bytes each, and give the seconds until all have their replies."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        for _ in range(number):
            token = f"{self._lead}pace{next(self._tokens)}"
            await connection.send(barrier_ask(token) + size * ".")
        for _ in range(number):
            await _until(connection, _is_reply)
        return loop.time() - began


async def _pinged(connection: Transport, number: int, seconds: float) -> Samples:
    """Send so many large pings and as many small ones; give the times of the pongs.

    Args:
        connection: where to send them.
        number: a multiple of ``BURST``.
        seconds: for the pongs of each burst.
    """
    loop = asyncio.get_running_loop()
    numbers = count()

    async def pongs(burst: int, size: int) -> float:
        began = loop.time()
        payloads = [str(next(numbers)).encode().ljust(size, b".") for _ in range(burst)]
        try:
            async with asyncio.timeout(seconds):
                came = await asyncio.gather(*map(connection.ping, payloads))
        except TimeoutError:
            text = f"a further connection got no pong within {seconds:g} s"
            raise NotCarriedError(text) from None
        if not all(came):
            raise _end_of(connection)
        return loop.time() - began

    samples = Samples(BURST, BURST * (PING_SIZE - SMALL_PING))
    for _ in range(number // BURST):
        samples.single.append(await pongs(1, SMALL_PING))
        samples.small.append(await pongs(BURST, SMALL_PING))
        samples.large.append(await pongs(BURST, PING_SIZE))
    return samples


def _end_of(connection: Transport) -> Exception:
    if connection.has_received_close or connection.has_broken_protocol:
        return _PeerClosedError()  # that arrived: the network carries what the peer sends
    return NotCarriedError("a further connection ended before its pongs came")


async def _until(connection: Transport, is_it: Callable[[str], bool]) -> None:
    while True:
        received = await connection.receive()
        if isinstance(received, ConnectionClosed):
            raise _end_of(connection)
        if isinstance(received, str) and is_it(received):
            return


def _is_reply(text: str) -> bool:
    message = frame_of(text)
    return message is not None and message.namespace == NAMESPACE and "pace" in message.wait


def _is_an_answer(error: Exception) -> bool:
    """Whether the peer answered, if only by refusing, or a client did not open a connection."""
    if not isinstance(error, ConnectError):
        return isinstance(error, DriverError)
    return error.status is not None or isinstance(error.__cause__, _ANSWERS)


_ANSWERS: Final = (
    ConnectionRefusedError,
    InvalidHeader,
    NegotiationError,
    SSLCertVerificationError,
)
"""What a server or its system sends, though no connection comes of it."""
