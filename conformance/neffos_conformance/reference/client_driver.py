"""The command ``driver``: the reference client as the system under test.

It reads operations and writes their results, as ``spec/docs/driver.md`` says. The tables of that
page are the tables here.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any, Final

import click

from neffos_asyncio import (
    ON_ANY_EVENT,
    ON_NAMESPACE_CONNECT,
    ON_NAMESPACE_CONNECTED,
    ON_NAMESPACE_DISCONNECT,
    ON_NATIVE_MESSAGE,
    ON_ROOM_JOIN,
    ON_ROOM_JOINED,
    ON_ROOM_LEFT,
    Client,
    Handlers,
    LostError,
    Namespace,
    NeffosError,
    PeerError,
    Reconnect,
    ReplyBody,
    ReplyError,
    dial,
    text_of,
)
from neffos_asyncio.limits import DEFAULT, Limits
from neffos_codec import EncodeError, Message, first_surrogate
from neffos_conformance.reference import identity
from neffos_conformance.wire.payloads import payload_bytes
from neffos_conformance.wire.standard_input import lines
from neffos_protocol import Cause, ChangeAsked, Changed, MisuseError

DRIVER_VERSION: Final = 1
"""The version of the driver protocol."""

TIMEOUT: Final = 10.0
"""Seconds for an operation without a ``timeout``."""

UNWANTED: Final = "unwanted"
"""The namespace, and the room, that the client's side of the conformance application refuses."""

REFUSAL: Final = "not wanted"
"""The text of these refusals."""

NAMESPACES: Final = ("app", "any", "semi;colon", UNWANTED, "")
"""What the client's side of the conformance application declares."""

RECONNECT: Final = Reconnect(first_delay=0.05, max_delay=0.5, tries=20)
"""How a lost connection is opened again: soon, because a test waits for it."""

Body = str | bytes
Values = dict[str, Any]


@click.command("driver")
def driver_command() -> None:
    """Drive the reference client.

    The driver reads operations from standard input, as JSON Lines. See the page "The driver
    protocol" of the specification.
    """
    asyncio.run(ReferenceDriver(sys.stdout.write).run())


