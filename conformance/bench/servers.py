"""The measured servers: what starts them, each alone on its core, and what measures one.

This module does not know which measurements are made, or how they are shown.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from bench.builds import UnavailableError
from bench.harness import pinned
from bench.table import Report
from neffos_conformance.wire import subprocesses

READY_DEADLINE: Final = 20
"""Seconds for a server to be ready: an interpreter on a busy machine needs one or two."""

GENERATOR_UNSOUND: Final = 3
"""The generator's exit code after lost, reordered or repeated messages."""

GENERATOR_DEADLINE: Final = 150
"""Seconds for one measurement: the generator ends itself after two minutes."""

ONE_CORE: Final = {"GOMAXPROCS": "1"}
"""For programs in Go: as many threads that run as there are cores for them."""


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


class StartError(subprocesses.SubprocessError):
    """A server that cannot be started, or is not ready in time.

    Attributes:
        server: which one.
    """

    def __init__(self, server: MeasuredServer, reason: str) -> None:
        super().__init__(f"{server.label} {reason}")
        self.server = server


@contextmanager
def started(
    server: MeasuredServer, core: int | None, log: Path
) -> Iterator[tuple[list[str], dict[str, Any]]]:
    """Run a server on a core until the block is left, with its standard error in ``log``.

    Gives the generator's arguments for it, and its readiness line.

    Raises:
        StartError: it cannot be started, or it is not ready in time.
    """
    with ExitStack() as stack:
        errors = stack.enter_context(log.open("wb"))
        try:
            with pinned(core):
                starting = subprocesses.started(
                    server.command,
                    ready_timeout=READY_DEADLINE,
                    stderr=errors,
                    env=os.environ | server.environment,
                )
                pid, ready = stack.enter_context(starting)
        except subprocesses.SubprocessError as error:
            said = [line for line in log.read_text(errors="replace").split("\n") if line.strip()]
            reason = said[-1].strip() if said else str(error)
            raise StartError(server, f"did not start: {reason}") from error
        if server.endpoint not in ready["endpoints"]:
            raise StartError(server, f"has no endpoint {server.endpoint}: {ready}")
        yield ["-url", ready["endpoints"][server.endpoint], "-pid", str(pid)], ready


def generate(generator: Path, arguments: list[str], core: int | None) -> Report:
    """Make one measurement.

    Raises:
        UnavailableError: the generator failed, with its reason.
    """
    try:
        with pinned(core):
            done = subprocess.run(
                [str(generator), *arguments],
                capture_output=True,
                text=True,
                env=os.environ | ONE_CORE,
                timeout=GENERATOR_DEADLINE,
            )
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(str(error)) from None
    if done.returncode not in (0, GENERATOR_UNSOUND):
        raise UnavailableError(done.stderr.strip() or f"exit {done.returncode}")
    report: Report = json.loads(done.stdout)
    return report
