"""Comparing what was seen with what was expected."""

import pytest

from neffos_conformance.cases.matching import difference, fill


@pytest.mark.parametrize(
    ("expected", "seen"),
    [
        ("$1;;;;;;", "$1;;;;0;0;"),
        ("A<<id>>", "Aanything"),
        ("<<token>>;app;;q;0;0;x", "179;app;;q;0;0;x"),
        (b"\x00;;;;;;", b"\x00;;;;0;0;"),
        ("<<a>>;<<a>>;;;0;0;", "x;x;;;0;0;"),
    ],
)
def test_the_same(expected, seen):
    assert difference(expected, seen, {}) is None


@pytest.mark.parametrize(
    ("expected", "seen", "explanation"),
    [
        ("$1;;;;;;", b"$1;;;;;;", "expected a text message, this is binary"),
        ("$1;;;;;;", "$2;;;;;;", "wait is '$2', expected '$1'"),
        ("$1;a;;e;1;0;x", "$1;a;;e;0;0;x", "is_error is False, expected True"),
        ("$1;a;;e;0;0;x", "$1;a;;e;0;0;y", "body is 'y', expected 'x'"),
        ("$1;;;;;;", "hello", "expected a frame, this is none"),
        ("A<<id>>", "A", "payload is 'A', expected 'A<<id>>'"),
        ("<<a>>;<<a>>;;;0;0;", "x;y;;;0;0;", "namespace is 'y', expected '<<a>>'"),
    ],
)
def test_a_difference_is_said(expected, seen, explanation):
    assert difference(expected, seen, {}) == explanation


def test_exactly_compares_the_payload():
    assert difference("$1;;;;;;", "$1;;;;0;0;", {}, exact=True)
    assert difference("$1;;;;;;", "$1;;;;;;", {}, exact=True) is None


def test_a_place_holds_the_same_text_ever_after():
    bindings: dict[str, str] = {}
    assert difference("A<<id>>", "A(1.5)", bindings) is None
    assert bindings == {"id": "(1.5)"}
    assert fill("$1;app;;<<id>>;0;0;", bindings) == "$1;app;;(1.5);0;0;"
    assert difference("$1;app;;<<id>>;0;0;", "$1;app;;(1x5);0;0;", bindings)


def test_a_place_nothing_was_seen_for_is_an_error():
    with pytest.raises(KeyError):
        fill("<<id>>", {})
