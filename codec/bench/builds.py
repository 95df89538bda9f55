"""Makes what the rows need beside this interpreter, under ``build/bench``.

Everything here is cached and made again when what it was made from has changed. A row whose
tools are missing is an ``UnavailableError``, never a crash: the other rows are worth having.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path
from typing import Final

BENCH: Final = Path(__file__).resolve().parent
ROOT: Final = BENCH.parent.parent
BUILD: Final = ROOT / "build" / "bench"

_SHOWN: Final = 300
"""How much of a failed command's last line a reason quotes."""


class UnavailableError(Exception):
    """A row that cannot be measured here, with the reason."""


def call(*command: str | Path, given: str = "", **environment: str) -> str:
    """Run a command in this folder's build directory and give what it printed.

    Raises:
        UnavailableError: it could not be run, or it failed.
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
        told = (done.stderr or done.stdout).strip().splitlines()
        last = told[-1].strip()[:_SHOWN] if told else f"exit {done.returncode}"
        raise UnavailableError(f"{Path(command[0]).name} failed: {last}")
    return done.stdout


def tool(name: str) -> str:
    """Give a program that has to be installed."""
    found = shutil.which(name)
    if not found:
        raise UnavailableError(f"there is no {name} here")
    return found


def compiled() -> Path:
    """Build the codec with mypyc into an environment of its own, and give its interpreter."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text())
    folders = settings["tool"]["setuptools"]["package-dir"]
    codec = ROOT / folders["neffos_codec"]
    inputs = [ROOT / "setup.py", ROOT / "pyproject.toml", *sorted(codec.glob("*.py"))]
    home = BUILD / "compiled"
    python = home / "bin" / "python"
    stamp = _stamp(home, sys.version, *(path.read_text() for path in inputs))
    if stamp is None:
        return python

    tool((os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc").split()[0])
    shutil.rmtree(home, ignore_errors=True)
    call(sys.executable, "-m", "venv", home)
    pip = (python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    mypy = next(
        need
        for need in settings["project"]["optional-dependencies"]["dev"]
        if re.match(r"mypy\b", need)
    )
    call(*pip, mypy, *settings["build-system"]["requires"])
    # A copy is built, since a build leaves files in the tree that a later one would pick up.
    source = BUILD / "source"
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir()
    for name in ("setup.py", "pyproject.toml", settings["project"]["readme"], "LICENSE"):
        shutil.copy(ROOT / name, source)
    for folder in folders.values():
        ignored = shutil.ignore_patterns("__pycache__", "*.so", "*.pyd")
        shutil.copytree(ROOT / folder, source / folder, ignore=ignored)
    call(*pip, "--no-build-isolation", source, NEFFOS_WIRE_COMPILE="1")
    (home / "stamp").write_text(stamp)
    return python


def go() -> Path:
    """Compile the benchmark of the Go package and give the program."""
    program = BUILD / "codec.test"
    # Without cgo, which the codec does not use and which would need a C compiler.
    call(tool("go"), "-C", BENCH / "go", "test", "-c", "-o", program, ".", CGO_ENABLED="0")
    return program


def js() -> Path:
    """Install neffos.js, open its two functions to us, and give the module."""
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
    """Give the stamp of what ``home`` is to be made from, or None where it was made from that."""
    stamp = hashlib.sha256("\0".join(inputs).encode()).hexdigest()
    kept = home / "stamp"
    return None if kept.is_file() and kept.read_text() == stamp else stamp
