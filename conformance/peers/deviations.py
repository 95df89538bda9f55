"""What is known of real peers: the files in the folder ``deviations``.

Those of cases have the form that ``neffos-wire --deviations`` reads, and ``real_peers.py`` says
which hold for whom. ``conversation.toml`` is about steps of the conversation of a client and a
server.
"""

from __future__ import annotations

import tomllib
from functools import cache
from typing import Any, Final

from neffos_conformance.matrix.conversation import Outcome
from peers.real_peers import HERE

DEVIATIONS: Final = HERE / "deviations"


def is_explained(client: str, outcome: Outcome) -> bool:
    """Say whether a step went as is known of the client, be it well or not."""
    known = known_of_client(client, outcome.step)
    if known is None:
        return not outcome.failure
    return bool(outcome.failure) and known in outcome.failure


def known_of_client(client: str, step: str) -> str | None:
    """Give a part of what is known to go wrong in a step."""
    for entry in _conversation():
        if client in entry["peers"] and step in entry["steps"]:
            return str(entry["observed"])
    return None


@cache
def _conversation() -> list[dict[str, Any]]:
    text = (DEVIATIONS / "conversation.toml").read_text("utf-8")
    entries: list[dict[str, Any]] = tomllib.loads(text)["deviation"]
    return entries
