"""The recording relay: transparent, complete, and readable whatever ends it."""

import asyncio
import http.client
import io
import json
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner
from websockets.utils import accept_key

from neffos_asyncio import ReplyError, Server, dial, listening
from neffos_conformance.cases.definition import select, server_cases
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.cli.main import cli
from neffos_conformance.cli.record import _LiveCheck
from neffos_conformance.reference.embedded import embedded_server
from neffos_conformance.runner.playback import Timeouts
from neffos_conformance.runner.run import run_cases, to_server
from neffos_conformance.wire import connection as connection_module
from neffos_conformance.wire import relay as relay_module
from neffos_conformance.wire.connection import (
    MAX_HELD,
    MAX_PARTS,
    TURN,
    ConnectError,
    ConnectionClosed,
    WireConnection,
)
from neffos_conformance.wire.reach import below
from neffos_conformance.wire.relay import relaying
from neffos_conformance.wire.transcript import (
    ConnectionOpened,
    Entry,
    UnreadableLine,
    read_lines,
    read_transcript,
    values_of,
)

PROGRAM = Path(sys.executable).with_name("neffos-wire")
HANG = 60.0
"""Seconds after which a test has failed; each takes far less than one."""


RUN_TIMEOUT = 90.0
"""Seconds for many cases; they take a tenth of it."""

CARRIED = ["FR", "HS", "NM", "TR", "SEC-2", "SEC-16"]
"""What a relay could get wrong: payloads and their kinds, HTTP, fragments, bytes that are not
WebSocket, and ends. What payloads mean is nothing to it; and the cases on what a server keeps for a
client that does not read (SEC-8) send 64 MiB."""


def run(test: Callable[[], Awaitable[None]], seconds: float = HANG) -> None:
    async def bounded() -> None:
        async with asyncio.timeout(seconds):
            await test()

    asyncio.run(bounded())


class Notes(list):
    """What a relay told, in order."""

    def note(self, connection, from_client, content) -> None:
        self.append((connection, from_client, content))


@asynccontextmanager
async def played() -> AsyncIterator[tuple[str, asyncio.Queue[WireConnection]]]:
    """Run a server that a test plays by hand."""
    queue: asyncio.Queue[WireConnection] = asyncio.Queue()

    async def client(reader, writer) -> None:
        incoming = await WireConnection.incoming(reader, writer, is_patient=True)
        if incoming is not None and (connection := incoming.accept()):
            queue.put_nowait(connection)

    server = await asyncio.start_server(client, "127.0.0.1", 0)
    try:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/", queue
    finally:
        server.close()


@asynccontextmanager
async def between() -> AsyncIterator[tuple[WireConnection, WireConnection, Notes]]:
    """Give a client and a server with a relay between them, and what it recorded."""
    notes = Notes()
    async with played() as (url, queue), relaying(url, notes.note) as relay:
        client = await WireConnection.dial(relay.url)
        server = await queue.get()
        yield client, server, notes
        await client.close()
        await server.close()
        await relay.idle()


def test_what_is_sent_on_a_connection_that_was_lost_is_not_logged(caplog):
    async def test() -> None:
        async with played() as (url, queue):
            client = await WireConnection.dial(url)
            server = await queue.get()
            client.abort()  # before it has read the end
            for _ in range(20):
                await client.send("x")
            await client.close()
            await server.close()

    run(test)
    assert caplog.messages == []


def test_a_relay_holds_little_for_a_peer_that_does_not_read():
    """Otherwise a server that limits what it keeps (SEC-8) seems to have no limit behind it."""
    messages = [bytes(1 << 19)] * 16

    async def test() -> None:
        async with played() as (url, queue):
            sender = await WireConnection.dial(url)
            holder = await queue.get()

            async def send() -> None:
                for each in messages:
                    await sender.send(each)

            sending = asyncio.create_task(send())
            while not holder._is_full():
                await asyncio.sleep(0)
            assert holder._waiting_bytes <= MAX_HELD + len(messages[0])
            assert [await holder.receive() for _ in messages] == messages
            await sending
            await sender.close()
            await holder.close()

    run(test)


