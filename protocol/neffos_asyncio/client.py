"""A neffos client: dials, shakes hands, and dials again when a connection is lost.

WebSocket, TLS and proxies are the ``websockets`` library's; connection and handlers are the
same as a server's.
"""

from __future__ import annotations

import asyncio
import random
import ssl
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from secrets import token_bytes
from types import TracebackType
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit
from urllib.request import getproxies

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import (
    ConnectionClosed,
    InvalidHandshake,
    InvalidStatus,
    InvalidURI,
)

from neffos_asyncio.applications import joined
from neffos_asyncio.connection import DEFAULT_TIMEOUT, Connection, Namespace
from neffos_asyncio.controllers import CLIENT_SCOPES, Controller
from neffos_asyncio.dependencies import Dependencies
from neffos_asyncio.errors import (
    DialError,
    LostError,
    NeffosError,
    RefusedError,
    ReplyError,
)
from neffos_asyncio.handlers import Handlers
from neffos_asyncio.limits import DEFAULT, Limits
from neffos_asyncio.link import log
from neffos_asyncio.request import RECONNECT_HEADER
from neffos_asyncio.transport import PumpedTransport
from neffos_codec import WaitTokens
from neffos_protocol import Cause, Change, Changed, MisuseError, Role, Session

DIAL_TIMEOUT: Final = 30.0
"""Seconds for TCP, TLS, the upgrade and the handshake together, where the caller names none."""

REFUSALS: Final = 5
"""Times in a row that a server may refuse a client that comes back, before it is believed: the
first may be over the client's own id, whose lost connection the server still holds."""

_TOKENS: Final = WaitTokens(client=True, clock=time.time_ns, entropy=token_bytes)
"""One for the process, so that no two asks have one token (AR-5)."""


@dataclass(frozen=True, slots=True)
class Reconnect:
    """How a lost connection is opened again.

    Attributes:
        first: seconds before the first try.
        factor: how much longer each further try waits.
        most: seconds that a try waits at most.
        tries: how often it is tried before it is given up; ``None`` is for ever.
        probe: whether to see with a HEAD request that the server is there, before it is dialled
            (TR-5).
        spread: the share of the wait that is left to chance, so that the clients of a server
            that comes back do not all come at once.
    """

    first: float = 0.5
    factor: float = 2.0
    most: float = 30.0
    tries: int | None = None
    probe: bool = True
    spread: float = 0.5

    def wait(self, number: int) -> float:
        """Give the seconds to wait before a try, counted from 1."""
        longest = min(self.most, self.first * self.factor ** min(number - 1, 64))
        return longest * (1 - self.spread * random.random())  # noqa: S311  # no secret


