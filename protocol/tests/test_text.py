"""What strangers write is escaped and bounded, whatever it is."""

from __future__ import annotations

import json
import sys
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neffos_protocol.text import LOGGED, ascii_json, cut, logged, visible

ANY_TEXT = st.text(st.characters(exclude_categories=())) | st.text(
    st.sampled_from("a\r\n\t\x1b\x00\x7f\x85\x9b\u2028\u202e\u2066\ud800\udcff\U0001f600é\\")
)

CONTROLLING = [
    chr(code)
    for code in range(sys.maxunicode + 1)
    if unicodedata.category(chr(code)) in {"Cc", "Cf", "Cs", "Zl", "Zp"}
]
"""Controls (C0, DEL, C1), formats with the bidi controls, surrogates, and separators of lines."""


def test_no_controlling_character_comes_through():
    assert {"\r", "\n", "\x1b", "\x9b", "\u202e", "\u2066", "\u2028", "\ud800"} <= {*CONTROLLING}
    for each in CONTROLLING:
        shown = visible(f"a{each}b")
        assert shown.isascii(), hex(ord(each))
        assert shown.isprintable(), hex(ord(each))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("A1\r\nWARNING all is well", "A1\\r\\nWARNING all is well"),
        ("\x1b]0;title\x07\x1bc", "\\x1b]0;title\\x07\\x1bc"),
        ("\x9b2J", "\\u{9b}2J"),
        ("user\u202egnp.exe", "user\\u{202e}gnp.exe"),
        ("a\ud800b\udcff", "a\\u{d800}b\\xff"),
        ("plain ; 日本", "plain ; 日本"),
        ("\n\r\t\x00\x1b\x7f", "\\n\\r\\t\\x00\\x1b\\x7f"),
        ("\u202e\u2066\u200b\ufeff\x85", "\\u{202e}\\u{2066}\\u{200b}\\u{feff}\\u{85}"),
        ("\udcff", "\\xff"),
        ("\ud800\u2028", "\\u{d800}\\u{2028}"),
        ("naïve 日本語 😀", "naïve 日本語 😀"),
    ],
)
def test_what_a_peer_writes_is_one_line_of_plain_characters(text, shown):
    assert visible(text) == logged(text) == shown
    assert visible(shown) == shown
    assert visible(text, ascii_only=True).isascii()


@given(ANY_TEXT, st.integers(0, 50), st.booleans())
def test_the_result_is_within_the_limit_and_has_bytes(text, limit, ascii_only):
    shown = visible(text, limit=limit, ascii_only=ascii_only)
    assert len(shown) <= max(limit, 3)
    assert shown.isprintable()
    shown.encode("ascii" if ascii_only else "utf-8")
    whole = visible(text, ascii_only=ascii_only)
    if len(whole) <= limit:
        assert shown == whole


def test_the_cost_does_not_grow_with_what_is_cut_off():
    class Counted(str):
        """A text that counts how much of it is taken."""

        taken: list[int]

        def __getitem__(self, key):
            part = str.__getitem__(self, key)
            self.taken.append(len(part))
            return part

    text = Counted("\x1b" * 1_000_000)
    text.taken = []
    assert len(visible(text, limit=100)) == 100
    assert text.taken == [101]


def test_a_log_line_takes_texts_bytes_and_errors_and_is_bounded():
    assert logged(b"ok \xff\x1b[2J") == "ok \\xff\\x1b[2J"
    assert logged(ValueError("a\nb")) == "a\\nb"
    assert len(logged("\n" * 17_000)) == len(logged(b"\xff" * 17_000)) == LOGGED
    assert len(logged("é".encode() * 17_000)) == LOGGED


def test_a_text_that_is_cut_ends_with_the_mark():
    assert cut("abcdef", 6) == "abcdef"
    assert cut("abcdefg", 6) == "abcde…"
    assert cut("abcdefg", 6, "...") == "abc..."


def test_json_is_printable_and_loses_nothing():
    values = {"a": ["\x7f\x9b\u202e", "\x1b", 1.5], "\ud800": None}
    written = ascii_json(values)
    assert written.isascii()
    assert written.isprintable()
    assert json.loads(written) == values
