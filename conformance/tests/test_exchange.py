"""Servers that share an exchange: who gets what, whose asks are answered, and what is subscribed.

Their exchange is in memory. What is published on it is looked at, and written by a stranger, on the
exchange itself.
"""

import asyncio
import logging
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import quote

import pytest
from click.testing import CliRunner

from neffos_asyncio import (
    ON_ANY_EVENT,
    DeadlineError,
    DialError,
    LostError,
    MemoryExchange,
    PeerError,
    ReplyError,
    Server,
    dial,
    exchange_at,
    listening,
)
from neffos_asyncio.cluster import MAX_ANSWERS, MAX_NAME
from neffos_asyncio.transport import LOGGER
from neffos_conformance.cli.serve import serve_command
from neffos_protocol import MisuseError
from neffos_protocol.exchange import read_published

from .test_handler_queue import asynchronous

APP = "app"
ROOM = "lobby"
PATIENCE = 30
"""Seconds, on a machine that is busy, for what comes at once."""
ODD = ["semi;colon", "a.b", "a b", "*", "a>", "[x]?", "ü"]
"""Names with characters that have a meaning on a broker, or in a frame."""


class Peer:
    """A client and what it got."""

    def __init__(self, answer=None):
        self.got, self.tokens, self.asked = [], [], []
        self.answer = answer
        self.space = None

    def take(self, _, message):
        if message.event == "question":
            self.tokens.append(message.wait)
            self.asked.append(message.body)
            if isinstance(self.answer, Exception):
                raise self.answer
            return self.answer
        self.got.append((message.room, message.event, message.body, message.wait))
        return None

    @property
    def bodies(self):
        return [body for _, _, body, _ in self.got]


class Wire:
    """A stranger on an exchange: it hears all channels that it asks for, and can publish."""

    def __init__(self, exchange, *channels):
        self.heard = []
        self.attachment = exchange.attach(lambda *heard: self.heard.append(heard))
        for channel in channels:
            self.attachment.subscribe(channel)

    def say(self, channel, payload):
        self.attachment.publish(channel, payload.encode())


class Nodes:
    """Two servers with one exchange, ``a`` and ``b``, and clients at either."""

    def __init__(self, stack, exchange, urls, servers, names):
        self._stack, self._urls, self._names = stack, urls, names
        self.exchange, self.servers = exchange, servers
        self.a, self.b = servers
        self.peers = []

    async def peer(self, at, id_, *, room="", answer=None, namespace=APP):
        peer = Peer(answer)
        handlers = {name: {ON_ANY_EVENT: peer.take} for name in self._names}
        client = await dial(f"{self._urls[at]}?id={quote(id_)}", handlers)
        await self._stack.enter_async_context(client)
        peer.space = await client.connect(namespace)
        peer.client = client
        if room:
            await peer.space.join(room)
        self.peers.append(peer)
        return peer

    async def settled(self):
        """Wait until all that was published and sent before now has been handled.

        A broadcast of each server goes the same way as those before it.
        """
        for server in self.servers:
            server.broadcast(APP, "done")
        await until(lambda: all(_ends(peer) == 2 for peer in self.peers if _in_app(peer)))
        for peer in self.peers:
            peer.got = [each for each in peer.got if each[1] != "done"]


def _in_app(peer):
    return peer.space.name == APP and peer.space.is_connected


def _ends(peer):
    return sum(event == "done" for _, event, _, _ in peer.got)


async def _asked_longer_and_longer(server):
    """Ask until a reply is there before the deadline, however busy the machine is."""
    for seconds in (0.1, 1, 5, PATIENCE):
        try:
            return await server.ask(APP, "question", timeout=seconds)
        except DeadlineError:
            continue
    raise AssertionError("no reply came")


async def until(holds):
    """Wait until something holds; the time of the test bounds that."""
    while not holds():
        await asyncio.sleep(0)


