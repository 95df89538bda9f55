"""Mutation testing of the session vectors: which mutants they kill, without I/O.

The mutants are those whose fault is a change of messages alone. A session in memory takes the place
of the server or the client that the fault is seeded in, and the hooks act on its payloads.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import fields
from typing import Any, Final, cast

from mutation.client_faults import ClientContext, ClientFault
from mutation.hooks import OWN_TOKEN, Hooks, MessageHooks, payloads
from mutation.registry import BANK, Mutant
from neffos_conformance.reference.embedded import NOTHING, Serve
from neffos_conformance.wire.connection import ConnectionClosed
from neffos_protocol.events import ChangeAsked
from neffos_protocol.session_vectors import (
    Payload,
    Played,
    SessionPlayer,
    Step,
    Vector,
    load_vectors,
    payload_of,
    play,
)

MESSAGE_HOOKS: Final = frozenset(
    {"receive", "send", "receive_raw", "send_raw", "after", "moved", "turn", "role"}
)
"""The hooks that need no socket, no HTTP and no driver."""

OTHERWISE: Final = frozenset({"busy-with-others", "errors-in-its-own-words", "reads-what-it-can"})
"""Benign variants that do something else than a vector says, which a requirement leaves open."""

FLOOR: Final = 0.90
"""The share of these mutants that the vectors kill at least. Many of the others need a second
connection, or a large body."""

GONE: Final = {"event": "closed"}
"""What a peer reports that ends the connection itself, as no vector has it."""


def needs_no_io(mutant: Mutant) -> bool:
    """Say whether what a mutant, or a benign variant, does otherwise is in messages alone."""
    peer = mutant.peer
    if not isinstance(peer, MessageHooks):
        return False
    usual = type(peer)()
    names = (each.name for each in fields(peer))
    return {each for each in names if getattr(peer, each) != getattr(usual, each)} <= MESSAGE_HOOKS


class _FaultyServer(SessionPlayer):
    """A session of a server with a fault.

    The hooks see what the application sends in a turn with the payload that it answers.
    """

    def __init__(self, hooks: Hooks, vector: Vector) -> None:
        super().__init__(vector)
        self._handle = hooks.distort(lambda payload: self._serve(payload))
        self._serve: Serve = lambda _: []

    def take_turn(self, turn: Sequence[Step], names: Mapping[str, str]) -> Played:
        """Take an input, as the fault has it, and the commands after it."""
        outcome = Played([], [], [])
        received, commands = _parted(turn, names)

        def serve(payload: Payload) -> list[Payload]:
            done = Played([], outcome.events, outcome.misuses)
            if str(payload).startswith(OWN_TOKEN):
                self._aside(payload, done)
                return self.session.outgoing()
            if payload is not NOTHING:
                self.note(self.session.receive(payload), done)
            while commands:
                self.take(*commands.pop(0), names, done)
            return done.send

        self._serve = serve
        try:
            outcome.send.extend(self._handle(received))
            if commands:  # the fault dropped what they come after
                outcome.send.extend(self._handle(NOTHING))
        except ConnectionError:
            outcome.events.append(GONE)
        return outcome

    def _aside(self, payload: Payload, done: Played) -> None:
        """Handle an ask of the fault's own, which the application allows."""
        for event in self.session.receive(payload):
            if isinstance(event, ChangeAsked):
                self.note(self.session.allow(event), done)
            else:
                self.note([event], done)


class _Connection:
    """The connection of a client with a fault."""

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def put(self, sent: Iterable[Any]) -> None:
        """Send something as well."""
        self.sent += sent


