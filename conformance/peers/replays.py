"""Replays the corpus to live peers, and explains every difference: ``make replay``.

It checks every recording, and records a sample again, into ``build/transcripts``. Then it
replays the recorded clients to live servers, those of clusters to live clusters with their brokers
if these are on this machine, and the recorded servers to live clients. Known
differences are in ``replays.toml``; one that is not there, or no longer occurs, is an error.

    python -m peers.replays [--list]

Exit status: 0 passed; 1 unexplained differences; 2 usage error; 4 a toolchain is missing.
"""

from __future__ import annotations

import asyncio
import shutil
import sys
import tomllib
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

import click
from rich.console import Console

from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.recordings.checking import check
from neffos_conformance.recordings.replay import (
    ReplayBroker,
    Replayed,
    ReplayOutcome,
    replay_to_client,
    replay_to_server,
    replay_to_servers,
)
from neffos_conformance.wire.subprocesses import running
from neffos_conformance.wire.transcript import Transcript, read_transcript
from peers.corpus import CASE_ENDPOINTS, SUITE, TRANSCRIPTS, corpus, record
from peers.exchanges import CLUSTERS, SERVED, exchange
from peers.exchanges import SERVERS as BROKERS
from peers.failed_cases import DIFFERENCES
from peers.implementations import CLIENTS, HERE, ROOT, SERVERS, built

KNOWN: Final = HERE / "replays.toml"
FRESH: Final = ROOT / "build" / "transcripts"

SAMPLE: Final = ("neffos-go/", "neffos-wire/", "neffos.js/")
"""What is recorded again: the cases for servers and for clients."""

LIVE_PEERS: Final = ("neffos-go", "neffos.js", "neffos-wire")
"""The peers that recordings are played to."""

LIVE_SERVERS: Final = (("neffos-wire", "reference"), ("neffos-go", "gorilla"))
"""The servers that recordings are played to, by peer and endpoint."""

LIVE_CLUSTERS: Final = (("neffos-wire", "redis"), ("neffos-wire", "nats"))
"""The clusters that recordings of clusters are played to, on whichever broker, with their own."""

LIVE_CLIENTS: Final = ("neffos-wire", "neffos-go-gorilla", "neffos.js")
"""The clients, likewise."""

DEADLINE: Final = 4.0
"""Seconds for each step of a peer. It takes milliseconds, also on a machine that is busy; only a
message that is known not to come takes all of them."""

console = Console(markup=False, soft_wrap=True)


@dataclass(frozen=True, slots=True)
class KnownDifference:
    """A known difference between recordings and a live peer.

    Attributes:
        recordings: which, as patterns of their names in the corpus.
        against: the live peer.
        observed: a part of the explanation.
        reason: why they differ.
    """

    recordings: tuple[str, ...]
    against: str
    observed: str
    reason: str

    def explains(self, name: str, against: str, explanation: str) -> bool:
        """Whether this is the known difference."""
        return (
            against == self.against
            and any(fnmatchcase(name, pattern) for pattern in self.recordings)
            and self.observed in explanation
        )


def known_differences() -> list[KnownDifference]:
    """Give the known differences, in the order of the file."""
    entries: list[dict[str, Any]] = tomllib.loads(KNOWN.read_text("utf-8"))["difference"]
    return [
        KnownDifference(tuple(entry["recordings"]), against, entry["observed"], entry["reason"])
        for entry in entries
        for against in entry["against"]
    ]


@click.command()
@click.option("--list", "is_verbose", is_flag=True, help="Print known differences, too.")
def main(is_verbose: bool) -> None:
    """Check the corpus, record a sample, and replay the corpus to live peers."""
    peers = built(LIVE_PEERS)
    recordings = {f"{name}.jsonl": read_transcript(path) for name, path in corpus().items()}
    failures = check_all(list(recordings))
    for name in [each for each in recordings if each.startswith(f"{DIFFERENCES}/")]:
        del recordings[name]  # `make interop` finds a live peer that no longer shows them
    for part in SAMPLE:
        failures += asyncio.run(record(FRESH, peers, part))
    replays = Replays(known_differences(), is_verbose=is_verbose)
    asyncio.run(replay_all(replays, recordings))
    sys.exit(bool(failures + replays.sum_up()))


