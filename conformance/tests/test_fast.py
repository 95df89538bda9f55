"""Both WebSocket layers take the same bytes for the same messages, and answer alike."""

import asyncio
import random
import struct
import sys

import pytest

from neffos_asyncio.budget import Budget
from neffos_asyncio.fast import KEPT_SIZE, SPARE, FastIncoming, Parser
from neffos_asyncio.incoming import Incoming
from neffos_asyncio.limits import Limits
from neffos_asyncio.listening import is_fast
from neffos_asyncio.sockets import Socket
from neffos_protocol import SessionLimits

from .commands import run

LIMIT = 300
REQUEST = (
    b"GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: MDAwMDAwMDAwMDAwMDAwMA==\r\n\r\n"
)
TEXT, BINARY, PING, PONG, CLOSE = 0x81, 0x82, 0x89, 0x8A, 0x88


class Wire(asyncio.Transport):
    """A socket that writes to a list."""

    def __init__(self):
        super().__init__()
        self.written = b""
        self.is_ended = False

    def set_write_buffer_limits(self, high=None, low=None):
        pass

    def get_write_buffer_size(self):
        return 0

    def is_reading(self):
        return True

    def pause_reading(self):
        pass

    def resume_reading(self):
        pass

    def is_closing(self):
        return self.is_ended

    def write(self, data):
        self.written += data

    def can_write_eof(self):
        return True

    def write_eof(self):
        self.is_ended = True

    def close(self):
        self.is_ended = True

    abort = close


class Heard:
    """A receiver that notes what it gets."""

    is_open = True

    def __init__(self):
        self.payloads = []

    def receive(self, payload):
        self.payloads.append(payload)

    def flush(self):
        pass

    def lost(self, code, reason):
        self.payloads.append(code)


def masked(first, data, *, length=None, mask=b"\x11\x22\x33\x44", is_masked=True):
    size = len(data) if length is None else length
    bit = 0x80 if is_masked else 0
    head = bytes([first, bit | size]) if size < 126 else struct.pack("!BBH", first, bit | 126, size)
    if not is_masked:
        return head + data
    return head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(data))


def close(code, reason=b""):
    return masked(CLOSE, struct.pack("!H", code) + reason)


def answers(written):
    """Give the frames of a server: their first bytes, with the code of a close frame."""
    found, rest = [], written.partition(b"\r\n\r\n")[2]
    while rest:
        first, size = rest[0], rest[1]
        data, rest = rest[2 : 2 + size], rest[2 + size :]
        found.append((first, data[:2] if first == CLOSE else data))
    return found


async def heard(parsing, pieces):
    """Give what a connection made of bytes: payloads, the end, and what it answered."""
    receiver, wire = Heard(), Wire()
    limits = Limits(
        session=SessionLimits(payload=LIMIT, held_size=LIMIT), budget=Budget(), heartbeat=None
    )
    socket = Socket(lambda _: (receiver, lambda _: None), limits, set(), parsing)
    socket.connection_made(wire)
    for piece in (REQUEST, *pieces):
        socket.data_received(piece)
        while socket._is_scheduled:
            await asyncio.sleep(0)
    held = limits.budget.used
    socket.connection_lost(None)
    assert limits.budget.used == 0
    return receiver.payloads, answers(wire.written), wire.is_ended, held


def fast(spare=None):
    return lambda protocol: FastIncoming(LIMIT, [] if spare is None else spare, protocol)


WHOLE = masked(TEXT, b"one") + masked(BINARY, b"\xff\x00") + masked(TEXT, b"")
STREAMS = {
    "messages": WHOLE,
    "long": masked(TEXT, b"x" * LIMIT) + masked(BINARY, b"y" * 200) + WHOLE,
    "fragments": masked(0x01, b"a") + masked(0x00, b"b") + masked(0x80, b"c") + WHOLE,
    "a ping within": masked(0x02, b"a") + masked(PING, b"?") + masked(0x80, b"b") + WHOLE,
    "characters in parts": masked(0x01, b"\xc3") + masked(0x80, b"\xa9"),
    "control frames": masked(PING, b"p" * 125) + masked(PONG, b"") + masked(PING, b"") + WHOLE,
    "not UTF-8": WHOLE + masked(TEXT, b"\xff") + WHOLE,
    "fragments not UTF-8": masked(0x01, b"\xc3") + masked(0x80, b"") + WHOLE,
    "reserved bits": WHOLE + masked(TEXT | 0x40, b"x") + WHOLE,
    "reserved bit of a ping": masked(PING | 0x10, b"x"),
    "reserved opcode": WHOLE + masked(0x83, b"x") + WHOLE,
    "reserved control opcode": masked(0x8B, b"x"),
    "no mask": WHOLE + masked(TEXT, b"x", is_masked=False),
    "a long ping": masked(PING, b"x" * 126),
    "a ping in parts": masked(0x09, b"x"),
    "nothing to go on with": WHOLE + masked(0x80, b"x"),
    "a message within": masked(0x01, b"x") + WHOLE,
    "too large": WHOLE + masked(TEXT, b"", length=LIMIT + 1),
    "too large in all": masked(0x01, b"x" * 200) + masked(0x80, b"y" * 101) + WHOLE,
    "too large before its end": masked(0x01, b"x" * 200) + masked(0x80, b"y" * 180, length=250),
    "closed": WHOLE + close(1000, b"bye") + WHOLE,
    "closed without a code": masked(CLOSE, b"") + WHOLE,
    "closed within a message": masked(0x01, b"x") + close(1000),
    "half a code": masked(CLOSE, b"\x03"),
    "a reason not UTF-8": close(1000, b"\xff"),
    **{f"closed with {code}": close(code) for code in (0, 999, 1004, 1005, 1006, 1012, 1015)},
    **{f"closed with {code}": close(code) for code in (1016, 2999, 3000, 4999, 5000)},
}
STREAMS |= {  # longer than what a parser takes at once
    f"{each}, and much behind it": STREAMS[each] + WHOLE * 99
    for each in (
        "half a code",
        "a reason not UTF-8",
        "closed with 1005",
        "too large before its end",
    )
}
ALLOWED = 6  # of these; the others are faults, and closes


