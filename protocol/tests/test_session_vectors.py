"""Plays the session vectors, and checks the vectors themselves and how they were made."""

from __future__ import annotations

import copy
import json
import re
import runpy
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest
from jsonschema_rs import Draft202012Validator, meta

from neffos_protocol import session_paths, session_recording, session_vectors
from neffos_protocol.catalogue import requirements
from neffos_protocol.events import Event, Role
from neffos_protocol.limits import SessionLimits
from neffos_protocol.session_vectors import Placeholders, SessionPlayer, Vector, play
from neffos_protocol.state_machines import machines

FILES = session_vectors.load_files()
SCHEMA = json.loads(session_vectors.texts()["schema.json"])
VALIDATOR = Draft202012Validator(SCHEMA)
ALL = session_vectors.load_vectors()
BY_ID = {vector["id"]: vector for vector in ALL}

MADE = {"asks", "handshake", "namespaces", "rooms"}
"""The files that are made from the tables."""

ONLY_OF = {
    "client": {"new", "requested", "none", "pending"},
    "server": {"awaiting", "deciding", "deciding-disconnect", "none", "pending"},
}
"""The states that no other role reaches; asks are the same for both."""


def test_a_session_does_what_every_vector_expects() -> None:
    # One test: as many as there are vectors would take much longer than the vectors.
    differing = {vector["id"]: str(found) for vector in ALL if (found := play(vector))}
    assert differing == {}
    assert len(ALL) >= 500


def test_what_a_session_does_in_a_turn_is_expected_too() -> None:
    assert [vector["id"] for vector in ALL if play(vector, is_by_turn=True)] == []


# ---- The vectors themselves ----


@pytest.mark.no_cover  # all of its work is the schema's
@pytest.mark.parametrize("name", FILES)
def test_file_follows_the_schema(name: str) -> None:
    meta.validate(SCHEMA)
    assert [error.verbose_message for error in VALIDATOR.iter_errors(FILES[name])] == []


@pytest.mark.parametrize(
    "change",
    [
        lambda vector: vector.pop("given"),
        lambda vector: vector.update(id="membership-1"),
        lambda vector: vector.update(requirements=[]),
        lambda vector: vector.update(role="peer"),
        lambda vector: vector.update(steps=[]),
        lambda vector: vector["given"].update(surprise=1),
        lambda vector: vector["given"].update(limits={"mood": 1}),
        lambda vector: vector["steps"][0].update(send=[]),
        lambda vector: vector["steps"][0].update(do="dance"),
        lambda vector: vector["steps"][0].update(receive="x"),
        lambda vector: vector["steps"].append({"send": ["x"]}),
        lambda vector: vector["steps"].append({"do": "connect"}),
        lambda vector: vector["steps"].append({"receive": {"hex": "f"}}),
        lambda vector: vector["steps"].append({"end": True, "events": [{"event": "closed"}]}),
        lambda vector: vector["steps"].append({"end": True, "events": [{"event": "surprise"}]}),
    ],
)
def test_the_schema_refuses(change: Callable[[Vector], object]) -> None:
    file = copy.deepcopy(FILES["handshake"])
    file["vectors"] = file["vectors"][:1]
    assert VALIDATOR.is_valid(file)
    change(file["vectors"][0])
    assert not VALIDATOR.is_valid(file)


def test_the_schema_knows_every_event_and_every_limit() -> None:
    events = set(SCHEMA["$defs"]["event"]["properties"]["event"]["enum"])
    words = [re.sub(r"(?<!^)([A-Z])", r"-\1", each.__name__).lower() for each in Event.__args__]
    assert events == set(words) - {"ask-sent"}
    limits = SCHEMA["$defs"]["given"]["properties"]["limits"]["properties"]
    assert tuple(limits) == SessionLimits.__match_args__


def test_ids_are_unique_and_the_requirements_exist() -> None:
    assert [id_ for id_, times in Counter(each["id"] for each in ALL).items() if times > 1] == []
    assert {id_ for each in ALL for id_ in each["requirements"]} <= requirements().keys()


def test_the_examples_of_the_readme_are_vectors() -> None:
    readme = (Path(__file__).parents[1] / "vectors" / "README.md").read_text("utf-8")
    examples = [part.split("```")[0] for part in readme.split("```json\n")[1:]]
    assert examples
    for example in map(json.loads, examples):
        assert example == BY_ID[example["id"]]


# ---- How they were made ----


def test_the_files_are_what_the_tables_give(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session_vectors, "FOLDER", tmp_path)
    # By its path: pytest's import hook runs no installed module by its name.
    runpy.run_path(session_paths.__file__, run_name="__main__")
    written = {path.name: path.read_text("utf-8") for path in tmp_path.iterdir()}
    monkeypatch.undo()
    texts = session_vectors.texts()
    assert written == {name: texts[name] for name in written}, (
        "run python -m neffos_protocol.session_paths"
    )
    assert written.keys() == {f"{name}.json" for name in MADE}


