"""Runs the suite against the tested implementations: ``make interop``.

It builds and tests the peers beside this file, and compares Go's codec with ours. It runs all
cases on every server, client and codec, and on clients that nobody drives. It lets every client
take the steps of an interop run with every server. Each failure must be in a file of
``known_failures/``, and the compatibility matrix must be the recorded one.

``--share`` runs a part of that, for CI: on every server and client, each case that is known not to
pass and a sample of the others; every client with two servers; one client that nobody drives; and
on each broker a cluster of Go, one of Python and a mixed one. The seed chooses them.

A missing program is an error unless its peers are left out, with names of
``python -m peers.implementations list``:

    NEFFOS_WIRE_LEAVE_OUT=neffos.js-browser,neffos-go-next make interop

Exit status: 0 passed; 1 failed; 2 usage error or unknown peer; 4 a toolchain is missing.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import shlex
import subprocess
import sys
import time
import tomllib
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cache
from itertools import groupby, starmap
from operator import attrgetter
from typing import Any, Final

import click
from rich.console import Console

from neffos_codec import Message, Native, decode, encode
from neffos_conformance.cases.definition import Case, Role, select
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.cli.run_options import beginning
from neffos_conformance.codecs import vectors
from neffos_conformance.codecs.catalogue import all_cases, codec_cases, seed_of_cases
from neffos_conformance.codecs.requests import agrees
from neffos_conformance.codecs.testing import results_of, run_codec
from neffos_conformance.codecs.values import content_of, message_values, value_of
from neffos_conformance.interop.interop_runs import Endpoint, InteropRun, StepOutcome, all_runs
from neffos_conformance.interop.table import about, differences, matrix_values, recorded
from neffos_conformance.reference.codec_adapter import answer
from neffos_conformance.runner.driver_pool import to_client
from neffos_conformance.runner.known_failures import KnownFailure, weigh
from neffos_conformance.runner.playback import Timeouts
from neffos_conformance.runner.result import Result, in_order
from neffos_conformance.runner.run import DEFAULT_JOBS, DEFAULT_TIMEOUTS, run_cases, to_server
from neffos_conformance.runner.run_report import RunReport
from neffos_conformance.runner.varying import WALKED
from neffos_conformance.wire.subprocesses import running
from neffos_conformance.wire.waiting import at_most
from peers.exchanges import EXCHANGES, SERVERS, clusters_of, exchange_failures
from peers.implementations import (
    GO_PEER,
    KNOWN_FAILURES,
    PEERS,
    ROOT,
    Implementation,
    built,
    drivers,
)
from peers.implementations import SHARE as SHARE_OF_TESTS
from peers.plain import plain_failures
from peers.undriven import UNDRIVEN, test_all_undriven
from peers.walking import WalkedPeer, walk_all

GENERATED: Final = 20_000
"""Generated payloads for the comparison of the codecs: a second's work."""

TYPES: Final = ("text", "binary")

SEED: Final = 2019
"""Fixed, so that a failure can be repeated."""

ANSWERS_DEADLINE: Final = 120
"""Seconds for Go's answers to all questions, which take one: longer is a hang."""

TESTED_AT_ONCE: Final = 4
"""Servers and clients that are tested concurrently: the suite mostly waits for them."""

PATIENT: Final = Timeouts(case=60.0, after_barrier=2.8, close=10.0, write=2.0)
"""The time limits: a case takes milliseconds on an idle machine, and must not fail on a busy one.
``before_barrier`` fails no peer, so it has its default."""

SILENCE: Final = "timed out"
"""The explanation of a case that reached its time limit."""

SILENT: Final = 0.2
"""The part of its patient time limit for a case that is known to end in silence, since it takes all
of that limit: 12 s usually, in which the steps before the silence take milliseconds. Where a case
has a limit of 2 s, it is 4.8 s: the peer ends the silence after 5 s, when its ask expires."""

SHARE: Final = 1 / 12
"""The share of the cases known to pass that ``--share`` runs on each server and client: each is
run every twelfth time."""

