"""The package as a whole: decode and encode, native modes, limits, and what it promises."""

from __future__ import annotations

import ast
import copy
import doctest
import os
import re
import tracemalloc
from pathlib import Path
from typing import Any

import pytest

import neffos_codec
from neffos_codec import (
    COMPILED,
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
    parse_wait,
)

both_decodings = pytest.mark.parametrize("decoding", Decoding)
all_modes = pytest.mark.parametrize("native", Native)

MODULES = sorted(Path(neffos_codec.__file__).parent.glob("*.py"))


# ---- Frames ----

FRAMES = [
    ("w;n;r;e;0;0;b", Message("w", "n", "r", "e", body="b")),
    ("w;n;r;e;0;1;", Message("w", "n", "r", "e", is_no_op=True)),
    (";;;e;0;0;b;o;dy", Message(event="e", body="b;o;dy")),  # FR-1
    (";;;e;1;0;no", Message(event="e", is_error=True, body="no")),  # FR-8
    (";;;e;1;0;", Message(event="e", is_error=True)),
    (";@%!semicolon@%!;;e;0;0;", Message(namespace=";", event="e")),  # FR-3
    (";;@%!semicolon@%!;e;0;0;", Message(room=";", event="e")),
    (";;;a@%!semicolon@%!b;0;0;", Message(event="a;b")),
    ("w;n;r;e;0;0;@%!semicolon@%!", Message("w", "n", "r", "e", body="@%!semicolon@%!")),
    ("w;;;;;;", Message("w")),  # FR-13
    (";n;;;0;0;", Message(namespace="n")),
    (";;;;0;0;", Message()),
    ("é;€;𝄞;\0;0;0;é", Message("é", "€", "𝄞", "\0", body="é")),  # FR-12
]


@both_decodings
@pytest.mark.parametrize(("payload", "message"), FRAMES)
def test_frames_are_read_and_written(payload: str, message: Message, decoding: Decoding) -> None:
    assert decode(payload, decoding=decoding) == message
    assert encode(message) == payload
    binary = message.replace(body=message.body.encode())
    assert encode(binary) == payload.encode()
    for form in (bytes, bytearray, memoryview):
        assert decode(form(payload.encode()), decoding=decoding) == binary


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ("w;n;r;e;x;y;b", Message("w", "n", "r", "e", body="b")),  # FR-7
        ("w;n;r;e;;1;b", Message("w", "n", "r", "e", is_no_op=True, body="b")),
        ("w;n;r;e;01;11;b", Message("w", "n", "r", "e", body="b")),
        (";;;;;;", Message()),
        (";n;;;;;", Message(namespace="n")),
        ("w;n;;;;;", Message("w", "n")),
        ("w;;r;;;;", Message("w", room="r")),
        ("w;;;e;;;", Message("w", event="e")),
        ("w;;;;;;b", Message("w", body="b")),
    ],
)
def test_any_flag_is_read_leniently(payload: str, message: Message) -> None:
    assert decode(payload) == message
    assert decode(payload.encode()) == message.replace(body=message.body.encode())
    for strict in (payload, payload.encode()):
        with pytest.raises(DecodeError) as caught:
            decode(strict, decoding=Decoding.STRICT)
        assert caught.value.reason is Reason.FLAG


def test_broken_utf8_is_kept_by_the_lenient_reading() -> None:
    payload = b"\xff;n\xc3;@%!semicolon@%!\xed\xa0\x80;e;0;0;\xfe"
    message = decode(payload)
    assert message.fields()[:3] == ("\udcff", "n\udcc3", ";\udced\udca0\udc80")
    assert encode(message) == payload
    text = payload.decode("utf-8", "surrogateescape")
    assert encode(decode(text)) == text


