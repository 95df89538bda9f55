"""Records the corpus of transcripts anew, from real peers: ``make record``.

The sessions and conversations go through the recording relay, and are judged before they are kept:
what the monitor finds has to be what the session says is broken in it, no more and no less. For
each divergence that a real peer shows in a case, what went by in that case is kept beside them.

    python -m peers.corpus [--only TEXT] [--into FOLDER]

Exit codes: 0 recorded, 1 a peer did otherwise than its session says, 4 a toolchain is missing.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from neffos_conformance.cases.script import named, native_of
from neffos_conformance.cli.serve import PEER
from neffos_conformance.interop import conversation
from neffos_conformance.recordings.checking import judge_stream
from neffos_conformance.runner.client_steps import accepting_clients
from neffos_conformance.runner.driver_pool import to_client
from neffos_conformance.runner.driver_protocol import DriverError, running_driver
from neffos_conformance.runner.known_failures import weigh
from neffos_conformance.runner.run import Run, to_server
from neffos_conformance.wire.relay import relaying
from neffos_conformance.wire.subprocesses import running
from neffos_conformance.wire.transcript import Writer, header, lines, save
from neffos_protocol.catalogue import divergences
from peers.deviations import Shown, showing
from peers.real_peers import (
    HERE,
    ROOT,
    BuildError,
    RealPeer,
    ToolchainError,
    UnknownPeerError,
    exit_code,
    wanted,
)
from peers.scripts import ScriptError, Session, load, play_client, play_server

TRANSCRIPTS: Final = ROOT / "conformance" / "transcripts"
DIVERGENCES: Final = "divergences"
"""The folder below it with what shows them."""

SERVER_SESSIONS: Final = HERE / "server-sessions.toml"
CLIENT_SESSIONS: Final = HERE / "client-sessions.toml"

SESSION_ENDPOINTS: Final = {"neffos-go": "gorilla", PEER: "reference"}
"""The endpoint with which the sessions of the suite are recorded, by peer."""

SESSION_CLIENTS: Final = ("neffos-go-gorilla", "neffos.js", PEER)
"""The clients with which they are recorded."""

MAIN_CLIENTS: Final = ("neffos-go-gorilla", "neffos.js", PEER)
MAIN_SERVERS: Final = (
    "neffos-go-gorilla",
    "neffos-go-gobwas",
    "neffos-go-iris-mvc",
    f"{PEER}-reference",
)
"""The pairs of these are recorded in every chapter, all other pairs in the first."""

SUITE: Final = {"peer": "neffos-wire suite"}
"""What the suite calls itself where it plays one of the sides."""

EXIT_FAIL: Final = 1

console = Console()


@dataclass(frozen=True, slots=True)
class Chapter:
    """Some steps of the conversation, recorded together.

    Attributes:
        id: names it.
        title: what happens.
        shows: the requirements that it shows.
        steps: the steps, behind the first and before the last of the whole.
        defects: what clients are known to break in it, by the beginning of their names.
    """

    id: str
    title: str
    shows: tuple[str, ...]
    steps: tuple[conversation.Step, ...]
    defects: Mapping[str, Mapping[str, str]]


CHAPTERS: Final = (
    Chapter(
        "asks",
        "asks from both ends, in text and in binary, many at once, and errors",
        ("AR-1", "AR-5", "AR-7", "AR-11", "AR-16", "AR-18", "FR-10", "FR-11"),
        (
            conversation.text,
            conversation.empty,
            conversation.error,
            conversation.asked_by_server,
            conversation.many_asks,
            conversation.pushed,
        ),
        {},
    ),
    Chapter(
        "binary",
        "octets, both ways",
        ("FR-10", "FR-11", "FR-12", "AR-16"),
        (
            conversation.binary,
            conversation.binary_error,
            conversation.asked_by_server_in_binary,
        ),
        {},
    ),
    Chapter(
        "rooms",
        "rooms: joined and left by either side, refused, and broadcasts in them",
        ("RM-1", "RM-2", "RM-3", "EV-8", "EV-9", "AR-17", "RM-8"),
        (
            conversation.rooms,
            conversation.refused_join,
            conversation.joined_by_server,
            conversation.leave_all,
        ),
        {"neffos.js": {"EV-5": "client"}},  # leaveAll sends a notice in place of an ask
    ),
    Chapter(
        "namespaces",
        "namespaces: escaped, connected and disconnected by either side, refused",
        ("NS-1", "NS-4", "NS-6", "FR-3", "AR-8", "NS-13", "HS-4"),
        (
            conversation.escaped,
            conversation.any_event,
            conversation.connected_by_server,
            conversation.disconnected_by_server,
            conversation.disconnect,
            conversation.refused_handshake,
        ),
        {},
    ),
)


def main() -> int:
    """Record; give the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="", help="only sessions whose file name holds this text")
    parser.add_argument("--into", type=Path, default=TRANSCRIPTS, help="the folder to write into")
    arguments = parser.parse_args()
    try:
        peers = wanted()
        for peer in peers.values():
            peer.build()
    except (BuildError, ToolchainError, UnknownPeerError) as error:
        console.print(f"record: {error}", markup=False)
        return exit_code(error)
    return asyncio.run(record(arguments.into, peers, arguments.only))


