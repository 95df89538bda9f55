"""Runs cases against a system under test and gives a verdict on each.

A peer that is slow, silent, dead or talks nonsense costs a case its verdict and nothing else:
every wait has a deadline.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Mapping,
    Sequence,
)
from contextlib import aclosing, suppress
from typing import Final

from neffos_conformance.cases.definition import Case
from neffos_conformance.cases.script import MAY_END, SAYING, Step
from neffos_conformance.cases.verdict import Verdict, verdict_on
from neffos_conformance.runner import client_steps as client_role
from neffos_conformance.runner import server_steps as server_role
from neffos_conformance.runner.client_steps import (
    Between,
    ClientDriver,
    PendingOperations,
    accepting_clients,
)
from neffos_conformance.runner.driver_protocol import (
    DriverEndedError,
    DriverError,
    OperationError,
    UnsupportedError,
)
from neffos_conformance.runner.result import Result
from neffos_conformance.runner.script_runner import MismatchError, ScriptRunner, Timeouts
from neffos_conformance.wire.connection import ConnectError
from neffos_conformance.wire.transport import UpgradeRequest

DEFAULT_JOBS: Final = 16
"""Cases that run at the same time, each on connections of its own: enough to hide the waiting,
too few to look like an attack."""

DEFAULT_TIMEOUTS: Final = Timeouts()
"""How long a case waits, where nobody says otherwise."""

FLOODS_AT_ONCE: Final = 2
"""Cases that look for a limit that run at the same time: each waits a good deal for the server to
stop reading, and more of them would keep it from being seen."""

MARK_SIZE: Final = 4
"""Octets of chance in a case's mark: cases that run at once have different ids anyway."""

Act = Callable[[Step, int], Awaitable[None]]
Run = Callable[[Case], Awaitable[Result]]
"""Runs one case."""

SPELL: Final = 32
"""How often a line is repeated before what comes meanwhile is read, which may be the end."""

CLOSING: Final = frozenset({"TR-12", "TR-13", "TR-16"})
"""The requirements on how a connection ends. A case that names one is about that."""


async def run_cases(
    run: Run, cases: Sequence[Case], *, at_once: int = DEFAULT_JOBS
) -> AsyncIterator[Result]:
    """Run the cases and yield each result as it comes.

    Those that reach other connections come last: real servers write a broadcast to every
    connection in some way, one whose handshake is not complete included (DV-2). Behind them come
    floods, two at a time: while a server deals with them, it has little time for others. Of those
    that run together, the ones that may take long begin, so that nothing waits for them alone.
    """
    floods = min(at_once, FLOODS_AT_ONCE)
    for reach, slots in ((0, at_once), (1, at_once), (2, 1), (3, floods)):
        there = [case for case in cases if (3 if case.is_flood else case.reach) == reach]
        there.sort(key=lambda case: -case.seconds)
        async with aclosing(_run_together(run, there, slots)) as results:
            async for result in results:
                yield result


async def _run_together(run: Run, cases: Sequence[Case], at_once: int) -> AsyncGenerator[Result]:
    slots = asyncio.Semaphore(at_once)

    async def one(case: Case) -> Result:
        async with slots:
            return await run(case)

    tasks = [asyncio.create_task(one(case), name=case.id) for case in cases]
    try:
        for done in asyncio.as_completed(tasks):
            yield await done
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def to_server(url: str, patience: Timeouts = DEFAULT_TIMEOUTS, *, is_alone: bool = False) -> Run:
    """Give what runs a case against the server at a URL.

    Args:
        url: where it is.
        patience: how long a case waits.
        is_alone: nobody else is on the server, so that every broadcast is the case's own.
    """

    async def run(case: Case) -> Result:
        result = Result(case)
        stage = ScriptRunner("server", patience, result.log, is_alone=is_alone)
        await _judge(case, result, stage, server_role.acts(stage, url))
        return result

    return run


async def run_server_case(url: str, case: Case, patience: Timeouts = DEFAULT_TIMEOUTS) -> Result:
    """Run one case against the server at a URL."""
    return await to_server(url, patience)(case)


async def run_client_case(
    driver: ClientDriver,
    case: Case,
    patience: Timeouts = DEFAULT_TIMEOUTS,
    *,
    between: Between | None = None,
) -> Result:
    """Run one case against the client that a driver moves.

    Args:
        driver: moves it.
        case: the case.
        patience: how long it is waited for.
        between: puts something before the client, each time that it comes.
    """
    async with accepting_clients(between) as (url, incoming):
        return await run_arriving_client_case(driver, case, url, incoming, patience)


