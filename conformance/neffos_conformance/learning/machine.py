"""Mealy machines as values, and how two of them differ.

The states of both machines are matched by what they do. A transition differs if its output does,
or if it leads elsewhere than the match of its state.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any, Final

from neffos_conformance.learning.alphabet import LAST, NOT_NOW

Word = tuple[str, ...]
"""Inputs, or outputs, in order."""

SHORT: Final = (1, 2)
"""Inputs of the words that are tried first to tell states apart: few enough to try all."""

ROUNDS: Final = 8
"""Steps that the agreement of two states looks ahead: a state with a pending ask has shown what
tells it from others within five."""

AHEAD: Final = 0.8
"""What a step further ahead counts, of one: what two states do at once counts most."""


@dataclass(frozen=True, slots=True)
class Machine:
    """A Mealy machine; state 0 is the first.

    Attributes:
        alphabet: the inputs.
        rows: for each state, the output and the next state of each input, in their order.
    """

    alphabet: tuple[str, ...]
    rows: tuple[tuple[tuple[str, int], ...], ...]

    def after(self, word: Sequence[str], state: int = 0) -> tuple[list[str], int]:
        """Give the outputs for a word, and the state after it."""
        outputs = []
        for letter in word:
            output, state = self.rows[state][self.alphabet.index(letter)]
            outputs.append(output)
        return outputs, state

    def ways(self) -> list[Word]:
        """Give the shortest word to each state."""
        found: dict[int, Word] = {0: ()}
        todo = [0]
        for state in todo:
            for letter, (_, after) in zip(self.alphabet, self.rows[state], strict=True):
                if after not in found:
                    found[after] = (*found[state], letter)
                    todo.append(after)
        return [found[state] for state in range(len(self.rows))]

    def ending(self, state: int) -> str:
        """Give the output of a state in which the connection has ended; empty in others."""
        outputs = {output for output, _ in self.rows[state]}
        return next(iter(outputs & {*LAST}), "") if len(outputs) == 1 else ""

    def groups(self) -> list[int]:
        """Give each state a number, which the states that do the same share."""
        groups = [0] * len(self.rows)
        while True:
            seen: dict[tuple[object, ...], int] = {}
            found = [
                seen.setdefault((group, *((out, groups[after]) for out, after in row)), len(seen))
                for group, row in zip(groups, self.rows, strict=True)
            ]
            if max(found) == max(groups):
                return found
            groups = found

    def suffixes(self) -> list[Word]:
        """Give words of which some tell any two states apart that do not do the same.

        Each is the short word that tells most of them apart, or the shortest that tells the next
        two apart if no short one does.
        """
        found: list[Word] = []
        same = self.groups()
        groups = [0] * len(self.rows)
        short = [each for size in SHORT for each in product(self.alphabet, repeat=size)]
        while max(groups) < max(same):
            splits = {word: self._split(groups, word) for word in short}
            word = max(short, key=lambda each: max(splits[each]))
            if max(splits[word]) == max(groups):
                pairs = combinations(range(len(groups)), 2)
                word = next(
                    self.telling(one, other)
                    for one, other in pairs
                    if groups[one] == groups[other] and same[one] != same[other]
                )
            found.append(word)
            groups = self._split(groups, word)
        return found or [()]

    def _split(self, groups: Sequence[int], word: Word) -> list[int]:
        """Part groups of states by their outputs for a word."""
        seen: dict[tuple[object, ...], int] = {}
        return [
            seen.setdefault((group, *self.after(word, state)[0]), len(seen))
            for state, group in enumerate(groups)
        ]

    def tests(self, extra: int = 0, ways: Sequence[Word] = ()) -> Iterator[Word]:
        """Give words that another machine answers differently, by the Wp-method.

        All suffixes follow the ways to the states. What an input leads to needs only those suffixes
        that tell this state from the others.

        Args:
            extra: the states that the other machine may have beyond those of this one. With more,
                these words may miss the difference.
            ways: the words that lead to the states; the shortest unless given.
        """
        ways = ways or self.ways()
        suffixes = self.suffixes()
        middles = [each for size in range(extra + 1) for each in self._words(size)]
        for way, middle, suffix in product(ways, middles, suffixes):
            yield (*way, *middle, *suffix)
        own = [self._own(state, suffixes) for state in range(len(self.rows))]
        for way, middle in product(ways, self._words(extra + 1)):
            word = (*way, *middle)
            for suffix in own[self.after(word)[1]]:
                yield (*word, *suffix)

    def _words(self, size: int) -> list[Word]:
        return list(product(self.alphabet, repeat=size))

    def _own(self, state: int, suffixes: Sequence[Word]) -> list[Word]:
        """Give those of some suffixes that tell a state from the others, as few as are found."""
        outputs = {each: self.after(each, state)[0] for each in suffixes}
        same = self.groups()
        left = {other for other, group in enumerate(same) if group != same[state]}
        found: list[Word] = []
        while left:
            told = {
                each: {other for other in left if self.after(each, other)[0] != outputs[each]}
                for each in suffixes
            }
            found.append(max(suffixes, key=lambda each: len(told[each])))
            left -= told[found[-1]]
        return found or [()]

    def telling(self, first: int, second: int) -> Word:
        """Give the shortest word that tells two states apart.

        Raises:
            ValueError: none does.
        """
        seen = {(first, second)}
        todo: list[tuple[int, int, Word]] = [(first, second, ())]
        for one, other, way in todo:
            for letter, (output, after), (wanted, there) in zip(
                self.alphabet, self.rows[one], self.rows[other], strict=True
            ):
                if output != wanted:
                    return (*way, letter)
                if after != there and (after, there) not in seen:
                    seen.add((after, there))
                    todo.append((after, there, (*way, letter)))
        raise ValueError(f"states {first} and {second} do the same")

    def values(self) -> dict[str, Any]:
        """Give the machine for JSON."""
        return {
            "inputs": list(self.alphabet),
            "states": [
                {
                    letter: [output, after]
                    for letter, (output, after) in zip(self.alphabet, row, strict=True)
                }
                for row in self.rows
            ],
        }


def machine_from(values: Mapping[str, Any]) -> Machine:
    """Read a machine from ``Machine.values``."""
    alphabet = tuple(values["inputs"])
    rows = tuple(
        tuple((state[letter][0], state[letter][1]) for letter in alphabet)
        for state in values["states"]
    )
    return Machine(alphabet, rows)


@dataclass(frozen=True, slots=True)
class Differing:
    """A transition of a peer's machine that is not the specification's.

    Attributes:
        way: the shortest word to the peer's state.
        input: the input.
        state: the peer's state.
        specified: the output of the specification, and its next state.
        actual: the output of the peer, and its next state.
        match: the specification's state that is like the peer's state.
        after: the one that is like the peer's next state.
    """

    way: Word
    input: str
    state: int
    specified: tuple[str, int]
    actual: tuple[str, int]
    match: int
    after: int


def matched(machine: Machine, specified: Machine) -> list[int]:
    """Give the state of the specification that each state of a machine corresponds to.

    That is the state after the shortest word with the same outputs. A state to which only other
    outputs lead corresponds to the one that it agrees with most, and what it leads to by the same
    outputs, to what that one leads to.
    """
    found = {0: 0}
    todo = [0]
    agreement: list[list[float]] = []
    for state in range(len(machine.rows)):  # the nearest ones first
        if state not in found:
            agreement = agreement or _agreement(machine, specified)
            found[state] = max(
                range(len(specified.rows)), key=lambda other: agreement[state][other]
            )
            todo = [state]
        for each in todo:
            for (output, after), (wanted, there) in zip(
                machine.rows[each], specified.rows[found[each]], strict=True
            ):
                if output == wanted and after not in found:
                    found[after] = there
                    todo.append(after)
        todo = []
    return [found[state] for state in range(len(machine.rows))]


def _agreement(machine: Machine, specified: Machine) -> list[list[float]]:
    """Give for each two states the share of inputs with the same output, some steps ahead."""
    size, count = len(specified.rows), len(machine.alphabet)
    agreement = [[1.0] * size for _ in machine.rows]
    for _ in range(ROUNDS):
        agreement = [
            [
                sum(
                    (1 + AHEAD * agreement[after][there]) * (output == wanted)
                    for (output, after), (wanted, there) in zip(row, other, strict=True)
                )
                / count
                for other in specified.rows
            ]
            for row in machine.rows
        ]
    return agreement


def differing(machine: Machine, specified: Machine) -> Iterator[Differing]:
    """Give the transitions that differ, those on the shortest ways first.

    An input that the suite gives in one of both states only is left out: what led there differs.
    """
    match = matched(machine, specified)
    ways = machine.ways()
    for state in sorted(range(len(ways)), key=lambda each: len(ways[each])):
        if machine.ending(state):  # the transitions that lead here differ
            continue
        for letter, actual, wanted in zip(
            machine.alphabet, machine.rows[state], specified.rows[match[state]], strict=True
        ):
            if NOT_NOW in (actual[0], wanted[0]):  # what was not sent shows nothing
                continue
            after = match[actual[1]]
            if actual[0] != wanted[0] or after != wanted[1]:
                yield Differing(ways[state], letter, state, wanted, actual, match[state], after)
