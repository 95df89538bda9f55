"""Builds the frames that the suite sends, and compares a peer's messages with expected ones."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from neffos_codec import FIELDS, Message, encode
from neffos_conformance.model_based.actions import Expectation, Payload, SuiteAction
from neffos_conformance.model_based.application import text_of
from neffos_conformance.wire.payloads import short

ODD_FLAGS: Final = ("x;y", ";", "true;true", "2;01")
"""Spellings of two flags that are false (FR-7)."""

EXCHANGE: Final = "!"
"""The mark of a token with an exchange marker, which the reply's token lacks (SX-2)."""

SENDER: Final = "neffos(0x1400011c000)"
"""An explicit sender, which a client returns as any other token (AR-18)."""

ACCEPTANCE: Final = "A"
"""The expected answer that represents a handshake acceptance with any ID."""

_TAG: Final = re.compile(r"\bt(\d+)\b")
"""What names the action in a body, or in the name of an event."""


# -------------------------------------------------------------------- building


def message_of(action: SuiteAction, *, is_for_client: bool) -> Message:
    """Build the message of an action. Flags in an odd spelling count as false.

    Its token is that of the reply: without an exchange marker for a server.
    """
    number, mark = action.number, action.mark
    token = f"{mark}{number}" if mark.startswith(SENDER) else f"{number}{mark}"
    if "{}" in mark:
        token = mark.replace("{}", str(number))
    if not is_for_client:
        token = f"${number if mark == EXCHANGE else token}"
    is_plain = action.how not in ODD_FLAGS
    return Message(
        token if action.has_token else "",
        action.namespace,
        action.room,
        action.event,
        action.is_error and is_plain,
        action.is_no_op and is_plain,
        action.body,
    )


def with_flags(payload: Payload, flags: str) -> Payload:
    """Spell the two flags of a frame in another way; none to leave them."""
    if not flags:
        return payload
    if isinstance(payload, bytes):
        parts = payload.split(b";", len(FIELDS) - 1)
        return b";".join((*parts[:4], flags.encode(), parts[-1]))
    texts = payload.split(";", len(FIELDS) - 1)
    return ";".join((*texts[:4], flags, texts[-1]))


def typed_like(body: Payload, message: Message) -> Payload:
    """Convert a body to the type of a message, text or binary (AR-16)."""
    if message.is_binary:
        return body.encode() if isinstance(body, str) else body
    return body if isinstance(body, str) else body.decode()


def answer_to(asked: Message, how: str, number: int, *, is_change: bool, body: str = "") -> Message:
    """Build the answer to an ask of the peer.

    Args:
        asked: the ask.
        how: the variant; any other than those below is a reply with a body.
        number: the action that answers.
        is_change: it is a system ask.
        body: of a reply with a body; empty for one that names the action.
    """
    if how == "done" or (how == "twice" and is_change):
        return asked.empty_reply()
    if how == "error":
        return asked.error_reply(f"t{number}")
    if how in ("bare-error", "echoed"):
        return asked.reply(typed_like("", asked))
    reply = asked.reply(typed_like(body or f"t{number}", asked))
    return reply.replace(namespace="any", event="renamed") if how == "renamed" else reply


def handshake_input(payload: Payload) -> str:
    """Give the handshake table's input for a payload, by its first letter."""
    first = payload[:1] if isinstance(payload, bytes) else payload[:1].encode()
    return {b"M": "request", b"A": "acceptance", b"H": "refusal"}.get(first, "other")


def fragments(payload: Payload) -> list[bytes]:
    """Cut a message into the fragments in which it is sent, each of whole characters."""
    third = max(1, len(payload) // 3)
    parts = (payload[:third], payload[third : 2 * third], payload[2 * third :])
    return [each.encode() if isinstance(each, str) else each for each in parts]


# -------------------------------------------------------------------- reading


def tags(message: Message) -> list[str]:
    """Give the numbers of the actions that a body names."""
    return _TAG.findall(text_of(message.body))


def action_named_in(message: Message) -> int:
    """Give the action that a frame's body, event or room names; 0 where they name none."""
    found = _TAG.search(f"{text_of(message.body)} {message.event} {message.room}")
    return int(found[1]) if found else 0


# -------------------------------------------------------------------- comparing


def matching(
    expected: Iterable[Expectation], actual: Payload, message: Message | None
) -> Expectation | None:
    """Give the first expected message that an actual one is; ``None`` where it is none of them.

    Args:
        expected: in the order of expectation.
        actual: what arrived.
        message: the same as a frame, if it is one.
    """
    for each in expected:
        for answer in each.answers:
            if isinstance(answer, Message):
                wanted = answer
                if each.is_ask and message is not None and message.wait:
                    wanted = answer.replace(wait=message.wait)
                if each.is_any_text and message is not None and message.body:
                    wanted = wanted.replace(body=message.body)
                if wanted == message and type(wanted.body) is type(message.body):
                    return each
            elif answer == ACCEPTANCE:
                if isinstance(actual, str) and actual.startswith("A") and actual != "A":
                    return each
            elif answer == actual and type(answer) is type(actual):
                return each
    return None


def encoding_failure(message: Message, actual: Payload) -> tuple[str, str, str] | None:
    """Give requirement, kind and sentence where a frame is not in its only permitted encoding."""
    expected = encode(message)
    if actual == expected:
        return None
    requirement = "FR-13" if message.is_empty_reply else "FR-6"
    text = f"expected {short(expected)}, actual {short(actual)}: the same in another encoding"
    return requirement, "another encoding", text


def difference(
    requirement: str, answer: Message, message: Message, *, is_ask: bool
) -> tuple[str, str]:
    """Give the requirement that a frame violates, and the field in which it differs.

    Args:
        requirement: prescribes the expected frame.
        answer: the expected frame.
        message: the actual frame.
        is_ask: it is an ask of the peer, which chooses the token.
    """
    if (answer.wait != message.wait and not is_ask) or (is_ask and not message.wait):
        return "AR-1", "wait"
    if answer.is_binary != message.is_binary:
        return "AR-16", "message type"
    if answer.is_error != message.is_error:
        return requirement, "isError"
    if answer.body != message.body:
        if answer.is_error and answer.is_binary:
            return "FR-17", "body"
        is_carried = requirement in ("AR-7", "AR-10") and not answer.is_error
        return "FR-10" if is_carried else requirement, "body"
    return requirement, "another field"


def is_similar(answer: Message, message: Message, *, is_ask: bool, is_broadcast: bool) -> bool:
    """Whether a frame is a faulty form of an expected one, and not a frame of its own."""
    if answer.wait and not is_ask and answer.wait == message.wait:
        return True
    same_event = answer.event == message.event and answer.namespace == message.namespace
    if is_ask or not same_event or not answer.event:
        return same_event and bool(answer.event)
    if answer.wait and message.wait:
        return False
    # A broadcast without a tag is somebody else's; any other frame without one may be this one.
    return not (tags(message) or is_broadcast) or tags(answer) == tags(message)
