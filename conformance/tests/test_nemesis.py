"""What the nemesis holds a cluster to: a correct one keeps it, and the clients see who does not."""

import asyncio
import json
import shutil
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random

import pytest

from hostile import nemesis
from hostile.nemesis import FAULTS, BrokerLink, steps_of
from hostile.nodes import node_server
from hostile.promises import ASK, CONNECT, DISCONNECT, JOIN, LEAVE, ROOMS, SPACES, Promises
from hostile.workload import act, calm, settled, unreached
from neffos_asyncio import MemoryExchange, listening
from neffos_codec import Message
from peers.exchanges import EXCHANGES, SERVERS

from .test_exchange import until
from .test_handler_queue import asynchronous

FIRST, SECOND = SPACES
WHOLE = FIRST, ""
LITTLE = 0.3
"""Seconds for what a faulty cluster never does."""


class Faulty(MemoryExchange):
    """An exchange that passes on what a fault makes of each frame: channels and payloads."""

    def __init__(self, fault=None):
        super().__init__()
        self.fault, self.is_away = fault, False

    def attach(self, deliver):
        attachment = super().attach(deliver)
        publish = attachment.publish

        def faulty(channel, payload):
            if self.is_away:
                return
            for each in (
                [(channel, payload)] if self.fault is None else self.fault(channel, payload)
            ):
                publish(*each)

        attachment.publish = faulty
        return attachment


@asynccontextmanager
async def cluster(fault=None, timeout=60.0):
    """Two nodes, two clients at each, and what they are promised."""
    exchange = Faulty(fault)
    promises = Promises(timeout=timeout)
    servers = [node_server(exchange) for _ in "ab"]
    async with AsyncExitStack() as stack:
        for node, server in zip("ab", servers, strict=True):
            url = (await stack.enter_async_context(listening(server, grace=0))).url()
            for _ in range(2):
                await promises.client(node, url)
        stack.push_async_callback(promises.close)
        yield promises, exchange, servers


@asynchronous
@pytest.mark.parametrize("seed", range(3))
async def test_a_correct_cluster_keeps_every_promise_with_its_exchange_away_or_there(seed):
    async with cluster() as (promises, exchange, _):
        random = Random(seed)
        for is_away in (False, True, False):
            exchange.is_away = is_away
            for client in promises.present if is_away else ():
                client.ask = _no_ask  # it would take its deadline
            for _ in range(40):
                await act(promises, random.choice(promises.present), random)
            await settled(promises)
            for client in promises.present:
                client.__dict__.pop("ask", None)
        assert await _is_whole(promises)
        assert await calm(promises, random, promises.timeout) == []
        await settled(promises)
        assert promises.broken == []
        assert sum(len(each.got) for each in promises.clients) > 100


async def _is_whole(promises):
    left = [await unreached(promises, node, promises.timeout) for node in "ab"]
    return not any(left)


async def _no_ask(*_):
    return True


def _twice(channel, payload):
    return [(channel, payload)] * 2


def _lost(channel, payload):
    return [] if b";said;" in payload else [(channel, payload)]


class _Swapped:
    """Passes on each event after the one that was published after it."""

    def __init__(self):
        self.held = []

    def __call__(self, channel, payload):
        if b";said;" not in payload:
            return [(channel, payload)]
        self.held.append((channel, payload))
        if len(self.held) < 2:
            return []
        held, self.held = self.held[::-1], []
        return held


def _to_everyone(channel, payload):
    """Forgets the room."""
    for room in ROOMS:
        payload = payload.replace(f";{room};".encode(), b";;")
    return [(channel, payload)]


def _for_its_namespace(channel, payload):
    """Forgets for which connection it is."""
    _, rest = payload.split(b";", 1)
    return [(f"neffos.{FIRST}.", b";" + rest)] if channel.endswith(".x.") else [(channel, payload)]


FAULTY = {
    "twice": (_twice, "twice"),
    "swapped": (_Swapped(), "of the same sender"),
    "to everyone": (_to_everyone, "a stranger got"),
    "for its namespace": (_for_its_namespace, "a stranger"),
    "another body": (lambda c, p: [(c, p.replace(b"/", b"+"))], "nobody said to it"),
}


async def _each_says(promises):
    """Say something of each kind at the first node, and wait until it has arrived."""
    teller = promises.present[0]
    for client in promises.present[1::2]:
        await client.change(JOIN, FIRST, ROOMS[0])
    await teller.change(JOIN, FIRST, ROOMS[0])
    for scope in (WHOLE, (FIRST, ROOMS[0])) * 2:
        await teller.say(scope)
        await teller.say(scope, is_to_others=True)
    await teller.say(WHOLE, promises.present[-1].id)
    await teller.ask(promises.present[-1].id)
    await settled(promises)


@asynchronous
@pytest.mark.parametrize("name", [None, *FAULTY])
async def test_an_exchange_that_breaks_a_promise_is_found_out(name):
    fault, promise = FAULTY[name] if name else (None, "")
    async with cluster(fault) as (promises, _, _):
        await _each_says(promises)
        if name is None:
            assert promises.broken == []
        else:
            assert promise in "\n".join(promises.broken)


@asynchronous
async def test_an_exchange_that_loses_something_is_not_whole():
    async with cluster(_lost) as (promises, exchange, _):
        assert await unreached(promises, "a", LITTLE)
        assert await calm(promises, Random(1), LITTLE)
        exchange.fault = None
        assert await _is_whole(promises)
        await settled(promises)
        assert promises.broken == []


def _all_but(name, subscribe):
    return lambda channel: None if name in channel else subscribe(channel)


