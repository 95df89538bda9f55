"""Records the corpus of transcripts from the tested implementations: ``make record``.

The cases in ``recorded_cases`` and the chapters of an interop run go through the recording relay,
those for clusters through one before each server, while the broker is listened to. A recording is
kept only if its violations are exactly those that its case or chapter names. For each difference
that a peer shows by failing a case, the messages of that case are kept too.

    python -m peers.corpus [--only TEXT] [--into FOLDER]
    python -m peers.corpus --check

``--check`` records nothing. It names the cases, requirements and differences without a recording,
which a release must have.

Exit status: 0 passed; 1 a recording failed or is missing; 2 usage error; 4 a toolchain is missing.
"""

from __future__ import annotations

import asyncio
import io
import shutil
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console

from neffos_conformance.cases.definition import ROLES, Case, Role, read_cases
from neffos_conformance.cases.script import named, native_of
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.interop.interop_runs import converse
from neffos_conformance.interop.table import about
from neffos_conformance.recordings.checking import check_stream
from neffos_conformance.reference import PEER
from neffos_conformance.runner.client_steps import accepting_clients
from neffos_conformance.runner.driver_pool import to_client
from neffos_conformance.runner.driver_protocol import DriverError, running_driver
from neffos_conformance.runner.known_failures import weigh
from neffos_conformance.runner.playback import Timeouts
from neffos_conformance.runner.result import Result
from neffos_conformance.runner.run import Run, run_client_case, to_server
from neffos_conformance.wire.broker import broker_at
from neffos_conformance.wire.cluster import hearing, relays_of
from neffos_conformance.wire.reach import Target
from neffos_conformance.wire.subprocesses import running
from neffos_conformance.wire.transcript import (
    Content,
    Header,
    Published,
    Writer,
    header,
    lines,
    read_transcript,
)
from neffos_protocol.catalogue import differences, requirements
from peers.exchanges import CLUSTERS, ENDPOINTS, EXCHANGES, SERVED, exchange
from peers.exchanges import SERVERS as BROKERS
from peers.failed_cases import FailedCase, difference_name, failed_cases
from peers.implementations import HERE, ROOT, Implementation, built, drivers

TRANSCRIPTS: Final = ROOT / "conformance" / "transcripts"
CASES: Final = HERE / "recorded_cases"
HOW: Final = "make record"

CASE_ENDPOINTS: Final = {"neffos-go": "gorilla", PEER: "reference"}
"""The endpoint with which the cases for servers are recorded, by peer."""

CASE_CLIENTS: Final = ("neffos-go-gorilla", "neffos.js", PEER)
"""The clients with which the cases for clients are recorded."""

CASE_CLUSTERS: Final = {
    f"{cluster}-{name}": (cluster, name)
    for cluster in CLUSTERS
    if cluster not in ENDPOINTS
    for name in EXCHANGES
}
"""The clusters with which the cases for clusters are recorded, each with its broker. What is at
another endpoint publishes by a library that is recorded."""

CASE_PEERS: Final = {
    "server": (*CASE_ENDPOINTS,),
    "client": CASE_CLIENTS,
    "exchange": (*CASE_CLUSTERS,),
}

MAIN_CLIENTS: Final = CASE_CLIENTS
MAIN_SERVERS: Final = (
    "neffos-go-gorilla",
    "neffos-go-gobwas",
    "neffos-go-iris-mvc",
    f"{PEER}-reference",
)
"""The pairs of these are recorded in every chapter, all other pairs in the first."""

OWN_CHANNEL: Final = "neffos-wire-record"
"""A channel of no server: what is published there comes after what the servers did."""

SUITE: Final = {"peer": "neffos-wire suite"}
"""The header's name of the suite, where it plays one of the peers."""

TIMEOUTS: Final = Timeouts(case=10.0, before_barrier=10.0)
"""A case takes milliseconds. The suite must not send a barrier to a slow peer: it would be in the
recording."""

