"""Builds what the rows need beside this interpreter, under ``build/bench``.

Every build is cached until its inputs change. A row whose tools are missing raises
``UnavailableError``, so that the other rows are still measured.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

BENCH: Final = Path(__file__).resolve().parent
ROOT: Final = BENCH.parent.parent
BUILD: Final = ROOT / "build" / "bench"

_SHOWN: Final = 300
"""How much of a failed command's last line a reason quotes."""


class UnavailableError(Exception):
    """A row that cannot be measured on this machine, with the reason."""


def call(*command: str | Path, given: str = "", **environment: str) -> str:
    """Run a command in the build directory and return its output.

    Raises:
        UnavailableError: the command could not be run, or failed.
    """
    BUILD.mkdir(parents=True, exist_ok=True)
    try:
        done = subprocess.run(
            command,
            input=given,
            capture_output=True,
            text=True,
            cwd=BUILD,
            env=os.environ | environment,
            timeout=600,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnavailableError(str(error)) from None
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines()
        last = lines[-1].strip()[:_SHOWN] if lines else f"exit {done.returncode}"
        raise UnavailableError(f"{Path(command[0]).name} failed: {last}")
    return done.stdout


def tool(name: str) -> str:
    """Return the path of an installed program."""
    found = shutil.which(name)
    if not found:
        raise UnavailableError(f"there is no {name} here")
    return found


def go(name: str, source: Path, *build: str) -> Path:
    """Compile a Go program and return its path.

    Args:
        name: of the program.
        source: its folder.
        build: the command of ``go`` with its arguments; by default ``build``.
    """
    program = BUILD / name
    # Without cgo, which nothing here uses and which would need a C compiler.
    call(tool("go"), "-C", source, *(build or ("build",)), "-o", program, ".", CGO_ENABLED="0")
    return program


def go_version() -> str:
    """Return the version of the Go toolchain."""
    return call("go", "env", "GOVERSION").strip().removeprefix("go")


def js() -> Path:
    """Install neffos.js, export its two functions, and return the module."""
    tool("node")
    wanted = (BENCH / "js" / "package.json").read_text()
    home = BUILD / "js"
    stamp = _stamp(home, wanted)
    module = home / "opened.mjs"
    if stamp is None:
        return module
    home.mkdir(parents=True, exist_ok=True)
    (home / "package.json").write_text(wanted)
    quiet = ("--no-package-lock", "--ignore-scripts", "--no-audit", "--no-fund")
    call(tool("npm"), "install", "--prefix", home, *quiet)
    package = home / "node_modules" / "neffos.js"
    main = json.loads((package / "package.json").read_text())["main"]
    opened = (package / main).read_text() + "\nexport { deserializeMessage, serializeMessage };\n"
    module.write_text(opened)
    (home / "stamp").write_text(stamp)
    return module


def _stamp(home: Path, *inputs: str) -> str | None:
    """Return the stamp of the inputs, or None if ``home`` was built from them."""
    stamp = hashlib.sha256("\0".join(inputs).encode()).hexdigest()
    kept = home / "stamp"
    return None if kept.is_file() and kept.read_text() == stamp else stamp
