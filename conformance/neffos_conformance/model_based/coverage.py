"""Which rows of the state tables a peer under test was led through.

A row counts where the peer must have taken it, by what it was sent and what it answered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, Final, NamedTuple

from neffos_protocol import Role
from neffos_protocol.state_machines import StateMachine, Transition, machines


class TransitionId(NamedTuple):
    """A row of a table, by what it is found by."""

    machine: str
    state: str
    input: str
    guard: str

    def __str__(self) -> str:
        guard = f" ({self.guard})" if self.guard else ""
        return f"{self.machine}: {self.input} in {self.state}{guard}"


OTHERS: Final[Mapping[Role, frozenset[str]]] = {
    Role.SERVER: frozenset({"new", "requested"}),
    Role.CLIENT: frozenset({"awaiting", "deciding"}),
}
"""The states of the handshake that a peer of a role is never in."""


def transition(machine: StateMachine[Any], row: Transition[Any]) -> TransitionId:
    """Name a row."""
    return TransitionId(machine.name, row.state, row.input, row.guard)


@cache
def rows_of(role: Role) -> tuple[TransitionId, ...]:
    """Give all rows that concern a peer of a role, in the order of the tables."""
    return tuple(
        transition(machine, row)
        for machine in machines().values()
        for rows in machine.rows.values()
        for row in rows
        if not (machine.name == "handshake" and row.state in OTHERS[role])
    )


def beyond(row: TransitionId, role: Role) -> str:
    """Say why no exploration leads a peer of a role through a row; empty where one may.

    A row may be out of reach because a limit would have to be filled, because it takes a time
    limit of the peer, or because the conformance application decides at once, so that nothing
    can come in between.
    """
    if "full" in row.guard:
        return "a limit of the peer would have to be filled"
    if row.input == "deadline":
        return "it takes a time limit of the peer"
    if row.state.startswith("deciding-") and row.input not in ("allow", "deny"):
        return "the application decides on a change at once"
    return _BEYOND[role](row)


def _beyond_server(row: TransitionId) -> str:
    if row.state == "deciding" and row.input not in ("accept", "refuse"):
        return "the application decides on a connection at once"
    if row.machine == "handshake" and row.state == "closed" and row.input != "closed":
        return "what is sent behind a refusal may cost the refusal, where TCP is reset"
    if row.machine == "handshake" and row.state != "open" and row.input == "close":
        return "the application closes only what is open"
    if row.machine == "handshake" and row.state == "awaiting" and not row.guard:
        return "the application checks every connection" if row.input == "request" else ""
    return ""


def _beyond_client(row: TransitionId) -> str:
    if row.machine == "handshake":
        if row.state == "new" and row.input != "start":
            return "a client begins with its request"
        if row.state == "closed" and row.input != "closed":
            return "nobody sees what becomes of what is sent to a connection that has ended"
        if row.input == "close" and row.state != "open":
            return "a driver closes only what is open"
    if row.state == "deciding-disconnect" or row.guard == "decides-disconnect":
        return "the application lets everything end"
    return ""


_BEYOND: Final[Mapping[Role, Callable[[TransitionId], str]]] = {
    Role.SERVER: _beyond_server,
    Role.CLIENT: _beyond_client,
}


def not_reached(reached: Iterable[TransitionId], role: Role) -> tuple[TransitionId, ...]:
    """Give the rows that concern a peer of a role and were not reached."""
    there = frozenset(reached)
    return tuple(row for row in rows_of(role) if row not in there)
