"""Runs commands of ``neffos-wire`` in the process of the tests.

A process of its own would take most of a second to start. The tests of the examples in the pages,
of recording and of the chat start real ones.
"""

from __future__ import annotations

import subprocess
from contextlib import chdir
from pathlib import Path

import click
from click.testing import CliRunner

from neffos_conformance.cli import main as cli


@click.command
@click.pass_obj
def _program(arguments: list[str]) -> None:
    cli.main(arguments)


def run(
    *arguments: str | Path, stdin: bytes = b"", cwd: Path | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Give the exit status and both outputs, as of a process, on a terminal of 100 columns."""
    with chdir(cwd or Path.cwd()):
        done = CliRunner(env={"COLUMNS": "100"}).invoke(
            _program, obj=[*map(str, arguments)], input=stdin
        )
    return subprocess.CompletedProcess(
        arguments, done.exit_code, done.stdout_bytes, done.stderr_bytes
    )


def run_text(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Give the same with the outputs as text."""
    done = run(*arguments)
    return subprocess.CompletedProcess(
        arguments, done.returncode, done.stdout.decode(), done.stderr.decode()
    )
