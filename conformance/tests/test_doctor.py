"""The doctor goes the way of a client, and names what ends it."""

from __future__ import annotations

import asyncio
import json
import re
import ssl
from collections.abc import Awaitable, Callable

import pytest
import trustme
from websockets.asyncio.server import ServerConnection, serve

from neffos_conformance.reference.embedded import embedded_server
from neffos_conformance.runner.doctor import Diagnosis, EndError, Examination, Health, examine
from neffos_conformance.runner.refusals import refusal, refusals
from neffos_conformance.wire.reach import Reach, Target
from neffos_conformance.wire.reach_options import read_reach

from .commands import beside, run
from .ways import door, proxy

AMPLE = 30.0

SECRET = "s3cretValue"  # noqa: S105


async def findings(
    target: Target | str, *namespaces: str, deadline: float = AMPLE
) -> list[Diagnosis]:
    return [each async for each in examine(Target.of(target), namespaces, deadline=deadline)]


def last(found: list[Diagnosis]) -> tuple[str, Health, str]:
    return found[-1].step, found[-1].outcome, found[-1].reason


WHOLE = ["name", "TCP", "upgrade", "Origin", "headers by URL", "handshake"]


def test_the_whole_way():
    async def check() -> None:
        async with embedded_server() as url:
            found = await findings(url, "app", "nowhere", "any")
            assert [each.step for each in found] == [*WHOLE, *["namespace"] * 3]
            assert [each.outcome for each in found[6:]] == [
                Health.OK,
                Health.FAIL,
                Health.OK,
            ]
            assert {each.outcome for each in found[:6]} == {Health.OK}
            assert found[7].text == "nowhere: bad namespace"
            assert "has no namespace of this name" in found[7].reason
            refused = await findings(url, "refused")
            assert (refused[-1].outcome, "OnNamespaceConnect refuses" in refused[-1].reason) == (
                Health.FAIL,
                True,
            )

    asyncio.run(check())


def test_the_way_through_a_proxy_and_tls(tmp_path):
    ca = trustme.CA()
    ca.cert_pem.write_to_path(tmp_path / "ca.pem")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    ca.issue_cert("server.example").configure_cert(tls)

    async def check() -> None:
        async with (
            embedded_server() as server,
            door(server, tls=tls) as opened,
            proxy("http", opened.url) as way,
        ):
            own = read_reach({"ca": tmp_path / "ca.pem", "proxy": f"127.0.0.1:{way.port}"}).reach
            found = await findings(Target("wss://server.example", own))
            assert [each.step for each in found] == ["name", "proxy", "TLS", *WHOLE[2:]]
            assert "resolved by the proxy" in found[0].text
            assert "leads to server.example:443" in found[1].text
            assert re.match(r"TLS 1\.\d, with a certificate until \w", found[2].text)
            other = Reach(proxy=own.proxy)
            found = await findings(Target("wss://server.example", other))
            assert [each.step for each in found] == ["name", "proxy", "TLS"]
            assert "Trust it: --ca" in found[-1].remedy or "--ca FILE" in found[-1].remedy

    asyncio.run(check())


def response(status: str, body: str = "", *headers: str) -> str:
    head = "".join(f"{each}\r\n" for each in headers)
    size = f"Content-Length: {len(body)}\r\n"
    return f"HTTP/1.1 {status}\r\n{head}{size}Connection: close\r\n\r\n{body}"


GORILLA = "Sec-Websocket-Version: 13"
"""What gorilla sends with every refusal, whose body says nothing more than the status."""

NO_UPGRADE = 'handshake error: bad "Upgrade" header\n'
WRONG_VERSION = 'handshake error: bad "Sec-WebSocket-Version" header\n'
HTTPS = "Client sent an HTTP request to an HTTPS server.\n"
HTML = "Content-Type: text/html; charset=utf-8"


