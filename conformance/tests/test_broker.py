"""A server's connection to a broker that fails: what comes back, what is lost, and what is said.

The broker is in memory, and its connections fail at the test's command.
"""

import asyncio
import logging

import pytest

from neffos_asyncio import (
    ON_ANY_EVENT,
    DeadlineError,
    MemoryExchange,
    Server,
    broker,
    dial,
    listening,
    nats_exchange,
)
from neffos_asyncio.broker import BATCH, BrokerAttachment
from neffos_asyncio.transport import LOGGER

from .test_exchange import until
from .test_handler_queue import asynchronous


@pytest.fixture(autouse=True)
def brief(monkeypatch, caplog):
    """No time passes between two tries to connect."""
    caplog.set_level(logging.WARNING, LOGGER)
    for name in ("FIRST_PAUSE", "LONGEST_PAUSE", "CANCEL_TIME"):
        monkeypatch.setattr(broker, name, 0.001)


class Faulty:
    """A broker: it refuses, takes its time, and breaks connections."""

    def __init__(self):
        self.connections = []
        self.subscribed = set()
        self.subscriptions = []
        self.published = []
        self.is_refusing = self.is_silent = False
        self.may_go = asyncio.Event()
        self.may_go.set()
        self.tries = 0

    async def connect(self):
        self.tries += 1
        if self.is_refusing:
            raise ConnectionRefusedError("nobody is there")
        self.connections.append(Opened(self))
        return self.connections[-1]

    def attach(self):
        return BrokerAttachment(self.connect, "test://broker")

    def fail(self):
        """Break the connection."""
        self.subscribed.clear()
        self.connections[-1].end.set_exception(ConnectionResetError("it broke"))


class Opened:
    def __init__(self, faulty):
        self.faulty = faulty
        self.end = asyncio.get_running_loop().create_future()
        self.is_reset = False

    async def subscribe(self, channels):
        await self.faulty.may_go.wait()
        assert len(channels) <= BATCH
        self.faulty.subscribed.update(channels)
        self.faulty.subscriptions.extend(channels)

    async def unsubscribe(self, channels):
        self.faulty.subscribed.difference_update(channels)

    async def publish(self, messages):
        await self.faulty.may_go.wait()
        self.faulty.published.extend(messages)

    async def watch(self):
        await asyncio.shield(self.end)

    async def close(self):
        self.end.cancel()

    def reset(self):
        self.is_reset = True


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.name == LOGGER]


@asynchronous
async def test_subscriptions_are_confirmed_and_counted_once():
    faulty = Faulty()
    attachment = faulty.attach()
    attachment.subscribe("a")
    await attachment.confirmed("a")
    assert faulty.subscribed == {"a"}
    assert attachment.confirmed("a") is None
    attachment.unsubscribe("a")
    attachment.subscribe("b")
    await attachment.confirmed("b")
    await until(lambda: faulty.subscribed == {"b"})
    attachment.unsubscribe("b")
    attachment.subscribe("b")  # before the broker was told
    await asyncio.sleep(0)
    attachment.subscribe("c")
    await attachment.confirmed("c")
    assert faulty.subscribed == {"b", "c"}
    await attachment.close()
    assert len(faulty.connections) == 1


async def unsubscribed_too_soon():
    """Give a broker that still holds a subscription, which its attachment no longer needs."""
    faulty = Faulty()
    faulty.may_go.clear()
    attachment = faulty.attach()
    attachment.subscribe("a")
    await until(lambda: faulty.connections and not attachment._missing)
    attachment.unsubscribe("a")
    return faulty, attachment


@asynchronous
async def test_what_is_wanted_no_longer_when_it_is_confirmed_is_unsubscribed():
    faulty, attachment = await unsubscribed_too_soon()
    faulty.may_go.set()
    attachment.subscribe("b")
    await attachment.confirmed("b")
    await until(lambda: faulty.subscribed == {"b"})
    await attachment.close()


@asynchronous
async def test_what_is_given_up_and_wanted_again_while_it_is_confirmed_is_subscribed_once():
    """A NATS server delivers once for each subscription (EV-9)."""
    faulty, attachment = await unsubscribed_too_soon()
    attachment.subscribe("a")
    faulty.may_go.set()
    attachment.subscribe("b")
    await attachment.confirmed("b")
    assert faulty.subscriptions == ["a", "b"]
    await attachment.close()


