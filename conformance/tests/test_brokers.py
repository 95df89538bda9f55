"""Python servers on a Redis and a NATS server that run: ``make whole`` runs these."""

import asyncio
import json
import shutil
import subprocess
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from random import Random
from urllib.request import urlopen

import pytest
from redis.asyncio import Redis

from hostile.nemesis import BrokerLink
from mutation.clusters import MemoryBroker, node_of
from mutation.kill_matrix import proofs
from mutation.registry import BANK
from neffos_asyncio import ON_ANY_EVENT, DeadlineError, Server, broker, dial, exchange_at, listening
from neffos_codec import Message, decode
from neffos_conformance.cases.definition import cases_of
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.recordings.checking import check
from neffos_conformance.recordings.replay import ReplayBroker, ReplayOutcome, replay_to_servers
from neffos_conformance.runner.exchange_steps import NATS, SharedBroker
from neffos_conformance.runner.instances import crossing
from neffos_conformance.runner.pace import Way
from neffos_conformance.runner.playback import Timeouts
from neffos_conformance.runner.run import run_cases, to_server
from neffos_conformance.wire.broker import broker_at
from neffos_conformance.wire.subprocesses import running as started
from neffos_conformance.wire.transcript import read_transcript
from neffos_protocol.exchange import published, read_published
from peers.exchanges import EXCHANGES, REFERENCE, SERVED, SERVERS, Broker
from peers.ports import lasting_port

from .test_exchange import APP, ODD, Peer, Wire, _shout, until
from .test_handler_queue import patiently

pytestmark = [pytest.mark.whole]

PROOFS = proofs("exchange")
"""The mutant that proves each requirement."""

PATIENCE = 120
"""Seconds for a test and for what it waits for; it takes two on an idle machine."""

asynchronous = patiently(PATIENCE)
"""On the real clock, since a broker works in a process of its own."""


def kinds():
    """The brokers that are installed. `make interop` builds and tests the newest NATS."""
    return [kind for kind in EXCHANGES if shutil.which(SERVERS[kind][0])]


class Monitored(Broker):
    """A broker that tells how many connections it has."""

    def __init__(self, kind, folder):
        self.kind, self.monitor = kind, lasting_port()
        super().__init__(kind, folder, ["-m", str(self.monitor)] if kind == "nats" else ())


@pytest.fixture(params=kinds())
def running(request, tmp_path):
    there = Monitored(request.param, tmp_path)
    yield there
    there.stop()


@asynccontextmanager
async def serving(*urls, count=2, names=(APP,)):
    handlers = {name: {"shout": _shout, "echo": lambda _, m: m.body} for name in names}
    ids = {"id_generator": lambda request: request.parameter("id")}
    each = urls if len(urls) > 1 else urls * count
    servers = [Server(handlers, exchange=exchange_at(url), **ids) for url in each]
    async with AsyncExitStack() as stack:
        listeners = [await stack.enter_async_context(listening(each)) for each in servers]

        async def join(at, id_, namespace=APP, answer=None, room=""):
            peer = Peer(answer)
            every = {name: {ON_ANY_EVENT: peer.take} for name in names}
            client = await dial(listeners[at].url(f"/?id={id_}"), every)
            peer.client = await stack.enter_async_context(client)
            peer.space = await client.connect(namespace)
            if room:
                await peer.space.join(room)
            return peer

        yield servers, join


@asynchronous
async def test_two_servers_share_broadcasts_and_asks(running):
    bodies = ["", "text", "ü;\n", b"", b"bytes", b"\xff\x00;", *map(str, range(100))]
    async with serving(running.url) as ((first, second), join):
        near, far = await join(0, "near"), await join(1, "far", answer="yes")
        inside = await join(1, "inside", room="lobby", answer="yes")
        for body in bodies:
            first.broadcast(APP, "news", body)
        first.broadcast(APP, "news", "one", to="far")
        first.broadcast(APP, "news", "room", room="lobby")
        near.space.emit("shout", "from near")
        await until(lambda: far.bodies == [*bodies, "one", "from near"])
        await until(lambda: inside.bodies == [*bodies, "room", "from near"])
        assert near.bodies == bodies
        assert (await first.ask(APP, "question", timeout=PATIENCE)).body == "yes"
        assert (
            await first.ask(APP, "question", b"\xff", to="far", timeout=PATIENCE)
        ).body == b"yes"
        assert not second._cluster._answers


