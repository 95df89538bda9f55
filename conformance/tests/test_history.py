"""The recorded history of releases is of its form, and says what matrix and catalogue say."""

import json
from functools import cache
from importlib.resources import files

import pytest
from jsonschema_rs import Draft202012Validator, meta

from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.codecs.catalogue import all_cases
from neffos_conformance.interop.bisection import Conformance, Trial
from neffos_conformance.interop.history import histories
from neffos_conformance.interop.table import recorded
from neffos_conformance.requirement_sets import set_names
from neffos_protocol.catalogue import requirements
from peers.history import changed

from .generators import history as pages

DATA = files("neffos_conformance.data")

OF_MATRIX = {
    ("neffos-go/gorilla", "0.0.24"): "neffos-go/gorilla",
    ("neffos-go/gobwas", "0.0.24"): "neffos-go/gobwas",
    ("neffos-go/gorilla", "0.0.25"): "neffos-go-next/gorilla",
    ("neffos-go/gobwas", "0.0.25"): "neffos-go-next/gobwas",
    ("iris/iris", "12.2.11"): "neffos-go/iris",
    ("iris/iris-mvc", "12.2.11"): "neffos-go/iris-mvc",
    ("neffos-go-gorilla", "0.0.24"): "neffos-go-gorilla",
    ("neffos-go-gobwas", "0.0.24"): "neffos-go-gobwas",
    ("neffos-go-gorilla", "0.0.25"): "neffos-go-next-gorilla",
    ("neffos-go-gobwas", "0.0.25"): "neffos-go-next-gobwas",
    ("neffos.js", "0.1.34"): "neffos.js",
    ("neffos.js", "0.1.19"): "neffos.js-0.1.19",
}
"""The releases that are tested implementations, and their names in the matrix."""


def test_the_recorded_history_is_of_its_form():
    schema = json.loads(DATA.joinpath("schema", "history.json").read_text("utf-8"))
    meta.validate(schema)
    values = json.loads(DATA.joinpath("history.json").read_text("utf-8"))
    Draft202012Validator(schema).validate(values)
    for each in values["systems"].values():
        assert {len(row) for row in each["cases"].values()} == {len(each["versions"])}
        assert each["gaps"].keys() < {*each["versions"]}
        for row in each["cases"].values():
            assert [sign == "-" for sign in row] == [v in each["gaps"] for v in each["versions"]]


@cache
def released(role):
    """The cases of the newest frozen set: a history was recorded with them."""
    *_, name, _ = set_names()
    values = json.loads(DATA.joinpath("sets", f"{name}.json").read_text("utf-8"))
    return values["cases"][role].keys()


def known(history):
    """The cases with which a history was recorded; a newer one may never have run."""
    return released(history.role) | history.rows.keys()


@pytest.mark.parametrize(
    ("name", "version"), [each for each in OF_MATRIX if each[0] in histories()]
)
def test_the_history_has_the_verdicts_of_the_matrix(name, version):
    history = histories()[name]
    values = recorded()[f"{history.role}s"][OF_MATRIX[name, version]]
    failed = {id_: verdict for verdict, ids in values["failed"].items() for id_ in ids}
    found = history.verdicts(version)
    ran = known(history) - {id_ for id_, each in found.items() if each is Verdict.SKIPPED}
    assert {id_: found[id_] for id_ in found.keys() & ran} == {
        id_: failed[id_] for id_ in failed.keys() & ran
    }


GO = ("neffos-go/gorilla", "neffos-go/gobwas", "neffos-go-gorilla", "neffos-go-gobwas")


def conforming(name, id_):
    """The releases of a system that conform to a requirement, and those that violate it."""
    history = histories()[name]
    covering = [case.id for case in all_cases(history.role) if id_ in case.requirements]
    cases = [case for case in covering if case in known(history)]
    trials = history.trials(cases) if cases else {}
    return tuple(
        [version for version, trial in trials.items() if trial.outcome is outcome]
        for outcome in (Conformance.CONFORMS, Conformance.VIOLATES)
    )


def test_the_history_does_not_contradict_since():
    """Cases do not see all of a requirement, so a pass alone contradicts nothing."""
    for id_, one in requirements().items():
        found = [conforming(name, id_) for name in GO]
        found = [each for each in found if any(each)]
        came = ["0.0.24" in bad and "0.0.25" in good for good, bad in found]
        if one.since == "unknown":
            assert not any(came) or id_ in pages.UNSEEN, id_
        elif found and one.since == "0.0.25":
            assert any("0.0.25" not in bad for _, bad in found), id_
        elif found and all(came):  # the line has neffos.js, too
            assert conforming("neffos.js", id_)[0], id_


SYSTEMS = {
    **{f"neffos-go {version}": dict.fromkeys(GO, version) for version in ("0.0.24", "0.0.25")},
    "neffos.js 0.1.34": {"neffos.js": "0.1.34"},
}
"""The systems of the history, with their versions, that are a peer of the catalogue."""


def test_the_page_explains_each_violation_that_no_case_shows():
    found = set()
    for id_, one in requirements().items():
        for peer, observed in one.peers.items():
            runs = [(conforming(name, id_), version) for name, version in SYSTEMS[peer].items()]
            is_tested = any(version in good for (good, _), version in runs)
            is_shown = any(version in bad for (_, bad), version in runs)
            if observed.verdict == "violates" and is_tested and not is_shown:
                found.add(id_)
    assert found == set(pages.UNSEEN)


def test_what_cases_see_counts_as_measured():
    for id_ in requirements().keys() - pages.UNSEEN.keys():
        for peer, observed in requirements()[id_].peers.items():
            if observed.evidence == "read" and observed.verdict != "not-applicable":
                runs = [(conforming(name, id_), version) for name, version in SYSTEMS[peer].items()]
                assert not any(version in [*good, *bad] for (good, bad), version in runs), id_


def test_a_verdict_that_no_release_beside_has_is_looked_at_again():
    good, bad = Verdict.PASS, Verdict.FAIL
    trials = {
        "1": Trial({"a": bad, "b": good}),
        "2": Trial(reason="a gap"),
        "3": Trial({"a": good, "b": good}),
        "4": Trial({"a": bad, "b": good}),
        "5": Trial({"a": bad, "b": good}),
    }
    assert changed(trials) == {"1": {"a"}, "3": {"a"}, "4": {"a"}}
