"""What connects servers: an exchange, and the one in memory.

An exchange is what servers have in common, such as the address of a broker. Each server attaches to
it once, whatever the number of its clients. What is published, and who gets it, is ``cluster``'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from neffos_protocol.exchange import Channels, redis_channels

PREFIX: Final = "neffos"
"""What channels begin with, if the application does not say: the prefix of neffos on NATS."""

Deliver = Callable[[str, bytes], None]
"""Takes a channel and what was published on it."""


class Attachment(Protocol):
    """What one server uses of an exchange. Nothing here blocks but ``close``."""

    def subscribe(self, channel: str) -> None:
        """Ask for what is published on a channel from now on. It is not subscribed yet."""

    def unsubscribe(self, channel: str) -> None:
        """Ask for it no longer."""

    def confirmed(self, channel: str) -> asyncio.Future[None] | None:
        """Return what waits until a subscription is in place; ``None`` if nothing is to wait for.

        The wait also ends when it takes too long, or if the broker cannot be reached.
        """

    def publish(self, channel: str, payload: bytes) -> None:
        """Publish, after what was published before. If that is not possible, it is lost."""

    async def close(self) -> None:
        """Send what is to be sent, and end."""


class Exchange(Protocol):
    """What servers have in common; it may serve several in one process.

    Attributes:
        channels: the names under which they publish.
    """

    @property
    def channels(self) -> Channels:
        """The names under which the servers publish."""

    def attach(self, deliver: Deliver) -> Attachment:
        """Attach a server, whose event loop runs. It does not get what it publishes itself."""


class MemoryExchange:
    """An exchange of servers in one process and one event loop: for tests and examples.

    Args:
        prefix: what channels begin with.
    """

    def __init__(self, prefix: str = PREFIX) -> None:
        self.channels: Final = redis_channels(prefix)
        self._subscribers: dict[str, dict[_MemoryAttachment, None]] = {}

    def attach(self, deliver: Deliver) -> Attachment:
        """Attach a server."""
        return _MemoryAttachment(self._subscribers, deliver)


class _MemoryAttachment:
    """A server's part of an exchange in memory. What is published arrives in a later callback."""

    def __init__(
        self, subscribers: dict[str, dict[_MemoryAttachment, None]], deliver: Deliver
    ) -> None:
        self._subscribers = subscribers
        self._deliver = deliver
        self._loop = asyncio.get_running_loop()

    def subscribe(self, channel: str) -> None:
        self._subscribers.setdefault(channel, {})[self] = None

    def unsubscribe(self, channel: str) -> None:
        subscribers = self._subscribers.get(channel, {})
        subscribers.pop(self, None)
        if not subscribers:
            self._subscribers.pop(channel, None)

    def confirmed(self, _: str) -> None:
        return None

    def publish(self, channel: str, payload: bytes) -> None:
        for each in self._subscribers.get(channel, {}):
            if each is not self:
                self._loop.call_soon(each._deliver, channel, payload)

    async def close(self) -> None:
        for channel in [name for name, own in self._subscribers.items() if self in own]:
            self.unsubscribe(channel)
