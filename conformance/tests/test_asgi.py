"""The reference server as an ASGI application: in Starlette and bare, on what uvicorn offers."""

import asyncio
import gc
import http.client
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from http import HTTPStatus
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount, Route, WebSocketRoute
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame
from websockets.streams import StreamReader

from neffos_asyncio import (
    Budget,
    DialError,
    Limits,
    LostError,
    RefusedError,
    ReplyError,
    Server,
    dial,
)
from neffos_asyncio.incoming import LARGE_PIECE, PIECE
from neffos_asyncio.uvicorn import WebSockets
from neffos_conformance.cases.definition import select, server_cases
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.reference.application import servers
from neffos_conformance.runner.playback import Timeouts
from neffos_conformance.runner.run import run_cases, to_server
from neffos_protocol import Cause, MisuseError, SessionLimits

from .test_reference_faults import Raw, frame

PATIENCE = 60
"""Seconds for a whole test; a hang is a failure."""

IMPLEMENTATIONS = ["websockets-sansio", WebSockets, "wsproto"]
"""Of WebSocket in uvicorn. The first is its default, the second the same with turns; "websockets"
is the one that is deprecated."""

TESTED = [(WebSockets, ()), ("wsproto", ("HS", "TR", "FR"))]
"""What each of them is tested by: the first by all cases, the second by those in which it has
a say; what is above the messages is the same."""

NO_FRAME = "wsproto tells of it as if the client had closed, and uvicorn hangs up without a word"

UVICORN_DECIDES = {
    WebSockets: {},
    "wsproto": {
        "TR-6.3": "wsproto answers an upgrade that is no GET with 400, before any application",
        "TR-7.5": "wsproto does not look at the key's length",
        **dict.fromkeys(("TR-12.3", *(f"TR-17.{number}" for number in range(1, 7))), NO_FRAME),
    },
}
"""The cases that fail since the server cannot do anything about it, and why."""

LARGE = "x" * (64 << 10)


class Host(uvicorn.Server):
    """uvicorn on a free port of its own.

    The socket listens before uvicorn does: those who dial too early wait in its backlog.
    """

    def __init__(self, app: Any, **settings: Any) -> None:
        # Should a handler hang, the test is to fail, and not to wait for it.
        settings = {"log_config": None, "timeout_graceful_shutdown": 2, **settings}
        super().__init__(uvicorn.Config(app, **settings))
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = self._socket.getsockname()[1]
        self._is_over = asyncio.Event()
        self._task = asyncio.create_task(self.serve([self._socket]))

    def url(self, path: str = "/") -> str:
        return f"ws://127.0.0.1:{self.port}{path}"

    async def main_loop(self) -> None:
        """Wait for the end; uvicorn looks ten times a second, and forty tests wait for it."""
        await self._is_over.wait()

    async def stop(self) -> None:
        self._is_over.set()
        await self._task


@asynccontextmanager
async def hosted(app: Any, timeout: float = PATIENCE, **settings: Any) -> AsyncIterator[Host]:
    host = Host(app, **settings)
    try:
        async with asyncio.timeout(timeout):
            yield host
    finally:
        await host.stop()


def bare(server: Server, _: str) -> Any:
    return server


def routed(server: Server, path: str) -> Any:
    return Starlette(routes=[Route(path, server), WebSocketRoute(path, server)])


def mounted(server: Server, path: str) -> Any:
    return Starlette(routes=[Mount(path, server)])


def echo(_, message):
    return message.body


def shout(namespace, message):
    namespace.broadcast("shouted", message.body)
    return "done"


HANDLERS = {"chat": {"echo": echo, "shout": shout}}


class Ends:
    """How connections of a server have ended."""

    def __init__(self) -> None:
        self.seen: asyncio.Queue[Cause] = asyncio.Queue()

    def __call__(self, _, cause: Cause) -> None:
        self.seen.put_nowait(cause)


# -------------------------------------------------------------------- what it is for


