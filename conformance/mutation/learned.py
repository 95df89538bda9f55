"""Which faults of state learning finds, and which random sequences: ``python -m mutation.learned``.

Each mutant of the sample runs in memory, so that the outcome is the same on each machine. Learning
has the scene of the server's own asks. Exploring has a seed and a number of sequences that take
about as much processor time. The site shows what ``--record`` writes; without it, the outcomes are
compared with those recorded.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import click

from mutation import BANK, memory_loop
from mutation.registry import Mutant
from neffos_conformance.learning.alphabet import Scene
from neffos_conformance.learning.learner import UndecidedError, learn
from neffos_conformance.learning.lesson import EXTRA_STATES, Lesson, scenes_of
from neffos_conformance.learning.machine import Word, differing
from neffos_conformance.learning.observing import LiveServer
from neffos_conformance.model_based import Plan, explore_server
from neffos_conformance.reference.embedded import embedded_server
from neffos_conformance.runner.playback import Timeouts
from neffos_conformance.wire.reach import Target
from neffos_protocol import Role

RECORDED: Final = Path(__file__).with_suffix(".json")

SAMPLE: Final = (
    "ended-leave-carried-out",
    "connect-calls-disconnect-off",
    "ended-disconnect-carried-out",
    "leave-calls-join-off",
    "own-disconnect-without-effect",
    "accepted-leave-forgotten",
)
"""Mutants that change a state at an ask of the server, or at its end."""

SCENE: Final = Scene.OWN_ASKS

SEED: Final = 7
SEQUENCES: Final = 200
STEPS: Final = 30
"""What exploring does: some thirty actions in a sequence are its default."""

UNBOUNDED: Final = 1e6
"""Seconds for exploring. The clock of the loop counts work, and the sequences end it."""


def is_learned(mutant: Mutant) -> bool:
    """Say whether the learned machine differs from the specification's."""
    [lesson] = [each for each in scenes_of(Role.SERVER, None) if each.scene is SCENE]

    def ask(words: Sequence[Word], is_vote: bool) -> Sequence[Word]:
        return memory_loop.run(_answers(mutant, lesson, words, is_vote=is_vote))

    specified = lesson.specified
    try:
        found = learn(ask, specified.machine, specified.ways, extra=EXTRA_STATES[SCENE])
    except UndecidedError:
        return False
    return any(differing(found.machine, specified.machine))


async def _answers(
    mutant: Mutant, lesson: Lesson, words: Sequence[Word], *, is_vote: bool
) -> list[Word]:
    async with embedded_server(distort=mutant.distort) as url:
        peer = LiveServer(Target.of(url), Timeouts)
        asked = [lesson.word(word) for word in words]
        return await peer.ask_all(lesson.scene, asked, is_vote=is_vote)


def is_explored(mutant: Mutant) -> bool:
    """Say whether a random sequence fails."""
    return memory_loop.run(_explored(mutant))


async def _explored(mutant: Mutant) -> bool:
    plan = Plan(SEED, UNBOUNDED, SEQUENCES, STEPS, enough=1)
    async with embedded_server(distort=mutant.distort) as url:
        report = await explore_server(url, plan)
    return bool(report.counterexamples)


def outcomes(name: str) -> dict[str, Any]:
    """Give what finds a mutant."""
    mutant = BANK[name]
    return {
        "requirement": mutant.breaks,
        "learning": is_learned(mutant),
        "exploring": is_explored(mutant),
    }


def recorded() -> dict[str, dict[str, Any]]:
    """Give the recorded outcomes by the name of the mutant."""
    values: dict[str, dict[str, Any]] = json.loads(RECORDED.read_text("utf-8"))["mutants"]
    return values


@click.command()
@click.option("--record", is_flag=True, help="Write the outcomes.")
@click.option("--only", "names", multiple=True, help="Only this mutant.")
def main(record: bool, names: tuple[str, ...]) -> None:
    """Say what finds each mutant of the sample."""
    logging.disable()  # faults make handlers fail
    found = {}
    for name in names or SAMPLE:
        began = time.process_time()
        found[name] = outcomes(name)
        click.echo(f"{name}: {found[name]}, {time.process_time() - began:.0f} s of a processor")
    if record:
        RECORDED.write_text(json.dumps({"mutants": found}, indent=1) + "\n", "utf-8")
        return
    wrong = [name for name, each in found.items() if recorded()[name] != each]
    for name in wrong:
        click.echo(f"{name} is recorded otherwise")
    if wrong:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
