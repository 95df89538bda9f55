"""Learning machines: of the specification's peer, of mutated ones, and of a server."""

import json
from collections import Counter

import pytest

from mutation import BANK, memory_loop
from mutation import learned as mutated
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.learning.alphabet import (
    NOT_NOW,
    STOPPED,
    Dialogue,
    InputKind,
    Scene,
    alphabet,
    may_become,
    output,
)
from neffos_conformance.learning.drawing import difference_lines, lines, mermaid
from neffos_conformance.learning.explained import explanations
from neffos_conformance.learning.learner import Answers, UndecidedError, learn
from neffos_conformance.learning.lesson import Lesson, scenes_of, study
from neffos_conformance.learning.machine import Machine, differing, machine_from, matched
from neffos_conformance.learning.observing import LearnedConnection, LiveServer, WaitedFor
from neffos_conformance.learning.specified import SpecifiedPeer, specification
from neffos_conformance.reference.embedded import embedded_server
from neffos_conformance.runner.playback import Playback, Timeouts
from neffos_conformance.wire.reach import Target
from neffos_protocol import Role
from neffos_protocol.catalogue import differences, requirements
from peers import learned

from .commands import run_text

HANG = 60.0
"""Seconds after which a test has failed."""

SCENES = [lesson for role in Role for lesson in scenes_of(role, None)]


def asking(lesson, make=SpecifiedPeer):
    """Ask a peer in memory."""

    def ask(words, _):
        found = []
        for word in words:
            peer = make(lesson.role, is_open=lesson.scene is not Scene.HANDSHAKE)
            found.append(tuple(peer.step(step.given) for step in lesson.word(word)))
        return found

    return ask


def lesson_of(role, scene):
    return next(each for each in scenes_of(role, None) if each.scene is scene)


SMALL = [each for each in SCENES if each.scene not in (Scene.ASKS, Scene.OWN_ASKS)]
"""What takes a tenth of a second to learn in memory."""


@pytest.mark.parametrize("lesson", SMALL, ids=lambda each: f"{each.role}-{each.scene}")
def test_what_is_learned_of_a_correct_peer_is_the_machine_of_the_specification(lesson):
    found = learn(asking(lesson), lesson.specified.machine, lesson.specified.ways, walks=0)
    assert len(found.machine.rows) == len(lesson.specified.names)
    assert not list(differing(found.machine, lesson.specified.machine))


def test_each_transition_rests_on_a_requirement_of_the_role():
    for lesson in SCENES:
        for state, row in zip(
            lesson.specified.requirements, lesson.specified.machine.rows, strict=True
        ):
            for (name, id_), (found, _) in zip(state.items(), row, strict=True):
                if found != NOT_NOW and id_:
                    assert id_ in requirements(), name


class _ErrorsConnect(SpecifiedPeer):
    """Ignores isError of a connect, as Go does."""

    def perform(self, given, sent):
        if given.name == "connect with isError":
            sent = sent.replace(is_error=False, body="")
        super().perform(given, sent)


class _RoomsSurvive(SpecifiedPeer):
    """Joins a room again that was left by a disconnect."""

    def __init__(self, *given, **more):
        super().__init__(*given, **more)
        self.was_in = False

    def perform(self, given, sent):
        if given.name == "disconnect":
            self.was_in = self.session.is_member("app", "lobby")
        super().perform(given, sent)
        if given.name == "connect" and self.was_in:
            self.session._set_state(type(given.key)("app", "lobby"), self.session._state(given.key))


def test_a_mutated_peer_differs_in_the_transitions_that_were_changed_and_no_other():
    lesson = lesson_of(Role.SERVER, Scene.ASKS)
    study(lesson, asking(lesson, _ErrorsConnect), extra=0, walks=0)
    found = {(lesson.names()[each.found.state], each.found.input) for each in lesson.differing}
    places = ("nothing connected", "app", "app, app/lobby")
    assert found == {(place, "connect with isError") for place in places}
    assert {each.requirement for each in lesson.differing} == {"NS-12"}
    assert {each.explanation.difference for each in lesson.differing} == {"DV-15"}
    assert {each.verdict for each in lesson.differing} == {Verdict.PASS}
    assert "DV-15" in "\n".join(difference_lines(lesson, lesson.grouped()[0]))


