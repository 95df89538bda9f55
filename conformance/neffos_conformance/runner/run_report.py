"""A run: its results and its circumstances.

Every form of a report is made from this, and from nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from neffos_conformance.cases.definition import Role
from neffos_conformance.cases.profile import STANDARD, Profile
from neffos_conformance.cases.verdict import Verdict
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
        """Whether something that the run was to see was not seen."""
        return self.counts()[Verdict.UNKNOWN] > 0

    def has_failed(self) -> bool:
        """Whether there is a failure or an error that is not known, or a stale known failure."""
        grave = (Verdict.FAIL, Verdict.ERROR)
        return bool(self.stale) or any(each.verdict in grave for each in self.unexplained())

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
        return {
            id_: each for id_, each in requirements().items() if SEEN_IN[self.role] in each.testable
        }