@pytest.mark.skipif("redis" not in kinds(), reason="it takes two Redis servers")
@asynchronous
async def test_servers_at_two_nodes_of_a_redis_cluster_share_broadcasts_and_asks(tmp_path):
    async with AsyncExitStack() as stack:
        nodes, urls = [], []
        for name, slots in (("one", range(8192)), ("two", range(8192, 16384))):
            (tmp_path / name).mkdir()
            each = Broker("redis", tmp_path / name, ["--cluster-enabled", "yes"])
            stack.callback(each.stop)
            urls.append(each.url)
            nodes.append(await stack.enter_async_context(Redis(port=each.port)))
            await nodes[-1].execute_command("CLUSTER ADDSLOTS", *slots)
        await nodes[0].execute_command("CLUSTER MEET", "127.0.0.1", each.port)
        async with serving(*urls) as ((first, second), join):
            near, far = await join(0, "near"), await join(1, "far", answer="yes")
            for node in nodes:
                while (await node.execute_command("CLUSTER INFO"))["cluster_state"] != "ok":
                    await asyncio.sleep(0.01)
            first.broadcast(APP, "news", "one")
            second.broadcast(APP, "news", "two", to="near")
            await until(lambda: far.bodies == ["one"] and near.bodies == ["one", "two"])
            assert (await first.ask(APP, "question", to="far", timeout=10)).body == "yes"


@asynchronous
async def test_names_with_a_meaning_on_the_broker_are_names(running):
    async with serving(running.url, names=(APP, *ODD)) as ((first, _), join):
        peers = [await join(1, f"i{number}", name) for number, name in enumerate(ODD)]
        for name in ODD:
            first.broadcast(name, "news", name)
        await until(lambda: all(peer.bodies for peer in peers))
        assert [peer.bodies for peer in peers] == [[name] for name in ODD]


@asynchronous
async def test_a_server_has_one_connection_for_all_its_clients(running):
    async with serving(running.url, count=1) as ((server,), join):
        for number in range(20):
            await join(0, f"c{number}")
        assert await asyncio.to_thread(_connections, running) == 1
        assert len(server._cluster._attachment._placed) == 21


def _connections(running):
    """Count the connections of the broker but this one."""
    if running.kind == "nats":
        with urlopen(f"http://127.0.0.1:{running.monitor}/connz") as answer:
            return json.load(answer)["num_connections"]
    listed = subprocess.run(
        [str(shutil.which("redis-cli")), "-p", str(running.port), "client", "list"],
        capture_output=True,
        text=True,
    )
    return len(listed.stdout.strip().splitlines()) - 1


@asynchronous
async def test_after_a_restart_subscriptions_are_back(running):
    async with serving(running.url) as ((first, second), join):
        near, far = await join(0, "near"), await join(1, "far", answer="yes")
        await asyncio.to_thread(running.stop)
        attachments = [each._cluster._attachment for each in (first, second)]
        await until(lambda: all(each._is_away for each in attachments))
        assert first.broadcast(APP, "news", "near only") == 1
        late = await join(1, "late")
        with pytest.raises(DeadlineError):
            await first.ask(APP, "question", to="far", timeout=0.1)
        await asyncio.to_thread(running.start)
        await until(lambda: not any(each._is_away for each in attachments))
        first.broadcast(APP, "news", "all")
        await until(lambda: far.bodies == late.bodies == ["all"])
        assert near.bodies == ["near only", "all"]
        assert (await first.ask(APP, "question", to="far", timeout=PATIENCE)).body == "yes"


