"""Tests plain servers as their owners do: with one command, as they are and with a namespace named.

A plain server knows nothing of the suite. A failure that the conformance application on the same
library does not show either accuses the server of what it lacks, and is an error here. ``make
interop`` runs this.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from neffos_conformance.wire.subprocesses import running
from neffos_conformance.wire.waiting import at_most
from peers.implementations import KNOWN_FAILURES, REFERENCE, Implementation

NAMESPACE: Final = "default"
"""The namespace of the plain servers."""

AT_LEAST: Final = {"bare": 45, "namespace": 75}
"""The requirements that a run shows at least, by its level: what users were promised."""

CASE: Final = 30.0
"""Seconds for a case: it takes milliseconds on an idle machine, and must not fail on a busy one."""

SHOWN: Final = 30
"""Lines that are printed of a run with another result: the summary, and what is unexplained."""


def plain_failures(
    peers: Mapping[str, Implementation], jobs: int, seed: int | None = None
) -> list[str]:
    """Run plain servers of these peers, which have been built, and say what is wrong, if anything.

    Args:
        peers: the peers by name.
        jobs: the number of runs that go on concurrently.
        seed: chooses one endpoint of each peer; ``None`` for all.
    """
    return asyncio.run(_all_failures(peers, jobs, seed))


async def _all_failures(
    peers: Mapping[str, Implementation], jobs: int, seed: int | None
) -> list[str]:
    one = at_most(jobs, _failure)
    found: list[str] = []
    for peer_name, peer in peers.items():
        if peer.plain is None:
            continue
        with running(peer.plain) as ready, TemporaryDirectory() as folder:
            endpoints = sorted(ready["endpoints"].items())
            if seed is not None:
                endpoints = [endpoints[seed % len(endpoints)]]
            runs = (
                one(peer, f"{peer_name}/{endpoint}", url, level, Path(folder))
                for endpoint, url in endpoints
                for level in AT_LEAST
            )
            found += filter(None, await asyncio.gather(*runs))
    return found


async def _failure(peer: Implementation, name: str, url: str, level: str, folder: Path) -> str:
    """Test one server at one level; say what is wrong, or nothing."""
    report = folder / f"{name.replace('/', '-')}-{level}.json"
    command = [REFERENCE, "test", "server", url, "--report", str(report), "--timeout", str(CASE)]
    if level == "namespace":
        command += ["--namespace", NAMESPACE]
    for file in peer.known[name]:
        command += ["--known-failures", str(KNOWN_FAILURES / file)]
    process = await asyncio.create_subprocess_exec(
        *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    printed, _ = await process.communicate()
    if process.returncode:
        last = "\n".join(printed.decode().splitlines()[-SHOWN:])
        return f"{name}, {level}: exit status {process.returncode}\n{last}"
    values = json.loads(report.read_text("utf-8"))
    shown = values["exercised"]["exercised"]
    if values["level"] != level or values["counts"]["error"] or shown < AT_LEAST[level]:
        return f"{name}, {level}: {shown} requirements at level {values['level']}"
    return ""
