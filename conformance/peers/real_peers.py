"""The real peers: how each is built, and the commands that run it.

A server prints its endpoints in a readiness line and ends with its standard input; a client is
a driver. To have one at hand, in the folder ``conformance``:

    python -m peers.real_peers list
    python -m peers.real_peers build [NAME ...]
    python -m peers.real_peers serve NAME
    python -m peers.real_peers drive NAME

Exit codes: 1 it cannot be built, 2 there is no such peer, 4 a program that it needs is missing;
else those of the peer.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from rich.console import Console

ROOT: Final = Path(__file__).resolve().parents[2]
HERE: Final = ROOT / "conformance" / "peers"
BUILT: Final = ROOT / "build" / "peers"
GO_PEER: Final = BUILT / "neffos-go"
GO_NEXT_PEER: Final = BUILT / "neffos-go-next"
JS_PEER: Final = BUILT / "js"
REFERENCE: Final = str(Path(sys.executable).with_name("neffos-wire"))

GO_NEXT_TOOLCHAIN: Final = "go1.27.0"
"""The Go of the next line of neffos; an older Go gets it through the module proxy."""

OLD_JS: Final = "0.1.19"
"""The oldest neffos.js that npm has: from before it had binary messages."""

OLD_JS_PEER: Final = BUILT / f"js-{OLD_JS}"

LEAVE_OUT: Final = "NEFFOS_WIRE_LEAVE_OUT"
"""The environment variable with the names of the peers to do without, separated by commas."""

EXIT_FAIL: Final = 1
EXIT_USAGE: Final = 2
EXIT_NO_TOOLCHAIN: Final = 4

console = Console()
complaints = Console(stderr=True)


class ToolchainError(Exception):
    """A program that is needed is not on this machine."""


class BuildError(Exception):
    """A peer cannot be built, or its own tests fail."""


class UnknownPeerError(Exception):
    """There is no peer of that name."""


def build_go() -> None:
    """Check, test and build the Go peer.

    Raises:
        ToolchainError: there is no Go.
        BuildError: one of the steps failed.
    """
    _build_go(GO_PEER)


def build_go_next() -> None:
    """Check, test and build the Go peer on the next line of neffos.

    Raises:
        ToolchainError: there is no Go, or not the one that it wants.
        BuildError: one of the steps failed.
    """
    env = {"GOTOOLCHAIN": GO_NEXT_TOOLCHAIN}
    found = subprocess.run(
        [_tool("go"), "version"], env=os.environ | env, capture_output=True, text=True
    )
    if found.returncode:
        last = found.stderr.strip().rpartition("\n")[2]
        raise ToolchainError(f"there is no {GO_NEXT_TOOLCHAIN} on this machine: {last}")
    _build_go(GO_NEXT_PEER, "-modfile=go.next.mod", "-tags=next", env=env)


def _build_go(binary: Path, *flags: str, env: Mapping[str, str] | None = None) -> None:
    go = _tool("go")
    BUILT.mkdir(parents=True, exist_ok=True)
    for step in (
        ["vet", *flags, "./..."],
        ["test", *flags, "./..."],
        ["build", *flags, "-o", str(binary), "."],
    ):
        _run([go, *step], HERE / "go", env)


def build_js() -> None:
    """Install neffos.js with its driver in Node, and test that.

    Raises:
        ToolchainError: there is no Node.
        BuildError: one of the steps failed.
    """
    _install_js(JS_PEER)
    _test_js("test.mjs")


def build_js_browser() -> None:
    """Install neffos.js with its driver in a browser, and test that.

    Raises:
        ToolchainError: there is no Node, or no Chromium.
        BuildError: one of the steps failed.
    """
    chromium = Path(os.environ.get("CHROMIUM", "/usr/bin/chromium"))
    if not chromium.exists():
        raise ToolchainError(
            f"there is no {chromium}: install Debian's package chromium, or say in CHROMIUM "
            "where it is"
        )
    _install_js(JS_PEER)
    _test_js("test-browser.mjs")


def build_old_js() -> None:
    """Install the oldest neffos.js with the driver in Node.

    Raises:
        ToolchainError: there is no Node.
        BuildError: it cannot be installed.
    """
    _install_js(OLD_JS_PEER, {"neffos.js": OLD_JS})


def _install_js(folder: Path, versions: Mapping[str, str] | None = None) -> None:
    """Put the drivers into a folder, and install what they need, or those versions alone."""
    _tool("node")
    folder.mkdir(parents=True, exist_ok=True)
    for path in (HERE / "js").iterdir():
        if path.is_file():
            shutil.copy(path, folder)
    if versions is not None:
        package = {"private": True, "type": "module", "dependencies": versions}
        (folder / "package.json").write_text(json.dumps(package), "utf-8")
    _run([_tool("npm"), "install", "--no-audit", "--no-fund", "--silent"], folder)


def _test_js(name: str) -> None:
    _run([_tool("node"), "--test", "--test-reporter=dot", name], JS_PEER)


def build_reference() -> None:
    """Do nothing: the reference peers come with this package."""


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise ToolchainError(f"there is no {name!r} on this machine")
    return found


def _run(command: list[str], folder: Path, env: Mapping[str, str] | None = None) -> None:
    if subprocess.run(command, cwd=folder, env=os.environ | (env or {})).returncode:
        raise BuildError(f"{' '.join(command)} failed, in {folder.relative_to(ROOT)}")


@dataclass(frozen=True, slots=True)
class RealPeer:
    """A peer that is built at once.

    Attributes:
        build: makes it runnable, and tests it.
        server: the command of its server, if it has one.
        clients: the commands of its drivers, by the names of the clients.
        codec: the command of its codec's adapter, if it has one.
        known: the files of known deviations that hold, in ``deviations``, by what they hold for:
            ``peer/endpoint`` of a server, the name of a client, or ``codec``. Of those that
            deviate likewise, the first is what people are shown.
    """

    build: Callable[[], None]
    server: list[str] | None = None
    clients: Mapping[str, list[str]] = field(default_factory=dict)
    codec: list[str] | None = None
    known: Mapping[str, Sequence[str]] = field(default_factory=dict)


GO: Final = "neffos-go.toml"
GO_24: Final = "neffos-go.0.0.24.toml"
GO_UNCHECKED: Final = "neffos-go.unchecked.toml"
GO_GOBWAS: Final = "neffos-go.gobwas.toml"
GO_GOBWAS_24: Final = "neffos-go.gobwas-0.0.24.toml"
"""The files of what is known of Go's servers."""

