"""A WebSocket relay that records the messages between a client and a server, and changes none.

Each message is recorded when it arrives and then passed on, text that is not UTF-8 included. So
is the end of a connection, with its close code or without. A slow peer slows the other down, as
the messages in between are bounded.
"""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from websockets.http11 import Request

from neffos_conformance.wire.connection import (
    ConnectError,
    ConnectionClosed,
    Incoming,
    WireConnection,
)
from neffos_conformance.wire.transcript import KEPT_HEADERS, ConnectionOpened, Content

PROBE_DEADLINE: Final = 10.0
"""Seconds for the server to answer a request that is not an upgrade."""

NO_SERVER: Final = 502
"""The status for a client whose server cannot be reached."""

CLOSE_DEADLINE: Final = 5.0
"""Seconds for a peer to close the connection after the other; then it is reset."""

NEVER_SENT: Final = frozenset({1005, 1006, 1015})
"""Close codes that mean that there is none (RFC 6455, 7.4.1)."""

_OWN: Final = frozenset({"host", "connection", "upgrade"})
"""Headers that belong to one hop; so do those that begin with ``Sec-WebSocket-``."""

Record = Callable[[int, bool, Content], None]
"""Called with the number of the connection, whether the client did it, and what happened."""


@dataclass(frozen=True, slots=True)
class Relay:
    """A running relay.

    Attributes:
        url: the URL for clients.
        failed: set to the error if recording failed; then nothing is passed on any more.
    """

    url: str
    failed: asyncio.Future[None]
    _tasks: set[asyncio.Task[None]]

    async def idle(self) -> None:
        """Wait until every connection has ended, up to a bound."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_DEADLINE):
                while self._tasks:
                    await asyncio.wait(self._tasks)


@asynccontextmanager
async def relaying(
    server: str, record: Record, *, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[Relay]:
    """Relay between clients and a server until the block is left.

    Args:
        server: the URL of the server; the path and query of each client's request are appended
            to its own path.
        record: called for each opening, message and end, in order.
        host: the address to listen on.
        port: the port; 0 takes a free one.

    Raises:
        OSError: the address is in use or invalid.
        ValueError: the server's URL is invalid.
    """
    if urlsplit(server).scheme not in ("ws", "wss"):
        raise ValueError(f"{server!r} is not a WebSocket URL (ws://… or wss://…)")
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    tasks: set[asyncio.Task[None]] = set()
    numbers = count(1)

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        try:
            incoming = await WireConnection.incoming(reader, writer, is_patient=True)
            if incoming is not None:
                await _serve(incoming, server, record, numbers)
        except asyncio.CancelledError:
            writer.transport.abort()
        except OSError as error:  # nothing unrecorded is passed on
            writer.transport.abort()
            if not failed.done():
                failed.set_exception(error)

    listener = await asyncio.start_server(client, host, port)
    bound = listener.sockets[0].getsockname()
    try:
        yield Relay(f"ws://{bound[0]}:{bound[1]}", failed, tasks)
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if failed.done():
            failed.exception()


def below(server: str, target: str) -> str:
    """Give the URL of a client's request at the server: its path and query after the server's."""
    scheme, netloc, path, query, _ = urlsplit(server)
    wanted, _, more = target.partition("?")
    joined = path.rstrip("/") + wanted if wanted.strip("/") else path or "/"
    return urlunsplit((scheme, netloc, joined, "&".join(filter(None, (query, more))), ""))


async def _serve(incoming: Incoming, server: str, record: Record, numbers: Iterator[int]) -> None:
    request = incoming.request
    url = below(server, request.path)
    if request.method != "GET":
        status, headers = await asyncio.to_thread(_answer, request, url)
        await incoming.refuse(status, headers)
        return
    try:
        upstream = await WireConnection.dial(url, _passed_on(request, url), is_patient=True)
    except ConnectError as error:
        await incoming.refuse(error.status or NO_SERVER)
        return
    client = incoming.accept()
    if client is None:
        await upstream.close()
        await incoming.close()
        return
    connection = next(numbers)
    record(connection, True, _opening(request))
    await _carry(client, upstream, partial(record, connection))


async def _carry(
    client: WireConnection, server: WireConnection, record: Callable[[bool, Content], None]
) -> None:
    """Pass messages on both ways until one peer has ended, then end the other likewise."""
    has_ended = False

    async def carry(
        source: WireConnection, target: WireConnection, is_client: bool
    ) -> ConnectionClosed:
        nonlocal has_ended
        while True:
            content = await source.receive()
            if isinstance(content, ConnectionClosed):
                if not has_ended:  # the relay itself ends the other one
                    has_ended = True
                    record(is_client, content)
                return content
            record(is_client, content)
            await target.send(content)

    to_server = asyncio.create_task(carry(client, server, True))
    to_client = asyncio.create_task(carry(server, client, False))
    others = {to_server: server, to_client: client}
    try:
        done, left = await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            await _end(others[task], task.result())
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_DEADLINE):
                for task in left:
                    await task
    finally:
        try:
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            for peer in (client, server):
                await peer.close()
        finally:  # even if this is cancelled meanwhile, release both sockets
            for peer in (client, server):
                peer.abort()


async def _end(other: WireConnection, end: ConnectionClosed) -> None:
    """End the connection to the other peer as the first one ended."""
    if end.code is None:
        other.abort()
    else:
        code = end.code if end.code not in NEVER_SENT else 1000
        await other.say_goodbye(code, end.reason)


def _opening(request: Request) -> ConnectionOpened:
    headers = {
        name: value
        for name, value in request.headers.raw_items()
        if name.lower().startswith(KEPT_HEADERS)
    }
    return ConnectionOpened("" if request.path == "/" else request.path, headers)


def _passed_on(request: Request, url: str) -> Mapping[str, str]:
    """Give the client's headers, with the server's host as the origin of its own pages."""
    host = request.headers.get("Host", "")
    headers = {}
    for name, value in request.headers.raw_items():
        lower = name.lower()
        if lower in _OWN or lower.startswith("sec-websocket-"):
            continue
        is_own_page = lower == "origin" and _netloc(value) == host
        target = urlsplit(url)
        scheme = "https" if target.scheme == "wss" else "http"
        headers[name] = f"{scheme}://{target.netloc}" if is_own_page else value
    return headers


def _netloc(url: str) -> str:
    try:
        return urlsplit(url).netloc
    except ValueError:  # the server may reject it
        return ""


def _answer(request: Request, url: str) -> tuple[int, Mapping[str, str]]:
    """Give the server's answer to a request that is not an upgrade."""
    target = urlsplit(url)
    kind = http.client.HTTPSConnection if target.scheme == "wss" else http.client.HTTPConnection
    connection = kind(target.hostname or "", target.port, timeout=PROBE_DEADLINE)
    try:
        path = urlunsplit(("", "", target.path or "/", target.query, ""))
        connection.request(request.method, path, headers=dict(_passed_on(request, url)))
        answer = connection.getresponse()
        kept = {name: value for name, value in answer.getheaders() if name.lower() == "allow"}
        return answer.status, kept
    except (OSError, http.client.HTTPException):
        return NO_SERVER, {}
    finally:
        with suppress(OSError):
            connection.close()
