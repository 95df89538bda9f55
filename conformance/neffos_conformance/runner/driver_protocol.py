"""The suite's end of the driver protocol: starts a driver, and makes its client do things.

Every line is validated against the schema, in both directions. A driver that hangs, crashes or
writes nonsense is an error with its name in it, and every wait for it is bounded.
"""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, Protocol

from neffos_conformance.wire.schemas import place, shown, violation
from neffos_conformance.wire.secrets import masked
from neffos_conformance.wire.subprocesses import MAX_LINE, Child

MADE_UP: Final = "made-up"
"""An operation that no driver knows, and every driver must answer with ``unsupported``."""

READY_DEADLINE: Final = 30.0
"""Seconds for a driver to say that it is ready: an interpreter and its packages start in two."""

ANSWER_DEADLINE: Final = 15.0
"""Seconds for an answer: more than a driver's own limit of ten."""

ANSWER_MARGIN: Final = 5.0
"""Seconds for an answer after the time limit that an operation names."""

MAX_SEEN: Final = 100_000
"""Observations of a client that are kept."""

MAX_SEEN_BYTES: Final = 64 << 20
"""Bytes of the lines of these observations: two of the longest. A case reads all that it causes,
and the largest causes a few MiB."""

Values = dict[str, Any]


class DriverError(Exception):
    """A driver that violates the driver protocol."""


class DriverLineError(DriverError):
    """A line that is not of the driver protocol's form.

    Attributes:
        line: the line.
        values: what it holds, if it is JSON.
        field: the field that is wrong, as a path; empty for the line as a whole.
        expected: what was expected there.
    """

    def __init__(
        self, text: str, line: bytes, values: object = None, field: str = "", expected: str = ""
    ) -> None:
        super().__init__(text)
        self.line = line
        self.values = values
        self.field = field
        self.expected = expected or "a JSON object"


class DriverEndedError(DriverError):
    """A driver that ended, with its client, before the suite ended it."""


class OperationError(Exception):
    """The client failed to do an operation; the text is the driver's."""


class UnsupportedError(Exception):
    """The client does not support an operation."""


class DriverOutput(Protocol):
    """What is read of a driver; see ``Child``."""

    async def line(self) -> bytes:
        """Read the next line; empty at the end."""

    async def status(self) -> int | None:
        """Give the exit status, if it has ended."""


class ClientDriver(Protocol):
    """Controls a client: a driver, or a wrapper of one that seeds a fault."""

    @property
    def seen(self) -> list[Values]:
        """What the client observed and no one has waited for, in order."""

    async def do(self, op: str, **fields: Any) -> Values:
        """Make the client do something, and give the result."""

    async def saw(self, seconds: float = ..., **fields: Any) -> Values:
        """Wait for an observation of the client, and give that line; once each."""


class DriverProcess:
    """A running driver.

    Attributes:
        ready: its first line: who it is.
        seen: the observations of the client, in order.
    """

    def __init__(self, name: str, child: Child, ready: Values) -> None:
        self.ready = ready
        self.seen: list[Values] = []
        self._seen_bytes = 0
        self._name = name
        self._child = child
        self._number = 0
        self._answers: dict[int, asyncio.Future[Values]] = {}
        self._given_up: set[int] = set()
        self._news = asyncio.Event()
        self._ended: DriverError | None = None
        self._reader = asyncio.create_task(self._read(), name=f"read {name}")

    @property
    def trouble(self) -> DriverError | None:
        """What ended it, or how it violated the protocol; it answers nothing more then."""
        return self._ended

    async def do(self, op: str, **fields: Any) -> Values:
        """Make the client do something, and give the result.

        Raises:
            OperationError: it could not.
            UnsupportedError: it does not support that.
            DriverError: the driver violated the protocol, or did not answer.
        """
        self._number += 1
        number = self._number
        operation = {"id": number, "op": op, **fields}
        found = violation("driver", operation, "toDriver")
        if found is not None:
            raise DriverError(f"an operation is not of the driver protocol's form: {shown(found)}")
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        own = fields["timeout"] + ANSWER_MARGIN if "timeout" in fields else 0.0
        try:
            async with asyncio.timeout(max(ANSWER_DEADLINE, own)):
                await self._write(operation)
                values = await answer
        except TimeoutError:
            self._given_up.add(number)
            if self._ended is not None:
                raise self._ended from None
            raise DriverError(f"{self._name} gave no answer to {op!r}") from None
        except asyncio.CancelledError:
            self._given_up.add(number)
            raise
        finally:
            del self._answers[number]
        return result_of(op, values)

    async def saw(self, seconds: float = ANSWER_DEADLINE, **fields: Any) -> Values:
        """Wait for an observation with these fields, and give it; once each.

        A field that is ``None`` is one that the observation lacks.

        Raises:
            DriverError: there was none in time, or the driver ended.
        """
        try:
            async with asyncio.timeout(seconds):
                while (seen := take_seen(self.seen, fields)) is None:
                    if self._ended is not None:
                        raise self._ended
                    self._news.clear()
                    await self._news.wait()
                return seen
        except TimeoutError:
            raise DriverError(f"{self._name} did not see {fields}; it saw {self.seen}") from None

    async def stop(self) -> None:
        """End the driver with its input, or else by force, and all that it started."""
        try:
            await self._child.end(None if self._ended is None else 0)
        finally:
            self._reader.cancel()
            with suppress(asyncio.CancelledError):
                await self._reader

    async def _write(self, operation: Values) -> None:
        if self._ended is not None:
            raise self._ended
        await self._child.write(json.dumps(operation).encode() + b"\n")

    def _bound_seen(self, size: int) -> None:
        """Count the bytes of an observation; those that were taken meanwhile do not count."""
        if len(self.seen) > MAX_SEEN:
            raise DriverError(f"{self._name} reported more than {MAX_SEEN} observations")
        self._seen_bytes += size
        if self._seen_bytes > MAX_SEEN_BYTES:
            self._seen_bytes = sum(len(json.dumps(each)) for each in self.seen)
        if self._seen_bytes > MAX_SEEN_BYTES:
            raise DriverError(f"{self._name} reported more than {MAX_SEEN_BYTES} bytes")

    async def _read(self) -> None:
        try:
            while True:
                values, size = await read_line(self._name, self._child)
                if "saw" in values:
                    self.seen.append(values)
                    self._bound_seen(size)
                    self._news.set()
                    continue
                if values.get("id") in self._given_up:
                    continue  # no one waits for it any more
                answer = self._answers.get(values.get("id") or 0)
                if answer is not None and answer.cancelled():
                    continue  # likewise, since this moment
                if answer is None or answer.done():
                    raise DriverError(f"{self._name} answered an unknown operation: {values}")
                answer.set_result(values)
        except DriverError as error:
            self._ended = error
            self._news.set()
            for answer in self._answers.values():
                if not answer.done():
                    answer.set_exception(error)


