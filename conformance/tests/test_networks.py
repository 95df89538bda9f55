"""The networks: what a proxy does to bytes, and that the suite accuses no peer for it."""

import asyncio
import re
from contextlib import asynccontextmanager, nullcontext, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from mutation import work_clock
from neffos_conformance.cases.definition import Case, client_cases, select, server_cases
from neffos_conformance.cases.script import read_script
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.reference.embedded import embedded_server
from neffos_conformance.runner.pace import Cost, Pace, Way, cost_of
from neffos_conformance.runner.playback import Timeouts
from neffos_conformance.runner.run import (
    DEFAULT_TIMEOUTS,
    discovered,
    opened,
    run_cases,
    to_server,
)
from neffos_conformance.wire.networks import CUT, SILENCE, Network, network_before, networks
from peers import networks as runs

SAMPLE = ("HS-1.1", "NS-1.1", "RM-4.1", "EV-1.1", "TR-12", "AR-1.1")
"""Cases of several kinds; `make networks` runs all."""

FRAME = b"\x82\x7e\x01\x00" + bytes(256)
HEAD = b"GET / HTTP/1.1\r\n\r\n"


# -------------------------------------------------------------------- the proxy


@asynccontextmanager
async def echoed(network: Network):
    """Connect through a network with a server that echoes bytes; give the pieces that arrive."""
    pieces = []

    async def echo(reader, writer):
        while data := await reader.read(1 << 16):
            pieces.append(data)
            writer.write(data)
        writer.close()

    async with await asyncio.start_server(echo, "127.0.0.1", 0) as listener:
        port = listener.sockets[0].getsockname()[1]
        async with network_before(f"ws://127.0.0.1:{port}", network) as url:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(url.split(":")[-1]))
            yield reader, writer, pieces
            writer.close()


def through(network: Network, data: bytes, *, size: int | None = None) -> tuple[bytes, float]:
    """Send bytes through a network and back; give what came, and how long it took."""

    async def run():
        async with echoed(network) as (reader, writer, _):
            began = asyncio.get_running_loop().time()
            writer.write(data)
            try:
                async with asyncio.timeout(60):
                    came = await reader.readexactly(len(data) if size is None else size)
            except asyncio.IncompleteReadError as error:
                came = error.partial
            return came, asyncio.get_running_loop().time() - began

    return work_clock.run(run())


@pytest.mark.parametrize("name", [name for name, each in networks().items() if not each.loss])
def test_a_network_without_loss_delivers_every_byte_in_order(name):
    network = networks()[name]
    short = (b"\x81\x01" + bytes([number]) for number in range(40))
    data = HEAD + b"".join(FRAME + each for each in short) + b"\x81\x7e"
    came, _ = through(network, data)
    assert came == data


def test_latency_counts_each_way():
    _, seconds = through(Network("", "", latency=5.0), HEAD)
    assert 10 <= seconds < 15


def test_a_rate_limits_the_bytes_of_a_second():
    _, seconds = through(Network("", "", rate=10_000), HEAD + FRAME * 200)
    assert 5 <= seconds < 10  # 52 kB each way, at the same time in both


def test_each_frame_is_held():
    _, seconds = through(Network("", "", hold=0.5), HEAD + FRAME * 20)
    assert 10.5 <= seconds < 15


def test_segments_arrive_one_by_one():
    async def run():
        async with echoed(Network("", "", segment=7)) as (reader, writer, pieces):
            writer.write(HEAD)
            await reader.readexactly(len(HEAD))
            return pieces

    assert max(map(len, asyncio.run(run()))) < len(HEAD)


def test_bytes_of_a_while_arrive_in_one_piece():
    async def run():
        async with echoed(Network("", "", coalesce=5.0)) as (reader, writer, pieces):
            for _ in range(5):
                writer.write(HEAD)
                await writer.drain()
                await asyncio.sleep(0.01)
            await reader.readexactly(5 * len(HEAD))
            return pieces

    assert [len(each) for each in work_clock.run(run())] in ([5 * len(HEAD)], [len(HEAD)] * 5)


def test_a_cut_ends_the_connection_in_the_middle_of_a_frame():
    data = HEAD + FRAME * 40
    came, _ = through(Network("", "", loss=CUT), data)
    assert len(came) < len(data)


def test_silence_ends_nothing_and_delivers_nothing():
    async def run():
        async with echoed(Network("", "", loss=SILENCE)) as (reader, writer, _):
            writer.write(HEAD + FRAME * 40)
            came = b""
            with suppress(TimeoutError):
                async with asyncio.timeout(5):
                    while data := await reader.read(1 << 16):
                        came += data
                    pytest.fail("the connection ended")
            return came

    assert len(work_clock.run(run())) < len(HEAD + FRAME * 40)


def test_the_same_seed_loses_the_same_bytes():
    lengths = {len(through(Network("", "", loss=SILENCE, latency=0.01), HEAD, size=5)[0])}
    assert lengths == {5}


def test_the_page_has_the_networks_of_the_data():
    page = (Path(__file__).parents[2] / "spec" / "docs" / "recordings.md").read_text("utf-8")
    for each in networks().values():
        assert f"| `{each.name}` | {each.about} |" in page


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


def measured(network: Network | None, timeouts: Timeouts = DEFAULT_TIMEOUTS) -> tuple[Pace, str]:
    async def run():
        way = Way(timeouts)
        async with embedded_server() as url:
            before = network_before(url, network) if network else nullcontext(url)
            async with before as reached:
                reason = await way.check(partial(opened, reached))
        return way.pace, reason

    return work_clock.run(run())


def test_a_far_server_is_measured_as_far():
    pace, reason = measured(networks()["far"])
    assert reason == ""
    assert 0.6 <= pace.round_trip < 2
    assert measured(None)[0].round_trip < 0.3


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


# -------------------------------------------------------------------- verdicts


@pytest.mark.parametrize("name", networks())
def test_a_network_changes_no_verdict_on_the_reference_server(name):
    network = networks()[name]
    cases = select(server_cases(), SAMPLE)
    found = work_clock.run(runs.server_outcome(network, cases))
    passed = dict.fromkeys((each.id for each in cases), (Verdict.PASS, Verdict.PASS, ""))
    assert runs.wrong(network, passed, found) == []


@pytest.mark.parametrize("name", ["uneven", "lumps", "cut"])
def test_a_network_changes_no_verdict_on_the_reference_client(name):
    network = networks()[name]
    cases = select(client_cases(), ("HS-1.c1", "NS-1.c1", "RM-1.c1", "EV-1.c1"))
    found = asyncio.run(runs.client_outcome(network, cases))
    passed = dict.fromkeys((each.id for each in cases), (Verdict.PASS, Verdict.PASS, ""))
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

    return work_clock.run(run())


def mute(serve):
    """Answers nothing, and not the handshake either."""
    return lambda _: []


WAITING = case("1 dial", "1 > M", "1 < A<<id>>")


def test_a_server_that_does_not_answer_still_fails():
    assert verdict(WAITING, None, mute)[0] is Verdict.FAIL
    assert verdict(WAITING, networks()["far"], mute)[0] is Verdict.FAIL


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

    has = work_clock.run(run())
    assert has.unknown
    some = case("1 app", "1 > $1;app;r;_OnRoomJoin;0;0;")
    for name in has.unknown:
        assert name not in has.there
    absent = replace(has, there=frozenset(), unknown={"rooms": "unknown: why"})
    result = absent.result(some)
    assert result is not None
    assert (result.verdict, result.explanation) == (
        Verdict.UNKNOWN,
        "not run: it needs rooms, which is unknown: why",
    )
