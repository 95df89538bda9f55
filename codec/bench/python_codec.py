"""Measures one Python row, in whichever interpreter runs this file.

Reads a request as JSON from standard input, writes the times as JSON to standard output. Knows
nothing of the other rows, and is started with ``-I`` so that neither the working directory
nor this folder can stand in for the installed ``neffos_codec``.
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
"""What is called, and with what."""


def payload_of(frame: dict[str, Any], fill: str) -> str | bytes:
    """Build a frame from its description."""
    length = frame["size"] - len(frame["head"])
    text: str = frame["head"] + (fill * (length // len(fill) + 1))[:length]
    return text.encode() if frame["binary"] else text


def agree(expected: object, found: object) -> None:
    """Refuse to measure what does not do the work."""
    if expected != found:
        raise ValueError("the payload does not survive decoding and encoding")


def empty(payload: str | bytes) -> tuple[Case, Case]:
    """Give the cost of the measuring loop and of a call, which every Python row contains."""

    def nothing(_argument: object) -> None:
        pass

    return (nothing, payload), (nothing, payload)


def floor(payload: str | bytes) -> tuple[Case, Case]:
    """Give what Python itself needs to cut a frame into seven parts, and to join them."""
    if isinstance(payload, str):
        return (methodcaller("split", ";", 6), payload), (";".join, payload.split(";", 6))
    return (methodcaller("split", b";", 6), payload), (b";".join, payload.split(b";", 6))


def codec(payload: str | bytes) -> tuple[Case, Case]:
    """Give the codec's own two functions."""
    from neffos_codec import decode, encode

    message = decode(payload)
    agree(payload, encode(message))
    return (decode, payload), (encode, message)


def whole(payload: str | bytes) -> tuple[Case, Case]:
    """Give what the codec puts off or has done before: decoding the body, building the message."""
    from neffos_codec import Message, decode, encode

    fields = decode(payload).fields()
    return (
        (lambda payload: decode(payload).body, payload),
        (lambda fields: encode(Message(*fields)), fields),
    )


def construct(payload: str | bytes) -> tuple[Case, Case]:
    """Give the declarative grammar, which works on the octets of either kind of frame."""
    from neffos_protocol.grammar import BINARY_FRAME, TEXT_FRAME

    frame = TEXT_FRAME if isinstance(payload, str) else BINARY_FRAME
    octets = payload.encode() if isinstance(payload, str) else payload
    parsed = frame.parse(octets)
    agree(octets, frame.build(parsed))
    return (frame.parse, octets), (frame.build, parsed)


def socketio(payload: str | bytes) -> tuple[Case, Case]:
    """Give python-socketio on a message of the same content and size.

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

    body = message.body
    encoded = packet(body[:0]).encode()
    if isinstance(payload, str):
        source = packet(body[:1] * (len(payload) - len(encoded)))
        encoded = source.encode()
        agree(len(payload), len(encoded))
        agree(source.data, Packet(encoded_packet=encoded).data)
        return (lambda encoded: Packet(encoded_packet=encoded), encoded), (Packet.encode, source)

    source = packet(body[:1] * (len(payload) - len(encoded[0])))

    def read(parts: list[Any]) -> Any:
        read_packet = Packet(encoded_packet=parts[0])
        read_packet.add_attachment(parts[1])
        return read_packet

    encoded = source.encode()
    agree(len(payload), len(encoded[0]) + len(encoded[1]))
    agree(source.data, read(encoded).data)
    return (read, encoded), (Packet.encode, source)


ROWS = {row.__name__: row for row in (empty, floor, codec, whole, construct, socketio)}


def run(case: Case, number: int) -> int:
    """Call so often, and give the nanoseconds; loop and call are part of them."""
    call, argument = case
    arguments = repeat(argument, number)
    start = perf_counter_ns()
    for argument in arguments:
        call(argument)
    return perf_counter_ns() - start


def samples(case: Case, nanoseconds: int, count: int) -> list[float]:
    """Give ``count`` times of one call, each the mean of about so many nanoseconds of calls."""
    number = 1
    while (took := run(case, number)) < nanoseconds // 4:
        number *= 2
    number = max(1, number * nanoseconds // took)
    return [run(case, number) / number for _ in range(count)]


def copies(payload: str | bytes | memoryview) -> dict[str, float]:
    """Give how often each step holds the body anew at its worst moment, as a multiple."""
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
    frames = {frame["key"]: payload_of(frame, request["fill"]) for frame in request["frames"]}
    answer: dict[str, Any] = {"compiled": COMPILED}
    if request["row"] == "copies":
        text, octets = frames["text-1m"], frames["binary-1m"]
        answer["copies"] = {"str": copies(text), "bytes": copies(octets)}
        if isinstance(octets, bytes):  # as that frame's description says
            answer["copies"]["memoryview"] = copies(memoryview(bytearray(octets)))
    else:
        row = ROWS[request["row"]]
        answer["times"] = times = {}
        for key, payload in frames.items():
            decode_case, encode_case = row(payload)
            times[key] = {
                name: samples(case, request["nanoseconds"], request["samples"])
                for name, case in (("decode", decode_case), ("encode", encode_case))
            }
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
