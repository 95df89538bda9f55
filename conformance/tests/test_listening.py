"""A client that nobody drives: which cases need no driver, and what it is accused of."""

import asyncio
import json
import signal
import subprocess
import sys
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from urllib.parse import quote

import pytest

from mutation import BANK
from mutation.client_faults import ClientFault, faulty_client
from neffos_asyncio import NeffosError, Reconnect, ReplyError, dial
from neffos_conformance.cases.definition import client_cases, select
from neffos_conformance.cases.profile import Profile
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.listening import listener, served
from neffos_conformance.listening.listener import listening_for_clients
from neffos_conformance.listening.observed import SEEN
from neffos_conformance.listening.session import MAX_TRIES, ClientNames, ListeningSession
from neffos_conformance.listening.undriven import undriven, undriven_cases
from neffos_conformance.runner.known_failures import read_known_failures, weigh
from neffos_conformance.runner.run import DEFAULT_TIMEOUTS
from neffos_conformance.wire.connection import ConnectError, ConnectionClosed, WireConnection

from .commands import run_text

HANG = 120
"""Seconds for a whole run, which takes a few."""

SOON = Reconnect(first_delay=0.001, max_delay=0.01)


def chat(_, message):
    return None


def fail(_, message):
    body = message.body
    raise ReplyError(body if isinstance(body, str) else body.decode("utf-8", "replace"))


def echo(_, message):
    return "" if message.is_error else message.body


PLAIN = {"default": {"chat": chat}}
"""A client with a life of its own, and nothing of the conformance application."""

EVENTS = {"echo": echo, "question": echo, "fail": fail}
WHOLE = dict.fromkeys(("app", "any", "semi;colon"), EVENTS)
"""One that has the parts of the conformance application that need no driver."""


@asynccontextmanager
async def live(url, application, *, namespace="default", headers=None):
    """A client that dials, connects its namespace, emits, and reconnects, until the block ends."""

    async def life():
        while True:
            with suppress(NeffosError, OSError, asyncio.TimeoutError):
                async with await dial(
                    url, application, reconnect=SOON, headers=headers, timeout=5
                ) as client:
                    if namespace is not None:
                        space = await client.connect(namespace)
                        space.emit("chat", "hello")
                        await space.ask("chat", "is anybody there?", timeout=1)
                    await client.wait_closed()
            await asyncio.sleep(0.001)

    task = asyncio.create_task(life())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def listened(cases, application, *, fault=None, names=None, path="", **client):
    """Run cases on a live client; give the results by their IDs, and the session."""
    async with faulty_client(fault or ClientFault()) as (_, between):
        session = ListeningSession(cases, names, DEFAULT_TIMEOUTS, between=fault and between)
        async with (
            listening_for_clients(session, "127.0.0.1", 0) as page,
            live(page.dial_url + path, application, **client),
            asyncio.timeout(HANG),
        ):
            await session.done.wait()
    results = [*session.results.values(), *session.observed.found.values()]
    return {each.case.id: each for each in results}, session


def run(*ids, application=PLAIN, **more):
    cases = select(client_cases(), ids)
    return asyncio.run(listened(cases, application, **more))


def broken(results):
    return {id_: each.explanation for id_, each in results.items() if each.is_broken}


# -------------------------------------------------------------------- which cases


def test_a_case_that_only_a_driver_can_move_or_see_is_left_out():
    found = {each.case.id for each in undriven_cases(client_cases())}
    assert len(found) >= 60
    by = {case.id: case for case in client_cases()}
    for id_ in found:
        verbs = {step.verb for step in by[id_].steps}
        assert verbs.isdisjoint({"do", "saw", "unseen", "failed", "refuse"}), id_
    # Only the ID says whether this is an acceptance, and only the driver says the ID.
    assert found.isdisjoint({"HS-9.c1", "HS-10.c1", "HS-19.c1", "FR-14.c2"})
    assert found >= {"HS-1.c1", "HS-7.c1", "NS-3.c1", "NS-17.c1", "TR-9.c1", "TR-19.c1"}


def needs(id_):
    [case] = select(client_cases(), [id_])
    return undriven(case).needs