CLOSING: Final = frozenset({"TR-12", "TR-13"})
"""What a step ``closed`` requires of a peer. A case does not test the answer to the suite's own
close frame."""

UNSEEN: Final = {
    "AR-15": "a deadline belongs to the asking peer: nothing is sent when it passes",
    "FR-15": "a transcript has whole messages, not their fragments",
    "SEC-2": "a message over the limit has 16 MiB, too much to keep",
    "SEC-4": "a handshake that never comes takes ten seconds",
    "SEC-5": "the application has fewer namespaces than the bound",
    "SEC-6": "a thousand joins show what three do",
    "SEC-8": "a transcript does not show what a peer has not read",
    "SEC-9": "a page is refused by HTTP, before a transcript begins",
    "TR-1": "HTTP, before a transcript begins",
    "TR-2": "HTTP, before a transcript begins",
    "TR-3": "HTTP, before a transcript begins",
    "TR-4": "HTTP, before a transcript begins",
    "TR-5": "HTTP, before a transcript begins",
    "TR-6": "HTTP, before a transcript begins",
    "TR-7": "HTTP, before a transcript begins",
}
"""Requirements that a wire shows, but a recording cannot, and why."""

console = Console(markup=False)


class NotRecordedError(Exception):
    """A peer did not follow its case; the text names the step."""


@dataclass(frozen=True, slots=True)
class Chapter:
    """Some steps of an interop run, recorded together.

    Attributes:
        id: its name.
        title: what happens.
        shows: the requirements that it shows.
        steps: the names of the steps, between the first and the last of the run.
        defects: the requirements that a client is known to violate, by the client's family.
    """

    id: str
    title: str
    shows: tuple[str, ...]
    steps: tuple[str, ...]
    defects: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


CHAPTERS: Final = (
    Chapter(
        "asks",
        "client and server ask each other in text, many times at once, and get replies and errors",
        ("AR-1", "AR-5", "AR-7", "AR-11", "AR-16", "AR-18", "FR-10", "FR-11"),
        ("text", "empty", "error", "asked_by_server", "many_asks", "pushed"),
    ),
    Chapter(
        "binary",
        "client and server send each other binary messages",
        ("FR-10", "FR-11", "FR-12", "AR-16"),
        ("binary", "binary_error", "asked_by_server_in_binary"),
    ),
    Chapter(
        "rooms",
        "client and server join, leave and refuse rooms, and broadcasts reach the rooms",
        ("RM-1", "RM-2", "RM-3", "EV-8", "EV-9", "AR-17", "RM-8"),
        ("rooms", "refused_join", "joined_by_server", "leave_all"),
        {"neffos.js": {"EV-5": "client"}},  # leaveAll sends a notice in place of an ask
    ),
    Chapter(
        "namespaces",
        "client and server connect, disconnect and refuse namespaces, and escape a name",
        ("NS-1", "NS-4", "NS-6", "FR-3", "AR-8", "NS-13", "HS-4"),
        (
            "escaped",
            "any_event",
            "connected_by_server",
            "disconnected_by_server",
            "disconnect",
            "refused_handshake",
        ),
    ),
)


@click.command()
@click.option("--only", default="", metavar="TEXT", help="Record only names that contain TEXT.")
@click.option(
    "--into",
    type=click.Path(file_okay=False, path_type=Path),
    default=TRANSCRIPTS,
    metavar="FOLDER",
    help="The folder to write into.",
)
@click.option("--check", is_flag=True, help="Record nothing; list what has no recording.")
def main(only: str, into: Path, check: bool) -> None:
    """Record the corpus from the tested implementations."""
    if check:
        found = missing({name: read_transcript(path).header for name, path in corpus().items()})
        for each in found:
            console.print(each)
        sys.exit(bool(found))
    sys.exit(bool(asyncio.run(record(into, built(), only))))


