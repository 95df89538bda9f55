"""Servers that are wrong about asks, replies and events."""

from __future__ import annotations

from neffos_conformance.embedded import Serve
from neffos_conformance.mutants.bank import distorted
from neffos_conformance.mutants.distortions import Payloads, answering, changing


@distorted("AR-1")
def token_lost(serve: Serve) -> Serve:
    """Replies without the token of the ask, to handlers' events."""
    return changing(lambda m: m.replace(wait="") if m.event == "echo" else m)(serve)


@distorted("AR-7")
def error_without_flag(serve: Serve) -> Serve:
    """Sends an error text as if it were a body."""
    return changing(lambda m: m.replace(is_error=False))(serve)


@distorted("AR-7")
def replies_swapped(serve: Serve) -> Serve:
    """Holds the first of two replies back until the second is there."""
    held: Payloads = []

    def wrong(payload: str | bytes) -> Payloads:
        sent = serve(payload)
        if isinstance(payload, str) and payload.endswith("first"):
            held.extend(sent)
            return []
        sent += held
        held.clear()
        return sent

    return wrong


@distorted("AR-9")
def silence_answered(serve: Serve) -> Serve:
    """Sends an empty reply where the handler returned nothing."""
    return answering(lambda m: m.empty_reply() if m.event == "silent" else None)(serve)


@distorted("AR-10")
def tokenless_unanswered(serve: Serve) -> Serve:
    """Sends no reply to a message without a token."""
    return changing(lambda m: None if m.event == "echo" and not m.wait else m)(serve)


@distorted("AR-10")
def error_event_lost(serve: Serve) -> Serve:
    """Sends errors only to asks."""
    return changing(lambda m: None if m.is_error and not m.wait else m)(serve)


@distorted("AR-10")
def room_lost(serve: Serve) -> Serve:
    """Forgets the room of the message that it answers."""
    return changing(lambda m: m.replace(room="") if m.event == "echo" else m)(serve)


@distorted("EV-6")
def error_taken_for_body(serve: Serve) -> Serve:
    """Gives an error's text to a handler as the body."""
    return lambda payload: serve(
        payload.replace("echo;1;0;", "echo;0;0;") if isinstance(payload, str) else payload
    )


@distorted("AR-1")
def asks_without_token(serve: Serve) -> Serve:
    """Asks its question without a token."""
    return changing(lambda m: m.replace(wait="") if m.event == "question" else m)(serve)
