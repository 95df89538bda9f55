"""Learns the machines of a peer, one for each scene, and compares each with the specification's."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, field
from typing import Any, Final

from neffos_conformance.cases.verdict import Verdict, verdict_on
from neffos_conformance.learning.alphabet import AbstractInput, Expecting, Scene, alphabet
from neffos_conformance.learning.explained import Explanation, explanation
from neffos_conformance.learning.learner import Ask, Learned, UndecidedError, learn
from neffos_conformance.learning.machine import Differing, Machine, Word, differing, matched
from neffos_conformance.learning.specified import Specification, specification
from neffos_conformance.runner.result import LogEntry
from neffos_protocol import Role

FORMAT: Final = 1
"""The format of what ``Lesson.values`` gives."""

EXTRA_STATES: Final[Mapping[Scene, int]] = {
    Scene.HANDSHAKE: 1,
    Scene.ASKS: 1,
    Scene.NAMES: 1,
    Scene.OWN_ASKS: 0,
    Scene.OWN_CONNECT: 0,
}
"""States that a peer may have beyond those found, without escaping the Wp-method. One more takes as
many times the words as there are inputs, which is too much for the machines with many states."""

AskAll = Callable[..., Coroutine[Any, Any, list[tuple[str, ...]]]]
"""Asks a peer some words, as ``LivePeer.ask_all`` does."""


class OutOfTimeError(Exception):
    """The time limit ended before the machine was learned."""


@dataclass(slots=True)
class DifferingTransition:
    """A transition that differs, and what explains it.

    Attributes:
        found: the transition.
        requirement: what the specification's transition rests on.
        explanation: why; ``None`` if nothing explains it.
        log: what was sent and received on the way, if it was asked again.
        recording: the file with that.
    """

    found: Differing
    requirement: str
    explanation: Explanation | None
    log: list[LogEntry] = field(default_factory=list)
    recording: str = ""

    @property
    def verdict(self) -> Verdict:
        """The verdict: a pass where it is explained, else by the level of the requirement."""
        return Verdict.PASS if self.explanation else verdict_on([self.requirement])


@dataclass(slots=True)
class Lesson:
    """What one machine of a peer is.

    Attributes:
        role: of the peer.
        scene: what was learned.
        inputs: the alphabet.
        specified: the specification's machine.
        learned: the peer's; ``None`` if it is unknown.
        unknown: why it is unknown.
        trace: the word whose answers differ, with the answers, if that is why.
        differing: the transitions that differ.
    """

    role: Role
    scene: Scene
    inputs: Sequence[AbstractInput]
    specified: Specification
    learned: Learned | None = None
    unknown: str = ""
    trace: UndecidedError | None = None
    differing: list[DifferingTransition] = field(default_factory=list)

    @property
    def machine(self) -> Machine | None:
        """The peer's machine."""
        return self.learned.machine if self.learned else None

    def names(self) -> list[str]:
        """Name the peer's states after those of the specification, with numbers if they repeat."""
        if self.machine is None:
            return []
        found: list[str] = []
        for number, state in enumerate(matched(self.machine, self.specified.machine)):
            name = self.machine.ending(number) or self.specified.names[state]
            times = sum(each.partition(" #")[0] == name for each in found)
            found.append(f"{name} #{times + 1}" if times else name)
        return found

    def word(self, names: Word) -> list[Expecting]:
        """Give the inputs with these names, each with the output of the specification."""
        by_name = {each.name: each for each in self.inputs}
        outputs, _ = self.specified.machine.after(names)
        return [
            Expecting(by_name[name], output) for name, output in zip(names, outputs, strict=True)
        ]

    def grouped(self) -> list[list[DifferingTransition]]:
        """Give the differing transitions, those together that differ alike in several states."""
        found: dict[tuple[object, ...], list[DifferingTransition]] = {}
        for each in self.differing:
            one = each.found
            alike = one.input, one.specified[0], one.actual[0], each.requirement, each.explanation
            found.setdefault(alike, []).append(each)
        return list(found.values())

    def showing(self, each: DifferingTransition) -> Word:
        """Give the inputs that show a differing transition."""
        found = each.found
        word = (*found.way, found.input)
        if found.specified[0] != found.actual[0]:
            return word
        return (*word, *self.specified.machine.telling(found.specified[1], found.after))

    def values(self) -> dict[str, Any]:
        """Give it for JSON: what is the same at every time."""
        names = self.names()
        spec_names = self.specified.names
        return {
            "scene": str(self.scene),
            "unknown": self.unknown,
            "states": names,
            "machine": self.machine and self.machine.values(),
            "differing": [
                {
                    "state": names[each.found.state],
                    "input": each.found.input,
                    "specified": [each.found.specified[0], spec_names[each.found.specified[1]]],
                    "actual": [each.found.actual[0], names[each.found.actual[1]]],
                    "requirement": each.requirement,
                    "difference": each.explanation.difference if each.explanation else "",
                    "explanation": each.explanation.about if each.explanation else "",
                    "verdict": str(each.verdict),
                    "way": list(each.found.way),
                    "recording": each.recording,
                }
                for each in self.differing
            ],
        }


def scenes_of(role: Role, features: frozenset[str] | None) -> list[Lesson]:
    """Give the lessons that a peer can have, before they are learned.

    Args:
        role: of the peer.
        features: those of a server; ``None`` for all.
    """
    found = []
    for scene in Scene:
        inputs = alphabet(role, scene, features)
        if inputs:
            found.append(Lesson(role, scene, inputs, specification(role, scene, inputs)))
    return found


def study(lesson: Lesson, ask: Ask, **options: int) -> None:
    """Learn one machine and compare it; a peer that is not deterministic makes it unknown.

    Args:
        lesson: takes what is found.
        ask: asks the peer.
        options: as for ``learn``.
    """
    specified = lesson.specified
    try:
        given = {"extra": EXTRA_STATES[lesson.scene], **options}
        lesson.learned = learn(ask, specified.machine, specified.ways, **given)
    except UndecidedError as error:
        lesson.unknown, lesson.trace = f"the peer is not deterministic: {error}", error
        return
    except OutOfTimeError as error:
        lesson.unknown = str(error)
        return
    compare(lesson)


def compare(lesson: Lesson) -> None:
    """Find the transitions in which a learned machine differs, and what explains them."""
    lesson.differing.clear()
    if lesson.machine is None:
        return
    for found in differing(lesson.machine, lesson.specified.machine):
        requirement = lesson.specified.requirements[found.match][found.input]
        names = lesson.specified.names
        why = explanation(lesson.role, requirement, found, (names[found.match], names[found.after]))
        lesson.differing.append(DifferingTransition(found, requirement, why))


async def study_live(lesson: Lesson, ask: AskAll, deadline: float) -> None:
    """Learn one machine of a live peer.

    Args:
        lesson: takes what is found.
        ask: asks the peer.
        deadline: when to stop, on the clock of ``time.monotonic``.

    Raises:
        NotObservedError: the peer cannot be asked.
    """
    loop = asyncio.get_running_loop()

    def put(words: Sequence[Word], is_vote: bool) -> Sequence[Word]:
        if time.monotonic() > deadline:
            raise OutOfTimeError("not learned within the time limit. Try: --seconds")
        asking = ask(lesson.scene, [lesson.word(word) for word in words], is_vote=is_vote)
        running = asyncio.run_coroutine_threadsafe(asking, loop)
        try:
            return running.result()
        except CancelledError:
            raise OutOfTimeError("it was interrupted") from None

    await asyncio.to_thread(study, lesson, put)
