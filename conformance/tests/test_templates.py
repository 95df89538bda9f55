"""The templates of drivers and servers: they run as they are, and pass the suite."""

import asyncio
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from neffos_asyncio import NeffosError, Server, dial, listening
from neffos_conformance.cases.definition import client_cases, select, server_cases
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.reference.application import servers
from neffos_conformance.runner.driver_pool import to_client
from neffos_conformance.runner.driver_protocol import (
    OperationError,
    UnsupportedError,
    running_driver,
)
from neffos_conformance.runner.playback import Timeouts
from neffos_conformance.runner.run import run_cases, to_server
from neffos_conformance.wire.subprocesses import running
from neffos_protocol.session_vectors import load_vectors
from peers.implementations import ToolchainError
from peers.templates import TEMPLATES, java_classes, rust_command

from .absent import java as java_program
from .test_handler_queue import patiently

PATIENT = Timeouts(case=30, close=10)
"""Judging a template loads this machine; a deadline is for templates that hang."""

RUN_TIMEOUT = 600
"""Seconds for all cases on any busy machine: the slowest template took 14 s beside other work."""

PROCESSES = 2
"""Drivers at the same time: what they wait for is mostly this machine."""

NODE = shutil.which("node")


def each(program):
    return pytest.mark.parametrize(
        "command",
        [
            pytest.param(
                [sys.executable, str(TEMPLATES / "python" / f"{program}.py")], id="python"
            ),
            pytest.param(
                [NODE or "node", str(TEMPLATES / "javascript" / f"{program}.mjs")],
                id="javascript",
                marks=pytest.mark.skipif(NODE is None, reason="there is no node"),
            ),
        ],
    )


def test_the_readme_names_every_file_and_no_other():
    readme = (TEMPLATES / "README.md").read_text("utf-8")
    named = set(re.findall(r"`((?:python|javascript|rust|java)/[^`]+)`", readme))
    kinds = ("*/*.py", "*/*.mjs", "*/*.toml", "*/src/*.rs", "*/neffos/*.java")
    programs = [path for kind in kinds for path in TEMPLATES.glob(kind)]
    assert named == {path.relative_to(TEMPLATES).as_posix() for path in programs}
    for path in re.findall(r"`(\.\./[^`]+\.(?:go|mjs))`", readme):
        assert (TEMPLATES / path).exists(), path


def wrong(results):
    return {
        result.case.id: f"{result.verdict}: {result.explanation or result.findings}"
        for result in results
        if result.verdict is not Verdict.PASS or result.findings
    }


@pytest.mark.whole
@each("server")
@patiently(RUN_TIMEOUT)
async def test_the_server_passes_every_case(command):
    cases = select(server_cases(), ())
    with running(command) as ready:
        [url] = ready["endpoints"].values()
        results = [result async for result in run_cases(to_server(url, PATIENT), cases)]
    assert len(results) == len(cases)
    assert wrong(results) == {}


@pytest.mark.whole
@each("driver")
@patiently(RUN_TIMEOUT)
async def test_the_client_passes_every_case_but_those_of_reconnections(command):
    cases = select(client_cases(), ())
    async with to_client(command, drivers=PROCESSES, timeouts=PATIENT) as (run, _):
        results = [result async for result in run_cases(run, cases, jobs=PROCESSES)]
    unsupported = {each.case.id for each in results if each.verdict is Verdict.SKIPPED}
    assert unsupported == {each.id for each in cases if reconnects(each)}
    assert wrong(each for each in results if each.case.id not in unsupported) == {}


@pytest.fixture(scope="module")
def rust():
    """Build the driver in Rust where that has not been done."""
    try:
        return rust_command()
    except ToolchainError as error:
        pytest.skip(error.message)


@pytest.fixture(scope="module")
def java():
    """Compile the driver in Java where that has not been done."""
    return java_program("Driver")


@pytest.mark.whole
@pytest.mark.parametrize("language", ["rust", "java"])
@patiently(RUN_TIMEOUT)
async def test_a_whole_client_passes_every_case(language, request):
    command = request.getfixturevalue(language)
    cases = select(client_cases(), ())
    async with to_client(command, drivers=PROCESSES, timeouts=PATIENT) as (run, _):
        results = [result async for result in run_cases(run, cases, jobs=PROCESSES)]
    assert len(results) == len(cases)
    assert wrong(results) == {}


