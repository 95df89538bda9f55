"""The reference client: how it dials, what it tells of failures, and how it comes back.

Servers are the reference's own, but for those that fail to be one.
"""

import asyncio
import contextlib
import dataclasses
import logging
import shutil
import ssl
import subprocess
import traceback
from contextlib import asynccontextmanager

import pytest
from websockets.asyncio.server import serve
from websockets.datastructures import Headers
from websockets.http11 import Request
from websockets.server import ServerProtocol

from neffos_asyncio import (
    ON_ANY_EVENT,
    ON_NAMESPACE_CONNECT,
    ON_NAMESPACE_DISCONNECT,
    ON_NATIVE_MESSAGE,
    ON_ROOM_JOIN,
    DeadlineError,
    DependencyError,
    DialError,
    Limits,
    LostError,
    NeffosError,
    Reconnect,
    RefusedError,
    ReplyError,
    Server,
    UpgradeRequest,
    dial,
    listening,
)
from neffos_asyncio import client as client_module
from neffos_asyncio.client import REFUSALS
from neffos_codec import EncodeError
from neffos_protocol import Cause, MisuseError
from peers.ports import lasting_port

from .test_handler_queue import asynchronous

SOON = Reconnect(first_delay=0.001, max_delay=0.01)
"""For tests: a server that is not there yet is tried again at once."""

ECHO = {"app": {"echo": lambda _, message: message.body}}


@pytest.fixture(autouse=True)
def log(monkeypatch):
    """The log of the package; silent, as failures are what is tested here."""
    logger = logging.getLogger("neffos")
    monkeypatch.setattr(logger, "disabled", True)
    return logger


def future():
    return asyncio.get_running_loop().create_future()


async def raised_by_dial(url, kind=DialError, **options):
    with pytest.raises(kind) as failure:
        await dial(url, **options)
    assert type(failure.value) is kind
    return failure.value


# ---- To dial ----


@asynchronous
async def test_a_client_is_open_until_it_is_closed():
    async with listening(Server(ECHO)) as listener:
        async with await dial(listener.url()) as client:
            assert client.is_open
            assert client.id == client.connection.id != ""
            assert client.connection.request is None
            space = await client.connect("app")
            assert (await space.ask("echo", "hi")).body == "hi"
        assert not client.is_open
        assert client.connection.link.closed == (1000, "")


@asynchronous
async def test_headers_are_sent():
    server = Server(
        {"app": {"headers": lambda space, m: space.connection.request.headers.get(m.body, "none")}}
    )
    async with (
        listening(server) as listener,
        await dial(listener.url(), headers={"X-Token": "a"}) as client,
    ):
        space = await client.connect("app")
        for name, value in [
            ("x-token", "a"),
            ("X-Websocket-Reconnect", "none"),
            ("Sec-WebSocket-Protocol", "none"),  # TR-2
            ("Sec-WebSocket-Extensions", "none"),
        ]:
            assert (await space.ask("headers", name)).body == value


@asynchronous
async def test_where_nobody_listens_there_is_no_connection():
    async with listening(Server(ECHO), port=lasting_port()) as listener:
        url = listener.url()
    error = await raised_by_dial(url)
    assert str(error).startswith(f"no connection to {url}: ")
    assert error.status is None


@pytest.mark.parametrize(
    "url",
    [
        "",
        "nonsense",
        "http://127.0.0.1/",
        "//127.0.0.1/",
        "ws://",
        "ws://127.0.0.1:port/",
        "ws://127.0.0.1:99999/",
        "ws://[broken/",
    ],
)
@asynchronous
async def test_what_is_no_url_is_told_so(url):
    error = await raised_by_dial(url)
    assert str(error).startswith(f"{url!r} is not a WebSocket URL: ")


@pytest.mark.parametrize(
    "start", ["ws://127.0.0.1:1/a", "http://127.0.0.1/a", "ws://[broken/a", "ws://h:port/a"]
)
@asynchronous
async def test_an_error_names_a_url_without_its_secrets(start):
    url = start.replace("://", "://me:s3cret@") + "?token=s3cret#s3cret"
    error = await raised_by_dial(url)
    shown = "".join(traceback.format_exception_only(error))
    assert start in shown
    assert "s3cret" not in shown + str(error.__cause__)


