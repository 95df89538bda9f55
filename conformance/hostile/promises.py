"""What a cluster promises, whatever happens to its broker, and clients who see whether it does.

The clients read the wire, since a library would hide what must not come. They have their nodes pass
on events and asks to others, and change their memberships; ``workload`` says when. What they see is
compared with what was said. This module does not know what the nodes are.

What one connection shows, in its order, decides over a promise, so that slowness breaks none:

* nothing reaches a stranger: who is not a member, is not meant, or is the sender of what is for
  the others;
* nothing arrives twice, and nothing before what its sender said earlier;
* an ask ends, by a reply of who was asked or by an error;
* what is said at a node reaches the members at that node, whatever the broker does;
* while nothing is wrong, what is said at a node reaches the members at every node.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from typing import Final
from urllib.parse import quote

from neffos_codec import Message, decode, encode
from neffos_conformance.wire.connection import ConnectionClosed, WireConnection

SPACES: Final = ("app", "side")
"""Every client is in the first namespace; who is in the second changes."""

ROOMS: Final = ("lobby", "a.b c*")
"""Rooms of the first namespace. Who is in them changes."""

SAID, QUESTION, SAY, ASK, ECHO = "said", "question", "say", "ask", "echo"
CONNECT, DISCONNECT = "_OnNamespaceConnect", "_OnNamespaceDisconnect"
JOIN, LEAVE = "_OnRoomJoin", "_OnRoomLeave"

ASK_SECONDS: Final = 1.0
"""The deadline of an ask of other clients: many deadlines pass while a broker is away."""

TIMEOUT: Final = 60.0
"""Seconds for what a node owes. A node that is paused, on a busy machine, takes a few."""

LARGE: Final = "x" * (200 << 10)
"""Makes a body large: a few fill what the system buffers on the way to a broker."""

ONE_IN: Final = 25
"""One number in so many is that of a large body: they take time."""

Scope = tuple[str, str]
"""A namespace and a room of it; the room is empty for the namespace as a whole."""

Told = tuple[str, "list[WatchedClient]"]
"""The body of what was said, and the clients at any node that are to get it."""


# -------------------------------------------------------------------- what was said, and to whom


@dataclass(frozen=True, slots=True)
class Said:
    """An event that a client had its node send to others."""

    sender: WatchedClient
    number: int
    scope: Scope
    to: str
    is_to_others: bool

    def is_for(self, client: WatchedClient, scopes: set[Scope]) -> bool:
        """Whether a client with these memberships gets it."""
        is_meant = not self.to or self.to == client.id
        return (
            is_meant and self.scope in scopes and not (self.is_to_others and client is self.sender)
        )


@dataclass(slots=True)
class Promises:
    """The clients of a cluster, what they said, and the promises that were broken.

    Attributes:
        broken: one line for each promise that was broken.
        clients: all that there were.
        said: the events that clients had their nodes send, by their bodies.
        timeout: see ``TIMEOUT``.
        lost: the nodes whose connections may end.
    """

    broken: list[str] = field(default_factory=list)
    clients: list[WatchedClient] = field(default_factory=list)
    said: dict[str, Said] = field(default_factory=dict)
    timeout: float = TIMEOUT
    lost: set[str] = field(default_factory=set)
    _ids: Iterator[int] = field(default_factory=count)

    def break_(self, promise: str) -> None:
        """Note that a promise was broken."""
        self.broken.append(promise)

    @property
    def present(self) -> list[WatchedClient]:
        """The clients that are connected."""
        return [each for each in self.clients if not each.is_lost]

    async def client(self, node: str, url: str) -> WatchedClient:
        """Connect a client to a node, in the first namespace.

        Raises:
            ConnectError: the node did not upgrade the connection.
            ConnectionError: it answered the handshake in another way.
            TimeoutError: it does not answer in time.
        """
        client = WatchedClient(self, f"{node}{next(self._ids)}.x", node)
        async with asyncio.timeout(self.timeout):
            await client.dial(url)
            await client.change(CONNECT, SPACES[0])
        self.clients.append(client)
        return client

    async def close(self) -> None:
        """End all connections."""
        for client in self.clients:
            await client.close()


class WatchedClient:
    """A client at a node, and all that it got.

    Attributes:
        id: its connection ID.
        node: the name of its node.
        got: the bodies that it got.
        owed: the bodies that its node said to have sent.
        scopes: where it is a member, as it was confirmed, and nothing else was asked since.
        changes: how many changes of its memberships it has asked for.
        is_lost: whether its connection has ended.
    """

    def __init__(self, promises: Promises, id_: str, node: str) -> None:
        self.id, self.node = id_, node
        self.got: set[str] = set()
        self.owed: set[str] = set()
        self.scopes: set[Scope] = set()
        self.changes = 0
        self.is_lost = False
        self._promises = promises
        self._possible: set[Scope] = set()  # where it may be a member
        self._last: dict[WatchedClient, int] = {}
        self._asked: set[str] = set()
        self._pending: dict[str, tuple[asyncio.Future[Message | None], Callable[[], None]]] = {}
        self._numbers = count(1)
        self._wire: WireConnection | None = None
        self._task: asyncio.Task[None] | None = None

    # ---------------------------------------------------------------- the connection

    async def dial(self, url: str) -> None:
        """Connect, and perform the handshake.

        Raises:
            ConnectError: the node did not upgrade the connection.
            ConnectionError: it answered the handshake in another way.
        """
        self._wire = await WireConnection.dial(f"{url}?id={quote(self.id)}")
        await self._wire.send("M")
        answer = await self._wire.receive()
        if answer != f"A{self.id}":
            raise ConnectionError(f"the handshake of {self.id} was answered with {answer!r}")
        self._task = asyncio.create_task(self._read(self._wire))

    async def close(self) -> None:
        """End the connection, whatever its node does."""
        self.is_lost = True
        if self._wire is not None:
            self._wire.abort()
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def _read(self, wire: WireConnection) -> None:
        while not isinstance(payload := await wire.receive(), ConnectionClosed):
            message = decode(payload)
            if message.wait in self._pending:
                future, settle = self._pending.pop(message.wait)
                settle()
                if not future.done():
                    future.set_result(message)
            elif message.event == QUESTION and message.wait:
                await self._answer(wire, message)
            else:
                self._take(message)
        if not self.is_lost and self.node not in self._promises.lost:
            self._break(f"its connection to a node that runs was {payload}")
        self.is_lost = True
        for future, _ in self._pending.values():
            if not future.done():
                future.set_result(None)

    async def _answer(self, wire: WireConnection, asked: Message) -> None:
        body = str(asked.body)
        to = body.rpartition(" ")[2]
        if (asked.namespace, asked.room) not in self._possible or to not in ("*", self.id):
            self._break(f"a stranger was asked {shown(body)}")
        if body in self._asked:
            self._break(f"it was asked {shown(body)} twice")
        self._asked.add(body)
        answer = f"{self.id} {body}"
        await wire.send(
            encode(Message(asked.wait, asked.namespace, asked.room, QUESTION, False, False, answer))
        )

    def _take(self, message: Message) -> None:
        body = str(message.body)
        said = self._promises.said.get(body)
        if said is None or message.event != SAID or message.wait or message.is_error:
            self._break(f"it got {encode(message)[:200]!r}, which nobody said to it")
            return
        scope = message.namespace, message.room
        if scope != said.scope or not said.is_for(self, self._possible):
            self._break(
                f"a stranger got {shown(body)} in {scope}, said in {said.scope} to {said.to!r}"
            )
        if body in self.got:
            self._break(f"it got {shown(body)} twice")
        elif said.number < self._last.get(said.sender, 0):
            self._break(f"it got {shown(body)} after {self._last[said.sender]} of the same sender")
        else:
            self._last[said.sender] = said.number
        self.got.add(body)

    def _break(self, promise: str) -> None:
        self._promises.break_(f"{self.id}: {promise}")

    # ---------------------------------------------------------------- what it does

    async def request(
        self, event: str, scope: Scope, body: str = "", settle: Callable[[], None] = lambda: None
    ) -> Message | None:
        """Ask the node, and return its reply; ``None`` if there will be none.

        Args:
            event: its name.
            scope: namespace and room.
            body: its body.
            settle: called when the reply arrives, before anything that arrives after it.
        """
        if self._wire is None or self.is_lost:
            return None
        token = f"${next(self._numbers)}"
        future: asyncio.Future[Message | None] = asyncio.get_running_loop().create_future()
        self._pending[token] = future, settle
        await self._wire.send(encode(Message(token, *scope, event, False, False, body)))
        try:
            async with asyncio.timeout(self._promises.timeout):
                return await future
        except TimeoutError:
            if not self.is_lost:
                self._break(f"its ask {event} {body} in {scope} did not end")
            return None

    async def change(self, event: str, namespace: str, room: str = "") -> None:
        """Connect or disconnect a namespace, or join or leave a room."""
        scope = namespace, room
        self.changes += 1
        if event in (CONNECT, JOIN):
            self._possible.add(scope)
            await self.request(event, scope, settle=lambda: self.scopes.add(scope))
        else:
            self.scopes.discard(scope)
            await self.request(event, scope, settle=lambda: self._possible.discard(scope))

    async def say(self, scope: Scope, to: str = "", *, is_to_others: bool = False) -> Told:
        """Have the node send an event, and note which of its members are owed it.

        Args:
            scope: namespace and room.
            to: the ID of the only connection, or empty.
            is_to_others: to all but this client.
        """
        number = next(self._numbers)
        body = f"{self.id}/{number}" + LARGE * (number % ONE_IN == 0)
        said = self._promises.said[body] = Said(self, number, scope, to, is_to_others)
        members = [
            (each, each.changes)
            for each in self._promises.present
            if said.is_for(each, each.scopes)
        ]
        order = {"body": body, "room": scope[1], "to": to, "others": is_to_others}
        reply = await self.request(SAY, (scope[0], ""), json.dumps(order))
        if reply is None:
            return body, []
        if reply.is_error:
            self._break(f"{shown(body)} could not be said: {reply.body!r}")
        owed = [each for each, changes in members if each.changes == changes]
        for each in owed:
            if each.node == self.node:
                each.owed.add(body)
        return body, owed

    async def ask(self, to: str = "", seconds: float = ASK_SECONDS) -> bool:
        """Ask all clients, or one, and return whether a reply came within some seconds."""
        body = f"{self.id}/{next(self._numbers)} {to or '*'}"
        order = {"body": body, "to": to, "seconds": seconds}
        reply = await self.request(ASK, (SPACES[0], ""), json.dumps(order))
        if reply is None or reply.is_error:
            return False
        replier, _, about = str(reply.body).partition(" ")
        if about != body or (to and replier != to):
            self._break(f"its ask {shown(body)} was answered with {reply.body!r}")
        return True

    async def settle(self) -> None:
        """Check that all arrived that is owed: what its node sent it is before the reply."""
        owed = set(self.owed)
        reply = await self.request(ECHO, (SPACES[0], ""))
        if reply is not None and (lost := owed - self.got):
            some = ", ".join(map(shown, sorted(lost)[:3]))
            self._break(f"it did not get {some}, which its own node sent")
        self.owed -= owed


def shown(body: str) -> str:
    """Give a body as a line has it: without what makes it large."""
    return repr(body.rstrip(LARGE[0]))
