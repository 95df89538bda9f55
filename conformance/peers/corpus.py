"""Records the corpus of transcripts from the tested implementations: ``make record``.

The cases in ``recorded_cases`` and the chapters of an interop run go through the recording relay.
A recording is kept only if its violations are exactly those that its case or chapter names. For
each difference that a peer shows by failing a case, the messages of that case are kept too.

    python -m peers.corpus [--only TEXT] [--into FOLDER]
    python -m peers.corpus --check

``--check`` records nothing. It names the cases, requirements and differences without a recording,
which a release must have.

Exit status: 0 passed; 1 a recording failed or is missing; 2 usage error; 4 a toolchain is missing.
"""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console

from neffos_conformance.cases.definition import LIMITS, Case, Role, read_cases
from neffos_conformance.cases.script import named, native_of
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.codecs.catalogue import all_cases
from neffos_conformance.interop.interop_runs import converse
from neffos_conformance.interop.table import about
from neffos_conformance.recordings.checking import check_stream
from neffos_conformance.reference import PEER
from neffos_conformance.runner.client_steps import accepting_clients
from neffos_conformance.runner.driver_pool import to_client
from neffos_conformance.runner.driver_protocol import DriverError, running_driver
from neffos_conformance.runner.known_failures import KnownFailure, weigh
from neffos_conformance.runner.playback import Timeouts
from neffos_conformance.runner.result import Result
from neffos_conformance.runner.run import Run, run_client_case, to_server
from neffos_conformance.wire.relay import relaying
from neffos_conformance.wire.subprocesses import running
from neffos_conformance.wire.transcript import Header, Writer, header, lines, read_transcript
from neffos_protocol.catalogue import differences, requirements
from peers.implementations import HERE, ROOT, Implementation, built, drivers

TRANSCRIPTS: Final = ROOT / "conformance" / "transcripts"
DIFFERENCES: Final = "differences"
"""The folder in it with the recordings of differences."""

CASES: Final = HERE / "recorded_cases"
HOW: Final = "make record"

CASE_ENDPOINTS: Final = {"neffos-go": "gorilla", PEER: "reference"}
"""The endpoint with which the cases for servers are recorded, by peer."""

CASE_CLIENTS: Final = ("neffos-go-gorilla", "neffos.js", PEER)
"""The clients with which the cases for clients are recorded."""

CASE_PEERS: Final = {"server": (*CASE_ENDPOINTS,), "client": CASE_CLIENTS}

MAIN_CLIENTS: Final = CASE_CLIENTS
MAIN_SERVERS: Final = (
    "neffos-go-gorilla",
    "neffos-go-gobwas",
    "neffos-go-iris-mvc",
    f"{PEER}-reference",
)
"""The pairs of these are recorded in every chapter, all other pairs in the first."""

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
class FailedCase:
    """A case that a peer fails, which shows a difference.

    Attributes:
        case: the case.
        known_failure: how it fails.
    """

    case: Case
    known_failure: KnownFailure

    @property
    def difference(self) -> str:
        """The id of the difference."""
        return self.known_failure.link


def failed_cases(
    peers: Mapping[str, Implementation], role: Role
) -> Mapping[str, Mapping[str, tuple[FailedCase, ...]]]:
    """Choose the cases to record: for each difference, those of the first peer that shows it.

    Args:
        peers: the peers, in the order of preference.
        role: their role.

    Returns:
        By system under test, as in ``Implementation.known``, and by difference: the failed cases.
        Those that cover one of its requirements come first. Cases that test a limit are left out:
        they take thousands of messages, or huge ones.
    """
    chosen: dict[str, dict[str, tuple[FailedCase, ...]]] = {}
    taken: set[str] = set()
    cases = {case.id: case for case in all_cases(role) if LIMITS not in case.tags}
    for peer in peers.values():
        for name in peer.known:
            found: dict[str, list[FailedCase]] = {}
            for each in peer.known_failures(name):
                if each.case in cases and each.link in differences().keys() - taken:
                    found.setdefault(each.link, []).append(FailedCase(cases[each.case], each))
            if found:
                chosen[name] = {id_: tuple(_by_relevance(found[id_])) for id_ in found}
                taken |= found.keys()
    return chosen


