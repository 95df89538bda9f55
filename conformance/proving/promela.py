"""Writes the state tables as a Promela model, for the model checker SPIN.

``model.pml`` has what the specification says around the tables: channels, tokens, the order in
which a session follows its tables. Each row of a table becomes one option of an ``if``. A row in
words that this module does not know is an error, so that tables and model cannot part.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import jinja2

from neffos_protocol.state_machines import Action, Guard, Input, StateMachine, Transition

Machines = Mapping[str, StateMachine[Any]]
Row = Transition[Any]

_TEMPLATE: Final = Path(__file__).with_name("model.pml")

FREE_CHOICE: Final = "true"
"""A guard that an application or its limits decide may hold or not each time."""

GUARDS: Final[Mapping[Guard, str]] = {
    Guard.ALWAYS: FREE_CHOICE,
    Guard.DECIDES: FREE_CHOICE,
    Guard.UNKNOWN: FREE_CHOICE,
    Guard.FULL: FREE_CHOICE,
    Guard.DECIDES_CONNECT: FREE_CHOICE,
    Guard.DECIDES_DISCONNECT: "IS_SERVER(e)",  # NS-13
    Guard.DECIDING_FULL: FREE_CHOICE,
    Guard.SYSTEM_ASK: "kind[x] != ASK_EVENT",
}

EXACT: Final = frozenset({Guard.SYSTEM_ASK})
"""The guards of which nobody has a choice: where one holds, the rows after its own do not apply."""

HANDSHAKE_ACTIONS: Final[Mapping[Action, str]] = {
    Action.SEND_REQUEST: "send(e, M, 0, 0, false);",
    Action.SEND_ACCEPT: "send(e, A, 0, 0, false);",
    Action.SEND_REFUSE: "send(e, H, 0, 0, false);",
    Action.ASK_APPLICATION: "",
    Action.OPENED: "",
    Action.REFUSED: "",
    # No correct peer sends frames before the handshake is complete (HS-11, HS-12).
    Action.HOLD: "ACCUSED;",
    Action.RELEASE: "",
    Action.READ: "reading = true;",
    Action.VIOLATION: "ACCUSED;",
    Action.CLOSE: "{ends}",
}
MEMBERSHIP_ACTIONS: Final[Mapping[Action, str]] = {
    Action.ASK: "send_ask(e, {asks}, k, s);",
    Action.REPLY_DONE: "reply(e, DONE, k, s);",
    Action.REPLY_UNKNOWN: "reply(e, ERROR, k, s);",
    Action.REPLY_FULL: "reply(e, ERROR, k, s);",
    Action.ASK_APPLICATION: "deciding[(e) * KEYS + (k)] = BIT(s);",
    Action.QUEUE: "deciding[(e) * KEYS + (k)] = deciding[(e) * KEYS + (k)] | BIT(s);",
    Action.REPLY_ALL_DONE: "reply_all(e, DONE, k);",
    Action.REPLY_ALL_REFUSED: "reply_all(e, ERROR, k);",
    Action.WITHDRAW: "withdraw_all(e, k);",
    Action.CONNECTED: "told[e] = told[e] | BIT(k);",
    Action.DISCONNECTED: "told[e] = told[e] & ~BIT(k);",
    Action.FORCED: "told[e] = told[e] & ~BIT(k);",
    Action.REFUSED: "",
    Action.CANCELLED: "",
}
OUTGOING_ACTIONS: Final[Mapping[Action, str]] = {
    Action.SEND: "token[x] = ASKED; send(e, what, k, s, false);",
    Action.UNMATCHED: "",
    # What follows on the reply to a system ask, unless it is superseded (AR-11).
    Action.REPLIED: "input = (kind[x] == ASK_EVENT || superseded[x] -> 0 : {settles});",
    Action.REFUSED: "input = (kind[x] == ASK_EVENT || superseded[x] -> 0 : {settles});",
    Action.EXPIRED: "",
    Action.CANCELLED: "",
}
INCOMING_ACTIONS: Final[Mapping[Action, str]] = {
    Action.REPLY_FULL: "reply(e, ERROR, k, s);",
    Action.DELIVER: "CHECK_HANDLED(e, k);",
    Action.SEND_REPLY: "reply(e, DONE, 0, s);",
    Action.SEND_ERROR: "reply(e, ERROR, 0, s);",
    Action.WITHDRAW: "drop(x);",
}
_INSIDE_STEPS: Final = frozenset(
    {
        "membership_commands",
        "membership_closed",
        "outgoing_send",
        "outgoing_closed",
        "incoming_closed",
    }
)
"""The places inside a step that is one already."""
_SLOT: Final = re.compile(r"\bx\b")
_SETTLES: Final = (
    "(kind[x] == ASK_CONNECT -> (what == DONE -> IN_CONNECT_DONE : IN_CONNECT_ERROR)"
    " : (what == DONE -> IN_DISCONNECT_DONE : IN_DISCONNECT_ERROR))"
)


class UnknownRowError(ValueError):
    """A row of a table that the model has no words for."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much there is of everything in a model.

    Attributes:
        connections: clients; one server has them all.
        namespaces: their number.
        rooms: rooms of each namespace.
        asks: asks of one end that are under way at most.
        events: whether ends send events without a token.
        event_asks: whether they send event asks.
        cuts: whether the network may lose a connection.
    """

    connections: int = 1
    namespaces: int = 1
    rooms: int = 0
    asks: int = 1
    events: bool = False
    event_asks: bool = False
    cuts: bool = False

    @property
    def keys(self) -> int:
        """The number of namespaces and rooms together."""
        return self.namespaces * (1 + self.rooms)


ASSERTED: Final = ("agreement", "replies", "handled", "strangers", "accused")
"""The properties that a model can assert while it runs, by their names."""

WATCHED: Final = {"asks": "IS_ASK_PENDING", "changes": "IS_UNSETTLED"}
"""What must not wait indefinitely, by the name of the property."""


def rows_of(machines: Machines) -> list[tuple[str, Row]]:
    """Give every row with the name of its machine, in the order of the tables."""
    return [
        (machine.name, row)
        for machine in machines.values()
        for rows in machine.rows.values()
        for row in rows
    ]


def row_name(machine: str, row: Row) -> str:
    """Name a row, for people."""
    guard = f", {row.guard}" if row.guard else ""
    return f"{machine}: {row.input} in {row.state}{guard}"


def model(machines: Machines, size: Size, properties: Sequence[str] = ASSERTED) -> str:
    """Write a model.

    Args:
        machines: the tables.
        size: how much there is of everything.
        properties: what is checked: some that are asserted, or one of ``WATCHED`` alone.

    Raises:
        UnknownRowError: a row has a guard or an action that the model has no words for.
    """
    writer = _Writer(machines)
    handshake, membership = machines["handshake"], machines["membership"]
    names = {
        "states of the handshake": [_state(handshake, each) for each in handshake.states],
        "states of a membership": [_state(membership, each) for each in membership.states],
        "inputs": [_input(each) for each in Input],
    }
    environment = jinja2.Environment(  # noqa: S701  # it writes no HTML
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    keys, slots = range(size.keys), range(size.asks)
    rooms_of = [
        [size.namespaces + n * size.rooms + room for room in range(size.rooms)]
        for n in range(size.namespaces)
    ]
    unsettled = " || ".join(
        f"MEMBERSHIP(watched_end, watched_one) == {_state(membership, each)}"
        for each in membership.states
        if each not in ("disconnected", "connected")
    )
    return environment.from_string(_TEMPLATE.read_text("utf-8")).render(
        size=size,
        checked=properties,
        numbers={
            title: [
                # Disconnected is 0, as all begins; 0 is no input.
                {"name": name, "number": number + (title == "inputs")}
                for number, name in enumerate(each)
            ]
            for title, each in names.items()
        },
        initial=handshake.initial,
        live=" || ".join(f"(m) == {_state(membership, each)}" for each in sorted(membership.live)),
        commandable=[
            _state(membership, state)
            for state in membership.states
            if {(state, Input.CONNECT), (state, Input.DISCONNECT)} & membership.rows.keys()
        ],
        rows=writer.rows,
        tables=writer.tables(),
        keys=keys,
        slots=slots,
        spaces=range(size.namespaces),
        rooms_of=rooms_of,
        ends=range(2 * size.connections),
        watched=next((WATCHED[each] for each in properties if each in WATCHED), ""),
        watchable=slots if "asks" in properties else keys,
        unsettled=unsettled,
    )


def _word(text: str) -> str:
    return text.upper().replace("-", "_")


def _state(machine: StateMachine[Any], state: str) -> str:
    if machine.name == "handshake":
        return f"HANDSHAKE_{_word(state)}"
    return _word(state)


def _input(input_: str) -> str:
    return f"IN_{_word(input_)}"


class _Writer:
    """Writes the rows of the tables."""

    def __init__(self, machines: Machines) -> None:
        self._machines = machines
        self.rows: Final = rows_of(machines)
        self._numbers = {id(row): number for number, (_, row) in enumerate(self.rows)}

    def tables(self) -> dict[str, str]:
        """Give the options of each place of the model that follows a table."""
        handshake, membership = self._machines["handshake"], self._machines["membership"]
        decided, answers = {Input.ALLOW, Input.DENY}, {Input.ACCEPT, Input.REFUSE}
        own, asked = "SLOT(e, s)", "SLOT(PEER(e), s)"
        places: dict[str, tuple[str, set[Input], str]] = {
            "handshake_received": ("handshake", {*handshake.received}, ""),
            "handshake_decided": ("handshake", answers, ""),
            "handshake_commands": ("handshake", {*handshake.commands} - answers, ""),
            "membership_received": ("membership", {*membership.received} - {Input.CLOSED}, ""),
            "membership_decided": ("membership", decided, ""),
            "membership_commands": ("membership", {*membership.commands} - decided, ""),
            "membership_closed": ("membership", {Input.CLOSED}, ""),
            "outgoing_send": ("outgoing-ask", {Input.SEND}, own),
            "outgoing_received": ("outgoing-ask", {Input.REPLY, Input.ERROR}, own),
            "outgoing_deadline": ("outgoing-ask", {Input.DEADLINE}, asked),
            "outgoing_closed": ("outgoing-ask", {Input.CLOSED}, "x"),
            "incoming_asked": ("incoming-ask", {Input.ASKED}, asked),
            "incoming_decided": (
                "incoming-ask",
                {Input.REPLY, Input.REPLY_ERROR, Input.IGNORE},
                asked,
            ),
            "incoming_closed": ("incoming-ask", {Input.CLOSED}, "x"),
        }
        return {place: self._options(place, *each) for place, each in places.items()}

    def _of(self, machine: str, *inputs: str) -> Iterator[Row]:
        return (row for name, row in self.rows if name == machine and row.input in inputs)

    def _options(self, place: str, machine: str, inputs: set[Input], slot: str) -> str:
        """Write the rows for some inputs.

        Args:
            place: where they are written.
            machine: their table.
            inputs: those of the rows.
            slot: what stands for ``x``, the ask that a row is about.
        """
        write: Callable[[Row], tuple[str, str]] = {
            "handshake": self._handshake,
            "membership": self._membership,
            "outgoing-ask": self._outgoing,
            "incoming-ask": self._incoming,
        }[machine]
        lines = []
        for row in self._of(machine, *inputs):
            when, then = write(row)
            when += self._guards(machine, row)
            then = f"TAKE({self._numbers[id(row)]}); {then}".strip().rstrip(";")
            option = f"{when} -> {then}"
            if place not in _INSIDE_STEPS:
                option = f"d_step {{ {option} }}"
            option = _SLOT.sub(slot, option) if slot else option
            lines.append(f"  :: /* {row_name(machine, row)} */ {option}")
        return "\n".join(lines)

    def _guards(self, machine: str, row: Row) -> str:
        """Give the condition of a row beside its state and input: its guard, and none before."""
        earlier = ""
        for each in self._machines[machine].rows[row.state, row.input]:
            condition = GUARDS.get(each.guard)
            if condition is None:
                raise UnknownRowError(f"{row_name(machine, each)}: no words for {each.guard!s}")
            if each is row:
                own = "" if condition == FREE_CHOICE else f" && ({condition})"
                return own + earlier
            if each.guard in EXACT:
                earlier += f" && !({condition})"
        raise AssertionError("a row is among those of its state and input")

    def _actions(self, machine: str, row: Row, words: Mapping[Action, str], **names: str) -> str:
        unknown = [each for each in row.actions if each not in words]
        if unknown:
            raise UnknownRowError(f"{row_name(machine, row)}: no words for {unknown[0]!s}")
        return " ".join(
            words[each].format(**names) if names else words[each] for each in row.actions
        )

    def _handshake(self, row: Row) -> tuple[str, str]:
        machine = self._machines["handshake"]
        received = "" if row.input in machine.commands else f" && input == {_input(row.input)}"
        when = f"handshake[e] == {_state(machine, row.state)}{received}"
        is_over = row.input is Input.CLOSED  # the other end, or the network, has ended it
        ends = "ending = ALL;" if is_over else "ending = ALL; send(e, CLOSED, 0, 0, false);"
        does = self._actions("handshake", row, HANDSHAKE_ACTIONS, ends=ends)
        return when, f"handshake[e] = {_state(machine, row.next)}; {does}"

    def _membership(self, row: Row) -> tuple[str, str]:
        machine = self._machines["membership"]
        is_told = row.input in machine.commands or row.input is Input.CLOSED
        input_ = "" if is_told else f" && input == {_input(row.input)}"
        when = f"MEMBERSHIP(e, k) == {_state(machine, row.state)}{input_}"
        then = f"MEMBERSHIP(e, k) = {_state(machine, row.next)};"
        is_over = row.state in machine.live and row.next == "disconnected"
        if is_over and row.input is not Input.CLOSED:  # a connection ends its rooms one by one
            then += " ending = k + 1;"
        is_asked = row.input in (Input.ASK_CONNECT, Input.ASK_DISCONNECT)
        if is_asked and row.state in ("connecting", "disconnecting") and row.next != row.state:
            then += " supersede(e, k);"
        asks = f"ASK_{_word(row.input)}"
        return when, f"{then} {self._actions('membership', row, MEMBERSHIP_ACTIONS, asks=asks)}"

    def _outgoing(self, row: Row) -> tuple[str, str]:
        when = f"kind[x] {'!=' if row.state == 'pending' else '=='} 0"
        if row.input in (Input.REPLY, Input.ERROR):
            when += f" && what == {'DONE' if row.input is Input.REPLY else 'ERROR'}"
        does = self._actions("outgoing-ask", row, OUTGOING_ACTIONS, settles=_SETTLES)
        if row.state == row.next:
            return when, does
        moves = "kind[x] = what; about[x] = k;" if row.next == "pending" else "settle(x);"
        return when, f"{does} {moves}"

    def _incoming(self, row: Row) -> tuple[str, str]:
        when = f"incoming[x] {'!=' if row.state == 'pending' else '=='} 0"
        does = self._actions("incoming-ask", row, INCOMING_ACTIONS)
        if row.input is Input.IGNORE:
            does += "drop(x);"
        if row.input is Input.ASKED:
            when = f"IS_LIVE(e, k) && {when}"
        if row.state == row.next and row.next == "none":
            return when, does
        return when, f"incoming[x] = {'k + 1' if row.next == 'pending' else '0'}; {does}"
