"""What the reference server answers on the level of HTTP."""

import asyncio
from collections.abc import Mapping

import pytest

from mutation import work_clock
from neffos_asyncio import ANY_ORIGIN, Listener, ReplyError, Server, dial, listening
from neffos_conformance.wire.connection import ConnectError, WireConnection

UPGRADE = {
    "Upgrade": "websocket",
    "Connection": "Upgrade",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
}
HANG = 10.0


async def answer(
    listener: Listener, method: str, headers: Mapping[str, str], path: str = "/"
) -> tuple[int, dict[str, str], bytes]:
    """Send a request and give the status, the headers and what follows."""
    reader, writer = await asyncio.open_connection(listener.host, listener.port)
    head = [f"{method} {path} HTTP/1.1", "Host: here"]
    head += [f"{name}: {value}" for name, value in headers.items()]
    writer.write("\r\n".join([*head, "", ""]).encode())
    async with asyncio.timeout(HANG):
        text = (await reader.readuntil(b"\r\n\r\n")).decode()
        status, *lines = text.strip().split("\r\n")
        body = b"" if " 101 " in status else await reader.read()
    writer.transport.abort()
    found = dict(line.split(": ", 1) for line in lines)
    return int(status.split()[1]), found, body


def asked(method: str, headers: Mapping[str, str], path: str = "/", **options):
    async def run():
        async with listening({"/": Server({"app": {}}, **options)}) as listener:
            return await answer(listener, method, headers, path)

    return work_clock.run(run())


def test_a_sound_upgrade_is_accepted_and_no_subprotocol_chosen():
    status, headers, _ = asked("GET", {**UPGRADE, "Sec-WebSocket-Protocol": "neffos"})
    assert status == 101
    assert headers["Sec-WebSocket-Accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="  # RFC 6455, 1.3
    assert "Sec-WebSocket-Protocol" not in headers


def test_head_is_answered_without_an_upgrade():  # TR-3
    status, headers, body = asked("HEAD", {})
    assert (status, body) == (200, b"")
    assert "GET" in headers["Allow"]


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_another_method_is_not_allowed(method):  # TR-6
    status, headers, _ = asked(method, UPGRADE)
    assert status == 405
    assert "GET" in headers["Allow"]
    assert headers["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize(
    "wrong",
    [
        {"Upgrade": ""},
        {"Connection": "close"},
        {"Sec-WebSocket-Version": "12"},
        {"Sec-WebSocket-Key": "short"},
    ],
)
def test_a_get_that_is_no_upgrade_is_refused(wrong):  # TR-7
    status, _, _ = asked("GET", {**UPGRADE, **wrong})
    assert 400 <= status < 500


def test_a_path_where_nothing_is_served_is_not_found():
    assert asked("GET", UPGRADE, "/elsewhere")[0] == 404


def test_a_query_is_no_part_of_the_path():
    assert asked("GET", UPGRADE, "/?token=1")[0] == 101


@pytest.mark.parametrize(
    ("origin", "origins", "status"),
    [
        ("http://here", None, 101),
        ("http://elsewhere", None, 403),
        ("null", None, 403),
        ("http://elsewhere", ["http://elsewhere"], 101),
        ("http://here", ["http://elsewhere"], 403),
        ("http://elsewhere", [ANY_ORIGIN], 101),
    ],
)
def test_a_page_of_another_site_is_refused_unless_it_is_named(origin, origins, status):  # SEC-9
    assert asked("GET", {**UPGRADE, "Origin": origin}, origins=origins)[0] == status


def test_too_many_connections_are_answered_so():
    async def run() -> None:
        async with listening(Server({"app": {}}, max_connections=1)) as listener:
            async with await dial(listener.url()):
                assert (await answer(listener, "GET", UPGRADE))[0] == 503
            async with asyncio.timeout(HANG):
                while (await answer(listener, "GET", UPGRADE))[0] == 503:
                    await asyncio.sleep(0)  # until the server saw the end of the first

    work_clock.run(run())


def test_an_id_generator_that_fails_is_a_failure_of_the_server_and_tells_nothing():
    async def run() -> None:
        def fail(_):
            raise RuntimeError("the password is swordfish")

        async with listening(Server({"app": {}}, id_generator=fail)) as listener:
            status, _, body = await answer(listener, "GET", UPGRADE)
            assert status == 500
            assert b"swordfish" not in body

    work_clock.run(run())


def test_an_empty_id_is_none():  # HS-6
    assert asked("GET", UPGRADE, id_generator=lambda _: "")[0] == 500


def test_a_header_by_url_reaches_the_application():  # TR-8
    async def run() -> None:
        seen = []

        async def look(connection) -> None:
            seen.append(connection.request.headers.get("X-Token"))

        async with listening(Server({"app": {}}, on_connect=look)) as listener:
            url = listener.url("/?x-websocket-header-X-Token=a%20b")
            async with await dial(url):
                assert seen == ["a b"]

    work_clock.run(run())


def test_the_end_of_a_server_is_announced_with_1001():  # TR-13
    async def run() -> None:
        async with listening(Server({"app": {}})) as listener:
            connection = await WireConnection.dial(listener.url())
            await connection.send("M")
            await connection.receive()
        end = await connection.receive()
        assert (end.code, end.reason) == (1001, "the server shuts down")
        await connection.close()
        with pytest.raises(ConnectError):
            await WireConnection.dial(listener.url())

    work_clock.run(run())


def test_a_refused_client_is_told_why_and_closed_with_1008():  # HS-4, TR-13
    async def run() -> None:
        def refuse(_):
            raise ReplyError("not you")

        async with listening(Server({"app": {}}, on_connect=refuse)) as listener:
            connection = await WireConnection.dial(listener.url())
            await connection.send("M")
            assert await connection.receive() == "Hnot you"
            assert (await connection.receive()).code == 1008
            await connection.close()

    work_clock.run(run())
