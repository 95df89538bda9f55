"""A plugin for pytest: each case is a test of one's own suite.

    pytest --neffos-server ws://localhost:8080/echo
    pytest --neffos-client 'node driver.mjs' --neffos-case NS --neffos-deviations known.toml

What the server does not have is skipped, with the reason. A known deviation is an expected
failure, and one that does not hold any more is a failure. Nothing of the suite is loaded by those
who do not ask for it.
"""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Iterable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from neffos_conformance.cases.definition import Case, Role
    from neffos_conformance.runner.known_failures import KnownFailure
    from neffos_conformance.runner.result import Result
    from neffos_conformance.runner.run import Run

GROUP: Final = "neffos-wire"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup(GROUP, "the conformance suite of neffos-wire")
    group.addoption("--neffos-server", metavar="URL", help="judge the server at this URL")
    group.addoption(
        "--neffos-client", metavar="CMD", help="judge the client behind this driver, a command"
    )
    for name, what in (
        ("case", "only these: a case id, a requirement, a family such as NS, or any with * and ?"),
        ("tag", "only cases with this tag"),
        ("deviations", "a TOML file of what is known to be wrong"),
    ):
        group.addoption(f"--neffos-{name}", action="append", default=[], help=what)
    group.addoption(
        "--neffos-features",
        metavar="LIST",
        help="what of the application the server has, with commas, or all; else it is found out",
    )


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Put the cases behind the tests that were collected."""
    for role in ("server", "client"):
        if subject := config.getoption(f"--neffos-{role}"):
            suite = Suite.from_parent(session, name=f"neffos-{role}", role=role, subject=subject)
            items += suite.collect()


class Suite(pytest.Collector):
    """The cases for one system under test, and what they run on.

    Args:
        role: what it is.
        subject: a server's URL, or the command of a client's driver.
    """

    def __init__(self, *, role: Role, subject: str, **further: Any) -> None:
        super().__init__(**further)
        self.role = role
        self.subject = subject
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self._run: Run | None = None
        self.features: frozenset[str] | None = None
        self.config.add_cleanup(self._close)

    def collect(self) -> list[pytest.Item]:
        """Give a test for each case that was selected."""
        from neffos_conformance.cases.definition import cases_of, select
        from neffos_conformance.runner.known_failures import read_known_failures

        try:
            paths = map(Path, self.config.getoption("--neffos-deviations"))
            known = {each.case: each for each in read_known_failures(paths)}
            chosen = select(
                cases_of(self.role),
                self.config.getoption("--neffos-case"),
                self.config.getoption("--neffos-tag"),
            )
        except ValueError as error:
            raise pytest.UsageError(str(error)) from error
        if not chosen:
            raise pytest.UsageError("no case has both such a name and such a tag")
        return [
            CaseItem.from_parent(self, name=case.id, case=case, known=known.get(case.id))
            for case in chosen
        ]

    def play(self, case: Case) -> Result:
        """Play a case, beginning with whatever all of them need."""
        return self._runner.run(self._play(case))

    async def _play(self, case: Case) -> Result:
        from neffos_conformance.cases.features import needed
        from neffos_conformance.cases.verdict import Verdict
        from neffos_conformance.runner.result import Result

        if self._run is None:
            self._run = await self._begin()
        if self.features is not None and (lacking := sorted(needed(case) - self.features)):
            return Result(case, Verdict.UNSUPPORTED, f"it needs {', '.join(lacking)}")
        return await self._run(case)

    async def _begin(self) -> Run:
        from neffos_conformance.cases.features import features_listed
        from neffos_conformance.runner.discovery import discovered
        from neffos_conformance.runner.driver_pool import to_client
        from neffos_conformance.runner.run import to_server

        if self.role == "client":
            started = to_client(shlex.split(self.subject), drivers=1)
            run, _ = await self._stack.enter_async_context(started)
            return run
        listed = self.config.getoption("--neffos-features")
        self.features = (
            await discovered(self.subject) if listed is None else features_listed(listed)
        )
        return to_server(self.subject)

    def _close(self) -> None:
        self._runner.run(self._stack.aclose())
        self._runner.close()


class CaseItem(pytest.Item):
    """A case as a test.

    Args:
        case: the case.
        known: its known deviation, if there is one.
    """

    def __init__(self, *, case: Case, known: KnownFailure | None, **further: Any) -> None:
        super().__init__(**further)
        self.case = case
        self.known = known
        for id_ in case.requirements:
            self.user_properties.append(("requirement", id_))
        for tag in case.tags:
            self.extra_keyword_matches.add(tag)

    def runtest(self) -> None:
        """Play the case."""
        from neffos_conformance.cases.verdict import Verdict
        from neffos_conformance.runner.known_failures import weigh

        suite = self.parent
        assert isinstance(suite, Suite)  # noqa: S101  # pytest's own types do not say it
        result = suite.play(self.case)
        if result.verdict is Verdict.UNSUPPORTED:
            pytest.skip(result.explanation)
        weighed = weigh([self.known] if self.known else [], [result], [self.case.id])
        if weighed.complaints:
            raise CaseFailure(result, weighed.complaints[0])
        if weighed.known and self.known:
            pytest.xfail(f"known: {' '.join(self.known.reason.split())} ({self.known.link})")
        if result.verdict in (Verdict.FAIL, Verdict.ERROR):
            raise CaseFailure(result)
        if result.verdict is not Verdict.PASS:
            self.warn(NotStrictWarning(f"{self.case.id}: {result.verdict}: {result.explanation}"))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Tell a failure as the suite does: the requirements, the bytes, what was wrong."""
        if not isinstance(excinfo.value, CaseFailure):
            return super().repr_failure(excinfo, style)
        return "\n".join(excinfo.value.lines())

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Say where it is from: the suite, by its id and title."""
        return Path("neffos-wire"), None, f"{self.case.id}: {self.case.title}"


class NotStrictWarning(UserWarning):
    """A SHOULD was not followed, or something was done otherwise that is left to the peer."""


class CaseFailure(Exception):  # noqa: N818  # it is a failure of the peer, and no error
    """What a case found.

    Args:
        result: what came of it.
        complaint: what is wrong with its known deviation, if that is it.
    """

    def __init__(self, result: Result, complaint: str = "") -> None:
        super().__init__(complaint or result.explanation)
        self.result = result
        self.complaint = complaint

    def lines(self) -> Iterable[str]:
        """Give what there is to say, line by line."""
        from neffos_conformance.reports.findings import sentence, steps, told

        result = self.result
        yield f"{result.verdict} {result.case.id}: {result.case.title}"
        if self.complaint:
            yield told(self.complaint)
        for id_ in result.case.requirements:
            yield f"  {id_}: {sentence(id_)}"
        yield f"  {told(result.explanation)}"
        for step in steps(result):
            mark = "!" if step.is_failing else " "
            yield f"{mark} {step.connection} {'→' if step.from_client else '←'} {step.text}"
