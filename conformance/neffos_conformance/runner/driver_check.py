"""Speaks the driver protocol to a driver step by step, and says which line and field is wrong.

Each step makes the client do one thing at a server with the conformance application. It compares
what the driver writes with what the page on the driver protocol says.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

from neffos_conformance.cases.features import ID_HEADER
from neffos_conformance.runner.doctor import Health
from neffos_conformance.runner.driver_pool import NO_CONNECTION
from neffos_conformance.runner.driver_protocol import (
    ANSWER_DEADLINE,
    MADE_UP,
    DriverEndedError,
    DriverError,
    DriverLineError,
    DriverOutput,
    Values,
    fields_of,
    read_line,
)
from neffos_conformance.wire.secrets import masked
from neffos_conformance.wire.subprocesses import STOP_DEADLINE, Child

PAGE: Final = "The driver protocol"
FIRST_LINE: Final = "The first line"
OPERATIONS: Final = "Operations"
SEEN: Final = "What the client saw"
"""The page that explains the steps, and its sections."""

SILENT_TIMEOUT: Final = 60.0
"""Seconds for the reply to an ask that has none: longer than a driver that answers one operation
after the other is waited for."""

SHOWN: Final = 200
"""Characters of a line that are shown."""

ID: Final = "driver check;1"
"""The connection ID that the server gives: an acceptance is not escaped (HS-5)."""

TEXT: Final = "text; with a semicolon, and é"
BYTES: Final = b"\x00\xff;bytes"
"""Bodies: those that a driver garbles if it has a wrong idea of text or of bytes."""

NOT_AN_OPERATION: Final = b"not an operation\n"

_OPTIONAL: Final = frozenset({"left", "disconnected", "closed"})
"""Observations that may come with the end of a namespace or of a connection."""


@dataclass(frozen=True, slots=True)
class DriverFinding:
    """What a step showed.

    Attributes:
        step: the step, in a few words.
        outcome: its outcome; a note is about an operation that the client does not support.
        text: what was seen.
        line: the number of the line of the driver that is wrong, from 1 on; 0 for none.
        content: that line.
        field: the field that is wrong, as a path; empty for the line as a whole.
        expected: what was expected there.
        section: the section of the page that explains it.
    """

    step: str
    outcome: Health
    text: str
    line: int = 0
    content: str = ""
    field: str = ""
    expected: str = ""
    section: str = ""


class DriverPipe(DriverOutput, Protocol):
    """Both ends of a driver; see ``Child``."""

    async def write(self, data: bytes) -> None:
        """Write to its input."""

    async def end(self, timeout: float | None = ...) -> None:
        """End its input, and after a while the driver."""


class _StepEnd(Exception):  # noqa: N818  # not every end is an error
    """A step cannot go on."""


class _CheckEnd(Exception):  # noqa: N818
    """The check cannot go on."""


@dataclass(frozen=True, slots=True)
class _Line:
    """A line of the driver that is of the protocol's form."""

    number: int
    values: Values

    @property
    def content(self) -> str:
        return json.dumps(self.values, ensure_ascii=False)[:SHOWN]


async def check_driver(
    command: Sequence[str], url: str, *, deadline: float = ANSWER_DEADLINE
) -> AsyncIterator[DriverFinding]:
    """Start a driver, and yield what each step shows; it ends with the last one.

    Args:
        command: starts the driver.
        url: of a server with the conformance application.
        deadline: seconds for each line of the driver.
    """
    name = masked(" ".join(command))
    try:
        child = await Child.start(command)
    except OSError as error:
        yield DriverFinding("start", Health.FAIL, f"{name} cannot be started: {error.strerror}")
        return
    try:
        async for finding in examine_driver(child, url, deadline=deadline):
            yield finding
    finally:
        await child.end(0)


async def examine_driver(
    pipe: DriverPipe, url: str, *, deadline: float = ANSWER_DEADLINE
) -> AsyncIterator[DriverFinding]:
    """Yield what each step shows; the arguments are those of ``check_driver``."""
    check = _Check(pipe, url, deadline)
    for step, section, perform in _STEPS:
        findings, is_last = await check.perform(step, section, perform)
        for finding in findings:
            yield finding
        if is_last or (perform is _Check.dial and not check.has_dialled):
            return


