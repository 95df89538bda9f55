"""Clients with a seeded fault, by the subject of the requirement; and benign variants."""

from mutation.clients import (
    asks,
    benign,
    events,
    frame,
    handshake,
    hostile,
    namespaces,
    native,
    rooms,
    transport,
)

__all__ = [
    "asks",
    "benign",
    "events",
    "frame",
    "handshake",
    "hostile",
    "namespaces",
    "native",
    "rooms",
    "transport",
]