def corpus() -> dict[str, Path]:
    """Give the files of all recordings by name, for example ``neffos-go/handshake``."""
    paths = sorted(TRANSCRIPTS.rglob("*.jsonl"))
    return {path.relative_to(TRANSCRIPTS).with_suffix("").as_posix(): path for path in paths}


def missing(recordings: Mapping[str, Header]) -> list[str]:
    """Say what the corpus lacks: cases, requirements and differences without a recording.

    Args:
        recordings: the headers of all recordings by name.
    """
    there = recordings.values()
    shown = {id_ for each in there for id_ in each.get("shows", ())}
    shown_differences = {each["difference"] for each in there if "difference" in each}
    on_the_wire = {
        id_
        for id_, each in requirements().items()
        if {"wire-server", "wire-client", "wire-exchange"} & set(each.testable)
    }
    recorded = {id_ for id_, each in differences().items() if not each.unrecorded}
    cases = {
        f"{peer}/{case.id}"
        for role in ROLES
        for case in recorded_cases(role)
        for peer in case.record.peers or CASE_PEERS[case.role]
    }
    return [
        *(f"{name}: no recording" for name in sorted(cases - recordings.keys())),
        *(f"{id_}: no recording shows it" for id_ in sorted(on_the_wire - shown - UNSEEN.keys())),
        *(f"{id_}: recorded, but listed as unseen" for id_ in sorted(shown & UNSEEN.keys())),
        *(f"{id_}: unknown requirement" for id_ in sorted(shown - requirements().keys())),
        *(f"{id_}: no recording shows it" for id_ in sorted(recorded - shown_differences)),
        *(
            f"{id_}: recorded, but listed as unrecorded"
            for id_ in sorted(shown_differences - recorded)
        ),
    ]


async def record(into: Path, peers: Mapping[str, Implementation], only: str = "") -> int:
    """Record with these peers, which have been built; give the number of failures."""
    clients = drivers(peers)
    recorder = Recorder(into, clients, only)
    failed = failed_cases(peers, "server")
    for peer, commands in peers.items():
        if commands.server is None:
            continue
        with running(commands.server) as ready:
            known = {**about(ready), **_runtime(ready)}
            for endpoint, url in sorted(ready["endpoints"].items()):
                server = {**known, "backend": endpoint}
                if CASE_ENDPOINTS.get(peer) == endpoint:
                    await recorder.cases("server", peer, server, url, _as_client)
                await recorder.chapters(f"{peer}-{endpoint}", server, url)
                for cases in failed.get(f"{peer}/{endpoint}", {}).values():
                    await recorder.difference(cases, server, to_server(url, is_alone=True))
    for client in (each for each in CASE_CLIENTS if each in clients):
        async with (
            accepting_clients() as (url, incoming),
            running_driver(clients[client]) as driver,
        ):

            async def as_server(case: Case, url: str) -> Result:
                return await run_client_case(driver, case, TIMEOUTS, listening=(url, incoming))

            await recorder.cases("client", client, about(driver.ready), url, as_server)
    for name, found in failed_cases(peers, "client").items():
        if not any(recorder.wants(difference_name(each)) for each in found.values()):
            continue
        async with to_client(clients[name], drivers=1) as (run, ready):
            for cases in found.values():
                await recorder.difference(cases, about(ready), run)
    for name, (cluster, exchange_name) in CASE_CLUSTERS.items():
        if set(CLUSTERS[cluster]) <= peers.keys() and any(
            recorder.wants(f"{name}/{case.id}") for case in recorder.cases_for(name, "exchange")
        ):
            await recorder.cluster(name, CLUSTERS[cluster], exchange_name)
    console.print(f"{recorder.count} recordings in {into}, {recorder.failures} failed")
    return recorder.failures


async def _as_client(case: Case, url: str) -> Result:
    return await to_server(url, TIMEOUTS, is_alone=True)(case)


