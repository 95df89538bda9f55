"""What was found when the whole model was last checked by hand, for the site."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import tomli_w

from neffos_protocol.state_machines import machines
from proving.configurations import CONFIGURATIONS, Configuration
from proving.promela import row_name, rows_of
from proving.spin import SearchResult

FILE: Final = Path(__file__).with_name("results.toml")
FOLDER: Final = Path(__file__).with_name("counterexamples")
"""The recordings of the counterexamples."""


def load() -> dict[str, Any]:
    """Read the figures of each configuration, and the names of the rows that were taken."""
    if not FILE.exists():
        return {"taken": [], "configuration": {}}
    return tomllib.loads(FILE.read_text("utf-8"))


def save(found: Mapping[Configuration, SearchResult]) -> None:
    """Write the results of a run, and keep those of others."""
    before = load()
    figures = before["configuration"] | {
        each.name: {
            "states": outcome.states,
            "transitions": outcome.transitions,
            "depth": outcome.depth,
            "seconds": round(outcome.seconds, 1),
            "mebibytes": round(outcome.mebibytes),
        }
        | ({"hash_factor": outcome.coverage} if outcome.coverage else {})
        for each, outcome in found.items()
    }
    taken = {row for each in found.values() for row, count in each.taken.items() if count}
    names = [row_name(*each) for each in rows_of(machines())]
    known = {*before["taken"], *(names[row] for row in taken)}
    results = {
        "taken": [name for name in names if name in known],
        "configuration": {
            each.name: figures[each.name] for each in CONFIGURATIONS if each.name in figures
        },
    }
    FILE.write_text(tomli_w.dumps(results), "utf-8")
