"""What a whole run found: the results, and what one has to know to read them.

Every report is made of this, and of nothing else.
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
"""What the catalogue calls a test of each role, where it says where a requirement can be tested."""


@dataclass(frozen=True, slots=True)
class RunReport:
    """A run of the suite against one system under test.

    Attributes:
        role: what was judged.
        subject: what it is reached by: a URL, or a command.
        peer: what is known of it: ``peer``, ``version``, ``runtime``, as far as there is.
        started: when the run began.
        seconds: how long it took.
        results: what came of the cases that were selected, in the order of the data.
        command: the command line that judges it again, without a selection of cases.
        features: what it was taken to have; ``None`` where nobody asked.
        selection: the patterns and tags that cases were selected by, as they were typed.
        known: the known deviations that hold, by the ids of their cases.
        complaints: what is wrong with the other known deviations.
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
        """Give how many cases came to each verdict."""
        return Counter(result.verdict for result in self.results)

    def unexplained(self) -> list[Result]:
        """Give the results that are no pass, and that no known deviation accounts for."""
        return [
            result
            for result in self.results
            if result.verdict not in (Verdict.PASS, Verdict.UNSUPPORTED)
            and result.case.id not in self.known
        ]

    def has_failed(self) -> bool:
        """Say whether a MUST was broken, or a case not run to its end, without being known."""
        grave = (Verdict.FAIL, Verdict.ERROR)
        return bool(self.complaints) or any(each.verdict in grave for each in self.unexplained())

    def exercised(self) -> frozenset[str]:
        """Give the requirements that a case was about which ran to its end."""
        return frozenset(
            id_
            for result in self.results
            if result.verdict not in (Verdict.UNSUPPORTED, Verdict.ERROR)
            for id_ in result.case.requirements
        )

    def testable(self) -> dict[str, Requirement]:
        """Give the requirements that can be seen in a system of this role."""
        return {
            id_: each for id_, each in requirements().items() if SEEN_IN[self.role] in each.testable
        }
