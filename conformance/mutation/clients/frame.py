"""Clients that are wrong about the frame."""

from __future__ import annotations

import unicodedata
from base64 import b64decode
from collections.abc import Sequence
from typing import Final

from mutation.client_faults import (
    GONE,
    ClientFault,
    Do,
    Hand,
    Payload,
    Said,
    answered,
    changed,
    client_fault,
    frame_of,
)
from neffos_codec import ESCAPE, Message
from neffos_conformance.runner.driver_protocol import OperationError, Values

LONG: Final = 10_000
"""Characters from which on a body is long, to a client that cuts it."""


@client_fault("FR-1")
def body_cut_in_what_comes(_: Hand) -> ClientFault:
    """Takes the body to end at the next semicolon, in what it reads."""
    return ClientFault(hears=changed(_cut))


@client_fault("FR-1")
def body_cut_in_what_is_sent(_: Hand) -> ClientFault:
    """Takes the body to end at the next semicolon, in what it writes."""
    return ClientFault(says=changed(_cut))


def _cut(message: Message) -> Message:
    body = message.body
    return message.replace(body=body.partition(";")[0]) if isinstance(body, str) else message


@client_fault("FR-2")
def five_separators_taken(_: Hand) -> ClientFault:
    """Takes five separators for a frame with an empty body."""
    return ClientFault(
        hears=lambda payload: [
            f"{payload};" if isinstance(payload, str) and payload.count(";") == 5 else payload
        ]
    )


@client_fault("FR-3")
def event_not_escaped(_: Hand) -> ClientFault:
    """Writes a semicolon in an event as it is."""

    def says(said: Said) -> list[Said]:
        message = frame_of(said)
        if message is None or ";" not in message.event or not isinstance(said, str):
            return [said]
        return [said.replace(message.event.replace(";", ESCAPE), message.event)]

    return ClientFault(says=says)


@client_fault("FR-3")
def room_not_escaped(_: Hand) -> ClientFault:
    """Writes a semicolon in the room that it joins as it is."""

    def says(said: Said) -> list[Said]:
        message = frame_of(said)
        if message is None or ";" not in message.room or not isinstance(said, str):
            return [said]
        return [said.replace(message.room.replace(";", ESCAPE), message.room)]

    return ClientFault(says=says)


@client_fault("FR-3")
def body_unescaped(_: Hand) -> ClientFault:
    """Takes the escape literal for a semicolon in the body too."""

    def change(message: Message) -> Message:
        body = message.body
        return message.replace(body=body.replace(ESCAPE, ";") if isinstance(body, str) else body)

    return ClientFault(hears=changed(change))


@client_fault("FR-5")
def separator_in_token(_: Hand) -> ClientFault:
    """Puts a semicolon into the token of a disconnect."""

    def says(said: Said) -> list[Said]:
        message = frame_of(said)
        is_one = message and message.event == "_OnNamespaceDisconnect"
        return [f"$;{said[1:]}"] if is_one and isinstance(said, str) else [said]

    return ClientFault(says=says)


@client_fault("FR-6")
def empty_flags(_: Hand) -> ClientFault:
    """Leaves the flags of an event empty where they are false."""

    def says(said: Said) -> list[Said]:
        message = frame_of(said)
        is_event = message and not message.wait and not message.is_error
        return [said.replace(";0;0;", ";;;", 1)] if is_event and isinstance(said, str) else [said]

    return ClientFault(says=says)


@client_fault("FR-7")
def odd_flags_refused(_: Hand) -> ClientFault:
    """Drops frames whose flags are neither 0 nor 1 nor empty."""

    def hears(payload: Payload) -> list[Payload]:
        if not isinstance(payload, str) or payload.count(";") < 6:
            return [payload]
        flags = payload.split(";")[4:6]
        return [payload] if {"0", "1", ""}.issuperset(flags) else []

    return ClientFault(hears=hears)