class _Check:
    """The steps on one driver."""

    def __init__(self, pipe: DriverPipe, url: str, deadline: float) -> None:
        self._pipe = pipe
        self._url = url
        self._deadline = deadline
        self._lines = 0
        self._asked = 0
        self._unanswered: set[int | None] = set()
        self._seen: list[_Line] = []
        self._connections: list[int] = []
        self._is_connected = False
        self._lacking: set[str] = set()
        self._faults: list[DriverFinding] = []
        self._step = self._section = ""

    async def perform(
        self, step: str, section: str, perform: Callable[[_Check], Awaitable[str]]
    ) -> tuple[list[DriverFinding], bool]:
        """Perform a step; give its findings, and whether the check ends with it."""
        self._step, self._section, self._faults = step, section, []
        text, outcome, is_last = "", Health.OK, False
        try:
            text = await perform(self)
        except _StepEnd as end:
            text, outcome = str(end), Health.NOTE
        except _CheckEnd:
            is_last = True
        return self._faults or [DriverFinding(step, outcome, text)], is_last

    # ------------------------------------------------------------ lines

    async def _next(self) -> _Line:
        """Read the next line that is of the protocol's form; the others are faults."""
        while True:
            try:
                async with asyncio.timeout(self._deadline):
                    values, _ = await read_line("the driver", self._pipe)
            except DriverLineError as error:
                self._lines += 1
                content = error.line[: 4 * SHOWN].decode("utf-8", "replace").rstrip("\r\n")
                values = error.values if isinstance(error.values, dict) else {}
                what = "a line is not JSON" if error.values is None else "a line has another form"
                line = _Line(self._lines, values)
                self._fault(what, line, error.field, error.expected, content[:SHOWN])
                if isinstance(number := values.get("id"), int) and number in self._unanswered:
                    self._unanswered.discard(number)
                    raise _StepEnd("its answer is malformed") from None
                continue
            self._lines += 1
            return _Line(self._lines, values)

    async def _wait(self, what: str) -> _Line:
        """Read the next line; without one the check ends."""
        try:
            return await self._next()
        except TimeoutError:
            self._fault(f"nothing came within {self._deadline:g} s", expected=what)
        except DriverEndedError as error:
            self._fault(str(error), expected=what)
        except DriverError as error:
            self._fault(str(error))
        raise _CheckEnd

    def _fault(
        self,
        text: str,
        line: _Line | None = None,
        field: str = "",
        expected: str = "",
        content: str = "",
    ) -> None:
        """Note something that is wrong; the section is that of the line, if it has one."""
        values = {} if line is None else line.values
        named = {"saw": SEEN, "id": OPERATIONS, "ready": FIRST_LINE}
        sections = [section for name, section in named.items() if name in values]
        self._faults.append(
            DriverFinding(
                self._step,
                Health.FAIL,
                text,
                0 if line is None else line.number,
                content or ("" if line is None else line.content),
                field,
                expected,
                [*sections, self._section][0],
            )
        )

    async def _answer(self, number: int | None, what: str) -> _Line:
        """Read until the answer to an operation; keep the observations on the way."""
        self._unanswered.add(number)
        while True:
            line = await self._wait(
                f"a line with the id {json.dumps(number)}, the answer to {what}"
            )
            if "saw" in line.values:
                self._seen.append(line)
            elif "ready" in line.values:
                self._fault("the first line comes again", line, "ready", "an answer")
            elif line.values["id"] == number:
                self._unanswered.discard(number)
                return line
            elif line.values["id"] in self._unanswered:
                self._unanswered.discard(line.values["id"])
            else:
                text = "no operation with this id waits for an answer"
                self._fault(text, line, "id", json.dumps(number))

    async def _send(self, op: str, **fields: Any) -> int:
        self._asked += 1
        operation = {"id": self._asked, "op": op, **fields}
        await self._pipe.write(json.dumps(operation).encode() + b"\n")
        return self._asked

    async def _ask(self, op: str, **fields: Any) -> _Line:
        """Give the answer to an operation; one that is not supported ends the step."""
        if op in self._lacking:
            raise _StepEnd(f"the client does not support {op}")
        line = await self._answer(await self._send(op, **fields), op)
        if "unsupported" in line.values:
            self._lacking.add(op)
            raise _StepEnd(f"the client does not support {op}; cases that need it are skipped")
        return line

    async def _do(self, op: str, **fields: Any) -> _Line:
        """Give the result of an operation; anything else ends the step."""
        line = await self._ask(op, **fields)
        if "error" in line.values:
            self._fault(f"{op} failed, though the server did its part", line, "error", "a result")
            raise _StepEnd
        return line

    async def _fails(self, op: str, reason: str, /, **fields: Any) -> None:
        """See that an operation fails, with a text of the peer if it gave one."""
        line = await self._ask(op, **fields)
        if "error" not in line.values:
            self._fault(f"{op} cannot succeed here", line, "result", "an error")
        elif reason not in line.values["error"]:
            expected = f"a text that contains {json.dumps(reason, ensure_ascii=False)}"
            self._fault("the text of the peer is missing", line, "error", expected)

    async def _saw(self, word: str, **fields: Any) -> None:
        """Wait for an observation, and compare all its fields."""
        expected = {"saw": word, "connection": self._connection, **fields}
        shown = json.dumps(expected, ensure_ascii=False)
        while not (found := [each for each in self._seen if each.values["saw"] == word]):
            line = await self._wait(f"the line {shown}")
            if "saw" in line.values:
                self._seen.append(line)
            else:
                self._fault(
                    "an answer that no operation waits for", line, "id", f"the line {shown}"
                )
        self._seen.remove(found[0])
        self._compare(found[0], found[0].values, expected)

    def _compare(self, line: _Line, actual: Values, expected: Values, path: str = "") -> None:
        """Compare the fields of an object in a line; the body is one of two fields."""
        kinds = [
            [kind for kind in ("text", "base64") if kind in each] for each in (expected, actual)
        ]
        if kinds[0] != kinds[1] and all(len(each) == 1 for each in kinds):
            (kind,), (other,) = kinds
            wanted = f"{kind}: {json.dumps(expected[kind])}, since that is the message's type"
            self._fault("the body is of the other type", line, path + other, wanted)
            expected = {name: each for name, each in expected.items() if name != kind}
            actual = {name: each for name, each in actual.items() if name != other}
        for name in {**expected, **actual}:
            if name not in expected:
                self._fault("a field is too many", line, path + name, "no such field")
            elif name not in actual:
                self._fault("a field is missing", line, path + name, json.dumps(expected[name]))
            elif actual[name] != expected[name]:
                self._fault("a field is wrong", line, path + name, json.dumps(expected[name]))

    @property
    def has_dialled(self) -> bool:
        """Whether the client has named a connection."""
        return bool(self._connections)

    @property
    def _connection(self) -> int:
        """The client's number for the latest connection."""
        if not self._connections:
            raise _StepEnd("there is no connection")
        return self._connections[-1]

    # ------------------------------------------------------------ steps

    async def ready(self) -> str:
        """Read the first line."""
        line = await self._wait("the first line: the driver is ready")
        if "ready" not in line.values:
            self._fault("another line is the first", line, "ready", "true")
            raise _CheckEnd
        values = line.values
        return " ".join([values["peer"], values["version"], values.get("runtime", "")]).rstrip()

    async def made_up(self) -> str:
        """Have it do what does not exist."""
        line = await self._answer(await self._send(MADE_UP), MADE_UP)
        self._compare(line, line.values, {"id": self._asked, "unsupported": True})
        return "answers unsupported"

    async def malformed(self) -> str:
        """Write a line that is not an operation."""
        await self._pipe.write(NOT_AN_OPERATION)
        line = await self._answer(None, "a line that is not an operation")
        if "error" not in line.values:
            self._fault("a line that is not an operation was accepted", line, "error", "a text")
        return "answers an error, and goes on"

    async def dial(self) -> str:
        """Open a connection, whose ID is known."""
        line = await self._do("dial", url=self._url, headers={ID_HEADER: ID})
        self._opened(line, ID)
        return f"connection {self._connection}"

    def _opened(self, line: _Line, id_: str = "") -> None:
        result = line.values["result"]
        for name in ("connection", "connection_id"):
            if name not in result:
                self._fault("a field is missing", line, f"result/{name}", "what the table says")
        if id_ and result.get("connection_id", id_) != id_:
            expected = f"{json.dumps(id_)}: the server uses the header {ID_HEADER} of headers"
            self._fault("a field is wrong", line, "result/connection_id", expected)
        if (number := result.get("connection")) in self._connections:
            self._fault("the number names two connections", line, "result/connection", "another")
        elif number is not None:
            self._connections.append(number)

    async def unknown_connection(self) -> str:
        """Use a connection that is not there."""
        await self._fails("connect", "", connection=NO_CONNECTION, namespace="app")
        return "answers an error"

    async def connect(self) -> str:
        """Connect a namespace."""
        await self._do("connect", connection=self._connection, namespace="app")
        self._is_connected = True
        await self._saw("connected", namespace="app")
        return "app is connected"

    async def refused(self) -> str:
        """Have the server refuse a room."""
        await self._fails("join", "room is locked", **self._in_app, room="locked")
        return "answers with the text of the server"

    async def _replied(self, event: str, body: str | bytes, reply: str | bytes) -> None:
        line = await self._do("ask", **self._in_app, event=event, **fields_of(body))
        self._compare(line, line.values["result"], fields_of(reply), "result/")

    @property
    def _in_app(self) -> Values:
        if not self._is_connected:
            raise _StepEnd("the namespace app is not connected")
        return {"connection": self._connection, "namespace": "app"}

    async def ask(self) -> str:
        """Ask with a text."""
        await self._replied("echo", TEXT, TEXT)
        return "the reply arrives"

    async def ask_in_binary(self) -> str:
        """Ask with bytes."""
        await self._replied("echo", BYTES, BYTES)
        return "the reply arrives"

    async def ask_fails(self) -> str:
        """Have the server reply with an error."""
        await self._fails("ask", TEXT, **self._in_app, event="fail", text=TEXT)
        return "answers with the text of the server"

    async def event(self) -> str:
        """Have the server send an event of each type."""
        for kind, sent in (("push-text", "pushed"), ("push-bytes", b"pushed")):
            name = kind.encode() if isinstance(sent, bytes) else kind
            await self._do("ask", **self._in_app, event="push", **fields_of(name))
            await self._saw("event", namespace="app", room="", event=kind, **fields_of(sent))
        return "events reach a handler"

    async def emit(self) -> str:
        """Have the server ask the client, and see the reply that the client gave."""
        await self._do("emit", **self._in_app, event="ask-me", text=TEXT)
        for name in ("question", "answer"):
            await self._saw("event", namespace="app", room="", event=name, text=TEXT)
        return "the server's question is answered"

    async def rooms(self) -> str:
        """Join and leave a room, alone and with all rooms."""
        room = {"namespace": "app", "room": "lobby"}
        for leave in ({"op": "leave", **room}, {"op": "leave-all", "namespace": "app"}):
            await self._do("join", **self._in_app, room="lobby")
            await self._saw("joined", **room)
            await self._do(connection=self._connection, **leave)
            await self._saw("left", **room)
        return "joined and left"

    async def at_once(self) -> str:
        """Have it do something while an ask waits for its reply."""
        if "ask" in self._lacking:
            raise _StepEnd("the client does not support ask")
        silent = {"event": "silent", "text": "", "timeout": SILENT_TIMEOUT}
        waiting = await self._send("ask", **self._in_app, **silent)
        self._unanswered.add(waiting)
        line = await self._answer(await self._send(MADE_UP), f"{MADE_UP}, while an ask waits")
        if waiting not in self._unanswered:
            self._fault("an ask without a reply was answered first", line, "id", str(waiting))
        return "does not wait for earlier operations"

    async def disconnect(self) -> str:
        """Disconnect the namespace."""
        await self._do("disconnect", **self._in_app)
        await self._saw("disconnected", namespace="app")
        return "app is disconnected"

    async def native(self) -> str:
        """Send a native message, and receive it."""
        self._opened(await self._do("dial", url=f"{self._url.rstrip('/')}/mixed"))
        await self._do("connect", connection=self._connection, namespace="")
        await self._saw("connected", namespace="")
        await self._do("native", connection=self._connection, text="a native message")
        await self._saw("native", text="a native message")
        return "sent and received"

    async def close(self) -> str:
        """Close the latest connection."""
        await self._do("close", connection=self._connection)
        await self._saw("closed")
        return "closed"

    async def end(self) -> str:
        """End its input, and see that it ends and has reported nothing that nothing caused."""
        ending = asyncio.create_task(self._pipe.end())
        try:
            while True:
                line = await self._next()
                if "saw" in line.values:
                    self._seen.append(line)
        except (DriverError, TimeoutError):
            status = await self._pipe.status()
        finally:
            await ending
        for line in self._seen:
            if line.values["saw"] not in _OPTIONAL:
                self._fault("nothing happened that this reports", line, "saw", "no such line")
        if status is None or status < 0:  # killed: it may be slow, and no verdict depends on it
            raise _StepEnd(f"still ran {STOP_DEADLINE:g} s after the end of its input")
        if status:
            text = f"its exit status is {status} at the end of its input"
            self._fault(text, expected="exit status 0")
        return "ended, with status 0"


_STEPS: Final = (
    ("first line", FIRST_LINE, _Check.ready),
    ("unknown operation", OPERATIONS, _Check.made_up),
    ("malformed line", OPERATIONS, _Check.malformed),
    ("dial", OPERATIONS, _Check.dial),
    ("unknown connection", OPERATIONS, _Check.unknown_connection),
    ("connect", SEEN, _Check.connect),
    ("refused join", OPERATIONS, _Check.refused),
    ("ask", OPERATIONS, _Check.ask),
    ("ask in binary", OPERATIONS, _Check.ask_in_binary),
    ("error reply", OPERATIONS, _Check.ask_fails),
    ("event", SEEN, _Check.event),
    ("emit", SEEN, _Check.emit),
    ("rooms", SEEN, _Check.rooms),
    ("two operations", OPERATIONS, _Check.at_once),
    ("disconnect", SEEN, _Check.disconnect),
    ("native", SEEN, _Check.native),
    ("close", SEEN, _Check.close),
    ("end", FIRST_LINE, _Check.end),
)
"""The steps, each with its name and the section that explains it."""