async def _nothing_was_published(cluster, wire):
    """See that a wire hears nothing before a last broadcast, which goes after all others."""
    cluster.a.broadcast(APP, "last")
    await until(lambda: wire.heard)
    assert [read_published(payload).message.event for _, payload in wire.heard] == ["last"]


def _shout(space, message):
    space.broadcast("said", message.body, room=message.room)


@asynccontextmanager
async def nodes(*, names=(APP, "other"), **options):
    exchange = MemoryExchange()
    handlers = {name: {"shout": _shout, "echo": lambda _, message: message.body} for name in names}
    made = {
        "id_generator": lambda request: request.parameter("id"),
        "exchange": exchange,
        **options,
    }
    servers = [Server(handlers, **made) for _ in range(2)]
    async with AsyncExitStack() as stack:
        listeners = [await stack.enter_async_context(listening(each)) for each in servers]
        urls = dict(zip("ab", [each.url() for each in listeners], strict=True))
        yield Nodes(stack, exchange, urls, servers, names)


# -------------------------------------------------------------------- broadcasts


@asynchronous
async def test_a_broadcast_reaches_the_members_at_both_servers_once():
    async with nodes() as cluster:
        here, there = await cluster.peer("a", "h"), await cluster.peer("b", "t")
        stranger = await cluster.peer("b", "s", namespace="other")
        assert cluster.a.broadcast(APP, "news", "x") == 1
        await cluster.settled()
        assert here.got == there.got == [("", "news", "x", "")]
        assert stranger.got == []


@asynchronous
async def test_a_broadcast_leaves_out_its_sender_only():
    async with nodes() as cluster:
        here = await cluster.peer("a", "h")
        others = [await cluster.peer("a", "o"), await cluster.peer("b", "t")]
        here.space.emit("shout", "x")
        await here.space.ask("echo")
        await cluster.settled()
        assert here.got == []
        assert [each.bodies for each in others] == [["x"], ["x"]]


@asynchronous
async def test_a_room_is_one_room_at_both_servers():
    async with nodes() as cluster:
        here = await cluster.peer("a", "h", room=ROOM)
        there = await cluster.peer("b", "t", room=ROOM)
        outside = await cluster.peer("b", "o")
        other = await cluster.peer("b", "s", room=ROOM, namespace="other")
        here.space.emit("shout", "x", room=ROOM)
        await here.space.ask("echo")
        await cluster.settled()
        assert there.got == [(ROOM, "said", "x", "")]
        assert here.got == outside.got == other.got == []


@asynchronous
@pytest.mark.parametrize("id_", ["t", *ODD])
async def test_a_message_to_one_id_reaches_that_connection_only(id_):
    async with nodes() as cluster:
        near, wanted, other = (
            await cluster.peer("a", "n"),
            await cluster.peer("b", id_),
            await cluster.peer("b", "z"),
        )
        assert wanted.client.id == id_
        assert cluster.a.broadcast(APP, "news", "x", to=id_) == 0
        await cluster.settled()
        assert wanted.bodies == ["x"]
        assert near.got == other.got == []


@asynchronous
@pytest.mark.parametrize("name", ODD)
async def test_a_namespace_has_any_name(name):
    async with nodes(names=(APP, name, "other")) as cluster:
        there = await cluster.peer("b", "t", namespace=name)
        stranger = await cluster.peer("b", "s", namespace="other")
        app = await cluster.peer("b", "p")
        cluster.a.broadcast(name, "news", "x")
        await until(lambda: there.bodies == ["x"])
        await cluster.settled()
        assert stranger.got == app.got == []


@asynchronous
async def test_the_type_of_a_body_and_the_order_are_kept():
    """EV-9, FR-11: a broadcast arrives as it was made."""
    bodies = ["", "text", "ü;\n", b"", b"bytes", b"\xff\x00;", *map(str, range(50))]
    async with nodes() as cluster:
        there = await cluster.peer("b", "t")
        for body in bodies:
            cluster.a.broadcast(APP, "news", body)
        await cluster.settled()
        assert there.bodies == bodies