def _by_relevance(found: list[FailedCase]) -> list[FailedCase]:
    def is_other(each: FailedCase) -> bool:
        return each.case.requirements[0] not in differences()[each.difference].requirements

    return sorted(found, key=is_other)


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
        "asks from both ends, in text and in binary, many at once, and errors",
        ("AR-1", "AR-5", "AR-7", "AR-11", "AR-16", "AR-18", "FR-10", "FR-11"),
        ("text", "empty", "error", "asked_by_server", "many_asks", "pushed"),
    ),
    Chapter(
        "binary",
        "octets, both ways",
        ("FR-10", "FR-11", "FR-12", "AR-16"),
        ("binary", "binary_error", "asked_by_server_in_binary"),
    ),
    Chapter(
        "rooms",
        "rooms: joined and left by either side, refused, and broadcasts in them",
        ("RM-1", "RM-2", "RM-3", "EV-8", "EV-9", "AR-17", "RM-8"),
        ("rooms", "refused_join", "joined_by_server", "leave_all"),
        {"neffos.js": {"EV-5": "client"}},  # leaveAll sends a notice in place of an ask
    ),
    Chapter(
        "namespaces",
        "namespaces: escaped, connected and disconnected by either side, refused",
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
        if {"wire-server", "wire-client"} & set(each.testable)
    }
    recorded = {id_ for id_, each in differences().items() if not each.unrecorded}
    cases = {
        f"{peer}/{case.id}"
        for case in (*recorded_cases("server"), *recorded_cases("client"))
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
            known = {
                **about(ready),
                "runtime": str(ready.get("go") or ready.get("runtime") or "unknown"),
            }
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
    console.print(f"{recorder.count} recordings in {into}, {recorder.failures} failed")
    return recorder.failures


async def _as_client(case: Case, url: str) -> Result:
    return await to_server(url, TIMEOUTS, is_alone=True)(case)


def difference_name(cases: Sequence[FailedCase]) -> str:
    """Give the name of the recording of a difference."""
    return f"{DIFFERENCES}/{cases[0].difference}-{cases[0].case.role}"


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
        for case in recorded_cases(role):
            options = case.record
            if (options.peers and name not in options.peers) or not self.wants(f"{name}/{case.id}"):
                continue
            first = header(
                **_peers(role, peer),
                scenario=case.title,
                how=HOW,
                native=options.native,
                shows=case.requirements,
                defects=options.defects,
                difference=options.difference,
            )
            async with self._recording(f"{name}/{case.id}", first, url) as relay:
                _require_pass(await play(case, relay))

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
                    async with self._recording(name, first, url) as relay:
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
    async def _recording(self, name: str, first: dict[str, Any], url: str) -> AsyncIterator[str]:
        """Record what passes the relay whose URL this gives, and keep it if it is as expected."""
        stream = io.BytesIO()
        writer = Writer(stream, first)
        problem = ""
        async with relaying(url, writer.write) as relay:
            try:
                yield relay.url
            except (NotRecordedError, DriverError) as error:
                problem = str(error)
            await relay.idle()
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


def _peers(role: Role, peer: Mapping[str, str]) -> dict[str, Mapping[str, str]]:
    """Give the two peers for a header: the suite, and a peer with that role."""
    return {"client": SUITE, "server": SUITE} | {role: peer}


def _require_pass(result: Result) -> None:
    if result.verdict is not Verdict.PASS:
        where = f"step {result.step} ({result.expected[:80]})"
        raise NotRecordedError(f"{result.case.id}, {where}: {result.explanation}")
    if result.closing.requirement in CLOSING:
        raise NotRecordedError(f"{result.case.id}: {result.closing.explanation}")


if __name__ == "__main__":
    main()
