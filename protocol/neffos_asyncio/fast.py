"""The frames of a connection, parsed by ``picows``: the extra ``fast``.

``websockets`` reads the upgrade request, and what comes before the neffos handshake is complete.
From then on picows finds and unmasks the frames, which costs more than anything else that happens
to a small message. ``websockets`` still checks every frame that is no whole message: control
frames, fragments, and those that no peer may send. So both layers answer alike.

A parser of picows has a state only while a frame is unfinished, and takes memory, which it never
gives back. So connections share parsers: one that has received a part of a frame keeps its parser
until the rest is there.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final, NamedTuple

from picows import WSAutoPingStrategy, WSFrame, WSListener, WSMsgType, WSTransport
from picows.picows import WSProtocol  # type: ignore[attr-defined]  # not in its stubs
from websockets.exceptions import ProtocolError
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import Event
from websockets.server import ServerProtocol

from neffos_asyncio.incoming import LARGE_PIECE, Incoming

FAST_PIECE: Final = 8 << 10
"""Bytes that are parsed in one go: 1,400 empty frames, in half a millisecond where all are
messages. What ``websockets`` reads takes three times as long."""

BUFFER: Final = 2 << 10
"""Bytes of a new parser's buffer: the least that picows takes."""

KEPT_SIZE: Final = 64 << 10
"""Bytes of memory of a parser that is lent again. A larger one has parsed a large message, and is
dropped."""

SPARE: Final = 16
"""Parsers that wait to be lent. One is enough unless many peers send frames in parts at once."""

OVERHEAD: Final = 6 << 10
"""Bytes of memory of a parser, beside its buffer."""

MESSAGE: Final = 64
"""Bytes of memory of a message that was parsed, beside its payload. A control frame takes twice as
much; ``FAST_PIECE`` bounds how many there are."""

HEAD: Final = 14
"""Bytes of the longest head of a client's frame."""

CONTROL: Final = 6 + 125
"""Bytes of the longest control frame, which may come between the fragments of a message and is no
part of it."""

CLOSE: Final = 0x88
"""The first byte of a close frame."""

# Looking up a member in its enumeration takes as long as a call.
_TEXT: Final = WSMsgType.TEXT
_BINARY: Final = WSMsgType.BINARY

_REQUEST: Final = (
    b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDAwMDAwMDAwMDAwMDAwMA==\r\n\r\n"
)
"""What picows wants to see before it parses frames."""


class _Wrong(NamedTuple):
    """What no peer may send: the code and the reason of the close frame."""

    code: int
    reason: str


_TOO_LARGE: Final = _Wrong(CloseCode.MESSAGE_TOO_BIG, "the message is too large")

Parsed = str | bytes | Frame | _Wrong
"""A whole message, or a frame of any other kind."""


class _Silent:
    """The log of a parser: whatever a peer causes is reported by its connection."""

    def isEnabledFor(self, _: int) -> bool:  # noqa: N802  # the name in ``logging``
        return False

    def log(self, *_: object, **__: object) -> None:
        """Write nothing."""

    info = error = exception = debug = warning = log


class _Nowhere:
    """The socket of a parser, and its transport: it reads from none, and writes to none."""

    def get_extra_info(self, name: str) -> _Nowhere | None:
        return self if name == "socket" else None

    def setsockopt(self, *_: object) -> None:
        """Set nothing."""

    def getsockopt(self, *_: object) -> int:
        return 0

    def fileno(self) -> int:
        return -1

    def get_write_buffer_size(self) -> int:
        return 1  # with an empty buffer, picows would write to the socket

    def write(self, _: object) -> None:
        """Drop what picows would answer."""

    def is_closing(self) -> bool:
        return True  # so that there is nothing to close after an error

    close = abort = setsockopt


class _Frames(WSListener):
    """Collects frames."""

    def __init__(self) -> None:
        self.parsed: list[Parsed] = []
        self.tail: int | None = None
        """Bytes after the last frame, if there was one."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Copy a frame out of the buffer."""
        if frame.last_in_buffer:
            self.tail = frame.tail_size
        kind = frame.msg_type
        if frame.fin and not (frame.rsv1 or frame.rsv2 or frame.rsv3):
            if kind is _TEXT:
                try:
                    self.parsed.append(frame.get_payload_as_utf8_text())
                    return
                except UnicodeDecodeError:
                    pass  # its connection fails on it
            elif kind is _BINARY:
                self.parsed.append(frame.get_payload_as_bytes())
                return
        reserved = bool(frame.rsv1), bool(frame.rsv2), bool(frame.rsv3)
        data = frame.get_payload_as_bytes()
        self.parsed.append(Frame(Opcode(kind.value), data, bool(frame.fin), *reserved))


