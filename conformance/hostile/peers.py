"""Attacks on servers and clients: floods, unfinished messages, and what the gone leave behind."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from urllib.parse import urlsplit

from hostile.attacks import CHUNK, PING, Aim, Raw, attack, dialled, frame, together

FLOODERS = 8
"""Clients of a flood."""

PATIENCE = 8
"""Seconds for the replies to a few messages, of those that an attack has after its time: in a soak
all others go on beside it."""

LARGE = (16 << 20) - 1
"""Bytes of the largest message that is allowed, but for one."""

PIPELINED = (
    "$1;app;;_OnNamespaceConnect;0;0;",
    "$2;app;room;_OnRoomJoin;0;0;",
    "$3;app;;slow;0;0;x",
    "$4;app;room;_OnRoomLeave;0;0;",
    "$5;app;room;_OnRoomJoin;0;0;",
    "$6;app;;_OnNamespaceDisconnect;0;0;",
    "$7;app;;_OnNamespaceConnect;0;0;",
    "$8;app;;echo;0;0;y",
)
"""Asks that a client sends without waiting for the replies, before or after its handshake."""
REPLIES = [each[:2] + ";" * 6 if ";_On" in each else each for each in PIPELINED]
"""The replies to them, in their order; ``slow`` and ``echo`` reply with the body."""


async def _flood(aim: Aim, message: bytes) -> None:
    """Let clients send one message again and again, and read what comes."""
    data = message * (CHUNK // len(message) + 1)

    async def one() -> None:
        async with dialled(aim.url) as raw:
            reading = asyncio.create_task(raw.ignore())
            while await aim.write(raw, data):
                await asyncio.sleep(0)
            reading.cancel()

    await together(*(one() for _ in range(FLOODERS)))


@attack("server", "asgi")
async def small_frames(aim: Aim) -> None:
    """Eight clients send empty messages, of six bytes each."""
    await _flood(aim, frame(b""))


@attack("server", "asgi")
async def small_asks(aim: Aim) -> None:
    """Eight clients send asks without waiting for the replies."""
    await _flood(aim, frame(b"$1;app;;echo;0;0;"))


@attack("server")
async def pings(aim: Aim) -> None:
    """Eight clients send pings."""
    await _flood(aim, frame(b"", PING))


@attack("server", "asgi")
async def slow_asks(aim: Aim) -> None:
    """Eight clients send asks to a handler that takes ten milliseconds."""
    await _flood(aim, frame(b"$1;app;;slow;0;0;"))


@attack("server", "asgi")
async def unfinished_messages(aim: Aim) -> None:
    """Forty clients send all but the last byte of a message of 16 MiB."""
    await _unfinished(aim, handshake=True)


@attack("server", "asgi")
async def unfinished_before_the_handshake(aim: Aim) -> None:
    """Forty clients do so before their handshake."""
    await _unfinished(aim, handshake=False)


async def _unfinished(aim: Aim, *, handshake: bool) -> None:
    async def one() -> None:
        async with dialled(aim.url, handshake=handshake) as raw:
            await aim.write(raw, frame(b"", size=LARGE))
            for _ in range(LARGE // CHUNK):
                if not await aim.write(raw, bytes(CHUNK)):
                    return
            await aim.wait()

    await together(*(one() for _ in range(40)))


@attack("server", "asgi")
async def gone_with_a_full_queue(aim: Aim) -> None:
    """Twelve clients at a time fill the queue of a slow handler, and reset the connection."""

    async def one() -> None:
        body = "é".encode() * (400 << 10)
        async with dialled(aim.url) as raw:
            await raw.write(frame(b"$1;app;;hang;0;0;"))
            for _ in range(30):
                if not await aim.write(raw, frame(b"$1;app;;slow;0;0;" + body), seconds=0.2):
                    return

    while not aim.is_over:
        await together(*(one() for _ in range(12)))


@attack("server", "asgi")
async def gone_behind_handlers_that_hang(aim: Aim) -> None:
    """Clients ask a handler that never ends, and reset the connection."""

    async def one() -> None:
        async with dialled(aim.url) as raw:
            await raw.write(frame(b"$1;app;;hang;0;0;"))

    for _ in range(400):
        if not aim.is_over:
            await together(one())


@attack("server", "asgi")
async def readers_that_read_nothing(aim: Aim) -> None:
    """Forty clients ask for large replies, and read none."""

    async def one() -> None:
        ask = frame(b"$1;app;;echo;0;0;" + bytes(CHUNK // 4))
        async with dialled(aim.url) as raw:
            while await aim.write(raw, ask, seconds=1):
                pass

    await together(*(one() for _ in range(40)))


@attack("server", "asgi")
async def all_at_once(aim: Aim) -> str | None:
    """A client sends handshake, connect, join and asks without waiting; order is checked."""
    tried = wrong = 0
    while not aim.is_over:
        early = tried % (len(PIPELINED) + 1)
        messages = [*PIPELINED[:early], "M", *PIPELINED[early:]]
        async with dialled(aim.url, handshake=False) as raw:
            await raw.write(b"".join(frame(message.encode()) for message in messages))
            replies: list[str] = []
            with suppress(TimeoutError):
                async with asyncio.timeout(PATIENCE):
                    while len(replies) <= len(PIPELINED):
                        replies.append(await raw.text())
            wrong += replies[1:] != REPLIES or not replies[0].startswith("A")
        tried += 1
    return f"{wrong} of {tried} out of order" if wrong or not tried else None


@attack("server")
async def bytes_behind_a_probe(aim: Aim) -> None:
    """Requests that are no upgrade, with frames directly after them."""
    url = urlsplit(aim.url)
    while not aim.is_over:
        for method in ("HEAD", "GET", "POST"):
            reader, writer = await asyncio.open_connection(url.hostname, url.port)
            head = f"{method} / HTTP/1.1\r\nHost: {url.netloc}\r\n\r\n".encode()
            writer.write(head + frame(b"M") * 10 + bytes(100))
            await Raw(reader, writer).ignore()
            writer.close()


@attack("server", "asgi")
async def events_in_many_rooms(aim: Aim) -> None:
    """A client joins 1,000 rooms, and sends events to one of them."""
    async with dialled(aim.url) as raw:
        reading = asyncio.create_task(raw.ignore())
        for number in range(1000):
            await aim.write(raw, frame(f"${number};app;{number};_OnRoomJoin;0;0;".encode()))
        data = frame(b";app;999;echo;0;0;") * 1000
        while await aim.write(raw, data):
            await asyncio.sleep(0)
        reading.cancel()


# -------------------------------------------------------------------- attacks on a client


@attack("client")
async def accepts_and_drops(aim: Aim) -> str | None:
    """A server accepts each handshake, and drops the connection."""
    dialled_ = 0

    async def serve(raw: Raw) -> None:
        nonlocal dialled_
        dialled_ += 1

    await _served(aim, serve)
    most = 4 + aim.seconds
    return f"{dialled_} dials in {aim.seconds:g} s" if dialled_ > most else None


@attack("client")
async def a_server_floods(aim: Aim) -> None:
    """A server sends small events as fast as it can."""
    data = b"\x81\x00" * (CHUNK // 2)

    async def serve(raw: Raw) -> None:
        while await aim.write(raw, data):
            await asyncio.sleep(0)

    await _served(aim, serve)


@attack("client")
async def a_server_asks_without_end(aim: Aim) -> None:
    """A server connects a namespace, and asks a slow handler without waiting."""
    ask = b"1;app;;slow;0;0;"
    data = (b"\x81" + bytes([len(ask)]) + ask) * 1000

    async def serve(raw: Raw) -> None:
        connect = b"1;app;;_OnNamespaceConnect;0;0;"
        await raw.write(b"\x81" + bytes([len(connect)]) + connect)
        reading = asyncio.create_task(raw.ignore())
        while await aim.write(raw, data):
            await asyncio.sleep(0)
        reading.cancel()

    await _served(aim, serve)


async def _served(aim: Aim, serve: object) -> None:
    """Accept the target's client, and do something to it each time."""
    from websockets.datastructures import Headers
    from websockets.http11 import Request
    from websockets.server import ServerProtocol

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        raw = Raw(reader, writer)
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            head = await reader.readuntil(b"\r\n\r\n")
            lines = [line.split(": ", 1) for line in head.decode().split("\r\n")[1:-2]]
            protocol = ServerProtocol()
            response = protocol.accept(
                Request("/", Headers((name, value) for name, value in lines))
            )
            writer.write(response.serialize() + b"\x81\x02A1")
            await serve(raw)  # type: ignore[operator]
        raw.reset()

    url = urlsplit(aim.dials)
    server = await asyncio.start_server(accept, url.hostname, url.port)
    await aim.wait()
    server.close()
