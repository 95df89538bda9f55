"""Exploration of a live peer: random programs, held against the monitor, and made small."""

from neffos_conformance.model_based.clients.moving import drivers
from neffos_conformance.model_based.explore import (
    Explored,
    Finding,
    Progress,
    explore_client,
    explore_moved,
    explore_server,
)

__all__ = [
    "Explored",
    "Finding",
    "Progress",
    "drivers",
    "explore_client",
    "explore_moved",
    "explore_server",
]