REFUSED: list[tuple[Any, Decoding | None, Reason, str, str | None, int]] = [
    # FR-2, in both decodings: the offset is the end, the field the one that misses its separator.
    ("a", None, Reason.SEPARATORS, "FR-2", "wait", 1),
    ("w;n;r;e;0;0", None, Reason.SEPARATORS, "FR-2", "is_no_op", 11),
    (b"w;n;r;e;0", None, Reason.SEPARATORS, "FR-2", "is_error", 9),
    (bytearray(b"w;n;r"), None, Reason.SEPARATORS, "FR-2", "room", 5),
    ("é" * 3000, None, Reason.SEPARATORS, "FR-2", "wait", 3000),
    (b"w;" * 5 + b"x" * 3000, None, Reason.SEPARATORS, "FR-2", "is_no_op", 3010),
    # FR-14
    ("", None, Reason.EMPTY, "FR-14", None, 0),
    (b"", None, Reason.EMPTY, "FR-14", None, 0),
    (memoryview(b""), None, Reason.EMPTY, "FR-14", None, 0),
    # FR-6: offsets count characters of text and bytes of binary messages.
    ("é;n;r;e;x;0;", Decoding.STRICT, Reason.FLAG, "FR-6", "is_error", 8),
    ("é;n;r;e;x;0;".encode(), Decoding.STRICT, Reason.FLAG, "FR-6", "is_error", 9),
    ("w;;;;0;;", Decoding.STRICT, Reason.FLAG, "FR-6", "is_no_op", 7),
    ("w;;;;;0;", Decoding.STRICT, Reason.FLAG, "FR-6", "is_error", 5),
    (bytearray(b"w;;;;0;2;"), Decoding.STRICT, Reason.FLAG, "FR-6", "is_no_op", 7),
    ("w;;;;;;" + "x" * 3000, Decoding.STRICT, Reason.FLAG, "FR-6", "is_error", 5),
    # FR-12
    ("\udcff;n;r;e;0;0;", Decoding.STRICT, Reason.UTF8, "FR-12", "wait", 0),
    (";\udcff;r;e;0;0;", Decoding.STRICT, Reason.UTF8, "FR-12", "namespace", 1),
    ("w;n;\udcff;e;0;0;", Decoding.STRICT, Reason.UTF8, "FR-12", "room", 4),
    ("w;n;r;e;0;0;a;\ud800", Decoding.STRICT, Reason.UTF8, "FR-12", "body", 14),
    (b";\xff;r;e;0;0;", Decoding.STRICT, Reason.UTF8, "FR-12", "namespace", 1),
    (b"w;\xc3;r;e;0;0;", Decoding.STRICT, Reason.UTF8, "FR-12", "namespace", 2),
    (b"w;n;r;e;\xff;0;", Decoding.STRICT, Reason.UTF8, "FR-12", "is_error", 8),
    ("w;n;r;e;0;0;" + "x" * 3000 + "\udcff", Decoding.STRICT, Reason.UTF8, "FR-12", "body", 3012),
    # FR-11
    (None, None, Reason.PAYLOAD_TYPE, "FR-11", None, 0),
    (7, None, Reason.PAYLOAD_TYPE, "FR-11", None, 0),
    (["w;n;r;e;0;0;"], None, Reason.PAYLOAD_TYPE, "FR-11", None, 0),
]


@pytest.mark.parametrize(
    ("payload", "decoding", "reason", "requirement", "field", "offset"),
    REFUSED,
    ids=range(len(REFUSED)),
)
def test_what_is_refused_says_where_and_why(
    payload: Any,
    decoding: Decoding | None,
    reason: Reason,
    requirement: str,
    field: str | None,
    offset: int,
) -> None:
    for each in Decoding if decoding is None else [decoding]:
        with pytest.raises(DecodeError) as caught:
            decode(payload, decoding=each)
        error = caught.value
        assert (error.reason, error.requirement) == (reason, requirement)
        assert (error.field, error.offset) == (field, offset)


@pytest.mark.parametrize("form", [("B", (3, 4)), ("H",)])
def test_a_memoryview_of_any_shape_is_read_as_its_bytes(form: tuple[Any, ...]) -> None:
    payload = b"w;n;r;e;0;0;"
    assert decode(memoryview(payload).cast(*form)) == decode(payload)


