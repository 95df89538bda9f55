"""A full conversation between a client and a server, step by step.

The client is any driver, the server any that runs the conformance application. Each step says
what it is about, and fails alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from neffos_conformance.runner.driver_protocol import (
    DriverError,
    DriverProcess,
    OperationError,
    UnsupportedError,
    body_of,
    fields_of,
)

AT_ONCE: Final = 50
"""Asks that are open at the same time: enough to see one answered with another's reply."""

ROOM: Final = "lobby"

SEE_DEADLINE: Final = 5.0
"""Seconds for something to be seen that follows at once on this machine."""


class StepError(Exception):
    """The step did not go as it should."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a step.

    Attributes:
        step: its name.
        failure: what went wrong; empty where nothing did.
        is_unsupported: the driver says that its client cannot do this.
    """

    step: str
    failure: str = ""
    is_unsupported: bool = False


class Talk:
    """Two connections of one client to a server, and what the steps do with them."""

    def __init__(self, driver: DriverProcess, url: str) -> None:
        self.driver = driver
        self.url = url
        self.first = 0
        self.second = 0

    async def ask(self, event: str, body: str | bytes, **fields: Any) -> str | bytes:
        """Ask on the first connection, in ``app`` where nothing else is said."""
        where = {"connection": self.first, "namespace": "app", **fields}
        return body_of(await self.driver.do("ask", event=event, **where, **fields_of(body)))

    async def do(self, op: str, **fields: Any) -> None:
        """Do something on the first connection, in ``app`` where nothing else is said."""
        await self.driver.do(op, **{"connection": self.first, "namespace": "app", **fields})

    async def emit(self, event: str, body: str | bytes) -> None:
        """Emit on the first connection, in ``app``."""
        await self.do("emit", event=event, **fields_of(body))

    async def saw(self, **fields: Any) -> dict[str, Any]:
        """Wait until the first connection saw this."""
        return await self.driver.saw(SEE_DEADLINE, connection=self.first, **fields)

    def forget(self) -> None:
        """Take what was seen so far for no answer to what is to come."""
        self.driver.seen.clear()

    async def tell_room(self, text: str) -> None:
        """Broadcast to the room from the second connection."""
        await self.ask("broadcast-room", text, connection=self.second, room=ROOM)

    async def refused(self, op: str, because: str, **fields: Any) -> None:
        """See that something is refused with that text."""
        try:
            await self.do(op, **fields)
        except OperationError as error:
            if because not in str(error):
                raise StepError(f"refused with {str(error)!r}, expected {because!r}") from error
        else:
            raise StepError(f"{op} was done, and should have been refused with {because!r}")

    async def unseen_before(self, text: str, **fields: Any) -> None:
        """See that nothing like this was seen before a broadcast that is made now."""
        await self.ask("broadcast-others", text, connection=self.second)
        await self.saw(saw="event", event="news", text=text)
        seen = [
            line
            for line in self.driver.seen
            if {"connection": self.first, **fields}.items() <= line.items()
        ]
        if seen:
            raise StepError(f"it saw {seen}")


Step = Callable[[Talk], Awaitable[None]]


def _same(seen: object, expected: object) -> None:
    if seen != expected:
        raise StepError(f"{seen!r} came, expected {expected!r}")


async def dial_and_connect(talk: Talk) -> None:
    """Dial twice, and connect on both."""
    dialled = [await talk.driver.do("dial", url=talk.url) for _ in range(2)]
    talk.first, talk.second = (each["connection"] for each in dialled)
    ids = {each.get("connection_id", "") for each in dialled}
    if len(ids) != 2 or "" in ids:  # two connections
        raise StepError(f"the ids are {ids}")
    await talk.do("connect")
    await talk.do("connect", connection=talk.second)


async def text(talk: Talk) -> None:
    """Ask with a text."""
    _same(await talk.ask("echo", "hi; there — 漢字 😀"), "hi; there — 漢字 😀")


async def empty(talk: Talk) -> None:
    """Ask with an empty body."""
    _same(await talk.ask("echo", ""), "")


async def binary(talk: Talk) -> None:
    """Ask with octets."""
    _same(await talk.ask("echo", b"\x00;\xff\x80"), b"\x00;\xff\x80")


async def error(talk: Talk) -> None:
    """Get an error for an ask."""
    await talk.refused("ask", "no way", event="fail", text="no way")


async def binary_error(talk: Talk) -> None:
    """Get an error for a binary ask."""
    await talk.refused("ask", "no way", event="fail", **fields_of(b"no way"))


async def asked_by_server(talk: Talk) -> None:
    """Answer an ask of the server."""
    await talk.emit("ask-me", "what?")
    await talk.saw(saw="event", event="question", text="what?")
    await talk.saw(saw="event", event="answer", text="what?")


async def asked_by_server_in_binary(talk: Talk) -> None:
    """Answer a binary ask of the server."""
    octets = fields_of(b"\x01\xff")
    await talk.emit("ask-me", b"\x01\xff")
    await talk.saw(saw="event", event="question", **octets)
    await talk.saw(saw="event", event="answer", **octets)


