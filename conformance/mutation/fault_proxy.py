"""A proxy before a correct server, with hooks at HTTP requests and at WebSocket frames both ways.

It seeds the faults of a server's HTTP and WebSocket: the reference server behind it has none.
``h11`` reads and writes requests. ``websockets`` writes frames, but its parser refuses those that
break RFC 6455, which are the ones that these faults are about; so they are read here.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Final, Literal, cast
from urllib.parse import urlsplit, urlunsplit

import h11
from websockets import frames
from websockets.frames import Opcode
from websockets.utils import apply_mask

from mutation.hooks import Scratch, seeds, staged
from neffos_conformance.reference.embedded import embedded_server
from neffos_conformance.runner.run import Run
from neffos_conformance.wire.waiting import cancel

READ_SIZE: Final = 1 << 16
"""Bytes read at a time."""

ENDLESS: Final = 1 << 40
"""Bytes from which on a frame is passed on as it comes, with all that follows: it never ends."""


class Instead(Enum):
    """What can happen instead of a frame or a request, other than another one."""

    CUT = "end TCP with the client"
    HANG = "read nothing more from the client, and keep the connection"


CUT, HANG = Instead.CUT, Instead.HANG


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

    @classmethod
    def parse(cls, head: bytes) -> Request:
        """Read a head.

        Raises:
            h11.RemoteProtocolError: it is not one.
        """
        connection = h11.Connection(h11.SERVER)
        connection.receive_data(head)
        event = cast("h11.Request", connection.next_event())
        raw = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in event.headers.raw_items()]
        return cls(event.method.decode(), event.target.decode("latin-1"), tuple(raw))

    @property
    def named(self) -> defaultdict[str, str]:
        """The first value of each header, by its name in lower case; empty where there is none."""
        first = {key.lower(): value for key, value in reversed(self.headers)}
        return defaultdict(str, first)

    def value(self, name: str) -> str:
        """Give the first value of a header; empty where there is none."""
        return self.named[name.lower()]

    def with_header(self, name: str, value: str | None) -> Request:
        """Replace the headers of a name by one; ``None`` removes them."""
        kept = tuple(each for each in self.headers if each[0].lower() != name.lower())
        return replace(self, headers=kept if value is None else (*kept, (name, value)))

    def head(self) -> bytes:
        """Write it as it is sent."""
        headers = [(k.encode("latin-1"), v.encode("latin-1")) for k, v in self.headers]
        target = self.target.encode("latin-1")
        event = h11.Request(method=self.method, target=target, headers=headers)
        return h11.Connection(h11.CLIENT).send(event) or b""


@dataclass
class Frame(frames.Frame):
    """A WebSocket frame, whether RFC 6455 allows it or not.

    Attributes:
        is_masked: whether it has a mask.
    """

    is_masked: bool = True

    @property
    def is_control(self) -> bool:
        """Whether it belongs to no message."""
        return self.opcode >= Opcode.CLOSE

    @property
    def code(self) -> int:
        """The code of a close frame; 0 where it has none."""
        return int.from_bytes(bytes(self.data[:2]))

    @property
    def content(self) -> bytes:
        """Its payload, without a mask."""
        return bytes(self.data)

    def check(self) -> None:
        """Accept every frame."""


class Tunnel(Scratch):
    """One connection through the proxy.

    Attributes:
        server: what is remembered for all connections.
        request: how it was asked for.
        is_open: whether the client has sent a handshake request.
        is_amid: whether the client has begun a message, and not ended it.
        is_closing: whether it has sent a close frame.
        kind: the opcode of its last message.
        parts: the number of frames of that message before the current one, and their bytes.
    """

    def __init__(self, server: Scratch, request: Request) -> None:
        super().__init__()
        self.server = server
        self.request = request
        self.is_open = False
        self.is_amid = False
        self.is_closing = False
        self.kind: int = Opcode.TEXT
        self.parts = (0, 0)

    def received(self, frame: Frame) -> None:
        """Note a frame that the client has sent."""
        self.is_closing = self.is_closing or frame.opcode == Opcode.CLOSE
        if frame.is_control:
            return
        self.is_open = self.is_open or frame.content[:1] == b"M"
        self.is_amid = not frame.fin
        self.kind = frame.opcode or self.kind
        count, size = self.parts if frame.opcode == Opcode.CONT else (0, 0)
        self.parts = (count + 1, size + len(frame.data))


FrameEffect = Frame | Instead | Iterable[Frame] | None
"""What a hook makes of a frame: ``None`` leaves it alone, ``()`` drops it."""

FrameHook = Callable[[Tunnel, Frame], FrameEffect]
RequestHook = Callable[[Tunnel, Request], Request | bytes | Instead | None]
ResponseHook = Callable[[Tunnel, bytes], bytes | None]
Write = Callable[[asyncio.StreamWriter, bytes], Awaitable[None]]


async def _write(writer: asyncio.StreamWriter, content: bytes) -> None:
    writer.write(content)
    await writer.drain()


@dataclass(frozen=True, slots=True)
class Proxy:
    """A server with a fault: hooks before a correct one; those that are left out change nothing.

    Attributes:
        request: what is served instead of a request: another one, or an answer to it.
        response: what is sent instead of the head of the response.
        inward: what is handled instead of a frame of the client.
        outward: what is sent instead of a frame of the server.
        announced: takes the length of each of the client's frames before it is read.
        ended: is called when a connection has ended.
        write: writes bytes to the client.
        server: runs the correct server.
    """

    request: RequestHook | None = None
    response: ResponseHook | None = None
    inward: FrameHook | None = None
    outward: FrameHook | None = None
    announced: Callable[[Tunnel, int], object] | None = None
    ended: Callable[[Tunnel], object] | None = None
    write: Write = _write
    server: Callable[[], AbstractAsyncContextManager[str]] = embedded_server
    role: Literal["server"] = field(default="server", init=False)

    def stage(self) -> AbstractAsyncContextManager[Run]:
        """Run both, and give the function that runs a case against them."""
        return staged(self.run())

    @asynccontextmanager
    async def run(self) -> AsyncIterator[str]:
        """Run both, and give the proxy's URL."""
        tasks: set[asyncio.Task[None]] = set()
        scratch = Scratch()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            task = cast("asyncio.Task[None]", asyncio.current_task())
            tasks.add(task)
            try:
                with suppress(OSError, asyncio.IncompleteReadError, h11.RemoteProtocolError):
                    await self._serve(url, scratch, reader, writer)
            except asyncio.CancelledError:
                pass  # the proxy ends
            finally:
                tasks.discard(task)
                writer.transport.abort()

        async with self.server() as url:
            listener = await asyncio.start_server(serve, "127.0.0.1", 0)
            try:
                port = listener.sockets[0].getsockname()[1]
                yield urlunsplit(urlsplit(url)._replace(netloc=f"127.0.0.1:{port}"))
            finally:
                listener.close()
                await cancel(tasks)

    async def _serve(
        self, url: str, scratch: Scratch, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        asked = Request.parse(await reader.readuntil(b"\r\n\r\n"))
        link = Tunnel(scratch, asked)
        effect = self.request(link, asked) if self.request else None
        if isinstance(effect, bytes):
            await _write(writer, effect)
            return
        if isinstance(effect, Instead):
            await _instead(effect, writer)
            return
        server = urlsplit(url)
        from_server, to_server = await asyncio.open_connection(server.hostname, server.port)
        try:
            to_server.write((effect or asked).head())
            head = await from_server.readuntil(b"\r\n\r\n")
            changed = self.response(link, head) if self.response else None
            writer.write(head if changed is None else changed)
            forth = _Pipe(
                link, reader, to_server, writer, self.inward, _write, self.announced, True
            )
            outward = self.outward if _is_upgrade(head) else None  # else a body follows
            back = _Pipe(link, from_server, writer, writer, outward, self.write)
            async with asyncio.TaskGroup() as both:
                both.create_task(forth.carry())
                both.create_task(back.carry())
        finally:
            to_server.transport.abort()
            if self.ended:
                self.ended(link)


@dataclass(frozen=True, slots=True)
class _Pipe:
    """Carries bytes, or frames that a hook may change, until there are no more."""

    link: Tunnel
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    client: asyncio.StreamWriter
    hook: FrameHook | None
    write: Write
    announced: Callable[[Tunnel, int], object] | None = None
    is_inward: bool = False

    async def carry(self) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while content := await self._next():
                await self.write(self.writer, content)
        if self.writer.can_write_eof() and not self.writer.is_closing():
            with suppress(OSError):
                self.writer.write_eof()

    async def _next(self) -> bytes:
        """Give what is sent instead of the next frames; nothing at the end."""
        if self.hook is None and not self.is_inward:  # it may be the body of a response of HTTP
            return await self.reader.read(READ_SIZE)
        while True:
            frame = await self._frame()
            if isinstance(frame, bytes):  # a head, and its frame never ends
                await self.write(self.writer, frame)
                await self._carry_as_it_is()
                return b""
            effect = self.hook(self.link, frame) if self.hook else None
            if self.is_inward:
                self.link.received(frame)
            if isinstance(effect, Instead):
                await _instead(effect, self.client)
                return b""
            given = frame if effect is None else effect
            frames_given = [given] if isinstance(given, Frame) else given
            if content := b"".join(each.serialize(mask=each.is_masked) for each in frames_given):
                return content

    async def _carry_as_it_is(self) -> None:
        while content := await self.reader.read(READ_SIZE):
            await self.write(self.writer, content)

    async def _frame(self) -> Frame | bytes:
        head = await self.reader.readexactly(2)
        first, second = head
        size = second & 0x7F
        if size >= 126:
            more = await self.reader.readexactly(2 if size == 126 else 8)
            head, size = head + more, int.from_bytes(more)
        if self.announced:
            self.announced(self.link, size)
        if size > ENDLESS:
            return head
        is_masked = bool(second & 0x80)
        mask = await self.reader.readexactly(4) if is_masked else bytes(4)
        data = apply_mask(await self.reader.readexactly(size), mask)
        opcode = cast("Opcode", first & 0x0F)  # it may be a reserved one
        fin, rsv1, rsv2, rsv3 = (bool(first & bit) for bit in (0x80, 0x40, 0x20, 0x10))
        return Frame(opcode, data, fin, rsv1, rsv2, rsv3, is_masked)


async def _instead(effect: Instead, client: asyncio.StreamWriter) -> None:
    """Do what happens instead of a frame or a request."""
    if effect is HANG:
        await asyncio.Event().wait()
    client.transport.abort()


def answer(status: str, *headers: str) -> bytes:
    """Write a response of HTTP that has no body."""
    lines = [f"HTTP/1.1 {status}", "Content-Length: 0", "Connection: close", *headers]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


def with_line(head: bytes, line: str) -> bytes | None:
    """Put a header into the head of a response that upgrades the connection."""
    changed = head.removesuffix(b"\r\n") + f"{line}\r\n\r\n".encode()
    return changed if _is_upgrade(head) else None


def _is_upgrade(head: bytes) -> bool:
    return b" 101 " in head


request, response = seeds(Proxy, "request"), seeds(Proxy, "response")
inward, outward = seeds(Proxy, "inward"), seeds(Proxy, "outward")