@all_modes
@both_decodings
@pytest.mark.parametrize("limits", [None, FrameLimits(payload=5, field=5)])
def test_a_released_memoryview_is_refused(
    decoding: Decoding, native: Native, limits: FrameLimits | None
) -> None:
    view = memoryview(b"w;n;r;e;0;0;")
    view.release()
    with pytest.raises(DecodeError, match="released") as caught:
        decode(view, decoding=decoding, native=native, limits=limits)
    assert caught.value.reason is Reason.PAYLOAD_TYPE


@pytest.mark.parametrize("body", [b"before", b"before" * 1000], ids=["small", "large"])
def test_a_buffer_that_changes_later_does_not_change_the_message(body: bytes) -> None:
    buffer = bytearray(b"w;n;r;e;0;0;" + body)
    message = decode(buffer)
    buffer[:] = bytes(len(buffer))
    assert message == Message("w", "n", "r", "e", body=body)


@pytest.mark.parametrize("value", ["w;n;r;e;0;0;", None, Message])
def test_only_messages_are_encoded(value: Any) -> None:
    with pytest.raises(TypeError):
        encode(value)


# ---- Native messages ----

NATIVE = ["hello", "M", "w;n;r;e;0;0", b"\xff;", b"hello"]
FRAME = "w;n;r;e;0;0;b"


@both_decodings
@pytest.mark.parametrize("payload", NATIVE)
def test_what_is_no_frame_may_be_native(payload: str | bytes, decoding: Decoding) -> None:
    message = NativeMessage(payload)
    assert message.is_binary == isinstance(payload, bytes)
    for native in (Native.FALLBACK, Native.ONLY):
        assert decode(payload, decoding=decoding, native=native) == message
        assert encode(message, native=native) == payload


@pytest.mark.parametrize("payload", [FRAME, FRAME.encode()])
def test_a_frame_is_native_only_to_a_native_peer(payload: str | bytes) -> None:  # NM-1
    assert isinstance(decode(payload, native=Native.FALLBACK), Message)
    assert decode(payload, native=Native.ONLY) == NativeMessage(payload)
    assert encode(NativeMessage(payload), native=Native.ONLY) == payload


def test_a_buffer_becomes_octets_of_its_own() -> None:
    buffer = bytearray(b"hello")
    for native in (Native.FALLBACK, Native.ONLY):
        message = decode(buffer, native=native)
        assert type(message.payload) is bytes


@pytest.mark.parametrize("native", [Native.FALLBACK, Native.ONLY])
def test_native_text_is_utf8_to_the_strict_reading(native: Native) -> None:  # FR-12
    assert decode("a\udcff", native=native) == NativeMessage("a\udcff")
    with pytest.raises(DecodeError) as caught:
        decode("a\udcff", decoding=Decoding.STRICT, native=native)
    error = caught.value
    assert (error.reason, error.field, error.offset) == (Reason.UTF8, None, 1)


@all_modes
@pytest.mark.parametrize("payload", ["", b"", bytearray()])
def test_an_empty_payload_is_not_even_native(payload: Any, native: Native) -> None:  # FR-14
    with pytest.raises(DecodeError) as caught:
        decode(payload, native=native)
    assert caught.value.reason is Reason.EMPTY


def test_a_frame_that_is_wrong_is_no_native_message() -> None:
    with pytest.raises(DecodeError) as caught:
        decode("w;n;r;e;x;0;b", decoding=Decoding.STRICT, native=Native.FALLBACK)
    assert caught.value.reason is Reason.FLAG


