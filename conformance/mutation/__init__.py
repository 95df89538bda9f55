"""Peers that are wrong on purpose, and some that are only odd: the suite is tested on them."""

from mutation import benign, clients, codecs, servers
from mutation.registry import BANK, SOON, Mutant

__all__ = ["BANK", "SOON", "Mutant", "benign", "clients", "codecs", "servers"]
