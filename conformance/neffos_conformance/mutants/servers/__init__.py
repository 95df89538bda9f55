"""Servers that are wrong, each in one way, by what they are wrong about."""

from neffos_conformance.mutants.servers import asks, frame, handshake, namespaces, rooms

__all__ = ["asks", "frame", "handshake", "namespaces", "rooms"]
