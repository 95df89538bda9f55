"""Clients with a fault in the frame."""

from __future__ import annotations

import unicodedata
from base64 import b64decode
from collections.abc import Callable
from typing import Any, Final

from mutation import client_faults as on
from mutation import operators as do
from mutation.client_faults import GONE, ClientContext, ClientFault, frame_of
from mutation.clients.values import is_binary, is_empty, is_own, is_text
from mutation.hooks import DISCONNECT, Effect, Payload, when
from mutation.registry import mutant, mutants
from neffos_codec import ESCAPE, Message, encode
from neffos_conformance.runner.driver_protocol import OperationError, Values

LONG: Final = 10_000
"""Characters from which on a body is long, to a client that cuts it."""


def cut(body: Any) -> Any:
    """Cut a text at the first semicolon, and bytes at the first zero."""
    return body.partition(";" if isinstance(body, str) else b"\0")[0]


def rewritten(change: Callable[[str, Message], str]) -> ClientFault:
    """Change the text frames that a client sends, as they are written."""

    def send(_: ClientContext, payload: Payload) -> Effect:
        message = frame_of(payload)
        return change(payload, message) if message and isinstance(payload, str) else None

    return on.send_raw(send)


@mutant("FR-2", on.receive_raw)
def five_separators_taken(c: ClientContext, payload: Payload) -> Effect:
    """Accepts five separators as a frame with an empty body."""
    is_short = isinstance(payload, str) and payload.count(";") == 5
    return c.serve(f"{payload!s};") if is_short else None


@mutant("FR-7", on.receive_raw)
def odd_flags_refused(_: ClientContext, payload: Payload) -> Effect:
    """Drops frames whose flags are neither 0 nor 1 nor empty."""
    if not isinstance(payload, str) or payload.count(";") < 6:
        return None
    return None if {"0", "1", ""}.issuperset(payload.split(";")[4:6]) else ()


@mutant("FR-11", on.send_raw)
def text_in_binary_messages(_: ClientContext, payload: Payload) -> Effect:
    """Sends binary events whose body is ASCII as text."""
    message = frame_of(payload)
    is_event = message is not None and not message.wait
    is_meant = is_event and isinstance(payload, bytes) and payload.isascii()
    return payload.decode() if is_meant and isinstance(payload, bytes) else None


@mutant("FR-11", on.observes)
def kind_guessed_by_octets(_: ClientContext, seen: Values) -> list[Values]:
    """Treats a binary body that is ASCII as text."""
    body = b64decode(seen.get("base64", ""))
    if not body or not body.isascii():
        return [seen]
    rest = {name: value for name, value in seen.items() if name != "base64"}
    return [{**rest, "text": body.decode()}]


@mutant("FR-11", on.send_raw)
def native_messages_in_halves(_: ClientContext, payload: Payload) -> Effect:
    """Sends a native message in two."""
    is_native = isinstance(payload, str) and len(payload) >= 2 and frame_of(payload) is None
    return [payload[:2], payload[2:]] if is_native else None


@mutant("FR-13", on.send, is_empty_reply=True)
def binary_empty_reply(c: ClientContext, m: Message) -> Effect:
    """Sends an empty reply in the type of the ask."""
    ask = c.server_asks.get(m.wait)
    is_meant = ask is not None and is_binary(ask.body)
    return str(encode(m)).encode() if is_meant else None


@mutant("FR-13", on.send_raw)
def long_empty_reply(_: ClientContext, payload: Payload) -> Effect:
    """Writes the flags of an empty reply."""
    is_meant = isinstance(payload, str) and payload.endswith(";;;;;;")
    return f"{payload[:-2]!s}0;0;" if is_meant else None


def _unreadable(c: ClientContext, _: str, __: Values) -> None:
    if c.counts["errors"]:
        raise OperationError("[object ArrayBuffer]")