def test_the_other_files_have_the_same_form() -> None:
    texts = session_vectors.texts()
    for name in FILES.keys() - MADE:
        assert texts[f"{name}.json"] == session_recording.text_of(FILES[name])


def rows() -> list[tuple[str, tuple[str, ...]]]:
    """Every row for every role that can take it, by the beginning of its vectors' IDs."""
    names = {
        "handshake": {"handshake": ""},
        "membership": {"namespaces": "namespace", "rooms": "room"},
        "outgoing-ask": {"asks": "", "system-asks": ""},
        "incoming-ask": {"answers": ""},
    }
    found: list[tuple[str, tuple[str, ...]]] = []
    for machine in machines().values():
        for row in (row for each in machine.rows.values() for row in each):
            for name, kind in names[machine.name].items():
                for role in Role:
                    other = ONLY_OF["server" if role is Role.CLIENT else "client"]
                    is_foreign = {row.state, row.next} & other - ONLY_OF[role]
                    if is_foreign or (row.guard == "system-ask") > (name == "system-asks"):
                        continue
                    if (name, row.input, row.guard) == ("system-asks", "deadline", ""):
                        continue
                    guard = f"-{row.guard}" if row.guard else ""
                    start = f"session-{name}-{role}-{row.state}-{row.input}{guard}"
                    found.append((start, row.requirements[kind]))
    return found


def test_every_row_has_a_vector_for_each_role() -> None:
    by_row: dict[str, list[Vector]] = defaultdict(list)
    for id_, vector in BY_ID.items():
        by_row[id_.rpartition("-")[0]].append(vector)
    assert len(rows()) > 150
    for start, ids in rows():
        assert by_row[start], start
        for vector in by_row[start]:
            assert tuple(vector["requirements"]) == ids


# ---- What plays them ----


def test_a_difference_names_the_step() -> None:
    vector = copy.deepcopy(BY_ID["session-namespaces-client-disconnected-connect-1"])
    step = next(step for step in vector["steps"] if step.get("do") == "connect")
    number = vector["steps"].index(step) + 1
    step["send"] = ["<<t1>>;other;;_OnNamespaceConnect;0;0;"]
    found = play(vector)
    assert found is not None
    assert found.step == number
    assert found.expected == '"<<t1>>;other;;_OnNamespaceConnect;0;0;"'
    assert str(found).startswith(f"step {number}: expected ")
    step["send"].append("M")
    assert str(play(vector)).startswith(f"step {number}: expected ")
    step["send"] = ["<<t1>>;app;;_OnNamespaceConnect;0;0;"]
    step["events"] = [{"event": "opened", "id": "7"}]
    assert play(vector) is not None
    del step["events"]
    del step["send"]
    assert play(vector) is not None
    step["send"] = ["<<t1>>;app;;_OnNamespaceConnect;0;0;"]
    step["misuse"] = True
    assert str(play(vector)) == (
        f'step {number}: expected {{"misuse": ["connect"]}}, actual {{"misuse": []}}'
    )
    del step["misuse"]
    vector["steps"].append({"do": "allow", "ask": 7})
    assert str(play(vector)).endswith('expected {"misuse": []}, actual {"misuse": ["allow"]}')


@pytest.mark.parametrize("token", ["", "7", "#$7", "$!7", "$1"])
def test_a_placeholder_takes_only_a_new_token_of_the_role(token: str) -> None:
    names = Placeholders("client")
    assert names.match("<<t1>>;app;;say;0;0;", "$1;app;;say;0;0;")
    assert not names.match("<<t2>>;app;;say;0;0;", f"{token};app;;say;0;0;")
    assert names.match("<<t2>>;app;;say;0;0;", "$2;app;;say;0;0;")
    assert names.values == {"t1": "$1", "t2": "$2"}
    assert not names.match("<<t2>>;app;;say;0;0;", "$1;app;;say;0;0;")
    assert not names.match({"binary": "<<t2>>;app;;say;0;0;"}, "$2;app;;say;0;0;")
    assert names.match({"binary": "<<t2>>;", "hex": "ff"}, b"$2;\xff")


@pytest.mark.parametrize("payload", ["é", b"text", b"a\xff", b"\xff"])
def test_a_payload_is_described(payload: str | bytes) -> None:
    assert session_vectors.payload_of(session_vectors.describe(payload), {}) == payload


def test_an_unknown_command_is_an_error() -> None:
    player = SessionPlayer({"role": "client"})
    with pytest.raises(ValueError, match="dance"):
        player.take_turn([{"do": "dance"}], {})