@pytest.mark.parametrize("ws", IMPLEMENTATIONS)
@pytest.mark.parametrize("mount", [bare, routed, mounted])
def test_two_clients_talk(mount, ws):
    async def run() -> None:
        shouted: asyncio.Queue[str | bytes] = asyncio.Queue()
        listener = {"chat": {"shouted": lambda _, message: shouted.put_nowait(message.body)}}
        async with (
            hosted(mount(Server(HANDLERS), "/neffos/"), ws=ws) as host,
            await dial(host.url("/neffos/")) as ann,
            await dial(host.url("/neffos/"), listener) as bob,
        ):
            chat = await ann.connect("chat")
            await bob.connect("chat")
            for body in ("hi; ünïcode", b"\x00;\xff", "", LARGE):
                assert (await chat.ask("echo", body)).body == body
                await chat.ask("shout", body)
                assert await shouted.get() == body

    asyncio.run(run())


@pytest.mark.whole
@pytest.mark.parametrize(("ws", "patterns"), TESTED)
def test_the_conformance_application_passes_every_case(ws, patterns):
    async def run() -> None:
        routes = []
        for path, server in servers().items():
            routes += [Route(path, server), WebSocketRoute(path, server)]
        cases = select(server_cases(), patterns)
        async with hosted(Starlette(routes=routes), ws=ws, timeout=10 * PATIENCE) as host:
            run = to_server(host.url(), Timeouts(case=30, close=10))
            results = [each async for each in run_cases(run, cases)]
        assert len(results) == len(cases)
        wrong = {each.case.id: each.explanation for each in results if each.is_broken}
        assert wrong.keys() == UVICORN_DECIDES[ws].keys(), wrong
        assert not [each.case.id for each in results if each.verdict is Verdict.ERROR]

    asyncio.run(run())


def test_the_application_knows_the_request():
    async def run() -> None:
        server = Server(HANDLERS, id_generator=lambda request: request.parameter("name"))
        async with hosted(routed(server, "/a b")) as host:
            url = host.url("/a%20b?name=%C3%A4&X-Websocket-Header-Colour=red")
            async with await dial(url, headers={"X-Size": "9"}) as client:
                assert client.id == "ä"
                request = server.connections["ä"].request
                assert request.path == "/a%20b"
                assert request.headers["Colour"] == "red"
                assert request.headers["x-size"] == "9"
                assert request.remote.startswith("127.0.0.1:")
                assert request.values["type"] == "websocket"

    asyncio.run(run())


def test_with_turns_a_flood_is_parsed_a_few_bytes_at_a_time(monkeypatch):
    read: list[int] = []
    parse = WebSocketsSansIOProtocol.data_received

    def data_received(self: Any, data: bytes) -> None:
        read.append(len(data))
        parse(self, data)

    monkeypatch.setattr(WebSocketsSansIOProtocol, "data_received", data_received)

    async def run() -> None:
        ends, ask = Ends(), b"$1;chat;;echo;0;0;"
        async with (
            hosted(Server(HANDLERS, on_disconnect=ends), ws=WebSockets) as host,
            Raw.dialled(host.url()) as raw,
        ):
            await raw.send("M", "$0;chat;;_OnNamespaceConnect;0;0;")
            await raw.read(), await raw.read()
            read.clear()
            raw.writer.write(frame(1, b"") * 2_000 + frame(1, ask))
            assert await raw.read() == (1, ask)
            assert max(read) <= PIECE
            read.clear()
            raw.writer.write(frame(1, ask + bytes(100 * PIECE)))
            assert await raw.read() == (1, ask + bytes(100 * PIECE))
            assert PIECE < max(read) <= LARGE_PIECE

    asyncio.run(run())


def test_with_turns_unfinished_messages_count_for_the_budget(monkeypatch):
    gc.collect()  # what other tests left
    budget = Budget(1 << 20)
    monkeypatch.setattr(WebSockets, "limits", Limits(budget=budget))

    async def run() -> None:
        async with hosted(Server(HANDLERS), ws=WebSockets) as host, Raw.dialled(host.url()) as raw:
            raw.writer.write(frame(1, bytes(1000), fin=False) + frame(0, b"", length=4 << 20))
            while budget.used < 1000:
                await asyncio.sleep(0)
            assert budget.used == 1000
            raw.writer.write(bytes(2 << 20))
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await raw.read()
            while budget.used:
                await asyncio.sleep(0)
            kept = [each for each in gc.get_objects() if type(each) is StreamReader]
            assert max((len(each.buffer) for each in kept), default=0) < PIECE

    asyncio.run(run())


