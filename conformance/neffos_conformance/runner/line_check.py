"""Checks a program line by line: what it writes, and which line and field is wrong.

A check is a number of steps. Each makes the program do one thing, and compares the lines that it
writes with what a page of the specification says. This module knows neither the steps nor who is
checked.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from neffos_conformance.runner.doctor import Health
from neffos_conformance.runner.driver_protocol import (
    MADE_UP,
    DriverEndedError,
    DriverError,
    DriverLineError,
    DriverOutput,
    Values,
    read_line,
)
from neffos_conformance.wire.secrets import masked
from neffos_conformance.wire.subprocesses import STOP_DEADLINE, Child

SHOWN: Final = 200
"""Characters of a line that are shown."""

NOT_JSON: Final = b"not JSON\n"
"""A line that asks for nothing."""


@dataclass(frozen=True, slots=True)
class LineFinding:
    """What a step showed.

    Attributes:
        step: the step, in a few words.
        outcome: its outcome; a note is about an operation that the program does not support.
        text: what was seen.
        line: the number of the line of the program that is wrong, from 1 on; 0 for none.
        content: that line.
        field: the field that is wrong, as a path; empty for the line as a whole.
        expected: what was expected there.
        section: the section of the page that explains it.
        page: that page.
    """

    step: str
    outcome: Health
    text: str
    line: int = 0
    content: str = ""
    field: str = ""
    expected: str = ""
    section: str = ""
    page: str = ""


class LinePipe(DriverOutput, Protocol):
    """Both ends of a program; see ``Child``."""

    async def write(self, data: bytes) -> None:
        """Write to its input."""

    async def end(self, timeout: float | None = ...) -> None:
        """End its input, and after a while the program."""


class StepEnd(Exception):  # noqa: N818  # not every end is an error
    """A step cannot go on; the text is its note."""


class CheckEnd(Exception):  # noqa: N818
    """The check cannot go on."""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the program that is of the protocol's form."""

    number: int
    values: Values

    @property
    def content(self) -> str:
        """The line, as far as it is shown."""
        return brief(self.values)


def brief(value: object) -> str:
    """Give a value as JSON, as far as it is shown."""
    return json.dumps(value, ensure_ascii=False)[:SHOWN]


@dataclass(frozen=True, slots=True)
class LineProtocol:
    """What the lines of a program are held to.

    Attributes:
        name: of the protocol, as ``read_line`` takes it.
        writer: who writes them.
        asked: what is asked of the program, with its article.
        page: the page about it.
        sections: the section about a line, by a field that the line has.
    """

    name: str
    writer: str
    asked: str
    page: str
    sections: Mapping[str, str]


async def check_command(
    command: Sequence[str], examine: Callable[[LinePipe], AsyncIterator[LineFinding]]
) -> AsyncIterator[LineFinding]:
    """Start a program, and yield what each step shows; it ends with the last one."""
    name = masked(" ".join(command))
    try:
        child = await Child.start(command)
    except OSError as error:
        yield LineFinding("start", Health.FAIL, f"{name} cannot be started: {error.strerror}")
        return
    try:
        async for finding in examine(child):
            yield finding
    finally:
        await child.end(0)


