"""Measures `neffos-wire check` on a long recording: messages a second, and memory.

    python conformance/bench/check.py [--quick] [--python PYTHON]

The recording has asks and their replies, on some connections in turn, as from a load test. The
figure is the processor time of the whole process, its start included, on one core: other load on
the machine does not count.

Exit codes: 0 measured, 1 the check did not pass.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Final

# The package ``bench`` is a folder of the codec too.
sys.path[0] = str(Path(__file__).resolve().parents[2] / "codec")

import msgspec  # noqa: E402
from rich.console import Console  # noqa: E402

from bench import harness  # noqa: E402
from neffos_conformance.wire.text import counted  # noqa: E402
from neffos_conformance.wire.transcript import Entry, header, values_of  # noqa: E402

SIZE: Final = 256
QUICK_SIZE: Final = 16
"""The size of the recording in MiB: some seconds, or half of one."""

CONNECTIONS: Final = 8
"""Connections that take turns."""

LEAST_RATE: Final = 500_000
"""The aim, in messages a second, for what a wheel holds; ``--python`` names one that has it."""


def main() -> int:
    """Write a recording, check it, and print the rate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_SIZE} MiB")
    parser.add_argument("--python", default=sys.executable, help="has neffos-wire beside it")
    parser.add_argument("--markdown", action="store_true", help="changes nothing")
    arguments = parser.parse_args()
    size = QUICK_SIZE if arguments.quick else SIZE
    program = Path(arguments.python).with_name("neffos-wire")
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "long.jsonl")
        messages = write(path, size << 20)
        harness.pin()
        # Several processes would each read the whole file, and it is the figure of one core.
        command = [str(program), "check", "--jobs", "1", str(path)]
        done = subprocess.run(command, capture_output=True, text=True)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds, peak = used.ru_utime + used.ru_stime, used.ru_maxrss / 1024
    if done.returncode or f"{counted(messages, 'message')}: 1 pass" not in done.stdout:
        console.print(f"the check did not pass: {done.stdout}{done.stderr}", markup=False)
        return 1
    rate = messages / seconds
    console.print(
        f"check: {size} MiB, {messages} messages in {seconds:.1f} s of one core: "
        f"{rate:,.0f} a second, peak {peak:.0f} MiB; at least {LEAST_RATE:,} a second: "
        f"{harness.verdict(rate >= LEAST_RATE)}"
    )
    return 0


def write(path: Path, size: int) -> int:
    """Write a recording of about so many bytes, and return the number of its messages."""
    count = 0
    with path.open("wb") as stream:

        def say(connection: int, from_client: bool, text: str) -> None:
            nonlocal count
            values = values_of(Entry(0, count / 1e5, connection, from_client, text))
            stream.write(msgspec.json.encode(values) + b"\n")
            count += 1

        first = header(scenario="a load", client={"peer": "c"}, server={"peer": "s"}, how="bench")
        stream.write(msgspec.json.encode(first) + b"\n")
        for connection in range(1, CONNECTIONS + 1):
            say(connection, True, "M")
            say(connection, False, f"Aid-{connection}")
            say(connection, True, "$1;app;;_OnNamespaceConnect;0;0;")
            say(connection, False, "$1;;;;;;")
        number = 0
        while stream.tell() < size:
            number += 1
            connection = number % CONNECTIONS + 1
            ask = f"${1_700_000_000_000_000_000 + number};app;;echo;0;0;how are you, all of you?"
            say(connection, True, ask)
            say(connection, False, ask)
    return count


if __name__ == "__main__":
    sys.exit(main())
