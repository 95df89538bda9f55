"""The command ``test exchange``, and the suite as a peer on a broker.

``make kills`` plays every case to clusters in memory, and ``make interop`` to real brokers.
"""

import asyncio
import socket
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from mutation import BANK
from neffos_asyncio import MemoryExchange
from neffos_conformance.cases.definition import Case, cases_of
from neffos_conformance.cases.script import ScriptError, read_script
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.cli import test_exchange as command
from neffos_conformance.cli.testing import NothingRanError
from neffos_conformance.reference.application import servers
from neffos_conformance.reference.embedded import embedded_server
from neffos_conformance.runner.exchange_steps import SharedBroker
from neffos_conformance.runner.pace import Way
from neffos_conformance.runner.run import DEFAULT_TIMEOUTS, to_server
from neffos_conformance.wire import broker as wire_broker
from neffos_conformance.wire.broker import BrokerError, BrokerPeer, broker_at, masked_broker
from neffos_conformance.wire.reach import Target
from neffos_protocol.exchange import nats_subjects, redis_channels

from .commands import run_text
from .test_handler_queue import asynchronous

URL = "ws://127.0.0.1:1/"


def on_nothing(scheme):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return f"{scheme}://user:geheim@127.0.0.1:{port}"


# -------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((URL, URL), "--broker"),
        (("--broker", "redis://h", URL), "expected 2 URLs or more, actual 1"),
        (("--broker", "redis://h"), "expected 2 URLs or more, actual 0"),
        (("--broker", "redis://h", URL, URL, "--case", "EV-1"), "no case matches EV-1"),
    ],
)
def test_a_wrong_command_line_is_a_usage_error(arguments, said):
    done = run_text("test", "exchange", *arguments)
    assert done.returncode == 2
    assert said in done.stderr


@asynchronous
@pytest.mark.parametrize("scheme", ["redis", "nats"])
async def test_a_broker_that_is_not_there_is_one_line_without_secrets(scheme):
    with pytest.raises(BrokerError) as error:
        async with broker_at(on_nothing(scheme), lambda *_: None):
            pass
    said = str(error.value)
    assert said.startswith(f"no broker at {scheme}://***@127.0.0.1:")
    assert "geheim" not in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("redis://u:geheim@h:1/0?password=geheim", "redis://***@h:1/0"),
        ("nats://u:geheim@h,nats://v:geheim@i:1", "nats://***@h,nats://***@i:1"),
        ("nats://u:a,geheim@h, tls://i", "nats://***@h,tls://i"),
        ("redis://:ge/heim@h", "redis://***@h"),
        ("redis://:a://geheim@h", "redis://***@h"),
        ("redis://:geheim#x@h", "redis://***"),
        ("u:geheim@h", "***@h"),
        ("unix:///run/redis.sock?password=geheim", "unix:///run/redis.sock"),
        ("nats://h,i:4222", "nats://h,i:4222"),
    ],
)
def test_what_the_urls_of_a_broker_show(url, shown):
    assert masked_broker(url) == shown


@asynchronous
async def test_a_broker_whose_url_cannot_be_read_is_one_line_without_secrets():
    with pytest.raises(BrokerError) as error:
        async with broker_at("redis://:geheim/x@h", lambda *_: None):
            pass
    assert "no broker at redis://***@h: the host or the port" in str(error.value)
    assert "geheim" not in str(error.value)


def test_the_command_that_a_report_prints_has_the_prefix_that_was_given():
    targets = [Target("ws://h/a"), Target("ws://h/b")]
    assert command._command("nats://u:geheim@h", "a b", targets) == (
        "neffos-wire test exchange --broker 'nats://***@h' --prefix 'a b' ws://h/a ws://h/b"
    )
    assert "--prefix" not in command._command("nats://h", None, targets)


@asynchronous
async def test_a_url_of_no_broker_is_refused():
    with pytest.raises(BrokerError, match="a broker is at redis://"):
        async with broker_at("http://user:geheim@host/", lambda *_: None):
            pass


@pytest.mark.parametrize("line", ["0 dial", "0 < app ;app;;news;0;0;", "0 >t ns/app x", "0 close"])
def test_a_step_that_a_broker_does_not_have_is_an_error(line):
    with pytest.raises(ScriptError, match="no step of a broker"):
        read_script(line, "exchange")


def test_only_servers_that_share_one_have_a_broker():
    with pytest.raises(ScriptError, match="connection's number"):
        read_script("0 < ns/app x", "server")


# -------------------------------------------------------------------- what the suite hears


def broker_of(channels=None):
    published = []

    async def publish(channel, payload):
        published.append((channel, payload))
        broker.hear(channel, payload)

    broker = SharedBroker(channels or redis_channels("p"), publish)
    return broker, published


def drained(queue):
    return [queue.get_nowait() for _ in range(queue.qsize())]


def test_a_case_hears_what_has_its_mark_and_nothing_else():
    broker, _ = broker_of()
    with broker.listening("SX-5.1-aa") as one, broker.listening("SX-5.1-bb") as other:
        broker.hear("p.app.", b";app;;news;0;0;SX-5.1-aa")
        broker.hear("p.SX-5.1-bb.", b"x")
        broker.hear("p.app.", b"of somebody else")
    broker.hear("p.app.", b"SX-5.1-aa, late")
    assert drained(one) == [("p.app.", b";app;;news;0;0;SX-5.1-aa")]
    assert drained(other) == [("p.SX-5.1-bb.", b"x")]


def test_a_mark_is_recognised_in_a_subject():
    broker, _ = broker_of(nats_subjects("p"))
    with broker.listening("SX-6.1-aa") as queue:
        broker.hear("p.SX-6_1-aa", b"x")
    assert drained(queue) == [("p.SX-6_1-aa", b"x")]


