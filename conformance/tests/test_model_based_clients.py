"""Model-based tests of a client: none fails on a correct one, small ones fail on faulty ones."""

import asyncio
import json
import logging
import sys
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from mutation import BANK, work_clock
from mutation.client_faults import ClientFault, faulty_client
from mutation.client_faults import play as play_case
from neffos_codec import Message, encode
from neffos_conformance.cases.script import OPERATIONS
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.cli.main import cli
from neffos_conformance.model_based import (
    Counterexample,
    Plan,
    SequenceReport,
    explore_client,
    explore_driven,
    failures,
)
from neffos_conformance.model_based.actions import ActionKind, SuiteAction
from neffos_conformance.model_based.failures import CRASHED, STALLS, KnownFailures
from neffos_conformance.model_based.frames import matching
from neffos_conformance.model_based.generator import generate
from neffos_conformance.model_based.links import run_on_client
from neffos_conformance.model_based.model import SutModel
from neffos_conformance.model_based.tables import transitions_of, why_unreachable
from neffos_conformance.recordings.checking import check
from neffos_conformance.runner.driver_protocol import DriverError
from neffos_conformance.runner.pace import Way
from neffos_conformance.runner.playback import Timeouts
from neffos_conformance.wire.networks import Network, networks
from neffos_protocol import Role

REFERENCE = (str(Path(sys.executable).with_name("neffos-wire")), "driver")
SOON = Timeouts(case=2.0, before_barrier=0.1, after_barrier=0.3, close=0.4)


