"""What one connection of the reference server costs the others: order, turns, bytes, the end."""

import asyncio
import gc
import logging
from contextlib import asynccontextmanager
from types import SimpleNamespace

import pytest
from websockets.asyncio.client import ClientConnection
from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol
from websockets.streams import StreamReader

from hostile.peers import PIPELINED, REPLIES
from neffos_asyncio import Budget, Limits, Server, dial, listening
from neffos_asyncio.client import QUEUED
from neffos_asyncio.failures import FAILURES, PERIOD, FailureLog, harmless
from neffos_asyncio.handler_queue import TURN, TURN_SIZE
from neffos_asyncio.incoming import LARGE_PIECE, PART, PIECE, Incoming
from neffos_asyncio.limits import LINE_RATE, MESSAGE_RATE
from neffos_asyncio.unfinished import LATE, Unfinished
from neffos_protocol import Cause, SessionLimits
from neffos_protocol.text import LOGGED

from .test_handler_queue import asynchronous
from .test_reference_faults import CONNECT, CONNECTED, Ends, Raw, frame

BUDGET = 1 << 20


class Slow:
    """A handler that waits, and remembers what it has handled."""

    def __init__(self):
        self.may_go = asyncio.Event()
        self.begun = asyncio.Event()
        self.seen = []

    async def __call__(self, _, message):
        self.begun.set()
        await self.may_go.wait()
        self.seen.append(message.body)
        return message.body


def echo(_, message):
    return message.body


@asynccontextmanager
async def entered(server):
    """Serve, and give a client of bytes that has ``app`` connected."""
    async with listening(server, grace=0.1) as listener, Raw.dialled(listener.url()) as raw:
        await raw.send("M", CONNECT)
        assert (await raw.read())[1][:1] == b"A"
        assert await raw.read() == (1, CONNECTED.encode())
        yield raw


async def texts(raw, count):
    return [(await raw.read())[1].decode() for _ in range(count)]


# -------------------------------------------------------------------- order


@asynchronous
@pytest.mark.parametrize("early", range(len(PIPELINED) + 1))
@pytest.mark.parametrize("is_slow", [False, True])
async def test_messages_before_and_behind_the_handshake_request_are_answered_in_order(
    early, is_slow
):
    async def slow(_, message):
        await asyncio.sleep(0)
        return message.body

    async def decide(_):
        for _ in range(3):
            await asyncio.sleep(0)

    hook = decide if is_slow else None
    server = Server({"app": {"slow": slow, "echo": echo}}, on_connect=hook)
    async with listening(server) as listener, Raw.dialled(listener.url()) as raw:
        await raw.send(*PIPELINED[:early], "M", *PIPELINED[early:])
        acceptance, *replies = await texts(raw, len(PIPELINED) + 1)
        assert acceptance.startswith("A")
        assert replies == REPLIES


@asynchronous
async def test_what_crosses_an_ask_of_the_server_is_answered_while_its_handler_waits():
    async def move(namespace, message):
        await namespace.connection.connect("other")
        return message.body

    async with entered(Server({"app": {"move": move, "echo": echo}, "other": {}})) as raw:
        await raw.send("$1;app;;move;0;0;moved")
        token = (await texts(raw, 1))[0].split(";")[0]
        await raw.send("$2;app;;echo;0;0;later", "$3;other;;_OnNamespaceDisconnect;0;0;")
        assert await texts(raw, 1) == ["$3;;;;;;"]
        await raw.send(f"{token};;;;;;")
        assert await texts(raw, 2) == ["$1;app;;move;0;0;moved", "$2;app;;echo;0;0;later"]


# -------------------------------------------------------------------- the end


