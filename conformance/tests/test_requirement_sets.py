"""Requirement sets: what is frozen stays, whatever the data say later."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache

import pytest

from mutation import work_clock
from neffos_conformance import requirement_sets
from neffos_conformance.cases.definition import cases_of
from neffos_conformance.cases.features import needed
from neffos_conformance.cli import main as cli
from neffos_conformance.reference.embedded import embedded_server
from neffos_conformance.requirement_sets import SetError, draft, frozen, read_set, requirement_set
from neffos_conformance.runner.pace import cost_of
from neffos_conformance.runner.run import run_cases, to_server

ROLES = ("server", "client", "codec")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The folder of sets, with the draft frozen as 2026-1."""
    monkeypatch.setattr(requirement_sets, "_FOLDER", tmp_path)
    (tmp_path / "2026-1.json").write_text(frozen_once(), "utf-8")
    return tmp_path


@cache
def frozen_once():
    return frozen("2026-1")


def change(folder, make, *, is_hashed=True):
    """Have something else in the frozen set, as an older version of the data had."""
    path = folder / "2026-1.json"
    values = json.loads(path.read_text("utf-8"))
    make(values)
    if is_hashed:
        made = replace(draft(), requirements=values["requirements"], entries=values["cases"])
        values["sha256"] = made.sha256
    path.write_text(json.dumps(values), "utf-8")


RELEASED = {"2026-1": "e6ad68ffd7e58a6a7b2d40edbb96448bf8be1192fc915eb03c1b0a0dfc56ffae"}
"""The hash of each frozen set, which never changes."""


@pytest.mark.parametrize("name", RELEASED)
def test_a_frozen_set_stays_as_it_is_and_can_be_played(name):
    found = requirement_set(name)
    assert found.sha256 == RELEASED[name]
    assert [len(found.cases(role)) > 0 for role in ROLES] == [True] * len(ROLES)


def test_there_is_a_draft_beside_the_sets_of_releases():
    assert requirement_sets.set_names() == [*RELEASED, "draft"]
    assert requirement_set("draft") is draft()
    assert draft().cases("server") == list(cases_of("server"))


def test_a_frozen_set_has_the_hash_and_the_cases_of_its_draft(folder):
    found = requirement_set("2026-1")
    assert found.sha256 == draft().sha256
    assert found.reference.name == "2026-1"
    for role in ROLES:
        assert found.cases(role) == draft().cases(role)


def test_titles_and_hints_are_not_hashed():
    case = cases_of("server")[0]
    renamed = replace(case, title="another", why="a hint")
    assert requirement_sets._entry(renamed) == requirement_sets._entry(case)
    assert "about" not in draft().entries["codec"]["decode-error-002"]["vector"]


def test_levels_and_bases_are_hashed():
    of_another = {**draft().requirements, "AR-1": {"level": "MUST", "basis": "specified-here"}}
    assert replace(draft(), requirements=of_another).sha256 != draft().sha256


@pytest.mark.parametrize("role", ["server", "client"])
def test_an_expanded_script_is_the_script(role):
    for case in cases_of(role):
        entry = draft().entries[role][case.id]
        made = requirement_sets._frozen(case.id, entry, role, case)
        assert replace(made, steps=(), record=case.record) == replace(case, steps=())
        assert requirement_sets._entry(made) == entry
        assert needed(made) >= needed(case)
        assert cost_of(made) == cost_of(case)


def test_a_case_that_changed_is_played_as_it_was_frozen(folder):
    def older(values):
        cases = values["cases"]["server"]
        cases["AR-1.1"]["script"] = [
            line.replace("hi", "good day") for line in cases["AR-1.1"]["script"]
        ]
        cases["AR-1.99"] = cases["AR-1.2"]

    async def verdicts(cases):
        async with embedded_server() as url:
            return [each.verdict async for each in run_cases(to_server(url), cases)]

    change(folder, older)
    cases = {each.id: each for each in requirement_set("2026-1").cases("server")}
    now = {each.id: each for each in cases_of("server")}
    assert "good day" in str(cases["AR-1.1"].steps[-1])
    assert cases["AR-1.1"].title == now["AR-1.1"].title
    assert cases["AR-1.2"] is now["AR-1.2"]
    found = work_clock.run(verdicts([cases["AR-1.1"], cases["AR-1.99"]]))
    assert [each.value for each in found] == ["pass", "pass"]


def _level(values):
    values["requirements"]["AR-1"]["level"] = "MAY"


def _vector(values):
    values["cases"]["codec"]["decode-error-002"]["vector"]["payload"] = "x"


def _form(values):
    values["more"] = 1


@pytest.mark.parametrize(
    ("make", "is_hashed", "text"),
    [
        (_level, False, "is not what its hash says"),
        (_level, True, "AR-1 changed since the requirement set 2026-1 was frozen"),
        (_vector, True, "the vector decode-error-002 is not what it was when 2026-1 was frozen"),
        (_form, True, "has another form: Additional properties"),
    ],
)
def test_a_set_that_cannot_be_tested_by_is_refused(folder, make, is_hashed, text):
    change(folder, make, is_hashed=is_hashed)
    with pytest.raises(SetError, match=text):
        requirement_set("2026-1").cases("codec")


@pytest.mark.parametrize("data", [b"", b"[" * 100_000, b"\xff", b"3"])
def test_nonsense_is_no_set(data):
    with pytest.raises(SetError, match="the requirement set 2026-1 "):
        read_set(data, "2026-1")


def test_the_name_of_a_frozen_set_is_that_of_a_release():
    with pytest.raises(SetError, match="expected such as 2026-1"):
        frozen("draft")


@pytest.mark.parametrize("role", ROLES)
def test_a_name_of_no_set_is_a_usage_error(role, capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["test", role, "--set", "2025-9"])
    assert ended.value.code == 2
    assert (
        f"there is no requirement set '2025-9'. Try: {', '.join(RELEASED)}, draft"
        in capsys.readouterr().err
    )


def test_a_report_names_the_set(capsys, tmp_path):
    path = tmp_path / "report.json"
    with pytest.raises(SystemExit):
        cli.main(["test", "server", "--case", "FR-2", "--report", str(path)])
    values = json.loads(path.read_text("utf-8"))
    assert values["set"] == {"name": "draft", "sha256": draft().sha256}
    out = " ".join(capsys.readouterr().out.split())
    assert f"requirement set draft ({draft().sha256[:12]})" in out
