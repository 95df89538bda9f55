"""One HTTP request of the suite to a server, and its response, without a WebSocket."""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Final
from urllib.parse import urlsplit

from websockets.datastructures import Headers
from websockets.headers import build_authorization_basic

from neffos_conformance.wire.connection import ConnectError
from neffos_conformance.wire.reach import Target, cause, replaced

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
    """An HTTP response.

    Attributes:
        status: its status.
        headers: names in lower case, and values, in order.
        reason: the text of its status line.
        body: as far as it was read.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    reason: str = ""
    body: bytes = b""


class NoAnswerError(Exception):
    """The server was reached, and did not respond with HTTP."""


async def ask(
    server: Target | str,
    method: str,
    headers: Mapping[str, str],
    *,
    is_upgrade: bool,
    most: int = 0,
) -> Answer:
    """Send a request and read the response.

    Args:
        server: the server, or its URL; ``ws`` and ``wss`` as for a WebSocket.
        method: any token.
        headers: further ones; a name after a ``-`` is one to leave out.
        is_upgrade: whether the request asks for an upgrade.
        most: bytes of the body; 0 reads only the head.

    Raises:
        ConnectError: the server could not be reached.
        NoAnswerError: it was reached, and did not respond, or with a larger body.
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
        text = f"no connection to {uri.host}:{uri.port}: {cause(error)}"
        raise ConnectError(text) from error
    except ValueError as error:
        raise ConnectError(str(error)) from error
    import h11  # nothing else of a run needs it

    try:
        writer.write(request)
        return await _answer(reader, method, most)
    except (OSError, h11.RemoteProtocolError) as error:
        raise NoAnswerError(f"there was no answer of HTTP to {method}") from error
    finally:
        writer.transport.abort()
        with suppress(OSError):
            await writer.wait_closed()


async def _answer(reader: asyncio.StreamReader, method: str, most: int) -> Answer:
    import h11

    # h11 writes no invalid request, but reads the response to one like any other.
    protocol = h11.Connection(h11.CLIENT)
    protocol.send(
        h11.Request(
            method="HEAD" if method == "HEAD" else "GET",
            target="/",
            headers=[("Host", "x"), ("Upgrade", "websocket")],
        )
    )
    answer, body = None, bytearray()
    while True:
        event = protocol.next_event()
        if isinstance(event, h11.Response) or (
            isinstance(event, h11.InformationalResponse) and event.status_code == 101
        ):
            headers = tuple(
                (name.decode(), value.decode("latin-1")) for name, value in event.headers
            )
            answer = Answer(event.status_code, headers, event.reason.decode(errors="replace"))
            if not most or isinstance(event, h11.InformationalResponse):
                return answer
        elif event is h11.NEED_DATA:
            protocol.receive_data(await reader.read(READ_SIZE))
        elif isinstance(event, h11.Data):
            body += event.data
            if len(body) > most:
                raise NoAnswerError(f"the body of the answer has more than {most} bytes")
        elif isinstance(event, h11.EndOfMessage) and answer is not None:
            return replace(answer, body=bytes(body))
        elif not isinstance(event, h11.InformationalResponse):
            raise OSError("the connection ended")
