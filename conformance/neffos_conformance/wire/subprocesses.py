"""Other programs that the suite starts and talks to.

The contract is small: the program prints one JSON line when it is ready, and it ends when
its standard input does, so that it never outlives the program that started it.
"""

from __future__ import annotations

import json
import select
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

STOP_DEADLINE: Final = 5.0
"""Seconds for a peer to end after its input did, before it is killed."""


class SubprocessError(Exception):
    """A peer that did not start as the contract says."""


@contextmanager
def started(
    command: Sequence[str | Path], *, ready_timeout: float | None = None, **options: Any
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Run a peer; give its process ID and its readiness line. It ends when the block is left.

    Args:
        command: the command line.
        ready_timeout: seconds for the readiness line. Without, a peer that hangs at its start
            ends with the process that waits for it.
        options: further arguments of ``subprocess.Popen``.

    Raises:
        SubprocessError: it cannot be started, or its first line is not the readiness line.
    """
    name = command[0]
    try:
        process = subprocess.Popen(  # noqa: S603  # the command is the caller's own
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options
        )
    except OSError as error:
        raise SubprocessError(f"{name} cannot be started: {error}") from error
    with process:
        try:
            yield process.pid, _readiness(name, process, ready_timeout)
        finally:
            if process.stdin:
                process.stdin.close()
            try:
                process.wait(STOP_DEADLINE)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def running(command: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Run a peer, and give its readiness line; see ``started``."""
    with started(command) as (_, ready):
        yield ready


def _readiness(
    name: str | Path, process: subprocess.Popen[bytes], timeout: float | None
) -> dict[str, Any]:
    line = b""
    # The line comes in one piece: once there is something to read, all of it is there.
    if process.stdout and (timeout is None or select.select([process.stdout], [], [], timeout)[0]):
        line = process.stdout.readline()
    try:
        values = json.loads(line)
    except ValueError:
        values = None
    if not isinstance(values, dict) or values.get("ready") is not True:
        raise SubprocessError(f"{name} is not ready, it said {line[:200]!r}")
    return values
