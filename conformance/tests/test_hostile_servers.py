"""Servers that mean harm cost a case its verdict, and the suite nothing."""

import asyncio
import base64
import contextlib
import hashlib
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from mutation import work_clock
from neffos_conformance.cases.definition import select, server_cases
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.runner.playback import Playback, Timeouts
from neffos_conformance.runner.result import Result
from neffos_conformance.runner.run import to_server
from neffos_conformance.wire import connection
from neffos_conformance.wire.connection import ConnectionClosed, WireConnection

Writer = asyncio.StreamWriter
Behaviour = Callable[[Writer], Awaitable[None]]

SHORT, LONG = 1.0, 20.0
"""Seconds for the case: short where it is the deadline that ends it, long where it must not be."""

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
PING = b"\x89\x7d" + b"x" * 125
TEXT = b"\x81\x7f" + (1 << 20).to_bytes(8) + b"x" * (1 << 20)
FIRST_PART = b"\x01\x00"
EMPTY_PART = b"\x00\x00"


async def forever(writer: Writer, frame: bytes) -> None:
    while True:
        writer.write(frame)
        await writer.drain()


async def floods_with_pings_and_never_reads(writer: Writer) -> None:
    await forever(writer, PING * 1000)


async def floods_with_large_messages(writer: Writer) -> None:
    await forever(writer, TEXT)


async def floods_with_small_messages(writer: Writer) -> None:
    await forever(writer, b"\x81\x01x" * 1000)


async def accepts_and_floods_with_broadcasts(writer: Writer) -> None:
    writer.write(b"\x81\x02A1")
    await forever(writer, b"\x81\x10;app;;news;0;0;x" * 1000)


async def sends_one_message_in_endless_parts(writer: Writer) -> None:
    writer.write(FIRST_PART)
    await forever(writer, EMPTY_PART * 1000)


async def says_nothing(writer: Writer) -> None:
    await asyncio.Event().wait()


async def says_goodbye_and_stays(writer: Writer) -> None:
    writer.write(b"\x88\x02\x03\xe8")
    await asyncio.Event().wait()


async def ends_at_once(writer: Writer) -> None:
    writer.write_eof()


async def sends_a_frame_that_is_none(writer: Writer) -> None:
    writer.write(b"\xff\x00" * 20)
    await asyncio.Event().wait()


@asynccontextmanager
async def serving(behaviour: Behaviour) -> AsyncIterator[str]:
    """Run a server that upgrades and then behaves like this, and give its URL."""
    others = asyncio.all_tasks()

    async def serve(reader: asyncio.StreamReader, writer: Writer) -> None:
        with contextlib.suppress(OSError, asyncio.CancelledError):
            request = await reader.readuntil(b"\r\n\r\n")
            [key] = [
                line.split(b": ")[1]
                for line in request.split(b"\r\n")
                if line.lower().startswith(b"sec-websocket-key")
            ]
            digest = hashlib.sha1(key + GUID).digest()  # noqa: S324  # what RFC 6455 asks for
            writer.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                b"Connection: Upgrade\r\nSec-WebSocket-Accept: "
                + base64.b64encode(digest)
                + b"\r\n\r\n"
            )
            await behaviour(writer)
        writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        async with asyncio.timeout(60):  # a hang is a failure of the test
            yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        for task in asyncio.all_tasks() - others:
            task.cancel()
        server.close()


def judged(behaviour: Behaviour, deadline: float, id_: str = "HS-5.1") -> Result:
    """Run one case against such a server."""

    async def run() -> Result:
        [case] = select(server_cases(), [id_])
        async with serving(behaviour) as url:
            return await to_server(url, Timeouts(case=deadline))(case)

    return work_clock.run(run())


@pytest.mark.parametrize(
    ("behaviour", "deadline", "explanation"),
    [
        (floods_with_pings_and_never_reads, SHORT, ""),
        (sends_one_message_in_endless_parts, LONG, "in too many fragments"),
        (says_nothing, SHORT, "timed out"),
        (ends_at_once, LONG, "closed"),
        (sends_a_frame_that_is_none, LONG, "broke the WebSocket protocol"),
    ],
)
def test_a_hostile_server_fails_and_is_let_go(behaviour, deadline, explanation):
    result = judged(behaviour, deadline)
    assert result.verdict is Verdict.FAIL
    assert explanation in result.explanation


@pytest.mark.parametrize(
    ("behaviour", "explanation"),
    [
        (says_nothing, "the close frame was not answered"),
        (says_goodbye_and_stays, "TCP was not ended after the close frames"),
    ],
)
def test_who_does_not_go_is_told_apart_from_who_says_nothing(behaviour, explanation):
    async def run() -> str:
        playback = Playback("server", Timeouts(close=SHORT))
        async with serving(behaviour) as url:
            playback.connections[1] = await WireConnection.dial(url)
            fault = await playback.close_all()
            await playback.release()
        return fault

    assert work_clock.run(run()) == explanation


def test_a_server_that_closes_and_keeps_tcp_has_closed():
    async def closes(writer: Writer) -> None:
        writer.write(b"\x88\x02\x03\xf0")
        await asyncio.Event().wait()

    result = judged(closes, LONG, "HS-9.2")
    assert (result.verdict, result.explanation) == (Verdict.PASS, "")


def test_broadcasts_of_others_are_passed_over_only_so_long():
    result = judged(accepts_and_floods_with_broadcasts, LONG, "HS-8.1")
    assert result.verdict is Verdict.FAIL
    assert result.explanation.startswith("expected nothing, but the connection was cut off")


MESSAGES, BYTES = 2_500, 32 << 20
"""Messages that a connection keeps unread in a test, and their bytes."""


@pytest.mark.parametrize("behaviour", [floods_with_large_messages, floods_with_small_messages])
def test_a_flood_that_nobody_reads_is_cut_off_in_bounded_memory(behaviour, monkeypatch):
    # Parts of the usual bounds: to trace 128 MiB takes long.
    monkeypatch.setattr(connection, "MAX_WAITING", MESSAGES)
    monkeypatch.setattr(connection, "MAX_WAITING_BYTES", BYTES)

    async def run() -> tuple[int, ConnectionClosed]:
        async with serving(behaviour) as url:
            flooded = await WireConnection.dial(url)
            await flooded._task  # until it is cut off
            count = 0
            while not isinstance(seen := await flooded.receive(), ConnectionClosed):
                count += 1
            await flooded.close()
            return count, seen

    tracemalloc.start()
    count, end = work_clock.run(run())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert str(end) == "cut off by the suite: more messages than any case expects"
    assert count > 10
    assert peak < 2 * BYTES
