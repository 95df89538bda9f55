"""What is attacked: ``python -m hostile.targets NAME``, until standard input ends."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

from hostile.tools import relay
from neffos_asyncio import Reconnect, Server, dial, listening


async def _slow(_: object, message: Any) -> str | bytes:
    await asyncio.sleep(0.01)
    body: str | bytes = message.body
    return body


async def _hang(*_: object) -> None:
    await asyncio.Event().wait()


HANDLERS: Final[dict[str, dict[str, Callable[[Any, Any], Any]]]] = {
    "app": {"echo": lambda _, message: message.body, "slow": _slow, "hang": _hang}
}
"""What a target's server handles."""


@asynccontextmanager
async def _server() -> AsyncIterator[dict[str, str]]:
    async with listening(Server(HANDLERS), grace=0.2) as listener:
        yield {"url": listener.url()}


@asynccontextmanager
async def _asgi() -> AsyncIterator[dict[str, str]]:
    import uvicorn

    from neffos_asyncio.uvicorn import WebSockets

    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(Server(HANDLERS), log_level="critical", ws=WebSockets)
    web = uvicorn.Server(config)
    serving = asyncio.create_task(web.serve([listener]))
    yield {"url": f"ws://127.0.0.1:{listener.getsockname()[1]}/"}
    web.should_exit = web.force_exit = True
    await serving


@asynccontextmanager
async def _client() -> AsyncIterator[dict[str, str]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        dials = f"ws://127.0.0.1:{free.getsockname()[1]}/"

    async def visit() -> None:
        while True:
            try:
                client = await dial(dials, HANDLERS, reconnect=Reconnect(probe=False))
                await client.wait_closed()
            except Exception:
                await asyncio.sleep(0.05)  # nobody listens yet

    visiting = asyncio.create_task(visit())
    async with listening(Server(HANDLERS), grace=0.2) as listener:
        yield {"url": listener.url(), "dials": dials}
    visiting.cancel()


TARGETS: Final[dict[str, Callable[[], AbstractAsyncContextManager[dict[str, str]]]]] = {
    "server": _server,
    "asgi": _asgi,
    "client": _client,
    "relay": relay,
}
"""The targets by their names."""


async def _run(name: str) -> None:
    async with TARGETS[name]() as told:
        sys.stdout.write(json.dumps({"ready": True, **told}) + "\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    logging.basicConfig(level=logging.CRITICAL)
    asyncio.run(_run(sys.argv[1]))
