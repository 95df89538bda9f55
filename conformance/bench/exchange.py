"""Measures two servers that share their clients, on each broker that is there.

The servers are two of Python, two of Go, or one of each; the second is measured with the first's
clients. A peer in Go that was not built is left out. In ``conformance``, with ``codec`` on
the path as well:

    python -m bench.exchange [--quick]

* Broadcasts of a client of one server to as many clients at each: deliveries a second, what was
  lost or came out of order, and the processor time of the other server for each of its deliveries.
* Messages on the broker for a broadcast.
* Asks of a client of one server that a client of the other answers: the time of one.
* Connections at rest at one server: its memory, and its connections to the broker.

Exit status: 0 measured; 1 the Python servers lost, repeated or reordered something, or did not
answer; 4 no Go toolchain, which builds the load generator. A missed aim is printed only.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles
from threading import Event, Thread
from typing import Any, Final

import click

from bench import builds
from bench.servers import ONE_CORE, generate
from neffos_asyncio import ON_ANY_EVENT, dial
from neffos_conformance.wire.broker import broker_at
from neffos_conformance.wire.subprocesses import started
from peers.exchanges import CLUSTERS, ENDPOINTS, EXCHANGES, SERVED, SERVERS, exchange

OURS: Final = "neffos-wire"
"""The cluster whose figures have aims."""

UNASKED: Final = "neffos-go"
"""The server that never answers an ask of another."""

QUICK_CLUSTERS: Final = (OURS, "mixed-next")
"""Those that a quick run measures."""

PATIENCE: Final = 10.0
"""Seconds for one broadcast or ask to arrive. One takes milliseconds."""

COUNTED: Final = 20
"""Broadcasts whose messages on the broker are counted."""

MARK: Final = "counted "
"""What their bodies begin with."""

LAST: Final = "last"
"""The body of the broadcast after them: whoever hears it on the broker has heard them all."""

AGAIN: Final = 0.05
"""Seconds after which a broadcast that did not arrive is repeated, ten times what one takes."""

ESTABLISHED: Final = "01"
"""The state of an open connection in ``/proc/net/tcp``."""

NO_TOOLCHAIN: Final = 4


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured.

    Attributes:
        clients: at each server, for broadcasts.
        broadcasts: of one measurement.
        asks: one after the other.
        idle: connections at rest of a Python server.
        idle_go: of a Go server, which has some descriptors for each: a process may have 20,000.
    """

    clients: int = 1000
    broadcasts: int = 50
    asks: int = 500
    idle: int = 10_000
    idle_go: int = 2_000


QUICK: Final = Sizes(clients=50, broadcasts=10, asks=20, idle=200, idle_go=50)


@dataclass(slots=True)
class MeasuredCluster:
    """Two servers that run with one broker.

    Attributes:
        address: of the broker.
        urls: of the servers.
        processes: their process IDs.
    """

    address: str
    urls: list[str] = field(default_factory=list)
    processes: list[int] = field(default_factory=list)

    @property
    def connections(self) -> int:
        """How many connections the broker has."""
        port = f":{int(self.address.rpartition(':')[2]):04X}"
        lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        return sum(each[2].endswith(port) and each[3] == ESTABLISHED for each in lines)

    @contextmanager
    def most_connections(self) -> Iterator[list[int]]:
        """Look at the broker's connections until the block is left; give the most there were."""
        most, is_done = [self.connections], Event()

        def look() -> None:
            while not is_done.wait(0.2):
                most[0] = max(most[0], self.connections)

        looking = Thread(target=look)
        looking.start()
        try:
            yield most
        finally:
            is_done.set()
            looking.join()


@dataclass(slots=True)
class Measured:
    """What a cluster showed.

    Attributes:
        lines: to print.
        rate: deliveries a second.
        idle_connections: to the broker, of a server whose clients are at rest.
        is_sound: whether nothing was lost or wrong.
    """

    lines: list[str] = field(default_factory=list)
    rate: float = 0.0
    idle_connections: int = 0
    is_sound: bool = True


