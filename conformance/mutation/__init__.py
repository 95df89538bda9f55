"""Faulty peers on which the suite is tested (mutation testing), and benign variants."""

from mutation import benign, clients, codecs, nodes, servers
from mutation.registry import BANK, SOON, Mutant

__all__ = ["BANK", "SOON", "Mutant", "benign", "clients", "codecs", "nodes", "servers"]