class Parser:
    """Parses the frames of one connection at a time.

    Args:
        limit: bytes of a frame; a larger one is an error.
    """

    __slots__ = ("_capacity", "_frames", "_protocol", "_transport", "partial", "size")

    def __init__(self, limit: int) -> None:
        frames = self._frames = _Frames()
        self.partial = self.size = self._capacity = 0
        """Bytes of the unfinished frame, of memory, and of the buffer: picows doubles a buffer that
        is full, but what was never written to is no memory."""
        self._protocol: Any = WSProtocol(
            host_port=None,
            ws_path=None,
            is_client_side=False,
            ws_listener_factory=lambda _: frames,
            logger=_Silent(),
            disconnect_on_exception=True,
            websocket_handshake_timeout=None,
            enable_auto_ping=False,
            auto_ping_idle_timeout=None,
            auto_ping_reply_timeout=None,
            auto_ping_strategy=WSAutoPingStrategy.PING_WHEN_IDLE,
            enable_auto_pong=False,
            max_frame_size=limit,
            extra_headers=None,
            read_buffer_init_size=BUFFER,
        )
        self._protocol.connection_made(_Nowhere())
        self._transport = self._protocol.transport
        self._write(_REQUEST)
        self.partial = 0

    @property
    def is_fresh(self) -> bool:
        """Whether nothing is left of the connection that had it, once its frames are whole."""
        return self._transport.close_handshake is None and self._capacity <= KEPT_SIZE

    def parse(self, data: memoryview) -> list[Parsed]:
        """Parse bytes, and return what is complete."""
        at = self._write(data)
        while at < len(data) and self._wrong is None:  # else picows would parse on
            at += self._write(data[at:])
        parsed, self._frames.parsed = self._frames.parsed, []
        wrong = self._wrong
        if wrong is not None:
            parsed.append(_Wrong(int(wrong.code), wrong.reason))
        return parsed

    @property
    def _wrong(self) -> Any:
        """The close frame with which picows answers what no peer may send."""
        closing = self._transport.close_handshake
        return None if closing is None else closing.sent

    def _write(self, data: bytes | memoryview) -> int:
        frames, buffer = self._frames, self._protocol.get_buffer(-1)
        free, size = len(buffer), len(data)
        if free < size:
            size, data = free, data[:free]
        buffer[:size] = data
        frames.tail = None
        self._protocol.buffer_updated(size)
        self._capacity = free + self.partial
        self.size = OVERHEAD + max(min(self._capacity, KEPT_SIZE), self.partial + size)
        self.partial = self.partial + size if frames.tail is None else frames.tail
        return size


class FastIncoming(Incoming):
    """See ``Incoming``; a whole message comes as what it contains.

    Args:
        limit: bytes of a message, once the neffos handshake is complete.
        spare: parsers that nobody has, which the connections of a listening socket share.
        protocol: parses what comes before, and checks all frames that are no whole messages.
    """

    __slots__ = ("_is_fast", "_is_widened", "_limit", "_parser", "_spare", "_waiting")

    def __init__(self, limit: int, spare: list[Parser], protocol: ServerProtocol) -> None:
        super().__init__(protocol)
        self._limit = limit
        self._spare = spare
        self._parser: Parser | None = None
        self._waiting = 0
        self._is_widened = self._is_fast = False

    @property
    def held(self) -> int:
        """See ``Incoming``."""
        if not self._is_fast:
            return super().held
        waiting = self._waiting + MESSAGE * len(self._events) if self._events else 0
        return self.left + waiting + (self._parser.size if self._parser else 0)

    def widen(self, limit: int) -> None:
        """See ``Incoming``."""
        super().widen(limit)
        self._is_widened = True

    def drop(self) -> None:
        """See ``Incoming``."""
        super().drop()
        self._parser = None

    def take(self) -> Event | str | bytes | None:
        """See ``Incoming``."""
        protocol = self._protocol
        if not self._is_fast:
            if not self._is_widened or self._events or self.partial:
                return super().take()
            self._is_fast = True
        while True:
            while not self._events:
                if self._at >= len(self._data):
                    # picows knows the size of a frame, and not what came before it.
                    if self.partial > CONTROL and self._size(self.partial - HEAD) > self._limit:
                        protocol.fail(*_TOO_LARGE)
                        self.drop()
                    self._data, self._at, self._events = b"", 0, None
                    return None
                if self._data[self._at] == CLOSE and self._parser is None:
                    self._is_fast = False  # a parser that has met the last frame is of no more use
                    return super().take()
                self._parse_fast()
            event: Any = self._events.popleft()
            is_message = type(event) is str or type(event) is bytes
            if (is_message and protocol.current_size is None) or self._is_allowed(event):
                return event  # type: ignore[no-any-return]

    def _parse_fast(self) -> None:
        at = self._at
        piece = memoryview(self._data)[at : at + min(max(self.partial, FAST_PIECE), LARGE_PIECE)]
        size = self._waiting = len(piece)
        self._at = at + size
        self.parsed += size
        parser = self._parser
        if parser is None:
            parser = self._spare.pop() if self._spare else Parser(self._limit)
        parsed: list[Any] = parser.parse(piece)
        self.partial = parser.partial
        if self.partial:
            self._parser = parser
        else:
            self._parser = None
            if parser.is_fresh and len(self._spare) < SPARE:
                self._spare.append(parser)
        self._events = deque(parsed)

    def _size(self, more: int) -> int:
        """Return the size of the unfinished message with more bytes of it."""
        return (self._protocol.current_size or 0) + more

    def _is_allowed(self, event: Parsed) -> bool:
        """Have ``websockets`` handle a frame, and say whether the peer may send it."""
        protocol, wrong = self._protocol, None
        if isinstance(event, str | bytes):
            event = Frame(Opcode.TEXT, b"")  # within another message, which is an error
        try:
            if isinstance(event, _Wrong):
                wrong = event
            elif event.opcode is Opcode.CONT and self._size(len(event.data)) > self._limit:
                wrong = _TOO_LARGE
            else:
                event.check()
                protocol.recv_frame(event)
        except ProtocolError as error:
            wrong = _Wrong(CloseCode.PROTOCOL_ERROR, str(error))
        except UnicodeDecodeError:
            wrong = _Wrong(CloseCode.INVALID_DATA, "a reason that is not UTF-8")
        if wrong is not None:
            protocol.fail(*wrong)
        protocol.events_received()  # the frame, which is returned here
        if protocol.eof_sent:
            self.drop()
        return wrong is None
