"""A connection that only listens: it tells broadcasts of other clients from what a server makes up.

Other clients of a server may broadcast at any time. What they broadcast to all reaches the witness
too. A broadcast that reaches a case alone, and that no case made, is the server's own doing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from typing import Final

from neffos_codec import Message, encode
from neffos_conformance.cases.definition import Case
from neffos_conformance.cases.script import MESSAGE_VERBS, expanded
from neffos_conformance.runner.playback import Timeouts
from neffos_conformance.wire.barrier import BARRIER, is_barrier_reply
from neffos_conformance.wire.connection import ConnectError, ConnectionClosed, WireConnection
from neffos_conformance.wire.payloads import frame_of, payload_bytes, payload_text
from neffos_conformance.wire.reach import Target
from neffos_protocol.events import Change
from neffos_protocol.names import REQUEST_EVENT

MAX_SEEN: Final = 10_000
"""Broadcasts that are remembered. A server with more of them is too busy to tell whose they are."""

_CONNECT: Final = REQUEST_EVENT[Change.CONNECT]
_JOIN: Final = REQUEST_EVENT[Change.JOIN]


def joining(cases: Iterable[Case]) -> list[str]:
    """Give the messages that take a connection to where cases are.

    They connect each namespace and join each room that a case does, other than those whose names
    have a placeholder: they are the case's own. A server refuses what it lacks, and nobody waits
    for the replies.

    Args:
        cases: the cases, for servers.
    """
    asks: dict[tuple[str, str, str], None] = {}
    for step in (step for case in cases for step in case.steps):
        for each in expanded(step, "server"):
            message = frame_of(each.rest) if each.verb in MESSAGE_VERBS else None
            if message is None or "<<" in message.namespace + message.room:
                continue
            if message.event == _CONNECT or (message.event == _JOIN and message.room):
                asks[message.event, message.namespace, message.room] = None
    messages = ["M"]
    for event, namespace, room in sorted(asks, key=lambda ask: ask[0] != _CONNECT):
        token = f"$witness{len(messages)}"
        ask = Message(token, namespace=namespace, room=room, event=event)
        messages.append(payload_text(encode(ask)))
    return messages


class Witness:
    """A connection to a server that listens until the run ends.

    Args:
        connection: the connection, if it could be opened.
        timeouts: the time limits, at the pace of the server.
    """

    def __init__(self, connection: WireConnection | None, timeouts: Timeouts) -> None:
        self._connection = connection
        self._timeouts = timeouts
        self._seen: set[bytes] = set()
        self._is_blind = connection is None
        self._replied = asyncio.Event()
        self._lock = asyncio.Lock()

    async def listen(self) -> None:
        """Read until the connection ends; nothing can be told from then on."""
        assert self._connection is not None  # noqa: S101  # see ``watching``
        while len(self._seen) < MAX_SEEN:
            received = await self._connection.receive()
            if isinstance(received, ConnectionClosed):
                break
            if is_barrier_reply(received):
                self._replied.set()
            else:
                self._seen.add(payload_bytes(received))
        self._is_blind = True

    async def may_have_seen(self, payload: bytes) -> bool:
        """Say whether a broadcast reached the witness too, or that cannot be told."""
        async with self._lock:
            for seconds in (0.0, self._timeouts.after_barrier):
                await asyncio.sleep(seconds)  # for a server that writes to one after the other
                if self._is_blind or self._connection is None or payload in self._seen:
                    return True
                self._replied.clear()
                await self._connection.send(BARRIER)
                try:
                    async with asyncio.timeout(self._timeouts.case):
                        await self._replied.wait()
                except TimeoutError:
                    return True
            return payload in self._seen


@asynccontextmanager
async def watching(
    server: Target | str, timeouts: Timeouts, cases: Iterable[Case]
) -> AsyncIterator[Witness]:
    """Connect a witness to a server until the block is left.

    Args:
        server: the server, or its URL.
        timeouts: the time limits, at its pace.
        cases: where the witness is to listen.
    """
    connection: WireConnection | None = None
    with suppress(ConnectError, TimeoutError):
        async with asyncio.timeout(timeouts.case):
            connection = await WireConnection.dial(server)
    if connection is not None and not await _takes_another(server, timeouts):
        await connection.close()
        connection = None
    witness = Witness(connection, timeouts)
    if connection is None:
        yield witness
        return
    listening = asyncio.create_task(witness.listen())
    try:
        for message in joining(cases):
            await connection.send(message)
        yield witness
    finally:
        listening.cancel()
        await connection.close()


async def _takes_another(server: Target | str, timeouts: Timeouts) -> bool:
    """Whether a server takes a connection beside the witness: a case must not wait for its end."""
    with suppress(ConnectError, TimeoutError):
        async with asyncio.timeout(timeouts.case):
            await (await WireConnection.dial(server)).close()
            return True
    return False
