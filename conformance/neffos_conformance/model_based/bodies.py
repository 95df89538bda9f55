"""What frames hold in programs, whoever they are for: bodies, odd flags, and answers to asks."""

from __future__ import annotations

from typing import Final

from neffos_codec import Message
from neffos_conformance.model_based.actions import Action
from neffos_conformance.model_based.expected import Payload

BODIES: Final[tuple[Payload, ...]] = (
    "t{}",
    "",
    "t{} ; and; more;",
    "t{} @%!semicolon@%! stays",
    "t{} é☃\U0001f600",
    " t{} with spaces ",
    "t{}\r\nline\n",
    "t{} e\u0301 %20 +",
    "t{} " + "x" * 70_000,
    b"t{} \x00\xff;",
    b"t{} \x00\xff;",
    b"t{}",
)
"""Bodies, with a place for the number of the action that they are found by."""

FLAGS: Final = ("x;y", ";", "true;true", "2;01")
"""What stands for two flags that are false (FR-7)."""


def filled(body: Payload, number: int) -> Payload:
    """Fill the number of an action into a body."""
    if isinstance(body, bytes):
        return body.replace(b"{}", str(number).encode())
    return body.replace("{}", str(number))


def message_of(action: Action, token: str, body: Payload) -> Message:
    """Make the frame of an action, whose flags are false where others are written for them.

    Args:
        action: what is done.
        token: of the frame, as the reply has it.
        body: of the frame.
    """
    is_plain = action.how not in FLAGS
    return Message(
        token,
        action.namespace,
        action.room,
        action.event,
        action.is_error and is_plain,
        action.is_no_op and is_plain,
        body,
    )


def text_of(body: Payload) -> str:
    """Give a body as text, whatever it is."""
    return body if isinstance(body, str) else body.decode("utf-8", "replace")


def in_kind(body: Payload, message: Message) -> Payload:
    """Give a body in the kind of a message: text or octets (AR-16)."""
    if message.is_binary:
        return body.encode() if isinstance(body, str) else body
    return body if isinstance(body, str) else body.decode()


def flagged(payload: Payload, flags: str) -> Payload:
    """Write other flags for two that are false; none to leave them."""
    if not flags:
        return payload
    if isinstance(payload, bytes):
        return payload.replace(b";0;0;", f";{flags};".encode(), 1)
    return payload.replace(";0;0;", f";{flags};", 1)


def input_of_handshake(payload: Payload) -> str:
    """Give what the handshake table calls a payload, by its first letter."""
    first = payload[:1] if isinstance(payload, bytes) else payload[:1].encode()
    return {b"M": "request", b"A": "acceptance", b"H": "refusal"}.get(first, "other")


def answer_to(asked: Message, how: str, number: int, *, is_change: bool) -> Message:
    """Make the answer to an ask of the peer.

    Args:
        asked: the ask.
        how: it is answered; in what is none of the ways, with a body.
        number: of the action that answers.
        is_change: it asks for a change of membership.
    """
    body = in_kind(f"t{number}", asked)
    match how:
        case "done":
            return asked.empty_reply()
        case "error":
            return asked.error_reply(f"t{number}")
        case "bare" | "echoed":
            return asked.reply(in_kind("", asked))
        case "renamed":
            return asked.reply(body).replace(namespace="any", event="renamed")
        case "twice" if is_change:
            return asked.empty_reply()
        case _:
            return asked.reply(body)
