"""Tries every conversation of two sessions, up to a number of commands.

``make explore`` runs it, or ``python -m neffos_protocol.exploration``.

Two sessions are joined by two queues. From each state every command that is not a misuse,
every delivery of a queue's first message and every decision of an application is tried, and
each state is visited once. Wherever nothing is under way, both ends must agree on what is
connected and joined, and no ask may be open; and neither may take the other for a violator.

A counterexample prints as a transcript.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import Final

from neffos_codec import Message, decode
from neffos_protocol import (
    Asked,
    AskWithdrawn,
    Change,
    ChangeAsked,
    Event,
    MisuseError,
    ProtocolViolation,
    Role,
    Session,
)

NAMESPACE: Final = "n"
ROOM: Final = "r"

OPERATIONS: Final = 4
"""Commands in one conversation: enough for both ends to cross each other twice."""

NAMES: Final = ("client", "server")
COMMANDS: Final = ("connect", "disconnect", "join", "leave", "ask")

STARTS: Final = {"open": (), "connected": ("connect",), "joined": ("connect", "join")}
"""Where a conversation begins, by the commands that led there."""


class Tokens:
    """Counts; what the tokens are does not matter, only which are equal."""

    __slots__ = ("number", "prefix")

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.number = 0

    def __call__(self) -> str:
        """Make the next one."""
        self.number += 1
        return f"{self.prefix}{self.number}"


@dataclass(slots=True)
class End:
    """One end: its session, the messages on their way to it, what its application has to do."""

    session: Session
    inbox: tuple[str | bytes, ...] = ()
    todo: tuple[Asked | ChangeAsked, ...] = ()


@dataclass(slots=True)
class SystemState:
    """Both ends, and how many commands were given."""

    ends: tuple[End, End]
    commands: int = 0


@dataclass(slots=True)
class Outcome:
    """What an exploration found.

    Attributes:
        states: states visited.
        transitions: steps tried between them.
        at_rest: states in which nothing was under way.
        seconds: how long it took.
        problem: what was wrong, or empty.
        trace: the steps that lead to the problem.
    """

    states: int = 0
    transitions: int = 0
    at_rest: int = 0
    seconds: float = 0.0
    problem: str = ""
    trace: list[str] = field(default_factory=list)


class FoundError(Exception):
    """A state that must not be."""


def explore(operations: int = OPERATIONS, *, start: str = "open", decides: bool = True) -> Outcome:
    """Visit every state that ``operations`` commands can lead to, and stop at a problem.

    Args:
        operations: the most commands in a conversation, of both ends together.
        start: where it begins, one of ``STARTS``.
        decides: whether the applications decide on what the peer asks for, both ways.
    """
    outcome = Outcome()
    began = time.perf_counter()
    first = opened(start, decides)
    seen = {key(first)}
    parents: dict[object, tuple[object, str]] = {}
    waiting = deque([(first, key(first))])
    while waiting and not outcome.problem:
        world, here = waiting.popleft()
        outcome.states += 1
        step = ""
        try:
            outcome.at_rest += check_rest(world)
            for step, take in steps(world, operations):
                after = fork(world)
                if not take(after):
                    continue
                outcome.transitions += 1
                there = key(after)
                if there not in seen:
                    seen.add(there)
                    parents[there] = (here, step)
                    waiting.append((after, there))
        except (FoundError, AssertionError) as found:
            outcome.problem = str(found)
            outcome.trace = trace(here, parents) + ([step] if step else [])
    outcome.seconds = time.perf_counter() - began
    return outcome


def opened(start: str, decides: bool) -> SystemState:
    """Give two sessions that have come as far as ``start`` says."""
    wanted = frozenset(Change) if decides else frozenset()
    client = Session(Role.CLIENT, tokens=Tokens("$"), decides=wanted)
    server = Session(Role.SERVER, tokens=Tokens(""), id="id", decides=wanted)
    world = SystemState((End(client), End(server)))
    client.start()
    settle(world)
    for command in STARTS[start]:
        give(client, command)
        settle(world)
    return world


def settle(world: SystemState) -> None:
    """Deliver everything, and let the applications say yes, until nothing is under way."""
    while True:
        for me in (0, 1):
            deliver(world, me)
        if not any(end.inbox or end.todo for end in world.ends):
            return
        for end, name in zip(world.ends, NAMES, strict=True):
            inbox, end.inbox = end.inbox, ()
            for payload in inbox:
                note(end, end.session.receive(payload), name)
            todo, end.todo = end.todo, ()
            for asked in todo:
                decide(end, asked, "yes", name)


def steps(
    world: SystemState, operations: int
) -> Iterator[tuple[str, Callable[[SystemState], bool]]]:
    """Give every step from here: what it is, and what takes it in a copy of the world.

    The latter tells whether the step could be taken: a misuse cannot.
    """
    for me in (0, 1):
        name = NAMES[me]
        end = world.ends[me]
        if end.inbox:
            yield f"{name} receives {end.inbox[0]!r}", partial(receive, me)
        for index, asked in enumerate(end.todo):
            for answer in ("yes", "no"):
                yield (
                    f"{name} answers {answer} to {short(asked)}",
                    partial(settle_one, me, index, answer),
                )
        if world.commands < operations:
            for command in COMMANDS:
                yield f"{name} calls {command}", partial(call, me, command)


def receive(me: int, world: SystemState) -> bool:
    """Deliver the first message on its way to one end."""
    end = world.ends[me]
    payload, end.inbox = end.inbox[0], end.inbox[1:]
    note(end, end.session.receive(payload), NAMES[me])
    deliver(world, me)
    return True


def settle_one(me: int, index: int, answer: str, world: SystemState) -> bool:
    """Let one end's application answer one thing that it was asked."""
    end = world.ends[me]
    asked = end.todo[index]
    end.todo = end.todo[:index] + end.todo[index + 1 :]
    decide(end, asked, answer, NAMES[me])
    deliver(world, me)
    return True


