"""A session on a transport: the part of a connection that both roles share.

It carries payloads between the two, keeps the time, matches replies with those who wait for
them, and bounds what a peer can make this side hold. What the application does with an event is
not known here.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

from neffos_conformance.reference.errors import DeadlineError, LostError, PeerError
from neffos_conformance.reference.limits import REASON_SIZE, Limits
from neffos_conformance.reference.transport import LOGGER, Transport
from neffos_protocol import (
    AskCancelled,
    Asked,
    AskExpired,
    Change,
    Changed,
    ChangeRefused,
    Closed,
    Event,
    HandshakeRefused,
    NativeReceived,
    Opened,
    ProtocolViolation,
    Received,
    Replied,
    Session,
    UnmatchedReply,
    token_of,
)

log: Final = logging.getLogger(LOGGER)

GOING: Final = 1000, ""
"""The ordinary close (TR-13)."""
REFUSED: Final = 1008
"""The code for a peer that is turned away, or went over a bound (TR-13)."""
TOO_LARGE: Final = 1009
"""The code for a payload over the limit (TR-13)."""

_MESSAGES: Final = frozenset({Asked, Received, NativeReceived})

Key = tuple[Change, str, str]
"""A change of membership that somebody waits for: what, and its namespace and room."""


class Link:
    """A session on a transport.

    Args:
        session: which end this is, and where it stands.
        limits: the bounds.
        deliver: takes each event that concerns the application, in order.
    """

    __slots__ = (
        "_changes",
        "_close_timer",
        "_close_with",
        "_deliver",
        "_drained",
        "_gone",
        "_handshake_timer",
        "_is_closing",
        "_is_held",
        "_is_scheduled",
        "_is_stalled",
        "_limits",
        "_loop",
        "_read_at",
        "_read_timer",
        "_timer",
        "_timer_at",
        "_transport",
        "_unsent",
        "_waiting",
        "_write_timer",
        "closed",
        "opened",
        "session",
    )

    def __init__(self, session: Session, limits: Limits, deliver: Callable[[Event], None]) -> None:
        self.session = session
        self.opened: asyncio.Future[str] | None = None
        self.closed: tuple[int | None, str] | None = None
        self._limits = limits
        self._deliver = deliver
        self._loop = asyncio.get_running_loop()
        self._transport: Transport | None = None
        self._waiting: dict[str, asyncio.Future[Any]] = {}
        self._changes: dict[Key, tuple[str, asyncio.Future[Any]]] = {}
        self._close_with = GOING
        self._gone: asyncio.Future[None] | None = None
        self._drained: asyncio.Future[None] | None = None
        self._unsent = 0
        self._is_closing = False
        self._is_scheduled = False
        self._is_stalled = False
        self._is_held = False
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at: float | None = None
        self._handshake_timer: asyncio.TimerHandle | None = None
        self._close_timer: asyncio.TimerHandle | None = None
        self._read_timer: asyncio.TimerHandle | None = None
        self._read_at = 0.0
        self._write_timer: asyncio.TimerHandle | None = None

    # ------------------------------------------------------------ what a transport calls

    def start(self, transport: Transport, *, patience: float | None) -> None:
        """Begin on a transport that is open; ``patience`` seconds are left for the handshake."""
        self._transport = transport
        if patience is not None and not self.session.is_open:
            self._handshake_timer = self._loop.call_later(max(0, patience), self._handshake_over)
        if self._limits.read is not None:
            self._read_at = self._loop.time()
            self._watch_reading()

    def receive(self, payload: str | bytes) -> None:
        """Take one message."""
        if self._limits.read is not None:
            self._read_at = self._loop.time()
        for event in self.session.receive(payload):
            self._take(event)

    def flush(self) -> None:
        """Send what there is to send, and close the transport behind it where that is due."""
        transport = self._transport
        if transport is None:
            return
        payloads = self.session.outgoing()
        self._unsent = 0
        if payloads:
            if transport.backlog > self._limits.backlog:
                self._end(REFUSED, "SEC-8: the peer reads too slowly")
            else:
                transport.write(payloads)
        if self.session.is_closed and not self._is_closing:
            self._is_closing = True
            transport.close(*self._close_with)
            # A peer that reads gets the goodbye; one that does not is cut off.
            self._close_timer = self._loop.call_later(self._limits.close, transport.abort)

    def stalled(self) -> None:
        """Take note that the peer does not read what is written."""
        self._is_stalled = True
        self._steer()
        if self._limits.write is not None and self._write_timer is None:
            self._write_timer = self._loop.call_later(self._limits.write, self._write_over)

    def writable(self) -> None:
        """Take note that the peer reads again."""
        self._is_stalled = False
        _cancel(self._write_timer)
        self._write_timer = None
        self._tell_drained()
        self._steer()

    def lost(self, code: int | None, reason: str) -> None:
        """Take note of the end of the transport."""
        if self._transport is None:
            return
        self._transport = None
        self.closed = code, reason
        for event in self.session.peer_closed():
            self._take(event)
        for timer in (
            self._timer,
            self._handshake_timer,
            self._read_timer,
            self._write_timer,
            self._close_timer,
        ):
            _cancel(timer)
        self._tell_drained()
        if self._gone is not None:
            self._gone.set_result(None)

    # ------------------------------------------------------------ what the connection calls

    def hold(self, is_held: bool) -> None:
        """Read nothing more from the peer, or read again: its handlers are behind."""
        self._is_held = is_held
        self._steer()

    @property
    def backlog(self) -> int:
        """Octets written and not yet taken by the network."""
        return self._transport.backlog if self._transport is not None else 0

    @property
    def is_attached(self) -> bool:
        """Whether there is a transport."""
        return self._transport is not None

    @property
    def is_held(self) -> bool:
        """Whether nothing is read because of ``hold``."""
        return self._is_held

    @property
    def is_asking(self) -> bool:
        """Whether somebody here waits for an answer of the peer."""
        return bool(self._waiting)

    def wake(self) -> None:
        """See to it that what the session has to say is sent, after what runs now."""
        if not self._is_scheduled:
            self._is_scheduled = True
            self._loop.call_soon(self._wake)

    @property
    def is_stalled(self) -> bool:
        """Whether the peer does not read as fast as is written."""
        return self._is_stalled and self._transport is not None

    async def drained(self) -> None:
        """Wait until the peer has read what was written, or is gone."""
        while self.is_stalled:
            if self._drained is None:
                self._drained = self._loop.create_future()
            await asyncio.shield(self._drained)

    def count(self, size: int) -> None:
        """Take note of so much that the session has to say; much is not left to gather."""
        self._unsent += size
        if self._unsent > self._limits.high_water:
            self.flush()

    async def ask(self, send: Callable[[float | None], list[Event]], timeout: float | None) -> Any:
        """Ask the peer and wait for what it answers.

        Args:
            send: opens the ask in the session, with that deadline, and gives its token.
            timeout: seconds, or ``None`` to wait for ever.

        Raises:
            PeerError: the peer refused.
            DeadlineError: it did not answer in time.
            LostError: it cannot answer any more.
            MisuseError, EncodeError: it cannot be asked; nothing was sent.
        """
        token, future = self._open(send, timeout)
        try:
            return await future
        finally:
            self._waiting.pop(token, None)  # who no longer waits does not count as waiting

    async def change(
        self, key: Key, send: Callable[[float | None], list[Event]], timeout: float | None
    ) -> None:
        """Ask for a change of membership and wait until it came about; see ``ask``.

        Who wants what is being asked for already waits with the first.
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
            if self._gone is None:
                self._gone = self._loop.create_future()
            await asyncio.shield(self._gone)

    def turn_away(self, text: str) -> None:
        """Refuse the handshake, and end the connection."""
        events = self.session.refuse(text)
        self._close_with = REFUSED, "refused"
        self.take(events)

    def end(self, code: int, reason: str) -> None:
        """End the connection in good order, with a close frame."""
        self._end(code, reason)
        self.wake()

    def abort(self) -> None:
        """End the connection at once."""
        self._end(*GOING)
        if self._transport is not None:
            self._transport.abort()

    # ------------------------------------------------------------ events

    def take(self, events: list[Event]) -> None:
        """Take what a command of the session gave."""
        for event in events:
            self._take(event)

    def _take(self, event: Event) -> None:
        if type(event) in _MESSAGES:  # by far the most are: what follows concerns the others
            self._deliver(event)
            return
        match event:
            case Replied(token, message):
                future = self._waiting.pop(token, None)
                if future is not None and not future.done():
                    future.set_result(message)
                return
            case AskExpired(token):
                self._fail(token, DeadlineError("the peer did not answer in time"))
                return
            case AskCancelled(token):
                self._fail(token, LostError("the connection, or the namespace, has ended"))
                return
            case UnmatchedReply(message):
                log.debug("a reply that nobody waits for: %r", message.wait)
                return
            case ProtocolViolation(requirement, explanation, fatal):
                log.debug("the peer broke %s: %s", requirement, explanation)
                if fatal:
                    is_large = requirement == "SEC-2"
                    code = TOO_LARGE if is_large else REFUSED
                    self._close_with = code, _reason(f"{requirement}: {explanation}")
                return
            case Changed(change, namespace, room):
                self._settle((change, namespace, room), None)
            case ChangeRefused(change, namespace, room, text):
                self._settle((change, namespace, room), PeerError(text))
            case Opened(id=id_):
                _cancel(self._handshake_timer)
                if self.opened is not None and not self.opened.done():
                    self.opened.set_result(id_)
            case HandshakeRefused(text):
                if self.opened is not None and not self.opened.done():
                    _fail(self.opened, PeerError(text))
            case Closed():
                if self.opened is not None and not self.opened.done():
                    text = "the connection ended before its handshake was complete"
                    _fail(self.opened, LostError(text))
                self.wake()
        self._deliver(event)

    def _open(
        self, send: Callable[[float | None], list[Event]], timeout: float | None
    ) -> tuple[str, asyncio.Future[Any]]:
        deadline = None if timeout is None else self._loop.time() + timeout
        token = token_of(send(deadline))
        future = self._waiting[token] = self._loop.create_future()
        if deadline is not None and (self._timer_at is None or deadline < self._timer_at):
            self._set_timer(deadline)
        if self._is_held:
            self.hold(False)  # the answer is behind what was not read
        self.wake()
        return token, future

    def _settle(self, key: Key, error: PeerError | None) -> None:
        token, future = self._changes.pop(key, ("", None))
        self._waiting.pop(token, None)
        if future is None or future.done():
            return
        if error is None:
            future.set_result(None)
        else:
            _fail(future, error)

    def _fail(self, token: str, error: Exception) -> None:
        future = self._waiting.pop(token, None)
        if future is not None and not future.done():
            _fail(future, error)

    def _wake(self) -> None:
        self._is_scheduled = False
        self.flush()

    # ------------------------------------------------------------ time

    def _set_timer(self, deadline: float | None) -> None:
        _cancel(self._timer)
        self._timer_at = deadline
        self._timer = None if deadline is None else self._loop.call_at(deadline, self._expire)

    def _expire(self) -> None:
        # A deadline counts as passed when its timer fires, however coarse the clock is.
        now = max(self._loop.time(), self._timer_at or 0.0)
        for event in self.session.expire(now):
            self._take(event)
        self._set_timer(self.session.next_deadline)

    def _handshake_over(self) -> None:
        self._end(REFUSED, "SEC-4: no handshake within the time for it")
        self.wake()

    def _write_over(self) -> None:
        self._end(REFUSED, "SEC-8: the peer does not read")
        self.wake()

    def _watch_reading(self) -> None:
        patience = self._limits.read
        if patience is None or self.session.is_closed:
            return
        left = self._read_at + patience - self._loop.time()
        if left <= 0 and not self._is_stalled and not self._is_held:
            self._end(REFUSED, "nothing was sent for too long")
            self.wake()
            return
        wait = left if left > 0 else patience  # while this side does not read, it starts anew
        self._read_timer = self._loop.call_later(wait, self._watch_reading)

    # ------------------------------------------------------------ small things

    def _end(self, code: int, reason: str) -> None:
        if not self.session.is_closed:
            self._close_with = code, _reason(reason)
            self.take(self.session.close())

    def _tell_drained(self) -> None:
        if self._drained is not None:
            self._drained.set_result(None)
            self._drained = None

    def _steer(self) -> None:
        if self._transport is not None and not self._is_closing:
            if self._is_stalled or self._is_held:
                self._transport.pause()
            else:
                self._transport.resume()


def _fail(future: asyncio.Future[Any], error: Exception) -> None:
    future.set_exception(error)
    future.exception()  # whoever waited may have been cancelled: nobody needs to be told then


def _cancel(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()


def _reason(text: str) -> str:
    """Cut a reason to what a close frame has room for."""
    return text.encode()[:REASON_SIZE].decode(errors="ignore")