@asynchronous
async def test_after_a_reset_what_waits_is_dropped_and_what_runs_is_cancelled(caplog):
    slow, ends = Slow(), Ends()
    limits = Limits(grace=0.05)
    server = Server({"app": {"slow": slow}}, limits=limits, on_disconnect=ends.note)
    async with entered(server) as raw:
        await raw.send(*(f"${number};app;;slow;0;0;" for number in range(100)))
        await slow.begun.wait()
        [inside] = server.members("app")
        while len(inside._queue) < 99:
            await asyncio.sleep(0)
        inside.link._transport.abort()
        assert await ends.next() is Cause.PEER
        slow.may_go.set()
        await inside.wait_closed()
        assert slow.seen == []
        assert (len(inside._queue), limits.budget.used) == (0, 0)
    messages = [record.getMessage() for record in caplog.records]
    assert ["99 messages were dropped" in messages[0], "was cancelled" in messages[1]] == [True] * 2


@asynchronous
async def test_after_a_close_frame_what_came_before_it_is_handled_within_the_grace(caplog):
    slow, ends = Slow(), Ends()
    limits = Limits(close=0.1)  # this client does not end TCP
    server = Server({"app": {"slow": slow}}, limits=limits, on_disconnect=ends.note)
    async with entered(server) as raw:
        await raw.send(*(f";app;;slow;0;0;{number}" for number in range(10)))
        await slow.begun.wait()
        [inside] = server.members("app")
        raw.writer.write(frame(8, b"\x03\xe8"))
        await inside.link.wait_lost()
        slow.may_go.set()
        assert await ends.next() is Cause.PEER
        assert slow.seen == [str(number) for number in range(10)]
    assert caplog.records == []


@asynchronous
async def test_a_connection_counts_until_its_hook_has_ended():
    ended, may_end = asyncio.Event(), asyncio.Event()

    async def hook(*_):
        ended.set()
        await may_end.wait()

    server = Server({"app": {}}, on_disconnect=hook)
    async with entered(server) as raw:
        raw.writer.transport.abort()
        await ended.wait()
        assert (len(server._all), len(server.connections)) == (1, 0)
        may_end.set()
        while server._all:
            await asyncio.sleep(0)


@asynchronous
async def test_a_hook_that_hangs_is_cancelled_and_its_connection_no_longer_counts():
    is_cancelled = asyncio.Event()

    async def hook(*_):
        try:
            await asyncio.Event().wait()
        finally:
            is_cancelled.set()

    server = Server({"app": {}}, on_disconnect=hook, limits=Limits(grace=0.05))
    async with entered(server) as raw:
        raw.writer.transport.abort()
        await is_cancelled.wait()
        while server._all:
            await asyncio.sleep(0)


