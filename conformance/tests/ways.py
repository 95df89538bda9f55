"""Ways to a server that the tests build: doors that want something, and proxies of every kind.

None of them knows WebSocket: they look at the head of a request, and carry bytes.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


def place(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    assert parts.hostname
    return parts.hostname, parts.port or 80


async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    writer.close()


async def join(one: Streams, other: Streams) -> None:
    try:
        await asyncio.gather(carry(one[0], other[1]), carry(other[0], one[1]))
    finally:
        for _, writer in (one, other):
            writer.transport.abort()


@asynccontextmanager
async def listening_with(
    serve: Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]],
    *,
    host: str = "127.0.0.1",
    path: Path | None = None,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[int]:
    """Listen, and give the port."""
    tasks: set[asyncio.Task[None]] = set()

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await serve(reader, writer)
        writer.close()

    listener = (
        await asyncio.start_unix_server(client, path, ssl=tls)
        if path
        else await asyncio.start_server(client, host, 0, ssl=tls)
    )
    try:
        yield 0 if path else listener.sockets[0].getsockname()[1]
    finally:
        listener.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@dataclass
class Door:
    """A door before a server, and the heads of the requests that came through it."""

    url: str = ""
    heads: list[str] = field(default_factory=list)

    def values(self, name: str) -> list[str | None]:
        """The values of a header in all requests, ``None`` where one has none."""
        return [headers_of(head).get(name.lower()) for head in self.heads]


def headers_of(head: str) -> dict[str, str]:
    lines = (line.partition(":") for line in head.split("\r\n")[1:] if line)
    return {name.lower(): value.strip() for name, _, value in lines}


@asynccontextmanager
async def door(
    server: str,
    wants: Mapping[str, str] | None = None,
    *,
    answer: str = "",
    **listener: object,
) -> AsyncIterator[Door]:
    """Put a door before a server: it answers 401 to whoever lacks a header that it wants.

    Args:
        server: the URL of the server behind it.
        wants: headers with their values.
        answer: the response to everyone, instead.
        listener: how it listens.
    """
    opened = Door()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        opened.heads.append(head)
        has = headers_of(head)
        lacks = any(has.get(name.lower()) != value for name, value in (wants or {}).items())
        if lacks or answer:
            refusal = answer or "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n"
            writer.write(refusal.encode())
            await writer.drain()
            return
        behind = await asyncio.open_connection(*place(server))
        behind[1].write(head.encode())
        await join((reader, writer), behind)

    async with listening_with(serve, **listener) as port:  # type: ignore[arg-type]
        host = str(listener.get("host", "127.0.0.1"))
        shown = f"[{host}]" if ":" in host else host
        scheme = "wss" if listener.get("tls") else "ws"
        opened.url = f"{scheme}://{shown}:{port}" if port else "ws://localhost"
        yield opened


@dataclass
class Proxy:
    """A proxy, and the places that it was asked for."""

    port: int = 0
    asked: list[tuple[str, int]] = field(default_factory=list)


@asynccontextmanager
async def proxy(
    scheme: str,
    server: str,
    *,
    user: tuple[str, str] | None = None,
    refusal: int = 0,
    tls: ssl.SSLContext | None = None,
) -> AsyncIterator[Proxy]:
    """Run a proxy to which every name is that of one server.

    Args:
        scheme: of its URL.
        server: the URL of the server.
        user: who may use it: a name and a password.
        refusal: what it answers instead: an HTTP status or a code of SOCKS.
        tls: what it is reached with.
    """
    running = Proxy()
    kind = {"s": scheme[:6], "h": "http"}[scheme[0]]
    shake = {"http": _connect, "socks5": _socks5, "socks4": _socks4}[kind]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if await shake(reader, writer, running.asked, user, refusal):
            await join((reader, writer), await asyncio.open_connection(*place(server)))

    async with listening_with(serve, tls=tls) as port:
        running.port = port
        yield running


Asked = list[tuple[str, int]]


async def _connect(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    asked: Asked,
    user: tuple[str, str] | None,
    refusal: int,
) -> bool:
    head = (await reader.readuntil(b"\r\n\r\n")).decode()
    method, target, _ = head.split(" ", 2)
    assert method == "CONNECT"
    host, _, port = target.rpartition(":")
    given = headers_of(head).get("proxy-authorization", "")
    wanted = user and "Basic " + base64.b64encode(":".join(user).encode()).decode()
    status = refusal or (407 if wanted and given != wanted else 200)
    # In two pieces, as a network may deliver it.
    writer.write(f"HTTP/1.1 {status} ".encode())
    await writer.drain()
    await asyncio.sleep(0)
    writer.write(b"Some Reason\r\nVia: test\r\n\r\n")
    if status == 200:
        asked.append((host.strip("[]"), int(port)))
    return status == 200


async def _socks5(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    asked: Asked,
    user: tuple[str, str] | None,
    refusal: int,
) -> bool:
    _, count = await reader.readexactly(2)
    methods = await reader.readexactly(count)
    method = 2 if user else 0
    if method not in methods:
        writer.write(b"\x05\xff")
        return False
    writer.write(bytes([5, method]))
    if user:
        _, size = await reader.readexactly(2)
        name = await reader.readexactly(size)
        word = await reader.readexactly((await reader.readexactly(1))[0])
        is_known = (name.decode(), word.decode()) == user
        writer.write(bytes([1, 0 if is_known else 1]))
        if not is_known:
            return False
    *_, kind = await reader.readexactly(4)
    if kind == 3:
        host = (await reader.readexactly((await reader.readexactly(1))[0])).decode()
    else:
        host = (await reader.readexactly(4 if kind == 1 else 16)).hex()
    (port,) = struct.unpack("!H", await reader.readexactly(2))
    writer.write(bytes([5, refusal, 0, 1, 0, 0, 0, 0, 0, 0]))
    if not refusal:
        asked.append((host, port))
    return not refusal


async def _socks4(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    asked: Asked,
    user: tuple[str, str] | None,
    refusal: int,
) -> bool:
    _, _, port = struct.unpack("!BBH", await reader.readexactly(4))
    address = await reader.readexactly(4)
    await reader.readuntil(b"\0")
    host = address.hex()
    if address[:3] == b"\0\0\0":
        host = (await reader.readuntil(b"\0"))[:-1].decode()
    writer.write(bytes([0, 90 + refusal, 0, 0, 0, 0, 0, 0]))
    if not refusal:
        asked.append((host, port))
    return not refusal
