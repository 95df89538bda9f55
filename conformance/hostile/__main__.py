"""Runs the attacks, and prints what they cost others.

``make hostile``, or ``python -m hostile [--quick | --soak MINUTES] [NAME]`` in ``conformance``.
Exit status: 1 if something was lost or wrong. Latency and memory are printed, since they depend on
the machine.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from hostile import peers, tools  # noqa: F401  # register their attacks
from hostile.attacks import ATTACKS, Aim, memory
from neffos_asyncio import Client, Reconnect, dial
from neffos_conformance.wire import subprocesses

SECONDS: Final = 5.0
"""Seconds of an attack: long enough for queues and buffers to fill up to their bounds."""
QUICK_SECONDS: Final = 1.0
"""Seconds of an attack in CI, which runs some twenty of them."""
VICTIMS: Final = 2
"""Clients that ask beside an attack: more would load the server themselves."""
PAUSE: Final = 0.02
"""Seconds between two asks of a victim."""
SETTLE: Final = 8.0
"""Seconds after an attack, for memory to come back: more than ``Limits.grace``."""
QUICK_SETTLE: Final = 1.0
"""The same in CI: the memory after it may still hold what ``Limits.grace`` allows."""
ALLOCATOR: Final = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}
"""Has the C library return what Python frees, so that memory is what is held."""
OVERTIME: Final = 10.0
"""Seconds for an attack to end after its time: what it last sent may still be answered slowly."""
LATE: Final = "did not end in time"
"""The report on an attack that came to no end: its own check never ran."""


@dataclass(frozen=True, slots=True)
class AttackCost:
    """What an attack cost.

    Attributes:
        latencies: seconds that the victims' asks took.
        before: bytes of memory of the target before.
        peak: the most bytes while it was attacked.
        after: bytes when the attack was over for a while.
        lost: what was lost or wrong, or empty.
    """

    latencies: list[float]
    before: int
    peak: int
    after: int
    lost: str


async def _victim(url: str, latencies: list[float], lost: list[str], done: asyncio.Event) -> None:
    client: Client = await dial(url, reconnect=Reconnect())
    async with client:
        app = await client.connect("app")
        number = 0
        while not done.is_set():
            began = time.perf_counter()
            try:
                reply = await app.ask("echo", str(number), timeout=30)
                if reply.body != str(number):
                    lost.append("a victim got another's reply")
            except Exception as error:  # whatever it is, the victim did nothing wrong
                lost.append(f"a victim's ask: {type(error).__name__}")
                return
            latencies.append(time.perf_counter() - began)
            number += 1
            await asyncio.sleep(PAUSE)


async def measure(
    names: Sequence[str],
    target: str,
    seconds: float,
    settle: float,
    minutes: float = 0,
    *,
    is_first: bool = False,
) -> AttackCost:
    """Run attacks on one target, all at once.

    Each runs once before, unless ``is_first``: a process keeps the modules that it has loaded and a
    part of what it has allocated, so that only the memory of a target that was attacked already
    compares. With ``minutes``, each then runs again and again for so long.
    """
    python = sys.executable
    command = [python, "-m", "hostile.targets", target]
    with subprocesses.started(command, env={**os.environ, **ALLOCATOR}) as (pid, ready):
        latencies: list[float] = []
        lost: list[str] = []
        done = asyncio.Event()

        async def attack(name: str, end: float) -> None:
            is_begun = False
            while not is_begun or time.monotonic() < end:
                is_begun = True
                attacker = await asyncio.create_subprocess_exec(
                    *(python, "-m", "hostile", "--attack", name, "--url", ready["url"]),
                    *("--dials", ready.get("dials", ""), "--seconds", str(seconds)),
                    stdout=asyncio.subprocess.PIPE,
                )
                told = (await attacker.communicate())[0].decode().strip()
                if attacker.returncode or told:
                    lost.append(f"{name}: {told}" if told else f"{name} failed")

        if not is_first:
            await asyncio.gather(*(attack(name, 0) for name in names))
            await asyncio.sleep(settle)
        victims = [
            asyncio.create_task(_victim(ready["url"], latencies, lost, done))
            for _ in range(VICTIMS)
        ]
        await asyncio.sleep(5 * PAUSE)
        before = peak = memory(pid)
        latencies.clear()
        end = time.monotonic() + 60 * minutes
        attacks = asyncio.gather(*(attack(name, end) for name in names))
        while not attacks.done():
            await asyncio.sleep(PAUSE)
            peak = max(peak, memory(pid))
        await attacks
        done.set()
        await asyncio.gather(*victims)
        await asyncio.sleep(settle)
        told = (f"{text} ({number} times)" for text, number in Counter(lost).items())
        return AttackCost(latencies, before, peak, memory(pid), "; ".join(told))


async def measure_tool(name: str, seconds: float) -> AttackCost:
    """Run one attack on commands, which end by themselves and which nobody asks."""
    aim = Aim("", "", seconds)
    lost = await ATTACKS[name][0](aim)
    return AttackCost([], 0, max((each.peak for each in aim.tools), default=0), 0, lost or "")


async def _attack(arguments: argparse.Namespace) -> None:
    function, _ = ATTACKS[arguments.attack]
    told: str | None = LATE
    with suppress(TimeoutError):
        async with asyncio.timeout(arguments.seconds + OVERTIME):
            told = await function(Aim(arguments.url, arguments.dials, arguments.seconds))
    sys.stdout.write(told or "")


def _row(name: str, target: str, cost: AttackCost) -> str:
    median, most = (
        (statistics.median(cost.latencies), max(cost.latencies)) if cost.latencies else (0.0, 0.0)
    )
    sizes = [f"{size / (1 << 20):7.0f}" for size in (cost.before, cost.peak, cost.after)]
    return (
        f"{name:34} {target:7} {1000 * median:8.1f} {1000 * most:8.1f} {' '.join(sizes)}  "
        f"{cost.lost or '-'}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the attacks that are asked for."""
    parser = argparse.ArgumentParser(prog="hostile", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="only these attacks")
    quick = f"{QUICK_SECONDS:g} s for each attack, once, and one target for each"
    parser.add_argument("--quick", action="store_true", help=quick)
    parser.add_argument("--target", help="only this target")
    soak = "all attacks on the server at once, again and again, for so many minutes"
    parser.add_argument("--soak", type=float, metavar="MINUTES", help=soak)
    for inner in ("--attack", "--url", "--dials"):
        parser.add_argument(inner, default="", help=argparse.SUPPRESS)
    parser.add_argument("--seconds", type=float, help="of each attack")
    asked = parser.parse_args(arguments)
    seconds = asked.seconds or (QUICK_SECONDS if asked.quick else SECONDS)
    asked.seconds = seconds
    if asked.attack:
        asyncio.run(_attack(asked))
        return 0
    write = sys.stdout.write
    write(f"{'attack':34} {'target':7}   median  maximum  before    peak   after  lost\n")
    write(f"{'':42}       ms       ms     MiB     MiB     MiB\n")
    if asked.soak:
        names = [name for name, (_, targets) in ATTACKS.items() if "server" in targets]
        cost = asyncio.run(measure(names, "server", seconds, SETTLE, asked.soak))
        write(_row(f"{len(names)} attacks at once", "server", cost) + "\n")
        return bool(cost.lost)
    bad = 0
    for name, (_, targets) in ATTACKS.items():
        for target in targets[:1] if asked.quick and not asked.target else targets:
            if (asked.names and name not in asked.names) or asked.target not in (None, target):
                continue
            settle = QUICK_SETTLE if asked.quick else SETTLE
            if target == "tool":
                cost = asyncio.run(measure_tool(name, seconds))
            else:
                cost = asyncio.run(measure([name], target, seconds, settle, is_first=asked.quick))
            bad += bool(cost.lost)
            write(_row(name, target, cost) + "\n")
            sys.stdout.flush()
    return min(bad, 1)


if __name__ == "__main__":
    sys.exit(main())
