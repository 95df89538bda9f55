"""Measures what a session costs: its time over the codec's, its memory, and a broadcast.

    python protocol/bench/session.py [--quick] [--markdown] [--json FILE]

Times are taken on one core, in rounds that take turns, so that what disturbs the machine for a
while disturbs both sides of a ratio. Of each round the best sample counts, since whatever else
runs only adds time; a figure is the median of all rounds. Memory is what ``tracemalloc`` sees.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from itertools import repeat
from pathlib import Path
from statistics import median, quantiles
from time import perf_counter_ns
from typing import Final
from unittest.mock import patch

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from neffos_codec import COMPILED, Message, WaitTokens, decode, encode
from neffos_protocol import Role, Session, prepare, token_of
from neffos_protocol import session as session_module
from neffos_protocol._asks import SETTLED_TOKENS
from neffos_protocol.limits import DEFAULT_LIMITS

NAMESPACE: Final = "chat"
ROOM: Final = "room1"

FRAME_SIZE: Final = 100
"""Characters of a measured frame: that of the codec's benchmark."""

HEADS: Final = {
    "an event": f";{NAMESPACE};;message;0;0;",
    "an event in a room": f";{NAMESPACE};{ROOM};message;0;0;",
    "an ask": f"$1790000000000000000;{NAMESPACE};;message;0;0;",
}

CALLS: Final = 1000
"""Receptions in one sample, by a session of its own: as many asks as one may leave open."""

MOST_TIME: Final = 4.0
"""Times that of ``decode``: a session looks up a namespace and makes an event. More would say
that something in the way of each message is too roundabout."""

MOST_SESSION: Final = 2048
"""Bytes of an open session that nothing happens on: a process holds a million in 2 GiB, and
the connection below each takes several times that."""

MOST_ROOM: Final = 300
"""Bytes of a joined room: its name, which takes a third of that, and its place in a table."""

_WIDTH: Final = 140
"""Characters that a line of the table needs."""


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table.

    Attributes:
        what: what was measured.
        value: how much it is, in ``unit``.
        unit: of the value, and of the aim.
        aim: the most that it should be; ``None`` where there is no aim.
        details: what it was computed from, for people.
        rounds: the figure in each round, where there were several.
    """

    what: str
    value: float
    unit: str
    aim: float | None = None
    details: str = ""
    rounds: list[float] = field(default_factory=list)

    @property
    def shown(self) -> str:
        """The value with its unit, as fine as it is good for."""
        return _with_unit(self.value, self.unit)

    @property
    def shown_aim(self) -> str:
        """The aim with its unit."""
        return "" if self.aim is None else f"at most {_with_unit(self.aim, self.unit)}"

    @property
    def verdict(self) -> str:
        """Whether the aim is met."""
        if self.aim is None:
            return ""
        return "met" if self.value <= self.aim else "MISSED"


def _with_unit(value: float, unit: str) -> str:
    return f"{value:.2f} x" if unit == "x" else f"{value:,.0f} {unit}".rstrip()


# ------------------------------------------------------------ sessions to measure

_TOKENS: Final = WaitTokens(client=False, clock=time.time_ns, entropy=os.urandom)


def opened(id_: str) -> Session:
    """Give a server's session that has let a client in."""
    session = Session(Role.SERVER, tokens=_TOKENS, id=id_)
    session.receive("M")
    session.outgoing()
    return session


def enter(session: Session, event: str, room: str = "") -> None:
    """Let the client connect the namespace, or join a room."""
    session.receive(encode(Message("$1", NAMESPACE, room, event)))
    session.outgoing()


def busy() -> Session:
    """Give a session with the namespace connected and the room joined."""
    session = opened("id")
    enter(session, "_OnNamespaceConnect")
    enter(session, "_OnRoomJoin", ROOM)
    if ROOM not in session.joined(NAMESPACE):
        raise AssertionError("the session to be measured is not in its room")
    return session


# ------------------------------------------------------------ time


def spent(call: Callable[[str], object], payload: str) -> float:
    """Give the nanoseconds of one call, from many; the loop is part of it."""
    arguments = repeat(payload, CALLS)
    gc.collect()
    start = perf_counter_ns()
    for argument in arguments:
        call(argument)
    return (perf_counter_ns() - start) / CALLS


