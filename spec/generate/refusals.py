"""Why a server is not reached or refuses a client, as tables: the data of ``doctor``."""

from __future__ import annotations

from generate.text import table, verbatim, with_options
from neffos_conformance.runner.refusals import refusals


def table_of(*steps: str) -> str:
    """Give what can be seen in some steps, why, and what to do."""
    rows = [
        (verbatim(each.seen), verbatim(each.reason), with_options(each.remedy))
        for each in refusals()
        if each.step in steps
    ]
    return table(("what you see", "why", "what to do"), rows)
