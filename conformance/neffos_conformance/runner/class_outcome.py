"""What a run says about a class of conformance."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from neffos_conformance.cases.classes import ConformanceClass, accused, class_of
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.runner.result import Result

NOT_RUN = (Verdict.SKIPPED, Verdict.UNKNOWN)

NAMED: Final = 3
"""Missing requirements that are named; more are too many for the first line of a report."""


@dataclass(frozen=True, slots=True)
class ClassOutcome:
    """The outcome of a run for one class.

    A known failure counts here like any other: its reason does not make the peer conform.

    Attributes:
        name: the class.
        conforms: whether no case of the class failed, and no finding is of it; ``None`` if that is
            not known: a case broke off or was not seen, or none ran.
        passed: cases of the class that ran and did not fail.
        ran: cases of the class that ran.
        missing: the requirements that failed cases and findings count against.
        not_shown: the requirements of the class that no case showed, neither way.
        testable: the number of its requirements that are testable in a system of the role.
    """

    name: ConformanceClass
    conforms: bool | None
    passed: int
    ran: int
    missing: tuple[str, ...]
    not_shown: tuple[str, ...]
    testable: int

    @property
    def answer(self) -> str:
        """Give the answer in a word: ``yes``, ``no`` or ``unknown``."""
        return {True: "yes", False: "no", None: "unknown"}[self.conforms]

    def __str__(self) -> str:
        parts = [f"{self.answer}, {self.passed} of {self.ran} cases"]
        if number := len(self.missing):
            names = f" ({', '.join(self.missing)})" if number <= NAMED else ""
            parts.append(f"{number} requirement{'' if number == 1 else 's'} missing{names}")
        if self.not_shown:
            parts.append(f"{len(self.not_shown)} of {self.testable} requirements not shown")
        return f"{self.name}: {', '.join(parts)}"


def is_within(ids: Iterable[str], name: ConformanceClass) -> bool:
    """Whether a class has all of these requirements."""
    return name is ConformanceClass.COMPLETE or class_of(ids) is name


def class_outcome(
    name: ConformanceClass, results: Sequence[Result], testable: Iterable[str]
) -> ClassOutcome:
    """Give the outcome of some results for a class.

    Args:
        name: the class.
        results: the results of a run.
        testable: the requirements that are testable in a system of the role.
    """
    inside = [each for each in results if is_within(each.case.requirements, name)]
    ran = [each for each in inside if each.verdict not in NOT_RUN]
    passed = sum(not each.is_grave for each in ran)
    failed = [each for each in inside if each.verdict is Verdict.FAIL]
    missing = {id_ for each in failed for id_ in accused(each.case)} | {
        found.requirement
        for each in results
        for found in each.violations
        if found.verdict is Verdict.FAIL and is_within([found.requirement], name)
    }
    # A wider case that passes shows its requirements, too.
    done = (each for each in results if each.verdict not in NOT_RUN and not each.is_grave)
    shown = {id_ for each in done for id_ in each.case.requirements} | missing
    own = [id_ for id_ in testable if is_within([id_], name)]
    is_seen = ran and passed == len(ran) and not any(r.verdict is Verdict.UNKNOWN for r in inside)
    return ClassOutcome(
        name,
        False if missing else True if is_seen else None,
        passed,
        len(ran),
        tuple(sorted(missing, key=_order)),
        tuple(id_ for id_ in own if id_ not in shown),
        len(own),
    )


def _order(id_: str) -> tuple[str, int]:
    family, _, number = id_.partition("-")
    return family, int(number)
