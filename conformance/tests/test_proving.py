"""The Promela model has every row of the tables; what SPIN says and prints is read as it is.

SPIN itself runs in `make model`.
"""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from mutation import memory_loop
from mutation.hooks import Hooks
from neffos_conformance.recordings.checking import check
from neffos_conformance.wire.transcript import Entry, header, lines, save
from neffos_protocol import _memberships
from neffos_protocol.session_vectors import load_vectors, play
from neffos_protocol.state_machines import MEMBERSHIP, Action, Guard, StateMachine, machines
from proving import results, spin
from proving.__main__ import main
from proving.configurations import CONFIGURATIONS
from proving.faults import FAULTS, LIVE, PROPERTIES, changed
from proving.played_rows import PATHS, UNSEEN, watched, why_untaken
from proving.promela import (
    ASSERTED,
    GUARDS,
    HANDSHAKE_ACTIONS,
    INCOMING_ACTIONS,
    MEMBERSHIP_ACTIONS,
    OUTGOING_ACTIONS,
    Size,
    UnknownRowError,
    model,
    row_name,
    rows_of,
)
from proving.recorded_paths import departures
from proving.trails import entries, head

ROWS = rows_of(machines())


def taken(text: str) -> list[int]:
    """The rows that a model takes, by their numbers, where each is written."""
    return [int(each) for each in re.findall(r"TAKE\((\d+)\)", text)]


# ---- Tables and model do not part ----


def test_a_model_has_every_row() -> None:
    text = model(machines(), Size(rooms=1, asks=2, events=True, event_asks=True, cuts=True))
    assert {*taken(text)} == {*range(len(ROWS))}
    for row in ROWS:
        assert f"/* {row_name(*row)} */" in text


def test_a_row_in_words_that_the_model_does_not_know_is_an_error() -> None:
    row = ("outgoing-ask", "none", "send", "")
    with pytest.raises(UnknownRowError, match=r"^outgoing-ask: send in none: no words for queue"):
        model(changed(row, actions=(Action.QUEUE,)), Size())
    with pytest.raises(UnknownRowError, match="no words for jump"):
        model(changed(row, guard="jump"), Size())


def test_the_model_knows_no_word_that_the_tables_do_not_use() -> None:
    words = {
        "handshake": HANDSHAKE_ACTIONS,
        "membership": MEMBERSHIP_ACTIONS,
        "outgoing-ask": OUTGOING_ACTIONS,
        "incoming-ask": INCOMING_ACTIONS,
    }
    for name, actions in words.items():
        assert actions.keys() == {
            action for machine, row in ROWS if machine == name for action in row.actions
        }
    assert GUARDS.keys() == {row.guard for _, row in ROWS}


@pytest.mark.parametrize(
    ("row", "changes"),
    [
        (("handshake", "requested", "refusal", ""), {"next": "new"}),
        (("membership", "connecting", "connect-done", ""), {"next": "disconnected"}),
        (("membership", "disconnected", "ask-connect", "full"), {"actions": ()}),
        (("membership", "deciding-disconnect", "closed", ""), {"actions": ()}),
        (("outgoing-ask", "pending", "deadline", "system-ask"), {"next": "none"}),
        (("incoming-ask", "pending", "reply", ""), {"actions": ()}),
    ],
    ids=lambda each: each[2] if isinstance(each, tuple) else "",
)
def test_a_changed_row_changes_its_own_line_alone(row, changes) -> None:
    size = Size(rooms=1, event_asks=True)
    before, after = (
        model(each, size).splitlines() for each in (machines(), changed(row, **changes))
    )
    differ = {line for line, other in zip(before, after, strict=True) if line != other}
    [own] = [each for each in ROWS if (each[0], each[1].state, each[1].input, each[1].guard) == row]
    assert differ
    assert all(f"/* {row_name(*own)} */" in line for line in differ)


def test_guards_are_free_but_for_those_that_the_protocol_fixes() -> None:
    assert {guard for guard, when in GUARDS.items() if when != "true"} == {
        Guard.DECIDES_DISCONNECT,
        Guard.SYSTEM_ASK,
    }


def test_only_what_is_asked_for_is_asserted() -> None:
    text = model(machines(), Size(), ["asks"])
    assert "observer" not in text
    assert text.count("assert(") == 1, "only that no channel is full"
    assert "never {" in text
    assert "never {" not in model(machines(), Size())


# ---- The faults, and their counterexamples ----


def test_each_property_has_a_fault() -> None:
    assert {each.property for each in FAULTS} == PROPERTIES.keys()
    assert {*ASSERTED, *LIVE} == PROPERTIES.keys()
    assert {name for each in CONFIGURATIONS for name in each.properties} == PROPERTIES.keys()


@pytest.mark.parametrize("fault", FAULTS, ids=lambda each: each.name)
def test_a_counterexample_is_a_recording(fault) -> None:
    report = check(results.FOLDER / f"{fault.name}.jsonl")
    assert not report.unreadable_lines
    assert report.messages > 1
    found = {each.requirement for each in report.violations}
    assert found == ({fault.violation} if fault.violation else set())


