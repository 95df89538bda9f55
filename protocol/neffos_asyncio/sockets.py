"""WebSocket connections of a stand-alone server, on asyncio.

The WebSocket protocol is the I/O-free half of ``websockets``; this module puts it on a socket,
with a heartbeat, deadlines and bounds. Many messages that come in one piece are dealt with
together, and their answers go out in one piece. It knows requests and messages, not frames of
neffos.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from http import HTTPStatus
from typing import Final, cast

from websockets.exceptions import InvalidState
from websockets.frames import CloseCode, Frame, Opcode
from websockets.http11 import Request, Response
from websockets.protocol import Event, State
from websockets.server import ServerProtocol

from neffos_asyncio.limits import Limits
from neffos_asyncio.link import log
from neffos_asyncio.request import UpgradeRequest, upgrade_request
from neffos_asyncio.transport import Receiver

ALLOWED: Final = "GET, HEAD"
"""The methods of an endpoint (TR-1, TR-3, TR-6)."""

Accepted = tuple[Receiver, Callable[["Socket"], None]]
"""Who takes the messages of an accepted connection, and what to do once it is open."""

Decide = Callable[[UpgradeRequest], Accepted | HTTPStatus]
"""Says what becomes of an upgrade request that is sound in itself."""


class Socket(asyncio.Protocol):
    """One incoming connection, from its first octet; a transport once it is upgraded.

    Args:
        decide: says what becomes of its request.
        limits: the bounds.
        there: the sockets that are open; this one is among them while it is.
    """

    __slots__ = (
        "_answer_at",
        "_close_timer",
        "_decide",
        "_heartbeat",
        "_is_awaited",
        "_is_failed",
        "_is_paused",
        "_is_text",
        "_left",
        "_limits",
        "_loop",
        "_parts",
        "_ping_at",
        "_protocol",
        "_receiver",
        "_there",
        "_transport",
        "opened_at",
    )

    def __init__(self, decide: Decide, limits: Limits, there: set[Socket]) -> None:
        self._decide = decide
        self._limits = limits
        self._there = there
        self._loop = asyncio.get_running_loop()
        self._protocol = ServerProtocol(max_size=limits.session.payload)
        self._receiver: Receiver | None = None
        self._parts: bytearray | None = None
        self._is_text = True
        self._ping_at = self._answer_at = 0.0
        self._is_awaited = False
        self._is_failed = False
        self._is_paused = False
        self._left: deque[Event] | None = None
        self._heartbeat: asyncio.TimerHandle | None = None
        self._close_timer: asyncio.TimerHandle | None = None
        self.opened_at = self._loop.time()

    # ------------------------------------------------------------ what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the upgrade, for a while (SEC-4)."""
        self._there.add(self)  # not before: where TLS fails, there is no end to be told of
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(self._limits.high_water)
        if self._limits.handshake is not None:
            self._close_timer = self._loop.call_later(self._limits.handshake, self.abort)

    def data_received(self, data: bytes) -> None:
        """Deal with all that is whole in these octets, and then answer."""
        self._protocol.receive_data(data)
        self._work(self._protocol.events_received())

    def eof_received(self) -> None:
        """Take note that the peer has said all it will; asyncio closes the socket."""
        self._protocol.receive_eof()
        self._send()

    def connection_lost(self, error: Exception | None) -> None:
        """Tell the receiver."""
        for timer in (self._heartbeat, self._close_timer):
            if timer is not None:
                timer.cancel()
        if self._protocol.state is not State.CLOSED:
            self._protocol.receive_eof()
        left, self._left = self._left, None
        for event in left or ():  # it was said before the end, and is heard before it
            if isinstance(event, Frame):
                self._take(event)
        received = self._protocol.close_rcvd
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.lost(received.code if received else None, received.reason if received else "")
        self._there.discard(self)

    def pause_writing(self) -> None:
        """Pass on that the network does not keep up."""
        if self._receiver is not None:
            self._receiver.stalled()

    def resume_writing(self) -> None:
        """Pass on that it does again."""
        if self._receiver is not None:
            self._receiver.writable()

    # ------------------------------------------------------------ what a link calls

    @property
    def backlog(self) -> int:
        """Octets written and not yet taken by the network."""
        return self._transport.get_write_buffer_size()

    def write(self, payloads: Sequence[str | bytes]) -> None:
        """Send messages."""
        protocol = self._protocol
        try:
            for payload in payloads:
                if isinstance(payload, str):
                    protocol.send_text(payload.encode())
                else:
                    protocol.send_binary(payload)
        except InvalidState:
            return  # it is closing: nobody would read this
        self._send()

    def pause(self) -> None:
        """Leave what comes to the network, which slows the peer down."""
        self._is_paused = True
        self._transport.pause_reading()

    def resume(self) -> None:
        """Read on, after what has come in already."""
        if self._is_paused:
            self._is_paused = False
            if self._left is None:
                self._transport.resume_reading()
            else:
                self._loop.call_soon(self._work_on)

    def close(self, code: int, reason: str) -> None:
        """Send a close frame, and end once it is answered."""
        self._is_paused, self._left = False, None  # nobody is there to hear it
        if self._protocol.state is State.OPEN:
            self._protocol.send_close(code, reason)
            self._send()
            self._transport.resume_reading()  # for the answer

    def abort(self) -> None:
        """Cut the connection."""
        self._transport.abort()

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
            return self._decide(upgrade_request(request.path, request.headers.raw_items(), remote))
        except Exception:
            log.exception("an upgrade request could not be dealt with")
            return HTTPStatus.INTERNAL_SERVER_ERROR

    def _open(self, receiver: Receiver, opened: Callable[[Socket], None]) -> None:
        if self._close_timer is not None:
            self._close_timer.cancel()
            self._close_timer = None
        self._receiver = receiver
        now = self._loop.time()
        self._ping_at = now + (self._limits.heartbeat or 0)
        self._next_ping(now)
        opened(self)

    # ------------------------------------------------------------ messages

    def _work(self, events: Iterable[Event]) -> None:
        """Deal with events until there are none, or the receiver wants no more for now."""
        if self._left is not None:
            self._left.extend(events)
            return
        waiting = iter(events)
        for event in waiting:
            if isinstance(event, Frame):
                self._take(event)
            else:
                self._upgrade(cast(Request, event))
            if self._is_paused:
                self._left = deque(waiting) or None
                break
        if self._receiver is not None:
            self._receiver.flush()
        self._send()
        if self._protocol.state is not State.OPEN and self._left is None:
            self._watch_close()

    def _work_on(self) -> None:
        """Go on with what was left."""
        if self._left is not None and not self._is_paused:
            left, self._left = self._left, None
            self._work(left)
        if self._left is None and not self._is_paused:
            self._transport.resume_reading()

    def _take(self, frame: Frame) -> None:
        opcode = frame.opcode
        self._is_awaited = False  # it lives
        if opcode is Opcode.TEXT or opcode is Opcode.BINARY:
            self._is_text = opcode is Opcode.TEXT
            if frame.fin:
                self._message(frame.data)
            else:
                self._parts = bytearray(frame.data)
        elif opcode is Opcode.CONT and self._parts is not None:
            self._parts += frame.data
            if frame.fin:
                whole, self._parts = self._parts, None
                self._message(whole)

    def _message(self, octets: bytes | bytearray | memoryview) -> None:
        if self._receiver is None or self._is_failed:
            return
        if not self._is_text:
            self._receiver.receive(bytes(octets))
            return
        try:
            text = str(octets, "utf-8")
        except UnicodeDecodeError:
            self._protocol.fail(CloseCode.INVALID_DATA, "TR-17: text that is not UTF-8")
            self._is_failed = True
            return
        self._receiver.receive(text)

    def _ping(self) -> None:
        """Ping where that is due, and see whether the last ping was answered in time."""
        now = self._loop.time()
        if not self._transport.is_reading():
            self._is_awaited = False  # what is not read proves nothing
        if self._is_awaited and now >= self._answer_at:
            log.debug("a peer is gone: it answered no ping")
            self.abort()
            return
        if not self._is_awaited and now >= self._ping_at and self._protocol.state is State.OPEN:
            self._protocol.send_ping(b"")
            self._send()
            self._is_awaited = True
            self._answer_at = now + self._limits.heartbeat_answer
            self._ping_at = now + (self._limits.heartbeat or 0)
        self._next_ping(now)

    def _next_ping(self, now: float) -> None:
        if self._limits.heartbeat is not None:
            at = self._answer_at if self._is_awaited else self._ping_at
            self._heartbeat = self._loop.call_later(
                min(at - now, self._limits.heartbeat), self._ping
            )

    # ------------------------------------------------------------ the socket

    def _send(self) -> None:
        pieces = self._protocol.data_to_send()
        if not pieces:
            return
        is_end = pieces[-1] == b""  # how websockets says that nothing follows
        if is_end:
            pieces.pop()
        if pieces and not self._transport.is_closing():
            self._transport.write(pieces[0] if len(pieces) == 1 else b"".join(pieces))
        if is_end:
            # The peer may still be sending: to close now would reset the connection, and what
            # was just written might never arrive.
            if self._transport.can_write_eof():
                self._transport.write_eof()
            else:
                self._transport.close()
            self._watch_close()

    def _watch_close(self) -> None:
        """See to it that a connection that is closing ends."""
        if self._close_timer is None:
            self._close_timer = self._loop.call_later(self._limits.close, self.abort)
