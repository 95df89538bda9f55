"""Records a cluster: what passes on the connections of its servers, and what they publish.

There is a relay before each server, and all relays number their connections together. The broker is
only listened to. It does not say who has published something.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import count
from typing import Any, Final

from neffos_conformance.wire.broker import broker_at, masked_broker
from neffos_conformance.wire.reach import Target
from neffos_conformance.wire.relay import Notice, Relay, relaying
from neffos_conformance.wire.transcript import ConnectionOpened, Content, Published

MAX_PUBLISHED: Final = 16 << 20
"""Bytes of a published message that is recorded: more than tested servers take from a client. A
line can have them six times. A larger message is left out, and the notice says so."""

Record = Callable[[int, bool, Content | Published], object]
"""Called with each event: number of the connection, whether the client did it, and what."""

Relays = Sequence[Callable[..., AbstractAsyncContextManager[Relay]]]
"""Start the relays before the servers; they take the further arguments of ``relaying``."""


def relays_of(servers: Sequence[Target | str], record: Record, **more: Any) -> Relays:
    """Give what starts a relay before each server of a cluster; nothing starts yet.

    Args:
        servers: the servers, or their URLs.
        record: called with each opening, message and closing; an opening has the server's number.
        more: further arguments of ``relaying``.
    """
    numbers = count(1)
    return [_relay(each, node, record, numbers, more) for node, each in enumerate(servers, 1)]


def _relay(
    server: Target | str, node: int, record: Record, numbers: Iterator[int], more: dict[str, Any]
) -> Callable[..., AbstractAsyncContextManager[Relay]]:
    def with_node(connection: int, from_client: bool, content: Content) -> None:
        if isinstance(content, ConnectionOpened):
            content = content._replace(node=node)
        record(connection, from_client, content)

    def start(**further: Any) -> AbstractAsyncContextManager[Relay]:
        return relaying(server, with_node, numbers=numbers, **more, **further)

    return start


@asynccontextmanager
async def hearing(
    url: str, record: Record, *, prefix: str = "", notice: Notice = lambda _: None
) -> AsyncIterator[asyncio.Future[None]]:
    """Record what is published on a broker until the block is left.

    Args:
        url: the URL of the broker.
        record: called with each message.
        prefix: of the channels that are recorded; all if it is empty.
        notice: called with a sentence on each message that is left out, and when the broker is
            lost.

    Yields:
        What is set to the error if recording failed.

    Raises:
        BrokerError: the broker cannot be reached.
    """
    failed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def hear(channel: str, payload: bytes) -> None:
        if failed.done() or (prefix and not channel.startswith(f"{prefix}.")):
            return
        if len(payload) > MAX_PUBLISHED:
            notice(f"not recorded: {len(payload)} bytes that were published under {channel}")
            return
        try:
            record(0, False, Published(channel, payload))
        except OSError as error:
            failed.set_exception(error)

    async with broker_at(url, hear) as peer:

        async def watch() -> None:
            await peer.lost.wait()
            notice(f"the broker at {masked_broker(url)} is lost: nothing more of it is recorded")

        watching = asyncio.create_task(watch(), name="watch the broker")
        try:
            yield failed
        finally:
            watching.cancel()
            await asyncio.wait([watching])
            if failed.done():
                failed.exception()
