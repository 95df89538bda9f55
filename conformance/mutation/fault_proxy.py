"""A front before a correct server: it changes requests, and WebSocket frames both ways.

What a server does wrong on the level of HTTP or of WebSocket is wrong here; behind it stands the
reference server, which would not do it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Final, cast
from urllib.parse import urlsplit, urlunsplit

from neffos_conformance.reference.embedded import embedded_server

READ_SIZE: Final = 1 << 16
"""Octets read at a time."""

FIN: Final = 0x80
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
"""Opcodes (RFC 6455, 5.2)."""

CUT: Final = "cut"
"""In place of frames: end TCP with the client."""

HANG: Final = "hang"
"""In place of frames: read nothing more from the client, and keep the connection."""


@dataclass(frozen=True, slots=True)
class Request:
    """The head of a request.

    Attributes:
        method: its method.
        target: path and query.
        headers: names and values, in their order.
    """

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]

    def value(self, name: str) -> str:
        """Give the first value of a header; empty where there is none."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")

    def with_header(self, name: str, value: str | None) -> Request:
        """Put a header in place of those of its name; ``None`` takes them out."""
        kept = tuple(each for each in self.headers if each[0].lower() != name.lower())
        return replace(self, headers=kept if value is None else (*kept, (name, value)))

    def head(self) -> bytes:
        """Write it as it is sent."""
        lines = [f"{self.method} {self.target} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in self.headers]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")


@dataclass(frozen=True, slots=True)
class Piece:
    """A WebSocket frame.

    Attributes:
        first: its first octet: FIN, the reserved bits and the opcode.
        data: its payload, without a mask.
        is_masked: whether it had a mask.
    """

    first: int
    data: bytes
    is_masked: bool = True

    @property
    def opcode(self) -> int:
        """What it is."""
        return self.first & 0x0F

    @property
    def is_last(self) -> bool:
        """Whether nothing of its message follows."""
        return bool(self.first & FIN)

    @property
    def code(self) -> int:
        """The code of a close frame; 0 where it has none."""
        return int.from_bytes(self.data[:2])

    def octets(self) -> bytes:
        """Write it as it is sent; a mask changes nothing."""
        size, mask = len(self.data), FIN * self.is_masked
        if size < 126:
            head = bytes([self.first, mask | size])
        elif size < 1 << 16:
            head = bytes([self.first, mask | 126]) + size.to_bytes(2)
        else:
            head = bytes([self.first, mask | 127]) + size.to_bytes(8)
        return head + bytes(4 * self.is_masked) + self.data


class _EndlessError(Exception):
    """A frame so long that it is never whole; with its head."""


ENDLESS: Final = 1 << 40
"""Octets from which on a frame is passed on as it comes, and all behind it."""

Pieces = list[Piece] | str
Write = Callable[[asyncio.StreamWriter, bytes], Awaitable[None]]
Change = Callable[[Piece], Pieces]
"""What becomes of a frame: those that go on in its place, or ``CUT``, or ``HANG``."""


