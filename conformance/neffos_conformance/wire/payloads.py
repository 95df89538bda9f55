"""Payloads of messages: as bytes, as frames, and as text for people and for JSON."""

from __future__ import annotations

from typing import Any, Final

from neffos_codec import DecodeError, Message, decode, first_surrogate

SHOWN: Final = 160
"""Characters of a payload on the terminal."""


def payload_bytes(payload: str | bytes) -> bytes:
    """Give the bytes of a payload; a surrogate escape in a text stands for its byte."""
    return payload.encode("utf-8", "surrogateescape") if isinstance(payload, str) else payload


def payload_text(payload: str | bytes) -> str:
    """Give a payload as text; bytes that are not UTF-8 become surrogate escapes."""
    return payload if isinstance(payload, str) else payload.decode("utf-8", "surrogateescape")


def text_if_utf8(payload: bytes) -> str | bytes:
    """Give bytes of unknown type as a text, if they are one."""
    try:
        return payload.decode()
    except UnicodeDecodeError:
        return payload


def type_of(payload: str | bytes) -> str:
    """Give the type of the message: ``text`` or ``binary``."""
    return "text" if isinstance(payload, str) else "binary"


def frame_of(payload: object) -> Message | None:
    """Decode a payload leniently; give ``None`` if it is not a frame, or not a payload."""
    try:
        return decode(payload) if isinstance(payload, str | bytes) else None
    except DecodeError:
        return None


def short(payload: str | bytes, size: int | None = None, *, shown: int = SHOWN) -> str:
    """Give a payload on one line, cut if it is long.

    Args:
        payload: the payload, or its beginning.
        size: the length of the whole payload.
        shown: how many characters to show.
    """
    whole = len(payload) if size is None else size
    text = repr(payload) if isinstance(payload, str) else f"binary {payload!r}"
    if len(text) <= shown and whole == len(payload):
        return text
    return f"{text[:shown]}… ({whole} in all)"


def payload_values(payload: str | bytes) -> dict[str, Any]:
    """Give a payload as values for JSON: text, bytes in hex, or text that is not UTF-8 in hex."""
    if isinstance(payload, bytes):
        return {"hex": payload.hex()}
    if first_surrogate(payload) < 0:
        return {"text": payload}
    return {"broken_text_hex": payload_bytes(payload).hex()}