@pytest.mark.parametrize(
    ("message", "native", "reason", "requirement"),
    [
        (NativeMessage("hello"), Native.NEVER, Reason.NATIVE_MODE, "NM-1"),
        (Message("w"), Native.ONLY, Reason.NATIVE_MODE, "NM-1"),
        (NativeMessage(""), Native.ONLY, Reason.EMPTY, "FR-14"),
        (NativeMessage("a\ud800"), Native.ONLY, Reason.UTF8, "FR-12"),
        (NativeMessage("\udcff"), Native.FALLBACK, Reason.UTF8, "FR-12"),
        (NativeMessage(b""), Native.FALLBACK, Reason.EMPTY, "FR-14"),
        (NativeMessage(FRAME), Native.FALLBACK, Reason.NATIVE_LOOKS_LIKE_FRAME, "NM-3"),
        (NativeMessage(b";;;;;;;"), Native.FALLBACK, Reason.NATIVE_LOOKS_LIKE_FRAME, "NM-3"),
    ],
)
def test_what_the_peer_would_misread_is_not_written(
    message: Message | NativeMessage, native: Native, reason: Reason, requirement: str
) -> None:
    with pytest.raises(EncodeError) as caught:
        encode(message, native=native)
    assert (caught.value.reason, caught.value.requirement) == (reason, requirement)


# ---- Limits (SEC-1) ----

# The longest field before the body has four characters, the whole has twelve.
SIZED = "w;name;;;0;;"
FORMS = [
    SIZED,
    SIZED.encode(),
    bytearray(SIZED.encode()),
    memoryview(SIZED.encode()),
    memoryview(SIZED.encode()[::-1])[::-1],
]


@pytest.mark.parametrize("payload", FORMS, ids=["str", "bytes", "bytearray", "view", "backwards"])
def test_limits_are_exact(payload: Any) -> None:
    assert decode(payload, limits=FrameLimits(payload=12, field=4)) == decode(payload)
    for limits, reason, field, offset in (
        (FrameLimits(payload=11), Reason.PAYLOAD_TOO_LARGE, None, 11),
        (FrameLimits(field=3), Reason.FIELD_TOO_LONG, "namespace", 5),
        (FrameLimits(payload=11, field=3), Reason.PAYLOAD_TOO_LARGE, None, 11),
    ):
        with pytest.raises(DecodeError) as caught:
            decode(payload, limits=limits)
        error = caught.value
        assert (error.reason, error.requirement) == (reason, "SEC-1")
        assert (error.field, error.offset) == (field, offset)


@pytest.mark.parametrize("payload", ["a;b", b"a;b", bytearray(b"a;b")])
def test_within_the_limits_it_must_still_be_a_frame(payload: Any) -> None:
    with pytest.raises(DecodeError) as caught:
        decode(payload, limits=FrameLimits(payload=3, field=1))
    assert caught.value.reason is Reason.SEPARATORS


def test_a_field_is_measured_as_it_stands_in_the_payload() -> None:
    payload = ";@%!semicolon@%!;;e;0;0;"
    assert decode(payload, limits=FrameLimits(field=15)).namespace == ";"
    with pytest.raises(DecodeError):
        decode(payload, limits=FrameLimits(field=14))


def test_limits_count_characters_of_text_and_octets_of_binary_messages() -> None:
    payload = "é;;;;0;0;é"
    assert decode(payload, limits=FrameLimits(payload=10, field=1)).wait == "é"
    assert decode(payload.encode(), limits=FrameLimits(payload=12, field=2)).wait == "é"
    with pytest.raises(DecodeError):
        decode(payload.encode(), limits=FrameLimits(payload=12, field=1))
    with pytest.raises(DecodeError):
        decode(payload.encode(), limits=FrameLimits(payload=11, field=2))


def test_the_body_is_no_field_in_this() -> None:
    payload = "w;;;;0;0;" + "x" * 5000
    for form in (payload, payload.encode(), bytearray(payload.encode())):
        assert len(decode(form, limits=FrameLimits(field=1)).body) == 5000


@pytest.mark.parametrize("payload", ["hello", b"hello", bytearray(b"hello")])
def test_a_native_message_has_a_size_but_no_fields(payload: Any) -> None:
    limits = FrameLimits(payload=5, field=0)
    for native in (Native.FALLBACK, Native.ONLY):
        assert decode(payload, native=native, limits=limits).payload == payload
        with pytest.raises(DecodeError):
            decode(payload, native=native, limits=FrameLimits(payload=4))