async def run_arriving_client_case(
    driver: ClientDriver,
    case: Case,
    url: str,
    incoming: asyncio.Queue[UpgradeRequest],
    patience: Timeouts = DEFAULT_TIMEOUTS,
) -> Result:
    """Run one case against the client that a driver moves, where somebody else listens for it.

    Args:
        driver: moves it.
        case: the case.
        url: where the client is to dial.
        incoming: gets the clients that come.
        patience: how long it is waited for.
    """
    result = Result(case)
    stage = ScriptRunner("client", patience, result.log)
    doing = PendingOperations(stage, driver, url)
    await _judge(case, result, stage, client_role.acts(stage, doing, incoming))
    with suppress(DriverError):  # it was told already, or tells at the next case
        await doing.finish()
    return result


async def _judge(case: Case, result: Result, stage: ScriptRunner, acts: Mapping[str, Act]) -> None:
    began = time.perf_counter()
    deadline = stage.patience.case
    if case.seconds:  # at the usual patience; more or less of that is more or less of this
        deadline *= case.seconds / DEFAULT_TIMEOUTS.case
    stage.bindings["case"] = f"{case.id}-{secrets.token_hex(MARK_SIZE)}"
    stage.mark = stage.bindings["case"]
    acts = {**acts, **_common(stage)}
    try:
        async with asyncio.timeout(deadline):
            await _play(case, stage, acts)
    except MismatchError as mismatch:
        _fail(result, stage, str(mismatch), mismatch.seen)
    except DriverEndedError as error:
        _fail(result, stage, f"the client ended with its driver: {error}", "its end")
    except ConnectError as error:
        _fail(result, stage, str(error))
    except (DriverError, OperationError) as error:
        result.verdict, result.explanation = Verdict.ERROR, str(error)
        result.line = stage.line.number if stage.line else 0
    except UnsupportedError as error:
        result.verdict = Verdict.SKIPPED
        result.explanation = f"the client's driver cannot do {str(error)!r}"
    except TimeoutError:
        _fail(result, stage, "nothing came in time")
    else:
        stage.line = None
        await stage.goodbye()
    finally:
        await stage.leave()
    result.closing = stage.closing
    if result.closing.requirement in case.requirements and result.verdict is Verdict.PASS:
        result.verdict, result.explanation = result.closing.verdict, result.closing.explanation
    result.seconds = time.perf_counter() - began


def _fail(result: Result, stage: ScriptRunner, explanation: str, seen: str = "") -> None:
    line = stage.line
    result.explanation, result.actual = explanation, seen
    result.line = line.number if line else 0
    result.expected = str(line) if line else ""
    if line is not None and line.leads_up:
        result.verdict = Verdict.ERROR
        result.explanation = f"it did not come to what the case is about: {explanation}"
    else:
        result.verdict = verdict_on(result.case.requirements)


async def _play(case: Case, stage: ScriptRunner, acts: Mapping[str, Act]) -> None:
    lines = list(case.lines)
    while lines:
        line = lines.pop(0)
        stage.line = line
        if "*" in line.verb and not stage.is_ours(line):
            group = [line]
            while lines and (lines[0].connection, lines[0].verb[1:2]) == (line.connection, "*"):
                group.append(lines.pop(0))
            await stage.hear_any(group)
            continue
        if line.verb == MAY_END or (line.is_optional and not stage.is_ours(line)):
            group = [line]
            while lines and lines[0].is_optional and lines[0].connection == line.connection:
                group.append(lines.pop(0))
            await stage.hear_maybe(group)
            continue
        if not stage.is_ours(line) and line.verb in SAYING and _may_end(line, lines):
            lines.pop(0)
            await stage.hear(line, 1, may_end=True)
            continue
        for number in range(1, line.times + 1):
            await acts[line.verb](line, number)
            if not number % SPELL:
                await asyncio.sleep(0)


def _may_end(line: Step, lines: list[Step]) -> bool:
    return bool(lines) and lines[0].verb == MAY_END and lines[0].connection == line.connection


def _common(stage: ScriptRunner) -> Mapping[str, Act]:
    return {
        "raw": stage.raw,
        "quiet": stage.quiet,
        "fewer": stage.fewer,
        "close": stage.end,
        "cut": stage.cut,
        "stall": stage.stall,
        "resume": stage.resume,
        "closed": stage.closed,
        "has": stage.has,
        "lacks": stage.lacks,
    }