@asynchronous
async def test_who_left_or_disconnected_gets_nothing_more():
    async with nodes() as cluster:
        there = await cluster.peer("b", "t", room=ROOM)
        witness = await cluster.peer("b", "w", room=ROOM)
        await there.space.leave(ROOM)
        cluster.a.broadcast(APP, "news", "room", room=ROOM)
        await cluster.settled()
        assert (there.bodies, witness.bodies) == ([], ["room"])
        await there.space.disconnect()
        cluster.a.broadcast(APP, "news", "all")
        await cluster.settled()
        assert (there.bodies, witness.bodies) == ([], ["room", "all"])


# -------------------------------------------------------------------- asks


@asynchronous
@pytest.mark.parametrize("body", ["text", "", b"\xff", b"bytes"])
async def test_an_ask_is_answered_at_the_other_server(body):
    async with nodes() as cluster:
        peer = await cluster.peer("b", "t", answer=body)
        reply = await cluster.a.ask(APP, "question", body, timeout=PATIENCE)
        assert (reply.namespace, reply.event, reply.body) == (APP, "question", body)
        reply = await cluster.a.ask(APP, "question", body, to="t", timeout=PATIENCE)
        assert reply.body == body
        assert peer.asked == [body, body]


@asynchronous
async def test_an_ask_takes_the_first_reply_that_is_no_error():
    async with nodes() as cluster:
        await cluster.peer("a", "h", answer=ReplyError("no"))
        await cluster.peer("b", "t", answer=ReplyError("neither"))
        await cluster.peer("b", "u", answer="yes")
        assert (await cluster.a.ask(APP, "question", timeout=PATIENCE)).body == "yes"


@asynchronous
async def test_an_error_reply_ends_an_ask_to_one_connection():
    async with nodes() as cluster:
        await cluster.peer("b", "t", answer=ReplyError("no"))
        with pytest.raises(PeerError) as error:
            await cluster.a.ask(APP, "question", to="t", timeout=None)
        assert error.value.text == "no"


@asynchronous
async def test_an_ask_without_a_good_reply_ends_at_its_deadline():
    async with nodes() as cluster:
        with pytest.raises(DeadlineError):
            await cluster.a.ask(APP, "question", timeout=0.01)
        with pytest.raises(DeadlineError):
            await cluster.a.ask(APP, "question", to="nobody", timeout=0.01)
        await cluster.peer("b", "t", answer=ReplyError("no"))
        with pytest.raises(PeerError):
            await _asked_longer_and_longer(cluster.a)
        assert not [name for name in cluster.exchange._subscribers if ".ask." in name]


@asynchronous
async def test_no_client_learns_the_token_of_an_exchanges_ask():
    """SX-9: nobody can reply for another."""
    async with nodes() as cluster:
        wire = Wire(cluster.exchange, "neffos.app.")
        peer = await cluster.peer("b", "t", answer="x")
        await cluster.a.ask(APP, "question", timeout=PATIENCE)
        [(_, payload)] = wire.heard
        assert read_published(payload).token
        assert peer.tokens
        assert read_published(payload).token not in peer.tokens


@asynchronous
async def test_a_late_reply_and_one_from_a_stranger_change_nothing():
    async with nodes() as cluster:
        wire = Wire(cluster.exchange, "neffos.app.")
        asked = asyncio.create_task(cluster.a.ask(APP, "question", timeout=PATIENCE))
        await until(lambda: wire.heard)
        channel = f"neffos.ask.{read_published(wire.heard[0][1]).token}"
        wire.say(channel, "not a frame")
        wire.say(channel, ";app;;question;0;0;first")
        wire.say(channel, ";app;;question;0;0;second")
        assert (await asked).body == "first"
        assert channel not in cluster.exchange._subscribers
        wire.say(channel, ";app;;question;0;0;third")


