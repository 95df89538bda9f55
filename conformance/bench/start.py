"""Measures how soon short commands have done their work, from the start of the process.

    python conformance/bench/start.py [--quick] [--python PYTHON]

A figure is the median of the processor time of several processes, on one core: other load on the
machine does not count. No process finds anything cached but the files of Python's own modules.

Exit codes: 0 measured, 1 a command did something else. A missed aim is printed, and is no failure.
"""

from __future__ import annotations

import argparse
import resource
import socket
import subprocess
import sys
from pathlib import Path
from statistics import median
from typing import Final

# The package ``bench`` is a folder of the codec too.
sys.path[0] = str(Path(__file__).resolve().parents[2] / "codec")

from bench import harness  # noqa: E402

RUNS: Final = 11
QUICK_RUNS: Final = 3

VERSION: Final = 0.1
DECODE: Final = 0.15
DEAD_PORT: Final = 0.4
"""The aims, in seconds of processor time."""

NOTHING_RAN: Final = 2
"""What the suite exits with where no server listens."""


def main() -> int:
    """Run each command some times, and print a verdict on each."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_RUNS} runs")
    parser.add_argument("--python", default=sys.executable, help="has neffos-wire beside it")
    parser.add_argument("--markdown", action="store_true", help="changes nothing")
    arguments = parser.parse_args()
    program = Path(arguments.python).with_name("neffos-wire")
    harness.pin()
    with socket.socket() as taken:  # nobody else gets this port, and nobody listens on it
        taken.bind(("127.0.0.1", 0))
        dead = f"ws://127.0.0.1:{taken.getsockname()[1]}/"
        for command, status, aim in (
            (["--version"], 0, VERSION),
            (["decode", "$1;chat;;say;0;0;hi"], 0, DECODE),
            (["test", "server", dead], NOTHING_RAN, DEAD_PORT),
        ):
            said = " ".join(command).replace(dead, "on a port where nothing listens")
            times = []
            for _ in range(QUICK_RUNS if arguments.quick else RUNS):
                before = _used()
                done = subprocess.run([program, *command], capture_output=True, text=True)
                times.append(_used() - before)
                if done.returncode != status:
                    sys.stdout.write(f"neffos-wire {said}: {done.stdout}{done.stderr}\n")
                    return 1
            met = harness.verdict(median(times) <= aim)
            sys.stdout.write(
                f"{met}: neffos-wire {said}: {median(times):.3f} s, at most {aim:.2f} s\n"
            )
    return 0


def _used() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    sys.exit(main())
