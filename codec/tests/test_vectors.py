"""Drives the codec with the test vectors, and checks the vectors themselves.

What a vector expects was derived from the requirements; nothing here asks the codec for it.
"""

from __future__ import annotations

import copy
import json
import reprlib
import runpy
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema_rs import Draft202012Validator, meta

from neffos_codec import (
    FIELDS,
    CodecError,
    DecodeError,
    Decoding,
    EncodeError,
    Handshake,
    HandshakeAccept,
    HandshakeRefuse,
    HandshakeRequest,
    Message,
    Native,
    NativeMessage,
    Reason,
    Wait,
    WaitKind,
    decode,
    decode_handshake,
    encode,
    encode_handshake,
    parse_wait,
)
from neffos_conformance.codecs import vectors

FILES = vectors.load_files()
SCHEMA = json.loads(vectors.texts()["schema.json"])
VALIDATOR = Draft202012Validator(SCHEMA)
ALL = vectors.load_vectors()
each_decoding = pytest.mark.parametrize("decoding", Decoding)


def each(operation: str, accepted: str = "") -> pytest.MarkDecorator:
    """Run a test with the vectors of one operation, or with those that a decoding accepts."""
    return pytest.mark.each(
        "vector",
        {
            vector["id"]: vector
            for vector in ALL
            if vector["operation"] == operation and "reject" not in vector.get(accepted, {})
        },
    )


def same(got: object, wanted: object) -> None:
    # Not a plain assert: pytest would take minutes to compare two mebibytes line by line.
    __tracebackhide__ = True
    if got != wanted:
        pytest.fail(f"got {reprlib.repr(got)}, the vector wants {reprlib.repr(wanted)}")


def refused(
    vector: vectors.Vector,
    rejection: dict[str, Any],
    error: type[CodecError],
    call: Callable[[], object],
) -> None:
    """Check that a call is refused for the reason, at the place and on the ground given."""
    with pytest.raises(error) as caught:
        call()
    it = caught.value
    same(
        (it.reason, it.offset, it.field),
        (Reason(rejection["reject"]), rejection["offset"], rejection.get("field")),
    )
    assert it.requirement in vector["requirements"]


def deliveries(vector: vectors.Vector) -> Iterator[Any]:
    """Give the payload of a vector in every type that a transport may use (FR-15)."""
    payload = vectors.payload(vector)
    yield payload
    if isinstance(payload, bytes):
        yield bytearray(payload)
        yield memoryview(payload)


# ---- The vectors themselves ----


def test_the_schema_is_a_schema() -> None:
    meta.validate(SCHEMA)


@pytest.mark.no_cover  # all of its work is the schema's
@pytest.mark.parametrize("name", FILES)
def test_file_follows_the_schema(name: str) -> None:
    assert [error.verbose_message for error in VALIDATOR.iter_errors(FILES[name])] == []


@pytest.mark.parametrize(
    "change",
    [
        lambda vector: vector.pop("strict"),
        lambda vector: vector.update(id="decode-1"),
        lambda vector: vector.update(requirements=[]),
        lambda vector: vector.update(surprise=1),
        lambda vector: vector.update(operation="guess"),
        lambda vector: vector.update(payload=None),
        lambda vector: vector.update(payload={"hex": "f"}),
        lambda vector: vector.update(lenient={}),
        lambda vector: vector.update(strict={"reject": "mood", "offset": 0}),
        lambda vector: vector.update(strict={"reject": "flag"}),
        lambda vector: vector.update(strict={"reject": "flag", "offset": 0, "message": {}}),
        lambda vector: vector["lenient"]["message"].update(is_error=False),
    ],
)
def test_the_schema_refuses(change: Callable[[vectors.Vector], object]) -> None:
    file = copy.deepcopy(FILES["decode"])
    file["vectors"] = file["vectors"][:1]
    assert VALIDATOR.is_valid(file)
    change(file["vectors"][0])
    assert not VALIDATOR.is_valid(file)


def test_the_schema_knows_the_words_of_the_codec() -> None:
    words = SCHEMA["$defs"]
    assert words["reason"]["enum"] == list(Reason)
    assert words["field"]["enum"] == [*FIELDS, "id", "text"]
    assert words["native"]["enum"] == [mode.value for mode in Native]
    kinds = words["parse-wait"]["properties"]["parsed"]["properties"]["kind"]["enum"]
    assert kinds == list(WaitKind)


def test_ids_are_unique_and_name_their_file() -> None:
    assert [name for name, times in Counter(each["id"] for each in ALL).items() if times > 1] == []
    for name, file in FILES.items():
        for vector in file["vectors"]:
            assert vector["id"].startswith(f"{name}-")


def test_the_example_of_the_readme_is_a_vector() -> None:
    readme = (Path(__file__).parents[1] / "vectors" / "README.md").read_text(encoding="utf-8")
    example = json.loads(readme.split("```json\n")[1].split("```")[0])
    assert example in ALL


def test_there_are_enough() -> None:
    assert len(ALL) >= 200


def test_every_reason_occurs() -> None:
    rejections = [
        part
        for vector in ALL
        for part in (vector, vector.get("lenient", {}), vector.get("strict", {}))
    ]
    assert {part["reject"] for part in rejections if "reject" in part} == set(Reason)


