"""One HTTP request of the suite to a server, and its response, without a WebSocket."""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import h11
from websockets.datastructures import Headers
from websockets.headers import build_authorization_basic

from neffos_conformance.wire.connection import ConnectError
from neffos_conformance.wire.reach import Target, replaced

READ_SIZE: Final = 1 << 16
"""Bytes read at a time."""

UPGRADE: Final[Mapping[str, str]] = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
}
"""The headers that ask for an upgrade, beside the key (RFC 6455, 4.1)."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The head of an HTTP response.

    Attributes:
        status: its status.
        headers: names in lower case, and values, in order.
    """

    status: int
    headers: tuple[tuple[str, str], ...]


class NoAnswerError(Exception):
    """The server was reached, and did not respond with HTTP."""


async def ask(
    server: Target | str, method: str, headers: Mapping[str, str], *, is_upgrade: bool
) -> Answer:
    """Send a request and read the head of the response.

    Args:
        server: the server, or its URL; ``ws`` and ``wss`` as for a WebSocket.
        method: any token.
        headers: further ones; a name after a ``-`` is one to leave out.
        is_upgrade: whether the request asks for an upgrade.

    Raises:
        ConnectError: the server could not be reached.
        NoAnswerError: it was reached, and did not respond.
    """
    target = Target.of(server)
    try:
        uri = target.uri
        sent = Headers(Host=urlsplit(target.url).netloc.rpartition("@")[2])
        if uri.user_info is not None:
            sent["Authorization"] = build_authorization_basic(*uri.user_info)
        if is_upgrade:
            key = base64.b64encode(secrets.token_bytes(16)).decode()
            sent.update({**UPGRADE, "Sec-WebSocket-Key": key})
        own = {name: value for name, value in headers.items() if not name.startswith("-")}
        sent = replaced(sent, target.request_headers(own))
        for name in headers.keys() - own.keys():
            sent.pop(name[1:], None)
        head = "".join(f"{name}: {value}\r\n" for name, value in sent.raw_items())
        request = f"{method} {uri.resource_name} HTTP/1.1\r\n{head}\r\n".encode()
        reader, writer = await target.connect()
    except (OSError, UnicodeError) as error:
        raise ConnectError(f"no connection to {uri.host}:{uri.port}: {error}") from error
    except ValueError as error:
        raise ConnectError(str(error)) from error
    try:
        writer.write(request)
        return await _head(reader, method)
    except (OSError, h11.RemoteProtocolError) as error:
        raise NoAnswerError(f"there was no answer of HTTP to {method}") from error
    finally:
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()


async def _head(reader: asyncio.StreamReader, method: str) -> Answer:
    # h11 writes no invalid request, but reads the response to one like any other.
    protocol = h11.Connection(h11.CLIENT)
    protocol.send(
        h11.Request(
            method="HEAD" if method == "HEAD" else "GET",
            target="/",
            headers=[("Host", "x"), ("Upgrade", "websocket")],
        )
    )
    while True:
        event = protocol.next_event()
        if isinstance(event, h11.Response) or (
            isinstance(event, h11.InformationalResponse) and event.status_code == 101
        ):
            headers = tuple(
                (name.decode(), value.decode("latin-1")) for name, value in event.headers
            )
            return Answer(event.status_code, headers)
        if event is h11.NEED_DATA:
            protocol.receive_data(await reader.read(READ_SIZE))
        elif not isinstance(event, h11.InformationalResponse):
            raise OSError("the connection ended")