class ReferenceDriver:
    """The reference client, controlled by the driver protocol.

    Args:
        write: gets each line that the driver writes, with its newline.
        limits: the client's.
    """

    def __init__(self, write: Callable[[str], object], *, limits: Limits = DEFAULT) -> None:
        self._write = write
        self._limits = limits
        self._clients: dict[int, Client] = {}
        self._count = 0
        self._work: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Perform the operations on standard input until it ends."""
        self._tell(ready=True, driver=DRIVER_VERSION, **identity())
        operations = lines()
        while (line := await operations.get()) is not None:
            self.take(line)
        self.end()

    def end(self) -> None:
        """Cancel the operations, and reset the connections."""
        for task in self._work:
            task.cancel()
        for client in self._clients.values():
            client.connection.link.abort()

    def take(self, line: bytes) -> None:
        """Start the operation of one line."""
        number: int | None = None
        try:
            operation = json.loads(line)
            if type(operation["id"]) is not int:
                raise TypeError("id is a whole number")
            number = operation["id"]
            name = operation["op"]
            if not isinstance(name, str):
                raise TypeError("op is a text")
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            self._tell(id=number, error=f"not an operation: {error!r}")
            return
        task = asyncio.create_task(self._answer(number, name, operation))
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    async def _answer(self, number: int, name: str, operation: Values) -> None:
        operate = OPERATIONS.get(name)
        if operate is None:
            self._tell(id=number, unsupported=True)
            return
        try:
            async with asyncio.timeout(operation.get("timeout", TIMEOUT)):
                result = await operate(self, operation)
        except TimeoutError:
            self._tell(id=number, error="the time for the operation ran out")
        except KeyError as error:
            self._tell(id=number, error=f"the operation has no {error}")
        except (NeffosError, MisuseError, EncodeError, TypeError, ValueError) as error:
            self._tell(id=number, error=str(error))
        except Exception as error:  # every operation needs an answer
            self._tell(id=number, error=repr(error))
        else:
            self._tell(id=number, result=result or {})

    def _tell(self, **values: Any) -> None:
        self._write(json.dumps(values, ensure_ascii=True) + "\n")
        sys.stdout.flush()

    # ------------------------------------------------------------ operations

    async def dial(self, operation: Values) -> Values:
        """Open a connection."""
        self._count += 1
        number = self._count
        client = await dial(
            operation["url"],
            self._application(number),
            headers=operation.get("headers"),
            timeout=operation.get("timeout", TIMEOUT),
            reconnect=RECONNECT if operation.get("reconnect") else None,
            limits=self._limits,
            on_reconnect=lambda client: self._tell(
                saw="reconnected", connection=number, connection_id=client.id
            ),
            on_close=lambda _, __: self._tell(saw="closed", connection=number),
        )
        self._clients[number] = client
        return {"connection": number, "connection_id": client.id}

    async def connect(self, operation: Values) -> None:
        """Connect a namespace."""
        await self._client(operation).connect(operation["namespace"], timeout=None)

    async def change(self, operation: Values) -> None:
        """Disconnect a namespace, join or leave a room, or leave every room of a namespace."""
        name = operation["op"]
        rooms = [operation["room"]] if name in ("join", "leave") else []
        command = getattr(self._namespace(operation), name.replace("-", "_"))
        await command(*rooms, timeout=None)

    async def emit(self, operation: Values) -> None:
        """Send an event."""
        room = operation.get("room", "")
        self._namespace(operation).emit(operation["event"], _body(operation), room=room)

    async def ask(self, operation: Values) -> Values:
        """Send an event, and return the reply's body."""
        reply = await self._namespace(operation).ask(
            operation["event"], _body(operation), room=operation.get("room", ""), timeout=None
        )
        return _values(reply.body)

    async def native(self, operation: Values) -> None:
        """Send a native message."""
        self._client(operation).send_native(_body(operation))

    async def close(self, operation: Values) -> None:
        """Close a connection."""
        await self._client(operation).close()

    def _client(self, operation: Values) -> Client:
        number = operation["connection"]
        if number not in self._clients:
            raise ValueError(f"there is no connection {number}")
        return self._clients[number]

    def _namespace(self, operation: Values) -> Namespace:
        return self._client(operation).connection.namespace(operation["namespace"])

    # ------------------------------------------------------------ the application

    def _application(self, number: int) -> Handlers:
        """Return the client's side of the conformance application, which reports events."""

        def see(namespace: Namespace, message: Message) -> None:
            values = {"error": True} if message.is_error else {}
            self._tell(
                saw="event",
                connection=number,
                namespace=namespace.name,
                room=message.room,
                event=message.event,
                **_values(message.body),
                **values,
            )

        def echo(namespace: Namespace, message: Message) -> ReplyBody:
            see(namespace, message)
            return "" if message.is_error else message.body

        def fail(namespace: Namespace, message: Message) -> ReplyBody:
            see(namespace, message)
            raise ReplyError(text_of(message.body))

        async def relay(namespace: Namespace, message: Message) -> ReplyBody:
            see(namespace, message)
            try:
                return (await namespace.ask("echo", message.body)).body
            except PeerError as error:
                raise ReplyError(str(error)) from error
            except (LostError, MisuseError):  # so is the connection of the ask (NS-18)
                return None

        def native(_: Namespace, message: Message) -> None:
            self._tell(saw="native", connection=number, **_values(message.body))

        def space(word: str, namespace: Namespace, _: Changed | ChangeAsked) -> None:
            self._tell(saw=word, connection=number, namespace=namespace.name)

        def room(word: str, namespace: Namespace, event: Changed) -> None:
            if event.cause is not Cause.FORCED:  # the namespace's own observation is enough
                self._tell(saw=word, connection=number, namespace=namespace.name, room=event.room)

        def unwanted(_: Namespace, __: ChangeAsked) -> ReplyBody:
            raise ReplyError(REFUSAL)

        def unwanted_room(_: Namespace, asked: ChangeAsked) -> ReplyBody:
            if asked.room == UNWANTED:
                raise ReplyError(REFUSAL)
            return None

        events = {
            "echo": echo,
            "question": echo,
            "fail": fail,
            "relay": relay,
            ON_ANY_EVENT: see,
            ON_NAMESPACE_CONNECTED: partial(space, "connected"),
            ON_NAMESPACE_DISCONNECT: partial(space, "disconnected"),
            ON_ROOM_JOIN: unwanted_room,
            ON_ROOM_JOINED: partial(room, "joined"),
            ON_ROOM_LEFT: partial(room, "left"),
        }
        handlers: dict[str, Mapping[str, Any]] = dict.fromkeys(NAMESPACES, events)
        handlers[UNWANTED] = {**events, ON_NAMESPACE_CONNECT: unwanted}
        handlers[""] = {**events, ON_NATIVE_MESSAGE: native}
        return handlers


OPERATIONS: Final[dict[str, Callable[[ReferenceDriver, Values], Awaitable[Values | None]]]] = {
    "dial": ReferenceDriver.dial,
    "connect": ReferenceDriver.connect,
    "disconnect": ReferenceDriver.change,
    "join": ReferenceDriver.change,
    "leave": ReferenceDriver.change,
    "leave-all": ReferenceDriver.change,
    "emit": ReferenceDriver.emit,
    "ask": ReferenceDriver.ask,
    "native": ReferenceDriver.native,
    "close": ReferenceDriver.close,
}
"""The operations by their names."""


def _body(operation: Values) -> Body:
    if "base64" not in operation:
        return str(operation["text"])
    try:
        return base64.b64decode(operation["base64"], validate=True)
    except binascii.Error as error:
        raise ValueError(f"not base64: {error}") from error


def _values(body: Body) -> Values:
    """Return a body as the driver protocol has it; text that is not UTF-8 as its bytes."""
    if isinstance(body, str) and first_surrogate(body) < 0:
        return {"text": body}
    return {"base64": base64.b64encode(payload_bytes(body)).decode()}
