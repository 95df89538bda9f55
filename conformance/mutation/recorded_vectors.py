"""Session vectors recorded from test cases: ``python -m mutation.recorded_vectors``.

It runs the cases against the reference server and the reference client, in this process, writes
down what went into each session, and plays that again to a session of its own. It keeps the fewest
of these conversations that kill what all of them kill together, and writes the files ``cases-*``.
"""

from __future__ import annotations

import json
import logging
import re
from collections import defaultdict
from typing import Any, Final
from unittest.mock import patch

import click

from mutation import BANK, by_vectors, work_clock
from mutation.client_faults import ClientFault
from mutation.hooks import Hooks
from mutation.recorded_sessions import NEWEST, TracedSession
from mutation.registry import Mutant
from neffos_codec import Native
from neffos_conformance.cases.definition import Case, client_cases, server_cases
from neffos_protocol.events import Role
from neffos_protocol.session_recording import Here, text_of
from neffos_protocol.session_vectors import FOLDER, FORMAT, Vector, load_vectors

ABOUT: Final = {
    "server": "Conversations of a server with the test cases.",
    "client": "Conversations of a client with the test cases.",
}
"""What the files contain, by the role that is tested."""

MOST: Final = 8_000
"""Characters of a vector, as JSON: a longer one is no example, and its case shows the same."""

FREE: Final = ("EV-4.4", "EV-4.5")
"""Cases in which no requirement fixes what a correct peer sends: it may refuse a local event."""

NAMED: Final = re.compile(r"([A-Z]+-[0-9]+\.c?[0-9]+)-[0-9a-f]{8}")
"""A name that a run makes of a case's ID."""


def vector_of(case: Case, recording: TracedSession, number: int) -> Vector:
    """Make a vector of a session of a case, and play it."""
    options = recording.options
    given: dict[str, Any] = {"namespaces": sorted(options.get("namespaces") or ())}
    if options.get("decides"):
        given["decides"] = sorted(map(str, options["decides"]))
    if options.get("decides_handshake"):
        given["decides_handshake"] = True
    native = options.get("native", Native.NEVER)
    if native is not Native.NEVER:
        given["native"] = native.value
    vector = {
        "id": f"session-case-{case.id.lower().replace('.', '-')}-{number}",
        "requirements": list(case.requirements),
        "about": f"{case.title[0].upper()}{case.title[1:]}.",
        "role": str(recording.role),
        "given": given,
    }
    here = Here(vector)
    own = {token: f"<<t{at}>>" for at, token in enumerate(recording.told, 1)}
    if recording.role is Role.SERVER and recording.id:
        own[recording.id] = "<<id>>"
    for step in recording.inputs:
        here.take(_hidden(step, own))
    return {**vector, "steps": here.steps}


def _hidden(value: Any, own: dict[str, str]) -> Any:
    if isinstance(value, str):
        for token, name in own.items():
            value = value.replace(token, name)
        return NAMED.sub(r"\1", value)
    if isinstance(value, dict):
        return {key: _hidden(each, own) for key, each in value.items()}
    return value


async def recorded(role: Role) -> list[Vector]:
    """Run the cases of a role, one after the other, and give a vector for each session."""
    peer, cases = (
        (Hooks(), server_cases()) if role is Role.SERVER else (ClientFault(), client_cases())
    )
    found = []
    with (
        patch("neffos_asyncio.server.Session", TracedSession),
        patch("neffos_asyncio.client.Session", TracedSession),
    ):
        for case in cases:
            if case.is_flood or case.id in FREE:
                continue
            async with peer.stage() as run:
                NEWEST.clear()
                result = await run(case)
                mine = [each for each in NEWEST if each.role is role and each.inputs]
            if not result.is_broken:
                found += [vector_of(case, each, number) for number, each in enumerate(mine, 1)]
    return found


# -------------------------------------------------------------------- choosing


def chosen(vectors: list[Vector], mutants: list[Mutant]) -> list[Vector]:
    """Choose vectors that kill what no vector of another file kills, each as short as it can be.

    A vector that kills a benign variant is none: another peer is free to do otherwise there.
    """
    benign = [each for each in mutants if not each.breaks]
    left = {each.name for each in mutants if each.breaks and not by_vectors.killer(each, others())}
    short = [each for each in vectors if len(json.dumps(each)) <= MOST]
    found: dict[str, set[str]] = defaultdict(set)
    for name in sorted(left):
        breaks = BANK[name].breaks
        # Those of its requirement, or the first of the others.
        own = [each for each in short if breaks in each["requirements"]]
        killers = [each["id"] for each in own if kills(each, BANK[name])]
        rest = [each for each in short if not killers and each not in own]
        first = by_vectors.killer(BANK[name], rest)
        for id_ in [*killers, *([first] if first else [])]:
            found[id_].add(name)
    picked = []
    while left and short:
        best = max(short, key=lambda each: len(found[each["id"]] & left) / len(json.dumps(each)))
        dead = found[best["id"]] & left
        if not dead:
            break
        short.remove(best)
        kept = shortened(best, dead)
        if not any(kills(kept, each) for each in benign):
            left -= dead
            picked.append(kept)
    return sorted(picked, key=lambda each: _number(each["id"]))


def _number(id_: str) -> list[Any]:
    return [int(part) if part.isdigit() else part for part in id_.split("-")]


def shortened(vector: Vector, dead: set[str]) -> Vector:
    """Leave out the last steps of a vector, as long as it kills these mutants."""
    steps = vector["steps"]
    while len(steps) > 1:
        shorter = {**vector, "steps": steps[:-1]}
        if not all(kills(shorter, BANK[name]) for name in dead):
            break
        steps = steps[:-1]
    return {**vector, "steps": steps}


def kills(vector: Vector, mutant: Mutant) -> bool:
    """Say whether a mutant does not play a vector as it expects."""
    return by_vectors.killer(mutant, [vector]) is not None


def others() -> list[Vector]:
    """Give the vectors of the other files."""
    return [each for each in load_vectors() if not each["id"].startswith("session-case-")]


def main() -> None:
    """Write the files again."""
    logging.disable()  # faults make handlers fail
    for role, about in ABOUT.items():
        vectors = work_clock.run(recorded(Role(role)))
        mutants = [each for each in by_vectors.mutants() if each.role == role]
        kept = chosen(vectors, mutants)
        file = {"format": FORMAT, "about": about, "vectors": kept}
        (FOLDER / f"cases-{role}.json").write_text(text_of(file), "utf-8")
        click.echo(f"{role}: {len(kept)} of {len(vectors)} conversations")


if __name__ == "__main__":
    main()
