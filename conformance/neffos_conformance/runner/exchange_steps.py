"""The broker of a cluster as connection 0 of its cases: the suite hears there, and publishes.

Many cases run concurrently on one broker. A case hears what has its mark, in the channel or in what
is published, and nothing else.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from typing import Final, cast

from neffos_conformance.cases.matching import expand, fill
from neffos_conformance.cases.script import BROKER, Step
from neffos_conformance.runner.monitoring import UNEXPECTED
from neffos_conformance.runner.playback import MismatchError, Playback
from neffos_conformance.runner.result import Finding
from neffos_conformance.runner.script_runner import ScriptRunner, Verb
from neffos_conformance.wire.broker import BrokerError, Publish
from neffos_conformance.wire.payloads import payload_bytes, short
from neffos_conformance.wire.transport import Transport
from neffos_protocol.exchange import Channels

NATS: Final = "nats"
"""The tag of cases for NATS alone: other brokers take names as they are."""

Heard = tuple[str, bytes]
"""A channel, and what was published there."""


@dataclass(slots=True)
class SharedBroker:
    """What the suite hears on a broker, and how it publishes there.

    Attributes:
        channels: the names under which the servers publish.
        publish: publishes as it is.
    """

    channels: Channels
    publish: Publish
    _cases: dict[str, asyncio.Queue[Heard]] = field(default_factory=dict)
    _own: Counter[Heard] = field(default_factory=Counter)

    @property
    def is_nats(self) -> bool:
        """Whether names are written as NATS demands (SX-6)."""
        return not self.channels.end

    def hear(self, channel: str, payload: bytes) -> None:
        """Take what was published, unless the suite did it."""
        if self._own[channel, payload]:
            self._own[channel, payload] -= 1
            return
        for mark, queue in self._cases.items():
            names = (mark, self.channels.plain(mark))
            if mark.encode() in payload or any(name in channel for name in names):
                queue.put_nowait((channel, payload))

    async def forge(self, channel: str, payload: bytes) -> None:
        """Publish, and do not hear it.

        Raises:
            BrokerError: the broker is lost.
        """
        self._own[channel, payload] += 1
        await self.publish(channel, payload)

    @contextmanager
    def listening(self, mark: str) -> Iterator[asyncio.Queue[Heard]]:
        """Give a queue of what has a mark, until the block is left."""
        queue = self._cases[mark] = asyncio.Queue()
        try:
            yield queue
        finally:
            del self._cases[mark]

    def channel(self, name: str) -> str:
        """Give a channel by its name in a script, such as ``ns/app``."""
        kind, _, rest = name.partition("/")
        named: dict[str, Callable[[str], str]] = {
            "ns": self.channels.of_namespace,
            "id": self.channels.of_connection,
            "ask": self.channels.of_reply,
            "raw": str,
        }
        return named[kind](rest)


@dataclass(slots=True)
class _Listening:
    """Connection 0 of a case, as far as a playback uses it."""

    playback: Playback
    broker: SharedBroker
    mark: str
    queue: asyncio.Queue[Heard]
    is_open: bool = False
    has_received_close: bool = True

    async def send(self, barrier: str) -> None:
        """Publish a barrier that only the suite hears, when the servers have replied to theirs.

        What a server has published before its reply is then heard before.

        Raises:
            BrokerError: the broker is lost.
        """
        await self._settle()
        await self.broker.publish(self._own_channel, f"{barrier}{self.mark}".encode())

    async def receive(self) -> str | bytes:
        """Wait for what is published.

        Raises:
            MismatchError: nothing was published, though the servers have replied to barriers.
            BrokerError: the broker does not even return what the suite publishes.
        """
        limits = self.playback.timeouts
        for seconds in (limits.before_barrier, limits.after_barrier):
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    channel, payload = await self.queue.get()
                    if channel == self._own_channel:
                        return payload.decode()
                    return _shown((channel, payload))
            await self._settle()
        await self.broker.publish(self._own_channel, self.mark.encode())
        try:
            async with asyncio.timeout(limits.after_barrier):
                heard = await self.queue.get()
        except TimeoutError:
            raise BrokerError("the broker does not return what the suite publishes") from None
        if heard[0] != self._own_channel:
            return _shown(heard)
        raise MismatchError("nothing was published, though later barriers were answered")

    async def close(self) -> None:
        """Leave the broker to the other cases."""

    async def _settle(self) -> None:
        await asyncio.gather(*map(self.playback.settle, self.playback.talking()))

    @property
    def _own_channel(self) -> str:
        return f"suite.{self.broker.channels.plain(self.mark)}"


def _shown(heard: Heard) -> str | bytes:
    """Give what was published, with its channel before it."""
    channel, payload = heard
    whole = payload_bytes(channel) + b" " + payload
    try:
        return whole.decode()
    except UnicodeDecodeError:
        return whole


@contextmanager
def joined(broker: SharedBroker, runner: ScriptRunner, mark: str) -> Iterator[Mapping[str, Verb]]:
    """Make a broker connection 0 of a case, until the block is left; give the verbs for it."""
    playback = runner.playback
    runner.bindings["prefix"] = broker.channels.prefix
    if (plain := broker.channels.plain(mark)) != mark:
        runner.bindings["subject"] = plain  # so that failures say the same at every run

    def payloads(step: Step, time: int) -> str | bytes | list[bytes]:
        if step.connection != BROKER:
            return step.payloads(time)
        channel, payload = _named(runner, broker, step, time)
        if isinstance(payload, str):
            return f"{channel} {payload}"
        return payload_bytes(channel) + b" " + payload

    with broker.listening(mark) as queue:

        def look_further() -> None:
            playback.connections.pop(BROKER, None)  # nobody closes it
            while not queue.empty():
                heard = _shown(queue.get_nowait())
                playback.log_received(BROKER, heard)
                runner.find(Finding("", f"{UNEXPECTED}{short(heard)}", BROKER))

        runner.payloads_of = payloads
        runner.look_further = look_further
        playback.connections[BROKER] = cast(Transport, _Listening(playback, broker, mark, queue))
        yield {verb: _forging(runner, broker, verb) for verb in (">", ">b")}


def _named(
    runner: ScriptRunner, broker: SharedBroker, step: Step, time: int
) -> tuple[str, str | bytes]:
    """Give the channel of a step, and its payload with the placeholders as they are."""
    name, _, text = step.rest.partition(" ")
    channel = broker.channel(str(fill(expand(name), runner.bindings)))
    payload = replace(step, rest=text).payloads(time)
    assert not isinstance(payload, list)  # noqa: S101  # no such verb is a broker's
    return channel, payload


def _forging(runner: ScriptRunner, broker: SharedBroker, verb: str) -> Verb:
    send = runner.verbs[verb]

    async def forge(step: Step, time: int) -> None:
        if step.connection != BROKER:
            await send(step, time)
            return
        channel, payload = _named(runner, broker, step, time)
        filled = payload_bytes(fill(payload, runner.bindings))
        runner.playback.log_sent(BROKER, _shown((channel, filled)))
        await broker.forge(channel, filled)

    return forge
