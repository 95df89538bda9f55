"""The check of a driver or an adapter names the line and the field that is wrong."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from neffos_conformance.codecs import adapter_check
from neffos_conformance.codecs.adapter_check import examine_adapter
from neffos_conformance.reference.client_driver import DRIVER_VERSION, ReferenceDriver
from neffos_conformance.reference.codec_adapter import CODEC_VERSION, answer_to
from neffos_conformance.reference.embedded import embedded_server
from neffos_conformance.runner import driver_check
from neffos_conformance.runner.doctor import Health
from neffos_conformance.runner.driver_check import examine_driver
from neffos_conformance.runner.line_check import LineFinding, check_command

from .commands import run

PAGES = Path(__file__).parents[2] / "spec/docs"

AMPLE = 30.0
READY = {"ready": True, "driver": DRIVER_VERSION, "peer": "p", "version": "1"}

Change = Callable[[dict], list]


class MemoryPipe:
    """The reference driver in this process; its lines can be changed on the way."""

    def __init__(self, change: Change, lacking: frozenset[str], status: int) -> None:
        self._lines: asyncio.Queue[bytes] = asyncio.Queue()
        self._change = change
        self._lacking = lacking
        self._status = status
        self._driver = ReferenceDriver(lambda line: self._put(json.loads(line)))
        self._put(dict(READY))

    def _put(self, values: dict) -> None:
        for each in self._change(values):
            line = each if isinstance(each, str) else json.dumps(each)
            self._lines.put_nowait(f"{line}\n".encode())

    async def write(self, data: bytes) -> None:
        try:
            operation = json.loads(data)
        except ValueError:
            operation = {}
        if operation.get("op") in self._lacking:
            self._put({"id": operation["id"], "unsupported": True})
        else:
            self._driver.take(data)

    async def line(self) -> bytes:
        return await self._lines.get()

    async def status(self) -> int:
        return self._status

    async def end(self, timeout: float | None = None) -> None:
        self._driver.end()
        self._lines.put_nowait(b"")


def same(values: dict) -> list:
    return [values]


async def examined(
    change: Change = same,
    *,
    lacking: frozenset[str] = frozenset(),
    status: int = 0,
    deadline: float = AMPLE,
) -> list[LineFinding]:
    async with embedded_server() as url:
        pipe = MemoryPipe(change, lacking, status)
        return [each async for each in examine_driver(pipe, url, deadline=deadline)]


def edited(*keys: str, saw: str = "", **fields: object) -> Change:
    """Give what edits the lines that have these keys: ``None`` removes a field."""

    def change(values: dict) -> list:
        if not all(key in values for key in keys) or values.get("saw", "") != saw:
            return [values]
        new = {**values, **fields}
        return [{name: each for name, each in new.items() if each is not None}]

    return change


def result_edited(name: str, **fields: object) -> Change:
    def change(values: dict) -> list:
        result = values.get("result", {})
        return [{**values, "result": {**result, **fields}}] if name in result else [values]

    return change


FAULTS: list[tuple[Change, str, str, str, str]] = [
    (edited("ready", driver=2), "first line", "driver", "1", "The first line"),
    (edited("ready", peer=None), "first line", "peer", "the field is missing", "The first line"),
    (edited("unsupported", error="?", unsupported=None), "unknown operation", "unsupported", "true",
     "Operations"),
    (lambda values: ["BUILD OK", values] if "ready" in values else [values], "first line", "",
     "a JSON object", "The first line"),
    (result_edited("connection", connection="1"), "dial", "result/connection", "integer",
     "Operations"),
    (result_edited("connection", connection_id="mine"), "dial", "result/connection_id",
     "X-Conformance-Id", "Operations"),
    (edited("saw", saw="connected", namespace="App"), "connect", "namespace", '"app"',
     "What the client saw"),
    (edited("saw", saw="connected", id=3), "connect", "id", "no such field",
     "What the client saw"),
    (lambda values: [values, values] if values.get("saw") == "joined" else [values], "end", "saw",
     "no such line", "What the client saw"),
    (edited("saw", saw="event", room=None), "event", "room", "the field is missing",
     "What the client saw"),
    (edited("saw", saw="event", room="lobby"), "event", "room", '""', "What the client saw"),
    (edited("saw", saw="native", text=None, base64="AA=="), "native", "base64", "text: ",
     "What the client saw"),
    (result_edited("base64", text="x", base64="eA=="), "ask in binary", "result/text",
     "no such field", "Operations"),
    (lambda values: [{**values, "error": "failed"}] if "error" in values else [values],
     "error reply", "error", "with a semicolon", "Operations"),
    (lambda values: [{**values, "id": 99}] if values.get("id") == 2 else [values], "dial", "id",
     "2", "Operations"),
]  # fmt: skip
"""What a driver writes otherwise; the step, field, expectation and section that are named."""


@pytest.fixture(scope="module")
def found() -> dict[str, list]:
    """Give what the check says of each driver; all run in one loop."""

    async def check_all() -> dict[str, list]:
        return {
            "sound": await examined(),
            "without ask": await examined(lacking=frozenset({"ask", "native"})),
            "status": await examined(status=3),
            "killed": await examined(status=-9),
            "faulty": await asyncio.gather(*(examined(fault[0], deadline=2.0) for fault in FAULTS)),
        }

    return asyncio.run(check_all())


def test_a_sound_driver_passes_every_step(found):
    assert {each.outcome for each in found["sound"]} == {Health.OK}
    assert [each.step for each in found["sound"]] == [step for step, _, _ in driver_check._STEPS]


def test_an_operation_that_a_client_does_not_support_is_a_note(found):
    outcomes = {each.step: each.outcome for each in found["without ask"]}
    notes = {step for step, outcome in outcomes.items() if outcome is Health.NOTE}
    assert notes == {"ask", "ask in binary", "error reply", "event", "two operations", "native"}
    assert Health.FAIL not in outcomes.values()


def test_the_end_of_a_driver(found):
    (last,) = [each for each in found["status"] if each.outcome is Health.FAIL]
    assert (last.step, last.expected, last.section) == ("end", "exit status 0", "The first line")
    assert found["killed"][-1].outcome is Health.NOTE


def test_the_line_and_the_field_are_named(found):
    for (_, step, field, expected, section), findings in zip(FAULTS, found["faulty"], strict=True):
        faults = [each for each in findings if each.outcome is Health.FAIL]
        assert any(
            each.step == step
            and each.field == field
            and expected in each.expected
            and each.section == section
            and each.line > 0
            and each.content
            for each in faults
        ), (step, field, faults)


class AdapterPipe:
    """The reference adapter in this process; its lines can be changed on the way."""

    def __init__(self, change: Change, status: int = 0) -> None:
        self._lines: asyncio.Queue[bytes] = asyncio.Queue()
        self._change = change
        self._status = status
        self._put({"ready": True, "codec": CODEC_VERSION, "peer": "p", "version": "1"})

    def _put(self, values: dict) -> None:
        for each in self._change(values):
            line = each if isinstance(each, str) else json.dumps(each)
            self._lines.put_nowait(f"{line}\n".encode())

    async def write(self, data: bytes) -> None:
        self._put(answer_to(data))

    async def line(self) -> bytes:
        return await self._lines.get()

    async def status(self) -> int:
        return self._status

    async def end(self, timeout: float | None = None) -> None:
        self._lines.put_nowait(b"")


def message_edited(old: object, **fields: object) -> Change:
    """Give what edits the messages whose body is ``old``; ``None`` removes a field."""

    def change(values: dict) -> list:
        if "message" not in values or values["message"]["body"] != old:
            return [values]
        new = {**values["message"], **fields}
        return [{**values, "message": {key: each for key, each in new.items() if each is not None}}]

    return change


ADAPTER_FAULTS: list[tuple[Change, str, str, str, str]] = [
    (edited("ready", codec=2), "first line", "codec", "1", "The first line"),
    (edited("unsupported", error="?", unsupported=None), "unknown field", "unsupported", "true",
     "Requests and answers"),
    (lambda values: [{**values, "id": 99}] if values.get("id") == 3 else [values], "decode text",
     "id", "3", "The values"),
    (message_edited("hi", room=None), "decode text", "message/room", "the field is missing",
     "The values"),
    (message_edited("hi", is_error=0), "decode text", "message/is_error", "boolean", "The values"),
    (message_edited("hi", is_error="0"), "two requests", "message/is_error", "boolean",
     "Requests and answers"),
    (message_edited({"base64": "Yv8="}, body="b\ufffd"), "decode bytes", "message/body",
     '{"base64": "Yv8="}', "The values"),
    (message_edited("b", namespace="n\ufffd"), "decode not UTF-8", "message/namespace",
     '{"hex": "6eff"}', "The values"),
    (message_edited("hi" + "x" * adapter_check.LONG, body="hi"), "long line", "message/body",
     '"hixxx', "Requests and answers"),
    (edited("reject", offset=99), "refuse to decode", "offset", "5", "The values"),
    (edited("reject", reject="separator"), "refuse to decode", "reject", "", "The values"),
    (edited("parsed", error="no", parsed=None), "parse a wait field", "error", "client-ask",
     "The values"),
    (lambda values: [values, values] if values.get("id") == 1 else [values], "malformed line",
     "id", "null", "Requests and answers"),
]  # fmt: skip
"""What an adapter writes otherwise; the step, field, expectation and section that are named."""


async def adapter_examined(change: Change = same, status: int = 0) -> list[LineFinding]:
    return [each async for each in examine_adapter(AdapterPipe(change, status), deadline=0.2)]


def test_a_sound_adapter_passes_every_step():
    found = asyncio.run(adapter_examined())
    assert [each for each in found if each.outcome is not Health.OK] == []
    assert {step for step, *_ in adapter_check.VECTORS} < {each.step for each in found}


def test_the_line_and_the_field_of_an_adapter_are_named():
    for change, step, field, expected, section in ADAPTER_FAULTS:
        faults = [
            each
            for each in asyncio.run(adapter_examined(change))
            if each.outcome is Health.FAIL and each.step == step
        ]
        assert any(
            each.field == field
            and expected in each.expected
            and each.section == section
            and each.page == adapter_check.PAGE
            and each.line > 0
            and each.content
            for each in faults
        ), (step, field, faults)


def test_what_a_codec_lacks_or_refuses_is_a_note():
    def poorer(values: dict) -> list:
        if "handshake" in values:
            return [{"id": values["id"], "unsupported": True}]
        if "native" in values:
            return [{"id": values["id"], "reject": True}]
        return [{**values, "reject": True, "offset": 0}] if "reject" in values else [values]

    outcomes = {each.step: each.outcome for each in asyncio.run(adapter_examined(poorer))}
    notes = {step for step, outcome in outcomes.items() if outcome is Health.NOTE}
    assert notes == {"read a handshake", "decode natively"}
    assert Health.FAIL not in outcomes.values()
    [last] = [
        each for each in asyncio.run(adapter_examined(status=3)) if each.outcome is not Health.OK
    ]
    assert (last.step, last.expected) == ("end", "exit status 0")


@pytest.mark.parametrize(
    ("check", "name", "sections"),
    [
        (driver_check, "driver.md", {section for _, section, _ in driver_check._STEPS}),
        (
            adapter_check,
            "codec-contract.md",
            {adapter_check.FIRST_LINE, adapter_check.ANSWERS, adapter_check.VALUES},
        ),
    ],
)
def test_each_section_is_on_the_page(check, name, sections):
    headings = re.findall(r"^#+ (.*)$", (PAGES / name).read_text("utf-8"), re.MULTILINE)
    assert headings[0] == check.PAGE
    assert sections <= set(headings)


def test_a_driver_that_is_not_there_is_a_finding():
    async def check() -> list[LineFinding]:
        return [each async for each in check_command(["/nowhere/driver"], examine_adapter)]

    (only,) = asyncio.run(check())
    assert (only.step, only.outcome) == ("start", Health.FAIL)
    assert "cannot be started: No such file" in only.text


def test_the_command_says_what_is_wrong_and_where():
    program = f"import sys; print({json.dumps(READY)!r}); print('{{\"id\": 1}}')"
    done = run("driver-check", "--", sys.executable, "-c", program)
    shown = done.stdout.decode()
    assert done.returncode == 1
    assert 'line 2: {"id": 1}' in shown
    assert 'see: "Operations" of the page "The driver protocol"' in shown
    assert shown.endswith("FAIL: unknown operation, malformed line\n")
    as_json = json.loads(run("driver-check", "--json", "--", sys.executable, "-c", "").stdout)
    assert as_json["passed"] is False
    assert "has ended, with status 0" in as_json["findings"][0]["text"]


def test_the_command_knows_an_adapter_by_its_first_line():
    ready = {"ready": True, "codec": 1, "peer": "p"}
    program = f"print({json.dumps(ready)!r})"
    done = run("driver-check", "--", sys.executable, "-c", program)
    shown = done.stdout.decode()
    assert done.returncode == 1
    assert "field: version" in shown
    assert 'see: "The first line" of the page "The codec protocol"' in shown
    assert shown.endswith("FAIL: first line\n")