def reconnects(case):
    return any("reconnect" in line.rest.split(" ") for line in case.steps)


@each("server")
@patiently(RUN_TIMEOUT)
async def test_names_that_a_language_knows_are_names_like_others(command):
    with running(command) as ready:
        [url] = ready["endpoints"].values()
        async with await dial(url, {"app": {}, "any": {}, "constructor": {}}) as client:
            with pytest.raises(NeffosError, match="bad namespace"):
                await client.connect("constructor")
            space = await client.connect("any")
            assert (await space.ask("toString")).body == "toString"
            assert (await space.ask("__proto__")).body == "__proto__"
            app = await client.connect("app")
            assert (await app.ask("header", "constructor")).body == ""


@each("server")
@patiently(RUN_TIMEOUT)
async def test_broadcasts_reach_whom_they_are_for(command):
    heard = {name: asyncio.Queue() for name in ("one", "two")}

    def application(name):
        def news(_, message):
            heard[name].put_nowait((message.room, message.body))

        return {"app": {"news": news}}

    with running(command) as ready:
        [url] = ready["endpoints"].values()
        async with (
            await dial(url, application("one")) as one,
            await dial(url, application("two"), headers={"X-Conformance-Id": "b"}) as two,
            await dial(url, {}),  # not connected to app
        ):
            assert two.id == "b"
            app = await one.connect("app")
            await (await two.connect("app")).join("lobby")
            assert (await app.ask("broadcast-others", "1")).body == "done"
            await app.ask("broadcast-all", b"\xff")
            await app.ask("broadcast-to", "b 2 3")
            await app.join("hall")
            await app.ask("broadcast-room", "4", room="hall")
            await app.join("lobby")
            await app.ask("broadcast-room", "5", room="lobby")
            got = [await heard["two"].get() for _ in range(4)]
            assert got == [("", "1"), ("", b"\xff"), ("", "2 3"), ("lobby", "5")]
            assert heard["one"].get_nowait() == ("", b"\xff")
            assert heard["one"].empty()


@each("driver")
@patiently(RUN_TIMEOUT)
async def test_the_driver_does_what_it_is_told(command):
    async with listening(servers()) as listener, running_driver(command) as driver:
        assert driver.ready["peer"] == "template"
        one, two = [await driver.do("dial", url=listener.url()) for _ in range(2)]
        assert one["connection_id"] != two["connection_id"]
        app = {"connection": one["connection"], "namespace": "app"}
        other = {"connection": two["connection"], "namespace": "app"}
        saw = {"saw": "event", **app}

        with pytest.raises(OperationError, match="bad namespace"):
            await driver.do("emit", **app, event="echo", text="x")
        await driver.do("connect", **app)
        await driver.saw(saw="connected", **app)
        await driver.do("connect", **other)
        text = "a;b — 漢字 😀"
        assert await driver.do("ask", **app, event="echo", text=text) == {"text": text}
        data = {"base64": "AP87gA=="}
        assert await driver.do("ask", **app, event="echo", **data) == data
        with pytest.raises(OperationError, match="no way"):
            await driver.do("ask", **app, event="fail", text="no way")
        with pytest.raises(OperationError, match="time"):
            await driver.do("ask", **app, event="silent", text="", timeout=0.05)

        await driver.do("emit", **app, event="ask-me", text="what?")
        await driver.saw(**saw, event="question", text="what?")
        await driver.saw(**saw, event="answer", text="what?")
        await driver.do("emit", **app, event="ask-me", **data)
        await driver.saw(**saw, event="answer", **data)

        await driver.do("join", **app, room="lobby")
        await driver.saw(saw="joined", **app, room="lobby")
        with pytest.raises(OperationError, match="room is locked"):
            await driver.do("join", **app, room="locked")
        await driver.do("join", **other, room="lobby")
        await driver.do("ask", **other, event="broadcast-room", room="lobby", text="hi")
        await driver.saw(**saw, event="news", room="lobby", text="hi")
        await driver.do("leave-all", **app)
        await driver.saw(saw="left", **app, room="lobby")
        await driver.do("emit", **app, event="join-me", text="hall")
        await driver.saw(saw="joined", **app, room="hall")
        await driver.do("leave", **app, room="hall")

        semi = {"connection": one["connection"], "namespace": "semi;colon"}
        await driver.do("connect", **semi)
        assert await driver.do("ask", **semi, event="ec;ho", text="x") == {"text": "x"}
        await driver.do("emit", **app, event="connect-me", text="any")
        await driver.saw(saw="connected", connection=one["connection"], namespace="any")
        with pytest.raises(OperationError, match="escape-literal"):
            await driver.do("emit", **app, event="@%!semicolon@%!", text="")
        await driver.do("emit", **app, event="disconnect-me", text="")
        await driver.saw(saw="disconnected", **app)

        headers = {"X-Conformance-Refuse": "not today"}
        with pytest.raises(OperationError, match="not today"):
            await driver.do("dial", url=listener.url(), headers=headers)
        with pytest.raises(OperationError):
            await driver.do("dial", url="ws://127.0.0.1:9/")
        with pytest.raises(UnsupportedError):
            await driver.do("dial", url=listener.url(), reconnect=True)
        with pytest.raises(OperationError, match="there is no connection 99"):
            await driver.do("close", connection=99)
        await driver.do("close", connection=one["connection"])
        await driver.saw(saw="closed", connection=one["connection"])


