"""What the language of cases has for limits: counting, stalling, coming in again, and time."""

from dataclasses import replace

import pytest
from websockets.frames import Opcode

from mutation import BANK, work_clock
from mutation.fault_proxy import CUT, outward, request
from neffos_asyncio import Limits
from neffos_conformance.cases.definition import Case, select, server_cases
from neffos_conformance.cases.features import needed
from neffos_conformance.cases.script import ScriptError, read_script
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.reference.application import servers
from neffos_conformance.reference.embedded import Serve, embedded_server
from neffos_conformance.runner.playback import Timeouts
from neffos_conformance.runner.run import to_server

ECHO = "1 app\n1 x5 > $<<#>>;app;;echo;0;0;hi\n"
SOON = Timeouts(case=2.0, before_barrier=0.1, after_barrier=0.1)


def case(script: str, **fields) -> Case:
    return Case("AR-7.1", "", ("AR-7",), "server", read_script(script, "server"), **fields)


def played(script: str, server=None) -> tuple[Verdict, str]:
    async def run() -> tuple[Verdict, str]:
        async with server or embedded_server() as url:
            result = await to_server(url, SOON)(case(script))
            return result.verdict, result.explanation

    return work_clock.run(run())


def test_fewer_counts_what_comes_before_the_barrier():
    answer = "<<token:client-token>>;app;;echo;0;0;hi"
    assert played(f"{ECHO}1 fewer 6 {answer}") == (Verdict.PASS, "")
    assert played(f"{ECHO}1 fewer 5 {answer}") == (
        Verdict.FAIL,
        "expected fewer than 5 of these messages",
    )
    assert played(f"{ECHO}1 fewer 1 $3;app;;echo;0;0;hi") == (
        Verdict.FAIL,
        "expected no such message",
    )
    assert played(f"{ECHO}1 fewer 1 $6;app;;echo;0;0;hi")[0] is Verdict.PASS


def test_fewer_is_content_with_an_end():
    script = "1 app\n1 > ;app;;close-me;0;0;\n1 fewer 1 $1;;;;;;"
    assert played(script) == (Verdict.PASS, "")


def test_fewer_wants_a_number():
    with pytest.raises(ScriptError, match="fewer than how many"):
        read_script("1 app\n1 fewer $1;;;;;;", "server")


def test_some_close_frame_is_wanted_and_none_is_missed():
    script = "1 app\n1 > ;app;;close-me;0;0;\n1 closed some"
    assert played(script) == (Verdict.PASS, "")
    cut = outward(lambda _, __: CUT, opcode=Opcode.CLOSE)
    assert played(script, cut.run()) == (Verdict.FAIL, "expected a close frame, actual none")


def test_who_is_refused_tries_again_until_it_is_let_in():
    asked = []

    def distort(serve: Serve) -> Serve:
        def wrong(payload):
            if payload == "M":
                asked.append(payload)
                if len(asked) < 3:
                    return ["Hnot yet"]
            return serve(payload)

        return wrong

    script = "1 enter\n1 > $1;app;;_OnNamespaceConnect;0;0;\n1 < $1;;;;;;"
    assert played(script, embedded_server(distort=distort)) == (Verdict.PASS, "")
    assert len(asked) == 3


def test_a_server_that_is_gone_fails_what_the_case_is_about_and_not_what_leads_up_to_it():
    refusing = request(lambda _, __: b"HTTP/1.1 503 Busy\r\n\r\n")
    told = "the server did not upgrade the connection: server rejected WebSocket connection: "
    assert played("---\n1 dial", refusing.run()) == (Verdict.FAIL, f"{told}HTTP 503")
    assert played("1 handshake\n1 expect-nothing", refusing.run())[0] is Verdict.ERROR
    silent = request(lambda _, __: CUT)
    assert played("1 http GET /\n1 status 4xx", silent.run()) == (
        Verdict.FAIL,
        "there was no answer of HTTP to GET",
    )


def test_octets_are_written_out_and_numbered():
    [_, line] = read_script("1 app\n1 x9 raw 8<<#>><<*2 00>>ff", "server")
    assert line.raw_bytes(3) == b"\x83\x00\x00\xff"


def test_urls_of_requests_without_an_upgrade_need_features_too():
    assert needed(case("1 http GET /?X%2Dwebsocket-header-x=1\n1 status 4xx")) == {"url-headers"}
    assert needed(case("1 upgrade GET / Origin: null\n1 status 4xx")) == {"origin-check"}


@pytest.mark.parametrize(
    ("id_", "mutant"),
    [
        ("SEC-4.1", "handshake-awaited-for-ever"),
        ("SEC-4.2", "handshake-awaited-for-ever"),
        ("SEC-4.2", "handshake-awaited-while-it-talks"),
    ],
)
def test_cases_that_wait_tell_servers_that_wait_from_those_that_do_not(id_, mutant):
    [waiting] = select(server_cases(), [id_])
    soon = replace(waiting, seconds=1.5)

    async def run():
        async with embedded_server(served=servers(limits=Limits(handshake=0.2))) as url:
            right = await to_server(url)(soon)
        async with BANK[mutant].stage() as wrong:
            return right, await wrong(soon)

    right, wrong = work_clock.run(run())
    assert right.verdict is Verdict.PASS
    assert wrong.verdict is Verdict.FAIL
    assert wrong.explanation == "timed out"
