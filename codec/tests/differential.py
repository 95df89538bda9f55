"""Holds the compiled codec equal to the pure one, which is the reference.

    python codec/tests/differential.py [--count N] [--seed N]

tries payloads and messages that a seed makes, and prints the first that the two treat differently.
They agree where values, types and everything that an exception says are the same. With
``--leaks`` it prints what so many calls of the compiled codec leave behind: memory, and in a debug
build of Python references.
"""

from __future__ import annotations

import argparse
import gc
import sys
import time
from collections.abc import Callable
from random import Random
from typing import Any, Final, NamedTuple

from neffos_codec import (
    CodecError,
    Decoding,
    FrameLimits,
    Native,
    NativeMessage,
    _compiled,
    _decode,
    _encode,
    _message,
)


class Codec(NamedTuple):
    """One of the two."""

    decode: Callable[..., Any]
    encode: Callable[..., Any]
    message: Callable[..., Any]


PURE: Final = Codec(_decode.decode, _encode.encode, _message.Message)
COMPILED: Final = Codec(_compiled.decode, _compiled.encode, _compiled.Message)

MESSAGES: Final = (PURE.message, COMPILED.message)


def outcome(call: Callable[..., Any], *args: Any, **named: Any) -> Any:
    """Give what a call returns; for an exception, its type and everything that it says."""
    try:
        return call(*args, **named)
    except CodecError as error:
        return type(error), error.args, error.reason, error.offset, error.field, error.explanation
    except TypeError as error:
        return TypeError, error.args


def seen(value: Any) -> Any:
    """Give what can be seen of an outcome, the same for a message of either codec."""
    if isinstance(value, MESSAGES):
        fields = value.fields()
        kinds = (*map(type, fields), value.is_binary, value.is_empty_reply)
        return "message", fields, kinds
    if isinstance(value, NativeMessage):
        return NativeMessage, value.payload, type(value.payload)
    return type(value), value


def differences(payload: Any, options: dict[str, Any]) -> Any:
    """Decode by both, and encode what comes out; give what differs, or nothing."""
    pure = outcome(PURE.decode, payload, **options)
    compiled = outcome(COMPILED.decode, payload, **options)
    if type(pure) is tuple:
        return None if pure == compiled else (pure, compiled)
    if seen(pure) != seen(compiled):
        return seen(pure), seen(compiled)
    native = {"native": options["native"]} if "native" in options else {}
    sent = outcome(PURE.encode, pure, **native), outcome(COMPILED.encode, compiled, **native)
    return None if sent[0] == sent[1] and type(sent[0]) is type(sent[1]) else sent


