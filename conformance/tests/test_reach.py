"""A server is reached through TLS, proxies and sockets, with headers, as the options say."""

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import trustme

from neffos_asyncio import listening
from neffos_conformance.cases.definition import server_cases
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.reference.application import servers
from neffos_conformance.reference.embedded import embedded_server
from neffos_conformance.runner.playback import Timeouts
from neffos_conformance.runner.run import to_server
from neffos_conformance.wire.connection import ConnectError, WireConnection
from neffos_conformance.wire.http import ask
from neffos_conformance.wire.reach import Reach, Target, is_loopback, proxy_at
from neffos_conformance.wire.reach_options import Reached, read_reach
from neffos_conformance.wire.relay import relaying

from .commands import beside, run
from .ways import door, proxy

PATIENT = Timeouts(case=30.0)

NAME = "server.example"
"""A name that no resolver knows (RFC 2606)."""

DRIVER = f"{Path(sys.executable).with_name('neffos-wire')} driver"

SECRET, PASSWORD = "s3cretValue", "pa55word"


class Papers:
    """Certificates and keys of the tests, as files and as contexts."""

    def __init__(self, folder: Path) -> None:
        ca, other = trustme.CA(), trustme.CA()
        self.ca, self.other_ca = folder / "ca.pem", folder / "other.pem"
        ca.cert_pem.write_to_path(self.ca)
        other.cert_pem.write_to_path(self.other_ca)
        own = ca.issue_cert(NAME, "localhost", "127.0.0.1", "::1")
        self.server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        own.configure_cert(self.server)
        self.server_pem = folder / "server.pem"
        own.private_key_and_cert_chain_pem.write_to_path(self.server_pem)
        client = ca.issue_cert("client@example.org")
        self.cert, self.key = folder / "client.pem", folder / "client.key"
        self.cert.write_bytes(client.cert_chain_pems[0].bytes())
        client.private_key_pem.write_to_path(self.key)
        self.demanding = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        own.configure_cert(self.demanding)
        ca.configure_trust(self.demanding)
        self.demanding.verify_mode = ssl.CERT_REQUIRED


@pytest.fixture(scope="module")
def papers(tmp_path_factory) -> Papers:
    return Papers(tmp_path_factory.mktemp("papers"))


@pytest.fixture(autouse=True)
def no_proxy_of_this_machine(monkeypatch):
    for name in ("http", "https", "all", "no", "ws", "wss", "socks"):
        for each in (f"{name}_proxy", f"{name}_PROXY".upper()):
            monkeypatch.delenv(each, raising=False)


def options(**values: object) -> Reach:
    return read_reach(values).reach


async def verdicts(target: Target | str, *ids: str) -> list[Verdict]:
    run_case = to_server(target, PATIENT)
    return [(await run_case(case)).verdict for case in server_cases() if case.id in ids]


PASSES = [Verdict.PASS] * 2
CASES = ("HS-1.1", "TR-3.1")
"""A case that opens a connection, and one that sends a plain request."""


# -------------------------------------------------------------------- TLS


