"""Finds out which features a server under test has, where nobody says.

Each feature has a probe: a short conversation that gets some answer where the feature is there.
Whether it is the right one is for the cases to say.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Final

from neffos_conformance.cases.definition import Case
from neffos_conformance.cases.features import features
from neffos_conformance.cases.script import read_script
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.runner.playback import Timeouts
from neffos_conformance.runner.run import DEFAULT_TIMEOUTS, run_server_case

BRIEF: Final = replace(DEFAULT_TIMEOUTS, case=2.0)
"""How long a probe waits: one that is answered takes milliseconds, one that is not a second."""


async def discovered(url: str, timeouts: Timeouts = BRIEF) -> frozenset[str]:
    """Give the features of the server at a URL."""

    async def has(id_: str, probe: str) -> bool:
        case = Case(id_, "", ("NS-1",), "server", read_script(probe, "server"))
        result = await run_server_case(url, case, timeouts)
        return result.verdict is Verdict.PASS

    found = await asyncio.gather(*(has(each.id, each.probe) for each in features()))
    return frozenset(each.id for each, is_there in zip(features(), found, strict=True) if is_there)
