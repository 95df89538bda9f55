"""Values without ``dataclasses``: immutable, compared by type and fields, copied and shown."""

from __future__ import annotations

import copy
import pickle

import pytest

from neffos_codec import HandshakeAccept, HandshakeRefuse, HandshakeRequest, NativeMessage, Wait
from neffos_codec._value import Value, Word


class Point(Value, frozen=False):
    x: int
    y: int = 2


class Colour(Word):
    RED = "red"


def test_a_value_is_its_type_and_its_fields() -> None:
    value = HandshakeAccept("x")
    assert value == HandshakeAccept(id="x")
    assert value not in (HandshakeAccept("y"), HandshakeRefuse("x"), ("x",))
    assert len({value, HandshakeAccept("x"), HandshakeRefuse("x")}) == 2
    assert repr(value) == "HandshakeAccept(id='x')"
    assert HandshakeRequest() == HandshakeRequest()


def test_a_value_does_not_change() -> None:
    value = NativeMessage("x")
    with pytest.raises(AttributeError, match="payload"):
        value.payload = "y"  # type: ignore[misc]
    with pytest.raises(AttributeError, match="payload"):
        del value.payload
    with pytest.raises(AttributeError):
        value.other = 1
    assert value.payload == "x"


def test_a_value_is_copied_and_pickled() -> None:
    value = NativeMessage("x")
    for same in (copy.copy(value), copy.deepcopy(value), pickle.loads(pickle.dumps(value))):  # noqa: S301
        assert same == value
        assert same is not value


def test_a_value_takes_its_fields_in_order_or_by_name() -> None:
    assert Point(1) == Point(x=1, y=2)
    assert Wait.__match_args__ == ("kind", "token", "from_exchange", "sender")
    with pytest.raises(TypeError):
        Point()  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Point(1, 2, 3)  # type: ignore[call-arg]


def test_a_value_with_other_fields() -> None:
    assert Point(1).replace(y=3) == Point(1, 3)
    with pytest.raises(TypeError):
        Point(1).replace(z=3)


def test_what_is_not_frozen_changes_and_has_no_hash() -> None:
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
