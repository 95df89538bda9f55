"""What an application answers to: namespaces, their events, and a handler for each.

A handler is called with the namespace that it serves and the message that came. It replies with
what it returns (``str`` or ``bytes``; ``None`` sends nothing), and with an error where it raises
``ReplyError``. It may be a coroutine; the handlers of one connection run one after the other.

The handlers of what happens to a namespace or a room are called with the protocol's own event:
``ChangeAsked`` where the peer asks and the handler may raise ``ReplyError`` to refuse, ``Changed``
where it has happened. Their names are below.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from neffos_codec import Native
from neffos_protocol.events import Change
from neffos_protocol.names import NATIVE_EVENT, REQUEST_EVENT
from neffos_protocol.registry import constant

if TYPE_CHECKING:
    from neffos_asyncio.connection import Namespace


def _name(entry: str) -> str:
    return str(constant(entry).value)


ON_NAMESPACE_CONNECT: Final = REQUEST_EVENT[Change.CONNECT]
"""The peer asks to connect the namespace; may refuse."""
ON_NAMESPACE_CONNECTED: Final = _name("event.namespace-connected")
"""The namespace is connected."""
ON_NAMESPACE_DISCONNECT: Final = REQUEST_EVENT[Change.DISCONNECT]
"""The namespace is being disconnected. A server's handler may refuse where it is called with
``ChangeAsked``; it is called with ``Changed`` where there is nothing left to refuse."""
ON_ROOM_JOIN: Final = REQUEST_EVENT[Change.JOIN]
"""The peer asks to join the room; may refuse."""
ON_ROOM_JOINED: Final = _name("event.room-joined")
"""The room is joined."""
ON_ROOM_LEAVE: Final = REQUEST_EVENT[Change.LEAVE]
"""The peer asks to leave the room; a server may refuse."""
ON_ROOM_LEFT: Final = _name("event.room-left")
"""The room is left, whoever wanted that."""
ON_ANY_EVENT: Final = _name("event.any")
"""Takes each event that has no handler of its own in the namespace."""
ON_NATIVE_MESSAGE: Final = NATIVE_EVENT
"""In the empty namespace: takes messages that are no frames. Alone in the only namespace it
makes the endpoint native-only."""

SYSTEM_EVENTS: Final = (
    ON_NAMESPACE_CONNECT,
    ON_NAMESPACE_CONNECTED,
    ON_NAMESPACE_DISCONNECT,
    ON_ROOM_JOIN,
    ON_ROOM_JOINED,
    ON_ROOM_LEAVE,
    ON_ROOM_LEFT,
    ON_ANY_EVENT,
    ON_NATIVE_MESSAGE,
)
"""All of them."""

Answer = str | bytes | None
"""What a handler replies with."""

Handler = Callable[["Namespace", Any], Answer | Awaitable[Answer]]
"""What deals with an event."""

Handlers = Mapping[str, Mapping[str, Handler]]
"""Handlers by namespace and event."""

Builder = Callable[["Namespace"], Awaitable[None]]
"""Makes what a namespace needs on one connection, before its first handler is called."""


@dataclass(slots=True)
class Application:
    """Handlers joined together, as a server or a client runs them.

    Attributes:
        events: the handlers, by namespace and event.
        builders: what is made for a namespace of each connection, by namespace.
    """

    events: dict[str, dict[str, Handler]] = field(default_factory=dict)
    builders: dict[str, list[Builder]] = field(default_factory=dict)

    @property
    def native(self) -> Native:
        """What becomes of messages that are no frames."""
        empty = self.events.get("", {})
        if ON_NATIVE_MESSAGE not in empty:
            return Native.NEVER
        is_alone = len(self.events) == 1 and len(empty) == 1
        return Native.ONLY if is_alone else Native.FALLBACK

    def add(self, handlers: Handlers) -> None:
        """Join further handlers to these.

        Raises:
            ValueError: an event of a namespace has a handler already, or a name is no text.
        """
        for namespace, events in handlers.items():
            own = self.events.setdefault(namespace, {})
            for event, handler in events.items():
                if event in own:
                    raise ValueError(
                        f"event {event!r} of namespace {namespace!r} has two handlers; "
                        "a server joins handlers, it does not choose between them"
                    )
                if not callable(handler):
                    raise TypeError(
                        f"the handler of event {event!r} of namespace {namespace!r} is "
                        f"{handler!r}, which cannot be called"
                    )
                own[event] = handler

    def handler(self, namespace: str, event: str) -> Handler | None:
        """Give the handler of an event that the peer sent."""
        events = self.events.get(namespace)
        if events is None:
            return None
        return events.get(event) or events.get(ON_ANY_EVENT)

    def notice(self, namespace: str, event: str) -> Handler | None:
        """Give the handler of something that happened to a namespace or a room."""
        events = self.events.get(namespace)
        return events.get(event) if events else None


def blocking(handler: Callable[[Any, Any], Answer]) -> Handler:
    """Make a handler of a function that takes its time without giving way, in a thread.

    The function may use what it is given, but only its return value and ``ReplyError`` may go
    back: a connection is no thread's but its event loop's.
    """

    @functools.wraps(handler)
    async def wait(namespace: Namespace, message: Any) -> Answer:
        return await asyncio.to_thread(handler, namespace, message)

    return wait
