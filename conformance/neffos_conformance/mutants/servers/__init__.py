"""Servers that are wrong, each in one way, by what they are wrong about."""

from neffos_conformance.mutants.servers import asks, exchange, frame, handshake, namespaces, rooms

__all__ = ["asks", "exchange", "frame", "handshake", "namespaces", "rooms"]