class Recorder:
    """Makes recordings, and keeps those with the expected violations.

    Attributes:
        count: the number of recordings kept.
        failures: the number of others.
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

    async def cases(
        self,
        role: Role,
        name: str,
        peer: Mapping[str, str],
        url: str,
        play: Callable[[Case, str], Awaitable[Result]],
    ) -> None:
        """Record the cases for a role, with one peer.

        Args:
            role: that of the peer.
            name: the peer's name.
            peer: the header's entry for the peer.
            url: the server's URL, be it the peer's or the suite's.
            play: plays a case to the peer, through the relay at a URL.
        """
        for case in self.cases_for(name, role):
            first = _header_of(case, _peers(role, peer))
            async with self._recording(f"{name}/{case.id}", first, [url]) as (relay,):
                _require_pass(await play(case, relay))

    def cases_for(self, name: str, role: Role) -> list[Case]:
        """Give the cases for a role that are to be recorded with a peer."""
        return [
            case
            for case in recorded_cases(role)
            if (not case.record.peers or name in case.record.peers)
            and self.wants(f"{name}/{case.id}")
        ]

    async def cluster(self, name: str, servers: Sequence[str], exchange_name: str) -> None:
        """Record the cases for a cluster on a real broker, unless that is not on this machine.

        Args:
            name: the name of the cluster, with its broker.
            servers: the names of the servers.
            exchange_name: of the broker.
        """
        if shutil.which(BROKERS[exchange_name][0]) is None:
            console.print(f"{name}: left out, since {BROKERS[exchange_name][0]} is missing")
            return
        with exchange(exchange_name) as address, ExitStack() as stack:
            urls, known = [], []
            for server in servers:
                ready = stack.enter_context(running([*SERVED[server], address]))
                endpoint = CASE_ENDPOINTS.get(server, "gorilla")
                urls.append(ready["endpoints"][endpoint])
                known.append({**about(ready), **_runtime(ready), "backend": endpoint})
            for case in self.cases_for(name, "exchange"):
                peers = _peers("server", known[0]) | {"other_servers": known[1:]}
                first = _header_of(case, peers | {"broker": {"kind": exchange_name}})
                file = f"{name}/{case.id}"
                async with self._recording(file, first, urls, address) as (relay, *others):
                    targets = [Target.of(each) for each in others]
                    run = to_server(relay, TIMEOUTS, is_alone=True, others=targets)
                    _require_pass(await run(case))

    async def chapters(self, server_name: str, server: Mapping[str, str], url: str) -> None:
        """Record every client's interop run with a server, in chapters."""
        for client, command in self._clients.items():
            is_main = client in MAIN_CLIENTS and server_name in MAIN_SERVERS
            for chapter in CHAPTERS if is_main else CHAPTERS[:1]:
                name = f"{server_name}/{client}-{chapter.id}"
                if not self.wants(name):
                    continue
                async with running_driver(command) as driver:
                    defects = (
                        each for name, each in chapter.defects.items() if client.startswith(name)
                    )
                    first = header(
                        scenario=chapter.title,
                        client=about(driver.ready),
                        server=server,
                        how=HOW,
                        shows=chapter.shows,
                        defects=next(defects, None),
                    )
                    async with self._recording(name, first, [url]) as (relay,):
                        await converse(driver, relay, chapter.steps)

    async def difference(
        self, cases: Sequence[FailedCase], peer: Mapping[str, str], run: Run
    ) -> None:
        """Record the first of some cases that shows a difference in messages."""
        name = difference_name(cases)
        if not self.wants(name):
            return
        role = cases[0].case.role
        for each in cases:
            result = await run(each.case)
            entries = result.entries()
            if weigh([each.known_failure], [result], [each.case.id]).complaints:
                self._fail(name, f"{each.case.id} is {result.verdict}, {result.explanation}")
                return
            first = header(
                **_peers(role, peer),
                scenario=f"asked ({each.case.id}): {each.case.title}; found: {result.explanation}",
                how=HOW,
                native=native_of(role, (named(line)[0] for line in each.case.steps)).value,
                shows=each.case.requirements,
                difference=each.difference,
            )
            violated = check_stream(io.BytesIO(b"".join(lines(first, entries)))).counts.keys()
            defects = dict(violated)
            if entries and len(defects) == len(violated):  # a header names one role for each
                if defects:
                    first["defects"] = defects
                self._keep(name, b"".join(lines(first, entries)))
                return
        if not differences()[cases[0].difference].unrecorded:
            self._fail(name, "no case leaves a recording")

    @asynccontextmanager
    async def _recording(
        self, name: str, first: dict[str, Any], urls: Sequence[str], broker: str = ""
    ) -> AsyncIterator[list[str]]:
        """Record what passes the relays whose URLs this gives, and keep it if it is as expected.

        Args:
            name: of the recording.
            first: its header.
            urls: of the servers.
            broker: its URL, if they have one that is listened to.
        """
        stream = io.BytesIO()
        writer = Writer(stream, first)
        has_heard_all = asyncio.Event()

        def record(connection: int, from_client: bool, content: Content | Published) -> None:
            if isinstance(content, Published) and content.channel == OWN_CHANNEL:
                has_heard_all.set()
            else:
                writer.write(connection, from_client, content)

        problem = ""
        async with AsyncExitStack() as stack:
            if broker:
                await stack.enter_async_context(hearing(broker, record))
            started = [each() for each in relays_of(urls, record)]
            relays = [await stack.enter_async_context(each) for each in started]
            try:
                yield [relay.url for relay in relays]
            except (NotRecordedError, DriverError) as error:
                problem = str(error)
            for relay in relays:
                await relay.idle()
            if broker:
                async with broker_at(broker, lambda *_: None) as peer:
                    await peer.publish(OWN_CHANNEL, b"")
                    await has_heard_all.wait()
        stream.seek(0)
        report = check_stream(stream)
        expected, actual = first.get("defects", {}), dict(report.counts.keys())
        if not problem and actual != expected:
            problem = f"expected the violations {expected}, not {actual}"
            problem += "".join(
                f"\n    line {each.line}: {each.explanation}" for each in report.violations
            )
        if problem:
            self._fail(name, problem)
            return
        self._keep(name, stream.getvalue())

    def _keep(self, name: str, recording: bytes) -> None:
        path = self._into / f"{name}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(recording)
        self.count += 1

    def _fail(self, name: str, problem: str) -> None:
        self.failures += 1
        console.print(f"{name}: {problem}")