async def record(into: Path, peers: Mapping[str, RealPeer], only: str = "") -> int:
    """Record the sessions with these peers, which have been built; give the exit code."""
    clients = {name: command for each in peers.values() for name, command in each.clients.items()}
    recorder = Recorder(into, clients, only)
    known = showing(peers, "server")
    for peer, about_peer in peers.items():
        if about_peer.server is None:
            continue
        with running(about_peer.server) as ready:
            about = {
                "peer": str(ready["peer"]),
                "version": str(ready["version"]),
                "runtime": str(ready.get("go") or ready.get("runtime") or "unknown"),
            }
            for endpoint, url in sorted(ready["endpoints"].items()):
                server = {**about, "backend": endpoint}
                if SESSION_ENDPOINTS.get(peer) == endpoint:
                    for session in load(SERVER_SESSIONS, "server"):
                        if not session.peers or peer in session.peers:
                            await recorder.server_session(session, peer, server, url)
                await recorder.conversations(f"{peer}-{endpoint}", server, url)
                for cases in known.get(f"{peer}/{endpoint}", {}).values():
                    await recorder.divergence(cases, server, to_server(url, is_alone=True))
    for client in (each for each in SESSION_CLIENTS if each in clients):
        await recorder.client_sessions(client)
    for name, found in showing(peers, "client").items():
        if not any(recorder.wants(divergence_name(each)) for each in found.values()):
            continue
        async with to_client(clients[name], drivers=1) as (run, ready):
            for cases in found.values():
                await recorder.divergence(cases, _about(ready), run)
    console.print(f"{recorder.count} sessions recorded into {into}, {recorder.failures} failed")
    return EXIT_FAIL if recorder.failures else 0


def divergence_name(cases: Sequence[Shown]) -> str:
    """Give the name of what shows a divergence."""
    return f"{DIVERGENCES}/{cases[0].divergence}-{cases[0].case.role}"


