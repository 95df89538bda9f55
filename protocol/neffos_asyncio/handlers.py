"""What an application handles: namespaces, their events, and a handler for each.

A handler is called with the namespace and the received message. Its return value is the reply:
``str`` or ``bytes``; ``None`` sends nothing. If it raises ``ReplyError``, an error reply is sent.
It may be a coroutine. The handlers of one connection run one after the other.

The handlers of changes to a namespace or a room are called with the session's own event. That is
``ChangeAsked`` if the peer asks and the handler may raise ``ReplyError`` to refuse, and ``Changed``
if it has happened. Their names are below.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from neffos_asyncio.connection import Namespace
from neffos_codec import Native
from neffos_protocol.events import Change
from neffos_protocol.names import NATIVE_EVENT, REQUEST_EVENT
from neffos_protocol.registry import constant


def _name(entry: str) -> str:
    return str(constant(entry).value)


ON_NAMESPACE_CONNECT: Final = REQUEST_EVENT[Change.CONNECT]
"""The peer asks to connect the namespace; the handler may refuse."""
ON_NAMESPACE_CONNECTED: Final = _name("event.namespace-connected")
"""The namespace is connected."""
ON_NAMESPACE_DISCONNECT: Final = REQUEST_EVENT[Change.DISCONNECT]
"""The namespace is being disconnected. A server's handler may refuse if it is called with
``ChangeAsked``. It is called with ``Changed`` if there is nothing left to refuse."""
ON_ROOM_JOIN: Final = REQUEST_EVENT[Change.JOIN]
"""The peer asks to join the room; the handler may refuse."""
ON_ROOM_JOINED: Final = _name("event.room-joined")
"""The room is joined."""
ON_ROOM_LEAVE: Final = REQUEST_EVENT[Change.LEAVE]
"""The peer asks to leave the room; a server may refuse."""
ON_ROOM_LEFT: Final = _name("event.room-left")
"""The room is left, by either peer."""
ON_ANY_EVENT: Final = _name("event.any")
"""Handles each event that has no handler of its own in the namespace."""
ON_NATIVE_MESSAGE: Final = NATIVE_EVENT
"""In the empty namespace: handles payloads that are not frames. If it is the only handler of the
only namespace, the endpoint is native-only."""

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

ReplyBody = str | bytes | None
"""What a handler returns."""

Handler = Callable[[Namespace, Any], ReplyBody | Awaitable[ReplyBody]]
"""Handles an event."""

Handlers = Mapping[str, Mapping[str, Handler]]
"""Handlers by namespace and event."""

Builder = Callable[[Namespace], Awaitable[None]]
"""Makes a controller of a namespace on one connection, before its first handler is called."""


@dataclass(slots=True)
class Application:
    """The joined handlers of a server or a client.

    Attributes:
        events: the handlers, by namespace and event.
        builders: what makes controllers, by namespace.
    """

    events: dict[str, dict[str, Handler]] = field(default_factory=dict)
    builders: dict[str, list[Builder]] = field(default_factory=dict)

    @property
    def native(self) -> Native:
        """How payloads that are not frames are handled."""
        empty = self.events.get("", {})
        if ON_NATIVE_MESSAGE not in empty:
            return Native.NEVER
        is_alone = len(self.events) == 1 and len(empty) == 1
        return Native.ONLY if is_alone else Native.FALLBACK

    def add(self, handlers: Handlers) -> None:
        """Join more handlers to these.

        Raises:
            ValueError: an event of a namespace has a handler already.
            TypeError: a handler cannot be called.
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
        """Return the handler of an event that the peer sent."""
        events = self.events.get(namespace)
        if events is None:
            return None
        return events.get(event) or events.get(ON_ANY_EVENT)

    def system_handler(self, namespace: str, event: str) -> Handler | None:
        """Return the handler of a system event, a local event or a native message."""
        events = self.events.get(namespace)
        return events.get(event) if events else None


def blocking(handler: Callable[[Any, Any], ReplyBody]) -> Handler:
    """Make a handler of a function that blocks; it runs in a thread.

    The function may read its arguments. Only its return value and ``ReplyError`` may go back: a
    connection belongs to its event loop, and not to a thread.
    """

    @functools.wraps(handler)
    async def wait(namespace: Namespace, message: Any) -> ReplyBody:
        return await asyncio.to_thread(handler, namespace, message)

    return wait