@asynchronous
async def test_a_node_that_forgets_a_subscription_is_not_whole():
    """It loses one connection's own channel, or that of a namespace which is connected again."""
    async with cluster() as (promises, exchange, _):
        own = exchange._subscribers.pop(f"neffos.{promises.present[-1].id}.")
        assert await unreached(promises, "a", LITTLE)
        exchange._subscribers[f"neffos.{promises.present[-1].id}."] = own
        for attachment in own:
            attachment.subscribe = _all_but(SECOND, attachment.subscribe)
        assert await _is_whole(promises)
        assert await calm(promises, Random(1), LITTLE)


@asynchronous
async def test_a_node_whose_clients_depend_on_the_broker_is_found_out():
    async with cluster() as (promises, exchange, servers):
        exchange.is_away = True
        servers[0]._receivers = lambda *_: ()
        await promises.present[0].say(WHOLE)
        await settled(promises)
        assert "which its own node sent" in "\n".join(promises.broken)


@asynchronous
async def test_a_node_whose_asks_do_not_end_is_found_out():
    async with cluster(timeout=LITTLE) as (promises, exchange, servers):
        ask = servers[0]._cluster.ask
        servers[0]._cluster.ask = lambda message, to, _: ask(message, to, None)
        exchange.is_away = True
        assert not await promises.present[0].ask(promises.present[-1].id)
        assert "did not end" in "\n".join(promises.broken)


@asynchronous
async def test_a_reply_to_another_ask_is_found_out():
    async with cluster() as (promises, _, _):
        asking, asked = promises.present[0], promises.present[-1]
        number = next(asking._numbers)
        asking.request = lambda *_: _reply(f"{asked.id} {asking.id}/{number + 1} *")
        await asking.ask()
        assert promises.broken == []
        await asking.ask()
        assert "was answered with" in "\n".join(promises.broken)


async def _reply(body):
    return Message("", FIRST, "", ASK, False, False, body)


@asynchronous
async def test_a_node_that_ends_a_connection_is_found_out_unless_it_was_killed():
    async with cluster() as (promises, _, servers):
        for is_killed in (True, False):
            if is_killed:
                promises.lost.add("a")
            client = promises.present[0 if is_killed else -1]
            server = servers[not is_killed]
            server.connections[client.id].close()
            assert await client.request("echo", WHOLE) is None
            assert bool(promises.broken) is not is_killed


@asynchronous
async def test_who_leaves_may_get_what_was_sent_before_and_nothing_after():
    async with cluster() as (promises, _, _):
        client, teller = promises.present[0], promises.present[-1]
        await client.change(CONNECT, SECOND)
        await client.change(JOIN, FIRST, ROOMS[1])
        await teller.change(JOIN, FIRST, ROOMS[1])
        said, left = teller.say((FIRST, ROOMS[1])), client.change(LEAVE, FIRST, ROOMS[1])
        await asyncio.gather(said, left, client.change(DISCONNECT, SECOND))
        await settled(promises)
        assert promises.broken == []
        client._possible.discard(WHOLE)
        assert await _is_whole(promises)
        assert "a stranger" in "\n".join(promises.broken)


# -------------------------------------------------------------------- the nemesis itself


def test_a_seed_gives_the_same_steps_and_all_faults_come_about():
    assert steps_of(7) == steps_of(7) != steps_of(8)
    drawn = {
        (of, what) for seed in range(100) for step in steps_of(seed) for of, what, _ in step.faults
    }
    assert drawn == {(of, what) for of, each in FAULTS.items() for what in each}
    assert all(str(step) for step in steps_of(7))


@asynchronous
async def test_a_way_holds_cuts_and_carries_again():
    async def echo(reader, writer):
        while data := await reader.read(100):
            writer.write(data)
        writer.close()

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    link = BrokerLink(Random(1))
    url = f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, link.before(url) as reached:
        port = int(reached.rpartition(":")[2])
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        link.hold()
        writer.write(b"held")
        read = asyncio.create_task(reader.readexactly(4))
        await until(lambda: link.is_late)
        assert not read.done()
        link.release()
        assert await read == b"held"
        link.cut()
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await reader.readexactly(1)
        writer.close()
        other, writer = await asyncio.open_connection("127.0.0.1", port)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await other.readexactly(1)
        writer.close()
        link.mend()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"more")
        assert await reader.readexactly(4) == b"more"
        writer.close()


def test_a_broken_round_is_shrunk_saved_and_read_again(tmp_path, monkeypatch, capsys):
    steps = [nemesis.RoundStep(((of, what, 0),), 0.1) for of in FAULTS for what in FAULTS[of]]
    guilty = [steps[1], steps[4]]

    async def play(kind, seed, tried, stall):
        broken = ["twice"] if all(each in tried for each in guilty) else []
        return nemesis.RoundOutcome(broken, Counter(), ["a: away"])

    monkeypatch.setattr(nemesis, "play", play)
    assert nemesis._tried("nats", 7, steps, 2.0, tmp_path / "found").broken == ["twice"]
    path = tmp_path / "found" / "nats-7.json"
    assert f"saved: {path}" in capsys.readouterr().out
    assert nemesis._saved(path) == ("nats", 7, guilty)
    assert json.loads(path.read_text("utf-8"))["broken"] == ["twice"]


@pytest.mark.whole
@pytest.mark.parametrize("kind", [each for each in EXCHANGES if shutil.which(SERVERS[each][0])])
def test_a_round_on_a_real_broker_is_kept(kind):
    steps = [nemesis.RoundStep((("way", "cut", 0),), 0.1)]
    outcome = asyncio.run(nemesis.play(kind, 1, steps))
    assert outcome.broken == []
    assert json.loads(json.dumps(outcome.figures))["cut way"] == 1