def answer(status: str, *headers: str) -> bytes:
    """Write a response of HTTP that has no body."""
    lines = [f"HTTP/1.1 {status}", "Content-Length: 0", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def same(piece: Piece) -> Pieces:
    """Let a frame through."""
    return [piece]


@asynccontextmanager
async def fronted(
    url: str = "",
    *,
    request: Callable[[Request], Request | bytes | None] | None = None,
    response: Callable[[Request, bytes], bytes] | None = None,
    inward: Callable[[Request], Change] | None = None,
    outward: Callable[[Request], Change] | None = None,
    write: Write | None = None,
    announced: Callable[[Request, int], None] | None = None,
    ended: Callable[[Request], object] | None = None,
) -> AsyncIterator[str]:
    """Run a front, and give its URL.

    Args:
        url: of the server behind it; where none is named, the reference server is.
        request: what becomes of a request: another one, or an answer to it; ``None`` ends TCP,
            and an empty answer keeps the client waiting.
        response: what becomes of the head of the server's answer.
        inward: for each connection, what becomes of the client's frames.
        outward: for each connection, what becomes of the server's frames.
        write: writes octets to the client, in its own way.
        announced: told the length of each of the client's frames before it is read.
        ended: told when the client's side of a connection is over.
    """
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = cast("asyncio.Task[None]", asyncio.current_task())
        tasks.add(task)
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                await converse(reader, writer)
        except asyncio.CancelledError:
            pass  # the front ends
        finally:
            tasks.discard(task)
            writer.transport.abort()

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = _request(await reader.readuntil(b"\r\n\r\n"))
        changed = request(asked) if request else asked
        if isinstance(changed, bytes):
            writer.write(changed)
            await (writer.drain() if changed else asyncio.Event().wait())
            return
        if changed is None:
            return
        server = urlsplit(behind)
        from_server, to_server = await asyncio.open_connection(server.hostname, server.port)
        try:
            to_server.write(changed.head())
            head = await from_server.readuntil(b"\r\n\r\n")
            writer.write(response(asked, head) if response else head)
            async with asyncio.TaskGroup() as both:
                change = inward(asked) if inward else None
                tell = partial(announced, asked) if announced else None
                both.create_task(_pipe(reader, to_server, writer, change, tell))
                back = outward(asked) if outward else None
                both.create_task(_pipe(from_server, writer, writer, back, write=write))
        finally:
            to_server.transport.abort()
            if ended:
                ended(asked)

    async with AsyncExitStack() as stack:
        behind = url or await stack.enter_async_context(embedded_server())
        listener = await asyncio.start_server(serve, "127.0.0.1", 0)
        try:
            parts = urlsplit(behind)
            port = listener.sockets[0].getsockname()[1]
            yield urlunsplit(parts._replace(netloc=f"127.0.0.1:{port}"))
        finally:
            listener.close()
            for task in list(tasks):
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _pipe(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    client: asyncio.StreamWriter,
    change: Change | None,
    tell: Callable[[int], None] | None = None,
    write: Write | None = None,
) -> None:
    """Carry octets, or frames that are changed, until there are no more."""
    with suppress(OSError, asyncio.IncompleteReadError):
        while True:
            if change is None:
                octets = await reader.read(READ_SIZE)
                if not octets:
                    break
            else:
                try:
                    changed = change(await _piece(reader, tell))
                except _EndlessError as endless:
                    change = None
                    writer.write(endless.args[0])
                    continue
                if changed == CUT:
                    client.transport.abort()
                    break
                if isinstance(changed, str):
                    await asyncio.Event().wait()
                    continue
                octets = b"".join(each.octets() for each in changed)
            await (write or _write)(writer, octets)
    if writer.can_write_eof() and not writer.is_closing():
        with suppress(OSError):
            writer.write_eof()


async def _write(writer: asyncio.StreamWriter, octets: bytes) -> None:
    writer.write(octets)
    await writer.drain()


async def _piece(reader: asyncio.StreamReader, tell: Callable[[int], None] | None) -> Piece:
    head = await reader.readexactly(2)
    first, second = head
    size = second & 0x7F
    if size >= 126:
        more = await reader.readexactly(2 if size == 126 else 8)
        head, size = head + more, int.from_bytes(more)
    if tell:
        tell(size)
    if size > ENDLESS:
        raise _EndlessError(head)
    is_masked = bool(second & 0x80)
    mask = await reader.readexactly(4) if is_masked else bytes(4)
    data = await reader.readexactly(size)
    if any(mask):
        key = int.from_bytes((mask * (size // 4 + 1))[:size])
        data = (int.from_bytes(data) ^ key).to_bytes(size)
    return Piece(first, data, is_masked)


def _request(head: bytes) -> Request:
    line, *lines = head.decode("latin-1").removesuffix("\r\n\r\n").split("\r\n")
    method, target, _ = line.split(" ", 2)
    pairs = (each.partition(":") for each in lines)
    return Request(method, target, tuple((name, value.strip()) for name, _, value in pairs))