def test_a_certificate_is_checked_by_the_authority_that_is_named(papers):
    async def check() -> None:
        async with listening(servers(), tls=papers.server) as listener:
            url = listener.url()
            assert await verdicts(Target(url, options(ca=papers.ca)), *CASES) == PASSES
            assert await verdicts(Target(url, options(insecure=True)), *CASES) == PASSES
            for reach in (Reach(), options(ca=papers.other_ca)):
                with pytest.raises(ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
                    await WireConnection.dial(Target(url, reach))
            elsewhere = options(ca=papers.ca, resolve=[f"other.example:{listener.port}:127.0.0.1"])
            with pytest.raises(ConnectError, match=r"not valid for 'other\.example'"):
                await WireConnection.dial(Target(f"wss://other.example:{listener.port}", elsewhere))

    asyncio.run(check())


def test_a_client_shows_its_certificate(papers):
    async def check() -> None:
        async with listening(servers(), tls=papers.demanding) as listener:
            reach = options(ca=papers.ca, cert=papers.cert, key=papers.key)
            assert await verdicts(Target(listener.url(), reach), *CASES) == PASSES
            with pytest.raises(ConnectError):
                await WireConnection.dial(Target(listener.url(), options(ca=papers.ca)))

    asyncio.run(check())


# -------------------------------------------------------------------- proxies


@pytest.mark.parametrize("scheme", ["http", "https", "socks5h", "socks4a"])
@pytest.mark.parametrize("secure", [False, True])
def test_a_proxy_is_asked_for_the_name(papers, scheme, secure):
    async def check() -> None:
        async with (
            listening(servers(), tls=papers.server if secure else None) as listener,
            proxy(scheme, listener.url(), tls=papers.server if scheme == "https" else None) as way,
        ):
            reach = options(proxy=f"{scheme}://127.0.0.1:{way.port}", ca=papers.ca)
            target = Target(f"{'wss' if secure else 'ws'}://{NAME}:7", reach)
            assert await verdicts(target, *CASES) == PASSES
            assert set(way.asked) == {(NAME, 7)}

    asyncio.run(check())


@pytest.mark.parametrize("scheme", ["socks5", "socks4"])
def test_a_proxy_can_be_asked_for_an_address(scheme):
    async def check() -> None:
        async with embedded_server() as server, proxy(scheme, server) as way:
            reach = options(
                proxy=f"{scheme}://127.0.0.1:{way.port}", resolve=[f"{NAME}:7:192.0.2.1"]
            )
            assert await verdicts(Target(f"ws://{NAME}:7", reach), *CASES) == PASSES
            assert set(way.asked) == {("c0000201", 7)}

    asyncio.run(check())


@pytest.mark.parametrize("scheme", ["http", "socks5h"])
def test_a_proxy_knows_its_users(scheme):
    async def check() -> None:
        async with embedded_server() as server, proxy(scheme, server, user=("me", PASSWORD)) as way:
            own = f"{scheme}://me:{PASSWORD}@127.0.0.1:{way.port}"
            target = Target(f"ws://{NAME}", options(proxy=own))
            assert await verdicts(target, *CASES) == PASSES
            for other in (own.replace(PASSWORD, "other"), own.replace(f"me:{PASSWORD}@", "")):
                with pytest.raises(ConnectError, match=r"the proxy 127\.0\.0\.1") as refused:
                    await WireConnection.dial(Target(f"ws://{NAME}", options(proxy=other)))
                assert ("HTTP 407" in str(refused.value)) == (scheme == "http")

    asyncio.run(check())


@pytest.mark.parametrize(
    ("scheme", "refusal", "text"),
    [
        ("http", 403, "does not connect to server.example:80: HTTP 403"),
        ("http", 502, "does not connect to server.example:80: HTTP 502"),
        ("socks5h", 4, "does not connect to server.example:80: Host unreachable"),
        ("socks4a", 1, "does not connect to server.example:80: "),
    ],
)
def test_a_proxy_that_refuses_is_named(scheme, refusal, text):
    async def check() -> None:
        async with proxy(scheme, "ws://127.0.0.1:1", refusal=refusal) as way:
            target = Target(
                f"ws://{NAME}", options(proxy=f"{scheme}://me:{PASSWORD}@127.0.0.1:{way.port}")
            )
            with pytest.raises(ConnectError) as error:
                await WireConnection.dial(target)
            assert text in str(error.value)
            assert PASSWORD not in str(error.value)

    asyncio.run(check())


def test_a_proxy_that_is_not_there_is_named():
    target = Target(f"ws://{NAME}", options(proxy="http://127.0.0.1:1"))
    with pytest.raises(ConnectError, match=r"the proxy 127\.0\.0\.1:1: connection refused"):
        asyncio.run(WireConnection.dial(target))


HTTP, SOCKS = "http://proxy.example:3128", "socks5h://proxy.example:1080"


@pytest.mark.parametrize(
    ("environment", "url", "expected"),
    [
        ({"HTTPS_PROXY": HTTP}, "wss://server.example", "http"),
        ({"https_proxy": HTTP}, "ws://server.example", "http"),
        ({"ALL_PROXY": SOCKS}, "wss://server.example", "socks5h"),
        ({"ALL_PROXY": SOCKS, "HTTPS_PROXY": HTTP}, "wss://server.example", "http"),
        ({"HTTPS_PROXY": "proxy.example:3128"}, "wss://server.example", "http"),
        ({"ALL_PROXY": SOCKS, "NO_PROXY": "server.example"}, "wss://server.example", None),
        ({"HTTPS_PROXY": HTTP, "NO_PROXY": ".example"}, "wss://server.example", None),
        ({"HTTPS_PROXY": HTTP, "NO_PROXY": "other.example"}, "wss://server.example", "http"),
        ({"ALL_PROXY": SOCKS, "NO_PROXY": "*"}, "ws://server.example", None),
        ({"HTTP_PROXY": HTTP}, "wss://server.example", None),
        ({"ALL_PROXY": SOCKS}, "ws://localhost:80", None),
        ({"ALL_PROXY": SOCKS}, "ws://a.localhost", None),
        ({"ALL_PROXY": SOCKS}, "ws://127.0.0.2", None),
        ({"ALL_PROXY": SOCKS}, "ws://[::1]:80", None),
        ({}, "wss://server.example", None),
    ],
)
def test_the_environment_names_the_proxy(monkeypatch, environment, url, expected):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    found = Reach().proxy_for(Target(url).uri)
    assert (found and found.scheme) == expected
    assert options(proxy="").proxy_for(Target(url).uri) is None


def test_no_proxy_is_used_for_a_loopback_address():
    reach = options(proxy=HTTP, resolve=[f"{NAME}:80:127.0.0.1"])
    assert reach.proxy_for(Target("ws://other.example").uri) is not None
    for url in ("ws://localhost", "ws://127.0.0.1", "ws://[::1]", f"ws://{NAME}"):
        assert reach.proxy_for(Target(url).uri) is None
    assert is_loopback("::1")
    assert not is_loopback("192.0.2.1")


def test_a_socks_proxy_has_the_port_of_socks():
    assert proxy_at("socks5://proxy.example").port == 1080
    assert proxy_at("proxy.example").port == 80


# -------------------------------------------------------------------- headers


def test_every_request_has_the_headers_that_were_given(monkeypatch, tmp_path):
    (tmp_path / "token").write_text(f"Bearer {SECRET}\n")
    monkeypatch.setenv("SESSION", "sid=1")
    wants = {"Authorization": f"Bearer {SECRET}", "Cookie": "sid=1; b=2", "X-Tenant": "e"}

    async def check() -> None:
        async with embedded_server() as server, door(server, wants) as opened:
            reach = options(
                header=[f"Authorization: @{tmp_path / 'token'}", "X-Tenant:e"],
                cookie=["env:SESSION", "b=2"],
            )
            assert await verdicts(Target(opened.url, reach), *CASES) == PASSES
            opened.heads.clear()
            with pytest.raises(ConnectError) as refused:
                await WireConnection.dial(opened.url)
            assert refused.value.status == 401

    asyncio.run(check())


def test_a_request_s_own_headers_replace_them():
    async def check() -> None:
        async with embedded_server() as server, door(server) as opened:
            target = Target(opened.url, options(origin="https://given.example", header=["Host: h"]))
            same = opened.url.replace("ws:", "http:")
            await (await WireConnection.dial(target, {"origin": same, "Host": same[7:]})).close()
            await ask(target, "GET", {"Origin": "https://own", "-Host": ""}, is_upgrade=True)
            await ask(target, "GET", {"-Origin": ""}, is_upgrade=False)
            assert opened.values("Origin") == [same, "https://own", None]
            assert opened.values("Host") == [same[7:], None, "h"]

    asyncio.run(check())


def test_the_user_of_a_url_is_sent_with_every_request():
    async def check() -> None:
        async with embedded_server() as server, door(server) as opened:
            url = opened.url.replace("://", f"://me:{PASSWORD}@")
            assert await verdicts(url, *CASES) == PASSES
            assert len(set(opened.values("Authorization"))) == 1
            assert opened.values("Authorization")[0].startswith("Basic ")

    asyncio.run(check())


# -------------------------------------------------------------------- addresses and sockets


def test_a_name_is_reached_at_another_address():
    async def check() -> None:
        async with embedded_server() as server, door(server) as opened:
            port = opened.url.rpartition(":")[2]
            reach = options(resolve=[f"{NAME}:{port}:127.0.0.1"])
            assert await verdicts(Target(f"ws://{NAME}:{port}", reach), *CASES) == PASSES
            assert set(opened.values("Host")) == {f"{NAME}:{port}"}

    asyncio.run(check())


def has_ipv6() -> bool:
    with suppress(OSError), socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        return True
    return False


@pytest.mark.skipif(not has_ipv6(), reason="this machine has no IPv6")
def test_an_address_of_ipv6():
    async def check() -> None:
        async with embedded_server() as server, door(server, host="::1") as opened:
            assert "[::1]" in opened.url
            assert await verdicts(opened.url, *CASES) == PASSES
            async with relaying(opened.url, lambda *_: None, host="::1") as relay:
                assert "[::1]" in relay.url
                assert await verdicts(relay.url, *CASES) == PASSES

    asyncio.run(check())


@pytest.mark.parametrize("secure", [False, True])
def test_a_unix_socket(papers, tmp_path, secure):
    path = tmp_path / "socket"

    async def check() -> None:
        tls = papers.server if secure else None
        async with embedded_server() as server, door(server, path=path, tls=tls) as opened:
            reach = options(unix_socket=path, **({"ca": papers.ca} if secure else {}))
            target = Target(f"{'wss' if secure else 'ws'}://{NAME}/", reach)
            assert await verdicts(target, *CASES) == PASSES
            assert set(opened.values("Host")) == {NAME}

    asyncio.run(check())


# -------------------------------------------------------------------- the relay


def test_a_relay_reaches_the_server_and_is_reached_with_tls(papers):
    async def check() -> None:
        wants = {"Authorization": SECRET, "Origin": "https://given.example"}
        seen: list[object] = []
        async with embedded_server() as server, door(server, wants) as opened:
            reach = options(header=[f"Authorization: {SECRET}"], origin=wants["Origin"])
            target = Target(opened.url, reach)
            relay = relaying(target, lambda *each: seen.append(each), tls=papers.server)
            async with relay as running:
                assert running.url.startswith("wss://")
                client = Target(running.url, options(ca=papers.ca, header=["X: 1"]))
                # The reference server refuses an origin of elsewhere, the door one of its own.
                with pytest.raises(ConnectError) as refused:
                    await WireConnection.dial(client, {"Origin": running.url})
                assert refused.value.status == 403
            assert opened.values("Origin") == [wants["Origin"]]
            assert SECRET not in repr(seen)

    asyncio.run(check())


# -------------------------------------------------------------------- options


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"header": [f"Bearer {SECRET}"]}, "a --header has no name. Try: --header 'Name: value'"),
        ({"header": [f"Bearer {SECRET}: x"]}, "a --header has no name"),
        ({"header": ["Upgrade: h2c"]}, "--header Upgrade belongs to the upgrade"),
        ({"header": ["X: env:NOT_THERE"]}, "--header X: the environment has no NOT_THERE"),
        ({"header": [f"X: env:{SECRET}"]}, "--header X: the environment has no variable"),
        ({"header": ["X: @/not/there"]}, "/not/there cannot be read: No such file"),
        ({"header": [f"X: {SECRET}\r\nY: 1"]}, "--header X has a line break"),
        ({"header": ["X: é"]}, "another character that no header can have"),
        ({"cookie": [SECRET]}, "a --cookie has no name. Try: --cookie name=value"),
        ({"origin": f"https://me:{PASSWORD}@h/path"}, "is not an origin. Try: https://HOST"),
        ({"ca": "/not/there"}, "--ca: /not/there cannot be read"),
        ({"ca": "{text}"}, "has no certificate to trust. Try: a PEM file"),
        ({"ca": "{ca}", "insecure": True}, "--insecure and --ca exclude each other"),
        ({"cert": "{ca}"}, "a certificate or its key is missing. Try"),
        ({"cert": "{cert}", "key": "{other_key}"}, "the key belongs to another certificate"),
        ({"cert": "{cert}", "key": "{encrypted}"}, "the key is encrypted. Try: openssl pkey"),
        ({"key": "{key}"}, "--key has no certificate. Try: --cert FILE --key FILE"),
        ({"proxy": f"ftp://me:{PASSWORD}@h"}, "--proxy: ftp://***@h is not the URL of a proxy"),
        ({"proxy": f"http://{PASSWORD}@h"}, "--proxy: http://***@h is not the URL of a proxy"),
        ({"proxy": "h:port"}, "it has no valid port. Try: http://HOST:PORT"),
        ({"resolve": ["h:80"]}, "--resolve h:80 is not HOST:PORT:ADDRESS"),
        ({"resolve": ["h:0:192.0.2.1"]}, "is not HOST:PORT:ADDRESS"),
        ({"resolve": ["h:80:other"]}, "other is not an address"),
        ({"unix_socket": "/not/there"}, "--unix-socket: /not/there: No such file"),
        ({"unix_socket": "{text}"}, "is not a socket"),
        ({"unix_socket": "/x", "proxy": "http://h"}, "--unix-socket excludes --proxy"),
    ],
)
def test_a_wrong_option_says_what_to_do_and_no_secret(papers, tmp_path, values, complaint):
    files = {"text": tmp_path / "text", "ca": papers.ca, "cert": papers.cert, "key": papers.key}
    files["text"].write_text("no certificate\n")
    files["other_key"], files["encrypted"] = tmp_path / "other.key", tmp_path / "encrypted.key"
    trustme.CA().issue_cert("x").private_key_pem.write_to_path(files["other_key"])
    if "{encrypted}" in values.values():
        encrypt = ["openssl", "pkey", "-in", papers.key, "-aes128", "-passout", "pass:x", "-out"]
        subprocess.run([*encrypt, files["encrypted"]], check=True, capture_output=True)
    given = {
        name: value.format(**files) if isinstance(value, str) else value
        for name, value in values.items()
    }
    with pytest.raises(ValueError, match=r"--|Try: ") as error:
        read_reach(given)
    text = str(error.value)
    assert complaint in text
    assert "\n" not in text
    assert SECRET not in text
    assert PASSWORD not in text


