"""Model-based testing: random test sequences, checked against a model and the monitor, shrunk."""

from neffos_conformance.model_based.explore import (
    Counterexample,
    Plan,
    SequenceReport,
    explore_client,
    explore_driven,
    explore_server,
)
from neffos_conformance.model_based.links import drivers

__all__ = [
    "Counterexample",
    "Plan",
    "SequenceReport",
    "drivers",
    "explore_client",
    "explore_driven",
    "explore_server",
]