def test_what_a_case_needs_of_the_application_follows_from_its_script():
    assert needs("NS-3.c1") == set()
    assert needs("RM-5.c1") == {"app"}
    assert needs("RM-4.c1") == {"app", "rooms"}
    assert needs("AR-1.c1") == {"app", "echo"}
    assert needs("NS-17.c1") == {"app", "membership"}  # it is not connected there
    assert needs("NS-10.c1") == {"app", "echo", "membership"}
    assert needs("TR-9.c1") == {"app", "returns"}
    assert needs("TR-19.c1") == {"headers"}


def test_the_clients_own_name_takes_the_place_of_app():
    [case] = select(client_cases(), ["AR-16.c1"])
    named = undriven(case).renamed(Profile(namespaces={"app": "a;é"}), {})
    assert str(named.opening[-1]) == "1 own a;é"
    assert named.steps[0].payloads() == "17;a@%!semicolon@%!é;;fail;0;0;no".encode()
    assert named.steps[2].payloads() == "18;a@%!semicolon@%!é;;fail;0;0;no"


# -------------------------------------------------------------------- correct clients


def test_a_correct_client_with_an_application_of_its_own_is_accused_of_nothing():
    results, session = run()
    assert broken(results) == {}
    assert not [r.case.id for r in results.values() if r.verdict is Verdict.UNKNOWN]
    passed = {id_ for id_, each in results.items() if each.verdict is Verdict.PASS}
    assert session.profile.namespace("app") == "default"
    assert passed >= {"NS-3.c1", "NS-17.c1", "RM-5.c1", "TR-5.c2", "TR-9.c1", "AR-8.c1"}
    assert passed >= {"AR-2.seen", "NS-11.seen", "HS-1.seen"}
    assert "RM-10.seen" not in results  # it sent nothing to a room: that is not known
    assert results["AR-1.c1"].explanation == "the client gives no reply to the event 'echo'"
    assert results["NS-1.c1"].explanation == "it needs a driver"


def test_a_correct_client_with_the_application_passes_every_case_without_a_driver():
    results, _ = run(
        application=WHOLE,
        namespace="app",
        headers={"X-Token": "a=b&c d"},
        names=ClientNames(headers={"X-Token": "a=b&c d"}, returns=True),
    )
    assert broken(results) == {}
    wanted = {each.case.id for each in undriven_cases(select(client_cases(), ()))}
    assert {id_ for id_ in wanted if results[id_].verdict is not Verdict.PASS} == set()


def test_a_client_that_never_connects_a_namespace_gets_the_cases_that_need_none(monkeypatch):
    monkeypatch.setattr("neffos_conformance.listening.session.OWN_SECONDS", 0.01)
    results, _ = run("NS-3", "RM-5", "HS-1", namespace=None)
    assert results["RM-5.c1"].explanation == "the client connects no namespace by itself"
    assert results["NS-3.c1"].verdict is results["HS-1.c1"].verdict is Verdict.PASS


def test_a_namespace_that_the_user_names_is_waited_for():
    names = ClientNames(Profile(namespaces={"app": "default"}))
    results, session = run("RM-5", names=names, application={**PLAIN, "other": {}})
    assert session.profile.namespace("app") == "default"
    assert results["RM-5.c1"].verdict is Verdict.PASS


def test_a_profile_names_the_events_that_the_client_replies_to():
    profile = Profile(namespaces={"app": "default"}, events={"echo": "repeat"})
    application = {"default": {"chat": chat, "repeat": echo}}
    results, _ = run("AR-1", "FR-7", application=application, names=ClientNames(profile))
    assert results["AR-1.c1"].verdict is results["FR-7.c1"].verdict is Verdict.PASS
    sent = [str(each.content) for each in results["AR-1.c1"].log]
    assert "1700000000000000001;default;;repeat;0;0;hi" in sent


def test_several_clients_get_a_case_each_and_no_case_that_must_know_who_comes_back():
    async def two():
        session = ListeningSession(select(client_cases(), ["NS-3", "RM-5", "TR-9.c1", "HS"]))
        async with (
            listening_for_clients(session, "127.0.0.1", 0) as page,
            live(page.dial_url, PLAIN),
            live(page.dial_url, PLAIN),
            asyncio.timeout(HANG),
        ):
            while len(session.results) < len(session.cases) - 1:
                await asyncio.sleep(0.01)
        return session.results

    assert broken(asyncio.run(two())) == {}


