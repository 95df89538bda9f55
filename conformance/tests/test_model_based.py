"""Model-based tests of a server: none fails on a correct one, small ones fail on faulty ones."""

import asyncio
import json
from dataclasses import replace
from functools import cache

import pytest

from mutation import hooks, operators, work_clock
from neffos_conformance.cases.features import by_id, closed
from neffos_conformance.cases.profile import Profile, named
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.model_based import (
    Plan,
    SequenceReport,
    explore_server,
)
from neffos_conformance.model_based.actions import ActionKind, SuiteAction
from neffos_conformance.model_based.failures import STALLS, UNREACHABLE, KnownFailures
from neffos_conformance.model_based.generator import SequenceGenerator, generate
from neffos_conformance.model_based.links import run_on_server
from neffos_conformance.model_based.shrink import shrink
from neffos_conformance.model_based.tables import transitions_of, why_unreachable
from neffos_conformance.recordings.checking import check
from neffos_conformance.recordings.replay import ReplayOutcome, replay_to_server
from neffos_conformance.reference.embedded import Distort, Serve, embedded_server
from neffos_conformance.runner.pace import Way
from neffos_conformance.runner.playback import Timeouts
from neffos_conformance.runner.run import to_server
from neffos_conformance.wire.connection import ConnectError
from neffos_conformance.wire.networks import network_before, networks
from neffos_conformance.wire.transcript import read_transcript
from neffos_protocol import Role

from .reduced import NOT_REMOVED, renamed, servers

SOON = Timeouts(case=2.0, before_barrier=0.1, after_barrier=0.15, close=0.3)


PLAN = Plan(seed=1, seconds=60.0, sequences=20, steps=10, timeouts=SOON)


def explored(distort: Distort | None = None, **options) -> SequenceReport:
    async def run() -> SequenceReport:
        async with embedded_server(distort=distort) as url:
            return await explore_server(url, replace(PLAN, **options))

    return work_clock.run(run())


def answering(wrong) -> Distort:
    """Give a server that makes something else of what it would send, given what came."""

    def distort(serve: Serve) -> Serve:
        return lambda payload: wrong(payload, serve(payload))

    return distort


# -------------------------------------------------------------------- test sequences


def test_the_same_seed_generates_the_same_sequences():
    made = [generate(Role.SERVER, 7, index, 16, None) for index in range(30)]
    assert made == [generate(Role.SERVER, 7, index, 16, None) for index in range(30)]
    assert made != [generate(Role.SERVER, 8, index, 16, None) for index in range(30)]


def test_sequences_contain_everything_that_clients_do():
    actions = [each for index in range(30) for each in generate(Role.SERVER, 3, index, 16, None)]
    assert {each.kind for each in actions} == set(ActionKind) - {ActionKind.COMMAND}
    assert {each.connection for each in actions} == {1, 2, 3}
    assert {"broadcast-room", "ask-me", "join-me", "close-me"} <= {each.event for each in actions}


def test_a_server_without_a_feature_is_not_asked_for_it():
    features = closed(["server-asks"])
    actions = [
        each for index in range(60) for each in generate(Role.SERVER, 1, index, 16, features)
    ]
    assert not any(each.room or each.path for each in actions)
    assert not any(
        isinstance(each.body, bytes) and each.kind is ActionKind.SEND for each in actions
    )
    events = {each.event for each in actions}
    assert "ask-me" in events
    assert not events & {"echo", "fail", "whoami"}
    assert not [event for event in events if event.startswith("broadcast") or event == "join-me"]


@pytest.mark.parametrize(
    ("features", "namespaces"),
    [
        ((), {"nowhere", "App", " app"}),
        (("app", "empty-unknown"), {"app", "nowhere", "App", " app", ""}),
        (("app", "refused", "rooms"), {"app", "refused", "nowhere", "App", " app"}),
    ],
)
def test_a_server_is_asked_for_the_namespaces_that_it_has_or_that_nobody_has(features, namespaces):
    offered = frozenset(features)
    sent = [
        each
        for index in range(60)
        for each in generate(Role.SERVER, 1, index, 16, offered)
        if each.kind is ActionKind.SEND
    ]
    assert {each.namespace for each in sent} <= namespaces
    assert not {each.room for each in sent} & {"locked", "sticky"}
    assert not {each.event for each in sent} & {"echo", "push"}


