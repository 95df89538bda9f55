"""A pytest plugin: each case becomes a test of your own test suite.

    pytest --neffos-server ws://localhost:8080/echo
    pytest --neffos-client 'node driver.mjs' --neffos-case NS --neffos-known-failures known.toml
    pytest --neffos-server ws://localhost:8080/echo neffos-server::HS-1.1

The cases are tests like any other, which -k, --deselect, --lf and node IDs select. A case that
needs a missing feature is skipped. A known failure is an expected failure, and a stale one is a
failure. The plugin imports the suite only if one of its options is used.
"""

from __future__ import annotations

import asyncio
import re
import shlex
from collections.abc import Iterable, Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest

from neffos_conformance import SUITE
from neffos_conformance.wire.reach_table import REACH_OPTIONS

if TYPE_CHECKING:
    from neffos_conformance.cases.definition import Case, Role
    from neffos_conformance.cases.profile import Profile
    from neffos_conformance.runner.discovery import Detected
    from neffos_conformance.runner.instances import Instances
    from neffos_conformance.runner.known_failures import KnownFailure
    from neffos_conformance.runner.result import Result
    from neffos_conformance.runner.run import Run
    from neffos_conformance.wire.reach_options import Reached


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options."""
    group = parser.getgroup(SUITE, "the conformance suite of neffos-wire")
    server = "test the server at URL; several are instances of one service"
    group.addoption("--neffos-server", action="append", default=[], metavar="URL", help=server)
    group.addoption("--neffos-client", metavar="COMMAND", help="test the client COMMAND drives")
    for name, metavar, what in (
        ("case", "PATTERN", "run only this case ID, requirement, family or pattern"),
        ("tag", "TAG", "run only cases with this tag"),
        ("known-failures", "FILE", "known failures with their reasons (TOML)"),
    ):
        option = f"--neffos-{name}"
        group.addoption(option, action="append", default=[], metavar=metavar, help=what)
    features = "features of the server, with commas, or all (default: detected)"
    group.addoption("--neffos-features", metavar="LIST", help=features)
    decides = "class of conformance whose failures fail: interoperable or complete (default)"
    group.addoption(
        "--neffos-class",
        choices=["interoperable", "complete"],
        default="complete",
        metavar="CLASS",
        help=decides,
    )
    chosen = "requirement set to test by (default: draft)"
    group.addoption("--neffos-set", default="draft", metavar="NAME", help=chosen)
    gentle = "only cases that do no harm, one at a time and slowly, for a server that others use"
    group.addoption("--neffos-gentle", action="store_true", help=gentle)
    namespace = "namespace of the server, to be tested in place of app"
    group.addoption("--neffos-namespace", metavar="NAME", help=namespace)
    profile = "the server's own names for what cases use (TOML)"
    group.addoption("--neffos-profile", metavar="FILE", help=profile)
    for each in REACH_OPTIONS:
        name = f"--neffos-{each.name}"
        if not each.metavar:
            group.addoption(name, action="store_true", help=each.text)
        elif each.is_multiple:
            group.addoption(name, action="append", default=[], metavar=each.metavar, help=each.text)
        else:
            group.addoption(name, metavar=each.metavar, help=each.text)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Take the node IDs of cases out of the arguments, which pytest would read as files."""
    chosen = [each for each in config.args if each.removeprefix("::").startswith(NODES)]
    config.stash[_CHOSEN] = [each.removeprefix("::") for each in chosen]
    if chosen:
        config.args[:] = [each for each in config.args if each not in chosen]


# First, so that -k, -m, --deselect, --lf and the like see the cases, too.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(
    session: pytest.Session, config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Append the cases to the collected tests, or those whose node IDs are arguments."""
    chosen = config.stash[_CHOSEN]
    if not chosen and any("::" in each for each in config.args):
        return  # single tests were asked for, and none of these
    for role in ("server", "client"):
        if sut := config.getoption(f"--neffos-{role}"):
            sut = [sut] if role == "client" else sut
            name = f"neffos-{role}"
            suite = Suite.from_parent(session, name=name, nodeid=name, role=role, sut=sut)
            items += [each for each in suite.collect() if not chosen or each.nodeid in chosen]
    if missing := [each for each in chosen if each not in {item.nodeid for item in items}]:
        raise pytest.UsageError(f"no case has the node ID {', '.join(missing)}")


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say for each system under test what its cases show of each class of conformance."""
    for suite in config.stash.get(_SUITES, ()):
        from neffos_conformance.cases.classes import ConformanceClass
        from neffos_conformance.runner.class_outcome import class_outcome
        from neffos_conformance.runner.run_report import requirements_in

        terminalreporter.section(f"{SUITE} {suite.role}")
        for each in ConformanceClass:
            outcome = class_outcome(each, suite.results, requirements_in(suite.role))
            terminalreporter.write_line(str(outcome))
        if suite.split is not None:
            terminalreporter.write_line(suite.split.note())


