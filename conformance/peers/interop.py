"""Runs the suite against real peers: ``make interop``.

Tests and builds the peers beside this file, asks Go's codec about every vector and about many
generated payloads, runs the cases on every real server, client and codec, and lets every client
hold a conversation with every server. What deviates has an entry with its reason in
``deviations/``, and the matrix of who understands whom is the recorded one.

Where a program is missing that a peer needs, it says so and ends, unless the peer is to be left
out: ``NEFFOS_WIRE_LEAVE_OUT=neffos.js-browser,neffos-go-next make interop``, with names of
``python -m peers.real_peers list``.

Exit codes: 0 all passed, 1 something failed, 2 a peer is to be left out that does not exist, 3 the
harness broke, 4 a toolchain is missing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import shlex
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack
from dataclasses import astuple, dataclass
from datetime import datetime
from itertools import groupby
from typing import Any, Final

from rich.console import Console

from neffos_codec import (
    DecodeError,
    Message,
    Native,
    NativeMessage,
    decode,
    encode,
    parse_wait,
)
from neffos_conformance.cases.catalogue import all_cases
from neffos_conformance.cases.definition import Case, Role, select
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.cli.codec_adapter import message_values, value_of, wait_values
from neffos_conformance.cli.testing import beginning
from neffos_conformance.codecs import vectors
from neffos_conformance.codecs.testing import codec_cases, judge_codec, results_of
from neffos_conformance.interop.interop_runs import Endpoint, Talk, all_talks
from neffos_conformance.interop.table import (
    about,
    differences,
    matrix_values,
    recorded,
    server_name,
)
from neffos_conformance.runner.driver_pool import DRIVERS, to_client
from neffos_conformance.runner.known_failures import KnownFailure, read_known_failures, weigh
from neffos_conformance.runner.playback import Timeouts
from neffos_conformance.runner.result import Result, in_order
from neffos_conformance.runner.run import DEFAULT_JOBS, DEFAULT_TIMEOUTS, run_cases, to_server
from neffos_conformance.runner.run_report import RunReport
from neffos_conformance.wire.subprocesses import running
from peers.deviations import DEVIATIONS, is_explained
from peers.real_peers import (
    GO_PEER,
    LEAVE_OUT,
    PEERS,
    ROOT,
    BuildError,
    RealPeer,
    ToolchainError,
    UnknownPeerError,
    exit_code,
    wanted,
)

EXIT_FAIL: Final = 1

GENERATED: Final = 20_000
"""Payloads made up for the comparison of the codecs: a second's work."""

KINDS: Final = ("text", "binary")

SEED: Final = 2019
"""Fixed, so that what fails once fails again."""

ANSWERS_DEADLINE: Final = 120
"""Seconds for Go's answers to all questions, which take one: longer is a hang."""

JUDGED_AT_ONCE: Final = 3
"""Servers and clients that are judged at the same time: they are waited for a good deal."""

ALONE: Final = Timeouts(*(4 * seconds for seconds in astuple(DEFAULT_TIMEOUTS)))
"""For a case that is played once more: four times what is usual, on a machine that may be busy."""

MATRIX: Final = ROOT / "conformance" / "neffos_conformance" / "data" / "matrix.json"

SHOWN: Final = 5
SHOWN_LENGTH: Final = 2_000
"""Differences printed and the length of each: one is enough to begin with."""

console = Console(soft_wrap=True)


