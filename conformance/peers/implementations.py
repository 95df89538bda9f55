"""The tested implementations: how each is built, and the commands that run it.

A server prints its endpoints in a readiness line and ends with its standard input. So does a
plain server, which is one as people have it, without the conformance application; it is in no
matrix and no recording. A client is a driver. In the folder ``conformance``:

    python -m peers.implementations list
    python -m peers.implementations build [NAME ...]
    python -m peers.implementations serve NAME
    python -m peers.implementations plain NAME
    python -m peers.implementations drive NAME

Exit status: 1 a peer cannot be built; 2 unknown name; 4 a program is missing; else the peer's.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Final

import click
from rich.console import Console

from neffos_conformance.runner.driver_pool import DRIVERS
from neffos_conformance.runner.known_failures import KnownFailure, read_known_failures

ROOT: Final = Path(__file__).resolve().parents[2]
HERE: Final = ROOT / "conformance" / "peers"
KNOWN_FAILURES: Final = HERE / "known_failures"
"""The files about cases have the format that ``--known-failures`` reads. ``interop.toml`` is about
steps of an interop run."""

BUILT: Final = ROOT / "build" / "peers"
GO_PEER: Final = BUILT / "neffos-go"
GO_NEXT_PEER: Final = BUILT / "neffos-go-next"
JS_PEER: Final = BUILT / "js"
NATS_NEXT: Final = BUILT / "nats-next"
REFERENCE: Final = str(Path(sys.executable).with_name("neffos-wire"))

GO_NEXT_TOOLCHAIN: Final = "go1.27.0"
"""The Go of the next line of neffos; an older Go gets it through the module proxy."""

OLD_JS: Final = "0.1.19"
"""The oldest published neffos.js, which has no binary messages."""

OLD_JS_PEER: Final = BUILT / f"js-{OLD_JS}"

BROWSER_TEST: Final = "test-browser.mjs"

LEAVE_OUT: Final = "NEFFOS_WIRE_LEAVE_OUT"
"""The environment variable with the names of peers to leave out, separated by commas."""

SHARE: Final = "NEFFOS_WIRE_SHARE"
"""The environment variable with the number by which the driver in a browser chooses a share of its
tests; without it, all run."""

console = Console(soft_wrap=True, markup=False, highlight=False)


class ImplementationError(click.ClickException):
    """An implementation that cannot be used; its ``exit_code`` is that of the program."""


class ToolchainError(ImplementationError):
    """A program that a peer needs is not on this machine."""

    exit_code = 4


class BuildError(ImplementationError):
    """A peer cannot be built, or its own tests fail."""


def build_go(binary: Path, *flags: str, toolchain: str = "") -> None:
    """Check, test and build the Go peer.

    Args:
        binary: the program to write.
        flags: flags of the go command that choose the line of neffos.
        toolchain: the version of Go; the installed one unless given.

    Raises:
        ToolchainError: there is no Go, or not that version.
        BuildError: a step failed.
    """
    # Without cgo, which nothing here uses. `make bench` builds the same, so Go's cache serves both.
    go, env = tool("go"), {"CGO_ENABLED": "0"}
    if toolchain:
        env["GOTOOLCHAIN"] = toolchain
    found = subprocess.run([go, "version"], env=os.environ | env, capture_output=True, text=True)
    if found.returncode:
        last = found.stderr.strip().rpartition("\n")[2]
        raise ToolchainError(f"there is no {toolchain or 'Go'} on this machine: {last}")
    BUILT.mkdir(parents=True, exist_ok=True)
    for step in (
        ["vet", *flags, "./..."],
        ["test", *flags, "./..."],
        ["build", *flags, "-o", str(binary), "."],
    ):
        run([go, *step], HERE / "go", env)


def build_nats() -> None:
    """Build the newest NATS server, which its module has as a tool.

    Raises:
        ToolchainError: there is no Go.
        BuildError: it cannot be built.
    """
    BUILT.mkdir(parents=True, exist_ok=True)
    program = "github.com/nats-io/nats-server/v2"
    command = [tool("go"), "build", "-o", str(NATS_NEXT), program]
    run(command, HERE / "nats", {"CGO_ENABLED": "0"})


def build_js(folder: Path, test: str = "", versions: Mapping[str, str] | None = None) -> None:
    """Install neffos.js with its drivers, and test one of them.

    Args:
        folder: where to install.
        test: the test to run, if any; that of the browser needs Chromium.
        versions: the packages to install instead of those that the drivers need.

    Raises:
        ToolchainError: there is no Node, or no Chromium.
        BuildError: a step failed.
    """
    chromium = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
    if test == BROWSER_TEST and not chromium.exists():
        raise ToolchainError(
            f"there is no {chromium}: install Debian's package chromium, or say in CHROMIUM "
            "where it is"
        )
    node = tool("node")
    folder.mkdir(parents=True, exist_ok=True)
    for path in (HERE / "js").iterdir():
        if path.is_file():
            shutil.copy(path, folder)
    if versions is not None:
        package = {"private": True, "type": "module", "dependencies": versions}
        (folder / "package.json").write_text(json.dumps(package), "utf-8")
    run([tool("npm"), "install", "--no-audit", "--no-fund", "--silent"], folder)
    if test:
        run([node, "--test", "--test-reporter=dot", test], folder)


def tool(name: str) -> str:
    """Give the path of a program.

    Raises:
        ToolchainError: it is not on this machine.
    """
    found = shutil.which(name)
    if found is None:
        raise ToolchainError(f"there is no {name!r} on this machine")
    return found


def run(command: list[str], folder: Path, env: Mapping[str, str] | None = None) -> None:
    """Run a step of a build.

    Raises:
        BuildError: it failed.
    """
    if subprocess.run(command, cwd=folder, env=os.environ | (env or {})).returncode:
        raise BuildError(f"{' '.join(command)} failed, in {folder.relative_to(ROOT)}")


@dataclass(frozen=True, slots=True)
class Implementation:
    """A tested implementation.

    Attributes:
        build: builds and tests it; ``None`` for the reference implementation, which this
            package contains. Those with one function are built one after another.
        server: the command of its server, if it has one.
        clients: the commands of its drivers, by the names of the clients.
        codec: the command of its codec adapter, if it has one.
        known: the files in ``known_failures`` that apply, by system under test: ``peer/endpoint``
            of a server, the name of a client, or ``codec``. Recordings of a failure are made
            with the first of the systems that share it.
        plain: the command of its plain server, if it has one.
        drivers: how many of its drivers run concurrently. Of those cases that a client is known to
            fail, many only wait; but a browser is large.
    """

    build: partial[None] | None
    server: list[str] | None = None
    clients: Mapping[str, list[str]] = field(default_factory=dict)
    codec: list[str] | None = None
    known: Mapping[str, Sequence[str]] = field(default_factory=dict)
    plain: list[str] | None = None
    drivers: int = 2 * DRIVERS

    def known_failures(self, system: str) -> list[KnownFailure]:
        """Read the known failures of a system under test, by its name in ``known``."""
        return read_known_failures(KNOWN_FAILURES / file for file in self.known.get(system, ()))


def _files(family: str, *parts: str) -> tuple[str, ...]:
    """Give the names of files of known failures: that of a family, then those of its parts."""
    return tuple(f"{family}{part}.toml" for part in ("", *parts))


PEERS: Final = {
    "neffos-go": Implementation(
        partial(build_go, GO_PEER),
        [str(GO_PEER), "serve"],
        {
            f"neffos-go-{dialer}": [str(GO_PEER), "driver", "-dialer", dialer]
            for dialer in ("gorilla", "gobwas")
        },
        [str(GO_PEER), "codec"],
        {
            "neffos-go/gorilla": _files("neffos-go", ".unchecked", ".0.0.24"),
            "neffos-go/gobwas": _files("neffos-go", ".gobwas", ".0.0.24", ".gobwas-0.0.24"),
            "neffos-go/iris": _files("neffos-go", ".unchecked", ".0.0.24"),
            "neffos-go/iris-mvc": _files("neffos-go", ".unchecked", ".0.0.24"),
            "neffos-go/plain-gorilla": _files("neffos-go", ".unchecked", ".0.0.24"),
            "neffos-go/plain-gobwas": _files("neffos-go", ".gobwas", ".0.0.24", ".gobwas-0.0.24"),
            "neffos-go/plain-iris": _files("neffos-go", ".unchecked", ".0.0.24", ".iris-route"),
            "neffos-go/plain-iris-mvc": _files("neffos-go", ".unchecked", ".0.0.24", ".iris-route"),
            "neffos-go/redis": _files("neffos-go", ".unchecked", ".0.0.24", ".exchange"),
            "neffos-go/nats": _files("neffos-go", ".unchecked", ".0.0.24", ".exchange", ".nats"),
            "iris/redis": _files("neffos-go", ".unchecked", ".0.0.24", ".exchange"),
            "iris/nats": _files("neffos-go", ".unchecked", ".0.0.24", ".exchange", ".nats"),
            "iris/redis/broker": _files("neffos-go.broker", "-0.0.24", "-0.0.24-redis"),
            "iris/nats/broker": _files("neffos-go.broker", "-0.0.24", "-0.0.24-nats"),
            "neffos-go-gorilla": _files("neffos-go.client", "-0.0.24", "-unchecked"),
            "neffos-go-gobwas": _files("neffos-go.client", "-0.0.24", "-gobwas", "-gobwas-0.0.24"),
            "neffos-go/redis/broker": _files("neffos-go.broker", "-0.0.24", "-0.0.24-redis"),
            "neffos-go/nats/broker": _files("neffos-go.broker", "-0.0.24", "-0.0.24-nats"),
            "codec": _files("neffos-go.codec"),
        },
        plain=[str(GO_PEER), "serve", "-plain"],
    ),
    "neffos-go-next": Implementation(
        partial(
            build_go,
            GO_NEXT_PEER,
            "-modfile=go.next.mod",
            "-tags=next",
            toolchain=GO_NEXT_TOOLCHAIN,
        ),
        [str(GO_NEXT_PEER), "serve"],
        {
            f"neffos-go-next-{dialer}": [str(GO_NEXT_PEER), "driver", "-dialer", dialer]
            for dialer in ("gorilla", "gobwas", "coder")
        },
        known={
            "neffos-go-next/redis/broker": _files("neffos-go.broker", "-0.0.25"),
            "neffos-go-next/nats/broker": _files("neffos-go.broker", "-0.0.25"),
            "neffos-go-next/gorilla": _files("neffos-go", ".unchecked"),
            "neffos-go-next/coder": _files("neffos-go", ".unchecked", ".coder"),
            "neffos-go-next/gobwas": _files("neffos-go", ".gobwas"),
            "neffos-go-next/plain-gorilla": _files("neffos-go", ".unchecked"),
            "neffos-go-next/plain-coder": _files("neffos-go", ".unchecked", ".coder"),
            "neffos-go-next/plain-gobwas": _files("neffos-go", ".gobwas"),
            "neffos-go-next/redis": _files(
                "neffos-go", ".unchecked", ".exchange", ".exchange-0.0.25"
            ),
            "neffos-go-next/nats": _files(
                "neffos-go", ".unchecked", ".exchange", ".exchange-0.0.25"
            ),
            "neffos-go-next-gorilla": _files("neffos-go.client", "-0.0.25", "-unchecked"),
            "neffos-go-next-coder": _files("neffos-go.client", "-0.0.25", "-unchecked", "-coder"),
            "neffos-go-next-gobwas": _files("neffos-go.client", "-0.0.25", "-gobwas"),
        },
        plain=[str(GO_NEXT_PEER), "serve", "-plain"],
    ),
    "neffos.js": Implementation(
        partial(build_js, JS_PEER, "test.mjs"),
        clients={"neffos.js": ["node", str(JS_PEER / "driver.mjs")]},
        known={"neffos.js": _files("neffos.js", ".0.1.34", ".node")},
    ),
    "neffos.js-browser": Implementation(
        partial(build_js, JS_PEER, BROWSER_TEST),
        clients={"neffos.js-browser": ["node", str(JS_PEER / "browser.mjs")]},
        known={"neffos.js-browser": _files("neffos.js", ".0.1.34", ".browser")},
        drivers=DRIVERS,
    ),
    f"neffos.js-{OLD_JS}": Implementation(
        partial(build_js, OLD_JS_PEER, versions={"neffos.js": OLD_JS}),
        clients={f"neffos.js-{OLD_JS}": ["node", str(OLD_JS_PEER / "driver.mjs")]},
        known={f"neffos.js-{OLD_JS}": _files("neffos.js", ".0.1.19", ".node")},
    ),
    "neffos-wire": Implementation(
        None,
        [REFERENCE, "serve", "--json"],
        {"neffos-wire": [REFERENCE, "driver"]},
        known={  # beside a server of neffos-go
            "mixed/nats": ("mixed.nats.toml",),
            "mixed-next/redis": ("mixed-next.toml",),
            "mixed-next/nats": ("mixed-next.toml",),
            "mixed/redis/broker": ("neffos-go.broker.toml", "mixed.broker-0.0.24.toml"),
            "mixed/nats/broker": (
                "neffos-go.broker.toml",
                *_files("mixed.broker-0.0.24", "-nats"),
            ),
            "mixed-next/redis/broker": ("neffos-go.broker.toml",),
            "mixed-next/nats/broker": ("neffos-go.broker.toml",),
        },
    ),
}
"""All of them, by name."""

SERVERS: Final = {name: peer.server for name, peer in PEERS.items() if peer.server is not None}
"""The commands of all servers by peer."""

PLAIN: Final = {name: peer.plain for name, peer in PEERS.items() if peer.plain is not None}
"""The commands of all plain servers by peer."""


def built(names: Iterable[str] = ()) -> dict[str, Implementation]:
    """Build peers, those of each toolchain beside the others, and give them by name.

    Args:
        names: the peers; all but those in the environment variable ``LEAVE_OUT`` unless given.

    Raises:
        click.UsageError: a name in ``names`` or ``LEAVE_OUT`` is not that of a peer.
        ToolchainError: a program that a peer needs is missing.
        BuildError: a peer cannot be built.
    """
    left_out = {name.strip() for name in os.environ.get(LEAVE_OUT, "").split(",")} - {""}
    for name in {*names, *left_out}:
        if name not in PEERS:
            raise click.UsageError(f"there is no peer {name!r}, but {', '.join(PEERS)}")
    peers = {name: PEERS[name] for name in names or PEERS if names or name not in left_out}
    lanes: dict[Callable[..., None], dict[str, partial[None]]] = {}
    for name, peer in peers.items():
        if peer.build is not None:
            lanes.setdefault(peer.build.func, {})[name] = peer.build
    BUILT.mkdir(parents=True, exist_ok=True)
    with (BUILT / ".lock").open("w") as lock, ThreadPoolExecutor() as pool:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another command may build the same, as in CI
        list(pool.map(_build_all, lanes.values()))
    return peers


def _build_all(builds: Mapping[str, Callable[[], None]]) -> None:
    """Build peers, one after another."""
    for name, build in builds.items():
        try:
            build()
        except ToolchainError as error:
            raise ToolchainError(f"{error}; {LEAVE_OUT}={name} does without {name}") from error


def drivers(peers: Mapping[str, Implementation]) -> dict[str, list[str]]:
    """Give the commands of these peers' drivers by client."""
    return {name: command for peer in peers.values() for name, command in peer.clients.items()}