@asynchronous
@pytest.mark.parametrize(("size", "count"), [(1, 10 * TURN), (20_000, 20)], ids=["small", "large"])
async def test_what_came_before_a_close_frame_is_read_in_turns(size, count):
    slow, ends = Slow(), Ends()
    server = Server({"app": {"slow": slow}}, on_disconnect=ends.note)
    async with entered(server) as raw:
        await raw.send(*[";app;;slow;0;0;" + "x" * size] * (count + 1))
        await slow.begun.wait()
        [inside] = server.members("app")
        while len(inside._queue) < count:
            await asyncio.sleep(0)
        receive, read = inside.link.session.receive, []
        turns, now = [], 0

        class Session:
            def __getattr__(self, name):
                return getattr(session, name)

            def receive(self, payload):
                read.append(len(payload))
                return receive(payload)

        session, inside.link.session = inside.link.session, Session()
        inside.link.lost(1000, "")
        ending = asyncio.create_task(inside.wait_closed())
        turns.append(len(read))
        while inside.link.closed is None:
            assert inside.is_open
            now = len(read)
            await asyncio.sleep(0)
            turns.append(len(read) - now)
        assert sum(turns) == len(read) == count
        assert max(turns) <= min(TURN, TURN_SIZE // size + 1)
        assert not ending.done()
        slow.may_go.set()
        await ending
        assert await ends.next() is Cause.PEER
        assert len(slow.seen) == count + 1


@asynchronous
async def test_a_handler_that_others_cancel_costs_one_error_reply_and_nothing_else(caplog):
    slow = Slow()
    async with entered(Server({"app": {"slow": slow, "echo": echo}})) as raw:
        await raw.send(*(f"${number};app;;slow;0;0;{number}" for number in range(50)))
        await slow.begun.wait()
        [task] = [task for task in asyncio.all_tasks() if task.get_name() == "neffos handlers"]
        task.cancel()
        assert await texts(raw, 1) == ["$0;app;;slow;1;0;internal error"]
        slow.may_go.set()
        assert await texts(raw, 49) == [
            f"${number};app;;slow;0;0;{number}" for number in range(1, 50)
        ]
    assert ["was cancelled" in record.getMessage() for record in caplog.records] == [True]


@asynchronous
async def test_a_decision_that_others_cancel_refuses():
    async def decide(*_):
        asyncio.current_task().cancel()
        await asyncio.sleep(0)

    handlers = {"app": {"_OnNamespaceConnect": decide}, "other": {}}
    async with listening(Server(handlers)) as listener, Raw.dialled(listener.url()) as raw:
        await raw.send("M", CONNECT, "$2;other;;_OnNamespaceConnect;0;0;")
        _, *replies = await texts(raw, 3)
        assert replies == ["$c;app;;_OnNamespaceConnect;1;0;internal error", "$2;;;;;;"]


# -------------------------------------------------------------------- turns


@asynchronous
async def test_a_read_full_of_small_frames_is_handled_in_turns():
    seen = []
    server = Server({"app": {"note": lambda _, message: seen.append(message.body)}})
    async with entered(server):
        [inside] = server.members("app")
        socket = inside.link._transport
        payload = b";app;;note;0;0;" + b"x" * 500
        socket.data_received(frame(1, payload) * 10 * TURN)
        turns = 0
        while len(seen) < 10 * TURN:
            is_much = (10 * TURN - len(seen)) * len(payload) > 2 * TURN_SIZE
            assert not (is_much and socket._transport.is_reading())
            before = len(seen)
            await asyncio.sleep(0)
            assert len(seen) - before <= TURN
            turns += 1
        assert turns >= 9
        await asyncio.sleep(0)
        assert socket._transport.is_reading()


@asynchronous
async def test_a_loop_that_reads_again_before_the_next_turn_is_held_back():
    seen = []
    server = Server({"app": {"note": lambda _, message: seen.append(message.body)}})
    async with entered(server):
        [inside] = server.members("app")
        socket = inside.link._transport
        read = frame(1, b";app;;note;0;0;" + b"x" * 500) * 2 * TURN
        reads = 0
        while socket._transport.is_reading():
            socket.data_received(read)
            reads += 1
        assert (reads - 2) * len(read) < TURN_SIZE
        while len(seen) < reads * 2 * TURN:
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert socket._transport.is_reading()


@asynchronous
async def test_a_read_full_of_large_messages_is_handled_in_turns():
    seen = []
    server = Server({"app": {"note": lambda _, message: seen.append(message.body)}})
    async with entered(server):
        [inside] = server.members("app")
        inside.link._transport.data_received(frame(1, b";app;;note;0;0;" + b"x" * 20_000) * 20)
        while len(seen) < 20:
            before = len(seen)
            await asyncio.sleep(0)
            assert len(seen) - before <= TURN_SIZE // 20_000 + 1


def incoming():
    protocol = ServerProtocol()
    protocol.state = protocol.state.OPEN
    protocol.parser = super(ServerProtocol, protocol).parse()
    next(protocol.parser)
    return Incoming(protocol)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65535, 65536, 65537, 200_000])
@pytest.mark.parametrize("step", [1 << 20, 1000, 7])
def test_it_is_known_how_much_of_a_frame_was_received(size, step):
    received = incoming()
    whole = frame(2, b"x" * size) if size < 70_000 or step > 7 else frame(2, b"x" * 70_000)
    data = whole + frame(1, b"hi") + whole[:-1]
    events, at = [], 0
    while at < len(data):
        received.add(data[at : at + step])
        at += step
        while (event := received.take()) is not None:
            assert isinstance(event, Frame)
            events.append(event.opcode)
    assert events == [Opcode.BINARY, Opcode.TEXT]
    assert (received.partial, received.left) == (len(whole) - 1, 0)


def test_few_bytes_are_parsed_at_a_time():
    received = incoming()
    received.add(frame(1, b"") * 10_000)
    received.take()
    assert received.left == 60_000 - PIECE
    assert received
    received.drop()
    assert not received


