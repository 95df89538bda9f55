"""Records: classes from their annotated fields, without ``dataclasses``."""

from __future__ import annotations

import pytest

from neffos_protocol import Opened
from neffos_protocol._records import MutableRecord, Word


class Point(MutableRecord):
    x: int
    y: int = 2


class Colour(Word):
    RED = "red"


def test_a_record_does_not_change() -> None:
    with pytest.raises(AttributeError, match="id"):
        Opened("x").id = "y"  # type: ignore[misc]


def test_a_record_takes_its_fields_in_order_or_by_name() -> None:
    assert Point(1) == Point(x=1, y=2)
    with pytest.raises(TypeError):
        Point()  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Point(1, 2, 3)  # type: ignore[call-arg]


def test_a_mutable_record_changes_and_has_no_hash() -> None:
    point = Point(1)
    point.x = 3
    assert point == Point(3)
    with pytest.raises(TypeError):
        hash(point)
    with pytest.raises(AttributeError):
        point.z = 1


def test_a_word_is_its_string() -> None:
    assert {Colour.RED: 1}["red"] == 1  # type: ignore[index]
    assert f"{Colour.RED}" == "red"