PARTNERS: Final = 2
"""Servers that ``--share`` lets every client talk to."""

Pairs = Collection[tuple[str, str]]
"""Clients and servers that take the steps of an interop run with each other, by their names."""

MATRIX: Final = ROOT / "conformance" / "neffos_conformance" / "data" / "matrix.json"

SHOWN: Final = 5
SHOWN_LENGTH: Final = 2_000
"""Differences printed, and the length of each: one is enough to begin with."""

console = Console(soft_wrap=True, markup=False)


@click.command()
@click.option("--record", is_flag=True, help="Write the compatibility matrix.")
@click.option("--share", is_flag=True, help="Run a share.")
@click.option("--seed", type=int, help="Seed of the share [default: by what all cases do].")
def main(record: bool, share: bool, seed: int | None) -> None:
    """Run the suite against the tested implementations."""
    if record and share:
        raise click.UsageError("--record needs the whole matrix. Try: leave out --share")
    if share:
        seed = seed_of_cases() if seed is None else seed
        console.print(f"a share of {SHARE:.1%}. Try: --share --seed {seed} for the same")
        os.environ[SHARE_OF_TESTS] = str(seed)
    peers = built()
    left_out = [name for name in PEERS if name not in peers]
    if left_out:
        console.print(f"left out: {', '.join(left_out)}")
    sys.exit(bool(run(peers, record, seed if share else None)))


def run(peers: dict[str, Implementation], record: bool, seed: int | None = None) -> int:
    """Test these peers, which have been built; give the number of unexplained results.

    Args:
        peers: the peers by name.
        record: whether to write the compatibility matrix.
        seed: chooses the share to run; ``None`` for all.
    """
    failures = compare_codecs() if "neffos-go" in peers else 0
    clients = drivers(peers)
    walked = [
        WalkedPeer(name, peer.known_failures(name), command=command)
        for peer in peers.values()
        for name, command in peer.clients.items()
    ]
    with ExitStack() as servers:
        endpoints = []
        # The last drivers take the longest, so they begin.
        systems = [
            client_under_test(peer, name)
            for peer in reversed(peers.values())
            for name in peer.clients
        ]
        for name, peer in peers.items():
            if peer.server is not None:
                ready = servers.enter_context(running(peer.server))
                ours = [Endpoint(name, *entry) for entry in sorted(ready["endpoints"].items())]
                systems += [server_under_test(peer, each, ready) for each in ours]
                endpoints += ours
                walked += [
                    WalkedPeer(str(each), peer.known_failures(str(each)), each.url) for each in ours
                ]
        reports = asyncio.run(test_all(systems, seed))
        if seed is not None:
            walked = walked[seed % len(walked) :][:1]
        strays = asyncio.run(walk_all(walked, reports, PATIENT))
        pairs = None if seed is None else some_pairs([*clients], endpoints, seed)
        runs = asyncio.run(_all_runs(endpoints, clients, pairs))
    for peer in peers.values():
        if peer.codec is not None:
            report = test_codec(peer.codec, peer.known_failures("codec"))
            reports[report.sut] = report
    undriven = [name for name in UNDRIVEN if name in clients]
    if seed is not None:
        undriven = undriven[seed % len(undriven or [""]) :][:1]
    failures += test_all_undriven(undriven)
    exchanges = EXCHANGES if seed is not None else tuple(SERVERS)
    failures += exchange_failures(exchanges, clusters_of(peers, seed), is_whole=seed is None)
    failures += sum(_print_report(name, report) for name, report in reports.items())
    for text in strays:
        console.print(text[:SHOWN_LENGTH])
    failures += len(strays)
    for text in plain_failures(peers, TESTED_AT_ONCE, seed):
        console.print(text)
        failures += 1
    failures += _print_runs(runs)
    values = matrix_values(runs, reports)
    return failures + keep_matrix(values, record, is_whole=peers == PEERS, pairs=pairs)