def middle_half(values: list[float], form: str) -> str:
    """Say how far apart the rounds are, but for a quarter of them at either end."""
    low, _, high = quantiles(values, n=4)
    return f"half of {len(values)} rounds: {low:{form}} to {high:{form}}"


def times(rounds: int, samples: int) -> Iterator[Figure]:
    """Measure ``receive`` over ``decode`` for each frame."""
    payloads = {what: head.ljust(FRAME_SIZE, "x") for what, head in HEADS.items()}
    for what, payload in payloads.items():
        events = busy().receive(payload)
        if [type(event).__name__ for event in events] != ["Asked" if "ask" in what else "Received"]:
            raise AssertionError(f"{what} is not received as one: {events}")
    found: dict[str, list[tuple[float, float]]] = {what: [] for what in payloads}
    for _ in range(rounds):
        for what, payload in payloads.items():
            pairs = [
                (spent(decode, payload), spent(busy().receive, payload)) for _ in range(samples)
            ]
            found[what].append((min(pair[0] for pair in pairs), min(pair[1] for pair in pairs)))
    for what, pairs in found.items():
        ratios = [receive / decoding for decoding, receive in pairs]
        decoding, receive = (median(column) for column in zip(*pairs, strict=True))
        yield Figure(
            f"receive over decode, {what}",
            median(ratios),
            "x",
            MOST_TIME,
            f"{receive:.0f} ns over {decoding:.0f} ns; {middle_half(ratios, '.2f')}",
            ratios,
        )


# ------------------------------------------------------------ memory


@contextmanager
def traced() -> Iterator[Callable[[], int]]:
    """Trace allocations; what this gives tells how many bytes are held of what was made since."""
    gc.collect()
    tracemalloc.start()
    start = tracemalloc.get_traced_memory()[0]

    def held() -> int:
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - start

    try:
        yield held
    finally:
        tracemalloc.stop()