@pytest.mark.parametrize("is_late", [True, False])
def test_with_turns_unfinished_messages_have_to_go_on(is_late, monkeypatch):
    monkeypatch.setattr(WebSockets, "limits", Limits(message=1))
    kept: list[WebSockets] = []
    made = WebSockets.connection_made
    monkeypatch.setattr(
        WebSockets, "connection_made", lambda self, *it: (kept.append(self), made(self, *it))[1]
    )

    async def run() -> None:
        async with hosted(Server(HANDLERS), ws=WebSockets) as host, Raw.dialled(host.url()) as raw:
            await raw.send("M")
            await raw.read()
            held = frame(1, b"$0;chat;;_OnNamespaceConnect;0;0;")
            raw.writer.write(held[:-1])
            [protocol] = kept
            while not protocol.conn.reader.buffer:
                await asyncio.sleep(0)
            watched = protocol._InPieces__unfinished  # type: ignore[attr-defined]
            if is_late:
                watched._at -= 1
            watched.check()
            raw.writer.write(held[-1:])
            opcode, data = await raw.read()
            assert (opcode, data[:2]) == ((8, b"\x03\xf0") if is_late else (1, b"$0"))

    asyncio.run(run())


def test_with_turns_nothing_is_kept_of_the_last_message():
    before = {id(each) for each in gc.get_objects() if type(each) is Frame}  # other tests'

    def large() -> list[int]:
        frames = [each for each in gc.get_objects() if type(each) is Frame]
        sizes = [len(each.data) for each in frames if id(each) not in before]
        return [size for size in sizes if size > PIECE]

    async def run() -> None:
        ends = Ends()
        server = Server(HANDLERS, on_disconnect=ends)
        async with hosted(server, ws=WebSockets) as host, Raw.dialled(host.url()) as raw:
            await raw.send("M", "$0;chat;;_OnNamespaceConnect;0;0;")
            await raw.read(), await raw.read()
            raw.writer.write(frame(1, b"$1;chat;;echo;0;0;" + bytes(100_000)))
            await raw.read()
            assert not large()

    asyncio.run(run())


# -------------------------------------------------------------------- HTTP