@asynchronous
async def test_a_connection_that_failed_is_reset_and_one_at_the_end_is_closed():
    """EV-9: what is under way would arrive after what is published next."""
    faulty = Faulty()
    attachment = faulty.attach()
    attachment.subscribe("a")
    await attachment.confirmed("a")
    faulty.fail()
    await until(lambda: len(faulty.connections) > 1)
    await attachment.close()
    assert [each.is_reset for each in faulty.connections] == [True, False]


@asynchronous
async def test_a_connection_whose_end_takes_too_long_is_reset(monkeypatch):
    """Otherwise its socket stays open after the server has shut down."""

    async def endless(_):
        await asyncio.Event().wait()

    monkeypatch.setattr(Opened, "close", endless)
    faulty = Faulty()
    attachment = faulty.attach()
    attachment.subscribe("a")
    await attachment.confirmed("a")
    await attachment.close()
    assert faulty.connections[0].is_reset


@asynchronous
async def test_connections_that_come_and_go_at_each_moment_do_not_stop_what_is_published(
    monkeypatch,
):
    faulty = Faulty()
    attachment = faulty.attach()
    most = 100
    before = []  # subscriptions before something was published

    async def subscribe(_, channels):
        await asyncio.sleep(0)  # the broker is far: others connect meanwhile
        faulty.subscriptions.extend(channels)
        if len(faulty.subscriptions) < most:
            attachment.unsubscribe(channels[0])
            attachment.subscribe(f"{len(faulty.subscriptions)}")

    async def publish(_, messages):
        before.append(len(faulty.subscriptions))
        faulty.published.extend(messages)

    monkeypatch.setattr(Opened, "subscribe", subscribe)
    monkeypatch.setattr(Opened, "publish", publish)
    attachment.subscribe("a")
    attachment.publish("a", b"x")
    await until(lambda: faulty.published)
    assert before[0] < most
    await until(lambda: len(faulty.subscriptions) == most)
    await attachment.close()


