"""Runs the suite against real peers: ``make interop``.

Tests and builds the peers beside this file, asks Go's codec about every vector and about many
generated payloads, runs the server cases on every real server, and lets every client hold a
conversation with every server.

With ``--record`` it records a visit to each backend instead (``make record``).

Exit codes: 0 all passed, 1 something failed, 3 the harness broke, 4 a toolchain is missing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from typing import Any, Final

from rich.console import Console

from neffos_codec import DecodeError, Message, decode, encode, parse_wait
from neffos_conformance import vectors
from neffos_conformance.case import select, server_cases
from neffos_conformance.driving import driving
from neffos_conformance.peer import running
from neffos_conformance.report import show
from neffos_conformance.run import Result, Verdict, run_case, run_cases
from neffos_conformance.serve import PEER
from neffos_conformance.transcript import header, save
from peers.conversation import Outcome, converse
from peers.real_peers import (
    CLIENTS,
    GO_PEER,
    HERE,
    ROOT,
    SERVERS,
    BuildError,
    ToolchainError,
    build_go,
    build_js,
)

DEVIATIONS: Final = HERE / "deviations.toml"
TRANSCRIPTS: Final = ROOT / "conformance" / "transcripts"

EXIT_FAIL: Final = 1
EXIT_NO_TOOLCHAIN: Final = 4

GENERATED: Final = 20_000
"""Payloads made up for the comparison of the codecs: a second's work."""

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
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--record", action="store_true", help="record the transcripts anew")
    arguments = parser.parse_args()
    try:
        build_go()
        if arguments.record:
            return record()
        build_js()
    except ToolchainError as error:
        console.print(f"interop: {error}")
        return EXIT_NO_TOOLCHAIN
    except BuildError as error:
        console.print(f"interop: {error}")
        return EXIT_FAIL
    failures = compare_codecs()
    for command in SERVERS.values():
        with running(command) as ready:
            for endpoint, url in sorted(ready["endpoints"].items()):
                failures += judge(ready["peer"], endpoint, url)
                failures += asyncio.run(let_talk(ready["peer"], endpoint, url))
    return EXIT_FAIL if failures else 0


def record() -> int:
    """Write one whole visit to each endpoint into the folder of the transcripts."""
    [visit] = select(server_cases(), ["ALL-1"])
    with running(SERVERS["neffos-go"]) as ready:
        for backend, url in sorted(ready["endpoints"].items()):
            result = asyncio.run(run_case(url, visit))
            path = TRANSCRIPTS / f"{ready['peer']}-{ready['version']}-{backend}-visit.jsonl"
            first = header(
                scenario=visit.title,
                client={"peer": PEER, "version": version("neffos-wire")},
                server={
                    "peer": ready["peer"],
                    "version": ready["version"],
                    "backend": backend,
                    "runtime": ready["go"],
                },
                how="make record",
            )
            save(path, first, result.entries())
            console.print(f"{path.relative_to(ROOT)}: {result.verdict}")
            if result.verdict is not Verdict.PASS:
                return EXIT_FAIL
    return 0


def judge(peer: str, backend: str, url: str) -> int:
    """Run all server cases on one endpoint and give the number of unexplained results."""

    async def run() -> list[Result]:
        return [result async for result in run_cases(url, server_cases())]

    results = asyncio.run(run())
    unexplained = [
        result for result in results if found(result) != known(peer, backend, result.case.id)
    ]
    if unexplained:
        show(console, unexplained, f"neffos-wire server {url}")
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


def known(peer: str, backend: str, case_id: str) -> tuple[str, str] | None:
    """Give the verdict and the observation that are known of a case."""
    for entry in deviations():
        here = entry["peer"] == peer and backend in entry.get("backends", [backend])
        if here and case_id in entry.get("cases", ()):
            return entry["verdict"], entry["observed"]
    return None


@cache
def deviations() -> list[dict[str, Any]]:
    """Give what is known of real peers."""
    entries: list[dict[str, Any]] = tomllib.loads(DEVIATIONS.read_text("utf-8"))["deviation"]
    return entries


async def let_talk(peer: str, endpoint: str, url: str) -> int:
    """Let every client converse with a server; give the number of unexplained outcomes."""
    unexplained = 0
    for client, command in CLIENTS.items():
        async with driving(command) as driver:
            outcomes = await converse(driver, url)
        went_well = [outcome for outcome in outcomes if not outcome.failure]
        wrong = [outcome for outcome in outcomes if not is_explained(client, outcome)]
        for outcome in wrong:
            failure = outcome.failure or "it goes well now: its deviation is out of date"
            console.print(f"  {outcome.step}: {failure[:SHOWN_LENGTH]}", markup=False)
        console.print(
            f"{client} with {peer}, {endpoint}: {len(went_well)} of {len(outcomes)} steps, "
            f"{len(wrong)} unexplained"
        )
        unexplained += len(wrong)
    return unexplained


