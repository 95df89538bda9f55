"""The chat among the examples: people talk, on the server's process and the terminal client's."""

import asyncio
import json
import re
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import pytest

from neffos_asyncio import Client, Namespace, RefusedError, ReplyError, dial
from peers.exchanges import EXCHANGES, SERVERS, exchange
from peers.ports import lasting_port

CHAT = Path(__file__).parents[1] / "examples" / "chat"
PATIENCE = 60
"""Seconds for a whole test; a hang is a failure."""


@contextmanager
def serving(port: int = 0, *options: str) -> Iterator[int]:
    """Run the server until the block is left, and give its port."""
    command = [sys.executable, CHAT / "server.py", "--port", str(port), *options]
    pipe, null = subprocess.PIPE, subprocess.DEVNULL
    with subprocess.Popen(command, stdout=null, stderr=pipe, text=True) as process:
        try:
            for line in process.stderr:
                if found := re.search(r"running on http://127\.0\.0\.1:(\d+)", line):
                    break
            else:
                pytest.fail("the server ended before it was ready")
            yield int(found[1])
        finally:
            process.terminate()
            process.communicate(timeout=PATIENCE)


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with serving() as found:
        yield found


class Member:
    """Somebody in the chat, and what came to them."""

    def __init__(self, client: Client, came: asyncio.Queue[tuple[str, str, object]]) -> None:
        self.client = client
        self.chat: Namespace
        self._came = came

    async def sees(self, event: str, body: object, *, room: str) -> None:
        """Take the next event, which is this one."""
        assert await self._came.get() == (event, room, body)

    async def says(self, text: str, *, room: str) -> str | bytes:
        return (await self.chat.ask("say", text, room=room)).body


@asynccontextmanager
async def entering(port: int, name: str) -> AsyncIterator[Member]:
    came: asyncio.Queue[tuple[str, str, object]] = asyncio.Queue()

    def note(_, message):
        came.put_nowait((message.event, message.room, json.loads(message.body)))

    handlers = {"chat": {"said": note, "who": note}}
    url = f"ws://127.0.0.1:{port}/chat?name={name}"
    async with asyncio.timeout(PATIENCE), await dial(url, handlers) as client:
        member = Member(client, came)
        member.chat = await client.connect("chat")
        yield member


def said(by: str, text: str) -> dict[str, str]:
    return {"by": by, "text": text}


def test_people_talk_in_a_room(port):
    async def run() -> None:
        async with entering(port, "ann") as ann:
            await ann.chat.join("lobby")
            await ann.sees("who", ["ann"], room="lobby")
            async with entering(port, "bob") as bob:
                await bob.chat.join("lobby")
                for each in (ann, bob):
                    await each.sees("who", ["ann", "bob"], room="lobby")
                assert await ann.says(" hi; there ", room="lobby") == "said"
                for each in (ann, bob):
                    await each.sees("said", said("ann", "hi; there"), room="lobby")
            await ann.sees("who", ["ann"], room="lobby")  # his connection has ended
            async with entering(port, "bob") as bob:
                await bob.chat.join("lobby")
                await bob.sees("said", said("ann", "hi; there"), room="lobby")
                await bob.sees("who", ["ann", "bob"], room="lobby")
                await ann.sees("who", ["ann", "bob"], room="lobby")
                await bob.chat.leave("lobby")
                await ann.sees("who", ["ann"], room="lobby")

    asyncio.run(run())


def test_the_server_refuses_what_makes_no_sense(port):
    async def run() -> None:
        async with entering(port, "ann") as ann:
            assert json.loads((await ann.chat.ask("rooms")).body) == ["lobby", "kitchen", "attic"]
            with pytest.raises(RefusedError, match="in use"):
                await dial(f"ws://127.0.0.1:{port}/chat?name=ann")
            with pytest.raises(ReplyError, match="no such room"):
                await ann.chat.join("cellar")
            with pytest.raises(ReplyError, match="join a room first"):
                await ann.says("hi", room="")
            await ann.chat.join("attic")
            for text in ("", "  ", "x" * 501):
                with pytest.raises(ReplyError, match="1 to 500"):
                    await ann.says(text, room="attic")

    asyncio.run(run())


def test_those_without_a_name_that_can_be_shown_are_guests(port):
    async def run() -> None:
        for name in ("", "%20", "a%1b%5b31m", "a%0ab"):
            async with entering(port, name) as somebody:
                assert somebody.client.id.startswith("guest-")

    asyncio.run(run())


