"""Programs for a client under test: what is drawn, what is expected of it, how it is played."""

from neffos_conformance.model_based.clients.drive import play
from neffos_conformance.model_based.clients.programs import program

__all__ = ["play", "program"]
