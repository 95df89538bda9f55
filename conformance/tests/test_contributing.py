"""The example of CONTRIBUTING.md passes the checks of ``make test``; its case kills its mutant."""

from __future__ import annotations

import json
import re
import textwrap
import tomllib
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest
from jsonschema_rs import Draft202012Validator

from mutation import BANK, kill_matrix, work_clock
from mutation.servers import memberships
from neffos_conformance.cases.definition import read_cases, server_cases
from neffos_conformance.reference.embedded import embedded_server
from neffos_conformance.reports.citations import citations
from neffos_conformance.runner.run import to_server
from neffos_protocol.catalogue import Requirement
from neffos_protocol.registry import typed

from . import test_cases, test_history

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
NAME = "rooms-lost-elsewhere"


def blocks(language: str) -> list[str]:
    found = re.findall(rf"    ```{language}\n(.*?)    ```\n", PAGE, re.DOTALL)
    return [textwrap.dedent(each) for each in found]


REQUIREMENT, CASE = blocks("toml")
CITATION, MUTANT = blocks("python")

ONE = typed(Requirement, tomllib.loads(REQUIREMENT)["requirement"][0])
(THE_CASE,) = read_cases(CASE, "server")


@pytest.fixture
def mutant(monkeypatch):
    monkeypatch.delitem(BANK, NAME, raising=False)  # a reader may have pasted it
    exec(MUTANT, dict(vars(memberships)))  # noqa: S102  # what a reader would paste
    yield BANK[NAME]
    del BANK[NAME]


@pytest.fixture
def alone(monkeypatch):
    """Let the checks see the requirement and the case of the example alone."""
    for module in (test_cases, test_history, kill_matrix):
        monkeypatch.setattr(module, "requirements", lambda: {ONE.id: ONE})
    for module in (test_cases, test_history):
        monkeypatch.setattr(module, "all_cases", lambda role: [THE_CASE] * (role == "server"))
    monkeypatch.setattr(test_cases, "cases_of", test_cases.all_cases)
    monkeypatch.setattr(test_history.pages, "UNSEEN", {})


def test_the_requirement_is_of_the_catalogues_form():
    schema = json.loads((ROOT / "protocol/data/schema/requirements.json").read_text("utf-8"))
    catalogue = tomllib.loads((ROOT / "protocol/data/requirements.toml").read_text("utf-8"))
    catalogue["requirement"] += tomllib.loads(REQUIREMENT)["requirement"]
    assert list(Draft202012Validator(schema).iter_errors(catalogue)) == []


def test_the_requirement_passes_what_the_catalogue_asks_of_each():
    spec = spec_from_file_location("of_catalogue", ROOT / "protocol/tests/test_catalogue.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    marks = [(each, getattr(each, "pytestmark", ())) for each in vars(module).values()]
    checks = [check for check, found in marks if module.every_requirement.mark in found]
    assert checks
    for check in checks:
        check(ONE)


def test_requirement_and_case_pass_the_checks_of_cases(alone):
    test_cases.test_an_id_is_shaped_like_what_the_case_is_mainly_about("server")
    test_cases.test_every_requirement_that_can_be_seen_has_a_case("server")
    test_cases.test_every_case_shows_requirements_that_can_be_seen("server")


def test_the_verdicts_may_be_read_while_the_history_does_not_know_the_case(alone):
    test_history.test_the_history_does_not_contradict_since()
    test_history.test_the_page_explains_each_violation_that_no_case_shows()
    test_history.test_what_cases_see_counts_as_measured()


def test_the_citation_is_found_and_is_in_the_place_of_another_docstring(tmp_path):
    place = re.search(r"the function `(\w+)` of `([\w/]+\.py)`", PAGE)
    assert place
    assert f"def {place[1]}(" in (ROOT / place[2]).read_text("utf-8")
    (tmp_path / "a.py").write_text(CITATION)
    assert [each.id for each in citations([tmp_path / "a.py"])] == [ONE.id]


def test_the_case_passes_and_only_it_kills_the_mutant(mutant):
    case = replace(THE_CASE, requirements=("RM-1",))  # the catalogue has no RM-15

    async def run():
        async with embedded_server() as url:
            return await to_server(url)(case)

    passed = work_clock.run(run())
    assert not passed.is_broken, passed.explanation
    others = [each for each in server_cases() if {"RM-1", "NS-14"} & set(each.requirements)]
    assert work_clock.run(kill_matrix.killers(mutant, [case, *others])) == {case.id}


def test_the_proof_names_the_mutant(mutant, alone):
    assert f'`RM-15 = "{NAME}"`' in PAGE
    assert f"{NAME} (RM-15): RM-15.1" in PAGE
    assert mutant.about.endswith(".")
    assert list(kill_matrix.proof_errors("server", {ONE.id: NAME})) == []