@pytest.mark.parametrize(
    "profile",
    [
        named("chat"),
        Profile(
            namespaces={"app": "app;chat", "any": "app"},
            rooms={"locked": "members"},
            events={"echo": "ping", "news": "said", "question": "q", "broadcast-all": "say"},
        ),
    ],
    ids=["namespace", "names"],
)
def test_a_server_with_its_own_names_is_innocent(profile):
    async def run():
        async with embedded_server(distort=renamed(profile)) as url:
            return await explore_server(url, PLAN, frozenset(by_id()), profile)

    report = asyncio.run(run())
    assert [(each.id, each.run.lines) for each in report.counterexamples] == []
    assert report.sequences == PLAN.sequences


@pytest.mark.parametrize("there", [(), ("app", "rooms", "unhandled"), ("echo", "any-event")])
def test_a_server_with_a_part_of_the_application_is_innocent(there):
    features = closed([*there, *NOT_REMOVED - {"url-headers", "silent"}])

    async def run():
        async with embedded_server(served=servers(features)) as url:
            return await explore_server(url, PLAN, features)

    report = asyncio.run(run())
    assert [(each.id, each.run.lines) for each in report.counterexamples] == []
    assert report.sequences == PLAN.sequences


@pytest.mark.parametrize("role", Role)
def test_an_action_that_is_tried_in_a_fork_changes_nothing(role, monkeypatch):
    add, signatures = SequenceGenerator._add, set()

    def tried(self, action):
        fork = self._model.fork()
        before = repr(vars(self._model))
        if action is not None and fork.perform(action) is not None:
            signatures.add(fork.signatures[action.number])
        assert repr(vars(self._model)) == before
        return add(self, action)

    monkeypatch.setattr(SequenceGenerator, "_add", tried)
    for index in range(6):
        generate(role, 2, index, 12, None)
    assert len(signatures) > 50


# -------------------------------------------------------------------- a correct server


def test_nothing_is_found_on_the_reference_server():
    told: list[tuple[int, int]] = []
    found = explored(sequences=40, seed=3, progress=lambda *each: told.append(each))
    assert found.counterexamples == ()
    assert found.verdict is Verdict.PASS
    assert (found.sequences, found.ended) == (40, "all sequences were run")
    assert found.actions > 400
    assert found.messages > found.actions
    assert found.share > 0.5
    assert told[-1] == (40, 0)


CONNECT, DISCONNECT = "_OnNamespaceConnect", "_OnNamespaceDisconnect"
CROSSED = {
    "the server asks to connect what the client asks to disconnect": (
        {"kind": ActionKind.OPEN, "how": "plain"},
        {"namespace": "app", "event": CONNECT},
        {"namespace": "app", "event": "connect-me", "body": "sticky"},
        {"namespace": "sticky", "event": DISCONNECT},
    ),
    "two answers to an ask of another connection wait for a handler": (
        {"kind": ActionKind.OPEN, "how": "plain"},
        {"namespace": "app", "event": CONNECT},
        {"kind": ActionKind.OPEN, "how": "plain", "connection": 2},
        {"namespace": "app", "event": CONNECT, "connection": 2},
        {"namespace": "app", "event": "join-me", "body": "r"},
        {"namespace": "app", "event": DISCONNECT},
        {"namespace": "app", "event": "ask-me", "connection": 2},
        {"kind": ActionKind.ANSWER, "how": "elsewhere", "of": 7, "connection": 2},
        {"kind": ActionKind.ANSWER, "how": "elsewhere", "of": 7, "connection": 2},
        {"kind": ActionKind.ANSWER, "how": "done", "of": 5},
    ),
}


