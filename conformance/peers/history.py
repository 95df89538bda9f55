"""All releases of neffos for Go, Iris and neffos.js that can be had by number: ``make history``.

Each is built once, below ``build/peers/history``; the Go command and npm keep what they have
fetched. A release that cannot be had, or lacks what the programs beside this file need, is a gap
with its reason. In the folder ``conformance``:

    python -m peers.history list
    python -m peers.history build NAME VERSION
    python -m peers.history start NAME VERSION
    python -m peers.history record [--only NAME]...

``start`` becomes the server or the driver of a release that was built. ``record`` runs the cases on
every release, and writes what ``neffos_conformance.interop.history`` reads.

Exit status: 1 a release cannot be built; 2 unknown name; 4 a program is missing; else the peer's.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import click

from neffos_conformance.cases.definition import Role, select
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.codecs.catalogue import all_cases
from neffos_conformance.data import FOLDER
from neffos_conformance.interop.bisection import Trial, Trials
from neffos_conformance.interop.history import history_values, system_values
from neffos_conformance.interop.versions import Version, tried
from neffos_conformance.runner.playback import Timeouts
from neffos_protocol.text import ascii_json
from peers.implementations import (
    BUILT,
    GO_NEXT_PEER,
    GO_PEER,
    HERE,
    BuildError,
    become,
    build_js,
    built,
    console,
    tool,
)

RELEASES: Final = BUILT / "history"
"""The folder of what is built here."""

RECORDED: Final = Path(str(FOLDER)) / "history.json"

LIMITS: Final = Timeouts(case=12.0, after_barrier=2.8, close=10.0, write=2.0)
"""The time limits: a case takes milliseconds on an idle machine, and must not fail on a busy one.
That of a case is less than the 15 s after which a driver gives an operation up."""

FINAL: Final = (Verdict.PASS, Verdict.SKIPPED)
"""The verdicts of a first run that count. The other cases run again, since a busy machine fails a
correct peer, and passes no faulty one."""

JOBS_AGAIN: Final = 4
"""Cases that run concurrently then."""

REPEATS: Final = 3
"""Runs of a case whose verdict is another than on a release beside it; most of them decide, since a
release may lose a race with itself now and then."""

RUNS: Final = 4
"""Releases that are tested concurrently: the suite mostly waits for them."""

_NOT_THERE: Final = "the module proxy does not have it"
_NO_CHECKSUM: Final = "the checksum database does not have it, so the Go command refuses it"
_NO_BROADCASTER: Final = (
    "it has no SyncBroadcaster, without which a broadcast may pass a connection by"
)
_NO_CONTEXT: Final = "its context has no DisablePoolRelease, which the conformance application uses"

GO: Final = {
    "0.0.7": _NO_BROADCASTER,
    "0.0.8": _NO_BROADCASTER,
    "0.0.9": _NO_CHECKSUM,
    "0.0.10": "",
    "0.0.11": _NOT_THERE,
    "0.0.12": "",
    "0.0.13": _NOT_THERE,
    "0.0.14": "",
    "0.0.15": "",
    "0.0.16": "",
    "0.0.17": _NO_CHECKSUM,
    **{f"0.0.{number}": "" for number in range(18, 26)},
}
"""The releases of neffos for Go, and why one is a gap. Those before 0.0.7 are not to be had."""

IRIS: Final = {
    "12.1.8": _NO_CONTEXT,
    "12.2.0-alpha9": _NO_CONTEXT,
    "12.2.0": "",
    "12.2.5": "",
    "12.2.10": "",
    "12.2.11": "",
}
"""Likewise, of Iris; each comes with the neffos that it asks for."""

JS: Final = dict.fromkeys(("0.1.19", "0.1.25", "0.1.32", "0.1.34"), "")
"""Likewise, of neffos.js, all that npm has."""

LAST_UNTYPED: Final = "0.0.10"
"""The last release of neffos that does not tell text from binary."""

BARE: Final = "bare"
UNTYPED: Final = "untyped"
"""The tags of the Go peer without Iris, and with a release that knows no message types."""

NEXT: Final = "0.0.25"
NEWEST_IRIS: Final = "12.2.11"
"""The releases that are built as tested implementations of their own."""

FRAMEWORK: Final = "github.com/kataras/iris/v12"
LIBRARY: Final = "github.com/kataras/neffos"


@dataclass(frozen=True, slots=True)
class Released:
    """A server or a client with its releases.

    Attributes:
        role: its role.
        releases: its releases, the oldest first, and why one is a gap.
        arguments: those of the program of a Go release.
    """

    role: Role
    releases: Mapping[str, str]
    arguments: tuple[str, ...] = ()


SYSTEMS: Final = {
    "neffos-go/gorilla": Released("server", GO, ("serve",)),
    "neffos-go/gobwas": Released("server", GO, ("serve",)),
    "iris/iris": Released("server", IRIS, ("serve",)),
    "iris/iris-mvc": Released("server", IRIS, ("serve",)),
    "neffos-go-gorilla": Released("client", GO, ("driver", "-dialer", "gorilla")),
    "neffos-go-gobwas": Released("client", GO, ("driver", "-dialer", "gobwas")),
    "neffos.js": Released("client", JS),
}
"""All of them, by name; that of a server ends with its endpoint."""


def command(name: str, version: str) -> list[str]:
    """Give the command that starts a release once it is built.

    Args:
        name: the name of a system.
        version: a release that is not a gap.
    """
    system = SYSTEMS[name]
    if system.releases is JS:
        return ["node", str(RELEASES / f"js-{version}" / "driver.mjs")]
    if system.releases is GO:
        program = GO_NEXT_PEER if version == NEXT else RELEASES / f"neffos-{version}"
    else:
        program = GO_PEER if version == NEWEST_IRIS else RELEASES / f"iris-{version}"
    return [str(program), *system.arguments]


def build(name: str, version: str) -> None:
    """Build a release, as far as nothing of it is there.

    Args:
        name: the name of a system.
        version: a release that is not a gap.

    Raises:
        ToolchainError: a program is missing.
        BuildError: it cannot be built.
    """
    releases, program = SYSTEMS[name].releases, Path(command(name, version)[0])
    if releases is JS:
        folder = RELEASES / f"js-{version}"
        if not (folder / "node_modules").exists():
            build_js(folder, versions={"neffos.js": version})
    elif program in (GO_PEER, GO_NEXT_PEER):
        if not program.exists():
            built([program.name])
    else:
        _build_go(program, LIBRARY if releases is GO else FRAMEWORK, version)


def _build_go(program: Path, module: str, version: str) -> None:
    """Build the Go peer with a release, and with what that asks for itself.

    Raises:
        ToolchainError: there is no Go.
        BuildError: it cannot be built.
    """
    RELEASES.mkdir(parents=True, exist_ok=True)
    requirements = program.with_name(f"{program.name}.mod")
    if not requirements.exists():  # later, it has what the Go command found
        wanted = f"module neffos-wire/peers/go\n\ngo 1.24\n\nrequire {module} v{version}\n"
        requirements.write_text(wanted, "utf-8")
    tags = [BARE] if module == LIBRARY else []
    tags += [UNTYPED] if (module, version) == (LIBRARY, LAST_UNTYPED) else []
    words = [tool("go"), "build", "-mod=mod", f"-modfile={requirements}"]
    words += [f"-tags={','.join(tags)}", "-o", str(program), "."]
    env = os.environ | {"CGO_ENABLED": "0"}
    done = subprocess.run(words, cwd=HERE / "go", env=env, capture_output=True, text=True)
    if done.returncode:
        raise BuildError(f"{module} {version}: {done.stderr.strip()}")


def changed(trials: Trials) -> dict[str, set[str]]:
    """Give the cases whose verdict is another than on a release beside it, by release.

    Args:
        trials: what was found of each release, the oldest first.
    """
    found: dict[str, set[str]] = {}
    tested = [(version, each.verdicts) for version, each in trials.items() if each.verdicts]
    for (before, one), (after, other) in pairwise(tested):
        ids = {id_ for id_ in one if one[id_] is not other.get(id_)}
        if ids:
            found.setdefault(before, set()).update(ids)
            found.setdefault(after, set()).update(ids)
    return found


async def record(only: Mapping[str, Released]) -> dict[str, Any]:
    """Build all releases of some systems, and run all cases on each; give the histories.

    Raises:
        ToolchainError: a program is missing.
    """
    for name, system in only.items():
        for version, gap in system.releases.items():
            if not gap:
                build(name, version)
    slots = asyncio.Semaphore(RUNS)

    def runs(name: str, system: Released, version: str) -> Callable[..., Awaitable[Trial]]:
        started = Version(tuple(command(name, version)), name.partition("/")[2])
        return partial(tried, system.role, started, timeouts=LIMITS)

    async def one(name: str, system: Released, version: str) -> Trial:
        if system.releases[version]:
            return Trial(reason=system.releases[version])
        cases = select(all_cases(system.role), ())
        run = runs(name, system, version)
        async with slots:
            trial = await run(cases)
            failed = [case for case in cases if trial.verdicts.get(case.id) not in FINAL]
            if failed and trial.verdicts:
                again = await run(failed, jobs=JOBS_AGAIN)
                trial = Trial({**trial.verdicts, **again.verdicts})
        counts = Counter(trial.verdicts.values())
        shown = ", ".join(f"{number} {verdict}" for verdict, number in counts.items())
        console.print(f"{name} {version}: {trial.reason or shown}")
        return trial

    async def repeated(name: str, system: Released, version: str, ids: set[str]) -> Trial:
        cases = [case for case in all_cases(system.role) if case.id in ids]
        run = runs(name, system, version)
        async with slots:
            trials = [await run(cases, jobs=JOBS_AGAIN) for _ in range(REPEATS)]
        every = {id_: Counter(each.verdicts.get(id_) for each in trials) for id_ in ids}
        return Trial({id_: most for id_, of in every.items() if (most := of.most_common(1)[0][0])})

    async def history(name: str, system: Released) -> dict[str, Any]:
        trials = await asyncio.gather(*(one(name, system, each) for each in system.releases))
        found = dict(zip(system.releases, trials, strict=True))
        for version, ids in changed(found).items():
            again = await repeated(name, system, version, ids)
            found[version] = Trial({**found[version].verdicts, **again.verdicts})
        return system_values(system.role, [*system.releases], found)

    found = await asyncio.gather(*(history(*each) for each in only.items()))
    return dict(zip(only, found, strict=True))


@click.group()
def main() -> None:
    """List, build, start and record the releases of the tested implementations."""


@main.command("list")
def list_command() -> None:
    """Print every system with its releases."""
    for name, system in SYSTEMS.items():
        console.print(name)
        for version, gap in system.releases.items():
            console.print(f"    {version}{f': {gap}' if gap else ''}")


_NAME: Final = click.argument("name", type=click.Choice([*SYSTEMS]), metavar="NAME")


@main.command("build")
@_NAME
@click.argument("version")
def build_command(name: str, version: str) -> None:
    """Build a release."""
    build(name, _known(name, version))


@main.command("start")
@_NAME
@click.argument("version")
def start_command(name: str, version: str) -> None:
    """Become the server or the driver of a release."""
    become(command(name, _known(name, version)))


def _known(name: str, version: str) -> str:
    gap = SYSTEMS[name].releases.get(version)
    if gap is None:
        raise click.UsageError(f"there is no {version}, but {', '.join(SYSTEMS[name].releases)}")
    if gap:
        raise BuildError(f"{name} {version}: {gap}")
    return version


@main.command("record")
@click.option("--only", multiple=True, type=click.Choice([*SYSTEMS]), metavar="NAME")
def record_command(only: tuple[str, ...]) -> None:
    """Run the cases on every release, and write the history; that of the others stays."""
    chosen = {name: SYSTEMS[name] for name in SYSTEMS if not only or name in only}
    before = json.loads(RECORDED.read_text("utf-8"))["systems"] if only else {}
    values = history_values(before | asyncio.run(record(chosen)))
    RECORDED.write_text(ascii_json(values, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
