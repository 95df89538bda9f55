"""Servers that are wrong, each in one way, by what they are wrong about."""

from neffos_conformance.mutants.servers import (
    asks,
    events,
    exchange,
    frame,
    handshake,
    namespaces,
    native,
    rooms,
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
    "transport",
]
