"""The state tables by themselves: well formed, complete, and in words that the session knows.

What the rows *say* is held against a session in ``test_session_tables.py``.
"""

from __future__ import annotations

import copy
import json
import runpy
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator, meta

from neffos_protocol import _asks, _core, _handshake, _memberships, state_machines, tables
from neffos_protocol.state_machines import (
    HANDSHAKE,
    INCOMING_ASK,
    MEMBERSHIP,
    OUTGOING_ASK,
    Action,
    Guard,
    StateMachine,
    machines,
)

DATA = Path(__file__).parents[1] / "data"
FILE = tomllib.loads((DATA / "machines.toml").read_text("utf-8"))
SCHEMA = json.loads((DATA / "schema" / "machines.json").read_text("utf-8"))

every_machine = pytest.mark.parametrize("machine", machines().values(), ids=lambda one: one.name)


def actions(machine: StateMachine) -> set[str]:
    return {action for rows in machine.rows.values() for row in rows for action in row.actions}


def guards(machine: StateMachine) -> set[str]:
    return {row.guard for rows in machine.rows.values() for row in rows} - {""}


# ---- The form of the file ----


def test_the_file_has_the_form_that_the_schema_says() -> None:
    meta.validate(SCHEMA)
    Draft202012Validator(SCHEMA).validate(FILE)


def _machine(number: int, **changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda file: file["machine"][number].update(changes)


def _row(number: int, **changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda file: file["machine"][number]["row"][0].update(changes)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda file: file.update(format=3),
        lambda file: file.update(extra=1),
        lambda file: file.update(machine=[]),
        lambda file: file["machine"][0].pop("about"),
        lambda file: file["machine"][0]["row"][0].pop("next"),
        lambda file: file["machine"][0]["initial"].pop("native-only"),
        lambda file: file["machine"][1].pop("live"),
        lambda file: file["machine"][2]["row"].append(file["machine"][2]["row"][0]),
        _machine(0, live=["open"]),
        _machine(0, name="other"),
        _machine(1, states=["connected", "connected"]),
        _machine(2, initial={"client": "none", "server": "none", "native-only": "none"}),
        _machine(3, commands=[]),
        _row(0, guard=""),
        _row(0, guards="decides"),
        _row(0, next="Two Words"),
        _row(0, actions=["ended", "ended"]),
        _row(0, requirements=["HS-0"]),
        _row(0, requirements=[]),
        _row(0, requirements={"namespace": ["NS-1"], "room": ["RM-1"]}),
        _row(1, requirements=["NS-1"]),
        _row(1, requirements={"namespace": ["NS-1"]}),
    ],
)
def test_the_schema_refuses_what_is_not_of_that_form(
    spoil: Callable[[dict[str, Any]], None],
) -> None:
    file = copy.deepcopy(FILE)
    spoil(file)
    assert not Draft202012Validator(SCHEMA).is_valid(file)


def test_each_machine_is_there_once() -> None:
    assert [entry["name"] for entry in FILE["machine"]] == [
        "handshake",
        "membership",
        "outgoing-ask",
        "incoming-ask",
    ]
    assert list(machines().values()) == [HANDSHAKE, MEMBERSHIP, OUTGOING_ASK, INCOMING_ASK]


def test_nothing_of_the_file_is_lost_on_loading() -> None:
    for entry in FILE["machine"]:
        machine = machines()[entry["name"]]
        loaded = [row for rows in machine.rows.values() for row in rows]
        assert len(loaded) == len(entry["row"])
        for values in entry["row"]:
            [row] = [
                row
                for row in machine.rows[values["state"], values["input"]]
                if row.guard == values.get("guard", "")
            ]
            assert list(row.actions) == values["actions"]
            assert row.next == values["next"]
            ids = values["requirements"]
            wanted = ids if isinstance(ids, dict) else {"": ids}
            assert {kind: list(each) for kind, each in row.requirements.items()} == wanted


# ---- The tables are complete, and no more than that ----


@every_machine
def test_rows_use_declared_names_and_all_of_them(machine: StateMachine) -> None:
    inputs = {*machine.commands, *machine.received}
    assert len(inputs) == len(machine.commands) + len(machine.received)
    assert set(machine.initial.values()) <= set(machine.states)
    assert machine.live <= set(machine.states)
    rows = [row for group in machine.rows.values() for row in group]
    assert {row.next for row in rows} <= set(machine.states)
    assert {row.state for row in rows} == set(machine.states)
    assert {row.input for row in rows} == inputs


@every_machine
def test_whatever_a_peer_sends_has_a_row_in_every_state(machine: StateMachine) -> None:
    for state in machine.states:
        for received in machine.received:
            row = machine.row(state, received, lambda _: False)
            assert row is not None, (state, received)
            assert not row.guard


