"""Runs cases against a system under test and gives a verdict on each.

A peer that is slow, silent, dead or sends nonsense costs a case its verdict and nothing else:
every wait has a time limit.
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
from neffos_conformance.cases.features import features
from neffos_conformance.cases.script import read_script
from neffos_conformance.cases.verdict import Verdict, verdict_on
from neffos_conformance.runner.client_steps import (
    Between,
    PendingOperations,
    accepting_clients,
    client_verbs,
)
from neffos_conformance.runner.driver_protocol import (
    ClientDriver,
    DriverEndedError,
    DriverError,
    OperationError,
    UnsupportedError,
)
from neffos_conformance.runner.playback import MismatchError, Playback, Timeouts
from neffos_conformance.runner.result import Result
from neffos_conformance.runner.script_runner import ScriptRunner, Verb
from neffos_conformance.runner.server_steps import server_verbs
from neffos_conformance.wire.connection import ConnectError
from neffos_conformance.wire.transport import UpgradeRequest

DEFAULT_JOBS: Final = 16
"""Cases that run concurrently, each on connections of its own: enough to hide the waiting, too few
to look like an attack."""

DEFAULT_TIMEOUTS: Final = Timeouts()
"""The time limits of a case, unless the caller sets others."""

BRIEF: Final = Timeouts(case=2.0)
"""The time limits of a probe: an answered one takes milliseconds, another one a second."""

MARK_SIZE: Final = 4
"""Random bytes in a case's mark: concurrent cases have different ids anyway."""

Run = Callable[[Case], Awaitable[Result]]
"""Runs one case."""

CLOSING: Final = frozenset({"TR-12", "TR-13", "TR-16"})
"""The requirements on how a connection closes. A case that covers one tests that."""


async def run_cases(
    run: Run, cases: Sequence[Case], *, jobs: int = DEFAULT_JOBS
) -> AsyncIterator[Result]:
    """Run the cases and yield each result when it is there.

    Cases that reach other connections run after the others: real servers write a broadcast to every
    connection, even before its handshake is complete (DV-2). Floods run last and alone: a server
    that handles one has little time for others. Of the cases that run together, those with a long
    time limit begin, so that the run does not wait for them alone.
    """
    for reach, slots in ((0, jobs), (1, jobs), (2, 1), (3, 1)):
        there = [case for case in cases if (3 if case.is_flood else case.reach) == reach]
        there.sort(key=lambda case: -case.seconds)
        async with aclosing(_run_together(run, there, slots)) as results:
            async for result in results:
                yield result


async def _run_together(run: Run, cases: Sequence[Case], jobs: int) -> AsyncGenerator[Result]:
    slots = asyncio.Semaphore(jobs)

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


def to_server(url: str, timeouts: Timeouts = DEFAULT_TIMEOUTS, *, is_alone: bool = False) -> Run:
    """Give a function that runs a case against the server at a URL.

    Args:
        url: of the server.
        timeouts: the time limits of a case.
        is_alone: no other case uses the server, so that every broadcast is the case's own.
    """

    async def run(case: Case) -> Result:
        result = Result(case)
        runner = ScriptRunner(Playback("server", timeouts, result.log), is_alone=is_alone)
        return await _run(case, result, runner, server_verbs(runner, url))

    return run


async def run_client_case(
    driver: ClientDriver,
    case: Case,
    timeouts: Timeouts = DEFAULT_TIMEOUTS,
    *,
    between: Between | None = None,
    listening: tuple[str, asyncio.Queue[UpgradeRequest]] | None = None,
) -> Result:
    """Run one case against the client that a driver controls.

    Args:
        driver: controls it.
        case: the case.
        timeouts: the time limits of the case.
        between: wraps the request of each client, to seed a fault.
        listening: where the client is to dial, and a queue of the requests, if the caller listens.
    """
    if listening is None:
        async with accepting_clients(between) as started:
            return await run_client_case(driver, case, timeouts, listening=started)
    result = Result(case)
    runner = ScriptRunner(Playback("client", timeouts, result.log))
    url, incoming = listening
    operations = PendingOperations(runner, driver, url)
    await _run(case, result, runner, client_verbs(runner, operations, incoming))
    with suppress(DriverError):  # reported already, or at the next case
        await operations.finish()
    return result


async def _run(
    case: Case, result: Result, runner: ScriptRunner, further: Mapping[str, Verb]
) -> Result:
    began = time.perf_counter()
    playback = runner.playback
    limit = playback.timeouts.case
    if case.seconds:  # given for the usual limit: another limit scales it
        limit *= case.seconds / DEFAULT_TIMEOUTS.case
    runner.mark = runner.bindings["case"] = f"{case.id}-{secrets.token_hex(MARK_SIZE)}"
    runner.verbs |= further
    try:
        async with asyncio.timeout(limit):
            await runner.play(case.steps)
    except MismatchError as mismatch:
        _fail(result, runner, str(mismatch), mismatch.actual)
    except DriverEndedError as error:
        _fail(result, runner, f"the client ended with its driver: {error}", "its end")
    except ConnectError as error:
        _fail(result, runner, str(error))
    except (DriverError, OperationError) as error:
        result.verdict, result.explanation = Verdict.ERROR, str(error)
        result.step = playback.step
    except UnsupportedError as error:
        result.verdict = Verdict.SKIPPED
        result.explanation = f"the client's driver cannot do {str(error)!r}"
    except TimeoutError:
        _fail(result, runner, "nothing came in time")
    else:
        playback.step = 0
        runner.violates("TR-16", await playback.close_all())
    finally:
        await playback.release()
    result.closing = runner.closing
    if result.closing.requirement in case.requirements and result.verdict is Verdict.PASS:
        result.verdict, result.explanation = result.closing.verdict, result.closing.explanation
    result.seconds = time.perf_counter() - began
    return result


def _fail(result: Result, runner: ScriptRunner, explanation: str, actual: str = "") -> None:
    step = runner.step
    result.explanation, result.actual = explanation, actual
    result.step = runner.playback.step
    result.expected = str(step) if step else ""
    if step is not None and step.is_setup:
        result.verdict = Verdict.ERROR
        result.explanation = f"the setup failed: {explanation}"
    else:
        result.verdict = verdict_on(result.case.requirements)


async def discovered(url: str, timeouts: Timeouts = BRIEF) -> frozenset[str]:
    """Give the features of the server at a URL.

    Each feature has a probe: a short script that a server with the feature answers in some way.
    Whether that is the right answer is for the cases to test.
    """

    async def has(id_: str, probe: str) -> bool:
        case = Case(id_, "", ("NS-1",), "server", read_script(probe, "server"))
        result = await to_server(url, timeouts)(case)
        return result.verdict is Verdict.PASS

    found = await asyncio.gather(*(has(each.id, each.probe) for each in features()))
    return frozenset(each.id for each, is_there in zip(features(), found, strict=True) if is_there)
