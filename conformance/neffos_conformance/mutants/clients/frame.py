"""Clients that are wrong about the frame."""

from __future__ import annotations

import unicodedata
from base64 import b64decode
from collections.abc import Sequence
from typing import Final

from neffos_codec import ESCAPE, Message
from neffos_conformance.driving import OperationError, Values
from neffos_conformance.mutants.liars import (
    GONE,
    Do,
    Hand,
    Lies,
    Payload,
    Said,
    answered,
    changed,
    frame_of,
    lying,
)

LONG: Final = 10_000
"""Characters from which on a body is long, to a client that cuts it."""


@lying("FR-1")
def body_cut_in_what_comes(_: Hand) -> Lies:
    """Takes the body to end at the next semicolon, in what it reads."""
    return Lies(hears=changed(_cut))


@lying("FR-1")
def body_cut_in_what_is_sent(_: Hand) -> Lies:
    """Takes the body to end at the next semicolon, in what it writes."""
    return Lies(says=changed(_cut))


def _cut(message: Message) -> Message:
    body = message.body
    return message.replace(body=body.partition(";")[0]) if isinstance(body, str) else message


@lying("FR-2")
def five_separators_taken(_: Hand) -> Lies:
    """Takes five separators for a frame with an empty body."""
    return Lies(
        hears=lambda payload: [
            f"{payload};" if isinstance(payload, str) and payload.count(";") == 5 else payload
        ]
    )


@lying("FR-3")
def event_not_escaped(_: Hand) -> Lies:
    """Writes a semicolon in an event as it is."""

    def says(said: Said) -> list[Said]:
        message = frame_of(said)
        if message is None or ";" not in message.event or not isinstance(said, str):
            return [said]
        return [said.replace(message.event.replace(";", ESCAPE), message.event)]

    return Lies(says=says)


@lying("FR-3")
def room_not_escaped(_: Hand) -> Lies:
    """Writes a semicolon in the room that it joins as it is."""

    def says(said: Said) -> list[Said]:
        message = frame_of(said)
        if message is None or ";" not in message.room or not isinstance(said, str):
            return [said]
        return [said.replace(message.room.replace(";", ESCAPE), message.room)]

    return Lies(says=says)


@lying("FR-3")
def body_unescaped(_: Hand) -> Lies:
    """Takes the escape literal for a semicolon in the body too."""

    def change(message: Message) -> Message:
        body = message.body
        return message.replace(body=body.replace(ESCAPE, ";") if isinstance(body, str) else body)

    return Lies(hears=changed(change))


@lying("FR-5")
def separator_in_token(_: Hand) -> Lies:
    """Puts a semicolon into the token of a disconnect."""

    def says(said: Said) -> list[Said]:
        message = frame_of(said)
        is_one = message and message.event == "_OnNamespaceDisconnect"
        return [f"$;{said[1:]}"] if is_one and isinstance(said, str) else [said]

    return Lies(says=says)


@lying("FR-6")
def empty_flags(_: Hand) -> Lies:
    """Leaves the flags of an event empty where they are false."""

    def says(said: Said) -> list[Said]:
        message = frame_of(said)
        is_event = message and not message.wait and not message.is_error
        return [said.replace(";0;0;", ";;;", 1)] if is_event and isinstance(said, str) else [said]

    return Lies(says=says)


@lying("FR-7")
def odd_flags_refused(_: Hand) -> Lies:
    """Drops frames whose flags are neither 0 nor 1 nor empty."""

    def hears(payload: Payload) -> list[Payload]:
        if not isinstance(payload, str) or payload.count(";") < 6:
            return [payload]
        flags = payload.split(";")[4:6]
        return [payload] if {"0", "1", ""}.issuperset(flags) else []

    return Lies(hears=hears)


@lying("FR-8")
def error_without_text_is_success(_: Hand) -> Lies:
    """Takes an error without a text for success."""

    def change(message: Message) -> Message:
        if not message.is_error or message.body or not message.wait.startswith("$"):
            return message
        is_request = message.event.startswith("_")
        return message.empty_reply() if is_request else message.replace(is_error=False)

    return Lies(hears=changed(change))


@lying("FR-9")
def error_sent_without_text(_: Hand) -> Lies:
    """Sends an error without a text where the application gives none."""

    def answer(message: Message) -> str | None:
        if message.event != "fail" or message.body or not message.wait:
            return None
        return f"{message.wait};{message.namespace};;fail;1;0;"

    return answered(answer)


@lying("FR-10")
def replies_trimmed(_: Hand) -> Lies:
    """Trims the bodies of its replies."""

    def change(message: Message) -> Message:
        body = message.body
        return message.replace(body=body.strip()) if isinstance(body, str) else message

    return Lies(says=changed(change))


@lying("FR-10")
def octets_end_at_nul(_: Hand) -> Lies:
    """Takes a binary body to end at the first octet that is zero."""

    def change(message: Message) -> Message:
        body = message.body
        if isinstance(body, str) or message.event != "news":
            return message
        return message.replace(body=body.partition(b"\0")[0])

    return Lies(hears=changed(change), says=changed(change))


