"""Whether a mutant breaks a requirement: conversations with it, and the model of the session.

A conversation is drawn for the mutant's trigger, and has nothing of the suite's cases. It runs in
memory. Where what the mutant does differs from what the model requires, the mutant is effective.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

from mutation import memory_loop
from mutation.client_faults import ClientFault, faulty_client
from mutation.generated.drawing import conversation, is_for_trigger
from mutation.generated.messages import MessageMutant
from mutation.hooks import Hooks
from neffos_conformance.model_based.actions import ActionSequence
from neffos_conformance.model_based.failures import Failure, KnownFailures, SequenceResult
from neffos_conformance.model_based.links import run_on_client, run_on_server
from neffos_conformance.model_based.shrink import shrink
from neffos_conformance.runner.playback import Timeouts

CONVERSATIONS: Final = 30
"""Conversations with a mutant before it is undecided. Most have 700 to 1,700 actions in all, by a
count of 24 mutants. The suite has a case of some ten steps for it, if it has any."""

IDLE_CONVERSATIONS: Final = 15
"""Conversations with a mutant that has not changed anything, before it counts as idle."""

SEQUENCE_SECONDS: Final = 120.0
"""Seconds on the clock of the loop for one conversation."""

SHRINKING: Final = 40
"""Tries to make a conversation smaller."""

TIMEOUTS: Final = Timeouts()


@dataclass(frozen=True, slots=True)
class Found:
    """What an oracle found.

    Attributes:
        requirement: that the mutant breaks; empty while it is undecided.
        explanation: how.
        index: of the conversation that shows it.
        acts: how often the mutant changed something until then.
    """

    requirement: str = ""
    explanation: str = ""
    index: int = 0
    acts: int = 0

    @property
    def is_effective(self) -> bool:
        """Whether the mutant breaks a requirement."""
        return bool(self.requirement)


async def talk(
    mutant: MessageMutant, sequence: ActionSequence, index: int
) -> tuple[SequenceResult, int]:
    """Run a conversation with a mutant; give what it showed, and how often the fault acted."""
    peer, acts = mutant.peer(first=1 + index % 2)
    result = await converse(peer, mutant.role, sequence, is_patient=is_for_trigger(index))
    return result, acts.count


async def converse(
    peer: Any, role: str, sequence: ActionSequence, *, is_patient: bool = False
) -> SequenceResult:
    """Run a conversation with a peer; a patient one shows what comes only after a barrier."""
    known = KnownFailures()
    how: Any = {"is_patient": is_patient}
    try:
        async with asyncio.timeout(SEQUENCE_SECONDS):
            if role == "server":
                async with peer.run() as url:
                    return await run_on_server(url, sequence, known, TIMEOUTS, **how)
            take = partial(faulty_client, peer)
            return await run_on_client(take, None, None, sequence, known, TIMEOUTS, **how)
    except TimeoutError:
        return SequenceResult(Failure("SEC-16", "stalls", "a conversation did not end"))


def ask(mutant: MessageMutant, seed: int) -> Found:
    """Look for a conversation in which a mutant breaks a requirement."""
    acts = 0
    for index in range(CONVERSATIONS):
        sequence = conversation(mutant, seed, index)
        result, acted = memory_loop.run(talk(mutant, sequence, index))
        acts += acted
        failure = result.failure
        if failure is not None and acted and not _fails_anyway(mutant.role, sequence, index):
            return Found(failure.requirement, failure.explanation, index, acts)
        if not acts and index == IDLE_CONVERSATIONS:
            break
    return Found(acts=acts)


def _fails_anyway(role: str, sequence: ActionSequence, index: int) -> bool:
    """Whether the correct peer fails in a conversation: then that says nothing of a fault."""
    peer = Hooks() if role == "server" else ClientFault()
    is_patient = is_for_trigger(index)
    return (
        memory_loop.run(converse(peer, role, sequence, is_patient=is_patient)).failure is not None
    )


def shortest(mutant: MessageMutant, seed: int, found: Found) -> tuple[str, ...]:
    """Shrink the conversation that shows what a mutant breaks; give its script."""
    last: list[SequenceResult] = []

    async def shows(other: ActionSequence) -> bool:
        result, acted = await talk(mutant, other, found.index)
        is_shown = bool(acted and result.failure)
        if is_shown:
            last[:] = [result]
        return is_shown

    async def shrunk() -> None:
        sequence = conversation(mutant, seed, found.index)
        await shows(sequence)
        await shrink(sequence, shows, tries=SHRINKING)

    memory_loop.run(shrunk())
    if not last:
        return ()
    failure = last[0].failure
    said = f"# {failure.requirement}: {failure.explanation}" if failure else ""
    return (*last[0].lines, said)