def test_a_trail_becomes_messages() -> None:
    trail = ["@ 0 1 0 0", "+ 1 1 0 0", "@ 1 2 0 0", "@ 2 1 0 0", "@ 0 4 3 1", "@ 1 7 3 1"]
    trail += ["@ 1 6 0 0", "@ 0 7 0 0", "@ 0 5 1 0", "@ 1 8 1 0", "@ 1 9 2 0", "@ 1 10 0 0"]
    made = list(entries(trail, Size(namespaces=2, rooms=1, asks=2)))
    assert [each.content for each in made[:-1]] == [
        "M",
        "A1",
        "M",
        "$1;any;kitchen;_OnRoomJoin;0;0;".replace("kitchen", "lobby"),
        "$1;;;;;;",
        "2;app;;echo;0;0;hi",
        "2;app;;echo;0;0;hi",
        "$3;any;;_OnNamespaceDisconnect;0;0;",
        "$3;any;;_OnNamespaceDisconnect;1;0;no",
        ";app;lobby;news;0;0;hi",
    ]
    assert [each.connection for each in made] == [1, 1, 2, *[1] * 8]
    assert len(b"".join(lines(head(FAULTS[0]), made)).splitlines()) == len(made) + 1


# ---- SPIN ----

SEARCHED = """pan:1: assertion violated late (at depth 52)
State-vector 168 byte, depth reached 54, errors: 1
     5091 states, stored
 1.0e+02 transitions (= stored+matched)
hash factor: 26.8435 (best if > 100.)
  133.634	total actual memory usage
pan: elapsed time 0.02 seconds
"""


def test_the_outcome_of_a_search_is_read() -> None:
    found = spin._read(SEARCHED, "row 0 12\nrow 1 0\n", ("@ 0 1 0 0",))
    assert (found.states, found.transitions, found.depth) == (5091, 100, 54)
    assert (found.seconds, found.mebibytes, found.coverage) == (0.02, 133.634, 26.8435)
    assert found.problem == "assertion violated late"
    assert found.taken == {0: 12, 1: 0}


@pytest.mark.parametrize("said", ["max search depth too small", "pan: out of memory", ""])
def test_a_search_that_did_not_end_proves_nothing(said: str) -> None:
    with pytest.raises(spin.ModelError, match="did not end"):
        spin._read(f"{SEARCHED if said else ''}{said}", "", ())


def test_a_missing_tool_is_named_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    assert main([]) == 4
    assert capsys.readouterr().err == "no spin and no gcc. Try: apt-get install spin gcc\n"


# ---- The figures ----


def test_figures_are_of_configurations_and_rows_that_there_are() -> None:
    found = results.load()
    known = {each.name: each for each in CONFIGURATIONS}
    figures = found["configuration"]
    assert [*figures] == [name for name in known if name in figures]
    assert {name for name, each in known.items() if each.is_share} <= figures.keys()
    for name, each in figures.items():
        assert ("hash_factor" in each) is known[name].is_searched
    assert {*found["taken"]} <= {row_name(*each) for each in ROWS}


def test_a_run_keeps_the_figures_of_others(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "FILE", tmp_path / "results.toml")
    first, second = CONFIGURATIONS[:2]
    one = spin._read(SEARCHED, "row 3 1\n", ())
    results.save({second: one})
    results.save({first: spin._read(SEARCHED, "row 1 1\nrow 2 0\n", ())})
    found = results.load()
    assert [*found["configuration"]] == [first.name, second.name]
    assert found["taken"] == [row_name(*ROWS[number]) for number in (1, 3)]
    assert found["configuration"][first.name]["states"] == 5091


# ---- Recordings are paths ----

CORPUS = Path(__file__).parents[1] / "transcripts"


def test_every_recording_is_a_path_or_names_what_leaves_it() -> None:
    found = {path: [*departures(path, machines())] for path in sorted(CORPUS.rglob("*.jsonl"))}
    assert not [f"{path}: {each}" for path in found for each in found[path] if not each.reason]
    paths = [path for path, each in found.items() if not each]
    assert len(paths) > len(found) * 0.8


def recorded(tmp_path: Path, *messages: str, **names: str) -> list[str]:
    """The departures of a recording: a client's message begins with ``>``."""
    peers = {role: {"peer": names.get(role, "other")} for role in ("client", "server")}
    first = header(scenario="a test", how="by hand", **peers, defects={"NS-13": "client"})
    made = [Entry(0, 0.0, 1, each[0] == ">", each[1:]) for each in (">M", "<A1", *messages)]
    save(tmp_path / "one.jsonl", first, made)
    return [str(each) for each in departures(tmp_path / "one.jsonl", machines())]


CONNECT = (">$1;n;;_OnNamespaceConnect;0;0;", "<$1;;;;;;")