@asynchronous
async def test_so_many_asks_of_others_are_answered_at_a_time(monkeypatch):
    monkeypatch.setattr("neffos_asyncio.cluster.MAX_ANSWERS", 2)
    assert MAX_ANSWERS > 2
    async with nodes() as cluster:
        never = asyncio.get_running_loop().create_future()
        peer = await cluster.peer("b", "t", answer=never)
        asks = [
            asyncio.create_task(cluster.a.ask(APP, "question", timeout=PATIENCE)) for _ in range(3)
        ]
        await cluster.settled()
        await until(lambda: len(peer.tokens) == 1)  # a client handles one ask after the other
        assert len(cluster.b._cluster._answers) == 2
        for task in asks:
            task.cancel()
        never.cancel()


# -------------------------------------------------------------------- what a broker carries


@asynchronous
async def test_each_broadcast_is_published_once_and_read_once_by_a_server(monkeypatch):
    read = []
    monkeypatch.setattr(
        "neffos_asyncio.cluster.read_published",
        lambda payload: read.append(payload) or read_published(payload),
    )
    async with nodes() as cluster:
        wire = Wire(cluster.exchange, "neffos.app.")
        peers = [await cluster.peer("b", f"t{number}") for number in range(5)]
        cluster.a.broadcast(APP, "news", "x")
        await until(lambda: all(peer.bodies == ["x"] for peer in peers))
        assert len(wire.heard) == len(read) == 1


@asynchronous
async def test_a_server_is_attached_once_and_subscribes_only_what_it_needs():
    async with nodes() as cluster:
        attached = []
        attach = cluster.exchange.attach
        cluster.exchange.attach = lambda deliver: attached.append(attach(deliver)) or attached[-1]
        assert cluster.exchange._subscribers == {}
        first, second = await cluster.peer("b", "t"), await cluster.peer("b", "u")
        third = await cluster.peer("b", "v", namespace="other")
        assert len(attached) == 1
        expected = {"neffos.app.", "neffos.other.", "neffos.t.", "neffos.u.", "neffos.v."}
        assert set(cluster.exchange._subscribers) == expected
        await first.space.disconnect()
        assert set(cluster.exchange._subscribers) == expected
        await second.space.disconnect()
        assert set(cluster.exchange._subscribers) == expected - {"neffos.app."}
        await third.client.close()
        await until(lambda: set(cluster.exchange._subscribers) == {"neffos.t.", "neffos.u."})
        assert not cluster.b._cluster._needs.keys() - {"neffos.t.", "neffos.u."}
    assert cluster.exchange._subscribers == {}


@asynchronous
async def test_a_connect_that_a_server_asks_for_waits_for_its_subscription():
    """Its client is a member as soon as it replies, and would miss what is said right then."""
    async with nodes() as cluster:
        peer = await cluster.peer("b", "t", namespace="other")
        connection = cluster.b.connections["t"]
        confirmed = asyncio.get_running_loop().create_future()
        cluster.b._cluster._attachment.confirmed = lambda _: confirmed
        connecting = asyncio.create_task(connection.connect(APP))
        await peer.space.ask("echo")
        assert "neffos.app." in cluster.exchange._subscribers
        assert not peer.client.connection.link.session.is_member(APP)
        confirmed.set_result(None)
        await connecting
        cluster.a.broadcast(APP, "news", "x")
        await until(lambda: peer.bodies == ["x"])
        await connection.namespace(APP).disconnect()
        assert "neffos.app." not in cluster.exchange._subscribers


@asynchronous
async def test_a_connect_whose_connection_ends_before_it_is_decided_leaves_no_subscription():
    async with nodes() as cluster:
        await cluster.peer("b", "t", namespace="other")
        node = cluster.b._cluster
        node._attachment.confirmed = lambda _: asyncio.get_running_loop().create_future()
        node.connecting(APP, lambda: None).close()  # as a queue does with what has not begun
        assert "neffos.app." not in node._needs


