"""What holds for every message and every payload, whatever it is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from neffos_codec import (
    ESCAPE,
    FIELDS,
    DecodeError,
    Decoding,
    EncodeError,
    FrameLimits,
    HandshakeAccept,
    HandshakeRefuse,
    HandshakeRequest,
    Message,
    Native,
    NativeMessage,
    Reason,
    decode,
    decode_handshake,
    encode,
    encode_handshake,
)

pytestmark = pytest.mark.no_cover  # explores; the tests of single calls cover every line

PROVE = settings(max_examples=settings().max_examples // 2)

LARGE = 3000
"""Enough to reach the path for large payloads, wherever the padding is put."""

decodings = st.sampled_from(Decoding)
modes = st.sampled_from(Native)


# ---- What is generated ----

pieces = st.sampled_from(
    [ESCAPE, "@%!semicolon@%!semicolon@%!", "@%!semicolon", "semicolon@%!", "@", "chat", "é", "\0"]
)
written = st.lists(pieces, max_size=3).map("".join) | st.text(max_size=4).filter(
    lambda text: ";" not in text
)
"""A field as it stands in a frame."""

content = st.lists(pieces | st.just(";"), max_size=4).map("".join) | st.text(max_size=6)
"""A field's content; a text body."""

data = content.map(str.encode) | st.binary(max_size=12)
any_text = st.text(st.characters() | st.sampled_from(";01@\udc80\ud800"), max_size=16) | content
"""Surrogates too: no UTF-8 text holds them, a Python string can."""

flags = st.sampled_from(["0", "0", "0", "1", "1", "1", "", "2", "é"])
head = st.tuples(written, written, written, written, flags, flags).map(";".join)
empty_replies = written.map("{};;;;;;".format)
text_frames = st.builds("{};{}".format, head, content) | empty_replies
octet_frames = st.builds(lambda fields, body: fields.encode() + b";" + body, head, data)
broken_frames = st.builds(lambda start, rest: start + b"\xff" + rest, data, octet_frames)

texts = text_frames | any_text
binaries = octet_frames | text_frames.map(str.encode) | broken_frames | data
payloads = texts | binaries

sizes = st.none() | st.integers(0, 40) | st.just(2**70)
limits = st.none() | st.builds(FrameLimits, payload=sizes, field=sizes)

well_typed = st.fixed_dictionaries(
    {},
    optional={
        "wait": any_text,
        "namespace": any_text,
        "room": any_text,
        "event": any_text,
        "is_error": st.booleans(),
        "is_no_op": st.booleans(),
        "body": any_text | data | data.map(bytearray) | data.map(memoryview),
    },
)


@st.composite
def messages(draw: st.DrawFn) -> Message:
    fields = draw(
        st.tuples(written, content, content, content, st.booleans(), st.booleans(), content | data)
    )
    try:
        return Message(*fields)
    except EncodeError:
        assume(False)
        raise


def outcome(payload: object, **options: Any) -> Any:
    """Give what ``decode`` makes of a payload: a message, or all that an error says."""
    try:
        return decode(payload, **options)
    except DecodeError as error:
        return (error.reason, error.offset, error.field)


# ---- There and back ----


@PROVE
@given(messages(), decodings)
def test_what_is_encoded_decodes_to_the_same(message: Message, decoding: Decoding) -> None:
    payload = encode(message)
    assert type(payload) is type(message.body)  # FR-11
    assert decode(payload, decoding=decoding) == message
    assert decode(payload, decoding=decoding, native=Native.FALLBACK) == message


@PROVE
@given(payloads)
def test_what_is_decoded_encodes_to_an_equal_frame(payload: str | bytes) -> None:
    message = outcome(payload)
    assume(isinstance(message, Message))
    assert decode(encode(message)) == message


@PROVE
@given(text_frames | octet_frames)
def test_a_canonical_payload_comes_back_to_the_octet(payload: str | bytes) -> None:
    message = outcome(payload, decoding=Decoding.STRICT)
    assume(isinstance(message, Message))
    if message.is_empty_reply:  # FR-13: the long form is read, the short one is written
        long = f"{message.wait};;;;0;0;"
        assume(payload not in (long, long.encode()))
    assert encode(message) == payload