@every_machine
def test_every_row_can_be_taken(machine: StateMachine) -> None:
    for rows in machine.rows.values():
        *guarded, last = rows
        assert not last.guard, last
        assert all(row.guard for row in guarded), "nothing is taken after a row without a guard"
        assert len({row.guard for row in rows}) == len(rows), "the same guard holds only once"


@every_machine
def test_every_state_can_be_reached(machine: StateMachine) -> None:
    reached = set(machine.initial.values())
    while (
        more := {row.next for rows in machine.rows.values() for row in rows if row.state in reached}
        - reached
    ):
        reached |= more
    assert reached == set(machine.states)


@every_machine
def test_a_command_without_a_row_has_none_whatever_holds(machine: StateMachine) -> None:
    for state in machine.states:
        for command in machine.commands:
            if (state, command) not in machine.rows:
                assert machine.row(state, command, lambda _: True) is None


def test_the_first_row_whose_guard_holds_is_taken() -> None:
    rows = MEMBERSHIP.rows["disconnected", "ask-connect"]
    assert [row.guard for row in rows] == ["unknown", "full", "decides-connect", ""]
    for index, row in enumerate(rows):
        later = {row.guard for row in rows[index:]}
        assert MEMBERSHIP.row("disconnected", "ask-connect", later.__contains__) is row


def test_what_exists_ends_only_where_someone_says_so() -> None:
    """The live states are entered and left by the rows that tell the application so."""
    for rows in MEMBERSHIP.rows.values():
        for row in rows:
            was, becomes = row.state in MEMBERSHIP.live, row.next in MEMBERSHIP.live
            if was and not becomes:
                assert {"disconnected", "forced"} & {*row.actions}, row
            elif becomes and not was:
                assert "connected" in row.actions, row
            else:
                assert not {"disconnected", "forced", "connected"} & {*row.actions}, row


# ---- The session knows these words, and no others ----


@pytest.mark.parametrize(
    ("machine", "known"),
    [
        (MEMBERSHIP, _memberships._ACTIONS),
        # Reading frames is what an open session does with every payload, without this table.
        (HANDSHAKE, {**_handshake._ACTIONS, Action.READ: None}),
        (OUTGOING_ASK, _asks._OUTGOING),
        (INCOMING_ASK, _asks._INCOMING),
    ],
    ids=lambda one: getattr(one, "name", ""),
)
def test_the_session_has_every_action(
    machine: StateMachine[Any], known: dict[Action, object]
) -> None:
    assert actions(machine) == known.keys()


def test_the_session_has_every_guard() -> None:
    assert guards(MEMBERSHIP) == _memberships._GUARDS.keys()
    # A single one is not looked up by its name.
    assert guards(HANDSHAKE) == {Guard.DECIDES}
    assert guards(OUTGOING_ASK) == {Guard.SYSTEM_ASK}
    assert guards(INCOMING_ASK) == {Guard.FULL}


def test_an_open_session_only_reads_what_it_receives() -> None:
    for input_ in HANDSHAKE.received:
        [row] = HANDSHAKE.rows["open", input_]
        assert row.actions == ((Action.CLOSE,) if input_ == "closed" else (Action.READ,))


def test_the_tables_are_loaded_as_their_source_has_them() -> None:
    assert tables.load() == tables.build(), "run python -m neffos_protocol.tables"


def test_the_tables_are_written_as_they_are_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tables, "_FILE", str(tmp_path / "tables.json"))
    tables.main()
    assert (tmp_path / "tables.json").read_bytes() == (DATA / "tables.json").read_bytes()
    # By its path: pytest's import hook runs no installed module by its name.
    runpy.run_path(tables.__file__, run_name="__main__")  # writes nothing: the file is as it was


@pytest.mark.parametrize("key", ["state", "input", "next", "guard", "actions"])
def test_an_unknown_name_is_refused_on_loading(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    file = copy.deepcopy(FILE)
    file["machine"][0]["row"][0][key] = ["jump"] if key == "actions" else "jump"
    monkeypatch.setattr(state_machines, "load", lambda: file)
    with pytest.raises(ValueError, match="jump"):
        machines.__wrapped__()


@pytest.mark.parametrize(
    "name",
    ["argparse", "asyncio", "dataclasses", "importlib.resources", "inspect", "pathlib", "tomllib"],
)
def test_nothing_slow_is_imported(name: str) -> None:
    """A session starts in programs that run for an instant: a TOML reader doubles the import."""
    code = f"import sys; sys.modules.pop({name!r}, 0); import neffos_protocol"
    code += f"; sys.exit({name!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_misuse_has_a_remedy_in_every_state() -> None:
    assert _core.INSTEAD.keys() == {*HANDSHAKE.states, *MEMBERSHIP.states}
