"""Clients that do not bear what may come."""

from __future__ import annotations

from mutation.client_faults import (
    GONE,
    ClientFault,
    Hand,
    Payload,
    answered,
    client_fault,
    frame_of,
)
from neffos_codec import Message

MANY = 1000
"""Separators that are too many for a client that recurses over them."""


@client_fault("SEC-15")
def namespace_looked_up_escaped(_: Hand) -> ClientFault:
    """Looks a namespace up as it stands in the frame."""

    def answer(message: Message) -> Message | None:
        is_one = message.event == "_OnNamespaceConnect" and ";" in message.namespace
        is_ask = message.wait and not message.wait.startswith("$")
        return message.error_reply("bad namespace") if is_one and is_ask else None

    return answered(answer)


@client_fault("SEC-15")
def room_looked_up_escaped(_: Hand) -> ClientFault:
    """Looks a room up as it stands in the frame."""

    def answer(message: Message) -> Message | None:
        is_one = message.event == "_OnRoomLeave" and ";" in message.room
        return message.empty_reply() if is_one and message.wait else None

    return answered(answer)


@client_fault("SEC-16")
def separators_end_it(_: Hand) -> ClientFault:
    """Ends when a message has very many separators."""
    return ClientFault(interjects=lambda each: [GONE] if str(each).count(";") > MANY else [])


@client_fault("SEC-16")
def prototype_ends_it(_: Hand) -> ClientFault:
    """Ends when a namespace is called like a member of every object of JavaScript."""

    def interjects(payload: Payload) -> list[Payload]:
        message = frame_of(payload)
        return [GONE] if message and message.namespace == "__proto__" else []  # type: ignore[list-item]

    return ClientFault(interjects=interjects)


@client_fault("SEC-16")
def two_flags_end_reading(_: Hand) -> ClientFault:
    """Hears nothing more once a frame had both flags."""
    deaf: list[bool] = []

    def hears(payload: Payload) -> list[Payload]:
        message = frame_of(payload)
        if message and message.is_error and message.is_no_op:
            deaf.append(True)
        return [] if deaf else [payload]

    return ClientFault(hears=hears)
