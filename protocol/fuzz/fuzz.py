"""Fuzzes codec and session, guided by the lines that the inputs reach.

    python protocol/fuzz/fuzz.py TARGET [--seconds N] [--seed N]
    python protocol/fuzz/fuzz.py TARGET --replay HEX

Needs atheris, except for a replay. Exit status: 0 no crash; 1 a crash, which is printed with its
input, shrunk as far as that is easy; 2 nothing could be run.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Final

# This folder is the package ``fuzz``, to mypy as well. What is installed comes first: a compiled
# codec must not be hidden by its source.
del sys.path[0]
sys.path.append(str(Path(__file__).resolve().parents[1]))

SECONDS: Final = 20

LONGEST: Final = {"decode": 2600, "handshake": 300, "session": 400}
"""The targets, with the bytes of an input: of a program about as many as its steps can use."""

SLOW: Final = 10
"""Seconds for one input, which takes a millisecond: longer is a crash."""

MEMORY: Final = 1024
"""MiB for the whole run; it takes a tenth of that, and one input cannot need more."""

SHRINKING: Final = 5.0
"""Seconds to shrink the input of a crash."""

SHOWN: Final = 4000
"""Characters of the fuzzer's output, from its end, that are shown where nothing else explains."""


def target_of(name: str) -> Callable[..., None]:
    """Give the function of a target."""
    from fuzz import codec, session

    targets = {
        "decode": codec.decode_target,
        "handshake": codec.handshake_target,
        "session": session.session_target,
    }
    return targets[name]


def worker(name: str, arguments: list[str]) -> None:
    """Run libFuzzer in this process, which libFuzzer ends."""
    import importlib

    os.environ["NEFFOS_WIRE_PURE"] = "1"  # C shows the fuzzer no branches
    atheris = importlib.import_module("atheris")  # has no types
    with atheris.instrument_imports(include=["neffos_codec", "neffos_protocol"]):
        target = target_of(name)
    atheris.Setup([sys.argv[0], *arguments], target)
    atheris.Fuzz()


def fuzz(name: str, seconds: int, seed: int | None) -> int:
    """Run a target in a process of its own, print the result, and give the exit status."""
    from fuzz import seeds

    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        for part in ("corpus", "crashes"):
            (home / part).mkdir()
        for number, data in enumerate(seeds.seeds(name)):
            (home / "corpus" / f"{number:04}").write_bytes(data)
        words = home / "words"
        words.write_text(seeds.dictionary())
        command = [
            *(sys.executable, __file__, name, "--worker", str(home / "corpus")),
            *(f"-max_total_time={seconds}", f"-max_len={LONGEST[name]}", f"-dict={words}"),
            *(f"-artifact_prefix={home / 'crashes'}/", f"-timeout={SLOW}"),
            *(f"-rss_limit_mb={MEMORY}", "-print_final_stats=1"),
            *([] if seed is None else [f"-seed={seed}"]),
        ]
        log = home / "log"
        with log.open("wb") as out:
            status = subprocess.run(command, stdout=out, stderr=out, check=False).returncode
        output = log.read_text("utf-8", "replace")
        crashes = {path.name: path.read_bytes() for path in (home / "crashes").iterdir()}
    if status and crashes:
        for file, data in crashes.items():
            report(name, file.partition("-")[0], data, output)
        return 1
    done = re.search(r"^Done (\d+) runs in (\d+) second", output, re.MULTILINE)
    reached = re.findall(r"\bcov: (\d+) ft: (\d+) corp: (\d+)", output)
    if status or not done or not int(done[1]) or not reached:
        sys.stdout.write(f"{output[-SHOWN:]}\n{name}: could not be run (status {status})\n")
        return 2
    branches, features, inputs = reached[-1]
    sys.stdout.write(
        f"{name}: {done[1]} runs in {done[2]} s, {branches} branches and {features} features "
        f"reached, {inputs} inputs kept: no crash\n"
    )
    return 0


def report(name: str, kind: str, data: bytes, output: str) -> None:
    """Print a crash, and the input that causes it.

    Args:
        name: of the target.
        kind: what libFuzzer calls it: "crash", or "timeout" or "oom", which are not tried again.
        data: the input.
        output: of the fuzzer, for where there is no more to say.
    """
    # Immediately: whatever crashed the fuzzer may crash what follows as well.
    sys.stdout.write(f"{name}: {kind} on these {len(data)} bytes\n  {data.hex()}\n")
    sys.stdout.flush()
    found = failure(name, data) if kind == "crash" else None
    if found is None:
        sys.stdout.write(f"{output[-SHOWN:]}\nnot seen, or not tried, without the fuzzer\n")
        return
    small = shrunk(name, data, found)
    sys.stdout.write(f"shrunk to {len(small)} bytes:\n\n")
    replay(name, small)


def replay(name: str, data: bytes) -> int:
    """Run one input, print what happens, and give the exit status."""
    target = target_of(name)
    if name == "session":
        target = partial(target, tell=lambda line: sys.stdout.write(f"{line}\n"))
    status = 0
    try:
        target(data)
        sys.stdout.write("no crash\n")
    except Exception:  # any exception is a crash
        sys.stdout.write(traceback.format_exc())
        status = 1
    sys.stdout.write(f"\n  {data!r}\n  fuzz.py {name} --replay {data.hex()}\n")
    return status


def failure(name: str, data: bytes) -> tuple[object, ...] | None:
    """Give what identifies a crash: its type, the property, and where it was raised."""
    try:
        target_of(name)(data)
    except Exception as error:  # any exception is a crash
        last = traceback.extract_tb(error.__traceback__)[-2:]
        claim = str(error).partition(":")[0]
        return (type(error), claim, *((frame.filename, frame.lineno) for frame in last))
    return None


def shrunk(name: str, data: bytes, found: tuple[object, ...]) -> bytes:
    """Remove bytes, or make them zero, while the crash stays the same."""
    until = time.monotonic() + SHRINKING
    sizes = [1 << power for power in range(len(data).bit_length(), 4, -1)]
    for size in [*sizes, *range(16, 0, -1), *range(16, 0, -1)]:
        at = 0
        while at < len(data) and time.monotonic() < until:
            before, part, after = data[:at], data[at : at + size], data[at + size :]
            if failure(name, before + after) == found:
                data = before + after
                continue
            zeros = before + bytes(len(part)) + after
            if any(part) and failure(name, zeros) == found:
                data = zeros
            at += size
    return data


def main() -> int:
    """Read the command line."""
    given = sys.argv[1:]
    if given[1:2] == ["--worker"]:
        worker(given[0], given[2:])
    parser = argparse.ArgumentParser(description="Fuzz codec and session.")
    parser.add_argument("target", choices=LONGEST)
    parser.add_argument("--seconds", type=int, default=SECONDS, help="how long (20)")
    parser.add_argument("--seed", type=int, help="of the random numbers")
    parser.add_argument("--replay", metavar="HEX", help="run only these bytes")
    options = parser.parse_args()
    if options.replay is not None:
        return replay(options.target, bytes.fromhex(options.replay))
    return fuzz(options.target, options.seconds, options.seed)


if __name__ == "__main__":
    sys.exit(main())
