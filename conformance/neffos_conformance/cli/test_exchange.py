"""The command ``test exchange``: runs the cases on servers that share a broker."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import click

from neffos_conformance.cases.definition import Case
from neffos_conformance.cases.profile import STANDARD
from neffos_conformance.cases.script import read_script
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.cli import testing
from neffos_conformance.cli.options import option
from neffos_conformance.cli.reaching import reaching, target_at
from neffos_conformance.cli.refusals import refusing
from neffos_conformance.cli.run_options import (
    RunOptions,
    all_cases,
    prepare,
    selected,
    testing_options,
)
from neffos_conformance.cli.servers import (
    ServerUnderTest,
    features_option,
    listed_features,
    name_option,
    opened_servers,
)
from neffos_conformance.runner.discovery import Detected
from neffos_conformance.runner.exchange_steps import NATS, Heard, SharedBroker
from neffos_conformance.runner.instances import crossing, often, titles
from neffos_conformance.runner.pace import Way
from neffos_conformance.runner.result import Result, without
from neffos_conformance.runner.run import to_server
from neffos_conformance.wire.broker import BrokerError, broker_at, masked_broker
from neffos_conformance.wire.reach import Target
from neffos_conformance.wire.reach_options import Reached

_PUBLISHING = """
1 app
1 > ;app;;broadcast-others;0;0;<<case>>
1 <? ;app;;broadcast-others;0;0;done
"""
"""The script that shows under which prefix a server publishes."""

_ASKING = """
1 app
1 > $1;app;;ask-all;0;0;<<case>> <<case>>
1 < $1;<<namespace:any>>;<<room:any>>;<<event:any>>;0;0;done
"""
"""The script that shows whether a server asks the clients of a room, here of an empty one."""

_ASK = ";ask-all;"
"""The event of that, in a frame."""

_END = ".app"
"""What follows the prefix in its channel, and on Redis one more dot."""


@click.command("exchange")
@click.argument("urls", nargs=-1, metavar="[URL]…")
@option("--broker", "Redis or NATS that the servers share.", "URL", required=True)
@option("--prefix", "What the servers' channels begin with.", "TEXT", show_default="detected")
@testing_options("exchange")
@features_option("servers")
@name_option("servers")
@reaching
def exchange_command(
    urls: tuple[str, ...],
    broker: str,
    prefix: str | None,
    options: RunOptions,
    listed: str | None,
    name: str,
    reached: Reached,
) -> None:
    """Test the servers at URLs that share a broker.

    The suite is a client of each server, and a peer on the broker: it hears what the servers
    publish there, and publishes, too. The servers have the conformance application. Connection n of
    a case is to the n-th URL.
    """
    if len(urls) < 2:
        raise click.UsageError(
            f"an exchange is between servers: expected 2 URLs or more, actual {len(urls)}"
        )
    everything = all_cases(options, "exchange")
    cases = selected(options, everything)
    features = listed_features(listed)
    left_out = [] if features is None else Detected(features).left_out(cases)
    run = prepare(options, everything, cases, left_out)
    targets = tuple(target_at(url, reached) for url in urls)
    server = ServerUnderTest(targets, STANDARD, features, options, None, None)
    has, results = asyncio.run(_test(server, broker, prefix, cases))
    sut = testing.SystemUnderTest(
        "exchange",
        f"{titles([str(each) for each in targets])}, broker: {masked_broker(broker)}",
        {"peer": name} if name else {},
        reached.command(_command(broker, prefix, targets)),
        has,
    )
    testing.conclude(sut, results, run)


def _command(broker: str, prefix: str | None, targets: Sequence[Target]) -> str:
    """Give the command line of a run, without secrets."""
    named = () if prefix is None else ("--prefix", prefix)
    command = ("neffos-wire", "test", "exchange", "--broker", masked_broker(broker))
    return shlex.join([*command, *named, *map(str, targets)])


async def _test(
    server: ServerUnderTest, url: str, prefix: str | None, cases: list[Case]
) -> tuple[Detected, list[Result]]:
    results: list[Result] = []
    options = server.options
    has = Detected(server.features or frozenset())
    async with (
        testing.run_limit(options) as limit,
        opened_servers(server) as opened,
        _shared(url, prefix, opened[0], opened[2]) as broker,
    ):
        targets, has, way = opened
        testing.allow_for(way, limit, cases, options)
        results += has.left_out(cases)
        can_ask = await _can_ask(targets, way)
        results += _left_out(without(cases, results), broker, can_ask=can_ask)
        first, *others = targets
        run = to_server(first, way=crossing(way), others=others, broker=broker)
        await testing.collect(often(run), without(cases, results), options, results)
    return has, testing.completed(results, cases, options)


def _left_out(cases: list[Case], broker: SharedBroker, *, can_ask: bool) -> list[Result]:
    """Give the results of cases that are for another broker, or need what a server lacks."""
    results = []
    for case in cases:
        if NATS in case.tags and not broker.is_nats:
            results.append(Result(case, Verdict.SKIPPED, "it is for NATS"))
        elif not can_ask and any(_ASK in step.rest for step in case.steps):
            results.append(Result(case, Verdict.SKIPPED, "it needs ask-all"))
    return results


async def _can_ask(targets: Sequence[Target], way: Way) -> bool:
    """Whether all servers have the event that asks the clients of a room."""
    case = Case("SX-3", "", ("SX-3",), "server", read_script(_ASKING, "server"))
    results = [await to_server(target, way=way)(case) for target in targets]
    return all(result.verdict is Verdict.PASS for result in results)


@asynccontextmanager
async def _shared(
    url: str, prefix: str | None, targets: Sequence[Target], way: Way
) -> AsyncIterator[SharedBroker]:
    """Give the broker of some servers.

    Raises:
        NothingRanError: it cannot be reached, or the servers do not publish there.
    """
    brokers: list[SharedBroker] = []

    def hear(channel: str, payload: bytes) -> None:
        for each in brokers:
            each.hear(channel, payload)

    with refusing(BrokerError, ValueError, end=testing.NothingRanError):
        async with broker_at(url, hear) as peer:
            broker = SharedBroker(peer.channels(prefix or "neffos"), peer.publish)
            brokers.append(broker)
            if prefix is None:
                broker.channels = peer.channels(await _prefix(broker, url, targets, way))
            yield broker


async def _prefix(broker: SharedBroker, url: str, targets: Sequence[Target], way: Way) -> str:
    """Give the prefix of the channels on which all servers publish.

    Raises:
        NothingRanError: one publishes nothing, or they publish under different prefixes.
    """
    case = Case("SX-5", "", ("SX-5",), "server", read_script(_PUBLISHING, "server"))
    prefixes: dict[str, Target] = {}
    for target in targets:
        with broker.listening("") as queue:
            result = await to_server(target, way=way)(case)
            channel = await _heard(queue, result.mark, crossing(way).timeouts.after_barrier)
        shown = masked_broker(url)
        if channel is None:
            text = f"{target} publishes nothing on {shown}. Try: --prefix TEXT, another --broker"
            raise testing.NothingRanError(text)
        prefix, mark, end = channel.rpartition(_END)
        if not mark or end not in ("", "."):
            text = f"{target} publishes for app on {channel!r}: expected a channel like prefix.app."
            raise testing.NothingRanError(f"{text} Try: --prefix TEXT")
        prefixes.setdefault(prefix, target)
    if len(prefixes) > 1:
        found = ", ".join(f"{prefix!r} of {target}" for prefix, target in prefixes.items())
        raise testing.NothingRanError(f"the servers publish under different prefixes: {found}")
    return next(iter(prefixes))


async def _heard(queue: asyncio.Queue[Heard], mark: str, seconds: float) -> str | None:
    """Wait for what has a mark, and give its channel; ``None`` if it does not come in time."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                channel, payload = await queue.get()
                if mark.encode() in payload:
                    return channel
    except TimeoutError:
        return None
