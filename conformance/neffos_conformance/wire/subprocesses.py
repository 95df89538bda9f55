"""Other programs that the suite starts and talks to.

The contract is small: the program prints one JSON line when it is ready, and it ends when
its standard input does, so that it never outlives the program that started it.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Final

STOP_DEADLINE: Final = 5.0
"""Seconds for a peer to end after its input did, before it is killed."""


class SubprocessError(Exception):
    """A peer that did not start as the contract says."""


@contextmanager
def running(command: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Run a peer and give what its readiness line says; it has ended when the block is left.

    The first line of its output is waited for without a deadline of our own: a peer that
    hangs at its start is ended with the process that waits for it.

    Raises:
        SubprocessError: it cannot be started, or its first line is not the readiness line.
    """
    try:
        process = subprocess.Popen(  # noqa: S603  # the command is the caller's own
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
    except OSError as error:
        raise SubprocessError(f"{command[0]} cannot be started: {error}") from error
    with process:
        try:
            yield _readiness(command, process)
        finally:
            if process.stdin:
                process.stdin.close()
            try:
                process.wait(STOP_DEADLINE)
            except subprocess.TimeoutExpired:
                process.kill()


def _readiness(command: Sequence[str], process: subprocess.Popen[bytes]) -> dict[str, Any]:
    line = process.stdout.readline() if process.stdout else b""
    try:
        values = json.loads(line)
    except ValueError:
        values = None
    if not isinstance(values, dict) or values.get("ready") is not True:
        raise SubprocessError(f"{command[0]} is not ready, it said {line[:200]!r}")
    return values
