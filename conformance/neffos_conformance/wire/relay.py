"""A WebSocket relay that records every message, and changes none.

It connects any client with any server. It passes on requests and responses with their headers,
cookies, subprotocols and status lines. It records each message and then forwards it, text that is
not UTF-8 included. It closes each connection as the other was closed, with the close code or
without. A slow peer slows the other down: the buffers in between are bounded.

What it does not pass on: compression and fragments, since it forwards whole messages, and messages
of more than ``MAX_MESSAGE`` bytes. It ends such a connection itself, and the recording says so.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from http import HTTPStatus
from itertools import count
from typing import Final
from urllib.parse import urlsplit

from websockets.datastructures import Headers
from websockets.frames import CloseCode
from websockets.http11 import Request

from neffos_conformance.wire.connection import (
    SUBPROTOCOL,
    ConnectError,
    ConnectionClosed,
    WireConnection,
)
from neffos_conformance.wire.http import Answer, NoAnswerError, ask
from neffos_conformance.wire.reach import Target, check_web_socket, netloc, replaced
from neffos_conformance.wire.secrets import kept
from neffos_conformance.wire.transcript import ConnectionOpened, Content
from neffos_conformance.wire.transport import close_like
from neffos_conformance.wire.waiting import cancel

RESPONSE_DEADLINE: Final = 30.0
"""Seconds for the server to respond to a request: as many as the reference client waits."""

MAX_BODY: Final = 1 << 20
"""Bytes of the body of a response that is not an upgrade: as many as ``websockets`` reads."""

NO_SERVER: Final = 502
"""The status for a client if the server cannot be reached, or does not respond."""

CLOSE_DEADLINE: Final = 5.0
"""Seconds for a peer to close after the other has; then it is cut off."""

_HOP: Final = frozenset(
    {
        "connection",
        "content-length",
        "host",
        "keep-alive",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
"""Headers that belong to one hop; so do those that ``Connection`` names, and all that begin with
``Sec-WebSocket-``, but for the subprotocols."""

MAX_REASON: Final = 120
"""Bytes of the reason of a close frame that the relay itself sends; RFC 6455 allows 123."""

Record = Callable[[int, bool, Content], object]
"""Called with each event: number of the connection, whether the client did it, and what. What it
returns is ignored."""

Notice = Callable[[str], None]
"""Called with a sentence on each client that gets no connection, and on each connection that the
relay itself ends."""


@dataclass(frozen=True, slots=True)
class Relay:
    """A running relay.

    Attributes:
        url: where clients connect.
        failed: set to the error if logging failed; nothing is forwarded any more then.
    """

    url: str
    failed: asyncio.Future[None]
    _tasks: set[asyncio.Task[None]]

    async def idle(self) -> None:
        """Wait until every connection has ended, for a while."""
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_DEADLINE):
                while self._tasks:
                    await asyncio.wait(self._tasks)


@asynccontextmanager
async def relaying(
    server: Target | str,
    record: Record,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    tls: ssl.SSLContext | None = None,
    notice: Notice = lambda _: None,
    numbers: Iterator[int] | None = None,
) -> AsyncIterator[Relay]:
    """Relay between clients and a server until the block is left.

    Args:
        server: the server, or its URL; the path and query of each client's request are
            appended to its own.
        record: called with each opening, message and closing, in order.
        host: the address to listen on.
        port: the port; 0 for a free one.
        tls: what clients are served with, if they use ``wss``.
        notice: called with what the relay itself did, in a sentence.
        numbers: of the connections, from 1 unless given; several relays may share them.

    Raises:
        OSError: the address is in use, or not valid.
        ValueError: the server's URL is not one of a WebSocket.
    """
    target = Target.of(server)
    check_web_socket(target.url)
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    tasks: set[asyncio.Task[None]] = set()
    number = count(1) if numbers is None else numbers

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        try:
            incoming = await WireConnection.incoming(reader, writer, is_patient=True)
            if incoming is not None:
                await _serve(incoming, target, record, notice, number)
        except asyncio.CancelledError:
            writer.transport.abort()
        except OSError as error:  # a message that is not recorded is not forwarded
            writer.transport.abort()
            if not failed.done():
                failed.set_exception(error)

    listener = await asyncio.start_server(client, host, port, ssl=tls)
    own = netloc(listener)
    try:
        yield Relay(f"{'wss' if tls else 'ws'}://{own}", failed, tasks)
    finally:
        listener.close()
        await cancel(tasks)
        if failed.done():
            failed.exception()


async def _serve(
    incoming: WireConnection,
    server: Target,
    record: Record,
    notice: Notice,
    number: Iterator[int],
) -> None:
    request = incoming.request
    target = server.below(request.path)
    if request.method != "GET" or "websocket" not in request.headers.get("Upgrade", "").lower():
        try:
            async with _responding(target):
                answer = await _probe(request, target)
        except (ConnectError, NoAnswerError) as error:
            notice(f"a request was not answered: {error}")
            await incoming.refuse(NO_SERVER, body=f"{error}\n".encode())
        else:
            passed = _end_to_end(Headers(answer.headers))
            await incoming.refuse(answer.status, passed, reason=answer.reason, body=answer.body)
        return
    try:
        async with _responding(target):
            sent = _forwarded(request, target)
            upstream = await WireConnection.dial(target, sent, is_patient=True)
    except ConnectError as error:
        notice(f"a client was refused: {error}")
        response = error.response
        if response is None or response.status_code < HTTPStatus.OK:
            await incoming.refuse(NO_SERVER, body=f"{error}\n".encode())
        else:
            await incoming.refuse(
                response.status_code,
                _end_to_end(response.headers),
                reason=response.reason_phrase,
                body=bytes(response.body),
            )
        return
    try:
        await _relay(incoming, upstream, record, notice, number)
    finally:
        upstream.abort()  # also if nothing can be recorded


async def _relay(
    incoming: WireConnection,
    upstream: WireConnection,
    record: Record,
    notice: Notice,
    number: Iterator[int],
) -> None:
    """Accept a client, and relay between it and the server."""
    client = incoming.accept(_end_to_end(upstream.headers))
    if client is None:
        await upstream.close()
        await incoming.close()
        return
    connection = next(number)
    record(connection, True, _opening(incoming.request))

    def recorded(is_client: bool, content: Content) -> None:
        record(connection, is_client, content)
        if isinstance(content, ConnectionClosed) and content.cut:
            peer = "client" if is_client else "server"
            notice(f"the relay ended connection {connection} because of the {peer}: {content.cut}")

    await _carry(client, upstream, recorded)


async def _carry(
    client: WireConnection, server: WireConnection, record: Callable[[bool, Content], None]
) -> None:
    """Forward messages both ways until one peer closes, then close the other likewise."""
    has_ended = False

    async def carry(
        source: WireConnection, target: WireConnection, is_client: bool
    ) -> ConnectionClosed:
        nonlocal has_ended
        while True:
            content = await source.receive()
            if isinstance(content, ConnectionClosed):
                if not has_ended:  # the relay itself closes the other connection
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
            closed = task.result()
            if closed.cut:
                reason = f"the relay ended the connection: {closed.cut}"[:MAX_REASON]
                await others[task].send_close(CloseCode.INTERNAL_ERROR, reason)
            else:
                await close_like(others[task], closed)
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_DEADLINE):
                for task in left:
                    await task
    finally:
        try:
            await cancel(others)
            for side in (client, server):
                await side.close()
        finally:  # releases both sockets even if this task is cancelled
            for side in (client, server):
                side.abort()


def _opening(request: Request) -> ConnectionOpened:
    path = "" if request.path == "/" else request.path
    return ConnectionOpened(path, kept(request.headers.raw_items()))


def _end_to_end(headers: Headers) -> Headers:
    """Give the headers that are not those of one hop, repeated ones included."""
    named = {
        each.strip().lower() for value in headers.get_all("Connection") for each in value.split(",")
    }
    return Headers(
        [
            (name, value)
            for name, value in headers.raw_items()
            if (lower := name.lower()) not in _HOP
            and lower not in named
            and (lower == SUBPROTOCOL.lower() or not lower.startswith("sec-websocket-"))
        ]
    )


def _forwarded(request: Request, target: Target) -> Headers:
    """Give the client's headers for the server, with the origin that the server expects.

    Those that reach the server replace the client's own: a page that is served elsewhere has
    another origin and other cookies.
    """
    host = request.headers.get("Host", "")
    url = urlsplit(target.url)
    scheme = "https" if url.scheme == "wss" else "http"
    origin = f"{scheme}://{url.netloc.rpartition('@')[2]}"
    own = [
        (name, origin if name.lower() == "origin" and _netloc(value) == host else value)
        for name, value in _end_to_end(request.headers).raw_items()
    ]
    return replaced(Headers(own), Headers(target.reach.headers))


def _netloc(url: str) -> str:
    try:
        return urlsplit(url).netloc
    except ValueError:  # it is forwarded as it is; the server decides
        return ""


@asynccontextmanager
async def _responding(server: Target) -> AsyncIterator[None]:
    """Bound the time for the server to respond.

    Raises:
        ConnectError: it did not respond in time.
    """
    try:
        async with asyncio.timeout(RESPONSE_DEADLINE):
            yield
    except TimeoutError as error:
        text = f"{server} did not respond within {RESPONSE_DEADLINE:g} s"
        raise ConnectError(text) from error


async def _probe(request: Request, server: Target) -> Answer:
    """Send the server a request that is not an upgrade, and return its response.

    Raises:
        ConnectError: the server could not be reached.
        NoAnswerError: it did not respond, or with too large a body.
    """
    headers = dict(_forwarded(request, server).raw_items())
    return await ask(server, request.method, headers, is_upgrade=False, most=MAX_BODY)