def test_a_path_chooses_the_case():
    async def chosen():
        session = ListeningSession(select(client_cases(), ["HS-1.c1", "NS-3.c1", "TR-1.c1"]))
        async with (
            listening_for_clients(session, "127.0.0.1", 0) as page,
            asyncio.timeout(HANG),
        ):
            connection = await WireConnection.dial(f"{page.dial_url}case/TR-1.c1")
            received = await connection.receive()
            assert isinstance(received, ConnectionClosed)
            await connection.close()
            while not session.results.keys() & {"TR-1.c1", "HS-1.c1", "NS-3.c1"}:
                await asyncio.sleep(0.01)
            with pytest.raises(ConnectError, match="503"):
                await WireConnection.dial(f"{page.dial_url}case/NS-1.c1")  # it needs a driver
        return [id_ for id_, each in session.results.items() if each.verdict is Verdict.PASS]

    assert asyncio.run(chosen()) == ["TR-1.c1"]


# -------------------------------------------------------------------- what proves nothing


@asynccontextmanager
async def closing(url, times):
    """A client that goes away whenever it is asked something."""

    async def life():
        asked = 0
        while asked < times:
            try:
                connection = await WireConnection.dial(url)
            except ConnectError:  # the case of its last connection is not over yet
                await asyncio.sleep(0.001)
                continue
            await connection.send("M")
            while ";" not in str(await connection.receive()):
                pass
            asked += 1
            await connection.send_close(1001)
            await connection.close()

    task = asyncio.create_task(life())
    try:
        yield task
    finally:
        task.cancel()


@pytest.mark.parametrize("times", [1, MAX_TRIES])
def test_a_client_that_goes_during_a_case_is_accused_only_if_it_always_does(times):
    async def gone():
        session = ListeningSession(select(client_cases(), ["NS-3.c1"]))
        async with (
            listening_for_clients(session, "127.0.0.1", 0) as page,
            closing(page.dial_url, times) as task,
        ):
            await task
            if times == MAX_TRIES:
                await session.done.wait()
        return session.results

    results = asyncio.run(gone())
    assert [each.verdict for each in results.values()] == [Verdict.FAIL] * (times == MAX_TRIES)


class Scripted:
    """A connection on which a client has sent what a test says."""

    def __init__(self):
        self.incoming = asyncio.Queue()

    async def receive(self):
        return await self.incoming.get()

    async def send(self, payload, *, is_held=False):
        pass


@pytest.mark.parametrize(
    ("asked", "replied", "spoken", "found"),
    [
        ("41;default;;_OnNamespaceConnect;0;0;", "41;;;;;;", ";default;;chat;0;0;", []),
        ("41;default;;_OnNamespaceConnect;0;0;", "41;;;;;;", ";other;;chat;0;0;", ["NS-11"]),
        ("41;other;;_OnNamespaceConnect;0;0;", "41;;;;;;", ";default;;chat;0;0;", ["NS-11"]),
        ("41;default;;echo;0;0;", "41;default;;echo;0;0;", ";default;;chat;0;0;", ["NS-11"]),
    ],
)
def test_a_client_may_speak_while_the_suite_connects_its_namespace(asked, replied, spoken, found):
    """The Go client finds its namespace connected before its reader has written the reply."""

    async def observed():
        client = Scripted()
        connection = served.ServedConnection(client, lambda *_: None)
        connection.start()
        client.incoming.put_nowait("M")
        await connection.receive()
        await connection.send("A7")
        await connection.send(asked)
        client.incoming.put_nowait(spoken)
        client.incoming.put_nowait(replied)
        await connection.receive()
        return [each.violation.requirement for each in connection.sightings if each.is_own]

    assert asyncio.run(observed()) == found


# -------------------------------------------------------------------- faulty clients


@pytest.mark.parametrize(
    ("mutant", "ids", "killed"),
    [
        ("client-binary-request", ["HS-1", "HS-7"], "HS-1.c1"),
        ("client-frame-before-request", ["TR-1"], "HS-1.seen"),
        ("client-return-not-announced", ["TR-9"], "TR-9.c1"),
        ("client-late-request-answered", ["HS-8"], "HS-9.c2"),
    ],
)
def test_a_fault_is_found_without_a_driver(mutant, ids, killed):
    results, _ = run(*ids, fault=BANK[mutant].peer, names=ClientNames(returns=True))
    assert killed in broken(results)


