"""Several instances of one service: the connections of a case are spread over them.

A case that passes on one instance, and not when its connections are on several, shows what does not
cross from one to another. An exchange between the servers carries it (SX-1).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

from neffos_conformance.cases.definition import Case
from neffos_conformance.cases.profile import Profile
from neffos_conformance.cases.script import MESSAGE_VERBS
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.runner.discovery import Detected
from neffos_conformance.runner.pace import Way
from neffos_conformance.runner.result import NO_REPLY, Result
from neffos_conformance.runner.run import Run, to_server
from neffos_conformance.wire.payloads import frame_of
from neffos_conformance.wire.reach import Target

PAUSES: Final = (0.0, 0.1, 1.0)
"""Seconds after the setup of a case, for each of its runs on several instances before it fails, and
on one: an exchange may begin to carry a namespace a moment after its server has replied, whoever
else is on that server. No message says when. Go's server takes a millisecond, and 100 ms beside
others on a busy machine."""

ENOUGH: Final = 3
"""Cases that do not cross, while none does, after which a further one runs once, and at the pace of
one server: there is no exchange then, and each run waits for what does not come."""

MANY: Final = 1 << 16
"""More instances than a case has connections: each is on its own."""

AFTER_BARRIER: Final = 3.0
"""Seconds for a message after the reply to a barrier. The reply proves what its own server has
sent, not what an exchange still carries from another."""


def crossing(way: Way) -> Way:
    """Give the way to several instances: a message may take longer from one to another."""
    return replace(way, usual=replace(way.usual, after_barrier=AFTER_BARRIER))


_ON_SEVERAL: Final = re.compile(
    r"(?P<apart>does not cross from server \d+ to server \d+, and on one server it passes\. "
    r"Try: a StackExchange)?(?(apart)|on one server it passes, on \d+ not): "
)


def of_traffic(result: Result, again: Result) -> Result:
    """Give a result of a run on several instances, as far as its own messages say it.

    Args:
        result: the result.
        again: what follows from its messages.
    """
    found = _ON_SEVERAL.match(result.explanation)
    if found is None or not again.is_broken:
        return result
    is_differing = found["apart"] is None and result.verdict is Verdict.INFORMATIONAL
    verdict = again.verdict if is_differing else result.verdict
    return replace(result, verdict=verdict, explanation=result.explanation[found.end() :])


def is_caused_elsewhere(case: Case, number: int) -> bool:
    """Whether a case awaits an event on one of several instances that a client of another causes.

    Args:
        case: the case.
        number: of instances; connection n is to instance n, and again from the first.
    """
    sender = None
    for step in case.steps:
        message = frame_of(step.rest) if step.verb in MESSAGE_VERBS else None
        here = step.connection % number
        if message is not None and step.verb.startswith(">"):
            sender = here
        elif message is not None and not message.wait and sender not in (None, here):
            return True
    return False


def retried(run: Run) -> Run:
    """Give what runs a case again that fails, if what one client causes is to reach another.

    A single server may have an exchange, too, which begins to carry a namespace after the server
    has replied.
    """
    again = often(run)

    async def run_caused(case: Case) -> Result:
        return await (again if is_caused_elsewhere(case, MANY) else run)(case)

    return run_caused


def often(run: Run) -> Run:
    """Give what runs a case that fails again, after each of ``PAUSES``.

    A case that always fails has the result of the run that got furthest: an earlier end shows only
    that the exchange carried nothing yet.
    """

    async def run_often(case: Case) -> Result:
        result = await run(case)
        for pause in PAUSES[1:]:
            if result.verdict is not Verdict.FAIL:
                break
            again = await _after(pause, run, case)
            if again.verdict is not Verdict.FAIL or again.step >= result.step:
                result = again
        return result

    return run_often


async def _after(pause: float, run: Run, case: Case) -> Result:
    """Run a case with a pause after its setup; its result is that of the case without one."""
    result = await run(replace(case, pause=pause))
    result.case = case
    return result


@dataclass(slots=True)
class Instances:
    """Runs cases on several instances.

    Attributes:
        number: of instances.
        one: runs a case on the first of them.
        split: runs a case with connection n on instance n, and again from the first.
        hasty: does so as fast as on one server.
        spread: the cases that ran on several.
        crossed: those that pass although a message has to cross.
        apart: those that pass on one instance, and lack a message on several.
        differing: those that pass on one instance, and get something else on several. That is no
            failure: no requirement says in which order an exchange delivers.
    """

    number: int
    one: Run
    split: Run
    hasty: Run
    spread: list[str] = field(default_factory=list)
    crossed: list[str] = field(default_factory=list)
    apart: list[str] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, targets: Sequence[Target], way: Way, profile: Profile) -> Instances:
        """Give what runs cases on these instances, which have these names."""
        first, *others = targets
        one = partial(to_server, first, profile=profile)
        patient, hasty = (one(way=each, others=others) for each in (crossing(way), way))
        return cls(len(targets), retried(one(way=way)), patient, hasty)

    async def run(self, case: Case) -> Result:
        """Run a case on several instances; its verdict is that of one if it fails there too."""
        if len({step.connection for step in case.steps}) == 1:
            return await self.one(case)
        self.spread.append(case.id)
        alone: Result | None = None
        for pause in PAUSES:
            is_linked = bool(self.crossed) or len(self.apart) < ENOUGH
            result = await _after(pause, self.split if is_linked else self.hasty, case)
            if not result.is_broken and result.verdict is not Verdict.ERROR:
                if result.verdict is Verdict.PASS and is_caused_elsewhere(case, self.number):
                    self.crossed.append(case.id)
                return result
            if alone is None:
                alone = await self.one(case)
                if alone.verdict is not Verdict.PASS:
                    return alone
            if not is_linked:
                break
        if (text := self._uncrossed(case, result)) is not None:
            self.apart.append(case.id)
            result.explanation = f"{text}: {result.explanation}"
        else:
            self.differing.append(case.id)
            result.verdict = Verdict.INFORMATIONAL
            passes = f"on one server it passes, on {self.number} not"
            result.explanation = f"{passes}: {result.explanation}"
        return result

    def note(self) -> str:
        """Say in the report what ran on several instances, and what does not cross."""
        text = f"{self.number} servers: {len(self.spread)} cases had their clients on several"
        if not (self.apart or self.differing):
            return f"{text}, as on one"
        if self.apart and not self.crossed:
            text = f"nothing crosses: no StackExchange links these servers; {text}"
        for what, ids in (("does not cross", self.apart), ("differs", self.differing)):
            text += f"; {what}: {', '.join(sorted(ids))}" if ids else ""
        return text

    def _uncrossed(self, case: Case, result: Result) -> str | None:
        """Say between which servers a message did not cross; ``None`` if none is missing."""
        step = next((each for each in case.steps if each.number == result.step), None)
        is_awaiting = step is not None and step.verb in MESSAGE_VERBS
        here = self._instance(step.connection) if step and is_awaiting else 0
        there = next(
            (
                self._instance(each.connection)
                for each in reversed(result.log)
                if each.from_client and self._instance(each.connection) != here
            ),
            0,
        )
        if not here or not there or result.actual not in ("", NO_REPLY):
            return None
        return (
            f"does not cross from server {there} to server {here}, and on one server it passes. "
            "Try: a StackExchange"
        )

    def _instance(self, connection: int) -> int:
        return (connection - 1) % self.number + 1


def common(found: Sequence[Detected]) -> Detected:
    """Give the features that all of several servers have."""
    ignored = frozenset[str]().union(*(each.profile.ignore for each in found))
    return Detected(
        frozenset.intersection(*(each.there for each in found)),
        {name: why for each in found for name, why in each.unknown.items()},
        {name: why for each in found for name, why in each.absent.items()},
        replace(found[0].profile, ignore=ignored),
    )


def titles(urls: Sequence[str]) -> str:
    """Give the URLs of several servers as one name, in which each has its number."""
    if len(urls) < 2:
        return "".join(urls)
    return ", ".join(f"{number}: {url}" for number, url in enumerate(urls, 1))
