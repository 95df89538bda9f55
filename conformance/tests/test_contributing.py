"""The example of CONTRIBUTING.md: its requirement is well-formed, and its case kills its mutant."""

from __future__ import annotations

import json
import re
import textwrap
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
from jsonschema_rs import Draft202012Validator

from mutation import BANK, work_clock
from mutation.kill_matrix import killers
from mutation.servers import memberships
from neffos_conformance.cases.definition import read_cases, server_cases
from neffos_conformance.reference.embedded import embedded_server
from neffos_conformance.runner.run import to_server

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
NAME = "rooms-lost-elsewhere"


def blocks(language: str) -> list[str]:
    found = re.findall(rf"    ```{language}\n(.*?)    ```\n", PAGE, re.DOTALL)
    return [textwrap.dedent(each) for each in found]


REQUIREMENT, CASE = blocks("toml")
(MUTANT,) = blocks("python")


@pytest.fixture
def mutant():
    exec(MUTANT, dict(vars(memberships)))  # noqa: S102  # what a reader would paste
    yield BANK[NAME]
    del BANK[NAME]


def test_the_requirement_is_of_the_catalogues_form():
    schema = json.loads((ROOT / "protocol/data/schema/requirements.json").read_text("utf-8"))
    catalogue = tomllib.loads((ROOT / "protocol/data/requirements.toml").read_text("utf-8"))
    catalogue["requirement"] += tomllib.loads(REQUIREMENT)["requirement"]
    assert list(Draft202012Validator(schema).iter_errors(catalogue)) == []


def test_the_case_passes_and_only_it_kills_the_mutant(mutant):
    (case,) = read_cases(CASE, "server")
    case = replace(case, requirements=("RM-1",))  # the catalogue has no RM-14

    async def run():
        async with embedded_server() as url:
            return await to_server(url)(case)

    passed = work_clock.run(run())
    assert not passed.is_broken, passed.explanation
    others = [each for each in server_cases() if {"RM-1", "NS-14"} & set(each.requirements)]
    assert work_clock.run(killers(mutant, [case, *others])) == {case.id}


def test_the_proof_names_the_mutant():
    assert f'`RM-14 = "{NAME}"`' in PAGE
    assert f"{NAME} (RM-14): RM-14.1" in PAGE