@pytest.mark.whole
@pytest.mark.parametrize("kind", [each for each in EXCHANGES if shutil.which(SERVERS[each][0])])
def test_two_servers_are_one_chat(kind):
    async def run(ports: list[int]) -> None:
        async with entering(ports[0], "ann") as ann, entering(ports[1], "bob") as bob:
            for each, name in ((ann, "ann"), (bob, "bob")):
                await each.chat.join("lobby")
                await each.sees("who", [name], room="lobby")
            for each, name in ((ann, "ann"), (bob, "bob")):
                await each.says("hi", room="lobby")
                await ann.sees("said", said(name, "hi"), room="lobby")
                await bob.sees("said", said(name, "hi"), room="lobby")

    with exchange(kind) as address, ExitStack() as stack:
        both = [stack.enter_context(serving(0, "--exchange", address)) for _ in range(2)]
        asyncio.run(run(both))


# -------------------------------------------------------------------- the terminal client


class Terminal:
    """The terminal client, with somebody at the keyboard."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    def types(self, line: str) -> None:
        self.process.stdin.write(f"{line}\n".encode())

    async def line(self) -> str:
        return (await self.process.stdout.readline()).decode()

    async def shows(self, line: str) -> None:
        """Take the next line, which is this one."""
        assert await self.line() == f"{line}\n"

    async def leaves(self) -> tuple[int, str]:
        """End the input; give the exit code and what was left to say."""
        self.process.stdin.close()
        out, err = await self.process.communicate()
        return self.process.returncode, (out + err).decode()


@asynccontextmanager
async def terminal(port: int, name: str, *options: str) -> AsyncIterator[Terminal]:
    url = f"ws://127.0.0.1:{port}/chat"
    command = [sys.executable, CHAT / "client.py", name, "--url", url, *options]
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, stderr=pipe)
    try:
        async with asyncio.timeout(PATIENCE):
            yield Terminal(process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()


def test_somebody_talks_from_a_terminal(port):
    async def run() -> None:
        async with entering(port, "bob") as bob:
            await bob.chat.join("kitchen")
            await bob.sees("who", ["bob"], room="kitchen")
            async with terminal(port, "cät", "--room", "kitchen") as cat:
                await cat.shows("* in kitchen: bob, cät")
                await bob.sees("who", ["bob", "cät"], room="kitchen")
                cat.types("hello; you")
                await bob.sees("said", said("cät", "hello; you"), room="kitchen")
                await cat.shows("cät: hello; you")
                await bob.says("\x1b[31mred", room="kitchen")
                await cat.shows("bob: �[31mred")
                cat.types("/rooms")
                await cat.shows("* rooms: lobby, kitchen, attic")
                cat.types("/join cellar")
                await cat.shows("* there is no such room")
                cat.types("/join attic")
                await cat.shows("* in attic: cät")
                await bob.sees("said", said("bob", "\x1b[31mred"), room="kitchen")
                await bob.sees("who", ["bob"], room="kitchen")
                assert await cat.leaves() == (0, "")

    asyncio.run(run())


def test_a_terminal_comes_back_to_its_room():
    async def run() -> None:
        with ExitStack() as first_server:
            port = first_server.enter_context(serving(lasting_port()))
            async with terminal(port, "ann") as ann:
                await ann.shows("* in lobby: ann")
                first_server.close()
                await ann.shows("* the connection is lost; trying again")
                with serving(port):
                    shown = {await ann.line(), await ann.line()}  # in either order
                    assert shown == {"* in lobby: ann\n", "* connected again\n"}
                    assert await ann.leaves() == (0, "")

    asyncio.run(run())


def test_a_terminal_says_in_a_sentence_why_it_cannot_enter(port):
    async def refusal(port: int) -> tuple[int, str]:
        async with terminal(port, "ann") as ann:
            return await ann.leaves()

    async def run() -> None:
        async with entering(port, "ann"):
            code, text = await refusal(port)
        assert code == 1
        assert text == "the server refused the connection: this connection id is in use\n"
        code, text = await refusal(1)  # where nobody listens
        assert code == 1
        assert text.startswith("no connection to ws://127.0.0.1:1/chat")
        assert text.endswith("\nIs server.py running?\n")
        assert text.count("\n") == 2

    asyncio.run(run())


# -------------------------------------------------------------------- the page


def test_the_page_is_served(port):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=PATIENCE) as response:
        assert response.headers["Content-Type"].startswith("text/html")
        assert response.read() == (CHAT / "page.html").read_bytes()


def test_the_page_needs_nothing_from_elsewhere():
    text = (CHAT / "page.html").read_text("utf-8")
    assert "://" not in text
    assert re.findall(r"""\b(?:src|srcset|href|action)\s*=\s*["']?([^"'\s>]*)""", text) == [
        "data:,"
    ]
    assert not re.search(r"\bimport\b|@import|\bfetch\s*\(|\burl\s*\(|XMLHttpRequest", text)


def test_the_client_of_the_page_is_short():
    text = (CHAT / "page.html").read_text("utf-8")
    _, _, rest = text.partition("- a neffos client\n")
    client, _, _ = rest.partition("- the page\n")
    assert 20 < client.count("\n") < 100
