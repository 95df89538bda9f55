"""The targets ``decode`` and ``handshake``: the bytes of one payload, read in every way.

Knows no session. Each function takes the bytes and returns, or raises what is wrong.
"""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any, AnyStr, Final, TypeVar

from fuzz.checks import REFUSED_MESSAGE, REFUSED_PAYLOAD, check
from neffos_codec import (
    FIELDS,
    DecodeError,
    Decoding,
    EncodeError,
    FrameLimits,
    Handshake,
    Message,
    Native,
    NativeMessage,
    Payload,
    Reason,
    decode,
    decode_handshake,
    encode,
    encode_handshake,
    parse_wait,
)
from neffos_codec._decode import _EAGER, _HEAD

COMPILED_DECODE: Final[Callable[..., Any] | None] = (
    import_module("neffos_codec._compiled").decode if find_spec("neffos_codec._compiled") else None
)

Outcome = Message | NativeMessage | DecodeError
Read = TypeVar("Read")

MOST: Final = 200
"""The payload limit: most inputs are below it, and a mutation is soon above."""

SURROGATES: Final = (0xDC80, 0xDCFF)
"""What a byte that is no UTF-8 becomes in a ``str``."""


def decode_target(data: bytes) -> None:
    """Read ``data`` as text and as binary, in each decoding and mode, with limits and without."""
    text = data.decode("utf-8", "surrogateescape")
    for native in Native:
        lenient = outcomes(text, data, Decoding.LENIENT, native)
        strict = outcomes(text, data, Decoding.STRICT, native)
        payloads: tuple[str | bytes, str | bytes] = (text, data)
        for payload, loose, tight in zip(payloads, lenient, strict, strict=True):
            if not isinstance(tight, DecodeError):
                check(same(tight, loose), "lenient accepts what strict accepts", tight, loose)
            check_limited(payload, loose, native)
            check_round_trip(payload, loose, Decoding.LENIENT, native)
            check_round_trip(payload, tight, Decoding.STRICT, native)
        check_kinds_agree(*lenient)
        if not isinstance(strict[0], DecodeError):
            check_kinds_agree(*strict)
        if native is Native.NEVER:
            check_padded(text, "x", lenient[0])
            check_padded(data, b"x", lenient[1])
            for payload, outcome in zip(payloads * 2, lenient + strict, strict=True):
                check_value(payload, outcome)


def handshake_target(data: bytes) -> None:
    """Read ``data`` as a handshake message, as text and as binary, in each decoding."""
    text = data.decode("utf-8", "surrogateescape")
    of_text = read_handshake(text, Decoding.LENIENT)
    for other in (data, buffer(data)):
        of_other = read_handshake(other, Decoding.LENIENT)
        check(same(of_text, of_other), "binary is as good as text", of_text, of_other)
        strict = read_handshake(other, Decoding.STRICT)
        check(isinstance(strict, DecodeError), "strictly, a handshake message is text", strict)
    strict = read_handshake(text, Decoding.STRICT)
    if not isinstance(strict, DecodeError):
        check(same(strict, of_text), "lenient accepts what strict accepts", strict, of_text)
        check(encode_handshake(strict) == text, "what is strictly right is written so", strict)
    elif not isinstance(of_text, DecodeError):
        try:
            again = read_handshake(encode_handshake(of_text), Decoding.STRICT)
        except REFUSED_MESSAGE as error:
            lenient_only = error.reason in (Reason.HANDSHAKE_ID, Reason.UTF8)
            check(lenient_only, "only an empty id and surrogates cannot be written", error)
        else:
            check(same(again, of_text), "what is written reads as it was", of_text, again)


def outcomes(text: str, data: bytes, decoding: Decoding, native: Native) -> tuple[Outcome, Outcome]:
    """Read the same bytes as text and as binary; a buffer must read as its bytes."""
    of_data = read(data, decoding, native)
    of_buffer = read(buffer(data), decoding, native)
    check(same(of_data, of_buffer), "a buffer reads as its bytes", of_data, of_buffer)
    return read(text, decoding, native), of_data


