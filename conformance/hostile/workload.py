"""What the clients of a cluster say, ask and change, and what reaches them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from random import Random
from typing import Final

from hostile.promises import (
    CONNECT,
    DISCONNECT,
    JOIN,
    LEAVE,
    ROOMS,
    SPACES,
    Promises,
    Told,
    WatchedClient,
    shown,
)

ROUNDS: Final = 5
"""Changes of memberships while all is calm: a quarter of the subscriptions come and go."""

TELLERS: Final = 3
"""Clients that say something after each of them, at all nodes mostly."""

PAUSE: Final = 0.1
"""Bound of the seconds between two actions of a client. It leaves most of the processor idle."""

POLL: Final = 0.01
"""Seconds between two looks at what has arrived."""


async def work(
    promises: Promises, client: WatchedClient, random: Random, done: asyncio.Event
) -> None:
    """Have a client say, ask, and change its memberships until it is done."""
    while not (done.is_set() or client.is_lost):
        await act(promises, client, random)
        with suppress(TimeoutError):
            async with asyncio.timeout(random.uniform(0, PAUSE)):
                await done.wait()


async def act(promises: Promises, client: WatchedClient, random: Random) -> None:
    """Do one thing."""
    first, second = SPACES
    someone = random.choice(promises.present or [client]).id
    scopes = sorted(client.scopes)
    match random.randrange(10):
        case 0:
            await client.ask()
        case 1:
            await client.ask(someone)
        case 2 | 3:
            await client.say((first, ""), someone)
        case 4:
            room = random.choice(ROOMS)
            await client.change(LEAVE if (first, room) in client.scopes else JOIN, first, room)
        case 5:
            is_member = (second, "") in client.scopes
            await client.change(DISCONNECT if is_member else CONNECT, second)
        case _ if scopes:
            await client.say(random.choice(scopes), is_to_others=random.random() < 0.5)


async def settled(promises: Promises) -> None:
    """Check what every client got of what its own node sent it."""
    await asyncio.gather(*(client.settle() for client in promises.present))


async def unreached(promises: Promises, node: str, seconds: float) -> list[str]:
    """Return what is said at a node and does not reach all clients within some seconds.

    It says something to all, and something to each client, and asks a client of each node. The
    others say nothing by themselves: they must notice that they hear nothing.
    """
    tellers = {client.node: client for client in promises.present}
    ids = ["", *(each.id for each in promises.present)]
    tasks = [
        *(asyncio.create_task(_unheard(tellers[node], to, seconds)) for to in ids),
        *(asyncio.create_task(_unasked(tellers[node], to, seconds)) for to in tellers.values()),
    ]
    return [each for found in await asyncio.gather(*tasks) for each in found]


async def _unheard(teller: WatchedClient, to: str, seconds: float) -> list[str]:
    return await missing([await teller.say((SPACES[0], ""), to)], seconds)


async def _unasked(one: WatchedClient, other: WatchedClient, seconds: float) -> list[str]:
    is_answered = await one.ask(other.id, seconds)
    return [] if is_answered else [f"{other.id} did not answer {one.id}"]


async def missing(told: Sequence[Told], seconds: float) -> list[str]:
    """Return what clients do not get within some seconds."""
    left: list[str] = []
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while left := [
                f"{client.id} did not get {shown(body)}"
                for body, clients in told
                for client in clients
                if body not in client.got and not client.is_lost
            ]:
                await asyncio.sleep(POLL)
    return left


async def calm(promises: Promises, random: Random, seconds: float) -> list[str]:
    """Say things of every kind while nothing is wrong, and return what did not arrive.

    Clients connect a namespace and join a room first: what is said right after that is theirs. It
    has arrived before the next change: who leaves is no longer owed what other nodes said before.
    """
    first, second = SPACES
    clients = promises.present
    left: list[str] = []
    for _ in range(ROUNDS):
        client = random.choice(clients)
        told: list[Told] = []
        is_member = (second, "") in client.scopes
        await client.change(DISCONNECT if is_member else CONNECT, second)
        room = random.choice(ROOMS)
        await client.change(LEAVE if (first, room) in client.scopes else JOIN, first, room)
        for teller in random.sample(clients, min(len(clients), TELLERS)):
            scope = random.choice(sorted(teller.scopes))
            told.append(await teller.say(scope, is_to_others=random.random() < 0.5))
            told.append(await teller.say((first, ""), client.id))
        if not await random.choice(clients).ask(client.id, seconds):
            left.append(f"an ask of {client.id} was not answered")
        left += await missing(told, seconds)
    return left