@asynchronous
async def test_a_server_that_shuts_down_ends_its_asks_and_attaches_no_more():
    async with nodes() as cluster:
        asked = asyncio.create_task(cluster.a.ask(APP, "question", timeout=None))
        await until(lambda: any(".ask." in name for name in cluster.exchange._subscribers))
        for server in cluster.servers:
            await server.shutdown()
            assert server.broadcast(APP, "news") == 0
            with pytest.raises(LostError):
                await server.ask(APP, "question", timeout=None)
        with pytest.raises(LostError):
            await asked
        assert cluster.b._cluster._attachment is None
        assert cluster.exchange._subscribers == {}


@asynchronous
async def test_names_and_tokens_that_are_too_long_for_a_channel_are_on_none():
    long = "x" * (MAX_NAME + 1)
    with pytest.raises(ValueError, match=f"more than {MAX_NAME} bytes"):
        Server({long: {}}, exchange=MemoryExchange())
    async with nodes() as cluster:
        wire = Wire(cluster.exchange, f"neffos.{long}.", f"neffos.ask.{long}")
        peer = await cluster.peer("b", "t", answer="yes")
        cluster.a.broadcast(long, "news")
        cluster.a.broadcast(APP, "news", to=long)
        wire.say("neffos.app.", f"x!{long[1:]};app;;question;0;0;ping")
        await cluster.settled()
        assert (peer.asked, wire.heard) == ([], [])


@asynchronous
async def test_a_refused_connect_leaves_no_subscription():
    def refuse(*_):
        raise ReplyError("no")

    exchange = MemoryExchange()
    server = Server({APP: {"_OnNamespaceConnect": refuse}}, exchange=exchange)
    async with listening(server) as listener, await dial(listener.url(), {APP: {}}) as client:
        with pytest.raises(PeerError):
            await client.connect(APP)
        assert list(exchange._subscribers) == [f"neffos.{client.id}."]


@asynchronous
@pytest.mark.parametrize(
    "payload",
    [
        "",
        "not a frame",
        ";app;;_OnNamespaceDisconnect;0;0;",
        ";app;;_OnRoomJoin;0;0;",
        ";other;;news;0;0;x",
        ";app;somewhere;news;0;0;x",
    ],
)
async def test_what_no_server_publishes_reaches_no_client(payload):
    """SX-8: the channel says nothing about membership."""
    async with nodes() as cluster:
        peer = await cluster.peer("b", "t")
        Wire(cluster.exchange).say("neffos.app.", payload)
        await cluster.settled()
        assert peer.got == []


@asynchronous
async def test_what_go_publishes_reaches_clients_without_sender_or_token():
    async with nodes() as cluster:
        wire = Wire(cluster.exchange)
        peer, other = await cluster.peer("b", "t"), await cluster.peer("b", "u")
        wire.say("neffos.app.", "neffos(0x1f(u0xc0001));app;;news;0;0;all")
        wire.say("neffos.t.", ";app;;news;0;0;one")
        wire.say("neffos.app.", "$1;app;;news;0;0;broadcast again")
        await cluster.settled()
        assert peer.got == [("", "news", body, "") for body in ("all", "one", "broadcast again")]
        assert other.bodies == ["all", "broadcast again"]


@asynchronous
async def test_what_a_client_writes_in_the_wait_field_stays_at_its_server():
    async with nodes() as cluster:
        wire = Wire(cluster.exchange, "neffos.app.", "neffos.ask.stolen", "stolen", "neffos.other.")
        peer = await cluster.peer("a", "t")
        for wait in ("s!tolen", "neffos(0x1f)", "stolen", "#stolen", "$1"):
            for event in ("shout", "unknown", "_OnRoomJoin", "_OnNamespaceConnect"):
                raw = f"{wait};app;;{event};0;0;x"
                peer.client.connection.link.session._send(raw)
        peer.client.connection.link.wake()
        await peer.space.ask("echo")
        await cluster.settled()
        frames = [
            read_published(payload) for channel, payload in wire.heard if channel == "neffos.app."
        ]
        assert {channel for channel, _ in wire.heard} == {"neffos.app."}
        assert {frame.message.event for frame in frames} == {"said", "done"}
        assert not any(
            b"tolen" in payload or b"neffos(0x1f)" in payload for _, payload in wire.heard
        )
        assert all(frame.origin and not frame.token for frame in frames)


