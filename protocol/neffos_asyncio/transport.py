"""The transport of one connection, as its link uses it.

A transport hands received payloads to its receiver, and calls ``flush`` after a batch of them. It
reports when the network cannot keep up, when it can again, and when the connection has ended. A
``PumpedTransport`` wraps any WebSocket library whose send is a coroutine.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from sys import getsizeof
from typing import Final, Protocol

from neffos_asyncio.failures import FailureLog
from neffos_asyncio.handler_queue import TURN
from neffos_protocol.text import logged

LOGGER: Final = "neffos"
"""The name of the logger of neffos_asyncio."""

log: Final = logging.getLogger(LOGGER)

failures: Final = FailureLog(log)
"""Where errors are logged that a peer may have caused."""


class Transport(Protocol):
    """The lower half of a connection. Nothing here blocks."""

    @property
    def backlog(self) -> int:
        """Bytes written and not yet sent by the network."""

    def write(self, payloads: Sequence[str | bytes]) -> None:
        """Send messages, in order; a closing transport drops them."""

    def pause(self) -> None:
        """Stop handing over messages, soon."""

    def resume(self) -> None:
        """Hand over messages again."""

    def close(self, code: int, reason: str) -> None:
        """Send what is written, then a close frame, and end; ``Receiver.lost`` follows."""

    def abort(self) -> None:
        """Reset the connection; ``Receiver.lost`` follows."""


class Receiver(Protocol):
    """The upper half: what a transport calls."""

    @property
    def is_open(self) -> bool:
        """Whether the handshake is complete, so that messages may be large."""

    def receive(self, payload: str | bytes) -> None:
        """Handle one message."""

    def flush(self) -> None:
        """Send the replies to the messages so far."""

    def stalled(self) -> None:
        """Note that the network does not keep up."""

    def writable(self) -> None:
        """Note that the network keeps up again."""

    def lost(self, code: int | None, reason: str) -> None:
        """Note the end; ``code`` is ``None`` if no close frame came (TR-14)."""


class PumpedTransport:
    """A transport on a coroutine that sends one message.

    Args:
        send: sends one message, and returns when the network can take more.
        send_close: sends a close frame with a code and a reason, and ends.
        receiver: what to call.
        high_water: bytes that may wait before the receiver must hold back.
        on_abort: what else to do to reset the connection.
    """

    def __init__(
        self,
        send: Callable[[str | bytes], Awaitable[None]],
        send_close: Callable[[int, str], Awaitable[None]],
        receiver: Receiver,
        high_water: int,
        on_abort: Callable[[], None],
    ) -> None:
        self._send = send
        self._send_close = send_close
        self._receiver = receiver
        self._high_water = high_water
        self._on_abort = on_abort
        self._waiting: deque[str | bytes] = deque()
        self._size = self._read = 0
        self.sent = 0
        """About how many bytes the network has taken since the start."""
        self._is_stalled = False
        self._closing: tuple[int, str] | None = None
        self._pump: asyncio.Task[None] | None = None
        self._may_read = asyncio.Event()
        self._may_read.set()

    @property
    def backlog(self) -> int:
        """Bytes of memory of the messages that wait to be sent."""
        return self._size

    def write(self, payloads: Sequence[str | bytes]) -> None:
        """Queue messages, and start to send them."""
        if self._closing is not None:
            return
        self._waiting.extend(payloads)
        self._size += sum(map(getsizeof, payloads))
        if self._size > self._high_water and not self._is_stalled:
            self._is_stalled = True
            self._receiver.stalled()
        self._start()

    def pause(self) -> None:
        """Let ``readable`` wait, unless the connection ends: only its reader sees the end."""
        if self._closing is None:
            self._may_read.clear()

    def resume(self) -> None:
        """Let ``readable`` return."""
        self._may_read.set()

    async def readable(self) -> None:
        """Wait until the receiver accepts messages, and other connections had their turn."""
        self._read += 1
        if self._read % TURN == 0:
            await asyncio.sleep(0)  # a library may have many messages ready
        await self._may_read.wait()

    def close(self, code: int, reason: str) -> None:
        """Send a close frame after the waiting messages."""
        if self._closing is None:
            self._closing = code, reason
            self._may_read.set()  # for the answer
            self._start()

    def abort(self) -> None:
        """Drop the waiting messages, and reset the connection."""
        self.end()
        self._on_abort()

    def end(self) -> None:
        """Drop the waiting messages, and send nothing more: the connection has ended."""
        self._drop()
        if self._pump is not None:
            self._pump.cancel()

    def _drop(self) -> None:
        self._closing = self._closing or (1006, "")
        self._waiting.clear()
        self._may_read.set()  # the reader is to see the end

    def _start(self) -> None:
        if self._pump is None:
            self._pump = asyncio.create_task(self._run(), name="neffos send")

    async def _run(self) -> None:
        try:
            while self._waiting:
                payload = self._waiting.popleft()
                await self._send(payload)
                size = getsizeof(payload)
                self._size -= size
                self.sent += size
                if self._is_stalled and self._size <= self._high_water // 2:
                    self._is_stalled = False
                    self._receiver.writable()
            if self._closing is not None:
                await self._send_close(*self._closing)
        except Exception as error:  # each library has its own; the reader sees and reports the end
            log.debug("a message could not be sent: %s", logged(error))
            self._drop()
        finally:
            self._pump = None
