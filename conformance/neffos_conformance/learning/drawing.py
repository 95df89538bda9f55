"""Draws a learned machine: as text, and as a state diagram in Mermaid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from neffos_conformance.learning.alphabet import NOT_NOW
from neffos_conformance.learning.lesson import DifferingTransition, Lesson
from neffos_conformance.learning.machine import Machine


def lines(machine: Machine, names: list[str]) -> Iterator[str]:
    """Give the machine as lines: each state, and what it does on the inputs.

    Inputs with the same output and the same next state share a line. What the suite does not send
    in a state is left out.
    """
    for number, row in enumerate(machine.rows):
        yield f"[{names[number]}]"
        shared: dict[tuple[str, int], list[str]] = {}
        for letter, (output, after) in zip(machine.alphabet, row, strict=True):
            if output != NOT_NOW:
                shared.setdefault((output, after), []).append(letter)
        for (output, after), letters in shared.items():
            leads = f" → [{names[after]}]" if after != number else ""
            yield f"  {', '.join(letters)}: {output}{leads}"


def mermaid(lesson: Lesson) -> str:
    """Give the machine as a state diagram; what leaves a state as it is, is left out.

    Inputs that differ from the specification have an exclamation mark.
    """
    machine, names = lesson.machine, lesson.names()
    if machine is None:
        return ""
    wrong = {(each.found.state, each.found.input) for each in lesson.differing}
    found = ["stateDiagram-v2", "  [*] --> s0"]
    found += [f"  s{number} : {_plain(name)}" for number, name in enumerate(names)]
    for number, row in enumerate(machine.rows):
        arrows: dict[int, list[str]] = {}
        for letter, (output, after) in zip(machine.alphabet, row, strict=True):
            is_wrong = (number, letter) in wrong
            if after != number or is_wrong:
                mark = "! " if is_wrong else ""
                arrows.setdefault(after, []).append(f"{mark}{letter} / {output}")
        for after, labels in arrows.items():
            found.append(f"  s{number} --> s{after} : {_plain('<br/>'.join(labels))}")
    return "\n".join(found) + "\n"


def _plain(text: str) -> str:
    """Give a text without what Mermaid reads as its own."""
    return text.replace(":", " ").replace(";", ",").replace("“", "").replace("”", "")


def difference_lines(lesson: Lesson, alike: Sequence[DifferingTransition]) -> Iterator[str]:
    """Give transitions that differ alike as lines: where, what was expected, what explains it."""
    names, spec_names = lesson.names(), lesson.specified.names
    first = alike[0]
    expected, actual = first.found.specified[0], first.found.actual[0]
    yield f"{first.found.input}: expected {expected}, actual {actual}"
    for each in alike:
        found = each.found
        leads = f"  in [{names[found.state]}]"
        if found.actual[1] != found.state or found.specified[1] != found.match:
            leads += f" leads to [{names[found.actual[1]]}]"
        if found.after != found.specified[1]:
            leads += f", expected [{spec_names[found.specified[1]]}]"
        yield leads
    why = first.explanation
    if why is None:
        yield f"  {first.requirement}: {first.verdict}, unexplained"
    elif why.is_permitted:
        yield f"  {first.requirement} permits that: {why.about}"
    else:
        yield f"  {first.requirement}, explained by {why.difference}: {why.about}"
    if first.recording:
        yield f"  recording: {first.recording}"
