"""A run: its results and its circumstances.

Every form of a report is made from this, and from nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from neffos_conformance.cases.classes import ConformanceClass, SetName
from neffos_conformance.cases.definition import Role
from neffos_conformance.cases.profile import STANDARD, Profile
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.runner.class_outcome import ClassOutcome, class_outcome, is_within
from neffos_conformance.runner.known_failures import KnownFailure
from neffos_conformance.runner.result import Result
from neffos_protocol.catalogue import Requirement, requirements

SEEN_IN: Mapping[str, str] = {"server": "wire-server", "client": "wire-client", "codec": "codec"}
"""The catalogue's word for a test of each role."""


@dataclass(frozen=True, slots=True)
class RunReport:
    """A run of the suite against one system under test.

    Attributes:
        role: the role of the system under test.
        sut: its URL or its command.
        peer: what is known about it: any of ``peer``, ``version`` and ``runtime``.
        started: the date of the run.
        seconds: its duration.
        results: the results of the selected cases, in the order of the data.
        command: the command line that tests it again, without a selection of cases.
        features: the features that it was assumed to have; ``None`` if no case needs any.
        absent: what it did instead, by the names of the features that it was found to lack.
        profile: its own names.
        selection: the patterns and tags of the selection, as they were typed.
        known: the known failures that occurred, by the IDs of their cases.
        stale: a sentence on each known failure that no longer occurs.
        again: the command lines that run a case again, where ``command`` does not, by its ID.
        notes: sentences on how the cases were run, where that is unusual.
        decided_by: the class that decides the exit status.
        set_name: the requirement set that selected the cases.
    """

    role: Role
    sut: str
    peer: Mapping[str, str]
    started: datetime
    seconds: float
    results: tuple[Result, ...]
    command: str
    features: frozenset[str] | None = None
    selection: tuple[str, ...] = ()
    known: Mapping[str, KnownFailure] = field(default_factory=dict)
    stale: tuple[str, ...] = ()
    again: Mapping[str, str] = field(default_factory=dict)
    absent: Mapping[str, str] = field(default_factory=dict)
    profile: Profile = STANDARD
    notes: tuple[str, ...] = ()
    decided_by: ConformanceClass = ConformanceClass.COMPLETE
    set_name: SetName = field(default_factory=SetName)

    def counts(self) -> Counter[Verdict]:
        """Give the number of cases with each verdict."""
        return Counter(result.verdict for result in self.results)

    def unexplained(self) -> list[Result]:
        """Give the results that are neither passed nor skipped nor known failures."""
        return [
            result
            for result in self.results
            if result.verdict not in (Verdict.PASS, Verdict.SKIPPED)
            and result.case.id not in self.known
        ]

    def has_unknown(self) -> bool:
        """Whether something that the deciding class was to see was not seen."""
        return any(self.decides(each) and each.verdict is Verdict.UNKNOWN for each in self.results)

    def has_failed(self) -> bool:
        """Whether the deciding class has an unknown failure or error, or a known one is stale."""
        return bool(self.stale) or any(
            each.is_grave and self.decides(each) for each in self.unexplained()
        )

    def decides(self, result: Result) -> bool:
        """Whether a result belongs to the class that decides the exit status."""
        return is_within(result.case.requirements, self.decided_by)

    def class_outcomes(self) -> list[ClassOutcome]:
        """Give the outcome for each class of conformance."""
        return [class_outcome(each, self.results, self.testable()) for each in ConformanceClass]

    def exercised(self) -> frozenset[str]:
        """Give the requirements that are covered by a case that ran to its end."""
        return frozenset(
            id_
            for result in self.results
            if result.verdict not in (Verdict.SKIPPED, Verdict.ERROR, Verdict.UNKNOWN)
            for id_ in result.case.requirements
        )

    def testable(self) -> dict[str, Requirement]:
        """Give the requirements that are testable in a system of this role."""
        own = self.set_name.requirements
        return {
            id_: e for id_, e in requirements_in(self.role).items() if own is None or id_ in own
        }


def requirements_in(role: Role) -> dict[str, Requirement]:
    """Give the requirements that are testable in a system of a role."""
    return {id_: each for id_, each in requirements().items() if SEEN_IN[role] in each.testable}
