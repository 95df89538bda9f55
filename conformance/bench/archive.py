"""Measures `neffos-wire check` on an archive: many compressed recordings, of any size together.

    python conformance/bench/archive.py [--quick|--gib 100] [--one] [--jobs 1,2]

The script writes the recordings, of one GiB each before they are compressed with Zstandard, and has
them checked. Half of the messages are asks and their replies, half are events of the server. Of the
bodies, 50 % have 100 to 256 bytes, 30 % up to 1 KiB, and 20 % up to 4 KiB. They are words, in
which Zstandard finds what it finds in text: nothing recurs within what it remembers. Sixteen
connections are open at a time, and each lasts for 260 messages.

With several numbers in ``--jobs`` and several rounds, the numbers take turns, so that other load
concerns all alike; the fastest run of each counts.

Exit codes: 0 measured, 1 a check did not pass.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

# The package ``bench`` is a folder of the codec too.
sys.path[0] = str(Path(__file__).resolve().parents[2] / "codec")

import msgspec  # noqa: E402
import zstandard  # noqa: E402
from rich.console import Console  # noqa: E402

from bench import harness  # noqa: E402
from neffos_conformance.wire.closing import ConnectionClosed  # noqa: E402
from neffos_conformance.wire.text import counted  # noqa: E402
from neffos_conformance.wire.transcript import Entry, header, values_of  # noqa: E402

SIZE: Final = 4.0
ROUNDS: Final = 3
QUICK_SIZE: Final = 0.25
"""GiB of all recordings, and how often they are checked: a minute, or some seconds."""

TWICE: Final = 1.8
"""The aim: so much faster is twice the number of processes."""

FILE_SIZE: Final = 1 << 30
"""Bytes of a recording before it is compressed: a service writes that in some hours."""

BLOCKS: Final = 8
"""Blocks that recur, of some 3 MiB each: two of them are more than Zstandard remembers."""

CONNECTIONS: Final = 16
EXCHANGES: Final = 64
"""Connections in a block, all of which begin and end in it, and what they exchange: each time an
ask, its reply, and two events."""

SIZES: Final = ((0.5, 100, 256), (0.3, 256, 1024), (0.2, 1024, 4096))
"""Bodies: the share of all, and the bounds of the sizes in bytes."""

LEVEL: Final = 3
"""What ``zstd`` does without being asked."""


def main() -> int:
    """Write an archive, check it, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_SIZE} GiB, once")
    parser.add_argument("--gib", type=float, help="the size of all recordings")
    parser.add_argument("--one", action="store_true", help="write a single recording")
    parser.add_argument("--jobs", default=str(os.cpu_count() or 1), help="processes, as 1,2")
    parser.add_argument("--rounds", type=int, help="how often each number of processes is tried")
    parser.add_argument("--folder", type=Path, help="write there, instead of in a temporary one")
    parser.add_argument("--markdown", action="store_true", help="changes nothing")
    arguments = parser.parse_args()
    console = Console(soft_wrap=True)
    size = int((arguments.gib or (QUICK_SIZE if arguments.quick else SIZE)) * (1 << 30))
    rounds = arguments.rounds or (1 if arguments.quick else ROUNDS)
    count = 1 if arguments.one else max(1, round(size / FILE_SIZE), min(size >> 26, 8))
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        paths = [Path(folder, f"{number:04}.jsonl.zst") for number in range(count)]
        began = time.perf_counter()
        with multiprocessing.get_context("spawn").Pool() as pool:
            written = pool.starmap(write, [(path, size // count) for path in paths], chunksize=1)
        plain, messages = map(sum, zip(*written, strict=True))
        packed = sum(path.stat().st_size for path in paths)
        console.print(
            f"written: {counted(count, 'recording')}, {messages:,} messages, {plain:,} bytes, "
            f"{packed:,} on the disk, in {time.perf_counter() - began:.0f} s"
        )
        totals = f"{counted(count, 'recording')}, {counted(messages, 'message')}"
        expected = f"{totals}: {count} pass"
        best: dict[int, tuple[float, float]] = {}
        for _ in range(rounds):
            for jobs in map(int, arguments.jobs.split(",")):
                wall, used, peak, said = check(folder, jobs)
                if not said.endswith(f"{expected}\n"):
                    console.print(f"the check did not pass: {said}", markup=False)
                    return 1
                console.print(
                    f"{jobs} processes: {wall:.1f} s, {used:.1f} s of processors, "
                    f"{messages / wall:,.0f} messages and {plain / wall / 1e6:,.0f} MB a second, "
                    f"{messages / used:,.0f} messages a second and core, "
                    f"peak {peak:.0f} MiB in the largest process"
                )
                before = best.get(jobs, (wall, used))
                best[jobs] = min(before[0], wall), min(before[1], used)
    first, *others = best
    for jobs in others:
        ratio, cost = best[first][0] / best[jobs][0], best[jobs][1] / best[first][1]
        console.print(
            f"{first} to {jobs} processes: {ratio:.2f} times as fast, with {cost:.2f} of the "
            f"processor time, which is {jobs / first / cost:.2f} times on idle cores"
            + (
                f"; at least {TWICE}: {harness.verdict(ratio >= TWICE)}"
                if jobs == 2 * first
                else ""
            )
        )
    return 0


def check(folder: str, jobs: int) -> tuple[float, float, float, str]:
    """Check an archive; give seconds, those of processors, MiB of memory, and what was printed."""
    program = Path(sys.executable).with_name("neffos-wire")
    command = [str(program), "check", folder, "--jobs", str(jobs)]
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        said = child.stdout.read() if child.stdout else ""
        _, status, after = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
    wall = time.perf_counter() - began
    return wall, after.ru_utime + after.ru_stime, after.ru_maxrss / 1024, said


# -------------------------------------------------------------------- the recordings


def write(path: Path, size: int) -> tuple[int, int]:
    """Write a recording of about so many bytes; give them, and the number of its messages."""
    source = random.Random(path.name)  # noqa: S311  # nothing depends on it
    text = words(source, 1 << 20)
    blocks = [block(source, text) for _ in range(BLOCKS)]
    place = count = written = 0
    packed = zstandard.ZstdCompressor(level=LEVEL)
    with path.open("wb") as file, packed.stream_writer(file) as stream:
        first = header(scenario="a load", client={"peer": "c"}, server={"peer": "s"}, how="bench")
        stream.write(msgspec.json.encode(first) + b"\n")
        while written < size:
            template, numbers, messages = blocks[place % BLOCKS]
            base = place * CONNECTIONS
            # Of each line, the whole seconds and the connection.
            data = template % tuple(each for number in numbers for each in (place, base + number))
            stream.write(data)
            written += len(data)
            count += messages
            place += 1
    return written, count


def block(source: random.Random, text: str) -> tuple[bytes, list[int], int]:
    """Give the lines of whole connections as a template, the connection of each, and a count.

    The count is that of the messages, without the ends of the connections.
    """
    left = {number: conversation(source, text) for number in range(1, CONNECTIONS + 1)}
    lines: list[bytes] = []
    numbers: list[int] = []
    while left:
        number = source.choice(list(left))
        from_client, content = next(left[number])
        if isinstance(content, ConnectionClosed):
            del left[number]
        values = values_of(Entry(0, 0.0, number, from_client, content))
        rest = msgspec.json.encode(values).partition(b',"from"')[2].replace(b"%", b"%%")
        time_of = len(lines) * 100  # millionths of a second
        lines.append(b'{"time":%%d.%06d,"connection":%%d,"from"%b\n' % (time_of, rest))
        numbers.append(number)
    return b"".join(lines), numbers, len(lines) - CONNECTIONS


def conversation(source: random.Random, text: str) -> Iterator[tuple[bool, str | ConnectionClosed]]:
    """Give what happens on a connection: who does it, and what."""
    yield True, "M"
    yield False, f"Aid-{source.getrandbits(64):x}"
    yield True, "$1;app;;_OnNamespaceConnect;0;0;"
    yield False, "$1;;;;;;"
    token = 1_700_000_000_000_000_000
    for _ in range(EXCHANGES):
        token += source.randrange(1 << 30)
        ask = f"${token};app;;echo;0;0;{body(source, text)}"
        yield True, ask
        yield False, ask
        yield False, f";app;;news;0;0;{body(source, text)}"
        yield False, f";app;;news;0;0;{body(source, text)}"
    yield True, ConnectionClosed(1000)


def body(source: random.Random, text: str) -> str:
    """Give a body of some size."""
    _, least, most = source.choices(SIZES, [share for share, _, _ in SIZES])[0]
    size = source.randrange(least, most)
    start = source.randrange(len(text) - size)
    return text[start : start + size]


def words(source: random.Random, size: int) -> str:
    """Give text of words, some of them frequent, with quotes, commas and other letters."""
    letters = "eeeetttaaooiinnsshhrrdlucmfwygpbvk"
    known = ["".join(source.choices(letters, k=source.randrange(2, 10))) for _ in range(4000)]
    known += ['"so"', "{}", "a,", "Zürich", "日本", "😀", "100%", "a\\b", "line\n"]
    weights = [1 / (place + 5) for place in range(len(known))]
    found = " ".join(source.choices(known, weights, k=size // 4))
    return found[:size]


if __name__ == "__main__":
    sys.exit(main())