@asynchronous
async def test_a_client_parses_a_flood_a_few_bytes_at_a_time(monkeypatch):
    read, parse = [], ClientConnection.data_received

    def data_received(connection, data):
        read.append(len(data))
        parse(connection, data)

    monkeypatch.setattr(ClientConnection, "data_received", data_received)
    heard = asyncio.Queue()
    client = {"app": {"note": lambda _, message: heard.put_nowait(message.body)}}
    server = Server({"app": {}})
    async with listening(server) as listener, await dial(listener.url(), client) as dialled:
        await dialled.connect("app")
        [inside] = server.members("app")
        read.clear()
        inside.link._transport._transport.write(b"\x81\x00" * 10_000)
        server.broadcast("app", "note", "first")
        assert await heard.get() == "first"
        assert max(read) <= PIECE
        read.clear()
        server.broadcast("app", "note", "x" * 100 * PIECE)
        assert len(await heard.get()) == 100 * PIECE
        assert PIECE < max(read) <= LARGE_PIECE


@asynchronous
@pytest.mark.parametrize("method", ["HEAD", "GET", "POST"])
async def test_bytes_behind_a_request_that_is_no_upgrade_are_ignored(method, caplog):
    async with listening(Server({"app": {}})) as listener:
        reader, writer = await asyncio.open_connection(listener.host, listener.port)
        head = f"{method} / HTTP/1.1\r\nHost: {listener.host}\r\n\r\n".encode()
        writer.write(head + b"\x81\x00" * 1000)
        assert (await reader.read()).startswith(b"HTTP/1.1 ")
        writer.write(frame(1, b"M"))
        writer.close()
    assert [record for record in caplog.records if record.levelno >= logging.ERROR] == []


# -------------------------------------------------------------------- bytes


@asynchronous
async def test_bytes_of_an_unfinished_message_count_at_once_and_until_it_is_finished():
    budget = Budget(BUDGET)
    limits = Limits(budget=budget)
    async with entered(Server({"app": {"echo": echo}}, limits=limits)) as raw:
        message = frame(1, b"$1;app;;echo;0;0;" + b"x" * 100_000)
        raw.writer.write(message[:50_000])
        while budget.used < 50_000:
            await asyncio.sleep(0)
        assert budget.used < 150_000  # a fast parser's buffer has room for what comes next
        raw.writer.write(message[50_000:])
        assert len((await raw.read())[1]) == 100_017
        assert budget.used == 0


@asynchronous
async def test_a_message_that_was_handled_is_not_kept():
    before = {id(each): each for each in gc.get_objects() if type(each) is Frame}  # other tests'
    async with entered(Server({"app": {"echo": echo}})) as raw:
        raw.writer.write(frame(1, b"$1;app;;echo;0;0;" + b"x" * 200_000))
        assert len((await raw.read())[1]) == 200_017
        frames = [each for each in gc.get_objects() if type(each) is Frame]
        kept = [each for each in frames if id(each) not in before]
        assert max((len(each.data) for each in kept), default=0) < 1000


@asynchronous
async def test_the_connection_that_holds_most_is_reset_when_all_hold_too_much(caplog):
    budget = Budget(BUDGET)
    slow = Slow()
    limits = Limits(budget=budget)
    async with entered(Server({"app": {"slow": slow}}, limits=limits)) as innocent:
        asks = ["$1;app;;slow;0;0;one", "$2;app;;slow;0;0;" + "x" * 1000]
        await innocent.send(*asks)
        await slow.begun.wait()
        url = innocent.writer.get_extra_info("peername")
        async with Raw.dialled(f"ws://{url[0]}:{url[1]}/") as greedy:
            await greedy.send("M")
            await greedy.read()
            greedy.writer.write(frame(1, b"x" * 1000, length=4 << 20))
            greedy.writer.write(b"x" * (2 << 20))
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await greedy.reader.readexactly(1)
        slow.may_go.set()
        assert await texts(innocent, 2) == [
            "$1;app;;slow;0;0;one",
            "$2;app;;slow;0;0;" + "x" * 1000,
        ]
        assert budget.used == 0
    assert "too many bytes" in caplog.text


