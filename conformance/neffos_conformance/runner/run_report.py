"""The report of a run: the results, and what one has to know to read them.

Every report format is made of this, and of nothing else.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from neffos_conformance.cases.definition import Role
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.runner.known_failures import KnownFailure
from neffos_conformance.runner.result import Result
from neffos_protocol.catalogue import Requirement, requirements

SEEN_IN: Mapping[str, str] = {"server": "wire-server", "client": "wire-client", "codec": "codec"}
"""How the catalogue names the tests of each role, where it says how a requirement is testable."""


@dataclass(frozen=True, slots=True)
class RunReport:
    """A run of the suite against one system under test.

    Attributes:
        role: of the system under test.
        subject: its URL, or its command.
        peer: what is known of it: ``peer``, ``version``, ``runtime``, or less.
        started: when the run began.
        seconds: how long it took.
        results: of the selected cases, in the order of the data.
        command: the command line that tests it again, without a selection of cases.
        features: those that it has; ``None`` if they are unknown.
        selection: the patterns and tags that selected the cases, as they were typed.
        known: the known failures that occurred, by the ids of their cases.
        complaints: what is wrong with the other known failures.
    """

    role: Role
    subject: str
    peer: Mapping[str, str]
    started: datetime
    seconds: float
    results: tuple[Result, ...]
    command: str
    features: frozenset[str] | None = None
    selection: tuple[str, ...] = ()
    known: Mapping[str, KnownFailure] = field(default_factory=dict)
    complaints: tuple[str, ...] = ()

    def counts(self) -> Counter[Verdict]:
        """Give how many cases have each verdict."""
        return Counter(result.verdict for result in self.results)

    def unexplained(self) -> list[Result]:
        """Give the results that are neither a pass nor a known failure."""
        return [
            result
            for result in self.results
            if result.verdict not in (Verdict.PASS, Verdict.UNSUPPORTED)
            and result.case.id not in self.known
        ]

    def has_failed(self) -> bool:
        """Say whether there is a fail or an error that is not a known failure."""
        grave = (Verdict.FAIL, Verdict.ERROR)
        return bool(self.complaints) or any(each.verdict in grave for each in self.unexplained())

    def exercised(self) -> frozenset[str]:
        """Give the requirements of the cases that ran to their end."""
        return frozenset(
            id_
            for result in self.results
            if result.verdict not in (Verdict.UNSUPPORTED, Verdict.ERROR)
            for id_ in result.case.requirements
        )

    def testable(self) -> dict[str, Requirement]:
        """Give the requirements that can be tested in a system of this role."""
        return {
            id_: each for id_, each in requirements().items() if SEEN_IN[self.role] in each.testable
        }
