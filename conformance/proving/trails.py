"""Writes the trail of a model as a recording, which ``neffos-wire show`` draws.

A message stands where its sender sends it, as between the two peers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from neffos_codec import (
    Handshake,
    HandshakeAccept,
    HandshakeRefuse,
    HandshakeRequest,
    Message,
    encode,
    encode_handshake,
)
from neffos_conformance import VERSION
from neffos_conformance.wire.connection import ConnectionClosed
from neffos_conformance.wire.transcript import Content, Entry, Header, header
from neffos_protocol.events import MembershipKey
from neffos_protocol.names import CLIENT_PREFIX, REQUEST_EVENT
from proving.faults import PROPERTIES, TableFault
from proving.promela import Size

SENDS: Final = "@"
"""What begins the line of a trail for a message that an end sends."""

NAMESPACES: Final = ("app", "any")
ROOMS: Final = ("lobby", "kitchen")
"""The names of the namespaces of a model, and of the rooms in each."""

_M, _A, _H, _ASK_CONNECT, _ASK_DISCONNECT, _ASK_EVENT, _DONE, _ERROR, _EVENT, _CLOSED = range(1, 11)
_BEFORE_OPEN: Final[dict[int, Handshake]] = {
    _M: HandshakeRequest(),
    _A: HandshakeAccept("1"),
    _H: HandshakeRefuse("no"),
}
_NORMAL: Final = 1000
"""The close code of an end that is meant (RFC 6455, 7.4.1)."""


def key_of(size: Size, key: int) -> MembershipKey:
    """Give the namespace or room of a key of a model."""
    if key < size.namespaces:
        return MembershipKey(NAMESPACES[key])
    namespace, room = divmod(key - size.namespaces, size.rooms)
    return MembershipKey(NAMESPACES[namespace], ROOMS[room])


@dataclass(slots=True)
class _Talk:
    """What the messages of a trail need to know of those before them."""

    size: Size
    asks: dict[tuple[int, int], Message] = field(default_factory=dict)
    count: int = 0

    def content(self, end: int, what: int, key: int, slot: int) -> Content:
        """Give what an end sends."""
        if what in _BEFORE_OPEN:
            return encode_handshake(_BEFORE_OPEN[what])
        if what == _CLOSED:
            return ConnectionClosed(_NORMAL, "")
        if what in (_DONE, _ERROR):
            ask = self.asks[end ^ 1, slot]
            if what == _ERROR:
                return encode(ask.error_reply("no"))
            return encode(ask.reply("hi") if ask.event == "echo" else ask.empty_reply())
        place = key_of(self.size, key)
        namespace, room = place.namespace, place.room or ""
        if what == _EVENT:
            return encode(Message("", namespace, room, "news", body="hi"))
        change = {_ASK_CONNECT: place.entry, _ASK_DISCONNECT: place.exit}.get(what)
        self.count += 1
        token = f"{'' if end % 2 else CLIENT_PREFIX}{self.count}"
        event, body = (REQUEST_EVENT[change], "") if change else ("echo", "hi")
        ask = self.asks[end, slot] = Message(token, namespace, room, event, body=body)
        return encode(ask)


def entries(trail: Iterable[str], size: Size) -> Iterator[Entry]:
    """Give the lines of a recording for a trail."""
    talk = _Talk(size)
    for number, line in enumerate(each for each in trail if each.startswith(SENDS)):
        end, what, key, slot = map(int, line.split()[1:])
        content = talk.content(end, what, key, slot)
        yield Entry(number + 2, number / 1000, end // 2 + 1, end % 2 == 0, content)


def head(fault: TableFault) -> Header:
    """Give the header of the recording of a counterexample."""
    peer = {"peer": "model", "version": VERSION}
    found = header(
        scenario=f"Refutes that {PROPERTIES[fault.property]}: a peer that {fault.about}",
        client=peer,
        server=peer,
        how="python -m proving --record",
        defects={},
    )
    # The same model gives the same file, whenever it is made.
    return found | {"recorded": "2026-11-30T00:00:00+00:00"}