@pytest.mark.parametrize("payload", [FRAME, FRAME.encode(), bytearray(FRAME.encode())])
def test_a_frame_has_fields_beside_native_messages_too(payload: Any) -> None:
    with pytest.raises(DecodeError) as caught:
        decode(payload, native=Native.FALLBACK, limits=FrameLimits(field=0))
    assert caught.value.reason is Reason.FIELD_TOO_LONG
    assert decode(payload, native=Native.ONLY, limits=FrameLimits(field=0)).payload == payload


MEGABYTE = 1 << 20


FIVE_FULL = ("f" * 100 + ";") * 5  # the sixth is the one over the limit


@pytest.mark.parametrize(
    ("start", "limits"),
    [
        ("", FrameLimits(payload=MEGABYTE - 1)),
        ("", FrameLimits(field=100)),
        (FIVE_FULL, FrameLimits(field=100)),
    ],
    ids=["payload", "first-field", "sixth-field"],
)
@pytest.mark.parametrize("form", [bytes, bytearray, memoryview, str])
def test_what_is_over_a_limit_is_not_copied(form: Any, start: str, limits: FrameLimits) -> None:
    text = start + "x" * MEGABYTE
    payload = text if form is str else form(text.encode())
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError) as caught:
            decode(payload, limits=limits)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert caught.value.requirement == "SEC-1"
    assert peak < MEGABYTE // 8


@pytest.mark.parametrize("form", [bytes, bytearray, memoryview, str])
def test_a_large_body_is_copied_once(form: Any) -> None:
    frame = "w;n;r;e;0;0;" + "x" * MEGABYTE
    payload = frame if form is str else form(frame.encode())
    tracemalloc.start()
    try:
        message = decode(payload)
        assert len(message.body) == MEGABYTE
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < MEGABYTE + MEGABYTE // 8


@pytest.mark.parametrize("name", ["payload", "field"])
def test_a_limit_is_not_negative(name: str) -> None:
    assert getattr(FrameLimits(**{name: 0}), name) == 0
    with pytest.raises(ValueError, match=f"FrameLimits.{name}"):
        FrameLimits(**{name: -1})


# ---- The package ----


