"""What ``make interop`` runs: its share of cases and pairs, and the time limits."""

import asyncio
import copy
import sys
from functools import partial
from pathlib import Path

import pytest

from neffos_conformance.cases.definition import select
from neffos_conformance.cli.matrix import _verdict
from neffos_conformance.codecs.catalogue import all_cases
from neffos_conformance.interop import interop_runs
from neffos_conformance.interop.interop_runs import (
    NOT_CARRIED,
    OPERATION,
    TIMEOUT,
    Endpoint,
    StepOutcome,
    all_runs,
    converse,
)
from neffos_conformance.interop.table import differences, matrix_values, recorded
from neffos_conformance.reference.embedded import embedded_server
from neffos_conformance.runner.driver_protocol import OperationError
from neffos_conformance.runner.pace import Pace, Way
from neffos_conformance.runner.playback import Timeouts
from neffos_conformance.runner.run import DEFAULT_TIMEOUTS
from neffos_conformance.wire.networks import network_before, networks
from peers.implementations import PEERS
from peers.interop import (
    PARTNERS,
    PATIENT,
    SILENCE,
    SILENT,
    client_under_test,
    server_under_test,
    some_pairs,
)

DRIVER = [str(Path(sys.executable).with_name("neffos-wire")), "driver"]
CLIENTS = [*recorded()["clients"]]
ENDPOINTS = [Endpoint(*name.split("/"), "") for name in recorded()["servers"]]


# Each by its name; what makes it reads its known failures, and a process runs a part of the tests.
SYSTEMS = {
    name: partial(client_under_test, peer, name) for peer in PEERS.values() for name in peer.clients
} | {str(each): partial(server_under_test, PEERS[each.peer], each, {}) for each in ENDPOINTS}


@pytest.fixture(params=SYSTEMS, scope="module")
def system(request):
    return SYSTEMS[request.param]()[0]


def ids(cases):
    return {case.id for case in cases}


def test_without_a_seed_every_case_runs(system):
    assert ids(system.cases(None)) == ids(select(all_cases(system.role), ()))


def test_a_share_has_every_case_that_is_known_not_to_pass(system):
    share, possible = ids(system.cases(1)), ids(system.cases(None))
    assert {each.case for each in system.known_failures} & possible <= share
    failed = recorded()[f"{system.role}s"][system.name]["failed"]
    assert {id_ for each in failed.values() for id_ in each} & possible <= share


def test_a_share_is_small_and_the_same_for_one_seed_only(system):
    whole = ids(system.cases(None))
    assert ids(system.cases(1)) == ids(system.cases(1)) != ids(system.cases(2))
    assert len(system.cases(1)) < len(whole) / 2


def test_every_case_has_its_turn(system):
    assert set().union(*(ids(system.cases(seed)) for seed in range(200))) == ids(system.cases(None))


def test_only_a_case_that_is_known_to_be_silent_has_a_shorter_limit(system):
    silent = {each.case for each in system.known_failures if SILENCE in each.observed}
    usual = {case.id: case.seconds for case in all_cases(system.role)}
    for case in system.cases(None):
        if case.id in silent:
            assert case.seconds == SILENT * (usual[case.id] or DEFAULT_TIMEOUTS.case)
        else:
            assert case.seconds == usual[case.id]
    # It is still longer than the one that users have.
    assert SILENT * PATIENT.case > DEFAULT_TIMEOUTS.case


def test_a_peer_does_not_end_its_silence_within_the_limit():
    """Go's server is silent until its own ask expires, after 5 s: a longer limit sees its end."""
    system, _ = server_under_test(PEERS["neffos-go"], Endpoint("neffos-go", "gorilla", ""), {})
    [case] = (each for each in system.cases(None) if each.id == "NS-9.6")
    assert case.seconds / DEFAULT_TIMEOUTS.case * PATIENT.case < 5


@pytest.mark.parametrize("seed", range(8))
def test_everybody_has_partners(seed):
    pairs = some_pairs(CLIENTS, ENDPOINTS, seed)
    for client in CLIENTS:
        assert sum(each == client for each, _ in pairs) == PARTNERS
    assert {server for _, server in pairs} == {str(each) for each in ENDPOINTS}


def test_every_pair_has_its_turn():
    pairs = set().union(*(some_pairs(CLIENTS, ENDPOINTS, seed) for seed in range(len(ENDPOINTS))))
    assert len(pairs) == len(CLIENTS) * len(ENDPOINTS)


@pytest.mark.parametrize("servers", range(1, len(ENDPOINTS)))
def test_where_servers_are_left_out_the_others_are_partners(servers):
    pairs = some_pairs(CLIENTS, ENDPOINTS[:servers], 5)
    assert {client for client, _ in pairs} == {*CLIENTS}


def test_only_the_chosen_pairs_run(monkeypatch):
    async def run(command, url, way):
        return [StepOutcome("text")], {}

    async def ran(pairs):
        commands = {client: [client] for client in CLIENTS}
        runs = all_runs(ENDPOINTS, commands, pairs)
        return [(each.client, str(each.endpoint)) async for each in runs]

    monkeypatch.setattr(interop_runs, "_run", run)
    pairs = some_pairs(CLIENTS, ENDPOINTS, 3)
    assert sorted(asyncio.run(ran(pairs))) == sorted(pairs)


def test_a_pair_that_did_not_run_is_no_difference():
    now = copy.deepcopy(recorded())
    lost = now["runs"].pop()
    pair = (lost["client"], lost["server"])
    assert differences(recorded(), now, {pair}) != []
    others = {(each["client"], each["server"]) for each in now["runs"]}
    assert differences(recorded(), now, others) == []


# -------------------------------------------------------------------- networks


class Recorder:
    """A driver that does nothing, and keeps the time limits that it is given."""

    def __init__(self):
        self.seen, self.limits = [], []

    async def do(self, op, **fields):
        self.limits.append(fields["timeout"])
        raise OperationError("no")


@pytest.mark.parametrize("pace", [Pace(), Pace(round_trip=3), Pace(per_byte=1e-3)])
def test_an_operation_has_the_time_that_the_network_takes(pace):
    driver = Recorder()
    way = Way(Timeouts(), pace=pace)
    asyncio.run(converse(driver, "ws://127.0.0.1:9/", way=way))
    assert driver.limits == [TIMEOUT + pace.seconds(OPERATION)]


def test_what_a_network_loses_is_no_failure_of_client_or_server():
    async def run():
        async with embedded_server() as url, network_before(url, networks()["cut"]) as reached:
            endpoint = Endpoint("server", "", reached)
            return [each async for each in all_runs([endpoint], {"client": DRIVER})]

    [found] = asyncio.run(run())
    failures = [each.failure for each in found.outcomes if each.failure]
    assert failures[0].startswith(NOT_CARRIED)
    assert {*failures[1:]} == {"not run, since the network loses it"}
    assert _verdict(matrix_values([found], {})) == "UNKNOWN"