def test_the_strict_reading_only_refuses_more() -> None:
    for vector in ALL:
        if "strict" in vector and vector["strict"] != vector["lenient"]:
            assert "reject" in vector["strict"], vector["id"]
            assert "reject" not in vector["lenient"], vector["id"]


# ---- Frames and native messages ----


@each("decode")
@each_decoding
def test_decode(vector: vectors.Vector, decoding: Decoding) -> None:
    outcome = vector[decoding.value]
    mode, limits = vectors.native(vector), vectors.limits(vector)
    for payload in deliveries(vector):

        def read(payload: Any = payload) -> Message | NativeMessage:
            return decode(payload, decoding=decoding, native=mode, limits=limits)

        if "reject" in outcome:
            refused(vector, outcome, DecodeError, read)
            continue
        message = read()
        if "native" in outcome:
            same(message, NativeMessage(vectors.content(outcome["native"], vector["kind"])))
        else:
            assert isinstance(message, Message)
            same(message.fields(), vectors.fields(outcome["message"], vector["kind"]))
        assert message.is_binary == (vector["kind"] == "binary")


@each("decode", accepted="strict")
def test_what_the_strict_reading_accepts_is_written_again(vector: vectors.Vector) -> None:
    payload, mode = vectors.payload(vector), vectors.native(vector)
    message = decode(payload, decoding=Decoding.STRICT, native=mode)
    written = encode(message, native=mode)
    for decoding in Decoding:
        same(decode(written, decoding=decoding, native=mode), message)
    # The empty reply has two spellings, and only one of them is ever written (FR-13).
    if not (isinstance(message, Message) and message.is_empty_reply):
        same(written, payload)


@each("encode")
def test_encode(vector: vectors.Vector) -> None:
    mode = vectors.native(vector)

    def build() -> Message | NativeMessage:
        if "message" in vector:
            return vectors.message(vector)
        return NativeMessage(vectors.content(vector["native_payload"], vector["kind"]))

    if "reject" in vector:
        refused(vector, vector, EncodeError, lambda: encode(build(), native=mode))
        return
    written = encode(build(), native=mode)
    same(written, vectors.payload(vector))
    same(decode(written, decoding=Decoding.STRICT, native=mode), build())


# ---- Handshakes ----


def handshake(described: dict[str, Any]) -> Handshake:
    if "accept" in described:
        return HandshakeAccept(vectors.text(described["accept"]))
    if "refuse" in described:
        return HandshakeRefuse(vectors.text(described["refuse"]))
    return HandshakeRequest()


@each("decode-handshake")
@each_decoding
def test_decode_handshake(vector: vectors.Vector, decoding: Decoding) -> None:
    outcome = vector[decoding.value]
    for payload in deliveries(vector):

        def read(payload: Any = payload) -> Handshake:
            return decode_handshake(payload, decoding=decoding)

        if "reject" in outcome:
            refused(vector, outcome, DecodeError, read)
        else:
            same(read(), handshake(outcome["handshake"]))


@each("decode-handshake", accepted="strict")
def test_a_handshake_that_the_strict_reading_accepts_is_written_again(
    vector: vectors.Vector,
) -> None:
    same(encode_handshake(handshake(vector["strict"]["handshake"])), vectors.payload(vector))


@each("encode-handshake")
def test_encode_handshake(vector: vectors.Vector) -> None:
    message = handshake(vector["handshake"])
    if "reject" in vector:
        refused(vector, vector, EncodeError, lambda: encode_handshake(message))
        return
    written = encode_handshake(message)
    same(written, vectors.text(vector["payload"]))
    same(decode_handshake(written, decoding=Decoding.STRICT), message)


# ---- Replies and waits ----


@each("reply")
def test_reply(vector: vectors.Vector) -> None:
    ask, wanted = vectors.message(vector), vector["reply"]

    def answer() -> Message:
        if "error" in wanted:
            return ask.error_reply(vectors.text(wanted["error"]))
        if "body" in wanted:
            return ask.reply(vectors.content(wanted["body"], wanted.get("kind", vector["kind"])))
        return ask.empty_reply()

    if "reject" in vector:
        refused(vector, vector, EncodeError, answer)
        return
    written = vectors.content(vector["answer"]["payload"], vector["answer"]["kind"])
    same(encode(answer()), written)
    same(decode(written, decoding=Decoding.STRICT), answer())


@each("parse-wait")
def test_parse_wait(vector: vectors.Vector) -> None:
    parsed = vector["parsed"]
    wanted = Wait(
        WaitKind(parsed["kind"]),
        token=vectors.text(parsed.get("token", "")),
        from_exchange=parsed.get("from_exchange", False),
        sender=vectors.text(parsed.get("sender", "")),
    )
    same(parse_wait(vectors.text(vector["wait"])), wanted)


# ---- The systematic vectors ----


def test_the_systematic_vectors_are_what_their_program_writes() -> None:
    run = runpy.run_path(str(Path(__file__).with_name("systematic.py")))
    text = run["FILE"].read_text(encoding="utf-8")
    assert text == run["written"](), "run python codec/tests/systematic.py"
