"""The reference server bears what peers do wrong, slowly or in bad faith: on real sockets."""

import asyncio
import base64
import contextlib
import secrets
import socket
import struct
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from mutation import work_clock
from neffos_asyncio import Limits, Server, blocking, dial, listening
from neffos_conformance.wire.connection import ConnectionClosed, WireConnection
from neffos_protocol import Cause, SessionLimits

HANG = 20.0
"""Seconds on the work clock after which a test has failed; each is done in a fraction of one."""

CONNECT = "$c;app;;_OnNamespaceConnect;0;0;"
CONNECTED = "$c;;;;;;"


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(HANG):
            await test()

    work_clock.run(bounded())


class Ends:
    """Collects how connections ended."""

    def __init__(self) -> None:
        self._causes: asyncio.Queue[Cause] = asyncio.Queue()

    def note(self, _, cause) -> None:
        self._causes.put_nowait(cause)

    async def next(self) -> Cause:
        return await self._causes.get()


@asynccontextmanager
async def opened(server: Server) -> AsyncIterator[tuple[WireConnection, str]]:
    """Serve, and give a connection that has ``app`` connected, and the URL."""
    async with listening(server) as listener:
        connection = await WireConnection.dial(listener.url())
        for sent, expected in (("M", None), (CONNECT, CONNECTED)):
            await connection.send(sent)
            received = await connection.receive()
            assert expected in (None, received)
        try:
            yield connection, listener.url()
        finally:
            await connection.close()


def frame(opcode: int, payload: bytes, *, length: int | None = None, fin: bool = True) -> bytes:
    """Write a client's WebSocket frame, with a length of one's own where that is wanted."""
    size = len(payload) if length is None else length
    mask = secrets.token_bytes(4)
    masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    head = bytes([opcode | (0x80 if fin else 0)])
    if size < 126:
        head += bytes([0x80 | size])
    elif size < 1 << 16:
        head += bytes([0x80 | 126]) + struct.pack("!H", size)
    else:
        head += bytes([0x80 | 127]) + struct.pack("!Q", size)
    return head + mask + masked


