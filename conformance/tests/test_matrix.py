"""The recorded matrix is of its form, and two matrices differ in what they have to agree on."""

import copy
import json
from importlib.resources import files

import pytest
from jsonschema_rs import Draft202012Validator, meta

from neffos_conformance.codecs.catalogue import all_cases
from neffos_conformance.interop.interop_runs import interop_steps
from neffos_conformance.interop.table import differences, markdown, recorded, rows, verdict_counts


@pytest.fixture
def other():
    return copy.deepcopy(recorded())


def test_the_recorded_matrix_is_of_its_form():
    text = files("neffos_conformance.data").joinpath("schema", "matrix.json").read_text("utf-8")
    schema = json.loads(text)
    meta.validate(schema)
    Draft202012Validator(schema).validate(recorded())


def test_everybody_was_judged_and_talked_to_everybody():
    values = recorded()
    pairs = {(each["client"], each["server"]) for each in values["runs"]}
    assert pairs <= {(c, s) for c in values["clients"] for s in values["servers"]}
    for kind in ("clients", "servers"):
        assert all("failed" in each for each in values[kind].values())


def test_the_matrix_holds_what_fails_by_steps_and_cases_that_exist():
    values, steps = recorded(), {each.name for each in interop_steps()}
    for run in values["runs"]:
        assert run["failed"] or run["unsupported"]
        assert {*run["failed"], *run["unsupported"]} <= steps
    for role in ("client", "server"):
        ids = {case.id for case in all_cases(role)}
        for subject in values[f"{role}s"].values():
            assert {id_ for each in subject["failed"].values() for id_ in each} <= ids


def test_a_new_step_or_case_leaves_the_matrix_as_it_is(other):
    other["ran"] = {name: count + 1 for name, count in other["ran"].items()}
    assert differences(recorded(), other) == []


def test_every_case_of_the_recorded_run_has_one_verdict():
    values = recorded()
    for kind in ("clients", "servers"):
        for name in values[kind]:
            counts = verdict_counts(values, kind, name)
            assert sum(counts.values()) == values["ran"][kind[:-1]]
            assert counts["pass"] > 0


def test_a_matrix_is_like_itself_though_recorded_on_another_day_elsewhere(other):
    other["recorded"] = "2020-01-01"
    for client in other["clients"].values():
        client["runtime"] = "another"
    run = next(each for each in other["runs"] if each["failed"])
    run["failed"] = dict.fromkeys(run["failed"], "in other words")
    assert differences(recorded(), other) == []


def test_what_was_left_out_is_no_difference(other):
    [name, *_] = other["clients"]
    del other["clients"][name]
    other["runs"] = [each for each in other["runs"] if each["client"] != name]
    assert differences(recorded(), other) == []


def test_a_step_that_fails_and_a_case_that_fails_are_differences(other):
    other["runs"][0]["failed"]["text"] = "it broke"
    [name, *_] = other["servers"]
    other["servers"][name]["failed"]["fail"] = ["NS-3.1"]
    found = differences(recorded(), other)
    assert len(found) == 2
    assert name in found[0]
    assert "'text'" in found[1]


def test_the_table_has_a_row_for_each_client_and_a_column_for_each_server():
    head, body = rows(recorded())
    assert head == ["client", *recorded()["servers"]]
    assert [row[0] for row in body] == list(recorded()["clients"])
    assert all(cell for row in body for cell in row)
    assert len(markdown(recorded()).splitlines()) == len(body) + 2


def test_no_step_that_fails_tells_where_its_driver_was():
    texts = [text for each in recorded()["runs"] for text in each["failed"].values()]
    assert texts
    assert not [text for text in texts if "driver.mjs" in text or "browser.mjs" in text]
