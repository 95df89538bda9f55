"""Tests of the driver of the reference client: what it answers to odd operations."""

import asyncio
import json

import pytest

from neffos_conformance.reference.client_driver import ReferenceDriver

HANG = 60.0
"""Seconds after which a test has failed; each takes far less than one."""


def answered(line: str) -> dict:
    """Give the answer to a line, and see that the next one is answered too."""

    async def told() -> list[str]:
        lines: list[str] = []
        driver = ReferenceDriver(lines.append)
        for count, each in enumerate((line, '{"id": 99, "op": "made-up"}'), start=1):
            driver.take(each.encode())
            async with asyncio.timeout(HANG):
                while len(lines) < count:
                    await asyncio.sleep(0)
        return lines

    first, second = map(json.loads, asyncio.run(told()))
    assert second == {"id": 99, "unsupported": True}
    return first


@pytest.mark.parametrize(
    ("line", "id_"),
    [
        ("nonsense", None),
        ("[" * 100_000, None),
        ("5", None),
        ("[]", None),
        ("{}", None),
        ('{"op": "dial"}', None),
        ('{"id": "8", "op": "dial"}', None),
        ('{"id": true, "op": "dial"}', None),
        ('{"id": 8}', 8),
        ('{"id": 8, "op": ["x"]}', 8),
    ],
)
def test_what_is_no_operation_is_answered_with_the_id_if_it_has_one(line, id_):
    answer = answered(line)
    assert answer["id"] == id_
    assert answer["error"].startswith("not an operation")


@pytest.mark.parametrize(
    "fields",
    [
        {"op": "dial", "url": 5},
        {"op": "dial", "url": None},
        {"op": "dial", "url": "ws://127.0.0.1:9", "headers": 5},
        {"op": "dial", "url": "ws://127.0.0.1:9", "timeout": "soon"},
        {"op": "dial"},
        {"op": "connect", "connection": [], "namespace": "app"},
        {"op": "connect", "connection": 1, "namespace": "app"},
    ],
)
def test_an_operation_with_odd_fields_is_answered_with_an_error(fields):
    answer = answered(json.dumps({"id": 7, **fields}))
    assert answer["id"] == 7
    assert answer["error"]
