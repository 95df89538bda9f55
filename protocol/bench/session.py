"""Measures what a session costs: its time over the codec's, its memory, and a broadcast.

    python protocol/bench/session.py [--quick] [--markdown] [--json FILE]

Times are taken on one core, in rounds that take turns, so that what disturbs the machine for a
while disturbs both sides of a ratio. Of each round the best sample counts, since whatever else
runs only adds time; a figure is the median of all rounds. Memory is what ``tracemalloc`` sees.
"""

from __future__ import annotations

import gc
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
from statistics import median
from time import perf_counter_ns
from typing import Final
from unittest.mock import patch

# The package ``bench`` is a folder of the codec.
sys.path[0] = str(Path(__file__).resolve().parents[2] / "codec")

from rich.console import Console  # noqa: E402

from bench import harness  # noqa: E402
from neffos_codec import COMPILED, Message, WaitTokens, encode  # noqa: E402
from neffos_codec._decode import decode as pure_decode  # noqa: E402
from neffos_protocol import Role, Session, prepare, token_of  # noqa: E402
from neffos_protocol import session as session_module  # noqa: E402
from neffos_protocol._asks import SETTLED_TOKENS  # noqa: E402
from neffos_protocol.limits import DEFAULT_LIMITS  # noqa: E402

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
"""Times that of ``decode`` of the pure codec, whichever one the session uses: a session looks up a
namespace and makes an event. More would say that something in the way of each message is too
roundabout."""

MOST_SESSION: Final = 2048
"""Bytes of an open session that nothing happens on: a process holds a million in 2 GiB, and
the connection below each takes several times that."""

MOST_ROOM: Final = 300
"""Bytes of a joined room: its name, which takes a third of that, and its place in a table."""


@dataclass(frozen=True, slots=True)
class SessionFigure:
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

    def cells(self) -> list[str]:
        """Give its line: the value as fine as it is good for, the aim, and whether it is met."""
        aim = met = ""
        if self.aim is not None:
            aim, met = f"at most {self._shown(self.aim)}", harness.verdict(self.value <= self.aim)
        return [self.what, self._shown(self.value), aim, met, self.details]

    def _shown(self, value: float) -> str:
        return f"{value:.2f} x" if self.unit == "x" else f"{value:,.0f} {self.unit}".rstrip()


def of_rounds(
    what: str, rounds: list[float], unit: str, aim: float | None = None, details: str = ""
) -> SessionFigure:
    """Give the figure that is the median of all rounds."""
    form = ".2f" if unit == "x" else ".0f"
    half = f"half of {len(rounds)} rounds: {harness.middle_half(rounds, form)}"
    return SessionFigure(what, median(rounds), unit, aim, f"{details}{half}", rounds)


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


def times(rounds: int, samples: int) -> Iterator[SessionFigure]:
    """Measure ``receive`` over the pure ``decode`` for each frame."""
    payloads = {what: head.ljust(FRAME_SIZE, "x") for what, head in HEADS.items()}
    for what, payload in payloads.items():
        events = busy().receive(payload)
        if [type(event).__name__ for event in events] != ["Asked" if "ask" in what else "Received"]:
            raise AssertionError(f"{what} is not received as one: {events}")
    found: dict[str, list[tuple[float, float]]] = {what: [] for what in payloads}
    for _ in range(rounds):
        for what, payload in payloads.items():
            pairs = [
                (spent(pure_decode, payload), spent(busy().receive, payload))
                for _ in range(samples)
            ]
            found[what].append((min(pair[0] for pair in pairs), min(pair[1] for pair in pairs)))
    for what, pairs in found.items():
        ratios = [receive / decoding for decoding, receive in pairs]
        decoding, receive = (median(column) for column in zip(*pairs, strict=True))
        details = f"{receive:.0f} ns over {decoding:.0f} ns; "
        yield of_rounds(f"receive over decode, {what}", ratios, "x", MOST_TIME, details)


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


def held_by(number: int, make: Callable[[int], object]) -> float:
    """Give the bytes that stay of each of so many calls, which are numbered."""
    with traced() as held:
        for index in range(number):
            make(index)
        return held() / number