def main() -> int:
    """Build, compare, run; give the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--record", action="store_true", help="keep the matrix of who understands whom"
    )
    record = parser.parse_args().record
    try:
        peers = wanted()
        for name, peer in peers.items():
            build(name, peer)
    except (BuildError, ToolchainError, UnknownPeerError) as error:
        console.print(f"interop: {error}", markup=False)
        return exit_code(error)
    left_out = [name for name in PEERS if name not in peers]
    if left_out:
        console.print(f"left out: {', '.join(left_out)}")
    return EXIT_FAIL if run(peers, record) else 0


def build(name: str, peer: RealPeer) -> None:
    """Build one peer; what is missing for it is told with the way to do without.

    Raises:
        ToolchainError: a program that it needs is missing.
        BuildError: a step failed.
    """
    try:
        peer.build()
    except ToolchainError as error:
        raise ToolchainError(f"{error}; {LEAVE_OUT}={name} does without {name}") from error


def run(peers: dict[str, RealPeer], record: bool) -> int:
    """Let the peers that were built at each other; give the number of what is unexplained."""
    failures = compare_codecs() if "neffos-go" in peers else 0
    with ExitStack() as servers:
        endpoints = []
        versions: dict[str, str] = {}
        for name, peer in peers.items():
            if peer.server is not None:
                ready = servers.enter_context(running(peer.server))
                versions[name] = str(ready.get("version", ""))
                endpoints += [
                    Endpoint(name, *entry) for entry in sorted(ready["endpoints"].items())
                ]
        clients = {
            name: command for peer in peers.values() for name, command in peer.clients.items()
        }
        known = {name: files for peer in peers.values() for name, files in peer.known.items()}

        def deviations(name: str) -> list[KnownFailure]:
            return read_known_failures(DEVIATIONS / file for file in known.get(name, ()))

        subjects = [
            server_subject(each, versions[each.peer], deviations(f"{each.peer}/{each.name}"))
            for each in endpoints
        ]
        subjects += [
            client_subject(name, command, deviations(name)) for name, command in clients.items()
        ]
        judged = asyncio.run(judge_all(subjects))
        talks = asyncio.run(let_talk(endpoints, clients))
    for peer in peers.values():
        if peer.codec is not None:
            judged |= judge_a_codec(peer)
    failures += sum(map(count_unexplained, judged.items()))
    failures += count_unexplained_talks(talks)
    return failures + keep_matrix(matrix_values(talks, judged), record, is_whole=peers == PEERS)


@dataclass(frozen=True, slots=True)
class Subject:
    """A server, a client or a codec that is judged.

    Attributes:
        role: what it is.
        name: its name, for example ``neffos-go/gorilla``.
        peer: what is known of it; of a client, what its driver says once it was started.
        command: what judges it elsewhere.
        deviations: what is known to go wrong.
    """

    role: Role
    name: str
    peer: dict[str, Any]
    command: str
    deviations: list[KnownFailure]


Play = Callable[[list[Case], Timeouts, int], Awaitable[list[Result]]]
"""Plays some cases to a peer, with that patience, so many at once."""


def server_subject(
    endpoint: Endpoint, version: str, deviations: list[KnownFailure]
) -> tuple[Subject, Play]:
    """Give a server as what is judged, and what plays cases to it."""

    async def play(cases: list[Case], patience: Timeouts, at_once: int) -> list[Result]:
        run = to_server(endpoint.url, patience)
        return [each async for each in run_cases(run, cases, at_once=at_once)]

    name = f"{endpoint.peer}/{endpoint.name}"
    about_it = {"peer": endpoint.peer, "version": version}
    command = f"neffos-wire server {endpoint.url}"
    return Subject("server", name, about_it, command, deviations), play


def client_subject(
    name: str, command: list[str], deviations: list[KnownFailure]
) -> tuple[Subject, Play]:
    """Give a client as what is judged, and what plays cases to it."""
    peer: dict[str, Any] = {}

    async def play(cases: list[Case], patience: Timeouts, at_once: int) -> list[Result]:
        drivers = min(at_once, DRIVERS)
        async with to_client(command, drivers=drivers, timeouts=patience) as (run, ready):
            peer.update(about(ready))
            return [each async for each in run_cases(run, cases, at_once=drivers)]

    line = f"neffos-wire client -- {shlex.join(command)}"
    return Subject("client", name, peer, line, deviations), play


async def judge_all(subjects: list[tuple[Subject, Play]]) -> dict[str, RunReport]:
    """Run all cases on every server and every client, some of them at a time.

    Of which something else comes than is known is played once more when nothing else runs, with
    more patience: on a busy machine a peer may be too slow for a case, and not wrong.
    """
    places = asyncio.Semaphore(JUDGED_AT_ONCE)

    async def judge(role: Role, play: Play) -> tuple[list[Result], datetime, float]:
        async with places:
            began, start = beginning()
            results = await play(select(all_cases(role), ()), DEFAULT_TIMEOUTS, DEFAULT_JOBS)
            return results, began, time.perf_counter() - start

    found = {}
    judged = await asyncio.gather(*(judge(subject.role, play) for subject, play in subjects))
    for (subject, play), (results, began, seconds) in zip(subjects, judged, strict=True):
        of_it = judgement(subject, results, began, seconds)
        if doubtful := otherwise(of_it, subject.deviations):
            console.print(f"{subject.name}, once more: {' '.join(case.id for case in doubtful)}")
            again = {each.case.id: each for each in await play(doubtful, ALONE, 1)}
            results = [again.get(each.case.id, each) for each in results]
            of_it = judgement(subject, results, began, seconds)
        found[subject.name] = of_it
    return found


def otherwise(found: RunReport, deviations: list[KnownFailure]) -> list[Case]:
    """Give the cases of which something else came than is known."""
    left = {each.case for each in deviations} - found.known.keys()
    left |= {each.case.id for each in found.unexplained()}
    return [
        each.case
        for each in found.results
        if each.case.id in left and each.verdict is not Verdict.UNSUPPORTED
    ]


def judge_a_codec(peer: RealPeer) -> dict[str, RunReport]:
    """Ask a codec about every vector."""
    began, start = beginning()
    command = peer.codec or []
    judged = judge_codec(command)
    results = results_of(judged, codec_cases())
    subject = Subject(
        "codec",
        f"codec of {judged.ready['peer']}",
        about(judged.ready),
        f"neffos-wire codec -- {shlex.join(command)}",
        read_known_failures(DEVIATIONS / file for file in peer.known.get("codec", ())),
    )
    seconds = time.perf_counter() - start
    return {subject.name: judgement(subject, results, began, seconds)}


def judgement(
    subject: Subject, results: list[Result], began: datetime, seconds: float
) -> RunReport:
    """Put together what a run found."""
    cases = all_cases(subject.role)
    weighed = weigh(subject.deviations, results, [case.id for case in cases])
    return RunReport(
        subject.role,
        subject.name,
        subject.peer,
        began,
        seconds,
        tuple(in_order(results, cases)),
        subject.command,
        known=weighed.known,
        complaints=weighed.complaints,
    )


def count_unexplained(named: tuple[str, RunReport]) -> int:
    """Tell what came of a run, and give the number of what is not explained in it."""
    name, found = named
    left = found.unexplained()
    for result in left:
        console.print(
            f"{name}, {result.case.id}: {result.verdict}, {result.explanation}"[:SHOWN_LENGTH],
            markup=False,
        )
        console.print(f"  again: {found.command} --case {result.case.id}", markup=False)
    for complaint in found.complaints:
        console.print(f"{name}: {complaint}"[:SHOWN_LENGTH], markup=False)
    counts = found.counts()
    console.print(
        f"{name}: {counts[Verdict.PASS]} of {len(found.results)} cases passed, "
        f"{counts[Verdict.UNSUPPORTED]} unsupported, {len(found.known)} known deviations, "
        f"{len(left) + len(found.complaints)} unexplained, in {found.seconds:.1f} s"
    )
    return len(left) + len(found.complaints)


async def let_talk(endpoints: list[Endpoint], clients: dict[str, list[str]]) -> list[Talk]:
    """Let every client converse with every server."""
    return [talk async for talk in all_talks(endpoints, clients)]


def count_unexplained_talks(talks: list[Talk]) -> int:
    """Tell what came of the conversations, and give the number of what is not explained."""
    total = 0
    for client, its_own in groupby(sorted(talks, key=_client), key=_client):
        steps = [(talk, outcome) for talk in its_own for outcome in talk.outcomes]
        left = [(talk, each) for talk, each in steps if not is_explained(client, each)]
        for talk, outcome in left:
            failure = outcome.failure or "it goes well now: its deviation is out of date"
            where = f"{client} with {server_name(talk)}, {outcome.step}"
            console.print(f"{where}: {failure[:SHOWN_LENGTH]}", markup=False)
        went_well = sum(not outcome.failure for _, outcome in steps)
        console.print(
            f"{client}: {went_well} of {len(steps)} steps of conversations went well, "
            f"{len(left)} unexplained"
        )
        total += len(left)
    return total


def _client(talk: Talk) -> str:
    return talk.client


def keep_matrix(values: dict[str, Any], record: bool, *, is_whole: bool) -> int:
    """Write the matrix, or hold it against the recorded one; give the number of differences."""
    if record and is_whole:
        MATRIX.write_text(json.dumps(values, ensure_ascii=False, indent=1) + "\n", "utf-8")
        console.print(f"recorded: {MATRIX.relative_to(ROOT)}")
        return 0
    found = differences(recorded(), values)
    for difference in found:
        console.print(f"the matrix: {difference}"[:SHOWN_LENGTH], markup=False)
    return len(found)


def compare_codecs() -> int:
    """Ask Go's codec and ours the same questions and give the number of differences."""
    payloads = [*vector_payloads(), *generated_payloads(GENERATED)]
    read = [ours(content, native) for content, native in payloads]
    messages = [each for each in read if isinstance(each, Message) and go_can_write(each)]
    questions = [
        {"op": "decode", "payload": value_of(content), "native": native.value}
        for content, native in payloads
    ]
    questions += [{"op": "encode", "message": message_values(message)} for message in messages]
    expected = [go_terms(each) for each in read]
    expected += [{"payload": value_of(encode(message))} for message in messages]
    differences = [
        f"{question}\n  Go:   {answer}\n  here: {mine}"
        for question, answer, mine in zip(questions, ask_go(questions), expected, strict=True)
        if answer != mine
    ]
    for difference in differences[:SHOWN]:
        console.print(difference[:SHOWN_LENGTH], markup=False)
    console.print(
        f"codec: {len(payloads)} payloads decoded and {len(messages)} messages encoded "
        f"beside Go's, {len(differences)} differences"
    )
    return len(differences)