CLIENTS: Final = drivers(PEERS)
"""The commands of all drivers by client."""


@click.group()
def main() -> None:
    """List, build and run the tested implementations."""


@main.command("list")
def list_command() -> None:
    """Print every peer, what it can be started as, and its files of known failures."""
    for name, peer in PEERS.items():
        console.print(name)
        if peer.server is not None:
            console.print(f"    serve {name}")
        if peer.plain is not None:
            console.print(f"    plain {name}")
        for client in peer.clients:
            console.print(f"    drive {client}")
        for subject, files in peer.known.items():
            console.print(f"    known of {subject}: {', '.join(files)}")


@main.command("build")
@click.argument("names", nargs=-1, metavar="[NAME]...")
def build_command(names: tuple[str, ...]) -> None:
    """Build the peers with these names, or all."""
    built(names)


@main.command("serve")
@click.argument("name", type=click.Choice([*SERVERS]), metavar="NAME")
def serve_command(name: str) -> None:
    """Become the server with that name."""
    become(SERVERS[name])


@main.command("plain")
@click.argument("name", type=click.Choice([*PLAIN]), metavar="NAME")
def plain_command(name: str) -> None:
    """Become the plain server with that name."""
    become(PLAIN[name])


@main.command("drive")
@click.argument("name", type=click.Choice([*CLIENTS]), metavar="NAME")
def drive_command(name: str) -> None:
    """Become the driver of the client with that name."""
    become(CLIENTS[name])


def become(command: list[str]) -> None:
    """Replace this process by the command."""
    try:
        os.execvp(command[0], command)  # noqa: S606  # the command is ours
    except FileNotFoundError as error:
        raise ToolchainError(f"{command[0]} does not exist. Try: build the peer") from error


if __name__ == "__main__":
    main()
