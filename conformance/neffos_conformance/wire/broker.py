"""The suite as a peer on a broker: it hears what servers publish there, and can publish, too.

It subscribes everything by a pattern, so that it also hears what is under a wrong name. It does not
know what servers mean by what they publish.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Final

from neffos_conformance.wire.secrets import MASK
from neffos_protocol.broker_urls import check_urls, shown_urls, split_urls
from neffos_protocol.exchange import Channels, nats_subjects, redis_channels

CONNECT_SECONDS: Final = 5.0
"""Seconds to connect to a broker: one on this machine or beside it answers in milliseconds."""

_LIBRARIES: Final = {"redis": "redis.asyncio", "nats": "neffos_asyncio.nats_exchange"}
"""What is imported for each kind of broker, with all that it imports."""

Hear = Callable[[str, bytes], None]
"""Takes a channel and what was published there."""

Publish = Callable[[str, bytes], Awaitable[None]]
"""Publishes on a channel, after what was published before."""


class BrokerError(Exception):
    """A broker cannot be used; the text says why, on one line, without secrets."""


@dataclass(frozen=True, slots=True)
class BrokerPeer:
    """The suite's connection to a broker.

    Attributes:
        publish: publishes there.
        channels: gives the names of channels by their prefix.
        lost: set when nothing more is heard, since the connection has ended.
    """

    publish: Publish
    channels: Callable[[str], Channels]
    lost: asyncio.Event = field(default_factory=asyncio.Event)


def kind_of(url: str) -> str:
    """Give the kind of a broker by its URL: ``redis`` or ``nats``, as in ``CHANNELS``.

    Raises:
        BrokerError: the URL names no broker.
    """
    scheme = _scheme(url)
    if scheme not in _OPENED:
        expected = ", ".join(f"{each}://" for each in _OPENED)
        raise BrokerError(f"a broker is at {expected}, not at {masked_broker(url)}")
    return "nats" if scheme in ("nats", "tls") else "redis"


def _scheme(url: str) -> str:
    return url.partition("://")[0].lower()


def masked_broker(url: str) -> str:
    """Give the URL of a broker, or the URLs of a NATS cluster, without secrets."""
    return shown_urls(url, MASK)


@asynccontextmanager
async def broker_at(url: str, hear: Hear) -> AsyncIterator[BrokerPeer]:
    """Connect to a broker, and hear all that is published there until the block is left.

    Args:
        url: ``redis://``, ``rediss://``, ``unix://``, ``nats://`` or ``tls://``.
        hear: takes what is published, also by this peer.

    Raises:
        BrokerError: it cannot be reached, or what the URL names is no broker. ``publish`` raises
            it when the broker is lost.
    """
    kind = kind_of(url)
    opened = _OPENED[_scheme(url)]
    async with AsyncExitStack() as stack:
        try:
            check_urls(url)
            import_module(_LIBRARIES[kind])  # which takes seconds on a busy machine
            async with asyncio.timeout(CONNECT_SECONDS):
                peer = await stack.enter_async_context(opened(url, hear))
        except ModuleNotFoundError as error:
            text = f"the suite needs {error.name}. Try: pip install 'neffos-wire[{kind}]'"
            raise BrokerError(text) from error
        except Exception as error:  # each library has errors of its own
            reason = " ".join(str(error).replace(url, masked_broker(url)).split())
            if not reason or isinstance(error, TimeoutError):
                reason = f"no answer within {CONNECT_SECONDS:g} s"
            raise BrokerError(f"no broker at {masked_broker(url)}: {reason}") from error

        async def publish(channel: str, payload: bytes) -> None:
            try:
                await peer.publish(channel, payload)
            except Exception as error:
                raise BrokerError(f"the broker at {masked_broker(url)} is lost") from error

        yield replace(peer, publish=publish)


@asynccontextmanager
async def _redis(url: str, hear: Hear) -> AsyncIterator[BrokerPeer]:
    from redis.asyncio import Redis
    from redis.exceptions import RedisError

    async def publish(channel: str, payload: bytes) -> None:
        await client.publish(channel.encode(errors="surrogateescape"), payload)

    client = Redis.from_url(url)
    listening = client.pubsub()
    reading: asyncio.Task[None] | None = None
    peer = BrokerPeer(publish, redis_channels)

    async def read() -> None:
        with suppress(OSError, RedisError):  # it has connected again in vain
            async for message in listening.listen():
                if message["type"] == "pmessage":
                    hear(message["channel"].decode(errors="surrogateescape"), message["data"])
        peer.lost.set()

    try:
        await listening.psubscribe("*")
        await listening.get_message(timeout=CONNECT_SECONDS)  # the confirmation
        reading = asyncio.create_task(read(), name="hear Redis")
        yield peer
    finally:
        if reading is not None:
            reading.cancel()
            await asyncio.wait([reading])
        await listening.aclose()  # type: ignore[no-untyped-call]
        await client.aclose()


@asynccontextmanager
async def _nats(url: str, hear: Hear) -> AsyncIterator[BrokerPeer]:
    from nats.aio.msg import Msg

    from neffos_asyncio.nats_exchange import NatsClient, tls_of

    async def take(message: Msg) -> None:
        hear(message.subject, message.data)

    async def ignore(_: Exception) -> None:
        pass  # it prints errors otherwise; what concerns the caller is raised

    async def publish(channel: str, payload: bytes) -> None:
        await client.publish(channel, payload)
        await client.flush()  # it waits in the library otherwise

    async def lose() -> None:
        peer.lost.set()

    peer = BrokerPeer(publish, nats_subjects)
    client = NatsClient()
    await client.open(split_urls(url), tls_of(url), error_cb=ignore, closed_cb=lose)
    try:
        await client.subscribe(">", cb=take)
        await client.flush()
        yield peer
    finally:
        await client.close()


_OPENED: Final[dict[str, Callable[[str, Hear], AbstractAsyncContextManager[BrokerPeer]]]] = {
    "redis": _redis,
    "rediss": _redis,
    "unix": _redis,
    "nats": _nats,
    "tls": _nats,
}
"""What connects to a broker, by the scheme of its URL."""
