"""The handshake messages: decoding both ways, and writing."""

from __future__ import annotations

from typing import Any

import pytest

from neffos_codec import (
    DecodeError,
    Decoding,
    EncodeError,
    Handshake,
    HandshakeAccept,
    HandshakeRefuse,
    HandshakeRequest,
    Reason,
    decode_handshake,
    encode_handshake,
)

both_decodings = pytest.mark.parametrize("decoding", Decoding)

CASES: list[tuple[str, Handshake]] = [
    ("M", HandshakeRequest()),  # HS-1
    ("A1f", HandshakeAccept("1f")),  # HS-3
    ("Aé;M", HandshakeAccept("é;M")),
    ("Hno", HandshakeRefuse("no")),  # HS-4
    ("H", HandshakeRefuse("")),
]


@both_decodings
@pytest.mark.parametrize(("payload", "message"), CASES)
def test_each_message_is_read(payload: str, message: Handshake, decoding: Decoding) -> None:
    assert decode_handshake(payload, decoding=decoding) == message


@pytest.mark.parametrize(("payload", "message"), CASES)
def test_each_message_is_written_as_text(payload: str, message: Handshake) -> None:  # HS-5
    assert encode_handshake(message) == payload


# ---- The two decodings ----

# What, as lenient decoding has it, and why the strict one does not.
TOLERATED = [
    ("Mxyz", HandshakeRequest(), Reason.HANDSHAKE_TRAILING, "HS-2", 1),
    ("A", HandshakeAccept(""), Reason.HANDSHAKE_ID, "HS-6", 1),
    (b"M", HandshakeRequest(), Reason.HANDSHAKE_BINARY, "HS-5", 0),
    (b"A1f", HandshakeAccept("1f"), Reason.HANDSHAKE_BINARY, "HS-5", 0),
    (bytearray(b"Hno"), HandshakeRefuse("no"), Reason.HANDSHAKE_BINARY, "HS-5", 0),
    (memoryview(b"Hxnxo")[::2], HandshakeRefuse("no"), Reason.HANDSHAKE_BINARY, "HS-5", 0),
    (b"H\xff", HandshakeRefuse("\udcff"), Reason.HANDSHAKE_BINARY, "HS-5", 0),
    ("Hno\udcff", HandshakeRefuse("no\udcff"), Reason.UTF8, "FR-12", 3),
]


@pytest.mark.parametrize(("payload", "message", "reason", "requirement", "offset"), TOLERATED)
def test_what_only_the_lenient_reading_takes(
    payload: Any, message: Handshake, reason: Reason, requirement: str, offset: int
) -> None:
    assert decode_handshake(payload) == message
    with pytest.raises(DecodeError) as caught:
        decode_handshake(payload, decoding=Decoding.STRICT)
    error = caught.value
    assert (error.reason, error.requirement, error.offset) == (reason, requirement, offset)


@both_decodings
@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        ("", Reason.EMPTY),
        (b"", Reason.EMPTY),
        ("m", Reason.HANDSHAKE_LETTER),
        (" M", Reason.HANDSHAKE_LETTER),
        (b"\xff", Reason.HANDSHAKE_LETTER),
        ("$1;n;;_OnNamespaceConnect;0;0;", Reason.HANDSHAKE_LETTER),
        (None, Reason.PAYLOAD_TYPE),
        (77, Reason.PAYLOAD_TYPE),
        (["M"], Reason.PAYLOAD_TYPE),
    ],
)
def test_what_is_no_handshake_message(payload: Any, reason: Reason, decoding: Decoding) -> None:
    with pytest.raises(DecodeError) as caught:
        decode_handshake(payload, decoding=decoding)
    assert caught.value.reason is reason


@both_decodings
def test_a_released_memoryview_is_refused(decoding: Decoding) -> None:
    view = memoryview(b"M")
    view.release()
    with pytest.raises(DecodeError, match="released") as caught:
        decode_handshake(view, decoding=decoding)
    assert caught.value.reason is Reason.PAYLOAD_TYPE


# ---- Writing ----


@pytest.mark.parametrize(
    ("message", "reason", "requirement", "field", "offset"),
    [
        (HandshakeAccept(""), Reason.HANDSHAKE_ID, "HS-6", "id", 0),
        (HandshakeAccept("a\ud800"), Reason.UTF8, "FR-12", "id", 1),
        (HandshakeRefuse("\ud800"), Reason.UTF8, "FR-12", "text", 0),
        (HandshakeRefuse("no\udcff"), Reason.UTF8, "FR-12", "text", 2),
    ],
)
def test_what_cannot_be_written(
    message: Handshake, reason: Reason, requirement: str, field: str, offset: int
) -> None:
    with pytest.raises(EncodeError) as caught:
        encode_handshake(message)
    error = caught.value
    assert (error.reason, error.requirement) == (reason, requirement)
    assert (error.field, error.offset) == (field, offset)


@pytest.mark.parametrize("value", ["M", None, HandshakeRequest])
def test_only_handshake_messages_are_written(value: Any) -> None:
    with pytest.raises(TypeError, match="not a handshake message"):
        encode_handshake(value)


# ---- The values ----


def test_handshake_messages_are_values() -> None:
    assert HandshakeRequest() == HandshakeRequest()
    assert HandshakeAccept("a") != HandshakeRefuse("a")
    with pytest.raises(AttributeError):
        HandshakeAccept("a").id = "b"  # type: ignore[misc]


@pytest.mark.parametrize("value", [None, 5, b"x"])
def test_a_text_of_a_wrong_type_is_a_mistake_of_the_caller(value):
    with pytest.raises(TypeError):
        encode_handshake(HandshakeAccept(value))