@client_fault("FR-8")
def error_without_text_is_success(_: Hand) -> ClientFault:
    """Takes an error without a text for success."""

    def change(message: Message) -> Message:
        if not message.is_error or message.body or not message.wait.startswith("$"):
            return message
        is_request = message.event.startswith("_")
        return message.empty_reply() if is_request else message.replace(is_error=False)

    return ClientFault(hears=changed(change))


@client_fault("FR-9")
def error_sent_without_text(_: Hand) -> ClientFault:
    """Sends an error without a text where the application gives none."""

    def answer(message: Message) -> str | None:
        if message.event != "fail" or message.body or not message.wait:
            return None
        return f"{message.wait};{message.namespace};;fail;1;0;"

    return answered(answer)


@client_fault("FR-10")
def replies_trimmed(_: Hand) -> ClientFault:
    """Trims the bodies of its replies."""

    def change(message: Message) -> Message:
        body = message.body
        return message.replace(body=body.strip()) if isinstance(body, str) else message

    return ClientFault(says=changed(change))


@client_fault("FR-10")
def octets_end_at_nul(_: Hand) -> ClientFault:
    """Takes a binary body to end at the first octet that is zero."""

    def change(message: Message) -> Message:
        body = message.body
        if isinstance(body, str) or message.event != "news":
            return message
        return message.replace(body=body.partition(b"\0")[0])

    return ClientFault(hears=changed(change), says=changed(change))


@client_fault("FR-10")
def reply_octets_end_at_nul(_: Hand) -> ClientFault:
    """Takes the binary body of a reply to end at the first octet that is zero."""

    def change(message: Message) -> Message:
        body = message.body
        if isinstance(body, str) or not message.wait:
            return message
        return message.replace(body=body.partition(b"\0")[0])

    return ClientFault(hears=changed(change), says=changed(change))


@client_fault("FR-10")
def octets_by_way_of_text(_: Hand) -> ClientFault:
    """Makes text of octets on their way into a binary reply, and octets of that."""

    def change(message: Message) -> Message:
        body = message.body
        if isinstance(body, str) or not message.wait:
            return message
        return message.replace(body=body.decode("latin-1").encode())

    return ClientFault(says=changed(change))


@client_fault("FR-10")
def long_body_cut(_: Hand) -> ClientFault:
    """Cuts a body that is long."""
    return ClientFault(says=changed(lambda message: message.replace(body=message.body[:LONG])))


@client_fault("FR-11")
def text_in_binary_messages(_: Hand) -> ClientFault:
    """Sends binary events whose body is ASCII as text."""

    def says(said: Said) -> list[Said]:
        message = frame_of(said)
        is_ascii = isinstance(said, bytes) and message and not message.wait and said.isascii()
        return [said.decode() if is_ascii and isinstance(said, bytes) else said]

    return ClientFault(says=says)


@client_fault("FR-11")
def kind_guessed_by_octets(_: Hand) -> ClientFault:
    """Takes octets that are ASCII for text."""

    def tells(sight: Values) -> list[Values]:
        octets = b64decode(sight.get("base64", ""))
        if not octets or not octets.isascii():
            return [sight]
        return [{**{k: v for k, v in sight.items() if k != "base64"}, "text": octets.decode()}]

    return ClientFault(tells=tells)


@client_fault("FR-11")
def native_messages_in_halves(_: Hand) -> ClientFault:
    """Sends a native message in two."""

    def says(said: Said) -> list[Said]:
        if not isinstance(said, str) or len(said) < 2 or frame_of(said) is not None:
            return [said]
        return [said[:2], said[2:]]

    return ClientFault(says=says)


@client_fault("FR-12")
def names_in_latin_9(_: Hand) -> ClientFault:
    """Writes the names in a binary frame in Latin-9."""
    return ClientFault(
        says=lambda said: [
            said.replace(b"\xe2\x82\xac", b"\xa4") if isinstance(said, bytes) else said
        ]
    )