def test_messages_pass_both_ways_as_they_are_and_are_recorded():
    contents = ["M", "", b"", b"\x00\xff", "not UTF-8: \udcff", "x" * 200_000, "é 漢字"]

    async def test() -> None:
        async with between() as (client, server, notes):
            for content in contents:
                await client.send(content)
                assert await server.receive() == content
                await server.send(content)
                assert await client.receive() == content
        recorded = [each[2] for each in notes if each[1]][1 : len(contents) + 1]
        assert recorded == contents
        assert [each[2] for each in notes if not each[1]] == contents
        assert notes[0] == (1, True, ConnectionOpened("", {}))

    run(test)


@pytest.mark.parametrize("is_client", [True, False])
@pytest.mark.parametrize("code", [1000, 1001, 1008, 4321])
def test_an_end_passes_with_its_code(is_client, code):
    async def test() -> None:
        async with between() as (client, server, notes):
            one, other = (client, server) if is_client else (server, client)
            await one.send_close(code, "why")
            assert await other.receive() == ConnectionClosed(code, "why")
        assert notes[-1] == (1, is_client, ConnectionClosed(code, "why"))

    run(test)


@pytest.mark.parametrize("is_client", [True, False])
def test_an_end_without_a_close_frame_passes_as_such(is_client):
    async def test() -> None:
        async with between() as (client, server, notes):
            one, other = (client, server) if is_client else (server, client)
            one.abort()
            assert await other.receive() == ConnectionClosed(None)
        assert notes[-1] == (1, is_client, ConnectionClosed(None))

    run(test)


def test_a_slow_side_slows_the_other_down_and_nothing_is_lost():
    async def test() -> None:
        async with between() as (client, server, notes):
            count, size = 3_000, 4_000  # more than the system keeps for a connection

            async def send() -> None:
                for number in range(count):
                    await client.send(f"{number}".zfill(size))

            sending = asyncio.create_task(send())
            for number in range(count):
                assert int(await server.receive()) == number
            await sending
        assert len(notes) == count + 2

    run(test)


@pytest.mark.whole
def test_the_suite_finds_the_same_through_a_relay():
    cases = select(server_cases(), CARRIED)

    async def test() -> None:
        async with embedded_server() as url, relaying(url, Notes().note) as relay:
            run_case = to_server(relay.url, Timeouts(case=RUN_TIMEOUT, close=HANG))
            results = [result async for result in run_cases(run_case, cases)]
        assert len(results) == len(cases)
        assert {r.case.id: r.explanation for r in results if r.verdict is not Verdict.PASS} == {}
        assert {r.case.id: r.findings for r in results if r.findings} == {}

    run(test, RUN_TIMEOUT)


def test_path_query_and_headers_reach_the_server_and_few_headers_the_recording():
    async def test() -> None:
        seen = []
        server = Server({"app": {}}, on_connect=lambda connection: seen.append(connection.request))
        notes = Notes()
        async with (
            listening({"/base/mixed": server}) as listener,
            relaying(listener.url("/base?a=1"), notes.note) as relay,
            await dial(
                f"{relay.url}/mixed?b=2",
                headers={"Authorization": "secret", "X-Conformance-Id": "7"},
            ),
        ):
            assert seen[0].query == (("a", "1"), ("b", "2"))
            assert seen[0].headers["Authorization"] == "secret"
            assert notes[0][2] == ConnectionOpened("/mixed?b=2", {"X-Conformance-Id": "7"})

    run(test)


def test_a_page_of_the_relay_is_a_page_of_the_server_and_another_is_not():
    async def test() -> None:
        server = Server({"app": {}})
        async with (
            listening(server) as listener,
            relaying(listener.url(), Notes().note) as relay,
        ):
            own = relay.url.replace("ws:", "http:")
            connection = await WireConnection.dial(relay.url, {"Origin": own})
            await connection.close()
            with pytest.raises(ConnectError) as refused:
                await WireConnection.dial(relay.url, {"Origin": "http://elsewhere"})
            assert refused.value.status == 403

    run(test)