def read(
    payload: Payload, decoding: Decoding, native: Native, limits: FrameLimits | None = None
) -> Outcome:
    """Decode, with a refusal as a value; the compiled codec must read the same."""
    found = attempt(lambda: decode(payload, decoding=decoding, native=native, limits=limits))
    if COMPILED_DECODE:
        other = attempt(
            lambda: COMPILED_DECODE(payload, decoding=decoding, native=native, limits=limits)
        )
        check(seen(found) == seen(other), "the compiled codec reads the same", found, other)
    return found


def seen(outcome: Outcome) -> object:
    """Give what a message or a refusal of either codec consists of."""
    if isinstance(outcome, DecodeError):
        return outcome.args
    values = (outcome.payload,) if isinstance(outcome, NativeMessage) else outcome.fields()
    return values, [*map(type, values)]


def read_handshake(payload: Payload, decoding: Decoding) -> Handshake | DecodeError:
    """Decode a handshake message, with a refusal as a value."""
    return attempt(lambda: decode_handshake(payload, decoding=decoding))


def attempt(call: Callable[[], Read]) -> Read | DecodeError:
    """Give what a call gives, or its refusal."""
    try:
        return call()
    except REFUSED_PAYLOAD as error:
        return error


def buffer(data: bytes) -> Payload:
    """Put the bytes into one of the other types that hold bytes, by their number."""
    view, spread = memoryview(data), bytearray(2 * len(data))
    spread[::2] = data
    kinds: tuple[Payload, ...]
    kinds = (view.cast("I") if data and len(data) % 4 == 0 else view, bytearray(data))
    return (*kinds, memoryview(spread)[::2], view)[len(data) % 4]


def same(one: object, other: object) -> bool:
    """Tell whether two outcomes are equal; refusals are if they say the same."""
    if isinstance(one, DecodeError) and isinstance(other, DecodeError):
        return (one.reason, one.offset, one.field) == (other.reason, other.offset, other.field)
    return one == other


def check_value(payload: str | bytes, outcome: Outcome) -> None:
    """See that an outcome can be shown, stored and hashed, and that a place is inside."""
    repr(outcome)
    if isinstance(outcome, DecodeError):
        check(0 <= outcome.offset <= len(payload), "the offset is inside", outcome)
        check(outcome.field is None or outcome.field in FIELDS, "there is such a field", outcome)
        return
    check(hash(outcome) == hash(copy.copy(outcome)), "equal values hash alike", outcome)
    check(pickle.loads(pickle.dumps(outcome)) == outcome, "it survives pickling", outcome)  # noqa: S301
    if isinstance(outcome, Message):
        parse_wait(outcome.wait)


def check_limited(payload: str | bytes, unlimited: Outcome, native: Native) -> None:
    """See that limits refuse what is over them, and change nothing else."""
    longest = len(payload) % 8
    limited = read(payload, Decoding.LENIENT, native, FrameLimits(payload=MOST, field=longest))
    over = first_over(payload, longest, native)
    if len(payload) > MOST:
        refusal = Reason.PAYLOAD_TOO_LARGE
        over = None
    elif over is not None:
        refusal = Reason.FIELD_TOO_LONG
    else:
        check(same(limited, unlimited), "within the limits nothing changes", unlimited, limited)
        return
    told = (limited.reason, limited.field) if isinstance(limited, DecodeError) else None
    check(told == (refusal, over), f"over the limit: {refusal}", limited)


def first_over(payload: str | bytes, longest: int, native: Native) -> str | None:
    """Name the first field that is longer than that, from the definition."""
    fields: list[str] | list[bytes]
    fields = payload.split(";", 6) if isinstance(payload, str) else payload.split(b";", 6)
    if native is Native.ONLY or (native is Native.FALLBACK and len(fields) <= 6):
        return None
    lengths = map(len, fields[:6])
    return next((FIELDS[at] for at, length in enumerate(lengths) if length > longest), None)