class Lines:
    """The lines of a program under check, and what is wrong with them.

    Attributes:
        pipe: the program.
        protocol: what its lines are held to.
        unanswered: the numbers of what was asked of it, without an answer.
    """

    def __init__(self, pipe: LinePipe, deadline: float, protocol: LineProtocol) -> None:
        self.pipe = pipe
        self.protocol = protocol
        self.unanswered: set[int | None] = set()
        self._deadline = deadline
        self._count = 0
        self._faults: list[LineFinding] = []
        self._step = self._section = ""

    async def perform(
        self, steps: Iterable[tuple[str, str, Callable[[], Awaitable[str]]]]
    ) -> AsyncIterator[LineFinding]:
        """Perform steps until one ends the check, and yield the findings of each.

        Args:
            steps: the name of each, the section about it, and what it does.
        """
        for step, section, action in steps:
            self._step, self._section, self._faults = step, section, []
            text, outcome, is_last = "", Health.OK, False
            try:
                text = await action()
            except StepEnd as end:
                text, outcome = str(end), Health.NOTE
            except CheckEnd:
                is_last = True
            for each in self._faults or [LineFinding(step, outcome, text)]:
                yield each
            if is_last:
                return

    async def next(self) -> Line:
        """Read the next line that is of the protocol's form; the others are faults.

        Raises:
            StepEnd: it is the answer to something, and malformed.
            TimeoutError: there is none in time.
            DriverError: there is none any more.
        """
        while True:
            try:
                async with asyncio.timeout(self._deadline):
                    values, _ = await read_line(self.protocol.writer, self.pipe, self.protocol.name)
            except DriverLineError as error:
                self._count += 1
                content = error.line[: 4 * SHOWN].decode("utf-8", "replace").rstrip("\r\n")
                values = error.values if isinstance(error.values, dict) else {}
                what = "a line is not JSON" if error.values is None else "a line has another form"
                line = Line(self._count, values)
                self.fault(what, line, error.field, error.expected, content[:SHOWN])
                if isinstance(number := values.get("id"), int) and number in self.unanswered:
                    self.unanswered.discard(number)
                    raise StepEnd("its answer is malformed") from None
                continue
            self._count += 1
            return Line(self._count, values)

    async def wait(self, what: str, end: type[Exception] = CheckEnd) -> Line:
        """Read the next line; without one in time, ``end`` is raised."""
        try:
            return await self.next()
        except TimeoutError:
            self.fault(f"nothing came within {self._deadline:g} s", expected=what)
            raise end from None
        except DriverEndedError as error:
            self.fault(str(error), expected=what)
        except DriverError as error:
            self.fault(str(error))
        raise CheckEnd

    async def send(self, values: Values) -> None:
        """Write a line to the program."""
        await self.pipe.write(json.dumps(values).encode() + b"\n")

    async def end(self, late: list[Line]) -> None:
        """End its input, and see that it ends.

        Args:
            late: takes the lines that it still writes.

        Raises:
            StepEnd: it did not end in time.
        """
        ending = asyncio.create_task(self.pipe.end())
        try:
            while True:
                late.append(await self.next())
        except (DriverError, TimeoutError):
            status = await self.pipe.status()
        finally:
            await ending
        if status is None or status < 0:  # killed: it may be slow, and no verdict depends on it
            raise StepEnd(f"still ran {STOP_DEADLINE:g} s after the end of its input")
        if status:
            text = f"its exit status is {status} at the end of its input"
            self.fault(text, expected="exit status 0")

    def fault(
        self,
        text: str,
        line: Line | None = None,
        field: str = "",
        expected: str = "",
        content: str = "",
    ) -> None:
        """Note something that is wrong; the section is that of the line, if it has one."""
        values = {} if line is None else line.values
        named = self.protocol.sections
        sections = [section for name, section in named.items() if name in values]
        self._faults.append(
            LineFinding(
                self._step,
                Health.FAIL,
                text,
                0 if line is None else line.number,
                content or ("" if line is None else line.content),
                field,
                expected,
                [*sections, self._section][0],
                self.protocol.page,
            )
        )

    def forget(self) -> None:
        """Take the latest fault back."""
        self._faults.pop()

    def compare(self, line: Line, actual: Values, expected: Values, path: str = "") -> None:
        """Compare the fields of an object in a line; a body may be one of two fields."""
        kinds = [
            [kind for kind in ("text", "base64") if kind in each] for each in (expected, actual)
        ]
        if kinds[0] != kinds[1] and all(len(each) == 1 for each in kinds):
            (kind,), (other,) = kinds
            wanted = f"{kind}: {json.dumps(expected[kind])}, since that is the message's type"
            self.fault("the body is of the other type", line, path + other, wanted)
            expected = {name: each for name, each in expected.items() if name != kind}
            actual = {name: each for name, each in actual.items() if name != other}
        for name in {**expected, **actual}:
            if name not in expected:
                self.fault("a field is too many", line, path + name, "no such field")
            elif name not in actual:
                self.fault("a field is missing", line, path + name, brief(expected[name]))
            elif isinstance(expected[name], dict) and isinstance(actual[name], dict):
                self.compare(line, actual[name], expected[name], f"{path}{name}/")
            elif actual[name] != expected[name]:
                self.fault("a field is wrong", line, path + name, brief(expected[name]))


class LineSteps:
    """The steps that the checks of all programs have, and what other steps ask and answer with.

    Args:
        lines: of the program.
    """

    def __init__(self, lines: Lines) -> None:
        self._lines = lines
        self._asked = 0

    async def _send(self, request: Values) -> int:
        """Ask something of the program, and give the number of that."""
        self._asked += 1
        self._lines.unanswered.add(self._asked)
        await self._lines.send({**request, "id": self._asked})
        return self._asked

    async def _answer(self, number: int | None, what: str) -> Line:
        """Read until the answer to what has a number."""
        while True:
            line = await self._lines.wait(
                f"a line with the id {json.dumps(number)}, the answer to {what}"
            )
            if "ready" in line.values:
                self._lines.fault("the first line comes again", line, "ready", "an answer")
            elif "id" in line.values and line.values["id"] == number:
                self._lines.unanswered.discard(number)
                return line
            else:
                self._take(line, number)

    def _take(self, line: Line, number: int | None) -> None:
        """Take another line than the answer to what has a number."""
        raise NotImplementedError

    async def _unsupported(self, number: int, what: str) -> str:
        line = await self._answer(number, what)
        self._lines.compare(line, line.values, {"id": number, "unsupported": True})
        return "answers unsupported"

    async def ready(self) -> str:
        """Read the first line."""
        line = await self._lines.wait(f"the first line: {self._lines.protocol.writer} is ready")
        if "ready" not in line.values:
            self._lines.fault("another line is the first", line, "ready", "true")
            raise CheckEnd
        values = line.values
        return " ".join([values["peer"], values["version"], values.get("runtime", "")]).rstrip()

    async def made_up(self) -> str:
        """Have it do what does not exist."""
        return await self._unsupported(await self._send({"op": MADE_UP}), MADE_UP)

    async def malformed(self) -> str:
        """Write a line that asks for nothing."""
        text = f"a line that is not {self._lines.protocol.asked}"
        await self._lines.pipe.write(NOT_JSON)
        line = await self._answer(None, text)
        if "error" not in line.values:
            self._lines.fault(f"{text} was accepted", line, "error", "a text")
        return "answers an error, and goes on"