def test_a_state_too_many_is_found_and_unexplained():
    names = ("connect", "disconnect", "join", "ask in the room")
    inputs = [each for each in alphabet(Role.SERVER, Scene.ASKS) if each.name in names]
    specified = specification(Role.SERVER, Scene.ASKS, inputs)
    lesson = Lesson(Role.SERVER, Scene.ASKS, inputs, specified)
    study(lesson, asking(lesson, _RoomsSurvive), walks=0)
    assert len(lesson.machine.rows) == 4
    [wrong] = lesson.differing
    assert wrong.found.way == ("connect", "join", "disconnect")
    assert wrong.found.input == "connect"
    assert wrong.explanation is None
    assert wrong.verdict is Verdict.FAIL
    word = lesson.showing(wrong)
    assert lesson.machine.after(word)[0] != specified.machine.after(word)[0]


def test_a_race_is_put_to_a_vote_and_a_peer_that_has_no_majority_is_unknown():
    lesson = lesson_of(Role.SERVER, Scene.NAMES)
    correct, times = asking(lesson), Counter()

    def late_once(words, is_vote):
        answers = correct(words, is_vote)
        for place, word in enumerate(words):
            times[word[:1]] += not is_vote
            if word[0] == "connect" and times[word[:1]] == 3 and not is_vote:
                answers[place] = ("-", *answers[place][1:])
        return answers

    study(lesson, late_once, extra=0, walks=0)
    assert lesson.learned.votes
    assert not lesson.differing

    def random_peer(words, is_vote):
        times["all"] += 1
        return [(f"{times['all']}{place}",) * len(word) for place, word in enumerate(words)]

    study(lesson, random_peer, extra=0, walks=0)
    assert "not deterministic" in lesson.unknown
    assert lesson.trace.answers


def test_answers_are_asked_once_and_the_end_of_a_connection_is_not_asked_about():
    asked = []

    def ask(words, _):
        asked.extend(words)
        return [tuple(STOPPED if each == "b" else "-" for each in word) for word in words]

    answers = Answers(ask)
    answers.fetch([("a",), ("a", "b"), ("a", "b", "a")])
    assert asked == [("a", "b", "a")]
    assert answers.get(("a", "b", "b")) == ("-", STOPPED, STOPPED)
    assert len(asked) == 1
    with pytest.raises(UndecidedError):
        Answers(lambda words, _: [("-",)] * len(words)).get(("a", "a"))


def test_a_plain_server_has_a_smaller_alphabet():
    names = [each.scene for each in scenes_of(Role.SERVER, frozenset())]
    assert names == [Scene.HANDSHAKE, Scene.NAMES]
    assert not alphabet(Role.SERVER, Scene.OWN_ASKS, frozenset({"app", "rooms", "echo"}))
    inputs = alphabet(Role.SERVER, Scene.ASKS, frozenset({"app"}))
    assert "join" not in {each.name for each in inputs}


def test_outputs_do_not_count_and_the_order_of_reports_is_none():
    assert output([]) == "-"
    assert output(["done", "done"], ["sees b", "sees a"]) == "done + sees a + sees b"
    assert output([], ["sees left", "sees disconnected"]) == "sees disconnected"


def test_only_what_is_missing_can_come_later():
    assert may_become("-", "done + sees joined")
    assert may_become("sees joined", "done + sees joined")
    assert may_become("done + sees left", "done + sees disconnected")
    assert not may_become("sees joined", "-")
    assert not may_become("error + sees joined", "done + sees joined")


def test_inputs_that_a_server_may_handle_later_are_not_given_while_its_handler_waits():
    peer = SpecifiedPeer(Role.SERVER)
    inputs = {each.name: each for each in alphabet(Role.SERVER, Scene.OWN_ASKS)}
    for name in ("connect", "join-me"):
        peer.step(inputs[name])
    assert peer.step(inputs["ask"]) == NOT_NOW
    assert peer.step(inputs["join"]) == "done"
    assert isinstance(peer.dialogue, Dialogue)


def test_a_machine_can_be_written_read_and_drawn():
    lesson = lesson_of(Role.CLIENT, Scene.HANDSHAKE)
    study(lesson, asking(lesson), extra=0, walks=0)
    values = json.loads(json.dumps(lesson.values()))
    assert machine_from(values["machine"]) == lesson.machine
    assert "stateDiagram-v2" in mermaid(lesson)
    assert "  acceptance: - → [nothing connected]" in list(lines(lesson.machine, lesson.names()))


