"""One server's connection to a broker: subscriptions that come back, and a bounded queue.

It does not know which broker it is: ``redis_exchange`` and ``nats_exchange`` are thin, and tests
have brokers that fail. The broker delivers at most once. What cannot be published now is lost, and
so is what others publish while it is away; the log says once that it is away, and once that it is
back.
"""

from __future__ import annotations

import asyncio
import random
import socket
import struct
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from itertools import islice
from typing import Final, Protocol

from neffos_asyncio.transport import log
from neffos_protocol.text import logged

CONNECT_TIME: Final = 10.0
"""Seconds for a connection to a broker, its TLS and its password included."""

FIRST_PAUSE: Final = 0.1
"""Seconds before the first try to connect again: a broker that restarts is back in less."""

LONGEST_PAUSE: Final = 5.0
"""Seconds between tries. A server that finds its broker 5 s late has missed little more than the
outage itself, and a thousand servers make 200 tries a second."""

STALL_TIME: Final = 10.0
"""Seconds for a broker to take a batch, and to answer at all. One that is slower counts as away,
so that its delay does not become everyone's."""

CONFIRM_TIME: Final = 2.0
"""Seconds that a client's connect waits for its subscription. A handshake has 10."""

BATCH_BYTES: Final = 256 << 10
"""Bytes of messages that are published at a time: enough to use the line, and little for
``STALL_TIME``."""

BATCH: Final = 1000
"""Channels that are subscribed at a time, and messages that are published at a time."""

PENDING_BYTES: Final = 16 << 20
"""Bytes that wait to be published. More is lost: a broker that is this far behind is slower than
its server, and would be further behind with each second."""

MESSAGE_BYTES: Final = 512
"""Bytes of memory of a message that waits, beside its payload."""

CANCEL_TIME: Final = 0.1
"""Seconds after which what was cancelled is cancelled again."""

CLOSE_TIME: Final = 1.0
"""Seconds for what waits to be published, when the server shuts down."""


class BrokerConnection(Protocol):
    """An open connection to a broker. A method raises any exception if the connection is lost."""

    async def subscribe(self, channels: Sequence[str]) -> None:
        """Subscribe channels, and return when the broker has confirmed them."""

    async def unsubscribe(self, channels: Sequence[str]) -> None:
        """Unsubscribe channels."""

    async def publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        """Publish messages in their order, and return when the broker takes more."""

    async def watch(self) -> None:
        """Deliver what comes, and raise when the connection is lost or silent."""

    async def close(self) -> None:
        """End the connection, after what was published on it."""

    def reset(self) -> None:
        """End the connection at once, and have nothing arrive that is still under way.

        Otherwise the system sends it when the network is back, maybe after what was published on
        the next connection (EV-9).
        """


Connect = Callable[[], Awaitable[BrokerConnection]]
"""Connects to a broker, or raises any exception."""


