"""Bounded state-space exploration of two sessions, up to a number of commands.

``make explore`` runs it, or ``python -m neffos_protocol.exploration``.

Two queues connect two sessions. From each state it tries every command that is not a misuse, every
delivery of a queue's first message and every decision of an application. It visits each state
once. Where nothing is under way, both peers must agree on what is connected and joined, and no ask
may be pending. Neither may report a violation of the other.

It prints a counterexample as a list of steps.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import product
from typing import Final

from neffos_codec import Message, decode
from neffos_protocol import (
    Asked,
    AskWithdrawn,
    Change,
    ChangeAsked,
    Event,
    HandshakeAsked,
    MisuseError,
    ProtocolViolation,
    Role,
    Session,
)
from neffos_protocol.names import REQUEST_EVENT
from neffos_protocol.session_state import fork_session, membership_key

NAMESPACE: Final = "n"
ROOM: Final = "r"

OPERATIONS: Final = 4
"""Commands on one connection: enough for both peers to cross each other twice."""

NAMES: Final = ("client", "server")
COMMANDS: Final = {
    "connect": (NAMESPACE,),
    "disconnect": (NAMESPACE,),
    "join": (NAMESPACE, ROOM),
    "leave": (NAMESPACE, ROOM),
    "ask": (NAMESPACE, "e"),
}

STARTS: Final = {"open": (), "connected": ("connect",), "joined": ("connect", "join")}
"""Where the exploration begins, by the commands that lead there."""


EARLY: Final = 3
"""Commands around a handshake request: connect, join and ask."""

REQUESTS: Final = {
    command: f"${{}};{NAMESPACE};{ROOM if change.is_of_room else ''};{REQUEST_EVENT[change]};0;0;"
    for change in Change
    for command in [str(change)]
} | {"ask": f"${{}};{NAMESPACE};;e;0;0;"}
"""The frames of a client for each command; its number becomes the token."""


class Tokens:
    """Makes tokens by counting: only which of them are equal matters."""

    __slots__ = ("number", "prefix")

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.number = 0

    def __call__(self) -> str:
        """Make the next one."""
        self.number += 1
        return f"{self.prefix}{self.number}"


@dataclass(slots=True)
class SystemPeer:
    """One peer: its session, the messages on their way to it, what its application has to do."""

    session: Session
    inbox: list[str | bytes] = field(default_factory=list)
    todo: list[Asked | ChangeAsked] = field(default_factory=list)


@dataclass(slots=True)
class SystemState:
    """Both peers, and how many commands were given."""

    peers: tuple[SystemPeer, SystemPeer]
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
    """A state that violates a property."""


def explore(operations: int = OPERATIONS, *, start: str = "open", decides: bool = True) -> Outcome:
    """Visit every state that ``operations`` commands can lead to, and stop at a problem.

    Args:
        operations: the most commands in a conversation, of both peers together.
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
        system, here = waiting.popleft()
        outcome.states += 1
        step = ""
        try:
            outcome.at_rest += check_rest(system)
            for step, me, take in steps(system, operations):
                after = fork(system, me)
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


def explore_early(length: int = EARLY) -> Outcome:
    """Let a client send commands around its handshake request, without waiting for any reply.

    The server's application decides on everything. The replies, and what is connected and joined in
    the end, must be those of a client that waits for each reply (EV-1, HS-13).
    """
    outcome = Outcome()
    began = time.perf_counter()
    for commands in product(REQUESTS, repeat=length):
        frames = [REQUESTS[each].format(number) for number, each in enumerate(commands)]
        for words in product(("yes", "no"), repeat=length):
            right = answered(["M", *frames], words, is_patient=True)
            for place in range(length + 1):
                outcome.states += 1
                if answered([*frames[:place], "M", *frames[place:]], words) != right:
                    outcome.problem = f"out of order, with the request at {place}: {words}"
                    outcome.trace = list(commands)
                    return outcome
    outcome.seconds = time.perf_counter() - began
    return outcome


def answered(
    payloads: Sequence[str], words: Sequence[str], *, is_patient: bool = False
) -> tuple[object, ...]:
    """Give what a server replies whose application decides with these words, and its memberships.

    Args:
        payloads: what the client sends.
        words: "yes" or "no" for each thing to decide.
        is_patient: whether the application decides before the next payload arrives.
    """
    wanted = frozenset(Change)
    session = Session(
        Role.SERVER, tokens=Tokens(""), id="id", decides=wanted, decides_handshake=True
    )
    peer, answers = SystemPeer(session), iter(words)

    def decide_all() -> None:
        while peer.todo:
            decide(peer, peer.todo.pop(0), next(answers, "yes"), "server")

    is_asked = False
    for payload in payloads:
        events = session.receive(payload)
        is_asked = is_asked or HandshakeAsked() in events
        note(peer, events, "server")
        if is_patient and is_asked:
            if not session.is_open:
                note(peer, session.accept(), "server")
            decide_all()
    if not session.is_open:
        note(peer, session.accept(), "server")
    decide_all()
    return sorted(map(str, session.outgoing())), session.connected, session.joined(NAMESPACE)


def opened(start: str, decides: bool) -> SystemState:
    """Give two sessions that have come as far as ``start`` says."""
    wanted = frozenset(Change) if decides else frozenset()
    client = Session(Role.CLIENT, tokens=Tokens("$"), decides=wanted)
    server = Session(Role.SERVER, tokens=Tokens(""), id="id", decides=wanted)
    system = SystemState((SystemPeer(client), SystemPeer(server)))
    client.start()
    settle(system)
    for command in STARTS[start]:
        give(client, command)
        settle(system)
    return system


