"""What the first field of a frame says, and a generator of tokens for it.

A token is opaque to the peer that echoes it, but for the first characters: they tell who
asked (AR-2, AR-3) and, between servers only, where an ask came from (SX-1, SX-2).
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum, unique
from itertools import count
from typing import Final

from neffos_codec._value import Value, store

CLIENT_PREFIX: Final = "$"
CONFIRMATION_PREFIX: Final = "#"
EXCHANGE_MARKER: Final = "!"
EXPLICIT_SENDER_PREFIX: Final = "neffos(0x"

ENTROPY_OCTETS: Final = 16
"""Random bytes in each token: 128 bits, beyond guessing for whoever sees other tokens."""


@unique
class WaitKind(StrEnum):
    """Who made a token, as far as the token says."""

    NONE = "none"
    """No token: no reply is wanted."""
    CLIENT_ASK = "client-ask"
    """``$…``: a client asked (AR-2)."""
    SERVER_ASK = "server-ask"
    """Any other token: a server asked, or a peer that follows nobody's form (AR-3)."""
    CONFIRMATION = "confirmation"
    """``#…``: reserved; no peer sends it today (AR-4)."""
    EXPLICIT_SENDER = "explicit-sender"
    """``neffos(0x…``: no token but the name of a sender, between servers (SX-1)."""


# Looking up a member in its enumeration takes as long as a call.
_KIND_OF: Final = {
    CONFIRMATION_PREFIX: WaitKind.CONFIRMATION,
    CLIENT_PREFIX: WaitKind.CLIENT_ASK,
}
_SERVER_ASK: Final = WaitKind.SERVER_ASK


class Wait(Value):
    """What a wait field says.

    Attributes:
        kind: who made the token.
        token: what a pending ask is kept under: the field without the exchange marker, and
            empty where the field names a sender.
        from_exchange: the marker was there: the ask came over a stack exchange (SX-2).
        sender: the explicit sender, or empty.
    """

    __match_args__ = ("kind", "token", "from_exchange", "sender")
    __slots__ = __match_args__
    kind: WaitKind
    token: str
    from_exchange: bool
    sender: str

    def __init__(
        self, kind: WaitKind, token: str = "", from_exchange: bool = False, sender: str = ""
    ) -> None:
        store(self, "kind", kind)
        store(self, "token", token)
        store(self, "from_exchange", from_exchange)
        store(self, "sender", sender)


def parse_wait(wait: str) -> Wait:
    """Say what a wait field means; every string means something, so nothing is raised."""
    if not wait:
        return Wait(WaitKind.NONE)
    if wait.startswith(EXPLICIT_SENDER_PREFIX):
        return Wait(WaitKind.EXPLICIT_SENDER, sender=wait)
    # The marker is the second *byte*, and something follows it. A first byte that is no
    # UTF-8 arrives as a surrogate escape; the Go peer keeps it as the character of that number.
    first = wait[0]
    one_octet = first.isascii() or "\udc80" <= first <= "\udcff"
    marked = len(wait) > 2 and wait[1] == EXCHANGE_MARKER and one_octet
    token = chr(ord(first) & 0xFF) + wait[2:] if marked else wait
    return Wait(_KIND_OF.get(token[0], _SERVER_ASK), token, marked)


class WaitTokens:
    """Makes the tokens of one peer's asks (AR-5, AR-6).

    A token holds the time, a running number and 128 random bits: the number keeps tokens of
    one generator apart whatever clock and entropy do, the random bits keep other peers from
    guessing them. Calling it from several threads is safe. Share one generator among all
    the connections of a process, so that no two of its tokens are ever equal.

    Args:
        client: whether this peer is the client; its tokens begin with ``$`` (AR-2).
        clock: gives nanoseconds since some epoch, for people who read logs;
            ``time.time_ns`` will do.
        entropy: gives that many random bytes; ``os.urandom`` or ``secrets.token_bytes``.
    """

    __slots__ = ("_clock", "_entropy", "_numbers", "_prefix")

    def __init__(
        self, *, client: bool, clock: Callable[[], int], entropy: Callable[[int], bytes]
    ) -> None:
        self._prefix = CLIENT_PREFIX if client else ""
        self._clock = clock
        self._entropy = entropy
        self._numbers = count(1)

    def __call__(self) -> str:
        """Make a token that this generator has not made before.

        Raises:
            ValueError: the clock is before its epoch, or the entropy came short.
        """
        now = self._clock()
        if now < 0:
            raise ValueError(f"the clock gave {now}; a token holds no negative time")
        data = self._entropy(ENTROPY_OCTETS)
        if len(data) < ENTROPY_OCTETS:
            raise ValueError(f"{ENTROPY_OCTETS} random bytes were asked for, {len(data)} came")
        return f"{self._prefix}{now}-{next(self._numbers)}-{data.hex()}"