def memory(number: int) -> Iterator[SessionFigure]:
    """Measure sessions and rooms, ``number`` of each."""
    sessions = [opened("id")] * number
    size = held_by(number, lambda index: sessions.__setitem__(index, opened(f"{index:032x}")))
    about = f"{number:,} sessions, each with an id of 32 characters of its own"
    yield SessionFigure("an idle open session", size, "B", MOST_SESSION, about)

    size = held_by(number, lambda index: enter(sessions[index], "_OnNamespaceConnect"))
    yield SessionFigure("  and one connected namespace", size, "B", details="in each of them")

    # The names come with payloads, so that each is a string of its own.
    size = held_by(number, lambda index: enter(sessions[index], "_OnRoomJoin", f"room-{index:09}"))
    about = "14 characters of name"
    yield SessionFigure("a room, alone in its session", size, "B", MOST_ROOM, about)

    full = DEFAULT_LIMITS.rooms - 1
    some = sessions[: -(-number // full)]
    size = held_by(
        number, lambda index: enter(some[index // full], "_OnRoomJoin", f"more-{index:09}")
    )
    joined = sum(len(session.joined(NAMESPACE)) for session in some) - len(some)
    if joined != number:
        raise AssertionError(f"{joined} rooms were joined, not {number}")
    about = f"{number:,} rooms, up to {full + 1:,} in a session"
    yield SessionFigure("a room among many", size, "B", MOST_ROOM, about)


def asking(number: int) -> SessionFigure:
    """Measure what asks of its own, all answered, leave behind in a session."""
    sessions = [busy() for _ in range(number)]
    asks = SETTLED_TOKENS + 1

    def ask(index: int) -> None:
        session = sessions[index]
        for _ in range(asks):
            token = token_of(session.ask(NAMESPACE, "message"))
            session.outgoing()
            session.receive(f"{token};;;;;;")

    what = "what a session's own asks leave behind"
    return SessionFigure(what, held_by(number, ask), "B", details=f"{asks} of them, all answered")


# ------------------------------------------------------------ broadcast


def broadcast(number: int, rounds: int) -> Iterator[SessionFigure]:
    """Send one event to ``number`` sessions."""
    sessions = [busy() for _ in range(number)]
    message = Message(namespace=NAMESPACE, room=ROOM, event="message", body="x" * (FRAME_SIZE - 29))

    def send() -> None:
        prepared = prepare(message)
        for session in sessions:
            session.send_prepared(prepared)

    with patch.object(session_module, "encode", wraps=encode) as counted:
        send()
    sent = {id(payload) for session in sessions for payload in session.outgoing()}
    if len(sent) != 1:
        raise AssertionError(f"{len(sent)} payloads for one broadcast")
    what, about = f"encodes in a broadcast to {number:,}", "and one payload for all of them"
    yield SessionFigure(what, counted.call_count, "", 1, about)

    found: list[float] = []
    for _ in range(rounds):
        gc.collect()
        start = perf_counter_ns()
        send()
        found.append((perf_counter_ns() - start) / number)
        for session in sessions:
            session.outgoing()
    yield of_rounds("a broadcast, for each session", found, "ns")


def main() -> int:
    """Measure and print."""
    options = harness.arguments("Measure what a session costs.").parse_args()
    place = harness.pin()
    figures: list[SessionFigure] = []
    with Console(stderr=True).status("Measuring"):
        figures += times(*((11, 3) if options.quick else (101, 5)))
        figures += broadcast(10_000, 5 if options.quick else 41)
        figures += memory(10_000 if options.quick else 100_000)
        figures.append(asking(100 if options.quick else 1000))
    told = {
        "codec": "compiled" if COMPILED else "interpreted",
        "Python": platform.python_version(),
        **harness.machine(place),
    }
    lines = [each.cells() for each in figures]
    verdicts = [
        f"{met}: {what.strip()} {value}, {aim}" for what, value, aim, met, _ in lines if aim
    ]
    harness.report(
        options,
        {"told": told, "figures": [asdict(each) for each in figures]},
        [["", "measured", "aim", "", ""], *lines],
        [*verdicts, harness.provenance_line(told)],
        texts=(0, 3, 4),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
