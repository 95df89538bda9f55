"""Has everything go wrong between two nodes and their broker: ``make nemesis``.

A round is a cluster of its own: a broker, two nodes in processes of their own, each behind a proxy
of its own, and clients at both. The seed of a round gives its steps: a broker that restarts or is
paused, a way that is cut, holds everything back or is slow, a node that is killed or paused, some
of them at once. Clients work meanwhile. After each step all must be whole again, and a calm while
follows in which nothing may be lost. ``promises.py`` says what is promised.

    make nemesis NEMESIS='--seed 7 --minutes 1'

Round by round the seed grows by one; ``--seed N --rounds 1`` repeats a round. A round that broke a
promise is printed and saved, without the steps that it does not take. In the folder
``conformance``:

    python -m hostile.nemesis [--broker NAME] [--seed N] [--minutes N | --rounds N] [--folder TO]
    python -m hostile.nemesis --again FILE

Exit status: 0 kept; 1 broken; 2 usage error; 4 no broker is installed.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from typing import Final

import click

from hostile.nodes import LEVEL, LOG
from hostile.promises import Promises
from hostile.workload import POLL, calm, settled, unreached, work
from neffos_conformance.wire.networks import READ_SIZE, proxy_before
from neffos_conformance.wire.subprocesses import Child
from neffos_conformance.wire.terminal import echo
from peers.exchanges import EXCHANGES, SERVERS, Broker
from peers.implementations import ROOT

FOLDER: Final = str(Path(__file__).parents[1])
RUN_NODE: Final = (
    f"import sys; sys.path.insert(0, {FOLDER!r}); from hostile.nodes import main; main()"
)
"""Runs a node, in whatever folder."""

NODES: Final = ("a", "b")
CLIENTS: Final = 3
"""Clients at each node: a sender, one for whom a room is, and one for whom it is not."""

STALL: Final = 2.0
"""Seconds after which a node counts its broker as away, instead of 10: five times the outages."""

LATENCY: Final = 0.3
"""Seconds that a slow way takes: far more than any real one, and less than ``STALL``."""

RETRY: Final = 3.0
"""Bound of the seconds after which a connection goes on that was held. TCP tries again after twice
the time each time, so that an older connection goes on later; it does so for minutes."""

MAX_HELD: Final = 64 << 20
"""Bytes that a way holds: all that a node can send before it counts its broker as away."""

PROBE: Final = 1.0
"""Seconds for what is said to all to arrive, before it is said again; each time twice as many."""

STEPS: Final = 3
"""Most steps of a round. What one leaves behind meets the next."""

SHORT, LONG = (0.05, 1.0), (1.5 * STALL, 2.5 * STALL)
"""Bounds of the seconds of a step: too short for a node to note the outage, and long enough."""

CALM_TRIES: Final = 3
"""A node on a busy machine may find its broker away while all is calm: then it is said again."""

FOUND: Final = ROOT / "build" / "nemesis"
"""Where rounds are saved that broke a promise."""

NO_TOOLCHAIN: Final = 4

UNCONFIRMED: Final = "has not confirmed a subscription"
"""What it says at the level *debug* of a broker that is too slow, or of a machine that is."""

OUTAGE: Final = ("is away", "is back", "is slower than", "keeps up again")
"""What a node's log may say while something is wrong with its broker: each once."""


