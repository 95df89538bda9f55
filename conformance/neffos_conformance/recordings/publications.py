"""What servers publish, in the form in which one cluster can be compared with another.

Clusters on different brokers, with different prefixes or of different implementations publish the
same frames under other names. The wait field differs, too: it names the asker or a sender, and a
server may add what it likes there. So of it, only whether the frame is an ask is compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from neffos_codec import CodecError
from neffos_conformance.wire.payloads import payload_text
from neffos_conformance.wire.transcript import Published
from neffos_protocol.exchange import Channels, nats_subjects, read_published

_ASKS: Final = ".ask."
"""Comes before the token in the channel of a reply (SX-4)."""


@dataclass(frozen=True, slots=True)
class Publication:
    """A published frame.

    Attributes:
        place: ``namespace``, ``reply``, or ``token`` for a reply under the token alone; the ID of
            the connection that it is for, as in a subject, which several may share (DV-55); or else
            the channel.
        is_ask: it has a token with the exchange's marker.
        fields: its other fields by name, bytes that are not UTF-8 as surrogate escapes.
    """

    place: str
    is_ask: bool
    fields: Mapping[str, str]


@dataclass(slots=True)
class PublicationReader:
    """Reads what is published on one broker, in order.

    Args:
        channels: gives the names of channels by their prefix.
    """

    channels: Callable[[str], Channels]
    _tokens: set[str] = field(default_factory=set)

    def read(self, published: Published, ids: Mapping[str, str]) -> Publication | None:
        """Read what was published; ``None`` if it is not a frame.

        Args:
            published: the channel and the frame.
            ids: the known connection IDs, by those that the servers chose.
        """
        try:
            frame = read_published(published.payload)
        except CodecError:
            return None
        message = frame.message
        fields = {
            "namespace": message.namespace,
            "room": message.room,
            "event": message.event,
            "isError": str(message.is_error),
            "body": payload_text(message.body),
        }
        place = self._place(published.channel, message.namespace, ids)
        if frame.token:
            self._tokens.add(self.channels("neffos").plain(frame.token))
        return Publication(place, bool(frame.token), fields)

    def _place(self, channel: str, namespace: str, ids: Mapping[str, str]) -> str:
        if channel in self._tokens:
            return "token"
        if _ASKS in channel:
            return "reply"
        named = self.channels("neffos")
        if channel.endswith(f".{named.plain(namespace)}{named.end}"):
            return "namespace"
        for name, id_ in ids.items():
            if channel.endswith(f".{named.plain(name)}{named.end}"):
                return nats_subjects("neffos").plain(id_)
        return channel
