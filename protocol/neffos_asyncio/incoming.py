"""The received bytes of one socket, parsed piece by piece.

A read from the network may contain tens of thousands of small frames. ``websockets`` parses all
bytes that it is given, so that it is given a few at a time: by ``Incoming`` on this package's own
sockets, by ``InPieces`` on those of a library. ``Incoming`` also knows how much of an unfinished
message was received.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import Final

from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import Event, Protocol, State
from websockets.server import ServerProtocol

from neffos_asyncio.limits import DEFAULT, Limits
from neffos_asyncio.unfinished import LATE, Unfinished, is_bound

PIECE: Final = 1 << 10
"""Bytes that are parsed in one go. They are up to 170 frames, and take about a millisecond."""

LARGE_PIECE: Final = 8 << 10
"""Bytes of a large frame that are read in one go at most: each read has a cost of its own. A peer
has to send as many of the frame before, so that it cannot fill all reads with small frames."""

PART: Final = 256
"""Bytes of memory of a further fragment, beside its data: a library keeps it until its message
ends. A peer may send millions of empty ones."""

HEAD: Final = 6
"""Bytes of the head of a client's frame, with its mask (RFC 6455, 5.2)."""
SHORT: Final = 126
LONG: Final = 1 << 16
"""Payloads from these sizes on have two, or eight, more bytes of head than HEAD."""


def piece_size(parser: Protocol) -> int:
    """Return how many bytes to read and parse in one go: as many as a large frame has so far."""
    return min(max(len(parser.reader.buffer), PIECE), LARGE_PIECE)


class InPieces(asyncio.BufferedProtocol):
    """Has asyncio read a few bytes at a time, with the turns of other connections in between.

    Mix it in before a protocol of a library that parses all it is given in ``data_received``. The
    bytes of an unfinished message count for a budget, and it has a deadline.

    Attributes:
        limits: the bounds, of which ``budget``, ``message`` and ``close`` apply here.
        transport: the socket, set by the library.
    """

    limits: Limits = DEFAULT
    transport: asyncio.Transport
    __piece = memoryview(b"")
    __held = 0
    __parts = 0
    __unfinished: Unfinished | None = None

    @property
    def parser(self) -> Protocol:
        """What parses the bytes."""
        raise NotImplementedError

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where to read to."""
        # asyncio's TLS reads to slices of it, and the slice of a bytearray would be a copy.
        self.__piece = memoryview(bytearray(piece_size(self.parser)))
        return self.__piece

    def buffer_updated(self, nbytes: int) -> None:
        """Handle so many bytes."""
        piece, self.__piece = self.__piece[:nbytes], memoryview(b"")
        parser = self.parser
        events = parser.events  # the list to which it adds, and which the library takes
        self.data_received(bytes(piece))
        buffered, size = len(parser.reader.buffer), parser.current_size
        self.__parts = 0 if size is None else self.__parts + sum(map(_is_part, events))
        self.__hold(buffered + (size or 0) + self.__parts * PART)
        if parser.state is State.OPEN:
            if self.__unfinished is None:
                is_reading = self.transport.is_reading
                self.__unfinished = Unfinished(self.limits.message, is_reading, self.__late)
            self.__unfinished.note(
                nbytes,
                is_unfinished=buffered > 0 or size is not None,
                is_next=any(map(is_bound, events)),
            )
        for event in events:
            self.handled(event)

    def handled(self, event: Event) -> None:
        """Forget what the library has handled, if it keeps a copy: the parser keeps the last."""

    def data_received(self, data: bytes) -> None:
        """Parse and handle bytes: the library's."""
        super().data_received(data)  # type: ignore[misc]

    def eof_received(self) -> None:
        """Note that the peer sends nothing more: the library's."""
        super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end: the library's."""
        super().connection_lost(exc)
        # Else these stay until the garbage collector comes by: what was received of a message, and
        # the last frame, which the parser keeps, or the traceback of its error.
        parser = self.parser
        parser.reader.discard()
        parser.parser.close()
        if parser.parser_exc is not None:
            parser.parser_exc.__traceback__ = None
        if self.__unfinished is not None:
            self.__unfinished.cancel()
        self.__hold(0)

    def shed(self) -> None:
        """Reset the connection: it holds most of what is too much for the process."""
        self.transport.abort()

    def __late(self) -> None:
        parser = self.parser
        if parser.state is State.OPEN:
            parser.fail(CloseCode.POLICY_VIOLATION, LATE)
            self.transport.write(b"".join(parser.data_to_send()))
            self.transport.close()
            asyncio.get_running_loop().call_later(self.limits.close, self.transport.abort)

    def __hold(self, size: int) -> None:
        if size != self.__held:
            self.__held = size
            self.limits.budget.hold(self, size)


def _is_part(event: Event) -> bool:
    return type(event) is Frame and event.opcode is Opcode.CONT


class Incoming:
    """Received bytes, and the events that they become.

    Args:
        protocol: parses them.
    """

    __slots__ = ("_at", "_data", "_events", "_protocol", "parsed", "partial")

    def __init__(self, protocol: ServerProtocol) -> None:
        self._protocol = protocol
        self._data = b""
        self._at = 0
        self._events: deque[Event | str | bytes] | None = None
        self.parsed = 0
        """Bytes that were parsed since the start."""
        self.partial = 0
        """Bytes of a request or a frame whose end was not received, as far as they are parsed."""

    def __bool__(self) -> bool:
        """Whether something is left to take."""
        return bool(self._events) or self._at < len(self._data)

    @property
    def left(self) -> int:
        """Bytes that are not parsed."""
        return len(self._data) - self._at

    @property
    def held(self) -> int:
        """Bytes of memory of what is not parsed, or not whole."""
        return self.left + self.partial

    def widen(self, limit: int) -> None:
        """Let messages be larger, from the next frame on: the handshake is complete."""
        self._protocol.max_message_size = limit

    def add(self, data: bytes) -> None:
        """Receive bytes."""
        self._data = self._data[self._at :] + data if self.left else data
        self._at = 0

    def drop(self) -> None:
        """Forget all that was received; nothing can be parsed after that."""
        self._data, self._at, self._events, self.partial = b"", 0, None, 0

    def take(self) -> Event | str | bytes | None:
        """Return the next request or frame, or ``None`` if its end was not received.

        A parser that finds whole messages may return what they contain.
        """
        while not self._events:
            if self._at >= len(self._data):
                self._data, self._at, self._events = b"", 0, None
                return None
            self._parse()
        event = self._events.popleft()
        if type(event) is Frame:
            size = len(event.data)
            self.partial -= HEAD + size
            if size >= SHORT:
                self.partial -= 2 if size < LONG else 8
        else:
            self.partial = 0
        return event

    def _parse(self) -> None:
        at, end = self._at, self._at + PIECE
        if self._protocol.state is State.CONNECTING:
            # What is behind a request is parsed as frames once it is accepted. A request that
            # comes in parts may end with any line.
            whole = -1 if self.partial else self._data.find(b"\r\n\r\n", at, end)
            end = min(end, self._data.find(b"\n", max(at, whole + 2)) + 1 or end)
        piece = self._data if at == 0 and end >= len(self._data) else self._data[at:end]
        self._at = at + len(piece)
        self.parsed += len(piece)
        self.partial += len(piece)
        self._protocol.receive_data(piece)
        events = self._protocol.events_received()
        if events:
            self._events = deque(events)
