"""A server's connection to NATS, whose server here says what the test has it say."""

import asyncio
import json
import warnings
from contextlib import asynccontextmanager

import pytest

from neffos_asyncio import broker
from neffos_asyncio.nats_exchange import NatsExchange, _Nats
from neffos_asyncio.redis_exchange import RedisExchange
from neffos_protocol.exchange import nats_subjects

from .test_exchange import until
from .test_handler_queue import asynchronous

INFO = b'INFO {"max_payload":1048576}\r\n'


class Scripted:
    """A NATS server that notes each line, and answers a ping with what ``answers`` gives next."""

    def __init__(self, answers=(), greeting=INFO):
        self.answers, self.greeting = list(answers), greeting
        self.lines, self.writers = [], []
        self.closed = 0

    async def serve(self, reader, writer):
        self.writers.append(writer)
        writer.write(self.greeting)
        try:
            while line := await reader.readline():
                self.lines.append(line)
                if line == b"PING\r\n":
                    answer = self.answers.pop(0) if self.answers else b"PONG\r\n"
                    if answer is None:
                        break
                    writer.write(answer)
        except ConnectionError:
            pass
        self.closed += 1
        writer.close()

    def said(self, word):
        return [line for line in self.lines if line.startswith(word)]


@asynccontextmanager
async def scripted(*answers, **options):
    server = Scripted(answers, **options)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    async with listener:
        yield server, f"nats://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        for writer in server.writers:
            writer.transport.abort()
        await until(lambda: server.closed == len(server.writers))


@asynccontextmanager
async def opened(url):
    heard = []
    there = _Nats(lambda *each: heard.append(each))
    await there.open([url], None)
    try:
        yield there, heard
    finally:
        there.reset()
        await there.close()


@asynchronous
@pytest.mark.parametrize(
    "answers", [[b"PING\r\nPONG\r\n"], [INFO + b"PONG\r\n"], [b"PING\r\n", b"PONG\r\nPONG\r\n"]]
)
async def test_a_connection_whose_first_ping_is_answered_late_is_used(answers):
    """The library would count it as not connected: it sends nothing more, and says nothing."""
    async with scripted(*answers) as (server, url), opened(url) as (there, heard):
        await there.subscribe(["a"])
        await there.publish([("b", b"x")])
        assert server.said(b"SUB a")
        assert server.said(b"PUB b")
        assert not there._client._pongs  # the late reply confirmed no later ping
        server.writers[0].write(b"MSG a 1 1\r\ny\r\n")
        await until(lambda: heard == [("a", b"y")])


@asynchronous
async def test_a_connection_that_ends_before_its_first_pong_has_ended():
    async with scripted(None) as (_, url), opened(url) as (there, _):
        with pytest.raises(ConnectionError):
            await there.watch()


@asynchronous
async def test_a_ping_is_after_what_it_confirms():
    """Otherwise a client is connected before its subscription is in place."""
    async with scripted() as (server, url), opened(url) as (there, _):
        await there.subscribe(["a", "b"])
        await there.publish([("a", b"x")] * 3)
        words = [line.split()[0] for line in server.lines if line != b"x\r\n"]
        assert words[1:] == [b"PING", b"SUB", b"SUB", b"PING", *[b"PUB"] * 3, b"PING"]


@asynchronous
async def test_a_reply_to_a_ping_for_which_nobody_waits_any_more_does_no_harm():
    """The library would stop reading: whoever gave up one flush would hear nothing more."""
    async with scripted(b"PONG\r\n", b"") as (server, url), opened(url) as (there, heard):
        flush = asyncio.create_task(there.subscribe(["a"]))
        await until(lambda: server.said(b"SUB"))
        flush.cancel()
        await asyncio.wait([flush])
        server.writers[0].write(b"PONG\r\nMSG a 1 1\r\ny\r\n")
        await until(lambda: heard == [("a", b"y")])


@asynchronous
async def test_what_still_waits_at_the_end_does_not_hide_the_end():
    """A broker is killed while a server publishes: its last write fails, and it must still notice.

    This is what the nemesis found with seed 306.
    """
    async with scripted() as (server, url), opened(url) as (there, _):
        watching = asyncio.create_task(there.watch())
        server.writers[0].transport.abort()
        there._client._pending = [b"PUB b 1\r\nx\r\n"]
        there._client._pending_data_size = len(there._client._pending[0])
        with pytest.raises(ConnectionError):
            await watching


@asynchronous
@pytest.mark.parametrize("kind", ["nats", "redis"])
@pytest.mark.parametrize("is_silent", [True, False])
async def test_a_try_to_connect_that_fails_leaves_no_connection(kind, is_silent, monkeypatch):
    """A broker that is silent for an hour would cost a descriptor for each try."""
    monkeypatch.setattr(broker, "CONNECT_TIME", 0.05)
    monkeypatch.setattr(broker, "FIRST_PAUSE", 0.001)
    greeting = b"" if is_silent else b"-ERR 'no'\r\n"
    async with scripted(greeting=greeting) as (server, url):
        if kind == "redis":
            exchange = RedisExchange(url.replace("nats", "redis"))
        else:
            exchange = NatsExchange(url)
        with warnings.catch_warnings():
            warnings.simplefilter("error", ResourceWarning)
            attachment = exchange.attach(lambda *_: None)
            await until(lambda: server.closed >= 2)
            await attachment.close()
        await until(lambda: server.closed == len(server.writers))


@asynchronous
async def test_user_and_password_are_decoded_and_sent_to_who_offers_tls_only():
    async def connect_of(urls):
        async with scripted() as (server, url), opened(urls(url)):
            return json.loads(server.said(b"CONNECT")[0].split(b" ", 1)[1])

    said = await connect_of(lambda url: url.replace("//", "//me%40home:pa%2Fss@"))
    assert (said["user"], said["pass"]) == ("me@home", "pa/ss")
    said = await connect_of(lambda url: url.replace("//", "//tok%3Aen@"))
    assert "tok:en" in said.values()
    async with scripted() as (server, url):
        with pytest.raises(ConnectionError, match="offers no TLS"):
            async with opened(url.replace("nats://", "tls://me:secret@")):
                pass
        assert not server.said(b"CONNECT")


@asynchronous
async def test_names_that_nats_cannot_carry_reach_no_subject():
    assert nats_subjects("p").of_connection("a\vb\fc") == "p.a_b_c"
