"""An event loop whose connections are in memory, and whose clock moves only when nothing is ready.

Everything that this project starts on it runs unchanged: servers, clients, proxies and the suite.
Nobody waits, so that a missing message costs no time. Nothing depends on how busy the machine is,
so that the same programme always does the same. It has TCP of this process only: no TLS, no names.
"""

from __future__ import annotations

import asyncio
import selectors
from collections import deque
from collections.abc import Callable, Coroutine
from itertools import count
from typing import Any, Final, TypeVar
from weakref import WeakSet

T = TypeVar("T")

TICK: Final = 1e-5
"""Seconds on the clock for one turn of the loop, so that peers which never pause reach their
timeouts as well."""

FIRST_PORT: Final = 40_000
"""The port of the first listener."""

TAKEN: Final = 1 << 18
"""Bytes that are under way without waiting in the sender, as a system's buffers allow."""

HIGH_WATER: Final = 1 << 16
"""Waiting bytes from which on the loop pauses a sender, unless that says another number."""

PIECE: Final = 1 << 18
"""Bytes that are delivered at once, as the event loop of a system does."""


class _Selector(selectors.DefaultSelector):
    """Advances a clock instead of waiting.

    Attributes:
        now: seconds on the clock.
    """

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Give nothing: what there is to wait for is a timer."""
        if timeout is None:
            raise RuntimeError("every task waits for another")
        self.now += max(timeout, TICK)
        return []


class _End(asyncio.Transport):
    """One end of a connection in memory."""

    other: _End

    def __init__(
        self, loop: asyncio.AbstractEventLoop, protocol: Any, own: int, others: int
    ) -> None:
        super().__init__({"sockname": ("127.0.0.1", own), "peername": ("127.0.0.1", others)})
        self._loop = loop
        self._protocol = protocol
        self._arrived: deque[bytes] = deque()
        self._size = 0
        self._high_water = HIGH_WATER
        self._is_reading = True
        self._is_scheduled = self._is_paused = False
        self._has_ended = self._has_written_eof = self._is_closing = False

    # What a protocol calls.

    def get_protocol(self) -> Any:
        return self._protocol

    def set_protocol(self, protocol: Any) -> None:
        self._protocol = protocol

    def is_closing(self) -> bool:
        return self._is_closing

    def is_reading(self) -> bool:
        return self._is_reading and not self._is_closing

    def pause_reading(self) -> None:
        self._is_reading = False

    def resume_reading(self) -> None:
        self._is_reading = True
        self._schedule()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._high_water = HIGH_WATER if high is None else high

    def get_write_buffer_size(self) -> int:
        return max(0, self.other._size - TAKEN)

    def can_write_eof(self) -> bool:
        return True

    def write(self, data: Any) -> None:
        if self._is_closing or self._has_written_eof or self.other._is_closing or not data:
            return
        self.other._take(bytes(data))
        if self.get_write_buffer_size() > self._high_water and not self._is_paused:
            self._is_paused = True
            self._protocol.pause_writing()

    def writelines(self, pieces: Any) -> None:
        self.write(b"".join(pieces))

    def write_eof(self) -> None:
        self._has_written_eof = True
        self.other._end()

    def close(self) -> None:
        if not self._is_closing:
            self._is_closing = True
            self.other._end()
            self._loop.call_soon(self._lose)

    def abort(self) -> None:
        self.close()

    # What the other end calls.

    def open(self) -> None:
        """Tell the protocol that it is connected."""
        self._protocol.connection_made(self)

    def _take(self, data: bytes) -> None:
        self._arrived.append(data)
        self._size += len(data)
        self._schedule()

    def _end(self) -> None:
        self._has_ended = True
        self._schedule()

    def _schedule(self) -> None:
        if not self._is_scheduled and not self._is_closing:
            self._is_scheduled = True
            self._loop.call_soon(self._deliver)

    def _deliver(self) -> None:
        self._is_scheduled = False
        if self._is_closing or not self._is_reading:
            return
        if self._arrived:
            whole = b"".join(self._arrived)
            self._arrived.clear()
            if len(whole) > PIECE:
                self._arrived.append(whole[PIECE:])
            self._size = max(0, len(whole) - PIECE)
            self._protocol.data_received(whole[:PIECE])
            self.other._go_on()
            self._schedule()
        elif self._has_ended:
            self._has_ended = False
            if not self._protocol.eof_received():
                self.close()

    def _go_on(self) -> None:
        if self._is_paused and self.get_write_buffer_size() <= self._high_water // 4:
            self._is_paused = False
            if not self._is_closing:
                self._protocol.resume_writing()

    def _lose(self) -> None:
        self._protocol.connection_lost(None)


class _Listener:
    """A listener in memory, as a socket and as what listens on it."""

    def __init__(self, listeners: dict[int, Any], port: int) -> None:
        self.sockets = (self,)
        self._listeners = listeners
        self._port = port

    def getsockname(self) -> tuple[str, int]:
        return "127.0.0.1", self._port

    def close(self) -> None:
        self._listeners.pop(self._port, None)

    async def wait_closed(self) -> None:
        pass


class MemoryLoop(asyncio.SelectorEventLoop):
    """An event loop for peers that all run in this process, without a network."""

    def __init__(self) -> None:
        self._clock = _Selector()
        super().__init__(self._clock)
        self._ports = count(FIRST_PORT)
        self._listeners: dict[int, Callable[[], Any]] = {}
        self._ends: WeakSet[_End] = WeakSet()

    def close(self) -> None:
        """End every connection, and the loop."""
        for end in self._ends:
            end._is_closing = True  # nobody is left to be told
        super().close()

    def time(self) -> float:
        """Return the time on this loop's clock, in seconds."""
        return self._clock.now

    async def create_server(self, factory: Any, host: Any = None, port: Any = 0, **_: Any) -> Any:  # type: ignore[override]
        """Listen in memory; the host does not matter."""
        port = port or next(self._ports)
        self._listeners[port] = factory
        return _Listener(self._listeners, port)

    async def create_connection(  # type: ignore[override]
        self, factory: Any, host: Any = None, port: Any = None, **_: Any
    ) -> Any:
        """Connect to a listener in memory.

        Raises:
            ConnectionRefusedError: nothing listens on the port.
        """
        listening = self._listeners.get(port)
        if listening is None:
            raise ConnectionRefusedError(f"nothing listens on {port}")
        near = _End(self, factory(), next(self._ports), port)
        far = _End(self, listening(), port, near.get_extra_info("sockname")[1])
        near.other, far.other = far, near
        self._ends.update((near, far))
        near.open()
        self.call_soon(far.open)
        await asyncio.sleep(0)  # the other end is open too
        await asyncio.sleep(0)
        return near, near.get_protocol()


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on such a loop."""
    with asyncio.Runner(loop_factory=MemoryLoop) as runner:
        return runner.run(main)