def settle(system: SystemState) -> None:
    """Deliver everything, and let the applications say yes, until nothing is under way."""
    for me in (0, 1):
        deliver(system, me)
    while any(peer.inbox or peer.todo for peer in system.peers):
        for me, peer in enumerate(system.peers):
            while peer.inbox:
                receive(me, system)
            while peer.todo:
                answer(me, 0, "yes", system)


def steps(
    system: SystemState, operations: int
) -> Iterator[tuple[str, int, Callable[[SystemState], bool]]]:
    """Give every step from here: what it is, the peer that takes it, and what takes it in a fork.

    The last one says whether the step could be taken: a misuse cannot.
    """
    for me, peer in enumerate(system.peers):
        name = NAMES[me]
        if peer.inbox:
            yield f"{name} receives {peer.inbox[0]!r}", me, partial(receive, me)
        for index, asked in enumerate(peer.todo):
            for word in ("yes", "no"):
                step = f"{name} answers {word} to {short(asked)}"
                yield step, me, partial(answer, me, index, word)
        if system.commands < operations:
            for command in COMMANDS:
                yield f"{name} calls {command}", me, partial(call, me, command)


def receive(me: int, system: SystemState) -> bool:
    """Deliver the first message on its way to one peer."""
    peer = system.peers[me]
    payload, *peer.inbox = peer.inbox
    note(peer, peer.session.receive(payload), NAMES[me])
    return deliver(system, me)


def answer(me: int, index: int, word: str, system: SystemState) -> bool:
    """Let one peer's application answer one thing that it has to decide."""
    peer = system.peers[me]
    decide(peer, peer.todo.pop(index), word, NAMES[me])
    return deliver(system, me)


def call(me: int, command: str, system: SystemState) -> bool:
    """Let one peer's application call a command, unless it is a misuse."""
    system.commands += 1
    try:
        give(system.peers[me].session, command)
    except MisuseError:
        return False
    return deliver(system, me)


def give(session: Session, command: str) -> None:
    """Call one command of the application."""
    getattr(session, command)(*COMMANDS[command])


def decide(peer: SystemPeer, asked: Asked | ChangeAsked, answer: str, name: str) -> None:
    """Answer one thing that the application was asked."""
    session, is_yes = peer.session, answer == "yes"
    if isinstance(asked, Asked):
        events = session.reply(asked) if is_yes else session.reply_error(asked, "no")
    else:
        events = session.allow(asked) if is_yes else session.deny(asked, "no")
    note(peer, events, name)


def note(peer: SystemPeer, events: list[Event], name: str) -> None:
    """Remember what the application has to decide, and stop at a violation."""
    for event in events:
        match event:
            case Asked() | ChangeAsked():
                peer.todo.append(event)
            case AskWithdrawn(number):
                peer.todo = [asked for asked in peer.todo if asked.number != number]
            case ProtocolViolation():
                raise FoundError(f"the {name} reports a violation of a correct peer: {event}")


def deliver(system: SystemState, me: int) -> bool:
    """Put what a peer sends into the other's inbox."""
    system.peers[1 - me].inbox += system.peers[me].session.outgoing()
    return True


def check_rest(system: SystemState) -> bool:
    """Where nothing is under way, check that both peers agree; give whether nothing is."""
    client, server = system.peers
    if client.inbox or server.inbox or client.todo or server.todo:
        return False
    for what, agreed in (("connected", True), ("pending_asks", False)):
        views = [getattr(peer.session, what) for peer in system.peers]
        if views[0] != views[1] or (views[0] and not agreed):
            raise FoundError(f"at rest, {what} is {set(views[0])} here and {set(views[1])} there")
    rooms = [peer.session.joined(NAMESPACE) for peer in system.peers]
    if rooms[0] != rooms[1]:
        raise FoundError(f"at rest, the rooms are {set(rooms[0])} here and {set(rooms[1])} there")
    return True


def fork(system: SystemState, me: int) -> SystemState:
    """Copy a system so that a step of one peer can be taken in the copy.

    Such a step changes the session of no other peer, so that both systems share that one.
    """
    client, server = peers = [
        SystemPeer(peer.session, [*peer.inbox], [*peer.todo]) for peer in system.peers
    ]
    peers[me].session = fork_session(peers[me].session)
    return SystemState((client, server), system.commands)


def key(system: SystemState) -> tuple[object, ...]:
    """Identify a state, whatever numbers its tokens have."""
    names: dict[str, int] = {}

    def renamed(token: str) -> int:
        return names.setdefault(token, len(names))

    def message(payload: str | bytes | Message) -> tuple[object, ...]:
        wait, *others = fields(payload)
        return (renamed(str(wait)) if wait else -1, *others)

    parts: list[object] = [system.commands]
    for peer in system.peers:
        session = peer.session
        todo = tuple(
            message(asked.message) if isinstance(asked, Asked) else (asked.change,)
            for asked in peer.todo
        )
        state = membership_key(session, renamed, message)
        parts.append((*state, todo, tuple(map(message, peer.inbox))))
    return tuple(parts)


@lru_cache(maxsize=10_000)
def fields(payload: str | bytes | Message) -> tuple[object, ...]:
    """Decode a frame; the same few occur again and again."""
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
    length = min(EARLY, operations)
    early = explore_early(length)
    sys.stdout.write(
        f"{length} commands around the handshake: {early.states} ways, {early.seconds:.1f} s\n"
    )
    if early.problem:
        sys.stdout.write("\n".join([*early.trace, f"problem: {early.problem}", ""]))
        return 1
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
        f"explored {total.states} states and {total.transitions} transitions: both peers agree "
        "wherever nothing is under way, and no ask stays pending\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
