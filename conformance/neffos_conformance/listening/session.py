"""A run of the cases that need no driver: who connects gets the next case, or the one it names.

The first connection introduces the client. Then each connection is one case. A case that ended
because the client did, or because it was silent, proves nothing the first time: people close pages,
and telephones lose their network. It counts when it happens in the same way as often as
``MAX_TRIES`` says.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import unquote

from neffos_conformance.cases.definition import Case
from neffos_conformance.cases.profile import STANDARD, Profile
from neffos_conformance.cases.script import Step
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.listening.introduction import own_namespace, parts_of
from neffos_conformance.listening.observed import Observed
from neffos_conformance.listening.undriven import (
    APP,
    HEADERS,
    LACKING,
    NEEDS_DRIVER,
    RECONNECT_HEADER,
    RETURN_SECONDS,
    RETURNS,
    UndrivenCase,
    undriven_cases,
)
from neffos_conformance.listening.visit import OWN_TIMEOUT, Visit, own_timeout_after
from neffos_conformance.runner.client_steps import Between, headers_of
from neffos_conformance.runner.pace import Pace, cost_of
from neffos_conformance.runner.playback import MismatchError, Timeouts
from neffos_conformance.runner.result import Remark, Result
from neffos_conformance.runner.run import DEFAULT_TIMEOUTS, TOO_LATE, run_script
from neffos_conformance.wire.connection import ConnectionClosed
from neffos_conformance.wire.transcript import ConnectionOpened
from neffos_conformance.wire.transport import UpgradeRequest
from neffos_protocol.text import visible

CASE_PATH: Final = "/case/"
"""The beginning of the path of a connection that names its case."""

OWN_SECONDS: Final = 60.0
"""Seconds for a client to connect its namespace by itself: somebody may have to press a button."""

OPENING_SECONDS: Final = 30.0
"""Seconds for a client to complete the handshake once it has connected, however far away it is."""

MAX_TRIES: Final = 3
"""Times that a case is played whose connection the client ends: once may be chance, thrice not."""

INTRODUCTION: Final = tuple(
    Step(0, 1, verb, rest)
    for verb, rest in (("arrive", ""), (">", "M"), ("settle", ""), ("<", "A17"))
)
"""The steps that open the first connection."""

CROWDED: Final = "the client has several connections, so that which one comes back is not known"
CLOSED: Final = "the client closed the connection during the case"
AWAY: Final = "the client did not come back"
SETUP: Final = "the client did not do what the case begins with"
LEFT: Final = "the client disconnected the namespace by itself during the case"
SILENT: Final = "the client was silent"
"""Why nothing is known about a case."""


@dataclass(frozen=True, slots=True)
class ClientNames:
    """What the user says of the client.

    Attributes:
        profile: its own names for namespaces, rooms and events. Without a name for ``app``, that is
            the first namespace that it connects.
        headers: the headers that it sends, with their values; an empty value is any.
        returns: whether it reconnects by itself.
    """

    profile: Profile = STANDARD
    headers: Mapping[str, str] = field(default_factory=dict)
    returns: bool = False


class ListeningSession:
    """The run.

    Args:
        cases: the selected cases; those that need a driver are skipped.
        names: what the user says of the client.
        timeouts: the time limits of a case, on this machine.
        between: wraps the request of each client, to seed a fault.

    Attributes:
        results: the results by the ID of the case.
        running: the IDs of the cases that are being played.
        done: is set when every case has a result.
        observed: what the monitor has seen.
        parts: what the client has of its application; ``None`` before it was introduced.
        profile: the client's names, once they are known.
        peer: what the client says it is; empty if nothing.
        connections: how many were accepted.
        notice: what the suite waits for.
        on_result: is called with each result.
    """

    def __init__(
        self,
        cases: Sequence[Case],
        names: ClientNames | None = None,
        timeouts: Timeouts = DEFAULT_TIMEOUTS,
        *,
        between: Between | None = None,
    ) -> None:
        self.cases = list(cases)
        self.results: dict[str, Result] = {}
        self.running: set[str] = set()
        self.done = asyncio.Event()
        self.observed = Observed()
        self.parts: frozenset[str] | None = None
        self.profile = (names or ClientNames()).profile
        self.peer = ""
        self.connections = 0
        self.notice = "waiting for a client to connect"
        self.on_result: Callable[[Result], None] = lambda _: None
        self._names = names or ClientNames()
        self._timeouts = timeouts
        self._between = between
        self._plans = {each.case.id: each for each in undriven_cases(cases)}
        self._tries: dict[str, list[Result]] = {}
        self._introductions = 0
        self._own_timeout = OWN_TIMEOUT
        self._lock = asyncio.Lock()
        self._visits: list[Visit] = []
        self._returning: dict[str, asyncio.Future[UpgradeRequest]] = {}
        self._returns = self._names.returns
        for case in cases:
            if case.id not in self._plans:
                self.results[case.id] = Result(case, Verdict.SKIPPED, NEEDS_DRIVER)
        if not any(each.needs - {RETURNS, HEADERS} for each in self._plans.values()):
            self.parts = frozenset()  # there is nothing to find out
        self._skip()

    @property
    def clients(self) -> int:
        """How many clients are connected."""
        return len(self._visits)

    @property
    def needing_driver(self) -> int:
        """How many of the cases need a driver."""
        return len(self.cases) - len(self._plans)

    def can_run(self, id_: str) -> bool:
        """Whether a client that names this case gets it."""
        plan = self._plans.get(id_)
        return plan is not None and plan.needs <= self._known_parts()

    # ---- who connects

    async def take(self, request: UpgradeRequest, address: str) -> None:
        """Take the request of a client, until its connection has ended.

        Args:
            request: for an upgrade.
            address: where it came from, without the port.
        """
        if self._between is not None:
            request = self._between(request)
        headers = dict(headers_of(request))
        who = f"{address} {headers.get('user-agent', '')}"
        if RECONNECT_HEADER in headers:
            self._returns = True
        self.peer = self.peer or visible(headers.get("user-agent", ""), limit=200)
        waiting = self._returning.get(who)
        if waiting is not None and not waiting.done():
            waiting.set_result(request)
            return
        for visit in self._visits:
            visit.is_crowded |= visit.who == who
        self.connections += 1
        visit = Visit(who, request, self._returning, self._timeouts)
        self._visits.append(visit)
        try:
            await self._give(visit, _named_case(request.request.path))
        finally:
            self._visits.remove(visit)
            await visit.playback.release()
            if visit.request is not None:
                with suppress(OSError):
                    await visit.request.refuse(503)
            self._skip()

    async def head(self, request: UpgradeRequest, address: str) -> None:
        """Answer a client that asks with HEAD whether the server is up."""
        agent = dict(headers_of(request)).get("user-agent", "")
        visit = next((each for each in self._visits if each.who == f"{address} {agent}"), None)
        await request.refuse(visit.probe_status if visit else 200)
        if visit is not None:
            visit.log_probe()

    async def _give(self, visit: Visit, wanted: str | None) -> None:
        """Give a client an introduction, or a case."""
        if self.parts is None:
            async with self._lock:  # those who come meanwhile wait for it
                if self.parts is None:
                    await self._introduce(visit)
                    return
        plan = self._next(wanted)
        if plan is None:
            return
        id_ = plan.case.id
        self.running.add(id_)
        try:
            result = await self._play(plan, visit)
        finally:
            self.running.discard(id_)
        self._evaluate(plan, result, visit)

    def _next(self, wanted: str | None) -> UndrivenCase | None:
        """Choose a case: the one that the client names, or the next that has no result."""
        parts = self._known_parts()
        if wanted is not None:
            plan = next((each for each in self._plans.values() if each.case.id == wanted), None)
            is_free = plan and plan.needs <= parts and wanted not in self.running
            return plan if is_free else None
        left = [
            plan
            for id_, plan in self._plans.items()
            if id_ not in self.results and id_ not in self.running and plan.needs <= parts
        ]
        if len(self._visits) > 1:  # which of them comes again could not be told
            left = [plan for plan in left if RETURNS not in plan.needs]
        left.sort(key=lambda plan: (len(self._tries.get(plan.case.id, ())), RETURNS in plan.needs))
        return left[0] if left else None

    def _known_parts(self) -> frozenset[str]:
        found = set(self.parts or ())
        if self._returns:
            found.add(RETURNS)
        if self._names.headers:
            found.add(HEADERS)
        return frozenset(found)

    def _skip(self) -> None:
        """Give the cases a result that need what the client lacks, and see whether all have one."""
        if self.parts is not None:
            parts = self._known_parts()
            left = [id_ for id_ in self._plans if id_ not in self.results]
            for id_ in left:
                lacking = self._plans[id_].needs - parts
                others = any(not self._plans[each].needs & {RETURNS} for each in left)
                if lacking and not (lacking == {RETURNS} and others):
                    reason = LACKING[min(lacking, key=list(LACKING).index)]
                    self._keep(Result(self._plans[id_].case, Verdict.SKIPPED, reason))
        if len(self.results) == len(self.cases):
            self.done.set()

    # ---- a connection

    async def _introduce(self, visit: Visit) -> None:
        """Find out the client's names on its first connection."""
        self._introductions += 1
        self.notice = "waiting for the client to connect a namespace"
        namespace = parts = None
        try:
            async with asyncio.timeout(OPENING_SECONDS):
                await visit.runner.play(INTRODUCTION)
            served = visit.served[1]
            began = asyncio.get_running_loop().time()
            with suppress(TimeoutError):
                async with asyncio.timeout(OWN_SECONDS):
                    wanted = self.profile.namespaces.get(APP)
                    namespace = await own_namespace(served, wanted)
                    if namespace is None:
                        return
            self._own_timeout = own_timeout_after(asyncio.get_running_loop().time() - began)
            if namespace is None:
                parts = frozenset[str]()
            else:
                self._name(namespace)
                async with asyncio.timeout(OPENING_SECONDS):
                    parts = await parts_of(visit.playback, 1, self.profile)
        except (MismatchError, TimeoutError):
            pass
        finally:
            if parts is None and self._introductions >= MAX_TRIES:
                parts = frozenset()
            self.parts = parts
            self.notice = "waiting for a client to connect"
            await visit.playback.close_all()
            self._see(visit, own=True, replies=True)

    def _name(self, namespace: str) -> None:
        """Note the client's name for ``app``."""
        names = {**self.profile.namespaces, APP: namespace}
        self.profile = replace(self.profile, namespaces=names)

    async def _play(self, plan: UndrivenCase, visit: Visit) -> Result:
        playback, runner = visit.playback, visit.runner
        visit.own_timeout = self._own_timeout
        named = plan.renamed(self.profile, self._names.headers)
        result = Result(plan.case, log=playback.log)
        self.notice = f"{plan.case.id}: waiting for the client to open its connection"
        try:
            seconds = OWN_SECONDS if APP in plan.needs else OPENING_SECONDS
            async with asyncio.timeout(seconds):
                await runner.play(named.opening)
        except (MismatchError, TimeoutError) as error:
            text = str(error) or "it did not open its connection in time"
            result.verdict, result.explanation = Verdict.UNKNOWN, f"not run: {text}"
            await playback.close_all()
            return result
        self.notice = f"{plan.case.id}: {plan.case.title}"
        case = replace(plan.case, steps=named.steps)
        pace = Pace(visit.trip)
        usual = pace.scaled(self._timeouts)
        playback.timeouts = replace(usual, case=usual.case + pace.seconds(cost_of(case)))
        if RETURNS in plan.needs:
            returns = sum(step.verb == "return" for step in named.steps)
            playback.timeouts = replace(usual, case=usual.case + returns * RETURN_SECONDS)
        await run_script(replace(case, seconds=0.0), result, runner, {})
        if HEADERS in plan.needs:
            _without_values(result)
        return result

    def _evaluate(self, plan: UndrivenCase, result: Result, visit: Visit) -> None:
        """Keep the result of a case, unless it may be chance."""
        self._see(visit, own=plan.is_observed, replies=False)
        self.notice = "waiting for a client to connect"
        id_ = plan.case.id
        reason = _chance(result, visit, self.profile.namespace(APP))
        if result.is_broken and visit.is_crowded and RETURNS in plan.needs:
            reason = CROWDED
        if not reason:
            self._keep(result)
            return
        tries = self._tries.setdefault(id_, [])
        tries.append(result)
        if len(tries) < MAX_TRIES:
            return
        same = {(each.verdict, each.step, each.explanation) for each in tries}
        if reason in (LEFT, AWAY, CROWDED) or len(same) > 1 or not result.is_broken:
            if result.verdict is not Verdict.UNKNOWN:
                result.explanation = f"{reason}: {result.explanation}"
            result.verdict = Verdict.UNKNOWN
        self._keep(result)

    def _keep(self, result: Result) -> None:
        self.results[result.case.id] = result
        self.on_result(result)

    def _see(self, visit: Visit, *, own: bool, replies: bool) -> None:
        """Keep what the monitor has found.

        Args:
            visit: the connections.
            own: keep what it found in what the client sent by itself.
            replies: and in its replies, which are otherwise for the cases to test.
        """
        visit.put_in_order()
        log = visit.playback.log
        for entry in log:
            if isinstance(entry.content, ConnectionOpened):
                self.observed.opened(entry.content.path, log)
        for served in visit.served.values():
            for each in served.sightings:
                if own if each.is_own else replies:
                    self.observed.violated(each.violation, each.payload, log)
            if own:
                if served.is_accepted:
                    self.observed.handshaken()
                self.observed.sent(served.own)


