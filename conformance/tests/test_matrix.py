"""The recorded matrix is of its form, and two matrices differ in what they have to agree on."""

import copy
import json
from importlib.resources import files

import pytest
from jsonschema import Draft202012Validator

from neffos_conformance.interop.table import differences, markdown, recorded, rows


@pytest.fixture
def other():
    return copy.deepcopy(recorded())


def test_the_recorded_matrix_is_of_its_form():
    text = files("neffos_conformance.data").joinpath("schema", "matrix.json").read_text("utf-8")
    schema = json.loads(text)
    Draft202012Validator.check_schema(schema)
    Draft202012Validator(schema).validate(recorded())


def test_everybody_was_judged_and_talked_to_everybody():
    values = recorded()
    pairs = {(each["client"], each["server"]) for each in values["talks"]}
    assert pairs == {(c, s) for c in values["clients"] for s in values["servers"]}
    for kind in ("clients", "servers"):
        assert all("verdicts" in each for each in values[kind].values())


def test_a_matrix_is_like_itself_though_recorded_on_another_day_elsewhere(other):
    other["recorded"] = "2020-01-01"
    for client in other["clients"].values():
        client["runtime"] = "another"
    talk = next(each for each in other["talks"] if each["failed"])
    talk["failed"] = dict.fromkeys(talk["failed"], "in other words")
    assert differences(recorded(), other) == []


def test_what_was_left_out_is_no_difference(other):
    [name, *_] = other["clients"]
    del other["clients"][name]
    other["talks"] = [each for each in other["talks"] if each["client"] != name]
    assert differences(recorded(), other) == []


def test_a_step_that_fails_and_a_case_that_fails_are_differences(other):
    other["talks"][0]["failed"]["text"] = "it broke"
    [name, *_] = other["servers"]
    other["servers"][name]["verdicts"]["fail"] = 1_000
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
    texts = [text for each in recorded()["talks"] for text in each["failed"].values()]
    assert texts
    assert not [text for text in texts if "driver.mjs" in text or "browser.mjs" in text]