@pytest.mark.parametrize("way", ["dropped", "swapped", "right"])
def test_headers_that_do_not_arrive_are_found(way):
    """TR-19: the issue's table has both faults."""
    query = {
        "dropped": "",
        "swapped": f"?X-Token{quote('X-Websocket-Header-')}=7",
        "right": "?X-Websocket-Header-X-Token=7",
    }[way]
    results, _ = run("TR-19", "TR-1", names=ClientNames(headers={"X-Token": "7"}), path=query)
    found = broken(results)
    assert ("TR-19.c1" in found) is (way != "right")
    assert ("TR-19.seen" in found) is (way == "swapped")
    assert (results.get("TR-19.seen") is not None) is (way != "dropped")


def test_no_value_of_a_header_or_a_query_is_kept():
    headers = {"Authorization": "Bearer s3cret"}
    names = ClientNames(headers={"Authorization": "Bearer exp3cted"})
    path = "?token=s3cret&X-Websocket-Header-X-Key=s3cret"
    results, session = run("TR-19", "NS-3", names=names, path=path, headers=headers)
    assert results["TR-19.c1"].explanation == "the header Authorization has another value"
    said = [repr(result) for result in results.values()]
    assert not [each for each in said if "s3cret" in each or "exp3cted" in each]
    state = listener.Page(session, "127.0.0.1", 1).state()
    assert "cret" not in json.dumps(state)


# -------------------------------------------------------------------- hostile clients


def test_a_flood_of_own_messages_ends_its_connection_and_no_other(monkeypatch):
    monkeypatch.setattr(served, "MAX_MESSAGES", 50)

    async def flooded():
        session = ListeningSession(select(client_cases(), ["NS-3.c1", "RM-5.c1"]))
        async with listening_for_clients(session, "127.0.0.1", 0) as page:
            connection = await WireConnection.dial(page.dial_url)
            await connection.send("M")
            assert str(await connection.receive()).startswith("A")
            for number in range(200):
                await connection.send(f"${number};x;;e;0;0;")
            while not isinstance(end := await connection.receive(), ConnectionClosed):
                pass
            assert end.code is None
            await connection.close()
            async with live(page.dial_url, PLAIN), asyncio.timeout(HANG):
                await session.done.wait()
        return session.results

    assert {each.verdict for each in asyncio.run(flooded()).values()} == {Verdict.PASS}


def test_a_client_too_many_is_refused(monkeypatch):
    monkeypatch.setattr(listener, "MAX_CLIENTS", 1)

    async def crowded():
        session = ListeningSession(select(client_cases(), ["NS-3.c1", "RM-5.c1"]))
        async with listening_for_clients(session, "127.0.0.1", 0) as page:
            first = await WireConnection.dial(page.dial_url)
            with pytest.raises(ConnectError, match="503"):
                await WireConnection.dial(page.dial_url)
            await first.close()

    asyncio.run(crowded())


@pytest.mark.parametrize("name", ["<<*99999999 x>>", "x" * 5000, "a<|>b"])
def test_a_namespace_that_no_script_can_contain_is_not_used(name):
    async def odd():
        session = ListeningSession(select(client_cases(), ["RM-5.c1"]))
        async with listening_for_clients(session, "127.0.0.1", 0) as page:
            connection = await WireConnection.dial(page.dial_url)
            await connection.send("M")
            await connection.receive()
            await connection.send(f"$1;{name};;_OnNamespaceConnect;0;0;")
            assert await connection.receive() == "$1;;;;;;"
            await connection.send("$2;default;;_OnNamespaceConnect;0;0;")
            assert await connection.receive() == "$2;;;;;;"
            assert str(await connection.receive()).startswith("echo;default;;echo;")
            await connection.close()

    asyncio.run(odd())


# -------------------------------------------------------------------- HTTP on the same port


async def asked(port, request):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{request} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    return answer.decode()