@pytest.fixture(autouse=True)
def quiet():
    """Keep what the handlers of wrong clients log out of the tests' output."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


CORRECT = ClientFault()
HASTY = ClientFault(limits=replace(CORRECT.limits, ask=5.0))
"""It gives up an ask as soon as any tested implementation does."""


PLAN = Plan(seed=1, seconds=60.0, sequences=20, steps=16, timeouts=SOON)


def explored(fault=CORRECT, **options) -> SequenceReport:
    plan = replace(PLAN, **options)
    return work_clock.run(explore_driven(partial(faulty_client, fault), plan))


def driven_by(driver: str, **options) -> SequenceReport:
    """Test the client of a driver that is a few lines of Python."""
    plan = replace(PLAN, **{"seconds": 20.0, "steps": 8, "sequences": 5, **options})
    return asyncio.run(explore_client((sys.executable, "-u", "-c", driver), plan))


# -------------------------------------------------------------------- test sequences


def test_the_same_seed_generates_the_same_sequences():
    made = [generate(Role.CLIENT, 7, index, 16, None) for index in range(30)]
    assert made == [generate(Role.CLIENT, 7, index, 16, None) for index in range(30)]
    assert made != [generate(Role.CLIENT, 8, index, 16, None) for index in range(30)]


def test_sequences_contain_every_operation_and_everything_that_servers_do():
    actions = [each for index in range(30) for each in generate(Role.CLIENT, 1, index, 20, None)]
    assert {each.kind for each in actions} == set(ActionKind)
    assert {each.connection for each in actions} == {1, 2}
    assert {each.how for each in actions if each.kind is ActionKind.COMMAND} == set(OPERATIONS)
    assert {"echo", "relay", "fail"} <= {
        each.event for each in actions if each.kind is ActionKind.SEND
    }


def test_a_client_is_not_told_what_its_driver_does_not_support():
    supported = frozenset(OPERATIONS) - {"native", "leave-all", "emit"}
    actions = [
        each for index in range(60) for each in generate(Role.CLIENT, 1, index, 16, supported)
    ]
    assert {each.how for each in actions if each.kind is ActionKind.COMMAND} <= supported


# -------------------------------------------------------------------- a correct client


def test_nothing_is_found_on_the_reference_client_behind_its_driver():
    found = asyncio.run(explore_client(REFERENCE, replace(PLAN, seed=3, sequences=6)))
    assert found.counterexamples == ()
    assert found.verdict is Verdict.PASS
    assert (found.sequences, found.ended) == (6, "all sequences were run")
    assert found.trouble == ""


def test_what_was_reached_and_what_was_not_are_the_tables():
    found = explored(sequences=15)
    assert found.counterexamples == found.doubtful == ()
    assert found.share > 0.6
    assert found.reached <= set(transitions_of(Role.CLIENT))
    assert not [row for row in found.reached if why_unreachable(row, Role.CLIENT)]


def test_any_part_of_a_sequence_is_a_sequence():
    async def run() -> None:
        whole, known = generate(Role.CLIENT, 5, 3, 14, None), KnownFailures()
        for left_out in range(0, len(whole), 4):
            part = whole[:left_out] + whole[left_out + 1 :]
            result = await run_on_client(
                partial(faulty_client, CORRECT), None, None, part, known, SOON
            )
            assert (result.failure, result.trouble) == (None, "")

    work_clock.run(run())


HANDLING, HELD, COMMANDED, ENDED = 3, 4, 5, 6
"""Actions: an ask whose handler waits, one that may wait for that, a disconnect, and its end."""

HELD_ASKS = {
    "join": {"room": "r1", "event": "_OnRoomJoin"},
    "leave": {"room": "r1", "event": "_OnRoomLeave"},
    "event": {"event": "echo", "body": "t4"},
    "handler-that-asks": {"event": "relay", "body": "t4"},
    "silent-handler": {"event": "nobody", "body": "t4"},
}


def disconnecting(held: dict, *, is_crossed: bool) -> tuple[SuiteAction, ...]:
    """Disconnect a namespace while an ask of the server may wait for a handler of another."""
    on = partial(SuiteAction, connection=1, namespace="app")
    ended = {"kind": ActionKind.ANSWER, "how": "done", "of": COMMANDED}
    if is_crossed:
        ended = {"kind": ActionKind.SEND, "event": "_OnNamespaceDisconnect"}
    return (
        SuiteAction(1, 1, ActionKind.OPEN, "plain"),
        on(2, kind=ActionKind.SEND, event="_OnNamespaceConnect"),
        on(HANDLING, kind=ActionKind.SEND, event="relay", body="t3"),
        on(HELD, kind=ActionKind.SEND, **held),
        on(COMMANDED, kind=ActionKind.COMMAND, how="disconnect"),
        on(ENDED, **ended),
    )


# The model says nothing of rooms that change while both peers disconnect.
@pytest.mark.parametrize(
    ("held", "is_crossed"),
    [
        *((held, False) for held in HELD_ASKS),
        *((held, True) for held, fields in HELD_ASKS.items() if "room" not in fields),
    ],
)
def test_a_disconnect_may_overtake_asks_that_wait_for_a_handler(held, is_crossed):
    actions = disconnecting(HELD_ASKS[held], is_crossed=is_crossed)
    client = partial(faulty_client, CORRECT)
    run = run_on_client(client, None, None, actions, KnownFailures(), SOON)
    result = work_clock.run(run)
    assert (result.failure, result.trouble) == (None, "")
    assert result.performed == {each.number for each in actions}


@pytest.mark.parametrize("held", HELD_ASKS.values(), ids=HELD_ASKS)
def test_the_model_permits_a_refusal_of_what_was_overtaken_and_silence(held):
    model = SutModel(Role.CLIENT)
    connection = None
    for action in disconnecting(held, is_crossed=False):
        assert model.perform(action) is not None
        connection = model.connections[1]
        for expected in [*connection.messages]:
            if expected.number == HELD:
                continue  # it waits for the handler
            model.arrived(expected, expected.answers[0])
        if action.number == 1:
            model.handshake(connection, "acceptance")

    def is_permitted(number: int, event: str, room: str = "") -> bool:
        refusal = Message(f"{number}", "app", room, event, True, False, "bad namespace")
        return matching(connection.messages, encode(refusal), refusal) is not None

    assert is_permitted(HELD, held["event"], held.get("room", ""))
    assert not is_permitted(HANDLING, "relay")  # it was pending, and has ended (NS-18)
    assert not any(model.is_due(each) for each in connection.messages)


# -------------------------------------------------------------------- wrong clients

WRONG = {
    "client-body-is-success": "AR-19",
    "client-replies-without-room": "AR-7",
    "client-last-reply-repeated": "AR-22",
    "client-leaves-without-dollar": "AR-2",
    "client-errors-are-text": "AR-16",
}
"""Mutants, and what is found on them within a few sequences."""

SEEDS = {
    "client-body-is-success": 15,
    "client-replies-without-room": 26,
    "client-last-reply-repeated": 38,
    "client-leaves-without-dollar": 6,
    "client-errors-are-text": 27,
}
"""Seeds whose first sequences show the fault, to be short; with any seed it is a matter of time."""


@cache
def found_on(mutant: str) -> tuple[Counterexample, ...]:
    return explored(BANK[mutant].peer, seed=SEEDS[mutant], sequences=10, enough=1).counterexamples


@pytest.mark.parametrize("mutant", WRONG)
def test_a_wrong_client_is_found_by_a_small_sequence(mutant):
    found = found_on(mutant)
    assert [each.requirement for each in found] == [WRONG[mutant]]
    finding = found[0]
    assert BANK[mutant].breaks == finding.requirement
    assert finding.actions <= 5
    assert finding.is_reproduced


def test_a_finding_is_a_case_that_a_wrong_client_fails_and_a_correct_one_passes():
    faulty = BANK["client-body-is-success"].peer
    (finding,) = found_on("client-body-is-success")
    wrong, right = (work_clock.run(play_case(each, finding.case())) for each in (faulty, CORRECT))
    assert wrong.verdict is finding.verdict is Verdict.FAIL
    assert right.verdict is Verdict.PASS, right.explanation


def test_a_finding_is_saved_as_a_transcript_that_can_be_judged(tmp_path):
    (finding,) = found_on("client-last-reply-repeated")
    path = finding.save(tmp_path, "neffos-wire", "wrong")
    first = json.loads(path.read_text("utf-8").splitlines()[0])
    assert first["how"] == "neffos-wire test client --explore --seed 38"
    assert first["native"] == "fallback"
    assert ("AR-22", "client") in check(path).counts


# -------------------------------------------------------------------- drivers that mean harm

DRIVER = """
import json, sys, time
def tell(**values): print(json.dumps(values))
tell(ready=True, driver=1, peer="p", version="1")
for line in sys.stdin:
    asked = json.loads(line)
    if asked["op"] == "dial":
        %s
    elif asked["op"] == "made-up":
        tell(id=asked["id"], unsupported=True)
    else:
        tell(id=asked["id"], error="there is no such connection")
