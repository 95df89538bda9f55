"""The state tables of ``data/machines.toml`` as values.

This module knows no role and no connection: it answers which row a state and an input lead
to. The session and the monitor act on the rows.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table.

    Attributes:
        state: where it applies.
        input: on what.
        guard: the name of a condition, or empty.
        actions: the names of what to do, in order.
        next: the state after it.
        requirements: the ids that it rests on, by the kind of thing where the table serves
            several kinds, else under ``""``.
    """

    state: str
    input: str
    guard: str
    actions: tuple[str, ...]
    next: str
    requirements: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Machine:
    """One table.

    Attributes:
        name: what it is called.
        about: what it is about.
        states: all states.
        initial: the first state, by role.
        live: the states in which what the machine is about exists, where that is said.
        commands: the inputs that come from the application.
        received: the inputs that come from the peer; each state has a row for each.
        rows: by state and input, in the order in which they are tried.
    """

    name: str
    about: str
    states: tuple[str, ...]
    initial: Mapping[str, str]
    live: frozenset[str]
    commands: tuple[str, ...]
    received: tuple[str, ...]
    rows: Mapping[tuple[str, str], tuple[Row, ...]]

    def row(self, state: str, input_: str, holds: Callable[[str], bool]) -> Row | None:
        """Give the row to follow, or ``None`` where there is none: the input is illegal there.

        Args:
            state: the present state.
            input_: what happens.
            holds: whether the guard of that name holds.
        """
        for row in self.rows.get((state, input_), ()):
            if not row.guard or holds(row.guard):
                return row
        return None

    def follow(self, state: str, input_: str, holds: Callable[[str], bool]) -> Row:
        """Give the row for an input that every state has one for: what a peer sends."""
        row = self.row(state, input_, holds)
        if row is None:
            raise AssertionError(f"the table {self.name} has no row for {input_} in {state}")
        return row


@cache
def machines() -> Mapping[str, Machine]:
    """Give every machine by its name."""
    text = files("neffos_protocol.data").joinpath("machines.toml").read_text("utf-8")
    return {entry["name"]: _machine(entry) for entry in tomllib.loads(text)["machine"]}


def _machine(entry: dict[str, Any]) -> Machine:
    rows: dict[tuple[str, str], tuple[Row, ...]] = {}
    for values in entry["row"]:
        ids = values["requirements"]
        row = Row(
            values["state"],
            values["input"],
            values.get("guard", ""),
            tuple(values["actions"]),
            values["next"],
            {
                kind: tuple(each)
                for kind, each in (ids if isinstance(ids, dict) else {"": ids}).items()
            },
        )
        key = (row.state, row.input)
        rows[key] = (*rows.get(key, ()), row)
    return Machine(
        name=entry["name"],
        about=entry["about"],
        states=tuple(entry["states"]),
        initial=entry["initial"],
        live=frozenset(entry.get("live", ())),
        commands=tuple(entry["commands"]),
        received=tuple(entry["received"]),
        rows=rows,
    )


HANDSHAKE: Final = machines()["handshake"]
MEMBERSHIP: Final = machines()["membership"]
ASK: Final = machines()["ask"]
QUESTION: Final = machines()["question"]