@asynchronous
@pytest.mark.parametrize("id_", [APP, "i" * (MAX_NAME + 1)])
async def test_an_id_that_would_be_a_namespaces_channel_or_too_long_is_refused(id_, monkeypatch):
    monkeypatch.setattr(logging.getLogger(LOGGER), "disabled", True)
    async with nodes() as cluster:
        with pytest.raises(DialError, match="500"):
            await cluster.peer("a", id_)
        wire = Wire(cluster.exchange, "neffos.app.", f"neffos.{id_}.")
        cluster.a.broadcast(APP, "news", "x", to=id_)
        await _nothing_was_published(cluster, wire)


@asynchronous
async def test_misuse_is_refused_before_anything_is_published():
    async with nodes() as cluster:
        wire = Wire(cluster.exchange, "neffos.app.")
        with pytest.raises(MisuseError):
            cluster.a.broadcast(APP, "_OnRoomJoin")
        with pytest.raises(MisuseError):
            await cluster.a.ask(APP, "_OnNamespaceConnect")
        await _nothing_was_published(cluster, wire)


@asynchronous
async def test_an_ask_of_go_is_answered_where_go_waits():
    """SX-4: as neffos-go 0.0.25 publishes it, and as it was measured to take the reply."""
    async with nodes() as cluster:
        wire = Wire(cluster.exchange, "neffos.ask.mabc-1-2c7f9d63")
        await cluster.peer("b", "t", answer="yes")
        wire.say("neffos.t.", "m!abc-1-2c7f9d63;app;;question;0;0;ping")
        await until(lambda: wire.heard)
        reply = read_published(wire.heard[0][1])
        assert (reply.message.body, reply.token) == ("yes", "")


@pytest.mark.parametrize("url", ["http://127.0.0.1", "redis", "nats://127.0.0.1", "redis://h"])
def test_an_exchange_is_made_from_a_url_and_a_prefix(url):
    if url.startswith(("redis://", "nats://")):
        assert exchange_at(url, "p").channels.prefix == "p"
        with pytest.raises(ValueError, match="prefix"):
            exchange_at(url, "")
    else:
        with pytest.raises(ValueError, match="an exchange is at redis://"):
            exchange_at(url)


@pytest.mark.parametrize(
    "url", ["redis://u:secret@h:1/0?client_name=secret", "nats://u:secret@h:1"]
)
def test_an_exchange_does_not_tell_its_secrets(url):
    assert "secret" not in repr(exchange_at(url))


@pytest.mark.parametrize(
    "url", ["redis://u:secret/x@h", "nats://u:secret/x@h", "nats://h,nats://u:secret@h\u2100"]
)
def test_a_url_that_cannot_be_read_is_refused_without_its_secrets(url):
    with pytest.raises(ValueError, match="percent-encode") as error:
        exchange_at(url)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("url", ["rediss://h?ssl_cert_reqs=secret", "redis://h?db=secret"])
def test_an_option_with_a_value_that_it_cannot_have_is_refused_at_once(url):
    with pytest.raises(ValueError, match="value") as error:
        exchange_at(url)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize("url", ["http://u:secret@h", "nats://u:secret@h", "redis://:secret/1@h"])
def test_serve_says_what_is_wrong_with_an_exchange_and_no_secret(url):
    command = ["--exchange", url, "--exchange-prefix", "a..b"]
    done = CliRunner().invoke(serve_command, command)
    assert done.exit_code == 2
    assert "--exchange" in done.output
    assert "secret" not in done.output