def test_options_are_shown_without_their_secrets():
    reached = read_reach(
        {
            "header": [f"Authorization: {SECRET}", "X: env:HOME", "X-Conformance-Id: 7"],
            "cookie": [f"sid={SECRET}"],
            "origin": "https://h",
            "insecure": True,
            "proxy": f"http://me:{PASSWORD}@h:1",
        }
    )
    assert reached.command("neffos-wire test server ws://h") == (
        "neffos-wire test server ws://h --header 'Authorization: ***' --header 'X: env:HOME' "
        "--header 'X-Conformance-Id: 7' --origin https://h --cookie '***' --insecure "
        "--proxy 'http://***@h:1'"
    )
    assert Reached().command("neffos-wire") == "neffos-wire"
    assert SECRET not in repr(reached)
    assert PASSWORD not in repr(reached)


# -------------------------------------------------------------------- commands


def test_every_command_reaches_a_server_that_wants_something(papers, tmp_path):
    wants = {"Authorization": f"Bearer {SECRET}", "Cookie": f"sid={SECRET}"}
    (tmp_path / "token").write_text(f"Bearer {SECRET}")
    given = [
        *("--header", f"Authorization: @{tmp_path / 'token'}"),
        *("--cookie", f"sid={SECRET}", "--ca", str(papers.ca)),
    ]
    with beside(embedded_server()) as server, beside(door(server, wants, tls=papers.server)) as way:
        forms = ("junit", "markdown", "html", "write-known-failures")
        reports = [part for form in forms for part in (f"--{form}", str(tmp_path / form))]
        done = run(
            *("test", "server", way.url, *given, *reports, "--case", "HS-1.1", "--case", "SEC-11"),
            *("--report", tmp_path / "report.json", "--save-recordings", tmp_path / "saved", "-v"),
        )
        assert done.returncode == 0, done.stderr
        command = json.loads((tmp_path / "report.json").read_text())["command"]
        assert f"--header 'Authorization: @{tmp_path / 'token'}' --cookie '***'" in command
        shown = [done]
        recording = next((tmp_path / "saved").glob("HS-1.1*"))
        done = run("replay", recording, "--server", way.url, *given, "--json")
        assert done.returncode == 0, done.stdout
        shown.append(done)
        client = f"mine={DRIVER}"
        both = ("--server", f"mine={way.url}", "--client", client)
        done = run("matrix", *both, *given, "--json")
        assert done.returncode == 0, done.stdout
        shown.append(done)
        failed = run("test", "server", way.url, "--ca", papers.ca)
        assert failed.returncode == 2
        assert b"HTTP 401" in failed.stderr
        shown.append(failed)
    written = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "token"]
    assert len(written) > len(forms)
    for text in (
        *(path.read_text("utf-8") for path in written),
        *(f"{each.stdout!r} {each.stderr!r}" for each in shown),
    ):
        assert SECRET not in text


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["test", "server", "--cookie", "a=b"], b"--cookie is of no use without a URL"),
        (["replay", "f", "--cookie", "a=b", "--client", "x"], b"is of no use without --server"),
        (["matrix", "--cookie", "a=b"], b"--cookie is of no use without --server NAME=URL"),
        (["record", "ws://h", "-o", "r", "--tls-key", "f"], b"--tls-key has no certificate"),
        (
            ["record", "ws://h", "-o", "r", "--tls-cert", "f"],
            b"or its key is missing",
        ),
        (["test", "server", "http://h"], b"http://h is not a WebSocket URL. Try: ws://HOST"),
        (["matrix", "--server", "a=h"], b"h is not a WebSocket URL. Try: ws://HOST"),
        (["test", "server", "ws://h", "--ca", "gone"], b"--ca: gone cannot be read"),
    ],
)
def test_a_wrong_command_line_is_a_usage_error(tmp_path, arguments, complaint):
    (tmp_path / "f").write_text("")
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert not (tmp_path / "r").exists()


def test_the_plugin_reaches_a_server_that_wants_something(run_pytest):
    with beside(embedded_server()) as server, beside(door(server, {"X": SECRET})) as way:
        chosen = ("--neffos-server", way.url, "neffos-server::HS-1.1")
        for given, status, text in (
            (("--neffos-header", f"X: {SECRET}"), 0, "1 passed"),
            (("--neffos-ca", "gone"), 4, "--neffos-ca: gone cannot be read"),
        ):
            done = run_pytest(*chosen, *given)
            shown = done.stdout.str() + done.stderr.str()
            assert (done.ret, text in shown) == (status, True), shown
            assert SECRET not in shown