def recorded_cases(role: Role) -> list[Case]:
    """Read the cases that are recorded with peers of a role.

    Raises:
        ScriptError: a script is wrong; the text names the case.
    """
    return read_cases((CASES / f"{role}.toml").read_text("utf-8"), role)


def _header_of(case: Case, peers: Mapping[str, Any]) -> Header:
    """Give the header of the recording of a case, with what is known of its peers."""
    options = case.record
    return header(
        scenario=case.title,
        how=HOW,
        native=options.native,
        shows=case.requirements,
        defects=options.defects,
        difference=options.difference,
        **peers,
    )


def _runtime(ready: Mapping[str, Any]) -> dict[str, str]:
    """Give what a server runs on, by what it says of itself."""
    return {"runtime": str(ready.get("go") or ready.get("runtime") or "unknown")}


def _peers(role: Role, peer: Mapping[str, str]) -> dict[str, Any]:
    """Give the two peers for a header: the suite, and a peer with that role."""
    return {"client": SUITE, "server": SUITE} | {role: peer}


def _require_pass(result: Result) -> None:
    # What breaks off no step is what the monitor saw: a recording shows it, by its header.
    is_shown = bool(result.case.record.defects) and not result.step
    if result.verdict is not Verdict.PASS and not is_shown:
        where = f"step {result.step} ({result.expected[:80]})"
        raise NotRecordedError(f"{result.case.id}, {where}: {result.explanation}")
    if result.closing and result.closing.requirement in CLOSING:
        raise NotRecordedError(f"{result.case.id}: {result.closing.explanation}")


if __name__ == "__main__":
    main()
