"""Three definitions of the frame, held against each other: codec, ``construct`` and ABNF.

An *oracle* takes the bytes of a message and whether it is binary; it gives the seven fields, or
``None`` where it refuses. All three read strictly unless a test says otherwise.
"""

from __future__ import annotations

import ast
import runpy
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from abnf import ParseError
from construct import ConstructError
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from neffos_codec import (
    ESCAPE,
    FIELDS,
    DecodeError,
    Decoding,
    EncodeError,
    HandshakeAccept,
    HandshakeRefuse,
    HandshakeRequest,
    Message,
    Reason,
    WaitKind,
    decode,
    decode_handshake,
    encode,
    parse_wait,
)
from neffos_protocol import grammar
from neffos_protocol.grammar import BINARY_FRAME, LENIENT_FRAME, TEXT_FRAME, abnf_rules

ABNF = abnf_rules(
    Path(__file__).parents[1].joinpath("data", "neffos.abnf").read_text(encoding="ascii")
)

Fields = tuple[str, str, str, str, bool, bool, str | bytes]
both_kinds = pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])


# ---- The oracles ----


def received(data: bytes, binary: bool) -> str | bytes:
    """Give the payload as a transport does that does not check the UTF-8 of text."""
    return data if binary else data.decode("utf-8", "surrogateescape")


def strictly(payload: str | bytes) -> Fields:
    return decode(payload, decoding=Decoding.STRICT).fields()


def by_codec(data: bytes, binary: bool, read: Any = strictly) -> Fields | None:
    try:
        return read(received(data, binary))
    except DecodeError:
        return None


def by_construct(data: bytes, binary: bool) -> Fields | None:
    try:
        found = (BINARY_FRAME if binary else TEXT_FRAME).parse(data)
    except ConstructError:
        return None
    return tuple(found[name] for name in FIELDS)


def by_abnf(data: bytes, binary: bool) -> Fields | None:
    # The library matches characters: Latin-1 gives each byte one of its own.
    tree = match("binary-frame" if binary else "text-frame", data)
    if tree is None:
        return None
    body = octets_of(node(tree, "binary-body" if binary else "text-body"))
    return (
        octets_of(node(tree, "wait") or node(tree, "token")).decode(),
        unescaped(node(tree, "namespace")),
        unescaped(node(tree, "room")),
        unescaped(node(tree, "event")),
        octets_of(node(tree, "is-error")) == b"1",
        octets_of(node(tree, "is-no-op")) == b"1",
        body if binary else body.decode(),
    )


def match(rule: str, data: bytes) -> Any:
    try:
        return ABNF(rule).parse_all(data.decode("latin-1"))
    except ParseError:
        return None


def node(tree: Any, name: str) -> Any:
    """Find the first node of that name, or ``None``: an empty reply lacks most of them."""
    if tree.name == name:
        return tree
    return next(filter(None, (node(child, name) for child in tree.children)), None)


def octets_of(found: Any) -> bytes:
    return found.value.encode("latin-1") if found else b""


def unescaped(found: Any) -> str:
    parts = node(found, "escapable").children if found else []
    return b"".join(b";" if part.name == "escape" else octets_of(part) for part in parts).decode()


# ---- What is generated ----

# Short: the ABNF library tries every way to match.
near_escapes = st.sampled_from([ESCAPE, "semicolon".join(["@%!"] * 3), "@%!semicolon", "@%!", "@"])
words = st.sampled_from(["chat", "0", "1", "$", "#", "!", "neffos(0x"])
odd_characters = st.sampled_from(["é", "€", "𝄞", "\0", "\n", "\ufeff"])
pieces = near_escapes | words | odd_characters

written = st.lists(pieces, max_size=3).map("".join)
"""A field as it stands in a frame."""

content = st.lists(pieces | st.just(";"), max_size=3).map("".join)
"""A field's content, and a text body: separators too."""

