"""Tests of fields for triggers, and the hooks that clients with a fault share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mutation.client_faults import ClientContext, ClientFault, frame_of
from mutation.hooks import Effect, FrameHook, Payload, when
from neffos_codec import Message


def is_own(token: str) -> bool:
    """Say whether a token is one that a client made."""
    return token.startswith("$")


def is_foreign(token: str) -> bool:
    """Say whether a token is one that the server made."""
    return bool(token) and not is_own(token)


def is_text(body: object) -> bool:
    """Say whether a body is text."""
    return isinstance(body, str)


def is_binary(body: object) -> bool:
    """Say whether a body is bytes."""
    return isinstance(body, bytes)


def is_empty(value: Any) -> bool:
    """Say whether a field is empty."""
    return not value


def is_user_event(event: str) -> bool:
    """Say whether an event is neither reserved nor empty."""
    return bool(event) and not event.startswith("_")


def remember(field: str, **trigger: Any) -> FrameHook:
    """Remember a field of some frames, and leave them alone."""
    return when(lambda c, m: c.seen.add(getattr(m, field)), **trigger)


def renamed(rename: Callable[[ClientContext, str], str], **trigger: Any) -> ClientFault:
    """Give other tokens to some of the client's asks, also ones that no codec would write."""

    def token(c: ClientContext, m: Message) -> str:
        new = rename(c, m.wait)
        c.values[new] = m.wait
        return new

    meant = when(token, wait=is_own, **trigger)

    def send(c: ClientContext, payload: Payload) -> Effect:
        message = frame_of(payload)
        new = meant(c, message) if message else None
        if message is None or not isinstance(new, str):
            return None
        if isinstance(payload, str):
            return new + payload.removeprefix(message.wait)
        return message.replace(wait=new)

    return ClientFault(
        send_raw=send, receive=lambda c, m: c.serve(m.replace(wait=c.values.get(m.wait, m.wait)))
    )