class Recorder:
    """Records sessions, and keeps those that went as they should.

    Attributes:
        count: how many were kept.
        failures: how many were not.
    """

    def __init__(self, into: Path, clients: Mapping[str, Sequence[str]], only: str) -> None:
        self.count = 0
        self.failures = 0
        self._into = into
        self._clients = clients
        self._only = only

    def wants(self, name: str) -> bool:
        """Whether the recording of that name is to be made."""
        return self._only in name

    async def server_session(
        self, session: Session, peer: str, server: Mapping[str, str], url: str
    ) -> None:
        """Record the suite, as a client, with a server."""
        name = f"{peer}/{session.case.id}"
        if not self.wants(name):
            return
        first = _header(session, SUITE, server)
        async with self._recording(name, first, url) as relay:
            await play_client(session, relay)

    async def client_sessions(self, client: str) -> None:
        """Record the suite, as a server, with a client."""
        async with (
            accepting_clients() as (url, incoming),
            running_driver(self._clients[client]) as driver,
        ):
            about = _about(driver.ready)
            for session in load(CLIENT_SESSIONS, "client"):
                name = f"{client}/{session.case.id}"
                if (session.peers and client not in session.peers) or not self.wants(name):
                    continue
                first = _header(session, about, SUITE)
                async with self._recording(name, first, url) as relay:
                    await play_server(session, driver, relay, incoming)

    async def conversations(self, server_name: str, server: Mapping[str, str], url: str) -> None:
        """Record every client's conversation with a server, in chapters."""
        for client, command in self._clients.items():
            is_main = client in MAIN_CLIENTS and server_name in MAIN_SERVERS
            for chapter in CHAPTERS if is_main else CHAPTERS[:1]:
                name = f"{server_name}/{client}-{chapter.id}"
                if not self.wants(name):
                    continue
                async with running_driver(command) as driver:
                    first = header(
                        scenario=chapter.title,
                        client=_about(driver.ready),
                        server=server,
                        how="make record",
                        shows=chapter.shows,
                        defects=_defects(chapter, client),
                    )
                    async with self._recording(name, first, url) as relay:
                        await conversation.converse(driver, relay, chapter.steps)

    async def divergence(self, cases: Sequence[Shown], peer: Mapping[str, str], run: Run) -> None:
        """Record the first of some cases that shows a divergence in messages."""
        name = divergence_name(cases)
        if not self.wants(name):
            return
        role = cases[0].case.role
        sides = (SUITE, peer) if role == "server" else (peer, SUITE)
        for each in cases:
            result = await run(each.case)
            entries = result.entries()
            if weigh([each.deviation], [result], [each.case.id]).complaints:
                self.failures += 1
                console.print(
                    f"{name}: {each.case.id} is {result.verdict}, {result.explanation}",
                    markup=False,
                )
                return
            first = header(
                scenario=f"asked ({each.case.id}): {each.case.title}; found: {result.explanation}",
                client=sides[0],
                server=sides[1],
                how="make record",
                native=native_of(role, (named(line)[0] for line in each.case.steps)).value,
                shows=each.case.requirements,
                divergence=each.divergence,
            )
            broken = judge_stream(io.BytesIO(b"".join(lines(first, entries)))).counts.keys()
            defects = dict(broken)
            if entries and len(defects) == len(broken):  # a header names one side for each
                if defects:
                    first["defects"] = defects
                save(self._into / f"{name}.jsonl", first, entries)
                self.count += 1
                return
        if not divergences()[cases[0].divergence].unrecorded:
            self.failures += 1
            console.print(f"{name}: no case leaves a recording")

    @asynccontextmanager
    async def _recording(self, name: str, first: dict[str, Any], url: str) -> AsyncIterator[str]:
        """Record what goes through the relay whose URL is given, and keep it if it is right."""
        stream = io.BytesIO()
        writer = Writer(stream, first)
        problem = ""
        async with relaying(url, writer.write) as relay:
            try:
                yield relay.url
            except (ScriptError, DriverError) as error:
                problem = str(error)
            await relay.idle()
        stream.seek(0)
        judged = judge_stream(stream)
        defects = first.get("defects", {})
        found = dict(judged.counts.keys())
        if not problem and found != defects:
            problem = f"the monitor finds {found}, the session says {defects}"
            problem += "".join(
                f"\n    line {each.line}: {each.finding.explanation}" for each in judged.broken
            )
        if problem:
            self.failures += 1
            console.print(f"{name}: {problem}", markup=False)
            return
        path = self._into / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(stream.getvalue())
        self.count += 1


def _header(
    session: Session, client: Mapping[str, str], server: Mapping[str, str]
) -> dict[str, Any]:
    return header(
        scenario=session.case.title,
        client=client,
        server=server,
        how="make record",
        native=session.native,
        shows=session.case.requirements,
        defects=session.defects,
        divergence=session.divergence,
    )


def _defects(chapter: Chapter, client: str) -> Mapping[str, str] | None:
    known = (each for name, each in chapter.defects.items() if client.startswith(name))
    return next(known, None)


def _about(ready: Mapping[str, Any]) -> dict[str, str]:
    return {name: str(ready[name]) for name in ("peer", "version", "runtime") if name in ready}


if __name__ == "__main__":
    sys.exit(main())