def _named_case(target: str) -> str | None:
    """Give the ID of the case that a path names, if it names one."""
    path = unquote(target.partition("?")[0])
    return path.removeprefix(CASE_PATH) if path.startswith(CASE_PATH) else None


def _without_values(result: Result) -> None:
    """Say which header is wrong, and no value: headers are what clients are known by."""
    result.log[:] = [each for each in result.log if not isinstance(each.content, Remark)]
    if not result.is_broken:
        return
    name = result.expected.partition(" has ")[2].partition(":")[0]
    is_lost = result.actual == f"no {name}"
    result.explanation = f"the header {name} {'did not arrive' if is_lost else 'has another value'}"
    result.expected, result.actual = f"the header {name}", ""


def _chance(result: Result, visit: Visit, namespace: str) -> str:
    """Say why a result may be chance; empty if it is not, or is a pass."""
    if result.verdict is Verdict.UNKNOWN:
        return result.explanation
    if not (result.is_broken or result.verdict is Verdict.ERROR):
        return ""
    if any(namespace in each.has_left for each in visit.served.values()):
        return LEFT
    ends = (each for each in visit.playback.log if isinstance(each.content, ConnectionClosed))
    first = next(ends, None)
    if first is not None and first.from_client:
        return CLOSED
    if not result.actual and visit.is_waiting:
        return AWAY
    if visit.runner.step is not None and result.verdict is Verdict.ERROR:
        return SETUP
    return SILENT if result.explanation.endswith(TOO_LATE) else ""