GO_CLIENT: Final = "neffos-go.client.toml"
GO_CLIENT_24: Final = "neffos-go.client-0.0.24.toml"
GO_CLIENT_25: Final = "neffos-go.client-0.0.25.toml"
GO_CLIENT_UNCHECKED: Final = "neffos-go.client-unchecked.toml"
GO_CLIENT_GOBWAS: Final = "neffos-go.client-gobwas.toml"
GO_CLIENT_GOBWAS_24: Final = "neffos-go.client-gobwas-0.0.24.toml"
"""Those of what is known of Go's clients."""

JS: Final = "neffos.js.toml"
JS_34: Final = "neffos.js.0.1.34.toml"
JS_19: Final = "neffos.js.0.1.19.toml"
JS_NODE: Final = "neffos.js.node.toml"
JS_BROWSER: Final = "neffos.js.browser.toml"
"""Those of what is known of neffos.js."""

PEERS: Final = {
    "neffos-go": RealPeer(
        build_go,
        [str(GO_PEER), "serve"],
        {
            f"neffos-go-{dialer}": [str(GO_PEER), "driver", "-dialer", dialer]
            for dialer in ("gorilla", "gobwas")
        },
        [str(GO_PEER), "codec"],
        {
            "neffos-go/gorilla": (GO, GO_UNCHECKED, GO_24),
            "neffos-go/gobwas": (GO, GO_GOBWAS, GO_24, GO_GOBWAS_24),
            "neffos-go/iris": (GO, GO_UNCHECKED, GO_24),
            "neffos-go/iris-mvc": (GO, GO_UNCHECKED, GO_24),
            "neffos-go-gorilla": (GO_CLIENT, GO_CLIENT_24, GO_CLIENT_UNCHECKED),
            "neffos-go-gobwas": (GO_CLIENT, GO_CLIENT_24, GO_CLIENT_GOBWAS, GO_CLIENT_GOBWAS_24),
            "codec": ("neffos-go.codec.toml",),
        },
    ),
    "neffos-go-next": RealPeer(
        build_go_next,
        [str(GO_NEXT_PEER), "serve"],
        {
            f"neffos-go-next-{dialer}": [str(GO_NEXT_PEER), "driver", "-dialer", dialer]
            for dialer in ("gorilla", "gobwas", "coder")
        },
        known={
            "neffos-go-next/gorilla": (GO, GO_UNCHECKED),
            "neffos-go-next/coder": (GO, GO_UNCHECKED),
            "neffos-go-next/gobwas": (GO, GO_GOBWAS),
            "neffos-go-next-gorilla": (GO_CLIENT, GO_CLIENT_25, GO_CLIENT_UNCHECKED),
            "neffos-go-next-coder": (GO_CLIENT, GO_CLIENT_25, GO_CLIENT_UNCHECKED),
            "neffos-go-next-gobwas": (GO_CLIENT, GO_CLIENT_25, GO_CLIENT_GOBWAS),
        },
    ),
    "neffos.js": RealPeer(
        build_js,
        clients={"neffos.js": ["node", str(JS_PEER / "driver.mjs")]},
        known={"neffos.js": (JS, JS_34, JS_NODE)},
    ),
    "neffos.js-browser": RealPeer(
        build_js_browser,
        clients={"neffos.js-browser": ["node", str(JS_PEER / "browser.mjs")]},
        known={"neffos.js-browser": (JS, JS_34, JS_BROWSER)},
    ),
    f"neffos.js-{OLD_JS}": RealPeer(
        build_old_js,
        clients={f"neffos.js-{OLD_JS}": ["node", str(OLD_JS_PEER / "driver.mjs")]},
        known={f"neffos.js-{OLD_JS}": (JS, JS_19, JS_NODE)},
    ),
    "neffos-wire": RealPeer(
        build_reference,
        [REFERENCE, "serve", "--json"],
        {"neffos-wire": [REFERENCE, "driver"]},
    ),
}
"""All of them, by name."""