def ask_go(questions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give Go's answers to the questions, in their order and without their numbers."""
    numbered = [{"id": number, **each} for number, each in enumerate(questions, 1)]
    run = subprocess.run(
        [str(GO_PEER), "codec"],
        input="".join(json.dumps(question) + "\n" for question in numbered),
        capture_output=True,
        text=True,
        check=True,
        timeout=ANSWERS_DEADLINE,
    )
    _, *answers = map(json.loads, run.stdout.split("\n")[:-1])
    for question, answer in zip(numbered, answers, strict=True):
        if answer.pop("id") != question["id"]:
            raise ValueError(f"{question} is answered out of turn: {answer}")
    return answers


def ours(content: str | bytes, native: Native) -> Message | NativeMessage | None:
    """Read a payload leniently; ``None`` where it is refused."""
    try:
        return decode(content, native=native)
    except DecodeError:
        return None


def go_terms(message: Message | NativeMessage | None) -> dict[str, Any]:
    """Say of a message what Go's codec says of it."""
    if message is None:
        return {"reject": True}
    if isinstance(message, NativeMessage):
        return {"native": value_of(message.payload)}
    wait = wait_values(parse_wait(message.wait))
    del wait["kind"]
    # An error without a text is no error to Go (FR-9).
    is_error = message.is_error and len(message.body) > 0
    return {"message": {**message_values(message), "wait": wait, "is_error": is_error}}


def go_can_write(message: Message) -> bool:
    """Whether Go's codec can be given this message: tokens and isNoOp are its own to set."""
    return not (message.wait or message.is_no_op)


def vector_payloads() -> Iterator[tuple[str | bytes, Native]]:
    """Give the payloads of the vectors that decode."""
    for vector in vectors.load_vectors():
        if vector["operation"] == "decode" and vector["kind"] != "other":  # no transport has others
            yield vectors.payload(vector), vectors.native(vector)


def generated_payloads(count: int) -> Iterator[tuple[str | bytes, Native]]:
    """Make up payloads from the pieces where readers differ, frames and nearly frames."""
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
        yield vectors.content(described, generator.choice(KINDS)), Native.NEVER


if __name__ == "__main__":
    sys.exit(main())