@asynchronous
async def test_a_broker_that_answers_nothing_counts_as_away(running, monkeypatch):
    monkeypatch.setattr("neffos_asyncio.redis_exchange.STALL_TIME", 0.2)
    monkeypatch.setattr("neffos_asyncio.nats_exchange.STALL_TIME", 1)
    monkeypatch.setattr(broker, "STALL_TIME", 0.5)
    async with serving(running.url) as ((first, second), join):
        near, far = await join(0, "near"), await join(1, "far")
        running.pause()
        attachments = [each._cluster._attachment for each in (first, second)]
        async with asyncio.timeout(PATIENCE):
            while not all(each._is_away for each in attachments):
                first.broadcast(APP, "news", "lost")
                await near.space.ask("echo", "x")
                await asyncio.sleep(0.01)
        running.resume()
        await until(lambda: not any(each._is_away for each in attachments))
        first.broadcast(APP, "news", "all")
        await until(lambda: far.bodies[-1:] == ["all"])
        assert near.bodies.count("all") == 1


@asynchronous
async def test_what_a_network_held_of_an_old_connection_is_not_delivered(running, monkeypatch):
    """EV-9: it would arrive after what the server published on its next connection."""
    monkeypatch.setattr("neffos_asyncio.redis_exchange.STALL_TIME", 0.2)
    monkeypatch.setattr("neffos_asyncio.nats_exchange.STALL_TIME", 1)
    monkeypatch.setattr("hostile.nemesis.RETRY", 0)
    monkeypatch.setattr(broker, "STALL_TIME", 0.5)
    link = BrokerLink(Random(1))
    async with (
        link.before(running.url) as held,
        serving(held, running.url) as ((first, _), join),
    ):
        far = await join(1, "far")
        first.broadcast(APP, "news", "before")
        await until(lambda: far.bodies == ["before"])
        link.hold()
        first.broadcast(APP, "news", "under way")
        attachment = first._cluster._attachment
        async with asyncio.timeout(PATIENCE):
            while not attachment._is_away:
                await asyncio.sleep(0.01)
            link.release()
            while attachment._is_away or link.is_late:
                await asyncio.sleep(0.01)
        first.broadcast(APP, "news", "after")
        await until(lambda: far.bodies[-1:] == ["after"])
        assert far.bodies == ["before", "after"]


@asynchronous
async def test_what_is_on_the_broker_is_what_the_specification_says(running):
    """SX-3, SX-5, SX-7: heard by a stranger on the broker."""
    async with serving(running.url) as ((first, _), join):
        heard = Wire(exchange_at(running.url))
        end = "." if running.kind == "redis" else ""
        for name in (APP, "far"):
            heard.attachment.subscribe(f"neffos.{name}{end}")
        await heard.attachment.confirmed(f"neffos.far{end}")
        far = await join(1, "far", answer="yes")
        first.broadcast(APP, "news", "x", room="lobby")
        await first.ask(APP, "question", "y", to="far", timeout=PATIENCE)
        await until(lambda: len(heard.heard) == 2)
        (channel, event), (direct, ask) = heard.heard
        assert (channel, direct) == (f"neffos.app{end}", f"neffos.far{end}")
        assert decode(event.decode()).wait.startswith("neffos(0x")
        assert decode(ask.decode()).wait[1] == "!"
        origin = read_published(event).origin
        frame = Message(namespace=APP, room="lobby", event="news", body="x")
        assert event == published(frame, origin)
        heard.say(f"neffos.app{end}", ";app;;news;0;0;from go")
        await until(lambda: far.bodies == ["from go"])
        await heard.attachment.close()


@asynchronous
async def test_a_message_that_is_too_large_is_lost_and_nothing_else(running, caplog):
    async with serving(running.url) as ((first, _), join):
        far = await join(1, "far")
        large = "x" * (2 << 20)
        for body in (large, "a", large, "b"):
            first.broadcast(APP, "news", body)
        lost = running.kind == "nats"
        await until(lambda: far.bodies == (["a", "b"] if lost else [large, "a", large, "b"]))
        assert sum("was not published" in each.getMessage() for each in caplog.records) == lost


