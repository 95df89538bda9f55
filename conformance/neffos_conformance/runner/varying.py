"""Runs variations of cases, and finds what a failure of one needs.

A variation runs only where its case has passed: what fails as it is written says nothing more in
another situation. A failure is played again with one value less as long as it still fails, so that
its name says what matters. A variation that ends as its case expects has failed all the same if it
shows a violation that no case as it is written has shown. Nothing is known of a variation whose
names a server refuses by a policy of its own. This module does not know how a case is run.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from neffos_conformance.cases.covering import Accepts, everything, few, variations
from neffos_conformance.cases.definition import Case
from neffos_conformance.cases.dimensions import names_in, refusals, values, variation
from neffos_conformance.cases.varied_script import NotApplicableError
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.runner.result import Result
from neffos_conformance.runner.run import Run, run_cases

MAX_SHRUNK: Final = 30
"""Failures that are made small: a peer that fails more often has faults enough to look at."""

BATCH: Final = 8
"""Cases whose variations are made before they run: they are many, and none is needed for long."""


WALKED: Final = "walk-"
"""Begins the last part of the ID of a failure that a long sequence beside the cases has found."""


@dataclass(slots=True)
class Varied:
    """The variations of a run.

    Attributes:
        number: how many had a verdict other than skipped.
        passed: how many of them passed, and showed no violation that is new.
        run_by: how many had each value, by its name.
        passed_by: how many of them passed likewise.
        failed: the results of the others, each as small as it still fails.
        known: the requirements whose violation is not new.
        walks: how many long sequences ran beside them.
        actions: what the suite did in them, all together.
        no_walks: why there were none; empty if nobody asked for any.
        refused: the values whose names the server refuses.
    """

    number: int = 0
    passed: int = 0
    run_by: Counter[str] = field(default_factory=Counter)
    passed_by: Counter[str] = field(default_factory=Counter)
    failed: list[Result] = field(default_factory=list)
    known: set[str] = field(default_factory=set)
    walks: int = 0
    actions: int = 0
    no_walks: str = ""
    refused: set[str] = field(default_factory=set)

    def add(self, result: Result) -> None:
        """Count a result, and keep it if it is not a pass."""
        names = names_in(result.case.id)
        if result.verdict is Verdict.SKIPPED or not self.refused.isdisjoint(names):
            return
        self.number += 1
        self.run_by.update(names)
        if result.verdict is Verdict.PASS and not self.violated(result):
            self.passed += 1
            self.passed_by.update(names)
        else:
            self.failed.append(result)

    def violated(self, result: Result) -> set[str]:
        """Give the requirements that are violated beside what a case tests, if that is new."""
        return {each.requirement for each in result.violations} - self.known


def _nobody(_: Result) -> None:
    pass


async def vary(
    run: Run,
    cases: Iterable[Case],
    results: Iterable[Result],
    into: Varied,
    *,
    is_thorough: bool = False,
    jobs: int,
    accepts: Accepts = everything,
    may_refuse: bool = False,
    add: Callable[[Result], None] = _nobody,
) -> None:
    """Run variations of the cases that passed.

    Args:
        run: runs a case.
        cases: as they are written, in the order of the data.
        results: theirs. The case of a result has the names of the server that it ran against, which
            has no others for these.
        into: takes what comes of them, also if they do not come to an end.
        is_thorough: all combinations of two values of each case, rather than a few variations.
        jobs: how many run concurrently.
        accepts: whether a variation can be run, by what it needs.
        may_refuse: whether the server may refuse names; the conformance application accepts all.
        add: is given each result when it is there.
    """
    there = list(results)
    verdicts = {each.case.id: each.verdict for each in there}
    passed = [case for case in cases if verdicts.get(case.id) is Verdict.PASS]
    into.known.update(id_ for each in there if each.is_broken for id_ in each.case.requirements)
    into.known.update(finding.requirement for each in there for finding in each.violations)
    broken = {each.case.id for each in there if each.is_broken or each.is_grave}

    def is_fit(case: Case) -> bool:
        names = names_in(case.id)
        shown_by = (id_ for name in names for id_ in values()[name].shown_by)
        return into.refused.isdisjoint(names) and broken.isdisjoint(shown_by) and accepts(case)

    if may_refuse:
        run = _of_policy(run, into)
    for batch in _batches(passed, is_fit) if is_thorough else [few(passed, is_fit)]:
        async for result in run_cases(run, batch, jobs=jobs):
            into.add(result)
            add(result)
    into.failed = await _smallest(run, passed, into)


def _of_policy(run: Run, varied: Varied) -> Run:
    """Run a variation; if it fails, see whether the server refuses one of its names."""
    seen: set[str] = set()
    lock = asyncio.Lock()

    async def run_one(case: Case) -> Result:
        result = await run(case)
        if result.is_broken or result.is_grave:
            async with lock:
                for name in refusals().keys() & {*names_in(case.id)} - seen:
                    seen.add(name)
                    if (await run(refusals()[name])).verdict is Verdict.PASS:
                        varied.refused.add(name)
        return result

    return run_one


def _batches(cases: list[Case], accepts: Accepts) -> Iterator[list[Case]]:
    for start in range(0, len(cases), BATCH):
        some = cases[start : start + BATCH]
        yield [each for case in some for each in variations(case, accepts=accepts)]


async def _smallest(run: Run, cases: Iterable[Case], varied: Varied) -> list[Result]:
    """Give the failures as small as they still fail; those that become the same, once."""
    by_id = {case.id: case for case in cases}
    found: dict[str, Result] = {}
    failed = sorted(varied.failed, key=lambda each: len(each.case.id))
    for number, result in enumerate(failed):
        if any(
            _has_all(result.case, other.case)
            and result.verdict is other.verdict
            and varied.violated(result) <= varied.violated(other)
            for other in found.values()
        ):
            continue
        if number < MAX_SHRUNK:
            result = await _shrunk(run, by_id[result.case.base_id], result, varied)
        found[result.case.id] = result
    return list(found.values())


def _has_all(case: Case, other: Case) -> bool:
    """Whether a variation has all values of another one of the same case."""
    return case.base_id == other.base_id and {*names_in(case.id)} >= {*names_in(other.id)}


async def _shrunk(run: Run, case: Case, result: Result, varied: Varied) -> Result:
    """Give the failure of a variation with as few of its values as it still has.

    A failure that does not occur again stays as it is.
    """
    for name in names_in(result.case.id):
        names = [each for each in names_in(result.case.id) if each != name]
        try:
            smaller = variation(case, names) if names else None
        except NotApplicableError:
            continue
        again = await run(smaller) if smaller else None
        if (
            again is not None
            and again.verdict is result.verdict
            and varied.violated(again) >= varied.violated(result)
        ):
            result = again
    return result