def built_differences(fields: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """Build by both, and encode and answer; give what differs, or nothing."""
    pure = outcome(PURE.message, *fields, **named)
    compiled = outcome(COMPILED.message, *fields, **named)
    if seen(pure) != seen(compiled):
        return seen(pure), seen(compiled)
    if type(pure) is tuple:
        return None
    for each in (
        lambda codec, message: codec.encode(message),
        lambda codec, message: codec.encode(message, native=Native.ONLY),
        lambda _, message: message.reply("é"),
        lambda _, message: message.reply(body=b"\xff"),
        lambda _, message: message.reply(message.wait + "\udcff"),
        lambda _, message: message.reply(1),
        lambda _, message: message.reply(message.body),
        lambda _, message: message.error_reply(message.event),
        lambda _, message: message.empty_reply(),
        lambda _, message: (repr(message), hash(message), message == message.replace()),
    ):
        found = seen(outcome(each, PURE, pure)), seen(outcome(each, COMPILED, compiled))
        if found[0] != found[1]:
            return found
    return None


# ---- What a seed makes ----

_PIECES: Final = (
    *(";", ";", ";", "0", "1", "$1", "chat", "say", "", "@%!semicolon@%!", "@", "@%!semicolon"),
    *("é", "€", "𝄞", "\0", "\udcff", "\ud800", "x" * 130, "2", "é" * 200, "semicolon@%!"),
)
_FRAME_FIELDS: Final = (
    *("", "", "chat", "$1", "say", "a;b", "é", "𝄞", "@%!semicolon@%!", "@", "\udcff", "\ud800"),
    *("x" * 127, "x" * 129, "é" * 129, ";" * 128, "x" * 1025, "@%!semicolon;"),
)
_FLAGS: Final = ("0", "0", "0", "1", "1", "", "2", "01", "é")
_WRITTEN: Final = tuple(field.replace(";", "@%!semicolon@%!") for field in _FRAME_FIELDS)
_SIZES: Final = (900, 1010, 1024, 1990, 2030, 2048, 2060, 5000)
"""Around the bounds at which either codec takes another way."""

_LIMITS: Final = (
    *(None, None, None, None, FrameLimits(), FrameLimits(40, 6), FrameLimits(2048), FrameLimits(0)),
    *(FrameLimits(field=1), FrameLimits(field=128), FrameLimits(2**70, 2**70)),
)
_OPTIONS: Final = tuple(
    {
        name: value
        for name, value, usual in (
            ("decoding", decoding, Decoding.LENIENT),
            ("native", native, Native.NEVER),
            ("limits", limits, None),
        )
        if value is not usual
    }
    for decoding in Decoding
    for native in Native
    for limits in _LIMITS
)


def random_text(random: Random) -> str:
    """Make text that is a frame, or nearly, or anything."""
    chance = random.random
    kind = chance()
    if kind < 0.6:
        text = ";".join(random.choices(_WRITTEN, k=4) + random.choices(_FLAGS, k=2))
        text = f"{text};{_PIECES[int(chance() * len(_PIECES))]}"
    else:
        text = "".join(random.choices(_PIECES, k=int(chance() * 24)))
    if kind < 0.2 and text:  # a character is lost, or something comes in
        place = int(chance() * len(text))
        text = text[:place] + random.choice(_PIECES) + text[place + (kind < 0.1) :]
    if kind > 0.8:
        text += random.choice("xé;") * int(random.choice(_SIZES) * (0.9 + chance() / 5))
    return text


def random_payload(random: Random) -> Any:
    """Make a payload of any type."""
    text = random_text(random)
    kind = random.random()
    if kind < 0.45:
        return text
    data = text.encode("utf-8", "surrogatepass" if kind < 0.6 else "replace")
    if kind > 0.9:
        return memoryview(data) if kind > 0.95 else bytearray(data)
    return data


def random_fields(random: Random) -> tuple[Any, ...]:
    """Make the arguments of a message, rarely of wrong types."""
    choice = random.choice
    body: Any = random_text(random)
    if random.random() < 0.4:
        body = body.encode("utf-8", "surrogatepass")
    fields = [*(choice(_FRAME_FIELDS) for _ in "wnre"), choice((True, False)), False, body]
    if random.random() < 0.05:
        fields[int(random.random() * 7)] = choice((None, 1, "1", b"x", bytearray(b"x")))
    return tuple(fields[: 7 if random.random() < 0.8 else int(random.random() * 7)])


def fuzz(count: int, seed: int, progress: Callable[[int], None] = lambda _: None) -> None:
    """Try so many payloads, and a message for each ten of them.

    Raises:
        AssertionError: the two differ.
    """
    random = Random(seed)  # repeatable, not secret
    for number in range(count):
        if number % 10 == 0:
            fields = random_fields(random)
            found = built_differences(fields, {})
            assert found is None, (seed, number, fields, found)
            if number % 1_000_000 == 0:
                progress(number)
        payload, options = random_payload(random), _OPTIONS[int(random.random() * len(_OPTIONS))]
        found = differences(payload, options)
        assert found is None, (seed, number, payload, options, found)


def exercise(calls: int) -> None:
    """Do everything that the compiled codec does, so many times, errors too."""
    codec, random = COMPILED, Random(1)
    for _ in range(calls):
        payload, options = random_payload(random), random.choice(_OPTIONS)
        message = outcome(codec.decode, payload, **options)
        outcome(codec.encode, message)
        built = outcome(codec.message, *random_fields(random))
        outcome(codec.encode, built, native=Native.FALLBACK)
        if isinstance(built, codec.message):
            outcome(built.reply, "é")
            seen(built)
        outcome(codec.decode, "a;b", limits=FrameLimits(field=int(random.random() * 9)))


def leaks(calls: int) -> tuple[int, int]:
    """Give how many blocks of memory, and in a debug build references, so many calls leave."""
    references: Callable[[], int] = getattr(sys, "gettotalrefcount", lambda: 0)
    exercise(calls)  # whatever is made once is made now
    gc.collect()
    before = sys.getallocatedblocks(), references()
    exercise(calls)
    gc.collect()
    return sys.getallocatedblocks() - before[0], references() - before[1]


def main() -> None:
    """Try what the command line asks for."""
    parser = argparse.ArgumentParser(description="Hold the compiled codec equal to the pure one.")
    parser.add_argument("--count", type=int, default=1_000_000, help="of payloads [1000000]")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 2**32, help="[random]")
    parser.add_argument("--leaks", action="store_true", help="count what is left behind")
    options = parser.parse_args()
    if options.leaks:
        sys.stdout.write("{:,} blocks, {:,} references are left\n".format(*leaks(options.count)))
        return
    sys.stdout.write(f"{options.count:,} payloads, --seed {options.seed}\n")
    fuzz(options.count, options.seed, lambda number: sys.stderr.write(f"{number:,}\n"))


if __name__ == "__main__":
    main()
