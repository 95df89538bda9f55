"""Tests of the suite's end of the driver protocol: what a driver may do wrong."""

import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from neffos_conformance.runner import driver_protocol as driving
from neffos_conformance.runner.driver_pool import to_client
from neffos_conformance.runner.driver_protocol import DriverError
from neffos_conformance.wire import subprocesses

READY = '{"ready": true, "driver": 1, "peer": "p", "version": "1"}'
KNOWS = 'json.dumps({"id": json.loads(input())["id"], "unsupported": True})'
BEGIN = f"import json, time; print({READY!r}, flush=True); print({KNOWS}, flush=True); "
HANG = 60.0
"""Seconds after which a test has failed; each takes about one."""


def drive(program: str, **fields) -> None:
    """Start a driver, and have it do one thing."""

    async def bounded() -> None:
        async with (
            asyncio.timeout(HANG),
            driving.running_driver([sys.executable, "-c", program]) as driver,
        ):
            await driver.do("native", connection=1, **fields)

    asyncio.run(bounded())


@pytest.mark.parametrize("size", [1, 8 << 20])
def test_a_driver_that_does_not_read_is_not_waited_for_without_end(monkeypatch, size):
    monkeypatch.setattr(driving, "ANSWER_DEADLINE", 1.0)
    monkeypatch.setattr(subprocesses, "STOP_DEADLINE", 0.1)
    with pytest.raises(DriverError, match="gave no answer to 'native'"):
        drive(BEGIN + "time.sleep(60)", text="x" * size)


@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("pass", "has ended, with status 0"),
        ("print('nonsense')", "not JSON"),
        ("print('[' * 100_000)", "nested too deeply"),
        ("print(5)", "driver protocol's form"),
        (BEGIN + "print(json.dumps({'id': 'x', 'result': {}}))", 'form: id: "x" is not of type'),
        (
            BEGIN + "print(json.dumps({'saw': 'native', 'connection': [], 'text': ''}))",
            r"form: connection: \[\] is not of type",
        ),
        (BEGIN, "has ended, with status 0"),
    ],
)
def test_a_driver_that_ends_or_talks_nonsense_is_named_as_such(program, words):
    with pytest.raises(DriverError, match=words):
        drive(program, text="x")


@pytest.mark.parametrize("line", ["", "nonsense", "[" * 100_000, "5", "[]", '{"ready": 1}'])
def test_a_peer_whose_first_line_is_something_else_is_not_ready(line):
    with (
        pytest.raises(subprocesses.SubprocessError, match="is not ready, it said"),
        subprocesses.running([sys.executable, "-c", f"print({line!r})"]),
    ):
        pytest.fail("it is not ready")


def processes(word: str) -> list[int]:
    """Give the running processes with a word in their command lines."""
    found = []
    for each in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if word.encode() in each.read_bytes():
                found.append(int(each.parent.name))
        except OSError:  # it ended meanwhile
            continue
    return [pid for pid in found if pid != os.getpid()]


@pytest.mark.skipif(not Path("/proc").exists(), reason="it looks for processes in /proc")
@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("print('BUILD SUCCESSFUL', flush=True); time.sleep(600)", "not JSON"),
        ("", "closed its output|has ended"),
        (f"print({READY!r}, flush=True); print({KNOWS}, flush=True); time.sleep(600)", "no answer"),
    ],
)
def test_a_wrapped_driver_ends_with_all_that_it_started(monkeypatch, tmp_path, program, words):
    monkeypatch.setattr(driving, "ANSWER_DEADLINE", 0.5)
    monkeypatch.setattr(driving, "READY_DEADLINE", 2.0)
    monkeypatch.setattr(subprocesses, "STOP_DEADLINE", 0.1)
    mark = f"wrapped-{tmp_path.name}"
    child = f"import time; time.sleep(600) # {mark}"
    whole = (
        "import json, subprocess, sys, time; "
        f"subprocess.Popen([sys.executable, '-c', {child!r}]); {program}"
    )
    with pytest.raises(DriverError, match=f"{words}|not ready within"):
        drive(whole, text="x")
    end = time.monotonic() + HANG
    while processes(mark):  # a process that was killed is there until the system has reaped it
        assert time.monotonic() < end, processes(mark)
        time.sleep(0.01)


