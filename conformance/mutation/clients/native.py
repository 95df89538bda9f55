"""Clients that are wrong about native messages."""

from __future__ import annotations

from mutation.client_faults import (
    ClientFault,
    Hand,
    Payload,
    Said,
    changed,
    client_fault,
    dropped,
    frame_of,
)
from neffos_codec import Message

NATIVE = "_OnNativeMessage"

SEPARATORS = 6
"""Those of a frame."""


@client_fault("NM-1")
def bids_farewell_natively(_: Hand) -> ClientFault:
    """Sends a native message of its own when it disconnects a namespace."""

    def says(said: Said) -> list[Said]:
        message = frame_of(said)
        is_one = message and message.event == "_OnNamespaceDisconnect"
        return [said, "bye"] if is_one and message and message.namespace == "any" else [said]

    return ClientFault(says=says)


@client_fault("NM-2")
def native_messages_dropped(hand: Hand) -> ClientFault:
    """Drops what is no frame, though its application takes native messages."""
    is_open: set[int] = set()

    def hears(payload: Payload) -> list[Payload]:
        octets = payload.encode("utf-8", "replace") if isinstance(payload, str) else payload
        is_native = hand.current in is_open and octets and octets.count(b";") < SEPARATORS
        if octets.startswith(b"A"):
            is_open.add(hand.current)
        return [] if is_native else [payload]

    return ClientFault(hears=hears)


@client_fault("NM-4")
def native_messages_held(_: Hand) -> ClientFault:
    """Delivers native messages that came before the empty namespace was connected, behind that."""
    held: list[Payload] = []

    def hears(payload: Payload) -> list[Payload]:
        message = frame_of(payload)
        if payload == "hello":
            held.append(payload)
        elif message and not message.namespace and message.event == "_OnNamespaceConnect":
            return [payload, *held]
        return [payload]

    return ClientFault(hears=hears)


@client_fault("NM-4")
def native_frames_delivered_early(hand: Hand) -> ClientFault:
    """Delivers native messages in frames before the empty namespace is connected."""
    connected: list[bool] = []

    def hears(payload: Payload) -> list[Payload]:
        message = frame_of(payload)
        if message and not message.namespace and message.event == "_OnNamespaceConnect":
            connected.append(True)
        if message and message.event == NATIVE and not connected and not message.is_error:
            hand.tell(saw="native", text=message.body)
        return [payload]

    return ClientFault(hears=hears)


@client_fault("NM-5")
def native_frames_dropped(_: Hand) -> ClientFault:
    """Takes no frame for a native message."""
    return ClientFault(hears=dropped(lambda m: m.event == NATIVE))


@client_fault("NM-5")
def native_frames_from_everywhere(_: Hand) -> ClientFault:
    """Takes a native message in a frame for one of the empty namespace, whatever it names."""

    def change(message: Message) -> Message:
        return message.replace(namespace="") if message.event == NATIVE else message

    return ClientFault(hears=changed(change))
