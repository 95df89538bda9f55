"""The exceptions: what they carry, and that they survive pickling."""

from __future__ import annotations

import copy
import pickle

import pytest

from neffos_codec import CodecError, DecodeError, EncodeError, Reason
from neffos_codec._errors import REQUIREMENT_OF


def test_an_error_carries_what_where_and_why() -> None:
    error = DecodeError(Reason.FLAG, "that is no flag", offset=8, field="is_error")
    assert error.reason is Reason.FLAG
    assert error.requirement == "FR-6"
    assert error.offset == 8
    assert error.field == "is_error"
    assert error.explanation == "that is no flag"
    assert str(error) == "that is no flag (flag, field 'is_error', offset 8, FR-6)"


def test_an_error_may_concern_no_single_field() -> None:
    error = DecodeError(Reason.EMPTY, "nothing there")
    assert (error.field, error.offset) == (None, 0)
    assert str(error) == "nothing there (empty, offset 0, FR-14)"


@pytest.mark.parametrize("kind", [CodecError, DecodeError, EncodeError])
def test_errors_are_one_family(kind: type[CodecError]) -> None:
    assert issubclass(kind, CodecError)
    assert issubclass(kind, ValueError)


def test_every_reason_rests_on_a_requirement() -> None:
    assert set(REQUIREMENT_OF) == set(Reason)


@pytest.mark.parametrize("kind", [CodecError, DecodeError, EncodeError])
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_errors_survive_pickling(kind: type[CodecError], protocol: int) -> None:
    error = kind(Reason.ESCAPE_LITERAL, "it would change", offset=3, field="room")
    for twin in (pickle.loads(pickle.dumps(error, protocol)), copy.copy(error)):  # noqa: S301
        assert type(twin) is kind
        assert str(twin) == str(error)
        assert vars(twin) == vars(error)