class BrokerLink:
    """A node's way to the broker, which carries bytes.

    A connection that was held goes on after a while of its own, as TCP does: what its sender has
    not given up by a reset then arrives, maybe after what was sent on a newer connection.
    """

    def __init__(self, random: Random) -> None:
        self._random = random
        self._held = 0
        self.latency = 0.0
        self._is_open = asyncio.Event()
        self._is_open.set()
        self._is_cut = False
        self._writers: set[asyncio.StreamWriter] = set()

    def before(self, url: str) -> AbstractAsyncContextManager[str]:
        """Put this way before a broker; give the URL at which the node reaches it."""
        return proxy_before(url, lambda: self.carry, limit=MAX_HELD)

    def hold(self) -> None:
        """Carry nothing for now, and lose nothing."""
        self._is_open.clear()

    def release(self) -> None:
        """Carry again. What the sender has given up since is lost."""
        self._is_open.set()

    def cut(self) -> None:
        """End all connections, and refuse others."""
        self._is_cut = True
        for writer in self._writers:
            writer.transport.abort()

    def mend(self) -> None:
        """Accept connections again."""
        self._is_cut = False

    @property
    def is_late(self) -> bool:
        """Whether it still has something of before."""
        return self._held > 0

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one direction of a connection."""
        if self._is_cut:
            raise ConnectionRefusedError
        self._writers.add(writer)
        try:
            while data := await reader.read(READ_SIZE):
                await asyncio.sleep(self.latency)
                await self._pass()
                if (error := reader.exception()) is not None:
                    raise error
                writer.write(data)
                await writer.drain()
            await self._pass()
            with suppress(OSError):
                writer.write_eof()
        finally:
            self._writers.discard(writer)

    async def _pass(self) -> None:
        if self._is_open.is_set():
            return
        began = time.monotonic()
        self._held += 1
        try:
            await self._is_open.wait()
            most = min(RETRY, time.monotonic() - began)
            await asyncio.sleep(self._random.uniform(0, most))
        finally:
            self._held -= 1


class NodeProcess:
    """A node's process, which can be started again.

    Attributes:
        name: its name.
        outages: how often it logged that its broker is away.
        unconfirmed: how often it stopped waiting for a subscription.
        log: what it logged of its broker.
    """

    def __init__(self, name: str, exchange: str, promises: Promises, seconds: float) -> None:
        self.name = name
        self.outages = self.unconfirmed = 0
        self.log: list[str] = []
        self._command = [sys.executable, "-c", RUN_NODE, exchange, str(seconds)]
        self._promises = promises
        self._last = ""
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Start it, and connect its clients."""
        self._child = await Child.start(self._command)
        ready = json.loads(await self._child.line())
        self._pid = ready["pid"]
        self._last = ""
        self._tasks.append(asyncio.create_task(self._listen(self._child)))
        self._promises.lost.discard(self.name)
        for _ in range(CLIENTS):
            await self._promises.client(self.name, ready["url"])

    async def kill(self) -> None:
        """Kill it."""
        self._promises.lost.add(self.name)
        self.signal(signal.SIGKILL)
        await self._child.end(0)
        for client in self._promises.clients:
            if client.node == self.name:
                await client.close()

    def signal(self, number: signal.Signals) -> None:
        """Send its process a signal."""
        with suppress(ProcessLookupError):
            os.kill(self._pid, number)

    async def close(self) -> None:
        """End it, in whatever state it is."""
        self._promises.lost.add(self.name)
        self.signal(signal.SIGCONT)
        await self._child.end()
        await asyncio.gather(*self._tasks)

    async def _listen(self, child: Child) -> None:
        while line := await child.line():
            try:
                read = json.loads(line)
                text, level = read[LOG], read[LEVEL]
            except (ValueError, KeyError):
                text, level = line.decode(errors="replace"), logging.ERROR
            if level < logging.WARNING:
                self.unconfirmed += UNCONFIRMED in text
                continue
            said = next((each for each in OUTAGE if each in text), "")
            if not said or said == self._last:
                self._promises.break_(f"node {self.name} logged: {text[-2000:]}")
            self._last = said
            self.log.append(text)
            self.outages += said == OUTAGE[0]


class AttackedCluster:
    """A broker, and the nodes that use it."""

    def __init__(self, broker: Broker, links: list[BrokerLink], nodes: list[NodeProcess]) -> None:
        self.broker = broker
        self.links, self.nodes = links, nodes


Action = Callable[[AttackedCluster, int], Awaitable[object] | None]
"""Does something to a cluster, or to the node of a number in it."""


def _slow(cluster: AttackedCluster, number: int, latency: float = LATENCY) -> None:
    cluster.links[number].latency = latency


FAULTS: Final[dict[str, dict[str, tuple[Action, Action]]]] = {
    "broker": {
        "restart": (
            lambda all_, _: asyncio.to_thread(all_.broker.stop),
            lambda all_, _: asyncio.to_thread(all_.broker.start),
        ),
        "pause": (lambda all_, _: all_.broker.pause(), lambda all_, _: all_.broker.resume()),
    },
    "way": {
        "cut": (lambda all_, n: all_.links[n].cut(), lambda all_, n: all_.links[n].mend()),
        "held": (lambda all_, n: all_.links[n].hold(), lambda all_, n: all_.links[n].release()),
        "slow": (_slow, lambda all_, n: _slow(all_, n, 0)),
    },
    "node": {
        "kill": (lambda all_, n: all_.nodes[n].kill(), lambda all_, n: all_.nodes[n].start()),
        "pause": (
            lambda all_, n: all_.nodes[n].signal(signal.SIGSTOP),
            lambda all_, n: all_.nodes[n].signal(signal.SIGCONT),
        ),
    },
}
"""What can go wrong with what, and how it begins and ends."""