@asynchronous
async def test_many_subscriptions_are_made_in_few_batches():
    faulty = Faulty()
    attachment = faulty.attach()
    names = {str(number) for number in range(5 * BATCH // 2)}
    for name in names:
        attachment.subscribe(name)
    await until(lambda: faulty.subscribed == names)
    await attachment.close()


@asynchronous
async def test_a_broker_that_is_away_at_the_start_is_used_once_it_is_there(caplog):
    faulty = Faulty()
    faulty.is_refusing = True
    attachment = faulty.attach()
    attachment.publish("a", b"lost")
    attachment.subscribe("a")
    await attachment.confirmed("a")  # a client's connect goes on
    await until(lambda: faulty.tries > 5)
    attachment.publish("a", b"lost, too")
    assert attachment.confirmed("a") is None
    faulty.is_refusing = False
    await until(lambda: faulty.subscribed == {"a"})
    await until(lambda: not attachment._is_away)
    attachment.publish("a", b"x")
    await until(lambda: faulty.published)
    assert faulty.published == [("a", b"x")]
    away, back = warnings(caplog)
    assert "test://broker is away" in away
    assert "nobody is there" in away
    assert "is back; 2 messages" in back
    await attachment.close()


@asynchronous
async def test_after_a_break_subscriptions_come_back_and_old_messages_do_not(caplog):
    faulty = Faulty()
    attachment = faulty.attach()
    for name in "abc":
        attachment.subscribe(name)
    await attachment.confirmed("c")
    faulty.may_go.clear()
    attachment.publish("a", b"under way")
    attachment.publish("a", b"waits")
    attachment.unsubscribe("b")
    faulty.is_refusing = True
    faulty.fail()
    await until(lambda: attachment._is_away)
    attachment.publish("a", b"lost")
    faulty.is_refusing = False
    faulty.may_go.set()
    await until(lambda: not attachment._is_away)
    assert faulty.subscribed == {"a", "c"}
    attachment.publish("a", b"new")
    await until(lambda: faulty.published)
    assert faulty.published == [("a", b"new")]
    assert "it broke" in warnings(caplog)[0]
    assert len(warnings(caplog)) == 2
    await attachment.close()


@asynchronous
async def test_what_waits_for_a_slow_broker_is_bounded(monkeypatch, caplog):
    monkeypatch.setattr(broker, "PENDING_BYTES", 10_000)
    faulty = Faulty()
    attachment = faulty.attach()
    await until(lambda: faulty.connections)
    faulty.may_go.clear()
    for number in range(100):
        attachment.publish("a", b"%0500d" % number)
    assert attachment._size <= 10_000
    kept = len(attachment._queue)
    faulty.may_go.set()
    await until(lambda: len(faulty.published) >= kept and len(warnings(caplog)) == 2)
    assert [int(payload) for _, payload in faulty.published] == list(range(kept))
    slow, fast = warnings(caplog)
    assert "slower than this server" in slow
    assert f"{100 - kept} messages were lost" in fast
    attachment.publish("a", b"again")
    await until(lambda: faulty.published[-1] == ("a", b"again"))
    await attachment.close()


@asynchronous
async def test_a_broker_that_stalls_counts_as_away(monkeypatch):
    monkeypatch.setattr(broker, "STALL_TIME", 0.01)
    faulty = Faulty()
    attachment = faulty.attach()
    await until(lambda: faulty.connections)
    faulty.may_go.clear()
    attachment.publish("a", b"x")
    await until(lambda: attachment._is_away or len(faulty.connections) > 1)
    faulty.may_go.set()
    await until(lambda: not attachment._is_away)
    await attachment.close()


@asynchronous
async def test_a_client_does_not_wait_for_a_subscription_for_ever(monkeypatch):
    monkeypatch.setattr(broker, "CONFIRM_TIME", 0.01)
    faulty = Faulty()
    faulty.may_go.clear()
    attachment = faulty.attach()
    attachment.subscribe("a")
    first, second = attachment.confirmed("a"), attachment.confirmed("a")
    await asyncio.gather(first, second)
    await attachment.close()


@asynchronous
async def test_the_end_publishes_what_waits_and_ends_all_waiting():
    faulty = Faulty()
    attachment = faulty.attach()
    for number in range(3 * BATCH):
        attachment.publish("a", b"%d" % number)
    await attachment.close()
    assert [int(payload) for _, payload in faulty.published] == list(range(3 * BATCH))
    faulty.may_go.clear()
    attachment = faulty.attach()
    attachment.subscribe("a")
    waiting = attachment.confirmed("a")
    await attachment.close()
    await waiting


class FaultyExchange(MemoryExchange):
    """An exchange whose broker is away."""

    def __init__(self, faulty):
        super().__init__()
        self._faulty = faulty

    def attach(self, deliver):
        return self._faulty.attach()


@asynchronous
async def test_without_its_broker_a_server_serves_its_own_clients():
    faulty = Faulty()
    faulty.is_refusing = True
    got = asyncio.Queue()
    server = Server({"app": {"echo": lambda _, m: m.body}}, exchange=FaultyExchange(faulty))
    handlers = {"app": {ON_ANY_EVENT: lambda _, message: got.put_nowait(message.body)}}
    async with listening(server) as listener, await dial(listener.url(), handlers) as client:
        space = await client.connect("app")
        assert (await space.ask("echo", "x")).body == "x"
        assert server.broadcast("app", "news", "y") == 1
        assert await got.get() == "y"
        with pytest.raises(DeadlineError):
            await server.ask("app", "question", to="elsewhere", timeout=0.01)


@asynchronous
async def test_a_shutdown_that_is_cancelled_leaves_the_broker():
    faulty = Faulty()
    server = Server({"app": {}}, exchange=FaultyExchange(faulty))
    async with listening(server) as listener, await dial(listener.url(), {"app": {}}) as client:
        await client.connect("app")
        shutdown = asyncio.create_task(server.shutdown())
        await asyncio.sleep(0)
        assert not shutdown.done()
        shutdown.cancel()
        await asyncio.gather(shutdown, return_exceptions=True)
        assert shutdown.cancelled()
        assert faulty.connections[0].end.cancelled()


@asynchronous
async def test_the_end_of_a_nats_connection_is_noted_though_its_last_write_fails(monkeypatch):
    """A server that publishes nothing would hear nothing any more, and never connect again."""

    async def fails(*_):
        raise ConnectionResetError

    monkeypatch.setattr(nats_exchange.Client, "_close", fails)
    opened = nats_exchange._Nats(lambda *_: None)
    with pytest.raises(ConnectionResetError):
        await opened.close()
    with pytest.raises(ConnectionError, match="ended"):
        await opened.watch()
