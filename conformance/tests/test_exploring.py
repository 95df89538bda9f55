"""Exploring: nothing is found on a correct server, much on wrong ones, and small."""

import asyncio
import json
from functools import cache

import pytest

from mutation.distortions import changing
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.model_based import Explored, Progress, explore_server
from neffos_conformance.model_based.actions import Action, Do
from neffos_conformance.model_based.coverage import beyond, rows_of
from neffos_conformance.model_based.faults import GONE, HANGS, Known
from neffos_conformance.model_based.servers import play, program
from neffos_conformance.model_based.shrink import shrink
from neffos_conformance.recordings.checking import check
from neffos_conformance.recordings.replay import ReplayOutcome, replay_to_server
from neffos_conformance.reference.embedded import Distort, Serve, embedded_server
from neffos_conformance.runner.run import run_server_case
from neffos_conformance.runner.script_runner import Timeouts
from neffos_conformance.wire.connection import ConnectError
from neffos_conformance.wire.transcript import read_transcript
from neffos_protocol import Role

SOON = Timeouts(case=2.0, doubt=0.1, grace=0.15, goodbye=0.3)


def explored(distort: Distort | None = None, *, programs: int = 20, **options) -> Explored:
    async def run() -> Explored:
        async with embedded_server(distort=distort) as url:
            values = {"seed": 1, "seconds": 60.0, "steps": 10, "patience": SOON} | options
            return await explore_server(url, programs=programs, **values)

    return asyncio.run(run())


def answering(wrong) -> Distort:
    """Give a server that makes something else of what it would send, given what came."""

    def distort(serve: Serve) -> Serve:
        return lambda payload: wrong(payload, serve(payload))

    return distort


# -------------------------------------------------------------------- programs


def test_the_same_seed_makes_the_same_programs():
    made = [program(7, index, 16, None) for index in range(30)]
    assert made == [program(7, index, 16, None) for index in range(30)]
    assert made != [program(8, index, 16, None) for index in range(30)]


def test_programs_have_all_that_clients_do():
    actions = [each for index in range(120) for each in program(1, index, 16, None)]
    assert {each.do for each in actions} == set(Do) - {Do.TELL}
    assert {each.connection for each in actions} == {1, 2, 3}
    assert {"broadcast-room", "ask-me", "join-me", "close-me"} <= {each.event for each in actions}


def test_a_server_without_a_feature_is_not_asked_for_it():
    features = frozenset({"server-asks"})
    actions = [each for index in range(60) for each in program(1, index, 16, features)]
    assert not any(each.room or each.path for each in actions)
    assert not any(isinstance(each.body, bytes) and each.do is Do.SEND for each in actions)
    events = {each.event for each in actions}
    assert "ask-me" in events
    assert not [event for event in events if event.startswith("broadcast") or event == "join-me"]


# -------------------------------------------------------------------- a correct server


def test_nothing_is_found_on_the_reference_server():
    told: list[Progress] = []
    found = explored(programs=40, seed=3, progress=told.append)
    assert found.findings == ()
    assert found.verdict is Verdict.PASS
    assert (found.programs, found.ended) == (40, "all programs were played")
    assert found.steps > 400
    assert found.messages > found.steps
    assert found.share > 0.5
    assert told[-1].programs == 40


def test_what_was_reached_and_what_was_not_are_the_tables():
    found = explored(programs=5)
    assert found.reached <= set(rows_of(Role.SERVER))
    assert found.reached | set(found.not_reached) == set(rows_of(Role.SERVER))
    assert not [row for row in found.reached if beyond(row, Role.SERVER)]


def test_the_time_ends_a_run():
    found = explored(programs=10_000, seconds=0.2)
    assert found.ended == "the time was up"
    assert found.programs < 10_000


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
    "RM-3": changing(lambda m: m.empty_reply() if m.body == "room is locked" else m),
}


SEEDS = {"AR-22": 2, "NS-12": 1, "RM-3": 19}
"""Seeds whose first programs show the fault, to be short; with any seed it is a matter of time."""


@cache
def found_on(broken: str) -> Explored:
    return explored(WRONG[broken], seed=SEEDS[broken], programs=10, enough=1)


@pytest.mark.parametrize("broken", WRONG)
def test_a_wrong_server_is_found_by_a_small_program(broken):
    found = found_on(broken)
    finding = next((each for each in found.findings if each.requirement == broken), None)
    assert finding is not None, [each.id for each in found.findings]
    assert finding.actions <= 4
    assert finding.is_seen_again
    assert found.verdict is Verdict.FAIL