@lying("FR-10")
def reply_octets_end_at_nul(_: Hand) -> Lies:
    """Takes the binary body of a reply to end at the first octet that is zero."""

    def change(message: Message) -> Message:
        body = message.body
        if isinstance(body, str) or not message.wait:
            return message
        return message.replace(body=body.partition(b"\0")[0])

    return Lies(hears=changed(change), says=changed(change))


@lying("FR-10")
def octets_by_way_of_text(_: Hand) -> Lies:
    """Makes text of octets on their way into a binary reply, and octets of that."""

    def change(message: Message) -> Message:
        body = message.body
        if isinstance(body, str) or not message.wait:
            return message
        return message.replace(body=body.decode("latin-1").encode())

    return Lies(says=changed(change))


@lying("FR-10")
def long_body_cut(_: Hand) -> Lies:
    """Cuts a body that is long."""
    return Lies(says=changed(lambda message: message.replace(body=message.body[:LONG])))


@lying("FR-11")
def text_in_binary_messages(_: Hand) -> Lies:
    """Sends binary events whose body is ASCII as text."""

    def says(said: Said) -> list[Said]:
        message = frame_of(said)
        is_ascii = isinstance(said, bytes) and message and not message.wait and said.isascii()
        return [said.decode() if is_ascii and isinstance(said, bytes) else said]

    return Lies(says=says)


@lying("FR-11")
def kind_guessed_by_octets(_: Hand) -> Lies:
    """Takes octets that are ASCII for text."""

    def tells(sight: Values) -> list[Values]:
        octets = b64decode(sight.get("base64", ""))
        if not octets or not octets.isascii():
            return [sight]
        return [{**{k: v for k, v in sight.items() if k != "base64"}, "text": octets.decode()}]

    return Lies(tells=tells)


@lying("FR-11")
def native_messages_in_halves(_: Hand) -> Lies:
    """Sends a native message in two."""

    def says(said: Said) -> list[Said]:
        if not isinstance(said, str) or len(said) < 2 or frame_of(said) is not None:
            return [said]
        return [said[:2], said[2:]]

    return Lies(says=says)


@lying("FR-12")
def names_in_latin_9(_: Hand) -> Lies:
    """Writes the names in a binary frame in Latin-9."""
    return Lies(
        says=lambda said: [
            said.replace(b"\xe2\x82\xac", b"\xa4") if isinstance(said, bytes) else said
        ]
    )


@lying("FR-13")
def binary_empty_reply(_: Hand) -> Lies:
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

    return Lies(hears=hears, says=says)


@lying("FR-13")
def long_empty_reply(_: Hand) -> Lies:
    """Writes the flags of an empty reply."""
    return Lies(
        says=lambda said: [
            f"{said[:-2]}0;0;" if isinstance(said, str) and said.endswith(";;;;;;") else said
        ]
    )


@lying("FR-14")
def empty_message_answered(_: Hand) -> Lies:
    """Complains about an empty message."""
    return Lies(interjects=lambda payload: [] if payload else [";app;;error;1;0;it was empty"])


@lying("FR-14")
def empty_message_accepts(_: Hand) -> Lies:
    """Takes an empty message for an acceptance."""
    return Lies(hears=lambda payload: [payload or "A"])


@lying("FR-15")
def first_fragment_only(_: Hand) -> Lies:
    """Reads the first fragment of a message, and no more."""
    return Lies(gathers=lambda parts: parts[:1])


@lying("FR-15")
def fragments_decoded_apart(_: Hand) -> Lies:
    """Decodes each fragment of a message by itself."""

    def gathers(parts: Sequence[bytes]) -> Sequence[bytes]:
        return [part.decode("utf-8", "replace").encode() for part in parts]

    return Lies(gathers=gathers)


@lying("FR-16")
def nonsense_ends_the_connection(_: Hand) -> Lies:
    """Ends the connection when JSON comes."""
    return Lies(interjects=lambda payload: [GONE] if str(payload).startswith("{") else [])


@lying("FR-16")
def nonsense_returned(_: Hand) -> Lies:
    """Sends JSON back."""
    return Lies(interjects=lambda payload: [payload] if str(payload).startswith("{") else [])


@lying("FR-17")
def binary_error_text_lost(_: Hand) -> Lies:
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

    return Lies(hears=hears, does=does)


@lying("FR-18")
def namespaces_folded(_: Hand) -> Lies:
    """Takes namespaces that differ in case, or in spaces around, for one."""
    return Lies(
        hears=changed(lambda message: message.replace(namespace=message.namespace.lower().strip()))
    )


@lying("FR-18")
def events_folded(_: Hand) -> Lies:
    """Takes events that differ in case for one."""

    def change(message: Message) -> Message:
        is_request = message.event.startswith("_")
        return message if is_request else message.replace(event=message.event.lower())

    return Lies(hears=changed(change))


@lying("FR-18")
def events_normalised(_: Hand) -> Lies:
    """Composes the characters of an event."""

    def tells(sight: Values) -> list[Values]:
        if "event" not in sight:
            return [sight]
        return [{**sight, "event": unicodedata.normalize("NFC", sight["event"])}]

    return Lies(tells=tells)


@lying("FR-18")
def rooms_folded(_: Hand) -> Lies:
    """Takes rooms that differ in case for one."""

    def change(message: Message) -> Message:
        return message.replace(room=message.room.lower())

    return Lies(hears=changed(change))
