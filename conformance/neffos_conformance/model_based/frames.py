"""Whether what a peer said is what was expected of it, and how it differs where it is not."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

from neffos_codec import DecodeError, Message, decode, encode
from neffos_conformance.model_based.expected import Expected, Payload
from neffos_conformance.wire.payloads import short

NEWS: Final = "news"
"""The event of broadcasts, whose bodies others may have named."""

_TAG: Final = re.compile(r"\bt(\d+)\b")
"""What names the action in a body, or in the name of an event."""


def matching(
    expected: Iterable[Expected], seen: Payload, message: Message | None
) -> Expected | None:
    """Give what was expected of which something is; ``None`` where it is nothing of it.

    Args:
        expected: in the order in which it is expected.
        seen: what came.
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
            elif answer == "A":
                if isinstance(seen, str) and seen.startswith("A") and seen != "A":
                    return each
            elif answer == seen and type(answer) is type(seen):
                return each
    return None


def other_form(message: Message, seen: Payload) -> tuple[str, str, str] | None:
    """Say what is wrong where a frame is not written in the one way in which it can be.

    Gives the requirement, a kind and a sentence.
    """
    if seen == encode(message):
        return None
    requirement = "FR-13" if message.is_empty_reply else "FR-6"
    text = f"{short(seen)} is written in another way than {short(encode(message))}"
    return requirement, "written otherwise", text


def difference(
    requirement: str, answer: Message, message: Message, *, is_ask: bool
) -> tuple[str, str]:
    """Give what a frame breaks that is meant to be another, and in which field it differs.

    Args:
        requirement: what the other is expected by.
        answer: the other.
        message: what came.
        is_ask: it is an ask of the peer, whose token it chooses.
    """
    if (answer.wait != message.wait and not is_ask) or (is_ask and not message.wait):
        return "AR-1", "wait"
    if answer.is_binary != message.is_binary:
        return "AR-16", "the kind"
    if answer.is_error != message.is_error:
        return requirement, "isError"
    if answer.body != message.body:
        is_carried = requirement in ("AR-7", "AR-10") and not answer.is_error
        return "FR-10" if is_carried else requirement, "body"
    return requirement, "another field"


def is_like(answer: Message, message: Message, *, is_ask: bool) -> bool:
    """Whether a message is meant to be another one."""
    if answer.wait and not is_ask and answer.wait == message.wait:
        return True
    same_event = answer.event == message.event and answer.namespace == message.namespace
    if is_ask:
        return same_event and bool(answer.event)
    if answer.wait and message.wait:
        return False
    named = tags(message)
    if not named and answer.event != NEWS:  # a broadcast of somebody else's has none of ours
        named = tags(answer)
    return same_event and bool(answer.event) and tags(answer) == named


def tags(message: Message) -> list[str]:
    """Give the numbers of the actions that a body names."""
    body = message.body if isinstance(message.body, str) else message.body.decode("latin-1")
    return _TAG.findall(body)


def stable(text: str) -> str:
    """Leave out of an explanation what another run says otherwise."""
    return re.sub(r"'[^']*'", "…", text)


def frame(payload: Payload) -> Message | None:
    """Read a payload as a frame, if it is one."""
    try:
        return decode(payload)
    except DecodeError:
        return None


def named_in(message: Message) -> int:
    """Give the action that a frame's body or event names; 0 where they name none."""
    body = message.body if isinstance(message.body, str) else message.body.decode("latin-1")
    found = _TAG.search(f"{body} {message.event}")
    return int(found[1]) if found else 0
