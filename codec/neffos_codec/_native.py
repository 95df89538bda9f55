"""The native message: a payload that is not a frame (requirements NM-1 to NM-5)."""

from __future__ import annotations

from typing import final

from neffos_codec._value import Value, store


@final
class NativeMessage(Value):
    """A raw message between peers that speak without frames, or beside them.

    Attributes:
        payload: the whole WebSocket message; ``str`` for text, ``bytes`` for binary.
    """

    __match_args__ = ("payload",)
    __slots__ = __match_args__
    payload: str | bytes

    def __init__(self, payload: str | bytes) -> None:
        store(self, "payload", payload)

    @property
    def is_binary(self) -> bool:
        """Whether this is a binary message."""
        return isinstance(self.payload, bytes)