class Raw:
    """A client of bytes, which reads only what the test asks for."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    @asynccontextmanager
    async def dialled(cls, url: str, *, small: bool = False) -> AsyncIterator["Raw"]:
        """Upgrade; ``small`` keeps the buffers of the system and of asyncio small."""
        host, port = url.removeprefix("ws://").removesuffix("/").split(":")
        own = socket.socket()
        if small:
            own.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        own.setblocking(False)
        await asyncio.get_running_loop().sock_connect(own, (host, int(port)))
        reader, writer = await asyncio.open_connection(sock=own, limit=1024 if small else 1 << 16)
        key = base64.b64encode(secrets.token_bytes(16)).decode()
        writer.write(
            f"GET / HTTP/1.1\r\nHost: {host}:{port}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\n\r\n".encode()
        )
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101")
        try:
            yield cls(reader, writer)
        finally:
            writer.transport.abort()

    async def read(self) -> tuple[int, bytes]:
        """Read one frame of the server: its opcode and payload."""
        first, second = await self.reader.readexactly(2)
        size = second & 0x7F
        if size >= 126:
            size = int.from_bytes(await self.reader.readexactly(2 if size == 126 else 8))
        return first & 0x0F, await self.reader.readexactly(size)

    async def send(self, *payloads: str) -> None:
        """Send text messages."""
        for payload in payloads:
            self.writer.write(frame(1, payload.encode()))
        await self.writer.drain()

    async def enter(self) -> None:
        """Shake hands and connect ``app``."""
        await self.send("M", CONNECT)
        assert (await self.read())[1].startswith(b"A")
        assert (await self.read())[1] == CONNECTED.encode()

    async def close_code(self) -> tuple[int, str]:
        """Read to the close frame, and give its code and reason."""
        while True:
            opcode, payload = await self.read()
            if opcode == 8:
                return int.from_bytes(payload[:2]), payload[2:].decode()


# -------------------------------------------------------------------- slow and silent peers


def test_a_peer_that_does_not_read_broadcasts_is_told_so_and_costs_the_others_nothing():
    async def test() -> None:
        limits = Limits(high_water=16 << 10, backlog=64 << 10, write=None)
        ends = Ends()
        server = Server({"app": {}}, limits=limits, on_disconnect=ends.note)
        async with opened(server) as (reading, url), Raw.dialled(url, small=True) as slow:
            await slow.enter()
            _, stalled = server.members("app")
            body = "x" * 32_000
            most = made = 0
            while stalled.is_open:
                server.broadcast("app", "news", f"{made};{body}")
                assert await reading.receive() == f";app;;news;0;0;{made};{body}"  # EV-9
                made += 1
                most = max(most, stalled.link.backlog)
            assert limits.backlog < most < limits.backlog + 2 * len(body)
            assert await slow.close_code() == (1008, "SEC-8: the peer reads too slowly")
            assert await ends.next() is Cause.LOCAL
            assert len(server.members("app")) == 1

    run(test)


def test_a_peer_that_never_reads_is_cut_off():
    async def test() -> None:
        limits = Limits(high_water=16 << 10, backlog=64 << 10, write=None, close=0.05)
        ends = Ends()
        server = Server({"app": {}}, limits=limits, on_disconnect=ends.note)
        async with listening(server) as listener, Raw.dialled(listener.url(), small=True) as slow:
            await slow.enter()
            [stalled] = server.members("app")
            while stalled.is_open:
                server.broadcast("app", "news", "x" * 32_000)
                await asyncio.sleep(0)
            await stalled.wait_closed()
            assert stalled.link.closed == (None, "")

    run(test)


def test_a_peer_that_asks_and_does_not_read_the_answers_is_not_read_either():
    async def test() -> None:
        limits = Limits(high_water=16 << 10, backlog=64 << 10, write=0.2, close=0.1)
        ends = Ends()
        asked = 0

        def big(_, __) -> str:
            nonlocal asked
            asked += 1
            return "x" * 16_000

        server = Server({"app": {"big": big}}, limits=limits, on_disconnect=ends.note)
        async with listening(server) as listener, Raw.dialled(listener.url(), small=True) as slow:
            await slow.enter()
            for number in range(20_000):
                slow.writer.write(frame(1, f"${number};app;;big;0;0;".encode()))
            assert await ends.next() is Cause.LOCAL
        assert asked < 200  # what small buffers hold: all else stayed in the network

    run(test)


def test_answers_of_coroutines_wait_for_a_peer_that_reads_slowly_and_none_is_lost():
    async def test() -> None:
        async def big(_, message) -> str:
            await asyncio.sleep(0)
            return message.body + "x" * 16_000

        limits = Limits(high_water=16 << 10, backlog=64 << 10)
        server = Server({"app": {"big": big}}, limits=limits)
        async with listening(server) as listener, Raw.dialled(listener.url(), small=True) as slow:
            await slow.enter()
            await slow.send(*[f"${number};app;;big;0;0;{number:04}" for number in range(500)])
            for number in range(500):
                _, answer = await slow.read()
                assert answer.startswith(f"${number};app;;big;0;0;{number:04}x".encode())

    run(test)


def test_a_half_open_connection_is_found_by_its_silence():
    async def test() -> None:
        limits = Limits(heartbeat=0.02, heartbeat_timeout=0.05)
        ends = Ends()
        server = Server({"app": {}}, limits=limits, on_disconnect=ends.note)
        async with listening(server) as listener, Raw.dialled(listener.url()) as raw:
            await raw.enter()
            assert (await raw.read())[0] == 9  # a ping, which nobody answers
            assert await ends.next() is Cause.PEER

    run(test)


def test_a_peer_that_answers_pings_stays():
    async def test() -> None:
        limits = Limits(heartbeat=0.01, heartbeat_timeout=5)
        server = Server({"app": {"echo": lambda _, message: message.body}}, limits=limits)
        async with listening(server) as listener, Raw.dialled(listener.url()) as raw:
            await raw.enter()
            for _ in range(10):
                opcode, payload = await raw.read()
                assert opcode == 9
                raw.writer.write(frame(10, payload))
            await raw.send("$1;app;;echo;0;0;here")
            while (answer := await raw.read())[0] == 9:
                raw.writer.write(frame(10, answer[1]))
            assert answer == (1, b"$1;app;;echo;0;0;here")

    run(test)


def test_a_peer_that_says_nothing_for_too_long_is_let_go():
    async def test() -> None:
        server = Server({"app": {}}, limits=Limits(read=0.05, heartbeat=None))
        async with listening(server) as listener, Raw.dialled(listener.url()) as raw:
            await raw.enter()
            assert await raw.close_code() == (1008, "nothing was sent for too long")

    run(test)


# -------------------------------------------------------------------- the handshake


@pytest.mark.parametrize("early", [[], ["$1;app;;_OnNamespaceConnect;0;0;"]])
def test_a_client_that_never_finishes_the_handshake_is_closed(early):
    async def test() -> None:
        server = Server({"app": {}}, limits=Limits(handshake=0.1))
        async with listening(server) as listener, Raw.dialled(listener.url()) as raw:
            await raw.send(*early)
            code, reason = await raw.close_code()
            assert (code, reason[:6]) == (1008, "SEC-4:")

    run(test)


@pytest.mark.parametrize("data", [b"", b"GET / HTT", b"GET / HTTP/1.1\r\nHost: here\r\n"])
def test_a_request_that_is_never_whole_is_cut_off(data):
    async def test() -> None:
        server = Server({"app": {}}, limits=Limits(handshake=0.1))
        async with listening(server) as listener:
            reader, writer = await asyncio.open_connection(listener.host, listener.port)
            writer.write(data)
            with contextlib.suppress(ConnectionError):
                assert await reader.read() == b""
            writer.close()

    run(test)


def test_an_application_that_never_decides_is_not_waited_for():
    async def test() -> None:
        async def think(_) -> None:
            await asyncio.Event().wait()

        server = Server({"app": {}}, on_connect=think, limits=Limits(handshake=0.1))
        async with listening(server, grace=0.1) as listener, Raw.dialled(listener.url()) as raw:
            await raw.send("M")
            assert (await raw.close_code())[0] == 1008

    run(test)


def test_what_is_sent_before_the_handshake_is_bounded():
    async def test() -> None:
        limits = Limits(session=SessionLimits(held=4))
        server = Server({"app": {}}, limits=limits)
        async with listening(server) as listener, Raw.dialled(listener.url()) as raw:
            await raw.send(*[f"${number};app;;x;0;0;" for number in range(5)])
            code, reason = await raw.close_code()
            assert (code, reason[:6]) == (1008, "SEC-3:")

    run(test)


# -------------------------------------------------------------------- sizes and forms


def test_an_oversize_message_is_refused_before_any_of_it_has_come():
    async def test() -> None:
        async with listening(Server({"app": {}})) as listener, Raw.dialled(listener.url()) as raw:
            await raw.enter()
            raw.writer.write(frame(1, b"", length=1 << 40))
            assert (await raw.close_code())[0] == 1009

    run(test)


def test_a_message_that_grows_too_large_in_parts_is_refused():
    async def test() -> None:
        limits = Limits(session=SessionLimits(payload=1000))
        server = Server({"app": {}}, limits=limits)
        async with listening(server) as listener, Raw.dialled(listener.url()) as raw:
            await raw.enter()
            raw.writer.write(frame(1, b"x" * 600, fin=False) + frame(0, b"x" * 600))
            assert (await raw.close_code())[0] == 1009

    run(test)


def test_a_message_in_many_parts_is_one_message():
    async def test() -> None:
        server = Server({"app": {"echo": lambda _, message: message.body}})
        async with listening(server) as listener, Raw.dialled(listener.url()) as raw:
            await raw.enter()
            parts = [frame(0, b"", fin=False)] * 5_000
            head, tail = "$1;app;;echo;0;0;é".encode()[:-1], "é".encode()[1:]
            raw.writer.write(
                frame(1, head, fin=False) + b"".join(parts) + frame(9, b"hi") + frame(0, tail)
            )
            answers = [await raw.read(), await raw.read()]
            assert answers == [(10, b"hi"), (1, "$1;app;;echo;0;0;é".encode())]

    run(test)


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (frame(1, b"$1;app;;\xff;0;0;"), 1007),
        (b"\xff\xff\xff\xff", 1002),
        (frame(0, b"of nothing"), 1002),
        (b"\x81\x05hello", 1002),  # a client masks
    ],
    ids=["not UTF-8", "no opcode", "a part of nothing", "not masked"],
)
def test_octets_that_are_no_websocket_end_the_connection_with_its_code(data, code):
    async def test() -> None:
        ends = Ends()
        server = Server({"app": {}}, on_disconnect=ends.note)
        async with listening(server) as listener, Raw.dialled(listener.url()) as raw:
            await raw.enter()
            raw.writer.write(data)
            assert (await raw.close_code())[0] == code
            raw.writer.close()
            assert await ends.next() is Cause.PEER

    run(test)


@pytest.mark.parametrize("cut", [1, 3, 7, 20])
def test_a_peer_that_dies_in_the_middle_of_a_frame_is_gone(cut):
    async def test() -> None:
        ends = Ends()
        server = Server({"app": {}}, on_disconnect=ends.note)
        async with listening(server) as listener, Raw.dialled(listener.url()) as raw:
            await raw.enter()
            raw.writer.write(frame(1, b"$1;app;;echo;0;0;hello")[:cut])
            await raw.writer.drain()
            raw.writer.transport.abort()
            assert await ends.next() is Cause.PEER
            assert server.members("app") == ()

    run(test)


# -------------------------------------------------------------------- floods


@pytest.mark.parametrize(
    ("limits", "ask", "requirement"),
    [
        (SessionLimits(namespaces=4), "$n{0};n{0};;_OnNamespaceConnect;0;0;", "SEC-5"),
        (SessionLimits(rooms=3), "$r{0};app;r{0};_OnRoomJoin;0;0;", "SEC-6"),
    ],
)
def test_a_flood_of_connects_or_joins_is_refused_beyond_the_bound(limits, ask, requirement):
    async def test() -> None:
        names = {f"n{number}": {} for number in range(10)}
        server = Server({"app": {}}, names, limits=Limits(session=limits))
        async with opened(server) as (connection, _):
            answers = []
            for number in range(10):
                await connection.send(ask.format(number))
                answers.append(await connection.receive())
            done = [answer for answer in answers if answer.endswith(";;;;;;")]
            refused = [answer for answer in answers if answer.endswith(";1;0;too many")]
            assert (len(done), len(refused)) == (3, 7)

    run(test)


def test_a_flood_of_asks_waits_while_their_handler_is_at_work_and_each_is_answered_in_order():
    async def test() -> None:
        may_go = asyncio.Event()

        async def slow(_, message) -> str:
            await may_go.wait()
            return message.body

        limits = Limits(queue_length=5, session=SessionLimits(incoming_asks=1))
        async with opened(Server({"app": {"slow": slow}}, limits=limits)) as (connection, _):
            for number in range(30):
                await connection.send(f"${number};app;;slow;0;0;{number}")
            may_go.set()
            answers = [await connection.receive() for _ in range(30)]
            assert answers == [f"${number};app;;slow;0;0;{number}" for number in range(30)]

    run(test)


def test_a_flood_of_events_waits_in_the_network_until_their_handler_is_done_and_none_is_lost():
    async def test() -> None:
        may_go = asyncio.Event()
        most = 0

        async def slow(namespace, message) -> str:
            nonlocal most
            await may_go.wait()
            most = max(most, len(namespace.connection._queue))
            return message.body

        server = Server({"app": {"slow": slow}}, limits=Limits(queue_length=20))
        async with opened(server) as (connection, _):
            count = 5_000  # some 100 kB, 250 times what may wait
            sending = asyncio.create_task(_send_many(connection, count))
            [inside] = server.members("app")
            while not inside.link.is_held:
                await asyncio.sleep(0)
            may_go.set()
            for number in range(count):
                assert await connection.receive() == f";app;;slow;0;0;{number}"
            await sending
            assert most <= 20

    async def _send_many(connection: WireConnection, count: int) -> None:
        for number in range(count):
            await connection.send(f";app;;slow;0;0;{number}")

    run(test)


def test_an_answer_behind_a_flood_is_still_read_by_the_handler_that_waits_for_it():
    async def test() -> None:
        async def ask_back(namespace, _) -> str:
            return (await namespace.ask("question", timeout=None)).body

        server = Server(
            {"app": {"ask": ask_back, "x": lambda *_: None}}, limits=Limits(queue_length=20)
        )
        async with opened(server) as (connection, _):
            await connection.send("$1;app;;ask;0;0;")
            token = (await connection.receive()).split(";")[0]
            for number in range(50):
                await connection.send(f";app;;x;0;0;{number}")
            await connection.send(f"{token};app;;question;0;0;the answer")
            assert await connection.receive() == "$1;app;;ask;0;0;the answer"

    run(test)


def test_a_flood_while_a_handler_waits_for_the_peer_is_bounded_all_the_same():
    async def test() -> None:
        async def ask_back(namespace, _) -> str:
            return (await namespace.ask("question", timeout=None)).body

        server = Server(
            {"app": {"ask": ask_back, "x": lambda *_: None}}, limits=Limits(queue_length=20)
        )
        async with opened(server) as (connection, _):
            await connection.send("$1;app;;ask;0;0;")
            await connection.receive()
            for number in range(200):
                await connection.send(f";app;;x;0;0;{number}")
            end = await connection.receive()
            assert isinstance(end, ConnectionClosed)
            assert end.code == 1008

    run(test)


def test_a_flood_of_pings_that_are_not_read_is_bounded():
    async def test() -> None:
        limits = Limits(high_water=16 << 10, write=0.2, close=0.1)
        ends = Ends()
        server = Server({"app": {}}, limits=limits, on_disconnect=ends.note)
        async with listening(server) as listener, Raw.dialled(listener.url(), small=True) as raw:
            await raw.enter()
            [inside] = server.members("app")
            most = 0
            ping = frame(9, b"x" * 125) * 100
            while inside.is_open:
                raw.writer.write(ping)
                most = max(most, inside.link.backlog)
                await asyncio.sleep(0)
            assert most < 1 << 20

    run(test)


# -------------------------------------------------------------------- the application


def test_a_handler_that_blocks_its_thread_holds_nobody_else_up():
    async def test() -> None:
        may_go = threading.Event()

        @blocking
        def block(_, message) -> str:
            may_go.wait(HANG)
            return message.body

        server = Server({"app": {"block": block, "free": lambda *_: may_go.set() or "free"}})
        async with listening(server) as listener:
            one, two = await dial(listener.url()), await dial(listener.url())
            async with one, two:
                app, other = await one.connect("app"), await two.connect("app")
                blocked = asyncio.create_task(app.ask("block", "done"))
                assert (await other.ask("free")).body == "free"
                assert (await blocked).body == "done"

    run(test)


def test_an_unforeseen_exception_tells_the_peer_nothing_and_ends_nothing(caplog):
    async def test() -> None:
        def fail(*_):
            raise RuntimeError("the password is swordfish")

        async def fail_later(*_):
            await asyncio.sleep(0)
            raise RuntimeError("the password is swordfish")

        events = {"now": fail, "later": fail_later, "echo": lambda _, message: message.body}
        async with opened(Server({"app": events})) as (connection, _):
            for number, event in enumerate(events):
                await connection.send(f"${number};app;;{event};0;0;hi")
            answers = [await connection.receive() for _ in events]
            assert answers == [
                "$0;app;;now;1;0;internal error",
                "$1;app;;later;1;0;internal error",
                "$2;app;;echo;0;0;hi",
            ]

    run(test)
    assert [record.exc_info is not None for record in caplog.records] == [True, True]


def test_a_held_connection_that_is_closed_ends_soon_and_buffers_nothing():
    async def test() -> None:
        async def stay(*_) -> None:
            await asyncio.Event().wait()

        server = Server({"app": {"x": stay}}, limits=Limits(queue_length=5, close=HANG))
        async with listening(server, grace=0.1) as listener, Raw.dialled(listener.url()) as raw:
            await raw.enter()
            raw.writer.write(frame(1, b";app;;x;0;0;") * 1000)
            [inside] = server.members("app")
            while not inside.link.is_held:
                await asyncio.sleep(0)
            inside.close()
            assert (await raw.close_code())[0] == 1000
            raw.writer.write(frame(8, b"\x03\xe8"))
            assert await raw.reader.read() == b""
            raw.writer.close()
            await inside.link.wait_lost()

    run(test)


def test_all_that_came_before_a_goodbye_is_heard_however_long_that_takes():
    async def test() -> None:
        seen = []

        async def slow(_, message) -> None:
            await asyncio.sleep(0.001)
            seen.append(message.body)

        ends = Ends()
        limits = Limits(queue_length=5, close=0.05)
        server = Server({"app": {"x": slow}}, limits=limits, on_disconnect=ends.note)
        async with listening(server) as listener, Raw.dialled(listener.url()) as raw:
            await raw.enter()
            said = [frame(1, f";app;;x;0;0;{number}".encode()) for number in range(300)]
            raw.writer.write(b"".join(said) + frame(8, b"\x03\xe8"))
            assert await ends.next() is Cause.PEER
            assert seen == [str(number) for number in range(300)]

    run(test)