@pytest.mark.parametrize("what", CROSSED)
def test_a_correct_server_is_innocent_where(what):
    sequence = tuple(
        SuiteAction(number, **{"connection": 1, "kind": ActionKind.SEND, **fields})
        for number, fields in enumerate(CROSSED[what], start=1)
    )

    async def run():
        async with embedded_server() as url:
            return await run_on_server(url, sequence, KnownFailures(), SOON)

    result = work_clock.run(run())
    assert result.performed == {each.number for each in sequence}
    assert (result.failure, result.trouble) == (None, "")


def test_what_was_reached_and_what_was_not_are_the_tables():
    found = explored(sequences=5)
    assert found.reached <= set(transitions_of(Role.SERVER))
    assert found.reached <= set(transitions_of(Role.SERVER))
    assert not [row for row in found.reached if why_unreachable(row, Role.SERVER)]


def test_the_time_ends_a_run():
    found = explored(sequences=10_000, seconds=0.2)
    assert found.ended == "the time was up"
    assert found.sequences < 10_000


# -------------------------------------------------------------------- wrong servers

CONNECT = "Connect;1;0;"

WRONG = {
    "AR-22": answering(
        lambda payload, sent: sent * 2 if isinstance(payload, str) and ";echo;" in payload else sent
    ),
    "NS-12": lambda serve: (
        lambda payload: serve(
            payload.replace(CONNECT, "Connect;0;0;") if CONNECT in str(payload) else payload
        )
    ),
    "RM-3": hooks.send(operators.empty_reply, body="room is locked").distort,
}


SEEDS = {"AR-22": 24, "NS-12": 23, "RM-3": 40}
"""Seeds whose first sequences show the fault, to be short; with any seed it is a matter of time."""


@cache
def found_on(broken: str) -> SequenceReport:
    return explored(WRONG[broken], seed=SEEDS[broken], sequences=10, enough=1)


@pytest.mark.parametrize("broken", WRONG)
def test_a_wrong_server_is_found_by_a_small_sequence(broken):
    found = found_on(broken)
    finding = next((each for each in found.counterexamples if each.requirement == broken), None)
    assert finding is not None, [each.id for each in found.counterexamples]
    assert finding.actions <= 4
    assert finding.is_reproduced
    assert found.verdict is Verdict.FAIL


def test_a_finding_is_a_case_that_a_wrong_server_fails_and_a_correct_one_passes():
    distort = WRONG["RM-3"]
    finding = found_on("RM-3").counterexamples[0]

    async def verdict_with(distort: Distort | None) -> Verdict:
        async with embedded_server(distort=distort) as url:
            return (await to_server(url, SOON)(finding.case())).verdict

    assert work_clock.run(verdict_with(distort)) is finding.verdict is Verdict.FAIL
    assert work_clock.run(verdict_with(None)) is Verdict.PASS
    assert finding.result().case.id == finding.id == "RM-3.iserror-differs"


def test_a_finding_is_saved_as_a_transcript_that_can_be_judged_and_replayed(tmp_path):
    distort = WRONG["AR-22"]
    finding = found_on("AR-22").counterexamples[0]
    path = finding.save(tmp_path, "wrong", "neffos-wire")
    first = json.loads(path.read_text("utf-8").splitlines()[0])
    assert "seed 24" in first["scenario"]
    assert first["how"].endswith("--seed 24")
    assert ("AR-22", "server") in check(path).counts

    async def replayed(distort: Distort | None) -> ReplayOutcome:
        async with embedded_server(distort=distort) as url:
            return (await replay_to_server(read_transcript(path), url, deadline=0.5)).outcome

    assert work_clock.run(replayed(distort)) is ReplayOutcome.SAME
    assert work_clock.run(replayed(None)) is ReplayOutcome.DIFFERENT


def test_each_fault_is_found_once_and_others_behind_it():
    def both(serve: Serve) -> Serve:
        other = hooks.send(operators.change(body="?"), body="bad namespace").distort
        return WRONG["AR-22"](other(serve))

    ids = [each.id for each in explored(both, seed=12, sequences=60, enough=3).counterexamples]
    assert len(ids) == len(set(ids)) == 3
    assert {"AR-22.unasked", "NS-17.body-differs"} <= set(ids)