def test_observations_are_bounded_by_their_bytes(monkeypatch):
    monkeypatch.setattr(driving, "MAX_SEEN_BYTES", 10_000)
    say = 'print(json.dumps({"saw": "native", "connection": 1, "text": "x" * 1000}), flush=True)'
    with pytest.raises(DriverError, match="more than 10000 bytes"):
        drive(BEGIN + f"[{say} for _ in range(11)]; time.sleep(60)", text="x")


def test_observations_that_were_read_do_not_count(monkeypatch):
    monkeypatch.setattr(driving, "MAX_SEEN_BYTES", 3_000)
    say = 'print(json.dumps({"saw": "native", "connection": 1, "text": "x" * 1000}), flush=True)'
    done = 'print(json.dumps({"id": json.loads(input())["id"], "result": {}}), flush=True)'
    program = BEGIN + f"[({say}, {done}) for _ in range(20)]; time.sleep(60)"

    async def run() -> None:
        async with (
            asyncio.timeout(HANG),
            driving.running_driver([sys.executable, "-c", program]) as driver,
        ):
            for _ in range(20):
                await driver.saw(saw="native")
                await driver.do("close", connection=1)  # then the driver says more

    asyncio.run(run())


def test_a_cancelled_run_waits_for_no_idle_driver(monkeypatch):
    monkeypatch.setattr(subprocesses, "STOP_DEADLINE", 2 * HANG)
    program = (
        f"import json, sys, time; print({READY!r}, flush=True)"
        "\nfor line in sys.stdin:"
        "\n    print(json.dumps({'id': json.loads(line)['id'], 'unsupported': True}), flush=True)"
        "\ntime.sleep(600)"
    )

    async def run() -> None:
        is_ready = asyncio.Event()

        async def idle() -> None:
            async with to_client([sys.executable, "-c", program]):
                is_ready.set()
                await asyncio.Event().wait()

        async with asyncio.timeout(HANG):
            task = asyncio.create_task(idle())
            await is_ready.wait()
            task.cancel()
            await asyncio.wait([task])
        assert task.cancelled()

    asyncio.run(run())


def test_no_run_outlives_its_time_limit_whatever_a_driver_does(tmp_path):
    """The limit is 3 s; the driver ignores its input, holds its pipes and answers nothing."""
    program = (
        "import signal, subprocess, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']); "
        f"print({READY!r}, flush=True); time.sleep(600)"
    )
    command = [Path(sys.executable).with_name("neffos-wire"), "test", "client", "--case", "HS-1"]
    limit = ["--run-timeout", "3", "--report", tmp_path / "r.json"]
    done = subprocess.run(
        [*command, *limit, "--", sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=HANG,
    )
    assert done.returncode == 2
    assert "INCOMPLETE" in done.stdout


class _Child:
    """A driver's process in memory."""

    def __init__(self):
        self.written, self.lines = asyncio.Queue(), asyncio.Queue()

    async def write(self, line):
        self.written.put_nowait(json.loads(line)["id"])

    async def line(self):
        return await self.lines.get()

    async def end(self, _):
        pass

    def answer(self, number):
        self.lines.put_nowait(json.dumps({"id": number, "result": {}}).encode())


@pytest.mark.parametrize("is_answered_first", [True, False])
def test_an_answer_that_arrives_as_the_operation_is_cancelled_is_for_no_one(is_answered_first):
    async def main():
        child = _Child()
        driver = driving.DriverProcess("a driver", child, {})
        task = asyncio.create_task(driver.do("native", connection=1, text="x"))
        number = await child.written.get()
        # Nothing else runs between these two: the answer has come, and no task knows of both.
        for act in (
            (lambda: child.answer(number), task.cancel)
            if is_answered_first
            else (task.cancel, lambda: child.answer(number))
        ):
            act()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert driver.trouble is None
        again = asyncio.create_task(driver.do("native", connection=1, text="x"))
        child.answer(await child.written.get())
        assert await again == {}
        await driver.stop()

    asyncio.run(main())