def test_what_follows_on_a_command_that_has_ended_is_there_at_the_next_barrier():
    class Ended(LearnedConnection):
        def has_ended(self, given):
            return given.kind is InputKind.COMMAND

        async def _barrier(self, words):
            words.append("late")

    async def main():
        waited = WaitedFor(lambda: Timeouts(after_barrier=HANG))
        connection = Ended(Playback("client", Timeouts()), waited)
        given = next(
            each for each in alphabet(Role.CLIENT, Scene.OWN_ASKS) if each.kind is InputKind.COMMAND
        )
        words = []
        await connection._wait(given, words, [], "asks connect")
        return words

    assert memory_loop.run(main()) == ["late"]


def test_the_embedded_server_has_the_machines_of_the_specification():
    async def main():
        async with embedded_server() as url:
            peer = LiveServer(Target.of(url), Timeouts)
            found = []
            for lesson in scenes_of(Role.SERVER, None)[:3]:
                words = [
                    (*way, letter)
                    for way in lesson.specified.machine.ways()
                    for letter in lesson.specified.machine.alphabet
                ]
                answers = await peer.ask_all(lesson.scene, [lesson.word(word) for word in words])
                found += [
                    list(each) == lesson.specified.machine.after(word)[0]
                    for word, each in zip(words, answers, strict=True)
                ]
            return found

    found = memory_loop.run(main())
    assert found
    assert all(found)


def test_the_command_learns_the_embedded_server():
    result = run_text("learn", "--scene", "handshake", "--json")
    assert result.returncode == 0
    values = json.loads(result.stdout)
    assert [each["scene"] for each in values["machines"]] == ["handshake"]
    assert not any(each["differing"] for each in values["machines"])


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--client"], "COMMAND"),
        (["ws://localhost:1/", "--client", "x"], "no URL"),
        (["http://localhost:1/"], "ws"),
        (["--namespace", "a", "--client", "x"], "of no use"),
    ],
)
def test_a_wrong_command_line_says_what_to_do(arguments, text):
    result = run_text("learn", *arguments)
    assert result.returncode == 2
    assert text in result.stderr


def test_each_explanation_names_what_there_is():
    for each in explanations():
        assert not each.difference or each.difference in differences()
        assert each.requirements
        assert all(id_ in requirements() for id_ in each.requirements)


def test_the_recorded_machines_are_explained_and_each_explanation_has_a_machine():
    found = learned.recorded()
    assert found
    used = set()
    for name, values in found.items():
        for machine in values["machines"]:
            for each in machine["differing"]:
                assert each["explanation"], f"{name}: {machine['scene']}, {each['input']}"
                used.add(each["explanation"])
    assert {each.about for each in explanations()} == used


def test_what_follows_on_a_difference_by_the_same_outputs_has_the_match_of_what_should_follow():
    specified = Machine(
        ("a", "b"), ((("0", 1), ("-", 0)), (("-", 1), ("-", 2)), (("x", 2), ("y", 2)))
    )
    strange = (("-", 3), ("-", 4))  # as state 1, and reached by another output
    after = (("0", 4), ("-", 1))  # agrees with state 0
    peer = Machine(("a", "b"), ((("wrong", 3), ("-", 0)), *specified.rows[1:], strange, after))
    assert matched(peer, specified) == [0, 1, 2, 1, 2]


def test_a_specification_of_a_part_of_the_inputs_is_smaller():
    inputs = alphabet(Role.SERVER, Scene.ASKS, frozenset({"app", "echo"}))
    assert len(specification(Role.SERVER, Scene.ASKS, inputs).names) == 2
    assert isinstance(Lesson(Role.SERVER, Scene.ASKS, inputs, None).names(), list)


def test_each_mutant_of_the_sample_is_recorded():
    assert [*mutated.recorded()] == [*mutated.SAMPLE]
    for name, each in mutated.recorded().items():
        assert each["requirement"] == BANK[name].breaks


@pytest.mark.whole
@pytest.mark.parametrize("name", mutated.SAMPLE)
def test_what_finds_a_mutant_is_recorded(name):
    assert mutated.outcomes(name) == mutated.recorded()[name]
