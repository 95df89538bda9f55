"""How a payload is to be read: the decoding and the native mode."""

from __future__ import annotations

from enum import Enum, unique


@unique
class Decoding(Enum):
    """The two decodings of a payload."""

    LENIENT = "lenient"
    """What the Go peer accepts, no more and no less."""
    STRICT = "strict"
    """What the grammar allows, no more and no less."""


@unique
class Native(Enum):
    """What a peer makes of payloads that are not frames (requirements NM-1 to NM-5)."""

    NEVER = "never"
    """Only frames: anything else is refused."""
    FALLBACK = "fallback"
    """Frames, and every payload that is not a frame is a native message."""
    ONLY = "only"
    """No frames and no handshake: every payload is a native message."""
