"""Servers that share a Redis: ``Server(…, exchange=RedisExchange("redis://127.0.0.1"))``.

It needs the extra ``redis``, and Redis 6 or newer: only RESP3 lets one connection both subscribe
and publish.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from functools import partial
from typing import Final

from redis.asyncio.connection import AbstractConnection, ConnectionPool, SSLConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from neffos_asyncio.broker import STALL_TIME, BrokerAttachment, ended, reset
from neffos_asyncio.exchange import PREFIX, Attachment, Deliver
from neffos_asyncio.transport import log
from neffos_protocol.broker_urls import check_urls, shown_urls
from neffos_protocol.exchange import redis_channels
from neffos_protocol.text import logged

TURN: Final = 100
"""Messages that are read before other work has its turn."""


class RedisExchange:
    """The servers that use one Redis and one prefix.

    Args:
        url: ``redis://``, with TLS ``rediss://``, or ``unix://``. It has the password and, such as
            ``ssl_ca_certs``, options: see ``REDIS_OPTIONS`` of ``broker_urls``.
        prefix: what channels begin with: the channel of neffos in Go.

    Raises:
        ValueError: the URL or a file that it names is invalid, or the prefix empty.
    """

    def __init__(self, url: str, prefix: str = PREFIX) -> None:
        self.channels: Final = redis_channels(prefix)
        check_urls(url)
        self._pool = ConnectionPool.from_url(
            url, protocol=3, retry=Retry(NoBackoff(), 0), socket_timeout=None
        )
        self._name = shown_urls(url)
        try:  # what no try to connect could mend
            made = self._pool.make_connection()  # type: ignore[no-untyped-call]
            if isinstance(made, SSLConnection):
                made.ssl_context.get()
        except OSError as error:  # those of `ssl` are among them
            text = f"a file that its URL names cannot be used: {error.strerror}"
            raise ValueError(text) from error
        except (RedisError, TypeError) as error:
            raise ValueError("an option in its URL has a value that it cannot have") from error

    def __repr__(self) -> str:
        return f"<RedisExchange {self._name}>"

    def attach(self, deliver: Deliver) -> Attachment:
        """Attach a server."""

        async def connect() -> _Redis:
            connection = self._pool.make_connection()  # type: ignore[no-untyped-call]
            writer: asyncio.StreamWriter | None = None

            async def greet(opened: AbstractConnection) -> None:
                nonlocal writer
                writer = opened._writer
                await opened.on_connect()

            connection.redis_connect_func = greet
            try:
                await connection.connect()
            except (
                BaseException
            ):  # if this is cancelled, the library leaves it open, or half closed
                reset(writer)
                raise
            return _Redis(connection, deliver)

        return BrokerAttachment(connect, self._name)


class _Redis:
    """A connection to Redis; see ``BrokerConnection``."""

    def __init__(self, connection: AbstractConnection, deliver: Deliver) -> None:
        self._connection = connection
        self._writer = connection._writer  # the library forgets it when a write is cancelled
        self._deliver = deliver
        self._unconfirmed: set[str] = set()
        self._is_confirmed = asyncio.Event()
        self._heard = 0
        self._is_refusal_noted = False

    async def subscribe(self, channels: Sequence[str]) -> None:
        self._unconfirmed.update(channels)
        self._is_confirmed.clear()
        await self._send([("SUBSCRIBE", *map(_bytes, channels))])
        await self._is_confirmed.wait()

    async def unsubscribe(self, channels: Sequence[str]) -> None:
        await self._send([("UNSUBSCRIBE", *map(_bytes, channels))])

    async def publish(self, messages: Sequence[tuple[str, bytes]]) -> None:
        await self._send([("PUBLISH", _bytes(name), payload) for name, payload in messages])

    async def watch(self) -> None:
        tasks = [asyncio.create_task(work) for work in (self._read(), self._beat())]
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await ended(tasks)
        for task in done:
            task.result()  # neither returns

    async def close(self) -> None:
        await self._connection.disconnect()

    def reset(self) -> None:
        reset(self._writer)

    async def _send(self, commands: Sequence[tuple[str | bytes, ...]]) -> None:
        packed = self._connection.pack_commands(commands)
        await self._connection.send_packed_command(packed, check_health=False)

    async def _read(self) -> None:
        read = partial(
            self._connection.read_response,
            timeout=math.inf,
            disconnect_on_error=False,  # a cancelled read would close, where `reset` is due
            push_request=True,
        )
        while True:
            try:
                said = await read()
            except ResponseError as error:
                if not self._is_refusal_noted:
                    self._is_refusal_noted = True
                    log.error("Redis refuses commands of the exchange: %s", logged(error))
                continue
            match said:
                case [b"message", bytes(channel), bytes(payload)]:
                    self._deliver(channel.decode(errors="surrogateescape"), payload)
                case [b"subscribe", bytes(channel), _]:
                    self._unconfirmed.discard(channel.decode(errors="surrogateescape"))
                    if not self._unconfirmed:
                        self._is_confirmed.set()
            self._heard += 1
            if self._heard % TURN == 0:
                await asyncio.sleep(0)

    async def _beat(self) -> None:
        """Ask for a sign of life, and raise if none comes."""
        while True:
            heard = self._heard
            await self._send([("PING",)])
            await asyncio.sleep(STALL_TIME)
            if self._heard == heard:
                raise TimeoutError("it does not answer")


def _bytes(channel: str) -> bytes:
    return channel.encode(errors="surrogateescape")
