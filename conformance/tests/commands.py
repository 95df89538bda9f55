"""Runs commands of ``neffos-wire`` in the process of the tests.

A process of its own would take most of a second to start. The tests of the examples in the pages,
of recording and of the chat start real ones.
"""

from __future__ import annotations

import asyncio
import subprocess
import threading
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, chdir, contextmanager
from pathlib import Path
from typing import TypeVar

import click
from click.testing import CliRunner

from neffos_conformance.cli import main as cli

Value = TypeVar("Value")


@contextmanager
def beside(running: AbstractAsyncContextManager[Value]) -> Iterator[Value]:
    """Run something beside a command, which has an event loop of its own; give what it gives."""
    ready, end = threading.Event(), asyncio.Event()
    found: list[Value] = []
    loops: list[asyncio.AbstractEventLoop] = []

    async def run_it() -> None:
        async with running as value:
            found.append(value)
            loops.append(asyncio.get_running_loop())
            ready.set()
            await end.wait()

    thread = threading.Thread(target=lambda: asyncio.run(run_it()))
    thread.start()
    ready.wait()
    try:
        yield found[0]
    finally:
        loops[0].call_soon_threadsafe(end.set)
        thread.join()


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
