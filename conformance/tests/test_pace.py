"""The pace of a peer: that far, slow and lossy networks change no verdict on a correct one."""

import asyncio
import re
from collections.abc import Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from functools import partial
from ssl import SSLCertVerificationError

import pytest

from mutation import BANK, work_clock
from mutation.generated.transport import transport_mutant_of
from neffos_conformance.cases.definition import Case, client_cases, select, server_cases
from neffos_conformance.cases.script import read_script
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.reference.embedded import embedded_server
from neffos_conformance.runner.discovery import discovered
from neffos_conformance.runner.pace import LONGEST, Cost, Pace, Samples, Way, cost_of
from neffos_conformance.runner.playback import NO_CLOSE_FRAME, Timeouts
from neffos_conformance.runner.run import (
    DEFAULT_TIMEOUTS,
    opened,
    run_cases,
    to_server,
)
from neffos_conformance.wire.connection import ConnectError
from neffos_conformance.wire.networks import Network, network_before, networks
from peers import networks as runs

waiting = partial(work_clock.run, stride=5 * work_clock.STRIDE)
"""Runs a coroutine on a clock that a network's long silence does not hold up for long."""

SAMPLE = ("HS-1.1", "NS-1.1", "RM-4.1", "EV-1.1", "TR-12", "AR-1.1")
"""Cases of several kinds; `make networks` runs all."""


# -------------------------------------------------------------------- the pace


def case(*lines: str, seconds: float = 0.0) -> Case:
    return Case(
        "NS-1.1", "", ("NS-1",), "server", read_script("\n".join(lines), "server"), seconds=seconds
    )


def test_the_cost_of_a_case_is_its_messages_their_bytes_and_its_waits():
    few = cost_of(case("1 dial", "1 > M", "1 < A<<id>>"))
    many = cost_of(case("1 dial", "1 > M", "1 < A<<id>>", "1 x100 raw 00<<*9 00>>"))
    assert many == Cost(few.round_trips, few.messages + 100, few.size + 1_000)
    assert cost_of(case("1 app", "1 > M")).round_trips > few.round_trips


def test_a_limit_grows_with_the_pace_and_is_the_usual_one_on_this_machine():
    some = case("1 app", "1 > $1;app;;echo;0;0;hi", "1 < $1;app;;echo;0;0;hi")
    way = Way(DEFAULT_TIMEOUTS)
    assert way.limit(some) == DEFAULT_TIMEOUTS.case
    assert way.limit(case("1 app", "1 > M", seconds=30)) == 30
    assert Way(replace(DEFAULT_TIMEOUTS, case=10)).limit(case("1 app", "1 > M", seconds=30)) == 60
    way.pace = Pace(round_trip=0.6)
    assert way.limit(some) > DEFAULT_TIMEOUTS.case + 6 * 0.6
    assert way.timeouts.close > DEFAULT_TIMEOUTS.close + 0.6
    way.pace = Pace(per_byte=1 / 200_000)
    large = case("1 app", "1 > $1;app;;echo;0;0;<<*1000000 x>>")
    assert way.limit(large) > DEFAULT_TIMEOUTS.case + 5


TRIP, ACK = 0.01, 0.04
"""Seconds of a round trip here, and of a delayed acknowledgement of TCP."""


def samples(rate: float, pauses: Sequence[Sequence[float]] = ((0, 0, 0),) * 3) -> Samples:
    """Give what three measurements time on a line of so many bytes a second.

    Args:
        rate: of the line; each message takes 0.1 ms as well.
        pauses: seconds by which each sample is late: those of single, small and large messages.
    """
    messages, size = 64, 7_744
    usual = (TRIP, TRIP + 63 * 1e-4, TRIP + 63 * 1e-4 + size / rate)
    timed = ([time + late for late in each] for time, each in zip(usual, pauses, strict=True))
    return Samples(messages, size, *timed)


@pytest.mark.parametrize(
    "pauses",
    [
        ((0, 0, 0),) * 3,
        ((0, 0, 0), (0, 0, 0), (ACK, ACK, 0)),
        ((ACK, 0, ACK), (0, ACK, ACK), (1.5, 0, 3)),
        ((ACK, ACK, ACK),) * 3,  # each time
    ],
)
def test_pauses_cost_no_byte_anything_and_hide_no_thin_line(pauses):
    assert samples(1e9, pauses).pace.per_byte < 1e-8
    assert samples(200_000, pauses).pace.per_byte == pytest.approx(1 / 200_000, rel=0.1)
    assert samples(1e9, pauses).pace.per_message == pytest.approx(1e-4)


def test_an_answer_may_take_as_long_as_the_longest_pause():
    assert samples(1e9).pace.round_trip == TRIP
    late = ((ACK, 0, ACK), (0, ACK, ACK), (1.5, 0, 3))
    assert samples(1e9, late).pace.round_trip == pytest.approx(TRIP + 3)
    assert samples(1e9, ((ACK,) * 3,) * 3).pace.round_trip == pytest.approx(TRIP + ACK)