mutants(
    "FR-8",
    "error-without-text-is-success: Accepts an error without a text as success.",
    on.receive(
        lambda c, m: c.serve(
            m.empty_reply() if m.event.startswith("_") else m.replace(is_error=False)
        ),
        is_error=True,
        body=is_empty,
        wait=is_own,
    ),
    "FR-12",
    "names-in-latin-9: Writes the names in a binary frame in Latin-9.",
    on.send_raw(
        lambda _, payload: (
            payload.replace("€".encode(), b"\xa4") if isinstance(payload, bytes) else None
        )
    ),
    "FR-1",
    "body-cut-in-what-comes: Ends the body at the next semicolon, in frames that it reads.",
    on.receive(do.serve_with(body=cut), body=is_text),
    "body-cut-in-what-is-sent: Ends the body at the next semicolon, in frames that it writes.",
    on.send(do.change(body=cut), body=is_text),
    "FR-3",
    "event-not-escaped: Writes a semicolon in an event as it is.",
    rewritten(lambda text, m: text.replace(m.event.replace(";", ESCAPE), m.event)),
    "room-not-escaped: Writes a semicolon in the room that it joins as it is.",
    rewritten(lambda text, m: text.replace(m.room.replace(";", ESCAPE), m.room)),
    "body-unescaped: Reads the escape literal as a semicolon in the body too.",
    on.receive(do.serve_with(body=lambda body: body.replace(ESCAPE, ";")), body=is_text),
    "FR-5",
    "separator-in-token: Puts a semicolon into the token of a disconnect.",
    rewritten(lambda text, m: f"$;{text[1:]}" if m.event == DISCONNECT else text),
    "FR-6",
    "empty-flags: Leaves the flags of an event empty where they are false.",
    rewritten(lambda text, m: text if m.wait or m.is_error else text.replace(";0;0;", ";;;", 1)),
    "FR-9",
    "error-sent-without-text: Sends an error without a text where the application gives none.",
    on.receive(
        lambda _, m: f"{m.wait};{m.namespace};;fail;1;0;", event="fail", body=is_empty, wait=bool
    ),
    "FR-10",
    "replies-trimmed: Trims the bodies of its replies.",
    on.send(do.change(body=str.strip), body=is_text),
    "octets-end-at-nul: Ends a binary body at the first zero byte.",
    ClientFault(
        receive=when(do.serve_with(body=cut), event="news", body=is_binary),
        send=when(do.change(body=cut), event="news", body=is_binary),
    ),
    "reply-octets-end-at-nul: Ends the binary body of a reply at the first zero byte.",
    ClientFault(
        receive=when(do.serve_with(body=cut), wait=bool, body=is_binary),
        send=when(do.change(body=cut), wait=bool, body=is_binary),
    ),
    "octets-by-way-of-text: Decodes and encodes the body of a binary reply.",
    on.send(
        do.change(body=lambda body: body.decode("latin-1").encode()), wait=bool, body=is_binary
    ),
    "long-body-cut: Cuts a long body.",
    on.send(do.change(body=lambda body: body[:LONG])),
    "FR-14",
    "empty-message-answered: Sends an error when it receives an empty message.",
    on.beside_raw(lambda _, payload: None if payload else ";app;;error;1;0;it was empty"),
    "empty-message-accepts: Treats an empty message as an acceptance.",
    on.receive_raw(lambda c, payload: None if payload else c.serve("A")),
    "FR-15",
    "first-fragment-only: Reads only the first fragment of a message.",
    ClientFault(fragments=lambda parts: parts[:1]),
    "fragments-decoded-apart: Decodes each fragment of a message by itself.",
    ClientFault(
        fragments=lambda parts: [part.decode("utf-8", "replace").encode() for part in parts]
    ),
    "FR-16",
    "nonsense-ends-the-connection: Fails the connection when JSON comes.",
    on.beside_raw(lambda _, payload: GONE if str(payload).startswith("{") else None),
    "nonsense-returned: Sends JSON back.",
    on.beside_raw(lambda _, payload: payload if str(payload).startswith("{") else None),
    "FR-17",
    "binary-error-text-lost: Does not decode the text of a binary error.",
    ClientFault(
        receive=when(lambda c, _: c.count("errors") and None, is_error=True, body=is_binary),
        failed=_unreadable,
    ),
    "FR-18",
    "namespaces-folded: Treats namespaces as one that differ in case, or in spaces around.",
    on.receive(do.serve_with(namespace=lambda name: name.lower().strip())),
    "events-folded: Treats events as one that differ in case.",
    on.receive(do.serve_with(event=str.lower), event=lambda event: not event.startswith("_")),
    "events-normalised: Composes the characters of an event.",
    on.observes(
        lambda _, seen: [
            {**seen, "event": unicodedata.normalize("NFC", seen["event"])}
            if "event" in seen
            else seen
        ]
    ),
    "rooms-folded: Treats rooms as one that differ in case.",
    on.receive(do.serve_with(room=str.lower)),
)
