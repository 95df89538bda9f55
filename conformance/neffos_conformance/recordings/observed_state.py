"""The state of a recorded connection at one of its messages, in words fit to be shown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from neffos_conformance.recordings.sequence import name, subject
from neffos_protocol import Conversation

MAX_SHOWN: Final = 50
"""Memberships, and pending asks, that are shown of one moment; a correct peer has a few."""


@dataclass(frozen=True, slots=True)
class Membership:
    """A namespace, or a room in it.

    Attributes:
        namespace: its name.
        room: the name of the room; empty for the namespace itself.
        client: its state for the client, in the words of the membership table.
        server: its state for the server, likewise.
    """

    namespace: str
    room: str
    client: str
    server: str


@dataclass(frozen=True, slots=True)
class ObservedState:
    """What the messages up to one of them have shown of a connection.

    Attributes:
        id: the connection's ID; empty before the acceptance.
        handshake: the state of each peer in the handshake table: that of the client, then that
            of the server.
        memberships: the namespaces and rooms, the first ones.
        asks: the pending asks, the first ones: the peer that asked, the token and the subject.
        more: how many memberships and asks are not shown.
    """

    id: str
    handshake: tuple[str, str]
    memberships: tuple[Membership, ...]
    asks: tuple[tuple[str, str, str], ...]
    more: int


def state_of(seen: Conversation) -> ObservedState:
    """Give the state of a connection after the message that was observed last."""
    peers = seen.client, seen.server
    keys = {key for peer in peers for key in peer.memberships}
    ordered = sorted(keys, key=lambda key: (key[0], key[1] is not None, key[1] or ""))
    memberships = [
        Membership(
            name(namespace) if namespace else "the empty namespace",
            "" if room is None else name(room),
            str(seen.client.state(namespace, room)),
            str(seen.server.state(namespace, room)),
        )
        for namespace, room in ordered[:MAX_SHOWN]
    ]
    pending = [
        (str(peer.role), ask) for peer in peers for ask in (*peer.reused, *peer.pending.values())
    ]
    pending.sort(key=lambda each: each[1].number)
    asks = [(role, name(ask.token), subject(ask)) for role, ask in pending[:MAX_SHOWN]]
    return ObservedState(
        name(seen.id) if seen.id else "",
        (str(seen.client.handshake), str(seen.server.handshake)),
        tuple(memberships),
        tuple(asks),
        len(ordered) + len(pending) - len(memberships) - len(asks),
    )
