"""Lets every client hold a conversation with every server, several at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from neffos_conformance.interop.conversation import Outcome, converse
from neffos_conformance.runner.driver_protocol import DriverError, running_driver

AT_A_TIME: Final = 6
"""Conversations at the same time: they wait more than they compute, and each starts a program."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint of a running server, by the name of the peer and its own."""

    peer: str
    name: str
    url: str


@dataclass(frozen=True, slots=True)
class Talk:
    """What came of a conversation.

    Attributes:
        client: the name of the client.
        endpoint: whom it talked to.
        outcomes: what came of each step.
        ready: what the client's driver says of itself.
    """

    client: str
    endpoint: Endpoint
    outcomes: list[Outcome]
    ready: Mapping[str, Any]


async def all_talks(
    endpoints: Sequence[Endpoint], clients: Mapping[str, Sequence[str]]
) -> AsyncIterator[Talk]:
    """Let every client talk to every endpoint, and give what came of it, as it comes.

    A server has one client at a time, as what one broadcasts would reach another.
    """
    places = asyncio.Semaphore(AT_A_TIME)
    talks: asyncio.Queue[Talk] = asyncio.Queue()
    names = list(clients)

    async def visit(number: int, endpoint: Endpoint) -> None:
        # Each begins with another client, so that those that wait long do not all come last.
        turn = number % len(names)
        for client in names[turn:] + names[:turn]:
            async with places:
                outcomes, ready = await _talk(clients[client], endpoint.url)
            await talks.put(Talk(client, endpoint, outcomes, ready))

    async with asyncio.TaskGroup() as group:
        for number, endpoint in enumerate(endpoints):
            group.create_task(visit(number, endpoint))
        for _ in range(len(endpoints) * len(names)):
            yield await talks.get()


async def _talk(command: Sequence[str], url: str) -> tuple[list[Outcome], Mapping[str, Any]]:
    try:
        async with running_driver(command) as driver:
            outcomes, ready = await converse(driver, url), driver.ready
    except DriverError as error:
        outcomes, ready = [Outcome("start", str(error))], {}
    # A driver is called by its command, which holds paths of this machine.
    name = " ".join(command)
    return [replace(each, failure=each.failure.replace(name, "it")) for each in outcomes], ready
