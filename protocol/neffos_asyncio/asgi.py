"""Serves a server as an ASGI application, inside Starlette or FastAPI or directly under uvicorn.

The web server does HTTP and WebSocket, with its own settings for the heartbeat and the size of
messages.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import Any

from neffos_asyncio.connection import Connection
from neffos_asyncio.request import UpgradeRequest, upgrade_request
from neffos_asyncio.transport import PumpedTransport, failures

Scope = Mapping[str, Any]
Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[dict[str, Any]], Awaitable[None]]
Accept = Callable[[UpgradeRequest], Connection | HTTPStatus]


async def serve_asgi(
    scope: Scope,
    receive: Receive,
    send: Send,
    *,
    accept: Accept,
    shutdown: Callable[[], Awaitable[None]],
) -> None:
    """Serve one ASGI scope.

    Args:
        scope: what to serve.
        receive: see ASGI.
        send: likewise.
        accept: returns the connection for an upgrade request, or the status of a refusal.
        shutdown: closes all connections.

    Raises:
        ValueError: the scope has a type that an ASGI application need not know.
    """
    match scope["type"]:
        case "websocket":
            await _websocket(scope, receive, send, accept)
        case "http":
            await _http(scope, send)
        case "lifespan":
            while (await receive())["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            await shutdown()
            await send({"type": "lifespan.shutdown.complete"})
        case other:
            raise ValueError(f"an ASGI scope of type {other!r} is not served here")


async def _websocket(scope: Scope, receive: Receive, send: Send, accept: Accept) -> None:
    await receive()  # websocket.connect
    try:
        connection = accept(_request(scope))
    except Exception as error:
        failures.note("an upgrade request could not be handled", error)
        connection = HTTPStatus.INTERNAL_SERVER_ERROR
    if isinstance(connection, HTTPStatus):
        await _refuse(scope, send, connection)
        return
    try:
        async with asyncio.timeout(connection.link.limits.handshake):
            await send({"type": "websocket.accept"})
    except BaseException:
        connection.link.abort()  # the server counts it until it has ended
        raise
    await _carry(connection, receive, send)


async def _carry(connection: Connection, receive: Receive, send: Send) -> None:
    """Carry messages between the ASGI server and a connection until either ends."""
    link = connection.link
    reader = asyncio.current_task()

    async def send_message(payload: str | bytes) -> None:
        key = "text" if isinstance(payload, str) else "bytes"
        await send({"type": "websocket.send", key: payload})

    async def send_close(code: int, reason: str) -> None:
        await send({"type": "websocket.close", "code": code, "reason": reason})

    is_aborted = False

    def abort() -> None:
        nonlocal is_aborted
        is_aborted = True
        if reader is not None:
            reader.cancel()

    transport = PumpedTransport(send_message, send_close, link, link.limits.high_water, abort)
    connection.start(transport)
    code, reason = None, ""
    try:
        while True:
            message = await receive()  # the end is to be seen at any time
            if message["type"] == "websocket.disconnect":
                code, reason = message.get("code"), message.get("reason") or ""
                break
            await transport.readable()
            text = message.get("text")
            link.receive(bytes(message["bytes"]) if text is None else text)
            link.flush()
    except asyncio.CancelledError:
        if not is_aborted:
            raise
    finally:
        transport.end()
        link.lost(code, reason)
    await connection.wait_closed()


async def _refuse(scope: Scope, send: Send, status: HTTPStatus) -> None:
    if "websocket.http.response" in scope.get("extensions", {}):
        await send({"type": "websocket.http.response.start", "status": status, "headers": []})
        await send({"type": "websocket.http.response.body", "body": status.phrase.encode()})
    else:
        await send({"type": "websocket.close"})  # the web server makes it a 403


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
