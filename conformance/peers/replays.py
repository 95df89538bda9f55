"""Plays the corpus to live peers, and explains every difference: ``make replay``.

First every recording is judged, and the suite's sessions are recorded afresh, into
``build/transcripts``. Then what real servers said is compared with what the reference server
and real servers say today, and what real clients said with what clients say today. Differences
that are known are in ``replays.toml``; one that is not there, or no longer shows, is an error.

    python -m peers.replays [--list]

Exit codes: 0 all is explained, 1 something is not, 4 a toolchain is missing.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tomllib
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Final

from rich.console import Console

from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.recordings.checking import judge
from neffos_conformance.recordings.replay import (
    Replayed,
    ReplayOutcome,
    replay_to_client,
    replay_to_server,
)
from neffos_conformance.wire.subprocesses import running
from neffos_conformance.wire.transcript import Transcript, read_transcript
from peers.corpus import DIVERGENCES, SUITE, TRANSCRIPTS, record
from peers.real_peers import (
    CLIENTS,
    HERE,
    PEERS,
    ROOT,
    SERVERS,
    BuildError,
    ToolchainError,
    exit_code,
)

KNOWN: Final = HERE / "replays.toml"
FRESH: Final = ROOT / "build" / "transcripts"

SAMPLE: Final = ("neffos-go/", "neffos-wire/", "neffos.js/")
"""What is recorded afresh: the suite's own sessions with servers and with clients."""

LIVE_PEERS: Final = ("neffos-go", "neffos.js", "neffos-wire")
"""The peers that recordings are played to."""

LIVE_SERVERS: Final = (("neffos-wire", "reference"), ("neffos-go", "gorilla"))
"""The servers that recordings are played to, by peer and endpoint."""

LIVE_CLIENTS: Final = ("neffos-wire", "neffos-go-gorilla", "neffos.js")
"""The clients, likewise."""

DEADLINE: Final = 2.0
"""Seconds for the next thing that a peer is to do; on one machine it takes milliseconds."""

EXIT_FAIL: Final = 1

console = Console()


@dataclass(frozen=True, slots=True)
class Known:
    """A difference that is known.

    Attributes:
        recordings: which, by patterns of their names below the corpus.
        against: the live peer.
        observed: what stands in the explanation.
        reason: why it is so.
    """

    recordings: tuple[str, ...]
    against: str
    observed: str
    reason: str

    def explains(self, name: str, against: str, explanation: str) -> bool:
        """Whether this is about that difference."""
        return (
            against == self.against
            and any(fnmatchcase(name, pattern) for pattern in self.recordings)
            and self.observed in explanation
        )


def known_differences() -> list[Known]:
    """Give what is known, in the order of the file."""
    entries: list[dict[str, Any]] = tomllib.loads(KNOWN.read_text("utf-8"))["difference"]
    return [
        Known(tuple(entry["recordings"]), against, entry["observed"], entry["reason"])
        for entry in entries
        for against in entry["against"]
    ]


def main() -> int:
    """Judge, record a sample, replay; give the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--list", action="store_true", help="print every difference, known or not")
    arguments = parser.parse_args()
    peers = {name: PEERS[name] for name in LIVE_PEERS}
    try:
        for peer in peers.values():
            peer.build()
    except (BuildError, ToolchainError) as error:
        console.print(f"replay: {error}", markup=False)
        return exit_code(error)
    recordings = {
        path.relative_to(TRANSCRIPTS).as_posix(): read_transcript(path)
        for path in sorted(TRANSCRIPTS.rglob("*.jsonl"))
    }
    failures = check(list(recordings))
    for name in [each for each in recordings if each.startswith(f"{DIVERGENCES}/")]:
        del recordings[name]  # a live peer that has them no more is found by the cases
    for part in SAMPLE:
        failures += bool(asyncio.run(record(FRESH, peers, part)))
    replays = Replays(known_differences(), is_verbose=arguments.list)
    asyncio.run(to_servers(replays, recordings))
    asyncio.run(to_clients(replays, recordings))
    failures += replays.sum_up()
    return EXIT_FAIL if failures else 0


def check(names: list[str]) -> int:
    """Judge every recording; give the number of those that are not sound."""
    unsound = [name for name in names if judge(TRANSCRIPTS / name).verdict is not Verdict.PASS]
    for name in unsound:
        console.print(f"{name} breaks what its header does not name", markup=False)
    console.print(f"{len(names)} recordings judged, {len(unsound)} unsound")
    return len(unsound)


async def to_servers(replays: Replays, recordings: dict[str, Transcript]) -> None:
    """Play what clients said to real servers."""
    for peer, endpoint in LIVE_SERVERS:
        with running(SERVERS[peer]) as ready:
            url = ready["endpoints"][endpoint]
            for name, transcript in recordings.items():
                if transcript.header["server"]["peer"] != SUITE["peer"]:
                    replayed = await replay_to_server(transcript, url, deadline=DEADLINE)
                    replays.note(name, peer, replayed)


async def to_clients(replays: Replays, recordings: dict[str, Transcript]) -> None:
    """Play what servers said to real clients."""
    for client in LIVE_CLIENTS:
        for name, transcript in recordings.items():
            if transcript.header["server"]["peer"] == SUITE["peer"]:
                replayed = await replay_to_client(transcript, CLIENTS[client], deadline=DEADLINE)
                replays.note(name, client, replayed)


class Replays:
    """What came of the replays, held against what is known.

    Args:
        known: the differences that are known.
        is_verbose: whether each is printed.
    """

    def __init__(self, known: list[Known], *, is_verbose: bool) -> None:
        self._known = known
        self._is_verbose = is_verbose
        self._used: set[int] = set()
        self._counts: dict[tuple[str, str], int] = {}
        self._unexplained = 0

    def note(self, name: str, against: str, replayed: Replayed) -> None:
        """Take note of one replay."""
        told = replayed.outcome.value
        if replayed.outcome in (ReplayOutcome.DIFFERENT, ReplayOutcome.ERROR):
            told = "explained"
            for index, known in enumerate(self._known):
                if known.explains(name, against, replayed.explanation):
                    self._used.add(index)
                    break
            else:
                told = "unexplained"
                self._unexplained += 1
            if self._is_verbose or told == "unexplained":
                text = f"{told}: {name} against {against}: {replayed.explanation}"
                console.print(text, markup=False, soft_wrap=True)
        key = against, told
        self._counts[key] = self._counts.get(key, 0) + 1

    def sum_up(self) -> int:
        """Say what came of all; give the number of what is unexplained or out of date."""
        for against in dict.fromkeys(key[0] for key in self._counts):
            counts = ", ".join(
                f"{count} {told}" for (whom, told), count in self._counts.items() if whom == against
            )
            console.print(f"replayed against {against}: {counts}")
        stale = [each for index, each in enumerate(self._known) if index not in self._used]
        for known in stale:
            text = f"out of date: {known.recordings} against {known.against}: {known.observed}"
            console.print(text, markup=False, soft_wrap=True)
        return self._unexplained + len(stale)


if __name__ == "__main__":
    sys.exit(main())