def test_a_fast_line_with_pauses_leaves_a_large_case_its_verdict():
    largest = Cost(10, 70, 64 << 20)
    assert samples(1e9, ((0, 0, 0), (0, 0, 0), (ACK, ACK, 0))).pace.seconds(largest) < 2
    assert samples(200_000).pace.seconds(largest) > LONGEST


@pytest.mark.parametrize("role", ["server", "client"])
def test_a_line_that_is_fast_for_its_first_bytes_only_is_found_out(role):
    """A shaper lets a burst pass: the short samples see nothing of the rate."""

    class Shaped:
        has_received_close = False

        def __init__(self):
            self.left, self.replies = 100_000, asyncio.Queue()
            self.replies.put_nowait("A1" if role == "server" else "M")
            self.free = 0.0

        async def ping(self, payload):
            self.take(payload)
            return True

        def take(self, payload):
            self.left -= len(payload)
            if self.left < 0:
                now = asyncio.get_running_loop().time()
                self.free = max(self.free, now) + len(payload) / 200_000

        async def send(self, payload):
            self.take(payload)
            self.replies.put_nowait(payload)

        async def receive(self):
            await asyncio.sleep(self.free - asyncio.get_running_loop().time())
            return await self.replies.get()

    async def run(volume):
        way = Way(DEFAULT_TIMEOUTS, role)
        assert await way.check(lambda: nullcontext(Shaped()), volume) == ""
        return way.pace.per_byte

    assert work_clock.run(run(16_000)) < 1e-6
    assert work_clock.run(run(4 << 20)) == pytest.approx(1 / 200_000, rel=0.5)


@pytest.mark.parametrize("name", ["held", "lumps", "uneven"])
def test_what_holds_messages_costs_no_byte_anything(name):
    assert measured(networks()[name])[0].per_byte < 1e-6


def measured(network: Network | None, timeouts: Timeouts = DEFAULT_TIMEOUTS) -> tuple[Pace, str]:
    async def run():
        way = Way(timeouts)
        async with embedded_server() as url:
            before = network_before(url, network) if network else nullcontext(url)
            async with before as reached:
                reason = await way.check(partial(opened, reached))
        return way.pace, reason

    return waiting(run())


def test_a_far_server_is_measured_as_far():
    pace, reason = measured(networks()["far"])
    assert reason == ""
    assert 0.6 <= pace.round_trip < 2
    assert measured(None)[0].round_trip < 0.3


def test_a_server_whose_connections_wait_for_each_other_is_far():
    async def run():
        way = Way(DEFAULT_TIMEOUTS)
        async with embedded_server() as url:

            @asynccontextmanager
            async def late():
                await asyncio.sleep(6)
                async with opened(url) as connection:
                    yield connection

            return await way.check(late), way.pace.round_trip

    reason, trip = work_clock.run(run())
    assert reason == ""
    assert trip >= 2


def test_a_thin_line_and_a_slow_relay_are_told_by_bytes_and_by_messages():
    assert measured(networks()["thin"])[0].per_byte > 0.5 / 200_000
    assert measured(networks()["held"])[0].per_message > 0.01


@pytest.mark.parametrize("name", ["half-open", "cut"])
def test_a_network_that_loses_connections_is_found_out(name):
    _, reason = measured(networks()[name])
    assert "a further connection" in reason


def test_a_server_that_is_not_there_is_no_loss_of_the_network():
    async def run():
        return await Way(DEFAULT_TIMEOUTS).check(partial(opened, "ws://127.0.0.1:9/"))

    assert asyncio.run(run()) == ""


def test_a_server_with_a_certificate_that_is_not_trusted_is_no_loss_of_the_network():
    @asynccontextmanager
    async def refused():
        raise ConnectError("no connection") from SSLCertVerificationError()
        yield

    assert asyncio.run(Way(DEFAULT_TIMEOUTS).check(refused)) == ""


# -------------------------------------------------------------------- verdicts


