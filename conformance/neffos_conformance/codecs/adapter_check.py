"""Speaks the codec protocol to an adapter step by step, and says which line and field is wrong.

Most steps are vectors, one of each sort. The tests of codecs have all of them, and say what the
codec does wrong; this check is of the adapter.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from functools import partial
from typing import Final

from neffos_conformance.codecs.requests import agrees, as_given, vector_requests
from neffos_conformance.runner.driver_protocol import ANSWER_DEADLINE, MADE_UP, Values
from neffos_conformance.runner.line_check import (
    Line,
    LineFinding,
    LinePipe,
    LineProtocol,
    Lines,
    LineSteps,
    StepEnd,
    brief,
)

PAGE: Final = "The codec protocol"
FIRST_LINE: Final = "The first line"
ANSWERS: Final = "Requests and answers"
VALUES: Final = "The values"
"""The page that explains the steps, and its sections."""

LONG: Final = 1 << 20
"""Characters of a long body. Some languages read lines of 64 KiB by default."""

BASIC: Final = "decode-frame-001"
"""The vector of the steps that are about lines, and not about values."""

_ADAPTER: Final = LineProtocol("codec", "the adapter", "a request", PAGE, {"ready": FIRST_LINE})


class FirstRead:
    """A program whose first line was read already, and is read once more."""

    def __init__(self, pipe: LinePipe, first: bytes) -> None:
        self._pipe = pipe
        self._first = first
        self.write, self.end, self.status = pipe.write, pipe.end, pipe.status

    async def line(self) -> bytes:
        """Read its next line."""
        first, self._first = self._first, b""
        return first or await self._pipe.line()


async def is_adapter(pipe: LinePipe, deadline: float) -> tuple[bool, LinePipe]:
    """Say whether a program is an adapter of a codec, by its first line; give it with that line."""
    first = b""
    with suppress(TimeoutError, ValueError):  # what is wrong with it is found when it is checked
        async with asyncio.timeout(deadline):
            first = await pipe.line()
    try:
        values = json.loads(first)
    except (ValueError, RecursionError):
        values = None
    return isinstance(values, dict) and "codec" in values, FirstRead(pipe, first)


async def examine_adapter(
    pipe: LinePipe, *, deadline: float = ANSWER_DEADLINE
) -> AsyncIterator[LineFinding]:
    """Yield what each step on an adapter shows.

    Args:
        pipe: the adapter.
        deadline: seconds for each line of the adapter.
    """
    lines = Lines(pipe, deadline, _ADAPTER)
    check = _Check(lines)
    steps: tuple[tuple[str, str, Callable[[], Awaitable[str]]], ...] = (
        ("first line", FIRST_LINE, check.ready),
        ("unknown operation", ANSWERS, check.made_up),
        ("malformed line", ANSWERS, check.malformed),
        ("unknown field", ANSWERS, check.unknown_field),
        *((step, VALUES, partial(check.vector, *vector)) for step, *vector in VECTORS),
        ("two requests", ANSWERS, check.at_once),
        ("long line", ANSWERS, check.long_line),
        ("end", ANSWERS, check.end),
    )
    async for finding in lines.perform(steps):
        yield finding


VECTORS: Final = (
    ("decode text", BASIC, "lenient"),
    ("decode bytes", "decode-utf8-046", "lenient"),
    ("decode not UTF-8", "decode-utf8-032", "lenient"),
    ("decode strictly", "decode-utf8-032", "strict"),
    ("refuse to decode", "decode-separators-001", "lenient"),
    ("decode natively", "native-fallback-001", "lenient"),
    ("limits", "limits-payload-002", "lenient"),
    ("encode text", "encode-frame-001", ""),
    ("encode bytes", "encode-frame-002", ""),
    ("refuse to encode", "encode-refused-022", ""),
    ("read a handshake", "handshake-accept-001", "lenient"),
    ("write a handshake", "handshake-encode-002", ""),
    ("reply", "reply-body-009", ""),
    ("parse a wait field", "systematic-wait-002", ""),
)
"""Steps that are a vector: the name of each, its vector, and the reading if there are two."""


class _Check(LineSteps):
    """The steps on one adapter."""

    def _take(self, line: Line, number: int | None) -> None:
        """Answers have the order of the requests."""
        text = "this is not the request that is to be answered"
        self._lines.fault(text, line, "id", json.dumps(number))

    async def unknown_field(self) -> str:
        """Request something with a field that does not exist."""
        request, _ = _vector(BASIC, "lenient")
        number = await self._send({**request, MADE_UP: True})
        return await self._unsupported(number, f"the field {MADE_UP}")

    async def vector(self, id_: str, reading: str) -> str:
        """Put a vector."""
        request, expected = _vector(id_, reading)
        return self._judged(await self._answer(await self._send(request), id_), expected)

    def _judged(self, line: Line, expected: Values) -> str:
        """Compare an answer with the expected one, in the form in which it is given."""
        actual = {name: each for name, each in line.values.items() if name != "id"}
        if "unsupported" in actual:
            raise StepEnd("the adapter does not support this; such vectors are skipped")
        if "error" in actual:
            self._lines.fault(
                "a request was answered with an error", line, "error", brief(expected)
            )
        elif "reject" in actual and "reject" not in expected:
            raise StepEnd(f"the codec refuses this; a vector expects {brief(expected)}")
        elif not agrees(actual, expected):
            self._lines.compare(line, actual, as_given(actual, expected))
        return brief(actual)

    async def at_once(self) -> str:
        """Write two requests before an answer is read."""
        request, expected = _vector(BASIC, "lenient")
        numbers = [await self._send(each) for each in ({"op": MADE_UP}, request)]
        await self._answer(numbers[0], MADE_UP)
        self._judged(await self._answer(numbers[1], BASIC), expected)
        return "answers both, in their order"

    async def long_line(self) -> str:
        """Put a long payload."""
        request, expected = _vector(BASIC, "lenient")
        body = "x" * LONG
        number = await self._send({**request, "payload": request["payload"] + body})
        line = await self._answer(number, f"a payload of {LONG} characters")
        message = expected["message"]
        self._judged(line, {"message": {**message, "body": message["body"] + body}})
        return f"reads and writes a line of {LONG} characters"

    async def end(self) -> str:
        """End its input, and see that it ends."""
        late: list[Line] = []
        await self._lines.end(late)
        for line in late:
            self._lines.fault("no request asked for this", line, "", "no such line")
        return "ended, with status 0"


def _vector(id_: str, reading: str) -> tuple[Values, Values]:
    """Give the request of a vector, and the expected answer."""
    [found] = [
        each
        for each in vector_requests()
        if each.vector["id"] == id_ and each.request.get("reading", "") == reading
    ]
    return found.request, found.expected