class Client:
    """A connection to a server that survives its transport; ``dial`` makes one.

    Attributes:
        connection: the connection; the same object before and after a reconnection.
    """

    def __init__(
        self,
        url: str,
        parts: Iterable[Handlers | Controller | type],
        *,
        dependencies: Iterable[object],
        headers: Mapping[str, str],
        timeout: float | None,
        tls: ssl.SSLContext | None,
        reconnect: Reconnect | None,
        on_reconnect: Callable[[Client], Awaitable[None] | None] | None,
        on_close: Callable[[Client, Cause], Awaitable[None] | None] | None,
        limits: Limits,
    ) -> None:
        self._url = url
        self._application = joined(parts, Dependencies((*dependencies, self), CLIENT_SCOPES))
        self._headers = dict(headers)
        self._timeout = timeout
        self._tls = tls
        self._reconnect = reconnect
        self._on_reconnect = on_reconnect
        self._on_close = on_close
        self._limits = limits
        self._wanted: dict[str, set[str]] = {}
        self._is_leaving = False
        self._reader: asyncio.Task[None] | None = None
        self._heart: asyncio.Task[None] | None = None
        self._was_open = False
        self._again: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()
        self.connection = Connection(
            self._session(),
            self._application,
            limits,
            broadcast=_no_broadcast,
            on_gone=self._closed,
            on_change=self._changed,
        )

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    @property
    def id(self) -> str:
        """The connection's id, chosen by the server; another one after a reconnection."""
        return self.connection.id

    @property
    def is_open(self) -> bool:
        """Whether events can flow."""
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
        """End the connection, and do not open it again.

        Returns once it has ended and its handlers have, which get ``Limits.close`` seconds for
        that; called from within a handler, at once.
        """
        self._is_leaving = True
        again, self._again = self._again, None
        if again is not None:
            again.cancel()
        self.connection.close(code, reason)
        if again is not None:
            await asyncio.wait([again])
            self._finish(Cause.LOCAL)
        if self.connection.is_in_handler or self._ending is asyncio.current_task():
            return
        try:
            async with asyncio.timeout(2 * self._limits.close):
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
            async with asyncio.timeout(self._timeout) as limit:
                socket = await self._upgrade(tries)
                await self._shake_hands(socket)
        except TimeoutError as error:
            self.connection.link.abort()
            if not limit.expired():  # the system's own
                raise DialError(f"no connection to {self._url}: {error}") from error
            raise DialError(
                f"{self._url} did not complete upgrade and handshake within {self._timeout:g} s"
            ) from None
        except RefusedError:
            raise  # the link says goodbye, which ends it (TR-12)
        except BaseException:
            self.connection.link.abort()
            raise

    async def _upgrade(self, tries: int) -> ClientConnection:
        headers = dict(self._headers)
        if tries:
            headers[RECONNECT_HEADER] = str(tries)
        limits = self._limits
        # For wss, none is the default, and `None` an error.
        tls: dict[str, Any] = {} if self._tls is None else {"ssl": self._tls}
        try:
            return await connect(
                self._url,
                additional_headers=headers,
                **tls,
                compression=None,  # frames are small, and its windows are not
                open_timeout=None,  # the caller's deadline is above
                ping_interval=None,  # see _beat
                close_timeout=limits.close,
                max_size=limits.session.payload,
                user_agent_header=None,
            )
        except InvalidStatus as error:
            status = error.response.status_code
            raise DialError(
                f"{self._url} answered {status} in place of an upgrade", status
            ) from error
        except (InvalidHandshake, OSError, EOFError) as error:
            if isinstance(error, TimeoutError):
                raise
            raise DialError(f"no connection to {self._url}: {error}") from error
        except (InvalidURI, ValueError) as error:  # some TLS errors are both, and are above
            raise DialError(f"{self._url!r} is no WebSocket URL: {error}") from error

    async def _shake_hands(self, socket: ClientConnection) -> None:
        link = self.connection.link
        link.opened = asyncio.get_running_loop().create_future()
        transport = PumpedTransport(
            socket.send,
            socket.close,
            link,
            self._limits.high_water,
            socket.transport.abort,
        )
        if not link.session.is_open:
            link.session.start()
        self.connection.start(transport, spent=0)
        link.flush()
        self._reader = asyncio.create_task(self._read(socket, transport), name="neffos receive")
        if self._limits.heartbeat is not None:
            self._heart = asyncio.create_task(
                self._beat(socket, self._limits.heartbeat), name="neffos heartbeat"
            )
        if link.session.is_open:  # native-only
            self._was_open = True
            return
        try:
            await link.opened
        except ReplyError as error:
            raise RefusedError(error.text) from None
        except LostError as error:
            raise DialError(f"{self._url}: {error}") from None

    async def _read(self, socket: ClientConnection, transport: PumpedTransport) -> None:
        link = self.connection.link
        code, reason = None, ""
        try:
            while True:
                await transport.readable()
                link.receive(await socket.recv())
                link.flush()
        except ConnectionClosed as end:
            if end.rcvd is not None:
                code, reason = end.rcvd.code, end.rcvd.reason
        finally:
            if self._heart is not None:
                self._heart.cancel()
            link.lost(code, reason)

    async def _beat(self, socket: ClientConnection, seconds: float) -> None:
        """Find out by pings that the server is gone; where nothing is read, nothing is proved."""
        link = self.connection.link
        with suppress(ConnectionClosed):
            while True:
                await asyncio.sleep(seconds)
                answer = await socket.ping()
                try:
                    async with asyncio.timeout(self._limits.heartbeat_answer):
                        await answer
                except TimeoutError:
                    if not link.is_held and not link.is_stalled:
                        log.debug("%s is gone: it answered no ping", self._url)
                        socket.transport.abort()
                        return

    def _session(self) -> Session:
        events = self._application.events
        return Session(
            Role.CLIENT,
            tokens=_TOKENS,
            namespaces=events or None,
            decides=frozenset({Change.CONNECT, Change.JOIN}),
            native=self._application.native,
            limits=self._limits.session,
        )

    # ------------------------------------------------------------ what the connection tells

    def _changed(self, _: Connection, event: Changed) -> None:
        """Remember what is to be restored: what was lost with the connection, and no more."""
        rooms = self._wanted.setdefault(event.namespace, set())
        is_lost = event.cause is Cause.FORCED
        if event.change is Change.JOIN:
            rooms.add(event.room)
        elif event.change is Change.LEAVE and not is_lost:
            rooms.discard(event.room)
        elif event.change is Change.DISCONNECT and not is_lost:
            del self._wanted[event.namespace]

    def _closed(self, _: Connection, cause: Cause) -> None:
        if self._again is not None:
            return  # it is being tried already
        self._was_open = self._was_open or bool(self.connection.id)
        may_return = self._reconnect is not None and not self._is_leaving and self._was_open
        if may_return and not self.connection.is_left:  # its own deadlines end it as well
            self._again = asyncio.create_task(self._return(cause), name="neffos reconnect")
        else:
            self._finish(cause)

    def _finish(self, cause: Cause) -> None:
        if self._ending is None:
            self._ending = asyncio.create_task(self._end(cause), name="neffos end")

    async def _end(self, cause: Cause) -> None:
        try:
            link = self.connection.link
            if link.is_attached:
                await link.wait_lost()
            await self.connection.drain_handlers(self._limits.close)
            if self._on_close is not None and self._was_open:
                given = self._on_close(self, cause)
                if given is not None:
                    await given
        except Exception:
            log.exception("what was to be done at the end of a connection failed")
        finally:
            self._ended.set()

    # ------------------------------------------------------------ coming back

    async def _return(self, cause: Cause) -> None:
        """Open the connection again, and tell of it, or of the end."""
        is_back = await self._dial_again()
        if is_back:
            await self._restore()
        self._again = None
        if not is_back:
            self._finish(cause)
        elif not self.is_open:  # it was lost again meanwhile
            self._closed(self.connection, cause)
        elif self._on_reconnect is not None:
            try:
                given = self._on_reconnect(self)
                if given is not None:
                    await given
            except Exception:
                log.exception("what was to be done after a reconnection failed")

    async def _dial_again(self) -> bool:
        """Dial as often as it takes or is allowed; tell whether that helped."""
        policy = self._reconnect or Reconnect()
        number = refusals = 0
        while policy.tries is None or number < policy.tries:
            number += 1
            await asyncio.sleep(policy.wait(number))
            try:
                if policy.probe and not getproxies():
                    await self._probe()
                self.connection.renew(self._session())
                await self.dial(number)
            except RefusedError as error:
                log.warning("%s does not take this client back: %s", self._url, error.text)
                refusals += 1
                if refusals == REFUSALS:
                    return False
            except (DialError, OSError, EOFError) as error:
                refusals = 0
                log.info("try %d to reach %s again: %s", number, self._url, error)
            else:
                return True
        return False

    async def _probe(self) -> None:
        """See that an HTTP server answers, whatever it answers (TR-5).

        Behind a proxy there is nothing to be seen this way, and none is made.

        Raises:
            OSError: none does.
            EOFError: it ended without an answer.
        """
        url = urlsplit(self._url)
        is_secure = url.scheme == "wss"
        tls = (self._tls or ssl.create_default_context()) if is_secure else None
        async with asyncio.timeout(self._timeout):
            reader, writer = await asyncio.open_connection(
                url.hostname, url.port or (443 if is_secure else 80), ssl=tls
            )
            try:
                path = url.path or "/"
                head = f"HEAD {path} HTTP/1.1\r\nHost: {url.netloc}\r\nConnection: close\r\n\r\n"
                writer.write(head.encode())
                await reader.readexactly(len("HTTP/1.1 200"))
            finally:
                writer.transport.abort()

    async def _restore(self) -> None:
        """Connect the namespaces and join the rooms that were lost (TR-11)."""
        wanted = {name: set(rooms) for name, rooms in self._wanted.items()}
        for name, rooms in wanted.items():
            try:
                namespace = await self.connect(name)
            except Exception as error:  # a controller's factory may raise anything
                log.warning("namespace %r was not restored: %s", name, error)
                if isinstance(error, ReplyError):
                    self._wanted.pop(name, None)
                continue
            for room in sorted(rooms):
                try:
                    await namespace.join(room)
                except (NeffosError, MisuseError) as error:
                    log.warning("room %r of %r was not restored: %s", room, name, error)
                    if isinstance(error, ReplyError):
                        self._wanted.get(name, set()).discard(room)


async def dial(
    url: str,
    *parts: Handlers | Controller | type,
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
        parts: handlers and controllers, as for ``Server``; a client with none offers every
            namespace, and handles nothing.
        dependencies: as for ``Server``.
        headers: further headers of the upgrade request.
        timeout: seconds until the handshake is complete; ``None`` waits for ever.
        tls: for ``wss``, where the system's own settings will not do.
        reconnect: opens the connection again when it is lost; by default it is not.
        on_reconnect: called when it is open again, its namespaces and rooms restored.
        on_close: called when it has ended for good.
        limits: the bounds.

    Raises:
        RefusedError: the server's application did not let this client in.
        DialError: there was no connection, no upgrade, or no handshake in time.
    """
    client = Client(
        url,
        parts,
        dependencies=dependencies,
        headers=headers or {},
        timeout=timeout,
        tls=tls,
        reconnect=reconnect,
        on_reconnect=on_reconnect,
        on_close=on_close,
        limits=limits,
    )
    try:
        await client.dial()
    except BaseException:
        client._is_leaving = True
        raise
    return client


def _no_broadcast(*_: Any, **__: Any) -> NoReturn:
    raise MisuseError("a client has nobody to broadcast to", "emit an event, and let the server")