@pytest.mark.parametrize(
    ("name", "value"), [("X-Conformance-Id", "caf\xe9 \xff"), ("Origin", "http://[no")]
)
def test_odd_headers_reach_the_server_as_they_are(name, value):
    async def test() -> None:
        notes = Notes()
        seen = asyncio.Queue()

        async def client(reader, writer) -> None:
            incoming = await WireConnection.incoming(reader, writer)
            seen.put_nowait(incoming.request.headers[name])
            await incoming.refuse(403)

        server = await asyncio.start_server(client, "127.0.0.1", 0)
        url = f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        async with server, relaying(url, notes.note) as relay:
            with pytest.raises(ConnectError, match="403"):
                await WireConnection.dial(relay.url, {name: value})
            assert await seen.get() == value

    run(test)


def test_a_server_that_refuses_or_is_not_there_is_told_to_the_client():
    async def test() -> None:
        server = Server({"app": {}})
        async with (
            listening({"/chat": server}) as listener,
            relaying(listener.url(), Notes().note) as relay,
        ):
            with pytest.raises(ConnectError) as refused:
                await WireConnection.dial(relay.url)
            assert refused.value.status == 404
        async with relaying(listener.url(), Notes().note) as relay:
            with pytest.raises(ConnectError) as refused:
                await WireConnection.dial(relay.url)
            assert refused.value.status == 502

    run(test)


