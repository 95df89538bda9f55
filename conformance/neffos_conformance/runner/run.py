"""Runs cases against a system under test and gives a verdict on each.

A peer that is slow, silent, dead or sends nonsense costs a case its verdict and nothing else:
every wait has a time limit.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Mapping,
    Sequence,
)
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import takewhile
from operator import attrgetter
from typing import Final
from zlib import crc32

from neffos_conformance.cases.definition import Case
from neffos_conformance.cases.profile import STANDARD, Profile
from neffos_conformance.cases.verdict import SEVERITY, Verdict, verdict_on
from neffos_conformance.runner.client_steps import (
    Between,
    PendingOperations,
    accepting_clients,
    client_verbs,
    dialled,
)
from neffos_conformance.runner.driver_protocol import (
    ClientDriver,
    DriverEndedError,
    DriverError,
    OperationError,
    UnsupportedError,
)
from neffos_conformance.runner.exchange_steps import SharedBroker, joined
from neffos_conformance.runner.monitoring import monitored
from neffos_conformance.runner.pace import LONGEST, Cost, Opener, Way
from neffos_conformance.runner.playback import (
    NO_CLOSE_FRAME,
    MismatchError,
    Playback,
    Timeouts,
)
from neffos_conformance.runner.result import NO_REPLY, TOLERATED, Finding, Remark, Result
from neffos_conformance.runner.script_runner import ScriptRunner, Verb, mark_of
from neffos_conformance.runner.server_steps import server_verbs
from neffos_conformance.runner.witness import Witness
from neffos_conformance.wire.broker import BrokerError
from neffos_conformance.wire.connection import ConnectError, WireConnection
from neffos_conformance.wire.networks import Network
from neffos_conformance.wire.reach import Target
from neffos_conformance.wire.transport import UpgradeRequest
from neffos_conformance.wire.waiting import at_most, cancel

DEFAULT_JOBS: Final = 16
"""Cases that run concurrently, each on connections of its own: enough to hide the waiting, too few
to look like an attack."""

DEFAULT_TIMEOUTS: Final = Timeouts()
"""The time limits of a case, unless the caller sets others."""

NETWORK_ENDED: Final = Remark("the network ended the connection, and not the peer")
"""What the log of a case says whose closing the peer is not to blame for."""

Run = Callable[[Case], Awaitable[Result]]
"""Runs one case."""

_REFUSED: Final = re.compile(r"HTTP [34]\d\d$")
"""Ends the text of an error, in a log too, if a server refused a request and did not fail at it."""

TOO_LATE: Final = "timed out"
"""The explanation of a case whose time limit ended."""


async def run_cases(
    run: Run, cases: Sequence[Case], *, jobs: int = DEFAULT_JOBS
) -> AsyncIterator[Result]:
    """Run the cases and yield each result when it is there.

    Cases that reach other connections run after the others: real servers write a broadcast to every
    connection, even before its handshake is complete (DV-2). Floods run last and alone: a server
    that handles one has little time for others. Of the cases that run together, those begin that
    have a long time limit, or may wait in vain for a closing, which no barrier ends: the run is not
    to wait for them alone.
    """
    for reach, slots in ((0, jobs), (1, jobs), (2, 1), (3, 1)):
        there = [case for case in cases if (3 if case.is_flood else case.reach) == reach]
        there.sort(key=lambda case: (-case.seconds, not case.awaits_closing))
        async with aclosing(_run_together(run, there, slots)) as results:
            async for result in results:
                yield result


async def _run_together(run: Run, cases: Sequence[Case], jobs: int) -> AsyncGenerator[Result]:
    one = at_most(jobs, run)
    tasks = [asyncio.create_task(one(case), name=case.id) for case in cases]
    try:
        for done in asyncio.as_completed(tasks):
            yield await done
    finally:
        await cancel(tasks)


def to_server(
    server: Target | str,
    timeouts: Timeouts = DEFAULT_TIMEOUTS,
    *,
    is_alone: bool = False,
    way: Way | None = None,
    witness: Witness | None = None,
    profile: Profile = STANDARD,
    others: Sequence[Target] = (),
    broker: SharedBroker | None = None,
) -> Run:
    """Give a function that runs a case against a server.

    Args:
        server: the server, or its URL.
        timeouts: the time limits of a case.
        is_alone: no other case uses the server, so that every broadcast is the case's own.
        way: to a server whose network is measured, and not trusted; it has the time limits then.
        witness: receives what other clients of the server broadcast.
        profile: the server's own names.
        others: further instances of the server; connection n of a case is to the n-th instance.
        broker: what they share, if it is connection 0 of the cases.
    """
    target = Target.of(server)

    async def run(case: Case) -> Result:
        case = profile.case(case)
        result = Result(case)
        limits = way.timeouts if way else timeouts
        playback = Playback("server", limits, result.log)
        runner = ScriptRunner(playback, is_alone=is_alone, witness=witness, profile=profile)
        network = _Network(way, partial(opened, target)) if way else None
        verbs = server_verbs(runner, (target, *others))
        if broker is None:
            return await run_script(case, result, runner, verbs, network)
        result.mark = mark_of(case.id)
        with joined(broker, runner, result.mark) as further:
            return await run_script(case, result, runner, {**verbs, **further}, network)

    return run


@asynccontextmanager
async def opened(server: Target | str) -> AsyncIterator[WireConnection]:
    """Open a connection to a server, and close it."""
    connection = await WireConnection.dial(server)
    try:
        yield connection
    finally:
        await connection.close()


async def run_client_case(
    driver: ClientDriver,
    case: Case,
    timeouts: Timeouts = DEFAULT_TIMEOUTS,
    *,
    between: Between | None = None,
    listening: tuple[str, asyncio.Queue[UpgradeRequest]] | None = None,
    way: Way | None = None,
    before: Network | None = None,
) -> Result:
    """Run one case against the client that a driver controls.

    Args:
        driver: controls it.
        case: the case.
        timeouts: the time limits of the case.
        between: wraps the request of each client, to seed a fault.
        listening: where the client is to dial, and a queue of the requests, if the caller listens.
        way: to a client whose network is measured, and not trusted; it has the time limits then.
        before: the network that is put before the suite.
    """
    if listening is None:
        async with accepting_clients(between, before, crc32(case.id.encode())) as started:
            return await run_client_case(
                driver,
                case,
                timeouts,
                between=between,
                listening=started,
                way=way,
                before=before,
            )
    result = Result(case)
    runner = ScriptRunner(Playback("client", way.timeouts if way else timeouts, result.log))
    url, incoming = listening
    operations = PendingOperations(runner, driver, url)
    network = _Network(way, partial(dialled, driver, between, before)) if way else None
    await run_script(case, result, runner, client_verbs(runner, operations, incoming), network)
    with suppress(DriverError):  # reported already, or at the next case
        await operations.finish()
    return result


@dataclass(frozen=True, slots=True)
class _Network:
    """The way to the system under test, and how a further connection is opened."""

    way: Way
    opener: Opener

    async def check(self, playback: Playback) -> str:
        """Say why the network does not carry what a case sent and received; empty if it does."""
        return await self.way.check(self.opener, playback.volume)


async def run_script(
    case: Case,
    result: Result,
    runner: ScriptRunner,
    further: Mapping[str, Verb],
    network: _Network | None = None,
) -> Result:
    """Run a case whose connections the caller opens, and close them.

    Args:
        case: the case.
        result: takes its verdict; its log is that of the runner's playback.
        runner: plays the script.
        further: the verbs beside those of every script.
        network: checks the network where a failure may be its fault.
    """
    began = time.perf_counter()
    playback = runner.playback
    result.mark = result.mark or mark_of(case.id)
    runner.mark = runner.bindings["case"] = result.mark
    runner.verbs |= further
    try:
        await _play(case, runner, network)
        await _look_on(runner, network)
    except HeldBackError as error:
        result.verdict, result.explanation = Verdict.SKIPPED, str(error)
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
    except BrokerError as error:  # the servers are not to blame
        result.verdict, result.explanation = Verdict.UNKNOWN, str(error)
        result.step = playback.step
    except UnknownError as error:
        actual = error.__cause__.actual if isinstance(error.__cause__, MismatchError) else ""
        _fail(result, runner, str(error), actual)
        result.verdict, result.explanation = Verdict.UNKNOWN, str(error)
    except TimeoutError:
        _fail(result, runner, TOO_LATE, NO_REPLY if playback.barriers > 0 else "")
    finally:
        await playback.release()
    _add_findings(result, runner)
    result.seconds = time.perf_counter() - began
    return result


def _add_findings(result: Result, runner: ScriptRunner) -> None:
    """Add what was found beside the script, unless the case has failed, which says what is wrong.

    What violates a requirement of the case gives a case that has passed its verdict.
    """
    if result.verdict in TOLERATED:
        for each in monitored(runner.playback):
            runner.find(each)
    own = [each for each in runner.findings if each.requirement in result.case.requirements]
    if result.verdict is Verdict.PASS and own:
        gravest = min(own, key=lambda each: SEVERITY.index(each.verdict))
        result.verdict, result.explanation = gravest.verdict, gravest.explanation
    if result.verdict not in TOLERATED:
        left = [each for each in runner.findings if each.is_closing]
    else:
        left = [each for each in runner.findings if each.is_closing or each not in own]
    result.findings = tuple(left)


async def _look_on(runner: ScriptRunner, network: _Network | None) -> None:
    """Look at what the system under test does after the last step, and close the connections."""
    playback = runner.playback
    playback.step, runner.step = 0, None
    if runner.findings and network and await network.check(playback):
        runner.findings.clear()
        playback.log_sent(1, NETWORK_ENDED)
    await _listen(runner)
    if fault := await _closed(playback, network):
        runner.find(Finding("TR-16", fault))


async def _listen(runner: ScriptRunner) -> None:
    """Look at what the system under test sends after the last step, until it answers a barrier.

    If it answers none in time, nothing follows from that.
    """
    playback = runner.playback

    async def one(number: int) -> None:
        try:
            async with asyncio.timeout(playback.timeouts.close):
                await playback.settle(number)
        except TimeoutError:
            playback.log_received(number, Remark(NO_REPLY))
        else:
            playback.expect_no_more(number)

    ended = await asyncio.gather(
        *(one(number) for number in playback.talking()), return_exceptions=True
    )
    for each in filter(None, ended):  # its driver may have ended
        raise each
    runner.look_further()


class UnknownError(Exception):
    """What the system under test does was not seen; the text says why."""


class HeldBackError(Exception):
    """A client does not send an ask while an earlier one is pending; the text says which."""


async def _play_steps(case: Case, runner: ScriptRunner) -> None:
    setup = [*takewhile(attrgetter("is_setup"), case.steps)] if case.pause else []
    try:
        await runner.play(setup)
        if setup:
            await asyncio.sleep(case.pause)
        await runner.play(case.steps[len(setup) :])
    except (ConnectError, MismatchError) as error:
        is_missing = isinstance(error, MismatchError) and not error.actual
        if is_missing and runner.step and runner.holds_back(runner.step):
            text = "the client sends no ask while an earlier one is pending"
            raise HeldBackError(f"{text}: {runner.step.rest}") from error
        if not _may_end_so(case, runner, error):
            raise


def _may_end_so(case: Case, runner: ScriptRunner, error: ConnectError | MismatchError) -> bool:
    """Whether the server has refused a connection that a correct one may refuse."""
    number = runner.step.connection if runner.step else 0
    if not number or number != case.may_refuse:
        return False
    if isinstance(error, ConnectError):
        return _REFUSED.search(str(error)) is not None
    log = [each.content for each in runner.playback.log if each.connection == number]
    return log[-2:-1] == ["M"] and str(log[-1]).startswith("H")


async def _play(case: Case, runner: ScriptRunner, network: _Network | None) -> None:
    """Play a case within its time limit.

    Raises:
        TimeoutError: it did not end in time.
        UnknownError: it did not end, and the network may be the cause.
    """
    playback = runner.playback
    way = network.way if network else Way(playback.timeouts)
    loop = asyncio.get_running_loop()
    began = loop.time()
    playing = asyncio.create_task(_play_steps(case, runner))
    try:
        longest = way.usual_limit(case) + LONGEST
        while not playing.done():
            limit = min(way.limit(case), longest)
            await asyncio.wait([playing], timeout=began + limit - loop.time())
            if playing.done() or loop.time() < began + limit:
                continue
            reason = await network.check(playback) if network else ""
            if playing.done() or (min(way.limit(case), longest) > limit and not reason):
                continue  # the network is slower than it was: there is more time
            if reason:
                raise UnknownError(f"the network does not carry the case: {reason}")
            if way.limit(case) > longest:
                raise UnknownError(_unfinished(case, way, longest))
            raise TimeoutError
        try:
            await playing
        except (MismatchError, ConnectError, OperationError) as error:
            is_refused = isinstance(error, ConnectError)
            if network and (is_refused or not await playback.have_all_carried()):
                reason = await network.check(playback)
                if reason:
                    text = f"the network does not carry the case: {reason}"
                    raise UnknownError(text) from error
                if way.limit(case) > longest:  # a peer takes the connection for dead meanwhile
                    raise UnknownError(_unfinished(case, way, loop.time() - began)) from error
            raise
    finally:
        playing.cancel()
        await asyncio.wait([playing])


def _unfinished(case: Case, way: Way, seconds: float) -> str:
    return (
        f"not finished within {seconds:.0f} s, on a network that takes "
        f"{way.limit(case):.0f} s for the messages of the case"
    )


async def _closed(playback: Playback, network: _Network | None) -> str:
    """Close all connections; say what is wrong with the answers, unless the network may be it."""
    fault = await playback.close_all()
    if not fault or network is None:
        return fault
    if await network.check(playback):
        playback.log_sent(1, NETWORK_ENDED)
        return ""
    if fault == NO_CLOSE_FRAME:
        return fault
    # The answer comes after all that is under way, on a network that may be slower than it was.
    way = network.way
    seconds = way.timeouts.close + way.pace.seconds(Cost(0, len(playback.log), playback.volume))
    if seconds > playback.timeouts.close:
        playback.timeouts = replace(playback.timeouts, close=min(seconds, LONGEST))
        fault = await playback.close_all()
    return fault if seconds <= LONGEST else ""


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
