"""What a peer may say and need not, in the language of cases."""

import asyncio
from contextlib import suppress

import pytest

from mutation import work_clock
from neffos_conformance.cases.definition import Case
from neffos_conformance.cases.matching import difference
from neffos_conformance.cases.script import read_script
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.reference.embedded import Serve, embedded_server
from neffos_conformance.reports.findings import facts
from neffos_conformance.runner.playback import Timeouts
from neffos_conformance.runner.result import Result
from neffos_conformance.runner.run import to_server
from neffos_conformance.runner.witness import joining, watching
from neffos_conformance.wire.connection import WireConnection

SAID = """
1 app
1 > $1;app;;echo;0;0;one
1 > $2;app;;echo;0;0;two
"""


def played(script: str, serve=None) -> tuple[Verdict, str]:
    result = result_of(script, serve)
    return result.verdict, result.explanation


def result_of(script: str, serve=None, *requirements: str) -> Result:
    async def run() -> Result:
        async with embedded_server(distort=serve) as url:
            covered = requirements or ("AR-7",)
            case = Case("AR-7.1", "", covered, "server", read_script(script, "server"))
            return await to_server(url)(case)

    return work_clock.run(run())


@pytest.mark.parametrize(
    "said",
    [
        "1 <? $1;app;;echo;0;0;one\n1 <? $2;app;;echo;0;0;two",
        "1 <? $0;;;;;;\n1 <? $1;app;;echo;0;0;one\n1 <? $2;app;;echo;0;0;two\n1 <? $3;;;;;;",
        "1 < $1;app;;echo;0;0;one\n1 <? $2;app;;echo;0;0;two\n1 closed?",
    ],
)
def test_what_may_come_comes_in_its_order_or_not(said):
    assert played(SAID + said) == (Verdict.PASS, "")


@pytest.mark.parametrize(
    "said",
    [
        "1 <? $2;app;;echo;0;0;two\n1 <? $1;app;;echo;0;0;one",
        "1 <? $1;app;;echo;0;0;one",
    ],
)
def test_nothing_else_may_come(said):
    verdict, explanation = played(SAID + said)
    assert verdict is Verdict.FAIL
    assert explanation == "expected an optional message or none, actual '$2;app;;echo;0;0;two'"


def ending(serve: Serve) -> Serve:
    def wrong(payload):
        if "two" in str(payload):
            raise ConnectionError("on purpose")
        return serve(payload)

    return wrong


def test_an_end_may_come_where_it_is_said():
    said = SAID + "1 <? $1;app;;echo;0;0;one"
    assert played(f"{said}\n1 closed?", ending) == (Verdict.PASS, "")
    verdict, explanation = played(said, ending)
    assert verdict is Verdict.FAIL
    assert explanation.startswith("the connection was closed")


@pytest.mark.parametrize("serve", [None, ending])
def test_an_end_may_come_in_place_of_a_message(serve):
    said = SAID + "1 < $1;app;;echo;0;0;one\n1 < $2;app;;echo;0;0;two\n1 closed?"
    assert played(said, serve) == (Verdict.PASS, "")
    assert played(said.replace(";two\n1 c", ";three\n1 c"))[0] is Verdict.FAIL


def test_a_place_can_ask_for_what_was_not_seen_before():
    bindings = {"first": "17"}
    assert difference("<<second:other>>;;;;0;0;", "17;;;;0;0;", dict(bindings))
    assert difference("<<second:other>>;;;;0;0;", "18;;;;0;0;", bindings) is None
    assert bindings["second"] == "18"


def test_a_case_on_a_recommendation_hides_no_violation_of_another_requirement():
    def talking(serve: Serve) -> Serve:
        return lambda payload: [*serve(payload), *[";nowhere;;x;0;0;"] * ("two" in str(payload))]

    said = SAID + "1 < $1;app;;echo;0;0;one\n1 < $2;app;;echo;0;0;another"
    result = result_of(said, talking, "AR-21")
    assert (result.verdict, result.violations) == (Verdict.NON_STRICT, [])
    result = result_of(said.replace("another", "two\n1 < more"), talking, "AR-21")
    assert result.verdict is Verdict.NON_STRICT
    assert [each.requirement for each in result.violations] == ["NS-11"]


@pytest.mark.parametrize("empty", ["", b""])
def test_an_empty_message_is_a_finding_wherever_it_comes(empty):
    def talking(serve: Serve) -> Serve:
        return lambda payload: [*serve(payload), *[empty] * ("two" in str(payload))]

    result = result_of(f"{SAID}1 < $1;app;;echo;0;0;one\n1 < $2;app;;echo;0;0;two", talking)
    assert [each.requirement for each in result.violations] == ["FR-14"]


NEWS = ";app;;news;0;0;"


@pytest.mark.parametrize(
    ("text", "reaches_all", "verdict"),
    [
        ("EV-1.1-0123abcd hi", False, Verdict.PASS),
        ("server-asks-0123abcd", False, Verdict.PASS),
        ("hi", True, Verdict.PASS),
        ("hi", False, Verdict.FAIL),
        ("", False, Verdict.FAIL),
    ],
)
def test_only_a_broadcast_that_another_may_have_sent_is_passed_over(text, reaches_all, verdict):
    def broadcasting(serve: Serve) -> Serve:
        def wrong(payload):
            is_meant = "two" in str(payload) or (reaches_all and "barrier" in str(payload))
            return [NEWS + text, *serve(payload)] if is_meant else serve(payload)

        return wrong

    async def run() -> Verdict:
        said = "1 < $1;app;;echo;0;0;one\n1 < $2;app;;echo;0;0;two"
        case = Case("AR-7.1", "", ("AR-7",), "server", read_script(SAID + said, "server"))
        async with (
            embedded_server(distort=broadcasting) as url,
            watching(url, Timeouts(after_barrier=0.1), [case]) as witness,
        ):
            return (await to_server(url, witness=witness)(case)).verdict

    assert work_clock.run(run()) is verdict


