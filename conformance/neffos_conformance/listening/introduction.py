"""What the suite learns of a client that nobody drives, on its first connection.

The cases need the client's own names: which namespace it connects, and what its application does
there. The suite completes the handshake, waits for the client, and asks a little.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from neffos_codec import Message, encode
from neffos_conformance.cases.profile import Profile
from neffos_conformance.listening.served import ServedConnection
from neffos_conformance.listening.undriven import (
    APP,
    EVENTS,
    MEMBERSHIP,
    ROOMS,
    SPACES,
    can_be_written,
)
from neffos_conformance.runner.playback import Playback
from neffos_conformance.wire.barrier import BARRIERS, is_barrier_reply
from neffos_conformance.wire.connection import ConnectionClosed
from neffos_conformance.wire.payloads import frame_of
from neffos_protocol.events import Change
from neffos_protocol.names import REQUEST_EVENT

PROBE: Final = "probe"
"""The room and the body of what the suite asks."""


async def own_namespace(served: ServedConnection, wanted: str | None) -> str | None:
    """Wait until the client has connected a namespace by itself; ``None`` if it closes before.

    Args:
        served: its connection.
        wanted: the namespace to wait for; ``None`` for the first one whose name can be written.
    """
    while True:
        for each in served.connected:
            if each == wanted or (wanted is None and can_be_written(each)):
                return each
        if not served.is_open:
            return None
        served.changed.clear()
        await served.changed.wait()


async def parts_of(playback: Playback, number: int, profile: Profile) -> frozenset[str] | None:
    """Ask a client what its application does; ``None`` if it closes the connection meanwhile.

    Whether it replies correctly is for the cases to test. A membership counts as refused only if
    the client replies with an error; an event counts as handled only if anything comes back.

    Args:
        playback: has its connection.
        number: of the connection.
        profile: its names; that of ``app`` is the one that it has connected.
    """
    for probe in _probes(profile):
        await playback.send(number, encode(probe))
    await playback.send(number, BARRIERS["client"])
    replied: set[str] = set()
    refused: set[str] = set()
    while True:
        received = await playback.receive(number)
        if isinstance(received, ConnectionClosed):
            return None
        if is_barrier_reply(received):
            break
        message = frame_of(received)
        if message is None:
            continue
        part = message.wait.removesuffix("-1").removesuffix("-2")
        (refused if message.is_error else replied).update((part, message.event))
    found = {APP, MEMBERSHIP, ROOMS} - refused
    found.update(each for each in EVENTS if {each, profile.event(each)} & (replied | refused))
    found.update(each for each in SPACES if each.replace(";", "-") in replied)
    return frozenset(found)


def _probes(profile: Profile) -> Iterator[Message]:
    namespace = profile.namespace(APP)
    spaces = [(space.replace(";", "-"), profile.namespace(space)) for space in SPACES]
    connect, disconnect = REQUEST_EVENT[Change.CONNECT], REQUEST_EVENT[Change.DISCONNECT]
    for event in EVENTS:
        yield Message(event, namespace, "", profile.event(event), body=PROBE)
    yield Message(ROOMS, namespace, PROBE, REQUEST_EVENT[Change.JOIN])
    yield Message("left-1", namespace, PROBE, REQUEST_EVENT[Change.LEAVE])
    for token, space in spaces:  # a token contains no semicolon
        yield Message(token, space, "", connect)
    for token, space in spaces:
        yield Message(f"{token}-left", space, "", disconnect)
    yield Message(f"{MEMBERSHIP}-1", namespace, "", disconnect)
    yield Message(f"{MEMBERSHIP}-2", namespace, "", connect)
