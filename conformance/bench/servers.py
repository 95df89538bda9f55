"""Starts the measured servers, each alone on its core.

This module starts and ends servers, and does not know what is measured.
"""

from __future__ import annotations

import json
import os
import select
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from neffos_conformance.wire.subprocesses import STOP_DEADLINE, SubprocessError

READY_DEADLINE: Final = 20
"""Seconds for a server to be ready: an interpreter on a busy machine needs one or two."""


@dataclass(frozen=True, slots=True)
class MeasuredServer:
    """A server that can be started.

    Attributes:
        key: its name in the results.
        label: its name in the table.
        command: starts it; the contract is that of ``neffos_conformance.wire.subprocesses``.
        endpoint: the endpoint to measure.
        environment: more environment variables.
    """

    key: str
    label: str
    command: Sequence[str | Path]
    endpoint: str
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Running:
    """A running server: its URL, its process, and its readiness line."""

    url: str
    pid: int
    ready: dict[str, Any]


class StartError(SubprocessError):
    """A server that cannot be started, or is not ready in time.

    Attributes:
        server: which one.
    """

    def __init__(self, server: MeasuredServer, reason: str) -> None:
        super().__init__(f"{server.label} {reason}")
        self.server = server


@dataclass(frozen=True, slots=True)
class Cores:
    """The core of the servers and that of the generator.

    They are the same if there is only one, and ``None`` if this system cannot pin a process to a
    core.
    """

    server: int | None
    generator: int | None

    def __str__(self) -> str:
        if self.server is None:
            return "not pinned: this system has no call for it"
        if self.server == self.generator:
            return f"servers and generator on core {self.server} together"
        return f"servers on core {self.server}, generator on core {self.generator}"


def cores() -> Cores:
    """Choose the cores."""
    if not hasattr(os, "sched_getaffinity"):
        return Cores(None, None)
    available = sorted(os.sched_getaffinity(0))
    return Cores(available[-1], available[0])


@contextmanager
def pinned(core: int | None) -> Iterator[None]:
    """Run on one core, with all programs started meanwhile and their threads."""
    if core is None:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


@contextmanager
def started(server: MeasuredServer, core: int | None, log: Path) -> Iterator[Running]:
    """Run a server on a core until the block is left.

    Its standard error goes to ``log``.

    Raises:
        StartError: it cannot be started, or it is not ready in time.
    """
    with log.open("wb") as errors:
        try:
            with pinned(core):
                process = subprocess.Popen(
                    server.command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    env=os.environ | server.environment,
                )
        except OSError as error:
            raise StartError(server, f"cannot be started: {error}") from error
    with process:
        try:
            ready = _readiness(server, process, log)
            if server.endpoint not in ready["endpoints"]:
                raise StartError(server, f"has no endpoint {server.endpoint}: {ready}")
            yield Running(ready["endpoints"][server.endpoint], process.pid, ready)
        finally:
            if process.stdin:
                process.stdin.close()
            try:
                process.wait(STOP_DEADLINE)
            except subprocess.TimeoutExpired:
                process.kill()


def _readiness(
    server: MeasuredServer, process: subprocess.Popen[bytes], log: Path
) -> dict[str, Any]:
    line = b""
    # The line comes in one piece: once there is something to read, all of it is there.
    if process.stdout and select.select([process.stdout], [], [], READY_DEADLINE)[0]:
        line = process.stdout.readline()
    try:
        ready = json.loads(line)
    except ValueError:
        ready = None
    if not isinstance(ready, dict) or ready.get("ready") is not True:
        said = [line.decode(errors="replace"), *log.read_text(errors="replace").splitlines()]
        last = next((text for text in reversed(said) if text.strip()), "nothing")
        raise StartError(server, f"is not ready, it said: {last.strip()}")
    return ready
