"""The real peers: how each is built, and the commands that run it.

A server prints its endpoints in a readiness line and ends with its standard input; a client is
a driver.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]
HERE: Final = ROOT / "conformance" / "peers"
BUILT: Final = ROOT / "build" / "peers"
GO_PEER: Final = BUILT / "neffos-go"
JS_PEER: Final = BUILT / "js"
REFERENCE: Final = str(Path(sys.executable).with_name("neffos-wire"))

SERVERS: Final = {
    "neffos-go": [str(GO_PEER), "serve"],
    "neffos-wire": [REFERENCE, "serve", "--json"],
}
"""The commands of servers by peer."""

CLIENTS: Final = {
    "neffos-go-gorilla": [str(GO_PEER), "driver", "-dialer", "gorilla"],
    "neffos-go-gobwas": [str(GO_PEER), "driver", "-dialer", "gobwas"],
    "neffos.js": ["node", str(JS_PEER / "driver.mjs")],
    "neffos-wire": [REFERENCE, "driver"],
}
"""The commands of drivers by client."""


class ToolchainError(Exception):
    """A program that is needed is not on this machine."""


class BuildError(Exception):
    """A peer cannot be built, or its own tests fail."""


def build_go() -> None:
    """Check, test and build the Go peer.

    Raises:
        ToolchainError: there is no Go.
        BuildError: one of the steps failed.
    """
    go = _tool("go")
    BUILT.mkdir(parents=True, exist_ok=True)
    for step in (["vet", "./..."], ["test", "./..."], ["build", "-o", str(GO_PEER), "."]):
        _run([go, *step], HERE / "go")


def build_js() -> None:
    """Install neffos.js with its driver, and test that.

    Raises:
        ToolchainError: there is no Node.
        BuildError: one of the steps failed.
    """
    node, npm = _tool("node"), _tool("npm")
    JS_PEER.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "driver.mjs", "test.mjs"):
        shutil.copy(HERE / "js" / name, JS_PEER)
    _run([npm, "install", "--no-package-lock", "--no-audit", "--no-fund", "--silent"], JS_PEER)
    _run([node, "--test", "--test-reporter=dot", "test.mjs"], JS_PEER)


def _tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise ToolchainError(f"there is no {name!r} on this machine")
    return found


def _run(command: list[str], folder: Path) -> None:
    if subprocess.run(command, cwd=folder).returncode:
        raise BuildError(f"{' '.join(command)} failed, in {folder.relative_to(ROOT)}")
