"""Servers that are wrong, each in one way, by what they are wrong about."""

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