@contextmanager
def _running(name: str, servers: Sequence[str]) -> Iterator[MeasuredCluster]:
    """Run servers of these names with a broker until the block is left."""
    with exchange(name) as address, ExitStack() as stack:
        cluster = MeasuredCluster(address)
        for each in servers:
            command, env = [*SERVED[each], address], os.environ | ONE_CORE
            process, ready = stack.enter_context(started(command, env=env))
            endpoints = ready["endpoints"]
            cluster.processes.append(process)
            cluster.urls.append(endpoints.get("gorilla") or endpoints["reference"])
        yield cluster


def measured(name: str, servers: Sequence[str], generator: Path, sizes: Sizes) -> Measured:
    """Measure servers of these names with a broker."""
    result = Measured()
    with _running(name, servers) as cluster:
        _fan_out(cluster, generator, sizes, result)
        asyncio.run(_cross(cluster, sizes, result, can_ask=UNASKED not in servers))
    with _running(name, servers) as cluster:  # others: the first have used memory before
        _rest(cluster, generator, sizes.idle if servers[0] == OURS else sizes.idle_go, result)
    return result


def _fan_out(cluster: MeasuredCluster, generator: Path, sizes: Sizes, result: Measured) -> None:
    amount = ["-connections", str(sizes.clients), "-broadcasts", str(sizes.broadcasts)]
    where = ["-from", cluster.urls[0], "-url", cluster.urls[1], "-pid", str(cluster.processes[1])]
    with cluster.most_connections() as most:
        try:
            said = generate(generator, ["fanout", *where, *amount], None)
        except builds.UnavailableError as reason:
            result.lines.append(f"broadcasts failed: {reason}")
            result.is_sound = False
            return
    wrong = {name: said[name] for name in ("lost", "reordered", "repeated")}
    result.is_sound &= not any(wrong.values())
    result.rate = said["rate"]
    used = 2e6 * said.get("server_busy", 0) * said["seconds"] / max(said["deliveries"], 1)
    result.lines.append(
        f"{said['deliveries']:,} deliveries to {said['connections']:,} clients, "
        f"{said['rate']:,.0f} a second, {used:.1f} µs of the other server for each of its own, "
        f"{', '.join(f'{number} {name}' for name, number in wrong.items())}, "
        f"{most[0]} connections to the broker"
    )


async def _cross(
    cluster: MeasuredCluster, sizes: Sizes, result: Measured, *, can_ask: bool
) -> None:
    """Count what is published for broadcasts, and time asks."""
    heard: asyncio.Queue[bytes] = asyncio.Queue()
    answers: asyncio.Queue[Any] = asyncio.Queue()
    news: asyncio.Queue[Any] = asyncio.Queue()

    def answer(_: object, message: Any) -> Any:
        if message.event == "news":
            news.put_nowait(message)
            return message.body if message.wait else None
        return None

    async with AsyncExitStack() as stack:
        await stack.enter_async_context(
            broker_at(cluster.address, lambda _, payload: heard.put_nowait(payload))
        )
        near = await stack.enter_async_context(
            await dial(
                cluster.urls[0],
                {"app": {ON_ANY_EVENT: lambda _, message: answers.put_nowait(message)}},
            )
        )
        far = await stack.enter_async_context(
            await dial(cluster.urls[1], {"app": {ON_ANY_EVENT: answer}})
        )
        space = await near.connect("app")
        await (await far.connect("app")).join("bench")
        arrived = published = 0
        with suppress(TimeoutError):
            await _until_heard(space, news)
            for number in range(COUNTED):
                await space.ask("broadcast-others", f"{MARK}{number}")
            await space.ask("broadcast-others", LAST)
            async with asyncio.timeout(PATIENCE):
                while (body := (await news.get()).body) != LAST:
                    arrived += MARK in body
                while not (payload := await heard.get()).endswith(LAST.encode()):
                    published += MARK.encode() in payload
        result.is_sound &= arrived == COUNTED
        each = published / COUNTED
        result.lines.append(f"{each:g} messages on the broker for a broadcast")
        if not can_ask:
            result.lines.append(f"no asks across both: {UNASKED} answers none (DV-38)")
            return
        times = []
        with suppress(TimeoutError):
            for number in range(sizes.asks):
                began = time.perf_counter()
                space.emit("ask-all", f"bench {number}")
                async with asyncio.timeout(PATIENCE):
                    while (reply := await answers.get()).event != "answer":
                        if reply.event == "answer-error":
                            raise TimeoutError
                result.is_sound &= reply.body == str(number)
                times.append(1e3 * (time.perf_counter() - began))
        result.is_sound &= len(times) == sizes.asks
        if len(times) == sizes.asks:
            text = f"{median(times):.2f} ms, 99th percentile {quantiles(times, n=100)[-1]:.2f} ms"
            result.lines.append(f"{len(times)} asks across both: median {text}")
        else:
            result.lines.append(f"after {len(times)} asks, one across both was not answered")


