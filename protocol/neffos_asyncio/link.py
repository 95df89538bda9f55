"""A session on a transport: the part of a connection that both roles share.

A link carries payloads between the two, keeps the deadlines, matches replies with their asks, and
bounds what a peer can make this side keep. Nothing that a peer sends ends the reading but the end
of the connection (SEC-16). It does not know how the application handles events.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Final

from websockets.frames import CloseCode

from neffos_asyncio.errors import DeadlineError, LostError, PeerError
from neffos_asyncio.limits import REASON_SIZE, Limits
from neffos_asyncio.transport import Transport, log
from neffos_protocol import (
    AskCancelled,
    Asked,
    AskExpired,
    AskWithdrawn,
    Change,
    Changed,
    ChangeRefused,
    Closed,
    Event,
    HandshakeRefused,
    NativeReceived,
    Opened,
    Prepared,
    ProtocolViolation,
    Received,
    Replied,
    Session,
    UnmatchedReply,
    token_of,
)
from neffos_protocol.text import logged

NORMAL: Final = CloseCode.NORMAL_CLOSURE
"""The code of an ordinary close (TR-13)."""
REFUSED: Final = CloseCode.POLICY_VIOLATION
"""The code for a peer that is refused, or exceeds a bound (TR-13)."""
TOO_LARGE: Final = CloseCode.MESSAGE_TOO_BIG
"""The code for a payload over the limit (TR-13)."""

_MESSAGES: Final = frozenset({Asked, Received, NativeReceived})
_OWN: Final = frozenset(
    {Replied, AskExpired, AskCancelled, AskWithdrawn, UnmatchedReply, ProtocolViolation}
)

HEAD_SIZE: Final = 64
"""Bytes of a frame without its body, as far as ``Link.count`` cares."""

Key = tuple[Change, str, str]
"""A change of membership that is being asked for: which one, of which namespace and room."""

Send = Callable[..., list[Event]]
"""Opens an ask in the session, with the keyword ``deadline``, and returns its token."""

Pending = asyncio.Future[Any]
"""Waits for the reply to an ask."""


@dataclass(slots=True, eq=False)
class Link:
    """A session on a transport.

    Attributes:
        session: the protocol state.
        limits: the bounds.
        deliver: gets each event that concerns the application, in order.
        waits: keeps a message for later if it has to wait for others, and says whether it does.
        ended: called before the session learns that the peer has ended the connection; gets
            whether that was with a close frame, and what to call for the session to learn it.
        opened: gets the connection's ID once the handshake is complete, if it was set.
        closed: code and reason of the end, once the transport has ended.
        is_held: whether nothing is read because of ``hold``.
        resumed_at: when reading was last resumed, on the loop's clock.
    """

    session: Session
    limits: Limits
    deliver: Callable[[Event], None]
    waits: Callable[[str | bytes], bool]
    ended: Callable[[bool, Callable[[], None]], None]
    opened: Pending | None = field(default=None, init=False)
    closed: tuple[int | None, str] | None = field(default=None, init=False)
    is_held: bool = field(default=False, init=False)
    resumed_at: float = field(default=0.0, init=False)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop, init=False)
    _transport: Transport | None = field(default=None, init=False)
    _pending: dict[str, Pending] = field(default_factory=dict, init=False)
    _changes: dict[Key, tuple[str, Pending]] = field(default_factory=dict, init=False)
    _close_with: tuple[int, str] = field(default=(NORMAL, ""), init=False)
    _ended: asyncio.Future[None] | None = field(default=None, init=False)
    _drained: asyncio.Future[None] | None = field(default=None, init=False)
    _unsent: int = field(default=0, init=False)
    _is_scheduled: bool = field(default=False, init=False)
    _is_stalled: bool = field(default=False, init=False)
    _ask_timer: asyncio.TimerHandle | None = field(default=None, init=False)
    _handshake_timer: asyncio.TimerHandle | None = field(default=None, init=False)
    _close_timer: asyncio.TimerHandle | None = field(default=None, init=False)
    _read_timer: asyncio.TimerHandle | None = field(default=None, init=False)
    _write_timer: asyncio.TimerHandle | None = field(default=None, init=False)
    _read_at: float = field(default=0.0, init=False)

    # ------------------------------------------------------------ what a transport calls

    def start(self, transport: Transport, *, handshake: float | None) -> None:
        """Begin on an open transport; there are ``handshake`` seconds for the handshake."""
        self._transport = transport
        if handshake is not None and not self.session.is_open:
            text = "SEC-4: no handshake within the time for it"
            self._handshake_timer = self._loop.call_later(handshake, self.end, REFUSED, text)
        if self.limits.read is not None:
            self._read_at = self._loop.time()
            self._watch_reading()

    def receive(self, payload: str | bytes) -> None:
        """Handle one message, or keep it for its turn."""
        if self.limits.read is not None:
            self._read_at = self._loop.time()
        if self.waits(payload):
            return
        for event in self.session.receive(payload):
            self._take(event)

    def flush(self) -> None:
        """Send what the session has to send, and then close the transport if that is due."""
        transport = self._transport
        if transport is None:
            return
        payloads = self.session.outgoing()
        self._unsent = 0
        if payloads:
            if transport.backlog > self.limits.backlog:
                self.end(REFUSED, "SEC-8: the peer reads too slowly")
            else:
                transport.write(payloads)
                if self._is_stalled:
                    self.limits.budget.hold(self, transport.backlog)
        if self.session.is_closed and self._close_timer is None:
            # A peer that reads gets the close frame; any other is reset.
            self._close_timer = self._loop.call_later(self.limits.close, transport.abort)
            transport.close(*self._close_with)

    def stalled(self) -> None:
        """Note that the peer does not read what is written."""
        self._is_stalled = True
        self.limits.budget.hold(self, self.backlog)
        self._steer()
        if self.limits.write is not None and self._write_timer is None:
            text = "SEC-8: the peer does not read"
            self._write_timer = self._loop.call_later(self.limits.write, self.end, REFUSED, text)

    def writable(self) -> None:
        """Note that the peer reads again."""
        self._is_stalled = False
        self.limits.budget.hold(self, 0)
        _cancel(self._write_timer)
        self._write_timer = None
        self._tell_drained()
        self._steer()

    def lost(self, code: int | None, reason: str) -> None:
        """Note the end of the transport."""
        if self._transport is None:
            return
        self._transport = None
        self.limits.budget.hold(self, 0)
        for timer in (
            self._handshake_timer,
            self._read_timer,
            self._write_timer,
            self._close_timer,
        ):
            _cancel(timer)
        self._tell_drained()
        self.ended(code is not None, partial(self._finish, code, reason))

    def _finish(self, code: int | None, reason: str) -> None:
        self.closed = code, reason
        self.take(self.session.peer_closed())
        _cancel(self._ask_timer)
        if self._ended is not None:
            self._ended.set_result(None)

    # ------------------------------------------------------------ what the connection calls

    def hold(self, is_held: bool) -> None:
        """Stop reading from the peer, because its handlers are slow, or read again."""
        self.is_held = is_held
        self._steer()

    @property
    def is_open(self) -> bool:
        """Whether the handshake is complete."""
        return self.session.is_open

    @property
    def backlog(self) -> int:
        """Bytes written and not yet sent by the network."""
        return self._transport.backlog if self._transport is not None else 0

    @property
    def is_attached(self) -> bool:
        """Whether there is a transport."""
        return self._transport is not None

    @property
    def is_asking(self) -> bool:
        """Whether an ask of this side is pending."""
        return bool(self._pending)

    @property
    def is_stalled(self) -> bool:
        """Whether the peer does not read as fast as this side writes."""
        return self._is_stalled and self._transport is not None

    def wake(self, size: int = 0) -> None:
        """Send what the session has to send, after the current callback; see ``count``."""
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._wake)
        self.count(size)

    def send_prepared(self, prepared: Prepared) -> bool:
        """Send what was encoded once for many, if it concerns this connection (EV-8).

        Returns:
            Whether it does.
        """
        if not self.session.concerns(prepared):
            return False
        self.session.send_prepared(prepared)
        self.wake(len(prepared.payload))
        return True

    def count(self, size: int) -> None:
        """Note a message to send, with a body of so many bytes; many are sent at once."""
        self._unsent += size + HEAD_SIZE
        if self._unsent > self.limits.high_water:
            self.flush()

    async def drained(self) -> None:
        """Wait until the peer has read what was written, or the connection has ended."""
        while self.is_stalled:
            if self._drained is None:
                self._drained = self._loop.create_future()
            await asyncio.shield(self._drained)

    async def ask(self, send: Send, timeout: float | None) -> Any:
        """Ask the peer and wait for the reply.

        Args:
            send: opens the ask in the session.
            timeout: seconds; ``None`` waits indefinitely.

        Raises:
            PeerError: the peer refused.
            DeadlineError: the peer did not reply in time.
            LostError: no reply can come any more.
            MisuseError, EncodeError: the ask is not possible; nothing was sent.
        """
        token, future = self._open(send, timeout)
        try:
            return await future
        finally:
            self._pending.pop(token, None)  # if the caller was cancelled

    async def change(self, key: Key, send: Send, timeout: float | None) -> None:
        """Ask for a change of membership and wait until it has happened; see ``ask``.

        If the same change is pending already, this waits for that one.
        """
        if key not in self._changes or self._changes[key][1].done():
            self._changes[key] = self._open(send, timeout)
        token, future = self._changes[key]
        try:
            await asyncio.shield(future)
        finally:
            if future.done() and self._changes.get(key, ("",))[0] == token:
                del self._changes[key]

    async def wait_lost(self) -> None:
        """Wait until the transport has ended."""
        if self.closed is None:
            if self._ended is None:
                self._ended = self._loop.create_future()
            await asyncio.shield(self._ended)

    def refuse(self, text: str) -> None:
        """Refuse the handshake, and close the connection."""
        events = self.session.refuse(text)
        self._close_with = REFUSED, "refused"
        self.take(events)

    def end(self, code: int = NORMAL, reason: str = "") -> None:
        """Close the connection, with a close frame."""
        if not self.session.is_closed:
            self._close_with = code, _reason(reason)
            self.take(self.session.close())

    def abort(self) -> None:
        """Reset the connection."""
        self.end()
        if self._transport is not None:
            self._transport.abort()

    def shed(self) -> None:
        """Reset the connection: its peer reads nothing, and the process holds too many bytes."""
        self.abort()

    # ------------------------------------------------------------ events

    def take(self, events: list[Event]) -> None:
        """Handle what a command of the session returned."""
        for event in events:
            self._take(event)

    def _take(self, event: Event) -> None:
        if type(event) in _MESSAGES:  # by far the most are: what follows concerns the others
            self.deliver(event)
            return
        match event:
            case Replied(token, message):
                _settle(self._pending.pop(token, None), message)
            case AskExpired(token):
                error = DeadlineError("the peer did not answer in time")
                _settle(self._pending.pop(token, None), error)
            case AskCancelled(token):
                lost = LostError("the connection, or the namespace, has ended")
                _settle(self._pending.pop(token, None), lost)
            case UnmatchedReply(message):
                log.debug("a reply to no pending ask: %s", logged(message.wait))
            case ProtocolViolation(requirement, explanation, fatal):
                log.debug("the peer violated %s: %s", requirement, logged(explanation))
                if fatal:
                    code = TOO_LARGE if requirement == "SEC-2" else REFUSED
                    self._close_with = code, _reason(f"{requirement}: {explanation}")
            case Changed(change, namespace, room):
                self._changed((change, namespace, room), None)
            case ChangeRefused(change, namespace, room, text):
                self._changed((change, namespace, room), PeerError(text))
            case Opened(id=id_):
                _cancel(self._handshake_timer)
                _settle(self.opened, id_)
            case HandshakeRefused(text):
                _settle(self.opened, PeerError(text))
            case Closed():
                text = "the connection ended before its handshake was complete"
                _settle(self.opened, LostError(text))
                self.wake()
        if type(event) not in _OWN:
            self.deliver(event)

    def _open(self, send: Send, timeout: float | None) -> tuple[str, Pending]:
        seconds = self.limits.seconds(timeout)
        deadline = None if seconds is None else self._loop.time() + seconds
        token = token_of(send(deadline=deadline))
        future = self._pending[token] = self._loop.create_future()
        if deadline is not None and (self._ask_timer is None or deadline < self._ask_timer.when()):
            self._set_ask_timer(deadline)
        if self.is_held:
            self.hold(False)  # the reply comes after what was not read
        self.wake()
        return token, future

    def _changed(self, key: Key, error: PeerError | None) -> None:
        token, future = self._changes.pop(key, ("", None))
        self._pending.pop(token, None)
        _settle(future, error)

    def _wake(self) -> None:
        self._is_scheduled = False
        self.flush()

    # ------------------------------------------------------------ time

    def _set_ask_timer(self, deadline: float | None) -> None:
        _cancel(self._ask_timer)
        self._ask_timer = (
            None if deadline is None else self._loop.call_at(deadline, self._expire, deadline)
        )

    def _expire(self, deadline: float) -> None:
        # A deadline counts as passed when its timer fires, however coarse the clock is.
        self.take(self.session.expire(max(self._loop.time(), deadline)))
        self._set_ask_timer(self.session.next_deadline)

    def _watch_reading(self) -> None:
        limit = self.limits.read
        if limit is None or self.session.is_closed:
            return
        left = self._read_at + limit - self._loop.time()
        if left <= 0 and not self._is_stalled and not self.is_held:
            self.end(REFUSED, "nothing was sent for too long")
            return
        wait = left if left > 0 else limit  # while this side does not read, it starts again
        self._read_timer = self._loop.call_later(wait, self._watch_reading)

    # ------------------------------------------------------------ flow control

    def _tell_drained(self) -> None:
        if self._drained is not None:
            self._drained.set_result(None)
            self._drained = None

    def _steer(self) -> None:
        if self._transport is not None and self._close_timer is None:
            if self._is_stalled or self.is_held:
                self._transport.pause()
            else:
                self.resumed_at = self._loop.time()
                self._transport.resume()


def _settle(future: Pending | None, result: object) -> None:
    """Give a future its result, or its exception, unless it has one."""
    if future is None or future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
        future.exception()  # the caller may have been cancelled: then this is no error
    else:
        future.set_result(result)


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()


def _reason(text: str) -> str:
    """Cut a reason to what a close frame has room for."""
    return text.encode()[:REASON_SIZE].decode(errors="ignore")