@client_fault("FR-13")
def binary_empty_reply(_: Hand) -> ClientFault:
    """Sends an empty reply in the kind of the ask."""
    tokens: set[str] = set()

    def hears(payload: Payload) -> list[Payload]:
        message = frame_of(payload)
        if message and isinstance(payload, bytes):
            tokens.add(message.wait)
        return [payload]

    def says(said: Said) -> list[Said]:
        message = frame_of(said)
        is_one = isinstance(said, str) and message and message.wait in tokens and not message.event
        return [said.encode() if is_one and isinstance(said, str) else said]

    return ClientFault(hears=hears, says=says)


@client_fault("FR-13")
def long_empty_reply(_: Hand) -> ClientFault:
    """Writes the flags of an empty reply."""
    return ClientFault(
        says=lambda said: [
            f"{said[:-2]}0;0;" if isinstance(said, str) and said.endswith(";;;;;;") else said
        ]
    )


@client_fault("FR-14")
def empty_message_answered(_: Hand) -> ClientFault:
    """Complains about an empty message."""
    return ClientFault(
        interjects=lambda payload: [] if payload else [";app;;error;1;0;it was empty"]
    )


@client_fault("FR-14")
def empty_message_accepts(_: Hand) -> ClientFault:
    """Takes an empty message for an acceptance."""
    return ClientFault(hears=lambda payload: [payload or "A"])


@client_fault("FR-15")
def first_fragment_only(_: Hand) -> ClientFault:
    """Reads the first fragment of a message, and no more."""
    return ClientFault(gathers=lambda parts: parts[:1])


@client_fault("FR-15")
def fragments_decoded_apart(_: Hand) -> ClientFault:
    """Decodes each fragment of a message by itself."""

    def gathers(parts: Sequence[bytes]) -> Sequence[bytes]:
        return [part.decode("utf-8", "replace").encode() for part in parts]

    return ClientFault(gathers=gathers)


@client_fault("FR-16")
def nonsense_ends_the_connection(_: Hand) -> ClientFault:
    """Ends the connection when JSON comes."""
    return ClientFault(interjects=lambda payload: [GONE] if str(payload).startswith("{") else [])


@client_fault("FR-16")
def nonsense_returned(_: Hand) -> ClientFault:
    """Sends JSON back."""
    return ClientFault(interjects=lambda payload: [payload] if str(payload).startswith("{") else [])


@client_fault("FR-17")
def binary_error_text_lost(_: Hand) -> ClientFault:
    """Does not make text of the octets of an error."""
    binary: list[bool] = []

    def hears(payload: Payload) -> list[Payload]:
        message = frame_of(payload)
        if message and message.is_error and isinstance(payload, bytes):
            binary.append(True)
        return [payload]

    async def does(do: Do, op: str, fields: Values) -> Values:
        try:
            return await do(op, **fields)
        except OperationError as error:
            if binary:
                raise OperationError("[object ArrayBuffer]") from error
            raise

    return ClientFault(hears=hears, does=does)


@client_fault("FR-18")
def namespaces_folded(_: Hand) -> ClientFault:
    """Takes namespaces that differ in case, or in spaces around, for one."""
    return ClientFault(
        hears=changed(lambda message: message.replace(namespace=message.namespace.lower().strip()))
    )


@client_fault("FR-18")
def events_folded(_: Hand) -> ClientFault:
    """Takes events that differ in case for one."""

    def change(message: Message) -> Message:
        is_request = message.event.startswith("_")
        return message if is_request else message.replace(event=message.event.lower())

    return ClientFault(hears=changed(change))


@client_fault("FR-18")
def events_normalised(_: Hand) -> ClientFault:
    """Composes the characters of an event."""

    def tells(sight: Values) -> list[Values]:
        if "event" not in sight:
            return [sight]
        return [{**sight, "event": unicodedata.normalize("NFC", sight["event"])}]

    return ClientFault(tells=tells)


@client_fault("FR-18")
def rooms_folded(_: Hand) -> ClientFault:
    """Takes rooms that differ in case for one."""

    def change(message: Message) -> Message:
        return message.replace(room=message.room.lower())

    return ClientFault(hears=changed(change))