class BrokerAttachment:
    """A server's one connection to a broker; see ``Attachment``.

    Args:
        connect: connects to the broker.
        name: of the broker, for the log.
    """

    def __init__(self, connect: Connect, name: str) -> None:
        self._connect = connect
        self._name = name
        self._wanted: dict[str, None] = {}
        self._placed: set[str] = set()  # at the broker, as far as is known
        self._gone: set[str] = set()  # placed, and wanted no longer
        self._missing: dict[str, None] = {}  # wanted, and not placed
        self._queue: deque[tuple[str, bytes]] = deque()
        self._size = 0
        self._lost = 0  # messages, since that was last logged
        self._is_away = self._is_closing = False
        self._waits: dict[str, asyncio.Future[None]] = {}
        self._changed = asyncio.Event()
        self._drained = asyncio.Event()
        self._drained.set()
        self._task = asyncio.create_task(self._run(), name=f"neffos exchange {name}")

    # ------------------------------------------------------------ what a server calls

    def subscribe(self, channel: str) -> None:
        """See ``Attachment``."""
        self._wanted[channel] = None
        self._gone.discard(channel)
        if channel not in self._placed:
            self._missing[channel] = None
            self._changed.set()

    def unsubscribe(self, channel: str) -> None:
        """See ``Attachment``."""
        self._wanted.pop(channel, None)
        self._missing.pop(channel, None)
        if channel in self._placed:
            self._gone.add(channel)
            self._changed.set()

    def confirmed(self, channel: str) -> asyncio.Future[None] | None:
        """See ``Attachment``."""
        if self._is_away or channel in self._placed:
            return None
        future = self._waits.get(channel)
        if future is None:
            loop = asyncio.get_running_loop()
            future = self._waits[channel] = loop.create_future()
            timer = loop.call_later(CONFIRM_TIME, self._give_up, channel)
            future.add_done_callback(lambda _: timer.cancel())
        return future

    def publish(self, channel: str, payload: bytes) -> None:
        """See ``Attachment``."""
        size = len(payload) + MESSAGE_BYTES
        if self._is_closing:
            return
        if self._is_away or self._size + size > PENDING_BYTES:
            if not self._lost and not self._is_away:
                text = "the exchange at %s is slower than this server: messages are lost"
                log.warning(text, self._name)
            self._lost += 1
            return
        self._queue.append((channel, payload))
        self._size += size
        self._drained.clear()
        self._changed.set()

    async def close(self) -> None:
        """See ``Attachment``."""
        self._is_closing = True
        if not self._is_away:
            with suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_TIME):
                    await self._drained.wait()
        await ended([self._task])
        for channel in list(self._waits):
            self._go_on(channel)

    # ------------------------------------------------------------ the connection

    async def _run(self) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                async with asyncio.timeout(CONNECT_TIME):
                    broker = await self._connect()
            except Exception as error:  # whatever a library raises
                self._note_away(error)
            else:
                pause = FIRST_PAUSE
                await self._use(broker)
            await asyncio.sleep(pause * random.uniform(0.5, 1))  # noqa: S311  # spreads tries
            pause = min(2 * pause, LONGEST_PAUSE)

    async def _use(self, broker: BrokerConnection) -> None:
        self._placed, self._gone = set(), set()
        self._missing = dict(self._wanted)
        tasks = [asyncio.create_task(work) for work in (broker.watch(), self._write(broker))]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            errors = [each for each in (task.exception() for task in done) if each is not None]
            with suppress(Exception):
                broker.reset()
        finally:
            is_closed = False
            try:
                await ended(tasks)
                with suppress(Exception):
                    async with asyncio.timeout(CLOSE_TIME):
                        await broker.close()
                        is_closed = True
            finally:
                if not is_closed:  # it failed, or this was cancelled again
                    with suppress(Exception):
                        broker.reset()
        self._note_away(errors[0])  # neither returns

    async def _write(self, broker: BrokerConnection) -> None:
        """Bring subscriptions in place and publish, a batch of each in turn.

        Connections that come and go at each moment thereby delay what is published, and never stop
        it. After an outage, what was wanted at its end is in place before anything is published.
        """
        for _ in range(0, len(self._missing), BATCH):
            await self._place(broker)
        if self._is_away:
            self._note_back()
        while True:
            self._changed.clear()
            await self._place(broker)
            await self._drop(broker)
            if self._queue:
                async with asyncio.timeout(STALL_TIME):
                    await broker.publish(self._batch())
            if self._missing or self._gone or self._queue:
                continue
            if self._lost:
                self._note_fast()
            self._drained.set()
            await self._changed.wait()

    async def _place(self, broker: BrokerConnection) -> None:
        channels = list(islice(self._missing, BATCH))
        if not channels:
            return
        for channel in channels:
            del self._missing[channel]
        async with asyncio.timeout(STALL_TIME):
            await broker.subscribe(channels)
        for channel in channels:
            self._placed.add(channel)
            self._missing.pop(channel, None)  # it was given up meanwhile, and wanted again
            if channel not in self._wanted:
                self._gone.add(channel)
            self._go_on(channel)

    async def _drop(self, broker: BrokerConnection) -> None:
        channels = list(islice(self._gone, BATCH))
        if not channels:
            return
        self._gone.difference_update(channels)
        self._placed.difference_update(channels)
        async with asyncio.timeout(STALL_TIME):
            await broker.unsubscribe(channels)

    def _batch(self) -> list[tuple[str, bytes]]:
        batch: list[tuple[str, bytes]] = []
        size = 0
        while self._queue and size < BATCH_BYTES and len(batch) < BATCH:
            channel, payload = self._queue.popleft()
            batch.append((channel, payload))
            size += len(payload)
            self._size -= len(payload) + MESSAGE_BYTES
        return batch

    def _give_up(self, channel: str) -> None:
        log.debug("the exchange at %s has not confirmed a subscription yet", self._name)
        self._go_on(channel)

    def _go_on(self, channel: str) -> None:
        future = self._waits.pop(channel, None)
        if future is not None and not future.done():
            future.set_result(None)

    # ------------------------------------------------------------ what is said of it

    def _note_away(self, error: BaseException) -> None:
        self._lost += len(self._queue)
        self._queue.clear()
        self._size = 0
        self._drained.set()
        self._placed.clear()
        for channel in list(self._waits):
            self._go_on(channel)
        if not self._is_away:
            text = "the exchange at %s is away: broadcasts reach this server's clients only: %s"
            log.warning(text, self._name, logged(error) or type(error).__name__)
        self._is_away = True

    def _note_fast(self) -> None:
        log.warning(
            "the exchange at %s keeps up again; %d messages were lost", self._name, self._lost
        )
        self._lost = 0

    def _note_back(self) -> None:
        self._is_away = False
        text = "the exchange at %s is back; %d messages were not published"
        log.warning(text, self._name, self._lost)
        self._lost = 0


async def ended(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Cancel tasks until they have ended: ``wait_for`` of Python 3.11 may drop a cancellation."""
    pending = set(tasks)
    while pending:
        for task in pending:
            task.cancel()
        _, pending = await asyncio.wait(pending, timeout=CANCEL_TIME)
    await asyncio.gather(*tasks, return_exceptions=True)


def discards(writer: asyncio.StreamWriter | None) -> None:
    """Have the system discard what a connection has not yet sent when it is closed."""
    ends: socket.socket | None = None if writer is None else writer.get_extra_info("socket")
    on = struct.pack("hh" if sys.platform == "win32" else "ii", 1, 0)  # `struct linger` of C
    if ends is not None:
        with suppress(OSError):  # it has ended already
            ends.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, on)


def reset(writer: asyncio.StreamWriter | None) -> None:
    """See ``BrokerConnection.reset``."""
    discards(writer)
    if writer is not None:
        writer.transport.abort()