@asynchronous
async def test_what_a_peer_does_not_read_counts_too(caplog):
    budget = Budget(BUDGET)
    limits = Limits(high_water=16 << 10, backlog=64 << 20, write=None, budget=budget)
    server = Server({"app": {}}, limits=limits)
    async with entered(server):
        [inside] = server.members("app")
        most = 0
        while inside.is_open:
            server.broadcast("app", "news", "x" * 50_000)
            await asyncio.sleep(0)
            most = max(most, budget.used)
        await inside.wait_closed()
        assert 0 < most <= BUDGET
        assert budget.used == 0
    assert "too many bytes" in caplog.text


@asynchronous
async def test_an_unfinished_message_is_not_kept_after_the_end():
    gc.collect()  # what other tests left
    ends = Ends()
    limits = Limits(budget=Budget(BUDGET))
    server = Server({"app": {}}, limits=limits, on_disconnect=ends.note)
    async with entered(server) as raw:
        raw.writer.write(frame(1, b"", length=4 << 20) + b"x" * 100_000)
        while limits.budget.used < 100_000:
            await asyncio.sleep(0)
        raw.writer.transport.abort()
        await ends.next()
        kept = [each for each in gc.get_objects() if type(each) is StreamReader]
        assert max((len(each.buffer) for each in kept), default=0) < PIECE


@asynccontextmanager
async def written_to(budget):
    """Connect a client with a budget; give what writes bytes to it as its server does, and it."""
    server = Server({"app": {}})
    async with (
        listening(server, grace=0.1) as listener,
        await dial(listener.url(), limits=Limits(budget=budget)) as client,
    ):
        await client.connect("app")
        [inside] = server.members("app")
        yield inside.link._transport._transport.write, client


@asynchronous
async def test_bytes_of_a_servers_unfinished_message_count_too(caplog):
    budget = Budget(BUDGET)
    async with written_to(budget) as (write, client):
        write(b"\x01\x7e\xff\xff" + bytes(65_535) + b"\x80\x7f" + (4 << 20).to_bytes(8))
        while budget.used < 65_535:
            await asyncio.sleep(0)
        assert budget.used == 65_535
        write(bytes(2 << 20))
        await client.wait_closed()
        assert budget.used == 0
    assert "too many bytes" in caplog.text


@asynchronous
async def test_a_client_keeps_nothing_of_its_last_message_after_a_reset():
    before = {id(each): each for each in gc.get_objects() if type(each) is Frame}  # other tests'
    heard = asyncio.Queue()
    handlers = {"app": {"note": lambda _, message: heard.put_nowait(len(message.body))}}
    server = Server({"app": {}})
    async with (
        listening(server, grace=0.1) as listener,
        await dial(listener.url(), handlers) as client,
    ):
        await client.connect("app")
        [inside] = server.members("app")
        gc.disable()
        try:
            server.broadcast("app", "note", "x" * 100_000)
            assert await heard.get() == 100_000
            inside.link.abort()
            await client.wait_closed()
            frames = [each for each in gc.get_objects() if type(each) is Frame]
        finally:
            gc.enable()
        kept = [each for each in frames if id(each) not in before]
        assert max((len(each.data) for each in kept), default=0) < PIECE


