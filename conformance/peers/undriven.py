"""Tested clients that nobody drives: what the suite finds, beside what it knows from their drivers.

Each is a small application around the client. It connects a namespace of its own, emits an event
and dials again when its connection is lost. A failure counts as known if the driven client is known
to fail a case of the same requirement, and as none if it does not come again in a second run. In
the folder ``conformance``:

    python -m peers.undriven [NAME ...]

Exit status: 0 passed; 1 failed; 2 unknown name.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Collection, Sequence
from typing import Final

import click

from neffos_conformance.cases.definition import base_of, client_cases, select
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.listening.listener import listening_for_clients
from neffos_conformance.listening.session import ListeningSession
from neffos_conformance.runner.known_failures import KnownFailure
from neffos_conformance.runner.result import Result
from peers.implementations import GO_PEER, JS_PEER, PEERS

UNDRIVEN: Final[dict[str, list[str]]] = {
    "neffos-go-gorilla": [str(GO_PEER), "undriven", "-dialer", "gorilla"],
    "neffos-go-gobwas": [str(GO_PEER), "undriven", "-dialer", "gobwas"],
    "neffos.js": ["node", str(JS_PEER / "undriven.mjs")],
    "neffos.js-browser": ["node", str(JS_PEER / "undriven-browser.mjs")],
}
"""The commands, by the names of the clients; each takes the URL to dial."""

AT_LEAST: Final = 40
"""Cases and observations that each of them passes; fewer mean that it was not there."""

LONGEST: Final = 240.0
"""Seconds for all cases of a client; most take 20."""


async def test_undriven(command: Sequence[str]) -> list[Result]:
    """Run the cases on a client that dials by itself; those that were not reached have no result.

    Args:
        command: starts it.
    """
    session = ListeningSession(select(client_cases(), ()))
    async with listening_for_clients(session, "127.0.0.1", 0) as page:
        client = await asyncio.create_subprocess_exec(
            *command,
            page.dial_url,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            await asyncio.wait_for(session.done.wait(), LONGEST)
        except TimeoutError:
            pass
        finally:
            if client.returncode is None:
                client.terminate()
            await client.wait()
    return [*session.results.values(), *session.observed.found.values()]


def unexplained(name: str, results: Sequence[Result]) -> list[Result]:
    """Give the results that no known failure of the driven client explains."""
    covered = {case.id: case.requirements for case in client_cases()}

    def violated(entry: KnownFailure) -> Sequence[str]:
        base = base_of(entry.case)
        return covered.get(base, [base.partition(".")[0]])  # a walk has the ID of its requirement

    known = {
        id_
        for peer in PEERS.values()
        if name in peer.clients
        for entry in peer.known_failures(name)
        for id_ in violated(entry)
    }
    good = (Verdict.PASS, Verdict.SKIPPED)
    return [
        each
        for each in results
        if each.verdict not in good
        and (not each.is_broken or known.isdisjoint(each.case.requirements))
    ]


def test_all_undriven(names: Collection[str]) -> int:
    """Run the cases on these clients, and print what nothing explains; give the number of that."""

    async def all_of_them() -> list[list[Result]]:
        return await asyncio.gather(*(test_undriven(UNDRIVEN[name]) for name in names))

    total = 0
    for name, results in zip(names, asyncio.run(all_of_them()), strict=True):
        left = unexplained(name, results)
        if left:  # a client may lose a message by a race of its own, as that of Go does (DV-58)
            again = {
                each.case.id
                for each in unexplained(name, asyncio.run(test_undriven(UNDRIVEN[name])))
            }
            left = [each for each in left if each.case.id in again]
        for each in left:
            click.echo(f"{name}, {each.case.id}: {each.verdict}, {each.explanation}")
        passed = sum(each.verdict is Verdict.PASS for each in results)
        known = sum(each.is_broken for each in results) - sum(each.is_broken for each in left)
        click.echo(
            f"{name}, which nobody drives: {passed} passed, {known} of a known failure, "
            f"{len(left)} unexplained"
        )
        total += len(left) + (passed < AT_LEAST)
    return total


@click.command()
@click.argument("names", nargs=-1, type=click.Choice([*UNDRIVEN]), metavar="[NAME]...")
def main(names: tuple[str, ...]) -> None:
    """Test clients that nobody drives, which have been built."""
    sys.exit(bool(test_all_undriven(names or tuple(UNDRIVEN))))


if __name__ == "__main__":
    main()