@pytest.mark.parametrize(
    "broadcast",
    [
        ";app;;news;0;0;hi",
        ";app;hall;news;0;0;hi",
        ";any;;news;0;0;hi",
        ";any;lobby;news;0;0;hi",
        "$7;any;lobby;news;0;0;hi",
    ],
)
def test_a_broadcast_of_another_client_is_passed_over_wherever_a_case_is(broadcast):
    """The server sends it to each connection that is there, but to none before its barrier."""
    namespace, room = broadcast.split(";")[1:3]

    def broadcasting(serve: Serve) -> Serve:
        where = set()

        def served(payload):
            fields = str(payload).split(";")
            if fields[3:4] in (["_OnNamespaceConnect"], ["_OnRoomJoin"]):
                where.add((fields[1], fields[2]))
            is_there = ((namespace, room) in where and fields[-1] == "two") or "barrier" in fields[
                0
            ]
            return [broadcast, *serve(payload)] if is_there else serve(payload)

        return served

    script = """
1 app
1 > $a;app;hall;_OnRoomJoin;0;0;
1 < $a;;;;;;
1 > $b;any;;_OnNamespaceConnect;0;0;
1 < $b;;;;;;
1 > $c;any;lobby;_OnRoomJoin;0;0;
1 < $c;;;;;;
1 > $2;app;;echo;0;0;two
1 < $2;app;;echo;0;0;two
"""
    case = Case("AR-7.1", "", ("AR-7",), "server", read_script(script, "server"))

    async def run(cases) -> Verdict:
        async with (
            embedded_server(distort=broadcasting) as url,
            watching(url, Timeouts(after_barrier=0.1), cases) as witness,
        ):
            return (await to_server(url, witness=witness)(case)).verdict

    assert work_clock.run(run([case])) is Verdict.PASS


def test_a_witness_leaves_a_server_that_takes_one_connection_at_a_time():
    async def run() -> bool:
        free = asyncio.Semaphore(1)

        async def pump(reader, writer):
            with suppress(OSError):
                while data := await reader.read(1 << 16):
                    writer.write(data)
            writer.close()

        async with embedded_server() as url:
            port = int(url.split(":")[-1].strip("/"))

            async def serve(reader, writer):
                async with free:
                    ends = await asyncio.open_connection("127.0.0.1", port)
                    await asyncio.gather(pump(reader, ends[1]), pump(ends[0], writer))

            async with await asyncio.start_server(serve, "127.0.0.1", 0) as proxy:
                own = f"ws://127.0.0.1:{proxy.sockets[0].getsockname()[1]}/"
                async with watching(own, Timeouts(case=1.0), []) as witness:
                    async with asyncio.timeout(20):
                        await (await WireConnection.dial(own)).close()
                    return await witness.may_have_seen(b";app;;news;0;0;hi")

    assert work_clock.run(run())


def test_a_witness_goes_where_cases_are_and_into_no_room_of_a_case_alone():
    script = """
1 app
1 > $a;app;<<case>>;_OnRoomJoin;0;0;
1 > $a;app;a@%!semicolon@%!b;_OnRoomJoin;0;0;
1 < $b;any;;_OnNamespaceConnect;0;0;
1 x3 > $c;app;room <<#>>;_OnRoomJoin;0;0;
1 > $d;app;hall;echo;0;0;
"""
    case = Case("AR-7.1", "", ("AR-7",), "server", read_script(script, "server"))
    assert joining([case, case]) == [
        "M",
        "$witness1;app;;_OnNamespaceConnect;0;0;",
        "$witness2;any;;_OnNamespaceConnect;0;0;",
        "$witness3;app;a@%!semicolon@%!b;_OnRoomJoin;0;0;",
    ]
    assert joining([]) == ["M"]


def test_a_reader_that_is_blocked_is_named_as_the_likely_cause():
    def blocked(serve: Serve) -> Serve:
        return lambda payload: [] if "barrier" in str(payload) else serve(payload)

    async def run() -> list[tuple[str, str]]:
        async with embedded_server(distort=blocked) as url:
            script = read_script(
                SAID + "1 < $1;app;;echo;0;0;one\n1 < $2;app;;echo;0;0;two\n1 expect-nothing",
                "server",
            )
            limits = Timeouts(case=0.5)
            case = Case("AR-7.1", "", ("AR-7",), "server", script)
            return [fact[:2] for fact in facts(await to_server(url, limits)(case))]

    found = dict(work_clock.run(run()))
    assert found["expected"] == "1 expect-nothing"
    assert found["actual"] == "no reply to a barrier"
    assert "keeps the peer from reading" in found["cause"]


@pytest.mark.parametrize(
    ("header", "verdict"),
    [
        ("Upgrade: WEBSOCKET", Verdict.PASS),
        ("Connection: upgrade", Verdict.PASS),
        ("sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", Verdict.PASS),
        ("Sec-WebSocket-Accept: s3pplmbitxaq9kygzzhzrbk+xoo=", Verdict.FAIL),
    ],
)
def test_a_header_has_the_letter_case_of_its_value_but_for_an_upgrade(header, verdict):
    script = f"1 upgrade GET / Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\n1 has {header}"
    assert played(script)[0] is verdict
