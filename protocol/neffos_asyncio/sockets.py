"""The WebSocket connections of a stand-alone server, on asyncio.

The WebSocket protocol is the I/O-free half of ``websockets``; this module puts it on a socket, with
a heartbeat, deadlines and bounds. That half also answers a close frame (TR-16), refuses a request
other than an upgrade (TR-7), and fails a connection on text that is not UTF-8 (TR-17). Messages
that arrive in one segment are handled together, and their replies leave in one. This module knows
requests and messages, not neffos frames.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from struct import pack
from typing import Final, cast

from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.server import ServerProtocol

from neffos_asyncio.handler_queue import TURN, TURN_SIZE
from neffos_asyncio.incoming import LONG, SHORT, Incoming
from neffos_asyncio.limits import Limits, pong_time
from neffos_asyncio.request import UpgradeRequest, upgrade_request
from neffos_asyncio.transport import Receiver, failures, log
from neffos_asyncio.unfinished import LATE, Unfinished, is_bound

ALLOWED: Final = "GET, HEAD"
"""The methods of an endpoint (TR-1, TR-3, TR-6)."""

PING_SIZE: Final = 8
"""Bytes of a ping: how many bytes were written before it. The pong proves that they arrived."""

TEXT: Final = 0x81
BINARY: Final = 0x82
"""The first byte of a whole message in one frame (RFC 6455, 5.2)."""

Accepted = tuple[Receiver, Callable[["Socket"], None]]
"""The receiver of an accepted connection, and what to call once the socket is open."""

Decide = Callable[[UpgradeRequest], Accepted | HTTPStatus]
"""Decides on a valid upgrade request."""


@dataclass(slots=True, eq=False)
class Socket(asyncio.Protocol):
    """One incoming connection, from its first byte; a transport once it is upgraded.

    Attributes:
        decide: decides on its request.
        limits: the bounds.
        sockets: the open sockets; this one is among them while it is open.
        parsing: makes what parses its bytes.
    """

    decide: Decide
    limits: Limits
    sockets: set[Socket]
    parsing: Callable[[ServerProtocol], Incoming] = Incoming
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop, init=False)
    _protocol: ServerProtocol = field(init=False)
    _transport: asyncio.Transport = field(init=False)
    _receiver: Receiver | None = field(default=None, init=False)
    _fragments: bytearray | None = field(default=None, init=False)
    _is_text: bool = field(default=True, init=False)
    _is_failed: bool = field(default=False, init=False)
    _is_paused: bool = field(default=False, init=False)
    _is_scheduled: bool = field(default=False, init=False)
    _is_bounded: bool = field(default=True, init=False)
    _incoming: Incoming = field(init=False)
    _held: int = field(default=0, init=False)
    _was_unfinished: bool = field(default=False, init=False)
    _unfinished: Unfinished = field(init=False)
    _written: int = field(default=0, init=False)
    _arrived: int = field(default=0, init=False)
    _is_pinged: bool = field(default=False, init=False)
    _ping_at: float = field(default=0.0, init=False)
    _pong_by: float = field(default=0.0, init=False)
    _ping_timer: asyncio.TimerHandle | None = field(default=None, init=False)
    _close_timer: asyncio.TimerHandle | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        early = min(self.limits.session.held_size, self.limits.session.payload)
        self._protocol = ServerProtocol(max_size=early)  # more, once the handshake is complete
        self._incoming = self.parsing(self._protocol)

    # ------------------------------------------------------------ what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the upgrade request, for a while (SEC-4)."""
        self.sockets.add(self)  # not before: if TLS fails, `connection_lost` is not called
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(self.limits.high_water)
        self._unfinished = Unfinished(self.limits.message, self._transport.is_reading, self._late)
        if self.limits.handshake is not None:
            self._close_timer = self._loop.call_later(self.limits.handshake, self.abort)

    def data_received(self, data: bytes) -> None:
        """Handle what is complete in these bytes, up to a turn of it, and then reply."""
        if self._protocol.eof_sent:
            return  # refused, or closed: nothing that comes matters
        self._incoming.add(data)
        if not self._is_paused and not self._is_scheduled:
            self._work()
        elif self._incoming.left >= TURN_SIZE:
            self._transport.pause_reading()  # uvloop reads up to 32 times before it is our turn

    def eof_received(self) -> None:
        """Note that the peer sends nothing more; asyncio closes the socket."""
        self._protocol.receive_eof()
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        """Report the end to the receiver."""
        for timer in (self._ping_timer, self._close_timer):
            if timer is not None:
                timer.cancel()
        self._unfinished.cancel()
        if self._protocol.state is not State.CLOSED:
            self._protocol.receive_eof()
        self._incoming.drop()
        self._fragments = None
        self.limits.budget.hold(self, 0)
        received = self._protocol.close_rcvd
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.lost(received.code if received else None, received.reason if received else "")
        self.sockets.discard(self)

    def pause_writing(self) -> None:
        """Report that the network does not keep up."""
        if self._receiver is not None:
            self._receiver.stalled()

    def resume_writing(self) -> None:
        """Report that the network keeps up again."""
        if self._receiver is not None:
            self._receiver.writable()

    # ------------------------------------------------------------ what a link calls

    @property
    def backlog(self) -> int:
        """Bytes written and not yet sent by the network."""
        return self._transport.get_write_buffer_size()

    def write(self, payloads: Sequence[str | bytes]) -> None:
        """Send messages."""
        protocol = self._protocol
        if protocol.state is not State.OPEN:
            return  # it is closing: no peer would read this
        pieces = protocol.writes
        for payload in payloads:
            data = payload.encode() if isinstance(payload, str) else payload
            pieces.append(_head(TEXT if data is not payload else BINARY, len(data)))
            if data:  # the library ends with an empty piece
                pieces.append(data)
        self._send()

    def pause(self) -> None:
        """Leave received bytes in the network, which slows the peer down."""
        self._is_paused = True
        self._transport.pause_reading()

    def resume(self) -> None:
        """Read on, after the unhandled messages."""
        if self._is_paused:
            self._is_paused = False
            self._is_pinged = False  # the pong may be among what was not read
            self._unfinished.again()  # so may the rest of a message
            self._read_on()

    def close(self, code: int, reason: str) -> None:
        """Send a close frame, and end once it is answered."""
        self._is_paused = False
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(code, reason)
            self._send()
            self._read_on()  # for the answer

    def abort(self) -> None:
        """Reset the connection."""
        self._transport.abort()

    def shed(self) -> None:
        """Reset the connection: it holds most of what is too much for the process."""
        self._incoming.drop()
        self._fragments = None
        self.abort()

    # ------------------------------------------------------------ the upgrade

    def _upgrade(self, request: Request) -> None:
        if self._receiver is not None or self._protocol.state is not State.CONNECTING:
            return
        accepted: Accepted | None = None
        if request.method != "GET":
            response = self._other_method(request.method)
        else:
            response = self._protocol.accept(request)
            if response.status_code == HTTPStatus.SWITCHING_PROTOCOLS:
                decided = self._decided(request)
                if isinstance(decided, HTTPStatus):
                    response = self._protocol.reject(decided, f"{decided.phrase}\n")
                else:
                    accepted = decided
        self._protocol.send_response(response)
        if accepted is not None:
            self._open(*accepted)

    def _other_method(self, method: str) -> Response:
        is_probe = method == "HEAD"  # TR-3, TR-6
        status = HTTPStatus.OK if is_probe else HTTPStatus.METHOD_NOT_ALLOWED
        response = self._protocol.reject(status, "")
        response.headers["Allow"] = ALLOWED
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    def _decided(self, request: Request) -> Accepted | HTTPStatus:
        peer = self._transport.get_extra_info("peername")
        remote = f"{peer[0]}:{peer[1]}" if isinstance(peer, tuple) else str(peer or "")
        try:
            return self.decide(upgrade_request(request.path, request.headers.raw_items(), remote))
        except Exception as error:
            failures.note("an upgrade request could not be handled", error)
            return HTTPStatus.INTERNAL_SERVER_ERROR

    def _open(self, receiver: Receiver, opened: Callable[[Socket], None]) -> None:
        if self._close_timer is not None:
            self._close_timer.cancel()
            self._close_timer = None
        self._receiver = receiver
        now = self._loop.time()
        self._ping_at = now + (self.limits.heartbeat or 0)
        self._next_ping(now)
        opened(self)

    # ------------------------------------------------------------ messages

    def _work(self) -> None:
        """Handle events until there are none, the receiver pauses, or the turn is over."""
        receiver = self._receiver
        if self._is_bounded and receiver is not None and receiver.is_open:
            self._is_bounded = False
            self._incoming.widen(self.limits.session.payload)
        incoming, left = self._incoming, TURN
        before, is_next, frame = incoming.parsed, False, None
        while (
            left
            and not self._is_paused
            and incoming.parsed - before < TURN_SIZE
            and (event := incoming.take()) is not None
        ):
            left -= 1
            if type(event) is str or type(event) is bytes:
                is_next, self._is_pinged = True, False
                if receiver is not None:
                    receiver.receive(event)
            elif type(event) is Frame:
                frame = event
                self._take(frame)
                is_next = is_next or is_bound(frame)
            else:
                self._upgrade(cast(Request, event))
        if frame is not None:
            frame.data = b""  # the parser keeps the last frame until the next one
        if self._receiver is not None:
            self._receiver.flush()
        self._send()
        if self._was_unfinished or incoming.partial or incoming or self._fragments is not None:
            self._hold(incoming.parsed - before, is_next)
        if incoming:
            self._read_on()
        elif self._protocol.state is not State.OPEN:
            self._watch_close()

    def _read_on(self) -> None:
        """Go on with what is left, after the others' turns, and then with what comes."""
        if self._incoming:
            if self._incoming.left >= TURN_SIZE:
                self._transport.pause_reading()
            if not self._is_paused and not self._is_scheduled:
                self._is_scheduled = True
                self._loop.call_soon(self._work_on)
        elif not self._is_paused:
            self._transport.resume_reading()

    def _work_on(self) -> None:
        self._is_scheduled = False
        if not self._is_paused and not self._transport.is_closing():
            self._work()
            self._read_on()

    def _hold(self, parsed: int, is_next: bool) -> None:
        """Note how much is held for the peer, and for how long a message is unfinished.

        Args:
            parsed: how many bytes were parsed.
            is_next: whether the unfinished message, if there is one, has begun with them.
        """
        incoming = self._incoming
        held = incoming.held + len(self._fragments or b"")
        self._was_unfinished = held > 0 or self._fragments is not None
        if self._receiver is not None and self._protocol.state is State.OPEN:
            is_unfinished = incoming.partial > 0 or self._fragments is not None
            self._unfinished.note(parsed, is_unfinished=is_unfinished, is_next=is_next)
        if held != self._held:
            self._held = held
            self.limits.budget.hold(self, held)

    def _late(self) -> None:
        if self._protocol.state is State.OPEN:
            self._fail(CloseCode.POLICY_VIOLATION, LATE)
            self._send()

    def _take(self, frame: Frame) -> None:
        opcode = frame.opcode
        self._is_pinged = False  # any frame proves that the peer lives
        if opcode is Opcode.PONG and len(frame.data) == PING_SIZE:
            arrived = int.from_bytes(frame.data)
            if self._arrived < arrived <= self._written:
                self._arrived = arrived
        if opcode is Opcode.TEXT or opcode is Opcode.BINARY:
            self._is_text = opcode is Opcode.TEXT
            if frame.fin:
                self._message(frame.data)
            else:
                self._fragments = bytearray(frame.data)
        elif opcode is Opcode.CONT and self._fragments is not None:
            self._fragments += frame.data
            if frame.fin:
                whole, self._fragments = self._fragments, None
                self._message(whole)

    def _message(self, data: bytes | bytearray | memoryview) -> None:
        if self._receiver is None or self._is_failed:
            return
        if not self._is_text:
            self._receiver.receive(bytes(data))
            return
        try:
            text = str(data, "utf-8")
        except UnicodeDecodeError:
            self._fail(CloseCode.INVALID_DATA, "TR-17: text that is not UTF-8")
            return
        self._receiver.receive(text)

    def _fail(self, code: CloseCode, reason: str) -> None:
        self._protocol.fail(code, reason)
        self._is_failed = True
        self._incoming.drop()

    def _ping(self) -> None:
        """Send a ping if that is due, and check that the last one was answered in time."""
        now = self._loop.time()
        if not self._transport.is_reading():
            self._is_pinged = False  # without reading, a missing pong proves nothing
        if self._is_pinged and now >= self._pong_by:
            log.debug("the peer is lost: it answered no ping")
            self.abort()
            return
        if not self._is_pinged and now >= self._ping_at and self._protocol.state is State.OPEN:
            under_way = self._written - self._arrived
            self._protocol.send_ping(self._written.to_bytes(PING_SIZE))
            self._send()
            self._is_pinged = True
            self._pong_by = now + pong_time(self.limits, under_way)
            self._ping_at = now + (self.limits.heartbeat or 0)
        self._next_ping(now)

    def _next_ping(self, now: float) -> None:
        if self.limits.heartbeat is not None:
            at = self._pong_by if self._is_pinged else self._ping_at
            wait = min(at - now, self.limits.heartbeat)
            self._ping_timer = self._loop.call_later(wait, self._ping)

    # ------------------------------------------------------------ the socket

    def _send(self) -> None:
        if not self._protocol.writes:
            return
        pieces = self._protocol.data_to_send()
        is_end = pieces[-1] == b""  # how websockets says that nothing follows
        if is_end:
            pieces.pop()
        if pieces and not self._transport.is_closing():
            written = pieces[0] if len(pieces) == 1 else b"".join(pieces)
            self._written += len(written)
            self._transport.write(written)
        if is_end:
            # The peer may still be sending: a close now would reset the connection, and the
            # bytes just written might never arrive.
            if self._transport.can_write_eof():
                self._transport.write_eof()
            else:
                self._transport.close()
            self._watch_close()

    def _watch_close(self) -> None:
        """Reset a closing connection that does not end in time."""
        if self._close_timer is None:
            self._close_timer = self._loop.call_later(self.limits.close, self.abort)


def _head(first: int, size: int) -> bytes:
    """Return the head of a frame, which has no mask, since a server sends it."""
    if size < SHORT:
        return bytes((first, size))
    return pack("!BBH", first, 126, size) if size < LONG else pack("!BBQ", first, 127, size)