@dataclass(frozen=True, slots=True)
class RoundStep:
    """What goes wrong at once.

    Attributes:
        faults: each as its two names in ``FAULTS``, with the number of a node.
        seconds: for how long.
    """

    faults: tuple[tuple[str, str, int], ...]
    seconds: float

    def __str__(self) -> str:
        each = (
            f"{what} {of} {NODES[n]}" if of != "broker" else f"{what} {of}"
            for of, what, n in self.faults
        )
        return f"{' and '.join(each)} for {self.seconds:.2f} s"


def steps_of(seed: int) -> list[RoundStep]:
    """Return the steps of a round."""
    random = Random(seed)  # noqa: S311  # no secret
    return [_step(random) for _ in range(random.randint(1, STEPS))]


def _step(random: Random) -> RoundStep:
    kinds = random.sample(sorted(FAULTS), random.choice((1, 1, 2)))
    faults = [(of, random.choice(sorted(FAULTS[of])), random.randrange(len(NODES))) for of in kinds]
    if kinds == ["way"] and random.random() < 0.5:
        faults.append((faults[0][0], faults[0][1], 1 - faults[0][2]))
    return RoundStep(tuple(faults), random.uniform(*random.choice((SHORT, LONG))))


@dataclass(frozen=True, slots=True)
class RoundOutcome:
    """What a round showed.

    Attributes:
        broken: the promises that were broken.
        figures: what was done, counted.
        log: what the nodes logged.
    """

    broken: list[str]
    figures: Counter[str]
    log: list[str]


async def play(
    kind: str, seed: int, steps: Sequence[RoundStep], seconds: float = STALL
) -> RoundOutcome:
    """Play a round.

    Args:
        kind: the broker, one of ``SERVERS``.
        seed: of what the clients do.
        steps: what goes wrong.
        seconds: of a broker that counts as away.
    """
    promises, figures = Promises(), Counter[str]()
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory())
        broker = await asyncio.to_thread(Broker, kind, folder)
        stack.callback(broker.stop)
        links = [BrokerLink(Random(f"{seed}/{name}")) for name in NODES]  # noqa: S311  # no secret
        nodes: list[NodeProcess] = []
        for name, link in zip(NODES, links, strict=True):
            url = await stack.enter_async_context(link.before(broker.url))
            node = NodeProcess(name, url, promises, seconds)
            await node.start()
            stack.push_async_callback(node.close)
            nodes.append(node)
        stack.push_async_callback(promises.close)
        cluster = AttackedCluster(broker, links, nodes)
        await _check(cluster, promises, Random(seed), figures)  # noqa: S311
        for number, step in enumerate(steps):
            if not promises.broken:
                await _go_through(cluster, promises, step, f"{seed}/{number}", figures)
        figures["said"] = len(promises.said)
        figures["got"] = sum(len(each.got) for each in promises.clients)
        figures["outages"] = sum(node.outages for node in nodes)
    return RoundOutcome(
        promises.broken, figures, [f"{n.name}: {text}" for n in nodes for text in n.log]
    )


async def _go_through(
    cluster: AttackedCluster, promises: Promises, step: RoundStep, seed: str, figures: Counter[str]
) -> None:
    done = asyncio.Event()
    workers = [
        asyncio.create_task(work(promises, client, Random(f"{seed}/{number}"), done))  # noqa: S311
        for number, client in enumerate(promises.present)
    ]
    for of, what, number in step.faults:
        await _do(FAULTS[of][what][0], cluster, number)
    await asyncio.sleep(step.seconds)
    for of, what, number in step.faults:
        await _do(FAULTS[of][what][1], cluster, number)
        figures[f"{what} {of}"] += 1
    done.set()
    await asyncio.gather(*workers)
    await _check(cluster, promises, Random(f"{seed}/calm"), figures)  # noqa: S311


async def _do(action: Action, cluster: AttackedCluster, number: int) -> None:
    done = action(cluster, number)
    if done is not None:
        await done


async def _check(
    cluster: AttackedCluster, promises: Promises, random: Random, figures: Counter[str]
) -> None:
    await settled(promises)
    for _ in range(CALM_TRIES):
        for node in NODES:
            taken = await _until_whole(promises, node)
            if taken is None:
                return
            figures["whole after ms"] = max(figures["whole after ms"], round(1000 * taken))
        seen = [(node.outages, node.unconfirmed) for node in cluster.nodes]
        left = await calm(promises, random, promises.timeout)
        if seen == [(node.outages, node.unconfirmed) for node in cluster.nodes]:
            for each in left:
                promises.break_(f"while nothing was wrong, {each}")
            break
        figures["outages while calm"] += 1
    while any(link.is_late for link in cluster.links):
        for node in NODES:
            await unreached(promises, node, PROBE)
        await asyncio.sleep(POLL)
    await settled(promises)


