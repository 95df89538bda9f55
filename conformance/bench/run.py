"""Measures the reference server beside the Go server, each on one core.

    python conformance/bench/run.py [--quick] [--json FILE] [--python PYTHON]

The reference server runs twice: on websockets alone, and with the extra ``fast``. The load
generator in ``load`` has a core of its own. Every round starts all servers, and makes each
measurement on one after the other; the next round has them in the opposite order. A figure is the
median of all rounds. A ratio is taken within each round, so that other load on the machine
disturbs both sides of it. The aim is always what Go does.

Exit codes: 0 measured, 1 our server lost or reordered a message or could not be measured, 3 the
harness failed, 4 a toolchain is missing. A missed aim is printed, and is not a failure.
"""

from __future__ import annotations

import json
import resource
import shutil
import sys
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).resolve().parent

# This folder is part of the package ``bench``, as is the codec's, whose harness is used here.
sys.path[:1] = [str(HERE.parent), str(HERE.parents[1] / "codec")]

from rich.console import Console  # noqa: E402

from bench import builds, harness, table  # noqa: E402
from bench.servers import ONE_CORE, MeasuredServer, StartError, generate, started  # noqa: E402
from bench.table import Figure, Report, Results  # noqa: E402

EXIT_UNSOUND: Final = 1
EXIT_BROKEN: Final = 3
EXIT_NO_TOOLCHAIN: Final = 4

ROUNDS: Final = 7
"""Enough for a median that one disturbed round does not move; each takes half a minute."""

FIGURES: Final = (
    Figure("echo, 1 x 100 open asks", "echo 1", "rate", "asks/s"),
    Figure("echo, 100 x 10 open asks", "echo 100", "rate", "asks/s"),
    Figure("one ask at a time: median", "echo alone", "p50_ms", "µs", 1e-3, 0, True),
    Figure("one ask at a time: 99 %", "echo alone", "p99_ms", "µs", 1e-3, 0, True),
    Figure("broadcast to 1,000", "fanout", "rate", "received/s"),
    Figure("handshakes, 16 at a time", "handshakes", "rate", "opened/s"),
    Figure("memory when idle", "idle", "per_connection", "KiB", 1024, 1, True),
)

Measurements = dict[str, list[str]]
"""The generator's arguments, by the name of the measurement."""


def measurements(*, quick: bool) -> Measurements:
    """Return the measurements, in their order.

    The slower server takes some seconds for each, or some tenths of a second if quick. Memory
    comes first, while the process is new.
    """
    asks, alone, broadcasts, handshakes = (
        ("20000", "1000", "10", "300") if quick else ("100000", "5000", "50", "2000")
    )
    return {
        "idle": ["idle", "-connections", "1000"],
        "echo 1": ["echo", "-connections", "1", "-depth", "100", "-asks", asks],
        "echo 100": ["echo", "-connections", "100", "-depth", "10", "-asks", asks],
        "echo alone": ["echo", "-connections", "1", "-depth", "1", "-asks", alone],
        "fanout": ["fanout", "-connections", "1000", "-broadcasts", broadcasts],
        "handshakes": ["handshakes", "-count", handshakes, "-parallel", "16"],
    }


def servers(peer: Path, python: Path) -> list[MeasuredServer]:
    """Return the server to compare with, and those to compare."""
    command = (python.parent / "neffos-wire", "serve", "--json")
    return [
        MeasuredServer("gorilla", "Go, gorilla", (peer, "serve"), "gorilla", ONE_CORE),
        MeasuredServer("ours", "ours", (*command, "--no-fast"), "reference"),
        MeasuredServer("fast", "ours, fast", (*command, "--fast"), "reference"),
    ]


def measure_round(
    results: Results,
    turn: list[MeasuredServer],
    generator: Path,
    wanted: Measurements,
    place: harness.Cores,
) -> None:
    """Make every measurement once on each server, in the given order.

    Raises:
        StartError: a server does not start.
    """
    with ExitStack() as stack:
        running = []
        for server in turn:
            starting = started(server, place.server, builds.BUILD / f"{server.key}.log")
            target, ready = stack.enter_context(starting)
            running.append((server, target))
            results.provenance[ready["peer"]] = ready["version"]
        for name, arguments in wanted.items():
            for server, target in running:
                report: Report | None = None
                try:
                    report = generate(generator, [*arguments, *target], place.generator)
                except builds.UnavailableError as reason:
                    results.failures.append(f"{server.label}: {name}: {reason}")
                results.reports[server.key].setdefault(name, []).append(report)


_ASK_PYTHON: Final = """
import json, platform, sys
from importlib.metadata import version
from neffos_codec import COMPILED
print(json.dumps({
    "codec": "compiled" if COMPILED else "interpreted",
    "Python": f"{platform.python_version()} ({platform.python_compiler()})",
    **{name: version(name) for name in ("websockets", "picows", "uvloop")},
}))
"""


def provenance(python: Path, place: harness.Cores) -> dict[str, str]:
    """Return the versions of what is measured, and the machine."""
    own: dict[str, str] = json.loads(builds.call(python, "-Ic", _ASK_PYTHON))
    return harness.machine(str(place)) | {"Go": builds.go_version()} | own


def allow_connections() -> None:
    """Raise the limit of open files, for the programs started from here.

    A thousand connections exceed the usual limit. Programs in Go raise it themselves, Python
    does not.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def main() -> int:
    """Build, measure, print; return the exit code."""
    parser = harness.arguments("Measure the reference server beside Go's.", "one short round")
    parser.add_argument(
        "--python",
        type=Path,
        default=Path(sys.executable),
        help="the interpreter of our server, with neffos-wire beside it (default: this one)",
    )
    options = parser.parse_args()

    notes = Console(stderr=True, highlight=False)

    def ended(reason: Exception, code: int) -> int:
        notes.print(f"bench: {reason}", markup=False)
        return code

    try:
        builds.tool("go")
    except builds.UnavailableError as reason:
        return ended(reason, EXIT_NO_TOOLCHAIN)
    place = harness.cores()
    # As it was named, and from wherever: in an environment it is a link elsewhere.
    python = Path(shutil.which(options.python) or options.python).absolute()
    try:
        with notes.status("Building what is to be measured"):
            generator = builds.go("load", HERE / "load")
            peer = builds.go("neffos-go", HERE.parent / "peers" / "go")
            found = provenance(python, place)
    except builds.UnavailableError as reason:
        return ended(reason, EXIT_BROKEN)
    allow_connections()

    base, *subjects = everyone = servers(peer, python)
    results = Results(
        base.key,
        [server.key for server in subjects],
        {server.key: server.label for server in everyone},
        {server.key: {} for server in everyone},
        provenance=found,
    )
    wanted = measurements(quick=options.quick)
    rounds = 1 if options.quick else ROUNDS
    try:
        with notes.status("Measuring") as status:
            for number in range(rounds):
                status.update(f"Measuring, round {number + 1} of {rounds}")
                turn = everyone if number % 2 == 0 else everyone[::-1]
                measure_round(results, turn, generator, wanted, place)
    except StartError as reason:
        return ended(reason, EXIT_BROKEN if reason.server is base else EXIT_UNSOUND)

    rows, below = table.rows(results, FIGURES), table.below(results, FIGURES)
    harness.report(options, asdict(results), rows, below)
    is_sound = all(map(results.is_sound, results.subjects))
    return 0 if is_sound else EXIT_UNSOUND


if __name__ == "__main__":
    sys.exit(main())