OFTEN = {"far", "thin", "lumps", "stalling", "half-open", "cut"}
"""Networks of each kind: those of the others, which take longer, run in `make interop`."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name in OFTEN else pytest.mark.whole) for name in networks()],
)
def test_a_network_changes_no_verdict_on_the_reference_server(name):
    network = networks()[name]
    cases = select(server_cases(), SAMPLE)
    found = waiting(runs.server_outcome(network, cases))
    passed = dict.fromkeys((each.id for each in cases), (Verdict.PASS, frozenset(), ""))
    assert runs.wrong(network, passed, found) == []


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("uneven", marks=pytest.mark.whole),
        pytest.param("lumps", marks=pytest.mark.whole),
        "cut",
    ],
)
def test_a_network_changes_no_verdict_on_the_reference_client(name, monkeypatch):
    monkeypatch.setattr(runs, "CLIENT_JOBS", 1)  # to start a driver takes longer than a case
    network = networks()[name]
    cases = select(client_cases(), ("HS-1.c1", "NS-1.c1", "RM-1.c1", "EV-1.c1"))
    found = asyncio.run(runs.client_outcome(network, cases))
    passed = dict.fromkeys((each.id for each in cases), (Verdict.PASS, frozenset(), ""))
    assert runs.wrong(network, passed, found) == []


def verdict(script: Case, network: Network | None, distort=None) -> tuple[Verdict, str]:
    """Run a case through a network, on a server that is distorted."""

    async def run():
        async with embedded_server(distort=distort) as url:
            before = network_before(url, network) if network else nullcontext(url)
            async with before as reached:
                way = Way(DEFAULT_TIMEOUTS)
                run = to_server(reached, way=way)
                [result] = [each async for each in run_cases(run, [script])]
                return result.verdict, result.explanation

    return waiting(run())


def mute(serve):
    """Answers nothing, and not the handshake either."""
    return lambda _: []


WAITING = case("1 dial", "1 > M", "1 < A<<id>>")


def test_a_server_that_does_not_answer_still_fails():
    assert verdict(WAITING, None, mute)[0] is Verdict.FAIL
    assert verdict(WAITING, networks()["far"], mute)[0] is Verdict.FAIL


def test_a_close_frame_that_is_not_answered_counts_at_any_pace():
    async def run():
        async with BANK["close-not-answered"].peer.run() as url:
            way = Way(DEFAULT_TIMEOUTS, pace=Pace(round_trip=0.1))
            cases = select(server_cases(), ("TR-16.1",))
            return [each async for each in run_cases(to_server(url, way=way), cases)]

    [result] = waiting(run())
    assert result.verdict is Verdict.FAIL
    assert result.explanation == NO_CLOSE_FRAME


def test_a_server_without_pongs_has_no_network_to_blame():
    async def run():
        async with BANK["close-not-answered"].peer.run() as url:
            return await Way(DEFAULT_TIMEOUTS)._carries_asks(partial(opened, url), 40_000)

    assert waiting(run())


def test_frames_that_break_the_protocol_are_not_blamed_on_the_network():
    unfinished = transport_mutant_of("transport:unfinished-out")

    async def run():
        async with unfinished.proxy().run() as url:
            return await Way(Timeouts()).check(partial(opened, url))

    assert work_clock.run(run()) == ""


@pytest.mark.parametrize("how", ["without-sec-websocket-accept", "other-accept", "with-protocol"])
def test_a_wrong_upgrade_is_not_blamed_on_the_network(how):
    wrong = transport_mutant_of(f"transport:{how}-response")

    async def run():
        async with wrong.proxy().run() as url:
            return await Way(Timeouts()).check(partial(opened, url))

    assert work_clock.run(run()) == ""


def test_what_a_lossy_network_hides_is_unknown():
    long = case("1 app", *["1 > $1;app;;echo;0;0;hi", "1 < $1;app;;echo;0;0;hi"] * 60)
    assert verdict(long, None)[0] is Verdict.PASS
    for name in ("half-open", "cut"):
        found, why = verdict(long, networks()[name])
        assert found is Verdict.UNKNOWN, why
        assert "the network does not carry the case" in why


def test_a_case_that_a_thin_line_does_not_finish_is_unknown(monkeypatch):
    monkeypatch.setattr("neffos_conformance.runner.run.LONGEST", 6.0)
    monkeypatch.setattr("neffos_conformance.runner.pace.MAX_VOLUME", 1_000)
    network = Network("", "", rate=5_000)
    large = case("1 app", "1 > $1;app;;echo;0;0;<<*60000 x>>", "1 < $1;app;;echo;0;0;<<any>>")
    found, why = verdict(large, network)
    assert found is Verdict.UNKNOWN
    assert re.search(r"not finished within \d+ s, on a network that takes \d+ s", why)


def test_features_behind_a_lossy_network_are_unknown_and_not_missing(monkeypatch):
    monkeypatch.setattr("neffos_conformance.wire.networks.LOSS_AFTER", (400, 500))

    async def run():
        way = Way(DEFAULT_TIMEOUTS)
        async with (
            embedded_server() as url,
            network_before(url, networks()["half-open"]) as reached,
        ):
            return await discovered(reached, way)

    has = waiting(run())
    assert has.unknown
    some = case("1 app", "1 > $1;app;r;_OnRoomJoin;0;0;")
    for name in has.unknown:
        assert name not in has.there
    absent = replace(has, there=frozenset({"app"}), unknown={"rooms": "why"})
    result = absent.result(some)
    assert result is not None
    assert (result.verdict, result.explanation) == (
        Verdict.UNKNOWN,
        "not run: it needs rooms, which is unknown: why",
    )
