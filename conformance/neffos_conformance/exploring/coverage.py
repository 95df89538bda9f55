"""Which rows of the state tables a server under test was led through.

A row counts where the server must have taken it, by what it was sent and what it answered.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Final, NamedTuple

from neffos_protocol.machines import Machine, Row, machines


class Transition(NamedTuple):
    """A row of a table, by what it is found by."""

    machine: str
    state: str
    input: str
    guard: str

    def __str__(self) -> str:
        guard = f" ({self.guard})" if self.guard else ""
        return f"{self.machine}: {self.input} in {self.state}{guard}"


CLIENTS: Final = frozenset({"new", "requested"})
"""The states of the handshake that only a client is in."""


def transition(machine: Machine, row: Row) -> Transition:
    """Name a row."""
    return Transition(machine.name, row.state, row.input, row.guard)


@cache
def of_a_server() -> tuple[Transition, ...]:
    """Give all rows that concern a server, in the order of the tables."""
    return tuple(
        transition(machine, row)
        for machine in machines().values()
        for rows in machine.rows.values()
        for row in rows
        if not (machine.name == "handshake" and row.state in CLIENTS)
    )


def beyond(row: Transition) -> str:
    """Say why no exploration leads a server through a row; empty where one may.

    A row may be out of reach because a limit would have to be filled, because it takes a time
    limit of the server, or because the conformance application decides at once, so that nothing
    can come in between.
    """
    if "full" in row.guard:
        return "a limit of the server would have to be filled"
    if row.input == "deadline":
        return "it takes a time limit of the server"
    if row.state == "deciding" and row.input not in ("let-in", "turn-away"):
        return "the application decides on a connection at once"
    if row.machine == "handshake" and row.state == "closed" and row.input != "gone":
        return "what is sent behind a refusal may cost the refusal, where TCP is reset"
    if row.state.startswith("judging") and row.input not in ("allow", "deny"):
        return "the application decides on a change at once"
    if row.machine == "handshake" and row.state != "open" and row.input == "close":
        return "the application closes only what is open"
    if row.machine == "handshake" and row.state == "awaiting" and not row.guard:
        return "the application checks every connection" if row.input == "request" else ""
    return ""


def not_reached(reached: Iterable[Transition]) -> tuple[Transition, ...]:
    """Give the rows that concern a server and were not reached."""
    there = frozenset(reached)
    return tuple(row for row in of_a_server() if row not in there)
