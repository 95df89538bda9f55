"""The asks that prove silence: whatever a peer sends before their answers, it sent unasked.

They are for a namespace that nobody has, which every peer refuses in any state after the
handshake, and in order (NS-3, EV-1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from neffos_codec import DecodeError, Message, decode

NAMESPACE: Final = "no such namespace"

BARRIER_TOKENS: Final[Mapping[str, str]] = {"server": "$barrier", "client": "barrier"}
DOUBT_TOKENS: Final[Mapping[str, str]] = {"server": "$doubt", "client": "doubt"}
"""By the role of who is asked: a client's token begins with ``$``, a server's does not."""


def _ask(token: str) -> str:
    return f"{token};{NAMESPACE};;_OnNamespaceConnect;0;0;"


BARRIERS: Final = {role: _ask(token) for role, token in BARRIER_TOKENS.items()}
"""What a case asks to prove silence, by the role of who is asked."""

DOUBTS: Final = {role: _ask(token) for role, token in DOUBT_TOKENS.items()}
"""What the suite asks of its own accord, where an expected message is long in coming."""

BARRIER_TOKEN: Final = BARRIER_TOKENS["server"]
BARRIER: Final = BARRIERS["server"]


def answers(payload: object, tokens: Mapping[str, str]) -> bool:
    """Say whether a message is the refusal that a barrier, or a doubt, asks for."""
    if isinstance(payload, str) and NAMESPACE not in payload:
        return False  # most are not, and that is seen without taking them apart
    match _frame(payload):
        case Message(wait=token, namespace=namespace):
            return token in tokens.values() and namespace == NAMESPACE
        case _:
            return False


def _frame(payload: object) -> Message | None:
    try:
        return decode(payload) if isinstance(payload, str | bytes) else None
    except DecodeError:
        return None
