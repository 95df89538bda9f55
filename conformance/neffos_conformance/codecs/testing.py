"""Asks a codec under test about the vectors, and judges its answers.

The adapter is a program that reads requests and writes answers, a line each. One that hangs,
crashes or talks nonsense ends the judging with its name in the error.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

from jsonschema import Draft202012Validator

from neffos_conformance.cases.definition import Case
from neffos_conformance.cases.verdict import Verdict, verdict_on
from neffos_conformance.codecs.requests import Question, agrees, questions
from neffos_conformance.runner.driver_protocol import MADE_UP
from neffos_conformance.runner.result import LogEntry, Remark, Result

DEADLINE: Final = 120.0
"""Seconds for all answers: the slowest codec here needs two, and one that hangs is ended."""

SHORTENED: Final = 100
"""Characters of a text that the schema gets to see: its form is judged, and long ones cost."""

TOLD: Final = 400
"""Characters of a request or an answer that a report holds: vectors have megabytes."""

Values = dict[str, Any]


class AdapterError(Exception):
    """An adapter that does not keep to the codec protocol."""


@dataclass(frozen=True, slots=True)
class Answered:
    """What came of one question.

    Attributes:
        question: what was asked, and what is wanted.
        got: the answer, without its number.
        verdict: by the requirements of the vector.
    """

    question: Question
    got: Values
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Judged:
    """What came of all.

    Attributes:
        ready: what the adapter says of itself.
        answered: the answers, in the order of the questions.
    """

    ready: Values
    answered: tuple[Answered, ...]


@cache
def codec_cases() -> tuple[Case, ...]:
    """Give the vectors that an adapter can be asked about as cases, in their order."""
    vectors = [each[0].vector for each in _by_vector().values()]
    return tuple(
        Case(vector["id"], vector["about"], tuple(vector["requirements"]), "codec", ())
        for vector in vectors
    )


def judge_codec(
    command: Sequence[str], cases: Sequence[Case] | None = None, *, deadline: float = DEADLINE
) -> Judged:
    """Ask an adapter about some vectors, or all.

    Args:
        command: starts it.
        cases: which vectors.
        deadline: seconds for all answers.

    Raises:
        AdapterError: it cannot be started, does not answer every line in order and in time, or
            writes what is of no form of the protocol.
    """
    name = " ".join(command)
    canary = {"id": len(questions()) + 1, "op": MADE_UP}
    chosen = codec_cases() if cases is None else cases
    ids = {case.id for case in chosen}
    put = [each for each in questions() if each.vector["id"] in ids]
    asked = [*((each.request, each.wanted) for each in put), (canary, {})]
    lines = b"".join(json.dumps(request).encode() + b"\n" for request, _ in asked)
    answers = _run(command, name, lines, deadline)
    ready = next(answers, {})
    _check(ready, name)
    if "ready" not in ready:
        raise AdapterError(f"{name} does not begin by being ready, it said {ready}")
    found = []
    for request, wanted in asked:
        got = next(answers, None)
        if got is None or got.get("id") != request["id"]:
            raise AdapterError(f"{name} did not answer request {request['id']}, it said {got}")
        if got != {"id": request["id"], **wanted}:  # what is wanted has the right form
            _check(got, name)
        found.append({key: value for key, value in got.items() if key != "id"})
    if found.pop() != {"unsupported": True}:
        raise AdapterError(f"{name} does as if it knew {MADE_UP!r}, an operation that is none")
    if next(answers, None) is not None:
        raise AdapterError(f"{name} wrote more lines than it was asked for")
    return Judged(
        ready,
        tuple(
            Answered(question, got, _verdict(question, got))
            for question, got in zip(put, found, strict=True)
        ),
    )


def results_of(judged: Judged, cases: Sequence[Case]) -> list[Result]:
    """Give what came of each vector: the gravest of what came of its questions."""
    by_vector: dict[str, list[Answered]] = {}
    for each in judged.answered:
        by_vector.setdefault(each.question.vector["id"], []).append(each)
    return [_result(case, by_vector[case.id]) for case in cases]


@cache
def _by_vector() -> Mapping[str, list[Question]]:
    found: dict[str, list[Question]] = {}
    for each in questions():
        found.setdefault(each.vector["id"], []).append(each)
    return found


def judge_vector(case: Case, answer: Callable[[Values], Values]) -> Result:
    """Judge a codec that runs in this process by one vector.

    Args:
        case: the vector.
        answer: what the codec answers to a request.
    """
    put = _by_vector()[case.id]
    answered = [(each, answer(each.request)) for each in put]
    return _result(case, [Answered(each, got, _verdict(each, got)) for each, got in answered])


def _result(case: Case, answered: list[Answered]) -> Result:
    verdict = next(each for each in _GRAVITY if each in {one.verdict for one in answered})
    worst = next(each for each in answered if each.verdict is verdict)
    result = Result(case, verdict)
    for number, each in enumerate(answered, 1):
        for is_asked, what, values in (
            (True, "asked", each.question.request),
            (False, "got", each.got),
        ):
            remark = Remark(f"{what} {_told(values)}")
            result.log.append(LogEntry(0.0, 1, is_asked, remark, number))
    if verdict is Verdict.UNSUPPORTED:
        result.explanation = f"the adapter cannot {worst.question.request['op']}"
    elif verdict is not Verdict.PASS:
        result.step = answered.index(worst) + 1
        result.expected, result.actual = _told(worst.question.wanted), _told(worst.got)
        result.explanation = f"wanted {result.expected}, got {result.actual}"
    return result


def _told(values: Values) -> str:
    told = json.dumps({key: each for key, each in values.items() if key != "id"}, sort_keys=True)
    return told if len(told) <= TOLD else f"{told[:TOLD]}…"


_GRAVITY: Final = (
    Verdict.ERROR,
    Verdict.FAIL,
    Verdict.NON_STRICT,
    Verdict.INFORMATIONAL,
    Verdict.PASS,
    Verdict.UNSUPPORTED,
)
"""The verdict on a vector is the first of these that one of its questions has: a codec with one
reading alone is judged by that."""


def _verdict(question: Question, got: Values) -> Verdict:
    if "unsupported" in got:
        return Verdict.UNSUPPORTED
    if agrees(got, question.wanted):
        return Verdict.PASS
    return verdict_on(question.vector["requirements"])


def _run(command: Sequence[str], name: str, lines: bytes, deadline: float) -> Iterator[Values]:
    try:
        process = subprocess.Popen(  # noqa: S603  # the command is the caller's own
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
    except OSError as error:
        raise AdapterError(f"{name} cannot be started: {error}") from error
    is_late = threading.Event()

    def end() -> None:
        is_late.set()
        process.kill()

    timer = threading.Timer(deadline, end)
    timer.start()
    try:
        with process:
            # Fed by a thread: an adapter answers before it has read all.
            feeder = threading.Thread(target=_feed, args=(process, lines), daemon=True)
            feeder.start()
            for line in process.stdout or ():
                yield _read(line, name)
    finally:
        timer.cancel()
        process.kill()
    if is_late.is_set():
        raise AdapterError(f"{name} was not done within {deadline:g} s")
    if process.returncode:
        raise AdapterError(f"{name} ended with status {process.returncode}")


def _feed(process: subprocess.Popen[bytes], lines: bytes) -> None:
    if process.stdin is not None:
        try:
            process.stdin.write(lines)
            process.stdin.close()
        except OSError:  # it has ended; its output tells
            return


def _read(line: bytes, name: str) -> Values:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise AdapterError(f"{name} wrote what is no JSON: {line[:200]!r}") from error
    if not isinstance(values, dict):
        raise AdapterError(f"{name} wrote what is no object: {line[:200]!r}")
    return values


def _check(values: Values, name: str) -> None:
    wrong = next(_validator().iter_errors(_shortened(values)), None)
    if wrong is not None:
        raise AdapterError(f"{name} wrote {str(values)[:200]}: {wrong.message[:300]}")


def _shortened(value: Any) -> Any:
    """Cut long texts: a validator writes them out for each form that a line does not have."""
    if isinstance(value, dict):
        return {name: _shortened(each) for name, each in value.items()}
    return value[:SHORTENED] if isinstance(value, str) else value


@cache
def _validator() -> Draft202012Validator:
    schema = json.loads(
        files("neffos_conformance.data").joinpath("schema", "codec.json").read_text("utf-8")
    )
    return Draft202012Validator({**schema, "$ref": "#/$defs/fromCodec"})
