"""The engine for faulty nodes: two servers with an exchange in memory, and hooks at that.

A hook changes what a server publishes, what is delivered to it, or how it subscribes. The suite is
a peer on the exchange, as it is on a broker. This module knows no fault.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Final, Literal

from mutation.hooks import Scratch
from mutation.registry import SOON
from neffos_asyncio.exchange import Attachment, Deliver
from neffos_conformance.cases.definition import Case
from neffos_conformance.reference.application import servers
from neffos_conformance.reference.embedded import NOTHING, Serve, embedded_server
from neffos_conformance.runner.exchange_steps import NATS, Heard, SharedBroker
from neffos_conformance.runner.result import Result
from neffos_conformance.runner.run import Run, to_server
from neffos_conformance.wire.broker import Hear
from neffos_conformance.wire.reach import Target
from neffos_protocol.exchange import Channels, nats_subjects, redis_channels

PREFIX: Final = "neffos"

NODES: Final = 2

Payload = str | bytes


class Node(Scratch):
    """A server of a cluster, as its hooks see it.

    Attributes:
        channels: the right names of channels.
        publish: publishes past the hooks.
    """

    def __init__(self, channels: Channels, publish: Callable[[str, bytes], None]) -> None:
        super().__init__()
        self.channels = channels
        self.publish = publish


Hook = Callable[[Node, str, bytes], Iterable[Heard] | None]
"""What a hook makes of a published message: ``None`` leaves it alone."""


@dataclass(frozen=True, slots=True)
class NodeHooks:
    """Servers with a fault; the hooks that are left out change nothing.

    Attributes:
        publish: what is published instead.
        deliver: what is delivered to the server instead.
        wants: whether a subscription of the first channel gets what is published on the second.
        ends: the channels that end with a subscription.
        plain: a name as the server writes it into a channel, on NATS.
        receive: what the server does when it receives a payload of a client.
        send: what it sends to a client instead of a payload.
    """

    publish: Hook | None = None
    deliver: Hook | None = None
    wants: Callable[[str, str], bool] = str.__eq__
    ends: Callable[[str, Iterable[str]], Iterable[str]] = lambda channel, _: [channel]
    plain: Callable[[str], str] | None = None
    receive: Callable[[Node, Payload], None] | None = None
    send: Callable[[Payload], Payload] | None = None
    role: Literal["exchange"] = field(default="exchange", init=False)

    def stage(self) -> AbstractAsyncContextManager[Run]:
        """Start a cluster with the names of Redis, and one with those of NATS."""
        return _staged(self)


@asynccontextmanager
async def _staged(hooks: NodeHooks) -> AsyncIterator[Run]:
    async with AsyncExitStack() as stack:
        plain, nats = [
            _run(*await stack.enter_async_context(cluster_of(hooks, make(PREFIX))))
            for make in (redis_channels, nats_subjects)
        ]

        async def run(case: Case) -> Result:
            return await (nats if NATS in case.tags else plain)(case)

        yield run


def _run(targets: Sequence[Target], broker: MemoryBroker) -> Run:
    first, *others = targets
    return to_server(first, SOON, others=others, broker=broker.suite)


@asynccontextmanager
async def cluster_of(
    hooks: NodeHooks, channels: Channels
) -> AsyncIterator[tuple[list[Target], MemoryBroker]]:
    """Start servers with a fault; give them, and what they share."""
    memory = MemoryBroker(channels)
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(node_of(hooks, memory)) for _ in range(NODES)]
        yield nodes, memory


@asynccontextmanager
async def node_of(hooks: NodeHooks, memory: MemoryBroker) -> AsyncIterator[Target]:
    """Start a server with a fault."""
    exchange = _Exchange(memory, hooks)
    served = servers(exchange=exchange.of_path)
    distort = exchange.distort if hooks.receive or hooks.send else None
    async with embedded_server(served=served, distort=distort) as url:
        yield Target.of(url)


class MemoryBroker:
    """An exchange in memory, on which the suite hears everything.

    Attributes:
        channels: the right names of channels.
        attached: the servers' parts of it.
        suite: the suite as a peer on it.
        heard: further functions that hear everything.
    """

    def __init__(self, channels: Channels) -> None:
        self.channels = channels
        self.attached: list[_Attachment] = []
        self.suite = SharedBroker(channels, self.forge)
        self.heard: list[Hear] = [self.suite.hear]

    async def forge(self, channel: str, payload: bytes) -> None:
        """Publish as a peer that is no server."""
        self.publish(None, channel, payload)

    def publish(self, sender: _Attachment | None, channel: str, payload: bytes) -> None:
        """Pass a message on, in a later callback, to all but its sender."""
        loop = asyncio.get_running_loop()
        for hear in self.heard:
            loop.call_soon(hear, channel, payload)
        for each in self.attached:
            if each is not sender:
                loop.call_soon(each.take, channel, payload)


@dataclass(slots=True)
class _Exchange:
    """The exchange as one server has it."""

    memory: MemoryBroker
    hooks: NodeHooks
    node: Node | None = None

    @property
    def channels(self) -> Channels:
        own, plain = self.memory.channels, self.hooks.plain
        if plain is None or own.end:
            return own
        return Channels(own.prefix, own.end, plain)

    def of_path(self, path: str) -> _Exchange:
        """Give the exchange of an endpoint; all have this one, but for its prefix."""
        return self if path == "/" else _Exchange(MemoryBroker(self.memory.channels), NodeHooks())

    def attach(self, deliver: Deliver) -> Attachment:
        attached = _Attachment(self, deliver)
        self.memory.attached.append(attached)
        self.node = attached.node
        return attached

    def distort(self, serve: Serve) -> Serve:
        """Change what the server does with the payloads of a client."""

        def served(payload: Payload) -> list[Payload]:
            if payload is not NOTHING and self.node and self.hooks.receive:
                self.hooks.receive(self.node, payload)
            sent = serve(payload)
            return [*map(self.hooks.send, sent)] if self.hooks.send else sent

        return served


class _Attachment:
    """One server's part of it, with the hooks."""

    def __init__(self, exchange: _Exchange, deliver: Deliver) -> None:
        self._memory, self._hooks, self._deliver = exchange.memory, exchange.hooks, deliver
        self._subscribed: dict[str, None] = {}
        self.node = Node(self._memory.channels, self._publish)

    def subscribe(self, channel: str) -> None:
        self._subscribed[channel] = None

    def unsubscribe(self, channel: str) -> None:
        for each in list(self._hooks.ends(channel, tuple(self._subscribed))):
            self._subscribed.pop(each, None)

    def confirmed(self, _: str) -> None:
        return None

    def publish(self, channel: str, payload: bytes) -> None:
        for each in _effect(self._hooks.publish, self.node, channel, payload):
            self._publish(*each)

    def _publish(self, channel: str, payload: bytes) -> None:
        self._memory.publish(self, channel, payload)

    def take(self, channel: str, payload: bytes) -> None:
        """Deliver what is published, if it is subscribed."""
        for own in list(self._subscribed):
            if self._hooks.wants(own, channel):
                for each in _effect(self._hooks.deliver, self.node, own, payload):
                    self._deliver(*each)

    async def close(self) -> None:
        self._memory.attached.remove(self)


def _effect(hook: Hook | None, node: Node, channel: str, payload: bytes) -> Iterable[Heard]:
    found = hook(node, channel, payload) if hook else None
    return [(channel, payload)] if found is None else found