def call(me: int, command: str, world: SystemState) -> bool:
    """Let one end's application call a command, unless it is a misuse."""
    world.commands += 1
    try:
        give(world.ends[me].session, command)
    except MisuseError:
        return False
    deliver(world, me)
    return True


def give(session: Session, command: str) -> None:
    """Call one command of the application."""
    match command:
        case "connect":
            session.connect(NAMESPACE)
        case "disconnect":
            session.disconnect(NAMESPACE)
        case "join":
            session.join(NAMESPACE, ROOM)
        case "leave":
            session.leave(NAMESPACE, ROOM)
        case _:
            session.ask(NAMESPACE, "e")


def decide(end: End, asked: Asked | ChangeAsked, answer: str, name: str) -> None:
    """Answer one thing that the application was asked."""
    session = end.session
    if isinstance(asked, Asked):
        if answer == "yes":
            session.reply(asked)
        else:
            session.reply_error(asked, "no")
    elif answer == "yes":
        note(end, session.allow(asked), name)
    else:
        note(end, session.deny(asked, "no"), name)


def note(end: End, events: list[Event], name: str) -> None:
    """Remember what the application is asked, and stop at a violation."""
    for event in events:
        match event:
            case Asked() | ChangeAsked():
                end.todo = (*end.todo, event)
            case AskWithdrawn(number):
                end.todo = tuple(asked for asked in end.todo if asked.number != number)
            case ProtocolViolation():
                raise FoundError(f"the {name} takes a correct peer for a violator: {event}")


def deliver(world: SystemState, me: int) -> None:
    """Put what an end sends into the other's inbox."""
    world.ends[1 - me].inbox += tuple(world.ends[me].session.outgoing())


def check_rest(world: SystemState) -> bool:
    """Where nothing is under way, see that both ends agree; tell whether nothing is."""
    client, server = world.ends
    if client.inbox or server.inbox or client.todo or server.todo:
        return False
    for what, agreed in (("connected", True), ("pending_asks", False)):
        views = [getattr(end.session, what) for end in world.ends]
        if views[0] != views[1] or (views[0] and not agreed):
            raise FoundError(f"at rest, {what} is {set(views[0])} here and {set(views[1])} there")
    rooms = [end.session.joined(NAMESPACE) for end in world.ends]
    if rooms[0] != rooms[1]:
        raise FoundError(f"at rest, the rooms are {set(rooms[0])} here and {set(rooms[1])} there")
    return True


