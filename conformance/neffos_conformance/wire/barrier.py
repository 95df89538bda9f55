"""Barriers: asks whose replies prove that nothing else was sent before them.

A barrier asks to connect a namespace that does not exist. Every peer refuses that in any state
after the handshake, and in order (NS-3, EV-1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from neffos_conformance.wire.payloads import frame_of

NAMESPACE: Final = "no such namespace"

BARRIER_TOKENS: Final[Mapping[str, str]] = {"server": "$barrier", "client": "barrier"}
IMPLICIT_TOKENS: Final[Mapping[str, str]] = {"server": "$doubt", "client": "doubt"}
"""By the role of the peer that is asked: a client's token begins with ``$``, a server's does not.
Two kinds of barrier have tokens of their own, so that a late reply to one is not taken for a reply
to the other."""


def barrier_ask(token: str) -> str:
    """Give a barrier with a token."""
    return f"{token};{NAMESPACE};;_OnNamespaceConnect;0;0;"


BARRIERS: Final = {role: barrier_ask(token) for role, token in BARRIER_TOKENS.items()}
"""The barriers that a script asks for, by the role of the peer that is asked."""

IMPLICIT_BARRIERS: Final = {role: barrier_ask(token) for role, token in IMPLICIT_TOKENS.items()}
"""The barriers that the suite sends unasked when an expected message is late."""

BARRIER_TOKEN: Final = BARRIER_TOKENS["server"]
BARRIER: Final = BARRIERS["server"]


def is_barrier_reply(payload: object, tokens: Mapping[str, str] = BARRIER_TOKENS) -> bool:
    """Say whether a payload is the reply to a barrier with one of these tokens."""
    if isinstance(payload, str) and NAMESPACE not in payload:
        return False  # true of most messages, and cheaper than decoding
    message = frame_of(payload)
    return message is not None and (
        message.wait in tokens.values() and message.namespace == NAMESPACE
    )