SERVERS: Final = {name: peer.server for name, peer in PEERS.items() if peer.server is not None}
"""The commands of all servers by peer."""

CLIENTS: Final = {
    name: command for peer in PEERS.values() for name, command in peer.clients.items()
}
"""The commands of all drivers by client."""


def wanted() -> dict[str, RealPeer]:
    """Give the peers that are not to be left out.

    Raises:
        UnknownPeerError: a peer is to be left out that does not exist.
    """
    left_out = {name.strip() for name in os.environ.get(LEAVE_OUT, "").split(",")} - {""}
    for name in left_out:
        peer_named(name)
    return {name: peer for name, peer in PEERS.items() if name not in left_out}


def peer_named(name: str) -> RealPeer:
    """Give the peer of that name.

    Raises:
        UnknownPeerError: there is none.
    """
    if name not in PEERS:
        raise UnknownPeerError(f"there is no peer {name!r}, but {', '.join(PEERS)}")
    return PEERS[name]


def main() -> int:
    """Do what the command line says; give the exit code."""
    parser = argparse.ArgumentParser(prog="python -m peers.real_peers", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="say what there is")
    build = commands.add_parser("build", help="build peers, or all")
    build.add_argument("names", nargs="*", metavar="NAME", help="a peer")
    serve = commands.add_parser("serve", help="become the server of that name")
    serve.add_argument("name", choices=SERVERS, metavar="NAME")
    drive = commands.add_parser("drive", help="become the driver of that name")
    drive.add_argument("name", choices=CLIENTS, metavar="NAME")
    arguments = parser.parse_args()
    try:
        match arguments.command:
            case "list":
                _list()
            case "build":
                for peer in [peer_named(name) for name in arguments.names] or PEERS.values():
                    peer.build()
            case "serve":
                _become(SERVERS[arguments.name])
            case "drive":
                _become(CLIENTS[arguments.name])
    except (BuildError, ToolchainError, UnknownPeerError) as error:
        complaints.print(error, markup=False)
        return exit_code(error)
    return 0


def exit_code(error: Exception) -> int:
    """Give the exit code of one of the errors here."""
    match error:
        case ToolchainError():
            return EXIT_NO_TOOLCHAIN
        case UnknownPeerError():
            return EXIT_USAGE
        case _:
            return EXIT_FAIL


def _list() -> None:
    for name, peer in PEERS.items():
        console.print(name, highlight=False)
        if peer.server is not None:
            console.print(f"    serve {name}", highlight=False)
        for client in peer.clients:
            console.print(f"    drive {client}", highlight=False)
        for subject, files in peer.known.items():
            console.print(
                f"    known of {subject}: {', '.join(files)}", highlight=False, soft_wrap=True
            )


def _become(command: list[str]) -> None:
    """Let the command run in place of this process."""
    try:
        os.execvp(command[0], command)  # noqa: S606  # what is run is ours
    except FileNotFoundError as error:
        raise ToolchainError(f"{command[0]} is not there: build the peer first") from error


if __name__ == "__main__":
    sys.exit(main())