def check_round_trip(
    payload: str | bytes, outcome: Outcome, decoding: Decoding, native: Native
) -> None:
    """See that what was read can be written, and reads as the same again."""
    if isinstance(outcome, DecodeError):
        return
    if isinstance(outcome, NativeMessage):
        check(outcome.payload == payload, "a native message is its payload", outcome)
        try:
            written = encode(outcome, native=native)
        except REFUSED_MESSAGE as error:
            check(error.reason is Reason.UTF8, "no other reason to refuse", error)
            check(decoding is Decoding.LENIENT and has_surrogate(payload), "and it holds", error)
            return
        check(written == payload, "a native message is written as it is", written)
        return
    written = encode(outcome, native=native)
    check(isinstance(written, type(payload)), "the kind stays", written)
    again = read(written, decoding, native)
    check(same(again, outcome), "what is written reads as it was", outcome, again)
    if decoding is Decoding.STRICT:
        # The empty reply is the only message with two strict forms (FR-13).
        check(written == payload or outcome.is_empty_reply, "one strict form", payload, written)
        check(Message(*outcome.fields()) == outcome, "strictly right is sound", outcome)
    if native is Native.NEVER:
        check_answers(outcome)


def check_answers(message: Message) -> None:
    """See that the replies to a message can be written and read."""
    sound = not has_surrogate(message.wait)
    for answer in (message.reply(), message.error_reply("no")):
        again = read(encode(answer), Decoding.LENIENT, Native.NEVER)
        check(same(again, answer), "a reply reads as it was", answer, again)
    try:
        empty = message.empty_reply()
    except EncodeError as error:
        check(not (message.wait and sound), "an ask can be answered", error)
    else:
        check(bool(message.wait) and sound, "only an ask is answered", empty)


def check_padded(payload: AnyStr, fill: AnyStr, small: Outcome) -> None:
    """See that a large payload reads as the small one in it.

    The decoder keeps the body of a large one where it is, and looks for the separators in a
    part of it first. So the size is put to either side of what is large, and the end of the
    head to either side of that part's.
    """
    size = len(payload)
    paddings = [(0, _EAGER - size), (0, _EAGER - size + 1), (_EAGER, 0)]
    if isinstance(small, Message):
        head = size - len(small.body)
        paddings += [(_HEAD - head + by, _EAGER) for by in (-1, 0, 1)]
    for before, after in paddings[size % 3 :: 3]:  # a third each time, for speed
        if before < 0 or after < 0:
            continue
        large = fill * before + payload + fill * after
        given: Payload = large
        if isinstance(large, bytes) and after % 2:
            given = memoryview(large)
        outcome = read(given, Decoding.LENIENT, Native.NEVER)
        if isinstance(small, Message) and isinstance(outcome, Message):
            _, *names, body = small.fields()
            large_wait, *large_names, large_body = outcome.fields()
            start = "x" * before + small.wait
            check(large_wait == start, "a large payload has the token of the small one", outcome)
            check(names == large_names, "and its names and flags", small, outcome)
            check(type(body) is type(large_body), "and its kind", small, outcome)
            end = data(body) + b"x" * after
            check(end == data(large_body), "and its body", outcome)
        elif payload:
            missing = [getattr(each, "field", "none") for each in (small, outcome)]
            check(missing[0] == missing[1], "padding makes or breaks a frame", *missing)


def check_kinds_agree(of_text: Outcome, of_binary: Outcome) -> None:
    """See that text and binary of the same bytes say the same."""
    check(content(of_text) == content(of_binary), "text and binary agree", of_text, of_binary)


def content(outcome: Outcome) -> object:
    """Give what an outcome says, whichever type its message has."""
    if isinstance(outcome, DecodeError):
        return outcome.reason
    if isinstance(outcome, NativeMessage):
        return NativeMessage
    *head, body = outcome.fields()
    return head, data(body)


def data(body: object) -> bytes:
    """Give a body as it is on the wire."""
    return body if isinstance(body, bytes) else str(body).encode("utf-8", "surrogateescape")


def has_surrogate(content: str | bytes) -> bool:
    """Tell whether this is text with a byte that was no UTF-8."""
    first, last = SURROGATES
    if not isinstance(content, str) or content.isascii():
        return False
    return any(first <= ord(each) <= last for each in content)
