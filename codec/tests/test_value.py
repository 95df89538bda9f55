"""Values without ``dataclasses``: immutable, compared by type and fields, copied and shown."""

from __future__ import annotations

import copy
import pickle

import pytest

from neffos_codec import HandshakeAccept, HandshakeRefuse, HandshakeRequest, NativeMessage


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


def test_a_value_with_other_fields() -> None:
    assert HandshakeAccept("x").replace(id="y") == HandshakeAccept("y")
    with pytest.raises(TypeError):
        HandshakeAccept("x").replace(text="y")
