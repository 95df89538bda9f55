"""A node of a cluster, and its application, in a process of its own.

``python -m hostile.nodes EXCHANGE [SECONDS]`` runs one.

It prints a line with its URL and its process, and then a line for each record of its log. It ends
when its standard input does. With ``SECONDS``, it takes so many for a broker that stalls, instead
of those of ``neffos_asyncio``: a nemesis has time for more outages then.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from typing import Final

from hostile.promises import ASK, ECHO, QUESTION, SAID, SAY, SPACES
from neffos_asyncio import (
    NeffosError,
    ReplyError,
    Server,
    broker,
    exchange_at,
    listening,
    nats_exchange,
    redis_exchange,
)
from neffos_asyncio.connection import Namespace
from neffos_asyncio.exchange import Exchange
from neffos_asyncio.transport import LOGGER
from neffos_codec import Message

LOG: Final = "log"
"""The key of a record's text in a line."""

LEVEL: Final = "level"
"""The key of its level, as a number of ``logging``."""


def node_server(exchange: Exchange) -> Server:
    """Return a node whose clients can say and ask what the workload does."""

    def say(space: Namespace, message: Message) -> str:
        order = json.loads(message.body)
        body, room, to = order["body"], order["room"], order["to"]
        if order["others"]:
            space.broadcast(SAID, body, room=room)
        else:
            server.broadcast(space.name, SAID, body, room=room, to=to)
        return ""

    async def ask(space: Namespace, message: Message) -> str | bytes:
        order = json.loads(message.body)
        try:
            reply = await server.ask(
                space.name,
                QUESTION,
                order["body"],
                to=order["to"],
                timeout=order["seconds"],
            )
        except NeffosError as error:
            raise ReplyError(type(error).__name__) from None
        return reply.body

    handlers = {SAY: say, ASK: ask, ECHO: lambda _, message: message.body}
    server = Server(
        dict.fromkeys(SPACES, handlers),
        id_generator=lambda request: request.parameter("id"),
        exchange=exchange,
    )
    return server


def _write(**line: object) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


class _Lines(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        _write(**{LOG: self.format(record), LEVEL: record.levelno})


async def _run(exchange: str) -> None:
    async with listening(node_server(exchange_at(exchange)), grace=0.2) as listener:
        _write(ready=True, url=listener.url(), pid=os.getpid())
        await asyncio.to_thread(sys.stdin.read)


def main() -> None:
    """Run a node."""
    logging.basicConfig(level=logging.WARNING, handlers=[_Lines()])
    logging.getLogger(LOGGER).setLevel(logging.DEBUG)
    if len(sys.argv) > 2:
        seconds = float(sys.argv[2])
        times = {"CONNECT_TIME": 1, "STALL_TIME": 1, "LONGEST_PAUSE": 0.5, "CONFIRM_TIME": 0.2}
        for module in (broker, nats_exchange, redis_exchange):
            for name in times.keys() & vars(module).keys():
                setattr(module, name, seconds * times[name])
    asyncio.run(_run(sys.argv[1]))


if __name__ == "__main__":
    main()