flags = st.sampled_from(["0", "1"])
odd_flags = st.sampled_from(["0", "0", "0", "1", "1", "1", "", "2", "00", "é"])
separated = st.builds("{};{}".format, content, content)
octet_bodies = (content | separated).map(str.encode) | st.just(b"") | st.binary(max_size=8)


def frames(flag: st.SearchStrategy[str]) -> st.SearchStrategy[bytes]:
    """Frames with such flags, some cut off before the body, and what may be an empty reply."""
    head = st.tuples(written, written, written, written, flag, flag).map(";".join).map(str.encode)
    scarce = st.sampled_from(["", "", "", "n"])
    empty_reply = st.tuples(written, scarce, scarce, scarce).map(";".join).map("{};;;".format)
    return (
        st.builds(b"%b;%b".__mod__, st.tuples(head, octet_bodies))
        | head
        | empty_reply.map(str.encode)
    )


@st.composite
def mutations(draw: st.DrawFn) -> bytes:
    """Take a frame and drop, double or replace one of its bytes."""
    data = draw(frames(flags))
    at = draw(st.integers(0, len(data) - 1))
    byte = data[at : at + 1]
    new = draw(st.sampled_from([b"", byte + byte, b";", b"0", b"1", b"\xff", b"\xc3", b"\x80"]))
    return data[:at] + new + data[at + 1 :]


anything = (
    st.binary(max_size=24)
    | st.text(max_size=12).map(str.encode)
    | st.text(alphabet="; 01@é", max_size=20).map(str.encode)
)
payloads = frames(flags) | frames(odd_flags) | mutations() | anything
messages = st.tuples(
    written | st.just("a;b"),
    content,
    content,
    content,
    st.booleans(),
    st.booleans(),
    content | octet_bodies,
)


# ---- Agreement ----