@pytest.mark.parametrize(
    "value",
    [
        HandshakeRequest(),
        HandshakeAccept("1f"),
        HandshakeRefuse("no"),
        FrameLimits(),
        NativeMessage("hello"),
        parse_wait("$1"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_small_values_are_frozen_and_slim(value: Any) -> None:
    for name in (*type(value).__match_args__, "other"):
        with pytest.raises(AttributeError):
            setattr(value, name, "x")
        with pytest.raises(AttributeError):
            delattr(value, name)
    assert not hasattr(value, "__dict__")
    assert hash(value) == hash(copy.copy(value))


INTERNAL = {
    # Shared by the modules of the package, not meant for others.
    "ACCEPT_LETTER",
    "Value",
    "store",
    "CLIENT_PREFIX",
    "CONFIRMATION_PREFIX",
    "ENTROPY_OCTETS",
    "EXCHANGE_MARKER",
    "EXPLICIT_SENDER_PREFIX",
    "REFUSE_LETTER",
    "REQUEST_LETTER",
    "REQUIREMENT_OF",
    "SEPARATORS",
    "check_limits",
    "check_size",
    "escape",
    "unescape",
}


def defined(module: Path) -> set[str]:
    """Give the public names that a module defines itself."""
    names: set[str] = set()
    for statement in ast.parse(module.read_text(encoding="utf-8")).body:
        match statement:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                names.add(name)
            case ast.AnnAssign(target=ast.Name(id=name)) | ast.Assign(targets=[ast.Name(id=name)]):
                names.add(name)
    return {name for name in names if not name.startswith("_")}


def test_all_that_is_public_is_exported() -> None:
    public = set().union(*map(defined, MODULES)) - INTERNAL
    assert public == set(neffos_codec.__all__)
    assert public == {
        name
        for name, value in vars(neffos_codec).items()
        if not name.startswith("_") and not isinstance(value, type(neffos_codec))
    }


def test_exports_are_sorted() -> None:  # constants, then classes, then functions
    names = neffos_codec.__all__
    assert names == sorted(names, key=lambda name: (not name.isupper(), name.islower(), name))


def test_the_examples_in_the_docstring_work() -> None:
    result = doctest.testmod(neffos_codec)
    assert result.attempted > 0
    assert result.failed == 0


PURE = {"__future__", "collections", "dataclasses", "enum", "itertools", "types", "typing"}


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.stem)
def test_the_codec_needs_neither_packages_nor_the_world(module: Path) -> None:
    # Clock and entropy are the caller's to give, and nothing is read or written.
    imported, called = set(), set()
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        match node:
            case ast.Import(names=names):
                imported.update(alias.name.partition(".")[0] for alias in names)
            case ast.ImportFrom(module=str(name)):
                imported.add(name.partition(".")[0])
            case ast.Call(func=ast.Name(id=name)):
                called.add(name)
    chooses = module.stem == "_codec"  # between two codecs, by a variable of the environment
    assert imported <= PURE | {"neffos_codec"} | ({"importlib", "os"} if chooses else set())
    assert not called & {"__import__", "open", "print", "input", "eval", "exec"}


def test_compiled_is_told_by_what_is_in_use() -> None:
    from neffos_codec import _decode, _encode, _message

    pure = decode is _decode.decode, encode is _encode.encode, Message is _message.Message
    assert pure == (not COMPILED,) * 3


def test_the_codec_is_the_one_that_was_asked_for() -> None:
    if os.environ.get("NEFFOS_WIRE_PURE"):
        assert not COMPILED
    elif os.environ.get("NEFFOS_WIRE_EXPECT_COMPILED"):
        assert COMPILED


def test_a_refused_buffer_is_let_go():
    buffer = bytearray(b"not a frame")
    with pytest.raises(DecodeError):
        decode(buffer)
    buffer.clear()  # a view that was left behind would forbid it


def test_a_long_field_of_a_strided_buffer_is_refused_without_a_copy():
    view = memoryview(bytes(8 << 20) + b";;;;;;")[::2]
    tracemalloc.start()
    with pytest.raises(DecodeError) as refusal:
        decode(view, limits=FrameLimits(field=100))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert refusal.value.reason is Reason.FIELD_TOO_LONG
    assert peak < 100_000


def test_a_large_field_limit_costs_no_copy():
    buffer = bytearray(b";;;e;0;0;" + bytes(4 << 20))
    tracemalloc.start()
    decode(buffer, limits=FrameLimits(field=1 << 20))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1.1 * len(buffer)


def hostile(base: type) -> type:
    """A subclass whose own methods all fail."""

    def fail(*_: object, **__: object) -> object:
        raise KeyError("hostile")

    kept = {"__class__", "__init__", "__new__", "__init_subclass__", "__getattribute__", "__doc__"}
    kept |= {"__setattr__", "__delattr__", "__subclasshook__", "__dir__"}
    return type("Hostile", (base,), {name: fail for name in dir(base) if name not in kept})


@pytest.mark.parametrize("kind", [str, bytes, bytearray])
@pytest.mark.parametrize("native", list(Native))
@pytest.mark.parametrize("decoding", list(Decoding))
@pytest.mark.parametrize("text", ["$1;app;;e;0;0;body", "Mine", "", "a;b;c;d;0;0;" + 3000 * "x"])
def test_a_subclass_is_decoded_as_what_it_is(kind, native, decoding, text):
    plain = text if kind is str else kind(text.encode())
    given = hostile(kind)(text) if kind is str else hostile(kind)(text.encode())
    for read in (
        lambda payload: decode(payload, decoding=decoding, native=native),
        lambda payload: decode_handshake(payload, decoding=decoding),
    ):
        try:
            expected = read(plain)
        except DecodeError as error:
            with pytest.raises(DecodeError, match=re.escape(str(error))):
                read(given)
        else:
            assert read(given) == expected
