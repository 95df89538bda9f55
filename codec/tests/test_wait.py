"""The wait field: what it says, and the generator of tokens."""

from __future__ import annotations

import re
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from threading import Barrier

import pytest

from neffos_codec import Message, Wait, WaitKind, WaitTokens, parse_wait

# ---- parse_wait ----


@pytest.mark.parametrize(
    ("wait", "meaning"),
    [
        ("", Wait(WaitKind.NONE)),
        ("$17", Wait(WaitKind.CLIENT_ASK, "$17")),  # AR-2
        ("$", Wait(WaitKind.CLIENT_ASK, "$")),
        ("17", Wait(WaitKind.SERVER_ASK, "17")),  # AR-3
        ("x$17", Wait(WaitKind.SERVER_ASK, "x$17")),
        ("#17", Wait(WaitKind.CONFIRMATION, "#17")),  # AR-4
        ("neffos(0x1f)", Wait(WaitKind.EXPLICIT_SENDER, sender="neffos(0x1f)")),  # SX-1
        ("neffos(0x", Wait(WaitKind.EXPLICIT_SENDER, sender="neffos(0x")),
        ("neffos(0", Wait(WaitKind.SERVER_ASK, "neffos(0")),
        ("1!7", Wait(WaitKind.SERVER_ASK, "17", from_exchange=True)),  # SX-2
        ("$!17", Wait(WaitKind.CLIENT_ASK, "$17", from_exchange=True)),
        ("#!17", Wait(WaitKind.CONFIRMATION, "#17", from_exchange=True)),
        ("!!7", Wait(WaitKind.SERVER_ASK, "!7", from_exchange=True)),
        ("1!", Wait(WaitKind.SERVER_ASK, "1!")),
        ("!17", Wait(WaitKind.SERVER_ASK, "!17")),
        ("17!", Wait(WaitKind.SERVER_ASK, "17!")),
        ("é!7", Wait(WaitKind.SERVER_ASK, "é!7")),  # the second byte is not the marker
        ("\udcff!7", Wait(WaitKind.SERVER_ASK, "\xff7", from_exchange=True)),  # one byte, no UTF-8
        ("\udc80!7", Wait(WaitKind.SERVER_ASK, "\x807", from_exchange=True)),
        ("\udc7f!7", Wait(WaitKind.SERVER_ASK, "\udc7f!7")),  # a surrogate that is no byte
        ("\0", Wait(WaitKind.SERVER_ASK, "\0")),
    ],
)
def test_what_a_wait_field_says(wait: str, meaning: Wait) -> None:
    assert parse_wait(wait) == meaning


# ---- WaitTokens ----


def tokens(*, client: bool = True, now: int = 1_700_000_000, byte: bytes = b"\x2a") -> WaitTokens:
    """Make a generator whose clock and entropy stand still."""
    return WaitTokens(client=client, clock=lambda: now, entropy=lambda size: byte * size)


def test_a_token_holds_time_number_and_entropy() -> None:
    make = tokens()
    assert make() == f"$1700000000-1-{'2a' * 16}"
    assert make() == f"$1700000000-2-{'2a' * 16}"
    assert tokens(client=False, now=0)() == f"0-1-{'2a' * 16}"


@pytest.mark.parametrize(
    ("client", "kind"), [(True, WaitKind.CLIENT_ASK), (False, WaitKind.SERVER_ASK)]
)
def test_a_token_says_who_asked_and_nothing_else(client: bool, kind: WaitKind) -> None:
    token = tokens(client=client)()
    assert parse_wait(token) == Wait(kind, token)
    assert re.fullmatch(r"\$?[0-9a-f-]+", token)
    assert Message(token).wait == token


def test_tokens_differ_though_clock_and_entropy_stand_still() -> None:  # AR-5
    make = tokens()
    assert len({make() for _ in range(1000)}) == 1000


def test_tokens_differ_across_threads() -> None:
    workers, each = 8, 500
    make, start = tokens(), Barrier(workers)

    def work(_: int) -> list[str]:
        start.wait()
        return [make() for _ in range(each)]

    with ThreadPoolExecutor(workers) as pool:
        made = [token for batch in pool.map(work, range(workers)) for token in batch]
    assert len(set(made)) == workers * each


def test_generators_differ_by_their_entropy() -> None:  # AR-6
    assert tokens(byte=b"\x01")() != tokens(byte=b"\x02")()


def test_the_clock_is_asked_for_each_token() -> None:
    ticks = count(5)
    make = WaitTokens(client=False, clock=lambda: next(ticks), entropy=bytes)
    assert [make().split("-")[0], make().split("-")[0]] == ["5", "6"]


def test_a_clock_before_its_epoch_is_refused() -> None:
    with pytest.raises(ValueError, match="-1"):
        tokens(now=-1)()


def test_short_entropy_is_refused() -> None:
    make = WaitTokens(client=True, clock=lambda: 0, entropy=lambda size: bytes(size - 1))
    with pytest.raises(ValueError, match="16 random bytes were asked for, 15 came"):
        make()


def test_a_refused_token_uses_up_no_number() -> None:
    given = iter([b"", bytes(16)])
    make = WaitTokens(client=True, clock=lambda: 0, entropy=lambda _: next(given))
    with pytest.raises(ValueError, match="0 came"):
        make()
    assert make() == f"$0-1-{'00' * 16}"
