"""Runs cases against a server under test and gives a verdict on each.

A peer that is slow, silent, dead or talks nonsense costs a case its verdict and nothing
else: every wait has a deadline, and silence is proved by an ordered answer.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from neffos_codec import DecodeError, decode
from neffos_conformance.case import START_STEPS, Case, Expect, ExpectClosed, Send, Silence, Step
from neffos_conformance.connection import Closed, Connection, DialError
from neffos_conformance.match import Bindings, difference, fill
from neffos_conformance.recordings.transcript import Entry, Opened
from neffos_conformance.verdict import Verdict, verdict_on

CASE_DEADLINE: Final = 5.0
"""Seconds that one case may take. A server on this machine answers in milliseconds; one
behind a slow link has time for the few round trips of a case."""

AT_ONCE: Final = 8
"""Cases that run at the same time, each on its own connection: enough to hide the waiting,
too few to look like an attack."""

BARRIER_TOKEN: Final = "$barrier"  # noqa: S105  # no password
BARRIER: Final = f"{BARRIER_TOKEN};no such namespace;;_OnNamespaceConnect;0;0;"
"""An ask that every server answers in any state after the handshake, and in order."""


@dataclass(frozen=True, slots=True)
class Line:
    """One message or the end of a connection, as it went by.

    Attributes:
        time: seconds since the connection was opened.
        sent: by the suite, or else received from the peer.
        content: the payload, or how the connection ended.
    """

    time: float
    sent: bool
    content: str | bytes | Closed


@dataclass(slots=True)
class Result:
    """A case with its verdict.

    Attributes:
        case: the case.
        verdict: what came of it.
        explanation: what was wrong, in a sentence; empty for a pass.
        step: the index of the step that failed, counted after the start; -1 where the
            start itself failed or no step did.
        exchange: everything that was sent and received.
        seconds: how long it took.
    """

    case: Case
    verdict: Verdict = Verdict.PASS
    explanation: str = ""
    step: int = -1
    exchange: list[Line] = field(default_factory=list)
    seconds: float = 0.0

    def entries(self) -> list[Entry]:
        """Give the exchange as the lines of a transcript."""
        opened = Entry(0, 0.0, 1, True, Opened("", self.case.headers))
        return [
            opened,
            *(Entry(0, line.time, 1, line.sent, line.content) for line in self.exchange),
        ]


def verdict_on_failure(case: Case) -> Verdict:
    """Say how much it weighs when a peer does not do what a case expects."""
    return verdict_on(case.requirements)


class _MismatchError(Exception):
    """The peer did not do what the step expects."""


async def run_cases(
    url: str, cases: Sequence[Case], *, deadline: float = CASE_DEADLINE
) -> AsyncIterator[Result]:
    """Run the cases and yield each result as it comes; ``deadline`` is for one case."""
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(case: Case) -> Result:
        async with slots:
            return await run_case(url, case, deadline=deadline)

    tasks = [asyncio.create_task(one(case), name=case.id) for case in cases]
    try:
        for done in asyncio.as_completed(tasks):
            yield await done
    finally:
        for task in tasks:
            task.cancel()


async def run_case(url: str, case: Case, *, deadline: float = CASE_DEADLINE) -> Result:
    """Run one case on a connection of its own."""
    result = Result(case)
    began = time.perf_counter()
    talk: _Talk | None = None
    try:
        async with asyncio.timeout(deadline):
            talk = await _Talk.open(url, case.headers, result.exchange)
            for step in START_STEPS[case.start]:
                await talk.do(step)
            for number, step in enumerate(case.steps):
                result.step = number
                await talk.do(step)
            result.step = -1
    except _MismatchError as mismatch:
        result.verdict, result.explanation = verdict_on_failure(case), str(mismatch)
    except DialError as error:
        result.verdict, result.explanation = Verdict.ERROR, str(error)
    except TimeoutError:
        waiting = talk.waiting if talk else "the connection"
        result.verdict = verdict_on_failure(case)
        result.explanation = f"{waiting} did not come within {deadline:g} s"
    finally:
        if talk:
            await talk.connection.close()
    result.seconds = time.perf_counter() - began
    return result


class _Talk:
    """The conversation of one case."""

    def __init__(self, connection: Connection, exchange: list[Line]) -> None:
        self.connection = connection
        self.waiting = "the connection"
        self._exchange = exchange
        self._bindings: Bindings = {}
        self._began = time.perf_counter()

    @classmethod
    async def open(cls, url: str, headers: Mapping[str, str], exchange: list[Line]) -> _Talk:
        return cls(await Connection.dial(url, headers), exchange)

    async def do(self, step: Step) -> None:
        match step:
            case Send(payload):
                await self._send(fill(payload, self._bindings))
            case Expect(payload, exact):
                await self._expect(payload, exact)
            case Silence():
                await self._silence()
            case ExpectClosed():
                self.waiting = "the end of the connection"
                seen = await self._receive()
                if not isinstance(seen, Closed):
                    raise _MismatchError(f"expected the connection to end, but {seen!r} came")

    async def _expect(self, payload: str | bytes, exact: bool) -> None:
        self.waiting = f"the message {payload!r}"
        seen = await self._receive()
        if isinstance(seen, Closed):
            raise _MismatchError(f"expected {payload!r}, but the connection was {seen}")
        found = difference(payload, seen, self._bindings, exact=exact)
        if found:
            raise _MismatchError(found)

    async def _silence(self) -> None:
        self.waiting = "the reply to an ask for an unknown namespace"
        await self._send(BARRIER)
        seen = await self._receive()
        if isinstance(seen, Closed):
            raise _MismatchError(f"expected no answer, but the connection was {seen}")
        try:
            answered = decode(seen).wait == BARRIER_TOKEN
        except DecodeError:
            answered = False
        if not answered:
            raise _MismatchError(f"expected no answer, but {seen!r} came")

    async def _send(self, payload: str | bytes) -> None:
        self._note(True, payload)
        await self.connection.send(payload)

    async def _receive(self) -> str | bytes | Closed:
        seen = await self.connection.receive()
        self._note(False, seen)
        return seen

    def _note(self, sent: bool, content: str | bytes | Closed) -> None:
        self._exchange.append(Line(time.perf_counter() - self._began, sent, content))
