"""The classes of conformance: what belongs to each, and what a run says about them."""

from __future__ import annotations

import re

import pytest

from neffos_conformance.cases.classes import ConformanceClass, accused, class_of
from neffos_conformance.cases.definition import cases_of
from neffos_conformance.cases.verdict import Verdict
from neffos_conformance.codecs.catalogue import codec_cases
from neffos_conformance.runner.class_outcome import class_outcome
from neffos_conformance.runner.result import Result
from neffos_conformance.runner.run_report import requirements_in
from neffos_protocol.catalogue import Basis, requirements

INTEROPERABLE, COMPLETE = ConformanceClass
CASES = {each.id: each for role in ("server", "client") for each in cases_of(role)}


def outcome(verdicts, name=INTEROPERABLE, role="server"):
    results = [Result(CASES[id_], verdict) for id_, verdict in verdicts.items()]
    return class_outcome(name, results, requirements_in(role))


def test_the_basis_alone_decides_the_class_of_a_requirement():
    for id_, each in requirements().items():
        assert (class_of([id_]) is INTEROPERABLE) == (each.basis is Basis.INTEROP)


@pytest.mark.parametrize("role", ["server", "client", "codec"])
def test_the_cases_of_the_class_show_its_requirements(role):
    cases = codec_cases() if role == "codec" else cases_of(role)
    own = {
        id_
        for case in cases
        if class_of(case.requirements) is INTEROPERABLE
        for id_ in case.requirements
    }
    due = {id_ for id_ in requirements_in(role) if class_of([id_]) is INTEROPERABLE}
    # The client's only case of RM-4 also covers AR-20; if it passes, it shows both.
    assert due - own == ({"RM-4"} if role == "client" else set())


def test_a_failed_case_of_both_kinds_accuses_nobody_of_a_lack_of_interoperability():
    assert CASES["NS-18.3"].requirements == ("NS-18", "NS-14")
    assert accused(CASES["NS-18.3"]) == ("NS-18",)
    found = outcome({"NS-18.3": Verdict.FAIL, "NS-1.1": Verdict.PASS})
    assert (found.conforms, found.passed, found.ran, found.missing) == (True, 1, 1, ())
    found = outcome({"NS-18.3": Verdict.FAIL, "NS-1.1": Verdict.PASS}, COMPLETE)
    assert (found.conforms, found.passed, found.ran, found.missing) == (False, 1, 2, ("NS-18",))


def test_a_failed_case_counts_against_the_requirement_that_its_id_names():
    assert accused(CASES["NM-2.c3"]) == ("NM-2",)


def test_a_few_missing_requirements_are_named_and_many_are_counted():
    few = dict.fromkeys(["NS-18.1", "RM-1.1"], Verdict.FAIL)
    assert ", 2 requirements missing (NS-18, RM-1), " in str(outcome(few, COMPLETE))
    many = {**few, "AR-1.1": Verdict.FAIL, "EV-1.1": Verdict.FAIL}
    assert re.search(r", [4-9] requirements missing, ", str(outcome(many, COMPLETE)))


def test_what_is_not_shown_is_not_claimed():
    found = outcome({"NS-1.1": Verdict.PASS, "RM-1.1": Verdict.SKIPPED})
    assert found.conforms
    assert "NS-1" not in found.not_shown
    assert "RM-1" in found.not_shown
    assert str(found).startswith("interoperable: yes, 1 of 1 cases, ")
    assert str(found).endswith(f" of {found.testable} requirements not shown")


@pytest.mark.parametrize("verdict", [Verdict.ERROR, Verdict.UNKNOWN])
def test_what_broke_off_or_was_not_seen_is_neither_yes_nor_no(verdict):
    assert outcome({"NS-1.1": Verdict.PASS, "RM-1.1": verdict}).answer == "unknown"
    assert outcome({"NS-1.1": Verdict.FAIL, "RM-1.1": verdict}).answer == "no"
    assert outcome({}).answer == "unknown"