NODES: Final = ("neffos-server::", "neffos-client::")
"""How the node IDs of cases begin."""

_CHOSEN: Final = pytest.StashKey[list[str]]()


class Suite(pytest.Collector):
    """The cases for one system under test, and their event loop.

    Args:
        role: its role.
        sut: the URLs of a server, or the command of a client driver.
    """

    def __init__(self, *, role: Role, sut: Sequence[str], **further: Any) -> None:
        super().__init__(**further)
        self.role = role
        self.sut = sut
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self._run: Run | None = None
        self.has: Detected | None = None
        self.results: list[Result] = []
        self.split: Instances | None = None
        self.config.stash.setdefault(_SUITES, []).append(self)
        self.profile: Profile | None = None
        self.listed: frozenset[str] | None = None
        self.config.add_cleanup(self._close)

    def collect(self) -> list[pytest.Item]:
        """Give a test for each selected case."""
        from neffos_conformance.cases.definition import select
        from neffos_conformance.cases.features import features_listed
        from neffos_conformance.cases.profile import chosen
        from neffos_conformance.requirement_sets import requirement_set
        from neffos_conformance.runner.known_failures import read_known_failures

        if self.config.getoption("--neffos-gentle") and self.role == "client":
            raise pytest.UsageError("--neffos-gentle is of no use with --neffos-client")
        self.reached = self._read_reached()
        if len(self.sut) > 1 and self.reached.reach.unix_socket:
            text = "--neffos-unix-socket leads to one server, not to several"
            raise pytest.UsageError(text)
        try:
            paths = map(Path, self.config.getoption("--neffos-known-failures"))
            known = read_known_failures(paths)
            path = self.config.getoption("--neffos-profile")
            namespace = self.config.getoption("--neffos-namespace")
            self.profile = chosen(path and Path(path), namespace)
            listed = self.config.getoption("--neffos-features")
            self.listed = None if listed is None else features_listed(listed)
            chosen_set = requirement_set(self.config.getoption("--neffos-set"))
            cases = select(
                chosen_set.cases(self.role),
                self.config.getoption("--neffos-case"),
                self.config.getoption("--neffos-tag"),
            )
        except ValueError as error:
            raise pytest.UsageError(str(error)) from error
        if not cases:
            raise pytest.UsageError("no case has both such a name and such a tag")
        return [
            CaseItem.from_parent(
                self,
                name=case.id,
                case=case,
                known=[each for each in known if each.case == case.id],
            )
            for case in cases
        ]

    def run(self, case: Case) -> Result:
        """Run a case; the first one also prepares the system under test."""
        self.results.append(self._runner.run(self._run_case(case)))
        return self.results[-1]

    async def _run_case(self, case: Case) -> Result:
        from neffos_conformance.runner.gentle import left_out

        if self.config.getoption("--neffos-gentle") and (left := left_out([case])):
            return left[0]
        if self._run is None:
            self._run = await self._prepare()
        not_run = self.has.result(case) if self.has is not None else None
        return not_run or await self._run(case)

    async def _prepare(self) -> Run:
        from neffos_conformance.runner.discovery import discovered
        from neffos_conformance.runner.driver_pool import to_client
        from neffos_conformance.runner.gentle import INTERVAL
        from neffos_conformance.runner.instances import Instances, common, retried
        from neffos_conformance.runner.pace import Way
        from neffos_conformance.runner.run import DEFAULT_TIMEOUTS, opened, to_server
        from neffos_conformance.wire.reach import Gate

        if self.role == "client":
            started = to_client(shlex.split(self.sut[0]), drivers=1)
            run, _ = await self._stack.enter_async_context(started)
            return run
        gate = Gate(INTERVAL) if self.config.getoption("--neffos-gentle") else None
        targets = [self.reached.target(url).behind(gate) for url in self.sut]
        way = Way(DEFAULT_TIMEOUTS, interval=gate.interval if gate else 0.0)
        assert self.profile is not None  # noqa: S101  # the cases were collected
        found = []
        try:
            for target in targets:
                await way.check(partial(opened, target))
                found.append(await discovered(target, way, self.profile, listed=self.listed))
        except ValueError as error:
            pytest.exit(str(error), pytest.ExitCode.USAGE_ERROR)
        self.has = common(found)
        if len(targets) == 1:
            return retried(to_server(targets[0], way=way, profile=self.has.profile))
        self.split = Instances.of(targets, way, self.has.profile)
        return self.split.run

    def _read_reached(self) -> Reached:
        """Read the options that say how the server is reached."""
        from neffos_conformance.wire.reach import check_web_socket
        from neffos_conformance.wire.reach_options import read_reach

        names = ((each.key, f"--neffos-{each.name}") for each in REACH_OPTIONS)
        try:
            if self.role == "server":
                for url in self.sut:
                    check_web_socket(url)
            return read_reach({key: self.config.getoption(name) for key, name in names})
        except ValueError as error:
            options = "|".join(each.name for each in REACH_OPTIONS)
            text = re.sub(rf"--(?=({options})\b)", "--neffos-", str(error))
            raise pytest.UsageError(text) from error

    def _close(self) -> None:
        self._runner.run(self._stack.aclose())
        self._runner.close()