def test_the_page_the_state_and_the_probe_have_the_port_of_the_client():
    async def looked():
        session = ListeningSession(select(client_cases(), ["NS-3.c1"]))
        session.peer = "</script><b>"
        async with listening_for_clients(session, "127.0.0.1", 0) as page:
            return [
                await asked(page.port, each)
                for each in ("GET /", "GET /state.json", "HEAD /", "GET /nowhere")
            ]

    html, state, head, nowhere = asyncio.run(looked())
    assert html.startswith("HTTP/1.1 200")
    assert "script-src 'sha256-" in html
    values = json.loads(state.partition("\r\n\r\n")[2])
    assert values["cases"][0]["status"] == "waiting"
    assert head.startswith("HTTP/1.1 200")
    assert nowhere.startswith("HTTP/1.1 404")


def test_the_codes_are_there_only_where_a_phone_can_dial():
    session = ListeningSession(select(client_cases(), ["NS-3.c1"]))
    local, lan = (listener.Page(session, host, 8080) for host in ("127.0.0.1", "192.168.1.20"))
    assert b"<svg" not in local.get("/")[2]
    assert lan.get("/")[2].count(b"<svg") == 2
    assert lan.dial_url == "ws://192.168.1.20:8080/"
    assert listener.Page(session, "fe80::1", 8080, is_secure=True).url == "https://[fe80::1]:8080/"
    assert listener.reachable_address("::") != "::"


# -------------------------------------------------------------------- the command


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--listen", "phone"], "--listen needs [HOST:]PORT, actual 'phone'. Try: --listen 8080"),
        (["--listen", "70000"], "--listen needs [HOST:]PORT"),
        (["--listen", "192.0.2.1:0", "--case", "HS-1"], "cannot listen on 192.0.2.1:0"),
        (["--listen", "0", "--", "driver"], "--listen takes no COMMAND"),
        (["--listen", "0", "--expect-header", ": 7"], "--expect-header needs a name"),
        (["--reconnects"], "--reconnects need --listen"),
    ],
)
def test_a_wrong_option_is_a_usage_error_in_one_line(arguments, problem, tmp_path):
    report = tmp_path / "client.json"
    done = run_text("test", "client", "--report", report, *arguments)
    assert done.returncode == 2
    assert problem in done.stderr
    assert "Traceback" not in done.stderr


def test_an_interrupt_ends_a_run_with_a_report_of_what_was_seen(tmp_path):
    report = tmp_path / "client.json"
    command = [
        str(Path(sys.executable).with_name("neffos-wire")),
        *("test", "client", "--listen", "0", "--case", "TR-1.c1", "--case", "HS-1"),
        *("--namespace", "chat", "--expect-header", "Authorization: s3cret", "--reconnects"),
        *("--report", str(report)),
    ]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True) as process:
        url = process.stderr.readline().split()[1]
        while "Ctrl-C" not in process.stderr.readline():
            pass

        async def visit():
            connection = await WireConnection.dial(f"{url}case/TR-1.c1")
            while not isinstance(await connection.receive(), ConnectionClosed):
                pass
            await connection.close()
            port = int(url.rpartition(":")[2].strip("/"))
            while '"status": "pass"' not in await asked(port, "GET /state.json"):
                await asyncio.sleep(0.01)

        asyncio.run(visit())
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=HANG)
    assert process.returncode == 2  # a case is unknown
    values = json.loads(report.read_text())
    verdicts = {each["id"]: each["verdict"] for each in values["cases"]}
    assert verdicts == {"TR-1.c1": "pass", "HS-1.c1": "unknown"}
    again = "--listen 0 --namespace chat --expect-header 'Authorization: ***' --reconnects"
    assert values["command"] == f"neffos-wire test client {again}"
    assert "INCOMPLETE: 1 unknown, 1 pass" in out


def test_known_failures_of_what_was_observed_are_known(tmp_path):
    known = tmp_path / "known.toml"
    known.write_text(
        'format = 2\n[[known_failure]]\ncases = ["TR-19.seen"]\nverdict = "fail"\n'
        'observed = "the query parameter <<name>> stands for no header; expected <<what>>"\n'
        'reason = "an old version of the library"\nlink = "https://example.org/1"\n',
        "utf-8",
    )
    results, _ = run("TR-1", path="?X-TokenX-Websocket-Header-=7")
    weighed = weigh(read_known_failures([known]), results.values(), [*results, *SEEN])
    assert (list(weighed.known), weighed.complaints) == (["TR-19.seen"], ())
