"""Servers, each with one fault, by the family of the requirement that it violates."""

from mutation.servers import (
    asks,
    events,
    exchange,
    frame,
    handshake,
    namespaces,
    native,
    rooms,
    security,
    transport,
)

__all__ = [
    "asks",
    "events",
    "exchange",
    "frame",
    "handshake",
    "namespaces",
    "native",
    "rooms",
    "security",
    "transport",
]
