"""``make bench``: measure this codec beside others, in one run on one core.

    python codec/bench/codecs.py [--quick] [--markdown] [--json FILE]

In every round, a new process measures each row, so that other load on the machine disturbs all
rows alike. A round's figure is the best of its samples, because other load only adds time. A cell
is the median of all rounds.

pyperf does not replace this: it measures one benchmark of one interpreter at a time. The rows here
alternate in rounds, and two of them are programs in Go and JavaScript.
"""

from __future__ import annotations

import json
import platform
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

# This folder is the package ``bench``, to mypy as well.
sys.path[0] = str(Path(__file__).resolve().parent.parent)

from rich.console import Console  # noqa: E402

from bench import builds, harness, report  # noqa: E402
from bench.report import DIRECTIONS, FILL, FRAMES, IMPORTS  # noqa: E402

Times = dict[str, dict[str, list[float]]]
"""Nanoseconds of one call, by frame and direction."""

Row = Callable[[dict[str, Any]], Times]
"""Measures one row once."""

_GO_LINE: Final = re.compile(r"^BenchmarkCodec/(\S+?)/(\w+)\s+\d+\s+([\d.]+) ns/op", re.MULTILINE)


BUILDS: Final[tuple[str, ...]] = ("interpreted", "compiled")
"""The two forms of this codec, both of which this interpreter has."""

PYTHON: Final = (sys.executable, "-I", builds.BENCH / "python_codec.py")


def ask(command: Sequence[str | Path], request: dict[str, Any]) -> Any:
    """Give a program a request as JSON, and return its answer."""
    pure = "" if request.get("compiled") else "1"
    return json.loads(builds.call(*command, given=json.dumps(request), NEFFOS_WIRE_PURE=pure))


def import_times(package: str, rounds: int) -> list[float]:
    """Return the processor time of an import in a new process, in nanoseconds, in each round."""
    program = (
        "from time import process_time_ns as now; start = now(); "
        f"import {package}; print(now() - start)"
    )
    return [float(builds.call(sys.executable, "-Ic", program)) for _ in range(rounds)]


def row(command: Sequence[str | Path], **options: object) -> Row:
    """Return the row that a program measures, on a request with these options."""

    def measure(request: dict[str, Any]) -> Times:
        times: Times = ask(command, request | options)["times"]
        return times

    return measure


def go_row(program: Path, request: dict[str, Any]) -> Times:
    """Measure the row of the Go package."""
    duration = f"-test.benchtime={request['nanoseconds']}ns"
    flags = ("-test.bench=.", "-test.run=^$", "-test.cpu=1", duration)
    count = f"-test.count={request['samples']}"
    printed = builds.call(program, *flags, count, given=json.dumps(request), GOMAXPROCS="1")
    times: Times = {}
    for frame, direction, nanoseconds in _GO_LINE.findall(printed):
        times.setdefault(frame, {}).setdefault(direction, []).append(float(nanoseconds))
    return times


def prepare(missing: dict[str, str]) -> dict[str, Row]:
    """Build the rows; those that cannot be built are put into ``missing``."""
    built: dict[str, Path] = {}
    for name, made in {
        "go": lambda: builds.go("codec.test", builds.BENCH / "go", "test", "-c"),
        "js": builds.js,
    }.items():
        try:
            built[name] = made()
        except builds.UnavailableError as reason:
            missing[name] = str(reason)
    rows = {
        name: row(PYTHON, row=name, compiled=False)
        for name in ("empty", "floor", "construct", "socketio")
    }
    for build in BUILDS:
        if build == "compiled" and not find_spec("neffos_codec._compiled"):
            missing[build] = "there was no C compiler when the codec was installed"
            continue
        for name, suffix in (("codec", ""), ("whole", " whole")):
            rows[build + suffix] = row(PYTHON, row=name, compiled=build == "compiled")
    if "go" in built:
        rows["go"] = partial(go_row, built["go"])
    if "js" in built:
        rows["js"] = row(("node", builds.BENCH / "node.mjs", built["js"]))
    return rows


def measure(
    rows: dict[str, Row], missing: dict[str, str], request: dict[str, Any], rounds: int
) -> dict[str, Times]:
    """Measure every row in every round; each round begins with another row."""
    found: dict[str, Times] = {}
    for turn in range(rounds):
        names = list(rows)
        start = turn % len(names)
        for name in names[start:] + names[:start]:
            try:
                times = rows[name](request)
            except builds.UnavailableError as reason:
                missing[name] = str(reason)
                found.pop(name, None)
                del rows[name]
                continue
            for frame in times:
                for direction in DIRECTIONS:
                    cell = found.setdefault(name, {}).setdefault(frame, {})
                    cell.setdefault(direction, []).append(min(times[frame][direction]))
    return found


def provenance(rows: dict[str, Any], place: str) -> dict[str, str]:
    """Say what was measured, and on what."""
    found = harness.machine(place) | {
        "Python": platform.python_version(),
        "python-socketio": version("python-socketio"),
    }
    if "construct" in rows:
        found["construct"] = version("construct")
    if "go" in rows:
        found["Go"] = builds.go_version()
        pinned = (builds.BENCH / "go" / "go.mod").read_text()
        found["neffos"] = pinned.partition("kataras/neffos ")[2].split()[0]
    if "js" in rows:
        found["Node"] = builds.call("node", "--version").strip()
        package = builds.BUILD / "js" / "node_modules" / "neffos.js" / "package.json"
        found["neffos.js"] = json.loads(package.read_text())["version"]
    return found


def main() -> int:
    """Measure and print."""
    options = harness.arguments("Measure this codec beside others.").parse_args()
    notes = Console(stderr=True)
    missing: dict[str, str] = {}
    with notes.status("Building what is to be measured"):
        rows = prepare(missing)
    place = harness.pin()
    request = {
        "frames": [asdict(frame) for frame in FRAMES],
        "fill": FILL,
        # Long enough to contain the garbage collections that belong to the calls, and short
        # enough that a disturbance affects few samples.
        "nanoseconds": 4_000_000,
        "samples": 2 if options.quick else 5,
        "warm": 60_000_000,  # after this long neffos.js does not get faster any more
    }
    with notes.status("Measuring"):
        times = measure(rows, missing, request, 3 if options.quick else 11)
        if report.BASE not in times:
            notes.print(f"Nothing to compare with: {missing[report.BASE]}", markup=False)
            return 1
        copies = {
            build: ask(PYTHON, request | {"row": "copies", "compiled": build == "compiled"})
            for build in BUILDS
            if build in times
        }
        imports = {
            package: import_times(package, 3 if options.quick else 11) for package in IMPORTS
        }

    results = report.CodecResults(times, copies, imports, missing, provenance(times, place))
    harness.report(
        options,
        asdict(results),
        report.rows(results, by_message=options.markdown),
        report.below(results),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