async def replay_all(replays: Replays, recordings: dict[str, Transcript]) -> None:
    """Replay the recordings to all live peers concurrently, to each of them one by one."""
    async with asyncio.TaskGroup() as group:
        for peer, endpoint in LIVE_SERVERS:
            group.create_task(to_server(replays, recordings, peer, endpoint))
        for cluster, broker in LIVE_CLUSTERS:
            if shutil.which(BROKERS[broker][0]) is not None:
                group.create_task(to_cluster(replays, recordings, cluster, broker))
        for client in LIVE_CLIENTS:
            group.create_task(to_client(replays, recordings, client))


def check_all(names: list[str]) -> int:
    """Check every recording; give the number of those that do not pass."""
    failed = [name for name in names if check(TRANSCRIPTS / name).verdict is not Verdict.PASS]
    for name in failed:
        console.print(f"{name} has violations that its header does not name")
    console.print(f"{len(names)} recordings checked, {len(failed)} failed")
    return len(failed)


async def to_server(
    replays: Replays, recordings: dict[str, Transcript], peer: str, endpoint: str
) -> None:
    """Replay the recorded clients to a live server."""
    with running(SERVERS[peer]) as ready:
        url = ready["endpoints"][endpoint]
        for name, transcript in recordings.items():
            if transcript.header["server"]["peer"] != SUITE["peer"] and not _is_cluster(transcript):
                replayed = await replay_to_server(transcript, url, deadline=DEADLINE)
                replays.add(name, peer, replayed)


async def to_cluster(
    replays: Replays, recordings: dict[str, Transcript], cluster: str, broker: str
) -> None:
    """Replay the recorded clients of clusters to a live cluster."""
    against = f"{cluster} on {broker}"
    urls = []
    with ExitStack() as stack:  # starting a process takes seconds, in which others go on
        address = await asyncio.to_thread(stack.enter_context, exchange(broker))
        for server in CLUSTERS[cluster]:
            command = [*SERVED[server], address]
            ready = await asyncio.to_thread(stack.enter_context, running(command))
            urls.append(ready["endpoints"][CASE_ENDPOINTS.get(server, "gorilla")])
        for name, transcript in recordings.items():
            if _is_cluster(transcript):
                shared = ReplayBroker(address)
                replayed = await replay_to_servers(
                    transcript, urls, broker=shared, deadline=DEADLINE
                )
                replays.add(name, against, replayed)


def _is_cluster(transcript: Transcript) -> bool:
    return "broker" in transcript.header


async def to_client(replays: Replays, recordings: dict[str, Transcript], client: str) -> None:
    """Replay the recorded servers to a live client."""
    for name, transcript in recordings.items():
        if transcript.header["server"]["peer"] == SUITE["peer"]:
            replayed = await replay_to_client(transcript, CLIENTS[client], deadline=DEADLINE)
            replays.add(name, client, replayed)


class Replays:
    """The outcomes of the replays, compared with the known differences.

    Args:
        known: the known differences.
        is_verbose: whether known differences are printed.
    """

    def __init__(self, known: list[KnownDifference], *, is_verbose: bool) -> None:
        self._known = known
        self._is_verbose = is_verbose
        self._used: set[KnownDifference] = set()
        self._counts: Counter[tuple[str, str]] = Counter()

    def add(self, name: str, against: str, replayed: Replayed) -> None:
        """Add the outcome of one replay."""
        outcome = replayed.outcome.value
        if replayed.outcome in (ReplayOutcome.DIFFERENT, ReplayOutcome.ERROR):
            explanation = replayed.explanation
            found = [each for each in self._known if each.explains(name, against, explanation)]
            self._used.update(found[:1])
            outcome = "explained" if found else "unexplained"
            if self._is_verbose or not found:
                console.print(f"{outcome}: {name} against {against}: {replayed.explanation}")
        self._counts[against, outcome] += 1

    def sum_up(self) -> int:
        """Print the counts; give the number of unexplained and of stale differences."""
        for against in dict.fromkeys(peer for peer, _ in self._counts):
            counts = ", ".join(
                f"{count} {outcome}"
                for (peer, outcome), count in self._counts.items()
                if peer == against
            )
            console.print(f"replayed against {against}: {counts}")
        replayed = {peer for peer, _ in self._counts}  # a broker may not be on this machine
        stale = [
            each for each in self._known if each not in self._used and each.against in replayed
        ]
        for each in stale:
            console.print(f"stale: {each.recordings} against {each.against}: {each.observed}")
        unexplained = (
            count for (_, outcome), count in self._counts.items() if outcome == "unexplained"
        )
        return sum(unexplained) + len(stale)


if __name__ == "__main__":
    main()