def memory(number: int) -> Iterator[Figure]:
    """Measure sessions and rooms, ``number`` of each."""
    sessions: list[Session | None] = [None] * number
    with traced() as held:
        for index in range(number):
            sessions[index] = opened(f"{index:032x}")
        total = held()
    yield Figure(
        "an idle open session",
        total / number,
        "B",
        MOST_SESSION,
        f"{number:,} sessions, each with an id of 32 characters of its own",
    )

    with traced() as held:
        for session in filter(None, sessions):
            enter(session, "_OnNamespaceConnect")
        total = held()
    yield Figure("  and one connected namespace", total / number, "B", details="in each of them")

    # The names come with payloads, so that each is a string of its own.
    with traced() as held:
        for index, session in enumerate(filter(None, sessions)):
            enter(session, "_OnRoomJoin", f"room-{index:09}")
        total = held()
    yield Figure(
        "a room, alone in its session", total / number, "B", MOST_ROOM, "14 characters of name"
    )

    full = DEFAULT_LIMITS.rooms - 1
    some = [session for session in sessions[: -(-number // full)] if session]
    with traced() as held:
        for index in range(number):
            enter(some[index // full], "_OnRoomJoin", f"more-{index:09}")
        total = held()
    joined = sum(len(session.joined(NAMESPACE)) for session in some) - len(some)
    if joined != number:
        raise AssertionError(f"{joined} rooms were joined, not {number}")
    yield Figure(
        "a room among many",
        total / number,
        "B",
        MOST_ROOM,
        f"{number:,} rooms, up to {full + 1:,} in a session",
    )


def asking(number: int) -> Figure:
    """Measure what asks of its own, all answered, leave behind in a session."""
    sessions = [busy() for _ in range(number)]
    asks = SETTLED_TOKENS + 1
    with traced() as held:
        for session in sessions:
            for _ in range(asks):
                token = token_of(session.ask(NAMESPACE, "message"))
                session.outgoing()
                session.receive(f"{token};;;;;;")
        total = held()
    return Figure(
        "what a session's own asks leave behind",
        total / number,
        "B",
        details=f"{asks} of them, all answered",
    )


# ------------------------------------------------------------ broadcast


def broadcast(number: int, rounds: int) -> Iterator[Figure]:
    """Send one event to ``number`` sessions."""
    sessions = [busy() for _ in range(number)]
    message = Message(namespace=NAMESPACE, room=ROOM, event="message", body="x" * (FRAME_SIZE - 29))

    with patch.object(session_module, "encode", wraps=encode) as counted:
        prepared = prepare(message)
        for session in sessions:
            session.send_prepared(prepared)
    sent = {id(payload) for session in sessions for payload in session.outgoing()}
    if len(sent) != 1:
        raise AssertionError(f"{len(sent)} payloads for one broadcast")
    yield Figure(
        f"encodes in a broadcast to {number:,}",
        counted.call_count,
        "",
        1,
        "and one payload for all of them",
    )

    found: list[float] = []
    for _ in range(rounds):
        gc.collect()
        start = perf_counter_ns()
        prepared = prepare(message)
        for session in sessions:
            session.send_prepared(prepared)
        found.append((perf_counter_ns() - start) / number)
        for session in sessions:
            session.outgoing()
    yield Figure(
        "a broadcast, for each session",
        median(found),
        "ns",
        details=middle_half(found, ".0f"),
        rounds=found,
    )


# ------------------------------------------------------------ the report


def pin() -> str:
    """Put this process on one core; say which."""
    if not hasattr(os, "sched_setaffinity"):
        return "not pinned: this system has no call for it"
    core = max(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {core})
    return f"pinned to core {core}"


def show(figures: list[Figure], console: Console) -> None:
    """Print the table to a terminal."""
    # Rather a table that wraps in a narrow terminal than one that is squeezed.
    console.width = max(console.width, _WIDTH)
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
    table.add_column("", no_wrap=True)
    for name in ("measured", "aim", ""):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("", no_wrap=True)
    for each in figures:
        table.add_row(each.what, each.shown, each.shown_aim, each.verdict, each.details)
    console.print(table, markup=False)


def markdown(figures: list[Figure]) -> str:
    """Give the table as Markdown."""
    lines = ["| | measured | aim | | |", "|---|---:|---:|---|---|"]
    lines += [
        f"| {each.what} | {each.shown} | {each.shown_aim} | {each.verdict} | {each.details} |"
        for each in figures
    ]
    return "\n".join([*lines, ""])


def verdicts(figures: list[Figure]) -> Iterator[str]:
    """Give a line on each aim."""
    for each in figures:
        if each.aim is not None:
            yield f"{each.verdict}: {each.what.strip()} {each.shown}, {each.shown_aim}"


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure what a session costs.")
    parser.add_argument("--quick", action="store_true", help="less of everything, rougher figures")
    parser.add_argument("--markdown", action="store_true", help="print the table as Markdown")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write every round there too")
    options = parser.parse_args()

    place = pin()
    figures: list[Figure] = []
    with Console(stderr=True).status("Measuring"):
        figures += times(*((11, 3) if options.quick else (101, 5)))
        figures += broadcast(10_000, 5 if options.quick else 41)
        figures += memory(10_000 if options.quick else 100_000)
        figures.append(asking(100 if options.quick else 1000))
    told = {
        "codec": "compiled" if COMPILED else "interpreted",
        "Python": platform.python_version(),
        "system": f"{platform.machine()}, {place}",
        "date": time.strftime("%Y-%m-%d", time.gmtime()),
        # Well above 1, something else was running too: better measured again.
        "load": f"{os.getloadavg()[0]:.1f}",
    }
    if options.json:
        document = {"told": told, "figures": [asdict(each) for each in figures]}
        options.json.write_text(json.dumps(document, indent=1) + "\n")
    console = Console(highlight=False)
    if options.markdown:
        console.print(markdown(figures), markup=False, soft_wrap=True)
    else:
        show(figures, console)
    for line in verdicts(figures):
        console.print(line, markup=False, soft_wrap=True)
    console.print("; ".join(f"{name} {value}" for name, value in told.items()), soft_wrap=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
