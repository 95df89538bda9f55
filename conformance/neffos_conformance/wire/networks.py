"""Networks: a proxy that delivers the bytes of TCP connections late, slowly, in pieces, or not.

Which networks there are is data. What is random is drawn from a seed, so that a run can be
repeated. The proxy knows where WebSocket frames end, and nothing else of what passes.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import cache
from itertools import count
from random import Random
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from neffos_conformance.data import read_entries
from neffos_conformance.wire.reach import netloc
from neffos_conformance.wire.waiting import cancel

READ_SIZE: Final = 1 << 16
"""Bytes read at a time."""

MAX_UNDER_WAY: Final = 1 << 18
"""Bytes of one direction that the proxy holds; then it makes the sender wait."""

LOSS_AFTER: Final = (450, 1_500)
"""Bounds of the bytes, of both directions, after which a connection stalls or is lost: about the
end of the upgrade, and within what most cases send."""

HEAD_END: Final = b"\r\n\r\n"
"""The end of the HTTP head, after which frames follow."""

Carry = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Coroutine[object, object, None]]
"""Delivers what comes from one end to the other, until it ends."""

SILENCE: Final = "silence"
CUT: Final = "cut"


@dataclass(frozen=True, slots=True)
class Network:
    """A network, as ``data/networks.toml`` describes it.

    Attributes:
        name: its name.
        about: a description of a few words.
        latency: seconds from one end to the other.
        jitter: seconds that a frame may take longer.
        hold: seconds that each frame is held before the next.
        rate: bytes a second in each direction; 0 for any number.
        segment: bytes that are delivered at a time; 0 for any number.
        coalesce: seconds of bytes that are delivered in one piece.
        stall: seconds for which nothing passes, once for each connection.
        loss: what happens to a connection in the end, ``SILENCE`` or ``CUT``; empty for nothing.
    """

    name: str
    about: str
    latency: float = 0.0
    jitter: float = 0.0
    hold: float = 0.0
    rate: int = 0
    segment: int = 0
    coalesce: float = 0.0
    stall: float = 0.0
    loss: str = ""


@cache
def networks() -> dict[str, Network]:
    """Give all networks by their names."""
    return {each["name"]: Network(**each) for each in read_entries("networks.toml", "network")}


@asynccontextmanager
async def network_before(
    url: str, network: Network, *, host: str = "127.0.0.1", port: int = 0, seed: int = 0
) -> AsyncIterator[str]:
    """Put a network before a listener; give the URL at which it is reached through the network.

    Args:
        url: of the listener, ``ws://…``.
        network: the network.
        host: the address to listen on.
        port: the port; 0 for a free one.
        seed: of everything random.

    Raises:
        OSError: the address is in use, or not valid.
    """
    number = count()

    def way() -> Carry:
        drawn = Random(f"{seed}/{next(number)}")  # noqa: S311  # no secret
        return _Way(network, drawn).carry

    async with proxy_before(url, way, host=host, port=port) as reached:
        yield reached


@asynccontextmanager
async def proxy_before(
    url: str,
    way: Callable[[], Carry],
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    limit: int = READ_SIZE,
) -> AsyncIterator[str]:
    """Put a proxy before a listener of any protocol; give the URL at which it is reached.

    Args:
        url: of the listener, with its port.
        way: gives what carries both directions of a new connection; an ``OSError`` of it ends the
            connection.
        host: the address to listen on.
        port: the port; 0 for a free one.
        limit: half the bytes of each direction that are read before they are carried.

    Raises:
        OSError: the address is in use, or not valid.
    """
    parts = urlsplit(url)
    tasks: set[asyncio.Task[None]] = set()

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        try:
            ends = await asyncio.open_connection(parts.hostname, parts.port or 80, limit=limit)
        except (OSError, asyncio.CancelledError):
            writer.transport.abort()
            return
        carry = way()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(carry(reader, ends[1]))
                group.create_task(carry(ends[0], writer))
            for each in (writer, ends[1]):
                each.close()
        except* (OSError, asyncio.CancelledError):  # the task ends here, whoever cancels it
            pass
        finally:
            for each in (writer, ends[1]):
                if not each.is_closing():
                    each.transport.abort()

    listener = await asyncio.start_server(connect, host, port, limit=limit)
    try:
        yield urlunsplit(parts._replace(netloc=netloc(listener)))
    finally:
        listener.close()
        await cancel(tasks)


class _CutError(OSError):
    """The network ended the connection."""


class _Way:
    """The way of one connection through a network; both directions share what happens to it."""

    def __init__(self, network: Network, random: Random) -> None:
        self._network = network
        self._random = random
        self._left = random.randrange(*LOSS_AFTER)
        self._stall = network.stall
        self._is_silent = False

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Deliver the bytes of one direction until they end."""
        pieces: deque[tuple[float, bytes]] = deque()
        news, room = asyncio.Event(), asyncio.Event()
        under_way = 0

        async def deliver() -> None:
            nonlocal under_way
            loop = asyncio.get_running_loop()
            while True:
                while not pieces:
                    news.clear()
                    await news.wait()
                due, data = pieces.popleft()
                await asyncio.sleep(max(0.0, due - loop.time()))
                if not data:
                    with suppress(OSError):
                        writer.write_eof()
                    return
                while pieces and pieces[0][0] <= due and pieces[0][1]:
                    data += pieces.popleft()[1]
                under_way -= len(data)
                room.set()
                await self._write(writer, data)

        async with asyncio.TaskGroup() as group:
            group.create_task(deliver())
            frames, schedule = _Frames(), _Schedule(self._network, self._random)
            data = b"."
            while data:
                while under_way > MAX_UNDER_WAY:
                    room.clear()
                    await room.wait()
                data = await reader.read(READ_SIZE)
                for piece in frames.split(data) if data else (b"",):
                    if data and self._is_silent:
                        continue
                    late = self._happens(piece) if data else 0.0
                    pieces.append((schedule.due(piece) + late, piece))
                    under_way += len(piece)
                news.set()
                if not data and self._is_silent:
                    await asyncio.get_running_loop().create_future()  # no end passes either

    def _happens(self, piece: bytes) -> float:
        """Count a piece; give the seconds that it stalls, or lose what follows."""
        was, self._left = self._left, self._left - len(piece)
        if not was > 0 >= self._left:
            return 0.0
        if self._network.loss == SILENCE:
            self._is_silent = True
        stall, self._stall = self._stall, 0.0
        return stall

    async def _write(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        is_cut = self._network.loss == CUT and self._left <= 0
        if is_cut:
            data = data[:-1]  # in the middle of a frame, since every piece ends where one does
        size = self._network.segment or len(data)
        for start in range(0, len(data), size):
            writer.write(data[start : start + size])
            await writer.drain()
            if self._network.segment:
                await asyncio.sleep(0)  # a segment of its own
        if is_cut:
            raise _CutError


class _Schedule:
    """When each piece of one direction arrives; none overtakes another."""

    def __init__(self, network: Network, random: Random) -> None:
        self._network = network
        self._random = random
        self._free = 0.0

    def due(self, piece: bytes) -> float:
        """Give the time at which a piece arrives that is sent now."""
        network, now = self._network, asyncio.get_running_loop().time()
        due = now + network.latency + self._random.uniform(0, network.jitter)
        if network.coalesce:
            due = (due // network.coalesce + 1) * network.coalesce
        taken = network.hold + (len(piece) / network.rate if network.rate else 0.0)
        self._free = max(due, self._free) + taken
        return self._free


class _Frames:
    """Cuts a stream at the ends of its WebSocket frames, which follow an HTTP head."""

    def __init__(self) -> None:
        self._head: bytes | None = b""
        self._begun = b""
        self._left = 0

    def split(self, data: bytes) -> Iterator[bytes]:
        """Give what arrived in pieces, each of which belongs to one frame or to the head."""
        if self._head is not None:
            self._head += data
            end = self._head.find(HEAD_END)
            if end < 0:
                self._head = self._head[1 - len(HEAD_END) :]
                yield data
                return
            rest = len(self._head) - end - len(HEAD_END)
            self._head = None
            yield data[: len(data) - rest]
            data = data[len(data) - rest :]
        while data:
            if not self._left:
                size = _frame_size(self._begun + data)
                if size is None:
                    self._begun += data
                    yield data
                    return
                self._begun, self._left = b"", size - len(self._begun)
            left = self._left
            yield data[:left]
            self._left = max(0, left - len(data))
            data = data[left:]


def _frame_size(data: bytes) -> int | None:
    """Give the bytes of the frame that begins here; ``None`` if its head is not whole."""
    if len(data) < _MIN_HEAD:
        return None
    length, size = data[1] & 0x7F, 2
    if length in _EXTENDED:
        size += _EXTENDED[length]
        if len(data) < size:
            return None
        length = int.from_bytes(data[2:size])
    return size + length + (4 if data[1] & 0x80 else 0)


_MIN_HEAD: Final = 2
_EXTENDED: Final = {126: 2, 127: 8}
"""The bytes of an extended length, by the short one (RFC 6455, 5.2)."""