@PROVE
@given(text=any_text)
def test_a_handshake_message_comes_back(text: str) -> None:
    for message in (HandshakeRequest(), HandshakeAccept(text), HandshakeRefuse(text)):
        try:
            payload = encode_handshake(message)
        except EncodeError:
            continue
        for decoding in Decoding:
            assert decode_handshake(payload, decoding=decoding) == message


@PROVE
@given(payload=payloads, native=modes)
def test_a_native_message_comes_back(payload: str | bytes, native: Native) -> None:
    message = NativeMessage(payload)
    try:
        sent = encode(message, native=native)
    except EncodeError:
        return
    assert sent == payload
    assert decode(sent, native=native) == message


# ---- Only the documented errors ----


@PROVE
@given(well_typed)
def test_a_message_that_can_be_made_can_be_sent(fields: dict[str, Any]) -> None:
    try:
        message = Message(**fields)
    except EncodeError:
        return
    payload = encode(message)
    for decoding in Decoding:
        assert decode(payload, decoding=decoding) == message


@PROVE
@given(messages(), any_text | data)
def test_a_reply_that_can_be_made_can_be_sent(message: Message, body: str | bytes) -> None:
    for answer in (message.reply, message.error_reply):
        if answer == message.error_reply and isinstance(body, bytes):
            continue
        try:
            reply = answer(body)
        except EncodeError:
            continue
        assert reply.is_binary == message.is_binary
        assert decode(encode(reply), decoding=Decoding.STRICT) == reply


@PROVE
@given(
    payload=payloads | binaries.map(bytearray) | binaries.map(memoryview),
    decoding=decodings,
    native=modes,
    limits=limits,
)
def test_nothing_but_a_decode_error_comes_out(
    payload: object, decoding: Decoding, native: Native, limits: FrameLimits | None
) -> None:
    found = outcome(payload, decoding=decoding, native=native, limits=limits)
    if isinstance(found, (Message, NativeMessage)):
        assert isinstance(found, NativeMessage) or native is not Native.ONLY
        assert isinstance(found, Message) or native is not Native.NEVER
        assert found.is_binary != isinstance(payload, str)
    else:
        reason, offset, field = found
        assert isinstance(reason, Reason)
        assert 0 <= offset <= len(payload)
        assert field is None or field in FIELDS


@PROVE
@given(st.one_of(st.none(), st.integers(), st.lists(st.text(max_size=3)), st.floats()))
def test_what_is_no_payload_is_refused(value: object) -> None:
    assert outcome(value)[0] is Reason.PAYLOAD_TYPE


@PROVE
@given(
    payload=payloads
    | st.builds("{}{}".format, st.sampled_from("MAH"), any_text)
    | binaries.map(memoryview),
    decoding=decodings,
)
def test_nothing_but_a_decode_error_comes_out_of_a_handshake(
    payload: Any, decoding: Decoding
) -> None:
    try:
        message = decode_handshake(payload, decoding=decoding)
    except DecodeError:
        return
    assert isinstance(message, HandshakeRequest | HandshakeAccept | HandshakeRefuse)


# ---- Readings, kinds and sizes agree ----


@PROVE
@given(payloads, modes)
def test_lenient_accepts_what_strict_accepts(payload: str | bytes, native: Native) -> None:
    strict = outcome(payload, decoding=Decoding.STRICT, native=native)
    if isinstance(strict, (Message, NativeMessage)):
        assert outcome(payload, native=native) == strict


def views(payload: bytes) -> list[Any]:
    """Give the same bytes in every form of buffer."""
    spaced = bytearray(2 * len(payload))
    spaced[::2] = payload
    plain = memoryview(payload)
    return [
        bytearray(payload),
        plain,
        plain.cast("c"),
        memoryview(spaced)[::2],
        memoryview(payload[::-1])[::-1],
        plain.cast("B", shape=[1, len(payload)]) if payload else plain,
        plain.cast("H") if len(payload) % 2 == 0 else plain,
    ]


@PROVE
@given(payload=binaries, decoding=decodings, native=modes, limits=limits, padding=st.booleans())
def test_all_octet_payloads_read_the_same(
    payload: bytes, decoding: Decoding, native: Native, limits: FrameLimits | None, padding: bool
) -> None:
    payload += b"x" * LARGE * padding
    options: Any = {"decoding": decoding, "native": native, "limits": limits}
    expected = outcome(payload, **options)
    for view in views(payload):
        assert outcome(view, **options) == expected, view
        if isinstance(expected, Message):
            assert type(decode(view, **options).body) is bytes


