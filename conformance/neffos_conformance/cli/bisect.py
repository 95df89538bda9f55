"""The command ``bisect``: the version in which a verdict changed."""

from __future__ import annotations

import asyncio
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from neffos_conformance.cases.definition import Case, Role, select
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.cli.main import EXIT_FAIL, EXIT_PASS, EXIT_USAGE
from neffos_conformance.cli.options import EXISTING_FILE, JSON, choice, option
from neffos_conformance.codecs.catalogue import all_cases
from neffos_conformance.interop.bisection import (
    Trial,
    Trials,
    changes,
    conclusion,
    evidence,
    following,
)
from neffos_conformance.interop.history import histories
from neffos_conformance.interop.versions import Version, tried
from neffos_conformance.wire.secrets import masked
from neffos_conformance.wire.terminal import echo
from neffos_protocol.text import ascii_json

CHECKOUT: Final = Path(__file__).parents[2]
"""The folder of a checkout that has ``peers``, which builds and starts the releases."""

BISECT_FORMAT: Final = 1
"""The version of the format of ``--json``."""


@click.command("bisect")
@click.argument("patterns", nargs=-1, required=True, metavar="REQUIREMENT…")
@option(
    "--command commands",
    "Name of a version and the command of its server or driver; the oldest comes first.",
    "NAME=COMMAND",
    multiple=True,
)
@option(
    "--commands listed",
    "File with a NAME=COMMAND in each line.",
    "FILE",
    type=EXISTING_FILE,
)
@option("--releases", "All releases of a tested implementation; this needs a checkout.", "NAME")
@choice("--role", "What the commands start: servers, or drivers.", ["server", "client"], "server")
@option("--endpoint", "Endpoint of the server, if its ready line has several.", "NAME", default="")
@option("--url", "URL of the server, if its command prints no ready line.", "URL", default="")
@option("--all is_whole", "All versions, which shows also a change that did not last.")
@JSON
def bisect_command(
    patterns: tuple[str, ...],
    commands: tuple[str, ...],
    listed: Path | None,
    releases: str | None,
    role: Role,
    endpoint: str,
    url: str,
    is_whole: bool,
    as_json: bool,
) -> None:
    """Find the version in which a verdict changed.

    The cases of the requirement run on the oldest and the newest version, and then on those that
    halve what is left. Each command starts a server, which prints a ready line as "neffos-wire
    serve --json" does and ends with its standard input, or the driver of a client. A version that
    does not start, and a verdict that is skipped or unknown, are no evidence. The status is that
    of the newest version of which something is known.
    """
    if sum((bool(commands), listed is not None, releases is not None)) != 1:
        raise click.UsageError("name the versions once. Try: --command, --commands or --releases")
    if releases is not None:
        if endpoint or url:
            raise click.UsageError("--endpoint and --url say nothing with --releases")
        role, search = _releases(releases)
    else:
        lines = commands if listed is None else _lines(listed)
        search = _Search(dict(_version(each, endpoint, url) for each in lines), {})
    cases = _cases(patterns, role)
    note: Callable[[str, Trial], None] = (lambda *_: None) if as_json else _show
    asyncio.run(search.run(role, cases, note, is_whole=is_whole))
    status = search.status()
    if as_json:
        echo(ascii_json(_values(role, cases, search), indent=1))
    else:
        for sentence in conclusion(search.names, search.trials):
            echo(masked(sentence))
    sys.exit(status)


@dataclass(slots=True)
class _Search:
    """A search over versions.

    Attributes:
        versions: what can be started, by version.
        trials: what was tried, and the versions that cannot be.
        names: all versions, the oldest first.
        peer: the tested implementation whose releases they are; empty for none.
    """

    versions: Mapping[str, Version]
    trials: dict[str, Trial]
    names: tuple[str, ...] = ()
    peer: str = ""

    def __post_init__(self) -> None:
        self.names = self.names or tuple(self.versions)

    async def run(
        self,
        role: Role,
        cases: Sequence[Case],
        note: Callable[[str, Trial], None],
        *,
        is_whole: bool,
    ) -> None:
        """Try one version after the other, and note each."""
        while name := following(self.names, self.trials, is_whole=is_whole):
            reason = _built(self.peer, name) if self.peer else ""
            trial = (
                Trial(reason=reason) if reason else await tried(role, self.versions[name], cases)
            )
            self.trials[name] = trial
            note(name, trial)

    def status(self) -> int:
        """Give the exit status: that of the newest version of which something is known."""
        known = evidence(self.names, self.trials)
        if not known:
            return EXIT_USAGE
        verdicts = self.trials[self.names[known[-1][0]]].verdicts.values()
        return EXIT_FAIL if Verdict.FAIL in verdicts else EXIT_PASS


