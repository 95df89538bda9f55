"""Clients that are wrong, each in one way, by what they are wrong about; and some odd ones."""

from mutation.clients import (
    asks,
    events,
    frame,
    handshake,
    hostile,
    namespaces,
    native,
    rooms,
    transport,
)
from mutation.clients import benign as odd

__all__ = [
    "asks",
    "events",
    "frame",
    "handshake",
    "hostile",
    "namespaces",
    "native",
    "odd",
    "rooms",
    "transport",
]
