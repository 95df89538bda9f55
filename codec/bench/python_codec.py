"""Measures one Python row, in whichever interpreter runs this file.

This program reads a request as JSON from standard input, and writes the times as JSON to standard
output. It is started with ``-I``, so that neither the working directory nor this folder can
replace the installed ``neffos_codec``.
"""

from __future__ import annotations

import json
import sys
import tracemalloc
from collections.abc import Callable
from itertools import repeat
from operator import methodcaller
from time import perf_counter_ns
from typing import Any

Case = tuple[Callable[[Any], object], Any]
"""A function, and its argument."""


def payload_of(frame: dict[str, Any], fill: str) -> str | bytes:
    """Build a frame from its description."""
    length = frame["size"] - len(frame["head"])
    text: str = frame["head"] + (fill * (length // len(fill) + 1))[:length]
    return text.encode() if frame["binary"] else text


def agree(expected: object, found: object) -> None:
    """Refuse to measure a function that does not do the work."""
    if expected != found:
        raise ValueError("the payload does not survive decoding and encoding")


def empty(payload: str | bytes) -> tuple[Case, Case]:
    """Measure the loop and a call, which every Python row contains."""

    def nothing(_argument: object) -> None:
        pass

    return (nothing, payload), (nothing, payload)


def floor(payload: str | bytes) -> tuple[Case, Case]:
    """Measure how Python itself splits a frame into seven parts, and joins them."""
    if isinstance(payload, str):
        return (methodcaller("split", ";", 6), payload), (";".join, payload.split(";", 6))
    return (methodcaller("split", b";", 6), payload), (b";".join, payload.split(b";", 6))


def codec(payload: str | bytes) -> tuple[Case, Case]:
    """Measure the codec's own two functions."""
    from neffos_codec import decode, encode

    message = decode(payload)
    agree(payload, encode(message))
    return (decode, payload), (encode, message)


def whole(payload: str | bytes) -> tuple[Case, Case]:
    """Measure also what the codec does before or later: building the message, reading the body."""
    from neffos_codec import Message, decode, encode

    fields = decode(payload).fields()
    return (
        (lambda payload: decode(payload).body, payload),
        (lambda fields: encode(Message(*fields)), fields),
    )


def construct(payload: str | bytes) -> tuple[Case, Case]:
    """Measure the declarative grammar, which works on the bytes of either type of frame."""
    from neffos_protocol.grammar import BINARY_FRAME, TEXT_FRAME

    frame = TEXT_FRAME if isinstance(payload, str) else BINARY_FRAME
    data = payload.encode() if isinstance(payload, str) else payload
    parsed = frame.parse(data)
    agree(data, frame.build(parsed))
    return (frame.parse, data), (frame.build, parsed)


def socketio(payload: str | bytes) -> tuple[Case, Case]:
    """Measure python-socketio on a message of the same content and size.

    It carries namespace, room, event, body and a number to acknowledge. What neffos has to
    escape (``;``) becomes what JSON has to escape (``"``). A binary body travels as an
    attachment, which is how socket.io sends one; sizes add up over the two.
    """
    from socketio.packet import EVENT, Packet  # type: ignore[import-untyped]

    from neffos_codec import decode

    message = decode(payload)
    room, event = (field.replace(";", '"') for field in (message.room, message.event))

    def packet(body: str | bytes) -> Any:
        return Packet(EVENT, [event, room, body], f"/{message.namespace}", 1790000000)

    def parts(packet: Any) -> list[Any]:
        encoded = packet.encode()
        return encoded if isinstance(encoded, list) else [encoded]

    def read(encoded: list[Any]) -> Any:
        read_packet = Packet(encoded_packet=encoded[0])
        for attachment in encoded[1:]:
            read_packet.add_attachment(attachment)
        return read_packet

    body = message.body
    source = packet(body[:1] * (len(payload) - len(parts(packet(body[:0]))[0])))
    encoded = parts(source)
    agree(len(payload), sum(map(len, encoded)))
    agree(source.data, read(encoded).data)
    if len(encoded) == 1:
        return (lambda parts: Packet(encoded_packet=parts[0]), encoded), (Packet.encode, source)
    return (read, encoded), (Packet.encode, source)


ROWS = {row.__name__: row for row in (empty, floor, codec, whole, construct, socketio)}


def run(case: Case, number: int) -> int:
    """Call so often, and return the nanoseconds, with loop and call."""
    call, argument = case
    arguments = repeat(argument, number)
    start = perf_counter_ns()
    for argument in arguments:
        call(argument)
    return perf_counter_ns() - start


def samples(case: Case, nanoseconds: int, count: int) -> list[float]:
    """Return ``count`` times of one call, each the mean of about so many nanoseconds of calls."""
    number = 1
    while (took := run(case, number)) < nanoseconds // 4:
        number *= 2
    number = max(1, number * nanoseconds // took)
    return [run(case, number) / number for _ in range(count)]


def copies(payload: str | bytes | memoryview) -> dict[str, float]:
    """Return the peak memory that each step allocates, as a multiple of the payload."""
    from neffos_codec import Message, decode, encode

    size = len(payload)
    message = decode(payload)
    fields: list[Any] = list(message.fields())
    if isinstance(payload, memoryview):
        fields[-1] = memoryview(bytearray(fields[-1]))
    steps: dict[str, Callable[[], object]] = {
        "decode": lambda: decode(payload),
        "read": lambda: decode(payload).body,
        "build": lambda: Message(*fields),
        "encode": lambda: encode(message),
    }
    found = {}
    for name, step in steps.items():
        tracemalloc.start()
        step()
        found[name] = tracemalloc.get_traced_memory()[1] / size
        tracemalloc.stop()
    return found


def main() -> None:
    """Answer one request."""
    from neffos_codec import COMPILED

    request = json.load(sys.stdin)
    if request["compiled"] is not COMPILED:
        sys.exit(f"{sys.executable} has the {'compiled' if COMPILED else 'interpreted'} codec")
    frames = {frame["key"]: payload_of(frame, request["fill"]) for frame in request["frames"]}
    answer: dict[str, Any] = {}
    if request["row"] == "copies":
        text, binary = frames["text-1m"], frames["binary-1m"]
        answer |= {"str": copies(text), "bytes": copies(binary)}
        if isinstance(binary, bytes):  # as that frame's description says
            answer["memoryview"] = copies(memoryview(bytearray(binary)))
    else:
        answer["times"] = times = {}
        for key, payload in frames.items():
            cases = zip(("decode", "encode"), ROWS[request["row"]](payload), strict=True)
            times[key] = {
                name: samples(case, request["nanoseconds"], request["samples"])
                for name, case in cases
            }
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