@pytest.mark.parametrize(
    ("messages", "step"),
    [
        ([">$1;n;;_OnNamespaceConnect;0;0;", "<$1;n;;_OnNamespaceConnect;1;0;no"], ""),
        ([*CONNECT, ">$2;n;r;_OnRoomJoin;0;0;", "<$2;;;;;;", ">;n;r;e;0;0;"], ""),
        ([*CONNECT, ">$1;n;;_OnNamespaceConnect;0;0;"], "connect in connected by the client"),
        (
            [*CONNECT, "<2;n;;_OnNamespaceDisconnect;0;0;", ">2;n;;_OnNamespaceDisconnect;1;0;no"],
            "ask-disconnect refused in connected by the client",
        ),
        ([">;n;;e;0;0;"], "an event outside by the client"),
        ([*CONNECT, "<;n;r;e;0;0;"], "an event outside by the server"),
        ([*CONNECT, "<$1;;;;;;"], "a reply to what was not asked by the server"),
        ([">$2;n;r;_OnRoomJoin;0;0;"], "join outside its namespace by the client"),
    ],
)
def test_what_no_row_has_leaves_the_model(tmp_path: Path, messages: list[str], step: str) -> None:
    found = recorded(tmp_path, *messages)
    assert [each.partition(": ")[2].partition(" (")[0] for each in found] == (
        [step] if step else []
    )


def test_a_departure_has_a_reason(tmp_path: Path) -> None:
    message = ">;n;;e;0;0;"
    assert recorded(tmp_path, message)[0].endswith("(NS-13)")
    assert recorded(tmp_path, message, client="neffos-wire suite")[0].endswith("suite)")
    assert recorded(tmp_path, "<;n;;e;0;0;")[0].endswith("(unexplained)")


# ---- One row changed breaks what depends on it, and nothing else ----


class Noting:
    """The table of memberships, which notes the rows that a session follows."""

    def __init__(self, table: StateMachine) -> None:
        self.table = table
        self.noted: set[tuple[str, str, str]] = set()

    def follow(self, *of):
        row = self.table.follow(*of)
        self.noted.add((row.state, row.input, row.guard))
        return row

    def __getattr__(self, name: str):
        return getattr(self.table, name)


VECTORS = [each for each in load_vectors() if not each["id"].startswith("session-case-")]


@pytest.fixture(scope="module")
def takes() -> dict[str, set[tuple[str, str, str]]]:
    """The rows that each vector takes."""
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        for vector in VECTORS:
            noting = Noting(MEMBERSHIP)
            patch.setattr(_memberships, "MEMBERSHIP", noting)
            play(vector)
            found[vector["id"]] = noting.noted
    return found


@pytest.mark.parametrize(
    ("row", "changes"),
    [
        (("connected", "ask-disconnect", ""), {"actions": (Action.REPLY_UNKNOWN,)}),
        (("deciding-disconnect", "deny", ""), {"next": "disconnected"}),
    ],
    ids=lambda each: each[0] if isinstance(each, tuple) else "",
)
def test_a_changed_row_breaks_the_vectors_that_take_it(
    monkeypatch: pytest.MonkeyPatch, takes, row, changes
) -> None:
    wrong = changed(("membership", *row), **changes)
    monkeypatch.setattr(_memberships, "MEMBERSHIP", wrong["membership"])
    broken = {vector["id"] for vector in VECTORS if play(vector)}
    assert broken <= {id_ for id_, rows in takes.items() if row in rows}
    assert [id_ for id_ in broken if f"-{row[0]}-{row[1]}-" in id_], "those of the row itself"


def test_a_changed_row_breaks_the_recordings_that_take_it() -> None:
    row = ("membership", "connected", "ask-disconnect", "")
    wrong = changed(row, actions=(Action.REPLY_UNKNOWN,))
    steps = {
        each.step
        for path in sorted(CORPUS.rglob("*.jsonl"))
        for each in departures(path, wrong)
        if not each.reason
    }
    assert steps == {"ask-disconnect confirmed in connected"}


# ---- Paths are played to live peers ----


def test_a_path_leads_a_live_server_through_its_row() -> None:
    async def run() -> list[str]:
        async with Hooks().stage() as play_case:
            results = [await play_case(case) for case in PATHS]
        return [each.explanation for each in results if each.is_broken]

    with watched() as taken:
        assert memory_loop.run(run()) == []
    names = {row_name(*each) for each in ROWS if id(each[1]) in taken}
    assert "membership: closed in disconnecting" in names
    assert "membership: deny in deciding-connect" not in names


def test_a_row_that_no_case_takes_has_a_reason() -> None:
    names = {row_name(*each): each for each in ROWS}
    assert UNSEEN.keys() <= names.keys()
    assert why_untaken(*names["membership: closed in disconnected"]).startswith("nothing happens")
    assert why_untaken(*names["handshake: close in new"]).startswith("the application closes")
    assert why_untaken(*names["membership: connect-done in connecting"]) == ""
