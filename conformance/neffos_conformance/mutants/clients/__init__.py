"""Clients that are wrong, each in one way, by what they are wrong about."""
