"""A chat: a page and three rooms, with their members and their last lines.

Run it, then open the URL that it prints. ``client.py`` is a client for the terminal. Several
servers are one chat if they have the same ``--exchange``: what is said at one is heard at all. The
last lines and the names of a room are those of one server.
"""

from __future__ import annotations

import argparse
import json
import secrets
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse
from starlette.routing import Route, WebSocketRoute

from neffos_asyncio import (
    Namespace,
    ReplyError,
    Server,
    UpgradeRequest,
    exchange_at,
    text_of,
)
from neffos_asyncio.exchange import Exchange
from neffos_asyncio.uvicorn import WebSockets
from neffos_codec import Message
from neffos_protocol import ChangeAsked, Changed

PAGE: Final = Path(__file__).with_name("page.html")
ROOMS: Final = ("lobby", "kitchen", "attic")
KEPT: Final = 50
"""Lines of each room that a new member gets: a few screens."""
LONGEST_NAME: Final = 20
LONGEST_LINE: Final = 500
LARGEST_MESSAGE: Final = 16 << 10
"""Bytes. The longest line has 2,000; a larger message is not read."""


class History:
    """The last lines of each room. The server makes one instance for all connections."""

    def __init__(self) -> None:
        self.lines = {room: deque[str](maxlen=KEPT) for room in ROOMS}


class Chat:
    """The namespace ``chat`` of one connection; its public methods are the events."""

    namespace = "chat"

    def __init__(self, here: Namespace, server: Server, history: History) -> None:
        self._here = here
        self._server = server
        self._history = history

    def rooms(self) -> str:
        """Return the rooms."""
        return json.dumps(ROOMS)

    def say(self, message: Message) -> str:
        """Send a line to all members of the room, its author included."""
        text = text_of(message.body).strip()
        if not message.room:
            raise ReplyError("join a room first")
        if not 0 < len(text) <= LONGEST_LINE:
            raise ReplyError(f"a line has 1 to {LONGEST_LINE} characters")
        line = json.dumps({"by": self._here.connection.id, "text": text})
        self._history.lines[message.room].append(line)
        self._server.broadcast(self.namespace, "said", line, room=message.room)
        return "said"

    def on_room_join(self, asked: ChangeAsked) -> None:
        """Refuse unknown rooms; without this handler, every room could be joined."""
        if asked.room not in ROOMS:
            raise ReplyError("there is no such room")

    def on_room_joined(self, changed: Changed) -> None:
        """Send the last lines to the new member, and the names to all."""
        for line in self._history.lines[changed.room]:
            self._here.emit("said", line, room=changed.room)
        self._send_names(changed.room)

    def on_room_left(self, changed: Changed) -> None:
        """Send the names to the other members. A lost connection leaves its rooms as well."""
        self._send_names(changed.room)

    def _send_names(self, room: str) -> None:
        """Send the names at this server to those at this server: nobody here knows the others."""
        members = self._server.members(self.namespace, room)
        names = json.dumps(sorted(each.id for each in members))
        for each in members:
            each.namespace(self.namespace).emit("who", names, room=room)


def name_of(request: UpgradeRequest) -> str:
    """Return the name in the URL, ``?name=``.

    It is the connection's ID. So no two people have the same name: the server refuses an ID that
    is in use.
    """
    name = request.parameter("name").strip()[:LONGEST_NAME]
    return name if name.isprintable() and name else f"guest-{secrets.token_hex(2)}"


async def page(_: Request) -> FileResponse:
    """Return the page."""
    return FileResponse(PAGE)


def application(exchange: Exchange | None = None) -> Starlette:
    """Return the page and the chat."""
    chat = Server(Chat, dependencies=[History], id_generator=name_of, exchange=exchange)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        yield
        await chat.shutdown()  # it also leaves the exchange

    routes = [
        Route("/", page),
        Route("/chat", chat),  # answers the HEAD request of a reconnecting client
        WebSocketRoute("/chat", chat),
    ]
    return Starlette(routes=routes, lifespan=lifespan)


def main() -> None:
    """Serve until interrupted."""
    parser = argparse.ArgumentParser(description="A chat on neffos.")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on")
    parser.add_argument("--port", type=int, default=8000, help="the port; 0 takes a free one")
    parser.add_argument("--exchange", help="the URL of the Redis or NATS that servers share")
    options = parser.parse_args()
    exchange = exchange_at(options.exchange) if options.exchange else None
    where = {"host": options.host, "port": options.port}
    uvicorn.run(application(exchange), ws=WebSockets, ws_max_size=LARGEST_MESSAGE, **where)


if __name__ == "__main__":
    main()
