"""Recordings of clusters: made, checked, drawn and replayed; on a broker in memory."""

import asyncio
import io
import json
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
from click.testing import CliRunner

from mutation.clusters import NodeHooks, cluster_of
from mutation.registry import BANK
from neffos_conformance.cases.definition import cases_of
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.cli import record as record_command
from neffos_conformance.cli.main import cli
from neffos_conformance.recordings import replay as replay_module
from neffos_conformance.recordings.checking import check_stream
from neffos_conformance.recordings.page import page, picture
from neffos_conformance.recordings.replay import ReplayBroker, ReplayOutcome, replay_to_servers
from neffos_conformance.recordings.sequence import read_diagram
from neffos_conformance.runner.run import to_server
from neffos_conformance.wire import broker as wire_broker
from neffos_conformance.wire import cluster as wire_cluster
from neffos_conformance.wire.broker import BrokerPeer
from neffos_conformance.wire.cluster import hearing, relays_of
from neffos_conformance.wire.connection import WireConnection
from neffos_conformance.wire.reach import Target
from neffos_conformance.wire.transcript import (
    ConnectionOpened,
    Entry,
    Published,
    Transcript,
    Writer,
    header,
    lines,
    read_lines,
)
from neffos_protocol.exchange import nats_subjects, redis_channels

from .test_handler_queue import asynchronous
from .test_show import drawn

URL = "redis://user:geheim@broker/?password=geheim"
CHANNELS = {"redis": redis_channels, "nats": nats_subjects}


def of(client, node, *said, number=1):
    """Give what a client and a server say to each other, from the handshake on."""
    opened = [(number, True, ConnectionOpened("", {}, node)), (number, True, "M")]
    asked = [(number, True, "$1;app;;_OnNamespaceConnect;0;0;"), (number, False, "$1;;;;;;")]
    return [*opened, (number, False, f"A{client}"), *asked, *said]


def recorded(*said, kind="redis", **more) -> bytes:
    first = header(
        scenario="a cluster",
        client={"peer": "ours"},
        server={"peer": "one"},
        other_servers=[{"peer": "two"}],
        broker={"kind": kind},
        how="test",
        **more,
    )
    return b"".join(lines(first, [Entry(0, at / 10, *each) for at, each in enumerate(said)]))


def published(channel, payload):
    data = payload.encode() if isinstance(payload, str) else payload
    return (0, False, Published(channel, data))


ANN = of("ann", 1, number=1)
BEN = of("ben", 2, number=2)


# -------------------------------------------------------------------- check


def checked(*said, **more):
    return check_stream(io.BytesIO(recorded(*said, **more)))


def test_what_is_published_is_judged_and_named_by_its_line():
    report = checked(
        *ANN, published("p.app.", ";app;;news;0;0;x"), published("p.app.x", ";app;;;0;0;")
    )
    [violation] = report.violations
    assert (violation.line, violation.connection, violation.role) == (8, 0, "server")
    assert (violation.requirement, violation.payload) == ("SX-5", ";app;;;0;0;")
    assert (report.verdict, report.messages, report.published) == (Verdict.FAIL, 4, 2)
    known = checked(*ANN, *[published("p.app.", "5;app;;;0;0;")], defects={"SX-3": "server"})
    assert known.verdict is Verdict.PASS


def test_what_is_delivered_is_compared_with_what_was_published():
    said = published("p.app.", ";app;lobby;news;0;0;x")
    report = checked(*BEN, said, (2, False, ";app;lobby;news;0;0;x"))
    assert [each.requirement for each in report.violations] == ["RM-10", "SX-8"]
    assert {each.line for each in report.violations} == {8}


def test_an_ask_without_a_reply_on_the_broker_is_remarked_on():
    ask = published("p.app.", "1!5;app;lobby;news;0;0;x")
    report = checked(*ANN, ask, *[(1, True, f";app;;e;0;0;{n}") for n in range(20)])
    assert [*report.remarks()] == [
        "line 7, the broker: the server's event news in app/lobby (15) has no reply after 2.000 s"
    ]
    assert not [*checked(*ANN, ask, published("p.ask.15", ";app;lobby;news;0;0;y")).remarks()]


def test_a_suspicion_is_no_violation():
    sender = "neffos(0x7f1c(ann0xc000123456))"
    said = [published("p.app.", f"{sender};app;;news;0;0;x"), (1, False, ";app;;news;0;0;x")]
    report = checked(*ANN, *said)
    assert report.verdict is Verdict.PASS
    assert [*report.remarks()] == [
        "line 8, connection 1: it got what was published to all but it; its server may have sent it"
    ]


