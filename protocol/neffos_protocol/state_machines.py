"""The state tables of ``data/machines.toml`` as values.

This module knows no role and no connection: it answers which transition a state and an input
lead to. The session and the tracker of conversations act on the transitions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import unique
from functools import cache
from typing import Any, Final, Generic, TypeVar

from neffos_codec._value import Value, Word
from neffos_protocol.tables import load


@unique
class HandshakeState(Word):
    """Where a connection is, from its first message to its end."""

    NEW = "new"
    REQUESTED = "requested"
    AWAITING = "awaiting"
    DECIDING = "deciding"
    OPEN = "open"
    CLOSED = "closed"


@unique
class MembershipState(Word):
    """Whether a namespace is connected, or a room joined."""

    DISCONNECTED = "disconnected"
    CONNECTING = "connecting"
    DECIDING_CONNECT = "deciding-connect"
    CONNECTED = "connected"
    DISCONNECTING = "disconnecting"
    DECIDING_DISCONNECT = "deciding-disconnect"


@unique
class AskState(Word):
    """Whether an ask, of either peer, waits for its reply."""

    NONE = "none"
    PENDING = "pending"


@unique
class Input(Word):
    """What can happen: a command of the application, or something that the peer does."""

    START = "start"
    ACCEPT = "accept"
    REFUSE = "refuse"
    CLOSE = "close"
    REQUEST = "request"
    ACCEPTANCE = "acceptance"
    REFUSAL = "refusal"
    OTHER = "other"
    CLOSED = "closed"
    CONNECT = "connect"
    DISCONNECT = "disconnect"
    ALLOW = "allow"
    DENY = "deny"
    ASK_CONNECT = "ask-connect"
    ASK_DISCONNECT = "ask-disconnect"
    CONNECT_DONE = "connect-done"
    CONNECT_ERROR = "connect-error"
    DISCONNECT_DONE = "disconnect-done"
    DISCONNECT_ERROR = "disconnect-error"
    SEND = "send"
    DEADLINE = "deadline"
    REPLY = "reply"
    ERROR = "error"
    ASKED = "asked"
    REPLY_ERROR = "reply-error"
    IGNORE = "ignore"


@unique
class Guard(Word):
    """A condition under which a transition is taken."""

    ALWAYS = ""
    DECIDES = "decides"
    UNKNOWN = "unknown"
    FULL = "full"
    DECIDES_CONNECT = "decides-connect"
    DECIDES_DISCONNECT = "decides-disconnect"
    DECIDING_FULL = "deciding-full"
    SYSTEM_ASK = "system-ask"


@unique
class Action(Word):
    """What a peer does on a transition."""

    SEND_REQUEST = "send-request"
    SEND_ACCEPT = "send-accept"
    SEND_REFUSE = "send-refuse"
    ASK_APPLICATION = "ask-application"
    OPENED = "opened"
    REFUSED = "refused"
    HOLD = "hold"
    RELEASE = "release"
    READ = "read"
    VIOLATION = "violation"
    CLOSE = "close"
    ASK = "ask"
    REPLY_DONE = "reply-done"
    REPLY_UNKNOWN = "reply-unknown"
    REPLY_FULL = "reply-full"
    REPLY_ALL_DONE = "reply-all-done"
    REPLY_ALL_REFUSED = "reply-all-refused"
    QUEUE = "queue"
    WITHDRAW = "withdraw"
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
    FORCED = "forced"
    CANCELLED = "cancelled"
    SEND = "send"
    UNMATCHED = "unmatched"
    REPLIED = "replied"
    EXPIRED = "expired"
    DELIVER = "deliver"
    SEND_REPLY = "send-reply"
    SEND_ERROR = "send-error"


State = TypeVar("State", bound=Word)


class Transition(Value, Generic[State]):
    """One row of a table.

    Attributes:
        state: where it applies.
        input: on what.
        guard: the condition; ``Guard.ALWAYS`` where there is none.
        actions: what to do, in order.
        next: the state after it.
        requirements: the IDs that it rests on, by ``"namespace"`` and ``"room"`` where the table
            serves both, else under ``""``.
    """

    state: State
    input: Input
    guard: Guard
    actions: tuple[Action, ...]
    next: State
    requirements: Mapping[str, tuple[str, ...]]


class StateMachine(Value, Generic[State]):
    """One table.

    Attributes:
        name: what it is called.
        about: what it is about.
        states: all states.
        initial: the first state, by role.
        live: the states in which what the machine is about exists, where the table has them.
        commands: the inputs that come from the application.
        received: the inputs that come from the peer; each state has a row for each.
        rows: by state and input, in the order in which they are tried.
    """

    name: str
    about: str
    states: tuple[State, ...]
    initial: Mapping[str, State]
    live: frozenset[State]
    commands: tuple[Input, ...]
    received: tuple[Input, ...]
    rows: Mapping[tuple[str, str], tuple[Transition[State], ...]]

    def row(
        self, state: str, input_: str, holds: Callable[[Guard], bool]
    ) -> Transition[State] | None:
        """Give the row to follow, or ``None`` where there is none: the input is a misuse there.

        Args:
            state: the present state.
            input_: what happens.
            holds: whether a guard holds.
        """
        for row in self.rows.get((state, input_), ()):
            if not row.guard or holds(row.guard):
                return row
        return None

    def follow(self, state: str, input_: str, holds: Callable[[Guard], bool]) -> Transition[State]:
        """Give the row for an input that every state has one for: what a peer sends."""
        row = self.row(state, input_, holds)
        if row is None:
            raise AssertionError(f"the table {self.name} has no row for {input_} in {state}")
        return row

    def rows_where(self, holds: bool) -> Mapping[tuple[str, str], Transition[State]]:
        """Give the row of each state and input, where every guard holds, or none does."""
        found = {key: self.row(*key, lambda _: holds) for key in self.rows}
        return {key: row for key, row in found.items() if row is not None}


@cache
def machines() -> Mapping[str, StateMachine[Any]]:
    """Give every machine by its name.

    Raises:
        ValueError: a table names a state, an input, a guard or an action that is unknown.
    """
    return {table["name"]: _machine(table, _STATES[table["name"]]) for table in load()["machine"]}


def _machine(table: dict[str, Any], state: type[State]) -> StateMachine[State]:
    rows: dict[tuple[str, str], tuple[Transition[State], ...]] = {}
    for values in table["row"]:
        ids = values["requirements"]
        row = Transition(
            state(values["state"]),
            Input(values["input"]),
            Guard(values.get("guard", "")),
            tuple(map(Action, values["actions"])),
            state(values["next"]),
            {
                kind: tuple(each)
                for kind, each in (ids if isinstance(ids, dict) else {"": ids}).items()
            },
        )
        key = (row.state, row.input)
        rows[key] = (*rows.get(key, ()), row)
    return StateMachine(
        name=table["name"],
        about=table["about"],
        states=tuple(map(state, table["states"])),
        initial={role: state(first) for role, first in table["initial"].items()},
        live=frozenset(map(state, table.get("live", ()))),
        commands=tuple(map(Input, table["commands"])),
        received=tuple(map(Input, table["received"])),
        rows=rows,
    )


_STATES: Final[dict[str, Any]] = {
    "handshake": HandshakeState,
    "membership": MembershipState,
    "outgoing-ask": AskState,
    "incoming-ask": AskState,
}

HANDSHAKE: Final[StateMachine[HandshakeState]] = machines()["handshake"]
MEMBERSHIP: Final[StateMachine[MembershipState]] = machines()["membership"]
OUTGOING_ASK: Final[StateMachine[AskState]] = machines()["outgoing-ask"]
INCOMING_ASK: Final[StateMachine[AskState]] = machines()["incoming-ask"]