_SUITES: Final = pytest.StashKey[list[Suite]]()


class CaseItem(pytest.Item):
    """A case as a test.

    Args:
        case: the case.
        known: its known failures: of the case, or of findings in it.
    """

    def __init__(self, *, case: Case, known: Sequence[KnownFailure], **further: Any) -> None:
        super().__init__(**further)
        self.case = case
        self.known = known
        for id_ in case.requirements:
            self.user_properties.append(("requirement", id_))
        for tag in case.tags:
            self.extra_keyword_matches.add(tag)

    def runtest(self) -> None:
        """Run the case, and turn its result into the outcome of a test."""
        from neffos_conformance.cases.classes import ConformanceClass
        from neffos_conformance.cases.verdict import Verdict
        from neffos_conformance.reports.findings import bounded
        from neffos_conformance.runner.class_outcome import is_within
        from neffos_conformance.runner.known_failures import key_of, weigh
        from neffos_conformance.runner.result import GRAVE

        suite = self.parent
        assert isinstance(suite, Suite)  # noqa: S101  # pytest's own types do not say it
        result = suite.run(self.case)
        if result.verdict in (Verdict.SKIPPED, Verdict.UNKNOWN):
            pytest.skip(bounded(result.explanation))
        weighed = weigh(self.known, [result], [self.case.id])
        if weighed.complaints:
            raise CaseFailure(result, weighed.complaints[0])
        name = ConformanceClass(self.config.getoption("--neffos-class"))
        left = [
            each
            for each in result.violations
            if key_of(self.case.id, each.requirement) not in weighed.known
        ]
        for each in left:
            if each.verdict in GRAVE and is_within([each.requirement], name):
                raise CaseFailure(result, f"{each.requirement}: {each.explanation}")
        for known in weighed.known.values():
            pytest.xfail(f"known: {' '.join(known.reason.split())} ({known.link})")
        if result.is_grave and is_within(self.case.requirements, name):
            raise CaseFailure(result)
        texts = [f"{each.requirement}, {each.verdict}: {each.explanation}" for each in left]
        if result.verdict is not Verdict.PASS:
            texts.append(f"{result.verdict}: {result.explanation}")
        for text in texts:
            self.warn(NotStrictWarning(bounded(f"{self.case.id}: {text}")))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """Give a failure as the suite reports it: requirements, messages and problem."""
        if not isinstance(excinfo.value, CaseFailure):
            return super().repr_failure(excinfo, style)
        return "\n".join(excinfo.value.lines())

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Give the location of the test: the suite, with the case ID and its title."""
        # A warning needs a line, though no file has one here.
        return Path("neffos-wire"), 0, f"{self.case.id}: {self.case.title}"


class NotStrictWarning(UserWarning):
    """A case with the verdict non-strict or informational, or outside the deciding class."""


class CaseFailure(Exception):  # noqa: N818  # a failure of the peer, not an error
    """A case that failed.

    Args:
        result: its result.
        complaint: a sentence on its stale known failure or its finding, if it has one.
    """

    def __init__(self, result: Result, complaint: str = "") -> None:
        super().__init__(complaint or result.explanation)
        self.result = result
        self.complaint = complaint

    def lines(self) -> Iterable[str]:
        """Give the failure, line by line."""
        from neffos_conformance.reports.findings import account, bounded, sentence

        result = self.result
        yield f"{result.verdict} {result.case.id}: {result.case.title}"
        if self.complaint:
            yield bounded(self.complaint)
        for id_ in result.case.requirements:
            yield f"  {id_}: {sentence(id_)}"
        yield from account(result)
