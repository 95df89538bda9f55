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
from neffos_conformance.runner.known_failures import KnownFailure, key_of
from neffos_conformance.runner.result import GRAVE, Finding, Result
from neffos_conformance.runner.varying import Varied
from neffos_protocol.catalogue import Requirement, requirements

SEEN_IN: Mapping[str, str] = {
    "server": "wire-server",
    "client": "wire-client",
    "codec": "codec",
    "exchange": "wire-exchange",
}
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
        results: the results of the selected cases, in the order of the data; each is followed by
            those of its variations that did not pass.
        command: the command line that tests it again, without a selection of cases.
        features: the features that it was assumed to have; ``None`` if no case needs any.
        absent: what it did instead, by the names of the features that it was found to lack.
        profile: its own names.
        selection: the patterns and tags of the selection, as they were typed.
        known: the known failures that occurred, by ``key_of`` their cases and findings.
        stale: a sentence on each known failure that no longer occurs.
        again: the command lines that run a case again, where ``command`` does not, by its ID.
        notes: sentences on how the cases were run, where that is unusual.
        decided_by: the class that decides the exit status.
        set_name: the requirement set that selected the cases.
        varied: the variations that ran; ``None`` if the run had none.
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
    varied: Varied | None = None

    def counts(self) -> Counter[Verdict]:
        """Give the number of cases with each verdict."""
        return Counter(result.verdict for result in self.results)

    def unexplained(self) -> list[Result]:
        """Give the results that are neither passed nor skipped nor known failures.

        A passed case with a finding that is not known is among them.
        """
        return [
            result
            for result in self.results
            if self.unexplained_findings(result)
            or (
                result.verdict not in (Verdict.PASS, Verdict.SKIPPED)
                and result.case.id not in self.known
            )
        ]

    def unexplained_findings(self, result: Result) -> list[Finding]:
        """Give the violations in a case beside what it tests that are no known failures."""
        return [each for each in result.violations if not self.known_finding(result, each)]

    def known_finding(self, result: Result, finding: Finding) -> KnownFailure | None:
        """Give the known failure that a finding in a case is; ``None`` for one that is new."""
        if not finding.requirement:
            return None
        return self.known.get(key_of(result.case.id, finding.requirement))

    def has_unknown(self) -> bool:
        """Whether something that the deciding class was to see was not seen."""
        return any(self.decides(each) and each.verdict is Verdict.UNKNOWN for each in self.results)

    def has_failed(self) -> bool:
        """Whether the deciding class has an unknown failure or error, or a known one is stale."""
        return bool(self.stale) or any(map(self.is_to_blame, self.unexplained()))

    def is_to_blame(self, result: Result) -> bool:
        """Whether an unexplained result makes the run fail: by its verdict, or by a finding."""
        return (result.is_grave and self.decides(result)) or any(
            each.verdict in GRAVE and is_within([each.requirement], self.decided_by)
            for each in self.unexplained_findings(result)
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
