"""Starts the servers that are measured, each alone on its core.

Knows how a server is started and ended, and nothing of what is measured.
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
class Server:
    """A server that can be started.

    Attributes:
        key: what it is called in the results.
        label: what it is called for people.
        command: starts it; the contract is that of ``neffos_conformance.wire.subprocesses``.
        endpoint: which of its endpoints is measured.
        environment: what is set for it.
    """

    key: str
    label: str
    command: Sequence[str | Path]
    endpoint: str
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Running:
    """A server that runs: where, as which process, and what its readiness line says."""

    url: str
    pid: int
    told: dict[str, Any]


class StartError(SubprocessError):
    """A server that cannot be started, or is not ready in time.

    Attributes:
        server: which one.
    """

    def __init__(self, server: Server, reason: str) -> None:
        super().__init__(f"{server.label} {reason}")
        self.server = server


@dataclass(frozen=True, slots=True)
class Cores:
    """The core of the servers and that of the generator.

    They are the same where there is only one, and ``None`` where this system has no call to pin
    a process to a core.
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
    """Run on one core, and so whatever is started meanwhile, with all its threads."""
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
def started(server: Server, core: int | None, log: Path) -> Iterator[Running]:
    """Run a server on a core; it has ended when the block is left.

    What it writes to its standard error is found in ``log``.

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
            told = _readiness(server, process, log)
            if server.endpoint not in told["endpoints"]:
                raise StartError(server, f"has no endpoint {server.endpoint}: {told}")
            yield Running(told["endpoints"][server.endpoint], process.pid, told)
        finally:
            if process.stdin:
                process.stdin.close()
            try:
                process.wait(STOP_DEADLINE)
            except subprocess.TimeoutExpired:
                process.kill()


def _readiness(server: Server, process: subprocess.Popen[bytes], log: Path) -> dict[str, Any]:
    line = b""
    # The line comes in one piece: once there is something to read, all of it is there.
    if process.stdout and select.select([process.stdout], [], [], READY_DEADLINE)[0]:
        line = process.stdout.readline()
    try:
        told = json.loads(line)
    except ValueError:
        told = None
    if not isinstance(told, dict) or told.get("ready") is not True:
        said = [line.decode(errors="replace"), *log.read_text(errors="replace").splitlines()]
        last = next((text for text in reversed(said) if text.strip()), "nothing")
        raise StartError(server, f"is not ready, it said: {last.strip()}")
    return told