@PROVE
@given(text=texts, decoding=decodings, padding=st.booleans())
def test_text_and_octets_read_the_same(text: str, decoding: Decoding, padding: bool) -> None:
    text += "x" * LARGE * padding
    try:
        payload = text.encode()
    except UnicodeEncodeError:
        assume(False)
    as_text, as_octets = outcome(text, decoding=decoding), outcome(payload, decoding=decoding)
    if isinstance(as_text, Message):
        assert as_octets == as_text.replace(body=as_text.body.encode())
    else:
        reason, offset, field = as_text
        assert as_octets == (reason, len(text[:offset].encode()), field)


def grown(found: Any, field: str, growth: Any) -> Any:
    """Change a field of a message, without its constructor: a lenient one may hold anything."""
    if not isinstance(found, Message):
        return found
    fields = [
        growth(value) if name == field else value
        for name, value in zip(FIELDS, found.fields(), strict=True)
    ]
    return tuple(fields)


@PROVE
@given(payload=payloads, decoding=decodings, at_the_end=st.booleans())
def test_small_and_large_payloads_read_the_same(
    payload: str | bytes, decoding: Decoding, at_the_end: bool
) -> None:
    one: Any = "x" if isinstance(payload, str) else b"x"
    if at_the_end:
        small, large = outcome(payload + one, decoding=decoding), payload + one * LARGE
        field, growth = "body", lambda body: body + one * (LARGE - 1)
    else:
        small, large = outcome(one + payload, decoding=decoding), one * LARGE + payload
        field, growth = "wait", lambda wait: "x" * (LARGE - 1) + wait
    found = outcome(large, decoding=decoding)
    if isinstance(small, Message):
        assert isinstance(found, Message)
        assert found.fields() == grown(small, field, growth)
    else:
        reason, offset, where = small
        if not at_the_end or reason is Reason.SEPARATORS:
            offset += LARGE - 1
        assert found == (reason, offset, where)


# ---- Limits, against the plainest way to say them ----


@PROVE
@given(
    payload=payloads,
    native=modes,
    most=st.integers(0, 24),
    most_in_field=st.integers(0, 6),
    decoding=decodings,
)
def test_limits_refuse_what_is_over_them_and_nothing_else(
    payload: Any, native: Native, most: int, most_in_field: int, decoding: Decoding
) -> None:
    separator = ";" if isinstance(payload, str) else b";"
    parts = payload.split(separator, 6)
    is_frame = len(parts) == 7
    read = {"decoding": decoding, "native": native}
    expected = outcome(payload, **read)
    if native is Native.NEVER or (native is Native.FALLBACK and is_frame):
        start = 0
        for name, part in zip(FIELDS, parts[:6], strict=False):
            if len(part) > most_in_field:
                expected = (Reason.FIELD_TOO_LONG, start + most_in_field, name)
                break
            start += len(part) + 1
    if len(payload) > most:
        expected = (Reason.PAYLOAD_TOO_LARGE, most, None)
    limits = FrameLimits(payload=most, field=most_in_field)
    assert outcome(payload, **read, limits=limits) == expected


@pytest.mark.parametrize("size", [2047, 2048, 2049])
@pytest.mark.parametrize("place", [1022, 1023, 1024, 1025])
@pytest.mark.parametrize("decoding", Decoding)
def test_the_edges_of_the_large_path(size: int, place: int, decoding: Decoding) -> None:
    # The sixth separator stands at ``place``, where the first look at a large payload may end.
    event = "e" * (place - len(";n;r;;0;0"))
    body = "b" * (size - place - 1)
    payload = f";n;r;{event};0;0;{body}"
    assert (len(payload), payload[place:]) == (size, f";{body}")
    expected = Message("", "n", "r", event, body=body)
    assert decode(payload, decoding=decoding) == expected
    expected = expected.replace(body=body.encode())
    for view in (payload.encode(), *views(payload.encode())):
        assert decode(view, decoding=decoding) == expected
