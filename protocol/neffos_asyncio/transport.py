"""What carries the messages of one connection, as the link above sees it.

A transport hands incoming payloads to its link, and after a batch of them calls ``flush``; it
tells when it cannot keep up and when it can again, and at last that it has ended. A
``PumpedTransport`` makes one of any WebSocket library whose send is a coroutine.
"""

from __future__ import annotations

import asyncio
import logging
from abc import abstractmethod
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

LOGGER: Final = "neffos"
"""The name of the logger that the reference peers write to."""


class Transport(Protocol):
    """The lower half of a connection. Nothing here blocks."""

    @property
    @abstractmethod
    def backlog(self) -> int:
        """Octets written and not yet taken by the network."""

    @abstractmethod
    def write(self, payloads: Sequence[str | bytes]) -> None:
        """Send messages, in order; once it is closing, they are dropped."""

    @abstractmethod
    def pause(self) -> None:
        """Stop handing over messages, soon."""

    @abstractmethod
    def resume(self) -> None:
        """Hand over messages again."""

    @abstractmethod
    def close(self, code: int, reason: str) -> None:
        """Send what is written, say goodbye, and end; ``Receiver.lost`` follows."""

    @abstractmethod
    def abort(self) -> None:
        """End at once; ``Receiver.lost`` follows."""


class Receiver(Protocol):
    """The upper half: what a transport calls."""

    @abstractmethod
    def receive(self, payload: str | bytes) -> None:
        """Take one message."""

    @abstractmethod
    def flush(self) -> None:
        """Send what the messages so far gave rise to."""

    @abstractmethod
    def stalled(self) -> None:
        """Take note that the network does not keep up."""

    @abstractmethod
    def writable(self) -> None:
        """Take note that it does again."""

    @abstractmethod
    def lost(self, code: int | None, reason: str) -> None:
        """Take note of the end; ``code`` is ``None`` where no close frame came (TR-14)."""


class PumpedTransport:
    """A transport on a coroutine that sends one message.

    Args:
        send: sends one message, and returns when the network can take more.
        goodbye: sends a close frame with a code and a reason, and ends.
        receiver: whom to tell.
        high_water: octets that may wait before the receiver is told to hold back.
        on_abort: what else is to be done to end at once.
    """

    def __init__(
        self,
        send: Callable[[str | bytes], Awaitable[None]],
        goodbye: Callable[[int, str], Awaitable[None]],
        receiver: Receiver,
        high_water: int,
        on_abort: Callable[[], None],
    ) -> None:
        self._send = send
        self._goodbye = goodbye
        self._receiver = receiver
        self._high_water = high_water
        self._on_abort = on_abort
        self._waiting: deque[str | bytes] = deque()
        self._size = 0
        self._is_stalled = False
        self._ending: tuple[int, str] | None = None
        self._pump: asyncio.Task[None] | None = None
        self._may_read = asyncio.Event()
        self._may_read.set()

    @property
    def backlog(self) -> int:
        """Octets (of text: characters) that wait to be sent."""
        return self._size

    def write(self, payloads: Sequence[str | bytes]) -> None:
        """Queue messages, and see that somebody sends them."""
        if self._ending is not None:
            return
        self._waiting.extend(payloads)
        self._size += sum(map(len, payloads))
        if self._size > self._high_water and not self._is_stalled:
            self._is_stalled = True
            self._receiver.stalled()
        self._start()

    def pause(self) -> None:
        """Let ``readable`` wait, unless this is ending: whoever reads is who sees the end."""
        if self._ending is None:
            self._may_read.clear()

    def resume(self) -> None:
        """Let ``readable`` return."""
        self._may_read.set()

    async def readable(self) -> None:
        """Wait until the receiver takes messages."""
        await self._may_read.wait()

    def close(self, code: int, reason: str) -> None:
        """Say goodbye behind what waits."""
        if self._ending is None:
            self._ending = code, reason
            self._may_read.set()  # for the answer
            self._start()

    def abort(self) -> None:
        """Drop what waits, and end."""
        self._ending = self._ending or (1006, "")
        self._waiting.clear()
        self._may_read.set()  # for whoever reads to see the end
        if self._pump is not None:
            self._pump.cancel()
        self._on_abort()

    def _start(self) -> None:
        if self._pump is None:
            self._pump = asyncio.create_task(self._run(), name="neffos send")

    async def _run(self) -> None:
        try:
            while self._waiting:
                payload = self._waiting.popleft()
                await self._send(payload)
                self._size -= len(payload)
                if self._is_stalled and self._size <= self._high_water // 2:
                    self._is_stalled = False
                    self._receiver.writable()
            if self._ending is not None:
                await self._goodbye(*self._ending)
        except Exception:  # each library has its own; whoever reads sees the end, and tells
            logging.getLogger(LOGGER).debug("a message could not be sent", exc_info=True)
            self._ending = self._ending or (1006, "")
            self._waiting.clear()
            self._may_read.set()
        finally:
            self._pump = None