def _cases(patterns: Sequence[str], role: Role) -> list[Case]:
    try:
        return select(all_cases(role), patterns)
    except ValueError as error:
        other = "client" if role == "server" else "server"
        raise click.UsageError(f"{error} of a {role}. Try: --role {other}") from error


def _lines(path: Path) -> list[str]:
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeError) as error:
        raise click.UsageError(f"{path} cannot be read: {error}") from error
    return [line for line in map(str.strip, lines) if line and not line.startswith("#")]


def _version(text: str, endpoint: str, url: str) -> tuple[str, Version]:
    name, is_there, command = text.partition("=")
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise click.UsageError(f"{text}: {error}") from error
    if not (name and is_there and words):
        raise click.UsageError(f"{text} has no version or no command. Try: NAME=COMMAND")
    return name, Version(tuple(words), endpoint, url)


def _releases(peer: str) -> tuple[Role, _Search]:
    """Give the releases of a tested implementation.

    Raises:
        click.UsageError: there is no such implementation, or no checkout.
    """
    if peer not in histories():
        raise click.UsageError(
            f"no releases of {peer!r} are recorded. Try: {', '.join(histories())}"
        )
    if not (CHECKOUT / "peers" / "history.py").exists():
        raise click.UsageError("the releases are built in a checkout. Try: --command NAME=COMMAND")
    recorded = histories()[peer]
    endpoint = peer.partition("/")[2]
    versions = {
        each: Version(_program("start", peer, each), endpoint)
        for each in recorded.versions
        if each not in recorded.gaps
    }
    gaps = {each: Trial(reason=reason) for each, reason in recorded.gaps.items()}
    return recorded.role, _Search(versions, gaps, recorded.versions, peer)


def _program(*arguments: str) -> tuple[str, ...]:
    """Give the command of the program that builds and starts releases, in any folder."""
    begin = f"import sys; sys.path[0] = {str(CHECKOUT)!r}; from peers.history import main; main()"
    return (sys.executable, "-c", begin, *arguments)


def _built(peer: str, version: str) -> str:
    """Build a release, however long that takes; say why it cannot be, or nothing."""
    done = subprocess.run(  # noqa: S603  # the program is ours
        _program("build", peer, version), capture_output=True, text=True, check=False
    )
    return done.stderr.strip().rpartition("\n")[2] if done.returncode else ""


def _show(name: str, trial: Trial) -> None:
    """Show a version that was tried, with the cases that do not pass."""
    if trial.reason:
        echo(f"{name}  not tried: {masked(trial.reason)}")
        return
    others: dict[Verdict, list[str]] = {}
    for id_, verdict in trial.verdicts.items():
        if verdict is not Verdict.PASS:
            others.setdefault(verdict, []).append(id_)
    shown = "; ".join(f"{verdict}: {', '.join(ids)}" for verdict, ids in others.items())
    echo(f"{name}  {trial.outcome}{f'  ({shown})' if shown else ''}")


def _values(role: Role, cases: Sequence[Case], search: _Search) -> dict[str, Any]:
    names, trials = search.names, search.trials
    return {
        "format": BISECT_FORMAT,
        "role": role,
        "cases": [case.id for case in cases],
        "tried": [_tried(name, trials) for name in names if name in trials],
        "changes": [
            {
                "before": each.before,
                "after": each.after,
                "between": [*each.between],
                "outcome": each.outcome,
            }
            for each in changes(names, trials)
        ],
    }


def _tried(name: str, trials: Trials) -> dict[str, Any]:
    trial = trials[name]
    verdicts = {id_: str(verdict) for id_, verdict in trial.verdicts.items()}
    reason = {"reason": masked(trial.reason)} if trial.reason else {}
    return {"version": name, "outcome": str(trial.outcome), "verdicts": verdicts, **reason}
