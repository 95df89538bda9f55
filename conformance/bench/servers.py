"""Starts the measured servers, each alone on its core.

This module starts and ends servers, and does not know what is measured.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from neffos_conformance.wire import subprocesses

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


class StartError(subprocesses.SubprocessError):
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
    with ExitStack() as stack:
        errors = stack.enter_context(log.open("wb"))
        try:
            with pinned(core):
                pid, ready = stack.enter_context(
                    subprocesses.started(
                        server.command,
                        ready_timeout=READY_DEADLINE,
                        stderr=errors,
                        env=os.environ | server.environment,
                    )
                )
        except subprocesses.SubprocessError as error:
            said = log.read_text(errors="replace").split("\n")
            last = next((line for line in reversed(said) if line.strip()), str(error))
            raise StartError(server, f"did not start: {last.strip()}") from error
        if server.endpoint not in ready["endpoints"]:
            raise StartError(server, f"has no endpoint {server.endpoint}: {ready}")
        yield Running(ready["endpoints"][server.endpoint], pid, ready)