# -------------------------------------------------------------------- peers that mean harm


def test_a_server_that_says_nothing_more_does_not_hold_up_a_run():
    def hangs(serve: Serve) -> Serve:
        dead = []

        def wrong(payload):
            if ";app;;" in str(payload):
                dead.append(1)
            return [] if dead else serve(payload)

        return wrong

    found = explored(hangs, sequences=50, timeouts=Timeouts(0.3, 0.05, 0.05, 0.1), seconds=5.0)
    assert {each.failure.kind for each in found.counterexamples} & {STALLS, "a reply is missing"}


def test_a_flood_is_a_finding():
    flooding = answering(lambda payload, sent: sent + [";app;;t0;0;0;"] * 3000 * bool(sent))
    found = explored(flooding, sequences=3, seconds=5.0)
    assert found.counterexamples


def test_a_server_that_is_gone_ends_the_run():
    async def run() -> SequenceReport:
        listening = await asyncio.start_server(once, "127.0.0.1", 0)
        async with embedded_server() as url, listening:
            served.append((url.removeprefix("ws://").partition("/")[0].split(":"), listening))
            port = listening.sockets[0].getsockname()[1]
            plan = replace(PLAN, seconds=5.0, sequences=30, steps=8)
            return await explore_server(f"ws://127.0.0.1:{port}/", plan)

    served: list = []

    async def once(reader, writer):
        """Serve one connection, and be gone."""
        (host, port), listening = served[0]
        listening.close()
        behind_reader, behind_writer = await asyncio.open_connection(host, int(port))

        async def pass_on(source, sink):
            while data := await source.read(1 << 16):
                sink.write(data)
            sink.close()

        await asyncio.gather(pass_on(reader, behind_writer), pass_on(behind_reader, writer))

    found = work_clock.run(run())
    assert found.ended == UNREACHABLE
    assert [each.requirement for each in found.counterexamples] == ["SEC-16"]


def test_a_server_that_never_was_there_is_an_error():
    async def run() -> None:
        await explore_server("ws://127.0.0.1:1/", replace(PLAN, sequences=3))

    with pytest.raises(ConnectError):
        work_clock.run(run())


# -------------------------------------------------------------------- shrinking


def numbered(*numbers: int) -> tuple[SuiteAction, ...]:
    return tuple(SuiteAction(number, 1, ActionKind.SEND, body=f"t{number}") for number in numbers)


@pytest.mark.parametrize("needed", [{1}, {30}, {3, 17}, {1, 2, 29}])
def test_what_is_not_needed_is_left_out(needed):
    async def shows(other) -> bool:
        return needed <= {each.number for each in other}

    smallest = work_clock.run(shrink(numbered(*range(1, 31)), shows))
    assert {each.number for each in smallest} == needed


def test_tries_are_bounded():
    tries = 0

    async def shows(_) -> bool:
        nonlocal tries
        tries += 1
        return False

    work_clock.run(shrink(numbered(*range(200)), shows, tries=20))
    assert tries == 20


def test_any_part_of_a_sequence_is_a_sequence():
    async def run() -> None:
        async with embedded_server() as url:
            whole = generate(Role.SERVER, 5, 3, 14, None)
            for left_out in range(0, len(whole), 3):
                part = whole[:left_out] + whole[left_out + 1 :]
                assert (await run_on_server(url, part, KnownFailures(), SOON)).failure is None

    work_clock.run(run())


@pytest.mark.parametrize("name", ["half-open", "cut"])
def test_a_network_that_loses_connections_ends_the_run_and_is_no_counterexample(name):
    async def run() -> SequenceReport:
        async with embedded_server() as url, network_before(url, networks()[name]) as reached:
            return await explore_server(reached, replace(PLAN, way=Way(PLAN.timeouts)))

    report = work_clock.run(run())
    assert report.lost.startswith("a further connection")
    assert (report.counterexamples, report.doubtful) == ((), ())
