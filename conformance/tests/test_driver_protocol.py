"""Tests of the suite's end of the driver protocol: what a driver may do wrong."""

import asyncio
import sys

import pytest

from neffos_conformance.runner import driver_protocol as driving
from neffos_conformance.runner.driver_protocol import DriverError
from neffos_conformance.wire import subprocesses

READY = '{"ready": true, "driver": 1, "peer": "p", "version": "1"}'
KNOWS = 'json.dumps({"id": json.loads(input())["id"], "unsupported": True})'
BEGIN = f"import json, time; print({READY!r}, flush=True); print({KNOWS}, flush=True); "
HANG = 20.0
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
        (BEGIN, "has ended, with status 0"),
    ],
)
def test_a_driver_that_ends_or_talks_nonsense_is_named_as_such(program, words):
    with pytest.raises(DriverError, match=words):
        drive(program, text="x")
