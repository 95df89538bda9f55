"""Other programs that the suite starts and talks to, line by line.

Each runs in a process group of its own, so that a program which was started through a wrapper ends
with it. Every wait for one is bounded. The contract is small: a program prints one JSON line when
it is ready, and it ends when its standard input does.
"""

from __future__ import annotations

import asyncio
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final

from neffos_conformance.wire.waiting import is_cancelled

READY_DEADLINE: Final = 60.0
"""Seconds for a peer to be ready. A browser on a busy machine takes ten."""

STOP_DEADLINE: Final = 5.0
"""Seconds for a program to end after its input did, before its group is killed."""

REAP_DEADLINE: Final = 0.5
"""Seconds for the system to report the end of a program that was killed."""

MAX_LINE: Final = 32 << 20
"""Bytes of one line of a program: a message of 16 MiB in base64, and room."""

_READ_SIZE: Final = 1 << 16


class SubprocessError(Exception):
    """A peer that did not start as the contract says."""


def kill_group(pid: int) -> None:
    """Kill the process group that a program leads, whether or not the program still runs."""
    with suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(pid, signal.SIGKILL)
        else:  # Windows has no such groups
            os.kill(pid, signal.SIGTERM)


# -------------------------------------------------------------------- for asyncio


class _Protocol(asyncio.subprocess.SubprocessStreamProtocol):
    """Reports the end of the program, even if a child of it keeps the pipes open."""

    def __init__(self, max_line: int) -> None:
        super().__init__(max_line, asyncio.get_running_loop())
        self.exited = asyncio.Event()

    def process_exited(self) -> None:
        """Take note that the program ended."""
        super().process_exited()
        self.exited.set()


class Child:
    """A program that runs beside the suite, by its standard input and output."""

    def __init__(self, transport: asyncio.SubprocessTransport, protocol: _Protocol) -> None:
        self._transport = transport
        self._protocol = protocol

    @classmethod
    async def start(
        cls, command: Sequence[str], *, stdin: int | IO[bytes] = subprocess.PIPE
    ) -> Child:
        """Start a program.

        Args:
            command: the command line.
            stdin: a file that is its whole input; else ``write`` gives it its input.

        Raises:
            OSError: it cannot be started.
        """
        transport, protocol = await asyncio.get_running_loop().subprocess_exec(
            lambda: _Protocol(MAX_LINE),
            *command,
            stdin=stdin,
            stdout=subprocess.PIPE,
            stderr=None,
            start_new_session=True,
        )
        return cls(transport, protocol)

    async def line(self) -> bytes:
        """Read its next line; empty at the end of its output.

        Raises:
            ValueError: the line has more than ``MAX_LINE`` bytes.
        """
        assert self._protocol.stdout is not None  # noqa: S101  # it is a pipe, see ``start``
        return await self._protocol.stdout.readline()

    async def write(self, data: bytes) -> None:
        """Write to its input. What a program that ended does not take is lost."""
        assert self._protocol.stdin is not None  # noqa: S101  # for those that ``write``
        self._protocol.stdin.write(data)
        with suppress(OSError):  # the end of its output reports its end
            await self._protocol.stdin.drain()

    async def status(self) -> int | None:
        """Give its exit status; ``None`` if it closed its output and runs on."""
        with suppress(TimeoutError):
            async with asyncio.timeout(REAP_DEADLINE):
                await self._protocol.exited.wait()
        return self._transport.get_returncode()

    @property
    def has_exited(self) -> bool:
        """Whether it ended."""
        return self._protocol.exited.is_set()

    async def exited(self) -> None:
        """Wait until it ends."""
        await self._protocol.exited.wait()

    async def end(self, timeout: float | None = None) -> None:
        """End its input, and after a while the program and all that it started.

        Args:
            timeout: seconds for it to end by itself; by default ``STOP_DEADLINE``, and none while
                this task is cancelled.
        """
        try:
            if self._protocol.stdin is not None:
                self._protocol.stdin.close()
            if timeout is None:
                timeout = 0 if is_cancelled() else STOP_DEADLINE
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout):
                    await self._protocol.exited.wait()
        finally:
            kill_group(self._transport.get_pid())
            with suppress(TimeoutError):
                async with asyncio.timeout(REAP_DEADLINE):
                    await self._protocol.exited.wait()
            self._transport.close()  # the pipes, which a process out of reach may still hold


# -------------------------------------------------------------------- for threads


@contextmanager
def started(
    command: Sequence[str | Path], *, ready_timeout: float = READY_DEADLINE, **options: Any
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Run a peer; give its process ID and its readiness line. It ends when the block is left.

    Args:
        command: the command line.
        ready_timeout: seconds for the readiness line.
        options: further arguments of ``subprocess.Popen``.

    Raises:
        SubprocessError: it cannot be started, or its first line is not the readiness line.
    """
    name = command[0]
    try:
        process = subprocess.Popen(  # noqa: S603  # the command is the caller's own
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            start_new_session=True,
            **options,
        )
    except OSError as error:
        raise SubprocessError(f"{name} cannot be started: {error}") from error
    try:
        yield process.pid, _readiness(name, process, ready_timeout)
    finally:
        if process.stdin:
            process.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(STOP_DEADLINE)
        kill_group(process.pid)
        with suppress(subprocess.TimeoutExpired):
            process.wait(REAP_DEADLINE)
        if process.stdout:
            process.stdout.close()


@contextmanager
def running(command: Sequence[str]) -> Iterator[dict[str, Any]]:
    """Run a peer, and give its readiness line; see ``started``."""
    with started(command) as (_, ready):
        yield ready


def _readiness(
    name: str | Path, process: subprocess.Popen[bytes], timeout: float
) -> dict[str, Any]:
    line = b""
    end = time.monotonic() + timeout
    while process.stdout and not line.endswith(b"\n") and len(line) < MAX_LINE:
        left = max(0.0, end - time.monotonic())
        if not select.select([process.stdout], [], [], left)[0]:
            break
        data = process.stdout.read(_READ_SIZE)  # what is there; unbuffered
        if not data:
            break
        line += data
    try:
        values = json.loads(line.partition(b"\n")[0])
    except (ValueError, RecursionError):  # no JSON, or nested too deeply
        values = None
    if not isinstance(values, dict) or values.get("ready") is not True:
        raise SubprocessError(f"{name} is not ready, it said {line[:200]!r}")
    return values