"""


def test_a_driver_that_crashes_is_a_finding_and_started_anew():
    found = driven_by(DRIVER % "sys.exit(3)", sequences=2)
    assert [each.failure.kind for each in found.counterexamples] == [CRASHED]
    assert "status 3" in found.counterexamples[0].failure.explanation


def test_a_client_that_does_not_dial_is_a_finding():
    found = driven_by(DRIVER % "continue", sequences=2, timeouts=Timeouts(0.4, 0.05, 0.1, 0.1))
    assert [each.requirement for each in found.counterexamples] == ["TR-1"]


def test_a_driver_that_hangs_does_not_hold_up_a_run():
    hasty = Timeouts(0.4, 0.05, 0.1, 0.1)
    found = driven_by(DRIVER % "time.sleep(1)", sequences=2, timeouts=hasty, seconds=3.0)
    assert {each.failure.kind for each in (*found.counterexamples, *found.doubtful)} <= {
        STALLS,
        "does not dial",
    }
    assert found.counterexamples or found.doubtful or found.trouble


def test_a_driver_that_talks_nonsense_ends_the_run():
    found = driven_by(DRIVER % "print('nonsense')")
    assert "not JSON" in found.trouble
    assert found.counterexamples == ()


def test_what_is_no_driver_is_an_error():
    with pytest.raises(DriverError):
        driven_by("print(5)")


# -------------------------------------------------------------------- the command


def test_the_command_explores_the_reference_client(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("neffos_conformance.cli.test_client.REFERENCE", REFERENCE)
    command = ["test", "client", "--explore", "--seed", "4", "--seconds", "0.5"]
    ran = CliRunner().invoke(cli, command)
    assert ran.exit_code == 0, ran.output
    assert "explored with seed 4" in ran.output
    assert "; 0 counterexamples" in " ".join(ran.output.split())


def test_a_finding_may_be_known(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = ["test", "client", "--explore", "--seed", "1", "--seconds", "1"]
    driver = ["--", sys.executable, "-u", "-c", DRIVER % "sys.exit(3)"]
    ran = CliRunner().invoke(cli, [*command, "--write-known-failures", "known.toml", *driver])
    assert ran.exit_code == 1, ran.output
    drafted = Path("known.toml").read_text("utf-8")
    assert "SEC-16." in drafted
    known = drafted.replace('reason = ""', 'reason = "it does so on purpose"').replace(
        'link = ""', 'link = "https://example.org"'
    )
    Path("known.toml").write_text(known, "utf-8")
    ran = CliRunner().invoke(cli, [*command, "--known-failures", "known.toml", *driver])
    assert ran.exit_code == 0, ran.output


def test_a_run_that_breaks_off_is_none_that_passes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    known = """format = 2
[[known_failure]]
cases = ["SEC-16.the-client-ends-with-its-driver"]
verdict = "fail"
observed = "<<anything>>"
reason = "it does so on purpose"
link = "https://example.org"
"""
    Path("known.toml").write_text(known, "utf-8")
    # It crashes until the crash is found and made small, and then talks nonsense.
    dial = (
        "import os; os.path.exists('ran') and os.path.getsize('ran') > 7 and print('nonsense')"
        " or open('ran', 'a').write('x') and sys.exit(3)"
    )
    command = ["test", "client", "--explore", "--seed", "1", "--seconds", "60"]
    driver = ["--", sys.executable, "-u", "-c", DRIVER % dial]
    ran = CliRunner().invoke(cli, [*command, "--known-failures", "known.toml", *driver])
    assert ran.exit_code == 1, ran.output
    assert "known fail SEC-16" in ran.output
    assert "not JSON" in ran.output


# -------------------------------------------------------------------- networks


def through(network: Network, fault=CORRECT, **options) -> SequenceReport:
    """Test a client through a network, on a clock that counts work."""
    plan = replace(PLAN, way=Way(PLAN.timeouts, "client"), **options)
    take = partial(faulty_client, fault)
    return work_clock.run(explore_driven(take, plan, before=network))


NEAR_AND_FAR = [
    Network("far", "", latency=0.1),
    Network("lumps", "", coalesce=0.05),
    Network("stalling", "", stall=1.5),
]


@pytest.mark.parametrize("network", NEAR_AND_FAR, ids=lambda network: network.name)
def test_a_slow_network_makes_no_counterexample(network):
    report = through(network, HASTY, sequences=2, seed=2)
    assert (report.lost, report.trouble) == ("", "")
    assert [each.failure for each in (*report.counterexamples, *report.doubtful)] == []
    assert report.sequences == 2


@pytest.mark.parametrize("name", ["half-open", "cut"])
def test_a_network_that_loses_connections_ends_the_run_and_is_no_counterexample(name):
    report = through(networks()[name], sequences=4)
    assert report.lost.startswith("a further connection")
    assert (report.counterexamples, report.doubtful) == ((), ())


def test_a_fault_is_found_through_a_slow_network():
    mutant = "client-leaves-without-dollar"
    seed = {"seed": SEEDS[mutant], "sequences": 10, "enough": 1}
    report = through(NEAR_AND_FAR[0], BANK[mutant].peer, **seed)
    assert [each.requirement for each in report.counterexamples] == [WRONG[mutant]]


def test_a_client_may_give_up_an_ask_that_the_suite_answers_late(monkeypatch):
    """The handler of `relay` asks the suite, which performs other actions before it answers."""
    monkeypatch.setattr(failures, "OVERDUE", 0.2)
    hurried = ClientFault(limits=replace(CORRECT.limits, ask=0.5))
    assert through(NEAR_AND_FAR[0], hurried, sequences=4).counterexamples == ()
    monkeypatch.setattr(failures, "OVERDUE", 60)
    assert through(NEAR_AND_FAR[0], hurried, sequences=4).counterexamples
