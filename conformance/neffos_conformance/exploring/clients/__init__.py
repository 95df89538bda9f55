"""Programs for a client under test: what is drawn, what is expected of it, how it is played."""

from neffos_conformance.exploring.clients.drive import play
from neffos_conformance.exploring.clients.programs import program

__all__ = ["play", "program"]