AGREE = settings(max_examples=settings().max_examples // 2)


def agree(data: bytes, binary: bool) -> None:
    fields = by_codec(data, binary)
    assert by_construct(data, binary) == fields
    assert by_abnf(data, binary) == fields


@both_kinds
@AGREE
@given(data=frames(flags) | frames(odd_flags))
def test_all_agree_on_frames(data: bytes, binary: bool) -> None:
    agree(data, binary)


@both_kinds
@AGREE
@given(data=mutations())
def test_all_agree_on_damaged_frames(data: bytes, binary: bool) -> None:
    agree(data, binary)


@both_kinds
@AGREE
@given(data=anything)
def test_all_agree_on_anything(data: bytes, binary: bool) -> None:
    agree(data, binary)


@AGREE
@given(fields=messages)
def test_codec_and_grammar_write_the_same(fields: Fields) -> None:
    binary = isinstance(fields[-1], bytes)
    frame = BINARY_FRAME if binary else TEXT_FRAME
    try:
        payload = encode(Message(*fields))
    except EncodeError:
        with pytest.raises(ConstructError):
            frame.build(dict(zip(FIELDS, fields, strict=True)))
        return
    data = payload if isinstance(payload, bytes) else payload.encode()
    assert frame.build(dict(zip(FIELDS, fields, strict=True))) == data
    assert by_abnf(data, binary) == fields


@both_kinds
@AGREE
@given(data=payloads)
def test_codec_and_grammar_agree_on_the_lenient_reading(data: bytes, binary: bool) -> None:
    try:
        message = decode(received(data, binary))
    except DecodeError:
        with pytest.raises(ConstructError):
            LENIENT_FRAME.parse(data)
        return
    found = LENIENT_FRAME.parse(data)
    for name, value in zip(FIELDS, message.fields(), strict=True):
        raw = value.encode("utf-8", "surrogateescape") if isinstance(value, str) else value
        assert found[name] == raw, name


@AGREE
@given(fields=messages)
def test_the_lenient_grammar_writes_what_it_reads(fields: Fields) -> None:
    raw = {
        name: value.encode() if isinstance(value, str) else value
        for name, value in zip(FIELDS, fields, strict=True)
    }
    try:
        data = LENIENT_FRAME.build(raw)
    except ConstructError:
        with pytest.raises(EncodeError):
            Message(*fields)
        return
    found = LENIENT_FRAME.parse(data)
    assert {name: found[name] for name in FIELDS} == raw


# ---- The same by hand, so that three wrong definitions cannot agree ----


@pytest.mark.parametrize(
    ("data", "fields"),
    [
        (b"w;n;r;e;0;0;b;o;dy", ("w", "n", "r", "e", False, False, "b;o;dy")),  # FR-1
        (b";;;e;0;0;", ("", "", "", "e", False, False, "")),
        (b";;;;0;0;", ("", "", "", "", False, False, "")),
        (b"w;n;r;e;0;0", None),  # FR-2
        (b"w;n;r;e;0", None),
        (b";@%!semicolon@%!;;e;0;0;", ("", ";", "", "e", False, False, "")),  # FR-3
        (
            b";;@%!semicolon@%!semicolon@%!;e;0;0;",
            ("", "", ";semicolon@%!", "e", False, False, ""),
        ),
        (b";@%!Semicolon@%!;;e;0;0;", ("", "@%!Semicolon@%!", "", "e", False, False, "")),
        (b"@%!semicolon@%!;;;e;0;0;", ("@%!semicolon@%!", "", "", "e", False, False, "")),  # FR-5
        (b";;;e;1;1;no", ("", "", "", "e", True, True, "no")),  # FR-6, FR-8
        (b";;;e;1;0;", ("", "", "", "e", True, False, "")),
        (b";;;e;2;0;", None),
        (b";;;e;00;0;", None),
        (b";;;e;;;", None),
        (b";n;;;;;", None),
        (b"w;;;;;0;", None),
        (b"w;n;;;;;", None),
        (b"w;;r;;;;", None),
        (b"w;;;e;;;", None),
        (b"w;;;;;;", ("w", "", "", "", False, False, "")),  # FR-13
        (b"w;;;;0;0;", ("w", "", "", "", False, False, "")),
        (b"w;;;;;;x", None),
        (b";;;;;;", None),
        ("é;€;𝄞;\0;0;0;é".encode(), ("é", "€", "𝄞", "\0", False, False, "é")),  # FR-12
        (b"\xff;n;r;e;0;0;", None),
        (b"w;n;r;\xed\xa0\x80;0;0;", None),
        (b"w;\xc0\x80;r;e;0;0;", None),
        (b"", None),  # FR-14
    ],
)
@both_kinds
def test_known_frames(data: bytes, fields: Any, binary: bool) -> None:
    expected = fields and (*fields[:-1], fields[-1].encode() if binary else fields[-1])
    assert by_codec(data, binary) == expected
    agree(data, binary)


def test_only_a_binary_body_may_be_no_utf8() -> None:  # FR-12
    data = b"w;n;r;e;0;0;\xff"
    for oracle in (by_codec, by_construct, by_abnf):
        assert oracle(data, True) == ("w", "n", "r", "e", False, False, b"\xff")
        assert oracle(data, False) is None


@pytest.mark.parametrize(
    ("change", "data"),
    [
        ({}, b"w;;;;;;"),  # FR-13: where it can be short it is
        ({"event": "e"}, b"w;;;e;0;0;"),
        ({"wait": ""}, b";;;;0;0;"),
        ({"is_error": True}, b"w;;;;1;0;"),  # FR-6
        ({"is_no_op": True, "body": "b"}, b"w;;;;0;1;b"),
        ({"namespace": "a;b"}, b"w;a@%!semicolon@%!b;;;0;0;"),  # FR-3
        ({"wait": "a;b"}, None),  # FR-5
        ({"room": ESCAPE}, None),  # FR-4
        ({"event": "@%!semicolon;"}, None),
        ({"wait": "\udcff"}, None),  # FR-12
    ],
)
@both_kinds
def test_known_fields_are_written(change: Any, data: bytes | None, binary: bool) -> None:
    fields: dict[str, Any] = dict(zip(FIELDS, Message("w").fields(), strict=True)) | change
    if binary:
        fields["body"] = fields["body"].encode()
    frame = BINARY_FRAME if binary else TEXT_FRAME
    if data is None:
        with pytest.raises(ConstructError):
            frame.build(fields)
    else:
        assert frame.build(fields) == data


def test_the_lenient_grammar_reads_any_flag_and_writes_two() -> None:  # FR-7, FR-6
    found = LENIENT_FRAME.parse(b"w;n;r;e;1;x;b")
    assert (found["is_error"], found["is_no_op"]) == (True, False)
    assert LENIENT_FRAME.build(found) == b"w;n;r;e;1;0;b"


# ---- The oracles bite: faulty codecs ----


def drops_the_room(payload: str | bytes) -> Fields:
    fields = strictly(payload)
    return (*fields[:2], "", *fields[3:])


def accepts_five_separators(payload: str | bytes) -> Fields:
    separator = ";" if isinstance(payload, str) else b";"
    return strictly(payload + separator if payload.count(separator) == 5 else payload)


def accepts_any_flag(payload: str | bytes) -> Fields:
    try:
        return strictly(payload)
    except DecodeError as error:
        if error.reason is not Reason.FLAG:
            raise
        return decode(payload).fields()


def swaps_the_flags(payload: str | bytes) -> Fields:
    fields = strictly(payload)
    return (*fields[:4], fields[5], fields[4], fields[6])


def keeps_the_escape(payload: str | bytes) -> Fields:
    fields = strictly(payload)
    return (fields[0], fields[1].replace(";", ESCAPE), *fields[2:])


def unescapes_from_the_right(payload: str | bytes) -> Fields:
    fields = strictly(payload)
    return (*fields[:3], ";".join(fields[3].replace(";", ESCAPE).rsplit(ESCAPE)), *fields[4:])


def unescapes_the_wait(payload: str | bytes) -> Fields:
    fields = strictly(payload)
    return (fields[0].replace(ESCAPE, ";"), *fields[1:])


def cuts_the_body(payload: str | bytes) -> Fields:
    fields = strictly(payload)
    return (*fields[:6], fields[6].split(";" if isinstance(payload, str) else b";")[0])


def forgets_an_empty_error(payload: str | bytes) -> Fields:
    fields = strictly(payload)
    return (*fields[:4], fields[4] and bool(fields[6]), *fields[5:])


def accepts_an_empty_reply_to_nobody(payload: str | bytes) -> Fields:
    return decode(payload).fields() if payload in (";;;;;;", b";;;;;;") else strictly(payload)


def accepts_an_empty_reply_with_a_room(payload: str | bytes) -> Fields:
    fields = decode(payload).fields()
    return fields if fields[0] and not any(fields[1:2] + fields[3:]) else strictly(payload)


def repairs_utf8(payload: str | bytes) -> Fields:
    if isinstance(payload, str):
        return strictly(payload.encode("utf-8", "replace").decode())
    return strictly(payload.decode("utf-8", "replace").encode())


WRONG = [
    drops_the_room,
    accepts_five_separators,
    accepts_any_flag,
    swaps_the_flags,
    keeps_the_escape,
    unescapes_from_the_right,
    unescapes_the_wait,
    cuts_the_body,
    forgets_an_empty_error,
    accepts_an_empty_reply_to_nobody,
    accepts_an_empty_reply_with_a_room,
    repairs_utf8,
]

# No more examples than the tests of agreement take together: those would notice, too.
SEARCH = settings(max_examples=300, phases=[Phase.generate], derandomize=True)


@cache
def examples() -> list[bytes]:
    """Give what is generated, the same at each run."""
    found: list[bytes] = []

    @SEARCH
    @given(payloads)
    def keep(data: bytes) -> None:
        found.append(data)

    keep()
    return found


@cache
def by_oracle(oracle: Any, data: bytes, binary: bool) -> Fields | None:
    """Give what an oracle says of an example, of which each faulty codec is asked."""
    return oracle(data, binary)


@pytest.mark.no_cover  # most of its work is that of the oracles
@pytest.mark.parametrize("oracle", [by_construct, by_abnf])
@pytest.mark.each("wrong", {wrong.__name__: wrong for wrong in WRONG})
@both_kinds
def test_a_wrong_codec_is_caught(wrong: Any, oracle: Any, binary: bool) -> None:
    plain = b"w;n;;e;1;1;body"
    assert by_codec(plain, binary, wrong) == oracle(plain, binary)  # wrong in one thing only
    assert any(
        by_codec(data, binary, wrong) != by_oracle(oracle, data, binary) for data in examples()
    )


# ---- The rest of the ABNF ----


@AGREE
@given(
    text=st.text(max_size=12)
    | st.builds("{}{}".format, st.sampled_from("MAHm"), st.text(max_size=6))
    | st.text(st.characters(), max_size=4).map("A{}".format)
)
def test_codec_and_abnf_agree_on_the_handshake(text: str) -> None:  # HS-1 to HS-6
    data = text.encode("utf-8", "surrogatepass")
    asked = match("handshake-request", data)
    accepted = match("handshake-accept", data)
    refused = match("handshake-refuse", data)
    try:
        message = decode_handshake(text, decoding=Decoding.STRICT)
    except DecodeError:
        assert (asked, accepted, refused) == (None, None, None)
        return
    if asked:
        assert message == HandshakeRequest()
    elif accepted:
        assert message == HandshakeAccept(octets_of(node(accepted, "connection-id")).decode())
    else:
        assert message == HandshakeRefuse(octets_of(node(refused, "error-text")).decode())


@AGREE
@given(wait=written | st.text("$#!n ", min_size=1, max_size=4) | st.text(max_size=4))
def test_codec_and_abnf_agree_on_what_a_token_tells(wait: str) -> None:  # AR-2 to AR-4, SX
    data = wait.encode()
    parsed = parse_wait(wait)
    if match("wait", data) is None:
        assert ";" in wait
    elif not wait:
        assert parsed.kind is WaitKind.NONE
    elif match("explicit-sender", data):
        assert (parsed.kind, parsed.sender) == (WaitKind.EXPLICIT_SENDER, wait)
    else:
        assert bool(match("made-token", data)) == (data[1:2] != b"!")  # AR-23
        marked = match("exchange-token", data)
        assert parsed.from_exchange == bool(marked)
        token = data[:1] + data[2:] if marked else data
        assert parsed.token.encode() == token
        if match("client-token", token):
            assert parsed.kind is WaitKind.CLIENT_ASK
        elif match("confirmation", token):
            assert parsed.kind is WaitKind.CONFIRMATION
        else:
            assert parsed.kind is WaitKind.SERVER_ASK


def test_every_rule_that_the_abnf_uses_is_defined() -> None:
    assert [rule.name for rule in ABNF.rules() if not hasattr(rule, "_definition")] == []


# ---- The module ----


def test_the_grammar_shares_no_code_with_the_codec() -> None:
    tree = ast.parse(Path(grammar.__file__).read_text(encoding="utf-8"))
    imported = {
        name
        for statement in ast.walk(tree)
        if isinstance(statement, (ast.Import, ast.ImportFrom))
        for name in [getattr(statement, "module", None), *(a.name for a in statement.names)]
    }
    assert not [name for name in imported if name and name.startswith("neffos")]


def test_without_construct_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "construct", None)
    with pytest.raises(ImportError, match=r"neffos-wire\[dev\]"):
        runpy.run_path(grammar.__file__)