@pytest.mark.parametrize(
    ("answer", "seen"),
    [
        (response("400 Bad Request", HTTPS), "HTTP 400: Client sent an HTTP request"),
        (response("400 Bad Request", NO_UPGRADE), "HTTP 400: handshake error"),
        (response("426 Upgrade Required", "Upgrade Required"), "HTTP 400: handshake error"),
        (response("400 Bad Request", "unsupported version"), "HTTP 400 or 426 with another"),
        (response("400 Bad Request"), "HTTP 400 or 426"),
        (response("401 Unauthorized"), "HTTP 401"),
        (response("403 Forbidden", "Forbidden\n", GORILLA), "HTTP 403: Forbidden, with"),
        (response("400 Bad Request", "Bad Request\n", GORILLA), "HTTP 400: Bad Request, with"),
        (response("426 Upgrade Required", WRONG_VERSION, GORILLA), "HTTP 400 or 426 with another"),
        (response("403 Forbidden", "no"), "HTTP 403"),
        (response("404 Not Found"), "HTTP 404"),
        (response("405 Method Not Allowed"), "HTTP 405"),
        (response("302 Found", "", "Location: /login"), "HTTP 301, 302"),
        (response("200 OK", "<html>", HTML), "HTTP 200 with a page"),
        (response("200 OK", "{}"), "HTTP 200 or another success"),
        (response("429 Too Many Requests"), "HTTP 429"),
        (response("503 Service Unavailable"), "HTTP 502, 503 or 504"),
        (response("500 Internal", "response does not implement http.Hijacker"), "HTTP 500: resp"),
        (response("500 Internal"), "HTTP 500"),
        (response("418 I'm a teapot"), "any other status"),
        (response("101 Switching Protocols", "", "Upgrade: websocket"), "HTTP 101 with a wrong"),
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n", "the connection ends, or the answer is not HTTP"),
    ],
)
def test_a_refused_upgrade_is_explained(answer, seen):
    async def check() -> None:
        async with door("ws://127.0.0.1:1", answer=answer) as opened:
            found = await findings(opened.url)
            known = next(each for each in refusals() if each.reason == found[-1].reason)
            assert known.step == "upgrade"
            assert known.seen.startswith(seen), found[-1]
            assert found[-1].remedy

    asyncio.run(check())


@pytest.mark.parametrize("url", ["ws://192.0.2.1", "ws://server.example"])
def test_a_wrong_proxy_of_the_environment_is_explained(monkeypatch, url):
    monkeypatch.setenv("all_proxy", "ftp://proxy.example")
    found = asyncio.run(findings(url))
    assert [each.step for each in found][-1] == "proxy"
    assert found[-1].reason.startswith("The option --proxy or a variable")


def test_where_a_redirect_leads_is_shown():
    async def check() -> None:
        answer = response("301 Moved", "", "Location: https://elsewhere/chat/")
        async with door("ws://127.0.0.1:1", answer=answer) as opened:
            assert (await findings(opened.url))[-1].text == "HTTP 301 to https://elsewhere/chat/"

    asyncio.run(check())


def test_an_origin_that_is_refused():
    async def check() -> None:
        async with embedded_server() as server, door(server) as opened:
            # The door hands the Host on, so that the door's own origin is the right one.
            assert (await findings(opened.url))[3].outcome is Health.OK
            behind = Reach(headers=(("Host", "elsewhere.example"),))
            found = await findings(Target(opened.url, behind))
            assert [each.outcome for each in found[2:4]] == [Health.OK, Health.NOTE]
            assert "CheckOrigin" in found[3].reason
            assert found[-1].step == "handshake"
            foreign = read_reach({"origin": "https://elsewhere.example"}).reach
            assert last(await findings(Target(opened.url, foreign)))[:2] == (
                "Origin",
                Health.FAIL,
            )

    asyncio.run(check())


def test_a_server_for_browsers_only():
    async def check() -> None:
        async with embedded_server() as server, door(server) as opened:
            own = opened.url.replace("ws:", "http:")
            async with door(server, {"Origin": own, "Host": own[7:]}) as picky:
                target = Target(picky.url, Reach(headers=(("Host", own[7:]), ("Origin", own))))
                found = await findings(target, "app")
                assert found[2].outcome is Health.NOTE
                assert "which page they are of" in found[2].reason
                assert {each.outcome for each in found[3:]} == {Health.OK}

    asyncio.run(check())


async def echo(connection: ServerConnection) -> None:
    async for message in connection:
        await connection.send(message)


def saying(*answers: str) -> Callable[[ServerConnection], Awaitable[None]]:
    async def say(connection: ServerConnection) -> None:
        await connection.recv()
        for each in answers:
            await connection.send(each)
        await connection.wait_closed()

    return say


async def leave(connection: ServerConnection) -> None:
    await connection.recv()
    await connection.close(1008, "who are you")


