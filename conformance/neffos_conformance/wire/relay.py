"""A WebSocket relay that records what goes by, and changes nothing of it.

It stands between any client and any server. Each message is written down when it comes and then
passed on, text that is no UTF-8 included; ends are passed on as they came, with their close code
or without. A slow side slows the other down: what waits in between is bounded.
"""

from __future__ import annotations

import asyncio
import http.client
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
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
from neffos_conformance.wire.transport import close_like

PROBE_DEADLINE: Final = 10.0
"""Seconds for the server to answer a request that is no upgrade."""

NO_SERVER: Final = 502
"""The status for a client whose server cannot be reached."""

GOODBYE_DEADLINE: Final = 5.0
"""Seconds for a side to end once the other has; then it is cut off."""

_OWN: Final = frozenset({"host", "connection", "upgrade"})
"""Headers that belong to one hop; so do those that begin with ``Sec-WebSocket-``."""

Note = Callable[[int, bool, Content], None]
"""Told what happens: number of the connection, whether the client did it, and what."""


@dataclass(frozen=True, slots=True)
class Relay:
    """A running relay.

    Attributes:
        url: where clients find it.
        failed: set to what went wrong where noting failed; nothing is passed on any more then.
    """

    url: str
    failed: asyncio.Future[None]
    _tasks: set[asyncio.Task[None]]

    async def idle(self) -> None:
        """Wait until every connection has ended, for a while."""
        with suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_DEADLINE):
                while self._tasks:
                    await asyncio.wait(self._tasks)


@asynccontextmanager
async def relaying(
    server: str, note: Note, *, host: str = "127.0.0.1", port: int = 0
) -> AsyncIterator[Relay]:
    """Relay between clients and a server until the block is left.

    Args:
        server: the URL of the server; the path and query of each client's request are put
            behind its own path.
        note: told of each opening, message and end, in order.
        host: the address to listen on.
        port: the port; 0 takes a free one.

    Raises:
        OSError: the address is in use, or is none.
        ValueError: the server's URL is none.
    """
    if urlsplit(server).scheme not in ("ws", "wss"):
        raise ValueError(f"{server!r} is not a WebSocket URL (ws://… or wss://…)")
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    tasks: set[asyncio.Task[None]] = set()
    count = 0

    def number() -> int:
        nonlocal count
        count += 1
        return count

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        try:
            incoming = await WireConnection.incoming(reader, writer, is_patient=True)
            if incoming is not None:
                await _serve(incoming, server, note, number)
        except asyncio.CancelledError:
            writer.transport.abort()
        except OSError as error:  # what is not recorded is not passed on
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
    """Give the URL of a client's request at the server: its path and query behind the server's."""
    scheme, netloc, path, query, _ = urlsplit(server)
    wanted, _, more = target.partition("?")
    joined = path.rstrip("/") + wanted if wanted.strip("/") else path or "/"
    return urlunsplit((scheme, netloc, joined, "&".join(filter(None, (query, more))), ""))


async def _serve(incoming: Incoming, server: str, note: Note, number: Callable[[], int]) -> None:
    request = incoming.request
    url = below(server, request.path)
    if request.method != "GET":
        status, headers = await asyncio.to_thread(_ask, request, url)
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
    connection = number()
    note(connection, True, _opening(request))
    await _carry(client, upstream, lambda sent, what: note(connection, sent, what))


async def _carry(
    client: WireConnection, server: WireConnection, note: Callable[[bool, Content], None]
) -> None:
    """Carry messages both ways until one side has ended, then end the other likewise."""
    has_ended = False

    async def carry(
        source: WireConnection, target: WireConnection, is_client: bool
    ) -> ConnectionClosed:
        nonlocal has_ended
        while True:
            content = await source.receive()
            if isinstance(content, ConnectionClosed):
                if not has_ended:  # the other side's end is of the relay's making
                    has_ended = True
                    note(is_client, content)
                return content
            note(is_client, content)
            await target.send(content)

    to_server = asyncio.create_task(carry(client, server, True))
    to_client = asyncio.create_task(carry(server, client, False))
    others = {to_server: server, to_client: client}
    try:
        done, left = await asyncio.wait(others, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            await close_like(others[task], task.result())
        with suppress(TimeoutError):
            async with asyncio.timeout(GOODBYE_DEADLINE):
                for task in left:
                    await task
    finally:
        try:
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            for side in (client, server):
                await side.close()
        finally:  # where this is cancelled meanwhile, both sockets are let go of all the same
            for side in (client, server):
                side.abort()


def _opening(request: Request) -> ConnectionOpened:
    headers = {
        name: value
        for name, value in request.headers.raw_items()
        if name.lower().startswith(KEPT_HEADERS)
    }
    return ConnectionOpened("" if request.path == "/" else request.path, headers)


def _passed_on(request: Request, url: str) -> Mapping[str, str]:
    """Give the client's headers for the server, whose own host its pages seem to come from."""
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
    except ValueError:  # it is passed on as it is, and up to the server
        return ""


def _ask(request: Request, url: str) -> tuple[int, Mapping[str, str]]:
    """Ask the server what it answers to a request that is no upgrade."""
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
