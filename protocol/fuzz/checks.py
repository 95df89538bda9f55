"""What the targets may let pass, and how they say that something is wrong.

An exception that is not listed here, wherever it comes from, is a crash.
"""

from __future__ import annotations

from typing import Final

from neffos_codec import DecodeError, EncodeError
from neffos_protocol import MisuseError

REFUSED_PAYLOAD: Final = (DecodeError,)
"""Of ``decode`` and ``decode_handshake``: bytes that are no message are refused, and this is
the one way in which they are."""

REFUSED_MESSAGE: Final = (EncodeError,)
"""Of what writes or builds a message: lenient decoding lets in what no correct peer sends,
such as bytes that are no UTF-8. Each target says where it expects this, and with which reason."""

REFUSED_COMMAND: Final = (MisuseError, EncodeError)
"""Of a session's commands: a program picks them blindly, so that it misuses the session, or
names a message that cannot be a frame. Either must leave the session as it was."""

# Of ``receive``, ``peer_closed``, ``expire``, ``outgoing`` and a session's properties: nothing.
# A peer decides what goes into them, and whatever that is must come out as events.


class BrokenError(Exception):
    """Something that must hold does not."""


def check(holds: bool, claim: str, *seen: object) -> None:
    """Stop at what does not hold.

    Args:
        holds: whether it does.
        claim: what must be so, as a sentence.
        seen: the values that show that it is not.

    Raises:
        BrokenError: it does not.
    """
    if not holds:
        raise BrokenError(": ".join([claim, ", ".join(map(repr, seen))] if seen else [claim]))
