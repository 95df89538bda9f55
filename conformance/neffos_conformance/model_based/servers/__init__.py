"""Programs for a server under test: what is drawn, what is expected of it, how it is played."""

from neffos_conformance.model_based.servers.drive import play
from neffos_conformance.model_based.servers.programs import program

__all__ = ["play", "program"]
