"""A neffos client: dials, performs the handshake, and reconnects.

WebSocket, TLS and proxies are the ``websockets`` library's. It offers no subprotocol (TR-2), and
sends the application's headers as they are (TR-19). It asks no server for a version (TR-18).
Connection and handlers are the same as a server's.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import InitVar, dataclass, field
from functools import partial
from ipaddress import ip_address
from secrets import token_bytes
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit
from urllib.request import getproxies

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.protocol import Protocol

from neffos_asyncio.connection import Connection, Namespace
from neffos_asyncio.controllers import CLIENT_SCOPES, Part, application_of
from neffos_asyncio.dependencies import Dependencies
from neffos_asyncio.dispatch import Dispatcher
from neffos_asyncio.errors import DialError, LostError, NeffosError, RefusedError, ReplyError
from neffos_asyncio.failures import harmless
from neffos_asyncio.incoming import InPieces
from neffos_asyncio.limits import DEFAULT, DEFAULT_TIMEOUT, Limits, pong_time
from neffos_asyncio.request import RECONNECT_HEADER
from neffos_asyncio.transport import PumpedTransport, log
from neffos_codec import WaitTokens
from neffos_protocol import Cause, Change, Changed, Closed, MisuseError, Role, Session
from neffos_protocol.text import logged

DIAL_TIMEOUT: Final = 30.0
"""Seconds for TCP, TLS, upgrade and handshake together, if the caller gives none."""

QUEUED: Final = 1
"""Messages that ``websockets`` may keep before it stops to read. Each may have the largest size,
and ``Limits.queue_size`` does not count them."""

REFUSALS: Final = 5
"""Times in a row that a server may refuse a reconnecting client before it gives up. The first
refusals may be over the client's own ID: the server may not have noticed yet that its connection
is lost."""

_TOKENS: Final = WaitTokens(client=True, clock=time.time_ns, entropy=token_bytes)
"""One for the process, so that no two asks have one token (AR-5)."""


class _Socket(InPieces, ClientConnection):
    """A connection of ``websockets``, given a few bytes at a time."""

    def __init__(self, limits: Limits, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.limits = limits

    @property
    def parser(self) -> Protocol:
        """See ``InPieces``."""
        return self.protocol


@dataclass(frozen=True, slots=True)
class Reconnect:
    """How a lost connection is opened again.

    Attributes:
        first_delay: seconds before the first try.
        factor: how much longer each further try waits.
        max_delay: seconds that a try waits at most.
        tries: the number of tries; ``None`` is unlimited.
        probe: whether to send a HEAD request first, to see that there is a server (TR-5).
        jitter: the random part of the delay, so that the clients of a restarted server do not
            all reconnect in the same second.
        steady: seconds that a connection must last before the delays begin with the first one
            again. A server may accept every client and drop it at once.
    """

    first_delay: float = 0.5
    factor: float = 2.0
    max_delay: float = 30.0
    tries: int | None = None
    probe: bool = True
    jitter: float = 0.5
    steady: float = 10.0

    def delay(self, number: int) -> float:
        """Return the seconds to wait before a try, counted from 1."""
        longest = min(self.max_delay, self.first_delay * self.factor ** min(number - 1, 64))
        return longest * (1 - self.jitter * random.random())  # noqa: S311  # no secret


@dataclass(eq=False, repr=False)
class Client:
    """A connection to a server, which may be reconnected; ``dial`` makes one.

    Attributes:
        connection: the connection; the same object before and after a reconnection.
    """

    url: str
    parts: InitVar[Iterable[Part]]
    dependencies: InitVar[Iterable[object]]
    headers: Mapping[str, str]
    timeout: float | None
    tls: ssl.SSLContext | None
    reconnect: Reconnect | None
    on_reconnect: Callable[[Client], Awaitable[None] | None] | None
    on_close: Callable[[Client, Cause], Awaitable[None] | None] | None
    limits: Limits
    connection: Connection = field(init=False)
    _dispatcher: Dispatcher = field(init=False)
    _to_restore: dict[str, set[str]] = field(default_factory=dict, init=False)
    _is_leaving: bool = field(default=False, init=False)
    _was_open: bool = field(default=False, init=False)
    _opened_at: float | None = field(default=None, init=False)
    _unsteady: int = field(default=0, init=False)
    _reader: asyncio.Task[None] | None = field(default=None, init=False)
    _reconnecting: asyncio.Task[None] | None = field(default=None, init=False)
    _ending: asyncio.Task[None] | None = field(default=None, init=False)
    _ended: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    def __post_init__(self, parts: Iterable[Part], dependencies: Iterable[object]) -> None:
        self._dispatcher = Dispatcher(
            application_of(parts, Dependencies((*dependencies, self), CLIENT_SCOPES)),
            self.limits,
            broadcast=_no_broadcast,
            observe=self._observe,
        )
        self.connection = Connection(self._session(), self.limits, self._dispatcher)

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def id(self) -> str:
        """The connection's ID, chosen by the server; a new one after a reconnection."""
        return self.connection.id

    @property
    def is_open(self) -> bool:
        """Whether events can be sent."""
        return self.connection.is_open

    async def connect(
        self, namespace: str, *, timeout: float | None = DEFAULT_TIMEOUT
    ) -> Namespace:
        """Connect a namespace; see ``Connection.connect``."""
        return await self.connection.connect(namespace, timeout=timeout)

    def send_native(self, payload: str | bytes) -> None:
        """Send a native message; see ``Connection.send_native``."""
        self.connection.send_native(payload)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection, and do not open it again.

        Returns once the connection and its handlers have ended, which get ``Limits.close``
        seconds; called from within a handler, at once.
        """
        self._is_leaving = True
        reconnecting, self._reconnecting = self._reconnecting, None
        if reconnecting is not None:
            reconnecting.cancel()
        self.connection.close(code, reason)
        if reconnecting is not None:
            await asyncio.wait([reconnecting])
            self._finish(Cause.LOCAL)
        if self.connection.is_in_handler or self._ending is asyncio.current_task():
            return
        try:
            async with asyncio.timeout(2 * self.limits.close):
                await self.wait_closed()
        except TimeoutError:
            self.connection.link.abort()
            await self.connection.drain_handlers(0)
            await self.wait_closed()

    async def wait_closed(self) -> None:
        """Wait until the connection has ended and will not be opened again."""
        await self._ended.wait()

    # ------------------------------------------------------------ dialling

    async def dial(self, tries: int = 0) -> None:
        """Open the connection; ``tries`` above zero makes it a reconnection (TR-9).

        Raises:
            DialError: see the function ``dial``.
        """
        try:
            async with asyncio.timeout(self.timeout) as limit:
                await self._handshake(await self._upgrade(tries))
        except TimeoutError as error:
            self.connection.link.abort()
            if not limit.expired():  # the system's own
                raise DialError(f"no connection to {_named(self.url)}: {error}") from error
            text = f"did not complete upgrade and handshake within {self.timeout:g} s"
            raise DialError(f"{_named(self.url)} {text}") from None
        except RefusedError:
            raise  # the link sends a close frame, which ends it (TR-12)
        except BaseException:
            self.connection.link.abort()
            raise

    async def _upgrade(self, tries: int) -> ClientConnection:
        headers = dict(self.headers)
        if tries:
            headers[RECONNECT_HEADER] = str(tries)
        # For wss, no argument is the default, and `None` an error.
        tls: dict[str, Any] = {} if self.tls is None else {"ssl": self.tls}
        try:
            return await connect(
                self.url,
                additional_headers=headers,
                **tls,
                proxy=None if _is_loopback(self.url) else True,
                compression=None,  # frames are small, and its windows are not
                open_timeout=None,  # see `dial`
                ping_interval=None,  # see `_beat`
                close_timeout=self.limits.close,
                max_size=self.limits.session.payload,
                max_queue=QUEUED,
                user_agent_header=None,
                create_connection=partial(_Socket, self.limits),  # type: ignore[arg-type]
            )
        except InvalidStatus as error:
            status = error.response.status_code
            raise DialError(
                f"{_named(self.url)} answered {status} instead of an upgrade", status
            ) from error
        except TimeoutError:
            raise
        except (InvalidHandshake, OSError, EOFError) as error:
            raise DialError(f"no connection to {_named(self.url)}: {error}") from error
        except (InvalidURI, ValueError) as error:  # some TLS errors are both, and are above
            text = getattr(error, "msg", error)  # without the URL
            if isinstance(error.__context__, InvalidStatus):
                status = error.__context__.response.status_code
                where = f"{_named(self.url)} redirects to what is not a WebSocket URL"
                raise DialError(f"{where}: {text}", status) from None
            raise DialError(f"{_named(self.url)!r} is not a WebSocket URL: {text}") from None

    async def _handshake(self, socket: ClientConnection) -> None:
        link = self.connection.link
        link.opened = asyncio.get_running_loop().create_future()
        transport = PumpedTransport(
            socket.send, socket.close, link, self.limits.high_water, socket.transport.abort
        )
        if not link.session.is_open:
            link.session.start()
        self.connection.start(transport)
        link.flush()
        self._reader = asyncio.create_task(self._read(socket, transport), name="neffos receive")
        if link.session.is_open:  # native-only
            self._was_open = True
            return
        try:
            await link.opened
        except ReplyError as error:
            raise RefusedError(error.text) from None
        except LostError as error:
            raise DialError(f"{_named(self.url)}: {error}") from None

    async def _read(self, socket: ClientConnection, transport: PumpedTransport) -> None:
        link = self.connection.link
        code, reason = None, ""
        beating = asyncio.create_task(self._beat(socket, transport), name="neffos heartbeat")
        try:
            while True:
                payload = await socket.recv()
                await transport.readable()
                link.receive(payload)
                link.flush()
        except ConnectionClosed as end:
            if end.rcvd is not None:
                code, reason = end.rcvd.code, end.rcvd.reason
        finally:
            beating.cancel()  # the next connection may have one already
            transport.end()
            link.lost(code, reason)

    async def _beat(self, socket: ClientConnection, transport: PumpedTransport) -> None:
        """Detect a lost server by pings; without reading, a missing pong proves nothing."""
        link, seconds = self.connection.link, self.limits.heartbeat
        if seconds is None:
            return
        clock, arrived = asyncio.get_running_loop().time, 0
        with suppress(ConnectionClosed):
            while True:
                await asyncio.sleep(seconds)
                unsent = link.backlog + socket.transport.get_write_buffer_size()
                try:
                    async with asyncio.timeout(self.limits.heartbeat_timeout) as limit:
                        pong = await socket.ping()  # which waits for room to be sent
                        sent = transport.sent
                        limit.reschedule(clock() + pong_time(self.limits, sent - arrived))
                        await pong
                        arrived = sent
                except TimeoutError:
                    wait = clock() - link.resumed_at
                    is_behind = link.is_held or wait < self.limits.heartbeat_timeout
                    reads = link.backlog + socket.transport.get_write_buffer_size() < unsent
                    if not (is_behind or reads or link.is_stalled):
                        log.debug("%s is lost: it answered no ping", _named(self.url))
                        socket.transport.abort()
                        return

    def _session(self) -> Session:
        application = self._dispatcher.application
        return Session(
            Role.CLIENT,
            tokens=_TOKENS,
            namespaces=application.events or None,
            decides=frozenset({Change.CONNECT, Change.JOIN}),
            native=application.native,
            limits=self.limits.session,
        )

    # ------------------------------------------------------------ what the connection reports

    def _observe(self, _: Connection, event: Changed | Closed) -> None:
        """Remember what to restore: memberships that end with the connection, and no others."""
        if isinstance(event, Closed):
            self._closed(event.cause)
            return
        rooms = self._to_restore.setdefault(event.namespace, set())
        is_lost = event.cause is Cause.FORCED
        if event.change is Change.JOIN:
            rooms.add(event.room)
        elif event.change is Change.LEAVE and not is_lost:
            rooms.discard(event.room)
        elif event.change is Change.DISCONNECT and not is_lost:
            del self._to_restore[event.namespace]

    def _closed(self, cause: Cause) -> None:
        if self._reconnecting is not None:
            return
        self._was_open = self._was_open or bool(self.connection.id)
        may_return = self.reconnect is not None and not self._is_leaving and self._was_open
        if may_return and not self.connection.is_closed_here:  # its own deadlines close it as well
            self._reconnecting = asyncio.create_task(self._return(cause), name="neffos reconnect")
        else:
            self._finish(cause)

    def _finish(self, cause: Cause) -> None:
        if self._ending is None:
            self._ending = asyncio.create_task(self._end(cause), name="neffos end")

    async def _end(self, cause: Cause) -> None:
        link = self.connection.link
        try:
            if link.is_attached:
                await link.wait_lost()
            await self.connection.drain_handlers(self.limits.close)
            if self.on_close is not None and self._was_open:
                limit = asyncio.timeout(self.limits.grace)
                await _call("on_close", limit, self.on_close, self, cause)
        finally:
            self._ended.set()

    # ------------------------------------------------------------ reconnecting

    async def _return(self, cause: Cause) -> None:
        """Open the connection again, and report that, or the end."""
        is_back = await self._redial()
        if is_back:
            await self._restore()
        self._reconnecting = None
        if not is_back:
            self._finish(cause)
        elif not self.is_open:  # it was lost again meanwhile
            self._closed(cause)
        elif self.on_reconnect is not None:
            limit = asyncio.timeout(None)
            ending = asyncio.create_task(self._limit(limit))
            try:
                await _call("on_reconnect", limit, self.on_reconnect, self)
            finally:
                ending.cancel()

    async def _limit(self, limit: asyncio.Timeout) -> None:
        """Let a hook end with its connection, after the grace."""
        await self.connection.link.wait_lost()
        if self.limits.grace is not None:
            limit.reschedule(asyncio.get_running_loop().time() + self.limits.grace)

    async def _redial(self) -> bool:
        """Dial as often as the policy allows; return whether that succeeded."""
        policy = self.reconnect or Reconnect()
        clock = asyncio.get_running_loop().time
        if self._opened_at is not None:  # the lost connection was a reconnection
            is_steady = clock() - self._opened_at >= policy.steady
            self._unsteady = 0 if is_steady else self._unsteady + 1
        number = refusals = 0
        while policy.tries is None or number < policy.tries:
            number += 1
            await asyncio.sleep(policy.delay(self._unsteady + number))
            try:
                # A proxy answers, server or not.
                if policy.probe and (_is_loopback(self.url) or not getproxies()):
                    await self._probe()
                self.connection.renew(self._session())
                await self.dial(number)
            except RefusedError as error:
                log.warning("%s refuses this client: %s", _named(self.url), logged(error.text))
                refusals += 1
                if refusals == REFUSALS:
                    return False
            except (DialError, OSError, EOFError) as error:
                refusals = 0
                text = "try %d to reach %s again: %s"
                log.info(text, number, _named(self.url), logged(error))
            else:
                self._opened_at = clock()
                return True
        return False

    async def _probe(self) -> None:
        """Check that an HTTP server answers, whatever its answer (TR-5).

        Raises:
            OSError: there is no server.
            EOFError: it ended without an answer.
        """
        url = urlsplit(self.url)
        is_secure = url.scheme == "wss"
        tls = (self.tls or ssl.create_default_context()) if is_secure else None
        async with asyncio.timeout(self.timeout):
            reader, writer = await asyncio.open_connection(
                url.hostname, url.port or (443 if is_secure else 80), ssl=tls
            )
            try:
                path = url.path or "/"
                host = url.netloc.rpartition("@")[2]
                head = f"HEAD {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"
                writer.write(head.encode())
                await reader.readexactly(len("HTTP/1.1 200"))
            finally:
                writer.transport.abort()

    async def _restore(self) -> None:
        """Connect the namespaces and join the rooms that were lost (TR-11)."""
        for name, rooms in {name: set(rooms) for name, rooms in self._to_restore.items()}.items():
            try:
                namespace = await self.connect(name)
            except Exception as error:  # a controller's factory may raise anything
                log.warning("namespace %s was not restored: %s", logged(name), logged(error))
                if isinstance(error, ReplyError):
                    self._to_restore.pop(name, None)
                continue
            for room in sorted(rooms):
                try:
                    await namespace.join(room)
                except (NeffosError, MisuseError) as error:
                    text = "room %s of %s was not restored: %s"
                    log.warning(text, logged(room), logged(name), logged(error))
                    if isinstance(error, ReplyError):
                        self._to_restore.get(name, set()).discard(room)


async def dial(
    url: str,
    *parts: Part,
    dependencies: Iterable[object] = (),
    headers: Mapping[str, str] | None = None,
    timeout: float | None = DIAL_TIMEOUT,
    tls: ssl.SSLContext | None = None,
    reconnect: Reconnect | None = None,
    on_reconnect: Callable[[Client], Awaitable[None] | None] | None = None,
    on_close: Callable[[Client, Cause], Awaitable[None] | None] | None = None,
    limits: Limits = DEFAULT,
) -> Client:
    """Open a connection to a neffos server.

    Args:
        url: ``ws://…`` or ``wss://…``.
        parts: handlers and controllers, as for ``Server``. A client without any offers every
            namespace, and handles nothing.
        dependencies: as for ``Server``.
        headers: more headers of the upgrade request.
        timeout: seconds until the handshake is complete; ``None`` waits indefinitely.
        tls: for ``wss``, instead of the system's own settings.
        reconnect: opens a lost connection again; by default that does not happen.
        on_reconnect: called when it is open again, its namespaces and rooms restored. A
            coroutine is cancelled ``Limits.grace`` seconds after that connection has ended.
        on_close: called when it has ended for good. A coroutine has ``Limits.grace`` seconds, and
            is then cancelled.
        limits: the bounds.

    Raises:
        RefusedError: the server's application refused this client.
        DialError: there was no connection, no upgrade, or no handshake in time.
    """
    client = Client(
        url,
        parts,
        dependencies,
        headers or {},
        timeout,
        tls,
        reconnect,
        on_reconnect,
        on_close,
        limits,
    )
    try:
        await client.dial()
    except BaseException:
        client._is_leaving = True
        raise
    return client


def _named(url: str) -> str:
    """Give a URL for logs and errors, without the parts of it that are often secrets.

    These are user, password, query and fragment.
    """
    scheme, mark, rest = url.partition("#")[0].partition("?")[0].partition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}{mark}{authority.rpartition('@')[2]}{slash}{path}"


def _is_loopback(url: str) -> bool:
    """Whether a URL names this machine, which no proxy reaches."""
    host = ""
    try:
        host = urlsplit(url).hostname or ""
        return ip_address(host).is_loopback
    except ValueError:  # a name, or no URL
        return host == "localhost" or host.endswith(".localhost")


async def _call(
    name: str,
    limit: asyncio.Timeout,
    hook: Callable[..., Awaitable[None] | None],
    *arguments: Any,
) -> None:
    """Call a hook, and log its error, or that it took too long."""
    try:
        async with limit:
            given = hook(*arguments)
            if given is not None:
                await given
    except Exception as error:
        log.error("the hook %s failed", name, exc_info=harmless(error))


def _no_broadcast(*_: Any) -> NoReturn:
    raise MisuseError("a client has nobody to broadcast to", "emit an event, and let the server")
