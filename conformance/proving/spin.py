"""Runs the model checker SPIN on a model, and reads what it found."""

from __future__ import annotations

import re
import resource
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

NEEDED: Final = {"spin": "spin", "gcc": "gcc"}
"""The programs, and the Debian package of each."""

MEMORY: Final = 6 << 10
"""MiB of one run. A machine for development has 8 GiB, and does something else, too."""

DEPTH: Final = 2_000_000
"""Steps of one path. A path visits many states before it comes back to one; a deeper one makes the
search incomplete, which is an error here."""

HASH: Final = 33
"""The binary logarithm of the bits of a bitstate search: 1 GiB of them."""

MINUTES: Final = 10
"""Of a bitstate search: it is worth as much as other runs by hand together."""

FAIRNESS: Final = 4
"""Bytes for fairness: enough for 14 processes. A connection on which two asks cross has 11."""


class MissingToolError(Exception):
    """A program that this needs is not there."""


class ModelError(Exception):
    """SPIN, the compiler or the search came to no result; the text says why."""


@dataclass(frozen=True, slots=True)
class Search:
    """How a model is searched.

    Attributes:
        is_live: for a cycle in which something waits indefinitely, and not for a failed assertion.
        is_bitstate: states are remembered by hashes alone, so that some may be missed.
        is_shortest: breadth first, for the shortest counterexample.
        is_long: worth a compiler that takes its time.
    """

    is_live: bool = False
    is_bitstate: bool = False
    is_shortest: bool = False
    is_long: bool = False


@dataclass(frozen=True, slots=True)
class SearchResult:
    """What a search found.

    Attributes:
        states: the states that it stored.
        transitions: the steps between them.
        depth: of the longest path.
        seconds: of the search alone.
        mebibytes: memory of the search.
        coverage: bits of the hash table for each state, of a bitstate search.
        problem: what was refuted; empty where nothing was.
        trail: the lines that the model prints on the way to the problem.
        taken: how often each row was taken, by its number.
    """

    states: int
    transitions: int
    depth: int
    seconds: float
    mebibytes: float
    coverage: float
    problem: str
    trail: tuple[str, ...]
    taken: dict[int, int]


def check_tools() -> None:
    """Check that the programs are there.

    Raises:
        MissingToolError: one is not; the text says how to install it.
    """
    missing = [NEEDED[name] for name in NEEDED if shutil.which(name) is None]
    if missing:
        packages = " ".join(missing)
        raise MissingToolError(f"no {' and no '.join(missing)}. Try: apt-get install {packages}")


def search(model: str, how: Search = Search()) -> SearchResult:
    """Search a model, and give what was found.

    Raises:
        ModelError: there is no result.
    """
    with tempfile.TemporaryDirectory(prefix="proving-") as name:
        folder = Path(name)
        (folder / "model.pml").write_text(model, "utf-8")
        _run(["spin", "-a", "model.pml"], folder)
        memory = "-DBITSTATE" if how.is_bitstate else "-DBFS" if how.is_shortest else "-DCOLLAPSE"
        # Fairness visits each state several times: time is scarce then, and not memory.
        flags = [f"-DNFAIR={FAIRNESS}"] if how.is_live else [memory, "-DSAFETY"]
        flags += ["-O2" if how.is_long else "-O0", "-w", f"-DMEMLIM={MEMORY}"]
        _run(["gcc", *flags, "-o", "pan", "pan.c"], folder)
        options = [f"-m{DEPTH}"]
        if how.is_live:
            options += ["-a", "-f"]
        if how.is_bitstate:
            options += [f"-w{HASH}", f"-Q{MINUTES}"]
        run = _run(["./pan", *options], folder)
        trail: tuple[str, ...] = ()
        if (folder / "model.pml.trail").exists():
            replay = _run(["./pan", "-r"], folder).stdout
            trail = tuple(
                line.strip() for line in replay.splitlines() if line.strip().startswith(("@", "+"))
            )
    return _read(run.stdout, run.stderr, trail, is_whole=not how.is_bitstate)


def _run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(  # noqa: S603  # the programs are named above
        command, cwd=folder, capture_output=True, text=True, check=False, preexec_fn=_limit
    )
    if done.returncode != 0 and command[0] != "./pan":
        raise ModelError(f"{command[0]}: {(done.stdout + done.stderr).strip()[:400]}")
    return done


def _limit() -> None:
    bytes_ = (MEMORY + 1024) << 20
    resource.setrlimit(resource.RLIMIT_AS, (bytes_, bytes_))


_ERRORS: Final = re.compile(r"depth reached (\d+), errors: (\d+)")
_NUMBERS: Final = {
    "states": re.compile(r"^\s*(\S+) states, stored", re.MULTILINE),
    "transitions": re.compile(r"^\s*(\S+) transitions", re.MULTILINE),
    "seconds": re.compile(r"pan: elapsed time (\S+) seconds"),
    "mebibytes": re.compile(r"^\s*(\S+)\s+total actual memory usage", re.MULTILINE),
    "coverage": re.compile(r"hash factor: (\S+)"),
}
_PROBLEM: Final = re.compile(r"^pan:\d+: (.*?) \(at depth", re.MULTILINE)
_ROW: Final = re.compile(r"^row (\d+) (\d+)$", re.MULTILINE)


def _read(text: str, errors: str, trail: tuple[str, ...], *, is_whole: bool = True) -> SearchResult:
    ended = _ERRORS.search(text)
    is_cut = "out of memory" in text or "search depth too small" in text
    if ended is None or (is_cut and is_whole):
        raise ModelError(f"the search did not end: {(text + errors).strip()[:400]}")
    found = {name: each.search(text) for name, each in _NUMBERS.items()}
    number = {name: float(each[1]) if each else 0.0 for name, each in found.items()}
    problem = _PROBLEM.search(text)
    return SearchResult(
        states=int(number["states"]),
        transitions=int(number["transitions"]),
        depth=int(ended[1]),
        seconds=number["seconds"],
        mebibytes=number["mebibytes"],
        coverage=number["coverage"],
        problem=problem[1] if problem else "",
        trail=trail,
        taken={int(row): int(count) for row, count in _ROW.findall(errors)},
    )
