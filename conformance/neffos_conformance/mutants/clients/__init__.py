"""Clients that are wrong, each in one way, by what they are wrong about; and some odd ones."""

from neffos_conformance.mutants.clients import (
    asks,
    events,
    frame,
    handshake,
    hostile,
    namespaces,
    native,
    odd,
    rooms,
    transport,
)

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