@asynchronous
async def test_a_probe_names_the_host_without_user_and_password():
    heads = asyncio.Queue()

    async def site(reader, writer):
        heads.put_nowait(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await writer.drain()

    async with raw(site) as url, listening(Server(ECHO)) as listener:
        async with await dial(listener.url()) as client:
            client.url = url.replace("://", "://me:s3cret@")
            await client._probe()
        assert b"s3cret" not in await heads.get()


@asynchronous
async def test_a_host_that_has_no_address_is_no_connection():
    error = await raised_by_dial("ws://host.invalid/", timeout=5)
    assert "host.invalid" in str(error)


@pytest.mark.parametrize("status", [200, 302, 401, 403, 404, 426, 500, 503])
@asynchronous
async def test_another_status_than_that_of_an_upgrade_is_told(status):
    def answer(connection, _):
        return connection.respond(status, "no\n")

    async with serve(None, "127.0.0.1", 0, process_request=answer) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        error = await raised_by_dial(url)
        assert str(error) == f"{url} answered {status} instead of an upgrade"
        assert error.status == status


@pytest.mark.parametrize("location", ["http://[", "ftp://127.0.0.1/", "ws://127.0.0.1:x/"])
@asynchronous
async def test_a_redirect_to_nowhere_is_the_servers_fault(location):
    def answer(connection, _):
        response = connection.respond(302, "no\n")
        response.headers["Location"] = location
        return response

    async with serve(None, "127.0.0.1", 0, process_request=answer) as server:
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        error = await raised_by_dial(url)
        assert str(error).startswith(f"{url} redirects to what is not a WebSocket URL: ")
        assert error.status == 302


@asynccontextmanager
async def raw(answer, port=0):
    """Listen, and let ``answer`` deal with the streams of each connection."""
    at_work = set()

    async def deal(reader, writer):
        at_work.add(asyncio.current_task())
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await answer(reader, writer)
        with contextlib.suppress(ConnectionError):
            writer.close()
            await writer.wait_closed()

    server = await asyncio.start_server(deal, "127.0.0.1", port)
    try:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
    finally:
        server.close()
        await asyncio.gather(*at_work)


async def closes(reader, _):
    await reader.readuntil(b"\r\n\r\n")


async def closes_at_once(*_):
    """Say nothing."""


async def talks_nonsense(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"220 mail.example.org ESMTP\r\n\r\n")
    await writer.drain()


async def upgrades_wrongly(reader, writer):
    await reader.readuntil(b"\r\n\r\n")
    writer.write(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: wrong\r\n\r\n"
    )
    await writer.drain()


@pytest.mark.parametrize("answer", [closes, closes_at_once, talks_nonsense, upgrades_wrongly])
@asynchronous
async def test_what_is_no_websocket_server_is_told_so(answer):
    async with raw(answer) as url:
        error = await raised_by_dial(url)
        assert str(error).startswith(f"no connection to {url}: ")


@pytest.mark.parametrize("where", ["before the upgrade", "after the upgrade"])
@asynchronous
async def test_a_server_that_says_nothing_is_waited_for_in_bounded_time(where):
    done = asyncio.Event()

    async def silent(*_):
        await done.wait()

    if where == "before the upgrade":
        served = raw(silent)
    else:
        served = listening(Server(ECHO, on_connect=silent))
    async with served as listener:
        url = listener if isinstance(listener, str) else listener.url()
        error = await raised_by_dial(url, timeout=0.05)
        assert str(error) == f"{url} did not complete upgrade and handshake within 0.05 s"
        done.set()


@pytest.mark.parametrize("text", ["log in first", "ü;🙂", "A"])
@asynchronous
async def test_a_refusal_has_the_servers_text(text):
    """HS-4."""

    def refuse(_):
        raise ReplyError(text)

    async with listening(Server(ECHO, on_connect=refuse)) as listener:
        error = await raised_by_dial(listener.url(), RefusedError)
        assert error.text == text
        assert str(error) == f"the server refused the connection: {text}"


@asynccontextmanager
async def talked(*payloads, code=1000):
    """A server that sends some messages upon a handshake request, and then closes."""

    async def talk(connection):
        assert await connection.recv() == "M"
        for payload in payloads:
            await connection.send(payload)
        if code is not None:
            await connection.close(code)
        else:
            await connection.wait_closed()

    async with serve(talk, "127.0.0.1", 0) as server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"


@pytest.mark.parametrize(
    ("payload", "text"), [("H", ""), (b"Hno", "no"), ("HAid", "Aid")], ids=["empty", "bytes", "HA"]
)
@asynchronous
async def test_every_refusal_is_one(payload, text):
    """HS-16, HS-7."""
    async with talked(payload) as url:
        error = await raised_by_dial(url, RefusedError)
        assert error.text == text
        assert str(error).endswith(text or "it gave no reason")


@pytest.mark.parametrize("payloads", [(), ("M",), (";;;;;;", "hello")])
@asynchronous
async def test_a_connection_that_ends_before_its_handshake_is_none(payloads):
    """HS-9, HS-10."""
    async with talked(*payloads) as url:
        error = await raised_by_dial(url)
        assert str(error) == f"{url}: the connection ended before its handshake was complete"


@asynchronous
async def test_what_came_before_the_acceptance_is_handled_behind_it():
    """HS-14, HS-19: and all behind the A is the id."""
    asked = future()

    def connect(_, asked_):
        asked.set_result(asked_.namespace)

    handlers = {"app": {ON_NAMESPACE_CONNECT: connect}}
    async with (
        talked("x;app;;_OnNamespaceConnect;0;0;", "Aid;ü", code=None) as url,
        await dial(url, handlers) as client,
    ):
        assert await asked == "app"
        assert client.id == "id;ü"


@asynchronous
async def test_a_client_that_came_to_nothing_ends_nothing_else():
    closed = []
    async with listening(Server(ECHO), port=lasting_port()) as listener:
        url = listener.url()
    with pytest.raises(DialError):
        await dial(url, on_close=lambda *_: closed.append("closed"), reconnect=SOON)
    async with (
        listening(Server(ECHO), port=listener.port) as again,
        await dial(again.url()) as client,
    ):
        assert (await (await client.connect("app")).ask("echo", "x")).body == "x"
    assert closed == []  # it never was open: `dial` has told of that


# ---- Asks, namespaces, rooms ----


@asynchronous
async def test_an_ask_ends_at_its_deadline_and_its_late_reply_is_nobody_elses():
    """AR-15, AR-21."""
    gate = asyncio.Event()

    async def late(*_):
        await gate.wait()
        return "late"

    seen = []
    server = Server({"app": {"late": late, "echo": lambda _, message: message.body}})
    handlers = {"app": {ON_ANY_EVENT: lambda _, message: seen.append(message.body)}}
    async with listening(server) as listener, await dial(listener.url(), handlers) as client:
        space = await client.connect("app")
        with pytest.raises(DeadlineError, match="did not answer in time") as failure:
            await space.ask("late", timeout=0.01)
        assert isinstance(failure.value, TimeoutError)
        assert isinstance(failure.value, NeffosError)
        ask = asyncio.create_task(space.ask("echo", "mine"))
        gate.set()
        assert (await ask).body == "mine"
    assert seen == []


@asynchronous
async def test_an_ask_that_nobody_waits_for_any_more_harms_nothing():
    gate = asyncio.Event()

    async def late(*_):
        await gate.wait()
        raise ReplyError("nobody hears this")

    async with (
        listening(Server({"app": {"late": late, **ECHO["app"]}})) as listener,
        await dial(listener.url()) as client,
    ):
        space = await client.connect("app")
        asks = [asyncio.create_task(space.ask("late")) for _ in range(3)]
        await asyncio.sleep(0)
        for ask in asks:
            ask.cancel()
        gate.set()
        assert (await space.ask("echo", "x")).body == "x"


@pytest.mark.parametrize("what", ["ask", "connect", "join", "disconnect"])
@pytest.mark.parametrize("end", ["cut", "closed"])
@asynchronous
async def test_what_waits_for_a_server_that_dies_is_lost(what, end):
    """AR-14."""
    at_work = future()

    async def die(space, _):
        at_work.set_result(space.connection)
        await asyncio.Event().wait()

    server = Server(
        {
            "app": {"ask": die, ON_ROOM_JOIN: die, ON_NAMESPACE_DISCONNECT: die_when_asked(die)},
            "other": {ON_NAMESPACE_CONNECT: die},
        }
    )
    async with listening(server) as listener, await dial(listener.url()) as client:
        space = await client.connect("app")
        waiting = asyncio.create_task(
            {
                "ask": lambda: space.ask("ask", timeout=None),
                "connect": lambda: client.connect("other", timeout=None),
                "join": lambda: space.join("room", timeout=None),
                "disconnect": lambda: space.disconnect(timeout=None),
            }[what]()
        )
        connection = await at_work
        if end == "cut":
            connection.link.abort()
        else:
            connection.close()
        if what == "disconnect":  # which has come about
            await waiting
        else:
            with pytest.raises(LostError, match="has ended"):
                await waiting
        await client.wait_closed()
        with pytest.raises(MisuseError):
            await space.ask("ask")
        with pytest.raises(MisuseError):
            client.send_native("x")
        await connection.drain_handlers(0)


def die_when_asked(die):
    return lambda space, happening: die(space, happening) if hasattr(happening, "number") else None


@asynchronous
async def test_an_ask_is_lost_with_its_namespace():
    """NS-18."""

    async def leave(space, _):
        asyncio.get_running_loop().call_soon(asyncio.ensure_future, space.disconnect())

    server = Server({"app": {"leave": leave}})
    async with listening(server) as listener, await dial(listener.url()) as client:
        space = await client.connect("app")
        with pytest.raises(LostError):
            await space.ask("leave", timeout=None)
        assert client.is_open
        await client.connect("app")


@asynchronous
async def test_connects_that_are_refused_say_why():
    def refuse(*_):
        raise ReplyError("closed today")

    server = Server({"app": {ON_NAMESPACE_CONNECT: refuse}, "other": {}})
    async with listening(server) as listener, await dial(listener.url()) as client:
        for name, text in [("app", "closed today"), ("nowhere", "bad namespace")]:
            with pytest.raises(ReplyError) as refusal:
                await client.connect(name)
            assert refusal.value.text == text
        assert client.connection.namespaces == {}
        assert list((await client.connect("other")).connection.namespaces) == ["other"]


@asynchronous
async def test_a_client_with_handlers_offers_their_namespaces_alone():
    async with (
        listening(Server({"app": {}, "other": {}})) as listener,
        await dial(listener.url(), {"app": {}}) as client,
    ):
        await client.connect("app")
        with pytest.raises(MisuseError, match="'other' is not offered here"):
            await client.connect("other")


@asynchronous
async def test_to_connect_twice_is_to_connect_once():
    asked = []
    server = Server({"app": {ON_NAMESPACE_CONNECT: lambda *_: asked.append("connect")}})
    async with listening(server) as listener, await dial(listener.url()) as client:
        first, second = await asyncio.gather(client.connect("app"), client.connect("app"))
        assert first is second is await client.connect("app")
    assert asked == ["connect"]


@asynchronous
async def test_rooms_are_joined_and_left_by_asks():
    """RM-8: and to leave all is one ask for each."""
    asked = []

    def note(_, event):
        asked.append((event.change.value, event.room))

    server = Server({"app": {ON_ROOM_JOIN: note, "_OnRoomLeave": note}})
    async with listening(server) as listener, await dial(listener.url()) as client:
        space = await client.connect("app")
        for room in ("b", "a", "semi;colon", "a"):
            await space.join(room)
        assert space.rooms == {"a", "b", "semi;colon"}
        await space.leave("b")
        await space.leave("b")
        await space.join("b")
        await space.leave_all()
        assert space.rooms == frozenset()
        await space.leave_all()
        with pytest.raises(MisuseError, match="a room has a name"):
            await space.join("")
    joined = [("join", room) for room in ("b", "a", "semi;colon")]
    left = [("leave", room) for room in ("a", "b", "semi;colon")]
    assert asked == [*joined, ("leave", "b"), ("join", "b"), *left]


@asynchronous
async def test_a_change_may_have_a_deadline_and_come_about_all_the_same():
    gate = asyncio.Event()

    async def slow(*_):
        await gate.wait()

    server = Server({"app": {ON_ROOM_JOIN: slow, **ECHO["app"]}})
    async with listening(server) as listener, await dial(listener.url()) as client:
        space = await client.connect("app")
        with pytest.raises(DeadlineError):
            await space.join("room", timeout=0.01)
        assert space.rooms == frozenset()
        gate.set()
        await space.ask("echo")
        assert space.rooms == {"room"}
        await space.join("room")


@asynchronous
async def test_what_no_frame_can_carry_is_refused_before_it_is_sent():
    async with (
        listening(Server(ECHO)) as listener,
        await dial(listener.url()) as client,
    ):
        space = await client.connect("app")
        for call in (space.emit, space.ask, space.join):
            with pytest.raises(EncodeError):
                await call("@%!semicolon@%!")
        assert (await space.ask("echo", "x")).body == "x"


@pytest.mark.parametrize("payload", ["hello", b"bytes"])
@asynchronous
async def test_native_messages_are_sent_to_who_takes_them(payload):
    seen = future()
    handlers = {"": {ON_NATIVE_MESSAGE: lambda _, message: seen.set_result(message.body)}}
    async with (
        listening(Server(handlers)) as listener,
        await dial(listener.url(), {"": {ON_NATIVE_MESSAGE: print}}) as client,
    ):
        assert client.is_open
        client.send_native(payload)
        assert await seen == payload


@asynchronous
async def test_a_client_of_frames_alone_sends_no_native_message():
    """NM-1."""
    async with listening(Server(ECHO)) as listener, await dial(listener.url(), ECHO) as client:
        with pytest.raises(EncodeError):
            client.send_native("hello")


@asynchronous
async def test_a_client_broadcasts_to_nobody():
    async with listening(Server(ECHO)) as listener, await dial(listener.url()) as client:
        space = await client.connect("app")
        with pytest.raises(MisuseError, match="a client has nobody to broadcast to"):
            space.broadcast("news")


# ---- The end ----


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize(("ender", "cause"), [("client", Cause.LOCAL), ("server", Cause.PEER)])
@asynchronous
async def test_on_close_is_called_once_with_the_cause(ender, cause, is_async):
    closed = []

    def on_close(client, cause):
        closed.append((client.is_open, cause))

    async def on_close_later(client, cause):
        await asyncio.sleep(0)
        on_close(client, cause)

    server = Server(ECHO)
    async with listening(server) as listener:
        client = await dial(listener.url(), on_close=on_close_later if is_async else on_close)
        if ender == "server":
            [connection] = server.connections.values()
            connection.close()
            await client.wait_closed()
        await asyncio.gather(client.close(), client.close())
        await client.close()
    assert closed == [(False, cause)]


@asynchronous
async def test_an_on_close_that_fails_ends_the_client_all_the_same():
    def fail(*_):
        raise ValueError("on purpose")

    async with listening(Server(ECHO)) as listener:
        client = await dial(listener.url(), on_close=fail)
        await client.close()
        await client.wait_closed()


class Hanging:
    """A hook that never ends by itself."""

    def __init__(self):
        self.begun, self.is_cancelled = asyncio.Event(), asyncio.Event()

    async def __call__(self, *_):
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.is_cancelled.set()


@asynchronous
async def test_an_on_close_that_hangs_ends_with_the_grace():
    hook = Hanging()
    async with listening(Server(ECHO)) as listener:
        client = await dial(listener.url(), on_close=hook, limits=Limits(grace=0.01))
        await client.close()
        await client.wait_closed()
        assert hook.is_cancelled.is_set()


@asynchronous
async def test_an_on_reconnect_that_hangs_ends_with_its_connection():
    hook = Hanging()
    limits = Limits(grace=0.01)
    async with echo_site() as site:
        client = await dial(site.url, reconnect=SOON, on_reconnect=hook, limits=limits)
        async with client:
            [peer] = site.server.connections.values()
            peer.link.abort()
            await hook.begun.wait()
            assert client.is_open
        await hook.is_cancelled.wait()


@asynchronous
async def test_a_client_gives_code_and_reason_of_its_end():
    ended = future()

    def on_disconnect(connection, cause):
        ended.set_result((connection.link.closed, cause))

    async with listening(Server(ECHO, on_disconnect=on_disconnect)) as listener:
        client = await dial(listener.url())
        await client.close(3000, "enough")
        assert await ended == ((3000, "enough"), Cause.PEER)


@asynchronous
async def test_all_that_was_said_before_the_end_is_heard():
    seen, ended = [], future()
    server = Server(
        {"app": {"chat": lambda _, message: seen.append(message.body)}},
        on_disconnect=lambda *_: ended.set_result(None),
    )
    async with listening(server) as listener:
        async with await dial(listener.url()) as client:
            space = await client.connect("app")
            for number in range(50):
                space.emit("chat", str(number))
        await ended
    assert seen == [str(number) for number in range(50)]


# ---- Reconnection ----


def waits(policy, numbers):
    return [policy.delay(number) for number in numbers]


def test_each_try_waits_longer_up_to_a_bound():
    policy = Reconnect(first_delay=1, factor=2, max_delay=10, jitter=0)
    assert waits(policy, [1, 2, 3, 4, 5, 6, 10**6]) == [1, 2, 4, 8, 10, 10, 10]


def test_a_wait_is_left_to_chance_in_part():
    policy = Reconnect(first_delay=1, factor=1, jitter=0.5)
    seen = waits(policy, [1] * 200)
    assert len(set(seen)) > 100
    assert all(0.5 <= wait <= 1 for wait in seen)


class Site:
    """A server on a port that can be taken down and put up again."""

    def __init__(self, make):
        self._make = make
        self._stack = None
        self.port = lasting_port()
        self.requests = []

    async def up(self):
        def on_connect(connection):
            self.requests.append(connection.request)

        self.server = self._make(on_connect)
        self._stack = contextlib.AsyncExitStack()
        listener = await self._stack.enter_async_context(listening(self.server, port=self.port))
        return listener.url()

    async def down(self):
        await self._stack.aclose()

    async def __aenter__(self):
        self.url = await self.up()
        return self

    async def __aexit__(self, *_):
        await self.down()


def echo_site(namespaces=("app", "other"), **handlers):
    events = {"echo": lambda _, message: message.body, **handlers}
    return Site(lambda hook: Server(dict.fromkeys(namespaces, events), on_connect=hook))


async def until(condition):
    """Wait for what another task brings about."""
    while not condition():
        await asyncio.sleep(0.001)


@pytest.mark.parametrize("probe", [False, True], ids=["no probe", "probe"])
@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@asynchronous
async def test_a_lost_connection_comes_back_with_namespaces_and_rooms(probe, is_async):
    """TR-9, TR-11."""
    again, closed, seen = asyncio.Queue(), [], []

    def on_reconnect(client):
        again.put_nowait(client)

    async def on_reconnect_later(client):
        await asyncio.sleep(0)
        again.put_nowait(client)

    handlers = {name: {"news": lambda _, m: seen.append(m.body)} for name in ("app", "other")}
    async with echo_site() as site:
        client = await dial(
            site.url,
            handlers,
            reconnect=Reconnect(first_delay=0.001, max_delay=0.01, probe=probe),
            on_reconnect=on_reconnect_later if is_async else on_reconnect,
            on_close=lambda _, cause: closed.append(cause),
        )
        app, other = await client.connect("app"), await client.connect("other")
        for room in ("one", "two", "left"):
            await app.join(room)
        await app.leave("left")
        await other.join("one")
        connection, first_id = client.connection, client.id
        app.values["mine"] = "kept"

        for _ in range(2):
            await site.down()
            await until(lambda: not client.is_open)
            with pytest.raises(MisuseError):
                app.emit("echo")
            await site.up()
            assert await again.get() is client
            assert client.is_open
            assert client.connection is connection
            assert client.id != first_id
            assert client.connection.namespaces == {"app": app, "other": other}
            assert (app.rooms, other.rooms) == ({"one", "two"}, {"one"})
            assert app.values["mine"] == "kept"
            [peer] = site.server.connections.values()
            assert peer.namespace("app").rooms == {"one", "two"}
            assert (await app.ask("echo", "x")).body == "x"
            site.server.broadcast("app", "news", "hi", room="two")
            await app.ask("echo")
        assert seen == ["hi", "hi"]
        tries = [request.tries for request in site.requests]
        assert tries[0] == 0
        assert all(number >= 1 for number in tries[1:])
        assert len(tries) == 3
        assert closed == []
        await client.close()
        assert closed == [Cause.LOCAL]


@asynchronous
async def test_a_reconnection_counts_its_tries():
    """TR-9: each that was made, beginning with 1."""
    seen = asyncio.Queue()
    attempts = []

    def answer(connection, request):
        attempts.append(request.headers.get("X-Websocket-Reconnect"))
        return connection.respond(503, "") if len(attempts) < 4 else None

    async def talk(connection):
        assert await connection.recv() == "M"
        await connection.send("Aid")
        await connection.wait_closed()

    async with echo_site() as site:
        client = await dial(
            site.url,
            reconnect=Reconnect(first_delay=0.001, max_delay=0.01, probe=False),
            on_reconnect=seen.put_nowait,
        )
    async with serve(talk, "127.0.0.1", site.port, process_request=answer):
        await seen.get()
        numbers = [int(each) for each in attempts]
        assert numbers == list(range(numbers[0], numbers[0] + 4))
        await client.close()


@asynchronous
async def test_a_server_that_is_lost_while_a_message_is_sent_is_found_by_the_heartbeat():
    may_end = asyncio.Event()

    async def deal(reader, writer):
        await upgrade(reader, writer)
        await may_end.wait()

    limits = Limits(high_water=1 << 30, write=None, heartbeat=0.02, heartbeat_timeout=0.05)
    async with raw(deal) as url:
        client = await dial(url, {"": {ON_NATIVE_MESSAGE: print}}, limits=limits)
        client.send_native("x" * (8 << 20))  # more than the system keeps
        await client.wait_closed()
        assert client.connection.link.closed[0] is None
        may_end.set()


async def upgrade(reader, writer):
    """Accept an upgrade request."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    headers = Headers(line.split(": ", 1) for line in head[1:-2])
    writer.write(ServerProtocol().accept(Request("/", headers)).serialize())


@asynchronous
async def test_a_connection_that_lingers_does_not_end_the_heartbeat_of_the_next():
    third, second_ended, pinged = asyncio.Event(), asyncio.Event(), asyncio.Event()
    count = 0

    async def deal(reader, writer):
        nonlocal count
        count += 1
        number = count
        await upgrade(reader, writer)
        writer.write(b"\x81\x02H2" if number == 2 else b"\x81\x02A1")
        if number == 1:
            await reader.readexactly(7)  # the handshake request
            writer.transport.abort()
        elif number == 2:
            await third.wait()
        else:
            third.set()
            await second_ended.wait()
            while b"\x89" not in await reader.read(100):  # a ping
                pass
            pinged.set()

    def names():
        return [task.get_name() for task in asyncio.all_tasks()]

    policy = Reconnect(first_delay=0.001, max_delay=0.01, probe=False)
    async with raw(deal) as url:
        limits = Limits(heartbeat=0.02)
        async with await dial(url, reconnect=policy, limits=limits):
            await third.wait()
            while names().count("neffos receive") > 1:
                await asyncio.sleep(0)
            second_ended.set()
            await pinged.wait()


@asynchronous
async def test_the_first_try_is_number_one():
    again = asyncio.Queue()
    async with echo_site() as site:
        async with await dial(site.url, reconnect=SOON, on_reconnect=again.put_nowait) as client:
            for _ in range(2):
                [peer] = site.server.connections.values()
                peer.link.abort()
                await again.get()
            assert client.is_open
        assert [request.tries for request in site.requests] == [0, 1, 1]


@dataclasses.dataclass(frozen=True, slots=True)
class Counted(Reconnect):
    """A policy without delays, which notes which delay was asked for."""

    numbers: list = dataclasses.field(default_factory=list)

    def delay(self, number):
        self.numbers.append(number)
        return 0


@pytest.mark.parametrize(
    ("steady", "expected"), [(1e9, [1, 2, 3, 4, 5, 6]), (1e-9, [1, 1, 1, 1, 1, 1])]
)
@asynchronous
async def test_the_delays_grow_until_a_connection_has_lasted(steady, expected):
    """A server may accept every client and drop it at once."""

    async def drop(connection):
        assert await connection.recv() == "M"
        await connection.send("Aid")
        connection.transport.abort()

    policy = Counted(probe=False, steady=steady)
    async with serve(drop, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        client = await dial(f"ws://127.0.0.1:{port}", reconnect=policy)
        await until(lambda: len(policy.numbers) >= len(expected))
        await client.close()
    assert policy.numbers[: len(expected)] == expected


@asynchronous
async def test_a_proxy_is_not_used_for_this_machine(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "all_proxy", "ws_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    again = asyncio.Queue()
    async with echo_site() as site:
        policy = Reconnect(first_delay=0.001)
        async with await dial(site.url, reconnect=policy, on_reconnect=again.put_nowait):
            [peer] = site.server.connections.values()
            peer.link.abort()
            await again.get()
        with pytest.raises(DialError, match=r"127\.0\.0\.1"):
            await dial("ws://nobody.invalid", timeout=5)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ws://localhost:1/", True),
        ("ws://a.localhost/", True),
        ("ws://127.3.2.1/", True),
        ("wss://[::1]:8/x", True),
        ("ws://example.org/", False),
        ("ws://10.0.0.1/", False),
        ("ws://[::1", False),
        ("localhost", False),
    ],
)
def test_it_is_known_which_urls_name_this_machine(url, expected):
    assert client_module._is_loopback(url) is expected


@asynchronous
async def test_nobody_reconnects_unasked():
    causes = []
    async with echo_site() as site:
        client = await dial(site.url, on_close=lambda _, cause: causes.append(cause))
        [peer] = site.server.connections.values()
        peer.close()
        await client.wait_closed()
        assert len(site.requests) == 1
    assert causes == [Cause.PEER]


@asynchronous
async def test_who_closes_does_not_come_back():
    async with echo_site() as site:
        client = await dial(site.url, reconnect=SOON)
        await client.close()
        await until(lambda: not site.server.connections)
        async with await dial(site.url):
            assert len(site.requests) == 2  # that one and the first


@pytest.mark.parametrize("probe", [False, True], ids=["no probe", "probe"])
@asynchronous
async def test_to_close_stops_a_reconnection(probe):
    causes, tries = [], asyncio.Queue()

    async def closes_and_counts(*_):
        tries.put_nowait(None)

    async with echo_site() as site:
        client = await dial(
            site.url,
            reconnect=Reconnect(first_delay=0.001, max_delay=0.01, probe=probe),
            on_close=lambda _, cause: causes.append(cause),
        )
    async with raw(closes_and_counts, site.port):
        for _ in range(3):
            await tries.get()
        await asyncio.gather(client.close(), client.close())
        await client.close()
    assert causes == [Cause.LOCAL]


@asynchronous
async def test_to_close_right_after_a_loss_ends_it():
    causes, closing = [], []

    def close_soon(*_):  # before the task that would try again has begun
        closing.append(asyncio.ensure_future(client.close()))

    async with echo_site() as site:
        client = await dial(
            site.url,
            {"app": {ON_NAMESPACE_DISCONNECT: close_soon}},
            reconnect=SOON,
            on_close=lambda _, cause: causes.append(cause),
        )
        await client.connect("app")
        [peer] = site.server.connections.values()
        peer.link.abort()
        await client.wait_closed()
        await asyncio.gather(*closing)
        assert not client.is_open
    assert causes == [Cause.LOCAL]


@asynchronous
async def test_what_a_server_did_before_its_close_frame_counts_though_a_handler_was_at_work():
    gate, seen, back = asyncio.Event(), [], asyncio.Event()

    async def slow(*_):
        await gate.wait()

    events = {
        "slow": slow,
        "news": lambda _, message: seen.append(message.body),
        "_OnNamespaceDisconnect": lambda space, _: seen.append(f"without {space.name}"),
    }
    async with echo_site() as site:
        client = await dial(
            site.url,
            {"app": events, "other": {}},
            reconnect=SOON,
            on_reconnect=lambda _: back.set(),
        )
        await client.connect("app")
        await client.connect("other")
        [peer] = site.server.connections.values()
        app = peer.namespace("app")
        app.emit("slow")
        app.emit("news", "last words")
        peer.link.session.disconnect("app")
        peer.close(1001)
        await client.connection.link.wait_lost()
        gate.set()
        await back.wait()
        assert seen == ["last words", "without app"]
        assert set(client.connection.namespaces) == {"other"}  # a server's wish lasts
        await client.close()


@asynchronous
async def test_to_close_ends_a_try_that_is_being_made():
    trying = asyncio.Event()
    done = asyncio.Event()

    async def silent(reader, _):
        await reader.readuntil(b"\r\n\r\n")
        trying.set()
        await done.wait()

    async with echo_site() as site:
        client = await dial(
            site.url, reconnect=Reconnect(first_delay=0.001, max_delay=0.01, probe=False)
        )
    async with raw(silent, site.port):
        await trying.wait()
        await client.close()
        done.set()


@asynchronous
async def test_to_close_while_all_is_being_restored_ends_it():
    gate, asked = asyncio.Event(), asyncio.Event()
    count = 0

    async def connect(*_):
        nonlocal count
        count += 1
        if count > 1:
            asked.set()
            await gate.wait()

    async with echo_site(_OnNamespaceConnect=connect) as site:
        client = await dial(site.url, reconnect=SOON)
        await client.connect("app")
        [peer] = site.server.connections.values()
        peer.link.abort()
        await asked.wait()
        await client.close()
        assert not client.is_open
        gate.set()


@asynchronous
async def test_a_refusal_ends_a_reconnection():
    causes = []

    def make(hook):
        def on_connect(connection):
            hook(connection)
            if connection.tries:
                raise ReplyError("you are not known here any more")

        return Server(ECHO, on_connect=on_connect)

    async with Site(make) as site:
        client = await dial(
            site.url, reconnect=SOON, on_close=lambda _, cause: causes.append(cause)
        )
        [peer] = site.server.connections.values()
        peer.link.abort()
        await client.wait_closed()
        assert [request.tries for request in site.requests] == list(range(REFUSALS + 1))
    assert causes == [Cause.PEER]


@pytest.mark.parametrize("probe", [False, True], ids=["no probe", "probe"])
@asynchronous
async def test_tries_that_are_used_up_end_a_reconnection(probe):
    causes = []
    policy = Reconnect(first_delay=0.001, max_delay=0.002, tries=3, probe=probe)
    async with echo_site() as site:
        client = await dial(
            site.url, reconnect=policy, on_close=lambda _, cause: causes.append(cause)
        )
    await client.wait_closed()
    assert causes == [Cause.PEER]
    assert not client.is_open


@asynchronous
async def test_a_namespace_that_is_refused_later_is_given_up_and_no_other():
    again = asyncio.Queue()
    is_closed = False

    def connect(_, asked):
        if is_closed and asked.namespace == "app":
            raise ReplyError("closed")

    async with echo_site(_OnNamespaceConnect=connect) as site:
        client = await dial(site.url, reconnect=SOON, on_reconnect=again.put_nowait)
        await client.connect("app")
        await (await client.connect("other")).join("room")
        for now in (True, False):
            is_closed = now
            [peer] = site.server.connections.values()
            peer.link.abort()
            await again.get()
            assert list(client.connection.namespaces) == ["other"]
            assert client.connection.namespace("other").rooms == {"room"}
        await client.connect("app")
        await client.close()


@asynchronous
async def test_a_room_that_is_refused_later_keeps_no_other_out():
    again = asyncio.Queue()
    is_locked = False

    def join(_, asked):
        if is_locked and asked.room == "a":
            raise ReplyError("locked")

    async with echo_site(_OnRoomJoin=join) as site:
        client = await dial(site.url, reconnect=SOON, on_reconnect=again.put_nowait)
        space = await client.connect("app")
        for room in ("a", "b"):
            await space.join(room)
        is_locked = True
        [peer] = site.server.connections.values()
        peer.link.abort()
        await again.get()
        assert space.rooms == {"b"}
        await client.close()


@asynchronous
async def test_what_was_left_before_is_not_restored():
    again = asyncio.Queue()
    async with echo_site() as site:
        client = await dial(site.url, reconnect=SOON, on_reconnect=again.put_nowait)
        app, other = await client.connect("app"), await client.connect("other")
        await app.join("room")
        await app.disconnect()
        await other.join("room")
        await other.leave("room")
        [peer] = site.server.connections.values()
        peer.link.abort()
        await again.get()
        assert client.connection.namespaces == {"other": other}
        assert other.rooms == frozenset()
        await client.close()


@asynchronous
async def test_what_the_server_made_of_a_client_is_restored_as_well():
    again = asyncio.Queue()
    handlers = {"app": {}}
    async with echo_site() as site:
        client = await dial(site.url, handlers, reconnect=SOON, on_reconnect=again.put_nowait)
        [peer] = site.server.connections.values()
        await (await peer.connect("app")).join("room")
        peer.link.abort()
        await again.get()
        assert client.connection.namespace("app").rooms == {"room"}
        await client.close()


@pytest.mark.parametrize("is_async", [False, True], ids=["sync", "async"])
@asynchronous
async def test_an_on_reconnect_that_fails_ends_nothing(is_async):
    called, closed = asyncio.Queue(), []

    def fail(_):
        called.put_nowait(None)
        raise ValueError("on purpose")

    async def fail_later(client):
        fail(client)

    async with echo_site() as site:
        client = await dial(
            site.url,
            reconnect=SOON,
            on_reconnect=fail_later if is_async else fail,
            on_close=lambda *_: closed.append("closed"),
        )
        space = await client.connect("app")
        for _ in range(2):
            [peer] = site.server.connections.values()
            peer.link.abort()
            await called.get()
            assert (await space.ask("echo", "x")).body == "x"
            assert closed == []
        await client.close()
    assert closed == ["closed"]


@asynchronous
async def test_on_reconnect_may_close():
    async with echo_site() as site:
        client = await dial(
            site.url, reconnect=SOON, on_reconnect=lambda client: client.close(3000, "enough")
        )
        [peer] = site.server.connections.values()
        peer.link.abort()
        await client.wait_closed()
        assert client.connection.link.closed == (3000, "enough")


@asynchronous
async def test_a_native_only_connection_comes_back_too():
    again = asyncio.Queue()
    seen = asyncio.Queue()
    native = {"": {ON_NATIVE_MESSAGE: lambda _, message: seen.put_nowait(message.body)}}
    async with Site(lambda hook: Server(native, on_connect=hook)) as site:
        client = await dial(
            site.url,
            {"": {ON_NATIVE_MESSAGE: print}},
            reconnect=SOON,
            on_reconnect=again.put_nowait,
        )
        client.send_native("first")
        assert await seen.get() == "first"
        [peer] = site.server.connections.values()
        peer.link.abort()
        await again.get()
        client.send_native("second")
        assert await seen.get() == "second"
        assert [request.tries for request in site.requests] == [0, 1]
        await client.close()


@asynchronous
async def test_a_controller_lives_on():
    again = asyncio.Queue()
    made = []

    class Listens:
        namespace = "app"

        def __init__(self):
            made.append(self)

        def news(self):
            """Handle an event."""

    async with echo_site() as site:
        client = await dial(site.url, Listens, reconnect=SOON, on_reconnect=again.put_nowait)
        await client.connect("app")
        [peer] = site.server.connections.values()
        peer.link.abort()
        await again.get()
        assert client.connection.namespace("app").values[Listens] is made[0]
        assert len(made) == 1
        await client.close()


@asynchronous
async def test_a_connection_that_is_lost_while_it_is_restored_comes_back_once_more():
    again = asyncio.Queue()
    count = 0

    async def connect(*_):
        nonlocal count
        count += 1
        if count == 2:
            [peer] = site.server.connections.values()
            peer.link.abort()
            await asyncio.Event().wait()

    async with echo_site(_OnNamespaceConnect=connect) as site:
        client = await dial(site.url, reconnect=SOON, on_reconnect=again.put_nowait)
        space = await client.connect("app")
        await space.join("room")
        [peer] = site.server.connections.values()
        peer.link.abort()
        await again.get()
        assert client.connection.namespaces == {"app": space}
        assert space.rooms == {"room"}
        assert again.empty()
        await client.close()
        await peer.drain_handlers(0)
        for stuck in list(site.server.connections.values()):
            await stuck.drain_handlers(0)


@asynchronous
async def test_deadlines_of_the_system_are_told_as_such(monkeypatch):
    def times_out(*_, **__):
        raise TimeoutError(110, "Connection timed out")

    monkeypatch.setattr("neffos_asyncio.client.connect", times_out)
    for timeout in (5, None):
        error = await raised_by_dial("ws://192.0.2.1/", timeout=timeout)
        assert str(error) == "no connection to ws://192.0.2.1/: [Errno 110] Connection timed out"


# ---- TLS ----


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    program = shutil.which("openssl")
    if program is None:
        pytest.skip("the openssl program, which makes the certificate, is not there")
    directory = tmp_path_factory.mktemp("tls")
    key, path = directory / "key.pem", directory / "certificate.pem"
    subprocess.run(
        [
            *[program, "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=neffos test"],
            *["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"],
            *["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", path],
        ],
        check=True,
        capture_output=True,
    )
    return path, key


def server_tls(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


def client_tls(certificate):
    return ssl.create_default_context(cafile=certificate[0])


@pytest.mark.parametrize("probe", [False, True], ids=["no probe", "probe"])
@asynchronous
async def test_tls_carries_all_of_it_and_comes_back(certificate, probe):
    again = asyncio.Queue()
    server = Server(ECHO)
    async with listening(server, tls=server_tls(certificate)) as listener:
        assert listener.is_secure
        assert listener.url("/x") == f"wss://127.0.0.1:{listener.port}/x"
        client = await dial(
            listener.url(),
            tls=client_tls(certificate),
            reconnect=Reconnect(first_delay=0.001, max_delay=0.01, probe=probe),
            on_reconnect=again.put_nowait,
        )
        space = await client.connect("app")
        for body in ("hi", b"x" * 100_000):
            assert (await space.ask("echo", body)).body == body
        [peer] = server.connections.values()
        peer.link.abort()
        await again.get()
        assert (await space.ask("echo", "again")).body == "again"
        await client.close()


@asynchronous
async def test_a_certificate_that_nobody_vouches_for_is_no_connection(certificate):
    async with listening(Server(ECHO), tls=server_tls(certificate)) as listener:
        error = await raised_by_dial(listener.url())
        assert "certificate" in str(error).lower()


@asynchronous
async def test_tls_and_none_do_not_meet(certificate):
    async with listening(Server(ECHO), tls=server_tls(certificate)) as listener:
        await raised_by_dial(f"ws://127.0.0.1:{listener.port}/", timeout=5)
    async with listening(Server(ECHO)) as listener:
        error = await raised_by_dial(
            f"wss://127.0.0.1:{listener.port}/", tls=client_tls(certificate), timeout=5
        )
        assert str(error).startswith("no connection to wss://")


@asynchronous
async def test_a_handler_may_close_its_own_client():
    closed = asyncio.Event()

    async def close(namespace, _):
        await client.close()
        closed.set()

    async with listening(Server({"app": {"push": lambda here, _: here.emit("end")}})) as listener:
        client = await dial(listener.url(), {"app": {"end": close}})
        app = await client.connect("app")
        app.emit("push")
        await closed.wait()
        await client.wait_closed()


@asynchronous
async def test_a_handler_that_is_stuck_does_not_keep_its_client_from_closing():
    is_stuck = asyncio.Event()

    async def stay(*_):
        is_stuck.set()
        await asyncio.Event().wait()

    limits = Limits(close=0.05)
    async with listening(Server({"app": {"push": lambda here, _: here.emit("x")}})) as listener:
        client = await dial(listener.url(), {"app": {"x": stay}}, limits=limits)
        app = await client.connect("app")
        app.emit("push")
        await is_stuck.wait()
        await client.close()


def test_a_client_has_no_upgrade_request_for_its_controllers():
    class Nosy:
        namespace = "app"

        def __init__(self, request: UpgradeRequest) -> None: ...

        def event(self): ...

    with pytest.raises(DependencyError, match="UpgradeRequest"):
        asyncio.run(dial("ws://127.0.0.1:1/", Nosy))


# -------------------------------------------------------------------- what a review found


@asynchronous
async def test_a_client_comes_back_when_its_own_deadline_ended_the_connection():
    back = asyncio.Event()
    async with (
        listening(Server({"app": {}})) as listener,
        await dial(
            listener.url(),
            reconnect=SOON,
            on_reconnect=lambda _: back.set(),
            limits=Limits(read=0.05, heartbeat=None),
        ),
    ):
        await back.wait()


@asynchronous
async def test_a_client_that_is_behind_is_not_taken_for_dead():
    may_go = asyncio.Event()
    seen = []

    async def slow(_, message):
        await may_go.wait()
        seen.append(message.body)

    limits = Limits(queue_length=5, heartbeat=0.2, heartbeat_timeout=0.2)
    server = Server({"app": {}})
    async with (
        listening(server) as listener,
        await dial(listener.url(), {"app": {"news": slow}}, limits=limits) as client,
    ):
        await client.connect("app")
        for number in range(200):
            server.broadcast("app", "news", str(number))
        while not client.connection.link.is_held:
            await asyncio.sleep(0)
        for _ in range(10):  # several heartbeats, whose answers are not read
            await asyncio.sleep(limits.heartbeat)
        assert client.is_open
        may_go.set()
        while len(seen) < 200:
            await asyncio.sleep(0)
    assert seen == [str(number) for number in range(200)]


@asynchronous
async def test_a_probe_that_is_never_answered_is_a_failed_try():
    async def dribble(reader, writer):
        writer.write(b"H")
        with contextlib.suppress(OSError):
            await reader.read()  # the request, and then the end
            await reader.read()
        writer.close()

    async with echo_site() as site:
        client = await dial(
            site.url, timeout=1.0, reconnect=Reconnect(first_delay=0.001, max_delay=0.002, tries=2)
        )
    host, port = site.url.removeprefix("ws://").split("/")[0].split(":")
    server = await asyncio.start_server(dribble, host, int(port))
    await client.wait_closed()
    server.close()


@asynchronous
async def test_a_client_may_be_closed_where_it_is_told_of_its_end():
    closed = asyncio.Event()

    async def on_close(client, _):
        await client.close()
        closed.set()

    async with echo_site() as site:
        client = await dial(site.url, on_close=on_close)
    await closed.wait()
    await client.wait_closed()


@asynchronous
async def test_a_factory_that_hangs_does_not_outlast_the_time_to_connect():
    async def never() -> Slow:
        await asyncio.Event().wait()

    class Waiting:
        namespace = "app"

        def __init__(self, slow: Slow) -> None: ...

        def event(self): ...

    async with (
        echo_site() as site,
        await dial(site.url, Waiting, dependencies=[never]) as client,
    ):
        with pytest.raises(DeadlineError):
            await client.connect("app", timeout=0.05)


class Slow:
    """Something that takes an indefinite time to make."""