async def _until_whole(promises: Promises, node: str) -> float | None:
    """Return the seconds until all get what is said at a node; ``None`` if they never do."""
    began, seconds = time.monotonic(), PROBE
    while left := await unreached(promises, node, seconds):
        seconds *= 2  # the machine may be busy
        if time.monotonic() - began > promises.timeout:
            some = ", ".join(left[:3])
            promises.break_(f"what is said at {node} does not reach all again: {some}")
            return None
    return time.monotonic() - began


def _shrunk(
    breaks: Callable[[Sequence[RoundStep]], bool], steps: Sequence[RoundStep]
) -> list[RoundStep]:
    """Return steps of which none can be left out, so far as one try for each shows.

    Args:
        breaks: plays steps, and says whether they break a promise.
        steps: those that did.
    """
    kept = list(steps)
    for step in steps:
        fewer = [each for each in kept if each is not step]
        if fewer and breaks(fewer):
            kept = fewer
    return kept


def _save(
    folder: Path, kind: str, seed: int, steps: Sequence[RoundStep], outcome: RoundOutcome
) -> Path:
    """Save a round that broke a promise, and give the file, which ``--again`` plays."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{kind}-{seed}.json"
    round_ = {"broker": kind, "seed": seed, "steps": [asdict(each) for each in steps]}
    found = {"broken": outcome.broken, "log": outcome.log}
    path.write_text(json.dumps(round_ | found, indent=1) + "\n", "utf-8")
    return path


def _saved(path: Path) -> tuple[str, int, list[RoundStep]]:
    """Read a saved round: its broker, its seed and its steps."""
    values = json.loads(path.read_text("utf-8"))
    steps = [
        RoundStep(tuple(map(tuple, each["faults"])), each["seconds"]) for each in values["steps"]
    ]
    return values["broker"], values["seed"], steps


def _tried(
    kind: str, seed: int, steps: Sequence[RoundStep], stall: float, folder: Path
) -> RoundOutcome:
    """Play a round, and say what came; shrink and save it if it broke a promise."""
    outcome = asyncio.run(play(kind, seed, steps, stall))
    shown = "; ".join(map(str, steps))
    echo(f"{kind}, seed {seed}: {'BROKEN' if outcome.broken else 'kept'}: {shown}")
    if outcome.broken:
        for text, number in Counter(outcome.broken).most_common(10):
            echo(f"  {text} ({number} times)")
        for text in outcome.log:
            echo(f"  node {text}")
        fewer = _shrunk(
            lambda tried: bool(asyncio.run(play(kind, seed, tried, stall)).broken), steps
        )
        echo(f"  steps that one try each could not leave out: {'; '.join(map(str, fewer))}")
        echo(f"  saved: {_save(folder, kind, seed, fewer, outcome)}. Try: --again FILE")
    return outcome


@click.command()
@click.option("--broker", "kinds", multiple=True, type=click.Choice(EXCHANGES))
@click.option("--seed", default=1, help="Of the first round; the next has one more. [1]")
@click.option("--minutes", type=float, help="Begin no round after so many. [1]")
@click.option("--rounds", type=int, help="Play so many with each broker instead.")
@click.option("--stall", default=STALL, help="Seconds of a broker that counts as away. [2]")
@click.option("--folder", default=FOUND, type=Path, help="Where broken rounds are saved.")
@click.option("--again", type=Path, help="Play a saved round instead.")
def main(
    kinds: tuple[str, ...],
    seed: int,
    minutes: float | None,
    rounds: int | None,
    stall: float,
    folder: Path,
    again: Path | None,
) -> None:
    """Have everything go wrong between nodes and their broker."""
    there = [each for each in kinds or EXCHANGES if shutil.which(SERVERS[each][0])]
    if not there:
        echo(f"none of {', '.join(kinds or EXCHANGES)} is installed")
        sys.exit(NO_TOOLCHAIN)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # brokers and nodes end, too
    if again is not None:
        sys.exit(bool(_tried(*_saved(again), stall, folder).broken))
    end = time.monotonic() + 60 * (minutes or 1)
    total, played, failed = Counter[str](), 0, 0
    while played < rounds if rounds else time.monotonic() < end:
        for kind in there:
            outcome = _tried(kind, seed + played, steps_of(seed + played), stall, folder)
            slowest = max(total["whole after ms"], outcome.figures["whole after ms"])
            total += outcome.figures
            total["whole after ms"] = slowest
            failed += bool(outcome.broken)
        played += 1
    figures = ", ".join(f"{name}: {number}" for name, number in sorted(total.items()))
    echo(f"{played} rounds with {' and '.join(there)}, {failed} broken; {figures}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