async def _until_heard(space: Any, news: asyncio.Queue[Any]) -> None:
    """Broadcast until the client of the other server hears one.

    A Go server does not say when its subscriptions hold.

    Raises:
        TimeoutError: nothing arrived.
    """
    async with asyncio.timeout(PATIENCE):
        while True:
            await space.ask("broadcast-others", "")
            with suppress(TimeoutError):
                await asyncio.wait_for(news.get(), AGAIN)
                return


def _rest(cluster: MeasuredCluster, generator: Path, idle: int, result: Measured) -> None:
    where = ["-url", cluster.urls[0], "-pid", str(cluster.processes[0])]
    before = cluster.connections
    with cluster.most_connections() as most:
        try:
            said = generate(generator, ["idle", "-connections", str(idle), *where], None)
        except builds.UnavailableError as reason:
            result.lines.append(f"connections at rest failed: {reason}")
            result.is_sound = False
            return
    # The server may have had one before, unless it connects with its first client.
    result.idle_connections = most[0] - before + (before > 0)
    result.lines.append(
        f"{idle:,} connections at rest: {said['per_connection'] / 1024:.1f} KiB each, "
        f"{most[0]} connections to the broker"
    )


def _is_built(command: Sequence[str]) -> bool:
    return shutil.which(command[0]) is not None


@click.command()
@click.option("--quick", is_flag=True, help="Measure little, to see that it works.")
def main(quick: bool) -> None:
    """Measure each cluster on each broker."""
    try:
        builds.tool("go")
        generator = builds.go("load", Path(__file__).with_name("load"))
    except builds.UnavailableError as reason:
        click.echo(f"bench: {reason}")
        sys.exit(NO_TOOLCHAIN)
    sizes = QUICK if quick else Sizes()
    is_sound = True
    for name in EXCHANGES:
        found: dict[str, Measured] = {}
        for kind, servers in CLUSTERS.items():
            if kind in ENDPOINTS or (quick and kind not in QUICK_CLUSTERS):
                continue
            if not _is_built(SERVERS[name]) or not all(_is_built(SERVED[each]) for each in servers):
                click.echo(f"{kind} over {name}: left out")
                continue
            found[kind] = measured(name, servers, generator, sizes)
            for line in found[kind].lines:
                click.echo(f"{kind} over {name}: {line}")
        if (ours := found.get(OURS)) is not None:
            is_sound &= ours.is_sound
            rates = [found[each].rate for each in found if "mixed" not in each]
            if len(rates) > 1:
                _compare(name, ours, rates)
    sys.exit(not is_sound)


def _compare(name: str, ours: Measured, rates: Sequence[float]) -> None:
    ratio = ours.rate / max(rates)
    click.echo(
        f"{name}: deliveries a second {ratio:.2f} of the fastest, aim 1: {_met(ratio >= 1)}; "
        f"connections to the broker {ours.idle_connections}, aim 1: "
        f"{_met(ours.idle_connections == 1)}"
    )


def _met(is_met: bool) -> str:
    return "met" if is_met else "MISSED"


if __name__ == "__main__":
    main()