async def both(pieces):
    plain = await heard(Incoming, pieces)
    quick = await heard(fast(), pieces)
    assert quick[:3] == plain[:3]
    is_ended = plain[2]  # then it does not matter what is left
    assert is_ended or (quick[3] > 0) is (plain[3] > 0)


@pytest.mark.each("stream", STREAMS)
def test_both_layers_answer_alike(stream):
    async def test():
        await both([stream])
        await both([stream[at : at + 1] for at in range(len(stream))])

    asyncio.run(test())


def test_both_layers_answer_alike_to_any_frames_in_any_pieces():
    chosen = random.Random(18)
    allowed = [*STREAMS.values()][:ALLOWED]  # `websockets` may report the second of two faults

    async def test():
        for _ in range(100):
            stream = b"".join(chosen.choices(allowed, k=3)) + chosen.choice([*STREAMS.values()])
            cuts = sorted(chosen.choices(range(len(stream) + 1), k=chosen.randrange(6)))
            ends = zip([0, *cuts], [*cuts, len(stream)], strict=True)
            await both([stream[begin:end] for begin, end in ends if begin < end])

    asyncio.run(test())


def test_a_control_frame_within_a_message_counts_for_no_limit():
    async def test():
        stream = masked(0x01, b"x" * LIMIT) + masked(PING, b"p" * 125) + masked(0x80, b"")
        for cut in range(len(stream)):
            assert (await heard(fast(), [stream[:cut], stream[cut:]]))[0] == ["x" * LIMIT, None]

    asyncio.run(test())


def test_connections_share_parsers_that_have_no_unfinished_frame():
    spare = []

    async def test():
        await heard(fast(spare), [WHOLE])
        [parser] = spare
        await heard(fast(spare), [WHOLE])
        assert spare == [parser]
        await heard(fast(spare), [WHOLE[:-1]])  # ends within a frame
        assert spare == []
        await heard(fast(spare), [masked(0x83, b"")])
        await heard(fast(spare), [close(1000)])
        assert spare == []
        spare.extend(Parser(LIMIT) for _ in range(SPARE))
        await asyncio.gather(*(heard(fast(spare), [WHOLE]) for _ in range(3)))
        assert len(spare) == SPARE

    asyncio.run(test())


def test_a_parser_that_took_much_memory_is_not_lent_again():
    async def test():
        parser = Parser(1 << 20)
        assert parser.is_fresh
        large = masked(BINARY, b"x" * 60_000)
        assert [len(each) for each in parser.parse(memoryview(large * 2))] == [60_000] * 2
        assert parser.size > KEPT_SIZE
        assert not parser.is_fresh

    asyncio.run(test())


def test_the_environment_asks_for_python_alone(monkeypatch):
    monkeypatch.delenv("NEFFOS_WIRE_PURE", raising=False)
    assert is_fast(None)
    monkeypatch.setenv("NEFFOS_WIRE_PURE", "1")
    assert not is_fast(None)
    assert is_fast(True)


def test_a_missing_picows_is_named(monkeypatch):
    monkeypatch.delitem(sys.modules, "neffos_asyncio.fast")
    monkeypatch.setitem(sys.modules, "picows", None)
    assert not is_fast(None)
    assert not is_fast(False)
    with pytest.raises(ModuleNotFoundError, match=r"neffos-wire\[fast\]"):
        is_fast(True)
    done = run("serve", "--fast")
    assert done.returncode == 2
    assert b"neffos-wire[fast]" in done.stderr
