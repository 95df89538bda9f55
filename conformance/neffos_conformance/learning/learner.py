"""Learns a Mealy machine from a peer's answers to words, with AALpy.

AALpy chooses what to ask; this module keeps the answers, asks many words concurrently, and decides
what a peer's answer is when two differ. It does not know what the inputs mean.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice, zip_longest
from typing import Any, Final

from aalpy.base import SUL, Oracle
from aalpy.learning_algs import run_KV

from neffos_conformance.learning.alphabet import LAST
from neffos_conformance.learning.machine import Machine, Word

Ask = Callable[[Sequence[Word], bool], Sequence[Word]]
"""Gives a peer's outputs for some words, each on a connection of its own. The second argument
says whether that is a vote."""

VOTES: Final = 5
"""Answers that decide when two differ: one pause of the machine does not outvote the others."""

RESTARTS: Final = 5
"""Times that learning begins again after a vote against what was believed. Each keeps the other
answers. A peer that needs more is not deterministic."""

WALKS: Final = 40
"""Random words after the Wp-method, for states that it does not promise to find."""

LONGEST_WALK: Final = 12
"""Inputs of such a word after the way to a state."""

SEED: Final = 17
"""Of the random words: the same peer gets the same words."""

SPECULATED: Final = 2
"""Words that tell states apart, of those with which AALpy asked so far, that are asked after every
input at once. It asks the first few for almost each of them, and later ones for few."""

BATCH: Final = 64
"""Words of an equivalence query that are asked together. A difference ends the query, so many more
would be asked in vain."""


class UndecidedError(Exception):
    """A peer answers one word differently, and no answer has a majority.

    Attributes:
        word: the inputs.
        answers: the outputs for them, with how often each came.
    """

    def __init__(self, word: Word, answers: Counter[Word]) -> None:
        super().__init__(f"{len(answers)} different answers to {', '.join(word)}")
        self.word = word
        self.answers = answers


class _RestartError(UndecidedError):
    """A vote was against what was believed."""


@dataclass(slots=True)
class _Node:
    output: str = ""
    next: dict[str, _Node] = field(default_factory=dict)


class Answers:
    """What a peer answered so far, as a tree.

    Args:
        ask: asks the peer.

    Attributes:
        words: how many words the peer was asked.
        inputs: how many inputs they had.
        votes: how many votes there were.
    """

    def __init__(self, ask: Ask) -> None:
        self._ask = ask
        self._root = _Node()
        self.words = self.inputs = self.votes = 0

    def known(self, word: Word) -> Word | None:
        """Give the outputs for a word; ``None`` if the peer was not asked."""
        node = self._root
        outputs: list[str] = []
        for letter in word:
            if outputs and outputs[-1] in LAST:  # the connection has ended
                outputs.append(outputs[-1])
                continue
            if letter not in node.next:
                return None
            node = node.next[letter]
            outputs.append(node.output)
        return tuple(outputs)

    def contradicting(self, machine: Machine) -> Word | None:
        """Give the shortest word that the peer answered, and a machine answers differently."""
        todo: list[tuple[_Node, int, Word]] = [(self._root, 0, ())]
        for node, state, word in todo:
            for letter, child in node.next.items():
                output, after = machine.rows[state][machine.alphabet.index(letter)]
                if output != child.output:
                    return (*word, letter)
                todo.append((child, after, (*word, letter)))
        return None

    def fetch(self, words: Iterable[Word]) -> None:
        """Ask the peer the words that are not known; those that begin another one are in it.

        Raises:
            UndecidedError: the peer answers one word differently.
        """
        wanted = list(words)
        for _ in range(1 + RESTARTS):
            missing = sorted({word for word in wanted if self.known(word) is None})
            if not missing:
                return
            asked = [
                word
                for word, after in zip_longest(missing, missing[1:], fillvalue=())
                if after[: len(word)] != word
            ]
            for word, outputs in zip(asked, self._put(asked), strict=True):
                self._add(word, outputs)
        raise UndecidedError(missing[0], Counter())

    def get(self, word: Word) -> Word:
        """Give the outputs for a word, and ask the peer if they are not known."""
        self.fetch([word])
        found = self.known(word)
        assert found is not None  # noqa: S101
        return found

    def _put(self, words: Sequence[Word], *, is_vote: bool = False) -> Sequence[Word]:
        if not words:
            return []
        self.words += len(words)
        self.inputs += sum(map(len, words))
        return self._ask(words, is_vote)

    def _add(self, word: Word, outputs: Word) -> None:
        node = self._root
        for place, (letter, output) in enumerate(zip(word, outputs, strict=False), 1):
            child = node.next.get(letter)
            if child is None:
                child = node.next[letter] = _Node(output)
            elif child.output != output:
                self._vote(word[:place], node)
                return
            if output in LAST:
                return
            node = child

    def _vote(self, word: Word, before: _Node) -> None:
        """Ask a word again whose last output was another one before; the majority is right."""
        self.votes += 1
        answers = Counter(self._put([word] * VOTES, is_vote=True))
        outputs, times = answers.most_common(1)[0]
        if 2 * times <= VOTES:
            raise UndecidedError(word, answers)
        if self.known(word) != outputs:
            # What was believed is wrong somewhere on the way, and all that followed from it.
            node = self._root
            for letter, output in zip(word, outputs, strict=True):
                child = node.next.get(letter)
                if child is None or child.output != output:
                    node.next[letter] = child = _Node(output)
                node = child
            raise _RestartError(word, answers)


class _Learned(SUL):  # type: ignore[misc]  # AALpy has no types for mypy
    """The peer as AALpy asks it: all answers are kept in ``Answers``.

    AALpy asks one word after the other: the way to a state, an input, and a word that tells states
    apart. The same with every other input mostly follows, so they are asked together.

    Attributes:
        ways: to the states so far.
    """

    def __init__(self, answers: Answers, alphabet: Sequence[str]) -> None:
        super().__init__()
        self.ways: set[Word] = {()}
        self._answers = answers
        self._alphabet = alphabet
        self._telling: list[Word] = []

    def query(self, word: Word) -> list[str]:
        word = tuple(word)
        if self._answers.known(word) is None:
            self._answers.fetch([word, *self._alike(word)])
        return list(self._answers.get(word))

    def _alike(self, word: Word) -> Iterator[Word]:
        places = range(1, len(word))
        place = next((each for each in places if word[each:] in self._telling), 0)
        if not place:
            place = 1 + max((each for each in places if word[:each] in self.ways), default=0)
            self._telling.append(word[place:])
        if place < len(word) and word[place:] in self._telling[:SPECULATED]:
            for letter in self._alphabet:
                yield (*word[: place - 1], letter, *word[place:])

    def pre(self) -> None:
        raise NotImplementedError  # words are asked whole

    post = pre

    def step(self, letter: str) -> str:
        raise NotImplementedError(letter)


class _Oracle(Oracle):  # type: ignore[misc]
    """Tests a machine by the Wp-method up to some more states, then by random words."""

    def __init__(
        self,
        answers: Answers,
        alphabet: Sequence[str],
        ways: Sequence[Word],
        extra: int,
        walks: int,
    ) -> None:
        super().__init__(list(alphabet), _Learned(answers, alphabet))
        self._answers, self._ways = answers, ways
        self._extra, self._walks = extra, walks

    def find_cex(self, hypothesis: Any) -> Word | None:
        """Give a word that the hypothesis answers differently, or ``None``."""
        self.sul.ways |= {state.prefix for state in hypothesis.states}
        return self.refuting(machine_of(hypothesis, self.alphabet))

    def prepare(self, machine: Machine) -> None:
        """Ask the words that test a machine, many together, since most will be asked anyhow."""
        self._answers.fetch(machine.tests(0, self._ways))

    def refuting(self, machine: Machine) -> Word | None:
        """Give a word that a machine answers differently; many are asked together."""
        if (found := self._answers.contradicting(machine)) is not None:
            return found
        words = self._words(machine)
        while batch := list(islice(words, BATCH)):
            self._answers.fetch(batch)
            for word in batch:
                outputs = self._answers.known(word)
                expected, _ = machine.after(word)
                if outputs != tuple(expected):
                    assert outputs is not None  # noqa: S101
                    pairs = zip(outputs, expected, strict=True)
                    place = next(n for n, (a, b) in enumerate(pairs, 1) if a != b)
                    return word[:place]
        return None

    def _words(self, machine: Machine) -> Iterator[Word]:
        known, suffixes = machine.ways(), machine.suffixes()
        yield from machine.tests(self._extra, list(dict.fromkeys((*known, *self._ways))))
        chance = random.Random(SEED)  # noqa: S311  # no secret
        for _ in range(self._walks):
            middle = chance.choices(self.alphabet, k=chance.randint(1, LONGEST_WALK))
            yield (*chance.choice(known), *middle, *chance.choice(suffixes))


@dataclass(frozen=True, slots=True)
class Learned:
    """A machine, and what it took to learn it.

    Attributes:
        machine: the machine.
        words: how many words the peer was asked.
        inputs: how many inputs they had.
        votes: how often the peer's answer was put to a vote.
    """

    machine: Machine
    words: int
    inputs: int
    votes: int


def learn(
    ask: Ask,
    specified: Machine,
    ways: Sequence[Word] = (),
    *,
    extra: int = 0,
    walks: int = WALKS,
) -> Learned:
    """Learn the machine of a peer, over the alphabet of the specification's.

    The specification's machine is tested first. A peer that does the same has it, and no other is
    inferred.

    Args:
        ask: asks the peer.
        specified: the machine that the peer should have.
        ways: words to states of the specification's session. Several can be one state of the
            machine: a correct peer does the same in them, and a faulty one may not.
        extra: states that the peer may have beyond those found.
        walks: random words after the Wp-method.

    Raises:
        UndecidedError: the peer is not deterministic.
    """
    answers = Answers(ask)
    restarted = 0
    while True:
        try:
            oracle = _Oracle(answers, specified.alphabet, ways, extra, walks)
            machine = specified
            if oracle.refuting(specified) is not None:
                oracle.prepare(specified)
                found = run_KV(
                    oracle.alphabet,
                    oracle.sul,
                    oracle,
                    "mealy",
                    cache_and_non_det_check=False,
                    print_level=0,
                )
                machine = machine_of(found, specified.alphabet)
        except _RestartError as error:
            restarted += 1
            if restarted > RESTARTS:
                raise UndecidedError(error.word, error.answers) from None
            continue
        return Learned(machine, answers.words, answers.inputs, answers.votes)


def machine_of(found: Any, alphabet: Sequence[str]) -> Machine:
    """Give AALpy's machine as values, its states numbered in the order of the shortest words."""
    numbers: dict[Hashable, int] = {found.initial_state.state_id: 0}
    states = [found.initial_state]
    for state in states:
        for letter in alphabet:
            after = state.transitions[letter]
            if after.state_id not in numbers:
                numbers[after.state_id] = len(numbers)
                states.append(after)
    return Machine(
        tuple(alphabet),
        tuple(
            tuple(
                (state.output_fun[each], numbers[state.transitions[each].state_id])
                for each in alphabet
            )
            for state in states
        ),
    )
