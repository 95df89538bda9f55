"""The templates as peers: what builds them, and the commands of their programs.

Those in Python and JavaScript run as they are. Those in Rust and Java are built once for each edit.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Final

from peers.implementations import ROOT, ToolchainError, run, tool

TEMPLATES: Final = ROOT / "conformance" / "templates"
CLASSES: Final = ROOT / "build" / "templates-java"
RUST: Final = ROOT / "build" / "templates-rust"

OLDEST: Final = 17
"""The oldest Java that the templates are written for."""

QUICK: Final = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1")
"""A short-lived program starts in half the processor time with these."""


def script_command(language: str, program: str) -> list[str]:
    """Give the command of a program in Python or JavaScript.

    Raises:
        ToolchainError: there is no Node.
    """
    path = TEMPLATES / language / program
    if language == "python":
        return [sys.executable, f"{path}.py"]
    return [tool("node"), f"{path}.mjs"]


def rust_command() -> list[str]:
    """Build the driver in Rust, and give its command.

    Raises:
        ToolchainError: there is no cargo.
        BuildError: it does not compile.
    """
    command = [tool("cargo"), "build", "--quiet"]
    run(command, TEMPLATES / "rust", {"CARGO_TARGET_DIR": str(RUST)})
    return [str(RUST / "debug" / "neffos-driver")]


def java_version() -> int | None:
    """Give the version of the JDK, or ``None`` where there is none."""
    javac = shutil.which("javac")
    if javac is None or shutil.which("java") is None:
        return None
    made = subprocess.run([javac, "-version"], capture_output=True, text=True, check=False)
    found = re.match(r"javac (\d+)", made.stdout + made.stderr)
    return int(found[1]) if found else None


@cache
def java_classes() -> Path:
    """Compile the templates in Java, and give the folder of the classes.

    Raises:
        ToolchainError: there is no JDK that can do so.
        BuildError: they do not compile.
    """
    version = java_version()
    if version is None:
        advice = "install Debian's package default-jdk-headless"
        raise ToolchainError(f"there is no JDK, neither java nor javac is on the PATH: {advice}")
    if version < OLDEST:
        raise ToolchainError(f"the JDK is of Java {version}: install one of Java {OLDEST}")
    sources = sorted((TEMPLATES / "java" / "neffos").glob("*.java"))
    edit = sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()[:16]
    classes = CLASSES / edit
    if not classes.exists():
        CLASSES.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(dir=CLASSES))
        options = ["-Xlint:all", "-Xdoclint:all,-missing", "-Werror"]
        options += ["--release", str(OLDEST), "-d", str(made)]
        run([tool("javac"), *options, *map(str, sources)], ROOT)
        try:
            made.rename(classes)
        except OSError:  # another process was quicker
            shutil.rmtree(made)
    return classes


def java_command(program: str) -> list[str]:
    """Give the command of one of the programs in Java, compiled.

    Raises:
        ToolchainError: there is no JDK that can do so.
        BuildError: they do not compile.
    """
    return ["java", *QUICK, "-cp", str(java_classes()), f"neffos.{program}"]