@asynccontextmanager
async def running_driver(command: Sequence[str]) -> AsyncIterator[DriverProcess]:
    """Start a driver, see that it keeps to the protocol, and end it with the block.

    Raises:
        DriverError: it cannot be started, is not ready in time, or accepts an operation that does
            not exist.
    """
    name = masked(" ".join(command))  # it is part of messages and reports
    try:
        child = await Child.start(command)
    except OSError as error:
        raise DriverError(f"{name} cannot be started: {error}") from error
    driver = None
    try:
        async with asyncio.timeout(READY_DEADLINE):
            ready, _ = await read_line(name, child)
        if "ready" not in ready:
            raise DriverError(f"{name} is not ready: its first line is {ready}")
        driver = DriverProcess(name, child, ready)
        await _check_made_up(driver, name)
    except TimeoutError:
        await child.end(0)
        raise DriverError(f"{name} was not ready within {READY_DEADLINE:g} s") from None
    except BaseException:
        await (driver.stop() if driver else child.end(0))
        raise
    try:
        yield driver
    finally:
        await driver.stop()


async def _check_made_up(driver: DriverProcess, name: str) -> None:
    try:
        await driver.do(MADE_UP)
    except UnsupportedError:
        return
    except OperationError as error:
        raise DriverError(
            f"{name} answers {MADE_UP!r} with the error {str(error)!r}, not with unsupported"
        ) from error
    raise DriverError(f"{name} says that it has done {MADE_UP!r}, which does not exist")


async def read_line(
    name: str, output: DriverOutput, protocol: str = "driver"
) -> tuple[Values, int]:
    """Read a line of a driver; give its values and its size in bytes.

    Args:
        name: the driver, in error messages.
        output: what it writes.
        protocol: the name of the schema that has its lines: "driver" or "codec".

    Raises:
        DriverLineError: it is not of the protocol's form.
        DriverEndedError: there is none.
        DriverError: it is too long.
    """
    try:
        line = await output.line()
    except ValueError as error:
        raise DriverError(f"{name} wrote a line of more than {MAX_LINE} bytes") from error
    if not line:
        status = await output.status()
        how = "closed its output" if status is None else f"has ended, with status {status}"
        raise DriverEndedError(f"{name} {how}")
    try:
        values: Values = json.loads(line)
    except ValueError as error:
        text = f"{name} wrote a line that is not JSON: {line[:200]!r}"
        raise DriverLineError(text, line) from error
    except RecursionError:
        text = f"{name} wrote a line that is nested too deeply: {line[:200]!r}"
        raise DriverLineError(text, line) from None
    found = violation(protocol, values, f"from{protocol.title()}")
    if found is not None:
        text = f"{name}: {line[:200]!r} is not of the {protocol} protocol's form: {shown(found)}"
        raise DriverLineError(text, line, values, *place(found))
    return values, len(line)


async def catch_up(driver: ClientDriver) -> None:
    """Wait until a driver has read every operation, and reported what it saw before.

    Raises:
        DriverError: it violated the protocol, or did not answer.
    """
    with suppress(UnsupportedError, OperationError):
        await driver.do(MADE_UP)


def result_of(op: str, answer: Values) -> Values:
    """Give the result of an operation, by the answer of the driver.

    Raises:
        OperationError: it failed.
        UnsupportedError: the driver does not support it.
    """
    if "unsupported" in answer:
        raise UnsupportedError(op)
    if "error" in answer:
        raise OperationError(answer["error"])
    result: Values = answer["result"]
    return result


def take_seen(seen: list[Values], fields: Values) -> Values | None:
    """Take the first observation with these fields out of a list; ``None`` if there is none."""
    for index, each in enumerate(seen):
        if has_fields(each, fields):
            return seen.pop(index)
    return None


def has_fields(observation: Values, fields: Values) -> bool:
    """Say whether an observation has these fields; ``None`` is a field that it lacks."""
    return all(observation.get(name) == value for name, value in fields.items())


def body_of(values: Values) -> str | bytes:
    """Give the body in a line of the driver protocol."""
    return base64.b64decode(values["base64"]) if "base64" in values else str(values["text"])


def fields_of(body: str | bytes) -> Values:
    """Give the fields that represent a body."""
    if isinstance(body, bytes):
        return {"base64": base64.b64encode(body).decode()}
    return {"text": body}
