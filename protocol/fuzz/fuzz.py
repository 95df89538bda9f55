"""Looks for bytes that codec or session cannot take, guided by the lines they reach.

    python protocol/fuzz/fuzz.py TARGET [--seconds N | --runs N] [--seed N] [--verbose]
    python protocol/fuzz/fuzz.py TARGET --replay HEX

Needs atheris, but not for a replay. Ends with 1 on a crash, which is printed with the bytes
that make it, cut down as far as that is easy, and with 2 where nothing could be run.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

# This folder is the package ``fuzz``, to mypy as well. What is installed comes first: a compiled
# codec must not be hidden by its source.
del sys.path[0]
sys.path.append(str(Path(__file__).resolve().parents[1]))

TARGETS: Final = ("decode", "handshake", "session")
SECONDS: Final = 20
LONGEST: Final = {"decode": 2600, "handshake": 300, "session": 400}
"""Bytes of an input: of a program about as many as its steps can use."""

SLOW: Final = 10
"""Seconds for one input, which takes a millisecond: longer is a crash."""

MEMORY: Final = 1024
"""MiB for the whole run; it takes a tenth of that, and one input cannot need more."""

PATIENCE: Final = 5.0
"""Seconds for cutting a crash down."""


def target_of(name: str) -> Callable[[bytes], None]:
    """Give the function that a target is."""
    from fuzz import codec, session

    targets = {
        "decode": codec.decode_target,
        "handshake": codec.handshake_target,
        "session": session.session_target,
    }
    return targets[name]


def worker(name: str, arguments: list[str]) -> None:
    """Run libFuzzer in this process, which it ends itself."""
    import importlib

    atheris = importlib.import_module("atheris")  # has no types
    with atheris.instrument_imports(include=["neffos_codec", "neffos_protocol"]):
        target = target_of(name)
    atheris.Setup([sys.argv[0], *arguments], target)
    atheris.Fuzz()


def fuzz(name: str, amount: str, seed: int | None, verbose: bool) -> int:
    """Run a target in a process of its own, and say how it went."""
    from fuzz import seeds

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        for part in ("corpus", "crashes"):
            (place / part).mkdir()
        for number, data in enumerate(seeds.seeds(name)):
            (place / "corpus" / f"{number:04}").write_bytes(data)
        words = place / "words"
        words.write_text(seeds.dictionary())
        command = [
            *(sys.executable, __file__, name, "--worker", str(place / "corpus")),
            *(amount, f"-max_len={LONGEST[name]}", f"-dict={words}"),
            *(f"-artifact_prefix={place / 'crashes'}/", f"-timeout={SLOW}"),
            *(f"-rss_limit_mb={MEMORY}", "-print_final_stats=1"),
            *([] if seed is None else [f"-seed={seed}"]),
        ]
        log = place / "log"
        with log.open("wb") as out:
            status = subprocess.run(command, stdout=out, stderr=out, check=False).returncode
        told = log.read_text("utf-8", "replace")
        if verbose:
            sys.stdout.write(told)
        crashes = {path.name: path.read_bytes() for path in (place / "crashes").iterdir()}
    if status and crashes:
        for file, data in crashes.items():
            report(name, file.partition("-")[0], data, told)
        return 1
    done = re.search(r"^Done (\d+) runs in (\d+) second", told, re.MULTILINE)
    reached = re.findall(r"\bcov: (\d+) ft: (\d+) corp: (\d+)", told)
    if status or not done or not int(done[1]) or not reached:
        sys.stdout.write(f"{told[-4000:]}\n{name}: could not be run (status {status})\n")
        return 2
    branches, features, inputs = reached[-1]
    sys.stdout.write(
        f"{name}: {done[1]} runs in {done[2]} s, {branches} branches and {features} features "
        f"reached, {inputs} inputs kept: no crash\n"
    )
    return 0


def report(name: str, kind: str, data: bytes, told: str) -> None:
    """Say what is wrong, and with which bytes.

    Args:
        name: of the target.
        kind: what libFuzzer calls it: "crash", or "timeout" or "oom", which are not tried again.
        data: the input.
        told: what the fuzzer printed, for where there is no more to say.
    """
    # At once: whatever crashed the fuzzer may crash what follows as well.
    sys.stdout.write(f"{name}: {kind} on these {len(data)} bytes\n  {data.hex()}\n")
    sys.stdout.flush()
    found = failure(name, data) if kind == "crash" else None
    if found is None:
        sys.stdout.write(f"{told[-4000:]}\nnot seen, or not tried, without the fuzzer\n")
        return
    small = cut_down(name, data, found)
    sys.stdout.write(f"cut down to {len(small)} bytes:\n\n")
    replay(name, small)


def replay(name: str, data: bytes) -> int:
    """Run one input, and tell what happens."""
    status = 0
    try:
        if name == "session":
            from fuzz.session import session_target

            session_target(data, lambda line: sys.stdout.write(f"{line}\n"))
        else:
            target_of(name)(data)
        sys.stdout.write("no crash\n")
    except Exception:  # whatever it is, it is what was looked for
        sys.stdout.write(traceback.format_exc())
        status = 1
    sys.stdout.write(f"\n  {data!r}\n  fuzz.py {name} --replay {data.hex()}\n")
    return status


def failure(name: str, data: bytes) -> tuple[object, ...] | None:
    """Give what tells a crash from others: its type, where it was raised, and our claim."""
    try:
        target_of(name)(data)
    except Exception as error:  # as above
        last = traceback.extract_tb(error.__traceback__)[-2:]
        claim = str(error).partition(":")[0]
        return (type(error), claim, *((frame.filename, frame.lineno) for frame in last))
    return None


def cut_down(name: str, data: bytes, found: tuple[object, ...]) -> bytes:
    """Take bytes away, and make them zero, as long as the crash stays the same."""
    until = time.monotonic() + PATIENCE
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Understand the command line."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given[1:2] == ["--worker"]:
        worker(given[0], given[2:])
    parser = argparse.ArgumentParser(description="Look for bytes that cannot be taken.")
    parser.add_argument("target", choices=TARGETS)
    how_long = parser.add_mutually_exclusive_group()
    how_long.add_argument("--seconds", type=int, default=SECONDS, help="how long (20)")
    how_long.add_argument("--runs", type=int, help="how many inputs instead")
    parser.add_argument("--seed", type=int, help="of the fuzzer's chances")
    parser.add_argument("--verbose", action="store_true", help="print what libFuzzer says")
    parser.add_argument("--replay", metavar="HEX", help="run only these bytes")
    options = parser.parse_args(given)
    if options.replay is not None:
        return replay(options.target, bytes.fromhex(options.replay))
    amount = f"-max_total_time={options.seconds}"
    if options.runs is not None:
        amount = f"-runs={options.runs}"
    return fuzz(options.target, amount, options.seed, options.verbose)


if __name__ == "__main__":
    sys.exit(main())
