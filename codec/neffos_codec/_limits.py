"""Sizes above which a payload is refused, before anything of it is copied (SEC-1)."""

from __future__ import annotations

from typing import AnyStr

from neffos_codec._errors import DecodeError, Reason
from neffos_codec._message import FIELDS, SEPARATORS
from neffos_codec._options import Native
from neffos_codec._value import Value, store


class FrameLimits(Value):
    """The sizes that the caller is ready to take.

    Both count what ``len`` counts: characters of a text payload, bytes of a binary one.
    A transport that limits bytes should do so itself, on the UTF-8 that it received.
    """

    __match_args__ = ("payload", "field")
    __slots__ = __match_args__

    payload: int | None
    """The longest payload, frames and native messages alike; ``None`` for no limit."""
    field: int | None
    """The longest field before the body, as it stands in the payload (escaped)."""

    def __init__(self, payload: int | None = None, field: int | None = None) -> None:
        for name, value in (("payload", payload), ("field", field)):
            if value is not None and value < 0:
                raise ValueError(f"FrameLimits.{name} is a size and cannot be negative: {value}")
            store(self, name, value)


def check_size(size: int, limits: FrameLimits) -> None:
    """Refuse a payload of ``size`` characters or bytes where that is over the limit."""
    if limits.payload is not None and size > limits.payload:
        raise DecodeError(
            Reason.PAYLOAD_TOO_LARGE,
            f"the payload has a length of {size}, the limit is {limits.payload}",
            offset=limits.payload,
        )


def check_limits(payload: AnyStr, separator: AnyStr, limits: FrameLimits, native: Native) -> None:
    """Refuse a payload, or a field of a frame, that is over its limit."""
    check_size(len(payload), limits)
    most = limits.field
    if most is None or native is Native.ONLY:
        return
    if native is Native.FALLBACK and payload.count(separator) < SEPARATORS:
        return  # a native message has no fields
    start = 0
    for name in FIELDS[:SEPARATORS]:
        end = payload.find(separator, start, start + most + 1)
        if end < 0:
            if len(payload) - start > most:
                raise DecodeError(
                    Reason.FIELD_TOO_LONG,
                    f"this field is longer than the limit of {most}",
                    offset=start + most,
                    field=name,
                )
            return  # not a frame; the decoder says so
        start = end + 1