async def many_asks(talk: Talk) -> None:
    """Ask many times at once, and get each its own reply."""
    bodies = [f"number {number}" for number in range(AT_ONCE)]
    _same(await asyncio.gather(*(talk.ask("echo", body) for body in bodies)), bodies)


async def rooms(talk: Talk) -> None:
    """Join a room, hear what is said in it, leave it, and hear no more."""
    await talk.do("join", room=ROOM)
    await talk.do("join", room=ROOM, connection=talk.second)
    await talk.tell_room("in the room")
    await talk.saw(saw="event", event="news", room=ROOM, text="in the room")
    await talk.do("leave", room=ROOM)
    await talk.tell_room("behind its back")
    await talk.unseen_before("to all", event="news", room=ROOM)
    await talk.do("leave", room=ROOM, connection=talk.second)


async def refused_join(talk: Talk) -> None:
    """Be refused a room."""
    await talk.refused("join", "room is locked", room="locked")


async def joined_by_server(talk: Talk) -> None:
    """Be made to join and to leave a room by the server."""
    talk.forget()
    await talk.emit("join-me", ROOM)
    await talk.saw(saw="joined", namespace="app", room=ROOM)
    await talk.emit("leave-me", ROOM)
    await talk.saw(saw="left", namespace="app", room=ROOM)


async def leave_all(talk: Talk) -> None:
    """Leave all rooms, and hear no more of any."""
    await talk.do("join", room=ROOM)
    await talk.do("join", room="another")
    await talk.do("join", room=ROOM, connection=talk.second)
    await talk.do("leave-all")
    await talk.tell_room("behind its back")
    await talk.unseen_before("to all again", event="news", room=ROOM)
    await talk.do("leave", room=ROOM, connection=talk.second)


async def pushed(talk: Talk) -> None:
    """See an event that the server sends before its reply."""
    _same(await talk.ask("push", "hello"), "done")
    await talk.saw(saw="event", event="hello", text="pushed")


async def escaped(talk: Talk) -> None:
    """Use names with semicolons."""
    await talk.do("connect", namespace="semi;colon")
    _same(await talk.ask("ec;ho", "x", namespace="semi;colon"), "x")
    await talk.do("disconnect", namespace="semi;colon")


async def any_event(talk: Talk) -> None:
    """Ask an event that nobody named before."""
    await talk.do("connect", namespace="any")
    _same(await talk.ask("whatever", "x", namespace="any"), "whatever")
    await talk.do("disconnect", namespace="any")


async def connected_by_server(talk: Talk) -> None:
    """Be made to connect a namespace by the server."""
    talk.forget()
    await talk.emit("connect-me", "any")
    await talk.saw(saw="connected", namespace="any")
    _same(await talk.ask("again", "x", namespace="any"), "again")


async def disconnected_by_server(talk: Talk) -> None:
    """Be disconnected from a namespace by the server, and connect it again."""
    talk.forget()
    await talk.emit("disconnect-me", "")
    await talk.saw(saw="disconnected", namespace="app")
    await talk.do("connect")
    _same(await talk.ask("echo", "back"), "back")


async def disconnect(talk: Talk) -> None:
    """Disconnect, and be unable to ask."""
    await talk.do("disconnect")
    try:
        await talk.ask("echo", "x", timeout=1)
    except OperationError:
        return
    raise StepError("an ask in a namespace that is not connected was answered")


async def refused_handshake(talk: Talk) -> None:
    """Be refused by the server's application."""
    try:
        await talk.driver.do("dial", url=talk.url, headers={"X-Conformance-Refuse": "not today"})
    except OperationError as refusal:
        if "not today" not in str(refusal):
            raise StepError(f"refused with {str(refusal)!r}") from refusal
    else:
        raise StepError("it was let in")


async def close(talk: Talk) -> None:
    """End both connections."""
    for connection in (talk.first, talk.second):
        await talk.driver.do("close", connection=connection)


STEPS: Final[tuple[Step, ...]] = (
    dial_and_connect,
    text,
    empty,
    binary,
    error,
    binary_error,
    asked_by_server,
    asked_by_server_in_binary,
    many_asks,
    rooms,
    refused_join,
    joined_by_server,
    pushed,
    escaped,
    any_event,
    connected_by_server,
    disconnected_by_server,
    leave_all,
    disconnect,
    refused_handshake,
    close,
)
"""All of them, in their order."""


async def converse(
    driver: DriverProcess, url: str, steps: tuple[Step, ...] | None = None
) -> list[Outcome]:
    """Hold the conversation, or some steps of it, and give what came of each step."""
    talk = Talk(driver, url)
    outcomes = []
    for step in STEPS if steps is None else (STEPS[0], *steps, STEPS[-1]):
        try:
            await step(talk)
            outcomes.append(Outcome(step.__name__))
        except UnsupportedError:
            outcomes.append(Outcome(step.__name__, is_unsupported=True))
        except (StepError, OperationError, DriverError) as failure:
            outcomes.append(Outcome(step.__name__, str(failure) or repr(failure)))
    return outcomes