def test_without_a_broker_in_the_header_nothing_follows_from_what_was_published():
    data = recorded(*ANN, published("p.app.", "5;app;;;0;0;")).replace(b'"broker":', b'"brocken":')
    report = check_stream(io.BytesIO(data))
    assert report.unreadable_lines == 1
    assert not report.violations


def test_check_says_where(tmp_path):
    path = tmp_path / "c.jsonl"
    path.write_bytes(recorded(*ANN, published("p.app.", "5;app;;;0;0;")))
    result = CliRunner().invoke(cli, ["check", "--jobs", "1", str(path)])
    assert result.exit_code == 1
    assert "line 7, the broker: the server violated SX-3" in " ".join(result.output.split())
    assert "4 messages, 1 published" in result.output
    [values] = json.loads(
        CliRunner().invoke(cli, ["check", "--jobs", "1", "--json", str(path)]).output
    )["recordings"]
    assert (values["published"], values["violations"][0]["connection"]) == (1, 0)
    assert values["violations"][0]["text"] == "5;app;;;0;0;"


# -------------------------------------------------------------------- show


def test_the_broker_is_a_line_of_life_between_the_servers():
    said = [
        (1, True, ";app;;say;0;0;hello"),
        published("p.app.", ";app;;news;0;0;hello"),
        (2, False, ";app;;news;0;0;hello"),
        (2, True, ";app;;say;0;0;there"),
        published("p.app.", ";app;;news;0;0;there"),
        published("p.app.", ";app;;news;0;0;whose"),
        published("p.app.", b"\xff"),
    ]
    diagram = read_diagram(io.BytesIO(recorded(*ANN, *BEN, *said)))
    text = drawn(diagram, 90)
    rows = {row.line: row for row in diagram.arrows}
    assert "client ours" in text
    assert "servers one, two" in text
    assert "1  broker   2\n" in text
    for line, end in [
        (12, "─►│     │     │"),
        (13, " ├────►│     │"),
        (14, "─┼─────┼─────┤"),
        (15, "─┼─────┼────►│"),
        (16, " │     │◄────┤"),
        (17, " │   ┄►│     │"),
        (18, " │   ┄►│     │"),
    ]:
        [drawn_line] = [each for each in text.splitlines() if each.startswith(f"{line:>4} ")]
        assert drawn_line.endswith(end), drawn_line
    assert "p.app.: event news in app" in rows[13].words
    assert [rows[each].node for each in (13, 14, 16, 17)] == [1, 2, 2, 0]
    assert rows[18].words == "p.app.: not a frame"
    assert "4 of them to the broker" in text
    assert drawn(diagram, 90, encoding="ascii").isascii()


def test_the_picture_has_the_servers_and_the_broker_apart():
    said = [published("p.app.", ";app;;news;0;0;x"), published("p.app.", "1!5;app;;news;0;0;x")]
    diagram = read_diagram(io.BytesIO(recorded(*ANN, *BEN, *said)))
    drawing = picture(diagram)
    assert [label for label, _ in drawing.servers] == ["1", "broker", "2"]
    places = [x for _, x in drawing.servers]
    assert places == sorted(places)
    assert max(row.to_x for row in drawing.rows) == places[-1]
    assert drawing.rows[-1].to_x == places[1] > drawing.rows[-1].from_x > places[0]
    html = page(diagram, "c.jsonl")
    assert "Line 12, published: " in html
    assert "connection 2, from the client" in html
    assert ">broker</text>" in html
    assert "redis" in html


def test_a_reply_and_an_error_are_drawn_as_such():
    said = [
        published("p.ask.15", ";app;;news;0;0;yes"),
        published("p.ask.15", ";app;;news;1;0;no"),
        published("p.app.", "1!5;app;;news;0;0;ready?"),
    ]
    diagram = read_diagram(io.BytesIO(recorded(*said)))
    assert [(row.kind.value, row.words) for row in diagram.arrows] == [
        ("reply", 'p.ask.15: event news in app "yes"'),
        ("error", 'p.ask.15: error in event news in app: "no"'),
        ("ask", 'p.app.: asks with event news in app "ready?" (15)'),
    ]


# -------------------------------------------------------------------- record


@asynccontextmanager
async def running(monkeypatch, hooks=None, kind="redis"):
    """Give a cluster in memory, whose broker is at ``URL``; the last one that runs."""
    async with cluster_of(hooks or NodeHooks(), CHANNELS[kind]("neffos")) as (targets, memory):

        @asynccontextmanager
        async def opened(_, hear):
            memory.heard.append(hear)
            memory.peer = BrokerPeer(memory.forge, CHANNELS[kind])
            yield memory.peer
            memory.heard.remove(hear)

        monkeypatch.setitem(wire_broker._OPENED, "redis", opened)
        yield targets, memory


