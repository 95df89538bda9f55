"""The state tables by themselves: well formed, complete, and in words that the session knows.

What the rows *say* is held against a session in ``test_session_tables.py``.
"""

from __future__ import annotations

import ast
import copy
import inspect
import json
import textwrap
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from neffos_protocol import session as session_module
from neffos_protocol.machines import ASK, HANDSHAKE, MEMBERSHIP, QUESTION, Machine, machines
from neffos_protocol.session import Session

DATA = Path(__file__).parents[1] / "data"
FILE = tomllib.loads((DATA / "machines.toml").read_text("utf-8"))
SCHEMA = json.loads((DATA / "schema" / "machines.json").read_text("utf-8"))

every_machine = pytest.mark.parametrize("machine", machines().values(), ids=lambda one: one.name)


def actions(machine: Machine) -> set[str]:
    return {action for rows in machine.rows.values() for row in rows for action in row.actions}


def guards(machine: Machine) -> set[str]:
    return {row.guard for rows in machine.rows.values() for row in rows} - {""}


# ---- The form of the file ----


def test_the_file_has_the_form_that_the_schema_says() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    Draft202012Validator(SCHEMA).validate(FILE)


def _machine(number: int, **changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda file: file["machine"][number].update(changes)


def _row(number: int, **changes: Any) -> Callable[[dict[str, Any]], None]:
    return lambda file: file["machine"][number]["row"][0].update(changes)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda file: file.update(format=2),
        lambda file: file.update(extra=1),
        lambda file: file.update(machine=[]),
        lambda file: file["machine"][0].pop("about"),
        lambda file: file["machine"][0]["row"][0].pop("next"),
        lambda file: file["machine"][0]["initial"].pop("native-only"),
        lambda file: file["machine"][1].pop("live"),
        lambda file: file["machine"][2]["row"].append(file["machine"][2]["row"][0]),
        _machine(0, live=["open"]),
        _machine(0, name="other"),
        _machine(1, states=["in", "in"]),
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
        "ask",
        "question",
    ]
    assert list(machines().values()) == [HANDSHAKE, MEMBERSHIP, ASK, QUESTION]


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
def test_rows_use_declared_names_and_all_of_them(machine: Machine) -> None:
    inputs = {*machine.commands, *machine.received}
    assert len(inputs) == len(machine.commands) + len(machine.received)
    assert set(machine.initial.values()) <= set(machine.states)
    assert machine.live <= set(machine.states)
    rows = [row for group in machine.rows.values() for row in group]
    assert {row.next for row in rows} <= set(machine.states)
    assert {row.state for row in rows} == set(machine.states)
    assert {row.input for row in rows} == inputs


@every_machine
def test_whatever_a_peer_sends_has_a_row_in_every_state(machine: Machine) -> None:
    for state in machine.states:
        for received in machine.received:
            row = machine.row(state, received, lambda _: False)
            assert row is not None, (state, received)
            assert not row.guard


@every_machine
def test_every_row_can_be_taken(machine: Machine) -> None:
    for rows in machine.rows.values():
        *guarded, last = rows
        assert not last.guard, last
        assert all(row.guard for row in guarded), "nothing is taken after a row without a guard"
        assert len({row.guard for row in rows}) == len(rows), "the same guard holds only once"


@every_machine
def test_every_state_can_be_reached(machine: Machine) -> None:
    reached = set(machine.initial.values())
    while (
        more := {row.next for rows in machine.rows.values() for row in rows if row.state in reached}
        - reached
    ):
        reached |= more
    assert reached == set(machine.states)


@every_machine
def test_a_command_without_a_row_has_none_whatever_holds(machine: Machine) -> None:
    for state in machine.states:
        for command in machine.commands:
            if (state, command) not in machine.rows:
                assert machine.row(state, command, lambda _: True) is None


def test_the_first_row_whose_guard_holds_is_taken() -> None:
    rows = MEMBERSHIP.rows["out", "ask-enter"]
    assert [row.guard for row in rows] == ["unknown", "full", "decides-entry", ""]
    for index, row in enumerate(rows):
        later = {row.guard for row in rows[index:]}
        assert MEMBERSHIP.row("out", "ask-enter", later.__contains__) is row


def test_what_exists_ends_only_where_someone_says_so() -> None:
    """The live states are entered and left by the rows that tell the application so."""
    for rows in MEMBERSHIP.rows.values():
        for row in rows:
            was, becomes = row.state in MEMBERSHIP.live, row.next in MEMBERSHIP.live
            if was and not becomes:
                assert {"left", "forced"} & {*row.actions}, row
            elif becomes and not was:
                assert "entered" in row.actions, row
            else:
                assert not {"left", "forced", "entered"} & {*row.actions}, row


# ---- The session knows these words, and no others ----


def test_the_session_has_every_guard_and_action_of_membership() -> None:
    assert guards(MEMBERSHIP) == session_module._GUARDS.keys()
    # "ask" is what the command itself does: it is refused before anything is followed.
    assert actions(MEMBERSHIP) - {"ask"} == session_module._ACTIONS.keys()
    asking = {
        row.input for rows in MEMBERSHIP.rows.values() for row in rows if "ask" in row.actions
    }
    assert asking == {"enter", "exit"}


def test_the_session_has_every_action_of_the_handshake() -> None:
    [match] = [
        node
        for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(Session._shake))))
        if isinstance(node, ast.Match)
    ]
    known = {
        case.pattern.value.value
        for case in match.cases
        if isinstance(case.pattern, ast.MatchValue) and isinstance(case.pattern.value, ast.Constant)
    }
    assert len(known) == len(match.cases) - 1, "and one for what is unknown"
    # Reading frames is what an open session does with every payload, without this table.
    assert actions(HANDSHAKE) - {"read"} == known
    assert guards(HANDSHAKE) == {"decides"}


def test_asks_and_questions_speak_of_what_their_tests_know() -> None:
    assert guards(ASK) == {"changes-membership"}
    assert actions(ASK) == {"send", "unmatched", "answered", "refused", "expired", "lost"}
    assert guards(QUESTION) == {"full"}
    assert actions(QUESTION) == {"reply-full", "deliver", "send-reply", "send-error", "withdraw"}


def test_a_misuse_has_a_remedy_in_every_state() -> None:
    assert session_module._INSTEAD.keys() == {*HANDSHAKE.states, *MEMBERSHIP.states}