def fork(world: SystemState) -> SystemState:
    """Copy a world so that the copy can go on by itself."""
    client, server = world.ends
    return SystemState(
        (
            End(fork_session(client.session), client.inbox, client.todo),
            End(fork_session(server.session), server.inbox, server.todo),
        ),
        world.commands,
    )


def fork_session(session: Session) -> Session:
    """Copy a session with all that changes in it."""
    twin = copy.copy(session)
    twin._tokens = copy.copy(session._tokens)
    twin._spaces = {
        name: replace(space, rooms=dict(space.rooms) if space.rooms else None)
        for name, space in session._spaces.items()
    }
    twin._pending = {token: replace(ask) for token, ask in (session._pending or {}).items()}
    twin._settled = dict(session._settled) if session._settled else None
    twin._incoming = dict(session._incoming) if session._incoming else None
    twin._decisions = {
        place: type(judged)(judged.event, list(judged.asks))
        for place, judged in (session._decisions or {}).items()
    }
    return twin


def key(world: SystemState) -> tuple[object, ...]:
    """Tell states apart, but not by the numbers that tokens happen to have."""
    names: dict[str, int] = {}

    def renamed(token: str) -> int:
        return names.setdefault(token, len(names))

    def message(payload: str | bytes | Message) -> tuple[object, ...]:
        wait, *others = fields(payload)
        return (renamed(str(wait)) if wait else -1, *others)

    parts: list[object] = [world.commands]
    for end in world.ends:
        session = end.session
        spaces = tuple(
            (name, space.state, tuple(sorted((space.rooms or {}).items())))
            for name, space in session._spaces.items()
        )
        asks = tuple(
            (renamed(token), ask.change, ask.key, ask.is_superseded)
            for token, ask in (session._pending or {}).items()
        )
        judged = tuple(
            (place, tuple(map(message, decision.asks)))
            for place, decision in sorted((session._decisions or {}).items(), key=repr)
        )
        todo = tuple(
            message(asked.message) if isinstance(asked, Asked) else (asked.change,)
            for asked in end.todo
        )
        parts.append((spaces, asks, judged, todo, tuple(map(message, end.inbox))))
    return tuple(parts)


@lru_cache(maxsize=10_000)
def fields(payload: str | bytes | Message) -> tuple[object, ...]:
    """Read a frame; the same few are read over and over."""
    return (payload if isinstance(payload, Message) else decode(payload)).fields()


def trace(here: object, parents: dict[object, tuple[object, str]]) -> list[str]:
    """Give the steps that lead here from the beginning."""
    steps_back = []
    while here in parents:
        here, step = parents[here]
        steps_back.append(step)
    return steps_back[::-1]


def short(asked: Asked | ChangeAsked) -> str:
    """Name what an application is asked."""
    return "an event" if isinstance(asked, Asked) else f"a {asked.change}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Explore with and without deciding applications, and print the size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--operations", type=int, default=OPERATIONS, help="commands at most")
    operations: int = parser.parse_args(arguments).operations
    total = Outcome()
    for decides in (False, True):
        for start in STARTS:
            outcome = explore(operations, start=start, decides=decides)
            who = "deciding" if decides else "accepting"
            sys.stdout.write(
                f"{who} applications, {start}, {operations} commands: "
                f"{outcome.states} states, {outcome.transitions} transitions, "
                f"{outcome.at_rest} at rest, {outcome.seconds:.1f} s\n"
            )
            if outcome.problem:
                sys.stdout.write("\n".join([*outcome.trace, f"problem: {outcome.problem}", ""]))
                return 1
            total.states += outcome.states
            total.transitions += outcome.transitions
    sys.stdout.write(
        f"explored {total.states} states and {total.transitions} transitions: both ends agree "
        "at every rest, and no ask stays open\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
