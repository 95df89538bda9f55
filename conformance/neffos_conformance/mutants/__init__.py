"""Peers that are wrong on purpose, and some that are only odd: the suite is tested on them."""

from neffos_conformance.mutants import clients, codecs, odd, servers
from neffos_conformance.mutants.bank import BANK, SOON, Mutant

__all__ = ["BANK", "SOON", "Mutant", "clients", "codecs", "odd", "servers"]