SESSION_VECTORS = Path(__file__).parents[2] / "protocol" / "vectors" / "session"


def play_vectors(command):
    """Play the session vectors to a template; give how many it played, and why it skipped any."""
    made = subprocess.run([*command, str(SESSION_VECTORS)], capture_output=True, check=False)
    result = json.loads(made.stdout)
    assert result["failed"] == {}
    assert made.returncode == 0
    return result["played"], set(result["skipped"])


@pytest.mark.skipif(NODE is None, reason="there is no node")
def test_the_peer_in_javascript_plays_the_session_vectors():
    played, skipped = play_vectors([NODE, str(TEMPLATES / "javascript" / "vectors.mjs")])
    assert played >= 440
    assert skipped == {
        "applications decide at once",
        "asks have no deadlines",
        "limits cannot be set",
        "the handshake is elsewhere",
        "there is no command emit-error",
        "there is no native-only peer",
    }


@pytest.mark.whole
def test_the_client_in_rust_plays_the_session_vectors(rust):
    played, skipped = play_vectors(rust)
    assert played >= 180
    assert skipped == {
        "applications decide at once",
        "limits cannot be set",
        "the handshake is elsewhere",
        "there is no server",
    }


@pytest.mark.whole
def test_the_session_in_java_plays_all_session_vectors():
    played, skipped = play_vectors(java_program("Vectors"))
    assert played == len(load_vectors())
    assert skipped == set()


EXAMPLE = """
import java.net.URI;
import java.time.Duration;
import java.util.Map;
import java.util.Set;
import neffos.*;

class Example {{
    public static void main(String[] arguments) {{
        {}
        System.out.println(client.id());
    }}
}}
"""


@pytest.mark.whole
@patiently(RUN_TIMEOUT)
async def test_the_example_in_java_runs(tmp_path):
    readme = (TEMPLATES / "README.md").read_text("utf-8")
    [example] = re.findall(r"^```java\n(.*?)^```", readme, re.MULTILINE | re.DOTALL)
    java_program("Driver")
    classes = str(java_classes())
    heard = asyncio.Queue()
    application = {"chat": {"say": lambda _, message: heard.put_nowait(message.body)}}
    async with listening(Server(application)) as listener:
        source = tmp_path / "Example.java"
        [given] = re.findall(r"ws://[^\"]+", example)
        source.write_text(EXAMPLE.format(example.replace(given, listener.url())), "utf-8")
        command = ["java", "-cp", classes, str(source)]
        process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        told, _ = await process.communicate()
        assert process.returncode == 0
        assert told.strip()
        assert await heard.get() == "hi"
