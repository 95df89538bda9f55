"""Serves a server as an ASGI application, from within Starlette, FastAPI or bare under uvicorn.

The web server does HTTP and WebSocket, its heartbeat and the size of messages included; what
it is set to is what holds there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from neffos_asyncio.link import log
from neffos_asyncio.request import UpgradeRequest, upgrade_request
from neffos_asyncio.transport import PumpedTransport

if TYPE_CHECKING:
    from neffos_asyncio.connection import Connection
    from neffos_asyncio.server import Server

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]


async def serve_asgi(server: Server, scope: Scope, receive: Receive, send: Send) -> None:
    """Deal with one ASGI scope.

    Raises:
        ValueError: it is of a kind that an ASGI application need not know.
    """
    match scope["type"]:
        case "websocket":
            await _websocket(server, scope, receive, send)
        case "http":
            await _http(scope, send)
        case "lifespan":
            await _lifespan(server, receive, send)
        case other:
            raise ValueError(f"an ASGI scope of type {other!r} is not served here")


async def _websocket(server: Server, scope: Scope, receive: Receive, send: Send) -> None:
    await receive()  # websocket.connect
    try:
        connection = server.accept(_request(scope))
    except Exception:
        log.exception("an upgrade request could not be dealt with")
        connection = HTTPStatus.INTERNAL_SERVER_ERROR
    if isinstance(connection, HTTPStatus):
        await _refuse(scope, send, connection)
        return
    try:
        await send({"type": "websocket.accept"})
    except BaseException:
        connection.link.abort()  # it has a place until it has ended
        raise
    await _carry(connection, server, receive, send)


async def _carry(connection: Connection, server: Server, receive: Receive, send: Send) -> None:
    """Carry messages between the ASGI server and a connection until either ends."""
    link = connection.link
    reader = asyncio.current_task()

    async def send_message(payload: str | bytes) -> None:
        key = "text" if isinstance(payload, str) else "bytes"
        await send({"type": "websocket.send", key: payload})

    async def goodbye(code: int, reason: str) -> None:
        await send({"type": "websocket.close", "code": code, "reason": reason})

    cut = False

    def abort() -> None:
        nonlocal cut
        cut = True
        if reader is not None:
            reader.cancel()

    transport = PumpedTransport(send_message, goodbye, link, server.limits.high_water, abort)
    connection.start(transport, spent=0)
    code, reason = None, ""
    try:
        while True:
            await transport.readable()
            message = await receive()
            if message["type"] == "websocket.disconnect":
                code, reason = message.get("code"), message.get("reason") or ""
                break
            text = message.get("text")
            link.receive(message["bytes"] if text is None else text)
            link.flush()
    except asyncio.CancelledError:
        if not cut:
            raise
    finally:
        link.lost(code, reason)
    await connection.wait_closed()


async def _refuse(scope: Scope, send: Send, status: HTTPStatus) -> None:
    if "websocket.http.response" in scope.get("extensions", {}):
        await send({"type": "websocket.http.response.start", "status": status, "headers": []})
        await send({"type": "websocket.http.response.body", "body": status.phrase.encode()})
    else:
        await send({"type": "websocket.close"})  # which is answered 403


async def _http(scope: Scope, send: Send) -> None:
    status = {"HEAD": HTTPStatus.OK, "GET": HTTPStatus.UPGRADE_REQUIRED}.get(
        scope["method"], HTTPStatus.METHOD_NOT_ALLOWED
    )
    headers = [
        (b"allow", b"GET, HEAD"),
        (b"content-length", b"0"),
        (b"x-content-type-options", b"nosniff"),
    ]
    if status is HTTPStatus.UPGRADE_REQUIRED:
        headers.append((b"upgrade", b"websocket"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


async def _lifespan(server: Server, receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        else:
            await server.shutdown()
            await send({"type": "lifespan.shutdown.complete"})
            return


def _request(scope: Scope) -> UpgradeRequest:
    path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1")
    query = scope.get("query_string", b"").decode("latin-1")
    client = scope.get("client")
    return upgrade_request(
        f"{path}?{query}" if query else path,
        [(name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]],
        f"{client[0]}:{client[1]}" if client else "",
        scope,
    )
