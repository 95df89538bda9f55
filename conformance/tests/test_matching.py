"""Comparing what was seen with what was expected."""

import shlex

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from neffos_conformance.cases.matching import difference, fill
from neffos_conformance.cases.words import words_of


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
        ("$1;;;;;;", b"$1;;;;;;", "expected a text message, actual binary"),
        ("$1;;;;;;", "$2;;;;;;", "wait: expected '$1', actual '$2'"),
        ("$1;a;;e;1;0;x", "$1;a;;e;0;0;x", "is_error: expected True, actual False"),
        ("$1;a;;e;0;0;x", "$1;a;;e;0;0;y", "body: expected 'x', actual 'y'"),
        ("$1;;;;;;", "hello", "expected a frame, actual not a frame"),
        ("A<<id>>", "A", "payload: expected 'A<<id>>', actual 'A'"),
        ("<<a>>;<<a>>;;;0;0;", "x;y;;;0;0;", "namespace: expected '<<a>>', actual 'y'"),
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


def split(text, *, has_escapes):
    lexer = shlex.shlex(text, posix=True, punctuation_chars="")
    lexer.whitespace_split, lexer.commenters = True, ""
    lexer.escape = "\\" if has_escapes else ""
    return list(lexer)


@given(st.text(" \t\n'\"\\ab\u00a0", max_size=12), st.booleans())
@example("do 'a b'\"c\\\"d\"e\\ f ''", True)
def test_words_are_those_of_shlex(text, has_escapes):
    try:
        expected = split(text, has_escapes=has_escapes)
    except ValueError:
        with pytest.raises(ValueError, match="does not end"):
            words_of(text, has_escapes=has_escapes)
        return
    assert words_of(text, has_escapes=has_escapes) == expected