@asynccontextmanager
async def raw_server(answer: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Run a server that answers each request with bytes, its key filled in, and keeps the head."""
    heads: list[bytes] = []

    async def client(reader, writer) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        heads.append(head)
        key = re.search(rb"(?i)sec-websocket-key: *(\S+)", head)
        accept = accept_key(key[1].decode()).encode() if key else b""
        writer.write(answer.replace(b"ACCEPT", accept))
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(client, "127.0.0.1", 0)
    async with server:
        yield f"ws://127.0.0.1:{server.sockets[0].getsockname()[1]}/", heads


@asynccontextmanager
async def silent_server() -> AsyncIterator[str]:
    """Run a server that accepts connections, and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"ws://127.0.0.1:{listener.getsockname()[1]}/"


async def request(url: str, *headers: str, method: str = "GET") -> bytes:
    """Send a request to a relay, and give the whole response."""
    host, port = url.removeprefix("ws://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write("\r\n".join([f"{method} / HTTP/1.1", f"Host: {host}", *headers, "", ""]).encode())
    found = await reader.read()
    writer.close()
    await writer.wait_closed()
    return found


UPGRADING = (
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
)


def test_subprotocols_cookies_and_repeated_headers_pass_both_ways():
    answer = (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: ACCEPT\r\nSec-WebSocket-Protocol: neffos\r\n"
        b"Set-Cookie: a=1\r\nSet-Cookie: b=2\r\nX-Own: yes\r\nDate: yesterday\r\n\r\n"
    )

    async def test() -> None:
        async with raw_server(answer) as (url, heads), relaying(url, Notes().note) as relay:
            found = await request(
                relay.url,
                *UPGRADING,
                "Sec-WebSocket-Protocol: other, neffos",
                "Sec-WebSocket-Extensions: permessage-deflate",
                "Cookie: sid=1",
                "X-Many: 1",
                "X-Many: 2",
                "Connection: X-Hop",
                "X-Hop: no",
            )
            head = heads[0].split(b"\r\n")
            assert b"Sec-WebSocket-Protocol: other, neffos" in head
            assert b"Cookie: sid=1" in head
            assert [line for line in head if line.startswith(b"X-Many")] == [
                b"X-Many: 1",
                b"X-Many: 2",
            ]
            assert not [line for line in head if line.startswith((b"X-Hop", b"Sec-WebSocket-Ext"))]
            lines = found.partition(b"\r\n\r\n")[0].split(b"\r\n")
            assert lines[0] == b"HTTP/1.1 101 Switching Protocols"
            for line in (
                b"Sec-WebSocket-Protocol: neffos",
                b"Set-Cookie: a=1",
                b"Set-Cookie: b=2",
                b"X-Own: yes",
            ):
                assert lines.count(line) == 1
            assert len([line for line in lines if line.lower().startswith(b"upgrade:")]) == 1
            dates = [line.lower() for line in lines if line.lower().startswith(b"date:")]
            assert dates == [b"date: yesterday"]

    run(test)


def test_a_subprotocol_that_was_not_offered_is_named():
    answer = (
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: ACCEPT\r\nSec-WebSocket-Protocol: surprise\r\n\r\n"
    )
    told: list[str] = []

    async def test() -> None:
        async with (
            raw_server(answer) as (url, _),
            relaying(url, Notes().note, notice=told.append) as relay,
        ):
            found = await request(relay.url, *UPGRADING, "Sec-WebSocket-Protocol: neffos")
            assert found.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
            assert b"surprise" in found

    run(test)
    assert "surprise" in told[0]


@pytest.mark.parametrize(
    "status", ["522 ", "401 Go away", "599 Odd one", "302 Found", "200 OK", "418 I'm a Teapot"]
)
@pytest.mark.parametrize("headers", [UPGRADING, ()], ids=["upgrade", "no upgrade"])
def test_a_refusal_passes_with_its_status_line_headers_and_body(headers, status):
    answer = (
        f"HTTP/1.1 {status}\r\nWWW-Authenticate: Bearer\r\nSet-Cookie: a=1\r\n"
        "Set-Cookie: b=2\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nno to\r\n3\r\nken\r\n0\r\n\r\n"
    ).encode()
    told: list[str] = []

    async def test() -> None:
        async with (
            raw_server(answer) as (url, _),
            relaying(url, Notes().note, notice=told.append) as relay,
        ):
            found = await request(relay.url, *headers)
            head, _, body = found.partition(b"\r\n\r\n")
            lines = head.split(b"\r\n")
            assert lines[0] == f"HTTP/1.1 {status}".encode()
            names = {line.lower() for line in lines}  # h11 gives them in lower case
            assert {b"www-authenticate: bearer", b"set-cookie: a=1", b"set-cookie: b=2"} <= names
            assert b"content-length: 8" in names
            assert not [line for line in names if line.startswith(b"transfer")]
            assert body == b"no token"

    run(test)
    assert [f"HTTP {status[:3]}" in each for each in told] == [True] * bool(headers)


def test_a_body_beyond_the_bound_is_not_passed_on(monkeypatch):
    monkeypatch.setattr(relay_module, "MAX_BODY", 1000)
    told: list[str] = []

    async def test() -> None:
        async with (
            raw_server(b"HTTP/1.1 404 Not Found\r\n\r\n" + bytes(1001)) as (url, _),
            relaying(url, Notes().note, notice=told.append) as relay,
        ):
            found = await request(relay.url)
            assert found.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
            assert found.endswith(b"the body of the answer has more than 1000 bytes\n")

    run(test)
    assert len(told) == 1


@pytest.mark.parametrize("headers", [UPGRADING, ()], ids=["upgrade", "no upgrade"])
def test_a_server_that_does_not_respond_is_not_waited_for_indefinitely(monkeypatch, headers):
    monkeypatch.setattr(relay_module, "RESPONSE_DEADLINE", 0.05)
    told: list[str] = []

    async def test() -> None:
        async with silent_server() as url, relaying(url, Notes().note, notice=told.append) as relay:
            found = await request(relay.url, *headers)
            assert found.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
            assert b"did not respond within 0.05 s" in found

    run(test)
    assert len(told) == 1


def test_a_server_that_is_not_there_is_named_to_client_and_user():
    told: list[str] = []

    async def test() -> None:
        async with relaying("ws://127.0.0.1:1", Notes().note, notice=told.append) as relay:
            found = await request(relay.url, *UPGRADING)
            assert found.startswith(b"HTTP/1.1 502 Bad Gateway\r\n")
            assert b"no connection to 127.0.0.1:1" in found

    run(test)
    assert "a client was refused: no connection to 127.0.0.1:1" in told[0]


@pytest.mark.parametrize("is_client", [True, False])
def test_the_relays_own_bound_is_recorded_as_its_own(monkeypatch, is_client):
    monkeypatch.setattr(connection_module, "MAX_MESSAGE", 1 << 20)
    told: list[str] = []

    async def test() -> None:
        notes = Notes()
        async with (
            played() as (url, queue),
            relaying(url, notes.note, notice=told.append) as relay,
        ):
            client = await WireConnection.dial(relay.url)
            server = await queue.get()
            sender, other = (client, server) if is_client else (server, client)
            await sender.send_parts([bytes(1 << 19)] * 3, is_text=False)
            closed = await other.receive()
            assert (closed.code, closed.reason) == (
                1011,
                "the relay ended the connection: it sent a message of more than 1 MiB",
            )
            await client.close()
            await server.close()
            await relay.idle()
        assert notes[1:] == [
            (1, is_client, ConnectionClosed(None, cut="it sent a message of more than 1 MiB"))
        ]
        end = values_of(Entry(0, 0.0, *notes[1]))
        assert end["closed"]["cut"] == "it sent a message of more than 1 MiB"

    run(test)
    peer = "client" if is_client else "server"
    assert told == [
        f"the relay ended connection 1 because of the {peer}: it sent a message of more than 1 MiB"
    ]


def test_a_message_in_very_many_fragments_passes():
    async def test() -> None:
        async with between() as (client, server, _):
            await client.send_parts([b"x"] * (2 * MAX_PARTS), is_text=True)
            assert await server.receive() == "x" * (2 * MAX_PARTS)

    run(test)


def test_a_flood_of_small_frames_leaves_others_their_turns():
    frames = 5_000
    size = frames * len(b"\x81\x81\0\0\0\0x")

    async def test() -> None:
        async with played() as (url, queue), relaying(url, Notes().note) as relay:
            client = await WireConnection.dial(relay.url)
            server = await queue.get()
            turns = 0

            async def other() -> None:
                nonlocal turns
                while True:
                    await asyncio.sleep(0)
                    turns += 1

            task = asyncio.create_task(other())
            await client.send_raw(b"\x81\x81\0\0\0\0x" * frames)
            for _ in range(frames):
                assert await server.receive() == "x"
            task.cancel()
            assert turns >= size // TURN
            await client.close()
            await server.close()
            await relay.idle()

    run(test)


def test_a_probe_is_answered_as_the_server_answers_it():
    async def test() -> None:
        async with embedded_server() as url, relaying(url, Notes().note) as relay:
            host, port = relay.url.removeprefix("ws://").split(":")

            def ask(method: str) -> tuple[int, str | None]:
                connection = http.client.HTTPConnection(host, int(port), timeout=HANG)
                connection.request(method, "/")
                answer = connection.getresponse()
                connection.close()
                return answer.status, answer.getheader("Allow")

            assert await asyncio.to_thread(ask, "HEAD") == (200, "GET, HEAD")
            assert await asyncio.to_thread(ask, "POST") == (405, "GET, HEAD")

    run(test)


@pytest.mark.parametrize("headers", [UPGRADING, ()], ids=["upgrade", "no upgrade"])
@pytest.mark.parametrize("method", ["HEAD", "GET", "POST"])
def test_bytes_behind_a_request_are_no_part_of_it(method, headers, caplog):
    async def test() -> None:
        async with embedded_server() as url, relaying(url, Notes().note) as relay:
            host, port = relay.url.removeprefix("ws://").split(":")
            reader, writer = await asyncio.open_connection(host, int(port))
            lines = [f"{method} / HTTP/1.1", f"Host: {host}", *headers, "", ""]
            wrong = b"\x8f\x80\0\0\0\0"  # no opcode is 15
            writer.write("\r\n".join(lines).encode() + wrong * 100)
            status = int((await reader.read()).split()[1])
            is_upgrade = method == "GET" and headers
            assert status == (101 if is_upgrade else {"HEAD": 200, "GET": 426, "POST": 405}[method])
            writer.close()
            await relay.idle()

    run(test)
    assert [each.getMessage() for each in caplog.records if each.levelname == "ERROR"] == []


def test_a_server_is_left_if_the_opening_cannot_be_recorded():
    def note(*_) -> None:
        raise OSError("no space left")

    async def test() -> None:
        async with played() as (url, queue), relaying(url, note) as relay:
            client = await WireConnection.dial(relay.url)
            server = await queue.get()
            assert await server.receive() == ConnectionClosed(None)
            with pytest.raises(OSError, match="no space left"):
                await relay.failed
            await client.close()
            await server.close()

    run(test)


def test_what_cannot_be_recorded_is_not_forwarded():
    async def test() -> None:
        def note(_, __, content) -> None:
            if content == "second":
                raise OSError("no space left")

        async with played() as (url, queue), relaying(url, note) as relay:
            client = await WireConnection.dial(relay.url)
            server = await queue.get()
            await client.send("first")
            assert await server.receive() == "first"
            await client.send("second")
            assert isinstance(await server.receive(), ConnectionClosed)
            with pytest.raises(OSError, match="no space left"):
                await relay.failed
            await client.close()
            await server.close()

    run(test)


def test_two_connections_are_numbered_apart():
    async def test() -> None:
        notes = Notes()
        async with embedded_server() as url, relaying(url, notes.note) as relay:
            async with await dial(relay.url), await dial(relay.url):
                pass
            await relay.idle()
        assert {each[0] for each in notes} == {1, 2}

    run(test)


@pytest.mark.parametrize(
    ("server", "target", "url"),
    [
        ("ws://h/", "/", "ws://h/"),
        ("ws://h", "/", "ws://h/"),
        ("ws://h/a", "/", "ws://h/a"),
        ("ws://h/a", "/mixed", "ws://h/a/mixed"),
        ("ws://h/a/", "/mixed?x=1", "ws://h/a/mixed?x=1"),
        ("ws://h/a?k=v", "/?x=1", "ws://h/a?k=v&x=1"),
        ("ws://h/a", "", "ws://h/a"),
    ],
)
def test_a_clients_target_is_put_below_the_servers_url(server, target, url):
    assert below(server, target) == url


# -------------------------------------------------------------------- the command


class Recording:
    """A running ``neffos-wire record``."""

    def __init__(self, process: asyncio.subprocess.Process, url: str) -> None:
        self.process = process
        self.url = url
        self.errors = ""


@asynccontextmanager
async def recording(path: Path, url: str, *options: str) -> AsyncIterator[Recording]:
    """Record into a file until the block is left."""
    process = await asyncio.create_subprocess_exec(
        str(PROGRAM), "record", url, "-o", str(path), "--json", *options,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    ready = json.loads(await process.stdout.readline())
    recorder = Recording(process, ready["endpoints"]["relay"])
    try:
        yield recorder
    finally:
        process.stdin.close()
        recorder.errors = (await process.stderr.read()).decode()
        await process.wait()


def test_record_puts_a_network_before_the_relay(tmp_path):
    async def test() -> None:
        path = tmp_path / "r.jsonl"
        async with (
            embedded_server() as url,
            recording(path, url, "--network", "crumbs") as recorder,
            await dial(recorder.url) as client,
        ):
            namespace = await client.connect("app")
            assert (await namespace.ask("echo", "hi")).body == "hi"
        assert any("hi" in str(each.content) for each in read_transcript(path).entries)

    asyncio.run(test())


def test_record_writes_messages_and_checks_them(tmp_path):
    async def test() -> None:
        path = tmp_path / "deep" / "r.jsonl"
        async with embedded_server() as url, recording(path, url, "--check") as recorder:
            async with await dial(recorder.url) as client:
                app = await client.connect("app")
                assert (await app.ask("echo", "hi")).body == "hi"
                with pytest.raises(ReplyError):
                    await client.connect("nowhere")
            bad = await WireConnection.dial(recorder.url)
            await bad.send("Mxyz")
            await bad.receive()
            await bad.close()
        first, *entries = read_lines(io.BytesIO(path.read_bytes()))
        assert first["how"] == "neffos-wire record"
        assert not any(isinstance(entry, UnreadableLine) for entry in entries)
        assert [entry.content for entry in entries[:2]] == [ConnectionOpened("", {}), "M"]
        assert "connection 2: the client violated HS-2" in recorder.errors
        assert recorder.process.returncode == 1

    run(test)


def test_record_checks_no_message_after_the_end(tmp_path, capsys):
    live = _LiveCheck({}, is_shown=True)
    for said in (
        (True, "M"),
        (False, "A7"),
        (True, "$1;app;;_OnNamespaceConnect;0;0;"),
        (False, "$1;;;;;;"),
        (True, ConnectionClosed(1000)),
        (False, ";app;;news;0;0;hi"),
    ):
        live.add(Entry(0, 0.0, 1, *said))
    assert not live.has_failed
    live.add(Entry(0, 0.0, 2, True, ";any;;say;0;0;hi"))
    assert live.has_failed
    assert "connection 2" in capsys.readouterr().err


def test_a_recording_that_is_killed_is_readable_up_to_its_last_line(tmp_path):
    async def test() -> None:
        path = tmp_path / "r.jsonl"
        async with embedded_server() as url, recording(path, url) as recorder:
            client = await dial(recorder.url)
            app = await client.connect("app")
            for number in range(50):
                assert (await app.ask("echo", f"{number}")).body == f"{number}"
            recorder.process.send_signal(signal.SIGKILL)
            await recorder.process.wait()
            await client.close()
        lines = read_lines(io.BytesIO(path.read_bytes()))
        entries = [each for each in lines if isinstance(each, Entry)]
        assert entries[-1].content.endswith(";echo;0;0;49")

    run(test)


def test_a_url_that_is_none_replaces_no_recording(tmp_path):
    path = tmp_path / "r.jsonl"
    path.write_text("kept")
    done = subprocess.run([PROGRAM, "record", "http://h", "-o", path], capture_output=True)
    assert done.returncode == 2
    assert path.read_text() == "kept"


def test_record_says_what_is_wrong_with_its_arguments(tmp_path):
    for url, file, words in [
        ("http://h", tmp_path / "r.jsonl", "is not a WebSocket URL"),
        ("ws://h", tmp_path, "is a directory"),
    ]:
        done = subprocess.run([PROGRAM, "record", url, "-o", file], capture_output=True, text=True)
        assert done.returncode == 2
        assert words in done.stderr


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--prefix", "p"], "--prefix is of no use without --broker"),
        (["--broker", "http://h"], "a broker is at redis://"),
        (["--broker", "redis://u:geheim@127.0.0.1:9"], "no broker at redis://***@127.0.0.1:9"),
        (["--server-name", "a", "--server-name", "b"], "more names than servers"),
    ],
)
def test_a_cluster_that_cannot_be_recorded_replaces_no_recording(tmp_path, options, words):
    path = tmp_path / "r.jsonl"
    path.write_text("kept")
    result = CliRunner().invoke(cli, ["record", "ws://h", "-o", str(path), *options])
    assert result.exit_code == 2
    assert words in " ".join(result.output.split())
    assert "geheim" not in result.output
    assert path.read_text() == "kept"
