"""Servers that mean harm cost a case its verdict, and the suite nothing."""

import asyncio
import base64
import hashlib
import tracemalloc
from collections.abc import Awaitable, Callable

import pytest

from neffos_conformance.case import select, server_cases
from neffos_conformance.run import Result, Verdict, run_case

Writer = asyncio.StreamWriter
Behaviour = Callable[[Writer], Awaitable[None]]

DEADLINE = 1.0
"""Seconds for the case; each of these servers would keep it waiting for ever."""

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


async def sends_one_message_in_endless_parts(writer: Writer) -> None:
    writer.write(FIRST_PART)
    await forever(writer, EMPTY_PART * 1000)


async def says_nothing(writer: Writer) -> None:
    await asyncio.Event().wait()


async def ends_at_once(writer: Writer) -> None:
    writer.write_eof()


async def sends_a_frame_that_is_none(writer: Writer) -> None:
    writer.write(b"\xff\x00" * 20)
    await asyncio.Event().wait()


def judged(behaviour: Behaviour) -> Result:
    """Run one case against a server that upgrades and then behaves like this."""

    async def serve(reader: asyncio.StreamReader, writer: Writer) -> None:
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            [key] = [
                line.split(b": ")[1]
                for line in request.split(b"\r\n")
                if line.lower().startswith(b"sec-websocket-key")
            ]
            digest = hashlib.sha1(key + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11").digest()  # noqa: S324  # what RFC 6455 asks for
            writer.write(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                b"Connection: Upgrade\r\nSec-WebSocket-Accept: "
                + base64.b64encode(digest)
                + b"\r\n\r\n"
            )
            await behaviour(writer)
        except OSError:
            pass
        finally:
            writer.transport.abort()

    async def run() -> Result:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        [case] = select(server_cases(), ["HS-5.1"])
        try:
            async with asyncio.timeout(30):  # a hang is a failure of this test
                return await run_case(f"ws://127.0.0.1:{port}/", case, deadline=DEADLINE)
        finally:
            for task in asyncio.all_tasks() - {asyncio.current_task()}:
                task.cancel()
            server.close()

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("behaviour", "explanation"),
    [
        (floods_with_pings_and_never_reads, ""),
        (sends_one_message_in_endless_parts, "in too many fragments"),
        (says_nothing, "did not come within"),
        (ends_at_once, "closed"),
        (sends_a_frame_that_is_none, "broke the WebSocket protocol"),
    ],
)
def test_a_hostile_server_fails_and_is_let_go(behaviour, explanation):
    result = judged(behaviour)
    assert result.verdict is Verdict.FAIL
    assert explanation in result.explanation


def test_a_flood_of_large_messages_is_held_in_bounded_memory():
    tracemalloc.start()
    result = judged(floods_with_large_messages)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert result.verdict is Verdict.FAIL
    assert peak < 400 << 20