@asynccontextmanager
async def recording(targets, record, notice=lambda _: None, prefix=""):
    async with AsyncExitStack() as stack:
        heard = hearing(URL, record, notice=notice, prefix=prefix)
        failed = await stack.enter_async_context(heard)
        started = [each() for each in relays_of(targets, record)]
        relays = [await stack.enter_async_context(each) for each in started]
        yield relays, failed
        for each in relays:
            await each.idle()


async def record_case(monkeypatch, case_id, mutant="as-it-should", kind="redis") -> bytes:
    """Record a case with a cluster, and give the recording."""
    stream = io.BytesIO()
    case = next(each for each in cases_of("exchange") if each.id == case_id)
    hooks = BANK[f"exchange-{mutant}"].peer
    async with running(monkeypatch, hooks, kind) as (targets, memory):
        broker = {"kind": kind, "prefix": "neffos"}
        peers = {"client": {"peer": "c"}, "server": {"peer": "s"}}
        first = header(
            scenario="s", **peers, how="test", broker=broker, other_servers=[{"peer": "t"}]
        )
        async with recording(targets, Writer(stream, first).write) as (relays, _):
            first, *others = [Target.of(each.url) for each in relays]
            await to_server(first, others=others, broker=memory.suite)(case)
    return stream.getvalue()


def test_the_header_has_no_secret_of_the_broker(monkeypatch):
    @asynccontextmanager
    async def opened(*_):
        yield BrokerPeer(None, redis_channels)

    monkeypatch.setitem(wire_broker._OPENED, "redis", opened)
    first = header(
        scenario="s",
        client={"peer": "c"},
        server={"peer": "s"},
        how="test",
        broker=record_command._broker(URL, "p"),
    )
    assert first["broker"] == {"kind": "redis", "url": "redis://***@broker/", "prefix": "p"}
    assert "geheim" not in json.dumps(first)


@asynchronous
async def test_relays_number_their_connections_together_and_say_which_server(monkeypatch):
    record = []
    async with running(monkeypatch) as (targets, memory):
        notes = []
        async with recording(targets, lambda *each: record.append(each), notes.append) as (
            relays,
            _,
        ):
            for relay in (relays[1], relays[0]):
                connection = await WireConnection.dial(relay.url)
                await connection.send("M")
                await connection.receive()
                await connection.close()
            await memory.forge("neffos.app.", b"x")
            monkeypatch.setattr(wire_cluster, "MAX_PUBLISHED", 3)
            await memory.forge("neffos.app.", b"long")
            memory.peer.lost.set()
            while not notes[1:]:
                await asyncio.sleep(0)
    nodes = {each[0]: each[2].node for each in record if isinstance(each[2], ConnectionOpened)}
    assert nodes == {1: 2, 2: 1}
    assert [each for each in record if not each[0]] == [(0, False, Published("neffos.app.", b"x"))]
    assert notes == [
        "not recorded: 4 bytes that were published under neffos.app.",
        "the broker at redis://***@broker/ is lost: nothing more of it is recorded",
    ]


@asynchronous
async def test_what_is_not_recorded_ends_the_recording_and_other_prefixes_are_left_out(monkeypatch):
    def record(*_):
        raise OSError("disk full")

    async with (
        running(monkeypatch) as (targets, memory),
        recording(targets, record, prefix="neffos") as (_, failed),
    ):
        await memory.forge("neffosx.app.", b"x")
        await asyncio.sleep(0)
        assert not failed.done()
        for _ in range(2):
            await memory.forge("neffos.app.", b"x")
        await asyncio.wait([failed])
        with pytest.raises(OSError, match="disk full"):
            failed.result()


@pytest.mark.parametrize(
    ("mutant", "case", "kind"),
    [
        ("SX-3.marker-missing", "SX-3.1", "redis"),
        ("SX-4.bare-token", "SX-4.1", "redis"),
        ("SX-5.named-otherwise", "SX-5.1", "redis"),
        ("SX-6.dots-kept", "SX-6.1", "nats"),
        ("SX-7.room-as-it-is", "SX-7.2", "redis"),
        ("SX-9.published-by-marker", "SX-9.1", "redis"),
        ("SX-9.second-published", "SX-9.3", "redis"),
        ("SX-12.all-as-text", "SX-12.1", "redis"),
    ],
)
@asynchronous
async def test_a_recording_of_a_faulty_node_shows_the_requirement(monkeypatch, mutant, case, kind):
    id_, name = mutant.split(".")
    faulty = check_stream(io.BytesIO(await record_case(monkeypatch, case, name, kind)))
    assert (id_, "server") in faulty.counts
    sound = check_stream(io.BytesIO(await record_case(monkeypatch, case, kind=kind)))
    assert not [each for each in sound.counts if each[1] == "server"]