@asynchronous
async def test_the_suite_does_not_hear_itself_but_hears_who_repeats_it():
    broker, published = broker_of()
    with broker.listening("aa") as queue:
        await broker.forge("p.app.", b"aa")
        assert drained(queue) == []
        broker.hear("p.app.", b"aa")
        assert drained(queue) == published == [("p.app.", b"aa")]


@pytest.mark.parametrize(
    ("name", "on_redis", "on_nats"),
    [
        ("ns/app", "p.app.", "p.app"),
        ("id/a.b", "p.a.b.", "p.a_b"),
        ("ask/1-2", "p.ask.1-2", "p.ask.1-2"),
        ("raw/a.b", "a.b", "a.b"),
    ],
)
def test_a_script_names_channels_for_each_broker(name, on_redis, on_nats):
    assert broker_of()[0].channel(name) == on_redis
    assert broker_of(nats_subjects("p"))[0].channel(name) == on_nats


# -------------------------------------------------------------------- cases


def played(script):
    case = Case(
        "SX-5.1", "a title of a case", ("SX-5",), "exchange", read_script(script, "exchange")
    )

    async def play():
        async with BANK["exchange-as-it-should"].stage() as run:
            return await run(case)

    return asyncio.run(play())


def test_what_a_case_does_not_expect_on_the_broker_is_a_remark():
    script = "1 app\n1 > $1;app;;broadcast-others;0;0;<<case>>\n1 < $1;app;;<<e>>;0;0;done"
    result = played(script)
    assert result.verdict is Verdict.PASS
    [remark] = [each for each in result.findings if not each.requirement]
    assert "a message that the case does not expect" in remark.explanation


def test_silence_on_the_broker_is_proved_by_barriers():
    broadcast = "1 app\n1 > $1;app;;broadcast-others;0;0;<<case>>\n1 < $1;app;;<<e>>;0;0;done\n"
    assert played("1 app\n0 expect-nothing").verdict is Verdict.PASS
    assert played(f"{broadcast}0 expect-nothing").verdict is Verdict.FAIL


def test_what_is_not_published_fails_the_case_though_the_server_replies():
    result = played("1 app\n---\n0 < ns/app ;app;;news;0;0;<<case>>")
    assert result.verdict is Verdict.FAIL
    assert result.explanation == "nothing was published, though later barriers were answered"


@pytest.mark.parametrize("script", ["0 < ns/app <<any>>", "0 expect-nothing"])
def test_a_broker_on_which_the_suite_hears_nothing_fails_no_server(script, monkeypatch):
    monkeypatch.setattr(SharedBroker, "hear", lambda *_: None)
    result = played(f"1 app\n---\n{script}")
    assert result.verdict is Verdict.UNKNOWN
    assert result.explanation == "the broker does not return what the suite publishes"


@asynchronous
async def test_a_broker_that_is_lost_fails_no_server(monkeypatch):
    @asynccontextmanager
    async def opened(*_):
        async def publish(channel, payload):
            raise ConnectionResetError

        yield BrokerPeer(publish, redis_channels)

    monkeypatch.setitem(wire_broker._OPENED, "redis", opened)
    case = Case("SX-5.1", "", ("SX-5",), "exchange", read_script("0 > ns/app x", "exchange"))
    async with (
        broker_at("redis://u:geheim@h", lambda *_: None) as peer,
        embedded_server(served=servers()) as url,
    ):
        broker = SharedBroker(peer.channels("p"), peer.publish)
        result = await to_server(Target.of(url), others=[Target.of(url)], broker=broker)(case)
    assert result.verdict is Verdict.UNKNOWN
    assert result.explanation == "the broker at redis://***@h is lost"


def test_cases_that_a_broker_or_a_server_is_not_for_are_skipped():
    cases = list(cases_of("exchange"))
    on_redis = command._left_out(cases, broker_of()[0], can_ask=True)
    assert {each.explanation for each in on_redis} == {"it is for NATS"}
    on_nats = command._left_out(cases, broker_of(nats_subjects("p"))[0], can_ask=False)
    assert {each.explanation for each in on_nats} == {"it needs ask-all"}
    assert {each.case.family for each in [*on_redis, *on_nats]} == {"SX"}


# -------------------------------------------------------------------- the prefix


async def detected(*exchanges, heard):
    broker, _ = broker_of()
    for each, channel in zip(exchanges, heard, strict=True):
        each.attach(broker.hear).subscribe(channel)
    async with AsyncExitStack() as stack:
        targets = [
            Target.of(
                await stack.enter_async_context(
                    embedded_server(served=servers(exchange=lambda _, own=each: own))
                )
            )
            for each in (exchanges[0], exchanges[-1])
        ]
        way = Way(DEFAULT_TIMEOUTS)
        return await command._prefix(broker, "redis://u:geheim@h", targets, way)


@asynchronous
async def test_the_prefix_is_that_of_what_each_server_publishes():
    assert await detected(MemoryExchange("a.b"), heard=["a.b.app."]) == "a.b"


@asynchronous
async def test_servers_that_publish_nothing_there_are_named(monkeypatch):
    monkeypatch.setattr("neffos_conformance.runner.instances.AFTER_BARRIER", 0.01)
    with pytest.raises(NothingRanError) as error:
        await detected(MemoryExchange(), heard=["elsewhere"])
    assert "publishes nothing on redis://***@h. Try: --prefix" in str(error.value)


@asynchronous
async def test_servers_with_different_prefixes_are_named():
    exchanges = [MemoryExchange("one"), MemoryExchange("two")]
    with pytest.raises(NothingRanError, match=r"'one' of ws.*, 'two' of ws"):
        await detected(*exchanges, heard=["one.app.", "two.app."])