@pytest.mark.parametrize(
    ("handler", "seen"),
    [
        (saying("Hgive a token"), "H and a text"),
        (echo, "M itself"),
        (saying('0{"sid":"x","upgrades":[]}'), "an open packet of Socket.IO"),
        (leave, "the connection is closed"),
        (saying("hello"), "another message"),
    ],
)
def test_a_handshake_that_fails_is_explained(handler, seen):
    async def check() -> None:
        async with serve(handler, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            found = await findings(f"ws://127.0.0.1:{port}")
            known = next(each for each in refusals() if each.reason == found[-1].reason)
            assert (known.step, known.seen) == ("handshake", seen)

    asyncio.run(check())


def test_a_server_that_does_not_answer_is_no_server_of_neffos():
    silent = asyncio.Event()

    class Never:
        """A connection whose deadline is over at once."""

        async def send(self, _: str) -> None:
            silent.set()

        async def receive(self) -> str:
            raise TimeoutError

    async def check() -> None:
        way = Examination(Target("ws://h"), AMPLE)
        with pytest.raises(EndError) as end:
            await way.handshake(Never())  # type: ignore[arg-type]
        assert silent.is_set()
        assert "is not neffos" in end.value.diagnosis.reason

    asyncio.run(check())


def test_each_step_ends_with_a_refusal_that_explains_everything():
    steps = dict.fromkeys(each.step for each in refusals())
    for step in steps:
        assert not [each for each in refusals() if each.step == step][-1].when
        assert refusal(step, {"status": "", "error": "", "answer": "?"})
    for each in refusals():
        assert each.reason.endswith(".")
        assert each.remedy.endswith((".", ";"))
        for pattern in each.when.values():
            re.compile(pattern)


@pytest.mark.parametrize(
    ("step", "error", "seen"),
    [
        ("TLS", "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)", "wrong version"),
        ("TLS", "certificate verify failed: self-signed certificate in chain", "self-signed"),
        ("TLS", "certificate verify failed: unable to get local issuer", "unable to get"),
        ("TLS", "certificate verify failed: certificate has expired", "certificate has expired"),
        ("TLS", "Hostname mismatch, certificate is not valid for 'x'", "certificate of another"),
        ("TLS", "[SSL: TLSV13_ALERT_CERTIFICATE_REQUIRED] x", "an alert about the client's"),
        ("TLS", "[SSL: UNSUPPORTED_PROTOCOL] unsupported protocol", "protocol version"),
        ("TLS", "[Errno 104] Connection reset by peer", "the connection ends"),
        ("TCP", "[Errno 111] Connect call failed ('127.0.0.1', 1)", "connection refused"),
        ("TCP", "no answer within 10 s", "no answer in time"),
        ("TCP", "[Errno 101] Network is unreachable", "no route"),
        ("TCP", "[Errno 13] Permission denied", "any other error"),
    ],
)
def test_errors_of_the_system_are_explained(step, error, seen):
    assert refusal(step, {"error": error}).seen.startswith(seen)


def test_the_command(tmp_path):
    with beside(embedded_server()) as server:
        done = run("doctor", server, "--namespace", "app")
        assert done.returncode == 0
        assert done.stdout.decode().splitlines()[-2:] == [
            "ok   namespace       app: connected",
            "PASS",
        ]
        done = run("doctor", server, "--namespace", "gone")
        assert done.returncode == 1
        assert b"Try: Use a name that the server registers" in done.stdout
    wanted = response("401 Unauthorized", f"Bearer {SECRET} is nobody", "Content-Type: text/plain")
    with beside(door("ws://127.0.0.1:1", answer=wanted)) as way:
        url = f"{way.url}/?token={SECRET}".replace("://", f"://me:{SECRET}@")
        for more in ((), ("--json",)):
            done = run("doctor", url, "--header", f"Authorization: Bearer {SECRET}", *more)
            assert done.returncode == 1
            assert SECRET not in f"{done.stdout!r}{done.stderr!r}"
            assert b"*** is nobody" in done.stdout
        values = json.loads(done.stdout)
        assert values["server"].startswith("ws://***@127.0.0.1")
        assert [each["outcome"] for each in values["findings"]] == ["ok", "ok", "fail"]
    for url in ("http://h", "h", "ws://"):
        done = run("doctor", url)
        assert done.returncode == 2
        assert b"is not a WebSocket URL. Try: ws://HOST" in done.stderr
