"""What is known of real peers: the entries of deviations.toml."""

from __future__ import annotations

import tomllib
from functools import cache
from typing import Any, Final

from peers.real_peers import HERE

DEVIATIONS: Final = HERE / "deviations.toml"


def known_of_server(peer: str, backend: str, case_id: str) -> tuple[str, str] | None:
    """Give the verdict and the observation that are known of a case."""
    for entry in _deviations():
        here = peer in entry["peers"] and backend in entry.get("backends", [backend])
        if here and case_id in entry.get("cases", ()):
            return entry["verdict"], entry["observed"]
    return None


def known_of_client(client: str, step: str) -> str | None:
    """Give a part of what is known to go wrong in a step."""
    for entry in _deviations():
        if client in entry["peers"] and step in entry.get("steps", ()):
            return str(entry["observed"])
    return None


@cache
def _deviations() -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = tomllib.loads(DEVIATIONS.read_text("utf-8"))["deviation"]
    return entries