class _FaultyClient(SessionPlayer):
    """A session of a client with a fault."""

    def __init__(self, fault: ClientFault, vector: Vector) -> None:
        super().__init__(vector)
        self._fault = fault
        self._context = ClientContext()
        self._connection = _Connection()
        self._context.connections.append(self._connection)

    def take_turn(self, turn: Sequence[Step], names: Mapping[str, str]) -> Played:
        """Take an input, as the fault has it, and the commands after it."""
        done = Played([], [], [])
        received, commands = _parted(turn, names)
        for payload in () if received is NOTHING else self._served(received):
            self.note(self.session.receive(payload), done)
        for number, step in commands:
            self._context.operations.append(step.get("do", ""))
            self.take(number, step, names, done)
        for payload in done.send:
            effect = self._fault.sent(self._context, payload)
            self._context.traffic.feed("client", payload)
            self._connection.put([payload] if effect is None else payloads(effect))
        sent, self._connection.sent = self._connection.sent, []
        is_gone = any(isinstance(each, ConnectionClosed) for each in sent)
        return Played(sent, [*done.events, GONE] if is_gone else done.events, done.misuses)

    def _served(self, payload: Payload) -> list[Payload]:
        """Give what the session receives instead of a payload."""
        context = self._context
        context.begin(payload)
        effect = self._fault.received(context)
        served = context.take_served() if effect is not None else [payload]
        context.traffic.feed("server", payload)
        self._connection.put(payloads(effect))
        return served


def _parted(
    turn: Sequence[Step], names: Mapping[str, str]
) -> tuple[Payload, list[tuple[int, Step]]]:
    """Part the payload that a turn begins with, if it does, from the other inputs."""
    numbered = list(enumerate(turn))
    if "receive" in turn[0]:
        return payload_of(turn[0]["receive"], names), numbered[1:]
    return NOTHING, numbered


def player_of(mutant: Mutant, vector: Vector) -> SessionPlayer:
    """Make the peer that plays a vector."""
    peer = mutant.peer
    if isinstance(peer, Hooks):
        return _FaultyServer(peer, vector)
    return _FaultyClient(cast("ClientFault", peer), vector)


def killer(mutant: Mutant, vectors: Iterable[Vector]) -> str | None:
    """Give the ID of the first vector that a mutant does not play as it expects."""
    for vector in vectors:
        if vector["role"] == mutant.role and play(
            vector, lambda given: player_of(mutant, given), is_by_turn=True
        ):
            return str(vector["id"])
    return None


def mutants() -> list[Mutant]:
    """Give the mutants, and the benign variants, whose fault is in messages alone."""
    return [each for each in BANK.values() if needs_no_io(each) and each.name not in OTHERWISE]


def first_killers(names: Iterable[str]) -> dict[str, str | None]:
    """Give, for each of these mutants, the first vector that kills it."""
    vectors = load_vectors()

    def tried_first(mutant: Mutant) -> list[Vector]:
        return sorted(vectors, key=lambda each: mutant.breaks not in each["requirements"])

    return {name: killer(BANK[name], tried_first(BANK[name])) for name in names}


def summary(found: Mapping[str, str | None]) -> str:
    """Say how many mutants the vectors kill, and which they do not."""
    faulty = {name: id_ for name, id_ in found.items() if BANK[name].breaks}
    left = sorted(name for name, id_ in faulty.items() if id_ is None)
    killed = f"{len(faulty) - len(left)} of {len(faulty)} mutants without I/O"
    rest = f"not {' '.join(left)}" if left else "none survived"
    return f"{killed} killed by session vectors alone; {rest}"


def errors(found: Mapping[str, str | None]) -> Iterator[str]:
    """Say what is wrong with what the vectors kill, a sentence each."""
    faulty = [id_ for name, id_ in found.items() if BANK[name].breaks]
    share = sum(id_ is not None for id_ in faulty) / len(faulty) if faulty else 1
    if share < FLOOR:
        yield f"session vectors kill {share:.1%} of the mutants without I/O, less than {FLOOR:.0%}"
    for name, id_ in found.items():
        if id_ is not None and not BANK[name].breaks:
            yield f"{name}: a benign variant, killed by {id_}"
