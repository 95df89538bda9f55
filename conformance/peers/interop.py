"""Runs the suite against real peers: ``make interop``.

Tests and builds the peers beside this file, asks Go's codec about every vector and about many
generated payloads, runs the server cases on every real server, and lets every client hold a
conversation with every server.

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
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
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
from neffos_conformance.codecs import vectors
from neffos_conformance.codecs.adapter import message_values, value_of, wait_values
from neffos_conformance.peer import running
from neffos_conformance.report import show
from neffos_conformance.suite.case import server_cases
from neffos_conformance.suite.run import Result, run_cases
from neffos_conformance.suite.verdict import Verdict
from peers.deviations import known_of_server
from peers.real_peers import (
    GO_PEER,
    LEAVE_OUT,
    PEERS,
    BuildError,
    RealPeer,
    ToolchainError,
    UnknownPeerError,
    exit_code,
    wanted,
)
from peers.talks import Endpoint, all_talks

EXIT_FAIL: Final = 1

GENERATED: Final = 20_000
"""Payloads made up for the comparison of the codecs: a second's work."""

KINDS: Final = ("text", "binary")

SEED: Final = 2019
"""Fixed, so that what fails once fails again."""

ANSWERS_DEADLINE: Final = 120
"""Seconds for Go's answers to all questions, which take one: longer is a hang."""

SHOWN: Final = 5
SHOWN_LENGTH: Final = 2_000
"""Differences printed and the length of each: one is enough to begin with."""

console = Console()


def main() -> int:
    """Build, compare, run; give the exit code."""
    argparse.ArgumentParser(description=__doc__).parse_args()
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
    return EXIT_FAIL if run(peers) else 0


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


def run(peers: dict[str, RealPeer]) -> int:
    """Let the peers that were built at each other; give the number of what is unexplained."""
    failures = compare_codecs() if "neffos-go" in peers else 0
    with ExitStack() as servers:
        endpoints = []
        for name, peer in peers.items():
            if peer.server is not None:
                ready = servers.enter_context(running(peer.server))
                endpoints += [
                    Endpoint(name, *entry) for entry in sorted(ready["endpoints"].items())
                ]
        clients = {
            name: command for peer in peers.values() for name, command in peer.clients.items()
        }
        failures += asyncio.run(judge_all(endpoints))
        failures += asyncio.run(let_talk(endpoints, clients))
    return failures


async def judge_all(endpoints: list[Endpoint]) -> int:
    """Run all server cases on every endpoint; give the number of unexplained results."""
    return sum(await asyncio.gather(*map(judge, endpoints)))


async def judge(endpoint: Endpoint) -> int:
    """Run all server cases on one endpoint and give the number of unexplained results."""
    peer, backend = endpoint.peer, endpoint.name
    results = [result async for result in run_cases(endpoint.url, server_cases())]
    unexplained = [
        result
        for result in results
        if found(result) != known_of_server(peer, backend, result.case.id)
    ]
    if unexplained:
        show(console, unexplained, f"neffos-wire server {endpoint.url}")
    for result in unexplained:
        if result.verdict is Verdict.PASS:
            console.print(f"{result.case.id} passes now: its deviation is out of date")
    passed = sum(result.verdict is Verdict.PASS for result in results)
    console.print(
        f"{peer}, {backend}: {passed} of {len(results)} cases passed, "
        f"{len(results) - passed - len(unexplained)} known deviations, "
        f"{len(unexplained)} unexplained"
    )
    return len(unexplained)


def found(result: Result) -> tuple[str, str] | None:
    """Give the verdict and what was observed, where a case did not pass."""
    if result.verdict is Verdict.PASS:
        return None
    return result.verdict.value, result.explanation


async def let_talk(endpoints: list[Endpoint], clients: dict[str, list[str]]) -> int:
    """Let every client converse with every server; give the number of unexplained outcomes."""
    talks = []
    async for talk in all_talks(endpoints, clients):
        talks.append(talk)
        for outcome in talk.unexplained:
            failure = outcome.failure or "it goes well now: its deviation is out of date"
            where = f"{talk.client} with {talk.endpoint.peer}, {talk.endpoint.name}"
            console.print(f"{where}, {outcome.step}: {failure[:SHOWN_LENGTH]}", markup=False)
    for client in clients:
        steps = [
            (outcome, outcome in talk.unexplained)
            for talk in talks
            if talk.client == client
            for outcome in talk.outcomes
        ]
        went_well = sum(not outcome.failure for outcome, _ in steps)
        unexplained = sum(is_unexplained for _, is_unexplained in steps)
        console.print(
            f"{client} with {len(endpoints)} servers: {went_well} of {len(steps)} steps went well, "
            f"{unexplained} unexplained"
        )
    return sum(len(talk.unexplained) for talk in talks)


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