@asynchronous
async def test_fragments_count_that_are_empty(caplog):
    budget = Budget(BUDGET)
    async with written_to(budget) as (write, client):
        write(b"\x01\x00" + b"\x00\x00" * 9 + b"\x89\x00" * 9)
        while budget.used < 9 * PART:
            await asyncio.sleep(0)
        assert budget.used == 9 * PART
        write(b"\x00\x00" * (BUDGET // PART))
        await client.wait_closed()
        assert budget.used == 0
    assert "too many bytes" in caplog.text


@asynchronous
async def test_a_client_whose_handler_is_slow_keeps_few_messages_beside_its_queue():
    slow, server = Slow(), Server({"app": {}})
    limits = Limits(queue_length=1)
    async with (
        listening(server) as listener,
        await dial(listener.url(), {"app": {"slow": slow}}, limits=limits) as client,
    ):
        await client.connect("app")
        for number in range(40):
            server.broadcast("app", "slow", f"{number}" + "x" * PIECE)
        socket = client.connection.link._transport._on_abort.__self__
        while socket.is_reading():
            await asyncio.sleep(0)
        assert len(socket.get_protocol().recv_messages.frames) <= QUEUED + 1
        slow.may_go.set()
        while len(slow.seen) < 40:
            await asyncio.sleep(0)
        assert [body.rstrip("x") for body in slow.seen] == [str(number) for number in range(40)]


@asynchronous
async def test_before_the_handshake_a_message_may_not_be_large():
    async with (
        listening(Server({"app": {}})) as listener,
        Raw.dialled(listener.url()) as raw,
    ):
        raw.writer.write(frame(1, b"", length=SessionLimits().held_size + 1))
        assert (await raw.close_code())[0] == 1009


@asynchronous
async def test_while_the_handshake_is_decided_little_may_wait():
    async def decide(_):
        await asyncio.Event().wait()

    async with (
        listening(Server({"app": {}}, on_connect=decide), grace=0.1) as listener,
        Raw.dialled(listener.url()) as raw,
    ):
        await raw.send("M", *(["x"] * (SessionLimits().held + 1)))
        code, reason = await raw.close_code()
        assert (code, reason[:5]) == (1008, "SEC-3")


@asynchronous
async def test_the_size_of_what_waits_is_that_of_memory_heads_included():
    slow = Slow()
    limits = Limits(queue_size=100_000, budget=Budget())
    server = Server({"app": {"slow": slow}}, limits=limits)
    async with entered(server) as raw:
        [inside] = server.members("app")
        await raw.send("$1;app;;slow;0;0;")
        room = "\N{GRINNING FACE}" * 200
        await raw.send(*[f";app;{room};slow;0;0;"] * 200)
        while not inside.link.is_held:
            await asyncio.sleep(0)
        assert len(inside._queue) < 200 * 4 * 200 / 800
        assert limits.budget.used >= inside._queue.size >= limits.queue_size
        slow.may_go.set()
        await raw.send("$3;app;;slow;0;0;end")
        assert await texts(raw, 2) == ["$1;app;;slow;0;0;", "$3;app;;slow;0;0;end"]


# -------------------------------------------------------------------- time


@asynchronous
@pytest.mark.parametrize("is_fast", [False, True])
async def test_an_unfinished_message_has_to_go_on(is_fast, monkeypatch):
    limits = Limits(message=1)
    server = Server({"app": {"echo": echo}}, limits=limits)
    async with entered(server) as raw:
        [inside] = server.members("app")
        socket = inside.link._transport
        now = [socket._loop.time()]
        monkeypatch.setattr(socket._loop, "time", lambda: now[0], raising=False)
        message = frame(1, b"$1;app;;echo;0;0;" + b"x" * 4 * MESSAGE_RATE)
        socket.data_received(message[:10])
        at = 10
        for _ in range(3):
            socket.data_received(message[at : at + (MESSAGE_RATE if is_fast else 10)])
            at += MESSAGE_RATE if is_fast else 10
            now[0] += 1
            socket._unfinished.check()
            if not is_fast:
                break
        monkeypatch.undo()
        if is_fast:
            socket.data_received(message[at:])
            assert (await raw.read())[1].startswith(b"$1;app;;echo;0;0;")
        else:
            code, reason = await raw.close_code()
            assert (code, reason) == (1008, LATE)


@asynchronous
async def test_an_unfinished_message_is_not_late_when_it_was_not_read(monkeypatch):
    server = Server({"app": {"echo": echo}}, limits=Limits(message=1))
    async with entered(server) as raw:
        [inside] = server.members("app")
        socket = inside.link._transport
        now = [socket._loop.time()]
        monkeypatch.setattr(socket._loop, "time", lambda: now[0], raising=False)
        message = frame(1, b"$1;app;;echo;0;0;" + b"x" * MESSAGE_RATE)
        socket.data_received(message[:10])
        socket.pause()  # a handler is slow
        now[0] += 1
        socket.resume()
        socket._unfinished.check()
        monkeypatch.undo()
        socket.data_received(message[10:])
        assert (await raw.read())[1].startswith(b"$1;app;;echo;0;0;")


@asynchronous
@pytest.mark.parametrize("is_fast", [False, True])
async def test_a_servers_unfinished_message_has_to_go_on(is_fast, monkeypatch):
    heard = asyncio.Queue()
    client = {"app": {"note": lambda _, message: heard.put_nowait(message.body)}}
    server = Server({"app": {}})
    async with (
        listening(server, grace=0.1) as listener,
        await dial(listener.url(), client, limits=Limits(message=1)) as dialled,
    ):
        await dialled.connect("app")
        [inside] = server.members("app")
        socket = dialled.connection.link._transport._on_abort.__self__.get_protocol()
        now = [asyncio.get_running_loop().time()]
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now[0], raising=False)
        body = b"x" * 4 * MESSAGE_RATE
        message = b"\x81\x7e" + (len(body) + 16).to_bytes(2) + b";app;;note;0;0;" + body + b"!"

        def receive(data):
            for at in range(0, len(data), PIECE):
                piece = data[at : at + PIECE]
                socket.get_buffer(-1)[: len(piece)] = piece
                socket.buffer_updated(len(piece))

        receive(message[:10])
        at = 10
        for _ in range(3):
            receive(message[at : at + (MESSAGE_RATE if is_fast else 10)])
            at += MESSAGE_RATE if is_fast else 10
            now[0] += 1
            socket._InPieces__unfinished.check()
            if not is_fast:
                break
        monkeypatch.undo()
        if is_fast:
            receive(message[at:])
            assert (await heard.get())[-1:] == "!"
        else:
            await inside.wait_closed()
            code, reason = inside.link.closed
            assert (code, reason) == (1008, LATE)


@asynchronous
async def test_a_message_that_begins_where_another_ends_has_its_own_time():
    now, late = 0.0, []
    watched = Unfinished(8, lambda: True, lambda: late.append(now))
    watched._loop = SimpleNamespace(time=lambda: now, call_later=lambda *_: None)
    for _ in range(5):
        watched.note(10, is_unfinished=True, is_next=True)
        now += 7
        watched.check()
    assert not late
    now += 1
    watched.check()
    watched.check()
    assert late == [now]


@asynchronous
async def test_nobody_is_late_while_nothing_is_read():
    now, late, reads = 0.0, [], [False]
    watched = Unfinished(8, lambda: reads[0], lambda: late.append(now))
    watched._loop = SimpleNamespace(time=lambda: now, call_later=lambda *_: None)
    watched.note(10, is_unfinished=True, is_next=True)
    for _ in range(20):
        now += 1
        watched.check()
    reads[0] = True
    for _ in range(7):
        now += 1
        watched.check()
    assert not late
    now += 1
    watched.check()
    assert late == [now]


# -------------------------------------------------------------------- the heartbeat


@asynchronous
async def test_a_pong_may_come_as_much_later_as_what_is_before_its_ping(monkeypatch):
    limits = Limits(heartbeat=0.2, heartbeat_timeout=1)
    server = Server({"app": {"echo": echo}}, limits=limits)
    async with entered(server) as raw:
        [inside] = server.members("app")
        socket, loop = inside.link._transport, asyncio.get_running_loop()
        now = [loop.time()]
        monkeypatch.setattr(loop, "time", lambda: now[0], raising=False)
        server.broadcast("app", "news", "x" * 2 * LINE_RATE)
        await asyncio.sleep(0)
        now[0] += limits.heartbeat
        socket._ping()
        now[0] += limits.heartbeat_timeout + 1.9  # the rest is still under way
        socket._ping()
        assert not socket._transport.is_closing()
        await raw.read()
        opcode, before = await raw.read()
        assert (opcode, int.from_bytes(before) // LINE_RATE) == (9, 2)
        raw.writer.write(frame(10, before))
        while socket._is_pinged:
            await asyncio.sleep(0)
        now[0] += limits.heartbeat  # nothing is under way now
        socket._ping()
        now[0] += limits.heartbeat_timeout + 0.1
        socket._ping()
        assert socket._transport.is_closing()
        monkeypatch.undo()


@asynchronous
@pytest.mark.parametrize("pong", [b"", b"x" * 8, bytes(8)])
async def test_a_pong_proves_no_more_than_was_written(pong):
    async with entered(server := Server({"app": {"echo": echo}})) as raw:
        [inside] = server.members("app")
        raw.writer.write(frame(10, pong))
        await raw.send("$1;app;;echo;0;0;x")
        await raw.read()
        assert inside.link._transport._arrived == 0


@asynchronous
async def test_a_server_has_more_time_for_a_pong_while_more_is_under_way(monkeypatch):
    seen = asyncio.Queue()

    def pong_time(limits, under_way):
        seen.put_nowait(under_way)
        return limits.heartbeat_timeout

    monkeypatch.setattr("neffos_asyncio.client.pong_time", pong_time)
    limits = Limits(heartbeat=0.01, heartbeat_timeout=60)
    server = Server({"app": {"echo": echo}})
    async with (
        listening(server, grace=0.1) as listener,
        await dial(listener.url(), limits=limits) as client,
    ):
        app = await client.connect("app")
        await app.ask("echo", "x" * 100_000)
        while await seen.get() < 100_000:
            pass
        assert await seen.get() < 1000  # the pong came: all before its ping has arrived


def test_a_budget_knows_who_holds_most():
    shed = []

    class Holder:
        def __init__(self, name):
            self.name = name

        def shed(self):
            shed.append(self.name)

    budget = Budget(100)
    few, many, more = Holder("few"), Holder("many"), Holder("more")
    budget.hold(few, 10)
    budget.hold(many, 60)
    budget.hold(many, 50)
    budget.hold(more, 30)
    assert (budget.used, shed) == (90, [])
    budget.hold(few, 25)
    assert (budget.used, shed) == (55, ["many"])
    budget.hold(few, 0)
    budget.hold(few, 0)
    assert (budget.used, shed) == (30, ["many"])


# -------------------------------------------------------------------- the log


NASTY = "a\r\n\x1b[2J\u202e" + "x" * 5000


@asynchronous
async def test_what_peers_write_does_not_shape_the_log(caplog):
    def fail(_, message):
        raise ValueError(message.body) from KeyError(message.body)

    caplog.set_level(logging.DEBUG, "neffos")
    server, now = Server({"app": {"fail": fail}}), [0.0]
    failures = FailureLog(logging.getLogger("neffos"), lambda: now[0])
    object.__setattr__(server._dispatcher, "failures", failures)
    async with entered(server) as raw:
        await raw.send(*[f"$1;app;;fail;0;0;{NASTY}"] * 100, f"{NASTY[:9]};;;;;;", NASTY)
        assert await texts(raw, 100) == ["$1;app;;fail;1;0;internal error"] * 100
        now[0] = PERIOD
        await raw.send("$2;app;;fail;0;0;")
        await texts(raw, 2)  # and the reply to the ask with that token
    written = caplog.text
    assert not {"\r", "\x1b", "\u202e"} & set(written)
    assert written.count("a handler failed") == FAILURES + 1
    assert max(map(len, written.splitlines())) < 2 * LOGGED
    assert f"{100 - FAILURES} failures were not logged" in written


def test_a_harmless_copy_of_an_exception_keeps_its_kind_its_place_and_its_causes():
    def fail():
        try:
            raise KeyError(NASTY)
        except KeyError:
            raise RuntimeError(NASTY)  # noqa: B904

    with pytest.raises(RuntimeError) as caught:
        fail()
    error = caught.value
    copy = harmless(error)
    assert copy.__traceback__ is error.__traceback__
    assert type(copy).__name__ == "RuntimeError"
    assert type(copy.__cause__).__name__ == "KeyError"
    assert len(str(copy)) == LOGGED
    assert harmless(error, 1).__cause__ is None
    error.__suppress_context__ = True
    assert harmless(error).__cause__ is None
