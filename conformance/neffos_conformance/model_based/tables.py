"""The state tables as the model uses them, and which of their transitions a peer was led through.

A transition counts where the peer must have taken it, by what it received and what it sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, Final, NamedTuple

from neffos_protocol import Role
from neffos_protocol.events import Change
from neffos_protocol.state_machines import StateMachine, Transition, machines

DISCONNECTED: Final = "disconnected"
CONNECTING: Final = "connecting"
CONNECTED: Final = "connected"
DISCONNECTING: Final = "disconnecting"
"""The states of a namespace that a peer may see; a room has the same ones."""

DECIDING: Final = "deciding-"
"""What begins the states in which the application decides on a system ask."""

CHANGING: Final = (CONNECTING, DISCONNECTING)

ASK_REQUIREMENTS: Final[Mapping[Change, str]] = {
    Change.CONNECT: "NS-1",
    Change.DISCONNECT: "NS-6",
    Change.JOIN: "RM-1",
    Change.LEAVE: "RM-8",
}
"""The requirement on a peer's own ask for each change."""


def ask_of(change: Change) -> str:
    """Give the membership table's input for an ask of the other peer."""
    return f"ask-{change.direction}"


# -------------------------------------------------------------------- coverage


class TransitionKey(NamedTuple):
    """What identifies a transition of the tables."""

    machine: str
    state: str
    input: str
    guard: str

    def __str__(self) -> str:
        guard = f" ({self.guard})" if self.guard else ""
        return f"{self.machine}: {self.input} in {self.state}{guard}"


def key_of(machine: StateMachine[Any], row: Transition[Any]) -> TransitionKey:
    """Give the key of a transition."""
    return TransitionKey(machine.name, row.state, row.input, row.guard)


_NEVER_IN: Final[Mapping[Role, frozenset[str]]] = {
    Role.SERVER: frozenset({"new", "requested"}),
    Role.CLIENT: frozenset({"awaiting", "deciding"}),
}
"""The states of the handshake that a peer of a role is never in."""


@cache
def transitions_of(role: Role) -> tuple[TransitionKey, ...]:
    """Give every transition of a peer with a role, in the order of the tables."""
    return tuple(
        key_of(machine, row)
        for machine in machines().values()
        for rows in machine.rows.values()
        for row in rows
        if not (machine.name == "handshake" and row.state in _NEVER_IN[role])
    )


def why_unreachable(key: TransitionKey, role: Role) -> str:
    """Say why no test sequence leads a peer through a transition; empty where one may."""
    machine, state, input_, guard = key
    is_handshake = machine == "handshake"
    if "full" in guard:
        return "a limit of the peer would have to be filled"
    if input_ == "deadline":
        return "it takes a time limit of the peer"
    if state.startswith(DECIDING) and input_ not in ("allow", "deny"):
        return "the application decides on a system ask immediately"
    if is_handshake and state != "open" and input_ == "close":
        return "the application closes only open connections"
    if is_handshake and state == "closed" and input_ != "closed":
        return "nothing shows what a peer does with messages after the end of a connection"
    if role is Role.CLIENT:
        if is_handshake and state == "new" and input_ != "start":
            return "a client starts with its request"
        if state == f"{DECIDING}disconnect" or guard == "decides-disconnect":
            return "the application of a client accepts every disconnect and leave"
        return ""
    if is_handshake and state == "deciding" and input_ not in ("accept", "refuse"):
        return "the application decides on a connection immediately"
    if is_handshake and state == "awaiting" and input_ == "request" and not guard:
        return "the application checks every connection"
    return ""
