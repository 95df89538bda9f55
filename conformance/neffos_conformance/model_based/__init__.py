"""Model-based testing: random test sequences, checked against a model and the monitor, shrunk."""

from neffos_conformance.model_based.client_link import drivers
from neffos_conformance.model_based.explore import (
    Plan,
    explore_client,
    explore_driven,
    explore_server,
)
from neffos_conformance.model_based.report import (
    Counterexample,
    SequenceProgress,
    SequenceReport,
)

__all__ = [
    "Counterexample",
    "Plan",
    "SequenceProgress",
    "SequenceReport",
    "drivers",
    "explore_client",
    "explore_driven",
    "explore_server",
]
