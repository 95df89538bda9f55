"""Exploring clients: nothing is found on a correct one, much on wrong ones, and small."""

import asyncio
import json
import logging
import sys
from functools import cache, partial
from pathlib import Path

import pytest
from click.testing import CliRunner

from mutation import BANK
from mutation.client_faults import CLIENT_FAULTS, ClientFault, standing
from mutation.client_faults import play as play_case
from neffos_conformance.cases.script import OPERATIONS
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.cli.main import cli
from neffos_conformance.model_based import Explored, Finding, explore_client, explore_moved
from neffos_conformance.model_based.actions import Do
from neffos_conformance.model_based.clients import play, program
from neffos_conformance.model_based.coverage import beyond, rows_of
from neffos_conformance.model_based.faults import CRASHED, HANGS, Known
from neffos_conformance.recordings.checking import check
from neffos_conformance.runner.driver_protocol import DriverError
from neffos_conformance.runner.script_runner import Timeouts
from neffos_protocol import Role

REFERENCE = (str(Path(sys.executable).with_name("neffos-wire")), "driver")
SOON = Timeouts(case=2.0, doubt=0.1, grace=0.3, goodbye=0.4)


@pytest.fixture(autouse=True)
def quiet():
    """Keep what the handlers of wrong clients log out of the tests' output."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


def honest(_) -> ClientFault:
    return ClientFault()


def explored(liar=honest, *, programs: int = 20, **options) -> Explored:
    values = {"seed": 1, "seconds": 60.0, "steps": 16, "patience": SOON} | options
    return asyncio.run(explore_moved(partial(standing, liar), programs=programs, **values))


def behind(driver: str, **options) -> Explored:
    """Explore the client behind a driver that is a few lines of Python."""
    values = {"seed": 1, "seconds": 20.0, "steps": 8, "programs": 5, "patience": SOON} | options
    return asyncio.run(explore_client((sys.executable, "-u", "-c", driver), **values))


# -------------------------------------------------------------------- programs


def test_the_same_seed_makes_the_same_programs():
    made = [program(7, index, 16, None) for index in range(30)]
    assert made == [program(7, index, 16, None) for index in range(30)]
    assert made != [program(8, index, 16, None) for index in range(30)]


def test_programs_have_all_that_a_client_is_told_and_its_server_does():
    actions = [each for index in range(200) for each in program(1, index, 20, None)]
    assert {each.do for each in actions} == set(Do)
    assert {each.connection for each in actions} == {1, 2}
    assert {each.how for each in actions if each.do is Do.TELL} == set(OPERATIONS)
    assert {"echo", "relay", "fail"} <= {each.event for each in actions if each.do is Do.SEND}


def test_a_client_is_not_told_what_its_driver_does_not_support():
    supported = frozenset(OPERATIONS) - {"native", "leave-all", "emit"}
    actions = [each for index in range(60) for each in program(1, index, 16, supported)]
    assert {each.how for each in actions if each.do is Do.TELL} <= supported


# -------------------------------------------------------------------- a correct client


def test_nothing_is_found_on_the_reference_client_behind_its_driver():
    found = asyncio.run(
        explore_client(REFERENCE, seed=3, seconds=60.0, programs=12, steps=16, patience=SOON)
    )
    assert found.findings == ()
    assert found.verdict is Verdict.PASS
    assert (found.programs, found.ended) == (12, "all programs were played")
    assert found.trouble == ""


def test_what_was_reached_and_what_was_not_are_the_tables():
    found = explored(programs=40)
    assert found.findings == found.doubtful == ()
    assert found.share > 0.6
    assert found.reached | set(found.not_reached) == set(rows_of(Role.CLIENT))
    assert not [row for row in found.reached if beyond(row, Role.CLIENT)]


def test_any_part_of_a_program_is_a_program():
    async def run() -> None:
        whole = program(5, 3, 14, None)
        for left_out in range(0, len(whole), 4):
            part = whole[:left_out] + whole[left_out + 1 :]
            played = await play(partial(standing, honest), part, Known(), SOON, None)
            assert (played.fault, played.trouble) == (None, "")

    asyncio.run(run())


# -------------------------------------------------------------------- wrong clients

WRONG = {
    "client-body-is-success": "AR-19",
    "client-replies-without-room": "AR-7",
    "client-last-reply-repeated": "AR-22",
    "client-leaves-without-dollar": "AR-2",
    "client-errors-are-text": "AR-16",
}
"""Mutants, and what is found on them within a few programs."""

SEEDS = {
    "client-body-is-success": 3,
    "client-replies-without-room": 8,
    "client-last-reply-repeated": 1,
    "client-leaves-without-dollar": 29,
    "client-errors-are-text": 6,
}
"""Seeds whose first programs show the fault, to be short; with any seed it is a matter of time."""


@cache
def found_on(mutant: str) -> tuple[Finding, ...]:
    return explored(CLIENT_FAULTS[mutant], seed=SEEDS[mutant], programs=10, enough=1).findings


@pytest.mark.parametrize("mutant", WRONG)
def test_a_wrong_client_is_found_by_a_small_program(mutant):
    found = found_on(mutant)
    assert [each.requirement for each in found] == [WRONG[mutant]]
    finding = found[0]
    assert BANK[mutant].breaks == finding.requirement
    assert finding.actions <= 5
    assert finding.is_seen_again


def test_a_finding_is_a_case_that_a_wrong_client_fails_and_a_correct_one_passes():
    liar = CLIENT_FAULTS["client-body-is-success"]
    (finding,) = found_on("client-body-is-success")
    wrong, right = (asyncio.run(play_case(each, finding.case())) for each in (liar, honest))
    assert wrong.verdict is finding.verdict is Verdict.FAIL
    assert right.verdict is Verdict.PASS, right.explanation


def test_a_finding_is_saved_as_a_transcript_that_can_be_judged(tmp_path):
    (finding,) = found_on("client-last-reply-repeated")
    path = finding.save(tmp_path, "neffos-wire", "wrong")
    first = json.loads(path.read_text("utf-8").splitlines()[0])
    assert first["how"] == "neffos-wire client --explore --seed 1"
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
    found = behind(DRIVER % "sys.exit(3)", programs=2)
    assert [each.kind for each in found.findings] == [CRASHED]
    assert "status 3" in found.findings[0].explanation


def test_a_client_that_does_not_dial_is_a_finding():
    found = behind(DRIVER % "continue", programs=2, patience=Timeouts(0.4, 0.05, 0.1, 0.1))
    assert [each.requirement for each in found.findings] == ["TR-1"]


def test_a_driver_that_hangs_does_not_hold_up_a_run():
    hasty = Timeouts(0.4, 0.05, 0.1, 0.1)
    found = behind(DRIVER % "time.sleep(1)", programs=2, patience=hasty, seconds=3.0)
    assert {each.kind for each in (*found.findings, *found.doubtful)} <= {HANGS, "does not dial"}
    assert found.findings or found.doubtful or found.trouble


def test_a_driver_that_talks_nonsense_ends_the_run():
    found = behind(DRIVER % "print('nonsense')")
    assert "no JSON" in found.trouble
    assert found.findings == ()


def test_what_is_no_driver_is_an_error():
    with pytest.raises(DriverError):
        behind("print(5)")


# -------------------------------------------------------------------- the command


def test_the_command_explores_the_reference_client(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("neffos_conformance.cli.test_client.REFERENCE", REFERENCE)
    command = ["client", "--explore", "--seed", "4", "--seconds", "0.5"]
    ran = CliRunner().invoke(cli, command)
    assert ran.exit_code == 0, ran.output
    assert "explored with the seed 4" in ran.output
    assert ", 0 found" in " ".join(ran.output.split()).replace("; 0", ", 0")


def test_a_finding_may_be_known(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    command = ["client", "--explore", "--seed", "1", "--seconds", "1"]
    driver = ["--", sys.executable, "-u", "-c", DRIVER % "sys.exit(3)"]
    ran = CliRunner().invoke(cli, [*command, "--draft-deviations", "known.toml", *driver])
    assert ran.exit_code == 1, ran.output
    drafted = Path("known.toml").read_text("utf-8")
    assert "SEC-16." in drafted
    known = drafted.replace('reason = ""', 'reason = "it does so on purpose"').replace(
        'link = ""', 'link = "https://example.org"'
    )
    Path("known.toml").write_text(known, "utf-8")
    ran = CliRunner().invoke(cli, [*command, "--deviations", "known.toml", *driver])
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
    command = ["client", "--explore", "--seed", "1", "--seconds", "5"]
    driver = ["--", sys.executable, "-u", "-c", DRIVER % dial]
    ran = CliRunner().invoke(cli, [*command, "--deviations", "known.toml", *driver])
    assert ran.exit_code == 1, ran.output
    assert "known fail SEC-16" in ran.output
    assert "no JSON" in ran.output