def is_explained(client: str, outcome: Outcome) -> bool:
    """Whether a step went as is known of that client, be it well or not."""
    for entry in deviations():
        if entry["peer"] == client and outcome.step in entry.get("steps", ()):
            return bool(outcome.failure) and entry["observed"] in outcome.failure
    return not outcome.failure


def compare_codecs() -> int:
    """Ask Go's codec and ours the same questions and give the number of differences."""
    payloads = [*vector_payloads(), *generated_payloads(GENERATED)]
    questions = [
        {"op": "decode", "kind": kind, "payload_hex": octets.hex()} for kind, octets in payloads
    ]
    messages = [message for message in map(ours, payloads) if message and go_can_write(message)]
    questions += [go_encode_question(message) for message in messages]
    answers = ask_go(questions)
    differences: list[str] = []
    for (kind, octets), answer in zip(payloads, answers, strict=False):
        mine = go_terms(ours((kind, octets)))
        if mine != answer:
            differences.append(f"decode {kind} {octets!r}\n  Go:   {answer}\n  here: {mine}")
    for message, answer in zip(messages, answers[len(payloads) :], strict=True):
        octets = octets_of(encode(message))
        if answer != {"payload": octets.hex()}:
            differences.append(f"encode {message!r}\n  Go:   {answer}\n  here: {octets.hex()}")
    for difference in differences[:SHOWN]:
        console.print(difference[:SHOWN_LENGTH], markup=False)
    console.print(
        f"codec: {len(payloads)} payloads decoded and {len(messages)} messages encoded "
        f"beside Go's, {len(differences)} differences"
    )
    return len(differences)


def ask_go(questions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Give Go's answers to the questions, in their order."""
    run = subprocess.run(
        [str(GO_PEER), "codec"],
        input="".join(json.dumps(question) + "\n" for question in questions),
        capture_output=True,
        text=True,
        check=True,
        timeout=ANSWERS_DEADLINE,
    )
    return [json.loads(line) for line in run.stdout.splitlines()]


def ours(payload: tuple[str, bytes]) -> Message | None:
    """Read a payload leniently; ``None`` where it is refused."""
    kind, octets = payload
    try:
        return decode(octets if kind == "binary" else octets.decode("utf-8", "surrogateescape"))
    except DecodeError:
        return None


def go_terms(message: Message | None) -> dict[str, Any]:
    """Say of a message what Go's codec says of it."""
    if message is None:
        return {"invalid": True}
    wait = parse_wait(message.wait)
    body = octets_of(message.body)
    return {
        "wait": octets_of(wait.token).hex(),
        "namespace": octets_of(message.namespace).hex(),
        "room": octets_of(message.room).hex(),
        "event": octets_of(message.event).hex(),
        "body": "" if message.is_error else body.hex(),
        # An error without a text is no error to Go (FR-9).
        "error": body.hex() if message.is_error and body else None,
        "is_no_op": message.is_no_op,
        "from_explicit": octets_of(wait.sender).hex(),
        "from_stack_exchange": wait.from_exchange,
        "is_native": False,
        "binary": message.is_binary,
    }


def go_can_write(message: Message) -> bool:
    """Whether Go's codec can be given this message.

    Tokens and isNoOp cannot be set from outside, and an error without a text is no error to
    it (FR-9).
    """
    return not (message.wait or message.is_no_op or (message.is_error and not message.body))


def go_encode_question(message: Message) -> dict[str, Any]:
    """Ask Go to write a message."""
    body = octets_of(message.body).hex()
    return {
        "op": "encode",
        "namespace": octets_of(message.namespace).hex(),
        "room": octets_of(message.room).hex(),
        "event": octets_of(message.event).hex(),
        "body": body,
        "error": body if message.is_error else None,
        "binary": message.is_binary,
    }


def octets_of(value: str | bytes) -> bytes:
    """Give text as the octets that it had on the wire."""
    return value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value


def vector_payloads() -> Iterator[tuple[str, bytes]]:
    """Give the payloads of the vectors that decode."""
    for vector in vectors.load_vectors():
        if vector["operation"] == "decode" and vector["kind"] != "other":  # no transport has others
            yield vector["kind"], vectors.octets(vector["payload"])


def generated_payloads(count: int) -> Iterator[tuple[str, bytes]]:
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
        yield generator.choice(["text", "binary"]), b";".join(fields)


if __name__ == "__main__":
    sys.exit(main())
