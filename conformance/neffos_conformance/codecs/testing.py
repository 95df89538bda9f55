"""Runs the vectors on a codec under test, and evaluates its answers.

The adapter is a program that reads requests and writes answers, a line each. One that hangs,
crashes or writes nonsense ends the run with its name in the error.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from functools import cache
from tempfile import TemporaryFile
from typing import Any, Final

from neffos_conformance.cases.definition import Case
from neffos_conformance.cases.verdict import Verdict, most_severe, verdict_on
from neffos_conformance.codecs.catalogue import codec_cases
from neffos_conformance.codecs.requests import VectorRequest, agrees, vector_requests
from neffos_conformance.runner.driver_protocol import MADE_UP
from neffos_conformance.runner.result import LogEntry, Remark, Result
from neffos_conformance.wire.schemas import shown, violation
from neffos_conformance.wire.secrets import masked
from neffos_conformance.wire.subprocesses import MAX_LINE, Child

DEADLINE: Final = 120.0
"""Seconds for all answers: the slowest codec here needs two, and one that hangs is ended."""

SHORTENED: Final = 100
"""Characters of a text that are validated: the schema tests its form alone."""

SHOWN: Final = 400
"""Characters of a request or an answer in a report: vectors have megabytes."""

Values = dict[str, Any]


class AdapterError(Exception):
    """An adapter that violates the codec protocol."""


@dataclass(frozen=True, slots=True)
class Answered:
    """One request with its answer.

    Attributes:
        asked: the request, and the expected answer.
        actual: the answer, without its number.
    """

    asked: VectorRequest
    actual: Values

    @property
    def verdict(self) -> Verdict:
        """The verdict, by the requirements of the vector."""
        if "unsupported" in self.actual:
            return Verdict.SKIPPED
        if agrees(self.actual, self.asked.expected):
            return Verdict.PASS
        return verdict_on(self.asked.vector["requirements"])


def run_codec(
    command: Sequence[str], cases: Sequence[Case] | None = None, *, deadline: float = DEADLINE
) -> tuple[Values, list[Answered]]:
    """Run some vectors, or all, on an adapter.

    Args:
        command: starts it.
        cases: which vectors.
        deadline: seconds for all answers.

    Returns:
        What the adapter says of itself, and the answers in the order of the requests.

    Raises:
        AdapterError: it cannot be started, does not answer every line in order and in time, or
            writes a line that is not of the protocol.
    """
    name = masked(" ".join(command))  # it is part of messages and reports

    async def bounded() -> tuple[Values, list[Answered]]:
        try:
            async with asyncio.timeout(deadline):
                return await _run_codec(command, name, cases)
        except TimeoutError:
            raise AdapterError(f"{name} was not done within {deadline:g} s") from None

    return asyncio.run(bounded())


async def _run_codec(
    command: Sequence[str], name: str, cases: Sequence[Case] | None
) -> tuple[Values, list[Answered]]:
    canary = {"id": len(vector_requests()) + 1, "op": MADE_UP}
    chosen = codec_cases() if cases is None else cases
    ids = {case.id for case in chosen}
    put = [each for each in vector_requests() if each.vector["id"] in ids]
    asked = [*((each.request, each.expected) for each in put), (canary, {})]
    lines = b"".join(json.dumps(request).encode() + b"\n" for request, _ in asked)
    found = []
    async with aclosing(_answers(command, name, lines)) as answers:
        ready: Values = await anext(answers, {})
        _check(ready, name)
        if "ready" not in ready:
            raise AdapterError(f"{name} is not ready: its first line is {ready}")
        for request, expected in asked:
            actual = await anext(answers, None)
            if actual is None or actual.get("id") != request["id"]:
                asked_id = request["id"]
                raise AdapterError(f"{name} did not answer request {asked_id}, it said {actual}")
            if actual != {"id": request["id"], **expected}:  # the expected answer is valid
                _check(actual, name)
            found.append({key: value for key, value in actual.items() if key != "id"})
        if found.pop() != {"unsupported": True}:
            raise AdapterError(f"{name} accepts {MADE_UP!r}, an operation that does not exist")
        if await anext(answers, None) is not None:
            raise AdapterError(f"{name} wrote more lines than it was asked for")
    return ready, [Answered(*each) for each in zip(put, found, strict=True)]


def results_of(answered: Sequence[Answered], cases: Sequence[Case]) -> list[Result]:
    """Give the result of each vector: the most severe verdict on its requests."""
    by_vector: dict[str, list[Answered]] = {}
    for each in answered:
        by_vector.setdefault(each.asked.vector["id"], []).append(each)
    return [_result(case, by_vector[case.id]) for case in cases]


@cache
def _by_vector() -> Mapping[str, list[VectorRequest]]:
    found: dict[str, list[VectorRequest]] = {}
    for each in vector_requests():
        found.setdefault(each.vector["id"], []).append(each)
    return found


def run_vector(case: Case, answer: Callable[[Values], Values]) -> Result:
    """Run one vector on a codec in this process.

    Args:
        case: the vector.
        answer: gives the answer of the codec to a request.
    """
    return _result(case, [Answered(each, answer(each.request)) for each in _by_vector()[case.id]])


def _result(case: Case, answered: list[Answered]) -> Result:
    verdict = most_severe(one.verdict for one in answered) or Verdict.SKIPPED
    worst = next(each for each in answered if each.verdict is verdict)
    result = Result(case, verdict)
    result.answers = [each.actual for each in answered]
    for number, each in enumerate(answered, 1):
        for is_asked, what, values in (
            (True, "asked", each.asked.request),
            (False, "got", each.actual),
        ):
            remark = Remark(f"{what} {_shown(values)}")
            result.log.append(LogEntry(0.0, 1, is_asked, remark, number))
    if verdict is Verdict.SKIPPED:
        result.explanation = f"the adapter cannot {worst.asked.request['op']}"
    elif verdict is not Verdict.PASS:
        result.step = answered.index(worst) + 1
        result.expected, result.actual = _shown(worst.asked.expected), _shown(worst.actual)
        result.explanation = f"expected {result.expected}, actual {result.actual}"
    return result


def _shown(values: Values) -> str:
    named = {key: _shortened(each, SHOWN) for key, each in values.items() if key != "id"}
    text = json.dumps(named, sort_keys=True)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


async def _answers(command: Sequence[str], name: str, lines: bytes) -> AsyncGenerator[Values]:
    with TemporaryFile() as requests:  # not a pipe: an adapter answers before it has read all
        requests.write(lines)
        requests.seek(0)
        try:
            child = await Child.start(command, stdin=requests)
        except OSError as error:
            raise AdapterError(f"{name} cannot be started: {error}") from error
    try:
        while line := await _line(child, name):
            yield _read(line, name)
        status = await child.status()
        if status:
            raise AdapterError(f"{name} ended with status {status}")
    finally:
        await child.end(0)


async def _line(child: Child, name: str) -> bytes:
    try:
        return await child.line()
    except ValueError as error:
        raise AdapterError(f"{name} wrote a line of more than {MAX_LINE} bytes") from error


def _read(line: bytes, name: str) -> Values:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise AdapterError(f"{name} wrote a line that is not JSON: {line[:200]!r}") from error
    if not isinstance(values, dict):
        raise AdapterError(f"{name} wrote a line that is not an object: {line[:200]!r}")
    return values


def _check(values: Values, name: str) -> None:
    found = violation("codec", _shortened(values, SHORTENED), "fromCodec")
    if found is not None:
        raise AdapterError(f"{name} wrote {str(values)[:200]}: {shown(found)}")


def _shortened(value: Any, size: int) -> Any:
    """Cut long texts, which a validator writes out for each form that a line does not have."""
    if isinstance(value, dict):
        return {name: _shortened(each, size) for name, each in value.items()}
    return value[:size] if isinstance(value, str) else value