def test_a_finding_is_a_case_that_a_wrong_server_fails_and_a_correct_one_passes():
    distort = WRONG["RM-3"]
    finding = found_on("RM-3").findings[0]

    async def judged(distort: Distort | None) -> Verdict:
        async with embedded_server(distort=distort) as url:
            return (await run_server_case(url, finding.case(), SOON)).verdict

    assert asyncio.run(judged(distort)) is finding.verdict is Verdict.FAIL
    assert asyncio.run(judged(None)) is Verdict.PASS
    assert finding.result().case.id == finding.id == "RM-3.iserror-differs"


def test_a_finding_is_saved_as_a_transcript_that_can_be_judged_and_replayed(tmp_path):
    distort = WRONG["AR-22"]
    finding = found_on("AR-22").findings[0]
    path = finding.save(tmp_path, "wrong", "neffos-wire")
    first = json.loads(path.read_text("utf-8").splitlines()[0])
    assert "the seed 2" in first["scenario"]
    assert first["how"].endswith("--seed 2")
    assert ("AR-22", "server") in check(path).counts

    async def replayed(distort: Distort | None) -> ReplayOutcome:
        async with embedded_server(distort=distort) as url:
            return (await replay_to_server(read_transcript(path), url, deadline=0.5)).outcome

    assert asyncio.run(replayed(distort)) is ReplayOutcome.SAME
    assert asyncio.run(replayed(None)) is ReplayOutcome.DIFFERENT


def test_each_fault_is_found_once_and_others_behind_it():
    def both(serve: Serve) -> Serve:
        other = changing(lambda m: m.replace(body="?") if m.body == "bad namespace" else m)
        return WRONG["AR-22"](other(serve))

    ids = [each.id for each in explored(both, seed=2, programs=60, enough=3).findings]
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

    found = explored(hangs, programs=50, patience=Timeouts(0.3, 0.05, 0.05, 0.1), seconds=5.0)
    assert {each.kind for each in found.findings} & {HANGS, "an answer is missing"}


def test_a_flood_is_a_finding():
    flooding = answering(lambda payload, sent: sent + [";app;;t0;0;0;"] * 3000 * bool(sent))
    found = explored(flooding, programs=3, seconds=5.0)
    assert found.findings


def test_a_server_that_is_gone_ends_the_run():
    async def run() -> Explored:
        listening = await asyncio.start_server(once, "127.0.0.1", 0)
        async with embedded_server() as url, listening:
            served.append((url.removeprefix("ws://").partition("/")[0].split(":"), listening))
            port = listening.sockets[0].getsockname()[1]
            options = {"seed": 1, "seconds": 5.0, "programs": 30, "steps": 8, "patience": SOON}
            return await explore_server(f"ws://127.0.0.1:{port}/", **options)

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

    found = asyncio.run(run())
    assert found.ended == GONE
    assert [each.requirement for each in found.findings] == ["SEC-16"]


def test_a_server_that_never_was_there_is_an_error():
    async def run() -> None:
        options = {"seed": 1, "seconds": 5.0, "programs": 3, "steps": 8, "patience": SOON}
        await explore_server("ws://127.0.0.1:1/", **options)

    with pytest.raises(ConnectError):
        asyncio.run(run())


# -------------------------------------------------------------------- shrinking


def numbered(*numbers: int) -> tuple[Action, ...]:
    return tuple(Action(number, 1, Do.SEND, body=f"t{number}") for number in numbers)


@pytest.mark.parametrize("needed", [{1}, {30}, {3, 17}, {1, 2, 29}])
def test_what_is_not_needed_is_left_out(needed):
    async def shows(other) -> bool:
        return needed <= {each.number for each in other}

    smallest = asyncio.run(shrink(numbered(*range(1, 31)), shows))
    assert {each.number for each in smallest} == needed


def test_tries_are_bounded():
    tries = 0

    async def shows(_) -> bool:
        nonlocal tries
        tries += 1
        return False

    asyncio.run(shrink(numbered(*range(200)), shows, tries=20))
    assert tries == 20


def test_any_part_of_a_program_is_a_program():
    async def run() -> None:
        async with embedded_server() as url:
            whole = program(5, 3, 14, None)
            for left_out in range(0, len(whole), 3):
                part = whole[:left_out] + whole[left_out + 1 :]
                assert (await play(url, part, Known(), SOON)).fault is None

    asyncio.run(run())
