"""Sizes above which a payload is refused, before anything of it is copied (SEC-1)."""

from __future__ import annotations

from typing import AnyStr

from neffos_codec._errors import DecodeError, Reason
from neffos_codec._message import FIELDS, SEPARATORS
from neffos_codec._options import Native
from neffos_codec._value import Value


class FrameLimits(Value):
    """The sizes that the caller is ready to take.

    Both count what ``len`` counts: characters of a text payload, octets of a binary one.
    A transport that limits octets should do so itself, on the UTF-8 that it received.
    """

    payload: int | None = None
    """The longest payload, frames and native messages alike; ``None`` for no limit."""
    field: int | None = None
    """The longest field before the body, as it stands in the payload (escaped)."""

    def __post_init__(self) -> None:
        for name in ("payload", "field"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise ValueError(f"FrameLimits.{name} is a size and cannot be negative: {value}")


def check_size(size: int, limits: FrameLimits) -> None:
    """Refuse a payload of ``size`` characters or octets where that is over the limit."""
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
            return  # no frame; the decoder says so
        start = end + 1