def some_pairs(clients: Sequence[str], endpoints: Sequence[Endpoint], seed: int) -> Pairs:
    """Choose ``PARTNERS`` servers for each client, other ones with the next seed."""
    count = len(endpoints)
    return {
        (client, str(endpoints[(number + seed + partner * count // PARTNERS) % count]))
        for number, client in enumerate(clients)
        for partner in range(PARTNERS)
    }


Play = Callable[[list[Case]], Awaitable[list[Result]]]
"""Runs cases on a system under test."""


@dataclass(frozen=True, slots=True)
class TestedPeer:
    """A server, a client or a codec.

    Attributes:
        role: which of them.
        name: its name, for example ``neffos-go/gorilla``.
        peer: its name and version; those of a client are known once its driver was started.
        command: the command that tests it in the same way.
        known_failures: the failures to expect.
    """

    role: Role
    name: str
    peer: dict[str, Any]
    command: str
    known_failures: list[KnownFailure]

    def cases(self, seed: int | None) -> list[Case]:
        """Give the cases to run.

        Args:
            seed: chooses the share to run; ``None`` for all. Every known failure and every verdict
                of the recorded matrix other than *pass* is checked in any case.
        """
        known = {each.case: each for each in self.known_failures}
        matrix = recorded()[f"{self.role}s"].get(self.name, {"failed": {}})
        wanted = {*known, *(id_ for ids in matrix["failed"].values() for id_ in ids)}
        chance = random.Random(f"{seed} {self.name}")  # noqa: S311  # no secret
        return [
            replace(case, seconds=SILENT * (case.seconds or DEFAULT_TIMEOUTS.case))
            if case.id in known and SILENCE in known[case.id].observed
            else case
            for case in select(all_cases(self.role), ())
            if seed is None or chance.random() < SHARE or case.id in wanted
        ]

    def report(self, results: Iterable[Result], began: datetime, seconds: float) -> RunReport:
        """Give a report on the results of a run."""
        cases = all_cases(self.role)
        ordered = tuple(in_order([*results], cases))
        walks = (each.case for each in self.known_failures if WALKED in each.case)
        weighed = weigh(self.known_failures, ordered, [*(case.id for case in cases), *walks])
        return RunReport(
            self.role,
            self.name,
            self.peer,
            began,
            seconds,
            ordered,
            self.command,
            known=weighed.known,
            stale=weighed.complaints,
        )


def server_under_test(
    peer: Implementation, endpoint: Endpoint, ready: dict[str, Any]
) -> tuple[TestedPeer, Play]:
    """Give an endpoint of a running server, which printed this readiness line."""

    async def play(cases: list[Case]) -> list[Result]:
        run = to_server(endpoint.url, PATIENT)
        return [each async for each in run_cases(run, cases, jobs=DEFAULT_JOBS)]

    name = f"{endpoint.peer}/{endpoint.name}"
    about_it = {"peer": endpoint.peer, "version": str(ready.get("version", ""))}
    command = f"neffos-wire test server {endpoint.url}"
    return TestedPeer("server", name, about_it, command, peer.known_failures(name)), play


def client_under_test(peer: Implementation, name: str) -> tuple[TestedPeer, Play]:
    """Give the client with this name."""
    about_it: dict[str, Any] = {}
    command = peer.clients[name]

    async def play(cases: list[Case]) -> list[Result]:
        async with to_client(command, drivers=peer.drivers, timeouts=PATIENT) as (run, ready):
            about_it.update(about(ready))
            return [each async for each in run_cases(run, cases, jobs=peer.drivers)]

    line = f"neffos-wire test client -- {shlex.join(command)}"
    return TestedPeer("client", name, about_it, line, peer.known_failures(name)), play


async def test_all(
    systems: list[tuple[TestedPeer, Play]], seed: int | None
) -> dict[str, RunReport]:
    """Run all cases, or a share by a seed, on every server and every client, some at a time."""

    async def test(system: TestedPeer, play: Play) -> RunReport:
        began, start = beginning()
        results = await play(system.cases(seed))
        return system.report(results, began, time.perf_counter() - start)

    tested = await asyncio.gather(*starmap(at_most(TESTED_AT_ONCE, test), systems))
    return {system.name: report for (system, _), report in zip(systems, tested, strict=True)}


def test_codec(command: list[str], known: list[KnownFailure]) -> RunReport:
    """Test a codec with every vector."""
    began, start = beginning()
    ready, answered = run_codec(command)
    results = results_of(answered, codec_cases())
    name = f"codec of {ready['peer']}"
    line = f"neffos-wire test codec -- {shlex.join(command)}"
    codec = TestedPeer("codec", name, about(ready), line, known)
    return codec.report(results, began, time.perf_counter() - start)


def _print_report(name: str, report: RunReport) -> int:
    """Print the unexpected results of a run, and give their number."""
    left = report.unexplained()
    for result in left:
        console.print(
            f"{name}, {result.case.id}: {result.verdict}, {result.explanation}"[:SHOWN_LENGTH]
        )
        for each in report.unexplained_findings(result):
            text = f"{each.requirement}, {each.verdict}: {each.explanation}"
            console.print(f"  finding: {text}"[:SHOWN_LENGTH])
        console.print(f"  again: {report.command} --case {result.case.id}")
    for complaint in report.stale:
        console.print(f"{name}: {complaint}"[:SHOWN_LENGTH])
    counts = report.counts()
    unexplained = len(left) + len(report.stale)
    console.print(
        f"{name}: {counts[Verdict.PASS]} of {len(report.results)} cases passed, "
        f"{counts[Verdict.SKIPPED]} skipped, {len(report.known)} known failures, "
        f"{unexplained} unexplained, in {report.seconds:.1f} s"
    )
    return unexplained


async def _all_runs(
    endpoints: list[Endpoint], clients: dict[str, list[str]], pairs: Pairs | None
) -> list[InteropRun]:
    return [run async for run in all_runs(endpoints, clients, pairs)]


def _print_runs(runs: list[InteropRun]) -> int:
    """Print the unexpected outcomes of interop runs, and give their number."""
    total = 0
    client_of = attrgetter("client")
    for client, its_own in groupby(sorted(runs, key=client_of), key=client_of):
        steps = [(run, outcome) for run in its_own for outcome in run.outcomes]
        left = [(run, each) for run, each in steps if not is_explained(client, each)]
        for run, outcome in left:
            failure = outcome.failure or "passes now: its known failure is stale"
            where = f"{client} with {run.endpoint}, {outcome.step}"
            console.print(f"{where}: {failure[:SHOWN_LENGTH]}")
        passed = sum(not outcome.failure for _, outcome in steps)
        console.print(
            f"{client}: {passed} of {len(steps)} steps of interop runs passed, "
            f"{len(left)} unexplained"
        )
        total += len(left)
    return total


def is_explained(client: str, outcome: StepOutcome) -> bool:
    """Whether a step of an interop run passed, or failed as it is known to."""
    for entry in _interop():
        if client in entry["peers"] and outcome.step in entry["steps"]:
            return entry["observed"] in outcome.failure
    return not outcome.failure


@cache
def _interop() -> list[dict[str, Any]]:
    text = (KNOWN_FAILURES / "interop.toml").read_text("utf-8")
    entries: list[dict[str, Any]] = tomllib.loads(text)["known_failure"]
    return entries


def keep_matrix(
    values: dict[str, Any], record: bool, *, is_whole: bool, pairs: Pairs | None
) -> int:
    """Write the matrix, or compare it with the recorded one; give the number of differences.

    Args:
        values: the matrix.
        record: whether to write it, if ``is_whole``.
        is_whole: it is of all peers.
        pairs: the pairs that ran; ``None`` for all.
    """
    if record and is_whole:
        MATRIX.write_text(json.dumps(values, ensure_ascii=False, indent=1) + "\n", "utf-8")
        console.print(f"recorded: {MATRIX.relative_to(ROOT)}")
        return 0
    found = differences(recorded(), values, pairs)
    for difference in found:
        console.print(f"the matrix: {difference}"[:SHOWN_LENGTH])
    return len(found)


def compare_codecs() -> int:
    """Compare Go's codec with ours, and give the number of differences."""
    payloads = [*vector_payloads(), *generated_payloads(GENERATED)]
    requests = [
        {"op": "decode", "payload": value_of(content), "native": native.value}
        for content, native in payloads
    ]
    expected = [answer("decode", request) for request in requests]
    messages = [
        decode(content, native=native)
        for (content, native), values in zip(payloads, expected, strict=True)
        if "message" in values
    ]
    encoded = [
        each
        for each in messages
        if isinstance(each, Message) and not (each.wait or each.is_no_op)  # Go sets both itself
    ]
    requests += [{"op": "encode", "message": message_values(each.fields())} for each in encoded]
    expected += [{"payload": value_of(encode(each))} for each in encoded]
    for each in expected:
        if "message" in each and not content_of(each["message"]["body"]):
            each["message"] = each["message"] | {"is_error": False}  # to Go it is none (FR-9)
    differences = [
        f"{request}\n  Go:   {actual}\n  here: {wanted}"
        for request, actual, wanted in zip(requests, ask_go(requests), expected, strict=True)
        if not agrees(actual, wanted)
    ]
    for difference in differences[:SHOWN]:
        console.print(difference[:SHOWN_LENGTH])
    console.print(
        f"codec: {len(payloads)} payloads decoded and {len(encoded)} messages encoded "
        f"beside Go's, {len(differences)} differences"
    )
    return len(differences)


def ask_go(requests: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give the answers of Go's codec adapter, in order and without their numbers."""
    numbered = [{"id": number, **each} for number, each in enumerate(requests, 1)]
    run = subprocess.run(
        [str(GO_PEER), "codec"],
        input="".join(json.dumps(request) + "\n" for request in numbered),
        capture_output=True,
        text=True,
        check=True,
        timeout=ANSWERS_DEADLINE,
    )
    _, *answers = map(json.loads, run.stdout.split("\n")[:-1])
    for request, each in zip(numbered, answers, strict=True):
        if each.pop("id") != request["id"]:
            raise ValueError(f"the answer to {request} is out of order: {each}")
    return answers


def vector_payloads() -> Iterator[tuple[str | bytes, Native]]:
    """Give the payloads of the vectors that decode."""
    for vector in vectors.load_vectors():
        if vector["operation"] == "decode" and vector["kind"] != "other":  # no transport has others
            yield vectors.payload(vector), vectors.native(vector)


def generated_payloads(count: int) -> Iterator[tuple[str | bytes, Native]]:
    """Generate frames and near frames, from pieces that decoders treat differently."""
    pieces = [b"", b"a", b"$1", b"#1", b"$!x", b"1!2", b"a!", b"!", b"neffos(0x1", b"neffos(0"]
    pieces += [b"@%!semicolon@%!", b"@%!semicolon", b"@%!", b"0", b"1", b"01", b" ", b"\x00"]
    pieces += ["é".encode(), "漢!x".encode(), "😀".encode(), b"\xff", b"\xc3", b"\r\n", b"M", b"A1"]
    pieces += [b"_OnNamespaceConnect", b"_OnNativeMessage", b"chat", b"x" * 1100, b"y" * 2100]
    generator = random.Random(SEED)  # noqa: S311  # no secret
    for _ in range(count):
        separators = generator.choice([0, 4, 5, 6, 6, 6, 6, 6, 6, 7, 9])
        fields = [
            b"".join(generator.choices(pieces, k=generator.choice([0, 1, 1, 1, 2, 3])))
            for _ in range(separators + 1)
        ]
        described = {"hex": b";".join(fields).hex()}
        yield vectors.content(described, generator.choice(TYPES)), Native.NEVER


if __name__ == "__main__":
    main()