# -------------------------------------------------------------------- replay


def read(data: bytes) -> Transcript:
    first, *entries = read_lines(io.BytesIO(data))
    return Transcript(first, tuple(entries))


async def replayed(monkeypatch, data, mutant="as-it-should", kind="redis", prefix=""):
    async with running(monkeypatch, BANK[f"exchange-{mutant}"].peer, kind) as (targets, _):
        broker = ReplayBroker(URL, prefix)
        return await replay_to_servers(read(data), targets, broker=broker, deadline=0.5)


@pytest.mark.parametrize("kind", ["redis", "nats"])
@pytest.mark.parametrize("case", ["SX-5.2", "SX-5.3", "SX-3.1"])
@asynchronous
async def test_a_recording_of_a_cluster_is_replayed_to_one_on_any_broker(monkeypatch, case, kind):
    data = await record_case(monkeypatch, case)
    result = await replayed(monkeypatch, data, kind=kind, prefix="neffos")
    assert (result.outcome, result.explanation) == (ReplayOutcome.SAME, "")


@pytest.mark.parametrize(
    ("mutant", "case", "explanation"),
    [
        ("named-otherwise", "SX-5.1", "(what was published) differs in channel"),
        ("marker-missing", "SX-3.1", "(what was published) differs in wait"),
        ("namespace-channels", "SX-5.2", "(what was published) differs in channel"),
        ("error-replies-kept", "SX-4.2", ""),
    ],
)
@asynchronous
async def test_what_is_published_otherwise_is_a_difference(monkeypatch, mutant, case, explanation):
    data = await record_case(monkeypatch, case)
    if not explanation:  # what the suite publishes is not a client's, and is not replayed
        data = recorded(*ANN, published("neffos.app.", ";app;;news;0;0;missing"))
        explanation = "line 7 (what was published) did not come"
    result = await replayed(monkeypatch, data, mutant)
    assert result.outcome is ReplayOutcome.DIFFERENT
    assert explanation in result.explanation


@asynchronous
async def test_a_frame_that_was_not_recorded_is_a_difference(monkeypatch):
    said = [(1, True, "$2;app;;broadcast-all;0;0;x"), (1, False, "$2;app;;broadcast-all;0;0;done")]
    data = recorded(*ANN, *said, (1, False, ";app;;news;0;0;x"), published("p.app.", b"\xff"))
    result = await replayed(monkeypatch, data)
    assert result.explanation == "a frame was published that was not recorded"
    without = Transcript({**read(data).header, "broker": None}, read(data).entries)
    async with running(monkeypatch) as (targets, _):
        result = await replay_to_servers(without, targets, broker=ReplayBroker(URL))
    assert result.outcome is ReplayOutcome.SAME


@asynchronous
async def test_what_keeps_a_cluster_from_being_compared_is_an_error(monkeypatch):
    data = recorded(*ANN, *BEN, published("neffos.app.", ";app;;news;0;0;x"))
    async with running(monkeypatch) as (targets, memory):
        result = await replay_to_servers(read(data), targets[:1])
        assert (
            result.explanation
            == "line 7 (the opening) is to server 2, and there is no such --server"
        )
        monkeypatch.setattr(replay_module, "MAX_HEARD", 1)
        flood = replay_to_servers(read(data), targets, broker=ReplayBroker(URL), deadline=0.2)
        task = asyncio.create_task(flood)
        while len(memory.heard) < 2:
            await asyncio.sleep(0)
        for _ in range(9):
            memory.heard[-1]("neffos.app.", b";app;;news;0;0;other")
        assert "more is published than can be compared" in (await task).explanation
        memory.heard.clear()
        monkeypatch.setattr(memory, "publish", lambda *_: None)
        nothing = recorded(*ANN)
        result = await replay_to_servers(
            read(nothing), targets, broker=ReplayBroker(URL), deadline=0.2
        )
        assert result.explanation == "the broker does not return what the suite publishes"
    result = await replay_to_servers(read(data), targets, broker=ReplayBroker("http://x"))
    assert result.outcome is ReplayOutcome.ERROR
    assert "a broker is at redis://" in result.explanation


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--prefix", "p", "--server", "ws://x"], "--prefix is of no use without --broker"),
        (["--broker", "redis://x", "--client", "true"], "--broker is of no use without --server"),
    ],
)
def test_options_of_no_use_are_refused(tmp_path, options, complaint):
    path = tmp_path / "c.jsonl"
    path.write_bytes(recorded(*ANN))
    result = CliRunner().invoke(cli, ["replay", str(path), *options])
    assert result.exit_code == 2
    assert complaint in result.output