@asynchronous
async def test_a_cluster_is_recorded_checked_and_replayed(running, tmp_path):
    """The whole command, on a real broker."""
    path = tmp_path / "cluster.jsonl"
    name = "neffos-wire/gorilla"
    served = [*SERVED["neffos-wire"], running.url]
    relays = [REFERENCE, "record", "--json", "--broker", running.url, "--prefix", name]
    relays += ["--check", "--port", "0", "-o", str(path)]
    async with AsyncExitStack() as stack:
        targets = [stack.enter_context(started(served))["endpoints"]["reference"] for _ in "12"]
        with started([*relays, *targets]) as ready:
            first, second = ready["endpoints"]["relay"], ready["endpoints"]["relay-2"]
            near, far = Peer(), Peer()
            for url, peer in ((first, near), (second, far)):
                client = await dial(url, {APP: {ON_ANY_EVENT: peer.take}})
                peer.client = await stack.enter_async_context(client)
                peer.space = await client.connect(APP)
            for body in ("text", b"\xff"):
                await near.space.ask("broadcast-others", body)
            await until(lambda: far.bodies == ["text", b"\xff"])
            for peer in (near, far):
                await peer.client.close()
        recording = read_transcript(path)
        assert [each["peer"] for each in recording.header["other_servers"]] == ["unknown"]
        assert recording.header["broker"] == {
            "kind": running.kind,
            "url": running.url,
            "prefix": name,
        }
        report = check(path)
        assert (report.verdict, report.published, report.counts) == (Verdict.PASS, 2, {})
        shared = ReplayBroker(running.url, name)
        result = await replay_to_servers(recording, targets, broker=shared)
        assert (result.outcome, result.explanation) == (ReplayOutcome.SAME, "")


# -------------------------------------------------------------------- faulty servers


class Bridge(MemoryBroker):
    """A faulty server's connection to a broker, on which it hears everything."""

    def __init__(self, channels):
        super().__init__(channels)
        self.published = asyncio.Queue()

    def publish(self, _, channel, payload):
        self.published.put_nowait((channel, payload))

    def hear(self, channel, payload):
        for each in self.attached:
            each.take(channel, payload)


@asynccontextmanager
async def bridged(hooks, url, channels):
    bridge = Bridge(channels)

    async def carry():
        while True:
            await peer.publish(*await bridge.published.get())

    async with broker_at(url, bridge.hear) as peer, node_of(hooks, bridge) as target:
        carrying = asyncio.create_task(carry())
        try:
            yield target
        finally:
            carrying.cancel()


async def failing(hooks, url, cases):
    """Run cases on two servers with a fault that share a broker, and give those that fail."""
    heard = []
    async with AsyncExitStack() as stack:
        peer = await stack.enter_async_context(
            broker_at(url, lambda *each: [hear(*each) for hear in heard])
        )
        shared = SharedBroker(peer.channels("neffos"), peer.publish)
        heard.append(shared.hear)
        node = partial(bridged, hooks, url, shared.channels)
        first, second = [await stack.enter_async_context(node()) for _ in "12"]
        run = to_server(first, way=crossing(Way(Timeouts())), others=[second], broker=shared)
        ours = [each for each in cases if shared.is_nats or NATS not in each.tags]
        return [each async for each in run_cases(run, ours) if each.verdict is not Verdict.PASS]


@pytest.mark.parametrize("id_", ["", *PROOFS])
@asynchronous
async def test_a_faulty_server_on_a_broker_fails_the_cases_of_its_requirement(running, id_):
    mutant = PROOFS[id_] if id_ else "exchange-as-it-should"
    cases = [each for each in cases_of("exchange") if not id_ or id_ in each.requirements]
    if id_ == "SX-6" and running.kind == "redis":
        pytest.skip("it is for NATS")
    assert bool(await failing(BANK[mutant].peer, running.url, cases)) == bool(id_)
