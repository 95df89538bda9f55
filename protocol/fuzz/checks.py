"""The exceptions that the targets permit, and how a target fails.

Any other exception, wherever it is raised, is a crash. ``receive``, ``peer_closed``, ``expire``,
``outgoing`` and the properties of a session may raise nothing: a peer decides on their input, so
that every input becomes events.
"""

from __future__ import annotations

from typing import Final

from neffos_codec import DecodeError, EncodeError
from neffos_protocol import MisuseError

REFUSED_PAYLOAD: Final = (DecodeError,)
"""Of ``decode`` and ``decode_handshake``, for bytes that are not a message."""

REFUSED_MESSAGE: Final = (EncodeError,)
"""Of ``encode`` and the constructors of messages. Lenient decoding accepts what no correct peer
sends, such as bytes that are not UTF-8. Each target says where it expects this, and why."""

REFUSED_COMMAND: Final = (MisuseError, EncodeError)
"""Of a session's commands. A program draws them blindly, so that it misuses the session, or names
a message that cannot be a frame. Either must leave the session unchanged."""


class BrokenError(Exception):
    """A property does not hold."""


def check(holds: bool, claim: str, *seen: object) -> None:
    """Fail where a property does not hold.

    Args:
        holds: whether it does.
        claim: the property, as a sentence.
        seen: the values that show that it does not hold.

    Raises:
        BrokenError: it does not.
    """
    if not holds:
        raise BrokenError(": ".join([claim, ", ".join(map(repr, seen))] if seen else [claim]))
