"""Where the fuzzer begins: the codec's vectors as they are now, and a few conversations.

Nothing is copied into files that would have to follow the vectors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from fuzz import session as steps
from neffos_conformance.codecs import vectors

MOST: Final = 2500
"""Bytes of a seed: some heads and bodies in the vectors are over the decoder's 1024 and 2048;
those of a mebibyte would only slow everything down."""

WORDS: Final = (
    b";;;;;;",
    b";0;0;",
    b";1;0;",
    b"@%!semicolon@%!",
    b"_OnNamespaceConnect",
    b"_OnRoomJoin",
    b"_OnNativeMessage",
    b"neffos(0x",
    b"$!",
    b"\xc3\xa9",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
)
"""What a mutation can put in at once, since no single byte of these leads anywhere."""

# The bytes of a program that say what the session is.
CLIENT, SERVER, FALLBACK, ONLY = 0, 1, 2, 4
DECIDES_HANDSHAKE, OFFERS, OPEN, CONNECTED = 8, 16, 32, 32 + 64
DECIDES_ALL: Final = 0b1111


def seeds(target: str) -> Iterator[bytes]:
    """Give the seeds of a target."""
    if target == "session":
        yield from conversations()
        for payload in payloads():
            if len(payload) <= 255:
                for role in (CLIENT, SERVER):
                    yield bytes([role | CONNECTED, 0, step(steps.raw), 1, len(payload)]) + payload
    else:
        yield from payloads()


def dictionary() -> str:
    """Give the words in libFuzzer's own form."""
    escaped = ["".join([f"\\x{byte:02x}" for byte in word]) for word in WORDS]
    return "".join([f'"{word}"\n' for word in escaped])


def payloads() -> Iterator[bytes]:
    """Give every payload of the vectors, once, as its bytes."""
    seen = set()
    for vector in vectors.load_vectors():
        if vector.get("kind", "other") != "other" and "payload" in vector:
            payload = vectors.bytes_of(vector["payload"])
            if len(payload) <= MOST and payload not in seen:
                seen.add(payload)
                yield payload


def step(action: Callable[[steps.Run], None]) -> int:
    """Give the byte that chooses a step."""
    return steps.STEPS.index(action)


def conversations() -> Iterator[bytes]:
    """Give programs in which each step is used, and what it needs came before."""
    ask, reply, change = step(steps.ask_of_peer), step(steps.reply_of_peer), step(steps.change)
    decide, answer, begin = step(steps.decide), step(steps.answer), step(steps.begin)
    n, r, s = (steps.NAMES.index(name) for name in ("n", "r", "s"))
    connect, join, disconnect, leave, event = range(5)
    of_peer = [
        [ask, 1, connect, n, 0],
        [decide, 1],
        [ask, 2, join, n, r, 0],
        [decide, 1],
        [ask, 3, event, n, 0],
        [answer, 0, 1],
        [ask, 1, event, n, 1],
        [ask, 2, leave, n, r, 1],
        [decide, 0, 0],
        [ask, 3, disconnect, n, 0],
        [decide, 1],
    ]
    rooms = [
        *([ask, 1, join, n, room, 0] for room in (r, s, n)),
        *([ask, 2, leave, n, room, 1] for room in (s, r)),
        [step(steps.peer_closes)],
    ]
    own = [
        [change, 0, n, 1],
        [reply, 0, 0],
        [change, 2, n, 0, r],
        [reply, 0, 0],
        [step(steps.send_event), 1, n, r, 0, 1, 2],
        [reply, 0, 1, 1, 0],
        [step(steps.expire), 3],
        [change, 3, n, 0, r],
        [change, 1, n, 0],
        [reply, 0, 1, 1, 0],
        [step(steps.handshake), 0, 0],
        [step(steps.peer_closes)],
    ]
    frame, of_binary = step(steps.frame), 1 << 6
    for role in (CLIENT, SERVER):
        for wait in range(len(steps.WAITS)):
            asks = [[frame, wait, n, r, each, of_binary, 0] for each in range(event)]
            yield program(role | CONNECTED, 0, asks)
        for limits in (0, 1 << 4, 3 << 4):
            for decides in (0, DECIDES_ALL):
                yield program(role | OPEN, limits | decides, of_peer)
                yield program(role | OPEN | FALLBACK, limits | decides, own)
        yield program(role | CONNECTED, 3 << 4, rooms)
        yield program(role | ONLY, 0, [[step(steps.send_native), 1], [step(steps.raw), 0, 1, 65]])
    early = [[step(steps.raw), 0, 1, 65], [step(steps.handshake), 0, 0], [begin, 1, 1]]
    yield program(SERVER | DECIDES_HANDSHAKE, 0, early)
    yield program(CLIENT, 0, [[begin, 0], [step(steps.handshake), 1, 0]])


def program(flags: int, choices: int, parts: list[list[int]]) -> bytes:
    """Put a program together."""
    return bytes([flags, choices, *(byte for part in parts for byte in part)])