def http_status(port: int, method: str, path: str) -> tuple[int, str | None, bytes]:
    """Give status, ``Allow`` and body of an answer to a request that is no upgrade."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.headers["Allow"], response.read()
    finally:
        connection.close()


@pytest.mark.parametrize("mount", [bare, routed, mounted])
def test_requests_that_are_no_upgrade_are_answered(mount):
    async def run() -> None:
        async with hosted(mount(Server(HANDLERS), "/neffos/")) as host:
            for method, status in [
                ("HEAD", HTTPStatus.OK),
                ("GET", HTTPStatus.UPGRADE_REQUIRED),
                ("POST", HTTPStatus.METHOD_NOT_ALLOWED),
                ("DELETE", HTTPStatus.METHOD_NOT_ALLOWED),
            ]:
                answer = await asyncio.to_thread(http_status, host.port, method, "/neffos/")
                assert answer == (status, "GET, HEAD", b"")

    asyncio.run(run())


def broken(_) -> str:
    raise RuntimeError("on purpose")


@pytest.mark.parametrize("ws", IMPLEMENTATIONS)
@pytest.mark.parametrize(
    ("options", "headers", "status"),
    [
        ({}, {"Origin": "https://elsewhere.example"}, HTTPStatus.FORBIDDEN),
        ({"origins": ["https://a.example"]}, {"Origin": "https://b.example"}, HTTPStatus.FORBIDDEN),
        ({"id_generator": broken}, {}, HTTPStatus.INTERNAL_SERVER_ERROR),
    ],
)
def test_an_upgrade_is_refused_with_a_status(options, headers, status, ws):
    async def run() -> None:
        async with hosted(Server(HANDLERS, **options), ws=ws) as host:
            with pytest.raises(DialError) as refusal:
                await dial(host.url(), headers=headers)
            assert refusal.value.status == status

    asyncio.run(run())


def test_pages_of_the_same_host_or_of_named_ones_may_connect():
    async def run() -> None:
        server = Server(HANDLERS)
        async with hosted(server) as host:
            origin = {"Origin": f"http://127.0.0.1:{host.port}"}
            async with await dial(host.url(), headers=origin) as client:
                assert client.is_open
        server = Server(HANDLERS, origins=["https://a.example"])
        async with (
            hosted(server) as host,
            await dial(host.url(), headers={"Origin": "https://a.example"}) as client,
        ):
            assert client.is_open

    asyncio.run(run())


def test_those_who_are_too_many_get_a_status_and_a_place_once_there_is_one():
    async def run() -> None:
        ends = Ends()
        async with hosted(Server(HANDLERS, max_connections=1, on_disconnect=ends)) as host:
            async with await dial(host.url()):
                with pytest.raises(DialError) as refusal:
                    await dial(host.url())
                assert refusal.value.status == HTTPStatus.SERVICE_UNAVAILABLE
            assert await ends.seen.get() is Cause.PEER
            async with await dial(host.url()) as client:
                assert client.is_open

    asyncio.run(run())


# -------------------------------------------------------------------- how connections end


@pytest.mark.parametrize("ws", IMPLEMENTATIONS)
def test_a_refused_handshake_has_a_text_and_a_code(ws):
    def refuse(_):
        raise ReplyError("not you")

    async def run() -> None:
        async with hosted(Server(HANDLERS, on_connect=refuse), ws=ws) as host:
            with pytest.raises(RefusedError, match="not you"):
                await dial(host.url())
            async with connect(host.url()) as peer:
                await peer.send("M")
                assert await peer.recv() == "Hnot you"
                with pytest.raises(ConnectionClosed) as end:
                    await peer.recv()
            assert end.value.rcvd.code == 1008

    asyncio.run(run())


@pytest.mark.parametrize("ws", IMPLEMENTATIONS)
def test_either_end_may_close(ws):
    async def run() -> None:
        ends = Ends()
        closing = {"chat": {"close": lambda namespace, _: namespace.connection.close(1000, "bye")}}
        async with hosted(Server(closing, on_disconnect=ends), ws=ws) as host:
            async with await dial(host.url()) as client:
                (await client.connect("chat")).emit("close")
                await client.wait_closed()
                assert client.connection.link.closed == (1000, "bye")
            assert await ends.seen.get() is Cause.LOCAL
            async with await dial(host.url()):
                pass
            assert await ends.seen.get() is Cause.PEER

    asyncio.run(run())


@pytest.mark.parametrize("ws", IMPLEMENTATIONS)
def test_what_is_too_large_for_the_web_server_ends_the_connection(ws):
    async def run() -> None:
        ends = Ends()
        async with (
            hosted(Server(HANDLERS, on_disconnect=ends), ws=ws, ws_max_size=1000) as host,
            await dial(host.url()) as client,
        ):
            chat = await client.connect("chat")
            assert (await chat.ask("echo", "x" * 900)).body == "x" * 900
            with pytest.raises(LostError):
                await chat.ask("echo", "x" * 1001)
            await client.wait_closed()
            assert client.connection.link.closed[0] == 1009
            await ends.seen.get()

    asyncio.run(run())


def test_what_is_too_large_and_waited_for_a_handler_when_the_client_left_leaves_nothing_behind():
    async def run() -> None:
        gate, is_asked, ends = asyncio.Event(), asyncio.Event(), Ends()

        async def slow(*_) -> None:
            is_asked.set()
            await gate.wait()

        limits = Limits(session=SessionLimits(payload=1000))
        server = Server({"chat": {"slow": slow}}, limits=limits, on_disconnect=ends)
        async with hosted(server) as host, connect(host.url()) as client:
            await client.send("M")
            await client.recv()
            await client.send("$1;chat;;_OnNamespaceConnect;0;0;")
            await client.recv()
            for frame in ("$2;chat;;slow;0;0;", ";chat;;news;0;0;" + "x" * 1000):
                await client.send(frame)
            await is_asked.wait()
            await client.close()
            gate.set()
            await ends.seen.get()
            while server._all:
                await asyncio.sleep(0)
            assert server.connections == {}

    asyncio.run(run())


def test_what_is_too_large_for_the_session_ends_the_connection():
    async def run() -> None:
        limits = Limits(session=SessionLimits(payload=1000))
        async with (
            hosted(Server(HANDLERS, limits=limits)) as host,
            await dial(host.url()) as client,
        ):
            chat = await client.connect("chat")
            with pytest.raises(LostError):
                await chat.ask("echo", "x" * 1001)
            await client.wait_closed()
            code, reason = client.connection.link.closed
            assert code == 1009
            assert reason.startswith("SEC-2")

    asyncio.run(run())


# -------------------------------------------------------------------- those who do not read


async def flood(namespace, _) -> None:
    """Send without end, and give way in between."""
    with suppress(MisuseError):  # the connection was cut
        while True:
            namespace.emit("drop", LARGE)
            await asyncio.sleep(0)


def pour(namespace, _) -> None:
    """Send more than network and system hold, at once."""
    for _ in range(512):
        namespace.emit("drop", LARGE)


@asynccontextmanager
async def never_reading(url: str, event: str) -> AsyncIterator[Any]:
    """Connect, ask for that event, and read no more."""
    async with connect(url, max_queue=1, ping_interval=None, compression=None) as peer:
        await peer.send("M")
        await peer.recv()
        await peer.send("$1;chat;;_OnNamespaceConnect;0;0;")
        await peer.recv()
        await peer.send(f";chat;;{event};0;0;")
        try:
            yield peer
        finally:
            peer.transport.abort()


@pytest.mark.parametrize(
    ("event", "limits"),
    [
        ("flood", Limits(high_water=64 << 10, backlog=1 << 20, close=0.1)),
        ("pour", Limits(high_water=64 << 10, backlog=1 << 30, write=0.1, close=0.1)),
    ],
)
@pytest.mark.parametrize("ws", IMPLEMENTATIONS)
def test_who_does_not_read_is_cut_off(event, limits, ws):
    async def run() -> None:
        ends = Ends()
        server = Server({"chat": {"flood": flood, "pour": pour}}, limits=limits, on_disconnect=ends)
        async with hosted(server, ws=ws) as host, never_reading(host.url(), event):
            assert await ends.seen.get() is Cause.LOCAL
            assert not server.connections

    asyncio.run(run())


@pytest.mark.parametrize("ws", IMPLEMENTATIONS)
def test_the_end_of_who_does_not_read_is_noticed(ws):
    async def run() -> None:
        ends = Ends()
        limits = Limits(high_water=64 << 10, backlog=1 << 30, write=None)
        server = Server({"chat": {"pour": pour}}, limits=limits, on_disconnect=ends)
        async with hosted(server, ws=ws) as host:
            async with never_reading(host.url(), "pour") as peer:
                await peer.recv()  # by then the server has found that the rest has to wait
            assert await ends.seen.get() is Cause.PEER

    asyncio.run(run())


# -------------------------------------------------------------------- the web server ends


class Played:
    """An ASGI server, played by the test."""

    def __init__(self, *incoming: dict[str, Any]) -> None:
        self.incoming: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        for each in incoming:
            self.incoming.put_nowait(each)
        self.sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def receive(self) -> dict[str, Any]:
        return await self.incoming.get()

    async def send(self, message: dict[str, Any]) -> None:
        self.sent.put_nowait(message)


WEBSOCKET = {"type": "websocket", "path": "/", "headers": [(b"host", b"a")]}
CONNECT = {"type": "websocket.connect"}


def test_lifespan_ends_connections_with_their_own_code():
    async def run() -> None:
        server = Server(HANDLERS)
        async with hosted(server, lifespan="off") as host, await dial(host.url()) as client:
            played = Played({"type": "lifespan.startup"}, {"type": "lifespan.shutdown"})
            await server({"type": "lifespan"}, played.receive, played.send)
            assert played.sent.get_nowait()["type"] == "lifespan.startup.complete"
            assert played.sent.get_nowait()["type"] == "lifespan.shutdown.complete"
            assert not server.connections
            await client.wait_closed()
            assert client.connection.link.closed == (1001, "the server shuts down")
            with pytest.raises(DialError) as refusal:
                await dial(host.url())
            assert refusal.value.status == HTTPStatus.SERVICE_UNAVAILABLE

    asyncio.run(run())


@pytest.mark.parametrize("ws", IMPLEMENTATIONS)
def test_uvicorn_ends_connections_before_it_tells(ws):
    """With 1012, whatever an application wants: its lifespan ends after its connections."""

    async def run() -> None:
        ends = Ends()
        server = Server(HANDLERS, on_disconnect=ends)
        async with hosted(server, ws=ws, lifespan="on") as host, await dial(host.url()) as client:
            await host.stop()
            assert await ends.seen.get() is Cause.PEER
            assert not server.connections
            await client.wait_closed()
            assert client.connection.link.closed[0] == 1012

    asyncio.run(run())


class Blocking(Played):
    """An ASGI server whose connection takes so many messages, and no more."""

    def __init__(self, *incoming: dict[str, Any], takes: int) -> None:
        super().__init__(*incoming)
        self.takes = takes
        self.is_waiting = asyncio.Event()

    async def send(self, message: dict[str, Any]) -> None:
        self.takes -= 1
        if self.takes < 0:
            self.is_waiting.set()
            await asyncio.Event().wait()
        await super().send(message)


def test_a_client_that_goes_while_a_send_blocks_leaves_nothing_behind():
    async def run() -> None:
        ends = Ends()
        limits = Limits(high_water=64 << 10, backlog=1 << 30, write=None, close=PATIENCE)
        server = Server({"chat": {"pour": pour}}, limits=limits, on_disconnect=ends)
        texts = ("M", "$1;chat;;_OnNamespaceConnect;0;0;", ";chat;;pour;0;0;")
        asked = [{"type": "websocket.receive", "text": text} for text in texts]
        played = Blocking(CONNECT, *asked, takes=3)
        async with asyncio.timeout(PATIENCE):
            serving = asyncio.create_task(server(WEBSOCKET, played.receive, played.send))
            await played.is_waiting.wait()
            played.incoming.put_nowait({"type": "websocket.disconnect", "code": 1006})
            await serving
            assert await ends.seen.get() is Cause.PEER
            while "neffos send" in {task.get_name() for task in asyncio.all_tasks()}:
                await asyncio.sleep(0)

    asyncio.run(run())


def test_a_client_whose_acceptance_blocks_has_the_time_of_a_handshake():
    async def run() -> None:
        played = Blocking(CONNECT, takes=0)
        server = Server(HANDLERS, limits=Limits(handshake=0.01))
        with pytest.raises(TimeoutError):
            await server(WEBSOCKET, played.receive, played.send)
        assert not server._all

    asyncio.run(run())


def test_a_client_that_goes_before_it_is_accepted_takes_no_place():
    async def gone(_) -> None:
        raise OSError("the client is gone")

    async def run() -> None:
        server = Server(HANDLERS, max_connections=1)
        with pytest.raises(OSError, match="gone"):
            await server(WEBSOCKET, Played(CONNECT).receive, gone)
        played = Played(CONNECT, {"type": "websocket.disconnect"})
        await server(WEBSOCKET, played.receive, played.send)
        assert played.sent.get_nowait() == {"type": "websocket.accept"}

    asyncio.run(run())


def test_a_cancelled_connection_has_ended():
    async def run() -> None:
        ends = Ends()
        server = Server(HANDLERS, on_disconnect=ends)
        played = Played(CONNECT, {"type": "websocket.receive", "text": "M"})
        task = asyncio.create_task(server(WEBSOCKET, played.receive, played.send))
        assert (await played.sent.get())["type"] == "websocket.accept"
        assert (await played.sent.get())["text"].startswith("A")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await ends.seen.get() is Cause.PEER
        assert not server.connections

    asyncio.run(run())


def test_without_the_extension_a_refusal_is_a_close():
    async def run() -> None:
        headers = [(b"host", b"a"), (b"origin", b"https://elsewhere.example")]
        played = Played(CONNECT)
        await Server(HANDLERS)({**WEBSOCKET, "headers": headers}, played.receive, played.send)
        assert played.sent.get_nowait() == {"type": "websocket.close"}
        assert played.sent.empty()

    asyncio.run(run())


def test_an_unknown_scope_is_not_served():
    async def run() -> None:
        played = Played()
        with pytest.raises(ValueError, match="pigeon"):
            await Server(HANDLERS)({"type": "pigeon"}, played.receive, played.send)

    asyncio.run(run())
